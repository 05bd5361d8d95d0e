//! `find-limit`: the load at which an objective breaks, and what ran out there.

use super::place::{Output, Place};
use clap::Args;
use veza_loadtest::load::{self, Own, Scenario, Target, interrupt};
use veza_loadtest::report::limit::{Limits, Plan, Sweep, search, watch};
use veza_loadtest::report::resources::Machine;
use veza_loadtest::report::{Assertion, write_limits_html, write_limits_json};

/// Arguments of `find-limit`.
#[derive(Args)]
pub struct Arguments {
    /// A scenario's name (see run), or a TOML file
    #[arg(default_value = SCENARIO)]
    scenario: String,
    #[command(flatten)]
    place: Place,
    /// Counts of shards, as 1,2,4: a server of its own for each, and the scalability law over all
    #[arg(long, value_delimiter = ',', conflicts_with = "addr", value_parser = clap::value_parser!(u32).range(1..))]
    shards: Vec<u32>,
    /// What must hold, in place of 'ack.p99<=50ms' and 'errors==0'; may be given often
    #[arg(long, value_name = "EXPRESSION")]
    objective: Vec<Assertion>,
    /// The first load, as a factor of the scenario's
    #[arg(long, default_value_t = FIRST, value_parser = above::<0>)]
    first: f64,
    /// From step to step
    #[arg(long, default_value_t = GROW, value_parser = above::<1>)]
    grow: f64,
    /// How exactly the limit is to be known, as a part of it
    #[arg(long, default_value_t = PRECISION, value_parser = above::<0>)]
    precision: f64,
    /// Runs for each count of shards, at most
    #[arg(long, default_value_t = STEPS, value_parser = clap::value_parser!(u32).range(1..))]
    steps: u32,
    #[command(flatten)]
    output: Output,
}

const SCENARIO: &str = "chat";
const FIRST: f64 = 1.0;
const GROW: f64 = 1.5;
const PRECISION: f64 = 0.1;
const STEPS: u32 = 16;

fn above<const BOUND: u32>(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if number.is_finite() && number > f64::from(BOUND) { Ok(number) } else { Err(format!("not above {BOUND}")) }
}

impl Arguments {
    /// With what `run` was told, and the defaults.
    pub fn named(place: Place, output: Output, shards: Option<u32>, objective: Vec<Assertion>) -> Arguments {
        Arguments {
            scenario: SCENARIO.into(),
            place,
            shards: shards.into_iter().collect(),
            objective,
            first: FIRST,
            grow: GROW,
            precision: PRECISION,
            steps: STEPS,
            output,
        }
    }

    pub fn run(mut self) -> Result<bool, String> {
        let scenario = self.place.scenario(&self.scenario)?;
        if scenario.rate() == 0.0 && scenario.load.in_flight == 0 {
            return Err(format!("{} has no load to raise", scenario.name));
        }
        if self.objective.is_empty() {
            self.objective = vec!["ack.p99<=50ms".parse()?, "errors==0".parse()?];
        }
        let machine = Machine::here();
        let mut sweeps = Vec::new();
        interrupt::take_over()?;
        if let Some(target) = self.place.target() {
            sweeps.push(self.sweep(&scenario, &target, &machine)?);
        } else {
            let counts: Vec<Option<u32>> =
                if self.shards.is_empty() { vec![None] } else { self.shards.iter().copied().map(Some).collect() };
            for shards in counts.into_iter().take_while(|_| !interrupt::asked()) {
                let own = Own::start(self.place.store.into(), &scenario, shards);
                let mut sweep = self.sweep(&scenario, &own.target, &machine)?;
                sweep.shards = shards.unwrap_or(sweep.shards);
                sweeps.push(sweep);
            }
        }
        let mut limits = Limits::of(&scenario.name, &self.objective, machine, sweeps);
        if interrupt::asked() {
            limits.notes.push("The search was interrupted: there may be less of it than was asked for.".into());
        }
        if self.place.addr.is_some_and(|addr| !addr.ip().is_loopback()) {
            let note = "The server ran on another machine: what is said of all cores and of memory is held against this one's.";
            limits.notes.push(note.into());
        }
        print!("{}", limits.text());
        if let Some(path) = &self.output.json {
            write_limits_json(&limits, path)?;
        }
        if let Some(path) = &self.output.html {
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
            steps_max: self.steps as usize,
            stop: interrupt::asked,
        };
        search(&plan, machine, &mut |factor| {
            let scaled = scenario.scaled(factor);
            let mut progress = self.output.progress(&format!("{} ×{factor:.2}", scenario.name), &scaled);
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
