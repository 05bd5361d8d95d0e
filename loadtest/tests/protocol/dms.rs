//! Conversations: a pair has one, a group is always new, and they are live without a subscription.

use serde_json::json;
use veza_loadtest::client::Client;
use veza_loadtest::testing::{fresh, number, standard, user};

#[tokio::test]
async fn a_pair_has_one_conversation_and_a_group_is_always_new() {
    let server = standard();
    let (mut me, mut other, third) = (user(server).await, user(server).await, user(server).await);
    let (a, b, c) = (me.user_id(), other.user_id(), third.user_id());
    let first = me.ok("create_dm", json!({"user_id": b})).await;
    assert_eq!(first["duplicate"], false);
    let mut ids: Vec<u64> = first["user_ids"].as_array().expect("ids").iter().filter_map(|id| id.as_u64()).collect();
    ids.sort_unstable();
    assert_eq!(ids, [a.min(b), a.max(b)]);
    for (mine, data) in [
        (true, json!({"user_id": b})),
        (true, json!({"user1_id": a, "user2_id": b})),
        (true, json!({"user1_id": b, "user2_id": a})),
        (false, json!({"user_id": a})),
    ] {
        let client = if mine { &mut me } else { &mut other };
        let again = client.ok("create_dm", data.clone()).await;
        assert_eq!(again["conversation_id"], first["conversation_id"], "{data}");
        assert_eq!(again["created_at"], first["created_at"], "{data}");
    }
    let mut groups = Vec::new();
    for _ in 0..2 {
        let group = me.ok("create_dm", json!({"user_ids": [b, c]})).await;
        assert_eq!(group["user_ids"].as_array().map(Vec::len), Some(3));
        groups.push(number(&group, "conversation_id"));
    }
    assert!(groups[0] != groups[1] && number(&first, "conversation_id") != groups[0]);
    let too_many: Vec<u64> = (0..10).map(|n| a + 1_000_000 + n).collect();
    assert_eq!(me.err("create_dm", json!({"user_ids": too_many})).await, "INVALID_REQUEST");
    assert_eq!(me.err("create_dm", json!({"user_id": a})).await, "INVALID_REQUEST", "with oneself");
}

/// Both ends of the pair are pushed to, on every connection, whichever shard it is on, without `subscribe`.
#[tokio::test]
async fn conversations_are_live_on_every_connection() {
    let server = standard();
    let (token_a, token_b) = (server.token(&fresh("a")), server.token(&fresh("b")));
    let mut early = Vec::new();
    for token in [&token_a, &token_b] {
        for _ in 0..3 {
            early.push(Client::connect(server.addr(), token).await.expect("in"));
        }
    }
    let other = early[3].user_id();
    let dm = number(&early[0].ok("create_dm", json!({"user_id": other})).await, "conversation_id");
    for client in &mut early[1..] {
        let created = client.push_of("dm_created").await.expect("alive").data;
        assert_eq!(number(&created, "conversation_id"), dm);
    }
    for token in [&token_a, &token_b] {
        early.push(Client::connect(server.addr(), token).await.expect("in"));
    }
    for n in 1..=3 {
        let sender = &mut early[usize::try_from(n).expect("small")];
        let sent = sender.ok("send_dm", json!({"conversation_id": dm, "content": format!("m{n}")})).await;
        assert_eq!((number(&sent, "room_id"), number(&sent, "seq")), (dm, n));
        for client in &mut early {
            assert_eq!(client.hear().await, (n, format!("m{n}")));
        }
    }
}

#[tokio::test]
async fn a_conversation_is_read_like_a_room_and_resumed_like_one() {
    let server = standard();
    let token = server.token(&fresh("away"));
    let (mut me, away) = (user(server).await, Client::connect(server.addr(), &token).await.expect("in"));
    let dm = number(&me.ok("create_dm", json!({"user_id": away.user_id()})).await, "conversation_id");
    away.close(1000).await.expect("an end");
    for n in 1..=4 {
        let command = if n % 2 == 0 { ("send_dm", "conversation_id") } else { ("send_message", "room_id") };
        me.ok(command.0, json!({command.1: dm, "content": format!("m{n}")})).await;
    }
    let mut back = Client::connect(server.addr(), &token).await.expect("in");
    let unread = back.ok("get_unread", json!({})).await;
    let entry = unread["rooms"].as_array().and_then(|rooms| rooms.iter().find(|room| room["room_id"] == dm));
    let entry = entry.expect("the conversation is listed").clone();
    assert_eq!((&entry["kind"], number(&entry, "last_seq"), number(&entry, "unread_count")), (&json!("dm"), 4, 4));
    let resumed = back.ok("resume", json!({"rooms": [{"room_id": dm, "last_seq": 1}]})).await;
    assert_eq!((&resumed["rooms"][0]["recovered"], number(&resumed["rooms"][0], "replayed")), (&json!(true), 3));
    for n in 2..=4 {
        assert_eq!(back.hear().await, (n, format!("m{n}")));
    }
    let listed = back.ok("list_dms", json!({})).await;
    let conversation = &listed["conversations"][0];
    assert_eq!((number(conversation, "conversation_id"), number(conversation, "unread_count")), (dm, 4));
    assert_eq!((&conversation["last_message"]["content"], &conversation["is_blocked"]), (&json!("m4"), &json!(false)));
    let history = back.ok("get_history", json!({"room_id": dm})).await;
    assert_eq!(history["messages"].as_array().map(Vec::len), Some(4));
    back.ok("mark_read", json!({"room_id": dm, "seq": 4})).await;
    assert_eq!(number(&me.push_of("read").await.expect("alive").data, "seq"), 4);
}

#[tokio::test]
async fn what_rooms_do_conversations_do_not() {
    let server = standard();
    let (mut me, other, mut stranger) = (user(server).await, user(server).await, user(server).await);
    let dm = number(&me.ok("create_dm", json!({"user_id": other.user_id()})).await, "conversation_id");
    for command in ["join_room", "leave_room", "subscribe", "unsubscribe"] {
        assert_eq!(me.err(command, json!({"room_id": dm})).await, "INVALID_REQUEST", "{command}");
        assert_eq!(stranger.err(command, json!({"room_id": dm})).await, "ROOM_NOT_FOUND", "{command}");
    }
}
