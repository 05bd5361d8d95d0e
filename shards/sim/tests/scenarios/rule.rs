//! Who rules in a room: roles, ownership, kicks and sanctions, and what those see who are ruled out.

use serde_json::{Value, json};
use veza_engine::id::ConnId;

use crate::rig::{Rig, code, kinds};

fn about(room: u64) -> String {
    format!(r#"{{"room_id":{room}}}"#)
}

fn of(room: u64, user: u64) -> String {
    format!(r#"{{"room_id":{room},"user_id":{user}}}"#)
}

fn message(room: u64, content: &str) -> String {
    format!(r#"{{"room_id":{room},"content":"{content}"}}"#)
}

fn role(room: u64, user: u64, role: &str) -> String {
    format!(r#"{{"room_id":{room},"user_id":{user},"role":"{role}"}}"#)
}

fn custom(room: u64, name: &str, permissions: &str) -> String {
    format!(r#"{{"room_id":{room},"name":"{name}","permissions":[{permissions}]}}"#)
}

fn sanction(room: u64, user: u64, kind: &str, more: &str) -> String {
    format!(r#"{{"room_id":{room},"user_id":{user},"kind":"{kind}","reason":"why"{more}}}"#)
}

/// A room whose members are these, in the order of their ids from 1; each is connected on both shards, the second
/// connection is subscribed too.
fn room_of(rig: &mut Rig, users: &[&str]) -> (u64, Vec<ConnId>, Vec<ConnId>) {
    let conns: Vec<ConnId> = users.iter().enumerate().map(|(at, user)| rig.connect(at % 2, user)).collect();
    let others: Vec<ConnId> = users.iter().enumerate().map(|(at, user)| rig.connect((at + 1) % 2, user)).collect();
    let room = rig.room(conns[0]);
    for conn in conns.iter().chain(&others) {
        assert_eq!(code(&rig.ask(*conn, "join_room", &about(room))), "ok");
    }
    rig.pass(1);
    clear(rig, &conns);
    clear(rig, &others);
    (room, conns, others)
}

fn clear(rig: &mut Rig, conns: &[ConnId]) {
    conns.iter().for_each(|conn| drop(rig.frames(*conn)));
}

fn ok(rig: &mut Rig, conn: ConnId, command: &str, data: &str) -> Value {
    let reply = rig.ask(conn, command, data);
    assert_eq!(code(&reply), "ok", "{command} {data}: {reply}");
    reply["data"].clone()
}

fn told(rig: &mut Rig, conn: ConnId, command: &str, data: &str) -> String {
    let reply = rig.ask(conn, command, data);
    code(&reply).to_owned()
}

/// Role of each member, by id.
fn roles(rig: &mut Rig, conn: ConnId, room: u64) -> Vec<String> {
    let members = ok(rig, conn, "get_members", &about(room))["members"].clone();
    let mut rows = members.as_array().unwrap().clone();
    rows.sort_by_key(|row| row["user_id"].as_u64());
    rows.iter().map(|row| row["role"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_ends_a_membership_is_the_last_of_the_room_for_every_connection() {
    for (command, event) in
        [("kick_member", "member_kicked"), ("sanction_user", "user_sanctioned"), ("delete_room", "room_deleted")]
    {
        let mut rig = Rig::new(2, |_| {});
        let (room, conns, others) = room_of(&mut rig, &["ada", "bob", "cy"]);
        let data = match command {
            "sanction_user" => sanction(room, 2, "ban", ""),
            "delete_room" => about(room),
            _ => of(room, 2),
        };
        // Much is under way when it comes, of his and of others.
        rig.hold_batches = true;
        let before = rig.say(conns[1], "send_message", &message(room, "before"));
        rig.say(conns[0], command, &data);
        let after = rig.say(others[1], "send_message", &message(room, "after"));
        let typing = rig.say(conns[1], "typing", &format!(r#"{{"room_id":{room},"is_typing":true}}"#));
        rig.say(conns[2], "send_message", &message(room, "@bob @room"));
        rig.hold_batches = false;
        rig.run();
        rig.say(conns[2], "send_message", &message(room, "later"));
        rig.pass(2);
        assert_eq!(code(&rig.reply(conns[1], before).unwrap()), "ok");
        let gone = if command == "delete_room" { "ROOM_NOT_FOUND" } else { "NOT_A_MEMBER" };
        assert_eq!(code(&rig.reply(others[1], after).unwrap()), gone);
        assert_eq!(code(&rig.reply(conns[1], typing).unwrap()), gone);
        for conn in [conns[1], others[1]] {
            let frames = rig.frames(conn);
            let of_room: Vec<Value> = frames.into_iter().filter(|frame| frame["type"] != "sanction").collect();
            assert_eq!(kinds(&of_room), ["message", event], "{command}: {of_room:?}");
        }
    }
}

#[test]
fn roles_are_given_by_those_who_have_what_they_allow() {
    let mut rig = Rig::new(2, |limits| limits.max_roles_per_room = 2);
    let (room, conns, _) = room_of(&mut rig, &["ada", "bob", "cy", "dan"]);
    let (ada, bob, cy) = (conns[0], conns[1], conns[2]);
    ok(&mut rig, ada, "create_role", &custom(room, "head", r#""read","send","manage_roles","pin""#));
    ok(&mut rig, ada, "set_member_role", &role(room, 2, "head"));
    for (who, command, data, expected) in [
        (bob, "create_role", custom(room, "mod", r#""read","moderate""#), "PERMISSION_DENIED"),
        (cy, "create_role", custom(room, "pins", r#""read","pin""#), "PERMISSION_DENIED"),
        (bob, "create_role", custom(room, "pins", r#""read","pin""#), "ok"),
        (bob, "create_role", custom(room, "pins", r#""read""#), "CONFLICT"),
        (ada, "create_role", custom(room, "third", r#""read""#), "CONFLICT"),
        (ada, "create_role", custom(room, "owner", r#""read""#), "INVALID_REQUEST"),
        (bob, "update_role", custom(room, "pins", r#""read","invite""#), "PERMISSION_DENIED"),
        (bob, "update_role", custom(room, "none", r#""read""#), "NOT_FOUND"),
        (bob, "set_member_role", role(room, 3, "moderator"), "PERMISSION_DENIED"),
        (bob, "set_member_role", role(room, 3, "owner"), "PERMISSION_DENIED"),
        (bob, "set_member_role", role(room, 3, "none"), "NOT_FOUND"),
        (bob, "set_member_role", role(room, 9, "pins"), "USER_NOT_FOUND"),
        (bob, "set_member_role", role(room, 1, "member"), "PERMISSION_DENIED"),
        (ada, "set_member_role", role(room, 1, "member"), "CONFLICT"),
        (bob, "set_member_role", role(room, 3, "pins"), "ok"),
        (bob, "kick_member", of(room, 3), "PERMISSION_DENIED"),
        (bob, "update_room", format!(r#"{{"room_id":{room},"topic":"x"}}"#), "PERMISSION_DENIED"),
        (cy, "send_message", message(room, "x"), "PERMISSION_DENIED"),
        (cy, "get_history", about(room), "ok"),
    ] {
        assert_eq!(told(&mut rig, who, command, &data), expected, "{command} {data}");
    }
    assert_eq!(roles(&mut rig, ada, room), ["owner", "head", "pins", "member"]);
    // What a role allows changes for its holders at once; without it they are plain members.
    ok(&mut rig, ada, "update_role", &custom(room, "pins", r#""read","send""#));
    assert_eq!(told(&mut rig, cy, "send_message", &message(room, "x")), "ok");
    ok(&mut rig, ada, "update_role", &custom(room, "pins", r#""send""#));
    assert_eq!(told(&mut rig, cy, "get_history", &about(room)), "PERMISSION_DENIED");
    ok(&mut rig, ada, "delete_role", &format!(r#"{{"room_id":{room},"name":"pins"}}"#));
    assert_eq!(roles(&mut rig, ada, room), ["owner", "head", "member", "member"]);
    assert_eq!(told(&mut rig, cy, "get_history", &about(room)), "ok");
    assert_eq!(told(&mut rig, ada, "delete_role", &format!(r#"{{"room_id":{room},"name":"pins"}}"#)), "NOT_FOUND");
    let listed = ok(&mut rig, cy, "list_roles", &about(room))["roles"].clone();
    let listed: Vec<&str> = listed.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(listed, ["owner", "moderator", "member", "head"]);
}

#[test]
fn ownership_passes_in_one_event_and_by_nobody_else() {
    for evicted in [false, true] {
        let mut rig = Rig::new(2, |limits| limits.heartbeat_us = 0);
        let (room, conns, others) = room_of(&mut rig, &["ada", "bob", "cy"]);
        let (ada, bob) = (conns[0], conns[1]);
        ok(&mut rig, ada, "set_member_role", &role(room, 2, "moderator"));
        if evicted {
            conns.iter().chain(&others).for_each(|conn| drop(rig.ask(*conn, "unsubscribe", &about(room))));
            rig.pass(400);
            ok(&mut rig, conns[2], "subscribe", &about(room));
        }
        assert_eq!(told(&mut rig, bob, "set_member_role", &role(room, 3, "owner")), "PERMISSION_DENIED");
        assert_eq!(told(&mut rig, ada, "leave_room", &about(room)), "CONFLICT");
        clear(&mut rig, &conns);
        let reply = ok(&mut rig, ada, "set_member_role", &role(room, 2, "owner"));
        assert_eq!(reply["seq"], 2);
        let frames = rig.frames(conns[2]);
        assert_eq!(kinds(&frames), ["member_role_changed"]);
        let told_of = ["seq", "user_id", "role", "actor_id"].map(|field| frames[0]["data"][field].clone());
        assert_eq!(told_of, [json!(2), json!(2), json!("owner"), json!(1)]);
        assert_eq!(roles(&mut rig, ada, room), ["moderator", "owner", "member"]);
        assert_eq!(ok(&mut rig, ada, "get_room", &about(room))["room"]["owner_id"], 2);
        assert_eq!(told(&mut rig, ada, "delete_room", &about(room)), "PERMISSION_DENIED");
        assert_eq!(told(&mut rig, ada, "kick_member", &of(room, 2)), "PERMISSION_DENIED");
        ok(&mut rig, ada, "leave_room", &about(room));
        assert_eq!(told(&mut rig, bob, "leave_room", &about(room)), "CONFLICT");
    }
}

#[test]
fn two_who_pass_the_ownership_on_at_once_leave_one_owner() {
    let mut rig = Rig::new(2, |_| {});
    let (room, conns, others) = room_of(&mut rig, &["ada", "bob", "cy"]);
    rig.hold_batches = true;
    let first = rig.say(conns[0], "set_member_role", &role(room, 2, "owner"));
    let second = rig.say(others[0], "set_member_role", &role(room, 3, "owner"));
    rig.hold_batches = false;
    rig.run();
    assert_eq!(code(&rig.reply(conns[0], first).unwrap()), "ok");
    assert_eq!(code(&rig.reply(others[0], second).unwrap()), "PERMISSION_DENIED");
    assert_eq!(roles(&mut rig, conns[0], room), ["moderator", "owner", "member"]);
}

#[test]
fn sanctions_hold_until_they_are_over_or_lifted() {
    for evicted in [false, true] {
        let mut rig = Rig::new(2, |limits| limits.heartbeat_us = 0);
        let (room, conns, others) = room_of(&mut rig, &["ada", "bob", "cy"]);
        let (ada, bob, cy) = (conns[0], conns[1], conns[2]);
        ok(&mut rig, ada, "set_member_role", &role(room, 3, "moderator"));
        ok(&mut rig, bob, "send_message", &message(room, "mine"));
        let mine = rig.store.head(veza_engine::id::RoomId(room));
        let mute = ok(&mut rig, ada, "sanction_user", &sanction(room, 2, "mute", r#","duration_s":420"#));
        assert!(mute["expires_at"].is_string(), "{mute}");
        if evicted {
            conns.iter().chain(&others).for_each(|conn| drop(rig.ask(*conn, "unsubscribe", &about(room))));
            rig.pass(400);
        }
        let named = format!(r#"{{"room_id":{room},"message_id":{mine}}}"#);
        for (command, data, expected) in [
            ("send_message", message(room, "x"), "SANCTIONED"),
            ("edit_message", format!(r#"{{"room_id":{room},"message_id":{mine},"content":"x"}}"#), "SANCTIONED"),
            ("add_reaction", format!(r#"{{"room_id":{room},"message_id":{mine},"emoji":"🤔"}}"#), "SANCTIONED"),
            ("pin_message", named.clone(), "SANCTIONED"),
            ("typing", format!(r#"{{"room_id":{room},"is_typing":true}}"#), "SANCTIONED"),
            ("get_message", named.clone(), "ok"),
            ("mark_read", format!(r#"{{"room_id":{room},"seq":1}}"#), "ok"),
        ] {
            assert_eq!(told(&mut rig, bob, command, &data), expected, "{command}, evicted: {evicted}");
        }
        rig.pass(if evicted { 25 } else { 425 });
        assert_eq!(told(&mut rig, bob, "send_message", &message(room, "x")), "ok", "it is over");

        // Nobody lifts his own; nor does he who is below.
        let id = ok(&mut rig, ada, "sanction_user", &sanction(room, 3, "mute", ""))["sanction_id"].clone();
        let lift = format!(r#"{{"sanction_id":{id}}}"#);
        assert_eq!(told(&mut rig, cy, "lift_sanction", &lift), "PERMISSION_DENIED");
        assert_eq!(told(&mut rig, bob, "lift_sanction", &lift), "PERMISSION_DENIED");
        assert_eq!(told(&mut rig, ada, "lift_sanction", r#"{"sanction_id":999}"#), "NOT_FOUND");
        ok(&mut rig, ada, "lift_sanction", &lift);
        ok(&mut rig, ada, "lift_sanction", &lift);
        assert_eq!(told(&mut rig, cy, "send_message", &message(room, "x")), "ok");

        let ban = ok(&mut rig, cy, "sanction_user", &sanction(room, 2, "ban", ""))["sanction_id"].clone();
        assert_eq!(told(&mut rig, bob, "join_room", &about(room)), "SANCTIONED");
        assert_eq!(told(&mut rig, cy, "invite_member", &of(room, 2)), "CONFLICT");
        for (user, kind, expected) in
            [(2, "mute", "USER_NOT_FOUND"), (1, "warn", "PERMISSION_DENIED"), (9, "ban", "USER_NOT_FOUND")]
        {
            assert_eq!(told(&mut rig, cy, "sanction_user", &sanction(room, user, kind, "")), expected, "{kind} {user}");
        }
        ok(&mut rig, cy, "lift_sanction", &format!(r#"{{"sanction_id":{ban}}}"#));
        ok(&mut rig, bob, "join_room", &about(room));
        let list = |active: &str| format!(r#"{{"room_id":{room}{active}}}"#);
        for (active, count) in [("", 3), (r#","active":true"#, 0), (r#","active":false"#, 3)] {
            let rows = ok(&mut rig, cy, "list_sanctions", &list(active))["sanctions"].clone();
            assert_eq!(rows.as_array().unwrap().len(), count, "{active}: {rows}");
        }
    }
}

#[test]
fn what_is_decided_while_rights_change_is_decided_by_those_that_come() {
    let mut rig = Rig::new(2, |_| {});
    let (room, conns, others) = room_of(&mut rig, &["ada", "bob", "cy"]);
    ok(&mut rig, conns[0], "set_member_role", &role(room, 2, "moderator"));
    rig.hold_batches = true;
    rig.say(conns[0], "set_member_role", &role(room, 2, "member"));
    let asked = [
        (conns[1], rig.say(conns[1], "kick_member", &of(room, 3))),
        (others[1], rig.say(others[1], "sanction_user", &sanction(room, 3, "mute", ""))),
    ];
    rig.hold_batches = false;
    rig.run();
    for (conn, id) in asked {
        assert_eq!(code(&rig.reply(conn, id).unwrap()), "PERMISSION_DENIED");
    }
    // The other way round: what was taken first is through.
    ok(&mut rig, conns[0], "set_member_role", &role(room, 2, "moderator"));
    rig.hold_batches = true;
    let kick = rig.say(conns[1], "kick_member", &of(room, 3));
    rig.say(conns[0], "set_member_role", &role(room, 2, "member"));
    let again = rig.say(conns[0], "kick_member", &of(room, 3));
    rig.hold_batches = false;
    rig.run();
    assert_eq!(code(&rig.reply(conns[1], kick).unwrap()), "ok");
    assert_eq!(code(&rig.reply(conns[0], again).unwrap()), "USER_NOT_FOUND", "once is enough");
}

#[test]
fn an_answer_that_was_overtaken_is_asked_for_again() {
    let mut rig = Rig::new(2, |limits| limits.ring_events = 4);
    let (room, conns, _) = room_of(&mut rig, &["ada", "bob", "cy"]);
    for n in 1..=8 {
        ok(&mut rig, conns[0], "send_message", &message(room, &format!("m{n}")));
    }
    for (command, data) in [
        ("get_history", format!(r#"{{"room_id":{room},"before_id":3}}"#)),
        ("get_history", format!(r#"{{"room_id":{room},"around_id":2,"limit":3}}"#)),
        ("get_message", format!(r#"{{"room_id":{room},"message_id":2}}"#)),
    ] {
        rig.hold_loads = true;
        let asked = rig.say(conns[1], command, &data);
        let (shard, id, load) = rig.loads.pop_front().expect("a query");
        let early = rig.store.load(&load);
        rig.hold_loads = false;
        let content = format!("changed for {command} {}", data.len());
        let edit = format!(r#"{{"room_id":{room},"message_id":2,"content":"{content}"}}"#);
        ok(&mut rig, conns[0], "edit_message", &edit);
        rig.loaded(shard, id, early);
        rig.run();
        let reply = rig.reply(conns[1], asked).unwrap().to_string();
        assert!(reply.contains(&content), "{command}: {reply}");
    }
    // Who is expelled meanwhile gets no answer at all.
    rig.hold_loads = true;
    let asked = rig.say(conns[1], "get_history", &format!(r#"{{"room_id":{room},"before_id":3}}"#));
    let (shard, id, load) = rig.loads.pop_front().expect("a query");
    let early = rig.store.load(&load);
    rig.hold_loads = false;
    ok(&mut rig, conns[0], "kick_member", &of(room, 2));
    rig.loaded(shard, id, early);
    rig.run();
    assert_eq!(code(&rig.reply(conns[1], asked).unwrap()), "NOT_A_MEMBER");
}
