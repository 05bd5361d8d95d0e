//! What the engine asks of the database, as closed enums. The engine never does IO: it emits a [`Batch`] or a
//! [`Load`] as an effect and is handed a [`BatchOutcome`] or a [`Loaded`] later. `src/store` implements both.

use std::sync::Arc;

use crate::id::{RoomId, Seq, UserId};
use crate::input::Identity;
use crate::time::WallMs;
use crate::wire::{ClientKey, Permissions, RoomFilter, SanctionKind, SearchMessages, Status, Visibility};

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
    /// New content of `parent_id`.
    Edit = 3,
    /// `parent_id` is a tombstone now.
    Delete = 4,
    /// `data` has the emoji and its count.
    ReactionAdded = 5,
    /// The same.
    ReactionRemoved = 6,
    /// `parent_id` is pinned.
    Pinned = 7,
    /// It is not any more.
    Unpinned = 8,
    /// `data` has user_id and username.
    Kicked = 9,
    /// `data` has user_id, username and role.
    RoleChanged = 10,
    /// `data` has user_id, kind and expires_at.
    Sanctioned = 11,
    /// `data` has the room.
    RoomUpdated = 12,
    /// The last event of the room.
    RoomDeleted = 13,
}

impl EventKind {
    /// From its stored number.
    pub fn from_number(number: i16) -> Option<EventKind> {
        use EventKind::*;
        let all = [
            Message,
            Void,
            Edit,
            Delete,
            ReactionAdded,
            ReactionRemoved,
            Pinned,
            Unpinned,
            Kicked,
            RoleChanged,
            Sanctioned,
            RoomUpdated,
            RoomDeleted,
        ];
        all.into_iter().find(|kind| *kind as i16 == number)
    }
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
    /// Text of a message as it now is, or of an edit as it was. Of deleted messages it stays (with the row of each of
    /// their edits) until the grace is over: whoever encodes them leaves it out.
    pub content: Option<Box<str>>,
    /// A message: the root of the thread that it is in. Edit, delete, reaction, pin: the message that it is about.
    pub parent_id: Option<Seq>,
    /// JSON object: a message's metadata; of other events what the push has besides (see [`EventKind`]).
    pub data: Option<Box<str>>,
    /// Message and edit: mentioned members, ascending. Stored as a JSON array, `NULL` if empty.
    pub mentions: Box<[UserId]>,
    /// Why: of an edit, delete, kick or sanction. In no push.
    pub reason: Option<Box<str>>,
}

impl EventRow {
    /// A row without anything special.
    pub fn new(room_id: RoomId, seq: Seq, kind: EventKind, at: WallMs, message_no: u64) -> EventRow {
        EventRow {
            room_id,
            seq,
            kind,
            at,
            message_no,
            author_id: None,
            client: None,
            content: None,
            parent_id: None,
            data: None,
            mentions: Box::default(),
            reason: None,
        }
    }
}

/// What has become of a message since it was sent, as it now is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageState {
    /// Edits.
    pub edit_count: u32,
    /// Time of the newest one.
    pub edited_at: Option<WallMs>,
    /// It is a tombstone since. Set on the rows of its edits, too.
    pub deleted_at: Option<WallMs>,
    /// Position of the event that pinned it.
    pub pinned: Option<Seq>,
    /// Answers in its thread, deleted ones included.
    pub thread_count: u32,
    /// In the order of the first ones.
    pub reactions: Vec<Reaction>,
    /// Distinct authors of the answers, up to [`PARTICIPANTS_MAX`]. Only filled by `Load::Message`.
    pub participants: Vec<UserId>,
}

/// One emoji on a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reaction {
    /// Which.
    pub emoji: Box<str>,
    /// How many users; ≥ 1.
    pub count: u32,
    /// Up to [`REACTORS_MAX`] of them, ascending. A load with a `reader` has the reader in it if he is one, whatever
    /// the count.
    pub users: Vec<UserId>,
}

/// Users that a [`Reaction`] names.
pub const REACTORS_MAX: usize = 128;
/// Participants of a thread that are told of new answers.
pub const PARTICIPANTS_MAX: usize = 64;

/// A stored event as it is now, with its author's present name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRecord {
    /// The row.
    pub row: EventRow,
    /// The author's present username; `None` for `void`.
    pub username: Option<Arc<str>>,
    /// Of a message, or of an edit whose message is deleted; `None`: nothing has happened to it.
    pub state: Option<Box<MessageState>>,
}

impl EventRecord {
    /// Its message is deleted.
    pub fn is_deleted(&self) -> bool {
        self.state.as_ref().is_some_and(|state| state.deleted_at.is_some())
    }
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

/// What a room knows of a user who acts in it or is acted on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Who.
    pub user_id: UserId,
    /// Present name.
    pub username: Box<str>,
    /// The membership, if there is one. The read position includes the user's own messages.
    pub member: Option<MemberRow>,
    /// An invitation is open.
    pub invited: bool,
    /// Mutes and bans of this room that are neither lifted nor over.
    pub sanctions: Vec<SanctionRow>,
}

/// A sanction in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SanctionRow {
    /// Of the server's block of ids.
    pub sanction_id: u64,
    /// Where.
    pub room_id: RoomId,
    /// Whom.
    pub user_id: UserId,
    /// What.
    pub kind: SanctionKind,
    /// Why.
    pub reason: Box<str>,
    /// By whom.
    pub actor_id: UserId,
    /// When.
    pub at: WallMs,
    /// `None`: for good.
    pub expires_at: Option<WallMs>,
    /// Lifted, when and by whom.
    pub lifted: Option<(WallMs, UserId)>,
}

impl SanctionRow {
    /// Whether it is in force (mutes and bans).
    pub fn is_active(&self, now: WallMs) -> bool {
        self.lifted.is_none()
            && self.expires_at.is_none_or(|end| end > now)
            && matches!(self.kind, SanctionKind::Mute | SanctionKind::Ban)
    }
}

/// A custom role of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleRow {
    /// `[a-z0-9_-]{1,32}`, none of the built-in ones.
    pub name: Box<str>,
    /// What it allows.
    pub permissions: Permissions,
}

/// What the home of a user needs to know of him.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// As last set.
    pub status: Status,
    /// With its text.
    pub message: Option<Box<str>>,
    /// End of the last connection before.
    pub last_seen_at: Option<WallMs>,
    /// Whom the user blocks, ascending.
    pub blocks: Vec<UserId>,
    /// His conversations (up to [`CONTACTS_MAX`], the newest) with their other participants.
    pub contacts: Vec<(RoomId, Vec<UserId>)>,
}

/// Conversations whose participants learn of a user's presence.
pub const CONTACTS_MAX: usize = 500;

/// A version of a message, for `get_edits`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EditRow {
    /// Its text.
    pub content: Box<str>,
    /// When it was written.
    pub edited_at: WallMs,
    /// By whom.
    pub editor_id: UserId,
    /// Why.
    pub reason: Option<Box<str>>,
}

/// A row of `get_reactions`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReactionRow {
    /// Which.
    pub emoji: Box<str>,
    /// How many.
    pub count: u32,
    /// Up to 100 users with their present names, by id.
    pub users: Vec<(UserId, Box<str>)>,
}

/// What `get_room_stats` asks of the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoomStats {
    /// Messages that are retained and not deleted.
    pub message_count: u64,
    /// Distinct authors in the last hour.
    pub active_members_1h: u64,
    /// The newest message.
    pub last_message_at: Option<WallMs>,
    /// In the last 24 hours.
    pub messages_24h: u64,
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

    /// New content of a message. The first one keeps the original aside.
    Edited { room_id: RoomId, message_id: Seq, content: Box<str>, mentions: Box<[UserId]>, count: u32, at: WallMs },
    /// A tombstone: message and edits get `deleted_at`, it is not pinned any more, its mentions are gone. Content stays
    /// until the grace is over.
    Deleted { room_id: RoomId, message_id: Seq, at: WallMs },
    /// Position of the event that pinned it; `None`: not pinned.
    Pinned { room_id: RoomId, message_id: Seq, pinned: Option<Seq> },
    /// Absolute count of a message's answers.
    ThreadCount { room_id: RoomId, message_id: Seq, count: u32 },
    /// The user has reacted (`present`) or not, and how many have now. `seq`: of the event.
    Reaction { room_id: RoomId, message_id: Seq, user_id: UserId, emoji: Box<str>, present: bool, count: u32, seq: Seq },
    /// Whom a message mentions, for their inboxes: replaces what was there. `everyone`: all members.
    Mentions { room_id: RoomId, message_id: Seq, at: WallMs, users: Box<[UserId]>, everyone: bool },

    /// A room's settings (kind, epoch and creation stay).
    UpdateRoom { meta: RoomMeta },
    /// The room is gone for everybody; its rows are deleted in the background.
    DeleteRoom { room_id: RoomId, at: WallMs },
    /// An open invitation (insert or replace).
    Invite { room_id: RoomId, user_id: UserId, inviter_id: UserId, at: WallMs },
    /// It is taken, declined, or void.
    DropInvite { room_id: RoomId, user_id: UserId },
    /// A custom role as given (insert or replace).
    PutRole { room_id: RoomId, role: RoleRow },
    /// It is gone; whoever has it becomes `member`.
    DropRole { room_id: RoomId, name: Box<str> },
    /// A sanction as given (insert or replace).
    Sanction { row: SanctionRow },

    /// What the user lets others see.
    Status { user_id: UserId, status: Status, message: Option<Box<str>> },
    /// End of the user's last connection; only advances.
    LastSeen { user_id: UserId, at: WallMs },
    /// A blocks B.
    Block { user_id: UserId, blocked_id: UserId, at: WallMs },
    /// Not any more.
    Unblock { user_id: UserId, blocked_id: UserId },
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
    /// The last event that retention has removed (0: none): events after it are all there.
    pub floor: Seq,
    /// What is known of the asked-for users; absent: no such user.
    pub standings: Vec<Standing>,
    /// Conversations: all participants. Empty for rooms.
    pub participants: Vec<UserRow>,
    /// Custom roles by name.
    pub roles: Vec<RoleRow>,
    /// Pinned messages.
    pub pinned_count: u32,
    /// Conversations of two: who blocks whom.
    pub blocks: Vec<(UserId, UserId)>,
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
    /// Messages of others after it that mention the member or everybody and are not deleted.
    pub mention_count: u64,
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
    /// The caller blocks the other one (conversations of two).
    pub is_blocked: bool,
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
    /// What is known of more users.
    Members { room_id: RoomId, user_ids: Vec<UserId> },
    /// Events with `seq` > `after`, ascending, up to `limit` and about 256 KiB (at least one if there is any).
    Events { room_id: RoomId, after: Seq, limit: u32 },
    /// Up to `limit` messages with id < `before` (`None`: from the newest), ascending.
    HistoryBefore { room_id: RoomId, before: Option<Seq>, limit: u32, reader: UserId },
    /// Up to `limit` messages with id > `after`, ascending.
    HistoryAfter { room_id: RoomId, after: Seq, limit: u32, reader: UserId },
    /// One message, with the participants of its thread.
    Message { room_id: RoomId, message_id: Seq, reader: UserId },
    /// All versions of a message, the original first.
    Edits { room_id: RoomId, message_id: Seq },
    /// A message and up to `limit` answers with id > `after`, ascending.
    Thread { room_id: RoomId, parent_id: Seq, after: Seq, limit: u32, reader: UserId },
    /// The room's pinned messages, the one pinned last first.
    Pinned { room_id: RoomId, reader: UserId },
    /// Who reacted how to a message.
    Reactions { room_id: RoomId, message_id: Seq },
    /// Messages that contain the words (the last one may be a beginning), best first; only in rooms that the reader is
    /// a member of, and never deleted ones.
    Search { reader: UserId, search: Box<SearchMessages> },
    /// Messages that mention the user or (since he joined) everybody in a room that he is a member of; newest first.
    Mentions { reader: UserId, limit: u32, cursor: Cursor },
    /// Which of these usernames (lower case) are members of the room.
    Names { room_id: RoomId, names: Vec<Box<str>> },
    /// Counts for `get_room_stats`.
    RoomStats { room_id: RoomId, now: WallMs },
    /// Status, blocks and contacts. The store answers many of these with one query (storms).
    Profile { user_id: UserId },
    /// Whom the user blocks, and since when.
    Blocks { user_id: UserId },
    /// One sanction.
    Sanction { sanction_id: u64 },
    /// A page of sanctions, newest first. `active`: in force (or not) at `now`.
    Sanctions {
        room_id: Option<RoomId>,
        user_id: Option<UserId>,
        active: Option<bool>,
        now: WallMs,
        limit: u32,
        cursor: Cursor,
    },
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
    Creation { user_id: UserId, client_id: Option<Arc<str>>, pair: Option<(UserId, UserId)>, users: Vec<UserId> },
    /// An earlier event of this author with this client id.
    ClientEvent { room_id: RoomId, user_id: UserId, client_id: Arc<str> },
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
    /// To `Members`: those who exist.
    Members(Vec<Standing>),
    /// To `Events`.
    Events(Vec<EventRecord>),
    /// To `HistoryBefore`, `HistoryAfter`: `more` lie beyond in the direction asked.
    History { messages: Vec<EventRecord>, more: bool },
    /// To `Message`.
    Message(Option<Box<EventRecord>>),
    /// To `Edits`; empty: no such message.
    Edits(Vec<EditRow>),
    /// To `Thread`; `None`: no such message.
    Thread { parent: Option<Box<EventRecord>>, messages: Vec<EventRecord>, more: bool },
    /// To `Pinned`.
    Pinned(Vec<EventRecord>),
    /// To `Reactions`.
    Reactions(Vec<ReactionRow>),
    /// To `Search`, `Mentions`.
    Messages { messages: Vec<EventRecord>, next: Cursor },
    /// To `Names`: name and user.
    Names(Vec<(Box<str>, UserId)>),
    /// To `RoomStats`.
    RoomStats(RoomStats),
    /// To `Profile`.
    Profile(Box<Profile>),
    /// To `Blocks`, by user id.
    Blocks(Vec<(UserRow, WallMs)>),
    /// To `Sanction`.
    Sanction(Option<Box<SanctionRow>>),
    /// To `Sanctions`: the sanction and the present name of whom it is for.
    Sanctions { sanctions: Vec<(SanctionRow, Box<str>)>, next: Cursor },
    /// To `MemberPage`: member and username.
    MemberPage { members: Vec<(MemberRow, Box<str>)>, next: Cursor },
    /// To `RoomPage`.
    RoomPage { rooms: Vec<RoomSummary>, next: Cursor },
    /// To `Unread`.
    Unread(Vec<UnreadRow>),
    /// To `DmPage`.
    DmPage { conversations: Vec<DmSummary>, next: Cursor },
    /// To `Creation`. `by_client` and `by_pair` are earlier creations; `users`: those of the asked that exist;
    /// `blocked_by`: those of them who block the creator.
    Creation {
        created_rooms: u32,
        by_client: Option<Earlier>,
        by_pair: Option<Earlier>,
        users: Vec<UserRow>,
        blocked_by: Vec<UserId>,
    },
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
