//! `pages`: how long pages, searches and joins take over much data and over little, in one run: both servers are up, and
//! each command goes to one and the other in turn.

use super::{on_this_thread, print_json};
use crate::StoreName;
use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;
use veza_loadtest::client::{Client, Error};
use veza_loadtest::dice::Dice;
use veza_loadtest::fault::Store;
use veza_loadtest::http;
use veza_loadtest::pg::TestPg;
use veza_loadtest::seed::text::word;
use veza_loadtest::seed::{BIG_ROOM, Plan, user_name, write};
use veza_loadtest::server::{Options, Server};

/// Arguments of `pages`.
#[derive(Args)]
pub struct Arguments {
    #[arg(long, value_enum, default_value = "postgres")]
    store: StoreName,
    /// Rooms of the large one
    #[arg(long, default_value_t = 100_000)]
    rooms: u64,
    /// Messages in one room of the large one
    #[arg(long, default_value_t = 1_000_000)]
    messages_in_one_room: u64,
    /// Rooms of the small one
    #[arg(long, default_value_t = 1_000)]
    small_rooms: u64,
    /// Messages in one room of the small one
    #[arg(long, default_value_t = 20_000)]
    small_messages: u64,
    /// Users of both
    #[arg(long, default_value_t = 10_000)]
    users: u64,
    /// Commands of each kind
    #[arg(long, default_value_t = 200)]
    times: u32,
    /// The most seconds that the server may take to fill the index of the large one
    #[arg(long, default_value_t = 1800)]
    patience: u64,
}

/// How many times longer a command may take over much data.
const RATIO_MAX: f64 = 2.0;
/// Ranks of words that are in every other message, in one of a thousand, in one of ten thousand.
const COMMON: usize = 0;
const MIDDLING: usize = 300;
const RARE: usize = 12_345;
/// Times of fewer than this are all alike to people, and mostly noise; ratios are of what is above, µs.
const FLOOR_US: f64 = 1_000.0;

/// p50 and p99 over little and over much, ms, and their ratios.
#[derive(Debug, Serialize)]
struct Row {
    small_ms: [f64; 2],
    large_ms: [f64; 2],
    ratio: [f64; 2],
}

#[derive(Debug, Default, Serialize)]
struct Figures {
    seed_seconds: [f64; 2],
    /// Until the server had the whole index.
    index_seconds: [f64; 2],
    commands: BTreeMap<&'static str, Row>,
}

struct Side {
    server: Server,
    _pg: Option<TestPg>,
    plan: Plan,
    /// The last place in the big room.
    head: u64,
    next_room: u64,
}

impl Arguments {
    pub fn run(self) -> Result<bool, String> {
        let plan = |rooms, messages_in_one_room| Plan { users: self.users, rooms, messages_in_one_room, seed: 1 };
        let plans = [plan(self.small_rooms, self.small_messages), plan(self.rooms, self.messages_in_one_room)];
        let mut figures = Figures::default();
        let mut sides = Vec::new();
        for (index, plan) in plans.into_iter().enumerate() {
            let start = Instant::now();
            let side = Side::start(self.store.into(), plan)?;
            figures.seed_seconds[index] = start.elapsed().as_secs_f64();
            println!("seeded and started: {:?} in {:.1} s", side.plan, figures.seed_seconds[index]);
            figures.index_seconds[index] = side.wait_for_index(Duration::from_secs(self.patience))?;
            println!("indexed in {:.1} s", figures.index_seconds[index]);
            sides.push(side);
        }
        let [mut small, mut large] = <[Side; 2]>::try_from(sides).map_err(|_| "two sides")?;
        figures.commands = on_this_thread(self.measure(&mut small, &mut large))?;
        println!("{:>16}  {:>21}  {:>21}  {:>12}", "", "small p50/p99 ms", "large p50/p99 ms", "ratio");
        for (name, row) in &figures.commands {
            let [small, large, ratio] = [row.small_ms, row.large_ms, row.ratio];
            println!(
                "{name:>16}  {:>10.2} {:>10.2}  {:>10.2} {:>10.2}  {:>5.2} {:>6.2}",
                small[0], small[1], large[0], large[1], ratio[0], ratio[1]
            );
        }
        print_json("pages", &figures)?;
        Ok(figures.commands.values().all(|row| row.ratio[0] <= RATIO_MAX))
    }

    async fn measure(&self, small: &mut Side, large: &mut Side) -> Result<BTreeMap<&'static str, Row>, String> {
        let fail = |error: Error| format!("{error:?}");
        let mut clients = [small.reader().await.map_err(fail)?, large.reader().await.map_err(fail)?];
        let mut dice = Dice::new(7);
        small.find_head(&mut clients[0]).await.map_err(fail)?;
        large.find_head(&mut clients[1]).await.map_err(fail)?;
        let mut rows = BTreeMap::new();
        for kind in KINDS {
            let mut times = [Vec::new(), Vec::new()];
            for round in 0..self.times + self.times / 10 {
                let place = dice.unit();
                for (index, side) in [&mut *small, &mut *large].into_iter().enumerate() {
                    let (command, data) = side.command(kind, place, round);
                    let start = Instant::now();
                    clients[index].call(command, data).await.map_err(|error| format!("{kind}: {error:?}"))?;
                    // The first tenth warms up.
                    if round >= self.times / 10 {
                        times[index].push(start.elapsed().as_secs_f64() * 1e6);
                    }
                    side.clean_up(kind, &mut clients[index]).await.map_err(fail)?;
                }
            }
            rows.insert(kind, row(times));
        }
        Ok(rows)
    }
}

/// What is measured.
const KINDS: [&str; 14] = [
    "newest",
    "before",
    "around",
    "after",
    "pins",
    "members",
    "search rare",
    "search middling",
    "search common",
    "search prefix",
    "search two words",
    "search all rooms",
    "join",
    "rooms",
];

impl Side {
    fn start(store: Store, plan: Plan) -> Result<Side, String> {
        let settings = ["shared_buffers=512MB", "max_wal_size=4GB"];
        let pg = (store == Store::Postgres).then(|| TestPg::start_with(&settings));
        let database = pg.as_ref().map(TestPg::url);
        let mut server = Server::prepare(Options { database: database.clone(), ..Options::unlimited() });
        std::fs::create_dir_all(server.data_dir()).map_err(|error| error.to_string())?;
        write(&database.unwrap_or_else(|| format!("sqlite://{}/veza.db", server.data_dir().display())), &plan)?;
        server.try_start()?;
        Ok(Side { server, _pg: pg, plan, head: 0, next_room: BIG_ROOM + 1 })
    }

    /// Waits until no room waits for the index any more.
    fn wait_for_index(&self, patience: Duration) -> Result<f64, String> {
        let start = Instant::now();
        let mut quiet = 0;
        while start.elapsed() < patience {
            let metrics = http::get_blocking(self.server.addr(), "/metrics").map_err(|error| error.to_string())?;
            let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
            let pending = metrics.lines().find_map(|line| line.strip_prefix("veza_store_search_pending "));
            let pending: f64 =
                pending.and_then(|it| it.trim().parse().ok()).ok_or("no veza_store_search_pending in /metrics")?;
            // The rooms that are behind are looked for in the background after the start.
            quiet = if pending == 0.0 { quiet + 1 } else { 0 };
            if quiet == 50 {
                return Ok(start.elapsed().as_secs_f64());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Err("the index is not filled in time".into())
    }

    /// A member of the big room.
    async fn reader(&self) -> Result<Client, Error> {
        Client::connect(self.server.addr(), &self.server.token(&user_name(2))).await
    }

    async fn find_head(&mut self, client: &mut Client) -> Result<(), Error> {
        let room = client.call("get_room", json!({"room_id": BIG_ROOM})).await?.data;
        self.head = room["room"]["seq"].as_u64().unwrap_or(1);
        Ok(())
    }

    /// The command of a kind, at a place between the beginning (0) and the end (1).
    fn command(&mut self, kind: &str, place: f64, round: u32) -> (&'static str, Value) {
        let id = 1 + (place * (self.head - 1) as f64) as u64;
        let page = |name: &str| json!({"room_id": BIG_ROOM, "limit": 50, name: id});
        let search = |query: String| ("search_messages", json!({"room_id": BIG_ROOM, "query": query, "limit": 50}));
        match kind {
            "newest" => ("get_history", json!({"room_id": BIG_ROOM, "limit": 50})),
            "before" => ("get_history", page("before_id")),
            "around" => ("get_history", page("around_id")),
            "after" => ("get_history", page("after_id")),
            "pins" => ("get_pinned_messages", json!({"room_id": BIG_ROOM})),
            "members" => ("get_members", json!({"room_id": BIG_ROOM, "limit": 50})),
            "search rare" => search(word(RARE + round as usize)),
            "search middling" => search(word(MIDDLING + round as usize % 100)),
            "search common" => search(word(COMMON + round as usize % 3)),
            "search prefix" => search(word(MIDDLING + round as usize % 100)[..4].to_owned()),
            "search two words" => search(format!("{} {}", word(COMMON + round as usize % 3), word(MIDDLING))),
            "search all rooms" => {
                ("search_messages", json!({"query": word(MIDDLING + round as usize % 100), "limit": 50}))
            }
            "join" => {
                // A room that is not in memory, each time.
                self.next_room = BIG_ROOM + 1 + (self.next_room + self.plan.rooms / 977) % self.plan.rooms;
                ("join_room", json!({"room_id": self.next_room}))
            }
            "rooms" => {
                let cursor = Value::Null;
                ("list_rooms", json!({"filter": "public", "limit": 50, "cursor": cursor}))
            }
            other => unreachable!("{other} is not measured"),
        }
    }

    async fn clean_up(&self, kind: &str, client: &mut Client) -> Result<(), Error> {
        if kind == "join" {
            client.call("unsubscribe", json!({"room_id": self.next_room})).await?;
        }
        client.pushes_so_far().await?;
        Ok(())
    }
}

fn row(times: [Vec<f64>; 2]) -> Row {
    let of = |mut times: Vec<f64>| {
        times.sort_by(f64::total_cmp);
        [times[times.len() / 2], times[times.len() * 99 / 100]]
    };
    let [small, large] = times.map(of);
    let ratio = [0, 1].map(|at| large[at].max(FLOOR_US) / small[at].max(FLOOR_US));
    Row { small_ms: small.map(|us| us / 1e3), large_ms: large.map(|us| us / 1e3), ratio }
}
