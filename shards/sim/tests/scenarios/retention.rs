//! Retention: what the room's home makes of the news that the oldest events are gone.

use veza_engine::Input;
use veza_engine::id::{RoomId, Seq};
use veza_engine::store::LoadError;

use crate::rig::{Rig, code};

fn about(room: u64, more: &str) -> String {
    format!(r#"{{"room_id":{room}{more}}}"#)
}

fn retain(rig: &mut Rig, room: u64, floor: u64) {
    rig.store.retain(RoomId(room), Seq(floor));
    rig.input(0, Input::Retained { room_id: RoomId(room), floor: Seq(floor) });
}

/// Messages 1 and 2, pinned by events 3 and 4.
fn two_pins(rig: &mut Rig) -> (veza_engine::id::ConnId, u64) {
    let ada = rig.connect(0, "ada");
    let room = rig.room(ada);
    for text in ["one", "two"] {
        rig.ask(ada, "send_message", &about(room, &format!(r#","content":"{text}""#)));
    }
    for message in 1..=2 {
        assert_eq!(code(&rig.ask(ada, "pin_message", &about(room, &format!(r#","message_id":{message}"#)))), "ok");
    }
    (ada, room)
}

#[test]
fn a_position_from_before_is_too_old() {
    let mut rig = Rig::new(1, |_| {});
    let (ada, room) = two_pins(&mut rig);
    retain(&mut rig, room, 2);
    for (last_seq, recovered) in [(1, false), (2, true)] {
        let reply = rig.ask(ada, "resume", &format!(r#"{{"rooms":[{{"room_id":{room},"last_seq":{last_seq}}}]}}"#));
        assert_eq!(reply["data"]["rooms"][0]["recovered"], recovered, "{reply}");
    }
    assert_eq!(code(&rig.ask(ada, "get_message", &about(room, r#","message_id":2"#))), "MESSAGE_NOT_FOUND");
}

#[test]
fn pins_are_counted_again_until_it_is_known_how_many_are_left() {
    let mut rig = Rig::new(1, |limits| limits.max_pins_per_room = 2);
    let (ada, room) = two_pins(&mut rig);
    rig.ask(ada, "send_message", &about(room, r#","content":"three""#));
    rig.hold_loads = true;
    retain(&mut rig, room, 1);
    let (shard, id, _) = rig.loads.pop_front().expect("the pins are counted");
    rig.loaded(shard, id, Err(LoadError::Unavailable));
    rig.hold_loads = false;
    rig.run();
    // One of two is gone: there is room for another, once the store has said so.
    rig.pass(2);
    assert_eq!(code(&rig.ask(ada, "pin_message", &about(room, r#","message_id":5"#))), "ok");
    assert_eq!(rig.ask(ada, "get_room_stats", &about(room, ""))["data"]["pinned_count"], 2);
}

#[test]
fn a_count_of_pins_that_was_overtaken_is_not_believed() {
    let mut rig = Rig::new(1, |_| {});
    let (ada, room) = two_pins(&mut rig);
    rig.hold_loads = true;
    retain(&mut rig, room, 1);
    let (shard, id, load) = rig.loads.pop_front().expect("the pins are counted");
    let counted = rig.store.load(&load);
    assert_eq!(code(&rig.ask(ada, "delete_message", &about(room, r#","message_id":2"#))), "ok");
    rig.loaded(shard, id, counted);
    rig.hold_loads = false;
    rig.run();
    rig.pass(2);
    assert_eq!(rig.ask(ada, "get_room_stats", &about(room, ""))["data"]["pinned_count"], 0);
}
