//! What the kernel says of what this process may use.

use std::fs;

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
    fn there_are_cores_and_memory() {
        let bounds = Bounds::read(1e6);
        assert!(bounds.cores >= 1.0 && bounds.memory_bytes > 1e6, "{bounds:?}");
    }
}
