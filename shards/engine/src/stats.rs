//! Counters and gauges of one shard; copied out by the edge for `/metrics`. Plain integers: one owner, no atomics.

use crate::memory::Memory;
use crate::time::Mono;
use crate::wire::{CloseCode, CommandType, ErrorCode};

/// A histogram with fixed bounds in powers of two: bucket `i` counts values in `[2^i, 2^(i+1))` microseconds (or
/// items), 0 counts in bucket 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log2Histogram {
    /// Counts per bucket.
    pub buckets: [u64; 32],
    /// Sum of all values.
    pub sum: u64,
}

impl Log2Histogram {
    /// Adds a value.
    pub fn record(&mut self, value: u64) {
        let bucket = (63 - (value | 1).leading_zeros()).min(31) as usize;
        self.buckets[bucket] += 1;
        self.sum += value;
    }
}

/// Length of the windows of a [`Peak`], microseconds.
const PEAK_WINDOW_US: u64 = 30_000_000;

/// The highest value that something had: since the start, and lately. Reading it changes nothing, so that any number of
/// readers see the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peak {
    start: u64,
    window: u64,
    window_before: u64,
    number: u64,
}

impl Peak {
    /// The value now.
    pub fn see(&mut self, value: u64, now: Mono) {
        let number = now.0 / PEAK_WINDOW_US;
        if number != self.number {
            self.window_before = if number == self.number + 1 { self.window } else { 0 };
            self.window = 0;
            self.number = number;
        }
        self.window = self.window.max(value);
        self.start = self.start.max(value);
    }

    /// Since the start.
    pub fn since_start(&self) -> u64 {
        self.start
    }

    /// In the last 30 to 60 seconds.
    pub fn recent(&self) -> u64 {
        self.window.max(self.window_before)
    }
}

/// The peaks of what waits in a shard, seen once a turn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peaks {
    /// [`Stats::journal_ops`].
    pub journal_ops: Peak,
    /// [`Stats::journal_bytes`].
    pub journal_bytes: Peak,
    /// [`Stats::loads`].
    pub loads: Peak,
    /// [`Stats::outbox_bytes`].
    pub outbox_bytes: Peak,
    /// [`Stats::peer_waiting`].
    pub peer_waiting: Peak,
}

/// What the queues of a shard take at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Of [`Stats::journal_ops`].
    pub journal_ops: u64,
    /// Of [`Stats::journal_bytes`].
    pub journal_bytes: u64,
    /// Of [`Stats::loads`].
    pub loads: u64,
    /// Of [`Stats::outbox_bytes`].
    pub outbox_bytes: u64,
    /// Of [`Stats::peer_waiting`], for one other shard.
    pub peer_waiting: u64,
}

/// A count for each type of command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PerCommand(pub [u64; CommandType::ALL.len()]);

impl Default for PerCommand {
    fn default() -> Self {
        PerCommand([0; CommandType::ALL.len()])
    }
}

/// Everything counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Open connections, authenticated or not.
    pub connections: u64,
    /// Authenticated ones.
    pub authenticated: u64,
    /// Users with a connection, homed here.
    pub users_online: u64,
    /// Rooms in memory, homed here.
    pub rooms_loaded: u64,
    /// Subscriptions of connections of this shard.
    pub subscriptions: u64,
    /// Commands by type ([`CommandType`] as index).
    pub commands: PerCommand,
    /// Errors by code ([`ErrorCode`] as index).
    pub errors: [u64; ErrorCode::ALL.len()],
    /// Closes by code (position in [`CloseCode::ALL`]).
    pub closes: [u64; CloseCode::ALL.len()],
    /// Event pushes put into outboxes.
    pub deliveries: u64,
    /// Frames compressed, each once for all of its receivers.
    pub packed_frames: u64,
    /// Frames that were left plain because the turn had compressed enough.
    pub packing_put_off: u64,
    /// Deliveries of compressed frames: pushes, replies and replayed events.
    pub packed_deliveries: u64,
    /// Bytes that these would have been longer.
    pub packed_saved_bytes: u64,
    /// Events committed.
    pub events: u64,
    /// Ephemeral pushes dropped under pressure.
    pub ephemeral_dropped: u64,
    /// Operations in the journal, in flight included.
    pub journal_ops: u64,
    /// Their bytes.
    pub journal_bytes: u64,
    /// Microseconds since the oldest batch under way has left; 0: none is.
    pub journal_lag_us: u64,
    /// Queries under way.
    pub loads: u64,
    /// Bytes in all outboxes.
    pub outbox_bytes: u64,
    /// Messages waiting for other shards.
    pub peer_waiting: u64,
    /// Operations per batch.
    pub batch_ops: Log2Histogram,
    /// Microseconds from the batch's leaving to its outcome.
    pub commit_us: Log2Histogram,
    /// Microseconds from a command's arrival at its room to its acknowledgement.
    pub ack_us: Log2Histogram,
    /// Batches that met foreign rows or duplicates.
    pub conflicts: u64,
    /// Events that the store refused.
    pub voids: u64,
    /// Frames written whole.
    pub frames_written: u64,
    /// Connections that have authenticated, since the start.
    pub authentications: u64,
    /// Rooms that connections subscribed to by joining.
    pub joins: u64,
    /// Rooms that connections came back to with nothing missing.
    pub resumed_rooms: u64,
    /// The highest values of the queues above.
    pub peaks: Peaks,
    /// Of the queues above.
    pub bounds: Bounds,
    /// As of the last [`crate::Shard::measure_memory`].
    pub memory: Memory,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_is_remembered_for_the_start_and_for_a_while() {
        let at = |seconds: u64| Mono(seconds * 1_000_000);
        let mut peak = Peak::default();
        for (second, value, since_start, recent) in [
            (0, 5, 5, 5),
            (10, 3, 5, 5),
            (29, 9, 9, 9),
            (31, 2, 9, 9),
            (59, 2, 9, 9),
            (60, 1, 9, 2),
            (95, 0, 9, 1),
            (200, 0, 9, 0),
            (201, 12, 12, 12),
        ] {
            peak.see(value, at(second));
            assert_eq!((peak.since_start(), peak.recent()), (since_start, recent), "at {second} s");
        }
    }
}
