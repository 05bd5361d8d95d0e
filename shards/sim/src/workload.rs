//! What clients do, and what they make of what they are told.

use serde_json::Value;
use veza_engine::id::RoomId;
use veza_engine::store::RoomKind;

use crate::client::{Asked, Tracking};
use crate::plant::Plant;
use crate::store::POISON;
use crate::world::World;

impl World {
    /// One action of a client.
    pub(crate) fn workload(&mut self, client: usize) {
        if self.clients[client].conn.is_none() {
            return self.connect(client);
        }
        if !self.clients[client].ready {
            return;
        }
        if self.calm {
            return self.resend(client);
        }
        let rooms = self.room_ids();
        let room = self.rng.pick(&rooms).copied();
        match (self.rng.below(100), room) {
            (0..=3, _) | (_, None) => self.create_room(client),
            (4..=5, _) => self.create_dm(client),
            (6..=8, _) => self.disconnect(client),
            (9..=48, Some(room)) => self.send(client, room),
            (49..=58, Some(room)) => self.subscribe(client, room, "join_room"),
            (59..=66, Some(room)) => self.subscribe(client, room, "subscribe"),
            (67..=69, Some(room)) => self.end(client, room, "unsubscribe"),
            (70..=72, Some(room)) => self.end(client, room, "leave_room"),
            (73..=78, Some(room)) => self.about_room(client, room, "get_room", ""),
            (79..=83, Some(room)) => self.about_room(client, room, "get_history", r#","limit":5"#),
            (84..=86, Some(room)) => self.about_room(client, room, "get_members", ""),
            (87..=90, Some(room)) => {
                let seq = self.rng.below(self.store.head(room) + 2);
                self.about_room(client, room, "mark_read", &format!(r#","seq":{seq}"#));
            }
            (91, _) => self.other(client, "get_unread"),
            (92, _) => self.other(client, "list_rooms"),
            (93, _) => self.other(client, "list_dms"),
            (94, Some(room)) => {
                let id = self.rng.between(1, self.store.head(room) + 2);
                self.about_room(client, room, "get_message", &format!(r#","message_id":{id}"#));
            }
            (95, _) => self.nonsense(client),
            (96, _) => self.other(client, "list_sessions"),
            (97, Some(room)) => self.send_over_http(client, room),
            _ => self.resend(client),
        }
    }

    fn command(&mut self, client: usize, kind: &str, asked: Asked, data: &str) {
        let id = self.clients[client].ask(asked);
        self.text(client, &format!(r#"{{"type":"{kind}","id":{id},"data":{{{data}}}}}"#));
    }

    fn create_room(&mut self, client: usize) {
        if self.store.rooms.len() > 6 {
            return;
        }
        // Few client ids: repetitions are common.
        let client_id = format!("room{}", self.rng.below(3));
        let data = format!(r#""name":"{client_id}","client_id":"{client_id}""#);
        self.command(client, "create_room", Asked::CreateRoom { client_id }, &data);
    }

    fn create_dm(&mut self, client: usize) {
        let (one, other) = (self.rng.between(1, 5), self.rng.between(1, 5));
        let few = self.store.rooms.len() < 10;
        let with = if few && self.rng.percent(20) {
            format!(r#""user_ids":[{one},{other}]"#)
        } else {
            format!(r#""user_id":{other}"#)
        };
        self.command(client, "create_dm", Asked::CreateDm, &with);
    }

    /// What no client should write. It has no id, so that only errors come of it.
    fn nonsense(&mut self, client: usize) {
        let texts =
            ["{", "[]", r#"{"type":1}"#, r#"{"type":"dance"}"#, r#"{"type":"get_room","data":{"room_id":1e99}}"#];
        let text = texts[self.rng.below(texts.len() as u64) as usize];
        self.text(client, text);
    }

    /// The user's first message that has no acknowledgement yet, once more, over HTTP and on any shard.
    fn send_over_http(&mut self, client: usize, _: RoomId) {
        let Some((room, client_id, content)) = self.clients[client].unacked.first().cloned() else { return };
        self.http_send(client, room, &client_id, &content);
    }

    /// Everything has settled: every client asks for its position in each of its rooms.
    pub(crate) fn ask_unread(&mut self) {
        for client in 0..self.clients.len() {
            let Some(user) = self.clients[client].user_id else { continue };
            for row in self.store.unread(veza_engine::id::UserId(user)) {
                let (room, seq) = (row.room_id, row.last_read_seq.0);
                if seq > 0 {
                    let data = format!(r#""room_id":{},"seq":{seq}"#, room.0);
                    self.command(client, "mark_read", Asked::Unread { room }, &data);
                }
            }
        }
    }

    fn unread_is_exact(&self, client: usize, room: RoomId, data: &Value) -> Result<(), String> {
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

    fn send(&mut self, client: usize, room: RoomId) {
        let user = self.clients[client].user;
        self.clients[client].sends += 1;
        let client_id = format!("c{client}-{}", self.clients[client].sends);
        let poison = if self.rng.percent(2) { POISON } else { "" };
        let padding = "x".repeat(self.rng.below(100) as usize);
        let content = format!("{user} {client_id} {poison} {padding}");
        if !self.store.rooms.get(&room).is_some_and(|stored| {
            self.clients[client].user_id.is_some_and(|id| stored.members.contains_key(&veza_engine::id::UserId(id)))
        }) {
            return self.about_room(client, room, "get_room", "");
        }
        self.clients[client].unacked.push((room, client_id.clone(), content.clone()));
        self.send_as(client, room, client_id, content);
        if self.rng.percent(10) {
            self.resend(client);
        }
    }

    fn send_as(&mut self, client: usize, room: RoomId, client_id: String, content: String) {
        let parent = self.clients[client].parent_of(&content, self.store.head(room));
        let data = format!(r#""room_id":{},"content":"{content}","client_id":"{client_id}"{parent}"#, room.0);
        self.command(client, "send_message", Asked::Send { room, client_id, content }, &data);
    }

    fn resend(&mut self, client: usize) {
        let unacked = self.clients[client].unacked.clone();
        let waiting: Vec<String> = self.clients[client]
            .asked
            .values()
            .filter_map(|asked| match asked {
                Asked::Send { client_id, .. } => Some(client_id.clone()),
                _ => None,
            })
            .collect();
        for (room, client_id, content) in unacked.into_iter().take(5) {
            if !self.calm || !waiting.contains(&client_id) {
                self.send_as(client, room, client_id, content);
            }
        }
    }

    fn subscribe(&mut self, client: usize, room: RoomId, kind: &str) {
        let last_seq = match self.clients[client].seen.get(&room) {
            Some((seq, _)) if self.rng.percent(60) => Some(*seq),
            _ => None,
        };
        let position = last_seq.map_or(String::new(), |seq| format!(r#","last_seq":{seq}"#));
        let asked = Asked::Subscribe { room, last_seq };
        self.command(client, kind, asked, &format!(r#""room_id":{}{position}"#, room.0));
    }

    fn end(&mut self, client: usize, room: RoomId, kind: &str) {
        let asked = Asked::End { room, leaves: kind == "leave_room" };
        self.command(client, kind, asked, &format!(r#""room_id":{}"#, room.0));
    }

    fn about_room(&mut self, client: usize, room: RoomId, kind: &str, more: &str) {
        self.command(client, kind, Asked::Room { room }, &format!(r#""room_id":{}{more}"#, room.0));
    }

    fn other(&mut self, client: usize, kind: &str) {
        self.command(client, kind, Asked::Other, "");
    }

    /// After (re)connecting: everything it knew.
    fn resume(&mut self, client: usize) {
        let rooms: Vec<(RoomId, u64)> =
            self.clients[client].seen.iter().map(|(room, (seq, _))| (*room, *seq)).collect();
        if rooms.is_empty() {
            return;
        }
        let list: Vec<String> = rooms
            .iter()
            .map(|(room, seq)| {
                let epoch = self.clients[client].seen[room].1;
                let epoch = if epoch == 0 { String::new() } else { format!(r#","epoch":{epoch}"#) };
                format!(r#"{{"room_id":{},"last_seq":{seq}{epoch}}}"#, room.0)
            })
            .collect();
        for (room, _) in &rooms {
            if self.is_dm(*room) {
                self.clients[client].dm_resumed.insert(*room);
            }
        }
        self.command(client, "resume", Asked::Resume { rooms }, &format!(r#""rooms":[{}]"#, list.join(",")));
    }

    pub(crate) fn is_dm(&self, room: RoomId) -> bool {
        self.store.rooms.get(&room).is_some_and(|stored| stored.meta.kind == RoomKind::Dm)
    }

    /// A client reads a frame.
    pub(crate) fn receive(&mut self, client: usize, payload: &[u8]) {
        let value: Value = match serde_json::from_slice(payload) {
            Ok(value) => value,
            Err(error) => return self.checker.fail(format!("not JSON: {error}")),
        };
        let kind = value["type"].as_str().unwrap_or("").to_owned();
        let data = &value["data"];
        if kind == "auth_success" {
            self.clients[client].ready = true;
            self.clients[client].user_id = data["user_id"].as_u64();
            return self.resume(client);
        }
        let result = match value.get("id").and_then(Value::as_u64) {
            Some(id) => self.answer(client, id, &kind, data),
            None => self.push(client, &kind, data),
        };
        if let Err(problem) = result {
            self.checker.fail(format!("client {client}: {problem}; frame {value}"));
        }
    }

    fn push(&mut self, client: usize, kind: &str, data: &Value) -> Result<(), String> {
        if kind != "message" && kind != "void" {
            return Ok(());
        }
        let room = RoomId(data["room_id"].as_u64().ok_or("no room_id")?);
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
        self.clients[client].event(room, seq, is_dm)
    }

    fn answer(&mut self, client: usize, id: u64, kind: &str, data: &Value) -> Result<(), String> {
        let code = if kind == "error" { data["code"].as_str().unwrap_or("") } else { "" };
        let overtakes = matches!(code, "OVERLOADED" | "STORE_UNAVAILABLE" | "INVALID_REQUEST" | "RATE_LIMIT_EXCEEDED");
        let asked = self.clients[client].answered(id, overtakes)?;
        if kind == "error" {
            let given_up = matches!(asked, Asked::Send { .. }) && !data["retryable"].as_bool().unwrap_or(false);
            if let (true, Asked::Send { client_id, .. }) = (given_up, &asked) {
                self.clients[client].unacked.retain(|(_, id, _)| id != client_id);
            }
            return Ok(());
        }
        match asked {
            Asked::Send { room, client_id, content } => {
                self.clients[client].unacked.retain(|(_, id, _)| *id != client_id);
                let author = self.clients[client].user_id.unwrap_or(0);
                self.checker.acknowledged(&self.store, author, room, &client_id, &content, data)
            }
            Asked::Subscribe { room, last_seq } => self.clients[client].subscribed(room, last_seq, data),
            Asked::CreateRoom { .. } => {
                let room = RoomId(data["room"]["room_id"].as_u64().ok_or("no room")?);
                let seq = data["room"]["seq"].as_u64().ok_or("no seq")?;
                let epoch = data["room"]["epoch"].as_u64().ok_or("no epoch")?;
                let member = self.clients[client]
                    .user_id
                    .is_some_and(|user| self.store.rooms[&room].members.contains_key(&veza_engine::id::UserId(user)));
                if member {
                    let tracking = Tracking { expected: seq + 1, taken_at: seq };
                    self.clients[client].subs.insert(room, tracking);
                    self.clients[client].seen.insert(room, (seq, epoch));
                }
                Ok(())
            }
            Asked::End { room, leaves } => {
                self.clients[client].subs.remove(&room);
                if leaves {
                    self.clients[client].seen.remove(&room);
                }
                self.plant_after_leaving(client, room);
                Ok(())
            }
            Asked::Resume { rooms } => self.resumed(client, &rooms, data),
            Asked::Unread { room } => self.unread_is_exact(client, room, data),
            Asked::CreateDm | Asked::Room { .. } | Asked::Other => Ok(()),
        }
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

    fn resumed(&mut self, client: usize, rooms: &[(RoomId, u64)], data: &Value) -> Result<(), String> {
        let verdicts = data["rooms"].as_array().ok_or("no rooms")?;
        if verdicts.len() != rooms.len() {
            return Err("not all rooms are answered".into());
        }
        for ((room, last), verdict) in rooms.iter().zip(verdicts) {
            if verdict["room_id"].as_u64() != Some(room.0) {
                return Err("rooms are answered in another order".into());
            }
            if verdict["reason"] == "not_found" {
                self.clients[client].subs.remove(room);
                self.clients[client].seen.remove(room);
            } else if !self.is_dm(*room) {
                self.clients[client].subscribed(*room, Some(*last), verdict)?;
            }
        }
        Ok(())
    }
}
