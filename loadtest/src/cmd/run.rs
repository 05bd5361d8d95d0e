//! `run`: a scenario against a server, its own or one that runs already.

use super::find_limit;
use super::place::{Output, Place};
use super::print_json;
use clap::Args;
use std::ops::ControlFlow;
use veza_loadtest::load::{self, Own, interrupt};
use veza_loadtest::report::{Assertion, judge, summary, write_html, write_json};

/// Arguments of `run`.
#[derive(Args)]
pub struct Arguments {
    /// A scenario's name (chat, fanout, dm, idle, storm, slow-readers, mixed, soak), or a TOML file; find-limit is the
    /// command of that name with its own defaults
    scenario: String,
    #[command(flatten)]
    place: Place,
    /// The shards of the run's own server; by default one for each core
    #[arg(long, conflicts_with = "addr", value_parser = clap::value_parser!(u32).range(1..))]
    shards: Option<u32>,
    /// What must hold, as 'ack.p99<10ms'; may be given often
    #[arg(long = "assert", value_name = "EXPRESSION")]
    assert: Vec<Assertion>,
    #[command(flatten)]
    output: Output,
}

impl Arguments {
    pub fn run(self) -> Result<bool, String> {
        if self.scenario == "find-limit" {
            return find_limit::Arguments::named(self.place, self.output, self.shards, self.assert).run();
        }
        let scenario = self.place.scenario(&self.scenario)?;
        interrupt::take_over()?;
        let (target, own) = match self.place.target() {
            Some(target) => (target, None),
            None => {
                let own = Own::start(self.place.store.into(), &scenario, self.shards);
                (own.target.clone(), Some(own))
            }
        };
        let mut progress = self.output.progress(&scenario.name, &scenario);
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
        if let Some(path) = &self.output.json {
            write_json(&result, path)?;
        }
        if let Some(path) = &self.output.html {
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
