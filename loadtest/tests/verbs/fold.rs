//! What the events of a room amount to.

use super::player::{Ack, Claim};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use veza_loadtest::client::Client;
use veza_loadtest::frame::Frame;
use veza_loadtest::testing::number;

#[derive(Default)]
struct Message {
    author: u64,
    /// As the log shows it now.
    content: String,
    parent: Option<u64>,
    edits: Vec<String>,
    deleted: bool,
    answers: u64,
    /// Emoji and users, in the order of the first ones.
    reactions: Vec<(String, BTreeSet<u64>)>,
}

/// A room as far as its log is read.
#[derive(Default)]
pub struct Fold {
    room: u64,
    pub head: u64,
    kinds: Vec<String>,
    messages: BTreeMap<u64, Message>,
    /// The one pinned last is last.
    pins: Vec<u64>,
    topic: Option<String>,
    roles: BTreeMap<u64, String>,
    warned: BTreeSet<u64>,
    /// What was sent, of acknowledged messages.
    sent: BTreeMap<u64, String>,
}

fn word(value: &Value, member: &str) -> String {
    value[member].as_str().unwrap_or_else(|| panic!("{member} is no text in {value}")).to_owned()
}

impl Fold {
    pub fn new(room: u64) -> Fold {
        Fold { room, ..Fold::default() }
    }

    /// Takes the next event.
    pub fn take(&mut self, push: &Frame) {
        let data = &push.data;
        assert_eq!(number(data, "seq"), self.head + 1, "no hole, nothing twice: {push:?}");
        self.head += 1;
        self.kinds.push(push.kind.clone());
        match push.kind.as_str() {
            "message" => self.message(data),
            "message_edited" => self.named(data).edits.push(word(data, "content")),
            "message_deleted" => {
                self.named(data).deleted = true;
                let id = number(data, "message_id");
                self.pins.retain(|pinned| *pinned != id);
            }
            "reaction_added" | "reaction_removed" => self.reaction(data, push.kind == "reaction_added"),
            "message_pinned" => self.pins.push(number(data, "message_id")),
            "message_unpinned" => {
                let id = number(data, "message_id");
                self.pins.retain(|pinned| *pinned != id);
            }
            "room_updated" => self.topic = data["room"]["topic"].as_str().map(str::to_owned),
            "member_role_changed" => drop(self.roles.insert(number(data, "user_id"), word(data, "role"))),
            "user_sanctioned" => drop(self.warned.insert(self.head)),
            other => panic!("{other} is nothing that the players do: {push:?}"),
        }
    }

    fn message(&mut self, data: &Value) {
        let parent = data["parent_id"].as_u64();
        if let Some(parent) = parent {
            self.messages.get_mut(&parent).expect("an answer comes after its message").answers += 1;
        }
        let (author, content) = (number(data, "author_id"), word(data, "content"));
        self.messages.insert(self.head, Message { author, content, parent, ..Message::default() });
    }

    fn named(&mut self, data: &Value) -> &mut Message {
        self.messages.get_mut(&number(data, "message_id")).expect("a message")
    }

    fn reaction(&mut self, data: &Value, added: bool) {
        let (emoji, user, count) = (word(data, "emoji"), number(data, "user_id"), number(data, "count"));
        let reactions = &mut self.named(data).reactions;
        if !reactions.iter().any(|(known, _)| *known == emoji) {
            reactions.push((emoji.clone(), BTreeSet::new()));
        }
        let index = reactions.iter().position(|(known, _)| *known == emoji).expect("it is there");
        let users = &mut reactions[index].1;
        let changed = if added { users.insert(user) } else { users.remove(&user) };
        assert!(changed, "an event that changes nothing: {data}");
        assert_eq!(users.len() as u64, count, "{data}");
        if users.is_empty() {
            reactions.remove(index);
        }
    }

    pub fn kind_at(&self, seq: u64) -> Option<&str> {
        self.kinds.get(usize::try_from(seq).expect("small") - 1).map(String::as_str)
    }

    /// What was acknowledged at this head is so.
    pub fn check_ack(&mut self, ack: &Ack) {
        let message = |id: &u64| self.messages.get(id).unwrap_or_else(|| panic!("{ack:?}: no such message"));
        let reacted = |id: &u64, emoji: &str| {
            let users = message(id).reactions.iter().find(|(known, _)| known == emoji);
            users.is_some_and(|(_, users)| users.contains(&ack.user))
        };
        let holds = match &ack.claim {
            Claim::Sent { content } => {
                self.sent.insert(self.head, content.clone());
                self.messages.get(&self.head).is_some_and(|sent| sent.author == ack.user)
            }
            Claim::Edited { id, content } => {
                self.kind_at(self.head) == Some("message_edited")
                    && message(id).edits.last().is_some_and(|shown| shown == content || shown.is_empty())
            }
            Claim::Deleted { id } => message(id).deleted,
            Claim::Reacted { id, emoji } => reacted(id, emoji),
            Claim::Unreacted { id, emoji } => !reacted(id, emoji),
            Claim::Pinned { id } => self.pins.contains(id),
            Claim::Unpinned { id } => !self.pins.contains(id),
            Claim::Topic(topic) => self.topic.as_ref() == Some(topic),
            Claim::Role { user, role } => self.roles.get(user) == Some(role),
            Claim::Warned => self.warned.contains(&self.head),
        };
        assert!(holds, "acknowledged, but not so at {} of room {}: {ack:?}", self.head, self.room);
    }

    /// What was sent is what is there: exactly once.
    pub fn check_reads_of(&self, id: u64, read: &Value, me: u64) {
        let message = &self.messages[&id];
        let reactions: Vec<Value> = message
            .reactions
            .iter()
            .filter(|_| !message.deleted)
            .map(|(emoji, users)| json!({"emoji": emoji, "count": users.len(), "me": users.contains(&me)}))
            .collect();
        let content = match message.edits.last() {
            _ if message.deleted => "",
            Some(edit) => edit,
            None => &message.content,
        };
        let expected = json!({
            "message_id": id, "author_id": message.author, "content": content, "parent_id": message.parent,
            "thread_count": message.answers, "edit_count": message.edits.len(), "is_edited": !message.edits.is_empty(),
            "is_deleted": message.deleted, "is_pinned": self.pins.contains(&id), "reactions": reactions,
        });
        for (name, value) in expected.as_object().expect("an object") {
            assert_eq!(&read[name], value, "{name} of {read}, room {}", self.room);
        }
    }

    pub async fn check_reads(&self, reader: &mut Client) {
        let me = reader.user_id();
        let mut after = 0;
        let mut contents = BTreeSet::new();
        let mut read = 0;
        loop {
            let page = reader.ok("get_history", json!({"room_id": self.room, "after_id": after, "limit": 100})).await;
            for message in page["messages"].as_array().expect("messages") {
                after = number(message, "message_id");
                self.check_reads_of(after, message, me);
                let content = word(message, "content");
                assert!(content.is_empty() || contents.insert(content), "sent twice: {message}");
                read += 1;
            }
            if page["has_more"] == false {
                break;
            }
        }
        assert_eq!(read, self.messages.len(), "room {}", self.room);
        let pinned = reader.ok("get_pinned_messages", json!({"room_id": self.room})).await;
        let ids: Vec<u64> =
            pinned["messages"].as_array().expect("messages").iter().map(|m| number(m, "message_id")).collect();
        assert_eq!(ids, self.pins.iter().rev().copied().collect::<Vec<u64>>(), "room {}", self.room);
        for (id, message) in self.messages.iter().filter(|(_, message)| !message.deleted) {
            let about = json!({"room_id": self.room, "message_id": id});
            if !message.reactions.is_empty() {
                let reply = reader.ok("get_reactions", about.clone()).await;
                for (shown, (emoji, users)) in
                    reply["reactions"].as_array().expect("reactions").iter().zip(&message.reactions)
                {
                    let named: BTreeSet<u64> =
                        shown["users"].as_array().expect("users").iter().map(|user| number(user, "user_id")).collect();
                    assert_eq!((&shown["emoji"], &named), (&json!(emoji), users), "{reply}");
                }
            }
            if !message.edits.is_empty() {
                let reply = reader.ok("get_edits", about).await;
                let versions: Vec<&Value> =
                    reply["edits"].as_array().expect("edits").iter().map(|edit| &edit["content"]).collect();
                assert_eq!(
                    versions[1..],
                    message.edits.iter().map(|edit| json!(edit)).collect::<Vec<_>>().iter().collect::<Vec<_>>()
                );
            }
        }
    }

    /// Settings and roles.
    pub async fn check_settings(&self, reader: &mut Client) {
        let read = reader.ok("get_room", json!({"room_id": self.room})).await;
        assert_eq!(read["room"]["topic"].as_str().map(str::to_owned), self.topic, "{read}");
        let read = reader.ok("get_members", json!({"room_id": self.room, "limit": 100})).await;
        for member in read["members"].as_array().expect("members") {
            let role = self.roles.get(&number(member, "user_id")).map_or("owner", String::as_str);
            assert_eq!(member["role"], role, "{read}");
        }
    }
}
