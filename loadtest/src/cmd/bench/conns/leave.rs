//! What is left of a crowd's memory when it has gone.

use super::{AT_ONCE, PATIENCE, Stage};
use crate::cmd::bench::{Cpu, Experiment, Good, Plan, Row};
use std::time::Duration;
use veza_loadtest::lean::Way;

pub const EXPERIMENT: Experiment =
    Experiment { rows: &[15], what: "memory one minute after 15,000 have left, twice", run };

fn run(plan: Plan) -> Result<Vec<Row>, String> {
    let count = plan.of(15_000, 1500);
    let minute = plan.of(Duration::from_secs(60), Duration::from_secs(5));
    let mut stage = Stage::set(100, &[])?;
    stage.populate(count);
    stage.crowd.live(Duration::from_secs(3))?;
    let fresh = stage.server.rss_bytes();
    let mut after = Vec::new();
    let mut full = Vec::new();
    for way in [Way::Join, Way::Resume] {
        stage.crowd.bring(0..count, way, AT_ONCE, PATIENCE)?;
        stage.crowd.live(Duration::from_secs(2))?;
        full.push(stage.server.rss_bytes());
        (0..count).for_each(|number| stage.crowd.cut(number));
        stage.until_gone()?;
        stage.crowd.live(minute)?;
        after.push(stage.server.rss_bytes());
    }
    let mib = |bytes: u64| bytes as f64 / 1_048_576.0;
    Ok(vec![Row {
        number: 15,
        name: "resident memory one minute after the last of 15,000 has left, against after a first such round",
        value: after[1] as f64 / after[0] as f64,
        unit: "×",
        good: Good::AtMost,
        reach: 1.3,
        stretch: 1.1,
        peer: "–",
        cpu: Cpu::default(),
        details: format!(
            "fresh {:.1} MiB; with {count} {:.1}, after {:.1} ({:.2} × fresh); again {:.1}, {:.1} ({:.2} × fresh)",
            mib(fresh),
            mib(full[0]),
            mib(after[0]),
            after[0] as f64 / fresh as f64,
            mib(full[1]),
            mib(after[1]),
            after[1] as f64 / fresh as f64,
        ),
    }])
}
