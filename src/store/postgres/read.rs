//! Queries in, answers out. A few connections share one bounded queue; what waits goes out together, pipelined on one
//! connection, and all waiting `Identify` go as one.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use futures_util::future::{join_all, join3};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::timeout;
use tokio_postgres::Error;
use veza_engine::id::{ShardId, UserId};
use veza_engine::input::Identity;
use veza_engine::store::{Load, LoadError, Loaded, Profile};

use super::connect::{Fault, Purpose, Session, describe, fault};
use super::context::Context;
use super::load_standing::SanctionsAsked;
use super::load_user::read_time_cursor;
use super::{
    auth, identify, load_event, load_inbox, load_page, load_room, load_standing, load_user, profile, reactions, search,
};
use crate::store::report::wall_now;
use crate::store::shared::{read_cursor, read_id_cursor};
use crate::store::{AuthAnswer, AuthError, AuthRequest};

/// Queries on one connection at a time; a slow one holds up those behind it.
const PIPELINE_MAX: usize = 16;
/// A sign of life is due by then.
const PING_DEADLINE: Duration = Duration::from_secs(2);
/// `Identify`, and `Profile`, in one query.
const TOGETHER_MAX: usize = 256;

/// Something to ask.
pub(super) struct Job {
    pub(super) born: Instant,
    pub(super) ask: Ask,
}

pub(super) enum Ask {
    /// For a shard.
    Load { shard: ShardId, id: u64, load: Load },
    /// For the control thread.
    Auth { request: AuthRequest, reply: oneshot::Sender<Result<AuthAnswer, AuthError>> },
    /// Nothing, to see whether the database answers.
    Ping,
}

/// What some readers share.
pub(super) struct Pool {
    /// Search has a queue and a connection of its own: it may take long, and holds up nobody else.
    pub(super) purpose: Purpose,
    pub(super) context: Arc<Context>,
    pub(super) jobs: Mutex<mpsc::Receiver<Job>>,
}

/// The answer that the database could not give.
pub(super) fn refuse(context: &Context, job: Job) {
    match job.ask {
        Ask::Load { shard, id, .. } => settle_load(context, job.born, shard, id, Err(LoadError::Unavailable)),
        Ask::Auth { reply, .. } => drop(reply.send(Err(AuthError::Unavailable))),
        Ask::Ping => {}
    }
}

fn settle_load(context: &Context, born: Instant, shard: ShardId, id: u64, result: Result<Loaded, LoadError>) {
    let meter = &context.meter;
    meter.loads.fetch_add(1, Relaxed);
    meter.loads_waiting.fetch_sub(1, Relaxed);
    meter.load_us.record_us(born.elapsed());
    if matches!(result, Err(LoadError::Unavailable)) {
        meter.loads_unavailable.fetch_add(1, Relaxed);
    }
    context.completions.loaded(shard, id, result);
}

/// One read connection; ends when the store is closed and the queue is empty.
pub(super) async fn run(pool: Arc<Pool>) {
    let context = &pool.context;
    loop {
        let connected = async {
            context.wait_opened().await;
            context.connector.connect(pool.purpose, |reason| context.trouble(reason)).await
        };
        let mut session = tokio::select! {
            session = connected => session,
            () = context.closing() => return refuse_waiting(&pool).await,
        };
        let counts = pool.purpose == Purpose::Read;
        if counts {
            context.reader_came();
        }
        let closed = serve(&pool, &mut session).await;
        let last = counts && context.reader_went();
        if closed {
            return;
        }
        context.meter.reconnects.fetch_add(1, Relaxed);
        if last {
            context.trouble("no connection answers queries");
        }
        if last || !counts {
            refuse_waiting(&pool).await;
        }
    }
}

/// Nobody is left to answer: what waits would only wait for its deadline.
async fn refuse_waiting(pool: &Pool) {
    let mut jobs = pool.jobs.lock().await;
    while let Ok(job) = jobs.try_recv() {
        refuse(&pool.context, job);
    }
}

/// Answers until the connection fails (false) or the queue is closed (true).
async fn serve(pool: &Pool, session: &mut Session) -> bool {
    loop {
        let group = tokio::select! {
            group = take(pool) => group,
            () = session.ended() => return false,
        };
        let Some(group) = group else { return true };
        let busy = pool.context.meter.busy();
        let good = work(&pool.context, session, group).await;
        drop(busy);
        if !good || session.client.is_closed() {
            return false;
        }
        pool.context.fine();
    }
}

/// One of many that are answered by one query.
struct Asked<T> {
    born: Instant,
    shard: ShardId,
    id: u64,
    what: T,
}

/// What goes out together.
#[derive(Default)]
struct Group {
    identify: Vec<Asked<Box<Identity>>>,
    profiles: Vec<Asked<UserId>>,
    others: Vec<Job>,
}

impl Group {
    fn add(&mut self, job: Job) {
        match job {
            Job { born, ask: Ask::Load { shard, id, load: Load::Identify { identity } } } => {
                self.identify.push(Asked { born, shard, id, what: identity });
            }
            Job { born, ask: Ask::Load { shard, id, load: Load::Profile { user_id } } } => {
                self.profiles.push(Asked { born, shard, id, what: user_id });
            }
            other => self.others.push(other),
        }
    }
}

/// Waits for a job, and takes what else waits; `None`: the queue is closed.
async fn take(pool: &Pool) -> Option<Group> {
    let mut jobs = pool.jobs.lock().await;
    let mut group = Group::default();
    let first = tokio::select! {
        biased;
        job = jobs.recv() => job,
        () = pool.context.closing() => {
            jobs.close();
            jobs.recv().await
        }
    };
    group.add(first?);
    while group.others.len() < PIPELINE_MAX && group.identify.len().max(group.profiles.len()) < TOGETHER_MAX {
        match jobs.try_recv() {
            Ok(job) => group.add(job),
            Err(_) => break,
        }
    }
    Some(group)
}

/// Asks everything at once; false if the connection is not to be trusted any more.
async fn work(context: &Context, session: &Session, group: Group) -> bool {
    let others = join_all(group.others.into_iter().map(|job| one(context, session, job)));
    let identities: Vec<&Identity> = group.identify.iter().map(|asked| &*asked.what).collect();
    let identified = many(context, &group.identify, Loaded::User, || async {
        identify::identify(session, &identities, context.auto_provision, wall_now().0).await
    });
    let users: Vec<UserId> = group.profiles.iter().map(|asked| asked.what).collect();
    let found = |profile: Profile| Loaded::Profile(Box::new(profile));
    let profiles = many(context, &group.profiles, found, || async { profile::profiles(session, &users).await });
    let (identified, profiles, others) = join3(identified, profiles, others).await;
    identified && profiles && others.into_iter().all(|good| good)
}

/// The time that is left of a query's, or none.
fn left(context: &Context, born: Instant) -> Duration {
    context.load_deadline.saturating_sub(born.elapsed())
}

async fn one(context: &Context, session: &Session, job: Job) -> bool {
    let patience = left(context, job.born);
    match job.ask {
        Ask::Load { shard, id, load } => {
            let (result, good) = match timeout(patience, ask(context, session, &load)).await {
                Ok(Ok(result)) => (result, true),
                Ok(Err(error)) => failed(context, &error),
                Err(_) => (Err(LoadError::Unavailable), late(context)),
            };
            settle_load(context, job.born, shard, id, result);
            good
        }
        Ask::Auth { request, reply } => {
            let (result, good) = match timeout(patience, auth::answer(session, &request)).await {
                Ok(Ok(result)) => (result, true),
                Ok(Err(error)) => match failed::<()>(context, &error) {
                    (Err(LoadError::Failed), good) => (Err(AuthError::Failed), good),
                    (_, good) => (Err(AuthError::Unavailable), good),
                },
                Err(_) => (Err(AuthError::Unavailable), late(context)),
            };
            // The one who asked may have gone.
            let _ = reply.send(result);
            good
        }
        Ask::Ping => match timeout(patience.min(PING_DEADLINE), session.query("SELECT 1", &[])).await {
            Ok(Ok(_)) => true,
            Ok(Err(error)) => failed::<()>(context, &error).1,
            Err(_) => late(context),
        },
    }
}

/// One query for all of these; its answers are in their order.
async fn many<T, R: Clone, F: Future<Output = Result<Vec<R>, Error>>>(
    context: &Context,
    asked: &[Asked<T>],
    make: impl Fn(R) -> Loaded,
    ask: impl FnOnce() -> F,
) -> bool {
    let Some(oldest) = asked.iter().map(|one| one.born).min() else { return true };
    let (answers, good) = match timeout(left(context, oldest), ask()).await {
        Ok(Ok(answers)) => (Ok(answers), true),
        Ok(Err(error)) => failed(context, &error),
        Err(_) => (Err(LoadError::Unavailable), late(context)),
    };
    for (index, one) in asked.iter().enumerate() {
        let result = answers.as_ref().map(|answers| make(answers[index].clone())).map_err(LoadError::clone);
        settle_load(context, one.born, one.shard, one.id, result);
    }
    good
}

/// A query that failed: its answer, and whether the connection goes on.
fn failed<T>(context: &Context, error: &Error) -> (Result<T, LoadError>, bool) {
    match fault(error) {
        Fault::Unavailable | Fault::Superseded | Fault::Applied => {
            context.trouble(describe(error));
            (Err(LoadError::Unavailable), false)
        }
        refused => {
            tracing::error!(error = describe(error), "the database refused a query");
            // A stale plan is gone with its connection.
            (Err(LoadError::Failed), refused != Fault::Query)
        }
    }
}

fn late(context: &Context) -> bool {
    context.trouble("a query was not answered in time");
    false
}

/// The answer to a query; the outer error is the database's.
async fn ask(context: &Context, session: &Session, load: &Load) -> Result<Result<Loaded, LoadError>, Error> {
    let mix = context.incarnation();
    let loaded = match load {
        Load::Identify { identity } => {
            let users = identify::identify(session, &[identity], context.auto_provision, wall_now().0).await?;
            Loaded::User(users.into_iter().next().flatten())
        }
        Load::Room { room_id, tail, members } => load_room::room(session, mix, *room_id, *tail, members).await?,
        Load::Members { room_id, user_ids } => {
            Loaded::Members(load_standing::standings(session, *room_id, user_ids).await?)
        }
        Load::Names { room_id, names } => load_standing::names(session, *room_id, names).await?,
        Load::Sanction { sanction_id } => load_standing::one_sanction(session, *sanction_id).await?,
        Load::RoomStats { room_id, now } => load_room::stats(session, *room_id, *now).await?,
        Load::ClientEvent { room_id, user_id, client_id } => {
            load_room::client_event(session, *room_id, *user_id, client_id).await?
        }
        Load::Unread { user_id } => load_user::unread(session, mix, *user_id).await?,
        Load::Creation { user_id, client_id, pair, users } => {
            load_user::creation(session, *user_id, client_id.as_deref(), *pair, users).await?
        }
        Load::User { user_id } => load_user::user_by_id(session, *user_id).await?,
        Load::Sessions { user_id } => Loaded::Sessions(auth::sessions(session, *user_id, wall_now()).await?),
        Load::ReserveRooms { count } => load_user::reserve_rooms(session, *count).await?,
        Load::Profile { user_id } => {
            let found = profile::profiles(session, &[*user_id]).await?;
            Loaded::Profile(Box::new(found.into_iter().next().unwrap_or_default()))
        }
        Load::Blocks { user_id } => profile::blocks(session, *user_id).await?,
        Load::Events { .. }
        | Load::HistoryBefore { .. }
        | Load::HistoryAfter { .. }
        | Load::Message { .. }
        | Load::Edits { .. }
        | Load::Thread { .. }
        | Load::Pinned { .. }
        | Load::Reactions { .. } => events(session, load).await?,
        paged => return page(context, session, paged).await,
    };
    Ok(Ok(loaded))
}

/// Queries about the events of a room.
async fn events(session: &Session, load: &Load) -> Result<Loaded, Error> {
    match load {
        Load::Events { room_id, after, limit } => load_event::events(session, *room_id, *after, *limit).await,
        Load::HistoryBefore { room_id, before, limit, reader } => {
            load_event::history_before(session, *room_id, *before, *limit, *reader).await
        }
        Load::HistoryAfter { room_id, after, limit, reader } => {
            load_event::history_after(session, *room_id, *after, *limit, *reader).await
        }
        Load::Message { room_id, message_id, reader } => {
            load_event::message(session, *room_id, *message_id, *reader).await
        }
        Load::Edits { room_id, message_id } => load_event::edits(session, *room_id, *message_id).await,
        Load::Thread { room_id, parent_id, after, limit, reader } => {
            load_event::thread(session, *room_id, *parent_id, *after, *limit, *reader).await
        }
        Load::Pinned { room_id, reader } => load_event::pinned(session, *room_id, *reader).await,
        Load::Reactions { room_id, message_id } => reactions::by_name(session, *room_id, *message_id).await,
        other => unreachable!("{other:?} is not about events"),
    }
}

/// Queries with a cursor, which may be one that we never gave.
async fn page(context: &Context, session: &Session, load: &Load) -> Result<Result<Loaded, LoadError>, Error> {
    let mix = context.incarnation();
    let id_cursor = |kind, cursor: &Option<Box<str>>| {
        read_id_cursor(kind, cursor.as_deref()).map(|id| super::plan::int(id.unwrap_or(0)))
    };
    let loaded = match load {
        Load::MemberPage { room_id, role, among, limit, cursor } => match id_cursor('m', cursor) {
            Ok(after) => {
                load_page::members(session, *room_id, role.as_deref(), among.as_deref(), *limit, after).await?
            }
            Err(error) => return Ok(Err(error)),
        },
        Load::RoomPage { filter, user_id, query, limit, cursor } => match id_cursor('r', cursor) {
            Ok(after) => load_page::rooms(session, mix, *filter, *user_id, query.as_deref(), *limit, after).await?,
            Err(error) => return Ok(Err(error)),
        },
        Load::DmPage { user_id, limit, cursor } => match read_time_cursor('d', cursor.as_deref()) {
            Ok(from) => load_user::dm_page(session, mix, *user_id, *limit, from).await?,
            Err(error) => return Ok(Err(error)),
        },
        Load::UserPage { query, limit, cursor } => match read_cursor('u', cursor.as_deref()) {
            Ok(after) => load_page::users(session, query.as_deref(), *limit, &after.unwrap_or_default()).await?,
            Err(error) => return Ok(Err(error)),
        },
        Load::Mentions { reader, limit, cursor } => match load_inbox::read_from(cursor.as_deref()) {
            Ok(from) => load_inbox::mentions(session, *reader, *limit, from).await?,
            Err(error) => return Ok(Err(error)),
        },
        Load::Sanctions { room_id, user_id, active, now, limit, cursor } => {
            match read_time_cursor('s', cursor.as_deref()) {
                Ok(from) => {
                    let (room_id, user_id, active, now, limit) = (*room_id, *user_id, *active, *now, *limit);
                    let asked = SanctionsAsked { room_id, user_id, active, now, limit, from };
                    load_standing::sanctions(session, asked).await?
                }
                Err(error) => return Ok(Err(error)),
            }
        }
        Load::Search { reader, search: asked } => {
            return search::search(session, context.language(), *reader, asked).await;
        }
        other => unreachable!("{other:?} has no cursor"),
    };
    Ok(Ok(loaded))
}
