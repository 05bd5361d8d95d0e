//! Queries about one room: its state, its counts, and earlier commands in it.

use futures_util::future::try_join4;
use tokio_postgres::Error;
use veza_engine::id::{RoomId, Seq, UserId};
use veza_engine::store::{Earlier, EventRecord, Loaded, RoleRow, RoomState, RoomStats, UserRow};
use veza_engine::time::WallMs;
use veza_engine::wire::Permissions;

use super::connect::Session;
use super::load_event::PAGE;
use super::load_standing::standings;
use super::plan::int;
use super::reactions;
use super::rows::{meta, meta_columns, record, record_columns, room_kind, uint, user};

const META: &str = concat!(
    "SELECT ",
    meta_columns!(),
    ", r.member_count, r.floor_seq, r.floor_no, (SELECT count(*) FROM events p WHERE p.room_id = r.room_id AND p.pinned_seq IS NOT NULL),
       ARRAY(SELECT o.name FROM room_roles o WHERE o.room_id = r.room_id ORDER BY o.name),
       ARRAY(SELECT o.permissions FROM room_roles o WHERE o.room_id = r.room_id ORDER BY o.name)
     FROM rooms r WHERE r.room_id = $1 AND r.deleted_at IS NULL"
);
/// Newest first; at least the head, then as many as fit.
const TAIL: &str = concat!(
    "SELECT ", record_columns!(), " FROM (SELECT t.*, sum(octet_length(coalesce(content, '')) + octet_length(coalesce(data, '')) + 100)
       OVER (ORDER BY seq DESC) AS bytes FROM (SELECT * FROM events WHERE room_id = $1 ORDER BY seq DESC LIMIT $2) AS t) AS e
     LEFT JOIN users u ON u.user_id = e.author_id
     WHERE e.bytes <= $3 OR e.seq = (SELECT max(seq) FROM events WHERE room_id = $1) ORDER BY e.seq DESC"
);
/// Of conversations, each with those of the others whom he blocks.
const PARTICIPANTS: &str = "SELECT u.user_id, u.username, u.role, u.created_at,
       ARRAY(SELECT b.blocked_id FROM members o JOIN blocks b ON b.user_id = u.user_id AND b.blocked_id = o.user_id WHERE o.room_id = r.room_id ORDER BY 1)
     FROM rooms r JOIN members m ON m.room_id = r.room_id
     JOIN users u ON u.user_id = m.user_id WHERE r.room_id = $1 AND r.kind = 1 ORDER BY u.user_id";
const CLIENT_EVENT: &str = "SELECT e.seq, e.at, e.client_hash, coalesce(r.kind, 0::smallint) FROM events e LEFT JOIN rooms r ON r.room_id = e.room_id
     WHERE e.room_id = $1 AND e.author_id = $2 AND e.client_id = $3 AND r.deleted_at IS NULL";

/// To [`veza_engine::store::Load::Room`].
pub(super) async fn room(
    session: &Session,
    mix: u64,
    room_id: RoomId,
    tail: u32,
    users: &[UserId],
) -> Result<Loaded, Error> {
    let id = int(room_id.0);
    let (room, participants, newest, standings) = try_join4(
        async { session.query_opt(META, &[&id]).await },
        async { session.query(PARTICIPANTS, &[&id]).await },
        newest(session, room_id, tail),
        standings(session, room_id, users),
    )
    .await?;
    let Some(room) = room else { return Ok(Loaded::Room(None)) };
    let floor = (Seq(uint(&room, 14)), uint(&room, 15));
    let (head, message_no) = newest.first().map_or(floor, |e| (e.row.seq, e.row.message_no));
    let mut tail_events = newest;
    if tail == 0 {
        tail_events.clear();
    }
    tail_events.reverse();
    let participants: Vec<(UserRow, Vec<UserId>)> =
        participants.iter().map(|row| (user(row, 0), super::rows::users(row, 4))).collect();
    let blocks = if participants.len() == 2 {
        participants.iter().flat_map(|(by, blocked)| blocked.iter().map(|id| (by.user_id, *id))).collect()
    } else {
        Vec::new()
    };
    let (names, bits): (Vec<&str>, Vec<i32>) = (room.get(17), room.get(18));
    let role = |(name, bits): (&str, i32)| RoleRow {
        name: name.into(),
        permissions: Permissions::from_bits(bits.cast_unsigned()),
    };
    let state = RoomState {
        meta: meta(&room, mix),
        head,
        message_no,
        member_count: room.get::<_, i32>(13).cast_unsigned(),
        tail: tail_events,
        floor: floor.0,
        standings,
        participants: participants.into_iter().map(|(user, _)| user).collect(),
        roles: names.into_iter().zip(bits).map(role).collect(),
        pinned_count: u32::try_from(room.get::<_, i64>(16)).unwrap_or(u32::MAX),
        blocks,
    };
    Ok(Loaded::Room(Some(Box::new(state))))
}

/// The newest events, the newest one first; at least that one, because it says where the head is.
async fn newest(session: &Session, room_id: RoomId, tail: u32) -> Result<Vec<EventRecord>, Error> {
    let rows = session.query(TAIL, &[&int(room_id.0), &i64::from(tail.max(1)), &PAGE]).await?;
    let mut events: Vec<EventRecord> = rows.iter().map(record).collect();
    if tail > 0 {
        events.reverse();
        reactions::add(session, &mut events, None).await?;
        events.reverse();
    }
    Ok(events)
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

/// Messages of the last hour among which authors are counted.
const ACTIVE_MAX: i64 = 10_000;
const HOUR_MS: i64 = 3_600_000;

/// Counts without counting: message numbers are differences, and only deleted messages and the last hour are walked.
const STATS: &str = "SELECT coalesce(head.message_no, r.floor_no) - r.floor_no
         - (SELECT count(*) FROM events d WHERE d.room_id = r.room_id AND d.deleted_at IS NOT NULL AND d.kind = 1),
       (SELECT count(DISTINCT t.author_id) FROM (SELECT e.author_id FROM events e
          WHERE e.room_id = $1 AND e.seq > veza_seq_before($1, $2) AND e.kind = 1 ORDER BY e.seq DESC LIMIT $4) AS t),
       (SELECT e.at FROM events e WHERE e.room_id = $1 AND e.kind = 1 ORDER BY e.seq DESC LIMIT 1),
       coalesce(head.message_no, r.floor_no)
         - coalesce((SELECT e.message_no FROM events e WHERE e.room_id = $1 AND e.seq = veza_seq_before($1, $3)), r.floor_no)
     FROM rooms r LEFT JOIN LATERAL (SELECT e.message_no FROM events e WHERE e.room_id = r.room_id ORDER BY e.seq DESC LIMIT 1) AS head ON true
     WHERE r.room_id = $1 AND r.deleted_at IS NULL";

/// To [`veza_engine::store::Load::RoomStats`].
pub(super) async fn stats(session: &Session, room_id: RoomId, now: WallMs) -> Result<Loaded, Error> {
    let (hour, day) = (now.0 - HOUR_MS, now.0 - 24 * HOUR_MS);
    let row = session.query_opt(STATS, &[&int(room_id.0), &hour, &day, &ACTIVE_MAX]).await?;
    let count = |row: &tokio_postgres::Row, column| row.get::<_, i64>(column).max(0).cast_unsigned();
    Ok(Loaded::RoomStats(row.map_or_else(RoomStats::default, |row| RoomStats {
        message_count: count(&row, 0),
        active_members_1h: count(&row, 1),
        last_message_at: row.get::<_, Option<i64>>(2).map(WallMs),
        messages_24h: count(&row, 3),
    })))
}
