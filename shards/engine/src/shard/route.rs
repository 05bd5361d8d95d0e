//! What comes from other shards and from the store's queries, on its way to the part that it is for.

use super::Shard;
use crate::core::LoadFor;
use crate::peer::PeerMessage;
use crate::room::Work;
use crate::store::{LoadError, Loaded};
use crate::user::{UserCommand, refused, set_block};

impl Shard {
    pub(super) fn peer(&mut self, message: PeerMessage) {
        use PeerMessage as M;
        let core = &mut self.core;
        match message {
            M::Attach { conn, caller, session_id, expires_at } => {
                self.users.attach(core, conn, &caller, session_id, expires_at);
            }
            M::Detach { conn, user_id, rooms } => self.users.detach(core, conn, user_id, rooms),
            M::Unlist { conn, user_id, room_id } => {
                core.send(room_id.home(core.shards), M::ConnGone { conn, user_id, room_id });
            }
            M::Command { origin, caller, session_id, expires_at, command } => {
                self.users.command(core, UserCommand { origin, caller, session_id, expires_at, command });
            }
            M::ResumeRoom { conn, caller, ticket, part, at } => self.users.resume(core, conn, caller, ticket, part, at),
            M::Attached { conn } => self.sessions.attached(core, conn),
            M::Close { conn, code } => self.sessions.close(core, conn, code),
            M::Deliver { conns, frame } => self.sessions.deliver(core, &conns, frame),
            M::DeliverEphemeral { conns, frame } => self.sessions.deliver_ephemeral(core, &conns, frame),
            M::RoomCommand { origin, caller, command } => {
                let Some(room_id) = command.room_id() else { unreachable!("only commands about rooms come here") };
                self.room_work(room_id, Work::Command { origin, caller, command });
            }
            M::Refused { origin, caller, room_id, error } => refused(core, origin, caller, room_id, error),
            M::RoomRefused { origin, caller, room_id, error } => {
                self.room_work(room_id, Work::Refused { origin, caller, error });
            }
            M::RoomResume { conn, caller, ticket, part, at } => {
                self.room_work(at.room_id, Work::Resume { conn, caller, ticket, part, at });
            }
            M::ConnGone { conn, room_id, .. } => {
                if let Some(room) = self.rooms.get(room_id) {
                    room.conn_gone(core, conn);
                }
                self.rooms.note_online(room_id);
            }
            M::RoomCreated { room_id, state, duplicate, origin, caller } => {
                if let Some(state) = state {
                    self.rooms.install(core, *state);
                }
                self.room_work(room_id, Work::Created { origin, caller, duplicate });
            }
            M::Reply(reply) => self.sessions.reply(core, *reply),
            M::Event { room_id, seq, frame, more } => self.sessions.event(core, room_id, seq, frame, more),
            M::Ephemeral { room_id, frame, except } => self.sessions.ephemeral(core, room_id, frame, &except),
            M::Resumed { conn, ticket, part, verdict } => self.sessions.resumed(core, conn, ticket, part, verdict),
            M::Replay { conn, room_id, frames, head: _, lost } => {
                self.sessions.replay(core, conn, room_id, frames, lost);
            }
            M::Expel { room_id, user_id: _, conns } => self.sessions.expel(core, room_id, &conns),
            M::ReplayPage { conn, room_id, after } => self.room_work(room_id, Work::Page { conn, after }),
            M::UserPush { user_id, frame, notify } => self.users.push(core, user_id, &frame, notify),
            M::UserReply { user_id: _, reply } => self.users.pass_reply(core, reply),
            M::Revoked(revocation) => self.sessions.revoked(core, revocation),
            M::PresenceOf { conns, user_id, presence } => self.sessions.presence_of(core, &conns, user_id, &presence),
            M::RoomPresence { room_id, user_id, presence } => self.rooms.presence(room_id, user_id, &presence),
            M::UserEphemeral { user_id, frame } => self.users.ephemeral(core, user_id, &frame),
            M::NewContact { user_id, room_id, others } => self.users.new_contact(user_id, room_id, others),
            M::SetBlock(mut set) => {
                if let Some(room_id) = set.room_ids.pop() {
                    self.rooms.set_block(room_id, (set.blocker, set.blocked), set.on);
                }
                set_block(core, set);
            }
            M::AskStatus { room_id, origin, caller, page } => {
                self.users.add_status(core, room_id, origin, caller, page);
            }
            M::Statuses { room_id, origin, caller, page } => match self.rooms.get(room_id) {
                Some(room) => room.statuses_known(core, origin, &caller, &page),
                None => unreachable!("a room with a query under way stays in memory"),
            },
        }
    }

    fn room_work(&mut self, room_id: crate::id::RoomId, work: Work) {
        self.rooms.work(&mut self.core, room_id, work);
        self.rooms.note_online(room_id);
    }

    pub(super) fn loaded(&mut self, purpose: LoadFor, result: Result<Loaded, LoadError>) {
        let core = &mut self.core;
        match purpose {
            LoadFor::ConnIdentity { conn } => self.sessions.identity_loaded(core, conn, result),
            LoadFor::HttpIdentity { ticket } => self.sessions.http_identity_loaded(core, ticket, result),
            purpose @ (LoadFor::UserQuery { .. }
            | LoadFor::Creation { .. }
            | LoadFor::Profile { .. }
            | LoadFor::Block { .. }
            | LoadFor::RoomIds) => self.users.loaded(core, purpose, result),
            LoadFor::Room { room_id, asked } => {
                let state = result.map(|loaded| match loaded {
                    Loaded::Room(state) => state,
                    other => unreachable!("a room's load was answered with {other:?}"),
                });
                self.rooms.loaded(core, room_id, &asked, state);
                self.rooms.note_online(room_id);
            }
            LoadFor::Members { room_id, asked } => {
                let rows = result.map(|loaded| match loaded {
                    Loaded::Members(rows) => rows,
                    other => unreachable!("a load of members was answered with {other:?}"),
                });
                if let Some(room) = self.rooms.get(room_id) {
                    room.members_loaded(core, &asked, rows);
                }
                self.rooms.note_online(room_id);
            }
            LoadFor::RoomQuery { room_id, origin, caller, what, asked } => {
                match self.rooms.get(room_id) {
                    Some(room) => room.query_loaded(core, origin, caller, *what, asked, result),
                    None => unreachable!("a room with a query under way stays in memory"),
                }
                self.rooms.note_online(room_id);
            }
            LoadFor::Message { room_id, message_id, reader } => {
                if let Some(room) = self.rooms.get(room_id) {
                    room.message_loaded(core, message_id, reader, result);
                }
                self.rooms.note_online(room_id);
            }
            LoadFor::Names { room_id, names } => {
                if let Some(room) = self.rooms.get(room_id) {
                    room.names_loaded(core, &names, result);
                }
                self.rooms.note_online(room_id);
            }
            LoadFor::Telling(telling) => self.rooms.tell(core, *telling, result),
            LoadFor::PinCount { room_id } => {
                if let Some(room) = self.rooms.get(room_id) {
                    room.pins_counted(core, result);
                }
            }
            LoadFor::Replay { room_id, conn, after } => {
                if let Some(room) = self.rooms.get(room_id) {
                    room.replay_loaded(core, conn, after, result);
                }
            }
        }
    }
}
