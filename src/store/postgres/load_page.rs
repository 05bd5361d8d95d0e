//! Pages of members, rooms and users.

use tokio_postgres::{Error, Row};
use veza_engine::id::{RoomId, Seq, UserId};
use veza_engine::store::{Cursor, Loaded, RoomSummary};
use veza_engine::wire::RoomFilter;

use super::connect::Session;
use super::plan::int;
use super::rows::{alive, boxed, member, meta, meta_columns, uint, user};
use crate::store::shared::{cursor, fold, skeleton};

macro_rules! members {
    ($from:literal, $and:literal) => {
        concat!(
            "SELECT m.user_id, m.role, m.joined_at, m.last_read_seq, m.last_read_no, u.username FROM ",
            $from,
            " JOIN users u ON u.user_id = m.user_id WHERE m.room_id = $1 AND m.user_id > $2 AND ",
            $and,
            " AND ",
            alive!(),
            " ORDER BY m.user_id LIMIT $4"
        )
    };
}
const MEMBERS: &str = members!("members m", "($3::text IS NULL OR m.role = $3)");
/// The few who are more than members have an index of their own.
const MEMBERS_OF_ROLE: &str = members!("members m", "m.role = $3 AND m.role <> 'member'");
const MEMBERS_AMONG: &str = members!(
    "(SELECT DISTINCT unnest($5::bigint[]) AS user_id) AS asked JOIN members m ON m.room_id = $1 AND m.user_id = asked.user_id",
    "($3::text IS NULL OR m.role = $3)"
);

macro_rules! summary {
    ($from:literal) => {
        concat!(
            "SELECT ", meta_columns!(), ", coalesce((SELECT e.seq FROM events e WHERE e.room_id = r.room_id ORDER BY e.seq DESC LIMIT 1), r.floor_seq), r.member_count FROM ",
            $from,
            " AND r.deleted_at IS NULL AND ($2::text IS NULL OR position($2 IN r.name_folded) > 0) ORDER BY r.room_id LIMIT $3"
        )
    };
}
const ROOMS_PUBLIC: &str = summary!("rooms r WHERE r.kind = 0 AND r.visibility = 0 AND r.room_id > $1");
const ROOMS_JOINED: &str =
    summary!("members m JOIN rooms r ON r.room_id = m.room_id WHERE m.user_id = $4 AND r.kind = 0 AND m.room_id > $1");
const ROOMS_INVITED: &str = summary!(
    "invitations i JOIN rooms r ON r.room_id = i.room_id WHERE i.user_id = $4 AND r.kind = 0 AND i.room_id > $1"
);

/// The limits of the prefix are known, so that the index of names gives the page.
const USERS: &str = "SELECT user_id, username, role, created_at, skeleton FROM users
     WHERE skeleton > $1 AND skeleton >= $2 AND skeleton < $3 ORDER BY skeleton LIMIT $4";

/// Drops the row too many that was asked for, and makes the cursor if there was one.
pub(super) fn cut(rows: &mut Vec<Row>, limit: u32, make: impl Fn(&Row) -> Box<str>) -> Cursor {
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    rows.last().filter(|_| more).map(make)
}

/// To [`veza_engine::store::Load::MemberPage`].
pub(super) async fn members(
    session: &Session,
    room_id: RoomId,
    role: Option<&str>,
    among: Option<&[UserId]>,
    limit: u32,
    after: i64,
) -> Result<Loaded, Error> {
    let (room, count) = (int(room_id.0), i64::from(limit) + 1);
    let mut rows = match among {
        None if role.is_some_and(|role| role != "member") => {
            session.query(MEMBERS_OF_ROLE, &[&room, &after, &role, &count]).await?
        }
        None => session.query(MEMBERS, &[&room, &after, &role, &count]).await?,
        Some(users) => {
            let users: Vec<i64> = users.iter().map(|id| int(id.0)).collect();
            session.query(MEMBERS_AMONG, &[&room, &after, &role, &count, &users]).await?
        }
    };
    let next = cut(&mut rows, limit, |row| cursor('m', &uint(row, 0).to_string()));
    Ok(Loaded::MemberPage { members: rows.iter().map(|row| (member(row), boxed(row, 5))).collect(), next })
}

/// To [`veza_engine::store::Load::RoomPage`].
pub(super) async fn rooms(
    session: &Session,
    mix: u64,
    filter: RoomFilter,
    user_id: UserId,
    query: Option<&str>,
    limit: u32,
    after: i64,
) -> Result<Loaded, Error> {
    let count = i64::from(limit) + 1;
    let query = query.map(fold);
    let mut rows = match filter {
        RoomFilter::Public => session.query(ROOMS_PUBLIC, &[&after, &query, &count]).await?,
        RoomFilter::Joined => session.query(ROOMS_JOINED, &[&after, &query, &count, &int(user_id.0)]).await?,
        RoomFilter::Invited => session.query(ROOMS_INVITED, &[&after, &query, &count, &int(user_id.0)]).await?,
    };
    let next = cut(&mut rows, limit, |row| cursor('r', &uint(row, 0).to_string()));
    let summary = |row: &Row| RoomSummary {
        meta: meta(row, mix),
        head: Seq(uint(row, 13)),
        member_count: row.get::<_, i32>(14).cast_unsigned(),
    };
    Ok(Loaded::RoomPage { rooms: rows.iter().map(summary).collect(), next })
}

/// To [`veza_engine::store::Load::UserPage`]. The cursor is the last name's key.
pub(super) async fn users(session: &Session, query: Option<&str>, limit: u32, after: &str) -> Result<Loaded, Error> {
    let low = skeleton(query.unwrap_or_default());
    // Greater than every name that begins so: no name holds this character.
    let high = format!("{low}\u{10ffff}");
    let mut rows = session.query(USERS, &[&after, &low, &high, &(i64::from(limit) + 1)]).await?;
    let next = cut(&mut rows, limit, |row| cursor('u', row.get(4)));
    Ok(Loaded::UserPage { users: rows.iter().map(|row| user(row, 0)).collect(), next })
}
