//! Rooms and conversations, homed on this shard.
//!
//! A room's state is the *committed* state; what is under way waits in `pending`, in order, and is applied when its
//! batch has come back. So nothing that a reply shows can vanish. A command that depends on something under way
//! (a membership that is just changing, a message that must be looked up) waits and is judged afterwards; commands of one
//! connection keep their order.

mod change;
mod commit;
mod enter;
mod history;
mod lookup;
mod members;
mod memory;
mod mentions;
mod pins;
mod presence;
mod query;
mod reads;
mod recent;
mod replay;
mod rights;
mod ring;
mod submit;
mod table;
mod typing;
mod verb;

use std::collections::VecDeque;
use std::sync::Arc;

use crate::core::Outcome;
use crate::id::{ConnId, RoomId, Seq, UserId};
use crate::map::Map;
use crate::peer::{Asker, Caller, Origin};
use crate::store::{RoleRow, RoomMeta, RoomState, Standing, UserRow};
use crate::time::{Mono, WallMs};
use crate::wire::{Command, CommandError, ResumePoint, SendMessage};

pub use mentions::Telling;
use presence::Online;
pub use presence::{ask_status, presence_frame};
pub use query::load_error;
pub use ring::Ring;
pub use table::{Rooms, UNAVAILABLE};
use typing::Typing;

use mentions::KnownName;
use recent::Recent;
use verb::ChangeOp;

/// The text that a command wants to be read.
fn content_of(command: &Command) -> Option<&str> {
    match command {
        Command::SendMessage(send) => Some(&send.content),
        Command::EditMessage(edit) => Some(&edit.content),
        _ => None,
    }
}

/// Something to be done in a room.
#[derive(Debug)]
pub enum Work {
    /// A client's command.
    Command { origin: Origin, caller: Caller, command: Box<Command> },
    /// The error of a command that was refused on its way; it has its turn like the others.
    Refused { origin: Origin, caller: Caller, error: Box<CommandError> },
    /// One part of a `resume`.
    Resume { conn: ConnId, caller: Caller, ticket: u64, part: u32, at: ResumePoint },
    /// The room was just created (or had been: `duplicate`) by this command.
    Created { origin: Origin, caller: Caller, duplicate: bool },
    /// The next page of a replay.
    Page { conn: ConnId, after: Seq },
}

impl Work {
    fn asker(&self) -> Asker {
        match self {
            Work::Command { origin, .. } | Work::Created { origin, .. } | Work::Refused { origin, .. } => origin.asker,
            Work::Resume { conn, .. } | Work::Page { conn, .. } => Asker::Conn(*conn),
        }
    }

    fn caller_id(&self) -> Option<UserId> {
        match self {
            Work::Command { caller, .. } | Work::Resume { caller, .. } | Work::Created { caller, .. } => {
                Some(caller.user_id)
            }
            // Whoever it is: an error asks for no rights.
            Work::Refused { .. } | Work::Page { .. } => None,
        }
    }

    /// May follow other changes of the same connection without waiting for their outcome.
    fn is_pipelined(&self) -> bool {
        matches!(self, Work::Command { command, .. } if matches!(**command, Command::SendMessage(_)))
    }
}

/// Work that waits for data or for earlier work.
#[derive(Debug)]
struct Waiting {
    work: Work,
    since: Mono,
}

/// What of one asker is under way in the room; keeps its commands in order.
#[derive(Debug, Default, Clone, Copy)]
struct Busy {
    /// Changes in `pending`.
    changes: u32,
    /// Queries under way.
    queries: u32,
    /// Work in `waiting`.
    waiting: u32,
}

/// A change under way.
#[derive(Debug)]
struct Op {
    kind: OpKind,
    user_id: UserId,
    /// Who asked first; taken when it was answered before the outcome (`STORE_UNAVAILABLE`).
    origin: Option<Origin>,
    /// Repetitions that came while it was under way.
    repeats: Vec<Origin>,
    admitted: Mono,
    /// What it counts in the journal.
    bytes: usize,
    /// Position and message number, taken when its batch is built. For changes without an event: the head then.
    seq: Seq,
    message_no: u64,
}

#[derive(Debug)]
enum OpKind {
    Send(Box<SendOp>),
    Change(Box<ChangeOp>),
    /// The store refused the event; its place stays.
    Void {
        at: WallMs,
        error: Box<CommandError>,
    },
    Join {
        caller: Caller,
        at: WallMs,
        /// There was an invitation.
        invited: bool,
        point: ResumePoint,
    },
    Leave {
        caller: Caller,
    },
    MarkRead {
        caller: Caller,
        seq: Seq,
        message_no: u64,
    },
    Checkpoint,
    /// Fell out of its batch; answered when its turn comes.
    Settled(Outcome),
}

#[derive(Debug)]
struct SendOp {
    username: Arc<str>,
    at: WallMs,
    /// The root of its thread.
    parent_id: Option<Seq>,
    mentioned: mentions::Mentioned,
    message: SendMessage,
}

/// An acknowledged `client_id`.
#[derive(Debug, Clone, Copy)]
struct Done {
    seq: Seq,
    at: WallMs,
    hash: u64,
}

/// Where the events of the batch being built have come to.
#[derive(Debug, Clone, Default)]
struct Tip {
    head: Seq,
    message_no: u64,
    member_count: u32,
    /// Counts of reactions that changes in flight come to.
    reactions: Map<(Seq, Box<str>), u32>,
    /// Counts of answers that sends in flight come to.
    threads: Map<Seq, u32>,
}

/// Events after which the read positions of their authors are folded into the members' rows.
const CHECKPOINT_EVENTS: u64 = 256;

/// One room.
#[derive(Debug)]
pub struct Room {
    meta: RoomMeta,
    head: Seq,
    message_no: u64,
    member_count: u32,
    ring: Ring,
    /// Known users; `None`: no such user. Filled on demand.
    members: Map<UserId, Option<Box<Standing>>>,
    members_wanted: Vec<UserId>,
    members_loading: bool,
    participants: Vec<UserRow>,
    /// Conversations of two: (who blocks, whom). Only changed by `SetBlock`.
    blocks: Vec<(UserId, UserId)>,

    /// Connections that are subscribed, and whose they are.
    subs: Map<ConnId, UserId>,
    shard_subs: Box<[u32]>,
    online: Online,
    /// The count has changed since the room was listed last.
    online_dirty: bool,
    /// It is listed for the next push of the count: once, however often it changes until then.
    online_listed: bool,
    typing: Typing,
    /// It is listed for the next push of presence, and for the end of typing.
    presence_listed: bool,
    typing_listed: bool,

    pending: VecDeque<Op>,
    /// Operations ever taken off the front of `pending`.
    popped: u64,
    /// Operations at the front of `pending` that are in flight.
    submitted: usize,
    tip: Tip,
    /// The room is being read again after a conflict; so many turns in the journal wait for that.
    held: Option<usize>,
    /// It is being read again.
    rereading: bool,
    pending_joins: u32,
    /// Users whose membership is changing, with the number of changes under way.
    locked: Map<UserId, u32>,
    /// Client ids under way: the operation's number.
    clients_pending: Map<(UserId, Arc<str>), u64>,
    /// Client ids of recent events.
    clients_done: Map<(UserId, Arc<str>), Done>,
    clients_order: VecDeque<(UserId, Arc<str>)>,
    since_checkpoint: u64,

    waiting: VecDeque<Waiting>,
    busy: Map<Asker, Busy>,
    /// Messages outside the ring that were looked up; `None`: no such message.
    older: Map<Seq, Option<Recent>>,
    /// Looked up now, with the reader whose reactions are asked for.
    older_loading: Vec<(Seq, UserId)>,
    /// Messages that something under way needs in memory.
    holds: Map<Seq, u32>,
    /// Messages with an edit, deletion or pin under way.
    sealed: Map<Seq, u32>,
    /// Users with a reaction under way.
    reacting: Map<(Seq, UserId), u32>,
    /// Reactions of users whom memory does not list (messages with very many).
    own_reactions: Map<(Seq, UserId), Vec<Box<str>>>,
    names: Map<Box<str>, KnownName>,
    /// Names looked up now; `true`: whoever has it came or went meanwhile.
    names_loading: Vec<(Box<str>, bool)>,

    /// The last event that retention has removed.
    floor: Seq,
    roles: Vec<RoleRow>,
    pinned_count: u32,
    pins: pins::Pins,
    pending_pins: u32,
    /// Changes under way that everything else waits for.
    barriers: u32,
    /// It is gone; what still asks for it is told so.
    deleted: bool,
    /// When members sent last, in rooms with slow mode.
    last_sent: Map<UserId, WallMs>,
    used: Mono,
}

impl Room {
    fn new(state: RoomState, core: &crate::core::Core) -> Room {
        let mut room = Room {
            head: state.head,
            message_no: state.message_no,
            member_count: state.member_count,
            ring: Ring::new(Seq(state.head.0 - state.tail.len() as u64), &core.limits),
            members: Map::default(),
            members_wanted: Vec::new(),
            members_loading: false,
            participants: state.participants,
            blocks: state.blocks,
            subs: Map::default(),
            shard_subs: vec![0; usize::from(core.shards)].into(),
            online: Online::default(),
            online_dirty: false,
            online_listed: false,
            typing: Typing::default(),
            presence_listed: false,
            typing_listed: false,
            pending: VecDeque::new(),
            popped: 0,
            submitted: 0,
            tip: Tip::default(),
            held: None,
            rereading: false,
            pending_joins: 0,
            locked: Map::default(),
            clients_pending: Map::default(),
            clients_done: Map::default(),
            clients_order: VecDeque::new(),
            since_checkpoint: 0,
            waiting: VecDeque::new(),
            busy: Map::default(),
            older: Map::default(),
            older_loading: Vec::new(),
            holds: Map::default(),
            sealed: Map::default(),
            reacting: Map::default(),
            own_reactions: Map::default(),
            names: Map::default(),
            names_loading: Vec::new(),
            floor: state.floor,
            roles: state.roles,
            pinned_count: state.pinned_count,
            pins: pins::Pins::Known,
            pending_pins: 0,
            barriers: 0,
            deleted: false,
            last_sent: Map::default(),
            used: core.now.mono,
            meta: state.meta,
        };
        for record in state.tail {
            room.remember(&record);
        }
        for standing in state.standings {
            room.members.insert(standing.user_id, Some(Box::new(standing)));
        }
        room
    }

    fn id(&self) -> RoomId {
        self.meta.room_id
    }

    /// Nothing of it is needed in memory.
    fn is_idle(&self) -> bool {
        self.subs.is_empty()
            && self.pending.is_empty()
            && self.waiting.is_empty()
            && self.busy.is_empty()
            && !self.members_loading
            && self.held.is_none()
            && self.typing.is_empty()
            && !self.online.is_dirty()
            && self.older_loading.is_empty()
            && self.names_loading.is_empty()
    }
}
