//! Short runs of what `veza-loadtest fault` runs at length: nothing acknowledged is lost, moved or doubled, and
//! readers see everything once, whatever is killed.

mod seeded;

use std::time::Duration;
use veza_loadtest::fault::{Fault, Load, Plan, Report, Run, Store};

async fn survives(fault: Fault, store: Store, times: u32, load: Load) -> Report {
    // Unoptimised parts on a busy machine: the rate is what they make of it, the promises are the same.
    // Hosts work one command after the other: they get their share of a mixed run where posters leave it to them.
    let rate = if load == Load::Sends { 1200 } else { 300 };
    let plan = Plan { rate, ..Plan::default() };
    let run = Run { fault, store, times, acks_between: 400, load, plan };
    let report = run.make().await.unwrap_or_else(|reason| panic!("{fault:?} on {store:?}, {load:?}: {reason}"));
    println!("{fault:?} on {store:?}, {load:?}: {report:#?}");
    assert_eq!(report.violations.first, Vec::<String>::new(), "{fault:?} on {store:?}, {load:?}");
    report
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_is_killed() {
    for store in [Store::Sqlite, Store::Postgres] {
        survives(Fault::ServerKill9, store, 3, Load::Sends).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_is_killed_stopped_and_paused() {
    let outage = Duration::from_secs(3);
    for (fault, times) in [(Fault::BackendKill9, 3), (Fault::PgStop(outage), 1), (Fault::PgPause(outage), 1)] {
        let report = survives(fault, Store::Postgres, times, Load::Sends).await;
        let grown = report.growth_bytes.iter().max().copied().unwrap_or(0);
        assert!(grown <= 64 << 20, "memory grew by {grown} bytes");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_is_killed_while_every_verb_is_used() {
    for store in [Store::Sqlite, Store::Postgres] {
        survives(Fault::ServerKill9, store, 3, Load::Mixed).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_is_killed_while_every_verb_is_used() {
    survives(Fault::BackendKill9, Store::Postgres, 2, Load::Mixed).await;
}
