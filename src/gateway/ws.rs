//! RFC 6455 as a server reads it, over whatever bytes have arrived; it owns no socket.
//!
//! Between messages a connection costs two words. Frames that arrive whole are unmasked and handed out where they lie;
//! only what is incomplete is copied, and freed as soon as it is complete. A peer's fault is known as early as the
//! bytes allow: an oversized frame from its header, bad UTF-8 from its first byte.

mod event;
mod inflate;
#[cfg(test)]
mod tests;

use std::io::Cursor;
use std::ops::ControlFlow;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Data, OpCode};

use event::{On, control_event, message_event};
pub use event::{WsError, WsEvent};
pub use inflate::Inflater;

/// Fragments without a byte in them, per message; beyond: [`WsError::TooBig`]. Fragments with bytes are bounded by the
/// size of the message.
pub const EMPTY_FRAGMENTS_MAX: u32 = 128;
/// Bytes in the payload of a control frame (RFC 6455, 5.5).
const CONTROL_BYTES_MAX: u64 = 125;
/// Bytes in the longest frame header of a client.
const HEADER_BYTES_MAX: usize = 14;

/// The reading side of one connection.
pub struct WsCodec {
    message_bytes_max: u32,
    /// Messages may be compressed.
    inflates: bool,
    /// What is incomplete; `None` while idle.
    partial: Option<Box<Partial>>,
}

/// Incomplete input. Its loss means that the connection cannot be read on.
#[derive(Default)]
struct Partial {
    /// The beginning of a frame header, `header_len` bytes of it.
    header: [u8; HEADER_BYTES_MAX],
    header_len: usize,
    /// A frame whose payload is still arriving.
    frame: Option<FrameInProgress>,
    /// The payload of a control frame in progress.
    control: Vec<u8>,
    /// The message that the frames so far have made.
    message: Option<Message>,
}

#[derive(Clone, Copy)]
struct FrameInProgress {
    opcode: OpCode,
    is_final: bool,
    is_packed: bool,
    /// Turned so that its first byte belongs to the next byte to come.
    mask: [u8; 4],
    remaining: usize,
}

struct Message {
    is_text: bool,
    /// To be inflated when it is complete.
    is_packed: bool,
    bytes: Vec<u8>,
    /// Text: bytes known to be whole characters. Behind them lies at most the beginning of one.
    valid: usize,
    empty_fragments: u32,
}

/// What became of some input.
enum Step {
    /// This many bytes were used; go on.
    Used(usize),
    /// This many bytes were used; nothing more is wanted.
    Stop(usize),
}

impl WsCodec {
    /// For messages of up to `max_message_bytes`, which may be compressed or not.
    pub fn new(max_message_bytes: usize, inflates: bool) -> Self {
        WsCodec { message_bytes_max: max_message_bytes.try_into().unwrap_or(u32::MAX), inflates, partial: None }
    }

    /// Takes bytes just read, in the order they were read, and calls `on` for every event they complete. Payloads are
    /// unmasked in place, so bytes that were consumed must not be fed again. Stops behind a `Close`, where `on` breaks, or
    /// where more would have to be inflated than one turn is for; the bytes from there on are untouched and may be fed
    /// later.
    ///
    /// Returns how many bytes were consumed.
    ///
    /// # Errors
    /// What the connection must be closed for. Events before the fault have been handed out.
    pub fn feed(&mut self, input: &mut [u8], inflater: &mut Inflater, on: On<'_>) -> Result<usize, WsError> {
        let mut used = 0;
        inflater.begin();
        while used < input.len() && !inflater.is_exhausted() {
            let rest = &mut input[used..];
            let in_frame = self.partial.as_ref().is_some_and(|partial| partial.frame.is_some());
            let step = match in_frame {
                true => self.continue_frame(rest, inflater, on)?,
                false => self.begin_frame(rest, inflater, on)?,
            };
            if self.partial.as_ref().is_some_and(|partial| partial.is_empty()) {
                self.partial = None;
            }
            match step {
                Step::Used(count) => used += count,
                Step::Stop(count) => return Ok(used + count),
            }
        }
        Ok(used)
    }

    /// Nothing is incomplete, and no memory held.
    pub fn is_idle(&self) -> bool {
        self.partial.is_none()
    }

    /// Bytes of memory held for what is incomplete.
    pub fn buffered_bytes(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| {
            let message = partial.message.as_ref().map_or(0, |message| message.bytes.capacity());
            size_of::<Partial>() + partial.control.capacity() + message
        })
    }

    fn begin_frame(&mut self, input: &mut [u8], inflater: &mut Inflater, on: On<'_>) -> Result<Step, WsError> {
        let Some((header, length, header_bytes)) = self.read_header(input)? else {
            return Ok(Step::Used(input.len()));
        };
        let (mask, length) = self.check_header(&header, length)?;
        let payload = &mut input[header_bytes..];
        if payload.len() < length {
            let (is_final, is_packed) = (header.is_final, header.rsv1);
            let frame = FrameInProgress { opcode: header.opcode, is_final, is_packed, mask, remaining: length };
            self.partial.get_or_insert_default().frame = Some(frame);
            return Ok(Step::Used(header_bytes));
        }
        let payload = &mut payload[..length];
        unmask(payload, mask);
        let flow = match header.opcode {
            OpCode::Control(control) => control_event(control, payload, on)?,
            OpCode::Data(data) => self.data_frame(data, &header, payload, inflater, on)?,
        };
        Ok(step(flow, header_bytes + length))
    }

    /// The next frame's header, its payload length and how many bytes of `input` it took. `None`: all of `input` was
    /// taken and the header is still incomplete.
    fn read_header(&mut self, input: &[u8]) -> Result<Option<(FrameHeader, u64, usize)>, WsError> {
        let kept = self.partial.as_ref().map_or(0, |partial| partial.header_len);
        let mut joined = [0; HEADER_BYTES_MAX];
        let bytes = if kept == 0 {
            input
        } else {
            let taken = input.len().min(HEADER_BYTES_MAX - kept);
            joined[..kept].copy_from_slice(&self.partial.as_ref().expect("holds the header").header[..kept]);
            joined[kept..kept + taken].copy_from_slice(&input[..taken]);
            &joined[..kept + taken]
        };
        let mut cursor = Cursor::new(bytes);
        match FrameHeader::parse(&mut cursor) {
            Ok(Some((header, length))) => {
                let header_bytes = cursor.position() as usize;
                if header_bytes != header.len(length) {
                    return Err(WsError::Protocol("payload length is not minimal"));
                }
                if let Some(partial) = &mut self.partial {
                    partial.header_len = 0;
                }
                Ok(Some((header, length, header_bytes - kept)))
            }
            Ok(None) => {
                let partial = self.partial.get_or_insert_default();
                partial.header[..bytes.len()].copy_from_slice(bytes);
                partial.header_len = bytes.len();
                Ok(None)
            }
            Err(_) => Err(WsError::Protocol("reserved opcode")),
        }
    }

    fn check_header(&self, header: &FrameHeader, length: u64) -> Result<([u8; 4], usize), WsError> {
        let begins = matches!(header.opcode, OpCode::Data(Data::Text | Data::Binary));
        if header.rsv2 || header.rsv3 || (header.rsv1 && !(self.inflates && begins)) {
            return Err(WsError::Protocol("reserved bit set"));
        }
        let mask = header.mask.ok_or(WsError::Protocol("frame is not masked"))?;
        let message = self.partial.as_ref().and_then(|partial| partial.message.as_ref());
        match (header.opcode, message) {
            (OpCode::Control(_), _) if !header.is_final => return Err(WsError::Protocol("fragmented control frame")),
            (OpCode::Control(_), _) if length > CONTROL_BYTES_MAX => {
                return Err(WsError::Protocol("control frame over 125 bytes"));
            }
            (OpCode::Control(_), _) | (OpCode::Data(Data::Continue), Some(_)) => {}
            (OpCode::Data(Data::Continue), None) => return Err(WsError::Protocol("continuation of nothing")),
            (OpCode::Data(_), Some(_)) => return Err(WsError::Protocol("message inside a fragmented message")),
            (OpCode::Data(_), None) => {}
        }
        if length >> 63 != 0 {
            return Err(WsError::Protocol("payload length over 63 bits"));
        }
        let most = match message.map_or(header.rsv1, |message| message.is_packed) {
            true => Inflater::packed_max(self.message_bytes_max as usize),
            false => self.message_bytes_max as usize,
        };
        let room = most - message.map_or(0, |message| message.bytes.len());
        match usize::try_from(length) {
            Ok(length) if length <= room || matches!(header.opcode, OpCode::Control(_)) => Ok((mask, length)),
            _ => Err(WsError::TooBig),
        }
    }

    /// A data frame that arrived whole.
    fn data_frame(
        &mut self,
        data: Data,
        header: &FrameHeader,
        payload: &mut [u8],
        inflater: &mut Inflater,
        on: On<'_>,
    ) -> Result<ControlFlow<()>, WsError> {
        if header.is_final && data != Data::Continue {
            let is_text = data == Data::Text;
            return match header.rsv1 {
                true => self.packed_event(is_text, payload, inflater, on),
                false if is_text && std::str::from_utf8(payload).is_err() => Err(WsError::InvalidUtf8),
                false => Ok(message_event(is_text, payload, on)),
            };
        }
        let message = self.message(data, header.rsv1);
        message.push(payload)?;
        self.end_data_frame(header.is_final, payload.is_empty(), inflater, on)
    }

    /// A complete message that is to be inflated.
    fn packed_event(
        &self,
        is_text: bool,
        packed: &[u8],
        inflater: &mut Inflater,
        on: On<'_>,
    ) -> Result<ControlFlow<()>, WsError> {
        let payload = inflater.inflate(packed, self.message_bytes_max as usize)?;
        if is_text && std::str::from_utf8(payload).is_err() {
            return Err(WsError::InvalidUtf8);
        }
        let flow = message_event(is_text, payload, on);
        inflater.done();
        Ok(flow)
    }

    /// The message that a frame of this kind adds to.
    fn message(&mut self, data: Data, is_packed: bool) -> &mut Message {
        let partial = self.partial.get_or_insert_default();
        partial.message.get_or_insert_with(|| Message {
            is_text: data == Data::Text,
            is_packed,
            bytes: Vec::new(),
            valid: 0,
            empty_fragments: 0,
        })
    }

    fn end_data_frame(
        &mut self,
        is_final: bool,
        is_empty: bool,
        inflater: &mut Inflater,
        on: On<'_>,
    ) -> Result<ControlFlow<()>, WsError> {
        let message = &mut self.partial.as_mut().expect("a data frame has a message").message;
        if !is_final {
            let message = message.as_mut().expect("a data frame has a message");
            message.empty_fragments += u32::from(is_empty);
            return if message.empty_fragments > EMPTY_FRAGMENTS_MAX {
                Err(WsError::TooBig)
            } else {
                Ok(ControlFlow::Continue(()))
            };
        }
        let mut message = message.take().expect("a data frame has a message");
        match message.is_text {
            is_text if message.is_packed => self.packed_event(is_text, &message.bytes, inflater, on),
            true if message.valid < message.bytes.len() => Err(WsError::InvalidUtf8),
            is_text => Ok(message_event(is_text, &mut message.bytes, on)),
        }
    }

    fn continue_frame(&mut self, input: &mut [u8], inflater: &mut Inflater, on: On<'_>) -> Result<Step, WsError> {
        let partial = self.partial.as_mut().expect("a frame is in progress");
        let frame = partial.frame.as_mut().expect("a frame is in progress");
        let count = input.len().min(frame.remaining);
        let payload = &mut input[..count];
        unmask(payload, frame.mask);
        frame.mask.rotate_left(count % 4);
        frame.remaining -= count;
        let frame = *frame;
        if frame.remaining == 0 {
            partial.frame = None;
        }
        let flow = match frame.opcode {
            OpCode::Control(control) => {
                partial.control.extend_from_slice(payload);
                if frame.remaining > 0 {
                    return Ok(Step::Used(count));
                }
                let payload = std::mem::take(&mut partial.control);
                control_event(control, &payload, on)?
            }
            OpCode::Data(data) => {
                self.message(data, frame.is_packed).push(payload)?;
                if frame.remaining > 0 {
                    return Ok(Step::Used(count));
                }
                self.end_data_frame(frame.is_final, false, inflater, on)?
            }
        };
        Ok(step(flow, count))
    }
}

impl Partial {
    fn is_empty(&self) -> bool {
        self.header_len == 0 && self.frame.is_none() && self.message.is_none()
    }
}

impl Message {
    /// Adds payload; bad UTF-8 is found as soon as no further byte could mend it.
    fn push(&mut self, payload: &[u8]) -> Result<(), WsError> {
        self.bytes.extend_from_slice(payload);
        if !self.is_text || self.is_packed {
            return Ok(());
        }
        match std::str::from_utf8(&self.bytes[self.valid..]) {
            Ok(_) => self.valid = self.bytes.len(),
            Err(error) if error.error_len().is_none() => self.valid += error.valid_up_to(),
            Err(_) => return Err(WsError::InvalidUtf8),
        }
        Ok(())
    }
}

fn step(flow: ControlFlow<()>, used: usize) -> Step {
    match flow {
        ControlFlow::Continue(()) => Step::Used(used),
        ControlFlow::Break(()) => Step::Stop(used),
    }
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let wide = u64::from_ne_bytes([mask[0], mask[1], mask[2], mask[3], mask[0], mask[1], mask[2], mask[3]]);
    let (words, tail) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in tail.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

const _: () = assert!(size_of::<WsCodec>() <= 16);
