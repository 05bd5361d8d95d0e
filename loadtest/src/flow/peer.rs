//! One connection: what it says, and what it makes of what it hears.

use std::io::Write as _;

use socket2::Socket;

use crate::frame::number_of;
use crate::raw::{FIN, frame, opcode};

/// Bytes of the intended time at the start of a message's content.
pub(super) const STAMP_BYTES: usize = 16;

const MESSAGE: &[u8] = br#"{"type":"message","#;
const ACK: &[u8] = br#"{"type":"message_sent","id":"#;
const ERROR: &[u8] = br#"{"type":"error""#;
const CONTENT: &[u8] = br#""content":""#;

/// What a frame was.
pub(super) enum Heard {
    Message { intended_us: u64 },
    Ack { id: u64 },
    Nothing,
}

/// A connection that has entered its room.
pub(super) struct Peer {
    pub socket: Socket,
    pub room: u32,
    /// It reads no more.
    pub stalled: bool,
    /// Messages received.
    pub got: u64,
    /// The last `seq` seen.
    last: u64,
    /// Where a push's content was, last time.
    content_at: usize,
    /// The start of a frame that is not complete.
    pub partial: Vec<u8>,
}

impl Peer {
    pub fn new(socket: Socket, room: u32, last: u64) -> Peer {
        Peer { socket, room, stalled: false, got: 0, last, content_at: 0, partial: Vec::new() }
    }

    /// Small, to a server that reads: whatever does not fit is a fault.
    pub fn send(&mut self, id: u64, room_id: u64, intended_us: u64, filler: &str) -> Result<(), String> {
        let text = format!(
            r#"{{"type":"send_message","id":{id},"data":{{"room_id":{room_id},"content":"{intended_us:016x}{filler}","client_id":"{id}"}}}}"#
        );
        self.write(&frame(FIN | opcode::TEXT, text.as_bytes()))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        match (&self.socket).write(bytes) {
            Ok(count) if count == bytes.len() => Ok(()),
            Ok(_) => Err("the server does not read".into()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Takes a frame. `served`: messages carry a `seq` that must follow the one before.
    pub fn hear(&mut self, first: u8, payload: &[u8], served: bool) -> Result<Heard, String> {
        match first & 0x0f {
            opcode::TEXT => {}
            opcode::PING => return self.write(&frame(FIN | opcode::PONG, payload)).map(|()| Heard::Nothing),
            opcode::CLOSE => return Err(format!("closed by the server: {payload:?}")),
            _ => return Ok(Heard::Nothing),
        }
        let text = |bytes| std::str::from_utf8(bytes).map_err(|error: std::str::Utf8Error| error.to_string());
        if payload.starts_with(MESSAGE) {
            self.got += 1;
            let intended_us = self.stamp(payload).ok_or("a message without a stamp")?;
            if served {
                let seq = number_of(text(payload)?, "\"seq\":").ok_or("no seq")?;
                if seq != self.last + 1 {
                    return Err(format!("{} was followed by {seq}", self.last));
                }
                self.last = seq;
            }
            return Ok(Heard::Message { intended_us });
        }
        if let Some(rest) = payload.strip_prefix(ACK) {
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit());
            let id = digits.fold(0, |id: u64, digit| id * 10 + u64::from(digit - b'0'));
            return Ok(Heard::Ack { id });
        }
        if payload.starts_with(ERROR) { Err(text(payload)?.to_owned()) } else { Ok(Heard::Nothing) }
    }

    /// The intended time of sending, from the content.
    fn stamp(&mut self, payload: &[u8]) -> Option<u64> {
        let begins = |at: usize| payload.get(at..).is_some_and(|rest| rest.starts_with(CONTENT));
        if !begins(self.content_at) {
            self.content_at = payload.windows(CONTENT.len()).position(|window| window == CONTENT)?;
        }
        let at = self.content_at + CONTENT.len();
        let digits = payload.get(at..at + STAMP_BYTES)?;
        digits.iter().try_fold(0, |stamp: u64, digit| Some(stamp << 4 | u64::from(char::from(*digit).to_digit(16)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer() -> Peer {
        let (one, _) = std::os::unix::net::UnixStream::pair().unwrap();
        Peer::new(one.into(), 0, 4)
    }

    fn message(seq: u64) -> Vec<u8> {
        let text =
            format!(r#"{{"type":"message","data":{{"room_id":1,"seq":{seq},"content":"00000000000000ffxxx"}}}}"#);
        text.into_bytes()
    }

    #[test]
    fn stamps_and_acknowledgements_are_read() {
        let mut peer = peer();
        for seq in [5, 6] {
            let heard = peer.hear(FIN | opcode::TEXT, &message(seq), true).unwrap();
            assert!(matches!(heard, Heard::Message { intended_us: 255 }));
        }
        let ack = br#"{"type":"message_sent","id":1234,"data":{"room_id":1,"seq":6}}"#;
        assert!(matches!(peer.hear(FIN | opcode::TEXT, ack, true).unwrap(), Heard::Ack { id: 1234 }));
        assert_eq!(peer.got, 2);
    }

    #[test]
    fn gaps_repetitions_and_errors_are_faults() {
        for seq in [3, 4, 6] {
            assert!(peer().hear(FIN | opcode::TEXT, &message(seq), true).is_err(), "{seq}");
        }
        assert!(peer().hear(FIN | opcode::TEXT, br#"{"type":"error","id":1,"data":{}}"#, true).is_err());
    }
}
