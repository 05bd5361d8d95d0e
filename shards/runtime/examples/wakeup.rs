//! How long a sleeping shard takes to wake, from a thread and from another shard, through the doorbell, the poller and
//! glommio. Run: `cargo run --release -p veza-runtime --example wakeup`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam::queue::ArrayQueue;
use glommio::{Latency, LocalExecutorBuilder, Placement, Shares};
use veza_runtime::doorbell::Doorbell;
use veza_runtime::poller::Poller;
use veza_runtime::reactor;

const ROUNDS: usize = 5_000;

struct End {
    queue: ArrayQueue<Instant>,
    bell: Arc<Doorbell>,
    stop: AtomicBool,
}

impl End {
    fn new() -> Arc<End> {
        let bell = Arc::new(Doorbell::new().unwrap());
        Arc::new(End { queue: ArrayQueue::new(64), bell, stop: AtomicBool::new(false) })
    }
}

/// A shard that only takes in what comes; `answer` gets each thing on.
async fn shard(end: Arc<End>, answer: Arc<End>) -> Vec<u64> {
    let mut poller = Poller::new(end.bell.clone()).unwrap();
    let mut latencies = Vec::with_capacity(ROUNDS);
    while !end.stop.load(Ordering::Relaxed) {
        while let Some(sent) = end.queue.pop() {
            latencies.push(sent.elapsed().as_nanos() as u64);
            let _ = answer.queue.push(Instant::now());
            answer.bell.ring();
        }
        if poller.collect().unwrap() {
            while poller.next_ready().is_some() {}
            continue;
        }
        end.bell.announce_sleep();
        if end.queue.is_empty() && !end.stop.load(Ordering::Relaxed) {
            reactor::sleep(&poller).await.unwrap();
        }
        end.bell.awake();
    }
    latencies
}

fn spawn(core: usize, latency: Latency, end: Arc<End>, answer: Arc<End>) -> glommio::ExecutorJoinHandle<Vec<u64>> {
    LocalExecutorBuilder::new(Placement::Fixed(core))
        .io_memory(1 << 20)
        .ring_depth(64)
        .spawn(move || async move {
            let queue = glommio::executor().create_task_queue(Shares::default(), latency, "shard");
            glommio::spawn_local_into(shard(end, answer), queue).unwrap().await
        })
        .unwrap()
}

fn report(what: &str, mut latencies: Vec<u64>) {
    latencies.sort_unstable();
    let at = |p: usize| latencies[(latencies.len() - 1) * p / 1000] as f64 / 1000.0;
    println!("{what:44} n={} p50={:.1} us p99={:.1} us max={:.1} us", latencies.len(), at(500), at(990), at(1000));
}

fn round(name: &str, latency: Latency, busy: bool, gap: Duration) {
    let (first, second) = (End::new(), End::new());
    let sink = End::new();
    let a = spawn(0, latency, first.clone(), second.clone());
    let b = spawn(1, latency, second.clone(), sink.clone());
    let running = Arc::new(AtomicBool::new(true));
    let burners: Vec<_> = (0..if busy { 2 } else { 0 })
        .map(|_| {
            let running = running.clone();
            std::thread::spawn(move || {
                while running.load(Ordering::Relaxed) {
                    std::hint::spin_loop()
                }
            })
        })
        .collect();
    for _ in 0..ROUNDS {
        std::thread::sleep(gap);
        let _ = first.queue.push(Instant::now());
        first.bell.ring();
        while sink.queue.pop().is_none() {
            std::thread::yield_now();
        }
    }
    for end in [&first, &second] {
        end.stop.store(true, Ordering::Relaxed);
        end.bell.ring();
    }
    report(&format!("{name}: thread to shard"), a.join().unwrap());
    report(&format!("{name}: shard to shard"), b.join().unwrap());
    running.store(false, Ordering::Relaxed);
    burners.into_iter().for_each(|burner| burner.join().unwrap());
}

fn main() {
    let gap = Duration::from_micros(200);
    round("idle, default queue", Latency::NotImportant, false, gap);
    round("idle, latency 1 ms queue", Latency::Matters(Duration::from_millis(1)), false, gap);
    round("busy cores, default queue", Latency::NotImportant, true, gap);
    round("busy cores, latency 1 ms queue", Latency::Matters(Duration::from_millis(1)), true, gap);
}
