//! A message at one moment, and whether something that is shown is that.

use std::collections::BTreeSet;

use serde_json::Value;
use veza_engine::id::{Seq, UserId};
use veza_engine::time::WallMs;

use super::{MessageModel, RoomModel};
use crate::store::StoredRoom;

/// A message at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Its text.
    pub content: String,
    /// Mentioned users, ascending.
    pub mentions: Vec<u64>,
    /// Everybody is mentioned.
    pub everyone: bool,
    /// Edits.
    pub edit_count: u64,
    /// Of the newest one.
    pub edited_at: Option<WallMs>,
    /// It is a tombstone.
    pub deleted: bool,
    /// Position of the event that pinned it.
    pub pinned: Option<u64>,
    /// Answers.
    pub thread_count: u64,
    /// Emoji with their users, in the order of the first ones.
    pub reactions: Vec<(String, BTreeSet<u64>)>,
}

impl MessageModel {
    /// As it now is.
    pub fn now(&self) -> &View {
        &self.versions.last().expect("a message has a first version").1
    }

    /// All that it was from one head to another.
    pub fn between(&self, from: u64, to: u64) -> impl Iterator<Item = &View> {
        let first = self.versions.partition_point(|(seq, _)| *seq <= from).saturating_sub(1);
        self.versions[first..].iter().take_while(move |(seq, _)| *seq <= to).map(|(_, view)| &**view)
    }

    /// Its own position.
    pub fn first(&self) -> u64 {
        self.versions[0].0
    }

    /// At one head; `None`: it was not there yet.
    pub fn at_head(&self, head: u64) -> Option<&View> {
        let after = self.versions.partition_point(|(seq, _)| *seq <= head);
        after.checked_sub(1).map(|last| &*self.versions[last].1)
    }

    /// Positions of its edits up to a head.
    pub fn edits_at(&self, head: u64) -> &[u64] {
        &self.edits[..self.edits.partition_point(|seq| *seq <= head)]
    }
}

impl View {
    /// The first difference to a message object. `reader`: whose `me` it has. `may_read_deleted`: content of a tombstone
    /// is no fault.
    pub fn differs(&self, shown: &Value, reader: Option<u64>, may_read_deleted: bool) -> Option<String> {
        let content = shown["content"].as_str().unwrap_or("");
        let expected = if self.deleted { "" } else { &self.content };
        if content != expected && !(self.deleted && may_read_deleted) {
            return Some(format!("content {content:?}, not {expected:?}"));
        }
        let scalars = [
            ("is_deleted", Value::from(self.deleted)),
            ("is_pinned", self.pinned.is_some().into()),
            ("is_edited", (self.edit_count > 0).into()),
            ("edit_count", self.edit_count.into()),
            ("thread_count", self.thread_count.into()),
            ("edited_at", self.edited_at.map(rfc3339).into()),
        ];
        for (name, value) in scalars {
            if shown[name] != value {
                return Some(format!("{name} {}, not {value}", shown[name]));
            }
        }
        if self.deleted {
            return None;
        }
        if shown["mentions"] != Value::from(self.mentions.clone()) {
            return Some(format!("mentions {}, not {:?}", shown["mentions"], self.mentions));
        }
        self.reactions_differ(&shown["reactions"], reader)
    }

    fn reactions_differ(&self, shown: &Value, reader: Option<u64>) -> Option<String> {
        let expected: Vec<Value> = self
            .reactions
            .iter()
            .map(|(emoji, users)| match reader {
                Some(reader) => {
                    serde_json::json!({"emoji": emoji, "count": users.len(), "me": users.contains(&reader)})
                }
                None => serde_json::json!({"emoji": emoji, "count": users.len()}),
            })
            .collect();
        let expected = Value::from(expected);
        (*shown != expected).then(|| format!("reactions {shown}, not {expected}"))
    }
}

/// As clients read it.
pub fn rfc3339(at: WallMs) -> String {
    let mut out = Vec::new();
    at.write_rfc3339(&mut out);
    String::from_utf8_lossy(&out).into_owned()
}

impl RoomModel {
    /// What is stored of a message is what its log says.
    pub(super) fn compare(&self, stored: &StoredRoom, message_id: Seq) -> Result<(), String> {
        let (Some(model), Some(message)) = (self.messages.get(&message_id.0), stored.messages.get(&message_id)) else {
            return Ok(()); // removed by retention, or refused as no message when it was replayed
        };
        let view = model.now();
        let ids = |users: &[UserId]| users.iter().map(|user| user.0).collect::<Vec<_>>();
        let reactions: Vec<(String, BTreeSet<u64>)> = message
            .reactions
            .iter()
            .map(|reaction| (reaction.emoji.to_string(), reaction.users.iter().map(|user| user.0).collect()))
            .collect();
        let miscounted = message.reactions.iter().find(|reaction| reaction.count as usize != reaction.users.len());
        let inbox = message.inbox.as_ref().map(|(users, everyone, _)| (ids(users), *everyone));
        let expected_inbox = (!view.deleted && (view.everyone || !view.mentions.is_empty()))
            .then(|| (view.mentions.clone(), view.everyone));
        let content = message.content.as_deref();
        let checks = [
            ("content", content == Some(&*view.content) || (view.deleted && content.is_none())),
            ("mentions", ids(&message.mentions) == view.mentions),
            ("inbox", inbox == expected_inbox),
            ("edit_count", u64::from(message.edit_count) == view.edit_count),
            ("edited_at", message.edited_at == view.edited_at),
            ("deleted", message.deleted_at.is_some() == view.deleted),
            ("pinned", message.pinned.map(|seq| seq.0) == view.pinned),
            ("thread_count", u64::from(message.thread_count) == view.thread_count),
            ("reactions", reactions == view.reactions),
            ("a count of reactions", miscounted.is_none()),
        ];
        match checks.iter().find(|(_, holds)| !holds) {
            Some((name, _)) => Err(format!("{name}: {message:?}, not {view:?}")),
            None => Ok(()),
        }
    }
}
