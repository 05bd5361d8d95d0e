//! The end: what SIGTERM and SIGINT begin.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::Instant;
use veza_runtime::{Post, Posted, Report};

use super::backend::ask;

/// Between two looks at whether the shards are empty.
const LOOK_PAUSE: Duration = Duration::from_millis(20);

/// The part of `server.shutdown_timeout` that is kept for the store to close after the shards.
const CLOSE_SHARE: u32 = 5;

/// Time that the last connections have to take their Close frames, and handshakes under way to end: as long as the
/// gateway gives a connection to answer a Close frame, and a little more.
const CLOSING_PATIENCE: Duration = Duration::from_millis(1500);

/// SIGTERM and SIGINT.
pub struct Signals {
    term: Signal,
    int: Signal,
}

impl Signals {
    /// From here on they do not end the process by themselves.
    ///
    /// # Errors
    /// The handlers cannot be installed.
    pub fn new() -> io::Result<Signals> {
        Ok(Signals { term: signal(SignalKind::terminate())?, int: signal(SignalKind::interrupt())? })
    }

    /// The next one, by name.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.term.recv() => "SIGTERM",
            _ = self.int.recv() => "SIGINT",
        }
    }

    /// Whoever asks a second time does not want to wait.
    pub fn exit_on_next(mut self) {
        tokio::spawn(async move {
            let name = self.next().await;
            tracing::warn!("{name} again: exiting at once");
            std::process::exit(1);
        });
    }
}

/// Tells clients to leave and waits until every shard is empty and has written everything, up to most of `timeout`.
/// Says whether that came to be.
pub async fn drain(post: &Post, timeout: Duration) -> bool {
    let deadline = Instant::now() + timeout - timeout / CLOSE_SHARE;
    // Clients come back spread over half of the time that we may take: the next server starts at the end of it.
    let reconnect_after_ms = u64::try_from((timeout / 2).as_millis()).unwrap_or(u64::MAX);
    post.post_all(|_| Posted::Drain { reconnect_after_ms });
    let drained = wait_until(post, deadline, |report| report.quiet && report.engine.connections == 0).await;
    // The engine has forgotten a connection whose Close frame is still on its way, and the peer's answer too.
    let deadline = deadline.min(Instant::now() + CLOSING_PATIENCE);
    wait_until(post, deadline, |report| report.sockets == 0).await;
    drained
}

/// Whether all shards at once came to be so before the deadline.
async fn wait_until(post: &Post, deadline: Instant, so: fn(&Report) -> bool) -> bool {
    while Instant::now() < deadline {
        let mut answers = Vec::new();
        for shard in 0..post.shards() {
            let (sender, receiver) = oneshot::channel();
            ask(post, shard, move |report| {
                // Whoever asked may have given up waiting.
                let _ = sender.send(so(&report));
            });
            answers.push(receiver);
        }
        let mut all = true;
        for answer in answers {
            all &= matches!(tokio::time::timeout_at(deadline, answer).await, Ok(Ok(true)));
        }
        if all {
            return true;
        }
        tokio::time::sleep(LOOK_PAUSE).await;
    }
    false
}
