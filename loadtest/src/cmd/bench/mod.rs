//! `bench`: the table of the server's speed. Each experiment starts its own server, fills one or more rows, and
//! reports the CPU time of everything that took part, so that a run in which the generator was the limit shows it.

pub mod bare;
pub mod conns;
mod crowded;
mod delivery;
mod ground;
mod pace;
mod table;

use clap::Args;
use serde::Serialize;
use std::path::PathBuf;

/// Arguments of `bench`.
#[derive(Args)]
pub struct Arguments {
    /// Only these rows of the table, by number
    #[arg(long, value_delimiter = ',')]
    rows: Vec<u32>,
    /// Short stretches: shows that the experiments work, the figures are rough
    #[arg(long)]
    quick: bool,
    /// Writes the rows as JSON as well
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// How thoroughly an experiment is made.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Shows that it works; the figures are rough.
    pub quick: bool,
}

impl Plan {
    /// `full`, or `quick` in a quick run.
    pub fn of<T>(self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }
}

/// Which way a value is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Good {
    /// The figures of reach and stretch are upper bounds.
    AtMost,
    /// They are lower bounds.
    AtLeast,
}

/// CPU seconds of a measured stretch; what did not take part or cannot be told apart is `None`.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Cpu {
    /// The server's, all threads.
    pub server: Option<f64>,
    /// The load generator's.
    pub generator: Option<f64>,
    /// The database's, all processes.
    pub database: Option<f64>,
    /// How long the stretch was, seconds of wall time.
    pub seconds: f64,
}

/// One row of the table.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its number; values that belong together (p50 and p99) share it.
    pub number: u32,
    /// What was measured.
    pub name: &'static str,
    /// The value.
    pub value: f64,
    /// Of value, reach and stretch (`×` is a ratio to the reference in the same run).
    pub unit: &'static str,
    /// Which way it is good.
    pub good: Good,
    /// What it must reach.
    pub reach: f64,
    /// What it would be good to reach.
    pub stretch: f64,
    /// What uWebSockets, which stores nothing, was measured at; empty where it was not.
    pub peer: &'static str,
    /// Costs of the measured stretch.
    pub cpu: Cpu,
    /// Absolute figures, spread, conditions.
    pub details: String,
}

impl Row {
    /// Whether the value reaches a bound.
    pub fn meets(&self, bound: f64) -> bool {
        match self.good {
            Good::AtMost => self.value <= bound,
            Good::AtLeast => self.value >= bound,
        }
    }
}

/// One experiment.
pub struct Experiment {
    /// The rows that it fills.
    pub rows: &'static [u32],
    /// Said before it runs.
    pub what: &'static str,
    /// Makes it.
    pub run: fn(Plan) -> Result<Vec<Row>, String>,
}

/// All experiments, in the order of the table.
const EXPERIMENTS: &[&[Experiment]] =
    &[&delivery::EXPERIMENTS, &pace::EXPERIMENTS, &conns::EXPERIMENTS, &crowded::EXPERIMENTS];

impl Arguments {
    pub fn run(self) -> Result<bool, String> {
        let plan = Plan { quick: self.quick };
        let wanted = |e: &&Experiment| self.rows.is_empty() || e.rows.iter().any(|row| self.rows.contains(row));
        let (mut rows, mut failed) = (Vec::new(), Vec::new());
        for experiment in EXPERIMENTS.iter().copied().flatten().filter(wanted) {
            eprintln!("rows {:?}: {}", experiment.rows, experiment.what);
            match (experiment.run)(plan) {
                Ok(measured) => {
                    measured.iter().for_each(|row| eprintln!("    {}", table::line(row)));
                    rows.extend(measured);
                }
                // The other rows are worth having.
                Err(reason) => {
                    eprintln!("    failed: {reason}");
                    failed.push(format!("rows {:?}: {reason}", experiment.rows));
                }
            }
        }
        rows.sort_by_key(|row| row.number);
        println!("{}", table::markdown(&rows));
        if let Some(path) = &self.json {
            let json = serde_json::to_string_pretty(&rows).map_err(|error| error.to_string())?;
            std::fs::write(path, json).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        if !failed.is_empty() {
            return Err(failed.join("\n"));
        }
        Ok(rows.iter().all(|row| row.meets(row.reach)))
    }
}
