//! Tables of what was counted.

use crate::report::format::{count, number, time};
use crate::report::html::{self, Cell};
use crate::result::RunResult;
use std::collections::BTreeMap;

/// Counts, errors, closes, commands, and everybody's CPU.
pub fn counts(run: &RunResult) -> String {
    let counts = &run.counts;
    let per_second = |n: u64| if run.measured_s > 0.0 { number(n as f64 / run.measured_s) } else { "–".into() };
    let rows: Vec<Vec<Cell>> = [
        ("commands that the plan wanted", counts.offered),
        ("commands sent", counts.sent),
        ("acknowledged", counts.acknowledged),
        ("deliveries", counts.deliveries),
        ("connections made", counts.connects),
        ("connections lost", counts.disconnects),
        ("rooms resumed", counts.resumes),
        ("bytes received", counts.received_bytes),
        ("bytes sent", counts.sent_bytes),
    ]
    .into_iter()
    .map(|(name, n)| vec![Cell::text(name), Cell::number(count(n)), Cell::number(per_second(n))])
    .collect();
    let named = |caption: &str, of: &BTreeMap<String, u64>| {
        let rows: Vec<Vec<Cell>> = of.iter().map(|(name, n)| vec![Cell::text(name), Cell::number(count(*n))]).collect();
        html::table(caption, &["", "count"], &rows)
    };
    html::grid(&[
        html::table("In the measured time", &["", "count", "per second"], &rows),
        [
            "<div>".into(),
            cpu(run),
            named("Errors by code", &counts.errors),
            named("Closes by the server", &counts.closes),
            named("Commands", &counts.commands),
            "</div>".into(),
        ]
        .concat(),
    ])
}

/// Everybody's CPU side by side, so that nobody takes one for the other.
fn cpu(run: &RunResult) -> String {
    let parties =
        [("server", run.cpu.server_s), ("database", run.cpu.database_s), ("load generator", Some(run.cpu.generator_s))];
    let per = |seconds: f64, of: f64, words: fn(f64) -> String, scale: f64| {
        if of > 0.0 { words(seconds * scale / of) } else { "–".into() }
    };
    let mut rows: Vec<Vec<Cell>> = parties
        .into_iter()
        .filter_map(|(name, seconds)| Some((name, seconds?)))
        .map(|(name, seconds)| {
            vec![
                Cell::text(name),
                Cell::number(per(seconds, run.measured_s, number, 1.0)),
                Cell::number(per(seconds, run.counts.acknowledged as f64, time, 1e6)),
                Cell::number(per(seconds, run.counts.deliveries as f64, time, 1e6)),
            ]
        })
        .collect();
    // What others do is not done for these messages.
    if let Some(seconds) = run.cpu.others_s {
        let cores = per(seconds, run.measured_s, number, 1.0);
        rows.push(vec![Cell::text("other programs"), Cell::number(cores), Cell::number("–"), Cell::number("–")]);
    }
    html::table("CPU", &["", "cores", "per ack", "per delivery"], &rows)
}
