//! Every command, over both transports, with the exact members of its reply; and the errors that it can meet.

use serde_json::{Value, json};
use veza_loadtest::client::Client;
use veza_loadtest::http;
use veza_loadtest::testing::{JOINED, MESSAGE, ROOM, SENT, documents, fresh, number, room, shape, standard, user};

/// A world in which every command can succeed: the caller's ids, filled into the data of the table by name.
struct World {
    me: Client,
    token: String,
    ids: Vec<(&'static str, Value)>,
}

async fn world() -> World {
    let server = standard();
    let token = server.token(&fresh("caller"));
    let mut me = Client::connect(server.addr(), &token).await.expect("a good token");
    let mut other = user(server).await;
    let mine = room(&mut me).await;
    let theirs = room(&mut other).await;
    let message = me.say(mine, "a message").await;
    let dm = me.ok("create_dm", json!({"user_id": other.user_id()})).await;
    let extra = Client::connect(server.addr(), &server.token(&fresh("caller"))).await.expect("a good token");
    let ids = vec![
        ("$mine", json!(mine)),
        ("$theirs", json!(theirs)),
        ("$message", json!(message)),
        ("$other", json!(other.user_id())),
        ("$me", json!(me.user_id())),
        ("$dm", dm["conversation_id"].clone()),
        ("$session", extra.me["session_id"].clone()),
        ("$token", json!(token)),
        ("$client_id", json!(fresh("client"))),
        ("$dm_client_id", json!(fresh("client"))),
    ];
    World { me, token, ids }
}

impl World {
    /// Replaces `"$name"` by the id of that name.
    fn fill(&self, data: &str) -> Value {
        let mut text = data.to_owned();
        for (name, value) in &self.ids {
            text = text.replace(&format!("\"{name}\""), &value.to_string());
        }
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }
}

/// Command, data, type of the reply, its members.
pub const COMMANDS: [(&str, &str, &str, &str); 31] = [
    ("ping", r#"{"timestamp":12}"#, "pong", "timestamp server_time"),
    ("ping", "{}", "pong", "server_time"),
    ("list_sessions", "{}", "session_list", "sessions"),
    (
        "create_room",
        r#"{"name":"n","visibility":"private","client_id":"$client_id"}"#,
        "room_created",
        "room duplicate room_id? seq?",
    ),
    ("get_room", r#"{"room_id":"$mine"}"#, "room", "room"),
    ("get_room", r#"{"room_id":"$theirs"}"#, "room", "room"),
    ("list_rooms", "{}", "room_list", "rooms next_cursor"),
    ("list_rooms", r#"{"filter":"joined","limit":1}"#, "room_list", "rooms next_cursor"),
    ("list_rooms", r#"{"filter":"invited","query":"x"}"#, "room_list", "rooms next_cursor"),
    ("join_room", r#"{"room_id":"$theirs"}"#, "room_joined", JOINED),
    ("leave_room", r#"{"room_id":"$theirs"}"#, "room_left", "room_id seq"),
    (
        "get_members",
        r#"{"room_id":"$mine","online":true,"role":"owner"}"#,
        "member_list",
        "members next_cursor room_id?",
    ),
    ("mark_read", r#"{"room_id":"$mine","seq":1}"#, "read_marked", "room_id seq unread_count"),
    ("get_unread", "{}", "unread", "rooms"),
    (
        "send_message",
        r#"{"room_id":"$mine","content":"hi","metadata":{"a":[1]},"client_id":"$client_id"}"#,
        "message_sent",
        SENT,
    ),
    ("send_message", r#"{"room_id":"$mine","content":"hi","parent_id":"$message"}"#, "message_sent", SENT),
    ("get_message", r#"{"room_id":"$mine","message_id":"$message"}"#, "message", "message"),
    ("get_history", r#"{"room_id":"$mine"}"#, "room_history", "room_id seq messages has_more"),
    ("get_history", r#"{"room_id":"$mine","before_id":2,"limit":1}"#, "room_history", "room_id seq messages has_more"),
    ("get_history", r#"{"room_id":"$mine","after_id":1}"#, "room_history", "room_id seq messages has_more"),
    ("get_history", r#"{"room_id":"$mine","around_id":1}"#, "room_history", "room_id seq messages has_more"),
    (
        "create_dm",
        r#"{"user_id":"$other"}"#,
        "dm_created",
        "conversation_id user_ids created_at duplicate room_id? seq?",
    ),
    (
        "create_dm",
        r#"{"user1_id":"$other","user2_id":"$me"}"#,
        "dm_created",
        "conversation_id user_ids created_at duplicate room_id? seq?",
    ),
    (
        "create_dm",
        r#"{"user_ids":["$other"],"client_id":"$dm_client_id"}"#,
        "dm_created",
        "conversation_id user_ids created_at duplicate room_id? seq?",
    ),
    ("send_dm", r#"{"conversation_id":"$dm","content":"hi"}"#, "message_sent", SENT),
    ("list_dms", "{}", "dm_list", "conversations next_cursor"),
    ("get_user", r#"{"user_id":"$other"}"#, "user", "user_id username role? created_at"),
    ("list_users", r#"{"query":"user","limit":2}"#, "user_list", "users next_cursor"),
    ("revoke_session", r#"{"session_id":"$session"}"#, "session_revoked", "session_id?"),
    ("logout", r#"{"everywhere":false}"#, "logged_out", ""),
    ("logout", r#"{"everywhere":true}"#, "logged_out", ""),
];

/// Sessions of others cannot be revoked and a logout ends the connection: those rows need a world of their own.
fn ends_session(command: &str) -> bool {
    matches!(command, "revoke_session" | "logout")
}

#[tokio::test]
async fn each_replies_as_promised_over_websocket() {
    let mut shared = world().await;
    for (command, data, kind, members) in COMMANDS.into_iter().filter(|(command, ..)| !ends_session(command)) {
        let data = shared.fill(data);
        let reply =
            shared.me.call(command, data.clone()).await.unwrap_or_else(|error| panic!("{command} {data}: {error:?}"));
        assert_eq!(reply.kind, kind, "{command}");
        shape(&reply.data, members);
    }
}

#[tokio::test]
async fn each_replies_as_promised_over_http() {
    let addr = standard().addr();
    let shared = world().await;
    for (command, data, _, members) in COMMANDS.into_iter().filter(|(command, ..)| !ends_session(command)) {
        let data = shared.fill(data);
        let response = http::command(addr, &shared.token, command, &data).await.expect("a response");
        assert_eq!(response.status, 200, "{command} {data}: {}", response.json());
        assert!(
            response.header("content-type").is_some_and(|value| value.starts_with("application/json")),
            "{command}"
        );
        shape(&response.json(), members);
    }
}

#[tokio::test]
async fn those_that_need_a_connection_are_refused_over_http() {
    let addr = standard().addr();
    let shared = world().await;
    for (command, data) in [
        ("authenticate", r#"{"token":"$token"}"#),
        ("refresh_token", r#"{"token":"$token"}"#),
        ("subscribe", r#"{"room_id":"$mine"}"#),
        ("unsubscribe", r#"{"room_id":"$mine"}"#),
        ("resume", r#"{"rooms":[]}"#),
    ] {
        let response = http::command(addr, &shared.token, command, &shared.fill(data)).await.expect("a response");
        assert_eq!((response.status, &response.json()["code"]), (400, &json!("INVALID_REQUEST")), "{command}");
    }
}

/// Those that HTTP has not, and that other tests call.
pub const ON_CONNECTIONS: [&str; 5] = ["authenticate", "refresh_token", "subscribe", "unsubscribe", "resume"];

#[tokio::test]
async fn connection_commands_reply_as_promised() {
    let mut shared = world().await;
    for (command, data, kind, members) in [
        ("refresh_token", r#"{"token":"$token"}"#, "token_refreshed", "expires_at"),
        ("unsubscribe", r#"{"room_id":"$mine"}"#, "unsubscribed", "room_id seq?"),
        ("subscribe", r#"{"room_id":"$mine"}"#, "subscribed", JOINED),
        ("subscribe", r#"{"room_id":"$mine","last_seq":0}"#, "subscribed", JOINED),
        ("resume", r#"{"rooms":[{"room_id":"$mine","last_seq":0}]}"#, "resumed", "rooms"),
    ] {
        let data = shared.fill(data);
        let reply =
            shared.me.call(command, data.clone()).await.unwrap_or_else(|error| panic!("{command} {data}: {error:?}"));
        assert_eq!(reply.kind, kind, "{command}");
        shape(&reply.data, members);
        if command == "resume" {
            shape(&reply.data["rooms"][0], "room_id epoch recovered seq replayed reason?");
        }
    }
}

/// The parts of the replies that have parts.
#[tokio::test]
async fn rooms_messages_members_and_users_have_the_promised_members() {
    let mut shared = world().await;
    for (command, data, part, members) in [
        ("create_room", r#"{"name":"n"}"#, "/room", ROOM),
        ("get_room", r#"{"room_id":"$mine"}"#, "/room", ROOM),
        ("list_rooms", r#"{"filter":"joined"}"#, "/rooms/0", ROOM),
        ("subscribe", r#"{"room_id":"$mine"}"#, "/room", ROOM),
        ("get_members", r#"{"room_id":"$mine"}"#, "/members/0", "user_id username role status joined_at"),
        ("get_unread", "{}", "/rooms/0", "room_id kind epoch last_seq last_read_seq unread_count mention_count"),
        ("get_message", r#"{"room_id":"$mine","message_id":"$message"}"#, "/message", MESSAGE),
        ("get_history", r#"{"room_id":"$mine"}"#, "/messages/0", MESSAGE),
        (
            "list_dms",
            "{}",
            "/conversations/0",
            "conversation_id users last_message unread_count is_blocked epoch? last_seq? last_read_seq?",
        ),
        ("list_dms", "{}", "/conversations/0/users/0", "user_id username role? created_at?"),
        ("list_users", "{}", "/users/0", "user_id username role? created_at"),
    ] {
        let reply = shared.me.ok(command, shared.fill(data)).await;
        shape(reply.pointer(part).unwrap_or_else(|| panic!("{command}: no {part} in {reply}")), members);
    }
}

#[tokio::test]
async fn a_message_is_what_was_sent() {
    let mut shared = world().await;
    let room = shared.fill(r#"{"room":"$mine"}"#)["room"].clone();
    let content = "line one\nline\ttwo \"quoted\" \\ é ❤️ 🤔 \u{2028} </script>";
    let parent = shared.me.say(room.as_u64().expect("an id"), "parent").await;
    let data = json!({"room_id": room, "content": content, "parent_id": parent, "metadata": {"k": [1, {"x": null}]}});
    let sent = shared.me.ok("send_message", data).await;
    assert_eq!((&sent["room_id"], &sent["duplicate"]), (&room, &json!(false)));
    assert_eq!(sent["message_id"], sent["seq"]);
    let push = loop {
        let push = shared.me.push_of("message").await.expect("one's own message").data;
        if push["seq"] == sent["seq"] {
            break push;
        }
    };
    let fetched = shared.me.ok("get_message", json!({"room_id": room, "message_id": sent["message_id"]})).await;
    for message in [push, fetched["message"].clone()] {
        shape(&message, MESSAGE);
        let expected = json!({
            "room_id": room, "message_id": sent["message_id"], "seq": sent["seq"], "author_id": shared.me.user_id(),
            "username": shared.me.me["username"], "content": content, "parent_id": parent, "thread_count": 0,
            "is_pinned": false, "is_edited": false, "edit_count": 0, "is_deleted": false, "mentions": [], "reactions": [],
            "metadata": {"k": [1, {"x": null}]}, "created_at": sent["created_at"], "edited_at": null,
        });
        assert_eq!(message, expected);
    }
    let parent = shared.me.ok("get_message", json!({"room_id": room, "message_id": parent})).await;
    assert_eq!(parent["message"]["metadata"], Value::Null);
}

/// A thread is one level deep: a reply to a reply joins the same thread.
#[tokio::test]
async fn a_reply_to_a_reply_joins_the_thread() {
    let mut shared = world().await;
    let room = number(&shared.fill(r#"{"room":"$mine"}"#), "room");
    let parent = shared.me.say(room, "parent").await;
    let first = shared.me.ok("send_message", json!({"room_id": room, "content": "1", "parent_id": parent})).await;
    let second = json!({"room_id": room, "content": "2", "parent_id": first["message_id"]});
    let second = shared.me.ok("send_message", second).await;
    let read = shared.me.ok("get_message", json!({"room_id": room, "message_id": second["message_id"]})).await;
    assert_eq!(read["message"]["parent_id"], parent);
}

/// Command, data, code, HTTP status.
const REFUSALS: [(&str, &str, &str, u16); 32] = [
    ("no_such_command", "{}", "UNKNOWN_TYPE", 400),
    ("get_room", "{}", "INVALID_REQUEST", 400),
    ("get_room", r#"{"room_id":"7"}"#, "INVALID_REQUEST", 400),
    ("get_room", r#"{"room_id":-1}"#, "INVALID_REQUEST", 400),
    ("get_room", r#"{"room_id":1.5}"#, "INVALID_REQUEST", 400),
    ("get_room", r#"{"room_id":9007199254740992}"#, "INVALID_REQUEST", 400),
    ("get_room", r#"{"room_id":null}"#, "INVALID_REQUEST", 400),
    ("get_room", r#"{"room_id":9007199254740991}"#, "ROOM_NOT_FOUND", 404),
    ("create_room", r#"{"name":""}"#, "INVALID_REQUEST", 400),
    ("create_room", r#"{"name":"n","visibility":"secret"}"#, "INVALID_REQUEST", 400),
    ("create_room", r#"{"name":"n","max_members":1001}"#, "INVALID_REQUEST", 400),
    ("list_rooms", r#"{"limit":101}"#, "INVALID_REQUEST", 400),
    ("list_rooms", r#"{"limit":0}"#, "INVALID_REQUEST", 400),
    ("list_rooms", r#"{"cursor":"nonsense"}"#, "INVALID_REQUEST", 400),
    ("list_rooms", r#"{"filter":"all"}"#, "INVALID_REQUEST", 400),
    ("join_room", r#"{"room_id":"$dm"}"#, "INVALID_REQUEST", 400),
    ("leave_room", r#"{"room_id":"$mine"}"#, "CONFLICT", 409),
    ("get_members", r#"{"room_id":"$theirs"}"#, "NOT_A_MEMBER", 403),
    ("send_message", r#"{"room_id":"$mine"}"#, "INVALID_REQUEST", 400),
    ("send_message", r#"{"room_id":"$mine","content":""}"#, "INVALID_REQUEST", 400),
    ("send_message", r#"{"room_id":"$mine","content":" \n\t "}"#, "INVALID_REQUEST", 400),
    ("send_message", r#"{"room_id":"$mine","content":"a\u0007b"}"#, "INVALID_REQUEST", 400),
    ("send_message", r#"{"room_id":"$mine","content":"a","client_id":""}"#, "INVALID_REQUEST", 400),
    ("send_message", r#"{"room_id":"$mine","content":"a","metadata":[]}"#, "INVALID_REQUEST", 400),
    ("send_message", r#"{"room_id":"$mine","content":"a","parent_id":999}"#, "MESSAGE_NOT_FOUND", 404),
    ("send_message", r#"{"room_id":"$theirs","content":"a"}"#, "NOT_A_MEMBER", 403),
    ("get_message", r#"{"room_id":"$mine","message_id":999}"#, "MESSAGE_NOT_FOUND", 404),
    ("get_history", r#"{"room_id":"$mine","before_id":5,"after_id":1}"#, "INVALID_REQUEST", 400),
    ("create_dm", r#"{"user_id":9007199254740991}"#, "USER_NOT_FOUND", 404),
    ("create_dm", r#"{"user1_id":"$other","user2_id":"$other"}"#, "PERMISSION_DENIED", 403),
    ("send_dm", r#"{"conversation_id":"$mine","content":"a"}"#, "ROOM_NOT_FOUND", 404),
    ("get_user", r#"{"user_id":9007199254740991}"#, "USER_NOT_FOUND", 404),
];

#[tokio::test]
async fn refusals_have_their_codes_over_both_transports() {
    let mut shared = world().await;
    let addr = standard().addr();
    for (command, data, code, status) in REFUSALS {
        let data = shared.fill(data);
        let error = shared.me.refusal(command, data.clone()).await;
        assert_eq!((&error["code"], &error["retryable"]), (&json!(code), &json!(false)), "{command} {data}: {error}");
        assert!(documents().has_error(command, code), "{command}: {code} is not documented");
        let response = http::command(addr, &shared.token, command, &data).await.expect("a response");
        let problem = response.json();
        assert_eq!((response.status, &problem["code"]), (status, &json!(code)), "HTTP {command} {data}: {problem}");
        assert_eq!(problem["retryable"], false, "{command}");
        assert_eq!(response.header("content-type"), Some("application/problem+json"), "{command}");
        assert_eq!(problem["status"], status, "{command}");
    }
    shared.me.still_fine().await;
}

#[tokio::test]
async fn long_content_is_refused_at_its_limit_and_not_before() {
    let mut shared = world().await;
    let room = number(&shared.fill(r#"{"room":"$mine"}"#), "room");
    for (content, code) in [("é".repeat(2000), None), ("é".repeat(2001), Some("MESSAGE_TOO_LONG"))] {
        let data = json!({"room_id": room, "content": content});
        match code {
            None => drop(shared.me.ok("send_message", data).await),
            Some(code) => assert_eq!(shared.me.err("send_message", data).await, code),
        }
    }
    let big = json!({"k": "x".repeat(4096)});
    let data = json!({"room_id": room, "content": "a", "metadata": big});
    assert_eq!(shared.me.err("send_message", data).await, "INVALID_REQUEST");
    for (member, longest) in [("name", 100), ("description", 1000), ("topic", 250)] {
        let mut data = json!({"name": "n"});
        data[member] = json!("é".repeat(longest));
        shared.me.ok("create_room", data.clone()).await;
        data[member] = json!("é".repeat(longest + 1));
        let refusal = shared.me.refusal("create_room", data).await;
        assert_eq!((&refusal["code"], &refusal["field"]), (&json!("INVALID_REQUEST"), &json!(member)));
    }
}

#[tokio::test]
async fn history_is_paged_both_ways_without_hole_or_repetition() {
    let mut shared = world().await;
    let me = &mut shared.me;
    let room = room(me).await;
    for n in 1..=25 {
        me.say(room, &format!("m{n}")).await;
    }
    let ids = |page: &Value| -> Vec<u64> {
        page["messages"].as_array().expect("messages").iter().map(|message| number(message, "message_id")).collect()
    };
    let (mut all, mut before) = (Vec::new(), Value::Null);
    loop {
        let page = me.ok("get_history", json!({"room_id": room, "limit": 10, "before_id": before})).await;
        assert_eq!(page["seq"], 25);
        let page_ids = ids(&page);
        before = json!(page_ids[0]);
        all.splice(0..0, page_ids);
        if page["has_more"] == false {
            break;
        }
    }
    assert_eq!(all, (1..=25).collect::<Vec<u64>>());
    let after = me.ok("get_history", json!({"room_id": room, "limit": 10, "after_id": 10})).await;
    assert_eq!((ids(&after), &after["has_more"]), ((11..=20).collect(), &json!(true)));
    let end = me.ok("get_history", json!({"room_id": room, "limit": 10, "after_id": 20})).await;
    assert_eq!((ids(&end), &end["has_more"]), ((21..=25).collect(), &json!(false)));
    let around = ids(&me.ok("get_history", json!({"room_id": room, "limit": 5, "around_id": 12})).await);
    assert!(
        around.contains(&12) && around.len() == 5 && around.windows(2).all(|two| two[0] + 1 == two[1]),
        "{around:?}"
    );
}
