//! Who is online in a room, and what its members are told of that.
//!
//! Changes are merged: a user whose state has changed is listed, and a few times a second it is compared with what was
//! pushed last, so that somebody who comes back at once is no news. Rooms with more online than
//! `limits.presence_single_max` get no single pushes; what would have been pushed counts as pushed there.

use std::sync::Arc;

use super::{Room, Rooms};
use crate::core::{Core, body};
use crate::fanout::FrameBytes;
use crate::id::{RoomId, ShardId, UserId};
use crate::map::Map;
use crate::peer::{Caller, Origin, PeerMessage, Presence, ReplyBody, StatusPage};
use crate::store::RoomKind;
use crate::time::WallMs;
use crate::wire::Status;
use crate::wire::encode::push_frame;
use crate::wire::json::{Object, object};

/// Deliveries of presence in one flush of a shard; what is over stays listed, and is merged, until the next one.
const DELIVERIES_PER_FLUSH: usize = 20_000;
/// What a change costs of them in a room that is not told of it.
const SILENT_COST: usize = 8;

/// A user with a connection subscribed to the room.
#[derive(Debug)]
struct Entry {
    conns: u32,
    username: Arc<str>,
    presence: Arc<Presence>,
}

/// The users online in one room.
#[derive(Debug, Default)]
pub(super) struct Online {
    users: Map<UserId, Entry>,
    /// Those of them whom others may see.
    visible: usize,
    /// Users whose state may differ from what was pushed, as they were when they left.
    dirty: Map<UserId, (Arc<str>, Arc<Presence>)>,
    /// What was pushed last; absent: offline.
    pushed: Map<UserId, Arc<Presence>>,
}

impl Online {
    /// Bytes that it takes; what users share with their homes is not in it.
    pub(super) fn memory(&self) -> usize {
        crate::memory::table(&self.users) + crate::memory::table(&self.dirty) + crate::memory::table(&self.pushed)
    }

    /// Users, whether others may see them or not: what a push costs.
    pub(super) fn len(&self) -> usize {
        self.users.len()
    }

    /// Users that count for others.
    pub(super) fn visible(&self) -> usize {
        self.visible
    }

    /// Whether the user has a connection here.
    pub(super) fn contains_key(&self, user: &UserId) -> bool {
        self.users.contains_key(user)
    }

    /// Those whom this reader may see, ascending.
    pub(super) fn seen_by(&self, reader: UserId) -> Vec<UserId> {
        let offline = Status::Invisible.shown();
        let seen = self.users.iter().filter(|(_, entry)| entry.presence.shown_to(reader) != offline);
        let mut users: Vec<UserId> = seen.map(|(user, _)| *user).collect();
        users.sort_unstable();
        users
    }

    /// As this reader may see the user.
    pub(super) fn status(&self, user: UserId, reader: UserId) -> &'static str {
        match self.users.get(&user) {
            Some(entry) => entry.presence.shown_to(reader),
            None => Status::Invisible.shown(),
        }
    }

    /// One more connection of the user.
    fn enter(&mut self, caller: &Caller) {
        let presence = caller.presence.clone().unwrap_or_default();
        let entry = self.users.entry(caller.user_id).or_insert_with(|| Entry {
            conns: 0,
            username: caller.username.clone(),
            presence: Arc::new(Presence::unknown()),
        });
        entry.conns += 1;
        entry.username = caller.username.clone();
        self.update(caller.user_id, &presence);
    }

    /// The user's presence has changed, or is told again; what is older than what is known means nothing.
    fn update(&mut self, user: UserId, presence: &Arc<Presence>) {
        let Some(entry) = self.users.get_mut(&user) else { return };
        if presence.version < entry.presence.version {
            return;
        }
        self.visible -= usize::from(entry.presence.is_visible());
        self.visible += usize::from(presence.is_visible());
        entry.presence = presence.clone();
        self.dirty.insert(user, (entry.username.clone(), presence.clone()));
    }

    /// One connection less; `true`: it was the user's last.
    fn leave(&mut self, user: UserId) -> bool {
        let Some(entry) = self.users.get_mut(&user) else { return false };
        entry.conns -= 1;
        if entry.conns > 0 {
            return false;
        }
        let Some(entry) = self.users.remove(&user) else { return false };
        self.visible -= usize::from(entry.presence.is_visible());
        self.dirty.insert(user, (entry.username, entry.presence));
        true
    }

    /// The user is no member any more: nothing is said of him after that.
    fn forget(&mut self, user: UserId) {
        self.dirty.remove(&user);
        self.pushed.remove(&user);
    }

    /// Gives up the room that those who have left took.
    pub(super) fn shrink(&mut self) {
        self.users.shrink_to(2 * self.users.len());
        self.pushed.shrink_to(2 * self.pushed.len());
    }

    pub(super) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Up to so many listed users, ascending.
    fn listed(&self, most: usize) -> Vec<UserId> {
        let mut users: Vec<UserId> = self.dirty.keys().copied().take(most).collect();
        users.sort_unstable();
        users
    }

    /// Takes a user off the list, as told; `None`: that is no news.
    fn settle(&mut self, user: UserId) -> Option<News> {
        let (username, last) = self.dirty.remove(&user)?;
        if self.dirty.is_empty() {
            self.dirty = Map::default(); // what a storm needed is not kept
        }
        let shown = self.users.get(&user).map(|entry| entry.presence.clone()).filter(|presence| presence.is_visible());
        let before = match &shown {
            Some(presence) => self.pushed.insert(user, presence.clone()),
            None => self.pushed.remove(&user),
        };
        let same = match (&before, &shown) {
            (Some(before), Some(shown)) => before.looks_like(shown),
            (None, None) => true,
            _ => false,
        };
        (!same).then(|| News { username, shown, except: last.hidden_from.iter().copied().collect() })
    }
}

/// A change that others are told of.
struct News {
    username: Arc<str>,
    /// `None`: offline.
    shown: Option<Arc<Presence>>,
    except: Arc<[UserId]>,
}

impl Room {
    /// A connection subscribes, or does so again.
    pub(super) fn come_online(&mut self, caller: &Caller) {
        self.online.enter(caller);
        self.online_dirty = true;
    }

    /// A subscription has ended.
    pub(super) fn go_offline(&mut self, core: &Core, user: UserId) {
        if self.online.leave(user) {
            self.end_typing(core, user);
        }
        self.online_dirty = true;
    }

    /// The membership of a user ends: his going is no presence any more.
    pub(super) fn forget_presence(&mut self, user: UserId) {
        self.online.forget(user);
        self.typing.forget(user);
    }

    /// What a user who is online lets others see has changed.
    fn presence_changed(&mut self, user: UserId, presence: &Arc<Presence>) {
        let before = self.online.visible();
        self.online.update(user, presence);
        self.online_dirty |= self.online.visible() != before;
    }

    /// Pushes what is new, within the shard's bound on deliveries; `false`: some is left.
    fn push_presence(&mut self, core: &mut Core, budget: &mut usize) -> bool {
        let singly = self.online.len() <= core.limits.presence_single_max;
        let cost = if singly { self.online.len().max(SILENT_COST) } else { SILENT_COST };
        // One change always goes, whatever it costs: else nobody's ever would.
        let most = (*budget / cost).max(usize::from(*budget == DELIVERIES_PER_FLUSH));
        for user in self.online.listed(most) {
            *budget = budget.saturating_sub(cost);
            let Some(news) = self.online.settle(user).filter(|_| singly) else { continue };
            let frame = presence_frame(self.id(), user, &news.username, news.shown.as_deref(), Some(core.now.wall));
            self.push_ephemeral_except(core, &frame, &news.except);
        }
        !self.online.is_dirty()
    }

    /// Users who learn nothing of what the caller does without a trace: those whom he blocks, as far as it is known here
    /// (over HTTP, without a connection: the other one of two).
    pub(super) fn hidden_from(&self, caller: &Caller) -> Arc<[UserId]> {
        let own = self.blocks.iter().filter(|(blocker, _)| *blocker == caller.user_id).map(|(_, blocked)| *blocked);
        match &caller.presence {
            Some(presence) => presence.hidden_from.iter().copied().collect(),
            None => own.collect(),
        }
    }

    /// A page of members was read: their statuses are known here, or (of a conversation) at their homes, which add
    /// them one after the other and send the page back to [`Room::statuses_known`].
    pub(super) fn member_page(&mut self, core: &mut Core, origin: Origin, caller: Caller, mut page: StatusPage) {
        if self.meta.kind == RoomKind::Dm && !page.members.is_empty() {
            return ask_status(core, self.id(), origin, caller, Box::new(page));
        }
        page.statuses = page.members.iter().map(|(row, _)| self.online.status(row.user_id, caller.user_id)).collect();
        self.statuses_known(core, origin, &caller, &page);
    }

    /// Answers `get_members`.
    pub fn statuses_known(&mut self, core: &mut Core, origin: Origin, caller: &Caller, page: &StatusPage) {
        self.end_query(core, caller, origin, Ok(members_body(self.id(), page)));
        self.retry_waiting(core);
    }

    /// Pushes something that may be dropped to all but these users.
    pub(super) fn push_ephemeral_except(&self, core: &mut Core, frame: &FrameBytes, except: &Arc<[UserId]>) {
        for (shard, count) in self.shard_subs.iter().enumerate() {
            if *count > 0 {
                let (room_id, frame, except) = (self.id(), frame.clone(), except.clone());
                core.send_ephemeral(ShardId(shard as u16), PeerMessage::Ephemeral { room_id, frame, except });
            }
        }
    }
}

/// Sends a page on: to the home of the next member without a status, or back to the conversation.
pub fn ask_status(core: &mut Core, room_id: RoomId, origin: Origin, caller: Caller, page: Box<StatusPage>) {
    match page.members.get(page.statuses.len()).map(|(row, _)| row.user_id.home(core.shards)) {
        Some(home) => core.send(home, PeerMessage::AskStatus { room_id, origin, caller, page }),
        None => core.send(room_id.home(core.shards), PeerMessage::Statuses { room_id, origin, caller, page }),
    }
}

fn members_body(room_id: RoomId, page: &StatusPage) -> ReplyBody {
    let offline = Status::Invisible.shown();
    let rows = page.members.iter().zip(&page.statuses);
    let shown = rows.filter(|(_, status)| page.online.is_none_or(|online| online == (**status != offline)));
    let data = object(|o| {
        o.uint("room_id", room_id.0)
            .array("members", shown, |out, ((row, username), status)| {
                Object::new(out)
                    .uint("user_id", row.user_id.0)
                    .text("username", username)
                    .text("role", &row.role)
                    .text("status", status)
                    .time("joined_at", row.joined_at)
                    .end();
            })
            .opt_text("next_cursor", page.next.as_deref())
            .end();
    });
    body("member_list", data)
}

/// The push of a user's presence; `shown` = `None`: offline, last seen then.
pub fn presence_frame(
    room_id: RoomId,
    user_id: UserId,
    username: &str,
    shown: Option<&Presence>,
    last_seen_at: Option<WallMs>,
) -> FrameBytes {
    let data = object(|o| {
        let o = o
            .uint("room_id", room_id.0)
            .uint("user_id", user_id.0)
            .text("username", username)
            .text("status", shown.map_or("offline", |presence| presence.status.shown()))
            .opt_text("message", shown.and_then(|presence| presence.message.as_deref()));
        o.opt_time("last_seen_at", last_seen_at.filter(|_| shown.is_none())).end();
    });
    push_frame("presence", &data)
}

impl Rooms {
    /// A user who is online has changed what others may see.
    pub fn presence(&mut self, room_id: RoomId, user: UserId, presence: &Arc<Presence>) {
        if let Some(room) = self.get(room_id) {
            room.presence_changed(user, presence);
        }
        self.note_online(room_id);
    }

    /// Whether [`Rooms::push_ephemerals`] will have something to do.
    pub fn has_ephemerals(&self) -> bool {
        !self.presence_listed.is_empty() || !self.typing_listed.is_empty()
    }

    /// A few times a second: presence that has changed, and typing that has ended.
    pub fn push_ephemerals(&mut self, core: &mut Core) {
        let mut budget = DELIVERIES_PER_FLUSH;
        for _ in 0..self.presence_listed.len() {
            let Some(room_id) = self.presence_listed.pop_front() else { break };
            let Some(room) = self.get(room_id) else { continue };
            if !room.push_presence(core, &mut budget) {
                self.presence_listed.push_front(room_id);
                break;
            }
            room.presence_listed = false;
        }
        let mut listed = std::mem::take(&mut self.typing_listed);
        listed.retain(|room_id| {
            let Some(room) = self.get(*room_id) else { return false };
            room.expire_typing(core);
            room.typing_listed = !room.typing.is_empty();
            room.typing_listed
        });
        self.typing_listed = listed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::Role;

    fn caller(id: u64, status: Status, version: u64) -> Caller {
        let presence = Presence { status, version, ..Presence::default() };
        Caller { user_id: UserId(id), username: "ada".into(), role: Role::User, presence: Some(presence.into()) }
    }

    /// Steps on one user: `+` a connection with this status, `-` one less, `.` a flush; what each flush tells.
    #[test]
    fn only_what_is_new_is_told() {
        for (steps, told) in [
            ("o.", "online"),
            ("o-.", ""),
            ("o.-.", "online offline"),
            ("o.-o.", "online"),
            ("oo.-.", "online"),
            ("oo.--.", "online offline"),
            ("i.", ""),
            ("i.-.", ""),
            ("oi.", ""),
            ("o.a.", "online away"),
            ("o.i.-.", "online offline"),
            ("i.o.--.", "online offline"),
            ("o.ab.", "online busy"),
        ] {
            let (mut online, mut seen, mut version) = (Online::default(), Vec::new(), 0);
            for step in steps.chars() {
                version += 1;
                match step {
                    '-' => drop(online.leave(UserId(1))),
                    '.' => {
                        let news = online.listed(9).into_iter().filter_map(|user| online.settle(user));
                        seen.extend(news.map(|news| news.shown.map_or("offline", |shown| shown.status.shown())));
                    }
                    status => {
                        let status = match status {
                            'o' => Status::Online,
                            'a' => Status::Away,
                            'b' => Status::Busy,
                            _ => Status::Invisible,
                        };
                        online.enter(&caller(1, status, version));
                    }
                }
                let visible = online.users.values().filter(|entry| entry.presence.is_visible()).count();
                assert_eq!(online.visible(), visible, "{steps}");
            }
            assert_eq!(seen.join(" "), told, "{steps}");
            assert!(!online.is_dirty(), "{steps}");
        }
    }

    #[test]
    fn an_older_presence_changes_nothing() {
        let mut online = Online::default();
        online.enter(&caller(1, Status::Busy, 7));
        online.enter(&caller(1, Status::Online, 6));
        online.update(UserId(1), &Arc::new(Presence { version: 5, ..Presence::default() }));
        assert_eq!(online.status(UserId(1), UserId(2)), "busy");
        online.update(UserId(1), &Arc::new(Presence { version: 8, ..Presence::default() }));
        assert_eq!(online.status(UserId(1), UserId(2)), "online");
    }

    #[test]
    fn whoever_is_blocked_sees_offline() {
        let mut online = Online::default();
        let presence = Presence { hidden_from: [UserId(3)].into(), version: 1, ..Presence::default() };
        let user = Caller { presence: Some(presence.into()), ..caller(1, Status::Online, 0) };
        online.enter(&user);
        let expected = [(2, "online", vec![UserId(1)]), (3, "offline", vec![])];
        for (reader, status, seen) in expected {
            assert_eq!(online.status(UserId(1), UserId(reader)), status);
            assert_eq!(online.seen_by(UserId(reader)), seen);
        }
        let news = online.settle(UserId(1)).expect("news");
        assert_eq!(*news.except, [UserId(3)]);
    }
}
