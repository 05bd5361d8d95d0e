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
        let mut cpu = ThreadCpu::default();
        let Ok(tasks) = fs::read_dir("/proc/self/task") else { return cpu };
        for task in tasks.flatten().map(|task| task.path()) {
            let name = fs::read_to_string(task.join("comm")).unwrap_or_default();
            let us = task_us(&task);
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
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let stopped = std::sync::Arc::new(std::sync::Mutex::new(stopped));
        let (ready, is_ready) = std::sync::mpsc::channel();
        let (before, threads): (_, Vec<_>) = (
            ThreadCpu::read(),
            ["store-9", "other-9"]
                .into_iter()
                .map(|name| {
                    let (stopped, ready) = (stopped.clone(), ready.clone());
                    let work = move || {
                        let begun = std::time::Instant::now();
                        while begun.elapsed().as_millis() < 20 {}
                        ready.send(()).expect("the test waits");
                        drop(stopped.lock().map(|stopped| stopped.recv()));
                    };
                    std::thread::Builder::new().name(name.into()).spawn(work).expect("a thread")
                })
                .collect(),
        );
        (0..3).for_each(|_| is_ready.recv().expect("it runs"));
        let cpu = ThreadCpu::read();
        drop(stop);
        threads.into_iter().for_each(|thread| thread.join().expect("it ends"));
        // Each has worked for 20 ms on the wall's clock, of which it got some.
        assert!(cpu.store > before.store && cpu.other > before.other, "{cpu:?} {before:?}");
    }

    #[test]
    fn there_are_cores_and_memory() {
        let bounds = Bounds::read(1e6);
        assert!(bounds.cores >= 1.0 && bounds.memory_bytes > 1e6, "{bounds:?}");
    }
}
