//! Queries.

use veza_engine::id::{RoomId, Seq, UserId};
use veza_engine::store::{Earlier, EventRecord, Load, LoadError, Loaded, RoomKind, RoomState};

use super::pages::{after_key, of_cursor};
use super::{Store, StoredRoom};

impl Store {
    /// Answers a query.
    pub fn load(&mut self, load: &Load) -> Result<Loaded, LoadError> {
        Ok(match load {
            Load::Identify { identity } => Loaded::User(Some(self.identify(identity))),
            Load::ReserveRooms { count } => {
                let first = self.next_room + 1;
                self.next_room += u64::from(*count);
                Loaded::Reserved(first)
            }
            Load::Sanction { sanction_id } => {
                let row = self.sanctions.get(sanction_id).filter(|row| self.live(row.room_id).is_some());
                Loaded::Sanction(row.cloned().map(Box::new))
            }
            Load::Sanctions { room_id, user_id, active, now, limit, cursor } => {
                let mut rows = self.sanctions(*room_id, *user_id, *active, *now);
                let next = after_key(&mut rows, of_cursor(cursor)?, *limit, |row| u64::MAX - row.sanction_id);
                let named = |row: veza_engine::store::SanctionRow| (row.clone(), self.username(row.user_id));
                Loaded::Sanctions { sanctions: rows.into_iter().map(named).collect(), next }
            }
            Load::Profile { user_id } => Loaded::Profile(Box::new(self.profile(*user_id))),
            Load::Blocks { user_id } => Loaded::Blocks(self.blocks(*user_id)),
            Load::User { user_id } => Loaded::User(self.user(*user_id).cloned()),
            Load::UserPage { query, limit, cursor } => self.user_page(query.as_deref(), *limit, cursor)?,
            Load::Sessions { .. } => Loaded::Sessions(Vec::new()),
            Load::MemberPage { room_id, role, among, limit, cursor } => {
                self.member_page(*room_id, role.as_deref(), among.as_deref(), *limit, cursor)?
            }
            Load::RoomPage { filter, user_id, query, limit, cursor } => {
                self.room_page(*filter, *user_id, query.as_deref(), *limit, cursor)?
            }
            Load::Unread { user_id } => Loaded::Unread(self.unread(*user_id)),
            Load::DmPage { user_id, limit, cursor } => self.dm_page(*user_id, *limit, cursor)?,
            Load::Creation { user_id, client_id, pair, users } => Loaded::Creation {
                created_rooms: self.rooms.values().filter(|room| room.creator == *user_id).count() as u32,
                by_client: client_id.as_ref().and_then(|id| self.created(*user_id, id)),
                by_pair: pair.and_then(|pair| self.pair(pair)),
                users: users.iter().filter_map(|user| self.user(*user).cloned()).collect(),
                blocked_by: users.iter().copied().filter(|user| self.is_blocked(*user, *user_id)).collect(),
            },
            about_room => self.load_room(about_room)?,
        })
    }

    fn load_room(&self, load: &Load) -> Result<Loaded, LoadError> {
        Ok(match load {
            Load::Room { room_id, tail, members } => Loaded::Room(self.room_state(*room_id, *tail, members)),
            Load::Members { room_id, user_ids } => {
                Loaded::Members(self.live(*room_id).map_or(Vec::new(), |room| self.standings(room, user_ids)))
            }
            Load::Events { room_id, after, limit } => Loaded::Events(self.events_after(*room_id, *after, *limit)),
            Load::HistoryBefore { room_id, before, limit, reader } => {
                let all = self.messages(*room_id, *reader, |row| before.is_none_or(|before| row.seq < before));
                let skip = all.len().saturating_sub(*limit as usize);
                Loaded::History { messages: all[skip..].to_vec(), more: skip > 0 }
            }
            Load::HistoryAfter { room_id, after, limit, reader } => {
                let mut all = self.messages(*room_id, *reader, |row| row.seq > *after);
                let more = all.len() > *limit as usize;
                all.truncate(*limit as usize);
                Loaded::History { messages: all, more }
            }
            Load::Message { room_id, message_id, reader } => {
                Loaded::Message(self.message(*room_id, *message_id, *reader))
            }
            Load::Edits { room_id, message_id } => Loaded::Edits(self.edits(*room_id, *message_id)),
            Load::Thread { room_id, parent_id, after, limit, reader } => {
                self.thread(*room_id, *parent_id, *after, *limit, *reader)
            }
            Load::Pinned { room_id, reader } => Loaded::Pinned(self.pinned(*room_id, *reader)),
            Load::Reactions { room_id, message_id } => Loaded::Reactions(self.reactions(*room_id, *message_id)),
            Load::Search { reader, search } => {
                self.message_page(self.search(*reader, search), search.limit, &search.cursor)?
            }
            Load::Mentions { reader, limit, cursor } => self.message_page(self.mentions(*reader), *limit, cursor)?,
            Load::Names { room_id, names } => Loaded::Names(self.names(*room_id, names)),
            Load::RoomStats { room_id, now } => Loaded::RoomStats(self.room_stats(*room_id, *now)),
            Load::ClientEvent { room_id, user_id, client_id } => {
                let row = self.live(*room_id).and_then(|_| self.client_event(*room_id, *user_id, client_id));
                Loaded::ClientEvent(row.map(|row| Earlier {
                    room_id: *room_id,
                    kind: self.rooms.get(room_id).map_or(RoomKind::Room, |room| room.meta.kind),
                    seq: row.seq,
                    at: row.at,
                    hash: row.client.as_ref().map(|client| client.hash),
                }))
            }
            other => unreachable!("{other:?} is answered elsewhere"),
        })
    }

    fn events_after(&self, room_id: RoomId, after: Seq, limit: u32) -> Vec<EventRecord> {
        let Some(room) = self.live(room_id) else { return Vec::new() };
        let skip = after.0.saturating_sub(room.floor.0) as usize;
        room.retained().iter().skip(skip).take(limit as usize).map(|row| self.record(room, row, None)).collect()
    }

    fn names(&self, room_id: RoomId, names: &[Box<str>]) -> Vec<(Box<str>, UserId)> {
        let Some(room) = self.live(room_id) else { return Vec::new() };
        let named = |user: UserId| -> Box<str> { self.username(user).to_lowercase().into() };
        let members = room.members.keys().map(|user| (named(*user), *user));
        members.filter(|(name, _)| names.contains(name)).collect()
    }

    fn room_state(&self, room_id: RoomId, tail: u32, members: &[UserId]) -> Option<Box<RoomState>> {
        let room = self.live(room_id)?;
        let retained = room.retained();
        let skip = retained.len().saturating_sub(tail as usize);
        Some(Box::new(RoomState {
            meta: room.meta.clone(),
            head: room.head(),
            message_no: room.message_no(),
            member_count: room.member_count,
            tail: retained[skip..].iter().map(|row| self.record(room, row, None)).collect(),
            floor: room.floor,
            standings: self.standings(room, members),
            participants: match room.meta.kind {
                RoomKind::Room => Vec::new(),
                RoomKind::Dm => room.members.keys().filter_map(|user| self.user(*user).cloned()).collect(),
            },
            roles: room.roles.values().cloned().collect(),
            pinned_count: room.messages.values().filter(|message| message.pinned.is_some()).count() as u32,
            blocks: self.blocks_between(room),
        }))
    }

    fn blocks_between(&self, room: &StoredRoom) -> Vec<(UserId, UserId)> {
        let users: Vec<UserId> = room.members.keys().copied().collect();
        let &[one, other] = &users[..] else { return Vec::new() };
        if room.meta.kind != RoomKind::Dm {
            return Vec::new();
        }
        [(one, other), (other, one)].into_iter().filter(|(by, whom)| self.is_blocked(*by, *whom)).collect()
    }
}
