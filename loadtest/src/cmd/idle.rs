//! `idle-memory`: resident memory per idle, authenticated connection that is in a room.

use super::{on_this_thread, print_json, start};
use crate::StoreName;
use clap::Args;
use serde::Serialize;
use serde_json::json;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use veza_loadtest::client::{self, Socket};
use veza_loadtest::fault::make_rooms;
use veza_loadtest::server::{Options, SECRET, Server};
use veza_loadtest::token;

/// Arguments of `idle-memory`.
#[derive(Args)]
pub struct Arguments {
    /// The embedded database fills its page caches meanwhile, which would count as connections' memory
    #[arg(long, value_enum, default_value = "postgres")]
    store: StoreName,
    /// Connections at the lower end
    #[arg(long, default_value_t = 5000)]
    from: u64,
    /// Connections at the upper end
    #[arg(long, default_value_t = 15_000)]
    to: u64,
    /// Rooms; each connection is in one of them
    #[arg(long, default_value_t = 100)]
    rooms: u64,
    /// Connections of one client process, from one loopback address
    #[arg(long, default_value_t = 2500)]
    per_process: u64,
}

/// What a connection may cost, bytes.
const SLOPE_MAX_BYTES: f64 = 3.0 * 1024.0;

#[derive(Serialize)]
struct Figures {
    connections: (u64, u64),
    rss_bytes: (u64, u64),
    bytes_per_connection: f64,
}

impl Arguments {
    pub fn run(self) -> Result<bool, String> {
        let (server, _pg) = start(self.store.into(), Options::unlimited());
        let count = usize::try_from(self.rooms).map_err(|error| error.to_string())?;
        let rooms = on_this_thread(make_rooms(server.addr(), count, &server.token("owner"), &[]))?;
        let rooms: Vec<String> = rooms.iter().map(|room| room.id.to_string()).collect();
        let mut holders = Vec::new();
        let mut settle = |from, to| -> Result<u64, String> {
            self.hold(&server, &rooms, from, to, &mut holders)?;
            Ok(settled_rss(&server))
        };
        let low = settle(0, self.from)?;
        let high = settle(self.from, self.to)?;
        let slope = (high as f64 - low as f64) / (self.to - self.from) as f64;
        let figures =
            Figures { connections: (self.from, self.to), rss_bytes: (low, high), bytes_per_connection: slope };
        println!("{} connections: {:.1} MiB", self.from, low as f64 / 1048576.0);
        println!("{} connections: {:.1} MiB", self.to, high as f64 / 1048576.0);
        println!("per idle connection: {slope:.0} bytes");
        print_json("idle-memory", &figures)?;
        for mut holder in holders {
            let _ = holder.kill();
            let _ = holder.wait();
        }
        Ok(slope <= SLOPE_MAX_BYTES)
    }

    /// Starts processes that hold the connections `from..to`, one after another, and waits for them.
    fn hold(
        &self,
        server: &Server,
        rooms: &[String],
        from: u64,
        to: u64,
        holders: &mut Vec<Child>,
    ) -> Result<(), String> {
        let mut next = from;
        while next < to {
            let end = (next + self.per_process).min(to);
            let mut command = Command::new(std::env::current_exe().map_err(|error| error.to_string())?);
            command.args(["hold", "--addr", &server.addr().to_string(), "--rooms", &rooms.join(",")]);
            command.args(["--first", &next.to_string(), "--count", &(end - next).to_string()]);
            command.args(["--source", &format!("127.0.0.{}", 2 + holders.len())]);
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = command.spawn().map_err(|error| error.to_string())?;
            let mut line = String::new();
            let output = child.stdout.take().ok_or("piped")?;
            BufReader::new(output).read_line(&mut line).map_err(|error| error.to_string())?;
            holders.push(child);
            if line.trim() != "ready" {
                return Err("a holder of connections has failed".into());
            }
            next = end;
        }
        Ok(())
    }
}

/// The server's memory once it has not changed by more than 64 KiB for three seconds.
fn settled_rss(server: &Server) -> u64 {
    let (mut last, mut calm) = (server.rss_bytes(), 0);
    while calm < 30 {
        std::thread::sleep(Duration::from_millis(100));
        let now = server.rss_bytes();
        calm = if now.abs_diff(last) <= 64 << 10 { calm + 1 } else { 0 };
        if calm == 0 {
            last = now;
        }
    }
    last
}

/// Arguments of `hold`.
#[derive(Args)]
pub struct Hold {
    #[arg(long)]
    addr: SocketAddr,
    #[arg(long)]
    source: Ipv4Addr,
    #[arg(long, value_delimiter = ',')]
    rooms: Vec<u64>,
    /// The number of the first user
    #[arg(long)]
    first: u64,
    #[arg(long)]
    count: u64,
}

impl Hold {
    pub fn run(self) -> Result<bool, String> {
        on_this_thread(async {
            let mut next = 0;
            while next < self.count {
                // So many at once: what waits for its handshake is bounded on the other side too.
                let batch = (next..(next + 100).min(self.count)).map(|n| self.enter(self.first + n));
                for socket in futures_util::future::join_all(batch).await {
                    tokio::task::spawn_local(stay(socket?));
                }
                next += 100;
            }
            println!("ready");
            // Pings are answered while we wait for the end.
            let _ = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await;
            Ok(true)
        })
    }

    async fn enter(&self, number: u64) -> Result<Socket, String> {
        let token = token::for_subject(SECRET, &format!("idle {number}"));
        let request = client::upgrade_request(self.addr, Some(&token));
        let opened = client::open(self.addr, Some(IpAddr::V4(self.source)), request, 1024).await;
        let mut socket = opened.map_err(|error| format!("connection {number}: {error}"))?;
        let room = self.rooms[(number % self.rooms.len() as u64) as usize];
        let join = json!({"type": "join_room", "id": 1, "data": {"room_id": room}}).to_string();
        veza_loadtest::drive::send(&mut socket, join).await?;
        loop {
            let text = veza_loadtest::drive::text(&mut socket).await.ok_or("the server has closed")?;
            if text.starts_with("{\"type\":\"room_joined\"") {
                return Ok(socket);
            }
            if text.starts_with("{\"type\":\"error\"") {
                return Err(text.as_str().to_owned());
            }
        }
    }
}

async fn stay(mut socket: Socket) {
    while veza_loadtest::drive::text(&mut socket).await.is_some() {}
    eprintln!("an idle connection was closed");
}
