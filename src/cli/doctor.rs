//! `doctor`: what the server needs from its surroundings, how it is, and what to do about it.

use super::{EXIT_FAILED, block_on, refuse};
use crate::config::Config;
use crate::store;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use veza_runtime::{allowed_cores, probe};

/// Open files below which a busy server runs out: one for each connection.
const FILES_WANTED: u64 = 65_536;
/// Open files below which it cannot do much at all.
const FILES_MIN: u64 = 1024;
/// The oldest kernel that is known to do.
const KERNEL_MIN: (u32, u32) = (5, 8);
/// How long the database may take to answer.
const DATABASE_PATIENCE: Duration = Duration::from_secs(10);

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// As it should be.
    Good,
    /// It works, but could be better.
    Poor,
    /// The server cannot run, or not keep what it promises.
    Broken,
}

struct Finding {
    state: State,
    name: String,
    value: String,
    advice: String,
}

impl Finding {
    fn good(name: &str, value: impl ToString) -> Finding {
        Finding { state: State::Good, name: name.into(), value: value.to_string(), advice: String::new() }
    }
    fn poor(name: &str, value: impl ToString, advice: impl Into<String>) -> Finding {
        Finding { state: State::Poor, advice: advice.into(), ..Finding::good(name, value) }
    }
    fn broken(name: &str, value: impl ToString, advice: impl Into<String>) -> Finding {
        Finding { state: State::Broken, ..Finding::poor(name, value, advice) }
    }
}

/// Looks, prints, and exits with 1 if something is broken.
pub fn run(path: Option<&Path>) -> ExitCode {
    let (config, warnings) = match Config::load(path) {
        Ok(loaded) => loaded,
        Err(error) => return refuse(&error),
    };
    let mut findings = vec![kernel(), cores(config.server.shards), files(), memlock(), io_uring()];
    findings.push(data_dir(&config.server.data_dir));
    findings.extend(warnings.iter().map(|warning| Finding::poor("configuration", warning, "see above")));
    findings.extend(database(&config));
    let (text, broken) = report(&findings);
    match (super::print(&text), broken) {
        (_, true) => ExitCode::from(EXIT_FAILED),
        (printed, false) => printed,
    }
}

fn report(findings: &[Finding]) -> (String, bool) {
    let mut text = String::new();
    for Finding { state, name, value, advice } in findings {
        let mark = match state {
            State::Good => "ok     ",
            State::Poor => "poor   ",
            State::Broken => "BROKEN ",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{mark}{name}: {value}");
        if *state != State::Good {
            let _ = writeln!(text, "       -> {advice}");
        }
    }
    let count = |wanted| findings.iter().filter(|finding| finding.state == wanted).count();
    let (poor, broken) = (count(State::Poor), count(State::Broken));
    let _ = match (broken, poor) {
        (0, 0) => writeln!(text, "All is well."),
        _ => writeln!(text, "{broken} broken, {poor} could be better."),
    };
    (text, broken > 0)
}

/// Raises the limit of open files to what the system allows: each connection is one.
///
/// # Errors
/// The system refuses.
pub fn raise_file_limit() -> std::io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return Ok(());
    }
    Ok(setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?)
}

fn kernel() -> Finding {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    judge_kernel(release.trim())
}

fn judge_kernel(release: &str) -> Finding {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit()).map_while(|part| part.parse().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version >= KERNEL_MIN {
        Finding::good("kernel", release)
    } else {
        let advice = format!("use Linux {}.{} or newer", KERNEL_MIN.0, KERNEL_MIN.1);
        Finding::broken("kernel", if release.is_empty() { "unknown" } else { release }, advice)
    }
}

fn cores(shards: u16) -> Finding {
    match allowed_cores() {
        Err(error) => Finding::broken("cores", error, "allow sched_getaffinity"),
        Ok(cores) if usize::from(shards) > cores.len() => Finding::poor(
            "cores",
            format!("{} for {shards} shards", cores.len()),
            "set server.shards = 0: one shard for each core",
        ),
        Ok(cores) => Finding::good("cores", cores.len()),
    }
}

fn files() -> Finding {
    judge_files(getrlimit(Resource::Nofile).maximum)
}

/// `limit`: the hard one, up to which the server raises its own at start.
fn judge_files(limit: Option<u64>) -> Finding {
    let advice = format!("raise the hard limit to {FILES_WANTED} or more (LimitNOFILE= in systemd, ulimit -Hn)");
    match limit {
        Some(limit) if limit < FILES_MIN => Finding::broken("open files", limit, advice),
        Some(limit) if limit < FILES_WANTED => Finding::poor("open files", limit, advice),
        Some(limit) => Finding::good("open files", limit),
        None => Finding::good("open files", "no limit"),
    }
}

fn memlock() -> Finding {
    match probe::memlock_limit() {
        Some(limit) if limit < probe::MEMLOCK_MIN => {
            let advice = format!("raise it to {} or more (LimitMEMLOCK= in systemd, ulimit -l)", probe::MEMLOCK_MIN);
            Finding::broken("locked memory", limit, advice)
        }
        Some(limit) => Finding::good("locked memory", limit),
        None => Finding::good("locked memory", "no limit"),
    }
}

fn io_uring() -> Finding {
    match probe::probe() {
        Ok(()) => Finding::good("io_uring", "usable"),
        Err(unusable) => Finding::broken("io_uring", "refused", unusable.to_string()),
    }
}

fn data_dir(path: &Path) -> Finding {
    if !path.exists() {
        return Finding::good("data directory", format!("{} (will be made)", path.display()));
    }
    let probe = path.join(format!(".doctor-{}", std::process::id()));
    match fs::write(&probe, b"").and_then(|()| fs::remove_file(&probe)) {
        Ok(()) => Finding::good("data directory", path.display()),
        Err(error) => Finding::broken(
            "data directory",
            format!("{}: {error}", path.display()),
            "let the server's user write there, or set server.data_dir",
        ),
    }
}

fn database(config: &Config) -> Vec<Finding> {
    let url = &config.database.url;
    let check = async { tokio::time::timeout(DATABASE_PATIENCE, store::check(url.expose())).await };
    let unreachable = |what: String| {
        let advice = "see that it runs, and that database.url, user and password are right";
        vec![Finding::broken("database", format!("{url}: {what}"), advice)]
    };
    match block_on(check) {
        Ok(Ok(Ok(report))) => {
            let reached = Finding::good("database reachable", url);
            let rest = report.findings.into_iter().map(|finding| match finding.advice {
                None => Finding::good(&finding.name, finding.value),
                // Serving brings it up to date by itself; one that is too new is an error.
                Some(advice) if advice.contains("migrate") => Finding::poor(&finding.name, finding.value, advice),
                Some(advice) => Finding::broken(&finding.name, finding.value, advice),
            });
            std::iter::once(reached).chain(rest).collect()
        }
        Ok(Ok(Err(error))) => unreachable(error.to_string()),
        Ok(Err(_)) => unreachable(format!("no answer within {} s", DATABASE_PATIENCE.as_secs())),
        Err(error) => unreachable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_and_limits_are_judged() {
        for (release, state) in [
            ("6.18.5-arch1-1", State::Good),
            ("5.8.0", State::Good),
            ("5.7.19", State::Broken),
            ("4.19", State::Broken),
            ("", State::Broken),
        ] {
            assert_eq!(judge_kernel(release).state, state, "{release}");
        }
        for (limit, state) in [
            (None, State::Good),
            (Some(1_048_576), State::Good),
            (Some(20_000), State::Poor),
            (Some(256), State::Broken),
        ] {
            assert_eq!(judge_files(limit).state, state, "{limit:?}");
        }
    }

    #[test]
    fn only_what_is_broken_fails_and_says_what_to_do() {
        let good = || Finding::good("kernel", "6.1");
        let poor = || Finding::poor("open files", 20_000, "raise it");
        let broken = || Finding::broken("io_uring", "refused", "allow it");
        assert_eq!(report(&[good()]), ("ok     kernel: 6.1\nAll is well.\n".into(), false));
        assert!(!report(&[good(), poor()]).1);
        let (text, failed) = report(&[poor(), broken()]);
        assert!(failed && text.contains("-> allow it") && text.contains("1 broken, 1 could be better"), "{text}");
    }
}
