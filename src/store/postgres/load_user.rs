//! Queries about one user's rooms and conversations, and what a creation needs to know.

use futures_util::future::{try_join, try_join4};
use tokio_postgres::{Error, Row};
use veza_engine::id::{RoomId, Seq, UserId};
use veza_engine::store::{DmSummary, Earlier, EventRecord, LoadError, Loaded, UnreadRow};
use veza_engine::time::WallMs;

use super::connect::Session;
use super::plan::int;
use super::reactions;
use super::rows::{record, record_columns, room_kind, uint, user};
use crate::store::shared::{cursor, mix_epoch, read_cursor};

/// A user's rooms with head and position: the stored one, or the own latest message beyond the checkpoint.
macro_rules! unread_from {
    () => {
        " FROM members m JOIN rooms r ON r.room_id = m.room_id AND r.deleted_at IS NULL
          LEFT JOIN LATERAL (SELECT e.seq, e.message_no, e.at FROM events e WHERE e.room_id = m.room_id ORDER BY e.seq DESC LIMIT 1) AS head ON true
          LEFT JOIN LATERAL (SELECT e.seq, e.message_no FROM events e WHERE e.room_id = m.room_id
            AND e.seq > greatest(r.read_checkpoint, m.last_read_seq) AND e.author_id = m.user_id AND e.kind = 1
            ORDER BY e.seq DESC LIMIT 1) AS own ON true"
    };
}
macro_rules! unread_columns {
    () => {
        "r.room_id, r.kind, r.epoch, coalesce(head.seq, r.floor_seq), greatest(m.last_read_seq, own.seq),
         coalesce(head.message_no, r.floor_no) - greatest(m.last_read_no, own.message_no),
         (SELECT count(DISTINCT x.seq) FROM mentions x WHERE x.user_id = ANY (ARRAY[m.user_id, 0]) AND x.room_id = m.room_id
            AND x.seq > greatest(m.last_read_seq, own.seq) AND (x.user_id <> 0 OR x.at >= m.joined_at))"
    };
}

const UNREAD: &str = concat!("SELECT ", unread_columns!(), unread_from!(), " WHERE m.user_id = $1 ORDER BY r.room_id");
const DMS: &str = concat!(
    "SELECT * FROM (SELECT ",
    unread_columns!(),
    ", coalesce(head.at, r.created_at) AS active, r.room_id AS id",
    unread_from!(),
    " WHERE m.user_id = $1 AND r.kind = 1) AS t WHERE (active, id) < ($2, $3) ORDER BY active DESC, id DESC LIMIT $4"
);
const PARTICIPANTS: &str =
    "SELECT m.room_id, u.user_id, u.username, u.role, u.created_at, EXISTS (SELECT FROM blocks b WHERE b.user_id = $2 AND b.blocked_id = m.user_id)
     FROM members m JOIN users u ON u.user_id = m.user_id
     WHERE m.room_id = ANY ($1) ORDER BY m.room_id, u.user_id";
const LAST_MESSAGES: &str = concat!(
    "SELECT ", record_columns!(), " FROM unnest($1::bigint[]) AS asked(room_id)
     CROSS JOIN LATERAL (SELECT * FROM events x WHERE x.room_id = asked.room_id AND x.kind = 1 ORDER BY x.seq DESC LIMIT 1) AS e
     LEFT JOIN users u ON u.user_id = e.author_id"
);
const CREATED: &str = "SELECT count(*) FROM rooms WHERE creator_id = $1 AND kind = 0 AND deleted_at IS NULL";
const BY_CLIENT: &str =
    "SELECT room_id, kind, created_at, client_hash FROM rooms WHERE creator_id = $1 AND client_id = $2";
const BY_PAIR: &str = "SELECT r.room_id, r.kind, r.created_at, NULL::bigint FROM dm_pairs p JOIN rooms r ON r.room_id = p.room_id WHERE p.lo = $1 AND p.hi = $2";
const USERS: &str = "SELECT user_id, username, role, created_at, EXISTS (SELECT FROM blocks b WHERE b.user_id = users.user_id AND b.blocked_id = $2)
     FROM users WHERE user_id = ANY ($1) ORDER BY user_id";

fn unread_row(row: &Row, mix: u64) -> UnreadRow {
    UnreadRow {
        room_id: RoomId(uint(row, 0)),
        kind: room_kind(row.get(1)),
        epoch: mix_epoch(uint(row, 2), mix),
        head: Seq(uint(row, 3)),
        last_read_seq: Seq(uint(row, 4)),
        unread_count: row.get::<_, i64>(5).max(0).cast_unsigned(),
        mention_count: row.get::<_, i64>(6).max(0).cast_unsigned(),
    }
}

/// To [`veza_engine::store::Load::Unread`].
pub(super) async fn unread(session: &Session, mix: u64, user_id: UserId) -> Result<Loaded, Error> {
    let rows = session.query(UNREAD, &[&int(user_id.0)]).await?;
    Ok(Loaded::Unread(rows.iter().map(|row| unread_row(row, mix)).collect()))
}

/// Where a page in the order of time begins: time and id of the last one before it.
pub(super) fn read_time_cursor(kind: char, text: Option<&str>) -> Result<(i64, i64), LoadError> {
    let Some(position) = read_cursor(kind, text)? else { return Ok((i64::MAX, i64::MAX)) };
    let (active, id) = position.split_once('.').ok_or(LoadError::BadCursor)?;
    active.parse().ok().zip(id.parse().ok()).ok_or(LoadError::BadCursor)
}

fn dm_cursor(row: &Row) -> Box<str> {
    cursor('d', &format!("{}.{}", row.get::<_, i64>(7), row.get::<_, i64>(8)))
}

/// To [`veza_engine::store::Load::DmPage`].
pub(super) async fn dm_page(
    session: &Session,
    mix: u64,
    user_id: UserId,
    limit: u32,
    from: (i64, i64),
) -> Result<Loaded, Error> {
    let mut rows = session.query(DMS, &[&int(user_id.0), &from.0, &from.1, &(i64::from(limit) + 1)]).await?;
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let next = rows.last().filter(|_| more).map(dm_cursor);
    let ids: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    let (participants, last) = try_join(async { session.query(PARTICIPANTS, &[&ids, &int(user_id.0)]).await }, async {
        session.query(LAST_MESSAGES, &[&ids]).await
    })
    .await?;
    let mut last: Vec<EventRecord> = last.iter().map(record).collect();
    reactions::add_each(session, &mut last, Some(user_id)).await?;
    let conversations = rows.iter().map(|row| {
        let unread = unread_row(row, mix);
        let of_it: Vec<&Row> = participants.iter().filter(|p| uint(p, 0) == unread.room_id.0).collect();
        let position = last.iter().position(|e| e.row.room_id == unread.room_id);
        DmSummary {
            unread,
            is_blocked: of_it.len() == 2 && of_it.iter().any(|p| p.get(5)),
            users: of_it.into_iter().map(|p| user(p, 1)).collect(),
            last_message: position.map(|index| last.swap_remove(index)),
        }
    });
    Ok(Loaded::DmPage { conversations: conversations.collect(), next })
}

/// To [`veza_engine::store::Load::Creation`].
pub(super) async fn creation(
    session: &Session,
    user_id: UserId,
    client_id: Option<&str>,
    pair: Option<(UserId, UserId)>,
    users: &[UserId],
) -> Result<Loaded, Error> {
    let creator = int(user_id.0);
    let ids: Vec<i64> = users.iter().map(|id| int(id.0)).collect();
    let by_client = async {
        match client_id {
            Some(id) => session.query_opt(BY_CLIENT, &[&creator, &id]).await,
            None => Ok(None),
        }
    };
    let by_pair = async {
        match pair {
            Some((low, high)) => session.query_opt(BY_PAIR, &[&int(low.0), &int(high.0)]).await,
            None => Ok(None),
        }
    };
    let (created, by_client, by_pair, users) =
        try_join4(async { session.query(CREATED, &[&creator]).await }, by_client, by_pair, async {
            session.query(USERS, &[&ids, &creator]).await
        })
        .await?;
    Ok(Loaded::Creation {
        created_rooms: created.first().map_or(0, |row| u32::try_from(row.get::<_, i64>(0)).unwrap_or(u32::MAX)),
        by_client: by_client.as_ref().map(earlier),
        by_pair: by_pair.as_ref().map(earlier),
        users: users.iter().map(|row| user(row, 0)).collect(),
        blocked_by: users.iter().filter(|row| row.get(4)).map(|row| UserId(uint(row, 0))).collect(),
    })
}

fn earlier(row: &Row) -> Earlier {
    Earlier {
        room_id: RoomId(uint(row, 0)),
        kind: room_kind(row.get(1)),
        seq: Seq(0),
        at: WallMs(row.get(2)),
        hash: row.get::<_, Option<i64>>(3).map(i64::cast_unsigned),
    }
}

const USER: &str = "SELECT user_id, username, role, created_at FROM users WHERE user_id = $1";
const RESERVE: &str = "UPDATE id_blocks SET next = next + $1 WHERE name = 'room' RETURNING next - $1";

/// To [`veza_engine::store::Load::User`].
pub(super) async fn user_by_id(session: &Session, user_id: UserId) -> Result<Loaded, Error> {
    let row = session.query_opt(USER, &[&int(user_id.0)]).await?;
    Ok(Loaded::User(row.map(|row| user(&row, 0))))
}

/// To [`veza_engine::store::Load::ReserveRooms`].
pub(super) async fn reserve_rooms(session: &Session, count: u32) -> Result<Loaded, Error> {
    let rows = session.query(RESERVE, &[&i64::from(count)]).await?;
    Ok(Loaded::Reserved(rows.first().map_or(0, |row| uint(row, 0))))
}
