//! The writing thread: everything that waits goes into one transaction (group commit), is committed once, and only
//! then answered. A transaction that fails is tried again until it succeeds: batches are never dropped.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError};
use rusqlite::{Connection, Error};
use tokio::sync::oneshot;
use veza_engine::id::ShardId;
use veza_engine::input::Identity;
use veza_engine::store::{Batch, BatchOutcome, LoadError, Loaded};
use veza_engine::time::WallMs;

use super::chores::Chores;
use super::{AuthReply, Shared, Ticket, account, batch, identify};
use crate::store::{AuthAnswer, AuthError, AuthRequest, StoreError};

/// Jobs in one transaction.
const GROUP_MAX: usize = 512;
/// First pause after a failed transaction, doubled up to the longest.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// What the writer is given.
pub(super) enum Job {
    /// Of the engine; repeated until it is decided.
    Batch { shard: ShardId, batch: Box<Batch> },
    /// Of anybody; answered `Unavailable` when the transaction fails.
    Call(Call),
    /// Do all that is otherwise done in the background, as if it were then.
    Upkeep { now: WallMs, reply: oneshot::Sender<Result<(), StoreError>> },
    /// Finish what came before, and end.
    Close,
}

/// A write that is no batch.
pub(super) enum Call {
    /// Make or rename a user.
    Provision { ticket: Ticket, identity: Box<Identity> },
    /// A block of room ids.
    Reserve { ticket: Ticket, count: u32 },
    /// Nothing to write: see whether the database is there.
    Probe,
    /// The server's own users.
    Auth { request: AuthRequest, reply: AuthReply },
}

impl Call {
    /// Nothing was written, or nobody knows.
    pub(super) fn unavailable(self) {
        match self {
            Call::Provision { ticket, .. } | Call::Reserve { ticket, .. } => ticket.answer(Err(LoadError::Unavailable)),
            // The control thread may have given up; then nobody is to be told.
            Call::Auth { reply, .. } => drop(reply.send(Err(AuthError::Unavailable))),
            Call::Probe => {}
        }
    }
}

/// What a job came to; told only after the commit.
enum Done {
    Batch(BatchOutcome),
    Load(Result<Loaded, LoadError>),
    Auth(Result<AuthAnswer, AuthError>),
    Nothing,
}

/// The thread's state.
pub(super) struct Writer {
    shared: Arc<Shared>,
    connection: Connection,
    jobs: Receiver<Job>,
    group: Vec<Job>,
    chores: Chores,
    /// Somebody wants them done at once.
    asked: Vec<(WallMs, oneshot::Sender<Result<(), StoreError>>)>,
    closing: bool,
}

impl Writer {
    /// With the connection that it alone uses.
    pub(super) fn new(shared: Arc<Shared>, connection: Connection, jobs: Receiver<Job>) -> Writer {
        let chores = Chores::new(&shared);
        Writer { shared, connection, jobs, group: Vec::new(), chores, asked: Vec::new(), closing: false }
    }

    /// Until closed.
    pub(super) fn run(mut self) {
        while !self.closing {
            let job = match self.chores.due() {
                Some(due) => self.jobs.recv_deadline(due),
                None => self.jobs.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match job {
                Ok(job) => self.take(job),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.take_waiting();
            if !self.group.is_empty() {
                self.commit_group();
                self.chores.was_active();
            }
            self.do_chores();
        }
        // A tidy file for whoever copies it; the log alone would do.
        let _ = self.connection.execute_batch("PRAGMA optimize; PRAGMA wal_checkpoint(TRUNCATE);");
    }

    fn take(&mut self, job: Job) {
        match job {
            Job::Close => self.closing = true,
            Job::Upkeep { now, reply } => self.asked.push((now, reply)),
            job => {
                self.count(&job);
                self.group.push(job);
            }
        }
    }

    fn do_chores(&mut self) {
        if self.closing {
            return;
        }
        for (now, reply) in std::mem::take(&mut self.asked) {
            let done = self.chores.finish(&self.shared, &mut self.connection, now);
            // Whoever asked may have gone.
            let _ = reply.send(done.map_err(|error| StoreError::Failed(error.to_string())));
        }
        self.chores.step(&self.shared, &mut self.connection);
    }

    fn count(&self, job: &Job) {
        if let Job::Call(_) = job {
            self.shared.calls_waiting.fetch_sub(1, Relaxed);
        }
    }

    fn take_waiting(&mut self) {
        while !self.closing && self.group.len() < GROUP_MAX {
            match self.jobs.try_recv() {
                Ok(job) => self.take(job),
                Err(_) => break,
            }
        }
    }

    /// Until the group is committed and answered. When closing, a database that is away ends it: without an answer
    /// nothing was promised.
    fn commit_group(&mut self) {
        let mut pause = PAUSE_MIN;
        let shared = self.shared.clone();
        let _busy = shared.meter.busy();
        while !self.group.is_empty() {
            let begun = Instant::now();
            match self.attempt() {
                Ok(done) => {
                    self.shared.meter.commit_us.record_us(begun.elapsed());
                    self.shared.meter.went_up();
                    return self.answer(done);
                }
                Err(error) => self.failed(&error),
            }
            if self.closing {
                tracing::error!(jobs = self.group.len(), "closing while the database is away: these have no outcome");
                self.group.clear();
                return;
            }
            self.wait(pause);
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// One transaction. After an error, also one of COMMIT itself, the next attempt finds out by the fence rows
    /// which batches are in.
    fn attempt(&mut self) -> Result<Vec<Done>, Error> {
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        let mut done = Vec::with_capacity(self.group.len());
        let mut ops = 0;
        for job in &self.group {
            done.push(match job {
                Job::Batch { batch, .. } => {
                    ops += batch.events.len() + batch.writes.len();
                    Done::Batch(batch::apply(&self.connection, batch, self.shared.incarnation)?)
                }
                Job::Call(Call::Provision { identity, .. }) => {
                    Done::Load(Ok(Loaded::User(Some(identify::provision(&self.connection, identity)?))))
                }
                Job::Call(Call::Reserve { count, .. }) => {
                    Done::Load(Ok(Loaded::Reserved(account::reserve(&self.connection, "room", *count)?)))
                }
                Job::Call(Call::Auth { request, .. }) => Done::Auth(account::serve(&self.connection, request)?),
                Job::Call(Call::Probe) | Job::Upkeep { .. } | Job::Close => Done::Nothing,
            });
        }
        self.connection.execute_batch("COMMIT")?;
        self.shared.meter.transaction_ops.record(ops as u64);
        Ok(done)
    }

    fn answer(&mut self, done: Vec<Done>) {
        let meter = &self.shared.meter;
        for (job, done) in self.group.drain(..).zip(done) {
            match (job, done) {
                (Job::Batch { shard, batch }, Done::Batch(outcome)) => {
                    meter.batches_waiting.fetch_sub(1, Relaxed);
                    match &outcome {
                        BatchOutcome::Committed => {
                            meter.batches.fetch_add(1, Relaxed);
                            meter.events.fetch_add(batch.events.len() as u64, Relaxed);
                            self.chores.note(batch.events.iter().map(|event| event.room_id));
                        }
                        BatchOutcome::Conflict { .. } => drop(meter.conflicts.fetch_add(1, Relaxed)),
                        BatchOutcome::Refused { cause, .. } => {
                            tracing::error!(%cause, "the database refuses a write");
                            meter.refused.fetch_add(1, Relaxed);
                        }
                    }
                    self.shared.completions.stored(shard, batch.writer, outcome);
                }
                (Job::Call(Call::Provision { ticket, .. } | Call::Reserve { ticket, .. }), Done::Load(result)) => {
                    ticket.answer(result);
                }
                (Job::Call(Call::Auth { reply, .. }), Done::Auth(result)) => drop(reply.send(result)),
                (Job::Call(Call::Probe), Done::Nothing) => {}
                _ => unreachable!("each job has a result of its kind"),
            }
        }
    }

    fn failed(&mut self, error: &Error) {
        if !self.connection.is_autocommit() {
            let _ = self.connection.execute_batch("ROLLBACK");
        }
        self.shared.meter.retries.fetch_add(1, Relaxed);
        self.shared.meter.went_down(error.to_string());
        for job in std::mem::take(&mut self.group) {
            match job {
                Job::Call(call) => call.unavailable(),
                job => self.group.push(job),
            }
        }
        if self.group.is_empty() {
            // Somebody must notice the recovery, also where nobody sends any more.
            self.group.push(Job::Call(Call::Probe));
        }
    }

    /// Pauses; what comes meanwhile joins the group, calls are turned away.
    fn wait(&mut self, pause: Duration) {
        let until = Instant::now() + pause;
        while !self.closing {
            match self.jobs.recv_deadline(until) {
                Ok(job @ Job::Call(_)) => {
                    self.count(&job);
                    if let Job::Call(call) = job {
                        call.unavailable();
                    }
                }
                Ok(job) => self.take(job),
                Err(RecvTimeoutError::Timeout) => return,
                Err(RecvTimeoutError::Disconnected) => self.closing = true,
            }
        }
    }
}
