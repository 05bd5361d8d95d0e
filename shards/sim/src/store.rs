//! The database of the simulated world: what is in here is committed, and nothing else is.

use std::collections::BTreeMap;

use veza_engine::id::{RoomId, Seq, UserId};
use veza_engine::store::{
    Batch, BatchOutcome, DmSummary, Duplicate, Earlier, EventRecord, EventRow, Load, LoadError, Loaded, MemberRow,
    RoomMeta, RoomState, RoomSummary, UnreadRow, UserRow, Write,
};
use veza_engine::time::WallMs;
use veza_engine::wire::{RoomFilter, Visibility};

/// A stored room.
#[derive(Clone, Debug)]
pub struct StoredRoom {
    /// Settings.
    pub meta: RoomMeta,
    /// Who made it, and under which client id.
    pub creator: UserId,
    client: Option<(Box<str>, u64)>,
    pair: Option<(UserId, UserId)>,
    member_count: u32,
    /// Members.
    pub members: BTreeMap<UserId, MemberRow>,
    /// The log; index 0 is seq 1.
    pub events: Vec<EventRow>,
    /// Memberships that ended, and the head then (or a little later).
    ended: Vec<(UserId, u64)>,
}

/// The whole database.
#[derive(Clone, Debug, Default)]
pub struct Store {
    users: Vec<UserRow>,
    subjects: BTreeMap<String, UserId>,
    /// Rooms.
    pub rooms: BTreeMap<RoomId, StoredRoom>,
    fence: BTreeMap<(i64, u32), i64>,
    next_room: u64,
    /// Events that a dead process's transaction committed late.
    late: std::collections::BTreeSet<(RoomId, u64)>,
}

/// Marks a row that a planted fault has dropped: its place is a hole.
pub const NOT_THERE: WallMs = WallMs(-1);
/// Content that the database refuses.
pub const POISON: &str = "poison";

impl Store {
    /// An event that is committed.
    pub fn event(&self, room: RoomId, seq: u64) -> Option<&EventRow> {
        let row = self.rooms.get(&room)?.events.get((seq as usize).checked_sub(1)?)?;
        (row.at != NOT_THERE).then_some(row)
    }

    /// The heads at which a user's memberships of a room ended.
    pub fn ended(&self, room: RoomId, user: u64) -> impl Iterator<Item = u64> + '_ {
        let all = self.rooms.get(&room).map_or(&[][..], |room| &room.ended[..]);
        all.iter().filter(move |(ended, _)| ended.0 == user).map(|(_, head)| *head)
    }

    /// Writes a batch's events once more, as new ones (a planted fault).
    pub fn append_again(&mut self, batch: &Batch) {
        for row in &batch.events {
            let room = self.rooms.get_mut(&row.room_id).expect("events of rooms that exist");
            let seq = Seq(room.events.len() as u64 + 1);
            room.events.push(EventRow { seq, ..row.clone() });
        }
    }

    /// A room's committed head.
    pub fn head(&self, room: RoomId) -> u64 {
        self.rooms.get(&room).map_or(0, |room| room.events.len() as u64)
    }

    /// The head that somebody must have noticed: an event that a dead process committed late is found by the next
    /// write into its room.
    pub fn noticed_head(&self, room: RoomId) -> u64 {
        (0..=self.head(room)).rev().find(|seq| !self.late.contains(&(room, *seq))).unwrap_or(0)
    }

    /// Writes a batch of a process that is gone.
    pub fn apply_late(&mut self, batch: &Batch) {
        if !self.is_applied(batch) && self.apply(batch) == BatchOutcome::Committed {
            self.late.extend(batch.events.iter().map(|row| (row.room_id, row.seq.0)));
        }
    }

    /// Whether the batch was applied before.
    pub fn is_applied(&self, batch: &Batch) -> bool {
        let key = (batch.writer.epoch, batch.writer.lane);
        self.fence.get(&key).is_some_and(|number| *number >= batch.writer.number)
    }

    /// Writes a batch whole, or says why not.
    pub fn apply(&mut self, batch: &Batch) -> BatchOutcome {
        if self.is_applied(batch) {
            return BatchOutcome::Committed;
        }
        let refused: Vec<usize> = (0..batch.events.len())
            .filter(|index| batch.events[*index].content.as_deref().is_some_and(|content| content.contains(POISON)))
            .collect();
        if !refused.is_empty() {
            return BatchOutcome::Refused { events: refused, writes: Vec::new(), cause: "poison".into() };
        }
        let (stale, duplicates) = (self.stale(batch), self.duplicates(batch));
        if !stale.is_empty() || !duplicates.is_empty() {
            return BatchOutcome::Conflict { stale, duplicates };
        }
        self.write(batch);
        BatchOutcome::Committed
    }

    fn stale(&self, batch: &Batch) -> Vec<RoomId> {
        let mut stale: Vec<RoomId> =
            batch.events.iter().filter(|row| row.seq.0 <= self.head(row.room_id)).map(|row| row.room_id).collect();
        stale.dedup();
        stale
    }

    fn duplicates(&self, batch: &Batch) -> Vec<Duplicate> {
        let events = batch.events.iter().enumerate().filter_map(|(index, row)| {
            let client = row.client.as_ref()?;
            let earlier = self.client_event(row.room_id, row.author_id?, &client.id)?;
            let hash = earlier.client.as_ref().map(|client| client.hash);
            Some(Duplicate { index, is_event: true, room_id: row.room_id, seq: earlier.seq, at: earlier.at, hash })
        });
        let writes = batch.writes.iter().enumerate().filter_map(|(index, write)| {
            let (creator, client, pair) = match write {
                Write::CreateRoom { creator_id, client, .. } => (creator_id, client, None),
                Write::CreateDm { creator_id, client, pair, .. } => (creator_id, client, *pair),
                _ => return None,
            };
            let by_client = client.as_ref().and_then(|client| self.created(*creator, &client.id));
            let earlier = by_client.or_else(|| self.pair(pair?))?;
            let Earlier { room_id, seq, at, hash, .. } = earlier;
            Some(Duplicate { index, is_event: false, room_id, seq, at, hash })
        });
        events.chain(writes).collect()
    }

    fn client_event(&self, room: RoomId, author: UserId, client: &str) -> Option<&EventRow> {
        self.rooms
            .get(&room)?
            .events
            .iter()
            .find(|row| row.author_id == Some(author) && row.client.as_ref().is_some_and(|other| *other.id == *client))
    }

    fn created(&self, creator: UserId, client: &str) -> Option<Earlier> {
        let found = self
            .rooms
            .values()
            .find(|room| room.creator == creator && room.client.as_ref().is_some_and(|(id, _)| **id == *client))?;
        let hash = found.client.as_ref().map(|(_, hash)| *hash);
        Some(earlier(found, hash))
    }

    fn pair(&self, pair: (UserId, UserId)) -> Option<Earlier> {
        self.rooms.values().find(|room| room.pair == Some(pair)).map(|room| earlier(room, None))
    }

    fn write(&mut self, batch: &Batch) {
        self.fence.insert((batch.writer.epoch, batch.writer.lane), batch.writer.number);
        for row in &batch.events {
            let room = self.rooms.get_mut(&row.room_id).expect("events of rooms that exist");
            assert_eq!(row.seq.0, room.events.len() as u64 + 1, "the engine left a hole in room {}", row.room_id.0);
            room.events.push(row.clone());
        }
        for write in &batch.writes {
            self.write_one(write);
        }
    }

    fn write_one(&mut self, write: &Write) {
        match write.clone() {
            Write::CreateRoom { meta, creator_id, client } => {
                let owner = member(creator_id, "owner", meta.created_at);
                self.create(meta, creator_id, client, None, vec![owner]);
            }
            Write::CreateDm { meta, creator_id, user_ids, pair, client } => {
                let members = user_ids.iter().map(|user| member(*user, "member", meta.created_at)).collect();
                self.create(meta, creator_id, client, pair, members);
            }
            Write::PutMember { room_id, member } => {
                self.rooms.get_mut(&room_id).expect("room").members.insert(member.user_id, member);
            }
            Write::DropMember { room_id, user_id } => {
                let room = self.rooms.get_mut(&room_id).expect("room");
                room.members.remove(&user_id);
                room.ended.push((user_id, room.events.len() as u64));
            }
            Write::MemberCount { room_id, count } => self.rooms.get_mut(&room_id).expect("room").member_count = count,
            Write::ReadPosition { room_id, user_id, seq, message_no } => {
                let room = self.rooms.get_mut(&room_id).expect("room");
                if let Some(member) = room.members.get_mut(&user_id)
                    && member.last_read_seq < seq
                {
                    (member.last_read_seq, member.last_read_no) = (seq, message_no);
                }
            }
            Write::ReadCheckpoint { .. } | Write::RevokeSession { .. } | Write::RevokeUser { .. } => {}
        }
    }

    fn create(
        &mut self,
        meta: RoomMeta,
        creator: UserId,
        client: Option<veza_engine::wire::ClientKey>,
        pair: Option<(UserId, UserId)>,
        members: Vec<MemberRow>,
    ) {
        let room_id = meta.room_id;
        let room = StoredRoom {
            member_count: members.len() as u32,
            members: members.into_iter().map(|member| (member.user_id, member)).collect(),
            client: client.map(|client| (client.id, client.hash)),
            meta,
            creator,
            pair,
            events: Vec::new(),
            ended: Vec::new(),
        };
        assert!(self.rooms.insert(room_id, room).is_none(), "a room id was given twice");
    }

    fn username(&self, user: UserId) -> Box<str> {
        self.users[user.0 as usize - 1].username.clone()
    }

    fn record(&self, row: &EventRow) -> EventRecord {
        EventRecord { row: row.clone(), username: row.author_id.map(|user| self.username(user)) }
    }

    fn member_row(&self, room: &StoredRoom, user: UserId) -> Option<MemberRow> {
        let mut member = room.members.get(&user)?.clone();
        if let Some(own) = room.events.iter().rev().find(|row| row.author_id == Some(user))
            && own.seq > member.last_read_seq
        {
            (member.last_read_seq, member.last_read_no) = (own.seq, own.message_no);
        }
        Some(member)
    }

    /// Answers a query.
    pub fn load(&mut self, load: &Load) -> Result<Loaded, LoadError> {
        Ok(match load {
            Load::Identify { identity } => {
                let key = format!("{}/{}", identity.iss, identity.sub);
                let next = UserId(self.users.len() as u64 + 1);
                let id = *self.subjects.entry(key).or_insert(next);
                if id == next {
                    let username = identity.username.clone().unwrap_or_else(|| format!("user{}", id.0).into());
                    let role = "user".into();
                    self.users.push(UserRow { user_id: id, username, role, created_at: WallMs(0) });
                }
                Loaded::User(Some(self.users[id.0 as usize - 1].clone()))
            }
            Load::Room { room_id, tail, members } => Loaded::Room(self.room_state(*room_id, *tail, members)),
            Load::Members { room_id, user_ids } => Loaded::Members(match self.rooms.get(room_id) {
                Some(room) => user_ids.iter().filter_map(|user| self.member_row(room, *user)).collect(),
                None => Vec::new(),
            }),
            Load::Events { room_id, after, limit } => {
                let events = self.events(*room_id);
                let page = events.iter().filter(|row| row.seq > *after).take(*limit as usize);
                Loaded::Events(page.map(|row| self.record(row)).collect())
            }
            Load::HistoryBefore { room_id, before, limit } => {
                let all: Vec<_> = self.messages(*room_id, |seq| before.is_none_or(|before| seq < before));
                let skip = all.len().saturating_sub(*limit as usize);
                Loaded::History { messages: all[skip..].to_vec(), more: skip > 0 }
            }
            Load::HistoryAfter { room_id, after, limit } => {
                let mut all: Vec<_> = self.messages(*room_id, |seq| seq > *after);
                let more = all.len() > *limit as usize;
                all.truncate(*limit as usize);
                Loaded::History { messages: all, more }
            }
            Load::Message { room_id, message_id } => {
                let found = self.messages(*room_id, |seq| seq == *message_id).pop();
                Loaded::Message(found.map(Box::new))
            }
            Load::MemberPage { room_id, limit, .. } => {
                let rows = self.rooms.get(room_id).map(|room| room.members.values().cloned().collect::<Vec<_>>());
                let page = rows.unwrap_or_default().into_iter().take(*limit as usize);
                let members = page.map(|member| (member.clone(), self.username(member.user_id))).collect();
                Loaded::MemberPage { members, next: None }
            }
            Load::RoomPage { filter, user_id, limit, .. } => {
                let listed = self.rooms.values().filter(|room| match filter {
                    RoomFilter::Public => room.meta.visibility == Visibility::Public,
                    RoomFilter::Joined => room.members.contains_key(user_id),
                    RoomFilter::Invited => false,
                });
                let summary = |room: &StoredRoom| RoomSummary {
                    meta: room.meta.clone(),
                    head: Seq(room.events.len() as u64),
                    member_count: room.member_count,
                };
                Loaded::RoomPage { rooms: listed.take(*limit as usize).map(summary).collect(), next: None }
            }
            Load::Unread { user_id } => Loaded::Unread(self.unread(*user_id)),
            Load::DmPage { user_id, .. } => {
                let rows = self.unread(*user_id).into_iter();
                let dms = rows.filter(|row| row.kind == veza_engine::store::RoomKind::Dm);
                let summary = |unread| DmSummary { unread, users: Vec::new(), last_message: None };
                Loaded::DmPage { conversations: dms.map(summary).collect(), next: None }
            }
            Load::Creation { user_id, client_id, pair, users } => Loaded::Creation {
                created_rooms: self.rooms.values().filter(|room| room.creator == *user_id).count() as u32,
                by_client: client_id.as_ref().and_then(|id| self.created(*user_id, id)),
                by_pair: pair.and_then(|pair| self.pair(pair)),
                users: users.iter().filter_map(|user| self.users.get(user.0 as usize - 1).cloned()).collect(),
            },
            Load::ClientEvent { room_id, user_id, client_id } => {
                let row = self.client_event(*room_id, *user_id, client_id);
                Loaded::ClientEvent(row.map(|row| Earlier {
                    room_id: *room_id,
                    kind: veza_engine::store::RoomKind::Room,
                    seq: row.seq,
                    at: row.at,
                    hash: row.client.as_ref().map(|client| client.hash),
                }))
            }
            Load::User { user_id } => {
                Loaded::User((user_id.0 as usize).checked_sub(1).and_then(|index| self.users.get(index)).cloned())
            }
            Load::UserPage { limit, .. } => {
                Loaded::UserPage { users: self.users.iter().take(*limit as usize).cloned().collect(), next: None }
            }
            Load::Sessions { .. } => Loaded::Sessions(Vec::new()),
            Load::ReserveRooms { count } => {
                let first = self.next_room + 1;
                self.next_room += u64::from(*count);
                Loaded::Reserved(first)
            }
        })
    }

    fn events(&self, room: RoomId) -> &[EventRow] {
        self.rooms.get(&room).map_or(&[], |room| &room.events)
    }

    fn messages(&self, room: RoomId, wanted: impl Fn(Seq) -> bool) -> Vec<EventRecord> {
        let rows = self.events(room).iter().filter(|row| row.content.is_some() && wanted(row.seq));
        rows.map(|row| self.record(row)).collect()
    }

    fn room_state(&self, room_id: RoomId, tail: u32, members: &[UserId]) -> Option<Box<RoomState>> {
        let room = self.rooms.get(&room_id)?;
        let skip = room.events.len().saturating_sub(tail as usize);
        let participants = match room.meta.kind {
            veza_engine::store::RoomKind::Room => Vec::new(),
            veza_engine::store::RoomKind::Dm => {
                room.members.keys().map(|user| self.users[user.0 as usize - 1].clone()).collect()
            }
        };
        Some(Box::new(RoomState {
            meta: room.meta.clone(),
            head: Seq(room.events.len() as u64),
            message_no: room.events.last().map_or(0, |row| row.message_no),
            member_count: room.member_count,
            tail: room.events[skip..].iter().map(|row| self.record(row)).collect(),
            members: members.iter().filter_map(|user| self.member_row(room, *user)).collect(),
            participants,
        }))
    }

    /// What `get_unread` must say.
    pub fn unread(&self, user: UserId) -> Vec<UnreadRow> {
        let joined = self.rooms.values().filter_map(|room| Some((room, self.member_row(room, user)?)));
        joined
            .map(|(room, member)| UnreadRow {
                room_id: room.meta.room_id,
                kind: room.meta.kind,
                epoch: room.meta.epoch,
                head: Seq(room.events.len() as u64),
                last_read_seq: member.last_read_seq,
                unread_count: room.events.last().map_or(0, |row| row.message_no) - member.last_read_no,
            })
            .collect()
    }
}

fn member(user_id: UserId, role: &str, joined_at: WallMs) -> MemberRow {
    MemberRow { user_id, role: role.into(), joined_at, last_read_seq: Seq(0), last_read_no: 0 }
}

fn earlier(room: &StoredRoom, hash: Option<u64>) -> Earlier {
    Earlier { room_id: room.meta.room_id, kind: room.meta.kind, seq: Seq(0), at: room.meta.created_at, hash }
}
