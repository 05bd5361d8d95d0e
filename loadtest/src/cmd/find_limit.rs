//! `find-limit`: the load at which an objective breaks, and what ran out there.

use super::run::scenario;
use crate::StoreName;
use clap::Args;
use std::net::SocketAddr;
use std::path::PathBuf;
use veza_loadtest::load::{self, Own, Scenario, Target};
use veza_loadtest::report::limit::{Limits, Plan, Sweep, search, watch};
use veza_loadtest::report::resources::Machine;
use veza_loadtest::report::{Assertion, Progress, write_limits_html, write_limits_json};

/// Arguments of `find-limit`.
#[derive(Args)]
pub struct Arguments {
    /// A scenario's name, or a TOML file
    #[arg(default_value = "chat")]
    scenario: String,
    /// Overrides a field, as load.rate=500
    #[arg(long, value_name = "FIELD=VALUE")]
    set: Vec<String>,
    /// A server that runs already
    #[arg(long, value_name = "HOST:PORT", requires = "secret")]
    addr: Option<SocketAddr>,
    /// Its security.jwt_secret
    #[arg(long)]
    secret: Option<String>,
    /// Where it serves /metrics, if it has a second address for that
    #[arg(long, value_name = "HOST:PORT", requires = "addr")]
    metrics_addr: Option<SocketAddr>,
    /// The store of servers of its own
    #[arg(long, value_enum, default_value = "sqlite", conflicts_with = "addr")]
    store: StoreName,
    /// Counts of shards, as 1,2,4: a server of its own for each, and the scalability law over all
    #[arg(long, value_delimiter = ',', conflicts_with = "addr", value_parser = clap::value_parser!(u32).range(1..))]
    shards: Vec<u32>,
    /// What must hold, in place of 'ack.p99<=50ms' and 'errors==0'
    #[arg(long, value_name = "EXPRESSION")]
    objective: Vec<Assertion>,
    /// The first load, as a factor of the scenario's
    #[arg(long, default_value_t = 1.0, value_parser = above::<0>)]
    first: f64,
    /// From step to step
    #[arg(long, default_value_t = 1.5, value_parser = above::<1>)]
    grow: f64,
    /// How exactly the limit is to be known, as a part of it
    #[arg(long, default_value_t = 0.1, value_parser = above::<0>)]
    precision: f64,
    /// Runs for each count of shards, at most
    #[arg(long, default_value_t = 16)]
    steps: usize,
    /// Writes the result
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Writes a page
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Prints no progress
    #[arg(long)]
    quiet: bool,
}

fn above<const BOUND: u32>(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if number.is_finite() && number > f64::from(BOUND) { Ok(number) } else { Err(format!("not above {BOUND}")) }
}

impl Arguments {
    pub fn run(mut self) -> Result<bool, String> {
        let scenario = scenario(&self.scenario, &self.set)?;
        if scenario.rate() == 0.0 && scenario.load.in_flight == 0 {
            return Err(format!("{} has no load to raise", scenario.name));
        }
        if self.objective.is_empty() {
            self.objective = vec!["ack.p99<=50ms".parse()?, "errors==0".parse()?];
        }
        let machine = Machine::here();
        let mut sweeps = Vec::new();
        if let (Some(addr), Some(secret)) = (self.addr, &self.secret) {
            let target = Target { metrics_addr: self.metrics_addr.unwrap_or(addr), ..Target::new(addr, secret) };
            sweeps.push(self.sweep(&scenario, &target, &machine)?);
        } else {
            let counts: Vec<Option<u32>> =
                if self.shards.is_empty() { vec![None] } else { self.shards.iter().copied().map(Some).collect() };
            for shards in counts {
                let own = Own::start(self.store.into(), &scenario, shards);
                let mut sweep = self.sweep(&scenario, &own.target, &machine)?;
                sweep.shards = shards.unwrap_or(sweep.shards);
                sweeps.push(sweep);
            }
        }
        let mut limits = Limits::of(&scenario.name, &self.objective, machine, sweeps);
        if self.addr.is_some_and(|addr| !addr.ip().is_loopback()) {
            let note = "The server ran on another machine: what is said of all cores and of memory is held against this one's.";
            limits.notes.push(note.into());
        }
        print!("{}", limits.text());
        if let Some(path) = &self.json {
            write_limits_json(&limits, path)?;
        }
        if let Some(path) = &self.html {
            write_limits_html(&limits, path)?;
        }
        Ok(limits.found())
    }

    fn sweep(&self, scenario: &Scenario, target: &Target, machine: &Machine) -> Result<Sweep, String> {
        let plan = Plan {
            objective: self.objective.clone(),
            first: self.first,
            grow: self.grow,
            precision: self.precision,
            steps_max: self.steps,
        };
        search(&plan, machine, &mut |factor| {
            let scaled = scenario.scaled(factor);
            let total = (scaled.warmup.0 + scaled.duration.0).as_secs_f64();
            let name = format!("{} ×{factor:.2}", scenario.name);
            let mut progress = (!self.quiet).then(|| Progress::new(&name, Some(total)));
            let run = load::run(&scaled, target, &mut |second| {
                if let Some(progress) = &mut progress {
                    progress.second(second);
                }
                watch(&self.objective, second)
            });
            if let Some(mut progress) = progress {
                progress.finish();
            }
            run
        })
    }
}
