//! What users ask that no room must answer: straight from the store.

use super::Users;
use crate::core::{Core, LoadFor, Outcome, UserQuery, body, error, overloaded};
use crate::id::UserId;
use crate::input::Role;
use crate::peer::{Caller, Origin, ReplyBody};
use crate::room::load_error;
use crate::store::{
    Cursor, DmSummary, EventRecord, Load, LoadError, Loaded, SanctionRow, SessionRow, UnreadRow, UserRow,
};
use crate::time::WallMs;
use crate::wire::encode::{kind_name, message_for, room_object, sanction_object, user_object};
use crate::wire::json::{Object, object};
use crate::wire::{Command, ErrorCode};

impl Users {
    pub(super) fn query(
        &mut self,
        core: &mut Core,
        origin: Origin,
        caller: &Caller,
        session_id: &str,
        expires_at: i64,
        command: Command,
    ) {
        let user_id = caller.user_id;
        let (load, what) = match command {
            Command::ListRooms { filter, query, limit, cursor } => {
                (Load::RoomPage { filter, user_id, query, limit, cursor }, UserQuery::Rooms)
            }
            Command::GetUnread => (Load::Unread { user_id }, UserQuery::Unread),
            Command::ListDms { limit, cursor } => (Load::DmPage { user_id, limit, cursor }, UserQuery::Dms),
            Command::GetMentions { limit, cursor } => {
                (Load::Mentions { reader: user_id, limit, cursor }, UserQuery::Mentions)
            }
            Command::SearchMessages(search) => (Load::Search { reader: user_id, search }, UserQuery::Search),
            Command::ListBlocks => (Load::Blocks { user_id }, UserQuery::Blocks),
            Command::ListSanctions { room_id: _, user_id: of, active, limit, cursor } => {
                let of = of.unwrap_or(user_id);
                if caller.role < Role::Moderator && of != user_id {
                    let error = error(ErrorCode::PermissionDenied, "only moderators see the sanctions of others");
                    return core.reply(origin, Err(error), None);
                }
                let now = core.now.wall;
                (Load::Sanctions { room_id: None, user_id: Some(of), active, now, limit, cursor }, UserQuery::Sanctions)
            }
            Command::LiftSanction { sanction_id, .. } => {
                (Load::Sanction { sanction_id }, UserQuery::Lift { caller: caller.clone(), sanction_id })
            }
            Command::GetUser { user_id } => (Load::User { user_id }, UserQuery::User),
            Command::ListUsers { query, limit, cursor } => (Load::UserPage { query, limit, cursor }, UserQuery::Users),
            Command::ListSessions => {
                (Load::Sessions { user_id }, UserQuery::Sessions { current: session_id.into(), expires_at })
            }
            other => {
                // The edges carry out what needs a connection; over HTTP it is refused before it comes here.
                let message = "this command needs a connection";
                debug_assert!(other.kind().connection_only());
                return core.reply(origin, Err(error(ErrorCode::InvalidRequest, message)), None);
            }
        };
        self.start(core, origin, user_id, load, what);
    }

    /// Looks for a session that is not connected, to revoke it.
    pub(super) fn find_session(&mut self, core: &mut Core, origin: Origin, caller: &Caller, target: Box<str>) {
        let load = Load::Sessions { user_id: caller.user_id };
        self.start(core, origin, caller.user_id, load, UserQuery::FindSession { caller: caller.clone(), target });
    }

    fn start(&mut self, core: &mut Core, origin: Origin, user_id: UserId, load: Load, what: UserQuery) {
        let purpose = LoadFor::UserQuery { origin, user_id, what };
        if let Err(LoadFor::UserQuery { origin, .. }) = core.load(load, purpose) {
            core.reply(origin, Err(overloaded()), None);
        }
    }

    pub(super) fn query_loaded(
        &mut self,
        core: &mut Core,
        origin: Origin,
        user_id: UserId,
        what: UserQuery,
        result: Result<Loaded, LoadError>,
    ) {
        let outcome: Outcome = match (what, result) {
            (_, Err(failure)) => Err(load_error(failure)),
            (UserQuery::Rooms, Ok(Loaded::RoomPage { rooms, next })) => Ok(list("room_list", &next, |o| {
                o.array("rooms", &rooms, |out, room| room_object(out, &room.meta, room.member_count, room.head))
            })),
            (UserQuery::Unread, Ok(Loaded::Unread(rows))) => Ok(unread(&rows)),
            (UserQuery::Dms, Ok(Loaded::DmPage { conversations, next })) => Ok(list("dm_list", &next, |o| {
                o.array("conversations", &conversations, |out, dm| dm_summary(out, dm, user_id))
            })),
            (UserQuery::Mentions, Ok(Loaded::Messages { messages, next })) => {
                Ok(message_list("mentions", &messages, &next, user_id))
            }
            (UserQuery::Search, Ok(Loaded::Messages { messages, next })) => {
                Ok(message_list("search_results", &messages, &next, user_id))
            }
            (UserQuery::Blocks, Ok(Loaded::Blocks(rows))) => Ok(block_list(&rows)),
            (UserQuery::Sanctions, Ok(Loaded::Sanctions { sanctions, next })) => {
                Ok(sanction_list(core.now.wall, &sanctions, &next))
            }
            (UserQuery::Lift { caller, sanction_id }, Ok(Loaded::Sanction(Some(row)))) => {
                let command = Command::LiftSanction { sanction_id, room_id: Some(row.room_id) };
                return self.forward(core, row.room_id, origin, caller, Box::new(command));
            }
            (UserQuery::Lift { .. }, Ok(Loaded::Sanction(None))) => Err(error(ErrorCode::NotFound, "no such sanction")),
            (UserQuery::User, Ok(Loaded::User(Some(user)))) => Ok(user_body(&user)),
            (UserQuery::User, Ok(Loaded::User(None))) => Err(error(ErrorCode::UserNotFound, "no such user")),
            (UserQuery::Users, Ok(Loaded::UserPage { users, next })) => {
                Ok(list("user_list", &next, |o| o.array("users", &users, user_object)))
            }
            (UserQuery::Sessions { current, expires_at }, Ok(Loaded::Sessions(rows))) => {
                Ok(self.sessions(core.now.wall, user_id, rows, &current, expires_at))
            }
            (UserQuery::FindSession { caller, target }, Ok(Loaded::Sessions(rows))) => {
                return match rows.iter().find(|row| row.session_id == target) {
                    Some(row) => self.revoke(core, origin, &caller, target, row.expires_at),
                    None => Users::no_session(core, origin),
                };
            }
            (what, Ok(other)) => unreachable!("{what:?} was answered with {other:?}"),
        };
        core.reply(origin, outcome, None);
    }

    /// Stored sessions, and those of foreign tokens that are connected now.
    fn sessions(
        &self,
        now: WallMs,
        user_id: UserId,
        mut rows: Vec<SessionRow>,
        current: &str,
        expires_at: i64,
    ) -> ReplyBody {
        let conns = self.map.get(&user_id).map_or(&[][..], |user| &user.conns[..]);
        let live = conns.iter().map(|entry| (&*entry.session_id, entry.since, entry.expires_at));
        for (session_id, since, expires_at) in live.chain([(current, now, expires_at)]) {
            if !rows.iter().any(|row| *row.session_id == *session_id) {
                rows.push(SessionRow {
                    session_id: session_id.into(),
                    created_at: since,
                    last_used_at: now,
                    expires_at,
                });
            }
        }
        let data = object(|o| {
            o.array("sessions", &rows, |out, row| {
                let connections = conns.iter().filter(|entry| *entry.session_id == *row.session_id).count();
                Object::new(out)
                    .text("session_id", &row.session_id)
                    .flag("current", *row.session_id == *current)
                    .uint("connections", connections as u64)
                    .time("created_at", row.created_at)
                    .time("last_used_at", row.last_used_at)
                    .time("expires_at", WallMs(row.expires_at.saturating_mul(1000)))
                    .end();
            })
            .end();
        });
        body("session_list", data)
    }
}

/// A page with its cursor.
fn list(kind: &'static str, next: &Option<Box<str>>, fill: impl for<'b> FnOnce(Object<'b>) -> Object<'b>) -> ReplyBody {
    body(kind, object(|o| fill(o).opt_text("next_cursor", next.as_deref()).end()))
}

fn message_list(kind: &'static str, messages: &[EventRecord], next: &Cursor, reader: UserId) -> ReplyBody {
    list(kind, next, |o| {
        // Search and inbox show what is there, not what was.
        let shown = messages.iter().filter(|record| !record.is_deleted());
        o.array("messages", shown, |out, record| message_for(out, record, reader))
    })
}

fn block_list(rows: &[(UserRow, WallMs)]) -> ReplyBody {
    let data = object(|o| {
        o.array("users", rows, |out, (user, at)| {
            let o = Object::new(out).uint("user_id", user.user_id.0).text("username", &user.username);
            o.time("blocked_at", *at).end();
        })
        .end();
    });
    body("block_list", data)
}

/// The reply to `list_sanctions`.
pub fn sanction_list(now: WallMs, rows: &[(SanctionRow, Box<str>)], next: &Cursor) -> ReplyBody {
    list("sanction_list", next, |o| {
        o.array("sanctions", rows, |out, (row, username)| sanction_object(out, row, username, now))
    })
}

fn user_body(user: &UserRow) -> ReplyBody {
    let mut data = Vec::with_capacity(128);
    user_object(&mut data, user);
    body("user", data)
}

fn unread(rows: &[UnreadRow]) -> ReplyBody {
    let data = object(|o| {
        o.array("rooms", rows, |out, row| {
            Object::new(out)
                .uint("room_id", row.room_id.0)
                .text("kind", kind_name(row.kind))
                .uint("epoch", row.epoch)
                .uint("last_seq", row.head.0)
                .uint("last_read_seq", row.last_read_seq.0)
                .uint("unread_count", row.unread_count)
                .uint("mention_count", row.mention_count)
                .end();
        })
        .end();
    });
    body("unread", data)
}

fn dm_summary(out: &mut Vec<u8>, dm: &DmSummary, reader: UserId) {
    let mut o = Object::new(out).uint("conversation_id", dm.unread.room_id.0).array("users", &dm.users, user_object);
    match &dm.last_message {
        Some(record) => message_for(o.key("last_message"), record, reader),
        None => o.key("last_message").extend_from_slice(b"null"),
    }
    o.uint("epoch", dm.unread.epoch)
        .uint("last_seq", dm.unread.head.0)
        .uint("last_read_seq", dm.unread.last_read_seq.0)
        .uint("unread_count", dm.unread.unread_count)
        .flag("is_blocked", dm.is_blocked)
        .end();
}
