//! Queries about events and messages of one room: pages, threads, versions, pins, reactions.

use rusqlite::{Connection, Error, OptionalExtension, params};
use veza_engine::id::{RoomId, Seq, UserId};
use veza_engine::store::{
    EditRow, EventKind, EventRecord, Loaded, MessageState, PARTICIPANTS_MAX, REACTORS_MAX, Reaction, ReactionRow,
};
use veza_engine::time::WallMs;

use super::rows::{self, EVENT, EVENT_FROM, Prepare as _};
use crate::store::shared::PAGE_BYTES;

/// Answers looked at to find who takes part in a thread.
const ANSWERS_MAX: i64 = 1000;
/// Users shown of each emoji by `Load::Reactions`.
const REACTIONS_SHOWN: usize = 100;

/// `Load::Events`.
pub(super) fn events(connection: &Connection, room_id: RoomId, after: Seq, limit: u32) -> Result<Loaded, Error> {
    let sql = format!("SELECT {EVENT} FROM {EVENT_FROM} WHERE e.room_id = ?1 AND e.seq > ?2 ORDER BY e.seq LIMIT ?3");
    page(connection, &sql, params![room_id.0 as i64, after.0 as i64, limit]).map(Loaded::Events)
}

/// Rows until they are about [`PAGE_BYTES`]; at least one if there is any.
pub(super) fn page(
    connection: &Connection,
    sql: &str,
    values: impl rusqlite::Params,
) -> Result<Vec<EventRecord>, Error> {
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
    add_reactions(connection, &mut records, None)?;
    Ok(records)
}

/// `Load::HistoryBefore`.
pub(super) fn history_before(
    connection: &Connection,
    room_id: RoomId,
    before: Option<Seq>,
    limit: u32,
    reader: UserId,
) -> Result<Loaded, Error> {
    let sql = format!(
        "SELECT {EVENT} FROM {EVENT_FROM} WHERE e.room_id = ?1 AND e.seq < ?2 AND e.kind = 1
         ORDER BY e.seq DESC LIMIT ?3"
    );
    let before = before.map_or(i64::MAX, |seq| seq.0 as i64);
    let values = params![room_id.0 as i64, before, i64::from(limit) + 1];
    let (mut messages, more) = history(connection, &sql, values, limit, reader)?;
    messages.reverse();
    Ok(Loaded::History { messages, more })
}

/// `Load::HistoryAfter`.
pub(super) fn history_after(
    connection: &Connection,
    room_id: RoomId,
    after: Seq,
    limit: u32,
    reader: UserId,
) -> Result<Loaded, Error> {
    let sql = format!(
        "SELECT {EVENT} FROM {EVENT_FROM} WHERE e.room_id = ?1 AND e.seq > ?2 AND e.kind = 1
         ORDER BY e.seq LIMIT ?3"
    );
    let values = params![room_id.0 as i64, after.0 as i64, i64::from(limit) + 1];
    let (messages, more) = history(connection, &sql, values, limit, reader)?;
    Ok(Loaded::History { messages, more })
}

/// One row more is asked for than is shown, to know whether there are more.
fn history(
    connection: &Connection,
    sql: &str,
    values: impl rusqlite::Params,
    limit: u32,
    reader: UserId,
) -> Result<(Vec<EventRecord>, bool), Error> {
    let mut messages = rows::all(connection, sql, values, rows::event)?;
    let more = messages.len() > limit as usize;
    messages.truncate(limit as usize);
    add_reactions(connection, &mut messages, Some(reader))?;
    Ok((messages, more))
}

/// One message as it is now, deleted or not.
pub(super) fn one(
    connection: &Connection,
    room_id: RoomId,
    message_id: Seq,
    reader: UserId,
) -> Result<Option<EventRecord>, Error> {
    let sql = format!("SELECT {EVENT} FROM {EVENT_FROM} WHERE e.room_id = ?1 AND e.seq = ?2 AND e.kind = 1");
    let mut record =
        connection.prepared(&sql)?.query_row(params![room_id.0 as i64, message_id.0 as i64], rows::event).optional()?;
    add_reactions(connection, record.as_mut_slice(), Some(reader))?;
    Ok(record)
}

/// `Load::Message`.
pub(super) fn message(
    connection: &Connection,
    room_id: RoomId,
    message_id: Seq,
    reader: UserId,
) -> Result<Loaded, Error> {
    let Some(mut record) = one(connection, room_id, message_id, reader)? else { return Ok(Loaded::Message(None)) };
    if let Some(state) = record.state.as_deref_mut().filter(|state| state.thread_count > 0) {
        let sql = "SELECT DISTINCT author_id FROM (SELECT author_id FROM events
                       WHERE room_id = ?1 AND parent_id = ?2 AND parent_id IS NOT NULL AND kind = 1
                       ORDER BY seq DESC LIMIT ?3) answers
                   WHERE author_id IS NOT NULL LIMIT ?4";
        let values = params![room_id.0 as i64, message_id.0 as i64, ANSWERS_MAX, PARTICIPANTS_MAX as i64];
        state.participants = rows::all(connection, sql, values, |row| rows::uint(row, 0).map(UserId))?;
        state.participants.sort_unstable();
    }
    Ok(Loaded::Message(Some(Box::new(record))))
}

/// `Load::Edits`.
pub(super) fn edits(connection: &Connection, room_id: RoomId, message_id: Seq) -> Result<Loaded, Error> {
    let values = params![room_id.0 as i64, message_id.0 as i64];
    let read = |row: &rusqlite::Row<'_>| {
        Ok(EditRow {
            content: rows::opt_text(row, 0)?.unwrap_or_default(),
            edited_at: WallMs(row.get(1)?),
            editor_id: UserId(rows::opt_uint(row, 2)?.unwrap_or(0)),
            reason: rows::opt_text(row, 3)?,
        })
    };
    let original = connection
        .prepared(
            "SELECT coalesce(original, content), at, author_id, NULL FROM events
             WHERE room_id = ?1 AND seq = ?2 AND kind = 1 AND deleted_at IS NULL",
        )?
        .query_row(values, read)
        .optional()?;
    let Some(original) = original else { return Ok(Loaded::Edits(Vec::new())) };
    let mut versions = vec![original];
    versions.extend(rows::all(
        connection,
        "SELECT content, at, author_id, reason FROM events
         WHERE room_id = ?1 AND parent_id = ?2 AND parent_id IS NOT NULL AND kind = 3 ORDER BY seq",
        values,
        read,
    )?);
    Ok(Loaded::Edits(versions))
}

/// `Load::Thread`.
pub(super) fn thread(
    connection: &Connection,
    room_id: RoomId,
    parent_id: Seq,
    after: Seq,
    limit: u32,
    reader: UserId,
) -> Result<Loaded, Error> {
    let Some(parent) = one(connection, room_id, parent_id, reader)? else {
        return Ok(Loaded::Thread { parent: None, messages: Vec::new(), more: false });
    };
    let sql = format!(
        "SELECT {EVENT} FROM {EVENT_FROM} WHERE e.room_id = ?1 AND e.parent_id = ?2 AND e.parent_id IS NOT NULL
             AND e.kind = 1 AND e.seq > ?3 ORDER BY e.seq LIMIT ?4"
    );
    let values = params![room_id.0 as i64, parent_id.0 as i64, after.0 as i64, i64::from(limit) + 1];
    let (messages, more) = history(connection, &sql, values, limit, reader)?;
    Ok(Loaded::Thread { parent: Some(Box::new(parent)), messages, more })
}

/// `Load::Pinned`.
pub(super) fn pinned(connection: &Connection, room_id: RoomId, reader: UserId) -> Result<Loaded, Error> {
    let sql = format!(
        "SELECT {EVENT} FROM {EVENT_FROM} WHERE e.room_id = ?1 AND e.pinned_seq IS NOT NULL
         ORDER BY e.pinned_seq DESC"
    );
    let mut messages = rows::all(connection, &sql, [room_id.0 as i64], rows::event)?;
    add_reactions(connection, &mut messages, Some(reader))?;
    Ok(Loaded::Pinned(messages))
}

/// `Load::Reactions`.
pub(super) fn reactions(connection: &Connection, room_id: RoomId, message_id: Seq) -> Result<Loaded, Error> {
    let (room, message) = (room_id.0 as i64, message_id.0 as i64);
    let mut found = rows::all(
        connection,
        "SELECT emoji, count FROM reaction_counts WHERE room_id = ?1 AND message_id = ?2 ORDER BY first_seq",
        [room, message],
        |row| Ok(ReactionRow { emoji: rows::text(row, 0)?, count: row.get(1)?, users: Vec::new() }),
    )?;
    for reaction in &mut found {
        reaction.users = rows::all(
            connection,
            "SELECT u.user_id, u.username FROM reactions x CROSS JOIN users u ON u.user_id = x.user_id
             WHERE x.room_id = ?1 AND x.message_id = ?2 AND x.emoji = ?3 ORDER BY x.user_id LIMIT ?4",
            params![room, message, &*reaction.emoji, REACTIONS_SHOWN as i64],
            |row| Ok((UserId(rows::uint(row, 0)?), rows::text(row, 1)?)),
        )?;
    }
    Ok(Loaded::Reactions(found))
}

/// Gives the messages among these, of one room, their reactions; with a reader, he is named where he has reacted.
pub(super) fn add_reactions(
    connection: &Connection,
    records: &mut [EventRecord],
    reader: Option<UserId>,
) -> Result<(), Error> {
    let ids = || records.iter().map(|record| record.row.seq.0);
    let (Some(first), Some(last)) = (ids().min(), ids().max()) else { return Ok(()) };
    let one_room = records.iter().all(|record| record.row.room_id == records[0].row.room_id);
    if one_room && last - first <= 10 * records.len() as u64 {
        let room_id = records[0].row.room_id;
        for (message_id, reaction) in reactions_between(connection, room_id, first, last, reader)? {
            let of_it = |record: &&mut EventRecord| record.row.seq.0 == message_id;
            if let Some(record) = records.iter_mut().find(of_it) {
                add_reaction(record, reaction);
            }
        }
        return Ok(());
    }
    for record in records {
        let (room_id, id) = (record.row.room_id, record.row.seq.0);
        for (_, reaction) in reactions_between(connection, room_id, id, id, reader)? {
            add_reaction(record, reaction);
        }
    }
    Ok(())
}

fn add_reaction(record: &mut EventRecord, reaction: Reaction) {
    if record.row.kind == EventKind::Message {
        record.state.get_or_insert_with(|| Box::new(MessageState::default())).reactions.push(reaction);
    }
}

/// Reactions to the messages from `first` to `last`, those of each in their order.
fn reactions_between(
    connection: &Connection,
    room_id: RoomId,
    first: u64,
    last: u64,
    reader: Option<UserId>,
) -> Result<Vec<(u64, Reaction)>, Error> {
    let sql = format!(
        "SELECT c.message_id, c.emoji, c.count,
             (SELECT json_group_array(user_id) FROM (SELECT user_id FROM reactions x
                  WHERE x.room_id = c.room_id AND x.message_id = c.message_id AND x.emoji = c.emoji
                  ORDER BY x.user_id LIMIT {REACTORS_MAX}) few),
             EXISTS (SELECT 1 FROM reactions m WHERE m.room_id = c.room_id AND m.message_id = c.message_id
                 AND m.emoji = c.emoji AND m.user_id = ?4)
         FROM reaction_counts c WHERE c.room_id = ?1 AND c.message_id BETWEEN ?2 AND ?3
         ORDER BY c.message_id, c.first_seq"
    );
    // Nobody is user 0.
    let reader = reader.unwrap_or(UserId(0));
    let values = params![room_id.0 as i64, first as i64, last as i64, reader.0 as i64];
    rows::all(connection, &sql, values, |row| {
        let mut users: Vec<UserId> = rows::ids(row.get_ref(3)?.as_str()?).collect();
        if row.get(4)? && !users.contains(&reader) {
            users.push(reader);
        }
        users.sort_unstable();
        Ok((rows::uint(row, 0)?, Reaction { emoji: rows::text(row, 1)?, count: row.get(2)?, users }))
    })
}
