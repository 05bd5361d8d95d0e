//! A client of the simulated world: what it has asked, what it was told, and whether that fits together.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::Value;
use veza_engine::id::{ConnId, RoomId};

/// A command without an answer yet, and the step in which it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// What.
    pub asked: Asked,
    /// When.
    pub step: u64,
}

/// What a command is about, as far as its answer is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// `send_message` with this client id and content.
    Send { room: RoomId, client_id: String, content: String },
    /// `join_room` or `subscribe`, from this position.
    Subscribe { room: RoomId, last_seq: Option<u64>, joins: bool },
    /// `unsubscribe` or `leave_room`.
    End { room: RoomId, leaves: bool },
    /// `resume`.
    Resume { rooms: Vec<(RoomId, u64)> },
    /// `create_room` with this client id.
    CreateRoom { client_id: String },
    /// `create_dm`.
    CreateDm,
    /// `mark_read` at the position held already, when everything has settled.
    Unread { room: RoomId },
    /// Reads in a room.
    Read { room: RoomId, reading: Reading },
    /// Changes a room or a message.
    Change { room: RoomId, change: Change },
    /// `lift_sanction`.
    Lift { sanction: u64 },
    /// `search_messages`.
    Search { word: String, room: Option<RoomId> },
    /// `get_mentions`.
    Mentions,
    /// `get_unread`.
    Unreads,
    /// `list_dms`.
    Dms,
    /// `list_blocks`.
    Blocks,
    /// `list_sanctions` without a room.
    OwnSanctions,
    /// `block_user` or `unblock_user`.
    Block { user: u64, on: bool },
    /// `logout` of this session, or of all.
    Logout { session: Box<str>, everywhere: bool },
    /// `revoke_session`.
    Revoke { session: Box<str> },
    /// Another command about a room.
    Room { room: RoomId },
    /// Anything else.
    Other,
}

/// What is read in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// `get_message`.
    Message { message: u64 },
    /// `get_history`.
    History { anchor: Anchor, limit: usize },
    /// `get_thread`.
    Thread { parent: u64, after: u64, limit: usize },
    /// `get_pinned_messages`.
    Pinned,
    /// `get_reactions`.
    Reactions { message: u64 },
    /// `get_edits`.
    Edits { message: u64 },
    /// `get_room_stats`.
    Stats,
    /// `get_members`.
    Members,
    /// `list_roles`.
    Roles,
    /// `list_sanctions` of the room.
    Sanctions,
}

/// Which page of the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// The newest.
    Newest,
    /// Before an id.
    Before(u64),
    /// After it.
    After(u64),
    /// On both sides.
    Around(u64),
}

/// What is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // each is the command of that name
pub enum Change {
    Edit { message: u64, content: String },
    Delete { message: u64 },
    React { message: u64, emoji: &'static str, add: bool },
    Pin { message: u64, on: bool },
    Invite { user: u64 },
    Kick { user: u64 },
    Role { user: u64, role: &'static str },
    PutRole { name: &'static str },
    DropRole { name: &'static str },
    Update,
    DeleteRoom,
    Sanction { user: u64, kind: &'static str },
}

impl Asked {
    /// The room whose order the answer keeps.
    pub fn room(&self) -> Option<RoomId> {
        match self {
            Asked::Send { room, .. }
            | Asked::Subscribe { room, .. }
            | Asked::End { room, .. }
            | Asked::Unread { room }
            | Asked::Read { room, .. }
            | Asked::Change { room, .. }
            | Asked::Room { room } => Some(*room),
            _ => None,
        }
    }
}

/// A message without an acknowledgement.
#[derive(Clone, Debug)]
pub struct Unacked {
    /// Where to.
    pub room: RoomId,
    /// Its client id.
    pub client_id: String,
    /// Its text.
    pub content: String,
    /// What it answers.
    pub parent: Option<u64>,
}

/// A subscription as the client understands it.
#[derive(Clone, Copy, Debug)]
pub struct Tracking {
    /// The next event must be this one.
    pub expected: u64,
    /// The head at which it was taken; what comes up to here is replayed.
    pub taken_at: u64,
    /// The step in which it was asked for.
    pub step: u64,
}

/// One client: a device of a user.
#[derive(Debug, Default)]
pub struct Client {
    /// Its user's number (the token's subject).
    pub user: u64,
    /// Numbers its sessions: an ended one is followed by another.
    pub session: u64,
    /// Its connection.
    pub conn: Option<ConnId>,
    /// The engine's id of the user, once known.
    pub user_id: Option<u64>,
    /// The step in which it was opened.
    pub since: u64,
    /// All connections before this step were told to end: when.
    pub ended: Option<(u64, u64)>,
    /// `auth_success` was seen.
    pub ready: bool,
    /// Reads only now and then.
    pub slow: bool,
    /// Bytes read that are no whole frame yet.
    pub rx: Vec<u8>,
    pub(crate) next_id: u64,
    /// Commands without an answer, by id.
    pub asked: BTreeMap<u64, Question>,
    pub(crate) order: BTreeMap<RoomId, VecDeque<u64>>,
    /// Subscriptions of this connection.
    pub subs: BTreeMap<RoomId, Tracking>,
    /// Last seen positions and epochs, over connections.
    pub seen: BTreeMap<RoomId, (u64, u64)>,
    /// Events of conversations seen on this connection.
    pub dm_seen: BTreeMap<RoomId, BTreeSet<u64>>,
    /// Conversations resumed on this connection, and when: an event may come twice.
    pub dm_resumed: BTreeMap<RoomId, u64>,
    /// Messages whose deletion this connection was told of.
    pub gone: BTreeSet<(RoomId, u64)>,
    /// Messages that have no acknowledgement yet, to be sent again.
    pub unacked: Vec<Unacked>,
    /// Numbers the client ids.
    pub sends: u64,
}

impl Client {
    /// Notes a command; gives its id.
    pub fn ask(&mut self, asked: Asked, step: u64) -> u64 {
        self.next_id += 1;
        if let Some(room) = asked.room() {
            self.order.entry(room).or_default().push_back(self.next_id);
        }
        self.asked.insert(self.next_id, Question { asked, step });
        self.next_id
    }

    /// The connection is gone: what was asked has no answer.
    pub fn disconnected(&mut self) {
        self.conn = None;
        self.ready = false;
        self.rx.clear();
        self.asked.clear();
        self.order.clear();
        self.subs.clear();
        self.dm_seen.clear();
        self.dm_resumed.clear();
        self.gone.clear();
    }

    /// An answer: which command it is for; complains of a missing one, and of one out of turn.
    pub fn answered(&mut self, id: u64, may_overtake: bool) -> Result<Question, String> {
        let question = self.asked.remove(&id).ok_or_else(|| format!("an answer to {id}, which has none to come"))?;
        if let Some(room) = question.asked.room() {
            let order = self.order.get_mut(&room).expect("entered with the command");
            match order.iter().position(|other| *other == id) {
                Some(0) => {
                    order.pop_front();
                }
                Some(place) if may_overtake => {
                    order.remove(place);
                }
                _ => return Err(format!("the answer to {id} ({question:?}) came before those to {order:?}")),
            }
        }
        Ok(question)
    }

    /// An event of a room it is subscribed to, or of a conversation.
    pub fn event(&mut self, room: RoomId, seq: u64, is_dm: bool) -> Result<(), String> {
        if is_dm {
            let fresh = self.dm_seen.entry(room).or_default().insert(seq);
            if !fresh && !self.dm_resumed.contains_key(&room) {
                return Err(format!("event {seq} of conversation {} came twice", room.0));
            }
            let seen = self.seen.entry(room).or_default();
            if seq == seen.0 + 1 {
                seen.0 = seq;
            }
            return Ok(());
        }
        let Some(tracking) = self.subs.get_mut(&room) else {
            return Err(format!("event {seq} of room {} without a subscription", room.0));
        };
        if seq != tracking.expected {
            return Err(format!("event {seq} of room {}, but {} is next", room.0, tracking.expected));
        }
        tracking.expected += 1;
        self.seen.entry(room).or_default().0 = seq;
        Ok(())
    }

    /// A subscription begins: its first event is the one after `seq - replayed`.
    pub fn subscribed(&mut self, room: RoomId, asked_last: Option<u64>, data: &Value, step: u64) -> Result<(), String> {
        let number = |name: &str| data[name].as_u64().ok_or_else(|| format!("no {name} in {data}"));
        let (seq, replayed) = (number("seq")?, number("replayed")?);
        let recovered = data["recovered"].as_bool().ok_or("no recovered")?;
        match (recovered, asked_last) {
            (true, Some(last)) if seq - replayed != last => {
                return Err(format!("recovered from {} although {last} was asked for", seq - replayed));
            }
            (false, _) if replayed != 0 => return Err("replays without having recovered".into()),
            (true, None) => return Err("recovered without a position".into()),
            _ => {}
        }
        self.subs.insert(room, Tracking { expected: seq - replayed + 1, taken_at: seq, step });
        let epoch = data["room"]["epoch"].as_u64().or(data["epoch"].as_u64()).unwrap_or(0);
        self.seen.insert(room, (seq - replayed, epoch));
        Ok(())
    }
}

/// Splits whole WebSocket frames off the front: (opcode, payload), inflated if it was compressed.
pub fn frames(rx: &mut Vec<u8>) -> Vec<(u8, Vec<u8>)> {
    let mut out = Vec::new();
    let mut at = 0;
    while let Some((opcode, start, end)) = frame_at(&rx[at..]) {
        let payload = &rx[at + start..at + end];
        let compressed = rx[at] & 0x40 != 0;
        out.push((opcode, if compressed { inflated(payload) } else { payload.to_vec() }));
        at += end;
    }
    rx.drain(..at);
    out
}

/// A compressed message, which refers to none before it.
pub fn inflated(payload: &[u8]) -> Vec<u8> {
    let all = [payload, &[0, 0, 0xFF, 0xFF]].concat();
    let mut zlib = flate2::Decompress::new(false);
    let mut out = Vec::with_capacity(8 * all.len());
    while zlib.total_in() < all.len() as u64 || out.len() == out.capacity() {
        out.reserve(all.len());
        let rest = &all[zlib.total_in() as usize..];
        let result = zlib.decompress_vec(rest, &mut out, flate2::FlushDecompress::None);
        assert!(result.is_ok(), "a frame that does not inflate: {payload:02x?}");
    }
    out
}

/// Opcode, start and end of the payload of a whole frame at the beginning.
pub fn frame_at(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let first = *bytes.first()?;
    let (start, len) = match *bytes.get(1)? {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize),
        short => (2, usize::from(short)),
    };
    (bytes.len() >= start + len).then_some((first & 0x0F, start, start + len))
}
