//! Coming back: upgrade with a token, resume, and the end of the connection before, as one.

use super::bare::Bare;
use super::{AT_ONCE, PATIENCE, Stage, median};
use crate::cmd::bench::{Cpu, Experiment, Good, Plan, Row};
use veza_loadtest::lean::{Crowd, Way};

pub const EXPERIMENT: Experiment =
    Experiment { rows: &[10], what: "authenticated reconnects with resume of one room and of five", run };

/// Members who stay, in each of the rooms.
const HOLDERS: usize = 150;
/// Users who come and go, for each kind.
const CYCLERS: usize = 300;
/// Reconnects under way at a time.
const UNDER_WAY: usize = 16;

fn run(plan: Plan) -> Result<Vec<Row>, String> {
    let (count, rounds) = plan.of((10_000, 5), (500, 1));
    let mut stage = Stage::set(5, &[])?;
    let all = stage.rooms.clone();
    let _holders: Vec<usize> = (0..HOLDERS).map(|_| stage.add(&all)).collect();
    let one: Vec<usize> = (0..CYCLERS).map(|_| stage.add(&all[..1])).collect();
    let five: Vec<usize> = (0..CYCLERS).map(|_| stage.add(&all)).collect();
    stage.crowd.bring(0..stage.crowd.len(), Way::Join, AT_ONCE, PATIENCE)?;
    stage.talk(3)?;
    let reference = Bare::start()?;
    let mut bare = Crowd::new(reference.addr).map_err(|error| error.to_string())?;
    let bare_ones: Vec<usize> = (0..CYCLERS).map(|_| bare.add(None, &[])).collect();
    bare.bring(bare_ones.iter().copied(), Way::Upgrade, AT_ONCE, PATIENCE)?;
    cycle(&mut stage.crowd, &five, count / 5, Way::Resume)?;
    let (mut costs, mut cpu) = ([Vec::new(), Vec::new(), Vec::new()], Cpu::default());
    for _ in 0..rounds {
        let before = reference.cpu_seconds();
        cycle(&mut bare, &bare_ones, count, Way::Upgrade)?;
        costs[0].push((reference.cpu_seconds() - before) * 1e6 / count as f64);
        for (who, cost) in [(&one, 1), (&five, 2)] {
            let meter = stage.meter();
            cycle(&mut stage.crowd, who, count, Way::Resume)?;
            cpu = meter.stop(&stage);
            costs[cost].push(cpu.server.unwrap_or_default() * 1e6 / count as f64);
        }
    }
    let [bare_us, one_us, five_us] = costs.each_ref().map(|costs| median(costs));
    let row = |name, value, all: &[f64], reach, stretch| Row {
        number: 10,
        name,
        value,
        unit: "µs",
        good: Good::AtMost,
        reach,
        stretch,
        peer: "22 µs bare",
        cpu,
        details: format!("bare server in the same run {bare_us:.1} µs ({:.2} ×); rounds {all:.1?}", value / bare_us),
    };
    Ok(vec![
        row("CPU per authenticated reconnect (HS256), resume of one room", one_us, &costs[1], 80.0, 45.0),
        row("the same with resume of five rooms", five_us, &costs[2], 120.0, 70.0),
    ])
}

/// Cuts one after the other and lets it come back, so many times in all.
fn cycle(crowd: &mut Crowd, who: &[usize], count: usize, way: Way) -> Result<(), String> {
    let mut next = 0;
    crowd.arrivals();
    let (mut under_way, mut arrived) = (0, 0);
    crowd.until(PATIENCE, |crowd| {
        let fresh = crowd.arrivals().len();
        under_way -= fresh;
        arrived += fresh;
        while next < count && under_way < UNDER_WAY {
            let number = who[next % who.len()];
            crowd.cut(number);
            if let Err(error) = crowd.set_out(number, way) {
                crowd.fault(format!("client {number} cannot set out: {error}"));
                break;
            }
            (next, under_way) = (next + 1, under_way + 1);
        }
        arrived == count
    })
}
