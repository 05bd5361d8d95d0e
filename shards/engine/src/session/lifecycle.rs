//! Connections come and go.

use super::{Phase, Session, Sessions, SubState, command_rate};
use crate::core::Core;
use crate::deflate::Window;
use crate::effect::Effect;
use crate::fanout::Outbox;
use crate::few::Few;
use crate::id::{ConnId, RoomId};
use crate::input::Identity;
use crate::peer::PeerMessage;
use crate::rate::Bucket;
use crate::wire::CloseCode;

impl Sessions {
    /// A WebSocket is open.
    pub fn opened(&mut self, core: &mut Core, conn: ConnId, identity: Option<Box<Identity>>, window: Window) {
        let slot = conn.slot as usize;
        if slot >= self.slots.len() {
            self.slots.resize_with(slot + 1, || None);
        }
        assert!(self.slots[slot].is_none(), "slot {slot} is taken");
        let now = core.now.mono;
        let interval = core.limits.heartbeat_us.max(1);
        let session = Session {
            conn,
            phase: Phase::Anonymous,
            outbox: Outbox::default(),
            touched: false,
            paused: false,
            window,
            inflight: 0,
            subscribing: 0,
            catching: 0,
            opened: now,
            last_seen: now,
            next_ping: now.after(core.rng.next() % interval),
            timer: now,
            commands: Bucket::full(command_rate(core), now),
            faults: None,
            subs: Vec::new(),
            resumes: Few::default(),
            deferred: Few::default(),
        };
        self.slots[slot] = Some(Box::new(session));
        core.stats.connections += 1;
        self.set_timer(core, conn);
        self.keep_draining(core);
        if let Some(identity) = identity {
            self.authenticate(core, conn, identity, None);
        }
    }

    /// The peer lives.
    pub fn alive(&mut self, core: &Core, conn: ConnId) {
        if let Some(session) = self.get(conn) {
            session.last_seen = core.now.mono;
        }
    }

    /// The socket is gone, or the gateway closed it.
    pub fn closed(&mut self, core: &mut Core, conn: ConnId, code: Option<CloseCode>) {
        if self.get(conn).is_some() {
            if let Some(code) = code {
                count_close(core, code);
            }
            self.remove(core, conn);
        }
        self.take_outbox(core, conn);
    }

    /// Ends a connection from this side; what waits for it is written first.
    pub fn close(&mut self, core: &mut Core, conn: ConnId, code: CloseCode) {
        let Some(session) = self.get(conn) else { return };
        if code == CloseCode::SlowReceiver {
            let before = (session.outbox.push_bytes() + session.outbox.reply_bytes()) as u64;
            session.outbox.keep_begun();
            let after = (session.outbox.push_bytes() + session.outbox.reply_bytes()) as u64;
            core.stats.outbox_bytes = core.stats.outbox_bytes.saturating_sub(before - after);
        }
        count_close(core, code);
        self.remove(core, conn);
        core.effects.push_back(Effect::Close { conn, code });
    }

    /// Forgets a connection; its user and rooms are told.
    fn remove(&mut self, core: &mut Core, conn: ConnId) {
        let session = self.slots[conn.slot as usize].take().expect("looked up before");
        core.stats.connections -= 1;
        let mut rooms: Vec<RoomId> = Vec::with_capacity(session.subs.len());
        for sub in &session.subs {
            core.stats.subscriptions = core.stats.subscriptions.saturating_sub(1);
            if !matches!(sub.state, SubState::Catching { until: Some(_), .. }) {
                rooms.push(sub.room_id);
            }
            self.unlist(conn.slot, sub.room_id, sub.state);
        }
        let user_id = match &session.phase {
            Phase::Ready(user) => {
                core.stats.authenticated -= 1;
                user.known.leaves(core.now.mono);
                Some(user.caller.user_id)
            }
            Phase::Authenticating(pending) => pending.found.as_ref().map(|found| found.user_id),
            Phase::Anonymous | Phase::Verifying => None,
        };
        if let Some(user_id) = user_id {
            let home = user_id.home(core.shards);
            core.send(home, PeerMessage::Detach { conn, user_id, rooms });
        }
        if !session.outbox.is_empty() {
            self.left_over.insert(conn, session.outbox);
        }
    }

    /// What a closed (or closing) connection still has to be sent.
    pub fn take_outbox(&mut self, core: &mut Core, conn: ConnId) -> Option<Outbox> {
        let outbox = match self.get(conn) {
            Some(session) => std::mem::take(&mut session.outbox),
            None => self.left_over.remove(&conn)?,
        };
        let bytes = (outbox.push_bytes() + outbox.reply_bytes()) as u64;
        core.stats.outbox_bytes = core.stats.outbox_bytes.saturating_sub(bytes);
        (!outbox.is_empty()).then_some(outbox)
    }

    /// Closes those that went over the bound for one connection, and the fullest while all together are over theirs.
    pub fn enforce_outboxes(&mut self, core: &mut Core) {
        let most = core.limits.outbox_bytes;
        for slot in std::mem::take(&mut self.overfull) {
            let Some(session) = self.slots[slot as usize].as_deref() else { continue };
            let waiting = session.outbox.push_bytes();
            if session.touched && waiting > most && waiting <= 2 * most {
                // The socket has not been offered this turn's frames: what comes in one burst is not slowness.
                self.overfull.push(slot);
            } else if waiting > most {
                self.close(core, session.conn, CloseCode::SlowReceiver);
            }
        }
        while core.stats.outbox_bytes > core.limits.outbox_shard_bytes as u64 {
            // Replies count here: else one who never reads its own would have all others closed in its place.
            let bytes = |session: &Session| session.outbox.push_bytes() + session.outbox.reply_bytes();
            let fullest = self.slots.iter().flatten().max_by_key(|session| bytes(session));
            match fullest {
                Some(session) if bytes(session) > 0 => {
                    let conn = session.conn;
                    self.close(core, conn, CloseCode::SlowReceiver);
                }
                _ => break,
            }
        }
    }
}

fn count_close(core: &mut Core, code: CloseCode) {
    if let Some(index) = CloseCode::ALL.iter().position(|other| *other == code) {
        core.stats.closes[index] += 1;
    }
}
