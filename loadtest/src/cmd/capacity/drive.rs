//! A load of a given shape on a server, on and off, and what the server uses for it.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, sleep};
use veza_loadtest::drive::{Offer, Talker, Tally, enter};
use veza_loadtest::fault::make_rooms;
use veza_loadtest::{http, process, token};

/// A load: everybody is in one room, reads everything and says as much as everybody else.
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
             &messages_per_s={messages_per_s}&after_s={after_s:.0}"
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
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Used {
    /// Seconds.
    pub seconds: f64,
    /// CPU of the server, seconds.
    pub cpu_s: f64,
    /// CPU of this process, seconds; near `seconds` it is the generator that was measured.
    pub generator_s: f64,
    /// Transactions.
    pub transactions: f64,
    /// Operations in them.
    pub rows: f64,
    /// Messages acknowledged.
    pub acknowledged: f64,
    /// Pushes received.
    pub deliveries: f64,
}

impl Used {
    /// Both together.
    pub fn add(&mut self, other: &Used) {
        self.seconds += other.seconds;
        self.cpu_s += other.cpu_s;
        self.generator_s += other.generator_s;
        self.transactions += other.transactions;
        self.rows += other.rows;
        self.acknowledged += other.acknowledged;
        self.deliveries += other.deliveries;
    }
}

/// Of each message, as in the table of figures.
const CONTENT_BYTES: usize = 128;
/// From the first message of a stretch to the measured time: connections wake, batches find their size.
pub const WARM_UP: Duration = Duration::from_millis(1500);
/// The longest that answers may take after the last send.
const PATIENCE: Duration = Duration::from_secs(30);

/// People in rooms, silent until told to talk; they leave when this is dropped.
pub struct Load {
    target: Target,
    shape: Shape,
    tally: Rc<Tally>,
    _people: tokio::task::JoinSet<()>,
}

impl Load {
    /// Makes the rooms and fills them.
    ///
    /// # Errors
    /// If the server cannot be reached or refuses.
    pub async fn new(target: &Target, shape: &Shape, name: &str) -> Result<Load, String> {
        let token = |who: &str| token::for_subject(&target.secret, &format!("{name} {who}"));
        let count = usize::try_from(shape.rooms).map_err(|error| error.to_string())?;
        let rooms = make_rooms(target.addr, count, &token("owner"), &[]).await?;
        let (tally, content): (Rc<Tally>, Rc<str>) = (Rc::default(), "x".repeat(CONTENT_BYTES).into());
        let mut people = tokio::task::JoinSet::new();
        for number in 0..shape.connections {
            let room = rooms[(number % shape.rooms) as usize].id;
            let (socket, last) = enter(target.addr, &token(&format!("member {number}")), room, 4 << 10).await?;
            // Neighbours in time are in different rooms, in no order that batches could profit from.
            let phase = (number as f64 * GOLDEN).fract();
            people.spawn_local(Talker::new(socket, room, last, tally.clone(), content.clone(), phase).run());
        }
        Ok(Load { target: target.clone(), shape: *shape, tally, _people: people })
    }

    /// Talks for so many seconds and counts; silent again afterwards. `bounds` is called at the begin and the end of the
    /// counted time.
    ///
    /// # Errors
    /// If the server does not answer.
    pub async fn talk(&self, seconds: f64, bounds: impl AsyncFn() -> Result<(), String>) -> Result<Used, String> {
        let every = Duration::from_secs_f64(self.shape.connections as f64 / self.shape.messages_per_s);
        self.offer(Some(Offer::Open(every, Instant::now())));
        sleep(WARM_UP).await;
        bounds().await?;
        let (begun, before) = (Instant::now(), self.count().await?);
        sleep(Duration::from_secs_f64(seconds)).await;
        let after = self.count().await?;
        let took = begun.elapsed().as_secs_f64();
        bounds().await?;
        self.offer(None);
        let deadline = Instant::now() + PATIENCE;
        while self.tally.waiting.get() > 0 && Instant::now() < deadline {
            sleep(Duration::from_millis(5)).await;
        }
        Ok(Used {
            seconds: took,
            cpu_s: after.cpu_s - before.cpu_s,
            generator_s: after.generator_s - before.generator_s,
            transactions: after.transactions - before.transactions,
            rows: after.rows - before.rows,
            acknowledged: after.acknowledged - before.acknowledged,
            deliveries: after.deliveries - before.deliveries,
        })
    }

    fn offer(&self, offer: Option<Offer>) {
        self.tally.offer.set(offer);
        self.tally.changed.notify_waiters();
    }

    async fn count(&self) -> Result<Used, String> {
        let numbers = Numbers::read(&self.target).await?;
        Ok(Used {
            seconds: 0.0,
            cpu_s: numbers.sum("process_cpu_seconds_total")?,
            generator_s: process::cpu_seconds(std::process::id()).map_err(|error| error.to_string())?,
            transactions: numbers.sum("store_commit_seconds_count")?,
            rows: numbers.sum("batch_operations_sum")?,
            acknowledged: self.tally.acks.get() as f64,
            deliveries: self.tally.deliveries.get() as f64,
        })
    }

    /// Errors, holes, repetitions and connections lost so far.
    pub fn faults(&self) -> u64 {
        self.tally.violations.get() + self.tally.errors.borrow().values().sum::<u64>()
    }
}

/// Multiples of it, modulo one, are spread evenly and in no order.
const GOLDEN: f64 = 0.618_033_988_749_895;

/// What `/metrics` says.
pub struct Numbers(String);

impl Numbers {
    /// Now.
    ///
    /// # Errors
    /// If it is not there.
    pub async fn read(target: &Target) -> Result<Numbers, String> {
        let response = http::get(target.numbers, "/metrics", None).await.map_err(|error| error.to_string())?;
        Ok(Numbers(String::from_utf8_lossy(&response.body).into_owned()))
    }

    /// All series of a name; `veza_` in front of it may be there or not.
    ///
    /// # Errors
    /// If there is none.
    pub fn sum(&self, name: &str) -> Result<f64, String> {
        let of = |line: &str| {
            let (series, value) = line.rsplit_once(' ')?;
            let series = series.split('{').next()?;
            (series.strip_prefix("veza_").unwrap_or(series) == name).then(|| value.parse::<f64>().ok())?
        };
        let found: Vec<f64> = self.0.lines().filter_map(of).collect();
        if found.is_empty() { Err(format!("no {name} in /metrics")) } else { Ok(found.iter().sum()) }
    }
}
