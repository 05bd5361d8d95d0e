//! The reactions to messages: for a whole page of them with one statement, and by name for one.

use tokio_postgres::{Error, Row};
use veza_engine::id::{RoomId, Seq, UserId};
use veza_engine::store::{EventKind, EventRecord, Loaded, REACTORS_MAX, Reaction, ReactionRow};

use super::connect::Session;
use super::plan::int;
use super::rows::{alive, boxed, uint, users};

/// Users named by `get_reactions`.
const NAMED_MAX: i64 = 100;

macro_rules! reactions {
    ($from:literal) => {
        concat!(
            "SELECT c.room_id, c.message_id, c.emoji, c.count,
               ARRAY(SELECT x.user_id FROM reactions x WHERE x.room_id = c.room_id AND x.message_id = c.message_id AND x.emoji = c.emoji
                     ORDER BY x.user_id LIMIT $1),
               EXISTS (SELECT FROM reactions x WHERE x.room_id = c.room_id AND x.message_id = c.message_id AND x.emoji = c.emoji AND x.user_id = $2)
             FROM ",
            $from,
            " ORDER BY c.room_id, c.message_id, c.first_seq"
        )
    };
}
/// A page of one room's log: one walk through the index, mostly over nothing.
const OF_RANGE: &str = reactions!("reaction_counts c WHERE c.room_id = $3 AND c.message_id BETWEEN $4 AND $5");
/// Messages from anywhere.
const OF_LIST: &str = reactions!(
    "unnest($3::bigint[], $4::bigint[]) AS a(room_id, message_id)
     JOIN reaction_counts c ON c.room_id = a.room_id AND c.message_id = a.message_id"
);
const BY_NAME: &str = concat!(
    "SELECT c.emoji, c.count, n.user_id, n.username FROM reaction_counts c
     LEFT JOIN LATERAL (SELECT x.user_id, u.username FROM reactions x JOIN users u ON u.user_id = x.user_id
       WHERE x.room_id = c.room_id AND x.message_id = c.message_id AND x.emoji = c.emoji ORDER BY x.user_id LIMIT $3) AS n ON true
     WHERE c.room_id = $1 AND c.message_id = $2 AND ",
    alive!(),
    " ORDER BY c.first_seq, c.emoji, n.user_id"
);

/// Enters the reactions into these records, all of one room and ascending, with all messages of the room between the
/// first and the last of them.
pub(super) async fn add(session: &Session, page: &mut [EventRecord], reader: Option<UserId>) -> Result<(), Error> {
    let messages = || page.iter().filter(|record| record.row.kind == EventKind::Message);
    let (Some(first), Some(last)) = (messages().next(), messages().next_back()) else { return Ok(()) };
    let (room, low, high) = (int(first.row.room_id.0), int(first.row.seq.0), int(last.row.seq.0));
    let rows = session.query(OF_RANGE, &[&limit(), &id(reader), &room, &low, &high]).await?;
    enter(page, &rows, reader);
    Ok(())
}

/// Enters the reactions into these records, whatever they are.
pub(super) async fn add_each(session: &Session, page: &mut [EventRecord], reader: Option<UserId>) -> Result<(), Error> {
    if page.is_empty() {
        return Ok(());
    }
    let (rooms, seqs): (Vec<i64>, Vec<i64>) = page.iter().map(|e| (int(e.row.room_id.0), int(e.row.seq.0))).unzip();
    let rows = session.query(OF_LIST, &[&limit(), &id(reader), &rooms, &seqs]).await?;
    enter(page, &rows, reader);
    Ok(())
}

fn limit() -> i64 {
    int(REACTORS_MAX as u64)
}

fn id(reader: Option<UserId>) -> i64 {
    reader.map_or(0, |user| int(user.0))
}

fn enter(page: &mut [EventRecord], rows: &[Row], reader: Option<UserId>) {
    for row in rows {
        let (room, seq) = (RoomId(uint(row, 0)), Seq(uint(row, 1)));
        let Some(record) = page.iter_mut().find(|e| e.row.room_id == room && e.row.seq == seq) else { continue };
        let mut reacted = users(row, 4);
        if let Some(reader) = reader.filter(|user| row.get(5) && !reacted.contains(user)) {
            // He stands beyond the last one named.
            reacted.push(reader);
        }
        let reaction = Reaction { emoji: boxed(row, 2), count: row.get::<_, i32>(3).cast_unsigned(), users: reacted };
        record.state.get_or_insert_default().reactions.push(reaction);
    }
}

/// To [`veza_engine::store::Load::Reactions`].
pub(super) async fn by_name(session: &Session, room_id: RoomId, message_id: Seq) -> Result<Loaded, Error> {
    let rows = session.query(BY_NAME, &[&int(room_id.0), &int(message_id.0), &NAMED_MAX]).await?;
    let mut all: Vec<ReactionRow> = Vec::new();
    for row in &rows {
        let emoji: &str = row.get(0);
        if all.last().is_none_or(|last| &*last.emoji != emoji) {
            let count = row.get::<_, i32>(1).cast_unsigned();
            all.push(ReactionRow { emoji: emoji.into(), count, users: Vec::new() });
        }
        if let (Some(last), Some(user)) = (all.last_mut(), row.get::<_, Option<i64>>(2)) {
            last.users.push((UserId(user.cast_unsigned()), boxed(row, 3)));
        }
    }
    Ok(Loaded::Reactions(all))
}
