//! Answers as a client reads them.

use serde_json::Value;
use veza_engine::id::RoomId;

use crate::client::{Asked, Change, Question, Reading, Tracking};
use crate::plant::Plant;
use crate::world::World;

type Checked = Result<(), String>;

impl World {
    /// A client reads a frame.
    pub(crate) fn receive(&mut self, client: usize, payload: &[u8]) {
        let value: Value = match serde_json::from_slice(payload) {
            Ok(value) => value,
            Err(error) => return self.checker.fail(format!("not JSON: {error}")),
        };
        let kind = value["type"].as_str().unwrap_or("").to_owned();
        let data = &value["data"];
        if kind == "auth_success" {
            if let Some(id) = value["id"].as_u64() {
                self.clients[client].asked.remove(&id);
            }
            self.clients[client].ready = true;
            self.clients[client].user_id = data["user_id"].as_u64();
            self.model.met(self.steps, &self.store);
            return self.resume(client);
        }
        let result = match value.get("id").and_then(Value::as_u64) {
            Some(id) => self.answer(client, id, &kind, data),
            None => self.push(client, &kind, data).and_then(|()| self.content_is_gone(client, data)),
        };
        if let Err(problem) = result {
            self.checker.fail(format!("client {client}: {problem}; frame {value}"));
        }
    }

    fn answer(&mut self, client: usize, id: u64, kind: &str, data: &Value) -> Checked {
        let code = if kind == "error" { data["code"].as_str().unwrap_or("") } else { "" };
        let overtaking = ["OVERLOADED", "STORE_UNAVAILABLE", "DRAINING"];
        let overtakes = overtaking.contains(&code);
        let Question { asked, step } = self.clients[client].answered(id, overtakes)?;
        if kind == "error" {
            let given_up = matches!(asked, Asked::Send { .. }) && !data["retryable"].as_bool().unwrap_or(false);
            if let (true, Asked::Send { client_id, .. }) = (given_up, &asked) {
                self.clients[client].unacked.retain(|unacked| unacked.client_id != *client_id);
            }
            return Ok(());
        }
        if self.finale {
            self.final_fits(client, &asked, data)?;
        }
        match asked {
            Asked::Send { room, client_id, content } => self.sent(client, room, &client_id, &content, data),
            Asked::Subscribe { room, last_seq, .. } => self.clients[client].subscribed(room, last_seq, data, step),
            Asked::CreateRoom { .. } => self.created(client, data, step),
            Asked::End { room, leaves } => {
                self.clients[client].subs.remove(&room);
                if leaves {
                    self.clients[client].seen.remove(&room);
                }
                self.plant_after_leaving(client, room);
                Ok(())
            }
            Asked::Resume { rooms } => self.resumed(client, &rooms, data, step),
            Asked::Unread { room } => self.unread_is_exact(client, room, data),
            Asked::Change { room, change: Change::Delete { message } } => {
                self.clients[client].gone.insert((room, message));
                Ok(())
            }
            // Moderators read what is deleted.
            Asked::Read { reading: Reading::Message { .. }, .. } => Ok(()),
            Asked::Read { room, reading: Reading::Edits { message } }
                if self.clients[client].gone.contains(&(room, message)) =>
            {
                Err("versions of a message whose deletion was told before".into())
            }
            Asked::Read { .. } => self.content_is_gone(client, data),
            _ => Ok(()),
        }
    }

    /// An answer to a command over HTTP.
    pub(crate) fn answered_over_http(&mut self, client: usize, question: &Question, data: &Value) -> Checked {
        self.is_committed(data)?;
        if let Asked::Send { room, client_id, content } = &question.asked {
            let author = self.clients[client].user_id.unwrap_or(0);
            return self.checker.acknowledged(&self.store, author, *room, client_id, content, data);
        }
        self.reply_fits(client, question, data)
    }

    fn sent(&mut self, client: usize, room: RoomId, client_id: &str, content: &str, data: &Value) -> Checked {
        self.clients[client].unacked.retain(|unacked| unacked.client_id != client_id);
        let author = self.clients[client].user_id.unwrap_or(0);
        let tracking = self.clients[client].subs.get(&room);
        if let (Some(tracking), Some(seq), false) = (tracking, data["seq"].as_u64(), data["duplicate"] == true)
            && (tracking.taken_at + 1..tracking.expected).contains(&seq)
        {
            return Err("the push came before the reply".into());
        }
        self.checker.acknowledged(&self.store, author, room, client_id, content, data)
    }

    fn created(&mut self, client: usize, data: &Value, step: u64) -> Checked {
        let room = RoomId(data["room"]["room_id"].as_u64().ok_or("no room")?);
        let seq = data["room"]["seq"].as_u64().ok_or("no seq")?;
        let epoch = data["room"]["epoch"].as_u64().ok_or("no epoch")?;
        // A repetition subscribes only one who is still a member.
        if data["duplicate"] == false || self.is_member(client, room) {
            self.clients[client].subs.insert(room, Tracking { expected: seq + 1, taken_at: seq, step });
            self.clients[client].seen.insert(room, (seq, epoch));
        }
        Ok(())
    }

    fn unread_is_exact(&self, client: usize, room: RoomId, data: &Value) -> Checked {
        let user = veza_engine::id::UserId(self.clients[client].user_id.unwrap_or(0));
        let rows = self.store.unread(user);
        let Some(row) = rows.iter().find(|row| row.room_id == room) else { return Ok(()) };
        if self.store.noticed_head(room) < self.store.head(room) {
            return Ok(()); // a dead process wrote last, and nobody has met it yet
        }
        let told = (data["seq"].as_u64(), data["unread_count"].as_u64());
        if told != (Some(row.last_read_seq.0), Some(row.unread_count)) {
            return Err(format!("position and unread count are told as {told:?}, but the store says {row:?}"));
        }
        Ok(())
    }

    fn plant_after_leaving(&mut self, client: usize, room: RoomId) {
        let head = self.store.head(room);
        if self.plant != Some(Plant::EventAfterLeaving) || head == 0 {
            return;
        }
        let is_dm = self.is_dm(room);
        let problem = self.clients[client].event(room, head, is_dm).err();
        if let Some(problem) = problem {
            self.checker.fail(problem);
        }
    }

    fn resumed(&mut self, client: usize, rooms: &[(RoomId, u64)], data: &Value, step: u64) -> Checked {
        let verdicts = data["rooms"].as_array().ok_or("no rooms")?;
        if verdicts.len() != rooms.len() {
            return Err("not all rooms are answered".into());
        }
        for ((room, last), verdict) in rooms.iter().zip(verdicts) {
            if verdict["room_id"].as_u64() != Some(room.0) {
                return Err("rooms are answered in another order".into());
            }
            self.reason_fits(*room, *last, verdict)?;
            if verdict["reason"] == "not_found" {
                self.clients[client].subs.remove(room);
                self.clients[client].seen.remove(room);
            } else if !self.is_dm(*room) {
                self.clients[client].subscribed(*room, Some(*last), verdict, step)?;
            }
        }
        Ok(())
    }

    /// Nobody is told to read afresh without a reason.
    fn reason_fits(&self, room: RoomId, last: u64, verdict: &Value) -> Checked {
        let (Some(reason), Some(head)) = (verdict["reason"].as_str(), verdict["seq"].as_u64()) else { return Ok(()) };
        let Some(stored) = self.store.rooms.get(&room) else { return Ok(()) };
        let limit = self.model.limits.resume_events;
        let holds = match reason {
            "ahead" => last > head,
            "too_old" => last < stored.floor.0,
            "too_far" => limit > 0 && head - last > limit,
            "not_found" => true,
            _ => false,
        };
        if holds { Ok(()) } else { Err(format!("not recovered from {last} for no reason")) }
    }
}
