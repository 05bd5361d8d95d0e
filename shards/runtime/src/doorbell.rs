//! Waking a shard that sleeps, and only then.
//!
//! Whoever puts something into a queue of a shard rings its bell afterwards. Most of the time the shard is awake and
//! the ring costs a fence and a load; only for a shard that has announced its sleep is the eventfd written, which
//! makes the shard's poller ready.
//!
//! No wake-up is lost: the producer does *push, fence, read `asleep`*, the consumer does *write `asleep`, fence, look
//! at the queues*. With both fences sequentially consistent at least one of the two sees the other's write.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering, fence};

use rustix::event::{EventfdFlags, eventfd};

/// The bell of one shard; shared by all who may wake it.
#[derive(Debug)]
pub struct Doorbell {
    asleep: AtomicBool,
    event: File,
}

impl Doorbell {
    /// A bell of a shard that is awake.
    ///
    /// # Errors
    /// Those of `eventfd(2)`: out of descriptors.
    pub fn new() -> io::Result<Doorbell> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Doorbell { asleep: AtomicBool::new(false), event: File::from(event) })
    }

    /// Tells the shard that there is something in one of its queues. To be called after the push. Says whether that
    /// took a system call.
    pub fn ring(&self) -> bool {
        fence(Ordering::SeqCst);
        // The swap lets one ringer of many pay for the system call.
        let asleep = self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::AcqRel);
        if asleep {
            // An eventfd refuses a write only at its overflow, and then it is readable anyway.
            let _ = (&self.event).write(&1u64.to_ne_bytes());
        }
        asleep
    }

    /// Announces that the owner is about to sleep. The owner must look at all its queues after this and before it
    /// sleeps, and call [`Doorbell::awake`] if it does not sleep, and when it wakes.
    pub fn announce_sleep(&self) {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The owner is awake: no need to ring.
    pub fn awake(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }

    /// Makes the descriptor unreadable again.
    pub fn clear(&self) {
        // WouldBlock means that it is clear already.
        let _ = (&self.event).read(&mut [0; 8]);
    }
}

impl AsFd for Doorbell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    fn readable(bell: &Doorbell) -> bool {
        let mut fds = [PollFd::new(bell, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() > 0
    }

    #[test]
    fn rings_only_for_a_sleeper_and_once() {
        let bell = Doorbell::new().unwrap();
        bell.ring();
        assert!(!readable(&bell), "the owner is awake");
        bell.announce_sleep();
        assert!(!readable(&bell));
        bell.ring();
        assert!(readable(&bell));
        bell.clear();
        bell.ring();
        assert!(!readable(&bell), "the first ring had woken it");
        bell.announce_sleep();
        bell.awake();
        bell.ring();
        assert!(!readable(&bell), "it did not sleep after all");
    }
}
