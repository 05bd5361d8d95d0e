//! PostgreSQL 14 or newer, through tokio-postgres on three threads of its own: `store-0` writes and holds the lock,
//! `store-1` answers queries, `store-2` searches and works behind the writes. The connections are shared out at the
//! start: one holds the lock, one searches, one works behind the writes, some write the batches of several lanes each, the
//! rest read.
//!
//! Nothing here gives up on a batch: it is sent again until its outcome is known, and the fence in the database
//! (`veza_fence` in the migration) makes sending it again harmless. TLS is not offered.

mod auth;
mod bisect;
mod conflict;
mod connect;
mod context;
mod doctor;
mod identify;
mod incarnation;
mod index;
mod load_event;
mod load_inbox;
mod load_page;
mod load_room;
mod load_standing;
mod load_user;
mod lock;
mod plan;
mod plan_message;
mod plan_people;
mod plan_room;
mod profile;
mod reactions;
mod read;
mod removal;
mod rows;
mod search;
#[cfg(test)]
mod tests;
mod upkeep;
mod write;

use std::future::Future;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::{mpsc, oneshot};
use tokio_postgres::Config;
use veza_engine::id::ShardId;
use veza_engine::store::{Batch, Load};
use veza_engine::time::WallMs;

use super::report::Meter;
use super::{AuthAnswer, AuthError, AuthRequest, Completions, DoctorReport, StoreConfig, StoreError};
use connect::{Connector, Purpose};
use context::Context;
use read::{Ask, Job, Pool};
use write::WriteJob;

/// How often the database is asked for a sign of life while nothing else is.
const PING_EVERY: Duration = Duration::from_secs(2);
/// Batches that are not written this long after the closing began stay unanswered.
const CLOSE_MAX: Duration = Duration::from_secs(10);
/// The lock, one that searches, one that works behind the writes, one writer, one reader.
const CONNECTIONS_MIN: u32 = 5;
/// All but writers and readers.
const CONNECTIONS_OTHER: u32 = 3;
/// Lanes of one writer, about, where there are many.
const SHARE: u32 = 4;
/// Searches waiting, at most; beyond: unavailable.
const SEARCHES_MAX: usize = 256;

/// The open store. Its threads end when it is closed or dropped.
pub(super) struct Postgres {
    context: Arc<Context>,
    /// By lane, modulo their number. Bounded by the engine: one batch of a lane is in flight.
    writers: Vec<mpsc::UnboundedSender<WriteJob>>,
    jobs: mpsc::Sender<Job>,
    searches: mpsc::Sender<Job>,
    requests: mpsc::UnboundedSender<upkeep::Request>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Postgres {
    /// Starts the threads; the database may be absent.
    pub(super) fn open(
        url: Config,
        config: &StoreConfig,
        completions: Arc<dyn Completions>,
    ) -> Result<Postgres, StoreError> {
        let meter = Arc::new(Meter::new("postgresql"));
        let connector = Connector::new(url, config.writer_epoch).counted(meter.connections.clone());
        let context = Arc::new(Context::new(config, connector, completions, meter));
        let (writers, readers) = share_out(config);
        context.meter.connections_max.store(u64::from(writers + readers + CONNECTIONS_OTHER), Relaxed);
        let (write_jobs, write_queues): (Vec<_>, Vec<_>) = (0..writers).map(|_| mpsc::unbounded_channel()).unzip();
        let (jobs, job_queue) = mpsc::channel(config.loads_max.max(1));
        let pool =
            |purpose, queue| Arc::new(Pool { purpose, context: context.clone(), jobs: tokio::sync::Mutex::new(queue) });
        let (searches, search_queue) = mpsc::channel(SEARCHES_MAX);
        let (readers_pool, search_pool) = (pool(Purpose::Read, job_queue), pool(Purpose::Search, search_queue));
        // Only tests ask, one after the other.
        let (requests, request_queue) = mpsc::unbounded_channel();
        let (for_writers, pings) = (context.clone(), jobs.downgrade());
        let threads = vec![
            spawn("store-0", context.clone(), async move {
                let keeper = tokio::spawn(lock::keep(for_writers.clone()));
                join_all(write_queues.into_iter().map(|queue| tokio::spawn(write::run(for_writers.clone(), queue))))
                    .await;
                keeper.abort();
            })?,
            spawn("store-1", context.clone(), async move {
                let pinger = tokio::spawn(ping(pings));
                join_all((0..readers).map(|_| tokio::spawn(read::run(readers_pool.clone())))).await;
                pinger.abort();
            })?,
            spawn("store-2", context.clone(), {
                let context = context.clone();
                async move {
                    let upkeep = tokio::spawn(upkeep::run(context, request_queue));
                    let searching = tokio::spawn(read::run(search_pool));
                    join_all([upkeep, searching]).await;
                }
            })?,
        ];
        Ok(Postgres { context, writers: write_jobs, jobs, searches, requests, threads: Mutex::new(threads) })
    }

    /// See [`super::Store::submit`].
    pub(super) fn submit(&self, shard: ShardId, batch: Box<Batch>) {
        let writer = batch.writer.lane as usize % self.writers.len();
        self.context.meter.batches_waiting.fetch_add(1, Relaxed);
        // The queue is closed only when the store is.
        let _ = self.writers[writer].send(WriteJob { shard, batch });
    }

    /// See [`super::Store::load`].
    pub(super) fn load(&self, shard: ShardId, id: u64, load: Load) {
        self.context.meter.loads_waiting.fetch_add(1, Relaxed);
        self.ask(Ask::Load { shard, id, load });
    }

    /// See [`super::Store::auth`].
    pub(super) fn auth(&self, request: AuthRequest, reply: oneshot::Sender<Result<AuthAnswer, AuthError>>) {
        self.ask(Ask::Auth { request, reply });
    }

    fn ask(&self, ask: Ask) {
        let job = Job { born: Instant::now(), ask };
        if !self.context.readable() {
            return read::refuse(&self.context, job);
        }
        let search = matches!(job.ask, Ask::Load { load: Load::Search { .. }, .. });
        let queue = if search { &self.searches } else { &self.jobs };
        if let Err(mpsc::error::TrySendError::Full(job) | mpsc::error::TrySendError::Closed(job)) = queue.try_send(job)
        {
            read::refuse(&self.context, job);
        }
    }

    /// See [`super::Store::upkeep_now`].
    pub(super) fn upkeep_now(&self, now: WallMs, reply: oneshot::Sender<Result<(), StoreError>>) {
        // If the store is closed, the reply is dropped, which says so.
        let _ = self.requests.send(upkeep::Request { now, reply });
    }

    /// Connections that write.
    pub(super) fn writers(&self) -> usize {
        self.writers.len()
    }

    /// Health and counters.
    pub(super) fn meter(&self) -> &Meter {
        &self.context.meter
    }

    /// Waits until everything submitted is written and everything asked is answered, if the database lets us within
    /// [`CLOSE_MAX`]; then the threads end.
    pub(super) fn close(&self) {
        self.context.close();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        for thread in threads {
            // A panic there has been reported by itself.
            let _ = thread.join();
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.context.close();
    }
}

/// Writers and readers for so many connections. Batches meet at a writer, so that they share a commit: each has the lanes
/// of two shards or more, and there are as many as a shard has lanes, so that one writes while the other's lanes gather.
fn share_out(config: &StoreConfig) -> (u32, u32) {
    let total = config.max_connections.max(CONNECTIONS_MIN) - CONNECTIONS_OTHER;
    let (shards, lanes) = (u32::from(config.shards).max(1), u32::from(config.lanes).max(1));
    let readers_min = (total / 3).max(1);
    let writers = (shards * lanes).div_ceil(SHARE).max(lanes).min(total - readers_min);
    (writers, total - writers)
}

fn spawn(
    name: &str,
    context: Arc<Context>,
    work: impl Future<Output = ()> + Send + 'static,
) -> Result<JoinHandle<()>, StoreError> {
    let work = async move {
        let overdue = async {
            context.closing().await;
            tokio::time::sleep(CLOSE_MAX).await;
        };
        tokio::select! {
            () = work => {}
            () = overdue => {}
        }
    };
    let failed = |error: std::io::Error| StoreError::Failed(format!("thread {name}: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    std::thread::Builder::new().name(name.to_owned()).spawn(move || runtime.block_on(work)).map_err(failed)
}

/// Finds out that the database is gone even while nobody wants anything of it.
async fn ping(jobs: mpsc::WeakSender<Job>) {
    loop {
        tokio::time::sleep(PING_EVERY).await;
        let Some(jobs) = jobs.upgrade() else { return };
        // A full queue needs no ping.
        let _ = jobs.try_send(Job { born: Instant::now(), ask: Ask::Ping });
    }
}

/// Reads `postgresql://…`.
pub(super) fn parse_url(url: &str) -> Result<Config, StoreError> {
    connect::parse_url(url).map_err(StoreError::Url)
}

/// Brings the schema up to date, unless a server uses the database.
pub(super) async fn migrate(url: Config) -> Result<Vec<String>, StoreError> {
    let connector = Connector::new(url, 0);
    let mut session = connector.try_connect(Purpose::Lock).await.map_err(StoreError::Failed)?;
    lock::lock(&session, 0, Duration::from_secs(10), 0).await?;
    Ok(lock::migrate(&mut session).await?)
}

/// For `doctor`.
pub(super) async fn check(url: Config) -> Result<DoctorReport, StoreError> {
    let connector = Connector::new(url, 0);
    let session = connector.try_connect(Purpose::Lock).await.map_err(StoreError::Failed)?;
    doctor::findings(&session).await.map_err(|error| StoreError::Failed(connect::describe(&error)))
}
