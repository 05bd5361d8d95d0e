//! A room that one user runs: what is in it, what may be done to it, and what it is then. Whoever reads it through the
//! protocol reads the same shape, so that the two are compared whole.

use crate::dice::Dice;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Permissions that the custom roles are made of.
const PERMISSIONS: [&str; 5] = ["read", "send", "react", "pin", "invite"];
/// Names of the custom roles.
const ROLES: [&str; 3] = ["helper", "guest", "critic"];

/// What `update_room` changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Name.
    pub name: String,
    /// Topic.
    pub topic: Option<String>,
    /// Description.
    pub description: Option<String>,
    /// Not public.
    pub private: bool,
    /// Most members.
    pub max_members: u64,
    /// Seconds.
    pub slow_mode_s: u64,
    /// Closed.
    pub archived: bool,
}

/// A sanction, by its reason, which nobody else has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sanction {
    /// Whom.
    pub user: u64,
    /// `kind`.
    pub kind: String,
    /// By whom.
    pub actor: u64,
    /// It is over.
    pub lifted: bool,
}

/// The room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct House {
    /// It is not there any more.
    pub gone: bool,
    /// Settings.
    pub settings: Settings,
    /// Who runs it.
    pub owner: u64,
    /// Roles by user.
    pub members: BTreeMap<u64, String>,
    /// Open invitations among those who play here.
    pub invited: BTreeSet<u64>,
    /// Permissions by custom role.
    pub roles: BTreeMap<String, BTreeSet<String>>,
    /// By reason.
    pub sanctions: BTreeMap<String, Sanction>,
}

/// What is done to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// All settings.
    Update(Settings),
    /// By that user.
    Join(u64),
    /// By that user; a guest declines.
    Leave(u64),
    /// By the owner, as all that follow.
    Invite(u64),
    /// Of a member.
    Kick(u64),
    /// `owner` passes the room on.
    SetRole(u64, String),
    /// true: it is new.
    PutRole(String, BTreeSet<String>, bool),
    /// Its holders become members.
    DropRole(String),
    /// User, kind, reason.
    Sanction(u64, &'static str, String),
    /// By reason.
    Lift(String),
    /// For everybody.
    Delete,
}

impl House {
    /// A room as `create_room` makes it.
    pub fn new(name: &str, owner: u64, max_members: u64) -> House {
        let settings = Settings {
            name: name.to_owned(),
            topic: None,
            description: None,
            private: false,
            max_members,
            slow_mode_s: 0,
            archived: false,
        };
        House {
            gone: false,
            settings,
            owner,
            members: BTreeMap::from([(owner, "owner".to_owned())]),
            invited: BTreeSet::new(),
            roles: BTreeMap::new(),
            sanctions: BTreeMap::new(),
        }
    }

    /// A ban in force.
    fn banned(&self, user: u64) -> bool {
        self.sanctions.values().any(|sanction| sanction.user == user && sanction.kind == "ban" && !sanction.lifted)
    }

    /// Something that can be done, to these users; `mark` is in every text. `mortal`: it may be deleted.
    pub fn choose(&self, dice: &mut Dice, users: &[u64], mark: &str, mortal: bool) -> Option<Act> {
        let user = *dice.pick(users);
        let plain = self.members.get(&user).is_some_and(|role| role != "owner");
        let role = (*dice.pick(&ROLES)).to_owned();
        match dice.below(100) {
            _ if self.settings.archived => Some(Act::Update(Settings { archived: false, ..self.settings.clone() })),
            0..10 => Some(Act::Update(self.other_settings(dice, mark))),
            10..36 if plain || self.invited.contains(&user) && dice.percent(20) => {
                dice.percent(40).then_some(Act::Leave(user))
            }
            10..36 if self.members.contains_key(&user) || self.banned(user) => None,
            10..36 => (!self.settings.private || self.invited.contains(&user)).then_some(Act::Join(user)),
            36..44 => (!plain && user != self.owner && !self.banned(user)).then_some(Act::Invite(user)),
            44..50 => plain.then_some(Act::Kick(user)),
            50..60 if plain => {
                let known = self.roles.contains_key(&role);
                Some(Act::SetRole(user, if known { role } else { (*dice.pick(&["moderator", "member"])).into() }))
            }
            60..62 if plain => Some(Act::SetRole(user, "owner".into())),
            62..74 => {
                let chosen = PERMISSIONS.iter().filter(|_| dice.percent(50)).map(|name| (*name).to_owned());
                let chosen: BTreeSet<String> = chosen.collect();
                let new = !self.roles.contains_key(&role);
                Some(Act::PutRole(role, chosen, new))
            }
            74..78 => self.roles.contains_key(&role).then_some(Act::DropRole(role)),
            78..88 if plain => {
                let kind = *dice.pick(&["warn", "mute", "kick", "ban"]);
                Some(Act::Sanction(user, kind, mark.to_owned()))
            }
            88..98 => {
                let open = |(_, s): &(&String, &Sanction)| !s.lifted && matches!(s.kind.as_str(), "mute" | "ban");
                self.sanctions.iter().find(open).map(|(reason, _)| Act::Lift(reason.clone()))
            }
            98.. if mortal => Some(Act::Delete),
            _ => None,
        }
    }

    fn other_settings(&self, dice: &mut Dice, mark: &str) -> Settings {
        let mut new = self.settings.clone();
        match dice.below(7) {
            0 => new.name = format!("house {mark}"),
            1 => new.topic = Some(format!("topic {mark}")),
            2 => new.description = dice.percent(70).then(|| format!("about {mark}")),
            3 => new.private = !new.private,
            4 => new.max_members = 50 + dice.below(50) as u64,
            5 => new.slow_mode_s = dice.below(5) as u64,
            _ => new.archived = true,
        }
        new
    }

    /// The command for it: who gives it, its name, its data.
    pub fn command(&self, room: u64, act: &Act, ids: &BTreeMap<String, u64>) -> (u64, &'static str, Value) {
        let owner = self.owner;
        match act {
            Act::Update(new) => (owner, "update_room", new.update(room)),
            Act::Join(user) => (*user, "join_room", json!({"room_id": room})),
            Act::Leave(user) => (*user, "leave_room", json!({"room_id": room})),
            Act::Invite(user) => (owner, "invite_member", json!({"room_id": room, "user_id": user})),
            Act::Kick(user) => (owner, "kick_member", json!({"room_id": room, "user_id": user, "reason": "so"})),
            Act::SetRole(user, role) => {
                (owner, "set_member_role", json!({"room_id": room, "user_id": user, "role": role}))
            }
            Act::PutRole(name, permissions, new) => {
                let command = if *new { "create_role" } else { "update_role" };
                (owner, command, json!({"room_id": room, "name": name, "permissions": permissions}))
            }
            Act::DropRole(name) => (owner, "delete_role", json!({"room_id": room, "name": name})),
            Act::Sanction(user, kind, reason) => {
                let data = json!({"room_id": room, "user_id": user, "kind": kind, "reason": reason});
                (owner, "sanction_user", data)
            }
            Act::Lift(reason) => (owner, "lift_sanction", json!({"sanction_id": ids.get(reason)})),
            Act::Delete => (owner, "delete_room", json!({"room_id": room})),
        }
    }

    /// What it is afterwards.
    #[must_use]
    pub fn after(&self, act: &Act) -> House {
        let mut house = self.clone();
        match act {
            Act::Update(new) => house.settings = new.clone(),
            Act::Join(user) => {
                house.invited.remove(user);
                house.members.entry(*user).or_insert_with(|| "member".into());
            }
            Act::Leave(user) => {
                if house.members.remove(user).is_none() {
                    house.invited.remove(user);
                }
            }
            Act::Invite(user) => drop(house.invited.insert(*user)),
            Act::Kick(user) => drop(house.members.remove(user)),
            Act::SetRole(user, role) => {
                if role == "owner" {
                    house.members.insert(house.owner, "moderator".into());
                    house.owner = *user;
                }
                house.members.insert(*user, role.clone());
            }
            Act::PutRole(name, permissions, _) => drop(house.roles.insert(name.clone(), permissions.clone())),
            Act::DropRole(name) => {
                house.roles.remove(name);
                house.members.values_mut().filter(|role| *role == name).for_each(|role| *role = "member".into());
            }
            Act::Sanction(user, kind, reason) => {
                let sanction = Sanction { user: *user, kind: (*kind).into(), actor: house.owner, lifted: false };
                house.sanctions.insert(reason.clone(), sanction);
                if matches!(*kind, "kick" | "ban") {
                    house.members.remove(user);
                }
                if *kind == "ban" {
                    house.invited.remove(user);
                }
            }
            Act::Lift(reason) => house.sanctions.get_mut(reason).expect("chosen from them").lifted = true,
            Act::Delete => house.gone = true,
        }
        house
    }
}

impl Settings {
    /// As `update_room` takes them; an empty text takes one away.
    fn update(&self, room: u64) -> Value {
        json!({
            "room_id": room,
            "name": self.name,
            "topic": self.topic.as_deref().unwrap_or(""),
            "description": self.description.as_deref().unwrap_or(""),
            "visibility": if self.private { "private" } else { "public" },
            "max_members": self.max_members,
            "slow_mode_s": self.slow_mode_s,
            "archived": self.archived,
        })
    }

    /// From a `room` object.
    pub fn read(room: &Value) -> Settings {
        let text = |name: &str| room[name].as_str().map(str::to_owned);
        let number = |name: &str| room[name].as_u64().unwrap_or(u64::MAX);
        Settings {
            name: text("name").unwrap_or_default(),
            topic: text("topic"),
            description: text("description"),
            private: room["visibility"] == "private",
            max_members: number("max_members"),
            slow_mode_s: number("slow_mode_s"),
            archived: room["archived"] == true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acts_change_what_they_say() {
        let house = House::new("x", 1, 100);
        let house = house.after(&Act::Invite(2)).after(&Act::Join(2)).after(&Act::Join(3));
        assert!(house.invited.is_empty());
        let house = house.after(&Act::PutRole("guest".into(), BTreeSet::new(), true));
        let house = house.after(&Act::SetRole(3, "guest".into())).after(&Act::DropRole("guest".into()));
        assert_eq!(house.members[&3], "member");
        let house = house.after(&Act::SetRole(2, "owner".into()));
        assert_eq!((house.owner, house.members[&1].as_str()), (2, "moderator"));
        let house = house.after(&Act::Sanction(3, "ban", "r".into()));
        assert!(house.banned(3) && !house.members.contains_key(&3));
        assert!(!house.after(&Act::Lift("r".into())).banned(3));
    }

    #[test]
    fn only_what_is_allowed_is_chosen() {
        let (mut house, mut dice) = (House::new("x", 1, 100), Dice::new(3));
        let mut acts = 0;
        for step in 0..2000 {
            let Some(act) = house.choose(&mut dice, &[1, 2, 3, 4], &step.to_string(), false) else { continue };
            match &act {
                Act::Join(user) => assert!(!house.banned(*user) && !house.members.contains_key(user)),
                Act::Kick(user) | Act::SetRole(user, _) => assert!(house.members.contains_key(user)),
                Act::Leave(user) => assert_ne!(*user, house.owner),
                _ => {}
            }
            house = house.after(&act);
            acts += 1;
            assert_eq!(house.members.values().filter(|role| *role == "owner").count(), 1);
        }
        assert!(acts > 800, "{acts}");
    }
}
