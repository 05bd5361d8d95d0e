//! What happens while something else is under way: nothing gets to those who have gone, and nothing deleted to anybody.

use serde_json::Value;
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

fn named(room: u64, message: u64) -> String {
    format!(r#"{{"room_id":{room},"message_id":{message}}}"#)
}

/// A room whose members are these, in the order of their ids from 1.
fn room_of(rig: &mut Rig, users: &[&str]) -> (u64, Vec<ConnId>) {
    let shards = rig.shards.len();
    let conns: Vec<ConnId> = users.iter().enumerate().map(|(at, user)| rig.connect(at % shards, user)).collect();
    let room = rig.room(conns[0]);
    for conn in &conns[1..] {
        assert_eq!(code(&rig.ask(*conn, "join_room", &about(room))), "ok");
    }
    rig.pass(1);
    conns.iter().for_each(|conn| drop(rig.frames(*conn)));
    (room, conns)
}

fn ok(rig: &mut Rig, conn: ConnId, command: &str, data: &str) -> Value {
    let reply = rig.ask(conn, command, data);
    assert_eq!(code(&reply), "ok", "{command} {data}: {reply}");
    reply
}

/// Kinds of the notifications among these frames.
fn notices(frames: &[Value]) -> Vec<&str> {
    let notices = frames.iter().filter(|frame| frame["type"] == "notification");
    notices.map(|frame| frame["data"]["kind"].as_str().unwrap()).collect()
}

/// Whom the message of this number mentions.
fn mentions(rig: &mut Rig, conn: ConnId, room: u64, message: u64) -> Value {
    ok(rig, conn, "get_message", &named(room, message))["data"]["message"]["mentions"].clone()
}

#[test]
fn of_a_deleted_room_nothing_is_left_for_anybody() {
    let commands = [
        ("join_room", ""),
        ("leave_room", ""),
        ("subscribe", ""),
        ("unsubscribe", ""),
        ("get_room", ""),
        ("get_history", ""),
        ("mark_read", r#","seq":1"#),
        ("send_message", r#","content":"x""#),
        ("send_message", r#","content":"once","client_id":"c""#),
        ("update_room", r#","topic":"x""#),
        ("delete_room", ""),
    ];
    // Sent behind the deletion, or after it.
    for waits in [true, false] {
        let mut rig = Rig::new(2, |_| {});
        let (room, conns) = room_of(&mut rig, &["ada", "bob"]);
        for conn in &conns {
            ok(&mut rig, *conn, "send_message", &format!(r#"{{"room_id":{room},"content":"once","client_id":"c"}}"#));
        }
        conns.iter().for_each(|conn| drop(rig.frames(*conn)));
        rig.hold_batches = waits;
        let deletion = rig.say(conns[0], "delete_room", &about(room));
        let mut asked = Vec::new();
        for conn in &conns {
            for (command, more) in commands {
                asked.push((*conn, command, rig.say(*conn, command, &format!(r#"{{"room_id":{room}{more}}}"#))));
            }
        }
        let resume = rig.say(conns[1], "resume", &format!(r#"{{"rooms":[{{"room_id":{room},"last_seq":0}}]}}"#));
        rig.hold_batches = false;
        rig.run();
        assert_eq!(code(&rig.reply(conns[0], deletion).unwrap()), "ok");
        for (conn, command, id) in asked {
            let reply = rig.reply(conn, id).unwrap();
            assert_eq!(code(&reply), "ROOM_NOT_FOUND", "{command}, behind it: {waits}: {reply}");
        }
        assert_eq!(rig.reply(conns[1], resume).unwrap()["data"]["rooms"][0]["reason"], "not_found");
        for conn in conns {
            assert_eq!(kinds(&rig.frames(conn)), ["room_deleted"], "the last event, and once");
        }
    }
}

#[test]
fn who_has_gone_is_told_of_no_answers() {
    // Whether the room knows who has gone, or must read it.
    for evicted in [false, true] {
        let mut rig = Rig::new(2, |limits| limits.heartbeat_us = 0);
        let (room, conns) = room_of(&mut rig, &["ada", "bob", "cy", "dan"]);
        let (ada, bob, cy, dan) = (conns[0], conns[1], conns[2], conns[3]);
        ok(&mut rig, bob, "send_message", &message(room, "root"));
        for conn in [cy, dan] {
            ok(&mut rig, conn, "send_message", &format!(r#"{{"room_id":{room},"content":"x","parent_id":1}}"#));
        }
        assert_eq!(notices(&rig.frames(bob)), ["reply", "reply"]);
        ok(&mut rig, ada, "kick_member", &of(room, 2));
        ok(&mut rig, dan, "leave_room", &about(room));
        if evicted {
            for conn in [ada, cy] {
                ok(&mut rig, conn, "unsubscribe", &about(room));
            }
            rig.pass(400);
        }
        conns.iter().for_each(|conn| drop(rig.frames(*conn)));
        ok(&mut rig, ada, "send_message", &format!(r#"{{"room_id":{room},"content":"secret","parent_id":1}}"#));
        let told: Vec<usize> = conns.iter().map(|conn| notices(&rig.frames(*conn)).len()).collect();
        assert_eq!(told, [0, 0, 1, 0], "evicted: {evicted}");
    }
}

#[test]
fn who_is_just_going_is_not_mentioned_and_who_is_just_coming_is() {
    for known in [true, false] {
        let mut rig = Rig::new(2, |_| {});
        let (room, conns) = room_of(&mut rig, &["ada", "bob", "cy"]);
        let (ada, bob, cy) = (conns[0], conns[1], conns[2]);
        let dan = rig.connect(0, "dan");
        if known {
            ok(&mut rig, bob, "send_message", &message(room, "@cy @dan"));
        } else {
            ok(&mut rig, bob, "send_message", &message(room, "x"));
        }
        conns.iter().for_each(|conn| drop(rig.frames(*conn)));
        rig.hold_batches = true;
        let kick = rig.say(ada, "kick_member", &of(room, 3));
        let join = rig.say(dan, "join_room", &about(room));
        let sent = rig.say(bob, "send_message", &message(room, "@cy @dan @ada"));
        rig.hold_batches = false;
        rig.run();
        for (conn, id) in [(ada, kick), (dan, join), (bob, sent)] {
            assert_eq!(code(&rig.reply(conn, id).unwrap()), "ok");
        }
        assert_eq!(mentions(&mut rig, bob, room, 3), serde_json::json!([1, 4]), "known: {known}");
        assert_eq!(kinds(&rig.frames(cy)), ["member_kicked"], "known: {known}");
        assert_eq!(notices(&rig.frames(dan)), ["mention"]);
    }
}

#[test]
fn names_that_were_read_too_early_are_read_again() {
    let mut rig = Rig::new(2, |_| {});
    let (room, conns) = room_of(&mut rig, &["ada", "bob", "cy"]);
    let (ada, bob, cy) = (conns[0], conns[1], conns[2]);
    let dan = rig.connect(0, "dan");
    rig.hold_loads = true;
    let sent = rig.say(bob, "send_message", &message(room, "@cy @dan"));
    let (shard, id, load) = rig.loads.pop_front().expect("names are read");
    let early = rig.store.load(&load);
    rig.hold_loads = false;
    ok(&mut rig, ada, "kick_member", &of(room, 3));
    ok(&mut rig, dan, "join_room", &about(room));
    rig.loaded(shard, id, early);
    rig.run();
    assert_eq!(code(&rig.reply(bob, sent).unwrap()), "ok");
    assert_eq!(mentions(&mut rig, bob, room, 2), serde_json::json!([4]));
    assert_eq!(notices(&rig.frames(cy)), [""; 0]);
}

#[test]
fn everybody_is_told_of_what_is_there_and_nobody_who_has_gone() {
    for (command, data, told) in [
        ("kick_member", r#""user_id":2"#, [0, 0, 1]),
        ("delete_message", r#""message_id":1"#, [0, 0, 0]),
        ("delete_room", r#""name":null"#, [0, 0, 0]),
        ("get_room", r#""name":null"#, [0, 1, 1]),
    ] {
        let mut rig = Rig::new(2, |_| {});
        let (room, conns) = room_of(&mut rig, &["ada", "bob", "cy"]);
        rig.hold_loads = true;
        rig.say(conns[0], "send_message", &message(room, "@room secret"));
        let (shard, id, load) = rig.loads.pop_front().expect("a page of members is read");
        let early = rig.store.load(&load);
        rig.hold_loads = false;
        ok(&mut rig, conns[0], command, &format!(r#"{{"room_id":{room},{data}}}"#));
        rig.loaded(shard, id, early);
        rig.run();
        let got: Vec<usize> = conns.iter().map(|conn| notices(&rig.frames(*conn)).len()).collect();
        assert_eq!(got, told, "{command}");
    }
}

#[test]
fn what_is_deleted_while_it_is_read_is_not_shown() {
    let ask = |room| {
        [
            ("subscribe", format!(r#"{{"room_id":{room},"last_seq":0}}"#)),
            ("get_history", format!(r#"{{"room_id":{room},"before_id":5}}"#)),
            ("get_history", format!(r#"{{"room_id":{room},"around_id":1,"limit":3}}"#)),
            ("get_message", named(room, 1)),
            ("get_edits", named(room, 1)),
            ("get_thread", format!(r#"{{"room_id":{room},"parent_id":1}}"#)),
            ("get_pinned_messages", about(room)),
            ("search_messages", format!(r#"{{"room_id":{room},"query":"secret"}}"#)),
        ]
    };
    for (index, (command, _)) in ask(0).into_iter().enumerate() {
        // The deletion may have left memory by the time of the answer: all but the newest events have.
        let mut rig = Rig::new(2, |limits| limits.ring_events = 4);
        let (room, conns) = room_of(&mut rig, &["ada", "bob"]);
        let (ada, bob) = (conns[0], conns[1]);
        ok(&mut rig, ada, "send_message", &message(room, "secret"));
        ok(&mut rig, ada, "edit_message", &format!(r#"{{"room_id":{room},"message_id":1,"content":"secret too"}}"#));
        ok(&mut rig, ada, "pin_message", &named(room, 1));
        for _ in 0..6 {
            ok(&mut rig, ada, "send_message", &message(room, "x"));
        }
        ok(&mut rig, bob, "unsubscribe", &about(room));
        rig.frames(bob);
        rig.hold_loads = true;
        rig.say(bob, command, &ask(room)[index].1);
        let mut early = Vec::new();
        while let Some((shard, id, load)) = rig.loads.pop_front() {
            early.push((shard, id, rig.store.load(&load)));
        }
        assert!(!early.is_empty(), "{command} reads");
        rig.hold_loads = false;
        ok(&mut rig, ada, "delete_message", &named(room, 1));
        for (shard, id, result) in early {
            rig.loaded(shard, id, result);
        }
        rig.run();
        let frames = rig.frames(bob);
        assert!(!frames.is_empty(), "{command} is answered");
        assert!(frames.iter().all(|frame| !frame.to_string().contains("secret")), "{command}: {frames:?}");
    }
}
