//! What a worker counts: of the present second, and of the measured time.

use super::super::clock::thread_cpu_ns;
use super::super::merge::encode;
use super::super::wire::SecondReport;
use crate::result::{Counts, LATENCY_MAX_US, histogram, latency};
use hdrhistogram::Histogram;
use std::collections::BTreeMap;

/// Counters and distributions.
pub struct Tally {
    /// Of the measured time.
    pub counts: Counts,
    /// Of this second.
    pub second: SecondReport,
    second_ack: Histogram<u64>,
    second_delivery: Histogram<u64>,
    ack: Histogram<u64>,
    delivery: Histogram<u64>,
    late: Histogram<u64>,
    /// From the beginning of a connection to `auth_success`.
    pub connect: Histogram<u64>,
    /// From the wish to be back to the last missed event.
    pub resume: Histogram<u64>,
    /// CPU time when the load began: connecting is no part of its first second.
    pub cpu_begin_ns: u64,
    /// CPU time at the borders of the measured time.
    pub cpu_ns: (u64, u64),
    /// Connections when it began.
    pub connections: u64,
}

/// Adds a time in ns.
pub fn record(to: &mut Histogram<u64>, ns: u64) {
    to.saturating_record((ns / 1000).clamp(1, LATENCY_MAX_US));
}

impl Tally {
    /// Nothing yet.
    pub fn new() -> Tally {
        Tally {
            counts: Counts::default(),
            second: SecondReport::default(),
            second_ack: histogram(),
            second_delivery: histogram(),
            ack: histogram(),
            delivery: histogram(),
            late: histogram(),
            connect: histogram(),
            resume: histogram(),
            cpu_begin_ns: 0,
            cpu_ns: (0, 0),
            connections: 0,
        }
    }

    /// A command has been sent; so late, where that was the generator's own doing.
    pub fn sent(&mut self, command: &'static str, late_ns: Option<u64>, measured: bool) {
        self.second.counted.sent += 1;
        if measured {
            self.counts.sent += 1;
            count(&mut self.counts.commands, command);
            if let Some(late_ns) = late_ns {
                record(&mut self.late, late_ns);
            }
        }
    }

    /// A command was answered without an error, so long after its intended time.
    pub fn acknowledged(&mut self, ns: u64, measured: bool) {
        self.second.counted.acknowledged += 1;
        record(&mut self.second_ack, ns);
        if measured {
            self.counts.acknowledged += 1;
            record(&mut self.ack, ns);
        }
    }

    /// A command was refused.
    pub fn refused(&mut self, code: &str, measured: bool) {
        self.second.counted.errors += 1;
        if measured {
            count(&mut self.counts.errors, code);
        }
    }

    /// An event was pushed; with a time where that says something.
    pub fn delivered(&mut self, ns: Option<u64>, measured: bool) {
        self.second.counted.deliveries += 1;
        self.counts.deliveries += u64::from(measured);
        if let Some(ns) = ns {
            record(&mut self.second_delivery, ns);
            if measured {
                record(&mut self.delivery, ns);
            }
        }
    }

    /// This second's report; the next one begins.
    pub fn rotate(&mut self, connections: u64, in_flight: u64) -> SecondReport {
        let next = SecondReport { index: self.second.index + 1, ..SecondReport::default() };
        let mut report = std::mem::replace(&mut self.second, next);
        (report.counted.connections, report.counted.in_flight) = (connections, in_flight);
        report.cpu_ns = thread_cpu_ns().saturating_sub(self.cpu_begin_ns);
        (report.ack, report.delivery) = (encode(&self.second_ack), encode(&self.second_delivery));
        self.second_ack.reset();
        self.second_delivery.reset();
        report
    }

    /// Distributions of the measured time, by name.
    pub fn latencies(&self) -> BTreeMap<String, String> {
        let all = [
            (latency::ACK, &self.ack),
            (latency::DELIVERY, &self.delivery),
            (latency::CONNECT, &self.connect),
            (latency::RESUME, &self.resume),
            (latency::LATE, &self.late),
        ];
        all.into_iter().map(|(name, of)| (name.to_owned(), encode(of))).collect()
    }
}

/// One more under a name.
pub fn count(to: &mut BTreeMap<String, u64>, name: &str) {
    match to.get_mut(name) {
        Some(count) => *count += 1,
        None => drop(to.insert(name.to_owned(), 1)),
    }
}
