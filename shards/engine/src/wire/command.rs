//! The commands that clients send, as one closed enum; [`super::parse`] makes them from JSON.
//! Values are checked for type, range and the fixed limits of the protocol when they are made; what depends on
//! state or configuration (rights, `max_message_length`) is checked where the command takes effect.

use std::sync::Arc;

use super::Permissions;
use crate::id::{RoomId, Seq, UserId};
use crate::time::WallMs;

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
    /// 1–64 bytes, chosen by the client. Shared: the row and what the room remembers of it hold the same one.
    pub id: Arc<str>,
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

/// What a user lets others see of being there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// There.
    #[default]
    Online = 0,
    /// Not at the keyboard.
    Away = 1,
    /// Wants to be left alone.
    Busy = 2,
    /// Others see `offline`.
    Invisible = 3,
}

impl Status {
    /// Every status with its name, as in `update_status`.
    pub const WORDS: [(&'static str, Status); 4] =
        [("online", Status::Online), ("away", Status::Away), ("busy", Status::Busy), ("invisible", Status::Invisible)];

    /// As others see it.
    pub fn shown(self) -> &'static str {
        match self {
            Status::Online => "online",
            Status::Away => "away",
            Status::Busy => "busy",
            Status::Invisible => "offline",
        }
    }
}

/// `update_room`: what is `None` stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateRoom {
    /// The room.
    pub room_id: RoomId,
    /// 1–100 characters.
    pub name: Option<Box<str>>,
    /// ≤ 1,000 characters; "" takes it away.
    pub description: Option<Box<str>>,
    /// ≤ 250 characters; "" takes it away.
    pub topic: Option<Box<str>>,
    /// Public or private.
    pub visibility: Option<Visibility>,
    /// ≥ 1.
    pub max_members: Option<u32>,
    /// Seconds, 0 = off.
    pub slow_mode_s: Option<u32>,
    /// Days, 0 = never.
    pub retention_days: Option<u32>,
    /// No new messages.
    pub archived: Option<bool>,
}

/// `edit_message`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EditMessage {
    /// The room or conversation.
    pub room_id: RoomId,
    /// The message.
    pub message_id: Seq,
    /// As of `send_message`.
    pub content: Box<str>,
    /// Characters in `content`.
    pub content_chars: u32,
    /// ≤ 250 characters.
    pub reason: Option<Box<str>>,
}

/// `search_messages`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchMessages {
    /// Words, at least one character after trimming.
    pub query: Box<str>,
    /// Only here.
    pub room_id: Option<RoomId>,
    /// Only of this author.
    pub author_id: Option<UserId>,
    /// Sent at or after.
    pub from: Option<WallMs>,
    /// Sent before.
    pub to: Option<WallMs>,
    /// 1–100.
    pub limit: u32,
    /// Of the page before.
    pub cursor: Option<Box<str>>,
}

/// Kinds of sanctions. The number is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i16)]
pub enum SanctionKind {
    /// Is told so.
    Warn = 1,
    /// Reads, but neither writes nor reacts.
    Mute = 2,
    /// The membership ends.
    Kick = 3,
    /// The membership ends, and there is no way back while it lasts.
    Ban = 4,
}

impl SanctionKind {
    /// Every kind with its name.
    pub const WORDS: [(&'static str, SanctionKind); 4] = [
        ("warn", SanctionKind::Warn),
        ("mute", SanctionKind::Mute),
        ("kick", SanctionKind::Kick),
        ("ban", SanctionKind::Ban),
    ];

    /// As clients read it.
    pub fn name(self) -> &'static str {
        SanctionKind::WORDS[self as usize - 1].0
    }

    /// From its stored number.
    pub fn from_number(number: i16) -> Option<SanctionKind> {
        SanctionKind::WORDS.iter().map(|(_, kind)| *kind).find(|kind| *kind as i16 == number)
    }
}

/// `sanction_user` in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SanctionUser {
    /// The room.
    pub room_id: RoomId,
    /// Whom.
    pub user_id: UserId,
    /// What.
    pub kind: SanctionKind,
    /// Seconds, ≥ 1; `None`: for good. Means nothing for `warn` and `kick`.
    pub duration_s: Option<u32>,
    /// 1–250 characters.
    pub reason: Box<str>,
    /// Stamped by the caller's home (0 before): ids come from its block.
    pub sanction_id: u64,
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

    /// What others see of the caller; kept over reconnects.
    UpdateStatus { status: Status, message: Option<Box<str>> },
    /// Settings.
    UpdateRoom(Box<UpdateRoom>),
    /// The room and all that is in it.
    DeleteRoom { room_id: RoomId },
    /// Lets a user in who may not come of his own accord.
    InviteMember { room_id: RoomId, user_id: UserId },
    /// Ends a membership.
    KickMember { room_id: RoomId, user_id: UserId, reason: Option<Box<str>> },
    /// A built-in or custom role; `owner` passes the ownership on.
    SetMemberRole { room_id: RoomId, user_id: UserId, role: Box<str> },
    /// A custom role.
    CreateRole { room_id: RoomId, name: Box<str>, permissions: Permissions },
    /// Its permissions, replaced.
    UpdateRole { room_id: RoomId, name: Box<str>, permissions: Permissions },
    /// Whoever has it becomes a plain member.
    DeleteRole { room_id: RoomId, name: Box<str> },
    /// Built-in and custom ones.
    ListRoles { room_id: RoomId },
    /// Connection only, ephemeral.
    Typing { room_id: RoomId, is_typing: bool },
    /// Counts.
    GetRoomStats { room_id: RoomId },

    /// New content of an own message.
    EditMessage(Box<EditMessage>),
    /// A tombstone stays.
    DeleteMessage { room_id: RoomId, message_id: Seq, reason: Option<Box<str>> },
    /// All versions, oldest first.
    GetEdits { room_id: RoomId, message_id: Seq },
    /// A message and the answers to it.
    GetThread { room_id: RoomId, parent_id: Seq, after_id: Option<Seq>, limit: u32 },
    /// Full text.
    SearchMessages(Box<SearchMessages>),
    /// To the room's pinned messages.
    PinMessage { room_id: RoomId, message_id: Seq },
    /// From them.
    UnpinMessage { room_id: RoomId, message_id: Seq },
    /// The one pinned last first.
    GetPinnedMessages { room_id: RoomId },
    /// `emoji`: checked form.
    AddReaction { room_id: RoomId, message_id: Seq, emoji: Box<str> },
    /// Takes it back.
    RemoveReaction { room_id: RoomId, message_id: Seq, emoji: Box<str> },
    /// Who reacted how.
    GetReactions { room_id: RoomId, message_id: Seq },
    /// The caller's inbox of mentions, newest first.
    GetMentions { limit: u32, cursor: Option<Box<str>> },

    /// That user can open no conversation with the caller, nor write into it.
    BlockUser { user_id: UserId },
    /// Takes it back.
    UnblockUser { user_id: UserId },
    /// Whom the caller blocks.
    ListBlocks,

    /// Warn, mute, kick or ban in a room.
    SanctionUser(Box<SanctionUser>),
    /// `room_id` is found and entered by the caller's home.
    LiftSanction { sanction_id: u64, room_id: Option<RoomId> },
    /// Of a room, or (without) the caller's own.
    ListSanctions {
        room_id: Option<RoomId>,
        user_id: Option<UserId>,
        active: Option<bool>,
        limit: u32,
        cursor: Option<Box<str>>,
    },
}

/// The names of the commands, for metrics, routing and documents, in the order of the protocol's sections. One row a
/// variant of [`Command`], `send_dm` extra.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs)] // each is the command of that name
pub enum CommandType {
    Authenticate,
    RefreshToken,
    Ping,
    Resume,
    UpdateStatus,
    ListSessions,
    RevokeSession,
    Logout,
    CreateRoom,
    GetRoom,
    ListRooms,
    UpdateRoom,
    DeleteRoom,
    JoinRoom,
    LeaveRoom,
    Subscribe,
    Unsubscribe,
    InviteMember,
    KickMember,
    SetMemberRole,
    GetMembers,
    CreateRole,
    UpdateRole,
    DeleteRole,
    ListRoles,
    MarkRead,
    GetUnread,
    Typing,
    GetRoomStats,
    SendMessage,
    EditMessage,
    DeleteMessage,
    GetMessage,
    GetEdits,
    GetHistory,
    GetThread,
    SearchMessages,
    PinMessage,
    UnpinMessage,
    GetPinnedMessages,
    AddReaction,
    RemoveReaction,
    GetReactions,
    GetMentions,
    CreateDm,
    SendDm,
    ListDms,
    BlockUser,
    UnblockUser,
    ListBlocks,
    GetUser,
    ListUsers,
    SanctionUser,
    LiftSanction,
    ListSanctions,
}

impl CommandType {
    /// Every command, in the order of the discriminants.
    pub const ALL: [CommandType; 55] = {
        use CommandType::*;
        [
            Authenticate,
            RefreshToken,
            Ping,
            Resume,
            UpdateStatus,
            ListSessions,
            RevokeSession,
            Logout,
            CreateRoom,
            GetRoom,
            ListRooms,
            UpdateRoom,
            DeleteRoom,
            JoinRoom,
            LeaveRoom,
            Subscribe,
            Unsubscribe,
            InviteMember,
            KickMember,
            SetMemberRole,
            GetMembers,
            CreateRole,
            UpdateRole,
            DeleteRole,
            ListRoles,
            MarkRead,
            GetUnread,
            Typing,
            GetRoomStats,
            SendMessage,
            EditMessage,
            DeleteMessage,
            GetMessage,
            GetEdits,
            GetHistory,
            GetThread,
            SearchMessages,
            PinMessage,
            UnpinMessage,
            GetPinnedMessages,
            AddReaction,
            RemoveReaction,
            GetReactions,
            GetMentions,
            CreateDm,
            SendDm,
            ListDms,
            BlockUser,
            UnblockUser,
            ListBlocks,
            GetUser,
            ListUsers,
            SanctionUser,
            LiftSanction,
            ListSanctions,
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
            UpdateStatus => "update_status",
            ListSessions => "list_sessions",
            RevokeSession => "revoke_session",
            Logout => "logout",
            CreateRoom => "create_room",
            GetRoom => "get_room",
            ListRooms => "list_rooms",
            UpdateRoom => "update_room",
            DeleteRoom => "delete_room",
            JoinRoom => "join_room",
            LeaveRoom => "leave_room",
            Subscribe => "subscribe",
            Unsubscribe => "unsubscribe",
            InviteMember => "invite_member",
            KickMember => "kick_member",
            SetMemberRole => "set_member_role",
            GetMembers => "get_members",
            CreateRole => "create_role",
            UpdateRole => "update_role",
            DeleteRole => "delete_role",
            ListRoles => "list_roles",
            MarkRead => "mark_read",
            GetUnread => "get_unread",
            Typing => "typing",
            GetRoomStats => "get_room_stats",
            SendMessage => "send_message",
            EditMessage => "edit_message",
            DeleteMessage => "delete_message",
            GetMessage => "get_message",
            GetEdits => "get_edits",
            GetHistory => "get_history",
            GetThread => "get_thread",
            SearchMessages => "search_messages",
            PinMessage => "pin_message",
            UnpinMessage => "unpin_message",
            GetPinnedMessages => "get_pinned_messages",
            AddReaction => "add_reaction",
            RemoveReaction => "remove_reaction",
            GetReactions => "get_reactions",
            GetMentions => "get_mentions",
            CreateDm => "create_dm",
            SendDm => "send_dm",
            ListDms => "list_dms",
            BlockUser => "block_user",
            UnblockUser => "unblock_user",
            ListBlocks => "list_blocks",
            GetUser => "get_user",
            ListUsers => "list_users",
            SanctionUser => "sanction_user",
            LiftSanction => "lift_sanction",
            ListSanctions => "list_sanctions",
        }
    }

    /// Needs a connection: over HTTP it is `INVALID_REQUEST`.
    pub fn connection_only(self) -> bool {
        use CommandType::*;
        matches!(self, Authenticate | RefreshToken | Resume | Subscribe | Unsubscribe | Typing)
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
            C::UpdateStatus { .. } => T::UpdateStatus,
            C::UpdateRoom(_) => T::UpdateRoom,
            C::DeleteRoom { .. } => T::DeleteRoom,
            C::InviteMember { .. } => T::InviteMember,
            C::KickMember { .. } => T::KickMember,
            C::SetMemberRole { .. } => T::SetMemberRole,
            C::CreateRole { .. } => T::CreateRole,
            C::UpdateRole { .. } => T::UpdateRole,
            C::DeleteRole { .. } => T::DeleteRole,
            C::ListRoles { .. } => T::ListRoles,
            C::Typing { .. } => T::Typing,
            C::GetRoomStats { .. } => T::GetRoomStats,
            C::EditMessage(_) => T::EditMessage,
            C::DeleteMessage { .. } => T::DeleteMessage,
            C::GetEdits { .. } => T::GetEdits,
            C::GetThread { .. } => T::GetThread,
            C::SearchMessages(_) => T::SearchMessages,
            C::PinMessage { .. } => T::PinMessage,
            C::UnpinMessage { .. } => T::UnpinMessage,
            C::GetPinnedMessages { .. } => T::GetPinnedMessages,
            C::AddReaction { .. } => T::AddReaction,
            C::RemoveReaction { .. } => T::RemoveReaction,
            C::GetReactions { .. } => T::GetReactions,
            C::GetMentions { .. } => T::GetMentions,
            C::BlockUser { .. } => T::BlockUser,
            C::UnblockUser { .. } => T::UnblockUser,
            C::ListBlocks => T::ListBlocks,
            C::SanctionUser(_) => T::SanctionUser,
            C::LiftSanction { .. } => T::LiftSanction,
            C::ListSanctions { .. } => T::ListSanctions,
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
            | C::GetHistory { room_id, .. }
            | C::DeleteRoom { room_id, .. }
            | C::InviteMember { room_id, .. }
            | C::KickMember { room_id, .. }
            | C::SetMemberRole { room_id, .. }
            | C::CreateRole { room_id, .. }
            | C::UpdateRole { room_id, .. }
            | C::DeleteRole { room_id, .. }
            | C::ListRoles { room_id, .. }
            | C::Typing { room_id, .. }
            | C::GetRoomStats { room_id, .. }
            | C::DeleteMessage { room_id, .. }
            | C::GetEdits { room_id, .. }
            | C::GetThread { room_id, .. }
            | C::PinMessage { room_id, .. }
            | C::UnpinMessage { room_id, .. }
            | C::GetPinnedMessages { room_id, .. }
            | C::AddReaction { room_id, .. }
            | C::RemoveReaction { room_id, .. }
            | C::GetReactions { room_id, .. } => Some(*room_id),
            C::JoinRoom { at } | C::Subscribe { at } => Some(at.room_id),
            C::SendMessage(send) => Some(send.room_id),
            C::UpdateRoom(update) => Some(update.room_id),
            C::EditMessage(edit) => Some(edit.room_id),
            C::SanctionUser(sanction) => Some(sanction.room_id),
            C::SearchMessages(search) => search.room_id,
            C::LiftSanction { room_id, .. } | C::ListSanctions { room_id, .. } => *room_id,
            _ => None,
        }
    }

    /// The other user whom the command is about, if it is about one in a room.
    pub fn subject(&self) -> Option<UserId> {
        use Command as C;
        match self {
            C::InviteMember { user_id, .. } | C::KickMember { user_id, .. } | C::SetMemberRole { user_id, .. } => {
                Some(*user_id)
            }
            C::SanctionUser(sanction) => Some(sanction.user_id),
            _ => None,
        }
    }
}
