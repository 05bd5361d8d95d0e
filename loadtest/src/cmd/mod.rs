//! The commands: each has arguments and a `run` that says whether everything held.

pub mod bench;
pub mod capacity;
pub mod compare;
pub mod compression;
pub mod fanout;
pub mod fault;
pub mod find_limit;
pub mod idle;
pub mod pages;
pub mod place;
pub mod report;
pub mod resume;
pub mod run;
pub mod seed;
pub mod sends;

use serde::Serialize;
use veza_loadtest::fault::Store;
use veza_loadtest::pg::TestPg;
use veza_loadtest::server::{Options, Server};

/// Prints a figure for machines, as the last line.
fn print_json(name: &str, figures: &impl Serialize) -> Result<(), String> {
    let json = serde_json::to_string(figures).map_err(|error| error.to_string())?;
    println!("{{\"command\":\"{name}\",\"figures\":{json}}}");
    Ok(())
}

/// A server over that store; the database lives as long as what is answered with it.
fn start(store: Store, options: Options) -> (Server, Option<TestPg>) {
    let pg = (store == Store::Postgres).then(TestPg::start);
    let database = pg.as_ref().map(TestPg::url);
    (Server::start(Options { database, ..options }), pg)
}

/// A runtime on the calling thread: one core of load, and no locks.
fn on_this_thread<T>(work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    tokio::task::LocalSet::new().block_on(&runtime, work)
}
