//! `run`: a scenario against a server, its own or one that runs already.

use super::print_json;
use crate::StoreName;
use clap::Args;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::path::PathBuf;
use veza_loadtest::load::{self, Own, Scenario, Target};
use veza_loadtest::report::{Assertion, Progress, judge, summary, write_html, write_json};

/// Arguments of `run`.
#[derive(Args)]
pub struct Arguments {
    /// A scenario's name (chat, fanout, dm, idle, storm, slow-readers, mixed, soak), or a TOML file
    scenario: String,
    /// A server that runs already (on this machine, or a test cluster of one's own)
    #[arg(long, value_name = "HOST:PORT", requires = "secret")]
    addr: Option<SocketAddr>,
    /// Its security.jwt_secret
    #[arg(long)]
    secret: Option<String>,
    /// Where it serves /metrics, if it has a second address for that
    #[arg(long, value_name = "HOST:PORT", requires = "addr")]
    metrics_addr: Option<SocketAddr>,
    /// The store of a server of its own
    #[arg(long, value_enum, default_value = "sqlite", conflicts_with = "addr")]
    store: StoreName,
    /// The shards of that server; by default one for each core
    #[arg(long, conflicts_with = "addr")]
    shards: Option<u32>,
    /// Overrides a field, as load.rate=500
    #[arg(long, value_name = "FIELD=VALUE")]
    set: Vec<String>,
    /// What must hold, as 'ack.p99<10ms'
    #[arg(long = "assert", value_name = "EXPRESSION")]
    assert: Vec<Assertion>,
    /// Writes the result
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Writes a page with plots of it
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Prints no progress
    #[arg(long)]
    quiet: bool,
}

/// A scenario by name or file, with overrides.
pub fn scenario(name: &str, set: &[String]) -> Result<Scenario, String> {
    let mut scenario = Scenario::find(name)?;
    set.iter().try_for_each(|assignment| scenario.set(assignment))?;
    Ok(scenario)
}

impl Arguments {
    pub fn run(self) -> Result<bool, String> {
        let scenario = scenario(&self.scenario, &self.set)?;
        let (target, own) = match (self.addr, &self.secret) {
            (Some(addr), Some(secret)) => {
                let metrics_addr = self.metrics_addr.unwrap_or(addr);
                (Target { metrics_addr, ..Target::new(addr, secret) }, None)
            }
            _ => {
                let own = Own::start(self.store.into(), &scenario, self.shards);
                (own.target.clone(), Some(own))
            }
        };
        let total = (scenario.warmup.0 + scenario.duration.0).as_secs_f64();
        let mut progress = (!self.quiet).then(|| Progress::new(&scenario.name, Some(total)));
        let result = load::run(&scenario, &target, &mut |second| {
            if let Some(progress) = &mut progress {
                progress.second(second);
            }
            ControlFlow::Continue(())
        });
        if let (Some(own), Err(_)) = (&own, &result) {
            eprintln!("--- the end of the server's log\n{}", own.server.log());
        }
        let mut result = result?;
        if let Some(mut progress) = progress {
            progress.finish();
        }
        judge(&mut result, &self.assert);
        print!("{}", summary(&result));
        if let Some(path) = &self.json {
            write_json(&result, path)?;
        }
        if let Some(path) = &self.html {
            write_html(&result, path)?;
        }
        print_json("run", &serde_json::json!({"passed": result.passed(), "counts": result.counts}))?;
        Ok(result.passed())
    }
}

/// Arguments of `worker`.
#[derive(Args)]
pub struct Worker {}

impl Worker {
    pub fn run(self) -> Result<bool, String> {
        load::work();
        Ok(true)
    }
}
