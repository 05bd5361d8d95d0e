//! Memory that a crowd has left behind goes back to the system; and how much the allocator has.
//!
//! The allocator keeps what is freed in the middle of its heap. When most of the connections have gone and what was known
//! of their users has been forgotten, whole pages of it are empty, and the allocator is asked to give them back. That
//! takes it some milliseconds, so it is done seldom, and only when it is worth it.

use veza_engine::time::{Mono, SECOND_US};

/// Connections that must have gone.
const GONE_MIN: usize = 1000;
/// Microseconds after which they are believed not to come back: the engine has forgotten them by then.
const CALM_US: u64 = 45 * SECOND_US;

/// Watches the number of connections of one shard.
#[derive(Debug, Default)]
pub struct Trim {
    /// The most since the last time.
    peak: usize,
    /// Since when there are less than half as many.
    low_since: Option<Mono>,
}

impl Trim {
    /// Whether it is time, with so many connections now.
    pub fn is_due(&mut self, now: Mono, connections: usize) -> bool {
        self.peak = self.peak.max(connections);
        if connections > self.peak / 2 || self.peak - connections < GONE_MIN {
            self.low_since = None;
            return false;
        }
        let since = *self.low_since.get_or_insert(now);
        if now.since(since) < CALM_US {
            return false;
        }
        *self = Trim { peak: connections, low_since: None };
        true
    }
}

/// Gives empty pages back, where the C library can.
pub fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes no pointer, and locks what it walks through; any thread may call it at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Bytes that the C library's allocator has handed out, to whatever thread, and bytes that it keeps for the next who
/// asks; nothing where it does not tell. It takes as long as there are free blocks: not for every turn, nor on a shard.
pub fn heap() -> (u64, u64) {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: takes no pointer, and locks what it walks through; any thread may call it at any time.
        let info = unsafe { libc::mallinfo2() };
        (info.uordblks as u64 + info.hblkhd as u64, info.fordblks as u64)
    }
    #[cfg(not(target_env = "gnu"))]
    (0, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (seconds, connections) after each other, and when it is due.
    #[test]
    fn once_when_most_have_gone_for_good() {
        for (steps, due) in [
            (&[(0, 15_000), (1, 0), (45, 0), (46, 0), (200, 0)][..], &[46][..]),
            (&[(0, 15_000), (1, 7600), (100, 7600)], &[]),
            (&[(0, 15_000), (1, 0), (20, 9000), (30, 0), (74, 0), (75, 0)], &[75]),
            (&[(0, 900), (1, 0), (100, 0)], &[]),
            (&[(0, 4000), (1, 1500), (46, 1500), (47, 100), (92, 100)], &[46, 92]),
        ] {
            let mut trim = Trim::default();
            let is_due = |(second, connections): &(u64, usize)| {
                trim.is_due(Mono(second * SECOND_US), *connections).then_some(*second)
            };
            assert_eq!(steps.iter().filter_map(is_due).collect::<Vec<_>>(), due, "{steps:?}");
        }
    }
}
