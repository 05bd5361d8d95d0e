//! What the API needs of the rest of the process; the composition root implements it, tests fake it.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;

use tokio::sync::oneshot;
use veza_engine::input::{Identity, TokenError};
use veza_engine::stats::{Log2Histogram, Stats};
use veza_engine::wire::{Command, CommandError};
use veza_runtime::RuntimeStats;

/// The outcome of a command over HTTP: the reply's `data` as JSON, or the error.
pub type CommandResult = Result<Vec<u8>, Box<CommandError>>;

/// An outcome that takes a while (password hashing, the database).
pub type Pending = Pin<Box<dyn Future<Output = CommandResult> + Send>>;

/// The queue is full; nothing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// Requests about the server's own users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountRequest {
    /// `POST /api/v1/auth/register`
    Register,
    /// `POST /api/v1/auth/login`
    Login,
    /// `POST /api/v1/auth/refresh`
    Refresh,
}

/// The shards, the token verifier, the accounts and the store, as the API sees them.
pub trait Backend: Send + Sync + 'static {
    /// Number of shards.
    fn shards(&self) -> u16;

    /// Whom a token speaks for.
    ///
    /// # Errors
    /// Why the token is refused.
    fn verify(&self, token: &str) -> Result<Identity, TokenError>;

    /// Hands a command to a shard. Its outcome comes to [`super::Tickets::complete`] under the same ticket.
    ///
    /// # Errors
    /// The shard's inbox is full.
    fn command(&self, shard: u16, ticket: u64, identity: Box<Identity>, command: Box<Command>) -> Result<(), Full>;

    /// Registration, login or refresh, with its JSON body; `peer` is limited per minute.
    fn account(&self, request: AccountRequest, peer: IpAddr, body: &[u8]) -> Pending;

    /// Asks a shard for its numbers; the sender is dropped without an answer if the shard is gone.
    fn shard_report(&self, shard: u16) -> oneshot::Receiver<Box<ShardReport>>;

    /// The state of the store's connections.
    fn store_report(&self) -> StoreReport;

    /// What readiness depends on.
    fn status(&self) -> Status;
}

/// What readiness depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// The database answers.
    pub database_up: bool,
    /// Shards that run.
    pub shards_up: u16,
    /// A shutdown has begun.
    pub draining: bool,
}

/// Numbers of one shard, copied out of it.
#[derive(Clone, Debug, Default)]
pub struct ShardReport {
    /// The engine's.
    pub engine: Stats,
    /// The pump's.
    pub runtime: RuntimeStats,
    /// Sockets that are open, of whatever kind.
    pub sockets: u64,
    /// Counters of the gateway, by name: the same names in every shard, each known to the table of metrics.
    pub edge: Vec<(&'static str, u64)>,
}

/// Numbers of the store.
#[derive(Clone, Debug, Default)]
pub struct StoreReport {
    /// The database answers.
    pub up: bool,
    /// Batches committed.
    pub batches: u64,
    /// Events in them.
    pub events: u64,
    /// Batches that met rows of another writer or a repetition.
    pub conflicts: u64,
    /// Batches refused for what they contain.
    pub refused: u64,
    /// Attempts that had to be repeated.
    pub retries: u64,
    /// Connections made again after a loss.
    pub reconnects: u64,
    /// Queries answered.
    pub loads: u64,
    /// Queries that could not be answered.
    pub loads_unavailable: u64,
    /// Queries waiting or under way.
    pub loads_waiting: u64,
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
    /// How long the oldest of these has waited, milliseconds.
    pub search_lag_ms: u64,
    /// Messages indexed for search.
    pub search_indexed: u64,
    /// Rows removed or erased in the background.
    pub upkeep_rows: u64,
    /// Operations per transaction.
    pub transaction_ops: Log2Histogram,
    /// Time of one transaction, µs.
    pub commit_us: Log2Histogram,
    /// Time from a query's coming to its answer, µs.
    pub load_us: Log2Histogram,
}
