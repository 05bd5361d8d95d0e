//! The rows.

use super::shapes::{COUNT_MAX, DUPLICATE, NEXT_CURSOR, ROLE_WORDS, ROOM_ID, SEQ, USER_ID, USERNAME, may, must};
use super::{
    CONVERSATION, CommandSpec, FieldSpec, MEMBER, MESSAGE, PushSpec, RESUME_POINT, RESUMED_ROOM, ROOM, SESSION, Shape,
    UNREAD_ROOM, USER,
};
use crate::wire::parse::{
    CURSOR_BYTES_MAX, DESCRIPTION_CHARS_MAX, GROUP_MAX, METADATA_BYTES_MAX, NAME_CHARS_MAX, PAGE_MAX, QUERY_BYTES_MAX,
    ROLE_BYTES_MAX, TIMESTAMP_BYTES_MAX, TOKEN_BYTES_MAX, TOPIC_CHARS_MAX,
};
use crate::wire::{CommandType as T, ErrorCode as E};

const _: () = assert!(GROUP_MAX == 10 && TIMESTAMP_BYTES_MAX == 64, "the texts below say so");

const TOKEN: FieldSpec = must("token", Shape::Token(TOKEN_BYTES_MAX), "an access token");
const LIMIT: FieldSpec = may("limit", Shape::Int(1, PAGE_MAX as u64), "default 50");
const CURSOR: FieldSpec = may("cursor", Shape::Token(CURSOR_BYTES_MAX), "next_cursor of the page before");
const QUERY: FieldSpec = may("query", Shape::Token(QUERY_BYTES_MAX), "");
const CLIENT_ID: FieldSpec = may("client_id", Shape::Token(64), "a repetition with it gives the first answer again");
const MESSAGE_ID: FieldSpec = must("message_id", Shape::Id, "");
const CONTENT: FieldSpec =
    must("content", Shape::Text(1_000_000), "at most limits.max_message_length characters, one of them visible");
const PARENT: FieldSpec = may("parent_id", Shape::Id, "the message that this one answers");
const METADATA: FieldSpec = may("metadata", Shape::Object(METADATA_BYTES_MAX), "");
const LAST_SEQ: FieldSpec =
    may("last_seq", Shape::Position, "the last seq that the client saw; what came since is replayed");
const EPOCH: FieldSpec = may("epoch", Shape::Position, "the room's epoch as the client knew it");
const CREATED_AT: FieldSpec = must("created_at", Shape::Time, "");

const AUTH_SUCCESS: &[FieldSpec] = &[
    USER_ID,
    USERNAME,
    must("role", ROLE_WORDS, ""),
    must("session_id", Shape::Token(128), ""),
    must("server_time", Shape::Time, ""),
    must("expires_at", Shape::Time, "end of the token"),
    must("ping_interval_ms", Shape::Int(0, COUNT_MAX), "silent for two of them: closed with 3003"),
    must("limits", Shape::Object(65_536), "the server's limits that a client needs to know"),
];
const ROOM_SEQ: &[FieldSpec] = &[ROOM_ID, SEQ];
const JOINED: &[FieldSpec] = &[
    must("room", Shape::Struct(&ROOM), ""),
    ROOM_ID,
    must("role", Shape::Text(256), "the caller's"),
    must("seq", Shape::Position, "live events begin at the very next one"),
    must("recovered", Shape::Flag, "nothing is missing since last_seq"),
    must("replayed", Shape::Position, "events that follow this reply"),
    must("online_count", Shape::Int(0, COUNT_MAX), ""),
    must("last_read_seq", Shape::Position, ""),
    must("unread_count", Shape::Int(0, COUNT_MAX), ""),
    may("reason", Shape::Word(&["not_found", "ahead", "too_old", "too_far", "epoch"]), "why not recovered"),
];
const SENT: &[FieldSpec] = &[ROOM_ID, MESSAGE_ID, SEQ, CREATED_AT, DUPLICATE];
const UNSEEN: &[E] = &[E::RoomNotFound, E::NotAMember];
const SENDING: &[E] =
    &[E::RoomNotFound, E::NotAMember, E::MessageNotFound, E::MessageTooLong, E::RoomArchived, E::IdempotencyConflict];
const PAGE_OF_ROOMS: &[FieldSpec] =
    &[may("filter", Shape::Word(&["public", "joined", "invited"]), "default public"), QUERY, LIMIT, CURSOR];

const fn row(
    kind: T,
    summary: &'static str,
    fields: &'static [FieldSpec],
    reply: &'static str,
    reply_fields: &'static [FieldSpec],
    errors: &'static [E],
) -> CommandSpec {
    CommandSpec { kind, summary, fields, reply, reply_fields, errors }
}

/// Every command.
pub const COMMANDS: [CommandSpec; 25] = [
    row(
        T::Authenticate,
        "Authenticates a connection that came without a token.",
        &[TOKEN],
        "auth_success",
        AUTH_SUCCESS,
        &[],
    ),
    row(
        T::RefreshToken,
        "Gives the connection a new access token of the same user.",
        &[TOKEN],
        "token_refreshed",
        &[must("expires_at", Shape::Time, "")],
        &[],
    ),
    row(
        T::Ping,
        "Asks for a sign of life.",
        &[may("timestamp", Shape::Scalar, "at most 64 bytes; comes back")],
        "pong",
        &[may("timestamp", Shape::Scalar, ""), must("server_time", Shape::Time, "")],
        &[],
    ),
    row(
        T::Resume,
        "Subscribes to many rooms at once and replays what the client has missed; the replayed events follow the reply.",
        &[must("rooms", Shape::List(&Shape::Struct(&RESUME_POINT)), "at most limits.max_subscriptions")],
        "resumed",
        &[must("rooms", Shape::List(&Shape::Struct(&RESUMED_ROOM)), "")],
        &[],
    ),
    row(
        T::ListSessions,
        "The caller's sessions.",
        &[],
        "session_list",
        &[must("sessions", Shape::List(&Shape::Struct(&SESSION)), "")],
        &[],
    ),
    row(
        T::RevokeSession,
        "Ends one of the caller's sessions everywhere within a second.",
        &[must("session_id", Shape::Token(TOKEN_BYTES_MAX), "")],
        "session_revoked",
        &[must("session_id", Shape::Token(128), "")],
        &[E::NotFound],
    ),
    row(
        T::Logout,
        "Ends this session, or all of the caller's.",
        &[may("everywhere", Shape::Flag, "default false")],
        "logged_out",
        &[],
        &[],
    ),
    row(
        T::CreateRoom,
        "Makes a room; the caller owns it and is its first member.",
        &[
            must("name", Shape::Text(NAME_CHARS_MAX), "need not be unique"),
            may("visibility", Shape::Word(&["public", "private"]), "default public"),
            may("description", Shape::Text(DESCRIPTION_CHARS_MAX), ""),
            may("topic", Shape::Text(TOPIC_CHARS_MAX), ""),
            may("max_members", Shape::Int(1, COUNT_MAX), "at most limits.max_members_per_room, which is the default"),
            may("slow_mode_s", Shape::Int(0, COUNT_MAX), ""),
            may("retention_days", Shape::Int(0, COUNT_MAX), ""),
            CLIENT_ID,
        ],
        "room_created",
        &[must("room", Shape::Struct(&ROOM), ""), ROOM_ID, SEQ, DUPLICATE],
        &[E::Conflict, E::IdempotencyConflict],
    ),
    row(T::GetRoom, "One room.", &[ROOM_ID], "room", &[must("room", Shape::Struct(&ROOM), "")], &[E::RoomNotFound]),
    row(
        T::ListRooms,
        "A page of rooms.",
        PAGE_OF_ROOMS,
        "room_list",
        &[must("rooms", Shape::List(&Shape::Struct(&ROOM)), ""), NEXT_CURSOR],
        &[],
    ),
    row(
        T::JoinRoom,
        "Makes the caller a member where that is allowed, and subscribes the connection.",
        &[ROOM_ID, LAST_SEQ, EPOCH],
        "room_joined",
        JOINED,
        &[E::RoomNotFound, E::RoomFull],
    ),
    row(
        T::LeaveRoom,
        "Ends the membership and every subscription of the user.",
        &[ROOM_ID],
        "room_left",
        ROOM_SEQ,
        &[E::RoomNotFound, E::NotAMember, E::Conflict],
    ),
    row(
        T::Subscribe,
        "Subscribes this connection to a room of the caller's.",
        &[ROOM_ID, LAST_SEQ, EPOCH],
        "subscribed",
        JOINED,
        UNSEEN,
    ),
    row(T::Unsubscribe, "Ends this connection's subscription.", &[ROOM_ID], "unsubscribed", ROOM_SEQ, UNSEEN),
    row(
        T::GetMembers,
        "A page of a room's members.",
        &[ROOM_ID, may("role", Shape::Token(ROLE_BYTES_MAX), ""), may("online", Shape::Flag, ""), LIMIT, CURSOR],
        "member_list",
        &[ROOM_ID, must("members", Shape::List(&Shape::Struct(&MEMBER)), ""), NEXT_CURSOR],
        UNSEEN,
    ),
    row(
        T::MarkRead,
        "Advances the caller's read position; it never goes back.",
        &[ROOM_ID, must("seq", Shape::Position, "read up to here")],
        "read_marked",
        &[
            ROOM_ID,
            must("seq", Shape::Position, "the position now held"),
            must("unread_count", Shape::Int(0, COUNT_MAX), ""),
        ],
        UNSEEN,
    ),
    row(
        T::GetUnread,
        "Heads, read positions and unread counts of all the caller's rooms and conversations.",
        &[],
        "unread",
        &[must("rooms", Shape::List(&Shape::Struct(&UNREAD_ROOM)), "")],
        &[],
    ),
    row(
        T::SendMessage,
        "Sends a message; the reply comes once it is stored.",
        &[ROOM_ID, CONTENT, PARENT, CLIENT_ID, METADATA],
        "message_sent",
        SENT,
        SENDING,
    ),
    row(
        T::GetMessage,
        "One message.",
        &[ROOM_ID, MESSAGE_ID],
        "message",
        &[must("message", Shape::Struct(&MESSAGE), "")],
        &[E::RoomNotFound, E::NotAMember, E::MessageNotFound],
    ),
    row(
        T::GetHistory,
        "A page of messages, ascending: the newest, or those before, after or around one. At most one of the three.",
        &[
            ROOM_ID,
            may("before_id", Shape::Position, ""),
            may("after_id", Shape::Position, ""),
            may("around_id", Shape::Position, ""),
            LIMIT,
        ],
        "room_history",
        &[
            ROOM_ID,
            must("seq", Shape::Position, "the head"),
            must("messages", Shape::List(&Shape::Struct(&MESSAGE)), ""),
            must("has_more", Shape::Flag, ""),
        ],
        UNSEEN,
    ),
    row(
        T::CreateDm,
        "A conversation: with user_id, or user1_id and user2_id (one of them the caller), which is always the same one, \
         or a new group of user_ids.",
        &[
            may("user_id", Shape::Id, ""),
            may("user1_id", Shape::Id, ""),
            may("user2_id", Shape::Id, ""),
            may("user_ids", Shape::List(&Shape::Id), "at most 10"),
            CLIENT_ID,
        ],
        "dm_created",
        &[must("conversation_id", Shape::Id, ""), must("user_ids", Shape::List(&Shape::Id), ""), CREATED_AT, DUPLICATE],
        &[E::UserNotFound, E::ConversationBlocked, E::IdempotencyConflict],
    ),
    row(
        T::SendDm,
        "As send_message, into a conversation.",
        &[must("conversation_id", Shape::Id, ""), CONTENT, PARENT, CLIENT_ID, METADATA],
        "message_sent",
        SENT,
        SENDING,
    ),
    row(
        T::ListDms,
        "A page of the caller's conversations, the one with the newest message first.",
        &[LIMIT, CURSOR],
        "dm_list",
        &[must("conversations", Shape::List(&Shape::Struct(&CONVERSATION)), ""), NEXT_CURSOR],
        &[],
    ),
    row(T::GetUser, "One user.", &[USER_ID], "user", USER.fields, &[E::UserNotFound]),
    row(
        T::ListUsers,
        "A page of users by name.",
        &[QUERY, LIMIT, CURSOR],
        "user_list",
        &[must("users", Shape::List(&Shape::Struct(&USER)), ""), NEXT_CURSOR],
        &[],
    ),
];

const fn push(kind: &'static str, sequenced: bool, summary: &'static str, fields: &'static [FieldSpec]) -> PushSpec {
    PushSpec { kind, summary, sequenced, fields }
}

/// Every push.
pub const PUSHES: [PushSpec; 11] = [
    push("auth_success", false, "The connection came with a good token.", AUTH_SUCCESS),
    push("message", true, "A message was sent.", MESSAGE.fields),
    push("void", true, "Keeps the place of an event that was refused.", &[ROOM_ID, SEQ, must("at", Shape::Time, "")]),
    push("member_joined", false, "In rooms with up to 100 online.", &[ROOM_ID, USER_ID, USERNAME]),
    push("member_left", false, "In rooms with up to 100 online.", &[ROOM_ID, USER_ID, USERNAME]),
    push("read", false, "Somebody has read up to seq.", &[ROOM_ID, USER_ID, SEQ]),
    push(
        "online_count",
        false,
        "In larger rooms, at most once a second.",
        &[
            ROOM_ID,
            must("online_count", Shape::Int(0, COUNT_MAX), ""),
            must("member_count", Shape::Int(0, COUNT_MAX), ""),
        ],
    ),
    push(
        "notification",
        false,
        "To every connection of one user.",
        &[
            must("kind", Shape::Word(&["mention", "dm", "invite", "reply"]), ""),
            ROOM_ID,
            MESSAGE_ID,
            must("from_user_id", Shape::Id, ""),
            must("preview", Shape::Text(80), ""),
        ],
    ),
    push(
        "dm_created",
        false,
        "To every connection of each participant.",
        &[must("conversation_id", Shape::Id, ""), must("user_ids", Shape::List(&Shape::Id), ""), CREATED_AT],
    ),
    push("token_expiring", false, "60 s before the token ends.", &[must("expires_at", Shape::Time, "")]),
    push(
        "draining",
        false,
        "The server goes down: come back after a random part of this time.",
        &[must("reconnect_after_ms", Shape::Int(0, COUNT_MAX), "")],
    ),
];
