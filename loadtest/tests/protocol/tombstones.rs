//! What is told later is as it now is: replays and reads after edits, reactions, pins and deletions, in rooms and
//! conversations, on both stores, from memory and after kill -9. Of what was deleted nothing is told anywhere.

use serde_json::{Value, json};
use veza_loadtest::client::Client;
use veza_loadtest::documents::Documents;
use veza_loadtest::pg::TestPg;
use veza_loadtest::server::{Options, Server};
use veza_loadtest::testing::{Names, agrees, number, room_of, user};

/// What must never be seen again once it is deleted.
const SECRET: &str = "xyzzy";

/// By whom (a: the owner, or one side; b: the member, or the other), command, data. `$p` is the place.
const STORY: &[(char, &str, &str)] = &[
    ('a', "send_message", r#"{"room_id":"$p","content":"kept"}"#),
    ('a', "send_message", r#"{"room_id":"$p","content":"xyzzy one","metadata":{"k":"xyzzy"}}"#),
    ('b', "send_message", r#"{"room_id":"$p","content":"for @amy, xyzzy"}"#),
    ('a', "edit_message", r#"{"room_id":"$p","message_id":2,"content":"xyzzy two","reason":"xyzzy"}"#),
    ('b', "add_reaction", r#"{"room_id":"$p","message_id":1,"emoji":"👍🏽"}"#),
    ('a', "add_reaction", r#"{"room_id":"$p","message_id":1,"emoji":"👍🏽"}"#),
    ('b', "add_reaction", r#"{"room_id":"$p","message_id":1,"emoji":":tada:"}"#),
    ('b', "add_reaction", r#"{"room_id":"$p","message_id":2,"emoji":"❤️"}"#),
    ('a', "pin_message", r#"{"room_id":"$p","message_id":2}"#),
    ('a', "pin_message", r#"{"room_id":"$p","message_id":1}"#),
    ('b', "send_message", r#"{"room_id":"$p","content":"an answer","parent_id":1}"#),
    ('b', "send_message", r#"{"room_id":"$p","content":"xyzzy answer","parent_id":2}"#),
    ('a', "edit_message", r#"{"room_id":"$p","message_id":1,"content":"kept, changed"}"#),
    ('b', "remove_reaction", r#"{"room_id":"$p","message_id":1,"emoji":":tada:"}"#),
    ('a', "send_message", r#"{"room_id":"$p","content":"for @ben"}"#),
    ('a', "delete_message", r#"{"room_id":"$p","message_id":2}"#),
    ('b', "delete_message", r#"{"room_id":"$p","message_id":3}"#),
    ('b', "delete_message", r#"{"room_id":"$p","message_id":12}"#),
];

/// `seq`, kind and parts of every event as a replay must show it now.
fn expected() -> Vec<(u64, &'static str, Value)> {
    let gone = json!({"content": "", "is_deleted": true, "is_pinned": false, "reactions": [], "mentions": []});
    let kept = json!({
        "content": "kept, changed", "is_edited": true, "edit_count": 1, "is_pinned": true, "thread_count": 1,
        "is_deleted": false, "reactions": [{"emoji": "👍🏽", "count": 2}],
    });
    let events = [
        ("message", kept),
        ("message", gone.clone()),
        ("message", gone.clone()),
        ("message_edited", json!({"message_id": 2, "content": "", "edit_count": 1})),
        ("reaction_added", json!({"message_id": 1, "count": 1})),
        ("reaction_added", json!({"message_id": 1, "count": 2})),
        ("reaction_added", json!({"message_id": 1, "emoji": ":tada:"})),
        ("reaction_added", json!({"message_id": 2})),
        ("message_pinned", json!({"message_id": 2})),
        ("message_pinned", json!({"message_id": 1})),
        ("message", json!({"content": "an answer", "parent_id": 1})),
        ("message", gone),
        ("message_edited", json!({"message_id": 1, "content": "kept, changed", "edit_count": 1})),
        ("reaction_removed", json!({"message_id": 1, "emoji": ":tada:", "count": 0})),
        ("message", json!({"content": "for @ben"})),
        ("message_deleted", json!({"message_id": 2})),
        ("message_deleted", json!({"message_id": 3})),
        ("message_deleted", json!({"message_id": 12})),
    ];
    (1..).zip(events).map(|(seq, (kind, data))| (seq, kind, data)).collect()
}

struct World {
    server: Server,
    documents: Documents,
    places: [u64; 2],
}

impl World {
    async fn client(&self, name: &str) -> Client {
        let claims = json!({"sub": name, "username": name, "exp": veza_loadtest::token::unix_seconds() + 3600});
        let token = veza_loadtest::token::sign(veza_loadtest::server::SECRET, &claims);
        Client::connect(self.server.addr(), &token).await.expect("in")
    }

    async fn told(database: Option<String>) -> World {
        let server = Server::start(Options { database, ..Options::unlimited() });
        let documents = Documents::of(server.addr());
        let mut world = World { server, documents, places: [0; 2] };
        let (mut amy, mut ben) = (world.client("amy").await, world.client("ben").await);
        let room = room_of(&mut [&mut amy, &mut ben]).await;
        let dm = number(&amy.ok("create_dm", json!({"user_id": ben.user_id()})).await, "conversation_id");
        world.places = [room, dm];
        for place in world.places {
            let mut names = Names::default();
            names.set("$p", place);
            for ((by, command, data), seq) in STORY.iter().zip(1..) {
                let client = if *by == 'a' { &mut amy } else { &mut ben };
                let reply = client.ok(command, names.fill(data)).await;
                assert_eq!(number(&reply, "seq"), seq, "{command} {data}");
            }
        }
        world
    }

    /// Holds everything that can be asked for to the story.
    async fn check(&self, when: &str) {
        for place in self.places {
            for from in [0, 3, 15] {
                self.check_replay(place, from, when).await;
            }
            self.check_reads(place, when).await;
        }
        for name in ["amy", "ben"] {
            let mut client = self.client(name).await;
            for (command, data) in [
                ("search_messages", json!({"query": SECRET})),
                ("get_mentions", json!({})),
                ("list_dms", json!({})),
                ("get_unread", json!({})),
            ] {
                let reply = client.ok(command, data).await;
                assert!(!reply.to_string().contains(SECRET), "{when}: {command}: {reply}");
                self.documents.check_reply(command, &reply);
            }
        }
        let mut ben = self.client("ben").await;
        let inbox = ben.ok("get_mentions", json!({})).await;
        let contents: Vec<&Value> =
            inbox["messages"].as_array().expect("messages").iter().map(|message| &message["content"]).collect();
        assert_eq!(contents, ["for @ben"; 2], "{when}: {inbox}");
        assert_eq!(self.client("amy").await.ok("get_mentions", json!({})).await["messages"], json!([]), "{when}");
    }

    async fn check_replay(&self, place: u64, from: u64, when: &str) {
        let mut client = self.client("ben").await;
        let resumed = client.ok("resume", json!({"rooms": [{"room_id": place, "last_seq": from}]})).await;
        let verdict = &resumed["rooms"][0];
        assert_eq!((&verdict["recovered"], number(verdict, "seq")), (&json!(true), 18), "{when}: {resumed}");
        for (seq, kind, data) in expected().into_iter().skip(usize::try_from(from).expect("small")) {
            let push = loop {
                let push = client.push().await.expect("a push");
                if push.data["room_id"] == place && push.data["seq"].is_u64() && push.kind != "read" {
                    break push;
                }
            };
            assert_eq!((number(&push.data, "seq"), push.kind.as_str()), (seq, kind), "{when}: {push:?}");
            assert!(agrees(&push.data, &data), "{when}: {} is not {data}", push.data);
            assert!(!push.data.to_string().contains(SECRET), "{when}: {push:?}");
            self.documents.check_push(&push);
        }
    }

    async fn check_reads(&self, place: u64, when: &str) {
        let mut ben = self.client("ben").await;
        let state = json!([{"message_id": 1, "reactions": [{"emoji": "👍🏽", "count": 2, "me": true}]}]);
        for (command, data, expected) in [
            ("get_history", json!({}), json!({"seq": 18, "has_more": false})),
            ("get_history", json!({"before_id": 13}), json!({"seq": 18})),
            ("get_history", json!({"after_id": 1}), json!({"seq": 18})),
            ("get_history", json!({"around_id": 1, "limit": 1}), json!({"messages": state})),
            (
                "get_message",
                json!({"message_id": 1}),
                json!({"message": {"content": "kept, changed", "thread_count": 1}}),
            ),
            ("get_pinned_messages", json!({}), json!({"messages": [{"message_id": 1, "is_pinned": true}]})),
            ("get_thread", json!({"parent_id": 1}), json!({"messages": [{"message_id": 11}]})),
            ("get_thread", json!({"parent_id": 2}), json!({"parent": {"content": "", "is_deleted": true}})),
            (
                "get_edits",
                json!({"message_id": 1}),
                json!({"edits": [{"content": "kept"}, {"content": "kept, changed"}]}),
            ),
            ("get_reactions", json!({"message_id": 1}), json!({"reactions": [{"emoji": "👍🏽", "count": 2}]})),
            ("get_room_stats", json!({}), json!({"message_count": 3, "pinned_count": 1})),
            ("search_messages", json!({"query": SECRET}), json!({"messages": []})),
        ] {
            let mut data = data;
            data["room_id"] = json!(place);
            let reply = ben.ok(command, data.clone()).await;
            assert!(agrees(&reply, &expected), "{when}: {command} {data}: {reply} is not {expected}");
            assert!(!reply.to_string().contains(SECRET), "{when}: {command} {data}: {reply}");
            self.documents.check_reply(command, &reply);
        }
        for command in ["get_edits", "get_reactions", "add_reaction", "edit_message", "pin_message"] {
            let data = json!({"room_id": place, "message_id": 2, "emoji": "🤔", "content": "x"});
            let code = ben.err(command, data).await;
            let right = ["MESSAGE_NOT_FOUND", "PERMISSION_DENIED"].contains(&code.as_str());
            assert!(right, "{when}: {command} of a deleted message: {code}");
        }
    }
}

/// Until the grace is over, moderators can read what was deleted, where they ask for it by its id; then it is gone.
async fn grace(database: Option<String>) {
    let settings = [("retention.deleted_grace", "3s"), ("retention.job_interval", "1s")];
    let server = Server::start(Options { database, ..Options::unlimited().and(&settings) });
    let (mut owner, mut member) = (user(&server).await, user(&server).await);
    let room = room_of(&mut [&mut owner, &mut member]).await;
    let message = member.say(room, SECRET).await;
    let edit = json!({"room_id": room, "message_id": message, "content": format!("{SECRET}, too")});
    member.ok("edit_message", edit).await;
    let about = json!({"room_id": room, "message_id": message});
    member.ok("delete_message", about.clone()).await;
    assert_eq!(member.ok("get_message", about.clone()).await["message"]["content"], "", "not even to its author");
    let mut content = owner.ok("get_message", about.clone()).await["message"]["content"].clone();
    assert_eq!(content, format!("{SECRET}, too"));
    while content != "" {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        content = owner.ok("get_message", about.clone()).await["message"]["content"].clone();
    }
    if let Ok(edits) = owner.call("get_edits", about).await {
        assert!(!edits.data.to_string().contains(SECRET), "{edits:?}");
    }
}

#[tokio::test]
async fn moderators_read_what_is_deleted_until_the_grace_is_over() {
    let pg = TestPg::start();
    tokio::join!(grace(None), grace(Some(pg.url())));
}

async fn plays(database: Option<String>) {
    let mut world = World::told(database).await;
    world.check("at once").await;
    world.server.kill9();
    world.server.restart();
    world.check("after kill -9").await;
}

#[tokio::test]
async fn what_is_told_later_is_as_it_now_is_on_sqlite() {
    plays(None).await;
}

#[tokio::test]
async fn what_is_told_later_is_as_it_now_is_on_postgresql() {
    let pg = TestPg::start();
    plays(Some(pg.url())).await;
}
