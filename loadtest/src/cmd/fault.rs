//! `fault`: what `tests/durability.rs` does in short.

use super::print_json;
use crate::StoreName;
use clap::{Args, ValueEnum};
use std::time::Duration;
use veza_loadtest::fault::{Fault, Load, Plan, Run};

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// kill -9 of the server
    Kill9,
    /// kill -9 of PostgreSQL's backends
    PgKill9,
    /// PostgreSQL stopped
    PgStop,
    /// PostgreSQL paused by SIGSTOP
    PgPause,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LoadName {
    /// Sending only
    Sends,
    /// Every verb that changes something
    Mixed,
}

/// Arguments of `fault`.
#[derive(Args)]
pub struct Arguments {
    kind: Kind,
    #[arg(long, value_enum, default_value = "postgres")]
    store: StoreName,
    /// What users do meanwhile
    #[arg(long, value_enum, default_value = "mixed")]
    load: LoadName,
    /// How many times [default: 20 for kills, 1 for the others]
    #[arg(long)]
    times: Option<u32>,
    /// How long the database is away
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Acknowledgements before each fault
    #[arg(long, default_value_t = 2000)]
    acks_between: u64,
    /// Commands on messages that are offered each second
    #[arg(long, default_value_t = 1600)]
    rate: u64,
}

/// The load of sends that the figures are promised for.
const ACKS_PER_SECOND_MIN: f64 = 1000.0;

impl Arguments {
    pub fn run(self) -> Result<bool, String> {
        let time = Duration::from_secs(self.seconds);
        let (fault, times) = match self.kind {
            Kind::Kill9 => (Fault::ServerKill9, 20),
            Kind::PgKill9 => (Fault::BackendKill9, 20),
            Kind::PgStop => (Fault::PgStop(time), 1),
            Kind::PgPause => (Fault::PgPause(time), 1),
        };
        let run = Run {
            fault,
            store: if fault == Fault::ServerKill9 { self.store.into() } else { StoreName::Postgres.into() },
            times: self.times.unwrap_or(times),
            acks_between: self.acks_between,
            load: match self.load {
                LoadName::Sends => Load::Sends,
                LoadName::Mixed => Load::Mixed,
            },
            plan: Plan { rate: self.rate, ..Plan::default() },
        };
        println!("{fault:?} on {:?}, {} times, {:?}", run.store, run.times, run.plan);
        let run_load = run.load;
        let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
        let report = runtime.block_on(run.make())?;
        println!("{report:#?}");
        print_json("fault", &report)?;
        Ok(report.held() && (run_load == Load::Mixed || report.acks_per_second.0 >= ACKS_PER_SECOND_MIN))
    }
}
