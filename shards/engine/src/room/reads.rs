//! Read positions: marking, and what they come to.

use super::{OpKind, Room, Work};
use crate::core::{Core, RoomQuery, body};
use crate::id::{RoomId, Seq, UserId};
use crate::peer::{Caller, Origin, ReplyBody};
use crate::store::{EventRecord, Load};
use crate::wire::json::object;

impl Room {
    pub(super) fn judge_mark_read(
        &mut self,
        core: &mut Core,
        origin: Origin,
        caller: Caller,
        seq: Seq,
    ) -> Option<Work> {
        let seq = seq.min(self.head);
        let held = self.member(caller.user_id).map_or(Seq(0), |member| member.last_read_seq);
        if seq <= held {
            let reply = self.read_body(caller.user_id);
            self.answer(core, caller.user_id, origin, Ok(reply), None);
            return None;
        }
        let message_no =
            if seq == self.head { Some(self.message_no) } else { self.ring.get(seq).map(|r| r.message_no) };
        match message_no {
            Some(message_no) => self.push_read_op(core, origin, caller, seq, message_no),
            None => {
                let load = Load::Events { room_id: self.id(), after: Seq(seq.0 - 1), limit: 1 };
                self.start_query(core, origin, caller, load, RoomQuery::MarkRead { seq });
            }
        }
        None
    }

    pub(super) fn mark_read_at(
        &mut self,
        core: &mut Core,
        origin: Origin,
        caller: Caller,
        seq: Seq,
        events: &[EventRecord],
    ) {
        // Not retained any more: the next event says how many messages came before it.
        let message_no = match events.first() {
            Some(event) if event.row.seq == seq => event.row.message_no,
            Some(event) => event.row.message_no - 1,
            None => self.message_no,
        };
        self.busy_mut(origin.asker).queries -= 1;
        self.push_read_op(core, origin, caller, seq, message_no);
    }

    fn push_read_op(&mut self, core: &mut Core, origin: Origin, caller: Caller, seq: Seq, message_no: u64) {
        let user_id = caller.user_id;
        match core.admit(user_id) {
            Ok(()) => {
                self.push_op(core, OpKind::MarkRead { caller, seq, message_no }, user_id, Some(origin), 64);
            }
            Err(error) => {
                self.forget_idle(origin.asker);
                self.answer(core, user_id, origin, Err(error), None);
            }
        }
    }

    /// The reply to `mark_read`: the position now held.
    pub(super) fn read_body(&self, user: UserId) -> ReplyBody {
        let (seq, unread) = self.read_state(user);
        read_marked(self.id(), seq, unread)
    }

    /// Position and unread messages.
    pub(super) fn read_state(&self, user: UserId) -> (Seq, u64) {
        self.member(user)
            .map_or((Seq(0), 0), |member| (member.last_read_seq, self.message_no.saturating_sub(member.last_read_no)))
    }
}

/// The reply to `mark_read`.
pub(super) fn read_marked(room_id: RoomId, seq: Seq, unread: u64) -> ReplyBody {
    let data = object(|o| o.uint("room_id", room_id.0).uint("seq", seq.0).uint("unread_count", unread).end());
    body("read_marked", data)
}
