//! What the experiments stand on: a server over PostgreSQL, rooms full of members, and the clocks of all who take part.

use super::Cpu;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use veza_loadtest::fault::make_rooms;
use veza_loadtest::flow::{Flow, Until};
use veza_loadtest::http;
use veza_loadtest::lean::{Crowd, Way};
use veza_loadtest::pg::TestPg;
use veza_loadtest::process;
use veza_loadtest::server::{Options, Server};

/// Bytes of a message's content.
pub const CONTENT_BYTES: usize = 128;
pub use veza_loadtest::process::SERVER_CORE;

/// Files of PostgreSQL's log that are there from the start; no experiment writes more.
const LOG_FILES: u32 = 40;
/// Connections that are being made at a time, and rooms.
const AT_ONCE: usize = 32;
/// How long the word index may take to catch up, and how often it is looked at: it says how far it is five times a second.
const SETTLING: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(300);
/// How long it may take until everybody is there.
const ENTERING: Duration = Duration::from_secs(240);

/// A server and its database.
pub struct Ground {
    /// Before the database: it goes first.
    pub server: Server,
    pub pg: TestPg,
}

/// Runs an experiment whose load and database have one core and whose server has the other.
pub fn apart<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    process::on_load_core(work).map_err(|error| error.to_string())?
}

impl Ground {
    /// Starts both. `core`: the server's, if it has one of its own; then it has one shard.
    pub fn start(core: Option<usize>, settings: &[(&str, &str)]) -> Ground {
        let pg = TestPg::start_with(&["min_wal_size=1GB", "max_wal_size=4GB", "shared_buffers=512MB"]);
        pg.fill_log(LOG_FILES);
        let options = Options { database: Some(pg.url()), core, ..Options::unlimited() };
        let shards: &[(&str, &str)] = if core.is_some() { &[("server.shards", "1")] } else { &[] };
        let server = Server::start(options.and(&[("limits.max_members_per_room", "0")]).and(shards).and(settings));
        Ground { server, pg }
    }

    /// So many new rooms of so many online members each, subscribed and silent.
    pub fn fill(&self, rooms: usize, size: usize) -> Result<Flow, String> {
        let (addr, owner) = (self.server.addr(), self.server.token("owner"));
        let rooms: Vec<u64> = crate::cmd::on_this_thread(async {
            let made = stream::iter(0..rooms).map(|_| make_room(addr, &owner)).buffer_unordered(AT_ONCE);
            made.try_collect().await
        })?;
        let mut crowd = Crowd::new(addr).map_err(|error| error.to_string())?;
        for number in 0..rooms.len() * size {
            crowd.add(Some(&self.server.token(&format!("member {number}"))), &[rooms[number / size]]);
        }
        crowd.bring(0..rooms.len() * size, Way::Join, AT_ONCE, ENTERING)?;
        Flow::new(crowd, &rooms, |number| number / size, CONTENT_BYTES)
    }

    /// What the server sends to each receiver of a message. To be asked for before a crowd is there that has to answer
    /// heartbeats while the reference takes its connections.
    pub fn push(&self) -> Result<String, String> {
        let mut flow = self.fill(1, 2)?;
        flow.closed(1, 1, Until::Received)?;
        Ok(flow.push)
    }

    /// Waits until the word index has caught up: what it does is part of what messages cost, and must not be done
    /// beside what they are compared with.
    pub fn settle(&self) -> Result<(), String> {
        let end = Instant::now() + SETTLING;
        while Instant::now() < end {
            std::thread::sleep(LOOK);
            if metric(&self.server, "veza_store_search_pending")? == 0.0 {
                return Ok(());
            }
        }
        Err(format!("the word index has not caught up within {SETTLING:?}"))
    }

    /// Starts the clocks.
    pub fn watch(&self) -> Watch<'_> {
        Watch::start(self.server.pid(), Some(&self.pg))
    }
}

/// The value of a metric of a server, over all shards.
pub fn metric(server: &Server, name: &str) -> Result<f64, String> {
    let page = http::get_blocking(server.addr(), "/metrics").map_err(|error| error.to_string())?;
    let page = String::from_utf8_lossy(&page.body).into_owned();
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    let values = lines.filter(|line| line.split(['{', ' ']).next() == Some(name));
    Ok(values.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum())
}

/// Makes a room, again where a cold database is too slow for it: one more that nobody enters does no harm.
async fn make_room(addr: SocketAddr, owner: &str) -> Result<u64, String> {
    let end = Instant::now() + ENTERING;
    loop {
        match make_rooms(addr, 1, owner, &[]).await {
            Ok(rooms) => return Ok(rooms[0].id),
            Err(reason) if !reason.contains(" 503 ") || Instant::now() > end => return Err(reason),
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// The CPU clocks of all who take part, from a moment on.
pub struct Watch<'a> {
    server: u32,
    pg: Option<&'a TestPg>,
    start: Instant,
    before: [f64; 3],
}

impl<'a> Watch<'a> {
    /// Starts them. `server`: the process that is measured.
    pub fn start(server: u32, pg: Option<&'a TestPg>) -> Watch<'a> {
        Watch { server, pg, start: Instant::now(), before: clocks(server, pg) }
    }

    /// What it cost since.
    pub fn end(self) -> Cpu {
        let after = clocks(self.server, self.pg);
        let spent = |of: usize| after[of] - self.before[of];
        Cpu {
            server: Some(spent(0)),
            generator: Some(spent(1)),
            database: self.pg.map(|_| spent(2)),
            seconds: self.start.elapsed().as_secs_f64(),
        }
    }
}

/// The server's, the generator's and the database's.
fn clocks(server: u32, pg: Option<&TestPg>) -> [f64; 3] {
    let of = |pid| process::cpu_time(pid).unwrap_or_default().as_secs_f64();
    [of(server), of(std::process::id()), pg.map_or(0.0, |pg| pg.cpu().as_secs_f64())]
}

impl Cpu {
    /// Several stretches as one.
    pub fn sum(parts: &[Cpu]) -> Cpu {
        let add = |of: fn(&Cpu) -> Option<f64>| parts.iter().map(of).sum::<Option<f64>>();
        Cpu {
            server: add(|cpu| cpu.server),
            generator: add(|cpu| cpu.generator),
            database: add(|cpu| cpu.database),
            seconds: parts.iter().map(|cpu| cpu.seconds).sum(),
        }
    }

    /// The server's, µs for each of so many.
    pub fn server_us(&self, count: u64) -> f64 {
        self.server.unwrap_or(f64::NAN) * 1e6 / count as f64
    }
}

/// The one in the middle.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
