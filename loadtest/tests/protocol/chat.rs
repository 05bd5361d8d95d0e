//! The commands of the chat model, each over both transports, with the reply that the documents describe; and what
//! they refuse.

use serde_json::{Value, json};
use veza_loadtest::client::Client;
use veza_loadtest::http;
use veza_loadtest::server::Server;
use veza_loadtest::testing::{Names, agrees, documents, fresh, number, room, room_of, standard, user};

/// A world in which every command can succeed once, and the names of what is in it.
pub struct World {
    pub me: Client,
    token: String,
    pub names: Names,
    /// Members of `$mine` and owners of the other rooms: they stay connected.
    _others: Vec<Client>,
}

pub async fn world(server: &Server) -> World {
    let token = server.token(&fresh("caller"));
    let mut me = Client::connect(server.addr(), &token).await.expect("a good token");
    let (mut other, mut member) = (user(server).await, user(server).await);
    let (second, invitee) = (user(server).await, user(server).await);
    let mut names = Names::default();
    let mine = room_of(&mut [&mut me, &mut member]).await;
    let joined = room_of(&mut [&mut other, &mut me]).await;
    let (theirs, doomed) = (room(&mut other).await, room(&mut me).await);
    let hidden = other.ok("create_room", json!({"name": "hidden", "visibility": "private"})).await;
    let dm = number(&me.ok("create_dm", json!({"user_id": other.user_id()})).await, "conversation_id");
    let elsewhere = other.ok("create_dm", json!({"user_id": member.user_id()})).await;
    for (name, value) in [
        ("$mine", mine),
        ("$joined", joined),
        ("$theirs", theirs),
        ("$doomed", doomed),
        ("$hidden", number(&hidden["room"], "room_id")),
        ("$dm", dm),
        ("$elsewhere", number(&elsewhere, "conversation_id")),
        ("$me", me.user_id()),
        ("$other", other.user_id()),
        ("$member", member.user_id()),
        ("$second", second.user_id()),
        ("$invitee", invitee.user_id()),
        ("$message", me.say(mine, "a message").await),
        ("$spare", me.say(mine, "another").await),
        ("$of_member", member.say(mine, "a member's").await),
        ("$of_other", other.say(joined, "an owner's").await),
        ("$own", me.say(joined, "a member's own").await),
        ("$dm_message", me.say(dm, "in a conversation").await),
        ("$dm_spare", me.say(dm, "in a conversation, too").await),
        ("$of_partner", other.say(dm, "of the other side").await),
    ] {
        names.set(name, value);
    }
    World { me, token, names, _others: vec![other, member, second, invitee] }
}

/// Command, data, what the reply says among others; in this order. Values that later rows need are named behind it.
type Row = (&'static str, &'static str, &'static str, &'static [(&'static str, &'static str)]);

const ROOMS: &[Row] = &[
    ("update_status", r#"{"status":"busy","message":"at lunch"}"#, r#"{"status":"busy","message":"at lunch"}"#, &[]),
    ("update_status", r#"{"status":"online"}"#, r#"{"status":"online","message":null}"#, &[]),
    (
        "update_room",
        r#"{"room_id":"$mine","name":"new name","topic":"t","slow_mode_s":7}"#,
        r#"{"room_id":"$mine","room":{"name":"new name","topic":"t","slow_mode_s":7,"description":null}}"#,
        &[],
    ),
    ("update_room", r#"{"room_id":"$mine","topic":""}"#, r#"{"room":{"name":"new name"}}"#, &[]),
    ("invite_member", r#"{"room_id":"$mine","user_id":"$invitee"}"#, r#"{"room_id":"$mine"}"#, &[]),
    ("invite_member", r#"{"room_id":"$mine","user_id":"$invitee"}"#, r#"{"room_id":"$mine"}"#, &[]),
    (
        "create_role",
        r#"{"room_id":"$mine","name":"dj","permissions":["pin","read"]}"#,
        r#"{"room_id":"$mine","name":"dj","permissions":["read","pin"]}"#,
        &[],
    ),
    (
        "update_role",
        r#"{"room_id":"$mine","name":"dj","permissions":["read"]}"#,
        r#"{"name":"dj","permissions":["read"]}"#,
        &[],
    ),
    (
        "set_member_role",
        r#"{"room_id":"$mine","user_id":"$member","role":"dj"}"#,
        r#"{"user_id":"$member","role":"dj"}"#,
        &[],
    ),
    ("list_roles", r#"{"room_id":"$mine"}"#, r#"{"room_id":"$mine"}"#, &[]),
    ("delete_role", r#"{"room_id":"$mine","name":"dj"}"#, r#"{"name":"dj"}"#, &[]),
    (
        "get_members",
        r#"{"room_id":"$mine","role":"member"}"#,
        r#"{"members":[{"user_id":"$member","role":"member"}]}"#,
        &[],
    ),
    ("get_room_stats", r#"{"room_id":"$mine"}"#, r#"{"message_count":3,"member_count":2,"pinned_count":0}"#, &[]),
    (
        "sanction_user",
        r#"{"room_id":"$mine","user_id":"$member","kind":"mute","reason":"loud"}"#,
        r#"{"room_id":"$mine","expires_at":null}"#,
        &[("$sanction", "sanction_id")],
    ),
    (
        "list_sanctions",
        r#"{"room_id":"$mine","active":true}"#,
        r#"{"sanctions":[{"sanction_id":"$sanction","user_id":"$member","kind":"mute","active":true,"reason":"loud"}]}"#,
        &[],
    ),
    ("lift_sanction", r#"{"sanction_id":"$sanction"}"#, r#"{"sanction_id":"$sanction"}"#, &[]),
    ("list_sanctions", r#"{"room_id":"$mine","active":true}"#, r#"{"sanctions":[]}"#, &[]),
    ("list_sanctions", "{}", r#"{"sanctions":[]}"#, &[]),
    ("kick_member", r#"{"room_id":"$mine","user_id":"$member","reason":"so"}"#, r#"{"room_id":"$mine"}"#, &[]),
    ("delete_room", r#"{"room_id":"$doomed"}"#, r#"{"room_id":"$doomed"}"#, &[]),
    ("block_user", r#"{"user_id":"$other"}"#, r#"{"user_id":"$other"}"#, &[]),
    ("list_blocks", "{}", r#"{"users":[{"user_id":"$other"}]}"#, &[]),
    ("unblock_user", r#"{"user_id":"$other"}"#, r#"{"user_id":"$other"}"#, &[]),
    ("list_blocks", "{}", r#"{"users":[]}"#, &[]),
];

/// With `$r` a room or a conversation, `$m` and `$s` messages in it of the caller, `$o` one of somebody else.
const MESSAGES: &[Row] = &[
    (
        "edit_message",
        r#"{"room_id":"$r","message_id":"$m","content":"changed","reason":"typo"}"#,
        r#"{"room_id":"$r","message_id":"$m","edit_count":1}"#,
        &[],
    ),
    (
        "get_message",
        r#"{"room_id":"$r","message_id":"$m"}"#,
        r#"{"message":{"content":"changed","is_edited":true}}"#,
        &[],
    ),
    (
        "get_edits",
        r#"{"room_id":"$r","message_id":"$m"}"#,
        r#"{"edits":[{"reason":null,"editor_id":"$me"},{"content":"changed","reason":"typo","editor_id":"$me"}]}"#,
        &[],
    ),
    ("get_edits", r#"{"room_id":"$r","message_id":"$o"}"#, r#"{"edits":[{"editor_id":"$author"}]}"#, &[]),
    ("add_reaction", r#"{"room_id":"$r","message_id":"$o","emoji":"❤"}"#, r#"{"emoji":"❤️","count":1}"#, &[]),
    ("add_reaction", r#"{"room_id":"$r","message_id":"$o","emoji":"❤️"}"#, r#"{"emoji":"❤️","count":1}"#, &[]),
    ("add_reaction", r#"{"room_id":"$r","message_id":"$o","emoji":":tada:"}"#, r#"{"emoji":":tada:","count":1}"#, &[]),
    (
        "get_reactions",
        r#"{"room_id":"$r","message_id":"$o"}"#,
        r#"{"reactions":[{"emoji":"❤️","count":1,"users":[{"user_id":"$me"}]},{"emoji":":tada:","count":1}]}"#,
        &[],
    ),
    ("remove_reaction", r#"{"room_id":"$r","message_id":"$o","emoji":"❤"}"#, r#"{"emoji":"❤️","count":0}"#, &[]),
    (
        "get_message",
        r#"{"room_id":"$r","message_id":"$o"}"#,
        r#"{"message":{"reactions":[{"emoji":":tada:","count":1,"me":true}]}}"#,
        &[],
    ),
    ("pin_message", r#"{"room_id":"$r","message_id":"$m"}"#, r#"{"message_id":"$m"}"#, &[]),
    ("pin_message", r#"{"room_id":"$r","message_id":"$o"}"#, r#"{"message_id":"$o"}"#, &[]),
    (
        "get_pinned_messages",
        r#"{"room_id":"$r"}"#,
        r#"{"messages":[{"message_id":"$o","is_pinned":true},{"message_id":"$m"}]}"#,
        &[],
    ),
    ("unpin_message", r#"{"room_id":"$r","message_id":"$o"}"#, r#"{"message_id":"$o"}"#, &[]),
    ("unpin_message", r#"{"room_id":"$r","message_id":"$o"}"#, r#"{"message_id":"$o"}"#, &[]),
    ("get_pinned_messages", r#"{"room_id":"$r"}"#, r#"{"messages":[{"message_id":"$m"}]}"#, &[]),
    ("send_message", r#"{"room_id":"$r","content":"answer","parent_id":"$m"}"#, "{}", &[("$answer", "message_id")]),
    (
        "get_thread",
        r#"{"room_id":"$r","parent_id":"$m"}"#,
        r#"{"parent":{"message_id":"$m","thread_count":1},"messages":[{"message_id":"$answer","parent_id":"$m"}],"has_more":false}"#,
        &[],
    ),
    (
        "get_thread",
        r#"{"room_id":"$r","parent_id":"$m","after_id":"$answer"}"#,
        r#"{"messages":[],"has_more":false}"#,
        &[],
    ),
    ("delete_message", r#"{"room_id":"$r","message_id":"$s","reason":"so"}"#, r#"{"message_id":"$s"}"#, &[]),
    (
        "get_history",
        r#"{"room_id":"$r","around_id":"$s","limit":1}"#,
        r#"{"messages":[{"message_id":"$s","content":"","is_deleted":true}]}"#,
        &[],
    ),
    ("search_messages", r#"{"query":"answer","room_id":"$r"}"#, "{}", &[]),
    ("search_messages", r#"{"query":"answer","author_id":"$me","from":"2020-01-01T00:00:00+01:00"}"#, "{}", &[]),
    ("get_mentions", r#"{"limit":5}"#, r#"{"messages":[],"next_cursor":null}"#, &[]),
];

async fn over_websocket(world: &mut World, rows: &[Row]) {
    for (command, data, expected, captures) in rows {
        let data = world.names.fill(data);
        let reply = world.me.call(command, data.clone()).await;
        let reply = reply.unwrap_or_else(|error| panic!("{command} {data}: {error:?}"));
        assert_eq!(reply.kind, documents().reply_of(command), "{command}");
        judge(world, command, &data, &reply.data, expected, captures);
    }
}

async fn over_http(world: &mut World, rows: &[Row]) {
    let addr = standard().addr();
    for (command, data, expected, captures) in rows {
        let data = world.names.fill(data);
        let response = http::command(addr, &world.token, command, &data).await.expect("a response");
        assert_eq!(response.status, 200, "{command} {data}: {}", response.json());
        judge(world, command, &data, &response.json(), expected, captures);
    }
}

fn judge(world: &mut World, command: &str, data: &Value, reply: &Value, expected: &str, captures: &[(&str, &str)]) {
    documents().check_reply(command, reply);
    for (name, member) in captures {
        world.names.set(name, reply[*member].clone());
    }
    let expected = world.names.fill(expected);
    assert!(agrees(reply, &expected), "{command} {data}: {reply}, not {expected}");
}

/// The names that [`MESSAGES`] uses, in a room or in a conversation.
fn place(world: &mut World, place: [&'static str; 4]) {
    for (name, meaning) in ["$r", "$m", "$s", "$o"].into_iter().zip(place) {
        let value = world.names.fill(&format!("\"{meaning}\""));
        world.names.set(name, value);
    }
    let author = if place[0] == "$dm" { "$other" } else { "$member" };
    let author = world.names.fill(&format!("\"{author}\""));
    world.names.set("$author", author);
}

const IN_ROOM: [&str; 4] = ["$mine", "$message", "$spare", "$of_member"];
const IN_DM: [&str; 4] = ["$dm", "$dm_message", "$dm_spare", "$of_partner"];

#[tokio::test]
async fn commands_about_rooms_and_users_reply_as_documented() {
    over_websocket(&mut world(standard()).await, ROOMS).await;
    over_http(&mut world(standard()).await, ROOMS).await;
}

#[tokio::test]
async fn commands_about_messages_reply_as_documented() {
    for names in [IN_ROOM, IN_DM] {
        let mut over_ws = world(standard()).await;
        place(&mut over_ws, names);
        over_websocket(&mut over_ws, MESSAGES).await;
        let mut by_http = world(standard()).await;
        place(&mut by_http, names);
        over_http(&mut by_http, MESSAGES).await;
    }
}

#[tokio::test]
async fn typing_needs_a_connection() {
    let mut world = world(standard()).await;
    for place in ["$mine", "$dm"] {
        for is_typing in [true, true, false] {
            let data = world.names.fill(&format!(r#"{{"room_id":"{place}","is_typing":{is_typing}}}"#));
            assert_eq!(world.me.call("typing", data).await.expect("a reply").kind, "ok");
        }
    }
    let data = world.names.fill(r#"{"room_id":"$mine","is_typing":true}"#);
    let response = http::command(standard().addr(), &world.token, "typing", &data).await.expect("a response");
    assert_eq!((response.status, &response.json()["code"]), (400, &json!("INVALID_REQUEST")));
}

/// Command, data, code, HTTP status.
const REFUSALS: &[(&str, &str, &str, u16)] = &[
    // No permission: the caller is a plain member.
    ("update_room", r#"{"room_id":"$joined","name":"n"}"#, "PERMISSION_DENIED", 403),
    ("delete_room", r#"{"room_id":"$joined"}"#, "PERMISSION_DENIED", 403),
    ("invite_member", r#"{"room_id":"$joined","user_id":"$invitee"}"#, "PERMISSION_DENIED", 403),
    ("kick_member", r#"{"room_id":"$joined","user_id":"$other"}"#, "PERMISSION_DENIED", 403),
    ("set_member_role", r#"{"room_id":"$joined","user_id":"$me","role":"owner"}"#, "PERMISSION_DENIED", 403),
    ("create_role", r#"{"room_id":"$joined","name":"dj","permissions":[]}"#, "PERMISSION_DENIED", 403),
    ("update_role", r#"{"room_id":"$joined","name":"dj","permissions":[]}"#, "PERMISSION_DENIED", 403),
    ("delete_role", r#"{"room_id":"$joined","name":"dj"}"#, "PERMISSION_DENIED", 403),
    ("edit_message", r#"{"room_id":"$joined","message_id":"$of_other","content":"x"}"#, "PERMISSION_DENIED", 403),
    ("edit_message", r#"{"room_id":"$mine","message_id":"$of_member","content":"x"}"#, "PERMISSION_DENIED", 403),
    ("delete_message", r#"{"room_id":"$joined","message_id":"$of_other"}"#, "PERMISSION_DENIED", 403),
    ("delete_message", r#"{"room_id":"$dm","message_id":"$of_partner"}"#, "PERMISSION_DENIED", 403),
    ("pin_message", r#"{"room_id":"$joined","message_id":"$own"}"#, "PERMISSION_DENIED", 403),
    ("unpin_message", r#"{"room_id":"$joined","message_id":"$own"}"#, "PERMISSION_DENIED", 403),
    (
        "sanction_user",
        r#"{"room_id":"$joined","user_id":"$other","kind":"ban","reason":"x"}"#,
        "PERMISSION_DENIED",
        403,
    ),
    ("list_sanctions", r#"{"room_id":"$joined"}"#, "PERMISSION_DENIED", 403),
    // Not a member of a public room; a private one, and somebody else's conversation, are as absent.
    ("update_room", r#"{"room_id":"$theirs","name":"n"}"#, "NOT_A_MEMBER", 403),
    ("edit_message", r#"{"room_id":"$theirs","message_id":1,"content":"x"}"#, "NOT_A_MEMBER", 403),
    ("delete_message", r#"{"room_id":"$theirs","message_id":1}"#, "NOT_A_MEMBER", 403),
    ("get_edits", r#"{"room_id":"$theirs","message_id":1}"#, "NOT_A_MEMBER", 403),
    ("get_thread", r#"{"room_id":"$theirs","parent_id":1}"#, "NOT_A_MEMBER", 403),
    ("search_messages", r#"{"query":"x","room_id":"$theirs"}"#, "NOT_A_MEMBER", 403),
    ("pin_message", r#"{"room_id":"$theirs","message_id":1}"#, "NOT_A_MEMBER", 403),
    ("get_pinned_messages", r#"{"room_id":"$theirs"}"#, "NOT_A_MEMBER", 403),
    ("add_reaction", r#"{"room_id":"$theirs","message_id":1,"emoji":"🤔"}"#, "NOT_A_MEMBER", 403),
    ("remove_reaction", r#"{"room_id":"$theirs","message_id":1,"emoji":"🤔"}"#, "NOT_A_MEMBER", 403),
    ("get_reactions", r#"{"room_id":"$theirs","message_id":1}"#, "NOT_A_MEMBER", 403),
    ("list_roles", r#"{"room_id":"$theirs"}"#, "NOT_A_MEMBER", 403),
    ("get_room_stats", r#"{"room_id":"$theirs"}"#, "NOT_A_MEMBER", 403),
    ("search_messages", r#"{"query":"x","room_id":"$hidden"}"#, "ROOM_NOT_FOUND", 404),
    ("list_sanctions", r#"{"room_id":"$hidden"}"#, "ROOM_NOT_FOUND", 404),
    ("edit_message", r#"{"room_id":"$elsewhere","message_id":1,"content":"x"}"#, "ROOM_NOT_FOUND", 404),
    // Ids that do not exist.
    ("update_room", r#"{"room_id":9007199254740991,"name":"n"}"#, "ROOM_NOT_FOUND", 404),
    ("delete_room", r#"{"room_id":9007199254740991}"#, "ROOM_NOT_FOUND", 404),
    ("search_messages", r#"{"query":"x","room_id":9007199254740991}"#, "ROOM_NOT_FOUND", 404),
    ("edit_message", r#"{"room_id":"$mine","message_id":999,"content":"x"}"#, "MESSAGE_NOT_FOUND", 404),
    ("delete_message", r#"{"room_id":"$mine","message_id":999}"#, "MESSAGE_NOT_FOUND", 404),
    ("get_edits", r#"{"room_id":"$mine","message_id":999}"#, "MESSAGE_NOT_FOUND", 404),
    ("get_thread", r#"{"room_id":"$mine","parent_id":999}"#, "MESSAGE_NOT_FOUND", 404),
    ("pin_message", r#"{"room_id":"$mine","message_id":999}"#, "MESSAGE_NOT_FOUND", 404),
    ("unpin_message", r#"{"room_id":"$mine","message_id":999}"#, "MESSAGE_NOT_FOUND", 404),
    ("add_reaction", r#"{"room_id":"$mine","message_id":999,"emoji":"🤔"}"#, "MESSAGE_NOT_FOUND", 404),
    ("remove_reaction", r#"{"room_id":"$mine","message_id":999,"emoji":"🤔"}"#, "MESSAGE_NOT_FOUND", 404),
    ("get_reactions", r#"{"room_id":"$mine","message_id":999}"#, "MESSAGE_NOT_FOUND", 404),
    ("invite_member", r#"{"room_id":"$mine","user_id":9007199254740991}"#, "USER_NOT_FOUND", 404),
    ("kick_member", r#"{"room_id":"$mine","user_id":9007199254740991}"#, "USER_NOT_FOUND", 404),
    ("set_member_role", r#"{"room_id":"$mine","user_id":"$member","role":"nope"}"#, "NOT_FOUND", 404),
    ("update_role", r#"{"room_id":"$mine","name":"nope","permissions":[]}"#, "NOT_FOUND", 404),
    ("delete_role", r#"{"room_id":"$mine","name":"nope"}"#, "NOT_FOUND", 404),
    ("block_user", r#"{"user_id":9007199254740991}"#, "USER_NOT_FOUND", 404),
    ("lift_sanction", r#"{"sanction_id":9007199254740991}"#, "NOT_FOUND", 404),
    // What is not taken.
    ("update_room", r#"{"room_id":"$mine"}"#, "INVALID_REQUEST", 400),
    ("update_room", r#"{"room_id":"$mine","max_members":1001}"#, "INVALID_REQUEST", 400),
    ("create_role", r#"{"room_id":"$mine","name":"owner","permissions":[]}"#, "INVALID_REQUEST", 400),
    ("create_role", r#"{"room_id":"$mine","name":"dj","permissions":["fly"]}"#, "INVALID_REQUEST", 400),
    ("add_reaction", r#"{"room_id":"$mine","message_id":"$message","emoji":"🤔🤔"}"#, "INVALID_REQUEST", 400),
    ("search_messages", r#"{"query":" "}"#, "INVALID_REQUEST", 400),
    ("search_messages", r#"{"query":"x","cursor":"nonsense"}"#, "INVALID_REQUEST", 400),
    ("get_mentions", r#"{"cursor":"nonsense"}"#, "INVALID_REQUEST", 400),
    ("list_sanctions", r#"{"room_id":"$mine","cursor":"nonsense"}"#, "INVALID_REQUEST", 400),
    ("update_status", r#"{"status":"offline"}"#, "INVALID_REQUEST", 400),
    ("block_user", r#"{"user_id":"$me"}"#, "INVALID_REQUEST", 400),
    ("sanction_user", r#"{"user_id":"$member","kind":"ban","reason":"x"}"#, "INVALID_REQUEST", 400),
    ("edit_message", r#"{"room_id":"$mine","message_id":"$message","content":" "}"#, "INVALID_REQUEST", 400),
    // What rooms have and conversations do not.
    ("update_room", r#"{"room_id":"$dm","name":"n"}"#, "INVALID_REQUEST", 400),
    ("delete_room", r#"{"room_id":"$dm"}"#, "INVALID_REQUEST", 400),
    ("invite_member", r#"{"room_id":"$dm","user_id":"$member"}"#, "INVALID_REQUEST", 400),
    ("kick_member", r#"{"room_id":"$dm","user_id":"$other"}"#, "INVALID_REQUEST", 400),
    ("set_member_role", r#"{"room_id":"$dm","user_id":"$other","role":"owner"}"#, "INVALID_REQUEST", 400),
    ("create_role", r#"{"room_id":"$dm","name":"dj","permissions":[]}"#, "INVALID_REQUEST", 400),
    ("list_roles", r#"{"room_id":"$dm"}"#, "INVALID_REQUEST", 400),
    ("leave_room", r#"{"room_id":"$dm"}"#, "INVALID_REQUEST", 400),
    ("delete_room", r#"{"room_id":"$elsewhere"}"#, "ROOM_NOT_FOUND", 404),
    ("create_role", r#"{"room_id":"$elsewhere","name":"dj","permissions":[]}"#, "ROOM_NOT_FOUND", 404),
];

#[tokio::test]
async fn refusals_have_their_codes_over_both_transports() {
    let mut world = world(standard()).await;
    let addr = standard().addr();
    for (command, data, code, status) in REFUSALS {
        let data = world.names.fill(data);
        let error = world.me.refusal(command, data.clone()).await;
        assert_eq!((&error["code"], &error["retryable"]), (&json!(code), &json!(false)), "{command} {data}: {error}");
        assert!(documents().has_error(command, code), "{command}: {code} is not documented");
        let response = http::command(addr, &world.token, command, &data).await.expect("a response");
        let problem = response.json();
        assert_eq!((response.status, &problem["code"]), (*status, &json!(code)), "HTTP {command} {data}: {problem}");
    }
    // Nothing of all that has left anything behind.
    let history = world.me.ok("get_history", world.names.fill(r#"{"room_id":"$mine"}"#)).await;
    assert_eq!(number(&history, "seq"), 3, "{history}");
}

/// Every command of the documents is in one of the tables.
#[tokio::test]
async fn no_command_is_left_out() {
    let tables = [ROOMS, MESSAGES].into_iter().flatten().map(|row| row.0);
    let others = super::commands::COMMANDS.iter().map(|row| row.0).chain(super::commands::ON_CONNECTIONS);
    let called: Vec<&str> = tables.chain(others).chain(["typing"]).collect();
    assert!(!documents().has_error("ping", "CONFLICT") && documents().has_error("leave_room", "CONFLICT"));
    for command in documents().commands() {
        assert!(called.contains(&command), "{command} is called by no test");
    }
}
