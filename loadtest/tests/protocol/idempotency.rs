//! A repeated `client_id` gives the first answer, on every command that takes one, and nothing second.

use serde_json::{Value, json};
use veza_loadtest::client::Client;
use veza_loadtest::http;
use veza_loadtest::server::{Options, Server};
use veza_loadtest::testing::{fresh, number, room, standard, user};

/// Without `duplicate`, so that first and repeated replies can be compared.
fn sans_duplicate(mut reply: Value, expected: bool) -> Value {
    let duplicate = reply.as_object_mut().expect("an object").remove("duplicate");
    assert_eq!(duplicate, Some(json!(expected)), "{reply}");
    reply
}

#[tokio::test]
async fn every_command_with_a_client_id_repeats_its_reply() {
    let server = standard();
    let token = server.token(&fresh("repeats"));
    let mut me = Client::connect(server.addr(), &token).await.expect("in");
    let others = [user(server).await.user_id(), user(server).await.user_id()];
    let room = room(&mut me).await;
    let dm = me.ok("create_dm", json!({"user_id": others[0]})).await["conversation_id"].clone();
    for (command, data, other_data) in [
        ("send_message", json!({"room_id": room, "content": "a"}), json!({"room_id": room, "content": "b"})),
        ("send_dm", json!({"conversation_id": dm, "content": "a"}), json!({"conversation_id": dm, "content": "b"})),
        ("create_room", json!({"name": "a"}), json!({"name": "b"})),
        ("create_dm", json!({"user_ids": others}), json!({"user_ids": [others[0]]})),
    ] {
        let client_id = fresh("client");
        let with_id = |data: &Value| {
            let mut data = data.clone();
            data["client_id"] = json!(client_id);
            data
        };
        let first = sans_duplicate(me.ok(command, with_id(&data)).await, false);
        assert_eq!(sans_duplicate(me.ok(command, with_id(&data)).await, true), first, "{command}");
        let mut with_nulls = with_id(&data);
        for absent in ["metadata", "parent_id", "topic", "description", "unknown"] {
            with_nulls[absent] = Value::Null;
        }
        assert_eq!(sans_duplicate(me.ok(command, with_nulls).await, true), first, "{command}, null is as absent");
        let mut with_unknown = with_id(&data);
        with_unknown["unknown"] = json!("field");
        assert_eq!(sans_duplicate(me.ok(command, with_unknown).await, true), first, "{command}, unknown field");
        let http = http::command(server.addr(), &token, command, &with_id(&data)).await.expect("an answer");
        assert_eq!(sans_duplicate(http.json(), true), first, "{command} over HTTP");
        let mut again = Client::connect(server.addr(), &token).await.expect("in");
        assert_eq!(sans_duplicate(again.ok(command, with_id(&data)).await, true), first, "{command}, new connection");
        let refusal = me.refusal(command, with_id(&other_data)).await;
        assert_eq!(
            (&refusal["code"], &refusal["retryable"]),
            (&json!("IDEMPOTENCY_CONFLICT"), &json!(false)),
            "{command}"
        );
    }
    let history = me.ok("get_history", json!({"room_id": room})).await;
    assert_eq!((history["messages"].as_array().map(Vec::len), &history["seq"]), (Some(1), &json!(1)));
}

#[tokio::test]
async fn each_user_and_each_room_has_client_ids_of_its_own() {
    let (mut me, mut other) = (user(standard()).await, user(standard()).await);
    let rooms = [room(&mut me).await, room(&mut me).await];
    for room in rooms {
        other.ok("join_room", json!({"room_id": room})).await;
        let data = json!({"room_id": room, "content": "a", "client_id": "same"});
        for (client, seq) in [(&mut me, 1), (&mut other, 2)] {
            let sent = client.ok("send_message", data.clone()).await;
            assert_eq!((&sent["duplicate"], number(&sent, "seq")), (&json!(false), seq));
        }
    }
}

/// A repetition waits for a first attempt that is still under way, on whichever connection.
#[tokio::test]
async fn repetitions_in_flight_give_one_message() {
    let server = standard();
    let token = server.token(&fresh("racer"));
    let mut connections = Vec::new();
    for _ in 0..3 {
        connections.push(Client::connect(server.addr(), &token).await.expect("in"));
    }
    let room = room(&mut connections[0]).await;
    for round in 1..=30 {
        let data = json!({"room_id": room, "content": "a", "client_id": format!("round {round}")});
        for client in &mut connections {
            for _ in 0..3 {
                client.send("send_message", data.clone()).await.expect("sent");
            }
        }
        let mut firsts = 0;
        for client in &mut connections {
            for _ in 0..3 {
                let reply = client.any_reply().await.expect("a reply");
                assert_eq!((reply.kind.as_str(), number(&reply.data, "seq")), ("message_sent", round));
                firsts += u32::from(reply.data["duplicate"] == false);
            }
        }
        assert_eq!(firsts, 1, "round {round}");
    }
}

#[tokio::test]
async fn the_first_answer_survives_a_crash() {
    let mut server = Server::start(Options::unlimited());
    let token = server.token("survivor");
    let mut me = Client::connect(server.addr(), &token).await.expect("in");
    let create = json!({"name": "n", "client_id": "room"});
    let created = sans_duplicate(me.ok("create_room", create.clone()).await, false);
    let send = json!({"room_id": created["room"]["room_id"], "content": "a", "client_id": "message"});
    let sent = sans_duplicate(me.ok("send_message", send.clone()).await, false);
    server.kill9();
    server.restart();
    let mut me = Client::connect(server.addr(), &token).await.expect("in");
    assert_eq!(sans_duplicate(me.ok("send_message", send).await, true), sent);
    let again = sans_duplicate(me.ok("create_room", create).await, true);
    assert_eq!(again["room"]["room_id"], created["room"]["room_id"]);
    let joined = me.ok("list_rooms", json!({"filter": "joined"})).await;
    assert_eq!(joined["rooms"].as_array().map(Vec::len), Some(1));
}

/// The first answer is given again even if the message was edited or deleted since, also by another process.
#[tokio::test]
async fn the_first_answer_outlives_what_became_of_the_message() {
    let mut server = Server::start(Options::unlimited());
    let token = server.token("author");
    let mut me = Client::connect(server.addr(), &token).await.expect("in");
    let room = room(&mut me).await;
    let mut first = Vec::new();
    for client_id in ["edited", "deleted", "both"] {
        let send = json!({"room_id": room, "content": "a", "client_id": client_id});
        let sent = sans_duplicate(me.ok("send_message", send.clone()).await, false);
        let message = json!({"room_id": room, "message_id": sent["message_id"], "content": "b"});
        for (command, not_for) in [("edit_message", "deleted"), ("delete_message", "edited")] {
            if client_id != not_for {
                me.ok(command, message.clone()).await;
            }
        }
        first.push((send, sent));
    }
    for restarted in [false, true] {
        if restarted {
            server.kill9();
            server.restart();
            me = Client::connect(server.addr(), &token).await.expect("in");
        }
        for (send, sent) in &first {
            assert_eq!(sans_duplicate(me.ok("send_message", send.clone()).await, true), *sent, "{send}");
            let mut other = send.clone();
            other["content"] = json!("b");
            assert_eq!(me.err("send_message", other).await, "IDEMPOTENCY_CONFLICT", "{send}");
        }
    }
    let history = me.ok("get_history", json!({"room_id": room})).await;
    assert_eq!(number(&history, "seq"), 7, "three messages and what became of them: {history}");
}

#[tokio::test]
async fn a_client_id_has_1_to_64_bytes() {
    let mut me = user(standard()).await;
    let room = room(&mut me).await;
    for (client_id, good) in [
        (json!("x"), true),
        (json!("é".repeat(32)), true),
        (json!("é".repeat(33)), false),
        (json!(""), false),
        (json!(7), false),
    ] {
        let data = json!({"room_id": room, "content": "a", "client_id": client_id});
        match good {
            true => drop(me.ok("send_message", data).await),
            false => assert_eq!(me.refusal("send_message", data).await["field"], "client_id"),
        }
    }
}
