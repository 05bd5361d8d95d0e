//! What is made of a [`RunResult`]: judgements, a line of progress, JSON, pages with plots, comparisons, and the search
//! for the limit. Everything here reads the result format and nothing else, so that it can be tested without a server.

mod assert;
mod compare;
#[cfg(test)]
mod examples;
pub mod format;
pub mod html;
pub mod limit;
mod pages;
pub mod plot;
mod progress;
pub mod resources;
mod summary;
pub mod usl;

pub use assert::{Assertion, judge};
pub use compare::{Comparison, Kind, Row, Told};
pub use progress::Progress;
pub use summary::summary;

use crate::result::RunResult;
use std::path::Path;

/// Writes a result for machines: `compare` and `RunResult::read` take it.
///
/// # Errors
/// If the file cannot be written.
pub fn write_json(run: &RunResult, path: &Path) -> Result<(), String> {
    let mut text = serde_json::to_string_pretty(run).map_err(|error| error.to_string())?;
    text.push('\n');
    write(path, &text)
}

/// Writes the report of a run: one HTML page with all in it.
///
/// # Errors
/// If the file cannot be written.
pub fn write_html(run: &RunResult, path: &Path) -> Result<(), String> {
    write(path, &pages::run_page(run))
}

/// Writes the page of a comparison. `names` are what the two are called, such as their files.
///
/// # Errors
/// If the file cannot be written.
pub fn write_comparison(
    names: [&str; 2],
    runs: [&RunResult; 2],
    fail_over: Option<f64>,
    path: &Path,
) -> Result<(), String> {
    write(path, &pages::compare_page(names, runs, fail_over))
}

/// Writes the result of a search for the limit as JSON.
///
/// # Errors
/// If the file cannot be written.
pub fn write_limits_json(limits: &limit::Limits, path: &Path) -> Result<(), String> {
    let mut text = serde_json::to_string_pretty(limits).map_err(|error| error.to_string())?;
    text.push('\n');
    write(path, &text)
}

/// Writes the page of a search for the limit.
///
/// # Errors
/// If the file cannot be written.
pub fn write_limits_html(limits: &limit::Limits, path: &Path) -> Result<(), String> {
    write(path, &pages::limit_page(limits))
}

/// Writes a text file, with its path in the error.
fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}
