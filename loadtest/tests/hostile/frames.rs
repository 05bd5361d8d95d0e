//! Frames that are no commands, and commands that are poison.

use serde_json::json;
use veza_loadtest::testing::{number, room, standard, user};

use super::unharmed;

#[tokio::test]
async fn frames_that_are_no_commands() {
    let server = standard();
    let mut me = user(server).await;
    let room = room(&mut me).await;
    let deep =
        |depth: usize| format!(r#"{{"type":"ping","id":1,"data":{{"x":{}{}}}}}"#, "[".repeat(depth), "]".repeat(depth));
    let send =
        |content: &str| format!(r#"{{"type":"send_message","id":1,"data":{{"room_id":{room},"content":{content}}}}}"#);
    let meta = |metadata: &str| {
        format!(r#"{{"type":"send_message","id":1,"data":{{"room_id":{room},"content":"a","metadata":{metadata}}}}}"#)
    };
    let cases = [
        ("", "INVALID_JSON"),
        ("{", "INVALID_JSON"),
        ("null", "INVALID_JSON"),
        ("[]", "INVALID_JSON"),
        (r#""text""#, "INVALID_JSON"),
        (r#"{"type":"ping"}x"#, "INVALID_JSON"),
        (r#"{"type":"ping",}"#, "INVALID_JSON"),
        (r#"{'type':'ping'}"#, "INVALID_JSON"),
        (r#"{"type":"ping","data":{"x":NaN}}"#, "INVALID_JSON"),
        ("{\"type\":\"ping\",\"data\":{\"x\":\"\u{1}\"}}", "INVALID_JSON"),
        (r#"{"type":"ping","data":{"x":"\ud800"}}"#, "INVALID_JSON INVALID_REQUEST"),
        (&deep(40), "INVALID_JSON INVALID_REQUEST"),
        (&deep(20_000), "INVALID_JSON INVALID_REQUEST"),
        (r#"{"id":1,"data":{}}"#, "INVALID_REQUEST"),
        (r#"{"type":7,"id":1,"data":{}}"#, "INVALID_REQUEST"),
        (r#"{"type":"ping","id":1,"data":[]}"#, "INVALID_REQUEST"),
        (r#"{"type":"ping","id":1,"data":"x"}"#, "INVALID_REQUEST"),
        (r#"{"type":"PING","id":1}"#, "UNKNOWN_TYPE"),
        (r#"{"type":"","id":1}"#, "UNKNOWN_TYPE"),
        (r#"{"type":"get_room","id":1,"data":{"room_id":1e999}}"#, "INVALID_REQUEST INVALID_JSON"),
        (r#"{"type":"get_room","id":1,"data":{"room_id":18446744073709551616}}"#, "INVALID_REQUEST"),
        (r#"{"type":"get_room","id":1,"data":{"room_id":9007199254740992}}"#, "INVALID_REQUEST"),
        (r#"{"type":"get_room","id":1,"data":{"room_id":0}}"#, "INVALID_REQUEST ROOM_NOT_FOUND"),
        (&send(r#""\u0000""#), "INVALID_REQUEST"),
        (&send(r#""a\u0000b""#), "INVALID_REQUEST"),
        (&send(r#""\u001b[31m""#), "INVALID_REQUEST"),
        (&send(r#""\u007f""#), "INVALID_REQUEST"),
        (&send("7"), "INVALID_REQUEST"),
        (&meta(r#"{"x":"\u0000"}"#), "INVALID_REQUEST"),
        (&meta(r#"{"\u0000":1}"#), "INVALID_REQUEST"),
        (&meta("7"), "INVALID_REQUEST"),
    ];
    for (number, (text, codes)) in cases.into_iter().enumerate() {
        // Ten malformed frames a minute are let pass: a connection for each is enough.
        let mut client = user(server).await;
        client.ok("join_room", json!({"room_id": room})).await;
        client.pushes_so_far().await.expect("alive");
        client.send_text(text.to_owned()).await.expect("sent");
        // Who is there is told a moment after the rest.
        let answer = loop {
            let text = client.text().await.expect("an answer");
            let frame = veza_loadtest::frame::Frame::parse(&text).expect("an envelope");
            if !matches!(&*frame.kind, "presence" | "online_count") {
                break frame;
            }
        };
        let code = answer.data["code"].as_str().unwrap_or("(none)");
        let shown: String = text.chars().take(80).collect();
        assert!(
            answer.kind == "error" && codes.split(' ').any(|one| one == code),
            "case {number}, {shown}: {answer:?}"
        );
        client.still_fine().await;
    }
    assert_eq!(number(&me.ok("get_history", json!({"room_id": room})).await, "seq"), 0, "nothing got through");
    unharmed(server).await;
}

/// Poison beside innocents: what is refused is refused alone.
#[tokio::test]
async fn a_poisonous_command_is_refused_alone() {
    let mut me = user(standard()).await;
    let room = room(&mut me).await;
    let mut expected = Vec::new();
    for n in 0..60 {
        let poison = n % 3 == 0;
        let content = if poison { "a\u{0}b" } else { "good" };
        let id = me.send("send_message", json!({"room_id": room, "content": content})).await.expect("sent");
        expected.push((id, if poison { "error" } else { "message_sent" }));
    }
    // What is refused before it is anything to a room may be answered before what is under way there.
    let mut replies = std::collections::HashMap::new();
    for _ in &expected {
        let reply = me.any_reply().await.expect("a reply");
        replies.insert(reply.id.and_then(|id| id.as_u64()), reply.kind);
    }
    for (id, kind) in expected {
        assert_eq!(replies[&Some(id)], kind);
    }
    assert_eq!(number(&me.ok("get_history", json!({"room_id": room})).await, "seq"), 40);
}
