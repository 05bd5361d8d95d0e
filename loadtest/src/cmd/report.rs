//! `report`: judges and draws a result of `run` again.

use clap::Args;
use std::path::PathBuf;
use veza_loadtest::report::{Assertion, judge, summary, write_html};
use veza_loadtest::result::RunResult;

/// Arguments of `report`.
#[derive(Args)]
pub struct Arguments {
    /// A result, as `run --json` writes it
    result: PathBuf,
    /// What it is held to, beside what it was held to then, such as 'ack.p99<10ms'
    #[arg(long = "assert", value_name = "EXPRESSION")]
    assertions: Vec<Assertion>,
    /// Writes the page
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

impl Arguments {
    pub fn run(self) -> Result<bool, String> {
        let mut run = RunResult::read(&self.result)?;
        judge(&mut run, &self.assertions);
        print!("{}", summary(&run));
        if let Some(path) = &self.html {
            write_html(&run, path)?;
        }
        Ok(run.passed())
    }
}
