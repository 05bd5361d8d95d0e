//! What the engine asks of the database, as closed enums. The engine never does IO: it emits a [`Batch`] or a
//! [`Load`] as an effect and is handed a [`BatchOutcome`] or a [`Loaded`] later. `src/store` implements both.

use crate::id::{RoomId, Seq, UserId};
use crate::input::Identity;
use crate::time::WallMs;
use crate::wire::{ClientKey, RoomFilter, Visibility};

/// Names a batch for all time: `epoch` is random per process start, `number` counts within it. It tells the
/// retry of a batch, whose answer was lost, from the batch of a rival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Writer {
    /// Random per start of the server (positive, below 2^63).
    pub epoch: i64,
    /// The lane: shard * lanes per shard + lane. Batches of one lane are written one after the other.
    pub lane: u32,
    /// 1, 2, 3, … within the lane.
    pub number: i64,
}

/// What one transaction writes: all of it or nothing. The engine has at most one batch of a lane in flight, and a
/// room (or user) always goes through the same lane.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Its name.
    pub writer: Writer,
    /// New events, ascending per room, without a gap to the room's head as the engine knows it.
    pub events: Vec<EventRow>,
    /// Everything else, in order; each absolute or conditional, so that writing it twice is as writing it once.
    pub writes: Vec<Write>,
}

/// Kinds of events. The number is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i16)]
pub enum EventKind {
    /// A message.
    Message = 1,
    /// Keeps the `seq` of an event that the store refused.
    Void = 2,
}

/// A row of `events`: the log of a room, and (for messages) the message itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRow {
    /// The room.
    pub room_id: RoomId,
    /// Its position.
    pub seq: Seq,
    /// What it is.
    pub kind: EventKind,
    /// When it was accepted.
    pub at: WallMs,
    /// Messages in the room up to this event, itself included: makes unread counts O(1).
    pub message_no: u64,
    /// Who did it; `None` for `void`.
    pub author_id: Option<UserId>,
    /// The `client_id` and hash of the command. (room, author, client id) is unique: a second row with the same
    /// three is a duplicate, found by the database's own index.
    pub client: Option<ClientKey>,
    /// Text of a message.
    pub content: Option<Box<str>>,
    /// The message that this one answers.
    pub parent_id: Option<Seq>,
    /// JSON object: a message's metadata.
    pub data: Option<Box<str>>,
}

/// A stored event as it is now, with its author's present name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRecord {
    /// The row.
    pub row: EventRow,
    /// The author's present username; `None` for `void`.
    pub username: Option<Box<str>>,
}

/// Kinds of rooms. The number is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i16)]
pub enum RoomKind {
    /// A room.
    Room = 0,
    /// A direct message conversation.
    Dm = 1,
}

/// A room's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomMeta {
    /// Its id.
    pub room_id: RoomId,
    /// Room or conversation.
    pub kind: RoomKind,
    /// Random below 2^53; as clients see it (mixed with the database's incarnation by the store on load:
    /// a restored database shows other epochs).
    pub epoch: u64,
    /// Empty for conversations.
    pub name: Box<str>,
    /// ≤ 1,000 characters.
    pub description: Option<Box<str>>,
    /// ≤ 250 characters.
    pub topic: Option<Box<str>>,
    /// Conversations are private.
    pub visibility: Visibility,
    /// `None` for conversations.
    pub owner_id: Option<UserId>,
    /// Most members.
    pub max_members: u32,
    /// 0 = off.
    pub slow_mode_s: u32,
    /// 0 = never.
    pub retention_days: u32,
    /// No new messages.
    pub archived: bool,
    /// When.
    pub created_at: WallMs,
}

/// A membership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberRow {
    /// Who.
    pub user_id: UserId,
    /// owner, moderator, member, or a custom role.
    pub role: Box<str>,
    /// When.
    pub joined_at: WallMs,
    /// Read up to here.
    pub last_read_seq: Seq,
    /// `message_no` at `last_read_seq`.
    pub last_read_no: u64,
}

/// A user as others see them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRow {
    /// Id.
    pub user_id: UserId,
    /// Unique.
    pub username: Box<str>,
    /// Server role: user, moderator, admin.
    pub role: Box<str>,
    /// When.
    pub created_at: WallMs,
}

/// A write that is no event.
#[allow(missing_docs)] // the variant's text says what its fields are
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// A new room, its creator as owner and first member. (creator, client id) is unique: a second is a
    /// [`Duplicate`].
    CreateRoom { meta: RoomMeta, creator_id: UserId, client: Option<ClientKey> },
    /// A new conversation with its members. With `pair` (low id, high id) it is the only one of that pair: a second
    /// is a [`Duplicate`]; so is a second (creator, client id).
    CreateDm {
        meta: RoomMeta,
        creator_id: UserId,
        user_ids: Vec<UserId>,
        pair: Option<(UserId, UserId)>,
        client: Option<ClientKey>,
    },
    /// A membership as given (insert or replace; a read position never goes back).
    PutMember { room_id: RoomId, member: MemberRow },
    /// The membership is gone.
    DropMember { room_id: RoomId, user_id: UserId },
    /// Absolute count of members.
    MemberCount { room_id: RoomId, count: u32 },
    /// A read position; only advances; of members only.
    ReadPosition { room_id: RoomId, user_id: UserId, seq: Seq, message_no: u64 },
    /// Folds what messages up to `seq` say of their authors' read positions into the members' rows (for each author of
    /// an event after the old checkpoint and up to `seq`: position and number of the newest), and moves the room's
    /// checkpoint there. Only advances. Beyond the checkpoint, positions are derived from the events when loaded.
    ReadCheckpoint { room_id: RoomId, seq: Seq },
    /// The session is over; kept until `expires_at` (Unix seconds).
    RevokeSession { session_id: Box<str>, user_id: UserId, expires_at: i64 },
    /// All tokens of the user with `iat` before this (Unix seconds) are over, and all the user's own sessions.
    RevokeUser { user_id: UserId, before: i64 },
}

/// An event or write of a refused batch that had been done before, under the same key. For events (room, author, client id); for
/// `CreateRoom`/`CreateDm` (creator, client id); for `CreateDm` with `pair` also the pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Duplicate {
    /// Index into [`Batch::events`], or into [`Batch::writes`].
    pub index: usize,
    /// Which of the two.
    pub is_event: bool,
    /// The room that the first one made or went into.
    pub room_id: RoomId,
    /// The `seq` of the first one (0 for rooms).
    pub seq: Seq,
    /// Its time.
    pub at: WallMs,
    /// Its stored hash; `None` if it was found by its pair alone.
    pub hash: Option<u64>,
}

/// What became of a batch. The store repeats a batch by itself until it knows; "unknown" is not an outcome.
#[allow(missing_docs)] // the variant's text says what its fields are
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchOutcome {
    /// All of it is committed (now, or by an earlier attempt whose answer was lost).
    Committed,
    /// Nothing of it is committed: rows of a foreign writer hold a `seq`, or a key was used before. The engine
    /// drops the duplicates, reads `stale` rooms again, and sends the rest under a new number with new seqs.
    Conflict { stale: Vec<RoomId>, duplicates: Vec<Duplicate> },
    /// Nothing of it is committed: the database refuses these for what they contain (22*, 23*), found by bisecting.
    /// Indices into [`Batch::events`] and [`Batch::writes`].
    Refused { events: Vec<usize>, writes: Vec<usize>, cause: Box<str> },
}

/// Everything that a room needs to come to life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomState {
    /// Settings.
    pub meta: RoomMeta,
    /// The last event's position.
    pub head: Seq,
    /// Messages up to the head.
    pub message_no: u64,
    /// Members.
    pub member_count: u32,
    /// The newest events, ascending, ending at the head (up to `tail` asked for; fewer in bytes if large).
    pub tail: Vec<EventRecord>,
    /// The asked-for users' memberships; absent: no member. Read positions include the users' own messages.
    pub members: Vec<MemberRow>,
    /// Conversations: all participants. Empty for rooms.
    pub participants: Vec<UserRow>,
}

/// A row of `list_rooms`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomSummary {
    /// Settings.
    pub meta: RoomMeta,
    /// Head.
    pub head: Seq,
    /// Members.
    pub member_count: u32,
}

/// A row of `get_unread`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadRow {
    /// The room.
    pub room_id: RoomId,
    /// Its kind.
    pub kind: RoomKind,
    /// Its epoch.
    pub epoch: u64,
    /// Head.
    pub head: Seq,
    /// The member's position, own messages included.
    pub last_read_seq: Seq,
    /// Messages of others after it.
    pub unread_count: u64,
}

/// A row of `list_dms`, newest activity first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DmSummary {
    /// Conversation, position and unread count of the caller.
    pub unread: UnreadRow,
    /// All participants.
    pub users: Vec<UserRow>,
    /// The newest message.
    pub last_message: Option<EventRecord>,
}

/// A row of `list_sessions` (the server's own sessions; live ones of foreign tokens are added by the engine).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRow {
    /// `sid`.
    pub session_id: Box<str>,
    /// Login.
    pub created_at: WallMs,
    /// Last refresh.
    pub last_used_at: WallMs,
    /// End of the refresh token, Unix seconds.
    pub expires_at: i64,
}

/// Why a token is not good any more.
#[allow(missing_docs)] // the variant's text says what its fields are
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// One session, kept until `expires_at` (Unix seconds).
    Session { session_id: Box<str>, expires_at: i64 },
    /// All tokens of a user issued before (Unix seconds).
    User { user_id: UserId, before: i64 },
}

/// A page cursor is opaque to clients and engine: the store makes it and reads it. A cursor that it cannot read
/// gives [`LoadError::BadCursor`].
pub type Cursor = Option<Box<str>>;

/// A query.
#[allow(missing_docs)] // the variant's text says what its fields are
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Load {
    /// Finds the user of a token, makes one if `auto_provision` allows, renames by a free `username` claim. The
    /// store answers many of these with one query (storms).
    Identify { identity: Box<Identity> },
    /// A room, its newest `tail` events, and the memberships of these users.
    Room { room_id: RoomId, tail: u32, members: Vec<UserId> },
    /// More memberships. Read positions include the users' own messages.
    Members { room_id: RoomId, user_ids: Vec<UserId> },
    /// Events with `seq` > `after`, ascending, up to `limit` and about 256 KiB (at least one if there is any).
    Events { room_id: RoomId, after: Seq, limit: u32 },
    /// Up to `limit` messages with id < `before` (`None`: from the newest), ascending.
    HistoryBefore { room_id: RoomId, before: Option<Seq>, limit: u32 },
    /// Up to `limit` messages with id > `after`, ascending.
    HistoryAfter { room_id: RoomId, after: Seq, limit: u32 },
    /// One message.
    Message { room_id: RoomId, message_id: Seq },
    /// A page of members by ascending user id.
    MemberPage { room_id: RoomId, role: Option<Box<str>>, among: Option<Vec<UserId>>, limit: u32, cursor: Cursor },
    /// A page of rooms by ascending id; `query` matches part of the name, ignoring case.
    RoomPage { filter: RoomFilter, user_id: UserId, query: Option<Box<str>>, limit: u32, cursor: Cursor },
    /// All rooms and conversations of a user.
    Unread { user_id: UserId },
    /// A page of conversations, newest activity first.
    DmPage { user_id: UserId, limit: u32, cursor: Cursor },
    /// What a creation needs to know: rooms created by the user, an earlier creation under this client id, an
    /// existing conversation of this pair, and which of these users exist.
    Creation { user_id: UserId, client_id: Option<Box<str>>, pair: Option<(UserId, UserId)>, users: Vec<UserId> },
    /// An earlier event of this author with this client id.
    ClientEvent { room_id: RoomId, user_id: UserId, client_id: Box<str> },
    /// One user.
    User { user_id: UserId },
    /// A page of users by username; `query` matches the beginning, ignoring case.
    UserPage { query: Option<Box<str>>, limit: u32, cursor: Cursor },
    /// The user's own unended sessions, newest first.
    Sessions { user_id: UserId },
    /// A block of this many room ids that nobody has; answers the first.
    ReserveRooms { count: u32 },
}

/// An earlier command found by its client id or pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Earlier {
    /// The room that it made or went into.
    pub room_id: RoomId,
    /// Room or conversation (what the client id was used for).
    pub kind: RoomKind,
    /// 0 for creations.
    pub seq: Seq,
    /// When.
    pub at: WallMs,
    /// Hash of its data; `None` if found by pair.
    pub hash: Option<u64>,
}

/// The answer to a [`Load`], variant by variant.
#[allow(missing_docs)] // the variant's text says what its fields are
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loaded {
    /// To `Identify`, `User`; `None`: unknown and not to be provisioned.
    User(Option<UserRow>),
    /// To `Room`; `None`: no such room.
    Room(Option<Box<RoomState>>),
    /// To `Members`: those who are members.
    Members(Vec<MemberRow>),
    /// To `Events`.
    Events(Vec<EventRecord>),
    /// To `HistoryBefore`, `HistoryAfter`: `more` lie beyond in the direction asked.
    History { messages: Vec<EventRecord>, more: bool },
    /// To `Message`.
    Message(Option<Box<EventRecord>>),
    /// To `MemberPage`: member and username.
    MemberPage { members: Vec<(MemberRow, Box<str>)>, next: Cursor },
    /// To `RoomPage`.
    RoomPage { rooms: Vec<RoomSummary>, next: Cursor },
    /// To `Unread`.
    Unread(Vec<UnreadRow>),
    /// To `DmPage`.
    DmPage { conversations: Vec<DmSummary>, next: Cursor },
    /// To `Creation`. `by_client` and `by_pair` are earlier creations; `users`: those of the asked that exist.
    Creation { created_rooms: u32, by_client: Option<Earlier>, by_pair: Option<Earlier>, users: Vec<UserRow> },
    /// To `ClientEvent`.
    ClientEvent(Option<Earlier>),
    /// To `UserPage`.
    UserPage { users: Vec<UserRow>, next: Cursor },
    /// To `Sessions`.
    Sessions(Vec<SessionRow>),
    /// To `ReserveRooms`: the first id of the block.
    Reserved(u64),
}

/// Why a query has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoadError {
    /// The database did not answer within the deadline.
    Unavailable,
    /// The client's cursor is not one of ours.
    BadCursor,
    /// The database refused the query: our bug, in the log.
    Failed,
}
