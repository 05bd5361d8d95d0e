//! What the model learns from: the differences of all counters over a few seconds, and the gauges at their end.

use std::collections::VecDeque;
use std::time::Instant;

use veza_runtime::{Call, Phase};

use super::machine::ThreadCpu;
use crate::api::backend::{ShardReport, StoreReport};
use crate::api::process::Process;

/// Samples kept; beyond: the oldest goes. With one every [`super::PERIOD`], ten minutes.
pub const SAMPLES_MAX: usize = 120;

/// All counters at one moment.
#[derive(Clone, Debug)]
pub struct Reading {
    at: Instant,
    counts: Counts,
    state: State,
    shards: Vec<f64>,
}

/// What is counted; in a [`Reading`] since the start, in a [`Sample`] within it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counts {
    /// Turns of the shards' loops.
    pub turns: f64,
    /// Sleeps between them, the long ones too.
    pub sleeps: f64,
    /// Those of them that went beyond the short nap, into io_uring.
    pub long_sleeps: f64,
    /// Reads that brought bytes.
    pub reads: f64,
    /// Writes to sockets.
    pub writes: f64,
    /// Pushes of events put into outboxes.
    pub deliveries: f64,
    /// Events committed: durable messages, and what else has a position in a room.
    pub events: f64,
    /// Rooms that connections came into or back to.
    pub joins: f64,
    /// Sockets accepted.
    pub connects: f64,
    /// Batches that the shards gave to the store.
    pub batches: f64,
    /// Operations in them.
    pub operations: f64,
    /// Messages between shards.
    pub peer_messages: f64,
    /// Transactions.
    pub transactions: f64,
    /// Microseconds of transactions, begin to end.
    pub transaction_us: f64,
    /// Queries.
    pub loads: f64,
    /// CPU of all shards, µs.
    pub shard_us: f64,
    /// CPU of the store's threads, µs.
    pub store_us: f64,
    /// CPU of all other threads, µs.
    pub other_us: f64,
    /// Of the shards' time, on the wall's clock: writing sockets, µs.
    pub write_us: f64,
    /// The same of all that they do while awake.
    pub busy_us: f64,
}

/// What is so at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct State {
    /// Open WebSocket connections.
    pub connections: f64,
    /// Subscriptions of connections to rooms.
    pub subscriptions: f64,
    /// Rooms in memory.
    pub rooms: f64,
    /// Open sockets of shards, of whatever kind.
    pub sockets: f64,
    /// Events committed since the start.
    pub events: f64,
    /// Resident memory, bytes.
    pub resident: f64,
    /// Open descriptors.
    pub fds: f64,
    /// The most that may be open.
    pub max_fds: f64,
}

/// A few seconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// How many.
    pub seconds: f64,
    /// Within them.
    pub counts: Counts,
    /// At their end.
    pub state: State,
    /// CPU of the busiest shard, µs.
    pub busiest_us: f64,
}

impl Reading {
    /// Of the reports of all shards: if one is missing, differences would lie.
    pub fn new(shards: &[Box<ShardReport>], store: &StoreReport, process: &Process, threads: &ThreadCpu) -> Reading {
        let mut counts = Counts {
            transactions: store.commit_us.buckets.iter().sum::<u64>() as f64,
            transaction_us: store.commit_us.sum as f64,
            loads: store.loads as f64,
            store_us: threads.store,
            other_us: threads.other,
            ..Counts::default()
        };
        let mut state = State {
            resident: process.resident_bytes as f64,
            fds: process.open_fds as f64,
            max_fds: process.max_fds as f64,
            ..State::default()
        };
        for report in shards {
            counts.add_shard(report);
            state.connections += report.engine.connections as f64;
            state.subscriptions += report.engine.subscriptions as f64;
            state.rooms += report.engine.rooms_loaded as f64;
            state.sockets += report.sockets as f64;
        }
        state.events = counts.events;
        let shards = shards.iter().map(|report| report.runtime.cpu_us as f64).collect();
        Reading { at: Instant::now(), counts, state, shards }
    }

    /// Since `before`.
    pub fn since(&self, before: &Reading) -> Sample {
        let same = self.shards.len() == before.shards.len();
        let busiest = self.shards.iter().zip(&before.shards).map(|(now, then)| now - then).fold(0.0, f64::max);
        Sample {
            seconds: self.at.duration_since(before.at).as_secs_f64(),
            counts: self.counts.zip(&before.counts, |now, then| (now - then).max(0.0)),
            state: self.state,
            busiest_us: if same { busiest } else { 0.0 },
        }
    }
}

impl Counts {
    fn add_shard(&mut self, report: &ShardReport) {
        let ShardReport { engine, runtime, .. } = report;
        self.turns += runtime.turns as f64;
        self.sleeps += runtime.sleeps as f64;
        self.long_sleeps += runtime.calls[Call::IoUring] as f64;
        self.reads += runtime.reads as f64;
        self.writes += runtime.writes as f64;
        self.connects += runtime.accepted as f64;
        self.peer_messages += runtime.peer_messages as f64;
        self.deliveries += engine.deliveries as f64;
        self.events += engine.events as f64;
        self.joins += (engine.joins + engine.resumed_rooms) as f64;
        self.batches += engine.batch_ops.buckets.iter().sum::<u64>() as f64;
        self.operations += engine.batch_ops.sum as f64;
        self.shard_us += runtime.cpu_us as f64;
        self.write_us += runtime.busy_us[Phase::Writes] as f64;
        self.busy_us += runtime.busy_us.total() as f64;
    }

    fn fields(&mut self) -> [&mut f64; 20] {
        let Counts {
            turns,
            sleeps,
            long_sleeps,
            reads,
            writes,
            deliveries,
            events,
            joins,
            connects,
            batches,
            operations,
            ..
        } = self;
        let Counts { peer_messages, transactions, transaction_us, loads, .. } = self;
        let Counts { shard_us, store_us, other_us, write_us, busy_us, .. } = self;
        [
            turns,
            sleeps,
            long_sleeps,
            reads,
            writes,
            deliveries,
            events,
            joins,
            connects,
            batches,
            operations,
            peer_messages,
            transactions,
            transaction_us,
            loads,
            shard_us,
            store_us,
            other_us,
            write_us,
            busy_us,
        ]
    }

    fn zip(&self, other: &Counts, with: impl Fn(f64, f64) -> f64) -> Counts {
        let (mut result, mut other) = (*self, *other);
        for (mine, theirs) in result.fields().into_iter().zip(other.fields()) {
            *mine = with(*mine, *theirs);
        }
        result
    }
}

impl Sample {
    /// CPU of all threads, seconds per second.
    pub fn cores(&self) -> f64 {
        let counts = &self.counts;
        (counts.shard_us + counts.store_us + counts.other_us) / self.seconds.max(1e-3) / 1e6
    }

    /// CPU of the busiest shard, seconds per second.
    pub fn busiest(&self) -> f64 {
        self.busiest_us / self.seconds.max(1e-3) / 1e6
    }

    /// The same for so many times as long.
    #[cfg(test)]
    pub fn times(&self, factor: f64) -> Sample {
        Sample {
            seconds: self.seconds * factor,
            counts: self.counts.zip(&self.counts, |count, _| count * factor),
            state: self.state,
            busiest_us: self.busiest_us * factor,
        }
    }
}

/// The last minutes.
#[derive(Debug, Default)]
pub struct Window {
    last: Option<Reading>,
    samples: VecDeque<Sample>,
}

impl Window {
    /// Adds what has been since the last reading. The first one only starts the count.
    pub fn push(&mut self, reading: Reading) {
        if let Some(before) = self.last.replace(reading) {
            let reading = self.last.as_ref().expect("just put there");
            let sample = reading.since(&before);
            if self.samples.len() == SAMPLES_MAX {
                self.samples.pop_front();
            }
            self.samples.push_back(sample);
        }
    }

    /// When the last reading was taken.
    pub fn last_at(&self) -> Option<Instant> {
        self.last.as_ref().map(|reading| reading.at)
    }

    /// Oldest first.
    pub fn samples(&self) -> impl ExactSizeIterator<Item = &Sample> + DoubleEndedIterator + Clone {
        self.samples.iter()
    }

    /// The newest ones that together span at least so many seconds, as one; none if there is no sample.
    pub fn recent(&self, seconds: f64) -> Option<Sample> {
        let mut whole: Option<Sample> = None;
        for sample in self.samples.iter().rev() {
            match &mut whole {
                None => whole = Some(sample.clone()),
                Some(whole) if whole.seconds < seconds => {
                    whole.seconds += sample.seconds;
                    whole.busiest_us += sample.busiest_us;
                    whole.counts = whole.counts.zip(&sample.counts, |a, b| a + b);
                }
                Some(_) => break,
            }
        }
        whole
    }
}
