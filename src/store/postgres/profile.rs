//! What the homes of users need to know of them: many at a time, so that a storm of clients costs a few queries.

use std::collections::HashMap;

use futures_util::future::try_join3;
use tokio_postgres::Error;
use veza_engine::id::{RoomId, UserId};
use veza_engine::store::{CONTACTS_MAX, Loaded, Profile, UserRow};
use veza_engine::time::WallMs;
use veza_engine::wire::Status;

use super::connect::Session;
use super::plan::int;
use super::rows::{boxed_opt, uint, user, users};

const PRESENCE: &str = "SELECT p.user_id, p.status, p.message, p.last_seen_at FROM unnest($1::bigint[]) AS a(user_id) JOIN user_presence p ON p.user_id = a.user_id";
const BLOCKS: &str = "SELECT a.user_id, b.blocked_id FROM unnest($1::bigint[]) AS a(user_id) JOIN blocks b ON b.user_id = a.user_id ORDER BY 1, 2";
/// Ids of rooms grow: the newest conversations have the highest.
const CONTACTS: &str = "SELECT a.user_id, c.room_id, ARRAY(SELECT o.user_id FROM members o WHERE o.room_id = c.room_id AND o.user_id <> a.user_id ORDER BY 1)
     FROM unnest($1::bigint[]) AS a(user_id)
     CROSS JOIN LATERAL (SELECT m.room_id FROM members m JOIN rooms r ON r.room_id = m.room_id
       WHERE m.user_id = a.user_id AND r.kind = 1 AND r.deleted_at IS NULL ORDER BY m.room_id DESC LIMIT $2) AS c";

/// The profiles of these users, in their order.
pub(super) async fn profiles(session: &Session, asked: &[UserId]) -> Result<Vec<Profile>, Error> {
    let mut ids: Vec<i64> = asked.iter().map(|id| int(id.0)).collect();
    ids.sort_unstable();
    ids.dedup();
    let most = int(CONTACTS_MAX as u64);
    let (presence, blocks, contacts) = try_join3(
        async { session.query(PRESENCE, &[&ids]).await },
        async { session.query(BLOCKS, &[&ids]).await },
        async { session.query(CONTACTS, &[&ids, &most]).await },
    )
    .await?;
    let mut known: HashMap<u64, Profile> = HashMap::with_capacity(ids.len());
    for row in &presence {
        let profile = known.entry(uint(row, 0)).or_default();
        profile.status = status(row.get(1));
        profile.message = boxed_opt(row, 2);
        profile.last_seen_at = row.get::<_, Option<i64>>(3).map(WallMs);
    }
    for row in &blocks {
        known.entry(uint(row, 0)).or_default().blocks.push(UserId(uint(row, 1)));
    }
    for row in &contacts {
        known.entry(uint(row, 0)).or_default().contacts.push((RoomId(uint(row, 1)), users(row, 2)));
    }
    Ok(asked.iter().map(|id| known.get(&id.0).cloned().unwrap_or_default()).collect())
}

fn status(number: i16) -> Status {
    Status::WORDS
        .into_iter()
        .map(|(_, status)| status)
        .find(|status| i16::from(*status as u8) == number)
        .unwrap_or_default()
}

const BLOCKED: &str =
    "SELECT u.user_id, u.username, u.role, u.created_at, b.at FROM blocks b JOIN users u ON u.user_id = b.blocked_id
     WHERE b.user_id = $1 ORDER BY u.user_id";

/// To [`veza_engine::store::Load::Blocks`].
pub(super) async fn blocks(session: &Session, user_id: UserId) -> Result<Loaded, Error> {
    let rows = session.query(BLOCKED, &[&int(user_id.0)]).await?;
    let blocked: Vec<(UserRow, WallMs)> = rows.iter().map(|row| (user(row, 0), WallMs(row.get(4)))).collect();
    Ok(Loaded::Blocks(blocked))
}
