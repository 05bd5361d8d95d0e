//! Full-text search: asking. The index finds the newest messages that have all the words; these are ranked, by what is in
//! the message and in the query alone, so that pages stay what they are while messages are added.
//!
//! The queries go over a connection of their own, where the plan is made for each anew: whether to walk back through the
//! newest messages or to ask the index depends on how common the words are.

use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row};
use veza_engine::id::{RoomId, UserId};
use veza_engine::store::{EventRecord, LoadError, Loaded};
use veza_engine::wire::SearchMessages;

use super::connect::Session;
use super::index::{SIMPLE, WORD_MAX, words};
use super::load_page::cut;
use super::plan::int;
use super::reactions;
use super::rows::{record, record_columns};
use crate::store::shared::{cursor, read_numbers_cursor};

/// Messages that a query ranks: the newest ones that match. Older ones are found by `to`.
const CANDIDATES_MAX: i64 = 1000;
/// Words of a query; further ones do not count.
const WORDS_MAX: usize = 16;
/// Rooms named to the index where no room is asked for. Of a user who is in more, the newest matches of the whole server
/// are looked through instead.
const ROOMS_MAX: usize = 500;

const NORMAL: &str = "SELECT to_tsquery($1::text::regconfig, $2::text)::text";
const MEMBER: &str = "SELECT m.room_id FROM members m JOIN rooms r ON r.room_id = m.room_id WHERE m.user_id = $1 AND m.room_id = $2 AND r.deleted_at IS NULL";
const MEMBERSHIPS: &str = "SELECT m.room_id FROM members m JOIN rooms r ON r.room_id = m.room_id WHERE m.user_id = $1 AND r.deleted_at IS NULL";

/// $1 words, $2 what else must be in the index, $3 and $4 times, $5 most candidates, $6 to $9 the place before, $10 rows, $11
/// the reader. Events are looked up best first, and only as many as it takes.
macro_rules! search {
    ($where:literal, $order:literal) => {
        concat!(
            "SELECT ",
            record_columns!(),
            ", f.rank, f.newest FROM (
               SELECT g.* FROM (
                 SELECT c.room_id, c.message_id, c.at, max(c.at) OVER () AS newest,
                   (ts_rank(c.tsv, $1::text::tsquery, 1) * 1000000)::bigint AS rank
                 FROM (SELECT s.room_id, s.message_id, s.at, s.tsv FROM search s
                   WHERE s.tsv @@ ($1::text::tsquery && $2::text::tsquery) AND s.at >= $3 AND s.at <= $4",
            $where,
            " ORDER BY ",
            $order,
            " LIMIT $5) AS c) AS g
               WHERE (g.rank, g.at, g.room_id, g.message_id) < ($6::bigint, $7::bigint, $8::bigint, $9::bigint)
               ORDER BY g.rank DESC, g.at DESC, g.room_id DESC, g.message_id DESC) AS f
             JOIN events e ON e.room_id = f.room_id AND e.seq = f.message_id
             JOIN members m ON m.room_id = f.room_id AND m.user_id = $11
             LEFT JOIN users u ON u.user_id = e.author_id WHERE e.deleted_at IS NULL AND e.content IS NOT NULL
             ORDER BY f.rank DESC, f.at DESC, f.room_id DESC, f.message_id DESC LIMIT $10"
        )
    };
}
const IN_ROOM: &str = search!(" AND s.room_id = $12", "s.message_id DESC");
const IN_ROOMS: &str = search!("", "s.at DESC");
const ANYWHERE: &str =
    search!(" AND EXISTS (SELECT FROM members n WHERE n.room_id = s.room_id AND n.user_id = $11)", "s.at DESC");

/// Where a page begins: the newest time that is looked at, then rank, time, room and message of the last one before.
type From = [i64; 5];

/// To [`veza_engine::store::Load::Search`].
pub(super) async fn search(
    session: &Session,
    language: &str,
    reader: UserId,
    asked: &SearchMessages,
) -> Result<Result<Loaded, LoadError>, Error> {
    let from: From = match read_numbers_cursor('f', asked.cursor.as_deref()) {
        Ok(from) => from.unwrap_or([i64::MAX; 5]),
        Err(error) => return Ok(Err(error)),
    };
    let rooms = rooms(session, reader, asked.room_id).await?;
    let Some(query) = query(&asked.query).filter(|_| !rooms.is_empty()) else {
        return Ok(Ok(Loaded::Messages { messages: Vec::new(), next: None }));
    };
    let Some(query) = normal(session, language, query).await? else {
        return Ok(Ok(Loaded::Messages { messages: Vec::new(), next: None }));
    };
    let filter = filter(&rooms, asked);
    let (first, last) = (asked.from.map_or(0, |from| from.0), asked.to.map_or(i64::MAX, |to| to.0.saturating_sub(1)));
    let [top, rank, at, room, message] = from;
    let (last, count, id) = (last.min(top), i64::from(asked.limit) + 1, int(reader.0));
    let only = asked.room_id.map(|room| int(room.0));
    let mut params: Vec<&(dyn ToSql + Sync)> =
        vec![&query, &filter, &first, &last, &CANDIDATES_MAX, &rank, &at, &room, &message, &count, &id];
    let sql = match &only {
        Some(room) => {
            params.push(room);
            IN_ROOM
        }
        None if rooms.len() <= ROOMS_MAX => IN_ROOMS,
        None => ANYWHERE,
    };
    let mut rows = session.query(sql, &params).await?;
    let next = cut(&mut rows, asked.limit, |row| place(row, top));
    let mut messages: Vec<EventRecord> = rows.iter().map(record).collect();
    reactions::add_each(session, &mut messages, Some(reader)).await?;
    Ok(Ok(Loaded::Messages { messages, next }))
}

/// Later pages rank what the first one has ranked, without what was added since.
fn place(row: &Row, top: i64) -> Box<str> {
    let (room, seq, at): (i64, i64, i64) = (row.get(0), row.get(1), row.get(3));
    let (rank, newest): (i64, i64) = (row.get("rank"), row.get("newest"));
    cursor('f', &format!("{}.{rank}.{at}.{room}.{seq}", top.min(newest)))
}

/// Where the reader may look: all his rooms, or the one asked for if it is his.
async fn rooms(session: &Session, reader: UserId, only: Option<RoomId>) -> Result<Vec<i64>, Error> {
    let rows = match only {
        Some(room) => session.query(MEMBER, &[&int(reader.0), &int(room.0)]).await?,
        None => session.query(MEMBERSHIPS, &[&int(reader.0)]).await?,
    };
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// All words, the last one perhaps a beginning. They are of letters and digits, and quoted: nothing is an operator.
fn query(text: &str) -> Option<String> {
    let words = words(text);
    if words.split_whitespace().any(|word| word.len() > WORD_MAX) {
        // No message has it.
        return None;
    }
    let quoted: Vec<String> = words.split_whitespace().take(WORDS_MAX).map(|word| format!("'{word}'")).collect();
    (!quoted.is_empty()).then(|| format!("{}:*", quoted.join(" & ")))
}

/// The query in the forms that the language's index holds; `None`: there are none but words that it leaves out.
async fn normal(session: &Session, language: &str, query: String) -> Result<Option<String>, Error> {
    if language == SIMPLE {
        return Ok(Some(query));
    }
    let row = session.query_opt(NORMAL, &[&language, &query]).await?;
    Ok(row.map(|row| row.get::<_, String>(0)).filter(|query| !query.is_empty()))
}

/// The lexemes of the index that are no words.
fn filter(rooms: &[i64], asked: &SearchMessages) -> String {
    let mut parts = Vec::new();
    if rooms.len() <= ROOMS_MAX {
        let rooms: Vec<String> = rooms.iter().map(|room| format!("'\u{1}r{room}'")).collect();
        parts.push(format!("( {} )", rooms.join(" | ")));
    }
    parts.extend(asked.author_id.map(|author| format!("'\u{1}u{}'", author.0)));
    parts.join(" & ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_words_and_nothing_else() {
        for (text, expected) in [
            ("Hello wor", Some("'hello' & 'wor':*")),
            ("it's | !x:* & (y)", Some("'it' & 's' & 'x' & 'y':*")),
            ("\u{1}r5", Some("'r5':*")),
            ("❤️ !?", None),
            (&"x".repeat(WORD_MAX + 1), None),
        ] {
            assert_eq!(query(text).as_deref(), expected, "{text}");
        }
    }
}
