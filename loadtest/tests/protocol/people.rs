//! Invitations, ownership, roles of a room's own, blocks, and what users let others see.

use serde_json::{Value, json};
use veza_loadtest::client::Client;
use veza_loadtest::testing::{fresh, number, room, room_of, standard, user};

async fn private_room(owner: &mut Client) -> u64 {
    let created = owner.ok("create_room", json!({"name": "inner", "visibility": "private"})).await;
    number(&created["room"], "room_id")
}

/// Ids of the rooms that are listed under a filter.
async fn listed(client: &mut Client, filter: &str) -> Vec<u64> {
    let page = client.ok("list_rooms", json!({"filter": filter, "limit": 100})).await;
    page["rooms"].as_array().expect("rooms").iter().map(|room| number(room, "room_id")).collect()
}

#[tokio::test]
async fn an_invitation_lets_one_in_and_is_over_when_it_is_taken_or_declined() {
    let (mut owner, mut guest) = (user(standard()).await, user(standard()).await);
    let room = private_room(&mut owner).await;
    let invite = json!({"room_id": room, "user_id": guest.user_id()});
    assert_eq!(guest.err("join_room", json!({"room_id": room})).await, "ROOM_NOT_FOUND");
    owner.ok("invite_member", invite.clone()).await;
    assert_eq!(listed(&mut guest, "invited").await, [room]);
    guest.ok("get_room", json!({"room_id": room})).await;
    assert_eq!(guest.err("get_history", json!({"room_id": room})).await, "NOT_A_MEMBER");
    guest.ok("leave_room", json!({"room_id": room})).await;
    assert_eq!(listed(&mut guest, "invited").await, Vec::<u64>::new());
    assert_eq!(guest.err("join_room", json!({"room_id": room})).await, "ROOM_NOT_FOUND");
    owner.ok("invite_member", invite).await;
    guest.ok("join_room", json!({"room_id": room})).await;
    assert_eq!((listed(&mut guest, "invited").await, listed(&mut guest, "joined").await), (vec![], vec![room]));
    // It was for once.
    guest.ok("leave_room", json!({"room_id": room})).await;
    assert_eq!(guest.err("join_room", json!({"room_id": room})).await, "ROOM_NOT_FOUND");
}

#[tokio::test]
async fn a_room_that_becomes_private_keeps_its_members_and_is_gone_for_others() {
    let (mut owner, mut member, mut stranger) =
        (user(standard()).await, user(standard()).await, user(standard()).await);
    let room = room_of(&mut [&mut owner, &mut member]).await;
    stranger.ok("get_room", json!({"room_id": room})).await;
    owner.ok("update_room", json!({"room_id": room, "visibility": "private"})).await;
    assert_eq!(stranger.err("get_room", json!({"room_id": room})).await, "ROOM_NOT_FOUND");
    member.say(room, "still here").await;
    owner.ok("update_room", json!({"room_id": room, "visibility": "public"})).await;
    stranger.ok("join_room", json!({"room_id": room})).await;
}

#[tokio::test]
async fn ownership_is_passed_on_once_and_whole() {
    let (mut owner, mut heir) = (user(standard()).await, user(standard()).await);
    let room = room_of(&mut [&mut owner, &mut heir]).await;
    assert_eq!(owner.err("leave_room", json!({"room_id": room})).await, "CONFLICT");
    let pass = json!({"room_id": room, "user_id": heir.user_id(), "role": "owner"});
    let passed = owner.ok("set_member_role", pass.clone()).await;
    assert_eq!(number(&passed, "seq"), 1, "one event");
    let push = heir.push_of("member_role_changed").await.expect("told");
    assert_eq!((number(&push.data, "user_id"), &push.data["role"]), (heir.user_id(), &json!("owner")));
    assert_eq!(owner.err("set_member_role", pass).await, "PERMISSION_DENIED");
    let read = heir.ok("get_room", json!({"room_id": room})).await;
    assert_eq!(number(&read["room"], "owner_id"), heir.user_id());
    let members = heir.ok("get_members", json!({"room_id": room})).await;
    let role_of = |id: u64| {
        let rows = members["members"].as_array().expect("members");
        rows.iter().find(|row| row["user_id"] == id).map(|row| row["role"].clone())
    };
    assert_eq!((role_of(heir.user_id()), role_of(owner.user_id())), (Some(json!("owner")), Some(json!("moderator"))));
    owner.ok("leave_room", json!({"room_id": room})).await;
    assert_eq!(heir.err("leave_room", json!({"room_id": room})).await, "CONFLICT");
}

/// What a role of the room's own allows holds from the reply on, and its end makes plain members.
#[tokio::test]
async fn a_custom_role_allows_what_it_says_while_it_says_so() {
    let (mut owner, mut member) = (user(standard()).await, user(standard()).await);
    let room = room_of(&mut [&mut owner, &mut member]).await;
    let message = owner.say(room, "pin me").await;
    let pin = json!({"room_id": room, "message_id": message});
    let role = |permissions: Value| json!({"room_id": room, "name": "curator", "permissions": permissions});
    assert_eq!(member.err("pin_message", pin.clone()).await, "PERMISSION_DENIED");
    owner.ok("create_role", role(json!(["read", "pin"]))).await;
    let set = json!({"room_id": room, "user_id": member.user_id(), "role": "curator"});
    owner.ok("set_member_role", set).await;
    member.ok("pin_message", pin.clone()).await;
    assert_eq!(member.err("send_message", json!({"room_id": room, "content": "x"})).await, "PERMISSION_DENIED");
    owner.ok("update_role", role(json!([]))).await;
    assert_eq!(member.err("unpin_message", pin.clone()).await, "PERMISSION_DENIED");
    assert_eq!(member.err("get_history", json!({"room_id": room})).await, "PERMISSION_DENIED", "read is a right, too");
    owner.ok("delete_role", json!({"room_id": room, "name": "curator"})).await;
    member.say(room, "a plain member again").await;
    let joined = member.ok("subscribe", json!({"room_id": room})).await;
    assert_eq!(joined["role"], "member");
}

/// Nobody gives away, or takes, more than he has himself.
#[tokio::test]
async fn roles_are_given_only_by_those_who_have_what_is_in_them() {
    let (mut owner, mut chief, mut member) = (user(standard()).await, user(standard()).await, user(standard()).await);
    let room = room_of(&mut [&mut owner, &mut chief, &mut member]).await;
    let role = |name: &str, permissions: Value| json!({"room_id": room, "name": name, "permissions": permissions});
    owner.ok("create_role", role("chief", json!(["read", "send", "manage_roles"]))).await;
    let set = |user: &Client, role: &str| json!({"room_id": room, "user_id": user.user_id(), "role": role});
    owner.ok("set_member_role", set(&chief, "chief")).await;
    for data in [set(&member, "owner"), set(&member, "moderator"), set(&chief, "moderator"), set(&owner, "member")] {
        let code = chief.err("set_member_role", data.clone()).await;
        assert!(["PERMISSION_DENIED", "CONFLICT"].contains(&code.as_str()), "{data}: {code}");
    }
    assert_eq!(chief.err("create_role", role("more", json!(["read", "moderate"]))).await, "PERMISSION_DENIED");
    chief.ok("create_role", role("less", json!(["read"]))).await;
    chief.ok("set_member_role", set(&member, "less")).await;
    assert_eq!(member.err("send_message", json!({"room_id": room, "content": "x"})).await, "PERMISSION_DENIED");
}

/// A block ends what comes from the other side, and tells that side nothing of the blocker.
#[tokio::test]
async fn a_block_holds_until_its_owner_takes_it_back() {
    let (mut blocker, mut blocked) = (user(standard()).await, user(standard()).await);
    let dm = number(&blocker.ok("create_dm", json!({"user_id": blocked.user_id()})).await, "conversation_id");
    let room = room_of(&mut [&mut blocker, &mut blocked]).await;
    blocker.say(dm, "before").await;
    blocked.say(dm, "before, too").await;
    blocker.ok("block_user", json!({"user_id": blocked.user_id()})).await;
    for (command, data) in [
        ("create_dm", json!({"user_id": blocker.user_id()})),
        ("send_dm", json!({"conversation_id": dm, "content": "x"})),
        ("send_message", json!({"room_id": dm, "content": "x"})),
        ("edit_message", json!({"room_id": dm, "message_id": 2, "content": "x"})),
        ("add_reaction", json!({"room_id": dm, "message_id": 1, "emoji": "🤔"})),
    ] {
        assert_eq!(blocked.err(command, data).await, "CONVERSATION_BLOCKED", "{command}");
    }
    blocked.ok("unblock_user", json!({"user_id": blocker.user_id()})).await;
    assert_eq!(blocked.err("send_dm", json!({"conversation_id": dm, "content": "x"})).await, "CONVERSATION_BLOCKED");
    let shown = async |client: &mut Client, of: u64| {
        let page = client.ok("get_members", json!({"room_id": room})).await;
        let rows = page["members"].as_array().expect("members").clone();
        rows.iter().find(|row| row["user_id"] == of).expect("a member")["status"].clone()
    };
    assert_eq!(shown(&mut blocked, blocker.user_id()).await, "offline");
    assert_eq!(shown(&mut blocker, blocked.user_id()).await, "online");
    for (client, is_blocked) in [(&mut blocker, true), (&mut blocked, false)] {
        let page = client.ok("list_dms", json!({})).await;
        assert_eq!(page["conversations"][0]["is_blocked"], is_blocked, "{page}");
    }
    // Blocks concern pairs: a room that both are in goes on.
    blocked.say(room, "in a room").await;
    blocker.ok("unblock_user", json!({"user_id": blocked.user_id()})).await;
    blocked.say(dm, "after").await;
    assert_eq!(shown(&mut blocked, blocker.user_id()).await, "online");
}

/// Several devices are one user; invisible is as offline; the last one to go leaves a time.
#[tokio::test]
async fn presence_is_that_of_the_user_and_not_of_a_connection() {
    let server = standard();
    let token = server.token(&fresh("present"));
    let mut watcher = user(server).await;
    let mut phone = Client::connect(server.addr(), &token).await.expect("in");
    let mut desk = Client::connect(server.addr(), &token).await.expect("in");
    let who = phone.user_id();
    let room = room(&mut watcher).await;
    phone.ok("join_room", json!({"room_id": room})).await;
    desk.ok("subscribe", json!({"room_id": room})).await;
    // The next push that shows the user so; others may come before it.
    let becomes = async |watcher: &mut Client, status: &str| {
        loop {
            let push = watcher.push_of("presence").await.expect("a push").data;
            if push["user_id"] == who && push["status"] == status {
                return push;
            }
        }
    };
    phone.ok("update_status", json!({"status": "busy", "message": "writing"})).await;
    assert_eq!(becomes(&mut watcher, "busy").await["message"], "writing");
    phone.ok("unsubscribe", json!({"room_id": room})).await;
    phone.close(1000).await.expect("closed");
    desk.ok("update_status", json!({"status": "away"})).await;
    let away = becomes(&mut watcher, "away").await;
    assert_eq!(away["message"], Value::Null, "one device less is no news");
    desk.ok("update_status", json!({"status": "invisible"})).await;
    assert_eq!(becomes(&mut watcher, "offline").await["message"], Value::Null);
    let online = watcher.ok("get_members", json!({"room_id": room, "online": true})).await;
    assert_eq!(online["members"].as_array().expect("members").len(), 1, "{online}");
    let stats = watcher.ok("get_room_stats", json!({"room_id": room})).await;
    assert_eq!((number(&stats, "online_count"), number(&stats, "member_count")), (1, 2));
    desk.ok("update_status", json!({"status": "online"})).await;
    becomes(&mut watcher, "online").await;
    desk.close(1000).await.expect("closed");
    assert!(becomes(&mut watcher, "offline").await["last_seen_at"].is_string());
}
