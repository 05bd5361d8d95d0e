//! The checker of one worker: what its senders were promised and its receivers were shown, room by room and `seq` by
//! `seq`, and in the end what the histories say.

use super::scan::{Identity, hash, hash_event, identity};
use crate::check::Violations;
use std::collections::{HashMap, HashSet, VecDeque};

/// Events that are remembered of all rooms together; beyond, the oldest are forgotten (their order was checked).
const EVENTS_MAX: usize = 4 << 20;
/// The same of a room, at least.
const ROOM_EVENTS_MIN: usize = 4 << 10;
/// A `seq` this far beyond the last one is a fault, and nothing to make room for.
const JUMP_MAX: u64 = 1 << 20;
/// Newest messages of a room, for verbs that want one.
const RECENT_MAX: usize = 16;
/// Refused messages that are remembered; later ones are not held against the histories.
const REFUSED_MAX: usize = 1 << 20;
/// What the hash of an edit, and of a deletion, is made from.
const EDIT: &str = "edit";
const DELETE: &str = "delete";

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
    /// The newest change of each message, by the event that made it.
    changes: HashMap<u64, (u64, Change)>,
    /// What the newest edit of a message said when it was shown live, by that event.
    live_edits: HashMap<u64, (u64, u64)>,
    /// Ids of the newest messages.
    pub recent: VecDeque<u64>,
    begun: bool,
}

/// How a client comes to be shown an event.
#[derive(Clone, Copy, Debug, Default)]
pub struct View {
    /// The last one that it was shown of the room.
    pub last: u64,
    /// What was there, as far as anybody knew, before it last asked for what it had missed: of that it must be shown the
    /// outcome.
    pub floor: u64,
    /// The event comes as it happens, and not from a replay, which shows things as they are by now.
    pub live: bool,
    /// It is the client's own, whose acknowledgement must have come before.
    pub own: bool,
}

/// What an event is to the checker.
#[derive(Clone, Copy, Debug)]
pub enum Shown<'a> {
    /// A message of this run, and whether it is as it was sent (neither edited nor damaged).
    Message(Identity, bool),
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
    /// Messages that the server has refused for good: they must not be there.
    refused: HashSet<u64>,
    /// Ids of the users, by their numbers in the plan; 0 while not known.
    authors: Vec<u64>,
}

impl Ledger {
    /// For so many rooms and users.
    pub fn new(rooms: usize, users: usize) -> Ledger {
        Ledger {
            authors: vec![0; users],
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
            let lost = of.slots.drain(..extra).filter(|slot| slot.acked && !slot.seen && !slot.excused).count();
            of.base += extra as u64;
            self.forgotten += extra as u64;
            let base = of.base;
            of.changes.retain(|message, _| *message > base);
            of.live_edits.retain(|message, _| *message > base);
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
        self.promised(room, seq, identity.hash(), true);
    }

    /// A client was told that its edit (or deletion) of a message is event `seq`.
    pub fn changed(&mut self, room: usize, seq: u64, message: u64, deleted: bool) {
        self.promised(room, seq, hash_event(if deleted { DELETE } else { EDIT }, message), false);
    }

    fn promised(&mut self, room: usize, seq: u64, hash: u64, message: bool) {
        let Some(slot) = self.slot(room, seq) else { return };
        slot.acked = true;
        let known = slot.seen || slot.hash != 0;
        if !known {
            (slot.hash, slot.message) = (hash, message);
        } else if slot.message != message || (slot.hash != 0 && slot.hash != hash) {
            let id = self.rooms[room].id;
            self.violations.add(format!("room {id}: a command was acknowledged as {seq}, which is another event"));
        }
    }

    /// The server has refused a message for good.
    pub fn refused(&mut self, identity: Identity) {
        if self.refused.len() < REFUSED_MAX {
            self.refused.insert(identity.hash());
        }
    }

    /// A message of a user was shown, or a user has come: it must have the same id always.
    pub fn author(&mut self, user: u64, id: u64) {
        let Some(known) = self.authors.get_mut(user as usize) else {
            return self.violations.add(format!("user {user} is none of this run's"));
        };
        if *known == 0 {
            *known = id;
        } else if *known != id {
            let known = *known;
            self.violations.add(format!("user {user} has the id {known}, and then {id}"));
        }
    }

    /// An event was acknowledged that this ledger knows nothing else of.
    pub fn named(&mut self, room: usize, seq: u64) {
        let room = &mut self.rooms[room];
        room.head = room.head.max(seq);
    }

    /// A client is shown event `seq`.
    pub fn event(&mut self, room: usize, seq: u64, shown: Shown<'_>, view: View) {
        self.checked += 1;
        let (id, last) = (self.rooms[room].id, view.last);
        if seq != last + 1 {
            self.violations.add(format!("room {id}: a client was shown {seq} after {last}"));
        }
        let (hash, message) = match shown {
            Shown::Message(identity, _) => (identity.hash(), true),
            Shown::DeletedMessage => (0, true),
            Shown::Edit(message, _) => (hash_event(EDIT, message), false),
            Shown::Delete(message) => (hash_event(DELETE, message), false),
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
        if view.own && !before.acked {
            self.violations.add(format!("room {id}: a client was shown its {seq} before it was acknowledged"));
        }
        if let Shown::Message(_, whole) = shown
            && let Some(how) = self.stale(room, seq, view.floor, whole)
        {
            self.violations.add(format!("room {id}: {seq} was replayed {how}"));
        }
        if let (Shown::Edit(message, content), true) = (shown, view.live) {
            self.live_edit(room, seq, message, content);
        }
        if !before.seen {
            self.first_sight(room, seq, shown);
        }
    }

    /// All who are shown an edit as it happens are shown the same.
    fn live_edit(&mut self, room: usize, seq: u64, message: u64, content: &str) {
        let said = hash(content.as_bytes());
        let of = &mut self.rooms[room];
        let known = of.live_edits.entry(message).or_insert((seq, said));
        if known.0 < seq {
            *known = (seq, said);
        } else if known.0 == seq && known.1 != said {
            self.violations.add(format!("room {}: clients were shown different contents of the edit {seq}", of.id));
        }
    }

    /// Somebody was shown what a message has become: it must be that message.
    pub fn named_by_edit(&mut self, room: usize, message: u64, identity: Identity) {
        let of = &self.rooms[room];
        let slot = message.checked_sub(of.base + 1).and_then(|place| of.slots.get(place as usize));
        if slot.is_some_and(|slot| slot.hash != 0 && slot.hash != identity.hash()) {
            let id = of.id;
            self.violations.add(format!("room {id}: an edit of {message} has the content of {identity:?}"));
        }
    }

    /// What is out of date about a message that is shown with content, whole or not, when all events up to `floor` were
    /// there before it was asked for.
    fn stale(&self, room: usize, seq: u64, floor: u64, whole: bool) -> Option<&'static str> {
        match self.rooms[room].changes.get(&seq)? {
            (at, Change::Deleted) if *at <= floor => Some("with its content, after it was deleted"),
            (at, Change::Edited(_)) if *at <= floor && whole => Some("as it was before its edit"),
            _ => None,
        }
    }

    fn first_sight(&mut self, room: usize, seq: u64, shown: Shown<'_>) {
        let room = &mut self.rooms[room];
        match shown {
            Shown::Message(..) => {
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

    /// A page that a client has read shows a message; all events up to `floor` were there before it was asked for.
    pub fn read(&mut self, room: usize, found: Found, floor: u64) {
        let Some(place) = found.id.checked_sub(self.rooms[room].base + 1) else { return };
        let slot = self.rooms[room].slots.get(place as usize).copied().unwrap_or_default();
        let id = self.rooms[room].id;
        if slot.seen && (!slot.message || (slot.hash != found.identity && !found.deleted && slot.hash != 0)) {
            self.violations.add(format!("room {id}: a page shows {} as another message", found.id));
        }
        if !found.deleted
            && let Some(how) = self.stale(room, found.id, floor, found.whole)
        {
            self.violations.add(format!("room {id}: a page shows {} {how}", found.id));
        }
    }

    /// Holds one room against its history (from [`Room::base`] on, ascending) and its head.
    pub fn compare(&mut self, room: usize, head: u64, history: &[Found]) {
        let of = &self.rooms[room];
        let mut wrong = Vec::new();
        // The last event that nobody here was to see: what it was, is not known.
        let blind = of.slots.iter().rposition(|slot| slot.excused && !slot.seen);
        let blind = blind.map_or(0, |place| of.base + place as u64 + 1);
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
                Some(here) => wrong
                    .extend(differs(slot, here, of.changes.get(&seq), blind).map(|how| format!("message {seq} {how}"))),
                None => {}
            }
        }
        wrong.extend(found.map(|found| format!("message {} was never seen, or comes twice", found.id)));
        let refused = history.iter().filter(|found| self.refused.contains(&found.identity));
        wrong.extend(refused.map(|found| format!("message {} is there, which was refused", found.id)));
        let id = of.id;
        for what in wrong {
            self.violations.add(format!("room {id}: {what}"));
        }
    }
}

/// What is wrong with a message of a history, where the last event that nobody saw is `blind`: until then it may have been
/// changed without anybody's knowing.
fn differs(slot: &Slot, found: &Found, change: Option<&(u64, Change)>, blind: u64) -> Option<&'static str> {
    match change {
        _ if !found.deleted && found.identity == 0 => Some("is nobody's"),
        Some((_, Change::Deleted)) => (!found.deleted).then_some("was deleted, and is there"),
        _ if !found.deleted && slot.hash != 0 && slot.hash != found.identity => Some("is another one than it was"),
        None if found.id < blind => None,
        Some((at, _)) if *at < blind => None,
        _ if found.deleted => Some("is deleted, which nobody was told"),
        Some((_, Change::Edited(content))) => (*content != found.content).then_some("is not as its last edit left it"),
        None => (!found.whole).then_some("is changed, which nobody was told"),
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
