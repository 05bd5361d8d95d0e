//! What a user lets others see: the status that is set, whom it is hidden from, and whether there is a connection.
//!
//! It is known once the profile is there; until then the user is invisible. From here it goes with every command to
//! the room (stamped on the caller); when it changes, by way of the connections' shards to the rooms that they are
//! subscribed to, and to the homes of the other participants of the user's conversations. Changes are merged: a few
//! times a second the present state is compared with what was told last.

use std::sync::Arc;

use super::change::{UserOp, UserOpKind};
use super::{User, Users};
use crate::core::{Core, LoadFor, body};
use crate::fanout::FrameBytes;
use crate::id::{ConnId, RoomId, ShardId, UserId};
use crate::memory::{block, items};
use crate::peer::{Caller, Origin, PeerMessage, Presence, ReplyBody, StatusPage};
use crate::room::{ask_status, presence_frame};
use crate::store::{CONTACTS_MAX, Load, LoadError, Loaded, Profile};
use crate::time::{Mono, SECOND_US, WallMs};
use crate::wire::Status;
use crate::wire::json::object;

/// Messages about presence that one flush of a shard sends; who is over waits (and is merged) until the next one.
const MESSAGES_PER_FLUSH: usize = 8192;
/// What telling the rooms of one connection counts among them: its shard passes it on to each.
const ROOMS_COST: usize = 8;
/// Microseconds that a user stays away before it is written when he was there last; a crash loses it until then.
const LAST_SEEN_US: u64 = 5_000_000;
/// Profiles asked for again at a time.
const RETRIES_MAX: usize = 1024;

/// Conversations with their other participants.
type Conversations = Vec<(RoomId, Vec<UserId>)>;

/// A user's presence at his home.
#[derive(Debug, Default)]
pub(super) struct Shown {
    profile: Option<Box<Profile>>,
    /// It is being read; with conversations that have begun since.
    loading: Option<Box<Conversations>>,
    /// It has changed while it was read: it is read once more.
    is_stale: bool,
    /// `None`: no profile yet.
    presence: Option<Arc<Presence>>,
    /// The version that the rooms of the connections were told last.
    version_told: u64,
    /// Rooms may have an older version: a command has gone to one.
    is_stamped: bool,
    /// What the contacts were told last; `None`: offline.
    told: Option<Arc<Presence>>,
    is_listed: bool,
    /// When he has left, if that is still to be written.
    left: Option<Box<Left>>,
}

/// When the last connection of a user has ended.
#[derive(Debug, Clone, Copy)]
struct Left {
    at: WallMs,
    /// When it is written, if he has not come back.
    due: Mono,
}

impl Shown {
    /// Bytes that it takes.
    pub(super) fn memory(&self) -> usize {
        let profile = self.profile.as_deref().map_or(0, |profile| {
            let others: usize = profile.contacts.iter().map(|(_, users)| items::<UserId>(users.capacity())).sum();
            block(size_of::<Profile>())
                + items::<UserId>(profile.blocks.capacity())
                + items::<(RoomId, Vec<UserId>)>(profile.contacts.capacity())
                + others
        });
        profile + self.presence.as_ref().map_or(0, |_| block(size_of::<Presence>() + 16))
    }

    /// Something is under way: the user stays in memory.
    pub(super) fn is_busy(&self) -> bool {
        self.is_listed || self.left.is_some() || self.loading.is_some()
    }
}

impl User {
    fn is_online(&self) -> bool {
        !self.conns.is_empty()
    }

    /// Makes what others may see from the profile; `true`: something has changed.
    ///
    /// Most users let others see the same: those who come in the same second share it. So its version is that second, or
    /// the next number after the user's own last one.
    fn rebuild(&mut self, core: &Core, last: &mut Arc<Presence>) -> bool {
        let Some(profile) = &self.shown.profile else { return false };
        let before = self.shown.presence.as_deref();
        let second = core.now.mono.0 / SECOND_US * SECOND_US;
        let version = second.max(before.map_or(0, |presence| presence.version) + 1);
        let fresh = Presence {
            status: profile.status,
            message: profile.message.clone(),
            hidden_from: profile.blocks.as_slice().into(),
            version,
        };
        let same = before.is_some_and(|old| {
            (old.status, &old.message, &old.hidden_from) == (fresh.status, &fresh.message, &fresh.hidden_from)
        });
        if !same {
            if **last != fresh {
                *last = Arc::new(fresh);
            }
            self.shown.presence = Some(last.clone());
        }
        !same
    }

    /// What others may see now.
    fn visible(&self) -> Option<&Arc<Presence>> {
        self.shown.presence.as_ref().filter(|presence| self.is_online() && presence.is_visible())
    }
}

impl Users {
    /// The first connection of a user.
    pub(super) fn came_online(&mut self, core: &mut Core, user_id: UserId) {
        self.want_profile(core, user_id);
        self.list_presence(user_id);
    }

    /// The last one is gone. The time is written when the user has stayed away for a while: a storm of returning
    /// clients writes nothing.
    pub(super) fn went_offline(&mut self, core: &mut Core, user_id: UserId) {
        self.list_presence(user_id);
        let at = core.now.wall;
        let Some(user) = self.map.get_mut(&user_id) else { return };
        user.shown.is_stamped = false;
        if let Some(profile) = &mut user.shown.profile {
            profile.last_seen_at = Some(at);
        }
        let due = core.now.mono.after(LAST_SEEN_US);
        if user.shown.left.replace(Box::new(Left { at, due })).is_none() {
            self.leaving.push_back((due, user_id));
        }
        if core.draining {
            self.write_last_seen(core);
        }
    }

    /// Writes when users who have stayed away were there last, as far as there is room: it is not worth refusing
    /// anything else. While the server drains nothing waits for its time.
    pub fn write_last_seen(&mut self, core: &mut Core) {
        let (ops, bytes) = (core.limits.journal_ops_max / 2, core.limits.journal_bytes_max / 2);
        let (now, at_once) = (core.now.mono, core.draining);
        while core.journal.ops() < ops && core.journal.bytes() < bytes {
            if self.leaving.front().is_none_or(|(due, _)| *due > now && !at_once) {
                return;
            }
            let Some((_, user_id)) = self.leaving.pop_front() else { return };
            let Some(user) = self.map.get_mut(&user_id) else { continue };
            let Some(left) = user.shown.left.take() else { continue };
            if user.is_online() {
                continue;
            }
            if left.due > now && !at_once {
                // He has come and gone since.
                self.leaving.push_back((left.due, user_id));
                user.shown.left = Some(left);
            } else {
                self.push_op(core, user_id, UserOp::new(UserOpKind::LastSeen { at: left.at }, now));
            }
        }
    }

    fn want_profile(&mut self, core: &mut Core, user_id: UserId) {
        let Some(user) = self.map.get_mut(&user_id) else { return };
        if user.shown.profile.is_some() || user.shown.loading.is_some() {
            return;
        }
        match core.load(Load::Profile { user_id }, LoadFor::Profile { user_id }) {
            Ok(()) => user.shown.loading = Some(Box::default()),
            Err(_) => self.profiles_wanted.push_back(user_id),
        }
    }

    /// Asks again for profiles that have not come, as long as their users are here.
    pub fn retry_profiles(&mut self, core: &mut Core) {
        for _ in 0..self.profiles_wanted.len().min(RETRIES_MAX) {
            let Some(user_id) = self.profiles_wanted.pop_front() else { return };
            if self.map.get(&user_id).is_some_and(|user| user.is_online()) {
                self.want_profile(core, user_id);
            }
        }
    }

    /// Whether [`Users::retry_profiles`], [`Users::retry_blocks`] or [`Users::write_last_seen`] has something to do.
    pub fn wants_retry(&self) -> bool {
        !self.profiles_wanted.is_empty() || !self.blocks_untold.is_empty() || !self.leaving.is_empty()
    }

    pub(super) fn profile_loaded(&mut self, core: &mut Core, user_id: UserId, result: Result<Loaded, LoadError>) {
        let Some(user) = self.map.get_mut(&user_id) else { return };
        let fresh = user.shown.loading.take().unwrap_or_default();
        let is_stale = std::mem::take(&mut user.shown.is_stale);
        match result {
            Ok(Loaded::Profile(mut profile)) if !is_stale => {
                for (room_id, others) in *fresh {
                    add_contact(&mut profile.contacts, room_id, others);
                }
                profile.blocks.sort_unstable();
                user.shown.profile = Some(profile);
                user.rebuild(core, &mut self.presence_made);
                self.list_presence(user_id);
            }
            Ok(_) => self.want_profile(core, user_id),
            Err(_) => self.profiles_wanted.push_back(user_id),
        }
    }

    /// `update_status`.
    pub(super) fn update_status(
        &mut self,
        core: &mut Core,
        origin: Origin,
        caller: &Caller,
        status: Status,
        message: Option<Box<str>>,
    ) {
        if let Err(error) = core.admit(caller.user_id) {
            return core.reply(origin, Err(error), None);
        }
        self.user(core, caller);
        let kind = UserOpKind::Status { origin: Some(origin), status, message };
        self.push_op(core, caller.user_id, UserOp::new(kind, core.now.mono));
    }

    /// A status is committed and answered.
    pub(super) fn status_committed(&mut self, core: &Core, user_id: UserId, status: Status, message: Option<Box<str>>) {
        self.profile_changed(core, user_id, |profile| (profile.status, profile.message) = (status, message));
    }

    /// A block is committed, or taken back: the rooms learn it before the blocker is answered.
    pub(super) fn block_committed(&mut self, core: &mut Core, user_id: UserId, target: UserId, on: bool) {
        self.profile_changed(core, user_id, |profile| {
            profile.blocks.retain(|blocked| *blocked != target);
            if on {
                profile.blocks.push(target);
                profile.blocks.sort_unstable();
            }
        });
        self.tell_rooms(core, user_id);
    }

    fn profile_changed(&mut self, core: &Core, user_id: UserId, change: impl FnOnce(&mut Profile)) {
        let Some(user) = self.map.get_mut(&user_id) else { return };
        match &mut user.shown.profile {
            Some(profile) => change(profile),
            None => user.shown.is_stale = user.shown.loading.is_some(),
        }
        if user.rebuild(core, &mut self.presence_made) {
            self.list_presence(user_id);
        }
    }

    /// A conversation with the user has begun.
    pub fn new_contact(&mut self, user_id: UserId, room_id: RoomId, others: Vec<UserId>) {
        let Some(user) = self.map.get_mut(&user_id) else { return };
        if let Some(fresh) = &mut user.shown.loading {
            fresh.push((room_id, others));
        } else if let Some(profile) = &mut user.shown.profile {
            add_contact(&mut profile.contacts, room_id, others);
        }
    }

    /// What goes with a command of this user to a room; `None`: not connected.
    pub(super) fn stamp(&mut self, user_id: UserId) -> Option<Arc<Presence>> {
        let user = self.map.get_mut(&user_id).filter(|user| user.is_online())?;
        user.shown.is_stamped = true;
        Some(user.shown.presence.clone().unwrap_or_else(|| Arc::new(Presence::unknown())))
    }

    /// Adds what the reader may see of a member to a page, and sends it on.
    pub fn add_status(
        &self,
        core: &mut Core,
        room_id: RoomId,
        origin: Origin,
        reader: Caller,
        mut page: Box<StatusPage>,
    ) {
        if let Some((row, _)) = page.members.get(page.statuses.len()) {
            let presence = self.map.get(&row.user_id).and_then(|user| user.visible());
            page.statuses.push(presence.map_or(Status::Invisible.shown(), |seen| seen.shown_to(reader.user_id)));
        }
        ask_status(core, room_id, origin, reader, page);
    }

    /// An ephemeral push for all connections of a user.
    pub fn ephemeral(&self, core: &mut Core, user_id: UserId, frame: &FrameBytes) {
        let Some(user) = self.map.get(&user_id) else { return };
        for (shard, conns) in by_shard(user) {
            core.send_ephemeral(shard, PeerMessage::DeliverEphemeral { conns, frame: frame.clone() });
        }
    }

    fn list_presence(&mut self, user_id: UserId) {
        if let Some(user) = self.map.get_mut(&user_id)
            && !std::mem::replace(&mut user.shown.is_listed, true)
        {
            self.presence_listed.push_back(user_id);
        }
    }

    /// Whether [`Users::push_presence`] has something to do.
    pub fn has_presence(&self) -> bool {
        !self.presence_listed.is_empty()
    }

    /// A few times a second: tells the rooms and the contacts of users whose presence has changed.
    pub fn push_presence(&mut self, core: &mut Core) {
        let mut budget = MESSAGES_PER_FLUSH;
        while budget > 0 {
            let Some(user_id) = self.presence_listed.pop_front() else { return };
            let sent = ROOMS_COST * self.tell_rooms(core, user_id) + self.tell_contacts(core, user_id);
            budget = budget.saturating_sub(sent.max(1));
        }
    }

    /// How many connections it was for.
    fn tell_rooms(&mut self, core: &mut Core, user_id: UserId) -> usize {
        let Some(user) = self.map.get_mut(&user_id) else { return 0 };
        let Some(presence) = user.shown.presence.clone() else { return 0 };
        let is_told = std::mem::replace(&mut user.shown.version_told, presence.version) == presence.version;
        if is_told || !user.shown.is_stamped {
            return 0;
        }
        for (shard, conns) in by_shard(user) {
            core.send(shard, PeerMessage::PresenceOf { conns, user_id, presence: presence.clone() });
        }
        user.conns.len()
    }

    /// How many messages it took.
    fn tell_contacts(&mut self, core: &mut Core, user_id: UserId) -> usize {
        let Some(user) = self.map.get_mut(&user_id) else { return 0 };
        user.shown.is_listed = false;
        let visible = user.visible().cloned();
        let same = match (&user.shown.told, &visible) {
            (Some(told), Some(visible)) => told.looks_like(visible),
            (None, None) => true,
            _ => false,
        };
        let Some(profile) = user.shown.profile.as_deref().filter(|_| !same) else { return 0 };
        let last_seen = if user.conns.is_empty() { profile.last_seen_at } else { Some(core.now.wall) };
        let mut sent = 0;
        for (room_id, others) in &profile.contacts {
            let frame = presence_frame(*room_id, user_id, &user.username, visible.as_deref(), last_seen);
            for other in others.iter().filter(|other| profile.blocks.binary_search(other).is_err()) {
                let message = PeerMessage::UserEphemeral { user_id: *other, frame: frame.clone() };
                core.send_ephemeral(other.home(core.shards), message);
                sent += 1;
            }
        }
        user.shown.told = visible;
        sent
    }
}

/// The connections of a user, by shard.
fn by_shard(user: &User) -> Vec<(ShardId, Vec<ConnId>)> {
    let mut groups: Vec<(ShardId, Vec<ConnId>)> = Vec::new();
    for conn in user.conns.iter().map(|entry| entry.conn) {
        match groups.iter_mut().find(|(shard, _)| *shard == conn.shard) {
            Some((_, conns)) => conns.push(conn),
            None => groups.push((conn.shard, vec![conn])),
        }
    }
    groups
}

fn add_contact(contacts: &mut Vec<(RoomId, Vec<UserId>)>, room_id: RoomId, others: Vec<UserId>) {
    if contacts.iter().any(|(known, _)| *known == room_id) {
        return;
    }
    if contacts.len() >= CONTACTS_MAX
        && let Some(oldest) = (0..contacts.len()).min_by_key(|index| contacts[*index].0)
    {
        contacts.swap_remove(oldest);
    }
    contacts.push((room_id, others));
}

/// The reply to `update_status`.
pub(super) fn status_updated(status: Status, message: Option<&str>) -> ReplyBody {
    let name = Status::WORDS.iter().find(|(_, word)| *word == status).map_or("online", |(name, _)| *name);
    body("status_updated", object(|o| o.text("status", name).opt_text("message", message).end()))
}
