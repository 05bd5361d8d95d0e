//! What the kernel knows about a process: CPU time, memory, the cores it may run on.

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;
use std::fs;
use std::io;
use std::process::{Command, Stdio};
use std::time::Duration;

/// User and system CPU time of a process in seconds, to 10 ms; ended threads count, child processes do not.
pub fn cpu_seconds(pid: u32) -> io::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in parentheses may hold anything; the fields after it are numbers. utime and stime are the 14th and 15th.
    let (_, fields) = stat.rsplit_once(')').ok_or(io::ErrorKind::InvalidData)?;
    let ticks: u64 = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    // USER_HZ is 100 on every Linux.
    Ok(ticks as f64 / 100.0)
}

/// User and system CPU time of a process, to the nanosecond; ended threads count, child processes do not.
pub fn cpu_time(pid: u32) -> io::Result<Duration> {
    let pid = i32::try_from(pid).map_err(io::Error::other)?;
    Ok(clock_gettime(clock_getcpuclockid(Pid::from_raw(pid))?)?.into())
}

/// Resident memory of a process in bytes.
pub fn rss_bytes(pid: u32) -> io::Result<u64> {
    status_kib(pid, "VmRSS:").map(|kib| kib * 1024)
}

fn status_kib(pid: u32, key: &str) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(key)).ok_or(io::ErrorKind::InvalidData)?;
    line.trim().trim_end_matches(" kB").parse().map_err(|_| io::ErrorKind::InvalidData.into())
}

/// Whether a process is no more, or only waits for its parent to notice.
pub fn ended(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.map_or(true, |stat| {
        stat.rsplit_once(')').is_none_or(|(_, fields)| fields.trim_start().starts_with(['Z', 'X']))
    })
}

/// How many cores this thread may run on.
pub fn cores() -> usize {
    let set = sched_getaffinity(Pid::from_raw(0)).unwrap_or_default();
    (0..CpuSet::count()).filter(|core| set.is_set(*core).unwrap_or(false)).count()
}

/// The core of a server that has one of its own, or of what it is compared with.
pub const SERVER_CORE: usize = 0;
/// The core of the load and of the database beside it.
const LOAD_CORE: usize = 1;

/// Runs `work` with the calling thread on one core. Threads and processes that it starts meanwhile stay there.
pub fn on_core<T>(core: usize, work: impl FnOnce() -> T) -> io::Result<T> {
    let before = sched_getaffinity(Pid::from_raw(0))?;
    pin_to_core(core)?;
    let result = work();
    sched_setaffinity(Pid::from_raw(0), &before)?;
    Ok(result)
}

/// As [`on_core`], off the server's core where the machine has another. How many the calling thread may use is not
/// asked: it may be kept on one of them already.
pub fn on_load_core<T>(work: impl FnOnce() -> T) -> io::Result<T> {
    let before = sched_getaffinity(Pid::from_raw(0))?;
    pin_to_load_core()?;
    let result = work();
    sched_setaffinity(Pid::from_raw(0), &before)?;
    Ok(result)
}

/// As [`on_load_core`], for good.
pub fn pin_to_load_core() -> io::Result<()> {
    pin_to_core(LOAD_CORE).or_else(|_| pin_to_core(SERVER_CORE))
}

/// Keeps the calling thread, and the threads that it will start, on one core.
pub fn pin_to_core(core: usize) -> io::Result<()> {
    let mut only = CpuSet::new();
    only.set(core)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &only)?)
}

/// Sends a signal by its name (`TERM`, `STOP`); a process that is gone already does not matter.
pub fn signal(pid: u32, name: &str) {
    let kill =
        Command::new("sh").args(["-c", "kill -s \"$0\" \"$1\"", name, &pid.to_string()]).stderr(Stdio::null()).status();
    kill.expect("sh runs");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_this_process() {
        let me = std::process::id();
        let before = cpu_seconds(me).expect("stat");
        let exactly = cpu_time(me).expect("its clock");
        while cpu_seconds(me).expect("stat") < before + 0.02 {}
        assert!(cpu_time(me).expect("its clock") > exactly);
        let mut child = Command::new("true").spawn().expect("true runs");
        assert!(!ended(me));
        while !ended(child.id()) {}
        child.wait().expect("our child");
        assert!(ended(child.id()));
        assert!(rss_bytes(me).expect("status") > 1 << 20);
        let all = cores();
        assert_eq!(on_core(0, cores).expect("core 0 exists"), 1);
        assert_eq!(cores(), all);
    }

    #[test]
    fn load_keeps_off_the_servers_core_however_deep_it_is_asked() {
        let where_now = || sched_getaffinity(Pid::from_raw(0)).expect("readable");
        let machine = where_now();
        let (outer, inner) = on_load_core(|| (where_now(), on_load_core(where_now).expect("a core"))).expect("a core");
        assert_eq!(outer, inner);
        let another = machine.is_set(LOAD_CORE).expect("a core");
        assert_eq!(outer.is_set(SERVER_CORE).expect("a core"), !another);
    }
}
