//! Changes on their way to the store: rows for a batch, and what happens when the store does not take them.

use super::pins::Pins;
use super::recent::Recent;
use super::submit::idempotency_conflict;
use super::{OpKind, Ring, Room, SendOp, Tip};
use crate::core::{Core, body, store_unavailable};
use crate::id::{ConnId, RoomId, Seq, UserId};
use crate::journal::Key;
use crate::journal_batch::Building;
use crate::map::Map;
use crate::peer::PeerMessage;
use crate::store::{Duplicate, EventKind, EventRecord, EventRow, LoadError, MemberRow, RoomState, Write};
use crate::time::Mono;
use crate::wire::CloseCode;
use crate::wire::encode::message_sent;

impl Room {
    /// Adds the rows of the next operation that is not in flight; takes its position.
    pub(super) fn write_next(&mut self, batch: &mut Building) {
        if self.submitted == 0 {
            let (head, message_no, member_count) = (self.head, self.message_no, self.member_count);
            self.tip = Tip { head, message_no, member_count, ..Tip::default() };
        }
        let room_id = self.meta.room_id;
        let index = self.submitted;
        let op = self.pending.get_mut(index).expect("a turn in the journal for each operation");
        self.submitted += 1;
        let tip = &mut self.tip;
        match &op.kind {
            OpKind::Send(_) => {
                tip.head = tip.head.next();
                tip.message_no += 1;
            }
            OpKind::Void { .. } => tip.head = tip.head.next(),
            OpKind::Change(change) if change.what.is_event() => tip.head = tip.head.next(),
            OpKind::Join { .. } => tip.member_count += 1,
            OpKind::Leave { .. } => tip.member_count = tip.member_count.saturating_sub(1),
            OpKind::Change(_) | OpKind::MarkRead { .. } | OpKind::Checkpoint | OpKind::Settled(_) => {}
        }
        op.seq = tip.head;
        op.message_no = tip.message_no;
        if let OpKind::Change(_) = op.kind {
            let (seq, message_no) = (op.seq, op.message_no);
            let OpKind::Change(mut change) = std::mem::replace(&mut op.kind, OpKind::Checkpoint) else {
                unreachable!()
            };
            self.write_change(&mut change, seq, message_no, batch);
            self.pending[index].kind = OpKind::Change(change);
            return;
        }
        let op = &self.pending[index];
        match &op.kind {
            OpKind::Change(_) => unreachable!("written above"),
            OpKind::Send(send) => {
                batch.event(EventRow {
                    room_id,
                    seq: op.seq,
                    kind: EventKind::Message,
                    at: send.at,
                    message_no: op.message_no,
                    author_id: Some(op.user_id),
                    client: send.message.client.clone(),
                    content: Some(send.message.content.clone()),
                    parent_id: send.parent_id,
                    data: send.message.metadata.clone(),
                    mentions: send.mentioned.users.clone(),
                    reason: None,
                });
                if send.parent_id.is_some() || send.mentioned.everyone || !send.mentioned.users.is_empty() {
                    write_send(&mut self.tip, &self.ring, &self.older, room_id, op.seq, send, batch);
                }
            }
            OpKind::Void { at, .. } => {
                batch.event(EventRow::new(room_id, op.seq, EventKind::Void, *at, op.message_no));
            }
            OpKind::Join { at, invited, .. } => {
                if *invited {
                    batch.write(Write::DropInvite { room_id, user_id: op.user_id });
                }
                let member = MemberRow {
                    user_id: op.user_id,
                    role: "member".into(),
                    joined_at: *at,
                    last_read_seq: op.seq,
                    last_read_no: op.message_no,
                };
                batch.write(Write::PutMember { room_id, member });
                batch.write(Write::MemberCount { room_id, count: self.tip.member_count });
            }
            OpKind::Leave { .. } => {
                batch.write(Write::DropMember { room_id, user_id: op.user_id });
                batch.write(Write::MemberCount { room_id, count: self.tip.member_count });
            }
            OpKind::MarkRead { seq, message_no, .. } => {
                let (user_id, seq, message_no) = (op.user_id, *seq, *message_no);
                batch.write(Write::ReadPosition { room_id, user_id, seq, message_no });
            }
            OpKind::Checkpoint => batch.write(Write::ReadCheckpoint { room_id, seq: self.head }),
            OpKind::Settled(_) => {}
        }
    }

    /// Folds read positions into the members' rows when enough events have come.
    pub(super) fn push_checkpoint(&mut self, core: &mut Core) {
        self.since_checkpoint = 0;
        self.push_op(core, OpKind::Checkpoint, UserId(0), None, 64);
    }

    /// The batch came back uncommitted: nothing of this room is in flight any more.
    pub fn rewind(&mut self) {
        self.submitted = 0;
    }

    /// The `index`-th operation of the failed batch had been done before: answers it, and leaves an empty place.
    pub fn drop_duplicate(&mut self, core: &mut Core, index: usize, duplicate: &Duplicate) {
        let Some(op) = self.pending.get_mut(index) else { return };
        let OpKind::Send(send) = &op.kind else { return };
        let root = send.parent_id;
        let key = send.message.client.as_ref().map(|client| (op.user_id, client.id.clone()));
        let hash = send.message.client.as_ref().map(|client| client.hash);
        let user_id = op.user_id;
        let outcome = if duplicate.hash == hash {
            Ok(body("message_sent", message_sent(duplicate.room_id, duplicate.seq, duplicate.at, true)))
        } else {
            Err(idempotency_conflict())
        };
        op.kind = OpKind::Settled(outcome);
        if let Some(root) = root {
            self.release_message(root);
        }
        if let (Some(key), Some(stored)) = (key, duplicate.hash) {
            self.clients_pending.remove(&key);
            debug_assert_eq!(key.0, user_id);
            self.remember_client(key, duplicate.seq, duplicate.at, stored, core.limits.ring_events);
        }
    }

    /// The store refuses the `index`-th operation of the failed batch for what it contains. An event leaves a `void`.
    pub fn refuse_op(&mut self, core: &mut Core, index: usize, cause: &str) {
        let (is_event, at) = match self.pending.get(index).map(|op| &op.kind) {
            Some(OpKind::Send(send)) => (true, send.at),
            Some(OpKind::Change(change)) => (change.what.is_event(), change.at),
            Some(OpKind::Void { .. } | OpKind::Settled(_)) | None => return,
            Some(_) => (false, core.now.wall),
        };
        core.stats.voids += u64::from(is_event);
        let error = core.fault(&format!("the store refused a change of room {}: {cause}", self.id().0), is_event);
        self.forget_change(index);
        self.pending[index].kind = if is_event { OpKind::Void { at, error } } else { OpKind::Settled(Err(error)) };
    }

    /// Takes back what an operation under way has entered besides itself.
    fn forget_change(&mut self, index: usize) {
        let op = &mut self.pending[index];
        let user_id = op.user_id;
        match &op.kind {
            OpKind::Change(_) => {
                let kind = std::mem::replace(&mut op.kind, OpKind::Checkpoint);
                if let OpKind::Change(change) = kind {
                    self.end(&change);
                }
            }
            OpKind::Send(send) => {
                let root = send.parent_id;
                if let Some(client) = &send.message.client {
                    self.clients_pending.remove(&(user_id, client.id.clone()));
                }
                if let Some(root) = root {
                    self.release_message(root);
                }
            }
            OpKind::Join { .. } => {
                self.pending_joins -= 1;
                self.unlock(user_id);
            }
            OpKind::Leave { .. } => self.unlock(user_id),
            _ => {}
        }
    }

    pub(super) fn unlock(&mut self, user_id: UserId) {
        if let Some(count) = self.locked.get_mut(&user_id) {
            *count -= 1;
            if *count == 0 {
                self.locked.remove(&user_id);
            }
        }
    }

    /// Somebody else wrote into the room: nothing goes to the store until it was read again.
    pub fn hold(&mut self) {
        self.held.get_or_insert(0);
    }

    /// Whether it waits to be read again.
    pub fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// The room was read again after a conflict: delivers what the other writer left, and goes on.
    pub(super) fn reread(
        &mut self,
        core: &mut Core,
        asked: &[UserId],
        result: Result<Option<Box<RoomState>>, LoadError>,
    ) {
        self.rereading = false;
        // No answer: housekeeping asks again, so that a store that fails at once is not asked without end.
        let Ok(Some(state)) = result else { return };
        let state = *state;
        let has_hole = state.tail.first().is_none_or(|first| first.row.seq > self.head.next());
        if state.head > self.head && has_hole {
            self.drop_subscribers(core);
        }
        if state.head > self.head {
            self.take_over(core, &state.tail);
        }
        self.head = self.head.max(state.head);
        self.message_no = self.message_no.max(state.message_no);
        self.member_count = state.member_count;
        self.meta = state.meta;
        self.floor = self.floor.max(state.floor);
        self.roles = state.roles;
        self.pinned_count = state.pinned_count;
        self.pins = match self.pins {
            Pins::Counting { .. } => Pins::Counting { is_stale: true },
            Pins::Known | Pins::Unknown => Pins::Known,
        };
        // Only what was asked for is known anew. Nobody is forgotten: changes under way rest on who is a member.
        for user in asked {
            self.members.insert(*user, None);
        }
        for standing in state.standings {
            self.members.insert(standing.user_id, Some(Box::new(standing)));
        }
        let turns = self.held.take().unwrap_or(0);
        core.journal.requeue(Key::Room(self.id()), turns);
        self.retry_waiting(core);
    }

    /// Somebody else has written: all messages in memory are as they now are, and what is new is delivered.
    fn take_over(&mut self, core: &mut Core, tail: &[EventRecord]) {
        let known = self.head;
        let held: Vec<Seq> = self.holds.keys().copied().collect();
        for seq in held {
            // A change under way needs its message; what the other writer did to it comes with the tail or is missed
            // in memory only.
            if let Some(message) = self.ring.get(seq).cloned() {
                self.older.insert(seq, Some(message));
            }
        }
        let holds = &self.holds;
        self.older.retain(|seq, _| holds.contains_key(seq));
        self.own_reactions.clear();
        self.ring = super::Ring::new(Seq(tail.first().map_or(known.0, |first| first.row.seq.0 - 1)), &core.limits);
        for record in tail {
            if record.row.seq > known {
                self.message_no = record.row.message_no;
                self.deliver(core, record);
            } else {
                self.remember(record);
            }
        }
    }

    /// Asks for the room's present state, and for that of every membership that is known here.
    pub fn load_again(&mut self, core: &mut Core) {
        if std::mem::replace(&mut self.rereading, true) {
            return;
        }
        let mut asked: Vec<UserId> = self.members.keys().copied().collect();
        asked.sort_unstable();
        let load = crate::store::Load::Room { room_id: self.id(), tail: REREAD_TAIL, members: asked.clone() };
        core.load_always(load, crate::core::LoadFor::Room { room_id: self.id(), asked });
    }

    /// The replay would have a hole: whoever is subscribed must come back and resume.
    fn drop_subscribers(&mut self, core: &mut Core) {
        let mut conns: Vec<ConnId> = self.subs.keys().copied().collect();
        conns.sort_unstable();
        for conn in conns {
            self.unsubscribe(core, conn);
            core.send(conn.shard, PeerMessage::Close { conn, code: CloseCode::ServerError });
        }
    }

    /// Answers what has waited for the database since before this time.
    pub(super) fn time_out(&mut self, core: &mut Core, before: Mono) {
        for index in 0..self.pending.len() {
            let op = &mut self.pending[index];
            if op.admitted > before {
                break;
            }
            let user_id = op.user_id;
            let origins: Vec<_> = op.origin.take().into_iter().chain(op.repeats.drain(..)).collect();
            for origin in origins {
                self.settle(core, user_id, origin, Err(store_unavailable()), None);
            }
        }
        let late = self.waiting.iter().take_while(|entry| entry.since <= before).count();
        for entry in self.waiting.drain(..late).collect::<Vec<_>>() {
            let asker = entry.work.asker();
            self.busy_mut(asker).waiting -= 1;
            self.forget_idle(asker);
            self.refuse(core, entry.work, store_unavailable());
        }
        if self.is_held() {
            self.load_again(core);
        }
        self.retry_waiting(core);
    }
}

/// What a message changes besides its own row: the count of its thread, and inboxes of mentions.
fn write_send(
    tip: &mut Tip,
    ring: &Ring,
    older: &Map<Seq, Option<Recent>>,
    room_id: RoomId,
    seq: Seq,
    send: &SendOp,
    batch: &mut Building,
) {
    if let Some(root) = send.parent_id {
        let known = ring.get(root).or_else(|| older.get(&root)?.as_ref());
        let committed = known.and_then(|message| message.state.as_ref()).map_or(0, |state| state.thread_count);
        let count = tip.threads.entry(root).or_insert(committed);
        *count += 1;
        batch.write(Write::ThreadCount { room_id, message_id: root, count: *count });
    }
    let (users, everyone) = (send.mentioned.users.clone(), send.mentioned.everyone);
    if everyone || !users.is_empty() {
        batch.write(Write::Mentions { room_id, message_id: seq, at: send.at, users, everyone });
    }
}

/// Newest events read after a conflict: more than a batch of another writer can hold.
const REREAD_TAIL: u32 = 2048;
