//! Veza's shards in virtual time. A run is a pure function of its seed: the workload, the faults and the order of
//! everything come from it, and the same seed gives the same hash. After every step the guarantees of the protocol
//! are checked against a naive model: the simulated database, which knows what is committed and nothing else.

mod check;
mod client;
mod model;
mod plant;
mod rng;
pub mod store;
#[cfg(test)]
mod tests;
mod workload;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use client::inflated;
pub use plant::Plant;

/// What a run has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// A fingerprint of everything that happened.
    pub hash: u64,
    /// Steps taken.
    pub steps: u64,
    /// Messages acknowledged, repetitions included.
    pub acks: u64,
    /// Frames looked at.
    pub frames: u64,
    /// Frames by type, and errors by code: what the workload has come to.
    pub seen: std::collections::BTreeMap<String, u64>,
    /// The first guarantee that did not hold.
    pub violation: Option<String>,
}

/// Steps between two crashes, on average; and between two orderly ends.
const CRASH_EVERY: u64 = 1000;
/// Steps that a world is given to settle.
const SETTLE_STEPS: u64 = 200_000;
/// Steps without anything to do after which it has settled.
const QUIET_STEPS: u64 = 200;

/// Runs one world.
pub fn run(seed: u64, steps: u64, plant: Option<Plant>) -> Report {
    run_world(world::World::new(seed, plant), steps)
}

/// Runs one world and prints what clients ask, what is let out and what is committed.
pub fn trace(seed: u64, steps: u64, plant: Option<Plant>) -> Report {
    let mut world = world::World::new(seed, plant);
    world.is_traced = true;
    run_world(world, steps)
}

fn run_world(mut world: world::World, steps: u64) -> Report {
    let mut taken = 0;
    let outcome = catch_unwind(AssertUnwindSafe(|| drive(&mut world, steps, &mut taken)));
    let violation = match outcome {
        Ok(result) => result.err(),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("?");
            Some(format!("an assertion failed: {text}"))
        }
    };
    Report {
        hash: world.checker.hash(),
        steps: taken,
        acks: world.checker.acks,
        frames: world.checker.frames,
        seen: world.checker.seen,
        violation,
    }
}

fn settle(world: &mut world::World, taken: &mut u64) -> Result<(), String> {
    let mut quiet = 0;
    for _ in 0..SETTLE_STEPS {
        *taken += 1;
        world.step().map_err(|problem| format!("settling, step {taken}: {problem}"))?;
        // A client that comes back and repeats is under way again: it must be quiet for a while.
        quiet = if world.is_settled() { quiet + 1 } else { 0 };
        if quiet > QUIET_STEPS {
            return Ok(());
        }
    }
    Err(format!("not settled after {SETTLE_STEPS} steps"))
}

fn drive(world: &mut world::World, steps: u64, taken: &mut u64) -> Result<(), String> {
    while *taken < steps {
        *taken += 1;
        world.step().map_err(|problem| format!("step {taken}: {problem}"))?;
        let chance = world.rng.below(CRASH_EVERY);
        if chance == 0 || world.is_over() {
            world.crash();
        } else if chance == 1 && world.ends_at.is_none() && world.rng.percent(40) {
            world.drain();
        }
    }
    if world.ends_at.is_some() {
        world.crash();
    }
    world.calm = true;
    settle(world, taken)?;
    world.ask_unread();
    settle(world, taken)?;
    world.finale = true;
    world.ask_everything();
    settle(world, taken)?;
    let world::World { checker, store, clients, .. } = world;
    checker.settled(store, clients).map_err(|problem| format!("settled: {problem}"))
}
