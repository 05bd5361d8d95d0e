//! The only clocks of a shard: read once per turn and handed into the engine with every input.

use rustix::time::{ClockId, clock_gettime};
use veza_engine::time::{Mono, Now, WallMs};

/// Both clocks, now: `CLOCK_MONOTONIC` (also the clock of the poller's timer) and `CLOCK_REALTIME`.
pub fn now() -> Now {
    let wall = clock_gettime(ClockId::Realtime);
    Now { mono: mono(), wall: WallMs(wall.tv_sec * 1000 + wall.tv_nsec / 1_000_000) }
}

/// `CLOCK_MONOTONIC` alone.
pub fn mono() -> Mono {
    let mono = clock_gettime(ClockId::Monotonic);
    // The monotonic clock counts from the boot: never negative.
    Mono(mono.tv_sec as u64 * 1_000_000 + mono.tv_nsec as u64 / 1000)
}

/// CPU time of the calling thread, microseconds.
pub fn thread_cpu_us() -> u64 {
    let cpu = clock_gettime(ClockId::ThreadCPUTime);
    cpu.tv_sec as u64 * 1_000_000 + cpu.tv_nsec as u64 / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clocks_are_those_of_the_system() {
        let before = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64;
        let (first, second) = (now(), now());
        assert!(first.wall.0 >= before);
        assert!(second.mono >= first.mono);
        assert!(first.mono.0 > 0);
    }
}
