//! The memory of rooms, for [`crate::memory`].

use std::sync::Arc;

use super::recent::Recent;
use super::table::{Rooms, Slot};
use super::{Op, Room, Waiting};
use crate::id::{ConnId, UserId};
use crate::memory::{Memory, block, items, table};

impl Rooms {
    /// Adds what rooms take.
    pub fn measure(&mut self, memory: &mut Memory) {
        let slots = self.map.values();
        let [rooms, rings] = self.cursor.estimate(self.map.len(), slots, |slot: &Slot| match slot {
            Slot::Loading(waiting) => [items::<Waiting>(waiting.capacity()), 0],
            Slot::Ready(room) => room_bytes(room),
        });
        memory.rooms = rooms + table(&self.map) as u64;
        memory.rings = rings;
    }
}

/// Of the room, and of its recent events.
fn room_bytes(room: &Room) -> [usize; 2] {
    // Names are counted at their usual length: reading each would cost a miss of the cache.
    let members = room.members.len() * block(16);
    let tables = table(&room.members)
        + table(&room.subs)
        + table(&room.clients_pending)
        + table(&room.clients_done)
        + table(&room.busy)
        + table(&room.older)
        + table(&room.own_reactions)
        + table(&room.names)
        + table(&room.last_sent);
    let client_ids = room.clients_order.len() * 2 * block(36)
        + items::<(UserId, Arc<str>)>(room.clients_order.capacity())
        + items::<Op>(room.pending.capacity())
        + items::<Waiting>(room.waiting.capacity());
    let own = block(size_of::<Room>()) + items::<ConnId>(room.shard_subs.len() / 2) + members + tables + client_ids;
    [own + room.online.memory(), room.ring.memory() + room.older.values().flatten().map(recent_bytes).sum::<usize>()]
}

fn recent_bytes(recent: &Recent) -> usize {
    block(recent.frame.len() + 16)
}
