//! The table of a shard's sockets. A slot is reused under a new generation, so that what comes late for a connection
//! never reaches the next one in its place.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use socket2::Socket;
use veza_engine::id::{ConnId, ShardId};
use veza_engine::prefetch::prefetch;

use crate::edge::End;
use crate::poller::{Interest, Token};

/// One open socket.
pub struct Open<C> {
    /// Non-blocking.
    pub socket: Socket,
    /// Whether it is read.
    pub read: bool,
    /// Whether the last write found it full: `EPOLLOUT` is asked for.
    pub blocked: bool,
    /// What the poller watches it for.
    pub watched: Interest,
    /// It ends with this turn.
    pub end: Option<End>,
    /// The edge's state.
    pub conn: C,
}

impl<C> Open<C> {
    /// What the poller is to watch it for from now on.
    pub fn interest(&self) -> Interest {
        Interest { read: self.read, write: self.blocked }
    }
}

struct Slot<C> {
    generation: u32,
    open: Option<Open<C>>,
}

/// Places below which the table does not shrink.
const SLOTS_MIN: usize = 256;
/// A look at whether it can comes with every so many ends, and with the last ones.
const SHRINK_EVERY: usize = 64;

/// All sockets of one shard.
pub struct Sockets<C> {
    shard: ShardId,
    slots: Vec<Slot<C>>,
    /// Places to be taken again, the lowest first: so the end of the table is free when a storm has gone.
    free: BinaryHeap<Reverse<u32>>,
    /// Counts all connections: a place that was given up and made anew does not repeat a name either.
    generation: u32,
}

impl<C> Sockets<C> {
    /// No sockets.
    pub fn new(shard: ShardId) -> Sockets<C> {
        Sockets { shard, slots: Vec::new(), free: BinaryHeap::new(), generation: 0 }
    }

    /// Takes in a socket that is read and not blocked.
    pub fn insert(&mut self, socket: Socket, conn: C) -> ConnId {
        let slot = self.free.pop().map_or_else(
            || {
                self.slots.push(Slot { generation: 0, open: None });
                (self.slots.len() - 1) as u32
            },
            |Reverse(slot)| slot,
        );
        self.generation = self.generation.wrapping_add(1);
        let place = &mut self.slots[slot as usize];
        assert!(place.open.is_none(), "a free slot is free");
        place.generation = self.generation;
        let watched = Interest { read: true, write: false };
        place.open = Some(Open { socket, read: true, blocked: false, watched, end: None, conn });
        ConnId { shard: self.shard, slot, generation: place.generation }
    }

    /// The socket of this connection, if it is still there.
    pub fn get_mut(&mut self, id: ConnId) -> Option<&mut Open<C>> {
        let slot = self.slots.get_mut(id.slot as usize)?;
        if slot.generation == id.generation { slot.open.as_mut() } else { None }
    }

    /// Has its memory fetched: it is needed soon.
    pub fn prefetch(&self, id: ConnId) {
        if let Some(slot) = self.slots.get(id.slot as usize) {
            prefetch(&slot.generation);
            prefetch(&slot.open);
        }
    }

    /// Takes it out.
    pub fn remove(&mut self, id: ConnId) -> Option<Open<C>> {
        let slot = self.slots.get_mut(id.slot as usize).filter(|slot| slot.generation == id.generation)?;
        let open = slot.open.take()?;
        self.free.push(Reverse(id.slot));
        let count = self.count();
        let looks = count < SHRINK_EVERY || count.is_multiple_of(SHRINK_EVERY);
        if looks && self.slots.len() > SLOTS_MIN && count < self.slots.len() / 4 {
            self.shrink();
        }
        Some(open)
    }

    /// Gives up free places at the end of the table.
    fn shrink(&mut self) {
        let last = self.slots.iter().rposition(|slot| slot.open.is_some()).map_or(0, |last| last + 1);
        let len = last.max(SLOTS_MIN);
        if len > self.slots.len() / 2 {
            return;
        }
        self.slots.truncate(len);
        self.slots.shrink_to(len);
        self.free.retain(|Reverse(slot)| (*slot as usize) < len);
        self.free.shrink_to(len);
    }

    /// Open sockets.
    pub fn count(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Bytes of the table itself; what the edge's state owns besides is not in it.
    pub fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Slot<C>>() + self.free.capacity() * size_of::<u32>()
    }

    /// How the poller calls it.
    pub fn token(id: ConnId) -> Token {
        Token(u64::from(id.generation) << 32 | u64::from(id.slot))
    }

    /// Whom the poller means.
    pub fn id(&self, token: Token) -> ConnId {
        ConnId { shard: self.shard, slot: token.0 as u32, generation: (token.0 >> 32) as u32 }
    }

    /// All that are open.
    pub fn ids(&self) -> impl Iterator<Item = ConnId> {
        self.slots.iter().enumerate().filter(|(_, slot)| slot.open.is_some()).map(|(index, slot)| ConnId {
            shard: self.shard,
            slot: index as u32,
            generation: slot.generation,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::{Domain, Type};

    #[test]
    fn a_late_name_does_not_reach_the_next_in_the_slot() {
        let socket = || Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let mut sockets = Sockets::new(ShardId(3));
        let first = sockets.insert(socket(), 'a');
        assert_eq!(sockets.id(Sockets::<char>::token(first)), first);
        assert_eq!(sockets.remove(first).map(|open| open.conn), Some('a'));
        let second = sockets.insert(socket(), 'b');
        assert_eq!(second.slot, first.slot);
        assert!(sockets.get_mut(first).is_none());
        assert!(sockets.remove(first).is_none());
        assert_eq!(sockets.get_mut(second).map(|open| open.conn), Some('b'));
        assert_eq!(sockets.ids().collect::<Vec<_>>(), [second]);
        assert_eq!(sockets.count(), 1);
    }

    #[test]
    fn the_table_shrinks_behind_a_storm_and_nobody_is_lost_or_confused() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let mut sockets = Sockets::new(ShardId(0));
        let many: Vec<ConnId> = (0..2000).map(|n| sockets.insert(socket.try_clone().unwrap(), n)).collect();
        let stays = many[300];
        for id in many.iter().filter(|id| **id != stays) {
            assert!(sockets.remove(*id).is_some());
        }
        assert!(sockets.slots.len() <= 301, "{} places", sockets.slots.len());
        assert_eq!(sockets.get_mut(stays).map(|open| open.conn), Some(300));
        let again: Vec<ConnId> = (0..2000).map(|n| sockets.insert(socket.try_clone().unwrap(), n)).collect();
        assert_eq!(sockets.count(), 2001);
        assert!(again.iter().all(|id| id.slot != 300 && !many.contains(id)), "no name comes twice");
        assert!(many.iter().all(|id| *id == stays || sockets.get_mut(*id).is_none()));
    }
}
