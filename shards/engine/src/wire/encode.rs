//! What clients read, encoded once: envelopes, and the objects that several commands and pushes share.

use super::json::{Object, object, push_uint};
use super::{CommandError, RequestId, Visibility};
use crate::fanout::{FrameBytes, encode_frame};
use crate::id::{RoomId, Seq, UserId};
use crate::store::{EventRecord, RoomKind, RoomMeta, SanctionRow, UserRow};
use crate::time::WallMs;

const TEXT: u8 = 0x81;

/// A reply's frame.
pub fn reply_frame(kind: &str, id: &RequestId, data: &[u8]) -> FrameBytes {
    envelope(kind, Some(id), data)
}

/// A push's frame.
pub fn push_frame(kind: &str, data: &[u8]) -> FrameBytes {
    envelope(kind, None, data)
}

/// An error's frame, with the id of the command if it had one.
pub fn error_frame(id: Option<&RequestId>, error: &CommandError) -> FrameBytes {
    let mut data = Vec::with_capacity(160);
    error_object(&mut data, error);
    envelope("error", id, &data)
}

fn envelope(kind: &str, id: Option<&RequestId>, data: &[u8]) -> FrameBytes {
    let mut payload = Vec::with_capacity(data.len() + 96);
    payload.extend_from_slice(b"{\"type\":\"");
    payload.extend_from_slice(kind.as_bytes());
    payload.push(b'"');
    if let Some(id) = id {
        payload.extend_from_slice(b",\"id\":");
        payload.extend_from_slice(id.0.as_bytes());
    }
    payload.extend_from_slice(b",\"data\":");
    payload.extend_from_slice(data);
    payload.push(b'}');
    encode_frame(TEXT, &payload)
}

/// The `data` of an error.
pub fn error_object(out: &mut Vec<u8>, error: &CommandError) {
    let mut object = Object::new(out)
        .text("code", error.code.name())
        .text("message", &error.message)
        .flag("retryable", error.retryable());
    if let Some(ms) = error.retry_after_ms {
        object = object.uint("retry_after_ms", ms);
    }
    if let Some(field) = error.field {
        object = object.text("field", field);
    }
    if let Some(error_id) = error.error_id {
        object = object.object("details", |details| details.text("error_id", &format!("{error_id:016x}")).end());
    }
    object.end();
}

/// The message object, the `data` of a `message` push.
pub fn message_object(out: &mut Vec<u8>, record: &EventRecord) {
    let row = &record.row;
    Object::new(out)
        .uint("room_id", row.room_id.0)
        .uint("message_id", row.seq.0)
        .uint("seq", row.seq.0)
        .opt_uint("author_id", row.author_id.map(|user| user.0))
        .opt_text("username", record.username.as_deref())
        .text("content", row.content.as_deref().unwrap_or(""))
        .opt_uint("parent_id", row.parent_id.map(|parent| parent.0))
        .raw(
            "thread_count",
            b"0,\"is_pinned\":false,\"is_edited\":false,\"edit_count\":0,\"is_deleted\":false,\"mentions\":[],\"reactions\":[]",
        )
        .raw("metadata", row.data.as_deref().unwrap_or("null").as_bytes())
        .time("created_at", row.at)
        .raw("edited_at", b"null")
        .end();
}

/// `room_id`, `seq`, `at`: what every other sequenced push has.
pub fn void_object(room_id: RoomId, seq: Seq, at: WallMs) -> Box<[u8]> {
    object(|o| o.uint("room_id", room_id.0).uint("seq", seq.0).time("at", at).end())
}

/// The room object.
pub fn room_object(out: &mut Vec<u8>, meta: &RoomMeta, member_count: u32, head: Seq) {
    Object::new(out)
        .uint("room_id", meta.room_id.0)
        .uint("epoch", meta.epoch)
        .text("kind", kind_name(meta.kind))
        .text("name", &meta.name)
        .opt_text("description", meta.description.as_deref())
        .opt_text("topic", meta.topic.as_deref())
        .text("visibility", if meta.visibility == Visibility::Public { "public" } else { "private" })
        .opt_uint("owner_id", meta.owner_id.map(|user| user.0))
        .uint("member_count", u64::from(member_count))
        .uint("max_members", u64::from(meta.max_members))
        .uint("slow_mode_s", u64::from(meta.slow_mode_s))
        .uint("retention_days", u64::from(meta.retention_days))
        .flag("archived", meta.archived)
        .uint("seq", head.0)
        .time("created_at", meta.created_at)
        .end();
}

/// `room` or `dm`.
pub fn kind_name(kind: RoomKind) -> &'static str {
    match kind {
        RoomKind::Room => "room",
        RoomKind::Dm => "dm",
    }
}

/// The user object.
pub fn user_object(out: &mut Vec<u8>, user: &UserRow) {
    Object::new(out)
        .uint("user_id", user.user_id.0)
        .text("username", &user.username)
        .text("role", &user.role)
        .time("created_at", user.created_at)
        .end();
}

/// A sanction, as moderators and the one it is for read it.
pub fn sanction_object(out: &mut Vec<u8>, row: &SanctionRow, username: &str, now: WallMs) {
    let o = Object::new(out)
        .uint("sanction_id", row.sanction_id)
        .uint("room_id", row.room_id.0)
        .uint("user_id", row.user_id.0)
        .text("username", username)
        .text("kind", row.kind.name())
        .text("reason", &row.reason)
        .uint("actor_id", row.actor_id.0)
        .time("created_at", row.at)
        .opt_time("expires_at", row.expires_at)
        .flag("active", row.is_active(now));
    let (at, by) = (row.lifted.map(|(at, _)| at), row.lifted.map(|(_, by)| by));
    o.opt_time("lifted_at", at).opt_uint("lifted_by", by.map(|user| user.0)).end();
}

/// The `data` of `message_sent`.
pub fn message_sent(room_id: RoomId, seq: Seq, at: WallMs, duplicate: bool) -> Box<[u8]> {
    object(|o| {
        o.uint("room_id", room_id.0)
            .uint("message_id", seq.0)
            .uint("seq", seq.0)
            .time("created_at", at)
            .flag("duplicate", duplicate)
            .end();
    })
}

/// `{room_id, seq}`: replies that say no more.
pub fn room_seq(room_id: RoomId, seq: Seq) -> Box<[u8]> {
    object(|o| o.uint("room_id", room_id.0).uint("seq", seq.0).end())
}

/// The `data` of `dm_created`, with `duplicate` in the reply and without in the push.
pub fn dm_created(room_id: RoomId, users: &[UserId], at: WallMs, duplicate: Option<bool>) -> Box<[u8]> {
    object(|o| {
        let o = o
            .uint("conversation_id", room_id.0)
            .array("user_ids", users, |out, user| push_uint(out, user.0))
            .time("created_at", at);
        match duplicate {
            Some(duplicate) => o.flag("duplicate", duplicate).end(),
            None => o.end(),
        }
    })
}

/// The first 80 characters of a message, for notifications.
pub fn preview(content: &str) -> &str {
    const PREVIEW_CHARS: usize = 80;
    match content.char_indices().nth(PREVIEW_CHARS) {
        Some((end, _)) => &content[..end],
        None => content,
    }
}
