//! Rows of §4.4 and §4.5 of the protocol: conversations, users and sanctions.

use super::*;

pub(super) const ROWS: [CommandSpec; 11] = [
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
    row(
        T::BlockUser,
        "That user can open no conversation with the caller any more, write into none of the two, and learns nothing of the caller's presence.",
        &[USER_ID],
        "user_blocked",
        &[USER_ID],
        &[E::UserNotFound, E::Conflict],
    ),
    row(T::UnblockUser, "Takes it back.", &[USER_ID], "user_unblocked", &[USER_ID], &[E::UserNotFound]),
    row(
        T::ListBlocks,
        "Whom the caller blocks.",
        &[],
        "block_list",
        &[must("users", Shape::List(&Shape::Struct(&BLOCKED)), "")],
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
    row(
        T::SanctionUser,
        "Warns, mutes, kicks or bans a user in a room.",
        &[
            must("room_id", Shape::Id, "sanctions of the whole server are not in this version"),
            USER_ID,
            must("kind", SANCTION_KIND, "mute: reads only; ban: no way back while it lasts"),
            may("duration_s", Shape::Int(1, COUNT_MAX), "absent: for good; means nothing for warn and kick"),
            must("reason", Shape::Text(REASON_CHARS_MAX), "one character of it visible"),
        ],
        "user_sanctioned",
        &[ROOM_ID, SEQ, must("sanction_id", Shape::Id, ""), null("expires_at", Shape::Time, "")],
        &[E::RoomNotFound, E::NotAMember, E::PermissionDenied, E::UserNotFound],
    ),
    row(
        T::LiftSanction,
        "Ends a mute or ban.",
        &[must("sanction_id", Shape::Id, "")],
        "sanction_lifted",
        &[ROOM_ID, SEQ, must("sanction_id", Shape::Id, "")],
        &[E::NotFound, E::PermissionDenied],
    ),
    row(
        T::ListSanctions,
        "Sanctions of a room, for those who may moderate it, or (without a room) the caller's own; the newest first.",
        &[
            may("room_id", Shape::Id, ""),
            may("user_id", Shape::Id, "only of this user"),
            may("active", Shape::Flag, "true: in force; false: lifted or over"),
            LIMIT,
            CURSOR,
        ],
        "sanction_list",
        &[must("sanctions", Shape::List(&Shape::Struct(&SANCTION)), ""), NEXT_CURSOR],
        &[E::RoomNotFound, E::NotAMember, E::PermissionDenied],
    ),
];
