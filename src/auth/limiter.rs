//! How many registrations and logins one address may try in a minute.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Addresses remembered at once. Beyond, those that have tried least are forgotten: forgetting one that has not used
/// up its minute loses little, and memory stays flat whoever comes.
const ADDRESSES_MAX: usize = 65_536;

/// A bucket of tries for each address: a minute's worth, refilled evenly.
pub struct Limiter {
    per_minute: u32,
    addresses_max: usize,
    buckets: HashMap<IpAddr, Bucket>,
}

struct Bucket {
    /// Tries left at `at`.
    left: f64,
    at: Instant,
}

impl Limiter {
    /// 0: no limit.
    pub fn new(per_minute: u32) -> Limiter {
        Limiter { per_minute, addresses_max: ADDRESSES_MAX, buckets: HashMap::new() }
    }

    /// Takes a try.
    ///
    /// # Errors
    /// The time until the next one, if none is left.
    pub fn take(&mut self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        if self.per_minute == 0 {
            return Ok(());
        }
        let (full, per_second) = (f64::from(self.per_minute), f64::from(self.per_minute) / 60.0);
        let key = network(address);
        if !self.buckets.contains_key(&key) && self.buckets.len() >= self.addresses_max {
            self.forget_some(now, per_second, full);
        }
        let bucket = self.buckets.entry(key).or_insert(Bucket { left: full, at: now });
        bucket.left = bucket.left_at(now, per_second, full);
        bucket.at = now;
        if bucket.left >= 1.0 {
            bucket.left -= 1.0;
            Ok(())
        } else {
            Err(Duration::from_secs_f64((1.0 - bucket.left) / per_second))
        }
    }

    /// Forgets the eighth that has most left.
    fn forget_some(&mut self, now: Instant, per_second: f64, full: f64) {
        let mut left: Vec<f64> = self.buckets.values().map(|bucket| bucket.left_at(now, per_second, full)).collect();
        let keep = left.len() - left.len().div_ceil(8);
        left.sort_unstable_by(f64::total_cmp);
        let bound = left.get(keep).copied().unwrap_or(full);
        self.buckets.retain(|_, bucket| bucket.left_at(now, per_second, full) < bound);
    }
}

impl Bucket {
    fn left_at(&self, now: Instant, per_second: f64, full: f64) -> f64 {
        (self.left + now.saturating_duration_since(self.at).as_secs_f64() * per_second).min(full)
    }
}

/// What counts as one address: of IPv6 the /64 that one subscriber has; IPv4 inside IPv6 as IPv4.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => IpAddr::V4(v4),
            None => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_minutes_worth_at_once_then_evenly() {
        let (start, mut limiter) = (Instant::now(), Limiter::new(60));
        assert!((0..60).all(|_| limiter.take(ip("10.0.0.1"), start).is_ok()));
        let wait = limiter.take(ip("10.0.0.1"), start).unwrap_err();
        assert!(wait <= Duration::from_secs(1) && wait > Duration::from_millis(900), "{wait:?}");
        assert!(limiter.take(ip("10.0.0.2"), start).is_ok(), "another address");
        let later = start + Duration::from_millis(1001);
        assert!(limiter.take(ip("10.0.0.1"), later).is_ok());
        assert!(limiter.take(ip("10.0.0.1"), later).is_err());
        assert!(
            (0..200).filter(|_| limiter.take(ip("10.0.0.1"), start + Duration::from_secs(900)).is_ok()).count() == 60
        );
    }

    #[test]
    fn one_subscriber_is_one_address() {
        for (a, b, same) in [
            ("2001:db8::1", "2001:db8::ffff:2", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
            ("::ffff:10.0.0.1", "10.0.0.1", true),
        ] {
            let mut limiter = Limiter::new(1);
            assert!(limiter.take(ip(a), Instant::now()).is_ok());
            assert_eq!(limiter.take(ip(b), Instant::now()).is_err(), same, "{a} {b}");
        }
    }

    #[test]
    fn memory_is_bounded_and_offenders_are_kept() {
        let (now, mut limiter) = (Instant::now(), Limiter::new(10));
        limiter.addresses_max = 64;
        let offender = ip("192.0.2.1");
        while limiter.take(offender, now).is_ok() {}
        for number in 0..10_000_u32 {
            assert!(limiter.take(IpAddr::V4(number.into()), now).is_ok());
            assert!(limiter.buckets.len() <= 64);
        }
        assert!(limiter.take(offender, now).is_err());
    }

    #[test]
    fn zero_switches_it_off() {
        let mut limiter = Limiter::new(0);
        assert!((0..1000).all(|_| limiter.take(ip("10.0.0.1"), Instant::now()).is_ok()));
        assert!(limiter.buckets.is_empty());
    }
}
