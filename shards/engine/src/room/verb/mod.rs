//! Changes of a room besides sending, joining, leaving and reading: each is decided ([`message`], [`people`],
//! [`settings`]), written ([`rows`]) and applied ([`apply`]). What they keep from each other while one is under way is in
//! `begin` and `end`.

mod apply;
mod message;
mod people;
mod rows;
mod settings;

use super::{OpKind, Room, Work};
use crate::core::{Core, Outcome, RoomQuery};
use crate::id::{Seq, UserId};
use crate::peer::{Caller, Origin, ReplyBody};
use crate::store::{EventRow, Load, RoleRow, RoomMeta, SanctionRow};
use crate::time::WallMs;
use crate::wire::{Command, CommandError};

pub(super) use message::{Found, no_message};
pub(super) use people::lifted_body;

/// A change under way.
#[derive(Debug)]
pub(super) struct ChangeOp {
    pub caller: Caller,
    pub at: WallMs,
    pub what: Change,
    /// The event as it stands in the batch, for changes that have one.
    pub row: Option<EventRow>,
    /// Of an edit: whom the message mentioned before.
    pub told: Box<[UserId]>,
}

/// What changes.
#[derive(Debug)]
pub(super) enum Change {
    Edit { message_id: Seq, content: Box<str>, mentioned: super::mentions::Mentioned, reason: Option<Box<str>> },
    Delete { message_id: Seq, reason: Option<Box<str>> },
    Pin { message_id: Seq, pinned: bool },
    React { message_id: Seq, emoji: Box<str>, add: bool },
    Update { meta: Box<RoomMeta> },
    DeleteRoom,
    PutRole { role: RoleRow, reply: &'static str },
    DropRole { name: Box<str> },
    Invite { user_id: UserId },
    Decline,
    Kick { user_id: UserId, username: Box<str>, reason: Option<Box<str>> },
    SetRole { user_id: UserId, username: Box<str>, role: Box<str> },
    Sanction { row: SanctionRow },
    Lift { row: SanctionRow },
}

/// What is to be done about a command.
pub(super) enum Decision {
    /// It must wait for data, or for an earlier change.
    Wait,
    /// It is answered at once.
    Answer(Outcome),
    /// It changes something.
    Change(Change),
    /// The store must be asked.
    Ask(Load, RoomQuery),
}

/// A decision, or why not.
pub(super) type Decided = Result<Decision, Box<CommandError>>;

impl From<ReplyBody> for Decision {
    fn from(reply: ReplyBody) -> Decision {
        Decision::Answer(Ok(reply))
    }
}

/// Bytes that a change counts in the journal besides its text.
const CHANGE_BYTES: usize = 384;

impl Room {
    /// Judges a command that is none of the foundation's.
    pub(super) fn judge_verb(
        &mut self,
        core: &mut Core,
        origin: Origin,
        caller: Caller,
        command: Box<Command>,
    ) -> Option<Work> {
        if let Some(subject) = command.subject() {
            if self.locked.contains_key(&subject) {
                return Some(Work::Command { origin, caller, command });
            }
            if !self.members.contains_key(&subject) {
                self.want_members([subject]);
                self.load_members(core);
                return Some(Work::Command { origin, caller, command });
            }
        }
        let decided = self.decide(core, &caller, &command).unwrap_or_else(|error| Decision::Answer(Err(error)));
        match decided {
            Decision::Wait => return Some(Work::Command { origin, caller, command }),
            Decision::Answer(outcome) => self.answer(core, caller.user_id, origin, outcome, None),
            Decision::Ask(load, what) => self.start_query(core, origin, caller, load, what),
            Decision::Change(what) => self.push_change(core, origin, caller, what),
        }
        None
    }

    fn decide(&mut self, core: &mut Core, caller: &Caller, command: &Command) -> Decided {
        use Command as C;
        match command {
            C::EditMessage(_)
            | C::DeleteMessage { .. }
            | C::PinMessage { .. }
            | C::UnpinMessage { .. }
            | C::AddReaction { .. }
            | C::RemoveReaction { .. } => self.decide_message(core, caller, command),
            C::InviteMember { .. }
            | C::KickMember { .. }
            | C::SetMemberRole { .. }
            | C::SanctionUser(_)
            | C::LiftSanction { .. }
            | C::ListSanctions { .. } => self.decide_people(core, caller, command),
            C::UpdateRoom(_)
            | C::DeleteRoom { .. }
            | C::CreateRole { .. }
            | C::UpdateRole { .. }
            | C::DeleteRole { .. }
            | C::ListRoles { .. } => self.decide_settings(core, caller, command),
            other => self.decide_query(core, caller, other),
        }
    }

    /// Enters a change that was decided.
    pub(super) fn push_change(&mut self, core: &mut Core, origin: Origin, caller: Caller, what: Change) {
        let user_id = caller.user_id;
        if let Err(error) = core.admit(user_id) {
            return self.answer(core, user_id, origin, Err(error), None);
        }
        let bytes = CHANGE_BYTES + what.text_bytes();
        let change = ChangeOp { caller, at: core.now.wall, what, row: None, told: Box::default() };
        self.begin(&change);
        self.push_op(core, OpKind::Change(Box::new(change)), user_id, Some(origin), bytes);
    }

    /// What others must wait for while the change is under way.
    fn begin(&mut self, change: &ChangeOp) {
        self.note_pins(&change.what);
        if let Some(message) = change.what.message_id() {
            self.hold_message(message);
        }
        match &change.what {
            Change::Edit { message_id, .. } | Change::Delete { message_id, .. } => {
                *self.sealed.entry(*message_id).or_default() += 1;
            }
            Change::Pin { message_id, pinned } => {
                *self.sealed.entry(*message_id).or_default() += 1;
                self.pending_pins += u32::from(*pinned);
            }
            Change::React { message_id, .. } => {
                *self.reacting.entry((*message_id, change.caller.user_id)).or_default() += 1;
            }
            what if what.is_barrier() => self.barriers += 1,
            what => {
                let user = what.user_id().unwrap_or(change.caller.user_id);
                *self.locked.entry(user).or_default() += 1;
            }
        }
    }

    /// The change is through, one way or the other.
    pub(super) fn end(&mut self, change: &ChangeOp) {
        match &change.what {
            Change::Edit { message_id, .. } | Change::Delete { message_id, .. } => {
                release(&mut self.sealed, *message_id)
            }
            Change::Pin { message_id, pinned } => {
                release(&mut self.sealed, *message_id);
                self.pending_pins -= u32::from(*pinned);
            }
            Change::React { message_id, .. } => {
                release(&mut self.reacting, (*message_id, change.caller.user_id));
            }
            what if what.is_barrier() => self.barriers -= 1,
            what => {
                let user = what.user_id().unwrap_or(change.caller.user_id);
                self.unlock(user);
            }
        }
        if let Some(message) = change.what.message_id() {
            self.release_message(message);
        }
    }
}

/// One use less.
pub(super) fn release<K: Eq + std::hash::Hash>(counts: &mut crate::map::Map<K, u32>, key: K) {
    if let Some(count) = counts.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

impl Change {
    /// The message that it is about.
    fn message_id(&self) -> Option<Seq> {
        match self {
            Change::Edit { message_id, .. }
            | Change::Delete { message_id, .. }
            | Change::Pin { message_id, .. }
            | Change::React { message_id, .. } => Some(*message_id),
            _ => None,
        }
    }

    /// The user that it is about.
    fn user_id(&self) -> Option<UserId> {
        match self {
            Change::Invite { user_id } | Change::Kick { user_id, .. } | Change::SetRole { user_id, .. } => {
                Some(*user_id)
            }
            Change::Sanction { row } | Change::Lift { row } => Some(row.user_id),
            _ => None,
        }
    }

    /// Everything else in the room waits for it.
    fn is_barrier(&self) -> bool {
        match self {
            Change::Update { .. } | Change::DeleteRoom | Change::PutRole { .. } | Change::DropRole { .. } => true,
            Change::SetRole { role, .. } => &**role == super::rights::OWNER,
            _ => false,
        }
    }

    /// Takes a `seq`.
    pub(super) fn is_event(&self) -> bool {
        !matches!(
            self,
            Change::PutRole { .. }
                | Change::DropRole { .. }
                | Change::Invite { .. }
                | Change::Decline
                | Change::Lift { .. }
        )
    }

    fn text_bytes(&self) -> usize {
        match self {
            Change::Edit { content, .. } => content.len(),
            _ => 0,
        }
    }
}
