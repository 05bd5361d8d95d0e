//! Batches in, outcomes out. One task per write connection; the batches of a lane go through one task, one after the
//! other. Those that wait when the connection is free are tried together, in one transaction, since a commit costs as much
//! as a dozen messages; if that fails, one by one, each until its outcome is known.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;
use veza_engine::id::ShardId;
use veza_engine::store::{Batch, BatchOutcome, EventRow, Write};

use super::connect::{Fault, Purpose, Session, application_name, describe, fault, jittered};
use super::context::Context;
use super::plan::{
    EVENTS, EVENTS_GATED, EVENTS_GATED_MORE, FENCE, GATE, Param, Planned, event_arrays, more_event_arrays, plan_writes,
    planned,
};
use super::{bisect, conflict};
use crate::store::StoreError;

/// Of one attempt: doubled for each next one of the same batch, so that a slow database gets it done in the end.
const ATTEMPT: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(10));
/// Between attempts.
const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(400));

/// A transaction takes no further batch when it has so many rows and writes.
const GROUP_MAX: usize = 1024;

/// Ends a backend that may still be at work on a batch whose answer we no longer await.
const TERMINATE: &str =
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = $1 AND application_name = $2";

/// A batch and who sent it.
pub(super) struct WriteJob {
    pub(super) shard: ShardId,
    pub(super) batch: Box<Batch>,
}

/// One write connection.
pub(super) struct Writer {
    context: Arc<Context>,
    session: Option<Session>,
    /// The server's process of the connection that was dropped last, if it may still work.
    left_behind: Option<i32>,
    connected_before: bool,
    /// Their rows are there: a batch has been committed.
    lanes: BTreeSet<u32>,
}

/// How an attempt ended.
enum Attempt {
    Known(BatchOutcome),
    /// Not known, or known to be undone for a reason that passes. `keep`: the connection is not the reason.
    Again {
        reason: String,
        keep: bool,
    },
    /// The database belongs to another server.
    Over(String),
}

/// Writes what comes until the queue's other end is dropped. The queue is bounded by the engine: it has at most one
/// batch of a lane in flight.
pub(super) async fn run(context: Arc<Context>, mut jobs: mpsc::UnboundedReceiver<WriteJob>) {
    let lanes = BTreeSet::new();
    let mut writer = Writer { context, session: None, left_behind: None, connected_before: false, lanes };
    while let Some(first) = next(&writer.context, &mut jobs).await {
        let (mut rows, mut group) = (size(&first), vec![first]);
        while rows < GROUP_MAX
            && let Ok(job) = jobs.try_recv()
        {
            rows += size(&job);
            group.push(job);
        }
        let context = writer.context.clone();
        let busy = context.meter.busy();
        if writer.together(&group).await {
            drop(busy);
            context.meter.transaction_ops.record(rows as u64);
            group.into_iter().for_each(|job| writer.answer(job, BatchOutcome::Committed));
            continue;
        }
        for job in group {
            let outcome = writer.settle(&job.batch).await;
            if outcome == BatchOutcome::Committed {
                writer.lanes.insert(job.batch.writer.lane);
                context.meter.transaction_ops.record(size(&job) as u64);
            }
            writer.answer(job, outcome);
        }
    }
}

/// Rows and writes of a batch.
fn size(job: &WriteJob) -> usize {
    job.batch.events.len() + job.batch.writes.len()
}

async fn next(context: &Context, jobs: &mut mpsc::UnboundedReceiver<WriteJob>) -> Option<WriteJob> {
    tokio::select! {
        biased;
        job = jobs.recv() => return job,
        () = context.closing() => jobs.close(),
    }
    jobs.recv().await
}

impl Writer {
    fn answer(&self, WriteJob { shard, batch }: WriteJob, outcome: BatchOutcome) {
        let meter = &self.context.meter;
        match &outcome {
            BatchOutcome::Committed => {
                meter.batches.fetch_add(1, Relaxed);
                meter.events.fetch_add(batch.events.len() as u64, Relaxed);
                self.context.pending.note(batch.events.iter().map(|event| event.room_id));
            }
            BatchOutcome::Conflict { .. } => drop(meter.conflicts.fetch_add(1, Relaxed)),
            BatchOutcome::Refused { .. } => drop(meter.refused.fetch_add(1, Relaxed)),
        }
        meter.batches_waiting.fetch_sub(1, Relaxed);
        self.context.completions.stored(shard, batch.writer, outcome);
    }

    /// One attempt at all of them in one transaction; whether they are committed. If not, nothing is known of them.
    async fn together(&mut self, group: &[WriteJob]) -> bool {
        let batches: Vec<&Batch> = group.iter().map(|job| &*job.batch).collect();
        if !batches.iter().all(|batch| self.lanes.contains(&batch.writer.lane)) {
            return false;
        }
        self.context.wait_held().await;
        let session = self.connected().await;
        let (mix, begun) = (self.context.incarnation(), Instant::now());
        match timeout(ATTEMPT.0, write_group(&session, &batches, mix)).await {
            Ok(Ok(())) => {
                self.session = Some(session);
                self.context.meter.commit_us.record_us(begun.elapsed());
                self.context.fine();
                return true;
            }
            Ok(Err(error)) => {
                if matches!(fault(&error), Fault::Unique | Fault::Data | Fault::Shut) {
                    self.session = Some(session);
                } else {
                    self.context.trouble(describe(&error));
                }
            }
            Err(_) => {
                self.left_behind = Some(session.pid);
                self.context.trouble("batches were not committed in time");
            }
        }
        self.context.meter.retries.fetch_add(1, Relaxed);
        false
    }

    /// Tries until the outcome is known.
    async fn settle(&mut self, batch: &Batch) -> BatchOutcome {
        let (mut patience, mut pause) = (ATTEMPT.0, PAUSE.0);
        loop {
            self.context.wait_held().await;
            let session = self.connected().await;
            let mix = self.context.incarnation();
            let begun = Instant::now();
            let end = match timeout(patience, attempt(&session, batch, mix)).await {
                Ok(end) => end,
                Err(_) => {
                    self.left_behind = Some(session.pid);
                    drop(session);
                    patience = (patience * 2).min(ATTEMPT.1);
                    self.context.meter.retries.fetch_add(1, Relaxed);
                    self.context.trouble("a batch was not committed in time");
                    continue;
                }
            };
            // What fails on one connection (a stale plan, a server that became read-only) may pass on a new one.
            if !session.client.is_closed() && matches!(end, Attempt::Known(_) | Attempt::Again { keep: true, .. }) {
                self.session = Some(session);
            }
            match end {
                Attempt::Known(outcome) => {
                    self.context.meter.commit_us.record_us(begun.elapsed());
                    self.context.fine();
                    return outcome;
                }
                Attempt::Again { reason, .. } => self.context.trouble(reason),
                Attempt::Over(reason) => self.context.fatal(StoreError::Locked(reason)).await,
            }
            self.context.meter.retries.fetch_add(1, Relaxed);
            tokio::time::sleep(jittered(pause)).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    async fn connected(&mut self) -> Session {
        if let Some(session) = self.session.take().filter(|session| !session.client.is_closed()) {
            return session;
        }
        if std::mem::replace(&mut self.connected_before, true) {
            self.context.meter.reconnects.fetch_add(1, Relaxed);
        }
        let session = self.context.connector.connect(Purpose::Write, |reason| self.context.trouble(reason)).await;
        if let Some(pid) = self.left_behind.take() {
            // Only to be quicker: the fence makes a late commit harmless, and we would wait for its row lock.
            let name = application_name(self.context.epoch);
            let _ = timeout(ATTEMPT.0, session.client.execute(TERMINATE, &[&pid, &name])).await;
        }
        session
    }
}

fn read_only(error: &Error) -> bool {
    error.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION)
}

async fn attempt(session: &Session, batch: &Batch, mix: u64) -> Attempt {
    let events: Vec<&EventRow> = batch.events.iter().collect();
    let writes: Vec<&Write> = batch.writes.iter().collect();
    let error = match write(session, batch, &events, &writes, mix).await {
        Ok(()) => return Attempt::Known(BatchOutcome::Committed),
        Err(error) => error,
    };
    let found = match fault(&error) {
        Fault::Applied => return Attempt::Known(BatchOutcome::Committed),
        Fault::Superseded => return Attempt::Over(describe(&error)),
        Fault::Unavailable => return Attempt::Again { reason: describe(&error), keep: !read_only(&error) },
        Fault::Query | Fault::Shut => return Attempt::Again { reason: describe(&error), keep: false },
        Fault::Unique => conflict::classify(session, batch).await,
        Fault::Data => bisect::find_guilty(session, batch, mix, &describe(&error)).await,
    };
    match found {
        Ok(Some(outcome)) => Attempt::Known(outcome),
        Ok(None) => Attempt::Again { reason: format!("unexplained: {}", describe(&error)), keep: true },
        Err(error) => Attempt::Again { reason: describe(&error), keep: false },
    }
}

/// One transaction, one flush: all statements between BEGIN and COMMIT without waiting for any.
async fn write(
    session: &Session,
    batch: &Batch,
    events: &[&EventRow],
    writes: &[&Write],
    mix: u64,
) -> Result<(), Error> {
    let writer = batch.writer;
    let mut plan = vec![planned!(FENCE, writer.epoch, lane_number(writer.lane), writer.number)];
    if !events.is_empty() {
        let mut params = event_arrays(events);
        params.extend(more_event_arrays(events));
        plan.push(Planned { sql: EVENTS, params });
    }
    plan.extend(plan_writes(writes, mix));
    send(session, &plan, &["BEGIN"], &["COMMIT"]).await.map(|_| ())
}

/// As [`write`], for batches of several lanes whose rows are there; where they have nothing but events, one statement.
async fn write_group(session: &Session, batches: &[&Batch], mix: u64) -> Result<(), Error> {
    let gated = gated(batches);
    let writes: Vec<&Write> = batches.iter().flat_map(|batch| &batch.writes).collect();
    if writes.is_empty() {
        let statement = session.statement(gated.sql).await?;
        return session.client.execute_raw(&statement, gated.borrowed()).await.map(|_| ());
    }
    let mut plan = vec![gated];
    plan.extend(plan_writes(&writes, mix));
    send(session, &plan, &["BEGIN"], &["COMMIT"]).await.map(|_| ())
}

fn gated(batches: &[&Batch]) -> Planned {
    let epoch = batches.first().expect("a group has a batch").writer.epoch;
    let lanes: Vec<i32> = batches.iter().map(|batch| lane_number(batch.writer.lane)).collect();
    let numbers: Vec<i64> = batches.iter().map(|batch| batch.writer.number).collect();
    let mut params: Vec<Param> = vec![Box::new(epoch), Box::new(lanes), Box::new(numbers)];
    let events: Vec<&EventRow> = batches.iter().flat_map(|batch| &batch.events).collect();
    if events.is_empty() {
        return Planned { sql: GATE, params };
    }
    params.extend(event_arrays(&events));
    if events.iter().all(|event| event.mentions.is_empty() && event.reason.is_none()) {
        return Planned { sql: EVENTS_GATED, params };
    }
    params.extend(more_event_arrays(&events));
    Planned { sql: EVENTS_GATED_MORE, params }
}

fn lane_number(lane: u32) -> i32 {
    i32::try_from(lane).expect("few lanes")
}

/// What the server will say to one statement.
type Answer<'a> = Pin<Box<dyn Future<Output = Result<u64, Error>> + Send + 'a>>;

/// Sends `before`, the statements and `after` in one go; the rows that the statements met, or the first error. After
/// an error within a transaction the server ignores the rest, and COMMIT rolls back whatever it says.
pub(super) async fn send(
    session: &Session,
    plan: &[Planned],
    before: &[&'static str],
    after: &[&'static str],
) -> Result<u64, Error> {
    let mut statements = Vec::with_capacity(plan.len());
    for planned in plan {
        statements.push(session.statement(planned.sql).await?);
    }
    let client = &session.client;
    let mut sent: Vec<Answer<'_>> = Vec::new();
    for sql in before {
        sent.push(Box::pin(async move { client.batch_execute(sql).await.map(|()| 0) }));
    }
    for (statement, planned) in statements.iter().zip(plan) {
        sent.push(Box::pin(async move { client.execute_raw(statement, planned.borrowed()).await }));
    }
    for sql in after {
        sent.push(Box::pin(async move { client.batch_execute(sql).await.map(|()| 0) }));
    }
    // The futures are polled in order the first time, so their messages are queued in order; join_all waits for all
    // answers, so the connection is clean afterwards.
    join_all(sent).await.into_iter().sum()
}
