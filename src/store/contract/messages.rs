//! Messages as they now are: edits, deletions, pins, threads, reactions.

use veza_engine::store::{
    EditRow, EventRecord, MessageState, PARTICIPANTS_MAX, REACTORS_MAX, Reaction, ReactionRow, RoomStats,
};

use super::*;

/// An event about a message.
fn about(room: u64, seq: u64, kind: EventKind, user: u64, message_id: u64) -> EventRow {
    let mut row = EventRow::new(RoomId(room), Seq(seq), kind, event_at(seq), 3);
    (row.author_id, row.parent_id) = (Some(UserId(user)), Some(Seq(message_id)));
    row
}

pub(super) fn event_at(seq: u64) -> WallMs {
    WallMs(1_700_000_000_000 + seq as i64)
}

fn edited(seq: u64, message_id: u64, content: &str, count: u32) -> (EventRow, Write) {
    let mut row = about(1, seq, EventKind::Edit, 2, message_id);
    (row.content, row.reason) = (Some(content.into()), Some(format!("because {seq}").into()));
    row.mentions = [UserId(3)].into();
    let (room_id, message_id, at) = (RoomId(1), Seq(message_id), row.at);
    let (content, mentions) = (content.into(), row.mentions.clone());
    (row, Write::Edited { room_id, message_id, content, mentions, count, at })
}

pub(super) fn deleted(room: u64, message_id: u64, at: i64) -> Write {
    Write::Deleted { room_id: RoomId(room), message_id: Seq(message_id), at: WallMs(at) }
}

fn reaction(message_id: u64, user: u64, emoji: &str, present: bool, count: u32, seq: u64) -> Write {
    let (room_id, message_id, user_id) = (RoomId(1), Seq(message_id), UserId(user));
    Write::Reaction { room_id, message_id, user_id, emoji: emoji.into(), present, count, seq: Seq(seq) }
}

impl Desk {
    /// A message as it now is.
    #[track_caller]
    pub fn record(&self, room: u64, message_id: u64, reader: u64) -> Option<EventRecord> {
        let (room_id, message_id, reader) = (RoomId(room), Seq(message_id), UserId(reader));
        match self.load(Load::Message { room_id, message_id, reader }) {
            Loaded::Message(record) => record.map(|record| *record),
            other => panic!("{other:?}"),
        }
    }

    /// What has become of message 1 or another of room 1.
    #[track_caller]
    pub fn state(&self, message_id: u64) -> Option<MessageState> {
        self.record(1, message_id, 1).expect("a message").state.map(|state| *state)
    }

    #[track_caller]
    fn edits(&self, message_id: u64) -> Vec<EditRow> {
        match self.load(Load::Edits { room_id: RoomId(1), message_id: Seq(message_id) }) {
            Loaded::Edits(edits) => edits,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn pinned(&self, room: u64) -> Vec<u64> {
        match self.load(Load::Pinned { room_id: RoomId(room), reader: UserId(1) }) {
            Loaded::Pinned(messages) => messages.iter().map(|record| record.row.seq.0).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub fn stats(&self, room: u64, now: i64) -> RoomStats {
        match self.load(Load::RoomStats { room_id: RoomId(room), now: WallMs(now) }) {
            Loaded::RoomStats(stats) => stats,
            other => panic!("{other:?}"),
        }
    }

    fn three_messages(place: &dyn Place) -> Desk {
        let mut desk = Desk::open(place);
        desk.users(9);
        desk.commit((1..=3).map(|seq| message(1, seq, seq)).collect(), vec![create(1), put(1, 2, 0), put(1, 3, 0)]);
        desk
    }
}

pub(in crate::store) fn every_field_of_an_event_comes_back(place: &dyn Place) {
    let mut desk = Desk::open(place);
    desk.users(9);
    let mut log = Vec::new();
    for (index, number) in (1..=13).enumerate() {
        let seq = index as u64 + 1;
        let mut row = message(1, seq, 2);
        row.kind = EventKind::from_number(number).expect("thirteen kinds");
        (row.message_no, row.parent_id) = (1, (seq > 1).then_some(Seq(1)));
        row.data = Some(r#"{"emoji":"❤️","n":[1,{}]}"#.into());
        row.reason = Some("why \"not\"".into());
        row.mentions = [UserId(1), UserId(9), UserId((1 << 53) - 1)].into();
        log.push(row);
    }
    log[1].author_id = None;
    desk.commit(log.clone(), vec![create(1)]);
    assert_eq!(desk.events(1), log);
    let tail: Vec<_> = desk.room(1, 100).tail.into_iter().map(|record| (record.row, record.state)).collect();
    assert_eq!(tail, log.into_iter().map(|row| (row, None)).collect::<Vec<_>>());
}

pub(in crate::store) fn edits_change_the_message_and_keep_every_version(place: &dyn Place) {
    let mut desk = Desk::three_messages(place);
    let version = |content: &str, at, editor, reason: Option<&str>| EditRow {
        content: content.into(),
        edited_at: event_at(at),
        editor_id: UserId(editor),
        reason: reason.map(Into::into),
    };
    assert_eq!(desk.edits(2), [version("words 2 ❤️", 2, 2, None)], "the original alone");
    for (seq, content, count) in [(4, "second", 1), (5, "third", 2)] {
        let (row, write) = edited(seq, 2, content, count);
        // Twice is as once.
        desk.commit(vec![row], vec![write.clone(), write]);
        let record = desk.record(1, 2, 1).expect("a message");
        assert_eq!((record.row.content.as_deref(), &*record.row.mentions), (Some(content), &[UserId(3)][..]));
        assert_eq!((record.row.at, record.row.author_id), (event_at(2), Some(UserId(2))));
        let state = MessageState { edit_count: count, edited_at: Some(event_at(seq)), ..MessageState::default() };
        assert_eq!(record.state.as_deref(), Some(&state));
    }
    let versions = [
        version("words 2 ❤️", 2, 2, None),
        version("second", 4, 2, Some("because 4")),
        version("third", 5, 2, Some("because 5")),
    ];
    assert_eq!(desk.edits(2), versions);
    let contents: Vec<_> = desk.events(1).into_iter().filter_map(|row| row.content).collect();
    assert_eq!(
        contents.iter().map(|text| &**text).collect::<Vec<_>>(),
        ["words 1 ❤️", "third", "words 3 ❤️", "second", "third"]
    );
    for (message, versions) in [(1, 1), (3, 1), (4, 0), (99, 0)] {
        assert_eq!(desk.edits(message).len(), versions, "{message}");
    }
    assert_eq!((desk.state(1), desk.state(3)), (None, None));
}

pub(in crate::store) fn a_deleted_message_is_marked_wherever_it_comes(place: &dyn Place) {
    let mut desk = Desk::three_messages(place);
    let (row, write) = edited(4, 2, "second", 1);
    let pin = Write::Pinned { room_id: RoomId(1), message_id: Seq(2), pinned: Some(Seq(5)) };
    let mention = mentions(1, 2, &[3], true);
    desk.commit(
        vec![row, about(1, 5, EventKind::Pinned, 1, 2)],
        vec![write, pin, mention, reaction(2, 3, "+", true, 1, 4)],
    );
    let at = event_at(6).0;
    for later in [0, 1000] {
        // Again, by another moderator: nothing changes.
        desk.commit(vec![], vec![deleted(1, 2, at + later)]);
        let state = desk.state(2).expect("a state");
        assert_eq!((state.deleted_at, state.pinned, state.edit_count), (Some(WallMs(at)), None, 1));
        assert_eq!(state.reactions.len(), 1, "reactions stay");
    }
    let record = desk.record(1, 2, 1).expect("a message");
    assert_eq!(record.row.content.as_deref(), Some("second"), "until the grace is over");
    assert!(record.is_deleted());
    assert_eq!((desk.edits(2), desk.pinned(1), desk.room(1, 0).pinned_count), (vec![], vec![], 0));
    assert_eq!(desk.inbox(3), [0; 0], "nobody is mentioned by it");
    // Message, edit and pin as a replay and a room's tail have them.
    let Loaded::Events(events) = desk.load(Load::Events { room_id: RoomId(1), after: Seq(0), limit: 100 }) else {
        panic!("no events")
    };
    for records in [events, desk.room(1, 100).tail] {
        let marked: Vec<_> = records.iter().filter(|r| r.is_deleted()).map(|record| record.row.seq.0).collect();
        assert_eq!(marked, [2, 4]);
        let of_edit = MessageState { deleted_at: Some(WallMs(at)), ..MessageState::default() };
        assert_eq!(records[3].state.as_deref(), Some(&of_edit));
    }
    let before = Load::HistoryBefore { room_id: RoomId(1), before: None, limit: 9, reader: UserId(1) };
    let Loaded::History { messages, .. } = desk.load(before) else { panic!("no history") };
    assert_eq!(messages.iter().map(EventRecord::is_deleted).collect::<Vec<_>>(), [false, true, false]);
}

pub(in crate::store) fn pins_come_last_pinned_first(place: &dyn Place) {
    let mut desk = Desk::three_messages(place);
    let pin = |message_id, pinned: Option<u64>| Write::Pinned {
        room_id: RoomId(1),
        message_id: Seq(message_id),
        pinned: pinned.map(Seq),
    };
    for (what, writes, expected) in [
        ("in order", vec![pin(3, Some(4)), pin(1, Some(5)), pin(2, Some(6))], vec![2, 1, 3]),
        ("again", vec![pin(3, Some(7))], vec![3, 2, 1]),
        ("twice", vec![pin(3, Some(7)), pin(3, Some(7))], vec![3, 2, 1]),
        ("not any more", vec![pin(2, None), pin(2, None)], vec![3, 1]),
        ("none of these", vec![pin(1, None), pin(3, None), pin(99, Some(8))], vec![]),
    ] {
        desk.commit(vec![], writes);
        assert_eq!(desk.pinned(1), expected, "{what}");
        assert_eq!(desk.room(1, 0).pinned_count as usize, expected.len(), "{what}");
    }
    assert_eq!((desk.state(3), desk.pinned(2)), (None, vec![]));
}

pub(in crate::store) fn threads_come_in_pages_with_their_root(place: &dyn Place) {
    let mut desk = Desk::three_messages(place);
    let answer = |seq, user, parent| EventRow { parent_id: Some(Seq(parent)), ..message(1, seq, user) };
    let mut log: Vec<_> = (4..=9).map(|seq| answer(seq, seq - 3, 1)).collect();
    // Others about the same message, and an answer in another thread.
    log.insert(3, EventRow { seq: Seq(7), message_no: 6, ..about(1, 7, EventKind::ReactionAdded, 5, 1) });
    log.splice(
        4..,
        [answer(8, 2, 3), answer(9, 2, 1), answer(10, 7, 1)].map(|row| EventRow { message_no: row.seq.0 - 1, ..row }),
    );
    let count = Write::ThreadCount { room_id: RoomId(1), message_id: Seq(1), count: 5 };
    desk.commit(log, vec![count.clone(), count]);
    for (parent, after, limit, expected, further) in [
        (1, 0, 2, vec![4, 5], true),
        (1, 5, 2, vec![6, 9], true),
        (1, 9, 2, vec![10], false),
        (1, 0, 5, vec![4, 5, 6, 9, 10], false),
        (1, 10, 5, vec![], false),
        (3, 0, 5, vec![8], false),
        (2, 0, 5, vec![], false),
    ] {
        let (room_id, parent_id) = (RoomId(1), Seq(parent));
        let load = Load::Thread { room_id, parent_id, after: Seq(after), limit, reader: UserId(1) };
        let Loaded::Thread { parent: root, messages, more } = desk.load(load.clone()) else { panic!("no thread") };
        let found: Vec<_> = messages.iter().map(|record| record.row.seq.0).collect();
        assert_eq!((root.expect("a root").row.seq.0, found, more), (parent, expected, further), "{load:?}");
    }
    for parent_id in [7, 99].map(Seq) {
        let load = Load::Thread { room_id: RoomId(1), parent_id, after: Seq(0), limit: 5, reader: UserId(1) };
        assert_eq!(desk.load(load), Loaded::Thread { parent: None, messages: vec![], more: false });
    }
    let mut state = desk.state(1).expect("a thread");
    state.participants.sort_unstable();
    assert_eq!((state.thread_count, state.participants), (5, [1, 2, 3, 7].map(UserId).to_vec()));
    // More than are told.
    let crowd: Vec<_> =
        (0..100).map(|n| EventRow { seq: Seq(11 + n), message_no: 10 + n, ..answer(11 + n, 100 + n, 2) }).collect();
    desk.commit(crowd, vec![Write::ThreadCount { room_id: RoomId(1), message_id: Seq(2), count: 100 }]);
    let participants = desk.state(2).expect("a thread").participants;
    let different: std::collections::HashSet<_> = participants.iter().collect();
    assert_eq!((participants.len(), different.len()), (PARTICIPANTS_MAX, PARTICIPANTS_MAX));
}

pub(in crate::store) fn reactions_are_counted_and_name_the_reader(place: &dyn Place) {
    let mut desk = Desk::three_messages(place);
    let (heart, plus) = ("❤️", ":+1:");
    for (what, writes, expected) in [
        ("one", vec![reaction(1, 2, heart, true, 1, 4)], vec![(heart, 1, vec![2])]),
        ("twice is once", vec![reaction(1, 2, heart, true, 1, 4); 2], vec![(heart, 1, vec![2])]),
        (
            "in the order of the first",
            vec![reaction(1, 3, plus, true, 1, 5), reaction(1, 1, heart, true, 2, 6)],
            vec![(heart, 2, vec![1, 2]), (plus, 1, vec![3])],
        ),
        (
            "gone and back: last",
            vec![
                reaction(1, 2, heart, false, 1, 7),
                reaction(1, 1, heart, false, 0, 8),
                reaction(1, 1, heart, true, 1, 9),
            ],
            vec![(plus, 1, vec![3]), (heart, 1, vec![1])],
        ),
        (
            "none that is not there",
            vec![reaction(1, 9, plus, false, 1, 10), reaction(1, 9, "x", false, 0, 10)],
            vec![(plus, 1, vec![3]), (heart, 1, vec![1])],
        ),
        ("all gone", vec![reaction(1, 3, plus, false, 0, 11), reaction(1, 1, heart, false, 0, 12)], vec![]),
    ] {
        desk.commit(vec![], writes);
        let found = desk.state(1).map(|state| state.reactions).unwrap_or_default();
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(emoji, count, users)| Reaction {
                emoji: emoji.into(),
                count,
                users: users.into_iter().map(UserId).collect(),
            })
            .collect();
        assert_eq!(found, expected, "{what}");
        assert_eq!(desk.state(2), None, "{what}");
    }
    assert_eq!(desk.state(1), None);
    let crowd = REACTORS_MAX as u64 + 10;
    let writes = (1..=crowd).map(|user| reaction(3, user, plus, true, user as u32, 20)).collect();
    desk.commit(vec![], writes);
    let few: Vec<_> = (1..=REACTORS_MAX as u64).map(UserId).collect();
    let beyond = [few.clone(), vec![UserId(crowd)]].concat();
    for (reader, users) in [(1, &few), (crowd + 1, &few), (crowd, &beyond)] {
        let room_id = RoomId(1);
        for load in [
            Load::HistoryBefore { room_id, before: None, limit: 2, reader: UserId(reader) },
            Load::HistoryAfter { room_id, after: Seq(1), limit: 2, reader: UserId(reader) },
        ] {
            let Loaded::History { messages, .. } = desk.load(load) else { panic!("no history") };
            let state = messages[1].state.as_ref().expect("reactions");
            assert_eq!((u64::from(state.reactions[0].count), &state.reactions[0].users), (crowd, users), "{reader}");
            assert_eq!(messages[0].state, None);
        }
        let record = desk.record(1, 3, reader).expect("a message");
        assert_eq!(record.state.expect("reactions").reactions[0].users, *users);
    }
    let tail = desk.room(1, 1).tail;
    assert_eq!(tail[0].state.as_ref().expect("reactions").reactions[0].users, few, "without a reader");
}

pub(in crate::store) fn who_reacted_how_is_told_with_names(place: &dyn Place) {
    let mut desk = Desk::three_messages(place);
    desk.commit(
        vec![],
        vec![reaction(1, 9, "b", true, 1, 4), reaction(1, 2, "a", true, 1, 5), reaction(1, 3, "b", true, 2, 6)],
    );
    let load = |message| Load::Reactions { room_id: RoomId(1), message_id: Seq(message) };
    let row = |emoji: &str, users: &[u64]| ReactionRow {
        emoji: emoji.into(),
        count: users.len() as u32,
        users: users.iter().map(|user| (UserId(*user), format!("nam{user}").into())).collect(),
    };
    assert_eq!(desk.load(load(1)), Loaded::Reactions(vec![row("b", &[3, 9]), row("a", &[2])]));
    assert_eq!(desk.load(load(2)), Loaded::Reactions(vec![]));
}

pub(in crate::store) fn a_room_s_numbers(place: &dyn Place) {
    let mut desk = Desk::open(place);
    desk.users(5);
    const HOUR: i64 = 3_600_000;
    let now = 1_700_000_000_000;
    // (hours ago, author); None: no message.
    let log = [(30, 1), (25, 2), (23, 3), (2, 4), (0, 5), (0, 1), (0, 5)];
    let mut rows: Vec<_> = (1..)
        .zip(log)
        .map(|(seq, (hours, user))| EventRow { at: WallMs(now - hours * HOUR - 1), ..message(1, seq, user) })
        .collect();
    rows.push(EventRow { at: WallMs(now), ..void(1, 8, 7) });
    rows.push(EventRow { at: WallMs(now), message_no: 7, ..about(1, 9, EventKind::Delete, 2, 2) });
    desk.commit(rows, vec![create(1), create(2), deleted(1, 2, now), deleted(1, 2, now), deleted(1, 6, now)]);
    let stats =
        RoomStats { message_count: 5, active_members_1h: 2, last_message_at: Some(WallMs(now - 1)), messages_24h: 5 };
    assert_eq!(desk.stats(1, now), stats);
    let later = RoomStats { active_members_1h: 0, messages_24h: 0, ..stats };
    assert_eq!(desk.stats(1, now + 30 * HOUR), later);
    assert_eq!((desk.stats(2, now), desk.stats(99, now)), (RoomStats::default(), RoomStats::default()));
}
