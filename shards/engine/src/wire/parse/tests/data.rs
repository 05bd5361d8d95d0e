//! What each command takes.

use super::*;
use crate::id::{ID_MAX, RoomId, Seq, UserId};
use crate::time::WallMs;
use crate::wire::{HistoryAnchor, Permission, Permissions, ResumePoint, RoomFilter, SanctionKind, Status, Visibility};

#[test]
fn every_command_takes_its_fields() {
    use Command as C;
    let point = |last_seq: Option<u64>, epoch| ResumePoint { room_id: RoomId(5), last_seq: last_seq.map(Seq), epoch };
    for (kind, body, expected) in [
        ("authenticate", r#"{"token":"t"}"#, C::Authenticate { token: "t".into() }),
        ("refresh_token", r#"{"token":"t"}"#, C::RefreshToken { token: "t".into() }),
        ("ping", "{}", C::Ping { timestamp: None }),
        ("ping", r#"{"timestamp":1.5e300}"#, C::Ping { timestamp: Some("1.5e300".into()) }),
        ("ping", r#"{"timestamp":-5}"#, C::Ping { timestamp: Some("-5".into()) }),
        ("ping", r#"{"timestamp":"a\"b"}"#, C::Ping { timestamp: Some(r#""a\"b""#.into()) }),
        ("ping", r#"{"timestamp":false}"#, C::Ping { timestamp: Some("false".into()) }),
        ("resume", r#"{"rooms":[]}"#, C::Resume { rooms: vec![] }),
        (
            "resume",
            r#"{"rooms":[{"room_id":5,"last_seq":0},{"epoch":9,"last_seq":3,"room_id":5,"x":[1,{"y":2}]}]}"#,
            C::Resume { rooms: vec![point(Some(0), None), point(Some(3), Some(9))] },
        ),
        ("list_sessions", "{}", C::ListSessions),
        ("revoke_session", r#"{"session_id":"s"}"#, C::RevokeSession { session_id: "s".into() }),
        ("logout", "{}", C::Logout { everywhere: false }),
        ("logout", r#"{"everywhere":true}"#, C::Logout { everywhere: true }),
        (
            "create_room",
            r#"{"name":"  a b ","visibility":null,"max_members":1,"topic":"","slow_mode_s":0}"#,
            C::CreateRoom(Box::new(crate::wire::CreateRoom {
                name: "a b".into(),
                visibility: Visibility::Public,
                description: None,
                topic: Some("".into()),
                max_members: Some(1),
                slow_mode_s: Some(0),
                retention_days: None,
                client: None,
            })),
        ),
        ("get_room", r#"{"room_id":5}"#, C::GetRoom { room_id: RoomId(5) }),
        (
            "list_rooms",
            r#"{"query":"  ","filter":"invited"}"#,
            C::ListRooms { filter: RoomFilter::Invited, query: None, limit: 50, cursor: None },
        ),
        (
            "list_rooms",
            r#"{"query":" x ","limit":100,"cursor":"c"}"#,
            C::ListRooms { filter: RoomFilter::Public, query: Some("x".into()), limit: 100, cursor: Some("c".into()) },
        ),
        ("join_room", r#"{"room_id":5}"#, C::JoinRoom { at: point(None, None) }),
        ("subscribe", r#"{"room_id":5,"last_seq":2,"epoch":1}"#, C::Subscribe { at: point(Some(2), Some(1)) }),
        ("leave_room", r#"{"room_id":5}"#, C::LeaveRoom { room_id: RoomId(5) }),
        ("unsubscribe", r#"{"room_id":5}"#, C::Unsubscribe { room_id: RoomId(5) }),
        (
            "get_members",
            r#"{"room_id":5,"role":"owner","online":false,"limit":1}"#,
            C::GetMembers {
                room_id: RoomId(5),
                role: Some("owner".into()),
                online: Some(false),
                limit: 1,
                cursor: None,
            },
        ),
        ("mark_read", r#"{"room_id":5,"seq":0}"#, C::MarkRead { room_id: RoomId(5), seq: Seq(0) }),
        ("get_unread", "{}", C::GetUnread),
        ("get_message", r#"{"room_id":5,"message_id":3}"#, C::GetMessage { room_id: RoomId(5), message_id: Seq(3) }),
        (
            "get_history",
            r#"{"room_id":5,"after_id":0}"#,
            C::GetHistory { room_id: RoomId(5), anchor: HistoryAnchor::After(Seq(0)), limit: 50 },
        ),
        (
            "get_history",
            r#"{"room_id":5,"around_id":7,"before_id":null}"#,
            C::GetHistory { room_id: RoomId(5), anchor: HistoryAnchor::Around(Seq(7)), limit: 50 },
        ),
        ("list_dms", r#"{"limit":3}"#, C::ListDms { limit: 3, cursor: None }),
        ("get_user", r#"{"user_id":9007199254740991}"#, C::GetUser { user_id: UserId(ID_MAX) }),
        ("list_users", r#"{"query":"é"}"#, C::ListUsers { query: Some("é".into()), limit: 50, cursor: None }),
        ("create_dm", r#"{"user_id":2}"#, dm(&[2], false, false)),
        ("create_dm", r#"{"user2_id":2,"user1_id":1}"#, dm(&[1, 2], true, false)),
        ("create_dm", r#"{"user_ids":[3,3,2,3]}"#, dm(&[3, 2], false, true)),
        ("create_dm", r#"{"user_ids":[1,2,3,4,5,6,7,8,9,10,10,1]}"#, dm(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], false, true)),
        ("send_message", r#"{"room_id":5,"content":"\n a\t"}"#, message(false, "\n a\t", 4, None, None)),
        ("send_dm", r#"{"conversation_id":5,"content":"é👩‍👩‍👧","parent_id":2}"#, message(true, "é👩‍👩‍👧", 6, Some(2), None)),
        (
            "send_message",
            r#"{"room_id":5,"content":"x","metadata":{ "b" : [ 1, -2, 0.5, 1e3, null, true ], "a": {"\u00e9\n":"/"} }}"#,
            message(false, "x", 1, None, Some("{\"b\":[1,-2,0.5,1000.0,null,true],\"a\":{\"é\\n\":\"/\"}}")),
        ),
    ] {
        let frame = format!(r#"{{"type":"{kind}","id":1,"data":{body}}}"#);
        assert_eq!(parse(&frame).command.as_ref(), Ok(&expected), "{frame}");
        let kind = CommandType::from_name(kind).expect("a command");
        assert_eq!(data(kind, body).as_ref(), Ok(&expected), "{frame}");
    }
}

fn dm(users: &[u64], must_name_caller: bool, group: bool) -> Command {
    let user_ids = users.iter().copied().map(UserId).collect();
    Command::CreateDm(Box::new(crate::wire::CreateDm { user_ids, must_name_caller, group, client: None }))
}

fn message(dm_only: bool, content: &str, chars: u32, parent: Option<u64>, metadata: Option<&str>) -> Command {
    Command::SendMessage(Box::new(crate::wire::SendMessage {
        room_id: RoomId(5),
        dm_only,
        content: content.into(),
        content_chars: chars,
        parent_id: parent.map(Seq),
        client: None,
        metadata: metadata.map(Into::into),
    }))
}

#[test]
fn commands_that_change_rooms_take_their_fields() {
    use Command as C;
    let (room_id, user_id, message_id) = (RoomId(5), UserId(7), Seq(3));
    let update = |change: fn(&mut crate::wire::UpdateRoom)| {
        let mut update = crate::wire::UpdateRoom {
            room_id: RoomId(5),
            name: None,
            description: None,
            topic: None,
            visibility: None,
            max_members: None,
            slow_mode_s: None,
            retention_days: None,
            archived: None,
        };
        change(&mut update);
        C::UpdateRoom(Box::new(update))
    };
    for (kind, body, expected) in [
        ("update_status", r#"{"status":"away"}"#, C::UpdateStatus { status: Status::Away, message: None }),
        (
            "update_status",
            r#"{"status":"invisible","message":" at lunch "}"#,
            C::UpdateStatus { status: Status::Invisible, message: Some("at lunch".into()) },
        ),
        (
            "update_status",
            r#"{"status":"busy","message":" "}"#,
            C::UpdateStatus { status: Status::Busy, message: None },
        ),
        ("update_room", r#"{"room_id":5,"name":" n "}"#, update(|room| room.name = Some("n".into()))),
        ("update_room", r#"{"room_id":5,"topic":"","x":1}"#, update(|room| room.topic = Some("".into()))),
        ("update_room", r#"{"room_id":5,"archived":false}"#, update(|room| room.archived = Some(false))),
        (
            "update_room",
            r#"{"room_id":5,"visibility":"private","max_members":3,"slow_mode_s":0,"retention_days":9,"name":null}"#,
            update(|room| {
                room.visibility = Some(Visibility::Private);
                (room.max_members, room.slow_mode_s, room.retention_days) = (Some(3), Some(0), Some(9));
            }),
        ),
        ("delete_room", r#"{"room_id":5}"#, C::DeleteRoom { room_id }),
        ("invite_member", r#"{"room_id":5,"user_id":7}"#, C::InviteMember { room_id, user_id }),
        ("kick_member", r#"{"room_id":5,"user_id":7}"#, C::KickMember { room_id, user_id, reason: None }),
        (
            "kick_member",
            r#"{"room_id":5,"user_id":7,"reason":"so"}"#,
            C::KickMember { room_id, user_id, reason: Some("so".into()) },
        ),
        (
            "set_member_role",
            r#"{"room_id":5,"user_id":7,"role":"owner"}"#,
            C::SetMemberRole { room_id, user_id, role: "owner".into() },
        ),
        (
            "create_role",
            r#"{"room_id":5,"name":"dj-1_a","permissions":["pin","read","pin"]}"#,
            C::CreateRole {
                room_id,
                name: "dj-1_a".into(),
                permissions: Permissions::of(&[Permission::Read, Permission::Pin]),
            },
        ),
        (
            "update_role",
            r#"{"room_id":5,"name":"dj","permissions":[]}"#,
            C::UpdateRole { room_id, name: "dj".into(), permissions: Permissions::NONE },
        ),
        ("delete_role", r#"{"room_id":5,"name":"dj"}"#, C::DeleteRole { room_id, name: "dj".into() }),
        ("list_roles", r#"{"room_id":5}"#, C::ListRoles { room_id }),
        ("typing", r#"{"room_id":5,"is_typing":true}"#, C::Typing { room_id, is_typing: true }),
        ("get_room_stats", r#"{"room_id":5}"#, C::GetRoomStats { room_id }),
        (
            "edit_message",
            r#"{"room_id":5,"message_id":3,"content":"é","reason":" "}"#,
            C::EditMessage(Box::new(crate::wire::EditMessage {
                room_id,
                message_id,
                content: "é".into(),
                content_chars: 1,
                reason: None,
            })),
        ),
        (
            "delete_message",
            r#"{"room_id":5,"message_id":3,"reason":"spam"}"#,
            C::DeleteMessage { room_id, message_id, reason: Some("spam".into()) },
        ),
        ("get_edits", r#"{"room_id":5,"message_id":3}"#, C::GetEdits { room_id, message_id }),
        (
            "get_thread",
            r#"{"room_id":5,"parent_id":3,"after_id":0}"#,
            C::GetThread { room_id, parent_id: message_id, after_id: Some(Seq(0)), limit: 50 },
        ),
        (
            "search_messages",
            r#"{"query":" big cat ","from":"1970-01-01T01:00:01+01:00","to":"1970-01-01T00:00:02.5Z","author_id":7}"#,
            C::SearchMessages(Box::new(crate::wire::SearchMessages {
                query: "big cat".into(),
                room_id: None,
                author_id: Some(user_id),
                from: Some(WallMs(1000)),
                to: Some(WallMs(2500)),
                limit: 50,
                cursor: None,
            })),
        ),
        ("pin_message", r#"{"room_id":5,"message_id":3}"#, C::PinMessage { room_id, message_id }),
        ("unpin_message", r#"{"room_id":5,"message_id":3}"#, C::UnpinMessage { room_id, message_id }),
        ("get_pinned_messages", r#"{"room_id":5}"#, C::GetPinnedMessages { room_id }),
        (
            "add_reaction",
            r#"{"room_id":5,"message_id":3,"emoji":"\u2764"}"#,
            C::AddReaction { room_id, message_id, emoji: "\u{2764}\u{FE0F}".into() },
        ),
        (
            "remove_reaction",
            r#"{"room_id":5,"message_id":3,"emoji":":tada:"}"#,
            C::RemoveReaction { room_id, message_id, emoji: ":tada:".into() },
        ),
        ("get_reactions", r#"{"room_id":5,"message_id":3}"#, C::GetReactions { room_id, message_id }),
        ("get_mentions", r#"{"limit":3,"cursor":"c"}"#, C::GetMentions { limit: 3, cursor: Some("c".into()) }),
        ("block_user", r#"{"user_id":7}"#, C::BlockUser { user_id }),
        ("unblock_user", r#"{"user_id":7}"#, C::UnblockUser { user_id }),
        ("list_blocks", "{}", C::ListBlocks),
        (
            "sanction_user",
            r#"{"room_id":5,"user_id":7,"kind":"mute","duration_s":60,"reason":"loud"}"#,
            C::SanctionUser(Box::new(crate::wire::SanctionUser {
                room_id,
                user_id,
                kind: SanctionKind::Mute,
                duration_s: Some(60),
                reason: "loud".into(),
                sanction_id: 0,
            })),
        ),
        ("lift_sanction", r#"{"sanction_id":9}"#, C::LiftSanction { sanction_id: 9, room_id: None }),
        (
            "list_sanctions",
            r#"{"room_id":5,"active":true,"limit":2}"#,
            C::ListSanctions { room_id: Some(room_id), user_id: None, active: Some(true), limit: 2, cursor: None },
        ),
    ] {
        let kind = CommandType::from_name(kind).expect("a command");
        assert_eq!(data(kind, body), Ok(expected), "{body}");
    }
}

#[test]
fn what_just_fits_is_taken() {
    for (kind, body) in [
        (CommandType::CreateRoom, format!(r#"{{"name":" {} "}}"#, "é".repeat(100))),
        (CommandType::CreateRoom, format!(r#"{{"name":"a","description":"{}"}}"#, "é".repeat(1000))),
        (CommandType::CreateRoom, format!(r#"{{"name":"a","topic":"{}"}}"#, "é".repeat(250))),
        (CommandType::SendMessage, format!(r#"{{"room_id":1,"content":"{}"}}"#, "é".repeat(30_000))),
        (CommandType::SendMessage, format!(r#"{{"room_id":1,"content":"x","client_id":"{}"}}"#, "é".repeat(32))),
        (
            CommandType::SendMessage,
            format!(r#"{{"room_id":1,"content":"x","metadata": {{ "k" : "{}" }} }}"#, "x".repeat(4096 - 8)),
        ),
        (CommandType::Authenticate, format!(r#"{{"token":"{}"}}"#, "x".repeat(4096))),
        (CommandType::Ping, format!(r#"{{"timestamp":"{}"}}"#, "x".repeat(62))),
    ] {
        assert_eq!(verdict(&data(kind, &body)), kind.name(), "{body:.100}");
    }
}
