//! Rows 1 to 4: what one delivery costs the server, against what the kernel alone costs.

use super::bare::{Bare, Stretch};
use super::ground::{Ground, SERVER_CORE, apart, median};
use super::{Cpu, Experiment, Good, Plan, Row};
use veza_loadtest::flow::{Flow, Until};

/// The rows. One experiment for two of them: they differ in the messages under way only.
pub const EXPERIMENTS: [Experiment; 2] = [
    Experiment {
        rows: &[1, 2],
        what: "CPU per delivery in one room of 1,000, against a bare loop of sends",
        run: |plan| apart(|| compare(plan, &ONE_ROOM)),
    },
    Experiment {
        rows: &[3, 4],
        what: "CPU per delivery in 1,000 rooms of 10, against a bare loop of sends",
        run: |plan| apart(|| compare(plan, &MANY_ROOMS)),
    },
];

struct Shape {
    rooms: usize,
    size: usize,
    rows: [Target; 2],
}

struct Target {
    number: u32,
    name: &'static str,
    in_flight: u64,
    /// In one stretch of measurement.
    deliveries: u64,
    reach: f64,
    stretch: f64,
    peer: &'static str,
}

const ONE_ROOM: Shape = Shape {
    rooms: 1,
    size: 1000,
    rows: [
        Target {
            number: 1,
            name: "CPU per delivery, one room of 1,000, one in flight",
            in_flight: 1,
            deliveries: 300_000,
            reach: 1.2,
            stretch: 1.05,
            peer: "1.03",
        },
        Target {
            number: 2,
            name: "the same with 32 in flight",
            in_flight: 32,
            deliveries: 1_500_000,
            reach: 0.15,
            stretch: 0.07,
            peer: "0.05",
        },
    ],
};

const MANY_ROOMS: Shape = Shape {
    rooms: 1000,
    size: 10,
    rows: [
        Target {
            number: 3,
            name: "CPU per delivery, 1,000 rooms of 10, 64 in flight",
            in_flight: 64,
            deliveries: 200_000,
            reach: 1.35,
            stretch: 1.15,
            peer: "1.08",
        },
        Target {
            number: 4,
            name: "the same with 512 in flight",
            in_flight: 512,
            deliveries: 200_000,
            reach: 1.1,
            stretch: 0.95,
            peer: "0.88",
        },
    ],
};

/// A stretch of each side.
struct Pair {
    /// Until the word index has caught up.
    served: Cpu,
    /// The part of it after the last delivery had come, server CPU seconds.
    index: f64,
    bare: Stretch,
}

fn compare(plan: Plan, shape: &Shape) -> Result<Vec<Row>, String> {
    let ground = Ground::start(Some(SERVER_CORE), &[]);
    let mut bare = Bare::start(shape.rooms, shape.size, &ground.push()?)?;
    let mut flow = ground.fill(shape.rooms, shape.size)?;
    flow.closed(64, 20_000 / shape.size as u64, Until::Received)?;
    ground.settle()?;
    bare.closed(64, 20_000 / shape.size as u64)?;
    let mut rows = Vec::new();
    for target in &shape.rows {
        let messages = plan.of(target.deliveries, target.deliveries / 10) / shape.size as u64;
        let mut pairs = Vec::new();
        for _ in 0..plan.of(5, 1) {
            let (served, index) = stretch(&ground, &mut flow, target.in_flight, messages)?;
            pairs.push(Pair { served, index, bare: bare.closed(target.in_flight, messages)? });
        }
        rows.push(row(target, &pairs, messages, shape.size as u64));
    }
    Ok(rows)
}

/// What messages cost, with what the word index does about them afterwards, which is told apart (server CPU seconds).
fn stretch(ground: &Ground, flow: &mut Flow, in_flight: u64, messages: u64) -> Result<(Cpu, f64), String> {
    flow.reset();
    let watch = ground.watch();
    flow.closed(in_flight, messages, Until::Received)?;
    let after = ground.watch();
    ground.settle()?;
    Ok((watch.end(), after.end().server.unwrap_or_default()))
}

fn row(target: &Target, pairs: &[Pair], messages: u64, size: u64) -> Row {
    let deliveries = messages * size;
    let served: Vec<f64> = pairs.iter().map(|pair| pair.served.server_us(deliveries)).collect();
    let bare: Vec<f64> = pairs.iter().map(|pair| pair.bare.server_us(deliveries)).collect();
    let ratios: Vec<f64> = served.iter().zip(&bare).map(|(served, bare)| served / bare).collect();
    let cpu = Cpu::sum(&pairs.iter().map(|pair| pair.served).collect::<Vec<_>>());
    let database = cpu.database.unwrap_or(f64::NAN) * 1e6 / (messages * pairs.len() as u64) as f64;
    let (least, most) = ratios.iter().fold((f64::MAX, 0.0), |(least, most), r| (r.min(least), r.max(most)));
    let index: Vec<f64> = pairs.iter().map(|pair| pair.index * 1e6 / deliveries as f64).collect();
    let details = format!(
        "{:.2} µs (word index afterwards: {:.2}) against {:.2} µs; ratios {least:.3}–{most:.3}; database {database:.0} µs a \
         message",
        median(&served),
        median(&index),
        median(&bare)
    );
    Row {
        number: target.number,
        name: target.name,
        value: median(&ratios),
        unit: "×",
        good: Good::AtMost,
        reach: target.reach,
        stretch: target.stretch,
        peer: target.peer,
        cpu,
        details,
    }
}
