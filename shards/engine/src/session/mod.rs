//! Connections, on the shard that accepted them: authentication, commands on their way in, replies and pushes on their
//! way out, subscriptions, deadlines.

mod auth;
mod command;
mod deliver;
mod http;
mod identities;
mod lifecycle;
mod memory;
mod presence;
mod stream;
mod timers;

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use crate::core::{Core, body};
use crate::deflate::{Forms, REPLY_BYTES_MIN, Window};
use crate::fanout::{Frame, FrameBytes, FrameClass, Outbox};
use crate::few::Few;
use crate::id::{ConnId, RoomId, Seq, UserId};
use crate::input::Identity;
use crate::map::Map;
use crate::peer::{Caller, Presence, ReplyBody};
use crate::prefetch::prefetch;
use crate::rate::{Bucket, MinuteCount, Rate};
use crate::time::{Mono, WallMs};
use crate::wheel::Wheel;
use crate::wire::json::object;
use crate::wire::parse::Parser;
use crate::wire::{Command, RequestId};

use identities::{Identities, Known};

/// How far a connection has come.
#[derive(Debug)]
enum Phase {
    /// Must authenticate.
    Anonymous,
    /// Its token is being looked at; commands that come meanwhile wait.
    Verifying,
    /// Its user is being looked up or told; commands that come meanwhile wait.
    Authenticating(Box<Pending>),
    /// May do everything its user may.
    Ready(Box<SessionUser>),
}

#[derive(Debug)]
struct Pending {
    identity: Box<Identity>,
    /// The `authenticate` command's id, if that is how it came.
    reply_to: Option<RequestId>,
    found: Option<Rc<Known>>,
}

#[derive(Debug)]
struct SessionUser {
    caller: Caller,
    session_id: Arc<str>,
    /// A refreshed token must be one of his.
    known: Rc<Known>,
    /// Unix seconds.
    expires_at: i64,
    expires: Mono,
    /// `token_expiring` was pushed.
    warned: bool,
    /// The user's presence, if it has changed while commands were under way.
    moved: Option<Arc<Presence>>,
}

/// A subscription, or the replay of a conversation.
#[derive(Debug)]
struct Sub {
    room_id: RoomId,
    state: SubState,
}

#[derive(Debug, Clone, Copy)]
enum SubState {
    /// Gets live events; its place in the room's list.
    Live { index: u32 },
    /// Has everything up to `position`; gets pages until it has caught up.
    Catching {
        position: Seq,
        /// A page is asked for.
        asked: bool,
        /// The reply that announces the replay has not been written.
        held: bool,
        /// A conversation's replay ends here; its live events come anyway.
        until: Option<Seq>,
    },
}

/// A `resume` whose rooms have not all answered.
#[derive(Debug)]
struct Resuming {
    ticket: u64,
    id: Option<RequestId>,
    verdicts: Vec<Option<crate::peer::ResumeVerdict>>,
    /// Rooms that the connection was not subscribed to before.
    fresh: Vec<RoomId>,
    missing: usize,
}

/// What a client has done wrong in the present minute.
#[derive(Debug, Default)]
struct Faults {
    malformed: MinuteCount,
    limited: MinuteCount,
}

/// What a delivery touches comes first, in the first 64 bytes; hence the layout.
#[derive(Debug)]
#[repr(C)]
struct Session {
    conn: ConnId,
    touch: Touch,
    paused: bool,
    /// Whether it takes compressed frames.
    window: Window,
    /// Subscriptions that are catching up.
    catching: u32,
    outbox: Outbox,
    last_seen: Mono,
    phase: Phase,
    subs: Vec<Sub>,
    /// Commands that have no answer yet.
    inflight: u32,
    /// Subscriptions asked for and not answered (an upper bound until nothing is in flight).
    subscribing: u32,
    commands: Bucket,
    opened: Mono,
    next_ping: Mono,
    /// When its entry in the wheel comes up; older entries are void.
    timer: Mono,
    faults: Option<Box<Faults>>,
    resumes: Few<Resuming>,
    /// Commands that came while it authenticated, or behind a `resume` whose rooms have not all answered.
    deferred: Few<(Option<RequestId>, Command)>,
}

const _: () = assert!(std::mem::offset_of!(Session, outbox) + size_of::<Outbox>() <= 64);

impl Session {
    fn faults(&mut self) -> &mut Faults {
        self.faults.get_or_insert_default()
    }

    /// Has what a delivery needs fetched.
    fn prefetch(&self) {
        prefetch(&self.conn);
        prefetch(&self.outbox);
        prefetch(&self.touch);
    }

    /// Subscriptions to rooms; the replays of conversations count against no limit.
    fn subscribed(&self) -> usize {
        self.subs.iter().filter(|sub| !matches!(sub.state, SubState::Catching { until: Some(_), .. })).count()
    }

    /// Commands must wait, so that they keep their order.
    fn defers(&self) -> bool {
        matches!(self.phase, Phase::Verifying | Phase::Authenticating(_)) || !self.resumes.is_empty()
    }
}

/// Whether a session's frames are about to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Touch {
    /// Nothing new waits.
    No,
    /// Soon: more is expected for the same socket.
    Held,
    /// At the end of the turn.
    Queued,
}

/// A room as this shard's connections see it.
#[derive(Debug, Default)]
struct LocalRoom {
    /// The newest event that has come here.
    last: Seq,
    /// Slots that get live events.
    live: Vec<u32>,
    /// Subscriptions that are catching up.
    catching: u32,
}

/// All connections of a shard.
#[derive(Debug)]
pub struct Sessions {
    slots: Vec<Option<Box<Session>>>,
    /// What closed connections still had to be sent, until the gateway takes it.
    left_over: Map<ConnId, Outbox>,
    rooms: Map<RoomId, LocalRoom>,
    http: Map<u64, http::HttpWaiting>,
    identities: Identities,
    revoked_sessions: Map<Box<str>, i64>,
    revoked_users: Map<UserId, i64>,
    touched: VecDeque<ConnId>,
    /// Sessions that were held, some no more, and until when.
    held: Vec<ConnId>,
    held_until: Option<Mono>,
    wheel: Wheel,
    due: Vec<(u32, u32)>,
    parser: Parser,
    /// Slots whose pushes went over the bound in this turn.
    overfull: Vec<u32>,
    next_ticket: u64,
    drain: Option<timers::Drain>,
    cursors: memory::Cursors,
}

impl Sessions {
    /// No connections.
    pub fn new(now: Mono) -> Sessions {
        Sessions {
            slots: Vec::new(),
            left_over: Map::default(),
            rooms: Map::default(),
            http: Map::default(),
            identities: Identities::default(),
            revoked_sessions: Map::default(),
            revoked_users: Map::default(),
            touched: VecDeque::new(),
            held: Vec::new(),
            held_until: None,
            wheel: Wheel::new(now),
            due: Vec::new(),
            parser: Parser::new(),
            overfull: Vec::new(),
            next_ticket: 0,
            drain: None,
            cursors: memory::Cursors::default(),
        }
    }

    fn get(&mut self, conn: ConnId) -> Option<&mut Session> {
        let session = self.slots.get_mut(conn.slot as usize)?.as_deref_mut()?;
        (session.conn == conn).then_some(session)
    }

    fn get_ref(&self, conn: ConnId) -> Option<&Session> {
        self.slots.get(conn.slot as usize)?.as_deref().filter(|session| session.conn == conn)
    }

    /// The frames that wait for a connection.
    pub fn outbox(&self, conn: ConnId) -> Option<&Outbox> {
        self.get_ref(conn).map(|session| &session.outbox)
    }

    /// Whether it is not to be read.
    pub fn is_paused(&self, conn: ConnId) -> bool {
        self.get_ref(conn).is_some_and(|session| session.paused)
    }

    /// The next connection with new frames.
    pub fn next_touched(&mut self) -> Option<ConnId> {
        while let Some(conn) = self.touched.pop_front() {
            if let Some(session) = self.get(conn) {
                session.touch = Touch::No;
                self.look_ahead();
                return Some(conn);
            }
        }
        None
    }

    /// Has the memory of the next session fetched that is touched: while this one is written, there is time.
    fn look_ahead(&self) {
        let next = self.touched.front().and_then(|next| self.slots.get(next.slot as usize)?.as_deref());
        if let Some(session) = next {
            session.prefetch();
        }
    }

    /// Who is touched next, without taking it.
    pub fn peek_touched(&self) -> Option<ConnId> {
        self.touched.front().copied()
    }

    /// What is held is written with this turn.
    fn release_held(&mut self) {
        self.held_until = None;
        let mut held = std::mem::take(&mut self.held);
        for conn in held.drain(..) {
            if let Some(session) = self.get(conn).filter(|session| session.touch == Touch::Held) {
                session.touch = Touch::Queued;
                self.touched.push_back(conn);
            }
        }
        self.held = held; // keeps the allocation
    }

    /// Whether frames are held.
    pub fn is_holding(&self) -> bool {
        self.held_until.is_some()
    }

    /// Appends a frame for one connection, in the form that it takes.
    fn push_form(&mut self, core: &mut Core, slot: u32, forms: &mut Forms, class: FrameClass) {
        let Some(session) = self.slots[slot as usize].as_deref() else { return };
        let frame = forms.of(core, session.window).clone();
        self.push(core, slot, frame, class);
    }

    /// Appends a reply.
    fn push_reply(&mut self, core: &mut Core, slot: u32, bytes: FrameBytes) {
        if bytes.len() < REPLY_BYTES_MIN {
            return self.push(core, slot, Frame::new(bytes), FrameClass::Reply);
        }
        self.push_form(core, slot, &mut Forms::new(bytes), FrameClass::Reply);
    }

    /// Appends a frame for one connection as it is.
    fn push(&mut self, core: &mut Core, slot: u32, frame: Frame, class: FrameClass) {
        let Some(session) = self.slots[slot as usize].as_deref_mut() else { return };
        if class != FrameClass::Control {
            core.stats.outbox_bytes += frame.bytes().len() as u64;
        }
        session.outbox.push(frame, class);
        if session.touch != Touch::Queued {
            session.touch = Touch::Queued;
            self.touched.push_back(session.conn);
        }
        if session.outbox.push_bytes() > core.limits.outbox_bytes && class == FrameClass::Push {
            self.overfull.push(slot);
        }
    }

    /// Puts the answer to the upgrade before everything that an opened connection has been given; `false`: it is
    /// closing already.
    pub fn greet(&mut self, core: &mut Core, conn: ConnId, answer: Frame) -> bool {
        let Some(session) = self.get(conn) else { return false };
        let rest = std::mem::take(&mut session.outbox);
        self.push(core, conn.slot, answer, FrameClass::Control);
        let Some(session) = self.get(conn) else { return false };
        session.outbox.append(rest);
        true
    }

    /// Appends a control frame of the gateway's.
    pub fn push_control(&mut self, core: &mut Core, conn: ConnId, frame: Frame) {
        if self.get(conn).is_some() {
            self.push(core, conn.slot, frame, FrameClass::Control);
        }
    }
}

/// The rate of a connection's commands.
fn command_rate(core: &Core) -> Rate {
    Rate::per_second(core.limits.commands_per_second, core.limits.commands_burst)
}

/// The reply to `ping`; the timestamp is the client's own JSON.
pub fn pong(timestamp: Option<&str>, now: WallMs) -> ReplyBody {
    let data = object(|mut o| {
        if let Some(timestamp) = timestamp {
            o = o.raw("timestamp", timestamp.as_bytes());
        }
        o.time("server_time", now).end();
    });
    body("pong", data)
}
