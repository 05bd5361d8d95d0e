//! The shard: all state of one core, without IO.

use crate::effect::Effect;
use crate::fanout::{Frame, Outbox};
use crate::id::{ConnId, ShardId};
use crate::input::Input;
use crate::limits::Limits;
use crate::peer::PeerMessage;
use crate::stats::Stats;
use crate::time::{Mono, Now};

/// What a shard is made with.
#[derive(Clone, Debug)]
pub struct ShardConfig {
    /// Its index.
    pub id: ShardId,
    /// How many there are.
    pub shards: u16,
    /// Bounds.
    pub limits: Limits,
    /// Random per start: names the batches of this process (positive).
    pub writer_epoch: i64,
    /// Seed of what needs to be random (heartbeat jitter, room epochs, error ids).
    pub seed: u64,
}

/// All state of one core.
pub struct Shard {
    config: ShardConfig,
}

impl Shard {
    /// A shard without connections, rooms or users.
    pub fn new(config: ShardConfig, _now: Now) -> Shard {
        Shard { config }
    }

    /// Takes in one thing that happened. Outcomes are in [`Shard::poll_effect`], [`Shard::poll_peer`] and
    /// [`Shard::next_touched`] afterwards; the caller drains all three once per turn, after all inputs of the turn.
    pub fn handle(&mut self, _now: Now, _input: Input<'_>) {
        todo!()
    }

    /// The next thing for the edge to do.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        todo!()
    }

    /// The next message for another shard. The caller takes them while the ring to that shard has room; what is not
    /// taken waits here, bounded by `limits.peer_queue_max` through admission.
    pub fn poll_peer(&mut self, _to: ShardId) -> Option<PeerMessage> {
        todo!()
    }

    /// Messages that wait for another shard.
    pub fn peer_waiting(&self, _to: ShardId) -> usize {
        todo!()
    }

    /// The next connection with new frames to write since it was last returned. The caller flushes it once, and again when
    /// the socket becomes writable.
    pub fn next_touched(&mut self) -> Option<ConnId> {
        todo!()
    }

    /// The frames that wait for a connection; `None` if the engine does not know it (any more).
    pub fn outbox(&self, _conn: ConnId) -> Option<&Outbox> {
        todo!()
    }

    /// Takes away all frames that wait for a connection (with how much of the first is written), so that the gateway can
    /// write them and its Close frame behind them. Called once for each connection that is closed: at once after
    /// `Effect::Close`, or before `Input::Closed`. `None` if nothing waits.
    pub fn take_outbox(&mut self, _conn: ConnId) -> Option<Outbox> {
        todo!()
    }

    /// `bytes` of the outbox are written. May ask for the next page of a replay, or resume reading.
    pub fn wrote(&mut self, _now: Now, _conn: ConnId, _bytes: usize) {
        todo!()
    }

    /// Appends a control frame of the gateway's (a pong) to the outbox, at a frame boundary.
    pub fn push_control(&mut self, _conn: ConnId, _frame: Frame) {
        todo!()
    }

    /// When [`Input::Tick`] is due; `None`: nothing waits for time.
    pub fn next_timeout(&self) -> Option<Mono> {
        todo!()
    }

    /// Counters and gauges, for `/metrics`.
    pub fn stats(&self) -> &Stats {
        todo!()
    }

    /// Nothing is in the journal or in flight: after a drain, the process may end.
    pub fn is_quiet(&self) -> bool {
        let _ = &self.config;
        todo!()
    }
}
