//! Bounds: what happens when they are reached.

use veza_engine::wire::CloseCode;

use crate::rig::{Rig, code, kinds};

#[test]
fn a_resume_takes_no_more_subscriptions_than_there_may_be() {
    let mut rig = Rig::new(1, |limits| limits.max_subscriptions = 3);
    let ada = rig.connect(0, "ada");
    let rooms: Vec<u64> = (0..3).map(|_| rig.room(ada)).collect();
    let bob = rig.connect(0, "bob");
    let list = |ids: &[u64]| {
        let points: Vec<String> = ids.iter().map(|id| format!(r#"{{"room_id":{id},"last_seq":0}}"#)).collect();
        format!(r#"{{"rooms":[{}]}}"#, points.join(","))
    };
    let more: Vec<u64> = {
        let other = rig.connect(0, "ada");
        (0..2).map(|_| rig.room(other)).collect()
    };
    for room in rooms.iter().chain(&more) {
        rig.http(0, "bob", "join_room", &format!(r#"{{"room_id":{room}}}"#)).unwrap();
    }
    for (ids, expected) in [
        (vec![rooms[0], rooms[1]], "ok"),
        (vec![rooms[0], rooms[1], rooms[2]], "ok"),
        (vec![more[0], more[1]], "INVALID_REQUEST"),
        (vec![rooms[0], more[0]], "INVALID_REQUEST"),
        (vec![rooms[2], rooms[0]], "ok"),
    ] {
        let reply = rig.ask(bob, "resume", &list(&ids));
        assert_eq!(code(&reply), expected, "{ids:?}: {reply}");
    }
    let reply = rig.ask(bob, "subscribe", &format!(r#"{{"room_id":{}}}"#, more[0]));
    assert_eq!(code(&reply), "INVALID_REQUEST");
    for (room, pushes) in rooms.iter().chain(&more).zip([1, 1, 1, 0, 0]) {
        rig.frames(bob);
        rig.http(0, "ada", "send_message", &format!(r#"{{"room_id":{room},"content":"x"}}"#)).unwrap();
        assert_eq!(rig.frames(bob).len(), pushes, "room {room}");
    }
}

#[test]
fn a_slow_receiver_is_closed_and_a_burst_is_not_slowness() {
    let limit = 10_000;
    let mut rig = Rig::new(1, |limits| limits.outbox_bytes = limit);
    let (ada, bob) = (rig.connect(0, "ada"), rig.connect(0, "bob"));
    let room = rig.room(ada);
    rig.ask(bob, "join_room", &format!(r#"{{"room_id":{room}}}"#));
    let content = "x".repeat(1500);
    let send = |rig: &mut Rig| {
        rig.http(0, "ada", "send_message", &format!(r#"{{"room_id":{room},"content":"{content}"}}"#)).unwrap();
    };
    // Eight at once, in one turn: more than the bound, and the sockets take them.
    rig.hold_batches = true;
    for _ in 0..8 {
        rig.say(ada, "send_message", &format!(r#"{{"room_id":{room},"content":"{content}"}}"#));
    }
    rig.hold_batches = false;
    rig.run();
    assert!(rig.closed.is_empty());
    assert_eq!(rig.frames(bob).iter().filter(|frame| frame["type"] == "message").count(), 8);
    rig.blocked = true;
    for _ in 0..20 {
        send(&mut rig);
    }
    assert_eq!(rig.closed[&bob.slot], CloseCode::SlowReceiver);
    assert_eq!(rig.closed[&ada.slot], CloseCode::SlowReceiver);
    assert_eq!(rig.shards[0].stats().outbox_bytes, 0);
}

#[test]
fn the_fullest_goes_first_whatever_it_is_full_of() {
    let mut rig = Rig::new(1, |limits| limits.outbox_shard_bytes = 200_000);
    let (ada, bob, hog) = (rig.connect(0, "ada"), rig.connect(0, "bob"), rig.connect(0, "hog"));
    let room = rig.room(ada);
    rig.ask(bob, "join_room", &format!(r#"{{"room_id":{room}}}"#));
    rig.http(0, "hog", "join_room", &format!(r#"{{"room_id":{room}}}"#)).unwrap();
    let content = "x".repeat(1500);
    for _ in 0..40 {
        rig.ask(ada, "send_message", &format!(r#"{{"room_id":{room},"content":"{content}"}}"#));
    }
    rig.blocked = true;
    rig.http(0, "ada", "send_message", &format!(r#"{{"room_id":{room},"content":"x"}}"#)).unwrap();
    for _ in 0..10 {
        rig.say(hog, "get_history", &format!(r#"{{"room_id":{room}}}"#));
    }
    let closed: Vec<(u32, CloseCode)> = rig.closed.iter().map(|(slot, code)| (*slot, *code)).collect();
    assert_eq!(closed, [(hog.slot, CloseCode::SlowReceiver)], "who has bytes of pushes waiting is not to blame");
}

#[test]
fn rates_of_commands_and_messages() {
    let mut rig = Rig::new(1, |limits| {
        limits.commands_per_second = 10;
        limits.commands_burst = 20;
        limits.max_messages_per_minute = 60;
        limits.messages_burst = 5;
    });
    let (ada, too) = (rig.connect(0, "ada"), rig.connect(0, "ada"));
    let room = rig.room(ada);
    let data = format!(r#"{{"room_id":{room},"content":"x"}}"#);
    let sent: Vec<String> = (0..4).map(|_| code(&rig.ask(ada, "send_message", &data)).to_owned()).collect();
    assert_eq!(sent, ["ok"; 4]);
    assert_eq!(code(&rig.ask(too, "send_message", &data)), "ok", "the fifth of this user");
    let refused = rig.ask(too, "send_message", &data);
    assert_eq!((code(&refused), &refused["data"]["retry_after_ms"]), ("RATE_LIMIT_EXCEEDED", &1000.into()));
    assert_eq!(rig.http(0, "ada", "send_message", &data).unwrap_err().code.name(), "RATE_LIMIT_EXCEEDED");
    let pings: Vec<String> = (0..30).map(|_| code(&rig.ask(ada, "ping", "{}")).to_owned()).collect();
    assert_eq!(pings.iter().filter(|code| *code == "ok").count(), 15, "five went before");
    rig.pass(1);
    assert_eq!(code(&rig.ask(ada, "send_message", &data)), "ok");
    for _ in 0..1100 {
        rig.say(ada, "ping", "{}");
    }
    assert_eq!(rig.closed[&ada.slot], CloseCode::RateLimitAbuse);
}

#[test]
fn malformed_frames_end_the_connection_and_other_mistakes_do_not() {
    let mut rig = Rig::new(1, |_| {});
    let conn = rig.connect(0, "ada");
    for _ in 0..50 {
        rig.text(conn, r#"{"type":"dance","id":1}"#);
        rig.text(conn, r#"{"type":"get_room","id":1,"data":{"room_id":-1}}"#);
    }
    for _ in 0..10 {
        rig.text(conn, "{");
    }
    assert!(rig.closed.is_empty());
    rig.text(conn, "{");
    assert_eq!(rig.closed[&conn.slot], CloseCode::Malformed);
    let kinds = kinds(&rig.frames(conn));
    assert_eq!(kinds.iter().filter(|kind| *kind == "INVALID_JSON").count(), 11);
}

#[test]
fn full_queues_refuse_before_anything_happens() {
    let mut rig = Rig::new(1, |limits| limits.journal_ops_max = 3);
    let ada = rig.connect(0, "ada");
    let room = rig.room(ada);
    rig.hold_batches = true;
    let ids: Vec<u64> =
        (0..5).map(|_| rig.say(ada, "send_message", &format!(r#"{{"room_id":{room},"content":"x"}}"#))).collect();
    rig.hold_batches = false;
    rig.run();
    let codes: Vec<String> = ids.iter().map(|id| code(&rig.reply(ada, *id).unwrap()).to_owned()).collect();
    assert_eq!(&codes[..3], ["ok", "ok", "ok"]);
    assert_eq!(rig.store.head(veza_engine::id::RoomId(room)) as usize, codes.iter().filter(|c| *c == "ok").count());
    assert!(rig.shards[0].is_quiet());
    let stats = rig.shards[0].stats();
    assert_eq!((stats.journal_ops, stats.journal_bytes), (0, 0));
}

/// Errors that are known before a command gets to its room wait for the answers of what was sent to it before.
#[test]
fn a_refused_command_is_answered_in_its_turn() {
    for (shards, limited) in [(1, false), (2, false), (1, true), (2, true)] {
        let mut rig = Rig::new(shards, |limits| {
            if limited {
                (limits.max_messages_per_minute, limits.messages_burst) = (60, 2);
            }
        });
        let (ada, bob) = (rig.connect(0, "ada"), rig.connect(shards as usize - 1, "bob"));
        let room = rig.room(ada);
        rig.ask(bob, "join_room", &format!(r#"{{"room_id":{room}}}"#));
        let dm = rig.ask(ada, "create_dm", r#"{"user_id":2}"#)["data"]["conversation_id"].as_u64().unwrap();
        for (conn, place) in [(ada, room), (bob, room), (bob, dm)] {
            rig.pass(5); // the rate allows a burst again
            rig.frames(conn);
            rig.hold_batches = true;
            let ids: Vec<u64> = ["x", "y", if limited { "z" } else { "" }]
                .map(|content| {
                    rig.say(conn, "send_message", &format!(r#"{{"room_id":{place},"content":"{content}"}}"#))
                })
                .into();
            rig.hold_batches = false;
            rig.run();
            let answers: Vec<(u64, String)> = rig
                .frames(conn)
                .iter()
                .filter_map(|frame| Some((frame["id"].as_u64()?, code(frame).to_owned())))
                .collect();
            let refusal = if limited { "RATE_LIMIT_EXCEEDED" } else { "INVALID_REQUEST" };
            let expected = ids.into_iter().zip(["ok", "ok", refusal].map(str::to_owned));
            assert_eq!(answers, expected.collect::<Vec<_>>(), "{shards} shards, room {place}");
        }
    }
}
