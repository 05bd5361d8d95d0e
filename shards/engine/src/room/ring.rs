//! The recent events of a room, encoded, so that returning clients and readers are served from memory.

use std::collections::VecDeque;

use super::recent::Recent;
use crate::id::{Seq, UserId};
use crate::limits::Limits;
use crate::memory::items;
use crate::store::EventKind;
use crate::time::WallMs;

/// Consecutive events ending at the head, bounded in number and bytes; the oldest go first.
#[derive(Debug)]
pub struct Ring {
    head: Seq,
    events: VecDeque<Recent>,
    bytes: usize,
    max_events: usize,
    max_bytes: usize,
}

impl Ring {
    /// Empty, at this head.
    pub fn new(head: Seq, limits: &Limits) -> Ring {
        let (max_events, max_bytes) = (limits.ring_events, limits.ring_bytes);
        Ring { head, events: VecDeque::new(), bytes: 0, max_events, max_bytes }
    }

    /// The event after the head; what had to go for it is handed to `gone`. A jump forgets what was before it.
    pub fn push(&mut self, seq: Seq, event: Recent, mut gone: impl FnMut(Seq, Recent)) {
        if seq != self.head.next() {
            self.clear();
        }
        self.head = seq;
        self.bytes += event.frame.len();
        self.events.push_back(event);
        while self.events.len() > self.max_events || (self.bytes > self.max_bytes && self.events.len() > 1) {
            let seq = self.first();
            let oldest = self.events.pop_front().expect("not empty");
            self.bytes -= oldest.frame.len();
            gone(seq, oldest);
        }
    }

    /// Forgets all events; the head stays.
    pub fn clear(&mut self) {
        self.events.clear();
        self.bytes = 0;
    }

    /// Forgets events up to and including this one.
    pub fn trim(&mut self, floor: Seq) {
        while self.first() <= floor {
            let Some(oldest) = self.events.pop_front() else { break };
            self.bytes -= oldest.frame.len();
        }
    }

    /// Changes an event, if it is here.
    pub fn change(&mut self, seq: Seq, change: impl FnOnce(&mut Recent)) -> bool {
        let Some(index) = seq.0.checked_sub(self.first().0) else { return false };
        let Some(event) = self.events.get_mut(index as usize) else { return false };
        self.bytes -= event.frame.len();
        change(event);
        self.bytes += event.frame.len();
        true
    }

    /// Changes all events here that are edits of this message.
    pub fn change_edits(&mut self, message: Seq, mut change: impl FnMut(&mut Recent)) {
        for event in self.events.iter_mut().filter(|e| e.kind == EventKind::Edit && e.parent_id == Some(message)) {
            self.bytes -= event.frame.len();
            change(event);
            self.bytes += event.frame.len();
        }
    }

    /// Bytes that it takes. Each frame is two blocks, its bytes and what those who share it hold; its compressed form,
    /// where there is one, again. The newest stands for all.
    pub fn memory(&self) -> usize {
        const FRAME: usize = 16 + 64;
        let newest = self.events.back().and_then(|event| event.frame.packed().flatten());
        let packed = newest.map_or(0, |packed| FRAME + packed.len());
        self.bytes + self.events.len() * (FRAME + packed) + items::<Recent>(self.events.capacity())
    }

    /// The position of the oldest event here; the head's successor if there is none.
    pub fn first(&self) -> Seq {
        Seq(self.head.0 + 1 - self.events.len() as u64)
    }

    /// An event, if it is here.
    pub fn get(&self, seq: Seq) -> Option<&Recent> {
        let index = seq.0.checked_sub(self.first().0)?;
        self.events.get(index as usize)
    }

    /// Events after this position, if they are all here.
    pub fn after(&self, seq: Seq) -> Option<impl Iterator<Item = (Seq, &Recent)>> {
        let first = self.first();
        let skip = seq.next().0.checked_sub(first.0)? as usize;
        let from = first.0 + skip as u64;
        Some(self.events.iter().skip(skip).enumerate().map(move |(i, event)| (Seq(from + i as u64), event)))
    }

    /// Messages whose deletion is here, and when that was.
    pub fn deletions(&self) -> impl Iterator<Item = (Seq, WallMs)> {
        let deletions = self.events.iter().filter(|event| event.kind == EventKind::Delete);
        deletions.filter_map(|event| Some((event.parent_id?, event.at)))
    }

    /// When this user's newest message here was sent.
    pub fn last_of(&self, user: UserId) -> Option<WallMs> {
        let newest = self.events.iter().rev().find(|event| event.is_message() && event.author_id == Some(user));
        newest.map(|event| event.at)
    }

    /// Events before this position that are here, newest first.
    pub fn before(&self, seq: Seq) -> impl Iterator<Item = (Seq, &Recent)> {
        let first = self.first().0;
        let count = (seq.0.saturating_sub(first) as usize).min(self.events.len());
        self.events.iter().take(count).enumerate().rev().map(move |(i, event)| (Seq(first + i as u64), event))
    }
}
