//! Who may do what: every command that rights decide, by everybody whom a room knows apart, against a table.

use serde_json::json;
use veza_loadtest::client::Client;
use veza_loadtest::server::SECRET;
use veza_loadtest::testing::{Names, documents, fresh, number, standard, user};
use veza_loadtest::token;

/// Who acts, in the order of the columns. `Keeper` has a role of the room's own with the permissions read, send, pin,
/// invite and manage_room; `Guard` and `Admin` have that role on the server and are no members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Actor {
    Stranger,
    Invited,
    Member,
    Moderator,
    Owner,
    Keeper,
    Guard,
    Admin,
    Muted,
    Banned,
}

const ACTORS: [Actor; 10] = {
    use Actor::*;
    [Stranger, Invited, Member, Moderator, Owner, Keeper, Guard, Admin, Muted, Banned]
};

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Yes,
    /// `ROOM_NOT_FOUND`
    Gone,
    /// `NOT_A_MEMBER`
    Not,
    /// `PERMISSION_DENIED`
    No,
    /// `SANCTIONED`
    Bad,
    /// `CONFLICT`
    Held,
    /// `NOT_FOUND`
    Nil,
}

impl Outcome {
    fn of(result: Result<(), String>) -> Result<Outcome, String> {
        let Err(code) = result else { return Ok(Yes) };
        match code.as_str() {
            "ROOM_NOT_FOUND" => Ok(Gone),
            "NOT_A_MEMBER" => Ok(Not),
            "PERMISSION_DENIED" => Ok(No),
            "SANCTIONED" => Ok(Bad),
            "CONFLICT" => Ok(Held),
            "NOT_FOUND" => Ok(Nil),
            _ => Err(code),
        }
    }
}

use Outcome::{Bad, Gone, Held, Nil, No, Not, Yes};

type Row = (&'static str, &'static str, [Outcome; 10]);

/// In a private room. `$own` is a message of the actor's (the founder's, if he has none), `$other` and `$victim` are
/// a plain member's message and that member, `$guest` is nobody in the room, `$ban` is a ban of somebody.
#[rustfmt::skip]
const PRIVATE: &[Row] = &[
    //                                                                            Stranger Invited Member Moderator Owner Keeper Guard Admin Muted Banned
    ("get_room", r#"{"room_id":"$room"}"#,                                           [Gone, Yes, Yes, Yes, Yes,  Yes, Yes, Yes, Yes, Gone]),
    ("join_room", r#"{"room_id":"$room"}"#,                                          [Gone, Yes, Yes, Yes, Yes,  Yes, No,  Yes, Yes, Gone]),
    ("leave_room", r#"{"room_id":"$room"}"#,                                         [Gone, Yes, Yes, Yes, Held, Yes, Not, Not, Yes, Gone]),
    ("subscribe", r#"{"room_id":"$room"}"#,                                          [Gone, Not, Yes, Yes, Yes,  Yes, Not, Not, Yes, Gone]),
    ("unsubscribe", r#"{"room_id":"$room"}"#,                                        [Gone, Not, Yes, Yes, Yes,  Yes, Not, Not, Yes, Gone]),
    ("mark_read", r#"{"room_id":"$room","seq":1}"#,                                  [Gone, Not, Yes, Yes, Yes,  Yes, Not, Not, Yes, Gone]),
    ("get_members", r#"{"room_id":"$room"}"#,                                        [Gone, Not, Yes, Yes, Yes,  Yes, Yes, Yes, Yes, Gone]),
    ("list_roles", r#"{"room_id":"$room"}"#,                                         [Gone, Not, Yes, Yes, Yes,  Yes, Yes, Yes, Yes, Gone]),
    ("get_room_stats", r#"{"room_id":"$room"}"#,                                     [Gone, Not, Yes, Yes, Yes,  Yes, Yes, Yes, Yes, Gone]),
    ("get_history", r#"{"room_id":"$room"}"#,                                        [Gone, Not, Yes, Yes, Yes,  Yes, Yes, Yes, Yes, Gone]),
    ("get_message", r#"{"room_id":"$room","message_id":"$other"}"#,                  [Gone, Not, Yes, Yes, Yes,  Yes, Yes, Yes, Yes, Gone]),
    ("get_edits", r#"{"room_id":"$room","message_id":"$other"}"#,                    [Gone, Not, Yes, Yes, Yes,  Yes, Yes, Yes, Yes, Gone]),
    ("get_thread", r#"{"room_id":"$room","parent_id":"$other"}"#,                    [Gone, Not, Yes, Yes, Yes,  Yes, Yes, Yes, Yes, Gone]),
    ("get_reactions", r#"{"room_id":"$room","message_id":"$other"}"#,                [Gone, Not, Yes, Yes, Yes,  Yes, Yes, Yes, Yes, Gone]),
    ("get_pinned_messages", r#"{"room_id":"$room"}"#,                                [Gone, Not, Yes, Yes, Yes,  Yes, Yes, Yes, Yes, Gone]),
    ("search_messages", r#"{"room_id":"$room","query":"word"}"#,                     [Gone, Not, Yes, Yes, Yes,  Yes, Not, Not, Yes, Gone]),
    ("send_message", r#"{"room_id":"$room","content":"x"}"#,                         [Gone, Not, Yes, Yes, Yes,  Yes, Not, Not, Bad, Gone]),
    ("typing", r#"{"room_id":"$room","is_typing":true}"#,                            [Gone, Not, Yes, Yes, Yes,  Yes, Not, Not, Bad, Gone]),
    ("edit_message", r#"{"room_id":"$room","message_id":"$own","content":"x"}"#,     [Gone, Not, Yes, Yes, Yes,  No,  Not, Not, Bad, Gone]),
    ("edit_message", r#"{"room_id":"$room","message_id":"$other","content":"x"}"#,   [Gone, Not, No,  No,  No,   No,  Not, Not, Bad, Gone]),
    ("delete_message", r#"{"room_id":"$room","message_id":"$own"}"#,                 [Gone, Not, Yes, Yes, Yes,  No,  Yes, Yes, Yes, Gone]),
    ("delete_message", r#"{"room_id":"$room","message_id":"$other"}"#,               [Gone, Not, No,  Yes, Yes,  No,  Yes, Yes, No,  Gone]),
    ("add_reaction", r#"{"room_id":"$room","message_id":"$other","emoji":"🤔"}"#,    [Gone, Not, Yes, Yes, Yes,  No,  Not, Not, Bad, Gone]),
    ("remove_reaction", r#"{"room_id":"$room","message_id":"$other","emoji":"🤔"}"#, [Gone, Not, Yes, Yes, Yes,  No,  No,  Yes, Yes, Gone]),
    ("pin_message", r#"{"room_id":"$room","message_id":"$other"}"#,                  [Gone, Not, No,  Yes, Yes,  Yes, Not, Not, Bad, Gone]),
    ("unpin_message", r#"{"room_id":"$room","message_id":"$other"}"#,                [Gone, Not, No,  Yes, Yes,  Yes, No,  Yes, No,  Gone]),
    ("invite_member", r#"{"room_id":"$room","user_id":"$guest"}"#,                   [Gone, Not, No,  Yes, Yes,  Yes, No,  Yes, No,  Gone]),
    ("kick_member", r#"{"room_id":"$room","user_id":"$victim"}"#,                    [Gone, Not, No,  Yes, Yes,  No,  Yes, Yes, No,  Gone]),
    ("kick_member", r#"{"room_id":"$room","user_id":"$founder"}"#,                   [Gone, Not, No,  No,  Yes,  No,  No,  Held, No, Gone]),
    ("set_member_role", r#"{"room_id":"$room","user_id":"$victim","role":"moderator"}"#, [Gone, Not, No, No, Yes, No, No,  Yes, No,  Gone]),
    ("set_member_role", r#"{"room_id":"$room","user_id":"$victim","role":"owner"}"#, [Gone, Not, No,  No,  Yes,  No,  No,  Yes, No,  Gone]),
    ("create_role", r#"{"room_id":"$room","name":"dj","permissions":["read"]}"#,     [Gone, Not, No,  No,  Yes,  No,  No,  Yes, No,  Gone]),
    ("update_role", r#"{"room_id":"$room","name":"keeper","permissions":["read"]}"#, [Gone, Not, No,  No,  Yes,  No,  No,  Yes, No,  Gone]),
    ("delete_role", r#"{"room_id":"$room","name":"keeper"}"#,                        [Gone, Not, No,  No,  Yes,  No,  No,  Yes, No,  Gone]),
    ("update_room", r#"{"room_id":"$room","topic":"x"}"#,                            [Gone, Not, No,  No,  Yes,  Yes, No,  Yes, No,  Gone]),
    ("delete_room", r#"{"room_id":"$room"}"#,                                        [Gone, Not, No,  No,  Yes,  No,  No,  Yes, No,  Gone]),
    ("sanction_user", r#"{"room_id":"$room","user_id":"$victim","kind":"mute","reason":"x"}"#, [Gone, Not, No, Yes, Yes, No, Yes, Yes, No, Gone]),
    ("sanction_user", r#"{"room_id":"$room","user_id":"$founder","kind":"ban","reason":"x"}"#, [Gone, Not, No, No, Yes, No, No, Held, No, Gone]),
    ("list_sanctions", r#"{"room_id":"$room"}"#,                                     [Gone, Not, No,  Yes, Yes,  No,  Yes, Yes, No,  Gone]),
    ("lift_sanction", r#"{"sanction_id":"$ban"}"#,                                   [Nil,  Not, No,  Yes, Yes,  No,  Yes, Yes, No,  Nil]),
];

/// In a public room everybody may look and join; all else is as in a private one, but that strangers and the banned
/// are told that they are no members.
fn public(row: &Row) -> [Outcome; 10] {
    let mut outs = row.2;
    for (actor, out) in ACTORS.into_iter().zip(&mut outs) {
        match (row.0, actor) {
            ("get_room", _) => *out = Yes,
            ("join_room", Actor::Banned) => *out = Bad,
            ("join_room", _) => *out = Yes,
            _ if matches!(out, Gone | Nil) => *out = Not,
            _ => {}
        }
    }
    outs
}

/// Commands that no role in a room decides; tests of their own call them.
const ABOUT_NO_ROOM: [&str; 21] = [
    "authenticate",
    "block_user",
    "create_dm",
    "create_room",
    "get_mentions",
    "get_unread",
    "get_user",
    "list_blocks",
    "list_dms",
    "list_rooms",
    "list_sessions",
    "list_users",
    "logout",
    "ping",
    "refresh_token",
    "resume",
    "revoke_session",
    "send_dm",
    "unblock_user",
    "update_status",
    "list_sanctions",
];

/// The people of a table: one room for each cell, so that no cell sees what another has done.
struct Cast {
    visibility: &'static str,
    founder: Client,
    victim: Client,
    actor: Client,
    guest: u64,
    convict: u64,
}

async fn cast(actor: Actor, visibility: &'static str) -> Cast {
    let server = standard();
    let role = match actor {
        Actor::Guard => "moderator",
        Actor::Admin => "admin",
        _ => "user",
    };
    let claims = json!({"sub": fresh("actor"), "role": role, "exp": token::unix_seconds() + 3600});
    let actor = Client::connect(server.addr(), &token::sign(SECRET, &claims)).await.expect("in");
    let (guest, convict) = (user(server).await.user_id(), user(server).await.user_id());
    Cast { visibility, founder: user(server).await, victim: user(server).await, actor, guest, convict }
}

impl Cast {
    /// A new room with the actor in his place.
    async fn room(&mut self, actor: Actor) -> Names {
        let Cast { founder, victim, .. } = self;
        let created = founder.ok("create_room", json!({"name": "stage", "visibility": self.visibility})).await;
        let room = number(&created["room"], "room_id");
        let mut names = Names::default();
        names.set("$room", room);
        founder.ok("invite_member", json!({"room_id": room, "user_id": victim.user_id()})).await;
        victim.ok("join_room", json!({"room_id": room})).await;
        names.set("$other", victim.say(room, "a word").await);
        names.set("$own", founder.say(room, "another word").await);
        let keeper =
            json!({"room_id": room, "name": "keeper", "permissions": ["read", "send", "pin", "invite", "manage_room"]});
        founder.ok("create_role", keeper).await;
        let ban = json!({"room_id": room, "user_id": self.convict, "kind": "ban", "reason": "x"});
        names.set("$ban", founder.ok("sanction_user", ban).await["sanction_id"].clone());
        for (name, id) in [("$founder", founder.user_id()), ("$victim", victim.user_id()), ("$guest", self.guest)] {
            names.set(name, id);
        }
        self.enter(actor, room, &mut names).await;
        names
    }

    async fn enter(&mut self, actor: Actor, room: u64, names: &mut Names) {
        let Cast { founder, actor: client, .. } = self;
        let user_id = client.user_id();
        if matches!(actor, Actor::Stranger | Actor::Guard | Actor::Admin) {
            return;
        }
        founder.ok("invite_member", json!({"room_id": room, "user_id": user_id})).await;
        if actor == Actor::Invited {
            return;
        }
        client.ok("join_room", json!({"room_id": room})).await;
        names.set("$own", client.say(room, "my word").await);
        let role = match actor {
            Actor::Moderator => "moderator",
            Actor::Owner => "owner",
            Actor::Keeper => "keeper",
            _ => "member",
        };
        founder.ok("set_member_role", json!({"room_id": room, "user_id": user_id, "role": role})).await;
        let kind = match actor {
            Actor::Muted => "mute",
            Actor::Banned => "ban",
            _ => return,
        };
        let sanction = json!({"room_id": room, "user_id": user_id, "kind": kind, "reason": "x"});
        founder.ok("sanction_user", sanction).await;
    }

    async fn attempt(&mut self, actor: Actor, row: &Row) -> Result<Outcome, String> {
        let names = self.room(actor).await;
        let outcome = self.actor.call(row.0, names.fill(row.1)).await;
        if let Err(error) = &outcome
            && !documents().has_error(row.0, &error.code())
        {
            return Err(format!("{} is not documented", error.code()));
        }
        self.actor.pushes_so_far().await.expect("a living connection");
        Outcome::of(outcome.map(|_| ()).map_err(|error| error.code()))
    }
}

/// Plays a column of the table; answers what was otherwise.
async fn column(index: usize, visibility: &'static str) -> Vec<String> {
    let actor = ACTORS[index];
    let mut cast = cast(actor, visibility).await;
    let mut wrong = Vec::new();
    for row in PRIVATE {
        let expected = if visibility == "public" { public(row)[index] } else { row.2[index] };
        let found = cast.attempt(actor, row).await;
        if found != Ok(expected) {
            wrong.push(format!("{actor:?} in a {visibility} room: {} {}: {found:?}, not {expected:?}", row.0, row.1));
        }
    }
    wrong
}

#[tokio::test]
async fn everybody_may_do_what_the_table_says_and_nothing_else() {
    let mut columns = Vec::new();
    for visibility in ["private", "public"] {
        for index in 0..ACTORS.len() {
            columns.push(tokio::spawn(column(index, visibility)));
        }
    }
    let mut wrong = Vec::new();
    for column in columns {
        wrong.extend(column.await.expect("a column"));
    }
    assert!(wrong.is_empty(), "{} cells are otherwise:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn no_command_is_left_out_of_the_table() {
    for command in documents().commands() {
        let known = ABOUT_NO_ROOM.contains(&command) || PRIVATE.iter().any(|row| row.0 == command);
        assert!(known, "{command} is in no row");
    }
}
