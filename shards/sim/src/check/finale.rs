//! When everything has settled, counts are exact and lists are complete.

use serde_json::Value;
use veza_engine::id::{RoomId, UserId};
use veza_engine::store::{EventKind, RoomKind};

use crate::client::{Asked, Client, Reading};
use crate::model::View;
use crate::world::World;

type Checked = Result<(), String>;

fn equal<T: PartialEq + std::fmt::Debug>(what: &str, told: T, is: T) -> Checked {
    if told == is { Ok(()) } else { Err(format!("{what} is told as {told:?}, and is {is:?}")) }
}

impl World {
    /// An answer after which nothing changes any more.
    pub(crate) fn final_fits(&self, client: usize, asked: &Asked, data: &Value) -> Checked {
        let user = self.clients[client].user_id.unwrap_or(0);
        match asked {
            Asked::Unreads => self.unreads_are_exact(user, data),
            Asked::Search { word, room: None } => self.all_found(user, data, |_, view| view.content.contains(word)),
            Asked::Mentions => self.all_found(user, data, |everyone_since, view| {
                view.mentions.contains(&user) || (view.everyone && everyone_since)
            }),
            Asked::Read { room, reading: Reading::Stats } => self.stats_are_exact(*room, data),
            Asked::Read { room, reading: Reading::Members } => {
                self.members_are_exact(*room, data)?;
                self.statuses_are_exact(*room, user, data)
            }
            Asked::Read { room, reading: Reading::Roles } => {
                let told = data["roles"].as_array().ok_or("no roles")?;
                let custom = told.iter().filter(|role| role["built_in"] == false);
                let custom: Vec<&str> = custom.filter_map(|role| role["name"].as_str()).collect();
                equal(
                    "the list of custom roles",
                    custom,
                    self.store.rooms[room].roles.keys().map(|name| &**name).collect(),
                )
            }
            Asked::Dms => self.dms_are_exact(user, data),
            Asked::Blocks => {
                let told = data["users"].as_array().ok_or("no users")?;
                let told: Vec<u64> = told.iter().filter_map(|row| row["user_id"].as_u64()).collect();
                let blocked = |other: &u64| self.store.is_blocked(UserId(user), UserId(*other));
                equal("the list of blocks", told, (1..=self.store.user_count()).filter(blocked).collect())
            }
            _ => Ok(()),
        }
    }

    /// A dead process wrote last, and nobody has met it yet.
    fn is_unnoticed(&self, room: RoomId) -> bool {
        self.store.noticed_head(room) < self.store.head(room)
    }

    fn unreads_are_exact(&self, user: u64, data: &Value) -> Checked {
        let told = data["rooms"].as_array().ok_or("no rooms")?;
        let rows = self.store.unread(UserId(user));
        let ids = |list: Vec<u64>| list;
        let mut named: Vec<u64> = told.iter().filter_map(|row| row["room_id"].as_u64()).collect();
        named.sort_unstable();
        equal("the list of rooms", named, ids(rows.iter().map(|row| row.room_id.0).collect()))?;
        for row in told {
            let id = RoomId(row["room_id"].as_u64().unwrap_or(0));
            let Some(stored) = rows.iter().find(|row| row.room_id == id) else { continue };
            let position = stored.last_read_seq;
            let later = self.store.rooms[&id].events.iter().filter(|row| {
                row.kind == EventKind::Message && row.seq > position && row.author_id != Some(UserId(user))
            });
            let floor = self.store.rooms[&id].floor;
            let since = self.store.rooms[&id].members[&UserId(user)].joined_at;
            let mentions = later.clone().filter(|row| {
                let Some(message) = self.model.rooms[&id].messages.get(&row.seq.0) else { return false };
                let view = message.now();
                let everybody = view.everyone && since <= message.at;
                row.seq > floor && !view.deleted && (everybody || view.mentions.contains(&user))
            });
            equal("last_seq", row["last_seq"].as_u64(), Some(self.store.head(id)))?;
            equal("last_read_seq", row["last_read_seq"].as_u64(), Some(position.0))?;
            equal("unread_count", row["unread_count"].as_u64(), Some(later.clone().count() as u64))?;
            equal("mention_count", row["mention_count"].as_u64(), Some(mentions.count() as u64))?;
        }
        Ok(())
    }

    fn all_found(&self, user: u64, data: &Value, wanted: impl Fn(bool, &View) -> bool) -> Checked {
        let mut expected: Vec<(u64, u64)> = Vec::new();
        for (id, room) in &self.model.rooms {
            let Some(stored) = self.store.live(*id) else { continue };
            let Some(member) = stored.members.get(&UserId(user)) else { continue };
            let fits = room
                .messages
                .range(stored.floor.0 + 1..)
                .filter(|(_, message)| !message.now().deleted && wanted(member.joined_at <= message.at, message.now()));
            expected.extend(fits.map(|(seq, _)| (id.0, *seq)));
        }
        let told = data["messages"].as_array().ok_or("no messages")?;
        if !data["next_cursor"].is_null() {
            return Ok(()); // more than one page
        }
        let place = |shown: &Value| (shown["room_id"].as_u64().unwrap_or(0), shown["message_id"].as_u64().unwrap_or(0));
        let mut told: Vec<(u64, u64)> = told.iter().map(place).collect();
        told.sort_unstable();
        equal("what is found", told, expected)
    }

    fn stats_are_exact(&self, room: RoomId, data: &Value) -> Checked {
        let Some(stored) = self.store.live(room).filter(|_| !self.is_unnoticed(room)) else { return Ok(()) };
        let model = self.room(room)?;
        let retained = || model.messages.range(stored.floor.0 + 1..).map(|(_, message)| message.now());
        let number = |name: &str| data[name].as_u64();
        equal("member_count", number("member_count"), Some(model.members.len() as u64))?;
        equal("pinned_count", number("pinned_count"), Some(retained().filter(|m| m.pinned.is_some()).count() as u64))?;
        equal("message_count", number("message_count"), Some(retained().filter(|m| !m.deleted).count() as u64))
    }

    fn dms_are_exact(&self, user: u64, data: &Value) -> Checked {
        let rows: Vec<_> = self.store.unread(UserId(user)).into_iter().filter(|row| row.kind == RoomKind::Dm).collect();
        let told = data["conversations"].as_array().ok_or("no conversations")?;
        equal("the number of conversations", told.len(), rows.len())?;
        for row in rows {
            let of = |told: &&Value| told["conversation_id"] == row.room_id.0;
            let told = told.iter().find(of).ok_or_else(|| format!("conversation {} is missing", row.room_id.0))?;
            let mut others = self.store.rooms[&row.room_id].members.keys().filter(|other| other.0 != user);
            let (one, more) = (others.next(), others.next().is_some());
            let blocked = !more && one.is_some_and(|one| self.store.is_blocked(UserId(user), *one));
            equal("unread_count", told["unread_count"].as_u64(), Some(row.unread_count))?;
            equal("is_blocked", told["is_blocked"].as_bool(), Some(blocked))?;
            let last = self.room(row.room_id)?.messages.range(self.store.rooms[&row.room_id].floor.0 + 1..).next_back();
            equal("last_message", told["last_message"]["message_id"].as_u64(), last.map(|(id, _)| *id))?;
        }
        Ok(())
    }

    /// Who is subscribed (to a conversation: connected) is shown as set, but not when invisible, nor to the blocked.
    fn statuses_are_exact(&self, room: RoomId, viewer: u64, data: &Value) -> Checked {
        for row in data["members"].as_array().into_iter().flatten() {
            let user = row["user_id"].as_u64().filter(|user| *user != viewer);
            let Some(user) = user else { continue };
            let is_there = |client: &Client| {
                let subscribed = self.is_dm(room) || client.subs.contains_key(&room);
                client.user_id == Some(user) && client.conn.is_some() && subscribed
            };
            let shown = self.clients.iter().any(is_there) && !self.store.is_blocked(UserId(user), UserId(viewer));
            // A leave of one connection ends the subscriptions of the user's others, which are told nothing of it.
            let left = self.store.ended(room, user).next().is_some();
            if left && row["status"] == "offline" {
                continue;
            }
            let expected = if shown { self.store.status(UserId(user)).shown() } else { "offline" };
            equal(&format!("the status of {user}"), row["status"].as_str(), Some(expected))?;
        }
        Ok(())
    }

    fn members_are_exact(&self, room: RoomId, data: &Value) -> Checked {
        let told = data["members"].as_array().ok_or("no members")?;
        let row = |row: &Value| Some((row["user_id"].as_u64()?, row["role"].as_str()?.to_owned()));
        let told: Option<Vec<(u64, String)>> = told.iter().map(row).collect();
        let expected = self.room(room)?.members.iter().map(|(user, role)| (*user, role.clone())).collect();
        equal("the list of members", told, Some(expected))
    }
}
