//! A storm: all connections are cut at once, and all return at once.

use super::{AT_ONCE, PATIENCE, Stage};
use crate::cmd::bench::{Experiment, Good, Plan, Row};
use std::time::{Duration, Instant};
use veza_loadtest::lean::Way;

pub const EXPERIMENT: Experiment = Experiment { rows: &[11], what: "a storm of 15,000 returning clients", run };

const ROOMS: usize = 100;
/// Messages that each room gets while everybody is away.
const MISSED: usize = 3;

fn run(plan: Plan) -> Result<Vec<Row>, String> {
    let count = plan.of(15_000, 1500);
    let mut stage =
        Stage::set(ROOMS, &["shared_preload_libraries=pg_stat_statements", "pg_stat_statements.track_utility=off"])?;
    stage.pg.sql("create extension pg_stat_statements");
    stage.populate(count);
    stage.crowd.bring(0..count, Way::Join, AT_ONCE, PATIENCE)?;
    stage.crowd.live(Duration::from_secs(3))?;
    (0..count).for_each(|number| stage.crowd.cut(number));
    stage.until_gone()?;
    stage.talk(MISSED)?;
    stage.pg.sql("select pg_stat_statements_reset()");
    let loads = stage.metric("veza_store_loads_total")?;
    let meter = stage.meter();
    let began = Instant::now();
    stage.crowd.bring(0..count, Way::Resume, count, PATIENCE)?;
    let seconds = began.elapsed().as_secs_f64();
    let cpu = meter.stop(&stage);
    let loads = stage.metric("veza_store_loads_total")? - loads;
    let statements: f64 = stage
        .pg
        .sql("select coalesce(sum(calls), 0) from pg_stat_statements where query !~ 'pg_stat'")
        .parse()
        .unwrap_or(-1.0);
    // Whatever comes late or twice comes now.
    stage.talk(1)?;
    stage.crowd.live(Duration::from_secs(1))?;
    let head = (MISSED + 1) as u64;
    let behind = (0..count).filter(|n| stage.crowd.member(*n).places.iter().any(|place| place.last != head)).count();
    let bound = (3 * ROOMS) as f64 + count as f64 / 100.0;
    if behind > 0 || statements > bound {
        return Err(format!("{behind} have not seen every message; {statements} statements, bound {bound}"));
    }
    Ok(vec![Row {
        number: 11,
        name: "storm of 15,000: all back and caught up, nothing lost or doubled",
        value: seconds,
        unit: "s",
        good: Good::AtMost,
        reach: 5.0,
        stretch: 2.0,
        peer: "–",
        cpu,
        details: format!(
            "{count} clients in {ROOMS} rooms, {MISSED} messages missed each; {statements} SQL statements ({loads} \
             queries of the engine), bound {bound}; {} were refused once (503) and came again; server {:.1} µs a client",
            stage.crowd.refusals,
            cpu.server.unwrap_or_default() * 1e6 / count as f64
        ),
    }])
}
