//! Rows as the engine's types.

use tokio_postgres::Row;
use veza_engine::id::{RoomId, Seq, UserId};
use veza_engine::store::{
    EventKind, EventRecord, EventRow, MemberRow, MessageState, RoomKind, RoomMeta, SanctionRow, UserRow,
};
use veza_engine::time::WallMs;
use veza_engine::wire::{ClientKey, SanctionKind, Visibility};

use crate::store::shared::mix_epoch;

/// Columns of an event with its author's name, for [`record`]: events as `e`, users as `u`.
macro_rules! record_columns {
    () => {
        "e.room_id, e.seq, e.kind, e.at, e.message_no, e.author_id, e.client_id, e.client_hash, e.content, e.parent_id, e.data, u.username, e.mentions, e.reason, e.edit_count, e.edited_at, e.deleted_at, e.pinned_seq, e.thread_count"
    };
}
/// Columns of a room, for [`meta`]: rooms as `r`.
macro_rules! meta_columns {
    () => {
        "r.room_id, r.kind, r.epoch, r.name, r.description, r.topic, r.visibility, r.owner_id, r.max_members, r.slow_mode_s, r.retention_days, r.archived, r.created_at"
    };
}
/// A condition on the room $1: deleted ones show nothing.
macro_rules! alive {
    () => {
        "NOT EXISTS (SELECT FROM rooms gone WHERE gone.room_id = $1 AND gone.deleted_at IS NOT NULL)"
    };
}
pub(super) use {alive, meta_columns, record_columns};

/// An id, position or count below 2^53, never negative in our tables.
pub(super) fn uint(row: &Row, column: usize) -> u64 {
    row.get::<_, i64>(column).cast_unsigned()
}

pub(super) fn boxed(row: &Row, column: usize) -> Box<str> {
    row.get::<_, &str>(column).into()
}

pub(super) fn boxed_opt(row: &Row, column: usize) -> Option<Box<str>> {
    row.get::<_, Option<&str>>(column).map(Into::into)
}

fn small(row: &Row, column: usize) -> u32 {
    row.get::<_, i32>(column).cast_unsigned()
}

/// Kinds that a later version wrote read as `void`: they keep their place.
fn event_kind(number: i16) -> EventKind {
    EventKind::from_number(number).unwrap_or(EventKind::Void)
}

pub(super) fn room_kind(number: i16) -> RoomKind {
    if number == RoomKind::Dm as i16 { RoomKind::Dm } else { RoomKind::Room }
}

/// An event without the reactions to it, which come by [`super::reactions::add`].
pub(super) fn record(row: &Row) -> EventRecord {
    let hash = row.get::<_, Option<i64>>(7).map(i64::cast_unsigned);
    let client = boxed_opt(row, 6).zip(hash).map(|(id, hash)| ClientKey { id: id.into(), hash });
    EventRecord {
        row: EventRow {
            room_id: RoomId(uint(row, 0)),
            seq: Seq(uint(row, 1)),
            kind: event_kind(row.get(2)),
            at: WallMs(row.get(3)),
            message_no: uint(row, 4),
            author_id: row.get::<_, Option<i64>>(5).map(|id| UserId(id.cast_unsigned())),
            client,
            content: boxed_opt(row, 8),
            parent_id: row.get::<_, Option<i64>>(9).map(|seq| Seq(seq.cast_unsigned())),
            data: boxed_opt(row, 10),
            mentions: row.get::<_, Option<&str>>(12).map(json_ids).unwrap_or_default(),
            reason: boxed_opt(row, 13),
        },
        username: boxed_opt(row, 11).map(Into::into),
        state: state(row),
    }
}

/// What has become of the message; `None`: nothing.
fn state(row: &Row) -> Option<Box<MessageState>> {
    let count = |column| row.get::<_, Option<i32>>(column).map_or(0, i32::cast_unsigned);
    let time = |column| row.get::<_, Option<i64>>(column).map(WallMs);
    let state = MessageState {
        edit_count: count(14),
        edited_at: time(15),
        deleted_at: time(16),
        pinned: row.get::<_, Option<i64>>(17).map(|seq| Seq(seq.cast_unsigned())),
        thread_count: count(18),
        ..MessageState::default()
    };
    (state != MessageState::default()).then(|| Box::new(state))
}

/// Reads what `plan::json_ids` wrote.
fn json_ids(text: &str) -> Box<[UserId]> {
    text.trim_matches(['[', ']']).split(',').filter_map(|id| id.trim().parse().ok()).map(UserId).collect()
}

/// An array of ids.
pub(super) fn users(row: &Row, column: usize) -> Vec<UserId> {
    row.get::<_, Vec<i64>>(column).into_iter().map(|id| UserId(id.cast_unsigned())).collect()
}

/// Columns of a sanction, for [`sanction`]: sanctions as `s`.
macro_rules! sanction_columns {
    () => {
        "s.sanction_id, s.room_id, s.user_id, s.kind, s.reason, s.actor_id, s.at, s.expires_at, s.lifted_at, s.lifted_by"
    };
}
pub(super) use sanction_columns;

pub(super) fn sanction(row: &Row) -> SanctionRow {
    let lifted = row.get::<_, Option<i64>>(8).zip(row.get::<_, Option<i64>>(9));
    SanctionRow {
        sanction_id: uint(row, 0),
        room_id: RoomId(uint(row, 1)),
        user_id: UserId(uint(row, 2)),
        kind: SanctionKind::from_number(row.get(3)).unwrap_or(SanctionKind::Warn),
        reason: boxed(row, 4),
        actor_id: UserId(uint(row, 5)),
        at: WallMs(row.get(6)),
        expires_at: row.get::<_, Option<i64>>(7).map(WallMs),
        lifted: lifted.map(|(at, by)| (WallMs(at), UserId(by.cast_unsigned()))),
    }
}

/// `mix` is the incarnation.
pub(super) fn meta(row: &Row, mix: u64) -> RoomMeta {
    RoomMeta {
        room_id: RoomId(uint(row, 0)),
        kind: room_kind(row.get(1)),
        epoch: mix_epoch(uint(row, 2), mix),
        name: boxed(row, 3),
        description: boxed_opt(row, 4),
        topic: boxed_opt(row, 5),
        visibility: if row.get::<_, i16>(6) == 0 { Visibility::Public } else { Visibility::Private },
        owner_id: row.get::<_, Option<i64>>(7).map(|id| UserId(id.cast_unsigned())),
        max_members: small(row, 8),
        slow_mode_s: small(row, 9),
        retention_days: small(row, 10),
        archived: row.get(11),
        created_at: WallMs(row.get(12)),
    }
}

/// Columns user_id, role, joined_at, last_read_seq, last_read_no.
pub(super) fn member(row: &Row) -> MemberRow {
    MemberRow {
        user_id: UserId(uint(row, 0)),
        role: boxed(row, 1),
        joined_at: WallMs(row.get(2)),
        last_read_seq: Seq(uint(row, 3)),
        last_read_no: uint(row, 4),
    }
}

/// Columns user_id, username, role, created_at, from the one given.
pub(super) fn user(row: &Row, from: usize) -> UserRow {
    UserRow {
        user_id: UserId(uint(row, from)),
        username: boxed(row, from + 1),
        role: boxed(row, from + 2),
        created_at: WallMs(row.get(from + 3)),
    }
}
