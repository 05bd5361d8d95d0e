//! `veza-sim --seed S --steps N`: runs worlds and says what does not hold.

use clap::Parser;
use veza_sim::{Plant, run, trace};

/// Veza's shards in virtual time, with faults.
#[derive(Parser)]
struct Args {
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Steps of each.
    #[arg(long, default_value_t = 2000)]
    steps: u64,
    /// Plant a fault: the run must find it.
    #[arg(long)]
    plant: Option<Plant>,
    /// Say how often each type of frame and each error was seen.
    #[arg(long)]
    tally: bool,
    /// Print all that happens.
    #[arg(long)]
    trace: bool,
}

fn main() -> std::process::ExitCode {
    let args = Args::parse();
    let (mut failed, mut acks) = (0, 0);
    let mut tally = std::collections::BTreeMap::<String, u64>::new();
    for seed in args.seed..args.seed + args.seeds {
        let run = if args.trace { trace } else { run };
        let report = run(seed, args.steps, args.plant);
        acks += report.acks;
        for (name, count) in &report.seen {
            *tally.entry(name.clone()).or_default() += count;
        }
        if let Some(violation) = &report.violation {
            failed += 1;
            println!("seed {seed}: {violation}");
        } else if args.seeds == 1 {
            println!("seed {seed}: hash {:016x}, {report:?}", report.hash);
        }
    }
    for (name, count) in tally.iter().filter(|_| args.tally) {
        println!("{count:9} {name}");
    }
    println!("{} seeds of {} steps: {failed} with a violation, {acks} acknowledgements", args.seeds, args.steps);
    if failed == 0 { std::process::ExitCode::SUCCESS } else { std::process::ExitCode::FAILURE }
}
