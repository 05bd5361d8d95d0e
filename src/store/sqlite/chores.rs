//! The writer's work between transactions: the search index, and what is removed in the background. It is done in small
//! steps: one after the other while nobody writes, and in a share of the time while somebody does, which grows when the
//! index falls behind.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use rusqlite::{Connection, Error};
use veza_engine::id::RoomId;
use veza_engine::time::WallMs;

use super::Shared;
use super::index::Pending;
use super::upkeep::Pass;
use crate::store::report::wall_now;

/// From the first event that is not indexed to the step that does it: several at a time cost less.
const GATHER: Duration = Duration::from_millis(250);
/// Without a job for so long, nobody is writing.
const IDLE: Duration = Duration::from_millis(5);
/// While somebody writes, a step is followed by so many times its duration without one.
const SHARE: u32 = 12;
/// The same while the index is more than [`BEHIND_MS`] behind.
const SHARE_BEHIND: u32 = 6;
const BEHIND_MS: i64 = 1000;
/// Pause after a step that failed.
const PAUSE: Duration = Duration::from_secs(1);

/// What is to be done, and when.
pub(super) struct Chores {
    pending: Pending,
    pass: Option<Pass>,
    /// When the next pass begins; `None`: never by itself.
    next_pass: Option<Instant>,
    /// No step on the index before.
    index_at: Instant,
    /// No step at all before, unless nobody writes.
    rest_until: Instant,
    /// The last job of somebody.
    active_at: Instant,
    /// No step at all before: the last one failed.
    failed_until: Instant,
}

impl Chores {
    /// Everything may be behind; the first pass begins soon.
    pub(super) fn new(shared: &Shared) -> Chores {
        let now = Instant::now();
        Chores {
            pending: Pending::new(),
            pass: None,
            next_pass: now.checked_add(shared.upkeep_every),
            index_at: now,
            rest_until: now,
            active_at: now,
            failed_until: now,
        }
    }

    /// Events of these rooms are committed.
    pub(super) fn note(&mut self, rooms: impl Iterator<Item = RoomId>) {
        let idle = self.pending.is_empty();
        let mut last = None;
        for room_id in rooms {
            // Mostly several of one room follow each other.
            if last.replace(room_id) != Some(room_id) {
                self.pending.note(room_id);
            }
        }
        if idle && last.is_some() {
            self.index_at = Instant::now() + GATHER;
        }
    }

    /// Somebody's jobs were done.
    pub(super) fn was_active(&mut self) {
        self.active_at = Instant::now();
    }

    /// When the next step may be done; `None`: when there is news.
    pub(super) fn due(&self) -> Option<Instant> {
        let index = (!self.pending.is_empty()).then_some(self.index_at);
        let pass = if self.pass.is_some() { Some(self.active_at) } else { self.next_pass };
        let soonest = index.into_iter().chain(pass).min()?;
        let rested = self.rest_until.min(self.active_at + IDLE);
        Some(soonest.max(rested).max(self.failed_until))
    }

    /// Does a step, if it is time.
    pub(super) fn step(&mut self, shared: &Shared, connection: &mut Connection) {
        let begun = Instant::now();
        if self.due().is_some_and(|due| due <= begun) {
            if let Err(error) = self.work(shared, connection, begun) {
                tracing::warn!(%error, "work in the background failed, and is tried again");
                self.failed_until = begun + PAUSE;
            }
            let (_, since) = self.pending.waiting();
            let behind = since > 0 && wall_now().0 - since as i64 > BEHIND_MS;
            self.rest_until = Instant::now() + begun.elapsed() * if behind { SHARE_BEHIND } else { SHARE };
        }
        self.publish(shared);
    }

    fn work(&mut self, shared: &Shared, connection: &mut Connection, now: Instant) -> Result<(), Error> {
        if !self.pending.is_empty() && self.index_at <= now {
            self.index(shared, connection)?;
            return Ok(());
        }
        if self.next_pass.is_some_and(|next| next <= now) {
            self.next_pass = now.checked_add(shared.upkeep_every);
            if self.pass.is_none() {
                self.pass = Some(Pass::new(wall_now(), shared.grace_ms));
            }
        }
        if let Some(mut pass) = self.pass.take() {
            let done = tidy(shared, connection, &mut pass);
            self.pass = Some(pass).filter(|pass| !pass.done());
            done?;
        }
        Ok(())
    }

    fn index(&mut self, shared: &Shared, connection: &Connection) -> Result<(), Error> {
        let count = self.pending.step(connection)?;
        shared.meter.search_indexed.fetch_add(count, Relaxed);
        Ok(())
    }

    /// Does all there is, as if it were `now`.
    pub(super) fn finish(&mut self, shared: &Shared, connection: &mut Connection, now: WallMs) -> Result<(), Error> {
        while !self.pending.is_empty() {
            self.index(shared, connection)?;
        }
        let mut pass = Pass::new(now, shared.grace_ms);
        while !pass.done() {
            tidy(shared, connection, &mut pass)?;
        }
        self.publish(shared);
        Ok(())
    }

    fn publish(&self, shared: &Shared) {
        let (rooms, since) = self.pending.waiting();
        shared.meter.search_pending.store(rooms, Relaxed);
        shared.meter.search_since.store(since, Relaxed);
    }
}

/// One step of removing.
fn tidy(shared: &Shared, connection: &mut Connection, pass: &mut Pass) -> Result<(), Error> {
    let outcome = pass.step(connection)?;
    shared.meter.upkeep_rows.fetch_add(outcome.rows, Relaxed);
    if let Some((room_id, floor)) = outcome.retained {
        shared.completions.retained(room_id, floor);
    }
    Ok(())
}
