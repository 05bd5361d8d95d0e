//! `/metrics`: a snapshot of every shard, the store and the process, as Prometheus reads it. [`table`] says what there is,
//! [`text`] how it is written.

mod page;
mod process;
pub(super) mod table;
mod text;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::Api;
use super::backend::{ShardReport, Status, StoreReport};
use super::process::{Memory, Process};
use table::{Metric, Source};
use text::Text;

pub(super) use page::page;
#[cfg(test)]
pub(super) use text::Kind;

/// Time that a shard has to answer; one that is stuck is left out (and counted down).
const REPORT_TIMEOUT: Duration = Duration::from_secs(1);

pub(super) async fn metrics(State(api): State<Arc<Api>>) -> Response {
    let process = Process::read();
    let snapshot = Snapshot {
        shards: shard_reports(&api).await,
        store: api.backend.store_report(),
        status: api.backend.status(),
        memory: Memory::read(&process),
        process,
        http_waiting: api.tickets.waiting(),
        uptime: api.started.elapsed(),
    };
    ([(header::CONTENT_TYPE, text::CONTENT_TYPE), (header::CACHE_CONTROL, "no-store")], snapshot.text()).into_response()
}

/// The numbers of all shards that answer in time, under their label.
pub(super) async fn shard_reports(api: &Api) -> Vec<(String, Box<ShardReport>)> {
    let asked: Vec<_> = (0..api.backend.shards()).map(|shard| (shard, api.backend.shard_report(shard))).collect();
    let deadline = tokio::time::Instant::now() + REPORT_TIMEOUT;
    let mut reports = Vec::with_capacity(asked.len());
    for (shard, answer) in asked {
        if let Ok(Ok(report)) = tokio::time::timeout_at(deadline, answer).await {
            reports.push((shard.to_string(), report));
        }
    }
    reports
}

/// All numbers at one moment.
#[derive(Debug)]
pub struct Snapshot {
    /// The shards that answered, under their label.
    pub shards: Vec<(String, Box<ShardReport>)>,
    /// The store.
    pub store: StoreReport,
    /// Readiness.
    pub status: Status,
    /// The process.
    pub process: Process,
    /// Its memory.
    pub memory: Memory,
    /// Commands over HTTP under way.
    pub http_waiting: usize,
    /// Since the start.
    pub uptime: Duration,
}

impl Snapshot {
    /// As Prometheus reads it.
    pub fn text(&self) -> String {
        let mut text = Text::default();
        let counted = self.shards.iter().flat_map(|(_, report)| &report.edge);
        for (name, _) in counted {
            debug_assert!(table::has_edge(name), "{name} is counted and in no metric");
        }
        for metric in table::all() {
            self.metric(&mut text, metric);
        }
        text.finish()
    }

    fn metric(&self, text: &mut Text, metric: &Metric) {
        text.begin(metric.name, metric.kind, metric.help);
        match &metric.source {
            Source::One(of) => text.series(metric.name, &[], of(self)),
            Source::Histogram(buckets, of) => text.histogram(metric.name, &[], *buckets, of(self)),
            Source::Kinds(label, of) => {
                for (value, number) in of(self) {
                    text.series(metric.name, &[(label, value)], number);
                }
            }
            Source::Build => text.series(metric.name, &[("version", env!("CARGO_PKG_VERSION"))], 1),
            of_shards => {
                for (shard, report) in &self.shards {
                    of_shard(text, metric.name, of_shards, shard, report);
                }
            }
        }
    }
}

fn of_shard(text: &mut Text, name: &str, source: &Source, shard: &str, report: &ShardReport) {
    let own = ("shard", shard);
    match source {
        Source::Shard(of) => text.series(name, &[own], of(report)),
        Source::Edge(of) => {
            if let Some((_, value)) = report.edge.iter().find(|(name, _)| name == of) {
                text.series(name, &[own], value);
            }
        }
        Source::Family(label, of) => {
            for (value, number) in of(report) {
                text.series(name, &[own, (label, value.as_ref())], number);
            }
        }
        Source::Family2([first, second], of) => {
            for (one, other, number) in of(report) {
                text.series(name, &[own, (first, one), (second, other)], number);
            }
        }
        Source::ShardHistogram(buckets, of) => text.histogram(name, &[own], *buckets, of(report)),
        Source::One(_) | Source::Histogram(..) | Source::Kinds(..) | Source::Build => {
            unreachable!("of the process, not of a shard")
        }
    }
}
