//! The shard: all state of one core, without IO. It routes; its parts decide.

use crate::core::{Core, LoadFor};
use crate::effect::Effect;
use crate::fanout::{Frame, Outbox};
use crate::id::{ConnId, ShardId};
use crate::input::Input;
use crate::journal::{InFlight, Key};
use crate::journal_batch::Building;
use crate::limits::Limits;
use crate::map::Map;
use crate::peer::PeerMessage;
use crate::room::{Rooms, Work, everyone_loaded};
use crate::session::Sessions;
use crate::stats::Stats;
use crate::store::{BatchOutcome, LoadError, Loaded, Writer};
use crate::time::{Mono, Now, SECOND_US};
use crate::user::{UserCommand, Users};

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
            Input::Opened { conn, identity } => self.sessions.opened(core, conn, identity),
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
                if let Some(room) = self.rooms.get(room_id) {
                    room.retained(core, floor);
                }
            }
            Input::Tick => self.tick(),
            Input::Drain { reconnect_after_ms } => {
                core.draining = true;
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

    fn peer(&mut self, message: PeerMessage) {
        use PeerMessage as M;
        let core = &mut self.core;
        match message {
            M::Attach { conn, caller, session_id, expires_at } => {
                self.users.attach(core, conn, &caller, session_id, expires_at);
            }
            M::Detach { conn, user_id, rooms } => self.users.detach(core, conn, user_id, rooms),
            M::Unlist { conn, user_id, room_id } => {
                core.send(room_id.home(core.shards), M::ConnGone { conn, user_id, room_id });
            }
            M::Command { origin, caller, session_id, expires_at, command } => {
                self.users.command(core, UserCommand { origin, caller, session_id, expires_at, command });
            }
            M::ResumeRoom { conn, caller, ticket, part, at } => self.users.resume(core, conn, caller, ticket, part, at),
            M::Attached { conn } => self.sessions.attached(core, conn),
            M::Close { conn, code } => self.sessions.close(core, conn, code),
            M::Deliver { conns, frame } => self.sessions.deliver(core, &conns, frame),
            M::DeliverEphemeral { conns, frame } => self.sessions.deliver_ephemeral(core, &conns, frame),
            M::RoomCommand { origin, caller, command } => {
                let Some(room_id) = command.room_id() else { unreachable!("only commands about rooms come here") };
                self.room_work(room_id, Work::Command { origin, caller, command });
            }
            M::RoomResume { conn, caller, ticket, part, at } => {
                self.room_work(at.room_id, Work::Resume { conn, caller, ticket, part, at });
            }
            M::ConnGone { conn, room_id, .. } => {
                if let Some(room) = self.rooms.get(room_id) {
                    room.conn_gone(core, conn);
                }
                self.rooms.note_online(room_id);
            }
            M::RoomCreated { room_id, state, duplicate, origin, caller } => {
                if let Some(state) = state {
                    self.rooms.install(core, *state);
                }
                self.room_work(room_id, Work::Created { origin, caller, duplicate });
            }
            M::Reply(reply) => self.sessions.reply(core, *reply),
            M::Event { room_id, seq, frame } => self.sessions.event(core, room_id, seq, frame),
            M::Ephemeral { room_id, frame, except } => self.sessions.ephemeral(core, room_id, frame, &except),
            M::Resumed { conn, ticket, part, verdict } => self.sessions.resumed(core, conn, ticket, part, verdict),
            M::Replay { conn, room_id, frames, head: _, lost } => {
                self.sessions.replay(core, conn, room_id, frames, lost);
            }
            M::Expel { room_id, user_id: _, conns } => self.sessions.expel(core, room_id, &conns),
            M::ReplayPage { conn, room_id, after } => self.room_work(room_id, Work::Page { conn, after }),
            M::UserPush { user_id, frame, notify } => self.users.push(core, user_id, &frame, notify),
            M::UserReply { user_id: _, reply } => self.users.pass_reply(core, reply),
            M::Revoked(revocation) => self.sessions.revoked(core, revocation),
            M::PresenceOf { conns, user_id, presence } => self.sessions.presence_of(core, &conns, user_id, &presence),
            M::RoomPresence { room_id, user_id, presence } => self.rooms.presence(room_id, user_id, &presence),
            M::UserEphemeral { user_id, frame } => self.users.ephemeral(core, user_id, &frame),
            M::NewContact { user_id, room_id, others } => self.users.new_contact(user_id, room_id, others),
            M::SetBlock { room_id, blocker, blocked, on, origin, reply } => {
                self.rooms.set_block(room_id, (blocker, blocked), on);
                if let Some(origin) = origin {
                    self.core.reply(origin, Ok(reply), None);
                }
            }
            M::AskStatus { room_id, origin, caller, page } => {
                self.users.add_status(core, room_id, origin, caller, page);
            }
            M::Statuses { room_id, origin, caller, page } => match self.rooms.get(room_id) {
                Some(room) => room.statuses_known(core, origin, &caller, &page),
                None => unreachable!("a room with a query under way stays in memory"),
            },
        }
    }

    fn room_work(&mut self, room_id: crate::id::RoomId, work: Work) {
        self.rooms.work(&mut self.core, room_id, work);
        self.rooms.note_online(room_id);
    }

    fn loaded(&mut self, purpose: LoadFor, result: Result<Loaded, LoadError>) {
        let core = &mut self.core;
        match purpose {
            LoadFor::ConnIdentity { conn } => self.sessions.identity_loaded(core, conn, result),
            LoadFor::HttpIdentity { ticket } => self.sessions.http_identity_loaded(core, ticket, result),
            purpose @ (LoadFor::UserQuery { .. }
            | LoadFor::Creation { .. }
            | LoadFor::Profile { .. }
            | LoadFor::Block { .. }
            | LoadFor::RoomIds) => self.users.loaded(core, purpose, result),
            LoadFor::Room { room_id, asked } => {
                let state = result.map(|loaded| match loaded {
                    Loaded::Room(state) => state,
                    other => unreachable!("a room's load was answered with {other:?}"),
                });
                self.rooms.loaded(core, room_id, &asked, state);
                self.rooms.note_online(room_id);
            }
            LoadFor::Members { room_id, asked } => {
                let rows = result.map(|loaded| match loaded {
                    Loaded::Members(rows) => rows,
                    other => unreachable!("a load of members was answered with {other:?}"),
                });
                if let Some(room) = self.rooms.get(room_id) {
                    room.members_loaded(core, &asked, rows);
                }
                self.rooms.note_online(room_id);
            }
            LoadFor::RoomQuery { room_id, origin, caller, what, asked } => match self.rooms.get(room_id) {
                Some(room) => room.query_loaded(core, origin, caller, *what, asked, result),
                None => unreachable!("a room with a query under way stays in memory"),
            },
            LoadFor::Message { room_id, message_id, reader } => {
                if let Some(room) = self.rooms.get(room_id) {
                    room.message_loaded(core, message_id, reader, result);
                }
            }
            LoadFor::Names { room_id, names } => {
                if let Some(room) = self.rooms.get(room_id) {
                    room.names_loaded(core, &names, result);
                }
            }
            LoadFor::Everyone { room_id, author, frame } => everyone_loaded(core, room_id, author, frame, result),
            LoadFor::PinCount { room_id } => {
                if let Some(room) = self.rooms.get(room_id) {
                    room.pins_counted(result);
                }
            }
            LoadFor::Replay { room_id, conn, after } => {
                if let Some(room) = self.rooms.get(room_id) {
                    room.replay_loaded(core, conn, after, result);
                }
            }
        }
    }

    /// A batch has come back.
    fn stored(&mut self, writer: Writer, outcome: BatchOutcome) {
        let Some((lane, flight)) = self.core.journal.returned(writer) else { return };
        self.core.stats.commit_us.record(self.core.now.mono.since(flight.sent));
        let owners = owners(&flight);
        match outcome {
            BatchOutcome::Committed => {
                for (key, count) in owners {
                    self.commit(key, count);
                }
            }
            BatchOutcome::Conflict { stale, duplicates } => {
                self.core.stats.conflicts += 1;
                self.rewind(lane, &flight, &owners);
                for duplicate in &duplicates {
                    let items = if duplicate.is_event { &flight.event_items } else { &flight.write_items };
                    let Some(&item) = items.get(duplicate.index) else { continue };
                    let (key, place) = (flight.items[item], place(&flight, item));
                    match key {
                        Key::Room(room_id) => {
                            if let Some(room) = self.rooms.get(room_id) {
                                room.drop_duplicate(&mut self.core, place, duplicate);
                            }
                        }
                        Key::User(user_id) => {
                            self.users.drop_duplicate(&mut self.core, user_id, place, duplicate);
                        }
                    }
                }
                for room_id in stale {
                    self.rooms.hold(&mut self.core, room_id);
                }
            }
            BatchOutcome::Refused { events, writes, cause } => {
                self.rewind(lane, &flight, &owners);
                let event_items = events.iter().filter_map(|index| flight.event_items.get(*index));
                let write_items = writes.iter().filter_map(|index| flight.write_items.get(*index));
                let mut items: Vec<usize> = event_items.chain(write_items).copied().collect();
                items.sort_unstable();
                items.dedup();
                for item in items {
                    let (key, place) = (flight.items[item], place(&flight, item));
                    match key {
                        Key::Room(room_id) => {
                            if let Some(room) = self.rooms.get(room_id) {
                                room.refuse_op(&mut self.core, place, &cause);
                            }
                        }
                        Key::User(user_id) => self.users.refuse_op(&mut self.core, user_id, place, &cause),
                    }
                }
            }
        }
    }

    fn commit(&mut self, key: Key, count: usize) {
        let core = &mut self.core;
        match key {
            Key::Room(room_id) => {
                let room = self.rooms.get(room_id).expect("a room with operations is in memory");
                room.commit(core, count);
                self.rooms.note_online(room_id);
            }
            Key::User(user_id) => self.users.commit(core, user_id, count),
        }
    }

    /// Nothing of a batch was committed: its turns go back to the front of the lane.
    fn rewind(&mut self, lane: usize, flight: &InFlight, owners: &[(Key, usize)]) {
        for key in flight.items.iter().rev() {
            self.core.journal.unpop(lane, *key);
        }
        for (key, _) in owners {
            match key {
                Key::Room(room_id) => {
                    if let Some(room) = self.rooms.get(*room_id) {
                        room.rewind();
                    }
                }
                Key::User(user_id) => self.users.rewind(*user_id),
            }
        }
    }

    /// Sends a batch on every lane that is free and has something to write.
    fn send_batches(&mut self) {
        for lane in 0..self.core.journal.lanes() {
            if !self.core.journal.is_ready(lane) {
                continue;
            }
            let mut building: Option<Building> = None;
            let (ops, bytes) = (self.core.limits.batch_ops_max, self.core.limits.batch_bytes_max);
            while building.as_ref().is_none_or(|b| b.ops() < ops && b.bytes() < bytes) {
                let Some(key) = self.core.journal.pop(lane) else { break };
                let batch = building.get_or_insert_with(|| Building::new(self.core.journal.next_writer(lane)));
                batch.begin(key);
                match key {
                    Key::Room(room_id) => {
                        if !self.rooms.write_next(room_id, batch) {
                            batch.cancel();
                        }
                    }
                    Key::User(user_id) => self.users.write_next(user_id, batch),
                }
            }
            let Some(building) = building.filter(|building| building.ops() > 0) else { continue };
            self.core.stats.batch_ops.record(building.ops() as u64);
            let (batch, flight) = building.finish(self.core.now.mono);
            self.core.journal.sent(lane, flight);
            self.core.effects.push_back(Effect::Store(Box::new(batch)));
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
        }
        if now >= self.sweep {
            self.sweep = now.after(SWEEP_US);
            self.rooms.sweep(&mut self.core);
            self.users.sweep(&mut self.core);
            self.sessions.sweep_revocations(&self.core);
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

    /// Appends a control frame of the gateway's (a pong) to the outbox, at a frame boundary.
    pub fn push_control(&mut self, conn: ConnId, frame: Frame) {
        self.sessions.push_control(&mut self.core, conn, frame);
    }

    /// When [`Input::Tick`] is due; `None`: nothing waits for time.
    pub fn next_timeout(&self) -> Option<Mono> {
        let busy = self.core.journal.ops() > 0 || !self.core.loads.is_empty() || self.users.wants_profiles();
        let housekeeping = busy.then_some(self.housekeeping);
        let online = self.rooms.has_dirty_counts().then_some(self.online);
        [self.sessions.next_due(), housekeeping, online, self.ephemerals, Some(self.sweep)].into_iter().flatten().min()
    }

    /// Counters and gauges, for `/metrics`.
    pub fn stats(&mut self) -> &Stats {
        let core = &mut self.core;
        core.stats.journal_ops = core.journal.ops() as u64;
        core.stats.journal_bytes = core.journal.bytes() as u64;
        core.stats.loads = core.loads.len() as u64;
        core.stats.peer_waiting = core.peers.iter().map(|queue| queue.len() as u64).sum();
        &core.stats
    }

    /// Nothing is in the journal or in flight: after a drain, the process may end.
    pub fn is_quiet(&self) -> bool {
        self.core.journal.is_quiet()
    }

    /// The bounds in force.
    pub fn limits(&self) -> &Limits {
        &self.core.limits
    }
}

/// Owners of a batch's operations with their number, in order of first appearance.
fn owners(flight: &InFlight) -> Vec<(Key, usize)> {
    let mut index: Map<Key, usize> = Map::default();
    let mut owners: Vec<(Key, usize)> = Vec::new();
    for key in &flight.items {
        let place = *index.entry(*key).or_insert_with(|| {
            owners.push((*key, 0));
            owners.len() - 1
        });
        owners[place].1 += 1;
    }
    owners
}

/// The place of a batch's item among its owner's operations.
fn place(flight: &InFlight, item: usize) -> usize {
    let key = flight.items[item];
    flight.items[..item].iter().filter(|other| **other == key).count()
}
