//! The load engine: a [`Scenario`] is run against a [`Target`] and gives a [`RunResult`].
//!
//! A coordinator prepares the rooms, starts workers (processes of one thread each), gives each its part of the
//! plan and merges what they report each second. Times of different workers are compared by CLOCK_MONOTONIC, which all
//! processes of one machine share; all workers therefore run on one machine. The server may be another one.

mod ahead;
mod call;
mod clock;
mod crew;
pub mod interrupt;
mod merge;
mod metrics;
mod own;
mod plan;
mod prepare;
mod run;
pub mod scenario;
mod span;
mod wire;
mod worker;

pub use crew::SUBCOMMAND;
pub use own::Own;
pub use scenario::Scenario;
pub use span::Span;

use crate::result::{RunResult, Second};
use std::net::SocketAddr;
use std::ops::ControlFlow;

/// The server under load.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its address for clients.
    pub addr: SocketAddr,
    /// Where `/metrics` is served; [`Target::addr`] where the server has no second port.
    pub metrics_addr: SocketAddr,
    /// Its `security.jwt_secret`, which signs the tokens of all users (HS256).
    pub secret: String,
    /// Its process, where it runs on this machine.
    pub pid: Option<u32>,
    /// The first process of PostgreSQL, where that runs on this machine.
    pub database_pid: Option<u32>,
}

impl Target {
    /// A server of which nothing else is known.
    pub fn new(addr: SocketAddr, secret: &str) -> Target {
        Target { addr, metrics_addr: addr, secret: secret.to_owned(), pid: None, database_pid: None }
    }
}

/// Runs a scenario; `on_second` is told of each second as soon as it is over, and may end the load before its time with
/// [`ControlFlow::Break`]. Blocks until the comparison of the histories at the end.
///
/// # Errors
/// What keeps the run from being made. Broken guarantees are no errors; they are in the result.
pub fn run(
    scenario: &Scenario,
    target: &Target,
    on_second: &mut dyn FnMut(&Second) -> ControlFlow<()>,
) -> Result<RunResult, String> {
    run::run(scenario, target, on_second)
}

/// What a worker process does: an order and controls come in on standard input, reports go out on standard output.
pub fn work() {
    worker::serve(std::io::stdin(), std::io::stdout());
}
