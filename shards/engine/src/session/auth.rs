//! From a token to a user: verified at the edge, looked up in the store, entered at the user's home.

use std::rc::Rc;

use super::identities::Known;
use super::{Pending, Phase, SessionUser, Sessions};
use crate::core::{Core, LoadFor, error, overloaded, store_unavailable};
use crate::fanout::{Frame, FrameClass};
use crate::id::{ConnId, UserId};
use crate::input::{Identity, TokenError, VerifyFor};
use crate::peer::PeerMessage;
use crate::store::{Load, LoadError, Loaded, Revocation, UserRow};
use crate::time::{Mono, SECOND_US, WallMs};
use crate::wire::encode::{push_frame, reply_frame};
use crate::wire::json::object;
use crate::wire::{CloseCode, CommandError, ErrorCode, RequestId};

pub(super) fn invalid_token() -> Box<CommandError> {
    error(ErrorCode::InvalidToken, "the token is not acceptable")
}

fn token_error(failure: TokenError) -> Box<CommandError> {
    match failure {
        TokenError::Invalid => invalid_token(),
        TokenError::Expired => error(ErrorCode::TokenExpired, "the token has ended"),
    }
}

impl Sessions {
    /// The edge has looked at a token.
    pub fn verified(
        &mut self,
        core: &mut Core,
        conn: ConnId,
        purpose: VerifyFor,
        result: Result<Box<Identity>, TokenError>,
    ) {
        match purpose {
            VerifyFor::Authenticate(id) => self.authenticate_with(core, conn, id, result),
            VerifyFor::Refresh(id) => self.refresh_with(core, conn, id, result),
        }
    }

    fn authenticate_with(
        &mut self,
        core: &mut Core,
        conn: ConnId,
        id: Option<RequestId>,
        result: Result<Box<Identity>, TokenError>,
    ) {
        if !self.get(conn).is_some_and(|session| matches!(session.phase, Phase::Verifying)) {
            return;
        }
        match result {
            Ok(identity) => self.authenticate(core, conn, identity, id),
            Err(failure) => {
                self.send_error(core, conn, id.as_ref(), &token_error(failure));
                let code = match failure {
                    TokenError::Invalid => CloseCode::InvalidToken,
                    TokenError::Expired => CloseCode::TokenExpired,
                };
                self.close(core, conn, code);
            }
        }
    }

    /// A good token: finds its user.
    pub(super) fn authenticate(
        &mut self,
        core: &mut Core,
        conn: ConnId,
        identity: Box<Identity>,
        reply_to: Option<RequestId>,
    ) {
        if self.revoked_sessions.contains_key(&*identity.session_id) {
            return self.refuse_auth(core, conn, reply_to.as_ref(), &invalid_token(), CloseCode::SessionRevoked);
        }
        let known = self.identities.find(&identity, core.now.mono);
        let load = known.is_none().then(|| Load::Identify { identity: identity.clone() });
        let Some(session) = self.get(conn) else { return };
        let pending = Pending { identity, reply_to, found: None };
        session.phase = Phase::Authenticating(Box::new(pending));
        if let Some(found) = known {
            return self.identified(core, conn, found);
        }
        if load.is_none_or(|load| core.load(load, LoadFor::ConnIdentity { conn }).is_err()) {
            self.fail_auth(core, conn, &overloaded());
        }
    }

    /// The commands that came with the token are not lost when reading goes on after a queue was full.
    fn fail_auth(&mut self, core: &mut Core, conn: ConnId, error: &CommandError) {
        self.refuse_pending(core, conn, error, CloseCode::ServerError);
    }

    /// Refuses what the connection's phase is about; the error carries the id of its `authenticate`.
    fn refuse_pending(&mut self, core: &mut Core, conn: ConnId, error: &CommandError, code: CloseCode) {
        let Some(session) = self.get(conn) else { return };
        let reply_to = match &mut session.phase {
            Phase::Authenticating(pending) => pending.reply_to.take(),
            _ => None,
        };
        self.refuse_auth(core, conn, reply_to.as_ref(), error, code);
    }

    fn refuse_auth(
        &mut self,
        core: &mut Core,
        conn: ConnId,
        id: Option<&RequestId>,
        error: &CommandError,
        code: CloseCode,
    ) {
        self.send_error(core, conn, id, error);
        self.close(core, conn, code);
    }

    pub(super) fn remember_identity(&mut self, core: &Core, identity: &Identity, user: &UserRow) -> Rc<Known> {
        self.identities.remember(core.limits.identities_max, identity, user, core.now.mono)
    }

    pub(super) fn is_revoked(&self, identity: &Identity, user_id: UserId) -> bool {
        self.revoked_sessions.contains_key(&*identity.session_id)
            || self
                .revoked_users
                .get(&user_id)
                .is_some_and(|before| identity.issued_at.is_none_or(|issued| issued < *before))
    }

    /// The store has found (or made) the user of a connection's token.
    pub fn identity_loaded(&mut self, core: &mut Core, conn: ConnId, result: Result<Loaded, LoadError>) {
        let Some(session) = self.get(conn) else { return };
        let Phase::Authenticating(pending) = &session.phase else { return };
        let identity = pending.identity.clone();
        match result {
            Ok(Loaded::User(Some(user))) => {
                let found = self.remember_identity(core, &identity, &user);
                self.identified(core, conn, found);
            }
            Ok(_) => {
                let error = error(ErrorCode::InvalidToken, "the token's user is unknown here");
                self.refuse_pending(core, conn, &error, CloseCode::InvalidToken);
            }
            Err(_) => self.fail_auth(core, conn, &store_unavailable()),
        }
    }

    fn identified(&mut self, core: &mut Core, conn: ConnId, found: Rc<Known>) {
        let Some(session) = self.get(conn) else { return };
        let Phase::Authenticating(pending) = &mut session.phase else { return };
        let (user_id, caller) = (found.user_id, found.caller(&pending.identity));
        let (session_id, expires_at) = (pending.identity.session_id.clone(), pending.identity.expires_at);
        pending.found = Some(found);
        let Some(Phase::Authenticating(pending)) = self.get_ref(conn).map(|session| &session.phase) else { return };
        if self.is_revoked(&pending.identity, user_id) {
            return self.refuse_pending(core, conn, &invalid_token(), CloseCode::SessionRevoked);
        }
        core.send(user_id.home(core.shards), PeerMessage::Attach { conn, caller, session_id, expires_at });
    }

    /// The user's home knows the connection: it is ready.
    pub fn attached(&mut self, core: &mut Core, conn: ConnId) {
        let now = core.now;
        let Some(session) = self.get(conn) else { return };
        if !matches!(session.phase, Phase::Authenticating(_)) {
            return; // closing meanwhile
        }
        let Phase::Authenticating(pending) = std::mem::replace(&mut session.phase, Phase::Anonymous) else {
            unreachable!("matched above")
        };
        let Pending { identity, reply_to, found } = *pending;
        let found = found.expect("attached after it was identified");
        let user = SessionUser {
            caller: found.caller(&identity),
            known: found,
            session_id: identity.session_id,
            expires_at: identity.expires_at,
            expires: expiry(now.mono, now.wall, identity.expires_at),
            warned: false,
            moved: None,
        };
        let data = auth_success(core, &user);
        session.phase = Phase::Ready(Box::new(user));
        core.stats.authenticated += 1;
        core.stats.authentications += 1;
        let frame = match &reply_to {
            Some(id) => reply_frame("auth_success", id, &data),
            None => push_frame("auth_success", &data),
        };
        self.push(core, conn.slot, Frame::new(frame), FrameClass::Reply);
        self.set_timer(core, conn);
        self.dispatch_deferred(core, conn);
    }

    fn refresh_with(
        &mut self,
        core: &mut Core,
        conn: ConnId,
        id: Option<RequestId>,
        result: Result<Box<Identity>, TokenError>,
    ) {
        let now = core.now;
        let checked = match result {
            Err(failure) => Err(token_error(failure)),
            Ok(identity) => Ok(identity),
        };
        let revoked = |this: &Sessions, identity: &Identity, user_id| this.is_revoked(identity, user_id);
        let Some((user_id, known)) = self.ready_user(conn) else { return };
        let outcome = checked.and_then(|identity| {
            let ok = known.is_named_by(&identity) && !revoked(self, &identity, user_id);
            if ok { Ok(identity) } else { Err(invalid_token()) }
        });
        match outcome {
            Err(error) => self.send_error(core, conn, id.as_ref(), &error),
            Ok(identity) => {
                let Some(session) = self.get(conn) else { return };
                let Phase::Ready(user) = &mut session.phase else { return };
                user.expires_at = identity.expires_at;
                user.expires = expiry(now.mono, now.wall, identity.expires_at);
                user.warned = false;
                user.caller.role = identity.role;
                user.session_id = identity.session_id.clone();
                let caller = user.caller.clone();
                let (session_id, expires_at) = (identity.session_id, identity.expires_at);
                core.send(user_id.home(core.shards), PeerMessage::Attach { conn, caller, session_id, expires_at });
                let data = object(|o| o.time("expires_at", WallMs(expires_at.saturating_mul(1000))).end());
                self.send_reply(core, conn, id.as_ref(), "token_refreshed", &data);
                self.set_timer(core, conn);
            }
        }
    }

    fn ready_user(&mut self, conn: ConnId) -> Option<(UserId, Rc<Known>)> {
        match &self.get(conn)?.phase {
            Phase::Ready(user) => Some((user.caller.user_id, user.known.clone())),
            _ => None,
        }
    }

    /// A session's or a user's tokens are over: their connections end at once.
    pub fn revoked(&mut self, core: &mut Core, revocation: Revocation) {
        let hit: Vec<ConnId> = self
            .slots
            .iter()
            .flatten()
            .filter(|session| match (&session.phase, &revocation) {
                (Phase::Ready(user), Revocation::Session { session_id, .. }) => *user.session_id == **session_id,
                (Phase::Ready(user), Revocation::User { user_id, .. }) => user.caller.user_id == *user_id,
                (Phase::Authenticating(pending), Revocation::Session { session_id, .. }) => {
                    *pending.identity.session_id == **session_id
                }
                (Phase::Authenticating(pending), Revocation::User { user_id, .. }) => {
                    pending.found.as_ref().is_some_and(|found| found.user_id == *user_id)
                }
                (Phase::Anonymous | Phase::Verifying, _) => false,
            })
            .map(|session| session.conn)
            .collect();
        match revocation {
            Revocation::Session { session_id, expires_at } => {
                self.revoked_sessions.insert(session_id, expires_at);
            }
            Revocation::User { user_id, before } => {
                let latest = self.revoked_users.entry(user_id).or_insert(before);
                *latest = before.max(*latest);
            }
        }
        for conn in hit {
            self.close(core, conn, CloseCode::SessionRevoked);
        }
    }

    /// All connections of a user here end with this code.
    pub fn disconnect_user(&mut self, core: &mut Core, user_id: UserId, code: CloseCode) {
        let hit: Vec<ConnId> = self
            .slots
            .iter()
            .flatten()
            .filter(|session| matches!(&session.phase, Phase::Ready(user) if user.caller.user_id == user_id))
            .map(|session| session.conn)
            .collect();
        for conn in hit {
            self.close(core, conn, code);
        }
    }

    /// Forgets revocations whose tokens have ended by themselves, and users who have gone.
    pub fn sweep(&mut self, core: &Core) {
        self.identities.sweep(core.now.mono);
        let now = core.now.wall.secs();
        self.revoked_sessions.retain(|_, expires_at| *expires_at + REVOCATION_GRACE_S > now);
    }
}

/// Tokens are accepted a few seconds beyond their end (leeway); so long a revocation must outlive it, in seconds.
const REVOCATION_GRACE_S: i64 = 60;

fn expiry(now: Mono, wall: WallMs, expires_at: i64) -> Mono {
    let left_ms = expires_at.saturating_mul(1000).saturating_sub(wall.0).max(0) as u64;
    now.after(left_ms.saturating_mul(SECOND_US / 1000))
}

fn auth_success(core: &Core, user: &SessionUser) -> Vec<u8> {
    let limits = &core.limits;
    object(|o| {
        o.uint("user_id", user.caller.user_id.0)
            .text("username", &user.caller.username)
            .text("role", user.caller.role.name())
            .text("session_id", &user.session_id)
            .time("server_time", core.now.wall)
            .time("expires_at", WallMs(user.expires_at.saturating_mul(1000)))
            .uint("ping_interval_ms", limits.heartbeat_us / 1000)
            .object("limits", |o| {
                o.uint("max_message_length", u64::from(limits.max_message_length))
                    .uint("max_messages_per_minute", u64::from(limits.max_messages_per_minute))
                    .uint("messages_burst", u64::from(limits.messages_burst))
                    .uint("commands_per_second", u64::from(limits.commands_per_second))
                    .uint("commands_burst", u64::from(limits.commands_burst))
                    .uint("max_subscriptions", u64::from(limits.max_subscriptions))
                    .uint("resume_events", limits.resume_events)
                    .uint("outbox_bytes", limits.outbox_bytes as u64)
                    .end();
            })
            .end();
    })
}
