//! Mentions, and what is unread.

use veza_engine::store::{Cursor, UnreadRow};

use super::messages::{deleted, event_at};
use super::pages::walk;
use super::*;

/// Whom a message mentions.
pub(super) fn mentions(room: u64, message_id: u64, users: &[u64], everyone: bool) -> Write {
    Write::Mentions {
        room_id: RoomId(room),
        message_id: Seq(message_id),
        at: event_at(message_id),
        users: users.iter().copied().map(UserId).collect(),
        everyone,
    }
}

impl Desk {
    /// One page of mentions: (room, message).
    #[track_caller]
    fn mentions_page(&self, reader: u64, limit: u32, cursor: Cursor) -> (Vec<(u64, u64)>, Cursor) {
        match self.load(Load::Mentions { reader: UserId(reader), limit, cursor }) {
            Loaded::Messages { messages, next } => {
                let place = |record: &veza_engine::store::EventRecord| (record.row.room_id.0, record.row.seq.0);
                (messages.iter().map(place).collect(), next)
            }
            other => panic!("{other:?}"),
        }
    }

    /// All that mentions a user, in room 1.
    #[track_caller]
    pub fn inbox(&self, reader: u64) -> Vec<u64> {
        let (found, next) = self.mentions_page(reader, 100, None);
        assert_eq!(next, None);
        found.into_iter().filter(|(room, _)| *room == 1).map(|(_, seq)| seq).collect()
    }

    /// All that mentions a user, page by page: room * 100 + message.
    fn all_mentions(&self, reader: u64) -> Vec<u64> {
        let (found, _) = walk(|cursor| {
            let (page, next) = self.mentions_page(reader, 2, cursor);
            (page.into_iter().map(|(room, seq)| room * 100 + seq).collect(), next)
        });
        found
    }

    #[track_caller]
    pub fn unread(&self, user: u64) -> Vec<UnreadRow> {
        match self.load(Load::Unread { user_id: UserId(user) }) {
            Loaded::Unread(rows) => rows,
            other => panic!("{other:?}"),
        }
    }
}

pub(in crate::store) fn mentions_come_newest_first_to_members(place: &dyn Place) {
    let mut desk = Desk::open(place);
    desk.users(4);
    // Users 1 and 2 are in rooms 1 and 2; user 3 joins room 1 after message 4; user 4 is in none.
    let late = MemberRow { joined_at: event_at(5), ..member(3, 4) };
    let writes =
        vec![create(1), create(2), put(1, 2, 0), put(2, 2, 0), Write::PutMember { room_id: RoomId(1), member: late }];
    let log = (1..=8)
        .flat_map(|seq| [message(1, seq, 1), EventRow { at: WallMs(event_at(seq).0 + 100), ..message(2, seq, 1) }]);
    desk.commit(log.collect(), writes);
    assert_eq!(desk.all_mentions(2), [0; 0]);
    let second = Write::Mentions {
        room_id: RoomId(2),
        message_id: Seq(3),
        at: WallMs(event_at(3).0 + 100),
        users: [UserId(2), UserId(4)].into(),
        everyone: false,
    };
    let writes = vec![
        mentions(1, 1, &[2, 3, 4], false),
        mentions(1, 2, &[], true),
        mentions(1, 6, &[2], true),
        mentions(1, 7, &[3], false),
        mentions(1, 8, &[2], false),
        second,
    ];
    desk.commit(vec![], [writes.clone(), writes].concat());
    for (user, expected) in [
        (2, vec![203, 108, 106, 102, 101]),
        // Named before he joined, but everybody since.
        (3, vec![107, 106, 101]),
        (1, vec![106, 102]),
        (4, vec![]),
    ] {
        assert_eq!(desk.all_mentions(user), expected, "user {user}");
    }
    // An edit mentions others; a deletion nobody; who leaves sees none.
    desk.commit(vec![], vec![mentions(1, 8, &[3], false), mentions(1, 6, &[], false), deleted(1, 1, event_at(9).0)]);
    assert_eq!((desk.inbox(2), desk.inbox(3)), (vec![2], vec![8, 7]));
    desk.commit(vec![], vec![Write::DropMember { room_id: RoomId(1), user_id: UserId(2) }]);
    assert_eq!(desk.mentions_page(2, 9, None).0, [(2, 3)]);
}

pub(in crate::store) fn the_pages_of_mentions_stay_while_others_are_added(place: &dyn Place) {
    let mut desk = Desk::open(place);
    desk.users(2);
    desk.commit((1..=20).map(|seq| message(1, seq, 1)).collect(), vec![create(1), put(1, 2, 0)]);
    desk.commit(vec![], (1..=10).map(|seq| mentions(1, seq, &[2], seq % 2 == 0)).collect());
    let (first, next) = desk.mentions_page(2, 4, None);
    desk.commit(vec![], (11..=20).map(|seq| mentions(1, seq, &[2], seq % 2 == 0)).collect());
    let (second, last) = desk.mentions_page(2, 6, next);
    let found: Vec<_> = first.into_iter().chain(second).map(|(_, seq)| seq).collect();
    assert_eq!((found, last), ((1..=10).rev().collect(), None));
}

pub(in crate::store) fn unread_messages_and_mentions_are_counted(place: &dyn Place) {
    let mut desk = Desk::open(place);
    desk.users(3);
    let log = vec![
        message(1, 1, 1),
        message(1, 2, 3),
        message(1, 3, 1),
        message(1, 4, 2),
        message(1, 5, 3),
        message(1, 6, 1),
        void(1, 7, 6),
    ];
    let writes = vec![
        create(1),
        put(1, 2, 0),
        put(1, 3, 0),
        create_dm(2, 1, 2, None),
        mentions(1, 1, &[2, 3], false),
        mentions(1, 3, &[2], true),
        mentions(1, 5, &[], true),
        mentions(1, 6, &[2, 3], true),
    ];
    desk.commit(log, writes);
    let counts = |desk: &Desk, user| {
        desk.unread(user)
            .iter()
            .map(|row| (row.room_id.0, row.head.0, row.last_read_seq.0, row.unread_count, row.mention_count))
            .collect::<Vec<_>>()
    };
    assert_eq!(counts(&desk, 2), [(1, 7, 4, 2, 2), (2, 0, 0, 0, 0)], "own messages are read, and each counts once");
    assert_eq!(counts(&desk, 3), [(1, 7, 5, 1, 1)]);
    assert_eq!(counts(&desk, 1)[0], (1, 7, 6, 0, 0));
    desk.commit(vec![], vec![deleted(1, 6, event_at(8).0)]);
    assert_eq!(counts(&desk, 2)[0], (1, 7, 4, 2, 1), "deleted: unread it stays, mentioned nobody is");
    let read = Write::ReadPosition { room_id: RoomId(1), user_id: UserId(2), seq: Seq(7), message_no: 6 };
    desk.commit(vec![], vec![read]);
    assert_eq!(counts(&desk, 2)[0], (1, 7, 7, 0, 0));
}
