//! Events of a room that are ready together leave together, and none waits long for another.

use veza_engine::id::ConnId;

use crate::rig::{Rig, kinds};

/// A shard with much to write; in a room of two, one message has just been committed and another is on its way.
fn between_two_messages(writes_min: usize) -> (Rig, ConnId, ConnId) {
    let mut rig = Rig::new(1, |limits| limits.hold_writes_min = writes_min);
    let (ada, bob) = (rig.connect(0, "ada"), rig.connect(0, "bob"));
    let room = rig.room(ada);
    rig.ask(bob, "join_room", &format!(r#"{{"room_id":{room}}}"#));
    rig.frames(ada);
    rig.frames(bob);
    rig.hold_batches = true;
    for text in ["one", "two"] {
        rig.say(ada, "send_message", &format!(r#"{{"room_id":{room},"content":"{text}"}}"#));
    }
    let (shard, batch) = rig.batches.pop_front().expect("the first message");
    let outcome = rig.store.apply(&batch);
    rig.stored(shard, batch.writer, outcome);
    rig.run();
    (rig, ada, bob)
}

#[test]
fn an_event_waits_for_the_one_that_is_just_being_committed() {
    let (mut rig, ada, bob) = between_two_messages(2);
    assert_eq!(kinds(&rig.frames(ada)), ["message_sent", "message"], "what is written anyway takes it along");
    assert!(rig.frames(bob).is_empty());
    assert!(!rig.shards[0].is_quiet(), "something is still to be written");
    rig.hold_batches = false;
    rig.run();
    assert_eq!(kinds(&rig.frames(bob)), ["message", "message"]);
}

#[test]
fn an_event_does_not_wait_for_a_slow_commit() {
    let (mut rig, _, bob) = between_two_messages(2);
    assert!(rig.frames(bob).is_empty());
    rig.pass_tenths(1);
    assert_eq!(kinds(&rig.frames(bob)), ["message"]);
    rig.hold_batches = false;
    rig.run();
    assert_eq!(kinds(&rig.frames(bob)), ["message"]);
}

#[test]
fn a_shard_with_little_to_write_lets_nothing_wait() {
    let (mut rig, _, bob) = between_two_messages(4);
    assert_eq!(kinds(&rig.frames(bob)), ["message"]);
}
