//! What is true of PostgreSQL alone; what both stores must do is in `store::contract`.

mod contract;
mod faults;
mod language;
mod plans;
mod writes;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use veza_engine::id::{RoomId, Seq, ShardId, UserId};
use veza_engine::store::{
    Batch, BatchOutcome, EventKind, EventRow, Load, LoadError, Loaded, RoomKind, RoomMeta, Write, Writer,
};
use veza_engine::time::WallMs;
use veza_engine::wire::{ClientKey, Visibility};

use crate::store::{Completions, Store, StoreConfig, StoreError};

/// No answer by then is a failure.
const PATIENCE: Duration = Duration::from_secs(60);

/// A store and what it answers.
pub(super) struct Desk {
    pub store: Store,
    stored: Receiver<(Writer, BatchOutcome)>,
    loaded: Receiver<Result<Loaded, LoadError>>,
    fatal: Receiver<StoreError>,
    dir: std::path::PathBuf,
    epoch: i64,
    numbers: [i64; 8],
    /// By lane: the next event of the room that [`faults`] writes through it.
    seqs: [u64; 8],
}

struct Sink {
    stored: Mutex<Sender<(Writer, BatchOutcome)>>,
    loaded: Mutex<Sender<Result<Loaded, LoadError>>>,
    fatal: Mutex<Sender<StoreError>>,
}

impl Completions for Sink {
    fn stored(&self, _: ShardId, writer: Writer, outcome: BatchOutcome) {
        let _ = self.stored.lock().unwrap().send((writer, outcome));
    }
    fn loaded(&self, _: ShardId, _: u64, result: Result<Loaded, LoadError>) {
        let _ = self.loaded.lock().unwrap().send(result);
    }
    fn retained(&self, _: RoomId, _: Seq) {}
    fn fatal(&self, error: StoreError) {
        let _ = self.fatal.lock().unwrap().send(error);
    }
}

impl Desk {
    /// Opens a store on this database, with a data directory of its own.
    pub fn open(url: &str) -> Desk {
        Desk::open_with(url, |_| {})
    }

    pub fn open_with(url: &str, change: impl FnOnce(&mut StoreConfig)) -> Desk {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let serial = NEXT.fetch_add(1, Relaxed);
        let dir = std::env::temp_dir().join(format!("veza-pg-test-{}-{serial}", std::process::id()));
        let mut config = StoreConfig::new(url, &dir);
        config.writer_epoch = 1000 + i64::try_from(serial).unwrap();
        config.lock_wait = Duration::from_millis(500);
        config.load_deadline = PATIENCE;
        change(&mut config);
        let epoch = config.writer_epoch;
        let ((to_stored, stored), (to_loaded, loaded), (to_fatal, fatal)) = (channel(), channel(), channel());
        let sink = Sink { stored: Mutex::new(to_stored), loaded: Mutex::new(to_loaded), fatal: Mutex::new(to_fatal) };
        let store = Store::open(config, Arc::new(sink)).expect("a data directory");
        Desk { store, stored, loaded, fatal, dir, epoch, numbers: [0; 8], seqs: [1; 8] }
    }

    /// Returns when the database is well.
    pub fn ready(self) -> Desk {
        self.wait_up(true);
        self
    }

    pub fn wait_up(&self, up: bool) {
        let deadline = Instant::now() + PATIENCE;
        while self.store.up() != up {
            assert!(Instant::now() < deadline, "{:?}", self.store.health());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Hands over a batch under the lane's next number.
    pub fn submit(&mut self, lane: u32, events: Vec<EventRow>, writes: Vec<Write>) -> Writer {
        let number = &mut self.numbers[lane as usize];
        *number += 1;
        let writer = Writer { epoch: self.epoch, lane, number: *number };
        self.store.submit(ShardId(0), Box::new(Batch { writer, events, writes }));
        writer
    }

    pub fn outcome(&self) -> (Writer, BatchOutcome) {
        self.stored.recv_timeout(PATIENCE).expect("an outcome")
    }

    /// Hands over a batch and waits for what becomes of it.
    pub fn write(&mut self, events: Vec<EventRow>, writes: Vec<Write>) -> BatchOutcome {
        let writer = self.submit(0, events, writes);
        let (of, outcome) = self.outcome();
        assert_eq!(of, writer);
        outcome
    }

    pub fn load(&self, load: Load) -> Result<Loaded, LoadError> {
        self.store.load(ShardId(0), 1, load);
        self.loaded.recv_timeout(PATIENCE).expect("an answer")
    }

    pub fn fatal(&self) -> StoreError {
        self.fatal.recv_timeout(PATIENCE).expect("an end")
    }

    pub fn close(self) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(self.store.clone().close());
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        // What is left over is in the directory for temporary files.
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Message `seq` of a room by user 1, under a client id of its own.
pub(super) fn message(room: u64, seq: u64) -> EventRow {
    EventRow {
        room_id: RoomId(room),
        seq: Seq(seq),
        kind: EventKind::Message,
        at: WallMs(1_700_000_000_000),
        message_no: seq,
        author_id: Some(UserId(1)),
        client: Some(ClientKey { id: format!("c{seq}").into(), hash: seq | 1 << 63 }),
        content: Some("x".repeat(128).into()),
        parent_id: None,
        data: None,
        mentions: Box::default(),
        reason: None,
    }
}

pub(super) fn room(id: u64) -> RoomMeta {
    RoomMeta {
        room_id: RoomId(id),
        kind: RoomKind::Room,
        epoch: 77 + id,
        name: format!("Room {id}").into(),
        description: None,
        topic: None,
        visibility: Visibility::Public,
        owner_id: Some(UserId(1)),
        max_members: 100,
        slow_mode_s: 0,
        retention_days: 0,
        archived: false,
        created_at: WallMs(5),
    }
}

pub(super) fn create(id: u64) -> Write {
    Write::CreateRoom { meta: room(id), creator_id: UserId(1), client: None }
}

/// All seqs of a room, asked for until the database answers.
pub(super) fn read_seqs(desk: &Desk, room: u64) -> Vec<u64> {
    let mut all = Vec::new();
    loop {
        let after = Seq(all.last().copied().unwrap_or(0));
        match desk.load(Load::Events { room_id: RoomId(room), after, limit: 1000 }) {
            Ok(Loaded::Events(page)) if page.is_empty() => return all,
            Ok(Loaded::Events(page)) => all.extend(page.iter().map(|e| e.row.seq.0)),
            Err(LoadError::Unavailable) => desk.wait_up(true),
            other => panic!("{other:?}"),
        }
    }
}
