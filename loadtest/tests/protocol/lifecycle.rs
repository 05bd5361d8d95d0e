//! Start, readiness, drain, and the refusal of a second instance.

use serde_json::json;
use veza_loadtest::client::Client;
use veza_loadtest::http;
use veza_loadtest::server::{Options, Server, free_port};
use veza_loadtest::testing::{number, room, room_of, user};

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn sigterm_drains_and_loses_nothing() {
    let mut server = Server::start(Options::unlimited());
    let token = server.token("drained");
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(Client::connect(server.addr(), &token).await.expect("in"));
    }
    let mut writer = user(&server).await;
    let room = room(&mut writer).await;
    let mut acknowledged = 0;
    for n in 0..200 {
        writer.send("send_message", json!({"room_id": room, "content": format!("m{n}")})).await.expect("sent");
    }
    server.terminate();
    while let Ok(reply) = writer.any_reply().await {
        match reply.kind.as_str() {
            "message_sent" => acknowledged = number(&reply.data, "seq"),
            _ => assert_eq!((&reply.data["code"], &reply.data["retryable"]), (&json!("DRAINING"), &json!(true))),
        }
    }
    for client in &mut clients {
        let draining = client.push_of("draining").await.expect("a warning");
        assert!(draining.data["reconnect_after_ms"].is_u64());
        assert_eq!(client.close_code().await.expect("an end"), Some(3000));
    }
    assert!(server.wait_for_end().success());
    server.restart();
    let mut writer = user(&server).await;
    let joined = writer.ok("join_room", json!({"room_id": room})).await;
    assert!(number(&joined, "seq") >= acknowledged);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_second_instance_is_refused_and_the_first_lives_on() {
    let first = Server::start(Options::unlimited());
    let same_port = Options { port: Some(first.addr().port()), ..Options::unlimited() };
    let same_data = Options { data_dir: Some(first.data_dir()), port: Some(free_port()), ..Options::unlimited() };
    let same_file = format!("sqlite://{}/veza.db", first.data_dir().display());
    let same_database = Options { database: Some(same_file), port: Some(free_port()), ..Options::unlimited() };
    // Each tries for a while before it gives up, as a killed one's lock may linger: let them try side by side.
    let seconds =
        [("port", same_port), ("data directory", same_data), ("database", same_database)].map(|(what, options)| {
            let mut second = Server::prepare(options);
            second.spawn();
            (what, second)
        });
    for (what, mut second) in seconds {
        let status = tokio::task::block_in_place(|| second.wait_for_end());
        assert!(!status.success(), "the same {what}");
        assert!(!second.log().trim().is_empty(), "it says why");
        user(&first).await.still_fine().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn health_is_told_apart() {
    let server = Server::start(Options::unlimited());
    for path in ["/health", "/health/live", "/health/ready"] {
        assert_eq!(http::get(server.addr(), path, None).await.expect("an answer").status, 200, "{path}");
    }
    assert!(http::get(server.addr(), "/health", None).await.expect("an answer").json()["status"].is_string());
    let metrics = http::get(server.addr(), "/metrics", None).await.expect("an answer");
    assert!(String::from_utf8_lossy(&metrics.body).contains("# TYPE "));
    assert_eq!(http::get(server.addr(), "/no/such/page", None).await.expect("an answer").status, 404);
}

/// Without its database the server lives and says that it is not ready; nobody is let in on trust.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn without_its_database_it_is_alive_and_not_ready() {
    let nobody = format!("postgresql://veza@127.0.0.1:{}/veza", free_port());
    let mut server = Server::prepare(Options { database: Some(nobody), ..Options::unlimited() });
    server.spawn();
    tokio::task::block_in_place(|| server.wait_until("/health/live", 200)).expect("alive");
    assert_eq!(http::get(server.addr(), "/health/ready", None).await.expect("an answer").status, 503);
    let response = http::command(server.addr(), &server.token("x"), "get_unread", &json!({})).await.expect("an answer");
    assert_eq!((response.status, &response.json()["code"]), (503, &json!("STORE_UNAVAILABLE")));
    server.terminate();
    assert!(server.wait_for_end().success());
}

/// Everything is there after an orderly restart: users, rooms, memberships, read positions, conversations.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_restart_changes_nothing() {
    let mut server = Server::start(Options::unlimited());
    let tokens = [server.token("one"), server.token("two")];
    let mut one = Client::connect(server.addr(), &tokens[0]).await.expect("in");
    let mut two = Client::connect(server.addr(), &tokens[1]).await.expect("in");
    let room = room_of(&mut [&mut one, &mut two]).await;
    let other = two.user_id();
    let dm = number(&one.ok("create_dm", json!({"user_id": other})).await, "conversation_id");
    for n in 0..5 {
        one.say(room, &format!("m{n}")).await;
        one.ok("send_dm", json!({"conversation_id": dm, "content": format!("d{n}")})).await;
    }
    two.ok("mark_read", json!({"room_id": room, "seq": 3})).await;
    let questions = [
        ("get_unread", json!({})),
        ("list_dms", json!({})),
        ("get_room", json!({"room_id": room})),
        ("get_history", json!({"room_id": room})),
        ("get_history", json!({"room_id": dm})),
        ("get_user", json!({"user_id": other})),
        ("list_rooms", json!({"filter": "joined"})),
    ];
    let mut before = Vec::new();
    for (command, data) in &questions {
        before.push(two.ok(command, data.clone()).await);
    }
    server.terminate();
    assert!(tokio::task::block_in_place(|| server.wait_for_end()).success());
    server.restart();
    let mut two = Client::connect(server.addr(), &tokens[1]).await.expect("in");
    assert_eq!(two.user_id(), other);
    for ((command, data), before) in questions.iter().zip(before) {
        assert_eq!(two.ok(command, data.clone()).await, before, "{command}");
    }
}
