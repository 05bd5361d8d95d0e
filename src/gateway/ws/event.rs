//! What comes of a peer's frames.

use std::ops::ControlFlow;

use tungstenite::protocol::frame::coding::{CloseCode, Control};

/// What a peer sent. Payloads are borrowed for the length of the call.
#[derive(Debug, PartialEq, Eq)]
pub enum WsEvent<'a> {
    /// A whole message, valid UTF-8; may be overwritten.
    Text(&'a mut [u8]),
    /// A whole message; may be overwritten.
    Binary(&'a mut [u8]),
    /// To be answered with a pong of the same payload, ≤ 125 bytes.
    Ping(&'a [u8]),
    /// Says only that the peer lives.
    Pong,
    /// The peer closes. Nothing that comes behind it is read.
    Close {
        /// `None`: the frame was empty.
        code: Option<u16>,
        /// Valid UTF-8, ≤ 123 bytes.
        reason: &'a str,
    },
}

/// Why a connection must be closed. After one the codec must not be fed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WsError {
    /// A rule of RFC 6455 was broken.
    Protocol(&'static str),
    /// A text message or a close reason is not UTF-8.
    InvalidUtf8,
    /// A compressed message is not what it says.
    InvalidDeflate,
    /// A message over the limit, or of endless empty fragments.
    TooBig,
}

impl WsError {
    /// The close code that RFC 6455 gives it.
    pub fn close_code(self) -> u16 {
        match self {
            WsError::Protocol(_) => 1002,
            WsError::InvalidUtf8 | WsError::InvalidDeflate => 1007,
            WsError::TooBig => 1009,
        }
    }

    /// A close reason for people.
    pub fn reason(self) -> &'static str {
        match self {
            WsError::Protocol(reason) => reason,
            WsError::InvalidUtf8 => "text is not UTF-8",
            WsError::InvalidDeflate => "compressed data is invalid",
            WsError::TooBig => "message too big",
        }
    }
}

/// Who is told.
pub(super) type On<'a> = &'a mut dyn FnMut(WsEvent<'_>) -> ControlFlow<()>;

/// A whole message.
pub(super) fn message_event(is_text: bool, payload: &mut [u8], on: On<'_>) -> ControlFlow<()> {
    if is_text { on(WsEvent::Text(payload)) } else { on(WsEvent::Binary(payload)) }
}

/// A whole control frame.
pub(super) fn control_event(control: Control, payload: &[u8], on: On<'_>) -> Result<ControlFlow<()>, WsError> {
    Ok(match control {
        Control::Ping => on(WsEvent::Ping(payload)),
        Control::Pong => on(WsEvent::Pong),
        // FrameHeader::parse refuses the reserved ones.
        Control::Close | Control::Reserved(_) => {
            let (code, reason) = close_payload(payload)?;
            let _ = on(WsEvent::Close { code, reason });
            ControlFlow::Break(())
        }
    })
}

fn close_payload(payload: &[u8]) -> Result<(Option<u16>, &str), WsError> {
    match payload {
        [] => Ok((None, "")),
        [_] => Err(WsError::Protocol("close frame of one byte")),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !CloseCode::from(code).is_allowed() {
                return Err(WsError::Protocol("close code not allowed"));
            }
            let reason = std::str::from_utf8(reason).map_err(|_| WsError::InvalidUtf8)?;
            Ok((Some(code), reason))
        }
    }
}
