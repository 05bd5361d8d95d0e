//! Edits, deletions, pins and reactions: what they need, and what they come to.

use super::{Change, Decided, Decision};
use crate::core::{Core, LoadFor, body, error, overloaded};
use crate::id::{Seq, UserId};
use crate::peer::{Caller, ReplyBody};
use crate::room::recent::Recent;
use crate::room::{Room, rights};
use crate::store::{Load, MessageState};
use crate::wire::encode::room_seq;
use crate::wire::json::object;
use crate::wire::{Command, CommandError, EditMessage, ErrorCode, Permission};

/// Messages remembered outside the ring; those that nothing under way needs are forgotten beyond.
const OLDER_MAX: usize = 256;

/// A message that a command names.
pub(in crate::room) enum Found {
    /// It is in memory: [`Room::recent`].
    Here,
    /// There is none of that id (any more).
    Nowhere,
    /// It is being looked up.
    Soon,
}

pub(in crate::room) fn no_message() -> Box<CommandError> {
    error(ErrorCode::MessageNotFound, "no such message")
}

impl Room {
    /// A message in memory.
    pub(in crate::room) fn recent(&self, seq: Seq) -> Option<&Recent> {
        self.ring.get(seq).or_else(|| self.older.get(&seq)?.as_ref())
    }

    /// Finds a message, or has it looked up.
    pub(in crate::room) fn find_message(
        &mut self,
        core: &mut Core,
        reader: UserId,
        seq: Seq,
    ) -> Result<Found, Box<CommandError>> {
        if seq > self.head || seq <= self.floor || seq.0 == 0 {
            return Ok(Found::Nowhere);
        }
        if let Some(recent) = self.ring.get(seq) {
            return Ok(if recent.is_message() { Found::Here } else { Found::Nowhere });
        }
        match self.older.get(&seq) {
            Some(Some(_)) => Ok(Found::Here),
            Some(None) => Ok(Found::Nowhere),
            None => self.look_up(core, reader, seq).map(|()| Found::Soon),
        }
    }

    /// Has the store asked for a message.
    pub(in crate::room) fn look_up(
        &mut self,
        core: &mut Core,
        reader: UserId,
        seq: Seq,
    ) -> Result<(), Box<CommandError>> {
        if !self.older_loading.contains(&(seq, reader)) {
            let load = Load::Message { room_id: self.id(), message_id: seq, reader };
            let purpose = LoadFor::Message { room_id: self.id(), message_id: seq, reader };
            core.load(load, purpose).map_err(|_| overloaded())?;
            self.older_loading.push((seq, reader));
        }
        Ok(())
    }

    /// A message is needed by something under way: it stays in memory.
    pub(in crate::room) fn hold_message(&mut self, seq: Seq) {
        *self.holds.entry(seq).or_default() += 1;
    }

    pub(in crate::room) fn release_message(&mut self, seq: Seq) {
        super::release(&mut self.holds, seq);
    }

    /// Remembers a message outside the ring.
    pub(in crate::room) fn keep_older(&mut self, seq: Seq, message: Option<Recent>) {
        if self.older.len() >= OLDER_MAX {
            let (holds, loading) = (&self.holds, &self.older_loading);
            self.older.retain(|seq, _| holds.contains_key(seq) || loading.iter().any(|(loaded, _)| loaded == seq));
        }
        self.older.insert(seq, message);
    }

    pub(super) fn decide_message(&mut self, core: &mut Core, caller: &Caller, command: &Command) -> Decided {
        use Command as C;
        let (message_id, permission, writes) = match command {
            C::EditMessage(edit) => (edit.message_id, Permission::EditOwn, true),
            C::DeleteMessage { message_id, .. } => (*message_id, Permission::Read, false),
            C::PinMessage { message_id, .. } => (*message_id, Permission::Pin, true),
            C::UnpinMessage { message_id, .. } => (*message_id, Permission::Pin, false),
            C::AddReaction { message_id, .. } => (*message_id, Permission::React, true),
            C::RemoveReaction { message_id, .. } => (*message_id, Permission::React, false),
            other => unreachable!("{} changes no message", other.kind().name()),
        };
        if writes {
            self.require_writer(caller, permission, core.now.wall)?;
            self.require_unblocked(caller)?;
        } else {
            self.require(caller, permission)?;
        }
        match self.find_message(core, caller.user_id, message_id)? {
            Found::Soon => return Ok(Decision::Wait),
            Found::Nowhere => return Err(no_message()),
            Found::Here if self.sealed.contains_key(&message_id) => return Ok(Decision::Wait),
            Found::Here => {}
        }
        match command {
            C::EditMessage(edit) => self.decide_edit(core, caller, edit),
            C::DeleteMessage { reason, .. } => self.decide_delete(caller, message_id, reason),
            C::PinMessage { .. } => self.decide_pin(core, message_id, true),
            C::UnpinMessage { .. } => self.decide_pin(core, message_id, false),
            C::AddReaction { emoji, .. } => self.decide_reaction(core, caller, message_id, emoji, true),
            C::RemoveReaction { emoji, .. } => self.decide_reaction(core, caller, message_id, emoji, false),
            _ => unreachable!("matched above"),
        }
    }

    fn message(&self, message_id: Seq) -> &Recent {
        self.recent(message_id).expect("it was found")
    }

    /// A message that is not deleted.
    fn live(&self, message_id: Seq) -> Result<&Recent, Box<CommandError>> {
        let message = self.message(message_id);
        if message.is_deleted() { Err(no_message()) } else { Ok(message) }
    }

    fn decide_edit(&mut self, core: &mut Core, caller: &Caller, edit: &EditMessage) -> Decided {
        let message_id = edit.message_id;
        let message = self.live(message_id)?;
        if message.author_id != Some(caller.user_id) {
            return Err(error(ErrorCode::PermissionDenied, "only its author may edit a message"));
        }
        let age_us = (core.now.wall.0 - message.at.0).max(0) as u64 * 1000;
        if core.limits.edit_window_us > 0 && age_us > core.limits.edit_window_us {
            return Err(error(ErrorCode::PermissionDenied, "the time for editing is over"));
        }
        if edit.content_chars > core.limits.max_message_length {
            return Err(crate::room::submit::too_long());
        }
        if message.has_content(&edit.content) {
            return Ok(edited_body(self, message_id, self.head, message.state.as_deref(), message.at).into());
        }
        let mentioned = match self.mentioned(core, caller, &edit.content) {
            Ok(mentioned) => mentioned,
            Err(None) => return Ok(Decision::Wait),
            Err(Some(error)) => return Err(error),
        };
        let (content, reason) = (edit.content.clone(), edit.reason.clone());
        Ok(Decision::Change(Change::Edit { message_id, content, mentioned, reason }))
    }

    fn decide_delete(&self, caller: &Caller, message_id: Seq, reason: &Option<Box<str>>) -> Decided {
        let message = self.message(message_id);
        let own = message.author_id == Some(caller.user_id);
        let allowed = (own && self.has(caller, Permission::DeleteOwn)) || self.has(caller, Permission::DeleteAny);
        if !allowed {
            return Err(rights::denied());
        }
        if message.is_deleted() {
            return Ok(body("message_deleted", message_seq(self, message_id, self.head)).into());
        }
        Ok(Decision::Change(Change::Delete { message_id, reason: reason.clone() }))
    }

    fn decide_pin(&mut self, core: &mut Core, message_id: Seq, pinned: bool) -> Decided {
        if !self.knows_pins(core) {
            return Ok(Decision::Wait);
        }
        let message = self.live(message_id)?;
        if message.state.as_ref().is_some_and(|state| state.pinned.is_some()) == pinned {
            return Ok(body(pin_reply(pinned), message_seq(self, message_id, self.head)).into());
        }
        let most = core.limits.max_pins_per_room;
        if pinned && most > 0 && self.pinned_count + self.pending_pins >= most {
            return Err(error(ErrorCode::Conflict, "the room has as many pinned messages as it may"));
        }
        Ok(Decision::Change(Change::Pin { message_id, pinned }))
    }

    fn decide_reaction(
        &mut self,
        core: &mut Core,
        caller: &Caller,
        message_id: Seq,
        emoji: &str,
        add: bool,
    ) -> Decided {
        let user = caller.user_id;
        let message = self.live(message_id)?;
        // A look-up of the own reactions and a change of them keep apart: whose answer comes last would not be known.
        if self.reacting.contains_key(&(message_id, user)) || self.older_loading.contains(&(message_id, user)) {
            return Ok(Decision::Wait);
        }
        let own: Vec<Box<str>> = match self.own_reactions.get(&(message_id, user)) {
            Some(own) => own.clone(),
            None if message.knows(user) => message.own_reactions(user).map(Into::into).collect(),
            None => {
                self.look_up(core, user, message_id)?;
                return Ok(Decision::Wait);
            }
        };
        let message = self.message(message_id);
        if own.iter().any(|known| **known == *emoji) == add {
            let count = message.reaction_count(emoji);
            return Ok(reaction_body(self, message_id, self.head, emoji, count, add).into());
        }
        let most = core.limits.max_reactions_per_message as usize;
        if add && most > 0 && own.len() >= most {
            return Err(error(ErrorCode::Conflict, "as many reactions to this message as one may have"));
        }
        Ok(Decision::Change(Change::React { message_id, emoji: emoji.into(), add }))
    }
}

/// The reply to `edit_message`.
pub(super) fn edited_body(
    room: &Room,
    message_id: Seq,
    seq: Seq,
    state: Option<&MessageState>,
    created_at: crate::time::WallMs,
) -> ReplyBody {
    let edited_at = state.and_then(|state| state.edited_at).unwrap_or(created_at);
    let data = object(|o| {
        o.uint("room_id", room.id().0)
            .uint("message_id", message_id.0)
            .uint("seq", seq.0)
            .time("edited_at", edited_at)
            .uint("edit_count", state.map_or(0, |state| u64::from(state.edit_count)))
            .end();
    });
    body("message_edited", data)
}

/// `{room_id, message_id, seq}`.
pub(super) fn message_seq(room: &Room, message_id: Seq, seq: Seq) -> Vec<u8> {
    object(|o| o.uint("room_id", room.id().0).uint("message_id", message_id.0).uint("seq", seq.0).end())
}

pub(super) fn pin_reply(pinned: bool) -> &'static str {
    if pinned { "message_pinned" } else { "message_unpinned" }
}

/// The reply to `add_reaction` and `remove_reaction`.
pub(super) fn reaction_body(room: &Room, message_id: Seq, seq: Seq, emoji: &str, count: u32, add: bool) -> ReplyBody {
    let data = object(|o| {
        o.uint("room_id", room.id().0)
            .uint("message_id", message_id.0)
            .uint("seq", seq.0)
            .text("emoji", emoji)
            .uint("count", u64::from(count))
            .end();
    });
    body(if add { "reaction_added" } else { "reaction_removed" }, data)
}

/// `{room_id, seq}` as the reply of this type.
pub(super) fn plain(kind: &'static str, room: &Room, seq: Seq) -> ReplyBody {
    body(kind, room_seq(room.id(), seq))
}
