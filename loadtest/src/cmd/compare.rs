//! `compare`: two results of `run` side by side.

use clap::Args;
use std::path::PathBuf;
use veza_loadtest::report::{Comparison, write_comparison};
use veza_loadtest::result::RunResult;

/// Arguments of `compare`.
#[derive(Args)]
pub struct Arguments {
    /// The result that the other is held against
    first: PathBuf,
    /// The other
    second: PathBuf,
    /// Ends with 1 if a latency or a cost has grown to more than so many times the first's, as far as the runs can
    /// tell: percentiles with fewer than 10 values beyond them, maxima, and differences within noise are not judged
    #[arg(long, value_name = "RATIO", value_parser = ratio)]
    fail_over: Option<f64>,
    /// Writes a page with the curves of both
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

fn ratio(text: &str) -> Result<f64, String> {
    let ratio: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if ratio.is_finite() && ratio > 0.0 { Ok(ratio) } else { Err("not a ratio above 0".into()) }
}

impl Arguments {
    pub fn run(self) -> Result<bool, String> {
        let runs = [RunResult::read(&self.first)?, RunResult::read(&self.second)?];
        let comparison = Comparison::of(&runs[0], &runs[1]);
        print!("{}", comparison.text());
        if let Some(path) = &self.html {
            let names = [&self.first, &self.second].map(|path| path.display().to_string());
            write_comparison([&names[0], &names[1]], [&runs[0], &runs[1]], self.fail_over, path)?;
        }
        let grown = self.fail_over.map(|ratio| comparison.exceeding(ratio)).unwrap_or_default();
        for row in &grown {
            println!("{} has grown by more than the bound", row.name);
        }
        Ok(grown.is_empty())
    }
}
