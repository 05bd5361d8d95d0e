//! Reading: from memory where it holds the answer, else from the store. Nothing beyond the committed head is shown.

use super::{OpKind, Room, Work};
use crate::core::{Core, LoadFor, Outcome, RoomQuery, body, error, overloaded, store_unavailable};
use crate::id::{RoomId, Seq, UserId};
use crate::peer::{Caller, Origin, ReplyBody, StatusPage};
use crate::store::{EventRecord, Load, LoadError, Loaded, RoomKind};
use crate::wire::encode::message_object;
use crate::wire::json::object;
use crate::wire::{CommandError, ErrorCode, HistoryAnchor};

impl Room {
    fn start_query(&mut self, core: &mut Core, origin: Origin, caller: Caller, load: Load, what: RoomQuery) {
        self.busy_mut(origin.asker).queries += 1;
        let purpose = LoadFor::RoomQuery { room_id: self.id(), origin, caller, what };
        if let Err(LoadFor::RoomQuery { origin, caller, .. }) = core.load(load, purpose) {
            self.end_query(core, &caller, origin, Err(overloaded()));
        }
    }

    pub(super) fn end_query(&mut self, core: &mut Core, caller: &Caller, origin: Origin, result: Outcome) {
        self.busy_mut(origin.asker).queries -= 1;
        self.forget_idle(origin.asker);
        self.answer(core, caller.user_id, origin, result, None);
    }

    /// A query that memory could not answer is back; rights are judged as they are now.
    pub fn query_loaded(
        &mut self,
        core: &mut Core,
        origin: Origin,
        caller: Caller,
        what: RoomQuery,
        result: Result<Loaded, LoadError>,
    ) {
        if !self.is_member(caller.user_id) && self.members.contains_key(&caller.user_id) {
            let error = self.stranger_error();
            self.end_query(core, &caller, origin, Err(error));
            return self.retry_waiting(core);
        }
        match (what, result) {
            (_, Err(failure)) => self.end_query(core, &caller, origin, Err(load_error(failure))),
            (RoomQuery::History, Ok(Loaded::History { messages, more })) => {
                let reply = self.history_of_records(&messages, more);
                self.end_query(core, &caller, origin, Ok(reply));
            }
            (RoomQuery::HistoryAround { center, limit }, Ok(Loaded::History { messages, more })) => {
                let load = Load::HistoryAfter {
                    room_id: self.id(),
                    after: center,
                    limit: limit.max(1),
                    reader: caller.user_id,
                };
                let what = RoomQuery::HistoryAroundRest { before: messages, more_before: more, limit };
                self.busy_mut(origin.asker).queries -= 1;
                self.start_query(core, origin, caller, load, what);
                return;
            }
            (
                RoomQuery::HistoryAroundRest { mut before, more_before, limit },
                Ok(Loaded::History { messages, more }),
            ) => {
                let more_after = more || messages.len() > limit as usize;
                before.extend(messages.into_iter().take(limit as usize));
                let reply = self.history_of_records(&before, more_after || more_before);
                self.end_query(core, &caller, origin, Ok(reply));
            }
            (RoomQuery::Message, Ok(Loaded::Message(record))) => {
                let result = match record {
                    Some(record) if record.row.seq <= self.head => Ok(message_body(|out| message_object(out, &record))),
                    _ => Err(no_message()),
                };
                self.end_query(core, &caller, origin, result);
            }
            (RoomQuery::Members { online }, Ok(Loaded::MemberPage { members, next })) => {
                return self.member_page(
                    core,
                    origin,
                    caller,
                    StatusPage { members, statuses: Vec::new(), next, online },
                );
            }
            (RoomQuery::MarkRead { seq }, Ok(Loaded::Events(events))) => {
                self.mark_read_at(core, origin, caller, seq, &events);
            }
            (what, Ok(other)) => unreachable!("{what:?} was answered with {other:?}"),
        }
        self.retry_waiting(core);
    }

    /// A looked-up message is here: what waited for it goes on.
    pub fn parent_loaded(&mut self, core: &mut Core, message_id: Seq, result: Result<Loaded, LoadError>) {
        self.parents_loading.retain(|loading| *loading != message_id);
        if let Ok(Loaded::Message(record)) = result {
            if self.parents.len() >= super::PARENTS_MAX {
                self.parents.clear();
            }
            let root = record.map(|record| record.row.parent_id.unwrap_or(message_id));
            self.parents.insert(message_id, root);
            return self.retry_waiting(core);
        }
        // The database does not answer: the waiting sends are told so.
        let waiting = std::mem::take(&mut self.waiting);
        for entry in waiting {
            let needs_it = matches!(&entry.work, Work::Command { command, .. }
                if matches!(&**command, crate::wire::Command::SendMessage(send) if send.parent_id == Some(message_id)));
            if needs_it {
                let asker = entry.work.asker();
                self.busy_mut(asker).waiting -= 1;
                self.forget_idle(asker);
                self.refuse(core, entry.work, store_unavailable());
            } else {
                self.waiting.push_back(entry);
            }
        }
        self.retry_waiting(core);
    }

    pub(super) fn query_history(
        &mut self,
        core: &mut Core,
        origin: Origin,
        caller: Caller,
        anchor: HistoryAnchor,
        limit: u32,
    ) -> Option<Work> {
        let room_id = self.id();
        let reader = caller.user_id;
        let end = self.head.next();
        let (load, what) = match anchor {
            HistoryAnchor::Newest | HistoryAnchor::Before(_) => {
                let before = match anchor {
                    HistoryAnchor::Before(id) => id.min(end),
                    _ => end,
                };
                if let Some(reply) = self.history_before(before, limit as usize) {
                    self.answer(core, caller.user_id, origin, Ok(reply), None);
                    return None;
                }
                (Load::HistoryBefore { room_id, before: Some(before), limit, reader }, RoomQuery::History)
            }
            HistoryAnchor::After(id) => {
                if let Some(reply) = self.history_after(id, limit as usize) {
                    self.answer(core, caller.user_id, origin, Ok(reply), None);
                    return None;
                }
                (Load::HistoryAfter { room_id, after: id, limit, reader }, RoomQuery::History)
            }
            HistoryAnchor::Around(center) => {
                let below = limit.div_ceil(2).max(1);
                let what = RoomQuery::HistoryAround { center, limit: limit - below.min(limit) };
                (Load::HistoryBefore { room_id, before: Some(center.next()), limit: below, reader }, what)
            }
        };
        self.start_query(core, origin, caller, load, what);
        None
    }

    /// From memory, if it reaches back far enough.
    fn history_before(&self, before: Seq, limit: usize) -> Option<ReplyBody> {
        let mut found: Vec<&[u8]> = Vec::with_capacity(limit);
        let mut more = false;
        for (_, recent) in self.ring.before(before).filter(|(_, recent)| recent.is_message) {
            if found.len() == limit {
                more = true;
                break;
            }
            found.push(recent.data());
        }
        if !more && self.ring.first() > Seq(1) {
            return None; // older ones may be in the store
        }
        found.reverse();
        Some(self.history_body(found.into_iter(), more))
    }

    fn history_after(&self, after: Seq, limit: usize) -> Option<ReplyBody> {
        let mut messages = self.ring.after(after)?.filter(|(_, recent)| recent.is_message);
        let found: Vec<&[u8]> = messages.by_ref().take(limit).map(|(_, recent)| recent.data()).collect();
        let more = messages.next().is_some();
        Some(self.history_body(found.into_iter(), more))
    }

    fn history_of_records(&self, records: &[EventRecord], more: bool) -> ReplyBody {
        let visible = records.iter().filter(|record| record.row.seq <= self.head);
        let encoded: Vec<Vec<u8>> = visible
            .map(|record| {
                let mut out = Vec::with_capacity(512);
                message_object(&mut out, record);
                out
            })
            .collect();
        self.history_body(encoded.iter().map(Vec::as_slice), more)
    }

    fn history_body<'a>(&self, messages: impl Iterator<Item = &'a [u8]>, more: bool) -> ReplyBody {
        let data = object(|o| {
            o.uint("room_id", self.id().0)
                .uint("seq", self.head.0)
                .array("messages", messages, |out, message| out.extend_from_slice(message))
                .flag("has_more", more)
                .end();
        });
        body("room_history", data)
    }

    pub(super) fn query_message(
        &mut self,
        core: &mut Core,
        origin: Origin,
        caller: Caller,
        message_id: Seq,
    ) -> Option<Work> {
        let result = match self.ring.get(message_id) {
            Some(recent) if recent.is_message => Ok(message_body(|out| out.extend_from_slice(recent.data()))),
            Some(_) => Err(no_message()),
            None if message_id > self.head || message_id.0 == 0 => Err(no_message()),
            None => {
                let load = Load::Message { room_id: self.id(), message_id, reader: caller.user_id };
                self.start_query(core, origin, caller, load, RoomQuery::Message);
                return None;
            }
        };
        self.answer(core, caller.user_id, origin, result, None);
        None
    }

    #[allow(clippy::too_many_arguments)]
    pub(super) fn query_members(
        &mut self,
        core: &mut Core,
        origin: Origin,
        caller: Caller,
        role: Option<Box<str>>,
        online: Option<bool>,
        limit: u32,
        cursor: Option<Box<str>>,
    ) -> Option<Work> {
        // Who is there in a conversation is known at its participants' homes.
        let among =
            (online == Some(true) && self.meta.kind == RoomKind::Room).then(|| self.online.seen_by(caller.user_id));
        let load = Load::MemberPage { room_id: self.id(), role, among, limit, cursor };
        self.start_query(core, origin, caller, load, RoomQuery::Members { online });
        None
    }

    pub(super) fn judge_mark_read(
        &mut self,
        core: &mut Core,
        origin: Origin,
        caller: Caller,
        seq: Seq,
    ) -> Option<Work> {
        let seq = seq.min(self.head);
        let held = self.member(caller.user_id).map_or(Seq(0), |member| member.last_read_seq);
        if seq <= held {
            let reply = self.read_body(caller.user_id);
            self.answer(core, caller.user_id, origin, Ok(reply), None);
            return None;
        }
        let message_no =
            if seq == self.head { Some(self.message_no) } else { self.ring.get(seq).map(|r| r.message_no) };
        match message_no {
            Some(message_no) => self.push_read_op(core, origin, caller, seq, message_no),
            None => {
                let load = Load::Events { room_id: self.id(), after: Seq(seq.0 - 1), limit: 1 };
                self.start_query(core, origin, caller, load, RoomQuery::MarkRead { seq });
            }
        }
        None
    }

    fn mark_read_at(&mut self, core: &mut Core, origin: Origin, caller: Caller, seq: Seq, events: &[EventRecord]) {
        // Not retained any more: the next event says how many messages came before it.
        let message_no = match events.first() {
            Some(event) if event.row.seq == seq => event.row.message_no,
            Some(event) => event.row.message_no - 1,
            None => self.message_no,
        };
        self.busy_mut(origin.asker).queries -= 1;
        self.push_read_op(core, origin, caller, seq, message_no);
    }

    fn push_read_op(&mut self, core: &mut Core, origin: Origin, caller: Caller, seq: Seq, message_no: u64) {
        let user_id = caller.user_id;
        match core.admit(user_id) {
            Ok(()) => {
                self.push_op(core, OpKind::MarkRead { caller, seq, message_no }, user_id, Some(origin), 64);
            }
            Err(error) => {
                self.forget_idle(origin.asker);
                self.answer(core, user_id, origin, Err(error), None);
            }
        }
    }

    /// The reply to `mark_read`: the position now held.
    pub(super) fn read_body(&self, user: UserId) -> ReplyBody {
        let (seq, unread) = self.read_state(user);
        read_marked(self.id(), seq, unread)
    }

    /// Position and unread messages.
    pub(super) fn read_state(&self, user: UserId) -> (Seq, u64) {
        self.member(user)
            .map_or((Seq(0), 0), |member| (member.last_read_seq, self.message_no.saturating_sub(member.last_read_no)))
    }
}

/// The reply to `mark_read`.
pub(super) fn read_marked(room_id: RoomId, seq: Seq, unread: u64) -> ReplyBody {
    let data = object(|o| o.uint("room_id", room_id.0).uint("seq", seq.0).uint("unread_count", unread).end());
    body("read_marked", data)
}

fn message_body(fill: impl FnOnce(&mut Vec<u8>)) -> ReplyBody {
    let data = object(|mut o| {
        fill(o.key("message"));
        o.end();
    });
    body("message", data)
}

fn no_message() -> Box<CommandError> {
    error(ErrorCode::MessageNotFound, "no such message")
}

/// How a failed query is told to the client.
pub fn load_error(failure: LoadError) -> Box<CommandError> {
    match failure {
        LoadError::Unavailable | LoadError::Failed => store_unavailable(),
        LoadError::BadCursor => Box::new(CommandError::field("cursor", "not a cursor of this list")),
    }
}
