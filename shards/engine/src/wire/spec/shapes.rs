//! Fields, and the objects that several commands and pushes share.

use super::{FieldSpec, Shape, Struct};
use crate::wire::Permission;
use crate::wire::parse::{DESCRIPTION_CHARS_MAX, NAME_CHARS_MAX, REASON_CHARS_MAX, ROLE_CHARS_MAX, TOPIC_CHARS_MAX};

/// The largest count or duration: databases hold them in 32 bits with a sign.
pub(super) const COUNT_MAX: u64 = i32::MAX as u64;
/// Characters in a username.
const USERNAME_CHARS_MAX: u32 = 32;

/// A field that must be sent, or is always there.
pub(super) const fn must(name: &'static str, shape: Shape, about: &'static str) -> FieldSpec {
    FieldSpec { name, shape, required: true, nullable: false, about }
}

/// A field that may be left out.
pub(super) const fn may(name: &'static str, shape: Shape, about: &'static str) -> FieldSpec {
    FieldSpec { name, shape, required: false, nullable: false, about }
}

/// A field of a reply that may be null.
pub(super) const fn null(name: &'static str, shape: Shape, about: &'static str) -> FieldSpec {
    FieldSpec { name, shape, required: true, nullable: true, about }
}

pub(super) const ROOM_ID: FieldSpec = must("room_id", Shape::Id, "a room, or a conversation");
pub(super) const SEQ: FieldSpec =
    must("seq", Shape::Position, "position in the room; the head's where the command takes none");
pub(super) const USERNAME: FieldSpec = must("username", Shape::Text(USERNAME_CHARS_MAX), "");
pub(super) const USER_ID: FieldSpec = must("user_id", Shape::Id, "");
pub(super) const DUPLICATE: FieldSpec =
    must("duplicate", Shape::Flag, "this is the answer to an earlier command with the same client_id");
pub(super) const NEXT_CURSOR: FieldSpec = null("next_cursor", Shape::Token(1024), "null: the last page");
pub(super) const ROLE_WORDS: Shape = Shape::Word(&["user", "moderator", "admin"]);
pub(super) const KIND_WORDS: Shape = Shape::Word(&["room", "dm"]);

pub(super) const SANCTION_KIND: Shape = Shape::Word(&["warn", "mute", "kick", "ban"]);
pub(super) const PRESENCE: Shape = Shape::Word(&["online", "away", "busy", "offline"]);
/// A permission.
pub(super) const PERMISSION: Shape = Shape::Word({
    const NAMES: [&str; Permission::WORDS.len()] = {
        let mut names = [""; Permission::WORDS.len()];
        let mut index = 0;
        while index < names.len() {
            names[index] = Permission::WORDS[index].0;
            index += 1;
        }
        names
    };
    &NAMES
});

/// A room.
pub const ROOM: Struct = Struct {
    name: "Room",
    fields: &[
        must("room_id", Shape::Id, ""),
        must("epoch", Shape::Position, "new for each room and each restored database"),
        must("kind", KIND_WORDS, ""),
        must("name", Shape::Text(NAME_CHARS_MAX), "need not be unique"),
        null("description", Shape::Text(DESCRIPTION_CHARS_MAX), ""),
        null("topic", Shape::Text(TOPIC_CHARS_MAX), ""),
        must("visibility", Shape::Word(&["public", "private"]), ""),
        null("owner_id", Shape::Id, ""),
        must("member_count", Shape::Int(0, COUNT_MAX), ""),
        must("max_members", Shape::Int(0, COUNT_MAX), ""),
        must("slow_mode_s", Shape::Int(0, COUNT_MAX), "seconds between two messages of one member; 0: off"),
        must("retention_days", Shape::Int(0, COUNT_MAX), "0: for ever"),
        must("archived", Shape::Flag, ""),
        must("seq", Shape::Position, "the head"),
        must("created_at", Shape::Time, ""),
    ],
};

const MESSAGE_FIELDS: [FieldSpec; 17] = [
    must("room_id", Shape::Id, ""),
    must("message_id", Shape::Id, "the seq of the event that created it"),
    must("seq", Shape::Id, ""),
    null("author_id", Shape::Id, ""),
    null("username", Shape::Text(USERNAME_CHARS_MAX), "the author's present name"),
    must("content", Shape::Text(1_000_000), "empty, if the message is deleted"),
    null("parent_id", Shape::Id, "the message that this one answers"),
    must("thread_count", Shape::Int(0, COUNT_MAX), "answers to it"),
    must("is_pinned", Shape::Flag, ""),
    must("is_edited", Shape::Flag, ""),
    must("edit_count", Shape::Int(0, COUNT_MAX), ""),
    must("is_deleted", Shape::Flag, ""),
    must("mentions", Shape::List(&Shape::Id), "users"),
    must("reactions", Shape::List(&Shape::Struct(&REACTION)), "in the order of the first ones"),
    null("metadata", Shape::Object(4096), ""),
    must("created_at", Shape::Time, ""),
    null("edited_at", Shape::Time, ""),
];

/// A message.
pub const MESSAGE: Struct = Struct { name: "Message", fields: &MESSAGE_FIELDS };

/// An emoji on a message.
pub const REACTION: Struct = Struct {
    name: "Reaction",
    fields: &[
        must("emoji", Shape::Emoji, ""),
        must("count", Shape::Int(1, COUNT_MAX), ""),
        may("me", Shape::Flag, "the caller is among them; not in pushes"),
    ],
};

/// An emoji on a message, and whose it is.
pub const REACTORS: Struct = Struct {
    name: "Reactors",
    fields: &[
        must("emoji", Shape::Emoji, ""),
        must("count", Shape::Int(1, COUNT_MAX), ""),
        must("users", Shape::List(&Shape::Struct(&NAMED_USER)), "up to 100, by id"),
    ],
};

/// A user's id and present name.
pub const NAMED_USER: Struct = Struct { name: "NamedUser", fields: &[USER_ID, USERNAME] };

/// A version of a message.
pub const EDIT: Struct = Struct {
    name: "Edit",
    fields: &[
        must("content", Shape::Text(1_000_000), ""),
        must("edited_at", Shape::Time, ""),
        must("editor_id", Shape::Id, ""),
        null("reason", Shape::Text(REASON_CHARS_MAX), ""),
    ],
};

/// A role of a room.
pub const ROLE: Struct = Struct {
    name: "Role",
    fields: &[
        must("name", Shape::Token(ROLE_CHARS_MAX), ""),
        must("permissions", Shape::List(&PERMISSION), ""),
        must("built_in", Shape::Flag, "every room has it"),
    ],
};

/// A user whom the caller blocks.
pub const BLOCKED: Struct =
    Struct { name: "BlockedUser", fields: &[USER_ID, USERNAME, must("blocked_at", Shape::Time, "")] };

/// A sanction in a room.
pub const SANCTION: Struct = Struct {
    name: "Sanction",
    fields: &[
        must("sanction_id", Shape::Id, ""),
        must("room_id", Shape::Id, ""),
        USER_ID,
        USERNAME,
        must("kind", SANCTION_KIND, ""),
        must("reason", Shape::Text(REASON_CHARS_MAX), ""),
        must("actor_id", Shape::Id, "who gave it"),
        must("created_at", Shape::Time, ""),
        null("expires_at", Shape::Time, "null: for good"),
        null("lifted_at", Shape::Time, ""),
        null("lifted_by", Shape::Id, "who took it back"),
        must("active", Shape::Flag, "in force"),
    ],
};

/// A user as others see them.
pub const USER: Struct = Struct {
    name: "User",
    fields: &[USER_ID, USERNAME, must("role", ROLE_WORDS, ""), must("created_at", Shape::Time, "")],
};

/// A member of a room.
pub const MEMBER: Struct = Struct {
    name: "Member",
    fields: &[
        USER_ID,
        USERNAME,
        must("role", Shape::Token(ROLE_CHARS_MAX), "owner, moderator, member, or a role of the room"),
        must("status", PRESENCE, ""),
        must("joined_at", Shape::Time, ""),
    ],
};

/// A session of the caller.
pub const SESSION: Struct = Struct {
    name: "Session",
    fields: &[
        must("session_id", Shape::Token(128), ""),
        must("current", Shape::Flag, "this one"),
        must("connections", Shape::Int(0, COUNT_MAX), "open now"),
        must("created_at", Shape::Time, ""),
        must("last_used_at", Shape::Time, ""),
        must("expires_at", Shape::Time, ""),
    ],
};

/// A room in `unread`.
pub const UNREAD_ROOM: Struct = Struct {
    name: "UnreadRoom",
    fields: &[
        must("room_id", Shape::Id, ""),
        must("kind", KIND_WORDS, ""),
        must("epoch", Shape::Position, ""),
        must("last_seq", Shape::Position, "the head"),
        must("last_read_seq", Shape::Position, ""),
        must("unread_count", Shape::Int(0, COUNT_MAX), "messages of others after last_read_seq"),
        must("mention_count", Shape::Int(0, COUNT_MAX), ""),
    ],
};

/// A conversation in `dm_list`.
pub const CONVERSATION: Struct = Struct {
    name: "Conversation",
    fields: &[
        must("conversation_id", Shape::Id, ""),
        must("users", Shape::List(&Shape::Struct(&USER)), ""),
        null("last_message", Shape::Struct(&MESSAGE), ""),
        must("epoch", Shape::Position, ""),
        must("last_seq", Shape::Position, "the head"),
        must("last_read_seq", Shape::Position, ""),
        must("unread_count", Shape::Int(0, COUNT_MAX), ""),
        must("is_blocked", Shape::Flag, "the caller blocks the other side"),
    ],
};

/// A position that a returning client names.
pub const RESUME_POINT: Struct = Struct {
    name: "ResumePoint",
    fields: &[
        must("room_id", Shape::Id, ""),
        must("last_seq", Shape::Position, "the last seq that the client saw"),
        may("epoch", Shape::Position, "the room's epoch as the client knew it"),
    ],
};

/// What became of one room of a `resume`.
pub const RESUMED_ROOM: Struct = Struct {
    name: "ResumedRoom",
    fields: &[
        must("room_id", Shape::Id, ""),
        must("epoch", Shape::Position, ""),
        must("recovered", Shape::Flag, "false: read the history afresh"),
        must("seq", Shape::Position, "live events begin at the very next one"),
        must("replayed", Shape::Position, "events that follow this reply"),
        may("reason", Shape::Word(&["not_found", "ahead", "too_old", "too_far", "epoch"]), "why not"),
    ],
};

/// What registration, login and refresh give.
pub const GRANT: Struct = Struct {
    name: "Grant",
    fields: &[
        USER_ID,
        USERNAME,
        must("access_token", Shape::Token(4096), "for Authorization: Bearer, authenticate and refresh_token"),
        must("refresh_token", Shape::Token(128), "for auth/refresh, once"),
        must("expires_in", Shape::Int(0, COUNT_MAX), "seconds until the access token ends"),
    ],
};
