//! What the server and its database say of themselves: `/metrics`, and the kernel's accounts where they run here.

use super::Target;
use crate::{http, process};
use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

/// The longest that an answer may take: a later one would be taken for what was so long before.
const PATIENCE: Duration = Duration::from_secs(1);
/// CPU of the server, seconds.
pub const CPU: &str = "process_cpu_seconds_total";
/// Its resident memory.
pub const RSS: &str = "process_resident_memory_bytes";
/// Connections closed for reading too slowly.
pub const SLOW: &str = "disconnects_total{code=3002}";
/// Operations in its journals.
pub const JOURNAL: &str = "journal_operations";
/// Time that the pump of a shard was busy, by shard (and phase).
const BUSY: &str = "pump_busy_seconds_total";

/// One look.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// When, CLOCK_MONOTONIC, ns.
    pub at_ns: u64,
    /// By name without `veza_`, summed over labels; families with labels other than `shard` also by these.
    pub values: BTreeMap<String, f64>,
    /// Busy seconds of each shard.
    pub busy: BTreeMap<u32, f64>,
    /// CPU of PostgreSQL so far, seconds.
    pub database_s: Option<f64>,
    /// CPU of all programs of this machine so far, seconds; where the server runs on it.
    pub machine_s: Option<f64>,
    /// Why there are no values.
    pub failure: Option<String>,
}

/// Looks at everything that can be seen. Where the server runs here, CPU and memory are the kernel's account, which does not
/// wait for a server that is busy.
pub fn sample(target: &Target) -> Sample {
    let mut sample = Sample { at_ns: super::clock::now_ns(), ..Sample::default() };
    let mut own = BTreeMap::new();
    if let Some(pid) = target.pid {
        sample.machine_s = fs::read_to_string("/proc/stat").ok().and_then(|stat| machine_cpu_seconds(&stat));
        own.extend(process::cpu_time(pid).ok().map(|time| (CPU.to_owned(), time.as_secs_f64())));
        own.extend(process::rss_bytes(pid).ok().map(|bytes| (RSS.to_owned(), bytes as f64)));
    }
    sample.database_s = target.database_pid.and_then(family_cpu_seconds);
    match scrape(target.metrics_addr) {
        Ok(text) => parse(&text, &mut sample),
        Err(reason) => sample.failure = Some(reason),
    }
    sample.values.append(&mut own);
    sample
}

fn scrape(addr: SocketAddr) -> Result<String, String> {
    let response = http::get_within(addr, "/metrics", PATIENCE).map_err(|error| error.to_string())?;
    if response.status != 200 {
        return Err(format!("status {}", response.status));
    }
    String::from_utf8(response.body).map_err(|error| error.to_string())
}

/// Takes the text format apart; buckets of histograms are left out.
fn parse(text: &str, sample: &mut Sample) {
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        let Ok(value) = value.parse::<f64>() else { continue };
        let (name, labels) =
            series.split_once('{').map_or((series, ""), |(name, rest)| (name, rest.trim_end_matches('}')));
        let name = name.strip_prefix("veza_").unwrap_or(name);
        if name.ends_with("_bucket") {
            continue;
        }
        *sample.values.entry(name.to_owned()).or_default() += value;
        let labels: Vec<(&str, &str)> = labels.split(',').filter_map(|label| label.split_once('=')).collect();
        let others: Vec<String> = labels
            .iter()
            .filter(|(label, _)| *label != "shard")
            .map(|(label, value)| format!("{label}={}", value.trim_matches('"')))
            .collect();
        if !others.is_empty() {
            *sample.values.entry(format!("{name}{{{}}}", others.join(","))).or_default() += value;
        }
        let shard =
            labels.iter().find(|(label, _)| *label == "shard").and_then(|(_, of)| of.trim_matches('"').parse().ok());
        if let (BUSY, Some(shard)) = (name, shard) {
            *sample.busy.entry(shard).or_default() += value;
        }
    }
}

/// Shards that answered.
pub fn shards(sample: &Sample) -> u32 {
    sample.values.get("shard_up").map_or(0, |up| *up as u32)
}

/// Counters as differences, gauges as they are at the end.
pub fn difference(from: &Sample, to: &Sample) -> BTreeMap<String, f64> {
    let value = |(name, value): (&String, &f64)| {
        let family = name.split('{').next().unwrap_or(name);
        let counts = ["_total", "_sum", "_count"].iter().any(|end| family.ends_with(end));
        let before = if counts { from.values.get(name).copied().unwrap_or(0.0) } else { 0.0 };
        (name.clone(), value - before)
    };
    to.values.iter().map(value).collect()
}

/// The part of the time between two looks that each shard's pump was busy, by shard.
pub fn shard_busy(from: &Sample, to: &Sample) -> Vec<f64> {
    let seconds = (to.at_ns - from.at_ns) as f64 / 1e9;
    let part = |(shard, busy): (&u32, &f64)| (busy - from.busy.get(shard).unwrap_or(&0.0)) / seconds;
    if seconds > 0.0 { to.busy.iter().map(part).collect() } else { Vec::new() }
}

/// CPU of all programs, from `/proc/stat`: everything but idling and waiting for disks. What another virtual machine
/// took is gone as well.
fn machine_cpu_seconds(stat: &str) -> Option<f64> {
    let ticks: Vec<u64> =
        stat.lines().next()?.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; the rest is counted in these.
    let all: u64 = ticks.iter().take(8).sum();
    Some(all.checked_sub(ticks.get(3)? + ticks.get(4)?)? as f64 / 100.0)
}

/// CPU of a process, its children, and those of them that have ended.
fn family_cpu_seconds(pid: u32) -> Option<f64> {
    let ended = |pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (_, fields) = stat.rsplit_once(')')?;
        // cutime and cstime, the 16th and 17th.
        let ticks: u64 = fields.split_whitespace().skip(13).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        Some(ticks as f64 / 100.0)
    };
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    let living = children.split_whitespace().filter_map(|child| process::cpu_seconds(child.parse().ok()?).ok());
    Some(process::cpu_seconds(pid).ok()? + ended(pid)? + living.sum::<f64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_all_programs_used() {
        let stat = "cpu  100 20 30 5000 600 7 8 90 4 4\ncpu0 1 2 3 4 5 6 7 8 0 0\n";
        assert_eq!(machine_cpu_seconds(stat), Some(2.55));
        assert_eq!(machine_cpu_seconds("cpu 1 2"), None);
        assert_eq!(machine_cpu_seconds(""), None);
    }

    #[test]
    fn reads_families_and_subtracts_counters() {
        let text = "# TYPE veza_connections gauge\nveza_connections{shard=\"0\"} 3\nveza_connections{shard=\"1\"} 4\n\
                    veza_closes_total{shard=\"0\",code=\"3002\"} 5\nveza_turn_seconds_bucket{le=\"1\"} 9\n\
                    veza_pump_busy_seconds_total{shard=\"1\",phase=\"peers\"} 2.5\nprocess_cpu_seconds_total 1.5\n";
        let (mut from, mut to) = (Sample::default(), Sample { at_ns: 10_000_000_000, ..Sample::default() });
        parse(text, &mut from);
        parse(&text.replace(" 5", " 8").replace("2.5", "7.5").replace(" 3", " 1"), &mut to);
        let difference = difference(&from, &to);
        assert_eq!((difference["connections"], difference["closes_total{code=3002}"]), (5.0, 3.0));
        assert_eq!((difference[CPU], difference.get("turn_seconds_bucket")), (0.0, None));
        assert_eq!(shard_busy(&from, &to), [0.5]);
    }
}
