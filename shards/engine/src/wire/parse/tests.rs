//! Inputs and what becomes of them.

mod data;
mod faults;
mod keys;
mod mutations;

use super::*;

fn parse(text: &str) -> Parsed {
    Parser::new().parse(text.as_bytes())
}

fn data(kind: CommandType, body: &str) -> Result<Command, CommandError> {
    Parser::new().parse_data(kind, body.as_bytes())
}

fn verdict(result: &Result<Command, CommandError>) -> String {
    match result {
        Ok(command) => command.kind().name().to_owned(),
        Err(error) => format!("{} {}", error.code.name(), error.field.unwrap_or("-")),
    }
}

#[test]
fn envelopes() {
    let deep = |levels: usize| {
        format!(r#"{{"type":"ping","id":1,"data":{{"x":{}{}}}}}"#, "[".repeat(levels - 2), "]".repeat(levels - 2))
    };
    let long_id = format!(r#"{{"type":"ping","id":"{}"}}"#, "x".repeat(64));
    let table: Vec<(String, &str, &str)> = [
        // Text, id, verdict.
        (r#"{"type":"ping","id":7,"data":{}}"#, "7", "ping"),
        (r#"{"type":"ping"}"#, "", "ping"),
        (r#" { "data" : { } , "type" : "ping" } "#, "", "ping"),
        (r#"{"type":"ping","data":null,"id":null}"#, "", "ping"),
        (r#"{"type":"ping","id":-3}"#, "-3", "ping"),
        (r#"{"type":"ping","id":18446744073709551615}"#, "18446744073709551615", "ping"),
        (r#"{"type":"ping","id":"a\"\\\u00e9\n\u0001"}"#, r#""a\"\\é\n\u0001""#, "ping"),
        (r#"{"type":"ping","id":""}"#, r#""""#, "ping"),
        (r#"{"ty\u0070e":"ping","id":1}"#, "1", "ping"),
        (r#"{"type":"ping","id":1,"more":[{"type":"x"}],"":0}"#, "1", "ping"),
        (r#"{"type":"nope","type":"ping","id":1,"id":2}"#, "2", "ping"),
        (r#"{"type":"ping","id":[],"id":2}"#, "2", "ping"),
        (r#"{"type":"ping","x":1e999,"id":2}"#, "2", "ping"),
        (r#"{"type":"ping","x":99999999999999999999999,"id":2}"#, "2", "ping"),
        // Ids.
        (r#"{"type":"ping","id":1.5}"#, "", "INVALID_REQUEST id"),
        (r#"{"type":"ping","id":1.0}"#, "", "INVALID_REQUEST id"),
        (r#"{"type":"ping","id":1e999}"#, "", "INVALID_REQUEST id"),
        (r#"{"type":"ping","id":18446744073709551616}"#, "", "INVALID_REQUEST id"),
        (r#"{"type":"ping","id":true}"#, "", "INVALID_REQUEST id"),
        (r#"{"type":"ping","id":[]}"#, "", "INVALID_REQUEST id"),
        (r#"{"type":"ping","id":{}}"#, "", "INVALID_REQUEST id"),
        (r#"{"type":"ping","id":"\u0000"}"#, "", "INVALID_REQUEST id"),
        // Types.
        (r#"{"id":1}"#, "1", "INVALID_REQUEST type"),
        (r#"{}"#, "", "INVALID_REQUEST type"),
        (r#"{"type":null,"id":1}"#, "1", "INVALID_REQUEST type"),
        (r#"{"type":5,"id":"a"}"#, r#""a""#, "INVALID_REQUEST type"),
        (r#"{"type":["ping"],"id":1}"#, "1", "INVALID_REQUEST type"),
        (r#"{"type":"","id":1}"#, "1", "UNKNOWN_TYPE -"),
        (r#"{"type":"Ping","id":1}"#, "1", "UNKNOWN_TYPE -"),
        (r#"{"type":"ping ","id":1}"#, "1", "UNKNOWN_TYPE -"),
        (r#"{"type":"ping\u0000","id":1}"#, "1", "INVALID_REQUEST type"),
        // Data.
        (r#"{"type":"ping","id":1,"data":[]}"#, "1", "INVALID_REQUEST data"),
        (r#"{"type":"ping","id":1,"data":"x"}"#, "1", "INVALID_REQUEST data"),
        (r#"{"type":"ping","id":1,"data":1e999}"#, "1", "INVALID_REQUEST data"),
        (r#"{"type":"get_room","id":1}"#, "1", "INVALID_REQUEST room_id"),
        (r#"{"type":"get_room","id":1,"data":null}"#, "1", "INVALID_REQUEST room_id"),
        // Not JSON, or no object.
        ("", "", "INVALID_JSON -"),
        (" ", "", "INVALID_JSON -"),
        ("null", "", "INVALID_JSON -"),
        ("17", "", "INVALID_JSON -"),
        ("1e999", "", "INVALID_JSON -"),
        ("\"type\"", "", "INVALID_JSON -"),
        (r#"[{"type":"ping"}]"#, "", "INVALID_JSON -"),
        (r#"{"type":"ping"}{"type":"ping"}"#, "", "INVALID_JSON -"),
        (r#"{"type":"ping"} x"#, "", "INVALID_JSON -"),
        (r#"{"type":"ping","#, "", "INVALID_JSON -"),
        (r#"{"type":"ping","id":1,}"#, "", "INVALID_JSON -"),
        (r#"{"type":"ping","id":01}"#, "", "INVALID_JSON -"),
        (r#"{"type":"ping","id":01e999}"#, "", "INVALID_JSON -"),
        (r#"{"type":"ping","id":+1}"#, "", "INVALID_JSON -"),
        (r#"{"type":"ping","id":1.}"#, "", "INVALID_JSON -"),
        (r#"{"type":"ping","id":NaN}"#, "", "INVALID_JSON -"),
        (r#"{type:"ping"}"#, "", "INVALID_JSON -"),
        (r#"{'type':'ping'}"#, "", "INVALID_JSON -"),
        (r#"{"type":"ping" /* */}"#, "", "INVALID_JSON -"),
        ("\u{feff}{\"type\":\"ping\"}", "", "INVALID_JSON -"),
        ("{\"type\":\"ping\",\"id\":\"a\nb\"}", "", "INVALID_JSON -"),
        ("{\"type\":\"ping\",\"id\":\"a\0b\"}", "", "INVALID_JSON -"),
        (r#"{"type":"ping","id":"\x41"}"#, "", "INVALID_JSON -"),
        (r#"{"type":"ping","id":"\ud800"}"#, "", "INVALID_JSON -"),
        (r#"{"type":"ping","id":"\udc00\ud800"}"#, "", "INVALID_JSON -"),
    ]
    .map(|(text, id, verdict)| (text.to_owned(), id, verdict))
    .into_iter()
    .chain([
        (deep(NESTING_MAX), "1", "ping"),
        (deep(NESTING_MAX + 1), "", "INVALID_JSON -"),
        (long_id.clone(), &long_id[20..long_id.len() - 1], "ping"),
        (long_id.replacen('x', "xx", 1), "", "INVALID_REQUEST id"),
        ("[".repeat(65_536), "", "INVALID_JSON -"),
        (r#"{"a":"#.repeat(10_000), "", "INVALID_JSON -"),
    ])
    .collect();
    for (text, id, expected) in table {
        let parsed = parse(&text);
        assert_eq!(verdict(&parsed.command), expected, "{text:.200}");
        assert_eq!(parsed.id.map(|id| id.0.into_string()).unwrap_or_default(), id, "{text:.200}");
    }
}

#[test]
fn a_known_command_with_bad_data_is_still_named() {
    assert_eq!(parse(r#"{"type":"get_room","data":{}}"#).kind, Some(CommandType::GetRoom));
    assert_eq!(parse(r#"{"type":"get_rooms","data":{}}"#).kind, None);
}

#[test]
fn invalid_utf8_is_invalid_json() {
    let parsed = Parser::new().parse(b"{\"type\":\"ping\",\"x\":\"\xff\"}");
    assert_eq!(verdict(&parsed.command), "INVALID_JSON -");
}

#[test]
fn bodies_of_http_commands() {
    for (body, expected) in [
        ("", "get_unread"),
        (" \r\n", "get_unread"),
        ("{}", "get_unread"),
        (r#"{"unknown":1}"#, "get_unread"),
        ("null", "INVALID_REQUEST data"),
        ("[]", "INVALID_REQUEST data"),
        ("1e999", "INVALID_REQUEST data"),
        ("{", "INVALID_JSON -"),
        ("{}{}", "INVALID_JSON -"),
    ] {
        assert_eq!(verdict(&data(CommandType::GetUnread, body)), expected, "{body}");
    }
}

#[test]
fn ids_are_integers_in_range() {
    let fields = [
        (CommandType::GetRoom, "room_id", "", 1),
        (CommandType::GetUser, "user_id", "", 1),
        (CommandType::GetMessage, "message_id", r#""room_id":1,"#, 1),
        (CommandType::SendMessage, "parent_id", r#""room_id":1,"content":"x","#, 1),
        (CommandType::SendDm, "conversation_id", r#""content":"x","#, 1),
        (CommandType::CreateDm, "user_id", "", 1),
        (CommandType::CreateDm, "user2_id", r#""user1_id":1,"#, 1),
        (CommandType::MarkRead, "seq", r#""room_id":1,"#, 0),
        (CommandType::Subscribe, "last_seq", r#""room_id":1,"#, 0),
        (CommandType::JoinRoom, "epoch", r#""room_id":1,"#, 0),
        (CommandType::GetHistory, "before_id", r#""room_id":1,"#, 0),
        (CommandType::GetHistory, "after_id", r#""room_id":1,"#, 0),
        (CommandType::GetHistory, "around_id", r#""room_id":1,"#, 0),
    ];
    let bad = [
        "-1",
        "9007199254740992",
        "18446744073709551615",
        "18446744073709551616",
        "1.5",
        "1.0",
        "1e3",
        "1e999",
        "-1e999",
        "\"1\"",
        "true",
        "[]",
        "[1]",
        "{}",
        "\"\"",
    ];
    for (kind, field, others, least) in fields {
        for value in ["9007199254740991", "1"] {
            let body = format!("{{{others}\"{field}\":{value}}}");
            assert_eq!(verdict(&data(kind, &body)), kind.name(), "{body}");
        }
        let body = format!("{{{others}\"{field}\":0}}");
        assert_eq!(data(kind, &body).is_ok(), least == 0, "{body}");
        for value in bad {
            let body = format!("{{{others}\"{field}\":{value}}}");
            assert_eq!(verdict(&data(kind, &body)), format!("INVALID_REQUEST {field}"), "{body}");
        }
    }
}
