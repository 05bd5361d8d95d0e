//! Full-text search: filling. Behind the write path: what was committed is noted by its room, and indexed in small
//! transactions between the others. Positions per room say how far; they and the index change together.

use std::collections::{BTreeMap, HashSet, VecDeque};

use rusqlite::{Connection, Error, OptionalExtension, params};
use veza_engine::id::RoomId;

use super::rows::{self, Prepare as _};
use super::search::{TIME_SHIFT, first_document};
use super::write::run;
use crate::store::report::wall_now;

/// Events in one transaction.
const EVENTS_MAX: usize = 256;
/// Rooms in one transaction, and looked at in one step of the search for those that are behind.
const ROOMS_MAX: usize = 256;
/// Kinds of events that search wants to know of.
const MESSAGE: i64 = 1;
const EDIT: i64 = 3;
const DELETE: i64 = 4;

/// What is not indexed yet. Lost with the process, and found again at the next start.
pub(super) struct Pending {
    /// Rooms with news, and since when (Unix milliseconds), the oldest first; each once.
    queue: VecDeque<(RoomId, i64)>,
    known: HashSet<RoomId>,
    /// Rooms up to this one have been looked at since the start; `None`: all have.
    looked: Option<i64>,
}

/// What a message is to be in the index.
enum Target {
    /// As the event says.
    New { at: i64, author: i64, content: String },
    /// As it is now: it was edited or deleted.
    Changed,
}

impl Pending {
    /// Everything may be behind.
    pub(super) fn new() -> Pending {
        Pending { queue: VecDeque::new(), known: HashSet::new(), looked: Some(0) }
    }

    /// Events of this room are committed.
    pub(super) fn note(&mut self, room_id: RoomId) {
        if self.known.insert(room_id) {
            self.queue.push_back((room_id, wall_now().0));
        }
    }

    /// Nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.looked.is_none()
    }

    /// Rooms that wait, and since when the oldest does (0: none does).
    pub(super) fn waiting(&self) -> (u64, u64) {
        (self.queue.len() as u64, self.queue.front().map_or(0, |(_, since)| *since as u64))
    }

    /// One step, in one transaction; answers how many messages were indexed or taken out. After an error nothing has
    /// changed.
    pub(super) fn step(&mut self, connection: &Connection) -> Result<u64, Error> {
        if self.queue.is_empty() {
            return self.look(connection).map(|()| 0);
        }
        // Nothing is lost if this transaction is: it is done again. So it need not wait for the disk.
        connection.execute_batch("PRAGMA synchronous = NORMAL; BEGIN IMMEDIATE")?;
        let done = self.fill(connection).and_then(|done| connection.execute_batch("COMMIT").map(|()| done));
        if done.is_err() && !connection.is_autocommit() {
            let _ = connection.execute_batch("ROLLBACK");
        }
        connection.execute_batch("PRAGMA synchronous = FULL")?;
        let (finished, unfinished, count) = done?;
        for _ in 0..finished + usize::from(unfinished.is_some()) {
            if let Some((room_id, since)) = self.queue.pop_front() {
                match unfinished {
                    Some(unfinished) if unfinished == room_id => self.queue.push_front((room_id, since)),
                    _ => drop(self.known.remove(&room_id)),
                }
            }
        }
        Ok(count)
    }

    /// Finds rooms that were behind when the server started.
    fn look(&mut self, connection: &Connection) -> Result<(), Error> {
        let Some(after) = self.looked else { return Ok(()) };
        let sql = "SELECT r.room_id, coalesce((SELECT max(e.seq) FROM events e WHERE e.room_id = r.room_id), 0)
                       > coalesce((SELECT p.seq FROM search_positions p WHERE p.room_id = r.room_id), 0)
                   FROM rooms r WHERE r.room_id > ?1 ORDER BY r.room_id LIMIT ?2";
        let values = params![after, ROOMS_MAX as i64];
        let rooms = rows::all(connection, sql, values, |row| Ok((row.get::<_, i64>(0)?, row.get::<_, bool>(1)?)))?;
        self.looked = rooms.last().filter(|_| rooms.len() == ROOMS_MAX).map(|(room, _)| *room);
        for (room, behind) in rooms {
            if behind {
                self.note(RoomId(room as u64));
            }
        }
        Ok(())
    }

    /// Indexes the news of the first rooms; answers how many of these are done, which one is only begun, and how many
    /// messages it was.
    fn fill(&self, connection: &Connection) -> Result<(usize, Option<RoomId>, u64), Error> {
        let mut targets = BTreeMap::new();
        let (mut finished, mut unfinished, mut left) = (0, None, EVENTS_MAX);
        for (room_id, _) in self.queue.iter().take(ROOMS_MAX) {
            if left == 0 {
                break;
            }
            let room = room_id.0 as i64;
            let read = read_news(connection, room, left, &mut targets)?;
            if read == left {
                unfinished = Some(*room_id);
                break;
            }
            left -= read;
            finished += 1;
        }
        let count = targets.len() as u64;
        put(connection, targets)?;
        Ok((finished, unfinished, count))
    }
}

/// Notes what a room's events after its position mean to the index, and moves the position; answers how many they were.
fn read_news(
    connection: &Connection,
    room: i64,
    limit: usize,
    targets: &mut BTreeMap<(i64, i64), Target>,
) -> Result<usize, Error> {
    let sql = "SELECT seq, kind, parent_id, at, author_id, CASE WHEN kind = 1 AND deleted_at IS NULL THEN content END
               FROM events WHERE room_id = ?1
                   AND seq > coalesce((SELECT seq FROM search_positions WHERE room_id = ?1), 0)
               ORDER BY seq LIMIT ?2";
    let mut statement = connection.prepared(sql)?;
    let mut news = statement.query(params![room, limit as i64])?;
    let (mut count, mut position) = (0, 0);
    while let Some(event) = news.next()? {
        position = event.get::<_, i64>(0)?;
        count += 1;
        match (event.get(1)?, event.get::<_, Option<i64>>(2)?) {
            (MESSAGE, _) => {
                if let Some(content) = event.get(5)? {
                    let (at, author) = (event.get(3)?, event.get::<_, Option<i64>>(4)?.unwrap_or(0));
                    targets.insert((room, position), Target::New { at, author, content });
                }
            }
            (EDIT | DELETE, Some(message)) => drop(targets.entry((room, message)).or_insert(Target::Changed)),
            _ => {}
        }
    }
    if count > 0 {
        run(
            connection,
            "INSERT INTO search_positions (room_id, seq) VALUES (?1, ?2)
             ON CONFLICT (room_id) DO UPDATE SET seq = excluded.seq",
            [room, position],
        )?;
    }
    Ok(count)
}

/// A document and what is to be in it.
type Document = (i64, String, String);

/// Brings the messages into the index, in the order of their documents: FTS5 begins a new segment for each step back.
fn put(connection: &Connection, targets: BTreeMap<(i64, i64), Target>) -> Result<(), Error> {
    let mut documents: Vec<Document> = Vec::with_capacity(targets.len());
    for ((room, message), target) in targets {
        let (document, author, content) = match target {
            Target::New { at, author, content } => (new_document(connection, room, message, at)?, author, content),
            // One that was never indexed, or is deleted, need not be found.
            Target::Changed => match (document_of(connection, room, message)?, as_it_is(connection, room, message)?) {
                (Some(document), Some((author, content))) => {
                    run(connection, "DELETE FROM search_text WHERE rowid = ?1", [document])?;
                    (document, author, content)
                }
                (Some(document), None) => {
                    forget(connection, document)?;
                    continue;
                }
                (None, _) => continue,
            },
        };
        documents.push((document, content, format!("r{room} u{author}")));
    }
    documents.sort_unstable_by_key(|(document, ..)| *document);
    for (document, content, keys) in &documents {
        run(
            connection,
            "INSERT INTO search_text (rowid, content, keys) VALUES (?1, ?2, ?3)",
            params![document, content, keys],
        )?;
    }
    Ok(())
}

fn as_it_is(connection: &Connection, room: i64, message: i64) -> Result<Option<(i64, String)>, Error> {
    connection
        .prepared(
            "SELECT coalesce(author_id, 0), content FROM events
             WHERE room_id = ?1 AND seq = ?2 AND kind = 1 AND deleted_at IS NULL AND content IS NOT NULL",
        )?
        .query_row([room, message], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
}

fn document_of(connection: &Connection, room: i64, message: i64) -> Result<Option<i64>, Error> {
    connection
        .prepared("SELECT document FROM search_documents WHERE room_id = ?1 AND message_id = ?2")?
        .query_row([room, message], |row| row.get(0))
        .optional()
}

/// The next free number of the message's millisecond.
fn new_document(connection: &Connection, room: i64, message: i64, at: i64) -> Result<i64, Error> {
    let mut document = first_document(at);
    loop {
        let last = document | ((1 << TIME_SHIFT) - 1);
        let newest: Option<i64> = connection
            .prepared("SELECT max(document) FROM search_documents WHERE document >= ?1 AND document <= ?2")?
            .query_row([document, last], |row| row.get(0))?;
        match newest {
            None => break,
            Some(newest) if newest < last => {
                document = newest + 1;
                break;
            }
            // A full millisecond: somebody has made times up.
            Some(_) => document = last + 1,
        }
    }
    run(
        connection,
        "INSERT INTO search_documents (document, room_id, message_id) VALUES (?1, ?2, ?3)",
        [document, room, message],
    )?;
    Ok(document)
}

/// Takes a document out.
fn forget(connection: &Connection, document: i64) -> Result<(), Error> {
    run(connection, "DELETE FROM search_text WHERE rowid = ?1", [document])?;
    run(connection, "DELETE FROM search_documents WHERE document = ?1", [document])
}

/// Takes out up to `limit` messages of a room, up to this position; answers how many they were.
pub(super) fn forget_room(connection: &Connection, room: i64, last: i64, limit: i64) -> Result<usize, Error> {
    let sql = "SELECT document FROM search_documents WHERE room_id = ?1 AND message_id <= ?2 LIMIT ?3";
    let documents: Vec<i64> = rows::all(connection, sql, [room, last, limit], |row| row.get(0))?;
    for document in &documents {
        forget(connection, *document)?;
    }
    Ok(documents.len())
}
