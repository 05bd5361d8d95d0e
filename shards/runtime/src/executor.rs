//! Starting and joining the shards: one pinned glommio executor each.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use glommio::{ExecutorJoinHandle, LocalExecutorBuilder, Placement};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use veza_engine::id::ShardId;
use veza_engine::limits::Limits;
use veza_engine::{PeerMessage, ShardConfig};

use crate::doorbell::Doorbell;
use crate::edge::Edge;
use crate::inbox::{Inbox, Post};
use crate::mesh::{self, Port};
use crate::pump::{Parts, Pump, Turn};
use crate::reactor;
use crate::watchdog::{self, Beat, DeadOnDrop, Watchdog};

/// glommio's memory for disk reads, which no shard does: as little as it takes.
const IO_MEMORY_BYTES: usize = 1 << 20;
/// Entries in each of glommio's rings. A shard has one poll under way.
const RING_DEPTH: usize = 64;

/// How long a shard waits in epoll before it goes to sleep in io_uring. glommio's way down and up again costs 30
/// microseconds of CPU more than epoll's (examples/wakeup.rs) and nothing else runs on this executor: so it is left to
/// the sleeps that are long.
const NAP: Duration = Duration::from_millis(5);

/// What all shards are made with.
#[derive(Clone, Debug)]
pub struct RuntimeConfig {
    /// The engine's bounds.
    pub limits: Limits,
    /// Random per start, positive.
    pub writer_epoch: i64,
    /// Random per start.
    pub seed: u64,
}

/// Shards that are not running yet: their queues exist, so that what posts to them can be built first.
pub struct Runtime {
    cores: Vec<usize>,
    bells: Vec<Arc<Doorbell>>,
    ports: Vec<Port<PeerMessage>>,
    post: Post,
}

/// Why the shards did not start.
#[derive(Debug)]
pub struct StartError {
    /// Which shard.
    pub shard: ShardId,
    /// What went wrong.
    pub why: String,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shard {} did not start: {}", self.shard.0, self.why)
    }
}

impl std::error::Error for StartError {}

impl Runtime {
    /// Queues for so many shards; 0: one for each core that the process may run on.
    ///
    /// # Errors
    /// Out of descriptors.
    pub fn new(shards: u16) -> io::Result<Runtime> {
        let cores = allowed_cores()?;
        let shards = if shards == 0 { cores.len() } else { usize::from(shards) };
        let bells = (0..shards).map(|_| Ok(Arc::new(Doorbell::new()?))).collect::<io::Result<Vec<_>>>()?;
        let inboxes = bells.iter().map(|bell| Arc::new(Inbox::new(bell.clone()))).collect();
        let ports = mesh::mesh(&bells, mesh::RING_MESSAGES_MAX);
        Ok(Runtime { cores, bells, ports, post: Post { inboxes } })
    }

    /// How many shards there will be.
    pub fn shards(&self) -> u16 {
        self.post.shards()
    }

    /// Their inboxes. What is posted before the start waits.
    pub fn post(&self) -> Post {
        self.post.clone()
    }

    /// Starts all shards; `edges` makes the edge of each, inside its thread. Returns when all of them run. From then on
    /// the watchdog ends the process if one of them dies or is stuck.
    ///
    /// # Errors
    /// The first shard that did not come up (probe io_uring before); those that did are stopped again.
    ///
    /// # Panics
    /// If there is not one edge per shard.
    pub fn start<E, F>(self, config: &RuntimeConfig, edges: Vec<F>) -> Result<Running, StartError>
    where
        E: Edge + 'static,
        F: FnOnce(ShardId) -> E + Send + 'static,
    {
        let shards = self.shards();
        assert_eq!(edges.len(), usize::from(shards), "one edge per shard");
        let mut running = Running { post: self.post.clone(), threads: Vec::new(), _watchdog: None };
        let mut beats = Vec::new();
        for (index, ((bell, port), edge)) in self.bells.into_iter().zip(self.ports).zip(edges).enumerate() {
            let id = ShardId(index as u16);
            let parts = Parts {
                config: shard_config(config, id, shards),
                port,
                inbox: self.post.inboxes[index].clone(),
                bell,
                beat: Arc::new(Beat::default()),
            };
            beats.push(parts.beat.clone());
            let core = self.cores[index % self.cores.len()];
            match spawn(id, core, parts, edge) {
                Ok(thread) => running.threads.push(thread),
                Err(why) => {
                    running.stop_and_join();
                    return Err(StartError { shard: id, why });
                }
            }
        }
        match Watchdog::start(beats, watchdog::abort) {
            Ok(watchdog) => running._watchdog = Some(watchdog),
            Err(error) => {
                running.stop_and_join();
                return Err(StartError { shard: ShardId(0), why: error.to_string() });
            }
        }
        Ok(running)
    }
}

fn shard_config(config: &RuntimeConfig, id: ShardId, shards: u16) -> ShardConfig {
    ShardConfig {
        id,
        shards,
        limits: config.limits.clone(),
        writer_epoch: config.writer_epoch,
        seed: config.seed.wrapping_add(u64::from(id.0).wrapping_mul(0x9E37_79B9_7F4A_7C15)),
    }
}

/// The cores that the process may run on, ascending; at least one.
///
/// # Errors
/// Those of `sched_getaffinity(2)`.
pub fn allowed_cores() -> io::Result<Vec<usize>> {
    let set = sched_getaffinity(None)?;
    let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect();
    assert!(!cores.is_empty(), "this thread runs on a core");
    Ok(cores)
}

type Thread = ExecutorJoinHandle<io::Result<()>>;

fn spawn<E, F>(id: ShardId, core: usize, parts: Parts, edge: F) -> Result<Thread, String>
where
    E: Edge + 'static,
    F: FnOnce(ShardId) -> E + Send + 'static,
{
    let (up, is_up): (SyncSender<()>, Receiver<()>) = sync_channel(1);
    let thread = LocalExecutorBuilder::new(Placement::Unbound)
        .name("shard")
        .io_memory(IO_MEMORY_BYTES)
        .ring_depth(RING_DEPTH)
        .spawn(move || async move {
            parts.beat.begin();
            let dead_on_drop = DeadOnDrop(parts.beat.clone());
            let mut cores = CpuSet::new();
            cores.set(core);
            if let Err(error) = sched_setaffinity(None, &cores) {
                tracing::warn!(shard = id.0, core, %error, "the shard is not pinned to its core");
            }
            let mut pump = Pump::new(parts, edge(id))?;
            let _ = up.send(());
            drop(up);
            run(&mut pump).await?;
            dead_on_drop.0.done();
            Ok(())
        })
        .map_err(|error| error.to_string())?;
    // The sender is dropped unused if the thread fails before it is up.
    match is_up.recv() {
        Ok(()) => Ok(thread),
        Err(_) => Err(join(thread).err().unwrap_or_else(|| "it ended at once".into())),
    }
}

async fn run<E: Edge>(pump: &mut Pump<E>) -> io::Result<()> {
    loop {
        match pump.turn()? {
            Turn::Busy => {}
            Turn::Stop => return Ok(()),
            Turn::Idle => {
                if pump.may_sleep()? {
                    let long = !pump.poller().nap(NAP)?;
                    if long {
                        reactor::sleep(pump.poller()).await?;
                    }
                    pump.woke(long);
                }
            }
        }
    }
}

fn join(thread: Thread) -> Result<(), String> {
    match thread.join() {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// Shards that run.
pub struct Running {
    post: Post,
    threads: Vec<Thread>,
    _watchdog: Option<Watchdog>,
}

impl Running {
    /// Their inboxes.
    pub fn post(&self) -> &Post {
        &self.post
    }

    /// Posts [`crate::Posted::Stop`] to all and waits until they have ended. What they have not written is lost: drain
    /// first.
    pub fn stop_and_join(self) {
        self.post.post_all(|_| crate::Posted::Stop);
        for (index, thread) in self.threads.into_iter().enumerate() {
            if let Err(why) = join(thread) {
                tracing::error!(shard = index, why, "the shard ended badly");
            }
        }
    }
}
