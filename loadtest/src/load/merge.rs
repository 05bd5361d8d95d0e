//! Many workers' seconds and ends as one.

use super::clock::SECOND_NS;
use super::metrics::{self, Sample};
use super::wire::{DoneReport, SecondReport};
use crate::result::{Counts, Latency, RunResult, Second, histogram};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2Serializer};
use std::collections::BTreeMap;

/// A histogram as text; nothing for one without values.
pub fn encode(of: &Histogram<u64>) -> String {
    if of.is_empty() {
        return String::new();
    }
    let mut bytes = Vec::new();
    V2Serializer::new().serialize(of, &mut bytes).expect("a Vec takes everything");
    STANDARD.encode(bytes)
}

fn add(to: &mut Histogram<u64>, text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Ok(());
    }
    let bytes = STANDARD.decode(text).map_err(|error| error.to_string())?;
    let of: Histogram<u64> =
        Deserializer::new().deserialize(&mut bytes.as_slice()).map_err(|error| error.to_string())?;
    to.add(of).map_err(|error| error.to_string())
}

/// A second as far as it is known.
struct Partial {
    second: Second,
    workers: usize,
    ack: Histogram<u64>,
    delivery: Histogram<u64>,
}

/// The seconds of a run, whole ones in order.
pub struct Seconds {
    workers: usize,
    /// Begin, and the measured time, ns.
    borders: (u64, u64, u64),
    partial: BTreeMap<u64, Partial>,
    whole: Vec<Second>,
    next: u64,
    samples: Vec<Sample>,
    /// CPU of each worker so far.
    cpu_ns: Vec<u64>,
}

impl Seconds {
    /// None yet.
    pub fn new(workers: usize, borders: (u64, u64, u64)) -> Seconds {
        let cpu_ns = vec![0; workers];
        Seconds { workers, borders, partial: BTreeMap::new(), whole: Vec::new(), next: 0, samples: Vec::new(), cpu_ns }
    }

    /// A worker's second.
    ///
    /// # Errors
    /// If its histograms are none.
    pub fn add(&mut self, worker: usize, report: &SecondReport) -> Result<(), String> {
        let (begin, from, to) = self.borders;
        let at = begin + report.index * SECOND_NS;
        let partial = self.partial.entry(report.index).or_insert_with(|| Partial {
            second: Second { at_s: (report.index + 1) as f64, measured: at >= from && at < to, ..Second::default() },
            workers: 0,
            ack: histogram(),
            delivery: histogram(),
        });
        let second = &mut partial.second;
        second.connections += report.connections;
        second.sent += report.sent;
        second.acknowledged += report.acknowledged;
        second.deliveries += report.deliveries;
        second.errors += report.errors;
        second.in_flight += report.in_flight;
        second.generator_cores += report.cpu_ns.saturating_sub(self.cpu_ns[worker]) as f64 / SECOND_NS as f64;
        self.cpu_ns[worker] = report.cpu_ns;
        partial.workers += 1;
        add(&mut partial.ack, &report.ack)?;
        add(&mut partial.delivery, &report.delivery)
    }

    /// What the server said; samples come in order.
    pub fn sample(&mut self, sample: Sample) {
        self.samples.push(sample);
    }

    /// The next second that all workers have reported.
    pub fn next_whole(&mut self) -> Option<&Second> {
        let partial = self.partial.get(&self.next)?;
        if partial.workers < self.workers {
            return None;
        }
        let Partial { mut second, ack, delivery, .. } = self.partial.remove(&self.next)?;
        (second.ack_p50_us, second.ack_p99_us) = (ack.value_at_quantile(0.5), ack.value_at_quantile(0.99));
        (second.delivery_p50_us, second.delivery_p99_us) =
            (delivery.value_at_quantile(0.5), delivery.value_at_quantile(0.99));
        let begin = self.borders.0 + self.next * SECOND_NS;
        look(&mut second, &self.samples, begin);
        self.next += 1;
        self.whole.push(second);
        self.whole.last()
    }

    /// All whole seconds, what the server said meanwhile put in again (its answers may have come late), and all that it
    /// said.
    pub fn finish(mut self) -> (Vec<Second>, Vec<Sample>) {
        for (index, second) in self.whole.iter_mut().enumerate() {
            look(second, &self.samples, self.borders.0 + index as u64 * SECOND_NS);
        }
        (self.whole, self.samples)
    }
}

/// What the server said about the second that begins there.
fn look(second: &mut Second, samples: &[Sample], begin: u64) {
    let near =
        |at: u64| samples.iter().filter(|s| s.at_ns.abs_diff(at) < SECOND_NS / 2).min_by_key(|s| s.at_ns.abs_diff(at));
    let (from, to) = (near(begin), near(begin + SECOND_NS));
    // Until the last answer is there, the newest one stands in.
    let Some(last) = to.or(samples.last()) else { return };
    second.server_rss_bytes = last.values.get(metrics::RSS).map(|bytes| *bytes as u64);
    second.journal_operations = last.values.get(metrics::JOURNAL).map(|count| *count as u64);
    let pair = from.zip(to).or_else(|| samples.last_chunk().map(|[from, to]: &[Sample; 2]| (from, to)));
    let Some((from, to)) = pair.filter(|(from, to)| to.at_ns > from.at_ns) else { return };
    let cpu = from.values.get(metrics::CPU).zip(to.values.get(metrics::CPU));
    second.server_cores = cpu.map(|(a, b)| (b - a) * 1e9 / (to.at_ns - from.at_ns) as f64);
}

/// The ends of all workers as one.
///
/// # Errors
/// If a histogram is none.
pub fn merge_done(result: &mut RunResult, done: &[DoneReport]) -> Result<(), String> {
    let mut latency: BTreeMap<&str, Histogram<u64>> = BTreeMap::new();
    for report in done {
        result.connections += report.connections;
        result.checked_events += report.checked_events;
        result.cpu.generator_s += report.cpu_ns as f64 / 1e9;
        result.violations.merge(report.violations.clone());
        result.notes.extend(report.notes.iter().cloned());
        sum(&mut result.counts, &report.counts);
        for (name, text) in &report.latency {
            add(latency.entry(name).or_insert_with(histogram), text)?;
        }
    }
    let some = latency.into_iter().filter(|(_, of)| !of.is_empty());
    result.latency = some.map(|(name, of)| (name.to_owned(), Latency::from(&of))).collect();
    Ok(())
}

fn sum(to: &mut Counts, from: &Counts) {
    to.offered += from.offered;
    to.sent += from.sent;
    to.acknowledged += from.acknowledged;
    to.deliveries += from.deliveries;
    to.received_bytes += from.received_bytes;
    to.sent_bytes += from.sent_bytes;
    to.connects += from.connects;
    to.disconnects += from.disconnects;
    to.resumes += from.resumes;
    for (to, from) in
        [(&mut to.errors, &from.errors), (&mut to.closes, &from.closes), (&mut to.commands, &from.commands)]
    {
        for (name, count) in from {
            *to.entry(name.clone()).or_default() += count;
        }
    }
}
