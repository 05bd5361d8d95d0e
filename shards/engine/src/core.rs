//! What all parts of a shard share: where outcomes go, what is under way, and the bounds.

use std::collections::VecDeque;

use crate::deflate::Deflater;
use crate::effect::Effect;
use crate::id::{ConnId, RoomId, Seq, ShardId, UserId};
use crate::journal::Journal;
use crate::limits::Limits;
use crate::map::Map;
use crate::peer::{Caller, Origin, PeerMessage, Reply, ReplyBody, SubChange};
use crate::stats::{Bounds, Stats};
use crate::store::Load;
use crate::time::Now;
use crate::wire::{CommandError, ErrorCode};

/// The result that a command ends with.
pub type Outcome = Result<ReplyBody, Box<CommandError>>;

/// What a query was made for.
#[derive(Debug)]
pub enum LoadFor {
    /// A connection authenticates.
    ConnIdentity { conn: ConnId },
    /// A command came over HTTP.
    HttpIdentity { ticket: u64 },
    /// A user's own query: answered as it is.
    UserQuery { origin: Origin, user_id: UserId, what: UserQuery },
    /// A creation needs to know.
    Creation { user_id: UserId },
    /// What a user lets others see, blocks, and contacts.
    Profile { user_id: UserId },
    /// What the user's first waiting block needs to know.
    Block { user_id: UserId },
    /// Ids for rooms and sanctions to come.
    RoomIds,
    /// A room comes to life, or is read again.
    Room { room_id: RoomId, asked: Vec<UserId> },
    /// Memberships of these users.
    Members { room_id: RoomId, asked: Vec<UserId> },
    /// A reader's query in a room.
    RoomQuery { room_id: RoomId, origin: Origin, caller: Caller, what: Box<RoomQuery>, asked: Box<Asked> },
    /// A message that a command depends on, with this user's reactions.
    Message { room_id: RoomId, message_id: Seq, reader: UserId },
    /// Members of these names.
    Names { room_id: RoomId, names: Vec<Box<str>> },
    /// Members who are told of a message.
    Telling(Box<crate::room::Telling>),
    /// How many messages are pinned after retention has removed some.
    PinCount { room_id: RoomId },
    /// A page of a replay.
    Replay { room_id: RoomId, conn: ConnId, after: Seq },
}

/// User queries that need nothing but the store.
#[derive(Debug)]
pub enum UserQuery {
    /// `list_rooms`.
    Rooms,
    /// `get_unread`.
    Unread,
    /// `list_dms`.
    Dms,
    /// `get_mentions`.
    Mentions,
    /// `search_messages` everywhere.
    Search,
    /// `list_blocks`.
    Blocks,
    /// `list_sanctions` without a room.
    Sanctions,
    /// `lift_sanction`: in which room?
    Lift { caller: Caller, sanction_id: u64 },
    /// `get_user`.
    User,
    /// `list_users`.
    Users,
    /// `list_sessions`; the asker's own session and its end.
    Sessions { current: Box<str>, expires_at: i64 },
    /// `revoke_session` of one that is not connected.
    FindSession { caller: Caller, target: Box<str> },
}

/// A query under way: what was asked, and of which state of the room.
#[derive(Debug)]
pub struct Asked {
    /// The query, to be repeated.
    pub load: Load,
    /// The head when it was first asked for: a page ends there, however often it is read again.
    pub head: Seq,
    /// The head when it was asked for last: what is found reflects at least all events up to there.
    pub since: Seq,
    /// Repetitions so far.
    pub tries: u32,
}

/// Room queries that memory could not answer.
#[derive(Debug)]
pub enum RoomQuery {
    /// `get_history`.
    History,
    /// `get_history` around a message: the part before, then `limit` after it.
    HistoryAround { center: Seq, limit: u32 },
    /// The second part; the first is here.
    HistoryAroundRest {
        before: Vec<crate::store::EventRecord>,
        more_before: bool,
        limit: u32,
        center: Seq,
        first: Box<Load>,
    },
    /// `get_message`.
    Message,
    /// `get_edits`.
    Edits { message_id: Seq },
    /// `get_thread`.
    Thread,
    /// `get_pinned_messages`.
    Pinned,
    /// `get_reactions`.
    Reactions { message_id: Seq },
    /// `search_messages` in one room.
    Search,
    /// `get_room_stats`.
    Stats,
    /// `list_sanctions` of a room.
    Sanctions,
    /// `lift_sanction`: the one to be lifted.
    Lift,
    /// `get_members`; `online`: only those who are seen as being there, or not.
    Members { online: Option<bool> },
    /// `send_message` that is not allowed (any more): was it done before?
    Repeated { hash: u64, error: Box<CommandError> },
    /// `mark_read` at this position.
    MarkRead { seq: Seq },
}

/// A small generator for jitter, epochs and error ids. Not for secrets.
#[derive(Debug)]
pub struct Rng(u64);

impl Rng {
    /// Any seed.
    pub fn new(seed: u64) -> Rng {
        Rng(seed | 1)
    }

    /// The next number (splitmix64).
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

/// The shared services of a shard.
#[derive(Debug)]
pub struct Core {
    pub(crate) id: ShardId,
    pub(crate) shards: u16,
    pub(crate) limits: Limits,
    pub(crate) now: Now,
    pub(crate) effects: VecDeque<Effect>,
    /// Outgoing messages per shard; the own place is the loopback.
    pub(crate) peers: Vec<VecDeque<PeerMessage>>,
    pub(crate) loads: Map<u64, LoadFor>,
    next_load: u64,
    pub(crate) journal: Journal,
    pub(crate) stats: Stats,
    pub(crate) rng: Rng,
    pub(crate) draining: bool,
    pub(crate) deflater: Deflater,
}

impl Core {
    pub(crate) fn new(config: &crate::ShardConfig, now: Now) -> Core {
        let first_lane = u32::from(config.id.0) * u32::from(config.limits.lanes.max(1));
        Core {
            id: config.id,
            shards: config.shards,
            now,
            effects: VecDeque::new(),
            peers: (0..config.shards).map(|_| VecDeque::new()).collect(),
            loads: Map::default(),
            next_load: 0,
            journal: Journal::new(config.limits.lanes, first_lane, config.writer_epoch),
            stats: Stats { bounds: bounds(&config.limits), ..Stats::default() },
            rng: Rng::new(config.seed),
            draining: false,
            deflater: Deflater::default(),
            limits: config.limits.clone(),
        }
    }

    /// The lengths of all queues, into the statistics.
    pub(crate) fn measure_queues(&mut self) {
        self.stats.journal_ops = self.journal.ops() as u64;
        self.stats.journal_bytes = self.journal.bytes() as u64;
        self.stats.loads = self.loads.len() as u64;
        self.stats.peer_waiting = self.peers.iter().map(|queue| queue.len() as u64).sum();
    }

    pub(crate) fn send(&mut self, to: ShardId, message: PeerMessage) {
        self.peers[usize::from(to.0)].push_back(message);
    }

    /// Whether a shard takes more of what may be refused.
    pub(crate) fn peer_has_room(&self, to: ShardId) -> bool {
        self.peers[usize::from(to.0)].len() < self.limits.peer_queue_max
    }

    /// Ephemeral pushes have the lower half of a queue for themselves and are dropped beyond.
    pub(crate) fn send_ephemeral(&mut self, to: ShardId, message: PeerMessage) {
        if self.peers[usize::from(to.0)].len() < self.limits.peer_queue_max / 2 {
            self.send(to, message);
        } else {
            self.stats.ephemeral_dropped += 1;
        }
    }

    /// Reserves what a change of a room will need: a place in the journal, and in the queue to each shard.
    pub(crate) fn admit(&self, user: UserId) -> Result<(), Box<CommandError>> {
        let peers_ok = self.peers.iter().all(|q| q.len() + self.journal.ops() < self.limits.peer_queue_max);
        if peers_ok && self.journal.has_room(user, &self.limits) { Ok(()) } else { Err(overloaded()) }
    }

    /// Starts a query, or gives its purpose back when too many are under way.
    pub(crate) fn load(&mut self, load: Load, purpose: LoadFor) -> Result<(), LoadFor> {
        if self.loads.len() >= self.limits.loads_max {
            return Err(purpose);
        }
        self.load_always(load, purpose);
        Ok(())
    }

    /// Starts a query that is bounded by something else (one per room, or per replaying connection).
    pub(crate) fn load_always(&mut self, load: Load, purpose: LoadFor) {
        self.next_load += 1;
        self.loads.insert(self.next_load, purpose);
        self.effects.push_back(Effect::Load { id: self.next_load, load });
    }

    /// Sends an outcome to its asker.
    pub(crate) fn reply(&mut self, origin: Origin, result: Outcome, change: Option<SubChange>) {
        let to = origin.asker.shard();
        self.send(to, PeerMessage::Reply(Box::new(Reply { origin, result, change })));
    }

    /// Sends an outcome by way of the asker's user, so that it stays before the pushes that go that way.
    pub(crate) fn reply_via_user(&mut self, user_id: UserId, origin: Origin, result: Outcome) {
        let home = user_id.home(self.shards);
        let reply = Box::new(Reply { origin, result, change: None });
        self.send(home, PeerMessage::UserReply { user_id, reply });
    }

    /// An `INTERNAL` error whose cause goes to the log under the same id.
    pub(crate) fn fault(&mut self, what: &str, final_outcome: bool) -> Box<CommandError> {
        let error_id = self.rng.next();
        self.effects.push_back(Effect::Fault { error_id, what: what.into() });
        let mut error = CommandError::new(ErrorCode::Internal, "internal error");
        error.error_id = Some(error_id);
        error.final_outcome = final_outcome;
        Box::new(error)
    }
}

fn bounds(limits: &Limits) -> Bounds {
    Bounds {
        journal_ops: limits.journal_ops_max as u64,
        journal_bytes: limits.journal_bytes_max as u64,
        loads: limits.loads_max as u64,
        outbox_bytes: limits.outbox_shard_bytes as u64,
        peer_waiting: limits.peer_queue_max as u64,
    }
}

/// `OVERLOADED`, with a hint.
pub fn overloaded() -> Box<CommandError> {
    let mut error = CommandError::new(ErrorCode::Overloaded, "the server is overloaded, try again");
    error.retry_after_ms = Some(250);
    Box::new(error)
}

/// `STORE_UNAVAILABLE`, with a hint.
pub fn store_unavailable() -> Box<CommandError> {
    let mut error =
        CommandError::new(ErrorCode::StoreUnavailable, "the database does not answer; the outcome is unknown");
    error.retry_after_ms = Some(1000);
    Box::new(error)
}

/// A plain error.
pub fn error(code: ErrorCode, message: &'static str) -> Box<CommandError> {
    Box::new(CommandError::new(code, message))
}

/// A reply body.
pub fn body(kind: &'static str, data: Vec<u8>) -> ReplyBody {
    ReplyBody { kind, data }
}
