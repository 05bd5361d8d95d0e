//! What counts as a repetition.

use super::*;

fn hash(kind: CommandType, body: &str) -> u64 {
    let client = match data(kind, body).expect("valid") {
        Command::SendMessage(send) => send.client,
        Command::CreateRoom(room) => room.client,
        Command::CreateDm(dm) => dm.client,
        other => panic!("{other:?} has no client_id"),
    };
    client.expect("a client_id").hash
}

#[test]
fn a_repetition_has_the_same_hash() {
    use CommandType::*;
    for (kind, first, kind_again, again) in [
        (
            SendMessage,
            r#"{"room_id":1,"content":"x"}"#,
            SendMessage,
            r#"{"x":1,"content":"\u0078","parent_id":null,"room_id":1}"#,
        ),
        (SendMessage, r#"{"room_id":1,"content":"x"}"#, SendDm, r#"{"conversation_id":1,"content":"x"}"#),
        (
            SendMessage,
            r#"{"room_id":1,"content":"x","metadata":{"a":1}}"#,
            SendMessage,
            r#"{"room_id":1,"content":"x","metadata":{ "a" : 1 }}"#,
        ),
        (CreateRoom, r#"{"name":"x"}"#, CreateRoom, r#"{"name":" x ","visibility":"public","topic":null}"#),
        (CreateDm, r#"{"user_ids":[1,2]}"#, CreateDm, r#"{"user_ids":[2,1,2],"user_id":null}"#),
        (CreateDm, r#"{"user1_id":1,"user2_id":2}"#, CreateDm, r#"{"user1_id":2,"user2_id":1}"#),
    ] {
        let keyed = |body: &str, id: &str| format!(r#"{{"client_id":"{id}",{}"#, &body[1..]);
        assert_eq!(hash(kind, &keyed(first, "a")), hash(kind_again, &keyed(again, "b")), "{first} {again}");
    }
}

#[test]
fn other_data_has_another_hash() {
    use CommandType::*;
    let hashes: Vec<u64> = [
        (SendMessage, r#"{"client_id":"c","room_id":1,"content":"x"}"#),
        (SendMessage, r#"{"client_id":"c","room_id":2,"content":"x"}"#),
        (SendMessage, r#"{"client_id":"c","room_id":1,"content":"x "}"#),
        (SendMessage, r#"{"client_id":"c","room_id":1,"content":"x","parent_id":1}"#),
        (SendMessage, r#"{"client_id":"c","room_id":1,"content":"x","metadata":{}}"#),
        (SendMessage, r#"{"client_id":"c","room_id":1,"content":"x","metadata":{"a":null}}"#),
        (CreateRoom, r#"{"client_id":"c","name":"x"}"#),
        (CreateRoom, r#"{"client_id":"c","name":"x","visibility":"private"}"#),
        (CreateRoom, r#"{"client_id":"c","name":"x","description":"d"}"#),
        (CreateRoom, r#"{"client_id":"c","name":"x","topic":"d"}"#),
        (CreateRoom, r#"{"client_id":"c","name":"x","topic":""}"#),
        (CreateRoom, r#"{"client_id":"c","name":"x","max_members":5}"#),
        (CreateRoom, r#"{"client_id":"c","name":"x","slow_mode_s":5}"#),
        (CreateRoom, r#"{"client_id":"c","name":"x","retention_days":5}"#),
        (CreateDm, r#"{"client_id":"c","user_id":1}"#),
        (CreateDm, r#"{"client_id":"c","user_ids":[1]}"#),
        (CreateDm, r#"{"client_id":"c","user_ids":[1,2]}"#),
        (CreateDm, r#"{"client_id":"c","user1_id":1,"user2_id":2}"#),
    ]
    .map(|(kind, body)| hash(kind, body))
    .into();
    let distinct: std::collections::BTreeSet<_> = hashes.iter().collect();
    assert_eq!(distinct.len(), hashes.len());
}

#[test]
fn stored_hashes_stay_what_they_are() {
    // If this fails, every client that repeats a command across the upgrade gets IDEMPOTENCY_CONFLICT.
    for (kind, body, expected) in [
        (
            CommandType::SendMessage,
            r#"{"client_id":"c","room_id":1,"content":"x","parent_id":2,"metadata":{"a":1}}"#,
            0xd069_c21e_d633_6874,
        ),
        (
            CommandType::CreateRoom,
            r#"{"client_id":"c","name":"x","visibility":"private","max_members":9}"#,
            0x3c2a_a1c1_8aca_e432,
        ),
        (CommandType::CreateDm, r#"{"client_id":"c","user_id":1}"#, 0x117b_2e8c_15f2_789d),
    ] {
        assert_eq!(hash(kind, body), expected, "{body}");
    }
}
