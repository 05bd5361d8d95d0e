//! Connections: begun, upgraded, read, lost, cut, stalled, and begun again.

use super::super::clock::{SECOND_NS, now_ns};
use super::client::{Asked, Pending, Stage};
use super::scan::Identity;
use super::socket::{self, Link};
use super::tally::{count, record};
use super::{Timer, Worker};
use nix::sys::epoll::{EpollEvent, EpollFlags};
use std::cmp::Reverse;
use std::io;
use tungstenite::{Error, Message};

/// Pause before a refused connection is tried again; doubled with each refusal, so many times.
const AGAIN_NS: u64 = 25_000_000;
const DOUBLED_MAX: u32 = 6;
/// What the closing of a connection without a code is counted as.
const RESET: &str = "reset";

impl Worker {
    /// Begins as many connections as may be under way.
    pub fn start_connections(&mut self) {
        let (worker, workers) = (self.order.worker, self.order.workers);
        let all = self.scenario.connecting_max.max(workers);
        let share = all * (worker + 1) / workers - all * worker / workers;
        while self.under_way < share && !self.to_connect.is_empty() {
            let now = now_ns();
            if self.scenario.connect_rate > 0.0 {
                if now < self.next_connect_ns {
                    return;
                }
                let interval = SECOND_NS as f64 * workers as f64 / self.scenario.connect_rate;
                // The tick looks again, so what it missed is made up for.
                self.next_connect_ns = self.next_connect_ns.max(now.saturating_sub(SECOND_NS / 20)) + interval as u64;
            }
            let Some(number) = self.to_connect.pop_front() else { return };
            let client = &mut self.clients[number];
            let buffer = client.stalls.then_some(self.scenario.stall.receive_buffer);
            match socket::connect(self.order.addr, client.user, buffer) {
                Ok(stream) => {
                    client.began_ns = now;
                    self.under_way += 1;
                    let event = EpollEvent::new(EpollFlags::EPOLLOUT, number as u64);
                    if let Err(error) = self.epoll.add(&stream, event) {
                        self.failed = Some(format!("epoll: {error}"));
                    }
                    self.clients[number].link = Link::Connecting(stream);
                }
                Err(error) => self.again(number, &error.to_string()),
            }
        }
    }

    /// A connection did not come about: it is tried again.
    fn again(&mut self, number: usize, reason: &str) {
        self.last_failure = reason.lines().next().unwrap_or_default().to_owned();
        let failures = &mut self.clients[number].failures;
        let pause = AGAIN_NS << *failures;
        *failures = (*failures + 1).min(DOUBLED_MAX);
        self.timers.push(Reverse((now_ns() + pause, Timer::Return(number))));
    }

    fn failed_to_enter(&mut self, number: usize, reason: &str) {
        self.clients[number].link = Link::Away;
        self.under_way -= 1;
        self.again(number, reason);
    }

    /// The kernel has something to say about a connection under way.
    pub fn connected_or_not(&mut self, number: usize) {
        let client = &mut self.clients[number];
        let Link::Connecting(mut stream) = std::mem::take(&mut client.link) else { return };
        let sent = socket::upgrade(&mut stream, self.order.addr, &client.token, self.scenario.compression);
        let watched = self.epoll.modify(&stream, &mut EpollEvent::new(EpollFlags::EPOLLIN, number as u64));
        client.link = Link::Upgrading(stream, Vec::new());
        if let Err(error) = sent.and(watched.map_err(io::Error::from)) {
            self.failed_to_enter(number, &error.to_string());
        }
    }

    /// The answer to the upgrade comes.
    pub fn upgraded_or_not(&mut self, number: usize, now: u64) {
        let Link::Upgrading(stream, head) = &mut self.clients[number].link else { return };
        match socket::read_head(stream, head, self.scenario.compression) {
            Ok(false) => {}
            Ok(true) => {
                let Link::Upgrading(stream, head) = std::mem::take(&mut self.clients[number].link) else { return };
                self.clients[number].link = Link::Open(socket::open(stream, &head, &self.scenario));
                self.readable(number, now);
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                let answer = error.to_string();
                self.failed = Some(format!("a client is not let in: {}", answer.lines().next().unwrap_or_default()));
            }
            Err(error) => self.failed_to_enter(number, &error.to_string()),
        }
    }

    /// Reads a connection until there is nothing left.
    pub fn readable(&mut self, number: usize, now: u64) {
        if let Link::Open(open) = &mut self.clients[number].link {
            open.get_mut().drained = false;
        }
        loop {
            let Link::Open(open) = &mut self.clients[number].link else { return };
            match open.read() {
                Ok(Message::Text(text)) => self.text(number, &text, now),
                Ok(Message::Close(frame)) => self.clients[number].close = frame.map(|frame| frame.code.into()),
                Ok(Message::Binary(_)) => self.ledger.violations.add("a binary frame".into()),
                // tungstenite answers pings by itself.
                Ok(_) => {}
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return self.lost(number, &error.to_string()),
            }
        }
        self.count_bytes(number, now);
    }

    fn count_bytes(&mut self, number: usize, now: u64) {
        let measured = self.measured(now);
        if let Link::Open(open) = &mut self.clients[number].link {
            let stream = open.get_mut();
            let (received, sent) = (std::mem::take(&mut stream.received), std::mem::take(&mut stream.sent));
            if measured {
                self.tally.counts.received_bytes += received;
                self.tally.counts.sent_bytes += sent;
            }
        }
    }

    /// Sends a frame; what the socket does not take waits in it.
    pub fn send(&mut self, number: usize, text: String) {
        let client = &mut self.clients[number];
        let Link::Open(open) = &mut client.link else { return };
        match open.send(Message::text(text)) {
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock && !client.blocked => {
                client.blocked = true;
                self.watch(number, EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT);
            }
            // Whatever else there is, the next read will say, and why.
            _ => {}
        }
    }

    /// A blocked socket takes more.
    pub fn writable(&mut self, number: usize) {
        let client = &mut self.clients[number];
        let Link::Open(open) = &mut client.link else { return };
        if !matches!(open.flush(), Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock) {
            client.blocked = false;
            self.watch(number, EpollFlags::EPOLLIN);
        }
    }

    fn watch(&self, number: usize, flags: EpollFlags) {
        if let Some(socket) = self.clients[number].link.socket() {
            // A socket that has ended is not watched, and needs not be.
            let _ = self.epoll.modify(socket, &mut EpollEvent::new(flags, number as u64));
        }
    }

    /// A connection has ended without our doing: its client wants back at once.
    fn lost(&mut self, number: usize, reason: &str) {
        let now = now_ns();
        let close = self.clients[number].close;
        let code = close.map_or(RESET.to_owned(), |code| code.to_string());
        self.last_failure = format!("closed with {code}: {reason}");
        let planned = self.clients[number].stalls;
        if now >= self.borders.1 {
            count(&mut self.tally.counts.closes, &code);
            self.tally.counts.disconnects += u64::from(!planned);
        }
        if close.is_some_and(|code| (3500..4000).contains(&code)) {
            self.failed = Some(format!("a client was closed with {code}, which forbids to come back"));
        }
        self.left(number);
        let client = &mut self.clients[number];
        (client.stage, client.wanted_ns) = (Stage::Entering, now);
        self.timers.push(Reverse((now + AGAIN_NS, Timer::Return(number))));
    }

    /// Ends a connection that is of no use; what follows is the caller's.
    pub fn drop_connection(&mut self, number: usize) {
        self.left(number);
        self.clients[number].stage = Stage::Entering;
    }

    /// Accounts for the end of a connection. Messages without an answer will be sent again.
    fn left(&mut self, number: usize) {
        self.clients[number].link.cut();
        match self.clients[number].stage {
            Stage::Away => return,
            Stage::Entering => self.under_way -= 1,
            Stage::CatchingUp => {
                self.under_way -= 1;
                self.connected -= 1;
            }
            Stage::Ready => {
                self.ready -= 1;
                self.connected -= 1;
            }
        }
        let pending = self.table.take_all(number);
        let client = &mut self.clients[number];
        (client.close, client.blocked, client.behind) = (None, false, false);
        (client.missing, client.repeating) = (0, 0);
        client.early.clear();
        for place in &mut client.places {
            // Whether a leaving client has left is not known: it will join.
            place.on &= !place.leaving;
            (place.target, place.leaving) = (0, false);
        }
        for pending in pending {
            match pending.asked {
                Asked::Verb(_) if pending.identity != Identity::NONE => {
                    client.unknown.push(Pending { repeated: true, ..pending });
                }
                Asked::Verb(_) => self.closed = self.closed.saturating_sub(1),
                _ => {}
            }
        }
    }

    /// A client wants its connection (back) from that time on.
    pub fn wants_back(&mut self, number: usize, at: u64) {
        let client = &mut self.clients[number];
        if !matches!(client.link, Link::Away) {
            return;
        }
        if client.stage == Stage::Away {
            (client.stage, client.wanted_ns) = (Stage::Entering, at);
        }
        self.to_connect.push_back(number);
    }

    /// Cuts a share of the clients.
    pub fn cut(&mut self, at: u64, now: u64) {
        let cut = self.scenario.cut.clone();
        let (mut chosen, mut spared) = (Vec::new(), 0);
        for (number, client) in self.clients.iter().enumerate() {
            let is = if cut.share < 1.0 { self.dice.unit() < cut.share } else { true };
            match is && client.stage == Stage::Ready && !client.stalled {
                true => chosen.push(number),
                false => spared += usize::from(is),
            }
        }
        self.spared += spared as u64;
        for number in chosen {
            self.left(number);
            self.clients[number].stage = Stage::Away;
            self.timers.push(Reverse((now + cut.away.us() * 1000, Timer::Return(number))));
        }
        if !cut.every.0.is_zero() {
            self.timers.push(Reverse((at + cut.every.us() * 1000, Timer::Cut)));
        }
    }

    /// Those who stall read nothing any more.
    pub fn stall(&mut self) {
        for client in self.clients.iter_mut().filter(|client| client.stalls && client.stage == Stage::Ready) {
            if let Some(socket) = client.link.socket()
                && self.epoll.delete(socket).is_ok()
            {
                (client.stalled, client.behind, client.unstalled_ns) = (true, true, u64::MAX);
            }
        }
    }

    /// They read again.
    pub fn unstall(&mut self) {
        for (number, client) in self.clients.iter_mut().enumerate().filter(|(_, client)| client.stalled) {
            (client.stalled, client.unstalled_ns) = (false, now_ns());
            if let Some(socket) = client.link.socket() {
                let added = self.epoll.add(socket, EpollEvent::new(EpollFlags::EPOLLIN, number as u64));
                if let Err(error) = added {
                    self.failed = Some(format!("epoll: {error}"));
                }
            }
        }
    }

    /// `auth_success` has come: the client enters its rooms, or returns to them.
    pub fn authenticated(&mut self, number: usize, text: &str, now: u64) {
        let client = &mut self.clients[number];
        client.user_id = crate::frame::number_of(text, "\"user_id\":").unwrap_or(0);
        self.ledger.author(client.user as u64, client.user_id);
        client.stage = Stage::CatchingUp;
        client.failures = 0;
        record(&mut self.tally.connect, now - client.began_ns);
        self.connected += 1;
        if now >= self.borders.1 {
            self.tally.counts.connects += 1;
        }
        self.enter_rooms(number, now);
    }

    /// A client has all that it waited for.
    pub fn is_ready(&mut self, number: usize, now: u64) {
        let client = &mut self.clients[number];
        client.stage = Stage::Ready;
        if std::mem::replace(&mut client.resumes, true) {
            record(&mut self.tally.resume, now - client.wanted_ns);
        }
        self.ready += 1;
        self.under_way -= 1;
        for pending in std::mem::take(&mut self.clients[number].unknown) {
            self.repeat(number, pending);
        }
        while self.clients[number].stage == Stage::Ready
            && let Some(intended) = self.clients[number].queue.pop_front()
        {
            self.act(number, intended, true);
        }
    }
}
