//! The reference: a process that answers each command with non-blocking sends of the same bytes to all of the room and
//! does nothing else, and a driver process of its own for it, so that each side of a comparison has its own descriptors.

use super::Cpu;
use super::ground::{CONTENT_BYTES, SERVER_CORE, Watch, apart};
use clap::Args;
use rustix::event::epoll;
use serde::{Deserialize, Serialize};
use socket2::Socket;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;
use tokio_tungstenite::tungstenite;
use veza_loadtest::flow::{Flow, Until};
use veza_loadtest::lean::{Crowd, Way};
use veza_loadtest::process;
use veza_loadtest::raw::{FIN, opcode};

/// How long it may take until everybody is there.
const ENTERING: Duration = Duration::from_secs(120);

/// Both processes of the reference.
#[derive(Args, Clone)]
pub struct Shape {
    #[arg(long)]
    rooms: usize,
    /// Members of each
    #[arg(long)]
    size: usize,
    /// The text that everybody gets
    #[arg(long)]
    push: String,
}

/// A stretch to be measured.
#[derive(Serialize, Deserialize)]
struct Order {
    in_flight: u64,
    messages: u64,
}

/// What it cost.
#[derive(Clone, Serialize, Deserialize)]
pub struct Stretch {
    /// The loop's CPU seconds.
    pub server: f64,
    /// Its driver's.
    pub generator: f64,
    /// Wall time.
    pub seconds: f64,
    /// From the sending to the last receiver, ms, of each message in order, where one was in flight.
    pub last_ms: f64,
}

impl Stretch {
    /// CPU µs of the loop for each of so many deliveries.
    pub fn server_us(&self, deliveries: u64) -> f64 {
        self.server * 1e6 / deliveries as f64
    }
}

/// The reference, as its user sees it.
pub struct Bare {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

fn subcommand(name: &str, shape: &Shape) -> Result<Command, String> {
    let mut command = Command::new(std::env::current_exe().map_err(|error| error.to_string())?);
    let (rooms, size) = (shape.rooms.to_string(), shape.size.to_string());
    command.args([name, "--rooms", &rooms, "--size", &size, "--push", &shape.push]).stdout(Stdio::piped());
    Ok(command)
}

fn line(of: &mut impl std::io::BufRead) -> Result<String, String> {
    let mut line = String::new();
    of.read_line(&mut line).map_err(|error| error.to_string())?;
    if line.is_empty() { Err("the bare loop has ended".into()) } else { Ok(line) }
}

impl Bare {
    /// Starts it with as many rooms and members, and the push that the server sent.
    pub fn start(rooms: usize, size: usize, push: &str) -> Result<Bare, String> {
        let shape = Shape { rooms, size, push: push.to_owned() };
        let mut child =
            subcommand("bare-driver", &shape)?.stdin(Stdio::piped()).spawn().map_err(|error| error.to_string())?;
        let orders = child.stdin.take().ok_or("piped")?;
        let mut answers = BufReader::new(child.stdout.take().ok_or("piped")?);
        line(&mut answers)?;
        Ok(Bare { child, orders, answers })
    }

    /// Measures a stretch.
    pub fn closed(&mut self, in_flight: u64, messages: u64) -> Result<Stretch, String> {
        let order = serde_json::to_string(&Order { in_flight, messages }).map_err(|error| error.to_string())?;
        writeln!(self.orders, "{order}").map_err(|error| error.to_string())?;
        serde_json::from_str(&line(&mut self.answers)?).map_err(|error| error.to_string())
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The driver: takes orders from standard input.
#[derive(Args)]
pub struct BareDriver {
    #[command(flatten)]
    shape: Shape,
}

impl BareDriver {
    pub fn run(self) -> Result<bool, String> {
        apart(|| self.drive())?;
        Ok(true)
    }

    fn drive(&self) -> Result<(), String> {
        let Shape { rooms, size, .. } = self.shape;
        let mut command = subcommand("bare-rooms", &self.shape)?;
        // Its end is ours, however we end: it goes when its connections are gone.
        let spawned = process::on_core(SERVER_CORE, || command.spawn()).map_err(|error| error.to_string())?;
        let mut child = spawned.map_err(|error| error.to_string())?;
        let mut output = BufReader::new(child.stdout.take().ok_or("piped")?);
        let addr = line(&mut output)?.trim().parse().map_err(|_| "the bare loop does not start")?;
        let mut crowd = Crowd::new(addr).map_err(|error| error.to_string())?;
        for _ in 0..rooms * size {
            crowd.add(None, &[]);
        }
        // One after the other: the loop knows its rooms by the order of arrival.
        crowd.bring(0..rooms * size, Way::Upgrade, 1, ENTERING)?;
        let names: Vec<u64> = (0..rooms as u64).collect();
        let mut flow = Flow::new(crowd, &names, |number| number / size, CONTENT_BYTES)?;
        println!("ready");
        for order in std::io::stdin().lock().lines() {
            let order: Order =
                serde_json::from_str(&order.map_err(|error| error.to_string())?).map_err(|error| error.to_string())?;
            let stretch = measure(&mut flow, child.id(), &order)?;
            println!("{}", serde_json::to_string(&stretch).map_err(|error| error.to_string())?);
        }
        drop(flow);
        let _ = child.wait();
        Ok(())
    }
}

fn measure(flow: &mut Flow, pid: u32, order: &Order) -> Result<Stretch, String> {
    flow.reset();
    let watch = Watch::start(pid, None);
    flow.closed(order.in_flight, order.messages, Until::Received)?;
    let Cpu { server, generator, seconds, .. } = watch.end();
    Ok(Stretch {
        server: server.unwrap_or(f64::NAN),
        generator: generator.unwrap_or(f64::NAN),
        seconds,
        last_ms: flow.counts.last_us.value_at_quantile(0.5) as f64 / 1e3,
    })
}

/// The loop itself.
#[derive(Args)]
pub struct BareRooms {
    #[command(flatten)]
    shape: Shape,
}

impl BareRooms {
    pub fn run(self) -> Result<bool, String> {
        self.serve().map_err(|error| error.to_string())?;
        Ok(true)
    }

    fn serve(&self) -> std::io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        println!("{}", listener.local_addr()?);
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut sockets: Vec<Socket> = Vec::new();
        for number in 0..self.shape.rooms * self.shape.size {
            let (stream, _) = listener.accept()?;
            stream.set_nodelay(true)?;
            let stream = tungstenite::accept(stream).map_err(std::io::Error::other)?.get_ref().try_clone()?;
            stream.set_nonblocking(true)?;
            epoll::add(&epoll, &stream, epoll::EventData::new_u64(number as u64), epoll::EventFlags::IN)?;
            sockets.push(stream.into());
        }
        let push = push_frame(self.shape.push.as_bytes());
        let (mut buffer, mut events) = (vec![0; 16 << 10], Vec::with_capacity(256));
        loop {
            events.clear();
            epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), None)?;
            for event in &events {
                let number = event.data.u64() as usize;
                let count = (&sockets[number]).read(&mut buffer)?;
                if count == 0 {
                    return Ok(()); // the driver has gone
                }
                let first = number / self.shape.size * self.shape.size;
                for _ in 0..commands(&buffer[..count]) {
                    for socket in &sockets[first..first + self.shape.size] {
                        let sent = (&mut &*socket).write(&push)?;
                        assert_eq!(sent, push.len(), "a full socket");
                    }
                }
            }
        }
    }
}

/// The server's frame: not masked.
fn push_frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![FIN | opcode::TEXT, 126];
    frame.extend_from_slice(&u16::try_from(payload.len()).expect("a short push").to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// How many masked frames these are.
fn commands(mut bytes: &[u8]) -> usize {
    let mut count = 0;
    while let [_, second, rest @ ..] = bytes {
        let (extended, len) = match (second & 0x7f, rest) {
            (126, [high, low, ..]) => (2, usize::from(u16::from_be_bytes([*high, *low]))),
            (short, _) => (0, usize::from(short)),
        };
        bytes = bytes.get(2 + extended + 4 + len..).unwrap_or_default();
        count += 1;
    }
    count
}
