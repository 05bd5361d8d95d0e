//! What is done with rooms and people: settings, members, roles, sanctions, presence, blocks.

use veza_engine::id::RoomId;

use crate::client::{Asked, Change};
use crate::world::World;

const ROLES: [&str; 5] = ["member", "moderator", "moderator", "helper", "owner"];
const CUSTOM: [&str; 5] = ["helper", "helper", "helper", "guest", "editor"];
const SANCTIONS: [&str; 5] = ["warn", "mute", "mute", "kick", "ban"];

impl World {
    pub(super) fn administer(&mut self, client: usize, room: RoomId) {
        // Mostly somebody who may: else nearly everything would be refused.
        let able = if self.rng.percent(70) { self.somebody_with_rights(room) } else { None };
        let client = able.unwrap_or(client);
        let user = self.any_user();
        let (kind, change, more) = match self.rng.below(22) {
            0..=3 => ("invite_member", Change::Invite { user }, format!(r#","user_id":{user}"#)),
            4 => ("kick_member", Change::Kick { user }, format!(r#","user_id":{user},"reason":"why""#)),
            5..=8 => {
                let role = ROLES[self.rng.below(ROLES.len() as u64) as usize];
                ("set_member_role", Change::Role { user, role }, format!(r#","user_id":{user},"role":"{role}""#))
            }
            9..=11 => self.some_role(),
            12..=14 => ("update_room", Change::Update, self.some_settings()),
            15 if self.rng.percent(15) => ("delete_room", Change::DeleteRoom, String::new()),
            15..=17 => return self.lift(client),
            _ => {
                let kind = SANCTIONS[self.rng.below(SANCTIONS.len() as u64) as usize];
                let duration = if self.rng.percent(70) { r#","duration_s":1"# } else { "" };
                let more = format!(r#","user_id":{user},"kind":"{kind}","reason":"why"{duration}"#);
                ("sanction_user", Change::Sanction { user, kind }, more)
            }
        };
        let asked = Asked::Change { room, change };
        self.either_way(client, kind, asked, &format!(r#""room_id":{}{more}"#, room.0));
    }

    /// A connected client whose user is owner or moderator.
    fn somebody_with_rights(&mut self, room: RoomId) -> Option<usize> {
        let members = &self.model.rooms.get(&room)?.members;
        let able: Vec<usize> = (0..self.clients.len())
            .filter(|index| {
                let client = &self.clients[*index];
                let role = client.user_id.and_then(|user| members.get(&user));
                client.ready && role.is_some_and(|role| role == "owner" || role == "moderator")
            })
            .collect();
        self.rng.pick(&able).copied()
    }

    fn some_role(&mut self) -> (&'static str, Change, String) {
        let name = CUSTOM[self.rng.below(CUSTOM.len() as u64) as usize];
        let named = format!(r#","name":"{name}""#);
        let permissions = [
            r#""read""#,
            r#""read","send","pin""#,
            r#""read","send","moderate","manage_members""#,
            r#""read","react","invite","manage_roles","send""#,
        ];
        let permissions = permissions[self.rng.below(permissions.len() as u64) as usize];
        match self.rng.below(6) {
            0..=1 => ("delete_role", Change::DropRole { name }, named),
            2..=3 => ("update_role", Change::PutRole { name }, format!(r#"{named},"permissions":[{permissions}]"#)),
            _ => ("create_role", Change::PutRole { name }, format!(r#"{named},"permissions":[{permissions}]"#)),
        }
    }

    fn some_settings(&mut self) -> String {
        let number = self.rng.below(4);
        match self.rng.below(9) {
            0..=1 => format!(r#","topic":"topic {number}""#),
            2 => format!(r#","name":"name {number}""#),
            3 => format!(r#","max_members":{}"#, number + 1),
            4 => format!(r#","slow_mode_s":{}"#, number % 2),
            5 => format!(r#","archived":{}"#, number == 0),
            6 => r#","visibility":"public","archived":false"#.to_owned(),
            7 => format!(r#","visibility":"{}""#, if number == 0 { "private" } else { "public" }),
            _ => format!(r#","retention_days":{}"#, number % 2),
        }
    }

    fn lift(&mut self, client: usize) {
        let ids: Vec<u64> = self.store.sanctions.keys().copied().collect();
        let from = ids.len().saturating_sub(6);
        let Some(sanction) = self.rng.pick(&ids[from..]).copied() else { return };
        let data = format!(r#""sanction_id":{sanction}"#);
        self.either_way(client, "lift_sanction", Asked::Lift { sanction }, &data);
    }

    pub(super) fn of_users(&mut self, client: usize, room: RoomId) {
        match self.rng.below(10) {
            0..=2 => self.set_status(client),
            3..=6 => {
                let is_typing = self.rng.percent(80);
                let data = format!(r#""room_id":{},"is_typing":{is_typing}"#, room.0);
                self.command(client, "typing", Asked::Room { room }, &data);
            }
            7..=8 => self.block(client),
            _ => {
                let user = self.any_user();
                self.either_way(client, "get_user", Asked::Other, &format!(r#""user_id":{user}"#));
            }
        }
    }

    /// Every text is a new one: whoever reads it and should not is found out.
    fn set_status(&mut self, client: usize) {
        let Some(user) = self.clients[client].user_id else { return };
        let status = ["online", "away", "busy", "invisible"][self.rng.below(4) as usize];
        let text = format!("{status}{}", self.statuses.len());
        let blocked = self.model.blocks.keys().filter(|(blocker, _)| *blocker == user).map(|(_, blocked)| *blocked);
        self.statuses.insert(text.clone(), (user, blocked.collect()));
        let data = format!(r#""status":"{status}","message":"{text}""#);
        self.either_way(client, "update_status", Asked::Other, &data);
    }

    fn block(&mut self, client: usize) {
        let (Some(own), user) = (self.clients[client].user_id, self.any_user()) else { return };
        let on = self.rng.percent(60);
        let kind = if on { "block_user" } else { "unblock_user" };
        if !on {
            self.model.blocks.remove(&(own, user));
            self.unblocked.insert((own, user), self.steps);
            for (of, hidden) in self.statuses.values_mut().filter(|(of, _)| *of == own) {
                debug_assert_eq!(*of, own);
                hidden.remove(&user);
            }
        }
        self.either_way(client, kind, Asked::Block { user, on }, &format!(r#""user_id":{user}"#));
    }
}
