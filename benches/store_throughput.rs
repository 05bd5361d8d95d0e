//! How many durable messages a store takes: each lane keeps one batch in flight, as the engine does.
//!
//! `cargo run --release --example store_throughput -- [URL] [LANES] [EVENTS PER BATCH] [SECONDS]`; without a URL, an
//! SQLite database in a directory of its own below the present one.

use std::env;
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use veza_chat_server::store::{Completions, Store, StoreConfig, StoreError};
use veza_engine::id::{RoomId, Seq, ShardId, UserId};
use veza_engine::store::{
    Batch, BatchOutcome, EventKind, EventRow, LoadError, Loaded, RoomKind, RoomMeta, Write, Writer,
};
use veza_engine::time::WallMs;
use veza_engine::wire::{ClientKey, Visibility};

/// Rooms that each lane writes to, in turn.
const ROOMS_PER_LANE: u64 = 10;

struct Outcomes(Sender<(Writer, BatchOutcome)>);

impl Completions for Outcomes {
    fn stored(&self, _: ShardId, writer: Writer, outcome: BatchOutcome) {
        // At the end nobody listens any more.
        let _ = self.0.send((writer, outcome));
    }
    fn loaded(&self, _: ShardId, _: u64, _: Result<Loaded, LoadError>) {}
    fn retained(&self, _: RoomId, _: Seq) {}
    fn fatal(&self, error: StoreError) {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

struct Lane {
    number: i64,
    heads: Vec<u64>,
    turn: u64,
    begun: Instant,
}

impl Lane {
    fn batch(&mut self, epoch: i64, lane: u32, base: u64, size: u64) -> Box<Batch> {
        let rooms = self.heads.len() as u64;
        let mut counts = vec![0_u64; self.heads.len()];
        for step in 0..size {
            counts[((self.turn + step) % rooms) as usize] += 1;
        }
        self.turn += size;
        let mut events = Vec::with_capacity(size as usize);
        for (index, count) in counts.into_iter().enumerate() {
            let room = base + index as u64;
            for _ in 0..count {
                self.heads[index] += 1;
                events.push(message(epoch, room, self.heads[index]));
            }
        }
        self.number += 1;
        self.begun = Instant::now();
        Box::new(Batch { writer: Writer { epoch, lane, number: self.number }, events, writes: Vec::new() })
    }
}

/// The wall clock.
fn now() -> WallMs {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    WallMs(since.as_millis() as i64)
}

/// About 128 bytes of words, some of them frequent and most of them not.
fn text(seed: u64) -> Box<str> {
    let mut state = seed;
    let mut text = String::with_capacity(140);
    while text.len() < 128 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let dice = (state >> 33) % 50_000;
        let word = dice * dice / 50_000;
        text.push_str(&format!("w{word:x} "));
    }
    text.into()
}

fn message(epoch: i64, room: u64, seq: u64) -> EventRow {
    EventRow {
        room_id: RoomId(room),
        seq: Seq(seq),
        kind: EventKind::Message,
        at: now(),
        message_no: seq,
        author_id: Some(UserId(seq % 10 + 1)),
        client: Some(ClientKey { id: format!("{epoch:x}-{room}-{seq}").into(), hash: seq }),
        content: Some(text(room * 31 + seq)),
        parent_id: None,
        data: None,
        mentions: Box::default(),
        reason: None,
    }
}

fn create(room: u64) -> Write {
    let meta = RoomMeta {
        room_id: RoomId(room),
        kind: RoomKind::Room,
        epoch: room,
        name: "throughput".into(),
        description: None,
        topic: None,
        visibility: Visibility::Public,
        owner_id: Some(UserId(1)),
        max_members: 10,
        slow_mode_s: 0,
        retention_days: 0,
        archived: false,
        created_at: WallMs(0),
    };
    Write::CreateRoom { meta, creator_id: UserId(1), client: None }
}

fn main() -> Result<(), Box<dyn Error>> {
    let given: Vec<String> = env::args().skip(1).collect();
    let number = |index: usize, default: u64| given.get(index).map_or(Ok(default), |text| text.parse());
    let (lanes, size, seconds) = (number(1, 4)? as u32, number(2, 50)?, number(3, 5)?);
    let dir = PathBuf::from(format!("store-throughput-{}", std::process::id()));
    let url = given.first().cloned().unwrap_or_else(|| format!("sqlite://{}/veza.db", dir.display()));
    let mut config = StoreConfig::new(url, &dir);
    config.lanes = lanes as u16;
    // Random enough: two runs on one database must differ.
    config.writer_epoch = i64::from(std::process::id()) << 32 | i64::from(lanes);
    let epoch = config.writer_epoch;
    let (to_outcomes, outcomes) = channel();
    let store = Store::open(config, Arc::new(Outcomes(to_outcomes)))?;
    let base = |lane: u32| 1_000_000_000 * (u64::from(std::process::id()) + 1) + u64::from(lane) * ROOMS_PER_LANE;
    let mut state: Vec<Lane> = Vec::new();
    for lane in 0..lanes {
        let writes = (0..ROOMS_PER_LANE).map(|room| create(base(lane) + room)).collect();
        let writer = Writer { epoch, lane, number: 1 };
        store.submit(ShardId(0), Box::new(Batch { writer, events: Vec::new(), writes }));
        state.push(Lane { number: 1, heads: vec![0; ROOMS_PER_LANE as usize], turn: 0, begun: Instant::now() });
    }
    let (mut events, mut waits, mut running) = (0, Vec::new(), lanes);
    let mut until: Option<Instant> = None;
    while running > 0 {
        let (writer, outcome) = outcomes.recv()?;
        if outcome != BatchOutcome::Committed {
            return Err(format!("{outcome:?}").into());
        }
        let lane = &mut state[writer.lane as usize];
        if writer.number > 1 {
            events += size;
            waits.push(lane.begun.elapsed());
        }
        if Instant::now() < *until.get_or_insert_with(|| Instant::now() + Duration::from_secs(seconds)) {
            store.submit(ShardId(0), lane.batch(epoch, writer.lane, base(writer.lane), size));
        } else {
            running -= 1;
        }
    }
    waits.sort_unstable();
    let at = |share: usize| waits[(waits.len() - 1) * share / 1000];
    println!(
        "{} events/s in {lanes} lanes of {size}; a batch takes p50 {:?}, p99 {:?}, max {:?}",
        events / seconds,
        at(500),
        at(990),
        at(1000)
    );
    let metrics = store.metrics();
    println!(
        "search: {} indexed, {} rooms wait, the oldest for {} ms",
        metrics.search_indexed, metrics.search_pending, metrics.search_lag_ms
    );
    tokio::runtime::Builder::new_current_thread().build()?.block_on(store.close());
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}
