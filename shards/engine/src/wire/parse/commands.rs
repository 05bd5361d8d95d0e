//! The `data` of each command: which reader it has, and what does not belong to rooms or messages.

use super::fields::{Field, Object};
use super::key::{Subject, client_key};
use super::{messages, rooms, text};
use crate::id::{RoomId, Seq, UserId};
use crate::wire::{Command, CommandError, CommandType, CreateDm, ResumePoint, Status};

/// Characters in a room's name, trimmed.
pub const NAME_CHARS_MAX: u32 = 100;
/// Characters in a room's description.
pub const DESCRIPTION_CHARS_MAX: u32 = 1000;
/// Characters in a room's topic.
pub const TOPIC_CHARS_MAX: u32 = 250;
/// Characters in a reason.
pub const REASON_CHARS_MAX: u32 = 250;
/// Characters in the text beside a status.
pub const STATUS_CHARS_MAX: u32 = 140;
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

pub(super) type Result<T> = std::result::Result<T, CommandError>;

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
        T::Ping => ping(data)?,
        T::Resume => resume(data)?,
        T::UpdateStatus => update_status(data)?,
        T::ListSessions => C::ListSessions,
        T::RevokeSession => revoke_session(data)?,
        T::Logout => logout(data)?,

        T::CreateRoom => rooms::create_room(data)?,
        T::GetRoom => C::GetRoom { room_id: room_id(data)? },
        T::ListRooms => rooms::list_rooms(data)?,
        T::UpdateRoom => rooms::update_room(data)?,
        T::DeleteRoom => C::DeleteRoom { room_id: room_id(data)? },
        T::JoinRoom => C::JoinRoom { at: resume_point(data)? },
        T::LeaveRoom => C::LeaveRoom { room_id: room_id(data)? },
        T::Subscribe => C::Subscribe { at: resume_point(data)? },
        T::Unsubscribe => C::Unsubscribe { room_id: room_id(data)? },
        T::InviteMember => rooms::invite_member(data)?,
        T::KickMember => rooms::kick_member(data)?,
        T::SetMemberRole => rooms::set_member_role(data)?,
        T::GetMembers => rooms::get_members(data)?,
        T::CreateRole => rooms::create_role(data)?,
        T::UpdateRole => rooms::update_role(data)?,
        T::DeleteRole => rooms::delete_role(data)?,
        T::ListRoles => C::ListRoles { room_id: room_id(data)? },
        T::MarkRead => rooms::mark_read(data)?,
        T::GetUnread => C::GetUnread,
        T::Typing => rooms::typing(data)?,
        T::GetRoomStats => C::GetRoomStats { room_id: room_id(data)? },

        T::SendMessage => messages::send("room_id", false, data)?,
        T::EditMessage => messages::edit(data)?,
        T::DeleteMessage => messages::delete(data)?,
        T::GetMessage => messages::about(data, |room_id, message_id| C::GetMessage { room_id, message_id })?,
        T::GetEdits => messages::about(data, |room_id, message_id| C::GetEdits { room_id, message_id })?,
        T::GetHistory => messages::get_history(data)?,
        T::GetThread => messages::get_thread(data)?,
        T::SearchMessages => messages::search(data)?,
        T::PinMessage => messages::about(data, |room_id, message_id| C::PinMessage { room_id, message_id })?,
        T::UnpinMessage => messages::about(data, |room_id, message_id| C::UnpinMessage { room_id, message_id })?,
        T::GetPinnedMessages => C::GetPinnedMessages { room_id: room_id(data)? },
        T::AddReaction => messages::add_reaction(data)?,
        T::RemoveReaction => messages::remove_reaction(data)?,
        T::GetReactions => messages::about(data, |room_id, message_id| C::GetReactions { room_id, message_id })?,
        T::GetMentions => messages::get_mentions(data)?,

        T::CreateDm => create_dm(data)?,
        T::SendDm => messages::send("conversation_id", true, data)?,
        T::ListDms => list_dms(data)?,
        T::BlockUser => C::BlockUser { user_id: user_id(data)? },
        T::UnblockUser => C::UnblockUser { user_id: user_id(data)? },
        T::ListBlocks => C::ListBlocks,

        T::GetUser => C::GetUser { user_id: user_id(data)? },
        T::ListUsers => list_users(data)?,
        T::SanctionUser => rooms::sanction_user(data)?,
        T::LiftSanction => rooms::lift_sanction(data)?,
        T::ListSanctions => rooms::list_sanctions(data)?,
    })
}

/// A reason that may be given; an empty one is none.
pub(super) fn reason(field: Field<'_>) -> Result<Option<Box<str>>> {
    Ok(prose(field, REASON_CHARS_MAX)?.filter(|reason| !reason.trim().is_empty()))
}

pub(super) fn room_id(data: Object<'_>) -> Result<RoomId> {
    let [room_id] = data.pick(["room_id"]);
    Ok(RoomId(room_id.id()?))
}

fn user_id(data: Object<'_>) -> Result<UserId> {
    let [user_id] = data.pick(["user_id"]);
    Ok(UserId(user_id.id()?))
}

pub(super) fn page(limit: Field<'_>) -> Result<u32> {
    Ok(limit.opt(|field| field.int(1..=u64::from(PAGE_MAX)))?.map_or(PAGE_DEFAULT, |limit| limit as u32))
}

pub(super) fn count(field: Field<'_>, least: u64) -> Result<Option<u32>> {
    Ok(field.opt(|field| field.int(least..=COUNT_MAX))?.map(|count| count as u32))
}

/// Which page of a list without filters.
pub(super) fn limit_and_cursor(data: Object<'_>) -> Result<(u32, Option<Box<str>>)> {
    let [limit, cursor] = data.pick(["limit", "cursor"]);
    Ok((page(limit)?, cursor.opt(|field| field.token(CURSOR_BYTES_MAX))?))
}

/// A search text; an empty one searches for nothing in particular.
pub(super) fn query(field: Field<'_>) -> Result<Option<Box<str>>> {
    let Some(text) = field.opt(Field::text)? else { return Ok(None) };
    let trimmed = text.trim();
    if trimmed.len() > QUERY_BYTES_MAX {
        return Err(field.error(format!("must have at most {QUERY_BYTES_MAX} bytes")));
    }
    Ok((!trimmed.is_empty()).then(|| trimmed.into()))
}

fn token(data: Object<'_>) -> Result<Box<str>> {
    let [token] = data.pick(["token"]);
    token.token(TOKEN_BYTES_MAX)
}

fn ping(data: Object<'_>) -> Result<Command> {
    let [timestamp] = data.pick(["timestamp"]);
    Ok(Command::Ping { timestamp: timestamp.opt(|field| field.raw_scalar(TIMESTAMP_BYTES_MAX))? })
}

/// The text is one line; an empty one is none.
fn update_status(data: Object<'_>) -> Result<Command> {
    let [status, message] = data.pick(["status", "message"]);
    let status = status.word(&Status::WORDS)?;
    let text = message.opt(Field::text)?.map_or("", str::trim);
    if text::count(text, false, false).map_err(|why| message.error(why))? > STATUS_CHARS_MAX {
        return Err(message.error(format!("must have at most {STATUS_CHARS_MAX} characters")));
    }
    Ok(Command::UpdateStatus { status, message: (!text.is_empty()).then(|| text.into()) })
}

fn revoke_session(data: Object<'_>) -> Result<Command> {
    let [session_id] = data.pick(["session_id"]);
    Ok(Command::RevokeSession { session_id: session_id.token(TOKEN_BYTES_MAX)? })
}

fn logout(data: Object<'_>) -> Result<Command> {
    let [everywhere] = data.pick(["everywhere"]);
    Ok(Command::Logout { everywhere: everywhere.opt(Field::flag)?.unwrap_or(false) })
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
pub(super) fn prose(field: Field<'_>, chars_max: u32) -> Result<Option<Box<str>>> {
    let Some(value) = field.opt(Field::text)? else { return Ok(None) };
    if text::count(value, true, false).map_err(|why| field.error(why))? > chars_max {
        return Err(field.error(format!("must have at most {chars_max} characters")));
    }
    Ok(Some(value.into()))
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

fn list_dms(data: Object<'_>) -> Result<Command> {
    let (limit, cursor) = limit_and_cursor(data)?;
    Ok(Command::ListDms { limit, cursor })
}

fn list_users(data: Object<'_>) -> Result<Command> {
    let [text] = data.pick(["query"]);
    let (limit, cursor) = limit_and_cursor(data)?;
    Ok(Command::ListUsers { query: query(text)?, limit, cursor })
}
