//! Full-text search.

use veza_engine::store::Cursor;
use veza_engine::wire::SearchMessages;

use super::messages::{deleted, event_at};
use super::pages::walk;
use super::*;

/// Any words, anywhere.
fn search(query: &str) -> SearchMessages {
    let (room_id, author_id, from, to, cursor) = (None, None, None, None, None);
    SearchMessages { query: query.into(), room_id, author_id, from, to, limit: 100, cursor }
}

fn said(room: u64, seq: u64, user: u64, content: &str) -> EventRow {
    EventRow { content: Some(content.into()), ..message(room, seq, user) }
}

impl Desk {
    #[track_caller]
    fn search(&self, reader: u64, search: SearchMessages) -> (Vec<(u64, u64)>, Cursor) {
        match self.load(Load::Search { reader: UserId(reader), search: Box::new(search) }) {
            Loaded::Messages { messages, next } => {
                assert!(messages.iter().all(|record| !record.is_deleted() && record.username.is_some()));
                (messages.iter().map(|record| (record.row.room_id.0, record.row.seq.0)).collect(), next)
            }
            other => panic!("{other:?}"),
        }
    }

    /// Rooms and messages that a reader finds by these words, ascending.
    #[track_caller]
    pub fn found(&self, reader: u64, query: &str) -> Vec<(u64, u64)> {
        let (mut found, next) = self.search(reader, search(query));
        assert_eq!(next, None);
        found.sort_unstable();
        found
    }
}

/// Rooms 1 and 2 of users 1 and 2, room 3 of user 1 alone, conversation 4 of users 1 and 3.
fn library(place: &dyn Place) -> Desk {
    let mut desk = Desk::open(place);
    desk.users(4);
    let log = vec![
        said(1, 1, 1, "The quick brown fox"),
        said(1, 2, 2, "jumps over the LAZY dog, quickly"),
        said(1, 3, 1, "über den Wolken; café — 東京タワー"),
        said(1, 4, 2, "o'clock 12:30 foo_bar a-b r1 u2 e.g. C++"),
        said(2, 1, 2, "a fox in another room"),
        said(3, 1, 1, "a secret fox"),
        said(4, 1, 3, "the fox between us"),
        void(4, 2, 1),
    ];
    let writes = vec![create(1), create(2), create(3), put(1, 2, 0), put(2, 2, 0), create_dm(4, 1, 3, None)];
    desk.commit(log, writes);
    desk.upkeep(event_at(10).0);
    desk
}

pub(in crate::store) fn words_find_messages(place: &dyn Place) {
    let desk = library(place);
    for (query, expected) in [
        ("fox", vec![(1, 1), (2, 1)]),
        ("FOX", vec![(1, 1), (2, 1)]),
        ("quick", vec![(1, 1), (1, 2)]),
        ("quickl", vec![(1, 2)]),
        ("quick fox", vec![(1, 1)]),
        ("fox quick", vec![(1, 1)]),
        ("qui fox", vec![]),
        ("lazy  do", vec![(1, 2)]),
        ("dog.", vec![(1, 2)]),
        ("ÜBER", vec![(1, 3)]),
        ("caf", vec![(1, 3)]),
        ("cafe", vec![]),
        ("東京", vec![(1, 3)]),
        ("12:30", vec![(1, 4)]),
        ("30 12", vec![(1, 4)]),
        ("b a", vec![(1, 4)]),
        ("nothing", vec![]),
        // Nothing in a query is an operator, and nothing is taken for the marks of the index itself.
        ("fox OR dog", vec![]),
        ("fox NOT brown", vec![]),
        ("fox*", vec![(1, 1), (2, 1)]),
        ("\"brown fox\"", vec![(1, 1)]),
        ("content : fox", vec![]),
        ("r1", vec![(1, 4)]),
        ("r2", vec![]),
        ("u1", vec![]),
        ("fox & ! | <-> ( ' \\ : *", vec![(1, 1), (2, 1)]),
        ("\0fox", vec![(1, 1), (2, 1)]),
        // No word at all.
        ("…", vec![]),
        ("\"", vec![]),
        ("-- ' ;", vec![]),
    ] {
        assert_eq!(desk.found(2, query), expected, "{query:?}");
    }
}

pub(in crate::store) fn a_search_finds_only_what_the_reader_may_read(place: &dyn Place) {
    let mut desk = library(place);
    for (reader, expected) in [
        (1, vec![(1, 1), (2, 1), (3, 1), (4, 1)]),
        (2, vec![(1, 1), (2, 1)]),
        (3, vec![(4, 1)]),
        (4, vec![]),
        (99, vec![]),
    ] {
        assert_eq!(desk.found(reader, "fox"), expected, "user {reader}");
    }
    desk.commit(vec![], vec![Write::DropMember { room_id: RoomId(1), user_id: UserId(2) }, put(3, 2, 0)]);
    assert_eq!(desk.found(2, "fox"), [(2, 1), (3, 1)]);
    let room = |room| SearchMessages { room_id: Some(RoomId(room)), ..search("fox") };
    for (reader, asked, expected) in
        [(2, 1, vec![]), (2, 2, vec![(2, 1)]), (1, 1, vec![(1, 1)]), (1, 99, vec![]), (3, 4, vec![(4, 1)])]
    {
        assert_eq!(desk.search(reader, room(asked)).0, expected, "user {reader} in room {asked}");
    }
}

pub(in crate::store) fn a_search_is_narrowed(place: &dyn Place) {
    let mut desk = Desk::open(place);
    desk.users(3);
    let rows = (1..=6).map(|seq| said(1, seq, seq % 3 + 1, "same words"));
    desk.commit(rows.collect(), vec![create(1), put(1, 2, 0)]);
    desk.upkeep(event_at(9).0);
    let (at, user) = (|seq| Some(event_at(seq)), |user| Some(UserId(user)));
    for (author_id, from, to, expected) in [
        (None, None, None, vec![6, 5, 4, 3, 2, 1]),
        (user(2), None, None, vec![4, 1]),
        (user(9), None, None, vec![]),
        (None, at(3), None, vec![6, 5, 4, 3]),
        (None, None, at(3), vec![2, 1]),
        (None, at(2), at(5), vec![4, 3, 2]),
        (user(3), at(3), at(9), vec![5]),
        (None, at(5), at(5), vec![]),
        (None, at(9), at(2), vec![]),
    ] {
        let asked = SearchMessages { author_id, from, to, ..search("words") };
        let found: Vec<_> = desk.search(2, asked.clone()).0.into_iter().map(|(_, seq)| seq).collect();
        assert_eq!(found, expected, "{asked:?}: equal ones newest first");
    }
}

pub(in crate::store) fn the_index_follows_edits_and_deletions(place: &dyn Place) {
    let mut desk = Desk::open(place);
    desk.users(2);
    desk.commit(vec![said(1, 1, 1, "first apple"), said(1, 2, 1, "second apple")], vec![create(1)]);
    desk.upkeep(event_at(3).0);
    assert_eq!(desk.found(1, "apple"), [(1, 1), (1, 2)]);
    let edit = |seq: u64, message_id: u64, content: &str| {
        let row = EventRow { kind: EventKind::Edit, parent_id: Some(Seq(message_id)), ..said(1, seq, 1, content) };
        let (room_id, message_id, content) = (RoomId(1), Seq(message_id), content.into());
        let mentions = Box::default();
        let write = Write::Edited { room_id, message_id, content, mentions, count: 1, at: row.at };
        (EventRow { message_no: 2, ..row }, write)
    };
    let (row, write) = edit(3, 1, "first pear");
    desk.commit(vec![row], vec![write]);
    desk.upkeep(event_at(4).0);
    assert_eq!((desk.found(1, "apple"), desk.found(1, "pear")), (vec![(1, 2)], vec![(1, 1)]));
    // Sent, edited and deleted before the index comes by; a deletion shows at once.
    let (row, write) = edit(5, 4, "third pear");
    let third = EventRow { message_no: 3, ..said(1, 4, 1, "third apple") };
    desk.commit(vec![third, EventRow { message_no: 3, ..row }], vec![write, deleted(1, 1, event_at(6).0)]);
    assert_eq!(desk.found(1, "first"), []);
    let gone =
        EventRow { kind: EventKind::Delete, parent_id: Some(Seq(1)), content: None, message_no: 3, ..message(1, 6, 1) };
    desk.commit(vec![gone], vec![]);
    desk.upkeep(event_at(7).0);
    assert_eq!(
        (desk.found(1, "apple"), desk.found(1, "pear"), desk.found(1, "first")),
        (vec![(1, 2)], vec![(1, 4)], vec![])
    );
    // What a former server left behind is found at the next start.
    desk.commit(vec![EventRow { message_no: 4, ..said(1, 7, 1, "fourth apple") }], vec![]);
    desk.close();
    let desk = Desk::open(place);
    desk.upkeep(event_at(8).0);
    assert_eq!(desk.found(1, "apple"), [(1, 2), (1, 7)]);
    assert_eq!((desk.store.metrics().search_pending, desk.store.metrics().search_lag_ms), (0, 0));
}

pub(in crate::store) fn the_best_come_first_and_pages_stay_while_messages_are_added(place: &dyn Place) {
    let mut desk = Desk::open(place);
    desk.users(2);
    let filler = "lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor";
    let once = format!("needle {filler} {filler} {filler}");
    let log = (1..=12).map(|seq| said(1, seq, 1, if seq % 3 == 0 { "needle needle" } else { &once }));
    desk.commit(log.collect(), vec![create(1)]);
    desk.upkeep(event_at(20).0);
    let expected = [12, 9, 6, 3, 11, 10, 8, 7, 5, 4, 2, 1];
    let page = |desk: &Desk, cursor| {
        let (found, next) = desk.search(1, SearchMessages { limit: 2, cursor, ..search("needle") });
        (found.into_iter().map(|(_, seq)| seq).collect::<Vec<_>>(), next)
    };
    assert_eq!(walk(|cursor| page(&desk, cursor)).0, expected);
    let (mut head, mut all) = (12, Vec::new());
    let (found, _) = walk(|cursor| {
        let (found, next) = page(&desk, cursor);
        all.extend(found.clone());
        for _ in 0..3 {
            head += 1;
            desk.commit(vec![said(1, head, 1, "needle needle needle")], vec![]);
        }
        desk.upkeep(event_at(head + 20).0);
        (found, next)
    });
    assert_eq!((&found, &all), (&expected.to_vec(), &found), "those that were there, once each");
}
