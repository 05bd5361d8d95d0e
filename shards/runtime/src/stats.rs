//! What one shard's pump counts. Plain integers: one owner, no atomics; handed out by [`crate::Posted::Report`].

/// Counters of a pump; all only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuntimeStats {
    /// Turns of the loop.
    pub turns: u64,
    /// Sleeps between them.
    pub sleeps: u64,
    /// Reads that brought bytes.
    pub reads: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Writes (system calls).
    pub writes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Writes that found the socket full.
    pub blocked: u64,
    /// Sockets accepted.
    pub accepted: u64,
    /// Sockets closed.
    pub closed: u64,
    /// Times that accepting paused for lack of descriptors or memory.
    pub accept_backoffs: u64,
    /// Panics while one connection's bytes were handled, each of which cost that connection.
    pub panics: u64,
    /// Messages from other shards.
    pub peer_messages: u64,
    /// Things from other threads.
    pub posted: u64,
    /// The longest turn so far, microseconds.
    pub turn_us_max: u64,
}
