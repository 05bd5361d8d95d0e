//! From rows to the engine's types. Columns are selected by these lists, in their order.

use rusqlite::types::ValueRef;
use rusqlite::{CachedStatement, Connection, Error, Row};
use veza_engine::id::{RoomId, Seq, UserId};
use veza_engine::store::{
    EventKind, EventRecord, EventRow, MemberRow, MessageState, RoomKind, RoomMeta, SanctionRow, UserRow,
};
use veza_engine::time::WallMs;
use veza_engine::wire::{ClientKey, SanctionKind, Visibility};

use crate::store::shared::mix_epoch;

/// Of `events e LEFT JOIN users a`, for [`event`].
pub(super) const EVENT: &str = "e.room_id, e.seq, e.kind, e.at, e.message_no, e.author_id, e.client_id, e.client_hash,
    e.content, e.parent_id, e.data, a.username, e.mentions, e.reason, e.edit_count, e.edited_at, e.deleted_at,
    e.pinned_seq, e.thread_count";
/// The tables of [`EVENT`].
pub(super) const EVENT_FROM: &str = "events e LEFT JOIN users a ON a.user_id = e.author_id";
/// Of `rooms r`, for [`meta`]; [`META_COLUMNS`] of them.
pub(super) const META: &str = "r.room_id, r.kind, r.epoch, r.name, r.description, r.topic, r.visibility, r.owner_id,
    r.max_members, r.slow_mode_s, r.retention_days, r.archived, r.created_at";
/// Columns in [`META`].
pub(super) const META_COLUMNS: usize = 13;
/// Of `members m`, for [`member`].
pub(super) const MEMBER: &str = "m.user_id, m.role, m.joined_at, m.last_read_seq, m.last_read_no";
/// Of `users u`, for [`user`].
pub(super) const USER: &str = "u.user_id, u.username, u.role, u.created_at";

/// Of `sanctions s`, for [`sanction`].
pub(super) const SANCTION: &str =
    "s.sanction_id, s.room_id, s.user_id, s.kind, s.reason, s.actor_id, s.at, s.expires_at,
    s.lifted_at, s.lifted_by";

/// How every statement of the store is prepared: kept by its connection, and in tests noted, so that one can look at
/// all their plans.
pub(super) trait Prepare {
    /// Prepared, from the connection's cache.
    fn prepared(&self, sql: &str) -> Result<CachedStatement<'_>, Error>;
}

impl Prepare for Connection {
    fn prepared(&self, sql: &str) -> Result<CachedStatement<'_>, Error> {
        #[cfg(test)]
        super::tests::note(sql);
        self.prepare_cached(sql)
    }
}

/// Runs a query and collects what `read` makes of its rows.
pub(super) fn all<T>(
    connection: &Connection,
    sql: &str,
    values: impl rusqlite::Params,
    read: impl FnMut(&Row<'_>) -> Result<T, Error>,
) -> Result<Vec<T>, Error> {
    connection.prepared(sql)?.query_map(values, read)?.collect()
}

/// Ids, each once, as the JSON array that `json_each` unfolds: any number of them in one prepared statement.
pub(super) fn id_list(users: &[UserId]) -> String {
    let mut ids: Vec<u64> = users.iter().map(|user| user.0).collect();
    ids.sort_unstable();
    ids.dedup();
    let ids: Vec<String> = ids.iter().map(u64::to_string).collect();
    format!("[{}]", ids.join(","))
}

/// A number that was stored from an unsigned one.
pub(super) fn uint(row: &Row<'_>, column: usize) -> Result<u64, Error> {
    Ok(row.get::<_, i64>(column)? as u64)
}

/// As [`uint`], or NULL.
pub(super) fn opt_uint(row: &Row<'_>, column: usize) -> Result<Option<u64>, Error> {
    Ok(row.get::<_, Option<i64>>(column)?.map(|value| value as u64))
}

/// A text.
pub(super) fn text(row: &Row<'_>, column: usize) -> Result<Box<str>, Error> {
    Ok(row.get_ref(column)?.as_str()?.into())
}

/// As [`text`], or NULL.
pub(super) fn opt_text(row: &Row<'_>, column: usize) -> Result<Option<Box<str>>, Error> {
    Ok(row.get_ref(column)?.as_str_or_null()?.map(Into::into))
}

/// By [`EVENT`].
pub(super) fn event(row: &Row<'_>) -> Result<EventRecord, Error> {
    let client = match (opt_text(row, 6)?, opt_uint(row, 7)?) {
        (Some(id), Some(hash)) => Some(ClientKey { id: id.into(), hash }),
        _ => None,
    };
    let row_read = EventRow {
        room_id: RoomId(uint(row, 0)?),
        seq: Seq(uint(row, 1)?),
        kind: EventKind::from_number(row.get(2)?).unwrap_or(EventKind::Void),
        at: WallMs(row.get(3)?),
        message_no: uint(row, 4)?,
        author_id: opt_uint(row, 5)?.map(UserId),
        client,
        content: opt_text(row, 8)?,
        parent_id: opt_uint(row, 9)?.map(Seq),
        data: opt_text(row, 10)?,
        mentions: mentions(row, 12)?,
        reason: opt_text(row, 13)?,
    };
    let state = state(row)?.filter(|state| *state != MessageState::default()).map(Box::new);
    Ok(EventRecord { row: row_read, username: opt_text(row, 11)?.map(Into::into), state })
}

/// Of messages and edits; without reactions, which are in other tables.
fn state(row: &Row<'_>) -> Result<Option<MessageState>, Error> {
    // None of them: the common case.
    let columns = 14..=18;
    for column in columns {
        if row.get_ref(column)? != ValueRef::Null {
            return Ok(Some(MessageState {
                edit_count: row.get::<_, Option<u32>>(14)?.unwrap_or(0),
                edited_at: row.get::<_, Option<i64>>(15)?.map(WallMs),
                deleted_at: row.get::<_, Option<i64>>(16)?.map(WallMs),
                pinned: opt_uint(row, 17)?.map(Seq),
                thread_count: row.get::<_, Option<u32>>(18)?.unwrap_or(0),
                ..MessageState::default()
            }));
        }
    }
    Ok(None)
}

/// Mentioned users as stored; NULL for none.
pub(super) fn mention_list(users: &[UserId]) -> Option<String> {
    (!users.is_empty()).then(|| id_list(users))
}

/// By [`mention_list`].
fn mentions(row: &Row<'_>, column: usize) -> Result<Box<[UserId]>, Error> {
    match row.get_ref(column)?.as_str_or_null()? {
        None => Ok(Box::default()),
        Some(list) => Ok(ids(list).collect()),
    }
}

/// The ids in a JSON array.
pub(super) fn ids(list: &str) -> impl Iterator<Item = UserId> {
    list.trim_matches(['[', ']']).split(',').filter_map(|id| id.parse().ok()).map(UserId)
}

/// `kind` of a room.
pub(super) fn room_kind(row: &Row<'_>, column: usize) -> Result<RoomKind, Error> {
    Ok(if row.get::<_, i64>(column)? == 0 { RoomKind::Room } else { RoomKind::Dm })
}

/// By [`META`], from the first column; `mix` is the incarnation.
pub(super) fn meta(row: &Row<'_>, mix: u64) -> Result<RoomMeta, Error> {
    Ok(RoomMeta {
        room_id: RoomId(uint(row, 0)?),
        kind: room_kind(row, 1)?,
        epoch: mix_epoch(uint(row, 2)?, mix),
        name: text(row, 3)?,
        description: opt_text(row, 4)?,
        topic: opt_text(row, 5)?,
        visibility: if row.get::<_, i64>(6)? == 0 { Visibility::Public } else { Visibility::Private },
        owner_id: opt_uint(row, 7)?.map(UserId),
        max_members: row.get(8)?,
        slow_mode_s: row.get(9)?,
        retention_days: row.get(10)?,
        archived: row.get(11)?,
        created_at: WallMs(row.get(12)?),
    })
}

/// By [`MEMBER`], from the first column.
pub(super) fn member(row: &Row<'_>) -> Result<MemberRow, Error> {
    Ok(MemberRow {
        user_id: UserId(uint(row, 0)?),
        role: text(row, 1)?,
        joined_at: WallMs(row.get(2)?),
        last_read_seq: Seq(uint(row, 3)?),
        last_read_no: uint(row, 4)?,
    })
}

/// By [`USER`], from this column on.
pub(super) fn user(row: &Row<'_>, first: usize) -> Result<UserRow, Error> {
    Ok(UserRow {
        user_id: UserId(uint(row, first)?),
        username: text(row, first + 1)?,
        role: text(row, first + 2)?,
        created_at: WallMs(row.get(first + 3)?),
    })
}

/// By [`SANCTION`], from the first column.
pub(super) fn sanction(row: &Row<'_>) -> Result<SanctionRow, Error> {
    let kind: i16 = row.get(3)?;
    Ok(SanctionRow {
        sanction_id: uint(row, 0)?,
        room_id: RoomId(uint(row, 1)?),
        user_id: UserId(uint(row, 2)?),
        kind: SanctionKind::from_number(kind).ok_or(Error::IntegralValueOutOfRange(3, kind.into()))?,
        reason: text(row, 4)?,
        actor_id: UserId(uint(row, 5)?),
        at: WallMs(row.get(6)?),
        expires_at: row.get::<_, Option<i64>>(7)?.map(WallMs),
        lifted: row.get::<_, Option<i64>>(8)?.map(WallMs).zip(opt_uint(row, 9)?.map(UserId)),
    })
}
