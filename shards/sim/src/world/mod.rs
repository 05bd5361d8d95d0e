//! The simulated world: shards, the rings between them, the database, clients, time, and what goes wrong.

mod database;
mod sockets;

use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};

use veza_engine::id::{ConnId, RoomId, Seq, ShardId};
use veza_engine::input::{Role, VerifyFor};
use veza_engine::limits::Limits;
use veza_engine::store::{Batch, BatchOutcome, Load, LoadError, Loaded, Writer};
use veza_engine::time::{Mono, Now, WallMs};
use veza_engine::{Effect, Input, PeerMessage, Shard, ShardConfig};

use crate::check::Checker;
use crate::client::{Client, Question};
use crate::model::Model;
use crate::plant::Plant;
use crate::rng::Rng;
use crate::store::Store;

/// Something that will happen.
#[derive(Debug)]
enum Event {
    Peer { from: usize, to: usize },
    Apply { incarnation: u32, shard: usize, batch: Box<Batch>, early: bool },
    Stored { incarnation: u32, shard: usize, writer: Writer, outcome: BatchOutcome },
    Query { incarnation: u32, shard: usize, id: u64, load: Box<Load> },
    Loaded { incarnation: u32, shard: usize, id: u64, result: Result<Loaded, LoadError> },
    Verified { incarnation: u32, conn: ConnId, purpose: VerifyFor },
    Retained { incarnation: u32, room_id: RoomId, floor: Seq },
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
    /// Steps taken.
    pub(crate) steps: u64,
    order: u64,
    heap: BinaryHeap<Due>,
    shards: Vec<Shard>,
    incarnation: u32,
    links: Vec<Vec<VecDeque<PeerMessage>>>,
    ring_slots: usize,
    /// How long clients think, as a factor: in slow worlds things time out, in fast ones they meet.
    pace: u64,
    pub(crate) store: Store,
    /// What the log means.
    pub(crate) model: Model,
    /// Blocks that somebody has asked to be taken back, and when.
    pub(crate) unblocked: BTreeMap<(u64, u64), u64>,
    /// Texts of `update_status`: whose they are, and the numbers of those who must not read them.
    pub(crate) statuses: BTreeMap<String, (u64, BTreeSet<u64>)>,
    /// Sessions that are over: when the engine said so.
    pub(crate) ended: BTreeMap<Box<str>, u64>,
    /// SIGTERM was sent, and the process ends in this step.
    pub(crate) ends_at: Option<u64>,
    /// What happens is printed.
    pub(crate) is_traced: bool,
    /// Nothing changes any more: counts are exact.
    pub(crate) finale: bool,
    pub(crate) clients: Vec<Client>,
    conns: BTreeMap<ConnId, usize>,
    /// Commands over HTTP without an answer.
    http: BTreeMap<u64, (usize, Question)>,
    generations: Vec<Vec<u32>>,
    /// Bytes of each connection's outbox that were looked at already.
    inspected: BTreeMap<ConnId, usize>,
    pub(crate) checker: Checker,
    pub(crate) plant: Option<Plant>,
    /// Faults have ended: everything settles.
    pub(crate) calm: bool,
}

const MS: u64 = 1000;
/// Users of the world; clients are their devices.
pub(crate) const USERS: u64 = 5;

fn limits(rng: &mut Rng) -> Limits {
    Limits {
        max_message_length: 200,
        max_connections_per_user: 2,
        max_messages_per_minute: 0,
        commands_per_second: 0,
        max_rooms_per_user: 0,
        max_reactions_per_message: 2,
        max_pins_per_room: 3,
        max_roles_per_room: 2,
        resume_events: rng.between(10, 200),
        outbox_bytes: rng.between(4, 64) as usize * 1024,
        inflight_per_conn_max: rng.between(2, 32) as u32,
        reply_bytes_max: 8192,
        journal_ops_max: rng.between(4, 64) as usize,
        batch_ops_max: rng.between(1, 16) as usize,
        lanes: rng.between(1, 3) as u16,
        gather_behind: 2,
        peer_queue_max: rng.between(16, 256) as usize,
        ring_events: rng.between(2, 32) as usize,
        hold_writes_min: 2,
        replay_page_events: rng.between(1, 8) as u32,
        replay_low_bytes: 2048,
        room_idle_us: 2_000_000,
        presence_single_max: 3,
        ..Limits::default()
    }
}

fn server_roles(rng: &mut Rng) -> Vec<Role> {
    (0..USERS)
        .map(|user| match rng.below(3) {
            0 if user == 3 => Role::Moderator,
            0 if user == 4 => Role::Admin,
            _ => Role::User,
        })
        .collect()
}

impl World {
    /// A world from a seed.
    pub fn new(seed: u64, plant: Option<Plant>) -> World {
        let mut rng = Rng::new(seed);
        let shards = rng.between(1, 3) as usize;
        let clients = rng.between(3, 9);
        let server_roles = server_roles(&mut rng);
        let mut world = World {
            now_us: 1_000_000,
            steps: 0,
            order: 0,
            heap: BinaryHeap::new(),
            shards: Vec::new(),
            incarnation: 0,
            links: Vec::new(),
            ring_slots: rng.between(1, 16) as usize,
            pace: [1, 1, 1, 10, 40][rng.below(5) as usize],
            store: Store::default(),
            model: Model { server_roles, ..Model::default() },
            unblocked: BTreeMap::new(),
            statuses: BTreeMap::new(),
            ended: BTreeMap::new(),
            ends_at: None,
            is_traced: false,
            finale: false,
            clients: (0..clients)
                .map(|index| Client { user: index % USERS, slow: index % 4 == 3, ..Client::default() })
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
        let mut limits = limits(&mut self.rng);
        self.model.limits = limits.clone();
        self.model.restarted();
        if self.plant == Some(Plant::LimitsIgnored) {
            (limits.max_reactions_per_message, limits.max_pins_per_room, limits.max_roles_per_room) = (0, 0, 0);
        }
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

    pub(crate) fn now(&self) -> Now {
        Now { mono: Mono(self.now_us), wall: WallMs(1_800_000_000_000 + (self.now_us / MS) as i64) }
    }

    /// Prints a line, if the run is traced.
    pub(crate) fn trace(&self, line: impl FnOnce() -> String) {
        if self.is_traced {
            println!("{:9} step {}: {}", self.now_us, self.steps, line());
        }
    }

    fn at(&mut self, delay_us: u64, event: Event) {
        self.order += 1;
        self.heap.push(Due(self.now_us + delay_us, self.order, event));
    }

    /// The next thing happens.
    pub fn step(&mut self) -> Result<(), String> {
        let Some(Due(at, _, event)) = self.heap.pop() else { return Ok(()) };
        self.now_us = self.now_us.max(at);
        self.steps += 1;
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
            Event::Retained { incarnation, room_id, floor } if incarnation == self.incarnation => {
                self.model.told_floor(self.steps, room_id, floor.0);
                let home = room_id.home(self.shards.len() as u16);
                self.input(usize::from(home.0), Input::Retained { room_id, floor });
            }
            Event::Verified { incarnation, conn, purpose } if incarnation == self.incarnation => {
                self.verified(conn, purpose);
            }
            Event::Stored { .. }
            | Event::Query { .. }
            | Event::Loaded { .. }
            | Event::Retained { .. }
            | Event::Verified { .. } => {}
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
            if self.plant == Some(Plant::SessionGoesOn) && matches!(message, PeerMessage::Revoked(_)) {
                continue;
            }
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
        match effect {
            Effect::Store(batch) => self.store_batch(shard, batch),
            Effect::Load { id, load } => {
                let delay =
                    if self.rng.percent(5) && !self.calm { self.rng.between(5, 300) * MS } else { self.rng.below(MS) };
                let incarnation = self.incarnation;
                self.at(delay, Event::Query { incarnation, shard, id, load: Box::new(load) });
            }
            Effect::Verify { conn, purpose, .. } => {
                let delay = self.rng.below(20) * MS;
                let incarnation = self.incarnation;
                self.at(delay, Event::Verified { incarnation, conn, purpose });
            }
            Effect::Close { conn, code } => self.closed_by_engine(conn, code),
            Effect::Pause { .. } | Effect::Resume { .. } => {}
            Effect::HttpReply { ticket, result } => self.http_reply(ticket, result),
            Effect::Fault { .. } => {}
        }
    }

    /// SIGTERM: the shards tell their clients; after a while the process is gone.
    pub fn drain(&mut self) {
        self.trace(|| "SIGTERM".into());
        self.ends_at = Some(self.steps + self.rng.between(20, 200));
        for shard in 0..self.shards.len() {
            self.input(shard, Input::Drain { reconnect_after_ms: 100 });
        }
    }

    /// Whether the process that was told to end is to be gone now.
    pub fn is_over(&self) -> bool {
        self.ends_at.is_some_and(|step| self.steps >= step)
    }

    /// kill -9: all that is not in the database is gone. A transaction under way commits at the last moment, or never,
    /// or (if it only has events) late, when the next process has long begun.
    pub fn crash(&mut self) {
        let dying = std::mem::take(&mut self.heap);
        for due in dying.into_sorted_vec().into_iter().rev() {
            match &due.2 {
                Event::Apply { incarnation, batch, .. } if *incarnation == self.incarnation && self.rng.percent(40) => {
                    self.commit(&batch.clone(), false);
                }
                _ => {}
            }
            self.heap.push(due);
        }
        self.incarnation += 1;
        self.ends_at = None;
        self.ended.clear();
        self.trace(|| "kill -9".into());
        self.conns.clear();
        self.http.clear();
        self.inspected.clear();
        for client in &mut self.clients {
            client.disconnected();
            client.ended = None;
        }
        for slots in &mut self.generations {
            slots.clear();
        }
        let shards = self.shards.len();
        self.boot(shards);
    }

    /// What a client does next.
    fn act(&mut self, client: usize) {
        let delay = self.rng.between(1, 40) * MS * if self.calm { 2 } else { self.pace };
        self.at(delay, Event::Act { client });
        self.workload(client);
    }

    /// Rooms that exist or existed, conversations included.
    pub(crate) fn room_ids(&self) -> Vec<RoomId> {
        self.store.rooms.keys().copied().collect()
    }

    /// Nothing but time is left to come.
    pub fn is_settled(&self) -> bool {
        self.heap.iter().all(|due| matches!(due.2, Event::Tick { .. } | Event::Act { .. }))
            && self.shards.iter().all(Shard::is_quiet)
            && self.clients.iter().all(|client| client.unacked.is_empty())
    }
}
