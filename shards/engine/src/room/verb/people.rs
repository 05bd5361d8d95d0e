//! Invitations, kicks, roles of members, sanctions: what they need.

use super::message::plain;
use super::rows::ends_membership;
use super::{Change, Decided, Decision};
use crate::core::{Core, RoomQuery, body, error, overloaded};
use crate::id::UserId;
use crate::input::Role;
use crate::peer::{Caller, ReplyBody};
use crate::room::Room;
use crate::room::rights::{self, OWNER, Rank};
use crate::store::{Load, MemberRow, SanctionRow};
use crate::time::WallMs;
use crate::wire::json::object;
use crate::wire::{Command, CommandError, ErrorCode, Permission, SanctionKind, SanctionUser};

fn no_user() -> Box<CommandError> {
    error(ErrorCode::UserNotFound, "no such user")
}

fn no_member() -> Box<CommandError> {
    error(ErrorCode::UserNotFound, "no such member of this room")
}

impl Room {
    pub(super) fn decide_people(&mut self, core: &mut Core, caller: &Caller, command: &Command) -> Decided {
        self.require_room(caller)?;
        match command {
            Command::InviteMember { user_id, .. } => self.decide_invite(core, caller, *user_id),
            Command::KickMember { user_id, reason, .. } => self.decide_kick(caller, *user_id, reason),
            Command::SetMemberRole { user_id, role, .. } => {
                // Passing the ownership on changes the role of the former owner, too.
                let owner =
                    self.meta.owner_id.filter(|owner| role.as_ref() == OWNER && !self.members.contains_key(owner));
                if let Some(owner) = owner {
                    self.want_members([owner]);
                    self.load_members(core);
                    return Ok(Decision::Wait);
                }
                self.decide_role(caller, *user_id, role)
            }
            Command::SanctionUser(sanction) => self.decide_sanction(core, caller, sanction),
            Command::LiftSanction { sanction_id, .. } => self.decide_lift(caller, *sanction_id),
            Command::ListSanctions { user_id, active, limit, cursor, .. } => {
                self.require(caller, Permission::Moderate)?;
                let load = Load::Sanctions {
                    room_id: Some(self.id()),
                    user_id: *user_id,
                    active: *active,
                    now: core.now.wall,
                    limit: *limit,
                    cursor: cursor.clone(),
                };
                Ok(Decision::Ask(load, RoomQuery::Sanctions))
            }
            other => unreachable!("{} is about no member", other.kind().name()),
        }
    }

    /// The name of a user who exists.
    fn name_of(&self, user: UserId) -> Result<Box<str>, Box<CommandError>> {
        match self.members.get(&user) {
            Some(Some(standing)) => Ok(standing.username.clone()),
            _ => Err(no_user()),
        }
    }

    fn member_or_error(&self, user: UserId) -> Result<(&MemberRow, Box<str>), Box<CommandError>> {
        let username = self.name_of(user)?;
        self.member(user).map(|member| (member, username)).ok_or_else(no_member)
    }

    fn decide_invite(&mut self, core: &Core, caller: &Caller, user_id: UserId) -> Decided {
        self.require(caller, Permission::Invite)?;
        self.name_of(user_id)?;
        if self.is_member(user_id) || self.is_invited(user_id) {
            return Ok(subject_body("member_invited", self, user_id).into());
        }
        if self.active_sanction(user_id, SanctionKind::Ban, core.now.wall).is_some() {
            return Err(error(ErrorCode::Conflict, "this user is banned from the room"));
        }
        Ok(Decision::Change(Change::Invite { user_id }))
    }

    fn decide_kick(&mut self, caller: &Caller, user_id: UserId, reason: &Option<Box<str>>) -> Decided {
        self.require(caller, Permission::ManageMembers)?;
        let (_, username) = self.member_or_error(user_id)?;
        self.require_above(caller, user_id)?;
        self.require_not_owner(user_id)?;
        Ok(Decision::Change(Change::Kick { user_id, username, reason: reason.clone() }))
    }

    /// A room has an owner among its members, whoever asks.
    fn require_not_owner(&self, user: UserId) -> Result<(), Box<CommandError>> {
        if self.meta.owner_id == Some(user) {
            return Err(error(ErrorCode::Conflict, "the ownership must be passed on first"));
        }
        Ok(())
    }

    fn decide_role(&mut self, caller: &Caller, user_id: UserId, role: &str) -> Decided {
        self.require(caller, Permission::ManageRoles)?;
        let (member, username) = self.member_or_error(user_id)?;
        let known = [OWNER, rights::MODERATOR, rights::MEMBER].contains(&role)
            || self.roles.iter().any(|custom| *custom.name == *role);
        if !known {
            let mut error = error(ErrorCode::NotFound, "no such role in this room");
            error.field = Some("role");
            return Err(error);
        }
        if *member.role == *role {
            return Ok(role_body(self, user_id, role, self.head).into());
        }
        let rank = self.caller_rank(caller);
        if &*member.role == OWNER && rank >= Rank::Owner {
            return Err(error(ErrorCode::Conflict, "the ownership must be passed on first"));
        }
        if role == OWNER && rank < Rank::Owner || !self.permissions(caller).covers(self.role_permissions(role)) {
            return Err(rights::denied());
        }
        if caller.user_id != user_id {
            self.require_above(caller, user_id)?;
        }
        Ok(Decision::Change(Change::SetRole { user_id, username, role: role.into() }))
    }

    fn decide_sanction(&mut self, core: &Core, caller: &Caller, sanction: &SanctionUser) -> Decided {
        self.require(caller, Permission::Moderate)?;
        let user_id = sanction.user_id;
        self.name_of(user_id)?;
        if sanction.kind != SanctionKind::Ban && !self.is_member(user_id) {
            return Err(no_member());
        }
        self.require_above(caller, user_id)?;
        if sanction.sanction_id == 0 {
            // The caller's home had no id to give; refused here, in the order of the room's answers.
            return Err(overloaded());
        }
        if ends_membership(sanction.kind) {
            self.require_not_owner(user_id)?;
        }
        let lasts = matches!(sanction.kind, SanctionKind::Mute | SanctionKind::Ban);
        let duration_ms = sanction.duration_s.filter(|_| lasts).map(|seconds| i64::from(seconds) * 1000);
        let row = SanctionRow {
            sanction_id: sanction.sanction_id,
            room_id: self.id(),
            user_id,
            kind: sanction.kind,
            reason: sanction.reason.clone(),
            actor_id: caller.user_id,
            at: core.now.wall,
            expires_at: duration_ms.map(|ms| WallMs(core.now.wall.0 + ms)),
            lifted: None,
        };
        Ok(Decision::Change(Change::Sanction { row }))
    }

    fn decide_lift(&mut self, caller: &Caller, sanction_id: u64) -> Decided {
        // Whoever may not see the room learns by no number what is in it.
        self.require(caller, Permission::Moderate).map_err(|refused| match refused.code {
            ErrorCode::RoomNotFound => error(ErrorCode::NotFound, "no such sanction"),
            _ => refused,
        })?;
        Ok(Decision::Ask(Load::Sanction { sanction_id }, RoomQuery::Lift))
    }

    /// The sanction to be lifted is here. `None`: nothing to do, answered with the head.
    pub(in crate::room) fn lift(
        &self,
        core: &Core,
        caller: &Caller,
        row: Option<Box<SanctionRow>>,
    ) -> Result<Option<Change>, Box<CommandError>> {
        self.require(caller, Permission::Moderate)?;
        let Some(mut row) = row.filter(|row| row.room_id == self.id()).map(|row| *row) else {
            return Err(error(ErrorCode::NotFound, "no such sanction"));
        };
        let known = self.members.get(&row.user_id).and_then(Option::as_ref);
        let lifted_since =
            known.is_some_and(|known| known.sanctions.iter().all(|one| one.sanction_id != row.sanction_id));
        if !row.is_active(core.now.wall) || lifted_since {
            return Ok(None);
        }
        if row.user_id == caller.user_id && caller.role != Role::Admin {
            return Err(error(ErrorCode::PermissionDenied, "nobody lifts a sanction of his own"));
        }
        row.lifted = Some((core.now.wall, caller.user_id));
        Ok(Some(Change::Lift { row }))
    }

    /// `leave_room` of somebody who is only invited.
    pub(in crate::room) fn decide_decline(&self, caller: &Caller) -> Decided {
        if self.is_invited(caller.user_id) {
            Ok(Decision::Change(Change::Decline))
        } else {
            Err(self.stranger_error(caller))
        }
    }
}

/// `{room_id, seq, user_id}`.
pub(super) fn subject_body(kind: &'static str, room: &Room, user_id: UserId) -> ReplyBody {
    let data = object(|o| o.uint("room_id", room.id().0).uint("seq", room.head.0).uint("user_id", user_id.0).end());
    body(kind, data)
}

/// The reply to `set_member_role`.
pub(super) fn role_body(room: &Room, user_id: UserId, role: &str, seq: crate::id::Seq) -> ReplyBody {
    let data = object(|o| {
        o.uint("room_id", room.id().0).uint("seq", seq.0).uint("user_id", user_id.0).text("role", role).end();
    });
    body("member_role_changed", data)
}

/// The reply to `lift_sanction`.
pub(in crate::room) fn lifted_body(room: &Room, sanction_id: u64) -> ReplyBody {
    let data = object(|o| {
        o.uint("room_id", room.id().0).uint("seq", room.head.0).uint("sanction_id", sanction_id).end();
    });
    body("sanction_lifted", data)
}

/// What `leave_room` is answered.
pub(super) fn left_body(room: &Room) -> ReplyBody {
    plain("room_left", room, room.head)
}
