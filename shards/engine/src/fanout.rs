//! Frames that many receivers share, and the outbox of one connection.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use crate::memory::{block, items};

/// One complete WebSocket frame (header and payload; server frames are not masked), encoded once. It crosses shards
/// as this; within a shard its receivers share it through [`Frame`], without atomics.
#[derive(Clone, Debug)]
pub struct FrameBytes(Arc<Encoded>);

#[derive(Debug)]
struct Encoded {
    plain: Box<[u8]>,
    /// The same message compressed, once a shard has done it for all; `None` inside: it does not shrink.
    packed: OnceLock<Option<FrameBytes>>,
}

impl FrameBytes {
    /// What is known of the compressed form: nothing, that there is none, or the frame.
    pub fn packed(&self) -> Option<Option<&FrameBytes>> {
        self.0.packed.get().map(Option::as_ref)
    }

    /// Remembers the compressed form. Two shards may make it at the same time, and neither waits for the other: the
    /// first one's stays.
    pub fn remember_packed(&self, packed: Option<FrameBytes>) {
        let _ = self.0.packed.set(packed);
    }
}

impl From<Vec<u8>> for FrameBytes {
    fn from(bytes: Vec<u8>) -> FrameBytes {
        FrameBytes(Arc::new(Encoded { plain: bytes.into(), packed: OnceLock::new() }))
    }
}

impl Deref for FrameBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0.plain
    }
}

impl PartialEq for FrameBytes {
    fn eq(&self, other: &FrameBytes) -> bool {
        **self == **other
    }
}

impl Eq for FrameBytes {}

/// A frame as the outboxes of one shard share it.
#[derive(Clone, Debug)]
pub struct Frame(Rc<FrameBytes>);

impl Frame {
    /// Takes encoded bytes into this shard.
    pub fn new(bytes: FrameBytes) -> Frame {
        Frame(Rc::new(bytes))
    }

    /// A text frame around `payload`.
    pub fn text(payload: &[u8]) -> Frame {
        Frame::new(text_frame(payload))
    }

    /// What the shards share.
    pub fn shared(&self) -> &FrameBytes {
        &self.0
    }

    /// Header and payload.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Encodes a text frame: FIN, opcode 1, unmasked.
pub fn text_frame(payload: &[u8]) -> FrameBytes {
    encode_frame(0x81, payload)
}

/// Encodes an unmasked frame with this first byte.
pub fn encode_frame(first: u8, payload: &[u8]) -> FrameBytes {
    frame_with(first, payload.len(), |out| out.extend_from_slice(payload))
}

/// Encodes an unmasked frame whose payload of `len` bytes `fill` appends: written once, in its place.
pub fn frame_with(first: u8, len: usize, fill: impl FnOnce(&mut Vec<u8>)) -> FrameBytes {
    let header = match len {
        ..=125 => 2,
        126..=0xFFFF => 4,
        _ => 10,
    };
    let mut out = Vec::with_capacity(header + len);
    match len {
        0..=125 => out.extend_from_slice(&[first, len as u8]),
        126..=0xFFFF => {
            let [high, low] = (len as u16).to_be_bytes();
            out.extend_from_slice(&[first, 126, high, low]);
        }
        _ => {
            out.extend_from_slice(&[first, 127]);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    fill(&mut out);
    assert_eq!(out.len(), header + len, "the header says how long the payload is");
    out.into()
}

/// What a waiting frame is; decides what it counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameClass {
    /// Counts against `limits.outbox_bytes`.
    Push,
    /// Counts against `limits.reply_bytes_max` (pauses reading, never closes). Replays count here too: they are
    /// asked for page by page.
    Reply,
    /// Ping, pong, close: bounded by the gateway.
    Control,
}

/// Frames that wait for one socket, oldest first. Empty and single-frame outboxes own no memory.
#[derive(Debug, Default)]
pub struct Outbox {
    queue: Queue,
    /// Bytes of the first frame that are written already.
    head_written: u32,
    push_bytes: u32,
    reply_bytes: u32,
}

#[derive(Debug, Default)]
enum Queue {
    #[default]
    Empty,
    One(Frame, FrameClass),
    #[allow(clippy::box_collection)] // an idle connection pays for the largest variant
    Many(Box<VecDeque<(Frame, FrameClass)>>),
}

impl Outbox {
    /// Appends a frame.
    pub fn push(&mut self, frame: Frame, class: FrameClass) {
        let len = frame.bytes().len() as u32;
        match class {
            FrameClass::Push => self.push_bytes += len,
            FrameClass::Reply => self.reply_bytes += len,
            FrameClass::Control => {}
        }
        self.queue = match std::mem::take(&mut self.queue) {
            Queue::Empty => Queue::One(frame, class),
            Queue::One(first, first_class) => {
                let mut many = Box::new(VecDeque::with_capacity(4));
                many.push_back((first, first_class));
                many.push_back((frame, class));
                Queue::Many(many)
            }
            Queue::Many(mut many) => {
                many.push_back((frame, class));
                Queue::Many(many)
            }
        };
    }

    /// Puts another's frames, of which nothing is written yet, behind its own.
    pub fn append(&mut self, other: Outbox) {
        assert_eq!(other.head_written, 0, "nothing is written yet");
        match other.queue {
            Queue::Empty => {}
            Queue::One(frame, class) => self.push(frame, class),
            Queue::Many(many) => many.into_iter().for_each(|(frame, class)| self.push(frame, class)),
        }
    }

    /// Bytes that the queue takes, and this connection's share of its frames. Of a long queue the first frames stand for
    /// all.
    pub fn memory(&self) -> usize {
        const LOOKED_AT: usize = 64;
        let share = |frame: &Frame| block(frame.bytes().len() + 16) / Rc::strong_count(&frame.0);
        match &self.queue {
            Queue::Empty => 0,
            Queue::One(frame, _) => share(frame),
            Queue::Many(many) => {
                let some: usize = many.iter().take(LOOKED_AT).map(|(frame, _)| share(frame)).sum();
                let looked_at = many.len().clamp(1, LOOKED_AT);
                items::<(Frame, FrameClass)>(many.capacity()) + 48 + some * many.len() / looked_at
            }
        }
    }

    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        matches!(self.queue, Queue::Empty)
    }

    /// Bytes of pushes that wait (a frame counts until it is written whole).
    pub fn push_bytes(&self) -> usize {
        self.push_bytes as usize
    }

    /// Bytes of replies and replays that wait.
    pub fn reply_bytes(&self) -> usize {
        self.reply_bytes as usize
    }

    /// The bytes to write next, as up to `max` slices appended to `out`.
    pub fn slices<'a>(&'a self, out: &mut Vec<IoSlice<'a>>, max: usize) {
        let skip = self.head_written as usize;
        match &self.queue {
            Queue::Empty => {}
            Queue::One(frame, _) => out.push(IoSlice::new(&frame.bytes()[skip..])),
            Queue::Many(many) => {
                for (index, (frame, _)) in many.iter().take(max).enumerate() {
                    let skip = if index == 0 { skip } else { 0 };
                    out.push(IoSlice::new(&frame.bytes()[skip..]));
                }
            }
        }
    }

    /// Drops all frames but one that is written in part: what a slow receiver can still be sent before its Close.
    pub fn keep_begun(&mut self) {
        let begun = self.head_written > 0;
        let first = match std::mem::take(&mut self.queue) {
            Queue::Empty => None,
            Queue::One(frame, class) => Some((frame, class)),
            Queue::Many(mut many) => many.pop_front(),
        };
        let head_written = self.head_written;
        *self = Outbox::default();
        if let (true, Some((frame, class))) = (begun, first) {
            self.push(frame, class);
            self.head_written = head_written;
        }
    }

    /// The only waiting frame's remaining bytes, if exactly one waits: spares the gather list.
    pub fn single(&self) -> Option<&[u8]> {
        match &self.queue {
            Queue::One(frame, _) => Some(&frame.bytes()[self.head_written as usize..]),
            _ => None,
        }
    }

    /// `written` bytes of what [`Outbox::slices`] gave are out. Says how many frames that completes.
    pub fn advance(&mut self, mut written: usize) -> u64 {
        let mut frames = 0;
        while written > 0 {
            let (len, class) = match &self.queue {
                Queue::Empty => panic!("wrote more than there was"),
                Queue::One(frame, class) => (frame.bytes().len(), *class),
                Queue::Many(many) => {
                    let (frame, class) = many.front().expect("Many is never empty");
                    (frame.bytes().len(), *class)
                }
            };
            let left = len - self.head_written as usize;
            if written < left {
                self.head_written += written as u32;
                break;
            }
            written -= left;
            frames += 1;
            self.head_written = 0;
            match class {
                FrameClass::Push => self.push_bytes -= len as u32,
                FrameClass::Reply => self.reply_bytes -= len as u32,
                FrameClass::Control => {}
            }
            match &mut self.queue {
                Queue::Empty => unreachable!("checked above"),
                Queue::One(..) => self.queue = Queue::Empty,
                Queue::Many(many) => {
                    many.pop_front();
                    if many.is_empty() {
                        self.queue = Queue::Empty;
                    }
                }
            }
        }
        frames
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outbox(frames: usize, written: usize) -> Outbox {
        let mut outbox = Outbox::default();
        (0..frames).for_each(|_| outbox.push(Frame::text(b"12345678"), FrameClass::Push));
        outbox.advance(written);
        outbox
    }

    #[test]
    fn frames_are_counted_when_they_are_out_whole() {
        let mut outbox = outbox(3, 0);
        for (written, frames) in [(9, 0), (1, 1), (15, 1), (5, 1), (0, 0)] {
            assert_eq!(outbox.advance(written), frames, "{written} bytes");
        }
        assert!(outbox.is_empty());
    }

    #[test]
    fn keeping_what_is_begun() {
        for (frames, written, left) in [(0, 0, 0), (1, 0, 0), (3, 0, 0), (1, 4, 6), (3, 4, 6), (3, 10, 0), (3, 12, 8)] {
            let mut outbox = outbox(frames, written);
            outbox.keep_begun();
            assert_eq!(outbox.single().map_or(0, <[u8]>::len), left, "{frames} frames, {written} bytes written");
            assert_eq!(outbox.is_empty(), left == 0);
            assert_eq!(outbox.push_bytes(), if left == 0 { 0 } else { 10 });
        }
    }
}
