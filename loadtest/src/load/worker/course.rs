//! The course of a run in one worker: when what is done that no socket brings.

use super::super::clock::{SECOND_NS, now_ns, thread_cpu_ns};
use super::super::scenario::Arrivals;
use super::super::wire::{Control, DoneReport, Report};
use super::client::{Asked, Stage};
use super::histories::{self, Book};
use super::{Worker, second_end};
use std::cmp::Reverse;
use std::sync::mpsc::{Receiver, TryRecvError};

/// Between two looks at what has no time of its own.
const TICK_NS: u64 = 20_000_000;
/// Arrivals that are made up for in one go; the sockets' turn is next.
const ARRIVALS_MAX: usize = 64;

/// Where a worker stands.
#[derive(Debug)]
pub enum Phase {
    /// Clients come.
    Entering {
        /// Patience with them.
        until_ns: u64,
    },
    /// All are there; the beginning is not known yet, or not reached.
    Waiting,
    /// Warm-up and measured time.
    Load,
    /// What is under way is to be answered, whoever is away is to come back.
    Quieting {
        /// Patience with that.
        until_ns: u64,
    },
    /// The other workers are not quiet yet.
    Quiet,
    /// Histories are being read.
    Reading(Receiver<Result<Vec<Book>, String>>),
    /// The last events are on their way.
    CatchingUp {
        /// What the histories say.
        books: Vec<Book>,
        /// Patience with them.
        until_ns: u64,
    },
    /// Reported.
    Over,
}

impl PartialEq for Phase {
    fn eq(&self, other: &Phase) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

/// What is to be done at its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// A look around.
    Tick,
    /// A second is over.
    Second,
    /// The measured time begins or ends.
    Border,
    /// The next cut.
    Cut,
    /// Readers stall.
    Stall,
    /// They read again.
    Unstall,
    /// A client wants back.
    Return(usize),
}

impl Worker {
    /// Does what is due.
    pub fn run_due(&mut self, now: u64) {
        while let Some(Reverse((at, timer))) = self.timers.peek().copied()
            && at <= now
        {
            self.timers.pop();
            self.timer(timer, at, now);
        }
        for _ in 0..ARRIVALS_MAX {
            if self.next_arrival_ns > now {
                break;
            }
            let intended = self.next_arrival_ns;
            self.next_arrival_ns = intended + self.interval_ns();
            self.arrival(intended);
        }
    }

    fn timer(&mut self, timer: Timer, at: u64, now: u64) {
        match timer {
            Timer::Tick => {
                self.timers.push(Reverse((now + TICK_NS, Timer::Tick)));
                self.look_around(now);
            }
            Timer::Second => self.second_is_over(),
            Timer::Border => self.border(at),
            Timer::Cut if self.phase == Phase::Load => self.cut(at, now),
            Timer::Stall if self.phase == Phase::Load => self.stall(),
            Timer::Unstall => self.unstall(),
            Timer::Return(client) => self.wants_back(client, at),
            Timer::Cut | Timer::Stall => {}
        }
    }

    fn second_is_over(&mut self) {
        let report = self.tally.rotate(self.connected, self.table.len() as u64);
        self.timers.push(Reverse((second_end(self.borders.0, report.index + 1), Timer::Second)));
        self.reports.push_back(Report::Second(report));
    }

    fn border(&mut self, at: u64) {
        if at < self.borders.2 {
            self.tally.cpu_ns.0 = thread_cpu_ns();
            self.tally.connections = self.connected;
        } else {
            self.stop(now_ns());
        }
    }

    /// The load begins at that time.
    fn begin(&mut self, at_ns: u64) {
        let from = at_ns + self.scenario.warmup.us() * 1000;
        let to = from + self.scenario.duration.us() * 1000;
        self.borders = (at_ns, from, to);
        self.phase = Phase::Load;
        self.tally.cpu_begin_ns = thread_cpu_ns();
        let mut timers = vec![(second_end(at_ns, 0), Timer::Second), (from, Timer::Border), (to, Timer::Border)];
        if self.scenario.cut.share > 0.0 {
            timers.push((from + self.scenario.cut.after.us() * 1000, Timer::Cut));
        }
        if self.scenario.stall.share > 0.0 {
            let stall = from + self.scenario.stall.after.us() * 1000;
            timers.extend([(stall, Timer::Stall), (stall + self.scenario.stall.lasts.us() * 1000, Timer::Unstall)]);
        }
        self.timers.extend(timers.into_iter().map(Reverse));
        if self.scenario.rate() > 0.0 {
            let interval = self.interval_ns();
            // Workers do not all begin at once.
            let phase = (interval as f64 * self.order.worker as f64 / self.order.workers as f64) as u64;
            self.next_arrival_ns = at_ns + phase + interval;
        }
    }

    /// The load ends.
    fn stop(&mut self, now: u64) {
        if self.phase != Phase::Load {
            return;
        }
        self.tally.cpu_ns.1 = thread_cpu_ns();
        self.borders.2 = self.borders.2.min(now);
        self.next_arrival_ns = u64::MAX;
        self.phase = Phase::Quieting { until_ns: now + self.scenario.patience.us() * 1000 };
        self.unstall();
    }

    /// Time to the next arrival at this worker.
    fn interval_ns(&mut self) -> u64 {
        let rate = self.scenario.rate() * self.clients.len() as f64 / self.scenario.users as f64;
        let mean = SECOND_NS as f64 / rate;
        let interval = match self.scenario.load.arrivals {
            Arrivals::Even => mean,
            Arrivals::Poisson => -mean * (1.0 - self.dice.unit()).ln(),
        };
        (interval as u64).max(1)
    }

    /// Keeps the closed loop full.
    pub fn refill(&mut self) {
        if self.phase != Phase::Load || self.scenario.load.in_flight == 0 {
            return;
        }
        let (worker, workers) = (self.order.worker, self.order.workers);
        let all = self.scenario.load.in_flight;
        let share = all * (worker + 1) / workers - all * worker / workers;
        let now = now_ns();
        while now >= self.borders.0 && self.closed < share && self.arrival(now) {}
    }

    /// Commands, and phases that end by what is there.
    fn look_around(&mut self, now: u64) {
        match self.controls.try_recv() {
            Ok(Control::Begin { at_ns }) => self.begin(at_ns),
            Ok(Control::Stop) => self.stop(now),
            Ok(Control::Verify) => self.phase = Phase::Reading(histories::read(self)),
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => self.failed = Some("nobody wants this run any more".into()),
        }
        match &mut self.phase {
            Phase::Entering { until_ns } => {
                let until_ns = *until_ns;
                self.entering(now, until_ns);
            }
            Phase::Quieting { until_ns } => {
                let until_ns = *until_ns;
                self.quieting(now, until_ns);
            }
            Phase::Reading(books) => match books.try_recv() {
                Ok(Ok(books)) => {
                    let until_ns = now + self.scenario.patience.us() * 1000;
                    self.phase = Phase::CatchingUp { books, until_ns };
                }
                Ok(Err(reason)) => self.failed = Some(format!("histories cannot be read: {reason}")),
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => self.failed = Some("histories cannot be read".into()),
            },
            Phase::CatchingUp { books, until_ns } => {
                let late = now >= *until_ns;
                if late || histories::caught_up(&self.clients, books) {
                    let books = std::mem::take(books);
                    self.finish(&books);
                }
            }
            Phase::Waiting | Phase::Load | Phase::Quiet | Phase::Over => {}
        }
    }

    fn entering(&mut self, now: u64, until_ns: u64) {
        if self.ready == self.clients.len() {
            self.phase = Phase::Waiting;
            self.reports.push_back(Report::Ready);
        } else if now > until_ns {
            let (ready, all, last) = (self.ready, self.clients.len(), &self.last_failure);
            self.failed = Some(format!("only {ready} of {all} clients are in their rooms; the last failure: {last}"));
        }
    }

    fn quieting(&mut self, now: u64, until_ns: u64) {
        let waiting = self.clients.iter().any(|client| !client.queue.is_empty() || !client.unknown.is_empty());
        let quiet = self.ready == self.clients.len() && self.table.len() == 0 && !waiting;
        if !quiet && now <= until_ns {
            return;
        }
        let back = |client: &&super::client::Client| client.stage != Stage::Ready;
        let away = self.clients.iter().filter(back).count();
        if away > 0 {
            self.ledger.violations.add(format!("{away} clients are not back; the last failure: {}", self.last_failure));
        }
        let commands: Vec<Asked> = self.table.iter().map(|pending| pending.asked).collect();
        for asked in commands {
            self.ledger.violations.add(format!("a command was never answered: {asked:?}"));
        }
        self.phase = Phase::Quiet;
        self.reports.push_back(Report::Quiet);
    }

    fn finish(&mut self, books: &[Book]) {
        histories::compare(self, books);
        if self.ledger.forgotten > 0 {
            let what = "older events were checked as they came, and not held against the histories";
            self.notes.push(format!("{} {what}", self.ledger.forgotten));
        }
        if self.spared > 0 {
            self.notes.push(format!("cuts found {} clients that were not back from the one before", self.spared));
        }
        self.reports.push_back(Report::Done(Box::new(DoneReport {
            connections: self.tally.connections,
            counts: std::mem::take(&mut self.tally.counts),
            latency: self.tally.latencies(),
            cpu_ns: self.tally.cpu_ns.1.saturating_sub(self.tally.cpu_ns.0),
            violations: std::mem::take(&mut self.ledger.violations),
            checked_events: self.ledger.checked,
            notes: std::mem::take(&mut self.notes),
        })));
        self.phase = Phase::Over;
    }
}
