//! SQLite, bundled: the default, so that the server runs with nothing else installed. WAL, synchronous = FULL. One
//! thread writes (all batches that wait go into one transaction), a few read; both sides take closed enums from
//! bounded queues and answer through [`Completions`].

mod account;
mod batch;
mod chores;
mod diagnose;
mod identify;
mod index;
mod load_message;
mod load_page;
mod load_people;
mod load_room;
mod load_user;
mod open;
mod reader;
mod rows;
mod search;
mod upkeep;
mod write;
mod write_message;
mod write_people;
mod writer;

#[cfg(test)]
mod tests;

pub use open::WRITER_CACHE_BYTES;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam::channel::{Sender, TrySendError};
use tokio::sync::oneshot;
use veza_engine::id::ShardId;
use veza_engine::store::{Batch, Load, LoadError, Loaded};
use veza_engine::time::WallMs;

use super::lock::FileLock;
use super::report::Meter;
use super::{AuthAnswer, AuthError, AuthRequest, Completions, StoreConfig, StoreError};
pub(super) use open::{check, migrate};
use reader::{Ask, Asks};
use writer::{Call, Job};

/// Where an answer to the control thread goes.
type AuthReply = oneshot::Sender<Result<AuthAnswer, AuthError>>;

/// Calls (writes that are no batches) waiting for the writer; beyond: `Unavailable`.
const CALLS_MAX: usize = 4096;
/// Reading threads: more do not help, the pages are in memory.
const READERS_MAX: u32 = 4;

/// The open database.
pub(super) struct Sqlite {
    shared: Arc<Shared>,
    jobs: Sender<Job>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Held until the threads are gone: no second server on this database.
    _lock: FileLock,
}

/// What all threads of the store see.
struct Shared {
    meter: Meter,
    completions: Arc<dyn Completions>,
    asks: Asks,
    /// Calls in the writer's queue.
    calls_waiting: AtomicUsize,
    incarnation: u64,
    auto_provision: bool,
    loads_max: u64,
    load_deadline: Duration,
    upkeep_every: Duration,
    grace_ms: i64,
}

impl Sqlite {
    /// Takes the lock of the database, brings its schema up to date, tells a restored copy, starts the threads.
    pub fn open(
        path: PathBuf,
        config: StoreConfig,
        completions: Arc<dyn Completions>,
    ) -> Result<Arc<Sqlite>, StoreError> {
        let lock = open::lock(&path, config.lock_wait)?;
        open::migrate_locked(&path)?;
        let connection = open::writer(&path)?;
        let incarnation = open::incarnation(&connection, &path, &config.data_dir)?;
        open::forget_former_writers(&connection, config.writer_epoch)?;
        let shared = Arc::new(Shared {
            meter: Meter::new("sqlite"),
            completions,
            asks: Asks::default(),
            calls_waiting: AtomicUsize::new(0),
            incarnation,
            auto_provision: config.auto_provision,
            loads_max: config.loads_max as u64,
            load_deadline: config.load_deadline,
            upkeep_every: config.upkeep_every,
            grace_ms: i64::try_from(config.deleted_grace.as_millis()).unwrap_or(i64::MAX),
        });
        let lanes = usize::from(config.shards) * usize::from(config.lanes);
        let (jobs, waiting) = crossbeam::channel::bounded(lanes + CALLS_MAX + 2);
        let mut threads = Vec::new();
        for index in 0..config.max_connections.clamp(1, READERS_MAX) {
            let connection = open::reader(&path)?;
            let (owned, jobs) = (shared.clone(), jobs.clone());
            let work = move || reader::run(&owned, &connection, &jobs);
            threads.push(spawn(&shared, format!("sqlite-read-{index}"), work)?);
        }
        // The writer's own is counted as well.
        let connections = threads.len() as u64 + 1;
        shared.meter.connections.store(connections, Relaxed);
        shared.meter.connections_max.store(connections, Relaxed);
        shared.meter.went_up();
        let owned = shared.clone();
        let work = move || writer::Writer::new(owned, connection, waiting).run();
        threads.push(spawn(&shared, "sqlite-write".into(), work)?);
        Ok(Arc::new(Sqlite { shared, jobs, threads: Mutex::new(threads), _lock: lock }))
    }

    /// Hands a batch to the writer.
    pub fn submit(&self, shard: ShardId, batch: Box<Batch>) {
        self.shared.meter.batches_waiting.fetch_add(1, Relaxed);
        match self.jobs.try_send(Job::Batch { shard, batch }) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => panic!("more batches than lanes are under way"),
            // Closed: whoever submits now gets no answer, as documented.
            Err(TrySendError::Disconnected(_)) => {}
        }
    }

    /// Hands a query to whom it concerns.
    pub fn load(&self, shard: ShardId, id: u64, load: Load) {
        let ticket = Ticket::new(&self.shared, shard, id);
        let before = self.shared.meter.loads_waiting.fetch_add(1, Relaxed);
        if before >= self.shared.loads_max {
            return ticket.answer(Err(LoadError::Unavailable));
        }
        match load {
            Load::ReserveRooms { count } => self.shared.call(&self.jobs, Call::Reserve { ticket, count }),
            Load::Identify { identity } => self.shared.asks.push_identify(ticket, identity),
            load => self.shared.asks.push(Ask::Load { ticket, load }),
        }
    }

    /// Hands a request of the control thread to whom it concerns.
    pub fn auth(&self, request: AuthRequest, reply: AuthReply) {
        match request {
            AuthRequest::FindLogin { username } => self.shared.asks.push(Ask::Login { username, reply }),
            request => self.shared.call(&self.jobs, Call::Auth { request, reply }),
        }
    }

    /// Hands the writer what it otherwise does in its own time.
    pub fn upkeep_now(&self, now: WallMs, reply: oneshot::Sender<Result<(), StoreError>>) {
        // Blocks only while the queue is full; a closed one drops the reply, which says so.
        let _ = self.jobs.send(Job::Upkeep { now, reply });
    }

    /// Health and counters.
    pub fn meter(&self) -> &Meter {
        &self.shared.meter
    }

    /// Writes and answers what came before, then ends the threads. Idempotent.
    pub fn close(&self) {
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        if threads.is_empty() {
            return;
        }
        self.shared.asks.close();
        // Blocks only while the queue is full, and the writer is emptying it.
        let _ = self.jobs.send(Job::Close);
        for thread in threads {
            let _ = thread.join();
        }
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    /// Hands a call to the writer; over the bound it is answered `Unavailable`.
    fn call(&self, jobs: &Sender<Job>, call: Call) {
        if self.calls_waiting.fetch_add(1, Relaxed) >= CALLS_MAX {
            self.calls_waiting.fetch_sub(1, Relaxed);
            return call.unavailable();
        }
        match jobs.try_send(Job::Call(call)) {
            Ok(()) => {}
            Err(TrySendError::Disconnected(Job::Call(call))) => call.unavailable(),
            Err(_) => panic!("the queue has room for all lanes and calls"),
        }
    }
}

/// A query's way back. Whoever holds it owes the answer.
struct Ticket {
    shared: Arc<Shared>,
    shard: ShardId,
    id: u64,
    since: Instant,
}

impl Ticket {
    fn new(shared: &Arc<Shared>, shard: ShardId, id: u64) -> Ticket {
        Ticket { shared: shared.clone(), shard, id, since: Instant::now() }
    }

    /// It has waited too long: whoever asked has given up.
    fn late(&self) -> bool {
        self.since.elapsed() >= self.shared.load_deadline
    }

    fn answer(self, result: Result<Loaded, LoadError>) {
        let meter = &self.shared.meter;
        meter.loads_waiting.fetch_sub(1, Relaxed);
        match result {
            Err(LoadError::Unavailable) => meter.loads_unavailable.fetch_add(1, Relaxed),
            _ => meter.loads.fetch_add(1, Relaxed),
        };
        meter.load_us.record_us(self.since.elapsed());
        self.shared.completions.loaded(self.shard, self.id, result);
    }
}

/// A thread of the store. Should it panic, nobody would be answered any more: the process must end.
fn spawn(shared: &Shared, name: String, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StoreError> {
    let completions = shared.completions.clone();
    let whole = move || {
        if catch_unwind(AssertUnwindSafe(work)).is_err() {
            completions.fatal(StoreError::Failed("a thread of the store panicked".into()));
        }
    };
    thread::Builder::new().name(name).spawn(whole).map_err(|error| StoreError::Failed(format!("thread: {error}")))
}
