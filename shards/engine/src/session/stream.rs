//! Subscriptions of connections: live, or catching up by position.

use super::{Sessions, Sub, SubState};
use crate::core::Core;
use crate::id::{ConnId, RoomId, Seq};
use crate::peer::PeerMessage;

/// Replay pages of one connection that may be on their way at once: what a returning client of many rooms can make
/// the shard hold.
const PAGES_ASKED_MAX: usize = 4;

impl Sessions {
    /// A new subscription (in the place of an older one), held until its reply is out. `until`: a conversation's replay.
    pub(super) fn add_sub(
        &mut self,
        core: &mut Core,
        conn: ConnId,
        room_id: RoomId,
        from: Seq,
        head: Seq,
        until: Option<Seq>,
    ) {
        self.drop_sub(core, conn, room_id);
        let Some(session) = self.get(conn) else { return };
        let state = SubState::Catching { position: from, asked: false, held: true, until };
        if session.subs.is_empty() {
            session.subs.reserve_exact(1); // many connections have one
        }
        session.subs.push(Sub { room_id, state });
        session.catching += 1;
        core.stats.subscriptions += 1;
        if until.is_none() {
            let room = self.rooms.entry(room_id).or_default();
            room.last = room.last.max(head);
            room.catching += 1;
        }
    }

    /// Ends a connection's subscription here.
    pub(super) fn drop_sub(&mut self, core: &mut Core, conn: ConnId, room_id: RoomId) {
        let Some(session) = self.get(conn) else { return };
        let Some(index) = session.subs.iter().position(|sub| sub.room_id == room_id) else { return };
        let sub = session.subs.swap_remove(index);
        if matches!(sub.state, SubState::Catching { .. }) {
            session.catching -= 1;
        }
        core.stats.subscriptions = core.stats.subscriptions.saturating_sub(1);
        self.unlist(conn.slot, room_id, sub.state);
    }

    /// Takes a subscription out of its room's list.
    pub(super) fn unlist(&mut self, slot: u32, room_id: RoomId, state: SubState) {
        let Some(room) = self.rooms.get_mut(&room_id) else { return };
        match state {
            SubState::Catching { until: Some(_), .. } => return,
            SubState::Catching { .. } => room.catching -= 1,
            SubState::Live { index } => {
                let removed = room.live.swap_remove(index as usize);
                assert_eq!(removed, slot, "the room's list and the session's agree");
                if let Some(&moved) = room.live.get(index as usize) {
                    let session = self.slots[moved as usize].as_deref_mut().expect("listed sessions exist");
                    let sub = session.subs.iter_mut().find(|sub| sub.room_id == room_id).expect("lists agree");
                    sub.state = SubState::Live { index };
                }
            }
        }
        if room.live.is_empty() && room.catching == 0 {
            self.rooms.remove(&room_id);
        } else if room.live.capacity() > 64 && room.live.len() < room.live.capacity() / 4 {
            room.live.shrink_to(room.live.len() * 2);
        }
    }

    /// The reply is out: events may follow.
    pub(super) fn release(&mut self, core: &mut Core, conn: ConnId, room_id: RoomId) {
        let Some(session) = self.get(conn) else { return };
        let Some(sub) = session.subs.iter_mut().find(|sub| sub.room_id == room_id) else { return };
        if let SubState::Catching { held, .. } = &mut sub.state {
            *held = false;
            self.catch_up(core, conn, room_id);
        }
    }

    /// Goes on with every subscription that is behind.
    pub(super) fn catch_up_all(&mut self, core: &mut Core, conn: ConnId) {
        let Some(session) = self.get(conn) else { return };
        let behind = session.subs.iter().filter(|sub| matches!(sub.state, SubState::Catching { asked: false, .. }));
        let rooms: Vec<RoomId> = behind.map(|sub| sub.room_id).collect();
        for room_id in rooms {
            self.catch_up(core, conn, room_id);
        }
    }

    /// Goes live where nothing is missing; else asks for the next page as soon as the socket drains.
    pub(super) fn catch_up(&mut self, core: &mut Core, conn: ConnId, room_id: RoomId) {
        let low = core.limits.replay_low_bytes;
        let last = self.rooms.get(&room_id).map(|room| room.last);
        let Some(session) = self.get(conn) else { return };
        let waiting = session.outbox.reply_bytes();
        let asked =
            session.subs.iter().filter(|sub| matches!(sub.state, SubState::Catching { asked: true, .. })).count();
        let Some(index) = session.subs.iter().position(|sub| sub.room_id == room_id) else { return };
        let SubState::Catching { position, asked: false, held: false, until } = session.subs[index].state else {
            return;
        };
        match until {
            Some(end) if position >= end => self.drop_sub(core, conn, room_id),
            None if last.is_some_and(|last| position >= last) => {
                session.catching -= 1;
                let room = self.rooms.get_mut(&room_id).expect("looked up before");
                room.catching -= 1;
                let place = room.live.len() as u32;
                room.live.push(conn.slot);
                let session = self.get(conn).expect("looked up before");
                session.subs[index].state = SubState::Live { index: place };
            }
            _ if waiting < low && asked < PAGES_ASKED_MAX => {
                session.subs[index].state = SubState::Catching { position, asked: true, held: false, until };
                let page = PeerMessage::ReplayPage { conn, room_id, after: position };
                core.send(room_id.home(core.shards), page);
            }
            _ => {}
        }
    }
}
