//! The `data` of commands about messages.

use super::commands::{CURSOR_BYTES_MAX, METADATA_BYTES_MAX, Result, limit_and_cursor, page, query, reason};
use super::fields::{Field, Object};
use super::key::{Subject, client_key};
use super::text;
use crate::id::{RoomId, Seq, UserId};
use crate::time::WallMs;
use crate::wire::{Command, EditMessage, HistoryAnchor, SearchMessages, SendMessage, emoji};

pub(super) fn send(room: &'static str, dm_only: bool, data: Object<'_>) -> Result<Command> {
    let [room_id, content, parent_id, client_id, metadata] =
        data.pick([room, "content", "parent_id", "client_id", "metadata"]);
    let (text, content_chars) = message_text(content)?;
    let mut send = SendMessage {
        room_id: RoomId(room_id.id()?),
        dm_only,
        content: text.into(),
        content_chars,
        parent_id: parent_id.opt(Field::id)?.map(Seq),
        client: None,
        metadata: metadata.opt(|field| field.raw_object(METADATA_BYTES_MAX))?,
    };
    send.client = client_key(client_id, Subject::Send, |hash| {
        hash.uint(send.room_id.0)
            .text(&send.content)
            .opt(send.parent_id, |hash, parent| hash.uint(parent.0))
            .opt(send.metadata.as_deref(), |hash, json| hash.text(json))
    })?;
    Ok(Command::SendMessage(Box::new(send)))
}

/// The text of a message, and how many characters it has.
fn message_text(content: Field<'_>) -> Result<(&str, u32)> {
    let text = content.text()?;
    Ok((text, text::count(text, true, true).map_err(|why| content.error(why))?))
}

/// The room and the message that a command is about.
fn room_and_message(data: Object<'_>) -> Result<(RoomId, Seq)> {
    let [room_id, message_id] = data.pick(["room_id", "message_id"]);
    Ok((RoomId(room_id.id()?), Seq(message_id.id()?)))
}

/// A command that names a message and nothing else.
pub(super) fn about(data: Object<'_>, command: impl FnOnce(RoomId, Seq) -> Command) -> Result<Command> {
    let (room_id, message_id) = room_and_message(data)?;
    Ok(command(room_id, message_id))
}

pub(super) fn edit(data: Object<'_>) -> Result<Command> {
    let (room_id, message_id) = room_and_message(data)?;
    let [content, why] = data.pick(["content", "reason"]);
    let (text, content_chars) = message_text(content)?;
    let (content, reason) = (text.into(), reason(why)?);
    Ok(Command::EditMessage(Box::new(EditMessage { room_id, message_id, content, content_chars, reason })))
}

pub(super) fn delete(data: Object<'_>) -> Result<Command> {
    let (room_id, message_id) = room_and_message(data)?;
    let [why] = data.pick(["reason"]);
    Ok(Command::DeleteMessage { room_id, message_id, reason: reason(why)? })
}

const ONE_ANCHOR: &str = "only one of before_id, after_id and around_id may be given";

pub(super) fn get_history(data: Object<'_>) -> Result<Command> {
    let [room_id, before, after, around, limit] = data.pick(["room_id", "before_id", "after_id", "around_id", "limit"]);
    let room_id = RoomId(room_id.id()?);
    let seq = |field: Field<'_>| Ok(field.opt(Field::position)?.map(Seq));
    let anchor = match (seq(before)?, seq(after)?, seq(around)?) {
        (None, None, None) => HistoryAnchor::Newest,
        (Some(seq), None, None) => HistoryAnchor::Before(seq),
        (None, Some(seq), None) => HistoryAnchor::After(seq),
        (None, None, Some(seq)) => HistoryAnchor::Around(seq),
        (_, _, None) => return Err(after.error(ONE_ANCHOR)),
        (_, _, Some(_)) => return Err(around.error(ONE_ANCHOR)),
    };
    Ok(Command::GetHistory { room_id, anchor, limit: page(limit)? })
}

pub(super) fn get_thread(data: Object<'_>) -> Result<Command> {
    let [room_id, parent_id, after_id, limit] = data.pick(["room_id", "parent_id", "after_id", "limit"]);
    Ok(Command::GetThread {
        room_id: RoomId(room_id.id()?),
        parent_id: Seq(parent_id.id()?),
        after_id: after_id.opt(Field::position)?.map(Seq),
        limit: page(limit)?,
    })
}

pub(super) fn search(data: Object<'_>) -> Result<Command> {
    let [text, room_id, author_id, from, to, limit, cursor] =
        data.pick(["query", "room_id", "author_id", "from", "to", "limit", "cursor"]);
    text::count(text.text()?, true, true).map_err(|why| text.error(why))?;
    Ok(Command::SearchMessages(Box::new(SearchMessages {
        query: query(text)?.unwrap_or_default(),
        room_id: room_id.opt(Field::id)?.map(RoomId),
        author_id: author_id.opt(Field::id)?.map(UserId),
        from: from.opt(time)?,
        to: to.opt(time)?,
        limit: page(limit)?,
        cursor: cursor.opt(|field| field.token(CURSOR_BYTES_MAX))?,
    })))
}

fn time(field: Field<'_>) -> Result<WallMs> {
    WallMs::parse_rfc3339(field.text()?).ok_or_else(|| field.error("must be a time as in 2026-01-31T09:08:07.006Z"))
}

/// The room, the message, and the emoji in the form under which it is kept.
fn reaction(data: Object<'_>) -> Result<(RoomId, Seq, Box<str>)> {
    let (room_id, message_id) = room_and_message(data)?;
    let [field] = data.pick(["emoji"]);
    let emoji = emoji::canonical(field.text()?).ok_or_else(|| field.error("must be one emoji, or a :shortcode:"))?;
    Ok((room_id, message_id, emoji.into()))
}

pub(super) fn add_reaction(data: Object<'_>) -> Result<Command> {
    let (room_id, message_id, emoji) = reaction(data)?;
    Ok(Command::AddReaction { room_id, message_id, emoji })
}

pub(super) fn remove_reaction(data: Object<'_>) -> Result<Command> {
    let (room_id, message_id, emoji) = reaction(data)?;
    Ok(Command::RemoveReaction { room_id, message_id, emoji })
}

pub(super) fn get_mentions(data: Object<'_>) -> Result<Command> {
    let (limit, cursor) = limit_and_cursor(data)?;
    Ok(Command::GetMentions { limit, cursor })
}
