//! How many messages are pinned. After retention has removed some, the store must be asked, and what depends on the count
//! waits for the answer.

use super::verb::Change;
use super::{OpKind, Room};
use crate::core::{Core, LoadFor};
use crate::id::UserId;
use crate::store::{Load, LoadError, Loaded};
use crate::wire::Command;

/// What is known of the count in [`Room::pinned_count`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pins {
    /// It is right.
    Known,
    /// It is too high, and nobody has been asked yet: something under way would change the answer, or the last one failed.
    Unknown,
    /// The store is asked; `is_stale`: what has happened since may be in the answer, or not.
    Counting { is_stale: bool },
}

impl Room {
    /// Retention has removed events; pinned messages may have been among them.
    pub(super) fn pins_lost(&mut self, core: &mut Core) {
        match &mut self.pins {
            Pins::Known if self.pinned_count + self.pending_pins == 0 => {}
            Pins::Known | Pins::Unknown => {
                self.pins = Pins::Unknown;
                self.count_pins(core);
            }
            Pins::Counting { is_stale } => *is_stale = true,
        }
    }

    /// Asks for the count, as soon as nothing under way changes it.
    pub(super) fn count_pins(&mut self, core: &mut Core) {
        let moves = |kind: &OpKind| matches!(kind, OpKind::Change(change) if self.moves_pins(&change.what));
        if self.pins == Pins::Unknown && !self.pending.iter().any(|op| moves(&op.kind)) {
            self.pins = Pins::Counting { is_stale: false };
            let load = Load::Pinned { room_id: self.id(), reader: UserId(0) };
            core.load_always(load, LoadFor::PinCount { room_id: self.id() });
        }
    }

    /// A change begins.
    pub(super) fn note_pins(&mut self, change: &Change) {
        if matches!(self.pins, Pins::Counting { .. }) && self.moves_pins(change) {
            self.pins = Pins::Counting { is_stale: true };
        }
    }

    fn moves_pins(&self, change: &Change) -> bool {
        match change {
            Change::Pin { .. } => true,
            Change::Delete { message_id, .. } => self.recent(*message_id).is_none_or(|message| message.is_pinned()),
            _ => false,
        }
    }

    /// The store has answered.
    pub fn pins_counted(&mut self, core: &mut Core, result: Result<Loaded, LoadError>) {
        let Pins::Counting { is_stale } = self.pins else { return };
        self.pins = Pins::Unknown;
        match result {
            Ok(Loaded::Pinned(pinned)) if !is_stale => {
                self.pinned_count = pinned.len() as u32;
                self.pins = Pins::Known;
                self.retry_waiting(core);
            }
            Ok(_) => self.count_pins(core),
            Err(_) => self.refuse_waiting(core, |command| {
                use Command as C;
                matches!(command, C::PinMessage { .. } | C::UnpinMessage { .. } | C::GetRoomStats { .. })
            }),
        }
    }

    /// Whether the count may be used; else it is being asked for.
    pub(super) fn knows_pins(&mut self, core: &mut Core) -> bool {
        self.count_pins(core);
        self.pins == Pins::Known
    }
}
