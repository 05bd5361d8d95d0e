//! What a run of the load generator has found, as one JSON file: what writes it (a run), what judges it (`--assert`),
//! what draws it (the report) and what compares it know nothing of each other but this.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2Serializer};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::check::Violations;

/// The version of this format; another one is refused by name, not misread.
pub const FORMAT: u32 = 1;
/// The longest time that a histogram tells from longer ones, µs.
pub const LATENCY_MAX_US: u64 = 120_000_000;

/// Names in [`RunResult::latency`].
pub mod latency {
    /// From the *intended* time of sending to the reply.
    pub const ACK: &str = "ack";
    /// From the intended time of sending to the push at each other receiver.
    pub const DELIVERY: &str = "delivery";
    /// From the beginning of a TCP connection to `auth_success`.
    pub const CONNECT: &str = "connect";
    /// From the time at which a client wanted back to the last event that it had missed.
    pub const RESUME: &str = "resume";
    /// From the intended time of sending to the real one: what the generator itself was late. (What a client could not
    /// say in time, since its connection was lost, is not in it; its `ack` has all of the delay.)
    pub const LATE: &str = "late";
}

/// One run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RunResult {
    /// [`FORMAT`].
    pub format: u32,
    /// The scenario's name.
    pub scenario: String,
    /// The scenario as it was run, with everything that was overridden.
    pub plan: serde_json::Value,
    /// Wall clock at the start, RFC 3339.
    pub started_at: String,
    /// The server's address.
    pub target: String,
    /// Shards of the server, as `/metrics` shows them; 0 where it cannot be read.
    pub shards: u32,
    /// Worker processes of the generator.
    pub workers: u32,
    /// Seconds that are measured, after the warm-up and before the end's quiet.
    pub measured_s: f64,
    /// Connections at the end of the warm-up.
    pub connections: u64,
    /// Rooms in use.
    pub rooms: u64,
    /// What was counted in the measured time.
    pub counts: Counts,
    /// By name (see [`latency`]); a name without any value is absent.
    pub latency: BTreeMap<String, Latency>,
    /// One for each second from the start of the warm-up on.
    pub series: Vec<Second>,
    /// CPU in the measured time.
    pub cpu: Cpu,
    /// Differences of the server's counters (per name, summed over shards) and the last values of its gauges.
    pub server: BTreeMap<String, f64>,
    /// The fraction of the measured time in which each shard's pump was busy; empty where the server does not say.
    #[serde(default)]
    pub shard_busy: Vec<f64>,
    /// Of the guarantees, over the whole run and the comparison of histories at its end.
    pub violations: Violations,
    /// Events that the checker has looked at; a run that checks nothing proves nothing.
    pub checked_events: u64,
    /// `--assert`, as they turned out.
    pub thresholds: Vec<Threshold>,
    /// What a reader should know: an overloaded generator, a metric that was not there.
    pub notes: Vec<String>,
}

/// What was counted in the measured time.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Commands that the plan wanted sent in this time.
    pub offered: u64,
    /// Commands sent.
    pub sent: u64,
    /// Commands answered without an error.
    pub acknowledged: u64,
    /// Pushes of events received.
    pub deliveries: u64,
    /// Bytes received, frame headers included.
    pub received_bytes: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Connections made, returning ones included.
    pub connects: u64,
    /// Connections that ended without the plan's wanting it.
    pub disconnects: u64,
    /// Rooms resumed with `recovered: true`.
    pub resumes: u64,
    /// Error replies by code.
    pub errors: BTreeMap<String, u64>,
    /// Close codes of the server.
    pub closes: BTreeMap<String, u64>,
    /// Commands by type.
    pub commands: BTreeMap<String, u64>,
}

impl Counts {
    /// Adds what another worker has counted.
    pub fn add(&mut self, other: &Counts) {
        self.offered += other.offered;
        self.sent += other.sent;
        self.acknowledged += other.acknowledged;
        self.deliveries += other.deliveries;
        self.received_bytes += other.received_bytes;
        self.sent_bytes += other.sent_bytes;
        self.connects += other.connects;
        self.disconnects += other.disconnects;
        self.resumes += other.resumes;
        let named = [
            (&mut self.errors, &other.errors),
            (&mut self.closes, &other.closes),
            (&mut self.commands, &other.commands),
        ];
        for (to, from) in named {
            from.iter().for_each(|(name, count)| *to.entry(name.clone()).or_default() += count);
        }
    }
}

/// One second.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Second {
    /// Seconds since the start of the warm-up.
    pub at_s: f64,
    /// Whether it counts.
    pub measured: bool,
    /// Open connections.
    pub connections: u64,
    /// As in [`Counts`].
    pub sent: u64,
    /// As in [`Counts`].
    pub acknowledged: u64,
    /// As in [`Counts`].
    pub deliveries: u64,
    /// Error replies.
    pub errors: u64,
    /// Commands without an answer at the end of this second.
    pub in_flight: u64,
    /// Of this second's answers, µs; 0 where there are none.
    pub ack_p50_us: u64,
    /// The same.
    pub ack_p99_us: u64,
    /// The same of pushes.
    pub delivery_p50_us: u64,
    /// The same.
    pub delivery_p99_us: u64,
    /// Cores that the server used.
    pub server_cores: Option<f64>,
    /// Cores that all workers used.
    pub generator_cores: f64,
    /// The server's resident memory, bytes.
    pub server_rss_bytes: Option<u64>,
    /// Operations in the server's journals.
    pub journal_operations: Option<u64>,
}

impl Second {
    /// Adds what another worker has counted in the same second.
    pub fn add(&mut self, other: &Second) {
        self.connections += other.connections;
        self.sent += other.sent;
        self.acknowledged += other.acknowledged;
        self.deliveries += other.deliveries;
        self.errors += other.errors;
        self.in_flight += other.in_flight;
    }
}

/// CPU seconds in the measured time. The generator's stands beside the server's, so that nobody takes one for the other.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Cpu {
    /// The server process, from its `/metrics`.
    pub server_s: Option<f64>,
    /// PostgreSQL, all its processes, where it runs on this machine and is known.
    pub database_s: Option<f64>,
    /// All workers.
    pub generator_s: f64,
    /// Every other program on this machine, where the server runs on it: a machine that others use is slower.
    #[serde(default)]
    pub others_s: Option<f64>,
}

/// A distribution of times.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Latency {
    /// Values.
    pub count: u64,
    /// µs.
    pub p50_us: u64,
    /// µs.
    pub p90_us: u64,
    /// µs.
    pub p99_us: u64,
    /// µs.
    pub p999_us: u64,
    /// µs.
    pub max_us: u64,
    /// All of it: an HdrHistogram (V2, base64) of µs, 3 digits.
    pub histogram: String,
}

/// A histogram of times from 1 µs to [`LATENCY_MAX_US`], 3 digits.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_MAX_US, 3).expect("constant bounds")
}

/// A histogram as text (V2, base64).
pub fn encode(of: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    V2Serializer::new().serialize(of, &mut bytes).expect("a Vec takes everything");
    STANDARD.encode(bytes)
}

/// A histogram from its text.
///
/// # Errors
/// If the text is no histogram.
pub fn decode(text: &str) -> Result<Histogram<u64>, String> {
    let bytes = STANDARD.decode(text).map_err(|error| error.to_string())?;
    Deserializer::new().deserialize(&mut bytes.as_slice()).map_err(|error| error.to_string())
}

impl From<&Histogram<u64>> for Latency {
    fn from(of: &Histogram<u64>) -> Latency {
        Latency {
            count: of.len(),
            p50_us: of.value_at_quantile(0.5),
            p90_us: of.value_at_quantile(0.9),
            p99_us: of.value_at_quantile(0.99),
            p999_us: of.value_at_quantile(0.999),
            max_us: of.max(),
            histogram: encode(of),
        }
    }
}

impl Latency {
    /// The whole distribution.
    ///
    /// # Errors
    /// If the text is no histogram.
    pub fn decode(&self) -> Result<Histogram<u64>, String> {
        decode(&self.histogram)
    }
}

/// One `--assert`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Threshold {
    /// As given, such as `ack.p99<10ms`.
    pub text: String,
    /// What was measured, in the unit of the text; none where the run has no such value, which does not hold.
    pub value: Option<f64>,
    /// Whether it holds.
    pub held: bool,
}

impl RunResult {
    /// Guarantees and thresholds held, and there was something to check.
    pub fn passed(&self) -> bool {
        self.violations.count == 0 && self.checked_events > 0 && self.thresholds.iter().all(|threshold| threshold.held)
    }

    /// The seconds that count.
    pub fn measured(&self) -> impl Iterator<Item = &Second> {
        self.series.iter().filter(|second| second.measured)
    }

    /// A value of the server by its name in `/metrics`, with or without the prefix.
    pub fn server(&self, name: &str) -> Option<f64> {
        let bare = name.strip_prefix("veza_").unwrap_or(name);
        self.server.get(bare).or_else(|| self.server.get(&format!("veza_{bare}"))).copied()
    }

    /// Reads a result.
    ///
    /// # Errors
    /// If it is none, or of another format.
    pub fn read(path: &std::path::Path) -> Result<RunResult, String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let result: RunResult = serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        if result.format != FORMAT {
            return Err(format!("{}: format {}, this program reads {FORMAT}", path.display(), result.format));
        }
        Ok(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distribution_survives_the_file() {
        let mut of = histogram();
        (1..=1000).for_each(|value| of.record(value * 100).expect("in bounds"));
        let latency = Latency::from(&of);
        let text = serde_json::to_string(&latency).expect("json");
        let read: Latency = serde_json::from_str(&text).expect("json");
        assert_eq!(read.decode().expect("histogram"), of);
        assert!((49_900..50_100).contains(&latency.p50_us), "{}", latency.p50_us);
    }

    #[test]
    fn a_run_that_checked_nothing_has_not_passed() {
        let mut run = RunResult { format: FORMAT, ..RunResult::default() };
        assert!(!run.passed());
        run.checked_events = 1;
        assert!(run.passed());
        run.thresholds.push(Threshold { text: "ack.p99<1ms".into(), value: None, held: false });
        assert!(!run.passed());
    }
}
