//! Whether what a reader is shown is what the log says, at some head between the one that he may count on and the newest.

use std::collections::BTreeSet;

use serde_json::Value;

use super::view::rfc3339;
use super::{MessageModel, RoomModel};
use crate::client::{Anchor, Reading};

/// Who is shown something, and when.
#[derive(Clone, Copy, Debug)]
pub struct Reader {
    /// Whose `me` reactions have; `None` in pushes.
    pub user: Option<u64>,
    /// The oldest head that it may be from.
    pub from: u64,
    /// The newest.
    pub to: u64,
    /// The step in which it was asked for.
    pub step: u64,
    /// May read what is deleted.
    pub reads_deleted: bool,
}

type Checked = Result<(), String>;

impl RoomModel {
    /// A message object.
    pub fn message_fits(&self, shown: &Value, reader: Reader) -> Checked {
        let id = shown["message_id"].as_u64().ok_or("a message without an id")?;
        let message = self.messages.get(&id).ok_or_else(|| format!("{id} is shown, and is no message"))?;
        let fixed = [
            ("seq", Value::from(id)),
            ("author_id", message.author.into()),
            ("parent_id", message.parent.into()),
            ("created_at", rfc3339(message.at).into()),
        ];
        for (name, value) in fixed {
            if shown[name] != value {
                return Err(format!("message {id} is shown with {name} {}, not {value}", shown[name]));
            }
        }
        let mut problem = String::new();
        for view in message.between(reader.from.max(id), reader.to.max(id)) {
            match view.differs(shown, reader.user, reader.reads_deleted) {
                None => return Ok(()),
                Some(difference) => problem = difference,
            }
        }
        Err(format!("message {id} never was so between {} and {}: {problem}", reader.from, reader.to))
    }

    /// Where retention may have been when somebody was answered who had asked in this step.
    fn floors_since(&self, step: u64) -> BTreeSet<u64> {
        let told = self.told.partition_point(|(at, _)| *at < step);
        let least = told.checked_sub(1).map_or(0, |last| self.told[last].1);
        self.floors.iter().map(|(_, floor)| *floor).filter(|floor| *floor >= least).chain([least]).collect()
    }

    /// The answer to a command that reads.
    pub fn reading_fits(&self, reading: &Reading, data: &Value, reader: Reader) -> Checked {
        match reading {
            Reading::Message { .. } => self.message_fits(&data["message"], reader),
            Reading::History { anchor, limit } => self.history_fits(*anchor, *limit, data, reader),
            Reading::Thread { parent, after, limit } => self.thread_fits(*parent, *after, *limit, data, reader),
            Reading::Pinned => self.pinned_fits(data, reader),
            Reading::Reactions { message } => self.reactions_fit(*message, data, reader),
            Reading::Edits { message } => self.edits_fit(*message, data, reader),
            _ => Ok(()),
        }
    }

    /// Ids of messages at a head, above a floor.
    fn ids(&self, floor: u64, head: u64) -> impl DoubleEndedIterator<Item = u64> + '_ {
        self.messages.range(floor + 1..=head.max(floor + 1)).map(|(id, _)| *id).filter(move |id| *id <= head)
    }

    fn history_fits(&self, anchor: Anchor, limit: usize, data: &Value, reader: Reader) -> Checked {
        let head = data["seq"].as_u64().ok_or("no seq")?;
        if head > reader.to || head < reader.from {
            return Err(format!("says that the head is {head}, and it was between {} and {}", reader.from, reader.to));
        }
        let shown = list(&data["messages"])?;
        for message in shown {
            // Whoever goes on from `seq` gets no event before it: what they did must be seen here.
            self.message_fits(message, Reader { from: head, ..reader })?;
        }
        let ids: Vec<u64> = shown.iter().filter_map(|message| message["message_id"].as_u64()).collect();
        let expected = |floor, head| {
            let all = self.ids(floor, head);
            match anchor {
                Anchor::Newest => last(all, limit),
                Anchor::Before(id) => last(all.filter(|other| *other < id), limit),
                Anchor::After(id) => first(all.filter(|other| *other > id), limit),
                Anchor::Around(id) => {
                    let below = limit.div_ceil(2).max(1);
                    let (mut ids, more) = last(self.ids(floor, head).filter(|other| *other <= id), below);
                    let (rest, more_after) = first(all.filter(|other| *other > id), limit - below.min(limit));
                    ids.extend(rest);
                    (ids, more || more_after)
                }
            }
        };
        let answer = (ids, data["has_more"] == true);
        // There may be more by now.
        let fits = self.floors_since(reader.step).into_iter().any(|floor| {
            let (ids, more) = expected(floor, head);
            ids == answer.0 && (more == answer.1 || (answer.1 && self.ids(head, reader.to).next().is_some()))
        });
        if fits {
            Ok(())
        } else {
            Err(format!("a page {anchor:?} of {answer:?}, not {:?}", expected(self.floor(), head)))
        }
    }

    fn floor(&self) -> u64 {
        self.floors.last().map_or(0, |(_, floor)| *floor)
    }

    fn thread_fits(&self, parent: u64, after: u64, limit: usize, data: &Value, reader: Reader) -> Checked {
        self.message_fits(&data["parent"], reader)?;
        let shown = list(&data["messages"])?;
        for message in shown {
            self.message_fits(message, reader)?;
        }
        let ids: Vec<u64> = shown.iter().filter_map(|message| message["message_id"].as_u64()).collect();
        let answer = (ids, data["has_more"] == true);
        let floors = self.floors_since(reader.step);
        let fits = self.heads(reader).any(|head| {
            floors.iter().any(|floor| {
                let of_thread = |id: &u64| self.messages[id].parent == Some(parent) && *id > after;
                first(self.ids(*floor, head).filter(of_thread), limit) == answer
            })
        });
        if fits { Ok(()) } else { Err(format!("a thread of {answer:?}")) }
    }

    fn heads(&self, reader: Reader) -> impl Iterator<Item = u64> + use<> {
        reader.from..=reader.to
    }

    fn pinned_fits(&self, data: &Value, reader: Reader) -> Checked {
        let shown = list(&data["messages"])?;
        for message in shown {
            self.message_fits(message, reader)?;
        }
        let ids: Vec<u64> = shown.iter().filter_map(|message| message["message_id"].as_u64()).collect();
        let floors = self.floors_since(reader.step);
        let pinned_at = |head: u64, floor: u64| {
            let at_head = |(id, message): (&u64, &MessageModel)| Some((message.at_head(head)?.pinned?, *id));
            let mut pins: Vec<(u64, u64)> = self.messages.range(floor + 1..).filter_map(at_head).collect();
            pins.sort_unstable_by(|a, b| b.cmp(a));
            pins.into_iter().map(|(_, id)| id).collect::<Vec<_>>()
        };
        let fits = self.heads(reader).any(|head| floors.iter().any(|floor| pinned_at(head, *floor) == ids));
        if fits { Ok(()) } else { Err(format!("pinned are {ids:?}, not {:?}", pinned_at(reader.to, self.floor()))) }
    }

    fn reactions_fit(&self, message: u64, data: &Value, reader: Reader) -> Checked {
        let model = self.messages.get(&message).ok_or("reactions to no message")?;
        let shown = list(&data["reactions"])?;
        let told: Vec<(String, BTreeSet<u64>)> = shown
            .iter()
            .map(|row| {
                let users = row["users"].as_array().into_iter().flatten().filter_map(|user| user["user_id"].as_u64());
                (row["emoji"].as_str().unwrap_or("").to_owned(), users.collect())
            })
            .collect();
        let counted = shown.iter().zip(&told).all(|(row, (_, users))| row["count"] == users.len());
        let fits = model
            .between(reader.from, reader.to)
            .any(|view| view.reactions == told || (view.deleted && told.is_empty()));
        // Retention may have taken it before the room was told.
        let gone = told.is_empty() && self.floors_since(reader.step).into_iter().any(|floor| message <= floor);
        if counted && (fits || gone) { Ok(()) } else { Err(format!("reactions never were {told:?}")) }
    }

    fn edits_fit(&self, message: u64, data: &Value, reader: Reader) -> Checked {
        let model = self.messages.get(&message).ok_or("edits of no message")?;
        let shown: Vec<&str> =
            list(&data["edits"])?.iter().map(|edit| edit["content"].as_str().unwrap_or("")).collect();
        let deleted_at = |head| model.at_head(head).is_some_and(|view| view.deleted);
        if deleted_at(reader.from) && !reader.reads_deleted && shown.iter().any(|content| !content.is_empty()) {
            return Err("edits of a deleted message are shown".into());
        }
        let versions = |head: u64| -> Vec<&str> {
            let edits = model.edits_at(head).iter().filter_map(|seq| model.at_head(*seq));
            let first = model.at_head(model.first());
            first.into_iter().chain(edits).map(|view| &*view.content).collect()
        };
        let fits = self.heads(reader).any(|head| versions(head) == shown || deleted_at(head));
        if fits { Ok(()) } else { Err(format!("versions are {shown:?}, not {:?}", versions(reader.to))) }
    }
}

fn list(value: &Value) -> Result<&Vec<Value>, String> {
    value.as_array().ok_or_else(|| "a list is missing".to_owned())
}

fn first(ids: impl Iterator<Item = u64>, limit: usize) -> (Vec<u64>, bool) {
    let mut ids: Vec<u64> = ids.take(limit + 1).collect();
    let more = ids.len() > limit;
    ids.truncate(limit);
    (ids, more)
}

fn last(ids: impl DoubleEndedIterator<Item = u64>, limit: usize) -> (Vec<u64>, bool) {
    let (mut ids, more) = first(ids.rev(), limit);
    ids.reverse();
    (ids, more)
}
