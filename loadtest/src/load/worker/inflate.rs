//! permessage-deflate beneath a WebSocket library that knows nothing of it: compressed frames of the server are made plain
//! before the library sees them. No message refers to the one before (the server promises that), so one decompressor
//! serves all connections of a worker. What clients send is not compressed, which the extension allows.

use flate2::{Decompress, FlushDecompress};
use std::cell::RefCell;
use std::io::{self, Error, ErrorKind};

/// The offer in an upgrade, and what the answer must have.
pub const OFFER: &str =
    "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n";
pub const AGREED: &str = "permessage-deflate";
/// What ends every compressed message, and is left out on the wire (RFC 7692, 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
/// The longest message, made plain: more is a bomb.
const MESSAGE_MAX: usize = 64 << 20;
/// Bits of a frame's first byte: the last of its message; compressed.
const FIN: u8 = 0x80;
const COMPRESSED: u8 = 0x40;

thread_local! {
    static ZLIB: RefCell<Decompress> = RefCell::new(Decompress::new(false));
}

/// Frames on their way to the library.
#[derive(Debug, Default)]
pub struct Plain {
    /// The beginning of a frame that is not whole yet.
    raw: Vec<u8>,
    out: Vec<u8>,
    /// How much of `out` is taken.
    taken: usize,
}

impl Plain {
    /// Bytes from the wire.
    ///
    /// # Errors
    /// If they are no frames, or do not decompress.
    pub fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.raw.extend_from_slice(bytes);
        let mut at = 0;
        while let Some((head, length)) = extent(&self.raw[at..])
            && self.raw.len() - at - head >= length
        {
            let payload = &self.raw[at + head..at + head + length];
            match self.raw[at] {
                first if first & COMPRESSED == 0 => self.out.extend_from_slice(&self.raw[at..at + head + length]),
                first if first & FIN == 0 => return Err(Error::new(ErrorKind::InvalidData, "a part of a message")),
                first => {
                    let message = ZLIB.with_borrow_mut(|zlib| inflate(zlib, payload))?;
                    self.out.extend([first & !COMPRESSED, 127]);
                    self.out.extend((message.len() as u64).to_be_bytes());
                    self.out.extend_from_slice(&message);
                }
            }
            at += head + length;
        }
        self.raw.drain(..at);
        Ok(())
    }

    /// As much as fits of what the library may have.
    pub fn take(&mut self, buffer: &mut [u8]) -> usize {
        let rest = &self.out[self.taken..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.taken += count;
        if self.taken == self.out.len() {
            self.out.clear();
            self.taken = 0;
        }
        count
    }
}

/// Bytes of the head and of the payload of an unmasked frame; none where the head is not whole.
fn extent(frame: &[u8]) -> Option<(usize, usize)> {
    let number = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | usize::from(*byte));
    match frame.get(1)? {
        126 => Some((4, number(frame.get(2..4)?))),
        127 => Some((10, number(frame.get(2..10)?))),
        short => Some((2, usize::from(*short))),
    }
}

fn inflate(zlib: &mut Decompress, payload: &[u8]) -> io::Result<Vec<u8>> {
    let wrong = |what: String| Error::new(ErrorKind::InvalidData, what);
    zlib.reset(false);
    let mut out = Vec::with_capacity(4 * payload.len() + 64);
    for mut rest in [payload, &TAIL] {
        // With room left after everything is read, there is nothing left in the decompressor either.
        while !rest.is_empty() || out.len() == out.capacity() {
            out.reserve(64);
            let before = (zlib.total_in(), out.len());
            zlib.decompress_vec(rest, &mut out, FlushDecompress::Sync).map_err(|error| wrong(error.to_string()))?;
            rest = &rest[(zlib.total_in() - before.0) as usize..];
            if (zlib.total_in(), out.len()) == before || out.len() > MESSAGE_MAX {
                return Err(wrong(format!("no message after {} bytes", out.len())));
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compress, Compression, FlushCompress};

    fn compressed(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len() + 64);
        Compress::new(Compression::fast(), false).compress_vec(text, &mut out, FlushCompress::Sync).expect("room");
        out.truncate(out.len() - TAIL.len());
        out
    }

    fn framed(first: u8, payload: &[u8]) -> Vec<u8> {
        let length = (payload.len() as u64).to_be_bytes();
        [&[first, 127], &length[..], payload].concat()
    }

    #[test]
    fn frames_are_made_plain_however_they_come() {
        let texts = [b"short".to_vec(), b"word ".repeat(20_000), b"".to_vec()];
        let mut wire = vec![0x89, 0];
        let mut plain = wire.clone();
        for text in &texts {
            wire.extend(framed(0xc1, &compressed(text)));
            wire.extend(framed(0x81, text));
            plain.extend(framed(0x81, text).repeat(2));
        }
        for step in [1, 7, 1000, wire.len()] {
            let (mut stream, mut got, mut buffer) = (Plain::default(), Vec::new(), [0; 300]);
            for part in wire.chunks(step) {
                stream.put(part).expect("frames");
                while let count @ 1.. = stream.take(&mut buffer) {
                    got.extend_from_slice(&buffer[..count]);
                }
            }
            assert!(got == plain, "by {step}");
        }
    }

    #[test]
    fn what_does_not_decompress_is_an_error() {
        for wrong in [framed(0xc1, b"no deflate"), framed(0x41, &compressed(b"a part"))] {
            assert!(Plain::default().put(&wrong).is_err(), "{wrong:?}");
        }
    }
}
