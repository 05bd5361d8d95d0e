//! How many batches and events a second the store alone writes, on a database of its own, and what they cost.
//!
//! `cargo run --release --example store_bench [sqlite|postgres] [seconds] [setting=value …]`

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use veza_chat_server::store::{Completions, Store, StoreConfig, StoreError};
use veza_engine::id::{RoomId, Seq, ShardId, UserId};
use veza_engine::store::{Batch, BatchOutcome, EventKind, EventRow, LoadError, Loaded, Writer};
use veza_engine::time::WallMs;
use veza_engine::wire::ClientKey;
use veza_loadtest::pg::TestPg;

/// Rooms that a lane writes to.
const ROOMS: u64 = 100;
const EPOCH: i64 = 42;

struct Sink(Sender<(Writer, Instant)>);

impl Completions for Sink {
    fn stored(&self, _: ShardId, writer: Writer, outcome: BatchOutcome) {
        assert_eq!(outcome, BatchOutcome::Committed);
        // The receiver goes when the measuring is over.
        let _ = self.0.send((writer, Instant::now()));
    }
    fn loaded(&self, _: ShardId, _: u64, _: Result<Loaded, LoadError>) {}
    fn fatal(&self, error: StoreError) {
        panic!("{error}");
    }
}

/// One lane's batches, its rooms written in turn.
struct Lane {
    lane: u32,
    number: i64,
    written: u64,
    sent: Instant,
}

impl Lane {
    fn batch(&mut self, events: u64) -> Box<Batch> {
        self.number += 1;
        self.sent = Instant::now();
        let events = (0..events).map(|_| self.event()).collect();
        let writer = Writer { epoch: EPOCH, lane: self.lane, number: self.number };
        Box::new(Batch { writer, events, writes: Vec::new() })
    }

    fn event(&mut self) -> EventRow {
        let (room, seq) = (1 + self.written % ROOMS, 1 + self.written / ROOMS);
        self.written += 1;
        EventRow {
            room_id: RoomId(u64::from(self.lane) * ROOMS + room),
            seq: Seq(seq),
            kind: EventKind::Message,
            at: WallMs(1_800_000_000_000),
            message_no: seq,
            author_id: Some(UserId(1 + seq % 10)),
            client: Some(ClientKey { id: format!("client-{:016x}", self.written).into(), hash: self.written }),
            content: Some("x".repeat(128).into()),
            parent_id: None,
            data: None,
        }
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let kind = arguments.next().unwrap_or_else(|| "postgres".to_owned());
    let time = Duration::from_secs(arguments.next().map_or(3, |text| text.parse().expect("seconds")));
    let settings: Vec<String> = arguments.collect();
    println!("lanes batch   batches/s   events/s   p50 ms   p99 ms   database µs/event   own µs/event");
    for lanes in [1, 2] {
        for size in [1, 16, 256] {
            measure(&kind, lanes, size, time, &settings);
        }
    }
}

fn measure(kind: &str, lanes: u16, size: u64, time: Duration, settings: &[String]) {
    let dir = std::env::temp_dir().join(format!("veza-store-bench-{}", std::process::id()));
    let server =
        (kind == "postgres").then(|| TestPg::start_with(&settings.iter().map(String::as_str).collect::<Vec<_>>()));
    let url = server.as_ref().map_or_else(|| format!("sqlite://{}", dir.join("bench.db").display()), TestPg::url);
    let mut config = StoreConfig::new(url, &dir);
    (config.lanes, config.writer_epoch) = (lanes, EPOCH);
    let (sender, answers) = channel();
    let store = Store::open(config, Arc::new(Sink(sender))).expect("a store");
    while !store.up() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let mut all: Vec<Lane> =
        (0..u32::from(lanes)).map(|lane| Lane { lane, number: 0, written: 0, sent: Instant::now() }).collect();
    run(&store, &answers, &mut all, size, Duration::from_millis(500));
    let database_cpu = || server.as_ref().map_or(Duration::ZERO, TestPg::cpu);
    let (begun, cpu, own) = (Instant::now(), database_cpu(), own_cpu());
    let mut latencies = run(&store, &answers, &mut all, size, time);
    let (took, cpu, own) = (begun.elapsed(), database_cpu() - cpu, own_cpu() - own);
    latencies.sort_unstable();
    let batches = latencies.len() as f64;
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    let per_event = |cpu: Duration| cpu.as_secs_f64() * 1e6 / (batches * size as f64);
    println!(
        "{lanes:5} {size:5} {:11.0} {:10.0} {:8.2} {:8.2} {:19.1} {:14.1}",
        batches / took.as_secs_f64(),
        batches * size as f64 / took.as_secs_f64(),
        at(0.5),
        at(0.99),
        per_event(cpu),
        per_event(own),
    );
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(store.close());
    let _ = std::fs::remove_dir_all(&dir);
}

/// Keeps one batch of each lane in flight for this long; the latency of each.
fn run(
    store: &Store,
    answers: &Receiver<(Writer, Instant)>,
    lanes: &mut [Lane],
    size: u64,
    time: Duration,
) -> Vec<Duration> {
    let end = Instant::now() + time;
    let mut latencies = Vec::new();
    let mut flying = lanes.len();
    for lane in lanes.iter_mut() {
        store.submit(ShardId(0), lane.batch(size));
    }
    while flying > 0 {
        let (writer, at) = answers.recv().expect("an answer");
        let lane = &mut lanes[writer.lane as usize];
        latencies.push(at - lane.sent);
        if Instant::now() < end {
            store.submit(ShardId(0), lane.batch(size));
        } else {
            flying -= 1;
        }
    }
    latencies
}

fn own_cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 = after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    // USER_HZ is 100 on every Linux.
    Duration::from_millis(ticks * 10)
}
