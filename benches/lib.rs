//! One shard with a database that answers at once, for the benchmarks of the engine.

use veza_engine::deflate::Window;
use veza_engine::id::{ConnId, ShardId};
use veza_engine::input::{Identity, Role};
use veza_engine::limits::Limits;
use veza_engine::store::BatchOutcome;
use veza_engine::time::{Mono, Now, WallMs};
use veza_engine::{Effect, Input, Shard, ShardConfig};
use veza_sim::store::Store;

/// A shard, its database, and the bytes that its connections were sent.
pub struct Bench {
    shard: Shard,
    store: Store,
    now_us: u64,
    /// Bytes written.
    pub written: u64,
}

/// The bounds that would only be in the way.
pub fn unlimited() -> Limits {
    Limits {
        max_messages_per_minute: 0,
        commands_per_second: 0,
        max_members_per_room: 100_000,
        max_connections_per_user: 0,
        heartbeat_us: 0,
        ..Limits::default()
    }
}

impl Default for Bench {
    fn default() -> Self {
        let config = ShardConfig { id: ShardId(0), shards: 1, limits: unlimited(), writer_epoch: 1, seed: 1 };
        let now_us = 1_000_000;
        let shard = Shard::new(config, now(now_us));
        let mut bench = Bench { shard, store: Store::default(), now_us, written: 0 };
        bench.turn();
        bench
    }
}

/// The time, so many microseconds after the start.
pub fn now(us: u64) -> Now {
    Now { mono: Mono(us), wall: WallMs(1_800_000_000_000 + (us / 1000) as i64) }
}

/// Whom the token of that client speaks for.
pub fn identity(number: u32) -> Identity {
    Identity {
        iss: "".into(),
        sub: format!("u{number}").into(),
        username: None,
        role: Role::User,
        session_id: format!("s{number}").into(),
        issued_at: None,
        expires_at: 4_000_000_000,
    }
}

/// The connection in this place.
pub fn conn(slot: u32) -> ConnId {
    ConnId { shard: ShardId(0), slot, generation: 1 }
}

impl Bench {
    /// A room with so many subscribers, each a user of its own. Its id is returned.
    pub fn with_room(subscribers: u32) -> (Bench, u64) {
        Bench::with_room_of(subscribers, Window::NONE)
    }

    /// The same; all of them have agreed to that much compression.
    pub fn with_room_of(subscribers: u32, window: Window) -> (Bench, u64) {
        let mut bench = Bench::default();
        for slot in 0..subscribers {
            bench.handle(Input::Opened { conn: conn(slot), identity: Some(Box::new(identity(slot))), window });
        }
        let create = format!(r#"{{"type":"create_room","id":1,"data":{{"name":"bench","max_members":{}}}}}"#, 100_000);
        bench.text(0, &create);
        let room = bench.store.rooms.keys().next().expect("the room was created").0;
        for slot in 1..subscribers {
            bench.text(slot, &format!(r#"{{"type":"join_room","id":1,"data":{{"room_id":{room}}}}}"#));
        }
        (bench, room)
    }

    /// A client's frame, and all that comes of it.
    pub fn text(&mut self, slot: u32, text: &str) {
        let mut bytes = text.as_bytes().to_vec();
        self.shard.handle(now(self.now_us), Input::Text { conn: conn(slot), text: &mut bytes });
        self.turn();
    }

    /// Several frames in one turn.
    pub fn texts(&mut self, frames: &[(u32, String)]) {
        for (slot, text) in frames {
            let mut bytes = text.as_bytes().to_vec();
            self.shard.handle(now(self.now_us), Input::Text { conn: conn(*slot), text: &mut bytes });
        }
        self.turn();
    }

    fn handle(&mut self, input: Input<'_>) {
        self.shard.handle(now(self.now_us), input);
        self.turn();
    }

    /// Carries out what the shard wants, until it wants nothing more.
    fn turn(&mut self) {
        self.now_us += 10;
        let at = now(self.now_us);
        while let Some(effect) = self.shard.poll_effect() {
            match effect {
                Effect::Store(batch) => {
                    // Messages are not kept: looking for repetitions among them would be all that is measured.
                    let outcome = match batch.events.is_empty() {
                        true => self.store.apply(&batch),
                        false => BatchOutcome::Committed,
                    };
                    self.shard.handle(at, Input::Stored { writer: batch.writer, outcome });
                }
                Effect::Load { id, load } => {
                    let result = self.store.load(&load);
                    self.shard.handle(at, Input::Loaded { id, result });
                }
                _ => {}
            }
        }
        while let Some(conn) = self.shard.next_touched() {
            let Some(outbox) = self.shard.outbox(conn) else { continue };
            let bytes = outbox.push_bytes() + outbox.reply_bytes();
            self.written += bytes as u64;
            self.shard.wrote(at, conn, bytes);
        }
    }
}
