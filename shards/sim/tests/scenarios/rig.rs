//! Shards and their store by hand: nothing happens that a scenario has not asked for.

use std::collections::{BTreeMap, VecDeque};

use serde_json::Value;
use veza_engine::deflate::Window;
use veza_engine::id::{ConnId, ShardId};
use veza_engine::input::{Identity, Role, TokenError};
use veza_engine::limits::Limits;
use veza_engine::store::{Batch, BatchOutcome, Load, LoadError, Loaded};
use veza_engine::time::{Mono, Now, SECOND_US, WallMs};
use veza_engine::wire::parse::Parser;
use veza_engine::wire::{CloseCode, CommandError, CommandType};
use veza_engine::{Effect, Input, PeerMessage, Shard, ShardConfig};
use veza_sim::inflated;
use veza_sim::store::Store;

const START_US: u64 = 100 * SECOND_US;
const START_S: i64 = 1_800_000_000;

pub struct Rig {
    pub shards: Vec<Shard>,
    pub store: Store,
    pub closed: BTreeMap<u32, CloseCode>,
    pub http: BTreeMap<u64, Result<Value, CommandError>>,
    /// Batches and queries wait in here while they are held.
    pub hold_batches: bool,
    pub hold_loads: bool,
    pub batches: VecDeque<(usize, Box<Batch>)>,
    pub loads: VecDeque<(usize, u64, Load)>,
    /// Messages between these two shards wait while they are held.
    pub hold_link: Option<(usize, usize)>,
    /// Tokens wait to be verified.
    pub hold_tokens: bool,
    tokens: VecDeque<(ConnId, veza_engine::input::VerifyFor, Box<str>)>,
    /// Sockets do not take anything.
    pub blocked: bool,
    /// Of connections to come: whether they take compressed frames.
    pub window: Window,
    now_us: u64,
    slots: u32,
    asked: u64,
    received: BTreeMap<u32, Vec<Value>>,
}

pub fn identity(sub: &str, session: &str) -> Box<Identity> {
    Box::new(Identity {
        iss: "".into(),
        sub: sub.into(),
        username: Some(sub.into()),
        role: Role::User,
        session_id: session.into(),
        issued_at: Some(START_S),
        expires_at: START_S + 900,
    })
}

impl Rig {
    pub fn new(shards: u16, set: impl FnOnce(&mut Limits)) -> Rig {
        let mut limits = Limits { max_messages_per_minute: 0, commands_per_second: 0, ..Limits::default() };
        set(&mut limits);
        let mut rig = Rig {
            shards: Vec::new(),
            store: Store::default(),
            closed: BTreeMap::new(),
            http: BTreeMap::new(),
            hold_batches: false,
            hold_loads: false,
            batches: VecDeque::new(),
            loads: VecDeque::new(),
            hold_link: None,
            hold_tokens: false,
            tokens: VecDeque::new(),
            blocked: false,
            window: Window::NONE,
            now_us: START_US,
            slots: 0,
            asked: 0,
            received: BTreeMap::new(),
        };
        for id in 0..shards {
            let config =
                ShardConfig { id: ShardId(id), shards, limits: limits.clone(), writer_epoch: 1, seed: u64::from(id) };
            rig.shards.push(Shard::new(config, rig.now()));
        }
        rig.run();
        rig
    }

    fn now(&self) -> Now {
        Now { mono: Mono(self.now_us), wall: WallMs(START_S * 1000 + ((self.now_us - START_US) / 1000) as i64) }
    }

    /// Hands in one thing, and carries out all that comes of it.
    pub fn input(&mut self, shard: usize, input: Input<'_>) {
        let now = self.now();
        self.shards[shard].handle(now, input);
        self.run();
    }

    /// Time passes, in steps of a tick.
    pub fn pass(&mut self, seconds: u64) {
        self.pass_tenths(seconds * 10);
    }

    pub fn pass_tenths(&mut self, tenths: u64) {
        for _ in 0..tenths {
            self.now_us += SECOND_US / 10;
            for shard in 0..self.shards.len() {
                if self.shards[shard].next_timeout().is_some_and(|due| due.0 <= self.now_us) {
                    self.input(shard, Input::Tick);
                }
            }
        }
    }

    /// Carries out everything that is not held.
    pub fn run(&mut self) {
        loop {
            let mut more = false;
            for shard in 0..self.shards.len() {
                while let Some(effect) = self.shards[shard].poll_effect() {
                    more = true;
                    self.effect(shard, effect);
                }
                while let Some(conn) = self.shards[shard].next_touched() {
                    more = true;
                    self.flush(conn);
                }
                for to in (0..self.shards.len()).filter(|to| *to != shard) {
                    more |= self.hold_link != Some((shard, to)) && self.carry(shard, to);
                }
            }
            more |= self.serve();
            if !more {
                return;
            }
        }
    }

    fn carry(&mut self, from: usize, to: usize) -> bool {
        let Some(message) = self.shards[from].poll_peer(ShardId(to as u16)) else { return false };
        self.peer(from, to, message);
        true
    }

    pub fn peer(&mut self, from: usize, to: usize, message: PeerMessage) {
        let now = self.now();
        self.shards[to].handle(now, Input::Peer { from: ShardId(from as u16), message });
    }

    fn effect(&mut self, shard: usize, effect: Effect) {
        match effect {
            Effect::Store(batch) => self.batches.push_back((shard, batch)),
            Effect::Load { id, load } => self.loads.push_back((shard, id, load)),
            Effect::Verify { conn, purpose, token } => self.tokens.push_back((conn, purpose, token)),
            Effect::Close { conn, code } => {
                self.closed.insert(conn.slot, code);
                if let Some(outbox) = self.shards[shard].take_outbox(conn) {
                    self.read(conn, &outbox);
                }
            }
            Effect::HttpReply { ticket, result } => {
                let parsed = |data: Vec<u8>| serde_json::from_slice(&data).expect("JSON");
                self.http.insert(ticket, result.map(parsed).map_err(|error| *error));
            }
            Effect::Pause { .. } | Effect::Resume { .. } | Effect::Fault { .. } => {}
        }
    }

    fn serve(&mut self) -> bool {
        let mut more = false;
        while let Some((shard, batch)) = front(&mut self.batches, self.hold_batches) {
            let (writer, outcome) = (batch.writer, self.store.apply(&batch));
            self.stored(shard, writer, outcome);
            more = true;
        }
        while let Some((shard, id, load)) = front(&mut self.loads, self.hold_loads) {
            let result = self.store.load(&load);
            self.loaded(shard, id, result);
            more = true;
        }
        while let Some((conn, purpose, token)) = front(&mut self.tokens, self.hold_tokens) {
            let result = match &*token {
                "bad" => Err(TokenError::Invalid),
                "old" => Err(TokenError::Expired),
                sub => Ok(identity(sub, &format!("session of {sub}"))),
            };
            let now = self.now();
            self.shards[usize::from(conn.shard.0)].handle(now, Input::Verified { conn, purpose, result });
            more = true;
        }
        more
    }

    pub fn stored(&mut self, shard: usize, writer: veza_engine::store::Writer, outcome: BatchOutcome) {
        let now = self.now();
        self.shards[shard].handle(now, Input::Stored { writer, outcome });
    }

    pub fn loaded(&mut self, shard: usize, id: u64, result: Result<Loaded, LoadError>) {
        let now = self.now();
        self.shards[shard].handle(now, Input::Loaded { id, result });
    }

    /// Opens a connection; `None`: without a token.
    pub fn open(&mut self, shard: usize, identity: Option<Box<Identity>>) -> ConnId {
        let conn = ConnId { shard: ShardId(shard as u16), slot: self.slots, generation: 1 };
        self.slots += 1;
        self.input(shard, Input::Opened { conn, identity, window: self.window });
        conn
    }

    /// A connection of this user, authenticated.
    pub fn connect(&mut self, shard: usize, sub: &str) -> ConnId {
        let conn = self.open(shard, Some(identity(sub, &format!("session of {sub}"))));
        let pushes = self.frames(conn);
        assert_eq!(pushes[0]["type"], "auth_success", "{pushes:?}");
        conn
    }

    pub fn text(&mut self, conn: ConnId, text: &str) {
        let mut bytes = text.as_bytes().to_vec();
        self.input(usize::from(conn.shard.0), Input::Text { conn, text: &mut bytes });
    }

    /// Sends a command; its id.
    pub fn say(&mut self, conn: ConnId, kind: &str, data: &str) -> u64 {
        self.asked += 1;
        let id = self.asked;
        self.text(conn, &format!(r#"{{"type":"{kind}","id":{id},"data":{data}}}"#));
        id
    }

    /// Sends a command; its reply, and nothing else may have come before it but pushes.
    pub fn ask(&mut self, conn: ConnId, kind: &str, data: &str) -> Value {
        let id = self.say(conn, kind, data);
        self.reply(conn, id).unwrap_or_else(|| panic!("{kind} {data} has no reply"))
    }

    /// The reply to a command, if it has come; other frames stay.
    pub fn reply(&mut self, conn: ConnId, id: u64) -> Option<Value> {
        let frames = self.received.entry(conn.slot).or_default();
        let place = frames.iter().position(|frame| frame["id"] == id)?;
        Some(frames.remove(place))
    }

    /// What has come since the last look.
    pub fn frames(&mut self, conn: ConnId) -> Vec<Value> {
        self.received.remove(&conn.slot).unwrap_or_default()
    }

    /// Sends over HTTP; what is answered.
    pub fn http(&mut self, shard: usize, sub: &str, kind: &str, data: &str) -> Result<Value, CommandError> {
        self.asked += 1;
        let ticket = self.asked;
        let kind = CommandType::from_name(kind).expect("a command");
        let command = Parser::new().parse_data(kind, data.as_bytes())?;
        let identity = identity(sub, &format!("session of {sub}"));
        self.input(shard, Input::Http { ticket, identity, command: Box::new(command) });
        self.http.remove(&ticket).expect("an answer")
    }

    /// A room, public, made by this connection; its id.
    pub fn room(&mut self, conn: ConnId) -> u64 {
        self.room_with(conn, r#"{"name":"room"}"#)
    }

    pub fn room_with(&mut self, conn: ConnId, data: &str) -> u64 {
        let reply = self.ask(conn, "create_room", data);
        reply["data"]["room"]["room_id"].as_u64().unwrap_or_else(|| panic!("{reply}"))
    }

    fn flush(&mut self, conn: ConnId) {
        if self.blocked {
            return;
        }
        let shard = usize::from(conn.shard.0);
        let Some(outbox) = self.shards[shard].outbox(conn) else { return };
        let bytes = bytes(outbox);
        let now = self.now();
        self.shards[shard].wrote(now, conn, bytes.len());
        self.note(conn, &bytes);
    }

    fn read(&mut self, conn: ConnId, outbox: &veza_engine::fanout::Outbox) {
        let bytes = bytes(outbox);
        self.note(conn, &bytes);
    }

    fn note(&mut self, conn: ConnId, mut bytes: &[u8]) {
        while let [first, second, ..] = *bytes {
            let (start, len) = match second {
                126 => (4, usize::from(u16::from_be_bytes([bytes[2], bytes[3]]))),
                127 => (10, u64::from_be_bytes(bytes[2..10].try_into().expect("8 bytes")) as usize),
                short => (2, usize::from(short)),
            };
            if first & 0x0F == 1 {
                let payload = &bytes[start..start + len];
                let text = if first & 0x40 != 0 { inflated(payload) } else { payload.to_vec() };
                let value = serde_json::from_slice(&text).expect("JSON");
                self.received.entry(conn.slot).or_default().push(value);
            }
            bytes = &bytes[start + len..];
        }
    }
}

fn front<T>(queue: &mut VecDeque<T>, held: bool) -> Option<T> {
    if held { None } else { queue.pop_front() }
}

fn bytes(outbox: &veza_engine::fanout::Outbox) -> Vec<u8> {
    let mut slices = Vec::new();
    outbox.slices(&mut slices, usize::MAX);
    slices.iter().flat_map(|slice| slice.iter().copied()).collect()
}

/// Types of frames, with the code of errors.
pub fn kinds(frames: &[Value]) -> Vec<String> {
    let name = |frame: &Value| match frame["data"]["code"].as_str() {
        Some(code) => code.to_owned(),
        None => frame["type"].as_str().unwrap_or("?").to_owned(),
    };
    frames.iter().map(name).collect()
}

/// `ok`, or the error's code.
pub fn code(reply: &Value) -> &str {
    if reply["type"] == "error" { reply["data"]["code"].as_str().unwrap_or("?") } else { "ok" }
}
