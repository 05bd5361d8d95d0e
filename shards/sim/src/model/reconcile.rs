//! Changes without an event: joins, leaves, invitations, custom roles, lifted sanctions. After them the room is as stored.

use veza_engine::store::Write;

use super::{Context, RoomModel, meta_json};
use crate::store::StoredRoom;

type Checked = Result<(), String>;

impl RoomModel {
    pub(super) fn reconcile(&mut self, context: &Context<'_>, stored: &StoredRoom) -> Checked {
        for write in &context.writes {
            match write {
                Write::Invite { user_id, inviter_id, .. } => {
                    if !context.may(self, inviter_id.0, "invite") {
                        return Err(format!("{} invites without the right", inviter_id.0));
                    }
                    self.invited.insert(user_id.0);
                }
                Write::PutRole { role, .. } => {
                    self.roles.insert(role.name.to_string(), role.permissions.names().collect());
                    let most = context.limits.max_roles_per_room as usize;
                    if most > 0 && self.roles.len() > most {
                        return Err("more roles than a room may have".into());
                    }
                }
                Write::Sanction { row } => {
                    let Some((_, by)) = row.lifted else { continue };
                    if !context.may(self, by.0, "moderate") {
                        return Err(format!("{} lifts a sanction without the right", by.0));
                    }
                    let expires_at = row.expires_at.map(super::view::rfc3339);
                    let mut same = self.punishments.iter_mut().filter(|known| {
                        known.user == row.user_id.0 && known.kind == row.kind.name() && known.expires_at == expires_at
                    });
                    // Two may lift the same one at a time: the second finds it lifted.
                    let first = same.next().ok_or("a sanction is lifted that was not there")?;
                    let open = if first.lifted { same.find(|known| !known.lifted) } else { Some(first) };
                    if let Some(open) = open {
                        open.lifted = true;
                    }
                }
                _ => {}
            }
        }
        self.members_explained(context, stored)?;
        for write in &context.writes {
            if let Write::DropRole { name, .. } = write {
                self.roles.remove(&**name);
            }
        }
        self.invited = stored.invites.iter().map(|user| user.0).collect();
        self.is_as_stored(stored)
    }

    /// Every difference between the members of the log and those stored has its reason.
    fn members_explained(&mut self, context: &Context<'_>, stored: &StoredRoom) -> Checked {
        let roles: std::collections::BTreeMap<u64, String> =
            stored.members.values().map(|member| (member.user_id.0, member.role.to_string())).collect();
        for (user, role) in &roles {
            match self.members.get(user) {
                None => self.joined(context, stored, *user)?,
                Some(before) if before == role => {}
                Some(before) => {
                    let dropped = context.writes.iter().any(|write| {
                        matches!(write, Write::DropRole { name, .. } if **name == **before) && role == "member"
                    });
                    if !dropped {
                        return Err(format!("{user} has become {role} without an event"));
                    }
                }
            }
        }
        self.members = roles;
        Ok(())
    }

    fn joined(&self, context: &Context<'_>, stored: &StoredRoom, user: u64) -> Checked {
        let member = &stored.members[&veza_engine::id::UserId(user)];
        let metas = self.metas.iter().rev().take(4).map(|(_, meta)| meta);
        let public = metas.clone().any(|meta| meta["visibility"] == "public");
        let admin = context.server_role(user) == veza_engine::input::Role::Admin;
        if self.is_dm || !(public || self.invited.contains(&user) || admin) {
            return Err(format!("{user} has joined without being allowed"));
        }
        let lifted = context
            .writes
            .iter()
            .any(|write| matches!(write, Write::Sanction { row } if row.user_id.0 == user && row.lifted.is_some()));
        if self.is_under(user, "ban", member.joined_at) && !lifted {
            return Err(format!("{user} has joined though banned"));
        }
        let most = metas.filter_map(|meta| meta["max_members"].as_u64()).max().unwrap_or(0);
        if stored.members.len() as u64 > most {
            return Err(format!("{user} has joined a full room"));
        }
        Ok(())
    }

    fn is_as_stored(&self, stored: &StoredRoom) -> Checked {
        let meta = meta_json(&stored.meta);
        if meta != self.meta {
            return Err(format!("settings are stored as {meta}, and the log says {}", self.meta));
        }
        let owners: Vec<u64> =
            self.members.iter().filter(|(_, role)| *role == "owner").map(|(user, _)| *user).collect();
        if owners != self.owner.into_iter().collect::<Vec<_>>() {
            return Err(format!("the owner is {:?}, but the members with that role are {owners:?}", self.owner));
        }
        if self.deleted != stored.deleted_at.is_some() {
            return Err("deleted in the log or in the store only".into());
        }
        if stored.member_count as usize != stored.members.len() {
            return Err(format!("{} members, but counted {}", stored.members.len(), stored.member_count));
        }
        Ok(())
    }
}
