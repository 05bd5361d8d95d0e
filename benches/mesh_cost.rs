//! `mesh-cost SHARDS ROOMS MEMBERS MESSAGES`: sends in rooms whose members are spread over so many shards, all of them
//! pumped in turn on this thread, with the real rings between them and a database that answers at once.
//!
//! For callgrind, which is to count [`measured`] alone: the same instructions in every run, whatever else the machine
//! does. Prints how many deliveries that were.

use std::io::IoSlice;
use std::sync::Arc;

use veza_benches::{identity, now, unlimited};
use veza_engine::deflate::Window;
use veza_engine::id::{ConnId, ShardId};
use veza_engine::store::BatchOutcome;
use veza_engine::{Effect, Input, PeerMessage, Shard, ShardConfig};
use veza_runtime::doorbell::Doorbell;
use veza_runtime::mesh::{Port, RING_MESSAGES_MAX, mesh};
use veza_sim::store::Store;

/// Messages taken from a peer at a time, as the pump does.
const PEER_MESSAGES_MAX: usize = 512;

struct World {
    shards: Vec<(Shard, Port<PeerMessage>)>,
    store: Store,
    now_us: u64,
    written: u64,
}

impl World {
    fn new(count: u16) -> World {
        let bells: Vec<Arc<Doorbell>> = (0..count).map(|_| Arc::new(Doorbell::new().expect("an eventfd"))).collect();
        let ports = mesh(&bells, RING_MESSAGES_MAX);
        let shard = |id| {
            let config = ShardConfig {
                id: ShardId(id),
                shards: count,
                limits: unlimited(),
                writer_epoch: 1,
                seed: u64::from(id),
            };
            Shard::new(config, now(1_000_000))
        };
        let shards = (0..count).map(shard).zip(ports).collect();
        let mut world = World { shards, store: Store::default(), now_us: 1_000_000, written: 0 };
        world.settle();
        world
    }

    /// The connection of that number: they are dealt out to the shards in turn.
    fn conn(&self, number: u32) -> ConnId {
        let shards = self.shards.len() as u32;
        ConnId { shard: ShardId((number % shards) as u16), slot: number / shards, generation: 1 }
    }

    fn text(&mut self, number: u32, text: &str) {
        let conn = self.conn(number);
        let (at, mut bytes) = (now(self.now_us), text.as_bytes().to_vec());
        self.shards[usize::from(conn.shard.0)].0.handle(at, Input::Text { conn, text: &mut bytes });
    }

    /// Turns of all shards until nobody has anything to do.
    fn settle(&mut self) {
        let mut idle = 0;
        for index in (0..self.shards.len()).cycle() {
            idle = if self.turn(index) { 0 } else { idle + 1 };
            if idle == self.shards.len() {
                return;
            }
            self.now_us += 5;
        }
    }

    fn turn(&mut self, index: usize) -> bool {
        let (at, mut worked) = (now(self.now_us), false);
        let (shard, port) = &mut self.shards[index];
        for from in port.peers() {
            let mut count = 0;
            while count < PEER_MESSAGES_MAX {
                let Some(message) = port.receive(from) else { break };
                shard.handle(at, Input::Peer { from, message });
                count += 1;
            }
            if count > 0 {
                port.made_room(from);
                worked = true;
            }
        }
        while let Some(effect) = shard.poll_effect() {
            worked = true;
            match effect {
                Effect::Store(batch) => {
                    // Messages are not kept: looking for repetitions among them would be all that is measured.
                    let outcome =
                        if batch.events.is_empty() { self.store.apply(&batch) } else { BatchOutcome::Committed };
                    shard.handle(at, Input::Stored { writer: batch.writer, outcome });
                }
                Effect::Load { id, load } => {
                    let result = self.store.load(&load);
                    shard.handle(at, Input::Loaded { id, result });
                }
                _ => {}
            }
        }
        for to in port.peers() {
            while shard.peer_waiting(to) > 0 && port.has_room(to) {
                let Some(message) = shard.poll_peer(to) else { break };
                port.send(to, message);
                worked = true;
            }
        }
        port.ring();
        while let Some(conn) = shard.next_touched() {
            let Some(outbox) = shard.outbox(conn) else { continue };
            let mut slices: Vec<IoSlice<'_>> = Vec::new();
            let bytes = match outbox.single() {
                Some(bytes) => bytes.len(),
                None => {
                    outbox.slices(&mut slices, 1024);
                    slices.iter().map(|slice| slice.len()).sum()
                }
            };
            drop(slices);
            self.written += bytes as u64;
            shard.wrote(at, conn, bytes);
            worked = true;
        }
        worked
    }

    /// Rooms of so many, each connection in one; their ids.
    fn populate(&mut self, rooms: u32, members: u32) -> Vec<u64> {
        for number in 0..rooms * members {
            let conn = self.conn(number);
            let (at, identity) = (now(self.now_us), Some(Box::new(identity(number))));
            self.shards[usize::from(conn.shard.0)].0.handle(at, Input::Opened { conn, identity, window: Window::NONE });
            self.settle();
        }
        let mut ids: Vec<u64> = Vec::new();
        for room in 0..rooms {
            let create = r#"{"type":"create_room","id":1,"data":{"name":"bench","max_members":100000}}"#;
            self.text(room * members, create);
            self.settle();
            ids.extend(self.store.rooms.keys().map(|id| id.0).find(|id| !ids.contains(id)));
        }
        for (room, id) in ids.iter().enumerate() {
            for member in 1..members {
                let join = format!(r#"{{"type":"join_room","id":1,"data":{{"room_id":{id}}}}}"#);
                self.text(room as u32 * members + member, &join);
                self.settle();
            }
        }
        ids
    }

    fn deliveries(&mut self) -> u64 {
        self.shards.iter_mut().map(|(shard, _)| shard.stats().deliveries).sum()
    }
}

/// What callgrind counts.
#[inline(never)]
fn measured(world: &mut World, frames: &[(u32, String)]) {
    for (number, frame) in frames {
        world.text(*number, frame);
        world.settle();
    }
}

fn main() {
    let numbers: Vec<u32> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let [shards, rooms, members, messages] = numbers[..] else {
        eprintln!("usage: mesh-cost SHARDS ROOMS MEMBERS MESSAGES");
        std::process::exit(2);
    };
    let mut world = World::new(u16::try_from(shards).expect("a few shards"));
    let ids = world.populate(rooms, members);
    let frame = |number: u32| {
        let (room, content) = ((number % rooms) as usize, "x".repeat(128));
        let sender = room as u32 * members + number / rooms % members;
        let id = ids[room];
        let text = format!(
            r#"{{"type":"send_message","id":{number},"data":{{"room_id":{id},"content":"{content}","client_id":"c{number}"}}}}"#
        );
        (sender, text)
    };
    let frames: Vec<(u32, String)> = (0..messages).map(frame).collect();
    let before = world.deliveries();
    measured(&mut world, &frames);
    let deliveries = world.deliveries() - before;
    assert_eq!(deliveries, u64::from(messages) * u64::from(members), "everybody gets everything");
    println!("deliveries {deliveries}");
}
