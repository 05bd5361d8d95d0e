//! A server over a database that `seed` has filled says what was put there, and goes on from it.

use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::task::block_in_place;
use veza_loadtest::client::{Client, PATIENCE};
use veza_loadtest::fault::Store;
use veza_loadtest::pg::TestPg;
use veza_loadtest::seed::{BIG_ROOM, Maker, Member, Plan, Room, user_name, write};
use veza_loadtest::server::{Options, Server};
use veza_loadtest::testing::number;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seeded_database_is_served_as_it_was_filled() {
    for store in [Store::Sqlite, Store::Postgres] {
        let plan = Plan { users: 40, rooms: 25, messages_in_one_room: 400, seed: 11 };
        let (server, _pg) = block_in_place(|| start(store, &plan));
        let maker = Maker::new(plan);
        for id in [BIG_ROOM, 2, 3, 11, 26] {
            let room = maker.room(id);
            let member = room.members.last().expect("every room has one");
            let mut client = connect(&server, member.user).await;
            assert_eq!(client.user_id(), member.user);
            check_unread(&mut client, &room, member).await;
            check_history(&mut client, &room).await;
            check_members(&mut client, &room).await;
            check_replay(&mut client, &room).await;
            check_join(&server, &room).await;
        }
        check_edits_and_search(&server, &maker.room(BIG_ROOM)).await;
        check_going_on(&server, &maker.room(BIG_ROOM)).await;
    }
}

fn start(store: Store, plan: &Plan) -> (Server, Option<TestPg>) {
    let pg = (store == Store::Postgres).then(TestPg::start);
    let database = pg.as_ref().map(TestPg::url);
    let mut server = Server::prepare(Options { database: database.clone(), ..Options::unlimited() });
    std::fs::create_dir_all(server.data_dir()).expect("the server's own directory");
    let url = database.unwrap_or_else(|| format!("sqlite://{}/veza.db", server.data_dir().display()));
    write(&url, plan).expect("an empty database takes it");
    server.try_start().expect("it starts");
    (server, pg)
}

async fn connect(server: &Server, user: u64) -> Client {
    Client::connect(server.addr(), &server.token(&user_name(user))).await.expect("a good token")
}

async fn check_unread(client: &mut Client, room: &Room, member: &Member) {
    let unread = client.ok("get_unread", json!({})).await;
    let rows = unread["rooms"].as_array().expect("a list");
    let row = rows.iter().find(|row| row["room_id"] == room.id).expect("his room");
    assert_eq!(row["last_seq"], room.head());
    assert_eq!(row["last_read_seq"], member.read_seq);
    assert_eq!(row["unread_count"], room.messages() - member.read_no);
    let of_others = |event: &&veza_loadtest::seed::Event| event.seq > member.read_seq && event.author != member.user;
    let mentions = room.events.iter().filter(of_others).filter(|event| event.is_message() && !event.is_deleted());
    let mentions = mentions.filter(|event| event.mention == Some(member.user)).count();
    assert_eq!(row["mention_count"], mentions, "{row}");
}

async fn check_history(client: &mut Client, room: &Room) {
    let (mut seen, mut after) = (Vec::new(), 0);
    loop {
        let page = client.ok("get_history", json!({"room_id": room.id, "after_id": after, "limit": 100})).await;
        assert_eq!(page["seq"], room.head());
        seen.extend(page["messages"].as_array().expect("a list").iter().cloned());
        after = seen.last().map_or(0, |message: &Value| number(message, "message_id"));
        if page["has_more"] == false {
            break;
        }
    }
    let expected: Vec<_> = room.events.iter().filter(|event| event.is_message()).collect();
    assert_eq!(seen.len(), expected.len());
    for (message, event) in seen.iter().zip(expected) {
        let reactions = |of: u64| {
            let mut all: Vec<_> = room.reactions.iter().filter(|((id, _), _)| *id == of).collect();
            all.sort_by_key(|(_, (first, _))| *first);
            all.iter().map(|((_, emoji), (_, users))| (json!(emoji), json!(users.len()))).collect::<Vec<_>>()
        };
        let listed = message["reactions"].as_array().expect("a list");
        let listed: Vec<_> = listed.iter().map(|it| (it["emoji"].clone(), it["count"].clone())).collect();
        let content = event.content.as_deref().filter(|_| !event.is_deleted()).unwrap_or("");
        let is = [
            json!(event.seq),
            json!(event.author),
            json!(content),
            json!(event.parent),
            json!(event.thread_count),
            json!(event.is_pinned()),
            json!(event.original.is_some()),
            json!(event.is_deleted()),
        ];
        let members =
            ["message_id", "author_id", "content", "parent_id", "thread_count", "is_pinned", "is_edited", "is_deleted"];
        assert_eq!(members.map(|member| message[member].clone()), is, "{event:?}");
        if !event.is_deleted() {
            assert_eq!(listed, reactions(event.seq), "{event:?}");
            assert_eq!(message["mentions"], json!(event.mention.into_iter().collect::<Vec<u64>>()));
        }
    }
}

async fn check_members(client: &mut Client, room: &Room) {
    let page = client.ok("get_members", json!({"room_id": room.id, "limit": 100})).await;
    let listed = page["members"].as_array().expect("a list").iter();
    let mut expected: Vec<u64> = room.members.iter().map(|member| member.user).collect();
    expected.sort_unstable();
    // Those who joined in this test may be there, too.
    let listed: Vec<u64> = listed.map(|member| number(member, "user_id")).collect();
    assert!(expected.iter().all(|user| listed.contains(user)) && listed.len() <= expected.len() + 1, "{page}");
}

/// All of the log, as a client sees it that was there before the first event.
async fn check_replay(client: &mut Client, room: &Room) {
    let subscribed = client.ok("subscribe", json!({"room_id": room.id, "last_seq": 0})).await;
    assert_eq!((&subscribed["recovered"], &subscribed["replayed"]), (&json!(true), &json!(room.head())));
    let mut next = 1;
    while next <= room.head() {
        let push = client.push().await.expect("a living connection");
        if push.data["room_id"] == room.id && push.data["seq"].is_number() {
            assert_eq!(number(&push.data, "seq"), next);
            next += 1;
        }
    }
}

async fn check_join(server: &Server, room: &Room) {
    let joined = |user: &u64| room.members.iter().any(|member| member.user == *user);
    let Some(stranger) = (1..=40).find(|user| !joined(user)) else { return };
    let mut client = connect(server, stranger).await;
    let reply = client.ok("join_room", json!({"room_id": room.id})).await;
    assert_eq!(reply["room"]["member_count"], room.members.len() + 1);
    assert_eq!((&reply["seq"], &reply["unread_count"]), (&json!(room.head()), &json!(0)));
}

async fn check_edits_and_search(server: &Server, room: &Room) {
    let mut client = connect(server, room.members[0].user).await;
    let there = |event: &&veza_loadtest::seed::Event| event.is_message() && !event.is_deleted();
    let edited = room.events.iter().filter(there).find(|event| event.original.is_some()).expect("some are edited");
    let edits = client.ok("get_edits", json!({"room_id": room.id, "message_id": edited.seq})).await;
    let texts = [&edits["edits"][0]["content"], &edits["edits"][1]["content"]];
    assert_eq!(texts, [&json!(edited.original), &json!(edited.content)]);
    // The index is filled by the server, behind everything else.
    let longest = room.events.iter().filter(there).max_by_key(|event| event.content.as_ref().map(String::len));
    let longest = longest.expect("there are messages");
    let query = json!({"room_id": room.id, "query": longest.content});
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = client.ok("search_messages", query.clone()).await;
        if found["messages"].as_array().is_some_and(|found| found.len() == 1) {
            assert_eq!(found["messages"][0]["message_id"], longest.seq);
            break;
        }
        assert!(Instant::now() < deadline, "not found: {query}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// New rooms, users and messages come after those that are there.
async fn check_going_on(server: &Server, room: &Room) {
    let mut client = connect(server, room.members[0].user).await;
    let sent = client.ok("send_message", json!({"room_id": room.id, "content": "on"})).await;
    assert_eq!(sent["seq"], room.head() + 1);
    let made = client.ok("create_room", json!({"name": "new"})).await;
    assert!(number(&made["room"], "room_id") > 26, "{made}");
    let newcomer = Client::connect(server.addr(), &server.token("somebody else")).await.expect("a good token");
    assert!(newcomer.user_id() > 40);
}
