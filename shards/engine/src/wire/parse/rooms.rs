//! The `data` of commands about rooms and their members.

use super::commands::{
    CURSOR_BYTES_MAX, DESCRIPTION_CHARS_MAX, NAME_CHARS_MAX, ROLE_BYTES_MAX, Result, TOPIC_CHARS_MAX, count, page,
    prose, query, reason,
};
use super::fields::{Field, Object};
use super::key::{Subject, client_key};
use super::text;
use crate::id::{RoomId, Seq, UserId};
use crate::wire::{
    Command, CreateRoom, Permission, Permissions, RoomFilter, SanctionKind, SanctionUser, UpdateRoom, Visibility,
};

/// Characters in the name of a role.
pub const ROLE_CHARS_MAX: usize = 32;
/// Roles that every room has, and that are not for rooms to change.
pub const BUILT_IN_ROLES: [&str; 3] = ["owner", "moderator", "member"];
const VISIBILITIES: [(&str, Visibility); 2] = [("public", Visibility::Public), ("private", Visibility::Private)];

pub(super) fn create_room(data: Object<'_>) -> Result<Command> {
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
    let mut room = CreateRoom {
        name: room_name(name)?,
        visibility: visibility.opt(|field| field.word(&VISIBILITIES))?.unwrap_or(Visibility::Public),
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

pub(super) fn update_room(data: Object<'_>) -> Result<Command> {
    let [room_id, name, description, topic, visibility, max_members, slow_mode_s, retention_days, archived] = data
        .pick([
            "room_id",
            "name",
            "description",
            "topic",
            "visibility",
            "max_members",
            "slow_mode_s",
            "retention_days",
            "archived",
        ]);
    let room_id = RoomId(room_id.id()?);
    let fields = [name, description, topic, visibility, max_members, slow_mode_s, retention_days, archived];
    if !fields.iter().any(Field::is_present) {
        return Err(name.error("nothing is to be changed: at least one setting must be given"));
    }
    Ok(Command::UpdateRoom(Box::new(UpdateRoom {
        room_id,
        name: name.opt(room_name)?,
        description: prose(description, DESCRIPTION_CHARS_MAX)?,
        topic: prose(topic, TOPIC_CHARS_MAX)?,
        visibility: visibility.opt(|field| field.word(&VISIBILITIES))?,
        max_members: count(max_members, 1)?,
        slow_mode_s: count(slow_mode_s, 0)?,
        retention_days: count(retention_days, 0)?,
        archived: archived.opt(Field::flag)?,
    })))
}

pub(super) fn list_rooms(data: Object<'_>) -> Result<Command> {
    let [filter, text, limit, cursor] = data.pick(["filter", "query", "limit", "cursor"]);
    let words = [("public", RoomFilter::Public), ("joined", RoomFilter::Joined), ("invited", RoomFilter::Invited)];
    Ok(Command::ListRooms {
        filter: filter.opt(|field| field.word(&words))?.unwrap_or(RoomFilter::Public),
        query: query(text)?,
        limit: page(limit)?,
        cursor: cursor.opt(|field| field.token(CURSOR_BYTES_MAX))?,
    })
}

pub(super) fn get_members(data: Object<'_>) -> Result<Command> {
    let [room_id, role, online, limit, cursor] = data.pick(["room_id", "role", "online", "limit", "cursor"]);
    Ok(Command::GetMembers {
        room_id: RoomId(room_id.id()?),
        role: role.opt(|field| field.token(ROLE_BYTES_MAX))?,
        online: online.opt(Field::flag)?,
        limit: page(limit)?,
        cursor: cursor.opt(|field| field.token(CURSOR_BYTES_MAX))?,
    })
}

fn room_name(field: Field<'_>) -> Result<Box<str>> {
    let name = field.text()?.trim();
    if text::count(name, false, true).map_err(|why| field.error(why))? > NAME_CHARS_MAX {
        return Err(field.error(format!("must have at most {NAME_CHARS_MAX} characters")));
    }
    Ok(name.into())
}

pub(super) fn mark_read(data: Object<'_>) -> Result<Command> {
    let [room_id, seq] = data.pick(["room_id", "seq"]);
    Ok(Command::MarkRead { room_id: RoomId(room_id.id()?), seq: Seq(seq.position()?) })
}

pub(super) fn typing(data: Object<'_>) -> Result<Command> {
    let [room_id, is_typing] = data.pick(["room_id", "is_typing"]);
    Ok(Command::Typing { room_id: RoomId(room_id.id()?), is_typing: is_typing.flag()? })
}

/// The room and the user whom a command is about.
fn room_and_user(data: Object<'_>) -> Result<(RoomId, UserId)> {
    let [room_id, user_id] = data.pick(["room_id", "user_id"]);
    Ok((RoomId(room_id.id()?), UserId(user_id.id()?)))
}

pub(super) fn invite_member(data: Object<'_>) -> Result<Command> {
    let (room_id, user_id) = room_and_user(data)?;
    Ok(Command::InviteMember { room_id, user_id })
}

pub(super) fn kick_member(data: Object<'_>) -> Result<Command> {
    let (room_id, user_id) = room_and_user(data)?;
    let [why] = data.pick(["reason"]);
    Ok(Command::KickMember { room_id, user_id, reason: reason(why)? })
}

pub(super) fn set_member_role(data: Object<'_>) -> Result<Command> {
    let (room_id, user_id) = room_and_user(data)?;
    let [role] = data.pick(["role"]);
    Ok(Command::SetMemberRole { room_id, user_id, role: role_name(role)? })
}

pub(super) fn create_role(data: Object<'_>) -> Result<Command> {
    let (room_id, name) = room_and_role(data)?;
    Ok(Command::CreateRole { room_id, name, permissions: permissions(data)? })
}

pub(super) fn update_role(data: Object<'_>) -> Result<Command> {
    let (room_id, name) = room_and_role(data)?;
    Ok(Command::UpdateRole { room_id, name, permissions: permissions(data)? })
}

pub(super) fn delete_role(data: Object<'_>) -> Result<Command> {
    let (room_id, name) = room_and_role(data)?;
    Ok(Command::DeleteRole { room_id, name })
}

/// The room and the name of a custom role.
fn room_and_role(data: Object<'_>) -> Result<(RoomId, Box<str>)> {
    let [room_id, name] = data.pick(["room_id", "name"]);
    let (room_id, role) = (RoomId(room_id.id()?), role_name(name)?);
    if BUILT_IN_ROLES.contains(&&*role) {
        return Err(name.error("is a role that every room has"));
    }
    Ok((room_id, role))
}

fn role_name(field: Field<'_>) -> Result<Box<str>> {
    let name = field.text()?;
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
    if !(1..=ROLE_CHARS_MAX).contains(&name.len()) || !name.bytes().all(known) {
        return Err(field.error(format!("must have 1 to {ROLE_CHARS_MAX} of the characters a-z, 0-9, _ and -")));
    }
    Ok(name.into())
}

fn permissions(data: Object<'_>) -> Result<Permissions> {
    let [list] = data.pick(["permissions"]);
    let mut all = Permissions::NONE;
    list.each(|item| {
        all = all.and(Permissions::of(&[item.word(&Permission::WORDS)?]));
        Ok(())
    })?;
    Ok(all)
}

pub(super) fn sanction_user(data: Object<'_>) -> Result<Command> {
    let (room_id, user_id) = room_and_user(data)?;
    let [kind, duration_s, why] = data.pick(["kind", "duration_s", "reason"]);
    Ok(Command::SanctionUser(Box::new(SanctionUser {
        room_id,
        user_id,
        kind: kind.word(&SanctionKind::WORDS)?,
        duration_s: count(duration_s, 1)?,
        reason: reason_given(why)?,
        sanction_id: 0,
    })))
}

fn reason_given(field: Field<'_>) -> Result<Box<str>> {
    text::count(field.text()?, true, true).map_err(|fault| field.error(fault))?;
    Ok(reason(field)?.unwrap_or_default())
}

/// Its room is found by its id.
pub(super) fn lift_sanction(data: Object<'_>) -> Result<Command> {
    let [sanction_id] = data.pick(["sanction_id"]);
    Ok(Command::LiftSanction { sanction_id: sanction_id.id()?, room_id: None })
}

pub(super) fn list_sanctions(data: Object<'_>) -> Result<Command> {
    let [room_id, user_id, active, limit, cursor] = data.pick(["room_id", "user_id", "active", "limit", "cursor"]);
    Ok(Command::ListSanctions {
        room_id: room_id.opt(Field::id)?.map(RoomId),
        user_id: user_id.opt(Field::id)?.map(UserId),
        active: active.opt(Field::flag)?,
        limit: page(limit)?,
        cursor: cursor.opt(|field| field.token(CURSOR_BYTES_MAX))?,
    })
}
