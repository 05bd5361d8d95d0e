//! A batch while it is put together.

use crate::journal::{InFlight, Key};
use crate::store::{Batch, EventRow, Write, Writer};
use crate::time::Mono;

/// Collects the rows of one operation after the other.
#[derive(Debug)]
pub struct Building {
    batch: Batch,
    items: Vec<Key>,
    event_items: Vec<usize>,
    write_items: Vec<usize>,
    bytes: usize,
}

impl Building {
    /// Empty.
    pub fn new(writer: Writer) -> Building {
        let batch = Batch { writer, events: Vec::new(), writes: Vec::new() };
        Building { batch, items: Vec::new(), event_items: Vec::new(), write_items: Vec::new(), bytes: 0 }
    }

    /// The next operation's rows follow.
    pub fn begin(&mut self, key: Key) {
        self.items.push(key);
    }

    /// That operation turned out not to be in this batch.
    pub fn cancel(&mut self) {
        self.items.pop();
    }

    /// A row of the operation begun last.
    pub fn event(&mut self, row: EventRow) {
        self.bytes += 128 + row.content.as_ref().map_or(0, |c| c.len()) + row.data.as_ref().map_or(0, |d| d.len());
        self.event_items.push(self.items.len() - 1);
        self.batch.events.push(row);
    }

    /// A write of the operation begun last.
    pub fn write(&mut self, write: Write) {
        self.bytes += 128;
        self.write_items.push(self.items.len() - 1);
        self.batch.writes.push(write);
    }

    /// Operations so far.
    pub fn ops(&self) -> usize {
        self.items.len()
    }

    /// Bytes so far, about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Ready to go.
    pub fn finish(self, sent: Mono) -> (Batch, InFlight) {
        let flight = InFlight {
            writer: self.batch.writer,
            items: self.items,
            event_items: self.event_items,
            write_items: self.write_items,
            sent,
        };
        (self.batch, flight)
    }
}
