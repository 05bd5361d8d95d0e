//! What the kernel knows about this process.

use std::fs;

use rustix::time::{ClockId, clock_gettime};

/// Numbers of this process; zero where `/proc` does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Process {
    /// Resident memory, bytes.
    pub resident_bytes: u64,
    /// Virtual memory, bytes.
    pub virtual_bytes: u64,
    /// User and system CPU time, seconds.
    pub cpu_seconds: f64,
    /// Threads.
    pub threads: u64,
    /// Open descriptors.
    pub open_fds: u64,
    /// The most that it may open.
    pub max_fds: u64,
    /// When it was started, seconds since 1970.
    pub started: f64,
}

impl Process {
    /// Reads them now.
    pub fn read() -> Process {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // The name in parentheses may hold anything; the fields after it are numbers from the third on.
        let fields: Vec<u64> = match stat.rsplit_once(')') {
            Some((_, rest)) => rest.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect(),
            None => Vec::new(),
        };
        let field = |number: usize| fields.get(number - 3).copied().unwrap_or(0);
        // Finer than the ticks in `stat`.
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        Process {
            resident_bytes: bytes_in("VmRSS:"),
            virtual_bytes: field(23),
            cpu_seconds: cpu.tv_sec as f64 + cpu.tv_nsec as f64 * 1e-9,
            threads: field(20),
            open_fds: open_fds(),
            max_fds: max_fds(),
            // USER_HZ is 100 on every Linux.
            started: boot_time() + field(22) as f64 / 100.0,
        }
    }
}

fn bytes_in(key: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) * 1024
}

/// The size of the directory is their number from Linux 6.2 on; before, they must be counted one by one.
fn open_fds() -> u64 {
    match fs::metadata("/proc/self/fd").map_or(0, |directory| directory.len()) {
        0 => fs::read_dir("/proc/self/fd").map_or(0, |dir| dir.count().saturating_sub(1) as u64),
        known => known,
    }
}

fn boot_time() -> f64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = stat.lines().find_map(|line| line.strip_prefix("btime ")).unwrap_or_default();
    line.trim().parse().unwrap_or(0.0)
}

fn max_fds() -> u64 {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap_or_default();
    line.split_whitespace().next().and_then(|soft| soft.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_this_process() {
        let process = Process::read();
        assert!(process.resident_bytes > 1 << 20 && process.virtual_bytes > process.resident_bytes, "{process:?}");
        assert!(process.threads >= 1 && process.open_fds >= 3 && process.max_fds >= process.open_fds, "{process:?}");
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        assert!(process.started > 1e9 && process.started < now + 2.0, "{process:?} at {now}");
        let before = process.cpu_seconds;
        while Process::read().cpu_seconds == before {}
    }
}
