//! `/metrics`: a snapshot of every shard, the store and the process, in the OpenMetrics text format.
//! Every label value comes from a closed set in the code: the number of series depends on the number of shards alone.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::{Registry, Unit};
use veza_engine::stats::Log2Histogram;
use veza_engine::wire::{CloseCode, CommandType, ErrorCode};

use super::Api;
use super::backend::{ShardReport, Status, StoreReport};
use super::process::Process;

/// Time that a shard has to answer; one that is stuck is left out (and counted down).
const REPORT_TIMEOUT: Duration = Duration::from_secs(1);

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(super) async fn metrics(State(api): State<Arc<Api>>) -> Response {
    let mut snapshot = Snapshot {
        shards: Vec::new(),
        store: api.backend.store_report(),
        status: api.backend.status(),
        process: Process::read(),
        http_waiting: api.tickets.waiting(),
        uptime: api.started.elapsed(),
    };
    let asked: Vec<_> = (0..api.backend.shards()).map(|shard| (shard, api.backend.shard_report(shard))).collect();
    let deadline = tokio::time::Instant::now() + REPORT_TIMEOUT;
    for (shard, answer) in asked {
        if let Ok(Ok(report)) = tokio::time::timeout_at(deadline, answer).await {
            snapshot.shards.push((shard.to_string(), report));
        }
    }
    ([(header::CONTENT_TYPE, CONTENT_TYPE), (header::CACHE_CONTROL, "no-store")], snapshot.text()).into_response()
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
    /// Commands over HTTP under way.
    pub http_waiting: usize,
    /// Since the start.
    pub uptime: Duration,
}

impl Snapshot {
    /// As OpenMetrics text.
    pub fn text(self) -> String {
        let mut registry = Registry::with_prefix("veza");
        registry.register_collector(Box::new(self));
        let mut text = String::with_capacity(32 << 10);
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("a String takes everything");
        text
    }
}

impl Collector for Snapshot {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut out = Out(encoder);
        self.shard_gauges(&mut out)?;
        self.shard_counters(&mut out)?;
        self.shard_families(&mut out)?;
        self.shard_histograms(&mut out)?;
        self.store(&mut out)?;
        self.process(&mut out)
    }
}

type Gauge = (&'static str, &'static str, Option<Unit>, fn(&ShardReport) -> u64);
/// A label's value, and the count under it.
type Labelled = (Cow<'static, str>, u64);
type Counter = (&'static str, &'static str, fn(&ShardReport) -> u64);

const GAUGES: [Gauge; 12] = [
    ("connections", "Open WebSocket connections", None, |r| r.stats.connections),
    ("connections_authenticated", "Those that have authenticated", None, |r| r.stats.authenticated),
    ("users_online", "Users with a connection, by their home shard", None, |r| r.stats.users_online),
    ("rooms_loaded", "Rooms in memory, by their home shard", None, |r| r.stats.rooms_loaded),
    ("subscriptions", "Subscriptions of connections to rooms", None, |r| r.stats.subscriptions),
    ("journal_operations", "Operations that wait for the database or are on their way", None, |r| r.stats.journal_ops),
    ("journal", "Bytes of these operations", Some(Unit::Bytes), |r| r.stats.journal_bytes),
    ("loads", "Queries under way", None, |r| r.stats.loads),
    ("outbox", "Bytes that wait in all outboxes", Some(Unit::Bytes), |r| r.stats.outbox_bytes),
    ("peer_queue_messages", "Messages that wait for other shards", None, |r| r.stats.peer_waiting),
    ("sockets", "Open sockets of whatever kind", None, |r| r.sockets),
    ("shard_up", "1 for each shard that answered this scrape", None, |_| 1),
];

const COUNTERS: [Counter; 5] = [
    ("deliveries", "Pushes of events put into outboxes", |r| r.stats.deliveries),
    ("events", "Events committed", |r| r.stats.events),
    ("ephemeral_dropped", "Ephemeral pushes dropped under pressure", |r| r.stats.ephemeral_dropped),
    ("batch_conflicts", "Batches that met rows of another writer or a repetition", |r| r.stats.conflicts),
    ("events_void", "Events that the database refused for what they contain", |r| r.stats.voids),
];

impl Snapshot {
    fn shard_gauges(&self, out: &mut Out<'_>) -> fmt::Result {
        for (name, help, unit, value) in &GAUGES {
            let mut metric = out.0.encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?;
            for (shard, report) in &self.shards {
                metric.encode_family(&[("shard", shard.as_str())])?.encode_gauge(&value(report))?;
            }
        }
        Ok(())
    }

    fn shard_counters(&self, out: &mut Out<'_>) -> fmt::Result {
        for (name, help, value) in &COUNTERS {
            let mut metric = out.0.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (shard, report) in &self.shards {
                counter(&mut metric.encode_family(&[("shard", shard.as_str())])?, value(report))?;
            }
        }
        let Some((_, first)) = self.shards.first() else { return Ok(()) };
        for (index, (name, _)) in first.counters.iter().enumerate() {
            let mut metric = out.0.encode_descriptor(name, "Counter of pump and gateway", None, MetricType::Counter)?;
            for (shard, report) in &self.shards {
                counter(&mut metric.encode_family(&[("shard", shard.as_str())])?, report.counters[index].1)?;
            }
        }
        Ok(())
    }

    fn shard_families(&self, out: &mut Out<'_>) -> fmt::Result {
        self.family(out, "commands", "Commands by type", "type", |report| {
            CommandType::ALL.iter().map(|kind| (kind.name().into(), report.stats.commands.0[*kind as usize])).collect()
        })?;
        self.family(out, "errors", "Errors that clients were told, by code", "code", |report| {
            ErrorCode::ALL.iter().map(|code| (code.name().into(), report.stats.errors[*code as usize])).collect()
        })?;
        self.family(out, "disconnects", "Connections closed, by close code", "code", |report| {
            CloseCode::ALL.iter().zip(report.stats.closes).map(|(c, n)| ((*c as u16).to_string().into(), n)).collect()
        })
    }

    fn family(
        &self,
        out: &mut Out<'_>,
        name: &str,
        help: &str,
        label: &str,
        values: fn(&ShardReport) -> Vec<Labelled>,
    ) -> fmt::Result {
        let mut metric = out.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (shard, report) in &self.shards {
            for (value, count) in values(report) {
                let labels = [("shard", shard.as_str()), (label, value.as_ref())];
                counter(&mut metric.encode_family(&labels)?, count)?;
            }
        }
        Ok(())
    }

    fn shard_histograms(&self, out: &mut Out<'_>) -> fmt::Result {
        type Row = (&'static str, &'static str, Option<Unit>, Buckets, fn(&ShardReport) -> &Log2Histogram);
        let rows: [Row; 3] = [
            ("batch_operations", "Operations in one transaction", None, BATCH, |r| &r.stats.batch_ops),
            ("commit", "From a batch's leaving to its outcome", Some(Unit::Seconds), LATENCY, |r| &r.stats.commit_us),
            ("ack", "From a command's arrival at its room to its reply", Some(Unit::Seconds), LATENCY, |r| {
                &r.stats.ack_us
            }),
        ];
        for (name, help, unit, buckets, value) in &rows {
            let mut metric = out.0.encode_descriptor(name, help, unit.as_ref(), MetricType::Histogram)?;
            for (shard, report) in &self.shards {
                buckets.encode(&mut metric.encode_family(&[("shard", shard.as_str())])?, value(report))?;
            }
        }
        Ok(())
    }

    fn store(&self, out: &mut Out<'_>) -> fmt::Result {
        out.gauge("store_up", "1 while the database answers", None, u64::from(self.store.up))?;
        for (name, value) in &self.store.counters {
            out.counter(&format!("store_{name}"), "Counter of the store", None, *value)?;
        }
        for (name, value) in &self.store.gauges {
            out.gauge(&format!("store_{name}"), "Gauge of the store", None, *value)?;
        }
        for (name, help, histogram) in [
            ("store_commit", "Time of one transaction", &self.store.commit_us),
            ("store_load", "From a query's coming to its answer", &self.store.load_us),
        ] {
            let mut metric = out.0.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)?;
            LATENCY.encode(&mut metric, histogram)?;
        }
        Ok(())
    }

    fn process(&self, out: &mut Out<'_>) -> fmt::Result {
        let process = &self.process;
        let bytes = Some(&Unit::Bytes);
        out.gauge("draining", "1 from the begin of a shutdown on", None, u64::from(self.status.draining))?;
        out.gauge("shards_up", "Shards that run", None, u64::from(self.status.shards_up))?;
        out.gauge("http_commands_waiting", "Commands over HTTP under way", None, self.http_waiting as u64)?;
        out.gauge("uptime", "Since the start", Some(&Unit::Seconds), self.uptime.as_secs_f64())?;
        out.gauge("process_resident_memory", "Resident memory", bytes, process.resident_bytes)?;
        out.gauge("process_virtual_memory", "Virtual memory", bytes, process.virtual_bytes)?;
        out.gauge("process_open_fds", "Open descriptors", None, process.open_fds)?;
        out.gauge("process_max_fds", "Descriptors that may be open", None, process.max_fds)?;
        out.gauge("process_threads", "Threads", None, process.threads)?;
        out.counter("process_cpu", "User and system CPU time", Some(&Unit::Seconds), process.cpu_seconds)?;
        let mut info = out.0.encode_descriptor("build", "What runs", None, MetricType::Info)?;
        info.encode_info(&[("version", env!("CARGO_PKG_VERSION"))])
    }
}

struct Out<'a>(DescriptorEncoder<'a>);

impl Out<'_> {
    fn gauge(&mut self, name: &str, help: &str, unit: Option<&Unit>, value: impl EncodeGaugeValue) -> fmt::Result {
        self.0.encode_descriptor(name, help, unit, MetricType::Gauge)?.encode_gauge(&value)
    }

    fn counter(&mut self, name: &str, help: &str, unit: Option<&Unit>, value: impl EncodeCounterValue) -> fmt::Result {
        counter(&mut self.0.encode_descriptor(name, help, unit, MetricType::Counter)?, value)
    }
}

fn counter(metric: &mut MetricEncoder<'_>, value: impl EncodeCounterValue) -> fmt::Result {
    metric.encode_counter(&value, None::<&Exemplar<NoLabelSet, u64>>)
}

/// Which of the engine's buckets are shown: the first holds all below, what lies beyond the last is in +Inf alone.
#[derive(Clone, Copy)]
struct Buckets {
    first: usize,
    last: usize,
    scale: f64,
}

/// 128 µs to 33 s.
const LATENCY: Buckets = Buckets { first: 6, last: 24, scale: 1e-6 };
/// Up to 16,384 operations.
const BATCH: Buckets = Buckets { first: 0, last: 13, scale: 1.0 };

impl Buckets {
    fn encode(self, metric: &mut MetricEncoder<'_>, histogram: &Log2Histogram) -> fmt::Result {
        let counts = &histogram.buckets;
        let mut buckets = Vec::with_capacity(self.last - self.first + 2);
        buckets.push((self.bound(self.first), counts[..=self.first].iter().sum()));
        buckets.extend((self.first + 1..=self.last).map(|index| (self.bound(index), counts[index])));
        buckets.push((f64::INFINITY, counts[self.last + 1..].iter().sum()));
        let count = counts.iter().sum();
        metric.encode_histogram::<NoLabelSet>(histogram.sum as f64 * self.scale, count, &buckets, None)
    }

    /// Bucket `i` counts integers below 2^(i+1).
    fn bound(self, index: usize) -> f64 {
        ((1u64 << (index + 1)) - 1) as f64 * self.scale
    }
}
