//! A worker: many clients on one thread, around one epoll instance. It does as little for a frame as will do, so that the
//! generator is not what is measured.

mod client;
mod connecting;
mod course;
mod histories;
mod inflate;
mod ledger;
mod pushes;
mod replies;
mod scan;
mod socket;
mod tally;
mod verbs;

use super::clock::{SECOND_NS, now_ns};
use super::plan;
use super::scenario::{Kind, Scenario};
use super::wire::{Control, Order, Report};
use crate::dice::Dice;
use crate::token;
use client::{Client, Place, Stage, Table};
use course::{Phase, Timer};
use ledger::Ledger;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::time::{TimeSpec, TimeValLike as _};
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use socket::Link;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::io::{BufRead as _, BufReader, Read, Write};
use std::sync::mpsc::{self, Receiver};
use tally::Tally;
use verbs::Wheel;

/// The token of the timer among those of clients.
const TIMER: u64 = u64::MAX;
/// Events taken from the kernel at a time.
const EVENTS: usize = 256;

/// Runs one worker: an order and controls come in as lines, reports go out. Ends with the input, or with its last report.
pub fn serve(input: impl Read + Send + 'static, output: impl Write + 'static) {
    let mut lines = BufReader::new(input).lines();
    let Some(Ok(order)) = lines.next() else { return };
    let mut output: Box<dyn Write> = Box::new(output);
    let (send, controls) = mpsc::channel();
    // A thread of its own, so that the loop waits for sockets alone. It ends with the input.
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            let Ok(control) = serde_json::from_str::<Control>(&line) else { return };
            if send.send(control).is_err() {
                return;
            }
        }
    });
    let made =
        serde_json::from_str(&order).map_err(|error| error.to_string()).and_then(|order| Worker::new(order, controls));
    let failed = match made {
        Ok(mut worker) => worker.run(&mut output).err(),
        Err(reason) => Some(reason),
    };
    if let Some(reason) = failed {
        // If nobody reads it, nobody wants it.
        let _ = report(&mut output, &Report::Failed(reason));
    }
}

fn report(output: &mut dyn Write, what: &Report) -> Result<(), String> {
    let mut line = serde_json::to_vec(what).map_err(|error| error.to_string())?;
    line.push(b'\n');
    output.write_all(&line).and_then(|()| output.flush()).map_err(|error| error.to_string())
}

/// Everything that a worker knows.
struct Worker {
    order: Order,
    scenario: Scenario,
    controls: Receiver<Control>,
    epoll: Epoll,
    timer: TimerFd,
    /// What the timer is set to.
    armed_ns: u64,
    clients: Vec<Client>,
    ledger: Ledger,
    /// Clients that own a room, by its number; only those of this worker.
    owners: HashMap<usize, usize>,
    table: Table,
    tally: Tally,
    dice: Dice,
    wheel: Wheel,
    timers: BinaryHeap<Reverse<(u64, Timer)>>,
    next_arrival_ns: u64,
    /// Commands of the closed loop under way.
    closed: usize,
    phase: Phase,
    /// Beginning, and the measured time, ns.
    borders: (u64, u64, u64),
    to_connect: VecDeque<usize>,
    /// Connections that are not ready yet.
    under_way: usize,
    next_connect_ns: u64,
    /// Open and authenticated.
    connected: u64,
    /// Clients that are ready.
    ready: usize,
    last_failure: String,
    notes: Vec<String>,
    /// Clients that a cut found away already.
    spared: u64,
    reports: VecDeque<Report>,
    failed: Option<String>,
}

impl Worker {
    fn new(order: Order, controls: Receiver<Control>) -> Result<Worker, String> {
        let scenario = order.scenario.clone();
        let kernel = |error: nix::errno::Errno| error.to_string();
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(kernel)?;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC).map_err(kernel)?;
        epoll.add(&timer, EpollEvent::new(EpollFlags::EPOLLIN, TIMER)).map_err(kernel)?;
        let mut ledger = Ledger::new(plan::room_count(&scenario), scenario.users);
        for (room, id) in order.rooms.iter().enumerate() {
            ledger.rooms[room].id = *id;
        }
        let mut worker = Worker {
            clients: Vec::new(),
            owners: HashMap::new(),
            dice: Dice::new(scenario.seed ^ (order.worker as u64) << 32),
            wheel: Wheel::new(&scenario.verbs),
            order,
            scenario,
            controls,
            epoll,
            timer,
            armed_ns: 0,
            ledger,
            table: Table::default(),
            tally: Tally::new(),
            timers: BinaryHeap::new(),
            next_arrival_ns: u64::MAX,
            closed: 0,
            phase: Phase::Entering { until_ns: 0 },
            borders: (u64::MAX, u64::MAX, u64::MAX),
            to_connect: VecDeque::new(),
            under_way: 0,
            next_connect_ns: 0,
            connected: 0,
            ready: 0,
            last_failure: "none was refused".into(),
            notes: Vec::new(),
            spared: 0,
            reports: VecDeque::new(),
            failed: None,
        };
        worker.enroll();
        Ok(worker)
    }

    /// Makes this worker's clients, who all want in.
    fn enroll(&mut self) {
        let (order, scenario) = (&self.order, &self.scenario);
        let creators = plan::creators(scenario);
        for (user, rooms) in plan::memberships(scenario).into_iter().enumerate() {
            if plan::worker_of(user, order.workers) != order.worker {
                continue;
            }
            let id = |room: usize| order.rooms.get(room).copied().unwrap_or(0);
            let places: Vec<Place> =
                rooms.into_iter().map(|room| Place::new(room as usize, id(room as usize))).collect();
            let token = token::for_run(&order.secret, &plan::subject(&order.run, user));
            let number = self.clients.len();
            for place in &places {
                if creators[place.room] == user && scenario.kind == Kind::Room && !scenario.reuse_rooms {
                    self.owners.insert(place.room, number);
                }
            }
            self.clients.push(Client::new(user, token, places));
        }
        let now = now_ns();
        self.phase = Phase::Entering { until_ns: now + scenario.patience.us() * 1000 };
        self.timers.push(Reverse((now, Timer::Tick)));
        let (share, users) = (scenario.stall.share, scenario.users);
        for (number, client) in self.clients.iter_mut().enumerate() {
            client.stalls = chosen(client.user, users, share);
            (client.stage, client.wanted_ns) = (Stage::Entering, now);
            self.to_connect.push_back(number);
        }
    }

    /// Runs to the last report.
    fn run(&mut self, output: &mut dyn Write) -> Result<(), String> {
        let mut events = vec![EpollEvent::empty(); EVENTS];
        while self.phase != Phase::Over {
            self.run_due(now_ns());
            self.start_connections();
            self.refill();
            while let Some(line) = self.reports.pop_front() {
                report(output, &line)?;
            }
            if let Some(reason) = self.failed.take() {
                return Err(reason);
            }
            self.arm();
            let count = match self.epoll.wait(&mut events, -1) {
                Ok(count) => count,
                Err(nix::errno::Errno::EINTR) => 0,
                Err(error) => return Err(error.to_string()),
            };
            for event in &events[..count] {
                if event.data() != TIMER {
                    self.socket_event(event.data() as usize, event.events());
                }
                let now = now_ns();
                if now >= self.next_due() {
                    self.run_due(now);
                }
            }
        }
        while let Some(line) = self.reports.pop_front() {
            report(output, &line)?;
        }
        Ok(())
    }

    /// When the next thing is to be done that no socket brings.
    fn next_due(&self) -> u64 {
        let timer = self.timers.peek().map_or(u64::MAX, |Reverse((at, _))| *at);
        timer.min(self.next_arrival_ns)
    }

    /// Sets the kernel's timer, which is exact to microseconds where epoll's own is to milliseconds.
    fn arm(&mut self) {
        let due = self.next_due().max(1);
        if due != self.armed_ns {
            let at = Expiration::OneShot(TimeSpec::nanoseconds(due as i64));
            self.timer.set(at, TimerSetTimeFlags::TFD_TIMER_ABSTIME).expect("a time of our own clock");
            self.armed_ns = due;
        }
    }

    fn socket_event(&mut self, number: usize, flags: EpollFlags) {
        let now = now_ns();
        match &self.clients[number].link {
            Link::Connecting(_) => self.connected_or_not(number),
            Link::Upgrading(..) => self.upgraded_or_not(number, now),
            Link::Open(_) => {
                if flags.contains(EpollFlags::EPOLLOUT) {
                    self.writable(number);
                }
                if flags.intersects(EpollFlags::EPOLLIN | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR) {
                    self.readable(number, now);
                    self.refill();
                }
            }
            // An event from before the connection's end.
            Link::Away => {}
        }
    }

    /// Whether a command intended at that time counts.
    fn measured(&self, at_ns: u64) -> bool {
        (self.borders.1..self.borders.2).contains(&at_ns)
    }
}

/// Whether a user is one of a share, spread evenly over all.
fn chosen(user: usize, users: usize, share: f64) -> bool {
    let wanted = (users as f64 * share).round() as usize;
    // The places at which user * wanted / users steps up.
    (user + 1) * wanted / users != user * wanted / users
}

/// The end of a second, the next after `begin`.
fn second_end(begin: u64, index: u64) -> u64 {
    begin + (index + 1) * SECOND_NS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_what_it_says() {
        for (users, share, expected) in [(100, 0.1, 10), (7, 1.0, 7), (10, 0.0, 0), (500, 0.02, 10), (3, 0.34, 1)] {
            assert_eq!((0..users).filter(|user| chosen(*user, users, share)).count(), expected, "{users} {share}");
        }
    }
}
