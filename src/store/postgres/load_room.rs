//! Queries about one room: its state, members, events and messages.

use futures_util::future::try_join3;
use tokio_postgres::Error;
use veza_engine::id::{RoomId, Seq, UserId};
use veza_engine::store::{Earlier, EventRecord, Loaded, MemberRow, RoomState, Standing, UserRow};
use veza_engine::time::WallMs;

use super::connect::Session;
use super::plan::int;
use super::rows::{member, meta, meta_columns, record, record_columns, room_kind, uint, user};
use crate::store::shared::PAGE_BYTES;

/// About as much as a page of events, or a room's tail, may hold.
const PAGE: i64 = PAGE_BYTES as i64;

const META: &str = concat!("SELECT ", meta_columns!(), ", r.member_count FROM rooms r WHERE r.room_id = $1");
/// Newest first; at least the head, then as many as fit.
const TAIL: &str = concat!(
    "SELECT ", record_columns!(), " FROM (SELECT t.*, sum(octet_length(coalesce(content, '')) + octet_length(coalesce(data, '')) + 100)
       OVER (ORDER BY seq DESC) AS bytes FROM (SELECT * FROM events WHERE room_id = $1 ORDER BY seq DESC LIMIT $2) AS t) AS e
     LEFT JOIN users u ON u.user_id = e.author_id
     WHERE e.bytes <= $3 OR e.seq = (SELECT max(seq) FROM events WHERE room_id = $1) ORDER BY e.seq DESC"
);
/// A page ends with the event that fills it: there is always one, if there is any.
const EVENTS: &str = concat!(
    "SELECT ",
    record_columns!(),
    " FROM (SELECT t.*, sum(octet_length(coalesce(content, '')) + octet_length(coalesce(data, '')) + 100)
       OVER (ORDER BY seq ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before
       FROM (SELECT * FROM events WHERE room_id = $1 AND seq > $2 ORDER BY seq LIMIT $3) AS t) AS e
     LEFT JOIN users u ON u.user_id = e.author_id
     WHERE coalesce(e.bytes_before, 0) < $4 ORDER BY e.seq"
);
const BEFORE: &str = concat!(
    "SELECT ",
    record_columns!(),
    " FROM (SELECT * FROM events WHERE room_id = $1 AND seq < $2 AND kind = 1 ORDER BY seq DESC LIMIT $3) AS e
     LEFT JOIN users u ON u.user_id = e.author_id ORDER BY e.seq"
);
const AFTER: &str = concat!(
    "SELECT ",
    record_columns!(),
    " FROM (SELECT * FROM events WHERE room_id = $1 AND seq > $2 AND kind = 1 ORDER BY seq LIMIT $3) AS e
     LEFT JOIN users u ON u.user_id = e.author_id ORDER BY e.seq"
);
const MESSAGE: &str = concat!(
    "SELECT ",
    record_columns!(),
    " FROM events e LEFT JOIN users u ON u.user_id = e.author_id WHERE e.room_id = $1 AND e.seq = $2 AND e.kind = 1"
);
/// The stored position, or the member's own latest message beyond the checkpoint.
const MEMBERS: &str = "SELECT m.user_id, m.role, m.joined_at, greatest(m.last_read_seq, own.seq), greatest(m.last_read_no, own.message_no)
     FROM unnest($2::bigint[]) AS asked(user_id)
     JOIN members m ON m.room_id = $1 AND m.user_id = asked.user_id
     LEFT JOIN (SELECT e.author_id, max(e.seq) AS seq, max(e.message_no) AS message_no FROM events e
       WHERE e.room_id = $1 AND e.seq > (SELECT read_checkpoint FROM rooms WHERE room_id = $1) AND e.kind = 1 AND e.author_id = ANY ($2)
       GROUP BY e.author_id) AS own ON own.author_id = m.user_id";
const PARTICIPANTS: &str =
    "SELECT u.user_id, u.username, u.role, u.created_at FROM rooms r JOIN members m ON m.room_id = r.room_id
     JOIN users u ON u.user_id = m.user_id WHERE r.room_id = $1 AND r.kind = 1 ORDER BY u.user_id";
const CLIENT_EVENT: &str = "SELECT e.seq, e.at, e.client_hash, coalesce(r.kind, 0::smallint) FROM events e LEFT JOIN rooms r ON r.room_id = e.room_id
     WHERE e.room_id = $1 AND e.author_id = $2 AND e.client_id = $3";

/// To [`veza_engine::store::Load::Room`].
pub(super) async fn room(
    session: &Session,
    mix: u64,
    room_id: RoomId,
    tail: u32,
    users: &[UserId],
) -> Result<Loaded, Error> {
    let id = int(room_id.0);
    // The head comes with the tail: at least one event is asked for.
    let limit = i64::from(tail.max(1));
    let about = async {
        let (room, participants) =
            futures_util::future::try_join(session.query_opt(META, &[&id]), session.query(PARTICIPANTS, &[&id]))
                .await?;
        Ok((room, participants))
    };
    let ((room, participants), newest, members) = try_join3(
        about,
        async { session.query(TAIL, &[&id, &limit, &PAGE]).await },
        standings(session, room_id, users),
    )
    .await?;
    let Some(room) = room else { return Ok(Loaded::Room(None)) };
    let mut events: Vec<EventRecord> = newest.iter().map(record).collect();
    let (head, message_no) = events.first().map_or((Seq(0), 0), |e| (e.row.seq, e.row.message_no));
    if tail == 0 {
        events.clear();
    }
    events.reverse();
    let state = RoomState {
        meta: meta(&room, mix),
        head,
        message_no,
        member_count: room.get::<_, i32>(13).cast_unsigned(),
        tail: events,
        floor: Seq(0),
        standings: members,
        participants: participants.iter().map(|row| user(row, 0)).collect::<Vec<UserRow>>(),
        roles: Vec::new(),
        pinned_count: 0,
        blocks: Vec::new(),
    };
    Ok(Loaded::Room(Some(Box::new(state))))
}

/// To [`veza_engine::store::Load::Members`].
pub(super) async fn standings(session: &Session, room_id: RoomId, users: &[UserId]) -> Result<Vec<Standing>, Error> {
    let members = member_rows(session, room_id, users).await?;
    let ids: Vec<i64> = users.iter().map(|id| int(id.0)).collect();
    let sql = "SELECT user_id, username, role, created_at FROM users WHERE user_id = ANY ($1) ORDER BY user_id";
    let known = session.query(sql, &[&ids]).await?;
    let standing = |user: UserRow| Standing {
        user_id: user.user_id,
        username: user.username,
        member: members.iter().find(|member| member.user_id == user.user_id).cloned(),
        invited: false,
        sanctions: Vec::new(),
    };
    Ok(known.iter().map(|row| standing(user(row, 0))).collect())
}

async fn member_rows(session: &Session, room_id: RoomId, users: &[UserId]) -> Result<Vec<MemberRow>, Error> {
    if users.is_empty() {
        return Ok(Vec::new());
    }
    let mut ids: Vec<i64> = users.iter().map(|id| int(id.0)).collect();
    ids.sort_unstable();
    ids.dedup();
    Ok(session.query(MEMBERS, &[&int(room_id.0), &ids]).await?.iter().map(member).collect())
}

/// To [`veza_engine::store::Load::Events`].
pub(super) async fn events(session: &Session, room_id: RoomId, after: Seq, limit: u32) -> Result<Loaded, Error> {
    let rows = session.query(EVENTS, &[&int(room_id.0), &int(after.0), &i64::from(limit), &PAGE]).await?;
    Ok(Loaded::Events(rows.iter().map(record).collect()))
}

/// To [`veza_engine::store::Load::HistoryBefore`].
pub(super) async fn history_before(
    session: &Session,
    room_id: RoomId,
    before: Option<Seq>,
    limit: u32,
) -> Result<Loaded, Error> {
    let before = before.map_or(i64::MAX, |seq| int(seq.0));
    let rows = session.query(BEFORE, &[&int(room_id.0), &before, &(i64::from(limit) + 1)]).await?;
    let mut messages: Vec<EventRecord> = rows.iter().map(record).collect();
    let more = messages.len() > limit as usize;
    if more {
        messages.remove(0);
    }
    Ok(Loaded::History { messages, more })
}

/// To [`veza_engine::store::Load::HistoryAfter`].
pub(super) async fn history_after(session: &Session, room_id: RoomId, after: Seq, limit: u32) -> Result<Loaded, Error> {
    let rows = session.query(AFTER, &[&int(room_id.0), &int(after.0), &(i64::from(limit) + 1)]).await?;
    let mut messages: Vec<EventRecord> = rows.iter().map(record).collect();
    let more = messages.len() > limit as usize;
    messages.truncate(limit as usize);
    Ok(Loaded::History { messages, more })
}

/// To [`veza_engine::store::Load::Message`].
pub(super) async fn message(session: &Session, room_id: RoomId, id: Seq) -> Result<Loaded, Error> {
    let row = session.query_opt(MESSAGE, &[&int(room_id.0), &int(id.0)]).await?;
    Ok(Loaded::Message(row.as_ref().map(record).map(Box::new)))
}

/// To [`veza_engine::store::Load::ClientEvent`].
pub(super) async fn client_event(
    session: &Session,
    room_id: RoomId,
    user_id: UserId,
    client_id: &str,
) -> Result<Loaded, Error> {
    let row = session.query_opt(CLIENT_EVENT, &[&int(room_id.0), &int(user_id.0), &client_id]).await?;
    Ok(Loaded::ClientEvent(row.map(|row| Earlier {
        room_id,
        kind: room_kind(row.get(3)),
        seq: Seq(uint(&row, 0)),
        at: WallMs(row.get(1)),
        hash: row.get::<_, Option<i64>>(2).map(i64::cast_unsigned),
    })))
}
