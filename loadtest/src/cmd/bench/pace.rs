//! Rows 5 to 7: how long a message takes at a given rate, and what rate is possible at all.

use super::ground::{Ground, SERVER_CORE, apart};
use super::{Cpu, Experiment, Good, Plan, Row};
use hdrhistogram::Histogram;
use std::time::Duration;
use veza_loadtest::flow::{Flow, Until};

/// The rows.
pub const EXPERIMENTS: [Experiment; 2] = [
    Experiment {
        rows: &[5],
        what: "send → delivery at 35,000 deliveries a second in rooms of 10, durable, open loop",
        run: |plan| apart(|| latency(plan)),
    },
    Experiment {
        rows: &[6, 7],
        what: "acknowledged durable sends a second in rooms of 10, everything on the same cores; ack p99 at half of it",
        run: sends,
    },
];

/// Members of each room.
const SIZE: usize = 10;
/// Row 5: rooms, and messages a second.
const ROOMS: usize = 1000;
const RATE: f64 = 3500.0;
/// Row 6: rooms, and how many messages may be without their acknowledgement (one for each member).
const BUSY_ROOMS: usize = 50;
const IN_FLIGHT: u64 = 500;

fn ms(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    histogram.value_at_quantile(quantile) as f64 / 1e3
}

/// An open loop at this rate: what it cost, with the counts left in `flow`.
fn open(ground: &Ground, flow: &mut Flow, rate: f64, plan: Plan) -> Result<Cpu, String> {
    flow.open(rate, Duration::from_secs(plan.of(3, 1)))?;
    flow.reset();
    let watch = ground.watch();
    flow.open(rate, Duration::from_secs(plan.of(15, 2)))?;
    Ok(watch.end())
}

/// How long, and what each message cost everybody, µs.
fn told(of: &Histogram<u64>, cpu: &Cpu, messages: u64) -> String {
    let each = |seconds: Option<f64>| seconds.unwrap_or(f64::NAN) * 1e6 / messages as f64;
    format!(
        "p50 {:.2}, p99 {:.2}, p99.9 {:.2}, max {:.1} ms; CPU µs a message: server {:.1}, generator {:.1}, database {:.1}",
        ms(of, 0.5),
        ms(of, 0.99),
        ms(of, 0.999),
        of.max() as f64 / 1e3,
        each(cpu.server),
        each(cpu.generator),
        each(cpu.database)
    )
}

fn latency(plan: Plan) -> Result<Vec<Row>, String> {
    let ground = Ground::start(Some(SERVER_CORE), &[]);
    let mut flow = ground.fill(ROOMS, SIZE)?;
    let cpu = open(&ground, &mut flow, RATE, plan)?;
    let counts = &flow.counts;
    let details = told(&counts.delivery_us, &cpu, counts.sent);
    let row = |name, quantile, reach, stretch, peer| Row {
        number: 5,
        name,
        value: ms(&counts.delivery_us, quantile),
        unit: "ms",
        good: Good::AtMost,
        reach,
        stretch,
        peer,
        cpu,
        details: details.clone(),
    };
    Ok(vec![
        row("send → delivery at 35,000 deliveries/s in rooms of 10, durable, p50", 0.5, 2.0, 1.0, "0.08"),
        row("the same, p99", 0.99, 6.0, 3.0, "0.23"),
    ])
}

fn sends(plan: Plan) -> Result<Vec<Row>, String> {
    let ground = Ground::start(None, &[("server.shards", "1")]);
    let mut flow = ground.fill(BUSY_ROOMS, SIZE)?;
    flow.closed_for(IN_FLIGHT, Duration::from_secs(plan.of(2, 1)), Until::Acknowledged)?;
    flow.reset();
    let watch = ground.watch();
    flow.closed_for(IN_FLIGHT, Duration::from_secs(plan.of(10, 2)), Until::Acknowledged)?;
    let cpu = watch.end();
    let rate = flow.counts.acks as f64 / cpu.seconds;
    let row = |number, name, value, unit, (good, reach, stretch), cpu, details| Row {
        number,
        name,
        value,
        unit,
        good,
        reach,
        stretch,
        peer: "–",
        cpu,
        details,
    };
    let first = row(
        6,
        "acknowledged durable sends a second, rooms of 10, PostgreSQL and load on the same 2 cores",
        rate,
        "/s",
        (Good::AtLeast, 15_000.0, 25_000.0),
        cpu,
        format!("{BUSY_ROOMS} rooms, {IN_FLIGHT} in flight; ack {}", told(&flow.counts.ack_us, &cpu, flow.counts.sent)),
    );
    let half = open(&ground, &mut flow, rate / 2.0, plan)?;
    let counts = &flow.counts;
    let second = row(
        7,
        "ack p99 at half of that",
        ms(&counts.ack_us, 0.99),
        "ms",
        (Good::AtMost, 6.0, 3.0),
        half,
        format!("{:.0} a second offered; {}", rate / 2.0, told(&counts.ack_us, &half, counts.sent)),
    );
    Ok(vec![first, second])
}
