//! The load scenarios at a small size, against the real server over both stores, judged by the checker alone.

use std::ops::ControlFlow;
use veza_loadtest::fault::Store;
use veza_loadtest::load::{Own, Scenario, run};
use veza_loadtest::result::{RunResult, latency};

/// A named scenario made small, and what it must have done to have shown anything.
struct Small {
    name: &'static str,
    set: &'static [&'static str],
    shows: fn(&RunResult) -> bool,
}

const SMALL: [Small; 7] = [
    Small {
        name: "chat",
        set: &["users=60", "rooms=12", "load.think=500ms", "workers=2"],
        shows: |run| run.workers == 2 && run.latency.contains_key(latency::DELIVERY),
    },
    Small {
        name: "dm",
        set: &["users=40", "load.rate=200", "cut.share=0.5", "cut.after=200ms", "cut.every=250ms", "cut.away=50ms"],
        shows: |run| run.counts.deliveries > 0 && run.counts.resumes > 0,
    },
    Small {
        name: "fanout",
        set: &["users=50", "load.rate=0", "load.in_flight=4", "load.bytes=1000", "compression=true"],
        // Less on the wire than the content has.
        shows: |run| {
            run.counts.deliveries > 40 * run.counts.acknowledged
                && run.counts.received_bytes < 600 * run.counts.deliveries
        },
    },
    Small {
        name: "storm",
        set: &["users=100", "rooms=10", "load.rate=60", "cut.after=500ms"],
        shows: |run| run.counts.resumes >= 200 && run.latency[latency::RESUME].count >= 100,
    },
    Small {
        name: "slow-readers",
        set: &[
            "users=40",
            "rooms=2",
            "load.rate=300",
            "load.bytes=1900",
            "stall.share=0.1",
            "stall.after=200ms",
            "stall.lasts=3s",
            "duration=4s",
        ],
        shows: |run| run.server["disconnects_total{code=3002}"] >= 4.0 && run.latency[latency::RESUME].count >= 4,
    },
    Small {
        name: "mixed",
        set: &["users=40", "rooms=8", "load.rate=200", "cut.after=500ms", "cut.every=700ms"],
        shows: |run| run.counts.commands.len() >= 15 && run.counts.resumes > 0,
    },
    Small {
        name: "soak",
        set: &["users=60", "rooms=10", "load.think=500ms", "cut.after=300ms", "cut.every=300ms", "memory_growth_max=0"],
        shows: |run| run.counts.resumes > 0,
    },
];

/// A small run of a scenario against a server, all of whose guarantees have held.
fn small(scenario: &Scenario, own: &Own) -> RunResult {
    let result = run(scenario, &own.target, &mut |_| ControlFlow::Continue(()));
    let result = result.unwrap_or_else(|reason| panic!("{}: {reason}", scenario.name));
    let summary = veza_loadtest::report::summary(&result);
    assert!(result.passed(), "{}: {summary}\n{:?}", scenario.name, result.violations);
    result
}

fn all_over(store: Store) {
    for Small { name, set, shows } in SMALL {
        let mut scenario = Scenario::find(name).expect(name);
        for field in ["warmup=300ms", "duration=2s"].iter().chain(set) {
            scenario.set(field).expect(field);
        }
        let own = Own::start(store, &scenario, Some(2));
        let result = small(&scenario, &own);
        let summary = veza_loadtest::report::summary(&result);
        let some = result.counts.acknowledged > 0 && !result.series.is_empty();
        assert!(some && shows(&result), "{name} over {store:?}: {summary}");
    }
}

#[test]
fn scenarios_hold_over_sqlite() {
    all_over(Store::Sqlite);
}

#[test]
fn scenarios_hold_over_postgres() {
    all_over(Store::Postgres);
}

#[test]
fn rooms_can_be_used_again_and_a_run_ended_before_its_time() {
    let mut scenario = Scenario::find("fanout").expect("named");
    for field in ["users=20", "rooms=3", "warmup=200ms", "duration=1s"] {
        scenario.set(field).expect(field);
    }
    let own = Own::start(Store::Sqlite, &scenario, Some(1));
    small(&scenario, &own);
    for field in ["reuse_rooms=true", "duration=1h"] {
        scenario.set(field).expect(field);
    }
    let mut seconds = 0;
    let result = run(&scenario, &own.target, &mut |_| {
        seconds += 1;
        if seconds < 2 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    let result = result.expect("a run");
    assert!(result.passed() && result.counts.acknowledged > 0, "{:?}", result.violations);
    // A fourth room is not there.
    scenario.set("rooms=4").expect("rooms");
    let refused = run(&scenario, &own.target, &mut |_| ControlFlow::Continue(()));
    assert!(refused.is_err_and(|reason| reason.contains("only 3 public rooms")));
}
