//! Every metric that there is: `/metrics` is written from this table, and the page that explains it. Label values come
//! from closed sets in the code: the number of series depends on the number of shards alone.

use std::borrow::Cow;

use veza_engine::stats::{Log2Histogram, Peak};
use veza_engine::wire::{CloseCode, CommandType, ErrorCode};
use veza_runtime::{Call, Phase};

use super::Snapshot;
use super::text::{BATCH, Buckets, Kind, LATENCY, TURN};
use crate::api::backend::ShardReport;

/// One metric.
pub struct Metric {
    /// Its whole name, unit and `_total` included.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// What it says.
    pub help: &'static str,
    /// Where its numbers come from.
    pub source: Source,
}

/// A label's value, and the number under it.
pub type Labelled = (Cow<'static, str>, f64);
/// The values of two labels, and the number under them.
pub type Labelled2 = (&'static str, &'static str, f64);

/// Where numbers come from.
pub enum Source {
    /// One per shard.
    Shard(fn(&ShardReport) -> f64),
    /// One per shard and value of this label.
    Family(&'static str, fn(&ShardReport) -> Vec<Labelled>),
    /// One per shard and values of these labels.
    Family2([&'static str; 2], fn(&ShardReport) -> Vec<Labelled2>),
    /// A counter of the gateway of each shard, by its name there.
    Edge(&'static str),
    /// A histogram per shard.
    ShardHistogram(Buckets, fn(&ShardReport) -> &Log2Histogram),
    /// One for the process.
    One(fn(&Snapshot) -> f64),
    /// A histogram for the process.
    Histogram(Buckets, fn(&Snapshot) -> &Log2Histogram),
    /// One for each value of this label, for the process.
    Kinds(&'static str, fn(&Snapshot) -> Vec<(&'static str, f64)>),
    /// A constant 1 with the version as its label.
    Build,
}

impl Source {
    /// The labels besides `le`.
    pub fn labels(&self) -> Vec<&'static str> {
        match self {
            Source::Shard(_) | Source::Edge(_) | Source::ShardHistogram(..) => vec!["shard"],
            Source::Family(label, _) => vec!["shard", label],
            Source::Family2([first, second], _) => vec!["shard", first, second],
            Source::One(_) | Source::Histogram(..) => vec![],
            Source::Kinds(label, _) => vec![label],
            Source::Build => vec!["version"],
        }
    }
}

impl Metric {
    /// The unit that its name tells; empty: a number of things.
    pub fn unit(&self) -> &'static str {
        let name = self.name.strip_suffix("_total").unwrap_or(self.name);
        ["seconds", "bytes"].into_iter().find(|unit| name.ends_with(&format!("_{unit}"))).unwrap_or("")
    }
}

const fn gauge(name: &'static str, help: &'static str, of: fn(&ShardReport) -> f64) -> Metric {
    Metric { name, kind: Kind::Gauge, help, source: Source::Shard(of) }
}

const fn counter(name: &'static str, help: &'static str, of: fn(&ShardReport) -> f64) -> Metric {
    Metric { name, kind: Kind::Counter, help, source: Source::Shard(of) }
}

const fn edge(name: &'static str, help: &'static str, of: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, help, source: Source::Edge(of) }
}

const fn family(
    name: &'static str,
    kind: Kind,
    help: &'static str,
    label: &'static str,
    of: fn(&ShardReport) -> Vec<Labelled>,
) -> Metric {
    Metric { name, kind, help, source: Source::Family(label, of) }
}

const fn per_shard(
    name: &'static str,
    help: &'static str,
    buckets: Buckets,
    of: fn(&ShardReport) -> &Log2Histogram,
) -> Metric {
    Metric { name, kind: Kind::Histogram, help, source: Source::ShardHistogram(buckets, of) }
}

pub(super) const fn one(name: &'static str, kind: Kind, help: &'static str, of: fn(&Snapshot) -> f64) -> Metric {
    Metric { name, kind, help, source: Source::One(of) }
}

const fn whole(
    name: &'static str,
    help: &'static str,
    buckets: Buckets,
    of: fn(&Snapshot) -> &Log2Histogram,
) -> Metric {
    Metric { name, kind: Kind::Histogram, help, source: Source::Histogram(buckets, of) }
}

const SECOND_US: f64 = 1e6;

/// What is in a shard now.
const STATE: [Metric; 18] = [
    gauge("veza_shard_up", "1 for each shard that answered this scrape", |_| 1.0),
    gauge("veza_connections", "Open WebSocket connections", |r| r.engine.connections as f64),
    gauge("veza_connections_authenticated", "Connections that have authenticated", |r| r.engine.authenticated as f64),
    gauge("veza_sockets", "Open sockets of whatever kind", |r| r.sockets as f64),
    gauge("veza_users_online", "Users with a connection, by their home shard", |r| r.engine.users_online as f64),
    gauge("veza_rooms_loaded", "Rooms in memory, by their home shard", |r| r.engine.rooms_loaded as f64),
    gauge("veza_subscriptions", "Subscriptions of connections to rooms", |r| r.engine.subscriptions as f64),
    gauge("veza_journal_operations", "Operations that wait for the database or are on their way", |r| {
        r.engine.journal_ops as f64
    }),
    gauge("veza_journal_bytes", "Bytes of the operations that wait for the database or are on their way", |r| {
        r.engine.journal_bytes as f64
    }),
    gauge("veza_journal_lag_seconds", "How long the oldest batch on its way to the database has been", |r| {
        r.engine.journal_lag_us as f64 / SECOND_US
    }),
    gauge("veza_loads", "Queries under way", |r| r.engine.loads as f64),
    gauge("veza_outbox_bytes", "Bytes that wait in the outboxes of connections", |r| r.engine.outbox_bytes as f64),
    gauge("veza_peer_queue_messages", "Messages that wait for other shards", |r| r.engine.peer_waiting as f64),
    gauge("veza_inbox_waiting", "Completions, commands and requests of other threads that wait for this shard", |r| {
        r.runtime.inbox_waiting as f64
    }),
    Metric {
        name: "veza_high_water",
        kind: Kind::Gauge,
        help: "The most that a queue held at once: since the start, or in the last 30 to 60 seconds (recent)",
        source: Source::Family2(["queue", "window"], high_water),
    },
    family(
        "veza_queue_limit",
        Kind::Gauge,
        "What a queue takes at most, in the unit of veza_high_water",
        "queue",
        |r| {
            let bounds = &r.engine.bounds;
            let queues = [
                ("journal_operations", bounds.journal_ops),
                ("journal_bytes", bounds.journal_bytes),
                ("loads", bounds.loads),
                ("outbox_bytes", bounds.outbox_bytes),
                ("peer_queue", bounds.peer_waiting),
            ];
            queues.map(|(queue, most)| (queue.into(), most as f64)).into()
        },
    ),
    family(
        "veza_memory_bytes",
        Kind::Gauge,
        "Memory of the shard's state by kind, counted or estimated",
        "kind",
        |r| {
            let (memory, own) = (&r.engine.memory, r.engine.journal_bytes);
            let kinds = [
                ("sessions", memory.sessions),
                ("outboxes", memory.outboxes),
                ("rooms", memory.rooms),
                ("rings", memory.rings),
                ("users", memory.users),
                ("identities", memory.identities),
                ("journal", own),
                ("sockets", r.runtime.socket_bytes),
            ];
            kinds.map(|(kind, bytes)| (kind.into(), bytes as f64)).into()
        },
    ),
    gauge("veza_turn_longest_seconds", "The longest turn since the start", |r| {
        r.runtime.turn_us_max as f64 / SECOND_US
    }),
];

/// What the pump of a shard does.
const PUMP: [Metric; 19] = [
    family(
        "veza_pump_busy_seconds_total",
        Kind::Counter,
        "Time that the shard was awake, by what it did; its rate over all phases is the shard's utilisation",
        "phase",
        |r| Phase::ALL.iter().map(|of| (of.name().into(), r.runtime.busy_us[*of] as f64 / SECOND_US)).collect(),
    ),
    counter("veza_pump_cpu_seconds_total", "CPU time of the shard's thread, going to sleep and waking included", |r| {
        r.runtime.cpu_us as f64 / SECOND_US
    }),
    per_shard("veza_turn_seconds", "Time of one turn of the shard's loop", TURN, |r| &r.runtime.turn_us),
    counter("veza_turns_total", "Turns of the shard's loop", |r| r.runtime.turns as f64),
    counter("veza_sleeps_total", "Sleeps between turns", |r| r.runtime.sleeps as f64),
    family(
        "veza_system_calls_total",
        Kind::Counter,
        "System calls of the shard's loop (what a handshake needs besides is not counted)",
        "call",
        |r| Call::ALL.iter().map(|of| (of.name().into(), r.runtime.calls[*of] as f64)).collect(),
    ),
    counter("veza_reads_total", "Reads that brought bytes", |r| r.runtime.reads as f64),
    counter("veza_read_bytes_total", "Bytes read from sockets", |r| r.runtime.read_bytes as f64),
    counter("veza_writes_total", "Writes to sockets, each with everything that waited for it", |r| {
        r.runtime.writes as f64
    }),
    counter("veza_frames_written_total", "Frames written whole; by writes: how many leave together", |r| {
        (r.engine.frames_written + r.runtime.edge_frames) as f64
    }),
    counter("veza_written_bytes_total", "Bytes written to sockets", |r| r.runtime.written_bytes as f64),
    counter("veza_writes_blocked_total", "Writes that found the socket full", |r| r.runtime.blocked as f64),
    counter("veza_sockets_accepted_total", "Sockets accepted", |r| r.runtime.accepted as f64),
    counter("veza_sockets_closed_total", "Sockets closed or handed over", |r| r.runtime.closed as f64),
    counter("veza_accept_errors_total", "Pauses in accepting for lack of descriptors or memory", |r| {
        r.runtime.accept_backoffs as f64
    }),
    counter("veza_panics_total", "Panics that cost one connection or one request", |r| r.runtime.panics as f64),
    counter("veza_peer_messages_total", "Messages from other shards", |r| r.runtime.peer_messages as f64),
    counter("veza_posted_total", "Completions, commands and requests from other threads", |r| r.runtime.posted as f64),
    edge("veza_connection_panics_total", "Panics while a connection's bytes were handled", "connection_panics"),
];

/// What becomes of sockets before and besides the chat.
const GATEWAY: [Metric; 9] = [
    edge("veza_upgrades_total", "WebSocket connections opened", "upgrades"),
    edge("veza_echo_upgrades_total", "WebSocket connections to /echo opened", "echo_upgrades"),
    edge("veza_handed_over_total", "Sockets with HTTP requests, handed to the control thread", "handed_over"),
    edge("veza_refused_limit_total", "Handshakes refused beyond a limit", "refused_limit"),
    edge("veza_refused_head_total", "Requests refused for their head", "refused_head"),
    edge("veza_refused_token_total", "Upgrades refused for their token", "refused_token"),
    edge("veza_handshake_timeouts_total", "Handshakes that took too long", "handshake_timeouts"),
    edge("veza_resets_total", "Connections reset because the peer took nothing any more", "resets"),
    edge("veza_pongs_dropped_total", "Pings left unanswered because the peer did not take the pongs", "pongs_dropped"),
];

/// What the chat does.
const CHAT: [Metric; 13] = [
    family("veza_commands_total", Kind::Counter, "Commands by type", "type", |r| {
        CommandType::ALL.iter().map(|of| (of.name().into(), r.engine.commands.0[*of as usize] as f64)).collect()
    }),
    family("veza_errors_total", Kind::Counter, "Errors that clients were told, by code", "code", |r| {
        ErrorCode::ALL.iter().map(|of| (of.name().into(), r.engine.errors[*of as usize] as f64)).collect()
    }),
    family("veza_disconnects_total", Kind::Counter, "Connections closed, by close code", "code", |r| {
        CloseCode::ALL.iter().zip(r.engine.closes).map(|(of, n)| ((*of as u16).to_string().into(), n as f64)).collect()
    }),
    counter("veza_deliveries_total", "Pushes of events put into outboxes", |r| r.engine.deliveries as f64),
    counter("veza_events_total", "Events committed", |r| r.engine.events as f64),
    counter("veza_ephemeral_dropped_total", "Ephemeral pushes dropped under pressure", |r| {
        r.engine.ephemeral_dropped as f64
    }),
    counter("veza_authentications_total", "Connections that authenticated", |r| r.engine.authentications as f64),
    counter("veza_joins_total", "Subscriptions by joining a room", |r| r.engine.joins as f64),
    counter("veza_resumed_rooms_total", "Subscriptions by resuming, with nothing missed", |r| {
        r.engine.resumed_rooms as f64
    }),
    counter("veza_batch_conflicts_total", "Batches that met rows of another writer or a repetition", |r| {
        r.engine.conflicts as f64
    }),
    counter("veza_events_void_total", "Events that the database refused for what they contain", |r| {
        r.engine.voids as f64
    }),
    per_shard("veza_ack_seconds", "From a command's arrival at its room to its reply", LATENCY, |r| &r.engine.ack_us),
    per_shard("veza_batch_operations", "Operations in one batch", BATCH, |r| &r.engine.batch_ops),
];

/// permessage-deflate.
const COMPRESSION: [Metric; 7] = [
    edge("veza_compressed_upgrades_total", "WebSocket connections that agreed to compression", "compressed_upgrades"),
    counter("veza_compressed_frames_total", "Frames compressed, each once for all its receivers", |r| {
        r.engine.packed_frames as f64
    }),
    counter("veza_compressed_deliveries_total", "Compressed frames put into outboxes", |r| {
        r.engine.packed_deliveries as f64
    }),
    counter("veza_compression_saved_bytes_total", "Bytes that these would have been longer", |r| {
        r.engine.packed_saved_bytes as f64
    }),
    counter("veza_compression_skipped_total", "Frames left plain because a turn had compressed enough", |r| {
        r.engine.packing_put_off as f64
    }),
    edge("veza_inflated_messages_total", "Compressed messages that came in", "inflated_messages"),
    edge("veza_inflated_bytes_total", "Bytes of these when inflated", "inflated_bytes"),
];

/// The store.
const STORE: [Metric; 23] = [
    per_shard("veza_commit_seconds", "From a batch's leaving the shard to its outcome", LATENCY, |r| {
        &r.engine.commit_us
    }),
    one("veza_store_up", Kind::Gauge, "1 while the database answers", |s| f64::from(u8::from(s.store.up))),
    whole("veza_store_transaction_operations", "Operations in one transaction", BATCH, |s| &s.store.transaction_ops),
    whole("veza_store_commit_seconds", "Time of one transaction", LATENCY, |s| &s.store.commit_us),
    whole("veza_store_load_seconds", "From a query's coming to its answer", LATENCY, |s| &s.store.load_us),
    one("veza_store_cpu_seconds_total", Kind::Counter, "CPU time of the store's threads", |s| {
        s.process.thread_cpu.store / SECOND_US
    }),
    one("veza_store_batches_total", Kind::Counter, "Batches committed", |s| s.store.batches as f64),
    one("veza_store_events_total", Kind::Counter, "Events committed", |s| s.store.events as f64),
    one("veza_store_conflicts_total", Kind::Counter, "Batches answered as conflicts", |s| s.store.conflicts as f64),
    one("veza_store_refused_total", Kind::Counter, "Batches refused for what they contain", |s| s.store.refused as f64),
    one("veza_store_retries_total", Kind::Counter, "Transactions tried again", |s| s.store.retries as f64),
    one("veza_store_reconnects_total", Kind::Counter, "Connections made again after a loss", |s| {
        s.store.reconnects as f64
    }),
    one("veza_store_loads_total", Kind::Counter, "Queries answered", |s| s.store.loads as f64),
    one("veza_store_loads_unavailable_total", Kind::Counter, "Queries that could not be answered in time", |s| {
        s.store.loads_unavailable as f64
    }),
    one("veza_store_loads_waiting", Kind::Gauge, "Queries waiting or under way", |s| s.store.loads_waiting as f64),
    one("veza_store_batches_waiting", Kind::Gauge, "Batches waiting or under way", |s| s.store.batches_waiting as f64),
    one("veza_store_connections", Kind::Gauge, "Connections to the database", |s| s.store.connections as f64),
    one("veza_store_connections_max", Kind::Gauge, "Connections to the database when all are open", |s| {
        s.store.connections_max as f64
    }),
    one("veza_store_connections_busy", Kind::Gauge, "Connections at work on batches or queries", |s| {
        s.store.connections_busy as f64
    }),
    one("veza_store_search_pending", Kind::Gauge, "Rooms with messages that search does not know yet", |s| {
        s.store.search_pending as f64
    }),
    one(
        "veza_store_search_lag_seconds",
        Kind::Gauge,
        "How long the oldest message unknown to search has waited",
        |s| s.store.search_lag_ms as f64 / 1e3,
    ),
    one("veza_store_search_indexed_total", Kind::Counter, "Messages indexed for search", |s| {
        s.store.search_indexed as f64
    }),
    one("veza_store_upkeep_rows_total", Kind::Counter, "Rows removed or erased in the background", |s| {
        s.store.upkeep_rows as f64
    }),
];

/// All of them, by what they are about.
pub const GROUPS: [(&str, &[Metric]); 7] = [
    ("Chat", &CHAT),
    ("State of a shard", &STATE),
    ("Loop of a shard", &PUMP),
    ("Connections before and besides the chat", &GATEWAY),
    ("Compression", &COMPRESSION),
    ("Store", &STORE),
    ("Process", &super::process::PROCESS),
];

/// All of them.
pub fn all() -> impl Iterator<Item = &'static Metric> {
    GROUPS.iter().flat_map(|(_, metrics)| metrics.iter())
}

/// Whether a counter of the gateway is in a metric.
pub fn has_edge(name: &str) -> bool {
    all().any(|metric| matches!(metric.source, Source::Edge(of) if of == name))
}

fn high_water(report: &ShardReport) -> Vec<Labelled2> {
    let (engine, runtime) = (&report.engine.peaks, &report.runtime);
    let queues: [(&'static str, &Peak); 7] = [
        ("journal_operations", &engine.journal_ops),
        ("journal_bytes", &engine.journal_bytes),
        ("loads", &engine.loads),
        ("outbox_bytes", &engine.outbox_bytes),
        ("peer_queue", &engine.peer_waiting),
        ("mesh_ring", &runtime.ring_peak),
        ("inbox", &runtime.inbox_peak),
    ];
    let both = |(queue, peak): (&'static str, &Peak)| {
        [(queue, "start", peak.since_start() as f64), (queue, "recent", peak.recent() as f64)]
    };
    queues.into_iter().flat_map(both).collect()
}
