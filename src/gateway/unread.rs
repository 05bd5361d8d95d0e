//! Input that must wait for another turn: a few bytes may say megabytes when they are inflated.

use std::collections::VecDeque;

use veza_engine::id::ConnId;
use veza_engine::time::Mono;
use veza_runtime::Io;

use super::edge::{Backend, Gateway};
use super::session::Session;

/// Connections whose last bytes were not all taken, oldest first. They are not read meanwhile, so each has one read here.
#[derive(Default)]
pub struct Unread {
    waiting: VecDeque<Waiting>,
    /// The turn in which one was taken last: there is one in each turn.
    taken: Option<Mono>,
}

struct Waiting {
    conn: ConnId,
    /// `None`: the engine must resume it before.
    due: Option<Mono>,
    bytes: Vec<u8>,
}

impl Unread {
    /// Whether bytes of this connection wait: it must not be read.
    pub fn waits(&self, conn: ConnId) -> bool {
        self.waiting.iter().any(|waiting| waiting.conn == conn)
    }

    /// The engine takes more of this connection; says whether that is here.
    pub fn resume(&mut self, conn: ConnId, now: Mono) -> bool {
        let waiting = self.waiting.iter_mut().find(|waiting| waiting.conn == conn);
        waiting.map(|waiting| waiting.due.get_or_insert(now)).is_some()
    }

    /// The connection is gone, or will not be listened to any more.
    pub fn forget(&mut self, conn: ConnId) {
        self.waiting.retain(|waiting| waiting.conn != conn);
    }

    /// When [`Unread::next`] is to be asked.
    pub fn due(&self) -> Option<Mono> {
        self.waiting.iter().filter_map(|waiting| waiting.due).min()
    }

    /// Whose turn it is.
    pub fn next(&mut self, now: Mono) -> Option<ConnId> {
        if self.waiting.is_empty() || self.taken == Some(now) {
            return None;
        }
        let waiting = self.waiting.iter().find(|waiting| waiting.due.is_some_and(|due| due <= now))?;
        self.taken = Some(now);
        Some(waiting.conn)
    }

    fn take(&mut self, conn: ConnId) -> Option<Vec<u8>> {
        let index = self.waiting.iter().position(|waiting| waiting.conn == conn)?;
        self.waiting.remove(index).map(|waiting| waiting.bytes)
    }
}

impl<B: Backend> Gateway<B> {
    /// Keeps what one turn was too short for.
    pub(super) fn keep_unread(&mut self, io: &mut Io<'_, Session>, rest: &[u8]) {
        if !rest.is_empty() {
            self.unread.waiting.push_back(Waiting { conn: io.id, due: Some(io.now.mono), bytes: rest.to_vec() });
            io.reading(false);
        }
    }

    /// Takes in more of what waits.
    pub(super) fn read_on(&mut self, io: &mut Io<'_, Session>) {
        let Some(mut bytes) = self.unread.take(io.id) else { return };
        if io.shard.is_paused(io.id) {
            return self.unread.waiting.push_back(Waiting { conn: io.id, due: None, bytes });
        }
        io.reading(true);
        match io.conn {
            Session::Ws(_) => self.ws_bytes(io, &mut bytes),
            Session::Echo(_) => self.echo_bytes(io, &mut bytes),
            Session::Head(_) | Session::Closing(_) => {}
        }
    }
}
