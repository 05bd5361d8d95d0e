//! What the server says of its own accord.

use super::*;

const AT: FieldSpec = must("at", Shape::Time, "");
const ACTOR: FieldSpec = must("actor_id", Shape::Id, "who did it");
const SMALL: &str = "In conversations, and in rooms with up to 100 online.";

const fn sequenced(kind: &'static str, summary: &'static str, fields: &'static [FieldSpec]) -> PushSpec {
    PushSpec { kind, summary, sequenced: true, fields }
}

const fn ephemeral(kind: &'static str, summary: &'static str, fields: &'static [FieldSpec]) -> PushSpec {
    PushSpec { kind, summary, sequenced: false, fields }
}

const REACTED: &[FieldSpec] = &[
    ROOM_ID,
    SEQ,
    MESSAGE_ID,
    must("emoji", Shape::Emoji, ""),
    USER_ID,
    USERNAME,
    must("count", Shape::Int(0, COUNT_MAX), "users who react so now"),
    AT,
];
const PINNED: &[FieldSpec] = &[ROOM_ID, SEQ, MESSAGE_ID, ACTOR, AT];
const MEMBERSHIP: &[FieldSpec] = &[ROOM_ID, USER_ID, USERNAME];

/// Every push.
pub const PUSHES: [PushSpec; 25] = [
    ephemeral("auth_success", "The connection came with a good token.", AUTH_SUCCESS),
    sequenced("message", "A message was sent.", MESSAGE.fields),
    sequenced(
        "message_edited",
        "A message has new content.",
        &[
            ROOM_ID,
            SEQ,
            MESSAGE_ID,
            must("content", Shape::Text(1_000_000), "empty in a replay, if the message is deleted since"),
            must("mentions", Shape::List(&Shape::Id), ""),
            must("edited_at", Shape::Time, ""),
            must("edit_count", Shape::Int(0, COUNT_MAX), ""),
            must("editor_id", Shape::Id, ""),
            AT,
        ],
    ),
    sequenced("message_deleted", "A message is a tombstone now.", PINNED),
    sequenced("reaction_added", "Somebody has reacted.", REACTED),
    sequenced("reaction_removed", "Somebody has taken a reaction back.", REACTED),
    sequenced("message_pinned", "A message is pinned.", PINNED),
    sequenced("message_unpinned", "It is not any more.", PINNED),
    sequenced(
        "member_kicked",
        "A membership was ended. The last of the room for that member.",
        &[ROOM_ID, SEQ, USER_ID, USERNAME, ACTOR, AT],
    ),
    sequenced(
        "member_role_changed",
        "A member has another role.",
        &[ROOM_ID, SEQ, USER_ID, USERNAME, must("role", Shape::Token(ROLE_CHARS_MAX), ""), ACTOR, AT],
    ),
    sequenced(
        "user_sanctioned",
        "A user was warned, muted, kicked or banned. The last of the room for whom it puts out.",
        &[
            ROOM_ID,
            SEQ,
            USER_ID,
            must("kind", SANCTION_KIND, ""),
            null("expires_at", Shape::Time, "null: for good"),
            ACTOR,
            AT,
        ],
    ),
    sequenced(
        "room_updated",
        "Settings were changed.",
        &[ROOM_ID, SEQ, must("room", Shape::Struct(&ROOM), ""), ACTOR, AT],
    ),
    sequenced("room_deleted", "The last event of the room.", &[ROOM_ID, SEQ, ACTOR, AT]),
    sequenced("void", "Keeps the place of an event that was refused.", &[ROOM_ID, SEQ, AT]),
    ephemeral("member_joined", SMALL, MEMBERSHIP),
    ephemeral("member_left", SMALL, MEMBERSHIP),
    ephemeral(
        "presence",
        SMALL,
        &[
            ROOM_ID,
            USER_ID,
            USERNAME,
            must("status", PRESENCE, ""),
            null("message", Shape::Text(STATUS_CHARS_MAX), ""),
            null("last_seen_at", Shape::Time, "end of the last connection"),
        ],
    ),
    ephemeral("read", SMALL, &[ROOM_ID, USER_ID, must("seq", Shape::Position, "has read up to here")]),
    ephemeral(
        "online_count",
        "In larger rooms, at most once a second.",
        &[
            ROOM_ID,
            must("online_count", Shape::Int(0, COUNT_MAX), ""),
            must("member_count", Shape::Int(0, COUNT_MAX), ""),
        ],
    ),
    ephemeral("typing", "Ends by itself after 6 s.", &[ROOM_ID, USER_ID, USERNAME, must("is_typing", Shape::Flag, "")]),
    ephemeral(
        "notification",
        "To every connection of one user.",
        &[
            must("kind", Shape::Word(&["mention", "dm", "invite", "reply"]), ""),
            ROOM_ID,
            null("message_id", Shape::Id, "null with an invitation"),
            must("from_user_id", Shape::Id, ""),
            must("preview", Shape::Text(80), "the beginning of the message; the room's name with an invitation"),
        ],
    ),
    ephemeral(
        "dm_created",
        "To every connection of each participant.",
        &[must("conversation_id", Shape::Id, ""), must("user_ids", Shape::List(&Shape::Id), ""), CREATED_AT],
    ),
    ephemeral(
        "sanction",
        "To every connection of whom a sanction concerns, and again when it is lifted.",
        SANCTION_PUSH,
    ),
    ephemeral("token_expiring", "60 s before the token ends.", &[must("expires_at", Shape::Time, "")]),
    ephemeral(
        "draining",
        "The server goes down: come back after a random part of this time.",
        &[must("reconnect_after_ms", Shape::Int(0, COUNT_MAX), "")],
    ),
];

const SANCTION_PUSH: &[FieldSpec] = &[
    must("sanction_id", Shape::Id, ""),
    ROOM_ID,
    must("kind", SANCTION_KIND, ""),
    must("reason", Shape::Text(REASON_CHARS_MAX), ""),
    null("expires_at", Shape::Time, "null: for good"),
    null("lifted_at", Shape::Time, "null: in force"),
    ACTOR,
];
