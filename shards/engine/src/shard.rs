//! The shard: all state of one core, without IO. It routes; its parts decide.

mod batches;
mod route;

use crate::core::Core;
use crate::effect::Effect;
use crate::fanout::{Frame, Outbox};
use crate::id::{ConnId, ShardId};
use crate::input::Input;
use crate::journal::Key;
use crate::limits::Limits;
use crate::memory::Memory;
use crate::peer::PeerMessage;
use crate::room::Rooms;
use crate::session::Sessions;
use crate::stats::Stats;
use crate::time::{Mono, Now, SECOND_US};
use crate::user::Users;

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

/// Between two looks at what the shard as a whole must do by time, microseconds.
const HOUSEKEEPING_US: u64 = SECOND_US / 2;
/// Between two sweeps for idle rooms and users, microseconds.
const SWEEP_US: u64 = 10 * SECOND_US;
/// Between two pushes of `online_count` in one room, microseconds.
const ONLINE_US: u64 = SECOND_US;

/// From a change of presence until it is pushed, microseconds: changes in between are merged.
const EPHEMERALS_US: u64 = SECOND_US / 4;

/// All state of one core.
#[derive(Debug)]
pub struct Shard {
    core: Core,
    sessions: Sessions,
    users: Users,
    rooms: Rooms,
    housekeeping: Mono,
    sweep: Mono,
    online: Mono,
    /// The next push of presence; `None`: nothing has changed.
    ephemerals: Option<Mono>,
}

impl Shard {
    /// A shard without connections, rooms or users.
    pub fn new(config: ShardConfig, now: Now) -> Shard {
        let mut core = Core::new(&config, now);
        let mut users = Users::default();
        users.reserve_ids(&mut core);
        Shard {
            core,
            sessions: Sessions::new(now.mono),
            users,
            rooms: Rooms::default(),
            housekeeping: now.mono.after(HOUSEKEEPING_US),
            sweep: now.mono.after(SWEEP_US),
            online: now.mono,
            ephemerals: None,
        }
    }

    /// Takes in one thing that happened. Outcomes are in [`Shard::poll_effect`], [`Shard::poll_peer`] and
    /// [`Shard::next_touched`] afterwards; the caller drains all three once per turn, after all inputs of the turn.
    pub fn handle(&mut self, now: Now, input: Input<'_>) {
        self.core.now = now;
        let core = &mut self.core;
        match input {
            Input::Opened { conn, identity, window } => self.sessions.opened(core, conn, identity, window),
            Input::Text { conn, text } => self.sessions.text(core, conn, text),
            Input::Alive { conn } => self.sessions.alive(core, conn),
            Input::Closed { conn, code } => self.sessions.closed(core, conn, code),
            Input::Verified { conn, purpose, result } => self.sessions.verified(core, conn, purpose, result),
            Input::Http { ticket, identity, command } => self.sessions.http(core, ticket, identity, command),
            Input::Peer { from: _, message } => self.peer(message),
            Input::Stored { writer, outcome } => self.stored(writer, outcome),
            Input::Loaded { id, result } => {
                if let Some(purpose) = core.loads.remove(&id) {
                    self.loaded(purpose, result);
                }
            }
            Input::Revoked(revocation) => self.sessions.revoked(core, revocation),
            Input::DisconnectUser { user_id, code } => self.sessions.disconnect_user(core, user_id, code),
            Input::Retained { room_id, floor } => {
                self.rooms.retained(core, room_id, floor);
            }
            Input::Tick => self.tick(),
            Input::Drain { reconnect_after_ms } => {
                core.draining = true;
                self.users.write_last_seen(core);
                self.sessions.start_drain(core, reconnect_after_ms);
            }
        }
        self.loop_back();
    }

    /// Messages to the own shard take the same path as those to others, without leaving.
    fn loop_back(&mut self) {
        let own = usize::from(self.core.id.0);
        while let Some(message) = self.core.peers[own].pop_front() {
            self.peer(message);
        }
        if self.ephemerals.is_none() && (self.rooms.has_ephemerals() || self.users.has_presence()) {
            self.ephemerals = Some(self.core.now.mono.after(EPHEMERALS_US));
        }
    }

    fn tick(&mut self) {
        let now = self.core.now.mono;
        self.sessions.tick(&mut self.core);
        if now >= self.online {
            self.online = now.after(ONLINE_US);
            self.rooms.push_online_counts(&mut self.core);
        }
        if self.ephemerals.is_some_and(|due| now >= due) {
            self.ephemerals = None;
            self.users.push_presence(&mut self.core);
            self.rooms.push_ephemerals(&mut self.core);
        }
        if now >= self.housekeeping {
            self.housekeeping = now.after(HOUSEKEEPING_US);
            self.time_out();
            self.users.reserve_ids(&mut self.core);
            self.users.retry_profiles(&mut self.core);
            self.users.retry_blocks(&mut self.core);
            self.users.write_last_seen(&mut self.core);
        }
        if now >= self.sweep {
            self.sweep = now.after(SWEEP_US);
            self.rooms.sweep(&mut self.core);
            self.users.sweep(&mut self.core);
            self.sessions.sweep(&self.core);
        }
    }

    /// Answers what has waited for the database for too long.
    fn time_out(&mut self) {
        let before = Mono(self.core.now.mono.0.saturating_sub(self.core.limits.store_wait_us));
        if self.core.journal.ops() == 0 || before == Mono(0) {
            return;
        }
        self.rooms.time_out(&mut self.core, before);
        let mut users: Vec<crate::id::UserId> = self
            .core
            .journal
            .owners()
            .filter_map(|key| match key {
                Key::User(user) => Some(user),
                Key::Room(_) => None,
            })
            .collect();
        users.sort_unstable();
        users.dedup();
        for user_id in users {
            self.users.time_out(&mut self.core, user_id, before);
        }
    }

    /// The next thing for the edge to do.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        if self.core.effects.is_empty() {
            // The turn's inputs are in: one batch holds what they have in common.
            self.send_batches();
            self.sessions.enforce_outboxes(&mut self.core);
            self.loop_back();
        }
        self.core.effects.pop_front()
    }

    /// The next message for another shard. The caller takes them while the ring to that shard has room; what is not
    /// taken waits here, bounded by `limits.peer_queue_max` through admission.
    pub fn poll_peer(&mut self, to: ShardId) -> Option<PeerMessage> {
        debug_assert_ne!(to, self.core.id);
        self.core.peers[usize::from(to.0)].pop_front()
    }

    /// Messages that wait for another shard.
    pub fn peer_waiting(&self, to: ShardId) -> usize {
        self.core.peers[usize::from(to.0)].len()
    }

    /// The next connection with new frames to write since it was last returned. The caller flushes it once, and again when
    /// the socket becomes writable.
    pub fn next_touched(&mut self) -> Option<ConnId> {
        self.sessions.next_touched()
    }

    /// Who comes next: the caller can have its memory fetched.
    pub fn peek_touched(&self) -> Option<ConnId> {
        self.sessions.peek_touched()
    }

    /// The frames that wait for a connection; `None` if the engine does not know it (any more).
    pub fn outbox(&self, conn: ConnId) -> Option<&Outbox> {
        self.sessions.outbox(conn)
    }

    /// Takes away all frames that wait for a connection (with how much of the first is written), so that the gateway can
    /// write them and its Close frame behind them. Called once for each connection that is closed: at once after
    /// `Effect::Close`, or before `Input::Closed`. `None` if nothing waits.
    pub fn take_outbox(&mut self, conn: ConnId) -> Option<Outbox> {
        self.sessions.take_outbox(&mut self.core, conn)
    }

    /// `bytes` of the outbox are written. May ask for the next page of a replay, or resume reading.
    pub fn wrote(&mut self, now: Now, conn: ConnId, bytes: usize) {
        self.core.now = now;
        self.sessions.wrote(&mut self.core, conn, bytes);
        self.loop_back();
    }

    /// Between `Effect::Pause` and `Effect::Resume` of this connection.
    pub fn is_paused(&self, conn: ConnId) -> bool {
        self.sessions.is_paused(conn)
    }

    /// Lets `write` write from a connection's outbox, in place of [`Shard::outbox`] and [`Shard::wrote`]; it answers how
    /// many bytes are out. Whether more waits now; `None`: nothing did.
    ///
    /// # Errors
    /// Those of `write`.
    pub fn write_out<E>(
        &mut self,
        now: Now,
        conn: ConnId,
        write: impl FnOnce(&Outbox) -> Result<usize, E>,
    ) -> Option<Result<bool, E>> {
        self.core.now = now;
        let result = self.sessions.write_out(&mut self.core, conn, write);
        self.loop_back();
        result
    }

    /// Appends a control frame of the gateway's (a pong) to the outbox, at a frame boundary.
    pub fn push_control(&mut self, conn: ConnId, frame: Frame) {
        self.sessions.push_control(&mut self.core, conn, frame);
    }

    /// After [`Input::Opened`], before anything was written: puts the answer to the upgrade first, so that one write
    /// carries it and what follows. `false`: the connection is closing already.
    pub fn greet(&mut self, conn: ConnId, answer: Frame) -> bool {
        self.sessions.greet(&mut self.core, conn, answer)
    }

    /// When [`Input::Tick`] is due; `None`: nothing waits for time.
    pub fn next_timeout(&self) -> Option<Mono> {
        let busy = self.core.journal.ops() > 0 || !self.core.loads.is_empty() || self.users.wants_retry();
        let housekeeping = busy.then_some(self.housekeeping);
        let online = self.rooms.has_dirty_counts().then_some(self.online);
        let batch = self.core.journal.next_ready(&self.core.limits);
        [batch, self.sessions.next_due(), housekeeping, online, self.ephemerals, Some(self.sweep)]
            .into_iter()
            .flatten()
            .min()
    }

    /// Looks at what waits, for the peaks in [`Shard::stats`]. The driver calls this once a turn, when all inputs are
    /// in and nothing is written yet.
    pub fn observe(&mut self, now: Now) {
        self.core.now = now;
        let core = &mut self.core;
        core.measure_queues();
        let Stats { journal_ops, journal_bytes, loads, outbox_bytes, peer_waiting, peaks, .. } = &mut core.stats;
        peaks.journal_ops.see(*journal_ops, now.mono);
        peaks.journal_bytes.see(*journal_bytes, now.mono);
        peaks.loads.see(*loads, now.mono);
        peaks.outbox_bytes.see(*outbox_bytes, now.mono);
        peaks.peer_waiting.see(*peer_waiting, now.mono);
    }

    /// Counts the memory by kind, for [`Shard::stats`]: up to [`crate::memory::SAMPLE_MAX`] looks at each kind, a tenth of a
    /// microsecond each.
    pub fn measure_memory(&mut self) {
        let mut memory = Memory::default();
        self.sessions.measure(&mut memory);
        self.rooms.measure(&mut memory);
        self.users.measure(&mut memory);
        self.core.stats.memory = memory;
    }

    /// Counters and gauges, for `/metrics`.
    pub fn stats(&mut self) -> &Stats {
        self.core.measure_queues();
        self.core.stats.packed_frames = self.core.deflater.frames;
        self.core.stats.packing_put_off = self.core.deflater.put_off;
        self.core.stats.journal_lag_us = self.core.journal.lag_us(self.core.now.mono);
        &self.core.stats
    }

    /// Nothing is in the journal, in flight or held: after a drain, the process may end.
    pub fn is_quiet(&self) -> bool {
        self.core.journal.is_quiet() && !self.sessions.is_holding()
    }

    /// The bounds in force.
    pub fn limits(&self) -> &Limits {
        &self.core.limits
    }
}
