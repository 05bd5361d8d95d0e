//! Connections that do nothing: what one costs in memory, and in CPU for its heartbeat.

use super::{AT_ONCE, PATIENCE, Stage};
use crate::cmd::bench::{Cpu, Experiment, Good, Plan, Row};
use std::time::{Duration, Instant};
use veza_loadtest::lean::Way;

pub const EXPERIMENT: Experiment =
    Experiment { rows: &[8, 9], what: "idle connections, memory and CPU; 15,000 of them", run };

const ROOMS: usize = 100;

fn run(plan: Plan) -> Result<Vec<Row>, String> {
    let (low, high) = plan.of((5000, 15_000), (500, 1500));
    let stretch = plan.of(Duration::from_secs(50), Duration::from_secs(5));
    let mut stage = Stage::set(ROOMS, &[])?;
    stage.populate(high);
    let empty = idle(&mut stage, stretch.min(Duration::from_secs(10)))?;
    stage.crowd.bring(0..low, Way::Join, AT_ONCE, PATIENCE)?;
    let at_low = settled(&mut stage)?;
    stage.crowd.bring(low..high, Way::Join, AT_ONCE, PATIENCE)?;
    let at_high = settled(&mut stage)?;
    let full = idle(&mut stage, stretch)?;
    let slope = (at_high as f64 - at_low as f64) / (high - low) as f64;
    let per_second = |cpu: &Cpu| cpu.server.unwrap_or_default() / cpu.seconds;
    let own = (per_second(&full) - per_second(&empty)) * 1e6 / high as f64;
    let mib = |bytes: u64| bytes as f64 / 1_048_576.0;
    let memory = Row {
        number: 8,
        name: "process memory per idle authenticated connection, each in one of 100 rooms",
        value: slope,
        unit: "B",
        good: Good::AtMost,
        reach: 2048.0,
        stretch: 1536.0,
        peer: "0.5 KB",
        cpu: Cpu::default(),
        details: format!("{:.1} MiB with {low}, {:.1} MiB with {high}", mib(at_low), mib(at_high)),
    };
    let cpu = Row {
        number: 9,
        name: "CPU per idle connection and second, heartbeat 25 s",
        value: own,
        unit: "µs",
        good: Good::AtMost,
        reach: 1.5,
        stretch: 0.8,
        peer: "–",
        cpu: full,
        details: format!(
            "{high} connections {:.2} ms/s, none {:.2} ms/s",
            per_second(&full) * 1e3,
            per_second(&empty) * 1e3
        ),
    };
    Ok(vec![memory, cpu])
}

fn idle(stage: &mut Stage, time: Duration) -> Result<Cpu, String> {
    let meter = stage.meter();
    stage.crowd.live(time)?;
    Ok(meter.stop(stage))
}

/// The server's memory once it has not changed by more than 64 KiB for three seconds.
fn settled(stage: &mut Stage) -> Result<u64, String> {
    let deadline = Instant::now() + PATIENCE;
    let (mut last, mut calm) = (stage.server.rss_bytes(), 0);
    while calm < 30 && Instant::now() < deadline {
        stage.crowd.live(Duration::from_millis(100))?;
        let now = stage.server.rss_bytes();
        calm = if now.abs_diff(last) <= 64 << 10 { calm + 1 } else { 0 };
        if calm == 0 {
            last = now;
        }
    }
    Ok(last)
}
