//! Messages through rooms, as cheaply as one thread can: so that a figure measures the server.
//!
//! A closed loop keeps so many messages on their way (a message is done when every receiver has it); an open loop sends
//! by a schedule, and its latencies count from the intended time. Every receiver holds the order of its room.

mod peer;

use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::event::{Timespec, epoll};
use socket2::Socket;

use crate::dice::Dice;
use crate::lean::{Crowd, Place};
use peer::{Heard, Peer};

/// Bytes read at once.
const BUFFER_BYTES: usize = 64 << 10;
/// Messages that may be on their way at a time, in all and in one room.
const UNDER_WAY_MAX: usize = 1 << 16;
/// Messages by which the fastest receiver of a room may be ahead of the slowest.
const GOT_MAX: usize = 4096;
/// How long the last messages may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A room.
struct Room {
    room_id: u64,
    /// Who is in it.
    peers: Vec<u32>,
    /// How many of them read.
    readers: u32,
    /// Receivers so far of the messages on their way, by their place in the room's order.
    got: Vec<u32>,
}

/// What is counted, from the start or the last [`Flow::reset`].
#[derive(Clone, Debug)]
pub struct Counts {
    /// Messages sent.
    pub sent: u64,
    /// Messages that all of their receivers have.
    pub done: u64,
    /// Acknowledgements.
    pub acks: u64,
    /// Messages received, by all together.
    pub deliveries: u64,
    /// From the intended time of sending to the acknowledgement, µs.
    pub ack_us: Histogram<u64>,
    /// From there to each receiver, µs.
    pub delivery_us: Histogram<u64>,
    /// From there to the last receiver, µs.
    pub last_us: Histogram<u64>,
}

impl Default for Counts {
    fn default() -> Counts {
        let histogram = || Histogram::new_with_bounds(1, 600_000_000, 3).expect("good bounds");
        Counts {
            sent: 0,
            done: 0,
            acks: 0,
            deliveries: 0,
            ack_us: histogram(),
            delivery_us: histogram(),
            last_us: histogram(),
        }
    }
}

/// Who answers to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// It is done with its acknowledgement.
    Acknowledged,
    /// It is done when everybody has it.
    Received,
}

/// Connections in rooms, and the messages between them.
pub struct Flow {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
    buffer: Box<[u8]>,
    peers: Vec<Peer>,
    rooms: Vec<Room>,
    /// Whether frames carry the room's `seq` and commands are acknowledged: not by the bare loop.
    served: bool,
    start: Instant,
    /// Intended times of the commands under way, µs from the start, by id.
    intended: Vec<u64>,
    next_id: u64,
    filler: String,
    dice: Dice,
    /// What is counted.
    pub counts: Counts,
    /// The first thing that must not happen.
    fault: Option<String>,
    /// The last push as it came, for the bare loop to send.
    pub push: String,
}

impl Flow {
    /// Takes over a crowd that has entered: every member is in one room, whose number in `rooms` is given by its place
    /// among the members.
    ///
    /// # Errors
    /// Of the poller; somebody is away.
    pub fn new(crowd: Crowd, rooms: &[u64], room_of: impl Fn(usize) -> usize, bytes: usize) -> Result<Flow, String> {
        let room = |room_id: &u64| Room { room_id: *room_id, peers: Vec::new(), readers: 0, got: vec![0; GOT_MAX] };
        let mut flow = Flow {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|error| error.to_string())?,
            events: Vec::with_capacity(512),
            buffer: vec![0; BUFFER_BYTES].into(),
            peers: Vec::new(),
            rooms: rooms.iter().map(room).collect(),
            served: true,
            start: Instant::now(),
            intended: vec![0; UNDER_WAY_MAX],
            next_id: 1,
            filler: "x".repeat(bytes.saturating_sub(peer::STAMP_BYTES)),
            dice: Dice::new(7),
            counts: Counts::default(),
            fault: None,
            push: String::new(),
        };
        for (number, (socket, places)) in crowd.into_sockets()?.into_iter().enumerate() {
            flow.add(socket, &places, room_of(number)).map_err(|error| error.to_string())?;
        }
        Ok(flow)
    }

    fn add(&mut self, socket: Socket, places: &[Place], room: usize) -> io::Result<()> {
        let number = self.peers.len() as u32;
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&self.epoll, &socket, epoll::EventData::new_u64(u64::from(number)), flags)?;
        self.rooms[room].peers.push(number);
        self.rooms[room].readers += 1;
        self.served = !places.is_empty();
        self.peers.push(Peer::new(socket, room as u32, places.first().map_or(0, |place| place.last)));
        Ok(())
    }

    /// How many connections there are.
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// This one reads no more. Its room's messages are done without it.
    ///
    /// # Errors
    /// Of the poller.
    pub fn stall(&mut self, number: usize) -> Result<(), String> {
        let peer = &mut self.peers[number];
        epoll::delete(&self.epoll, &peer.socket).map_err(|error| error.to_string())?;
        peer.stalled = true;
        self.rooms[peer.room as usize].readers -= 1;
        Ok(())
    }

    /// Counts anew.
    pub fn reset(&mut self) {
        self.counts = Counts::default();
    }

    /// Microseconds since the start.
    fn now_us(&self) -> u64 {
        self.start.elapsed().as_micros() as u64
    }

    /// A member of any room sends.
    fn send(&mut self, intended_us: u64) -> Result<(), String> {
        let room = self.dice.below(self.rooms.len());
        let room = &self.rooms[room];
        let number = loop {
            let number = *self.dice.pick(&room.peers) as usize;
            if !self.peers[number].stalled {
                break number;
            }
        };
        let id = self.next_id;
        self.next_id += 1;
        self.intended[id as usize % UNDER_WAY_MAX] = intended_us;
        self.counts.sent += 1;
        self.peers[number].send(id, room.room_id, intended_us, &self.filler)
    }

    /// Keeps `in_flight` messages on their way until `messages` have been sent and all are done.
    ///
    /// # Errors
    /// Something happened that must not, or the end does not come.
    pub fn closed(&mut self, in_flight: u64, messages: u64, until: Until) -> Result<(), String> {
        self.closed_while(in_flight, until, |sent| sent < messages)
    }

    /// As [`Flow::closed`], for so long.
    ///
    /// # Errors
    /// As [`Flow::closed`].
    pub fn closed_for(&mut self, in_flight: u64, time: Duration, until: Until) -> Result<(), String> {
        let end = Instant::now() + time;
        self.closed_while(in_flight, until, |_| Instant::now() < end)
    }

    fn closed_while(&mut self, in_flight: u64, until: Until, more: impl Fn(u64) -> bool) -> Result<(), String> {
        let mut progress = Instant::now();
        let first = self.counts.sent;
        loop {
            let finished = match until {
                Until::Acknowledged => self.counts.acks,
                Until::Received => self.counts.done,
            };
            while self.counts.sent - finished < in_flight && more(self.counts.sent - first) {
                self.send(self.now_us())?;
                progress = Instant::now();
            }
            if finished == self.counts.sent {
                return self.settle();
            }
            self.turn(Duration::from_millis(100))?;
            if progress.elapsed() > PATIENCE {
                return Err(format!("{finished} of {} are done", self.counts.sent));
            }
        }
    }

    /// Sends so many messages a second, at times by chance (Poisson), whatever the answers do; then waits for all.
    ///
    /// # Errors
    /// As [`Flow::closed`].
    pub fn open(&mut self, per_second: f64, time: Duration) -> Result<(), String> {
        let (start, length) = (self.now_us() as f64, time.as_micros() as f64);
        let mut due = start;
        while due < start + length {
            let now = self.now_us();
            if (now as f64) < due {
                self.turn(Duration::from_micros(due as u64 + 1 - now))?;
                continue;
            }
            self.send(due as u64)?;
            // Uniform above 0 and up to 1.
            let chance = ((self.dice.roll() >> 11) + 1) as f64 / (1u64 << 53) as f64;
            due += -chance.ln() * 1e6 / per_second;
        }
        self.settle()
    }

    /// Lives on for that long in silence: pings are answered.
    ///
    /// # Errors
    /// As [`Flow::closed`].
    pub fn live(&mut self, time: Duration) -> Result<(), String> {
        let end = Instant::now() + time;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            self.turn(left)?;
        }
        Ok(())
    }

    /// Waits until everything sent is received and acknowledged.
    fn settle(&mut self) -> Result<(), String> {
        let end = Instant::now() + PATIENCE;
        while self.counts.done < self.counts.sent || (self.served && self.counts.acks < self.counts.sent) {
            self.turn(Duration::from_millis(100))?;
            if Instant::now() > end {
                let Counts { sent, done, acks, .. } = self.counts;
                return Err(format!("of {sent} messages {acks} were acknowledged and {done} received by all"));
            }
        }
        Ok(())
    }

    /// Takes what has come, waiting for it so long at most.
    fn turn(&mut self, wait: Duration) -> Result<(), String> {
        let wait = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
        self.events.clear();
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut self.events), Some(&wait)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.to_string()),
        }
        let now = self.now_us();
        let mut buffer = std::mem::take(&mut self.buffer);
        for at in 0..self.events.len() {
            let data = self.events[at].data;
            self.read(data.u64() as usize, &mut buffer, now);
        }
        self.buffer = buffer;
        self.fault.take().map_or(Ok(()), Err)
    }

    /// Reads one connection until it is empty (it is watched for edges; a short read says that it is).
    fn read(&mut self, number: usize, buffer: &mut [u8], now: u64) {
        loop {
            let read = (&self.peers[number].socket).read(buffer);
            let count = match read {
                Ok(0) => return self.fail(format!("connection {number} was closed")),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => return self.fail(error.to_string()),
            };
            let mut partial = std::mem::take(&mut self.peers[number].partial);
            let result = if partial.is_empty() {
                self.frames(number, &buffer[..count], now).map(|used| partial.extend_from_slice(&buffer[used..count]))
            } else {
                partial.extend_from_slice(&buffer[..count]);
                self.frames(number, &partial, now).map(|used| drop(partial.drain(..used)))
            };
            self.peers[number].partial = partial;
            if let Err(reason) = result {
                return self.fail(reason);
            }
            if count < buffer.len() {
                return;
            }
        }
    }

    fn fail(&mut self, reason: String) {
        self.fault.get_or_insert(reason);
    }

    fn frames(&mut self, number: usize, bytes: &[u8], now: u64) -> Result<usize, String> {
        let mut at = 0;
        while let Some((first, payload)) = crate::lean::split(&bytes[at..]) {
            let frame = &bytes[at + payload.end - payload.len..at + payload.end];
            at += payload.end;
            match self.peers[number].hear(first, frame, self.served)? {
                Heard::Nothing => {}
                Heard::Message { intended_us } => {
                    // The bare loop sends the same bytes each time; where times matter it has one message under way.
                    let last = self.intended[(self.next_id - 1) as usize % UNDER_WAY_MAX];
                    let intended_us = if self.served { intended_us } else { last };
                    if self.push.is_empty() {
                        self.push = String::from_utf8_lossy(frame).into_owned();
                    }
                    self.received(number, now, intended_us);
                }
                Heard::Ack { id } => {
                    let intended = self.intended[id as usize % UNDER_WAY_MAX];
                    self.counts.acks += 1;
                    self.counts.ack_us.saturating_record(now.saturating_sub(intended));
                }
            }
        }
        Ok(at)
    }

    /// A receiver has the next message of its room.
    fn received(&mut self, number: usize, now: u64, intended: u64) {
        let peer = &self.peers[number];
        let room = &mut self.rooms[peer.room as usize];
        let place = peer.got as usize % room.got.len();
        self.counts.deliveries += 1;
        self.counts.delivery_us.saturating_record(now.saturating_sub(intended));
        room.got[place] += 1;
        if room.got[place] >= room.readers {
            room.got[place] = 0;
            self.counts.done += 1;
            self.counts.last_us.saturating_record(now.saturating_sub(intended));
        }
    }
}
