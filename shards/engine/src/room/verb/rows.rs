//! What a change writes: its event, and the rows that it changes.

use super::{Change, ChangeOp};
use crate::id::{Seq, UserId};
use crate::journal_batch::Building;
use crate::room::{Room, rights};
use crate::store::{EventKind, EventRow, MemberRow, RoomMeta, SanctionRow, Write};
use crate::wire::SanctionKind;
use crate::wire::encode::{opt_time, room_object};
use crate::wire::json::{Object, object};

/// JSON that was just written.
fn text(data: Vec<u8>) -> Option<Box<str>> {
    Some(String::from_utf8(data).expect("JSON is text").into())
}

impl Room {
    /// Adds the rows of a change to the batch; its position has been taken.
    pub(in crate::room) fn write_change(&mut self, op: &mut ChangeOp, seq: Seq, message_no: u64, batch: &mut Building) {
        if let Some(row) = self.event_row(op, seq, message_no) {
            op.row = Some(row.clone());
            batch.event(row);
        }
        match &op.what {
            Change::Edit { .. } | Change::Delete { .. } | Change::Pin { .. } | Change::React { .. } => {
                self.write_message_change(op, seq, batch);
            }
            _ => self.write_room_change(op, batch),
        }
    }

    fn event_row(&mut self, op: &ChangeOp, seq: Seq, message_no: u64) -> Option<EventRow> {
        use EventKind as K;
        let (kind, target) = match &op.what {
            Change::Edit { message_id, .. } => (K::Edit, Some(*message_id)),
            Change::Delete { message_id, .. } => (K::Delete, Some(*message_id)),
            Change::Pin { message_id, pinned: true } => (K::Pinned, Some(*message_id)),
            Change::Pin { message_id, pinned: false } => (K::Unpinned, Some(*message_id)),
            Change::React { message_id, add: true, .. } => (K::ReactionAdded, Some(*message_id)),
            Change::React { message_id, add: false, .. } => (K::ReactionRemoved, Some(*message_id)),
            Change::Update { .. } => (K::RoomUpdated, None),
            Change::DeleteRoom => (K::RoomDeleted, None),
            Change::Kick { .. } => (K::Kicked, None),
            Change::SetRole { .. } => (K::RoleChanged, None),
            Change::Sanction { .. } => (K::Sanctioned, None),
            Change::PutRole { .. }
            | Change::DropRole { .. }
            | Change::Invite { .. }
            | Change::Decline
            | Change::Lift { .. } => return None,
        };
        let mut row = EventRow::new(self.id(), seq, kind, op.at, message_no);
        row.author_id = Some(op.caller.user_id);
        row.parent_id = target;
        self.fill_event(op, seq, &mut row);
        Some(row)
    }

    fn fill_event(&mut self, op: &ChangeOp, seq: Seq, row: &mut EventRow) {
        row.data = match &op.what {
            Change::Edit { message_id, content, mentioned, reason } => {
                row.content = Some(content.clone());
                row.mentions = mentioned.users.clone();
                row.reason = reason.clone();
                let count = self.edit_count(*message_id) + 1;
                text(object(|o| o.uint("edit_count", u64::from(count)).end()))
            }
            Change::Delete { reason, .. } => {
                row.reason = reason.clone();
                None
            }
            Change::React { message_id, emoji, add } => {
                let count = self.next_reaction_count(*message_id, emoji, *add);
                text(object(|o| o.text("emoji", emoji).uint("count", u64::from(count)).end()))
            }
            Change::Update { meta } => {
                let count = self.tip.member_count;
                text(object(|mut o| {
                    room_object(o.key("room"), meta, count, seq);
                    o.end();
                }))
            }
            Change::Kick { user_id, username, reason } => {
                row.reason = reason.clone();
                text(object(|o| o.uint("user_id", user_id.0).text("username", username).end()))
            }
            Change::SetRole { user_id, username, role } => {
                text(object(|o| o.uint("user_id", user_id.0).text("username", username).text("role", role).end()))
            }
            Change::Sanction { row: sanction } => {
                row.reason = Some(sanction.reason.clone());
                text(object(|o| sanction_members(o, sanction).end()))
            }
            _ => None,
        };
    }

    /// Edits of a message before the one under way.
    pub(super) fn edit_count(&self, message_id: Seq) -> u32 {
        self.recent(message_id).and_then(|message| message.state.as_ref()).map_or(0, |state| state.edit_count)
    }

    /// Users who react so once this change and all before it are committed.
    fn next_reaction_count(&mut self, message_id: Seq, emoji: &str, add: bool) -> u32 {
        let committed = self.recent(message_id).map_or(0, |message| message.reaction_count(emoji));
        let count = self.tip.reactions.entry((message_id, emoji.into())).or_insert(committed);
        *count = if add { *count + 1 } else { count.saturating_sub(1) };
        *count
    }

    fn write_message_change(&mut self, op: &ChangeOp, seq: Seq, batch: &mut Building) {
        let room_id = self.id();
        match &op.what {
            Change::Edit { message_id, content, mentioned, .. } => {
                let (message_id, content, mentions) = (*message_id, content.clone(), mentioned.users.clone());
                let count = self.edit_count(message_id) + 1;
                let sent = self.recent(message_id).map_or(op.at, |message| message.at);
                batch.write(Write::Edited { room_id, message_id, content, mentions, count, at: op.at });
                // Whether `@room` was in it before is not known here: what there was is replaced.
                let (users, everyone) = (mentioned.users.clone(), mentioned.everyone);
                batch.write(Write::Mentions { room_id, message_id, at: sent, users, everyone });
            }
            Change::Delete { message_id, .. } => {
                batch.write(Write::Deleted { room_id, message_id: *message_id, at: op.at });
            }
            Change::Pin { message_id, pinned } => {
                let pinned = pinned.then_some(seq);
                batch.write(Write::Pinned { room_id, message_id: *message_id, pinned });
            }
            Change::React { message_id, emoji, add } => {
                let count = self.tip.reactions.get(&(*message_id, emoji.clone())).copied().unwrap_or(0);
                batch.write(Write::Reaction {
                    room_id,
                    message_id: *message_id,
                    user_id: op.caller.user_id,
                    emoji: emoji.clone(),
                    present: *add,
                    count,
                    seq,
                });
            }
            _ => unreachable!("no change of a message"),
        }
    }

    fn write_room_change(&mut self, op: &ChangeOp, batch: &mut Building) {
        let room_id = self.id();
        match &op.what {
            Change::Update { meta } => batch.write(Write::UpdateRoom { meta: (**meta).clone() }),
            Change::DeleteRoom => batch.write(Write::DeleteRoom { room_id, at: op.at }),
            Change::PutRole { role, .. } => batch.write(Write::PutRole { room_id, role: role.clone() }),
            Change::DropRole { name } => batch.write(Write::DropRole { room_id, name: name.clone() }),
            Change::Invite { user_id } => {
                batch.write(Write::Invite { room_id, user_id: *user_id, inviter_id: op.caller.user_id, at: op.at });
            }
            Change::Decline => batch.write(Write::DropInvite { room_id, user_id: op.caller.user_id }),
            Change::Kick { user_id, .. } => self.write_expulsion(*user_id, batch),
            Change::SetRole { user_id, role, .. } => self.write_role(*user_id, role, batch),
            Change::Sanction { row } => {
                batch.write(Write::Sanction { row: row.clone() });
                if ends_membership(row.kind) && self.is_member(row.user_id) {
                    self.write_expulsion(row.user_id, batch);
                }
                if row.kind == SanctionKind::Ban && self.is_invited(row.user_id) {
                    batch.write(Write::DropInvite { room_id, user_id: row.user_id });
                }
            }
            Change::Lift { row } => batch.write(Write::Sanction { row: row.clone() }),
            _ => unreachable!("no change of a room"),
        }
    }

    fn write_expulsion(&mut self, user_id: UserId, batch: &mut Building) {
        let room_id = self.id();
        self.tip.member_count = self.tip.member_count.saturating_sub(1);
        batch.write(Write::DropMember { room_id, user_id });
        batch.write(Write::MemberCount { room_id, count: self.tip.member_count });
    }

    fn write_role(&self, user_id: UserId, role: &str, batch: &mut Building) {
        let room_id = self.id();
        let mut put = |member: Option<&MemberRow>, role: &str| {
            if let Some(member) = member {
                let member = MemberRow { role: role.into(), ..member.clone() };
                batch.write(Write::PutMember { room_id, member });
            }
        };
        put(self.member(user_id), role);
        if role == rights::OWNER {
            let old = self.meta.owner_id.filter(|old| *old != user_id);
            // Somebody may have been expelled as the owner, and have come back since.
            let old = old.and_then(|old| self.member(old)).filter(|old| &*old.role == rights::OWNER);
            put(old, rights::MODERATOR);
            batch.write(Write::UpdateRoom { meta: RoomMeta { owner_id: Some(user_id), ..self.meta.clone() } });
        }
    }
}

/// The membership is over with it.
pub(super) fn ends_membership(kind: SanctionKind) -> bool {
    matches!(kind, SanctionKind::Kick | SanctionKind::Ban)
}

fn sanction_members<'a>(o: Object<'a>, row: &SanctionRow) -> Object<'a> {
    let mut o = o.uint("user_id", row.user_id.0).text("kind", row.kind.name());
    opt_time(o.key("expires_at"), row.expires_at);
    o
}
