//! Open WebSockets: what their frames do, and how they are closed from this side.

use std::ops::ControlFlow;

use veza_engine::Input;
use veza_engine::fanout::{Outbox, encode_frame};
use veza_engine::wire::CloseCode;
use veza_runtime::Io;

use super::edge::{Backend, Gateway};
use super::session::{Echo, Session, Ws, append, close_frame, pong};
use super::ws::{WsError, WsEvent};

/// Bytes of pongs waiting for one connection; beyond, further pings stay unanswered.
const PONG_BYTES_MAX: u16 = 4096;
/// Bytes waiting for an echo client; beyond, it is not read until it has taken them.
const ECHO_WAITING_MAX: usize = 1 << 20;

/// How a WebSocket ends from our side of the wire.
pub(super) struct Goodbye {
    /// In the Close frame; `None`: an empty one.
    code: Option<u16>,
    reason: String,
    /// What the engine is told.
    counted: Option<CloseCode>,
}

impl Goodbye {
    pub(super) fn of(code: CloseCode) -> Goodbye {
        Goodbye { code: Some(code as u16), reason: code.reason().into(), counted: Some(code) }
    }

    fn error(error: WsError) -> Goodbye {
        let code = match error {
            WsError::Protocol(_) => CloseCode::Protocol,
            WsError::InvalidUtf8 | WsError::InvalidDeflate => CloseCode::InvalidUtf8,
            WsError::TooBig => CloseCode::TooBig,
        };
        Goodbye { reason: error.reason().into(), ..Goodbye::of(code) }
    }

    /// The answer to the peer's own Close.
    fn echo(code: Option<u16>, reason: &str) -> Goodbye {
        Goodbye { code, reason: reason.into(), counted: None }
    }
}

impl<B: Backend> Gateway<B> {
    pub(super) fn ws_bytes(&mut self, io: &mut Io<'_, Session>, bytes: &mut [u8]) {
        let Session::Ws(ws) = &mut *io.conn else { return };
        let Ws { codec, pong_bytes, .. } = ws;
        let (id, now, shard) = (io.id, io.now, &mut *io.shard);
        let (mut texts, mut goodbye, mut dropped) = (false, None, 0);
        let result = codec.feed(bytes, &mut self.inflater, &mut |event| {
            match event {
                WsEvent::Text(text) => {
                    texts = true;
                    shard.handle(now, Input::Text { conn: id, text });
                }
                WsEvent::Ping(payload) => {
                    if shard.outbox(id).is_none_or(Outbox::is_empty) {
                        *pong_bytes = 0;
                    }
                    if *pong_bytes > PONG_BYTES_MAX {
                        dropped += 1;
                    } else {
                        *pong_bytes += payload.len() as u16 + 2;
                        shard.push_control(id, pong(payload));
                    }
                }
                WsEvent::Pong => {}
                WsEvent::Binary(_) => {
                    goodbye = Some(Goodbye::of(CloseCode::Unsupported));
                    return ControlFlow::Break(());
                }
                WsEvent::Close { code, reason } => {
                    goodbye = Some(Goodbye::echo(code, reason));
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        });
        self.count.pongs_dropped += dropped;
        match (goodbye, result) {
            (None, Err(error)) => self.ws_close(io, &Goodbye::error(error)),
            (Some(goodbye), _) => self.ws_close(io, &goodbye),
            (None, Ok(used)) => {
                // Any traffic counts as life, half a frame too.
                if !texts {
                    io.shard.handle(io.now, Input::Alive { conn: io.id });
                }
                self.keep_unread(io, &bytes[used..]);
            }
        }
    }

    /// Ends a WebSocket that the engine still believes in.
    pub(super) fn ws_close(&mut self, io: &mut Io<'_, Session>, goodbye: &Goodbye) {
        let mut outbox = io.shard.take_outbox(io.id).unwrap_or_default();
        io.shard.handle(io.now, Input::Closed { conn: io.id, code: goodbye.counted });
        append(&mut outbox, close_frame(goodbye.code, &goodbye.reason));
        self.closing(io, outbox);
    }

    pub(super) fn echo_bytes(&mut self, io: &mut Io<'_, Session>, bytes: &mut [u8]) {
        let Session::Echo(echo) = &mut *io.conn else { return };
        let Echo { codec, window, outbox, waiting_bytes, pong_bytes, .. } = &mut **echo;
        let (mut goodbye, mut dropped) = (None, 0);
        let (now, deflater) = (io.now.mono, &mut self.deflater);
        let mut send_back = |outbox: &mut Outbox, first: u8, message: &[u8]| {
            *waiting_bytes += message.len();
            append(outbox, deflater.frame(now, *window, encode_frame(first, message)));
        };
        let result = codec.feed(bytes, &mut self.inflater, &mut |event| {
            match event {
                WsEvent::Text(text) => send_back(outbox, 0x81, text),
                WsEvent::Binary(data) => send_back(outbox, 0x82, data),
                WsEvent::Ping(payload) if *pong_bytes <= PONG_BYTES_MAX => {
                    *pong_bytes += payload.len() as u16 + 2;
                    append(outbox, pong(payload));
                }
                WsEvent::Ping(_) => dropped += 1,
                WsEvent::Pong => {}
                WsEvent::Close { code, reason } => {
                    goodbye = Some(Goodbye::echo(code, reason));
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        });
        let too_much = *waiting_bytes > ECHO_WAITING_MAX;
        self.count.pongs_dropped += dropped;
        match (goodbye, result) {
            (None, Err(error)) => self.echo_close(io, &Goodbye::error(error)),
            (Some(goodbye), _) => self.echo_close(io, &goodbye),
            (None, Ok(used)) => {
                io.reading(!too_much);
                io.flush();
                self.keep_unread(io, &bytes[used..]);
            }
        }
    }

    pub(super) fn echo_close(&mut self, io: &mut Io<'_, Session>, goodbye: &Goodbye) {
        let Session::Echo(echo) = &mut *io.conn else { return };
        let mut outbox = std::mem::take(&mut echo.outbox);
        append(&mut outbox, close_frame(goodbye.code, &goodbye.reason));
        self.closing(io, outbox);
    }
}
