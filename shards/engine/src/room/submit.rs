//! Judging work: what is answered at once, what becomes a change, what must wait.

use super::mentions::Mentioned;
use super::recent::Recent;
use super::rights::no_room;
use super::table::refuse;
use super::verb::{Found, no_message};
use super::{Busy, Op, OpKind, Room, SendOp, Waiting, Work};
use crate::core::{Core, Outcome, RoomQuery, body, error, overloaded};
use crate::id::{Seq, UserId};
use crate::peer::{Asker, Caller, Origin, SubChange};
use crate::store::{Load, RoomKind};
use crate::time::{Mono, WallMs};
use crate::wire::encode::message_sent;
use crate::wire::{Command, CommandError, ErrorCode, Permission, SendMessage};

/// `Some`: must wait.
pub(super) type Verdict = Option<Work>;

impl Room {
    /// Takes in work.
    pub(super) fn submit(&mut self, core: &mut Core, work: Work) {
        let since = core.now.mono;
        self.submit_since(core, work, since);
    }

    fn submit_since(&mut self, core: &mut Core, work: Work, since: Mono) {
        if let Work::Page { conn, after } = work {
            return self.replay_page(core, conn, after);
        }
        let work = if self.must_wait(&work) { Some(work) } else { self.judge(core, work) };
        if let Some(work) = work {
            self.wait(core, work, since);
        }
    }

    fn must_wait(&self, work: &Work) -> bool {
        let busy = self.busy.get(&work.asker()).copied().unwrap_or_default();
        let user_changes = work.caller_id().is_some_and(|user| self.locked.contains_key(&user));
        self.barriers > 0
            || user_changes
            || busy.waiting > 0
            || busy.queries > 0
            || (busy.changes > 0 && !work.is_pipelined())
    }

    pub(super) fn wait(&mut self, core: &mut Core, work: Work, since: Mono) {
        if self.waiting.len() >= core.limits.room_waiting_max {
            return self.refuse(core, work, overloaded());
        }
        self.busy.entry(work.asker()).or_default().waiting += 1;
        self.waiting.push_back(Waiting { work, since });
    }

    /// Something has changed: judges again what waits, in order.
    pub(super) fn retry_waiting(&mut self, core: &mut Core) {
        if self.waiting.is_empty() {
            return;
        }
        let waiting = std::mem::take(&mut self.waiting);
        for entry in &waiting {
            let asker = entry.work.asker();
            if let Some(busy) = self.busy.get_mut(&asker) {
                busy.waiting = 0;
            }
            self.forget_idle(asker);
        }
        for Waiting { work, since } in waiting {
            self.submit_since(core, work, since);
        }
    }

    pub(super) fn busy_mut(&mut self, asker: Asker) -> &mut Busy {
        self.busy.entry(asker).or_default()
    }

    pub(super) fn forget_idle(&mut self, asker: Asker) {
        if self.busy.get(&asker).is_some_and(|b| b.changes == 0 && b.queries == 0 && b.waiting == 0) {
            self.busy.remove(&asker);
        }
    }

    /// Answers work with an error, on the way that the room's other answers take.
    pub(super) fn refuse(&self, core: &mut Core, work: Work, error: Box<CommandError>) {
        match work {
            Work::Command { origin, caller, .. } => self.answer(core, caller.user_id, origin, Err(error), None),
            other => refuse(core, self.id(), other, error),
        }
    }

    /// Sends an outcome; in conversations by way of the user's home.
    pub(super) fn answer(
        &self,
        core: &mut Core,
        user_id: UserId,
        origin: Origin,
        result: Outcome,
        change: Option<SubChange>,
    ) {
        match self.meta.kind {
            RoomKind::Room => core.reply(origin, result, change),
            RoomKind::Dm => core.reply_via_user(user_id, origin, result),
        }
    }

    fn judge(&mut self, core: &mut Core, work: Work) -> Verdict {
        if let Work::Refused { origin, caller, error } = work {
            self.answer(core, caller.user_id, origin, Err(error), None);
            return None;
        }
        let caller_id = work.caller_id().expect("pages are served before");
        if self.deleted && !matches!(work, Work::Created { .. }) {
            // Whoever was a member is still known as one: nothing of the room is his any more.
            self.refuse(core, work, no_room());
            return None;
        }
        if !self.members.contains_key(&caller_id) {
            self.want_members([caller_id]);
            self.load_members(core);
            return Some(work);
        }
        match work {
            Work::Command { origin, caller, command } => self.judge_command(core, origin, caller, *command),
            Work::Resume { conn, caller, ticket, part, at } => {
                self.resume(core, conn, &caller, ticket, part, &at);
                None
            }
            Work::Created { origin, caller, duplicate } => {
                self.answer_created(core, origin, &caller, duplicate);
                None
            }
            Work::Refused { .. } | Work::Page { .. } => unreachable!("served before"),
        }
    }

    fn judge_command(&mut self, core: &mut Core, origin: Origin, caller: Caller, command: Command) -> Verdict {
        let result = match command {
            Command::SendMessage(send) => return self.judge_send(core, origin, caller, send),
            Command::GetRoom { .. } if self.may_see(&caller) => Ok(self.room_body()),
            Command::GetRoom { .. } => Err(self.stranger_error(&caller)),
            Command::JoinRoom { at } => return self.judge_join(core, origin, caller, at),
            Command::LeaveRoom { .. } => return self.judge_leave(core, origin, caller),
            Command::Subscribe { at } => return self.judge_subscribe(core, origin, &caller, &at),
            Command::Unsubscribe { .. } => return self.judge_unsubscribe(core, origin, &caller),
            Command::MarkRead { seq, .. } => match self.require_member(&caller) {
                Ok(()) => return self.judge_mark_read(core, origin, caller, seq),
                Err(error) => Err(error),
            },
            Command::Typing { is_typing, .. } => match self.require_writer(&caller, Permission::Send, core.now.wall) {
                Ok(()) => {
                    self.judge_typing(core, origin, &caller, is_typing);
                    return None;
                }
                Err(error) => Err(error),
            },
            other => return self.judge_verb(core, origin, caller, Box::new(other)),
        };
        self.answer(core, caller.user_id, origin, result, None);
        None
    }

    fn judge_send(&mut self, core: &mut Core, origin: Origin, caller: Caller, send: Box<SendMessage>) -> Verdict {
        let again = |origin, caller, send| {
            Some(Work::Command { origin, caller, command: Box::new(Command::SendMessage(send)) })
        };
        let refused = match self.known_client(&caller, &send) {
            // Behind other changes of this connection it would be answered before them: it waits for its turn.
            Known::UnderWay(_) if self.busy.get(&origin.asker).is_some_and(|busy| busy.changes > 0) => {
                return again(origin, caller, send);
            }
            Known::UnderWay(index) => {
                self.busy_mut(origin.asker).changes += 1;
                self.pending[index].repeats.push(origin);
                return None;
            }
            Known::Done(outcome) => outcome,
            Known::New => match self.check_send(core, &caller, &send) {
                Err(None) => return again(origin, caller, send),
                Err(Some(error)) => Err(error),
                Ok((parent_id, mentioned)) => {
                    self.push_send(core, origin, &caller, *send, parent_id, mentioned);
                    return None;
                }
            },
        };
        if self.busy.get(&origin.asker).is_some_and(|busy| busy.changes > 0) {
            return again(origin, caller, send); // its turn comes after the changes before it
        }
        match (refused, &send.client) {
            // It may have been done when it was allowed, longer ago than memory reaches.
            (Err(error), Some(client)) if self.ring.first() > Seq(1) && may_be_known(&error) => {
                let (user_id, client_id) = (caller.user_id, client.id.clone());
                let load = Load::ClientEvent { room_id: self.id(), user_id, client_id };
                self.start_query(core, origin, caller, load, RoomQuery::Repeated { hash: client.hash, error });
            }
            (refused, _) => self.answer(core, caller.user_id, origin, refused, None),
        }
        None
    }

    fn known_client(&self, caller: &Caller, send: &SendMessage) -> Known {
        let Some(client) = &send.client else { return Known::New };
        let key = (caller.user_id, client.id.clone());
        if let Some(number) = self.clients_pending.get(&key) {
            let index = (number - self.popped) as usize;
            let OpKind::Send(first) = &self.pending[index].kind else { return Known::New };
            let same = first.message.client.as_ref().is_some_and(|c| c.hash == client.hash);
            return if same { Known::UnderWay(index) } else { Known::Done(Err(idempotency_conflict())) };
        }
        match self.clients_done.get(&key) {
            None => Known::New,
            Some(done) if done.hash != client.hash => Known::Done(Err(idempotency_conflict())),
            Some(done) => Known::Done(Ok(body("message_sent", message_sent(self.id(), done.seq, done.at, true)))),
        }
    }

    /// `Err(None)`: must wait for data; else what the message hangs on and whom it mentions.
    #[allow(clippy::type_complexity)]
    fn check_send(
        &mut self,
        core: &mut Core,
        caller: &Caller,
        send: &SendMessage,
    ) -> Result<(Option<Seq>, Mentioned), Option<Box<CommandError>>> {
        if send.dm_only && self.meta.kind != RoomKind::Dm {
            // In the same words as for a room that is not there.
            return Err(Some(no_room()));
        }
        self.require_writer(caller, Permission::Send, core.now.wall).map_err(Some)?;
        self.require_unblocked(caller).map_err(Some)?;
        if send.content_chars > core.limits.max_message_length {
            return Err(Some(too_long()));
        }
        let parent_id = match send.parent_id {
            Some(parent) => Some(self.thread_root(core, caller.user_id, parent)?),
            None => None,
        };
        let mentioned = self.mentioned(core, caller, &send.content)?;
        core.admit(caller.user_id).map_err(Some)?;
        self.keep_pace(caller, core.now.wall).map_err(Some)?;
        Ok((parent_id, mentioned))
    }

    /// Slow mode: one message of a member in so many seconds.
    fn keep_pace(&mut self, caller: &Caller, now: WallMs) -> Result<(), Box<CommandError>> {
        let slow_ms = i64::from(self.meta.slow_mode_s) * 1000;
        if slow_ms == 0 || self.has(caller, Permission::BypassSlowMode) {
            return Ok(());
        }
        let last = self.last_sent.get(&caller.user_id).copied().or_else(|| self.ring.last_of(caller.user_id));
        let left_ms = last.map_or(0, |last| last.0 + slow_ms - now.0);
        if left_ms > 0 {
            return Err(crate::user::rate_limited(left_ms.min(slow_ms) as u64));
        }
        if self.last_sent.len() >= SLOW_KEPT_MAX {
            self.last_sent.retain(|_, sent| sent.0 + slow_ms > now.0);
        }
        self.last_sent.insert(caller.user_id, now);
        Ok(())
    }

    /// The message that a thread hangs on, with its participants known; `Err(None)`: must be looked up.
    fn thread_root(&mut self, core: &mut Core, reader: UserId, parent: Seq) -> Result<Seq, Option<Box<CommandError>>> {
        let message = self.needed(core, reader, parent)?;
        if message.is_deleted() {
            return Err(Some(no_message()));
        }
        let root = message.parent_id.unwrap_or(parent);
        let message = self.needed(core, reader, root)?;
        let state = message.state.as_deref();
        if state.is_some_and(|state| state.thread_count > 0 && state.participants.is_empty()) {
            if self.reacting.contains_key(&(root, reader)) {
                return Err(None);
            }
            self.look_up(core, reader, root).map_err(Some)?;
            return Err(None);
        }
        Ok(root)
    }

    /// A message in memory; `Err(None)`: it is being looked up.
    fn needed(&mut self, core: &mut Core, reader: UserId, seq: Seq) -> Result<&Recent, Option<Box<CommandError>>> {
        match self.find_message(core, reader, seq).map_err(Some)? {
            Found::Here => Ok(self.recent(seq).expect("it was found")),
            Found::Nowhere => Err(Some(no_message())),
            Found::Soon => Err(None),
        }
    }

    fn push_send(
        &mut self,
        core: &mut Core,
        origin: Origin,
        caller: &Caller,
        message: SendMessage,
        parent_id: Option<Seq>,
        mentioned: Mentioned,
    ) {
        if let Some(root) = parent_id {
            self.hold_message(root);
        }
        let bytes = 256 + message.content.len() + message.metadata.as_ref().map_or(0, |m| m.len());
        if let Some(client) = &message.client {
            let number = self.popped + self.pending.len() as u64;
            self.clients_pending.insert((caller.user_id, client.id.clone()), number);
        }
        let send = SendOp { username: caller.username.clone(), at: core.now.wall, parent_id, mentioned, message };
        self.push_op(core, OpKind::Send(Box::new(send)), caller.user_id, Some(origin), bytes);
    }

    /// Enters a change at the end.
    pub(super) fn push_op(
        &mut self,
        core: &mut Core,
        kind: OpKind,
        user_id: UserId,
        origin: Option<Origin>,
        bytes: usize,
    ) {
        if let Some(origin) = &origin {
            self.busy_mut(origin.asker).changes += 1;
        }
        core.journal.push(crate::journal::Key::Room(self.id()), user_id, bytes);
        self.pending.push_back(Op {
            kind,
            user_id,
            origin,
            repeats: Vec::new(),
            admitted: core.now.mono,
            bytes,
            seq: Seq(0),
            message_no: 0,
        });
    }
}

enum Known {
    New,
    /// Index into `pending`.
    UnderWay(usize),
    Done(Outcome),
}

/// Whether the refused sending may have been done before: not where that was looked up, or cannot be now.
fn may_be_known(refusal: &CommandError) -> bool {
    !matches!(refusal.code, ErrorCode::Overloaded | ErrorCode::IdempotencyConflict)
}

/// Members whose last message is remembered in rooms with slow mode.
const SLOW_KEPT_MAX: usize = 16_384;

/// `MESSAGE_TOO_LONG`.
pub(super) fn too_long() -> Box<CommandError> {
    let mut error = error(ErrorCode::MessageTooLong, "the message is too long");
    error.field = Some("content");
    error
}

pub(super) fn idempotency_conflict() -> Box<CommandError> {
    let mut error = error(ErrorCode::IdempotencyConflict, "this client_id was used with other data");
    error.field = Some("client_id");
    error
}
