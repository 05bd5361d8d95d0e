//! The recent events of a room, encoded, so that returning clients and readers are served from memory.

use std::collections::VecDeque;

use crate::fanout::FrameBytes;
use crate::id::Seq;
use crate::limits::Limits;

/// One recent event.
#[derive(Debug, Clone)]
pub struct Recent {
    /// The push, as receivers get it.
    pub frame: FrameBytes,
    /// Where the `data` object lies in `frame`.
    pub data: std::ops::Range<u32>,
    /// Messages up to this event.
    pub message_no: u64,
    /// A message (else `void`).
    pub is_message: bool,
    /// The root of its thread, if it is an answer.
    pub parent_id: Option<Seq>,
}

impl Recent {
    /// The `data` object.
    pub fn data(&self) -> &[u8] {
        &self.frame[self.data.start as usize..self.data.end as usize]
    }
}

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

    /// The event after the head. A jump forgets what was before it.
    pub fn push(&mut self, seq: Seq, event: Recent) {
        if seq != self.head.next() {
            self.events.clear();
            self.bytes = 0;
        }
        self.head = seq;
        self.bytes += event.frame.len();
        self.events.push_back(event);
        while self.events.len() > self.max_events || (self.bytes > self.max_bytes && self.events.len() > 1) {
            let oldest = self.events.pop_front().expect("not empty");
            self.bytes -= oldest.frame.len();
        }
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

    /// Events before this position that are here, newest first.
    pub fn before(&self, seq: Seq) -> impl Iterator<Item = (Seq, &Recent)> {
        let first = self.first().0;
        let count = (seq.0.saturating_sub(first) as usize).min(self.events.len());
        self.events.iter().take(count).enumerate().rev().map(move |(i, event)| (Seq(first + i as u64), event))
    }
}
