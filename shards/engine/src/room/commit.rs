//! Changes that are committed: applied, answered, pushed. The reply first, then the push.

use std::sync::Arc;

use super::mentions::Notice;
use super::pins::Pins;
use super::recent::Recent;
use super::{CHECKPOINT_EVENTS, Done, Op, OpKind, Room, SendOp};
use crate::core::{Core, Outcome, body};
use crate::id::{Seq, ShardId, UserId};
use crate::peer::{Caller, Origin, PeerMessage, SubChange};
use crate::room::reads::read_marked;
use crate::store::{EventKind, EventRecord, EventRow, MemberRow, PARTICIPANTS_MAX, RoomKind};
use crate::time::WallMs;
use crate::wire::ResumePoint;
use crate::wire::encode::{message_sent, preview, push_frame, room_seq};
use crate::wire::json::object;

impl Room {
    /// The first `count` operations are committed.
    pub fn commit(&mut self, core: &mut Core, count: usize) {
        assert!(count <= self.submitted, "more committed than was sent");
        for _ in 0..count {
            let op = self.pending.pop_front().expect("counted above");
            self.popped += 1;
            self.submitted -= 1;
            core.journal.done(op.user_id, op.bytes);
            self.apply(core, op);
        }
        if self.since_checkpoint >= CHECKPOINT_EVENTS {
            self.push_checkpoint(core);
        }
        if self.pins == Pins::Unknown {
            self.count_pins(core);
        }
        self.retry_waiting(core);
    }

    fn apply(&mut self, core: &mut Core, op: Op) {
        let Op { kind, user_id, origin, repeats, admitted, seq, message_no, .. } = op;
        core.stats.ack_us.record(core.now.mono.since(admitted));
        match kind {
            OpKind::Send(send) => self.apply_send(core, *send, user_id, origin, repeats, seq, message_no),
            OpKind::Change(change) => self.apply_change(core, *change, origin, seq),
            OpKind::Void { at, error } => {
                for origin in origin.into_iter().chain(repeats) {
                    self.settle(core, user_id, origin, Err(error.clone()), None);
                }
                self.deliver(core, &void_record(self.id(), seq, at, message_no));
            }
            OpKind::Join { caller, at, point, .. } => {
                self.apply_join(core, origin, &caller, at, &point, seq, message_no)
            }
            OpKind::Leave { caller } => self.apply_leave(core, origin, &caller),
            OpKind::MarkRead { caller, seq, message_no } => self.apply_read(core, origin, &caller, seq, message_no),
            OpKind::Settled(outcome) => {
                for origin in origin.into_iter().chain(repeats) {
                    self.settle(core, user_id, origin, outcome.clone(), None);
                }
            }
            OpKind::Checkpoint => {}
        }
    }

    /// Sends an outcome of a change; the asker has one change less under way.
    pub(super) fn settle(
        &mut self,
        core: &mut Core,
        user_id: UserId,
        origin: Origin,
        result: Outcome,
        change: Option<SubChange>,
    ) {
        self.busy_mut(origin.asker).changes -= 1;
        self.forget_idle(origin.asker);
        self.answer(core, user_id, origin, result, change);
    }

    #[allow(clippy::too_many_arguments)]
    fn apply_send(
        &mut self,
        core: &mut Core,
        send: SendOp,
        user_id: UserId,
        origin: Option<Origin>,
        repeats: Vec<Origin>,
        seq: Seq,
        message_no: u64,
    ) {
        let SendOp { username, at, parent_id, mentioned, message } = send;
        self.message_no = message_no;
        if let Some(member) = self.member_mut(user_id) {
            member.last_read_seq = seq;
            member.last_read_no = message_no;
        }
        if let Some(client) = &message.client {
            self.clients_pending.remove(&(user_id, client.id.clone()));
            let key = (user_id, client.id.clone());
            self.remember_client(key, seq, at, client.hash, core.limits.ring_events);
        }
        if let Some(origin) = origin {
            let reply = body("message_sent", message_sent(self.id(), seq, at, false));
            self.settle(core, user_id, origin, Ok(reply), None);
        }
        for origin in repeats {
            let reply = body("message_sent", message_sent(self.id(), seq, at, true));
            self.settle(core, user_id, origin, Ok(reply), None);
        }
        let row = EventRow {
            room_id: self.id(),
            seq,
            kind: EventKind::Message,
            at,
            message_no,
            author_id: Some(user_id),
            client: None,
            content: Some(message.content),
            parent_id,
            data: message.metadata,
            mentions: mentioned.users.clone(),
            reason: None,
        };
        let record = EventRecord { row, username: Some(username), state: None };
        self.deliver(core, &record);
        let answered = parent_id.map(|root| self.answered(root, user_id)).unwrap_or_default();
        let content = record.row.content.as_deref().unwrap_or("");
        let notice = Notice { author_id: user_id, message_id: seq, content };
        self.notify(core, &notice, &mentioned, &answered);
    }

    /// A thread has one answer more; those to be told of it.
    fn answered(&mut self, root: Seq, author: UserId) -> Vec<UserId> {
        let mut answered = Vec::new();
        self.change_message(root, |message| {
            let root_author = message.author_id;
            let state = message.state_mut();
            state.thread_count += 1;
            answered = state.participants.clone();
            if !state.participants.contains(&author) && state.participants.len() < PARTICIPANTS_MAX {
                state.participants.push(author);
            }
            answered.extend(root_author.filter(|user| !answered.contains(user)));
            message.encode(None);
        });
        self.release_message(root);
        answered
    }

    #[allow(clippy::too_many_arguments)]
    fn apply_join(
        &mut self,
        core: &mut Core,
        origin: Option<Origin>,
        caller: &Caller,
        at: WallMs,
        point: &ResumePoint,
        seq: Seq,
        message_no: u64,
    ) {
        self.pending_joins -= 1;
        self.unlock(caller.user_id);
        self.member_count += 1;
        let member = MemberRow {
            user_id: caller.user_id,
            role: "member".into(),
            joined_at: at,
            last_read_seq: seq,
            last_read_no: message_no,
        };
        self.set_member(caller.user_id, &caller.username, Some(member));
        self.forget_name(&caller.username);
        if let Some(origin) = origin {
            self.busy_mut(origin.asker).changes -= 1;
            self.forget_idle(origin.asker);
            self.answer_joined(core, origin, caller, point, "room_joined");
        }
        self.push_membership(core, "member_joined", caller);
    }

    fn apply_leave(&mut self, core: &mut Core, origin: Option<Origin>, caller: &Caller) {
        self.unlock(caller.user_id);
        self.member_count = self.member_count.saturating_sub(1);
        self.set_member(caller.user_id, &caller.username, None);
        self.forget_name(&caller.username);
        self.expel(core, caller.user_id);
        if let Some(origin) = origin {
            let reply = body("room_left", room_seq(self.id(), self.head));
            let change = SubChange::Unsubscribe { room_id: self.id() };
            self.settle(core, caller.user_id, origin, Ok(reply), Some(change));
        }
        self.push_membership(core, "member_left", caller);
    }

    fn apply_read(&mut self, core: &mut Core, origin: Option<Origin>, caller: &Caller, seq: Seq, message_no: u64) {
        let known = self.members.contains_key(&caller.user_id);
        let member = match self.member_mut(caller.user_id) {
            Some(member) => member,
            None => {
                // A member whom memory has let go meanwhile is no stranger: it is committed.
                let is_stranger = known;
                let unread = self.message_no.saturating_sub(message_no);
                let result = if is_stranger {
                    Err(self.stranger_error(caller))
                } else {
                    Ok(read_marked(self.id(), seq, unread))
                };
                if let Some(origin) = origin {
                    self.settle(core, caller.user_id, origin, result, None);
                }
                return;
            }
        };
        let advanced = seq > member.last_read_seq;
        if advanced {
            member.last_read_seq = seq;
            member.last_read_no = message_no;
        }
        let reply = self.read_body(caller.user_id);
        if let Some(origin) = origin {
            self.settle(core, caller.user_id, origin, Ok(reply), None);
        }
        if advanced {
            self.push_read(core, caller, seq);
        }
    }

    /// Who reads is there: those whom the reader blocks do not learn it.
    fn push_read(&mut self, core: &mut Core, caller: &Caller, seq: Seq) {
        let user_id = caller.user_id;
        let data = object(|o| o.uint("room_id", self.id().0).uint("user_id", user_id.0).uint("seq", seq.0).end());
        let frame = push_frame("read", &data);
        let except = self.hidden_from(caller);
        match self.meta.kind {
            RoomKind::Dm => {
                for user_id in self.participants.iter().map(|row| row.user_id) {
                    if except.binary_search(&user_id).is_err() {
                        let message = PeerMessage::UserEphemeral { user_id, frame: frame.clone() };
                        core.send_ephemeral(user_id.home(core.shards), message);
                    }
                }
            }
            RoomKind::Room if self.online.len() <= core.limits.presence_single_max => {
                self.push_ephemeral_except(core, &frame, &except);
            }
            RoomKind::Room => {}
        }
    }

    /// Encodes a committed event, keeps it in the ring, and pushes it to every receiver.
    pub(super) fn deliver(&mut self, core: &mut Core, record: &EventRecord) {
        let frame = self.remember(record);
        core.stats.events += 1;
        self.since_checkpoint += 1;
        // What waits here leaves with the next batch: its event follows in about the time of a commit.
        let more = self.pending.back().is_some_and(|op| matches!(op.kind, OpKind::Send(_) | OpKind::Change(_)));
        match self.meta.kind {
            RoomKind::Room => {
                for (shard, count) in self.shard_subs.iter().enumerate() {
                    if *count > 0 {
                        let event = PeerMessage::Event {
                            room_id: record.row.room_id,
                            seq: record.row.seq,
                            frame: frame.clone(),
                            more,
                        };
                        core.send(ShardId(shard as u16), event);
                    }
                }
            }
            RoomKind::Dm => {
                let notify = (record.row.kind == EventKind::Message).then(|| dm_notification(record)).flatten();
                for user in &self.participants {
                    let notify = notify.clone().filter(|_| Some(user.user_id) != record.row.author_id);
                    let message = PeerMessage::UserPush { user_id: user.user_id, frame: frame.clone(), notify };
                    core.send(user.user_id.home(core.shards), message);
                }
            }
        }
    }

    /// Keeps an event in memory as the head.
    pub(super) fn remember(&mut self, record: &EventRecord) -> crate::fanout::FrameBytes {
        let recent = Recent::new(record);
        let frame = recent.frame.clone();
        self.head = self.head.max(record.row.seq);
        // What is looked up now must be known when the answer comes: that may be older than what has happened since.
        let (holds, loading, older) = (&self.holds, &self.older_loading, &mut self.older);
        self.ring.push(record.row.seq, recent, |seq, gone| {
            let needed = holds.contains_key(&seq) || loading.iter().any(|(loaded, _)| *loaded == seq);
            if needed && gone.is_message() {
                older.insert(seq, Some(gone));
            }
        });
        if let (Some(author), Some(client)) = (record.row.author_id, &record.row.client) {
            let key = (author, client.id.clone());
            self.remember_client(key, record.row.seq, record.row.at, client.hash, CLIENTS_MAX);
        }
        frame
    }

    pub(super) fn remember_client(&mut self, key: (UserId, Arc<str>), seq: Seq, at: WallMs, hash: u64, most: usize) {
        if self.clients_done.insert(key.clone(), Done { seq, at, hash }).is_none() {
            self.clients_order.push_back(key);
        }
        while self.clients_order.len() > most {
            if let Some(oldest) = self.clients_order.pop_front() {
                self.clients_done.remove(&oldest);
            }
        }
    }
}

/// Client ids kept when a room is loaded.
const CLIENTS_MAX: usize = 256;

fn void_record(room_id: crate::id::RoomId, seq: Seq, at: WallMs, message_no: u64) -> EventRecord {
    let row = EventRow::new(room_id, seq, EventKind::Void, at, message_no);
    EventRecord { row, username: None, state: None }
}

fn dm_notification(record: &EventRecord) -> Option<crate::fanout::FrameBytes> {
    let row = &record.row;
    let author = row.author_id?;
    let data = object(|o| {
        o.text("kind", "dm")
            .uint("room_id", row.room_id.0)
            .uint("message_id", row.seq.0)
            .uint("from_user_id", author.0)
            .text("preview", preview(row.content.as_deref().unwrap_or("")))
            .end();
    });
    Some(push_frame("notification", &data))
}
