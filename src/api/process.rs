//! What the kernel knows about this process.

use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Numbers of this process; zero where `/proc` does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Process {
    /// Resident memory, bytes.
    pub resident_bytes: u64,
    /// Of them, pages of files: the program and its libraries, which other processes may share.
    pub file_bytes: u64,
    /// Virtual memory, bytes.
    pub virtual_bytes: u64,
    /// User and system CPU time, seconds.
    pub cpu_seconds: f64,
    /// The same by threads.
    pub thread_cpu: ThreadCpu,
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
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        // Finer than the ticks in `stat`.
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        Process {
            resident_bytes: bytes_in(&status, "VmRSS:"),
            file_bytes: bytes_in(&status, "RssFile:"),
            virtual_bytes: field(23),
            cpu_seconds: cpu.tv_sec as f64 + cpu.tv_nsec as f64 * 1e-9,
            thread_cpu: ThreadCpu::read(),
            threads: field(20),
            open_fds: open_fds(),
            max_fds: max_fds(),
            // USER_HZ is 100 on every Linux.
            started: boot_time() + field(22) as f64 / 100.0,
        }
    }
}

/// Resident memory by what it is for; all kinds together are [`Process::resident_bytes`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Memory {
    /// Pages of the program and its libraries.
    pub code: u64,
    /// Handed out by the allocator. What shards know of themselves is part of it.
    pub heap_used: u64,
    /// Kept by the allocator for the next who asks.
    pub heap_free: u64,
    /// The rest: stacks of threads, rings shared with the kernel, data of the program.
    pub other: u64,
}

impl Memory {
    /// Looks at the allocator, if the last look was long enough ago; otherwise what it said then stands.
    pub fn read(process: &Process) -> Memory {
        Memory::of(process.file_bytes, process.resident_bytes.saturating_sub(process.file_bytes), heap())
    }

    /// `code` and `anonymous` are resident; of what the allocator has, `(used, free)`, pages that nobody has touched yet
    /// or that went back to the system are not, so it counts up to what there is.
    fn of(code: u64, anonymous: u64, (used, free): (u64, u64)) -> Memory {
        let heap_used = used.min(anonymous);
        let heap_free = free.min(anonymous - heap_used);
        Memory { code, heap_used, heap_free, other: anonymous - heap_used - heap_free }
    }
}

/// The least time between two looks at the allocator.
const HEAP_EVERY: Duration = Duration::from_secs(10);
/// The allocator walks through all of its free blocks (180 ns each), and who needs memory waits meanwhile. So it is looked
/// at for a ten-thousandth of the time at most: after a crowd has left 50,000 blocks, every 90 s.
const HEAP_SHARE: u32 = 10_000;

/// What the allocator said, and when it is asked again.
#[derive(Clone, Copy, Debug)]
struct Look {
    heap: (u64, u64),
    next: Instant,
}

/// Bytes that the allocator has handed out and that it keeps, as of the last look; nothing where it does not tell.
fn heap() -> (u64, u64) {
    static LAST: Mutex<Option<Look>> = Mutex::new(None);
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    let begun = Instant::now();
    if let Some(look) = last.filter(|look| begun < look.next) {
        return look.heap;
    }
    let heap = veza_runtime::trim::heap();
    *last = Some(Look { heap, next: begun + HEAP_EVERY.max(begun.elapsed() * HEAP_SHARE) });
    heap
}

/// CPU time so far, microseconds, by what the threads are for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ThreadCpu {
    /// All threads of the store.
    pub store: f64,
    /// The control thread, password hashing, the watchdog: all but the store's and the shards', which tell it themselves.
    pub other: f64,
}

/// How the names of the store's threads begin, of either database.
const STORE: [&str; 2] = ["store-", "sqlite-"];

impl ThreadCpu {
    /// Reads it now; what `/proc` does not tell counts nothing.
    fn read() -> ThreadCpu {
        let Ok(tasks) = fs::read_dir("/proc/self/task") else { return ThreadCpu::default() };
        let tasks = tasks.flatten().map(|task| task.path());
        ThreadCpu::sum(tasks.map(|task| (fs::read_to_string(task.join("comm")).unwrap_or_default(), task_us(&task))))
    }

    /// Adds up threads by their names.
    fn sum(threads: impl Iterator<Item = (String, f64)>) -> ThreadCpu {
        let mut cpu = ThreadCpu::default();
        for (name, us) in threads {
            match name.trim_end() {
                name if name.starts_with("shard") => {}
                name if STORE.iter().any(|prefix| name.starts_with(prefix)) => cpu.store += us,
                _ => cpu.other += us,
            }
        }
        cpu
    }
}

/// Nanoseconds on a core where the kernel keeps them; else its clock ticks of 10 ms.
fn task_us(task: &Path) -> f64 {
    let exact = fs::read_to_string(task.join("schedstat")).unwrap_or_default();
    if let Some(ns) = exact.split_whitespace().next().and_then(|ns| ns.parse::<f64>().ok()) {
        return ns / 1e3;
    }
    let stat = fs::read_to_string(task.join("stat")).unwrap_or_default();
    let Some((_, fields)) = stat.rsplit_once(')') else { return 0.0 };
    // utime and stime: the 14th and 15th, counted with the name and the pid before it.
    fields.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() * 10_000.0
}

fn bytes_in(status: &str, key: &str) -> u64 {
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
        let Memory { code, heap_used, heap_free, other } = Memory::read(&process);
        assert!(code > 1 << 18 && heap_used > 1 << 16, "{process:?}");
        assert_eq!(code + heap_used + heap_free + other, process.resident_bytes);
        assert!(process.threads >= 1 && process.open_fds >= 3 && process.max_fds >= process.open_fds, "{process:?}");
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        assert!(process.started > 1e9 && process.started < now + 2.0, "{process:?} at {now}");
        let before = process.cpu_seconds;
        while Process::read().cpu_seconds == before {}
    }

    #[test]
    fn kinds_of_memory_are_never_more_than_there_is() {
        for (heap, used, free, other) in
            [((30, 20), 30, 20, 50), ((0, 0), 0, 0, 100), ((90, 20), 90, 10, 0), ((300, 20), 100, 0, 0)]
        {
            let memory = Memory::of(7, 100, heap);
            assert_eq!(memory, Memory { code: 7, heap_used: used, heap_free: free, other }, "{heap:?}");
        }
    }

    #[test]
    fn threads_are_told_apart_by_their_names() {
        let threads =
            [("shard-0\n", 1.0), ("store-write\n", 2.0), ("sqlite-read-1\n", 4.0), ("control\n", 8.0), ("", 16.0)];
        let cpu = ThreadCpu::sum(threads.into_iter().map(|(name, us)| (name.to_owned(), us)));
        assert_eq!(cpu, ThreadCpu { store: 6.0, other: 24.0 });
    }

    #[test]
    fn a_thread_that_works_has_used_time() {
        let me = Path::new("/proc/thread-self");
        let before = task_us(me);
        while task_us(me) == before {}
    }
}
