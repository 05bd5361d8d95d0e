//! Nothing hangs half alive: a shard that is dead or stuck ends the process, so that whoever supervises it starts a
//! new one.
//!
//! Each shard bumps its beat with every turn, and at least every half second while idle. A thread of its own compares.
//! It counts its own ticks and not the time: a process that was stopped (SIGSTOP, a suspended machine) and goes on
//! finds that its watchdog has slept as long as its shards. Nor is a shard to blame that wants to run and is not let:
//! on a machine that does too much, only what it ran counts, not what it waited for a core. And while another thread of
//! the process is starved so, a shard that is blocked may wait for just that thread (for the allocator's lock, say): this
//! counts only when it has lasted long.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Between two looks.
const TICK: Duration = Duration::from_millis(250);
/// Time without a beat after which a shard counts as stuck.
const STUCK: Duration = Duration::from_secs(2);
/// Time blocked without a beat after which a shard counts as stuck, whoever is starved meanwhile.
const BLOCKED_MAX: Duration = Duration::from_secs(30);
/// CPU time between two looks below which a thread that wants to run counts as starved.
const STARVED: Duration = Duration::from_millis(25);

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

    /// Of all threads of this process, by their numbers.
    fn read_all() -> HashMap<i32, Scheduled> {
        let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return HashMap::new() };
        let thread = |task: std::fs::DirEntry| task.file_name().to_str()?.parse().ok();
        let threads = tasks.filter_map(|task| thread(task.ok()?));
        threads.filter_map(|thread| Some((thread, Scheduled::read(thread)?))).collect()
    }

    /// It wanted to run at both looks, and hardly did between them.
    fn was_starved(self, before: Scheduled) -> bool {
        before.runnable && self.runnable && self.ran.saturating_sub(before.ran) < STARVED
    }
}

/// One shard as the watchdog sees it.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// The last beat.
    turns: u64,
    /// How long it has been silent, without the time that it waited for a core.
    silent: Duration,
    /// How long it was blocked meanwhile.
    blocked: Duration,
    /// When it was silent at the last look.
    before: Option<Scheduled>,
}

impl Seen {
    fn new(turns: u64) -> Seen {
        Seen { turns, silent: Duration::ZERO, blocked: Duration::ZERO, before: None }
    }

    /// Another look without a beat; `others_starve`: it may be blocked by a thread that is not let.
    fn still_silent(&mut self, now: Option<Scheduled>, others_starve: bool) {
        self.silent += match (self.before, now) {
            (Some(before), Some(now)) if now.runnable => now.ran.saturating_sub(before.ran).min(TICK),
            (_, Some(now)) if !now.runnable && others_starve => Duration::ZERO,
            _ => TICK,
        };
        if now.is_some_and(|now| !now.runnable) {
            self.blocked += TICK;
        }
        self.before = now;
    }

    fn is_stuck(&self) -> bool {
        self.silent >= STUCK || self.blocked >= BLOCKED_MAX
    }
}

struct Checker {
    beats: Vec<Arc<Beat>>,
    seen: Vec<Seen>,
    /// All threads at the last look, if a shard was silent then.
    threads: HashMap<i32, Scheduled>,
}

impl Checker {
    fn new(beats: Vec<Arc<Beat>>) -> Checker {
        let seen = vec![Seen::new(u64::MAX); beats.len()];
        Checker { beats, seen, threads: HashMap::new() }
    }

    fn tick(&mut self) -> Option<(usize, Trouble)> {
        let mut threads = None;
        for (index, (beat, seen)) in self.beats.iter().zip(&mut self.seen).enumerate() {
            match beat.state.load(Ordering::Acquire) {
                DONE => continue,
                DEAD => return Some((index, Trouble::Dead)),
                _ => {}
            }
            let turns = beat.turns.load(Ordering::Relaxed);
            if turns != seen.turns {
                *seen = Seen::new(turns);
                continue;
            }
            let thread = beat.thread.load(Ordering::Relaxed);
            let now = threads.get_or_insert_with(Scheduled::read_all);
            let starves = |(other, now): (&i32, &Scheduled)| {
                *other != thread && self.threads.get(other).is_some_and(|before| now.was_starved(*before))
            };
            seen.still_silent(now.get(&thread).copied(), now.iter().any(starves));
            if seen.is_stuck() {
                return Some((index, Trouble::Stuck));
            }
        }
        self.threads = threads.unwrap_or_default();
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
        // (state at each look, CPU time between looks, whether others starve, whether it is stuck after so many looks)
        for (name, runnable, ran, others_starve, looks, stuck) in [
            ("blocked", false, ms(0), false, 8, true),
            ("blocked, perhaps by a thread that is not let", false, ms(0), true, 100, false),
            ("the same for half a minute", false, ms(0), true, 120, true),
            ("spinning on a core of its own", true, ms(250), true, 40, true),
            ("spinning on a third of a core", true, ms(80), false, 40, true),
            ("starved", true, ms(2), true, 40, false),
            ("never let", true, ms(0), false, 1000, false),
        ] {
            let mut seen = Seen::new(0);
            for look in 0..looks {
                seen.still_silent(Some(Scheduled { runnable, ran: ran * look }), others_starve);
            }
            assert_eq!(seen.is_stuck(), stuck, "{name}: {seen:?}");
        }
        let mut seen = Seen::new(0);
        (0..8).for_each(|_| seen.still_silent(None, false));
        assert!(seen.is_stuck(), "a kernel that tells nothing");
    }

    #[test]
    fn who_is_starved() {
        let at = |runnable, ran| Scheduled { runnable, ran: Duration::from_millis(ran) };
        for (before, now, starved) in [
            (at(true, 10), at(true, 10), true),
            (at(true, 10), at(true, 34), true),
            (at(true, 10), at(true, 35), false),
            (at(false, 10), at(true, 10), false),
            (at(true, 10), at(false, 10), false),
        ] {
            assert_eq!(now.was_starved(before), starved, "{before:?} {now:?}");
        }
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
