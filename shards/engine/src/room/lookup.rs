//! What was looked up for commands that depend on it, and what retention has taken from memory.

use super::recent::Recent;
use super::verb::Change;
use super::{Op, OpKind, Room, Work};
use crate::core::{Core, LoadFor, store_unavailable};
use crate::id::{Seq, UserId};
use crate::store::{Load, LoadError, Loaded};
use crate::wire::Command;

impl Room {
    /// A looked-up message is here: what waited for it goes on.
    pub fn message_loaded(
        &mut self,
        core: &mut Core,
        message_id: Seq,
        reader: UserId,
        result: Result<Loaded, LoadError>,
    ) {
        self.older_loading.retain(|loading| *loading != (message_id, reader));
        let Ok(Loaded::Message(record)) = result else {
            return self.refuse_waiting(core, names_message);
        };
        if self.own_reactions.len() >= OWN_REACTIONS_MAX {
            self.own_reactions.clear();
        }
        match record {
            None => self.keep_older(message_id, None),
            Some(record) => {
                let loaded = Recent::new(&record);
                if !loaded.knows(reader) || self.recent(message_id).is_some_and(|known| !known.knows(reader)) {
                    let own = loaded.own_reactions(reader).map(Into::into).collect();
                    self.own_reactions.insert((message_id, reader), own);
                }
                if self.recent(message_id).is_some() {
                    // What memory has is not older than the answer, but it may not know the thread's participants.
                    let participants = record.state.map(|state| state.participants).unwrap_or_default();
                    self.change_message(message_id, |known| {
                        if known.state.as_ref().is_some_and(|state| state.participants.is_empty()) {
                            known.state_mut().participants = participants.clone();
                        }
                    });
                } else {
                    self.keep_older(message_id, Some(loaded));
                }
            }
        }
        self.retry_waiting(core);
    }

    /// The database does not answer: the commands that need it are told so.
    pub(super) fn refuse_waiting(&mut self, core: &mut Core, needs_it: impl Fn(&Command) -> bool) {
        let waiting = std::mem::take(&mut self.waiting);
        for entry in waiting {
            let hit = matches!(&entry.work, Work::Command { command, .. } if needs_it(command));
            if hit {
                let asker = entry.work.asker();
                self.busy_mut(asker).waiting -= 1;
                self.forget_idle(asker);
                self.refuse(core, entry.work, store_unavailable());
            } else {
                self.waiting.push_back(entry);
            }
        }
        self.retry_waiting(core);
    }

    /// Retention has removed events.
    pub fn retained(&mut self, core: &mut Core, floor: Seq) {
        self.floor = self.floor.max(floor.min(self.head));
        self.ring.trim(self.floor);
        let (floor, holds) = (self.floor, &self.holds);
        self.older.retain(|seq, _| *seq > floor || holds.contains_key(seq));
        self.pin_changes += 1;
        if self.pinned_count > 0 {
            self.count_pins(core);
        }
    }

    /// Asks how many messages are pinned: retention does not say what it has removed.
    pub fn count_pins(&mut self, core: &mut Core) {
        if self.pins_asked.is_none() {
            self.pins_asked = Some(self.pin_changes);
            let load = Load::Pinned { room_id: self.id(), reader: UserId(0) };
            core.load_always(load, LoadFor::PinCount { room_id: self.id() });
        }
    }

    /// The store has counted. `false`: in vain, or other than what is committed here by now; it must count again.
    pub fn pins_counted(&mut self, result: Result<Loaded, LoadError>) -> bool {
        let unchanged = self.pins_asked.take() == Some(self.pin_changes);
        let changing = |op: &Op| match &op.kind {
            OpKind::Change(change) => matches!(change.what, Change::Pin { .. } | Change::Delete { .. }),
            _ => false,
        };
        match result {
            Ok(Loaded::Pinned(pinned)) if unchanged && !self.pending.iter().any(changing) => {
                self.pinned_count = pinned.len() as u32;
                true
            }
            _ => false,
        }
    }
}

/// Whether the command names a message that it depends on.
fn names_message(command: &Command) -> bool {
    use Command as C;
    match command {
        C::SendMessage(send) => send.parent_id.is_some(),
        C::EditMessage(_)
        | C::DeleteMessage { .. }
        | C::PinMessage { .. }
        | C::UnpinMessage { .. }
        | C::AddReaction { .. }
        | C::RemoveReaction { .. }
        | C::GetEdits { .. }
        | C::GetThread { .. }
        | C::GetReactions { .. } => true,
        _ => false,
    }
}

/// Own reactions remembered outside the messages; all are forgotten beyond.
const OWN_REACTIONS_MAX: usize = 4096;
