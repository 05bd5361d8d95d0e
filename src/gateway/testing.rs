//! A gateway on real sockets and a real engine, with a store and a token check that do what the test says.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use veza_engine::id::{ShardId, UserId};
use veza_engine::input::{Identity, Role, TokenError};
use veza_engine::limits::Limits;
use veza_engine::store::{Batch, BatchOutcome, Load, LoadError, Loaded, UserRow};
use veza_engine::time::WallMs;
use veza_engine::wire::CommandError;
use veza_runtime::{Post, Posted, Report, Running, Runtime, RuntimeConfig};

use super::http_head::HeadPolicy;
use super::{Backend, Gateway, GatewayConfig, HandOver, Handshakes, listener};

/// What a test may choose.
pub struct Choice {
    pub handshake_us: u64,
    pub handshakes: (u32, u32),
    pub limits: Limits,
    pub compression: bool,
}

impl Default for Choice {
    fn default() -> Choice {
        let limits = Limits { commands_per_second: 0, max_connections_per_user: 0, ..Limits::default() };
        Choice { handshake_us: 60_000_000, handshakes: (4096, 1024), limits, compression: false }
    }
}

/// Loads that wait while the test holds them back.
#[derive(Default)]
pub struct Held {
    pub holding: AtomicBool,
    waiting: Mutex<Vec<u64>>,
}

struct Fake {
    shard: ShardId,
    post: Post,
    handed: Sender<HandOver>,
    held: Arc<Held>,
}

impl Fake {
    fn answer(&self, id: u64, result: Result<Loaded, LoadError>) {
        assert!(self.post.post(self.shard, Posted::Loaded { id, result }).is_ok());
    }
}

impl Backend for Fake {
    fn store(&mut self, batch: Box<Batch>) {
        let posted = Posted::Stored { writer: batch.writer, outcome: BatchOutcome::Committed };
        assert!(self.post.post(self.shard, posted).is_ok());
    }

    fn load(&mut self, id: u64, load: Load) {
        match load {
            Load::Identify { identity } => {
                let user_id = UserId(identity.sub.bytes().map(u64::from).sum());
                let row =
                    UserRow { user_id, username: identity.sub.clone(), role: "user".into(), created_at: WallMs(0) };
                self.answer(id, Ok(Loaded::User(Some(row))));
            }
            Load::Unread { .. } if self.held.holding.load(Ordering::SeqCst) => {
                self.held.waiting.lock().unwrap().push(id);
            }
            Load::Unread { .. } => self.answer(id, Ok(Loaded::Unread(Vec::new()))),
            _ => self.answer(id, Err(LoadError::Unavailable)),
        }
    }

    fn verify(&mut self, token: &str, now: i64) -> Result<Box<Identity>, TokenError> {
        match token {
            "panic" => panic!("planted in the test"),
            "expired" => Err(TokenError::Expired),
            good if good.starts_with("good") => Ok(Box::new(Identity {
                iss: "".into(),
                sub: good.into(),
                username: None,
                role: Role::User,
                session_id: good.into(),
                issued_at: Some(now),
                expires_at: now + 3600,
            })),
            _ => Err(TokenError::Invalid),
        }
    }

    fn http_reply(&mut self, _: u64, _: Result<Vec<u8>, Box<CommandError>>) {}

    fn hand_over(&mut self, socket: HandOver) {
        let _ = self.handed.send(socket);
    }
}

/// A server of one shard; stops when dropped.
pub struct Server {
    pub address: SocketAddr,
    pub handed: Receiver<HandOver>,
    pub held: Arc<Held>,
    post: Post,
    running: Option<Running>,
}

impl Server {
    pub fn start(choice: &Choice) -> Server {
        let runtime = Runtime::new(1).unwrap();
        let post = runtime.post();
        let listeners = listener::bind("127.0.0.1:0".parse().unwrap(), 1).unwrap();
        let address = listeners[0].local_addr().unwrap();
        let config = GatewayConfig {
            head: Arc::new(HeadPolicy {
                allowed_origins: Vec::new(),
                echo_endpoint: true,
                compression: choice.compression,
            }),
            max_frame_bytes: 65_536,
            handshake_us: choice.handshake_us,
            handshakes: Arc::new(Handshakes::new(choice.handshakes.0, choice.handshakes.1)),
        };
        let (to, handed) = channel();
        let held = Arc::new(Held::default());
        let edges = listeners
            .into_iter()
            .map(|listener| {
                let (config, post, held, to) = (config.clone(), post.clone(), held.clone(), to.clone());
                move |shard| Gateway::new(config, listener, Fake { shard, post, handed: to, held })
            })
            .collect();
        let config = RuntimeConfig { limits: choice.limits.clone(), writer_epoch: 1, seed: 7 };
        let running = runtime.start(&config, edges).unwrap();
        Server { address, handed, held, post, running: Some(running) }
    }

    pub fn connect(&self) -> Client {
        let stream = TcpStream::connect(self.address).unwrap();
        // Only to end a test that would hang; nothing is measured by it.
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Client { stream }
    }

    /// A WebSocket; `query` goes behind the path.
    pub fn open(&self, path: &str) -> Client {
        let mut client = self.connect();
        client.send(upgrade(path).as_bytes());
        let head = client.head();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        client
    }

    pub fn report(&self) -> Report {
        let (to, from) = channel();
        let posted = Posted::Report(Box::new(move |report| to.send(report).unwrap()));
        assert!(self.post.post(ShardId(0), posted).is_ok());
        from.recv().unwrap()
    }

    pub fn counter(&self, name: &str) -> u64 {
        let report = self.report();
        report.edge.iter().find(|(counter, _)| *counter == name).unwrap_or_else(|| panic!("{name}")).1
    }

    /// Asks for reports until one is as wanted. The test hangs (and fails) if none ever is.
    pub fn wait_until(&self, wanted: impl Fn(&Report) -> bool) -> Report {
        loop {
            let report = self.report();
            if wanted(&report) {
                return report;
            }
            std::thread::yield_now();
        }
    }

    pub fn drain(&self) {
        self.post.post_all(|_| Posted::Drain { reconnect_after_ms: 0 });
    }

    pub fn let_loads_go(&self) {
        self.held.holding.store(false, Ordering::SeqCst);
        for id in std::mem::take(&mut *self.held.waiting.lock().unwrap()) {
            let posted = Posted::Loaded { id, result: Ok(Loaded::Unread(Vec::new())) };
            assert!(self.post.post(ShardId(0), posted).is_ok());
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop_and_join();
        }
    }
}

/// A request to upgrade.
pub fn upgrade(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: \
         13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// A masked frame with this first byte.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        n @ 0..=125 => out.push(0x80 | n as u8),
        n @ 126..=0xFFFF => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(n as u16).to_be_bytes());
        }
        n => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(n as u64).to_be_bytes());
        }
    }
    let mask = [0xA1, 0x05, 0x77, 0x3C];
    out.extend_from_slice(&mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    out
}

/// A text frame.
pub fn text(payload: &str) -> Vec<u8> {
    frame(0x81, payload.as_bytes())
}

/// The other end of a socket.
pub struct Client {
    pub stream: TcpStream,
}

impl Client {
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// A response's head.
    pub fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            assert_eq!(self.stream.read(&mut byte).unwrap(), 1, "ended in {:?}", String::from_utf8_lossy(&head));
            head.push(byte[0]);
        }
        String::from_utf8(head).unwrap()
    }

    /// All that comes until the end; a reset ends it too.
    pub fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        let _ = self.stream.read_to_end(&mut rest);
        String::from_utf8_lossy(&rest).into_owned()
    }

    /// The next frame: first byte and payload.
    pub fn frame(&mut self) -> (u8, Vec<u8>) {
        let mut header = [0; 2];
        self.stream.read_exact(&mut header).unwrap();
        assert_eq!(header[1] & 0x80, 0, "server frames are not masked");
        let length = match header[1] {
            126 => {
                let mut bytes = [0; 2];
                self.stream.read_exact(&mut bytes).unwrap();
                usize::from(u16::from_be_bytes(bytes))
            }
            127 => {
                let mut bytes = [0; 8];
                self.stream.read_exact(&mut bytes).unwrap();
                u64::from_be_bytes(bytes) as usize
            }
            short => usize::from(short),
        };
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).unwrap();
        (header[0], payload)
    }

    /// The next text frame, control frames skipped.
    pub fn text(&mut self) -> String {
        loop {
            let (first, payload) = self.frame();
            if first == 0x81 {
                return String::from_utf8(payload).unwrap();
            }
            assert_ne!(first, 0x88, "closed: {payload:?}");
        }
    }

    /// Skips everything up to the Close frame: its code (0 if it has none).
    pub fn close_code(&mut self) -> u16 {
        loop {
            let (first, payload) = self.frame();
            if first == 0x88 {
                return payload.first_chunk().map_or(0, |code| u16::from_be_bytes(*code));
            }
        }
    }
}
