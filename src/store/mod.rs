//! The database behind one seam: batches and queries in, completions out. Two stores implement it, `sqlite` and
//! `postgres`; `contract` holds what both must do. What the batches and queries mean is documented where they are
//! declared, in `veza_engine::store`.

pub mod auth;
#[cfg(test)]
mod contract;
pub mod lock;
mod postgres;
pub mod report;
mod shared;
mod sqlite;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use veza_engine::id::{RoomId, Seq, ShardId};
use veza_engine::store::{Batch, BatchOutcome, Load, LoadError, Loaded, Writer};
use veza_engine::time::WallMs;

pub use auth::{AuthAnswer, AuthError, AuthRequest};
pub use report::{DoctorReport, Finding, StoreHealth, StoreMetrics};

/// Where answers go. Called from threads of the store; must not block.
pub trait Completions: Send + Sync + 'static {
    /// What became of a batch. Exactly one for each that was submitted, unless the store is closed before.
    fn stored(&self, shard: ShardId, writer: Writer, outcome: BatchOutcome);
    /// The answer to a query. Exactly one for each, unless the store is closed before.
    fn loaded(&self, shard: ShardId, id: u64, result: Result<Loaded, LoadError>);
    /// Retention has removed the room's events up to and including `floor`; for the room's home.
    fn retained(&self, room_id: RoomId, floor: Seq);
    /// The store cannot go on, and a restart alone may not help: another server holds the database, or its schema
    /// is newer than this program. The process must end, saying this.
    fn fatal(&self, error: StoreError);
}

/// How to open a store.
#[derive(Clone)]
pub struct StoreConfig {
    /// `sqlite://PATH` or `postgresql://…`. May hold a password: never printed.
    pub url: String,
    /// The server's own directory; held exclusively while the store is open.
    pub data_dir: PathBuf,
    /// PostgreSQL: connections, at most. SQLite: reading threads, at most (there is one writing thread).
    pub max_connections: u32,
    /// Shards that submit.
    pub shards: u16,
    /// Lanes of each shard: so many of its batches may be under way.
    pub lanes: u16,
    /// [`Writer::epoch`] of all batches that will come: random per start, positive.
    pub writer_epoch: i64,
    /// Whether `Load::Identify` makes users.
    pub auto_provision: bool,
    /// Queries waiting, at most; beyond: [`LoadError::Unavailable`] at once.
    pub loads_max: usize,
    /// Queries not answered by then are answered [`LoadError::Unavailable`].
    pub load_deadline: Duration,
    /// How long to wait for the lock of a server that is just ending.
    pub lock_wait: Duration,
    /// PostgreSQL's text search configuration.
    pub search_language: String,
    /// Time that the content of deleted messages stays.
    pub deleted_grace: Duration,
    /// Time between two looks for what is to be removed: events over their room's retention, the content of deleted
    /// messages, deleted rooms. [`Duration::MAX`]: only by [`Store::upkeep_now`].
    pub upkeep_every: Duration,
}

impl StoreConfig {
    /// For one shard and with every bound at its default; the caller changes what it needs.
    pub fn new(url: impl Into<String>, data_dir: impl Into<PathBuf>) -> StoreConfig {
        StoreConfig {
            url: url.into(),
            data_dir: data_dir.into(),
            max_connections: 10,
            shards: 1,
            lanes: 2,
            writer_epoch: 1,
            auto_provision: true,
            loads_max: 65_536,
            load_deadline: Duration::from_secs(5),
            lock_wait: Duration::from_secs(10),
            search_language: "simple".into(),
            deleted_grace: Duration::from_secs(30 * 86_400),
            upkeep_every: Duration::from_secs(60),
        }
    }
}

/// Why a store cannot be opened, migrated or used any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// `database.url` is none that we know.
    Url(String),
    /// Another server holds the directory or the database; the text names it.
    Locked(String),
    /// The schema is newer than this program: (found, known).
    Newer(u32, u32),
    /// The database or the file system says no; the text holds no secret.
    Failed(String),
}

impl fmt::Display for StoreError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::Url(cause) => write!(out, "database.url: {cause}"),
            StoreError::Locked(cause) => write!(out, "{cause}"),
            StoreError::Newer(found, known) => {
                write!(out, "the database has schema {found}, this program knows up to {known}: use a newer program")
            }
            StoreError::Failed(cause) => write!(out, "database: {cause}"),
        }
    }
}

impl std::error::Error for StoreError {}

/// A handle on the open store; clones share it.
#[derive(Clone)]
pub struct Store {
    backend: Backend,
    /// Held until the last handle goes: no second server on this directory.
    _dir: Arc<lock::FileLock>,
}

#[derive(Clone)]
enum Backend {
    Sqlite(Arc<sqlite::Sqlite>),
    Postgres(Arc<postgres::Postgres>),
}

impl Store {
    /// Takes the data directory (waiting up to `lock_wait` for one that is just ending) and opens the database:
    /// SQLite at once, with migrations; PostgreSQL in the background, since it may be absent at start.
    pub fn open(config: StoreConfig, completions: Arc<dyn Completions>) -> Result<Store, StoreError> {
        let dir = lock::FileLock::directory(&config.data_dir, config.lock_wait)?;
        let backend = match target(&config.url)? {
            Target::Sqlite(path) => Backend::Sqlite(sqlite::Sqlite::open(path, config, completions)?),
            Target::Postgres(url) => Backend::Postgres(Arc::new(postgres::Postgres::open(*url, &config, completions)?)),
        };
        Ok(Store { backend, _dir: Arc::new(dir) })
    }

    /// Hands over a batch. Never blocks: the engine has one batch in flight per lane, and there is room for those.
    pub fn submit(&self, shard: ShardId, batch: Box<Batch>) {
        match &self.backend {
            Backend::Sqlite(store) => store.submit(shard, batch),
            Backend::Postgres(store) => store.submit(shard, batch),
        }
    }

    /// Asks. Never blocks: over `loads_max` the answer is `Unavailable` at once.
    pub fn load(&self, shard: ShardId, id: u64, load: Load) {
        match &self.backend {
            Backend::Sqlite(store) => store.load(shard, id, load),
            Backend::Postgres(store) => store.load(shard, id, load),
        }
    }

    /// Own users and their sessions, for the control thread.
    pub async fn auth(&self, request: AuthRequest) -> Result<AuthAnswer, AuthError> {
        let (reply, answer) = oneshot::channel();
        match &self.backend {
            Backend::Sqlite(store) => store.auth(request, reply),
            Backend::Postgres(store) => store.auth(request, reply),
        }
        answer.await.unwrap_or(Err(AuthError::Unavailable))
    }

    /// Does what is otherwise done in the background, as if it were `now`: indexes for search what is committed, removes
    /// what is to be removed. Returns when nothing of it is left.
    ///
    /// # Errors
    /// The database does not answer, or the store is closed.
    pub async fn upkeep_now(&self, now: WallMs) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        match &self.backend {
            Backend::Sqlite(store) => store.upkeep_now(now, reply),
            Backend::Postgres(store) => store.upkeep_now(now, reply),
        }
        answer.await.unwrap_or(Err(StoreError::Failed("the store is closed".into())))
    }

    /// Whether the database answers, and since when.
    pub fn health(&self) -> StoreHealth {
        match &self.backend {
            Backend::Sqlite(store) => store.meter().health(),
            Backend::Postgres(store) => store.meter().health(),
        }
    }

    /// Transactions that may be under way at a time.
    pub fn writers(&self) -> usize {
        match &self.backend {
            // One thread writes.
            Backend::Sqlite(_) => 1,
            Backend::Postgres(store) => store.writers(),
        }
    }

    /// Bytes of what was written lately that this process keeps in memory, at most.
    pub fn cache_bytes(&self) -> usize {
        match &self.backend {
            Backend::Sqlite(_) => sqlite::WRITER_CACHE_BYTES,
            // The database keeps it.
            Backend::Postgres(_) => 0,
        }
    }

    /// Whether the database answers.
    pub fn up(&self) -> bool {
        self.health().up
    }

    /// Counters since the start.
    pub fn metrics(&self) -> StoreMetrics {
        match &self.backend {
            Backend::Sqlite(store) => store.meter().metrics(),
            Backend::Postgres(store) => store.meter().metrics(),
        }
    }

    /// Writes what was submitted, answers it, and closes the database. What is submitted or asked later gets no answer.
    pub async fn close(self) {
        match self.backend {
            Backend::Sqlite(store) => {
                let _ = tokio::task::spawn_blocking(move || store.close()).await;
            }
            Backend::Postgres(store) => {
                let _ = tokio::task::spawn_blocking(move || store.close()).await;
            }
        }
    }
}

/// Brings the schema of the database up to date; answers the names of the migrations that were applied.
pub async fn migrate(url: &str) -> Result<Vec<String>, StoreError> {
    match target(url)? {
        Target::Sqlite(path) => blocking(move || sqlite::migrate(&path)).await,
        Target::Postgres(url) => postgres::migrate(*url).await,
    }
}

/// Looks at the database for `doctor`: reachable, schema, and whether a commit is durable.
pub async fn check(url: &str) -> Result<DoctorReport, StoreError> {
    match target(url)? {
        Target::Sqlite(path) => blocking(move || sqlite::check(&path)).await,
        Target::Postgres(url) => postgres::check(*url).await,
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(StoreError::Failed(error.to_string())))
}

/// What a URL names.
enum Target {
    /// A file.
    Sqlite(PathBuf),
    /// A server.
    Postgres(Box<tokio_postgres::Config>),
}

fn target(url: &str) -> Result<Target, StoreError> {
    if let Some(path) = url.strip_prefix("sqlite://").or_else(|| url.strip_prefix("sqlite:")) {
        if path.is_empty() || path.contains(['?', '#']) || path == ":memory:" {
            return Err(StoreError::Url("sqlite:// wants the path of a file, and nothing after it".into()));
        }
        return Ok(Target::Sqlite(path.into()));
    }
    if url.starts_with("postgresql://") || url.starts_with("postgres://") {
        return postgres::parse_url(url).map(|config| Target::Postgres(Box::new(config)));
    }
    Err(StoreError::Url("neither sqlite:// nor postgresql://".into()))
}
