//! Counters and gauges of one shard; copied out by the edge for `/metrics`. Plain integers: one owner, no atomics.

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
    /// Events committed.
    pub events: u64,
    /// Ephemeral pushes dropped under pressure.
    pub ephemeral_dropped: u64,
    /// Operations in the journal, in flight included.
    pub journal_ops: u64,
    /// Their bytes.
    pub journal_bytes: u64,
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
}
