//! A host: runs rooms of its own and conversations, one command after the other, over HTTP, in its own name and in that of
//! its guests. After a command without an answer it looks: what is there must be what was, or what was asked for.

use super::house::{Act, House, Sanction, Settings};
use super::{Cast, Person};
use crate::check::Violations;
use crate::dice::Dice;
use crate::fault::Shared;
use crate::http;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Between two commands: an HTTP connection each must not use up the ports.
const PACE: Duration = Duration::from_millis(8);
/// Before a command is repeated.
const RETRY: Duration = Duration::from_millis(25);
/// Rooms at a time that may be deleted.
const MORTALS: usize = 3;

/// How a command ended.
enum Answer {
    Done(Value),
    Nothing,
    Unknown,
    Refused(String),
}

/// A room of the host.
pub(super) struct Home {
    pub(super) room: u64,
    pub(super) house: House,
    /// Sanctions by reason.
    ids: BTreeMap<String, u64>,
    mortal: bool,
}

/// A conversation that the host has begun.
#[derive(Default)]
pub(super) struct Talk {
    pub(super) users: BTreeSet<u64>,
    /// The other one, if there are only two.
    pub(super) pair: Option<u64>,
    /// Id and content.
    pub(super) sent: Vec<(u64, String)>,
}

pub(super) struct Host {
    shared: Arc<Shared>,
    pub(super) cast: Arc<Cast>,
    pub(super) me: Person,
    pub(super) guests: Vec<Person>,
    dice: Dice,
    made: u64,
    pub(super) homes: Vec<Home>,
    /// Deleted.
    pub(super) ruins: Vec<Home>,
    pub(super) talks: BTreeMap<u64, Talk>,
    pub(super) blocks: BTreeSet<u64>,
    pub(super) status: Option<(&'static str, String)>,
    pub(super) violations: Violations,
}

impl Host {
    /// A host of one room that stays; others come and go.
    pub(super) fn new(shared: Arc<Shared>, cast: Arc<Cast>, me: Person, guests: Vec<Person>) -> Host {
        let dice = Dice::new(me.id);
        Host {
            shared,
            cast,
            me,
            guests,
            dice,
            made: 0,
            homes: Vec::new(),
            ruins: Vec::new(),
            talks: BTreeMap::new(),
            blocks: BTreeSet::new(),
            status: None,
            violations: Violations::default(),
        }
    }

    /// Takes a room over that is there, as it is.
    pub(super) async fn adopt(&mut self, room: u64) -> Result<(), String> {
        let me = self.me.id;
        let (house, ids) = self.observe(me, room).await?;
        self.homes.push(Home { room, house, ids, mortal: false });
        Ok(())
    }

    /// Runs until it is told to stop.
    pub(super) async fn run(mut self) -> Host {
        let stop = self.shared.stop.subscribe();
        while !*stop.borrow() {
            if let Err(reason) = self.step().await {
                self.violations.add(format!("{}: {reason}", self.me.name));
            }
            tokio::time::sleep(PACE).await;
        }
        self
    }

    async fn step(&mut self) -> Result<(), String> {
        let guest = self.guests[self.dice.below(self.guests.len())].id;
        match self.dice.below(100) {
            0..72 => self.change_home().await,
            72..78 => self.block(guest).await,
            78..82 => self.show().await,
            82..86 => self.begin_talk(guest).await,
            86..96 => self.talk().await,
            _ => self.build().await,
        }
    }

    fn mark(&mut self) -> String {
        self.made += 1;
        format!("h{}n{}", self.me.id, self.made)
    }

    async fn change_home(&mut self) -> Result<(), String> {
        let mark = self.mark();
        let mut users: Vec<u64> = self.guests.iter().map(|guest| guest.id).collect();
        users.push(self.me.id);
        let index = self.dice.below(self.homes.len());
        let home = &self.homes[index];
        let Some(act) = home.house.choose(&mut self.dice, &users, &mark, home.mortal) else { return Ok(()) };
        let (room, before) = (home.room, home.house.clone());
        let (user, command, data) = before.command(room, &act, &home.ids);
        let after = before.after(&act);
        match self.call(user, command, &data).await {
            Answer::Done(reply) => {
                let home = &mut self.homes[index];
                if let (Act::Sanction(_, _, reason), Some(id)) = (&act, reply["sanction_id"].as_u64()) {
                    home.ids.insert(reason.clone(), id);
                }
                home.house = after;
            }
            Answer::Nothing => {}
            Answer::Unknown => self.settle(index, before, after, &act).await?,
            Answer::Refused(code) => return Err(format!("{act:?} in {before:?} was refused: {code}")),
        }
        if self.homes[index].house.gone {
            let ruin = self.homes.remove(index);
            self.ruins.push(ruin);
        }
        Ok(())
    }

    /// A command had no answer. Another change is asked for until it is answered, so that the first one has been through
    /// or never will be; then the room must be as either says.
    async fn settle(&mut self, index: usize, before: House, after: House, act: &Act) -> Result<(), String> {
        let room = self.homes[index].room;
        let topic = self.mark();
        let mut reader = before.owner;
        for owner in [before.owner, after.owner] {
            match self.sure(owner, "update_room", &json!({"room_id": room, "topic": topic})).await {
                Ok(_) => {
                    reader = owner;
                    break;
                }
                Err(code) if code == "PERMISSION_DENIED" && before.owner != after.owner => {}
                Err(code) if code == "ROOM_NOT_FOUND" && after.gone => break,
                Err(code) => return Err(format!("a topic after {act:?} in {before:?} was refused: {code}")),
            }
        }
        let (seen, ids) = self.observe(reader, room).await?;
        let titled = |house: &House| {
            let mut house = house.clone();
            house.settings.topic = Some(topic.clone());
            house
        };
        if !(seen == titled(&before) || seen == titled(&after) || seen.gone && after.gone) {
            return Err(format!("after {act:?} without an answer: was {before:?}, is {seen:?}"));
        }
        let home = &mut self.homes[index];
        (home.house, home.ids) = (seen, ids);
        Ok(())
    }

    /// Everything of a room, as this user reads it.
    pub(super) async fn observe(&mut self, user: u64, room: u64) -> Result<(House, BTreeMap<String, u64>), String> {
        let of = json!({"room_id": room});
        let found = match self.sure(user, "get_room", &of).await {
            Ok(found) => found,
            Err(code) if code == "ROOM_NOT_FOUND" => {
                let mut house = House::new("", 0, 0);
                house.gone = true;
                return Ok((house, BTreeMap::new()));
            }
            Err(code) => return Err(format!("get_room {room}: {code}")),
        };
        let found = &found["room"];
        let mut house = House::new("", found["owner_id"].as_u64().unwrap_or(0), 0);
        house.settings = Settings::read(found);
        let members = self.pages(user, "get_members", &of, "members").await?;
        house.members = members.iter().map(|member| (id(member), text(member, "role"))).collect();
        if found["member_count"].as_u64() != Some(house.members.len() as u64) {
            return Err(format!("room {room}: {} members are listed: {found}", house.members.len()));
        }
        let roles = self.sure(user, "list_roles", &of).await?;
        for role in roles["roles"].as_array().ok_or("no roles")?.iter().filter(|role| role["built_in"] == false) {
            let permissions = role["permissions"].as_array().ok_or("no permissions")?;
            let permissions = permissions.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect();
            house.roles.insert(text(role, "name"), permissions);
        }
        let mut ids = BTreeMap::new();
        for row in self.pages(user, "list_sanctions", &of, "sanctions").await? {
            let reason = text(&row, "reason");
            ids.insert(reason.clone(), row["sanction_id"].as_u64().unwrap_or(0));
            let (kind, actor) = (text(&row, "kind"), row["actor_id"].as_u64().unwrap_or(0));
            house
                .sanctions
                .insert(reason, Sanction { user: id(&row), kind, actor, lifted: !row["lifted_at"].is_null() });
        }
        let people: Vec<u64> = self.guests.iter().map(|guest| guest.id).chain([self.me.id]).collect();
        for guest in people {
            let open = self.pages(guest, "list_rooms", &json!({"filter": "invited"}), "rooms").await?;
            if open.iter().any(|open| open["room_id"] == room) {
                house.invited.insert(guest);
            }
        }
        Ok((house, ids))
    }

    /// All pages of a list.
    pub(super) async fn pages(
        &mut self,
        user: u64,
        command: &str,
        data: &Value,
        list: &str,
    ) -> Result<Vec<Value>, String> {
        let (mut all, mut cursor) = (Vec::new(), Value::Null);
        loop {
            let mut data = data.clone();
            (data["limit"], data["cursor"]) = (json!(100), cursor);
            let page = self.sure(user, command, &data).await.map_err(|code| format!("{command}: {code}"))?;
            all.extend(
                page[list].as_array().ok_or_else(|| format!("{command} without {list}: {page}"))?.iter().cloned(),
            );
            cursor = page["next_cursor"].clone();
            if cursor.is_null() {
                return Ok(all);
            }
        }
    }

    async fn block(&mut self, guest: u64) -> Result<(), String> {
        let on = !self.blocks.contains(&guest);
        let command = if on { "block_user" } else { "unblock_user" };
        let me = self.me.id;
        self.sure(me, command, &json!({"user_id": guest})).await.map_err(|code| format!("{command}: {code}"))?;
        if on {
            self.blocks.insert(guest)
        } else {
            self.blocks.remove(&guest)
        };
        Ok(())
    }

    async fn show(&mut self) -> Result<(), String> {
        let (status, message, me) = (*self.dice.pick(&["online", "away", "busy"]), self.mark(), self.me.id);
        let data = json!({"status": status, "message": message});
        self.sure(me, "update_status", &data).await.map_err(|code| format!("update_status: {code}"))?;
        self.status = Some((status, message));
        Ok(())
    }

    async fn begin_talk(&mut self, guest: u64) -> Result<(), String> {
        let group = self.dice.percent(30);
        let all: BTreeSet<u64> = self.guests.iter().map(|guest| guest.id).collect();
        let data = if group { json!({"user_ids": all, "client_id": self.mark()}) } else { json!({"user_id": guest}) };
        let me = self.me.id;
        let reply = self.sure(me, "create_dm", &data).await.map_err(|code| format!("create_dm: {code}"))?;
        let conversation = reply["conversation_id"].as_u64().ok_or("no conversation_id")?;
        let pair = (!group).then_some(guest);
        let earlier = pair.and_then(|_| self.talks.iter().find(|(_, talk)| talk.pair == pair));
        if earlier.is_some_and(|(id, _)| *id != conversation) {
            return Err(format!("another conversation of the same two: {reply}"));
        }
        let mut users = if group { all } else { BTreeSet::from([guest]) };
        users.insert(me);
        self.talks.entry(conversation).or_insert(Talk { users, pair, sent: Vec::new() });
        Ok(())
    }

    async fn talk(&mut self) -> Result<(), String> {
        if self.talks.is_empty() {
            return Ok(());
        }
        let (index, content, me) = (self.dice.below(self.talks.len()), self.mark(), self.me.id);
        let conversation = *self.talks.keys().nth(index).expect("so many");
        let data = json!({"conversation_id": conversation, "content": content, "client_id": content});
        let reply = self.sure(me, "send_dm", &data).await.map_err(|code| format!("send_dm: {code}"))?;
        let id = reply["message_id"].as_u64().ok_or("no message_id")?;
        self.talks.entry(conversation).or_default().sent.push((id, content));
        Ok(())
    }

    async fn build(&mut self) -> Result<(), String> {
        if self.homes.len() > MORTALS {
            return Ok(());
        }
        let (name, me) = (self.mark(), self.me.id);
        let data = json!({"name": name, "client_id": name});
        let reply = self.sure(me, "create_room", &data).await.map_err(|code| format!("create_room: {code}"))?;
        let room = reply["room"]["room_id"].as_u64().ok_or("no room_id")?;
        let house = House::new(&name, me, reply["room"]["max_members"].as_u64().unwrap_or(0));
        self.homes.push(Home { room, house, ids: BTreeMap::new(), mortal: true });
        Ok(())
    }

    /// Repeats a command until it is answered; for what comes to the same each time.
    ///
    /// # Errors
    /// The code of a refusal.
    pub(super) async fn sure(&mut self, user: u64, command: &str, data: &Value) -> Result<Value, String> {
        loop {
            match self.call(user, command, data).await {
                Answer::Done(reply) => return Ok(reply),
                Answer::Refused(code) => return Err(code),
                Answer::Nothing | Answer::Unknown => tokio::time::sleep(RETRY).await,
            }
        }
    }

    async fn call(&self, user: u64, command: &str, data: &Value) -> Answer {
        let person = self.guests.iter().find(|guest| guest.id == user).unwrap_or(&self.me);
        let Ok(response) = http::command(self.shared.addr, &person.token, command, data).await else {
            return Answer::Unknown;
        };
        let reply = response.json();
        if response.status == 200 {
            self.shared.acknowledged(command);
            return Answer::Done(reply);
        }
        let code = reply["code"].as_str().unwrap_or("(no code)").to_owned();
        self.shared.refused(&code);
        match code.as_str() {
            "STORE_UNAVAILABLE" => Answer::Unknown,
            "INTERNAL" if reply["retryable"] == true => Answer::Unknown,
            // A void keeps its place, and the command has failed.
            "INTERNAL" => Answer::Nothing,
            _ if reply["retryable"] == true => Answer::Nothing,
            _ => Answer::Refused(code),
        }
    }
}

fn id(row: &Value) -> u64 {
    row["user_id"].as_u64().unwrap_or(0)
}

fn text(row: &Value, name: &str) -> String {
    row[name].as_str().unwrap_or_default().to_owned()
}
