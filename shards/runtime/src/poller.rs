//! One epoll instance per shard: its sockets, its listener, its doorbell and its one timer.
//!
//! Level-triggered. A socket is registered once when it is accepted; `EPOLLOUT` is asked for only while the
//! socket is blocked. A connection that idles costs no timer, no task and no pending io_uring operation.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{Timespec, epoll};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime};
use veza_engine::time::Mono;

use crate::doorbell::Doorbell;
use crate::stats::{Call, PerCall};

/// Events taken from the kernel at a time.
const EVENTS_MAX: usize = 256;

/// Names a registered descriptor in events. The two highest are the poller's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token(pub u64);

const BELL: Token = Token(u64::MAX);
const TIMER: Token = Token(u64::MAX - 1);

/// What a descriptor is watched for; errors and hang-ups are always reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest {
    /// Something to read, or the peer has ended.
    pub read: bool,
    /// Room to write.
    pub write: bool,
}

impl Interest {
    fn flags(self) -> epoll::EventFlags {
        let mut flags = epoll::EventFlags::empty();
        flags.set(epoll::EventFlags::IN, self.read);
        flags.set(epoll::EventFlags::OUT, self.write);
        flags
    }
}

/// What became of a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Which.
    pub token: Token,
    /// There is something to read, an error included.
    pub read: bool,
    /// There is room to write.
    pub write: bool,
    /// The connection is over in both directions, or broken.
    pub hangup: bool,
}

/// The epoll instance of one shard.
pub struct Poller {
    epoll: OwnedFd,
    timer: OwnedFd,
    /// What the timer is set to.
    armed: Option<Mono>,
    bell: Arc<Doorbell>,
    events: Vec<epoll::Event>,
    /// Events of the last [`Poller::collect`] from here on have not been given out yet.
    next: usize,
    /// System calls made here.
    calls: PerCall,
}

impl Poller {
    /// An epoll instance that watches `bell` and its timer.
    ///
    /// # Errors
    /// Those of the system calls: out of descriptors.
    pub fn new(bell: Arc<Doorbell>) -> io::Result<Poller> {
        let mut poller = Poller {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            timer: timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?,
            armed: None,
            bell,
            events: Vec::with_capacity(EVENTS_MAX),
            next: 0,
            calls: PerCall::default(),
        };
        let read = Interest { read: true, write: false };
        epoll::add(&poller.epoll, &poller.bell, epoll::EventData::new_u64(BELL.0), read.flags())?;
        epoll::add(&poller.epoll, &poller.timer, epoll::EventData::new_u64(TIMER.0), read.flags())?;
        poller.calls[Call::EpollCtl] += 2;
        Ok(poller)
    }

    /// The system calls made so far.
    pub fn calls(&self) -> &PerCall {
        &self.calls
    }

    /// Registers a descriptor. Closing it ends the registration.
    ///
    /// # Errors
    /// Those of `epoll_ctl(2)`: out of memory or watches.
    pub fn watch(&mut self, fd: impl AsFd, token: Token, interest: Interest) -> io::Result<()> {
        self.calls[Call::EpollCtl] += 1;
        epoll::add(&self.epoll, fd, epoll::EventData::new_u64(token.0), interest.flags())?;
        Ok(())
    }

    /// Changes what a registered descriptor is watched for.
    ///
    /// # Errors
    /// Those of `epoll_ctl(2)`.
    pub fn change(&mut self, fd: impl AsFd, token: Token, interest: Interest) -> io::Result<()> {
        self.calls[Call::EpollCtl] += 1;
        epoll::modify(&self.epoll, fd, epoll::EventData::new_u64(token.0), interest.flags())?;
        Ok(())
    }

    /// Ends a registration of a descriptor that lives on (one that is handed over).
    ///
    /// # Errors
    /// Those of `epoll_ctl(2)`.
    pub fn forget(&mut self, fd: impl AsFd) -> io::Result<()> {
        self.calls[Call::EpollCtl] += 1;
        epoll::delete(&self.epoll, fd)?;
        Ok(())
    }

    /// Sets the timer so that the poller becomes ready no later than `deadline` (perhaps earlier: a
    /// timer that is set is left alone where it serves, which saves the system call in most turns).
    ///
    /// # Errors
    /// Those of `timerfd_settime(2)`.
    pub fn wake_by(&mut self, deadline: Mono) -> io::Result<()> {
        if self.armed.is_some_and(|armed| armed <= deadline) {
            return Ok(());
        }
        // A value of zero would disarm it: at least a microsecond.
        let us = deadline.0.max(1);
        let value = Timespec { tv_sec: (us / 1_000_000) as i64, tv_nsec: (us % 1_000_000 * 1000) as i64 };
        let spec = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        self.calls[Call::Timerfd] += 1;
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &spec)?;
        self.armed = Some(deadline);
        Ok(())
    }

    /// Takes what is ready from the kernel without waiting, unless events of the last time are left. Says whether
    /// there is any.
    ///
    /// # Errors
    /// Those of `epoll_wait(2)` but `EINTR`.
    pub fn collect(&mut self) -> io::Result<bool> {
        self.collect_for(Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))
    }

    /// As [`Poller::collect`], but blocks the thread until something is ready or this time is over.
    ///
    /// # Errors
    /// As [`Poller::collect`].
    pub fn nap(&mut self, time: Duration) -> io::Result<bool> {
        let timeout = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) };
        self.collect_for(Some(&timeout))
    }

    /// As [`Poller::collect`], but blocks the thread until something is ready: for a driver without io_uring.
    ///
    /// # Errors
    /// As [`Poller::collect`].
    pub fn collect_blocking(&mut self) -> io::Result<bool> {
        self.collect_for(None)
    }

    /// Events that were collected are left.
    pub fn has_more(&self) -> bool {
        self.next < self.events.len()
    }

    fn collect_for(&mut self, timeout: Option<&Timespec>) -> io::Result<bool> {
        if self.has_more() {
            return Ok(true);
        }
        self.events.clear();
        self.next = 0;
        self.calls[Call::EpollWait] += 1;
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut self.events), timeout) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(!self.events.is_empty()),
            Err(error) => Err(error.into()),
        }
    }

    /// The next descriptor that is ready, of those collected. Bell and timer are dealt with here: whoever is awake
    /// looks at the queues and at the clock anyway.
    pub fn next_ready(&mut self) -> Option<Ready> {
        while let Some(event) = self.events.get(self.next) {
            self.next += 1;
            let (data, flags) = (event.data, event.flags);
            match Token(data.u64()) {
                BELL => {
                    self.calls[Call::Eventfd] += 1;
                    self.bell.clear();
                }
                TIMER => {
                    self.calls[Call::Timerfd] += 1;
                    let _ = rustix::io::read(&self.timer, &mut [0; 8]);
                    self.armed = None;
                }
                token => {
                    let hangup = flags.intersects(epoll::EventFlags::HUP | epoll::EventFlags::ERR);
                    let read = hangup || flags.contains(epoll::EventFlags::IN);
                    return Some(Ready { token, read, write: flags.contains(epoll::EventFlags::OUT), hangup });
                }
            }
        }
        None
    }
}

impl AsFd for Poller {
    /// Readable as soon as something is ready.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}
