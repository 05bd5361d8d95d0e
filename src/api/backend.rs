//! What the API needs of the rest of the process; the composition root implements it, tests fake it.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;

use tokio::sync::oneshot;
use veza_engine::input::{Identity, TokenError};
use veza_engine::stats::{Log2Histogram, Stats};
use veza_engine::wire::{Command, CommandError};

/// The outcome of a command over HTTP: the reply's `data` as JSON, or the error.
pub type CommandResult = Result<Box<[u8]>, Box<CommandError>>;

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
    pub stats: Stats,
    /// Sockets that are open, of whatever kind.
    pub sockets: u64,
    /// Counters of pump and gateway, by name: the same names in every shard.
    pub counters: Vec<(&'static str, u64)>,
}

/// Numbers of the store.
#[derive(Clone, Debug, Default)]
pub struct StoreReport {
    /// The database answers.
    pub up: bool,
    /// Counters by name, always the same ones.
    pub counters: Vec<(&'static str, u64)>,
    /// Gauges by name, always the same ones.
    pub gauges: Vec<(&'static str, u64)>,
    /// Time of one transaction, µs.
    pub commit_us: Log2Histogram,
    /// Time from a query's coming to its answer, µs.
    pub load_us: Log2Histogram,
}
