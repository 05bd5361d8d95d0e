//! A room as a reader builds it up from pushes alone: what it comes to must be what the server says in the end.

use crate::check::Violations;
use crate::fault::reader::Watch;
use crate::frame::Frame;
use serde_json::Value;
use std::collections::BTreeMap;

/// A message as the pushes left it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// Empty if it is deleted.
    pub content: String,
    /// Edits.
    pub edit_count: u64,
    /// A tombstone.
    pub deleted: bool,
    /// Pinned.
    pub pinned: bool,
    /// Counts by emoji.
    pub reactions: BTreeMap<String, u64>,
}

impl Shown {
    /// From a message object, as pushes and replies have it.
    pub fn read(message: &Value) -> Shown {
        let reactions = message["reactions"].as_array().map_or(&[][..], Vec::as_slice);
        let count = |reaction: &Value| Some((reaction["emoji"].as_str()?.to_owned(), reaction["count"].as_u64()?));
        Shown {
            content: message["content"].as_str().unwrap_or("(none)").to_owned(),
            edit_count: message["edit_count"].as_u64().unwrap_or(u64::MAX),
            deleted: message["is_deleted"] == true,
            pinned: message["is_pinned"] == true,
            reactions: reactions.iter().filter_map(count).collect(),
        }
    }
}

/// One room.
#[derive(Debug)]
pub struct Replica {
    room: u64,
    last: u64,
    /// By id.
    pub messages: BTreeMap<u64, Shown>,
    /// By place: type of the push, and its message.
    pub log: BTreeMap<u64, (String, u64)>,
    /// The room's settings, of the newest push that had them.
    pub settings: Option<Value>,
}

impl Watch for Replica {
    fn begin(room: u64) -> Replica {
        Replica { room, last: 0, messages: BTreeMap::new(), log: BTreeMap::new(), settings: None }
    }

    fn room(&self) -> u64 {
        self.room
    }

    fn last(&self) -> u64 {
        self.last
    }

    fn event(&mut self, seq: u64, frame: &Frame, violations: &mut Violations) {
        if seq != self.last + 1 {
            violations.add(format!("room {}: {} was followed by {seq}", self.room, self.last));
        }
        self.last = seq;
        let data = &frame.data;
        let id = data["message_id"].as_u64().unwrap_or(0);
        self.log.insert(seq, (frame.kind.clone(), id));
        match frame.kind.as_str() {
            "message" => drop(self.messages.insert(id, Shown::read(data))),
            "room_updated" => self.settings = Some(data["room"].clone()),
            kind if id > 0 => match self.messages.get_mut(&id) {
                Some(message) => change(message, kind, data),
                None => violations.add(format!("room {}: {kind} of {id}, which was never shown", self.room)),
            },
            _ => {}
        }
    }
}

fn change(message: &mut Shown, kind: &str, data: &Value) {
    match kind {
        "message_edited" => {
            // Replayed after its message was deleted, an edit is a void; so this is of one that was there.
            data["content"].as_str().unwrap_or("(none)").clone_into(&mut message.content);
            message.edit_count = data["edit_count"].as_u64().unwrap_or(u64::MAX);
        }
        "message_deleted" => {
            message.content.clear();
            (message.deleted, message.pinned) = (true, false);
        }
        "message_pinned" => message.pinned = true,
        "message_unpinned" => message.pinned = false,
        "reaction_added" | "reaction_removed" => {
            let emoji = data["emoji"].as_str().unwrap_or("(none)").to_owned();
            match data["count"].as_u64().unwrap_or(u64::MAX) {
                0 => drop(message.reactions.remove(&emoji)),
                count => drop(message.reactions.insert(emoji, count)),
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pushes_add_up_to_what_is_there() {
        let mut replica = Replica::begin(1);
        let mut violations = Violations::default();
        let message = json!({"message_id": 1, "content": "a", "edit_count": 0, "is_deleted": false, "is_pinned": false, "reactions": []});
        let pushes = [
            ("message", message),
            ("reaction_added", json!({"message_id": 1, "emoji": "👍", "count": 1})),
            ("message_edited", json!({"message_id": 1, "content": "b", "edit_count": 1})),
            ("message_pinned", json!({"message_id": 1})),
        ];
        for (index, (kind, data)) in pushes.into_iter().enumerate() {
            replica.event(index as u64 + 1, &Frame { kind: kind.into(), id: None, data }, &mut violations);
        }
        let reactions = BTreeMap::from([("👍".to_owned(), 1)]);
        let expected = Shown { content: "b".into(), edit_count: 1, deleted: false, pinned: true, reactions };
        assert_eq!((replica.messages.get(&1), violations.count), (Some(&expected), 0));
        let gap = Frame { kind: "message_deleted".into(), id: None, data: json!({"message_id": 2}) };
        replica.event(7, &gap, &mut violations);
        assert_eq!(violations.count, 2, "a hole, and a message that nobody has seen");
    }
}
