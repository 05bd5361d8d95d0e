//! How long a sleeping shard takes to wake, from a thread and from another shard, through the doorbell, the poller and
//! glommio. Run: `cargo run --release -p veza-runtime --example wakeup`.

use std::io::Result;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam::queue::ArrayQueue;
use glommio::{ExecutorJoinHandle, LocalExecutorBuilder, Placement};
use rustix::time::{ClockId, clock_gettime};
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
        let bell = Arc::new(Doorbell::new().expect("a descriptor"));
        Arc::new(End { queue: ArrayQueue::new(64), bell, stop: AtomicBool::new(false) })
    }
}

/// Latencies in nanoseconds, and the thread's CPU time.
type Measured = (Vec<u64>, Duration);

/// A shard that only takes in what comes; `answer` gets each thing on. `glommio`: sleeps in io_uring, else in epoll.
async fn shard(end: Arc<End>, answer: Arc<End>, glommio: bool) -> Result<Measured> {
    let mut poller = Poller::new(end.bell.clone())?;
    let mut latencies = Vec::with_capacity(ROUNDS);
    while !end.stop.load(Ordering::Relaxed) {
        while let Some(sent) = end.queue.pop() {
            latencies.push(sent.elapsed().as_nanos() as u64);
            let _ = answer.queue.push(Instant::now());
            answer.bell.ring();
        }
        if poller.collect()? {
            while poller.next_ready().is_some() {}
            continue;
        }
        end.bell.announce_sleep();
        if end.queue.is_empty() && !end.stop.load(Ordering::Relaxed) {
            if glommio {
                reactor::sleep(&poller).await?;
            } else {
                poller.collect_blocking()?;
            }
        }
        end.bell.awake();
    }
    let cpu = clock_gettime(ClockId::ThreadCPUTime);
    Ok((latencies, Duration::new(cpu.tv_sec as u64, cpu.tv_nsec as u32)))
}

fn spawn(core: usize, glommio: bool, end: Arc<End>, answer: Arc<End>) -> ExecutorJoinHandle<Result<Measured>> {
    LocalExecutorBuilder::new(Placement::Fixed(core))
        .io_memory(1 << 20)
        .ring_depth(64)
        .spawn(move || shard(end, answer, glommio))
        .expect("io_uring is usable")
}

fn report(what: &str, measured: Result<Measured>) {
    let (mut latencies, cpu) = measured.expect("the shard ran");
    latencies.sort_unstable();
    let at = |p: usize| latencies[(latencies.len() - 1) * p / 1000] as f64 / 1000.0;
    let cpu = cpu.as_secs_f64() * 1e6 / latencies.len() as f64;
    println!("{what:40} p50={:6.1} us p99={:8.1} us max={:8.1} us cpu={cpu:5.1} us", at(500), at(990), at(1000));
}

fn round(name: &str, glommio: bool, busy: bool) {
    let (first, second, sink) = (End::new(), End::new(), End::new());
    let a = spawn(0, glommio, first.clone(), second.clone());
    let b = spawn(1, glommio, second.clone(), sink.clone());
    let running = Arc::new(AtomicBool::new(true));
    let burners: Vec<_> = (0..if busy { 2 } else { 0 })
        .map(|_| {
            let running = running.clone();
            std::thread::spawn(move || {
                while running.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            })
        })
        .collect();
    for _ in 0..ROUNDS {
        std::thread::sleep(Duration::from_micros(200));
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
    report(&format!("{name}: thread to shard"), a.join().expect("no panic"));
    report(&format!("{name}: shard to shard"), b.join().expect("no panic"));
    running.store(false, Ordering::Relaxed);
    burners.into_iter().for_each(|burner| drop(burner.join()));
}

fn main() {
    for (busy, cores) in [(false, "calm cores"), (true, "busy cores")] {
        for (glommio, driver) in [(true, "glommio"), (false, "epoll")] {
            round(&format!("{cores}, {driver}"), glommio, busy);
        }
    }
}
