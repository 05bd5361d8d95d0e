//! What each command is told in each situation: command, situation, code.

use veza_engine::id::ConnId;

use crate::rig::{Rig, code};

/// Who asks, and about what.
struct Stage {
    rig: Rig,
    owner: ConnId,
    member: ConnId,
    stranger: ConnId,
    public: u64,
    private: u64,
    dm: u64,
    full: u64,
}

fn stage() -> Stage {
    let mut rig = Rig::new(2, |limits| limits.max_rooms_per_user = 3);
    let (owner, member, stranger) = (rig.connect(0, "owner"), rig.connect(1, "member"), rig.connect(0, "stranger"));
    let public = rig.room(owner);
    let private = rig.room_with(owner, r#"{"name":"private","visibility":"private"}"#);
    let full = rig.room_with(owner, r#"{"name":"full","max_members":1}"#);
    rig.ask(member, "join_room", &format!(r#"{{"room_id":{public}}}"#));
    let dm = rig.ask(owner, "create_dm", r#"{"user_id":2}"#)["data"]["conversation_id"].as_u64().unwrap();
    rig.ask(owner, "send_message", &format!(r#"{{"room_id":{public},"content":"first"}}"#));
    Stage { rig, owner, member, stranger, public, private, dm, full }
}

/// (who, command, about, more of its data, code)
const CASES: &[(&str, &str, &str, &str, &str)] = &[
    ("owner", "authenticate", "", r#""token":"owner""#, "INVALID_REQUEST"),
    ("owner", "refresh_token", "", r#""token":"bad""#, "INVALID_TOKEN"),
    ("owner", "refresh_token", "", r#""token":"old""#, "TOKEN_EXPIRED"),
    ("owner", "refresh_token", "", r#""token":"member""#, "INVALID_TOKEN"),
    ("owner", "refresh_token", "", r#""token":"owner""#, "ok"),
    ("owner", "revoke_session", "", r#""session_id":"session of member""#, "NOT_FOUND"),
    ("owner", "create_room", "", r#""name":"one more""#, "CONFLICT"),
    ("member", "create_room", "", r#""name":"large","max_members":1001"#, "INVALID_REQUEST"),
    ("member", "create_room", "", "", "INVALID_REQUEST"),
    ("member", "get_room", "public", "", "ok"),
    ("stranger", "get_room", "public", "", "ok"),
    ("stranger", "get_room", "private", "", "ROOM_NOT_FOUND"),
    ("stranger", "get_room", "absent", "", "ROOM_NOT_FOUND"),
    ("stranger", "get_room", "dm", "", "ROOM_NOT_FOUND"),
    ("member", "get_room", "dm", "", "ok"),
    ("stranger", "join_room", "private", "", "ROOM_NOT_FOUND"),
    ("stranger", "join_room", "absent", "", "ROOM_NOT_FOUND"),
    ("stranger", "join_room", "full", "", "ROOM_FULL"),
    ("stranger", "join_room", "dm", "", "ROOM_NOT_FOUND"),
    ("member", "join_room", "dm", "", "INVALID_REQUEST"),
    ("member", "join_room", "public", "", "ok"),
    ("owner", "leave_room", "public", "", "CONFLICT"),
    ("stranger", "leave_room", "public", "", "NOT_A_MEMBER"),
    ("stranger", "leave_room", "private", "", "ROOM_NOT_FOUND"),
    ("member", "leave_room", "dm", "", "INVALID_REQUEST"),
    ("stranger", "leave_room", "dm", "", "ROOM_NOT_FOUND"),
    ("stranger", "subscribe", "public", "", "NOT_A_MEMBER"),
    ("stranger", "subscribe", "private", "", "ROOM_NOT_FOUND"),
    ("stranger", "subscribe", "dm", "", "ROOM_NOT_FOUND"),
    ("member", "subscribe", "dm", "", "INVALID_REQUEST"),
    ("stranger", "unsubscribe", "public", "", "NOT_A_MEMBER"),
    ("stranger", "unsubscribe", "dm", "", "ROOM_NOT_FOUND"),
    ("member", "unsubscribe", "dm", "", "INVALID_REQUEST"),
    ("stranger", "get_members", "public", "", "NOT_A_MEMBER"),
    ("stranger", "get_members", "private", "", "ROOM_NOT_FOUND"),
    ("stranger", "mark_read", "public", r#","seq":1"#, "NOT_A_MEMBER"),
    ("stranger", "mark_read", "private", r#","seq":1"#, "ROOM_NOT_FOUND"),
    ("stranger", "mark_read", "absent", r#","seq":1"#, "ROOM_NOT_FOUND"),
    ("member", "mark_read", "public", r#","seq":99"#, "ok"),
    ("stranger", "send_message", "public", r#","content":"x""#, "NOT_A_MEMBER"),
    ("stranger", "send_message", "private", r#","content":"x""#, "ROOM_NOT_FOUND"),
    ("stranger", "send_message", "dm", r#","content":"x""#, "ROOM_NOT_FOUND"),
    ("member", "send_message", "dm", r#","content":"x""#, "ok"),
    ("member", "send_message", "public", r#","content":"x","parent_id":99"#, "MESSAGE_NOT_FOUND"),
    ("member", "send_message", "public", r#","content":"x","parent_id":1"#, "ok"),
    ("member", "send_message", "public", r#","content":"poison""#, "INTERNAL"),
    ("member", "send_message", "public", r#","content":" ""#, "INVALID_REQUEST"),
    ("stranger", "get_message", "public", r#","message_id":1"#, "NOT_A_MEMBER"),
    ("stranger", "get_message", "private", r#","message_id":1"#, "ROOM_NOT_FOUND"),
    ("member", "get_message", "public", r#","message_id":1"#, "ok"),
    ("member", "get_message", "public", r#","message_id":99"#, "MESSAGE_NOT_FOUND"),
    ("stranger", "get_history", "public", "", "NOT_A_MEMBER"),
    ("stranger", "get_history", "private", "", "ROOM_NOT_FOUND"),
    ("stranger", "get_history", "dm", "", "ROOM_NOT_FOUND"),
    ("member", "get_history", "public", r#","before_id":1,"after_id":1"#, "INVALID_REQUEST"),
    ("owner", "create_dm", "", r#""user_id":99"#, "USER_NOT_FOUND"),
    ("owner", "create_dm", "", r#""user_id":1"#, "INVALID_REQUEST"),
    ("owner", "create_dm", "", r#""user1_id":2,"user2_id":3"#, "PERMISSION_DENIED"),
    ("owner", "create_dm", "", r#""user_ids":[2,3,4,5,6,7,8,9,10,11,12]"#, "INVALID_REQUEST"),
    ("owner", "create_dm", "", r#""user_ids":[2,3]"#, "ok"),
    ("owner", "create_dm", "", r#""user1_id":2,"user2_id":1"#, "ok"),
    ("owner", "get_user", "", r#""user_id":99"#, "USER_NOT_FOUND"),
    ("owner", "resume", "", r#""rooms":[{"room_id":99}]"#, "INVALID_REQUEST"),
];

#[test]
fn every_command_in_every_situation() {
    for (who, command, about, more, expected) in CASES {
        let mut stage = stage();
        let conn = match *who {
            "owner" => stage.owner,
            "member" => stage.member,
            _ => stage.stranger,
        };
        let room = match *about {
            "public" => stage.public,
            "private" => stage.private,
            "dm" => stage.dm,
            "full" => stage.full,
            _ => 999,
        };
        let data = if about.is_empty() { format!("{{{more}}}") } else { format!(r#"{{"room_id":{room}{more}}}"#) };
        let reply = stage.rig.ask(conn, command, &data);
        assert_eq!(code(&reply), *expected, "{who}: {command} {data}: {reply}");
        assert!(stage.rig.closed.is_empty(), "{who}: {command} {data}");
        assert!(stage.rig.shards.iter().all(veza_engine::Shard::is_quiet));
    }
}

#[test]
fn http_answers_as_the_socket_does() {
    const NEEDS_A_CONNECTION: [&str; 5] = ["authenticate", "refresh_token", "resume", "subscribe", "unsubscribe"];
    for (who, command, about, more, expected) in CASES {
        let mut stage = stage();
        let room = match *about {
            "public" => stage.public,
            "private" => stage.private,
            "dm" => stage.dm,
            "full" => stage.full,
            _ => 999,
        };
        let data = if about.is_empty() { format!("{{{more}}}") } else { format!(r#"{{"room_id":{room}{more}}}"#) };
        let expected = if NEEDS_A_CONNECTION.contains(command) { "INVALID_REQUEST" } else { expected };
        let result = stage.rig.http(1, who, command, &data);
        let told = result.as_ref().map_or_else(|error| error.code.name(), |_| "ok");
        assert_eq!(told, expected, "{who}: {command} {data}: {result:?}");
    }
}

#[test]
fn before_authentication_everything_else_is_refused() {
    for kind in veza_engine::wire::CommandType::ALL {
        let mut rig = Rig::new(1, |_| {});
        let conn = rig.open(0, None);
        rig.text(conn, &format!(r#"{{"type":"{}","id":1,"data":{{}}}}"#, kind.name()));
        let reply = rig.reply(conn, 1).unwrap();
        let expected: &[&str] = &["UNAUTHENTICATED", "INVALID_REQUEST"];
        assert!(expected.contains(&code(&reply)), "{}: {reply}", kind.name());
    }
}

#[test]
fn a_refused_event_leaves_a_void_and_a_final_error() {
    let mut stage = stage();
    let data = format!(r#"{{"room_id":{},"content":"poison","client_id":"c"}}"#, stage.public);
    let reply = stage.rig.ask(stage.member, "send_message", &data);
    assert_eq!((code(&reply), &reply["data"]["retryable"]), ("INTERNAL", &false.into()));
    assert!(reply["data"]["details"]["error_id"].is_string());
    let pushes = stage.rig.frames(stage.owner);
    let last = pushes.last().unwrap();
    assert_eq!((&last["type"], &last["data"]["seq"]), (&"void".into(), &2.into()));
    assert_eq!(last["data"].as_object().unwrap().len(), 3, "room_id, seq, at: {last}");
}

/// (command, more of its data, a plain member in a public room, a participant in a conversation). In each room the first
/// event is another's message.
const VERBS: &[(&str, &str, &str, &str)] = &[
    ("update_room", r#""topic":"x""#, "PERMISSION_DENIED", "INVALID_REQUEST"),
    ("update_room", "", "INVALID_REQUEST", "INVALID_REQUEST"),
    ("delete_room", "", "PERMISSION_DENIED", "INVALID_REQUEST"),
    ("invite_member", r#""user_id":3"#, "PERMISSION_DENIED", "INVALID_REQUEST"),
    ("kick_member", r#""user_id":1"#, "PERMISSION_DENIED", "INVALID_REQUEST"),
    ("set_member_role", r#""user_id":1,"role":"member""#, "PERMISSION_DENIED", "INVALID_REQUEST"),
    ("get_members", r#""role":"member""#, "ok", "ok"),
    ("create_role", r#""name":"dj","permissions":["read"]"#, "PERMISSION_DENIED", "INVALID_REQUEST"),
    ("update_role", r#""name":"dj","permissions":["read"]"#, "PERMISSION_DENIED", "INVALID_REQUEST"),
    ("delete_role", r#""name":"dj""#, "PERMISSION_DENIED", "INVALID_REQUEST"),
    ("list_roles", "", "ok", "INVALID_REQUEST"),
    ("mark_read", r#""seq":1"#, "ok", "ok"),
    ("get_room_stats", "", "ok", "ok"),
    ("edit_message", r#""message_id":1,"content":"x""#, "PERMISSION_DENIED", "PERMISSION_DENIED"),
    ("edit_message", r#""message_id":9,"content":"x""#, "MESSAGE_NOT_FOUND", "MESSAGE_NOT_FOUND"),
    ("delete_message", r#""message_id":1"#, "PERMISSION_DENIED", "PERMISSION_DENIED"),
    ("delete_message", r#""message_id":9"#, "MESSAGE_NOT_FOUND", "MESSAGE_NOT_FOUND"),
    ("get_message", r#""message_id":9"#, "MESSAGE_NOT_FOUND", "MESSAGE_NOT_FOUND"),
    ("get_edits", r#""message_id":1"#, "ok", "ok"),
    ("get_edits", r#""message_id":9"#, "MESSAGE_NOT_FOUND", "MESSAGE_NOT_FOUND"),
    ("get_history", "", "ok", "ok"),
    ("get_thread", r#""parent_id":1"#, "ok", "ok"),
    ("get_thread", r#""parent_id":9"#, "MESSAGE_NOT_FOUND", "MESSAGE_NOT_FOUND"),
    ("search_messages", r#""query":"first""#, "ok", "ok"),
    ("pin_message", r#""message_id":1"#, "PERMISSION_DENIED", "ok"),
    ("pin_message", r#""message_id":9"#, "PERMISSION_DENIED", "MESSAGE_NOT_FOUND"),
    ("unpin_message", r#""message_id":1"#, "PERMISSION_DENIED", "ok"),
    ("get_pinned_messages", "", "ok", "ok"),
    ("add_reaction", r#""message_id":1,"emoji":"🤔""#, "ok", "ok"),
    ("add_reaction", r#""message_id":1,"emoji":"word""#, "INVALID_REQUEST", "INVALID_REQUEST"),
    ("add_reaction", r#""message_id":9,"emoji":"🤔""#, "MESSAGE_NOT_FOUND", "MESSAGE_NOT_FOUND"),
    ("remove_reaction", r#""message_id":1,"emoji":"🤔""#, "ok", "ok"),
    ("remove_reaction", r#""message_id":9,"emoji":"🤔""#, "MESSAGE_NOT_FOUND", "MESSAGE_NOT_FOUND"),
    ("get_reactions", r#""message_id":1"#, "ok", "ok"),
    ("get_reactions", r#""message_id":9"#, "MESSAGE_NOT_FOUND", "MESSAGE_NOT_FOUND"),
    ("sanction_user", r#""user_id":1,"kind":"mute","reason":"x""#, "PERMISSION_DENIED", "INVALID_REQUEST"),
    ("sanction_user", r#""user_id":1,"kind":"mute""#, "INVALID_REQUEST", "INVALID_REQUEST"),
    ("list_sanctions", "", "PERMISSION_DENIED", "INVALID_REQUEST"),
];

#[test]
fn every_verb_in_every_situation() {
    let mut stage = stage();
    let (dm, private, public) = (stage.dm, stage.private, stage.public);
    for room in [dm, private] {
        let sent = stage.rig.ask(stage.owner, "send_message", &format!(r#"{{"room_id":{room},"content":"first"}}"#));
        assert_eq!(sent["data"]["seq"], 1);
    }
    stage.rig.connect(1, "invited");
    let invitation = format!(r#"{{"room_id":{private},"user_id":4}}"#);
    assert_eq!(code(&stage.rig.ask(stage.owner, "invite_member", &invitation)), "ok");
    for (command, more, member, participant) in VERBS {
        let malformed = *member == "INVALID_REQUEST";
        let hidden = |code: &'static str| if malformed { "INVALID_REQUEST" } else { code };
        for (who, room, expected) in [
            ("member", public, *member),
            ("member", dm, *participant),
            ("stranger", public, hidden("NOT_A_MEMBER")),
            ("stranger", private, hidden("ROOM_NOT_FOUND")),
            ("stranger", dm, hidden("ROOM_NOT_FOUND")),
            ("stranger", 999, hidden("ROOM_NOT_FOUND")),
            ("invited", private, hidden("NOT_A_MEMBER")),
        ] {
            let comma = if more.is_empty() { "" } else { "," };
            let data = format!(r#"{{"room_id":{room}{comma}{more}}}"#);
            // Twice, by both ways: none of it may leave anything behind that changes the second answer.
            let conn = stage.rig.connect(0, who);
            let reply = stage.rig.ask(conn, command, &data);
            assert_eq!(code(&reply), expected, "{who}: {command} {data}: {reply}");
            let result = stage.rig.http(1, who, command, &data);
            let told = result.as_ref().map_or_else(|error| error.code.name(), |_| "ok");
            assert_eq!(told, expected, "over HTTP, {who}: {command} {data}: {result:?}");
            if expected == "ok" && *command != "search_messages" {
                let reply = result.expect("asserted above");
                let room_ids = [&reply["room_id"], &reply["message"]["room_id"], &reply["parent"]["room_id"]];
                assert!(room_ids.contains(&&room.into()), "{command}: {reply}");
            }
        }
    }
    assert!(stage.rig.shards.iter().all(veza_engine::Shard::is_quiet));
}
