//! Two runs side by side: what differs, by how much, and whether the runs can tell.

use super::assert::value;
use super::format;
use super::pages::flat;
use crate::result::{Latency, RunResult, Second};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Values beyond a percentile that it takes to speak of it.
const TAIL_MIN: f64 = 10.0;
/// Half of the width of an interval, in standard errors.
const ERRORS: f64 = 3.0;
/// Seconds that it takes to speak of their mean.
const SECONDS_MIN: usize = 5;

/// Which way a value is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Less is better: `--fail-over` judges it.
    Cost,
    /// Neither, or more is better.
    Other,
}

/// What the runs can tell of a difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// The intervals of the two do not touch.
    Apart,
    /// They do: two runs of the same would differ as much.
    Noise,
    /// There are not enough values to say.
    TooFew(String),
    /// A single value each.
    Single,
}

/// One value of both.
#[derive(Clone, Debug)]
pub struct Row {
    /// As in `--assert`.
    pub name: String,
    /// A value in words.
    pub words: fn(f64) -> String,
    /// Of the first run.
    pub a: Option<f64>,
    /// Of the second.
    pub b: Option<f64>,
    /// Which way it is bad.
    pub kind: Kind,
    /// What can be told.
    pub told: Told,
}

/// Two runs side by side.
#[derive(Debug)]
pub struct Comparison {
    /// Value by value.
    pub rows: Vec<Row>,
    /// Fields of the plans that differ: name, first, second.
    pub plan: Vec<(String, String, String)>,
}

impl Row {
    /// The second by the first; none where one is missing or nothing is held against nothing.
    pub fn ratio(&self) -> Option<f64> {
        let ratio = self.b? / self.a?;
        (!ratio.is_nan()).then_some(ratio)
    }

    /// What a reader should know of the difference.
    pub fn note(&self) -> String {
        match (&self.told, self.a, self.b) {
            (_, None, None) => String::new(),
            (_, None, _) => "not in the first".into(),
            (_, _, None) => "not in the second".into(),
            (Told::Apart, ..) => "apart".into(),
            (Told::Noise, ..) => "within noise".into(),
            (Told::TooFew(why), ..) => why.clone(),
            (Told::Single, ..) => String::new(),
        }
    }

    /// The difference, with its sign.
    pub fn difference(&self) -> String {
        let Some(difference) = self.b.zip(self.a).map(|(b, a)| b - a) else { return String::new() };
        let sign = if difference > 0.0 {
            "+"
        } else if difference < 0.0 {
            "−"
        } else {
            ""
        };
        format!("{sign}{}", (self.words)(difference.abs()))
    }

    /// Whether it is a cost that has grown by more than that, as far as the runs can tell.
    pub fn exceeds(&self, ratio: f64) -> bool {
        self.kind == Kind::Cost
            && matches!(self.told, Told::Apart | Told::Single)
            && self.ratio().is_some_and(|own| own > ratio)
    }
}

impl Comparison {
    /// Holds `b` against `a`.
    pub fn of(a: &RunResult, b: &RunResult) -> Comparison {
        let mut rows = Vec::new();
        let names: BTreeSet<&String> = a.latency.keys().chain(b.latency.keys()).collect();
        names.into_iter().for_each(|name| latency_rows(name, a, b, &mut rows));
        value_rows(a, b, &mut rows);
        let (first, second) = (flat(&a.plan), flat(&b.plan));
        let fields: BTreeSet<&String> = first.keys().chain(second.keys()).collect();
        let text = |of: Option<&String>| of.cloned().unwrap_or_else(|| "–".into());
        let plan = fields.into_iter().filter(|field| first.get(*field) != second.get(*field));
        let plan = plan.map(|field| (field.clone(), text(first.get(field)), text(second.get(field)))).collect();
        Comparison { rows, plan }
    }

    /// Latencies and costs that have grown by more than that, as far as the runs can tell.
    pub fn exceeding(&self, ratio: f64) -> Vec<&Row> {
        self.rows.iter().filter(|row| row.exceeds(ratio)).collect()
    }

    /// For a terminal.
    pub fn text(&self) -> String {
        let head = ["", "first", "second", "difference", "ratio", ""].map(str::to_owned);
        let mut lines = vec![head];
        lines.extend(self.rows.iter().map(Row::cells));
        let widths: Vec<usize> =
            (0..6).map(|at| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or(0)).collect();
        let mut text = String::new();
        for [name, a, b, difference, ratio, note] in &lines {
            let line = format!(
                "{name:<0$}  {a:>1$}  {b:>2$}  {difference:>3$}  {ratio:>4$}  {note}",
                widths[0], widths[1], widths[2], widths[3], widths[4]
            );
            let _ = writeln!(text, "{}", line.trim_end());
        }
        for (field, a, b) in &self.plan {
            let _ = writeln!(text, "the plans differ: {field}: {a}, {b}");
        }
        text
    }
}

impl Row {
    /// Name, first, second, difference, ratio, note.
    pub fn cells(&self) -> [String; 6] {
        let words = |of: Option<f64>| of.map_or_else(|| "–".into(), self.words);
        let ratio = self.ratio().map_or_else(String::new, format::ratio);
        [self.name.clone(), words(self.a), words(self.b), self.difference(), ratio, self.note()]
    }
}

fn latency_rows(name: &str, a: &RunResult, b: &RunResult, rows: &mut Vec<Row>) {
    // How late the generator was is no fault of the server.
    let kind = if name == crate::result::latency::LATE { Kind::Other } else { Kind::Cost };
    let (first, second) = (a.latency.get(name), b.latency.get(name));
    type Statistic = (&'static str, f64, fn(&Latency) -> u64);
    let statistics: [Statistic; 4] = [
        ("p50", 0.5, |of| of.p50_us),
        ("p90", 0.9, |of| of.p90_us),
        ("p99", 0.99, |of| of.p99_us),
        ("p999", 0.999, |of| of.p999_us),
    ];
    for (statistic, quantile, value) in statistics {
        rows.push(Row {
            name: format!("{name}.{statistic}"),
            words: format::time,
            a: first.map(|of| value(of) as f64),
            b: second.map(|of| value(of) as f64),
            kind,
            told: first.zip(second).map_or(Told::Single, |(a, b)| tell(a, b, quantile)),
        });
    }
    rows.push(Row {
        name: format!("{name}.max"),
        words: format::time,
        a: first.map(|of| of.max_us as f64),
        b: second.map(|of| of.max_us as f64),
        kind,
        told: Told::TooFew("one value each".into()),
    });
}

fn tell(a: &Latency, b: &Latency, quantile: f64) -> Told {
    let tail = (1.0 - quantile) * a.count.min(b.count) as f64;
    if tail < TAIL_MIN - 1e-6 {
        return Told::TooFew(format!(
            "too few: {} beyond it",
            format::counted((tail + 1e-6) as u64, "value", "values")
        ));
    }
    match (interval(a, quantile), interval(b, quantile)) {
        (Ok(a), Ok(b)) => touch(a, b),
        (Err(_), _) | (_, Err(_)) => Told::Single,
    }
}

/// Between which values the percentile lies, by the binomial spread of its rank. Latencies that follow each other are
/// alike, so that the truth is wider: it is said that they are apart rather too often than too rarely.
fn interval(of: &Latency, quantile: f64) -> Result<(f64, f64), String> {
    let histogram = of.decode()?;
    let spread = ERRORS * (quantile * (1.0 - quantile) / of.count as f64).sqrt();
    let at = |quantile: f64| histogram.value_at_quantile(quantile.clamp(0.0, 1.0)) as f64;
    Ok((at(quantile - spread), at(quantile + spread)))
}

fn touch(a: (f64, f64), b: (f64, f64)) -> Told {
    if a.0 <= b.1 && b.0 <= a.1 { Told::Noise } else { Told::Apart }
}

/// A value of one second.
type Each = fn(&Second) -> Option<f64>;
type Entry = (&'static str, fn(f64) -> String, Kind, Option<Each>);

fn value_rows(a: &RunResult, b: &RunResult, rows: &mut Vec<Row>) {
    let entries: [Entry; 13] = [
        ("server.cpu_us_per_delivery", format::time, Kind::Cost, Some(|s| cost(s.server_cores, s.deliveries))),
        ("server.cpu_us_per_send", format::time, Kind::Cost, Some(|s| cost(s.server_cores, s.acknowledged))),
        ("database.cpu_us_per_send", format::time, Kind::Cost, None),
        ("server.rss", format::bytes, Kind::Cost, None),
        ("offered_per_s", format::number, Kind::Other, None),
        ("sends_per_s", format::number, Kind::Other, Some(|s| Some(s.sent as f64))),
        ("acknowledged_per_s", format::number, Kind::Other, Some(|s| Some(s.acknowledged as f64))),
        ("deliveries_per_s", format::number, Kind::Other, Some(|s| Some(s.deliveries as f64))),
        ("server.cores", format::number, Kind::Other, Some(|s| s.server_cores)),
        ("generator.cores", format::number, Kind::Other, Some(|s| Some(s.generator_cores))),
        ("errors", format::number, Kind::Other, None),
        ("disconnects", format::number, Kind::Other, None),
        ("violations", format::number, Kind::Other, None),
    ];
    for (name, words, kind, each) in entries {
        let told = each.map_or(Told::Single, |each| match (mean(a, each), mean(b, each)) {
            (Some(a), Some(b)) => touch(a, b),
            _ => Told::Single,
        });
        let (a, b) = (value(a, name), value(b, name));
        if a.is_some() || b.is_some() {
            rows.push(Row { name: name.into(), words, a, b, kind, told });
        }
    }
}

/// µs of CPU for each of so many.
fn cost(cores: Option<f64>, of: u64) -> Option<f64> {
    cores.filter(|_| of > 0).map(|cores| cores * 1e6 / of as f64)
}

/// Between which values the mean over the measured seconds lies.
fn mean(run: &RunResult, each: Each) -> Option<(f64, f64)> {
    let values: Vec<f64> = run.measured().filter_map(each).collect();
    if values.len() < SECONDS_MIN {
        return None;
    }
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
    let spread = ERRORS * (variance / count).sqrt();
    Some((mean - spread, mean + spread))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::examples;

    fn row<'a>(comparison: &'a Comparison, name: &str) -> &'a Row {
        comparison.rows.iter().find(|row| row.name == name).expect(name)
    }

    #[test]
    fn a_run_does_not_differ_from_itself() {
        let run = examples::run();
        let comparison = Comparison::of(&run, &run);
        assert!(comparison.plan.is_empty());
        assert!(comparison.exceeding(1.0).is_empty());
        for row in &comparison.rows {
            assert!(row.ratio().is_none_or(|ratio| ratio == 1.0) && row.told != Told::Apart, "{row:?}");
        }
    }

    #[test]
    fn says_what_has_grown_and_by_how_much() {
        let (mut a, mut b) = (examples::run(), examples::run());
        a.latency.insert("ack".into(), examples::distribution(100_000, 1.0));
        b.latency.insert("ack".into(), examples::distribution(100_000, 1.5));
        b.latency.remove("connect");
        b.cpu.server_s = Some(9.0);
        b.series.iter_mut().for_each(|second| second.server_cores = Some(0.9));
        b.plan["rate"] = 2_000.into();
        let comparison = Comparison::of(&a, &b);
        assert_eq!(comparison.plan, [("rate".to_owned(), "1000".to_owned(), "2000".to_owned())]);
        let cases = [
            ("ack.p50", Some(1.5), "+500 µs", "apart"),
            ("ack.p99", Some(1.5), "+4.5 ms", "apart"),
            ("ack.p999", Some(1.5), "+10 ms", "apart"),
            ("ack.max", Some(1.5), "+15 ms", "one value each"),
            ("delivery.p99", Some(1.0), "0 µs", "within noise"),
            ("connect.p50", None, "", "not in the second"),
            ("server.cpu_us_per_delivery", Some(2.0), "+50 µs", "apart"),
            ("sends_per_s", Some(1.0), "0", "within noise"),
            ("server.rss", Some(1.0), "0 B", ""),
            ("errors", Some(1.0), "0", ""),
            ("violations", None, "0", ""),
        ];
        for (name, ratio, difference, note) in cases {
            let row = row(&comparison, name);
            assert_eq!(
                (row.ratio(), row.difference().as_str(), row.note().as_str()),
                (ratio, difference, note),
                "{name}"
            );
        }
        let exceeding = |ratio| comparison.exceeding(ratio).iter().map(|row| row.name.clone()).collect::<Vec<_>>();
        assert_eq!(
            exceeding(1.4),
            ["ack.p50", "ack.p90", "ack.p99", "ack.p999", "server.cpu_us_per_delivery", "server.cpu_us_per_send"]
        );
        assert_eq!(exceeding(1.9), ["server.cpu_us_per_delivery", "server.cpu_us_per_send"]);
        assert_eq!(exceeding(2.0), Vec::<String>::new());
        let text = comparison.text();
        assert!(
            text.contains("ack.p99") && text.contains("×1.50") && text.contains("the plans differ: rate: 1000, 2000"),
            "{text}"
        );
    }

    #[test]
    fn does_not_judge_what_it_cannot_tell() {
        let (mut a, mut b) = (examples::run(), examples::run());
        // Nine values beyond p99 say nothing about it; of p90 there are enough.
        a.latency.insert("ack".into(), examples::distribution(900, 1.0));
        b.latency.insert("ack".into(), examples::distribution(10_000, 3.0));
        let comparison = Comparison::of(&a, &b);
        assert_eq!(row(&comparison, "ack.p99").note(), "too few: 9 values beyond it");
        assert!(row(&comparison, "ack.p90").exceeds(2.0) && !row(&comparison, "ack.p99").exceeds(2.0));
        // From nothing to something is more than any ratio, of a cost.
        a.cpu.server_s = Some(0.0);
        a.series.clear();
        let comparison = Comparison::of(&a, &b);
        assert!(row(&comparison, "server.cpu_us_per_delivery").exceeds(1e9));
    }
}
