//! What is removed in the background, a few rows at a time: events over their room's retention, the content of deleted
//! messages, deleted rooms.

use rusqlite::{Connection, Error, OptionalExtension, params};
use veza_engine::id::{RoomId, Seq};
use veza_engine::time::WallMs;

use super::index;
use super::rows::{self, Prepare as _};
use super::write::{read_checkpoint, run};

/// Rows removed or erased in one transaction, of each table.
const ROWS_MAX: i64 = 256;
/// Rooms looked at in one step.
const ROOMS_MAX: i64 = 500;
const DAY_MS: i64 = 86_400_000;

/// One pass over all that may have to go.
pub(super) struct Pass {
    now: WallMs,
    grace_ms: i64,
    stage: Stage,
}

enum Stage {
    /// Retention, of rooms with a larger id.
    Retain(i64),
    /// Content of deleted messages.
    Erase,
    /// Deleted rooms.
    Purge,
    Done,
}

/// What a step has come to.
#[derive(Default)]
pub(super) struct Outcome {
    /// Rows removed or erased.
    pub rows: u64,
    /// A room and its new floor, committed.
    pub retained: Option<(RoomId, Seq)>,
}

impl Pass {
    /// As of `now`; deleted content goes after `grace_ms`.
    pub(super) fn new(now: WallMs, grace_ms: i64) -> Pass {
        Pass { now, grace_ms, stage: Stage::Retain(0) }
    }

    /// Nothing is left to do.
    pub(super) fn done(&self) -> bool {
        matches!(self.stage, Stage::Done)
    }

    /// One short transaction, at most. After an error nothing has changed.
    pub(super) fn step(&mut self, connection: &mut Connection) -> Result<Outcome, Error> {
        match self.stage {
            Stage::Retain(after) => self.retain(connection, after),
            Stage::Erase => {
                let rows = erase(connection, self.now.0.saturating_sub(self.grace_ms))?;
                if rows < ROWS_MAX as u64 {
                    self.stage = Stage::Purge;
                }
                Ok(Outcome { rows, retained: None })
            }
            Stage::Purge => match purge(connection)? {
                Some(rows) => Ok(Outcome { rows, retained: None }),
                None => {
                    self.stage = Stage::Done;
                    Ok(Outcome::default())
                }
            },
            Stage::Done => Ok(Outcome::default()),
        }
    }

    /// Removes the first events of the next room that has some to remove.
    fn retain(&mut self, connection: &mut Connection, after: i64) -> Result<Outcome, Error> {
        let sql = "SELECT r.room_id, r.retention_days,
                       (SELECT e.at FROM events e WHERE e.room_id = r.room_id ORDER BY e.seq LIMIT 1)
                   FROM rooms r INDEXED BY rooms_retained
                   WHERE r.retention_days > 0 AND r.deleted_at IS NULL AND r.room_id > ?1
                   ORDER BY r.room_id LIMIT ?2";
        let rooms = rows::all(connection, sql, [after, ROOMS_MAX], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, Option<i64>>(2)?))
        })?;
        for (room, days, oldest) in &rooms {
            let before = self.now.0.saturating_sub(days * DAY_MS);
            if oldest.is_some_and(|at| at < before) {
                // It may have more of them: the next step looks again.
                self.stage = Stage::Retain(room - 1);
                let transaction = connection.transaction()?;
                let outcome = remove_first(&transaction, *room, before)?;
                transaction.commit()?;
                return Ok(outcome);
            }
        }
        self.stage = match rooms.last() {
            Some((room, ..)) if rooms.len() as i64 == ROOMS_MAX => Stage::Retain(*room),
            _ => Stage::Erase,
        };
        Ok(Outcome::default())
    }
}

/// Removes a room's first events from before a time, and moves its floor.
fn remove_first(connection: &Connection, room: i64, before: i64) -> Result<Outcome, Error> {
    let sql = "SELECT seq, message_no, at, kind = 1 AND deleted_at IS NOT NULL FROM events
               WHERE room_id = ?1 ORDER BY seq LIMIT ?2";
    let first = rows::all(connection, sql, [room, ROWS_MAX], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?, row.get::<_, bool>(3)?))
    })?;
    let old = first.iter().take_while(|(_, _, at, _)| *at < before);
    let deleted = old.clone().filter(|(.., deleted)| *deleted).count() as i64;
    let Some((floor, number, ..)) = old.last().copied() else { return Ok(Outcome::default()) };
    // What these messages say of their authors' read positions stays.
    let (room_id, floor_seq) = (RoomId(room as u64), Seq(floor as u64));
    read_checkpoint(connection, room_id, floor_seq)?;
    run(
        connection,
        "UPDATE rooms SET floor_seq = ?2, floor_no = ?3, deleted_messages = max(0, deleted_messages - ?4)
         WHERE room_id = ?1",
        params![room, floor, number, deleted],
    )?;
    index::forget_room(connection, room, floor, i64::MAX)?;
    for sql in [
        "DELETE FROM reactions WHERE room_id = ?1 AND message_id <= ?2",
        "DELETE FROM reaction_counts WHERE room_id = ?1 AND message_id <= ?2",
        "DELETE FROM mentions WHERE room_id = ?1 AND seq <= ?2",
    ] {
        run(connection, sql, [room, floor])?;
    }
    let rows = connection.prepared("DELETE FROM events WHERE room_id = ?1 AND seq <= ?2")?.execute([room, floor])?;
    Ok(Outcome { rows: rows as u64, retained: Some((room_id, floor_seq)) })
}

/// Erases the content of messages (and their edits) that were deleted up to this time.
fn erase(connection: &mut Connection, until: i64) -> Result<u64, Error> {
    let transaction = connection.transaction()?;
    let sql = "SELECT room_id, seq FROM events INDEXED BY events_to_erase
               WHERE deleted_at IS NOT NULL AND content IS NOT NULL AND deleted_at <= ?1 ORDER BY deleted_at LIMIT ?2";
    let found = rows::all(&transaction, sql, [until, ROWS_MAX], |row| Ok([row.get::<_, i64>(0)?, row.get(1)?]))?;
    for key in &found {
        run(
            &transaction,
            "UPDATE events SET content = NULL, original = NULL, data = CASE WHEN kind = 1 THEN NULL ELSE data END
             WHERE room_id = ?1 AND seq = ?2",
            *key,
        )?;
    }
    transaction.commit()?;
    Ok(found.len() as u64)
}

/// Removes rows of a deleted room, the room's own when there is no other; `None`: there is no deleted room.
fn purge(connection: &mut Connection) -> Result<Option<u64>, Error> {
    let sql =
        "SELECT room_id FROM rooms INDEXED BY rooms_deleted WHERE deleted_at IS NOT NULL ORDER BY room_id LIMIT 1";
    let room: Option<i64> = connection.prepared(sql)?.query_row([], |row| row.get(0)).optional()?;
    let Some(room) = room else { return Ok(None) };
    let transaction = connection.transaction()?;
    let mut removed = index::forget_room(&transaction, room, i64::MAX, ROWS_MAX)?;
    for (table, key) in [
        ("reactions", "message_id"),
        ("reaction_counts", "message_id"),
        ("mentions", "seq"),
        ("events", "seq"),
        ("invites", "user_id"),
        ("room_roles", "name"),
        ("members", "user_id"),
    ] {
        let sql = format!(
            "DELETE FROM {table} WHERE room_id = ?1 AND {key} <=
                 (SELECT max({key}) FROM (SELECT {key} FROM {table} WHERE room_id = ?1 ORDER BY {key} LIMIT ?2) first)"
        );
        removed += transaction.prepared(&sql)?.execute([room, ROWS_MAX])?;
    }
    removed += transaction
        .prepared(
            "DELETE FROM sanctions WHERE sanction_id IN
                 (SELECT sanction_id FROM sanctions INDEXED BY sanctions_by_room WHERE room_id = ?1 LIMIT ?2)",
        )?
        .execute([room, ROWS_MAX])?;
    if removed == 0 {
        run(&transaction, "DELETE FROM search_positions WHERE room_id = ?1", [room])?;
        run(&transaction, "DELETE FROM dm_pairs WHERE room_id = ?1", [room])?;
        run(&transaction, "DELETE FROM rooms WHERE room_id = ?1", [room])?;
        removed = 1;
    }
    transaction.commit()?;
    Ok(Some(removed as u64))
}
