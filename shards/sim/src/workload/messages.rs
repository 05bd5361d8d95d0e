//! What is done with messages: changing them and reading them.

use veza_engine::id::RoomId;

use crate::client::{Anchor, Asked, Change, Reading};
use crate::world::World;

const EMOJI: [&str; 4] = ["👍", "🤔", ":tada:", "❤️"];

impl World {
    /// A message of the room, mostly a recent one; now and then anything else.
    pub(super) fn some_message(&mut self, room: RoomId) -> Option<u64> {
        let head = self.store.head(room);
        if self.rng.percent(4) {
            return Some(self.rng.between(1, head + 2));
        }
        let recent = self.rng.percent(80);
        let messages: Vec<u64> = self.model.rooms.get(&room)?.messages.keys().copied().collect();
        let from = if recent { messages.len().saturating_sub(6) } else { 0 };
        self.rng.pick(&messages[from..]).copied()
    }

    pub(super) fn change_message(&mut self, client: usize, room: RoomId) {
        let Some(message) = self.some_message(room) else { return };
        let (kind, change, more) = match self.rng.below(20) {
            0..=4 => {
                let message = self.own_message(client, room).unwrap_or(message);
                let content = self.new_content(room, message);
                let more = format!(r#","message_id":{message},"content":"{content}","reason":"why""#);
                ("edit_message", Change::Edit { message, content }, more)
            }
            5..=6 => {
                let message = self.own_message(client, room).unwrap_or(message);
                ("delete_message", Change::Delete { message }, format!(r#","message_id":{message}"#))
            }
            7..=15 => {
                let emoji = EMOJI[self.rng.below(EMOJI.len() as u64) as usize];
                let add = self.rng.percent(65);
                let kind = if add { "add_reaction" } else { "remove_reaction" };
                let more = format!(r#","message_id":{message},"emoji":"{emoji}""#);
                (kind, Change::React { message, emoji, add }, more)
            }
            _ => {
                let on = self.rng.percent(70);
                let kind = if on { "pin_message" } else { "unpin_message" };
                (kind, Change::Pin { message, on }, format!(r#","message_id":{message}"#))
            }
        };
        let asked = Asked::Change { room, change };
        self.either_way(client, kind, asked, &format!(r#""room_id":{}{more}"#, room.0));
    }

    fn own_message(&mut self, client: usize, room: RoomId) -> Option<u64> {
        let user = self.clients[client].user_id?;
        let messages = self.model.rooms.get(&room)?.messages.iter();
        let own: Vec<u64> = messages.filter(|(_, message)| message.author == user).map(|(id, _)| *id).collect();
        let from = own.len().saturating_sub(5);
        if self.rng.percent(90) { self.rng.pick(&own[from..]).copied() } else { None }
    }

    fn new_content(&mut self, room: RoomId, message: u64) -> String {
        let old = self.model.rooms.get(&room).and_then(|room| room.messages.get(&message));
        match old {
            Some(old) if self.rng.percent(8) => old.now().content.clone(),
            _ => {
                let words = self.words();
                format!("edit{} word{} {words}.", self.rng.below(1000), self.rng.below(5))
            }
        }
    }

    pub(super) fn read_something(&mut self, client: usize, room: RoomId) {
        let message = self.some_message(room).unwrap_or(1);
        let (kind, reading, more) = match self.rng.below(20) {
            0..=5 => self.some_page(room),
            6..=7 => ("get_message", Reading::Message { message }, format!(r#","message_id":{message}"#)),
            8..=9 => {
                let (parent, after, limit) = (self.some_root(room), self.rng.below(2) * message, 3);
                let more = format!(r#","parent_id":{parent},"after_id":{after},"limit":{limit}"#);
                ("get_thread", Reading::Thread { parent, after, limit }, more)
            }
            10..=11 => ("get_pinned_messages", Reading::Pinned, String::new()),
            12 => ("get_reactions", Reading::Reactions { message }, format!(r#","message_id":{message}"#)),
            13 => ("get_edits", Reading::Edits { message }, format!(r#","message_id":{message}"#)),
            14 => ("get_room_stats", Reading::Stats, String::new()),
            15 => ("get_members", Reading::Members, String::new()),
            16 => ("list_roles", Reading::Roles, String::new()),
            17 => ("list_sanctions", Reading::Sanctions, String::new()),
            18 => return self.search(client, Some(room)),
            _ => {
                let seq = self.rng.below(self.store.head(room) + 2);
                let data = format!(r#""room_id":{},"seq":{seq}"#, room.0);
                return self.command(client, "mark_read", Asked::Room { room }, &data);
            }
        };
        let asked = Asked::Read { room, reading };
        self.either_way(client, kind, asked, &format!(r#""room_id":{}{more}"#, room.0));
    }

    fn some_root(&mut self, room: RoomId) -> u64 {
        let rooms = &self.model.rooms;
        let messages = rooms.get(&room).map(|room| room.messages.iter());
        let roots = messages.into_iter().flatten().filter(|(_, message)| message.now().thread_count > 0);
        let roots: Vec<u64> = roots.map(|(id, _)| *id).collect();
        self.rng.pick(&roots).copied().unwrap_or(1)
    }

    fn some_page(&mut self, room: RoomId) -> (&'static str, Reading, String) {
        let limit = self.rng.between(1, 6) as usize;
        let id = self.rng.between(1, self.store.head(room) + 1);
        let (anchor, more) = match self.rng.below(4) {
            0 => (Anchor::Newest, String::new()),
            1 => (Anchor::Before(id), format!(r#","before_id":{id}"#)),
            2 => (Anchor::After(id), format!(r#","after_id":{id}"#)),
            _ => (Anchor::Around(id), format!(r#","around_id":{id}"#)),
        };
        ("get_history", Reading::History { anchor, limit }, format!(r#"{more},"limit":{limit}"#))
    }

    fn search(&mut self, client: usize, room: Option<RoomId>) {
        let word = format!("word{}", self.rng.below(5));
        let room = room.filter(|_| self.rng.percent(50));
        let place = room.map_or(String::new(), |room| format!(r#","room_id":{}"#, room.0));
        let data = format!(r#""query":"{word}"{place}"#);
        self.either_way(client, "search_messages", Asked::Search { word, room }, &data);
    }

    /// Nothing changes any more: everybody looks at everything.
    pub(crate) fn ask_everything(&mut self) {
        for client in 0..self.clients.len() {
            let word = "word1".to_owned();
            self.command(client, "get_unread", Asked::Unreads, "");
            self.command(client, "get_mentions", Asked::Mentions, r#""limit":100"#);
            let data = format!(r#""query":"{word}","limit":100"#);
            self.command(client, "search_messages", Asked::Search { word, room: None }, &data);
            self.command(client, "list_dms", Asked::Dms, r#""limit":100"#);
            self.command(client, "list_blocks", Asked::Blocks, "");
            for room in self.room_ids().into_iter().filter(|room| self.is_member(client, *room)).collect::<Vec<_>>() {
                let page = Reading::History { anchor: Anchor::Newest, limit: 100 };
                for (kind, reading, more) in [
                    ("get_history", page, r#","limit":100"#),
                    ("get_pinned_messages", Reading::Pinned, ""),
                    ("get_room_stats", Reading::Stats, ""),
                    ("get_members", Reading::Members, ""),
                    ("list_roles", Reading::Roles, ""),
                ] {
                    if kind == "list_roles" && self.is_dm(room) {
                        continue;
                    }
                    let asked = Asked::Read { room, reading };
                    self.command(client, kind, asked, &format!(r#""room_id":{}{more}"#, room.0));
                }
            }
        }
    }
}
