//! What shards tell each other. A message is handed over in order per pair of shards, at most once, never lost while
//! the process lives. No shard waits for another.
//!
//! Paths, so that order holds: a command goes connection → user's home → room's home. Events of a room go room's home →
//! connection's shard; events of a conversation, and the replies to commands in it, go room's home → user's home →
//! connection's shard. A reply is always sent before the push of its event on the same path.

use std::sync::Arc;

use crate::fanout::FrameBytes;
use crate::id::{ConnId, RoomId, Seq, ShardId, UserId};
use crate::input::Role;
use crate::store::{MemberRow, Revocation};
use crate::wire::{CloseCode, Command, CommandError, RequestId, ResumePoint, Status};

/// Where an answer goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The connection or HTTP request.
    pub asker: Asker,
    /// The request's id; `None`: only errors are answered.
    pub id: Option<RequestId>,
}

/// Who asked.
#[allow(missing_docs)] // the variant's text says what its fields are
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Asker {
    /// A WebSocket.
    Conn(ConnId),
    /// A request over HTTP, taken in by this shard.
    Http { shard: ShardId, ticket: u64 },
}

impl Asker {
    /// The shard that took the command in.
    pub fn shard(self) -> ShardId {
        match self {
            Asker::Conn(conn) => conn.shard,
            Asker::Http { shard, .. } => shard,
        }
    }

    /// The connection, if it is one.
    pub fn conn(self) -> Option<ConnId> {
        match self {
            Asker::Conn(conn) => Some(conn),
            Asker::Http { .. } => None,
        }
    }
}

/// The caller as a room needs to know it. Cheap to clone within a message chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Id.
    pub user_id: UserId,
    /// Present name.
    pub username: Arc<str>,
    /// This session's server role.
    pub role: Role,
    /// What others may see; `None`: plainly online. Entered by the user's home on the way to a room.
    pub presence: Option<Arc<Presence>>,
}

/// What a user lets others see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Presence {
    /// As set; invisible also until it is known.
    pub status: Status,
    /// With its text.
    pub message: Option<Box<str>>,
    /// Whom the user blocks, ascending: they see `offline` and get no push.
    pub hidden_from: Box<[UserId]>,
    /// Rises with each change at the user's home, whose messages take several ways: the highest is what counts. 0: not
    /// known yet.
    pub version: u64,
}

impl Presence {
    /// Before the profile is there: nobody sees anything.
    pub fn unknown() -> Presence {
        Presence { status: Status::Invisible, ..Presence::default() }
    }

    /// As this reader sees it, while the user is connected.
    pub fn shown_to(&self, reader: UserId) -> &'static str {
        if self.hidden_from.binary_search(&reader).is_ok() { Status::Invisible.shown() } else { self.status.shown() }
    }

    /// Whether somebody may see the user as being there.
    pub fn is_visible(&self) -> bool {
        self.status != Status::Invisible
    }

    /// Whether others would notice no difference.
    pub fn looks_like(&self, other: &Presence) -> bool {
        (!self.is_visible() && !other.is_visible()) || (self.status == other.status && self.message == other.message)
    }
}

/// A page of a conversation's members on its way through their homes, each of which adds what the reader may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusPage {
    /// Members and their names.
    pub members: Vec<(MemberRow, Box<str>)>,
    /// Of the first ones of them, as far as it has come.
    pub statuses: Vec<&'static str>,
    /// Cursor of the next page.
    pub next: Option<Box<str>>,
    /// Only those who are (or are not) seen as being there.
    pub online: Option<bool>,
}

/// A block that is committed (`on`) or taken back, on its way through the conversations of the two; behind the last one
/// the blocker is answered (if he still waits), so that nothing of the blocked one that comes after the answer gets through.
#[derive(Clone, Debug)]
pub struct SetBlock {
    /// Conversations that have not been told.
    pub room_ids: Vec<RoomId>,
    /// Who blocks.
    pub blocker: UserId,
    /// Whom.
    pub blocked: UserId,
    /// Or does so no more.
    pub on: bool,
    /// Who waits for the answer.
    pub origin: Option<Origin>,
    /// The answer.
    pub reply: ReplyBody,
}

/// A reply's type and its `data` as JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplyBody {
    /// E.g. `message_sent`.
    pub kind: &'static str,
    /// Compact JSON.
    pub data: Vec<u8>,
}

/// What a reply does to the connection's subscriptions, before it is written.
#[allow(missing_docs)] // the variant's text says what its fields are
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubChange {
    /// Live (or replayed from `from`) events begin after the reply; the room's head is `head`.
    Subscribe { room_id: RoomId, from: Seq, head: Seq },
    /// No event of the room after the reply.
    Unsubscribe { room_id: RoomId },
}

/// An outcome on its way to the asker.
#[derive(Debug)]
pub struct Reply {
    /// Whom.
    pub origin: Origin,
    /// What.
    pub result: Result<ReplyBody, Box<CommandError>>,
    /// Carried out together with the reply.
    pub change: Option<SubChange>,
}

/// The closed set of messages between shards.
#[allow(missing_docs)] // the variant's text says what its fields are
#[derive(Debug)]
pub enum PeerMessage {
    // --- connection's shard → user's home
    /// A connection has authenticated.
    Attach { conn: ConnId, caller: Caller, session_id: Arc<str>, expires_at: i64 },
    /// It is gone; so are its subscriptions to these rooms (told on to their homes).
    Detach { conn: ConnId, user_id: UserId, rooms: Vec<RoomId> },
    /// It has given up a subscription that its `resume` had taken. Told by way of the user's home, like the `resume`:
    /// a later one must not be overtaken.
    Unlist { conn: ConnId, user_id: UserId, room_id: RoomId },
    /// A command.
    Command { origin: Origin, caller: Caller, session_id: Arc<str>, expires_at: i64, command: Box<Command> },
    /// A command about a room that is refused before it gets there, while others of the connection are under way: the
    /// error takes their way, so that it stays behind their answers.
    Refused { origin: Origin, caller: Caller, room_id: RoomId, error: Box<CommandError> },
    /// One part of a `resume`: `part` is its index.
    ResumeRoom { conn: ConnId, caller: Caller, ticket: u64, part: u32, at: ResumePoint },

    // --- user's home → connection's shard
    /// Pushes of conversations reach the connection from here on.
    Attached { conn: ConnId },
    /// Close it.
    Close { conn: ConnId, code: CloseCode },
    /// A frame for connections of one user. `room` and `seq` for events of conversations.
    Deliver { conns: Vec<ConnId>, frame: FrameBytes },
    /// The same for an ephemeral push: a connection with much waiting does not get it.
    DeliverEphemeral { conns: Vec<ConnId>, frame: FrameBytes },

    // --- user's home → room's home
    /// A command about a room.
    RoomCommand { origin: Origin, caller: Caller, command: Box<Command> },
    /// An error of that connection, in its turn.
    RoomRefused { origin: Origin, caller: Caller, room_id: RoomId, error: Box<CommandError> },
    /// One part of a `resume`.
    RoomResume { conn: ConnId, caller: Caller, ticket: u64, part: u32, at: ResumePoint },
    /// A connection is gone.
    ConnGone { conn: ConnId, user_id: UserId, room_id: RoomId },
    /// A room was created and committed (with its state), or had been before (`duplicate`): answer its creator.
    RoomCreated {
        room_id: RoomId,
        state: Option<Box<crate::store::RoomState>>,
        duplicate: bool,
        origin: Origin,
        caller: Caller,
    },

    // --- room's home → connection's shard
    /// An answer.
    Reply(Box<Reply>),
    /// A sequenced event for this shard's subscribers; `more`: another one of the room follows as soon as it is committed.
    Event { room_id: RoomId, seq: Seq, frame: FrameBytes, more: bool },
    /// An ephemeral push for this shard's subscribers; may be dropped. Connections of the users in `except` (ascending,
    /// mostly empty) do not get it.
    Ephemeral { room_id: RoomId, frame: FrameBytes, except: Arc<[UserId]> },
    /// One part of a `resume` is decided.
    Resumed { conn: ConnId, ticket: u64, part: u32, verdict: ResumeVerdict },
    /// A page of a replay: frames of consecutive events after the asked-for position; `lost`: they are not retained
    /// any more and the connection must come back (closed with 3002).
    Replay { conn: ConnId, room_id: RoomId, frames: Vec<(Seq, FrameBytes)>, head: Seq, lost: bool },
    /// The user's membership is over: no connection of the user gets anything of the room after this.
    Expel { room_id: RoomId, user_id: UserId, conns: Vec<ConnId> },

    // --- connection's shard → room's home
    /// The next page of a replay: events after `after`.
    ReplayPage { conn: ConnId, room_id: RoomId, after: Seq },

    // --- room's home → user's home
    /// An event of a conversation, or another push, for all connections of a user.
    UserPush { user_id: UserId, frame: FrameBytes, notify: Option<FrameBytes> },
    /// An answer to a command in a conversation, for the asker by way of its user's home, so that it stays before the
    /// push.
    UserReply { user_id: UserId, reply: Box<Reply> },

    // --- anywhere → everywhere
    /// A session or a user's tokens are over.
    Revoked(Revocation),

    // --- presence and blocks
    /// User's home → connection's shard: the user's presence has changed; told on to the rooms that these connections
    /// are subscribed to.
    PresenceOf { conns: Vec<ConnId>, user_id: UserId, presence: Arc<Presence> },
    /// Connection's shard → room's home: the same.
    RoomPresence { room_id: RoomId, user_id: UserId, presence: Arc<Presence> },
    /// To a user's home: an ephemeral push for all connections of the user; may be dropped.
    UserEphemeral { user_id: UserId, frame: FrameBytes },
    /// Creator's home → participant's home: a conversation has been created.
    NewContact { user_id: UserId, room_id: RoomId, others: Vec<UserId> },
    /// Blocker's home → home of a conversation of the two → home of the next one.
    SetBlock(Box<SetBlock>),
    /// Home of a conversation → home of a member → home of the next one: adds the member's status to the page.
    AskStatus { room_id: RoomId, origin: Origin, caller: Caller, page: Box<StatusPage> },
    /// Home of the last member → home of the conversation: the page is complete.
    Statuses { room_id: RoomId, origin: Origin, caller: Caller, page: Box<StatusPage> },
}

/// What became of one room of a `resume`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResumeVerdict {
    /// The room.
    pub room_id: RoomId,
    /// Its epoch, 0 if not found.
    pub epoch: u64,
    /// The head at which the subscription was taken.
    pub head: Seq,
    /// Where the replay begins (after this); equals `head` where nothing is to be replayed.
    pub from: Seq,
    /// Whether nothing is missing.
    pub recovered: bool,
    /// If not: not_found, ahead, too_old, too_far, epoch, or an error's name.
    pub reason: Option<&'static str>,
    /// Whether the connection is subscribed now.
    pub subscribed: bool,
}
