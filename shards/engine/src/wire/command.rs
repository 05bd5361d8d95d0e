//! The commands that clients send, as one closed enum; [`super::parse`] makes them from JSON.
//! Values are checked for type, range and the fixed limits of the protocol when they are made; what depends on
//! state or configuration (rights, `max_message_length`) is checked where the command takes effect.

use crate::id::{RoomId, Seq, UserId};

/// A position that a returning client names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResumePoint {
    /// The room.
    pub room_id: RoomId,
    /// The last `seq` that the client saw; `None` (only with `subscribe`/`join_room`): live events only.
    pub last_seq: Option<Seq>,
    /// The room's epoch as the client knew it.
    pub epoch: Option<u64>,
}

/// Who may find and join a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Visibility {
    /// Anybody.
    Public = 0,
    /// Invited users.
    Private = 1,
}

/// What `list_rooms` lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RoomFilter {
    /// Public rooms.
    Public = 0,
    /// Rooms that the caller is a member of.
    Joined = 1,
    /// Rooms with an open invitation for the caller.
    Invited = 2,
}

/// A `client_id` and the hash of the command's known fields: same id and other hash is a conflict.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientKey {
    /// 1–64 bytes, chosen by the client.
    pub id: Box<str>,
    /// Hash of the known fields after parsing, `null` as absent. Stored as a signed 64-bit integer, so it must
    /// never change between versions: FNV-1a over a canonical encoding (see `wire::parse`).
    pub hash: u64,
}

/// `create_room`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateRoom {
    /// 1–100 characters.
    pub name: Box<str>,
    /// Default public.
    pub visibility: Visibility,
    /// ≤ 1,000 characters.
    pub description: Option<Box<str>>,
    /// ≤ 250 characters.
    pub topic: Option<Box<str>>,
    /// ≥ 1; not over `limits.max_members_per_room`, which is the default.
    pub max_members: Option<u32>,
    /// Seconds between two messages of one member, 0 = off.
    pub slow_mode_s: Option<u32>,
    /// Days until a message goes, 0 or absent = never.
    pub retention_days: Option<u32>,
    /// For repetition.
    pub client: Option<ClientKey>,
}

/// `send_message` and `send_dm`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendMessage {
    /// The room or conversation.
    pub room_id: RoomId,
    /// `send_dm`: only conversations will do. `send_message` takes both.
    pub dm_only: bool,
    /// Checked: no control characters but \n and \t, at least one visible character.
    pub content: Box<str>,
    /// Characters in `content` (what `max_message_length` counts).
    pub content_chars: u32,
    /// The message that this one answers.
    pub parent_id: Option<Seq>,
    /// For repetition.
    pub client: Option<ClientKey>,
    /// A JSON object as compact text, ≤ 4 KiB.
    pub metadata: Option<Box<str>>,
}

/// Which page of a room's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistoryAnchor {
    /// The newest messages.
    Newest,
    /// Messages with an id below this one.
    Before(Seq),
    /// Messages with an id above this one.
    After(Seq),
    /// Messages on both sides of this one, itself included.
    Around(Seq),
}

/// `create_dm`: with whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateDm {
    /// The other participants or all of them, as given; the caller is added, doubles removed, when it takes effect.
    pub user_ids: Vec<UserId>,
    /// `user1_id` + `user2_id` were given: one of them must be the caller.
    pub must_name_caller: bool,
    /// `user_ids` was given: a group, always new.
    pub group: bool,
    /// For repetition.
    pub client: Option<ClientKey>,
}

/// One command, parsed and checked.
#[allow(missing_docs)] // the variant's text says what its fields are
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Connection only.
    Authenticate { token: Box<str> },
    /// Connection only.
    RefreshToken { token: Box<str> },
    /// `timestamp` is any JSON scalar, echoed as raw JSON text.
    Ping { timestamp: Option<Box<str>> },
    /// Connection only; at most `limits.max_subscriptions` rooms.
    Resume { rooms: Vec<ResumePoint> },
    /// The caller's sessions.
    ListSessions,
    /// Ends one of the caller's sessions.
    RevokeSession { session_id: Box<str> },
    /// Ends this session, or all of the caller's.
    Logout { everywhere: bool },

    /// A new room, owned by the caller.
    CreateRoom(Box<CreateRoom>),
    /// One room.
    GetRoom { room_id: RoomId },
    /// A page of rooms.
    ListRooms { filter: RoomFilter, query: Option<Box<str>>, limit: u32, cursor: Option<Box<str>> },
    /// Becomes a member and subscribes this connection.
    JoinRoom { at: ResumePoint },
    /// Ends the membership.
    LeaveRoom { room_id: RoomId },
    /// This connection only, members only.
    Subscribe { at: ResumePoint },
    /// This connection only.
    Unsubscribe { room_id: RoomId },
    /// A page of members.
    GetMembers { room_id: RoomId, role: Option<Box<str>>, online: Option<bool>, limit: u32, cursor: Option<Box<str>> },
    /// Advances the caller's read position.
    MarkRead { room_id: RoomId, seq: Seq },
    /// Unread counts of all the caller's rooms and conversations.
    GetUnread,

    /// A message into a room or conversation.
    SendMessage(Box<SendMessage>),
    /// One message.
    GetMessage { room_id: RoomId, message_id: Seq },
    /// A page of messages.
    GetHistory { room_id: RoomId, anchor: HistoryAnchor, limit: u32 },

    /// A conversation with one user, or a group.
    CreateDm(Box<CreateDm>),
    /// A page of the caller's conversations.
    ListDms { limit: u32, cursor: Option<Box<str>> },

    /// One user.
    GetUser { user_id: UserId },
    /// A page of users.
    ListUsers { query: Option<Box<str>>, limit: u32, cursor: Option<Box<str>> },
}

/// The names of the commands, for metrics, routing and documents. One row a variant of [`Command`], `send_dm` extra.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs)] // each is the command of that name
pub enum CommandType {
    Authenticate,
    RefreshToken,
    Ping,
    Resume,
    ListSessions,
    RevokeSession,
    Logout,
    CreateRoom,
    GetRoom,
    ListRooms,
    JoinRoom,
    LeaveRoom,
    Subscribe,
    Unsubscribe,
    GetMembers,
    MarkRead,
    GetUnread,
    SendMessage,
    GetMessage,
    GetHistory,
    CreateDm,
    SendDm,
    ListDms,
    GetUser,
    ListUsers,
}

impl CommandType {
    /// Every command, in the order of the discriminants.
    pub const ALL: [CommandType; 25] = {
        use CommandType::*;
        [
            Authenticate,
            RefreshToken,
            Ping,
            Resume,
            ListSessions,
            RevokeSession,
            Logout,
            CreateRoom,
            GetRoom,
            ListRooms,
            JoinRoom,
            LeaveRoom,
            Subscribe,
            Unsubscribe,
            GetMembers,
            MarkRead,
            GetUnread,
            SendMessage,
            GetMessage,
            GetHistory,
            CreateDm,
            SendDm,
            ListDms,
            GetUser,
            ListUsers,
        ]
    };

    /// The command of this name.
    pub fn from_name(name: &str) -> Option<CommandType> {
        CommandType::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// As clients write it.
    pub fn name(self) -> &'static str {
        use CommandType::*;
        match self {
            Authenticate => "authenticate",
            RefreshToken => "refresh_token",
            Ping => "ping",
            Resume => "resume",
            ListSessions => "list_sessions",
            RevokeSession => "revoke_session",
            Logout => "logout",
            CreateRoom => "create_room",
            GetRoom => "get_room",
            ListRooms => "list_rooms",
            JoinRoom => "join_room",
            LeaveRoom => "leave_room",
            Subscribe => "subscribe",
            Unsubscribe => "unsubscribe",
            GetMembers => "get_members",
            MarkRead => "mark_read",
            GetUnread => "get_unread",
            SendMessage => "send_message",
            GetMessage => "get_message",
            GetHistory => "get_history",
            CreateDm => "create_dm",
            SendDm => "send_dm",
            ListDms => "list_dms",
            GetUser => "get_user",
            ListUsers => "list_users",
        }
    }

    /// Needs a connection: over HTTP it is `INVALID_REQUEST`.
    pub fn connection_only(self) -> bool {
        use CommandType::*;
        matches!(self, Authenticate | RefreshToken | Resume | Subscribe | Unsubscribe)
    }
}

impl Command {
    /// Its name.
    pub fn kind(&self) -> CommandType {
        use Command as C;
        use CommandType as T;
        match self {
            C::Authenticate { .. } => T::Authenticate,
            C::RefreshToken { .. } => T::RefreshToken,
            C::Ping { .. } => T::Ping,
            C::Resume { .. } => T::Resume,
            C::ListSessions => T::ListSessions,
            C::RevokeSession { .. } => T::RevokeSession,
            C::Logout { .. } => T::Logout,
            C::CreateRoom(_) => T::CreateRoom,
            C::GetRoom { .. } => T::GetRoom,
            C::ListRooms { .. } => T::ListRooms,
            C::JoinRoom { .. } => T::JoinRoom,
            C::LeaveRoom { .. } => T::LeaveRoom,
            C::Subscribe { .. } => T::Subscribe,
            C::Unsubscribe { .. } => T::Unsubscribe,
            C::GetMembers { .. } => T::GetMembers,
            C::MarkRead { .. } => T::MarkRead,
            C::GetUnread => T::GetUnread,
            C::SendMessage(send) if send.dm_only => T::SendDm,
            C::SendMessage(_) => T::SendMessage,
            C::GetMessage { .. } => T::GetMessage,
            C::GetHistory { .. } => T::GetHistory,
            C::CreateDm(_) => T::CreateDm,
            C::ListDms { .. } => T::ListDms,
            C::GetUser { .. } => T::GetUser,
            C::ListUsers { .. } => T::ListUsers,
        }
    }

    /// The room that the command is about, if it is about one.
    pub fn room_id(&self) -> Option<RoomId> {
        use Command as C;
        match self {
            C::GetRoom { room_id }
            | C::LeaveRoom { room_id }
            | C::Unsubscribe { room_id }
            | C::GetMembers { room_id, .. }
            | C::MarkRead { room_id, .. }
            | C::GetMessage { room_id, .. }
            | C::GetHistory { room_id, .. } => Some(*room_id),
            C::JoinRoom { at } | C::Subscribe { at } => Some(at.room_id),
            C::SendMessage(send) => Some(send.room_id),
            _ => None,
        }
    }
}
