//! What clients read, encoded once: envelopes, and the objects that several commands and pushes share.

use super::json::{Object, object, push_string, push_uint};
use super::{CommandError, RequestId, Visibility};
use crate::fanout::{FrameBytes, frame_with};
use crate::id::{RoomId, Seq, UserId};
use crate::store::{EventKind, EventRecord, MessageState, RoomKind, RoomMeta, SanctionRow, UserRow};
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
    const TYPE: &[u8] = b"{\"type\":\"";
    const ID: &[u8] = b"\",\"id\":";
    const DATA: &[u8] = b",\"data\":";
    let id_len = id.map_or(1, |id| ID.len() + id.0.len());
    let len = TYPE.len() + kind.len() + id_len + DATA.len() + data.len() + 1;
    frame_with(TEXT, len, |out| {
        out.extend_from_slice(TYPE);
        out.extend_from_slice(kind.as_bytes());
        match id {
            Some(id) => {
                out.extend_from_slice(ID);
                out.extend_from_slice(id.0.as_bytes());
            }
            None => out.push(b'"'),
        }
        out.extend_from_slice(DATA);
        out.extend_from_slice(data);
        out.push(b'}');
    })
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

/// Where the parts of a message (or edit) lie that may change later, as ranges of its `data`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spans {
    /// The value of `content`.
    pub content: (u32, u32),
    /// From `thread_count` to the value of `reactions`; of an edit the value of `mentions`.
    pub state: (u32, u32),
    /// The value of `metadata`.
    pub metadata: (u32, u32),
    /// The value of `edited_at`.
    pub edited_at: (u32, u32),
}

/// The message object without `me`, the `data` of a `message` push.
pub fn message_object(out: &mut Vec<u8>, record: &EventRecord) -> Spans {
    message_with(out, record, None, false)
}

/// The message object as a reader gets it: with `me` in its reactions.
pub fn message_for(out: &mut Vec<u8>, record: &EventRecord, reader: UserId) {
    message_with(out, record, Some(reader), false);
}

/// The same for one who may read what is deleted until it leaves the database.
pub fn message_for_moderator(out: &mut Vec<u8>, record: &EventRecord, reader: UserId) {
    message_with(out, record, Some(reader), true);
}

fn message_with(out: &mut Vec<u8>, record: &EventRecord, reader: Option<UserId>, show_deleted: bool) -> Spans {
    let row = &record.row;
    let base = out.len();
    let shown = show_deleted || !record.is_deleted();
    let mut spans = Spans::default();
    let mark = |from: usize, out: &[u8]| ((from - base) as u32, (out.len() - base) as u32);
    let mut o = Object::new(out)
        .uint("room_id", row.room_id.0)
        .uint("message_id", row.seq.0)
        .uint("seq", row.seq.0)
        .opt_uint("author_id", row.author_id.map(|user| user.0))
        .opt_text("username", record.username.as_deref());
    let out = o.key("content");
    let from = out.len();
    push_string(out, row.content.as_deref().filter(|_| shown).unwrap_or(""));
    spans.content = mark(from, out);
    let mut o = o.opt_uint("parent_id", row.parent_id.map(|parent| parent.0));
    let out = o.buffer();
    out.push(b',');
    let from = out.len();
    let mentions = if record.is_deleted() { &[][..] } else { &row.mentions };
    message_state(out, mentions, record.state.as_deref(), reader);
    spans.state = mark(from, out);
    let out = o.key("metadata");
    let from = out.len();
    out.extend_from_slice(row.data.as_deref().filter(|_| shown).unwrap_or("null").as_bytes());
    spans.metadata = mark(from, out);
    let mut o = o.time("created_at", row.at);
    let out = o.key("edited_at");
    let from = out.len();
    opt_time(out, record.state.as_ref().and_then(|state| state.edited_at));
    spans.edited_at = mark(from, out);
    o.end();
    spans
}

/// A time or null.
pub fn opt_time(out: &mut Vec<u8>, at: Option<WallMs>) {
    match at {
        Some(at) => {
            out.push(b'"');
            at.write_rfc3339(out);
            out.push(b'"');
        }
        None => out.extend_from_slice(b"null"),
    }
}

/// The members `thread_count` to `reactions` of a message.
pub fn message_state(out: &mut Vec<u8>, mentions: &[UserId], state: Option<&MessageState>, reader: Option<UserId>) {
    let Some(state) = state else {
        out.extend_from_slice(
            b"\"thread_count\":0,\"is_pinned\":false,\"is_edited\":false,\"edit_count\":0,\"is_deleted\":false,\"mentions\":[",
        );
        user_list(out, mentions);
        return out.extend_from_slice(b"],\"reactions\":[]");
    };
    let reactions = if state.deleted_at.is_some() { &[][..] } else { &state.reactions };
    Object::resumed(out)
        .uint("thread_count", u64::from(state.thread_count))
        .flag("is_pinned", state.pinned.is_some())
        .flag("is_edited", state.edit_count > 0)
        .uint("edit_count", u64::from(state.edit_count))
        .flag("is_deleted", state.deleted_at.is_some())
        .array("mentions", mentions, |out, user| push_uint(out, user.0))
        .array("reactions", reactions, |out, reaction| {
            let o = Object::new(out).text("emoji", &reaction.emoji).uint("count", u64::from(reaction.count));
            match reader {
                Some(reader) => o.flag("me", reaction.users.contains(&reader)).end(),
                None => o.end(),
            }
        });
}

fn user_list(out: &mut Vec<u8>, users: &[UserId]) {
    for (index, user) in users.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        push_uint(out, user.0);
    }
}

/// The `data` of a sequenced push that is no message, and where its content and mentions lie if it is an edit.
pub fn event_object(out: &mut Vec<u8>, record: &EventRecord) -> Spans {
    use EventKind as K;
    let row = &record.row;
    let base = out.len();
    let mut spans = Spans::default();
    let mark = |from: usize, out: &[u8]| ((from - base) as u32, (out.len() - base) as u32);
    let mut o = Object::new(out).uint("room_id", row.room_id.0).uint("seq", row.seq.0);
    if let Some(message) = row.parent_id {
        o = o.uint("message_id", message.0);
    }
    if row.kind == K::Edit {
        let (content, mentions) =
            if record.is_deleted() { ("", &[][..]) } else { (row.content.as_deref().unwrap_or(""), &*row.mentions) };
        let out = o.key("content");
        let from = out.len();
        push_string(out, content);
        spans.content = mark(from, out);
        let out = o.key("mentions");
        let from = out.len();
        out.push(b'[');
        user_list(out, mentions);
        out.push(b']');
        spans.state = mark(from, out);
        o = o.time("edited_at", row.at);
    }
    o = match row.kind {
        K::ReactionAdded | K::ReactionRemoved => {
            o.opt_uint("user_id", row.author_id.map(|user| user.0)).opt_text("username", record.username.as_deref())
        }
        K::Edit => o.opt_uint("editor_id", row.author_id.map(|user| user.0)),
        K::Void => o,
        _ => o.opt_uint("actor_id", row.author_id.map(|user| user.0)),
    };
    if let Some(inner) = row.data.as_deref().and_then(|data| data.strip_prefix('{')?.strip_suffix('}'))
        && !inner.is_empty()
    {
        let out = o.buffer();
        out.push(b',');
        out.extend_from_slice(inner.as_bytes());
    }
    o.time("at", row.at).end();
    spans
}

/// The type of an event's push.
pub fn push_kind(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Message => "message",
        EventKind::Void => "void",
        EventKind::Edit => "message_edited",
        EventKind::Delete => "message_deleted",
        EventKind::ReactionAdded => "reaction_added",
        EventKind::ReactionRemoved => "reaction_removed",
        EventKind::Pinned => "message_pinned",
        EventKind::Unpinned => "message_unpinned",
        EventKind::Kicked => "member_kicked",
        EventKind::RoleChanged => "member_role_changed",
        EventKind::Sanctioned => "user_sanctioned",
        EventKind::RoomUpdated => "room_updated",
        EventKind::RoomDeleted => "room_deleted",
    }
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
pub fn message_sent(room_id: RoomId, seq: Seq, at: WallMs, duplicate: bool) -> Vec<u8> {
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
pub fn room_seq(room_id: RoomId, seq: Seq) -> Vec<u8> {
    object(|o| o.uint("room_id", room_id.0).uint("seq", seq.0).end())
}

/// The `data` of `dm_created`, with `duplicate` in the reply and without in the push.
pub fn dm_created(room_id: RoomId, users: &[UserId], at: WallMs, duplicate: Option<bool>) -> Vec<u8> {
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
