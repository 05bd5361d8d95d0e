//! The page of a search for the limit.

use super::curves::{TIME, series};
use crate::report::assert::value;
use crate::report::format::{count, counted, number, time};
use crate::report::html::{self, Cell};
use crate::report::limit::{Limits, Step, Sweep};
use crate::report::plot::{Axis, Look, Plot, Rule, Scale, Series};
use crate::report::resources::resources;
use crate::report::usl::Fit;

const LOAD: Axis = Axis { label: "Commands per second that the plan wanted", scale: Scale::FromZero, words: number };
const RATE: Axis = Axis { label: "Acknowledged per second", scale: Scale::FromZero, words: number };
const USED: Axis = Axis { label: "Part in use", scale: Scale::FromZero, words: percent };
const SHARDS: Axis = Axis { label: "Shards", scale: Scale::FromZero, words: number };

fn percent(part: f64) -> String {
    format!("{} %", number((part * 100.0).round()))
}

/// The page of a search.
pub fn limit_page(limits: &Limits) -> String {
    let title = format!("The limit of {}", limits.scenario);
    let verdict = if limits.found() { "The limit was found" } else { "No limit was found" };
    let facts = vec![
        format!("objective: {}", limits.objective.join(", ")),
        format!("{} cores for server, database and load", number(limits.machine.cores)),
        limits
            .sweeps
            .first()
            .and_then(|sweep| sweep.steps.first())
            .map(|step| step.run.started_at.clone())
            .unwrap_or_default(),
    ];
    let mut body = html::header(&title, Some((limits.found(), verdict)), &facts);
    body += &html::notes("warn", &limits.notes);
    body += &found(&limits.sweeps);
    let figures = vec![latency(limits).figure("latency"), throughput(limits).figure("throughput")];
    body += &html::section("Load and latency", &html::grid(&figures));
    if let Some(fit) = &limits.usl {
        body += &html::section("Shards", &scaling(limits, fit));
    }
    for (at, sweep) in limits.sweeps.iter().enumerate() {
        let name = counted(sweep.shards.into(), "shard", "shards");
        let used = used(limits, sweep).figure(&format!("used-{at}"));
        let tables = html::grid(&[used, table_of_resources(limits, sweep)]) + &steps(sweep);
        body +=
            &html::section(&format!("With {name}"), &format!("{}{tables}", html::notes("plain", &[sweep.verdict()])));
    }
    if let Some(step) = limits.sweeps.first().and_then(|sweep| sweep.steps.first()) {
        body += &html::section("Plan of the least load", &super::plan(&step.run.plan));
    }
    html::page(&title, &body)
}

/// The limits in short.
fn found(sweeps: &[Sweep]) -> String {
    if let [sweep] = sweeps {
        return tiles(sweep);
    }
    let row = |sweep: &Sweep| {
        let figure = |name: &str, words: fn(f64) -> String| {
            let value = sweep.knee().and_then(|step| value(&step.run, name));
            Cell::number(value.map_or_else(|| "–".into(), words))
        };
        vec![
            Cell::text(count(sweep.shards.into())),
            figure("acknowledged_per_s", number),
            figure("deliveries_per_s", number),
            figure("ack.p99", time),
            figure("server.cpu_us_per_delivery", time),
            Cell::text(&sweep.ran_out),
        ]
    };
    let head = ["shards", "acks/s", "deliveries/s", "ack p99", "CPU/delivery", "ran out first"];
    let rows: Vec<Vec<Cell>> = sweeps.iter().map(row).collect();
    html::section("Limits", &html::table("At the knee", &head, &rows))
}

fn tiles(sweep: &Sweep) -> String {
    let Some(knee) = sweep.knee() else { return String::new() };
    let figure = |name: &str, words: fn(f64) -> String| value(&knee.run, name).map_or_else(|| "–".into(), words);
    let next = sweep.broken().map_or_else(String::new, |step| format!("broken at {}", number(step.offered())));
    html::tiles(&[
        (
            "Acknowledged per second",
            figure("acknowledged_per_s", number),
            format!("{}, {next}", counted(sweep.shards.into(), "shard", "shards")),
        ),
        ("Deliveries per second", figure("deliveries_per_s", number), "at the knee".into()),
        ("Ack p99", figure("ack.p99", time), format!("p50 {}", figure("ack.p50", time))),
        (
            "Server CPU per delivery",
            figure("server.cpu_us_per_delivery", time),
            format!("per send {}", figure("server.cpu_us_per_send", time)),
        ),
    ])
}

/// The steps of a sweep that held as a line, those that broke as crosses.
fn curve(sweep: &Sweep, colour: u8, of: fn(&Step) -> Option<f64>) -> [Series; 2] {
    let name = counted(sweep.shards.into(), "shard", "shards");
    let points = |held: bool| {
        let steps = sweep.steps.iter().filter(|step| step.held == held);
        steps.map(|step| (step.offered(), of(step).unwrap_or(f64::NAN))).collect()
    };
    [
        series(&name, colour, Look::Dots, points(true)),
        series(&format!("{name}, broken"), colour, Look::Crosses, points(false)),
    ]
}

fn curves(limits: &Limits, of: fn(&Step) -> Option<f64>) -> Vec<Series> {
    limits.sweeps.iter().enumerate().flat_map(|(at, sweep)| curve(sweep, (at % 4) as u8 + 1, of)).collect()
}

fn knees(limits: &Limits) -> Vec<Rule> {
    let knee = |sweep: &Sweep| sweep.knee().map(|step| (step.offered(), sweep.shards));
    limits
        .sweeps
        .iter()
        .filter_map(knee)
        .map(|(at, shards)| Rule::X(at, format!("knee, {}", counted(shards.into(), "shard", "shards"))))
        .collect()
}

fn latency(limits: &Limits) -> Plot {
    let mut rules = knees(limits);
    rules.extend(limits.ack_p99_bound_us().map(|us| Rule::Y(us, format!("objective {}", time(us)))));
    let p99 = |step: &Step| value(&step.run, "ack.p99");
    Plot {
        title: "Ack p99 under load".into(),
        x: LOAD,
        y: TIME,
        series: curves(limits, p99),
        shaded: Vec::new(),
        rules,
    }
}

fn throughput(limits: &Limits) -> Plot {
    let mut series = curves(limits, |step| value(&step.run, "acknowledged_per_s"));
    let most = limits.sweeps.iter().flat_map(|sweep| &sweep.steps).map(Step::offered).fold(0.0, f64::max);
    series.push(super::curves::series("all that the plan wanted", 0, Look::Dashed, vec![(0.0, 0.0), (most, most)]));
    Plot {
        title: "Acknowledged per second under load".into(),
        x: LOAD,
        y: RATE,
        series,
        shaded: Vec::new(),
        rules: knees(limits),
    }
}

fn used(limits: &Limits, sweep: &Sweep) -> Plot {
    let mut lines: Vec<Series> = Vec::new();
    for step in &sweep.steps {
        for resource in resources(&step.run, &limits.machine) {
            let at = lines.iter().position(|line| line.name == resource.name).unwrap_or_else(|| {
                let at = lines.len();
                let look = if at < 4 { Look::Dots } else { Look::Dashed };
                lines.push(series(resource.name, (at % 4) as u8 + 1, look, Vec::new()));
                at
            });
            lines[at].points.push((step.offered(), resource.used));
        }
    }
    // What is hardly touched only hides the others.
    lines.retain(|line| line.points.iter().any(|(_, used)| *used > 0.05));
    let rules = vec![Rule::Y(1.0, "all of it".into())];
    Plot { title: "Resources under load".into(), x: LOAD, y: USED, series: lines, shaded: Vec::new(), rules }
}

fn table_of_resources(limits: &Limits, sweep: &Sweep) -> String {
    let at_knee = sweep.knee().map(|step| resources(&step.run, &limits.machine)).unwrap_or_default();
    let broken = sweep.broken().map(|step| resources(&step.run, &limits.machine)).unwrap_or_default();
    let of = |list: &[crate::report::resources::Resource], name: &str| {
        list.iter().find(|one| one.name == name).map_or_else(|| "–".into(), |one| percent(one.used))
    };
    let all = if broken.is_empty() { &at_knee } else { &broken };
    let rows: Vec<Vec<Cell>> = all
        .iter()
        .map(|one| {
            vec![
                Cell::text(one.name),
                Cell::number(of(&at_knee, one.name)),
                Cell::number(of(&broken, one.name)),
                Cell::text(&one.words),
            ]
        })
        .collect();
    html::table("In use at the knee, and where the objective broke", &["", "knee", "broken", ""], &rows)
}

fn steps(sweep: &Sweep) -> String {
    let figure = |step: &Step, name: &str, words: fn(f64) -> String| {
        Cell::number(value(&step.run, name).map_or_else(|| "–".into(), words))
    };
    let rows: Vec<Vec<Cell>> = sweep
        .steps
        .iter()
        .map(|step| {
            let errors: u64 = step.run.counts.errors.values().sum();
            let words = if step.held { "held".to_owned() } else { step.broken.join(", ") };
            vec![
                Cell::text(format!("×{:.2}", step.factor)),
                Cell::number(number(step.offered())),
                figure(step, "acknowledged_per_s", number),
                figure(step, "deliveries_per_s", number),
                figure(step, "ack.p50", time),
                figure(step, "ack.p99", time),
                figure(step, "delivery.p99", time),
                figure(step, "server.cpu_us_per_delivery", time),
                Cell::number(count(errors)),
                Cell::verdict(step.held, &words),
            ]
        })
        .collect();
    let head = [
        "load",
        "wanted/s",
        "acks/s",
        "deliveries/s",
        "ack p50",
        "ack p99",
        "delivery p99",
        "CPU/delivery",
        "errors",
        "objective",
    ];
    html::table("Steps", &head, &rows)
}

fn scaling(limits: &Limits, fit: &Fit) -> String {
    let points = limits.capacities();
    let most = points.iter().map(|(shards, _)| *shards).fold(1.0, f64::max) * 2.0;
    let grid = || (0..=80).map(|at| 1.0 + (most - 1.0) * f64::from(at) / 80.0);
    let lines = vec![
        series("measured", 1, Look::Crosses, points.clone()),
        series("the law", 2, Look::Solid, grid().map(|shards| (shards, fit.at(shards))).collect()),
        series(
            "each as much as one alone",
            0,
            Look::Dashed,
            grid().map(|shards| (shards, fit.lambda * shards)).collect(),
        ),
    ];
    let y = Axis { label: "Acknowledged per second at the knee", ..RATE };
    let plot = Plot {
        title: "Universal Scalability Law".into(),
        x: SHARDS,
        y,
        series: lines,
        shaded: Vec::new(),
        rules: Vec::new(),
    };
    let rows: Vec<Vec<Cell>> = points
        .iter()
        .map(|(shards, rate)| {
            vec![Cell::text(number(*shards)), Cell::number(number(*rate)), Cell::number(number(fit.at(*shards)))]
        })
        .collect();
    let mut notes = vec![fit.words()];
    notes.extend(fit.notes.iter().cloned());
    let beside = html::table("At the knee", &["shards", "measured", "the law"], &rows) + &html::notes("plain", &notes);
    html::grid(&[plot.figure("usl"), format!("<div>{beside}</div>")])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::limit::tests::example;

    #[test]
    fn the_page_has_the_curves_and_the_law() {
        let limits = example();
        let page = limit_page(&limits);
        for part in [
            "The limit of chat",
            "The limit was found",
            "objective 50 ms",
            "knee, 2 shards",
            "CPU of a shard",
            "contention σ",
            "id=\"latency-t\"",
            "id=\"throughput-t\"",
            "id=\"usl-t\"",
            "id=\"used-2-t\"",
        ] {
            assert!(page.contains(part), "{part} is not in the page");
        }
        assert_eq!(
            page.matches("held</td>").count() + page.matches("class=\"bad\">").count(),
            limits.sweeps.iter().map(|sweep| sweep.steps.len()).sum::<usize>()
        );
        assert!(!page.contains("://") && !page.contains("NaN"));
    }

    #[test]
    fn nothing_from_outside_becomes_html() {
        let evil = "<img src=x>";
        let mut limits = example();
        limits.scenario = evil.into();
        limits.objective.push(evil.into());
        limits.notes.push(evil.into());
        limits.sweeps[0].ran_out = evil.into();
        let step = &mut limits.sweeps[0].steps[0];
        step.broken.push(evil.into());
        step.held = false;
        step.run.started_at = evil.into();
        step.run.plan = serde_json::json!({ evil: evil });
        assert!(!limit_page(&limits).contains("<img"));
        limits.sweeps.clear();
        assert!(limit_page(&limits).contains("No limit was found"));
    }
}
