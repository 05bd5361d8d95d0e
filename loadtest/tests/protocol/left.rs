//! Whoever is out of a room learns nothing of it any more: no notification, no mention, no search result, no list.

use serde_json::{Value, json};
use veza_loadtest::client::Client;
use veza_loadtest::http;
use veza_loadtest::pg::TestPg;
use veza_loadtest::server::{Options, Server};
use veza_loadtest::testing::{fresh, number, room_of, standard, user};

/// How one gets out: by the owner's or by one's own command.
const WAYS: [(bool, &str, &str); 5] = [
    (false, "leave_room", r#"{}"#),
    (true, "kick_member", r#"{}"#),
    (true, "sanction_user", r#"{"kind":"kick","reason":"x"}"#),
    (true, "sanction_user", r#"{"kind":"ban","reason":"x"}"#),
    (true, "delete_room", r#"{}"#),
];

async fn nothing_is_told(server: &Server) {
    let mut owner = user(server).await;
    let token = server.token(&fresh("leaver"));
    let mut leaver = Client::connect(server.addr(), &token).await.expect("in");
    let name = leaver.me["username"].as_str().expect("a name").to_owned();
    let elsewhere = room_of(&mut [&mut owner, &mut leaver]).await;
    for (by_owner, command, data) in WAYS {
        let room = room_of(&mut [&mut owner, &mut leaver]).await;
        let own = leaver.say(room, "a word of mine, zebra").await;
        let mention = owner.say(room, &format!("@{name}, zebra")).await;
        let answer = json!({"room_id": room, "content": "zebra", "parent_id": own});
        owner.ok("send_message", answer.clone()).await;
        leaver.push_of("notification").await.expect("a mention");
        leaver.push_of("notification").await.expect("a reply");
        let mut out: Value = serde_json::from_str(data).expect("JSON");
        (out["room_id"], out["user_id"]) = (json!(room), json!(leaver.user_id()));
        let by = if by_owner { &mut owner } else { &mut leaver };
        by.ok(command, out).await;
        if command != "delete_room" {
            owner.ok("send_message", answer).await;
            owner.say(room, &format!("@{name} @room again")).await;
            let edit = json!({"room_id": room, "message_id": mention, "content": format!("@{name} @room edited")});
            owner.ok("edit_message", edit).await;
        }
        // Of another room one is told: what comes before it has come.
        owner.say(elsewhere, &format!("@{name} here")).await;
        let told = leaver.push_of("notification").await.expect("told").data;
        assert_eq!(number(&told, "room_id"), elsewhere, "{command}: {told}");
        for (question, data) in [
            ("get_mentions", json!({})),
            ("search_messages", json!({"query": "zebra"})),
            ("get_unread", json!({})),
            ("list_rooms", json!({"filter": "joined"})),
            ("list_rooms", json!({"filter": "invited"})),
        ] {
            let reply = leaver.ok(question, data.clone()).await;
            assert!(!reply.to_string().contains(&format!("\"room_id\":{room},")), "{command}: {question}: {reply}");
            let over_http = http::command(server.addr(), &token, question, &data).await.expect("a response");
            assert_eq!(over_http.json(), reply, "{command}: {question}");
        }
        let resumed = leaver.ok("resume", json!({"rooms": [{"room_id": room, "last_seq": 0}]})).await;
        let verdict = &resumed["rooms"][0];
        assert_eq!((&verdict["recovered"], &verdict["reason"]), (&json!(false), &json!("not_found")), "{command}");
    }
}

#[tokio::test]
async fn whoever_is_out_of_a_room_is_told_nothing_of_it() {
    nothing_is_told(standard()).await;
}

#[tokio::test]
async fn whoever_is_out_of_a_room_is_told_nothing_of_it_on_postgresql() {
    let pg = TestPg::start();
    nothing_is_told(&Server::start(Options { database: Some(pg.url()), ..Options::unlimited() })).await;
}
