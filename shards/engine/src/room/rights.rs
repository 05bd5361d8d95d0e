//! Who may do what in a room.

use super::Room;
use crate::core::error;
use crate::id::UserId;
use crate::input::Role;
use crate::peer::Caller;
use crate::store::{MemberRow, RoomKind, SanctionRow};
use crate::time::WallMs;
use crate::wire::{CommandError, ErrorCode, Permission, Permissions, SanctionKind, Visibility};

/// The built-in roles, in falling order.
pub(super) const OWNER: &str = "owner";
pub(super) const MODERATOR: &str = "moderator";
pub(super) const MEMBER: &str = "member";

type Refused = Box<CommandError>;

/// Standing among members: nobody acts on an equal or higher one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    Stranger,
    Member,
    Moderator,
    Owner,
    Admin,
}

impl Room {
    /// What a role allows. A role that is gone is as `member`.
    pub(super) fn role_permissions(&self, role: &str) -> Permissions {
        match role {
            MEMBER => Permissions::MEMBER,
            OWNER => Permissions::OWNER,
            MODERATOR => Permissions::MODERATOR,
            custom => {
                let known = self.roles.iter().find(|known| *known.name == *custom);
                known.map_or(Permissions::MEMBER, |role| role.permissions)
            }
        }
    }

    fn member_permissions(&self, member: Option<&MemberRow>) -> Permissions {
        match (member, self.meta.kind) {
            (None, _) => Permissions::NONE,
            (Some(_), RoomKind::Dm) => Permissions::PARTICIPANT,
            (Some(member), RoomKind::Room) => self.role_permissions(&member.role),
        }
    }

    /// What the caller may do: by role in the room, and in rooms by the server role of this session.
    pub(super) fn permissions(&self, caller: &Caller) -> Permissions {
        let own = self.member_permissions(self.member(caller.user_id));
        match (self.meta.kind, caller.role) {
            (RoomKind::Dm, _) | (_, Role::User) => own,
            (RoomKind::Room, Role::Moderator) => own.and(Permissions::SERVER_MODERATOR),
            (RoomKind::Room, Role::Admin) => own.and(Permissions::OWNER),
        }
    }

    pub(super) fn has(&self, caller: &Caller, permission: Permission) -> bool {
        self.permissions(caller).has(permission)
    }

    /// Whether the caller may know that the room is there.
    pub(super) fn may_see(&self, caller: &Caller) -> bool {
        !self.deleted
            && (self.is_public()
                || self.is_invited(caller.user_id)
                || self.has(caller, Permission::Read)
                || self.is_member(caller.user_id))
    }

    pub(super) fn is_public(&self) -> bool {
        self.meta.kind == RoomKind::Room && self.meta.visibility == Visibility::Public
    }

    pub(super) fn is_invited(&self, user: UserId) -> bool {
        matches!(self.members.get(&user), Some(Some(standing)) if standing.invited)
    }

    /// What somebody is told who is no member.
    pub(super) fn stranger_error(&self, caller: &Caller) -> Refused {
        if self.may_see(caller) { error(ErrorCode::NotAMember, "not a member of this room") } else { no_room() }
    }

    /// The caller must be a member.
    pub(super) fn require_member(&self, caller: &Caller) -> Result<(), Refused> {
        if self.is_member(caller.user_id) && !self.deleted { Ok(()) } else { Err(self.stranger_error(caller)) }
    }

    /// The caller's role, in the room or on the server, must allow this.
    pub(super) fn require(&self, caller: &Caller, permission: Permission) -> Result<(), Refused> {
        let permissions = self.permissions(caller);
        let is_nobody = permissions == Permissions::NONE && !self.is_member(caller.user_id);
        if self.deleted || is_nobody {
            return Err(self.stranger_error(caller));
        }
        if permissions.has(permission) { Ok(()) } else { Err(denied()) }
    }

    /// What writing in any form needs: membership, the permission, no mute, a room that is not archived.
    pub(super) fn require_writer(&self, caller: &Caller, permission: Permission, now: WallMs) -> Result<(), Refused> {
        self.require_member(caller)?;
        if self.active_sanction(caller.user_id, SanctionKind::Mute, now).is_some() {
            return Err(error(ErrorCode::Sanctioned, "muted in this room"));
        }
        if self.meta.archived {
            return Err(error(ErrorCode::RoomArchived, "the room is archived"));
        }
        self.require(caller, permission)
    }

    /// The other side of a conversation of two blocks the caller.
    pub(super) fn require_unblocked(&self, caller: &Caller) -> Result<(), Refused> {
        if self.blocks.iter().any(|(_, blocked)| *blocked == caller.user_id) {
            return Err(error(ErrorCode::ConversationBlocked, "the other side blocks this conversation"));
        }
        Ok(())
    }

    /// A sanction in force.
    pub(super) fn active_sanction(&self, user: UserId, kind: SanctionKind, now: WallMs) -> Option<&SanctionRow> {
        let standing = self.members.get(&user)?.as_ref()?;
        standing.sanctions.iter().find(|row| row.kind == kind && row.is_active(now))
    }

    /// Where a user of the room stands.
    pub(super) fn rank(&self, user: UserId) -> Rank {
        use Permission::{ManageMembers, ManageRoles, ManageRoom, Moderate};
        let Some(member) = self.member(user) else { return Rank::Stranger };
        let permissions = self.member_permissions(Some(member));
        let leads = [Moderate, ManageMembers, ManageRoles, ManageRoom];
        if &*member.role == OWNER {
            Rank::Owner
        } else if leads.into_iter().any(|permission| permissions.has(permission)) {
            Rank::Moderator
        } else {
            Rank::Member
        }
    }

    /// Where the caller stands, by the room or by the server.
    pub(super) fn caller_rank(&self, caller: &Caller) -> Rank {
        let by_server = match (self.meta.kind, caller.role) {
            (RoomKind::Room, Role::Admin) => Rank::Admin,
            (RoomKind::Room, Role::Moderator) => Rank::Owner,
            _ => Rank::Stranger,
        };
        self.rank(caller.user_id).max(by_server)
    }

    /// The caller must stand above this user.
    pub(super) fn require_above(&self, caller: &Caller, user: UserId) -> Result<(), Refused> {
        if self.caller_rank(caller) > self.rank(user) {
            Ok(())
        } else {
            Err(error(ErrorCode::PermissionDenied, "not possible on an equal or higher role"))
        }
    }

    /// Commands that rooms have and conversations do not.
    pub(super) fn require_room(&self, caller: &Caller) -> Result<(), Refused> {
        match self.meta.kind {
            RoomKind::Room => Ok(()),
            RoomKind::Dm => Err(self.dm_error(caller.user_id)),
        }
    }

    pub(super) fn dm_error(&self, caller: UserId) -> Refused {
        if self.is_member(caller) {
            error(ErrorCode::InvalidRequest, "not possible in a conversation")
        } else {
            no_room()
        }
    }
}

/// `ROOM_NOT_FOUND`, in the same words whether the room is absent, gone or hidden.
pub(super) fn no_room() -> Refused {
    error(ErrorCode::RoomNotFound, "no such room")
}

/// `PERMISSION_DENIED` by role.
pub(super) fn denied() -> Refused {
    error(ErrorCode::PermissionDenied, "the caller's role does not allow this")
}
