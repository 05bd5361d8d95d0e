//! Who is mentioned, and who is told of a message.

use super::{Room, Rooms};
use crate::core::{Core, LoadFor, overloaded};
use crate::fanout::FrameBytes;
use crate::id::{RoomId, Seq, UserId};
use crate::peer::{Caller, PeerMessage};
use crate::store::{Load, LoadError, Loaded, RoomKind};
use crate::time::{Mono, SECOND_US};
use crate::wire::encode::{preview, push_frame};
use crate::wire::json::object;
use crate::wire::mention;
use crate::wire::{CommandError, Permission};

/// Names remembered per room; all are forgotten beyond.
const NAMES_MAX: usize = 4096;
/// Microseconds that a name is remembered: members come, go and are renamed.
const NAME_KEPT_US: u64 = 30 * SECOND_US;
/// Members told at a time of a message that mentions everybody.
const EVERYONE_PAGE: u32 = 1000;

/// Whom a text mentions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Mentioned {
    /// Members, ascending.
    pub users: Box<[UserId]>,
    /// All of them.
    pub everyone: bool,
}

/// A name that was looked up.
#[derive(Clone, Copy, Debug)]
pub(super) struct KnownName {
    /// The member of that name.
    user: Option<UserId>,
    until: Mono,
}

impl Room {
    /// Whom the content mentions; `Err(None)`: must be looked up first.
    pub(super) fn mentioned(
        &mut self,
        core: &mut Core,
        caller: &Caller,
        content: &str,
    ) -> Result<Mentioned, Option<Box<CommandError>>> {
        if !content.contains('@') || core.limits.max_mentions == 0 {
            return Ok(Mentioned::default());
        }
        let found = mention::find(content);
        let everyone = found.everyone && self.has(caller, Permission::MentionAll);
        let mut users = Vec::new();
        let mut unknown = Vec::new();
        for name in found.names.iter().take(2 * core.limits.max_mentions as usize) {
            match self.member_named(name, core.now.mono) {
                Some(user) => users.extend(user),
                None => unknown.push(name.clone()),
            }
        }
        if !unknown.is_empty() {
            self.load_names(core, unknown)?;
            return Err(None);
        }
        // Who is just coming or going is a member, or none, when that is through.
        if users.iter().any(|user| *user != caller.user_id && self.locked.contains_key(user)) {
            return Err(None);
        }
        users.retain(|user| !self.is_known_stranger(*user));
        users.sort_unstable();
        users.dedup();
        users.truncate(core.limits.max_mentions as usize);
        Ok(Mentioned { users: users.into(), everyone })
    }

    /// `None`: not known.
    fn member_named(&self, name: &str, now: Mono) -> Option<Option<UserId>> {
        if self.meta.kind == RoomKind::Dm {
            let found = self.participants.iter().find(|user| user.username.eq_ignore_ascii_case(name));
            return Some(found.map(|user| user.user_id));
        }
        self.names.get(name).filter(|known| known.until > now).map(|known| known.user)
    }

    fn load_names(&mut self, core: &mut Core, mut names: Vec<Box<str>>) -> Result<(), Option<Box<CommandError>>> {
        names.retain(|name| self.names_loading.iter().all(|(loading, _)| loading != name));
        if names.is_empty() {
            return Ok(());
        }
        let load = Load::Names { room_id: self.id(), names: names.clone() };
        let purpose = LoadFor::Names { room_id: self.id(), names: names.clone() };
        core.load(load, purpose).map_err(|_| Some(overloaded()))?;
        self.names_loading.extend(names.into_iter().map(|name| (name, false)));
        Ok(())
    }

    /// Names were looked up: what waited for them goes on.
    pub fn names_loaded(&mut self, core: &mut Core, names: &[Box<str>], result: Result<Loaded, LoadError>) {
        let answered = self.names_loading.extract_if(.., |(name, _)| names.contains(name));
        let stale: Vec<Box<str>> = answered.filter(|(_, stale)| *stale).map(|(name, _)| name).collect();
        let Ok(Loaded::Names(found)) = result else {
            return self.refuse_waiting(core, |command| super::content_of(command).is_some_and(|c| c.contains('@')));
        };
        if self.names.len() + names.len() > NAMES_MAX {
            self.names.clear();
        }
        let until = core.now.mono.after(NAME_KEPT_US);
        for name in names.iter().filter(|name| !stale.contains(name)) {
            let user = found.iter().find(|(found, _)| found == name).map(|(_, user)| *user);
            self.names.insert(name.clone(), KnownName { user, until });
        }
        self.retry_waiting(core);
    }

    /// Somebody is a member now, or is not any more.
    pub(super) fn forget_name(&mut self, username: &str) {
        if self.names.is_empty() && self.names_loading.is_empty() {
            return;
        }
        let name = username.to_ascii_lowercase();
        self.names.remove(&*name);
        if let Some((_, stale)) = self.names_loading.iter_mut().find(|(loading, _)| **loading == *name) {
            *stale = true; // read before or after, nobody knows: it is read again
        }
    }

    /// Tells those who are mentioned or answered in a room. In conversations the message itself is the notice.
    pub(super) fn notify(&mut self, core: &mut Core, notice: &Notice<'_>, mentioned: &Mentioned, answered: &[UserId]) {
        if self.meta.kind == RoomKind::Dm || (mentioned.users.is_empty() && !mentioned.everyone && answered.is_empty())
        {
            return;
        }
        let (room_id, author) = (self.id(), notice.author_id);
        if mentioned.everyone {
            let frame = notice.frame("mention", room_id);
            tell_page(core, Telling { room_id, author, message_id: notice.message_id, frame }, None);
        } else if !mentioned.users.is_empty() {
            let frame = notice.frame("mention", room_id);
            // They were members when the message was judged.
            for user in mentioned.users.iter().filter(|user| **user != author && !self.is_known_stranger(**user)) {
                push_user(core, *user, &frame);
            }
        }
        let rest: Vec<UserId> = answered
            .iter()
            .copied()
            .filter(|user| *user != author && !mentioned.everyone && !mentioned.users.contains(user))
            .collect();
        if !rest.is_empty() {
            let frame = notice.frame("reply", room_id);
            self.tell_members(core, &rest, Telling { room_id, author, message_id: notice.message_id, frame });
        }
    }

    /// Tells those of these users who are members (still): whoever took part in a thread may have left since.
    fn tell_members(&self, core: &mut Core, users: &[UserId], telling: Telling) {
        let (known, unknown): (Vec<UserId>, Vec<UserId>) =
            users.iter().partition(|user| self.members.contains_key(user));
        for user in known.into_iter().filter(|user| self.is_member(*user)) {
            push_user(core, user, &telling.frame);
        }
        if !unknown.is_empty() {
            let load = Load::Members { room_id: telling.room_id, user_ids: unknown };
            let _ = core.load(load, LoadFor::Telling(Box::new(telling))); // given up as below
        }
    }

    /// Known, and no member.
    fn is_known_stranger(&self, user: UserId) -> bool {
        self.members.contains_key(&user) && !self.is_member(user)
    }
}

/// A message that somebody is told of.
pub(super) struct Notice<'a> {
    /// Whose.
    pub author_id: UserId,
    /// Which.
    pub message_id: Seq,
    /// What it says.
    pub content: &'a str,
}

impl Notice<'_> {
    fn frame(&self, kind: &str, room_id: RoomId) -> FrameBytes {
        let data = object(|o| {
            o.text("kind", kind)
                .uint("room_id", room_id.0)
                .uint("message_id", self.message_id.0)
                .uint("from_user_id", self.author_id.0)
                .text("preview", preview(self.content))
                .end();
        });
        push_frame("notification", &data)
    }
}

/// A push to all connections of a user.
pub(super) fn push_user(core: &mut Core, user_id: UserId, frame: &FrameBytes) {
    let message = PeerMessage::UserPush { user_id, frame: frame.clone(), notify: None };
    core.send(user_id.home(core.shards), message);
}

/// Members are to be told of a message; who they are is being read.
#[derive(Debug)]
pub struct Telling {
    /// Where.
    pub room_id: RoomId,
    /// Who is not told.
    pub author: UserId,
    /// Of what.
    pub message_id: Seq,
    /// The notification.
    pub frame: FrameBytes,
}

/// Asks for the next members to be told.
fn tell_page(core: &mut Core, telling: Telling, cursor: Option<Box<str>>) {
    let load = Load::MemberPage { room_id: telling.room_id, role: None, among: None, limit: EVERYONE_PAGE, cursor };
    // Given up where the database has no room for more queries: the message itself is in everybody's log.
    let _ = core.load(load, LoadFor::Telling(Box::new(telling)));
}

impl Rooms {
    /// Tells the members that were read, and asks for the next ones. What has happened since counts: nobody who has
    /// gone is told, and nobody of a message that was deleted.
    pub fn tell(&mut self, core: &mut Core, telling: Telling, result: Result<Loaded, LoadError>) {
        let (users, next): (Vec<UserId>, _) = match result {
            Ok(Loaded::MemberPage { members, next }) => {
                (members.into_iter().map(|(member, _)| member.user_id).collect(), next)
            }
            Ok(Loaded::Members(rows)) => {
                (rows.into_iter().filter(|row| row.member.is_some()).map(|row| row.user_id).collect(), None)
            }
            Ok(other) => unreachable!("members to be told were asked for, not {other:?}"),
            Err(_) => return,
        };
        let room = self.get(telling.room_id);
        if room.as_ref().is_some_and(|room| room.is_gone(telling.message_id)) {
            return;
        }
        for user in users {
            let is_stranger = room.as_ref().is_some_and(|room| room.is_known_stranger(user));
            if user != telling.author && !is_stranger {
                push_user(core, user, &telling.frame);
            }
        }
        if next.is_some() {
            tell_page(core, telling, next);
        }
    }
}
