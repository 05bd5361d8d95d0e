//! What the parts of the work cost, and how they batch: learnt from the window, with documented defaults to begin with.

use serde::Serialize;

use super::fit::{Observation, Prior, fit};
use super::sample::Sample;

/// Where a figure comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// This server's traffic of the last minutes.
    Measured,
    /// The documented default: there was no traffic to learn it from, or too little.
    Default,
}

/// A part of the work that has a cost of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A shard goes to sleep and wakes up again.
    Sleep,
    /// What a long sleep costs more than a short one.
    LongSleep,
    /// A turn of a shard's loop: what it costs whatever is in it.
    Turn,
    /// A read that brings bytes, with the command in it.
    Read,
    /// A write to a socket, whatever is in it.
    Write,
    /// A push put into one more outbox.
    Delivery,
    /// An event checked, numbered, encoded, journaled, answered.
    Event,
    /// A batch handed to the store, and its outcome taken.
    Batch,
    /// A message between shards, both ends together.
    Peer,
    /// A connection: accepted, upgraded, authenticated, closed.
    Connect,
    /// A room joined or resumed.
    Join,
    /// A connection for a second, besides its heartbeats' reads and writes.
    Held,
    /// A transaction, on the server's side.
    Transaction,
    /// An operation in it.
    Operation,
    /// A query.
    Load,
    /// What the store's threads cost more when all was asleep before.
    StoreWake,
    /// A second, whatever happens in it.
    Second,
}

/// How a part is counted, called and guessed.
struct Known {
    #[cfg_attr(not(test), expect(dead_code, reason = "its place in the table is what counts; a test compares"))]
    part: Part,
    name: &'static str,
    count: fn(&Sample) -> f64,
    prior: Prior,
}

/// Parts of the shards' work.
pub const SHARD_PARTS: usize = 12;
/// Parts of the store's.
pub const STORE_PARTS: usize = 4;
/// All, with the second of all other threads.
pub const PARTS: usize = SHARD_PARTS + STORE_PARTS + 1;

const fn prior(value: f64, spread: f64) -> Prior {
    Prior { value, spread }
}

/// The defaults, µs of CPU: fitted to the loads in `calibration.rs`, which says how they were measured. Many parts go
/// up and down together there, and of those the plausible share is given: what a read, an event, a delivery, a turn cost
/// by themselves is small against the write that carries it and the sleep that it ends. What is woken after a long sleep
/// finds cold caches, and pays for them in all that follows; how much depends on what else the machine does, so what cannot
/// be told apart is put there rather than to the writes.
const KNOWN: [Known; PARTS] = [
    Known { part: Part::Sleep, name: "sleep", count: |s| s.counts.sleeps, prior: prior(45.0, 0.5) },
    Known { part: Part::LongSleep, name: "long_sleep", count: |s| s.counts.long_sleeps, prior: prior(275.0, 0.7) },
    Known { part: Part::Turn, name: "turn", count: |s| s.counts.turns, prior: prior(3.0, 0.3) },
    Known { part: Part::Read, name: "read", count: |s| s.counts.reads, prior: prior(3.5, 0.3) },
    Known { part: Part::Write, name: "write", count: |s| s.counts.writes, prior: prior(6.5, 0.2) },
    Known { part: Part::Delivery, name: "delivery", count: |s| s.counts.deliveries, prior: prior(0.3, 0.3) },
    Known { part: Part::Event, name: "event", count: |s| s.counts.events, prior: prior(6.0, 0.3) },
    Known { part: Part::Batch, name: "batch", count: |s| s.counts.batches, prior: prior(26.0, 0.5) },
    Known { part: Part::Peer, name: "peer_message", count: |s| s.counts.peer_messages, prior: prior(1.0, 0.5) },
    Known { part: Part::Connect, name: "connect", count: |s| s.counts.connects, prior: prior(50.0, 0.5) },
    Known { part: Part::Join, name: "join", count: |s| s.counts.joins, prior: prior(15.0, 0.5) },
    Known {
        part: Part::Held,
        name: "connection_second",
        count: |s| s.state.connections * s.seconds,
        prior: prior(0.5, 0.7),
    },
    Known { part: Part::Transaction, name: "transaction", count: |s| s.counts.transactions, prior: prior(90.0, 0.3) },
    Known { part: Part::Operation, name: "operation", count: |s| s.counts.operations, prior: prior(3.0, 0.3) },
    Known { part: Part::Load, name: "query", count: |s| s.counts.loads, prior: prior(150.0, 0.7) },
    Known { part: Part::StoreWake, name: "store_wake", count: |s| s.counts.long_sleeps, prior: prior(150.0, 0.7) },
    Known { part: Part::Second, name: "second", count: |s| s.seconds, prior: prior(500.0, 1.0) },
];

/// A part seen fewer times than this in the window was not measured.
const SEEN_MIN: f64 = 50.0;
/// A part that makes up less of the window's CPU than this was not measured.
const SHARE_MIN: f64 = 0.005;
/// How far an observation may be off, as a fraction of it: what the model leaves out.
const MODEL_ERROR: f64 = 0.15;
/// The same, µs: clocks and what happens to fall into another sample.
const CLOCK_ERROR_US: f64 = 500.0;
/// Samples that count fully; of more, each counts less. They resemble each other, so a hundred of them know little more
/// than a dozen, and would pull the costs to whatever the model leaves out.
const SAMPLES_FULL: f64 = 12.0;

/// What each part costs, µs of CPU.
#[derive(Clone, Debug)]
pub struct Costs {
    values: [f64; PARTS],
    origins: [Origin; PARTS],
}

/// One part, for the answer.
#[derive(Clone, Debug, Serialize)]
pub struct PartCost {
    /// Its name.
    pub part: &'static str,
    /// µs of CPU each.
    pub cpu_us: f64,
    /// Measured or default.
    pub origin: Origin,
    /// The default, for comparison.
    pub default_us: f64,
    /// How many there were in the window.
    pub seen: f64,
}

impl Costs {
    /// From these samples; the defaults where they say nothing.
    pub fn learn<'a>(samples: impl Iterator<Item = &'a Sample> + Clone) -> Costs {
        let count = samples.clone().count() as f64;
        let dilution = (count / SAMPLES_FULL).max(1.0).sqrt();
        let error = |cost: f64| (MODEL_ERROR * cost + CLOCK_ERROR_US) * dilution;
        let shards: [Prior; SHARD_PARTS] = std::array::from_fn(|index| KNOWN[index].prior);
        let mut equations: Vec<Observation<SHARD_PARTS>> = Vec::new();
        let mut store_equations: Vec<Observation<STORE_PARTS>> = Vec::new();
        let (mut other_us, mut seconds) = (0.0, 0.0);
        let mut seen = [0.0; PARTS];
        for sample in samples {
            for (seen, known) in seen.iter_mut().zip(&KNOWN) {
                *seen += (known.count)(sample);
            }
            let counts: [f64; SHARD_PARTS] = std::array::from_fn(|index| (KNOWN[index].count)(sample));
            let cost = sample.counts.shard_us;
            equations.push(Observation { counts, cost, error: error(cost) });
            let cost = sample.counts.store_us;
            let counts = std::array::from_fn(|index| (KNOWN[SHARD_PARTS + index].count)(sample));
            store_equations.push(Observation { counts, cost, error: error(cost) });
            other_us += sample.counts.other_us;
            seconds += sample.seconds;
        }
        let store: [Prior; STORE_PARTS] = std::array::from_fn(|index| KNOWN[SHARD_PARTS + index].prior);
        let (shard_values, store_values) = (fit(&shards, &equations), fit(&store, &store_equations));
        let mut values = [0.0; PARTS];
        values[..SHARD_PARTS].copy_from_slice(&shard_values);
        values[SHARD_PARTS..PARTS - 1].copy_from_slice(&store_values);
        values[PARTS - 1] = if seconds > 0.0 { other_us / seconds } else { KNOWN[PARTS - 1].prior.value };
        let spent: f64 = values.iter().zip(seen).map(|(value, seen)| value * seen).sum();
        let origins = std::array::from_fn(|index| {
            let told = seen[index] >= SEEN_MIN && values[index] * seen[index] >= SHARE_MIN * spent;
            let second = index == PARTS - 1 && seconds > 0.0;
            if told || second { Origin::Measured } else { Origin::Default }
        });
        Costs { values, origins }
    }

    /// Of one part, µs.
    pub fn of(&self, part: Part) -> f64 {
        self.values[part as usize]
    }

    /// CPU of the shards in a sample with these counts, µs.
    pub fn shard_us(&self, sample: &Sample) -> f64 {
        self.sum(sample, 0..SHARD_PARTS)
    }

    /// CPU of the store's threads, µs.
    pub fn store_us(&self, sample: &Sample) -> f64 {
        self.sum(sample, SHARD_PARTS..PARTS - 1)
    }

    /// CPU of all other threads, µs.
    pub fn other_us(&self, sample: &Sample) -> f64 {
        self.sum(sample, PARTS - 1..PARTS)
    }

    fn sum(&self, sample: &Sample, parts: std::ops::Range<usize>) -> f64 {
        parts.map(|index| (KNOWN[index].count)(sample) * self.values[index]).sum()
    }

    /// With each cost times what its place says.
    #[cfg(test)]
    pub fn scaled(mut self, factor: impl Fn(usize) -> f64) -> Costs {
        self.values.iter_mut().enumerate().for_each(|(index, value)| *value *= factor(index));
        self
    }

    /// Where that comes from.
    pub fn origin(&self, part: Part) -> Origin {
        self.origins[part as usize]
    }

    /// All parts, for the answer.
    pub fn table<'a>(&self, samples: impl Iterator<Item = &'a Sample> + Clone) -> Vec<PartCost> {
        let row = |(index, known): (usize, &Known)| PartCost {
            part: known.name,
            cpu_us: self.values[index],
            origin: self.origins[index],
            default_us: known.prior.value,
            seen: samples.clone().map(|sample| (known.count)(sample)).sum(),
        };
        KNOWN.iter().enumerate().map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_parts() {
        for (index, known) in KNOWN.iter().enumerate() {
            assert_eq!(known.part as usize, index, "{}", known.name);
        }
    }
}
