//! One event after the other: whether it was allowed, and what it changes.

use std::rc::Rc;

use serde_json::Value;
use veza_engine::input::Role;
use veza_engine::store::{EventKind, EventRow, Write};
use veza_engine::time::WallMs;

use super::{Context, MessageModel, Punishment, RoomModel, View};

type Checked = Result<(), String>;

fn ensure(holds: bool, problem: &str) -> Checked {
    if holds { Ok(()) } else { Err(problem.to_owned()) }
}

impl RoomModel {
    /// The next event of the log.
    pub(super) fn replay(&mut self, context: &Context<'_>, row: &EventRow) -> Checked {
        ensure(!self.deleted, "an event after the room's end")?;
        if row.kind == EventKind::Void {
            return Ok(());
        }
        let actor = row.author_id.ok_or("nobody did it")?.0;
        let data: Value = match &row.data {
            Some(data) => serde_json::from_str(data).map_err(|error| format!("data is no JSON: {error}"))?,
            None => Value::Null,
        };
        match row.kind {
            EventKind::Message => self.sent(context, row, actor),
            EventKind::Edit => self.edited(context, row, actor, &data),
            EventKind::Delete => self.was_deleted(context, row, actor),
            EventKind::ReactionAdded | EventKind::ReactionRemoved => self.reacted(context, row, actor, &data),
            EventKind::Pinned | EventKind::Unpinned => self.pinned(context, row, actor),
            EventKind::Kicked => self.kicked(context, actor, &data),
            EventKind::RoleChanged => self.role_changed(context, row.seq.0, actor, &data),
            EventKind::Sanctioned => self.sanctioned(context, actor, &data),
            EventKind::RoomUpdated => self.updated(context, row.seq.0, actor, &data),
            EventKind::RoomDeleted => {
                ensure(context.may(self, actor, "manage_room"), "a room deleted without the right")?;
                let by_owner = self.owner == Some(actor) || context.server_role(actor) == Role::Admin;
                ensure(by_owner, "a room deleted by another than its owner")?;
                self.deleted = true;
                Ok(())
            }
            EventKind::Void => Ok(()),
        }
    }

    /// Members write; the muted do not.
    fn may_write(&self, context: &Context<'_>, actor: u64, at: WallMs, permission: &str) -> Checked {
        let member = self.members.contains_key(&actor) || context.joins(actor);
        ensure(member, "not by a member")?;
        ensure(context.may(self, actor, permission), "not by one who may")?;
        let lifted = context.lifts(actor);
        ensure(lifted || !self.is_under(actor, "mute", at), "by one who is muted")
    }

    fn sent(&mut self, context: &Context<'_>, row: &EventRow, actor: u64) -> Checked {
        let content = row.content.as_deref().unwrap_or("");
        let everyone = names(content).any(|name| name == "room") && context.may(self, actor, "mention_all");
        if !context.late {
            self.may_write(context, actor, row.at, "send")?;
            ensure(self.meta["archived"] == false, "into an archived room")?;
            let slow_ms = self.meta["slow_mode_s"].as_i64().unwrap_or(0) * 1000;
            let last = self.last_sent.insert(actor, row.at);
            let slow = last.is_some_and(|last| row.at.0 - last.0 < slow_ms);
            ensure(!slow || context.may(self, actor, "bypass_slow_mode"), "too soon in slow mode")?;
            ensure(!self.is_blocked(context, actor, row.at), "by one who is blocked")?;
            self.mentions_are_right(context, row, content)?;
        }
        if let Some(parent) = row.parent_id {
            let root = self.messages.get(&parent.0).ok_or("an answer to no message")?;
            ensure(root.parent.is_none(), "a thread two levels deep")?;
            self.change(parent.0, row.seq.0, |view| view.thread_count += 1);
        }
        let mentions = row.mentions.iter().map(|user| user.0).collect();
        let view = View { content: content.into(), mentions, everyone, ..View::default() };
        let message = MessageModel {
            author: actor,
            parent: row.parent_id.map(|seq| seq.0),
            at: row.at,
            versions: vec![(row.seq.0, Rc::new(view))],
            edits: Vec::new(),
        };
        self.messages.insert(row.seq.0, message);
        Ok(())
    }

    fn is_blocked(&self, context: &Context<'_>, actor: u64, at: WallMs) -> bool {
        let others = self.members.keys().filter(|other| **other != actor);
        let since = others.filter_map(|other| context.blocks.get(&(*other, actor)));
        self.is_of_two && since.into_iter().any(|since| at > *since)
    }

    /// Nobody is mentioned who is not named; every member who has long been one is.
    fn mentions_are_right(&self, context: &Context<'_>, row: &EventRow, content: &str) -> Checked {
        const LONG_MS: i64 = 1000;
        let named: Vec<u64> = names(content).filter_map(|name| context.store.user_of_name(&name)).collect();
        let stranger = row.mentions.iter().find(|user| !named.contains(&user.0));
        ensure(stranger.is_none(), "mentions one who is not named")?;
        let missing = named.iter().find(|user| {
            let since = self.member_since.get(user);
            let long = since.is_some_and(|since| since.0 + LONG_MS < row.at.0);
            long && !row.mentions.iter().any(|mentioned| mentioned.0 == **user)
        });
        ensure(missing.is_none(), "does not mention a member who is named")
    }

    fn live(&self, row: &EventRow) -> Result<(u64, &View), String> {
        let id = row.parent_id.ok_or("about no message")?.0;
        let message = self.messages.get(&id).ok_or("about no message")?;
        ensure(!message.now().deleted, "about a deleted message")?;
        Ok((id, message.now()))
    }

    fn edited(&mut self, context: &Context<'_>, row: &EventRow, actor: u64, data: &Value) -> Checked {
        let (id, view) = self.live(row)?;
        let content = row.content.clone().unwrap_or_default();
        ensure(self.messages[&id].author == actor, "an edit by another than the author")?;
        ensure(*view.content != *content, "an edit that changes nothing has taken a seq")?;
        ensure(data["edit_count"] == view.edit_count + 1, "a wrong edit_count")?;
        self.may_write(context, actor, row.at, "edit_own")?;
        self.mentions_are_right(context, row, &content)?;
        let everyone = names(&content).any(|name| name == "room") && context.may(self, actor, "mention_all");
        let mentions: Vec<u64> = row.mentions.iter().map(|user| user.0).collect();
        self.change(id, row.seq.0, |view| {
            view.content = content.to_string();
            (view.mentions, view.everyone) = (mentions, everyone);
            view.edit_count += 1;
            view.edited_at = Some(row.at);
        });
        self.messages.get_mut(&id).expect("looked up above").edits.push(row.seq.0);
        Ok(())
    }

    fn was_deleted(&mut self, context: &Context<'_>, row: &EventRow, actor: u64) -> Checked {
        let (id, _) = self.live(row)?;
        let own = self.messages[&id].author == actor && context.may(self, actor, "delete_own");
        ensure(own || context.may(self, actor, "delete_any"), "a deletion without the right")?;
        self.change(id, row.seq.0, |view| {
            view.deleted = true;
            view.pinned = None;
        });
        Ok(())
    }

    fn reacted(&mut self, context: &Context<'_>, row: &EventRow, actor: u64, data: &Value) -> Checked {
        let (id, view) = self.live(row)?;
        let emoji = data["emoji"].as_str().ok_or("no emoji")?.to_owned();
        let adds = row.kind == EventKind::ReactionAdded;
        match adds {
            true => self.may_write(context, actor, row.at, "react")?,
            // To take back is no writing: administrators do it without a membership, the muted too.
            false => ensure(context.may(self, actor, "react"), "not by one who may")?,
        }
        let users = view.reactions.iter().find(|(other, _)| *other == emoji).map(|(_, users)| users);
        ensure(users.is_some_and(|users| users.contains(&actor)) != adds, "a reaction that changes nothing")?;
        let own = view.reactions.iter().filter(|(_, users)| users.contains(&actor)).count();
        let most = context.limits.max_reactions_per_message as usize;
        ensure(!adds || most == 0 || own < most, "more reactions than one may have")?;
        let before = users.map_or(0, |users| users.len());
        let after = if adds { before + 1 } else { before - 1 };
        ensure(data["count"] == after, "a wrong count of reactions")?;
        self.change(id, row.seq.0, |view| react(view, &emoji, actor, adds));
        Ok(())
    }

    fn pinned(&mut self, context: &Context<'_>, row: &EventRow, actor: u64) -> Checked {
        let (id, view) = self.live(row)?;
        let pins = row.kind == EventKind::Pinned;
        ensure(view.pinned.is_some() != pins, "a pin that changes nothing")?;
        match pins {
            true => self.may_write(context, actor, row.at, "pin")?,
            false => ensure(context.may(self, actor, "pin"), "not by one who may")?,
        }
        let floor = context.store.rooms[&row.room_id].floor.0;
        let held = self.messages.range(floor + 1..).filter(|(_, message)| message.now().pinned.is_some()).count();
        let most = context.limits.max_pins_per_room as usize;
        ensure(!pins || most == 0 || held < most, "more pins than a room may have")?;
        self.change(id, row.seq.0, |view| view.pinned = pins.then_some(row.seq.0));
        Ok(())
    }

    fn kicked(&mut self, context: &Context<'_>, actor: u64, data: &Value) -> Checked {
        let target = data["user_id"].as_u64().ok_or("nobody is kicked")?;
        ensure(context.may(self, actor, "manage_members"), "a kick without the right")?;
        self.is_below(context, actor, target)?;
        let was = self.members.remove(&target).is_some();
        ensure(was || context.joins(target), "a kick of one who is no member")
    }

    fn is_below(&self, context: &Context<'_>, actor: u64, target: u64) -> Checked {
        let above = self.rank(actor, context.server_role(actor));
        let below = self.rank(target, Role::User);
        ensure(above > below || above >= 3, "an act on an equal or higher one")
    }

    fn role_changed(&mut self, context: &Context<'_>, seq: u64, actor: u64, data: &Value) -> Checked {
        let target = data["user_id"].as_u64().ok_or("nobody's role")?;
        let role = data["role"].as_str().ok_or("no role")?.to_owned();
        let before = self.members.get(&target).cloned();
        ensure(before.is_some() || context.joins(target), "a role of one who is no member")?;
        ensure(before.as_deref() != Some(&*role), "a role that changes nothing")?;
        let may = context.may(self, actor, "manage_roles") || context.may(self, actor, "manage_members");
        ensure(may, "a role given without the right")?;
        if actor != target {
            self.is_below(context, actor, target)?;
        }
        if role == "owner" {
            let old = self.owner.replace(target);
            let by_owner = old == Some(actor) || context.server_role(actor) == Role::Admin;
            ensure(by_owner, "an ownership passed on by another than the owner")?;
            if let Some(old) = old {
                self.members.insert(old, "moderator".into());
            }
            self.meta["owner_id"] = target.into();
            self.metas.push((seq, self.meta.clone()));
        } else {
            ensure(before.as_deref() != Some("owner"), "a room without an owner")?;
        }
        self.members.insert(target, role);
        Ok(())
    }

    fn sanctioned(&mut self, context: &Context<'_>, actor: u64, data: &Value) -> Checked {
        let user = data["user_id"].as_u64().ok_or("nobody is sanctioned")?;
        let kind = data["kind"].as_str().ok_or("no kind")?.to_owned();
        ensure(context.may(self, actor, "moderate"), "a sanction without the right")?;
        self.is_below(context, actor, user)?;
        if kind == "kick" || kind == "ban" {
            self.members.remove(&user);
            self.invited.remove(&user);
        }
        let expires_at = data["expires_at"].as_str().map(str::to_owned);
        self.punishments.push(Punishment { user, kind, expires_at, lifted: false });
        Ok(())
    }

    fn updated(&mut self, context: &Context<'_>, seq: u64, actor: u64, data: &Value) -> Checked {
        ensure(context.may(self, actor, "manage_room"), "settings changed without the right")?;
        let mut meta = self.meta.clone();
        for (name, value) in meta.as_object_mut().expect("made as one") {
            *value = data["room"][name].clone();
        }
        ensure(meta != self.meta, "settings that change nothing")?;
        if self.meta["slow_mode_s"] == 0 {
            self.last_sent.clear(); // it counts from here on
        }
        self.metas.push((seq, meta.clone()));
        self.meta = meta;
        Ok(())
    }

    fn change(&mut self, message: u64, seq: u64, change: impl FnOnce(&mut View)) {
        let Some(message) = self.messages.get_mut(&message) else { return };
        let mut view = message.now().clone();
        change(&mut view);
        message.versions.push((seq, Rc::new(view)));
    }
}

fn react(view: &mut View, emoji: &str, user: u64, adds: bool) {
    match view.reactions.iter().position(|(other, _)| other == emoji) {
        Some(place) if adds => {
            view.reactions[place].1.insert(user);
        }
        Some(place) => {
            view.reactions[place].1.remove(&user);
            if view.reactions[place].1.is_empty() {
                view.reactions.remove(place);
            }
        }
        None => view.reactions.push((emoji.to_owned(), [user].into())),
    }
}

/// What follows an `@` outside code spans. The workload puts blanks around both.
pub(super) fn names(content: &str) -> impl Iterator<Item = String> + '_ {
    content.split_whitespace().filter_map(|word| word.strip_prefix('@')).map(str::to_lowercase)
}

impl Context<'_> {
    /// Whether a user may: as the log says here, or after any of the changes without an event that came along.
    pub(super) fn may(&self, room: &RoomModel, user: u64, permission: &str) -> bool {
        let now = room.standing(user, self.server_role(user));
        let role = room.members.get(&user);
        let given = self.writes.iter().any(|write| match write {
            Write::PutRole { role: put, .. } => {
                role.is_some_and(|role| *role == *put.name) && put.permissions.names().any(|name| name == permission)
            }
            Write::DropRole { name, .. } => {
                role.is_some_and(|role| *role == **name)
                    && ["send", "react", "read", "edit_own", "delete_own"].contains(&permission)
            }
            _ => false,
        });
        let joined = role.is_none() && self.joins(user);
        now.permissions.contains(&permission)
            || given
            || (joined && ["send", "react", "read", "edit_own", "delete_own"].contains(&permission))
    }

    /// A membership of this user is written along.
    pub(super) fn joins(&self, user: u64) -> bool {
        self.writes.iter().any(|write| matches!(write, Write::PutMember { member, .. } if member.user_id.0 == user))
    }

    /// A sanction of this user is lifted along.
    fn lifts(&self, user: u64) -> bool {
        self.writes
            .iter()
            .any(|write| matches!(write, Write::Sanction { row } if row.user_id.0 == user && row.lifted.is_some()))
    }
}
