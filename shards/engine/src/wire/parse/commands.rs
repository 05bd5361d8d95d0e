//! The `data` of each command.

use super::fields::{Field, Object};
use super::key::{Subject, client_key};
use super::text;
use crate::id::{RoomId, Seq, UserId};
use crate::wire::{
    Command, CommandError, CommandType, CreateDm, CreateRoom, HistoryAnchor, ResumePoint, RoomFilter, SendMessage,
    Visibility,
};

/// Characters in a room's name, trimmed.
pub const NAME_CHARS_MAX: u32 = 100;
/// Characters in a room's description.
pub const DESCRIPTION_CHARS_MAX: u32 = 1000;
/// Characters in a room's topic.
pub const TOPIC_CHARS_MAX: u32 = 250;
/// Bytes in a token.
pub const TOKEN_BYTES_MAX: usize = 4096;
/// Bytes of metadata as compact JSON.
pub const METADATA_BYTES_MAX: usize = 4096;
/// Bytes in a search text.
pub const QUERY_BYTES_MAX: usize = 1024;
/// Bytes in a cursor.
pub const CURSOR_BYTES_MAX: usize = 1024;
/// Bytes in a role's name.
pub const ROLE_BYTES_MAX: usize = 256;
/// Bytes of a ping's timestamp as JSON.
pub const TIMESTAMP_BYTES_MAX: usize = 64;
/// Items in a page.
pub const PAGE_MAX: u32 = 100;
/// Items in a page where the command does not say.
pub const PAGE_DEFAULT: u32 = 50;
/// Participants in a group conversation.
pub const GROUP_MAX: usize = 10;
/// The most that counts and durations take; databases hold them in 32 bits with a sign.
const COUNT_MAX: u64 = i32::MAX as u64;

type Result<T> = std::result::Result<T, CommandError>;

/// Reads the data of a command of this kind.
///
/// # Errors
/// `INVALID_REQUEST`, naming the field.
pub(super) fn read(kind: CommandType, data: Object<'_>) -> Result<Command> {
    use Command as C;
    use CommandType as T;
    Ok(match kind {
        T::Authenticate => C::Authenticate { token: token(data)? },
        T::RefreshToken => C::RefreshToken { token: token(data)? },
        T::Ping => {
            let [timestamp] = data.pick(["timestamp"]);
            C::Ping { timestamp: timestamp.opt(|field| field.raw_scalar(TIMESTAMP_BYTES_MAX))? }
        }
        T::Resume => resume(data)?,
        T::ListSessions => C::ListSessions,
        T::RevokeSession => {
            let [session_id] = data.pick(["session_id"]);
            C::RevokeSession { session_id: session_id.token(TOKEN_BYTES_MAX)? }
        }
        T::Logout => {
            let [everywhere] = data.pick(["everywhere"]);
            C::Logout { everywhere: everywhere.opt(Field::flag)?.unwrap_or(false) }
        }
        T::CreateRoom => create_room(data)?,
        T::GetRoom => C::GetRoom { room_id: room_id(data)? },
        T::ListRooms => list_rooms(data)?,
        T::JoinRoom => C::JoinRoom { at: resume_point(data)? },
        T::LeaveRoom => C::LeaveRoom { room_id: room_id(data)? },
        T::Subscribe => C::Subscribe { at: resume_point(data)? },
        T::Unsubscribe => C::Unsubscribe { room_id: room_id(data)? },
        T::GetMembers => get_members(data)?,
        T::MarkRead => {
            let [room_id, seq] = data.pick(["room_id", "seq"]);
            C::MarkRead { room_id: RoomId(room_id.id()?), seq: Seq(seq.position()?) }
        }
        T::GetUnread => C::GetUnread,
        T::SendMessage => send("room_id", false, data)?,
        T::SendDm => send("conversation_id", true, data)?,
        T::GetMessage => {
            let [room_id, message_id] = data.pick(["room_id", "message_id"]);
            C::GetMessage { room_id: RoomId(room_id.id()?), message_id: Seq(message_id.id()?) }
        }
        T::GetHistory => get_history(data)?,
        T::CreateDm => create_dm(data)?,
        T::ListDms => {
            let [limit, cursor] = data.pick(["limit", "cursor"]);
            C::ListDms { limit: page(limit)?, cursor: cursor.opt(|field| field.token(CURSOR_BYTES_MAX))? }
        }
        T::GetUser => {
            let [user_id] = data.pick(["user_id"]);
            C::GetUser { user_id: UserId(user_id.id()?) }
        }
        T::ListUsers => {
            let [text, limit, cursor] = data.pick(["query", "limit", "cursor"]);
            let cursor = cursor.opt(|field| field.token(CURSOR_BYTES_MAX))?;
            C::ListUsers { query: query(text)?, limit: page(limit)?, cursor }
        }
        _ => return Err(CommandError::new(crate::wire::ErrorCode::UnknownType, "no such command")),
    })
}

fn token(data: Object<'_>) -> Result<Box<str>> {
    let [token] = data.pick(["token"]);
    token.token(TOKEN_BYTES_MAX)
}

fn room_id(data: Object<'_>) -> Result<RoomId> {
    let [room_id] = data.pick(["room_id"]);
    Ok(RoomId(room_id.id()?))
}

fn page(limit: Field<'_>) -> Result<u32> {
    Ok(limit.opt(|field| field.int(1..=u64::from(PAGE_MAX)))?.map_or(PAGE_DEFAULT, |limit| limit as u32))
}

fn count(field: Field<'_>, least: u64) -> Result<Option<u32>> {
    Ok(field.opt(|field| field.int(least..=COUNT_MAX))?.map(|count| count as u32))
}

/// A search text; an empty one searches for nothing in particular.
fn query(field: Field<'_>) -> Result<Option<Box<str>>> {
    let Some(text) = field.opt(Field::text)? else { return Ok(None) };
    let trimmed = text.trim();
    if trimmed.len() > QUERY_BYTES_MAX {
        return Err(field.error(format!("must have at most {QUERY_BYTES_MAX} bytes")));
    }
    Ok((!trimmed.is_empty()).then(|| trimmed.into()))
}

fn resume_point(data: Object<'_>) -> Result<ResumePoint> {
    let [room_id, last_seq, epoch] = data.pick(["room_id", "last_seq", "epoch"]);
    Ok(ResumePoint {
        room_id: RoomId(room_id.id()?),
        last_seq: last_seq.opt(Field::position)?.map(Seq),
        epoch: epoch.opt(Field::position)?,
    })
}

fn resume(data: Object<'_>) -> Result<Command> {
    let [list] = data.pick(["rooms"]);
    let mut rooms = Vec::new();
    list.each(|item| {
        let point = resume_point(item.object()?)
            .map_err(|error| list.error(format!("{} {}", error.field.unwrap_or_default(), error.message)))?;
        if point.last_seq.is_none() {
            return Err(list.error("last_seq is required"));
        }
        rooms.push(point);
        Ok(())
    })?;
    Ok(Command::Resume { rooms })
}

/// Text for people of at most `chars_max` characters.
fn prose(field: Field<'_>, chars_max: u32) -> Result<Option<Box<str>>> {
    let Some(value) = field.opt(Field::text)? else { return Ok(None) };
    if text::count(value, true, false).map_err(|why| field.error(why))? > chars_max {
        return Err(field.error(format!("must have at most {chars_max} characters")));
    }
    Ok(Some(value.into()))
}

fn room_name(field: Field<'_>) -> Result<Box<str>> {
    let name = field.text()?.trim();
    if text::count(name, false, true).map_err(|why| field.error(why))? > NAME_CHARS_MAX {
        return Err(field.error(format!("must have at most {NAME_CHARS_MAX} characters")));
    }
    Ok(name.into())
}

fn create_room(data: Object<'_>) -> Result<Command> {
    let [name, visibility, description, topic, max_members, slow_mode_s, retention_days, client_id] = data.pick([
        "name",
        "visibility",
        "description",
        "topic",
        "max_members",
        "slow_mode_s",
        "retention_days",
        "client_id",
    ]);
    let words = [("public", Visibility::Public), ("private", Visibility::Private)];
    let mut room = CreateRoom {
        name: room_name(name)?,
        visibility: visibility.opt(|field| field.word(&words))?.unwrap_or(Visibility::Public),
        description: prose(description, DESCRIPTION_CHARS_MAX)?,
        topic: prose(topic, TOPIC_CHARS_MAX)?,
        max_members: count(max_members, 1)?,
        slow_mode_s: count(slow_mode_s, 0)?,
        retention_days: count(retention_days, 0)?,
        client: None,
    };
    room.client = client_key(client_id, Subject::CreateRoom, |hash| {
        hash.text(&room.name)
            .uint(room.visibility as u64)
            .opt(room.description.as_deref(), |hash, text| hash.text(text))
            .opt(room.topic.as_deref(), |hash, text| hash.text(text))
            .opt(room.max_members, |hash, count| hash.uint(count.into()))
            .opt(room.slow_mode_s, |hash, count| hash.uint(count.into()))
            .opt(room.retention_days, |hash, count| hash.uint(count.into()))
    })?;
    Ok(Command::CreateRoom(Box::new(room)))
}

fn list_rooms(data: Object<'_>) -> Result<Command> {
    let [filter, text, limit, cursor] = data.pick(["filter", "query", "limit", "cursor"]);
    let words = [("public", RoomFilter::Public), ("joined", RoomFilter::Joined), ("invited", RoomFilter::Invited)];
    Ok(Command::ListRooms {
        filter: filter.opt(|field| field.word(&words))?.unwrap_or(RoomFilter::Public),
        query: query(text)?,
        limit: page(limit)?,
        cursor: cursor.opt(|field| field.token(CURSOR_BYTES_MAX))?,
    })
}

fn get_members(data: Object<'_>) -> Result<Command> {
    let [room_id, role, online, limit, cursor] = data.pick(["room_id", "role", "online", "limit", "cursor"]);
    Ok(Command::GetMembers {
        room_id: RoomId(room_id.id()?),
        role: role.opt(|field| field.token(ROLE_BYTES_MAX))?,
        online: online.opt(Field::flag)?,
        limit: page(limit)?,
        cursor: cursor.opt(|field| field.token(CURSOR_BYTES_MAX))?,
    })
}

fn send(room: &'static str, dm_only: bool, data: Object<'_>) -> Result<Command> {
    let [room_id, content, parent_id, client_id, metadata] =
        data.pick([room, "content", "parent_id", "client_id", "metadata"]);
    let text = content.text()?;
    let mut send = SendMessage {
        room_id: RoomId(room_id.id()?),
        dm_only,
        content_chars: text::count(text, true, true).map_err(|why| content.error(why))?,
        content: text.into(),
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

const ONE_ANCHOR: &str = "only one of before_id, after_id and around_id may be given";

fn get_history(data: Object<'_>) -> Result<Command> {
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

fn create_dm(data: Object<'_>) -> Result<Command> {
    let [one, first, second, list, client_id] = data.pick(["user_id", "user1_id", "user2_id", "user_ids", "client_id"]);
    let pair = first.is_present() || second.is_present();
    if u8::from(one.is_present()) + u8::from(pair) + u8::from(list.is_present()) != 1 {
        return Err(one.error("exactly one of user_id, user1_id with user2_id, and user_ids must be given"));
    }
    let user_ids = if pair {
        vec![UserId(first.id()?), UserId(second.id()?)]
    } else if list.is_present() {
        group(list)?
    } else {
        vec![UserId(one.id()?)]
    };
    let mut dm = CreateDm { user_ids, must_name_caller: pair, group: list.is_present(), client: None };
    dm.client = client_key(client_id, Subject::CreateDm, |hash| {
        let mut ids: Vec<u64> = dm.user_ids.iter().map(|user| user.0).collect();
        ids.sort_unstable();
        let form = u64::from(dm.must_name_caller) + 2 * u64::from(dm.group);
        ids.iter().fold(hash.uint(form).uint(ids.len() as u64), |hash, id| hash.uint(*id))
    })?;
    Ok(Command::CreateDm(Box::new(dm)))
}

/// The distinct users of a group, in the order given.
fn group(list: Field<'_>) -> Result<Vec<UserId>> {
    let mut users = Vec::new();
    list.each(|item| {
        let user = UserId(item.id()?);
        if !users.contains(&user) {
            users.push(user);
        }
        if users.len() > GROUP_MAX { Err(list.error(format!("must name 1 to {GROUP_MAX} users"))) } else { Ok(()) }
    })?;
    if users.is_empty() {
        return Err(list.error(format!("must name 1 to {GROUP_MAX} users")));
    }
    Ok(users)
}
