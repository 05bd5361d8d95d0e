//! The gateway of one shard: what the runtime's pump calls for each thing that happens to a socket.

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use socket2::Socket;
use veza_engine::deflate::Deflater;
use veza_engine::fanout::Outbox;
use veza_engine::id::ConnId;
use veza_engine::input::{Identity, TokenError};
use veza_engine::store::{Batch, Load};
use veza_engine::time::{Mono, Now, SECOND_US};
use veza_engine::wire::{CloseCode, CommandError};
use veza_engine::{Input, Shard};
use veza_runtime::{Accept, Edge, End, Io};

use super::frames::Goodbye;
use super::handshakes::Handshakes;
use super::http_head::{HeadPolicy, error_response};
use super::listener::{Accepted, Listener};
use super::session::{Closing, Head, Session, append, close_frame};
use super::unread::Unread;
use super::ws::Inflater;

/// Microseconds that a closing connection has to take its last bytes; then it is reset.
const CLOSING_US: u64 = SECOND_US;

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
    fn http_reply(&mut self, ticket: u64, result: Result<Vec<u8>, Box<CommandError>>);
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
pub(super) struct Counters {
    pub(super) upgrades: u64,
    pub(super) compressed_upgrades: u64,
    pub(super) echo_upgrades: u64,
    pub(super) handed_over: u64,
    pub(super) refused_limit: u64,
    pub(super) refused_head: u64,
    pub(super) refused_token: u64,
    pub(super) handshake_timeouts: u64,
    pub(super) resets: u64,
    pub(super) pongs_dropped: u64,
    pub(super) panics: u64,
    pub(super) closing: u64,
}

/// The gateway of one shard.
pub struct Gateway<B> {
    pub(super) config: GatewayConfig,
    /// `None` once the server drains.
    pub(super) listener: Option<Listener>,
    pub(super) backend: B,
    /// Deadlines in order, since each kind has a fixed time. What was over before its time is skipped when it
    /// comes up: bounded by what is accepted in that time.
    heads: VecDeque<(Mono, ConnId)>,
    closings: VecDeque<(Mono, ConnId)>,
    /// Shared by all connections: no message refers to another.
    pub(super) inflater: Inflater,
    /// For `/echo` only; the chat's frames are the engine's.
    pub(super) deflater: Deflater,
    pub(super) unread: Unread,
    pub(super) count: Counters,
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
            inflater: Inflater::default(),
            deflater: Deflater::default(),
            unread: Unread::default(),
            count: Counters::default(),
        }
    }

    pub(super) fn release(&self, session: &mut Session) {
        if let Some(admitted) = session.take_admitted() {
            self.config.handshakes.release(admitted);
        }
    }

    /// From here on: write this, drop input, and be gone in a second.
    pub(super) fn closing(&mut self, io: &mut Io<'_, Session>, outbox: Outbox) {
        self.unread.forget(io.id);
        let until = io.now.mono.after(CLOSING_US);
        let admitted = io.conn.take_admitted();
        *io.conn = Session::Closing(Box::new(Closing { outbox, until, admitted }));
        self.count.closing += 1;
        self.closings.push_back((until, io.id));
        io.reading(true);
        io.flush();
    }
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

    fn on_resume(&mut self, io: &mut Io<'_, Session>) {
        io.reading(!self.unread.resume(io.id, io.now.mono));
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
                io.reading(!self.unread.waits(io.id));
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
        self.unread.forget(id);
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
        [first(&self.heads), first(&self.closings), self.unread.due()].into_iter().flatten().min()
    }

    fn expired(&mut self, now: Mono) -> Option<ConnId> {
        due(&mut self.heads, now).or_else(|| due(&mut self.closings, now)).or_else(|| self.unread.next(now))
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
            Session::Ws(_) | Session::Echo(_) => self.read_on(io),
            Session::Closing(_) => {}
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

    fn http_reply(&mut self, ticket: u64, result: Result<Vec<u8>, Box<CommandError>>) {
        self.backend.http_reply(ticket, result);
    }

    fn fault(&mut self, error_id: u64, what: &str) {
        tracing::error!(error_id = format_args!("{error_id:016x}"), what, "a command failed by a fault of ours");
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        let count = &self.count;
        vec![
            ("upgrades", count.upgrades),
            ("compressed_upgrades", count.compressed_upgrades),
            ("inflated_messages", self.inflater.messages),
            ("inflated_bytes", self.inflater.bytes),
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
