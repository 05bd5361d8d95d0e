//! Rooms that are deleted: nothing brings them back.

use crate::rig::{Rig, code, kinds};

fn about(room: u64) -> String {
    format!(r#"{{"room_id":{room}}}"#)
}

#[test]
fn a_join_behind_the_deletion_finds_no_room() {
    let mut rig = Rig::new(1, |_| {});
    let ada = rig.connect(0, "ada");
    let room = rig.room(ada);
    rig.hold_batches = true;
    let deletion = rig.say(ada, "delete_room", &about(room));
    let join = rig.say(ada, "join_room", &about(room));
    rig.hold_batches = false;
    rig.run();
    assert_eq!(kinds(&[rig.reply(ada, deletion).unwrap()]), ["room_deleted"]);
    assert_eq!(code(&rig.reply(ada, join).unwrap()), "ROOM_NOT_FOUND");
}

#[test]
fn a_repeated_creation_does_not_subscribe_to_a_room_that_is_gone() {
    let mut rig = Rig::new(1, |_| {});
    let (ada, phone) = (rig.connect(0, "ada"), rig.connect(0, "ada"));
    let creation = r#"{"name":"room","client_id":"c"}"#;
    let room = rig.room_with(ada, creation);
    // The store still finds the room, and its home deletes it before it hears of the repetition.
    rig.hold_loads = true;
    let again = rig.say(phone, "create_room", creation);
    let (shard, id, load) = rig.loads.pop_front().expect("a query for the client id");
    let found = rig.store.load(&load);
    rig.ask(ada, "delete_room", &about(room));
    rig.loaded(shard, id, found);
    rig.hold_loads = false;
    rig.run();
    let reply = rig.reply(phone, again).unwrap();
    assert_eq!(reply["data"]["duplicate"], true, "{reply}");
    rig.frames(phone);
    rig.ask(phone, "update_status", r#"{"status":"away"}"#);
    rig.pass(2);
    assert_eq!(kinds(&rig.frames(phone)), Vec::<String>::new(), "something of a room that is gone");
}
