//! One batch inside the writer's transaction: all of it, or nothing and the reason.

use std::collections::HashMap;

use rusqlite::{Connection, Error, ErrorCode, OptionalExtension, params};
use veza_engine::id::{RoomId, Seq};
use veza_engine::store::{Batch, BatchOutcome, EventRow, Writer};

use super::rows::{self, Prepare as _};
use super::{diagnose, write};

/// Applies a batch, so that a conflict or refusal leaves nothing of it and nothing of the others is lost. An error is
/// one of the database itself: the whole transaction is to be tried again.
pub(super) fn apply(connection: &Connection, batch: &Batch, incarnation: u64) -> Result<BatchOutcome, Error> {
    if committed(connection, batch.writer)? {
        return Ok(BatchOutcome::Committed);
    }
    connection.prepared("SAVEPOINT batch")?.execute([])?;
    let outcome = match apply_all(connection, batch, incarnation) {
        Ok(true) => BatchOutcome::Committed,
        Ok(false) => diagnose::run(connection, batch, incarnation)?,
        Err(error) if guilty(&error) => diagnose::run(connection, batch, incarnation)?,
        Err(error) => return Err(error),
    };
    connection.prepared("RELEASE batch")?.execute([])?;
    Ok(outcome)
}

/// The fence: an earlier attempt, whose answer was lost, is in.
fn committed(connection: &Connection, writer: Writer) -> Result<bool, Error> {
    let newest: Option<i64> = connection
        .prepared("SELECT number FROM writer_lanes WHERE epoch = ?1 AND lane = ?2")?
        .query_row(params![writer.epoch, writer.lane], |row| row.get(0))
        .optional()?;
    Ok(newest.is_some_and(|number| number >= writer.number))
}

/// Marks the batch as in.
pub(super) fn put_fence(connection: &Connection, writer: Writer) -> Result<(), Error> {
    connection
        .prepared(
            "INSERT INTO writer_lanes (epoch, lane, number) VALUES (?1, ?2, ?3)
             ON CONFLICT (epoch, lane) DO UPDATE SET number = excluded.number",
        )?
        .execute(params![writer.epoch, writer.lane, writer.number])?;
    Ok(())
}

/// The short way, for a batch without fault; false: a room is not where the batch says.
fn apply_all(connection: &Connection, batch: &Batch, incarnation: u64) -> Result<bool, Error> {
    if !stale_rooms(connection, batch)?.is_empty() {
        return Ok(false);
    }
    for event in &batch.events {
        insert_event(connection, event, batch.writer)?;
    }
    for item in &batch.writes {
        write::apply(connection, item, incarnation)?;
    }
    put_fence(connection, batch.writer)?;
    Ok(true)
}

/// Rooms whose head is not the one before the batch's first event of that room: somebody else wrote there.
pub(super) fn stale_rooms(connection: &Connection, batch: &Batch) -> Result<Vec<RoomId>, Error> {
    let mut newest: HashMap<RoomId, Seq> = HashMap::new();
    let mut stale = Vec::new();
    for event in &batch.events {
        let before = match newest.insert(event.room_id, event.seq) {
            Some(before) => before,
            None => head(connection, event.room_id)?,
        };
        if before.next() != event.seq && !stale.contains(&event.room_id) {
            stale.push(event.room_id);
        }
    }
    Ok(stale)
}

fn head(connection: &Connection, room_id: RoomId) -> Result<Seq, Error> {
    let seq: Option<i64> = connection
        .prepared("SELECT max(seq) FROM events WHERE room_id = ?1")?
        .query_row([room_id.0 as i64], |row| row.get(0))?;
    if let Some(seq) = seq {
        return Ok(Seq(seq as u64));
    }
    // A new room, or one of which retention has left nothing.
    let floor: Option<i64> = connection
        .prepared("SELECT floor_seq FROM rooms WHERE room_id = ?1")?
        .query_row([room_id.0 as i64], |row| row.get(0))
        .optional()?;
    Ok(Seq(floor.unwrap_or(0) as u64))
}

/// Inserts one row.
pub(super) fn insert_event(connection: &Connection, event: &EventRow, writer: Writer) -> Result<(), Error> {
    connection
        .prepared(
            "INSERT INTO events (room_id, seq, kind, at, message_no, author_id, client_id, client_hash, content,
                 parent_id, data, writer_epoch, writer_lane, writer_number, mentions, reason)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
        )?
        .execute(params![
            event.room_id.0 as i64,
            event.seq.0 as i64,
            event.kind as i16,
            event.at.0,
            event.message_no as i64,
            event.author_id.map(|user| user.0 as i64),
            event.client.as_ref().map(|client| &*client.id),
            event.client.as_ref().map(|client| client.hash as i64),
            event.content.as_deref(),
            event.parent_id.map(|parent| parent.0 as i64),
            event.data.as_deref(),
            writer.epoch,
            writer.lane,
            writer.number,
            rows::mention_list(&event.mentions),
            event.reason.as_deref(),
        ])?;
    Ok(())
}

/// Whether the row is at fault, not the database: trying again would fail again.
pub(super) fn guilty(error: &Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch)
    )
}
