//! Experiments about connections: what one costs while it idles, when it comes back, and when it is gone.

mod bare;
mod idle;
mod leave;
mod mesh;
mod reconnect;
mod storm;

pub use bare::BareAccept;

use super::ground::metric;
use super::{Cpu, Experiment};
use crate::cmd::on_this_thread;
use std::time::{Duration, Instant};
use veza_loadtest::fault::make_rooms;
use veza_loadtest::lean::Crowd;
use veza_loadtest::pg::TestPg;
use veza_loadtest::server::{Options, Server};
use veza_loadtest::{http, process};

/// In the order of the table.
pub const EXPERIMENTS: [Experiment; 5] =
    [idle::EXPERIMENT, reconnect::EXPERIMENT, storm::EXPERIMENT, mesh::EXPERIMENT, leave::EXPERIMENT];

/// The longest that anything may take: what is slower has gone wrong.
const PATIENCE: Duration = Duration::from_secs(120);
/// Handshakes under way at a time while a crowd comes in that is not measured.
const AT_ONCE: usize = 200;

/// A server on the first core over PostgreSQL, its rooms, and the crowd on the last core.
struct Stage {
    server: Server,
    pg: TestPg,
    rooms: Vec<u64>,
    crowd: Crowd,
}

impl Stage {
    fn set(rooms: usize, pg_settings: &[&str]) -> Result<Stage, String> {
        let pg = TestPg::start_with(pg_settings);
        let options = Options { core: Some(0), database: Some(pg.url()), ..Options::unlimited() };
        let server = Server::start(options.and(&[("server.shards", "1")]));
        process::pin_to_load_core().map_err(|error| error.to_string())?;
        let made = on_this_thread(make_rooms(server.addr(), rooms, &server.token("owner"), &[]))?;
        let rooms = made.iter().map(|room| room.id).collect();
        let crowd = Crowd::new(server.addr()).map_err(|error| error.to_string())?;
        Ok(Stage { server, pg, rooms, crowd })
    }

    /// Adds a client of its own user; answers its number.
    fn add(&mut self, rooms: &[u64]) -> usize {
        let token = self.server.token(&format!("client {}", self.crowd.len()));
        self.crowd.add(Some(&token), rooms)
    }

    /// Adds so many clients, each in one of the rooms in turn.
    fn populate(&mut self, count: usize) {
        for number in 0..count {
            let room = self.rooms[number % self.rooms.len()];
            self.add(&[room]);
        }
    }

    /// The owner says something in every room, so many times.
    fn talk(&self, times: usize) -> Result<(), String> {
        let (addr, token) = (self.server.addr(), self.server.token("owner"));
        on_this_thread(async {
            for _ in 0..times {
                for room in &self.rooms {
                    let data = serde_json::json!({"room_id": room, "content": "x".repeat(128)});
                    let sent = http::command(addr, &token, "send_message", &data).await;
                    let sent = sent.map_err(|error| error.to_string())?;
                    if sent.status != 200 {
                        return Err(format!("send_message: {} {}", sent.status, sent.json()));
                    }
                }
            }
            Ok(())
        })
    }

    /// The value of a metric, over all shards.
    fn metric(&self, name: &str) -> Result<f64, String> {
        metric(&self.server, name)
    }

    /// Lives on until all who were cut are gone from the server too.
    fn until_gone(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while self.metric("veza_connections")? > self.crowd.ready as f64 {
            if Instant::now() > deadline {
                return Err("the server keeps connections that were cut".into());
            }
            self.crowd.live(Duration::from_millis(50))?;
        }
        Ok(())
    }

    fn meter(&self) -> Meter {
        Meter { started: Instant::now(), at: self.used() }
    }

    /// CPU seconds of server, generator and database.
    fn used(&self) -> [f64; 3] {
        let of = |pid| process::cpu_time(pid).map_or(0.0, |time| time.as_secs_f64());
        [of(self.server.pid()), of(std::process::id()), self.pg.cpu().as_secs_f64()]
    }
}

/// The beginning of a measured stretch.
struct Meter {
    started: Instant,
    at: [f64; 3],
}

impl Meter {
    /// What was used since.
    fn stop(&self, stage: &Stage) -> Cpu {
        let now = stage.used();
        let used = |index: usize| Some(now[index] - self.at[index]);
        Cpu { server: used(0), generator: used(1), database: used(2), seconds: self.started.elapsed().as_secs_f64() }
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
