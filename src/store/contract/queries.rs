//! Queries about a room and its events.

use veza_engine::store::{Earlier, UnreadRow};

use super::*;

fn unread(desk: &Desk, user: u64) -> Vec<UnreadRow> {
    match desk.load(Load::Unread { user_id: UserId(user) }) {
        Loaded::Unread(rows) => rows,
        other => panic!("{other:?}"),
    }
}

pub(in crate::store) fn own_messages_are_read_before_and_after_the_checkpoint(place: &dyn Place) {
    let mut desk = Desk::open(place);
    desk.users(3);
    // Room 1 and conversation 2 get the same: messages of 1, 2 and 3, a void, and user 3 never reads but writes once.
    let log = |room| {
        vec![
            message(room, 1, 1),
            message(room, 2, 3),
            message(room, 3, 2),
            void(room, 4, 3),
            EventRow { message_no: 4, ..message(room, 5, 2) },
            EventRow { message_no: 5, ..message(room, 6, 1) },
        ]
    };
    let group = Write::CreateDm {
        meta: meta(2, RoomKind::Dm),
        creator_id: UserId(1),
        user_ids: vec![UserId(1), UserId(2), UserId(3)],
        pair: None,
        client: None,
    };
    desk.commit([log(1), log(2)].concat(), vec![create(1), put(1, 2, 0), put(1, 3, 0), group]);
    let checkpoint = |room, seq| Write::ReadCheckpoint { room_id: RoomId(room), seq: Seq(seq) };
    let expected = vec![(1, 6, 5), (2, 5, 4), (3, 2, 2)];
    for (what, writes) in [
        ("derived", vec![]),
        ("a part is folded", vec![checkpoint(1, 3), checkpoint(2, 3)]),
        ("again, and back", vec![checkpoint(1, 3), checkpoint(1, 1), checkpoint(2, 0)]),
        ("a void at the edge", vec![checkpoint(1, 4), checkpoint(2, 4)]),
        ("all is folded", vec![checkpoint(1, 6), checkpoint(2, 6)]),
    ] {
        desk.commit(vec![], writes);
        for room in [1, 2] {
            assert_eq!(positions(&desk.room(room, 0).standings), expected, "{what}");
            let all = Load::Members { room_id: RoomId(room), user_ids: [3, 1, 8, 2, 1].map(UserId).into() };
            let Loaded::Members(members) = desk.load(all) else { panic!("no members") };
            assert_eq!(positions(&members), expected, "{what}");
        }
        for (user, read, count) in [(1, 6, 0), (2, 5, 1), (3, 2, 3)] {
            let told: Vec<_> = unread(&desk, user)
                .iter()
                .map(|row| (row.room_id.0, row.kind, row.epoch, row.head.0, row.last_read_seq.0, row.unread_count))
                .collect();
            let (room, dm) = (RoomKind::Room, RoomKind::Dm);
            assert_eq!(told, [(1, room, 78, 6, read, count), (2, dm, 79, 6, read, count)], "{what}, user {user}");
            let Loaded::DmPage { conversations, .. } =
                desk.load(Load::DmPage { user_id: UserId(user), limit: 9, cursor: None })
            else {
                panic!("no page")
            };
            let row = &conversations[0].unread;
            assert_eq!((row.last_read_seq.0, row.unread_count), (read, count), "{what}, user {user}");
        }
    }
    desk.commit(vec![EventRow { message_no: 6, ..message(1, 7, 3) }], vec![]);
    assert_eq!(positions(&desk.room(1, 0).standings), [(1, 6, 5), (2, 5, 4), (3, 7, 6)], "beyond the checkpoint");
    assert_eq!(unread(&desk, 3)[0].unread_count, 0);
    let read = Write::ReadPosition { room_id: RoomId(1), user_id: UserId(2), seq: Seq(7), message_no: 6 };
    desk.commit(vec![], vec![read]);
    assert_eq!(unread(&desk, 2)[0].unread_count, 0);
    assert_eq!(unread(&desk, 9), []);
}

pub(in crate::store) fn a_room_comes_with_its_newest_events_and_the_asked_members(place: &dyn Place) {
    let mut desk = Desk::open(place);
    desk.users(3);
    let full = EventRow {
        parent_id: Some(Seq(1)),
        data: Some(r#"{"a":[1,"x"],"é":null}"#.into()),
        ..keyed(1, 3, 2, "client")
    };
    let log = vec![message(1, 1, 1), message(1, 2, 3), full, void(1, 4, 3)];
    desk.commit(log.clone(), vec![create(1), put(1, 2, 1), create_dm(2, 1, 3, None), create(3)]);
    for (tail, from) in [(0, 4), (2, 2), (4, 0), (100, 0)] {
        let state = desk.room(1, tail);
        assert_eq!((&state.meta, state.head, state.message_no), (&meta(1, RoomKind::Room), Seq(4), 3));
        let rows: Vec<_> = state.tail.iter().map(|record| record.row.clone()).collect();
        assert_eq!(rows, log[from..], "a tail of {tail}");
        let names: Vec<_> = state.tail.iter().map(|record| record.username.as_deref()).collect();
        assert_eq!(names, [Some("nam1"), Some("nam3"), Some("nam2"), None][from..]);
        assert_eq!(state.participants, []);
    }
    let few = desk.load(Load::Room { room_id: RoomId(1), tail: 0, members: vec![UserId(2), UserId(3)] });
    let Loaded::Room(Some(few)) = few else { panic!("no room") };
    assert_eq!(positions(&few.standings), [(2, 3, 3)], "the asked-for who are members");
    let fresh = desk.room(3, 10);
    assert_eq!((fresh.head, fresh.message_no, fresh.tail), (Seq(0), 0, vec![]));
    let owner = MemberRow { role: "owner".into(), joined_at: fresh.meta.created_at, ..member(1, 0) };
    assert_eq!(members(&fresh.standings), [owner]);
    let conversation = desk.room(2, 10);
    assert_eq!((&conversation.meta, conversation.member_count), (&meta(2, RoomKind::Dm), 2));
    let mut names: Vec<_> = conversation.participants.iter().map(|user| &*user.username).collect();
    names.sort_unstable();
    assert_eq!(names, ["nam1", "nam3"]);
    let conversation = members(&conversation.standings);
    let roles: Vec<_> = conversation.iter().map(|member| &*member.role).collect();
    assert_eq!(roles, ["member", "member"]);
    assert_eq!(desk.load(Load::Room { room_id: RoomId(9), tail: 1, members: vec![UserId(1)] }), Loaded::Room(None));
    let nowhere = Load::Members { room_id: RoomId(9), user_ids: vec![UserId(1)] };
    assert_eq!(desk.load(nowhere), Loaded::Members(vec![]));
}

pub(in crate::store) fn events_come_in_pages_of_bounded_bytes(place: &dyn Place) {
    let mut desk = Desk::open(place);
    let large = "x".repeat(100_000);
    let sized = |seq| EventRow { content: Some(large.as_str().into()), ..message(1, seq, 1) };
    let huge = EventRow { content: Some("y".repeat(400_000).into()), ..message(1, 7, 1) };
    let mut log: Vec<_> = (1..=6).map(sized).collect();
    log.extend([huge, message(1, 8, 1)]);
    desk.commit(log.clone(), vec![create(1)]);
    let page = |after, limit| match desk.load(Load::Events { room_id: RoomId(1), after: Seq(after), limit }) {
        Loaded::Events(page) => page.iter().map(|record| record.row.seq.0).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(page(0, 2), [1, 2], "the limit counts");
    assert!((1..5).contains(&page(0, 100).len()), "about 256 KiB");
    assert_eq!(page(6, 100)[0], 7, "one that is too large comes nevertheless");
    assert!(page(8, 100).is_empty());
    assert_eq!(desk.events(1), log, "page by page it is all there");
    let tail: Vec<_> = desk.room(1, 100).tail.iter().map(|record| record.row.seq.0).collect();
    assert!(tail.len() < 5 && tail.last() == Some(&8) && tail.is_sorted(), "{tail:?}");
}

pub(in crate::store) fn history_pages_in_both_directions_without_voids(place: &dyn Place) {
    let mut desk = Desk::open(place);
    desk.users(1);
    let mut log = vec![message(1, 1, 1), message(1, 2, 1), void(1, 3, 2)];
    log.extend((4..=6).map(|seq| EventRow { message_no: seq - 1, ..message(1, seq, 1) }));
    log.push(void(1, 7, 5));
    desk.commit(log, vec![create(1)]);
    let before = |before: Option<u64>, limit| Load::HistoryBefore {
        room_id: RoomId(1),
        before: before.map(Seq),
        limit,
        reader: UserId(1),
    };
    let after = |after, limit| Load::HistoryAfter { room_id: RoomId(1), after: Seq(after), limit, reader: UserId(1) };
    for (load, seqs, further) in [
        (before(None, 2), vec![5, 6], true),
        (before(Some(5), 2), vec![2, 4], true),
        (before(Some(4), 2), vec![1, 2], false),
        (before(Some(1), 2), vec![], false),
        (before(None, 5), vec![1, 2, 4, 5, 6], false),
        (after(0, 2), vec![1, 2], true),
        (after(2, 2), vec![4, 5], true),
        (after(5, 2), vec![6], false),
        (after(6, 2), vec![], false),
    ] {
        let Loaded::History { messages, more } = desk.load(load.clone()) else { panic!("no history") };
        let found: Vec<_> = messages.iter().map(|record| record.row.seq.0).collect();
        assert_eq!((found, more), (seqs, further), "{load:?}");
        assert!(messages.iter().all(|record| record.username.as_deref() == Some("nam1")));
    }
    for (room, id, there) in [(1, 2, true), (1, 3, false), (1, 8, false), (2, 2, false)] {
        let load = Load::Message { room_id: RoomId(room), message_id: Seq(id), reader: UserId(1) };
        let Loaded::Message(found) = desk.load(load) else { panic!("no message") };
        assert_eq!(found.map(|record| record.row), there.then(|| message(room, id, 1)));
    }
}

pub(in crate::store) fn epochs_come_back_as_they_were_chosen_also_after_a_restart(place: &dyn Place) {
    let mut desk = Desk::open(place);
    let mut largest = meta(1, RoomKind::Room);
    largest.epoch = (1 << 53) - 1;
    desk.commit(vec![], vec![Write::CreateRoom { meta: largest.clone(), creator_id: UserId(1), client: None }]);
    assert_eq!(desk.room(1, 0).meta, largest);
    desk.close();
    for _ in 0..2 {
        let desk = Desk::open(place);
        assert_eq!(desk.room(1, 0).meta, largest);
        desk.close();
    }
}

pub(in crate::store) fn earlier_commands_are_found_by_client_id_and_pair(place: &dyn Place) {
    let mut desk = Desk::open(place);
    desk.users(3);
    let room = Write::CreateRoom { meta: meta(1, RoomKind::Room), creator_id: UserId(1), client: key("room") };
    desk.commit(vec![keyed(2, 1, 1, "m")], vec![room, create_dm(2, 1, 2, key("dm")), create(3)]);
    let hash = |client| key(client).map(|key| key.hash);
    let found = |room: u64, kind, hash| {
        Some(Earlier { room_id: RoomId(room), kind, seq: Seq(0), at: WallMs(1_600_000_000_000 + room as i64), hash })
    };
    let pair = |lo, hi| Some((UserId(lo), UserId(hi)));
    for (user, client, of, created, by_client, by_pair) in [
        (1, Some("room"), None, 2, found(1, RoomKind::Room, hash("room")), None),
        (1, Some("dm"), pair(1, 2), 2, found(2, RoomKind::Dm, hash("dm")), found(2, RoomKind::Dm, None)),
        (2, Some("dm"), pair(1, 2), 0, None, found(2, RoomKind::Dm, None)),
        (1, Some("none"), pair(1, 3), 2, None, None),
        (3, None, None, 0, None, None),
    ] {
        let load = Load::Creation {
            user_id: UserId(user),
            client_id: client.map(Into::into),
            pair: of,
            users: [3, 77, 1].map(UserId).into(),
        };
        let Loaded::Creation { created_rooms, by_client: client, by_pair: pair, users, .. } = desk.load(load.clone())
        else {
            panic!("no answer")
        };
        assert_eq!((created_rooms, client, pair), (created, by_client, by_pair), "{load:?}");
        let mut ids: Vec<_> = users.iter().map(|user| user.user_id.0).collect();
        ids.sort_unstable();
        assert_eq!(ids, [1, 3]);
    }
    for (room, user, client, there) in [(2, 1, "m", true), (2, 2, "m", false), (1, 1, "m", false), (2, 1, "x", false)] {
        let load = Load::ClientEvent { room_id: RoomId(room), user_id: UserId(user), client_id: client.into() };
        let earlier = Earlier {
            room_id: RoomId(2),
            kind: RoomKind::Dm,
            seq: Seq(1),
            at: WallMs(1_700_000_000_001),
            hash: hash("m"),
        };
        assert_eq!(desk.load(load), Loaded::ClientEvent(there.then_some(earlier)));
    }
}
