//! Many workers' seconds and ends as one.

use super::clock::SECOND_NS;
use super::metrics::{self, Sample};
use super::wire::{DoneReport, SecondReport};
use crate::result::{self, Latency, RunResult, Second, histogram};
use hdrhistogram::Histogram;
use std::collections::BTreeMap;

/// A histogram as text; nothing for one without values.
pub fn encode(of: &Histogram<u64>) -> String {
    if of.is_empty() { String::new() } else { result::encode(of) }
}

fn add(to: &mut Histogram<u64>, text: &str) -> Result<(), String> {
    match text {
        "" => Ok(()),
        text => to.add(result::decode(text)?).map_err(|error| error.to_string()),
    }
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
        second.add(&report.counted);
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
        // Until the answer about this second is there, the newest one stands in.
        if let (None, Some(last)) = (second.server_rss_bytes, self.samples.last()) {
            look(&mut second, &self.samples, last.at_ns.saturating_sub(SECOND_NS));
        }
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

/// What the server said about the second that begins there; nothing where it said nothing then.
fn look(second: &mut Second, samples: &[Sample], begin: u64) {
    let near = |at: u64, name: &str| {
        let usable = samples.iter().filter(|s| s.at_ns.abs_diff(at) < SECOND_NS / 2 && s.values.contains_key(name));
        usable.min_by_key(|s| s.at_ns.abs_diff(at)).map(|s| (s.at_ns, s.values[name]))
    };
    let end = begin + SECOND_NS;
    second.server_rss_bytes = near(end, metrics::RSS).map(|(_, bytes)| bytes as u64);
    second.journal_operations = near(end, metrics::JOURNAL).map(|(_, count)| count as u64);
    let cpu = near(begin, metrics::CPU).zip(near(end, metrics::CPU)).filter(|(from, to)| to.0 > from.0);
    second.server_cores = cpu.map(|(from, to)| (to.1 - from.1) * 1e9 / (to.0 - from.0) as f64);
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
        result.counts.add(&report.counts);
        for (name, text) in &report.latency {
            add(latency.entry(name).or_insert_with(histogram), text)?;
        }
    }
    let some = latency.into_iter().filter(|(_, of)| !of.is_empty());
    result.latency = some.map(|(name, of)| (name.to_owned(), Latency::from(&of))).collect();
    Ok(())
}
