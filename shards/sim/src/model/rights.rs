//! Who may do what, written down a second time.

use veza_engine::input::Role;
use veza_engine::time::WallMs;

use super::view::rfc3339;
use super::{Context, RoomModel};
use crate::store::Store;

const MEMBER: &[&str] = &["read", "send", "react", "edit_own", "delete_own"];
const MODERATOR: &[&str] = &[
    "read",
    "send",
    "react",
    "edit_own",
    "delete_own",
    "pin",
    "delete_any",
    "mention_all",
    "invite",
    "manage_members",
    "moderate",
    "view_audit",
    "bypass_slow_mode",
];
const OWNER: &[&str] = &[
    "read",
    "send",
    "react",
    "edit_own",
    "delete_own",
    "pin",
    "delete_any",
    "mention_all",
    "invite",
    "manage_members",
    "moderate",
    "view_audit",
    "bypass_slow_mode",
    "manage_roles",
    "manage_room",
];
const PARTICIPANT: &[&str] = &["read", "send", "react", "edit_own", "delete_own", "pin", "mention_all"];
const SERVER_MODERATOR: &[&str] = &["read", "delete_any", "manage_members", "moderate", "view_audit"];

/// What a user might do in a room during some time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Is a member.
    pub member: bool,
    /// Was invited.
    pub invited: bool,
    /// By role in the room and on the server.
    pub permissions: Vec<&'static str>,
}

impl RoomModel {
    /// The permissions of a role.
    fn of_role(&self, role: &str) -> Vec<&'static str> {
        match role {
            "owner" => OWNER.to_vec(),
            "moderator" => MODERATOR.to_vec(),
            "member" => MEMBER.to_vec(),
            custom => self.roles.get(custom).cloned().unwrap_or_else(|| MEMBER.to_vec()),
        }
    }

    /// What a user may do now.
    pub(super) fn standing(&self, user: u64, server_role: Role) -> Standing {
        let role = self.members.get(&user);
        let mut permissions = match role {
            Some(_) if self.is_dm => PARTICIPANT.to_vec(),
            Some(role) => self.of_role(role),
            None => Vec::new(),
        };
        let more = match server_role {
            _ if self.is_dm => &[][..],
            Role::User => &[][..],
            Role::Moderator => SERVER_MODERATOR,
            Role::Admin => OWNER,
        };
        permissions.extend(more);
        permissions.sort_unstable();
        permissions.dedup();
        Standing { member: role.is_some(), invited: self.invited.contains(&user), permissions }
    }

    /// Higher ones are not acted on by lower or equal ones.
    pub(super) fn rank(&self, user: u64, server_role: Role) -> u8 {
        let of_members = |role: &String| match role.as_str() {
            "owner" => 3,
            "moderator" => 2,
            other => {
                let permissions = self.of_role(other);
                if permissions.contains(&"moderate") || permissions.contains(&"manage_members") { 2 } else { 1 }
            }
        };
        let in_room = self.members.get(&user).map_or(0, of_members);
        match server_role {
            Role::User => in_room,
            Role::Moderator => in_room.max(3),
            Role::Admin => 4,
        }
    }

    /// A mute or ban that is in force.
    pub(super) fn is_under(&self, user: u64, kind: &str, at: WallMs) -> bool {
        let at = rfc3339(at);
        self.punishments.iter().any(|row| {
            let over = row.expires_at.as_ref().is_some_and(|end| *end <= at);
            row.user == user && row.kind == kind && !row.lifted && !over
        })
    }

    /// Notes what everybody may do from this step on.
    pub(super) fn note_standings(&mut self, step: u64, store: &Store, server_roles: &[Role]) {
        for user in 1..=store.user_count() {
            let standing = self.standing(user, server_role(store, server_roles, user));
            let known = self.standings.get(&user).and_then(|all| all.last()).map(|(_, last)| last);
            if known.cloned().unwrap_or_default() != standing {
                self.standings.entry(user).or_default().push((step, standing));
            }
        }
    }

    /// Whether the user ever was a member.
    pub fn ever_member(&self, user: u64) -> bool {
        self.members.contains_key(&user)
            || self.standings.get(&user).is_some_and(|all| all.iter().any(|(_, standing)| standing.member))
    }

    /// Whether at any time since this step the user stood so.
    pub fn stood(&self, user: u64, since: u64, wanted: impl Fn(&Standing) -> bool) -> bool {
        let none = Vec::new();
        let all = self.standings.get(&user).unwrap_or(&none);
        if all.first().is_none_or(|(from, _)| *from > since) && wanted(&Standing::default()) {
            return true;
        }
        let ends = all.iter().skip(1).map(|(from, _)| *from).chain([u64::MAX]);
        all.iter().zip(ends).any(|((_, standing), end)| end >= since && wanted(standing))
    }
}

impl Context<'_> {
    /// The role of a user on the server.
    pub(super) fn server_role(&self, user: u64) -> Role {
        server_role(self.store, self.server_roles, user)
    }
}

/// The role of a user on the server: by the number in the name.
pub(super) fn server_role(store: &Store, server_roles: &[Role], user: u64) -> Role {
    let number = store.number_of(user);
    number.and_then(|number| server_roles.get(number)).copied().unwrap_or_default()
}
