//! What a run says at its end, in a terminal.

use super::assert::value;
use super::format;
use crate::result::{RunResult, Threshold};
use std::fmt::Write as _;

/// Commands that were not sent although the plan wanted them: beyond this part of all, it is said.
const UNSENT: f64 = 0.01;

/// Whether the load was another one than planned, which makes figures mean something else than they seem to.
pub fn unsent(run: &RunResult) -> Option<String> {
    let missing = run.counts.offered.saturating_sub(run.counts.sent);
    (missing as f64 > run.counts.offered as f64 * UNSENT).then(|| {
        let (missing, offered) = (format::count(missing), format::count(run.counts.offered));
        format!(
            "{missing} of {offered} commands that the plan wanted were not sent: the load was lighter than planned."
        )
    })
}

/// The result in a few lines.
pub fn summary(run: &RunResult) -> String {
    let mut text = String::new();
    let rate = |name| value(run, name).map_or_else(|| "–".into(), format::number);
    let _ = writeln!(
        text,
        "{}: {} connections in {} rooms, {} s measured: {} sends/s of {} offered, {} acks/s, {} deliveries/s",
        run.scenario,
        format::count(run.connections),
        format::count(run.rooms),
        format::number(run.measured_s),
        rate("sends_per_s"),
        rate("offered_per_s"),
        rate("acknowledged_per_s"),
        rate("deliveries_per_s")
    );
    for (name, of) in &run.latency {
        let time = |us: u64| format::time(us as f64);
        let _ = writeln!(
            text,
            "{name}: p50 {}, p90 {}, p99 {}, p99.9 {}, max {} ({} values)",
            time(of.p50_us),
            time(of.p90_us),
            time(of.p99_us),
            time(of.p999_us),
            time(of.max_us),
            format::count(of.count)
        );
    }
    costs(run, &mut text);
    let _ = writeln!(text, "errors: {}; closes: {}", list(&run.counts.errors), list(&run.counts.closes));
    let _ = writeln!(
        text,
        "checked {}: {}",
        format::counted(run.checked_events, "event", "events"),
        format::counted(run.violations.count, "violation", "violations")
    );
    run.violations.first.iter().for_each(|violation| text += &format!("  {violation}\n"));
    for threshold in &run.thresholds {
        let held = if threshold.held { "holds" } else { "DOES NOT HOLD" };
        let _ = writeln!(text, "{}: {held} ({})", threshold.text, measured(threshold));
    }
    run.notes.iter().cloned().chain(unsent(run)).for_each(|note| text += &format!("note: {note}\n"));
    text
}

/// What was measured, in the unit of the threshold's text.
pub fn measured(threshold: &Threshold) -> String {
    let Some(value) = threshold.value else { return "no such value in this run".into() };
    let bound = threshold.text.rsplit(['<', '>', '=']).next().unwrap_or_default();
    let unit = bound.trim().trim_start_matches(|c: char| c.is_ascii_digit() || "+-._".contains(c)).trim();
    format!("{} {}", format::number(value), if unit == "us" { "µs" } else { unit }).trim_end().to_owned()
}

/// CPU of all parties side by side, so that nobody takes one for the other.
fn costs(run: &RunResult, text: &mut String) {
    let mut parts = Vec::new();
    for (name, unit) in [
        ("server.cores", "cores of the server"),
        ("database.cores", "of the database"),
        ("generator.cores", "of the load generator"),
        ("others.cores", "of other programs"),
        ("server.cpu_us_per_delivery", "µs of the server per delivery"),
        ("server.cpu_us_per_send", "per acknowledged send"),
    ] {
        if let Some(value) = value(run, name) {
            parts.push(format!("{} {unit}", format::number(value)));
        }
    }
    if let Some(bytes) = value(run, "server.rss") {
        parts.push(format!("{} resident", format::bytes(bytes)));
    }
    let _ = writeln!(text, "CPU: {}", parts.join(", "));
}

fn list(of: &std::collections::BTreeMap<String, u64>) -> String {
    let list: Vec<String> = of.iter().map(|(name, count)| format!("{name} {}", format::count(*count))).collect();
    if list.is_empty() { "none".into() } else { list.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{examples, judge};

    #[test]
    fn says_what_was_measured_and_what_broke() {
        let mut run = examples::run();
        run.violations.add("room 7: seq 9 after 7".into());
        judge(&mut run, &["ack.p99<10ms".parse().expect("good"), "errors==0".parse().expect("good")]);
        let text = summary(&run);
        for part in [
            "chat: 1,000 connections in 100 rooms, 10 s measured: 1,000 sends/s",
            "ack: p50 1 ms, p90 3 ms, p99 9 ms, p99.9 20 ms, max 30 ms (10,000 values)",
            "0.45 cores of the server, 0.2 of the database, 0.3 of the load generator, 0.1 of other programs, 50 µs of the server per delivery",
            "150 MB resident",
            "errors: OVERLOADED 3; closes: 3002 1",
            "checked 90,000 events: 1 violation\n  room 7: seq 9 after 7",
            "ack.p99<10ms: holds (9 ms)",
            "errors==0: DOES NOT HOLD (3)",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }
}
