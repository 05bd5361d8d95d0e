//! Queries about what concerns a user besides his rooms: presence, blocks, mentions, sanctions.

use rusqlite::{Connection, Error, OptionalExtension, params};
use veza_engine::id::{RoomId, Seq, UserId};
use veza_engine::store::{CONTACTS_MAX, EventRecord, Loaded, Profile};
use veza_engine::time::WallMs;
use veza_engine::wire::Status;

use super::load_message;
use super::load_page::cut;
use super::reader::Failure;
use super::rows::{self, Prepare as _, SANCTION, USER};
use crate::store::shared::read_numbers_cursor;

/// `Load::Profile`. Few queries by key each: not worth a batch.
pub(super) fn profile(connection: &Connection, user_id: UserId) -> Result<Loaded, Error> {
    let user = user_id.0 as i64;
    let mut profile = connection
        .prepared("SELECT status, status_message, last_seen_at FROM users WHERE user_id = ?1")?
        .query_row([user], |row| {
            Ok(Profile {
                status: status(row.get(0)?),
                message: rows::opt_text(row, 1)?,
                last_seen_at: row.get::<_, Option<i64>>(2)?.map(WallMs),
                ..Profile::default()
            })
        })
        .optional()?
        .unwrap_or_default();
    let id = |row: &rusqlite::Row<'_>| rows::uint(row, 0).map(UserId);
    let blocks = "SELECT blocked_id FROM blocks WHERE user_id = ?1 ORDER BY blocked_id";
    profile.blocks = rows::all(connection, blocks, [user], id)?;
    let conversations = rows::all(
        connection,
        "SELECT m.room_id FROM members m CROSS JOIN rooms r ON r.room_id = m.room_id
         WHERE m.user_id = ?1 AND r.kind = 1 AND r.deleted_at IS NULL ORDER BY m.room_id DESC LIMIT ?2",
        params![user, CONTACTS_MAX as i64],
        |row| rows::uint(row, 0).map(RoomId),
    )?;
    for room_id in conversations {
        let others = "SELECT user_id FROM members WHERE room_id = ?1 AND user_id <> ?2 ORDER BY user_id";
        profile.contacts.push((room_id, rows::all(connection, others, [room_id.0 as i64, user], id)?));
    }
    Ok(Loaded::Profile(Box::new(profile)))
}

fn status(number: u8) -> Status {
    Status::WORDS.iter().map(|(_, status)| *status).find(|status| *status as u8 == number).unwrap_or_default()
}

/// `Load::Blocks`.
pub(super) fn blocks(connection: &Connection, user_id: UserId) -> Result<Loaded, Error> {
    let sql = format!(
        "SELECT {USER}, b.at FROM blocks b CROSS JOIN users u ON u.user_id = b.blocked_id
         WHERE b.user_id = ?1 ORDER BY b.blocked_id"
    );
    rows::all(connection, &sql, [user_id.0 as i64], |row| Ok((rows::user(row, 0)?, WallMs(row.get(4)?))))
        .map(Loaded::Blocks)
}

/// A place in the order of time, room, position: newest first.
type Mention = (i64, u64, u64);

/// `Load::Mentions`.
pub(super) fn mentions(
    connection: &Connection,
    reader: UserId,
    limit: u32,
    from: Option<&str>,
) -> Result<Loaded, Failure> {
    let before = match read_numbers_cursor('n', from)? {
        None => (i64::MAX, i64::MAX, i64::MAX),
        Some([at, room, seq]) => (at, room, seq),
    };
    let mut found = own_mentions(connection, reader, limit, before)?;
    for (room_id, joined_at) in rooms_of(connection, reader)? {
        found.extend(mentions_of_all(connection, (room_id, joined_at), limit, before)?);
    }
    found.sort_unstable_by(|one, other| other.cmp(one));
    found.dedup();
    let next = cut(&mut found, limit, 'n', |(at, room, seq)| format!("{at}.{room}.{seq}"));
    let mut messages: Vec<EventRecord> = Vec::with_capacity(found.len());
    for (_, room_id, seq) in found {
        messages.extend(load_message::one(connection, RoomId(room_id), Seq(seq), reader)?);
    }
    Ok(Loaded::Messages { messages, next })
}

fn mention(row: &rusqlite::Row<'_>) -> Result<Mention, Error> {
    Ok((row.get(0)?, rows::uint(row, 1)?, rows::uint(row, 2)?))
}

fn own_mentions(
    connection: &Connection,
    reader: UserId,
    limit: u32,
    (at, room, seq): (i64, i64, i64),
) -> Result<Vec<Mention>, Error> {
    let sql = "SELECT n.at, n.room_id, n.seq FROM mentions n
                   CROSS JOIN members m ON m.room_id = n.room_id AND m.user_id = n.user_id
                   CROSS JOIN rooms r ON r.room_id = n.room_id
               WHERE n.user_id = ?1 AND n.user_id > 0 AND r.deleted_at IS NULL
                   AND (n.at, n.room_id, n.seq) < (?2, ?3, ?4)
               ORDER BY n.at DESC, n.room_id DESC, n.seq DESC LIMIT ?5";
    rows::all(connection, sql, params![reader.0 as i64, at, room, seq, i64::from(limit) + 1], mention)
}

fn rooms_of(connection: &Connection, user_id: UserId) -> Result<Vec<(u64, i64)>, Error> {
    let sql = "SELECT m.room_id, m.joined_at FROM members m CROSS JOIN rooms r ON r.room_id = m.room_id
               WHERE m.user_id = ?1 AND r.deleted_at IS NULL";
    rows::all(connection, sql, [user_id.0 as i64], |row| Ok((rows::uint(row, 0)?, row.get(1)?)))
}

/// The newest mentions of everybody in one room since this user joined.
fn mentions_of_all(
    connection: &Connection,
    (room_id, joined_at): (u64, i64),
    limit: u32,
    (at, room, seq): (i64, i64, i64),
) -> Result<Vec<Mention>, Error> {
    let sql = "SELECT at, room_id, seq FROM mentions INDEXED BY mentions_of_all
               WHERE user_id = 0 AND room_id = ?1 AND at >= ?2 AND at <= ?3 AND (at, room_id, seq) < (?3, ?4, ?5)
               ORDER BY at DESC, seq DESC LIMIT ?6";
    let values = params![room_id as i64, joined_at, at, room, seq, i64::from(limit) + 1];
    rows::all(connection, sql, values, mention)
}

/// `Load::Sanction`.
pub(super) fn sanction(connection: &Connection, sanction_id: u64) -> Result<Loaded, Error> {
    let sql = format!(
        "SELECT {SANCTION} FROM sanctions s CROSS JOIN rooms r ON r.room_id = s.room_id
         WHERE s.sanction_id = ?1 AND r.deleted_at IS NULL"
    );
    let found = connection.prepared(&sql)?.query_row([sanction_id as i64], rows::sanction).optional()?;
    Ok(Loaded::Sanction(found.map(Box::new)))
}

/// Which sanctions are asked for.
pub(super) struct Sanctions<'a> {
    pub room_id: Option<RoomId>,
    pub user_id: Option<UserId>,
    pub active: Option<bool>,
    pub now: WallMs,
    pub limit: u32,
    pub cursor: Option<&'a str>,
}

/// `Load::Sanctions`.
pub(super) fn sanctions(connection: &Connection, asked: &Sanctions<'_>) -> Result<Loaded, Failure> {
    let (at, id) = match read_numbers_cursor('s', asked.cursor)? {
        None => (i64::MAX, i64::MAX),
        Some([at, id]) => (at, id),
    };
    // By the index that narrows most; within each, newest first.
    let by = match (asked.room_id, asked.user_id) {
        (_, Some(_)) => {
            "s INDEXED BY sanctions_by_user CROSS JOIN rooms r WHERE s.user_id = ?4 AND (?3 IS NULL OR s.room_id = ?3)"
        }
        (Some(_), None) => "s INDEXED BY sanctions_by_room CROSS JOIN rooms r WHERE s.room_id = ?3 AND ?4 IS NULL",
        (None, None) => "s INDEXED BY sanctions_by_time CROSS JOIN rooms r WHERE ?3 IS NULL AND ?4 IS NULL",
    };
    let sql = format!(
        "SELECT {SANCTION}, coalesce((SELECT u.username FROM users u WHERE u.user_id = s.user_id), '')
         FROM sanctions {by} AND r.room_id = s.room_id AND r.deleted_at IS NULL AND (s.at, s.sanction_id) < (?1, ?2)
             AND (?5 IS NULL OR ?5 = (s.kind IN (2, 4) AND s.lifted_at IS NULL
                 AND (s.expires_at IS NULL OR s.expires_at > ?6)))
         ORDER BY s.at DESC, s.sanction_id DESC LIMIT ?7"
    );
    let values = params![
        at,
        id,
        asked.room_id.map(|room| room.0 as i64),
        asked.user_id.map(|user| user.0 as i64),
        asked.active,
        asked.now.0,
        i64::from(asked.limit) + 1
    ];
    let mut sanctions = rows::all(connection, &sql, values, |row| Ok((rows::sanction(row)?, rows::text(row, 10)?)))?;
    let next = cut(&mut sanctions, asked.limit, 's', |(row, _)| format!("{}.{}", row.at.0, row.sanction_id));
    Ok(Loaded::Sanctions { sanctions, next })
}
