//! Queries about how users stand in a room: memberships, invitations, sanctions, names.

use futures_util::future::try_join;
use tokio_postgres::{Error, Row};
use veza_engine::id::{RoomId, Seq, UserId};
use veza_engine::store::{Loaded, MemberRow, SanctionRow, Standing};
use veza_engine::time::WallMs;

use super::connect::Session;
use super::load_page::cut;
use super::plan::int;
use super::rows::{alive, boxed, sanction, sanction_columns, uint};
use crate::store::report::wall_now;
use crate::store::shared::cursor;

/// The read position is the stored one, or the member's own latest message beyond the checkpoint.
const STANDINGS: &str = "SELECT u.user_id, u.username, m.role, m.joined_at, greatest(m.last_read_seq, own.seq), greatest(m.last_read_no, own.message_no),
       EXISTS (SELECT FROM invitations i WHERE i.room_id = r.room_id AND i.user_id = u.user_id)
     FROM rooms r CROSS JOIN unnest($2::bigint[]) AS asked(user_id)
     JOIN users u ON u.user_id = asked.user_id
     LEFT JOIN members m ON m.room_id = r.room_id AND m.user_id = u.user_id
     LEFT JOIN LATERAL (SELECT e.seq, e.message_no FROM events e WHERE e.room_id = m.room_id
       AND e.seq > greatest(r.read_checkpoint, m.last_read_seq) AND e.author_id = m.user_id AND e.kind = 1
       ORDER BY e.seq DESC LIMIT 1) AS own ON true
     WHERE r.room_id = $1 AND r.deleted_at IS NULL ORDER BY u.user_id";
const IN_FORCE: &str = concat!(
    "SELECT ",
    sanction_columns!(),
    " FROM sanctions s WHERE s.room_id = $1 AND s.user_id = ANY ($2) AND s.lifted_at IS NULL AND s.kind IN (2, 4)
     AND (s.expires_at IS NULL OR s.expires_at > $3) ORDER BY s.sanction_id"
);
const NAMES: &str = concat!(
    "SELECT u.skeleton, u.user_id FROM (SELECT DISTINCT unnest($2::text[]) AS name) AS asked
     JOIN users u ON u.skeleton = asked.name JOIN members m ON m.room_id = $1 AND m.user_id = u.user_id
     WHERE ",
    alive!(),
    " ORDER BY u.user_id"
);

/// What is known of these users in this room; nothing where the room is not.
pub(super) async fn standings(session: &Session, room_id: RoomId, users: &[UserId]) -> Result<Vec<Standing>, Error> {
    if users.is_empty() {
        return Ok(Vec::new());
    }
    let mut ids: Vec<i64> = users.iter().map(|id| int(id.0)).collect();
    ids.sort_unstable();
    ids.dedup();
    let (room, now) = (int(room_id.0), wall_now().0);
    let (people, sanctions) = try_join(async { session.query(STANDINGS, &[&room, &ids]).await }, async {
        session.query(IN_FORCE, &[&room, &ids, &now]).await
    })
    .await?;
    let mut standings: Vec<Standing> = people.iter().map(standing).collect();
    for row in sanctions.iter().map(sanction) {
        if let Some(standing) = standings.iter_mut().find(|standing| standing.user_id == row.user_id) {
            standing.sanctions.push(row);
        }
    }
    Ok(standings)
}

fn standing(row: &Row) -> Standing {
    let user_id = UserId(uint(row, 0));
    let member = row.get::<_, Option<&str>>(2).map(|role| MemberRow {
        user_id,
        role: role.into(),
        joined_at: WallMs(row.get(3)),
        last_read_seq: Seq(uint(row, 4)),
        last_read_no: uint(row, 5),
    });
    Standing { user_id, username: boxed(row, 1), member, invited: row.get(6), sanctions: Vec::new() }
}

/// To [`veza_engine::store::Load::Names`].
pub(super) async fn names(session: &Session, room_id: RoomId, names: &[Box<str>]) -> Result<Loaded, Error> {
    let names: Vec<&str> = names.iter().map(|name| &**name).collect();
    let rows = session.query(NAMES, &[&int(room_id.0), &names]).await?;
    Ok(Loaded::Names(rows.iter().map(|row| (boxed(row, 0), UserId(uint(row, 1)))).collect()))
}

macro_rules! sanctions {
    ($of:literal) => {
        concat!(
            "SELECT ", sanction_columns!(), ", coalesce(u.username, '') FROM sanctions s LEFT JOIN users u ON u.user_id = s.user_id
             LEFT JOIN rooms r ON r.room_id = s.room_id WHERE r.deleted_at IS NULL AND (s.at, s.sanction_id) < ($1, $2) AND ", $of,
            " AND ($3::boolean IS NULL OR $3 = (s.lifted_at IS NULL AND s.kind IN (2, 4) AND (s.expires_at IS NULL OR s.expires_at > $4)))
             ORDER BY s.at DESC, s.sanction_id DESC LIMIT $5"
        )
    };
}
const OF_ROOM: &str = sanctions!("s.room_id = $6");
const OF_USER: &str = sanctions!("s.user_id = $6");
const OF_BOTH: &str = sanctions!("s.room_id = $6 AND s.user_id = $7");
const OF_ALL: &str = sanctions!("true");
const ONE: &str = concat!(
    "SELECT ",
    sanction_columns!(),
    " FROM sanctions s LEFT JOIN rooms r ON r.room_id = s.room_id WHERE s.sanction_id = $1 AND r.deleted_at IS NULL"
);

/// What a page of sanctions is to hold.
pub(super) struct SanctionsAsked {
    pub(super) room_id: Option<RoomId>,
    pub(super) user_id: Option<UserId>,
    pub(super) active: Option<bool>,
    pub(super) now: WallMs,
    pub(super) limit: u32,
    /// Time and id of the last one of the page before.
    pub(super) from: (i64, i64),
}

/// To [`veza_engine::store::Load::Sanctions`].
pub(super) async fn sanctions(session: &Session, asked: SanctionsAsked) -> Result<Loaded, Error> {
    let ((at, id), count) = (asked.from, i64::from(asked.limit) + 1);
    let (active, now) = (asked.active, asked.now.0);
    let (room, user) = (asked.room_id.map(|id| int(id.0)), asked.user_id.map(|id| int(id.0)));
    let mut rows = match (room, user) {
        (Some(room), Some(user)) => session.query(OF_BOTH, &[&at, &id, &active, &now, &count, &room, &user]).await?,
        (Some(room), None) => session.query(OF_ROOM, &[&at, &id, &active, &now, &count, &room]).await?,
        (None, Some(user)) => session.query(OF_USER, &[&at, &id, &active, &now, &count, &user]).await?,
        (None, None) => session.query(OF_ALL, &[&at, &id, &active, &now, &count]).await?,
    };
    let next = cut(&mut rows, asked.limit, |row| cursor('s', &format!("{}.{}", row.get::<_, i64>(6), uint(row, 0))));
    Ok(Loaded::Sanctions { sanctions: rows.iter().map(|row| (sanction(row), boxed(row, 10))).collect(), next })
}

/// To [`veza_engine::store::Load::Sanction`].
pub(super) async fn one_sanction(session: &Session, id: u64) -> Result<Loaded, Error> {
    let row = session.query_opt(ONE, &[&int(id)]).await?;
    Ok(Loaded::Sanction(row.map(|row| -> Box<SanctionRow> { Box::new(sanction(&row)) })))
}
