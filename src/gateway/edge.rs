//! The gateway of one shard: what the runtime's pump calls for each thing that happens to a socket.

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpStream};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use socket2::Socket;
use veza_engine::fanout::{Outbox, encode_frame};
use veza_engine::id::ConnId;
use veza_engine::input::{Identity, TokenError};
use veza_engine::store::{Batch, Load};
use veza_engine::time::{Mono, Now, SECOND_US};
use veza_engine::wire::{CloseCode, CommandError};
use veza_engine::{Input, Shard};
use veza_runtime::{Accept, Edge, End, Io};

use super::handshakes::Handshakes;
use super::http_head::{self, HeadPolicy, Upgrade, error_response};
use super::listener::{Accepted, Listener};
use super::session::{Closing, Echo, Head, Session, Ws, append, close_frame, pong, raw};
use super::ws::{WsCodec, WsError, WsEvent};

/// Microseconds that a closing connection has to take its last bytes; then it is reset.
const CLOSING_US: u64 = SECOND_US;
/// Bytes of pongs waiting for one connection; beyond, further pings stay unanswered.
const PONG_BYTES_MAX: u16 = 4096;
/// Bytes of the largest message on the echo endpoint.
const ECHO_MESSAGE_MAX: usize = 16 << 20;
/// Bytes waiting for an echo client; beyond, it is not read until it has taken them.
const ECHO_WAITING_MAX: usize = 1 << 20;
/// Refused connections that linger for their answer at a time; beyond, they are closed without waiting.
const REFUSED_LINGERING_MAX: u64 = 4096;

/// A socket for the control thread: what it has sent so far, and who it is.
pub struct HandOver {
    /// Non-blocking.
    pub stream: TcpStream,
    /// The bytes read already: at least one complete head.
    pub bytes: Vec<u8>,
    /// The peer.
    pub peer: SocketAddr,
}

/// What the gateway needs of the rest of the server. Nothing here may block.
pub trait Backend {
    /// `Effect::Store`.
    fn store(&mut self, batch: Box<Batch>);
    /// `Effect::Load`.
    fn load(&mut self, id: u64, load: Load);
    /// Whether a token is good. `now`: Unix seconds.
    ///
    /// # Errors
    /// What is wrong with it.
    fn verify(&mut self, token: &str, now: i64) -> Result<Box<Identity>, TokenError>;
    /// `Effect::HttpReply`.
    fn http_reply(&mut self, ticket: u64, result: Result<Box<[u8]>, Box<CommandError>>);
    /// A socket whose request is not for `/ws`. Dropping it closes the connection.
    fn hand_over(&mut self, socket: HandOver);
}

/// What all gateways are made with.
#[derive(Clone)]
pub struct GatewayConfig {
    /// Which requests are answered, and how.
    pub head: Arc<HeadPolicy>,
    /// `limits.max_frame_bytes`.
    pub max_frame_bytes: usize,
    /// `server.handshake_timeout`, microseconds.
    pub handshake_us: u64,
    /// Shared by all shards.
    pub handshakes: Arc<Handshakes>,
}

#[derive(Default)]
struct Counters {
    upgrades: u64,
    echo_upgrades: u64,
    handed_over: u64,
    refused_limit: u64,
    refused_head: u64,
    refused_token: u64,
    handshake_timeouts: u64,
    resets: u64,
    pongs_dropped: u64,
    panics: u64,
    closing: u64,
}

/// The gateway of one shard.
pub struct Gateway<B> {
    config: GatewayConfig,
    /// `None` once the server drains.
    listener: Option<Listener>,
    backend: B,
    /// Deadlines in order, since each kind has a fixed time. What was over before its time is skipped when it
    /// comes up: bounded by what is accepted in that time.
    heads: VecDeque<(Mono, ConnId)>,
    closings: VecDeque<(Mono, ConnId)>,
    count: Counters,
}

/// How a WebSocket ends from our side of the wire.
struct Goodbye {
    /// In the Close frame; `None`: an empty one.
    code: Option<u16>,
    reason: String,
    /// What the engine is told.
    counted: Option<CloseCode>,
}

impl Goodbye {
    fn of(code: CloseCode) -> Goodbye {
        Goodbye { code: Some(code as u16), reason: code.reason().into(), counted: Some(code) }
    }

    fn error(error: &WsError) -> Goodbye {
        match error {
            WsError::Protocol(what) => Goodbye { reason: (*what).into(), ..Goodbye::of(CloseCode::Protocol) },
            WsError::InvalidUtf8 => Goodbye::of(CloseCode::InvalidUtf8),
            WsError::TooBig => Goodbye::of(CloseCode::TooBig),
        }
    }

    /// The answer to the peer's own Close.
    fn echo(code: Option<u16>, reason: &str) -> Goodbye {
        Goodbye { code, reason: reason.into(), counted: None }
    }
}

impl<B: Backend> Gateway<B> {
    /// The gateway of one shard.
    pub fn new(config: GatewayConfig, listener: Listener, backend: B) -> Gateway<B> {
        Gateway {
            config,
            listener: Some(listener),
            backend,
            heads: VecDeque::new(),
            closings: VecDeque::new(),
            count: Counters::default(),
        }
    }

    fn release(&self, session: &mut Session) {
        if let Some(admitted) = session.take_admitted() {
            self.config.handshakes.release(admitted);
        }
    }

    // --- before the WebSocket

    fn head_bytes(&mut self, io: &mut Io<'_, Session>, fresh: &mut [u8]) {
        let Session::Head(head) = &mut *io.conn else { return };
        if head.bytes.is_empty() {
            // Nearly always the whole head comes at once: nothing is copied.
            return self.head_parse(io, fresh, 0);
        }
        let before = head.bytes.len();
        let mut all = std::mem::take(&mut head.bytes);
        all.extend_from_slice(fresh);
        self.head_parse(io, &mut all, before);
    }

    fn head_parse(&mut self, io: &mut Io<'_, Session>, all: &mut [u8], before: usize) {
        // The end may straddle the border of what was looked at already.
        let complete = http_head::head_end(all, before.saturating_sub(3)).is_some();
        if !complete && all.len() <= http_head::HEAD_BYTES_MAX {
            if let Session::Head(head) = &mut *io.conn {
                head.bytes = all.to_vec();
            }
            return;
        }
        match http_head::parse(&self.config.head, all) {
            http_head::Head::WebSocket(upgrade) => self.open_ws(io, upgrade, all),
            http_head::Head::Echo(upgrade) => self.open_echo(io, upgrade, all),
            http_head::Head::Other => {
                if let Session::Head(head) = &mut *io.conn {
                    head.bytes = all.to_vec();
                }
                self.count.handed_over += 1;
                io.end(End::Release);
            }
            http_head::Head::Bad { status, reason } => self.refuse_head(io, status, reason),
            http_head::Head::Incomplete => self.refuse_head(io, 431, "the request head is too large"),
        }
    }

    fn refuse_head(&mut self, io: &mut Io<'_, Session>, status: u16, reason: &str) {
        self.count.refused_head += 1;
        self.refuse(io, error_response(status, "INVALID_REQUEST", reason));
    }

    /// Answers, then closes.
    fn refuse(&mut self, io: &mut Io<'_, Session>, response: Vec<u8>) {
        if self.count.closing >= REFUSED_LINGERING_MAX {
            let _ = io.socket.send(&response); // as much as fits
            return io.end(End::Close);
        }
        let mut outbox = Outbox::default();
        append(&mut outbox, raw(response));
        self.closing(io, outbox);
    }

    fn open_ws(&mut self, io: &mut Io<'_, Session>, upgrade: Upgrade, all: &mut [u8]) {
        if self.listener.is_none() {
            return self.refuse(io, error_response(503, "DRAINING", "the server is going down"));
        }
        let identity = match upgrade.token.as_deref() {
            None => None,
            Some(token) => match self.backend.verify(token, io.now.wall.secs()) {
                Ok(identity) => Some(identity),
                Err(error) => {
                    self.count.refused_token += 1;
                    let (code, message) = match error {
                        TokenError::Invalid => ("INVALID_TOKEN", "the token is not acceptable"),
                        TokenError::Expired => ("TOKEN_EXPIRED", "the token has ended"),
                    };
                    return self.refuse(io, error_response(401, code, message));
                }
            },
        };
        if !answer(io, &upgrade.response) {
            return;
        }
        self.count.upgrades += 1;
        if identity.is_some() {
            self.release(io.conn);
        }
        let admitted = io.conn.take_admitted();
        *io.conn = Session::Ws(Ws { codec: WsCodec::new(self.config.max_frame_bytes), admitted, pong_bytes: 0 });
        io.shard.handle(io.now, Input::Opened { conn: io.id, identity });
        let rest = &mut all[upgrade.head_len..];
        if !rest.is_empty() {
            self.ws_bytes(io, rest);
        }
    }

    fn open_echo(&mut self, io: &mut Io<'_, Session>, upgrade: Upgrade, all: &mut [u8]) {
        if !answer(io, &upgrade.response) {
            return;
        }
        self.count.echo_upgrades += 1;
        let admitted = io.conn.take_admitted();
        *io.conn = Session::Echo(Box::new(Echo {
            codec: WsCodec::new(ECHO_MESSAGE_MAX),
            outbox: Outbox::default(),
            admitted,
            waiting_bytes: 0,
            pong_bytes: 0,
        }));
        let rest = &mut all[upgrade.head_len..];
        if !rest.is_empty() {
            self.echo_bytes(io, rest);
        }
    }

    // --- WebSockets

    fn ws_bytes(&mut self, io: &mut Io<'_, Session>, bytes: &mut [u8]) {
        let Session::Ws(ws) = &mut *io.conn else { return };
        let Ws { codec, pong_bytes, .. } = ws;
        let (id, now, shard) = (io.id, io.now, &mut *io.shard);
        let (mut texts, mut goodbye, mut dropped) = (false, None, 0);
        let result = codec.feed(bytes, &mut |event| {
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
        if let Err(error) = result {
            goodbye = Some(Goodbye::error(&error));
        }
        match goodbye {
            Some(goodbye) => self.ws_close(io, &goodbye),
            // Any traffic counts as life, half a frame too.
            None if !texts => io.shard.handle(io.now, Input::Alive { conn: io.id }),
            None => {}
        }
    }

    /// Ends a WebSocket that the engine still believes in.
    fn ws_close(&mut self, io: &mut Io<'_, Session>, goodbye: &Goodbye) {
        let mut outbox = io.shard.take_outbox(io.id).unwrap_or_default();
        io.shard.handle(io.now, Input::Closed { conn: io.id, code: goodbye.counted });
        append(&mut outbox, close_frame(goodbye.code, &goodbye.reason));
        self.closing(io, outbox);
    }

    fn echo_bytes(&mut self, io: &mut Io<'_, Session>, bytes: &mut [u8]) {
        let Session::Echo(echo) = &mut *io.conn else { return };
        let Echo { codec, outbox, waiting_bytes, pong_bytes, .. } = &mut **echo;
        let (mut goodbye, mut dropped) = (None, 0);
        let result = codec.feed(bytes, &mut |event| {
            match event {
                WsEvent::Text(text) => send_back(outbox, waiting_bytes, 0x81, text),
                WsEvent::Binary(data) => send_back(outbox, waiting_bytes, 0x82, data),
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
        if let Err(error) = result {
            goodbye = Some(Goodbye::error(&error));
        }
        match goodbye {
            Some(goodbye) => self.echo_close(io, &goodbye),
            None => {
                io.reading(!too_much);
                io.flush();
            }
        }
    }

    fn echo_close(&mut self, io: &mut Io<'_, Session>, goodbye: &Goodbye) {
        let Session::Echo(echo) = &mut *io.conn else { return };
        let mut outbox = std::mem::take(&mut echo.outbox);
        append(&mut outbox, close_frame(goodbye.code, &goodbye.reason));
        self.closing(io, outbox);
    }

    /// From here on: write this, drop input, and be gone in a second.
    fn closing(&mut self, io: &mut Io<'_, Session>, outbox: Outbox) {
        let until = io.now.mono.after(CLOSING_US);
        let admitted = io.conn.take_admitted();
        *io.conn = Session::Closing(Box::new(Closing { outbox, until, admitted }));
        self.count.closing += 1;
        self.closings.push_back((until, io.id));
        io.reading(true);
        io.flush();
    }
}

/// Writes the answer to an upgrade straight into the fresh socket, whose buffer holds it at any rate.
fn answer(io: &mut Io<'_, Session>, response: &[u8]) -> bool {
    let whole = io.socket.send_with_flags(response, libc::MSG_NOSIGNAL).is_ok_and(|bytes| bytes == response.len());
    if !whole {
        io.end(End::Close);
    }
    whole
}

fn send_back(outbox: &mut Outbox, waiting_bytes: &mut usize, first: u8, message: &[u8]) {
    *waiting_bytes += message.len();
    append(outbox, veza_engine::fanout::Frame::new(encode_frame(first, message)));
}

/// Takes the first deadline that has passed.
fn due(deadlines: &mut VecDeque<(Mono, ConnId)>, now: Mono) -> Option<ConnId> {
    deadlines.front().filter(|(deadline, _)| *deadline <= now)?;
    let (_, id) = deadlines.pop_front()?;
    if deadlines.len() < deadlines.capacity() / 8 {
        deadlines.shrink_to(deadlines.len() * 2); // a storm has passed
    }
    Some(id)
}

impl<B: Backend> Edge for Gateway<B> {
    type Conn = Session;

    fn listener(&self) -> Option<BorrowedFd<'_>> {
        self.listener.as_ref().map(AsFd::as_fd)
    }

    fn accept(&mut self, now: Now) -> Accept<Session> {
        let Some(listener) = &mut self.listener else { return Accept::Nobody };
        match listener.accept(now.mono) {
            Accepted::Peer(socket, peer) => {
                let admitted = self.config.handshakes.admit(peer.ip());
                Accept::Socket(socket, Session::Head(Box::new(Head { bytes: Vec::new(), peer, admitted })))
            }
            Accepted::Nobody => Accept::Nobody,
            Accepted::Lost => Accept::Lost,
            Accepted::BackOff(until) => Accept::BackOff(until),
        }
    }

    fn on_accepted(&mut self, io: &mut Io<'_, Session>) {
        let Session::Head(head) = &*io.conn else { return };
        if head.admitted.is_some() {
            self.heads.push_back((io.now.mono.after(self.config.handshake_us), io.id));
        } else {
            self.count.refused_limit += 1;
            self.refuse(io, error_response(503, "OVERLOADED", "too many connections are being opened"));
        }
    }

    fn on_bytes(&mut self, io: &mut Io<'_, Session>, bytes: &mut [u8]) {
        match io.conn {
            Session::Head(_) => self.head_bytes(io, bytes),
            Session::Ws(_) => self.ws_bytes(io, bytes),
            Session::Echo(_) => self.echo_bytes(io, bytes),
            Session::Closing(_) => {}
        }
    }

    fn on_eof(&mut self, io: &mut Io<'_, Session>) {
        match io.conn {
            Session::Head(head) if !head.bytes.is_empty() => self.refuse_head(io, 400, "the request ends in its head"),
            _ => io.end(End::Close),
        }
    }

    fn on_panic(&mut self, io: &mut Io<'_, Session>) {
        self.count.panics += 1;
        tracing::error!(conn = ?io.id, "panic while a connection was handled; it is closed");
        let goodbye = Goodbye::of(CloseCode::ServerError);
        match io.conn {
            Session::Ws(_) => self.ws_close(io, &goodbye),
            Session::Echo(_) => self.echo_close(io, &goodbye),
            Session::Head(_) => self.refuse(io, error_response(500, "INTERNAL", "a fault of the server")),
            Session::Closing(_) => io.end(End::Reset),
        }
    }

    fn on_close(&mut self, io: &mut Io<'_, Session>, code: CloseCode) {
        let mut outbox = io.shard.take_outbox(io.id).unwrap_or_default();
        let Session::Ws(_) = io.conn else { return };
        append(&mut outbox, close_frame(Some(code as u16), code.reason()));
        self.closing(io, outbox);
    }

    fn outbox<'c>(&self, conn: &'c mut Session) -> Option<&'c mut Outbox> {
        match conn {
            Session::Head(_) | Session::Ws(_) => None,
            Session::Echo(echo) => Some(&mut echo.outbox),
            Session::Closing(closing) => Some(&mut closing.outbox),
        }
    }

    fn on_written(&mut self, io: &mut Io<'_, Session>) {
        match io.conn {
            Session::Echo(echo) => {
                echo.waiting_bytes = 0;
                echo.pong_bytes = 0;
                io.reading(true);
            }
            // The end of the stream behind the last bytes; the peer closes when it has read both.
            Session::Closing(_) => {
                if io.socket.shutdown(std::net::Shutdown::Write).is_err() {
                    io.end(End::Close); // it is gone already
                }
            }
            Session::Head(_) | Session::Ws(_) => {}
        }
    }

    fn on_lost(&mut self, now: Now, id: ConnId, mut conn: Session, shard: &mut Shard) {
        self.release(&mut conn);
        match conn {
            Session::Ws(_) => shard.handle(now, Input::Closed { conn: id, code: None }),
            Session::Closing(_) => self.count.closing -= 1,
            Session::Head(_) | Session::Echo(_) => {}
        }
    }

    fn on_released(&mut self, socket: Socket, mut conn: Session) {
        self.release(&mut conn);
        if let Session::Head(head) = conn {
            self.backend.hand_over(HandOver { stream: socket.into(), bytes: head.bytes, peer: head.peer });
        }
    }

    fn next_timeout(&self) -> Option<Mono> {
        let first = |deadlines: &VecDeque<(Mono, ConnId)>| deadlines.front().map(|(deadline, _)| *deadline);
        [first(&self.heads), first(&self.closings)].into_iter().flatten().min()
    }

    fn expired(&mut self, now: Mono) -> Option<ConnId> {
        due(&mut self.heads, now).or_else(|| due(&mut self.closings, now))
    }

    fn on_deadline(&mut self, io: &mut Io<'_, Session>) {
        match io.conn {
            Session::Head(_) => {
                self.count.handshake_timeouts += 1;
                self.refuse(io, error_response(408, "INVALID_REQUEST", "the request head took too long"));
            }
            Session::Closing(closing) if closing.until <= io.now.mono => {
                self.count.resets += 1;
                io.end(End::Reset);
            }
            Session::Closing(_) | Session::Ws(_) | Session::Echo(_) => {}
        }
    }

    fn on_drain(&mut self) {
        self.listener = None;
    }

    fn store(&mut self, batch: Box<Batch>) {
        self.backend.store(batch);
    }

    fn load(&mut self, id: u64, load: Load) {
        self.backend.load(id, load);
    }

    fn verify(&mut self, now: Now, conn: &mut Session, token: &str) -> Result<Box<Identity>, TokenError> {
        let result = self.backend.verify(token, now.wall.secs());
        if result.is_ok() {
            self.release(conn);
        }
        result
    }

    fn http_reply(&mut self, ticket: u64, result: Result<Box<[u8]>, Box<CommandError>>) {
        self.backend.http_reply(ticket, result);
    }

    fn fault(&mut self, error_id: u64, what: &str) {
        tracing::error!(error_id = format_args!("{error_id:016x}"), what, "a command failed by a fault of ours");
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        let count = &self.count;
        vec![
            ("upgrades", count.upgrades),
            ("echo_upgrades", count.echo_upgrades),
            ("handed_over", count.handed_over),
            ("refused_limit", count.refused_limit),
            ("refused_head", count.refused_head),
            ("refused_token", count.refused_token),
            ("handshake_timeouts", count.handshake_timeouts),
            ("resets", count.resets),
            ("pongs_dropped", count.pongs_dropped),
            ("connection_panics", count.panics),
        ]
    }
}
