//! The simulated world: shards, the rings between them, the database, clients, time, and what goes wrong.

use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use veza_engine::id::{ConnId, RoomId, Seq, ShardId};
use veza_engine::input::{Identity, Role};
use veza_engine::limits::Limits;
use veza_engine::store::{Batch, BatchOutcome, EventKind, Load, LoadError, Loaded, Writer};
use veza_engine::time::{Mono, Now, WallMs};
use veza_engine::wire::CloseCode;
use veza_engine::{Effect, Input, PeerMessage, Shard, ShardConfig};

use crate::check::Checker;
use crate::client::Client;
use crate::plant::Plant;
use crate::rng::Rng;
use crate::store::{NOT_THERE, POISON, Store};

/// Something that will happen.
#[derive(Debug)]
enum Event {
    Peer { from: usize, to: usize },
    Apply { incarnation: u32, shard: usize, batch: Box<Batch>, early: bool },
    Stored { incarnation: u32, shard: usize, writer: Writer, outcome: BatchOutcome },
    Query { incarnation: u32, shard: usize, id: u64, load: Box<Load> },
    Loaded { incarnation: u32, shard: usize, id: u64, result: Result<Loaded, LoadError> },
    Act { client: usize },
    Read { client: usize },
    Tick { shard: usize },
}

struct Due(u64, u64, Event);

impl PartialEq for Due {
    fn eq(&self, other: &Due) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}
impl Eq for Due {}
impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Due) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Due {
    fn cmp(&self, other: &Due) -> std::cmp::Ordering {
        (other.0, other.1).cmp(&(self.0, self.1)) // the earliest first
    }
}

/// Everything.
pub struct World {
    pub(crate) rng: Rng,
    now_us: u64,
    order: u64,
    heap: BinaryHeap<Due>,
    shards: Vec<Shard>,
    incarnation: u32,
    links: Vec<Vec<VecDeque<PeerMessage>>>,
    ring_slots: usize,
    pub(crate) store: Store,
    pub(crate) clients: Vec<Client>,
    conns: BTreeMap<ConnId, usize>,
    /// Sendings over HTTP without an answer: author, room, client id, content.
    http: BTreeMap<u64, (u64, RoomId, String, String)>,
    generations: Vec<Vec<u32>>,
    /// Bytes of each connection's outbox that were looked at already.
    inspected: BTreeMap<ConnId, usize>,
    pub(crate) checker: Checker,
    pub(crate) plant: Option<Plant>,
    /// Faults have ended: everything settles.
    pub(crate) calm: bool,
}

const MS: u64 = 1000;

fn limits(rng: &mut Rng) -> Limits {
    Limits {
        max_message_length: 200,
        max_connections_per_user: 2,
        max_messages_per_minute: 0,
        commands_per_second: 0,
        max_rooms_per_user: 0,
        resume_events: rng.between(10, 200),
        outbox_bytes: rng.between(4, 64) as usize * 1024,
        inflight_per_conn_max: rng.between(2, 32) as u32,
        reply_bytes_max: 8192,
        journal_ops_max: rng.between(4, 64) as usize,
        batch_ops_max: rng.between(1, 16) as usize,
        lanes: rng.between(1, 3) as u16,
        peer_queue_max: rng.between(16, 256) as usize,
        ring_events: rng.between(2, 32) as usize,
        replay_page_events: rng.between(1, 8) as u32,
        replay_low_bytes: 2048,
        room_idle_us: 2_000_000,
        presence_single_max: 3,
        ..Limits::default()
    }
}

impl World {
    /// A world from a seed.
    pub fn new(seed: u64, plant: Option<Plant>) -> World {
        let mut rng = Rng::new(seed);
        let shards = rng.between(1, 3) as usize;
        let clients = rng.between(3, 9);
        let mut world = World {
            now_us: 1_000_000,
            order: 0,
            heap: BinaryHeap::new(),
            shards: Vec::new(),
            incarnation: 0,
            links: Vec::new(),
            ring_slots: rng.between(1, 16) as usize,
            store: Store::default(),
            clients: (0..clients)
                .map(|index| Client { user: index % 5, slow: index % 4 == 3, ..Client::default() })
                .collect(),
            conns: BTreeMap::new(),
            http: BTreeMap::new(),
            generations: vec![Vec::new(); shards],
            inspected: BTreeMap::new(),
            checker: Checker::default(),
            plant,
            calm: false,
            rng,
        };
        world.boot(shards);
        for client in 0..world.clients.len() {
            world.at(client as u64 * MS, Event::Act { client });
        }
        world
    }

    fn boot(&mut self, shards: usize) {
        let now = self.now();
        self.links = (0..shards).map(|_| (0..shards).map(|_| VecDeque::new()).collect()).collect();
        let limits = limits(&mut self.rng);
        self.shards = (0..shards)
            .map(|id| {
                let config = ShardConfig {
                    id: ShardId(id as u16),
                    shards: shards as u16,
                    limits: limits.clone(),
                    writer_epoch: i64::from(self.incarnation) + 1,
                    seed: self.rng.any(),
                };
                Shard::new(config, now)
            })
            .collect();
        for shard in 0..shards {
            self.settle(shard);
        }
    }

    fn now(&self) -> Now {
        Now { mono: Mono(self.now_us), wall: WallMs(1_800_000_000_000 + (self.now_us / MS) as i64) }
    }

    fn at(&mut self, delay_us: u64, event: Event) {
        self.order += 1;
        self.heap.push(Due(self.now_us + delay_us, self.order, event));
    }

    /// The next thing happens.
    pub fn step(&mut self) -> Result<(), String> {
        let Some(Due(at, _, event)) = self.heap.pop() else { return Ok(()) };
        self.now_us = self.now_us.max(at);
        self.checker.mix(self.now_us);
        match event {
            Event::Peer { from, to } => self.deliver_peer(from, to),
            Event::Apply { incarnation, shard, batch, early } => self.apply(incarnation, shard, &batch, early),
            Event::Stored { incarnation, shard, writer, outcome } if incarnation == self.incarnation => {
                self.input(shard, Input::Stored { writer, outcome });
            }
            Event::Query { incarnation, shard, id, load } if incarnation == self.incarnation => {
                self.query(shard, id, &load);
            }
            Event::Loaded { incarnation, shard, id, result } if incarnation == self.incarnation => {
                self.input(shard, Input::Loaded { id, result });
            }
            Event::Stored { .. } | Event::Query { .. } | Event::Loaded { .. } => {}
            Event::Act { client } => self.act(client),
            Event::Read { client } => self.read(client),
            Event::Tick { shard } => {
                if self.shards[shard].next_timeout().is_some_and(|due| due.0 <= self.now_us) {
                    self.input(shard, Input::Tick);
                }
            }
        }
        self.checker.result()
    }

    /// Hands something to a shard, and carries out what comes of it.
    pub(crate) fn input(&mut self, shard: usize, input: Input<'_>) {
        let now = self.now();
        self.shards[shard].handle(now, input);
        self.settle(shard);
    }

    fn settle(&mut self, shard: usize) {
        while let Some(effect) = self.shards[shard].poll_effect() {
            self.effect(shard, effect);
        }
        for to in 0..self.shards.len() {
            if to != shard {
                self.pump_ring(shard, to);
            }
        }
        while let Some(conn) = self.shards[shard].next_touched() {
            self.inspect(conn);
            if let Some(&client) = self.conns.get(&conn) {
                let slow = self.clients[client].slow && !self.calm;
                let delay = if slow { self.rng.between(1, 400) * MS } else { self.rng.below(500) };
                self.at(delay, Event::Read { client });
            }
        }
        if let Some(due) = self.shards[shard].next_timeout() {
            let delay = due.0.saturating_sub(self.now_us);
            // One tick event for each deadline is enough; void ones do nothing.
            if delay < 60_000_000 {
                self.at(delay, Event::Tick { shard });
            }
        }
    }

    fn pump_ring(&mut self, from: usize, to: usize) {
        loop {
            let full = self.links[from][to].len() >= self.ring_slots;
            if full && self.plant == Some(Plant::DropOnFullRing) {
                while self.shards[from].poll_peer(ShardId(to as u16)).is_some() {}
                return;
            }
            if full {
                return;
            }
            let Some(message) = self.shards[from].poll_peer(ShardId(to as u16)) else { return };
            self.links[from][to].push_back(message);
            let link = &mut self.links[from][to];
            if self.plant == Some(Plant::Reorder) && link.len() >= 2 {
                let last = link.len() - 1;
                if matches!(link[last], PeerMessage::Event { .. })
                    && matches!(link[last - 1], PeerMessage::Event { .. })
                {
                    link.swap(last, last - 1);
                }
            }
            let delay = if self.rng.percent(5) { self.rng.between(1, 50) * MS } else { self.rng.below(200) };
            self.at(delay, Event::Peer { from, to });
        }
    }

    fn deliver_peer(&mut self, from: usize, to: usize) {
        if let Some(message) = self.links[from][to].pop_front() {
            self.input(to, Input::Peer { from: ShardId(from as u16), message });
        }
        self.pump_ring(from, to);
    }

    fn effect(&mut self, shard: usize, effect: Effect) {
        let incarnation = self.incarnation;
        match effect {
            Effect::Store(batch) => {
                let delay = match self.rng.below(100) {
                    _ if self.calm => self.rng.below(MS),
                    0..=1 => self.rng.between(1000, 8000) * MS,
                    2..=9 => self.rng.between(20, 100) * MS,
                    _ => self.rng.between(100, 5 * MS),
                };
                let early = self.plant == Some(Plant::AckBeforeCommit) && self.rng.percent(20);
                if early {
                    let (writer, outcome) = (batch.writer, BatchOutcome::Committed);
                    self.at(0, Event::Stored { incarnation, shard, writer, outcome });
                }
                if self.plant == Some(Plant::PushBeforeCommit) && self.rng.percent(20) {
                    self.push_early(&batch);
                }
                self.at(delay, Event::Apply { incarnation, shard, batch, early });
            }
            Effect::Load { id, load } => {
                let delay =
                    if self.rng.percent(5) && !self.calm { self.rng.between(5, 300) * MS } else { self.rng.below(MS) };
                self.at(delay, Event::Query { incarnation, shard, id, load: Box::new(load) });
            }
            Effect::Verify { .. } => {}
            Effect::Close { conn, code } => self.closed_by_engine(conn, code),
            Effect::Pause { .. } | Effect::Resume { .. } => {}
            Effect::HttpReply { ticket, result } => {
                if let (Some((author, room, client_id, content)), Ok(data)) = (self.http.remove(&ticket), result)
                    && let Err(problem) = self.checked(author, room, &client_id, &content, &data)
                {
                    self.checker.fail(format!("over HTTP: {problem}"));
                }
            }
            Effect::Fault { .. } => {}
        }
    }

    fn apply(&mut self, incarnation: u32, shard: usize, batch: &Batch, early: bool) {
        if incarnation != self.incarnation {
            // The process that sent it is gone. A batch of events may still commit; other writes are fenced off.
            if batch.writes.is_empty() && self.rng.percent(50) {
                self.store.apply_late(batch);
            }
            return;
        }
        if early {
            let _ = self.store.apply(batch);
            return;
        }
        let outcome = self.apply_planted(batch);
        let delay = if self.rng.percent(10) && !self.calm { self.rng.between(1, 30) * MS } else { self.rng.below(500) };
        let writer = batch.writer;
        if self.rng.percent(5) {
            let outcome = outcome.clone();
            let again = delay + self.rng.below(20 * MS);
            self.at(again, Event::Stored { incarnation, shard, writer, outcome });
        }
        self.at(delay, Event::Stored { incarnation, shard, writer, outcome });
    }

    fn apply_planted(&mut self, batch: &Batch) -> BatchOutcome {
        match self.plant {
            Some(Plant::HoleAfterRefusal) => {
                let mut holed = batch.clone();
                for row in &mut holed.events {
                    if row.content.as_deref().is_some_and(|content| content.contains(POISON)) {
                        row.content = None;
                        row.kind = EventKind::Void;
                        row.client = None;
                        row.at = NOT_THERE;
                    }
                }
                self.store.apply(&holed)
            }
            Some(Plant::DuplicateAfterLostResult) if self.rng.percent(10) && !batch.events.is_empty() => {
                let outcome = self.store.apply(batch);
                if outcome == BatchOutcome::Committed {
                    self.store.append_again(batch);
                }
                outcome
            }
            Some(Plant::ForeignTakenForOwn) => match self.store.apply(batch) {
                BatchOutcome::Conflict { stale, .. } if !stale.is_empty() => BatchOutcome::Committed,
                other => other,
            },
            _ => self.store.apply(batch),
        }
    }

    fn push_early(&mut self, batch: &Batch) {
        let Some(row) = batch.events.first() else { return };
        let payload = format!(
            r#"{{"type":"message","data":{{"room_id":{},"seq":{},"content":{}}}}}"#,
            row.room_id.0,
            row.seq.0,
            serde_json::Value::from(row.content.as_deref().unwrap_or(""))
        );
        let frame = veza_engine::fanout::text_frame(payload.as_bytes());
        let (room_id, seq) = (row.room_id, row.seq);
        for shard in 0..self.shards.len() {
            let now = self.now();
            let message = PeerMessage::Event { room_id, seq, frame: frame.clone() };
            self.shards[shard].handle(now, Input::Peer { from: ShardId(0), message });
            while let Some(conn) = self.shards[shard].next_touched() {
                self.inspect(conn);
            }
        }
    }

    fn query(&mut self, shard: usize, id: u64, load: &Load) {
        let mut result = self.store.load(load);
        if !self.calm && self.rng.percent(3) {
            result = Err(LoadError::Unavailable);
        }
        if self.plant == Some(Plant::UncommittedHead)
            && let Ok(Loaded::Room(Some(state))) = &mut result
        {
            state.head = Seq(state.head.0 + 1);
            state.tail.clear();
        }
        let delay = if self.rng.percent(10) && !self.calm { self.rng.between(1, 40) * MS } else { self.rng.below(500) };
        let incarnation = self.incarnation;
        if self.rng.percent(5) {
            let result = result.clone();
            let again = delay + self.rng.below(20 * MS);
            self.at(again, Event::Loaded { incarnation, shard, id, result });
        }
        self.at(delay, Event::Loaded { incarnation, shard, id, result });
    }

    /// kill -9: all that is not in the database is gone. Batches under way may commit later.
    pub fn crash(&mut self) {
        self.incarnation += 1;
        self.conns.clear();
        self.http.clear();
        self.inspected.clear();
        for client in &mut self.clients {
            client.disconnected();
        }
        for slots in &mut self.generations {
            slots.clear();
        }
        let shards = self.shards.len();
        self.boot(shards);
    }

    /// A client connects.
    pub(crate) fn connect(&mut self, client: usize) {
        let shard = self.rng.below(self.shards.len() as u64) as usize;
        let taken: Vec<u32> =
            self.conns.keys().filter(|conn| usize::from(conn.shard.0) == shard).map(|c| c.slot).collect();
        let slot = (0..).find(|slot| !taken.contains(slot)).expect("numbers do not end");
        let generations = &mut self.generations[shard];
        generations.resize(generations.len().max(slot as usize + 1), 0);
        generations[slot as usize] += 1;
        let conn = ConnId { shard: ShardId(shard as u16), slot, generation: generations[slot as usize] };
        self.clients[client].conn = Some(conn);
        self.conns.insert(conn, client);
        let identity = self.identity(client);
        self.input(shard, Input::Opened { conn, identity: Some(Box::new(identity)) });
    }

    /// A message over HTTP, on any shard.
    pub(crate) fn http_send(&mut self, client: usize, room: RoomId, client_id: &str, content: &str) {
        let Some(author) = self.clients[client].user_id else { return };
        let parent = self.clients[client].parent_of(content, self.store.head(room));
        let data = format!(r#"{{"room_id":{},"content":"{content}","client_id":"{client_id}"{parent}}}"#, room.0);
        let kind = veza_engine::wire::CommandType::SendMessage;
        let Ok(command) = veza_engine::wire::parse::Parser::new().parse_data(kind, data.as_bytes()) else { return };
        self.order += 1;
        let ticket = self.order;
        self.http.insert(ticket, (author, room, client_id.to_owned(), content.to_owned()));
        let shard = self.rng.below(self.shards.len() as u64) as usize;
        let identity = Box::new(self.identity(client));
        self.input(shard, Input::Http { ticket, identity, command: Box::new(command) });
    }

    fn checked(
        &mut self,
        author: u64,
        room: RoomId,
        client_id: &str,
        content: &str,
        data: &[u8],
    ) -> Result<(), String> {
        let data = serde_json::from_slice(data).map_err(|error| format!("not JSON: {error}"))?;
        self.checker.acknowledged(&self.store, author, room, client_id, content, &data)
    }

    fn identity(&self, client: usize) -> Identity {
        let user = self.clients[client].user;
        Identity {
            iss: "".into(),
            sub: format!("u{user}").into(),
            username: Some(format!("name{user}").into()),
            role: Role::User,
            session_id: format!("s{client}").into(),
            issued_at: None,
            expires_at: 4_000_000_000,
        }
    }

    /// A client goes without a word.
    pub(crate) fn disconnect(&mut self, client: usize) {
        let Some(conn) = self.clients[client].conn else { return };
        self.conns.remove(&conn);
        self.inspected.remove(&conn);
        self.clients[client].disconnected();
        self.input(usize::from(conn.shard.0), Input::Closed { conn, code: None });
    }

    fn closed_by_engine(&mut self, conn: ConnId, code: CloseCode) {
        let _ = self.shards[usize::from(conn.shard.0)].take_outbox(conn);
        self.inspected.remove(&conn);
        if let Some(client) = self.conns.remove(&conn) {
            self.checker.mix(code as u64);
            self.clients[client].disconnected();
        }
    }

    /// A client sends a text frame.
    pub(crate) fn text(&mut self, client: usize, text: &str) {
        let Some(conn) = self.clients[client].conn else { return };
        let mut bytes = text.as_bytes().to_vec();
        self.input(usize::from(conn.shard.0), Input::Text { conn, text: &mut bytes });
    }

    /// Looks at frames the moment the engine lets them out: nothing in them may be uncommitted.
    fn inspect(&mut self, conn: ConnId) {
        let shard = &self.shards[usize::from(conn.shard.0)];
        let Some(outbox) = shard.outbox(conn) else { return };
        let mut slices = Vec::new();
        outbox.slices(&mut slices, usize::MAX);
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        let seen = self.inspected.entry(conn).or_default();
        let mut fresh = bytes[*seen..].to_vec();
        *seen = bytes.len();
        for (opcode, payload) in crate::client::frames(&mut fresh) {
            if opcode == 1 {
                self.checker.let_out(&self.store, &payload);
            }
        }
    }

    /// A client reads some of what waits for it.
    fn read(&mut self, client: usize) {
        let Some(conn) = self.clients[client].conn else { return };
        let shard = usize::from(conn.shard.0);
        let Some(outbox) = self.shards[shard].outbox(conn) else { return };
        let mut slices = Vec::new();
        outbox.slices(&mut slices, usize::MAX);
        let mut bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        if bytes.len() > 200 && self.rng.percent(30) && !self.calm {
            bytes.truncate(self.rng.between(1, bytes.len() as u64) as usize);
            let delay = self.rng.below(5 * MS);
            self.at(delay, Event::Read { client });
        }
        if bytes.is_empty() {
            return;
        }
        if let Some(seen) = self.inspected.get_mut(&conn) {
            *seen = seen.saturating_sub(bytes.len());
        }
        let now = self.now();
        self.shards[shard].wrote(now, conn, bytes.len());
        self.clients[client].rx.extend_from_slice(&bytes);
        let mut rx = std::mem::take(&mut self.clients[client].rx);
        let frames = crate::client::frames(&mut rx);
        self.clients[client].rx = rx;
        self.input(shard, Input::Alive { conn });
        for (opcode, payload) in frames {
            self.checker.mix_bytes(&payload);
            if opcode == 1 && self.clients[client].conn == Some(conn) {
                self.receive(client, &payload);
            }
        }
    }

    /// What a client does next.
    fn act(&mut self, client: usize) {
        let delay = self.rng.between(1, 40) * MS;
        self.at(delay, Event::Act { client });
        self.workload(client);
    }

    /// Rooms that exist, conversations included.
    pub(crate) fn room_ids(&self) -> Vec<RoomId> {
        self.store.rooms.keys().copied().collect()
    }

    /// Nothing but time is left to come.
    pub fn is_settled(&self) -> bool {
        self.heap.iter().all(|due| matches!(due.2, Event::Tick { .. } | Event::Act { .. }))
            && self.shards.iter().all(Shard::is_quiet)
    }
}
