//! The API in front of a shard that is a table.

mod assets;
mod capacity;
mod connections;
mod metrics;
mod requests;

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use veza_engine::input::{Identity, Role, TokenError};
use veza_engine::wire::{Command, CommandError, CommandType, ErrorCode};

use super::*;

/// Answers `ping` with the caller, `get_unread` never, `get_user` is refused by a full inbox, `list_rooms` fails.
struct Fake {
    tickets: Arc<Tickets>,
    status: Status,
}

const UP: Status = Status { database_up: true, shards_up: 2, draining: false };

impl Backend for Fake {
    fn shards(&self) -> u16 {
        2
    }

    fn verify(&self, token: &str) -> Result<Identity, TokenError> {
        match token {
            "expired" => Err(TokenError::Expired),
            "bad" => Err(TokenError::Invalid),
            sub => Ok(Identity {
                iss: "".into(),
                sub: sub.into(),
                username: None,
                role: Role::User,
                session_id: "s".into(),
                issued_at: None,
                expires_at: i64::MAX,
            }),
        }
    }

    fn command(&self, shard: u16, ticket: u64, identity: Box<Identity>, command: Box<Command>) -> Result<(), Full> {
        let mut limited = CommandError::new(ErrorCode::RateLimitExceeded, "too many");
        limited.retry_after_ms = Some(1200);
        let mut internal = CommandError::new(ErrorCode::Internal, "internal error");
        internal.error_id = Some(0xABC);
        match command.kind() {
            CommandType::Ping => {
                let body = serde_json::json!({ "sub": &*identity.sub, "shard": shard }).to_string();
                self.tickets.complete(ticket, Ok(body.into_bytes()));
            }
            CommandType::ListRooms => self.tickets.complete(ticket, Err(Box::new(limited))),
            CommandType::ListUsers => self.tickets.complete(ticket, Err(Box::new(internal))),
            CommandType::GetUser => return Err(Full),
            _ => {}
        }
        Ok(())
    }

    fn account(&self, request: AccountRequest, peer: IpAddr, body: &[u8]) -> Pending {
        let body = serde_json::json!({ "what": format!("{request:?}"), "peer": peer, "bytes": body.len() }).to_string();
        Box::pin(async move { Ok(body.into_bytes()) })
    }

    fn shard_report(&self, shard: u16) -> oneshot::Receiver<Box<ShardReport>> {
        let (sender, receiver) = oneshot::channel();
        let mut report = ShardReport { edge: vec![("upgrades", 3), ("resets", 0)], ..Default::default() };
        report.engine.connections = 7;
        report.engine.commands.0[CommandType::SendMessage as usize] = 42;
        for us in [1, 1000, 70_000_000] {
            report.engine.ack_us.record(us);
        }
        report.runtime.busy_us[veza_runtime::Phase::Writes] = 1_500_000;
        report.engine.peaks.journal_ops.see(9, veza_engine::time::Mono(1));
        // The second shard is stuck: its number never comes.
        if shard == 0 {
            let _ = sender.send(Box::new(report));
        }
        receiver
    }

    fn store_report(&self) -> StoreReport {
        StoreReport { up: self.status.database_up, ..Default::default() }
    }

    fn status(&self) -> Status {
        self.status
    }
}

/// An API on a thread of its own, which ends with it.
struct Running {
    listener: TcpListener,
    sockets: Option<mpsc::Sender<Handed>>,
    thread: Option<JoinHandle<()>>,
    stop: watch::Sender<bool>,
    tickets: Arc<Tickets>,
}

const BODY_BYTES_MAX: usize = 4096;

fn settings() -> Settings {
    Settings {
        body_bytes_max: BODY_BYTES_MAX,
        allowed_origins: vec!["https://app.example.com".into()],
        answer_timeout: Duration::from_millis(50),
        internal_port: false,
        capacity: CapacityFacts {
            shards: 2.0,
            heartbeat_s: 25.0,
            batch_max: 1024.0,
            writers: 4.0,
            ring_events: 256.0,
            ring_bytes: 262_144.0,
            cache_bytes: 0.0,
        },
    }
}

impl Running {
    fn start(status: Status, settings: Settings) -> Running {
        let tickets = Arc::new(Tickets::default());
        let api = Api::new(Box::new(Fake { tickets: tickets.clone(), status }), tickets.clone(), settings);
        let (sockets, receiver) = mpsc::channel(HANDED_MAX);
        let (stop, stopped) = watch::channel(false);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(serve_handed(api.public_router(), receiver, stopped));
        });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Running { listener, sockets: Some(sockets), thread: Some(thread), stop, tickets }
    }

    /// A connection of which the first `read` bytes of `request` come with the hand-over, the others on the socket.
    fn connect(&self, request: &[u8], read: usize) -> TcpStream {
        let mut client = TcpStream::connect(self.listener.local_addr().unwrap()).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let (server, peer) = self.listener.accept().unwrap();
        server.set_nonblocking(true).unwrap();
        client.write_all(&request[read..]).unwrap();
        self.sockets.as_ref().unwrap().blocking_send((server, request[..read].to_vec(), peer)).unwrap();
        client
    }

    fn ask(&self, request: &[u8]) -> Answer {
        Answer::read(&mut self.connect(request, request.len() / 2))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.sockets = None;
        let _ = self.stop.send(true);
        let result = self.thread.take().unwrap().join();
        assert!(result.is_ok() || std::thread::panicking(), "the API panicked");
    }
}

/// One response.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn read(stream: &mut TcpStream) -> Answer {
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            assert_eq!(stream.read(&mut byte).unwrap(), 1, "ended in {:?}", String::from_utf8_lossy(&bytes));
            bytes.push(byte[0]);
        }
        let head = String::from_utf8(bytes).unwrap().to_ascii_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut answer = Answer { status, head, body: String::new() };
        let mut body = vec![0; answer.header("content-length").map_or(0, |length| length.parse().unwrap())];
        stream.read_exact(&mut body).unwrap();
        answer.body = String::from_utf8(body).unwrap();
        answer
    }

    /// A header's value, in lower case.
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// A request with these headers (each line with its end) and this body.
fn request(method: &str, path: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("{method} {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len()).into_bytes()
}

fn peer_of(stream: &TcpStream) -> SocketAddr {
    stream.local_addr().unwrap()
}
