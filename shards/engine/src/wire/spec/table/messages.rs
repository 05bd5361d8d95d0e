//! Rows of §4.3 of the protocol: messages.

use super::*;

const CHANGING: &[E] = &[
    E::RoomNotFound,
    E::NotAMember,
    E::MessageNotFound,
    E::PermissionDenied,
    E::Sanctioned,
    E::RoomArchived,
    E::ConversationBlocked,
];
const LIMITED: &[E] = &[
    E::RoomNotFound,
    E::NotAMember,
    E::MessageNotFound,
    E::PermissionDenied,
    E::Sanctioned,
    E::RoomArchived,
    E::ConversationBlocked,
    E::Conflict,
];
const READING: &[E] = &[E::RoomNotFound, E::NotAMember, E::PermissionDenied, E::MessageNotFound];
const EMOJI: FieldSpec = must("emoji", Shape::Emoji, "any emoji of Unicode's sequences, or a :shortcode:");
const REACTED: &[FieldSpec] =
    &[ROOM_ID, MESSAGE_ID, SEQ, EMOJI, must("count", Shape::Int(0, COUNT_MAX), "users who react so now")];
const PINNED: &[FieldSpec] = &[ROOM_ID, MESSAGE_ID, SEQ];

pub(super) const ROWS: [CommandSpec; 15] = [
    row(
        T::SendMessage,
        "Sends a message; the reply comes once it is stored.",
        &[ROOM_ID, CONTENT, PARENT, CLIENT_ID, METADATA],
        "message_sent",
        SENT,
        SENDING,
    ),
    row(
        T::EditMessage,
        "Gives an own message new content; the versions before stay readable.",
        &[ROOM_ID, MESSAGE_ID, CONTENT, REASON],
        "message_edited",
        &[
            ROOM_ID,
            MESSAGE_ID,
            SEQ,
            must("edited_at", Shape::Time, ""),
            must("edit_count", Shape::Int(0, COUNT_MAX), ""),
        ],
        &[
            E::RoomNotFound,
            E::NotAMember,
            E::MessageNotFound,
            E::PermissionDenied,
            E::Sanctioned,
            E::MessageTooLong,
            E::ConversationBlocked,
            E::RoomArchived,
        ],
    ),
    row(
        T::DeleteMessage,
        "Leaves a tombstone: the content is gone for everybody.",
        &[ROOM_ID, MESSAGE_ID, REASON],
        "message_deleted",
        &[ROOM_ID, MESSAGE_ID, SEQ],
        CHANGING,
    ),
    row(
        T::GetMessage,
        "One message.",
        &[ROOM_ID, MESSAGE_ID],
        "message",
        &[must("message", Shape::Struct(&MESSAGE), "")],
        READING,
    ),
    row(
        T::GetEdits,
        "All versions of a message, oldest first, the original included.",
        &[ROOM_ID, MESSAGE_ID],
        "edits",
        &[ROOM_ID, MESSAGE_ID, must("edits", Shape::List(&Shape::Struct(&EDIT)), "")],
        READING,
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
        IN_ROOM,
    ),
    row(
        T::GetThread,
        "A message and a page of the answers to it, ascending.",
        &[
            ROOM_ID,
            must("parent_id", Shape::Id, ""),
            may("after_id", Shape::Position, "answers with a greater id"),
            LIMIT,
        ],
        "thread",
        &[
            must("parent", Shape::Struct(&MESSAGE), ""),
            must("messages", Shape::List(&Shape::Struct(&MESSAGE)), ""),
            must("has_more", Shape::Flag, ""),
        ],
        READING,
    ),
    row(
        T::SearchMessages,
        "Finds messages that hold all the words, the last one as the beginning of a word, in what the caller may read; the best first.",
        &[
            must("query", Shape::Token(QUERY_BYTES_MAX), "words"),
            may("room_id", Shape::Id, "only here"),
            may("author_id", Shape::Id, "only of this author"),
            may("from", Shape::Time, "sent at or after"),
            may("to", Shape::Time, "sent before"),
            LIMIT,
            CURSOR,
        ],
        "search_results",
        &[must("messages", Shape::List(&Shape::Struct(&MESSAGE)), ""), NEXT_CURSOR],
        IN_ROOM,
    ),
    row(
        T::PinMessage,
        "Puts a message among the room's pinned ones.",
        &[ROOM_ID, MESSAGE_ID],
        "message_pinned",
        PINNED,
        LIMITED,
    ),
    row(T::UnpinMessage, "Takes it from them.", &[ROOM_ID, MESSAGE_ID], "message_unpinned", PINNED, CHANGING),
    row(
        T::GetPinnedMessages,
        "The pinned messages, the one pinned last first.",
        &[ROOM_ID],
        "pinned_messages",
        &[ROOM_ID, must("messages", Shape::List(&Shape::Struct(&MESSAGE)), "")],
        IN_ROOM,
    ),
    row(T::AddReaction, "Reacts to a message.", &[ROOM_ID, MESSAGE_ID, EMOJI], "reaction_added", REACTED, LIMITED),
    row(
        T::RemoveReaction,
        "Takes a reaction back.",
        &[ROOM_ID, MESSAGE_ID, EMOJI],
        "reaction_removed",
        REACTED,
        CHANGING,
    ),
    row(
        T::GetReactions,
        "Who has reacted how; up to 100 users of each emoji are named.",
        &[ROOM_ID, MESSAGE_ID],
        "reactions",
        &[ROOM_ID, MESSAGE_ID, must("reactions", Shape::List(&Shape::Struct(&REACTORS)), "")],
        READING,
    ),
    row(
        T::GetMentions,
        "The messages that mention the caller, the newest first.",
        &[LIMIT, CURSOR],
        "mentions",
        &[must("messages", Shape::List(&Shape::Struct(&MESSAGE)), ""), NEXT_CURSOR],
        &[],
    ),
];
