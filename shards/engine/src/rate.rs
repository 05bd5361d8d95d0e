//! Token buckets.

use crate::time::{Mono, SECOND_US};

/// A token bucket: `burst` at once, then `rate` per `per_us`. Small, because every connection has one.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    /// Millitokens left.
    level: u32,
    updated: Mono,
}

/// How fast and how much.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Tokens that come back in `per_us`; 0: no limit.
    pub count: u32,
    /// Microseconds.
    pub per_us: u64,
    /// Most tokens at once.
    pub burst: u32,
}

impl Rate {
    /// `count` a second.
    pub fn per_second(count: u32, burst: u32) -> Rate {
        Rate { count, per_us: SECOND_US, burst: burst.max(1) }
    }
    /// `count` a minute.
    pub fn per_minute(count: u32, burst: u32) -> Rate {
        Rate { count, per_us: 60 * SECOND_US, burst: burst.max(1) }
    }
}

impl Bucket {
    /// A full bucket.
    pub fn full(rate: Rate, now: Mono) -> Bucket {
        Bucket { level: rate.burst.saturating_mul(1000), updated: now }
    }

    /// Takes one token, or says in how many milliseconds there will be one.
    pub fn take(&mut self, rate: Rate, now: Mono) -> Result<(), u64> {
        if rate.count == 0 {
            return Ok(());
        }
        self.refill(rate, now);
        if self.level >= 1000 {
            self.level -= 1000;
            return Ok(());
        }
        let missing = u64::from(1000 - self.level);
        Err((missing * rate.per_us).div_ceil(u64::from(rate.count) * 1_000_000).max(1))
    }

    fn refill(&mut self, rate: Rate, now: Mono) {
        let most = u64::from(rate.burst) * 1000;
        let elapsed = now.since(self.updated).min(rate.per_us * 1000);
        let gained = elapsed * u64::from(rate.count) * 1000 / rate.per_us;
        if gained > 0 {
            let level = u64::from(self.level) + gained;
            self.level = level.min(most) as u32;
            // Time that bought no whole millitoken stays on the account.
            let spent = gained * rate.per_us / (u64::from(rate.count) * 1000);
            self.updated = if level < most { self.updated.after(spent) } else { now };
        }
    }
}

/// Counts in a window of one minute; for limits on rare things.
#[derive(Clone, Copy, Debug, Default)]
pub struct MinuteCount {
    start: Mono,
    count: u32,
}

impl MinuteCount {
    /// Adds one and gives the count of the present minute.
    pub fn add(&mut self, now: Mono) -> u32 {
        if now.since(self.start) >= 60 * SECOND_US {
            *self = MinuteCount { start: now, count: 0 };
        }
        self.count += 1;
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn burst_then_rate() {
        let rate = Rate::per_second(50, 100);
        let mut bucket = Bucket::full(rate, Mono(0));
        for _ in 0..100 {
            bucket.take(rate, Mono(0)).unwrap();
        }
        assert_eq!(bucket.take(rate, Mono(0)), Err(20));
        assert_eq!(bucket.take(rate, Mono(19_999)), Err(1));
        bucket.take(rate, Mono(20_000)).unwrap();
        assert!(bucket.take(rate, Mono(20_001)).is_err());
    }

    #[test]
    fn zero_is_off() {
        let rate = Rate::per_minute(0, 0);
        let mut bucket = Bucket::full(rate, Mono(0));
        assert!((0..10_000).all(|_| bucket.take(rate, Mono(0)).is_ok()));
    }
}
