//! The envelope: ids, order, exactly one reply, and errors without an id.

use serde_json::{Value, json};
use veza_loadtest::client::{Client, Error};
use veza_loadtest::testing::{number, room, room_of, standard, user};

/// Every frame is held to order and compactness by the client itself; here the raw text is looked at once more.
#[tokio::test]
async fn replies_repeat_the_id_as_it_was_written() {
    let mut me = user(standard()).await;
    for id in ["1", "0", "-7", "9007199254740993", r#""a""#, r#""ünïcode \" \\ quoted""#, r#""""#] {
        me.send_text(format!(r#"{{"data":{{}},"id":{id},"type":"ping"}}"#)).await.expect("sent");
        let text = me.text().await.expect("a reply");
        let found = text.strip_prefix(r#"{"type":"pong","id":"#).and_then(|rest| rest.split(r#","data":{"#).next());
        let found = found.and_then(|raw| serde_json::from_str::<Value>(raw).ok());
        assert_eq!(found, serde_json::from_str(id).ok(), "{text}");
    }
}

#[tokio::test]
async fn bad_ids_are_refused_without_an_id() {
    let mut me = user(standard()).await;
    let long = format!("\"{}\"", "x".repeat(65));
    for id in ["1.5", "true", "[1]", "{}", &long] {
        me.send_text(format!(r#"{{"type":"ping","id":{id},"data":{{}}}}"#)).await.expect("sent");
        let error = me.push().await.expect("an error");
        assert_eq!((error.kind.as_str(), &error.data["code"]), ("error", &json!("INVALID_REQUEST")), "{id}");
    }
    me.still_fine().await;
}

#[tokio::test]
async fn a_command_without_id_is_carried_out_and_only_its_errors_are_reported() {
    let mut me = user(standard()).await;
    let room = room(&mut me).await;
    me.pushes_so_far().await.expect("alive");
    me.send_text(json!({"type": "send_message", "data": {"room_id": room, "content": "quiet"}}).to_string())
        .await
        .expect("sent");
    assert_eq!(me.hear().await, (1, "quiet".to_owned()));
    me.send_text(json!({"type": "send_message", "data": {"room_id": room}}).to_string()).await.expect("sent");
    let error = me.push().await.expect("an error");
    assert_eq!((error.kind.as_str(), &error.data["code"]), ("error", &json!("INVALID_REQUEST")));
    me.send_text(json!({"type": "ping"}).to_string()).await.expect("sent");
    me.send_text(json!({"type": "nonsense"}).to_string()).await.expect("sent");
    assert_eq!(me.push().await.expect("an error").data["code"], "UNKNOWN_TYPE");
    me.still_fine().await;
}

#[tokio::test]
async fn unknown_fields_and_a_missing_data_are_no_error() {
    let mut me = user(standard()).await;
    me.send_text(r#"{"type":"get_unread","id":900,"more":[{}]}"#.into()).await.expect("sent");
    let text = me.text().await.expect("a reply");
    assert!(text.starts_with(r#"{"type":"unread","id":900,"data":{"#), "{text}");
    me.ok("ping", json!({"unknown": {"deep": [1, 2, 3]}})).await;
}

/// The sender reads its reply before the push; others read the push.
#[tokio::test]
async fn the_sender_reads_its_reply_before_the_push() {
    let (mut me, mut other) = (user(standard()).await, user(standard()).await);
    let room = room_of(&mut [&mut me, &mut other]).await;
    other.pushes_so_far().await.expect("alive");
    me.pushes_so_far().await.expect("alive");
    for n in 0..20 {
        let command = json!({"type": "send_message", "id": 1000 + n, "data": {"room_id": room, "content": "x"}});
        me.send_text(command.to_string()).await.expect("sent");
        let (first, second) = (lasting(&mut me).await, lasting(&mut me).await);
        assert!(first.starts_with(r#"{"type":"message_sent","id":"#), "{first}");
        assert!(second.starts_with(r#"{"type":"message","data":{"#), "{second}");
        assert_eq!(other.hear().await.0, n + 1);
    }
}

/// The next frame that is no ephemeral push.
async fn lasting(client: &mut Client) -> String {
    loop {
        let text = client.text().await.expect("a frame");
        if !["presence", "member_joined"].contains(&veza_loadtest::frame::kind_of(&text)) {
            return text;
        }
    }
}

#[tokio::test]
async fn commands_to_one_room_are_answered_in_the_order_sent() {
    let mut me = user(standard()).await;
    let room = room(&mut me).await;
    let mut sent = Vec::new();
    for n in 0..60 {
        let command = match n % 4 {
            0 | 1 => me.send("send_message", json!({"room_id": room, "content": format!("m{n}")})).await,
            2 => me.send("get_history", json!({"room_id": room, "limit": 100})).await,
            _ => me.send("mark_read", json!({"room_id": room, "seq": 1})).await,
        };
        sent.push(command.expect("sent"));
    }
    let mut messages = 0;
    for id in sent {
        let reply = me.any_reply().await.expect("a reply");
        assert_eq!(reply.id, Some(json!(id)));
        match reply.kind.as_str() {
            "message_sent" => {
                messages += 1;
                assert_eq!(number(&reply.data, "seq"), messages);
            }
            // It sees what was sent before it, and nothing of what was sent after it.
            "room_history" => assert_eq!(number(&reply.data, "seq"), messages),
            other => assert_eq!(other, "read_marked"),
        }
    }
}

#[tokio::test]
async fn before_authentication_everything_else_is_unauthenticated() {
    let server = standard();
    let request = veza_loadtest::client::upgrade_request(server.addr(), None);
    let mut me = veza_loadtest::client::Client::connect_with(server.addr(), request).await.expect("an upgrade");
    for command in ["ping", "send_message", "get_unread", "subscribe"] {
        match me.call(command, json!({"room_id": 1, "content": "x"})).await {
            Err(Error::Refused(error)) if error["code"] == "UNAUTHENTICATED" => {}
            other => panic!("{command}: {other:?}"),
        }
    }
    me.call("authenticate", json!({"token": server.token("late")})).await.expect("a good token");
    me.still_fine().await;
}
