//! Frames as the engine lets them out: everything in them is committed, and is what the log says.

use serde_json::Value;
use veza_engine::id::RoomId;
use veza_engine::store::{EventKind, EventRow};

use crate::model::{Reader, View, rfc3339};
use crate::world::World;

type Checked = Result<(), String>;

/// The kind of event that a push tells of.
pub(crate) fn event_kind(push: &str) -> Option<EventKind> {
    Some(match push {
        "message" => EventKind::Message,
        "void" => EventKind::Void,
        "message_edited" => EventKind::Edit,
        "message_deleted" => EventKind::Delete,
        "reaction_added" => EventKind::ReactionAdded,
        "reaction_removed" => EventKind::ReactionRemoved,
        "message_pinned" => EventKind::Pinned,
        "message_unpinned" => EventKind::Unpinned,
        "member_kicked" => EventKind::Kicked,
        "member_role_changed" => EventKind::RoleChanged,
        "user_sanctioned" => EventKind::Sanctioned,
        "room_updated" => EventKind::RoomUpdated,
        "room_deleted" => EventKind::RoomDeleted,
        _ => return None,
    })
}

/// Room and position that a frame names.
fn position(data: &Value) -> Option<(RoomId, u64)> {
    let room = data.get("room").filter(|room| room.is_object()).unwrap_or(data);
    Some((RoomId(room["room_id"].as_u64()?), data["seq"].as_u64().or(room["seq"].as_u64())?))
}

impl World {
    /// A frame leaves the engine.
    pub(crate) fn let_out(&mut self, client: usize, payload: &[u8]) {
        self.checker.frames += 1;
        self.trace(|| format!("to client {client}: {}", String::from_utf8_lossy(payload)));
        let Ok(value) = serde_json::from_slice::<Value>(payload) else {
            return self.checker.fail("a frame that is not JSON".into());
        };
        let (kind, data) = (value["type"].as_str().unwrap_or(""), &value["data"]);
        let name = if kind == "error" { data["code"].as_str().unwrap_or("") } else { kind };
        *self.checker.seen.entry(name.to_owned()).or_default() += 1;
        let question = value["id"].as_u64().and_then(|id| self.clients[client].asked.get(&id)).cloned();
        let result = match question {
            _ if kind == "error" => Ok(()),
            Some(question) => self.reply_fits(client, &question, data),
            None => self.push_fits(client, kind, data),
        };
        let result = result.and_then(|()| self.is_committed(data)).and_then(|()| self.is_alive(client));
        if let Err(problem) = result {
            self.checker.fail(format!("to client {client}: {problem}; frame {value}"));
        }
    }

    /// No position beyond the committed head is named.
    pub(crate) fn is_committed(&mut self, data: &Value) -> Checked {
        let Some((room, seq)) = position(data) else { return Ok(()) };
        let head = self.store.head(room);
        if seq > head {
            return Err(format!("{seq} of room {} is shown, but the committed head is {head}", room.0));
        }
        self.model.saw(self.steps, room, seq);
        Ok(())
    }

    fn push_fits(&self, client: usize, kind: &str, data: &Value) -> Checked {
        let Some(expected) = event_kind(kind) else { return self.ephemeral_fits(client, kind, data) };
        let (room, seq) = position(data).ok_or("no room_id or seq")?;
        let row = self.store.event(room, seq).ok_or("shown, but not committed")?;
        if row.kind != expected {
            return Err(format!("shown otherwise than it is stored: {row:?}"));
        }
        let Some(model) = self.model.rooms.get(&room) else { return Err("an event of no room".into()) };
        let to = self.store.head(room);
        if expected == EventKind::Message {
            return model.message_fits(data, Reader { user: None, from: 0, to, step: 0, reads_deleted: false });
        }
        let deleted = row.parent_id.and_then(|id| model.messages.get(&id.0)).is_some_and(|m| m.now().deleted);
        event_fits(row, data, deleted)
    }

    /// It is about a message that this user may know of, and was so.
    fn notification_fits(&self, client: usize, data: &Value, is_there: bool) -> Checked {
        let kind = data["kind"].as_str().unwrap_or("");
        let room = RoomId(data["room_id"].as_u64().filter(|_| is_there).ok_or("a notification about no room")?);
        let Some(user) = self.clients[client].user_id.filter(|_| kind != "invite") else { return Ok(()) };
        let model = self.room(room)?;
        let message = data["message_id"].as_u64().and_then(|id| model.messages.get(&id)).ok_or("about no message")?;
        if !model.ever_member(user) {
            return Err("about a message in a room of others".into());
        }
        let preview = data["preview"].as_str().unwrap_or("");
        let was_so = message.between(0, u64::MAX).any(|view| view.content.starts_with(preview));
        let mentions = |view: &View| view.everyone || view.mentions.contains(&user);
        let concerns = match kind {
            "mention" => message.between(0, u64::MAX).any(mentions),
            "dm" => self.is_dm(room),
            "reply" => message.parent.is_some(),
            _ => false,
        };
        if was_so && concerns { Ok(()) } else { Err("a notification without a reason, or of something else".into()) }
    }

    fn ephemeral_fits(&self, client: usize, kind: &str, data: &Value) -> Checked {
        let user = veza_engine::id::UserId(data["user_id"].as_u64().unwrap_or(0));
        let room = data["room_id"].as_u64().and_then(|room| self.store.rooms.get(&RoomId(room)));
        match (kind, room) {
            ("notification", room) => self.notification_fits(client, data, room.is_some()),
            ("read", Some(room)) => {
                let held = self.store.read_position(room, user);
                let fits = data["seq"].as_u64().is_some_and(|seq| held.is_none_or(|held| seq <= held.0));
                if fits { Ok(()) } else { Err(format!("a read position that is not stored: {held:?}")) }
            }
            ("typing" | "read" | "member_joined" | "member_left" | "presence" | "online_count", None)
                if !data["room_id"].is_null() =>
            {
                Err("about a room that is none".into())
            }
            _ => Ok(()),
        }
    }
}

fn event_fits(row: &EventRow, data: &Value, deleted: bool) -> Checked {
    let author = Value::from(row.author_id.map(|user| user.0));
    let stored: Value = row.data.as_deref().map_or(Ok(Value::Null), serde_json::from_str).unwrap_or_default();
    let at = Value::from(rfc3339(row.at));
    let is = |name: &str, value: &Value| {
        if data[name] == *value { Ok(()) } else { Err(format!("{name} is not {value} as in {row:?}")) }
    };
    is("at", &at)?;
    if let Some(message) = row.parent_id {
        is("message_id", &message.0.into())?;
    }
    for (name, value) in stored.as_object().into_iter().flatten() {
        is(name, value)?;
    }
    match row.kind {
        EventKind::Edit => {
            is("editor_id", &author)?;
            is("edited_at", &at)?;
            let content = data["content"].as_str().unwrap_or("");
            let hidden = deleted && content.is_empty();
            if hidden || row.content.as_deref() == Some(content) { Ok(()) } else { Err("another content".into()) }
        }
        EventKind::ReactionAdded | EventKind::ReactionRemoved => is("user_id", &author),
        EventKind::Void => Ok(()),
        _ => is("actor_id", &author),
    }
}
