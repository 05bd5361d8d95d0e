//! Limits of rate and number, on a server where they are low.

use serde_json::{Value, json};
use veza_loadtest::http;
use veza_loadtest::server::{Options, Server};
use veza_loadtest::testing::{fresh, narrow, number, room, user};

#[tokio::test]
async fn messages_beyond_the_burst_are_refused_with_a_hint() {
    let mut me = user(narrow()).await;
    let room = room(&mut me).await;
    for n in 1..=3 {
        assert_eq!(me.say(room, "x").await, n);
    }
    let error = me.refusal("send_message", json!({"room_id": room, "content": "x"})).await;
    assert_eq!((&error["code"], &error["retryable"]), (&json!("RATE_LIMIT_EXCEEDED"), &json!(true)));
    // Six a minute: the next one is due within 10 s.
    assert!((1..=10_000).contains(&number(&error, "retry_after_ms")), "{error}");
    let history = me.ok("get_history", json!({"room_id": room})).await;
    assert_eq!(history["seq"], 3, "nothing happened");
}

#[tokio::test]
async fn commands_beyond_the_burst_are_refused_over_both_transports() {
    let server = narrow();
    let mut me = user(server).await;
    for _ in 0..200 {
        me.send("get_unread", json!({})).await.expect("sent");
    }
    let mut answered = 0;
    for _ in 0..200 {
        // Refusals may overtake answers: they are of no room.
        let reply = me.any_reply().await.expect("a reply");
        answered += u32::from(reply.kind == "unread");
        assert!(reply.kind == "unread" || reply.data["code"] == "RATE_LIMIT_EXCEEDED", "{reply:?}");
    }
    assert!((30..200).contains(&answered), "{answered} of 200 were within a burst of 30 and 20 a second");

    let token = server.token(&fresh("http"));
    let mut refused = None;
    for _ in 0..200 {
        let response = http::command(server.addr(), &token, "get_unread", &json!({})).await.expect("an answer");
        if response.status != 200 {
            refused = Some(response);
            break;
        }
    }
    let refused = refused.expect("200 commands cannot all be within 20 a second and a burst of 30");
    assert_eq!((refused.status, &refused.json()["code"]), (429, &json!("RATE_LIMIT_EXCEEDED")));
    assert!(refused.header("retry-after").is_some_and(|value| value.parse::<u64>().is_ok()));
    assert!(refused.json()["retry_after_ms"].is_u64());
}

#[tokio::test]
async fn numbers_of_rooms_subscriptions_members_and_characters() {
    let mut me = user(narrow()).await;
    let first = me.ok("create_room", json!({"name": "1", "max_members": 1})).await;
    me.ok("create_room", json!({"name": "2"})).await;
    assert_eq!(me.err("create_room", json!({"name": "3"})).await, "CONFLICT");

    let mut other = user(narrow()).await;
    assert_eq!(other.err("join_room", json!({"room_id": first["room"]["room_id"]})).await, "ROOM_FULL");
    let refusal =
        me.refusal("send_message", json!({"room_id": first["room"]["room_id"], "content": "é".repeat(21)})).await;
    assert_eq!(refusal["code"], "MESSAGE_TOO_LONG");

    let mut rooms = Vec::new();
    for _ in 0..2 {
        let mut owner = user(narrow()).await;
        rooms.extend([room(&mut owner).await, room(&mut owner).await]);
    }
    for room in &rooms[..3] {
        other.ok("join_room", json!({"room_id": room})).await;
    }
    assert_eq!(other.err("join_room", json!({"room_id": rooms[3]})).await, "INVALID_REQUEST");
    other.ok("unsubscribe", json!({"room_id": rooms[0]})).await;
    other.ok("join_room", json!({"room_id": rooms[3]})).await;
    let points: Vec<Value> = rooms.iter().map(|room| json!({"room_id": room, "last_seq": 0})).collect();
    assert_eq!(other.err("resume", json!({"rooms": points})).await, "INVALID_REQUEST");
}

#[tokio::test]
async fn logins_are_limited_per_address() {
    let server = Server::start(Options::with(&[("limits.logins_per_minute", "3")]));
    let mut statuses = Vec::new();
    for _ in 0..5 {
        let body = json!({"username": "nobody", "password": "wrong password"});
        let response = http::post(server.addr(), "/api/v1/auth/login", None, &body).await.expect("an answer");
        statuses.push(response.status);
        if response.status == 429 {
            assert!(response.header("retry-after").is_some());
        }
    }
    assert_eq!(statuses, [401, 401, 401, 429, 429]);
}
