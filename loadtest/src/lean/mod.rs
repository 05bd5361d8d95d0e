//! A crowd of clients on one thread, for figures about connections: so cheap that a storm of it measures the server.
//!
//! One epoll instance, one buffer, everything that is sent is made beforehand or written in place. It reads only what it
//! must of a frame, but that it holds against the promises: per room every `seq` follows the one before it.

mod member;

use std::collections::VecDeque;
use std::io::{self, Read as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};
use socket2::{Domain, Socket, Type};

pub(crate) use member::split;
pub use member::{Member, Phase, Place, Way};

/// Bytes read at once.
const BUFFER_BYTES: usize = 64 << 10;
/// Clients that set out before what has come is looked at: who is connected sends its request at once.
const SET_OUT_MAX: usize = 16;
/// What a refusal asks for.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Loopback addresses that the clients come from: each has 28,000 ports, which a connection that was closed by
/// its client holds for a minute.
const SOURCES: u64 = 200;

/// The clients.
pub struct Crowd {
    addr: SocketAddr,
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
    buffer: Box<[u8]>,
    members: Vec<Member>,
    /// Who was refused, and when it comes again.
    refused: VecDeque<(Instant, usize)>,
    /// How often somebody was.
    pub refusals: u64,
    /// There is more to do than to wait.
    hurried: bool,
    /// Who has arrived since the last look.
    arrived: Vec<usize>,
    /// Members that are there and have caught up.
    pub ready: usize,
    /// What must not happen: first reasons.
    pub faults: Vec<String>,
    /// All of them.
    pub fault_count: u64,
    /// Events seen.
    pub events_seen: u64,
}

impl Crowd {
    /// Nobody yet, for the server at `addr`.
    ///
    /// # Errors
    /// Out of descriptors.
    pub fn new(addr: SocketAddr) -> io::Result<Crowd> {
        Ok(Crowd {
            addr,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            events: Vec::with_capacity(512),
            buffer: vec![0; BUFFER_BYTES].into(),
            members: Vec::new(),
            refused: VecDeque::new(),
            refusals: 0,
            hurried: false,
            arrived: Vec::new(),
            ready: 0,
            faults: Vec::new(),
            fault_count: 0,
            events_seen: 0,
        })
    }

    /// Adds a client that is away; answers its number.
    pub fn add(&mut self, token: Option<&str>, rooms: &[u64]) -> usize {
        self.members.push(Member::new(self.addr, token, rooms));
        self.members.len() - 1
    }

    /// Gives the connections up to another loop, with what their members know of their rooms.
    ///
    /// # Errors
    /// Somebody is away.
    pub fn into_sockets(self) -> Result<Vec<(Socket, Vec<Place>)>, String> {
        self.members.into_iter().map(Member::into_parts).collect()
    }

    /// A client.
    pub fn member(&self, number: usize) -> &Member {
        &self.members[number]
    }

    /// How many there are, here or away.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// There is nobody.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Sets out: connects, and from there on goes its way by itself until it is ready.
    ///
    /// # Errors
    /// Of the socket: ports or descriptors have run out.
    pub fn set_out(&mut self, number: usize, way: Way) -> io::Result<()> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking().cloexec(), None)?;
        // As every WebSocket client does. Without it a message that follows a pong waits in our own kernel until the
        // server's delayed acknowledgement of that pong, up to 40 ms.
        socket.set_tcp_nodelay(true)?;
        let source = Ipv4Addr::new(127, 0, 0, 2 + (number as u64 % SOURCES) as u8);
        socket.bind(&SocketAddr::from((source, 0)).into())?;
        match socket.connect(&self.addr.into()) {
            Err(error) if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {
                return Err(error);
            }
            _ => {}
        }
        let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
        epoll::add(&self.epoll, &socket, epoll::EventData::new_u64(number as u64), flags)?;
        self.members[number].set_out(socket, way);
        Ok(())
    }

    /// Cuts a connection.
    pub fn cut(&mut self, number: usize) {
        if self.members[number].cut() {
            self.ready -= 1;
        }
    }

    /// Carries out what has become possible, waiting for it so long at most.
    ///
    /// # Errors
    /// Of the poller.
    pub fn turn(&mut self, wait: Duration) -> io::Result<()> {
        while self.refused.front().is_some_and(|(due, _)| *due <= Instant::now()) {
            let Some((_, number)) = self.refused.pop_front() else { break };
            self.set_out(number, self.members[number].way)?;
        }
        let wait = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
        self.events.clear();
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut self.events), Some(&wait)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for at in 0..self.events.len() {
            let (data, flags) = (self.events[at].data, self.events[at].flags);
            self.step(data.u64() as usize, flags);
        }
        Ok(())
    }

    fn step(&mut self, number: usize, flags: epoll::EventFlags) {
        let member = &mut self.members[number];
        let before = member.phase;
        let mut result = if flags.contains(epoll::EventFlags::OUT) { member.writable() } else { Ok(()) };
        if flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR) {
            result = result.and_then(|()| drain(member, &mut self.buffer, &mut self.events_seen));
        }
        if let Err(reason) = result {
            if member.cut() {
                self.ready -= 1;
            }
            self.fault(format!("client {number} in {before:?}: {reason}"));
        } else if member.phase == Phase::Refused {
            member.cut();
            self.refusals += 1;
            self.refused.push_back((Instant::now() + RETRY_AFTER, number));
        } else if member.phase == Phase::Ready && before != Phase::Ready {
            self.ready += 1;
            self.arrived.push(number);
        }
    }

    /// Notes what must not happen.
    pub fn fault(&mut self, reason: String) {
        self.fault_count += 1;
        if self.faults.len() < 10 {
            self.faults.push(reason);
        }
    }

    /// Who has become ready since the last call.
    pub fn arrivals(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.arrived)
    }

    /// Goes on until that holds.
    ///
    /// # Errors
    /// It takes too long, or something happened that must not.
    pub fn until(&mut self, patience: Duration, mut done: impl FnMut(&mut Crowd) -> bool) -> Result<(), String> {
        let deadline = Instant::now() + patience;
        while !done(self) {
            let wait = if std::mem::take(&mut self.hurried) { Duration::ZERO } else { Duration::from_millis(100) };
            self.turn(wait).map_err(|error| error.to_string())?;
            if self.fault_count > 0 {
                return Err(self.faults.join("; "));
            }
            if Instant::now() > deadline {
                return Err(format!("not within {patience:?}: {} of {} are there", self.ready, self.members.len()));
            }
        }
        Ok(())
    }

    /// All of these set out and arrive, so many at a time under way.
    ///
    /// # Errors
    /// As [`Crowd::until`].
    pub fn bring(
        &mut self,
        numbers: impl IntoIterator<Item = usize>,
        way: Way,
        at_once: usize,
        patience: Duration,
    ) -> Result<(), String> {
        let mut numbers = numbers.into_iter();
        let (mut under_way, mut more) = (0, true);
        self.arrivals();
        self.until(patience, |crowd| {
            under_way -= crowd.arrivals().len();
            for _ in 0..SET_OUT_MAX {
                if !more || under_way == at_once {
                    break;
                }
                let Some(number) = numbers.next() else {
                    more = false;
                    break;
                };
                if let Err(error) = crowd.set_out(number, way) {
                    crowd.fault(format!("client {number} cannot set out: {error}"));
                }
                under_way += 1;
            }
            crowd.hurried = more && under_way < at_once;
            !more && under_way == 0
        })
    }

    /// Lives on for that long: pings are answered.
    ///
    /// # Errors
    /// Something happened that must not.
    pub fn live(&mut self, time: Duration) -> Result<(), String> {
        let end = Instant::now() + time;
        let done = |_: &mut Crowd| Instant::now() >= end;
        self.until(time + Duration::from_secs(60), done)
    }
}

/// Reads what there is.
fn drain(member: &mut Member, buffer: &mut [u8], seen: &mut u64) -> Result<(), String> {
    loop {
        let Some(mut socket) = member.socket() else { return Ok(()) };
        match socket.read(buffer) {
            Ok(0) => return Err("the server has closed".into()),
            Ok(count) => {
                member.take(&buffer[..count], seen)?;
                if count < buffer.len() {
                    return Ok(()); // edge-triggered, and a stream: what comes now is reported anew
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.to_string()),
        }
    }
}
