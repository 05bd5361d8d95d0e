//! What was looked up for commands that depend on it, and what retention has taken from memory.

use super::recent::Recent;
use super::{Room, Work};
use crate::core::{Core, store_unavailable};
use crate::id::{Seq, UserId};
use crate::store::{LoadError, Loaded};
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
        self.pins_lost(core);
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
