//! A client: its connection, its rooms, and its commands under way.

use super::super::scenario::Verb;
use super::scan::Identity;
use super::socket::Link;
use std::collections::VecDeque;

/// Commands that wait for a client to be back; beyond, they are offered and not sent.
pub const QUEUE_MAX: usize = 256;
/// Newest messages of its own that a client remembers.
const OWN_MAX: usize = 8;

/// How far a client's connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// There is none, as the plan wants it.
    Away,
    /// It waits for its turn, connects or authenticates.
    Entering,
    /// Its rooms are being joined or resumed.
    CatchingUp,
    /// It is in its rooms.
    Ready,
}

/// A client's place in a room.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The room's number in the plan.
    pub room: usize,
    /// Its `room_id`; 0 while it is not known.
    pub id: u64,
    /// The last `seq` seen.
    pub last: u64,
    /// What is still to come after a return; 0: nothing.
    pub target: u64,
    /// The room's head, as far as it was known, when the client last asked to be shown what it had missed.
    pub floor: u64,
    /// The last event that the last resume replays; what follows is live.
    pub replayed: u64,
    /// Whether events of the room are due to this connection.
    pub on: bool,
    /// Whether a verb has left it for a moment.
    pub leaving: bool,
}

/// One client.
#[derive(Debug)]
pub struct Client {
    /// Its number in the plan.
    pub user: usize,
    /// Its access token.
    pub token: String,
    /// Its id, once it is known; 0 before.
    pub user_id: u64,
    /// Its connection.
    pub link: Link,
    /// How far that is.
    pub stage: Stage,
    /// Its rooms.
    pub places: Vec<Place>,
    /// Whether it has ever been ready: the next connection resumes.
    pub resumes: bool,
    /// When it wanted to be back, ns.
    pub wanted_ns: u64,
    /// When its connection began, ns.
    pub began_ns: u64,
    /// Answers, or rooms, that are missing until it is ready.
    pub missing: usize,
    /// Connections that were refused, one after another.
    pub failures: u32,
    /// Commands whose time came while it was on its way.
    pub queue: VecDeque<u64>,
    /// Messages whose answer was lost with a connection.
    pub unknown: Vec<Pending>,
    /// One of those that stall.
    pub stalls: bool,
    /// It reads nothing at present.
    pub stalled: bool,
    /// It has stalled, and has not come to what was sent after that.
    pub behind: bool,
    /// When it began to read again, ns.
    pub unstalled_ns: u64,
    /// Its socket has not taken everything.
    pub blocked: bool,
    /// What the server's Close frame said.
    pub close: Option<u16>,
    /// Messages that it has sent again and that are not answered yet.
    pub repeating: usize,
    /// Messages so far.
    pub number: u64,
    /// Its newest messages: place, id and name.
    pub own: VecDeque<(usize, u64, Identity)>,
    /// Events of a conversation that came live before those that a resume still owes: place and `seq`.
    pub early: Vec<(usize, u64)>,
}

impl Place {
    /// In a room where nothing was seen yet.
    pub fn new(room: usize, id: u64) -> Place {
        Place { room, id, last: 0, target: 0, floor: 0, replayed: 0, on: false, leaving: false }
    }
}

impl Client {
    /// One that has not come yet.
    pub fn new(user: usize, token: String, places: Vec<Place>) -> Client {
        Client {
            user,
            token,
            user_id: 0,
            link: Link::Away,
            stage: Stage::Away,
            places,
            resumes: false,
            wanted_ns: 0,
            began_ns: 0,
            missing: 0,
            failures: 0,
            queue: VecDeque::new(),
            unknown: Vec::new(),
            stalls: false,
            stalled: false,
            behind: false,
            unstalled_ns: 0,
            blocked: false,
            close: None,
            repeating: 0,
            number: 0,
            own: VecDeque::new(),
            early: Vec::new(),
        }
    }

    /// A message of its own is acknowledged.
    pub fn remember(&mut self, place: usize, message: u64, identity: Identity) {
        if self.own.len() == OWN_MAX {
            self.own.pop_front();
        }
        self.own.push_back((place, message, identity));
    }

    /// Whether what comes at present comes as soon as it can.
    pub fn current(&self) -> bool {
        self.stage == Stage::Ready && !self.behind
    }
}

/// What a command was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Part of the load.
    Verb(Verb),
    /// The first entry to a room.
    Join,
    /// The return to all.
    Resume,
    /// The beginning of a conversation.
    CreateDm,
    /// The second half of [`Verb::Resubscribe`] and [`Verb::Rejoin`].
    Return,
}

/// A command without an answer.
#[derive(Clone, Copy, Debug)]
pub struct Pending {
    /// Of which client.
    pub client: usize,
    /// In which of its places.
    pub place: usize,
    /// What.
    pub asked: Asked,
    /// When it was to be sent, ns.
    pub intended_ns: u64,
    /// A message's name, or the zero one.
    pub identity: Identity,
    /// The message that it is about, or the thread; 0: none. Of [`Asked::Resume`], the rooms; of [`Asked::Return`], 1 with
    /// `last_seq`.
    pub message: u64,
    /// The room's head, as far as it was known, when it was sent.
    pub floor: u64,
    /// Whether it was sent before, on another connection.
    pub repeated: bool,
}

/// Bits of an id that are a place in the table.
const PLACE_BITS: u32 = 20;

/// Commands under way, by their ids.
#[derive(Debug, Default)]
pub struct Table {
    slots: Vec<Option<(u64, Pending)>>,
    free: Vec<usize>,
    serial: u64,
}

impl Table {
    /// One more: its id, or none where there is no place left.
    pub fn insert(&mut self, pending: Pending) -> Option<u64> {
        let place = match self.free.pop() {
            Some(place) => place,
            None if self.slots.len() < 1 << PLACE_BITS => {
                self.slots.push(None);
                self.slots.len() - 1
            }
            None => return None,
        };
        self.serial = (self.serial + 1) & ((1 << 32) - 1);
        let id = self.serial << PLACE_BITS | place as u64;
        self.slots[place] = Some((id, pending));
        Some(id)
    }

    /// The command with this id, which is answered.
    pub fn take(&mut self, id: u64, client: usize) -> Option<Pending> {
        let place = (id & ((1 << PLACE_BITS) - 1)) as usize;
        let slot = self.slots.get_mut(place)?;
        let (_, pending) = slot.take_if(|(of, pending)| *of == id && pending.client == client)?;
        self.free.push(place);
        Some(pending)
    }

    /// Everything of one client.
    pub fn take_all(&mut self, client: usize) -> Vec<Pending> {
        let mut taken = Vec::new();
        for (place, slot) in self.slots.iter_mut().enumerate() {
            if let Some((id, pending)) = slot.take_if(|(_, pending)| pending.client == client) {
                taken.push((id, pending));
                self.free.push(place);
            }
        }
        taken.sort_by_key(|(id, _)| *id);
        taken.into_iter().map(|(_, pending)| pending).collect()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Those that are there.
    pub fn iter(&self) -> impl Iterator<Item = &Pending> {
        self.slots.iter().flatten().map(|(_, pending)| pending)
    }
}
