//! What a role in a room lets its holder do.

/// One thing that a member may be allowed to do. The number is the bit of the stored set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs)] // each is the permission of that name
pub enum Permission {
    Read,
    Send,
    React,
    Pin,
    EditOwn,
    DeleteOwn,
    DeleteAny,
    MentionAll,
    Invite,
    ManageMembers,
    ManageRoles,
    ManageRoom,
    Moderate,
    ViewAudit,
    BypassSlowMode,
}

impl Permission {
    /// Every permission with its name, in the order of the bits.
    pub const WORDS: [(&'static str, Permission); 15] = {
        use Permission::*;
        [
            ("read", Read),
            ("send", Send),
            ("react", React),
            ("pin", Pin),
            ("edit_own", EditOwn),
            ("delete_own", DeleteOwn),
            ("delete_any", DeleteAny),
            ("mention_all", MentionAll),
            ("invite", Invite),
            ("manage_members", ManageMembers),
            ("manage_roles", ManageRoles),
            ("manage_room", ManageRoom),
            ("moderate", Moderate),
            ("view_audit", ViewAudit),
            ("bypass_slow_mode", BypassSlowMode),
        ]
    };
}

/// A set of permissions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Permissions(u32);

impl Permissions {
    /// None.
    pub const NONE: Permissions = Permissions(0);
    /// All: an owner, or an administrator of the server.
    pub const OWNER: Permissions = Permissions((1 << Permission::WORDS.len()) - 1);
    /// The built-in role `member`.
    pub const MEMBER: Permissions = {
        use Permission::*;
        Permissions::of(&[Read, Send, React, EditOwn, DeleteOwn])
    };
    /// The built-in role `moderator`.
    pub const MODERATOR: Permissions = {
        use Permission::*;
        let more =
            Permissions::of(&[Pin, DeleteAny, MentionAll, Invite, ManageMembers, Moderate, ViewAudit, BypassSlowMode]);
        Permissions(Permissions::MEMBER.0 | more.0)
    };
    /// A participant of a conversation.
    pub const PARTICIPANT: Permissions = {
        use Permission::*;
        Permissions(Permissions::MEMBER.0 | Permissions::of(&[Pin, MentionAll]).0)
    };
    /// What a moderator of the server may do in every room, member or not.
    pub const SERVER_MODERATOR: Permissions = {
        use Permission::*;
        Permissions::of(&[Read, DeleteAny, ManageMembers, Moderate, ViewAudit])
    };

    /// The set of these.
    pub const fn of(list: &[Permission]) -> Permissions {
        let mut bits = 0;
        let mut index = 0;
        while index < list.len() {
            bits |= 1 << list[index] as u32;
            index += 1;
        }
        Permissions(bits)
    }

    /// From its stored number; unknown bits mean nothing.
    pub fn from_bits(bits: u32) -> Permissions {
        Permissions(bits & Permissions::OWNER.0)
    }

    /// As stored.
    pub fn bits(self) -> u32 {
        self.0
    }

    /// Whether this one is in it.
    pub fn has(self, permission: Permission) -> bool {
        self.0 & (1 << permission as u32) != 0
    }

    /// Whether all of `other` are in it.
    pub fn covers(self, other: Permissions) -> bool {
        other.0 & !self.0 == 0
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Permissions) -> Permissions {
        Permissions(self.0 | other.0)
    }

    /// The names of those in it.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Permission::WORDS.into_iter().filter(move |(_, permission)| self.has(*permission)).map(|(name, _)| name)
    }
}
