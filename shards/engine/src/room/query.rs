//! Reading: from memory where it holds the answer, else from the store. Nothing beyond the committed head is shown.

use super::recent::Recent;
use super::verb::{Decided, Decision, Found, lifted_body, no_message};
use super::{Room, Work};
use crate::core::{Asked, Core, LoadFor, Outcome, RoomQuery, body, overloaded, store_unavailable};
use crate::id::{Seq, UserId};
use crate::peer::{Caller, Origin, ReplyBody, StatusPage};
use crate::store::{
    EditRow, EventKind, EventRecord, Load, LoadError, Loaded, ReactionRow, RoomKind, RoomStats, SanctionRow,
};
use crate::time::WallMs;
use crate::user::sanction_list;
use crate::wire::encode::{message_for, message_for_moderator, message_sent, opt_time};
use crate::wire::json::{Object, object};
use crate::wire::{Command, CommandError, Permission};

impl Room {
    pub(super) fn start_query(&mut self, core: &mut Core, origin: Origin, caller: Caller, load: Load, what: RoomQuery) {
        let asked = Box::new(Asked { load, head: self.head, since: self.head, tries: 0 });
        self.busy_mut(origin.asker).queries += 1;
        self.ask(core, origin, caller, what, asked);
    }

    fn ask(&mut self, core: &mut Core, origin: Origin, caller: Caller, what: RoomQuery, asked: Box<Asked>) {
        let load = asked.load.clone();
        let purpose = LoadFor::RoomQuery { room_id: self.id(), origin, caller, what: Box::new(what), asked };
        if let Err(LoadFor::RoomQuery { origin, caller, .. }) = core.load(load, purpose) {
            self.end_query(core, &caller, origin, Err(overloaded()));
        }
    }

    /// Whether something that was found may have changed since it was asked for. The client has seen the push by now: it
    /// must not be told the older state after it.
    fn is_stale(&self, asked: &Asked, what: &RoomQuery, found: &Loaded) -> bool {
        if asked.since >= self.head || asked.tries >= STALE_TRIES {
            return false;
        }
        let Some(events) = self.ring.after(asked.since) else { return true };
        let pins = matches!(what, RoomQuery::Pinned);
        let ids = found_ids(what, found);
        events.into_iter().any(|(_, event)| {
            let changes = event.parent_id.is_some_and(|message| ids.contains(&message));
            changes || (pins && matches!(event.kind, EventKind::Pinned | EventKind::Unpinned))
        })
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
        mut what: RoomQuery,
        mut asked: Box<Asked>,
        result: Result<Loaded, LoadError>,
    ) {
        let known = self.members.contains_key(&caller.user_id);
        let needed = if matches!(what, RoomQuery::Sanctions) { Permission::Moderate } else { Permission::Read };
        let shows = !matches!(what, RoomQuery::Repeated { .. }); // that is the caller's own doing
        if let (true, Err(error)) = (known && shows, self.require(&caller, needed)) {
            self.end_query(core, &caller, origin, Err(error));
            return self.retry_waiting(core);
        }
        if result.as_ref().is_ok_and(|found| self.is_stale(&asked, &what, found)) {
            if let RoomQuery::HistoryAroundRest { center, limit, first, .. } = what {
                asked.load = *first;
                what = RoomQuery::HistoryAround { center, limit };
            }
            (asked.since, asked.tries) = (self.head, asked.tries + 1);
            return self.ask(core, origin, caller, what, asked);
        }
        let reader = caller.user_id;
        let head = asked.head;
        match (what, result) {
            (_, Err(failure)) => self.end_query(core, &caller, origin, Err(load_error(failure))),
            (RoomQuery::History, Ok(Loaded::History { mut messages, more })) => {
                let reply = self.history_of_records(reader, head, &mut messages, more);
                self.end_query(core, &caller, origin, Ok(reply));
            }
            (RoomQuery::HistoryAround { center, limit }, Ok(Loaded::History { messages, more })) => {
                let load = Load::HistoryAfter { room_id: self.id(), after: center, limit: limit.max(1), reader };
                let first = Box::new(std::mem::replace(&mut asked.load, load));
                let what = RoomQuery::HistoryAroundRest { before: messages, more_before: more, limit, center, first };
                return self.ask(core, origin, caller, what, asked);
            }
            (
                RoomQuery::HistoryAroundRest { mut before, more_before, limit, .. },
                Ok(Loaded::History { messages, more }),
            ) => {
                let more_after = more || messages.len() > limit as usize;
                before.extend(messages.into_iter().take(limit as usize));
                let reply = self.history_of_records(reader, head, &mut before, more_after || more_before);
                self.end_query(core, &caller, origin, Ok(reply));
            }
            (RoomQuery::Lift, Ok(Loaded::Sanction(row))) => {
                self.busy_mut(origin.asker).queries -= 1;
                self.lift_loaded(core, origin, caller, row);
            }
            (RoomQuery::Members { online }, Ok(Loaded::MemberPage { members, next })) => {
                return self.member_page(
                    core,
                    origin,
                    caller,
                    StatusPage { members, statuses: Vec::new(), next, online },
                );
            }
            (RoomQuery::Stats, Ok(_)) if !self.knows_pins(core) => {
                self.busy_mut(origin.asker).queries -= 1;
                let command = Box::new(Command::GetRoomStats { room_id: self.id() });
                self.wait(core, Work::Command { origin, caller, command }, core.now.mono);
            }
            (RoomQuery::MarkRead { seq }, Ok(Loaded::Events(events))) => {
                self.mark_read_at(core, origin, caller, seq, &events);
            }
            (what, Ok(found)) => {
                let outcome = self.query_outcome(core.now.wall, &caller, what, found);
                self.end_query(core, &caller, origin, outcome);
            }
        }
        self.retry_waiting(core);
    }

    /// The answers that are only shown.
    fn query_outcome(&self, now: WallMs, caller: &Caller, what: RoomQuery, found: Loaded) -> Outcome {
        let reader = caller.user_id;
        Ok(match (what, found) {
            (RoomQuery::Message, Loaded::Message(record)) => {
                let Some(mut record) = record.filter(|record| record.row.seq <= self.head) else {
                    return Err(no_message());
                };
                let moderates = self.has(caller, Permission::DeleteAny);
                self.scrub(std::slice::from_mut(&mut *record));
                message_body(|out| match moderates {
                    true => message_for_moderator(out, &record, reader),
                    false => message_for(out, &record, reader),
                })
            }
            (RoomQuery::Edits { message_id }, Loaded::Edits(edits)) => {
                let deleted = self.recent(message_id).is_some_and(Recent::is_deleted);
                if edits.is_empty() || deleted && !self.has(caller, Permission::DeleteAny) {
                    return Err(no_message());
                }
                self.edits_body(message_id, &edits)
            }
            (RoomQuery::Thread, Loaded::Thread { parent: Some(mut parent), mut messages, more }) => {
                self.scrub(std::slice::from_mut(&mut *parent));
                self.scrub(&mut messages);
                let shown = messages.iter().filter(|record| record.row.seq <= self.head);
                let data = object(|mut o| {
                    message_for(o.key("parent"), &parent, reader);
                    o.array("messages", shown, |out, record| message_for(out, record, reader))
                        .flag("has_more", more)
                        .end();
                });
                body("thread", data)
            }
            (RoomQuery::Thread, Loaded::Thread { .. }) => return Err(no_message()),
            (RoomQuery::Pinned, Loaded::Pinned(messages)) => {
                self.messages_of("pinned_messages", reader, messages, None)
            }
            (RoomQuery::Search, Loaded::Messages { messages, next }) => {
                self.messages_of("search_results", reader, messages, Some(next.as_deref()))
            }
            (RoomQuery::Reactions { message_id }, Loaded::Reactions(_)) if message_id <= self.floor => {
                return Err(no_message());
            }
            (RoomQuery::Reactions { message_id }, Loaded::Reactions(rows)) => self.reactions_body(message_id, &rows),
            (RoomQuery::Repeated { error, .. }, Loaded::ClientEvent(None)) => return Err(error),
            (RoomQuery::Repeated { hash, .. }, Loaded::ClientEvent(Some(first))) => {
                if first.hash != Some(hash) {
                    return Err(super::submit::idempotency_conflict());
                }
                body("message_sent", message_sent(self.id(), first.seq, first.at, true))
            }
            (RoomQuery::Stats, Loaded::RoomStats(stats)) => self.stats_body(&stats),
            (RoomQuery::Sanctions, Loaded::Sanctions { sanctions, next }) => sanction_list(now, &sanctions, &next),
            (what, other) => unreachable!("{what:?} was answered with {other:?}"),
        })
    }

    fn edits_body(&self, message_id: Seq, edits: &[EditRow]) -> ReplyBody {
        let data = object(|o| {
            o.uint("room_id", self.id().0)
                .uint("message_id", message_id.0)
                .array("edits", edits, |out, edit| {
                    Object::new(out)
                        .text("content", &edit.content)
                        .time("edited_at", edit.edited_at)
                        .uint("editor_id", edit.editor_id.0)
                        .opt_text("reason", edit.reason.as_deref())
                        .end();
                })
                .end();
        });
        body("edits", data)
    }

    fn reactions_body(&self, message_id: Seq, rows: &[ReactionRow]) -> ReplyBody {
        let data = object(|o| {
            o.uint("room_id", self.id().0)
                .uint("message_id", message_id.0)
                .array("reactions", rows, |out, row| {
                    Object::new(out)
                        .text("emoji", &row.emoji)
                        .uint("count", u64::from(row.count))
                        .array("users", &row.users, |out, (user, name)| {
                            Object::new(out).uint("user_id", user.0).text("username", name).end();
                        })
                        .end();
                })
                .end();
        });
        body("reactions", data)
    }

    fn stats_body(&self, stats: &RoomStats) -> ReplyBody {
        let data = object(|o| {
            let mut o = o
                .uint("room_id", self.id().0)
                .uint("message_count", stats.message_count)
                .uint("member_count", u64::from(self.member_count))
                .uint("online_count", self.online.visible() as u64)
                .uint("pinned_count", u64::from(self.pinned_count))
                .uint("active_members_1h", stats.active_members_1h);
            opt_time(o.key("last_message_at"), stats.last_message_at);
            o.uint("messages_24h", stats.messages_24h).end();
        });
        body("room_stats", data)
    }

    /// The sanction to be lifted was read.
    fn lift_loaded(&mut self, core: &mut Core, origin: Origin, caller: Caller, row: Option<Box<SanctionRow>>) {
        let sanction_id = row.as_ref().map_or(0, |row| row.sanction_id);
        if row.as_ref().is_some_and(|row| self.locked.contains_key(&row.user_id)) {
            // A sanction of this user is being committed or lifted: it is read again when memory knows of it.
            return self.start_query(core, origin, caller, Load::Sanction { sanction_id }, RoomQuery::Lift);
        }
        let outcome = match self.lift(core, &caller, row) {
            Ok(Some(change)) => return self.push_change(core, origin, caller, change),
            Ok(None) => Ok(lifted_body(self, sanction_id)),
            Err(error) => Err(error),
        };
        self.forget_idle(origin.asker);
        self.answer(core, caller.user_id, origin, outcome, None);
    }

    /// Commands that only read.
    pub(super) fn decide_query(&mut self, core: &mut Core, caller: &Caller, command: &Command) -> Decided {
        use Command as C;
        let (room_id, reader) = (self.id(), caller.user_id);
        self.require(caller, Permission::Read)?;
        Ok(match command {
            C::GetMembers { role, online, limit, cursor, .. } => {
                // Who is there in a conversation is known at its participants' homes.
                let is_room = self.meta.kind == RoomKind::Room;
                let among = (*online == Some(true) && is_room).then(|| self.online.seen_by(reader));
                let load =
                    Load::MemberPage { room_id, role: role.clone(), among, limit: *limit, cursor: cursor.clone() };
                Decision::Ask(load, RoomQuery::Members { online: *online })
            }
            C::GetMessage { message_id, .. } => self.decide_get_message(caller, *message_id)?,
            C::GetHistory { anchor, limit, .. } => self.decide_history(reader, *anchor, *limit),
            C::GetEdits { message_id, .. } => {
                match self.find_message(core, reader, *message_id)? {
                    Found::Soon => return Ok(Decision::Wait),
                    Found::Nowhere => return Err(no_message()),
                    Found::Here => {}
                }
                let deleted = self.recent(*message_id).is_some_and(Recent::is_deleted);
                if deleted && !self.has(caller, Permission::DeleteAny) {
                    return Err(no_message());
                }
                Decision::Ask(
                    Load::Edits { room_id, message_id: *message_id },
                    RoomQuery::Edits { message_id: *message_id },
                )
            }
            C::GetThread { parent_id, after_id, limit, .. } => {
                match self.find_message(core, reader, *parent_id)? {
                    Found::Soon => return Ok(Decision::Wait),
                    Found::Nowhere => return Err(no_message()),
                    Found::Here => {}
                }
                let root = self.recent(*parent_id).and_then(|message| message.parent_id).unwrap_or(*parent_id);
                let after = after_id.unwrap_or(root);
                Decision::Ask(
                    Load::Thread { room_id, parent_id: root, after, limit: *limit, reader },
                    RoomQuery::Thread,
                )
            }
            C::GetPinnedMessages { .. } => Decision::Ask(Load::Pinned { room_id, reader }, RoomQuery::Pinned),
            C::GetReactions { message_id, .. } => {
                match self.find_message(core, reader, *message_id)? {
                    Found::Soon => return Ok(Decision::Wait),
                    Found::Nowhere => return Err(no_message()),
                    Found::Here => {}
                }
                if self.recent(*message_id).is_some_and(Recent::is_deleted) {
                    return Err(no_message());
                }
                let message_id = *message_id;
                Decision::Ask(Load::Reactions { room_id, message_id }, RoomQuery::Reactions { message_id })
            }
            C::SearchMessages(search) => {
                self.require_member(caller)?;
                Decision::Ask(Load::Search { reader, search: search.clone() }, RoomQuery::Search)
            }
            C::GetRoomStats { .. } if !self.knows_pins(core) => Decision::Wait,
            C::GetRoomStats { .. } => Decision::Ask(Load::RoomStats { room_id, now: core.now.wall }, RoomQuery::Stats),
            other => unreachable!("{} is no command about a room", other.kind().name()),
        })
    }

    fn decide_get_message(&self, caller: &Caller, message_id: Seq) -> Decided {
        let load = Load::Message { room_id: self.id(), message_id, reader: caller.user_id };
        if message_id > self.head || message_id <= self.floor {
            return Err(no_message());
        }
        Ok(match self.ring.get(message_id) {
            Some(recent) if !recent.is_message() => return Err(no_message()),
            Some(recent)
                if recent.knows(caller.user_id)
                    && !(recent.is_deleted() && self.has(caller, Permission::DeleteAny)) =>
            {
                message_body(|out| recent.write_for(out, caller.user_id)).into()
            }
            _ => Decision::Ask(load, RoomQuery::Message),
        })
    }

    /// `{messages, next_cursor?}` of what the store has found.
    fn messages_of(
        &self,
        kind: &'static str,
        reader: UserId,
        mut records: Vec<EventRecord>,
        next: Option<Option<&str>>,
    ) -> ReplyBody {
        self.scrub(&mut records);
        // Search and pins show what is there, not what was.
        let shown = records.iter().filter(|record| !record.is_deleted());
        let data = object(|o| {
            let o = match next {
                None => o.uint("room_id", self.id().0),
                Some(_) => o,
            };
            let o = o.array("messages", shown, |out, record| message_for(out, record, reader));
            match next {
                Some(next) => o.opt_text("next_cursor", next).end(),
                None => o.end(),
            }
        });
        body(kind, data)
    }
}

fn message_body(fill: impl FnOnce(&mut Vec<u8>)) -> ReplyBody {
    let data = object(|mut o| {
        fill(o.key("message"));
        o.end();
    });
    body("message", data)
}

/// Repetitions of a query whose answer was overtaken; then it is given as it is, with the `seq` that it was asked at.
const STALE_TRIES: u32 = 3;

/// The messages that were found.
fn found_ids(what: &RoomQuery, found: &Loaded) -> Vec<Seq> {
    let (one, many, earlier): (Option<&EventRecord>, &[EventRecord], &[EventRecord]) = match (what, found) {
        (RoomQuery::HistoryAroundRest { before, .. }, Loaded::History { messages, .. }) => (None, messages, before),
        (_, Loaded::History { messages, .. } | Loaded::Pinned(messages)) => (None, messages, &[]),
        (_, Loaded::Thread { parent, messages, .. }) => (parent.as_deref(), messages, &[]),
        (_, Loaded::Message(Some(record))) => (Some(record), &[], &[]),
        (RoomQuery::Reactions { message_id } | RoomQuery::Edits { message_id }, _) => return vec![*message_id],
        _ => (None, &[], &[]),
    };
    one.into_iter().chain(many).chain(earlier).map(|record| record.row.seq).collect()
}

/// How a failed query is told to the client.
pub fn load_error(failure: LoadError) -> Box<CommandError> {
    match failure {
        LoadError::Unavailable | LoadError::Failed => store_unavailable(),
        LoadError::BadCursor => Box::new(CommandError::field("cursor", "not a cursor of this list")),
    }
}
