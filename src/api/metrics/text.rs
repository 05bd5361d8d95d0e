//! The Prometheus text format, version 0.0.4.

use std::fmt::{Display, Write};

use veza_engine::stats::Log2Histogram;

/// What this format calls itself.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows; its name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts values by size.
    Histogram,
}

impl Kind {
    /// As the format writes it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// Names and values of one series' labels. The values come from the code: nothing in them needs to be escaped.
pub type Labels<'a> = [(&'a str, &'a str)];

/// The text of all metrics. Writing to a string cannot fail: the results are not looked at.
#[derive(Default)]
pub struct Text(String);

impl Text {
    /// A metric begins; its series follow.
    pub fn begin(&mut self, name: &str, kind: Kind, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {}", kind.name());
    }

    /// One series.
    pub fn series(&mut self, name: &str, labels: &Labels<'_>, value: impl Display) {
        self.0.push_str(name);
        for (index, (label, value)) in labels.iter().enumerate() {
            debug_assert!(!value.contains(['"', '\\', '\n']), "{value}");
            let before = if index == 0 { '{' } else { ',' };
            let _ = write!(self.0, "{before}{label}=\"{value}\"");
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }

    /// All series of one histogram.
    pub fn histogram(&mut self, name: &str, labels: &Labels<'_>, buckets: Buckets, of: &Log2Histogram) {
        let mut sum = of.buckets[..buckets.first].iter().sum::<u64>();
        let bucket = format!("{name}_bucket");
        for index in buckets.first..=buckets.last {
            sum += of.buckets[index];
            self.series(&bucket, &[labels, &[("le", &buckets.bound(index))]].concat(), sum);
        }
        let count: u64 = of.buckets.iter().sum();
        self.series(&bucket, &[labels, &[("le", "+Inf")]].concat(), count);
        self.series(&format!("{name}_sum"), labels, of.sum as f64 * buckets.scale);
        self.series(&format!("{name}_count"), labels, count);
    }

    /// All of it.
    pub fn finish(self) -> String {
        self.0
    }
}

/// Which of the engine's buckets are shown: the first holds all below, what lies beyond the last is in +Inf alone.
#[derive(Clone, Copy, Debug)]
pub struct Buckets {
    first: usize,
    last: usize,
    scale: f64,
    /// Whole numbers: a bucket's bound is the last of them. Times are cut to microseconds: the bound is beyond them.
    whole: bool,
}

/// 16 µs to 0.5 s.
pub const TURN: Buckets = Buckets { first: 3, last: 18, scale: 1e-6, whole: false };
/// 128 µs to 33 s.
pub const LATENCY: Buckets = Buckets { first: 6, last: 24, scale: 1e-6, whole: false };
/// Up to 16,383 operations.
pub const BATCH: Buckets = Buckets { first: 0, last: 13, scale: 1.0, whole: true };

impl Buckets {
    /// Bucket `i` counts integers below 2^(i+1).
    fn bound(self, index: usize) -> String {
        let beyond = 1u64 << (index + 1);
        let bound = if self.whole { (beyond - 1) as f64 } else { beyond as f64 * self.scale };
        // Scaled microseconds have six digits; what follows is the scaling's.
        let text = format!("{bound:.6}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_is_cumulative_and_whole() {
        let mut of = Log2Histogram::default();
        [1, 100, 127, 128, 1000, 70_000_000].into_iter().for_each(|us| of.record(us));
        let mut text = Text::default();
        text.begin("x_seconds", Kind::Histogram, "Help");
        text.histogram("x_seconds", &[("shard", "0")], LATENCY, &of);
        let text = text.finish();
        for line in [
            "# HELP x_seconds Help",
            "# TYPE x_seconds histogram",
            "x_seconds_bucket{shard=\"0\",le=\"0.000128\"} 3",
            "x_seconds_bucket{shard=\"0\",le=\"0.000256\"} 4",
            "x_seconds_bucket{shard=\"0\",le=\"0.001024\"} 5",
            "x_seconds_bucket{shard=\"0\",le=\"33.554432\"} 5",
            "x_seconds_bucket{shard=\"0\",le=\"+Inf\"} 6",
            "x_seconds_sum{shard=\"0\"} 70.001356",
            "x_seconds_count{shard=\"0\"} 6",
        ] {
            assert!(text.lines().any(|other| other == line), "no {line} in\n{text}");
        }
    }
}
