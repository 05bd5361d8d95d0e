//! `seed`: masses of data for tests of capacity.

use super::print_json;
use clap::Args;
use serde::Serialize;
use std::time::Instant;
use veza_loadtest::seed::{Plan, write};

/// Arguments of `seed`.
#[derive(Args)]
pub struct Arguments {
    /// The database, empty and not in use: sqlite://… or postgresql://…
    #[arg(long)]
    url: String,
    /// Users, named seed1, seed2, … (which is their `sub`, too)
    #[arg(long, default_value_t = 10_000)]
    users: u64,
    /// Rooms besides the big one, which is room 1
    #[arg(long, default_value_t = 100_000)]
    rooms: u64,
    /// Messages in the big one
    #[arg(long, default_value_t = 1_000_000)]
    messages_in_one_room: u64,
    /// The same number makes the same data
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Serialize)]
struct Figures {
    seconds: f64,
}

impl Arguments {
    pub fn run(self) -> Result<bool, String> {
        let (users, rooms, seed) = (self.users.max(1), self.rooms, self.seed);
        let plan = Plan { users, rooms, messages_in_one_room: self.messages_in_one_room, seed };
        let start = Instant::now();
        write(&self.url, &plan)?;
        let figures = Figures { seconds: start.elapsed().as_secs_f64() };
        println!("{plan:?} in {:.1} s", figures.seconds);
        print_json("seed", &figures)?;
        Ok(true)
    }
}
