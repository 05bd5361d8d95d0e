//! How many connections are not authenticated yet, in all and by address. The only thing that the shards' gateways
//! share: a few atomic counters.
//!
//! Addresses are counted in a fixed table by a keyed hash: constant memory whatever the attacker owns, no lock. Two
//! addresses that share a place share their limit, which nobody can bring about on purpose.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::sync::atomic::{AtomicU32, Ordering};

/// Places in the table. (The first stays unused, so that a place fits a `NonZeroU16`.)
const PLACES: usize = 1 << 16;

/// A connection's share in the counts; to be given back by [`Handshakes::release`] exactly once.
#[derive(Debug, PartialEq, Eq)]
pub struct Admitted(NonZeroU16);

/// The counters.
pub struct Handshakes {
    all: AtomicU32,
    all_max: u32,
    by_address: Box<[AtomicU32]>,
    by_address_max: u32,
    hasher: RandomState,
}

impl Handshakes {
    /// Nobody; at most so many in all and from one address (0: no limit).
    pub fn new(all_max: u32, by_address_max: u32) -> Handshakes {
        let limit = |max| if max == 0 { u32::MAX } else { max };
        Handshakes {
            all: AtomicU32::new(0),
            all_max: limit(all_max),
            by_address: (0..PLACES).map(|_| AtomicU32::new(0)).collect(),
            by_address_max: limit(by_address_max),
            hasher: RandomState::new(),
        }
    }

    /// Counts one more from this address (IPv6: from its /64, which is what one customer gets); `None` beyond a limit.
    pub fn admit(&self, address: IpAddr) -> Option<Admitted> {
        let hash = match address.to_canonical() {
            IpAddr::V4(address) => self.hasher.hash_one(address.octets()),
            IpAddr::V6(address) => self.hasher.hash_one(&address.octets()[..8]),
        };
        let place = NonZeroU16::new((hash % (PLACES as u64 - 1)) as u16 + 1)?;
        if !raise(&self.all, self.all_max) {
            return None;
        }
        if !raise(&self.by_address[usize::from(place.get())], self.by_address_max) {
            self.all.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Admitted(place))
    }

    /// One has authenticated or is gone.
    pub fn release(&self, admitted: Admitted) {
        let before = self.by_address[usize::from(admitted.0.get())].fetch_sub(1, Ordering::Relaxed);
        let all_before = self.all.fetch_sub(1, Ordering::Relaxed);
        assert!(before > 0 && all_before > 0, "released more than was admitted");
    }

    /// How many there are.
    pub fn count(&self) -> u32 {
        self.all.load(Ordering::Relaxed)
    }
}

fn raise(count: &AtomicU32, max: u32) -> bool {
    let added = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| (count < max).then_some(count + 1));
    added.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit(handshakes: &Handshakes, address: &str) -> Option<Admitted> {
        handshakes.admit(address.parse().unwrap())
    }

    #[test]
    fn both_limits_hold_and_give_back() {
        let handshakes = Handshakes::new(5, 2);
        let mut held = Vec::new();
        for (address, good) in [
            ("10.0.0.1", true),
            ("::ffff:10.0.0.1", true),
            ("10.0.0.1", false),
            ("2001:db8::1", true),
            ("2001:db8::2:3", true),
            ("2001:db8::4", false),
            ("10.0.0.2", true),
            ("10.0.0.3", false),
        ] {
            let admitted = admit(&handshakes, address);
            assert_eq!(admitted.is_some(), good, "{address}");
            held.extend(admitted);
        }
        assert_eq!(handshakes.count(), 5);
        held.drain(..).for_each(|admitted| handshakes.release(admitted));
        assert_eq!(handshakes.count(), 0);
        assert!(admit(&handshakes, "10.0.0.1").is_some());
    }

    #[test]
    fn zero_is_no_limit() {
        let handshakes = Handshakes::new(0, 0);
        assert!((0..10_000).all(|_| admit(&handshakes, "10.0.0.1").is_some()));
    }
}
