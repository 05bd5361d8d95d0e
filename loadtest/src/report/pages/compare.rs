//! Two runs on one page.

use super::curves::{SECONDS, TIME, over_time, percentile_plot, percentiles, series, some_us, unmeasured};
use super::run::words_of;
use crate::report::compare::{Comparison, Kind};
use crate::report::format::{bytes, number};
use crate::report::html::{self, Cell};
use crate::report::plot::{Axis, Look, Plot, Scale, Series};
use crate::result::{RunResult, Second};
use std::collections::BTreeSet;

const RATE: Axis = Axis { label: "Per second", scale: Scale::FromZero, words: number };
const CORES: Axis = Axis { label: "Cores", scale: Scale::FromZero, words: number };
const BYTES: Axis = Axis { label: "Resident memory", scale: Scale::FromZero, words: bytes };

/// The page of a comparison. `names` are what the two are called.
pub fn compare_page(names: [&str; 2], runs: [&RunResult; 2], fail_over: Option<f64>) -> String {
    let comparison = Comparison::of(runs[0], runs[1]);
    let title = format!("Comparison: {} and {}", names[0], names[1]);
    let verdict = fail_over.map(|ratio| {
        let grown: Vec<&str> = comparison.exceeding(ratio).iter().map(|row| row.name.as_str()).collect();
        match grown.is_empty() {
            true => (true, format!("No latency or cost has grown by more than ×{ratio}")),
            false => (false, format!("More than ×{ratio}: {}", grown.join(", "))),
        }
    });
    let facts: Vec<String> = names
        .iter()
        .zip(runs)
        .map(|(name, run)| format!("{name}: {}, {} s measured", super::run::facts(run)[0], number(run.measured_s)))
        .collect();
    let mut body = html::header(&title, verdict.as_ref().map(|(good, words)| (*good, words.as_str())), &facts);
    body += &html::section("Values", &values(&comparison, names, fail_over));
    body += &html::section("Latency", &html::grid(&latencies(names, runs)));
    body += &html::section("Over time", &html::grid(&time_lines(names, runs)));
    let plan: Vec<Vec<Cell>> = comparison
        .plan
        .into_iter()
        .map(|(field, a, b)| vec![Cell::text(field), Cell::text(a), Cell::text(b)])
        .collect();
    body += &html::section("Plans", &html::table("Fields that differ", &["field", names[0], names[1]], &plan));
    html::page(&title, &body)
}

fn values(comparison: &Comparison, names: [&str; 2], fail_over: Option<f64>) -> String {
    let rows: Vec<Vec<Cell>> = comparison
        .rows
        .iter()
        .map(|row| {
            let [name, a, b, difference, ratio, note] = row.cells();
            let grown = fail_over.is_some_and(|bound| row.exceeds(bound));
            let ratio = if row.kind == Kind::Cost && grown { Cell::bad_number(&ratio) } else { Cell::number(ratio) };
            vec![Cell::text(name), Cell::number(a), Cell::number(b), Cell::number(difference), ratio, Cell::text(note)]
        })
        .collect();
    let text = html::table(
        "Second against first",
        &["", names[0], names[1], "difference", "ratio", "what can be told"],
        &rows,
    );
    text + &html::notes("plain", &[
        "“apart”: the intervals of both do not touch (three standard errors of the percentile's rank, or of the mean of the seconds).".into(),
        "“within noise”: they do; two runs of the same would differ as much.".into(),
    ])
}

/// Both runs in one plot: the first whole, the second broken and in another colour.
fn both(names: [&str; 2], points: [Vec<(f64, f64)>; 2]) -> Vec<Series> {
    let [first, second] = points;
    vec![series(names[0], 1, Look::Solid, first), series(names[1], 2, Look::Dashed, second)]
}

fn latencies(names: [&str; 2], runs: [&RunResult; 2]) -> Vec<String> {
    let kinds: BTreeSet<&String> = runs.iter().flat_map(|run| run.latency.keys()).collect();
    let plot = |(at, kind): (usize, &String)| {
        let points = runs.map(|run| run.latency.get(kind).and_then(|of| percentiles(of).ok()).unwrap_or_default());
        percentile_plot(&words_of(kind), both(names, points)).figure(&format!("percentiles-{at}"))
    };
    kinds.into_iter().enumerate().map(plot).collect()
}

fn time_lines(names: [&str; 2], runs: [&RunResult; 2]) -> Vec<String> {
    type Line = (&'static str, &'static str, Axis, fn(&Second) -> Option<f64>);
    let lines: [Line; 6] = [
        ("ack", "Ack p99 of each second", TIME, |s| some_us(s.ack_p99_us)),
        ("delivery", "Delivery p99 of each second", TIME, |s| some_us(s.delivery_p99_us)),
        ("acknowledged", "Acknowledged per second", RATE, |s| Some(s.acknowledged as f64)),
        ("deliveries", "Deliveries per second", RATE, |s| Some(s.deliveries as f64)),
        ("cores", "Cores of the server", CORES, |s| s.server_cores),
        ("memory", "Server memory", BYTES, |s| s.server_rss_bytes.map(|bytes| bytes as f64)),
    ];
    // What either does not count is marked where both do not.
    let shaded = if unmeasured(runs[0]) == unmeasured(runs[1]) { unmeasured(runs[0]) } else { Vec::new() };
    lines
        .into_iter()
        .map(|(id, title, y, value)| {
            let series = both(names, runs.map(|run| over_time(run, value)));
            let plot = Plot { title: title.into(), x: SECONDS, y, series, shaded: shaded.clone(), rules: Vec::new() };
            plot.figure(id)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::examples;

    #[test]
    fn both_curves_are_there_and_what_has_grown_is_said() {
        let (mut a, mut b) = (examples::run(), examples::run());
        a.latency.insert("ack".into(), examples::distribution(100_000, 1.0));
        b.latency.insert("ack".into(), examples::distribution(100_000, 2.0));
        b.plan["rate"] = 2_000.into();
        let page = compare_page(["old.json", "new<b>.json"], [&a, &b], Some(1.5));
        for part in [
            "✕</span> More than ×1.5: ack.p50, ack.p90, ack.p99, ack.p999<",
            "✕ ×2.00",
            "60 ms",
            "<th scope=\"row\">rate</th><td>1000</td><td>2000</td>",
            "old.json: from 1 ms to 30 ms",
            "new&lt;b&gt;.json: from 2 ms to 60 ms",
        ] {
            assert!(page.contains(part), "{part} is not in the page");
        }
        assert!(!page.contains("<b>") && !page.contains("://"));
        let good = compare_page(["a", "b"], [&a, &b], Some(2.5));
        assert!(good.contains("No latency or cost has grown by more than ×2.5"));
        let neither = compare_page(["a", "b"], [&a, &b], None);
        assert!(!neither.contains("class=\"verdict"));
    }
}
