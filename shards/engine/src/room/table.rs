//! All rooms of a shard: bringing them to life, handing work to them, letting them go.

use std::collections::VecDeque;

use super::{Room, Waiting, Work};
use crate::core::{Core, LoadFor, overloaded, store_unavailable};
use crate::id::{RoomId, Seq, UserId};
use crate::journal::Key;
use crate::map::Map;
use crate::peer::{PeerMessage, ResumeVerdict};
use crate::store::{Load, LoadError, RoomState};
use crate::time::{Mono, SECOND_US};
use crate::wire::{CommandError, ErrorCode};

/// The rooms homed here.
#[derive(Debug, Default)]
pub struct Rooms {
    pub(super) map: Map<RoomId, Slot>,
    /// Rooms whose `online_count` is to be pushed.
    pub(super) online_dirty: Vec<RoomId>,
    /// Rooms with presence to be pushed, and rooms where somebody types.
    pub(super) presence_listed: VecDeque<RoomId>,
    pub(super) typing_listed: Vec<RoomId>,
    /// Blocks that were committed while their conversation was read.
    late_blocks: Vec<(RoomId, (UserId, UserId), bool)>,
    /// Rooms that are read again: their turns are not in the journal's lanes.
    held: Vec<RoomId>,
    /// What retention has removed while the room was being read: the answer may be from before.
    floors: Map<RoomId, Seq>,
    /// What the next report of the memory looks at.
    pub(super) cursor: crate::memory::Cursor,
}

#[derive(Debug)]
pub(super) enum Slot {
    Loading(VecDeque<Waiting>),
    Ready(Box<Room>),
}

/// Users whose memberships a first load brings along.
const FIRST_MEMBERS_MAX: usize = 256;

/// Microseconds without work in a room after which it forgets members who are not there: who comes back later is looked up,
/// together with all others who come back.
const ABSENT_US: u64 = 30 * SECOND_US;

impl Rooms {
    /// Takes in work for a room; loads the room if needed.
    pub fn work(&mut self, core: &mut Core, room_id: RoomId, work: Work) {
        match self.map.get_mut(&room_id) {
            Some(Slot::Ready(room)) => {
                room.used = core.now.mono;
                room.submit(core, work);
            }
            Some(Slot::Loading(waiting)) => {
                if waiting.len() >= core.limits.room_waiting_max {
                    refuse(core, room_id, work, overloaded());
                } else {
                    waiting.push_back(Waiting { work, since: core.now.mono });
                }
            }
            // Nothing is under way there that an error could overtake.
            None => match work {
                Work::Refused { origin, error, .. } => core.reply(origin, Err(error), None),
                work => self.start(core, room_id, work),
            },
        }
    }

    fn start(&mut self, core: &mut Core, room_id: RoomId, work: Work) {
        let asked: Vec<UserId> = work.caller_id().into_iter().collect();
        let load = Load::Room { room_id, tail: core.limits.ring_events as u32, members: asked.clone() };
        match core.load(load, LoadFor::Room { room_id, asked }) {
            Ok(()) => {
                let waiting = VecDeque::from([Waiting { work, since: core.now.mono }]);
                self.map.insert(room_id, Slot::Loading(waiting));
            }
            Err(_) => refuse(core, room_id, work, overloaded()),
        }
    }

    /// A room was created and committed on its creator's shard. Somebody may have found it in the store before this
    /// comes: then it is here and may have changed since. A query that is still under way may have been too early and
    /// find nothing; what waits for it is served now.
    pub fn install(&mut self, core: &mut Core, state: RoomState) {
        let room_id = state.meta.room_id;
        let waiting = match self.map.remove(&room_id) {
            Some(ready @ Slot::Ready(_)) => {
                self.map.insert(room_id, ready);
                return;
            }
            Some(Slot::Loading(waiting)) => waiting,
            None => VecDeque::new(),
        };
        let room = Room::new(state, core);
        self.map.insert(room_id, Slot::Ready(Box::new(room)));
        core.stats.rooms_loaded += 1;
        self.serve(core, room_id, waiting);
    }

    /// A room was read.
    pub fn loaded(
        &mut self,
        core: &mut Core,
        room_id: RoomId,
        asked: &[UserId],
        result: Result<Option<Box<RoomState>>, LoadError>,
    ) {
        match self.map.get_mut(&room_id) {
            Some(Slot::Ready(room)) if room.held.is_some() => return room.reread(core, asked, result),
            Some(Slot::Ready(_)) | None => return,
            Some(Slot::Loading(_)) => {}
        }
        let Some(Slot::Loading(waiting)) = self.map.remove(&room_id) else { unreachable!("matched above") };
        let floor = self.floors.remove(&room_id);
        if !matches!(result, Ok(Some(_))) {
            self.late_blocks.retain(|late| late.0 != room_id);
        }
        match result {
            Ok(Some(state)) => {
                let mut room = Room::new(*state, core);
                if let Some(floor) = floor {
                    room.retained(core, floor);
                }
                for user in asked {
                    room.members.entry(*user).or_insert(None);
                }
                room.want_members(waiting.iter().filter_map(|w| w.work.caller_id()).take(FIRST_MEMBERS_MAX));
                self.map.insert(room_id, Slot::Ready(Box::new(room)));
                core.stats.rooms_loaded += 1;
                self.apply_late_blocks(room_id);
                self.serve(core, room_id, waiting);
            }
            Ok(None) => {
                for Waiting { work, .. } in waiting {
                    refuse(core, room_id, work, super::rights::no_room());
                }
            }
            Err(_) => {
                for Waiting { work, .. } in waiting {
                    refuse(core, room_id, work, store_unavailable());
                }
            }
        }
    }

    /// Retention has removed a room's events up to this one.
    pub fn retained(&mut self, core: &mut Core, room_id: RoomId, floor: Seq) {
        match self.map.get_mut(&room_id) {
            Some(Slot::Ready(room)) => room.retained(core, floor),
            Some(Slot::Loading(_)) => {
                self.floors.insert(room_id, floor);
            }
            None => {}
        }
    }

    fn serve(&mut self, core: &mut Core, room_id: RoomId, waiting: VecDeque<Waiting>) {
        if let Some(Slot::Ready(room)) = self.map.get_mut(&room_id) {
            for Waiting { work, .. } in waiting {
                room.submit(core, work);
            }
        }
    }

    /// The room, if it is in memory.
    pub fn get(&mut self, room_id: RoomId) -> Option<&mut Room> {
        match self.map.get_mut(&room_id) {
            Some(Slot::Ready(room)) => Some(room),
            _ => None,
        }
    }

    /// Once a second: `online_count` of large rooms that changed.
    pub fn push_online_counts(&mut self, core: &mut Core) {
        for room_id in std::mem::take(&mut self.online_dirty) {
            if let Some(room) = self.get(room_id) {
                room.push_online_count(core);
            }
        }
    }

    /// A block of one participant of a conversation by the other is committed, or taken back. A room that is being read
    /// may have been read before that.
    pub fn set_block(&mut self, room_id: RoomId, pair: (UserId, UserId), on: bool) {
        match self.map.get_mut(&room_id) {
            Some(Slot::Ready(room)) => room.set_block(pair, on),
            Some(Slot::Loading(_)) => self.late_blocks.push((room_id, pair, on)),
            None => {}
        }
    }

    /// What has become of blocks while the room was read.
    fn apply_late_blocks(&mut self, room_id: RoomId) {
        for (_, pair, on) in self.late_blocks.extract_if(.., |late| late.0 == room_id).collect::<Vec<_>>() {
            if let Some(room) = self.get(room_id) {
                room.set_block(pair, on);
            }
        }
    }

    /// Whether [`Rooms::push_online_counts`] has something to do.
    pub fn has_dirty_counts(&self) -> bool {
        !self.online_dirty.is_empty()
    }

    /// Notes a room whose online count or presence changed, or where somebody types.
    pub fn note_online(&mut self, room_id: RoomId) {
        let Some(room) = self.get(room_id) else { return };
        let count = std::mem::take(&mut room.online_dirty) && !std::mem::replace(&mut room.online_listed, true);
        let presence = room.online.is_dirty() && !std::mem::replace(&mut room.presence_listed, true);
        let typing = !room.typing.is_empty() && !std::mem::replace(&mut room.typing_listed, true);
        if count {
            self.online_dirty.push(room_id);
        }
        if presence {
            self.presence_listed.push_back(room_id);
        }
        if typing {
            self.typing_listed.push(room_id);
        }
    }

    /// Lets rooms go that nobody has used for `limits.room_idle_us`.
    pub fn sweep(&mut self, core: &mut Core) {
        let (now, idle_us) = (core.now.mono, core.limits.room_idle_us);
        let mut checkpoints = Vec::new();
        self.map.retain(|room_id, slot| {
            let Slot::Ready(room) = slot else { return true };
            if now.since(room.used) >= ABSENT_US {
                room.forget_absent();
            }
            if !room.is_idle() || now.since(room.used) < idle_us {
                return true;
            }
            if room.since_checkpoint > 0 {
                checkpoints.push(*room_id);
                return true;
            }
            false
        });
        for room_id in checkpoints {
            if let Some(room) = self.get(room_id) {
                room.push_checkpoint(core);
            }
        }
        core.stats.rooms_loaded = self.map.values().filter(|slot| matches!(slot, Slot::Ready(_))).count() as u64;
    }

    /// Answers what has waited for the database for too long; it stays under way.
    pub fn time_out(&mut self, core: &mut Core, before: Mono) {
        let owners: crate::map::Set<RoomId> = core
            .journal
            .owners()
            .filter_map(|key| match key {
                Key::Room(room) => Some(room),
                Key::User(_) => None,
            })
            .collect();
        let mut held = std::mem::take(&mut self.held);
        held.retain(|room_id| self.get(*room_id).is_some_and(|room| room.is_held()));
        let mut owners: Vec<RoomId> = owners.into_iter().chain(held.iter().copied()).collect();
        self.held = held;
        owners.sort_unstable();
        owners.dedup();
        for room_id in owners {
            if let Some(room) = self.get(room_id) {
                room.time_out(core, before);
            }
        }
    }

    /// Somebody else wrote into the room: it is read again before anything more of it is written.
    pub fn hold(&mut self, core: &mut Core, room_id: RoomId) {
        let Some(room) = self.get(room_id).filter(|room| !room.is_held()) else { return };
        room.hold();
        room.load_again(core);
        self.held.push(room_id);
    }

    /// Adds the next operation of a room to a batch; `false`: the room is held, the turn is noted there.
    pub fn write_next(&mut self, room_id: RoomId, batch: &mut crate::journal_batch::Building) -> bool {
        let room = self.get(room_id).expect("a room with operations is in memory");
        if let Some(turns) = &mut room.held {
            *turns += 1;
            return false;
        }
        room.write_next(batch);
        true
    }
}

/// Answers work with an error.
pub(super) fn refuse(core: &mut Core, room_id: RoomId, work: Work, error: Box<CommandError>) {
    match work {
        Work::Command { origin, .. } | Work::Created { origin, .. } => core.reply(origin, Err(error), None),
        Work::Refused { origin, error, .. } => core.reply(origin, Err(error), None),
        Work::Resume { conn, ticket, part, .. } => {
            let reason = if error.code == ErrorCode::RoomNotFound { "not_found" } else { UNAVAILABLE };
            let head = crate::id::Seq(0);
            let verdict = ResumeVerdict {
                room_id,
                epoch: 0,
                head,
                from: head,
                recovered: false,
                reason: Some(reason),
                subscribed: false,
            };
            core.send(conn.shard, PeerMessage::Resumed { conn, ticket, part, verdict });
        }
        Work::Page { conn, .. } => {
            core.send(conn.shard, PeerMessage::Close { conn, code: crate::wire::CloseCode::ServerError });
        }
    }
}

/// The verdict of a `resume` that could not be decided: the whole command fails with `STORE_UNAVAILABLE`.
pub const UNAVAILABLE: &str = "unavailable";
