//! `/health`, `/health/live`, `/health/ready`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Api;
use super::backend::Status;

impl Status {
    /// Whether the server should get traffic.
    pub fn ready(&self, shards: u16) -> bool {
        self.database_up && self.shards_up == shards && !self.draining
    }
}

/// The process lives: no more is said.
pub(super) async fn live() -> Response {
    json(StatusCode::OK, Vec::from(*b"{\"status\":\"live\"}"))
}

/// Whether it should get traffic.
pub(super) async fn ready(State(api): State<Arc<Api>>) -> Response {
    let ready = api.backend.status().ready(api.backend.shards());
    let text = if ready { "{\"status\":\"ready\"}" } else { "{\"status\":\"not_ready\"}" };
    json(code(ready), text.into())
}

/// Each component, for people.
pub(super) async fn all(State(api): State<Arc<Api>>) -> Response {
    let (status, shards) = (api.backend.status(), api.backend.shards());
    let ready = status.ready(shards);
    let summary = match (ready, status.draining) {
        (true, _) => "ready",
        (false, true) => "draining",
        (false, false) => "not_ready",
    };
    let up = |up| if up { "up" } else { "down" };
    let body = serde_json::json!({
        "status": summary,
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_s": api.started.elapsed().as_secs(),
        "components": {
            "database": { "status": up(status.database_up) },
            "shards": { "status": up(status.shards_up == shards), "up": status.shards_up, "total": shards },
            "server": { "status": if status.draining { "draining" } else { "up" } },
        },
    });
    json(code(ready), body.to_string().into())
}

fn code(ready: bool) -> StatusCode {
    if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

fn json(status: StatusCode, body: Vec<u8>) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")], body).into_response()
}
