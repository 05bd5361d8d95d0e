//! `capacity`: does what `/capacity` predicts come true? The server learns under one load, is asked what another one
//! will need, and that other load is put on a second server.
//!
//! Both talk by turns, a few seconds each, and the question is asked at the end: so what the machine does besides
//! (clock rates, neighbours) is the same for the prediction and for what it is held against.

mod drive;

use super::{on_this_thread, print_json, start};
use crate::StoreName;
use clap::Args;
use drive::{Load, Numbers, Shape, Target, Used};
use serde::Serialize;
use serde_json::Value;
use std::net::SocketAddr;
use veza_loadtest::http;
use veza_loadtest::pg::TestPg;
use veza_loadtest::server::{Options, SECRET, Server};

/// Arguments of `capacity`.
#[derive(Args)]
pub struct Arguments {
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
    #[arg(long, default_value_t = 4)]
    turns: u32,
    /// Measured seconds of each turn
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Shards of our own servers; a single one is kept on core 0
    #[arg(long, default_value_t = 1)]
    shards: u16,
    /// Only the pairs with these numbers
    #[arg(long, value_delimiter = ',')]
    pairs: Vec<usize>,
    /// The load to learn from, as rooms,members,messages_per_s; with --to, instead of the pairs
    #[arg(long, value_parser = shape, requires = "to")]
    from: Option<Shape>,
    /// The load that is predicted
    #[arg(long, value_parser = shape, requires = "from")]
    to: Option<Shape>,
    /// Prints what the server answered
    #[arg(long)]
    verbose: bool,
}

/// What is learnt from, and what is asked for: twice the rate, bigger rooms, smaller rooms and another rate, three times
/// the connections, fewer messages in bigger rooms.
const PAIRS: [(Shape, Shape); 5] = [
    (Shape::new(50, 10, 400.0), Shape::new(50, 10, 800.0)),
    (Shape::new(50, 10, 400.0), Shape::new(10, 50, 400.0)),
    (Shape::new(5, 100, 100.0), Shape::new(100, 5, 800.0)),
    (Shape::new(50, 10, 400.0), Shape::new(150, 10, 400.0)),
    (Shape::new(100, 5, 800.0), Shape::new(20, 50, 200.0)),
];

/// How far a prediction may be off.
const ERROR_MAX: f64 = 0.20;
/// The part of the offered messages that must have been carried: what a starved machine does is no measure of a plan.
const CARRIED_MIN: f64 = 0.97;

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
    lines: Vec<Line>,
    /// Of the load that was asked for.
    generator_cores: f64,
    faults: u64,
}

impl Arguments {
    pub fn run(self) -> Result<bool, String> {
        let pairs: Vec<(Shape, Shape)> = match (self.from, self.to) {
            (Some(from), Some(to)) => vec![(from, to)],
            _ => PAIRS.to_vec(),
        };
        let chosen = |number: usize| self.pairs.is_empty() || self.pairs.contains(&number);
        let mut all = Vec::new();
        for (number, (learnt, asked)) in pairs.into_iter().enumerate().filter(|(number, _)| chosen(number + 1)) {
            let figures = self.pair(learnt, asked)?;
            println!("{}: learnt from {learnt}, asked for {asked}", number + 1);
            for Line { what, predicted, measured, error } in &figures.lines {
                println!(
                    "  {what:<26} predicted {predicted:>10.3}  measured {measured:>10.3}  {:>+6.1} %",
                    error * 100.0
                );
            }
            println!("  generator {:.2} cores, errors and holes {}", figures.generator_cores, figures.faults);
            all.push(figures);
        }
        print_json("capacity", &all)?;
        Ok(all.iter().all(|f| f.faults == 0 && f.lines.iter().all(|line| line.error.abs() <= ERROR_MAX)))
    }

    fn pair(&self, learnt: Shape, asked: Shape) -> Result<Figures, String> {
        let given = |addr| Target { addr, numbers: self.numbers.unwrap_or(addr), secret: self.secret.clone() };
        let own = |server: &Server| Target { addr: server.addr(), numbers: server.addr(), secret: SECRET.into() };
        if let Some(addr) = self.addr {
            return on_this_thread(self.compare(&given(addr), &given(addr), learnt, asked));
        }
        let (learning, _databases) = self.server();
        let (other, _other_databases) = self.server();
        on_this_thread(self.compare(&own(&learning), &own(&other), learnt, asked))
    }

    fn server(&self) -> (Server, Option<TestPg>) {
        let shards = self.shards.to_string();
        let mut options = Options::unlimited().and(&[("server.shards", &shards)]);
        options.core = (self.shards == 1).then_some(0);
        start(self.store.into(), options)
    }

    async fn compare(&self, here: &Target, there: &Target, learnt: Shape, asked: Shape) -> Result<Figures, String> {
        let teaching = Load::new(here, &learnt, "learn").await?;
        let tested = Load::new(there, &asked, "test").await?;
        let (mut used, mut talked_s) = (Used::default(), 0.0);
        for _ in 0..self.turns {
            // A question at the begin and the end of the measured time: that is where samples end.
            teaching.talk(self.seconds, async || capacity(here, "/capacity").await.map(drop)).await?;
            let of_turn = tested.talk(self.seconds, async || Ok(())).await?;
            let carried = of_turn.acknowledged / of_turn.seconds / asked.messages_per_s;
            if carried < CARRIED_MIN {
                return Err(format!("only {:.0} % of {asked} was carried: the machine is too busy", carried * 100.0));
            }
            talked_s += of_turn.seconds + drive::WARM_UP.as_secs_f64();
            used.add(&of_turn);
        }
        let answer = capacity(here, &asked.question(talked_s)).await?;
        if self.verbose {
            println!("{answer:#}");
        }
        let numbers = Numbers::read(there).await?;
        let plan = &answer["plan"];
        let line = |what, path: &[&str], measured: f64| {
            let predicted = path.iter().fold(plan, |value, key| &value[key]).as_f64().unwrap_or(f64::NAN);
            Line { what, predicted, measured, error: predicted / measured - 1.0 }
        };
        let mut lines = vec![
            line("cores", &["cores", "used"], used.cpu_s / used.seconds),
            line("transactions a second", &["database", "transactions_per_s"], used.transactions / used.seconds),
            line("rows a second", &["database", "rows_per_s"], used.rows / used.seconds),
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
        let faults = teaching.faults() + tested.faults();
        Ok(Figures { learnt, asked, lines, generator_cores: used.generator_s / used.seconds, faults })
    }
}

/// What the server answers.
async fn capacity(target: &Target, path: &str) -> Result<Value, String> {
    let answer = http::get(target.numbers, path, None).await.map_err(|error| error.to_string())?;
    if answer.status == 200 { Ok(answer.json()) } else { Err(String::from_utf8_lossy(&answer.body).into_owned()) }
}
