//! The index of words, filled behind the writes: after a commit its rooms are noted, and in rounds the events after
//! each room's position are read, indexed, and the positions moved, many rooms at a time.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::Ordering::Relaxed;

use tokio_postgres::{Error, Row};
use veza_engine::id::RoomId;
use veza_engine::store::EventKind;

use super::connect::{Fault, Session, describe, fault};
use super::context::Context;
use super::plan::{Planned, column, int, planned};
use super::plan_message::push;
use super::rows::uint;
use super::upkeep::transact_unflushed;
use crate::store::report::{Meter, wall_now};

/// Rooms noted at once; beyond, the rooms that are behind are looked for in the database.
const NOTED_MAX: usize = 65_536;
/// Rooms in one round.
const ROOMS_MAX: usize = 500;
/// Events in one round: of all rooms, and of one.
pub(super) const EVENTS_MAX: i64 = 1000;
const EVENTS_PER_ROOM_MAX: i64 = 500;
/// Rooms looked at in one step of the search for those that are behind.
const LOOK_MAX: i64 = 1000;
/// Characters of a message that are indexed; far more than a message may have by default.
const TEXT_MAX: usize = 65_536;
/// PostgreSQL's bounds: bytes of a word, places of a word that are kept, and the last place.
pub(super) const WORD_MAX: usize = 2046;
const PLACES_MAX: usize = 255;
const PLACE_MAX: usize = 16_383;
/// The configuration that compares words as they are.
pub(super) const SIMPLE: &str = "simple";

const LANGUAGE: &str = "SELECT cfgname::text FROM pg_ts_config WHERE cfgname = $1 AND pg_ts_config_is_visible(oid)";
const USED: &str = "SELECT value FROM meta WHERE key = 'search_language'";
const USE: &str = "INSERT INTO meta (key, value) VALUES ('search_language', $1) ON CONFLICT (key) DO UPDATE SET value = excluded.value";

const BEHIND: &str = "SELECT r.room_id, coalesce((SELECT e.seq FROM events e WHERE e.room_id = r.room_id ORDER BY e.seq DESC LIMIT 1), 0)
         > coalesce((SELECT p.seq FROM search_position p WHERE p.room_id = r.room_id), 0)
     FROM rooms r WHERE r.room_id > $1 AND r.deleted_at IS NULL ORDER BY r.room_id LIMIT $2";
const NEWS: &str = "SELECT e.room_id, e.seq, e.kind, e.parent_id, e.author_id, e.at, CASE WHEN e.kind = 1 AND e.deleted_at IS NULL THEN e.content END
     FROM unnest($1::bigint[]) AS a(room_id) JOIN rooms r ON r.room_id = a.room_id AND r.deleted_at IS NULL
     LEFT JOIN search_position p ON p.room_id = a.room_id
     CROSS JOIN LATERAL (SELECT * FROM events x WHERE x.room_id = a.room_id AND x.seq > coalesce(p.seq, 0) ORDER BY x.seq LIMIT $2) AS e
     LIMIT $3";
const EDITED: &str = "SELECT e.room_id, e.seq, e.kind, e.parent_id, e.author_id, e.at, e.content
     FROM unnest($1::bigint[], $2::bigint[]) AS a(room_id, seq) JOIN events e ON e.room_id = a.room_id AND e.seq = a.seq
     WHERE e.kind = 1 AND e.deleted_at IS NULL AND e.content IS NOT NULL";
const REMOVE: &str = "DELETE FROM search s USING unnest($1::bigint[], $2::bigint[]) AS u(room_id, seq) WHERE s.room_id = u.room_id AND s.message_id = u.seq";
macro_rules! insert {
    ($tsv:literal) => {
        concat!(
            "INSERT INTO search (room_id, message_id, author_id, at, tsv) SELECT u.room_id, u.seq, u.author_id, u.at, ",
            $tsv,
            " FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::text[]) AS u(room_id, seq, author_id, at, words)
             ON CONFLICT (room_id, message_id) DO UPDATE SET tsv = excluded.tsv"
        )
    };
}
/// U+0001 is in no word.
const INSERT: &str = insert!(
    "to_tsvector($6::text::regconfig, u.words) || array_to_tsvector(ARRAY[chr(1) || 'r' || u.room_id, chr(1) || 'u' || u.author_id])"
);
/// Words that are compared as they are need not be parsed and looked up, which takes longer than all the rest.
const INSERT_SIMPLE: &str = insert!("u.words::tsvector");
const POSITIONS: &str =
    "INSERT INTO search_position AS p (room_id, seq) SELECT * FROM unnest($1::bigint[], $2::bigint[])
     ON CONFLICT (room_id) DO UPDATE SET seq = greatest(p.seq, excluded.seq)";

/// The runs of letters and digits of a text, in lower case, with blanks between them.
pub(super) fn words(text: &str) -> String {
    let mut words = String::with_capacity(text.len());
    if text.is_ascii() {
        for byte in text.bytes().take(TEXT_MAX) {
            if byte.is_ascii_alphanumeric() {
                words.push(char::from(byte.to_ascii_lowercase()));
            } else if !words.ends_with(' ') {
                words.push(' ');
            }
        }
        return words;
    }
    for char in text.chars().take(TEXT_MAX) {
        if char.is_alphanumeric() {
            words.extend(char.to_lowercase());
        } else if !words.ends_with(' ') {
            words.push(' ');
        }
    }
    words
}

/// What the index holds of a message where words are compared as they are, in PostgreSQL's notation.
fn document(text: &str, room: i64, author: i64) -> String {
    let words = words(text);
    let placed = words.split_whitespace().enumerate().map(|(index, word)| (word, (index + 1).min(PLACE_MAX)));
    let mut placed: Vec<(&str, usize)> = placed.filter(|(word, _)| word.len() <= WORD_MAX).collect();
    placed.sort_unstable();
    let mut document = format!("'\u{1}r{room}' '\u{1}u{author}'");
    document.reserve(words.len() + 8 * placed.len());
    for of_word in placed.chunk_by(|one, next| one.0 == next.0) {
        document.extend([" '", of_word[0].0, "'"]);
        for (nth, (_, place)) in of_word.iter().take(PLACES_MAX).enumerate() {
            let before = if nth == 0 { ':' } else { ',' };
            let _ = write!(document, "{before}{place}"); // a string takes all
        }
    }
    document
}

/// The text search configuration to use: the wanted one, or `simple` if the database has none of that name. What was
/// indexed under another one is indexed anew.
pub(super) async fn language(session: &Session, wanted: &str) -> Result<String, Error> {
    let found = session.query_opt(LANGUAGE, &[&wanted]).await?;
    if found.is_none() {
        tracing::error!(
            language = wanted,
            "search.language: the database has no such text search configuration; simple is used"
        );
    }
    let language = if found.is_some() { wanted } else { SIMPLE };
    let used: Option<String> = session.query_opt(USED, &[]).await?.map(|row| row.get(0));
    if used.as_deref() != Some(language) {
        if used.is_some() {
            tracing::info!(language, "all messages are indexed anew");
        }
        session.client.batch_execute("TRUNCATE search, search_position").await?;
        session.query(USE, &[&language]).await?;
    }
    Ok(language.to_owned())
}

/// Rooms with events that are not indexed; filled by the writers, emptied by the rounds.
#[derive(Default)]
pub(super) struct Pending(Mutex<Noted>);

struct Noted {
    /// Each with the time (Unix milliseconds) since when it waits, the oldest first.
    queue: VecDeque<(RoomId, i64)>,
    known: HashSet<RoomId>,
    /// There are more, beyond the bound, or from before the start: rooms above this one are to be looked at.
    look_after: Option<RoomId>,
}

impl Default for Noted {
    /// Nothing is known yet of what was committed before.
    fn default() -> Noted {
        Noted { queue: VecDeque::new(), known: HashSet::new(), look_after: Some(RoomId(0)) }
    }
}

impl Pending {
    /// Events of these rooms are committed.
    pub(super) fn note(&self, rooms: impl Iterator<Item = RoomId>) {
        let (now, mut last) = (wall_now().0, None);
        let mut noted = self.lock();
        for room in rooms {
            // Mostly several of one room follow each other.
            if last.replace(room) == Some(room) || noted.known.contains(&room) {
                continue;
            }
            if noted.queue.len() >= NOTED_MAX {
                noted.look_after = Some(RoomId(0));
                continue;
            }
            noted.known.insert(room);
            noted.queue.push_back((room, now));
        }
    }

    /// Since when the oldest room waits (Unix milliseconds); `None`: there is nothing to do.
    pub(super) fn since(&self) -> Option<i64> {
        let noted = self.lock();
        noted.queue.front().map(|(_, since)| *since).or(noted.look_after.map(|_| 0))
    }

    /// The rooms that have waited longest, of those that have since this time (Unix milliseconds) or longer.
    fn take(&self, most: usize, since: i64) -> Vec<(RoomId, i64)> {
        let mut noted = self.lock();
        let count = noted.queue.iter().take(most).take_while(|(_, noted)| *noted <= since).count();
        let taken: Vec<(RoomId, i64)> = noted.queue.drain(..count).collect();
        for (room, _) in &taken {
            noted.known.remove(room);
        }
        taken
    }

    /// These are not done yet; they keep their place.
    fn put_back(&self, rooms: Vec<(RoomId, i64)>) {
        let mut noted = self.lock();
        for (room, since) in rooms.into_iter().rev() {
            if !noted.known.insert(room) {
                noted.queue.retain(|(other, _)| *other != room);
            }
            noted.queue.push_front((room, since));
        }
    }

    fn look_after(&self) -> Option<RoomId> {
        self.lock().look_after
    }

    /// What was done may be undone: all rooms are to be looked at.
    pub(super) fn look_again(&self) {
        self.lock().look_after = Some(RoomId(0));
    }

    fn looked_up_to(&self, from: RoomId, to: Option<RoomId>) {
        let mut noted = self.lock();
        // Another look from the start may have become necessary meanwhile.
        if noted.look_after == Some(from) {
            noted.look_after = to;
        }
    }

    /// Says how far behind the index is.
    pub(super) fn publish(&self, meter: &Meter) {
        let noted = self.lock();
        let since = noted.queue.front().map_or(0, |(_, since)| since.cast_unsigned());
        meter.search_pending.store(noted.queue.len() as u64, Relaxed);
        meter.search_since.store(since, Relaxed);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// What a round takes.
#[derive(Clone, Copy)]
pub(super) struct Share {
    /// Events at most.
    pub(super) events: i64,
    /// Rooms that have waited since then (Unix milliseconds) or longer.
    pub(super) since: i64,
}

impl Share {
    /// As much as a round may.
    pub(super) const ALL: Share = Share { events: EVENTS_MAX, since: i64::MAX };
}

/// A step: finds rooms that are behind, if that is due, and indexes what is new in some of the noted ones. After an
/// error they are noted as before.
pub(super) async fn step(context: &Context, session: &Session, share: Share) -> Result<(), Error> {
    let Share { events, mut since } = share;
    if let Some(from) = context.pending.look_after() {
        look(context, session, from).await?;
        since = i64::MAX; // they have waited already
    }
    let rooms = context.pending.take(ROOMS_MAX.min(usize::try_from(events).unwrap_or(ROOMS_MAX)), since);
    if rooms.is_empty() {
        return Ok(());
    }
    match round(context, session, &rooms, events).await {
        Ok(left) => context.pending.put_back(left),
        Err(error) => {
            context.pending.put_back(rooms);
            return Err(error);
        }
    }
    context.pending.publish(&context.meter);
    Ok(())
}

async fn look(context: &Context, session: &Session, from: RoomId) -> Result<(), Error> {
    let rows = session.query(BEHIND, &[&int(from.0), &LOOK_MAX]).await?;
    context.pending.note(rows.iter().filter(|row| row.get(1)).map(|row| RoomId(uint(row, 0))));
    let last = rows.last().map(|row| RoomId(uint(row, 0)));
    context.pending.looked_up_to(from, last.filter(|_| rows.len() as i64 == LOOK_MAX));
    Ok(())
}

/// A message that is to be found.
struct Entry {
    author: i64,
    at: i64,
    /// In the form that the insertion takes.
    words: String,
}

/// Indexes so many events at most; answers the rooms that have more.
async fn round(
    context: &Context,
    session: &Session,
    rooms: &[(RoomId, i64)],
    events: i64,
) -> Result<Vec<(RoomId, i64)>, Error> {
    let ids: Vec<i64> = rooms.iter().map(|(room, _)| int(room.0)).collect();
    let news = session.query(NEWS, &[&ids, &EVENTS_PER_ROOM_MAX, &events]).await?;
    let mut counts: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
    for row in &news {
        let (room, seq): (i64, i64) = (row.get(0), row.get(1));
        let (count, position) = counts.entry(room).or_default();
        *count += 1;
        *position = seq.max(*position);
    }
    let full = news.len() as i64 == events;
    let last = news.last().map(|row| row.get::<_, i64>(0));
    let more = |room: &RoomId| match counts.get(&int(room.0)) {
        // Where the round was full, those that it did not come to have no row, and the last one perhaps not all.
        None => full,
        Some((count, _)) => *count == EVENTS_PER_ROOM_MAX || (full && last == Some(int(room.0))),
    };
    let left = rooms.iter().filter(|(room, _)| more(room)).copied().collect();
    if news.is_empty() {
        return Ok(left);
    }
    let (entries, removed) = read(context, session, &news).await?;
    let positions: Vec<(i64, i64)> = counts.into_iter().map(|(room, (_, position))| (room, position)).collect();
    write(context, session, &entries, &removed, &positions).await?;
    Ok(left)
}

type Entries = BTreeMap<(i64, i64), Entry>;

/// What is to be entered, and what is to go. Messages are entered as they are now: an edit that is newer than the page
/// comes once more with its own event.
async fn read(context: &Context, session: &Session, news: &[Row]) -> Result<(Entries, Vec<(i64, i64)>), Error> {
    let (mut entries, mut edited, mut removed) = (Entries::new(), BTreeSet::new(), Vec::new());
    let simple = context.language() == SIMPLE;
    let mut enter = |row: &Row| {
        if let Some(text) = row.get::<_, Option<&str>>(6) {
            let (room, author) = (row.get(0), row.get::<_, Option<i64>>(4).unwrap_or(0));
            let words = if simple { document(text, room, author) } else { words(text) };
            entries.insert((room, row.get(1)), Entry { author, at: row.get(5), words });
        }
    };
    for row in news {
        let message = row.get::<_, Option<i64>>(3).map(|parent| (row.get::<_, i64>(0), parent));
        match (EventKind::from_number(row.get(2)), message) {
            (Some(EventKind::Message), _) => enter(row),
            (Some(EventKind::Edit), Some(message)) => drop(edited.insert(message)),
            (Some(EventKind::Delete), Some(message)) => removed.push(message),
            _ => {}
        }
    }
    if !edited.is_empty() {
        let (rooms, seqs): (Vec<i64>, Vec<i64>) = edited.into_iter().unzip();
        session.query(EDITED, &[&rooms, &seqs]).await?.iter().for_each(enter);
    }
    Ok((entries, removed))
}

async fn write(
    context: &Context,
    session: &Session,
    entries: &Entries,
    removed: &[(i64, i64)],
    positions: &[(i64, i64)],
) -> Result<(), Error> {
    let (rooms, seqs): (Vec<i64>, Vec<i64>) = positions.iter().copied().unzip();
    let mut plan = Vec::new();
    push(&mut plan, REMOVE, removed, |rows| vec![column(rows, |(room, _)| *room), column(rows, |(_, seq)| *seq)]);
    let all: Vec<_> = entries.iter().collect();
    let simple = context.language() == SIMPLE;
    push(&mut plan, if simple { INSERT_SIMPLE } else { INSERT }, &all, |rows| {
        let mut params = vec![
            column(rows, |((room, _), _)| *room),
            column(rows, |((_, seq), _)| *seq),
            column(rows, |(_, entry)| entry.author),
            column(rows, |(_, entry)| entry.at),
            column(rows, |(_, entry)| entry.words.clone()),
        ];
        if !simple {
            params.push(Box::new(context.language().to_owned()));
        }
        params
    });
    let position: Planned = planned!(POSITIONS, rooms.clone(), seqs.clone());
    plan.push(position);
    match transact_unflushed(context, session, plan).await {
        Ok(_) => drop(context.meter.search_indexed.fetch_add(entries.len() as u64, Relaxed)),
        Err(error) if fault(&error) == Fault::Data => {
            // Better that these are not found than that nothing is from here on.
            tracing::error!(reason = describe(&error), messages = entries.len(), "messages could not be indexed");
            transact_unflushed(context, session, vec![planned!(POSITIONS, rooms, seqs)]).await?;
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_runs_of_letters_and_digits_in_lower_case() {
        for (text, expected) in [
            ("Hello, World!", "hello world "),
            ("foo_bar-baz@example.com v1.2", "foo bar baz example com v1 2"),
            ("ÄÖ naïve ❤️日本", "äö naïve 日本"),
            ("\u{1}r5", " r5"),
            ("", ""),
        ] {
            assert_eq!(words(text), expected, "{text}");
        }
        let ascii: String = (0..128u8).map(char::from).collect();
        assert_eq!(words(&format!("{ascii}é")), words(&ascii) + "é", "one way for all texts and one for most");
    }

    #[test]
    fn a_document_has_its_words_with_their_places() {
        let document = document(&format!("b a, B {}", "x".repeat(WORD_MAX + 1)), 5, 7);
        assert_eq!(document, "'\u{1}r5' '\u{1}u7' 'a':2 'b':1,3");
        let often = super::document(&"a ".repeat(PLACE_MAX + 9), 5, 7);
        assert_eq!(often.matches(',').count(), PLACES_MAX - 1);
    }

    #[test]
    fn noted_rooms_keep_their_place_until_they_are_done() {
        let pending = Pending::default();
        let room = RoomId;
        assert_eq!(pending.since(), Some(0), "what was before the start is not known");
        pending.looked_up_to(room(0), None);
        assert_eq!(pending.since(), None);
        pending.note([1, 1, 2, 1].map(room).into_iter());
        assert!(pending.take(9, 0).is_empty(), "they have not waited for so long");
        assert_eq!(pending.take(1, i64::MAX).len(), 1);
        pending.put_back(vec![(room(1), 0)]);
        let taken = pending.take(9, i64::MAX);
        assert_eq!(taken.iter().map(|(room, _)| room.0).collect::<Vec<_>>(), [1, 2]);
        pending.note([3, 2].map(room).into_iter());
        pending.put_back(taken);
        assert_eq!(pending.take(9, i64::MAX).iter().map(|(room, _)| room.0).collect::<Vec<_>>(), [1, 2, 3]);
        pending.note((0..=NOTED_MAX as u64).map(room));
        let queued = pending.lock().queue.len();
        assert_eq!((queued, pending.look_after()), (NOTED_MAX, Some(room(0))));
        // A look that was under way does not end the new one.
        pending.looked_up_to(room(7), None);
        assert_eq!(pending.look_after(), Some(room(0)));
    }
}
