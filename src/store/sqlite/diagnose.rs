//! A batch did not go in: why. First what makes it a conflict (foreign rows, used keys), then, if that is not it, which
//! rows the database refuses.

use rusqlite::{Connection, Error, OptionalExtension, params};
use veza_engine::id::{RoomId, Seq};
use veza_engine::store::{Batch, BatchOutcome, Duplicate, Write};
use veza_engine::time::WallMs;

use super::rows::Prepare as _;
use super::{batch, write};

/// Inside the batch's savepoint, which it leaves as it was unless the batch turns out to be good.
pub(super) fn run(connection: &Connection, refused: &Batch, incarnation: u64) -> Result<BatchOutcome, Error> {
    undo(connection)?;
    let stale = batch::stale_rooms(connection, refused)?;
    let duplicates = duplicates(connection, refused)?;
    if !stale.is_empty() || !duplicates.is_empty() {
        return Ok(BatchOutcome::Conflict { stale, duplicates });
    }
    let (mut events, mut writes, mut cause) = (Vec::new(), Vec::new(), None);
    for (index, event) in refused.events.iter().enumerate() {
        if let Some(error) = alone(connection, || batch::insert_event(connection, event, refused.writer))? {
            events.push(index);
            cause.get_or_insert(error);
        }
    }
    for (index, item) in refused.writes.iter().enumerate() {
        if let Some(error) = alone(connection, || write::apply(connection, item, incarnation))? {
            writes.push(index);
            cause.get_or_insert(error);
        }
    }
    let Some(cause) = cause else {
        batch::put_fence(connection, refused.writer)?;
        return Ok(BatchOutcome::Committed);
    };
    undo(connection)?;
    Ok(BatchOutcome::Refused { events, writes, cause: cause.into() })
}

fn undo(connection: &Connection) -> Result<(), Error> {
    connection.execute_batch("ROLLBACK TO batch")
}

/// Does one thing in a savepoint of its own; answers the database's words if it refuses.
fn alone(connection: &Connection, work: impl FnOnce() -> Result<(), Error>) -> Result<Option<String>, Error> {
    connection.execute_batch("SAVEPOINT alone")?;
    let refusal = match work() {
        Ok(()) => None,
        Err(error) if batch::guilty(&error) => {
            connection.execute_batch("ROLLBACK TO alone")?;
            Some(error.to_string())
        }
        Err(error) => return Err(error),
    };
    connection.execute_batch("RELEASE alone")?;
    Ok(refusal)
}

fn duplicates(connection: &Connection, batch: &Batch) -> Result<Vec<Duplicate>, Error> {
    let mut found = Vec::new();
    for (index, event) in batch.events.iter().enumerate() {
        let (Some(author), Some(client)) = (event.author_id, &event.client) else { continue };
        let earlier = connection
            .prepared(
                "SELECT seq, at, client_hash FROM events WHERE room_id = ?1 AND author_id = ?2 AND client_id = ?3",
            )?
            .query_row(params![event.room_id.0 as i64, author.0 as i64, &*client.id], |row| {
                Ok(Duplicate {
                    index,
                    is_event: true,
                    room_id: event.room_id,
                    seq: Seq(row.get::<_, i64>(0)? as u64),
                    at: WallMs(row.get(1)?),
                    hash: row.get::<_, Option<i64>>(2)?.map(|hash| hash as u64),
                })
            })
            .optional()?;
        found.extend(earlier);
    }
    for (index, item) in batch.writes.iter().enumerate() {
        let (creator, client, pair) = match item {
            Write::CreateRoom { creator_id, client, .. } => (creator_id, client, &None),
            Write::CreateDm { creator_id, client, pair, .. } => (creator_id, client, pair),
            _ => continue,
        };
        let mut earlier = None;
        if let Some(client) = client {
            let sql = "SELECT room_id, created_at, client_hash FROM rooms WHERE creator_id = ?1 AND client_id = ?2";
            let mut statement = connection.prepared(sql)?;
            earlier = statement.query_row(params![creator.0 as i64, &*client.id], |row| room(index, row)).optional()?;
        }
        if let (None, Some((lo, hi))) = (&earlier, pair) {
            let sql = "SELECT p.room_id, r.created_at, NULL FROM dm_pairs p JOIN rooms r USING (room_id)
                       WHERE p.lo = ?1 AND p.hi = ?2";
            let mut statement = connection.prepared(sql)?;
            earlier = statement.query_row(params![lo.0 as i64, hi.0 as i64], |row| room(index, row)).optional()?;
        }
        found.extend(earlier);
    }
    Ok(found)
}

fn room(index: usize, row: &rusqlite::Row<'_>) -> Result<Duplicate, Error> {
    Ok(Duplicate {
        index,
        is_event: false,
        room_id: RoomId(row.get::<_, i64>(0)? as u64),
        seq: Seq(0),
        at: WallMs(row.get(1)?),
        hash: row.get::<_, Option<i64>>(2)?.map(|hash| hash as u64),
    })
}
