//! Changes that are committed: applied to the room in memory, answered, pushed. The reply first, then the push; the event
//! that ends a membership is the last that its user gets.

use super::message::{edited_body, message_seq, pin_reply, reaction_body};
use super::people::{left_body, lifted_body, role_body, subject_body};
use super::rows::ends_membership;
use super::settings::role_body as custom_role_body;
use super::{Change, ChangeOp};
use crate::core::{Core, body};
use crate::id::{Seq, UserId};
use crate::peer::{Origin, ReplyBody, SubChange};
use crate::room::mentions::{Mentioned, Notice, push_user};
use crate::room::recent::Recent;
use crate::room::{Room, rights};
use crate::store::{EventRecord, Reaction, SanctionRow};
use crate::time::WallMs;
use crate::wire::SanctionKind;
use crate::wire::encode::{opt_time, preview, push_frame, room_seq};
use crate::wire::json::object;

impl Room {
    /// A change is committed at this position (without an event: at this head).
    pub(in crate::room) fn apply_change(
        &mut self,
        core: &mut Core,
        mut op: ChangeOp,
        origin: Option<Origin>,
        seq: Seq,
    ) {
        self.end(&op);
        let record = op.row.clone().map(|row| {
            let username = Some((&*op.caller.username).into());
            EventRecord { row, username, state: None }
        });
        let caller = op.caller.user_id;
        let reply = match &op.what {
            Change::Edit { .. } | Change::Delete { .. } | Change::Pin { .. } | Change::React { .. } => {
                self.apply_message_change(&mut op, seq)
            }
            _ => self.apply_room_change(&op, seq),
        };
        let declined = matches!(op.what, Change::Decline).then(|| SubChange::Unsubscribe { room_id: self.id() });
        if let Some(origin) = origin {
            self.settle(core, caller, origin, Ok(reply), declined);
        }
        if let Some(record) = record {
            self.deliver(core, &record);
        }
        self.after_change(core, op);
    }

    /// Changes a message wherever memory has it.
    pub(in crate::room) fn change_message(&mut self, seq: Seq, mut change: impl FnMut(&mut Recent)) {
        if !self.ring.change(seq, &mut change)
            && let Some(Some(message)) = self.older.get_mut(&seq)
        {
            change(message);
        }
    }

    fn apply_message_change(&mut self, op: &mut ChangeOp, seq: Seq) -> ReplyBody {
        match &op.what {
            Change::Edit { message_id, content, mentioned, .. } => {
                let at = op.at;
                let mut told = Box::default();
                self.change_message(*message_id, |message| {
                    let state = message.state_mut();
                    state.edit_count += 1;
                    state.edited_at = Some(at);
                    told = std::mem::replace(&mut message.mentions, mentioned.users.clone());
                    message.encode(Some(content));
                });
                op.told = told;
                let state = self.recent(*message_id).and_then(|message| message.state.as_deref());
                edited_body(self, *message_id, seq, state, at)
            }
            Change::Delete { message_id, .. } => {
                let was_pinned = self.recent(*message_id).is_some_and(Recent::is_pinned);
                self.pinned_count -= u32::from(was_pinned && self.pinned_count > 0);
                let at = op.at;
                self.change_message(*message_id, |message| {
                    let state = message.state_mut();
                    state.deleted_at = Some(at);
                    state.pinned = None;
                    message.encode(None);
                });
                self.ring.change_edits(*message_id, Recent::scrub_edit);
                body("message_deleted", message_seq(self, *message_id, seq))
            }
            Change::Pin { message_id, pinned } => {
                self.pinned_count = if *pinned { self.pinned_count + 1 } else { self.pinned_count.saturating_sub(1) };
                self.change_message(*message_id, |message| {
                    message.state_mut().pinned = pinned.then_some(seq);
                    message.encode(None);
                });
                body(pin_reply(*pinned), message_seq(self, *message_id, seq))
            }
            Change::React { message_id, emoji, add } => {
                let user = op.caller.user_id;
                self.change_message(*message_id, |message| {
                    react(&mut message.state_mut().reactions, emoji, user, *add);
                    message.encode(None);
                });
                if let Some(own) = self.own_reactions.get_mut(&(*message_id, user)) {
                    own.retain(|known| known != emoji);
                    own.extend(add.then(|| emoji.clone()));
                }
                let count = self.recent(*message_id).map_or(0, |message| message.reaction_count(emoji));
                reaction_body(self, *message_id, seq, emoji, count, *add)
            }
            _ => unreachable!("no change of a message"),
        }
    }

    fn apply_room_change(&mut self, op: &ChangeOp, seq: Seq) -> ReplyBody {
        match &op.what {
            Change::Update { meta } => {
                self.meta = (**meta).clone();
                self.head = self.head.max(seq);
                self.updated_body(seq)
            }
            Change::DeleteRoom => {
                self.deleted = true;
                body("room_deleted", room_seq(self.id(), seq))
            }
            Change::PutRole { role, reply } => {
                match self.roles.iter_mut().find(|known| known.name == role.name) {
                    Some(known) => *known = role.clone(),
                    None => self.roles.push(role.clone()),
                }
                self.roles.sort_by(|a, b| a.name.cmp(&b.name));
                custom_role_body(self, reply, role)
            }
            Change::DropRole { name } => {
                self.roles.retain(|role| role.name != *name);
                for member in self.members.values_mut().flatten().filter_map(|standing| standing.member.as_mut()) {
                    if member.role == *name {
                        member.role = rights::MEMBER.into();
                    }
                }
                let data = object(|o| {
                    o.uint("room_id", self.id().0).uint("seq", self.head.0).text("name", name).end();
                });
                body("role_deleted", data)
            }
            Change::Invite { user_id } => {
                self.set_invited(*user_id, true);
                subject_body("member_invited", self, *user_id)
            }
            Change::Decline => {
                self.set_invited(op.caller.user_id, false);
                left_body(self)
            }
            Change::Kick { user_id, .. } => {
                self.end_membership(*user_id);
                let data = object(|o| {
                    o.uint("room_id", self.id().0).uint("seq", seq.0).uint("user_id", user_id.0).end();
                });
                body("member_kicked", data)
            }
            Change::SetRole { user_id, role, .. } => {
                self.apply_role(*user_id, role);
                role_body(self, *user_id, role, seq)
            }
            Change::Sanction { row } => {
                self.apply_sanction(row);
                sanctioned_body(self, row, seq)
            }
            Change::Lift { row } => {
                if let Some(Some(standing)) = self.members.get_mut(&row.user_id) {
                    standing.sanctions.retain(|known| known.sanction_id != row.sanction_id);
                }
                lifted_body(self, row.sanction_id)
            }
            _ => unreachable!("no change of a room"),
        }
    }

    fn apply_role(&mut self, user_id: UserId, role: &str) {
        if let Some(member) = self.member_mut(user_id) {
            member.role = role.into();
        }
        if role == rights::OWNER {
            let old = self.meta.owner_id.replace(user_id).filter(|old| *old != user_id);
            if let Some(old) = old.and_then(|old| self.member_mut(old)).filter(|old| &*old.role == rights::OWNER) {
                old.role = rights::MODERATOR.into();
            }
        }
    }

    fn apply_sanction(&mut self, row: &SanctionRow) {
        if let Some(Some(standing)) = self.members.get_mut(&row.user_id) {
            if matches!(row.kind, SanctionKind::Mute | SanctionKind::Ban) {
                standing.sanctions.push(row.clone());
            }
            if row.kind == SanctionKind::Ban {
                standing.invited = false;
            }
        }
        if ends_membership(row.kind) {
            self.end_membership(row.user_id);
        }
    }

    fn set_invited(&mut self, user_id: UserId, invited: bool) {
        if let Some(Some(standing)) = self.members.get_mut(&user_id) {
            standing.invited = invited;
        }
    }

    /// The user is no member any more; his subscriptions end after the event that says so.
    fn end_membership(&mut self, user_id: UserId) {
        let Some(Some(standing)) = self.members.get_mut(&user_id) else { return };
        if standing.member.take().is_some() {
            self.member_count = self.member_count.saturating_sub(1);
        }
        let username = standing.username.clone();
        self.forget_name(&username);
    }

    /// What follows the push.
    fn after_change(&mut self, core: &mut Core, op: ChangeOp) {
        let author_id = op.caller.user_id;
        match op.what {
            Change::Edit { message_id, content, mentioned, .. } => {
                let notice = Notice { author_id, message_id, content: &content };
                // Who was mentioned before has been told; `@room` again is for nobody.
                let fresh = mentioned.users.iter().copied().filter(|user| !op.told.contains(user)).collect();
                let fresh = Mentioned { users: fresh, everyone: false };
                self.notify(core, &notice, &fresh, &[]);
            }
            Change::Kick { user_id, .. } => self.expel(core, user_id),
            Change::DeleteRoom => self.expel_all(core),
            Change::Invite { user_id } => {
                let data = object(|o| {
                    o.text("kind", "invite")
                        .uint("room_id", self.id().0)
                        .raw("message_id", b"null")
                        .uint("from_user_id", author_id.0)
                        .text("preview", preview(&self.meta.name))
                        .end();
                });
                push_user(core, user_id, &push_frame("notification", &data));
            }
            Change::Sanction { row } => {
                if ends_membership(row.kind) {
                    self.expel(core, row.user_id);
                }
                push_user(core, row.user_id, &sanction_push(&row));
            }
            Change::Lift { row } => push_user(core, row.user_id, &sanction_push(&row)),
            _ => {}
        }
    }
}

/// Enters or takes away one user's reaction.
pub(in crate::room) fn react(reactions: &mut Vec<Reaction>, emoji: &str, user: UserId, add: bool) {
    let index = reactions.iter().position(|reaction| *reaction.emoji == *emoji);
    match (index, add) {
        (None, true) => reactions.push(Reaction { emoji: emoji.into(), count: 1, users: vec![user] }),
        (Some(index), true) => {
            let reaction = &mut reactions[index];
            reaction.count += 1;
            if reaction.users.len() < crate::store::REACTORS_MAX
                && let Err(place) = reaction.users.binary_search(&user)
            {
                reaction.users.insert(place, user);
            }
        }
        (Some(index), false) => {
            let reaction = &mut reactions[index];
            reaction.count = reaction.count.saturating_sub(1);
            reaction.users.retain(|known| *known != user);
            if reaction.count == 0 {
                reactions.remove(index);
            }
        }
        (None, false) => {}
    }
}

fn sanctioned_body(room: &Room, row: &SanctionRow, seq: Seq) -> ReplyBody {
    let data = object(|o| {
        let mut o = o
            .uint("room_id", room.id().0)
            .uint("seq", seq.0)
            .uint("sanction_id", row.sanction_id)
            .uint("user_id", row.user_id.0)
            .text("kind", row.kind.name());
        opt_time(o.key("expires_at"), row.expires_at);
        o.end();
    });
    body("user_sanctioned", data)
}

/// What the sanctioned user is told.
fn sanction_push(row: &SanctionRow) -> crate::fanout::FrameBytes {
    let data = object(|o| {
        let mut o = o
            .uint("sanction_id", row.sanction_id)
            .uint("room_id", row.room_id.0)
            .text("kind", row.kind.name())
            .text("reason", &row.reason)
            .uint("actor_id", row.actor_id.0);
        opt_time(o.key("expires_at"), row.expires_at);
        opt_time(o.key("lifted_at"), row.lifted.map(|(at, _): (WallMs, UserId)| at));
        o.end();
    });
    push_frame("sanction", &data)
}
