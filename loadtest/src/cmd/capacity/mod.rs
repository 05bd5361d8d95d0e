//! `capacity`: does what `/capacity` predicts come true? The server learns under one load, is asked what another one
//! will need, and that other load is put on a second server.
//!
//! Both talk by turns, a few seconds each, and the question is asked at the end: so what the machine does besides
//! (clock rates, neighbours) is the same for the prediction and for what it is held against.

mod drive;
mod explore;

use super::{print_json, start};
use crate::StoreName;
use clap::Args;
use drive::{Load, Numbers, Shape, Target, Used};
use serde::Serialize;
use serde_json::Value;
use std::net::SocketAddr;
use veza_loadtest::fault::Store;
use veza_loadtest::http;
use veza_loadtest::pg::TestPg;
use veza_loadtest::process;
use veza_loadtest::server::{Options, SECRET, Server};

/// Arguments of `capacity`.
#[derive(Args)]
pub struct Arguments {
    /// The database of our own servers, with --from or --explore; each of the pairs has its own
    #[arg(long, value_enum, default_value = "postgres")]
    store: StoreName,
    /// A server that is running already and has no other load, instead of two of our own: both loads go to it
    #[arg(long)]
    addr: Option<SocketAddr>,
    /// Its port for /metrics and /capacity, if that is another one
    #[arg(long)]
    numbers: Option<SocketAddr>,
    /// What signs its tokens (security.jwt_secret)
    #[arg(long, default_value = SECRET)]
    secret: String,
    /// Turns that each load has
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    turns: u32,
    /// Measured seconds of each turn, 1 to 20: pings to those whose turn it is not must be answered in time
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=20))]
    seconds: u32,
    /// Shards of our own servers, with --from or --explore; a single one has core 0 to itself
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    shards: u16,
    /// Only the pairs with these numbers
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u64).range(1..=PAIRS.len() as u64))]
    pairs: Vec<u64>,
    /// The load to learn from, as rooms,members,messages_per_s; with --to, instead of the pairs
    #[arg(long, value_parser = shape, requires = "to")]
    from: Option<Shape>,
    /// The load that is predicted
    #[arg(long, value_parser = shape, requires = "from")]
    to: Option<Shape>,
    /// Instead of predictions: puts each of these loads on a server of its own, by turns, and prints what that made it do
    #[arg(long, value_parser = shape, num_args = 1.., conflicts_with_all = ["addr", "from", "pairs"])]
    explore: Vec<Shape>,
    /// Prints what the server answered
    #[arg(long)]
    verbose: bool,
}

/// A prediction, and the server that it is made by and held against.
#[derive(Clone, Copy)]
struct Pair {
    learnt: Shape,
    asked: Shape,
    store: Store,
    shards: u16,
}

const fn pair(learnt: (u64, u64, f64), asked: (u64, u64, f64)) -> Pair {
    let (learnt, asked) = (Shape::new(learnt.0, learnt.1, learnt.2), Shape::new(asked.0, asked.1, asked.2));
    Pair { learnt, asked, store: Store::Postgres, shards: 1 }
}

/// As (rooms, members of each, messages a second): twice the rate, bigger rooms, smaller rooms and another rate, three
/// times the connections, fewer messages in bigger rooms; and some that were written down before any of them had been
/// measured: four times the rate, many messages in small rooms from few in big ones and the other way round, a fifth
/// of the rate, two shards, SQLite. What the model's defaults come from are other loads (`--explore`).
const PAIRS: [Pair; 11] = [
    pair((50, 10, 400.0), (50, 10, 800.0)),
    pair((50, 10, 400.0), (10, 50, 400.0)),
    pair((5, 100, 100.0), (100, 5, 800.0)),
    pair((50, 10, 400.0), (150, 10, 400.0)),
    pair((100, 5, 800.0), (20, 50, 200.0)),
    pair((30, 20, 150.0), (30, 20, 600.0)),
    pair((4, 200, 50.0), (80, 10, 600.0)),
    pair((200, 4, 500.0), (10, 80, 120.0)),
    pair((50, 10, 1500.0), (50, 10, 300.0)),
    Pair { shards: 2, ..pair((50, 10, 400.0), (20, 40, 800.0)) },
    Pair { store: Store::Sqlite, ..pair((50, 10, 400.0), (10, 60, 800.0)) },
];

/// How far a prediction may be off.
const ERROR_MAX: f64 = 0.20;
/// The part of the offered messages that must have been carried: what a starved machine does is no measure of a plan.
const CARRIED_MIN: f64 = 0.9;

fn shape(text: &str) -> Result<Shape, String> {
    let parts: Vec<&str> = text.split(',').collect();
    let [rooms, members, rate] = parts[..] else { return Err("three numbers: rooms,members,messages_per_s".into()) };
    let count = |text: &str| text.parse::<u64>().map_err(|error| error.to_string());
    let rate = rate.parse::<f64>().map_err(|error| error.to_string())?;
    let shape = Shape::new(count(rooms)?, count(members)?, rate);
    let sound = shape.connections > 0 && rate.is_finite() && rate > 0.0;
    if sound { Ok(shape) } else { Err("rooms, members and messages must be more than none".into()) }
}

/// One resource.
#[derive(Serialize)]
struct Line {
    what: &'static str,
    predicted: f64,
    measured: f64,
    error: f64,
}

#[derive(Serialize)]
struct Figures {
    learnt: Shape,
    asked: Shape,
    store: String,
    shards: u16,
    lines: Vec<Line>,
    /// Of the load that was asked for.
    generator_cores: f64,
}

impl Arguments {
    pub fn run(self) -> Result<bool, String> {
        if self.explore.is_empty() { self.predict() } else { self.explore() }
    }

    fn predict(&self) -> Result<bool, String> {
        let pairs = match (self.from, self.to) {
            (Some(learnt), Some(asked)) => {
                vec![Pair { learnt, asked, store: self.store.into(), shards: self.shards }]
            }
            _ => PAIRS.to_vec(),
        };
        let chosen = |number: usize| self.pairs.is_empty() || self.pairs.contains(&(number as u64));
        let mut all = Vec::new();
        for (number, pair) in pairs.iter().enumerate().filter(|(number, _)| chosen(number + 1)) {
            let figures = apart(pair.shards, || self.pair(pair))?;
            let Pair { learnt, asked, store, shards } = pair;
            println!("{}: learnt from {learnt}, asked for {asked}; {store:?}, shards: {shards}", number + 1);
            for Line { what, predicted, measured, error } in &figures.lines {
                println!(
                    "  {what:<26} predicted {predicted:>10.3}  measured {measured:>10.3}  {:>+6.1} %",
                    error * 100.0
                );
            }
            println!("  generator {:.2} cores", figures.generator_cores);
            all.push(figures);
        }
        print_json("capacity", &all)?;
        Ok(all.iter().flat_map(|figures| &figures.lines).all(|line| line.error.abs() <= ERROR_MAX))
    }

    fn pair(&self, pair: &Pair) -> Result<Figures, String> {
        if let Some(addr) = self.addr {
            let numbers = self.numbers.unwrap_or(addr);
            let given = Target { addr, numbers, secret: self.secret.clone() };
            return self.compare(&given, &given, pair);
        }
        let (learning, _databases) = server(pair.store, pair.shards);
        let (other, _other_databases) = server(pair.store, pair.shards);
        self.compare(&own(&learning), &own(&other), pair)
    }

    fn compare(&self, here: &Target, there: &Target, pair: &Pair) -> Result<Figures, String> {
        let Pair { learnt, asked, store, shards } = *pair;
        let mut teaching = Load::new(here, &learnt, "learn")?;
        let mut tested = Load::new(there, &asked, "test")?;
        let mut used = Used::default();
        for _ in 0..self.turns {
            // A question where the load begins and where it ends: that is where samples end.
            tested.live()?;
            teaching.talk(f64::from(self.seconds), || capacity(here, "/capacity").map(drop))?;
            teaching.live()?;
            used.add(&tested.talk(f64::from(self.seconds), || Ok(()))?);
        }
        // Chance decides how many messages there were: the question is about as many.
        let rate = used.acknowledged / used.seconds;
        let carried = rate / asked.messages_per_s;
        if carried < CARRIED_MIN {
            return Err(format!("only {:.0} % of {asked} was carried: the machine is too busy", carried * 100.0));
        }
        let talked_s = used.seconds + f64::from(self.turns) * drive::WARM_UP.as_secs_f64();
        let answer = capacity(here, &Shape { messages_per_s: rate, ..asked }.question(talked_s))?;
        if self.verbose {
            println!("{answer:#}");
        }
        let numbers = Numbers::read(there)?;
        let plan = &answer["plan"];
        let line = |what, path: &[&str], measured: f64| {
            let predicted = path.iter().fold(plan, |value, key| &value[key]).as_f64().unwrap_or(f64::NAN);
            Line { what, predicted, measured, error: predicted / measured - 1.0 }
        };
        let mut lines = vec![
            line("cores", &["cores", "used"], used.rate("cpu_s")),
            line("transactions a second", &["database", "transactions_per_s"], used.rate("transactions")),
            line("rows a second", &["database", "rows_per_s"], used.rate("operations")),
            line("deliveries a second", &["deliveries_per_s"], used.deliveries / used.seconds),
        ];
        if here.addr != there.addr {
            // One server that carries both loads has the memory and the descriptors of both.
            let mib = 1024.0 * 1024.0;
            let mut memory = line("memory, MiB", &["memory", "used"], numbers.sum("process_resident_memory_bytes")?);
            (memory.predicted, memory.measured) = (memory.predicted / mib, memory.measured / mib);
            lines.push(memory);
            lines.push(line("file descriptors", &["file_descriptors", "used"], numbers.sum("process_open_fds")?));
        }
        Ok(Figures {
            learnt,
            asked,
            store: format!("{store:?}"),
            shards,
            lines,
            generator_cores: used.generator_s / used.seconds,
        })
    }
}

/// A server of our own; one with a single shard has a core to itself.
fn server(store: Store, shards: u16) -> (Server, Option<TestPg>) {
    let count = shards.to_string();
    let mut options = Options::unlimited().and(&[("server.shards", &count)]);
    options.core = (shards == 1).then_some(process::SERVER_CORE);
    start(store, options)
}

/// Runs what keeps off the core of servers with a single shard: load and databases.
fn apart<T>(shards: u16, work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    if shards > 1 {
        return work();
    }
    process::on_load_core(work).map_err(|error| error.to_string())?
}

fn own(server: &Server) -> Target {
    Target { addr: server.addr(), numbers: server.addr(), secret: SECRET.into() }
}

/// What the server answers.
fn capacity(target: &Target, path: &str) -> Result<Value, String> {
    let answer = http::get_blocking(target.numbers, path).map_err(|error| error.to_string())?;
    if answer.status == 200 { Ok(answer.json()) } else { Err(String::from_utf8_lossy(&answer.body).into_owned()) }
}
