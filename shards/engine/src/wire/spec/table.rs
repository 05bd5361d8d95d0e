//! The rows: commands by the protocol's sections, then pushes.

mod messages;
mod people;
mod pushes;
mod rooms;
mod session;

use super::shapes::*;
use super::{CommandSpec, FieldSpec, PushSpec, Shape};
use crate::wire::parse::{
    CURSOR_BYTES_MAX, DESCRIPTION_CHARS_MAX, GROUP_MAX, METADATA_BYTES_MAX, NAME_CHARS_MAX, PAGE_MAX, QUERY_BYTES_MAX,
    REASON_CHARS_MAX, ROLE_BYTES_MAX, ROLE_CHARS_MAX, STATUS_CHARS_MAX, TIMESTAMP_BYTES_MAX, TOKEN_BYTES_MAX,
    TOPIC_CHARS_MAX,
};
use crate::wire::{CommandType as T, ErrorCode as E};

pub use pushes::PUSHES;

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
const REASON: FieldSpec = may("reason", Shape::Text(REASON_CHARS_MAX), "");
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
const SENT: &[FieldSpec] = &[ROOM_ID, MESSAGE_ID, SEQ, CREATED_AT, DUPLICATE];
const UNSEEN: &[E] = &[E::RoomNotFound, E::NotAMember];
/// What members' rights decide.
const IN_ROOM: &[E] = &[E::RoomNotFound, E::NotAMember, E::PermissionDenied];
const SENDING: &[E] = &[
    E::RoomNotFound,
    E::NotAMember,
    E::MessageNotFound,
    E::MessageTooLong,
    E::PermissionDenied,
    E::Sanctioned,
    E::RoomArchived,
    E::ConversationBlocked,
    E::IdempotencyConflict,
];
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
pub const COMMANDS: [CommandSpec; T::ALL.len()] = {
    let parts: [&[CommandSpec]; 4] = [&session::ROWS, &rooms::ROWS, &messages::ROWS, &people::ROWS];
    let mut all = [session::ROWS[0]; T::ALL.len()];
    let (mut part, mut row, mut count) = (0, 0, 0);
    while part < parts.len() {
        if row < parts[part].len() {
            all[count] = parts[part][row];
            (row, count) = (row + 1, count + 1);
        } else {
            (part, row) = (part + 1, 0);
        }
    }
    assert!(count == all.len(), "a row for each command");
    all
};
