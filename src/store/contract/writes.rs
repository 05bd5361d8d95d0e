//! Batches: in once, or not at all and why.

use veza_engine::store::Duplicate;

use super::*;

pub(in crate::store) fn a_batch_goes_in_once(place: &dyn Place) {
    let mut desk = Desk::open(place);
    let (events, writes) = (vec![keyed(1, 1, 1, "a"), message(1, 2, 1)], vec![create(1), put(1, 2, 0)]);
    desk.commit(events.clone(), writes.clone());
    let writer = Writer { epoch: desk.epoch, lane: 0, number: 1 };
    for _ in 0..2 {
        desk.repeat(writer, events.clone(), writes.clone());
        assert_eq!(desk.outcome(), (writer, BatchOutcome::Committed), "its answer was lost, it is asked again");
    }
    assert_eq!(desk.events(1), events);
    desk.close();
    let desk = Desk::open(place);
    assert_eq!(desk.events(1), events, "after a restart");
    assert_eq!(desk.room(1, 0).member_count, 1);
}

pub(in crate::store) fn foreign_rows_are_conflicts_and_nothing_of_the_batch_stays(place: &dyn Place) {
    let mut desk = Desk::open(place);
    desk.commit(vec![message(1, 1, 1)], vec![create(1), create(2)]);
    let foreign = EventRow { message_no: 2, ..message(1, 2, 5) };
    place.insert_foreign(&foreign);
    for (events, stale) in [
        (vec![message(1, 2, 1), message(1, 3, 1), message(2, 1, 1)], vec![RoomId(1)]),
        (vec![message(2, 1, 1), message(1, 2, 1)], vec![RoomId(1)]),
    ] {
        let writes = vec![Write::MemberCount { room_id: RoomId(2), count: 50 }];
        assert_eq!(desk.write(events, writes), BatchOutcome::Conflict { stale, duplicates: vec![] });
    }
    assert_eq!(desk.events(1), [message(1, 1, 1), foreign]);
    assert_eq!((desk.events(2), desk.room(2, 0).member_count), (vec![], 1));
    desk.commit(vec![message(1, 3, 1), message(2, 1, 1)], vec![]);
    assert_eq!((desk.room(1, 0).head, desk.room(2, 0).head), (Seq(3), Seq(1)));
}

pub(in crate::store) fn used_client_ids_and_pairs_are_named_with_their_first_use(place: &dyn Place) {
    let mut desk = Desk::open(place);
    let room = |room, client| Write::CreateRoom { meta: meta(room, RoomKind::Room), creator_id: UserId(1), client };
    desk.commit(vec![keyed(1, 1, 1, "a"), keyed(1, 2, 2, "b")], vec![room(1, key("room"))]);
    desk.commit(vec![], vec![create_dm(2, 1, 2, key("dm"))]);
    let earlier = |index, is_event, room, seq, at, hash| Duplicate {
        index,
        is_event,
        room_id: RoomId(room),
        seq: Seq(seq),
        at: WallMs(at),
        hash,
    };
    let hash = |client| key(client).map(|key| key.hash);
    let event_at = |seq: i64| 1_700_000_000_000 + seq;
    let room_at = |room: i64| 1_600_000_000_000 + room;
    for (events, writes, duplicates) in [
        // The same author, room and id; another author's "a" is fresh.
        (
            vec![keyed(1, 3, 2, "a"), keyed(1, 4, 1, "a"), keyed(1, 5, 2, "b")],
            vec![],
            vec![earlier(1, true, 1, 1, event_at(1), hash("a")), earlier(2, true, 1, 2, event_at(2), hash("b"))],
        ),
        (
            vec![],
            vec![room(3, key("fresh")), room(4, key("room"))],
            vec![earlier(1, false, 1, 0, room_at(1), hash("room"))],
        ),
        // One space of ids for rooms and conversations of a creator.
        (vec![], vec![room(3, key("dm"))], vec![earlier(0, false, 2, 0, room_at(2), hash("dm"))]),
        (vec![], vec![create_dm(3, 1, 2, key("other"))], vec![earlier(0, false, 2, 0, room_at(2), None)]),
        (vec![], vec![create_dm(3, 1, 2, key("dm"))], vec![earlier(0, false, 2, 0, room_at(2), hash("dm"))]),
        (vec![], vec![create_dm(3, 1, 2, None)], vec![earlier(0, false, 2, 0, room_at(2), None)]),
    ] {
        let outcome = desk.write(events, writes);
        assert_eq!(outcome, BatchOutcome::Conflict { stale: vec![], duplicates });
    }
    let outcome = desk.write(vec![keyed(1, 2, 1, "a")], vec![]);
    let duplicates = vec![earlier(0, true, 1, 1, event_at(1), hash("a"))];
    assert_eq!(outcome, BatchOutcome::Conflict { stale: vec![RoomId(1)], duplicates }, "both at once");
    assert_eq!(desk.load(Load::Room { room_id: RoomId(3), tail: 0, members: vec![] }), Loaded::Room(None));
    assert_eq!(desk.room(1, 0).head, Seq(2));
    desk.commit(vec![keyed(1, 3, 2, "a")], vec![room(3, key("fresh")), create_dm(4, 1, 3, None)]);
}

pub(in crate::store) fn what_the_database_refuses_is_named_and_the_rest_goes_in(place: &dyn Place) {
    let mut desk = Desk::open(place);
    desk.commit(vec![], vec![create(1), create(2)]);
    let with = |event: EventRow, content: &str| EventRow { content: Some(content.into()), ..event };
    let mut named = meta(3, RoomKind::Room);
    named.name = "bad\0name".into();
    let events = vec![
        message(1, 1, 1),
        with(message(1, 2, 1), "poi\0son"),
        message(1, 3, 1),
        message(2, 1, 1),
        with(message(2, 2, 1), "\0"),
    ];
    let writes = vec![put(1, 2, 0), Write::CreateRoom { meta: named, creator_id: UserId(1), client: None }, create(4)];
    match desk.write(events.clone(), writes.clone()) {
        BatchOutcome::Refused { events, writes, cause } => {
            assert_eq!((events, writes), (vec![1, 4], vec![1]));
            assert!(!cause.is_empty());
        }
        other => panic!("{other:?}"),
    }
    assert_eq!((desk.events(1), desk.events(2)), (vec![], vec![]), "nothing of it is in");
    // As the engine repeats it: voids in the place of what was refused.
    let (mut events, mut writes) = (events, writes);
    (events[1], events[4]) = (void(1, 2, 1), void(2, 2, 1));
    events[2].message_no = 2;
    writes.remove(1);
    desk.commit(events.clone(), writes);
    assert_eq!([desk.events(1), desk.events(2)].concat(), events);
    assert_eq!(desk.room(4, 0).member_count, 1);
}

pub(in crate::store) fn a_batch_that_fails_takes_no_other_with_it(place: &dyn Place) {
    let mut desk = Desk::open(place);
    desk.commit(vec![], (1..=6).map(create).collect());
    place.insert_foreign(&message(2, 1, 9));
    let poison = EventRow { content: Some("\0".into()), ..message(4, 1, 1) };
    for (lane, event) in
        [message(1, 1, 1), message(2, 1, 1), message(3, 1, 1), poison, message(5, 1, 1)].into_iter().enumerate()
    {
        desk.submit(lane as u32 + 1, vec![event], vec![]);
    }
    let mut outcomes: Vec<_> = (0..5).map(|_| desk.outcome()).map(|(writer, outcome)| (writer.lane, outcome)).collect();
    outcomes.sort_by_key(|(lane, _)| *lane);
    let told: Vec<_> = outcomes
        .iter()
        .map(|(_, outcome)| match outcome {
            BatchOutcome::Committed => "committed",
            BatchOutcome::Conflict { .. } => "conflict",
            BatchOutcome::Refused { .. } => "refused",
        })
        .collect();
    assert_eq!(told, ["committed", "conflict", "committed", "refused", "committed"]);
    assert_eq!([1, 2, 3, 4, 5].map(|room| desk.events(room).len()), [1, 1, 1, 0, 1]);
}

pub(in crate::store) fn writes_are_absolute_or_only_advance(place: &dyn Place) {
    let mut desk = Desk::open(place);
    desk.users(4);
    let read =
        |user, seq| Write::ReadPosition { room_id: RoomId(1), user_id: UserId(user), seq: Seq(seq), message_no: seq };
    let leave = |user| Write::DropMember { room_id: RoomId(1), user_id: UserId(user) };
    let count = |count| Write::MemberCount { room_id: RoomId(1), count };
    desk.commit((1..=5).map(|seq| message(1, seq, 9)).collect(), vec![create(1)]);
    for (what, writes, members, member_count) in [
        ("a member", vec![put(1, 2, 3)], vec![(1, 0, 0), (2, 3, 3)], 1),
        ("twice, and no position goes back", vec![put(1, 2, 1), put(1, 2, 1)], vec![(1, 0, 0), (2, 3, 3)], 1),
        ("a count", vec![count(7), count(2)], vec![(1, 0, 0), (2, 3, 3)], 2),
        ("reading on", vec![read(2, 4), read(2, 2)], vec![(1, 0, 0), (2, 4, 4)], 2),
        ("no position without membership", vec![read(3, 4)], vec![(1, 0, 0), (2, 4, 4)], 2),
        ("in order", vec![put(1, 3, 1), leave(3), put(1, 4, 5), leave(2)], vec![(1, 0, 0), (4, 5, 5)], 2),
        ("twice gone", vec![leave(3), leave(4), leave(4)], vec![(1, 0, 0)], 2),
        ("back, from the start", vec![put(1, 4, 2), read(4, 3)], vec![(1, 0, 0), (4, 3, 3)], 2),
    ] {
        desk.commit(vec![], writes);
        let state = desk.room(1, 0);
        assert_eq!((positions(&state.standings), state.member_count), (members, member_count), "{what}");
    }
    let mut moderator = member(4, 0);
    (moderator.role, moderator.joined_at) = ("moderator".into(), WallMs(12));
    desk.commit(vec![], vec![Write::PutMember { room_id: RoomId(1), member: moderator.clone() }]);
    (moderator.last_read_seq, moderator.last_read_no) = (Seq(3), 3);
    assert_eq!(members(&desk.room(1, 0).standings).last(), Some(&moderator));
}

pub(in crate::store) fn lanes_write_at_once_and_each_in_its_order(place: &dyn Place) {
    const BATCHES: u64 = 40;
    let mut desk = Desk::open(place);
    let lanes = u32::from(LANES);
    desk.commit(vec![], (1..=u64::from(lanes)).map(create).collect());
    let batch = |lane: u32, number: u64| {
        let room = u64::from(lane) + 1;
        (0..3).map(|i| message(room, (number - 1) * 3 + i + 1, 1)).collect::<Vec<_>>()
    };
    let mut next: Vec<u64> = vec![1; lanes as usize];
    for lane in 0..lanes {
        desk.submit(lane, batch(lane, 1), vec![]);
    }
    let mut left = BATCHES * u64::from(lanes);
    while left > 0 {
        let (writer, outcome) = desk.outcome();
        assert_eq!(outcome, BatchOutcome::Committed);
        left -= 1;
        let number = &mut next[writer.lane as usize];
        *number += 1;
        if *number <= BATCHES {
            let events = batch(writer.lane, *number);
            desk.submit(writer.lane, events, vec![]);
        }
    }
    for room in 1..=u64::from(lanes) {
        let seqs: Vec<u64> = desk.events(room).iter().map(|row| row.seq.0).collect();
        assert_eq!(seqs, (1..=BATCHES * 3).collect::<Vec<_>>());
    }
}
