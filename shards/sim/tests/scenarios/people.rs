//! People: what they let each other see, typing, blocks, and what they ask about themselves.

use serde_json::{Value, json};
use veza_engine::id::{ConnId, UserId};
use veza_engine::store::{Batch, BatchOutcome, Load, LoadError, Loaded, Profile, Write};

use crate::rig::{Rig, code, kinds};

fn about(room: u64) -> String {
    format!(r#"{{"room_id":{room}}}"#)
}

fn of(user: u64) -> String {
    format!(r#"{{"user_id":{user}}}"#)
}

/// `type status/is_typing of user` of the pushes of one kind.
fn told(frames: &[Value], kind: &str) -> Vec<String> {
    let pushes = frames.iter().filter(|frame| frame["type"] == kind);
    let what = |data: &Value| match data["is_typing"].as_bool() {
        Some(true) => "begins".to_owned(),
        Some(false) => "ends".to_owned(),
        None => data["status"].as_str().unwrap_or("?").to_owned(),
    };
    pushes.map(|frame| format!("{} {}", frame["data"]["username"].as_str().unwrap(), what(&frame["data"]))).collect()
}

/// A room with these users, each connected to another shard than the one before.
fn room_of(rig: &mut Rig, users: &[&str]) -> (u64, Vec<ConnId>) {
    let shards = rig.shards.len();
    let conns: Vec<ConnId> = users.iter().enumerate().map(|(index, user)| rig.connect(index % shards, user)).collect();
    let room = rig.room(conns[0]);
    for conn in &conns[1..] {
        assert_eq!(code(&rig.ask(*conn, "join_room", &about(room))), "ok");
    }
    rig.pass(1);
    conns.iter().for_each(|conn| drop(rig.frames(*conn)));
    (room, conns)
}

fn dm_of(rig: &mut Rig, conn: ConnId, other: u64) -> u64 {
    let id = rig.ask(conn, "create_dm", &of(other))["data"]["conversation_id"].as_u64().unwrap();
    rig.pass(1);
    id
}

fn status(rig: &mut Rig, conn: ConnId, status: &str) {
    let reply = rig.ask(conn, "update_status", &format!(r#"{{"status":"{status}"}}"#));
    assert_eq!(reply["type"], "status_updated", "{reply}");
    rig.pass(1);
}

/// Who is what in a room, as this connection sees it.
fn members(rig: &mut Rig, conn: ConnId, room: u64, filter: &str) -> String {
    let reply = rig.ask(conn, "get_members", &format!(r#"{{"room_id":{room}{filter}}}"#));
    let rows = reply["data"]["members"].as_array().unwrap_or_else(|| panic!("{reply}"));
    let rows: Vec<String> = rows
        .iter()
        .map(|row| format!("{} {}", row["username"].as_str().unwrap(), row["status"].as_str().unwrap()))
        .collect();
    rows.join(", ")
}

fn close(rig: &mut Rig, conn: ConnId) {
    rig.input(usize::from(conn.shard.0), veza_engine::Input::Closed { conn, code: None });
}

#[test]
fn a_room_is_told_of_changes_once_and_of_nothing_else() {
    let mut rig = Rig::new(2, |limits| limits.heartbeat_us = 0);
    let (room, conns) = room_of(&mut rig, &["ada", "bob"]);
    let (ada, bob) = (conns[0], conns[1]);
    let reply = rig.ask(bob, "update_status", r#"{"status":"away","message":"at lunch"}"#);
    assert_eq!(reply["data"], json!({"status": "away", "message": "at lunch"}));
    rig.pass(1);
    let frames = rig.frames(ada);
    let expected = json!({"room_id": room, "user_id": 2, "username": "bob", "status": "away", "message": "at lunch",
        "last_seen_at": null});
    assert_eq!(frames[0], json!({"type": "presence", "data": expected}));
    assert_eq!(frames.len(), 1, "{frames:?}");

    // The same again is no news; nor is a second device, nor the end of one of the two.
    rig.ask(bob, "update_status", r#"{"status":"away","message":"at lunch"}"#);
    let second = rig.connect(0, "bob");
    rig.ask(second, "subscribe", &about(room));
    rig.pass(1);
    close(&mut rig, bob);
    rig.pass(1);
    assert_eq!(told(&rig.frames(ada), "presence"), [""; 0]);

    // Gone and back within a moment is no news either.
    close(&mut rig, second);
    let third = rig.connect(1, "bob");
    rig.ask(third, "subscribe", &about(room));
    rig.pass(1);
    assert_eq!(told(&rig.frames(ada), "presence"), [""; 0]);

    status(&mut rig, third, "invisible");
    let frames = rig.frames(ada);
    assert_eq!(told(&frames, "presence"), ["bob offline"]);
    assert!(frames[0]["data"]["last_seen_at"].is_string() && frames[0]["data"]["message"].is_null(), "{frames:?}");
    close(&mut rig, third);
    rig.pass(1);
    assert_eq!(told(&rig.frames(ada), "presence"), [""; 0]);
}

#[test]
fn a_status_outlives_its_connections_and_holds_from_the_first_moment() {
    let mut rig = Rig::new(2, |limits| limits.heartbeat_us = 0);
    let (room, conns) = room_of(&mut rig, &["ada", "bob"]);
    for (set, shown, online) in
        [("busy", "busy", 2), ("invisible", "offline", 1), ("away", "away", 2), ("online", "online", 2)]
    {
        let conn = rig.connect(0, "bob");
        status(&mut rig, conn, set);
        for open in [conn, conns[1]] {
            close(&mut rig, open);
        }
        // So long that the user has left memory.
        rig.pass(150);
        rig.frames(conns[0]);
        let back = rig.connect(1, "bob");
        let reply = rig.ask(back, "subscribe", &about(room));
        assert_eq!(reply["data"]["online_count"], online, "{set}: {reply}");
        assert_eq!(members(&mut rig, conns[0], room, ""), format!("ada online, bob {shown}"));
        rig.pass(1);
        let expected: &[String] = if online == 2 { &[format!("bob {shown}")] } else { &[] };
        assert_eq!(told(&rig.frames(conns[0]), "presence"), expected, "{set}");
        close(&mut rig, back);
    }
}

/// Answers the query that asks whom a token speaks for.
fn find_user(rig: &mut Rig) {
    let (shard, id, load) = rig.loads.pop_front().expect("who is it?");
    assert!(matches!(load, Load::Identify { .. }), "{load:?}");
    let user = rig.store.load(&load);
    rig.loaded(shard, id, user);
    rig.run();
}

#[test]
fn until_the_profile_is_there_nobody_sees_the_user() {
    let mut rig = Rig::new(2, |limits| limits.heartbeat_us = 0);
    let (room, conns) = room_of(&mut rig, &["ada", "bob"]);
    close(&mut rig, conns[1]);
    rig.pass(150);
    rig.frames(conns[0]);
    rig.hold_loads = true;
    let bob = rig.open(1, Some(crate::rig::identity("bob", "new")));
    find_user(&mut rig);
    let profiles: Vec<_> = std::mem::take(&mut rig.loads).into_iter().collect();
    assert!(matches!(profiles[..], [(_, _, Load::Profile { user_id: UserId(2) })]), "{profiles:?}");
    rig.hold_loads = false;
    let reply = rig.ask(bob, "subscribe", &about(room));
    assert_eq!(reply["data"]["online_count"], 1, "{reply}");
    assert_eq!(members(&mut rig, conns[0], room, ""), "ada online, bob offline");
    rig.pass(1);
    assert_eq!(told(&rig.frames(conns[0]), "presence"), [""; 0]);

    // The database does not answer; it is asked again, and then it does.
    let (shard, id, _) = profiles[0];
    rig.loaded(shard, id, Err(LoadError::Unavailable));
    rig.run();
    rig.pass(2);
    assert_eq!(told(&rig.frames(conns[0]), "presence"), ["bob online"]);
    assert_eq!(members(&mut rig, conns[0], room, ""), "ada online, bob online");
}

#[test]
fn a_status_that_changes_while_a_subscription_is_under_way_reaches_its_room() {
    let mut rig = Rig::new(2, |limits| limits.heartbeat_us = 0);
    // User and room at home on different shards, so that their messages take different ways.
    let names = ["ada", "bob", "cy", "dan", "eve", "fay"];
    let (room, conns) = room_of(&mut rig, &names);
    let home = usize::from(veza_engine::id::RoomId(room).home(2).0);
    let user = (2..).find(|user| usize::from(UserId(*user).home(2).0) != home).unwrap() as usize;
    let name = names[user - 1];
    let second = rig.connect(1 - home, name);
    rig.hold_link = Some((home, 1 - home));
    let subscribing = rig.say(second, "subscribe", &about(room));
    close(&mut rig, conns[user - 1]);
    assert!(rig.http(1 - home, name, "update_status", r#"{"status":"busy"}"#).is_ok());
    rig.pass(1);
    assert!(rig.reply(second, subscribing).is_none(), "its reply is on its way");
    rig.hold_link = None;
    rig.run();
    assert_eq!(code(&rig.reply(second, subscribing).expect("a reply")), "ok");
    rig.pass(1);
    assert!(members(&mut rig, second, room, "").contains(&format!("{name} busy")));
}

#[test]
fn large_rooms_get_the_count_of_those_who_may_be_seen() {
    let mut rig = Rig::new(2, |limits| limits.presence_single_max = 2);
    let (room, conns) = room_of(&mut rig, &["ada", "bob", "cy", "dan"]);
    status(&mut rig, conns[1], "invisible");
    rig.pass(1);
    let frames = rig.frames(conns[0]);
    assert_eq!(kinds(&frames), ["online_count"]);
    assert_eq!(frames[0]["data"], json!({"room_id": room, "online_count": 3, "member_count": 4}));
    assert_eq!(members(&mut rig, conns[0], room, r#","online":true"#), "ada online, cy online, dan online");
    assert_eq!(members(&mut rig, conns[0], room, r#","online":false"#), "bob offline");
    // Small again: what was missed counts as told, and what comes now is news.
    for conn in &conns[2..] {
        close(&mut rig, *conn);
    }
    rig.pass(2);
    rig.frames(conns[0]);
    status(&mut rig, conns[1], "away");
    assert_eq!(told(&rig.frames(conns[0]), "presence"), ["bob away"]);
}

#[test]
fn contacts_learn_when_somebody_comes_and_goes() {
    let mut rig = Rig::new(2, |limits| limits.heartbeat_us = 0);
    let (ada, bob) = (rig.connect(0, "ada"), rig.connect(1, "bob"));
    let dm = dm_of(&mut rig, ada, 2);
    assert_eq!(members(&mut rig, ada, dm, ""), "ada online, bob online");
    rig.frames(ada);
    let second = rig.connect(0, "bob");
    rig.pass(1);
    close(&mut rig, bob);
    rig.pass(1);
    assert_eq!(rig.frames(ada).len(), 0, "several devices are one user");
    close(&mut rig, second);
    rig.pass(1);
    let frames = rig.frames(ada);
    assert_eq!(told(&frames, "presence"), ["bob offline"]);
    assert_eq!((&frames[0]["data"]["room_id"], frames[0]["data"]["last_seen_at"].is_string()), (&dm.into(), true));
    for (filter, expected) in
        [("", "ada online, bob offline"), (r#","online":true"#, "ada online"), (r#","online":false"#, "bob offline")]
    {
        assert_eq!(members(&mut rig, ada, dm, filter), expected, "{filter}");
    }
    // From the store, long after.
    rig.pass(150);
    let back = rig.connect(0, "bob");
    rig.pass(1);
    assert_eq!(told(&rig.frames(ada), "presence"), ["bob online"]);
    status(&mut rig, back, "busy");
    assert_eq!(told(&rig.frames(ada), "presence"), ["bob busy"]);
    assert_eq!(members(&mut rig, ada, dm, ""), "ada online, bob busy");
}

#[test]
fn whoever_is_blocked_learns_nothing() {
    let mut rig = Rig::new(2, |limits| limits.heartbeat_us = 0);
    let (room, conns) = room_of(&mut rig, &["ada", "bob", "cy"]);
    let (ada, bob, cy) = (conns[0], conns[1], conns[2]);
    let dm = dm_of(&mut rig, ada, 2);
    assert_eq!(rig.ask(ada, "block_user", &of(2))["data"], json!({"user_id": 2}));
    conns.iter().for_each(|conn| drop(rig.frames(*conn)));
    status(&mut rig, ada, "busy");
    rig.ask(ada, "typing", &format!(r#"{{"room_id":{room},"is_typing":true}}"#));
    rig.ask(cy, "send_message", &format!(r#"{{"room_id":{room},"content":"hello"}}"#));
    rig.ask(bob, "send_message", &format!(r#"{{"room_id":{room},"content":"hello"}}"#));
    rig.frames(bob);
    rig.ask(ada, "mark_read", &format!(r#"{{"room_id":{room},"seq":2}}"#));
    close(&mut rig, ada);
    rig.pass(10);
    assert_eq!(rig.frames(bob), Vec::<Value>::new(), "nothing of the blocker's presence");
    let frames = rig.frames(cy);
    assert_eq!(told(&frames, "presence"), ["ada busy", "ada offline"]);
    assert_eq!(told(&frames, "typing"), ["ada begins", "ada ends"]);
    assert_eq!(kinds(&frames).iter().filter(|kind| *kind == "read").count(), 1);

    let ada = rig.connect(1, "ada");
    rig.ask(ada, "subscribe", &about(room));
    rig.pass(1);
    assert_eq!(members(&mut rig, bob, room, ""), "ada offline, bob online, cy online");
    assert_eq!(members(&mut rig, bob, dm, ""), "ada offline, bob online");
    assert_eq!(members(&mut rig, bob, room, r#","online":true"#), "bob online, cy online");
    assert_eq!(members(&mut rig, cy, room, ""), "ada busy, bob online, cy online");
    // The blocker sees everybody.
    assert_eq!(members(&mut rig, ada, dm, ""), "ada busy, bob online");
    assert_eq!(rig.frames(bob), Vec::<Value>::new());
    rig.ask(ada, "unblock_user", &of(2));
    rig.pass(1);
    assert_eq!(members(&mut rig, bob, room, ""), "ada busy, bob online, cy online");
    assert_eq!(members(&mut rig, bob, dm, ""), "ada busy, bob online");
}

#[test]
fn typing_is_shown_ends_by_itself_and_is_bounded() {
    let mut rig = Rig::new(2, |limits| limits.typing_max = 2);
    let (room, conns) = room_of(&mut rig, &["ada", "bob", "cy", "dan"]);
    let typing = |rig: &mut Rig, conn, on: bool| {
        let reply = rig.ask(conn, "typing", &format!(r#"{{"room_id":{room},"is_typing":{on}}}"#));
        assert_eq!((&reply["type"], &reply["data"]), (&"ok".into(), &json!({})), "{reply}");
    };
    typing(&mut rig, conns[1], true);
    rig.pass(4);
    typing(&mut rig, conns[1], true);
    rig.pass(4);
    assert_eq!(told(&rig.frames(conns[0]), "typing"), ["bob begins"], "a renewal is no news");
    rig.pass(3);
    assert_eq!(told(&rig.frames(conns[0]), "typing"), ["bob ends"]);
    typing(&mut rig, conns[1], false);
    assert_eq!(told(&rig.frames(conns[0]), "typing"), [""; 0]);
    for conn in &conns[1..] {
        typing(&mut rig, *conn, true);
    }
    assert_eq!(told(&rig.frames(conns[0]), "typing"), ["bob begins", "cy begins"], "no more than typing_max");
    typing(&mut rig, conns[1], false);
    typing(&mut rig, conns[3], true);
    close(&mut rig, conns[2]);
    rig.pass(1);
    assert_eq!(told(&rig.frames(conns[0]), "typing"), ["bob ends", "dan begins", "cy ends"]);
    let stranger = rig.connect(0, "eve");
    let reply = rig.ask(stranger, "typing", &format!(r#"{{"room_id":{room},"is_typing":true}}"#));
    assert_eq!(code(&reply), "NOT_A_MEMBER");
}

#[test]
fn typing_in_conversations_reaches_the_others_but_not_across_a_block() {
    let mut rig = Rig::new(2, |limits| limits.heartbeat_us = 0);
    let (ada, bob) = (rig.connect(0, "ada"), rig.connect(1, "bob"));
    let dm = dm_of(&mut rig, ada, 2);
    let typing = |rig: &mut Rig, conn| {
        [ada, bob].iter().for_each(|conn| drop(rig.frames(*conn)));
        let reply = rig.ask(conn, "typing", &format!(r#"{{"room_id":{dm},"is_typing":true}}"#));
        assert_eq!(reply["type"], "ok", "{reply}");
        rig.pass(8);
        (told(&rig.frames(ada), "typing"), told(&rig.frames(bob), "typing"))
    };
    let silent = || (Vec::new(), Vec::new());
    assert_eq!(typing(&mut rig, ada), (vec![], vec!["ada begins".to_owned(), "ada ends".to_owned()]));
    for (who, command) in [(1, "block_user"), (1, "unblock_user"), (2, "block_user"), (2, "unblock_user")] {
        let (conn, other) = if who == 1 { (ada, 2) } else { (bob, 1) };
        assert_eq!(code(&rig.ask(conn, command, &of(other))), "ok");
        if command == "block_user" {
            assert_eq!((typing(&mut rig, ada), typing(&mut rig, bob)), (silent(), silent()), "{who}");
        }
    }
    assert_eq!(typing(&mut rig, bob), (vec!["bob begins".to_owned(), "bob ends".to_owned()], vec![]));
}

#[test]
fn blocks_are_listed_stored_and_taken_back_only_by_their_owner() {
    let mut rig = Rig::new(2, |limits| limits.heartbeat_us = 0);
    let (ada, bob) = (rig.connect(0, "ada"), rig.connect(1, "bob"));
    rig.connect(0, "cy");
    for (conn, command, user, expected) in [
        (ada, "block_user", 99, "USER_NOT_FOUND"),
        (ada, "unblock_user", 99, "USER_NOT_FOUND"),
        (ada, "block_user", 1, "INVALID_REQUEST"),
        (ada, "unblock_user", 2, "ok"),
        (ada, "block_user", 2, "ok"),
        (ada, "block_user", 2, "ok"),
        (ada, "block_user", 3, "ok"),
        (bob, "unblock_user", 1, "ok"),
        (ada, "unblock_user", 3, "ok"),
    ] {
        let reply = rig.ask(conn, command, &of(user));
        assert_eq!(code(&reply), expected, "{command} {user}: {reply}");
    }
    let list = rig.ask(ada, "list_blocks", "{}");
    let users = list["data"]["users"].as_array().unwrap();
    assert_eq!((users.len(), &users[0]["user_id"], &users[0]["username"]), (1, &2.into(), &"bob".into()));
    assert!(users[0]["blocked_at"].is_string(), "{list}");
    assert_eq!(rig.http(0, "bob", "list_blocks", "{}").unwrap(), json!({"users": []}));
    assert!(rig.store.is_blocked(UserId(1), UserId(2)) && !rig.store.is_blocked(UserId(1), UserId(3)));
    // In order, though nobody waits for an answer.
    let asked: Vec<u64> =
        ["block_user", "unblock_user", "block_user", "unblock_user"].map(|c| rig.say(ada, c, &of(3))).into();
    assert!(asked.iter().all(|id| rig.reply(ada, *id).is_some()));
    assert!(!rig.store.is_blocked(UserId(1), UserId(3)));
}

#[test]
fn conversations_across_a_block() {
    let mut rig = Rig::new(2, |limits| limits.heartbeat_us = 0);
    let (ada, bob) = (rig.connect(0, "ada"), rig.connect(1, "bob"));
    rig.connect(0, "cy");
    let first = rig.ask(bob, "create_dm", r#"{"user_id":1,"client_id":"mine"}"#);
    rig.ask(ada, "block_user", &of(2));
    for (conn, data, expected) in [
        (bob, r#"{"user_id":1}"#, "CONVERSATION_BLOCKED"),
        (bob, r#"{"user_id":1,"client_id":"other"}"#, "CONVERSATION_BLOCKED"),
        (bob, r#"{"user_id":1,"client_id":"mine"}"#, "ok"),
        (bob, r#"{"user_ids":[1]}"#, "CONVERSATION_BLOCKED"),
        (bob, r#"{"user_ids":[1,3]}"#, "ok"),
        (ada, r#"{"user_ids":[2]}"#, "ok"),
        (ada, r#"{"user_id":2}"#, "ok"),
    ] {
        assert_eq!(code(&rig.ask(conn, "create_dm", data)), expected, "{data}");
    }
    let again = rig.ask(bob, "create_dm", r#"{"user_id":1,"client_id":"mine"}"#);
    assert_eq!(
        (&again["data"]["conversation_id"], &again["data"]["duplicate"]),
        (&first["data"]["conversation_id"], &true.into())
    );
    let listed = |rig: &mut Rig, conn| {
        let list = rig.ask(conn, "list_dms", "{}")["data"]["conversations"].clone();
        let rows = list.as_array().unwrap().clone();
        let row = rows.into_iter().find(|row| row["conversation_id"] == first["data"]["conversation_id"]);
        row.unwrap()["is_blocked"].clone()
    };
    assert_eq!((listed(&mut rig, ada), listed(&mut rig, bob)), (true.into(), false.into()));
    rig.ask(ada, "unblock_user", &of(2));
    assert_eq!(code(&rig.ask(bob, "create_dm", &of(1))), "ok");
}

#[test]
fn a_block_holds_in_every_conversation_of_the_two_and_in_no_other() {
    let mut rig = Rig::new(2, |limits| limits.heartbeat_us = 0);
    let (ada, bob) = (rig.connect(0, "ada"), rig.connect(1, "bob"));
    rig.connect(0, "cy");
    let made = [r#"{"user_ids":[1]}"#, r#"{"user_ids":[1]}"#, r#"{"user_id":1}"#, r#"{"user_ids":[1,3]}"#];
    let made = made.map(|data| rig.ask(bob, "create_dm", data)["data"]["conversation_id"].as_u64().unwrap());
    let sent = |rig: &mut Rig, conn| {
        made.map(|dm| {
            let reply = rig.ask(conn, "send_dm", &format!(r#"{{"conversation_id":{dm},"content":"hello"}}"#));
            code(&reply).to_owned()
        })
    };
    const BLOCKED: &str = "CONVERSATION_BLOCKED";
    for (command, expected) in [
        ("block_user", [BLOCKED, BLOCKED, BLOCKED, "ok"]),
        ("unblock_user", ["ok"; 4]),
        ("block_user", [BLOCKED, BLOCKED, BLOCKED, "ok"]),
    ] {
        assert_eq!(code(&rig.ask(ada, command, &of(2))), "ok");
        assert_eq!(sent(&mut rig, bob), expected, "{command}");
        assert_eq!(sent(&mut rig, ada), ["ok"; 4], "only the blocked one is stopped");
    }
    // As well once they have left memory.
    rig.pass(400);
    assert_eq!(sent(&mut rig, bob), [BLOCKED, BLOCKED, BLOCKED, "ok"]);
}

#[test]
fn a_block_that_is_committed_holds_though_its_conversations_could_not_be_read_at_once() {
    let mut rig = Rig::new(2, |limits| limits.heartbeat_us = 0);
    let (ada, bob) = (rig.connect(0, "ada"), rig.connect(1, "bob"));
    let dm = dm_of(&mut rig, bob, 1);
    let hello = format!(r#"{{"conversation_id":{dm},"content":"hello"}}"#);
    assert_eq!(code(&rig.ask(bob, "send_dm", &hello)), "ok");
    rig.hold_loads = true;
    let block = rig.say(ada, "block_user", &of(2));
    while rig.reply(ada, block).is_none_or(|reply| reply["data"]["code"] != "STORE_UNAVAILABLE") {
        let (shard, id, load) = rig.loads.pop_front().expect("one query after the other");
        let committed = rig.store.is_blocked(UserId(1), UserId(2));
        let result = if committed { Err(LoadError::Unavailable) } else { rig.store.load(&load) };
        rig.loaded(shard, id, result);
        rig.run();
    }
    rig.hold_loads = false;
    rig.pass(2);
    assert_eq!(code(&rig.ask(bob, "send_dm", &hello)), "CONVERSATION_BLOCKED");
    assert_eq!(code(&rig.ask(ada, "unblock_user", &of(2))), "ok", "those behind it go on");
    assert_eq!(code(&rig.ask(bob, "send_dm", &hello)), "ok");
}

#[test]
fn a_block_that_the_store_keeps_waiting_is_answered_and_still_done() {
    let mut rig = Rig::new(1, |limits| limits.heartbeat_us = 0);
    let (ada, _bob) = (rig.connect(0, "ada"), rig.connect(0, "bob"));
    rig.hold_batches = true;
    let asked: Vec<(u64, &str)> = vec![
        (rig.say(ada, "block_user", &of(2)), "STORE_UNAVAILABLE"),
        (rig.say(ada, "unblock_user", &of(2)), "STORE_UNAVAILABLE"),
        (rig.say(ada, "update_status", r#"{"status":"busy"}"#), "STORE_UNAVAILABLE"),
        (rig.say(ada, "create_room", r#"{"name":"late","client_id":"r"}"#), "STORE_UNAVAILABLE"),
        (rig.say(ada, "create_dm", r#"{"user_id":2,"client_id":"d"}"#), "STORE_UNAVAILABLE"),
    ];
    rig.pass(7);
    for (id, expected) in asked {
        assert_eq!(code(&rig.reply(ada, id).expect("answered in time")), expected);
    }
    rig.hold_batches = false;
    rig.run();
    assert!(!rig.store.is_blocked(UserId(1), UserId(2)));
    for (command, data) in
        [("create_room", r#"{"name":"late","client_id":"r"}"#), ("create_dm", r#"{"user_id":2,"client_id":"d"}"#)]
    {
        let reply = rig.ask(ada, command, data);
        assert_eq!(reply["data"]["duplicate"], true, "{command}: {reply}");
    }
}

#[test]
fn a_refused_status_and_block_fail_for_good() {
    let mut rig = Rig::new(1, |limits| limits.heartbeat_us = 0);
    let (ada, _bob) = (rig.connect(0, "ada"), rig.connect(0, "bob"));
    for (command, data) in [("update_status", r#"{"status":"away"}"#.to_owned()), ("block_user", of(2))] {
        rig.hold_batches = true;
        let id = rig.say(ada, command, &data);
        let (shard, batch): (usize, Box<Batch>) = rig.batches.pop_front().expect("a batch");
        assert_eq!(batch.writes.len(), 1, "{:?}", batch.writes);
        let outcome = BatchOutcome::Refused { events: vec![], writes: vec![0], cause: "no".into() };
        rig.stored(shard, batch.writer, outcome);
        rig.hold_batches = false;
        rig.run();
        let reply = rig.reply(ada, id).expect("a reply");
        assert_eq!((code(&reply), &reply["data"]["retryable"]), ("INTERNAL", &false.into()), "{command}");
    }
    assert_eq!(rig.ask(ada, "block_user", &of(2))["type"], "user_blocked", "the next one goes through");
}

/// What of ada's last time seen is in the batches that are held.
fn times_written(rig: &mut Rig) -> usize {
    let mut writes = Vec::new();
    while let Some((shard, batch)) = rig.batches.pop_front() {
        let outcome = rig.store.apply(&batch);
        writes.extend(batch.writes.iter().cloned());
        rig.stored(shard, batch.writer, outcome);
        rig.run();
    }
    writes.iter().filter(|write| matches!(write, Write::LastSeen { user_id: UserId(1), .. })).count()
}

#[test]
fn who_stays_away_leaves_a_time_unless_there_is_more_to_write() {
    for (most, expected) in [(16_384, 1), (2, 0)] {
        let mut rig = Rig::new(1, |limits| (limits.journal_ops_max, limits.heartbeat_us) = (most, 0));
        let (ada, bob) = (rig.connect(0, "ada"), rig.connect(0, "bob"));
        close(&mut rig, ada);
        rig.pass(4);
        rig.hold_batches = true;
        rig.say(bob, "update_status", r#"{"status":"away"}"#);
        rig.pass(2);
        let early = times_written(&mut rig);
        assert_eq!(early, expected, "with room for {most}");
        rig.pass(1);
        assert_eq!(early + times_written(&mut rig), 1, "as soon as there is room");
    }
}

#[test]
fn who_comes_back_at_once_is_written_nothing_of_and_a_drain_waits_for_nobody() {
    let mut rig = Rig::new(1, |limits| limits.heartbeat_us = 0);
    rig.hold_batches = true;
    for _ in 0..3 {
        let ada = rig.connect(0, "ada");
        rig.pass(1);
        close(&mut rig, ada);
        rig.pass(3);
    }
    let ada = rig.connect(0, "ada");
    rig.pass(8);
    assert_eq!(times_written(&mut rig), 0);
    close(&mut rig, ada);
    rig.pass(1);
    rig.input(0, veza_engine::Input::Drain { reconnect_after_ms: 0 });
    rig.run();
    assert_eq!(times_written(&mut rig), 1);
}

#[test]
fn so_many_and_no_more_may_be_blocked() {
    let mut rig = Rig::new(1, |_| {});
    let ada = rig.connect(0, "ada");
    rig.connect(0, "bob");
    rig.connect(0, "cy");
    // Beside these: whoever is blocked already may be again.
    let blocks = |first: u64, count: u64| {
        let blocks = (first..first + count).map(UserId).collect();
        Loaded::Profile(Profile { blocks, ..Profile::default() }.into())
    };
    for (target, count, first, expected) in [(2, 999, 4, "ok"), (3, 1000, 4, "CONFLICT"), (3, 1000, 3, "ok")] {
        rig.hold_loads = true;
        let id = rig.say(ada, "block_user", &of(target));
        let (shard, load, _) = rig.loads.pop_front().expect("does the user exist?");
        let user = rig.store.load(&Load::User { user_id: UserId(target) });
        rig.loaded(shard, load, user);
        rig.run();
        let (shard, load, _) = rig.loads.pop_front().expect("how many are blocked?");
        rig.loaded(shard, load, Ok(blocks(first, count)));
        rig.hold_loads = false;
        rig.run();
        assert_eq!(code(&rig.reply(ada, id).expect("a reply")), expected, "{target} beside {count} from {first}");
    }
}

#[test]
fn the_muted_do_not_type_and_sanctions_are_found_by_their_number() {
    let mut rig = Rig::new(2, |limits| limits.heartbeat_us = 0);
    let (room, conns) = room_of(&mut rig, &["ada", "bob"]);
    let eve = rig.connect(0, "eve");
    let hidden = rig.room_with(conns[0], r#"{"name":"hidden","visibility":"private"}"#);
    rig.ask(conns[0], "invite_member", &format!(r#"{{"room_id":{hidden},"user_id":2}}"#));
    rig.ask(conns[1], "join_room", &about(hidden));
    let mute = |rig: &mut Rig, room: u64, user: u64| {
        let data = format!(r#"{{"room_id":{room},"user_id":{user},"kind":"mute","reason":"noise"}}"#);
        let reply = rig.ask(conns[0], "sanction_user", &data);
        reply["data"]["sanction_id"].as_u64().unwrap_or_else(|| panic!("{reply}"))
    };
    let (first, second) = (mute(&mut rig, room, 2), mute(&mut rig, hidden, 2));
    assert!(first > 0 && second > 0 && first != second);
    rig.frames(conns[0]);
    let typing = format!(r#"{{"room_id":{room},"is_typing":true}}"#);
    assert_eq!(code(&rig.ask(conns[1], "typing", &typing)), "SANCTIONED");
    rig.pass(1);
    assert_eq!(told(&rig.frames(conns[0]), "typing"), [""; 0]);
    let own = rig.ask(conns[1], "list_sanctions", r#"{"active":true}"#);
    let rows = own["data"]["sanctions"].as_array().unwrap();
    assert_eq!(rows.iter().map(|row| &row["sanction_id"]).collect::<Vec<_>>(), [second, first], "{own}");
    assert_eq!((&rows[0]["kind"], &rows[0]["active"]), (&"mute".into(), &true.into()));
    for (conn, sanction, expected) in [
        (eve, first, "NOT_A_MEMBER"),
        (eve, second, "NOT_FOUND"),
        (eve, 9999, "NOT_FOUND"),
        (conns[1], first, "PERMISSION_DENIED"),
        (conns[0], first, "ok"),
        (conns[0], first, "ok"),
    ] {
        let reply = rig.ask(conn, "lift_sanction", &format!(r#"{{"sanction_id":{sanction}}}"#));
        assert_eq!(code(&reply), expected, "{sanction}: {reply}");
    }
    assert_eq!(code(&rig.ask(conns[1], "typing", &typing)), "ok");
}

#[test]
fn a_storm_of_changes_is_merged_and_spread() {
    let mut rig = Rig::new(1, |limits| limits.heartbeat_us = 0);
    let names: Vec<String> = (0..100).map(|user| format!("user{user}")).collect();
    let conns: Vec<ConnId> = names.iter().map(|name| rig.connect(0, name)).collect();
    let rooms: Vec<u64> = (0..3).map(|_| rig.room(conns[0])).collect();
    for room in &rooms {
        conns[1..].iter().for_each(|conn| assert_eq!(code(&rig.ask(*conn, "join_room", &about(*room))), "ok"));
    }
    rig.pass(3);
    conns.iter().for_each(|conn| drop(rig.frames(*conn)));
    // Everybody changes twice; only the second one is told, and not all of it at once.
    for status in ["away", "busy"] {
        for conn in &conns {
            rig.say(*conn, "update_status", &format!(r#"{{"status":"{status}"}}"#));
        }
    }
    let mut flushes: Vec<usize> = Vec::new();
    for _ in 0..30 {
        rig.pass_tenths(1);
        let frames = rig.frames(conns[0]);
        let pushes = told(&frames, "presence");
        assert!(pushes.iter().all(|push| push.ends_with(" busy")), "{pushes:?}");
        flushes.extend(Some(pushes.len()).filter(|count| *count > 0));
    }
    assert_eq!(flushes.iter().sum::<usize>(), 300, "{flushes:?}");
    assert!(flushes.iter().all(|count| *count <= 200), "20,000 deliveries a flush: {flushes:?}");
}

#[test]
fn a_block_that_is_committed_while_its_conversation_is_read_holds() {
    for late in [true, false] {
        let mut rig = Rig::new(2, |limits| limits.heartbeat_us = 0);
        let (ada, bob) = (rig.connect(0, "ada"), rig.connect(1, "bob"));
        let dm = rig.ask(ada, "create_dm", &of(2))["data"]["conversation_id"].as_u64().unwrap();
        // Read before the block; the answer comes after it.
        rig.hold_loads = true;
        let send = rig.say(bob, "send_dm", &format!(r#"{{"conversation_id":{dm},"content":"hello"}}"#));
        let (shard, id, load) = rig.loads.pop_front().expect("the room");
        assert!(matches!(load, Load::Room { .. }), "{load:?}");
        let before = rig.store.load(&load);
        rig.hold_loads = false;
        if late {
            assert_eq!(code(&rig.ask(ada, "block_user", &of(2))), "ok");
        }
        rig.loaded(shard, id, before);
        rig.run();
        let expected = if late { "CONVERSATION_BLOCKED" } else { "ok" };
        assert_eq!(code(&rig.reply(bob, send).expect("a reply")), expected);
        assert_eq!(code(&rig.ask(ada, "unblock_user", &of(2))), "ok");
        let again = rig.ask(bob, "send_dm", &format!(r#"{{"conversation_id":{dm},"content":"hello"}}"#));
        assert_eq!(code(&again), "ok");
    }
}

#[test]
fn what_changes_while_a_profile_is_read_is_in_it() {
    let mut rig = Rig::new(2, |limits| limits.heartbeat_us = 0);
    let (ada, _bob) = (rig.connect(0, "ada"), rig.connect(0, "bob"));
    rig.hold_loads = true;
    // The third user's profile is read before he has a conversation and another status; the answer comes after that.
    let cy = rig.open(1, Some(crate::rig::identity("cy", "new")));
    find_user(&mut rig);
    let (shard, id, load) = rig.loads.pop_front().expect("his profile");
    assert_eq!(load, Load::Profile { user_id: UserId(3) });
    let before = rig.store.load(&load);
    rig.hold_loads = false;
    let dm = dm_of(&mut rig, ada, 3);
    rig.frames(ada);
    rig.loaded(shard, id, before.clone());
    rig.run();
    rig.pass(1);
    assert_eq!(told(&rig.frames(ada), "presence"), ["cy online"]);
    close(&mut rig, cy);
    rig.pass(150);
    rig.frames(ada);

    rig.hold_loads = true;
    let cy = rig.open(1, Some(crate::rig::identity("cy", "new")));
    find_user(&mut rig);
    let (shard, id, _) = rig.loads.pop_front().expect("his profile");
    rig.hold_loads = false;
    assert_eq!(code(&rig.ask(cy, "update_status", r#"{"status":"busy"}"#)), "ok");
    rig.loaded(shard, id, before);
    rig.run();
    rig.pass(1);
    assert_eq!(told(&rig.frames(ada), "presence"), ["cy busy"]);
    assert_eq!(members(&mut rig, ada, dm, ""), "ada online, cy busy");
}

#[test]
fn questions_about_oneself() {
    let mut rig = Rig::new(2, |limits| limits.heartbeat_us = 0);
    let (room, conns) = room_of(&mut rig, &["ada", "bob"]);
    rig.ask(conns[0], "send_message", &format!(r#"{{"room_id":{room},"content":"needle in a haystack"}}"#));
    let found = rig.ask(conns[1], "search_messages", r#"{"query":"needle"}"#);
    assert_eq!(found["type"], "search_results", "{found}");
    assert_eq!(found["data"]["messages"][0]["content"], "needle in a haystack");
    let inbox = rig.ask(conns[1], "get_mentions", "{}");
    assert_eq!((&inbox["type"], &inbox["data"]), (&"mentions".into(), &json!({"messages": [], "next_cursor": null})));
    for (data, expected) in [("{}", "ok"), (r#"{"user_id":1}"#, "ok"), (r#"{"user_id":2}"#, "PERMISSION_DENIED")] {
        assert_eq!(code(&rig.ask(conns[0], "list_sanctions", data)), expected, "{data}");
    }
    assert_eq!(code(&rig.ask(conns[0], "lift_sanction", r#"{"sanction_id":77}"#)), "NOT_FOUND");
    let unread = rig.ask(conns[1], "get_unread", "{}");
    assert_eq!(unread["data"]["rooms"][0]["mention_count"], 0, "{unread}");
}

#[test]
fn rooms_count_as_subscriptions_of_their_creator() {
    let mut rig = Rig::new(1, |limits| limits.max_subscriptions = 2);
    let ada = rig.connect(0, "ada");
    let asked: Vec<u64> = (0..3).map(|_| rig.say(ada, "create_room", r#"{"name":"room"}"#)).collect();
    let told: Vec<String> = asked.iter().map(|id| code(&rig.reply(ada, *id).unwrap()).to_owned()).collect();
    assert_eq!(told, ["ok", "ok", "INVALID_REQUEST"]);
    assert!(rig.http(0, "ada", "create_room", r#"{"name":"room"}"#).is_ok(), "without a connection it takes none");
}
