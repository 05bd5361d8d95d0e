//! Rows as the engine's types.

use tokio_postgres::Row;
use veza_engine::id::{RoomId, Seq, UserId};
use veza_engine::store::{EventKind, EventRecord, EventRow, MemberRow, RoomKind, RoomMeta, UserRow};
use veza_engine::time::WallMs;
use veza_engine::wire::{ClientKey, Visibility};

use crate::store::shared::mix_epoch;

/// Columns of an event with its author's name, for [`record`]: events as `e`, users as `u`.
macro_rules! record_columns {
    () => {
        "e.room_id, e.seq, e.kind, e.at, e.message_no, e.author_id, e.client_id, e.client_hash, e.content, e.parent_id, e.data, u.username"
    };
}
/// Columns of a room, for [`meta`]: rooms as `r`.
macro_rules! meta_columns {
    () => {
        "r.room_id, r.kind, r.epoch, r.name, r.description, r.topic, r.visibility, r.owner_id, r.max_members, r.slow_mode_s, r.retention_days, r.archived, r.created_at"
    };
}
pub(super) use {meta_columns, record_columns};

/// An id, position or count below 2^53, never negative in our tables.
pub(super) fn uint(row: &Row, column: usize) -> u64 {
    row.get::<_, i64>(column).cast_unsigned()
}

pub(super) fn boxed(row: &Row, column: usize) -> Box<str> {
    row.get::<_, &str>(column).into()
}

fn boxed_opt(row: &Row, column: usize) -> Option<Box<str>> {
    row.get::<_, Option<&str>>(column).map(Into::into)
}

fn small(row: &Row, column: usize) -> u32 {
    row.get::<_, i32>(column).cast_unsigned()
}

/// Kinds that a later version wrote read as `void`: they keep their place.
fn event_kind(number: i16) -> EventKind {
    if number == EventKind::Message as i16 { EventKind::Message } else { EventKind::Void }
}

pub(super) fn room_kind(number: i16) -> RoomKind {
    if number == RoomKind::Dm as i16 { RoomKind::Dm } else { RoomKind::Room }
}

pub(super) fn record(row: &Row) -> EventRecord {
    let hash = row.get::<_, Option<i64>>(7).map(i64::cast_unsigned);
    let client = boxed_opt(row, 6).zip(hash).map(|(id, hash)| ClientKey { id, hash });
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
            mentions: Box::default(),
            reason: None,
        },
        username: boxed_opt(row, 11),
        state: None,
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
