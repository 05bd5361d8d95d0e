//! A load of a given shape on a server, on and off, and what the server uses for it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde::Serialize;
use veza_loadtest::fault::make_rooms;
use veza_loadtest::flow::Flow;
use veza_loadtest::lean::{Crowd, Way};
use veza_loadtest::{http, process, token};

use crate::cmd::on_this_thread;

/// A load: everybody is in one room and reads everything; messages come by chance, each from anybody.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Shape {
    /// Connections.
    pub connections: u64,
    /// Rooms.
    pub rooms: u64,
    /// Connections in each.
    pub members_per_room: u64,
    /// Messages of all together.
    pub messages_per_s: f64,
}

impl Shape {
    /// Rooms of so many, and messages a second.
    pub const fn new(rooms: u64, members_per_room: u64, messages_per_s: f64) -> Shape {
        Shape { connections: rooms * members_per_room, rooms, members_per_room, messages_per_s }
    }

    /// As a question to `/capacity`, for so many seconds of this load.
    pub fn question(&self, after_s: f64) -> String {
        let Shape { connections, rooms, members_per_room, messages_per_s } = self;
        format!(
            "/capacity?connections={connections}&rooms={rooms}&members_per_room={members_per_room}\
             &messages_per_s={messages_per_s:.3}&after_s={after_s:.0}"
        )
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} × {} at {}/s", self.rooms, self.members_per_room, self.messages_per_s)
    }
}

/// Whom the load goes to.
#[derive(Clone, Debug)]
pub struct Target {
    /// The server.
    pub addr: SocketAddr,
    /// Where its `/metrics` and `/capacity` are.
    pub numbers: SocketAddr,
    /// What signs its tokens.
    pub secret: String,
}

/// What was counted while a load was on.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Used {
    /// Seconds.
    pub seconds: f64,
    /// CPU of this process, seconds; near `seconds` it is the generator that was measured.
    pub generator_s: f64,
    /// Messages acknowledged.
    pub acknowledged: f64,
    /// Pushes received.
    pub deliveries: f64,
    /// What the server counted, by the names in [`COUNTERS`].
    pub server: BTreeMap<&'static str, f64>,
}

impl Used {
    fn combine(&mut self, other: &Used, with: impl Fn(f64, f64) -> f64) {
        for (mine, theirs) in [
            (&mut self.seconds, other.seconds),
            (&mut self.generator_s, other.generator_s),
            (&mut self.acknowledged, other.acknowledged),
            (&mut self.deliveries, other.deliveries),
        ] {
            *mine = with(*mine, theirs);
        }
        for (name, value) in &other.server {
            let mine = self.server.entry(name).or_default();
            *mine = with(*mine, *value);
        }
    }

    /// Both together.
    pub fn add(&mut self, other: &Used) {
        self.combine(other, |a, b| a + b);
    }

    /// One of the server's counters, per second.
    pub fn rate(&self, name: &str) -> f64 {
        self.server.get(name).copied().unwrap_or(f64::NAN) / self.seconds
    }
}

/// Counters of the server that tell what a load makes it do: their names here, and the series of `/metrics` that are
/// added up.
pub const COUNTERS: [(&str, &[&str]); 20] = [
    ("turns", &["veza_turns_total"]),
    ("sleeps", &["veza_sleeps_total"]),
    ("long_sleeps", &["veza_system_calls_total{call=\"io_uring\"}"]),
    ("reads", &["veza_reads_total"]),
    ("writes", &["veza_writes_total"]),
    ("deliveries", &["veza_deliveries_total"]),
    ("events", &["veza_events_total"]),
    ("joins", &["veza_joins_total", "veza_resumed_rooms_total"]),
    ("connects", &["veza_sockets_accepted_total"]),
    ("batches", &["veza_batch_operations_count"]),
    ("operations", &["veza_batch_operations_sum"]),
    ("peer_messages", &["veza_peer_messages_total"]),
    ("transactions", &["veza_store_commit_seconds_count"]),
    ("transaction_s", &["veza_store_commit_seconds_sum"]),
    ("loads", &["veza_store_loads_total"]),
    ("shard_cpu_s", &["veza_pump_cpu_seconds_total"]),
    ("store_cpu_s", &["veza_store_cpu_seconds_total"]),
    ("cpu_s", &["process_cpu_seconds_total"]),
    ("write_s", &["veza_pump_busy_seconds_total{phase=\"writes\"}"]),
    ("busy_s", &["veza_pump_busy_seconds_total"]),
];

/// Of each message, as in the table of figures.
const CONTENT_BYTES: usize = 128;
/// From the first message of a turn to the measured time: connections wake, batches find their size.
pub const WARM_UP: Duration = Duration::from_millis(1500);
/// The longest that a crowd may take to come in.
const PATIENCE: Duration = Duration::from_secs(60);
/// Connections that may be under way to the server at a time.
const AT_ONCE: usize = 64;
/// To answer the pings that have come while others talked.
const LIVE: Duration = Duration::from_millis(20);

/// People in rooms, silent until told to talk; they leave when this is dropped.
pub struct Load {
    target: Target,
    shape: Shape,
    flow: Flow,
}

impl Load {
    /// Makes the rooms and fills them.
    ///
    /// # Errors
    /// If the server cannot be reached or refuses.
    pub fn new(target: &Target, shape: &Shape, name: &str) -> Result<Load, String> {
        let token = |who: &str| token::for_subject(&target.secret, &format!("{name} {who}"));
        let count = usize::try_from(shape.rooms).map_err(|error| error.to_string())?;
        let rooms = on_this_thread(make_rooms(target.addr, count, &token("owner"), &[]))?;
        let rooms: Vec<u64> = rooms.iter().map(|room| room.id).collect();
        let mut crowd = Crowd::new(target.addr).map_err(|error| error.to_string())?;
        for number in 0..shape.connections as usize {
            crowd.add(Some(&token(&format!("member {number}"))), &[rooms[number % count]]);
        }
        crowd.bring(0..crowd.len(), Way::Join, AT_ONCE, PATIENCE)?;
        let flow = Flow::new(crowd, &rooms, |number| number % count, CONTENT_BYTES)?;
        Ok(Load { target: target.clone(), shape: *shape, flow })
    }

    /// Answers pings.
    ///
    /// # Errors
    /// A connection has ended, or something came that must not.
    pub fn live(&mut self) -> Result<(), String> {
        self.flow.live(LIVE)
    }

    /// Talks for so many seconds and counts; silent again afterwards. `bounds` is called before the first message and at
    /// the begin and the end of the counted time.
    ///
    /// # Errors
    /// If the server does not answer, or breaks a promise.
    pub fn talk(&mut self, seconds: f64, bounds: impl Fn() -> Result<(), String>) -> Result<Used, String> {
        let rate = self.shape.messages_per_s;
        bounds()?;
        self.flow.open(rate, WARM_UP)?;
        bounds()?;
        self.flow.reset();
        let (begun, before) = (Instant::now(), self.count()?);
        self.flow.open(rate, Duration::from_secs_f64(seconds))?;
        let mut used = self.count()?;
        let took = begun.elapsed().as_secs_f64();
        bounds()?;
        used.combine(&before, |after, before| after - before);
        Ok(Used { seconds: took, ..used })
    }

    fn count(&self) -> Result<Used, String> {
        let numbers = Numbers::read(&self.target)?;
        let mut server = BTreeMap::new();
        for (name, series) in COUNTERS {
            // A server of another version may not have it.
            if let Ok(sum) = series.iter().map(|series| numbers.sum(series)).sum::<Result<f64, String>>() {
                server.insert(name, sum);
            }
        }
        let generator = process::cpu_time(std::process::id()).map_err(|error| error.to_string())?;
        Ok(Used {
            seconds: 0.0,
            generator_s: generator.as_secs_f64(),
            acknowledged: self.flow.counts.acks as f64,
            deliveries: self.flow.counts.deliveries as f64,
            server,
        })
    }
}

/// What `/metrics` says.
pub struct Numbers(String);

impl Numbers {
    /// Now.
    ///
    /// # Errors
    /// If it is not there.
    pub fn read(target: &Target) -> Result<Numbers, String> {
        let response = http::get_blocking(target.numbers, "/metrics").map_err(|error| error.to_string())?;
        Ok(Numbers(String::from_utf8_lossy(&response.body).into_owned()))
    }

    /// All series of a name; with a label as `name{label="value"}`, those that have it.
    ///
    /// # Errors
    /// If there is none.
    pub fn sum(&self, name: &str) -> Result<f64, String> {
        let (wanted, label) = name.split_once('{').unwrap_or((name, ""));
        let of = |line: &str| {
            let (series, value) = line.rsplit_once(' ')?;
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            (name == wanted && labels.contains(label.trim_end_matches('}'))).then(|| value.parse::<f64>().ok())?
        };
        let found: Vec<f64> = self.0.lines().filter_map(of).collect();
        if found.is_empty() { Err(format!("no {name} in /metrics")) } else { Ok(found.iter().sum()) }
    }
}
