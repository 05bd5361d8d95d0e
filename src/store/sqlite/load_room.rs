//! Queries about one room.

use std::collections::HashMap;

use rusqlite::{Connection, Error, OptionalExtension, Row, params};
use veza_engine::id::{RoomId, Seq, UserId};
use veza_engine::store::{Earlier, EventRecord, Loaded, MemberRow, RoomKind, RoomState, Standing};
use veza_engine::time::WallMs;

use super::rows::{self, EVENT, EVENT_FROM, MEMBER, META, META_COLUMNS, Prepare as _, USER};
use crate::store::shared::PAGE_BYTES;

/// `Load::Room`.
pub(super) fn room(
    connection: &Connection,
    room_id: RoomId,
    tail: u32,
    users: &[UserId],
    mix: u64,
) -> Result<Loaded, Error> {
    let id = room_id.0 as i64;
    let found = connection
        .prepared(&format!("SELECT {META}, r.member_count, r.read_checkpoint FROM rooms r WHERE r.room_id = ?1"))?
        .query_row([id], |row| Ok((rows::meta(row, mix)?, row.get(META_COLUMNS)?, rows::uint(row, META_COLUMNS + 1)?)))
        .optional()?;
    let Some((meta, member_count, checkpoint)) = found else { return Ok(Loaded::Room(None)) };
    let (head, message_no) = connection
        .prepared("SELECT seq, message_no FROM events WHERE room_id = ?1 ORDER BY seq DESC LIMIT 1")?
        .query_row([id], |row| Ok((Seq(rows::uint(row, 0)?), rows::uint(row, 1)?)))
        .optional()?
        .unwrap_or_default();
    let newest = format!("SELECT {EVENT} FROM {EVENT_FROM} WHERE e.room_id = ?1 ORDER BY e.seq DESC LIMIT ?2");
    let mut tail = page(connection, &newest, params![id, tail])?;
    tail.reverse();
    let standings = standings(connection, room_id, checkpoint, users)?;
    let participants = match meta.kind {
        RoomKind::Room => Vec::new(),
        RoomKind::Dm => participants(connection, room_id)?,
    };
    let state = RoomState {
        meta,
        head,
        message_no,
        member_count,
        tail,
        floor: Seq(0),
        standings,
        participants,
        roles: Vec::new(),
        pinned_count: 0,
        blocks: Vec::new(),
    };
    Ok(Loaded::Room(Some(Box::new(state))))
}

/// All members of a conversation.
pub(super) fn participants(
    connection: &Connection,
    room_id: RoomId,
) -> Result<Vec<veza_engine::store::UserRow>, Error> {
    let sql = format!(
        "SELECT {USER} FROM members m JOIN users u ON u.user_id = m.user_id WHERE m.room_id = ?1 ORDER BY m.user_id"
    );
    rows::all(connection, &sql, [room_id.0 as i64], |row| rows::user(row, 0))
}

/// `Load::Members`.
pub(super) fn members(connection: &Connection, room_id: RoomId, users: &[UserId]) -> Result<Loaded, Error> {
    let checkpoint = connection
        .prepared("SELECT read_checkpoint FROM rooms WHERE room_id = ?1")?
        .query_row([room_id.0 as i64], |row| rows::uint(row, 0))
        .optional()?;
    let Some(checkpoint) = checkpoint else { return Ok(Loaded::Members(Vec::new())) };
    Ok(Loaded::Members(standings(connection, room_id, checkpoint, users)?))
}

/// What is known of these users.
fn standings(
    connection: &Connection,
    room_id: RoomId,
    checkpoint: u64,
    users: &[UserId],
) -> Result<Vec<Standing>, Error> {
    let members = member_rows(connection, room_id, checkpoint, users)?;
    let sql =
        format!("SELECT {USER} FROM json_each(?1) j CROSS JOIN users u ON u.user_id = j.value ORDER BY u.user_id");
    let users = rows::all(connection, &sql, [rows::id_list(users)], |row| rows::user(row, 0))?;
    let standing = |user: veza_engine::store::UserRow| Standing {
        user_id: user.user_id,
        username: user.username,
        member: members.iter().find(|member| member.user_id == user.user_id).cloned(),
        invited: false,
        sanctions: Vec::new(),
    };
    Ok(users.into_iter().map(standing).collect())
}

/// The memberships of these users, own messages beyond the checkpoint included in their read positions.
fn member_rows(
    connection: &Connection,
    room_id: RoomId,
    checkpoint: u64,
    users: &[UserId],
) -> Result<Vec<MemberRow>, Error> {
    if users.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT {MEMBER} FROM json_each(?2) j CROSS JOIN members m ON m.room_id = ?1 AND m.user_id = j.value
         ORDER BY m.user_id"
    );
    let values = params![room_id.0 as i64, rows::id_list(users)];
    let mut members = rows::all(connection, &sql, values, rows::member)?;
    // SQLite takes the bare column from the row that has the maximum.
    let sql = "SELECT author_id, max(seq), message_no FROM events
               WHERE room_id = ?1 AND seq > ?2 AND kind = 1 GROUP BY author_id";
    let own: HashMap<u64, (Seq, u64)> =
        rows::all(connection, sql, params![room_id.0 as i64, checkpoint as i64], |row| {
            Ok((rows::uint(row, 0)?, (Seq(rows::uint(row, 1)?), rows::uint(row, 2)?)))
        })?
        .into_iter()
        .collect();
    for member in &mut members {
        if let Some((seq, no)) = own.get(&member.user_id.0).filter(|(seq, _)| *seq > member.last_read_seq) {
            (member.last_read_seq, member.last_read_no) = (*seq, *no);
        }
    }
    Ok(members)
}

/// `Load::Events`.
pub(super) fn events(connection: &Connection, room_id: RoomId, after: Seq, limit: u32) -> Result<Loaded, Error> {
    let sql = format!("SELECT {EVENT} FROM {EVENT_FROM} WHERE e.room_id = ?1 AND e.seq > ?2 ORDER BY e.seq LIMIT ?3");
    page(connection, &sql, params![room_id.0 as i64, after.0 as i64, limit]).map(Loaded::Events)
}

/// Rows until they are about [`PAGE_BYTES`]; at least one if there is any.
fn page(connection: &Connection, sql: &str, values: impl rusqlite::Params) -> Result<Vec<EventRecord>, Error> {
    let mut statement = connection.prepared(sql)?;
    let mut found = statement.query(values)?;
    let (mut records, mut bytes) = (Vec::new(), 0);
    while let Some(row) = found.next()? {
        let record = rows::event(row)?;
        bytes += 64 + record.row.content.as_ref().map_or(0, |text| text.len());
        bytes += record.row.data.as_ref().map_or(0, |text| text.len());
        if bytes > PAGE_BYTES && !records.is_empty() {
            break;
        }
        records.push(record);
    }
    Ok(records)
}

/// `Load::HistoryBefore`.
pub(super) fn history_before(
    connection: &Connection,
    room_id: RoomId,
    before: Option<Seq>,
    limit: u32,
) -> Result<Loaded, Error> {
    let sql = format!(
        "SELECT {EVENT} FROM {EVENT_FROM} WHERE e.room_id = ?1 AND e.seq < ?2 AND e.kind = 1
         ORDER BY e.seq DESC LIMIT ?3"
    );
    let before = before.map_or(i64::MAX, |seq| seq.0 as i64);
    let (mut messages, more) = history(connection, &sql, room_id, before, limit)?;
    messages.reverse();
    Ok(Loaded::History { messages, more })
}

/// `Load::HistoryAfter`.
pub(super) fn history_after(connection: &Connection, room_id: RoomId, after: Seq, limit: u32) -> Result<Loaded, Error> {
    let sql = format!(
        "SELECT {EVENT} FROM {EVENT_FROM} WHERE e.room_id = ?1 AND e.seq > ?2 AND e.kind = 1
         ORDER BY e.seq LIMIT ?3"
    );
    let (messages, more) = history(connection, &sql, room_id, after.0 as i64, limit)?;
    Ok(Loaded::History { messages, more })
}

fn history(
    connection: &Connection,
    sql: &str,
    room_id: RoomId,
    from: i64,
    limit: u32,
) -> Result<(Vec<EventRecord>, bool), Error> {
    let values = params![room_id.0 as i64, from, i64::from(limit) + 1];
    let mut messages = rows::all(connection, sql, values, rows::event)?;
    let more = messages.len() > limit as usize;
    messages.truncate(limit as usize);
    Ok((messages, more))
}

/// `Load::Message`.
pub(super) fn message(connection: &Connection, room_id: RoomId, message_id: Seq) -> Result<Loaded, Error> {
    let sql = format!("SELECT {EVENT} FROM {EVENT_FROM} WHERE e.room_id = ?1 AND e.seq = ?2 AND e.kind = 1");
    let record =
        connection.prepared(&sql)?.query_row(params![room_id.0 as i64, message_id.0 as i64], rows::event).optional()?;
    Ok(Loaded::Message(record.map(Box::new)))
}

/// `Load::ClientEvent`.
pub(super) fn client_event(
    connection: &Connection,
    room_id: RoomId,
    user_id: UserId,
    client_id: &str,
) -> Result<Loaded, Error> {
    let sql = "SELECT e.seq, e.at, e.client_hash, coalesce(r.kind, 0) FROM events e LEFT JOIN rooms r USING (room_id)
               WHERE e.room_id = ?1 AND e.author_id = ?2 AND e.client_id = ?3";
    let read = |row: &Row<'_>| {
        Ok(Earlier {
            room_id,
            seq: Seq(rows::uint(row, 0)?),
            at: WallMs(row.get(1)?),
            hash: rows::opt_uint(row, 2)?,
            kind: rows::room_kind(row, 3)?,
        })
    };
    let values = params![room_id.0 as i64, user_id.0 as i64, client_id];
    Ok(Loaded::ClientEvent(connection.prepared(sql)?.query_row(values, read).optional()?))
}
