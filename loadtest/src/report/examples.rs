//! Runs made by hand, for the tests of what reads them.

use crate::result::{Counts, Cpu, FORMAT, Latency, RunResult, Second, histogram};

/// A distribution whose p50, p90, p99, p99.9 and max are 1, 3, 9, 20 and 30 ms, times `factor`.
pub fn distribution(count: u64, factor: f64) -> Latency {
    let mut of = histogram();
    for (share, ms) in [(0.6, 1.0), (0.35, 3.0), (0.045, 9.0), (0.0049, 20.0), (0.0001, 30.0)] {
        let value = (ms * 1e3 * factor) as u64;
        of.record_n(value, (count as f64 * share).round() as u64).expect("in bounds");
    }
    let exact = |ms: f64| (ms * 1e3 * factor) as u64;
    Latency {
        p50_us: exact(1.0),
        p90_us: exact(3.0),
        p99_us: exact(9.0),
        p999_us: exact(20.0),
        max_us: exact(30.0),
        ..Latency::from(&of)
    }
}

/// Ten measured seconds after two of warm-up, in which a little went wrong.
pub fn run() -> RunResult {
    let mut run = RunResult {
        format: FORMAT,
        scenario: "chat".into(),
        plan: serde_json::json!({"rooms": 100, "rate": 1000, "load": {"sizes": "zipf"}}),
        started_at: "2026-01-02T03:04:05Z".into(),
        target: "127.0.0.1:8080".into(),
        shards: 2,
        workers: 1,
        measured_s: 10.0,
        connections: 1_000,
        rooms: 100,
        cpu: Cpu { server_s: Some(4.5), database_s: Some(2.0), generator_s: 3.0, others_s: Some(1.0) },
        shard_busy: vec![0.2, 0.25],
        checked_events: 90_000,
        ..RunResult::default()
    };
    run.counts = Counts {
        offered: 10_003,
        sent: 10_003,
        acknowledged: 10_000,
        deliveries: 90_000,
        connects: 1_000,
        disconnects: 1,
        ..Counts::default()
    };
    run.counts.errors.insert("OVERLOADED".into(), 3);
    run.counts.closes.insert("3002".into(), 1);
    run.counts.commands.insert("send_message".into(), 10_003);
    run.latency.insert("ack".into(), distribution(10_000, 1.0));
    run.latency.insert("delivery".into(), distribution(90_000, 4.0 / 3.0));
    run.latency.insert("connect".into(), distribution(1_000, 0.5));
    run.server.insert("commits_total".into(), 77.0);
    run.server.insert("closes_total{code=3002}".into(), 2.0);
    run.server.insert("process_resident_memory_bytes".into(), 140e6);
    run.series = (1..=12).map(second).collect();
    run
}

fn second(at: u32) -> Second {
    Second {
        at_s: f64::from(at),
        measured: at > 2,
        connections: if at < 2 { 500 } else { 1_000 },
        sent: 1_000,
        acknowledged: 1_000 - u64::from(at == 5) * 3,
        deliveries: 9_000,
        errors: u64::from(at == 5) * 3,
        in_flight: 4,
        ack_p50_us: 1_000,
        ack_p99_us: 9_000 + u64::from(at) * 10,
        delivery_p50_us: 1_300,
        delivery_p99_us: 12_000,
        server_cores: Some(0.45),
        generator_cores: 0.3,
        server_rss_bytes: Some(138_000_000 + u64::from(at) * 1_000_000),
        journal_operations: Some(u64::from(at) + 5),
    }
}
