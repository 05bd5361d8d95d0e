//! Pushes as a client reads them, one after the other.

use serde_json::Value;
use veza_engine::id::RoomId;

use crate::check::event_kind;
use crate::model::Reader;
use crate::plant::Plant;
use crate::world::World;

type Checked = Result<(), String>;

impl World {
    pub(super) fn push(&mut self, client: usize, kind: &str, data: &Value) -> Checked {
        if event_kind(kind).is_none() {
            return self.ephemeral(client, kind, data);
        }
        let room = RoomId(data["room_id"].as_u64().or(data["room"]["room_id"].as_u64()).ok_or("no room_id")?);
        let seq = data["seq"].as_u64().ok_or("no seq")?;
        let taken_at = self.clients[client].subs.get(&room).map_or(0, |tracking| tracking.taken_at);
        if self.plant == Some(Plant::ShortReplay) && seq == taken_at {
            return Ok(());
        }
        let is_dm = self.is_dm(room);
        if let (Some(tracking), Some(user)) = (self.clients[client].subs.get(&room), self.clients[client].user_id) {
            let ended = self.store.ended(room, user).find(|head| tracking.taken_at < *head && seq > *head);
            if let Some(head) = ended {
                return Err(format!("event {seq} of room {} after the membership ended at {head}", room.0));
            }
        }
        self.clients[client].event(room, seq, is_dm)?;
        self.replay_is_fresh(client, room, kind, seq, data)?;
        self.take_in(client, room, kind, seq, data)
    }

    /// Replays show messages as they were when the replay was asked for, or later.
    fn replay_is_fresh(&self, client: usize, room: RoomId, kind: &str, seq: u64, data: &Value) -> Checked {
        let client = &self.clients[client];
        let step = match client.subs.get(&room) {
            Some(tracking) if seq <= tracking.taken_at => tracking.step,
            _ => return Ok(()),
        };
        let from = self.model.visible_before(room, step);
        let model = self.room(room)?;
        let reader = Reader { user: None, from, to: self.store.head(room), step, reads_deleted: false };
        match kind {
            "message" => model.message_fits(data, reader),
            "message_edited" => {
                let message = data["message_id"].as_u64().and_then(|id| model.messages.get(&id));
                let deleted = message.and_then(|message| message.at_head(from)).is_some_and(|view| view.deleted);
                let hidden = data["content"].as_str().unwrap_or("").is_empty();
                if deleted && !hidden { Err("an edit of a deleted message is replayed".into()) } else { Ok(()) }
            }
            _ => Ok(()),
        }
    }

    /// What the event means for this client.
    fn take_in(&mut self, client: usize, room: RoomId, kind: &str, seq: u64, data: &Value) -> Checked {
        let own = data["user_id"].as_u64() == self.clients[client].user_id;
        let replayed = self.clients[client].subs.get(&room).is_some_and(|tracking| seq <= tracking.taken_at);
        match kind {
            "message_deleted" => {
                let message = data["message_id"].as_u64().ok_or("no message_id")?;
                self.clients[client].gone.insert((room, message));
            }
            "member_kicked" if own && !replayed => self.expelled(client, room, seq)?,
            "user_sanctioned" if own && !replayed && (data["kind"] == "kick" || data["kind"] == "ban") => {
                self.expelled(client, room, seq)?;
            }
            "room_deleted" => {
                self.clients[client].subs.remove(&room);
                self.clients[client].seen.remove(&room);
            }
            _ => {}
        }
        Ok(())
    }

    /// Nothing of the room may come any more.
    fn expelled(&mut self, client: usize, room: RoomId, seq: u64) -> Checked {
        self.clients[client].subs.remove(&room);
        self.clients[client].seen.remove(&room);
        if self.plant == Some(Plant::EventAfterKick) {
            return self.clients[client].event(room, seq + 1, false);
        }
        Ok(())
    }

    fn ephemeral(&mut self, client: usize, kind: &str, data: &Value) -> Checked {
        let known = ["typing", "presence", "read", "member_joined", "member_left", "online_count"];
        if !known.contains(&kind) {
            return Ok(());
        }
        if let Some(room) = data["room_id"].as_u64().map(RoomId) {
            let is_of_it = self.clients[client].subs.contains_key(&room) || self.is_dm(room);
            if !is_of_it {
                return Err(format!("{kind} of room {} without a subscription", room.0));
            }
            if self.is_dm(room) && !self.is_member(client, room) {
                return Err(format!("{kind} of a conversation of others"));
            }
        }
        if kind == "presence" { self.presence(client, data) } else { Ok(()) }
    }

    fn presence(&self, client: usize, data: &Value) -> Checked {
        let Some(text) = data["message"].as_str() else { return Ok(()) };
        let (of, hidden) = self.statuses.get(text).ok_or("a status that nobody has set")?;
        if data["user_id"].as_u64() != Some(*of) {
            return Err("somebody else's status".into());
        }
        if self.clients[client].user_id.is_some_and(|user| hidden.contains(&user)) {
            return Err("the status of one who blocks this user".into());
        }
        if text.starts_with("invisible") && data["status"] != "offline" {
            return Err("invisible, and shown".into());
        }
        Ok(())
    }

    /// After a deletion was told on a connection, no content of the message comes on it.
    pub(super) fn content_is_gone(&self, client: usize, value: &Value) -> Checked {
        let gone = &self.clients[client].gone;
        if gone.is_empty() {
            return Ok(());
        }
        let mut todo = vec![value];
        while let Some(value) = todo.pop() {
            match value {
                Value::Array(list) => todo.extend(list),
                Value::Object(members) => {
                    let of = (value["room_id"].as_u64(), value["message_id"].as_u64());
                    let shown = value["content"].as_str().is_some_and(|content| !content.is_empty());
                    if let (Some(room), Some(message)) = of
                        && shown
                        && gone.contains(&(RoomId(room), message))
                    {
                        return Err(format!("content of message {message}, whose deletion was told before"));
                    }
                    todo.extend(members.values());
                }
                _ => {}
            }
        }
        Ok(())
    }
}
