//! Rows 12 and 13: a room of 15,000, and receivers that do not read.

use super::bare::Bare;
use super::ground::{Ground, SERVER_CORE, apart, median};
use super::{Cpu, Experiment, Good, Plan, Row};
use std::time::Duration;
use veza_loadtest::flow::{Flow, Until};

/// The rows.
pub const EXPERIMENTS: [Experiment; 2] = [
    Experiment {
        rows: &[12],
        what: "the last of 15,000 receivers of a message, against a bare loop of sends",
        run: |plan| apart(|| last_receiver(plan)),
    },
    Experiment {
        rows: &[13],
        what: "a hundredth of the receivers stalled: the others' p99",
        run: |plan| apart(|| stalled(plan)),
    },
];

/// Row 12: online in the room.
const ONLINE: usize = 15_000;
/// Row 13: online in the room, of whom a hundredth stalls; messages a second; messages that fill the stalled sockets.
const RECEIVERS: usize = 1000;
const RATE: f64 = 20.0;
const FILLING: u64 = 500;

fn last_receiver(plan: Plan) -> Result<Vec<Row>, String> {
    let ground = Ground::start(Some(SERVER_CORE), &[]);
    let mut bare = Bare::start(1, ONLINE, &ground.push()?)?;
    let mut flow = ground.fill(1, ONLINE)?;
    flow.closed(1, 3, Until::Received)?;
    bare.closed(1, 3)?;
    let (mut served_ms, mut bare_ms, mut parts) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..plan.of(7, 1) {
        flow.reset();
        let watch = ground.watch();
        flow.closed(1, 5, Until::Received)?;
        parts.push(watch.end());
        served_ms.push(flow.counts.last_us.value_at_quantile(0.5) as f64 / 1e3);
        bare_ms.push(bare.closed(1, 5)?.last_ms);
    }
    let ratios: Vec<f64> = served_ms.iter().zip(&bare_ms).map(|(served, bare)| served / bare).collect();
    let cpu = Cpu::sum(&parts);
    Ok(vec![Row {
        number: 12,
        name: "one room of 15,000 online: last receiver of a message, against the bare loop",
        value: median(&ratios),
        unit: "×",
        good: Good::AtMost,
        reach: 1.35,
        stretch: 1.1,
        peer: "1.38",
        cpu,
        details: format!("{:.1} ms against {:.1} ms; ratios {ratios:.2?}", median(&served_ms), median(&bare_ms)),
    }])
}

/// p99 of those that read, ms, and what it cost.
fn p99(ground: &Ground, flow: &mut Flow, plan: Plan) -> Result<(f64, Cpu), String> {
    flow.reset();
    let watch = ground.watch();
    flow.open(RATE, Duration::from_secs(plan.of(4, 1)))?;
    let cpu = watch.end();
    Ok((flow.counts.delivery_us.value_at_quantile(0.99) as f64 / 1e3, cpu))
}

fn stalled(plan: Plan) -> Result<Vec<Row>, String> {
    let (mut calm, mut beside, mut parts) = (Vec::new(), Vec::new(), Vec::new());
    // Room for what comes while it is measured: nobody is to be thrown out meanwhile.
    let ground = Ground::start(Some(SERVER_CORE), &[("limits.outbox_bytes", "16777216")]);
    for _ in 0..plan.of(5, 1) {
        let mut flow = ground.fill(1, RECEIVERS)?;
        flow.closed(8, FILLING, Until::Received)?;
        calm.push(p99(&ground, &mut flow, plan)?.0);
        for number in 0..RECEIVERS / 100 {
            flow.stall(number * 100)?;
        }
        flow.closed(32, FILLING * plan.of(20, 4), Until::Received)?;
        let (ms, cpu) = p99(&ground, &mut flow, plan)?;
        beside.push(ms);
        parts.push(cpu);
    }
    let ratios: Vec<f64> = beside.iter().zip(&calm).map(|(beside, calm)| beside / calm).collect();
    Ok(vec![Row {
        number: 13,
        name: "1 % of receivers stalled: p99 of the others against none stalled",
        value: median(&ratios),
        unit: "×",
        good: Good::AtMost,
        reach: 1.5,
        stretch: 1.2,
        peer: "–",
        cpu: Cpu::sum(&parts),
        details: format!("one room of {RECEIVERS}, {RATE} a second; ms stalled {beside:.1?}, calm {calm:.1?}"),
    }])
}
