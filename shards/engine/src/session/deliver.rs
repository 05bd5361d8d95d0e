//! Replies and pushes on their way out.

use super::{Phase, Sessions, SubState};
use crate::core::{Core, error, store_unavailable};
use crate::deflate::{Forms, Window};
use crate::fanout::{Frame, FrameBytes, FrameClass};
use crate::id::{ConnId, RoomId, Seq, UserId};
use crate::peer::{Asker, PeerMessage, Reply, ResumeVerdict, SubChange};
use crate::wire::encode::push_frame;
use crate::wire::json::{Object, object};
use crate::wire::{CloseCode, CommandError, ErrorCode};

impl Sessions {
    /// An answer for a connection or an HTTP request of this shard.
    pub fn reply(&mut self, core: &mut Core, reply: Reply) {
        let Reply { origin, result, change } = reply;
        let conn = match origin.asker {
            Asker::Http { ticket, .. } => return self.http_reply(core, ticket, result),
            Asker::Conn(conn) => conn,
        };
        let Some(session) = self.get(conn) else {
            if let Some(SubChange::Subscribe { room_id, .. }) = change {
                tell_gone(core, conn, room_id);
            }
            return;
        };
        session.inflight -= 1;
        if session.inflight == 0 {
            session.subscribing = 0;
        }
        match &change {
            Some(SubChange::Unsubscribe { room_id }) => self.drop_sub(core, conn, *room_id),
            Some(SubChange::Subscribe { room_id, from, head }) => {
                core.stats.joins += 1;
                if let Some(session) = self.get(conn) {
                    session.subscribing = session.subscribing.saturating_sub(1);
                }
                self.add_sub(core, conn, *room_id, *from, *head, None);
                self.presence_to(core, conn, *room_id);
            }
            None => {}
        }
        self.presence_settled(conn);
        match result {
            Ok(reply) => self.send_reply(core, conn, origin.id.as_ref(), reply.kind, &reply.data),
            Err(error) => self.send_error(core, conn, origin.id.as_ref(), &error),
        }
        if let Some(SubChange::Subscribe { room_id, .. }) = change {
            self.release(core, conn, room_id);
        }
        self.relax(core, conn);
    }

    /// A sequenced event: to all live subscriptions of the room.
    pub fn event(&mut self, core: &mut Core, room_id: RoomId, seq: Seq, bytes: FrameBytes) {
        let Some(room) = self.rooms.get_mut(&room_id) else { return };
        room.last = room.last.max(seq);
        let (mut forms, len) = (Forms::new(bytes), room.live.len() as u64);
        let most = core.limits.outbox_bytes;
        core.stats.deliveries += len;
        let plain_len = forms.plain().bytes().len();
        core.stats.outbox_bytes += len * plain_len as u64;
        for &slot in &room.live {
            let session = self.slots[slot as usize].as_deref_mut().expect("listed sessions exist");
            let frame = match session.window {
                Window::NONE => forms.plain(),
                window => {
                    let frame = forms.of(core, window);
                    core.stats.outbox_bytes -= (plain_len - frame.bytes().len()) as u64;
                    frame
                }
            };
            session.outbox.push(frame.clone(), FrameClass::Push);
            if !session.touched {
                session.touched = true;
                self.touched.push_back(session.conn);
            }
            if session.outbox.push_bytes() > most {
                self.overfull.push(slot);
            }
        }
    }

    /// An ephemeral push: to live subscriptions with little waiting, but those of the users in `except`.
    pub fn ephemeral(&mut self, core: &mut Core, room_id: RoomId, bytes: FrameBytes, except: &[UserId]) {
        let Some(room) = self.rooms.get(&room_id) else { return };
        let mut forms = Forms::new(bytes);
        let most = core.limits.outbox_bytes / 4;
        for &slot in &room.live {
            let session = self.slots[slot as usize].as_deref_mut().expect("listed sessions exist");
            if session.outbox.push_bytes() > most {
                core.stats.ephemeral_dropped += 1;
                continue;
            }
            if !except.is_empty()
                && matches!(&session.phase, Phase::Ready(user) if except.binary_search(&user.caller.user_id).is_ok())
            {
                continue;
            }
            let frame = forms.of(core, session.window);
            core.stats.outbox_bytes += frame.bytes().len() as u64;
            session.outbox.push(frame.clone(), FrameClass::Push);
            if !session.touched {
                session.touched = true;
                self.touched.push_back(session.conn);
            }
        }
    }

    /// A push for connections of one user.
    pub fn deliver(&mut self, core: &mut Core, conns: &[ConnId], bytes: FrameBytes) {
        let mut forms = Forms::new(bytes);
        for conn in conns {
            if self.get(*conn).is_some() {
                core.stats.deliveries += 1;
                self.push_form(core, conn.slot, &mut forms, FrameClass::Push);
            }
        }
    }

    /// One room of a `resume` is decided. Its events are held until the reply is out.
    pub fn resumed(&mut self, core: &mut Core, conn: ConnId, ticket: u64, part: u32, verdict: ResumeVerdict) {
        let known = self.get(conn).is_some_and(|session| session.resumes.iter().any(|r| r.ticket == ticket));
        if !known {
            if verdict.subscribed {
                tell_gone(core, conn, verdict.room_id);
            }
            return;
        }
        core.stats.resumed_rooms += u64::from(verdict.recovered);
        if verdict.subscribed {
            let session = self.get(conn).expect("looked up before");
            if !session.subs.iter().any(|sub| sub.room_id == verdict.room_id) {
                let resuming = session.resumes.iter_mut().find(|r| r.ticket == ticket).expect("looked up before");
                resuming.fresh.push(verdict.room_id);
            }
            self.add_sub(core, conn, verdict.room_id, verdict.from, verdict.head, None);
            self.presence_to(core, conn, verdict.room_id);
        } else if verdict.recovered && verdict.from < verdict.head {
            self.add_sub(core, conn, verdict.room_id, verdict.from, verdict.head, Some(verdict.head));
        }
        let session = self.get(conn).expect("looked up before");
        let resuming = session.resumes.iter_mut().find(|r| r.ticket == ticket).expect("looked up before");
        if resuming.verdicts[part as usize].replace(verdict).is_none() {
            resuming.missing -= 1;
        }
        self.resumed_if_complete(core, conn, ticket);
    }

    /// All rooms have answered: the reply, then what is to be replayed.
    pub(super) fn resumed_if_complete(&mut self, core: &mut Core, conn: ConnId, ticket: u64) {
        let Some(session) = self.get(conn) else { return };
        let complete = session.resumes.iter().position(|r| r.ticket == ticket && r.missing == 0);
        let Some(resuming) = complete.and_then(|index| session.resumes.remove(index)) else { return };
        session.inflight -= 1;
        self.presence_settled(conn);
        let verdicts: Vec<ResumeVerdict> = resuming.verdicts.into_iter().flatten().collect();
        let most = core.limits.max_subscriptions as usize;
        let failure = if verdicts.iter().any(|verdict| verdict.reason == Some(crate::room::UNAVAILABLE)) {
            Some(store_unavailable())
        } else if most > 0 && self.get(conn).is_some_and(|session| session.subscribed() > most) {
            Some(Box::new(CommandError::field("rooms", "too many subscriptions on this connection")))
        } else {
            None
        };
        if let Some(failure) = failure {
            for room_id in resuming.fresh {
                self.drop_sub(core, conn, room_id);
                self.unlist_at_home(core, conn, room_id);
            }
            self.send_error(core, conn, resuming.id.as_ref(), &failure);
        } else {
            let data = object(|o| o.array("rooms", &verdicts, write_verdict).end());
            self.send_reply(core, conn, resuming.id.as_ref(), "resumed", &data);
        }
        for verdict in &verdicts {
            self.release(core, conn, verdict.room_id);
        }
        self.dispatch_deferred(core, conn);
    }

    fn unlist_at_home(&mut self, core: &mut Core, conn: ConnId, room_id: RoomId) {
        let Some(session) = self.get(conn) else { return };
        let Phase::Ready(user) = &session.phase else { return };
        let user_id = user.caller.user_id;
        core.send(user_id.home(core.shards), PeerMessage::Unlist { conn, user_id, room_id });
    }

    /// The user's membership is over: nothing of the room reaches these connections any more.
    pub fn expel(&mut self, core: &mut Core, room_id: RoomId, conns: &[ConnId]) {
        for conn in conns {
            self.drop_sub(core, *conn, room_id);
        }
    }

    /// A page of a replay.
    pub fn replay(
        &mut self,
        core: &mut Core,
        conn: ConnId,
        room_id: RoomId,
        frames: Vec<(Seq, FrameBytes)>,
        lost: bool,
    ) {
        let Some(session) = self.get(conn) else { return };
        let sub = session.subs.iter_mut().find(|sub| sub.room_id == room_id).map(|sub| &mut sub.state);
        let Some(SubState::Catching { position, asked: asked @ true, until, .. }) = sub else {
            // Of a subscription that ended, or of the one before this, whose own reply may not even be written.
            return self.catch_up_all(core, conn);
        };
        *asked = false;
        if lost {
            return self.close(core, conn, CloseCode::ServerError);
        }
        let (mut at, end) = (*position, until.unwrap_or(Seq(u64::MAX)));
        let mut fresh = Vec::with_capacity(frames.len());
        for (seq, bytes) in frames {
            if seq == at.next() && seq <= end {
                at = seq;
                fresh.push(bytes);
            }
        }
        *position = at;
        core.stats.deliveries += fresh.len() as u64;
        for bytes in fresh {
            self.push_form(core, conn.slot, &mut Forms::new(bytes), FrameClass::Reply);
        }
        self.catch_up(core, conn, room_id);
        self.catch_up_all(core, conn);
    }

    /// Bytes of a connection's outbox are written.
    pub fn wrote(&mut self, core: &mut Core, conn: ConnId, bytes: usize) {
        let low = core.limits.replay_low_bytes;
        let Some(session) = self.get(conn) else { return };
        let before = session.outbox.push_bytes() + session.outbox.reply_bytes();
        core.stats.frames_written += session.outbox.advance(bytes);
        let after = session.outbox.push_bytes() + session.outbox.reply_bytes();
        core.stats.outbox_bytes = core.stats.outbox_bytes.saturating_sub((before - after) as u64);
        if session.catching > 0 && session.outbox.reply_bytes() < low {
            self.catch_up_all(core, conn);
        }
        if self.get(conn).is_some_and(|session| session.paused) {
            self.relax(core, conn);
        }
    }

    /// Answers what came over HTTP, or refuses it (for tests of the edges: never silently dropped).
    pub(super) fn draining_push(&mut self, core: &mut Core, conn: ConnId, reconnect_after_ms: u64) {
        let data = object(|o| o.uint("reconnect_after_ms", reconnect_after_ms).end());
        self.push(core, conn.slot, Frame::new(push_frame("draining", &data)), FrameClass::Push);
    }
}

/// A room's home counts a connection that is gone.
pub(super) fn tell_gone(core: &mut Core, conn: ConnId, room_id: RoomId) {
    let user_id = crate::id::UserId(0);
    core.send(room_id.home(core.shards), PeerMessage::ConnGone { conn, user_id, room_id });
}

fn write_verdict(out: &mut Vec<u8>, verdict: &ResumeVerdict) {
    let mut o = Object::new(out)
        .uint("room_id", verdict.room_id.0)
        .uint("epoch", verdict.epoch)
        .flag("recovered", verdict.recovered)
        .uint("seq", verdict.head.0)
        .uint("replayed", verdict.head.0 - verdict.from.0);
    if let Some(reason) = verdict.reason {
        o = o.text("reason", reason);
    }
    o.end();
}

/// For commands that the draining server does not take.
pub(super) fn draining_error() -> Box<crate::wire::CommandError> {
    error(ErrorCode::Draining, "the server is going down")
}
