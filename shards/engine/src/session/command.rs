//! Commands on their way in.

use super::{Phase, Resuming, Sessions, command_rate, pong};
use crate::core::{Core, error, overloaded};
use crate::effect::Effect;
use crate::fanout::{Frame, FrameClass};
use crate::id::{ConnId, RoomId};
use crate::input::VerifyFor;
use crate::peer::{Asker, Origin, PeerMessage};
use crate::user::rate_limited;
use crate::wire::encode::{error_frame, reply_frame};
use crate::wire::{CloseCode, Command, CommandError, CommandType, ErrorCode, RequestId, ResumePoint};

/// RATE_LIMIT_EXCEEDED in a minute, beyond which a connection is closed with 3004.
const RATE_LIMIT_ABUSE: u32 = 1000;

impl Sessions {
    /// A text message came in.
    pub fn text(&mut self, core: &mut Core, conn: ConnId, text: &mut [u8]) {
        let (now, rate) = (core.now.mono, command_rate(core));
        let Some(session) = self.get(conn) else { return };
        session.last_seen = now;
        let stranger = matches!(session.phase, Phase::Anonymous);
        let allowed = session.commands.take(rate, now);
        let parsed = self.parser.parse(text);
        let room_id = parsed.room_id.or_else(|| parsed.command.as_ref().ok().and_then(Command::room_id));
        if let Err(wait_ms) = allowed {
            return self.refuse_in_turn(core, conn, parsed.id, room_id, rate_limited(wait_ms));
        }
        match parsed.command {
            // Who has not authenticated is told that first, whatever else is wrong with the command.
            Err(_) if stranger && parsed.kind.is_some_and(|kind| kind != CommandType::Authenticate) => {
                self.send_error(core, conn, parsed.id.as_ref(), &unauthenticated());
            }
            Err(error) if room_id.is_some() => {
                self.refuse_in_turn(core, conn, parsed.id, room_id, Box::new(error));
            }
            Err(error) => self.bad_frame(core, conn, parsed.id.as_ref(), &error),
            Ok(command) => {
                core.stats.commands.0[command.kind() as usize] += 1;
                self.arrived(core, conn, parsed.id, command);
            }
        }
    }

    /// Answers with an error; behind the answers that are under way, if it is about a room.
    fn refuse_in_turn(
        &mut self,
        core: &mut Core,
        conn: ConnId,
        id: Option<RequestId>,
        room_id: Option<RoomId>,
        error: Box<CommandError>,
    ) {
        let Some(session) = self.get(conn) else { return };
        match (&session.phase, room_id) {
            (Phase::Ready(user), Some(room_id)) if session.inflight > 0 && !session.defers() => {
                let caller = user.caller.clone();
                let home = caller.user_id.home(core.shards);
                if core.peer_has_room(home) {
                    session.inflight += 1;
                    let origin = Origin { asker: Asker::Conn(conn), id };
                    core.send(home, PeerMessage::Refused { origin, caller, room_id, error });
                    return self.restrain(core, conn);
                }
            }
            _ => {}
        }
        self.send_error(core, conn, id.as_ref(), &error);
    }

    fn bad_frame(&mut self, core: &mut Core, conn: ConnId, id: Option<&RequestId>, error: &CommandError) {
        self.send_error(core, conn, id, error);
        let limit = core.limits.malformed_frames;
        if error.code != ErrorCode::InvalidJson || limit == 0 {
            return;
        }
        let now = core.now.mono;
        if self.get(conn).is_some_and(|session| session.faults().malformed.add(now) > limit) {
            self.close(core, conn, CloseCode::Malformed);
        }
    }

    fn arrived(&mut self, core: &mut Core, conn: ConnId, id: Option<RequestId>, command: Command) {
        let Some(session) = self.get(conn) else { return };
        match (&session.phase, command) {
            (Phase::Ready(_), command) => self.dispatch(core, conn, id, command),
            (Phase::Anonymous, Command::Authenticate { token }) => {
                session.phase = Phase::Verifying;
                core.effects.push_back(Effect::Verify { conn, purpose: VerifyFor::Authenticate(id), token });
            }
            (Phase::Verifying | Phase::Authenticating(_), Command::Authenticate { .. }) => {
                self.send_error(core, conn, id.as_ref(), &already_authenticated());
            }
            (Phase::Verifying | Phase::Authenticating(_), command) => self.defer(core, conn, id, command),
            (Phase::Anonymous, _) => {
                self.send_error(core, conn, id.as_ref(), &unauthenticated());
            }
        }
    }

    /// Keeps a command until those before it have been answered.
    fn defer(&mut self, core: &mut Core, conn: ConnId, id: Option<RequestId>, command: Command) {
        let most = core.limits.inflight_per_conn_max as usize;
        let Some(session) = self.get(conn) else { return };
        if session.deferred.len() >= most {
            return self.send_error(core, conn, id.as_ref(), &overloaded());
        }
        session.deferred.push_back((id, command));
        self.restrain(core, conn);
    }

    /// What was waited for is through.
    pub(super) fn dispatch_deferred(&mut self, core: &mut Core, conn: ConnId) {
        while let Some(session) = self.get(conn) {
            if session.defers() {
                return;
            }
            let Some((id, command)) = session.deferred.pop_front() else { break };
            self.dispatch(core, conn, id, command);
        }
        self.relax(core, conn);
    }

    /// A command of an authenticated connection.
    pub(super) fn dispatch(&mut self, core: &mut Core, conn: ConnId, id: Option<RequestId>, command: Command) {
        match command {
            Command::Ping { timestamp } => {
                let reply = pong(timestamp.as_deref(), core.now.wall);
                self.send_reply(core, conn, id.as_ref(), reply.kind, &reply.data);
            }
            _ if core.draining => {
                let error = error(ErrorCode::Draining, "the server is going down");
                self.send_error(core, conn, id.as_ref(), &error);
            }
            Command::Authenticate { .. } => self.send_error(core, conn, id.as_ref(), &already_authenticated()),
            command if self.get(conn).is_some_and(|session| session.defers()) => self.defer(core, conn, id, command),
            Command::RefreshToken { token } => {
                core.effects.push_back(Effect::Verify { conn, purpose: VerifyFor::Refresh(id), token });
            }
            Command::Resume { rooms } => self.resume(core, conn, id, rooms),
            command => self.forward(core, conn, id, command),
        }
    }

    fn forward(&mut self, core: &mut Core, conn: ConnId, id: Option<RequestId>, command: Command) {
        let subscribes = match &command {
            Command::Subscribe { at } | Command::JoinRoom { at } => Some(Some(at.room_id)),
            Command::CreateRoom(_) => Some(None),
            _ => None,
        };
        let most = core.limits.max_subscriptions;
        let Some(session) = self.get(conn) else { return };
        let Phase::Ready(user) = &session.phase else { return };
        let home = user.caller.user_id.home(core.shards);
        if !core.peer_has_room(home) {
            return self.send_error(core, conn, id.as_ref(), &overloaded());
        }
        if let Some(room_id) = subscribes {
            let known = session.subs.iter().any(|sub| Some(sub.room_id) == room_id);
            if !known && most > 0 && session.subscribed() as u32 + session.subscribing >= most {
                let mut error = error(ErrorCode::InvalidRequest, "too many subscriptions on this connection");
                error.field = room_id.map(|_| "room_id");
                return self.refuse_in_turn(core, conn, id, room_id, error);
            }
            session.subscribing += u32::from(!known);
        }
        session.inflight += 1;
        let message = PeerMessage::Command {
            origin: Origin { asker: Asker::Conn(conn), id },
            caller: user.caller.clone(),
            session_id: user.session_id.clone(),
            expires_at: user.expires_at,
            command: Box::new(command),
        };
        core.send(home, message);
        self.restrain(core, conn);
    }

    fn resume(&mut self, core: &mut Core, conn: ConnId, id: Option<RequestId>, rooms: Vec<ResumePoint>) {
        let most = core.limits.max_subscriptions as usize;
        if most > 0 && rooms.len() > most {
            let error = CommandError::field("rooms", "more rooms than limits.max_subscriptions");
            return self.send_error(core, conn, id.as_ref(), &error);
        }
        self.next_ticket += 1;
        let ticket = self.next_ticket;
        let Some(session) = self.get(conn) else { return };
        let Phase::Ready(user) = &session.phase else { return };
        let home = user.caller.user_id.home(core.shards);
        if core.peers[usize::from(home.0)].len() + rooms.len() >= core.limits.peer_queue_max {
            return self.send_error(core, conn, id.as_ref(), &overloaded());
        }
        let caller = user.caller.clone();
        session.inflight += 1;
        let verdicts = (0..rooms.len()).map(|_| None).collect();
        session.resumes.push_back(Resuming { ticket, id, verdicts, fresh: Vec::new(), missing: rooms.len() });
        for (part, at) in rooms.into_iter().enumerate() {
            let caller = caller.clone();
            core.send(home, PeerMessage::ResumeRoom { conn, caller, ticket, part: part as u32, at });
        }
        self.resumed_if_complete(core, conn, ticket);
        self.restrain(core, conn);
    }

    /// Stops reading while too much of this connection is under way.
    pub(super) fn restrain(&mut self, core: &mut Core, conn: ConnId) {
        let (commands, bytes) = (core.limits.inflight_per_conn_max, core.limits.reply_bytes_max);
        let Some(session) = self.get(conn) else { return };
        let waits = session.defers();
        let much = session.inflight >= commands || session.outbox.reply_bytes() >= bytes;
        if !session.paused && (waits || much) {
            session.paused = true;
            core.effects.push_back(Effect::Pause { conn });
        }
    }

    /// Reads again when half of it is through.
    pub(super) fn relax(&mut self, core: &mut Core, conn: ConnId) {
        let (commands, bytes) = (core.limits.inflight_per_conn_max / 2, core.limits.reply_bytes_max / 2);
        let Some(session) = self.get(conn) else { return };
        let waits = session.defers();
        if session.paused && !waits && session.inflight <= commands && session.outbox.reply_bytes() <= bytes {
            session.paused = false;
            core.effects.push_back(Effect::Resume { conn });
        }
    }

    /// Writes a reply, if it was asked for by id.
    pub(super) fn send_reply(
        &mut self,
        core: &mut Core,
        conn: ConnId,
        id: Option<&RequestId>,
        kind: &'static str,
        data: &[u8],
    ) {
        let Some(id) = id else { return };
        if self.get(conn).is_some() {
            self.push_reply(core, conn.slot, reply_frame(kind, id, data));
            self.restrain(core, conn);
        }
    }

    /// Writes an error. Too many of one kind end the connection.
    pub(super) fn send_error(&mut self, core: &mut Core, conn: ConnId, id: Option<&RequestId>, error: &CommandError) {
        core.stats.errors[error.code as usize] += 1;
        let now = core.now.mono;
        let Some(session) = self.get(conn) else { return };
        let abuse = error.code == ErrorCode::RateLimitExceeded && session.faults().limited.add(now) > RATE_LIMIT_ABUSE;
        self.push(core, conn.slot, Frame::new(error_frame(id, error)), FrameClass::Reply);
        if abuse {
            return self.close(core, conn, CloseCode::RateLimitAbuse);
        }
        self.restrain(core, conn);
    }
}

fn unauthenticated() -> Box<CommandError> {
    error(ErrorCode::Unauthenticated, "authenticate first")
}

fn already_authenticated() -> Box<CommandError> {
    error(ErrorCode::InvalidRequest, "this connection has authenticated already")
}
