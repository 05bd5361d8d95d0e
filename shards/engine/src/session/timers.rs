//! Deadlines of connections: authentication, heartbeat, end of the token, and the paced end of all of them.

use super::{Phase, Sessions};
use crate::core::Core;
use crate::fanout::{Frame, FrameClass, encode_frame};
use crate::id::ConnId;
use crate::time::{Mono, SECOND_US, WallMs};
use crate::wheel::TICK_US;
use crate::wire::CloseCode;
use crate::wire::encode::push_frame;
use crate::wire::json::object;

/// `token_expiring` comes this long before the end, microseconds.
const EXPIRING_US: u64 = 60 * SECOND_US;
/// A draining shard closes a part of its connections each tick, all of them within this many ticks.
const DRAIN_TICKS: usize = 15;
/// A connection with commands under way is let finish them, for at most this long, microseconds.
const DRAIN_PATIENCE_US: u64 = 3 * SECOND_US;
const PING: u8 = 0x89;

/// Connections are being closed, so many a tick.
#[derive(Debug)]
pub(super) struct Drain {
    per_tick: usize,
    next: Mono,
    started: Mono,
}

impl Sessions {
    /// When the next deadline comes up.
    pub fn next_due(&self) -> Option<Mono> {
        let drain = self.drain.as_ref().map(|drain| drain.next);
        self.wheel.next_due().into_iter().chain(drain).chain(self.held_until).min()
    }

    /// Handles all deadlines up to now.
    pub fn tick(&mut self, core: &mut Core) {
        if self.held_until.is_some_and(|until| until <= core.now.mono) {
            self.release_held();
        }
        let mut due = std::mem::take(&mut self.due);
        self.wheel.take_due(core.now.mono, &mut due);
        for (slot, generation) in due.drain(..) {
            let conn = ConnId { shard: core.id, slot, generation };
            let now = core.now.mono;
            // An entry is void if the session has one that comes up later or came up earlier.
            if self.get(conn).is_some_and(|session| session.timer <= now) {
                self.check(core, conn);
            }
        }
        self.due = due;
        self.drain_some(core);
    }

    fn check(&mut self, core: &mut Core, conn: ConnId) {
        let now = core.now.mono;
        let (auth_us, beat_us) = (core.limits.auth_timeout_us, core.limits.heartbeat_us);
        let Some(session) = self.get(conn) else { return };
        match &mut session.phase {
            Phase::Ready(user) => {
                if user.expires <= now {
                    return self.close(core, conn, CloseCode::TokenExpired);
                }
                if !user.warned && user.expires <= now.after(EXPIRING_US) {
                    user.warned = true;
                    let expires_at = WallMs(user.expires_at.saturating_mul(1000));
                    let data = object(|o| o.time("expires_at", expires_at).end());
                    let frame = Frame::new(push_frame("token_expiring", &data));
                    self.push(core, conn.slot, frame, FrameClass::Push);
                }
            }
            Phase::Anonymous | Phase::Verifying => {
                if now.since(session.opened) >= auth_us {
                    return self.close(core, conn, CloseCode::AuthTimeout);
                }
            }
            Phase::Authenticating(_) => {
                if now.since(session.opened) >= auth_us {
                    // The token was good and we are slow: the client shall come back, which 3502 forbids.
                    return self.close(core, conn, CloseCode::ServerError);
                }
            }
        }
        let Some(session) = self.get(conn) else { return };
        if beat_us > 0 {
            if now.since(session.last_seen) >= 2 * beat_us {
                return self.close(core, conn, CloseCode::NoHeartbeat);
            }
            if now >= session.next_ping {
                session.next_ping = now.after(beat_us);
                self.push(core, conn.slot, Frame::new(encode_frame(PING, b"")), FrameClass::Control);
            }
        }
        self.set_timer(core, conn);
    }

    /// Enters the session's earliest deadline into the wheel.
    pub(super) fn set_timer(&mut self, core: &Core, conn: ConnId) {
        let (auth_us, beat_us) = (core.limits.auth_timeout_us, core.limits.heartbeat_us);
        let Some(session) = self.get(conn) else { return };
        let mut due = match &session.phase {
            Phase::Ready(user) if user.warned => user.expires,
            Phase::Ready(user) => Mono(user.expires.0.saturating_sub(EXPIRING_US)),
            Phase::Anonymous | Phase::Verifying | Phase::Authenticating(_) => session.opened.after(auth_us),
        };
        if beat_us > 0 {
            due = due.min(session.next_ping).min(session.last_seen.after(2 * beat_us));
        }
        let entry = (conn.slot, conn.generation);
        let comes_up = self.wheel.insert(entry, due);
        if let Some(session) = self.get(conn) {
            session.timer = comes_up;
        }
    }

    /// SIGTERM: tells everybody, then closes a part of them each tick.
    pub fn start_drain(&mut self, core: &mut Core, reconnect_after_ms: u64) {
        if self.drain.is_some() {
            return;
        }
        let conns: Vec<ConnId> = self.slots.iter().flatten().map(|session| session.conn).collect();
        let per_tick = conns.len().div_ceil(DRAIN_TICKS).max(1);
        for conn in conns {
            let hint = if reconnect_after_ms == 0 { 0 } else { core.rng.next() % reconnect_after_ms };
            self.draining_push(core, conn, hint);
        }
        let now = core.now.mono;
        self.drain = Some(Drain { per_tick, next: now.after(TICK_US), started: now });
    }

    /// A handshake that ended behind the drain: its connection goes like the others.
    pub(super) fn keep_draining(&mut self, core: &Core) {
        if core.draining && self.drain.is_none() {
            let now = core.now.mono;
            self.drain = Some(Drain { per_tick: usize::MAX, next: now.after(TICK_US), started: now });
        }
    }

    fn drain_some(&mut self, core: &mut Core) {
        let now = core.now.mono;
        let Some(drain) = &mut self.drain else { return };
        if now < drain.next {
            return;
        }
        drain.next = now.after(TICK_US);
        let patient = now.since(drain.started) < DRAIN_PATIENCE_US;
        let idle = self.slots.iter().flatten().filter(|session| session.inflight == 0 || !patient);
        let conns: Vec<ConnId> = idle.map(|session| session.conn).take(drain.per_tick).collect();
        for conn in conns {
            self.close(core, conn, CloseCode::Draining);
        }
        if self.slots.iter().flatten().next().is_none() {
            self.drain = None;
        }
    }
}
