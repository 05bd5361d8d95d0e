//! A returning client gets everything since, in order, or is told that it does not.

use serde_json::{Value, json};
use veza_loadtest::client::Client;
use veza_loadtest::server::{Options, Server};
use veza_loadtest::testing::{fresh, narrow, number, room, room_of, standard, user};

/// A room with `count` messages, its owner, and a member's token.
async fn talked(server: &Server, count: u64) -> (Client, String, u64) {
    let mut owner = user(server).await;
    let token = server.token(&fresh("returning"));
    let mut member = Client::connect(server.addr(), &token).await.expect("in");
    let room = room_of(&mut [&mut owner, &mut member]).await;
    for n in 1..=count {
        assert_eq!(owner.say(room, &format!("m{n}")).await, n);
    }
    (owner, token, room)
}

async fn expect_messages(client: &mut Client, seqs: std::ops::RangeInclusive<u64>) {
    for seq in seqs {
        assert_eq!(client.hear().await, (seq, format!("m{seq}")));
    }
}

#[tokio::test]
async fn resume_subscribe_and_join_replay_what_was_missed_and_go_live() {
    let server = standard();
    let (mut owner, token, room) = talked(server, 12).await;
    for (command, last) in [("resume", 5), ("subscribe", 0), ("join_room", 11), ("subscribe", 12)] {
        let head = number(&owner.ok("get_room", json!({"room_id": room})).await["room"], "seq");
        let mut back = Client::connect(server.addr(), &token).await.expect("in");
        let point = json!({"room_id": room, "last_seq": last});
        let data = if command == "resume" { json!({"rooms": [point]}) } else { point };
        let reply = back.ok(command, data).await;
        let answer = if command == "resume" { &reply["rooms"][0] } else { &reply };
        assert_eq!(
            (&answer["recovered"], number(answer, "seq"), number(answer, "replayed")),
            (&json!(true), head, head - last),
            "{command}: {reply}"
        );
        expect_messages(&mut back, last + 1..=head).await;
        owner.say(room, &format!("m{}", head + 1)).await;
        expect_messages(&mut back, head + 1..=head + 1).await;
        assert_eq!(back.pushes_so_far().await.expect("alive").iter().filter(|push| push.kind == "message").count(), 0);
    }
}

#[tokio::test]
async fn many_rooms_are_resumed_at_once() {
    let server = standard();
    let mut owner = user(server).await;
    let mut points = Vec::new();
    for n in 0..8 {
        let room = room(&mut owner).await;
        for _ in 0..n {
            owner.say(room, "x").await;
        }
        points.push(json!({"room_id": room, "last_seq": 0}));
    }
    owner.pushes_so_far().await.expect("alive");
    let reply = owner.ok("resume", json!({"rooms": points})).await;
    let answers = reply["rooms"].as_array().expect("rooms").clone();
    for (n, (answer, point)) in answers.iter().zip(&points).enumerate() {
        assert_eq!((&answer["room_id"], number(answer, "replayed")), (&point["room_id"], n as u64));
    }
    let mut seen = std::collections::HashMap::<u64, u64>::new();
    for _ in 0..(0..8).sum::<u64>() {
        let push = owner.push_of("message").await.expect("alive");
        let last = seen.entry(number(&push.data, "room_id")).or_default();
        *last += 1;
        assert_eq!(number(&push.data, "seq"), *last);
    }
}

#[tokio::test]
async fn what_cannot_be_recovered_is_said_with_its_reason_and_live_events_follow() {
    // This server replays at most two events.
    let server = narrow();
    let (owner, token, room) = talked(server, 3).await;
    let mut stranger = user(server).await;
    let private =
        stranger.ok("create_room", json!({"name": "p", "visibility": "private"})).await["room"]["room_id"].clone();
    let mut back = Client::connect(server.addr(), &token).await.expect("in");
    let epoch = back.ok("get_room", json!({"room_id": room})).await["room"]["epoch"].clone();
    let wrong_epoch = number(&json!({"epoch": epoch}), "epoch") ^ 1;
    for (point, reason) in [
        (json!({"room_id": 9_007_199_254_740_000_u64, "last_seq": 0}), "not_found"),
        (json!({"room_id": private, "last_seq": 0}), "not_found"),
        (json!({"room_id": room, "last_seq": 4}), "ahead"),
        (json!({"room_id": room, "last_seq": 0}), "too_far"),
        (json!({"room_id": room, "last_seq": 2, "epoch": wrong_epoch}), "epoch"),
    ] {
        let reply = back.ok("resume", json!({"rooms": [point]})).await;
        let answer = &reply["rooms"][0];
        let found = (&answer["recovered"], &answer["reason"], number(answer, "replayed"));
        assert_eq!(found, (&json!(false), &json!(reason), 0), "{point}");
        let head = if reason == "not_found" { continue } else { 3 };
        assert_eq!((number(answer, "seq"), &answer["epoch"]), (head, &epoch), "{point}");
    }
    let good = back.ok("resume", json!({"rooms": [{"room_id": room, "last_seq": 1, "epoch": epoch}]})).await;
    assert_eq!(good["rooms"][0]["recovered"], true);
    expect_messages(&mut back, 2..=3).await;
    // Not recovered, but live from `seq` on: another member speaks, the owner has used up the burst.
    back.ok("resume", json!({"rooms": [{"room_id": room, "last_seq": 0}]})).await;
    back.pushes_so_far().await.expect("alive");
    let mut other = user(server).await;
    other.ok("join_room", json!({"room_id": room})).await;
    other.say(room, "m4").await;
    expect_messages(&mut back, 4..=4).await;
    owner.close(1000).await.expect("an end");
}

/// On a room that is subscribed already, resume begins a new subscription: nothing comes twice.
#[tokio::test]
async fn a_second_resume_replaces_the_first() {
    let server = standard();
    let (mut owner, token, room) = talked(server, 4).await;
    let mut back = Client::connect(server.addr(), &token).await.expect("in");
    for last in [0, 2] {
        back.ok("resume", json!({"rooms": [{"room_id": room, "last_seq": last}]})).await;
        expect_messages(&mut back, last + 1..=4).await;
    }
    owner.say(room, "m5").await;
    expect_messages(&mut back, 5..=5).await;
    let more: Vec<Value> =
        back.pushes_so_far().await.expect("alive").into_iter().map(|push| json!(push.kind)).collect();
    assert!(!more.contains(&json!("message")), "{more:?}");
}

#[tokio::test]
async fn it_works_after_a_crash_and_from_the_database() {
    let mut server = Server::start(Options::unlimited());
    // More than any server keeps in memory.
    let (_owner, token, room) = talked(&server, 700).await;
    server.kill9();
    server.restart();
    let mut back = Client::connect(server.addr(), &token).await.expect("in");
    let reply = back.ok("resume", json!({"rooms": [{"room_id": room, "last_seq": 0}]})).await;
    assert_eq!((&reply["rooms"][0]["recovered"], number(&reply["rooms"][0], "replayed")), (&json!(true), 700));
    expect_messages(&mut back, 1..=700).await;
}
