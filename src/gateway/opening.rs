//! From the first byte to an open WebSocket, to a refusal, or to the control thread.

use veza_engine::Input;
use veza_engine::deflate::Window;
use veza_engine::fanout::Outbox;
use veza_engine::input::TokenError;
use veza_runtime::{End, Io};

use super::edge::{Backend, Gateway};
use super::http_head::{self, Upgrade, error_response};
use super::session::{Echo, Session, Ws, append, raw};
use super::ws::WsCodec;

/// Bytes of the largest message on the echo endpoint.
const ECHO_MESSAGE_MAX: usize = 16 << 20;
/// Refused connections that linger for their answer at a time; beyond, they are closed without waiting.
const REFUSED_LINGERING_MAX: u64 = 4096;

impl<B: Backend> Gateway<B> {
    pub(super) fn head_bytes(&mut self, io: &mut Io<'_, Session>, fresh: &mut [u8]) {
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

    pub(super) fn refuse_head(&mut self, io: &mut Io<'_, Session>, status: u16, reason: &str) {
        self.count.refused_head += 1;
        self.refuse(io, error_response(status, "INVALID_REQUEST", reason));
    }

    /// Answers, then closes.
    pub(super) fn refuse(&mut self, io: &mut Io<'_, Session>, response: Vec<u8>) {
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
        self.count.upgrades += 1;
        if identity.is_some() {
            self.release(io.conn);
        }
        let admitted = io.conn.take_admitted();
        let codec = WsCodec::new(self.config.max_frame_bytes, upgrade.window != Window::NONE);
        *io.conn = Session::Ws(Ws { codec, admitted, pong_bytes: 0 });
        self.count.compressed_upgrades += u64::from(upgrade.window != Window::NONE);
        io.shard.handle(io.now, Input::Opened { conn: io.id, identity, window: upgrade.window });
        // Most are authenticated by now: the answer and `auth_success` leave in one write.
        let response = raw(upgrade.response);
        if !io.shard.greet(io.id, response.clone()) && !answer(io, response.bytes()) {
            return;
        }
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
            codec: WsCodec::new(ECHO_MESSAGE_MAX, upgrade.window != Window::NONE),
            window: upgrade.window,
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
}

/// Writes the answer to an upgrade straight into the fresh socket, whose buffer holds it at any rate.
fn answer(io: &mut Io<'_, Session>, response: &[u8]) -> bool {
    let whole = io.socket.send_with_flags(response, libc::MSG_NOSIGNAL).is_ok_and(|bytes| bytes == response.len());
    if !whole {
        io.end(End::Close);
    }
    whole
}
