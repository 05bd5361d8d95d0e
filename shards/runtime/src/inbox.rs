//! What other threads tell a shard: store completions, commands over HTTP, control.
//!
//! Two lock-free queues behind one doorbell. [`Posted::Http`] is the only kind whose number is the outside world's
//! choice: it is bounded, and beyond the bound refused. Everything else is bounded by its producers: completions by
//! what the engine has under way (`limits.lanes`, `limits.loads_max`), revocations by the database, which has
//! committed each of them before, control by the operator.

use std::sync::Arc;

use crossbeam::queue::{ArrayQueue, SegQueue};
use veza_engine::id::{RoomId, Seq, ShardId, UserId};
use veza_engine::input::Identity;
use veza_engine::stats::Stats;
use veza_engine::store::{BatchOutcome, LoadError, Loaded, Revocation, Writer};
use veza_engine::wire::{CloseCode, Command};

use crate::doorbell::Doorbell;
use crate::stats::RuntimeStats;

/// Commands over HTTP that wait for one shard; beyond: refused ([`Full`], to be answered `OVERLOADED`).
pub const HTTP_WAITING_MAX: usize = 4096;

/// Takes a [`Report`] away from the shard's thread; must not block.
pub type ReportTo = Box<dyn FnOnce(Report) + Send>;

/// Something for a shard from another thread.
pub enum Posted {
    /// Answers [`crate::Edge::store`].
    Stored {
        /// The batch.
        writer: Writer,
        /// What became of it.
        outcome: BatchOutcome,
    },
    /// Answers [`crate::Edge::load`].
    Loaded {
        /// The query.
        id: u64,
        /// Its answer.
        result: Result<Loaded, LoadError>,
    },
    /// Retention has removed the first events of a room; to be posted to the room's home.
    Retained {
        /// The room.
        room_id: RoomId,
        /// The last one that is gone.
        floor: Seq,
    },
    /// A command over HTTP; [`crate::Edge::http_reply`] answers with the same ticket.
    Http {
        /// The asker's choice.
        ticket: u64,
        /// Of a good token.
        identity: Box<Identity>,
        /// What to do.
        command: Box<Command>,
    },
    /// A revocation that is stored; to be posted to every shard.
    Revoked(Revocation),
    /// All sessions of a user end; to be posted to every shard.
    DisconnectUser {
        /// Whose.
        user_id: UserId,
        /// With what.
        code: CloseCode,
    },
    /// No new connections and commands from here on; `draining` is pushed with hints up to this many milliseconds.
    Drain {
        /// Upper end of the spread.
        reconnect_after_ms: u64,
    },
    /// Wants the shard's counters.
    Report(ReportTo),
    /// The shard ends. What it has not written is lost: wait for [`Report::quiet`] first.
    Stop,
}

/// A shard's counters and state at one moment.
#[derive(Clone, Debug)]
pub struct Report {
    /// Which shard.
    pub shard: ShardId,
    /// The engine's.
    pub engine: Stats,
    /// The pump's.
    pub runtime: RuntimeStats,
    /// The edge's, by name: constant set, counters that only grow.
    pub edge: Vec<(&'static str, u64)>,
    /// Nothing waits for the database: after a drain, the shard may be stopped.
    pub quiet: bool,
    /// Sockets that are open, of whatever kind.
    pub sockets: usize,
}

/// The queue is full; nothing happened. Carries what was refused.
pub struct Full(pub Box<Posted>);

/// The queues of one shard.
pub struct Inbox {
    sure: SegQueue<Posted>,
    http: ArrayQueue<Posted>,
    bell: Arc<Doorbell>,
}

impl Inbox {
    /// Empty queues that ring `bell`.
    pub fn new(bell: Arc<Doorbell>) -> Inbox {
        Inbox { sure: SegQueue::new(), http: ArrayQueue::new(HTTP_WAITING_MAX), bell }
    }

    /// Hands something over. Any thread; never blocks.
    ///
    /// # Errors
    /// [`Full`] for [`Posted::Http`] beyond [`HTTP_WAITING_MAX`]; never for anything else.
    pub fn post(&self, posted: Posted) -> Result<(), Full> {
        match posted {
            http @ Posted::Http { .. } => self.http.push(http).map_err(|posted| Full(Box::new(posted)))?,
            sure => self.sure.push(sure),
        }
        self.bell.ring();
        Ok(())
    }

    /// The next thing; completions and control before commands, so that load never delays what relieves it.
    pub fn take(&self) -> Option<Posted> {
        self.sure.pop().or_else(|| self.http.pop())
    }

    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.sure.is_empty() && self.http.is_empty()
    }

    /// How much waits.
    pub fn waiting(&self) -> usize {
        self.sure.len() + self.http.len()
    }
}

/// The inboxes of all shards, for other threads. Cheap to clone.
#[derive(Clone)]
pub struct Post {
    pub(crate) inboxes: Arc<[Arc<Inbox>]>,
}

impl Post {
    /// How many shards there are.
    pub fn shards(&self) -> u16 {
        self.inboxes.len() as u16
    }

    /// Hands something to one shard; wakes it if it sleeps.
    ///
    /// # Errors
    /// [`Full`] for [`Posted::Http`] beyond [`HTTP_WAITING_MAX`]; never for anything else.
    ///
    /// # Panics
    /// If there is no such shard.
    pub fn post(&self, to: ShardId, posted: Posted) -> Result<(), Full> {
        self.inboxes[usize::from(to.0)].post(posted)
    }

    /// Hands every shard its own copy of something other than [`Posted::Http`].
    pub fn post_all(&self, mut posted: impl FnMut(ShardId) -> Posted) {
        for (index, inbox) in self.inboxes.iter().enumerate() {
            let posted = posted(ShardId(index as u16));
            assert!(!matches!(posted, Posted::Http { .. }), "a command has one shard");
            let _ = inbox.post(posted);
        }
    }
}
