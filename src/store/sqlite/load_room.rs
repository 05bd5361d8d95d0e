//! Queries about one room: its state, who is what in it, its numbers.

use std::collections::HashMap;

use rusqlite::{Connection, Error, OptionalExtension, Row, params};
use veza_engine::id::{RoomId, Seq, UserId};
use veza_engine::store::{
    Earlier, Loaded, MemberRow, RoleRow, RoomKind, RoomMeta, RoomState, RoomStats, SanctionRow, Standing, UserRow,
};
use veza_engine::time::WallMs;
use veza_engine::wire::Permissions;

use super::load_message;
use super::rows::{self, EVENT, EVENT_FROM, MEMBER, META, META_COLUMNS, Prepare as _, SANCTION, USER};
use crate::store::report::wall_now;

/// Events looked at, at most, for who was active in the last hour.
const ACTIVE_EVENTS_MAX: u64 = 100_000;

/// What every query about a room begins with.
struct Found {
    meta: RoomMeta,
    member_count: u32,
    checkpoint: u64,
    floor: (Seq, u64),
}

/// Whether the room is there for anybody.
pub(super) fn visible(connection: &Connection, room_id: RoomId) -> Result<bool, Error> {
    connection
        .prepared("SELECT 1 FROM rooms WHERE room_id = ?1 AND deleted_at IS NULL")?
        .query_row([room_id.0 as i64], |_| Ok(()))
        .optional()
        .map(|found| found.is_some())
}

fn find(connection: &Connection, room_id: RoomId, mix: u64) -> Result<Option<Found>, Error> {
    let sql = format!(
        "SELECT {META}, r.member_count, r.read_checkpoint, r.floor_seq, r.floor_no FROM rooms r
         WHERE r.room_id = ?1 AND r.deleted_at IS NULL"
    );
    let read = |row: &Row<'_>| {
        Ok(Found {
            meta: rows::meta(row, mix)?,
            member_count: row.get(META_COLUMNS)?,
            checkpoint: rows::uint(row, META_COLUMNS + 1)?,
            floor: (Seq(rows::uint(row, META_COLUMNS + 2)?), rows::uint(row, META_COLUMNS + 3)?),
        })
    };
    connection.prepared(&sql)?.query_row([room_id.0 as i64], read).optional()
}

/// The newest event's position and number of messages; where nothing is left, those of the floor.
fn head(connection: &Connection, room_id: RoomId, floor: (Seq, u64)) -> Result<(Seq, u64), Error> {
    let newest = connection
        .prepared("SELECT seq, message_no FROM events WHERE room_id = ?1 ORDER BY seq DESC LIMIT 1")?
        .query_row([room_id.0 as i64], |row| Ok((Seq(rows::uint(row, 0)?), rows::uint(row, 1)?)))
        .optional()?;
    Ok(newest.unwrap_or(floor))
}

/// `Load::Room`.
pub(super) fn room(
    connection: &Connection,
    room_id: RoomId,
    tail: u32,
    users: &[UserId],
    mix: u64,
) -> Result<Loaded, Error> {
    let id = room_id.0 as i64;
    let Some(found) = find(connection, room_id, mix)? else { return Ok(Loaded::Room(None)) };
    let (head, message_no) = head(connection, room_id, found.floor)?;
    let newest = format!("SELECT {EVENT} FROM {EVENT_FROM} WHERE e.room_id = ?1 ORDER BY e.seq DESC LIMIT ?2");
    let mut tail = load_message::page(connection, &newest, params![id, tail])?;
    tail.reverse();
    let participants = match found.meta.kind {
        RoomKind::Room => Vec::new(),
        RoomKind::Dm => participants(connection, room_id)?,
    };
    let pinned_count = connection
        .prepared("SELECT count(*) FROM events WHERE room_id = ?1 AND pinned_seq IS NOT NULL")?
        .query_row([id], |row| row.get(0))?;
    let roles = rows::all(
        connection,
        "SELECT name, permissions FROM room_roles WHERE room_id = ?1 ORDER BY name",
        [id],
        |row| Ok(RoleRow { name: rows::text(row, 0)?, permissions: Permissions::from_bits(row.get(1)?) }),
    )?;
    let state = RoomState {
        meta: found.meta,
        head,
        message_no,
        member_count: found.member_count,
        tail,
        floor: found.floor.0,
        standings: standings(connection, room_id, found.checkpoint, users)?,
        blocks: blocks_between(connection, &participants)?,
        participants,
        roles,
        pinned_count,
    };
    Ok(Loaded::Room(Some(Box::new(state))))
}

/// All members of a conversation.
pub(super) fn participants(connection: &Connection, room_id: RoomId) -> Result<Vec<UserRow>, Error> {
    let sql = format!(
        "SELECT {USER} FROM members m JOIN users u ON u.user_id = m.user_id WHERE m.room_id = ?1 ORDER BY m.user_id"
    );
    rows::all(connection, &sql, [room_id.0 as i64], |row| rows::user(row, 0))
}

/// Who of two blocks whom.
fn blocks_between(connection: &Connection, participants: &[UserRow]) -> Result<Vec<(UserId, UserId)>, Error> {
    let [one, other] = participants else { return Ok(Vec::new()) };
    let mut blocks = Vec::new();
    for (user, blocked) in [(one.user_id, other.user_id), (other.user_id, one.user_id)] {
        if blocks_user(connection, user, blocked)? {
            blocks.push((user, blocked));
        }
    }
    Ok(blocks)
}

/// Whether a user blocks another.
pub(super) fn blocks_user(connection: &Connection, user: UserId, blocked: UserId) -> Result<bool, Error> {
    connection
        .prepared("SELECT 1 FROM blocks WHERE user_id = ?1 AND blocked_id = ?2")?
        .query_row(params![user.0 as i64, blocked.0 as i64], |_| Ok(()))
        .optional()
        .map(|found| found.is_some())
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

/// What is known of those of these users who exist.
fn standings(
    connection: &Connection,
    room_id: RoomId,
    checkpoint: u64,
    users: &[UserId],
) -> Result<Vec<Standing>, Error> {
    if users.is_empty() {
        return Ok(Vec::new());
    }
    let mut members: HashMap<UserId, MemberRow> = member_rows(connection, room_id, checkpoint, users)?
        .into_iter()
        .map(|member| (member.user_id, member))
        .collect();
    let asked = rows::id_list(users);
    let sql = "SELECT u.user_id, u.username, EXISTS (SELECT 1 FROM invites i WHERE i.room_id = ?1
                   AND i.user_id = u.user_id)
               FROM json_each(?2) j CROSS JOIN users u ON u.user_id = j.value ORDER BY u.user_id";
    let mut standings = rows::all(connection, sql, params![room_id.0 as i64, asked], |row| {
        let user_id = UserId(rows::uint(row, 0)?);
        Ok(Standing {
            user_id,
            username: rows::text(row, 1)?,
            member: members.remove(&user_id),
            invited: row.get(2)?,
            sanctions: Vec::new(),
        })
    })?;
    for sanction in sanctions_in_force(connection, room_id, &asked)? {
        if let Some(of) = standings.iter_mut().find(|standing| standing.user_id == sanction.user_id) {
            of.sanctions.push(sanction);
        }
    }
    Ok(standings)
}

/// Mutes and bans of the room that these users are under.
fn sanctions_in_force(connection: &Connection, room_id: RoomId, asked: &str) -> Result<Vec<SanctionRow>, Error> {
    let sql = format!(
        "SELECT {SANCTION} FROM json_each(?2) j CROSS JOIN sanctions s ON s.room_id = ?1 AND s.user_id = j.value
         WHERE s.lifted_at IS NULL AND s.kind IN (2, 4) AND (s.expires_at IS NULL OR s.expires_at > ?3)
         ORDER BY s.at, s.sanction_id"
    );
    rows::all(connection, &sql, params![room_id.0 as i64, asked, wall_now().0], rows::sanction)
}

/// The memberships of these users, own messages beyond the checkpoint included in their read positions.
fn member_rows(
    connection: &Connection,
    room_id: RoomId,
    checkpoint: u64,
    users: &[UserId],
) -> Result<Vec<MemberRow>, Error> {
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

/// `Load::ClientEvent`.
pub(super) fn client_event(
    connection: &Connection,
    room_id: RoomId,
    user_id: UserId,
    client_id: &str,
) -> Result<Loaded, Error> {
    let sql = "SELECT e.seq, e.at, e.client_hash, r.kind FROM events e CROSS JOIN rooms r USING (room_id)
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

/// `Load::Names`.
pub(super) fn names(connection: &Connection, room_id: RoomId, names: &[Box<str>]) -> Result<Loaded, Error> {
    let asked = serde_json::to_string(names).map_err(|error| Error::ToSqlConversionFailure(error.into()))?;
    let sql = "SELECT j.value, u.user_id FROM json_each(?2) j CROSS JOIN users u ON u.skeleton = j.value
                   CROSS JOIN members m ON m.room_id = ?1 AND m.user_id = u.user_id
               ORDER BY j.key";
    let values = params![room_id.0 as i64, asked];
    rows::all(connection, sql, values, |row| Ok((rows::text(row, 0)?, UserId(rows::uint(row, 1)?)))).map(Loaded::Names)
}

/// `Load::RoomStats`. Positions are dense and times ascend with them (but for a clock that was set), so that what lies
/// after a time is found by halving.
pub(super) fn stats(connection: &Connection, room_id: RoomId, now: WallMs) -> Result<Loaded, Error> {
    let sql = "SELECT floor_seq, floor_no, deleted_messages FROM rooms WHERE room_id = ?1";
    let (floor, deleted) = connection.prepared(sql)?.query_row([room_id.0 as i64], |row| {
        Ok(((Seq(rows::uint(row, 0)?), rows::uint(row, 1)?), rows::uint(row, 2)?))
    })?;
    let head = head(connection, room_id, floor)?;
    let search = Halving { connection, room_id, floor, head };
    let (day, hour) = (search.last_before(now.0 - 86_400_000)?, search.last_before(now.0 - 3_600_000)?);
    let sql = "SELECT count(DISTINCT author_id) FROM events WHERE room_id = ?1 AND seq > ?2 AND kind = 1";
    let since = hour.0.0.max(head.0.0.saturating_sub(ACTIVE_EVENTS_MAX));
    let active_members_1h =
        connection.prepared(sql)?.query_row([room_id.0 as i64, since as i64], |row| rows::uint(row, 0))?;
    Ok(Loaded::RoomStats(RoomStats {
        message_count: (head.1 - floor.1).saturating_sub(deleted),
        active_members_1h,
        last_message_at: search.newest_message()?,
        messages_24h: head.1.saturating_sub(day.1),
    }))
}

/// A room's events by position, for halving.
struct Halving<'a> {
    connection: &'a Connection,
    room_id: RoomId,
    floor: (Seq, u64),
    head: (Seq, u64),
}

impl Halving<'_> {
    /// Time and number of messages at a position.
    fn at(&self, seq: u64) -> Result<(i64, u64), Error> {
        self.connection
            .prepared("SELECT at, message_no FROM events WHERE room_id = ?1 AND seq = ?2")?
            .query_row([self.room_id.0 as i64, seq as i64], |row| Ok((row.get(0)?, rows::uint(row, 1)?)))
    }

    /// The last position of which `holds`, all before it included; the floor if there is none.
    fn last(&self, holds: impl Fn((i64, u64)) -> bool) -> Result<(Seq, u64), Error> {
        let (mut low, mut high, mut number) = (self.floor.0.0, self.head.0.0, self.floor.1);
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            let event = self.at(middle)?;
            if holds(event) {
                (low, number) = (middle, event.1);
            } else {
                high = middle - 1;
            }
        }
        Ok((Seq(low), number))
    }

    fn last_before(&self, time: i64) -> Result<(Seq, u64), Error> {
        self.last(|(at, _)| at < time)
    }

    fn newest_message(&self) -> Result<Option<WallMs>, Error> {
        if self.head.1 == self.floor.1 {
            return Ok(None);
        }
        let (before, _) = self.last(|(_, number)| number < self.head.1)?;
        self.at(before.next().0).map(|(at, _)| Some(WallMs(at)))
    }
}
