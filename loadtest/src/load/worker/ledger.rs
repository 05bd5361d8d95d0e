//! The checker of one worker: what its senders were promised and its receivers were shown, room by room and `seq` by
//! `seq`, and in the end what the histories say.

use super::scan::{Identity, hash, identity};
use crate::check::Violations;
use std::collections::{HashMap, VecDeque};

/// Events that are remembered of all rooms together; beyond, the oldest are forgotten (their order was checked).
const EVENTS_MAX: usize = 4 << 20;
/// The same of a room, at least.
const ROOM_EVENTS_MIN: usize = 4 << 10;
/// A `seq` this far beyond the last one is a fault, and nothing to make room for.
const JUMP_MAX: u64 = 1 << 20;
/// Newest messages of a room, for verbs that want one.
const RECENT_MAX: usize = 16;

/// What is known of one event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Slot {
    /// Of its sender's promise or of its first sight; 0: of neither.
    hash: u64,
    seen: bool,
    acked: bool,
    message: bool,
    /// Nobody here was to see it.
    excused: bool,
}

/// A message after an edit or its deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Edited(u64),
    Deleted,
}

/// One room.
#[derive(Debug, Default)]
pub struct Room {
    /// `room_id`; 0 while it is not known.
    pub id: u64,
    /// Events up to this one are not remembered.
    pub base: u64,
    slots: VecDeque<Slot>,
    /// The highest `seq` that anybody has named.
    pub head: u64,
    changes: HashMap<u64, (u64, Change)>,
    /// Ids of the newest messages.
    pub recent: VecDeque<u64>,
    begun: bool,
}

/// What an event is to the checker.
#[derive(Clone, Copy, Debug)]
pub enum Shown<'a> {
    /// A message of this run.
    Message(Identity),
    /// A message without its content, which has been deleted since.
    DeletedMessage,
    /// The edit of a message: its new content.
    Edit(u64, &'a str),
    /// The deletion of one.
    Delete(u64),
    /// Anything else, by its hash.
    Other(u64),
}

/// One message as a history shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// `message_id`.
    pub id: u64,
    /// Of its identity; 0 without content.
    pub identity: u64,
    /// Of its whole content.
    pub content: u64,
    /// Neither edited nor deleted, and filled as it was sent.
    pub whole: bool,
    /// `is_deleted`.
    pub deleted: bool,
}

impl Found {
    /// A message from a history.
    pub fn new(id: u64, content: &str, deleted: bool, run: &str, bytes: usize) -> Found {
        let named = identity(content, run, bytes);
        let whole = named.is_some_and(|(_, whole)| whole);
        Found { id, identity: named.map_or(0, |(of, _)| of.hash()), content: hash(content.as_bytes()), whole, deleted }
    }
}

/// All rooms of a worker.
#[derive(Debug, Default)]
pub struct Ledger {
    /// By their numbers in the plan.
    pub rooms: Vec<Room>,
    /// What was broken.
    pub violations: Violations,
    /// Events looked at.
    pub checked: u64,
    /// Events forgotten.
    pub forgotten: u64,
    room_events_max: usize,
}

impl Ledger {
    /// For so many rooms.
    pub fn new(rooms: usize) -> Ledger {
        Ledger {
            rooms: (0..rooms).map(|_| Room::default()).collect(),
            room_events_max: (EVENTS_MAX / rooms.max(1)).max(ROOM_EVENTS_MIN),
            ..Ledger::default()
        }
    }

    /// A client has joined a room: its view begins after `seq`.
    pub fn joined(&mut self, room: usize, seq: u64) {
        let room = &mut self.rooms[room];
        if !room.begun {
            (room.begun, room.base, room.head) = (true, seq, seq);
        }
        room.head = room.head.max(seq);
    }

    /// A client was away, by its own will, for the events after `from` up to `to`.
    pub fn skipped(&mut self, room: usize, from: u64, to: u64) {
        for seq in from + 1..=to.min(from.saturating_add(JUMP_MAX)) {
            if let Some(slot) = self.slot(room, seq) {
                slot.excused = true;
            }
        }
    }

    /// Where an event belongs; none for one that is forgotten, or impossible.
    fn slot(&mut self, room: usize, seq: u64) -> Option<&mut Slot> {
        let of = &mut self.rooms[room];
        of.head = of.head.max(seq);
        let place = seq.checked_sub(of.base + 1)?;
        if place > of.slots.len() as u64 + JUMP_MAX {
            self.violations.add(format!("room {}: seq {seq} after {}", of.id, of.base + of.slots.len() as u64));
            return None;
        }
        let place = place as usize;
        if place >= of.slots.len() {
            of.slots.resize(place + 1, Slot::default());
        }
        if of.slots.len() > self.room_events_max {
            let extra = of.slots.len() - self.room_events_max;
            let lost = of.slots.drain(..extra).filter(|slot| slot.acked && !slot.seen).count();
            of.base += extra as u64;
            self.forgotten += extra as u64;
            let base = of.base;
            of.changes.retain(|message, _| *message > base);
            if lost > 0 {
                let (id, base) = (of.id, of.base);
                self.violations.add(format!("room {id}: {lost} acknowledged events up to {base} were never seen"));
            }
        }
        let place = seq.checked_sub(self.rooms[room].base + 1)?;
        self.rooms[room].slots.get_mut(place as usize)
    }

    /// A sender was told that its message is event `seq`.
    pub fn acknowledged(&mut self, room: usize, seq: u64, identity: Identity) {
        let hash = identity.hash();
        let Some(slot) = self.slot(room, seq) else { return };
        slot.acked = true;
        if slot.hash == 0 {
            (slot.hash, slot.message) = (hash, true);
        } else if slot.hash != hash {
            let id = self.rooms[room].id;
            self.violations.add(format!("room {id}: {identity:?} was acknowledged as {seq}, which is another event"));
        }
    }

    /// An event was acknowledged that this ledger knows nothing else of.
    pub fn named(&mut self, room: usize, seq: u64) {
        let room = &mut self.rooms[room];
        room.head = room.head.max(seq);
    }

    /// A client, whose last event was `last`, is shown event `seq`. Live ones of its own it must know already.
    pub fn event(&mut self, room: usize, last: u64, seq: u64, shown: Shown<'_>, own_and_live: bool) {
        self.checked += 1;
        let id = self.rooms[room].id;
        if seq != last + 1 {
            self.violations.add(format!("room {id}: a client was shown {seq} after {last}"));
        }
        let (hash, message) = match shown {
            Shown::Message(identity) => (identity.hash(), true),
            Shown::DeletedMessage => (0, true),
            Shown::Edit(message, _) => (super::scan::hash_event("edit", message), false),
            Shown::Delete(message) => (super::scan::hash_event("delete", message), false),
            Shown::Other(hash) => (hash, false),
        };
        let Some(slot) = self.slot(room, seq) else { return };
        let before = *slot;
        slot.seen = true;
        if slot.hash == 0 {
            slot.hash = hash;
        }
        slot.message |= message;
        let known = before.seen || before.acked;
        if known && (before.message != message || (hash != 0 && before.hash != 0 && before.hash != hash)) {
            self.violations.add(format!("room {id}: {seq} was shown as {shown:?}, and before as another event"));
        }
        if own_and_live && !before.acked {
            self.violations.add(format!("room {id}: a client was shown its {seq} before it was acknowledged"));
        }
        if !before.seen {
            self.first_sight(room, seq, shown);
        }
    }

    fn first_sight(&mut self, room: usize, seq: u64, shown: Shown<'_>) {
        let room = &mut self.rooms[room];
        match shown {
            Shown::Message(_) => {
                if room.recent.len() == RECENT_MAX {
                    room.recent.pop_front();
                }
                room.recent.push_back(seq);
            }
            Shown::Edit(message, content) => {
                let change = Change::Edited(hash(content.as_bytes()));
                let newest = room.changes.entry(message).or_insert((seq, change));
                if newest.0 < seq && newest.1 != Change::Deleted {
                    *newest = (seq, change);
                }
            }
            Shown::Delete(message) => {
                room.changes.insert(message, (seq, Change::Deleted));
                room.recent.retain(|recent| *recent != message);
            }
            Shown::DeletedMessage | Shown::Other(_) => {}
        }
    }

    /// A page that a client has read shows a message.
    pub fn read(&mut self, room: usize, found: Found) {
        let Some(place) = found.id.checked_sub(self.rooms[room].base + 1) else { return };
        let slot = self.rooms[room].slots.get(place as usize).copied().unwrap_or_default();
        if slot.seen && (!slot.message || (slot.hash != found.identity && !found.deleted && slot.hash != 0)) {
            let id = self.rooms[room].id;
            self.violations.add(format!("room {id}: a page shows {} as another message", found.id));
        }
    }

    /// Holds one room against its history (from [`Room::base`] on, ascending) and its head.
    pub fn compare(&mut self, room: usize, head: u64, history: &[Found]) {
        let of = &self.rooms[room];
        let mut wrong = Vec::new();
        if head != of.head {
            wrong.push(format!("its head is {head}, clients were told of {}", of.head));
        }
        let mut found = history.iter().filter(|found| found.id > of.base).peekable();
        for (place, slot) in of.slots.iter().enumerate() {
            let seq = of.base + place as u64 + 1;
            if !slot.seen && !slot.excused {
                let was = if slot.acked { "acknowledged" } else { "not acknowledged" };
                wrong.push(format!("{seq}, {was}, was never seen"));
            }
            let here = found.next_if(|found| found.id == seq);
            match here {
                None if slot.message => wrong.push(format!("message {seq} is lost")),
                Some(_) if slot.seen && !slot.message => {
                    wrong.push(format!("message {seq} was shown as another event"))
                }
                Some(here) => {
                    wrong.extend(differs(slot, here, of.changes.get(&seq)).map(|how| format!("message {seq} {how}")))
                }
                None => {}
            }
        }
        wrong.extend(found.map(|found| format!("message {} was never seen, or comes twice", found.id)));
        let id = of.id;
        for what in wrong {
            self.violations.add(format!("room {id}: {what}"));
        }
    }
}

/// What is wrong with a message of a history.
fn differs(slot: &Slot, found: &Found, change: Option<&(u64, Change)>) -> Option<&'static str> {
    match change.map(|(_, change)| *change) {
        _ if !found.deleted && found.identity == 0 => Some("is nobody's"),
        Some(Change::Deleted) => (!found.deleted).then_some("was deleted, and is there"),
        // Nobody saw what happened to it meanwhile.
        _ if slot.excused => None,
        _ if found.deleted => Some("is deleted, which nobody was told"),
        _ if slot.hash != 0 && slot.hash != found.identity => Some("is another one than it was"),
        Some(Change::Edited(content)) => (content != found.content).then_some("is not as its last edit left it"),
        None => (!found.whole).then_some("is changed, which nobody was told"),
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
