//! The database of the simulated world: what is in here is committed, and nothing else is. It does what the seam says,
//! naively: everything is looked for by going through all of it.

mod load;
mod messages;
mod pages;
mod people;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use veza_engine::id::{RoomId, Seq, UserId};
use veza_engine::store::{
    Batch, BatchOutcome, Duplicate, Earlier, EventKind, EventRow, MemberRow, RoleRow, RoomMeta, SanctionRow, UserRow,
    Write,
};
use veza_engine::time::WallMs;
use veza_engine::wire::Status;

/// A message as it now is. Its row in the log stays as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMessage {
    /// `None`: the grace after its deletion is over.
    pub content: Option<Box<str>>,
    /// Mentioned members.
    pub mentions: Box<[UserId]>,
    /// Edits.
    pub edit_count: u32,
    /// Of the newest one.
    pub edited_at: Option<WallMs>,
    /// Deletion.
    pub deleted_at: Option<WallMs>,
    /// Position of the event that pinned it.
    pub pinned: Option<Seq>,
    /// Answers.
    pub thread_count: u32,
    /// Reactions in the order of the first ones.
    pub reactions: Vec<StoredReaction>,
    /// Whom it mentions, in the inboxes: users, and whether everybody, since when.
    pub inbox: Option<(Box<[UserId]>, bool, WallMs)>,
}

/// One emoji on a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredReaction {
    /// Which.
    pub emoji: Box<str>,
    /// As the engine counts.
    pub count: u32,
    /// Who.
    pub users: BTreeSet<UserId>,
}

/// A stored room.
#[derive(Clone, Debug)]
pub struct StoredRoom {
    /// Settings.
    pub meta: RoomMeta,
    /// Who made it, and under which client id.
    pub creator: UserId,
    client: Option<(Arc<str>, u64)>,
    pair: Option<(UserId, UserId)>,
    /// As the engine counts.
    pub member_count: u32,
    /// Members.
    pub members: BTreeMap<UserId, MemberRow>,
    /// The log as it was written; index 0 is seq 1. What retention has removed stays here for the checker, and is in
    /// no answer.
    pub events: Vec<EventRow>,
    /// Retention has removed everything up to here.
    pub floor: Seq,
    /// Messages as they now are.
    pub messages: BTreeMap<Seq, StoredMessage>,
    /// Open invitations.
    pub invites: BTreeSet<UserId>,
    /// Custom roles.
    pub roles: BTreeMap<Box<str>, RoleRow>,
    /// It is gone.
    pub deleted_at: Option<WallMs>,
    clients: BTreeMap<(UserId, Arc<str>), Seq>,
    /// Memberships that ended, and the head then (or a little later).
    ended: Vec<(UserId, u64)>,
}

/// What is stored of a user besides the row.
#[derive(Clone, Debug, Default)]
struct Account {
    status: Status,
    message: Option<Box<str>>,
    last_seen_at: Option<WallMs>,
    blocks: BTreeMap<UserId, WallMs>,
}

/// The whole database.
#[derive(Clone, Debug, Default)]
pub struct Store {
    users: Vec<UserRow>,
    accounts: BTreeMap<UserId, Account>,
    subjects: BTreeMap<String, UserId>,
    /// Rooms, deleted ones included.
    pub rooms: BTreeMap<RoomId, StoredRoom>,
    /// Sanctions by id.
    pub sanctions: BTreeMap<u64, SanctionRow>,
    fence: BTreeMap<(i64, u32), i64>,
    next_room: u64,
    /// Events that a dead process's transaction committed late.
    late: BTreeSet<(RoomId, u64)>,
}

/// Marks a row that a planted fault has dropped: its place is a hole.
pub const NOT_THERE: WallMs = WallMs(-1);
/// Content that the database refuses.
pub const POISON: &str = "poison";

impl StoredRoom {
    /// The last event's position.
    pub fn head(&self) -> Seq {
        Seq(self.events.len() as u64)
    }

    /// Messages up to the head.
    pub fn message_no(&self) -> u64 {
        self.events.last().map_or(0, |row| row.message_no)
    }

    /// Events that are retained.
    pub fn retained(&self) -> &[EventRow] {
        &self.events[self.floor.0 as usize..]
    }

    /// A retained event.
    pub fn row(&self, seq: Seq) -> Option<&EventRow> {
        if seq <= self.floor { None } else { self.events.get(seq.0 as usize - 1) }
    }
}

impl Store {
    /// An event that is committed, retained or not.
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
            let seq = Seq(self.head(row.room_id) + 1);
            self.append(EventRow { seq, ..row.clone() });
        }
    }

    /// A room's committed head.
    pub fn head(&self, room: RoomId) -> u64 {
        self.rooms.get(&room).map_or(0, |room| room.events.len() as u64)
    }

    /// The head that somebody must have noticed: an event that a dead process committed late is found by the next
    /// write into its room.
    pub fn noticed_head(&self, room: RoomId) -> u64 {
        (0..=self.head(room)).rev().find(|seq| !self.is_late(room, *seq)).unwrap_or(0)
    }

    /// Whether a dead process committed this event late.
    pub fn is_late(&self, room: RoomId, seq: u64) -> bool {
        self.late.contains(&(room, seq))
    }

    /// Writes a batch of a process that is gone.
    pub fn apply_late(&mut self, batch: &Batch) -> BatchOutcome {
        let fresh = !self.is_applied(batch);
        let outcome = self.apply(batch);
        if fresh && outcome == BatchOutcome::Committed {
            self.late.extend(batch.events.iter().map(|row| (row.room_id, row.seq.0)));
        }
        outcome
    }

    /// Whether the batch was applied before.
    pub fn is_applied(&self, batch: &Batch) -> bool {
        let key = (batch.writer.epoch, batch.writer.lane);
        self.fence.get(&key).is_some_and(|number| *number >= batch.writer.number)
    }

    /// Retention: events up to and including `floor` are gone.
    pub fn retain(&mut self, room_id: RoomId, floor: Seq) {
        let Some(room) = self.rooms.get_mut(&room_id) else { return };
        room.floor = room.floor.max(floor.min(room.head()));
        let floor = room.floor;
        room.messages.retain(|seq, _| *seq > floor);
        room.clients.retain(|_, seq| *seq > floor);
    }

    /// The grace of all deleted messages of a room is over: their content leaves the database.
    pub fn end_grace(&mut self, room_id: RoomId) {
        let Some(room) = self.rooms.get_mut(&room_id) else { return };
        for message in room.messages.values_mut().filter(|message| message.deleted_at.is_some()) {
            message.content = None;
        }
    }

    /// Writes a batch whole, or says why not.
    pub fn apply(&mut self, batch: &Batch) -> BatchOutcome {
        if self.is_applied(batch) {
            return BatchOutcome::Committed;
        }
        let events: Vec<usize> = (0..batch.events.len()).filter(|index| row_is_poison(&batch.events[*index])).collect();
        let writes: Vec<usize> = (0..batch.writes.len()).filter(|index| is_poison(&batch.writes[*index])).collect();
        if !events.is_empty() || !writes.is_empty() {
            return BatchOutcome::Refused { events, writes, cause: "poison".into() };
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
        let room = self.rooms.get(&room)?;
        let seq = room.clients.get(&(author, Arc::from(client)))?;
        room.row(*seq)
    }

    fn created(&self, creator: UserId, client: &str) -> Option<Earlier> {
        let found = self
            .rooms
            .values()
            .filter(|room| room.deleted_at.is_none()) // a deleted room gives its client id free
            .find(|room| room.creator == creator && room.client.as_ref().is_some_and(|(id, _)| **id == *client))?;
        let hash = found.client.as_ref().map(|(_, hash)| *hash);
        Some(earlier(found, hash))
    }

    fn pair(&self, pair: (UserId, UserId)) -> Option<Earlier> {
        self.rooms.values().find(|room| room.pair == Some(pair)).map(|room| earlier(room, None))
    }

    /// A room that is not deleted.
    pub fn live(&self, room: RoomId) -> Option<&StoredRoom> {
        self.rooms.get(&room).filter(|room| room.deleted_at.is_none())
    }
}

fn row_is_poison(row: &EventRow) -> bool {
    let texts = [&row.content, &row.data, &row.reason];
    texts.into_iter().flatten().any(|text| text.contains(POISON))
}

fn is_poison(write: &Write) -> bool {
    let bad = |text: &Option<Box<str>>| text.as_deref().is_some_and(|text| text.contains(POISON));
    match write {
        Write::Edited { content, .. } => content.contains(POISON),
        Write::CreateRoom { meta, .. } | Write::UpdateRoom { meta } => {
            meta.name.contains(POISON) || bad(&meta.topic) || bad(&meta.description)
        }
        Write::Sanction { row } => row.reason.contains(POISON),
        Write::Status { message, .. } => bad(message),
        _ => false,
    }
}

fn earlier(room: &StoredRoom, hash: Option<u64>) -> Earlier {
    let RoomMeta { room_id, kind, created_at, .. } = room.meta;
    Earlier { room_id, kind, seq: Seq(0), at: created_at, hash }
}

/// Whether this event is a message.
fn is_message(row: &EventRow) -> bool {
    row.kind == EventKind::Message
}
