//! Which resource a load has used up, as far as a result tells.

use super::assert::value;
use super::format;
use crate::result::RunResult;
use serde::{Deserialize, Serialize};

/// A resource is used up from this part on.
pub const FULL: f64 = 0.85;
/// The part of all cores above which other programs are said to have been the limit.
const OTHERS: f64 = 0.25;
/// Operations that one shard's journal holds by default (`limits.journal_operations`).
const JOURNAL_DEFAULT: f64 = 16_384.0;

/// The machine that server, database and generator share.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Machine {
    /// Cores that may be used.
    pub cores: f64,
    /// Memory, bytes.
    pub memory_bytes: f64,
}

impl Machine {
    /// This one.
    pub fn here() -> Machine {
        let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
        let kib = total.and_then(|text| text.trim().trim_end_matches(" kB").parse::<f64>().ok()).unwrap_or(0.0);
        Machine { cores: crate::process::cores() as f64, memory_bytes: kib * 1024.0 }
    }
}

/// A resource under a load.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Resource {
    /// What it is.
    pub name: &'static str,
    /// The part in use; 1 is all of it.
    pub used: f64,
    /// In figures.
    pub words: String,
}

/// All resources that the result tells of.
pub fn resources(run: &RunResult, machine: &Machine) -> Vec<Resource> {
    let mut found = Vec::new();
    let mut add = |name, used: Option<f64>, words: String| {
        if let Some(used) = used.filter(|used| used.is_finite()) {
            found.push(Resource { name, used, words });
        }
    };
    let cores = |name| value(run, name);
    let say = |cores: Option<f64>, of: f64| {
        format!("{} of {} cores", format::number(cores.unwrap_or(0.0)), format::number(of))
    };
    let (server, database, generator) = (cores("server.cores"), cores("database.cores"), cores("generator.cores"));
    match run.shard_busy.iter().copied().reduce(f64::max) {
        Some(busy) => {
            let each: Vec<String> = run.shard_busy.iter().map(|busy| format!("{:.0} %", busy * 100.0)).collect();
            add("CPU of a shard", Some(busy), format!("shards busy {}", each.join(", ")));
        }
        // Without the pump's own word: all of the process, spread over its shards.
        None if run.shards > 0 => {
            let of = f64::from(run.shards).min(machine.cores);
            add("CPU of a shard", server.map(|used| used / of), say(server, of));
        }
        None => {}
    }
    let workers = f64::from(run.workers.max(1));
    add("CPU of the load generator", generator.map(|used| used / workers), say(generator, workers));
    add("CPU of the database", database.map(|used| used / machine.cores), say(database, machine.cores));
    let all = server.map(|server| {
        server + database.unwrap_or(0.0) + generator.unwrap_or(0.0) + cores("others.cores").unwrap_or(0.0)
    });
    add("all cores of this machine", all.map(|used| used / machine.cores), say(all, machine.cores));
    let fds = run.server("process_open_fds").zip(run.server("process_max_fds"));
    if let Some((open, max)) = fds {
        add(
            "file descriptors of the server",
            Some(open / max),
            format!("{} of {}", format::number(open), format::number(max)),
        );
    }
    let rss = value(run, "server.rss").filter(|_| machine.memory_bytes > 0.0);
    if let Some(rss) = rss {
        let words = format!("{} of {}", format::bytes(rss), format::bytes(machine.memory_bytes));
        add("memory", Some(rss / machine.memory_bytes), words);
    }
    let setting =
        run.plan.pointer("/server/limits.journal_operations").and_then(|bound| bound.as_str()?.parse::<f64>().ok());
    let bound = setting.unwrap_or(JOURNAL_DEFAULT) * f64::from(run.shards.max(1));
    if let Some(waiting) = value(run, "journal_operations") {
        let words = format!("{} of {} operations", format::number(waiting), format::number(bound));
        add("journal queue", Some(waiting / bound), words);
    }
    found
}

/// What ran out, in a sentence: of the resources under the least load that broke the objective.
pub fn ran_out(run: &RunResult, machine: &Machine) -> String {
    let resources = resources(run, machine);
    let full = |name: &str| resources.iter().find(|resource| resource.name == name && resource.used >= FULL);
    // The more particular first: a full machine follows from full shards, not the other way round. A full generator
    // makes every other finding worthless.
    let order = [
        "CPU of the load generator",
        "journal queue",
        "file descriptors of the server",
        "memory",
        "CPU of the database",
        "all cores of this machine",
        "CPU of a shard",
    ];
    // One shard can only be busy all the time by itself if the machine had a core left for it.
    let order = if full("all cores of this machine").is_some() {
        order
    } else {
        [order[0], order[6], order[1], order[2], order[3], order[4], order[5]]
    };
    let Some(first) = order.into_iter().find_map(full) else {
        let most = resources.iter().max_by(|a, b| a.used.total_cmp(&b.used));
        return most.map_or_else(
            || "not known: the result tells of no resource".into(),
            |most| {
                format!(
                    "none of those looked at: the fullest was {} at {:.0} % ({})",
                    most.name,
                    most.used * 100.0,
                    most.words
                )
            },
        );
    };
    let more = match first.name {
        "CPU of the load generator" => ": the limit found is the generator's, not the server's",
        "all cores of this machine" => ": server, database, generator and others share it",
        _ => "",
    };
    let others = value(run, "others.cores").filter(|others| *others > machine.cores * OTHERS);
    let others = others.filter(|_| first.name == "all cores of this machine").map_or_else(String::new, |others| {
        format!("; {} of them were other programs': the limit found is not the server's", format::number(others))
    });
    format!("{} ({}){more}{others}", first.name, first.words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::examples;

    const MACHINE: Machine = Machine { cores: 8.0, memory_bytes: 1e9 };

    #[test]
    fn names_the_resource_that_is_used_up() {
        type Change = fn(&mut RunResult);
        let cases: [(&str, f64, Change); 10] = [
            ("none of those looked at: the fullest was CPU of the load generator at 30 %", 8.0, |_| {}),
            ("CPU of a shard (shards busy 20 %, 97 %)", 8.0, |run| run.shard_busy[1] = 0.97),
            ("CPU of a shard (1.9 of 2 cores)", 8.0, |run| {
                run.shard_busy.clear();
                run.cpu.server_s = Some(19.0);
            }),
            ("CPU of the load generator (0.95 of 1 cores): the limit found is the generator's", 8.0, |run| {
                run.cpu.generator_s = 9.5;
                run.shard_busy[1] = 0.97;
            }),
            ("CPU of the database (7.5 of 8 cores)", 8.0, |run| run.cpu.database_s = Some(75.0)),
            (
                "all cores of this machine (1.05 of 1 cores): server, database, generator and others share it",
                1.0,
                |run| {
                    run.shard_busy[1] = 0.97;
                },
            ),
            (
                "all cores of this machine (1.95 of 2 cores): server, database, generator and others share it; 1 of them",
                2.0,
                |run| run.cpu.others_s = Some(10.0),
            ),
            ("file descriptors of the server (990 of 1,000)", 8.0, |run| {
                run.server.insert("process_open_fds".into(), 990.0);
                run.server.insert("process_max_fds".into(), 1_000.0);
            }),
            ("memory (950 MB of 1 GB)", 8.0, |run| run.series[5].server_rss_bytes = Some(950_000_000)),
            ("journal queue (1,990 of 2,000 operations)", 8.0, |run| {
                run.plan = serde_json::json!({"server": {"limits.journal_operations": "1000"}});
                run.series[5].journal_operations = Some(1_990);
            }),
        ];
        for (expected, cores, change) in cases {
            let mut run = examples::run();
            change(&mut run);
            let found = ran_out(&run, &Machine { cores, ..MACHINE });
            assert!(found.starts_with(expected), "{found}\n{expected}");
        }
        let found = ran_out(&RunResult { measured_s: 0.0, ..RunResult::default() }, &MACHINE);
        assert!(found.starts_with("not known"), "{found}");
    }

    #[test]
    fn this_machine_has_cores_and_memory() {
        let here = Machine::here();
        assert!(here.cores >= 1.0 && here.memory_bytes > 1e7, "{here:?}");
    }
}
