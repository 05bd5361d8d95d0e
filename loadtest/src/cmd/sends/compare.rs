//! Two builds held against each other: both run at once, each on a database of its own, and the load goes to one, then to
//! the other, in short stretches. What else the machine does meanwhile disturbs both alike; ratios are of neighbours.

use super::{Arguments, offer, quiet};
use crate::cmd::{on_this_thread, print_json, start};
use hdrhistogram::Histogram;
use serde::Serialize;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use veza_loadtest::drive::{Offer, Tally};
use veza_loadtest::pg::TestPg;
use veza_loadtest::server::{Options, Server};

/// Of the other build's throughput, at least; and its latency at most as many times longer.
const RATIO_MIN: f64 = 0.9;
/// Of a stretch that is not measured.
const WARM_UP: Duration = Duration::from_millis(700);

/// One build at work.
struct Side {
    server: Server,
    pg: Option<TestPg>,
    tally: Rc<Tally>,
}

/// One stretch.
#[derive(Clone, Copy, Default)]
struct Stretch {
    per_second: f64,
    p50_us: f64,
    p99_us: f64,
    /// Of server and database, per send.
    cpu_us: f64,
}

#[derive(Debug, Default, Serialize)]
struct Figures {
    rounds: u32,
    /// Medians: the other build, this build, and of the ratios of neighbouring stretches.
    per_second: [f64; 3],
    /// In the closed loop.
    closed_cpu_us: [f64; 3],
    /// In the open loop, at the same rate for both.
    open_rate: f64,
    p50_us: [f64; 3],
    p99_us: [f64; 3],
    open_cpu_us: [f64; 3],
    errors: u64,
    violations: u64,
}

pub(super) fn run(arguments: &Arguments, options: Options, program: &Path) -> Result<bool, String> {
    let store = arguments.store.into();
    let (other, other_pg) = start(store, Options { binary: Some(program.to_owned()), ..options.clone() });
    let (this, pg) = start(store, options);
    let side = |server, pg| Side { server, pg, tally: Rc::new(Tally::default()) };
    let sides = [side(other, other_pg), side(this, pg)];
    let figures = on_this_thread(measure(arguments, &sides))?;
    println!("{figures:#?}");
    print_json("sends-compare", &figures)?;
    Ok(figures.violations == 0
        && figures.errors == 0
        && figures.per_second[2] >= RATIO_MIN
        && figures.p50_us[2].max(figures.p99_us[2]) <= 1.0 / RATIO_MIN)
}

async fn measure(arguments: &Arguments, sides: &[Side; 2]) -> Result<Figures, String> {
    for side in sides {
        arguments.fill(&side.server, &side.tally).await?;
    }
    let count = arguments.rooms * arguments.members;
    let mut closed = Vec::new();
    for round in 0..arguments.rounds {
        closed.push(pair(arguments, sides, round, |_| Offer::Closed(arguments.windows[0])).await?);
    }
    let slower = |pair: &[Stretch; 2]| pair[0].per_second.min(pair[1].per_second);
    let rate = median(closed.iter().map(slower)) / 2.0;
    let every = Duration::from_secs_f64(count as f64 / rate);
    let mut open = Vec::new();
    for round in 0..arguments.rounds {
        open.push(pair(arguments, sides, round, |now| Offer::Open(every, now)).await?);
    }
    let errors = sides.iter().map(|side| side.tally.errors.borrow().values().sum::<u64>()).sum();
    Ok(Figures {
        rounds: arguments.rounds,
        per_second: summary(&closed, |stretch| stretch.per_second),
        closed_cpu_us: summary(&closed, |stretch| stretch.cpu_us),
        open_rate: rate,
        p50_us: summary(&open, |stretch| stretch.p50_us),
        p99_us: summary(&open, |stretch| stretch.p99_us),
        open_cpu_us: summary(&open, |stretch| stretch.cpu_us),
        errors,
        violations: sides.iter().map(|side| side.tally.violations.get()).sum(),
    })
}

/// A stretch of each, in turn the one or the other first.
async fn pair(
    arguments: &Arguments,
    sides: &[Side; 2],
    round: u32,
    load: impl Fn(Instant) -> Offer,
) -> Result<[Stretch; 2], String> {
    let mut pair = [Stretch::default(); 2];
    for turn in 0..2 {
        let index = ((round + turn) % 2) as usize;
        pair[index] = stretch(&sides[index], Duration::from_secs(arguments.seconds), load(Instant::now())).await?;
    }
    Ok(pair)
}

async fn stretch(side: &Side, time: Duration, load: Offer) -> Result<Stretch, String> {
    let cpu = || side.server.cpu_seconds() + side.pg.as_ref().map_or(0.0, |pg| pg.cpu().as_secs_f64());
    offer(&side.tally, Some(load));
    sleep(WARM_UP).await;
    let histogram = Histogram::new_with_bounds(1, 60_000_000, 3).map_err(|error| error.to_string())?;
    *side.tally.latency.borrow_mut() = Some(histogram);
    let (start, acks, before) = (Instant::now(), side.tally.acks.get(), cpu());
    sleep(time).await;
    let (done, seconds) = ((side.tally.acks.get() - acks) as f64, start.elapsed().as_secs_f64());
    let used = cpu() - before;
    quiet(&side.tally).await?;
    let latency = side.tally.latency.borrow_mut().take().ok_or("a histogram")?;
    let at = |quantile| latency.value_at_quantile(quantile) as f64;
    Ok(Stretch { per_second: done / seconds, p50_us: at(0.5), p99_us: at(0.99), cpu_us: used * 1e6 / done })
}

/// Medians of the other build, of this one, and of this by the other.
fn summary(pairs: &[[Stretch; 2]], figure: impl Fn(&Stretch) -> f64) -> [f64; 3] {
    let of = |index: usize| median(pairs.iter().map(|pair| figure(&pair[index])));
    [of(0), of(1), median(pairs.iter().map(|pair| figure(&pair[1]) / figure(&pair[0])))]
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
