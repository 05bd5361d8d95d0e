//! What one shard's pump counts. Plain integers: one owner, no atomics; handed out by [`crate::Posted::Report`].
//!
//! The clock is read when a part of a turn has done something, not per socket or message: two or three reads of 25 ns more
//! in a turn that writes at least one frame, which costs microseconds.

use std::ops::{Index, IndexMut};

use veza_engine::stats::{Log2Histogram, Peak};

/// Part of a turn that time is spent in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Polling; reading sockets, frames, commands (and writing on to sockets that were full).
    Sockets,
    /// Messages from other shards.
    Peers,
    /// Completions of the store and whatever else other threads posted.
    Inbox,
    /// Deadlines of the engine and of the edge, and what lies between two turns without a sleep.
    Timers,
    /// What the turn's inputs come to: batches, queries, messages to other shards.
    Effects,
    /// Writing sockets.
    Writes,
    /// Closing ended sockets, accepting new ones with all their handshake that follows at once.
    Accept,
}

impl Phase {
    /// All of them, in the order of a turn.
    pub const ALL: [Phase; 7] =
        [Phase::Sockets, Phase::Peers, Phase::Inbox, Phase::Timers, Phase::Effects, Phase::Writes, Phase::Accept];

    /// Its name in `/metrics`.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Sockets => "sockets",
            Phase::Peers => "peers",
            Phase::Inbox => "inbox",
            Phase::Timers => "timers",
            Phase::Effects => "effects",
            Phase::Writes => "writes",
            Phase::Accept => "accept",
        }
    }
}

/// A number for each phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PerPhase([u64; Phase::ALL.len()]);

impl PerPhase {
    /// Of all phases.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

impl Index<Phase> for PerPhase {
    type Output = u64;
    fn index(&self, phase: Phase) -> &u64 {
        &self.0[phase as usize]
    }
}

impl IndexMut<Phase> for PerPhase {
    fn index_mut(&mut self, phase: Phase) -> &mut u64 {
        &mut self.0[phase as usize]
    }
}

/// A system call that a pump makes. What an edge does besides to a new socket is not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Reading a socket.
    Read,
    /// Writing one.
    Write,
    /// `epoll_wait(2)`, waiting or not.
    EpollWait,
    /// `epoll_ctl(2)`.
    EpollCtl,
    /// `accept4(2)`.
    Accept,
    /// `close(2)` of a socket.
    Close,
    /// Setting or reading the timer.
    Timerfd,
    /// Ringing another shard's bell, or silencing the own.
    Eventfd,
    /// A long sleep.
    IoUring,
}

impl Call {
    /// All of them.
    pub const ALL: [Call; 9] = [
        Call::Read,
        Call::Write,
        Call::EpollWait,
        Call::EpollCtl,
        Call::Accept,
        Call::Close,
        Call::Timerfd,
        Call::Eventfd,
        Call::IoUring,
    ];

    /// Its name in `/metrics`.
    pub fn name(self) -> &'static str {
        match self {
            Call::Read => "read",
            Call::Write => "write",
            Call::EpollWait => "epoll_wait",
            Call::EpollCtl => "epoll_ctl",
            Call::Accept => "accept",
            Call::Close => "close",
            Call::Timerfd => "timerfd",
            Call::Eventfd => "eventfd",
            Call::IoUring => "io_uring",
        }
    }
}

/// A count for each system call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PerCall([u64; Call::ALL.len()]);

impl Index<Call> for PerCall {
    type Output = u64;
    fn index(&self, call: Call) -> &u64 {
        &self.0[call as usize]
    }
}

impl IndexMut<Call> for PerCall {
    fn index_mut(&mut self, call: Call) -> &mut u64 {
        &mut self.0[call as usize]
    }
}

/// Counters of a pump; all only grow, but the gauges and peaks at the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    /// Frames of the edge itself written whole; those of the engine are in its own counters.
    pub edge_frames: u64,
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
    /// Microseconds awake, by what was done: from a turn's begin to its end, on the wall's clock. What the kernel needs to
    /// put the thread to sleep and to wake it is not in it (but in `cpu_us`).
    pub busy_us: PerPhase,
    /// CPU time of the shard's thread, microseconds; read when the report is made.
    pub cpu_us: u64,
    /// Microseconds per turn.
    pub turn_us: Log2Histogram,
    /// The longest turn so far, microseconds.
    pub turn_us_max: u64,
    /// System calls.
    pub calls: PerCall,
    /// Messages from other shards that waited in the rings at the begin of a turn.
    pub ring_peak: Peak,
    /// Things from other threads that waited at the begin of a turn.
    pub inbox_peak: Peak,
    /// Things from other threads that wait now.
    pub inbox_waiting: u64,
    /// Bytes of the table of sockets.
    pub socket_bytes: u64,
}
