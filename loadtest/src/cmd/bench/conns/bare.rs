//! A server that does nothing but WebSocket handshakes: what the kernel and the protocol cost at the least.

use clap::Args;
use rustix::event::epoll;
use rustix::net::{SocketFlags, accept_with};
use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::process::{Child, Command, Stdio};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use veza_loadtest::process;

/// Arguments of `bare-accept`: there are none.
#[derive(Args)]
pub struct BareAccept {}

const LISTENER: u64 = u64::MAX;

impl BareAccept {
    /// Accepts, answers each request with 101, and closes what the peer has closed.
    pub fn run(self) -> Result<bool, String> {
        serve().map_err(|error| error.to_string())?;
        Ok(true)
    }
}

fn serve() -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    listener.set_nonblocking(true)?;
    let poller = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&poller, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
    let mut events: Vec<epoll::Event> = Vec::with_capacity(256);
    let mut open: HashMap<u64, TcpStream> = HashMap::new();
    let mut buffer = [0; 16 << 10];
    loop {
        events.clear();
        match epoll::wait(&poller, rustix::buffer::spare_capacity(&mut events), None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            let data = event.data;
            if data.u64() == LISTENER {
                while let Ok(fd) = accept_with(&listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                    let stream = TcpStream::from(fd);
                    let key = stream.as_raw_fd() as u64;
                    epoll::add(&poller, &stream, epoll::EventData::new_u64(key), epoll::EventFlags::IN)?;
                    open.insert(key, stream);
                }
                continue;
            }
            let Some(stream) = open.get_mut(&data.u64()) else { continue };
            match stream.read(&mut buffer) {
                Ok(count) if count > 0 => answer(stream, &buffer[..count])?,
                _ => drop(open.remove(&data.u64())),
            }
        }
    }
}

fn answer(stream: &mut TcpStream, head: &[u8]) -> std::io::Result<()> {
    const KEY: &str = "Sec-WebSocket-Key: ";
    let head = std::str::from_utf8(head).map_err(std::io::Error::other)?;
    let key = head.find(KEY).and_then(|at| head[at + KEY.len()..].split("\r\n").next()).unwrap_or_default();
    let accept = derive_accept_key(key.as_bytes());
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    stream.write_all(response.as_bytes())
}

/// The bare server as a process on the first core; it ends with its owner.
pub struct Bare {
    child: Child,
    /// Where it listens.
    pub addr: SocketAddr,
}

impl Bare {
    pub fn start() -> Result<Bare, String> {
        let mut command = Command::new(std::env::current_exe().map_err(|error| error.to_string())?);
        command.arg("bare-accept").stdout(Stdio::piped());
        let spawned = process::on_core(0, || command.spawn()).map_err(|error| error.to_string())?;
        let mut child = spawned.map_err(|error| error.to_string())?;
        let mut line = String::new();
        let output = child.stdout.take().ok_or("piped")?;
        BufReader::new(output).read_line(&mut line).map_err(|error| error.to_string())?;
        Ok(Bare { child, addr: line.trim().parse().map_err(|_| "the bare server does not start")? })
    }

    pub fn cpu_seconds(&self) -> f64 {
        process::cpu_time(self.child.id()).map_or(0.0, |time| time.as_secs_f64())
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
