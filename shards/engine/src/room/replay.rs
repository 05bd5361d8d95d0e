//! Joining the stream of a room: at its head, or where the client left it, page by page.

use super::Room;
use crate::core::{Core, LoadFor, body};
use crate::fanout::FrameBytes;
use crate::id::{ConnId, Seq};
use crate::peer::{Caller, Origin, PeerMessage, ResumeVerdict, SubChange};
use crate::room::recent::Recent;
use crate::store::{Load, LoadError, Loaded, RoomKind};
use crate::wire::encode::room_object;
use crate::wire::json::object;
use crate::wire::{CloseCode, ResumePoint};

/// Bytes in one replay page from memory (the store bounds its own pages alike).
const PAGE_BYTES: usize = 256 << 10;

/// Where a subscription begins.
struct Begin {
    from: Seq,
    recovered: bool,
    reason: Option<&'static str>,
}

impl Room {
    fn begin_at(&self, core: &Core, at: &ResumePoint) -> Begin {
        let refused = |reason| Begin { from: self.head, recovered: false, reason };
        let Some(last) = at.last_seq else { return refused(None) };
        let limit = core.limits.resume_events;
        if at.epoch.is_some_and(|epoch| epoch != self.meta.epoch) {
            refused(Some("epoch"))
        } else if last > self.head {
            refused(Some("ahead"))
        } else if limit > 0 && self.head.0 - last.0 > limit {
            refused(Some("too_far"))
        } else if last < self.floor {
            refused(Some("too_old"))
        } else {
            Begin { from: last, recovered: true, reason: None }
        }
    }

    /// The reply to `join_room` and `subscribe`.
    pub(super) fn answer_joined(
        &mut self,
        core: &mut Core,
        origin: Origin,
        caller: &Caller,
        at: &ResumePoint,
        kind: &'static str,
    ) {
        let mut begin = Begin { from: self.head, recovered: false, reason: None };
        if let Some(conn) = origin.asker.conn() {
            begin = self.begin_at(core, at);
            self.subscribe(conn, caller);
        }
        let (last_read, unread) = self.read_state(caller.user_id);
        let role: &str = self.member(caller.user_id).map_or("member", |member| &member.role);
        let data = object(|mut o| {
            room_object(o.key("room"), &self.meta, self.member_count, self.head);
            let mut o = o
                .uint("room_id", self.id().0)
                .text("role", role)
                .uint("seq", self.head.0)
                .flag("recovered", begin.recovered)
                .uint("replayed", self.head.0 - begin.from.0)
                .uint("online_count", self.online.visible() as u64)
                .uint("last_read_seq", last_read.0)
                .uint("unread_count", unread);
            if let Some(reason) = begin.reason {
                o = o.text("reason", reason);
            }
            o.end();
        });
        let change =
            origin.asker.conn().map(|_| SubChange::Subscribe { room_id: self.id(), from: begin.from, head: self.head });
        core.reply(origin, Ok(body(kind, data)), change);
    }

    /// One room of a `resume`.
    pub(super) fn resume(
        &mut self,
        core: &mut Core,
        conn: ConnId,
        caller: &Caller,
        ticket: u64,
        part: u32,
        at: &ResumePoint,
    ) {
        let room_id = self.id();
        let verdict = if self.is_member(caller.user_id) && !self.deleted {
            let begin = self.begin_at(core, at);
            let subscribed = self.meta.kind == RoomKind::Room;
            if subscribed {
                self.subscribe(conn, caller);
            }
            ResumeVerdict {
                room_id,
                epoch: self.meta.epoch,
                head: self.head,
                from: begin.from,
                recovered: begin.recovered,
                reason: begin.reason,
                subscribed,
            }
        } else {
            let reason = Some("not_found");
            let head = Seq(0);
            ResumeVerdict { room_id, epoch: 0, head, from: head, recovered: false, reason, subscribed: false }
        };
        core.send(conn.shard, PeerMessage::Resumed { conn, ticket, part, verdict });
    }

    /// The next page of a replay.
    pub(super) fn replay_page(&mut self, core: &mut Core, conn: ConnId, after: Seq) {
        let page = self.ring.after(after).map(|events| {
            let mut bytes = 0;
            let mut frames: Vec<(Seq, FrameBytes)> = Vec::new();
            for (seq, recent) in events.take(core.limits.replay_page_events as usize) {
                if bytes > 0 && bytes + recent.frame.len() > PAGE_BYTES {
                    break;
                }
                bytes += recent.frame.len();
                frames.push((seq, recent.frame.clone()));
            }
            frames
        });
        match page {
            Some(frames) => self.send_page(core, conn, frames, false),
            None => {
                let load = Load::Events { room_id: self.id(), after, limit: core.limits.replay_page_events };
                core.load_always(load, LoadFor::Replay { room_id: self.id(), conn, after });
            }
        }
    }

    /// A page was read from the store.
    pub fn replay_loaded(&mut self, core: &mut Core, conn: ConnId, after: Seq, result: Result<Loaded, LoadError>) {
        let Ok(Loaded::Events(mut events)) = result else {
            return core.send(conn.shard, PeerMessage::Close { conn, code: CloseCode::ServerError });
        };
        self.scrub(&mut events);
        let mut expected = after.next();
        let mut frames = Vec::with_capacity(events.len());
        for record in events.iter().take_while(|record| record.row.seq <= self.head) {
            if record.row.seq != expected {
                break;
            }
            frames.push((expected, Recent::new(record).frame));
            expected = expected.next();
        }
        let lost = frames.is_empty() && after < self.head;
        self.send_page(core, conn, frames, lost);
    }

    fn send_page(&mut self, core: &mut Core, conn: ConnId, frames: Vec<(Seq, FrameBytes)>, lost: bool) {
        let message = PeerMessage::Replay { conn, room_id: self.id(), frames, head: self.head, lost };
        core.send(conn.shard, message);
    }
}
