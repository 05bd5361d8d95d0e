//! Rooms: creation, membership, order, replay, conflicts.

use serde_json::Value;
use veza_engine::Input;
use veza_engine::id::{RoomId, ShardId, UserId};
use veza_engine::store::{Batch, BatchOutcome, LoadError, Writer};

use crate::rig::{Rig, code, kinds};

fn about(room: u64) -> String {
    format!(r#"{{"room_id":{room}}}"#)
}

fn message(room: u64, content: &str) -> String {
    format!(r#"{{"room_id":{room},"content":"{content}"}}"#)
}

fn seqs(frames: &[Value]) -> Vec<u64> {
    frames.iter().filter(|f| f["type"] == "message").map(|f| f["data"]["seq"].as_u64().unwrap()).collect()
}

#[test]
fn a_creation_is_answered_though_somebody_looked_for_the_room_before() {
    let mut rig = Rig::new(1, |_| {});
    let (ada, eve) = (rig.connect(0, "ada"), rig.connect(0, "eve"));
    rig.hold_batches = true;
    let creation = rig.say(ada, "create_room", r#"{"name":"new"}"#);
    rig.hold_loads = true;
    let guess = rig.say(eve, "get_room", r#"{"room_id":1}"#);
    // The query reads before the room is committed, and is answered after it.
    let (shard, id, load) = rig.loads.pop_front().expect("a query for the room");
    let early = rig.store.load(&load);
    rig.hold_batches = false;
    rig.run();
    rig.loaded(shard, id, early);
    rig.hold_loads = false;
    rig.run();
    assert_eq!(kinds(&[rig.reply(ada, creation).unwrap()]), ["room_created"]);
    assert_eq!(kinds(&[rig.reply(eve, guess).unwrap()]), ["room"]);
}

#[test]
fn creations_beyond_one_block_of_ids_wait_for_the_next() {
    // The rig's clock stands still: nothing may wait for more to come.
    let mut rig = Rig::new(1, |limits| limits.gather_us = 0);
    let conns: Vec<_> = (0..200).map(|user| rig.connect(0, &format!("user{user}"))).collect();
    rig.hold_loads = true;
    let asked: Vec<_> = conns.iter().map(|conn| (*conn, rig.say(*conn, "create_room", r#"{"name":"new"}"#))).collect();
    // The first block runs out while what all of them wait for comes in.
    rig.hold_loads = false;
    rig.run();
    for (conn, id) in asked {
        assert_eq!(kinds(&[rig.reply(conn, id).unwrap()]), ["room_created"]);
    }
}

#[test]
fn a_storm_of_joins_pushes_the_count_once_a_second() {
    let mut rig = Rig::new(1, |limits| limits.presence_single_max = 2);
    let conns: Vec<_> = (0..20).map(|user| rig.connect(0, &format!("user{user}"))).collect();
    let room = rig.room(conns[0]);
    for conn in &conns[1..] {
        rig.ask(*conn, "join_room", &about(room));
    }
    rig.frames(conns[0]);
    rig.pass(2);
    let frames = rig.frames(conns[0]);
    assert_eq!(kinds(&frames), ["online_count"]);
    assert_eq!(frames[0]["data"]["online_count"], 20);
}

#[test]
fn a_page_of_the_subscription_before_does_not_come_before_the_reply() {
    let mut rig = Rig::new(2, |limits| limits.ring_events = 2);
    // Connection and user on shard 0: only the answer of the room on shard 1 is held up below.
    let on_0 = (1..).find(|id| UserId(*id).home(2) == ShardId(0)).unwrap();
    for user in 1..on_0 {
        rig.connect(0, &format!("user{user}"));
    }
    let ada = rig.connect(0, "ada");
    let rooms: Vec<u64> = (0..10).map(|_| rig.room(ada)).collect();
    let on = |home| rooms.iter().copied().find(|id| RoomId(*id).home(2) == ShardId(home)).unwrap();
    let (here, there) = (on(0), on(1));
    for n in 0..10 {
        rig.ask(ada, "send_message", &message(here, &format!("m{n}")));
    }
    rig.ask(ada, "unsubscribe", &about(here));
    rig.frames(ada);
    // A page is on its way from the store when a second resume takes the room anew, and waits for another room.
    rig.hold_loads = true;
    rig.say(ada, "subscribe", &format!(r#"{{"room_id":{here},"last_seq":0}}"#));
    assert_eq!(rig.loads.len(), 1, "a page is read");
    rig.frames(ada);
    rig.hold_link = Some((1, 0));
    let resume = rig.say(
        ada,
        "resume",
        &format!(r#"{{"rooms":[{{"room_id":{here},"last_seq":0}},{{"room_id":{there},"last_seq":0}}]}}"#),
    );
    rig.hold_loads = false;
    rig.run();
    assert_eq!(kinds(&rig.frames(ada)), Vec::<String>::new(), "the replay waits for the reply");
    rig.hold_link = None;
    rig.run();
    let frames = rig.frames(ada);
    assert_eq!(frames[0]["id"], resume);
    assert_eq!(seqs(&frames), (1..=10).collect::<Vec<_>>());
}

/// Another writer's event in a room of ada's, found by bob's sending; the room is read again. Gives the sending's id.
fn in_conflict(rig: &mut Rig, room: u64, conn: veza_engine::id::ConnId, kind: &str, data: &str) -> u64 {
    rig.hold_batches = true;
    let id = rig.say(conn, kind, data);
    let (shard, batch) = rig.batches.pop_front().expect("a batch");
    rig.hold_loads = true;
    let conflict = BatchOutcome::Conflict { stale: vec![RoomId(room)], duplicates: Vec::new() };
    rig.stored(shard, batch.writer, conflict);
    rig.hold_batches = false;
    rig.run();
    id
}

#[test]
fn a_change_under_way_outlives_a_conflict() {
    let mut rig = Rig::new(1, |_| {});
    let (ada, bob) = (rig.connect(0, "ada"), rig.connect(0, "bob"));
    let room = rig.room(ada);
    rig.ask(bob, "join_room", &about(room));
    for n in 0..3 {
        rig.ask(ada, "send_message", &message(room, &format!("m{n}")));
    }
    let read = in_conflict(&mut rig, room, bob, "mark_read", &format!(r#"{{"room_id":{room},"seq":2}}"#));
    rig.hold_loads = false;
    rig.run();
    let reply = rig.reply(bob, read).unwrap();
    assert_eq!(reply["data"], serde_json::json!({"room_id": room, "seq": 2, "unread_count": 1}), "{reply}");
}

#[test]
fn what_waits_in_a_room_that_is_read_again_is_answered_in_time() {
    let mut rig = Rig::new(1, |_| {});
    let ada = rig.connect(0, "ada");
    let room = rig.room(ada);
    let sending = in_conflict(&mut rig, room, ada, "send_message", &message(room, "hello"));
    let mut queries = 0;
    for _ in 0..100 {
        while let Some((shard, id, _)) = rig.loads.pop_front() {
            queries += 1;
            rig.loaded(shard, id, Err(LoadError::Unavailable));
            rig.run();
            assert!(queries < 1000, "the store is asked without end");
        }
        if let Some(reply) = rig.reply(ada, sending) {
            assert_eq!(code(&reply), "STORE_UNAVAILABLE");
            rig.hold_loads = false;
            rig.pass(1);
            assert_eq!(seqs(&rig.frames(ada)), [1], "it goes on when the store is back");
            return;
        }
        rig.pass(1);
    }
    panic!("never answered");
}

#[test]
fn around_gives_no_more_than_the_limit() {
    let mut rig = Rig::new(1, |_| {});
    let ada = rig.connect(0, "ada");
    let room = rig.room(ada);
    for n in 1..=9 {
        rig.ask(ada, "send_message", &message(room, &format!("m{n}")));
    }
    for (limit, expected) in [(1, vec![5]), (2, vec![5, 6]), (3, vec![4, 5, 6]), (4, vec![4, 5, 6, 7])] {
        let reply = rig.ask(ada, "get_history", &format!(r#"{{"room_id":{room},"around_id":5,"limit":{limit}}}"#));
        let ids: Vec<u64> = reply["data"]["messages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|message| message["message_id"].as_u64().unwrap())
            .collect();
        assert_eq!((ids, &reply["data"]["has_more"]), (expected, &true.into()), "limit {limit}");
    }
}

#[test]
fn after_leaving_no_event_comes_not_even_of_a_replay() {
    let mut rig = Rig::new(2, |limits| limits.ring_events = 2);
    let (ada, bob, bob_too) = (rig.connect(0, "ada"), rig.connect(1, "bob"), rig.connect(0, "bob"));
    let room = rig.room(ada);
    for conn in [bob, bob_too] {
        rig.ask(conn, "join_room", &about(room));
    }
    for n in 0..10 {
        rig.ask(ada, "send_message", &message(room, &format!("m{n}")));
    }
    rig.hold_loads = true;
    rig.say(bob, "subscribe", &format!(r#"{{"room_id":{room},"last_seq":0}}"#));
    rig.frames(bob);
    rig.frames(bob_too);
    rig.ask(bob_too, "leave_room", &about(room));
    rig.hold_loads = false;
    rig.run();
    rig.ask(ada, "send_message", &message(room, "later"));
    assert_eq!(seqs(&rig.frames(bob)), Vec::<u64>::new());
    assert_eq!(seqs(&rig.frames(bob_too)), Vec::<u64>::new());
}

#[test]
fn a_repetition_is_the_first_one_again() {
    let mut rig = Rig::new(1, |limits| limits.ring_events = 2);
    let (ada, too, bob) = (rig.connect(0, "ada"), rig.connect(0, "ada"), rig.connect(0, "bob"));
    let room = rig.room(ada);
    rig.ask(bob, "join_room", &about(room));
    let data = format!(r#"{{"room_id":{room},"content":"once","client_id":"c"}}"#);
    let with_null = format!(r#"{{"room_id":{room},"content":"once","client_id":"c","metadata":null}}"#);
    rig.hold_batches = true;
    let ids = [rig.say(ada, "send_message", &data), rig.say(too, "send_message", &with_null)];
    let wrong = rig.say(too, "send_message", &data.replace("once", "twice"));
    rig.hold_batches = false;
    rig.run();
    let (first, second) = (rig.reply(ada, ids[0]).unwrap(), rig.reply(too, ids[1]).unwrap());
    assert_eq!((&first["data"]["duplicate"], &second["data"]["duplicate"]), (&false.into(), &true.into()));
    assert_eq!(first["data"]["seq"], second["data"]["seq"]);
    assert_eq!(code(&rig.reply(too, wrong).unwrap()), "IDEMPOTENCY_CONFLICT");
    // Forgotten here, found by the store.
    for n in 0..10 {
        rig.ask(ada, "send_message", &format!(r#"{{"room_id":{room},"content":"m","client_id":"m{n}"}}"#));
    }
    let late = rig.ask(ada, "send_message", &data);
    assert_eq!((&late["data"]["duplicate"], &late["data"]["seq"]), (&true.into(), &1.into()), "{late}");
    assert_eq!(code(&rig.ask(too, "send_message", &data.replace("once", "twice"))), "IDEMPOTENCY_CONFLICT");
    assert_eq!(code(&rig.ask(bob, "send_message", &data)), "ok", "another user's client id is another");
    assert_eq!(rig.store.head(RoomId(room)), 12);
}

#[test]
fn a_repetition_is_the_first_one_again_whatever_is_allowed_by_now() {
    for (command, more) in [
        ("update_room", r#","archived":true"#),
        ("update_room", r#","slow_mode_s":1000"#),
        ("sanction_user", r#","user_id":2,"kind":"mute","reason":"x""#),
        ("kick_member", r#","user_id":2"#),
        ("delete_message", r#","message_id":1"#),
    ] {
        let mut rig = Rig::new(2, |limits| limits.ring_events = 2);
        let (ada, bob) = (rig.connect(0, "ada"), rig.connect(1, "bob"));
        let room = rig.room(ada);
        rig.ask(bob, "join_room", &about(room));
        rig.ask(ada, "send_message", &message(room, "root"));
        let data = format!(r#"{{"room_id":{room},"content":"once","parent_id":1,"client_id":"c"}}"#);
        assert_eq!(code(&rig.ask(bob, "send_message", &data)), "ok");
        for _ in 0..10 {
            rig.ask(ada, "send_message", &format!(r#"{{"room_id":{room},"content":"m"}}"#));
        }
        rig.ask(bob, "send_message", &format!(r#"{{"room_id":{room},"content":"m","client_id":"newest"}}"#));
        rig.ask(bob, "send_message", &format!(r#"{{"room_id":{room},"content":"m","client_id":"newer"}}"#));
        rig.ask(bob, "send_message", &format!(r#"{{"room_id":{room},"content":"m","client_id":"new"}}"#));
        assert_eq!(code(&rig.ask(ada, command, &format!(r#"{{"room_id":{room}{more}}}"#))), "ok", "{command}");
        let again = rig.ask(bob, "send_message", &data);
        assert_eq!(
            (&again["data"]["duplicate"], &again["data"]["seq"]),
            (&true.into(), &2.into()),
            "{command}: {again}"
        );
        let other = rig.ask(bob, "send_message", &data.replace("once", "twice"));
        assert_eq!(code(&other), "IDEMPOTENCY_CONFLICT", "{command}");
        let fresh = rig.ask(bob, "send_message", &data.replace(r#""c""#, r#""d""#));
        assert!(!["ok", "IDEMPOTENCY_CONFLICT"].contains(&code(&fresh)), "{command}: {fresh}");
    }
}

#[test]
fn an_own_batch_that_came_back_twice_counts_once() {
    let mut rig = Rig::new(1, |_| {});
    let ada = rig.connect(0, "ada");
    let room = rig.room(ada);
    rig.hold_batches = true;
    let id = rig.say(ada, "send_message", &message(room, "hello"));
    let (shard, batch): (usize, Box<Batch>) = rig.batches.pop_front().unwrap();
    let outcome = rig.store.apply(&batch);
    let foreign = Writer { epoch: 99, ..batch.writer };
    for writer in [foreign, batch.writer, batch.writer] {
        rig.stored(shard, writer, outcome.clone());
        rig.run();
    }
    assert_eq!(code(&rig.reply(ada, id).unwrap()), "ok");
    assert_eq!(seqs(&rig.frames(ada)), [1]);
    assert!(rig.shards[0].is_quiet());
}

#[test]
fn unread_counts_are_those_of_others() {
    let mut rig = Rig::new(1, |_| {});
    let (ada, bob) = (rig.connect(0, "ada"), rig.connect(0, "bob"));
    let room = rig.room(ada);
    rig.ask(ada, "send_message", &message(room, "before"));
    let joined = rig.ask(bob, "join_room", &about(room));
    assert_eq!((&joined["data"]["last_read_seq"], &joined["data"]["unread_count"]), (&1.into(), &0.into()));
    let unread = |rig: &mut Rig, conn| {
        let reply = rig.ask(conn, "get_unread", "{}");
        let row = &reply["data"]["rooms"][0];
        (row["last_read_seq"].as_u64().unwrap(), row["unread_count"].as_u64().unwrap())
    };
    for n in 0..4 {
        rig.ask(ada, "send_message", &message(room, &format!("m{n}")));
    }
    assert_eq!((unread(&mut rig, ada), unread(&mut rig, bob)), ((5, 0), (1, 4)));
    for (seq, expected) in [(3, (3, 2)), (2, (3, 2)), (900, (5, 0))] {
        let reply = rig.ask(bob, "mark_read", &format!(r#"{{"room_id":{room},"seq":{seq}}}"#));
        let told = (reply["data"]["seq"].as_u64().unwrap(), reply["data"]["unread_count"].as_u64().unwrap());
        assert_eq!((told, unread(&mut rig, bob)), (expected, expected), "after {seq}");
    }
    rig.ask(bob, "send_message", &message(room, "mine"));
    assert_eq!((unread(&mut rig, ada), unread(&mut rig, bob)), ((5, 1), (6, 0)));
}

#[test]
fn a_failed_resume_leaves_no_subscription_and_takes_none_away() {
    let mut rig = Rig::new(2, |_| {});
    let ada = rig.connect(0, "ada");
    let rooms: Vec<u64> = (0..8).map(|_| rig.room(ada)).collect();
    let foreign = |home| rooms.iter().copied().find(|id| RoomId(*id).home(2) == ShardId(home)).unwrap();
    let (kept, fresh) = (foreign(0), foreign(1));
    rig.ask(ada, "unsubscribe", &about(fresh));
    rig.hold_loads = true;
    let data = format!(
        r#"{{"rooms":[{{"room_id":{kept},"last_seq":0}},{{"room_id":{fresh},"last_seq":0}},{{"room_id":999,"last_seq":0}}]}}"#
    );
    let resume = rig.say(ada, "resume", &data);
    let (shard, id, _) = rig.loads.pop_front().unwrap();
    // What is given up now must not undo what is taken next.
    rig.loaded(shard, id, Err(LoadError::Unavailable));
    rig.hold_loads = false;
    rig.run();
    assert_eq!(code(&rig.reply(ada, resume).unwrap()), "STORE_UNAVAILABLE");
    for (room, expected) in [(kept, vec![1]), (fresh, vec![])] {
        rig.frames(ada);
        rig.ask(ada, "send_message", &message(room, "hello"));
        assert_eq!(seqs(&rig.frames(ada)), expected, "room {room}");
    }
    let reply = rig.ask(ada, "subscribe", &format!(r#"{{"room_id":{fresh},"last_seq":0}}"#));
    assert_eq!(code(&reply), "ok");
    rig.ask(ada, "send_message", &message(fresh, "hello"));
    assert_eq!(seqs(&rig.frames(ada)), [1, 2]);
}

#[test]
fn conversations_reach_every_connection_once_and_after_the_reply() {
    let mut rig = Rig::new(2, |_| {});
    let (ada, bob, bob_too) = (rig.connect(0, "ada"), rig.connect(1, "bob"), rig.connect(0, "bob"));
    let bob_id = (1..9).find(|id| {
        rig.http(0, "bob", "get_user", &format!(r#"{{"user_id":{id}}}"#)).is_ok()
            && rig.http(0, "bob", "get_user", &format!(r#"{{"user_id":{id}}}"#)).unwrap()["username"] == "bob"
    });
    let bob_id = UserId(bob_id.unwrap());
    let dm = rig.ask(ada, "create_dm", &format!(r#"{{"user_id":{}}}"#, bob_id.0));
    let dm = dm["data"]["conversation_id"].as_u64().unwrap();
    for conn in [ada, bob, bob_too] {
        assert_eq!(kinds(&rig.frames(conn)), ["dm_created"]);
    }
    rig.ask(bob, "refresh_token", r#"{"token":"bob"}"#);
    let id = rig.say(ada, "send_dm", &format!(r#"{{"conversation_id":{dm},"content":"hi"}}"#));
    let frames = rig.frames(ada);
    assert_eq!((kinds(&frames), &frames[0]["id"]), (vec!["message_sent".into(), "message".into()], &id.into()));
    for conn in [bob, bob_too] {
        assert_eq!(kinds(&rig.frames(conn)), ["message", "notification"]);
    }
    let again = rig.ask(bob, "create_dm", &format!(r#"{{"user_ids":[{}]}}"#, bob_id.0));
    assert_eq!(code(&again), "INVALID_REQUEST", "a conversation with oneself");
    rig.input(1, Input::Closed { conn: bob, code: None });
    rig.say(ada, "send_dm", &format!(r#"{{"conversation_id":{dm},"content":"hi"}}"#));
    assert_eq!(kinds(&rig.frames(bob_too)), ["message", "notification"]);
}
