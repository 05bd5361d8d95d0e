//! Queries about one user.

use rusqlite::{Connection, Error, OptionalExtension, Row, params};
use veza_engine::id::{RoomId, Seq, UserId};
use veza_engine::store::{Earlier, Loaded, RoomKind, SessionRow, UnreadRow, UserRow};
use veza_engine::time::WallMs;

use super::load_room;
use super::rows::{self, Prepare as _, USER};
use crate::store::report::wall_now;
use crate::store::shared::{OWN_ISSUER, mix_epoch, skeleton};

/// `Load::User`.
pub(super) fn user(connection: &Connection, user_id: UserId) -> Result<Loaded, Error> {
    by_id(connection, user_id).map(Loaded::User)
}

/// One user.
pub(super) fn by_id(connection: &Connection, user_id: UserId) -> Result<Option<UserRow>, Error> {
    connection
        .prepared(&format!("SELECT {USER} FROM users u WHERE u.user_id = ?1"))?
        .query_row([user_id.0 as i64], |row| rows::user(row, 0))
        .optional()
}

/// The own user of this name, with its password hash.
pub(super) fn login(connection: &Connection, username: &str) -> Result<Option<(UserRow, Box<str>)>, Error> {
    let sql = format!(
        "SELECT {USER}, u.password_hash FROM users u
         WHERE u.skeleton = ?1 AND u.iss = ?2 AND u.password_hash IS NOT NULL"
    );
    connection
        .prepared(&sql)?
        .query_row(params![skeleton(username), OWN_ISSUER], |row| Ok((rows::user(row, 0)?, rows::text(row, 4)?)))
        .optional()
}

/// `Load::Sessions`.
pub(super) fn sessions(connection: &Connection, user_id: UserId) -> Result<Loaded, Error> {
    let sql = "SELECT session_id, created_at, last_used_at, expires_at FROM sessions
               WHERE user_id = ?1 AND expires_at > ?2 ORDER BY created_at DESC, session_id";
    let sessions = rows::all(connection, sql, params![user_id.0 as i64, wall_now().secs()], |row| {
        Ok(SessionRow {
            session_id: rows::text(row, 0)?,
            created_at: WallMs(row.get(1)?),
            last_used_at: WallMs(row.get(2)?),
            expires_at: row.get(3)?,
        })
    })?;
    Ok(Loaded::Sessions(sessions))
}

/// Where a member is in a room, own messages beyond the checkpoint not yet counted.
pub(super) struct OwnPosition {
    pub room_id: RoomId,
    kind: RoomKind,
    epoch: u64,
    checkpoint: u64,
    read: (u64, u64),
    head: (u64, u64),
}

impl OwnPosition {
    /// From room_id, [kind,] epoch, checkpoint, last_read_seq, last_read_no, head's seq and message_no; `epoch`
    /// is the column of the epoch, 1 if there is no kind (conversations).
    pub(super) fn read(row: &Row<'_>, epoch: usize, mix: u64) -> Result<OwnPosition, Error> {
        let at = |offset| rows::uint(row, epoch + offset);
        Ok(OwnPosition {
            room_id: RoomId(rows::uint(row, 0)?),
            kind: if epoch == 1 { RoomKind::Dm } else { rows::room_kind(row, 1)? },
            epoch: mix_epoch(at(0)?, mix),
            checkpoint: at(1)?,
            read: (at(2)?, at(3)?),
            head: (at(4)?, at(5)?),
        })
    }
}

/// The unread count, with the user's own newest message counted as read.
pub(super) fn own_position(connection: &Connection, user_id: UserId, place: &OwnPosition) -> Result<UnreadRow, Error> {
    let sql = "SELECT seq, message_no FROM events
               WHERE room_id = ?1 AND seq > ?2 AND author_id = ?3 AND kind = 1 ORDER BY seq DESC LIMIT 1";
    let beyond = place.checkpoint.max(place.read.0);
    let own = match beyond < place.head.0 {
        true => connection
            .prepared(sql)?
            .query_row(params![place.room_id.0 as i64, beyond as i64, user_id.0 as i64], |row| {
                Ok((rows::uint(row, 0)?, rows::uint(row, 1)?))
            })
            .optional()?,
        false => None,
    };
    let (last_read_seq, last_read_no) = own.unwrap_or(place.read);
    let unread_count = place.head.1.saturating_sub(last_read_no);
    Ok(UnreadRow {
        room_id: place.room_id,
        kind: place.kind,
        epoch: place.epoch,
        head: Seq(place.head.0),
        last_read_seq: Seq(last_read_seq),
        unread_count,
        mention_count: match unread_count {
            0 => 0,
            _ => mention_count(connection, user_id, place.room_id, last_read_seq)?,
        },
    })
}

/// Messages of others after this position that mention the user or everybody.
fn mention_count(connection: &Connection, user_id: UserId, room_id: RoomId, after: u64) -> Result<u64, Error> {
    let sql = "SELECT count(*) FROM (
                   SELECT seq FROM mentions WHERE user_id = ?1 AND room_id = ?2 AND seq > ?3
                   UNION SELECT seq FROM mentions WHERE user_id = 0 AND room_id = ?2 AND seq > ?3) found
               CROSS JOIN events e ON e.room_id = ?2 AND e.seq = found.seq WHERE e.author_id <> ?1";
    let values = params![user_id.0 as i64, room_id.0 as i64, after as i64];
    connection.prepared(sql)?.query_row(values, |row| rows::uint(row, 0))
}

/// `Load::Unread`.
pub(super) fn unread(connection: &Connection, user_id: UserId, mix: u64) -> Result<Loaded, Error> {
    let sql = "SELECT r.room_id, r.kind, r.epoch, r.read_checkpoint, m.last_read_seq, m.last_read_no,
                   coalesce(h.seq, r.floor_seq), coalesce(h.message_no, r.floor_no)
               FROM members m CROSS JOIN rooms r ON r.room_id = m.room_id
                   LEFT JOIN events h ON h.room_id = m.room_id
                       AND h.seq = (SELECT max(e.seq) FROM events e WHERE e.room_id = m.room_id)
               WHERE m.user_id = ?1 AND r.deleted_at IS NULL ORDER BY m.room_id";
    let places = rows::all(connection, sql, [user_id.0 as i64], |row| OwnPosition::read(row, 2, mix))?;
    let rooms: Result<Vec<_>, Error> = places.iter().map(|place| own_position(connection, user_id, place)).collect();
    Ok(Loaded::Unread(rooms?))
}

/// `Load::Creation`.
pub(super) fn creation(
    connection: &Connection,
    user_id: UserId,
    client_id: Option<&str>,
    pair: Option<(UserId, UserId)>,
    users: &[UserId],
) -> Result<Loaded, Error> {
    let creator = user_id.0 as i64;
    let created_rooms = connection
        .prepared("SELECT count(*) FROM rooms WHERE creator_id = ?1 AND kind = 0 AND deleted_at IS NULL")?
        .query_row([creator], |row| row.get(0))?;
    let by_client = match client_id {
        Some(client) => connection
            .prepared(
                "SELECT room_id, kind, created_at, client_hash FROM rooms
                 WHERE creator_id = ?1 AND client_id = ?2 AND deleted_at IS NULL",
            )?
            .query_row(params![creator, client], earlier)
            .optional()?,
        None => None,
    };
    let by_pair = match pair {
        Some((lo, hi)) => connection
            .prepared(
                "SELECT p.room_id, r.kind, r.created_at, NULL FROM dm_pairs p CROSS JOIN rooms r USING (room_id)
                 WHERE p.lo = ?1 AND p.hi = ?2",
            )?
            .query_row(params![lo.0 as i64, hi.0 as i64], earlier)
            .optional()?,
        None => None,
    };
    let sql =
        format!("SELECT {USER} FROM json_each(?1) j CROSS JOIN users u ON u.user_id = j.value ORDER BY u.user_id");
    let users = rows::all(connection, &sql, [rows::id_list(users)], |row| rows::user(row, 0))?;
    let mut blocked_by = Vec::new();
    for user in &users {
        if load_room::blocks_user(connection, user.user_id, user_id)? {
            blocked_by.push(user.user_id);
        }
    }
    Ok(Loaded::Creation { created_rooms, by_client, by_pair, users, blocked_by })
}

fn earlier(row: &Row<'_>) -> Result<Earlier, Error> {
    Ok(Earlier {
        room_id: RoomId(rows::uint(row, 0)?),
        kind: rows::room_kind(row, 1)?,
        seq: Seq(0),
        at: WallMs(row.get(2)?),
        hash: rows::opt_uint(row, 3)?,
    })
}
