//! `/capacity`: what a connection, a delivery, a durable message and a join cost, measured over the last minutes; how
//! much more fits; and what a planned load would need.

mod answer;
mod batching;
#[cfg(test)]
mod calibration;
mod costs;
mod fit;
mod headroom;
mod machine;
mod memory;
mod plan;
mod query;
mod sample;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::watch;

use super::Api;
use super::assets::embedded;
use super::metrics::shard_reports;
use super::process::Process;
use machine::Bounds;
pub use plan::Facts;
use sample::{Reading, Window};

/// Between two samples. With [`sample::SAMPLES_MAX`] of them the window is ten minutes.
const PERIOD: Duration = Duration::from_secs(5);
/// A request takes a sample of its own if the last one is older: an answer speaks of now, and who asks often does not
/// chop the window up.
const SAMPLE_MIN: Duration = Duration::from_secs(1);

/// What has been learnt. Owned by the API; only the control thread takes the lock. Lost with the process: after a start
/// the documented defaults stand until there has been traffic.
#[derive(Debug, Default)]
pub struct Planner {
    window: Mutex<Window>,
}

impl Planner {
    fn window(&self) -> MutexGuard<'_, Window> {
        // A window is consistent after each push, so it is as good after a panic as before.
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Api {
    /// Takes a sample every few seconds until told to stop.
    pub async fn sample_capacity(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut ticks = tokio::time::interval(PERIOD);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let stopped = async { drop(stop.wait_for(|stop| *stop).await) };
            tokio::select! {
                _ = ticks.tick() => {}
                () = stopped => return,
            }
            self.take_sample().await;
        }
    }

    async fn take_sample(&self) {
        let recent = |window: &Window| window.last_at().is_some_and(|at| at.elapsed() < SAMPLE_MIN);
        if recent(&self.capacity.window()) {
            return;
        }
        let reports = shard_reports(self).await;
        if reports.len() != usize::from(self.backend.shards()) {
            // A shard that does not answer in time: the next sample spans its silence.
            return;
        }
        let reports: Vec<_> = reports.into_iter().map(|(_, report)| report).collect();
        let reading = Reading::new(&reports, &self.backend.store_report(), &Process::read());
        self.capacity.window().push(reading, SAMPLE_MIN);
    }
}

/// The answer, and the page that draws it.
pub(super) fn router() -> Router<Arc<Api>> {
    let page = |content_type, bytes: &'static [u8]| embedded(content_type, Bytes::from_static(bytes));
    Router::new()
        .route("/capacity", get(capacity))
        .route("/capacity/page", page("text/html; charset=utf-8", include_bytes!("page/index.html")))
        .route("/capacity/page.css", page("text/css; charset=utf-8", include_bytes!("page/page.css")))
        .route("/capacity/page.js", page("text/javascript; charset=utf-8", include_bytes!("page/page.js")))
}

/// `GET /capacity`, with or without a question.
async fn capacity(State(api): State<Arc<Api>>, RawQuery(query): RawQuery) -> Response {
    let question = match query::parse(query.as_deref().unwrap_or_default()) {
        Ok(question) => question,
        Err(invalid) => {
            let body = serde_json::json!({
                "type": "/docs#INVALID_REQUEST",
                "title": "Bad Request",
                "status": 400,
                "code": "INVALID_REQUEST",
                "retryable": false,
                "detail": invalid.to_string(),
                "field": invalid.parameter,
            });
            return json(StatusCode::BAD_REQUEST, "application/problem+json", body.to_string());
        }
    };
    api.take_sample().await;
    let answer = {
        let window = api.capacity.window();
        let resident = window.recent(0.0).state.resident;
        answer::answer(&window, &api.settings.capacity, &Bounds::read(resident), question.as_ref())
    };
    json(StatusCode::OK, "application/json", serde_json::to_string(&answer).expect("numbers and strings are JSON"))
}

fn json(status: StatusCode, content_type: &'static str, body: String) -> Response {
    (status, [(header::CONTENT_TYPE, content_type), (header::CACHE_CONTROL, "no-store")], body).into_response()
}
