//! Settings and custom roles of a room: what changing them needs.

use super::{Change, Decided, Decision};
use crate::core::{Core, body, error};
use crate::peer::{Caller, ReplyBody};
use crate::room::Room;
use crate::room::rights::{MEMBER, MODERATOR, OWNER, Rank};
use crate::store::{RoleRow, RoomMeta};
use crate::wire::encode::room_object;
use crate::wire::json::{Object, object};
use crate::wire::{Command, CommandError, ErrorCode, Permission, Permissions, UpdateRoom};

impl Room {
    pub(super) fn decide_settings(&mut self, core: &mut Core, caller: &Caller, command: &Command) -> Decided {
        self.require_room(caller)?;
        match command {
            Command::UpdateRoom(update) => self.decide_update(core, caller, update),
            Command::DeleteRoom { .. } => {
                self.require(caller, Permission::ManageRoom)?;
                if self.caller_rank(caller) < Rank::Owner
                    || caller.role == crate::input::Role::Moderator && self.rank(caller.user_id) < Rank::Owner
                {
                    return Err(super::super::rights::denied());
                }
                Ok(Decision::Change(Change::DeleteRoom))
            }
            Command::CreateRole { name, permissions, .. } => self.decide_create_role(core, caller, name, *permissions),
            Command::UpdateRole { name, permissions, .. } => self.decide_update_role(caller, name, *permissions),
            Command::DeleteRole { name, .. } => {
                self.require(caller, Permission::ManageRoles)?;
                let role = self.custom_role(name)?;
                self.require_covers(caller, role.permissions)?;
                Ok(Decision::Change(Change::DropRole { name: name.clone() }))
            }
            Command::ListRoles { .. } => {
                self.require(caller, Permission::Read)?;
                Ok(self.roles_body().into())
            }
            other => unreachable!("{} changes no settings", other.kind().name()),
        }
    }

    fn decide_update(&mut self, core: &Core, caller: &Caller, update: &UpdateRoom) -> Decided {
        self.require(caller, Permission::ManageRoom)?;
        if update
            .max_members
            .is_some_and(|most| most > core.limits.max_members_per_room && core.limits.max_members_per_room > 0)
        {
            return Err(Box::new(CommandError::field("max_members", "over limits.max_members_per_room")));
        }
        let meta = updated(&self.meta, update);
        if meta == self.meta {
            return Ok(self.updated_body(self.head).into());
        }
        Ok(Decision::Change(Change::Update { meta: Box::new(meta) }))
    }

    fn decide_create_role(&mut self, core: &Core, caller: &Caller, name: &str, permissions: Permissions) -> Decided {
        self.require(caller, Permission::ManageRoles)?;
        self.require_covers(caller, permissions)?;
        let taken = [OWNER, MODERATOR, MEMBER].contains(&name) || self.roles.iter().any(|role| *role.name == *name);
        if taken {
            let mut error = error(ErrorCode::Conflict, "there is a role of this name");
            error.field = Some("name");
            return Err(error);
        }
        let most = core.limits.max_roles_per_room as usize;
        if most > 0 && self.roles.len() >= most {
            return Err(error(ErrorCode::Conflict, "the room has as many roles as it may"));
        }
        let role = RoleRow { name: name.into(), permissions };
        Ok(Decision::Change(Change::PutRole { role, reply: "role_created" }))
    }

    fn decide_update_role(&mut self, caller: &Caller, name: &str, permissions: Permissions) -> Decided {
        self.require(caller, Permission::ManageRoles)?;
        let known = self.custom_role(name)?;
        self.require_covers(caller, permissions.and(known.permissions))?;
        let role = RoleRow { name: name.into(), permissions };
        if *known == role {
            return Ok(role_body(self, "role_updated", &role).into());
        }
        Ok(Decision::Change(Change::PutRole { role, reply: "role_updated" }))
    }

    /// Nobody gives, takes or changes what he has not himself.
    fn require_covers(&self, caller: &Caller, permissions: Permissions) -> Result<(), Box<CommandError>> {
        if self.permissions(caller).covers(permissions) {
            Ok(())
        } else {
            Err(error(ErrorCode::PermissionDenied, "the role has permissions that the caller has not"))
        }
    }

    fn custom_role(&self, name: &str) -> Result<&RoleRow, Box<CommandError>> {
        if [OWNER, MODERATOR, MEMBER].contains(&name) {
            return Err(Box::new(CommandError::field("name", "the built-in roles stay as they are")));
        }
        let found = self.roles.iter().find(|role| *role.name == *name);
        found.ok_or_else(|| error(ErrorCode::NotFound, "no such role in this room"))
    }

    fn roles_body(&self) -> ReplyBody {
        let built_in = [
            (OWNER, Permissions::OWNER, true),
            (MODERATOR, Permissions::MODERATOR, true),
            (MEMBER, Permissions::MEMBER, true),
        ];
        let custom = self.roles.iter().map(|role| (&*role.name, role.permissions, false));
        let data = object(|o| {
            o.uint("room_id", self.id().0)
                .array("roles", built_in.into_iter().chain(custom), |out, (name, permissions, built_in)| {
                    let o = Object::new(out).text("name", name);
                    permission_list(o, permissions).flag("built_in", built_in).end();
                })
                .end();
        });
        body("role_list", data)
    }

    /// The reply to `update_room`.
    pub(super) fn updated_body(&self, seq: crate::id::Seq) -> ReplyBody {
        let data = object(|mut o| {
            room_object(o.key("room"), &self.meta, self.member_count, self.head);
            o.uint("room_id", self.id().0).uint("seq", seq.0).end();
        });
        body("room_updated", data)
    }
}

fn permission_list(o: Object<'_>, permissions: Permissions) -> Object<'_> {
    o.array("permissions", permissions.names(), crate::wire::json::push_string)
}

/// The reply to `create_role` and `update_role`.
pub(super) fn role_body(room: &Room, reply: &'static str, role: &RoleRow) -> ReplyBody {
    let data = object(|o| {
        let o = o.uint("room_id", room.id().0).uint("seq", room.head.0).text("name", &role.name);
        permission_list(o, role.permissions).end();
    });
    body(reply, data)
}

/// Settings with what the command names changed; an empty text takes it away.
fn updated(meta: &RoomMeta, update: &UpdateRoom) -> RoomMeta {
    let text = |new: &Option<Box<str>>, old: &Option<Box<str>>| match new {
        Some(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        None => old.clone(),
    };
    RoomMeta {
        name: update.name.clone().unwrap_or_else(|| meta.name.clone()),
        description: text(&update.description, &meta.description),
        topic: text(&update.topic, &meta.topic),
        visibility: update.visibility.unwrap_or(meta.visibility),
        max_members: update.max_members.unwrap_or(meta.max_members),
        slow_mode_s: update.slow_mode_s.unwrap_or(meta.slow_mode_s),
        retention_days: update.retention_days.unwrap_or(meta.retention_days),
        archived: update.archived.unwrap_or(meta.archived),
        ..meta.clone()
    }
}
