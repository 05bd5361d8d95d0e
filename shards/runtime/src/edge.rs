//! What the pump asks of the edge: the code that knows listeners, HTTP heads, WebSocket frames, the store and tokens.
//! The pump moves bytes and time and knows none of these.

use std::os::fd::BorrowedFd;

use socket2::Socket;
use veza_engine::Shard;
use veza_engine::fanout::Outbox;
use veza_engine::id::ConnId;
use veza_engine::input::{Identity, TokenError};
use veza_engine::store::{Batch, Load};
use veza_engine::time::{Mono, Now};
use veza_engine::wire::{CloseCode, CommandError};

/// The outcome of one attempt to accept.
pub enum Accept<C> {
    /// A non-blocking socket and the state of its connection.
    Socket(Socket, C),
    /// Nobody waits.
    Nobody,
    /// One that was about to be accepted is gone again; there may be more.
    Lost,
    /// Out of descriptors or memory: not before this time.
    BackOff(Mono),
}

/// How a socket ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// `close(2)`.
    Close,
    /// Reset: what the peer has not taken is thrown away.
    Reset,
    /// Not at all: the edge gets it back in [`Edge::on_released`].
    Release,
}

/// One connection and what can be done with it while the edge handles something of it.
pub struct Io<'a, C> {
    /// The time of this turn.
    pub now: Now,
    /// Its name.
    pub id: ConnId,
    /// The edge's state of it.
    pub conn: &'a mut C,
    /// Its socket, non-blocking.
    pub socket: &'a Socket,
    /// The engine.
    pub shard: &'a mut Shard,
    /// Whether the last write found the socket full: nothing can be written now.
    pub blocked: bool,
    pub(crate) read: bool,
    pub(crate) flush: bool,
    pub(crate) end: Option<End>,
}

impl<C> Io<'_, C> {
    /// Reads on, or not, from the next turn on.
    pub fn reading(&mut self, on: bool) {
        self.read = on;
    }

    /// Something is in [`Edge::outbox`] to be written.
    pub fn flush(&mut self) {
        self.flush = true;
    }

    /// Ends the socket at the end of this turn. Nothing is read or written any more.
    pub fn end(&mut self, end: End) {
        self.end.get_or_insert(end);
    }

    /// Whether [`Io::end`] was called.
    pub fn is_ending(&self) -> bool {
        self.end.is_some()
    }
}

/// The edge of one shard. Lives in the shard's thread; nothing here may block.
pub trait Edge {
    /// The state of one connection. Small: there is one for each that idles.
    type Conn;

    /// The listener to watch, if there is one (any more).
    fn listener(&self) -> Option<BorrowedFd<'_>>;

    /// Accepts one socket.
    fn accept(&mut self, now: Now) -> Accept<Self::Conn>;

    /// The socket is in the table: it may be refused here.
    fn on_accepted(&mut self, io: &mut Io<'_, Self::Conn>);

    /// Bytes came in. They are gone after this.
    fn on_bytes(&mut self, io: &mut Io<'_, Self::Conn>, bytes: &mut [u8]);

    /// The peer will send nothing more.
    fn on_eof(&mut self, io: &mut Io<'_, Self::Conn>);

    /// Handling this connection panicked, which was caught and counted: it must go.
    fn on_panic(&mut self, io: &mut Io<'_, Self::Conn>);

    /// `Effect::Close`.
    fn on_close(&mut self, io: &mut Io<'_, Self::Conn>, code: CloseCode);

    /// `Effect::Resume`: the socket may be read again.
    fn on_resume(&mut self, io: &mut Io<'_, Self::Conn>);

    /// Frames of the edge itself that wait for this connection; written after the engine's.
    fn outbox<'c>(&self, conn: &'c mut Self::Conn) -> Option<&'c mut Outbox>;

    /// The last frame in [`Edge::outbox`] is written.
    fn on_written(&mut self, io: &mut Io<'_, Self::Conn>);

    /// The connection has ended (for whatever reason but a release) and its socket is closed after this. The edge
    /// tells the engine if that still believes in it.
    fn on_lost(&mut self, now: Now, id: ConnId, conn: Self::Conn, shard: &mut Shard);

    /// Takes back a socket that was ended with [`End::Release`].
    fn on_released(&mut self, socket: Socket, conn: Self::Conn);

    /// When [`Edge::expired`] is to be asked.
    fn next_timeout(&self) -> Option<Mono>;

    /// The next connection whose deadline has passed; [`Edge::on_deadline`] follows if it still exists.
    fn expired(&mut self, now: Mono) -> Option<ConnId>;

    /// A deadline of this connection has passed.
    fn on_deadline(&mut self, io: &mut Io<'_, Self::Conn>);

    /// No new connections from here on: the listener is to be closed.
    fn on_drain(&mut self);

    /// `Effect::Store`; answered by [`crate::Posted::Stored`].
    fn store(&mut self, batch: Box<Batch>);

    /// `Effect::Load`; answered by [`crate::Posted::Loaded`].
    fn load(&mut self, id: u64, load: Load);

    /// `Effect::Verify` for a connection that exists.
    ///
    /// # Errors
    /// What is wrong with the token.
    fn verify(&mut self, now: Now, conn: &mut Self::Conn, token: &str) -> Result<Box<Identity>, TokenError>;

    /// `Effect::HttpReply`.
    fn http_reply(&mut self, ticket: u64, result: Result<Vec<u8>, Box<CommandError>>);

    /// `Effect::Fault`, for the log.
    fn fault(&mut self, error_id: u64, what: &str);

    /// Counters and gauges by name, for [`crate::Report::edge`].
    fn counters(&self) -> Vec<(&'static str, u64)>;
}
