//! What a store tells of itself: health, counters, and `doctor`'s findings. Written by its threads, read by anyone.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use veza_engine::stats::Log2Histogram;
use veza_engine::time::WallMs;

/// Whether the database answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreHealth {
    /// `sqlite` or `postgresql`.
    pub kind: &'static str,
    /// The last transaction or connection attempt went well.
    pub up: bool,
    /// Since when it is as it is.
    pub since: WallMs,
    /// The last error, without secrets; kept after recovery.
    pub last_error: Option<String>,
}

/// Counters since the start, and gauges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreMetrics {
    /// Batches committed.
    pub batches: u64,
    /// Events in them.
    pub events: u64,
    /// Batches answered `Conflict`.
    pub conflicts: u64,
    /// Batches answered `Refused`.
    pub refused: u64,
    /// Attempts that had to be repeated.
    pub retries: u64,
    /// Connections made again after a loss.
    pub reconnects: u64,
    /// Operations per transaction.
    pub transaction_ops: Log2Histogram,
    /// Microseconds per transaction, BEGIN to the answer to COMMIT.
    pub commit_us: Log2Histogram,
    /// Queries answered.
    pub loads: u64,
    /// Queries answered `Unavailable`: over the bound, over the deadline, or the database is away.
    pub loads_unavailable: u64,
    /// Queries waiting or under way.
    pub loads_waiting: u64,
    /// Microseconds from a query's coming to its answer.
    pub load_us: Log2Histogram,
    /// Batches waiting or under way.
    pub batches_waiting: u64,
    /// Connections open.
    pub connections: u64,
    /// Connections that there should be.
    pub connections_max: u64,
    /// Connections at work.
    pub connections_busy: u64,
    /// Rooms with committed events that search does not know yet.
    pub search_pending: u64,
    /// Milliseconds that the oldest of these has waited; 0: none.
    pub search_lag_ms: u64,
    /// Messages indexed for search, or indexed anew.
    pub search_indexed: u64,
    /// Rows removed or erased by the background jobs.
    pub upkeep_rows: u64,
}

/// One of `doctor`'s findings about the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub name: String,
    /// What was found.
    pub value: String,
    /// What to do about it; `None`: it is good as it is.
    pub advice: Option<String>,
}

/// `doctor`'s findings about the database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DoctorReport {
    /// In the order to print.
    pub findings: Vec<Finding>,
}

impl DoctorReport {
    /// Adds what is good.
    pub fn good(&mut self, name: &str, value: impl ToString) {
        self.findings.push(Finding { name: name.into(), value: value.to_string(), advice: None });
    }

    /// Adds what is not, and what to do about it.
    pub fn bad(&mut self, name: &str, value: impl ToString, advice: &str) {
        self.findings.push(Finding { name: name.into(), value: value.to_string(), advice: Some(advice.into()) });
    }
}

/// The wall clock.
pub(super) fn wall_now() -> WallMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallMs(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// A [`Log2Histogram`] that several threads record into.
#[derive(Default)]
pub(super) struct Histogram {
    buckets: [AtomicU64; 32],
    sum: AtomicU64,
}

impl Histogram {
    /// Adds a value.
    pub fn record(&self, value: u64) {
        let bucket = (63 - (value | 1).leading_zeros()).min(31) as usize;
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.sum.fetch_add(value, Relaxed);
    }

    /// Adds a duration in microseconds.
    pub fn record_us(&self, duration: Duration) {
        self.record(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }

    fn read(&self) -> Log2Histogram {
        Log2Histogram {
            buckets: std::array::from_fn(|index| self.buckets[index].load(Relaxed)),
            sum: self.sum.load(Relaxed),
        }
    }
}

/// A store's counters and health; owned by the store, shared by its threads.
pub(super) struct Meter {
    kind: &'static str,
    state: Mutex<State>,
    pub batches: AtomicU64,
    pub events: AtomicU64,
    pub conflicts: AtomicU64,
    pub refused: AtomicU64,
    pub retries: AtomicU64,
    pub reconnects: AtomicU64,
    pub transaction_ops: Histogram,
    pub commit_us: Histogram,
    pub loads: AtomicU64,
    pub loads_unavailable: AtomicU64,
    pub loads_waiting: AtomicU64,
    pub load_us: Histogram,
    pub batches_waiting: AtomicU64,
    /// Shared with the connections, which count themselves.
    pub connections: Arc<AtomicU64>,
    /// Set once, when the store is opened.
    pub connections_max: AtomicU64,
    pub connections_busy: AtomicU64,
    /// Rooms with committed events that search does not know yet.
    pub search_pending: AtomicU64,
    /// Since when the oldest of them waits (Unix milliseconds); 0: none.
    pub search_since: AtomicU64,
    pub search_indexed: AtomicU64,
    pub upkeep_rows: AtomicU64,
}

/// A connection at work.
pub(super) struct Busy<'a>(&'a AtomicU64);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

struct State {
    up: bool,
    since: WallMs,
    last_error: Option<String>,
}

impl Meter {
    /// Down until told otherwise.
    pub fn new(kind: &'static str) -> Meter {
        Meter {
            kind,
            state: Mutex::new(State { up: false, since: wall_now(), last_error: None }),
            batches: AtomicU64::new(0),
            events: AtomicU64::new(0),
            conflicts: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            reconnects: AtomicU64::new(0),
            transaction_ops: Histogram::default(),
            commit_us: Histogram::default(),
            loads: AtomicU64::new(0),
            loads_unavailable: AtomicU64::new(0),
            loads_waiting: AtomicU64::new(0),
            load_us: Histogram::default(),
            batches_waiting: AtomicU64::new(0),
            connections: Arc::default(),
            connections_max: AtomicU64::new(0),
            connections_busy: AtomicU64::new(0),
            search_pending: AtomicU64::new(0),
            search_since: AtomicU64::new(0),
            search_indexed: AtomicU64::new(0),
            upkeep_rows: AtomicU64::new(0),
        }
    }

    /// The database answers.
    pub fn went_up(&self) {
        let mut state = self.lock();
        if !state.up {
            state.up = true;
            state.since = wall_now();
            tracing::info!(store = self.kind, "database up");
        }
    }

    /// The database does not answer. `error` must hold no secret.
    pub fn went_down(&self, error: String) {
        let mut state = self.lock();
        if state.up || state.last_error.as_ref() != Some(&error) {
            tracing::error!(store = self.kind, error, "database down");
        }
        if state.up {
            state.up = false;
            state.since = wall_now();
        }
        state.last_error = Some(error);
    }

    /// The health now.
    pub fn health(&self) -> StoreHealth {
        let state = self.lock();
        StoreHealth { kind: self.kind, up: state.up, since: state.since, last_error: state.last_error.clone() }
    }

    /// A connection is at work as long as this lives.
    pub fn busy(&self) -> Busy<'_> {
        self.connections_busy.fetch_add(1, Relaxed);
        Busy(&self.connections_busy)
    }

    /// The counters now.
    pub fn metrics(&self) -> StoreMetrics {
        StoreMetrics {
            batches: self.batches.load(Relaxed),
            events: self.events.load(Relaxed),
            conflicts: self.conflicts.load(Relaxed),
            refused: self.refused.load(Relaxed),
            retries: self.retries.load(Relaxed),
            reconnects: self.reconnects.load(Relaxed),
            transaction_ops: self.transaction_ops.read(),
            commit_us: self.commit_us.read(),
            loads: self.loads.load(Relaxed),
            loads_unavailable: self.loads_unavailable.load(Relaxed),
            loads_waiting: self.loads_waiting.load(Relaxed),
            load_us: self.load_us.read(),
            batches_waiting: self.batches_waiting.load(Relaxed),
            connections: self.connections.load(Relaxed),
            connections_max: self.connections_max.load(Relaxed),
            connections_busy: self.connections_busy.load(Relaxed),
            search_pending: self.search_pending.load(Relaxed),
            search_lag_ms: match self.search_since.load(Relaxed) {
                0 => 0,
                since => (wall_now().0 as u64).saturating_sub(since).max(1),
            },
            search_indexed: self.search_indexed.load(Relaxed),
            upkeep_rows: self.upkeep_rows.load(Relaxed),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
