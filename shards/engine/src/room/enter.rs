//! Joining, leaving, subscribing: of one's own accord, so that none of it takes a `seq`.

use super::rights::Rank;
use super::submit::Verdict;
use super::verb::Decision;
use super::{OpKind, Room};
use crate::core::{Core, body, error};
use crate::input::Role;
use crate::peer::{Caller, Origin, SubChange};
use crate::store::RoomKind;
use crate::wire::encode::room_seq;
use crate::wire::{ErrorCode, ResumePoint, SanctionKind};

impl Room {
    pub(super) fn judge_join(&mut self, core: &mut Core, origin: Origin, caller: Caller, at: ResumePoint) -> Verdict {
        let result = if self.meta.kind == RoomKind::Dm {
            Err(self.dm_error(caller.user_id))
        } else if self.is_member(caller.user_id) && !self.deleted {
            return self.join_as_member(core, origin, &caller, &at);
        } else if !self.may_see(&caller) {
            Err(self.stranger_error(&caller))
        } else if !self.is_public() && !self.is_invited(caller.user_id) && caller.role != Role::Admin {
            Err(super::rights::denied())
        } else if self.active_sanction(caller.user_id, SanctionKind::Ban, core.now.wall).is_some() {
            Err(error(ErrorCode::Sanctioned, "banned from this room"))
        } else if self.meta.archived {
            Err(error(ErrorCode::RoomArchived, "the room is archived"))
        } else if self.member_count + self.pending_joins >= self.meta.max_members {
            Err(error(ErrorCode::RoomFull, "the room is full"))
        } else {
            core.admit(caller.user_id)
        };
        match result {
            Err(error) => self.answer(core, caller.user_id, origin, Err(error), None),
            Ok(()) => {
                self.pending_joins += 1;
                *self.locked.entry(caller.user_id).or_default() += 1;
                let user_id = caller.user_id;
                let invited = self.is_invited(user_id);
                let kind = OpKind::Join { caller, at: core.now.wall, invited, point: at };
                self.push_op(core, kind, user_id, Some(origin), 256);
            }
        }
        None
    }

    fn join_as_member(&mut self, core: &mut Core, origin: Origin, caller: &Caller, at: &ResumePoint) -> Verdict {
        self.answer_joined(core, origin, caller, at, "room_joined");
        None
    }

    pub(super) fn judge_subscribe(
        &mut self,
        core: &mut Core,
        origin: Origin,
        caller: &Caller,
        at: &ResumePoint,
    ) -> Verdict {
        match self.require_room(caller).and_then(|()| self.require_member(caller)) {
            Err(error) => self.answer(core, caller.user_id, origin, Err(error), None),
            Ok(()) => self.answer_joined(core, origin, caller, at, "subscribed"),
        }
        None
    }

    pub(super) fn judge_unsubscribe(&mut self, core: &mut Core, origin: Origin, caller: &Caller) -> Verdict {
        if let Err(error) = self.require_room(caller).and_then(|()| self.require_member(caller)) {
            self.answer(core, caller.user_id, origin, Err(error), None);
            return None;
        }
        if let Some(conn) = origin.asker.conn() {
            self.unsubscribe(core, conn);
        }
        let reply = body("unsubscribed", room_seq(self.id(), self.head));
        let change = SubChange::Unsubscribe { room_id: self.id() };
        self.answer(core, caller.user_id, origin, Ok(reply), Some(change));
        None
    }

    pub(super) fn judge_leave(&mut self, core: &mut Core, origin: Origin, caller: Caller) -> Verdict {
        let result = if let Err(error) = self.require_room(&caller) {
            Err(error)
        } else if !self.is_member(caller.user_id) {
            match self.decide_decline(&caller) {
                Ok(Decision::Change(change)) => {
                    self.push_change(core, origin, caller, change);
                    return None;
                }
                Ok(_) => unreachable!("declined or refused"),
                Err(error) => Err(error),
            }
        } else if self.rank(caller.user_id) == Rank::Owner {
            Err(error(ErrorCode::Conflict, "the owner cannot leave before passing the ownership on"))
        } else {
            core.admit(caller.user_id)
        };
        match result {
            Err(error) => self.answer(core, caller.user_id, origin, Err(error), None),
            Ok(()) => {
                *self.locked.entry(caller.user_id).or_default() += 1;
                let user_id = caller.user_id;
                self.push_op(core, OpKind::Leave { caller }, user_id, Some(origin), 128);
            }
        }
        None
    }
}
