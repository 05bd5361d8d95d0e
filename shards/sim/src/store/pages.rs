//! Queries that answer in pages. A cursor is the key of the last row of the page before.

use veza_engine::id::{RoomId, Seq, UserId};
use veza_engine::store::{Cursor, DmSummary, EventRecord, LoadError, Loaded, MemberRow, RoomKind, RoomSummary};
use veza_engine::wire::{RoomFilter, Visibility};

use super::{Store, StoredRoom, is_message};

/// The key in a cursor; rows behind it follow.
pub(super) fn of_cursor(cursor: &Cursor) -> Result<Option<u64>, LoadError> {
    cursor.as_deref().map(str::parse).transpose().map_err(|_| LoadError::BadCursor)
}

/// Cuts a page out of rows that ascend by `key`: those behind `after`. Gives the cursor of the next page.
pub(super) fn after_key<T>(rows: &mut Vec<T>, after: Option<u64>, limit: u32, key: impl Fn(&T) -> u64) -> Cursor {
    rows.retain(|row| after.is_none_or(|after| key(row) > after));
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    rows.last().filter(|_| more).map(|row| key(row).to_string().into())
}

impl Store {
    pub(super) fn user_page(&self, query: Option<&str>, limit: u32, cursor: &Cursor) -> Result<Loaded, LoadError> {
        let mut users = self.users.clone();
        let prefix = query.unwrap_or("").to_lowercase();
        users.retain(|user| user.username.to_lowercase().starts_with(&prefix));
        users.sort_by_key(|user| user.username.to_lowercase());
        // The place in the whole list is a key as good as the name.
        let place = |user: &veza_engine::store::UserRow| {
            self.users.iter().filter(|other| other.username.to_lowercase() <= user.username.to_lowercase()).count()
        };
        let next = after_key(&mut users, of_cursor(cursor)?, limit, |user| place(user) as u64);
        Ok(Loaded::UserPage { users, next })
    }

    pub(super) fn member_page(
        &self,
        room_id: RoomId,
        role: Option<&str>,
        among: Option<&[UserId]>,
        limit: u32,
        cursor: &Cursor,
    ) -> Result<Loaded, LoadError> {
        let rows = self.live(room_id).map_or(Vec::new(), |room| room.members.values().cloned().collect());
        let mut rows: Vec<MemberRow> = rows;
        rows.retain(|row| role.is_none_or(|role| *row.role == *role));
        rows.retain(|row| among.is_none_or(|among| among.contains(&row.user_id)));
        let next = after_key(&mut rows, of_cursor(cursor)?, limit, |row| row.user_id.0);
        let members = rows.into_iter().map(|row| (row.clone(), self.username(row.user_id))).collect();
        Ok(Loaded::MemberPage { members, next })
    }

    pub(super) fn room_page(
        &self,
        filter: RoomFilter,
        user: UserId,
        query: Option<&str>,
        limit: u32,
        cursor: &Cursor,
    ) -> Result<Loaded, LoadError> {
        let part = query.unwrap_or("").to_lowercase();
        let is_listed = |room: &&StoredRoom| {
            let listed = match filter {
                RoomFilter::Public => room.meta.visibility == Visibility::Public,
                RoomFilter::Joined => room.members.contains_key(&user),
                RoomFilter::Invited => room.invites.contains(&user),
            };
            listed
                && room.meta.kind == RoomKind::Room
                && room.deleted_at.is_none()
                && room.meta.name.to_lowercase().contains(&part)
        };
        let mut rooms: Vec<RoomSummary> = self
            .rooms
            .values()
            .filter(is_listed)
            .map(|room| RoomSummary { meta: room.meta.clone(), head: room.head(), member_count: room.member_count })
            .collect();
        let next = after_key(&mut rooms, of_cursor(cursor)?, limit, |room| room.meta.room_id.0);
        Ok(Loaded::RoomPage { rooms, next })
    }

    pub(super) fn dm_page(&self, user: UserId, limit: u32, cursor: &Cursor) -> Result<Loaded, LoadError> {
        let mut dms: Vec<&StoredRoom> = self.rooms_of(user).filter(|room| room.meta.kind == RoomKind::Dm).collect();
        let activity = |room: &StoredRoom| room.events.last().map_or(room.meta.created_at, |row| row.at);
        let key = |room: &StoredRoom| u64::MAX - ((activity(room).0 as u64) << 20 | room.meta.room_id.0);
        dms.sort_by_key(|room| key(room));
        let next = after_key(&mut dms, of_cursor(cursor)?, limit, |room| key(room));
        let conversations = dms.into_iter().filter_map(|room| self.dm_summary(room, user)).collect();
        Ok(Loaded::DmPage { conversations, next })
    }

    fn dm_summary(&self, room: &StoredRoom, user: UserId) -> Option<DmSummary> {
        let member = self.member_row(room, user)?;
        let others: Vec<UserId> = room.members.keys().copied().filter(|other| *other != user).collect();
        let last = room.retained().iter().rev().find(|row| is_message(row));
        Some(DmSummary {
            unread: self.unread_row(room, &member),
            users: room.members.keys().filter_map(|member| self.user(*member).cloned()).collect(),
            last_message: last.map(|row| self.record(room, row, Some(user))),
            is_blocked: matches!(others[..], [other] if self.is_blocked(user, other)),
        })
    }

    /// A page of messages from the newest on; the cursor names the last one.
    pub(super) fn message_page(
        &self,
        mut messages: Vec<EventRecord>,
        limit: u32,
        cursor: &Cursor,
    ) -> Result<Loaded, LoadError> {
        if let Some(cursor) = cursor {
            let behind = place(cursor).ok_or(LoadError::BadCursor)?;
            messages.retain(|record| key(record) < behind);
        }
        let more = messages.len() > limit as usize;
        messages.truncate(limit as usize);
        let next = messages.last().filter(|_| more).map(|record| {
            let (at, room, seq) = key(record);
            format!("{at} {} {}", room.0, seq.0).into()
        });
        Ok(Loaded::Messages { messages, next })
    }
}

fn key(record: &EventRecord) -> (i64, RoomId, Seq) {
    (record.row.at.0, record.row.room_id, record.row.seq)
}

fn place(cursor: &str) -> Option<(i64, RoomId, Seq)> {
    let mut parts = cursor.split(' ');
    let at = parts.next()?.parse().ok()?;
    let (room, seq) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    Some((at, RoomId(room), Seq(seq)))
}
