//! Queries about the events of a room: pages of them, and messages with what has become of them.

use futures_util::future::try_join;
use tokio_postgres::Error;
use veza_engine::id::{RoomId, Seq, UserId};
use veza_engine::store::{EditRow, EventRecord, Loaded, PARTICIPANTS_MAX};
use veza_engine::time::WallMs;

use super::connect::Session;
use super::plan::int;
use super::reactions;
use super::rows::{alive, boxed, boxed_opt, record, record_columns, uint, users};
use crate::store::shared::PAGE_BYTES;

/// About as much as a page of events may hold.
pub(super) const PAGE: i64 = PAGE_BYTES as i64;
/// Newest answers among which participants of a thread are looked for.
const ANSWERS_MAX: i64 = 1000;

/// A page ends with the event that fills it: there is always one, if there is any.
const EVENTS: &str = concat!(
    "SELECT ",
    record_columns!(),
    " FROM (SELECT t.*, sum(octet_length(coalesce(content, '')) + octet_length(coalesce(data, '')) + 100)
       OVER (ORDER BY seq ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before
       FROM (SELECT * FROM events WHERE room_id = $1 AND seq > $2 ORDER BY seq LIMIT $3) AS t) AS e
     LEFT JOIN users u ON u.user_id = e.author_id
     WHERE coalesce(e.bytes_before, 0) < $4 AND ",
    alive!(),
    " ORDER BY e.seq"
);
macro_rules! history {
    ($which:literal) => {
        concat!(
            "SELECT ",
            record_columns!(),
            " FROM (SELECT * FROM events WHERE room_id = $1 AND kind = 1 AND ",
            $which,
            " LIMIT $3) AS e LEFT JOIN users u ON u.user_id = e.author_id WHERE ",
            alive!(),
            " ORDER BY e.seq"
        )
    };
}
const BEFORE: &str = history!("seq < $2 ORDER BY seq DESC");
const AFTER: &str = history!("seq > $2 ORDER BY seq");
const ANSWERS: &str = concat!(
    "SELECT ",
    record_columns!(),
    " FROM (SELECT * FROM events WHERE room_id = $1 AND parent_id = $2 AND kind = 1 AND seq > $3 ORDER BY seq LIMIT $4) AS e
     LEFT JOIN users u ON u.user_id = e.author_id WHERE ",
    alive!(),
    " ORDER BY e.seq"
);
const MESSAGE: &str = concat!(
    "SELECT ",
    record_columns!(),
    " FROM events e LEFT JOIN users u ON u.user_id = e.author_id WHERE e.room_id = $1 AND e.seq = $2 AND e.kind = 1 AND ",
    alive!()
);
const PINNED: &str = concat!(
    "SELECT ",
    record_columns!(),
    " FROM events e LEFT JOIN users u ON u.user_id = e.author_id WHERE e.room_id = $1 AND e.pinned_seq IS NOT NULL AND ",
    alive!(),
    " ORDER BY e.pinned_seq DESC"
);
const PARTICIPANTS: &str = "SELECT ARRAY(SELECT DISTINCT t.author_id FROM (SELECT e.author_id FROM events e
       WHERE e.room_id = $1 AND e.parent_id = $2 AND e.kind = 1 AND e.author_id IS NOT NULL ORDER BY e.seq DESC LIMIT $3) AS t ORDER BY 1 LIMIT $4)";
/// The message itself as it was first, then its edits; nothing of a deleted one.
const EDITS: &str = concat!(
    "SELECT coalesce(e.original, e.content, ''), e.at, e.author_id, NULL::text, e.seq FROM events e WHERE e.room_id = $1 AND e.seq = $2 AND e.kind = 1 AND e.deleted_at IS NULL AND ",
    alive!(),
    " UNION ALL
     SELECT coalesce(e.content, ''), e.at, e.author_id, e.reason, e.seq FROM events e WHERE e.room_id = $1 AND e.parent_id = $2 AND e.kind = 3
     ORDER BY 5"
);

/// To [`veza_engine::store::Load::Events`].
pub(super) async fn events(session: &Session, room_id: RoomId, after: Seq, limit: u32) -> Result<Loaded, Error> {
    let rows = session.query(EVENTS, &[&int(room_id.0), &int(after.0), &i64::from(limit), &PAGE]).await?;
    let mut page: Vec<EventRecord> = rows.iter().map(record).collect();
    reactions::add(session, &mut page, None).await?;
    Ok(Loaded::Events(page))
}

/// To [`veza_engine::store::Load::HistoryBefore`].
pub(super) async fn history_before(
    session: &Session,
    room_id: RoomId,
    before: Option<Seq>,
    limit: u32,
    reader: UserId,
) -> Result<Loaded, Error> {
    let before = before.map_or(i64::MAX, |seq| int(seq.0));
    let rows = session.query(BEFORE, &[&int(room_id.0), &before, &(i64::from(limit) + 1)]).await?;
    let mut messages: Vec<EventRecord> = rows.iter().map(record).collect();
    let more = messages.len() > limit as usize;
    if more {
        messages.remove(0);
    }
    reactions::add(session, &mut messages, Some(reader)).await?;
    Ok(Loaded::History { messages, more })
}

/// To [`veza_engine::store::Load::HistoryAfter`].
pub(super) async fn history_after(
    session: &Session,
    room_id: RoomId,
    after: Seq,
    limit: u32,
    reader: UserId,
) -> Result<Loaded, Error> {
    let rows = session.query(AFTER, &[&int(room_id.0), &int(after.0), &(i64::from(limit) + 1)]).await?;
    let mut messages: Vec<EventRecord> = rows.iter().map(record).collect();
    let more = messages.len() > limit as usize;
    messages.truncate(limit as usize);
    reactions::add(session, &mut messages, Some(reader)).await?;
    Ok(Loaded::History { messages, more })
}

/// To [`veza_engine::store::Load::Message`].
pub(super) async fn message(session: &Session, room_id: RoomId, id: Seq, reader: UserId) -> Result<Loaded, Error> {
    let Some(mut found) = one(session, room_id, id, reader).await? else { return Ok(Loaded::Message(None)) };
    if let Some(state) = found.state.as_mut().filter(|state| state.thread_count > 0) {
        let most = int(PARTICIPANTS_MAX as u64);
        let rows = session.query(PARTICIPANTS, &[&int(room_id.0), &int(id.0), &ANSWERS_MAX, &most]).await?;
        state.participants = rows.first().map(|row| users(row, 0)).unwrap_or_default();
    }
    Ok(Loaded::Message(Some(Box::new(found))))
}

async fn one(session: &Session, room_id: RoomId, id: Seq, reader: UserId) -> Result<Option<EventRecord>, Error> {
    let mut found =
        session.query(MESSAGE, &[&int(room_id.0), &int(id.0)]).await?.iter().map(record).collect::<Vec<_>>();
    reactions::add(session, &mut found, Some(reader)).await?;
    Ok(found.pop())
}

/// To [`veza_engine::store::Load::Thread`].
pub(super) async fn thread(
    session: &Session,
    room_id: RoomId,
    parent_id: Seq,
    after: Seq,
    limit: u32,
    reader: UserId,
) -> Result<Loaded, Error> {
    let answers = async {
        let count = i64::from(limit) + 1;
        let rows = session.query(ANSWERS, &[&int(room_id.0), &int(parent_id.0), &int(after.0), &count]).await?;
        let mut answers: Vec<EventRecord> = rows.iter().map(record).collect();
        let more = answers.len() > limit as usize;
        answers.truncate(limit as usize);
        reactions::add_each(session, &mut answers, Some(reader)).await?;
        Ok((answers, more))
    };
    let (parent, (messages, more)) = try_join(one(session, room_id, parent_id, reader), answers).await?;
    Ok(Loaded::Thread { parent: parent.map(Box::new), messages, more })
}

/// To [`veza_engine::store::Load::Pinned`].
pub(super) async fn pinned(session: &Session, room_id: RoomId, reader: UserId) -> Result<Loaded, Error> {
    let mut messages: Vec<EventRecord> = session.query(PINNED, &[&int(room_id.0)]).await?.iter().map(record).collect();
    reactions::add_each(session, &mut messages, Some(reader)).await?;
    Ok(Loaded::Pinned(messages))
}

/// To [`veza_engine::store::Load::Edits`].
pub(super) async fn edits(session: &Session, room_id: RoomId, message_id: Seq) -> Result<Loaded, Error> {
    let rows = session.query(EDITS, &[&int(room_id.0), &int(message_id.0)]).await?;
    // Edits may outlive a message that is deleted, or that retention has taken.
    if rows.first().is_none_or(|row| uint(row, 4) != message_id.0) {
        return Ok(Loaded::Edits(Vec::new()));
    }
    let versions = rows.iter().map(|row| EditRow {
        content: boxed(row, 0),
        edited_at: WallMs(row.get(1)),
        editor_id: UserId(row.get::<_, Option<i64>>(2).unwrap_or(0).cast_unsigned()),
        reason: boxed_opt(row, 3),
    });
    Ok(Loaded::Edits(versions.collect()))
}
