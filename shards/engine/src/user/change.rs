//! What users write into the store: creations and revocations.

use super::create::{Creation, What};
use super::presence::status_updated;
use super::{User, Users, empty_reply};
use crate::core::{Core, body, error, store_unavailable};
use crate::id::{ShardId, UserId};
use crate::journal::Key;
use crate::journal_batch::Building;
use crate::peer::{Caller, Origin, PeerMessage};
use crate::store::{Duplicate, Earlier, Revocation, RoomKind, RoomMeta, UserRow, Write};
use crate::time::{Mono, WallMs};
use crate::wire::json::object;
use crate::wire::{ErrorCode, Status};

/// A change under way.
#[derive(Debug)]
pub(super) struct UserOp {
    kind: UserOpKind,
    admitted: Mono,
}

#[derive(Debug)]
pub(super) enum UserOpKind {
    Create {
        meta: Box<RoomMeta>,
        participants: Vec<UserRow>,
        creation: Box<Creation>,
    },
    Revoke {
        origin: Option<Origin>,
        reply: &'static str,
        /// For the reply of `revoke_session`.
        named: Option<Box<str>>,
        revocations: Vec<Revocation>,
    },
    Status {
        origin: Option<Origin>,
        status: Status,
        message: Option<Box<str>>,
    },
    /// The last connection has ended a while ago; nobody waits for it.
    LastSeen {
        at: WallMs,
    },
    /// Of the user's first waiting block, which has the origin.
    Block {
        target: UserId,
        on: bool,
        at: WallMs,
    },
    Nothing,
}

impl UserOp {
    pub(super) fn new(kind: UserOpKind, admitted: Mono) -> UserOp {
        UserOp { kind, admitted }
    }
}

const OP_BYTES: usize = 1024;
/// A revoked session whose token ends sooner is remembered at least this long (seconds): the application may have
/// signed another token of the same session.
const REVOCATION_MIN_S: i64 = 86_400;

impl Users {
    pub(super) fn push_op(&mut self, core: &mut Core, user_id: UserId, op: UserOp) {
        let user = self.map.get_mut(&user_id).expect("entered before its operation");
        user.pending.push_back(op);
        core.journal.push(Key::User(user_id), user_id, OP_BYTES);
    }

    /// Ends one session of the user's.
    pub(super) fn revoke_session(
        &mut self,
        core: &mut Core,
        origin: Origin,
        caller: &Caller,
        target: Box<str>,
        own_session: &str,
        own_expiry: i64,
    ) {
        let user = self.user(core, caller);
        let live = user.conns.iter().filter(|entry| *entry.session_id == *target).map(|entry| entry.expires_at).max();
        let expires_at = if *target == *own_session { Some(own_expiry.max(live.unwrap_or(0))) } else { live };
        match expires_at {
            Some(expires_at) => self.revoke(core, origin, caller, target, expires_at),
            None => self.find_session(core, origin, caller, target),
        }
    }

    /// The session is the user's: ends it.
    pub(super) fn revoke(
        &mut self,
        core: &mut Core,
        origin: Origin,
        caller: &Caller,
        session_id: Box<str>,
        expires_at: i64,
    ) {
        let revocation =
            Revocation::Session { session_id: session_id.clone(), expires_at: keep_until(core, expires_at) };
        self.push_revocations(core, origin, caller, "session_revoked", Some(session_id), vec![revocation]);
    }

    pub(super) fn logout(
        &mut self,
        core: &mut Core,
        origin: Origin,
        caller: &Caller,
        session_id: &str,
        expires_at: i64,
        everywhere: bool,
    ) {
        let own = Revocation::Session { session_id: session_id.into(), expires_at: keep_until(core, expires_at) };
        let mut revocations = vec![own];
        if everywhere {
            let user = self.user(core, caller);
            let mut others: Vec<(Box<str>, i64)> =
                user.conns.iter().map(|entry| ((&*entry.session_id).into(), entry.expires_at)).collect();
            others.sort_unstable();
            others.dedup_by(|a, b| a.0 == b.0);
            for (session_id, expires_at) in others {
                revocations.push(Revocation::Session { session_id, expires_at: keep_until(core, expires_at) });
            }
            revocations.push(Revocation::User { user_id: caller.user_id, before: core.now.wall.secs() });
        }
        self.push_revocations(core, origin, caller, "logged_out", None, revocations);
    }

    fn push_revocations(
        &mut self,
        core: &mut Core,
        origin: Origin,
        caller: &Caller,
        reply: &'static str,
        named: Option<Box<str>>,
        revocations: Vec<Revocation>,
    ) {
        if let Err(error) = core.admit(caller.user_id) {
            return core.reply(origin, Err(error), None);
        }
        let _: &mut User = self.user(core, caller);
        let kind = UserOpKind::Revoke { origin: Some(origin), reply, named, revocations };
        let op = UserOp::new(kind, core.now.mono);
        self.push_op(core, caller.user_id, op);
    }

    /// Adds the next operation of a user to a batch.
    pub fn write_next(&mut self, user_id: UserId, batch: &mut Building) {
        let user = self.map.get_mut(&user_id).expect("a user with operations is in memory");
        let op = &user.pending[user.submitted];
        user.submitted += 1;
        match &op.kind {
            UserOpKind::Create { meta, participants, creation } => {
                let (meta, creator_id) = ((**meta).clone(), user_id);
                batch.write(match &creation.what {
                    What::Room(create) => Write::CreateRoom { meta, creator_id, client: create.client.clone() },
                    What::Dm { pair, client, .. } => Write::CreateDm {
                        meta,
                        creator_id,
                        user_ids: participants.iter().map(|user| user.user_id).collect(),
                        pair: *pair,
                        client: client.clone(),
                    },
                });
            }
            UserOpKind::Revoke { revocations, .. } => {
                for revocation in revocations {
                    batch.write(match revocation.clone() {
                        Revocation::Session { session_id, expires_at } => {
                            Write::RevokeSession { session_id, user_id, expires_at }
                        }
                        Revocation::User { user_id, before } => Write::RevokeUser { user_id, before },
                    });
                }
            }
            UserOpKind::Status { status, message, .. } => {
                batch.write(Write::Status { user_id, status: *status, message: message.clone() });
            }
            UserOpKind::LastSeen { at } => batch.write(Write::LastSeen { user_id, at: *at }),
            UserOpKind::Block { target: blocked_id, on: true, at } => {
                batch.write(Write::Block { user_id, blocked_id: *blocked_id, at: *at });
            }
            UserOpKind::Block { target: blocked_id, on: false, .. } => {
                batch.write(Write::Unblock { user_id, blocked_id: *blocked_id });
            }
            UserOpKind::Nothing => {}
        }
    }

    /// The first `count` operations of a user are committed.
    pub fn commit(&mut self, core: &mut Core, user_id: UserId, count: usize) {
        for _ in 0..count {
            let user = self.map.get_mut(&user_id).expect("a user with operations is in memory");
            let op = user.pending.pop_front().expect("as many as were sent");
            user.submitted -= 1;
            core.journal.done(user_id, OP_BYTES);
            core.stats.ack_us.record(core.now.mono.since(op.admitted));
            match op.kind {
                UserOpKind::Create { meta, participants, creation } => {
                    self.created(core, *meta, participants, *creation);
                }
                UserOpKind::Revoke { origin, reply, named, revocations } => {
                    answer_revoked(core, origin, reply, named.as_deref());
                    for revocation in revocations {
                        for shard in 0..core.shards {
                            core.send(ShardId(shard), PeerMessage::Revoked(revocation.clone()));
                        }
                    }
                }
                UserOpKind::Status { origin, status, message } => {
                    if let Some(origin) = origin {
                        core.reply(origin, Ok(status_updated(status, message.as_deref())), None);
                    }
                    self.status_committed(core, user_id, status, message);
                }
                UserOpKind::Block { target, on, .. } => self.block_written(core, user_id, target, on),
                UserOpKind::LastSeen { .. } | UserOpKind::Nothing => {}
            }
        }
    }

    /// The batch came back uncommitted.
    pub fn rewind(&mut self, user_id: UserId) {
        if let Some(user) = self.map.get_mut(&user_id) {
            user.submitted = 0;
        }
    }

    /// The `index`-th operation of the failed batch had been done before.
    pub fn drop_duplicate(&mut self, core: &mut Core, user_id: UserId, index: usize, duplicate: &Duplicate) {
        let Some(op) = self.map.get_mut(&user_id).and_then(|user| user.pending.get_mut(index)) else { return };
        match std::mem::replace(&mut op.kind, UserOpKind::Nothing) {
            UserOpKind::Create { creation, .. } => {
                let kind = match creation.what {
                    What::Room(_) => RoomKind::Room,
                    What::Dm { .. } => RoomKind::Dm,
                };
                let Duplicate { room_id, seq, at, hash, .. } = *duplicate;
                self.created_before(core, *creation, &Earlier { room_id, kind, seq, at, hash });
            }
            other => op.kind = other,
        }
    }

    /// The store refuses the `index`-th operation of the failed batch.
    pub fn refuse_op(&mut self, core: &mut Core, user_id: UserId, index: usize, cause: &str) {
        let error = core.fault(&format!("the store refused a change of user {}: {cause}", user_id.0), true);
        let Some(op) = self.map.get_mut(&user_id).and_then(|user| user.pending.get_mut(index)) else { return };
        match std::mem::replace(&mut op.kind, UserOpKind::Nothing) {
            UserOpKind::Create { creation, .. } => self.creation_refused(core, *creation, error),
            UserOpKind::Revoke { origin: Some(origin), .. } | UserOpKind::Status { origin: Some(origin), .. } => {
                core.reply(origin, Err(error), None);
            }
            UserOpKind::Block { .. } => self.fail_block(core, user_id, error),
            UserOpKind::Revoke { .. } | UserOpKind::Status { .. } | UserOpKind::LastSeen { .. } => {}
            UserOpKind::Nothing => {}
        }
    }

    /// Answers what has waited for the database since before this time; it stays under way. So does what waits behind it.
    pub fn time_out(&mut self, core: &mut Core, user_id: UserId, before: Mono) {
        let Some(user) = self.map.get_mut(&user_id) else { return };
        let ops = user.pending.iter_mut().take_while(|op| op.admitted <= before);
        let under_way = ops.filter_map(|op| match &mut op.kind {
            UserOpKind::Revoke { origin, .. } | UserOpKind::Status { origin, .. } => origin.take(),
            UserOpKind::Create { creation, .. } => creation.origin.take(),
            UserOpKind::Block { .. } | UserOpKind::LastSeen { .. } | UserOpKind::Nothing => None,
        });
        let creations = user.creations.iter_mut().take_while(|creation| creation.since <= before);
        let blocks = user.blockings.iter_mut().take_while(|blocking| blocking.since <= before);
        let behind = creations.filter_map(|c| c.origin.take()).chain(blocks.filter_map(|b| b.origin.take()));
        for origin in under_way.chain(behind) {
            core.reply(origin, Err(store_unavailable()), None);
        }
    }

    /// What `revoke_session` is told of a session that is not the caller's.
    pub(super) fn no_session(core: &mut Core, origin: Origin) {
        core.reply(origin, Err(error(ErrorCode::NotFound, "no such session")), None);
    }
}

fn keep_until(core: &Core, expires_at: i64) -> i64 {
    expires_at.max(core.now.wall.secs() + REVOCATION_MIN_S)
}

fn answer_revoked(core: &mut Core, origin: Option<Origin>, kind: &'static str, named: Option<&str>) {
    let Some(origin) = origin else { return };
    let reply = match named {
        Some(session_id) => body(kind, object(|o| o.text("session_id", session_id).end())),
        None => empty_reply(kind),
    };
    core.reply(origin, Ok(reply), None);
}
