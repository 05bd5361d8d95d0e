//! What the pump does with one socket: reading it, handing it to the edge, writing it, accepting and closing it.

use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};

use veza_engine::fanout::Outbox;
use veza_engine::id::ConnId;

use super::{LISTENER, Pump};
use crate::edge::{Accept, Edge, End, Io};
use crate::poller::{Interest, Ready};
use crate::sockets::Sockets;
use crate::stats::Call;

/// Sockets accepted in one turn.
const ACCEPTS_MAX: usize = 64;
/// The same while those who are in have more to be read than a turn takes: a storm is served in the order in which it
/// came, and who waits in the listener's queue waits without an answer, not in a handshake that could be refused.
const ACCEPTS_BUSY_MAX: usize = 8;
/// Writes to one socket in one flush; with more waiting, it is written on when the poller finds it writable.
const WRITES_MAX: usize = 4;

impl<E: Edge> Pump<E> {
    pub(super) fn take_socket(&mut self, ready: Ready) {
        let id = self.sockets.id(ready.token);
        let Some(open) = self.sockets.get_mut(id) else { return };
        if ready.write && open.blocked {
            open.blocked = false;
            self.flush(id);
            self.watch(id);
        }
        let Some(open) = self.sockets.get_mut(id).filter(|open| open.end.is_none()) else { return };
        if !open.read {
            // A paused socket whose peer is gone would be reported in every turn.
            if ready.hangup {
                self.with(id, |_, io| io.end(End::Close));
            }
        } else if ready.read {
            self.read(id);
        }
    }

    /// Reads once and hands it to the edge.
    fn read(&mut self, id: ConnId) {
        let mut buffer = std::mem::take(&mut self.buffer);
        self.stats.calls[Call::Read] += 1;
        let result = match self.sockets.get_mut(id) {
            Some(open) => (&open.socket).read(&mut buffer),
            None => Err(io::ErrorKind::NotConnected.into()),
        };
        match result {
            Ok(0) => self.with(id, |edge, io| edge.on_eof(io)),
            Ok(count) => {
                self.stats.reads += 1;
                self.stats.read_bytes += count as u64;
                self.with(id, |edge, io| edge.on_bytes(io, &mut buffer[..count]));
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(_) => self.with(id, |_, io| io.end(End::Close)),
        }
        self.buffer = buffer;
    }

    /// Lets the edge handle something of one connection, and carries out what it asked for. A panic costs this
    /// connection and nothing else.
    pub(super) fn with(&mut self, id: ConnId, handle: impl FnOnce(&mut E, &mut Io<'_, E::Conn>)) {
        let Some(open) = self.sockets.get_mut(id).filter(|open| open.end.is_none()) else { return };
        let mut io = Io {
            now: self.now,
            id,
            conn: &mut open.conn,
            socket: &open.socket,
            shard: &mut self.shard,
            blocked: open.blocked,
            read: open.read,
            flush: false,
            end: None,
        };
        let edge = &mut self.edge;
        if catch_unwind(AssertUnwindSafe(|| handle(edge, &mut io))).is_err() {
            self.stats.panics += 1;
            if catch_unwind(AssertUnwindSafe(|| edge.on_panic(&mut io))).is_err() {
                io.end(End::Reset);
            }
        }
        let Io { read, flush, end, .. } = io;
        open.read = read;
        if let Some(end) = end {
            open.end = Some(end);
            self.ending.push(id);
            return;
        }
        self.watch(id);
        if flush {
            self.flush(id);
        }
    }

    /// Tells the poller what this socket is watched for now, if that is new.
    fn watch(&mut self, id: ConnId) {
        let Some(open) = self.sockets.get_mut(id) else { return };
        let interest = open.interest();
        if interest == open.watched || open.end.is_some() {
            return;
        }
        open.watched = interest;
        if self.poller.change(&open.socket, Sockets::<E::Conn>::token(id), interest).is_err() {
            // Unwatched it would hang forever: it closes.
            open.end = Some(End::Close);
            self.ending.push(id);
        }
    }

    /// Writes what waits for a connection: the engine's frames, then the edge's own.
    pub(super) fn flush(&mut self, id: ConnId) {
        let Some(open) = self.sockets.get_mut(id) else { return };
        let (mut own_written, mut result, mut left) = (false, Ok(()), WRITES_MAX);
        while !open.blocked && open.end.is_none() {
            let (socket, blocked, writer, stats) = (&open.socket, &mut open.blocked, &mut self.writer, &mut self.stats);
            let mut offer = |outbox: &Outbox| -> io::Result<usize> {
                if left == 0 {
                    *blocked = true; // more than its share: the poller will find it writable in the next turn
                    return Ok(0);
                }
                left -= 1;
                let written = writer.write(socket, outbox)?;
                stats.writes += 1;
                stats.written_bytes += written.bytes as u64;
                stats.blocked += u64::from(written.blocked);
                *blocked = written.blocked;
                Ok(written.bytes)
            };
            match self.shard.write_out(self.now, id, &mut offer) {
                Some(Ok(true)) => continue,
                Some(Ok(false)) | None => {}
                Some(Err(error)) => {
                    result = Err(error);
                    break;
                }
            }
            let Some(own) = self.edge.outbox(&mut open.conn).filter(|own| !own.is_empty()) else { break };
            match offer(own) {
                Ok(bytes) => self.stats.edge_frames += own.advance(bytes),
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
            own_written = own.is_empty();
        }
        let blocked = open.blocked;
        if result.is_err() {
            self.with(id, |_, io| io.end(End::Close));
        } else if blocked {
            self.watch(id);
        }
        if own_written {
            self.with(id, |edge, io| edge.on_written(io));
        }
    }

    /// Closes the sockets that ended in this turn.
    pub(super) fn reap(&mut self) -> bool {
        let mut ending = std::mem::take(&mut self.ending);
        let worked = !ending.is_empty();
        for id in ending.drain(..) {
            let Some(open) = self.sockets.remove(id) else { continue };
            self.stats.closed += 1;
            self.stats.calls[Call::Close] += u64::from(open.end != Some(End::Release));
            match open.end {
                Some(End::Release) => {
                    // If it fails the descriptor is not registered, which is what is wanted.
                    let _ = self.poller.forget(&open.socket);
                    self.edge.on_released(open.socket, open.conn);
                    continue;
                }
                Some(End::Reset) => {
                    // Best effort: without it the kernel goes on trying to deliver for a while.
                    let _ = open.socket.set_linger(Some(std::time::Duration::ZERO));
                }
                Some(End::Close) | None => {}
            }
            self.edge.on_lost(self.now, id, open.conn, &mut self.shard);
        }
        if self.ending.is_empty() {
            self.ending = ending; // keeps the allocation
        }
        worked
    }

    pub(super) fn accept(&mut self) -> io::Result<bool> {
        if !std::mem::take(&mut self.accept_ready) || !self.listening || self.accept_again.is_some() {
            return Ok(false);
        }
        let most = if self.poller.has_more() { ACCEPTS_BUSY_MAX } else { ACCEPTS_MAX };
        for _ in 0..most {
            self.stats.calls[Call::Accept] += 1;
            match self.edge.accept(self.now) {
                Accept::Socket(socket, conn) => {
                    self.stats.accepted += 1;
                    let id = self.sockets.insert(socket, conn);
                    self.enter(id);
                }
                Accept::Lost => {}
                Accept::Nobody => return Ok(true),
                Accept::BackOff(until) => {
                    self.stats.accept_backoffs += 1;
                    self.accept_again = Some(until);
                    self.watch_listener(false)?;
                    return Ok(true);
                }
            }
        }
        Ok(true) // the listener is level-triggered: whoever still waits is reported again
    }

    fn enter(&mut self, id: ConnId) {
        let Some(open) = self.sockets.get_mut(id) else { return };
        let watched = self.poller.watch(&open.socket, Sockets::<E::Conn>::token(id), open.interest());
        match watched {
            Ok(()) => self.with(id, |edge, io| edge.on_accepted(io)),
            Err(_) => self.with(id, |_, io| io.end(End::Close)),
        }
    }

    pub(super) fn watch_listener(&mut self, read: bool) -> io::Result<()> {
        match self.edge.listener() {
            Some(listener) => self.poller.change(listener, LISTENER, Interest { read, write: false }),
            None => Ok(()),
        }
    }
}
