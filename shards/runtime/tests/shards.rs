//! Shards on real executors: they start, answer and stop; and the process does not outlive one that is dead or stuck.
//! What ends a process is tried in a child process: this test program, told by the environment what to be.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, setrlimit};
use socket2::Socket;
use veza_engine::Shard;
use veza_engine::fanout::Outbox;
use veza_engine::id::{ConnId, ShardId};
use veza_engine::input::{Identity, TokenError};
use veza_engine::limits::Limits;
use veza_engine::store::{Batch, Load};
use veza_engine::time::{Mono, Now};
use veza_engine::wire::{CloseCode, CommandError};
use veza_runtime::{Accept, Edge, Io, Posted, Report, Running, Runtime, RuntimeConfig, probe};

/// An edge without sockets.
struct Nothing;

impl Edge for Nothing {
    type Conn = ();
    fn listener(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        None
    }
    fn accept(&mut self, _: Now) -> Accept<()> {
        Accept::Nobody
    }
    fn on_accepted(&mut self, _: &mut Io<'_, ()>) {}
    fn on_bytes(&mut self, _: &mut Io<'_, ()>, _: &mut [u8]) {}
    fn on_eof(&mut self, _: &mut Io<'_, ()>) {}
    fn on_panic(&mut self, _: &mut Io<'_, ()>) {}
    fn on_close(&mut self, _: &mut Io<'_, ()>, _: CloseCode) {}
    fn on_resume(&mut self, _: &mut Io<'_, ()>) {}
    fn outbox<'c>(&self, (): &'c mut ()) -> Option<&'c mut Outbox> {
        None
    }
    fn on_written(&mut self, _: &mut Io<'_, ()>) {}
    fn on_lost(&mut self, _: Now, _: ConnId, (): (), _: &mut Shard) {}
    fn on_released(&mut self, _: Socket, (): ()) {}
    fn next_timeout(&self) -> Option<Mono> {
        None
    }
    fn expired(&mut self, _: Mono) -> Option<ConnId> {
        None
    }
    fn on_deadline(&mut self, _: &mut Io<'_, ()>) {}
    fn on_drain(&mut self) {}
    fn store(&mut self, _: Box<Batch>) {}
    fn load(&mut self, _: u64, _: Load) {}
    fn verify(&mut self, _: Now, (): &mut (), _: &str) -> Result<Box<Identity>, TokenError> {
        Err(TokenError::Invalid)
    }
    fn http_reply(&mut self, _: u64, _: Result<Vec<u8>, Box<CommandError>>) {}
    fn fault(&mut self, _: u64, _: &str) {}
    fn counters(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }
}

fn start(shards: u16) -> Running {
    let runtime = Runtime::new(shards).unwrap();
    let edges = (0..runtime.shards()).map(|_| |_| Nothing).collect();
    runtime.start(&RuntimeConfig { limits: Limits::default(), writer_epoch: 1, seed: 1 }, edges).unwrap()
}

fn report(running: &Running, shard: u16) -> Report {
    let (to, from) = channel();
    let posted = Posted::Report(Box::new(move |report| to.send(report).unwrap()));
    assert!(running.post().post(ShardId(shard), posted).is_ok());
    from.recv().unwrap()
}

#[test]
fn shards_start_answer_sleep_and_stop() {
    let running = start(3);
    for shard in 0..3 {
        let first = report(&running, shard);
        assert_eq!((first.shard, first.sockets), (ShardId(shard), 0));
        assert!(first.quiet);
        // Each report wakes a shard that has gone to sleep after the one before, or finds it awake.
        for count in 1..=100 {
            assert_eq!(report(&running, shard).runtime.posted, first.runtime.posted + count);
        }
    }
    running.stop_and_join();
}

/// What a child process is to be.
const ROLE: &str = "VEZA_TEST_ROLE";

/// Starts the test `as_child` of this program in this role.
fn child(role: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "as_child", "--nocapture"])
        .env(ROLE, role)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Not a test by itself: what the child processes do.
#[test]
fn as_child() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let on_shard = |act: fn()| {
        let running = start(2);
        assert!(running.post().post(ShardId(1), Posted::Report(Box::new(move |_| act()))).is_ok());
        loop {
            std::thread::park(); // the watchdog is to end this
        }
    };
    match role.as_str() {
        "stuck" => on_shard(|| {
            loop {
                std::hint::spin_loop();
            }
        }),
        "dead" => on_shard(|| panic!("planted in the test")),
        "stopped" => {
            let running = start(1);
            println!("ready");
            let mut line = String::new();
            std::io::stdin().read_line(&mut line).unwrap();
            println!("alive after {} turns", report(&running, 0).runtime.turns);
            running.stop_and_join();
        }
        "memlock" => {
            setrlimit(Resource::Memlock, Rlimit { current: Some(65_536), maximum: Some(65_536) }).unwrap();
            assert!(matches!(probe::probe(), Err(probe::Unusable::Memlock { limit: 65_536 })));
        }
        other => panic!("no role {other}"),
    }
}

#[test]
fn a_shard_that_is_dead_or_stuck_ends_the_process() {
    for (role, says) in [("stuck", "shard 1 has been stuck"), ("dead", "shard 1 is dead")] {
        let output = child(role).wait_with_output().unwrap();
        assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{role}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(says), "{role}");
    }
}

#[test]
fn a_process_that_was_stopped_goes_on() {
    let mut process = child("stopped");
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line == "ready"));
    let pid = Pid::from_child(&process);
    kill_process(pid, Signal::STOP).unwrap();
    // Longer than a shard may be without a beat: the time is what is tested.
    std::thread::sleep(Duration::from_secs(3));
    kill_process(pid, Signal::CONT).unwrap();
    process.stdin.take().unwrap().write_all(b"go\n").unwrap();
    assert!(lines.any(|line| line.starts_with("alive after")));
    assert!(process.wait().unwrap().success());
}

#[test]
fn the_probe_finds_too_little_locked_memory() {
    assert!(probe::probe().is_ok(), "these tests need io_uring");
    let output = child("memlock").wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
