//! The state of one socket:
//!
//! ```text
//! Head ──▶ Ws ────▶ Closing ──▶ gone
//!  ├─────▶ Echo ──────▲
//!  ├─(refused)────────┘
//!  └─(not for us)──▶ released to the control thread
//! ```
//!
//! A connection that idles in `Ws` owns no memory beside this value. Everything that is rare is boxed.

use std::net::SocketAddr;

use veza_engine::deflate::Window;
use veza_engine::fanout::{Frame, FrameClass, Outbox, encode_frame};
use veza_engine::time::Mono;

use super::handshakes::Admitted;
use super::ws::WsCodec;

/// First bytes of control frames: FIN and opcode.
const CLOSE: u8 = 0x88;
const PONG: u8 = 0x8A;

/// The state of one socket.
pub enum Session {
    /// The request's head is not complete.
    Head(Box<Head>),
    /// A WebSocket of the engine's.
    Ws(Ws),
    /// A WebSocket that gets back what it sends.
    Echo(Box<Echo>),
    /// The last bytes are on their way; input is read and dropped.
    Closing(Box<Closing>),
}

/// Before the head is complete.
pub struct Head {
    /// What came so far.
    pub bytes: Vec<u8>,
    /// Who.
    pub peer: SocketAddr,
    /// Counted as a handshake; `None`: over the limit, to be refused.
    pub admitted: Option<Admitted>,
}

/// A WebSocket of the engine's.
pub struct Ws {
    /// Frames.
    pub codec: WsCodec,
    /// Counted as a handshake until it has authenticated.
    pub admitted: Option<Admitted>,
    /// Bytes of pongs in the engine's outbox, at most.
    pub pong_bytes: u16,
}

/// A WebSocket that gets back what it sends.
pub struct Echo {
    /// Frames.
    pub codec: WsCodec,
    /// Whether it takes compressed frames.
    pub window: Window,
    /// What waits to be written.
    pub outbox: Outbox,
    /// Counted as a handshake all its life: it never authenticates.
    pub admitted: Option<Admitted>,
    /// Bytes of `outbox`, at most.
    pub waiting_bytes: usize,
    /// Bytes of pongs in `outbox`, at most.
    pub pong_bytes: u16,
}

/// Saying goodbye.
pub struct Closing {
    /// What is still to be written.
    pub outbox: Outbox,
    /// The reset comes then.
    pub until: Mono,
    /// Counted as a handshake until it is gone.
    pub admitted: Option<Admitted>,
}

impl Session {
    /// Its share in the handshakes, to be given back.
    pub fn take_admitted(&mut self) -> Option<Admitted> {
        match self {
            Session::Head(head) => head.admitted.take(),
            Session::Ws(ws) => ws.admitted.take(),
            Session::Echo(echo) => echo.admitted.take(),
            Session::Closing(closing) => closing.admitted.take(),
        }
    }
}

/// Bytes that are no frame (an HTTP response), for an outbox.
pub fn raw(bytes: Vec<u8>) -> Frame {
    Frame::new(bytes.into())
}

/// A pong with the payload of its ping.
pub fn pong(payload: &[u8]) -> Frame {
    Frame::new(encode_frame(PONG, payload))
}

/// A Close frame; an empty payload without a code. The reason is cut to the 123 bytes that fit.
pub fn close_frame(code: Option<u16>, reason: &str) -> Frame {
    const REASON_BYTES_MAX: usize = 123;
    let Some(code) = code else { return Frame::new(encode_frame(CLOSE, &[])) };
    let mut end = reason.len().min(REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend_from_slice(&reason.as_bytes()[..end]);
    Frame::new(encode_frame(CLOSE, &payload))
}

/// Puts a control frame (or response) behind what waits.
pub fn append(outbox: &mut Outbox, frame: Frame) {
    outbox.push(frame, FrameClass::Control);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_is_small() {
        let bytes = size_of::<Session>();
        assert!(bytes <= 96, "{bytes} bytes");
    }

    #[test]
    fn close_frames() {
        for (code, reason, bytes) in [
            (None, "", &b"\x88\x00"[..]),
            (Some(1000), "", b"\x88\x02\x03\xe8"),
            (Some(3002), "slow", b"\x88\x06\x0b\xbaslow"),
        ] {
            assert_eq!(close_frame(code, reason).bytes(), bytes);
        }
        let long = "é".repeat(100);
        let frame = close_frame(Some(1000), &long);
        assert_eq!(frame.bytes()[1], 124, "2 bytes of code, 61 whole characters");
    }
}
