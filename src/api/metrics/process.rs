//! Metrics of the process as a whole.

use super::table::{Metric, Source, one};
use super::text::Kind;

/// The process.
pub const PROCESS: [Metric; 13] = [
    one("veza_shards_up", Kind::Gauge, "Shards that run", |s| f64::from(s.status.shards_up)),
    one("veza_draining", Kind::Gauge, "1 from the begin of a shutdown on", |s| f64::from(u8::from(s.status.draining))),
    one("veza_http_commands_waiting", Kind::Gauge, "Commands over HTTP under way", |s| s.http_waiting as f64),
    one("veza_uptime_seconds", Kind::Gauge, "Time since the start", |s| s.uptime.as_secs_f64()),
    Metric { name: "veza_build_info", kind: Kind::Gauge, help: "What runs", source: Source::Build },
    one("process_cpu_seconds_total", Kind::Counter, "User and system CPU time", |s| s.process.cpu_seconds),
    one("process_resident_memory_bytes", Kind::Gauge, "Resident memory", |s| s.process.resident_bytes as f64),
    Metric {
        name: "veza_process_memory_bytes",
        kind: Kind::Gauge,
        help: "Resident memory by what it is for: pages of the program, what the allocator has handed out (the shards' own \
               memory by kind is part of it) and what it keeps, and the rest (stacks, rings); all kinds together are the \
               resident memory",
        source: Source::Kinds("kind", |s| {
            let memory = &s.memory;
            let kinds = [("code", memory.code), ("heap_used", memory.heap_used), ("heap_free", memory.heap_free)];
            kinds.into_iter().chain([("other", memory.other)]).map(|(kind, bytes)| (kind, bytes as f64)).collect()
        }),
    },
    one("process_virtual_memory_bytes", Kind::Gauge, "Virtual memory", |s| s.process.virtual_bytes as f64),
    one("process_open_fds", Kind::Gauge, "Open descriptors", |s| s.process.open_fds as f64),
    one("process_max_fds", Kind::Gauge, "Descriptors that may be open", |s| s.process.max_fds as f64),
    one("process_threads", Kind::Gauge, "Threads", |s| s.process.threads as f64),
    one("process_start_time_seconds", Kind::Gauge, "When the process started, since 1970", |s| s.process.started),
];
