//! Threads, search, the inbox of mentions, unread and mention counts: that they are exact, and stay so.

use serde_json::{Value, json};
use veza_loadtest::client::{Client, PATIENCE};
use veza_loadtest::pg::TestPg;
use veza_loadtest::server::{Options, Server};
use veza_loadtest::testing::{fresh, number, room, room_of, standard, tight, user};

fn ids(page: &Value) -> Vec<u64> {
    page["messages"].as_array().expect("messages").iter().map(|message| number(message, "message_id")).collect()
}

#[tokio::test]
async fn a_thread_is_counted_paged_and_tells_its_participants() {
    let (mut owner, mut first, mut second) = (user(standard()).await, user(standard()).await, user(standard()).await);
    let room = room_of(&mut [&mut owner, &mut first, &mut second]).await;
    let root = owner.say(room, "root").await;
    let answer = async |client: &mut Client, to: u64, text: &str| {
        let data = json!({"room_id": room, "content": text, "parent_id": to});
        number(&client.ok("send_message", data).await, "message_id")
    };
    let mut answers = vec![answer(&mut first, root, "1").await];
    owner.push_of("notification").await.expect("the author is told");
    // An answer to an answer is in the same thread, and the first participant is told of it.
    answers.push(answer(&mut second, answers[0], "2").await);
    let told = first.push_of("notification").await.expect("told").data;
    assert_eq!((&told["kind"], number(&told, "from_user_id")), (&json!("reply"), second.user_id()));
    for n in 3..=7 {
        answers.push(answer(&mut owner, root, &n.to_string()).await);
    }
    let (mut found, mut after) = (Vec::new(), Value::Null);
    loop {
        let data = json!({"room_id": room, "parent_id": root, "after_id": after, "limit": 3});
        let page = second.ok("get_thread", data).await;
        assert_eq!((number(&page["parent"], "message_id"), number(&page["parent"], "thread_count")), (root, 7));
        found.extend(ids(&page));
        after = json!(found.last());
        if page["has_more"] == false {
            break;
        }
    }
    assert_eq!(found, answers);
    let by_answer = second.ok("get_thread", json!({"room_id": room, "parent_id": answers[3]})).await;
    assert_eq!((number(&by_answer["parent"], "message_id"), ids(&by_answer)), (root, answers));
}

/// Who is mentioned: members, by name and outside of code; everybody, by those who may.
#[tokio::test]
async fn a_message_mentions_members_and_nobody_else() {
    let (mut owner, mut member) = (user(tight()).await, user(tight()).await);
    let outsider = user(tight()).await;
    let room = room_of(&mut [&mut owner, &mut member]).await;
    let name = |client: &Client| client.me["username"].as_str().expect("a name").to_owned();
    let (owner_name, member_name, outsider_name) = (name(&owner), name(&member), name(&outsider));
    let (owner_id, member_id) = (owner.user_id(), member.user_id());
    for (by_owner, content, users, everyone) in [
        (true, format!("@{member_name}"), vec![member_id], false),
        (true, format!("@{}, @{member_name}.", owner_name.to_uppercase()), vec![owner_id, member_id], false),
        (true, format!("@{outsider_name} @nobody-{member_name} x@{member_name} `@{member_name}`"), vec![], false),
        (true, "now @room".to_owned(), vec![], true),
        (false, "and @room".to_owned(), vec![], false),
    ] {
        let author = if by_owner { &mut owner } else { &mut member };
        let data = json!({"room_id": room, "content": content});
        let sent = author.ok("send_message", data).await;
        let mut expected = users.clone();
        expected.sort_unstable();
        let read = author.ok("get_message", json!({"room_id": room, "message_id": sent["message_id"]})).await;
        assert_eq!(read["message"]["mentions"], json!(expected), "{content}");
        let inbox = member.ok("get_mentions", json!({"limit": 1})).await;
        let newest = inbox["messages"][0]["message_id"] == sent["message_id"];
        assert_eq!(newest, everyone || users.contains(&member_id), "{content}: {inbox}");
    }
}

/// Asks until the index, which follows the messages, has come so far.
async fn finds(client: &mut Client, data: Value, expected: &[u64]) {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let mut found = ids(&client.ok("search_messages", data.clone()).await);
        found.sort_unstable();
        if found == expected {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "{data}: {found:?}, not {expected:?}");
    }
}

async fn searching(server: &Server) {
    let (mut owner, mut reader) = (user(server).await, user(server).await);
    let (room, other) = (room_of(&mut [&mut owner, &mut reader]).await, room(&mut owner).await);
    let word = fresh("quokka").replace('-', "");
    let first = owner.say(room, &format!("the {word} sleeps")).await;
    let second = reader.say(room, &format!("a {word}, AWAKE!")).await;
    let hidden = owner.say(other, &format!("{word} elsewhere")).await;
    finds(&mut reader, json!({"query": word}), &[first, second]).await;
    finds(&mut owner, json!({"query": word, "room_id": other}), &[hidden]).await;
    for (data, expected) in [
        (json!({"query": word.to_uppercase()}), vec![first, second]),
        (json!({"query": format!("{word} sle")}), vec![first]),
        (json!({"query": format!("awake {word}")}), vec![second]),
        (json!({"query": format!("{word} nothing")}), vec![]),
        (json!({"query": word, "author_id": reader.user_id()}), vec![second]),
        (json!({"query": word, "room_id": room}), vec![first, second]),
        (json!({"query": word, "from": "2100-01-01T00:00:00Z"}), vec![]),
        (json!({"query": word, "to": "2020-01-01T00:00:00+02:00"}), vec![]),
        (json!({"query": word, "from": "2020-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z"}), vec![first, second]),
        (json!({"query": format!("\"{word}\" & (| ! ' * \\ NEAR")}), vec![]),
    ] {
        let mut found = ids(&reader.ok("search_messages", data.clone()).await);
        found.sort_unstable();
        // What is searched for as a sign matches nothing, or what its words match: it must only be no error.
        if !data["query"].as_str().expect("a query").contains('&') {
            assert_eq!(found, expected, "{data}");
        }
    }
    assert_eq!(reader.err("search_messages", json!({"query": word, "room_id": other})).await, "NOT_A_MEMBER");
    // Page by page, nothing twice.
    let one = reader.ok("search_messages", json!({"query": word, "limit": 1})).await;
    let two = json!({"query": word, "limit": 1, "cursor": one["next_cursor"]});
    let mut paged = [ids(&one), ids(&reader.ok("search_messages", two).await)].concat();
    paged.sort_unstable();
    assert_eq!(paged, [first, second]);
    // Edits are found as they now are; what is deleted, or left, is found no more at once.
    owner.ok("edit_message", json!({"room_id": room, "message_id": first, "content": format!("{word} wakes")})).await;
    finds(&mut reader, json!({"query": format!("{word} wakes")}), &[first]).await;
    finds(&mut reader, json!({"query": format!("{word} sleeps")}), &[]).await;
    owner.ok("delete_message", json!({"room_id": room, "message_id": first})).await;
    assert_eq!(ids(&reader.ok("search_messages", json!({"query": word})).await), [second]);
    reader.ok("leave_room", json!({"room_id": room})).await;
    assert_eq!(ids(&reader.ok("search_messages", json!({"query": word})).await), Vec::<u64>::new());
}

#[tokio::test]
async fn search_finds_what_one_may_read_as_it_now_is() {
    searching(standard()).await;
}

#[tokio::test]
async fn search_finds_what_one_may_read_as_it_now_is_on_postgresql() {
    let pg = TestPg::start();
    searching(&Server::start(Options { database: Some(pg.url()), ..Options::unlimited() })).await;
}

/// `last_seq`, `last_read_seq`, `unread_count`, `mention_count` of a room.
async fn unread(client: &mut Client, room: u64) -> (u64, u64, u64, u64) {
    let all = client.ok("get_unread", json!({})).await;
    let rooms = all["rooms"].as_array().expect("rooms");
    let row = rooms.iter().find(|row| row["room_id"] == room).expect("this room");
    let [a, b, c, d] = ["last_seq", "last_read_seq", "unread_count", "mention_count"].map(|name| number(row, name));
    (a, b, c, d)
}

async fn counting(database: Option<String>) {
    let mut server = Server::start(Options { database, ..Options::unlimited() });
    let token = server.token(&fresh("reader"));
    let (mut owner, mut reader) = (user(&server).await, Client::connect(server.addr(), &token).await.expect("in"));
    let name = reader.me["username"].as_str().expect("a name").to_owned();
    let room = room_of(&mut [&mut owner, &mut reader]).await;
    let mentioning = owner.say(room, &format!("@{name} one")).await;
    owner.say(room, "two").await;
    owner.say(room, "@room three").await;
    owner.ok("add_reaction", json!({"room_id": room, "message_id": 2, "emoji": "🤔"})).await;
    let gone = owner.say(room, &format!("@{name} four")).await;
    assert_eq!(unread(&mut reader, room).await, (5, 0, 4, 3));
    reader.ok("mark_read", json!({"room_id": room, "seq": mentioning})).await;
    assert_eq!(unread(&mut reader, room).await, (5, 1, 3, 2));
    // A deleted message still counts as one, but mentions nobody; an edit may mention anew.
    owner.ok("delete_message", json!({"room_id": room, "message_id": gone})).await;
    assert_eq!(unread(&mut reader, room).await, (6, 1, 3, 1));
    let edit = json!({"room_id": room, "message_id": 2, "content": format!("two, @{name}")});
    owner.ok("edit_message", edit).await;
    let before = unread(&mut reader, room).await;
    assert_eq!(before, (7, 1, 3, 2));
    server.kill9();
    server.restart();
    let mut reader = Client::connect(server.addr(), &token).await.expect("in");
    assert_eq!(unread(&mut reader, room).await, before, "after kill -9");
    let inbox = reader.ok("get_mentions", json!({"limit": 1})).await;
    let rest = reader.ok("get_mentions", json!({"limit": 5, "cursor": inbox["next_cursor"]})).await;
    assert_eq!([ids(&inbox), ids(&rest)].concat(), [3, 2, 1]);
    reader.say(room, "I have read all").await;
    assert_eq!(unread(&mut reader, room).await, (8, 8, 0, 0));
}

#[tokio::test]
async fn counts_are_exact_and_survive_kill_9_on_sqlite() {
    counting(None).await;
}

#[tokio::test]
async fn counts_are_exact_and_survive_kill_9_on_postgresql() {
    let pg = TestPg::start();
    counting(Some(pg.url())).await;
}
