//! The inbox of mentions.

use tokio_postgres::{Error, Row};
use veza_engine::id::UserId;
use veza_engine::store::{EventRecord, LoadError, Loaded};

use super::connect::Session;
use super::load_page::cut;
use super::plan::int;
use super::reactions;
use super::rows::{record, record_columns};
use crate::store::shared::{cursor, read_cursor};

macro_rules! newest {
    ($user:literal) => {
        concat!(
            "(SELECT x.room_id, x.seq, x.at FROM mentions x WHERE x.user_id = ",
            $user,
            " AND x.room_id = m.room_id AND x.at <= $2 AND (x.at, x.room_id, x.seq) < ($2, $3, $4)
              ORDER BY x.at DESC, x.seq DESC LIMIT $5)"
        )
    };
}
/// Of each of the user's rooms the newest ones, of these the newest of all. Everybody (user 0) is who was a member then.
const MENTIONS: &str = concat!(
    "SELECT ",
    record_columns!(),
    ", k.at FROM (SELECT DISTINCT n.at, n.room_id, n.seq FROM members m JOIN rooms r ON r.room_id = m.room_id
       CROSS JOIN LATERAL (",
    newest!("$1"),
    " UNION ALL ",
    newest!("0 AND x.at >= m.joined_at"),
    ") AS n WHERE m.user_id = $1 AND r.deleted_at IS NULL ORDER BY n.at DESC, n.room_id DESC, n.seq DESC LIMIT $5) AS k
     JOIN events e ON e.room_id = k.room_id AND e.seq = k.seq LEFT JOIN users u ON u.user_id = e.author_id
     WHERE e.deleted_at IS NULL ORDER BY k.at DESC, k.room_id DESC, k.seq DESC"
);

/// Where a page begins: time, room and message of the last one before it.
pub(super) type From = (i64, i64, i64);

/// Reads a cursor of this query.
pub(super) fn read_from(text: Option<&str>) -> Result<From, LoadError> {
    let Some(position) = read_cursor('n', text)? else { return Ok((i64::MAX, i64::MAX, i64::MAX)) };
    let mut parts = position.split('.').map(|part| part.parse().map_err(|_| LoadError::BadCursor));
    let mut next = || parts.next().unwrap_or(Err(LoadError::BadCursor));
    Ok((next()?, next()?, next()?))
}

/// To [`veza_engine::store::Load::Mentions`].
pub(super) async fn mentions(session: &Session, reader: UserId, limit: u32, from: From) -> Result<Loaded, Error> {
    let params: (i64, i64) = (int(reader.0), i64::from(limit) + 1);
    let mut rows = session.query(MENTIONS, &[&params.0, &from.0, &from.1, &from.2, &params.1]).await?;
    let position = |row: &Row| {
        let (at, room, seq): (i64, i64, i64) = (row.get("at"), row.get(0), row.get(1));
        cursor('n', &format!("{at}.{room}.{seq}"))
    };
    let next = cut(&mut rows, limit, position);
    let mut messages: Vec<EventRecord> = rows.iter().map(record).collect();
    reactions::add_each(session, &mut messages, Some(reader)).await?;
    Ok(Loaded::Messages { messages, next })
}
