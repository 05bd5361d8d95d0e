//! How much memory a shard's state takes, by kind: counted when somebody asks, over a bounded number of each kind, so that it
//! costs nothing while nobody does and no turn gets long. What is beyond the bound is estimated from what was looked at; the
//! next report looks at the next ones.
//!
//! Capacities are counted, as the allocator rounds them; the allocator's own waste and what threads share are not.

use crate::map::Map;

/// Things of one kind that one report looks at.
pub const SAMPLE_MAX: usize = 1024;

/// Bytes by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Connections: their state, their subscriptions, their place in rooms and timers.
    pub sessions: u64,
    /// Frames that wait for connections, and the queues they wait in. A frame that many wait for counts once.
    pub outboxes: u64,
    /// Rooms but their recent events: members known, subscriptions, client ids, presence.
    pub rooms: u64,
    /// Recent events of rooms, encoded.
    pub rings: u64,
    /// Users: connections, rates, profiles.
    pub users: u64,
    /// Identities of tokens that have been looked up.
    pub identities: u64,
}

/// A block as an allocator of 16-byte steps gives it, with its header; nothing for nothing.
pub(crate) fn block(bytes: usize) -> usize {
    if bytes == 0 { 0 } else { (bytes + 8).next_multiple_of(16) }
}

/// The table of a map; what keys and values own is not in it.
pub(crate) fn table<K, V>(map: &Map<K, V>) -> usize {
    buckets::<(K, V)>(map.capacity())
}

/// The table of a map or set with room for so many.
pub(crate) fn buckets<E>(capacity: usize) -> usize {
    if capacity == 0 {
        return 0;
    }
    // Seven eighths of the buckets are the capacity; each has a byte beside its entry.
    let buckets = (capacity * 8 / 7).next_power_of_two();
    block(buckets * (size_of::<E>() + 1) + 16)
}

/// The block of a vector of so many.
pub(crate) fn items<T>(capacity: usize) -> usize {
    block(capacity * size_of::<T>())
}

/// Where the next report goes on.
#[derive(Debug, Default)]
pub(crate) struct Cursor(usize);

impl Cursor {
    /// The bytes of `count` things: of all of them if there are few, otherwise estimated from the next [`SAMPLE_MAX`].
    pub(crate) fn estimate<T, const N: usize>(
        &mut self,
        count: usize,
        things: impl Iterator<Item = T>,
        bytes: impl Fn(T) -> [usize; N],
    ) -> [u64; N] {
        if self.0 >= count {
            self.0 = 0;
        }
        let (mut seen, mut sums) = (0u64, [0u64; N]);
        for thing in things.skip(self.0).take(SAMPLE_MAX) {
            seen += 1;
            sums.iter_mut().zip(bytes(thing)).for_each(|(sum, bytes)| *sum += bytes as u64);
        }
        self.0 = if count > SAMPLE_MAX { self.0 + SAMPLE_MAX } else { 0 };
        sums.map(|sum| if seen == 0 { 0 } else { (u128::from(sum) * count as u128 / u128::from(seen)) as u64 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_are_counted_and_many_estimated_in_turn() {
        let of = |count: usize, cursor: &mut Cursor| cursor.estimate(count, 0..count, |n| [n, 10])[0];
        let mut cursor = Cursor::default();
        for _ in 0..2 {
            assert_eq!(cursor.estimate(100, 0..100, |n| [n, 10]), [4950, 1000]);
        }
        assert_eq!(cursor.estimate(0, 0..0usize, |n| [n]), [0]);
        let count = SAMPLE_MAX * 3;
        let thirds: Vec<u64> = (0..4).map(|_| of(count, &mut cursor)).collect();
        assert!(thirds[0] < thirds[1] && thirds[1] < thirds[2], "it goes on where it was: {thirds:?}");
        assert_eq!(thirds[3], thirds[0], "and begins again");
        let all = (count * (count - 1) / 2) as u64;
        assert_eq!(thirds[..3].iter().sum::<u64>() / 3, all, "together they are right");
    }

    #[test]
    fn a_map_is_as_large_as_what_it_allocates() {
        assert_eq!(table(&Map::<u64, u64>::default()), 0);
        let map: Map<u64, u64> = (0..1000).map(|n| (n, n)).collect();
        // 2,048 buckets of 16 bytes and their control bytes.
        assert!((2048 * 17..2048 * 17 + 64).contains(&table(&map)), "{}", table(&map));
    }
}
