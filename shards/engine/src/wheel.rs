//! One timer wheel for all connections of a shard: an entry costs eight bytes and no system call.

use crate::time::Mono;

/// Microseconds between two turns of the wheel: the precision of all connection deadlines.
pub const TICK_US: u64 = 100_000;
const SLOTS: usize = 256;

/// Entries that come up at their tick. An entry further ahead than the wheel is round comes up early; its owner
/// looks at its own deadline and puts it back.
#[derive(Debug)]
pub struct Wheel {
    slots: Vec<Vec<(u32, u32)>>,
    /// The tick that was taken last.
    current: u64,
    len: usize,
}

impl Wheel {
    /// An empty wheel.
    pub fn new(now: Mono) -> Wheel {
        Wheel { slots: vec![Vec::new(); SLOTS], current: now.0 / TICK_US, len: 0 }
    }

    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        self.slots.iter().map(|slot| crate::memory::items::<(u32, u32)>(slot.capacity())).sum()
    }

    /// Enters (slot, generation) to come up at `due` or, if that is too far, earlier. Returns when.
    pub fn insert(&mut self, entry: (u32, u32), due: Mono) -> Mono {
        let tick = due.0.div_ceil(TICK_US).clamp(self.current + 1, self.current + SLOTS as u64 - 1);
        self.slots[(tick % SLOTS as u64) as usize].push(entry);
        self.len += 1;
        Mono(tick * TICK_US)
    }

    /// Takes all that are due by now.
    pub fn take_due(&mut self, now: Mono, out: &mut Vec<(u32, u32)>) {
        let target = now.0 / TICK_US;
        while self.current < target {
            self.current += 1;
            let slot = &mut self.slots[(self.current % SLOTS as u64) as usize];
            self.len -= slot.len();
            out.append(slot);
            if slot.capacity() > 4096 {
                slot.shrink_to(64);
            }
            if self.len == 0 {
                self.current = target;
            }
        }
    }

    /// When the next entry comes up.
    pub fn next_due(&self) -> Option<Mono> {
        if self.len == 0 {
            return None;
        }
        (1..=SLOTS as u64)
            .map(|ahead| self.current + ahead)
            .find(|tick| !self.slots[(tick % SLOTS as u64) as usize].is_empty())
            .map(|tick| Mono(tick * TICK_US))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_up_once_and_not_before_their_time() {
        let mut wheel = Wheel::new(Mono(5_000_000));
        for (slot, due) in [(1, 5_150_000), (2, 5_200_000), (3, 90_000_000)] {
            wheel.insert((slot, 0), Mono(due));
        }
        let mut out = Vec::new();
        wheel.take_due(Mono(5_199_999), &mut out);
        assert!(out.is_empty());
        assert_eq!(wheel.next_due(), Some(Mono(5_200_000)));
        wheel.take_due(Mono(5_200_000), &mut out);
        assert_eq!(out, [(1, 0), (2, 0)]);
        out.clear();
        wheel.take_due(Mono(40_000_000), &mut out);
        assert_eq!(out, [(3, 0)], "further than one round: comes up early");
        assert_eq!(wheel.next_due(), None);
    }
}
