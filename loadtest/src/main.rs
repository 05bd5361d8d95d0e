//! `veza-loadtest`: the figures. Each command starts its own server (and database), prints what it measured, then
//! the same as one line of JSON, and ends with 0 only if the guarantees and bounds held.

mod cmd;

use clap::{Parser, Subcommand, ValueEnum};
use std::process::ExitCode;
use veza_loadtest::fault::Store;

const EXIT: &str =
    "Exit status: 0 if all guarantees and bounds held, 1 if one did not, 2 if there was no run to judge.";

#[derive(Parser)]
#[command(name = "veza-loadtest", about = "Load and fault figures of the chat server", version, after_help = EXIT)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs a load scenario, checks every guarantee meanwhile, and reports
    Run(cmd::run::Arguments),
    /// (a part of run) Plays some of its clients
    #[command(hide = true)]
    Worker(cmd::run::Worker),
    /// Kills, stops or pauses the server or its database under load, and accounts for every message
    Fault(cmd::fault::Arguments),
    /// A client resumes over 9,000 events of 1 KB while its room goes on talking
    #[command(name = "resume-9000")]
    Resume(cmd::resume::Arguments),
    /// Memory per idle connection, as the slope between two numbers of connections
    IdleMemory(cmd::idle::Arguments),
    /// Server CPU per delivery in one big room, against a bare loop of sends
    FanoutCpu(cmd::fanout::Arguments),
    /// Acknowledged durable sends a second, and the latency at half of that
    Sends(cmd::sends::Arguments),
    /// What /capacity predicts for one load after another, against what that load then takes
    Capacity(cmd::capacity::Arguments),
    /// Fills an empty database with users, rooms and messages
    Seed(cmd::seed::Arguments),
    /// Pages, searches and joins over much data and over little
    Pages(cmd::pages::Arguments),
    /// The table of the server's speed: every row an experiment
    Bench(cmd::bench::Arguments),
    /// The load at which an objective breaks, and what ran out there
    FindLimit(cmd::find_limit::Arguments),
    /// Bytes and CPU of compressed connections against plain ones
    Compression(cmd::compression::Arguments),
    /// Two results of runs side by side
    Compare(cmd::compare::Arguments),
    /// Judges and draws the result of a run again
    Report(cmd::report::Arguments),
    /// (a part of idle-memory) Holds connections until its standard input ends
    #[command(hide = true)]
    Hold(cmd::idle::Hold),
    /// (a part of bench) The bare loop's driver
    #[command(hide = true)]
    BareDriver(cmd::bench::bare::BareDriver),
    /// (a part of bench) The bare loop over rooms
    #[command(hide = true)]
    BareRooms(cmd::bench::bare::BareRooms),
    /// (a part of bench) A server that only accepts
    #[command(hide = true)]
    BareAccept(cmd::bench::conns::BareAccept),
    /// (a part of fanout-cpu) The bare loop
    #[command(hide = true)]
    BareLoop(cmd::fanout::BareLoop),
}

/// The store, as an argument.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum StoreName {
    /// The embedded database
    Sqlite,
    /// A private PostgreSQL server
    Postgres,
}

impl From<StoreName> for Store {
    fn from(name: StoreName) -> Store {
        match name {
            StoreName::Sqlite => Store::Sqlite,
            StoreName::Postgres => Store::Postgres,
        }
    }
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Run(arguments) => arguments.run(),
        Command::Worker(arguments) => arguments.run(),
        Command::Fault(arguments) => arguments.run(),
        Command::Resume(arguments) => arguments.run(),
        Command::IdleMemory(arguments) => arguments.run(),
        Command::FanoutCpu(arguments) => arguments.run(),
        Command::Sends(arguments) => arguments.run(),
        Command::Capacity(arguments) => arguments.run(),
        Command::Seed(arguments) => arguments.run(),
        Command::Pages(arguments) => arguments.run(),
        Command::Bench(arguments) => arguments.run(),
        Command::FindLimit(arguments) => arguments.run(),
        Command::Compression(arguments) => arguments.run(),
        Command::Compare(arguments) => arguments.run(),
        Command::Report(arguments) => arguments.run(),
        Command::Hold(arguments) => arguments.run(),
        Command::BareDriver(arguments) => arguments.run(),
        Command::BareRooms(arguments) => arguments.run(),
        Command::BareAccept(arguments) => arguments.run(),
        Command::BareLoop(arguments) => arguments.run(),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("a guarantee or a bound did not hold");
            ExitCode::from(1)
        }
        Err(reason) => {
            eprintln!("the run could not be made: {reason}");
            ExitCode::from(2)
        }
    }
}
