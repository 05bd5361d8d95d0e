//! Queries that are answered page by page: members, rooms, conversations, users. A page asks for one row more than it
//! shows, to know whether there is a next.

use rusqlite::{Connection, OptionalExtension, params};
use veza_engine::id::{RoomId, Seq, UserId};
use veza_engine::store::{Cursor, DmSummary, LoadError, Loaded, RoomSummary, UnreadRow};
use veza_engine::wire::RoomFilter;

use super::load_user::{OwnPosition, own_position};
use super::reader::Failure;
use super::rows::{self, EVENT, EVENT_FROM, MEMBER, META, META_COLUMNS, Prepare as _, USER};
use super::{load_message, load_room};
use crate::store::shared::{cursor, fold, read_cursor, read_id_cursor, skeleton};

/// The position of a newest event.
const HEAD: &str = "coalesce((SELECT max(e.seq) FROM events e WHERE e.room_id = r.room_id), r.floor_seq)";

/// Cuts the extra row off; the cursor is made of the last one shown.
pub(super) fn cut<T>(found: &mut Vec<T>, limit: u32, kind: char, position: impl Fn(&T) -> String) -> Cursor {
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    found.last().filter(|_| more).map(|last| cursor(kind, &position(last)))
}

/// The user after whom a page of members begins.
pub(super) fn member_cursor(from: Option<&str>) -> Result<u64, LoadError> {
    read_id_cursor('m', from).map(|after| after.unwrap_or(0))
}

/// `Load::MemberPage`.
pub(super) fn members(
    connection: &Connection,
    room_id: RoomId,
    role: Option<&str>,
    among: Option<&[UserId]>,
    limit: u32,
    from: Option<&str>,
) -> Result<Loaded, Failure> {
    let after = member_cursor(from)?;
    // The cross join keeps the order of the tables: from the few that were asked for, or from the room.
    let tables = match (among, role) {
        (Some(_), _) => "json_each(?5) j CROSS JOIN members m ON m.user_id = j.value",
        (None, Some(_)) => "members m INDEXED BY members_by_role",
        (None, None) => "members m",
    };
    let role_is = if role.is_some() { "m.role = ?3" } else { "?3 IS NULL" };
    let sql = format!(
        "SELECT {MEMBER}, u.username FROM {tables} CROSS JOIN users u ON u.user_id = m.user_id
         WHERE m.room_id = ?1 AND m.user_id > ?2 AND {role_is} AND ?5 IS ?5
         ORDER BY m.user_id LIMIT ?4"
    );
    let values = params![room_id.0 as i64, after as i64, role, i64::from(limit) + 1, among.map(rows::id_list)];
    let mut members = rows::all(connection, &sql, values, |row| Ok((rows::member(row)?, rows::text(row, 5)?)))?;
    let next = cut(&mut members, limit, 'm', |(member, _)| member.user_id.0.to_string());
    Ok(Loaded::MemberPage { members, next })
}

/// `Load::RoomPage`.
pub(super) fn rooms(
    connection: &Connection,
    filter: RoomFilter,
    user_id: UserId,
    query: Option<&str>,
    limit: u32,
    from: Option<&str>,
    mix: u64,
) -> Result<Loaded, Failure> {
    let after = read_id_cursor('r', from)?.unwrap_or(0);
    let rooms = match filter {
        RoomFilter::Public => "rooms r WHERE r.visibility = 0 AND r.room_id > ?1 AND ?4 IS ?4",
        RoomFilter::Joined => {
            "members m CROSS JOIN rooms r ON r.room_id = m.room_id WHERE m.user_id = ?4 AND m.room_id > ?1"
        }
        RoomFilter::Invited => {
            "invites i CROSS JOIN rooms r ON r.room_id = i.room_id WHERE i.user_id = ?4 AND i.room_id > ?1"
        }
    };
    let sql = format!(
        "SELECT {META}, r.member_count, {HEAD} FROM {rooms} AND r.kind = 0 AND r.deleted_at IS NULL AND (?2 IS NULL OR instr(r.name_folded, ?2) > 0)
         ORDER BY r.room_id LIMIT ?3"
    );
    let values = params![after as i64, query.map(fold), i64::from(limit) + 1, user_id.0 as i64];
    let mut rooms = rows::all(connection, &sql, values, |row| {
        let (member_count, head) = (row.get(META_COLUMNS)?, Seq(rows::uint(row, META_COLUMNS + 1)?));
        Ok(RoomSummary { meta: rows::meta(row, mix)?, head, member_count })
    })?;
    let next = cut(&mut rooms, limit, 'r', |room| room.meta.room_id.0.to_string());
    Ok(Loaded::RoomPage { rooms, next })
}

/// `Load::DmPage`. Activity is the time of the newest event, or of the creation.
pub(super) fn conversations(
    connection: &Connection,
    user_id: UserId,
    limit: u32,
    from: Option<&str>,
    mix: u64,
) -> Result<Loaded, Failure> {
    let (at, room) = match read_cursor('d', from)? {
        None => (i64::MAX, i64::MAX),
        Some(position) => position
            .split_once('.')
            .and_then(|(at, room)| Some((at.parse().ok()?, room.parse().ok()?)))
            .ok_or(LoadError::BadCursor)?,
    };
    let sql = "SELECT r.room_id, r.epoch, r.read_checkpoint, m.last_read_seq, m.last_read_no,
                   coalesce(h.seq, r.floor_seq), coalesce(h.message_no, r.floor_no),
                   coalesce(h.at, r.created_at) AS active
               FROM members m CROSS JOIN rooms r ON r.room_id = m.room_id
                   LEFT JOIN events h ON h.room_id = m.room_id
                       AND h.seq = (SELECT max(e.seq) FROM events e WHERE e.room_id = m.room_id)
               WHERE m.user_id = ?1 AND r.kind = 1 AND r.deleted_at IS NULL AND (active, r.room_id) < (?2, ?3)
               ORDER BY active DESC, r.room_id DESC LIMIT ?4";
    let values = params![user_id.0 as i64, at, room, i64::from(limit) + 1];
    let mut found =
        rows::all(connection, sql, values, |row| Ok((OwnPosition::read(row, 1, mix)?, row.get::<_, i64>(7)?)))?;
    let next = cut(&mut found, limit, 'd', |(place, active)| format!("{active}.{}", place.room_id.0));
    let newest =
        format!("SELECT {EVENT} FROM {EVENT_FROM} WHERE e.room_id = ?1 AND e.kind = 1 ORDER BY e.seq DESC LIMIT 1");
    let mut conversations = Vec::with_capacity(found.len());
    for (place, _) in found {
        let unread: UnreadRow = own_position(connection, user_id, &place)?;
        let mut last_message =
            connection.prepared(&newest)?.query_row([place.room_id.0 as i64], rows::event).optional()?;
        load_message::add_reactions(connection, last_message.as_mut_slice(), Some(user_id))?;
        let users = load_room::participants(connection, place.room_id)?;
        let is_blocked = match &users[..] {
            [one, other] => {
                let other = if one.user_id == user_id { other } else { one };
                load_room::blocks_user(connection, user_id, other.user_id)?
            }
            _ => false,
        };
        conversations.push(DmSummary { unread, users, last_message, is_blocked });
    }
    Ok(Loaded::DmPage { conversations, next })
}

/// `Load::UserPage`. `~` sorts after all that a username may have.
pub(super) fn users(
    connection: &Connection,
    query: Option<&str>,
    limit: u32,
    from: Option<&str>,
) -> Result<Loaded, Failure> {
    let after = read_cursor('u', from)?.unwrap_or_default();
    let prefix = query.map(skeleton).unwrap_or_default();
    let sql = format!(
        "SELECT {USER} FROM users u WHERE u.skeleton > ?1 AND u.skeleton >= ?2 AND u.skeleton < ?2 || '~'
         ORDER BY u.skeleton LIMIT ?3"
    );
    let values = params![after, prefix, i64::from(limit) + 1];
    let mut users = rows::all(connection, &sql, values, |row| rows::user(row, 0))?;
    let next = cut(&mut users, limit, 'u', |user| skeleton(&user.username));
    Ok(Loaded::UserPage { users, next })
}
