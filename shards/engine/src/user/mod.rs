//! Users, homed on this shard: their connections, their rates, what they create and revoke, and the way of all their
//! commands to the rooms.

mod block;
mod change;
mod create;
mod memory;
mod presence;
mod query;

use std::collections::VecDeque;
use std::sync::Arc;

use crate::core::{Core, LoadFor, body, error, overloaded};
use crate::fanout::FrameBytes;
use crate::few::Few;
use crate::id::{ConnId, RoomId, UserId};
use crate::map::Map;
use crate::peer::{Asker, Caller, Origin, PeerMessage, Presence, Reply};
use crate::rate::{Bucket, Rate};
use crate::store::{Load, LoadError, Loaded};
use crate::time::{Mono, WallMs};
use crate::wire::{CloseCode, Command, CommandError, ErrorCode, ResumePoint};

use block::Blocking;
pub use block::set_block;
use change::UserOp;
use create::Creation;
use presence::Shown;
pub use query::sanction_list;

/// A connection of a user.
#[derive(Debug)]
struct UserConn {
    conn: ConnId,
    session_id: Arc<str>,
    expires_at: i64,
    since: WallMs,
}

/// One user with a connection or something under way.
#[derive(Debug)]
struct User {
    username: Arc<str>,
    /// Oldest first.
    conns: Vec<UserConn>,
    messages: Bucket,
    /// Made with the first command over HTTP.
    http: Option<Box<Bucket>>,
    creations: Few<Creation>,
    /// A creation is in the journal: the next one begins after it.
    creating: bool,
    /// Blocks that wait, the first one under way.
    blockings: Few<Blocking>,
    shown: Shown,
    pending: Few<UserOp>,
    submitted: usize,
    used: Mono,
}

/// Ids of rooms and sanctions that are ours to give.
#[derive(Debug, Default)]
struct Ids {
    next: u64,
    left: u32,
    loading: bool,
}

/// Ids reserved at a time.
const ID_BLOCK: u32 = 64;
/// Creations, and blocks, of one user that may wait; beyond: `OVERLOADED`.
const QUEUE_MAX: usize = 256;
/// Microseconds without a connection after which a user leaves memory (the buckets are full by then).
const USER_IDLE_US: u64 = 30_000_000;

/// The users homed here.
#[derive(Debug, Default)]
pub struct Users {
    map: Map<UserId, Box<User>>,
    ids: Ids,
    /// What was made last for a user to let others see: the next one's is often the same.
    presence_made: Arc<Presence>,
    /// Users whose presence others have not been told.
    presence_listed: VecDeque<UserId>,
    /// Users who have left, in that order; each at most once.
    leaving: VecDeque<(Mono, UserId)>,
    /// Users whose profile could not be asked for, or was not answered.
    profiles_wanted: VecDeque<UserId>,
    /// Users whose first block is committed, and its conversations could not be read; at most one per waiting block.
    blocks_untold: Vec<UserId>,
    /// What the next report of the memory looks at.
    cursor: crate::memory::Cursor,
}

/// A command with what its session says.
#[derive(Debug)]
pub struct UserCommand {
    /// Where the answer goes.
    pub origin: Origin,
    /// Who.
    pub caller: Caller,
    /// The session of the token.
    pub session_id: Arc<str>,
    /// End of the token, Unix seconds.
    pub expires_at: i64,
    /// What.
    pub command: Box<Command>,
}

impl Users {
    fn user(&mut self, core: &Core, caller: &Caller) -> &mut User {
        let now = core.now.mono;
        let user = self.map.entry(caller.user_id).or_insert_with(|| {
            Box::new(User {
                username: caller.username.clone(),
                conns: Vec::new(),
                messages: Bucket::full(message_rate(core), now),
                http: None,
                creations: Few::default(),
                creating: false,
                blockings: Few::default(),
                shown: Shown::default(),
                pending: Few::default(),
                submitted: 0,
                used: now,
            })
        });
        user.used = now;
        user
    }

    /// A connection has authenticated, or has a new token: conversations reach it from here on. The oldest beyond the
    /// limit goes.
    pub fn attach(&mut self, core: &mut Core, conn: ConnId, caller: &Caller, session_id: Arc<str>, expires_at: i64) {
        let most = core.limits.max_connections_per_user as usize;
        let since = core.now.wall;
        let user = self.user(core, caller);
        user.username = caller.username.clone();
        if let Some(known) = user.conns.iter_mut().find(|entry| entry.conn == conn) {
            // A new token makes no second connection: that would count against the limit, and get every push twice.
            known.session_id = session_id;
            known.expires_at = expires_at;
            return;
        }
        let is_first = user.conns.is_empty();
        let mut displaced = None;
        if most > 0 && user.conns.len() >= most {
            displaced = Some(user.conns.remove(0).conn);
        }
        user.conns.reserve_exact(1); // nearly everybody has one
        user.conns.push(UserConn { conn, session_id, expires_at, since });
        if let Some(conn) = displaced {
            core.send(conn.shard, PeerMessage::Close { conn, code: CloseCode::Displaced });
        }
        core.send(conn.shard, PeerMessage::Attached { conn });
        if is_first {
            self.came_online(core, caller.user_id);
        }
    }

    /// A connection is gone; so are its subscriptions.
    pub fn detach(&mut self, core: &mut Core, conn: ConnId, user_id: UserId, rooms: Vec<RoomId>) {
        let mut is_last = false;
        if let Some(user) = self.map.get_mut(&user_id) {
            let before = user.conns.len();
            user.conns.retain(|entry| entry.conn != conn);
            user.used = core.now.mono;
            is_last = before > 0 && user.conns.is_empty();
        }
        if is_last {
            self.went_offline(core, user_id);
        }
        for room_id in rooms {
            core.send(room_id.home(core.shards), PeerMessage::ConnGone { conn, user_id, room_id });
        }
    }

    /// Takes in a command: what is about a room goes on to its home.
    pub fn command(&mut self, core: &mut Core, request: UserCommand) {
        if let Err(error) = self.check_rate(core, &request) {
            return match (request.origin.asker, request.command.room_id()) {
                (Asker::Conn(_), Some(room_id)) => refused(core, request.origin, request.caller, room_id, error),
                _ => core.reply(request.origin, Err(error), None),
            };
        }
        let UserCommand { origin, caller, session_id, expires_at, mut command } = request;
        if let Command::SanctionUser(sanction) = &mut *command {
            // Without one the room refuses it, in its turn.
            sanction.sanction_id = self.next_id(core).unwrap_or(0);
        }
        if let Some(room_id) = command.room_id() {
            return self.forward(core, room_id, origin, caller, command);
        }
        match *command {
            Command::CreateRoom(create) => self.create_room(core, origin, caller, create),
            Command::CreateDm(create) => self.create_dm(core, origin, caller, create),
            Command::UpdateStatus { status, message } => self.update_status(core, origin, &caller, status, message),
            Command::BlockUser { user_id } => self.block(core, origin, caller, user_id, true),
            Command::UnblockUser { user_id } => self.block(core, origin, caller, user_id, false),
            Command::RevokeSession { session_id: target } => {
                self.revoke_session(core, origin, &caller, target, &session_id, expires_at);
            }
            Command::Logout { everywhere } => self.logout(core, origin, &caller, &session_id, expires_at, everywhere),
            Command::Ping { timestamp } => {
                let reply = crate::session::pong(timestamp.as_deref(), core.now.wall);
                core.reply(origin, Ok(reply), None);
            }
            other => self.query(core, origin, &caller, &session_id, expires_at, other),
        }
    }

    /// Sends a command on to its room, with what others may see of the caller.
    fn forward(&mut self, core: &mut Core, room_id: RoomId, origin: Origin, mut caller: Caller, command: Box<Command>) {
        let home = room_id.home(core.shards);
        if !core.peer_has_room(home) {
            return core.reply(origin, Err(overloaded()), None);
        }
        caller.presence = self.stamp(caller.user_id);
        core.send(home, PeerMessage::RoomCommand { origin, caller, command });
    }

    /// One part of a `resume` on its way to its room.
    pub fn resume(
        &mut self,
        core: &mut Core,
        conn: ConnId,
        mut caller: Caller,
        ticket: u64,
        part: u32,
        at: ResumePoint,
    ) {
        caller.presence = self.stamp(caller.user_id);
        core.send(at.room_id.home(core.shards), PeerMessage::RoomResume { conn, caller, ticket, part, at });
    }

    fn check_rate(&mut self, core: &Core, request: &UserCommand) -> Result<(), Box<CommandError>> {
        let (messages, commands) = (message_rate(core), command_rate(core));
        let now = core.now.mono;
        let is_http = matches!(request.origin.asker, Asker::Http { .. });
        let is_send = matches!(*request.command, Command::SendMessage(_));
        if !is_http && !is_send {
            return Ok(());
        }
        let user = self.user(core, &request.caller);
        if is_http {
            user.http
                .get_or_insert_with(|| Box::new(Bucket::full(commands, now)))
                .take(commands, now)
                .map_err(rate_limited)?;
        }
        if is_send {
            user.messages.take(messages, now).map_err(rate_limited)?;
        }
        Ok(())
    }

    /// A push for all connections of a user, and a notification after it.
    pub fn push(&mut self, core: &mut Core, user_id: UserId, frame: &FrameBytes, notify: Option<FrameBytes>) {
        let Some(user) = self.map.get(&user_id) else { return };
        for shard in 0..core.shards {
            let conns: Vec<ConnId> = user.conns.iter().map(|c| c.conn).filter(|c| c.shard.0 == shard).collect();
            if conns.is_empty() {
                continue;
            }
            let to = crate::id::ShardId(shard);
            if let Some(notify) = &notify {
                core.send(to, PeerMessage::Deliver { conns: conns.clone(), frame: frame.clone() });
                core.send(to, PeerMessage::Deliver { conns, frame: notify.clone() });
            } else {
                core.send(to, PeerMessage::Deliver { conns, frame: frame.clone() });
            }
        }
    }

    /// Passes on an answer that stays before the pushes.
    pub fn pass_reply(&mut self, core: &mut Core, reply: Box<Reply>) {
        core.send(reply.origin.asker.shard(), PeerMessage::Reply(reply));
    }

    /// A query of a user's is back.
    pub fn loaded(&mut self, core: &mut Core, purpose: LoadFor, result: Result<Loaded, LoadError>) {
        match purpose {
            LoadFor::UserQuery { origin, user_id, what } => self.query_loaded(core, origin, user_id, what, result),
            LoadFor::Creation { user_id } => self.creation_loaded(core, user_id, result),
            LoadFor::Profile { user_id } => self.profile_loaded(core, user_id, result),
            LoadFor::Block { user_id } => self.block_loaded(core, user_id, result),
            LoadFor::RoomIds => self.ids_loaded(core, result),
            other => unreachable!("{other:?} is no user's"),
        }
    }

    /// Reserves ids ahead of need.
    pub fn reserve_ids(&mut self, core: &mut Core) {
        if self.ids.left < ID_BLOCK / 4 && !self.ids.loading {
            self.ids.loading = true;
            core.load_always(Load::ReserveRooms { count: ID_BLOCK }, LoadFor::RoomIds);
        }
    }

    /// The next id of the block; `None`: more are on their way.
    fn next_id(&mut self, core: &mut Core) -> Option<u64> {
        let id = (self.ids.left > 0).then(|| {
            self.ids.left -= 1;
            self.ids.next += 1;
            self.ids.next - 1
        });
        self.reserve_ids(core);
        id
    }

    fn ids_loaded(&mut self, core: &mut Core, result: Result<Loaded, LoadError>) {
        self.ids.loading = false;
        if let Ok(Loaded::Reserved(first)) = result {
            // What is left of the block before is given up; ids are plenty.
            self.ids.next = first;
            self.ids.left = ID_BLOCK;
        }
        let mut users: Vec<UserId> =
            self.map.iter().filter(|(_, u)| !u.creations.is_empty()).map(|(id, _)| *id).collect();
        users.sort_unstable();
        for user_id in users {
            self.advance_waiting_for_ids(core, user_id);
        }
    }

    /// Forgets users who are gone.
    pub fn sweep(&mut self, core: &mut Core) {
        let now = core.now.mono;
        self.map.retain(|_, user| {
            !user.conns.is_empty()
                || !user.pending.is_empty()
                || !user.creations.is_empty()
                || !user.blockings.is_empty()
                || user.shown.is_busy()
                || now.since(user.used) < USER_IDLE_US
        });
        if self.map.len() < self.map.capacity() / 8 {
            self.map.shrink_to(2 * self.map.len());
        }
        core.stats.users_online = self.map.values().filter(|user| !user.conns.is_empty()).count() as u64;
    }
}

/// An error on its way to where the answers to the connection's other commands about this room come from.
pub fn refused(core: &mut Core, origin: Origin, caller: Caller, room_id: RoomId, error: Box<CommandError>) {
    let home = room_id.home(core.shards);
    if core.peer_has_room(home) {
        core.send(home, PeerMessage::RoomRefused { origin, caller, room_id, error });
    } else {
        core.reply(origin, Err(error), None);
    }
}

fn queue_full(waiting: usize) -> bool {
    waiting >= QUEUE_MAX
}

fn message_rate(core: &Core) -> Rate {
    Rate::per_minute(core.limits.max_messages_per_minute, core.limits.messages_burst)
}

fn command_rate(core: &Core) -> Rate {
    Rate::per_second(core.limits.commands_per_second, core.limits.commands_burst)
}

/// `RATE_LIMIT_EXCEEDED`, with the time until the next one is free.
pub fn rate_limited(retry_after_ms: u64) -> Box<CommandError> {
    let mut error = error(ErrorCode::RateLimitExceeded, "too many, wait a little");
    error.retry_after_ms = Some(retry_after_ms);
    error
}

fn empty_reply(kind: &'static str) -> crate::peer::ReplyBody {
    body(kind, b"{}".as_slice().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ShardConfig;
    use crate::id::ShardId;
    use crate::input::Role;
    use crate::limits::Limits;
    use crate::time::Now;

    #[test]
    fn new_tokens_of_one_connection_displace_nothing() {
        let now = Now { mono: Mono(0), wall: WallMs(0) };
        let limits = Limits { max_connections_per_user: 2, ..Limits::default() };
        let mut core = Core::new(&ShardConfig { id: ShardId(0), shards: 1, limits, writer_epoch: 1, seed: 1 }, now);
        let mut users = Users::default();
        let caller = Caller { user_id: UserId(1), username: "ada".into(), role: Role::User, presence: None };
        let conn = |slot| ConnId { shard: ShardId(0), slot, generation: 0 };
        let mut attach = |slot, session: &str| {
            users.attach(&mut core, conn(slot), &caller, session.into(), 1);
            let count = users.map[&UserId(1)].conns.len();
            let closed = core.peers[0].drain(..).filter(|message| matches!(message, PeerMessage::Close { .. })).count();
            (count, closed)
        };
        let steps = [
            (1, "a", (1, 0)),
            (1, "b", (1, 0)),
            (2, "c", (2, 0)),
            (1, "d", (2, 0)),
            (2, "e", (2, 0)),
            (3, "f", (2, 1)),
        ];
        for (slot, session, expected) in steps {
            assert_eq!(attach(slot, session), expected, "connection {slot}, session {session}");
        }
        let sessions: Vec<&str> = users.map[&UserId(1)].conns.iter().map(|entry| &*entry.session_id).collect();
        assert_eq!(sessions, ["e", "f"]);
    }
}
