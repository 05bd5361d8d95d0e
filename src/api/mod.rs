//! HTTP besides the WebSocket: commands, accounts, health, metrics, documents and the web client. Runs on the control
//! thread; nothing here touches a shard but through [`Backend`].

mod assets;
mod backend;
mod capacity;
mod commands;
mod conn;
mod cors;
mod docs;
mod health;
mod metrics;
mod problem;
mod process;
#[cfg(test)]
mod tests;
mod tickets;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::routing::{any, get, post};
use veza_engine::wire::parse::Parser;
use veza_engine::wire::{Command, CommandError, CommandType, ErrorCode};

pub use backend::{AccountRequest, Backend, CommandResult, Full, Pending, ShardReport, Status, StoreReport};
pub use capacity::Facts as CapacityFacts;
pub use conn::{HANDED_MAX, Handed, serve_handed, serve_listener};
pub use problem::Problem;
pub use tickets::{TICKETS_MAX, Tickets};

/// What the operator can set.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Largest request body in bytes; beyond: 413.
    pub body_bytes_max: usize,
    /// Origins that browsers may call the API from, as `https://app.example.com`.
    pub allowed_origins: Vec<String>,
    /// Time that a command may take; beyond: `STORE_UNAVAILABLE`, the outcome is unknown.
    pub answer_timeout: Duration,
    /// `/metrics` is served on the internal port only.
    pub internal_port: bool,
    /// What `/capacity` cannot read from the shards' counters.
    pub capacity: CapacityFacts,
}

/// The state that all requests share.
pub struct Api {
    backend: Box<dyn Backend>,
    settings: Settings,
    /// Commands over HTTP that are under way.
    tickets: Arc<Tickets>,
    parser: Mutex<Parser>,
    started: Instant,
    capacity: capacity::Planner,
}

impl Api {
    /// An API in front of `backend`, whose answers to commands come to `tickets`.
    pub fn new(backend: Box<dyn Backend>, tickets: Arc<Tickets>, settings: Settings) -> Arc<Api> {
        let (parser, started, capacity) = (Mutex::default(), Instant::now(), capacity::Planner::default());
        Arc::new(Api { backend, settings, tickets, parser, started, capacity })
    }

    fn parse(&self, kind: CommandType, body: &[u8]) -> Result<Command, Box<CommandError>> {
        // The parser is only scratch memory: after a panic it is as good as before.
        self.parser.lock().unwrap_or_else(PoisonError::into_inner).parse_data(kind, body).map_err(Box::new)
    }

    /// What clients reach.
    pub fn public_router(self: &Arc<Self>) -> Router {
        let commands = Router::new()
            .route("/api/v1/auth/register", post(commands::register))
            .route("/api/v1/auth/login", post(commands::login))
            .route("/api/v1/auth/refresh", post(commands::refresh))
            .route("/api/v1/{command}", post(commands::command))
            .method_not_allowed_fallback(wrong_method)
            .layer(DefaultBodyLimit::max(self.settings.body_bytes_max))
            .layer(axum::middleware::from_fn_with_state(self.clone(), cors::cors));
        let mut router = commands
            .merge(assets::router())
            .merge(docs::router())
            .merge(self.health())
            .route("/ws", any(upgrade_required))
            .route("/echo", any(upgrade_required));
        if !self.settings.internal_port {
            router = router.merge(self.numbers());
        }
        self.finish(router)
    }

    /// What operators reach on a port of its own.
    pub fn internal_router(self: &Arc<Self>) -> Router {
        self.finish(self.health().merge(self.numbers()))
    }

    /// What is for operators alone.
    fn numbers(&self) -> Router<Arc<Api>> {
        Router::new().route("/metrics", get(metrics::metrics)).merge(capacity::router())
    }

    fn health(&self) -> Router<Arc<Api>> {
        Router::new()
            .route("/health", get(health::all))
            .route("/health/live", get(health::live))
            .route("/health/ready", get(health::ready))
    }

    fn finish(self: &Arc<Self>, router: Router<Arc<Api>>) -> Router {
        router
            .method_not_allowed_fallback(wrong_method)
            .fallback(not_found)
            .layer(axum::middleware::from_fn(cors::fixed_headers))
            .with_state(self.clone())
    }
}

async fn not_found() -> Problem {
    Problem::with_status(StatusCode::NOT_FOUND, ErrorCode::NotFound, "no such path")
}

async fn wrong_method() -> Problem {
    Problem::with_status(StatusCode::METHOD_NOT_ALLOWED, ErrorCode::InvalidRequest, "wrong method for this path")
}

/// A shard keeps a `/ws` request for itself; one on a connection that has been handed over comes too late for that.
async fn upgrade_required() -> Problem {
    let message = "a WebSocket needs a connection of its own: open a new one";
    Problem::with_status(StatusCode::UPGRADE_REQUIRED, ErrorCode::InvalidRequest, message).closing()
}
