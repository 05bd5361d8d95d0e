//! What can be done to messages and rooms besides sending: limits, order, and what changes nothing.

use serde_json::{Value, json};
use veza_engine::Input;
use veza_engine::id::{ConnId, RoomId, Seq};
use veza_engine::input::Role;
use veza_engine::store::LoadError;

use crate::rig::{Rig, code, identity, kinds};

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

fn edit(room: u64, message: u64, content: &str) -> String {
    format!(r#"{{"room_id":{room},"message_id":{message},"content":"{content}"}}"#)
}

fn reaction(room: u64, message: u64, emoji: &str) -> String {
    format!(r#"{{"room_id":{room},"message_id":{message},"emoji":"{emoji}"}}"#)
}

fn role(room: u64, user: u64, role: &str) -> String {
    format!(r#"{{"room_id":{room},"user_id":{user},"role":"{role}"}}"#)
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
    clear(rig, &conns);
    (room, conns)
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

/// (Kind, user) of the notifications that have come.
fn notices(rig: &mut Rig, conn: ConnId) -> Vec<String> {
    let frames = rig.frames(conn);
    let notices = frames.iter().filter(|frame| frame["type"] == "notification");
    notices.map(|frame| frame["data"]["kind"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_changes_nothing_takes_no_seq_and_is_pushed_to_nobody() {
    let mut rig = Rig::new(2, |_| {});
    let (room, conns) = room_of(&mut rig, &["ada", "bob"]);
    let (ada, bob) = (conns[0], conns[1]);
    ok(&mut rig, ada, "send_message", &message(room, "text"));
    ok(&mut rig, ada, "add_reaction", &reaction(room, 1, "🤔"));
    ok(&mut rig, ada, "pin_message", &named(room, 1));
    ok(&mut rig, ada, "send_message", &message(room, "gone"));
    ok(&mut rig, ada, "delete_message", &named(room, 4));
    clear(&mut rig, &conns);
    for (command, data) in [
        ("add_reaction", reaction(room, 1, "🤔")),
        ("remove_reaction", reaction(room, 1, "👍")),
        ("pin_message", named(room, 1)),
        ("delete_message", named(room, 4)),
        ("edit_message", edit(room, 1, "text")),
        ("update_room", format!(r#"{{"room_id":{room},"name":"room","archived":false}}"#)),
        ("set_member_role", role(room, 2, "member")),
        ("invite_member", of(room, 2)),
        ("join_room", about(room)),
        ("mark_read", format!(r#"{{"room_id":{room},"seq":1}}"#)),
    ] {
        let reply = ok(&mut rig, ada, command, &data);
        let seq = if command == "mark_read" { 4 } else { 5 };
        assert_eq!(reply["seq"], seq, "{command}: {reply}");
        assert_eq!(kinds(&rig.frames(bob)), Vec::<String>::new(), "{command}");
    }
    ok(&mut rig, ada, "unpin_message", &named(room, 1));
    assert_eq!(ok(&mut rig, ada, "unpin_message", &named(room, 1))["seq"], 6);
    assert_eq!(rig.store.head(RoomId(room)), 6);
}

#[test]
fn reactions_settle_alike_whoever_is_beyond_those_that_memory_lists() {
    const FANS: u64 = 140;
    let mut rig = Rig::new(2, |limits| (limits.max_reactions_per_message, limits.heartbeat_us) = (2, 0));
    let (room, conns) = room_of(&mut rig, &["ada"]);
    let ada = conns[0];
    ok(&mut rig, ada, "send_message", &message(room, "text"));
    for fan in 0..FANS {
        let name = format!("fan{fan}");
        rig.http(0, &name, "join_room", &about(room)).unwrap();
        rig.http(0, &name, "add_reaction", &reaction(room, 1, "👍")).unwrap();
    }
    // In memory with all its reactors that memory keeps, and read anew with the lowest ones.
    for evicted in [false, true] {
        if evicted {
            ok(&mut rig, ada, "unsubscribe", &about(room));
            rig.pass(400);
        }
        let last = format!("fan{}", FANS - 1);
        let mut asked =
            |command: &str, who: &str, emoji: &str| match rig.http(1, who, command, &reaction(room, 1, emoji)) {
                Ok(reply) => reply["count"].to_string(),
                Err(error) => error.code.name().to_owned(),
            };
        let count = FANS.to_string();
        assert_eq!(asked("add_reaction", &last, "👍"), count, "he has it");
        assert_eq!(asked("remove_reaction", &last, "👍"), (FANS - 1).to_string());
        assert_eq!(asked("remove_reaction", &last, "👍"), (FANS - 1).to_string(), "he has it no more");
        assert_eq!(asked("add_reaction", &last, "👍"), count);
        assert_eq!(asked("add_reaction", &last, ":two:"), "1");
        assert_eq!(asked("add_reaction", &last, ":three:"), "CONFLICT");
        assert_eq!(asked("remove_reaction", &last, ":two:"), "0");
        let shown = rig.http(0, &last, "get_message", &named(room, 1)).unwrap();
        assert_eq!(shown["message"]["reactions"], json!([{"emoji": "👍", "count": FANS, "me": true}]));
        let history = rig.http(0, "ada", "get_history", &about(room)).unwrap();
        assert_eq!(history["messages"][0]["reactions"], json!([{"emoji": "👍", "count": FANS, "me": false}]));
    }
    let list = ok(&mut rig, ada, "get_reactions", &named(room, 1));
    assert_eq!(
        (&list["reactions"][0]["count"], list["reactions"][0]["users"].as_array().unwrap().len()),
        (&FANS.into(), 100)
    );
}

#[test]
fn limits_hold_for_what_is_under_way_too() {
    let mut rig = Rig::new(2, |limits| (limits.max_pins_per_room, limits.max_reactions_per_message) = (2, 2));
    let (room, conns) = room_of(&mut rig, &["ada", "bob"]);
    let too = rig.connect(1, "ada");
    for _ in 0..3 {
        ok(&mut rig, conns[0], "send_message", &message(room, "text"));
    }
    rig.hold_batches = true;
    let pins: Vec<_> = [(conns[0], 1), (too, 2), (conns[0], 3)]
        .map(|(conn, number)| (conn, rig.say(conn, "pin_message", &named(room, number))))
        .into();
    let emoji: Vec<_> = [(conns[0], "🤔"), (too, "👍"), (too, "🎉")]
        .map(|(conn, emoji)| (conn, rig.say(conn, "add_reaction", &reaction(room, 1, emoji))))
        .into();
    rig.hold_batches = false;
    rig.run();
    for asked in [pins, emoji] {
        let mut codes: Vec<String> =
            asked.into_iter().map(|(conn, id)| code(&rig.reply(conn, id).unwrap()).to_owned()).collect();
        codes.sort_unstable();
        assert_eq!(codes, ["CONFLICT", "ok", "ok"]);
    }
    // What is deleted is not pinned any more.
    let pinned = ok(&mut rig, too, "get_pinned_messages", &about(room))["messages"].clone();
    assert_eq!(pinned.as_array().unwrap().len(), 2);
    ok(&mut rig, too, "delete_message", &named(room, pinned[0]["message_id"].as_u64().unwrap()));
    assert_eq!(told(&mut rig, too, "pin_message", &named(room, 3)), "ok");
    ok(&mut rig, too, "send_message", &message(room, "text"));
    let newest = rig.store.head(RoomId(room));
    assert_eq!(told(&mut rig, too, "pin_message", &named(room, newest)), "CONFLICT");
}

#[test]
fn replays_and_reads_after_edits_and_deletions() {
    // From memory, and from the store.
    for ring in [256, 2] {
        let mut rig = Rig::new(2, |limits| limits.ring_events = ring);
        let (room, conns) = room_of(&mut rig, &["ada", "bob"]);
        let (ada, bob) = (conns[0], conns[1]);
        ok(
            &mut rig,
            ada,
            "send_message",
            &format!(r#"{{"room_id":{room},"content":"first","metadata":{{"k":"secret"}}}}"#),
        );
        ok(&mut rig, ada, "send_message", &message(room, "secret @bob"));
        ok(&mut rig, ada, "edit_message", &edit(room, 1, "changed"));
        ok(&mut rig, ada, "edit_message", &edit(room, 2, "secret as well"));
        ok(&mut rig, bob, "add_reaction", &reaction(room, 1, "🤔"));
        ok(&mut rig, ada, "send_message", &format!(r#"{{"room_id":{room},"content":"answer","parent_id":1}}"#));
        ok(&mut rig, ada, "delete_message", &named(room, 2));
        clear(&mut rig, &conns);
        ok(&mut rig, bob, "subscribe", &format!(r#"{{"room_id":{room},"last_seq":0}}"#));
        let frames = rig.frames(bob);
        let seqs: Vec<u64> = frames.iter().filter_map(|frame| frame["data"]["seq"].as_u64()).collect();
        assert_eq!(seqs, [1, 2, 3, 4, 5, 6, 7], "{frames:?}");
        let first = &frames[0]["data"];
        assert_eq!(first["content"], "changed");
        assert_eq!((&first["edit_count"], &first["thread_count"]), (&1.into(), &1.into()));
        assert_eq!(first["reactions"], json!([{"emoji": "🤔", "count": 1}]));
        let second = &frames[1]["data"];
        let blank = ["content", "mentions", "metadata", "is_deleted"].map(|field| second[field].clone());
        assert_eq!(blank, [json!(""), json!([]), Value::Null, json!(true)]);
        assert_eq!((&frames[3]["type"], &frames[3]["data"]["content"]), (&"message_edited".into(), &"".into()));
        let all = frames.iter().skip(1).map(Value::to_string).collect::<String>();
        assert!(!all.contains("as well") && !all.contains("@bob"), "{all}");
        let history = ok(&mut rig, bob, "get_history", &about(room));
        let contents: Vec<&str> =
            history["messages"].as_array().unwrap().iter().map(|one| one["content"].as_str().unwrap()).collect();
        assert_eq!(
            (contents, &history["messages"][0]["reactions"][0]["me"]),
            (vec!["changed", "", "answer"], &true.into())
        );
        assert_eq!(told(&mut rig, bob, "get_edits", &named(room, 2)), "MESSAGE_NOT_FOUND");
        let edits = ok(&mut rig, bob, "get_edits", &named(room, 1))["edits"].clone();
        let edits: Vec<&str> = edits.as_array().unwrap().iter().map(|one| one["content"].as_str().unwrap()).collect();
        assert_eq!(edits, ["first", "changed"]);
        assert_eq!(ok(&mut rig, bob, "get_message", &named(room, 2))["message"]["content"], "");
        assert_eq!(ok(&mut rig, ada, "get_message", &named(room, 2))["message"]["content"], "secret as well");
        for (command, data) in [
            ("edit_message", edit(room, 2, "x")),
            ("pin_message", named(room, 2)),
            ("add_reaction", reaction(room, 2, "🤔")),
            ("send_message", format!(r#"{{"room_id":{room},"content":"x","parent_id":2}}"#)),
            ("get_reactions", named(room, 2)),
        ] {
            assert_eq!(told(&mut rig, ada, command, &data), "MESSAGE_NOT_FOUND", "{command}");
        }
    }
}

#[test]
fn a_thread_is_one_level_deep_and_tells_all_who_wrote_in_it() {
    for evicted in [false, true] {
        let mut rig = Rig::new(2, |limits| limits.heartbeat_us = 0);
        let (room, conns) = room_of(&mut rig, &["ada", "bob", "cy", "dan"]);
        let answer = |parent: u64| format!(r#"{{"room_id":{room},"content":"x","parent_id":{parent}}}"#);
        ok(&mut rig, conns[0], "send_message", &message(room, "root"));
        ok(&mut rig, conns[1], "send_message", &answer(1));
        clear(&mut rig, &conns);
        if evicted {
            conns.iter().for_each(|conn| drop(rig.ask(*conn, "unsubscribe", &about(room))));
            rig.pass(400);
        }
        // To the answer: joins the same thread.
        ok(&mut rig, conns[2], "send_message", &answer(2));
        let got: Vec<Vec<String>> = conns.iter().map(|conn| notices(&mut rig, *conn)).collect();
        assert_eq!(got, [vec!["reply".to_owned()], vec!["reply".to_owned()], vec![], vec![]], "evicted: {evicted}");
        for parent in [1, 2, 3] {
            let thread = ok(
                &mut rig,
                conns[3],
                "get_thread",
                &format!(r#"{{"room_id":{room},"parent_id":{parent},"limit":1}}"#),
            );
            assert_eq!((&thread["parent"]["message_id"], &thread["parent"]["thread_count"]), (&1.into(), &2.into()));
            assert_eq!((&thread["messages"][0]["parent_id"], &thread["has_more"]), (&1.into(), &true.into()));
        }
        let rest = ok(&mut rig, conns[3], "get_thread", &format!(r#"{{"room_id":{room},"parent_id":1,"after_id":2}}"#));
        assert_eq!((&rest["messages"][0]["message_id"], &rest["has_more"]), (&3.into(), &false.into()));
    }
}

#[test]
fn mentions_reach_members_by_name_and_all_of_them_by_permission() {
    let mut rig = Rig::new(2, |_| {});
    let (room, conns) = room_of(&mut rig, &["ada", "bob", "cy"]);
    rig.connect(0, "stranger");
    for (who, content, listed, told) in [
        (0, "@BOB, @cy. @stranger @nobody", json!([2, 3]), [0, 1, 1]),
        (0, "`@bob` @ada", json!([1]), [0, 0, 0]),
        (0, "@room", json!([]), [0, 1, 1]),
        (1, "@room", json!([]), [0, 0, 0]),
        (1, "@room @cy @cy", json!([3]), [0, 0, 1]),
    ] {
        let id = ok(&mut rig, conns[who], "send_message", &message(room, content))["message_id"].as_u64().unwrap();
        let got = [0, 1, 2].map(|at: usize| notices(&mut rig, conns[at]).len());
        assert_eq!(got, told, "{content}");
        let shown = ok(&mut rig, conns[0], "get_message", &named(room, id));
        assert_eq!(shown["message"]["mentions"], listed, "{content}");
    }
    // An edit tells those whom it adds, and only them; who is named no more has it in the inbox no more.
    ok(&mut rig, conns[0], "edit_message", &edit(room, 1, "@bob @ada"));
    ok(&mut rig, conns[0], "edit_message", &edit(room, 2, "@bob"));
    let got = [0, 1, 2].map(|at: usize| notices(&mut rig, conns[at]).len());
    assert_eq!(got, [0, 1, 0]);
    let inbox = |rig: &mut Rig, conn| {
        let list = ok(rig, conn, "get_mentions", "{}")["messages"].clone();
        list.as_array().unwrap().iter().map(|one| one["message_id"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!((inbox(&mut rig, conns[1]), inbox(&mut rig, conns[2])), (vec![3, 2, 1], vec![5, 3]));
    ok(&mut rig, conns[0], "delete_message", &named(room, 3));
    assert_eq!((inbox(&mut rig, conns[1]), inbox(&mut rig, conns[2])), (vec![2, 1], vec![5]));
}

#[test]
fn slow_mode_the_edit_window_and_archived_rooms() {
    let mut rig = Rig::new(2, |limits| (limits.edit_window_us, limits.heartbeat_us) = (60_000_000, 0));
    let (room, conns) = room_of(&mut rig, &["ada", "bob"]);
    let (ada, bob) = (conns[0], conns[1]);
    ok(&mut rig, ada, "update_room", &format!(r#"{{"room_id":{room},"slow_mode_s":10}}"#));
    for (who, expected) in [(ada, "ok"), (ada, "ok"), (bob, "ok"), (bob, "RATE_LIMIT_EXCEEDED")] {
        let reply = rig.ask(who, "send_message", &message(room, "text"));
        assert_eq!(code(&reply), expected, "{reply}");
        let wait = reply["data"]["retry_after_ms"].as_u64();
        assert!(wait.is_none_or(|wait| (9_000..=10_000).contains(&wait)), "{reply}");
    }
    let once = format!(r#"{{"room_id":{room},"content":"once","client_id":"c"}}"#);
    rig.pass(11);
    ok(&mut rig, bob, "send_message", &once);
    assert_eq!(ok(&mut rig, bob, "send_message", &once)["duplicate"], true, "a repetition is no further message");
    // It holds when the room was forgotten meanwhile.
    ok(&mut rig, ada, "update_room", &format!(r#"{{"room_id":{room},"slow_mode_s":1000}}"#));
    conns.iter().for_each(|conn| drop(rig.ask(*conn, "unsubscribe", &about(room))));
    ok(&mut rig, ada, "edit_message", &edit(room, 2, "in time"));
    rig.pass(400);
    assert_eq!(told(&mut rig, bob, "send_message", &message(room, "text")), "RATE_LIMIT_EXCEEDED");
    assert_eq!(told(&mut rig, ada, "edit_message", &edit(room, 2, "late")), "PERMISSION_DENIED");

    ok(&mut rig, ada, "update_room", &format!(r#"{{"room_id":{room},"archived":true}}"#));
    rig.connect(0, "stranger");
    let stranger = rig.connect(0, "stranger");
    for (who, command, data) in [
        (ada, "send_message", message(room, "x")),
        (ada, "edit_message", edit(room, 2, "x")),
        (ada, "add_reaction", reaction(room, 2, "🤔")),
        (ada, "pin_message", named(room, 2)),
        (ada, "typing", format!(r#"{{"room_id":{room},"is_typing":true}}"#)),
        (stranger, "join_room", about(room)),
    ] {
        assert_eq!(told(&mut rig, who, command, &data), "ROOM_ARCHIVED", "{command}");
    }
    ok(&mut rig, bob, "get_history", &about(room));
    ok(&mut rig, ada, "update_room", &format!(r#"{{"room_id":{room},"archived":false}}"#));
    ok(&mut rig, ada, "send_message", &message(room, "x"));
}

#[test]
fn an_administrator_is_above_the_owner_and_reads_without_being_in() {
    let mut rig = Rig::new(2, |_| {});
    let (room, conns) = room_of(&mut rig, &["ada", "bob"]);
    let mut admin = identity("root", "session of root");
    admin.role = Role::Admin;
    let admin = rig.open(1, Some(admin));
    rig.frames(admin);
    ok(&mut rig, admin, "get_history", &about(room));
    assert_eq!(told(&mut rig, admin, "send_message", &message(room, "x")), "NOT_A_MEMBER");
    for (command, data) in [
        ("kick_member", of(room, 1)),
        ("sanction_user", format!(r#"{{"room_id":{room},"user_id":1,"kind":"ban","reason":"x"}}"#)),
    ] {
        assert_eq!(told(&mut rig, admin, command, &data), "CONFLICT", "a room has an owner");
    }
    ok(&mut rig, admin, "set_member_role", &role(room, 2, "owner"));
    let members = ok(&mut rig, conns[1], "get_members", &about(room))["members"].clone();
    let roles: Vec<&str> = members.as_array().unwrap().iter().map(|one| one["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["moderator", "owner"]);
    ok(&mut rig, admin, "kick_member", &of(room, 1));
    assert_eq!(told(&mut rig, conns[0], "send_message", &message(room, "x")), "NOT_A_MEMBER");
}

/// What is pinned, as the room says it in all ways, and whether one more may be.
fn pins(rig: &mut Rig, conn: ConnId, room: u64, further: u64) -> (u64, usize, String) {
    let count = ok(rig, conn, "get_room_stats", &about(room))["pinned_count"].as_u64().unwrap();
    let listed = ok(rig, conn, "get_pinned_messages", &about(room))["messages"].as_array().unwrap().len();
    (count, listed, told(rig, conn, "pin_message", &named(room, further)))
}

#[test]
fn the_count_of_pins_is_right_after_retention_whatever_was_under_way() {
    // How many of the three pins are left, and what is asked meanwhile.
    for (floor, command, message_id, left) in [
        (2, "unpin_message", 3, 0),
        (2, "delete_message", 3, 0),
        (2, "pin_message", 5, 2),
        (1, "pin_message", 5, 3),
        (2, "get_room", 1, 1),
    ] {
        for early in [true, false] {
            let mut rig = Rig::new(2, |limits| limits.max_pins_per_room = 3);
            let (room, conns) = room_of(&mut rig, &["ada", "bob"]);
            let (ada, too) = (conns[0], rig.connect(1, "ada"));
            for _ in 1..=6 {
                ok(&mut rig, ada, "send_message", &message(room, "text"));
            }
            for number in 1..=3 {
                ok(&mut rig, ada, "pin_message", &named(room, number));
            }
            let (room_id, home) = (RoomId(room), usize::from(RoomId(room).home(2).0));
            let floor = Seq(floor);
            rig.store.retain(room_id, floor);
            let asked;
            if early {
                // It is under way when retention is told of.
                rig.hold_batches = true;
                asked = rig.say(too, command, &named(room, message_id));
                rig.input(home, Input::Retained { room_id, floor });
                rig.hold_batches = false;
                rig.run();
            } else {
                // It comes while the count is read, and the answer is from before.
                rig.hold_loads = true;
                rig.input(home, Input::Retained { room_id, floor });
                let (shard, id, load) = rig.loads.pop_front().expect("the count is read");
                let before = rig.store.load(&load);
                asked = rig.say(too, command, &named(room, message_id));
                rig.loaded(shard, id, before);
                rig.hold_loads = false;
                rig.run();
            }
            let reply = rig.reply(too, asked).unwrap();
            let full = early && command == "pin_message";
            assert!(code(&reply) == "ok" || full && code(&reply) == "CONFLICT", "{command}: {reply}");
            let left = if code(&reply) == "ok" || command != "pin_message" { left } else { left - 1 };
            let more = if left < 3 { "ok" } else { "CONFLICT" };
            assert_eq!(
                pins(&mut rig, ada, room, 6),
                (left, left as usize, more.to_owned()),
                "{command}, early: {early}"
            );
        }
    }
}

#[test]
fn what_waits_for_the_count_of_pins_is_told_when_it_cannot_be_read() {
    let mut rig = Rig::new(2, |_| {});
    let (room, conns) = room_of(&mut rig, &["ada"]);
    ok(&mut rig, conns[0], "send_message", &message(room, "text"));
    ok(&mut rig, conns[0], "pin_message", &named(room, 1));
    ok(&mut rig, conns[0], "send_message", &message(room, "text"));
    let (room_id, floor) = (RoomId(room), Seq(1));
    rig.store.retain(room_id, floor);
    rig.hold_loads = true;
    rig.input(usize::from(room_id.home(2).0), Input::Retained { room_id, floor });
    let pin = rig.say(conns[0], "pin_message", &named(room, 3));
    let (shard, id, _) = rig.loads.pop_front().expect("the count is read");
    assert!(rig.reply(conns[0], pin).is_none(), "it waits");
    rig.loaded(shard, id, Err(LoadError::Unavailable));
    rig.hold_loads = false;
    rig.run();
    assert_eq!(code(&rig.reply(conns[0], pin).unwrap()), "STORE_UNAVAILABLE");
    assert_eq!(pins(&mut rig, conns[0], room, 3), (0, 0, "ok".to_owned()));
}
