//! Answers: what is acknowledged is in the log, what is read is what the log says, and whoever succeeds had the right.

use serde_json::Value;
use veza_engine::id::{RoomId, UserId};
use veza_engine::store::{EventKind, EventRow};

use crate::client::{Asked, Change, Question, Reading};
use crate::model::{Reader, RoomModel, Standing, View};
use crate::world::World;

type Checked = Result<(), String>;

impl World {
    /// A successful answer, at the moment that the engine lets it out.
    pub(crate) fn reply_fits(&mut self, client: usize, question: &Question, data: &Value) -> Checked {
        let user = self.clients[client].user_id.unwrap_or(0);
        match &question.asked {
            Asked::Read { room, reading } => self.reading_fits(user, *room, reading, question.step, data),
            Asked::Change { room, change } => self.change_fits(user, *room, change, question.step, data),
            Asked::Subscribe { room, .. } => {
                let member = self.stood(user, *room, question.step, |standing| standing.member);
                if member { Ok(()) } else { Err("subscribed without a membership".into()) }
            }
            Asked::Lift { sanction } => {
                let row = self.store.sanctions.get(sanction).ok_or("no such sanction is lifted")?;
                let room = row.room_id;
                if row.is_active(self.now().wall) {
                    return Err("told to be lifted, and stored as in force".into());
                }
                self.must(user, room, question.step, &["moderate"])
            }
            Asked::Search { word, room } => self.found_fit(user, question.step, data, |id, view| {
                room.is_none_or(|room| room == id) && view.content.contains(word.as_str())
            }),
            Asked::Mentions => {
                self.found_fit(user, question.step, data, |_, view| view.everyone || view.mentions.contains(&user))
            }
            Asked::Dms => {
                for row in data["conversations"].as_array().into_iter().flatten() {
                    let room = RoomId(row["conversation_id"].as_u64().ok_or("no conversation_id")?);
                    let last = &row["last_message"];
                    if last.is_object() {
                        self.room(room)?.message_fits(last, self.reader(user, room, question.step))?;
                    }
                }
                Ok(())
            }
            Asked::OwnSanctions => {
                let rows = data["sanctions"].as_array().into_iter().flatten();
                let foreign = rows.clone().find(|row| row["user_id"].as_u64().is_some_and(|other| other != user));
                foreign.map_or(Ok(()), |row| Err(format!("somebody else's sanction {row}")))
            }
            Asked::Block { user: other, on: true } => {
                // Asked to be taken back meanwhile, on another connection: it may be there or not.
                if self.unblocked.get(&(user, *other)).is_some_and(|step| *step >= question.step) {
                    return Ok(());
                }
                self.model.blocks.insert((user, *other), self.now().wall);
                let stored = self.store.is_blocked(UserId(user), UserId(*other));
                if stored { Ok(()) } else { Err("told to be blocked, and not stored".into()) }
            }
            Asked::Logout { session, everywhere } => {
                self.session_ended(session);
                if *everywhere {
                    self.all_ended(self.clients[client].user, question.step);
                }
                Ok(())
            }
            Asked::Revoke { session } => {
                self.session_ended(session);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn room(&self, room: RoomId) -> Result<&RoomModel, String> {
        self.model.rooms.get(&room).ok_or_else(|| format!("about room {}, which is none", room.0))
    }

    fn stood(&self, user: u64, room: RoomId, since: u64, wanted: impl Fn(&Standing) -> bool) -> bool {
        self.model.rooms.get(&room).is_some_and(|room| room.stood(user, since, wanted))
    }

    /// The user had one of these permissions at some time since.
    fn must(&self, user: u64, room: RoomId, since: u64, any: &[&str]) -> Checked {
        let has = |standing: &Standing| standing.permissions.iter().any(|permission| any.contains(permission));
        if self.stood(user, room, since, has) { Ok(()) } else { Err(format!("without any right to {any:?}")) }
    }

    pub(crate) fn reader(&self, user: u64, room: RoomId, step: u64) -> Reader {
        let from = self.model.visible_before(room, step);
        Reader { user: Some(user), from, to: self.store.head(room), step, reads_deleted: false }
    }

    fn reading_fits(&self, user: u64, room: RoomId, reading: &Reading, step: u64, data: &Value) -> Checked {
        let right = if *reading == Reading::Sanctions { "moderate" } else { "read" };
        self.must(user, room, step, &[right])?;
        let mut reader = self.reader(user, room, step);
        if matches!(reading, Reading::Message { .. }) {
            let moderates = |standing: &Standing| {
                standing.permissions.contains(&"moderate") || standing.permissions.contains(&"delete_any")
            };
            reader.reads_deleted = self.stood(user, room, step, moderates);
        }
        self.room(room)?.reading_fits(reading, data, reader)
    }

    /// Messages found in all of a user's rooms.
    fn found_fit(&self, user: u64, step: u64, data: &Value, wanted: impl Fn(RoomId, &View) -> bool) -> Checked {
        for shown in data["messages"].as_array().ok_or("no messages")? {
            let room_id = RoomId(shown["room_id"].as_u64().ok_or("no room_id")?);
            self.must(user, room_id, step, &["read"])?;
            let (room, reader) = (self.room(room_id)?, self.reader(user, room_id, step));
            room.message_fits(shown, reader)?;
            if shown["is_deleted"] == true {
                return Err("a deleted message is found".into());
            }
            let id = shown["message_id"].as_u64().unwrap_or(0);
            let fits = room.messages[&id].between(reader.from.max(id), reader.to).any(|view| wanted(room_id, view));
            if !fits {
                return Err(format!("message {id} of room {} is found without a reason", room_id.0));
            }
        }
        Ok(())
    }

    fn change_fits(&self, user: u64, room_id: RoomId, change: &Change, step: u64, data: &Value) -> Checked {
        let room = self.room(room_id)?;
        let rights: &[&str] = match change {
            Change::Edit { .. } => &["edit_own"],
            Change::Delete { .. } => &["delete_own", "delete_any"],
            Change::React { .. } => &["react"],
            Change::Pin { .. } => &["pin"],
            Change::Invite { .. } => &["invite"],
            Change::Kick { .. } => &["manage_members"],
            Change::Role { .. } => &["manage_members", "manage_roles"],
            Change::PutRole { .. } | Change::DropRole { .. } => &["manage_roles"],
            Change::Update | Change::DeleteRoom => &["manage_room"],
            Change::Sanction { .. } => &["moderate"],
        };
        self.must(user, room_id, step, rights)?;
        let seq = data["seq"].as_u64().ok_or("no seq")?;
        let (from, to) = (self.model.visible_before(room_id, step), self.store.head(room_id));
        // Where it changed nothing, the answer has the head's seq, and things are as they should be.
        let row = self.store.event(room_id, seq);
        let done = row.is_some_and(|row| row.author_id.is_some_and(|author| author.0 == user) && is_done(change, row));
        let was = |message: &u64, wanted: &dyn Fn(&View) -> bool| {
            room.messages.get(message).is_some_and(|message| message.between(from, to).any(wanted))
        };
        let idle = match change {
            Change::Edit { message, content } => was(message, &|view| view.content == *content && !view.deleted),
            Change::Delete { message } => was(message, &|view| view.deleted),
            Change::React { message, emoji, add } => was(message, &|view| {
                let users = view.reactions.iter().find(|(other, _)| other == emoji).map(|(_, users)| users);
                let count = users.map_or(0, |users| users.len());
                users.is_some_and(|users| users.contains(&user)) == *add && data["count"] == count
            }),
            Change::Pin { message, on } => was(message, &|view| view.pinned.is_some() == *on),
            Change::Invite { user } => room.stood(*user, step, |standing| standing.invited || standing.member),
            Change::Kick { .. } | Change::DeleteRoom | Change::Sanction { .. } => false,
            Change::Role { .. } | Change::Update | Change::PutRole { .. } | Change::DropRole { .. } => true,
        };
        if !(done || idle) {
            return Err(format!("acknowledged, and not done: {seq} is {row:?}"));
        }
        if let (Change::Sanction { user, kind }, true) = (change, done) {
            let id = data["sanction_id"].as_u64().ok_or("no sanction_id")?;
            let row = self.store.sanctions.get(&id).ok_or("a sanction that is not stored")?;
            let same = row.user_id.0 == *user && row.kind.name() == *kind && row.room_id == room_id;
            return if same { Ok(()) } else { Err(format!("sanction {id} is another one: {row:?}")) };
        }
        Ok(())
    }
}

/// This event is that change.
fn is_done(change: &Change, row: &EventRow) -> bool {
    let about = |message: &u64| row.parent_id.is_some_and(|parent| parent.0 == *message);
    let data: Value = row.data.as_deref().map_or(Ok(Value::Null), serde_json::from_str).unwrap_or_default();
    match change {
        Change::Edit { message, content } => {
            row.kind == EventKind::Edit && about(message) && row.content.as_deref() == Some(content)
        }
        Change::Delete { message } => row.kind == EventKind::Delete && about(message),
        Change::React { message, emoji, add } => {
            let kind = if *add { EventKind::ReactionAdded } else { EventKind::ReactionRemoved };
            row.kind == kind && about(message) && data["emoji"] == **emoji
        }
        Change::Pin { message, on } => {
            row.kind == (if *on { EventKind::Pinned } else { EventKind::Unpinned }) && about(message)
        }
        Change::Kick { user } => row.kind == EventKind::Kicked && data["user_id"] == *user,
        Change::Role { user, role } => {
            row.kind == EventKind::RoleChanged && data["user_id"] == *user && data["role"] == **role
        }
        Change::Sanction { user, kind } => {
            row.kind == EventKind::Sanctioned && data["user_id"] == *user && data["kind"] == **kind
        }
        Change::Update => row.kind == EventKind::RoomUpdated,
        Change::DeleteRoom => row.kind == EventKind::RoomDeleted,
        Change::Invite { .. } | Change::PutRole { .. } | Change::DropRole { .. } => false,
    }
}
