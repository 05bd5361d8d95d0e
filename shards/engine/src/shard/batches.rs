//! Batches: what goes to the store, and what has become of it.

use super::Shard;
use crate::effect::Effect;
use crate::journal::{InFlight, Key};
use crate::journal_batch::Building;
use crate::map::Map;
use crate::store::{BatchOutcome, Writer};

impl Shard {
    /// A batch has come back.
    pub(super) fn stored(&mut self, writer: Writer, outcome: BatchOutcome) {
        let Some((lane, flight)) = self.core.journal.returned(writer) else { return };
        self.core.stats.commit_us.record(self.core.now.mono.since(flight.sent));
        let owners = owners(&flight);
        match outcome {
            BatchOutcome::Committed => {
                for (key, count) in owners {
                    self.commit(key, count);
                }
            }
            BatchOutcome::Conflict { stale, duplicates } => {
                self.core.stats.conflicts += 1;
                self.rewind(lane, &flight, &owners);
                for duplicate in &duplicates {
                    let items = if duplicate.is_event { &flight.event_items } else { &flight.write_items };
                    let Some(&item) = items.get(duplicate.index) else { continue };
                    let (key, place) = (flight.items[item], place(&flight, item));
                    match key {
                        Key::Room(room_id) => {
                            if let Some(room) = self.rooms.get(room_id) {
                                room.drop_duplicate(&mut self.core, place, duplicate);
                            }
                        }
                        Key::User(user_id) => {
                            self.users.drop_duplicate(&mut self.core, user_id, place, duplicate);
                        }
                    }
                }
                for room_id in stale {
                    self.rooms.hold(&mut self.core, room_id);
                }
            }
            BatchOutcome::Refused { events, writes, cause } => {
                self.rewind(lane, &flight, &owners);
                let event_items = events.iter().filter_map(|index| flight.event_items.get(*index));
                let write_items = writes.iter().filter_map(|index| flight.write_items.get(*index));
                let mut items: Vec<usize> = event_items.chain(write_items).copied().collect();
                items.sort_unstable();
                items.dedup();
                for item in items {
                    let (key, place) = (flight.items[item], place(&flight, item));
                    match key {
                        Key::Room(room_id) => {
                            if let Some(room) = self.rooms.get(room_id) {
                                room.refuse_op(&mut self.core, place, &cause);
                            }
                        }
                        Key::User(user_id) => self.users.refuse_op(&mut self.core, user_id, place, &cause),
                    }
                }
            }
        }
    }

    fn commit(&mut self, key: Key, count: usize) {
        let core = &mut self.core;
        match key {
            Key::Room(room_id) => {
                let room = self.rooms.get(room_id).expect("a room with operations is in memory");
                room.commit(core, count);
                self.rooms.note_online(room_id);
            }
            Key::User(user_id) => self.users.commit(core, user_id, count),
        }
    }

    /// Nothing of a batch was committed: its turns go back to the front of the lane.
    fn rewind(&mut self, lane: usize, flight: &InFlight, owners: &[(Key, usize)]) {
        for key in flight.items.iter().rev() {
            self.core.journal.unpop(lane, *key);
        }
        for (key, _) in owners {
            match key {
                Key::Room(room_id) => {
                    if let Some(room) = self.rooms.get(*room_id) {
                        room.rewind();
                    }
                }
                Key::User(user_id) => self.users.rewind(*user_id),
            }
        }
    }

    /// Sends a batch on every lane that is free and has something to write.
    pub(super) fn send_batches(&mut self) {
        for lane in 0..self.core.journal.lanes() {
            if !self.core.journal.is_ready(lane, &self.core.limits, self.core.now.mono) {
                continue;
            }
            let mut building: Option<Building> = None;
            let (ops, bytes) = (self.core.limits.batch_ops_max, self.core.limits.batch_bytes_max);
            while building.as_ref().is_none_or(|b| b.ops() < ops && b.bytes() < bytes) {
                let Some(key) = self.core.journal.pop(lane) else { break };
                let batch = building.get_or_insert_with(|| Building::new(self.core.journal.next_writer(lane)));
                batch.begin(key);
                match key {
                    Key::Room(room_id) => {
                        if !self.rooms.write_next(room_id, batch) {
                            batch.cancel();
                        }
                    }
                    Key::User(user_id) => self.users.write_next(user_id, batch),
                }
            }
            let Some(building) = building.filter(|building| building.ops() > 0) else { continue };
            self.core.stats.batch_ops.record(building.ops() as u64);
            let (batch, flight) = building.finish(self.core.now.mono);
            self.core.journal.sent(lane, flight);
            self.core.effects.push_back(Effect::Store(Box::new(batch)));
        }
    }
}

/// Owners of a batch's operations with their number, in order of first appearance.
fn owners(flight: &InFlight) -> Vec<(Key, usize)> {
    let mut index: Map<Key, usize> = Map::default();
    let mut owners: Vec<(Key, usize)> = Vec::new();
    for key in &flight.items {
        let place = *index.entry(*key).or_insert_with(|| {
            owners.push((*key, 0));
            owners.len() - 1
        });
        owners[place].1 += 1;
    }
    owners
}

/// The place of a batch's item among its owner's operations.
fn place(flight: &InFlight, item: usize) -> usize {
    let key = flight.items[item];
    flight.items[..item].iter().filter(|other| **other == key).count()
}
