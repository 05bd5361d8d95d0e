//! Membership, visibility, the atomic join, unread counts, and the ephemeral pushes around them.

use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use veza_loadtest::client::Client;
use veza_loadtest::http;
use veza_loadtest::testing::{fresh, number, room, room_of, shape, standard, user};

/// Live events begin at the very next `seq` after the join's, and end with the leaving: under constant traffic.
#[tokio::test]
async fn join_and_leave_are_atomic() {
    let server = standard();
    let (mut writer, mut joiner) = (user(server).await, user(server).await);
    let room = room(&mut writer).await;
    let done = Arc::new(AtomicBool::new(false));
    let writing = tokio::spawn({
        let done = done.clone();
        async move {
            while !done.load(Ordering::Relaxed) {
                for _ in 0..8 {
                    writer.send("send_message", json!({"room_id": room, "content": "x"})).await.expect("sent");
                }
                for _ in 0..8 {
                    writer.any_reply().await.expect("a reply");
                }
                while writer.pushes_so_far().await.expect("alive").len() > 1000 {}
            }
        }
    });
    for round in 0..30 {
        let enter = if round % 3 == 2 { "subscribe" } else { "join_room" };
        let joined = joiner.ok(enter, json!({"room_id": room})).await;
        assert_eq!(number(&joined, "replayed"), 0, "nothing was asked for");
        for next in 1..=5 {
            assert_eq!(joiner.hear().await.0, number(&joined, "seq") + next);
        }
        let leave = if round % 3 == 0 { "leave_room" } else { "unsubscribe" };
        joiner.ok(leave, json!({"room_id": room})).await;
        // What came before the reply is of the subscription; nothing of the room may come after it.
        joiner.pushes_so_far().await.expect("alive");
        let after = joiner.pushes_so_far().await.expect("alive");
        assert!(after.iter().all(|push| push.data["room_id"] != room), "after {leave}: {after:?}");
        if leave == "leave_room" {
            assert_eq!(joiner.err("subscribe", json!({"room_id": room})).await, "NOT_A_MEMBER");
            joiner.ok("join_room", json!({"room_id": room})).await;
            joiner.ok("unsubscribe", json!({"room_id": room})).await;
            joiner.pushes_so_far().await.expect("alive");
        }
    }
    done.store(true, Ordering::Relaxed);
    writing.await.expect("the writer is well");
}

/// Leaving ends every subscription of the user, on every connection.
#[tokio::test]
async fn leaving_silences_all_connections_of_the_user() {
    let server = standard();
    let token = server.token(&fresh("twice"));
    let (mut owner, mut first) = (user(server).await, Client::connect(server.addr(), &token).await.expect("in"));
    let mut second = Client::connect(server.addr(), &token).await.expect("in");
    let room = room_of(&mut [&mut owner, &mut first]).await;
    second.ok("subscribe", json!({"room_id": room})).await;
    first.ok("leave_room", json!({"room_id": room})).await;
    owner.say(room, "unheard").await;
    for client in [&mut first, &mut second] {
        assert_eq!(client.err("get_history", json!({"room_id": room})).await, "NOT_A_MEMBER");
        let pushes = client.pushes_so_far().await.expect("alive");
        assert!(pushes.iter().all(|push| push.kind != "message"), "{pushes:?}");
    }
}

/// A second join, a second leave: no error, no change.
#[tokio::test]
async fn what_changes_nothing_succeeds() {
    let (mut owner, mut member) = (user(standard()).await, user(standard()).await);
    let room = room_of(&mut [&mut owner, &mut member]).await;
    owner.say(room, "x").await;
    let joined = member.ok("join_room", json!({"room_id": room})).await;
    assert_eq!((number(&joined, "seq"), number(&joined["room"], "member_count")), (1, 2));
    member.ok("unsubscribe", json!({"room_id": room})).await;
    member.ok("unsubscribe", json!({"room_id": room})).await;
    let read = member.ok("mark_read", json!({"room_id": room, "seq": 1})).await;
    assert_eq!((number(&read, "seq"), number(&read, "unread_count")), (1, 0));
    let back = member.ok("mark_read", json!({"room_id": room, "seq": 0})).await;
    assert_eq!(number(&back, "seq"), 1, "it only advances");
    let beyond = member.ok("mark_read", json!({"room_id": room, "seq": 1_000_000})).await;
    assert_eq!(number(&beyond, "seq"), 1, "and not beyond the head");
}

/// Every verb on a private room answers a stranger exactly as on a room that does not exist.
#[tokio::test]
async fn a_private_room_is_as_absent_to_strangers() {
    let server = standard();
    let (mut owner, mut stranger) = (user(server).await, user(server).await);
    let token = server.token(&fresh("stranger"));
    let private = owner.ok("create_room", json!({"name": "secret", "visibility": "private"})).await;
    let private = number(&private["room"], "room_id");
    owner.say(private, "hidden").await;
    let dm = owner.ok("create_dm", json!({"user_id": user(server).await.user_id()})).await;
    let dm = number(&dm, "conversation_id");
    let absent = 9_007_199_254_740_000_u64;
    for command in ROOM_COMMANDS {
        let data = |room: u64| {
            let text = command.1.replace("\"$room\"", &room.to_string());
            serde_json::from_str::<Value>(&text).expect("JSON")
        };
        let expected = stranger.refusal(command.0, data(absent)).await;
        assert_eq!(expected["code"], "ROOM_NOT_FOUND", "{command:?}");
        for room in [private, dm] {
            assert_eq!(stranger.refusal(command.0, data(room)).await, expected, "{command:?}");
            if !["subscribe", "unsubscribe"].contains(&command.0) {
                let there = http::command(server.addr(), &token, command.0, &data(room)).await.expect("an answer");
                let nowhere = http::command(server.addr(), &token, command.0, &data(absent)).await.expect("an answer");
                assert_eq!((there.status, there.json()), (404, nowhere.json()), "{command:?}");
            }
        }
    }
    let listed = stranger.ok("list_rooms", json!({"query": "secret", "limit": 100})).await;
    assert!(!listed.to_string().contains(&format!("\"room_id\":{private},")), "{listed}");
}

const ROOM_COMMANDS: [(&str, &str); 11] = [
    ("get_room", r#"{"room_id":"$room"}"#),
    ("join_room", r#"{"room_id":"$room"}"#),
    ("leave_room", r#"{"room_id":"$room"}"#),
    ("subscribe", r#"{"room_id":"$room"}"#),
    ("unsubscribe", r#"{"room_id":"$room"}"#),
    ("get_members", r#"{"room_id":"$room"}"#),
    ("mark_read", r#"{"room_id":"$room","seq":1}"#),
    ("send_message", r#"{"room_id":"$room","content":"x"}"#),
    ("get_message", r#"{"room_id":"$room","message_id":1}"#),
    ("get_history", r#"{"room_id":"$room"}"#),
    ("send_dm", r#"{"conversation_id":"$room","content":"x"}"#),
];

/// Strangers to a public room may look and join; everything else is NOT_A_MEMBER.
#[tokio::test]
async fn a_public_room_tells_strangers_that_they_are_no_members() {
    let (mut owner, mut stranger) = (user(standard()).await, user(standard()).await);
    let room = room(&mut owner).await;
    for (command, data) in ROOM_COMMANDS {
        if ["get_room", "join_room", "leave_room", "unsubscribe", "send_dm"].contains(&command) {
            continue;
        }
        let data = serde_json::from_str(&data.replace("\"$room\"", &room.to_string())).expect("JSON");
        assert_eq!(stranger.err(command, data).await, "NOT_A_MEMBER", "{command}");
    }
    stranger.ok("get_room", json!({"room_id": room})).await;
}

#[tokio::test]
async fn unread_counts_are_exact() {
    let (mut owner, mut reader) = (user(standard()).await, user(standard()).await);
    let room = room(&mut owner).await;
    for _ in 0..3 {
        owner.say(room, "before the join").await;
    }
    let joined = reader.ok("join_room", json!({"room_id": room})).await;
    assert_eq!((number(&joined, "last_read_seq"), number(&joined, "unread_count")), (3, 0), "a joiner starts read");
    let unread = async |client: &mut Client| {
        let all = client.ok("get_unread", json!({})).await;
        let rooms = all["rooms"].as_array().expect("rooms");
        let mine = rooms.iter().find(|entry| entry["room_id"] == room).expect("this room").clone();
        (number(&mine, "last_seq"), number(&mine, "last_read_seq"), number(&mine, "unread_count"))
    };
    for _ in 0..5 {
        owner.say(room, "news").await;
    }
    assert_eq!(unread(&mut reader).await, (8, 3, 5));
    assert_eq!(unread(&mut owner).await, (8, 8, 0), "sending marks as read");
    let marked = reader.ok("mark_read", json!({"room_id": room, "seq": 6})).await;
    assert_eq!((number(&marked, "seq"), number(&marked, "unread_count")), (6, 2));
    assert_eq!(unread(&mut reader).await, (8, 6, 2));
    reader.say(room, "mine").await;
    assert_eq!(unread(&mut reader).await, (9, 9, 0));
    assert_eq!(unread(&mut owner).await, (9, 8, 1), "only messages of others count");
}

/// `read`, `member_joined` and `member_left` reach the others of a small room.
#[tokio::test]
async fn small_rooms_see_who_comes_reads_and_goes() {
    let server = standard();
    let (mut owner, mut member) = (user(server).await, user(server).await);
    let room = room(&mut owner).await;
    owner.say(room, "x").await;
    member.ok("join_room", json!({"room_id": room})).await;
    let joined = owner.push_of("member_joined").await.expect("alive").data;
    shape(&joined, "room_id user_id username");
    assert_eq!((number(&joined, "room_id"), number(&joined, "user_id")), (room, member.user_id()));
    owner.say(room, "y").await;
    member.ok("mark_read", json!({"room_id": room, "seq": 2})).await;
    let read = owner.push_of("read").await.expect("alive").data;
    shape(&read, "room_id user_id seq");
    assert_eq!((number(&read, "user_id"), number(&read, "seq")), (member.user_id(), 2));
    let member_id = member.user_id();
    member.ok("leave_room", json!({"room_id": room})).await;
    let left = owner.push_of("member_left").await.expect("alive").data;
    shape(&left, "room_id user_id username");
    assert_eq!(number(&left, "user_id"), member_id);
}

/// Reads every page of a listing: the members named by `id`, in order.
async fn pages(client: &mut Client, command: &str, data: Value, list: &str, id: &str) -> Vec<u64> {
    let (mut found, mut cursor) = (Vec::new(), Value::Null);
    loop {
        let mut data = data.clone();
        data["cursor"] = cursor;
        let page = client.ok(command, data).await;
        let entries = page[list].as_array().expect("a list");
        found.extend(entries.iter().map(|entry| number(entry, id)));
        cursor = page["next_cursor"].clone();
        if cursor.is_null() {
            return found;
        }
        assert!(cursor.is_string() && !entries.is_empty(), "{page}");
    }
}

#[tokio::test]
async fn listings_are_paged_without_hole_or_repetition() {
    let server = standard();
    let mut me = user(server).await;
    let (label, mut rooms, mut users) = (fresh("Paged"), Vec::new(), vec![me.user_id()]);
    for n in 0..7 {
        let created = me.ok("create_room", json!({"name": format!("{label} {n}")})).await;
        rooms.push(number(&created["room"], "room_id"));
    }
    for n in 0..5 {
        let name = format!("{label}.{n}");
        let token = veza_loadtest::token::named(veza_loadtest::server::SECRET, &fresh("paged"), &name);
        let mut other = Client::connect(server.addr(), &token).await.expect("in");
        other.ok("join_room", json!({"room_id": rooms[0]})).await;
        users.push(other.user_id());
    }
    let sorted = |mut ids: Vec<u64>| {
        ids.sort_unstable();
        ids
    };
    for (command, data, list, id, expected) in [
        ("list_rooms", json!({"query": label, "limit": 2}), "rooms", "room_id", &rooms),
        ("list_rooms", json!({"query": label.to_lowercase(), "limit": 7}), "rooms", "room_id", &rooms),
        ("list_rooms", json!({"filter": "joined", "limit": 3}), "rooms", "room_id", &rooms),
        ("get_members", json!({"room_id": rooms[0], "limit": 4}), "members", "user_id", &users),
        (
            "get_members",
            json!({"room_id": rooms[0], "role": "owner", "limit": 4}),
            "members",
            "user_id",
            &users[..1].to_vec(),
        ),
        ("list_users", json!({"query": label, "limit": 2}), "users", "user_id", &users[1..].to_vec()),
    ] {
        assert_eq!(
            sorted(pages(&mut me, command, data.clone(), list, id).await),
            sorted(expected.clone()),
            "{command} {data}"
        );
    }
}

#[tokio::test]
async fn a_room_is_what_was_asked_for() {
    let mut me = user(standard()).await;
    let asked = json!({"name": "N\u{e9}", "visibility": "private", "description": "d", "topic": "t", "max_members": 3, "slow_mode_s": 0, "retention_days": 0});
    let created = me.ok("create_room", asked.clone()).await;
    let room = &created["room"];
    for member in ["name", "visibility", "description", "topic", "max_members"] {
        assert_eq!(room[member], asked[member]);
    }
    assert_eq!((&room["kind"], number(room, "seq"), number(room, "member_count")), (&json!("room"), 0, 1));
    assert_eq!((number(room, "owner_id"), &room["archived"]), (me.user_id(), &json!(false)));
    let read = me.ok("get_room", json!({"room_id": room["room_id"]})).await;
    assert_eq!(&read["room"], room);
    let defaults = me.ok("create_room", json!({"name": "n"})).await;
    assert_eq!((number(&defaults["room"], "max_members"), &defaults["room"]["visibility"]), (1000, &json!("public")));
    // The creator is subscribed: what is said in it comes.
    me.say(number(room, "room_id"), "hello").await;
    assert_eq!(me.hear().await, (1, "hello".to_owned()));
}
