//! What the model learns from: the differences of all counters over a few seconds, and the gauges at their end.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use veza_runtime::Call;

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

/// Counters, and what is done with all of them alike.
macro_rules! counts {
    ($($(#[$doc:meta])+ $name:ident,)+) => {
        /// What is counted; in a [`Reading`] since the start, in a [`Sample`] within it.
        #[derive(Clone, Copy, Debug, Default, PartialEq)]
        pub struct Counts {
            $($(#[$doc])+ pub $name: f64,)+
        }

        impl Counts {
            /// Each of them with the other's.
            fn zip(&self, other: &Counts, with: impl Fn(f64, f64) -> f64) -> Counts {
                Counts { $($name: with(self.$name, other.$name),)+ }
            }
        }
    };
}

counts! {
    /// Turns of the shards' loops.
    turns,
    /// Sleeps between them, the long ones too.
    sleeps,
    /// Those of them that went beyond the short nap, into io_uring.
    long_sleeps,
    /// Reads that brought bytes.
    reads,
    /// Writes to sockets.
    writes,
    /// Pushes of events put into outboxes.
    deliveries,
    /// Events committed: durable messages, and what else has a position in a room.
    events,
    /// Rooms that connections came into or back to.
    joins,
    /// Sockets accepted.
    connects,
    /// Batches that the shards gave to the store.
    batches,
    /// Operations in them.
    operations,
    /// Messages between shards.
    peer_messages,
    /// Transactions.
    transactions,
    /// Microseconds of transactions, begin to end.
    transaction_us,
    /// Queries.
    loads,
    /// CPU of all shards, µs.
    shard_us,
    /// CPU of the store's threads, µs.
    store_us,
    /// CPU of all other threads, µs.
    other_us,
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
    pub fn new(shards: &[Box<ShardReport>], store: &StoreReport, process: &Process) -> Reading {
        let mut counts = Counts {
            transactions: store.commit_us.buckets.iter().sum::<u64>() as f64,
            transaction_us: store.commit_us.sum as f64,
            loads: store.loads as f64,
            store_us: process.thread_cpu.store,
            other_us: process.thread_cpu.other,
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
    /// Adds what has been since the last reading, if that is at least so long ago (two who asked at the same time take one
    /// sample). The first one only starts the count.
    pub fn push(&mut self, reading: Reading, least: Duration) {
        let Some(before) = &self.last else {
            self.last = Some(reading);
            return;
        };
        if reading.at.duration_since(before.at) < least {
            return;
        }
        if self.samples.len() == SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back(reading.since(before));
        self.last = Some(reading);
    }

    /// When the last reading was taken.
    pub fn last_at(&self) -> Option<Instant> {
        self.last.as_ref().map(|reading| reading.at)
    }

    /// Oldest first.
    pub fn samples(&self) -> impl ExactSizeIterator<Item = &Sample> + DoubleEndedIterator + Clone {
        self.samples.iter()
    }

    /// The newest ones that together span at least so many seconds, as one. Before there is any: what is so now, and no
    /// time in which anything happened.
    pub fn recent(&self, seconds: f64) -> Sample {
        let state = self.last.as_ref().map(|reading| reading.state).unwrap_or_default();
        let mut whole = Sample { state, ..Sample::default() };
        for sample in self.samples.iter().rev() {
            if whole.seconds > 0.0 && whole.seconds >= seconds {
                break;
            }
            whole.seconds += sample.seconds;
            whole.busiest_us += sample.busiest_us;
            whole.counts = whole.counts.zip(&sample.counts, |a, b| a + b);
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After so many seconds, with so many events, of so many shards.
    fn reading(start: Instant, seconds: f64, events: f64, shards: usize) -> Reading {
        let counts = Counts { events, ..Counts::default() };
        let state = State { events, max_fds: 1000.0, ..State::default() };
        let at = start + Duration::from_secs_f64(seconds);
        Reading { at, counts, state, shards: vec![events; shards] }
    }

    #[test]
    fn samples_are_the_differences_and_the_oldest_go() {
        let (start, least) = (Instant::now(), Duration::from_secs(1));
        let mut window = Window::default();
        assert_eq!(window.recent(10.0), Sample::default());
        window.push(reading(start, 0.0, 50.0, 1), least);
        assert_eq!((window.samples().len(), window.recent(10.0).state.max_fds), (0, 1000.0));
        for second in 1..=200u32 {
            let second = f64::from(second);
            window.push(reading(start, second, 50.0 + 3.0 * second, 1), least);
            // Too soon: the next one spans it.
            window.push(reading(start, second + 0.5, 50.0 + 3.0 * second, 1), least);
        }
        assert_eq!(window.samples().len(), SAMPLES_MAX);
        assert!(window.samples().all(|sample| sample.counts.events == 3.0 && sample.seconds == 1.0));
        let recent = window.recent(10.0);
        assert_eq!(
            (recent.seconds, recent.counts.events, recent.busiest_us, recent.state.events),
            (10.0, 30.0, 30.0, 650.0)
        );
        assert_eq!(window.recent(0.0).seconds, 1.0);
        assert_eq!(window.recent(1e9).seconds, SAMPLES_MAX as f64);
    }

    #[test]
    fn counters_that_went_back_count_nothing() {
        let start = Instant::now();
        let sample = reading(start, 2.0, 5.0, 1).since(&reading(start, 0.0, 50.0, 1));
        assert_eq!((sample.counts.events, sample.busiest_us, sample.seconds), (0.0, 0.0, 2.0));
        let sample = reading(start, 2.0, 60.0, 2).since(&reading(start, 0.0, 50.0, 1));
        assert_eq!(sample.busiest_us, 0.0, "other shards than before");
        assert_eq!((Sample::default().cores(), Sample::default().busiest()), (0.0, 0.0));
    }
}
