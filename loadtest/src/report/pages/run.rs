//! The report of one run.

use super::curves::{SECONDS, TIME, over_time, percentile_plot, percentiles, series, some_us, unmeasured};
use crate::report::assert::value;
use crate::report::format::{bytes, count, counted, number, time};
use crate::report::html::{self, Cell};
use crate::report::plot::{Axis, Look, Plot, Scale, Series};
use crate::report::summary::{measured, unsent};
use crate::result::{RunResult, Second};

const RATE: Axis = Axis { label: "Per second", scale: Scale::FromZero, words: number };
const CORES: Axis = Axis { label: "Cores", scale: Scale::FromZero, words: number };
const BYTES: Axis = Axis { label: "Resident memory", scale: Scale::FromZero, words: bytes };
const NUMBER: Axis = Axis { label: "Operations", scale: Scale::FromZero, words: number };
const CONNECTIONS: Axis = Axis { label: "Connections", scale: Scale::FromZero, words: number };

/// The page of a run.
pub fn run_page(run: &RunResult) -> String {
    let title = format!("Load test: {}", run.scenario);
    let mut warnings = run.notes.clone();
    let latency = latency(run, &mut warnings);
    warnings.extend(unsent(run));
    let mut body =
        html::header(&title, Some(verdict(run)).as_ref().map(|(good, words)| (*good, words.as_str())), &facts(run));
    body += &html::notes("warn", &warnings);
    body += &tiles(run);
    body += &html::section("Guarantees and thresholds", &judgement(run));
    body += &html::section("Latency", &latency);
    body += &html::section("Over time", &time_line(run));
    body += &html::section("Counts", &super::counts::counts(run));
    body += &html::section("Plan", &super::plan(&run.plan));
    let metrics: Vec<Vec<Cell>> =
        run.server.iter().map(|(name, value)| vec![Cell::text(name), Cell::number(number(*value))]).collect();
    body += &html::folded(
        "The server's own counters",
        &html::table("Differences of counters, last values of gauges", &["name", "value"], &metrics),
    );
    html::page(&title, &body)
}

/// Whether all held, in words.
pub fn verdict(run: &RunResult) -> (bool, String) {
    let broken = run.thresholds.iter().filter(|threshold| !threshold.held).count();
    let mut reasons = Vec::new();
    if run.violations.count > 0 {
        reasons.push(counted(run.violations.count, "broken guarantee", "broken guarantees"));
    }
    if broken > 0 {
        reasons.push(format!("{broken} of {} thresholds missed", run.thresholds.len()));
    }
    if run.checked_events == 0 {
        reasons.push("nothing was checked".into());
    }
    match (run.passed(), reasons.is_empty()) {
        (true, _) if run.thresholds.is_empty() => (true, "Passed: the guarantees held".into()),
        (true, _) => (true, "Passed: guarantees and thresholds held".into()),
        (false, true) => (false, "Failed".into()),
        (false, false) => (false, format!("Failed: {}", reasons.join(", "))),
    }
}

/// Where, when, how much.
pub fn facts(run: &RunResult) -> Vec<String> {
    let mut facts = vec![
        format!("{}, {}", run.target, run.started_at),
        format!("{} s measured", number(run.measured_s)),
        format!("{} in {}", counted(run.connections, "connection", "connections"), counted(run.rooms, "room", "rooms")),
    ];
    if run.shards > 0 {
        facts.push(format!("server with {}", counted(u64::from(run.shards), "shard", "shards")));
    }
    facts.push(counted(u64::from(run.workers), "load worker", "load workers"));
    facts
}

fn tiles(run: &RunResult) -> String {
    let figure = |name: &str, words: fn(f64) -> String| value(run, name).map_or_else(|| "–".into(), words);
    let beside = |name: &str, words: fn(f64) -> String, text: &str| {
        value(run, name).map_or_else(String::new, |v| format!("{text} {}", words(v)))
    };
    let tail = |name: &str| {
        run.latency
            .get(name)
            .map_or_else(String::new, |of| format!("p50 {}, max {}", time(of.p50_us as f64), time(of.max_us as f64)))
    };
    let mut tiles = vec![
        ("Commands per second", figure("sends_per_s", number), beside("offered_per_s", number, "offered")),
        ("Deliveries per second", figure("deliveries_per_s", number), String::new()),
        ("Ack p99", figure("ack.p99", time), tail("ack")),
        ("Delivery p99", figure("delivery.p99", time), tail("delivery")),
        (
            "Server CPU per delivery",
            figure("server.cpu_us_per_delivery", time),
            beside("server.cpu_us_per_send", time, "per send"),
        ),
        ("Server cores", figure("server.cores", number), beside("generator.cores", number, "load generator")),
        ("Server memory", figure("server.rss", bytes), String::new()),
        ("Errors", figure("errors", number), counted(run.counts.disconnects, "connection lost", "connections lost")),
    ];
    if let Some(of) = run.latency.get("resume").filter(|of| of.count > 0) {
        tiles.push(("Caught up, p99", time(of.p99_us as f64), tail("resume")));
    }
    html::tiles(&tiles)
}

fn judgement(run: &RunResult) -> String {
    let checked = format!("{} events checked", count(run.checked_events));
    let mut rows = vec![vec![
        Cell::text("order, gaps, repetitions, acknowledged messages seen and kept"),
        Cell::text(format!("{}, {checked}", counted(run.violations.count, "violation", "violations"))),
        Cell::verdict(
            run.violations.count == 0 && run.checked_events > 0,
            if run.violations.count == 0 && run.checked_events > 0 { "held" } else { "broken" },
        ),
    ]];
    for threshold in &run.thresholds {
        let value = measured(threshold);
        let words = if threshold.held { "held" } else { "missed" };
        rows.push(vec![Cell::text(&threshold.text), Cell::text(value), Cell::verdict(threshold.held, words)]);
    }
    let mut text = html::table("What the run was held to", &["what", "measured", "verdict"], &rows);
    text += &html::notes("bad", &run.violations.first);
    text
}

fn latency(run: &RunResult, warnings: &mut Vec<String>) -> String {
    let us = |value: u64| Cell::number(time(value as f64));
    let rows: Vec<Vec<Cell>> = run
        .latency
        .iter()
        .map(|(name, of)| {
            vec![
                Cell::text(words_of(name)),
                us(of.p50_us),
                us(of.p90_us),
                us(of.p99_us),
                us(of.p999_us),
                us(of.max_us),
                Cell::number(count(of.count)),
            ]
        })
        .collect();
    let mut curves = Vec::new();
    // How late the generator was is small and would press the others together; the table has it.
    for (name, of) in run.latency.iter().filter(|(name, _)| *name != "late") {
        match percentiles(of) {
            Ok(points) => {
                let (colour, look) = look_of(name);
                curves.push(series(name, colour, look, points));
            }
            Err(reason) => warnings.push(format!("The distribution of {name} cannot be read: {reason}")),
        }
    }
    let figures = [
        percentile_plot("Latency by percentile", curves).figure("percentiles"),
        latency_over_time(run).figure("latency"),
    ];
    html::grid(&figures)
        + &html::table("Latencies, from the intended time", &["", "p50", "p90", "p99", "p99.9", "max", "values"], &rows)
}

/// The same latency looks the same everywhere.
fn look_of(name: &str) -> (u8, Look) {
    match name {
        "ack" => (1, Look::Solid),
        "delivery" => (2, Look::Solid),
        "connect" => (3, Look::Solid),
        "resume" => (4, Look::Solid),
        _ => (4, Look::Dashed),
    }
}

/// What a latency is from and to.
pub fn words_of(name: &str) -> String {
    match name {
        "ack" => "ack: command to reply".into(),
        "delivery" => "delivery: command to each receiver".into(),
        "connect" => "connect: TCP to ready".into(),
        "resume" => "resume: return to caught up".into(),
        "late" => "late: what the generator was late".into(),
        other => other.into(),
    }
}

fn latency_over_time(run: &RunResult) -> Plot {
    let lines = vec![
        series("ack p50", 1, Look::Dashed, over_time(run, |s| some_us(s.ack_p50_us))),
        series("ack p99", 1, Look::Solid, over_time(run, |s| some_us(s.ack_p99_us))),
        series("delivery p50", 2, Look::Dashed, over_time(run, |s| some_us(s.delivery_p50_us))),
        series("delivery p99", 2, Look::Solid, over_time(run, |s| some_us(s.delivery_p99_us))),
    ];
    timed(run, "Latency of each second", TIME, lines)
}

fn timed(run: &RunResult, title: &str, y: Axis, series: Vec<Series>) -> Plot {
    Plot { title: title.into(), x: SECONDS, y, series, shaded: unmeasured(run), rules: Vec::new() }
}

fn time_line(run: &RunResult) -> String {
    let line = |name: &str, colour: u8, look: Look, value: fn(&Second) -> Option<f64>| {
        series(name, colour, look, over_time(run, value))
    };
    let mut sends = vec![
        line("sent", 1, Look::Solid, |s| Some(s.sent as f64)),
        line("acknowledged", 3, Look::Dashed, |s| Some(s.acknowledged as f64)),
    ];
    if run.series.iter().any(|second| second.errors > 0) {
        sends.push(line("errors", 2, Look::Solid, |s| Some(s.errors as f64)));
    }
    let figures = [
        ("sends", timed(run, "Commands per second", RATE, sends)),
        (
            "deliveries",
            timed(
                run,
                "Deliveries per second",
                RATE,
                vec![line("deliveries", 1, Look::Solid, |s| Some(s.deliveries as f64))],
            ),
        ),
        (
            "cores",
            timed(
                run,
                "Cores in use",
                CORES,
                vec![
                    line("server", 1, Look::Solid, |s| s.server_cores),
                    line("load generator", 2, Look::Dashed, |s| Some(s.generator_cores)),
                ],
            ),
        ),
        (
            "memory",
            timed(
                run,
                "Server memory",
                BYTES,
                vec![line("resident", 1, Look::Solid, |s| s.server_rss_bytes.map(|b| b as f64))],
            ),
        ),
        (
            "journal",
            timed(
                run,
                "Operations and commands waiting",
                NUMBER,
                vec![
                    line("journal: operations not yet committed", 1, Look::Solid, |s| {
                        s.journal_operations.map(|n| n as f64)
                    }),
                    line("commands without an answer", 2, Look::Dashed, |s| Some(s.in_flight as f64)),
                ],
            ),
        ),
        (
            "connections",
            timed(run, "Connections", CONNECTIONS, vec![line("open", 1, Look::Solid, |s| Some(s.connections as f64))]),
        ),
    ];
    html::grid(&figures.map(|(id, plot)| plot.figure(id)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{examples, judge};

    #[test]
    fn the_page_has_all_parts_and_needs_nothing_else() {
        let mut run = examples::run();
        judge(&mut run, &["ack.p99<10ms".parse().expect("good"), "errors==0".parse().expect("good")]);
        run.violations.add("room 7: seq 9 after 7".into());
        let page = run_page(&run);
        for part in [
            "<title>Load test: chat</title>",
            "Failed: 1 broken guarantee, 1 of 2 thresholds missed",
            "room 7: seq 9 after 7",
            "ack.p99&lt;10ms</th><td>9 ms</td>",
            "errors==0</th><td>3</td>",
            "OVERLOADED",
            "<th scope=\"row\">load.sizes</th><td>zipf</td>",
            "delivery: command to each receiver",
            "prefers-color-scheme: dark",
            "30 ms",
        ] {
            assert!(page.contains(part), "{part} is not in the page");
        }
        for id in ["percentiles", "latency", "sends", "deliveries", "cores", "memory", "journal", "connections"] {
            assert_eq!(page.matches(&format!("id=\"{id}-t\"")).count(), 1, "{id}");
        }
        assert!(page.matches("class=\"shade\" x=").count() == 7, "the warm-up is shaded wherever there is time");
        for foreign in ["http://", "https://", "<script", "src=", "@import", "url("] {
            assert!(!page.contains(foreign), "{foreign}");
        }
    }

    #[test]
    fn nothing_in_a_result_becomes_html() {
        let evil = "<img src=x onerror=alert(1)>";
        let mut run = examples::run();
        run.scenario = evil.into();
        run.target = evil.into();
        run.started_at = evil.into();
        run.notes.push(evil.into());
        run.plan = serde_json::json!({ evil: evil });
        run.violations.add(evil.into());
        run.counts.errors.insert(evil.into(), 1);
        run.counts.closes.insert(evil.into(), 1);
        run.counts.commands.insert(evil.into(), 1);
        run.server.insert(evil.into(), 1.0);
        run.thresholds.push(crate::result::Threshold { text: evil.into(), value: None, held: false });
        run.latency.insert(evil.into(), examples::distribution(10, 1.0));
        run.latency.insert("broken".into(), crate::result::Latency { histogram: evil.into(), ..Default::default() });
        assert!(!run_page(&run).contains("<img"));
    }

    #[test]
    fn an_empty_run_has_a_page_too() {
        let page = run_page(&RunResult::default());
        assert!(page.contains("Failed: nothing was checked") && page.contains("No values."));
        assert!(!page.contains("NaN") && !page.contains("inf"));
    }

    #[test]
    fn says_when_the_load_was_lighter_than_planned() {
        let mut run = examples::run();
        assert_eq!(unsent(&run), None);
        run.counts.offered = 12_000;
        assert!(unsent(&run).is_some_and(|text| text.contains("1,997 of 12,000 commands")), "{:?}", unsent(&run));
    }
}
