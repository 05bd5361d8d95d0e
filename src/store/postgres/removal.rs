//! What is removed in the background, some rows at a time: events over their room's retention, the content of deleted
//! messages, deleted rooms.

use std::sync::atomic::Ordering::Relaxed;

use tokio_postgres::Error;
use veza_engine::id::{RoomId, Seq};
use veza_engine::time::WallMs;

use super::connect::Session;
use super::context::Context;
use super::plan::{CHECKPOINTS, Planned, planned};
use super::rows::uint;
use super::upkeep::transact;

/// Rows removed or erased in one transaction, of each table.
const ROWS_MAX: i64 = 1000;
/// Rooms looked at in one step.
const ROOMS_MAX: i64 = 500;
const DAY_MS: i64 = 86_400_000;

const RETAINED: &str = "SELECT r.room_id, r.retention_days, coalesce((SELECT e.at FROM events e WHERE e.room_id = r.room_id ORDER BY e.seq LIMIT 1), $3)
     FROM rooms r WHERE r.retention_days > 0 AND r.deleted_at IS NULL AND r.room_id > $1 ORDER BY r.room_id LIMIT $2";
/// The first events of a room as far as they are from before a time: the last of them, its message_no, and their count.
const OLD: &str = "SELECT max(t.seq), max(t.message_no), count(*) FROM (
       SELECT f.seq, f.message_no, bool_and(f.at < $2) OVER (ORDER BY f.seq) AS old
       FROM (SELECT e.seq, e.message_no, e.at FROM events e WHERE e.room_id = $1 ORDER BY e.seq LIMIT $3) AS f) AS t WHERE t.old";
const UP_TO: [&str; 5] = [
    "DELETE FROM reactions WHERE room_id = $1 AND message_id <= $2",
    "DELETE FROM reaction_counts WHERE room_id = $1 AND message_id <= $2",
    "DELETE FROM mentions WHERE room_id = $1 AND seq <= $2",
    "DELETE FROM search WHERE room_id = $1 AND message_id <= $2",
    "DELETE FROM events WHERE room_id = $1 AND seq <= $2",
];
const FLOOR: &str =
    "UPDATE rooms SET floor_seq = greatest(floor_seq, $2), floor_no = greatest(floor_no, $3) WHERE room_id = $1";

/// What other events have in `data` is no content.
const ERASE: &str = "UPDATE events e SET content = NULL, original = NULL, data = CASE WHEN e.kind = 1 THEN NULL ELSE e.data END, held_since = NULL
     FROM (SELECT h.room_id, h.seq FROM events h WHERE h.held_since <= $1 ORDER BY h.held_since LIMIT $2) AS h
     WHERE e.room_id = h.room_id AND e.seq = h.seq";

const DELETED: &str = "SELECT room_id FROM rooms WHERE deleted_at IS NOT NULL ORDER BY deleted_at, room_id LIMIT 1";
macro_rules! some_of {
    ($table:literal) => {
        concat!(
            "DELETE FROM ",
            $table,
            " WHERE ctid = ANY (ARRAY(SELECT t.ctid FROM ",
            $table,
            " t WHERE t.room_id = $1 LIMIT $2))"
        )
    };
}
const OF_ROOM: [&str; 9] = [
    some_of!("search"),
    some_of!("reactions"),
    some_of!("reaction_counts"),
    some_of!("mentions"),
    some_of!("events"),
    some_of!("invitations"),
    some_of!("room_roles"),
    some_of!("sanctions"),
    some_of!("members"),
];
const LAST_OF_ROOM: [&str; 3] = [
    "DELETE FROM search_position WHERE room_id = $1",
    "DELETE FROM dm_pairs WHERE room_id = $1",
    "DELETE FROM rooms WHERE room_id = $1",
];

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
    pub(super) async fn step(&mut self, context: &Context, session: &Session) -> Result<(), Error> {
        let rows = match self.stage {
            Stage::Retain(after) => self.retain(context, session, after).await?,
            Stage::Erase => {
                let until = self.now.0.saturating_sub(self.grace_ms);
                let rows = transact(context, session, vec![planned!(ERASE, until, ROWS_MAX)]).await?;
                if rows == 0 {
                    self.stage = Stage::Purge;
                }
                rows
            }
            Stage::Purge => match session.query_opt(DELETED, &[]).await? {
                Some(room) => purge(context, session, room.get(0)).await?,
                None => {
                    self.stage = Stage::Done;
                    0
                }
            },
            Stage::Done => 0,
        };
        context.meter.upkeep_rows.fetch_add(rows, Relaxed);
        Ok(())
    }

    /// Removes the first events of the next room that has some to remove.
    async fn retain(&mut self, context: &Context, session: &Session, after: i64) -> Result<u64, Error> {
        let rooms = session.query(RETAINED, &[&after, &ROOMS_MAX, &i64::MAX]).await?;
        for row in &rooms {
            let (room, days, oldest): (i64, i32, i64) = (row.get(0), row.get(1), row.get(2));
            let before = self.now.0.saturating_sub(i64::from(days) * DAY_MS);
            if oldest < before {
                // It may have more of them: the next step looks again.
                self.stage = Stage::Retain(room - 1);
                return remove_first(context, session, room, before).await;
            }
        }
        self.stage = match rooms.last() {
            Some(row) if rooms.len() as i64 == ROOMS_MAX => Stage::Retain(row.get(0)),
            _ => Stage::Erase,
        };
        Ok(0)
    }
}

/// Removes a room's first events from before a time, moves its floor, and says so.
async fn remove_first(context: &Context, session: &Session, room: i64, before: i64) -> Result<u64, Error> {
    let Some(old) = session.query_opt(OLD, &[&room, &before, &ROWS_MAX]).await? else { return Ok(0) };
    let (Some(floor), Some(number)) = (old.get::<_, Option<i64>>(0), old.get::<_, Option<i64>>(1)) else {
        return Ok(0);
    };
    // What these messages say of their authors' read positions stays.
    let mut plan = vec![planned!(CHECKPOINTS, vec![room], vec![floor])];
    plan.extend(UP_TO.map(|sql| planned!(sql, room, floor)));
    plan.push(planned!(FLOOR, room, floor, number));
    transact(context, session, plan).await?;
    context.completions.retained(RoomId(room.cast_unsigned()), Seq(floor.cast_unsigned()));
    Ok(uint(&old, 2))
}

/// Removes rows of a deleted room, the room's own when there is no other.
async fn purge(context: &Context, session: &Session, room: i64) -> Result<u64, Error> {
    let plan: Vec<Planned> = OF_ROOM.into_iter().map(|sql| planned!(sql, room, ROWS_MAX)).collect();
    let rows = transact(context, session, plan).await?;
    if rows > 0 {
        return Ok(rows);
    }
    transact(context, session, LAST_OF_ROOM.into_iter().map(|sql| planned!(sql, room)).collect()).await
}
