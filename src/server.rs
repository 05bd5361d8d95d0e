//! The composition root: builds the server, starts it, stops it. Nothing else.

mod accounts;
mod backend;
mod claim;
mod edge;
mod shutdown;

use std::error::Error;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, timeout, timeout_at};
use veza_engine::id::ShardId;
use veza_engine::time::WallMs;
use veza_runtime::{Post, Posted, Running, Runtime, RuntimeConfig};

use crate::api::{self, Api, Tickets};
use crate::auth::service::AuthService;
use crate::auth::token::Verifier;
use crate::config::Config;
use crate::gateway::{self, Gateway, GatewayConfig, Handshakes, Listener};
use crate::store::{AuthAnswer, AuthRequest, Store, StoreConfig, StoreError};
use accounts::StoredAccounts;
use backend::{Answers, Process};
use edge::{HttpReply, ShardEdge};
use shutdown::Signals;

/// Time that a command over HTTP may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// Time that the first attempt to read the revocations may take: a database that is away must not hold up the start.
const REVOCATIONS_PATIENCE: Duration = Duration::from_secs(1);

/// Between two attempts to read the revocations while the database is away.
const REVOCATIONS_RETRY: Duration = Duration::from_millis(500);

/// Why the server did not start, or ended: one line that says what to do.
type Failure = Box<dyn Error + Send + Sync>;

/// Serves until SIGTERM or SIGINT. Logging is set up, and io_uring is known to work.
///
/// # Errors
/// What is in the way: another server on this address, directory or database, a port that may not be bound, a store
/// that cannot go on.
pub fn run(config: Config) -> Result<(), Failure> {
    // A thread of its own, so that its name tells it apart.
    let control = std::thread::Builder::new().name("control".into()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let result = runtime.block_on(serve(&config));
        // What may still run is the end of a connection that has been answered.
        runtime.shutdown_background();
        result
    })?;
    control.join().unwrap_or_else(|_| Err("the control thread panicked".into()))
}

/// Everything that runs, until it is stopped.
struct Server {
    running: Running,
    store: Store,
    /// Set from the signal on.
    draining: Arc<AtomicBool>,
    /// The HTTP API on both ports.
    http: JoinSet<()>,
    stop_http: watch::Sender<bool>,
    /// The store cannot go on.
    fatals: mpsc::UnboundedReceiver<StoreError>,
    /// Closing a listener resets the connections that wait in its queue: duplicates keep them until the very end.
    _queues: Vec<OwnedFd>,
    /// The address is ours as long as this lives.
    _claim: claim::Claim,
}

async fn serve(config: &Config) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let mut server = build(config).await?;
    let signal = tokio::select! {
        signal = signals.next() => signal,
        Some(error) = server.fatals.recv() => return Err(error.into()),
    };
    signals.exit_on_next();
    server.stop(signal, config.server.shutdown_timeout).await
}

async fn build(config: &Config) -> Result<Server, Failure> {
    let runtime = Runtime::new(config.server.shards)?;
    let post = runtime.post();
    let writer_epoch = random() & i64::MAX | 1;
    let (fatal, fatals) = mpsc::unbounded_channel();
    let answers = Arc::new(Answers { post: post.clone(), fatal });
    let store_config = store_config(config, runtime.shards(), writer_epoch);
    // Waits for the lock of a server that is just ending: not on this thread.
    let store = spawn_blocking(move || Store::open(store_config, answers)).await??;

    let (addr, patience) = (config.server.bind_addr, config.database.lock_timeout);
    let bind = || gateway::listener::bind(addr, runtime.shards());
    let (mut claim, listeners) = claim::claim(addr, patience, bind).await?;
    let addr = listeners[0].local_addr()?;
    claim.name(addr);
    let queues = duplicates(&listeners)?;
    let internal = match config.server.internal_addr {
        Some(addr) => Some(TcpListener::bind(addr).await.map_err(|error| format!("cannot listen on {addr}: {error}"))?),
        None => None,
    };

    revoke_stored(&store, &post).await;
    let verifier = Arc::new(Verifier::new(config)?);
    let (replies, outcomes) = mpsc::unbounded_channel();
    let (sockets, handed) = mpsc::channel(api::HANDED_MAX);
    let edge = ShardEdge { shard: ShardId(0), store: store.clone(), verifier: verifier.clone(), replies, sockets };
    let running = start_shards(config, runtime, writer_epoch, listeners, &edge)?;

    let draining = Arc::new(AtomicBool::new(false));
    let accounts = Arc::new(accounts(config, &store, &post)?);
    let process = Process { post, verifier, accounts, store: store.clone(), draining: draining.clone() };
    let (stop_http, stopped) = watch::channel(false);
    let http = start_http(config, process, outcomes, handed, internal, stopped);
    announce(config, addr, running.post().shards());
    Ok(Server { running, store, draining, http, stop_http, fatals, _queues: queues, _claim: claim })
}

fn start_shards(
    config: &Config,
    runtime: Runtime,
    writer_epoch: i64,
    listeners: Vec<Listener>,
    edge: &ShardEdge,
) -> Result<Running, Failure> {
    let gateway_config = GatewayConfig {
        head: Arc::new(gateway::http_head::HeadPolicy {
            allowed_origins: config.server.allowed_origins.clone(),
            echo_endpoint: config.server.echo_endpoint,
            compression: config.server.compression,
        }),
        max_frame_bytes: config.limits.max_frame_bytes,
        handshake_us: u64::try_from(config.server.handshake_timeout.as_micros()).unwrap_or(u64::MAX),
        handshakes: Arc::new(Handshakes::new(config.limits.handshakes, config.limits.handshakes_per_address)),
    };
    let gateways = listeners.into_iter().map(|listener| {
        let (config, edge) = (gateway_config.clone(), edge.clone());
        move |shard| Gateway::new(config, listener, ShardEdge { shard, ..edge })
    });
    let runtime_config = RuntimeConfig { limits: config.engine_limits(), writer_epoch, seed: random() as u64 };
    Ok(runtime.start(&runtime_config, gateways.collect())?)
}

fn start_http(
    config: &Config,
    process: Process,
    mut outcomes: mpsc::UnboundedReceiver<HttpReply>,
    handed: mpsc::Receiver<api::Handed>,
    internal: Option<TcpListener>,
    stopped: watch::Receiver<bool>,
) -> JoinSet<()> {
    let tickets = Arc::new(Tickets::default());
    let settings = api::Settings {
        body_bytes_max: config.limits.max_frame_bytes,
        allowed_origins: config.server.allowed_origins.clone(),
        answer_timeout: ANSWER_TIMEOUT,
        internal_port: internal.is_some(),
        capacity: capacity_facts(config, &process),
    };
    let api = Api::new(Box::new(process), tickets.clone(), settings);
    tokio::spawn(async move {
        while let Some((ticket, result)) = outcomes.recv().await {
            tickets.complete(ticket, result);
        }
    });
    let mut http = JoinSet::new();
    http.spawn(api.clone().sample_capacity(stopped.clone()));
    http.spawn(api::serve_handed(api.public_router(), handed, stopped.clone()));
    if let Some(listener) = internal {
        http.spawn(api::serve_listener(api.internal_router(), listener, stopped));
    }
    http
}

/// What the model behind `/capacity` has to know of this server.
fn capacity_facts(config: &Config, process: &Process) -> api::CapacityFacts {
    let limits = config.engine_limits();
    api::CapacityFacts {
        shards: f64::from(process.post.shards()),
        heartbeat_s: limits.heartbeat_us as f64 / 1e6,
        batch_max: limits.batch_ops_max as f64,
        writers: process.store.writers() as f64,
        ring_events: limits.ring_events as f64,
        ring_bytes: limits.ring_bytes as f64,
        cache_bytes: process.store.cache_bytes() as f64,
    }
}

fn accounts(config: &Config, store: &Store, post: &Post) -> Result<AuthService, Failure> {
    let post = post.clone();
    let revoked = move |revocation: veza_engine::store::Revocation| {
        post.post_all(|_| Posted::Revoked(revocation.clone()));
    };
    Ok(AuthService::new(config, StoredAccounts(store.clone()), revoked)?)
}

fn store_config(config: &Config, shards: u16, writer_epoch: i64) -> StoreConfig {
    StoreConfig {
        max_connections: u32::from(config.database.max_connections),
        shards,
        lanes: config.database.write_lanes,
        writer_epoch,
        auto_provision: config.security.auto_provision,
        load_deadline: config.database.query_timeout,
        lock_wait: config.database.lock_timeout,
        search_language: config.search.language.clone(),
        deleted_grace: config.retention.deleted_grace,
        upkeep_every: config.retention.job_interval,
        ..StoreConfig::new(config.database.url.expose(), config.server.data_dir.clone())
    }
}

/// Tells the shards, before they serve anybody, which tokens are over. If the database is away, as soon as it is back:
/// until then nobody can be identified anyway.
async fn revoke_stored(store: &Store, post: &Post) {
    if let Ok(true) = timeout(REVOCATIONS_PATIENCE, try_revoke_stored(store, post)).await {
        return;
    }
    tracing::warn!("the database does not answer yet: the server starts and is not ready until it does");
    let (store, post) = (store.clone(), post.clone());
    tokio::spawn(async move {
        while !try_revoke_stored(&store, &post).await {
            tokio::time::sleep(REVOCATIONS_RETRY).await;
        }
        tracing::info!("the database answers");
    });
}

async fn try_revoke_stored(store: &Store, post: &Post) -> bool {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = WallMs(i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
    let Ok(AuthAnswer::Revocations(revocations)) = store.auth(AuthRequest::Revocations { now }).await else {
        return false;
    };
    for revocation in revocations {
        post.post_all(|_| Posted::Revoked(revocation.clone()));
    }
    true
}

fn duplicates(listeners: &[Listener]) -> io::Result<Vec<OwnedFd>> {
    listeners.iter().map(|listener| listener.as_fd().try_clone_to_owned()).collect()
}

fn random() -> i64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    i64::from_ne_bytes(bytes)
}

/// The log gets it, and standard output, whatever the log's level and format are.
fn announce(config: &Config, addr: std::net::SocketAddr, shards: u16) {
    let version = env!("CARGO_PKG_VERSION");
    tracing::info!(version, shards, database = %config.database.url, "serving on {addr}");
    // Nobody has to read it.
    let _ = writeln!(io::stdout(), "listening on http://{addr}");
}

impl Server {
    /// Drains and ends everything in order, within `patience`.
    async fn stop(mut self, signal: &str, patience: Duration) -> Result<(), Failure> {
        let deadline = Instant::now() + patience;
        tracing::info!("{signal}: telling clients to leave");
        self.draining.store(true, Ordering::Relaxed);
        if !shutdown::drain(self.running.post(), patience).await {
            tracing::warn!("not everything was written in time: senders of what was not have no acknowledgement of it");
        }
        let _ = self.stop_http.send(true);
        // The commands over HTTP that were under way are answered; connections that take nothing are given up.
        let _ = timeout_at(deadline, async { while self.http.join_next().await.is_some() {} }).await;
        let _ = timeout_at(deadline, spawn_blocking(|| self.running.stop_and_join())).await;
        if timeout_at(deadline, self.store.close()).await.is_err() {
            tracing::warn!("the database was not closed in time");
        }
        tracing::info!("stopped");
        Ok(())
    }
}
