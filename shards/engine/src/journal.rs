//! The order in which changes reach the store: lanes of operations, at most one batch of a lane in flight, so that
//! no room or user ever has two transactions under way. A batch leaves when the one before it has come back; where that
//! was a large one, a little later, so that more share the next transaction.

use std::collections::VecDeque;

use crate::id::{RoomId, UserId};
use crate::limits::Limits;
use crate::map::Map;
use crate::store::Writer;
use crate::time::Mono;

/// Whose operation it is. The operations themselves wait with their owner, in order; the journal knows the turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// An operation of a room.
    Room(RoomId),
    /// An operation of a user.
    User(UserId),
}

/// A batch that has left.
#[derive(Debug)]
pub struct InFlight {
    /// Its name.
    pub writer: Writer,
    /// Whose operations, one entry per operation, in order.
    pub items: Vec<Key>,
    /// For each event of the batch: its index in `items`.
    pub event_items: Vec<usize>,
    /// For each write of the batch: its index in `items`.
    pub write_items: Vec<usize>,
    /// When it left.
    pub sent: Mono,
}

#[derive(Debug, Default)]
struct Lane {
    queue: VecDeque<Key>,
    in_flight: Option<InFlight>,
    number: i64,
    /// When its last batch left, and with how many operations.
    left: Mono,
    left_ops: usize,
}

impl Lane {
    /// When it may send a batch. It gathers only behind a batch that many shared: alone, nobody waits.
    fn ready_at(&self, limits: &Limits) -> Option<Mono> {
        if self.in_flight.is_some() || self.queue.is_empty() {
            return None;
        }
        let gathers = self.left_ops >= limits.gather_behind && self.queue.len() < limits.gather_ops;
        Some(if gathers { self.left.after(limits.gather_us) } else { self.left })
    }
}

/// All lanes of a shard, and what waits in them.
#[derive(Debug)]
pub struct Journal {
    lanes: Vec<Lane>,
    first_lane: u32,
    epoch: i64,
    ops: usize,
    bytes: usize,
    per_user: Map<UserId, u32>,
}

impl Journal {
    /// Empty lanes; `first_lane` numbers this shard's first one among all shards'.
    pub fn new(lanes: u16, first_lane: u32, epoch: i64) -> Journal {
        let lanes = (0..lanes.max(1)).map(|_| Lane::default()).collect();
        Journal { lanes, first_lane, epoch, ops: 0, bytes: 0, per_user: Map::default() }
    }

    fn lane_of(&self, key: Key) -> usize {
        let id = match key {
            Key::Room(room) => room.0,
            Key::User(user) => user.0 ^ (1 << 60),
        };
        // Other bits than those that chose the shard.
        ((id.wrapping_mul(0xD6E8_FEB8_6659_FD93) >> 40) % self.lanes.len() as u64) as usize
    }

    /// Whether another operation of this user may come in.
    pub fn has_room(&self, user: UserId, limits: &Limits) -> bool {
        self.ops < limits.journal_ops_max
            && self.bytes < limits.journal_bytes_max
            && self.per_user.get(&user).is_none_or(|&count| count < limits.journal_ops_per_user_max)
    }

    /// An operation was added at the end of its owner's queue.
    pub fn push(&mut self, key: Key, user: UserId, bytes: usize) {
        let lane = self.lane_of(key);
        self.lanes[lane].queue.push_back(key);
        self.ops += 1;
        self.bytes += bytes;
        *self.per_user.entry(user).or_default() += 1;
    }

    /// An operation is done (committed or dropped).
    pub fn done(&mut self, user: UserId, bytes: usize) {
        self.ops -= 1;
        self.bytes -= bytes;
        if let Some(count) = self.per_user.get_mut(&user) {
            *count -= 1;
            if *count == 0 {
                self.per_user.remove(&user);
            }
        }
    }

    /// Microseconds since the oldest batch under way has left; 0: none is.
    pub fn lag_us(&self, now: Mono) -> u64 {
        let left = self.lanes.iter().filter_map(|lane| lane.in_flight.as_ref()).map(|batch| batch.sent);
        left.min().map_or(0, |sent| now.since(sent))
    }

    /// Lanes.
    pub fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// Operations waiting or in flight.
    pub fn ops(&self) -> usize {
        self.ops
    }

    /// Their bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Nothing waits and nothing is in flight.
    pub fn is_quiet(&self) -> bool {
        self.ops == 0 && self.lanes.iter().all(|lane| lane.in_flight.is_none())
    }

    /// Whether this lane may send a batch now.
    pub fn is_ready(&self, lane: usize, limits: &Limits, now: Mono) -> bool {
        self.lanes[lane].ready_at(limits).is_some_and(|at| at <= now)
    }

    /// When the next lane may send a batch; `None`: none has anything, or all wait for theirs to come back.
    pub fn next_ready(&self, limits: &Limits) -> Option<Mono> {
        self.lanes.iter().filter_map(|lane| lane.ready_at(limits)).min()
    }

    /// Takes the next turn of a lane.
    pub fn pop(&mut self, lane: usize) -> Option<Key> {
        self.lanes[lane].queue.pop_front()
    }

    /// Gives a turn back, to the front.
    pub fn unpop(&mut self, lane: usize, key: Key) {
        self.lanes[lane].queue.push_front(key);
    }

    /// Enters turns at the end again (of a room that was held).
    pub fn requeue(&mut self, key: Key, count: usize) {
        let lane = self.lane_of(key);
        self.lanes[lane].queue.extend(std::iter::repeat_n(key, count));
    }

    /// The name of the lane's next batch.
    pub fn next_writer(&mut self, lane: usize) -> Writer {
        assert!(self.lanes[lane].in_flight.is_none(), "two batches of one lane");
        self.lanes[lane].number += 1;
        Writer { epoch: self.epoch, lane: self.first_lane + lane as u32, number: self.lanes[lane].number }
    }

    /// A batch has left.
    pub fn sent(&mut self, lane: usize, batch: InFlight) {
        (self.lanes[lane].left, self.lanes[lane].left_ops) = (batch.sent, batch.items.len());
        self.lanes[lane].in_flight = Some(batch);
    }

    /// The outcome of a batch is here; `None` if it is not one that is in flight (a repeated completion).
    pub fn returned(&mut self, writer: Writer) -> Option<(usize, InFlight)> {
        let lane = writer.lane.checked_sub(self.first_lane)? as usize;
        let slot = &mut self.lanes.get_mut(lane)?.in_flight;
        if slot.as_ref().is_some_and(|batch| batch.writer == writer) { slot.take().map(|b| (lane, b)) } else { None }
    }

    /// Owners of operations that wait or are in flight, some several times.
    pub fn owners(&self) -> impl Iterator<Item = Key> + '_ {
        self.lanes.iter().flat_map(|lane| {
            let flying = lane.in_flight.iter().flat_map(|batch| batch.items.iter().copied());
            flying.chain(lane.queue.iter().copied())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A batch of so many operations leaves at 1,000 µs and is back at 1,500; `waiting` more have come meanwhile.
    fn next_ready(shared: usize, waiting: usize, limits: &Limits) -> Option<Mono> {
        let (mut journal, key) = (Journal::new(1, 0, 1), Key::User(UserId(1)));
        let writer = journal.next_writer(0);
        let items = vec![key; shared];
        let batch = InFlight { writer, items, event_items: Vec::new(), write_items: Vec::new(), sent: Mono(1000) };
        journal.sent(0, batch);
        (0..waiting).for_each(|_| journal.push(key, UserId(1), 100));
        assert!(!journal.is_ready(0, limits, Mono(u64::MAX)), "never two batches of a lane");
        journal.returned(writer).expect("it is under way");
        let next = journal.next_ready(limits);
        assert!(next.is_none_or(|at| journal.is_ready(0, limits, at) && !journal.is_ready(0, limits, Mono(at.0 - 1))));
        next
    }

    #[test]
    fn only_behind_a_batch_that_many_shared_the_next_one_gathers() {
        let limits = Limits { gather_behind: 8, gather_us: 2000, gather_ops: 64, ..Limits::default() };
        for (shared, waiting, expected) in
            [(7, 1, Some(1000)), (8, 1, Some(3000)), (8, 63, Some(3000)), (8, 64, Some(1000)), (8, 0, None)]
        {
            assert_eq!(next_ready(shared, waiting, &limits), expected.map(Mono), "{shared} {waiting}");
        }
    }
}
