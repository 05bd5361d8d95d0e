//! Where the bounds of rooms and messages are met.

use super::chat::world;
use serde_json::json;
use veza_loadtest::client::Client;
use veza_loadtest::http;
use veza_loadtest::testing::{fresh, number, room, room_of, standard, tight, user};

/// Commands that the limits of a room, message or text end.
#[tokio::test]
async fn what_goes_over_a_limit_is_refused() {
    let mut world = world(tight()).await;
    let rows: &[(&str, &str, Option<&str>)] = &[
        ("add_reaction", r#"{"room_id":"$mine","message_id":"$message","emoji":"👍"}"#, None),
        ("add_reaction", r#"{"room_id":"$mine","message_id":"$message","emoji":"👎"}"#, None),
        ("add_reaction", r#"{"room_id":"$mine","message_id":"$message","emoji":"🤔"}"#, Some("CONFLICT")),
        ("add_reaction", r#"{"room_id":"$mine","message_id":"$message","emoji":"👎"}"#, None),
        ("add_reaction", r#"{"room_id":"$mine","message_id":"$spare","emoji":"🤔"}"#, None),
        ("remove_reaction", r#"{"room_id":"$mine","message_id":"$message","emoji":"👎"}"#, None),
        ("add_reaction", r#"{"room_id":"$mine","message_id":"$message","emoji":"🤔"}"#, None),
        ("pin_message", r#"{"room_id":"$mine","message_id":"$message"}"#, None),
        ("pin_message", r#"{"room_id":"$mine","message_id":"$spare"}"#, None),
        ("pin_message", r#"{"room_id":"$mine","message_id":"$of_member"}"#, Some("CONFLICT")),
        ("pin_message", r#"{"room_id":"$mine","message_id":"$spare"}"#, None),
        ("unpin_message", r#"{"room_id":"$mine","message_id":"$spare"}"#, None),
        ("pin_message", r#"{"room_id":"$mine","message_id":"$of_member"}"#, None),
        ("delete_message", r#"{"room_id":"$mine","message_id":"$of_member"}"#, None),
        ("pin_message", r#"{"room_id":"$mine","message_id":"$spare"}"#, None),
        ("create_role", r#"{"room_id":"$mine","name":"a","permissions":[]}"#, None),
        ("create_role", r#"{"room_id":"$mine","name":"a","permissions":[]}"#, Some("CONFLICT")),
        ("create_role", r#"{"room_id":"$mine","name":"b","permissions":[]}"#, None),
        ("create_role", r#"{"room_id":"$mine","name":"c","permissions":[]}"#, Some("CONFLICT")),
        ("delete_role", r#"{"room_id":"$mine","name":"a"}"#, None),
        ("create_role", r#"{"room_id":"$mine","name":"c","permissions":[]}"#, None),
        ("update_room", r#"{"room_id":"$mine","max_members":3}"#, Some("INVALID_REQUEST")),
        ("update_room", r#"{"room_id":"$mine","max_members":2}"#, None),
    ];
    for (command, data, refused) in rows {
        let data = world.names.fill(data);
        match refused {
            None => drop(world.me.ok(command, data).await),
            Some(code) => assert_eq!(world.me.err(command, data.clone()).await, *code, "{command} {data}"),
        }
    }
    let mine = number(&world.names.fill(r#"{"room":"$mine"}"#), "room");
    assert_eq!(user(tight()).await.err("join_room", json!({"room_id": mine})).await, "ROOM_FULL");
    let long = json!({"room_id": mine, "message_id": world.me.say(mine, "x").await, "content": "é".repeat(2001)});
    assert_eq!(world.me.err("edit_message", long).await, "MESSAGE_TOO_LONG");
}

/// `limits.edit_window`: an author may edit for so long and no longer.
#[tokio::test]
async fn the_window_for_edits_closes() {
    let mut me = user(tight()).await;
    let room = room(&mut me).await;
    let message = me.say(room, "x").await;
    let edit = json!({"room_id": room, "message_id": message, "content": "y"});
    loop {
        match me.call("edit_message", edit.clone()).await {
            Ok(_) => {}
            Err(error) => return assert_eq!(error.code(), "PERMISSION_DENIED"),
        }
    }
}

/// Slow mode: one message, then a wait; not for those who may bypass it.
#[tokio::test]
async fn slow_mode_holds_members_back() {
    let token = standard().token(&fresh("member"));
    let (mut owner, mut member) =
        (user(standard()).await, Client::connect(standard().addr(), &token).await.expect("in"));
    let room = room_of(&mut [&mut owner, &mut member]).await;
    owner.ok("update_room", json!({"room_id": room, "slow_mode_s": 3600})).await;
    member.say(room, "one").await;
    let two = json!({"room_id": room, "content": "two"});
    let response = http::command(standard().addr(), &token, "send_message", &two).await.expect("a response");
    let problem = response.json();
    assert_eq!((response.status, &problem["code"]), (429, &json!("RATE_LIMIT_EXCEEDED")), "{problem}");
    let seconds: u64 = response.header("retry-after").expect("Retry-After").parse().expect("seconds");
    assert!(seconds <= 3600 && seconds * 1000 >= number(&problem, "retry_after_ms"), "{seconds}: {problem}");
    let refusal = member.refusal("send_message", two).await;
    assert_eq!((&refusal["code"], &refusal["retryable"]), (&json!("RATE_LIMIT_EXCEEDED"), &json!(true)));
    let wait = number(&refusal, "retry_after_ms");
    assert!((3_000_000..=3_600_000).contains(&wait), "{wait}");
    for _ in 0..3 {
        owner.say(room, "free").await;
    }
    owner.ok("update_room", json!({"room_id": room, "slow_mode_s": 0})).await;
    member.say(room, "two").await;
}

#[tokio::test]
async fn an_archived_room_takes_no_messages_and_is_read_as_before() {
    let (mut owner, mut member) = (user(standard()).await, user(standard()).await);
    let room = room_of(&mut [&mut owner, &mut member]).await;
    let message = member.say(room, "x").await;
    owner.ok("update_room", json!({"room_id": room, "archived": true})).await;
    for client in [&mut owner, &mut member] {
        assert_eq!(client.err("send_message", json!({"room_id": room, "content": "y"})).await, "ROOM_ARCHIVED");
        let read = client.ok("get_message", json!({"room_id": room, "message_id": message})).await;
        assert_eq!(read["message"]["content"], "x");
    }
    owner.ok("update_room", json!({"room_id": room, "archived": false})).await;
    member.say(room, "y").await;
}
