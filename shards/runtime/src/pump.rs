//! The loop of one shard: everything that happened goes in, everything that should happen goes out, once per turn.
//!
//! A turn is bounded: so many bytes per socket, so many events, messages and sockets; what is left over is taken up in
//! the next turn before anything sleeps. The pump knows neither glommio nor threads: a driver calls [`Pump::turn`]
//! until it is idle and then waits on [`Pump::poller`].

mod blame;
mod sockets;

use std::io;
use std::sync::Arc;

use veza_engine::id::{ConnId, ShardId};
use veza_engine::time::{Mono, Now};
use veza_engine::{Effect, Input, PeerMessage, Shard, ShardConfig};

use crate::clock;
use crate::doorbell::Doorbell;
use crate::edge::Edge;
use crate::inbox::{Inbox, Posted, Report};
use crate::mesh::Port;
use crate::poller::{Interest, Poller, Token};
use crate::sockets::Sockets;
use crate::stats::{Call, Phase, RuntimeStats};
use crate::trim::{self, Trim};
use crate::watchdog::Beat;
use crate::write::Writer;

/// Bytes read from one socket in one turn; the size of the one buffer that all sockets share.
pub const READ_BYTES_MAX: usize = 16 << 10;
/// Microseconds of handling sockets' input after which a turn goes on to everything else.
const READ_US_MAX: u64 = 500;
/// Messages taken from each peer in one turn.
const PEER_MESSAGES_MAX: usize = 512;
/// Things taken from the inbox in one turn.
const POSTED_MAX: usize = 512;
/// Rounds of effects and flushes in one turn (a write may ask for the next page of a replay, and so on).
const SETTLE_ROUNDS_MAX: usize = 16;
/// Microseconds between two beats of an idle shard.
const BEAT_US: u64 = 500_000;

const LISTENER: Token = Token(u64::MAX - 2);

/// What the driver does after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The turn's bounds left something to be done.
    Busy,
    /// Nothing is known to be left: sleep, if [`Pump::may_sleep`] agrees.
    Idle,
    /// [`Posted::Stop`] came.
    Stop,
}

/// Everything of one shard.
pub struct Pump<E: Edge> {
    id: ShardId,
    shard: Shard,
    edge: E,
    sockets: Sockets<E::Conn>,
    poller: Poller,
    port: Port<PeerMessage>,
    inbox: Arc<Inbox>,
    bell: Arc<Doorbell>,
    beat: Arc<Beat>,
    /// One for all sockets.
    buffer: Box<[u8]>,
    writer: Writer,
    /// Sockets that end with this turn.
    ending: Vec<ConnId>,
    now: Now,
    accept_ready: bool,
    /// Accepting pauses until then.
    accept_again: Option<Mono>,
    listening: bool,
    stopped: bool,
    trim: Trim,
    stats: RuntimeStats,
    /// Up to when the time awake is counted.
    counted: Mono,
    /// The shard has slept since.
    slept: bool,
}

/// What a pump is made of, besides its edge.
pub(crate) struct Parts {
    pub config: ShardConfig,
    pub port: Port<PeerMessage>,
    pub inbox: Arc<Inbox>,
    pub bell: Arc<Doorbell>,
    pub beat: Arc<Beat>,
}

impl<E: Edge> Pump<E> {
    pub(crate) fn new(parts: Parts, edge: E) -> io::Result<Pump<E>> {
        let Parts { config, port, inbox, bell, beat } = parts;
        let mut poller = Poller::new(bell.clone())?;
        let listening = edge.listener().is_some();
        if let Some(listener) = edge.listener() {
            poller.watch(listener, LISTENER, Interest { read: true, write: false })?;
        }
        let now = clock::now();
        Ok(Pump {
            id: config.id,
            sockets: Sockets::new(config.id),
            shard: Shard::new(config, now),
            edge,
            poller,
            port,
            inbox,
            bell,
            beat,
            buffer: vec![0; READ_BYTES_MAX].into(),
            writer: Writer::default(),
            ending: Vec::new(),
            now,
            accept_ready: false,
            accept_again: None,
            listening,
            stopped: false,
            trim: Trim::default(),
            stats: RuntimeStats::default(),
            counted: now.mono,
            slept: true,
        })
    }

    /// One turn.
    ///
    /// # Errors
    /// Of the poller: the shard cannot go on.
    pub fn turn(&mut self) -> io::Result<Turn> {
        self.now = clock::now();
        if std::mem::take(&mut self.slept) {
            self.counted = self.now.mono;
        }
        self.count(Phase::Timers, self.now.mono);
        self.beat.bump();
        self.stats.turns += 1;
        // Time is counted behind whatever did something.
        if self.take_events()? {
            self.lap(Phase::Sockets);
        }
        if self.take_peers() {
            self.lap(Phase::Peers);
        }
        if self.take_posted() {
            self.lap(Phase::Inbox);
        }
        if self.take_time()? {
            self.lap(Phase::Timers);
        }
        self.shard.observe(self.now);
        let mut settled = self.settle();
        // Closed sockets give their descriptors back before new ones are accepted.
        let reaped = self.reap();
        let accepted = self.accept()?;
        if reaped || accepted {
            self.lap(Phase::Accept);
            settled = self.settle();
            self.reap();
            self.lap(Phase::Accept);
        } else if self.counted == self.now.mono {
            self.lap(Phase::Timers); // a turn that did nothing
        }
        let turn_us = self.counted.since(self.now.mono);
        self.stats.turn_us.record(turn_us);
        self.stats.turn_us_max = self.stats.turn_us_max.max(turn_us);
        if self.stopped {
            return Ok(Turn::Stop);
        }
        Ok(if self.poller.has_more() || !settled || !self.ending.is_empty() { Turn::Busy } else { Turn::Idle })
    }

    /// What has passed since the last count was for this.
    fn count(&mut self, phase: Phase, until: Mono) {
        self.stats.busy_us[phase] += until.since(self.counted);
        self.counted = until;
    }

    fn lap(&mut self, phase: Phase) {
        self.count(phase, clock::mono());
    }

    /// Announces the sleep, sets the timer and looks at the queues once more. After a yes the driver waits on
    /// [`Pump::poller`], and then calls [`Pump::woke`].
    ///
    /// # Errors
    /// Of the timer: the shard cannot go on.
    pub fn may_sleep(&mut self) -> io::Result<bool> {
        let mut deadline = self.now.mono.after(BEAT_US);
        let timeouts = [self.shard.next_timeout(), self.edge.next_timeout(), self.accept_again];
        for timeout in timeouts.into_iter().flatten() {
            deadline = deadline.min(timeout);
        }
        self.poller.wake_by(deadline)?;
        self.bell.announce_sleep();
        let stuck = |to| self.shard.peer_waiting(to) > 0 && self.port.has_room(to);
        let more = !self.port.is_empty() || !self.inbox.is_empty() || self.port.peers().any(stuck);
        if more {
            self.bell.awake();
        } else {
            self.stats.sleeps += 1;
        }
        Ok(!more)
    }

    /// The sleep is over; `long` if it took io_uring.
    pub fn woke(&mut self, long: bool) {
        self.bell.awake();
        self.stats.calls[Call::IoUring] += u64::from(long);
        self.slept = true;
    }

    /// What to sleep on.
    pub fn poller(&mut self) -> &mut Poller {
        &mut self.poller
    }

    fn take_events(&mut self) -> io::Result<bool> {
        let any = self.poller.collect()?;
        while let Some(ready) = self.poller.next_ready() {
            if ready.token == LISTENER {
                self.accept_ready = true;
                continue;
            }
            self.take_socket(ready);
            if clock::mono().since(self.now.mono) > READ_US_MAX {
                break;
            }
        }
        Ok(any)
    }

    fn take_peers(&mut self) -> bool {
        let mut total = 0;
        let mut more = false;
        for from in self.port.peers() {
            let mut count = 0;
            while count < PEER_MESSAGES_MAX {
                let Some(message) = self.port.receive(from) else { break };
                self.handle(Input::Peer { from, message });
                count += 1;
            }
            if count > 0 {
                self.port.made_room(from);
                total += count as u64;
                more |= count == PEER_MESSAGES_MAX;
            }
        }
        self.stats.peer_messages += total;
        let left = if more { self.port.waiting() as u64 } else { 0 };
        self.stats.ring_peak.see(total + left, self.now.mono);
        total > 0
    }

    fn take_posted(&mut self) -> bool {
        let mut count = 0;
        while count < POSTED_MAX {
            let Some(posted) = self.inbox.take() else { break };
            count += 1;
            self.stats.posted += 1;
            self.take_one_posted(posted);
        }
        let left = if count == POSTED_MAX { self.inbox.waiting() } else { 0 };
        self.stats.inbox_peak.see((count + left) as u64, self.now.mono);
        count > 0
    }

    fn take_one_posted(&mut self, posted: Posted) {
        let input = match posted {
            Posted::Stored { writer, outcome } => Input::Stored { writer, outcome },
            Posted::Loaded { id, result } => Input::Loaded { id, result },
            Posted::Retained { room_id, floor } => Input::Retained { room_id, floor },
            Posted::Http { ticket, identity, command } => Input::Http { ticket, identity, command },
            Posted::Revoked(revocation) => Input::Revoked(revocation),
            Posted::DisconnectUser { user_id, code } => Input::DisconnectUser { user_id, code },
            Posted::Drain { reconnect_after_ms } => {
                self.stop_listening();
                Input::Drain { reconnect_after_ms }
            }
            Posted::Report(to) => return to(self.report()),
            Posted::Stop => {
                self.stopped = true;
                return;
            }
        };
        self.handle(input);
    }

    fn stop_listening(&mut self) {
        if let Some(listener) = self.edge.listener().filter(|_| self.listening) {
            // Closing it, which follows, would end the registration anyway.
            let _ = self.poller.forget(listener);
        }
        self.listening = false;
        self.accept_ready = false;
        self.accept_again = None;
        self.edge.on_drain();
    }

    fn report(&mut self) -> Report {
        self.shard.measure_memory();
        let mut runtime = self.stats.clone();
        runtime.cpu_us = clock::thread_cpu_us();
        for call in Call::ALL {
            runtime.calls[call] += self.poller.calls()[call];
        }
        runtime.calls[Call::Write] += runtime.writes;
        runtime.calls[Call::Eventfd] += self.port.rung();
        runtime.inbox_waiting = self.inbox.waiting() as u64;
        runtime.socket_bytes = self.sockets.bytes() as u64;
        Report {
            shard: self.id,
            engine: self.shard.stats().clone(),
            runtime,
            edge: self.edge.counters(),
            quiet: self.shard.is_quiet(),
            sockets: self.sockets.count(),
        }
    }

    fn take_time(&mut self) -> io::Result<bool> {
        let mono = self.now.mono;
        let mut any = self.shard.next_timeout().is_some_and(|due| due <= mono);
        if any {
            self.shard.handle(self.now, Input::Tick);
        }
        while let Some(id) = self.edge.expired(mono) {
            any = true;
            self.with(id, |edge, io| edge.on_deadline(io));
        }
        if self.accept_again.is_some_and(|due| due <= mono) {
            self.accept_again = None;
            self.accept_ready = true;
            self.watch_listener(true)?;
        }
        if self.trim.is_due(mono, self.sockets.count()) {
            trim::trim();
        }
        Ok(any)
    }

    /// Carries out effects, sends to peers and flushes touched sockets until nothing is left; says no if the turn's
    /// bound is reached before.
    fn settle(&mut self) -> bool {
        for _ in 0..SETTLE_ROUNDS_MAX {
            let mut effects = false;
            while let Some(effect) = self.shard.poll_effect() {
                self.carry_out(effect);
                effects = true;
            }
            if self.send_peers() || effects {
                self.lap(Phase::Effects);
            }
            let mut writes = false;
            while let Some(id) = self.shard.next_touched() {
                if let Some(next) = self.shard.peek_touched() {
                    self.sockets.prefetch(next);
                }
                self.flush(id);
                writes = true;
            }
            if writes {
                self.lap(Phase::Writes);
            }
            if !effects && !writes {
                return true;
            }
        }
        false
    }

    fn send_peers(&mut self) -> bool {
        let mut any = false;
        for to in self.port.peers() {
            while self.shard.peer_waiting(to) > 0 && self.port.has_room(to) {
                let Some(message) = self.shard.poll_peer(to) else { break };
                self.port.send(to, message);
                any = true;
            }
        }
        self.port.ring();
        any
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Store(batch) => self.edge.store(batch),
            Effect::Load { id, load } => self.edge.load(id, load),
            Effect::Verify { conn, purpose, token } => self.with(conn, |edge, io| {
                let result = edge.verify(io.now, io.conn, &token);
                io.shard.handle(io.now, Input::Verified { conn, purpose, result });
            }),
            Effect::Close { conn, code } => self.with(conn, |edge, io| edge.on_close(io, code)),
            // One that the engine has forgotten since is closing, and must be read to its end.
            Effect::Pause { conn } if self.shard.outbox(conn).is_none() => {}
            Effect::Pause { conn } => self.with(conn, |_, io| io.reading(false)),
            Effect::Resume { conn } => self.with(conn, |edge, io| edge.on_resume(io)),
            Effect::HttpReply { ticket, result } => self.edge.http_reply(ticket, result),
            Effect::Fault { error_id, what } => self.edge.fault(error_id, &what),
        }
    }
}
