//! What is done behind the writes, on a connection of its own: the index of words, and what is to be removed. Only while
//! our server holds the database, in short transactions, one after the other.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio_postgres::Error;
use veza_engine::time::WallMs;

use super::connect::{Fault, Purpose, Session, describe, fault, jittered};
use super::context::Context;
use super::index::{self, Share};
use super::plan::{Planned, planned};
use super::removal::Pass;
use super::write::send;
use crate::store::StoreError;
use crate::store::report::wall_now;

/// From the first event that is not indexed to the round that does it: many at a time cost less.
const GATHER: Duration = Duration::from_millis(200);
/// The same while more than [`BUSY`] events a second are committed. A room costs a round as much as a message does, so
/// several messages of it are waited for.
const GATHER_BUSY: Duration = Duration::from_secs(1);
/// Events in a second beyond which the work is worth more than a second's wait.
const BUSY: u64 = 1_000;
/// Events in a round while somebody writes. Batches wait for the core, the locks and the disk that a round is using: one
/// of 700 events kept them waiting for up to 50 ms, this one takes two.
const SMALL_ROUND: i64 = 64;
/// From one round to the next while more than [`BUSY`] events a second are committed: a round costs as much as ten
/// messages before it has indexed any.
const ROUND_EVERY: Duration = Duration::from_millis(10);
/// While somebody writes, the index takes no more than one message in this time: 6,600 a second.
const INDEX_PACE: Duration = Duration::from_micros(150);
/// The same while more than [`FLOOD`] events a second are committed: sending goes before; the index falls behind and
/// catches up later.
const INDEX_PACE_FLOODED: Duration = Duration::from_micros(500);
/// Events in a second beyond which the index does not try to keep up.
const FLOOD: u64 = 6_000;
/// Time over which the events in a second are counted.
const COUNT_OVER: Duration = Duration::from_millis(250);
/// A step of removing is followed by so many times its duration without one.
const REST: u32 = 3;
/// After a failure.
const PAUSE: Duration = Duration::from_secs(1);

const HOLD: &str = "SELECT veza_hold($1)";

/// To do everything at once, as if it were that time.
pub(super) struct Request {
    pub(super) now: WallMs,
    pub(super) reply: oneshot::Sender<Result<(), StoreError>>,
}

/// One transaction, in which our server holds the database; answers the rows that the statements met.
pub(super) async fn transact(context: &Context, session: &Session, statements: Vec<Planned>) -> Result<u64, Error> {
    hold_and_send(context, session, "BEGIN", statements).await
}

/// As [`transact`], without waiting for the disk: a crash of the database in the next moments may undo it, as a whole.
/// For what can be made again.
pub(super) async fn transact_unflushed(
    context: &Context,
    session: &Session,
    statements: Vec<Planned>,
) -> Result<u64, Error> {
    hold_and_send(context, session, "BEGIN; SET LOCAL synchronous_commit TO off", statements).await
}

async fn hold_and_send(
    context: &Context,
    session: &Session,
    begin: &'static str,
    statements: Vec<Planned>,
) -> Result<u64, Error> {
    let mut plan = vec![planned!(HOLD, context.epoch)];
    plan.extend(statements);
    // The row of HOLD is no row of theirs.
    Ok(send(session, &plan, &[begin], &["COMMIT"]).await?.saturating_sub(1))
}

/// Works until the store is closed.
pub(super) async fn run(context: Arc<Context>, mut requests: mpsc::UnboundedReceiver<Request>) {
    let mut upkeep = Upkeep {
        pass: None,
        next_pass: Instant::now().checked_add(context.upkeep_every),
        rest: None,
        index_rest: None,
        writes: Writes::default(),
    };
    loop {
        let connected = async {
            context.wait_held().await;
            // Whoever reads or writes says that the database is away.
            context.connector.connect(Purpose::Upkeep, |_| {}).await
        };
        let session = tokio::select! {
            session = connected => session,
            () = context.closing() => return,
        };
        let end = upkeep.serve(&context, &session, &mut requests).await;
        let Err(error) = end else { return };
        // A crash of the database may have undone what was indexed last.
        context.pending.look_again();
        if fault(&error) == Fault::Superseded {
            // The keeper of the lock ends the process.
            return;
        }
        tracing::warn!(reason = describe(&error), "work in the background failed, and is tried again");
        tokio::select! {
            () = tokio::time::sleep(jittered(PAUSE)) => {}
            () = context.closing() => return,
        }
    }
}

struct Upkeep {
    /// Removing that is under way.
    pass: Option<Pass>,
    /// `None`: never by itself.
    next_pass: Option<Instant>,
    /// No step of removing before.
    rest: Option<Instant>,
    /// No round of the index before.
    index_rest: Option<Instant>,
    writes: Writes,
}

/// What the writers do, as the rounds of the index see it.
#[derive(Default)]
struct Writes {
    /// Events committed when it was looked at last.
    seen: u64,
    /// When the count of the present stretch of time began, and at how many events.
    counted: Option<(Instant, u64)>,
    /// Events in a second of the stretch before.
    rate: u64,
}

impl Writes {
    /// Whether anything was committed since the last look.
    fn look(&mut self, now: Instant, events: u64) -> bool {
        let (since, before) = *self.counted.get_or_insert((now, events));
        let passed = now.saturating_duration_since(since);
        if passed >= COUNT_OVER {
            let millis = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX);
            self.rate = (events - before).saturating_mul(1000) / millis;
            self.counted = Some((now, events));
        }
        std::mem::replace(&mut self.seen, events) != events
    }

    /// How long what is not indexed waits for more of its kind, milliseconds.
    fn gather_ms(&self) -> i64 {
        let gather = if self.rate > BUSY { GATHER_BUSY } else { GATHER };
        i64::try_from(gather.as_millis()).unwrap_or(i64::MAX)
    }

    /// From the begin of a round that indexed so many messages to the next round.
    fn rest(&self, indexed: u32) -> Duration {
        let pace = if self.rate > FLOOD { INDEX_PACE_FLOODED } else { INDEX_PACE };
        let least = if self.rate > BUSY { ROUND_EVERY } else { Duration::ZERO };
        pace.saturating_mul(indexed).max(least)
    }
}

impl Upkeep {
    /// Until the store is closed, or the connection fails.
    async fn serve(
        &mut self,
        context: &Context,
        session: &Session,
        requests: &mut mpsc::UnboundedReceiver<Request>,
    ) -> Result<(), Error> {
        loop {
            let wait = async {
                tokio::time::sleep(self.wait(context)).await;
                context.wait_held().await;
            };
            tokio::select! {
                biased;
                () = context.closing() => return Ok(()),
                request = requests.recv() => match request {
                    Some(request) => everything(context, session, request).await?,
                    None => return Ok(()),
                },
                () = wait => self.step(context, session).await?,
            }
        }
    }

    /// Time until there is something to do; at most that after which commits are noticed.
    fn wait(&self, context: &Context) -> Duration {
        let gather = self.writes.gather_ms();
        let index = context.pending.since().map_or(gather, |since| (since + gather - wall_now().0).clamp(0, gather));
        let index = Duration::from_millis(index.cast_unsigned());
        let rest = self.index_rest.map_or(Duration::ZERO, |rest| rest.saturating_duration_since(Instant::now()));
        let index = index.max(rest);
        let pass = if self.pass.is_some() { self.rest } else { self.next_pass };
        let now = Instant::now();
        match (pass, self.pass.is_some()) {
            (Some(at), _) => index.min(at.saturating_duration_since(now)),
            (None, true) => Duration::ZERO,
            (None, false) => index,
        }
    }

    /// A round of the index; while somebody writes a small one, and a rest after it.
    async fn index(&mut self, context: &Context, session: &Session, since: i64) -> Result<(), Error> {
        let (begun, meter) = (Instant::now(), &context.meter);
        let written = self.writes.look(begun, meter.events.load(Relaxed)) || meter.batches_waiting.load(Relaxed) > 0;
        let before = meter.search_indexed.load(Relaxed);
        let events = if written { SMALL_ROUND } else { index::EVENTS_MAX };
        index::step(context, session, Share { events, since }).await?;
        let indexed = u32::try_from(meter.search_indexed.load(Relaxed) - before).unwrap_or(u32::MAX);
        self.index_rest = begun.checked_add(self.writes.rest(indexed)).filter(|_| written);
        Ok(())
    }

    async fn step(&mut self, context: &Context, session: &Session) -> Result<(), Error> {
        if session.client.is_closed() {
            // Fails, and says why: what was not flushed is looked for without waiting for the next event.
            session.client.batch_execute("").await?;
        }
        let (now, wall) = (Instant::now(), wall_now().0);
        let gather = self.writes.gather_ms();
        let rests = self.index_rest.is_some_and(|rest| rest > now);
        if !rests && context.pending.since().is_some_and(|since| since + gather <= wall) {
            self.index(context, session, wall - gather).await?;
        }
        context.pending.publish(&context.meter);
        if self.next_pass.is_some_and(|at| at <= now) {
            self.next_pass = now.checked_add(context.upkeep_every);
            self.pass.get_or_insert_with(|| Pass::new(WallMs(wall), context.grace_ms));
        }
        if self.rest.is_some_and(|rest| rest > now) {
            return Ok(());
        }
        if let Some(mut pass) = self.pass.take() {
            let begun = Instant::now();
            pass.step(context, session).await?;
            self.rest = begun.elapsed().checked_mul(REST).and_then(|rest| Instant::now().checked_add(rest));
            self.pass = Some(pass).filter(|pass| !pass.done());
        }
        Ok(())
    }
}

async fn everything(context: &Context, session: &Session, request: Request) -> Result<(), Error> {
    let work = async {
        while context.pending.since().is_some() {
            index::step(context, session, Share::ALL).await?;
        }
        let mut pass = Pass::new(request.now, context.grace_ms);
        while !pass.done() {
            pass.step(context, session).await?;
        }
        Ok(())
    };
    let done: Result<(), Error> = work.await;
    let told = done.as_ref().copied().map_err(|error| StoreError::Failed(describe(error)));
    // Who asked may have gone.
    let _ = request.reply.send(told);
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_told_by_what_a_stretch_of_time_brought() {
        let (mut writes, start) = (Writes::default(), Instant::now());
        let mut look = |millis: u64, events: u64| {
            let written = writes.look(start + Duration::from_millis(millis), events);
            let rests = [10, 100].map(|indexed| writes.rest(indexed).as_micros());
            (written, writes.gather_ms(), rests)
        };
        assert_eq!(look(0, 0), (false, 200, [1_500, 15_000]));
        assert_eq!(look(7, 100), (true, 200, [1_500, 15_000]), "a batch is no flood");
        assert_eq!(look(14, 100), (false, 200, [1_500, 15_000]));
        assert_eq!(look(260, 1600), (true, 1000, [10_000, 50_000]), "6,153 a second");
        assert_eq!(look(400, 1700), (true, 1000, [10_000, 50_000]), "the stretch is not over");
        assert_eq!(look(520, 2200), (true, 1000, [10_000, 15_000]), "2,307 a second");
        assert_eq!(look(780, 2200), (false, 200, [1_500, 15_000]));
    }
}
