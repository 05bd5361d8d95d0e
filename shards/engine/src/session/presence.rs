//! What users let others see, on its way to the rooms that their connections are subscribed to.

use std::sync::Arc;

use super::{Phase, Sessions, SubState};
use crate::core::Core;
use crate::deflate::Forms;
use crate::fanout::{FrameBytes, FrameClass};
use crate::id::{ConnId, RoomId, UserId};
use crate::peer::{PeerMessage, Presence};

impl Sessions {
    /// A user's presence has changed: told to the rooms of these connections. Subscriptions under way were asked for
    /// with the one before: their rooms are told as soon as they are known.
    pub fn presence_of(&mut self, core: &mut Core, conns: &[ConnId], user_id: UserId, presence: &Arc<Presence>) {
        let mut rooms: Vec<RoomId> = Vec::new();
        for conn in conns {
            let Some(session) = self.get(*conn) else { continue };
            if session.inflight > 0
                && let Phase::Ready(user) = &mut session.phase
            {
                user.moved = Some(presence.clone());
            }
            let subs =
                session.subs.iter().filter(|sub| !matches!(sub.state, SubState::Catching { until: Some(_), .. }));
            rooms.extend(subs.map(|sub| sub.room_id));
        }
        rooms.sort_unstable();
        rooms.dedup();
        for room_id in rooms {
            tell_room(core, room_id, user_id, presence.clone());
        }
    }

    /// A subscription has begun: its room may have an older presence of the user.
    pub(super) fn presence_to(&mut self, core: &mut Core, conn: ConnId, room_id: RoomId) {
        let Some(session) = self.get(conn) else { return };
        let Phase::Ready(user) = &session.phase else { return };
        if let Some(presence) = user.moved.clone() {
            tell_room(core, room_id, user.caller.user_id, presence);
        }
    }

    /// Nothing of the connection is under way: whatever comes next has the present presence.
    pub(super) fn presence_settled(&mut self, conn: ConnId) {
        if let Some(session) = self.get(conn)
            && session.inflight == 0
            && let Phase::Ready(user) = &mut session.phase
        {
            user.moved = None;
        }
    }

    /// An ephemeral push for connections of one user, but not where much waits.
    pub fn deliver_ephemeral(&mut self, core: &mut Core, conns: &[ConnId], bytes: FrameBytes) {
        let mut forms = Forms::new(bytes);
        let most = core.limits.outbox_bytes / 4;
        for conn in conns {
            match self.get(*conn).map(|session| session.outbox.push_bytes()) {
                Some(waiting) if waiting > most => core.stats.ephemeral_dropped += 1,
                Some(_) => self.push_form(core, conn.slot, &mut forms, FrameClass::Push),
                None => {}
            }
        }
    }
}

fn tell_room(core: &mut Core, room_id: RoomId, user_id: UserId, presence: Arc<Presence>) {
    core.send(room_id.home(core.shards), PeerMessage::RoomPresence { room_id, user_id, presence });
}
