//! The reading threads and their queue. Users to be identified wait in a queue of their own: one query answers as many
//! as wait, so a storm of returning clients costs one for each hundred.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crossbeam::channel::Sender;
use rusqlite::{Connection, Error, ErrorCode};
use veza_engine::id::RoomId;
use veza_engine::input::Identity;
use veza_engine::store::{Load, LoadError, Loaded, RoomStats};

use super::load_people::Sanctions;
use super::writer::{Call, Job};
use super::{AuthReply, Shared, Ticket, identify};
use super::{load_message, load_page, load_people, load_room, load_user, search};
use crate::store::{AuthAnswer, AuthError};

/// Users identified by one query.
const IDENTIFY_MAX: usize = 100;

/// A question for a reader.
pub(super) enum Ask {
    /// Of the engine, but `Identify` and `ReserveRooms`.
    Load { ticket: Ticket, load: Load },
    /// Of the control thread.
    Login { username: Box<str>, reply: AuthReply },
}

/// Somebody to be identified.
pub(super) type Asked = (Ticket, Box<Identity>);

/// The queue of questions. Bounded by `loads_max` (counted by the meter) and the control thread's own bounds.
#[derive(Default)]
pub(super) struct Asks {
    queues: Mutex<Queues>,
    filled: Condvar,
}

#[derive(Default)]
struct Queues {
    asks: VecDeque<Ask>,
    identify: VecDeque<Asked>,
    identify_last: bool,
    closed: bool,
}

enum Work {
    One(Ask),
    Identify(Vec<Asked>),
}

impl Asks {
    /// Adds a question.
    pub(super) fn push(&self, ask: Ask) {
        let mut queues = self.lock();
        if !queues.closed {
            queues.asks.push_back(ask);
            self.filled.notify_one();
        }
    }

    /// Adds somebody to be identified.
    pub(super) fn push_identify(&self, ticket: Ticket, identity: Box<Identity>) {
        let mut queues = self.lock();
        if !queues.closed {
            queues.identify.push_back((ticket, identity));
            self.filled.notify_one();
        }
    }

    /// The readers end, once what waits is answered.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_all();
    }

    /// Waits for work; `None`: closed. The two queues take turns.
    fn take(&self) -> Option<Work> {
        let mut queues = self.lock();
        loop {
            if !queues.identify.is_empty() && (!queues.identify_last || queues.asks.is_empty()) {
                queues.identify_last = true;
                let count = queues.identify.len().min(IDENTIFY_MAX);
                return Some(Work::Identify(queues.identify.drain(..count).collect()));
            }
            queues.identify_last = false;
            if let Some(ask) = queues.asks.pop_front() {
                return Some(Work::One(ask));
            }
            if queues.closed {
                return None;
            }
            queues = self.filled.wait(queues).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reading thread, until closed.
pub(super) fn run(shared: &Shared, connection: &Connection, jobs: &Sender<Job>) {
    while let Some(work) = shared.asks.take() {
        let _busy = shared.meter.busy();
        match work {
            Work::One(Ask::Load { ticket, .. }) if ticket.late() => ticket.answer(Err(LoadError::Unavailable)),
            Work::One(Ask::Load { ticket, load }) => {
                let result = answer(connection, shared.incarnation, &load);
                ticket.answer(result.map_err(|failure| failure.told(shared, jobs)));
            }
            Work::One(Ask::Login { username, reply }) => {
                let result = load_user::login(connection, &username).map(AuthAnswer::Login);
                let result = result.map_err(|error| match Failure::Database(error).told(shared, jobs) {
                    LoadError::Unavailable => AuthError::Unavailable,
                    _ => AuthError::Failed,
                });
                // Whoever asked may have gone; then nobody is to be told.
                drop(reply.send(result));
            }
            Work::Identify(asked) => identify_all(shared, connection, jobs, asked),
        }
    }
}

fn identify_all(shared: &Shared, connection: &Connection, jobs: &Sender<Job>, asked: Vec<Asked>) {
    let (late, asked): (Vec<_>, Vec<_>) = asked.into_iter().partition(|(ticket, _)| ticket.late());
    late.into_iter().for_each(|(ticket, _)| ticket.answer(Err(LoadError::Unavailable)));
    let found = match identify::find(connection, asked.iter().map(|(_, identity)| &**identity)) {
        Ok(found) => found,
        Err(error) => {
            let told = Failure::Database(error).told(shared, jobs);
            return asked.into_iter().for_each(|(ticket, _)| ticket.answer(Err(told.clone())));
        }
    };
    for ((ticket, identity), found) in asked.into_iter().zip(found) {
        match found {
            identify::Found::Known(user) => ticket.answer(Ok(Loaded::User(Some(user)))),
            identify::Found::Unknown if !shared.auto_provision => ticket.answer(Ok(Loaded::User(None))),
            identify::Found::Unknown | identify::Found::Rename => {
                shared.call(jobs, Call::Provision { ticket, identity });
            }
        }
    }
}

/// Why a query has no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// A cursor that is not ours.
    Cursor,
    /// The database's error.
    Database(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Database(error)
    }
}

impl From<LoadError> for Failure {
    fn from(_: LoadError) -> Failure {
        Failure::Cursor
    }
}

impl Failure {
    /// What the asker is told; the rest goes to the log and, where the database is away, to the writer, who sees when
    /// it is back.
    fn told(self, shared: &Shared, jobs: &Sender<Job>) -> LoadError {
        let error = match self {
            Failure::Cursor => return LoadError::BadCursor,
            Failure::Database(error) => error,
        };
        use ErrorCode::{ApiMisuse, Unknown};
        if matches!(error.sqlite_error_code(), None | Some(ApiMisuse | Unknown)) {
            tracing::error!(%error, "a query is wrong");
            return LoadError::Failed;
        }
        shared.meter.went_down(error.to_string());
        shared.call(jobs, Call::Probe);
        LoadError::Unavailable
    }
}

/// Answers one query from one snapshot; `mix` is the incarnation.
pub(super) fn answer(connection: &Connection, mix: u64, load: &Load) -> Result<Loaded, Failure> {
    let snapshot = connection.unchecked_transaction()?;
    let loaded = match in_room(&snapshot, load)? {
        Some(loaded) => loaded,
        None => anywhere(&snapshot, mix, load)?,
    };
    snapshot.commit()?;
    Ok(loaded)
}

/// Queries about what is in one room, which must be there; `None`: it is another query.
fn in_room(connection: &Connection, load: &Load) -> Result<Option<Loaded>, Failure> {
    let Some((room_id, nothing)) = room_of(load) else { return Ok(None) };
    if let Load::MemberPage { cursor, .. } = load {
        // One that is not ours is told, room or not.
        load_page::member_cursor(cursor.as_deref())?;
    }
    if !load_room::visible(connection, room_id)? {
        return Ok(Some(nothing));
    }
    let loaded = match load {
        Load::Members { user_ids, .. } => load_room::members(connection, room_id, user_ids)?,
        Load::Events { after, limit, .. } => load_message::events(connection, room_id, *after, *limit)?,
        Load::HistoryBefore { before, limit, reader, .. } => {
            load_message::history_before(connection, room_id, *before, *limit, *reader)?
        }
        Load::HistoryAfter { after, limit, reader, .. } => {
            load_message::history_after(connection, room_id, *after, *limit, *reader)?
        }
        Load::Message { message_id, reader, .. } => load_message::message(connection, room_id, *message_id, *reader)?,
        Load::Edits { message_id, .. } => load_message::edits(connection, room_id, *message_id)?,
        Load::Thread { parent_id, after, limit, reader, .. } => {
            load_message::thread(connection, room_id, *parent_id, *after, *limit, *reader)?
        }
        Load::Pinned { reader, .. } => load_message::pinned(connection, room_id, *reader)?,
        Load::Reactions { message_id, .. } => load_message::reactions(connection, room_id, *message_id)?,
        Load::Names { names, .. } => load_room::names(connection, room_id, names)?,
        Load::RoomStats { now, .. } => load_room::stats(connection, room_id, *now)?,
        Load::ClientEvent { user_id, client_id, .. } => {
            load_room::client_event(connection, room_id, *user_id, client_id)?
        }
        Load::MemberPage { role, among, limit, cursor, .. } => {
            load_page::members(connection, room_id, role.as_deref(), among.as_deref(), *limit, cursor.as_deref())?
        }
        other => unreachable!("{other:?} is about no room"),
    };
    Ok(Some(loaded))
}

/// The room that a query is about, and its answer if that is not there.
fn room_of(load: &Load) -> Option<(RoomId, Loaded)> {
    let more = false;
    Some(match load {
        Load::Members { room_id, .. } => (*room_id, Loaded::Members(Vec::new())),
        Load::Events { room_id, .. } => (*room_id, Loaded::Events(Vec::new())),
        Load::HistoryBefore { room_id, .. } | Load::HistoryAfter { room_id, .. } => {
            (*room_id, Loaded::History { messages: Vec::new(), more })
        }
        Load::Message { room_id, .. } => (*room_id, Loaded::Message(None)),
        Load::Edits { room_id, .. } => (*room_id, Loaded::Edits(Vec::new())),
        Load::Thread { room_id, .. } => (*room_id, Loaded::Thread { parent: None, messages: Vec::new(), more }),
        Load::Pinned { room_id, .. } => (*room_id, Loaded::Pinned(Vec::new())),
        Load::Reactions { room_id, .. } => (*room_id, Loaded::Reactions(Vec::new())),
        Load::Names { room_id, .. } => (*room_id, Loaded::Names(Vec::new())),
        Load::RoomStats { room_id, .. } => (*room_id, Loaded::RoomStats(RoomStats::default())),
        Load::ClientEvent { room_id, .. } => (*room_id, Loaded::ClientEvent(None)),
        Load::MemberPage { room_id, .. } => (*room_id, Loaded::MemberPage { members: Vec::new(), next: None }),
        _ => return None,
    })
}

/// All other queries; those that name a room look by themselves whether it is there.
fn anywhere(connection: &Connection, mix: u64, load: &Load) -> Result<Loaded, Failure> {
    Ok(match load {
        Load::Room { room_id, tail, members } => load_room::room(connection, *room_id, *tail, members, mix)?,
        Load::Search { reader, search } => search::query(connection, *reader, search)?,
        Load::Mentions { reader, limit, cursor } => {
            load_people::mentions(connection, *reader, *limit, cursor.as_deref())?
        }
        Load::Profile { user_id } => load_people::profile(connection, *user_id)?,
        Load::Blocks { user_id } => load_people::blocks(connection, *user_id)?,
        Load::Sanction { sanction_id } => load_people::sanction(connection, *sanction_id)?,
        Load::Sanctions { room_id, user_id, active, now, limit, cursor } => {
            let (room_id, user_id, active, now, limit) = (*room_id, *user_id, *active, *now, *limit);
            let cursor = cursor.as_deref();
            load_people::sanctions(connection, &Sanctions { room_id, user_id, active, now, limit, cursor })?
        }
        Load::RoomPage { filter, user_id, query, limit, cursor } => {
            load_page::rooms(connection, *filter, *user_id, query.as_deref(), *limit, cursor.as_deref(), mix)?
        }
        Load::DmPage { user_id, limit, cursor } => {
            load_page::conversations(connection, *user_id, *limit, cursor.as_deref(), mix)?
        }
        Load::UserPage { query, limit, cursor } => {
            load_page::users(connection, query.as_deref(), *limit, cursor.as_deref())?
        }
        Load::Unread { user_id } => load_user::unread(connection, *user_id, mix)?,
        Load::Creation { user_id, client_id, pair, users } => {
            load_user::creation(connection, *user_id, client_id.as_deref(), *pair, users)?
        }
        Load::User { user_id } => load_user::user(connection, *user_id)?,
        Load::Sessions { user_id } => load_user::sessions(connection, *user_id)?,
        other => unreachable!("{other:?} goes another way"),
    })
}
