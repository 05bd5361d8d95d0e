//! `--assert 'ack.p99<10ms'`: what a run is held to, in words that a person types.

use crate::result::{Latency, RunResult, Threshold, latency};
use std::fmt;
use std::str::FromStr;

/// What a value is, and therefore which units it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dimension {
    /// Kept in µs; a unit must be named, for 50 could be anything.
    Time,
    /// Kept in µs, which the name says already: the unit may be left out.
    NamedTime,
    /// Kept in bytes; without a unit they are meant.
    Bytes,
    /// A number without a unit.
    Number,
}

/// How a value is held against the bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
}

/// One `--assert`.
#[derive(Clone, Debug)]
pub struct Assertion {
    text: String,
    name: String,
    operator: Operator,
    /// In the unit of the text.
    bound: f64,
    /// What one of that unit is in the value's own.
    scale: f64,
}

/// Longer ones first: `<=` is no `<`.
const OPERATORS: [(&str, Operator); 5] = [
    ("<=", Operator::LessOrEqual),
    (">=", Operator::GreaterOrEqual),
    ("==", Operator::Equal),
    ("<", Operator::Less),
    (">", Operator::Greater),
];

const UNITS: [(&str, Dimension, f64); 13] = [
    ("us", Dimension::Time, 1.0),
    ("µs", Dimension::Time, 1.0),
    ("ms", Dimension::Time, 1e3),
    ("s", Dimension::Time, 1e6),
    ("B", Dimension::Bytes, 1.0),
    ("kB", Dimension::Bytes, 1e3),
    ("KB", Dimension::Bytes, 1e3),
    ("MB", Dimension::Bytes, 1e6),
    ("GB", Dimension::Bytes, 1e9),
    ("KiB", Dimension::Bytes, 1024.0),
    ("MiB", Dimension::Bytes, 1_048_576.0),
    ("GiB", Dimension::Bytes, 1_073_741_824.0),
    ("", Dimension::Number, 1.0),
];

type Value = fn(&RunResult) -> Option<f64>;
type Statistic = (&'static str, Dimension, fn(&Latency) -> u64);

const LATENCIES: [&str; 5] = [latency::ACK, latency::DELIVERY, latency::CONNECT, latency::RESUME, latency::LATE];

const STATISTICS: [Statistic; 6] = [
    ("p50", Dimension::Time, |of| of.p50_us),
    ("p90", Dimension::Time, |of| of.p90_us),
    ("p99", Dimension::Time, |of| of.p99_us),
    ("p999", Dimension::Time, |of| of.p999_us),
    ("max", Dimension::Time, |of| of.max_us),
    ("count", Dimension::Number, |of| of.count),
];

/// Values that are not of a distribution.
const VALUES: [(&str, Dimension, Value); 25] = [
    ("errors", Dimension::Number, |run| Some(run.counts.errors.values().sum::<u64>() as f64)),
    ("disconnects", Dimension::Number, |run| Some(run.counts.disconnects as f64)),
    ("violations", Dimension::Number, |run| Some(run.violations.count as f64)),
    ("checked_events", Dimension::Number, |run| Some(run.checked_events as f64)),
    ("offered", Dimension::Number, |run| Some(run.counts.offered as f64)),
    ("sent", Dimension::Number, |run| Some(run.counts.sent as f64)),
    ("acknowledged", Dimension::Number, |run| Some(run.counts.acknowledged as f64)),
    ("deliveries", Dimension::Number, |run| Some(run.counts.deliveries as f64)),
    ("connects", Dimension::Number, |run| Some(run.counts.connects as f64)),
    ("resumes", Dimension::Number, |run| Some(run.counts.resumes as f64)),
    ("connections", Dimension::Number, |run| Some(run.connections as f64)),
    ("offered_per_s", Dimension::Number, |run| per(run.counts.offered as f64, run.measured_s)),
    ("sends_per_s", Dimension::Number, |run| per(run.counts.sent as f64, run.measured_s)),
    ("acknowledged_per_s", Dimension::Number, |run| per(run.counts.acknowledged as f64, run.measured_s)),
    ("deliveries_per_s", Dimension::Number, |run| per(run.counts.deliveries as f64, run.measured_s)),
    ("server.cores", Dimension::Number, |run| per(run.cpu.server_s?, run.measured_s)),
    ("server.cpu_us_per_delivery", Dimension::NamedTime, |run| {
        per(run.cpu.server_s? * 1e6, run.counts.deliveries as f64)
    }),
    ("server.cpu_us_per_send", Dimension::NamedTime, |run| {
        per(run.cpu.server_s? * 1e6, run.counts.acknowledged as f64)
    }),
    ("server.rss", Dimension::Bytes, rss_bytes),
    ("server.shard_busy", Dimension::Number, |run| run.shard_busy.iter().copied().reduce(f64::max)),
    ("database.cores", Dimension::Number, |run| per(run.cpu.database_s?, run.measured_s)),
    ("database.cpu_us_per_send", Dimension::NamedTime, |run| {
        per(run.cpu.database_s? * 1e6, run.counts.acknowledged as f64)
    }),
    ("generator.cores", Dimension::Number, |run| per(run.cpu.generator_s, run.measured_s)),
    ("others.cores", Dimension::Number, |run| per(run.cpu.others_s?, run.measured_s)),
    ("journal_operations", Dimension::Number, |run| {
        run.measured().filter_map(|second| second.journal_operations).max().map(|most| most as f64)
    }),
];

fn per(value: f64, of: f64) -> Option<f64> {
    (of > 0.0).then(|| value / of)
}

/// The most that the server had while it was measured; else what its metrics said last.
fn rss_bytes(run: &RunResult) -> Option<f64> {
    let most = run.measured().filter_map(|second| second.server_rss_bytes).max();
    most.map(|bytes| bytes as f64).or_else(|| run.server("process_resident_memory_bytes"))
}

/// The value of that name, in its own unit (µs, bytes, or none).
///
/// Beside the fixed names there are the groups `errors.CODE`, `closes.CODE`, `commands.TYPE` and `server.METRIC`.
pub fn value(run: &RunResult, name: &str) -> Option<f64> {
    if let Some((_, _, value)) = VALUES.iter().find(|(known, _, _)| *known == name) {
        return value(run);
    }
    let (group, key) = name.split_once('.')?;
    if LATENCIES.contains(&group) {
        let (_, dimension, statistic) = STATISTICS.iter().find(|(known, _, _)| *known == key)?;
        let nothing = (*dimension == Dimension::Number).then_some(0.0);
        return run.latency.get(group).map(|latency| statistic(latency) as f64).or(nothing);
    }
    let count = |of: &std::collections::BTreeMap<String, u64>| Some(of.get(key).copied().unwrap_or(0) as f64);
    match group {
        "errors" => count(&run.counts.errors),
        "closes" => count(&run.counts.closes),
        "commands" => count(&run.counts.commands),
        "server" => run.server(key),
        _ => None,
    }
}

/// What that name is; none where nothing has it.
fn dimension(name: &str) -> Option<Dimension> {
    if let Some((_, dimension, _)) = VALUES.iter().find(|(known, _, _)| *known == name) {
        return Some(*dimension);
    }
    let (group, key) = name.split_once('.')?;
    if LATENCIES.contains(&group) {
        return STATISTICS.iter().find(|(known, _, _)| *known == key).map(|(_, dimension, _)| *dimension);
    }
    let word = |more: &str| !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c));
    match group {
        "errors" | "closes" | "commands" if word("_") => Some(Dimension::Number),
        // Names and labels as `/metrics` shows them.
        "server" if word("_:{}=\",-") => {
            Some(if key.ends_with("_bytes") { Dimension::Bytes } else { Dimension::Number })
        }
        _ => None,
    }
}

/// All fixed names.
fn names() -> impl Iterator<Item = String> {
    let latencies =
        LATENCIES.iter().flat_map(|group| STATISTICS.iter().map(move |(key, _, _)| format!("{group}.{key}")));
    latencies.chain(VALUES.iter().map(|(name, _, _)| (*name).to_owned()))
}

/// The known name that is most like this one.
fn nearest(name: &str) -> String {
    names().min_by_key(|known| strsim::damerau_levenshtein(known, name)).unwrap_or_default()
}

impl FromStr for Assertion {
    type Err = String;

    fn from_str(text: &str) -> Result<Assertion, String> {
        // Labels, as in server.closes_total{code=3002}, belong to the name.
        let labels = text.rfind('}').unwrap_or(0);
        let operator = text[labels..].find(['<', '>', '=']).map(|at| labels + at);
        let at = operator.ok_or_else(|| format!("`{text}` has none of < <= > >= =="))?;
        let (name, rest) = (text[..at].trim(), &text[at..]);
        let found = OPERATORS.iter().find_map(|(word, operator)| Some((rest.strip_prefix(word)?, *operator)));
        let (bound, operator) = found.ok_or_else(|| format!("`{text}`: the operators are < <= > >= =="))?;
        let dimension =
            dimension(name).ok_or_else(|| format!("`{name}` is no name; did you mean {}?", nearest(name)))?;
        let bound = bound.trim();
        let unit_at = bound.find(|c: char| !(c.is_ascii_digit() || "+-._".contains(c))).unwrap_or(bound.len());
        let (digits, unit) = (&bound[..unit_at], bound[unit_at..].trim());
        let digits = digits.replace('_', "");
        let number: f64 = digits.parse().map_err(|_| format!("`{text}`: `{bound}` does not begin with a number"))?;
        if !number.is_finite() {
            return Err(format!("`{text}`: the bound must be finite"));
        }
        let scale = scale(dimension, unit).map_err(|reason| format!("`{text}`: {reason}"))?;
        Ok(Assertion { text: text.trim().to_owned(), name: name.to_owned(), operator, bound: number, scale })
    }
}

/// What one of the unit is in the value's own.
fn scale(dimension: Dimension, unit: &str) -> Result<f64, String> {
    let (kind, plain, words) = match dimension {
        Dimension::Time => (Dimension::Time, false, "a time: write us, ms or s"),
        Dimension::NamedTime => (Dimension::Time, true, "a time: write us, ms or s, or nothing for µs"),
        Dimension::Bytes => (Dimension::Bytes, true, "memory: write kB, MB, GB, KiB, MiB or GiB, or nothing for bytes"),
        Dimension::Number => (Dimension::Number, true, "a number without a unit"),
    };
    if unit.is_empty() && plain {
        return Ok(1.0);
    }
    let known = UNITS.iter().find(|(word, of, _)| *word == unit && *of == kind);
    known.map(|(_, _, scale)| *scale).ok_or_else(|| format!("it is {words}"))
}

impl fmt::Display for Assertion {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl Assertion {
    /// How it turned out. A value that the run does not have does not hold: nothing was shown.
    pub fn judge(&self, run: &RunResult) -> Threshold {
        let value = value(run, &self.name).map(|value| value / self.scale);
        let held = value.is_some_and(|value| match self.operator {
            Operator::Less => value < self.bound,
            Operator::LessOrEqual => value <= self.bound,
            Operator::Greater => value > self.bound,
            Operator::GreaterOrEqual => value >= self.bound,
            Operator::Equal => value == self.bound,
        });
        Threshold { text: self.text.clone(), value, held }
    }

    /// The upper bound for that name in its own unit, where this is one.
    pub fn bound_of(&self, name: &str) -> Option<f64> {
        let upper = matches!(self.operator, Operator::Less | Operator::LessOrEqual);
        (upper && self.name == name).then_some(self.bound * self.scale)
    }

    /// Whether one error reply more than none breaks it for good, whatever comes after.
    pub fn forbids_errors(&self) -> bool {
        self.name == "errors"
            && match self.operator {
                Operator::Less => self.bound <= 1.0,
                Operator::LessOrEqual => self.bound < 1.0,
                Operator::Equal => self.bound == 0.0,
                Operator::Greater | Operator::GreaterOrEqual => false,
            }
    }
}

/// Judges a run; what turned out is kept with it.
pub fn judge(run: &mut RunResult, assertions: &[Assertion]) {
    let thresholds: Vec<Threshold> = assertions.iter().map(|assertion| assertion.judge(run)).collect();
    run.thresholds.extend(thresholds);
}

#[cfg(test)]
mod tests;
