//! Compressing frames (permessage-deflate, RFC 7692): each on its own and once, whoever receives it.

#[cfg(test)]
mod tests;

use flate2::{Compress, Compression, FlushCompress, Status};

use crate::core::Core;
use crate::fanout::{Frame, FrameBytes, encode_frame};
use crate::time::Mono;

/// Pushes shorter than this go plain: a packet is sent for them anyway.
pub const PUSH_BYTES_MIN: usize = 256;
/// Replies have one receiver: shorter than this, time is dearer than bytes.
pub const REPLY_BYTES_MIN: usize = 1024;
/// zlib's level. Measured of messages with 128 bytes of text and of pages of 100 such messages: level 1 takes 4 and
/// 58 µs and leaves 76 % and 18 %; 2 takes 10 and 105 µs and leaves 60 % and 14 %; 6 takes 10 and 293 µs and leaves
/// 60 % and 13 %.
const LEVEL: u32 = 2;
/// Bits of the largest window, which is ours.
const BITS_MAX: u8 = 15;
/// What a frame costs beside its bytes, in bytes (8 µs).
const FRAME_COST: usize = 2 << 10;
/// Bytes that a shard compresses in one turn (0.8 ms), [`FRAME_COST`] included; what goes beyond leaves plain.
const TURN_COST_MAX: usize = 192 << 10;
/// RSV1 in a frame's first byte.
const COMPRESSED: u8 = 0x40;
/// First bytes of whole, uncompressed messages.
const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
/// How every compressed message would end; the receiver adds it (RFC 7692, 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xFF, 0xFF];

/// Bits of the window that a connection has agreed to (9–15), or 0: it gets no compressed frames.
///
/// Frames are compressed alone, so no distance is longer than the message: whoever agreed to a smaller window gets the
/// same frame as all others if the whole message fits his window, else the plain one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window(pub u8);

impl Window {
    /// No compression.
    pub const NONE: Window = Window(0);

    fn holds(self, plain: &[u8]) -> bool {
        self.0 == BITS_MAX || (self.0 > 0 && plain.len() <= 1 << self.0)
    }
}

/// The compressor of a shard.
#[derive(Debug, Default)]
pub struct Deflater {
    /// 300 KB; made when first used.
    zlib: Option<Compress>,
    out: Vec<u8>,
    turn: Mono,
    /// In this turn.
    cost: usize,
    /// Frames compressed.
    pub frames: u64,
    /// Frames that went plain because the turn had compressed enough.
    pub put_off: u64,
}

impl Deflater {
    /// The compressed form, made now if it was not made before. `None`: it goes plain.
    pub fn pack(&mut self, now: Mono, plain: &FrameBytes) -> Option<FrameBytes> {
        if let Some(known) = plain.packed() {
            return known.cloned();
        }
        let (first, payload) = message_of(plain)?;
        if self.turn != now {
            (self.turn, self.cost) = (now, 0);
        }
        let cost = FRAME_COST + payload.len();
        if self.cost + cost > TURN_COST_MAX {
            self.put_off += 1;
            return None;
        }
        self.cost += cost;
        let packed = self.compress(first | COMPRESSED, payload);
        plain.remember_packed(packed.clone());
        packed
    }

    /// The frame for one connection of this window.
    pub fn frame(&mut self, now: Mono, window: Window, plain: FrameBytes) -> Frame {
        let wanted = window.holds(&plain) && plain.len() >= PUSH_BYTES_MIN;
        let packed = if wanted { self.pack(now, &plain) } else { None };
        Frame::new(packed.unwrap_or(plain))
    }

    fn compress(&mut self, first: u8, payload: &[u8]) -> Option<FrameBytes> {
        let zlib = self.zlib.get_or_insert_with(|| Compress::new(Compression::new(LEVEL), false));
        zlib.reset();
        self.out.clear();
        self.out.reserve_exact(payload.len());
        // No more room than the payload has: what fills it does not shrink.
        let result = zlib.compress_vec(payload, &mut self.out, FlushCompress::Sync);
        let whole = zlib.total_in() == payload.len() as u64 && self.out.len() < self.out.capacity();
        if !matches!(result, Ok(Status::Ok)) || !whole || self.out.len() >= payload.len() {
            return None;
        }
        let body = self.out.strip_suffix(&TAIL)?;
        self.frames += 1;
        Some(encode_frame(first, body))
    }
}

/// A frame in the forms that its receivers get.
#[derive(Debug)]
pub struct Forms {
    plain: Frame,
    packed: Option<Option<Frame>>,
}

impl Forms {
    /// The compressed form is made when somebody wants it.
    pub fn new(bytes: FrameBytes) -> Forms {
        Forms { plain: Frame::new(bytes), packed: None }
    }

    /// As it was encoded.
    pub fn plain(&self) -> &Frame {
        &self.plain
    }

    /// The form for a connection of this window.
    pub(crate) fn of(&mut self, core: &mut Core, window: Window) -> &Frame {
        let plain = &self.plain;
        if !window.holds(plain.bytes()) || plain.bytes().len() < PUSH_BYTES_MIN {
            return plain;
        }
        let now = core.now.mono;
        let packed = self.packed.get_or_insert_with(|| core.deflater.pack(now, plain.shared()).map(Frame::new));
        let Some(packed) = packed else { return plain };
        core.stats.packed_deliveries += 1;
        core.stats.packed_saved_bytes += (plain.bytes().len() - packed.bytes().len()) as u64;
        packed
    }
}

/// First byte and payload of a frame that is a whole message; `None` of other frames.
fn message_of(frame: &[u8]) -> Option<(u8, &[u8])> {
    let [first @ (TEXT | BINARY), length, ..] = *frame else { return None };
    let payload = match length {
        127 => frame.get(10..),
        126 => frame.get(4..),
        _ => frame.get(2..),
    };
    payload.map(|payload| (first, payload))
}
