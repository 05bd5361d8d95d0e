//! What others are told: each change as exactly one push, the same for everybody, after the reply to whoever made it,
//! and nothing any more to whom it concerns no longer.

use serde_json::{Value, json};
use veza_loadtest::client::Client;
use veza_loadtest::frame::Frame;
use veza_loadtest::testing::{Names, agrees, documents, fresh, number, room, room_of, standard, user};

/// Command, data, the type of its push, and what the push says among others.
type Row = (&'static str, &'static str, &'static str, &'static str);

/// In a room of the caller's, with `$member` in it; in this order.
const IN_ROOM: &[Row] = &[
    (
        "send_message",
        r#"{"room_id":"$room","content":"for @room"}"#,
        "message",
        r#"{"content":"for @room","author_id":"$me","reactions":[],"mentions":[],"thread_count":0,"is_pinned":false}"#,
    ),
    (
        "edit_message",
        r#"{"room_id":"$room","message_id":1,"content":"changed","reason":"secret"}"#,
        "message_edited",
        r#"{"message_id":1,"content":"changed","edit_count":1,"editor_id":"$me","mentions":[]}"#,
    ),
    (
        "add_reaction",
        r#"{"room_id":"$room","message_id":1,"emoji":"🏳️‍🌈"}"#,
        "reaction_added",
        r#"{"message_id":1,"emoji":"🏳️‍🌈","user_id":"$me","username":"$my_name","count":1}"#,
    ),
    (
        "remove_reaction",
        r#"{"room_id":"$room","message_id":1,"emoji":"🏳‍🌈"}"#,
        "reaction_removed",
        r#"{"message_id":1,"emoji":"🏳️‍🌈","user_id":"$me","count":0}"#,
    ),
    ("pin_message", r#"{"room_id":"$room","message_id":1}"#, "message_pinned", r#"{"message_id":1,"actor_id":"$me"}"#),
    (
        "unpin_message",
        r#"{"room_id":"$room","message_id":1}"#,
        "message_unpinned",
        r#"{"message_id":1,"actor_id":"$me"}"#,
    ),
    (
        "send_message",
        r#"{"room_id":"$room","content":"an answer","parent_id":1}"#,
        "message",
        r#"{"content":"an answer","parent_id":1}"#,
    ),
    (
        "delete_message",
        r#"{"room_id":"$room","message_id":1,"reason":"secret"}"#,
        "message_deleted",
        r#"{"message_id":1,"actor_id":"$me"}"#,
    ),
    (
        "update_room",
        r#"{"room_id":"$room","topic":"news"}"#,
        "room_updated",
        r#"{"room":{"room_id":"$room","topic":"news"},"actor_id":"$me"}"#,
    ),
    (
        "set_member_role",
        r#"{"room_id":"$room","user_id":"$member","role":"moderator"}"#,
        "member_role_changed",
        r#"{"user_id":"$member","username":"$member_name","role":"moderator","actor_id":"$me"}"#,
    ),
    (
        "sanction_user",
        r#"{"room_id":"$room","user_id":"$member","kind":"warn","reason":"secret"}"#,
        "user_sanctioned",
        r#"{"user_id":"$member","kind":"warn","expires_at":null,"actor_id":"$me"}"#,
    ),
    (
        "sanction_user",
        r#"{"room_id":"$room","user_id":"$member","kind":"mute","reason":"secret","duration_s":60}"#,
        "user_sanctioned",
        r#"{"user_id":"$member","kind":"mute","actor_id":"$me"}"#,
    ),
    ("delete_room", r#"{"room_id":"$room"}"#, "room_deleted", r#"{"actor_id":"$me"}"#),
];

/// What conversations have of it: up to where settings and roles begin.
fn in_conversation() -> &'static [Row] {
    let end = IN_ROOM.iter().position(|row| row.0 == "update_room").expect("a row");
    &IN_ROOM[..end]
}

/// A user with a second connection, and a member with two.
struct Stage {
    me: Client,
    watchers: Vec<Client>,
    names: Names,
}

async fn stage() -> Stage {
    let server = standard();
    let (mine, members) = (server.token(&fresh("actor")), server.token(&fresh("watcher")));
    let connect = async |token: &str| Client::connect(server.addr(), token).await.expect("in");
    let me = connect(&mine).await;
    let watchers = vec![connect(&mine).await, connect(&members).await, connect(&members).await];
    let mut names = Names::default();
    for (name, client) in [("$me", &me), ("$member", &watchers[1])] {
        names.set(name, client.user_id());
    }
    names.set("$my_name", me.me["username"].clone());
    names.set("$member_name", watchers[1].me["username"].clone());
    Stage { me, watchers, names }
}

impl Stage {
    /// Carries the rows out; everybody must see each as one push with the `seq` of the reply, and nothing else.
    async fn play(&mut self, rows: &[Row]) {
        for (row, seq) in rows.iter().zip(1..) {
            let (command, data, kind, expected) = row;
            let data = self.names.fill(data);
            let reply = self.me.ok(command, data.clone()).await;
            assert_eq!(number(&reply, "seq"), seq, "{command} {data}: {reply}");
            let early: Vec<&Frame> = self.me.queued().filter(|push| is_of(push, &reply, seq)).collect();
            assert!(early.is_empty(), "{command}: pushed before the reply: {early:?}");
            let expected = self.names.fill(expected);
            let mut seen: Option<Value> = None;
            for client in std::iter::once(&mut self.me).chain(&mut self.watchers) {
                let push = next_of_room(client, &reply["room_id"]).await;
                assert_eq!((push.kind.as_str(), number(&push.data, "seq")), (*kind, seq), "{command}: {push:?}");
                documents().check_push(&push);
                assert!(agrees(&push.data, &expected), "{command}: {} is not {expected}", push.data);
                assert!(!push.data.to_string().contains("secret"), "reasons are for those who ask: {push:?}");
                let seen = seen.get_or_insert_with(|| push.data.clone());
                assert_eq!(*seen, push.data, "{command}: a frame is the same for every receiver");
            }
        }
    }
}

fn is_of(push: &Frame, reply: &Value, seq: u64) -> bool {
    push.data["room_id"] == reply["room_id"] && push.data["seq"] == seq && push.kind != "read"
}

/// The next sequenced push of that room.
async fn next_of_room(client: &mut Client, room: &Value) -> Frame {
    loop {
        let push = client.push().await.expect("a push");
        if push.data["room_id"] == *room && !push.data["seq"].is_null() && push.kind != "read" {
            return push;
        }
    }
}

#[tokio::test]
async fn each_change_in_a_room_is_one_push_after_its_reply() {
    let mut stage = stage().await;
    let room = room(&mut stage.me).await;
    stage.watchers[0].ok("subscribe", json!({"room_id": room})).await;
    for watcher in &mut stage.watchers[1..] {
        watcher.ok("join_room", json!({"room_id": room})).await;
    }
    stage.names.set("$room", room);
    stage.play(IN_ROOM).await;
    for client in std::iter::once(&mut stage.me).chain(&mut stage.watchers) {
        assert_eq!(client.err("get_room", json!({"room_id": room})).await, "ROOM_NOT_FOUND");
    }
}

#[tokio::test]
async fn each_change_in_a_conversation_is_one_push_after_its_reply() {
    let mut stage = stage().await;
    let dm = stage.me.ok("create_dm", stage.names.fill(r#"{"user_id":"$member"}"#)).await;
    stage.names.set("$room", dm["conversation_id"].clone());
    stage.play(in_conversation()).await;
}

/// Whose membership ends sees how, and nothing of the room after that, on any connection.
#[tokio::test]
async fn nothing_of_a_room_comes_after_the_end_of_a_membership() {
    let server = standard();
    for (command, extra, last) in [
        ("kick_member", json!({}), "member_kicked"),
        ("sanction_user", json!({"kind": "kick", "reason": "x"}), "user_sanctioned"),
        ("sanction_user", json!({"kind": "ban", "reason": "x"}), "user_sanctioned"),
    ] {
        let token = server.token(&fresh("expelled"));
        let (mut owner, mut first) = (user(server).await, Client::connect(server.addr(), &token).await.expect("in"));
        let mut second = Client::connect(server.addr(), &token).await.expect("in");
        let room = room_of(&mut [&mut owner, &mut first]).await;
        let elsewhere = room_of(&mut [&mut owner, &mut first]).await;
        for id in [room, elsewhere] {
            second.ok("subscribe", json!({"room_id": id})).await;
        }
        let mut data = extra.clone();
        (data["room_id"], data["user_id"]) = (json!(room), json!(first.user_id()));
        owner.ok(command, data).await;
        let loud = [
            ("send_message", json!({"room_id": room, "content": "unheard"})),
            ("add_reaction", json!({"room_id": room, "message_id": 2, "emoji": "🤔"})),
            ("pin_message", json!({"room_id": room, "message_id": 2})),
            ("typing", json!({"room_id": room, "is_typing": true})),
            ("update_room", json!({"room_id": room, "topic": "unheard"})),
            ("delete_message", json!({"room_id": room, "message_id": 2})),
        ];
        for (command, data) in loud {
            owner.ok(command, data).await;
        }
        owner.say(elsewhere, "heard").await;
        for client in [&mut first, &mut second] {
            let end = next_of_room(client, &json!(room)).await;
            assert_eq!((end.kind.as_str(), number(&end.data, "seq")), (last, 1), "{end:?}");
            documents().check_push(&end);
            assert_eq!(client.hear().await.1, "heard");
            let after = client.pushes_so_far().await.expect("alive");
            assert!(after.iter().all(|push| push.data["room_id"] != room), "{command}: {after:?}");
            for (command, data) in [("subscribe", json!({"room_id": room})), ("get_history", json!({"room_id": room}))]
            {
                assert_eq!(client.err(command, data).await, "NOT_A_MEMBER");
            }
        }
    }
}

/// A mute silences, a ban bars, and both end when they are lifted.
#[tokio::test]
async fn sanctions_hold_until_they_are_lifted() {
    let (mut owner, mut member) = (user(standard()).await, user(standard()).await);
    let room = room_of(&mut [&mut owner, &mut member]).await;
    let message = member.say(room, "before").await;
    let sanction = async |owner: &mut Client, member: &mut Client, kind: &str| {
        let data = json!({"room_id": room, "user_id": member.user_id(), "kind": kind, "reason": "because"});
        let given = owner.ok("sanction_user", data).await;
        let told = member.push_of("sanction").await.expect("told");
        documents().check_push(&told);
        let id = given["sanction_id"].clone();
        let expected =
            json!({"sanction_id": id, "kind": kind, "reason": "because", "room_id": room, "lifted_at": null});
        assert!(agrees(&told.data, &expected), "{told:?}");
        id
    };
    let lift = async |owner: &mut Client, member: &mut Client, id: Value| {
        owner.ok("lift_sanction", json!({"sanction_id": id})).await;
        let told = member.push_of("sanction").await.expect("told");
        documents().check_push(&told);
        assert!(told.data["sanction_id"] == id && told.data["lifted_at"].is_string(), "{told:?}");
    };
    let mute = sanction(&mut owner, &mut member, "mute").await;
    for (command, data) in [
        ("send_message", json!({"room_id": room, "content": "x"})),
        ("edit_message", json!({"room_id": room, "message_id": message, "content": "x"})),
        ("add_reaction", json!({"room_id": room, "message_id": message, "emoji": "🤔"})),
        ("typing", json!({"room_id": room, "is_typing": true})),
    ] {
        assert_eq!(member.err(command, data).await, "SANCTIONED", "{command}");
    }
    member.ok("get_history", json!({"room_id": room})).await;
    lift(&mut owner, &mut member, mute).await;
    member.say(room, "after").await;
    let ban = sanction(&mut owner, &mut member, "ban").await;
    assert_eq!(member.err("join_room", json!({"room_id": room})).await, "SANCTIONED");
    lift(&mut owner, &mut member, ban).await;
    let joined = member.ok("join_room", json!({"room_id": room})).await;
    assert_eq!(joined["role"], "member");
    let listed = member.ok("list_sanctions", json!({})).await;
    let kinds: Vec<&Value> =
        listed["sanctions"].as_array().expect("sanctions").iter().map(|row| &row["kind"]).collect();
    assert_eq!(kinds, [&json!("ban"), &json!("mute")], "one's own, the newest first");
}

/// Mentions, answers, conversations and invitations reach whom they concern, wherever that user is.
#[tokio::test]
async fn notifications_reach_every_connection_of_whom_they_concern() {
    let server = standard();
    let token = server.token(&fresh("notified"));
    let (mut owner, mut first) = (user(server).await, Client::connect(server.addr(), &token).await.expect("in"));
    let mut second = Client::connect(server.addr(), &token).await.expect("in");
    let name = first.me["username"].as_str().expect("a name").to_owned();
    let room = room_of(&mut [&mut owner, &mut first]).await;
    let private = owner.ok("create_room", json!({"name": "inner circle", "visibility": "private"})).await;
    let private = number(&private["room"], "room_id");
    let own = first.say(room, "mine").await;
    let dm = number(&owner.ok("create_dm", json!({"user_id": first.user_id()})).await, "conversation_id");
    let owner_id = owner.user_id();
    let long = format!("@{name} {}", "é".repeat(100));
    let cases: [(&str, Value, &str, u64, String); 5] = [
        (
            "send_message",
            json!({"room_id": room, "content": format!("`@{name}` hi @{name}!")}),
            "mention",
            room,
            format!("`@{name}` hi @{name}!"),
        ),
        ("send_message", json!({"room_id": room, "content": long}), "mention", room, long.chars().take(80).collect()),
        (
            "send_message",
            json!({"room_id": room, "content": "answer", "parent_id": own}),
            "reply",
            room,
            "answer".into(),
        ),
        ("send_dm", json!({"conversation_id": dm, "content": "psst"}), "dm", dm, "psst".into()),
        ("invite_member", json!({"room_id": private, "user_id": first.user_id()}), "invite", private, String::new()),
    ];
    for (command, data, kind, place, preview) in cases {
        let reply = owner.ok(command, data.clone()).await;
        for client in [&mut first, &mut second] {
            let told = client.push_of("notification").await.expect("told");
            documents().check_push(&told);
            let expected = json!({"kind": kind, "room_id": place, "from_user_id": owner_id});
            assert!(agrees(&told.data, &expected), "{command} {data}: {told:?}");
            if kind != "invite" {
                assert_eq!((&told.data["preview"], &told.data["message_id"]), (&json!(preview), &reply["message_id"]));
            }
        }
    }
    // Inside code nobody is mentioned, and nobody is told of what he did himself.
    owner.say(room, &format!("`@{name}` and\n```\n@{name}\n```")).await;
    first.ok("send_message", json!({"room_id": room, "content": format!("me, @{name}"), "parent_id": own})).await;
    owner.say(room, &format!("@{name} last")).await;
    let told = second.push_of("notification").await.expect("told");
    assert_eq!(told.data["preview"], format!("@{name} last"), "{told:?}");
    let inbox = first.ok("get_mentions", json!({"limit": 3})).await;
    documents().check_reply("get_mentions", &inbox);
    let contents: Vec<&Value> = inbox["messages"].as_array().expect("messages").iter().map(|m| &m["content"]).collect();
    let expected = [format!("@{name} last"), format!("me, @{name}"), long];
    assert_eq!(contents, expected.each_ref().map(|text| json!(text)).each_ref(), "the newest first");
}

/// `typing`, `presence` and `read` of a small room and of a conversation.
#[tokio::test]
async fn ephemeral_pushes_say_what_the_documents_say() {
    let (mut owner, mut member) = (user(standard()).await, user(standard()).await);
    let room = room_of(&mut [&mut owner, &mut member]).await;
    let dm = number(&owner.ok("create_dm", json!({"user_id": member.user_id()})).await, "conversation_id");
    owner.say(room, "x").await;
    for place in [room, dm] {
        for is_typing in [true, false] {
            member.ok("typing", json!({"room_id": place, "is_typing": is_typing})).await;
            let push = owner.push_of("typing").await.expect("a push");
            documents().check_push(&push);
            let expected = json!({"room_id": place, "user_id": member.user_id(), "is_typing": is_typing});
            assert!(agrees(&push.data, &expected), "{push:?}");
        }
    }
    member.ok("update_status", json!({"status": "away", "message": "tea"})).await;
    for _ in 0..2 {
        let expected = json!({"user_id": member.user_id(), "status": "away", "message": "tea"});
        let push = loop {
            let push = owner.push_of("presence").await.expect("a push");
            documents().check_push(&push);
            if agrees(&push.data, &expected) {
                break push;
            }
        };
        assert!([room, dm].map(Some).contains(&push.data["room_id"].as_u64()), "{push:?}");
    }
}
