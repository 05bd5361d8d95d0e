//! A user who does at random what users do, remembers what was acknowledged, and comes back after every crash.

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use veza_loadtest::client::{Client, Error};
use veza_loadtest::frame::Frame;
use veza_loadtest::testing::number;

/// Where everybody plays.
pub struct Stage {
    pub addr: SocketAddr,
    pub tokens: Vec<String>,
    pub users: Vec<u64>,
    pub rooms: Vec<u64>,
    /// Of each player with the next one.
    pub conversations: Vec<u64>,
}

/// What an acknowledgement says to be so.
#[derive(Clone, Debug)]
pub enum Claim {
    Sent { content: String },
    Edited { id: u64, content: String },
    Deleted { id: u64 },
    Reacted { id: u64, emoji: String },
    Unreacted { id: u64, emoji: String },
    Pinned { id: u64 },
    Unpinned { id: u64 },
    Topic(String),
    Role { user: u64, role: String },
    Warned,
}

/// An acknowledgement.
#[derive(Clone, Debug)]
pub struct Ack {
    pub room: u64,
    pub seq: u64,
    pub user: u64,
    pub claim: Claim,
}

/// What the players know together.
#[derive(Default)]
pub struct Shared {
    acks: Mutex<Vec<Ack>>,
    /// Room, seq and kind of every event that was pushed to anybody.
    seen: Mutex<BTreeMap<(u64, u64), String>>,
    /// Room, id and author of messages.
    messages: Mutex<Vec<(u64, u64, u64)>>,
    pub acknowledged: AtomicU64,
    pub stop: AtomicBool,
}

impl Shared {
    pub fn acks_of(&self, room: u64) -> Vec<Ack> {
        self.acks.lock().expect("no panic").iter().filter(|ack| ack.room == room).cloned().collect()
    }

    pub fn seen_of(&self, room: u64) -> Vec<(u64, String)> {
        let seen = self.seen.lock().expect("no panic");
        seen.range((room, 0)..(room + 1, 0)).map(|((_, seq), kind)| (*seq, kind.clone())).collect()
    }
}

/// State that only this player changes: what it is, and what it may be as well after a command whose answer was lost.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
struct Own {
    blocks: BTreeSet<u64>,
    /// Roles of the rooms, which only their owner makes.
    roles: BTreeSet<String>,
}

pub struct Player {
    index: usize,
    me: u64,
    client: Client,
    stage: Arc<Stage>,
    shared: Arc<Shared>,
    random: u64,
    count: u64,
    /// The last position seen of each room.
    positions: BTreeMap<u64, u64>,
    /// Events of conversations that came before others which are still to come.
    early: BTreeSet<(u64, u64)>,
    own: Own,
}

const EMOJI: [&str; 3] = ["👍", "🏳️‍🌈", ":tada:"];

impl Player {
    pub fn new(index: usize, client: Client, stage: Arc<Stage>, shared: Arc<Shared>, seed: u64) -> Player {
        let random = ((seed << 8) | (index as u64 + 1)).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let me = client.user_id();
        let (positions, early, own) = (BTreeMap::new(), BTreeSet::new(), Own::default());
        Player { index, me, client, stage, shared, random, count: 0, positions, early, own }
    }

    fn below(&mut self, bound: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random % bound as u64) as usize
    }

    /// Acts until it is told to stop.
    pub async fn play(mut self) -> Player {
        // From the first event on there must be no hole.
        self.positions = self.my_rooms().into_iter().map(|room| (room, 0)).collect();
        self.come_back().await;
        while !self.shared.stop.load(Ordering::Relaxed) {
            self.act().await;
            if self.count.is_multiple_of(16) {
                self.look().await;
            }
        }
        self.look().await;
        while !self.early.is_empty() {
            let push = self.client.push().await.expect("what is missing");
            self.see(&push);
        }
        self
    }

    fn my_rooms(&self) -> Vec<u64> {
        let before = (self.index + self.stage.conversations.len() - 1) % self.stage.conversations.len();
        let mut rooms = self.stage.rooms.clone();
        rooms.extend([self.stage.conversations[self.index], self.stage.conversations[before]]);
        rooms
    }

    /// One command, and what its acknowledgement says.
    async fn act(&mut self) {
        self.count += 1;
        let rooms = self.my_rooms();
        let room = rooms[self.below(rooms.len())];
        let mine = self.a_message(room, true);
        let any = self.a_message(room, false);
        let emoji = EMOJI[self.below(EMOJI.len())].to_owned();
        let text = format!("{}-{}", self.index, self.count);
        match (self.below(14), mine, any) {
            (0, Some(id), _) => {
                let data = json!({"room_id": room, "message_id": id, "content": text});
                self.change("edit_message", data, room, Claim::Edited { id, content: text }).await;
            }
            (1, Some(id), _) if self.below(3) == 0 => {
                self.change("delete_message", json!({"room_id": room, "message_id": id}), room, Claim::Deleted { id })
                    .await;
            }
            (2 | 3, _, Some(id)) => {
                let data = json!({"room_id": room, "message_id": id, "emoji": emoji});
                self.change("add_reaction", data, room, Claim::Reacted { id, emoji }).await;
            }
            (4, _, Some(id)) => {
                let data = json!({"room_id": room, "message_id": id, "emoji": emoji});
                self.change("remove_reaction", data, room, Claim::Unreacted { id, emoji }).await;
            }
            (5, _, Some(id)) => {
                self.change("pin_message", json!({"room_id": room, "message_id": id}), room, Claim::Pinned { id })
                    .await;
            }
            (6, _, Some(id)) => {
                let data = json!({"room_id": room, "message_id": id});
                self.change("unpin_message", data, room, Claim::Unpinned { id }).await;
            }
            (7, _, Some(id)) => self.send(room, text, Some(id)).await,
            (8, ..) => self.block().await,
            (9, ..) if self.index == 0 && self.stage.rooms.contains(&room) => self.govern(room, text).await,
            (10, ..) => self.mark_read(room).await,
            _ => self.send(room, text, None).await,
        }
    }

    fn a_message(&mut self, room: u64, mine: bool) -> Option<u64> {
        let known: Vec<u64> = {
            let messages = self.shared.messages.lock().expect("no panic");
            let fits = messages.iter().filter(|(at, _, author)| *at == room && (!mine || *author == self.me));
            fits.map(|(_, id, _)| *id).collect()
        };
        // Mostly of the newest, so that players meet.
        let newest = &known[known.len().saturating_sub(12)..];
        (!newest.is_empty()).then(|| newest[self.below(newest.len())])
    }

    /// A change whose refusal, by what others have done meanwhile, is nothing special.
    async fn change(&mut self, command: &str, data: Value, room: u64, claim: Claim) {
        match self.client.call(command, data.clone()).await {
            Ok(reply) => self.acknowledged(room, number(&reply.data, "seq"), claim),
            Err(Error::Refused(error)) => {
                let code = error["code"].as_str().expect("a code");
                let usual = ["MESSAGE_NOT_FOUND", "CONFLICT", "CONVERSATION_BLOCKED"].contains(&code);
                assert!(usual || error["retryable"] == true, "{command} {data}: {error}");
            }
            Err(_) => self.come_back().await,
        }
    }

    fn acknowledged(&mut self, room: u64, seq: u64, claim: Claim) {
        self.shared.acks.lock().expect("no panic").push(Ack { room, seq, user: self.me, claim });
        self.shared.acknowledged.fetch_add(1, Ordering::Relaxed);
    }

    /// A message, sent again under its `client_id` until it is answered.
    async fn send(&mut self, room: u64, text: String, parent: Option<u64>) {
        let data = json!({"room_id": room, "content": text, "client_id": text, "parent_id": parent});
        loop {
            match self.client.call("send_message", data.clone()).await {
                Ok(reply) => {
                    let seq = number(&reply.data, "seq");
                    self.shared.messages.lock().expect("no panic").push((room, seq, self.me));
                    return self.acknowledged(room, seq, Claim::Sent { content: text });
                }
                Err(Error::Refused(error)) => {
                    let code = error["code"].as_str().expect("a code");
                    if error["retryable"] == true {
                        continue;
                    }
                    assert!(["MESSAGE_NOT_FOUND", "CONVERSATION_BLOCKED"].contains(&code), "{data}: {error}");
                    return;
                }
                Err(_) => self.come_back().await,
            }
        }
    }

    /// What only owners of rooms do.
    async fn govern(&mut self, room: u64, text: String) {
        let other = 1 + self.below(self.stage.users.len() - 1);
        let user = self.stage.users[other];
        match self.below(4) {
            0 => self.change("update_room", json!({"room_id": room, "topic": text}), room, Claim::Topic(text)).await,
            1 => {
                let data = json!({"room_id": room, "user_id": user, "kind": "warn", "reason": text});
                self.change("sanction_user", data, room, Claim::Warned).await;
            }
            2 => {
                let role = if self.below(2) == 0 { "moderator" } else { "keeper" }.to_owned();
                let permissions = ["read", "send", "react", "pin", "edit_own", "delete_own"];
                let data = json!({"room_id": room, "name": "keeper", "permissions": permissions});
                if let Err(Error::Closed(_)) = self.client.call("create_role", data).await {
                    return self.come_back().await;
                }
                let data = json!({"room_id": room, "user_id": user, "role": role});
                self.change("set_member_role", data, room, Claim::Role { user, role }).await;
            }
            _ => {
                let name = format!("r{}", self.below(5));
                let room = self.stage.rooms[0];
                let (command, data) = if self.own.roles.contains(&name) {
                    ("delete_role", json!({"room_id": room, "name": name}))
                } else {
                    ("create_role", json!({"room_id": room, "name": name, "permissions": ["read"]}))
                };
                let mut after = self.own.clone();
                if !after.roles.remove(&name) {
                    after.roles.insert(name);
                }
                self.change_own(command, data, after).await;
            }
        }
    }

    async fn block(&mut self) {
        // Not a neighbour: with those there is a conversation to be had.
        let (players, step) = (self.stage.users.len(), 2 + self.below(2));
        let user = self.stage.users[(self.index + step) % players];
        let mut after = self.own.clone();
        let command = if after.blocks.remove(&user) { "unblock_user" } else { "block_user" };
        if command == "block_user" {
            after.blocks.insert(user);
        }
        self.change_own(command, json!({"user_id": user}), after).await;
    }

    /// A change of what nobody else changes. If its answer is lost, it is one or the other.
    async fn change_own(&mut self, command: &str, data: Value, after: Own) {
        match self.client.call(command, data.clone()).await {
            Ok(_) => {
                self.own = after;
                self.shared.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            Err(Error::Refused(error)) if error["retryable"] == true => self.learn(after).await,
            Err(Error::Refused(error)) => panic!("{command} {data}: {error}"),
            Err(_) => {
                self.come_back().await;
                self.learn(after).await;
            }
        }
    }

    async fn learn(&mut self, after: Own) {
        loop {
            match read_own(self.index, &mut self.client, &self.stage).await {
                Some(found) => {
                    assert!(found == self.own || found == after, "{found:?} is neither {:?} nor {after:?}", self.own);
                    self.own = found;
                    return;
                }
                None => self.come_back().await,
            }
        }
    }

    async fn mark_read(&mut self, room: u64) {
        let seq = self.positions.get(&room).copied().unwrap_or(0);
        match self.client.call("mark_read", json!({"room_id": room, "seq": seq})).await {
            Ok(reply) => assert!(number(&reply.data, "seq") >= seq, "{reply:?}"),
            Err(Error::Refused(error)) => assert_eq!(error["retryable"], true, "{error}"),
            Err(_) => self.come_back().await,
        }
    }

    /// Takes in what was pushed: in each room one event after the other.
    async fn look(&mut self) {
        match self.client.pushes_so_far().await {
            Ok(pushes) => pushes.iter().for_each(|push| self.see(push)),
            Err(_) => self.come_back().await,
        }
    }

    fn see(&mut self, push: &Frame) {
        let (Some(room), Some(seq)) = (push.data["room_id"].as_u64(), push.data["seq"].as_u64()) else { return };
        if push.kind == "read" {
            return;
        }
        let position = self.positions.get_mut(&room).expect("one of my rooms");
        if self.stage.conversations.contains(&room) {
            // Live from the beginning of the connection, and replayed: in either order, and some twice.
            self.early.extend((seq > *position).then_some((room, seq)));
            while self.early.remove(&(room, *position + 1)) {
                *position += 1;
            }
        } else {
            assert_eq!(seq, *position + 1, "a hole, or twice: {push:?}");
            *position = seq;
        }
        let mut seen = self.shared.seen.lock().expect("no panic");
        let kind = seen.entry((room, seq)).or_insert_with(|| push.kind.clone());
        assert_eq!(*kind, push.kind, "two events have one place: {push:?}");
    }

    /// A new connection, which goes on where the old one ended.
    async fn come_back(&mut self) {
        let queued: Vec<Frame> = self.client.queued().filter(|_| self.count > 0).cloned().collect();
        queued.iter().for_each(|push| self.see(push));
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            assert!(Instant::now() < deadline, "the server does not come back");
            if let Ok(client) = Client::connect(self.stage.addr, &self.stage.tokens[self.index]).await {
                self.client = client;
                self.early.clear();
                let rooms: Vec<Value> =
                    self.positions.iter().map(|(room, seq)| json!({"room_id": room, "last_seq": seq})).collect();
                if let Ok(resumed) = self.client.call("resume", json!({"rooms": rooms})).await {
                    let rooms = resumed.data["rooms"].as_array().expect("rooms");
                    if rooms.iter().all(|room| room["recovered"] == true) {
                        return;
                    }
                    assert!(rooms.iter().all(|room| room["reason"] != "ahead"), "seen and vanished: {resumed:?}");
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What is one's own is as it was acknowledged.
    pub async fn check_own(&self) {
        let mut client = Client::connect(self.stage.addr, &self.stage.tokens[self.index]).await.expect("in");
        let found = read_own(self.index, &mut client, &self.stage).await.expect("a living server");
        assert_eq!(found, self.own, "of player {}", self.index);
    }
}

async fn read_own(index: usize, client: &mut Client, stage: &Stage) -> Option<Own> {
    let blocks = client.call("list_blocks", json!({})).await.ok()?.data;
    let blocks = blocks["users"].as_array().expect("users").iter().map(|user| number(user, "user_id")).collect();
    let mut own = Own { blocks, ..Own::default() };
    if index == 0 {
        let roles = client.call("list_roles", json!({"room_id": stage.rooms[0]})).await.ok()?.data;
        let names = roles["roles"].as_array().expect("roles").iter().map(|role| role["name"].as_str().expect("a name"));
        own.roles = names.filter(|name| name.starts_with('r')).map(str::to_owned).collect();
    }
    Some(own)
}
