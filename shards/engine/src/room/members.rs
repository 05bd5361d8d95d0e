//! Memberships, subscriptions, and who is online.

use std::sync::Arc;

use super::{Room, Work};
use crate::core::{Core, LoadFor, body, store_unavailable};
use crate::fanout::FrameBytes;
use crate::id::{ConnId, ShardId, UserId};
use crate::peer::{Caller, Origin, PeerMessage, ReplyBody};
use crate::store::{Load, LoadError, MemberRow, Standing};
use crate::wire::encode::{push_frame, room_object};
use crate::wire::json::object;

/// Known memberships that are kept whoever is online.
const MEMBERS_KEPT_MIN: usize = 4096;

impl Room {
    /// Whether the user is known to be a member.
    pub(super) fn is_member(&self, user: UserId) -> bool {
        self.member(user).is_some()
    }

    pub(super) fn member(&self, user: UserId) -> Option<&MemberRow> {
        self.members.get(&user)?.as_ref()?.member.as_ref()
    }

    pub(super) fn member_mut(&mut self, user: UserId) -> Option<&mut MemberRow> {
        self.members.get_mut(&user)?.as_mut()?.member.as_mut()
    }

    /// Enters a committed membership, or its end.
    pub(super) fn set_member(&mut self, user_id: UserId, username: &str, member: Option<MemberRow>) {
        let is_in = member.is_some();
        let fresh = || {
            let (invited, sanctions) = (false, Vec::new());
            Box::new(Standing { user_id, username: username.into(), member: None, invited, sanctions })
        };
        self.members.entry(user_id).or_default().get_or_insert_with(fresh).member = member;
        if let (Some(Some(standing)), true) = (self.members.get_mut(&user_id), is_in) {
            standing.invited = false;
        }
    }

    /// Notes users whose memberships are to be loaded.
    pub(super) fn want_members(&mut self, users: impl IntoIterator<Item = UserId>) {
        for user in users {
            if !self.members.contains_key(&user) && !self.members_wanted.contains(&user) {
                self.members_wanted.push(user);
            }
        }
    }

    /// Loads what is wanted, one query at a time: those who come meanwhile share the next one.
    pub(super) fn load_members(&mut self, core: &mut Core) {
        if self.members_loading || self.members_wanted.is_empty() {
            return;
        }
        self.members_loading = true;
        let asked = std::mem::take(&mut self.members_wanted);
        let load = Load::Members { room_id: self.id(), user_ids: asked.clone() };
        core.load_always(load, LoadFor::Members { room_id: self.id(), asked });
    }

    /// Memberships were read.
    pub fn members_loaded(&mut self, core: &mut Core, asked: &[UserId], result: Result<Vec<Standing>, LoadError>) {
        self.members_loading = false;
        match result {
            Ok(rows) => {
                for row in rows {
                    self.members.entry(row.user_id).or_insert_with(|| Some(Box::new(row)));
                }
                for user in asked {
                    self.members.entry(*user).or_insert(None);
                }
                self.load_members(core);
                self.retry_waiting(core);
                self.forget_strangers();
            }
            Err(_) => self.refuse_unknown(core),
        }
    }

    /// Keeps what is known of memberships in proportion to who is here: a public room is asked for by many who never
    /// come in. Whoever has a change under way stays, and whoever comes again is looked up again.
    fn forget_strangers(&mut self) {
        if self.members.len() <= MEMBERS_KEPT_MIN.max(4 * self.online.len()) {
            return;
        }
        self.forget_who_is_away();
    }

    /// Nobody does anything here, and many may have left.
    pub(super) fn forget_absent(&mut self) {
        if self.members.len() > self.online.len() && self.waiting.is_empty() && !self.members_loading {
            self.forget_who_is_away();
            self.members.shrink_to(2 * self.members.len());
            self.subs.shrink_to(2 * self.subs.len());
            self.online.shrink();
        }
    }

    fn forget_who_is_away(&mut self) {
        let mut busy: crate::map::Set<UserId> = self.pending.iter().map(|op| op.user_id).collect();
        busy.extend(self.locked.keys().copied());
        let online = &self.online;
        if self.barriers == 0 {
            self.members.retain(|user, _| online.contains_key(user) || busy.contains(user));
        }
    }

    /// Those whose standing must be known before the work is judged.
    fn users_of(&self, work: &Work) -> impl Iterator<Item = UserId> {
        let (subject, owner) = match work {
            Work::Command { command, .. } => {
                let passes_on = matches!(&**command, crate::wire::Command::SetMemberRole { .. });
                (command.subject(), self.meta.owner_id.filter(|_| passes_on))
            }
            _ => (None, None),
        };
        work.caller_id().into_iter().chain(subject).chain(owner)
    }

    /// The database does not answer: those whose membership is unknown are told so.
    fn refuse_unknown(&mut self, core: &mut Core) {
        self.members_wanted.clear();
        let waiting = std::mem::take(&mut self.waiting);
        let mut keep = std::collections::VecDeque::new();
        for entry in waiting {
            let unknown = self.users_of(&entry.work).any(|user| !self.members.contains_key(&user));
            if unknown {
                self.busy_mut(entry.work.asker()).waiting -= 1;
                self.forget_idle(entry.work.asker());
                self.refuse(core, entry.work, store_unavailable());
            } else {
                keep.push_back(entry);
            }
        }
        self.waiting = keep;
        self.retry_waiting(core);
    }

    pub(super) fn room_body(&self) -> ReplyBody {
        let data = object(|mut o| {
            room_object(o.key("room"), &self.meta, self.member_count, self.head);
            o.end();
        });
        body("room", data)
    }

    /// Enters a subscription.
    pub(super) fn subscribe(&mut self, conn: ConnId, caller: &Caller) {
        if self.subs.insert(conn, caller.user_id).is_none() {
            self.shard_subs[usize::from(conn.shard.0)] += 1;
            self.come_online(caller);
        }
    }

    /// Ends a subscription.
    pub fn unsubscribe(&mut self, core: &Core, conn: ConnId) {
        let Some(user) = self.subs.remove(&conn) else { return };
        self.shard_subs[usize::from(conn.shard.0)] -= 1;
        self.go_offline(core, user);
    }

    /// A block is committed, or taken back.
    pub(super) fn set_block(&mut self, pair: (UserId, UserId), on: bool) {
        self.blocks.retain(|known| *known != pair);
        if on {
            self.blocks.push(pair);
        }
    }

    /// A connection is gone. What it sent before is carried out all the same; should that subscribe it again, its
    /// shard answers with this once more.
    pub fn conn_gone(&mut self, core: &mut Core, conn: ConnId) {
        self.used = core.now.mono;
        self.unsubscribe(core, conn);
    }

    /// Ends all subscriptions of a user; each shard with one is told.
    pub(super) fn expel(&mut self, core: &mut Core, user: UserId) {
        let mut conns: Vec<ConnId> = self.subs.iter().filter(|(_, of)| **of == user).map(|(conn, _)| *conn).collect();
        conns.sort_unstable();
        for shard in 0..core.shards {
            let there: Vec<ConnId> = conns.iter().copied().filter(|conn| conn.shard.0 == shard).collect();
            for conn in &there {
                self.unsubscribe(core, *conn);
            }
            if !there.is_empty() {
                core.send(ShardId(shard), PeerMessage::Expel { room_id: self.id(), user_id: user, conns: there });
            }
        }
        self.forget_presence(user);
    }

    /// Ends all subscriptions: the room is gone.
    pub(super) fn expel_all(&mut self, core: &mut Core) {
        let mut users: Vec<UserId> = self.subs.values().copied().collect();
        users.sort_unstable();
        users.dedup();
        for user in users {
            self.expel(core, user);
        }
    }

    /// Pushes something that may be dropped.
    pub(super) fn push_ephemeral(&self, core: &mut Core, frame: &FrameBytes) {
        self.push_ephemeral_except(core, frame, &Arc::default());
    }

    /// `member_joined`, `member_left`; in large rooms the count says it.
    pub(super) fn push_membership(&mut self, core: &mut Core, kind: &'static str, caller: &Caller) {
        self.online_dirty = true;
        if self.online.len() > core.limits.presence_single_max {
            return;
        }
        let data = object(|o| {
            o.uint("room_id", self.id().0).uint("user_id", caller.user_id.0).text("username", &caller.username).end();
        });
        self.push_ephemeral(core, &push_frame(kind, &data));
    }

    /// `online_count`, in rooms too large for single pushes.
    pub fn push_online_count(&mut self, core: &mut Core) {
        self.online_listed = false;
        if self.online.len() <= core.limits.presence_single_max {
            return;
        }
        let data = object(|o| {
            o.uint("room_id", self.id().0)
                .uint("online_count", self.online.visible() as u64)
                .uint("member_count", u64::from(self.member_count))
                .end();
        });
        self.push_ephemeral(core, &push_frame("online_count", &data));
    }

    /// The reply to a creation: the room, and a subscription for a WebSocket.
    pub(super) fn answer_created(&mut self, core: &mut Core, origin: Origin, caller: &Caller, duplicate: bool) {
        // A repetition may come when the creator has left, or the room is gone.
        if let (Some(conn), true) = (origin.asker.conn(), self.is_member(caller.user_id) && !self.deleted) {
            self.subscribe(conn, caller);
        }
        let subscribed = origin.asker.conn().is_some_and(|conn| self.subs.contains_key(&conn));
        let data = object(|mut o| {
            room_object(o.key("room"), &self.meta, self.member_count, self.head);
            o.uint("room_id", self.id().0).uint("seq", self.head.0).flag("duplicate", duplicate).end();
        });
        let change = subscribed.then(|| crate::peer::SubChange::Subscribe {
            room_id: self.id(),
            from: self.head,
            head: self.head,
        });
        core.reply(origin, Ok(body("room_created", data)), change);
    }
}
