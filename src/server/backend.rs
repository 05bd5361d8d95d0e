//! What the API asks of the process: shards by their inboxes, tokens, accounts, the store.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::oneshot;
use veza_engine::id::{RoomId, Seq, ShardId};
use veza_engine::input::{Identity, TokenError};
use veza_engine::store::{BatchOutcome, LoadError, Loaded, Writer};
use veza_engine::wire::Command;
use veza_runtime::{Post, Posted, Report};

use crate::api::{AccountRequest, Backend, Full, Pending, ShardReport, Status, StoreReport};
use crate::auth::service::AuthService;
use crate::auth::token::Verifier;
use crate::store::{Completions, Store, StoreError};

/// The process as the API sees it.
pub struct Process {
    /// The shards' inboxes.
    pub post: Post,
    /// Checks tokens.
    pub verifier: Arc<Verifier>,
    /// The server's own users.
    pub accounts: Arc<AuthService>,
    /// The database.
    pub store: Store,
    /// A shutdown has begun.
    pub draining: Arc<AtomicBool>,
}

impl Backend for Process {
    fn shards(&self) -> u16 {
        self.post.shards()
    }

    fn verify(&self, token: &str) -> Result<Identity, TokenError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        self.verifier.verify(token, i64::try_from(now).unwrap_or(i64::MAX))
    }

    fn command(&self, shard: u16, ticket: u64, identity: Box<Identity>, command: Box<Command>) -> Result<(), Full> {
        let posted = Posted::Http { ticket, identity, command };
        self.post.post(ShardId(shard), posted).map_err(|_| Full)
    }

    fn account(&self, request: AccountRequest, peer: IpAddr, body: &[u8]) -> Pending {
        let (accounts, body) = (self.accounts.clone(), body.to_vec());
        Box::pin(async move {
            let grant = match request {
                AccountRequest::Register => accounts.register(peer, &body).await,
                AccountRequest::Login => accounts.login(peer, &body).await,
                AccountRequest::Refresh => accounts.refresh(&body).await,
            };
            let grant = grant.map_err(Box::new)?;
            Ok(serde_json::to_vec(&grant).expect("strings and numbers are JSON"))
        })
    }

    fn shard_report(&self, shard: u16) -> oneshot::Receiver<Box<ShardReport>> {
        let (sender, receiver) = oneshot::channel();
        ask(&self.post, shard, move |report| {
            // Whoever asked may have given up waiting.
            let _ = sender.send(Box::new(shard_report(report)));
        });
        receiver
    }

    fn store_report(&self) -> StoreReport {
        let metrics = self.store.metrics();
        StoreReport {
            up: self.store.up(),
            batches: metrics.batches,
            events: metrics.events,
            conflicts: metrics.conflicts,
            refused: metrics.refused,
            retries: metrics.retries,
            reconnects: metrics.reconnects,
            loads: metrics.loads,
            loads_unavailable: metrics.loads_unavailable,
            loads_waiting: metrics.loads_waiting,
            batches_waiting: metrics.batches_waiting,
            connections: metrics.connections,
            connections_max: metrics.connections_max,
            connections_busy: metrics.connections_busy,
            search_pending: metrics.search_pending,
            search_lag_ms: metrics.search_lag_ms,
            search_indexed: metrics.search_indexed,
            upkeep_rows: metrics.upkeep_rows,
            transaction_ops: metrics.transaction_ops,
            commit_us: metrics.commit_us,
            load_us: metrics.load_us,
        }
    }

    fn status(&self) -> Status {
        // A shard that dies takes the process with it: while anybody can ask, all of them run.
        let shards_up = self.post.shards();
        Status { database_up: self.store.up(), shards_up, draining: self.draining.load(Ordering::Relaxed) }
    }
}

/// Asks one shard for its numbers.
pub fn ask(post: &Post, shard: u16, then: impl FnOnce(Report) + Send + 'static) {
    let asked = post.post(ShardId(shard), Posted::Report(Box::new(then)));
    assert!(asked.is_ok(), "only commands are ever refused");
}

fn shard_report(report: Report) -> ShardReport {
    let Report { engine, runtime, edge, sockets, .. } = report;
    ShardReport { engine, runtime, sockets: sockets as u64, edge }
}

/// The store's answers on their way to the shards.
pub struct Answers {
    /// The shards' inboxes.
    pub post: Post,
    /// Told when the store cannot go on.
    pub fatal: tokio::sync::mpsc::UnboundedSender<StoreError>,
}

impl Answers {
    fn post(&self, shard: ShardId, posted: Posted) {
        assert!(self.post.post(shard, posted).is_ok(), "only commands are ever refused");
    }
}

impl Completions for Answers {
    fn stored(&self, shard: ShardId, writer: Writer, outcome: BatchOutcome) {
        self.post(shard, Posted::Stored { writer, outcome });
    }

    fn loaded(&self, shard: ShardId, id: u64, result: Result<Loaded, LoadError>) {
        self.post(shard, Posted::Loaded { id, result });
    }

    fn retained(&self, room_id: RoomId, floor: Seq) {
        self.post(room_id.home(self.post.shards()), Posted::Retained { room_id, floor });
    }

    fn fatal(&self, error: StoreError) {
        // Nobody listens only when the process is ending anyway.
        let _ = self.fatal.send(error);
    }
}
