//! The rings between shards: one bounded ring per ordered pair, so each has one producer and one consumer.
//!
//! A full ring is nothing special: what does not fit waits inside the sender's engine (bounded there by admission,
//! `limits.peer_queue_max`), and the receiver rings the sender's bell once it has made room.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

use crossbeam::queue::ArrayQueue;
use crossbeam::utils::CachePadded;
use veza_engine::id::ShardId;

use crate::doorbell::Doorbell;

/// Messages in one ring. What a burst needs beyond waits in the sender's engine.
pub const RING_MESSAGES_MAX: usize = 1024;

struct Ring<T> {
    queue: ArrayQueue<T>,
    /// The sender found the ring full and wants its bell rung when there is room.
    starved: CachePadded<AtomicBool>,
}

impl<T> Ring<T> {
    fn new(capacity: usize) -> Arc<Ring<T>> {
        Arc::new(Ring { queue: ArrayQueue::new(capacity), starved: CachePadded::new(AtomicBool::new(false)) })
    }
}

/// One shard's ends of all its rings. Moves into the shard's thread.
pub struct Port<T> {
    me: usize,
    out: Vec<Arc<Ring<T>>>,
    inward: Vec<Arc<Ring<T>>>,
    bells: Vec<Arc<Doorbell>>,
    /// Peers that got something since the last [`Port::ring`].
    touched: Vec<bool>,
    /// Bells that took a system call to ring.
    rung: u64,
}

/// The ports of as many shards as there are bells. The rings of a shard to itself stay unused: the engine delivers
/// to itself without them.
pub fn mesh<T>(bells: &[Arc<Doorbell>], capacity: usize) -> Vec<Port<T>> {
    let shards = bells.len();
    let rings: Vec<Vec<_>> = (0..shards)
        .map(|from| (0..shards).map(|to| Ring::new(if from == to { 1 } else { capacity })).collect())
        .collect();
    (0..shards)
        .map(|me| Port {
            me,
            out: rings[me].clone(),
            inward: rings.iter().map(|row| row[me].clone()).collect(),
            bells: bells.to_vec(),
            touched: vec![false; shards],
            rung: 0,
        })
        .collect()
}

impl<T> Port<T> {
    /// All shards but this one.
    pub fn peers(&self) -> impl Iterator<Item = ShardId> + use<T> {
        let me = self.me;
        (0..self.out.len()).filter(move |peer| *peer != me).map(|peer| ShardId(peer as u16))
    }

    /// Whether the ring to `to` takes another message. A ring found full is remembered: its receiver will ring.
    pub fn has_room(&self, to: ShardId) -> bool {
        let ring = &self.out[usize::from(to.0)];
        if !ring.queue.is_full() {
            return true;
        }
        // Announce, fence, look again: as with the doorbell, either the receiver sees the announcement after it has
        // popped, or this look sees the room.
        ring.starved.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        !ring.queue.is_full()
    }

    /// Sends; only after [`Port::has_room`] said yes (this end is the only producer, so room does not go away).
    ///
    /// # Panics
    /// If the ring is full: a fault of the caller.
    pub fn send(&mut self, to: ShardId, message: T) {
        let to = usize::from(to.0);
        assert!(self.out[to].queue.push(message).is_ok(), "sent into a full ring");
        self.touched[to] = true;
    }

    /// Rings the bells of those that were sent something since the last time.
    pub fn ring(&mut self) {
        for (touched, bell) in self.touched.iter_mut().zip(&self.bells) {
            if std::mem::take(touched) {
                self.rung += u64::from(bell.ring());
            }
        }
    }

    /// The next message from one peer.
    pub fn receive(&self, from: ShardId) -> Option<T> {
        self.inward[usize::from(from.0)].queue.pop()
    }

    /// To be called after a few messages of a peer were received: rings if it waits for the room.
    pub fn made_room(&mut self, from: ShardId) {
        let from = usize::from(from.0);
        let starved = &self.inward[from].starved;
        fence(Ordering::SeqCst);
        if starved.load(Ordering::Relaxed) && starved.swap(false, Ordering::AcqRel) {
            self.rung += u64::from(self.bells[from].ring());
        }
    }

    /// Bells rung so far that took a system call.
    pub fn rung(&self) -> u64 {
        self.rung
    }

    /// Nothing waits to be received.
    pub fn is_empty(&self) -> bool {
        self.inward.iter().all(|ring| ring.queue.is_empty())
    }

    /// Messages that wait to be received.
    pub fn waiting(&self) -> usize {
        self.inward.iter().map(|ring| ring.queue.len()).sum()
    }
}
