//! What the kernel says of this process' threads and of what it may use.

use std::fs;

/// CPU time so far, microseconds, by what the threads are for.
#[derive(Clone, Debug, Default, PartialEq)]
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
    pub fn read() -> ThreadCpu {
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
fn task_us(task: &std::path::Path) -> f64 {
    let exact = fs::read_to_string(task.join("schedstat")).unwrap_or_default();
    if let Some(ns) = exact.split_whitespace().next().and_then(|ns| ns.parse::<f64>().ok()) {
        return ns / 1e3;
    }
    let stat = fs::read_to_string(task.join("stat")).unwrap_or_default();
    let Some((_, fields)) = stat.rsplit_once(')') else { return 0.0 };
    // utime and stime: the 14th and 15th, counted with the name and the pid before it.
    fields.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() * 10_000.0
}

/// What this process may use at most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Cores: those that it may run on, or less if its control group's share is less.
    pub cores: f64,
    /// Resident memory, bytes.
    pub memory_bytes: f64,
    /// Where the bound on memory comes from.
    pub memory_source: &'static str,
}

impl Bounds {
    /// Reads them now; `resident_bytes` is what the process has.
    pub fn read(resident_bytes: f64) -> Bounds {
        let cores = std::thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64);
        let (memory_bytes, memory_source) = match control_group_memory() {
            Some(bytes) => (bytes, "control group"),
            // What the machine has left may be taken by others too; it is the best that is known.
            None => (resident_bytes + available_memory(), "memory available on the machine"),
        };
        Bounds { cores, memory_bytes, memory_source }
    }
}

/// The smallest `memory.max` (version 2) or `memory.limit_in_bytes` (version 1) of the process' control groups.
fn control_group_memory() -> Option<f64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let mut least: Option<f64> = None;
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            "memory" => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            _ => continue,
        };
        let mut group = path.trim_end_matches('/');
        loop {
            let found = fs::read_to_string(format!("{root}{group}/{file}")).ok();
            if let Some(bytes) = found.and_then(|text| text.trim().parse::<f64>().ok()) {
                // Version 1 writes "no limit" as the largest number of whole pages.
                if bytes < 9e18 {
                    least = Some(least.map_or(bytes, |least| least.min(bytes)));
                }
            }
            let Some((parent, _)) = group.rsplit_once('/') else { break };
            group = parent;
        }
    }
    least
}

fn available_memory() -> f64 {
    let info = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = info.lines().find_map(|line| line.strip_prefix("MemAvailable:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(0.0) * 1024.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_told_apart_by_their_names() {
        let threads =
            [("shard-0\n", 1.0), ("store-write\n", 2.0), ("sqlite-read-1\n", 4.0), ("control\n", 8.0), ("", 16.0)];
        let cpu = ThreadCpu::sum(threads.into_iter().map(|(name, us)| (name.to_owned(), us)));
        assert_eq!(cpu, ThreadCpu { store: 6.0, other: 24.0 });
    }

    #[test]
    fn a_thread_that_works_has_used_time() {
        let me = std::path::Path::new("/proc/thread-self");
        let before = task_us(me);
        while task_us(me) == before {}
    }

    #[test]
    fn there_are_cores_and_memory() {
        let bounds = Bounds::read(1e6);
        assert!(bounds.cores >= 1.0 && bounds.memory_bytes > 1e6, "{bounds:?}");
    }
}
