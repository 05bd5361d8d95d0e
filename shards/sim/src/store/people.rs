//! Users as queries answer them: names, standings in rooms, profiles, sanctions.

use veza_engine::id::{RoomId, Seq, UserId};
use veza_engine::input::Identity;
use veza_engine::store::{CONTACTS_MAX, MemberRow, Profile, RoomKind, SanctionRow, Standing, UnreadRow, UserRow};
use veza_engine::time::WallMs;
use veza_engine::wire::Status;

use super::{Store, StoredRoom, is_message};

impl Store {
    /// A user's name.
    pub(super) fn username(&self, user: UserId) -> Box<str> {
        self.user(user).map(|row| row.username.clone()).unwrap_or_default()
    }

    pub(super) fn user(&self, user: UserId) -> Option<&UserRow> {
        self.users.get((user.0 as usize).checked_sub(1)?)
    }

    /// Users so far; their ids are 1 to this.
    pub fn user_count(&self) -> u64 {
        self.users.len() as u64
    }

    /// The user of this name, in lower case.
    pub fn user_of_name(&self, name: &str) -> Option<u64> {
        self.users.iter().find(|user| user.username.to_lowercase() == name).map(|user| user.user_id.0)
    }

    /// The number in the name of a user of the workload (`name3`).
    pub fn number_of(&self, user: u64) -> Option<usize> {
        self.user(UserId(user))?.username.strip_prefix("name")?.parse().ok()
    }

    pub(super) fn identify(&mut self, identity: &Identity) -> UserRow {
        let key = format!("{}/{}", identity.iss, identity.sub);
        let next = UserId(self.users.len() as u64 + 1);
        let id = *self.subjects.entry(key).or_insert(next);
        if id == next {
            let username = identity.username.clone().unwrap_or_else(|| format!("user{}", id.0).into());
            let role = "user".into();
            self.users.push(UserRow { user_id: id, username, role, created_at: WallMs(0) });
        }
        self.users[id.0 as usize - 1].clone()
    }

    /// Rooms and conversations of a user that are not deleted.
    pub(super) fn rooms_of(&self, user: UserId) -> impl Iterator<Item = &StoredRoom> {
        self.rooms.values().filter(move |room| room.deleted_at.is_none() && room.members.contains_key(&user))
    }

    pub(super) fn member_row(&self, room: &StoredRoom, user: UserId) -> Option<MemberRow> {
        let mut member = room.members.get(&user)?.clone();
        let newest = room.events.iter().rev();
        if let Some(own) = newest
            .take_while(|row| row.seq > member.last_read_seq)
            .find(|row| is_message(row) && row.author_id == Some(user))
        {
            (member.last_read_seq, member.last_read_no) = (own.seq, own.message_no);
        }
        Some(member)
    }

    pub(super) fn standings(&self, room: &StoredRoom, users: &[UserId]) -> Vec<Standing> {
        let room_id = room.meta.room_id;
        let standing = |user: &UserId| {
            Some(Standing {
                user_id: *user,
                username: self.user(*user)?.username.clone(),
                member: self.member_row(room, *user),
                invited: room.invites.contains(user),
                sanctions: self.active_sanctions(room_id, *user),
            })
        };
        users.iter().filter_map(standing).collect()
    }

    fn active_sanctions(&self, room_id: RoomId, user: UserId) -> Vec<SanctionRow> {
        // Those that are over by the clock are left to the reader, who has one.
        let of_user = self.sanctions.values().filter(|row| row.room_id == room_id && row.user_id == user);
        of_user.filter(|row| row.is_active(WallMs(i64::MIN))).cloned().collect()
    }

    /// Sanctions of rooms that are not deleted, newest first.
    pub(super) fn sanctions(
        &self,
        room: Option<RoomId>,
        user: Option<UserId>,
        active: Option<bool>,
        now: WallMs,
    ) -> Vec<SanctionRow> {
        let all = self.sanctions.values().rev().filter(|row| {
            self.live(row.room_id).is_some()
                && room.is_none_or(|room| row.room_id == room)
                && user.is_none_or(|user| row.user_id == user)
                && active.is_none_or(|active| row.is_active(now) == active)
        });
        all.cloned().collect()
    }

    pub(super) fn profile(&self, user: UserId) -> Profile {
        let account = self.accounts.get(&user).cloned().unwrap_or_default();
        let mut dms: Vec<&StoredRoom> = self.rooms_of(user).filter(|room| room.meta.kind == RoomKind::Dm).collect();
        dms.sort_by_key(|room| std::cmp::Reverse(room.meta.room_id));
        let others = |room: &StoredRoom| room.members.keys().copied().filter(|other| *other != user).collect();
        Profile {
            status: account.status,
            message: account.message,
            last_seen_at: account.last_seen_at,
            blocks: account.blocks.keys().copied().collect(),
            contacts: dms.into_iter().take(CONTACTS_MAX).map(|room| (room.meta.room_id, others(room))).collect(),
        }
    }

    pub(super) fn blocks(&self, user: UserId) -> Vec<(UserRow, WallMs)> {
        let Some(account) = self.accounts.get(&user) else { return Vec::new() };
        account.blocks.iter().filter_map(|(other, at)| Some((self.user(*other)?.clone(), *at))).collect()
    }

    /// What a user has set.
    pub fn status(&self, user: UserId) -> Status {
        self.accounts.get(&user).map_or(Status::Online, |account| account.status)
    }

    /// Whether the first blocks the second.
    pub fn is_blocked(&self, blocker: UserId, blocked: UserId) -> bool {
        self.accounts.get(&blocker).is_some_and(|account| account.blocks.contains_key(&blocked))
    }

    /// How far a member has read, by what is committed.
    pub fn read_position(&self, room: &StoredRoom, user: UserId) -> Option<Seq> {
        self.member_row(room, user).map(|member| member.last_read_seq)
    }

    /// What `get_unread` must say.
    pub fn unread(&self, user: UserId) -> Vec<UnreadRow> {
        let joined = self.rooms_of(user).filter_map(|room| Some((room, self.member_row(room, user)?)));
        joined.map(|(room, member)| self.unread_row(room, &member)).collect()
    }

    pub(super) fn unread_row(&self, room: &StoredRoom, member: &MemberRow) -> UnreadRow {
        let mentions = room.messages.range(Seq(member.last_read_seq.0 + 1)..).filter(|(seq, _)| {
            let author = room.events[seq.0 as usize - 1].author_id;
            author != Some(member.user_id) && self.is_mentioned(room, member.user_id, **seq)
        });
        UnreadRow {
            room_id: room.meta.room_id,
            kind: room.meta.kind,
            epoch: room.meta.epoch,
            head: room.head(),
            last_read_seq: member.last_read_seq,
            unread_count: room.message_no() - member.last_read_no,
            mention_count: mentions.count() as u64,
        }
    }
}
