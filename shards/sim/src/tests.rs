//! The simulator's own tests: fixed and fresh seeds hold, runs repeat, and planted faults are found.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::{Plant, run};

const SEEDS: u64 = 200;
const STEPS: u64 = 2000;

fn all_hold(first: u64, count: u64) {
    for seed in first..first + count {
        let report = run(seed, STEPS, None);
        assert_eq!(report.violation, None, "veza-sim --seed {seed} --steps {STEPS}");
        assert!(report.frames > 0, "seed {seed} did nothing");
    }
}

#[test]
fn guarantees_hold_on_fixed_seeds() {
    all_hold(1, SEEDS / 2);
}

#[test]
fn guarantees_hold_on_fresh_seeds() {
    let first = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos() as u64;
    println!("fresh seeds from {first}");
    all_hold(first, SEEDS / 2);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 1..=5 {
        assert_eq!(run(seed, STEPS, None), run(seed, STEPS, None));
    }
    assert_ne!(run(1, STEPS, None).hash, run(2, STEPS, None).hash);
}

#[test]
fn planted_faults_are_found() {
    for plant in Plant::ALL {
        let found = (1..=SEEDS).find_map(|seed| run(seed, STEPS, Some(plant)).violation.map(|what| (seed, what)));
        let (seed, what) = found.unwrap_or_else(|| panic!("{plant:?} was not found in {SEEDS} seeds"));
        println!("{plant:?}: seed {seed}: {}", what.chars().take(120).collect::<String>());
    }
}
