//! `fanout-cpu`: what one delivery costs the server, against what the kernel alone costs.

use super::{on_this_thread, print_json, start};
use crate::StoreName;
use clap::Args;
use serde::Serialize;
use std::cell::Cell;
use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite;
use veza_loadtest::client::{self, Socket};
use veza_loadtest::drive::{enter, send, text};
use veza_loadtest::fault::make_rooms;
use veza_loadtest::frame::{kind_of, number_of};
use veza_loadtest::process;
use veza_loadtest::server::Options;

/// Arguments of `fanout-cpu`.
#[derive(Args)]
pub struct Arguments {
    #[arg(long, value_enum, default_value = "sqlite")]
    store: StoreName,
    /// Members of the room, all subscribed
    #[arg(long, default_value_t = 1000)]
    members: u64,
    /// Messages in one stretch of measurement
    #[arg(long, default_value_t = 500)]
    messages: u64,
    /// Stretches, server and bare loop in turn
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Bytes of content
    #[arg(long, default_value_t = 128)]
    bytes: usize,
}

/// What the server may cost, as a multiple of the bare loop.
const RATIO_MAX: f64 = 1.3;

#[derive(Serialize)]
struct Figures {
    frame_bytes: usize,
    /// CPU µs per delivery, of each stretch.
    server_us: Vec<f64>,
    bare_us: Vec<f64>,
    /// Medians' ratio.
    ratio: f64,
    violations: u64,
}

/// Counts what a crowd of receivers gets, and rings when all have it.
#[derive(Default)]
struct Crowd {
    received: Cell<u64>,
    target: Cell<u64>,
    all: Notify,
    violations: Cell<u64>,
    /// Whether the frames carry a `seq` that must ascend (the bare loop's are all the same).
    ordered: bool,
}

impl Crowd {
    fn take(&self, text: &str, last: &mut u64) -> bool {
        if kind_of(text) != "message" {
            return false;
        }
        let seq = number_of(text, "\"seq\":").unwrap_or(0);
        if self.ordered && seq != *last + 1 {
            self.violations.set(self.violations.get() + 1);
        }
        *last = seq;
        self.received.set(self.received.get() + 1);
        if self.received.get() == self.target.get() {
            self.all.notify_one();
        }
        true
    }

    async fn receive(self: Rc<Self>, mut socket: Socket, mut last: u64) {
        while let Some(text) = text(&mut socket).await {
            self.take(&text, &mut last);
        }
    }
}

/// One side of the comparison: a sender, its crowd, and the process that is measured.
struct Side {
    crowd: Rc<Crowd>,
    sender: Socket,
    last: u64,
    members: u64,
    pid: u32,
    command: String,
    /// The push as it came last.
    push: String,
}

impl Side {
    fn new(mut sockets: Vec<(Socket, u64)>, pid: u32, command: String, ordered: bool) -> Result<Side, String> {
        let members = sockets.len() as u64;
        let (sender, last) = sockets.pop().ok_or("no members")?;
        let crowd = Rc::new(Crowd { ordered, ..Crowd::default() });
        for (socket, last) in sockets {
            tokio::task::spawn_local(crowd.clone().receive(socket, last));
        }
        Ok(Side { crowd, sender, last, members, pid, command, push: String::new() })
    }

    /// CPU µs per delivery over so many messages, each sent when everybody has the one before.
    async fn measure(&mut self, messages: u64) -> Result<f64, String> {
        let before = process::cpu_seconds(self.pid).map_err(|error| error.to_string())?;
        for _ in 0..messages {
            self.crowd.target.set(self.crowd.received.get() + self.members);
            send(&mut self.sender, self.command.clone()).await?;
            loop {
                let text = text(&mut self.sender).await.ok_or("the connection has ended")?;
                if self.crowd.take(&text, &mut self.last) {
                    self.push = text.as_str().to_owned();
                    break;
                }
                if kind_of(&text) == "error" {
                    return Err(text.as_str().to_owned());
                }
            }
            while self.crowd.received.get() < self.crowd.target.get() {
                self.crowd.all.notified().await;
            }
        }
        let after = process::cpu_seconds(self.pid).map_err(|error| error.to_string())?;
        Ok((after - before) * 1e6 / (messages * self.members) as f64)
    }
}

impl Arguments {
    pub fn run(self) -> Result<bool, String> {
        let options = Options { core: Some(0), ..Options::unlimited().and(&[("server.shards", "1")]) };
        let (server, _pg) = start(self.store.into(), options);
        process::pin_to_load_core().map_err(|error| error.to_string())?;
        let figures = on_this_thread(async {
            let room = make_rooms(server.addr(), 1, &server.token("owner"), &[]).await?[0].id;
            let mut sockets = Vec::new();
            // The owner is a member too.
            for number in 1..self.members {
                sockets.push(enter(server.addr(), &server.token(&format!("member {number}")), room, 1024).await?);
            }
            sockets.push(enter(server.addr(), &server.token("owner"), room, 1024).await?);
            // Everybody was told of the later ones only: positions are the same, as joining takes no seq.
            let command = format!(
                r#"{{"type":"send_message","data":{{"room_id":{room},"content":"{}"}}}}"#,
                "x".repeat(self.bytes)
            );
            let mut served = Side::new(sockets, server.pid(), command.clone(), true)?;
            served.measure(50).await?;
            let (mut child, addr) = start_bare(self.members, &served.push)?;
            let mut bare = bare_side(addr, child.id(), self.members, command).await?;
            bare.measure(50).await?;
            let figures = self.compare(&mut served, &mut bare).await;
            let _ = child.kill();
            let _ = child.wait();
            figures
        })?;
        println!("frame of {} bytes to {} members, one in flight", figures.frame_bytes, self.members);
        println!("server, CPU µs per delivery:    {:.3?}", figures.server_us);
        println!("bare loop, CPU µs per delivery: {:.3?}", figures.bare_us);
        println!("ratio of the medians: {:.3}", figures.ratio);
        print_json("fanout-cpu", &figures)?;
        Ok(figures.violations == 0 && figures.ratio <= RATIO_MAX)
    }

    async fn compare(&self, served: &mut Side, bare: &mut Side) -> Result<Figures, String> {
        let (mut server_us, mut bare_us) = (Vec::new(), Vec::new());
        for _ in 0..self.rounds {
            server_us.push(served.measure(self.messages).await?);
            bare_us.push(bare.measure(self.messages).await?);
        }
        let ratio = median(&server_us) / median(&bare_us);
        let violations = served.crowd.violations.get();
        Ok(Figures { frame_bytes: served.push.len() + 4, server_us, bare_us, ratio, violations })
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn start_bare(members: u64, push: &str) -> Result<(Child, SocketAddr), String> {
    let mut command = Command::new(std::env::current_exe().map_err(|error| error.to_string())?);
    command.args(["bare-loop", "--members", &members.to_string(), "--push", push]).stdout(Stdio::piped());
    let spawned = process::on_core(0, || command.spawn()).map_err(|error| error.to_string())?;
    let mut child = spawned.map_err(|error| error.to_string())?;
    let mut line = String::new();
    let output = child.stdout.take().ok_or("piped")?;
    BufReader::new(output).read_line(&mut line).map_err(|error| error.to_string())?;
    Ok((child, line.trim().parse().map_err(|_| "the bare loop does not start")?))
}

async fn bare_side(addr: SocketAddr, pid: u32, members: u64, command: String) -> Result<Side, String> {
    let mut sockets = Vec::new();
    for _ in 0..members {
        let opened = client::open(addr, None, client::upgrade_request(addr, None), 1024).await;
        sockets.push((opened.map_err(|error| error.to_string())?, 0));
    }
    Side::new(sockets, pid, command, false)
}

/// Arguments of `bare-loop`.
#[derive(Args)]
pub struct BareLoop {
    #[arg(long)]
    members: u64,
    /// The text of the frame to be sent
    #[arg(long)]
    push: String,
}

impl BareLoop {
    /// Whenever the last one to connect says something, everybody gets the frame: one non-blocking send each, and
    /// nothing else.
    pub fn run(self) -> Result<bool, String> {
        self.serve().map_err(|error| error.to_string())?;
        Ok(true)
    }

    fn serve(self) -> std::io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        println!("{}", listener.local_addr()?);
        let mut sockets: Vec<TcpStream> = Vec::new();
        let mut talker = None;
        for _ in 0..self.members {
            let (stream, _) = listener.accept()?;
            stream.set_nodelay(true)?;
            sockets.push(stream.try_clone()?);
            talker = Some(tungstenite::accept(stream).map_err(std::io::Error::other)?);
        }
        let mut talker = talker.ok_or(ErrorKind::InvalidInput)?;
        let frame = tungstenite::protocol::frame::Frame::message(
            self.push.into_bytes(),
            tungstenite::protocol::frame::coding::OpCode::Data(tungstenite::protocol::frame::coding::Data::Text),
            true,
        );
        let mut bytes = Vec::new();
        frame.format(&mut bytes).map_err(std::io::Error::other)?;
        // The talker's own socket too, which is read in between: for that it blocks again.
        let (last, others) = sockets.split_last_mut().ok_or(ErrorKind::InvalidInput)?;
        for socket in others.iter() {
            socket.set_nonblocking(true)?;
        }
        while talker.read().is_ok() {
            for socket in others.iter_mut() {
                if socket.write(&bytes)? != bytes.len() {
                    return Err(ErrorKind::WriteZero.into());
                }
            }
            last.write_all(&bytes)?;
        }
        Ok(())
    }
}
