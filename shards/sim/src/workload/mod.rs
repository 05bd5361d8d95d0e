//! What clients do, and what they make of what they are told.

mod answer;
mod messages;
mod people;
mod push;

use veza_engine::id::RoomId;
use veza_engine::store::RoomKind;

use crate::client::{Asked, Unacked};
use crate::store::POISON;
use crate::world::{USERS, World};

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
        let choice = self.rng.below(100);
        let rooms = self.room_ids();
        // Mostly a room of one's own; to join, any.
        let own: Vec<RoomId> = rooms.iter().copied().filter(|room| self.is_member(client, *room)).collect();
        let among = if own.is_empty() || (31..=38).contains(&choice) || self.rng.percent(10) { rooms } else { own };
        let Some(room) = self.rng.pick(&among).copied() else { return self.create_room(client) };
        match choice {
            0..=2 => self.create_room(client),
            3..=4 => self.create_dm(client),
            5..=6 => self.disconnect(client),
            7..=30 => self.send(client, room),
            31..=38 => self.subscribe(client, room, "join_room"),
            39..=43 => self.subscribe(client, room, "subscribe"),
            44..=45 => self.end(client, room, "unsubscribe"),
            46..=47 => self.end(client, room, "leave_room"),
            48..=65 => self.change_message(client, room),
            66..=78 => self.read_something(client, room),
            79..=87 => self.administer(client, room),
            88..=91 => self.of_users(client, room),
            92 => self.clean_up(room),
            93 if self.rng.percent(40) => self.end_session(client),
            93 => self.nonsense(client),
            94 => self.send_over_http(client),
            95..=96 => self.list_something(client),
            _ => self.resend(client),
        }
    }

    pub(crate) fn command(&mut self, client: usize, kind: &str, asked: Asked, data: &str) {
        if self.clients[client].conn.is_none() {
            return; // the command before has closed it
        }
        let id = self.clients[client].ask(asked, self.steps);
        self.text(client, &format!(r#"{{"type":"{kind}","id":{id},"data":{{{data}}}}}"#));
    }

    /// Over the socket, or now and then over HTTP.
    fn either_way(&mut self, client: usize, kind: &str, asked: Asked, data: &str) {
        if self.rng.percent(8) && !self.finale {
            return self.over_http(client, kind, asked, &format!("{{{data}}}"));
        }
        self.command(client, kind, asked, data);
    }

    /// Everybody may be meant, now and then also nobody.
    fn any_user(&mut self) -> u64 {
        let nobody = u64::from(self.rng.percent(5));
        self.rng.between(1, USERS + nobody)
    }

    fn create_room(&mut self, client: usize) {
        let live = self.store.rooms.values().filter(|room| room.deleted_at.is_none()).count();
        if live > 6 || self.store.rooms.len() > 16 {
            return;
        }
        // Few client ids: repetitions are common, and have the same data.
        let number = self.rng.below(6);
        let client_id = format!("room{number}");
        let more = match number {
            1 => r#","visibility":"private""#,
            2 => r#","max_members":3"#,
            3 => r#","slow_mode_s":1"#,
            4 => r#","retention_days":1"#,
            _ => "",
        };
        let data = format!(r#""name":"{client_id}","client_id":"{client_id}"{more}"#);
        self.command(client, "create_room", Asked::CreateRoom { client_id }, &data);
    }

    fn create_dm(&mut self, client: usize) {
        let (one, other) = (self.any_user(), self.any_user());
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

    fn end_session(&mut self, client: usize) {
        let user = self.clients[client].user;
        let others = (0..self.clients.len()).filter(|other| *other != client && self.clients[*other].user == user);
        let others: Vec<usize> = others.collect();
        match (self.rng.below(3), self.rng.pick(&others).copied()) {
            (0, Some(other)) => {
                let session = self.session_of(other);
                let data = format!(r#""session_id":"{session}""#);
                self.command(client, "revoke_session", Asked::Revoke { session }, &data);
            }
            (1, _) => {
                let asked = Asked::Logout { session: self.session_of(client), everywhere: true };
                self.command(client, "logout", asked, r#""everywhere":true"#);
            }
            (2, _) => self.command(client, "refresh_token", Asked::Other, r#""token":"a new one""#),
            _ => {
                let asked = Asked::Logout { session: self.session_of(client), everywhere: false };
                self.command(client, "logout", asked, "");
            }
        }
    }

    /// The user's first message that has no acknowledgement yet, once more, over HTTP and on any shard.
    fn send_over_http(&mut self, client: usize) {
        let Some(unacked) = self.clients[client].unacked.first().cloned() else { return };
        let data = send_data(&unacked);
        let Unacked { room, client_id, content, .. } = unacked;
        self.over_http(client, "send_message", Asked::Send { room, client_id, content }, &format!("{{{data}}}"));
    }

    fn list_something(&mut self, client: usize) {
        let (kind, asked) = match self.rng.below(7) {
            0 => ("list_rooms", Asked::Other),
            1 => ("list_dms", Asked::Dms),
            2 => ("get_mentions", Asked::Mentions),
            3 => ("list_sanctions", Asked::OwnSanctions),
            4 => ("list_blocks", Asked::Blocks),
            5 => ("list_sessions", Asked::Other),
            _ => ("get_unread", Asked::Other),
        };
        self.either_way(client, kind, asked, "");
    }

    /// Something to say, now and then to somebody.
    fn words(&mut self) -> String {
        let user = self.rng.below(USERS);
        let poison = if self.rng.percent(2) { POISON } else { "" };
        let mention = match self.rng.below(12) {
            0..=1 => format!("@name{user}"),
            2 => format!("`@name{user}`"),
            3 => "@room".to_owned(),
            _ => String::new(),
        };
        format!("{poison} {mention} ")
    }

    fn send(&mut self, client: usize, room: RoomId) {
        let user = self.clients[client].user;
        self.clients[client].sends += 1;
        let client_id = format!("c{client}-{}", self.clients[client].sends);
        let words = self.words();
        let padding = "x".repeat(self.rng.below(100) as usize);
        let content = format!("{user} {client_id} word{} {words}{padding}", self.rng.below(5));
        let user_id = self.clients[client].user_id.unwrap_or(0);
        let in_vain = !self.is_member(client, room) && !self.rng.percent(10);
        if in_vain || user_id == 0 {
            return self.command(client, "get_room", Asked::Room { room }, &format!(r#""room_id":{}"#, room.0));
        }
        let parent = if self.rng.percent(15) { self.some_message(room) } else { None };
        let unacked = Unacked { room, client_id, content, parent };
        self.clients[client].unacked.push(unacked.clone());
        self.send_as(client, unacked);
        if self.rng.percent(10) {
            self.resend(client);
        }
    }

    fn send_as(&mut self, client: usize, unacked: Unacked) {
        let data = send_data(&unacked);
        let Unacked { room, client_id, content, .. } = unacked;
        self.command(client, "send_message", Asked::Send { room, client_id, content }, &data);
    }

    fn resend(&mut self, client: usize) {
        let unacked = self.clients[client].unacked.clone();
        let waiting: Vec<String> = self.clients[client]
            .asked
            .values()
            .filter_map(|question| match &question.asked {
                Asked::Send { client_id, .. } => Some(client_id.clone()),
                _ => None,
            })
            .collect();
        for unacked in unacked.into_iter().take(5) {
            if !self.calm || !waiting.contains(&unacked.client_id) {
                self.send_as(client, unacked);
            }
        }
    }

    fn subscribe(&mut self, client: usize, room: RoomId, kind: &str) {
        let last_seq = match self.clients[client].seen.get(&room) {
            Some((seq, _)) if self.rng.percent(60) => Some(*seq),
            _ => None,
        };
        let position = last_seq.map_or(String::new(), |seq| format!(r#","last_seq":{seq}"#));
        let asked = Asked::Subscribe { room, last_seq, joins: kind == "join_room" };
        self.command(client, kind, asked, &format!(r#""room_id":{}{position}"#, room.0));
    }

    fn end(&mut self, client: usize, room: RoomId, kind: &str) {
        let asked = Asked::End { room, leaves: kind == "leave_room" };
        self.command(client, kind, asked, &format!(r#""room_id":{}"#, room.0));
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
                self.clients[client].dm_resumed.insert(*room, self.steps);
            }
        }
        self.command(client, "resume", Asked::Resume { rooms }, &format!(r#""rooms":[{}]"#, list.join(",")));
    }

    pub(crate) fn is_dm(&self, room: RoomId) -> bool {
        self.store.rooms.get(&room).is_some_and(|stored| stored.meta.kind == RoomKind::Dm)
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
}

fn send_data(unacked: &Unacked) -> String {
    let Unacked { room, client_id, content, parent } = unacked;
    let parent = parent.map_or(String::new(), |parent| format!(r#","parent_id":{parent}"#));
    format!(r#""room_id":{},"content":"{content}","client_id":"{client_id}"{parent}"#, room.0)
}
