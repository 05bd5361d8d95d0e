//! Full-text search: asking. FTS5 finds the newest messages that have all the words; these are ranked here, by what is
//! in the message and in the query alone, so that pages stay what they are while messages are added.

use rusqlite::{Connection, Error, params};
use veza_engine::id::{RoomId, Seq, UserId};
use veza_engine::store::{Cursor, Loaded};
use veza_engine::wire::SearchMessages;

use super::load_message;
use super::reader::Failure;
use super::rows::{self, Prepare as _};
use crate::store::shared::{cursor, read_numbers_cursor};

/// Messages that a query ranks: the newest ones that match. Older ones are found by `to`.
const CANDIDATES_MAX: i64 = 2000;
/// Words of a query; further ones do not count.
const WORDS_MAX: usize = 16;
/// Rooms named to the index where no room is asked for. Of a user who is in more, the newest matches of the whole
/// server are looked through instead.
const ROOMS_MAX: usize = 500;
/// The number of a document is its message's time in milliseconds, shifted by this, and a number among those of the same
/// millisecond.
pub(super) const TIME_SHIFT: u32 = 20;

/// The first document number of a millisecond.
pub(super) fn first_document(at: i64) -> i64 {
    at.clamp(0, i64::MAX >> TIME_SHIFT) << TIME_SHIFT
}

/// How a message is found: best first, then newest.
type Place = (i64, i64, u64, u64);

/// `Load::Search`.
pub(super) fn query(connection: &Connection, reader: UserId, search: &SearchMessages) -> Result<Loaded, Failure> {
    let (top, after) = match read_numbers_cursor('f', search.cursor.as_deref())? {
        None => (i64::MAX, None),
        Some([top, rank, at, room, seq]) => (top, Some((rank, at, room as u64, seq as u64))),
    };
    let words = words(&search.query);
    let rooms = rooms(connection, reader, search.room_id)?;
    if words.is_empty() || rooms.is_empty() {
        return Ok(Loaded::Messages { messages: Vec::new(), next: None });
    }
    let first = search.from.map_or(0, |from| first_document(from.0));
    let last = search.to.map_or(i64::MAX, |to| first_document(to.0) - 1).min(top);
    let (newest, mut found) =
        candidates(connection, reader, &expression(&words, &rooms, search.author_id), first, last, &words)?;
    found.retain(|place| after.is_none_or(|after| *place < after));
    found.sort_unstable_by(|one, other| other.cmp(one));
    let more = found.len() > search.limit as usize;
    found.truncate(search.limit as usize);
    // Later pages rank what this one has ranked, without what was added since.
    let top = top.min(newest.unwrap_or(top));
    let next: Cursor = found
        .last()
        .filter(|_| more)
        .map(|(rank, at, room, seq)| cursor('f', &format!("{top}.{rank}.{at}.{room}.{seq}")));
    let mut messages = Vec::with_capacity(found.len());
    for (_, _, room, seq) in found {
        messages.extend(load_message::one(connection, RoomId(room), Seq(seq), reader)?);
    }
    Ok(Loaded::Messages { messages, next })
}

/// The runs of letters and digits in a text.
fn runs(text: &str) -> impl Iterator<Item = &str> {
    text.split(|char: char| !char.is_alphanumeric()).filter(|run| !run.is_empty())
}

/// What is looked for, in lower case.
fn words(query: &str) -> Vec<String> {
    runs(query).take(WORDS_MAX).map(str::to_lowercase).collect()
}

/// How well a text answers: the more often the words are in it, and the shorter it is, the better (as bm25, without what
/// depends on other texts). The last word may be a beginning, which counts half.
fn rank(text: &str, words: &[String]) -> i64 {
    let mut counts = vec![0.0; words.len()];
    let mut length = 0.0;
    for run in runs(text) {
        length += 1.0;
        let run = run.to_lowercase();
        for (index, word) in words.iter().enumerate() {
            if *word == run {
                counts[index] += 1.0;
            } else if index + 1 == words.len() && run.starts_with(word.as_str()) {
                counts[index] += 0.5;
            }
        }
    }
    let dampened = |count: &f64| count * 2.2 / (count + 1.2 * (0.25 + 0.75 * length / 16.0));
    (counts.iter().map(dampened).sum::<f64>() * 1000.0) as i64
}

/// Where the reader may look: all his rooms, or the one asked for if it is his.
fn rooms(connection: &Connection, reader: UserId, only: Option<RoomId>) -> Result<Vec<u64>, Error> {
    let sql = "SELECT m.room_id FROM members m CROSS JOIN rooms r ON r.room_id = m.room_id
               WHERE m.user_id = ?1 AND r.deleted_at IS NULL AND (?2 IS NULL OR m.room_id = ?2)";
    let sql_one = "SELECT m.room_id FROM members m CROSS JOIN rooms r ON r.room_id = m.room_id
                   WHERE m.room_id = ?2 AND m.user_id = ?1 AND r.deleted_at IS NULL";
    let only = only.map(|room| room.0 as i64);
    let sql = if only.is_some() { sql_one } else { sql };
    rows::all(connection, sql, params![reader.0 as i64, only], |row| rows::uint(row, 0))
}

/// What FTS5 is asked: all the words, of which the last may be a beginning, unless it is a single ASCII letter. The words
/// are alphanumeric and quoted: nothing in them is an operator.
fn expression(words: &[String], rooms: &[u64], author: Option<UserId>) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    // Of all words that begin with a certain letter FTS5 would make one list, for every query.
    let beginning = if words.last().is_some_and(|word| word.len() == 1) { "" } else { "*" };
    let mut text = format!("content : ({}{beginning})", quoted.join(" "));
    if rooms.len() <= ROOMS_MAX {
        let rooms: Vec<String> = rooms.iter().map(|room| format!("r{room}")).collect();
        text.push_str(&format!(" AND keys : ({})", rooms.join(" OR ")));
    }
    if let Some(author) = author {
        text.push_str(&format!(" AND keys : u{}", author.0));
    }
    text
}

/// The newest matches with their ranks, and the newest document number among them.
fn candidates(
    connection: &Connection,
    reader: UserId,
    expression: &str,
    first: i64,
    last: i64,
    words: &[String],
) -> Result<(Option<i64>, Vec<Place>), Error> {
    let sql = "SELECT d.document, e.room_id, e.seq, e.at, e.content
               FROM (SELECT rowid AS document FROM search_text
                     WHERE search_text MATCH ?1 AND rowid >= ?2 AND rowid <= ?3 ORDER BY rowid DESC LIMIT ?4) f
                   CROSS JOIN search_documents d ON d.document = f.document
                   CROSS JOIN members m ON m.room_id = d.room_id AND m.user_id = ?5
                   CROSS JOIN events e ON e.room_id = d.room_id AND e.seq = d.message_id
               WHERE e.deleted_at IS NULL AND e.content IS NOT NULL";
    let mut statement = connection.prepared(sql)?;
    let mut matches = statement.query(params![expression, first, last, CANDIDATES_MAX, reader.0 as i64])?;
    let (mut newest, mut found) = (None, Vec::new());
    while let Some(row) = matches.next()? {
        let document: i64 = row.get(0)?;
        newest = newest.max(Some(document));
        let rank = rank(row.get_ref(4)?.as_str()?, words);
        found.push((rank, row.get(3)?, rows::uint(row, 1)?, rows::uint(row, 2)?));
    }
    Ok((newest, found))
}
