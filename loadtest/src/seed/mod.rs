//! Masses of data, the same for the same seed, written straight into the database of a server that does not run. The
//! rows are what the server would have written: gapless logs, heads, counts, read positions. The index of words is left
//! to the server, which fills it when it starts.

mod postgres;
mod sqlite;
pub mod text;

use crate::dice::Dice;
use crate::server::{SECRET, binary};
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// 1 January 2026, when the first room was made, Unix ms.
const BEGIN_MS: i64 = 1_767_225_600_000;
/// Between two events, ms.
const STEP_MS: i64 = 5_000;
/// Members and messages of a room that is not the big one, at most.
const MEMBERS_MAX: usize = 30;
const MESSAGES_MAX: usize = 20;
/// Members of the big room, at most.
const BIG_MEMBERS_MAX: usize = 1_000;
/// Pinned messages of a room, the oldest.
const PINS_MAX: usize = 20;
const EMOJI: [&str; 4] = ["👍", "❤️", "🎉", ":shipit:"];

/// The big room.
pub const BIG_ROOM: u64 = 1;

/// Kinds of events, as the database numbers them.
mod kind {
    pub const MESSAGE: i16 = 1;
    pub const EDIT: i16 = 3;
    pub const DELETE: i16 = 4;
    pub const REACTION_ADDED: i16 = 5;
    pub const PINNED: i16 = 7;
}

/// How much.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Users, with ids from 1.
    pub users: u64,
    /// Rooms besides the big one, with ids from 2; few are large, most are small.
    pub rooms: u64,
    /// Messages in the big one.
    pub messages_in_one_room: u64,
    /// Names the data.
    pub seed: u64,
}

/// An event, and of a message what has become of it.
#[derive(Clone, Debug, Default)]
pub struct Event {
    /// Its place.
    pub seq: u64,
    kind: i16,
    at: i64,
    message_no: u64,
    /// Who.
    pub author: u64,
    /// What it is about, or answers.
    pub parent: Option<u64>,
    /// As it is now; stays for a while where it is deleted.
    pub content: Option<String>,
    /// As it was before its edits.
    pub original: Option<String>,
    edited_at: Option<i64>,
    deleted_at: Option<i64>,
    pinned_seq: Option<u64>,
    /// Answers to it.
    pub thread_count: u32,
    /// Who is mentioned.
    pub mention: Option<u64>,
    data: Option<String>,
}

impl Event {
    /// A message.
    pub fn is_message(&self) -> bool {
        self.kind == kind::MESSAGE
    }

    /// A tombstone.
    pub fn is_deleted(&self) -> bool {
        self.deleted_at.is_some()
    }

    /// Among the pinned ones.
    pub fn is_pinned(&self) -> bool {
        self.pinned_seq.is_some()
    }

    fn mentions(&self) -> Option<String> {
        self.mention.map(|user| format!("[{user}]"))
    }
}

/// A member and how far he has read.
#[derive(Clone, Debug)]
pub struct Member {
    /// Who.
    pub user: u64,
    /// Position.
    pub read_seq: u64,
    /// Messages up to there.
    pub read_no: u64,
}

/// A room and all that is in it.
#[derive(Clone, Debug)]
pub struct Room {
    /// `room_id`.
    pub id: u64,
    epoch: u64,
    created_at: i64,
    /// By place.
    pub events: Vec<Event>,
    /// Message, emoji, first place and users.
    pub reactions: BTreeMap<(u64, &'static str), (u64, BTreeSet<u64>)>,
    /// The first one owns it.
    pub members: Vec<Member>,
    deleted: u64,
    pins: usize,
}

impl Room {
    /// Its name.
    pub fn name(&self) -> String {
        format!("Room {}", self.id)
    }

    /// The last place.
    pub fn head(&self) -> u64 {
        self.events.len() as u64
    }

    /// Messages.
    pub fn messages(&self) -> u64 {
        self.events.last().map_or(0, |event| event.message_no)
    }
}

/// The name of a user, which is its `sub`, too.
pub fn user_name(user: u64) -> String {
    format!("seed{user}")
}

/// Makes rooms.
pub struct Maker {
    plan: Plan,
    words: Vec<String>,
}

impl Maker {
    /// For this plan.
    pub fn new(plan: Plan) -> Maker {
        assert!(plan.users > 0, "rooms have members");
        Maker { plan, words: (0..text::WORDS).map(text::word).collect() }
    }

    /// Ids of the rooms.
    pub fn rooms(&self) -> std::ops::RangeInclusive<u64> {
        BIG_ROOM..=BIG_ROOM + self.plan.rooms
    }

    /// A room by its id: the same each time.
    pub fn room(&self, id: u64) -> Room {
        let mut dice = Dice::new(self.plan.seed ^ id.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let users = usize::try_from(self.plan.users).expect("fits in memory");
        let (members, messages) = if id == BIG_ROOM {
            let messages = usize::try_from(self.plan.messages_in_one_room).expect("fits in memory");
            (users.min(BIG_MEMBERS_MAX), messages)
        } else {
            (1 + dice.zipf(MEMBERS_MAX.min(users)), dice.zipf(MESSAGES_MAX))
        };
        let first = if id == BIG_ROOM { 0 } else { dice.below(users) };
        let ids: Vec<u64> = (0..members).map(|number| 1 + ((first + number) % users) as u64).collect();
        let created_at = BEGIN_MS + i64::try_from(id % 100_000).expect("small");
        let epoch = 1 + (dice.roll() >> 12);
        let mut room = Room {
            id,
            epoch,
            created_at,
            events: Vec::new(),
            reactions: BTreeMap::new(),
            members: Vec::new(),
            deleted: 0,
            pins: 0,
        };
        let mut scribe = Scribe { room: &mut room, dice: &mut dice, words: &self.words, members: &ids };
        for _ in 0..messages {
            scribe.message();
        }
        room.members = positions(&room, &ids, &mut dice);
        room
    }
}

/// Members with read positions; whoever has written has read up to there.
fn positions(room: &Room, ids: &[u64], dice: &mut Dice) -> Vec<Member> {
    let mut own: BTreeMap<u64, u64> = BTreeMap::new();
    own.extend(room.events.iter().filter(|event| event.is_message()).map(|event| (event.author, event.seq)));
    let member = |user: &u64| {
        let some = if room.events.is_empty() { 0 } else { dice.below(room.events.len() + 1) as u64 };
        let read_seq = some.max(own.get(user).copied().unwrap_or(0));
        let read_no = if read_seq == 0 { 0 } else { room.events[read_seq as usize - 1].message_no };
        Member { user: *user, read_seq, read_no }
    };
    ids.iter().map(member).collect()
}

/// Writes the log of a room.
struct Scribe<'a> {
    room: &'a mut Room,
    dice: &'a mut Dice,
    words: &'a [String],
    members: &'a [u64],
}

impl Scribe<'_> {
    fn event(&mut self, kind: i16, parent: Option<u64>) -> Event {
        let seq = self.room.head() + 1;
        let message_no = self.room.messages() + u64::from(kind == kind::MESSAGE);
        let at = self.room.created_at + i64::try_from(seq).expect("small") * STEP_MS;
        Event { seq, kind, at, message_no, author: *self.dice.pick(self.members), parent, ..Event::default() }
    }

    /// A message and, now and then, what follows it.
    fn message(&mut self) {
        let parent = if self.dice.percent(10) { self.root() } else { None };
        let mut event = self.event(kind::MESSAGE, parent);
        let mut content = text::sentence(self.dice, self.words);
        if self.dice.percent(3) {
            let user = *self.dice.pick(self.members);
            content.push_str(&format!(" @{}", user_name(user)));
            event.mention = Some(user);
        }
        event.content = Some(content);
        let seq = event.seq;
        self.room.events.push(event);
        if let Some(parent) = parent {
            self.at(parent).thread_count += 1;
        }
        for _ in 0..if self.dice.percent(5) { 1 + self.dice.below(3) } else { 0 } {
            self.react(seq);
        }
        match self.dice.below(100) {
            0..2 => self.edit(seq),
            2 => self.delete(seq),
            3 if self.room.pins < PINS_MAX => self.pin(seq),
            _ => {}
        }
    }

    /// A recent message that answers nothing.
    fn root(&mut self) -> Option<u64> {
        let back = 1 + self.dice.below(60);
        let index = self.room.events.len().checked_sub(back)?;
        let event = &self.room.events[index];
        (event.is_message() && event.parent.is_none() && !event.is_deleted()).then_some(event.seq)
    }

    fn at(&mut self, seq: u64) -> &mut Event {
        &mut self.room.events[seq as usize - 1]
    }

    fn react(&mut self, message: u64) {
        let mut event = self.event(kind::REACTION_ADDED, Some(message));
        let emoji = *self.dice.pick(&EMOJI);
        let (_, users) = self.room.reactions.entry((message, emoji)).or_insert((event.seq, BTreeSet::new()));
        if users.insert(event.author) {
            event.data = Some(format!(r#"{{"emoji":"{emoji}","count":{}}}"#, users.len()));
            self.room.events.push(event);
        }
    }

    fn edit(&mut self, message: u64) {
        let mut event = self.event(kind::EDIT, Some(message));
        let content = text::sentence(self.dice, self.words);
        event.author = self.at(message).author;
        event.content = Some(content.clone());
        event.data = Some(r#"{"edit_count":1}"#.to_owned());
        let at = event.at;
        self.room.events.push(event);
        let edited = self.at(message);
        edited.original = edited.content.replace(content);
        edited.edited_at = Some(at);
        edited.mention = None;
    }

    fn delete(&mut self, message: u64) {
        let mut event = self.event(kind::DELETE, Some(message));
        event.author = self.at(message).author;
        let at = event.at;
        self.room.events.push(event);
        self.at(message).deleted_at = Some(at);
        self.room.deleted += 1;
    }

    fn pin(&mut self, message: u64) {
        let mut event = self.event(kind::PINNED, Some(message));
        event.author = self.members[0];
        let seq = event.seq;
        self.room.events.push(event);
        self.at(message).pinned_seq = Some(seq);
        self.room.pins += 1;
    }
}

/// Writes everything into an empty database, which is brought up to the newest schema first. Nothing may use it.
///
/// # Errors
/// What the database refuses.
pub fn write(url: &str, plan: &Plan) -> Result<(), String> {
    migrate(url)?;
    let maker = Maker::new(plan.clone());
    match url.strip_prefix("sqlite://") {
        Some(path) => sqlite::write(path, plan, &maker),
        None => postgres::write(url, plan, &maker),
    }
}

fn migrate(url: &str) -> Result<(), String> {
    let mut command = Command::new(binary());
    for (key, _) in std::env::vars().filter(|(key, _)| key.starts_with("VEZA_")) {
        command.env_remove(key);
    }
    command.arg("migrate").env("VEZA_DATABASE__URL", url).env("VEZA_SECURITY__JWT_SECRET", SECRET);
    let output = command.output().map_err(|error| format!("the server's binary: {error}"))?;
    let error = || String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_is_the_same_each_time_and_adds_up() {
        let plan = Plan { users: 40, rooms: 50, messages_in_one_room: 3000, seed: 5 };
        let (maker, again) = (Maker::new(plan.clone()), Maker::new(plan));
        let room = maker.room(BIG_ROOM);
        assert_eq!(format!("{room:?}"), format!("{:?}", again.room(BIG_ROOM)));
        assert_eq!(room.messages(), 3000);
        let mut messages = 0;
        for (index, event) in room.events.iter().enumerate() {
            messages += u64::from(event.is_message());
            assert_eq!((event.seq, event.message_no), (index as u64 + 1, messages));
            if let Some(parent) = event.parent {
                assert!(parent < event.seq && room.events[parent as usize - 1].is_message());
            }
        }
        let answers = room.events.iter().filter(|event| event.is_message() && event.parent.is_some()).count();
        assert_eq!(answers as u32, room.events.iter().map(|event| event.thread_count).sum::<u32>());
        assert!(answers > 100 && room.deleted > 10 && !room.reactions.is_empty());
        let others: Vec<Room> = maker.rooms().skip(1).map(|id| maker.room(id)).collect();
        assert_eq!(others.len(), 50);
        let mut sizes: Vec<usize> = others.iter().map(|room| room.members.len()).collect();
        sizes.sort_unstable();
        assert!(sizes[25] * 2 < sizes[49], "{sizes:?}: few are large, most are small");
    }
}
