//! Nothing hangs half alive: a shard that is dead or stuck ends the process, so that whoever supervises it starts a
//! new one.
//!
//! Each shard bumps its beat with every turn, and at least every half second while idle. A thread of its own compares.
//! It counts its own ticks and not the time: a process that was stopped (SIGSTOP, a suspended machine) and goes on
//! finds that its watchdog has slept as long as its shards. Nor is a shard to blame that wants to run and is not let:
//! on a machine that does too much, only what it ran counts, not what it waited for a core.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Between two looks.
const TICK: Duration = Duration::from_millis(250);
/// Time without a beat after which a shard counts as stuck.
const STUCK: Duration = Duration::from_secs(2);

const RUNNING: u8 = 0;
const DONE: u8 = 1;
const DEAD: u8 = 2;

/// The sign of life of one shard.
#[derive(Debug, Default)]
pub struct Beat {
    turns: AtomicU64,
    state: AtomicU8,
    /// The kernel's number of the shard's thread; 0: not told.
    thread: AtomicI32,
}

impl Beat {
    /// The shard lives. Called by its own thread only.
    pub fn bump(&self) {
        // One writer: no read-modify-write needed.
        self.turns.store(self.turns.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// The calling thread is the shard's.
    pub fn begin(&self) {
        self.thread.store(rustix::thread::gettid().as_raw_nonzero().get(), Ordering::Relaxed);
    }

    /// The shard has ended as it should.
    pub fn done(&self) {
        self.state.store(DONE, Ordering::Release);
    }

    /// The shard's thread is over, by a panic or an error; ignored after [`Beat::done`].
    pub fn dead(&self) {
        let _ = self.state.compare_exchange(RUNNING, DEAD, Ordering::AcqRel, Ordering::Relaxed);
    }
}

/// Marks the beat dead when it is dropped: held by a shard's thread.
pub(crate) struct DeadOnDrop(pub Arc<Beat>);

impl Drop for DeadOnDrop {
    fn drop(&mut self) {
        self.0.dead();
    }
}

/// What is wrong with a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Its thread has ended.
    Dead,
    /// No turn for two seconds in which it could have had one.
    Stuck,
}

/// What the kernel says of a silent thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Scheduled {
    /// It runs, or would if it were let.
    runnable: bool,
    /// CPU time so far.
    ran: Duration,
}

impl Scheduled {
    /// Of a thread of this process; `None` where the kernel does not tell.
    fn read(thread: i32) -> Option<Scheduled> {
        let stat = std::fs::read_to_string(format!("/proc/self/task/{thread}/stat")).ok()?;
        // The state follows the name, which is in parentheses and may hold anything.
        let runnable = stat.rsplit_once(')')?.1.trim_start().starts_with('R');
        let times = std::fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).ok()?;
        let ran = Duration::from_nanos(times.split_whitespace().next()?.parse().ok()?);
        Some(Scheduled { runnable, ran })
    }
}

/// One shard as the watchdog sees it.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// The last beat.
    turns: u64,
    /// How long it has been silent, without the time that it waited for a core.
    silent: Duration,
    /// When it was silent at the last look.
    before: Option<Scheduled>,
}

impl Seen {
    /// Another look without a beat.
    fn still_silent(&mut self, now: Option<Scheduled>) {
        self.silent += match (self.before, now) {
            (Some(before), Some(now)) if now.runnable => now.ran.saturating_sub(before.ran).min(TICK),
            _ => TICK,
        };
        self.before = now;
    }
}

struct Checker {
    beats: Vec<Arc<Beat>>,
    seen: Vec<Seen>,
}

impl Checker {
    fn new(beats: Vec<Arc<Beat>>) -> Checker {
        let seen = vec![Seen { turns: u64::MAX, silent: Duration::ZERO, before: None }; beats.len()];
        Checker { beats, seen }
    }

    fn tick(&mut self) -> Option<(usize, Trouble)> {
        for (index, (beat, seen)) in self.beats.iter().zip(&mut self.seen).enumerate() {
            match beat.state.load(Ordering::Acquire) {
                DONE => continue,
                DEAD => return Some((index, Trouble::Dead)),
                _ => {}
            }
            let turns = beat.turns.load(Ordering::Relaxed);
            if turns != seen.turns {
                *seen = Seen { turns, silent: Duration::ZERO, before: None };
                continue;
            }
            let thread = beat.thread.load(Ordering::Relaxed);
            seen.still_silent(if thread == 0 { None } else { Scheduled::read(thread) });
            if seen.silent >= STUCK {
                return Some((index, Trouble::Stuck));
            }
        }
        None
    }
}

/// The thread that looks.
pub struct Watchdog {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Watches these shards (by index); `alarm` is called once, at the first trouble. [`abort`] is the alarm to use.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(beats: Vec<Arc<Beat>>, alarm: impl FnOnce(usize, Trouble) + Send + 'static) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::Builder::new().name("watchdog".into()).spawn(move || {
            let mut checker = Checker::new(beats);
            while !stopped.load(Ordering::Relaxed) {
                if let Some((shard, trouble)) = checker.tick() {
                    return alarm(shard, trouble);
                }
                std::thread::park_timeout(TICK);
            }
        })?;
        Ok(Watchdog { stop, thread: Some(thread) })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

/// Ends the process at once (SIGABRT). Clients reconnect and resume; acknowledged messages are committed.
pub fn abort(shard: usize, trouble: Trouble) {
    let what = match trouble {
        Trouble::Dead => "is dead",
        Trouble::Stuck => "has been stuck for two seconds",
    };
    // Not through the log: its lock may be what the shard is stuck on.
    eprintln!("shard {shard} {what}: ending the process");
    std::process::abort();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checker(shards: usize) -> Checker {
        Checker::new((0..shards).map(|_| Arc::new(Beat::default())).collect())
    }

    #[test]
    fn beats_keep_it_quiet_and_silence_does_not() {
        let mut checker = checker(2);
        for _ in 0..100 {
            checker.beats.iter().for_each(|beat| beat.bump());
            assert_eq!(checker.tick(), None);
        }
        let quiet: Vec<_> = (0..STUCK.as_millis() / TICK.as_millis())
            .map(|_| {
                checker.beats[0].bump();
                checker.tick()
            })
            .collect();
        assert_eq!(quiet.last(), Some(&Some((1, Trouble::Stuck))));
        assert!(quiet[..quiet.len() - 1].iter().all(Option::is_none), "not before two seconds");
    }

    #[test]
    fn waiting_for_a_core_is_not_being_stuck() {
        let ms = Duration::from_millis;
        // (state at each look, CPU time between looks, whether it is stuck after 40 looks: ten seconds)
        for (name, runnable, ran, stuck) in [
            ("blocked", false, ms(0), true),
            ("spinning on a core of its own", true, ms(250), true),
            ("spinning on a third of a core", true, ms(80), true),
            ("starved", true, ms(2), false),
            ("never let", true, ms(0), false),
        ] {
            let mut seen = Seen { turns: 0, silent: Duration::ZERO, before: None };
            for look in 0..40 {
                seen.still_silent(Some(Scheduled { runnable, ran: ran * look }));
            }
            assert_eq!(seen.silent >= STUCK, stuck, "{name}: {:?}", seen.silent);
        }
        let mut seen = Seen { turns: 0, silent: Duration::ZERO, before: None };
        (0..8).for_each(|_| seen.still_silent(None));
        assert!(seen.silent >= STUCK, "a kernel that tells nothing");
    }

    #[test]
    fn the_kernel_tells_of_this_thread() {
        let beat = Beat::default();
        beat.begin();
        let me = Scheduled::read(beat.thread.load(Ordering::Relaxed)).expect("schedstat");
        assert!(me.runnable);
        while Scheduled::read(beat.thread.load(Ordering::Relaxed)).expect("schedstat").ran == me.ran {}
    }

    #[test]
    fn a_dead_shard_is_found_at_once_and_a_finished_one_is_none() {
        let mut checker = checker(3);
        checker.beats[0].done();
        drop(DeadOnDrop(checker.beats[0].clone()));
        assert_eq!(checker.tick(), None);
        drop(DeadOnDrop(checker.beats[2].clone()));
        assert_eq!(checker.tick(), Some((2, Trouble::Dead)));
    }

    #[test]
    fn the_thread_raises_the_alarm() {
        let (to, from) = std::sync::mpsc::channel();
        let beat = Arc::new(Beat::default());
        beat.dead();
        let watchdog = Watchdog::start(vec![beat], move |shard, trouble| to.send((shard, trouble)).unwrap()).unwrap();
        assert_eq!(from.recv().unwrap(), (0, Trouble::Dead));
        drop(watchdog);
    }
}
