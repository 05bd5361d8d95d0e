//! What is removed in the background: retention, erased content, deleted rooms.

use super::messages::{deleted, event_at};
use super::*;

const DAY: i64 = 86_400_000;
/// When the messages of these tests are sent, but for the days between them.
const BEGUN: i64 = 1_700_000_000_000;

/// Message `seq`, sent on day `seq`.
fn daily(room: u64, seq: u64, user: u64) -> EventRow {
    EventRow { at: WallMs(BEGUN + seq as i64 * DAY), ..message(room, seq, user) }
}

/// A room that keeps messages for this many days; 0: for ever.
fn keeping(room: u64, days: u32) -> Write {
    let meta = RoomMeta { retention_days: days, ..meta(room, RoomKind::Room) };
    Write::CreateRoom { meta, creator_id: UserId(1), client: None }
}

impl Desk {
    /// Floors told since the last time.
    fn floors(&self) -> Vec<(u64, u64)> {
        self.retained.try_iter().map(|(room, floor)| (room.0, floor.0)).collect()
    }
}

pub(in crate::store) fn retention_removes_the_first_events_and_keeps_the_head(place: &dyn Place) {
    let mut desk = Desk::open(place);
    desk.users(3);
    let mut log: Vec<_> = (1..=10).map(|seq| daily(1, seq, seq % 2 + 1)).collect();
    log.extend((1..=10).map(|seq| daily(2, seq, 1)));
    log.push(daily(4, 1, 1));
    log[3] = EventRow { at: log[3].at, ..void(1, 4, 3) };
    for row in &mut log[4..10] {
        row.message_no -= 1;
    }
    let reaction = |message_id| {
        let (room_id, message_id, user_id, emoji) = (RoomId(1), Seq(message_id), UserId(3), "+".into());
        Write::Reaction { room_id, message_id, user_id, emoji, present: true, count: 1, seq: Seq(9) }
    };
    let of_day = |seq: u64, write: Write| match write {
        Write::Mentions { room_id, message_id, users, everyone, .. } => {
            Write::Mentions { room_id, message_id, users, everyone, at: WallMs(BEGUN + seq as i64 * DAY) }
        }
        other => other,
    };
    let mut writes = vec![keeping(1, 3), keeping(2, 0), keeping(3, 3), keeping(4, 3)];
    writes.extend([put(1, 2, 0), put(1, 3, 1), reaction(2), reaction(8), deleted(1, 3, BEGUN), deleted(1, 8, BEGUN)]);
    writes.extend([2, 7].map(|seq| of_day(seq, mentions(1, seq, &[3], true))));
    writes.extend([2, 6].map(|seq| Write::Pinned { room_id: RoomId(1), message_id: Seq(seq), pinned: Some(Seq(9)) }));
    desk.commit(log, writes);
    desk.upkeep(BEGUN + DAY);
    assert_eq!(desk.floors(), [], "nothing is old enough");
    assert_eq!(desk.events(1).len(), 10);
    // Those of more than three days before day 8.5 go: up to day 5.
    desk.upkeep(BEGUN + 8 * DAY + DAY / 2);
    let floors: HashMap<_, _> = desk.floors().into_iter().collect();
    assert_eq!(floors, HashMap::from([(1, 5), (4, 1)]));
    let state = desk.room(1, 3);
    assert_eq!((state.floor, state.head, state.message_no, state.pinned_count), (Seq(5), Seq(10), 9, 1));
    assert_eq!(desk.events(1).iter().map(|row| row.seq.0).collect::<Vec<_>>(), [6, 7, 8, 9, 10]);
    assert_eq!(desk.events(2).len(), 10);
    // Positions: user 1 wrote 10, user 2 wrote 9, user 3 had read 1. What is gone unread stays unread, until it is marked.
    assert_eq!(positions(&state.standings), [(1, 10, 9), (2, 9, 8), (3, 1, 1)]);
    let unread: Vec<_> = desk.unread(3).iter().map(|row| (row.unread_count, row.mention_count)).collect();
    assert_eq!((unread, desk.inbox(3)), (vec![(8, 1)], vec![7]));
    let stats = desk.stats(1, BEGUN + 10 * DAY + 1);
    assert_eq!((stats.message_count, stats.messages_24h), (4, 1));
    assert_eq!((desk.record(1, 2, 1), desk.state(8).map(|state| state.reactions.len())), (None, Some(1)));
    assert_eq!(desk.found(2, "words").first(), Some(&(1, 6)));
    let empty = desk.room(4, 9);
    assert_eq!((empty.floor, empty.head, empty.message_no, empty.tail), (Seq(1), Seq(1), 1, vec![]));
    // Writing goes on where it was, also where nothing is left, and after a restart.
    desk.close();
    let mut desk = Desk::open(place);
    assert_eq!(desk.room(4, 0).head, Seq(1));
    desk.commit(vec![daily(4, 2, 1), EventRow { message_no: 10, ..daily(1, 11, 1) }], vec![]);
    let stale = BatchOutcome::Conflict { stale: vec![RoomId(4)], duplicates: vec![] };
    assert_eq!(desk.write(vec![daily(4, 2, 1)], vec![]), stale);
    desk.upkeep(BEGUN + 100 * DAY);
    let state = desk.room(1, 9);
    assert_eq!((state.floor, state.head, state.message_no, state.tail), (Seq(11), Seq(11), 10, vec![]));
    assert_eq!(positions(&state.standings), [(1, 11, 10), (2, 9, 8), (3, 1, 1)], "own messages stay read");
    assert_eq!((desk.unread(3)[0].unread_count, desk.unread(3)[0].mention_count), (9, 0));
    assert_eq!(desk.stats(1, BEGUN + 100 * DAY), Default::default());
    assert_eq!((desk.found(2, "words"), desk.inbox(3)), (vec![], vec![]));
}

pub(in crate::store) fn retention_goes_through_many_rows_and_follows_the_settings(place: &dyn Place) {
    const EVENTS: u64 = 2000;
    let mut desk = Desk::open(place);
    desk.users(1);
    let log = (1..=EVENTS).map(|seq| message(1, seq, 1)).collect();
    desk.commit(log, vec![keeping(1, 0)]);
    let late = BEGUN + 10 * DAY;
    desk.upkeep(late);
    assert_eq!((desk.room(1, 0).floor, desk.floors()), (Seq(0), vec![]));
    let meta = RoomMeta { retention_days: 9, ..meta(1, RoomKind::Room) };
    desk.commit(vec![], vec![Write::UpdateRoom { meta }]);
    // Message n was sent n milliseconds after the beginning: the first 1,500 are over nine days old.
    desk.upkeep(BEGUN + 9 * DAY + 1501);
    assert_eq!((desk.room(1, 0).floor, desk.events(1).len() as u64), (Seq(1500), EVENTS - 1500));
    let floors = desk.floors();
    assert!(floors.is_sorted() && floors.last() == Some(&(1, 1500)), "{floors:?}");
    desk.upkeep(late);
    assert_eq!((desk.room(1, 0).floor, desk.room(1, 0).head), (Seq(EVENTS), Seq(EVENTS)));
}

pub(in crate::store) fn content_of_deleted_messages_is_erased_after_the_grace(place: &dyn Place) {
    let grace = Duration::from_secs(2 * 86_400);
    let mut desk = Desk::open_with(place, |config| config.deleted_grace = grace);
    desk.users(2);
    let data = |row| EventRow { data: Some(r#"{"a":1}"#.into()), ..row };
    let edit = EventRow { kind: EventKind::Edit, parent_id: Some(Seq(1)), message_no: 2, ..message(1, 3, 1) };
    let (room_id, message_id, mentions) = (RoomId(1), Seq(1), Box::default());
    let content: Box<str> = "edited".into();
    let edited = Write::Edited { room_id, message_id, content, mentions, count: 1, at: event_at(3) };
    let log = vec![data(message(1, 1, 1)), data(message(1, 2, 1)), data(edit)];
    desk.commit(log, vec![keeping(1, 0), edited, deleted(1, 1, BEGUN)]);
    let contents = |desk: &Desk| desk.events(1).iter().map(|row| row.content.is_some()).collect::<Vec<_>>();
    desk.upkeep(BEGUN + 2 * DAY - 1);
    assert_eq!(contents(&desk), [true, true, true]);
    desk.upkeep(BEGUN + 2 * DAY + 1);
    assert_eq!(contents(&desk), [false, true, false]);
    let record = desk.record(1, 1, 1).expect("a tombstone");
    assert_eq!((record.is_deleted(), record.row.data, record.row.author_id), (true, None, Some(UserId(1))));
    assert_eq!(record.state.map(|state| state.edit_count), Some(1));
    assert_eq!(desk.events(1)[1], data(message(1, 2, 1)));
    let rows = desk.store.metrics().upkeep_rows;
    desk.upkeep(BEGUN + 3 * DAY);
    assert_eq!(desk.store.metrics().upkeep_rows, rows, "there is no more to do");
}

pub(in crate::store) fn the_rows_of_a_deleted_room_go(place: &dyn Place) {
    const EVENTS: u64 = 1500;
    let mut desk = Desk::open(place);
    desk.users(3);
    let members = (1..=1000).map(|user| put(1, user, 0));
    let mut writes = vec![keeping(1, 0), keeping(2, 0)];
    writes.extend(members);
    let log = (1..=EVENTS).map(|seq| message(1, seq, 1)).chain([message(2, 1, 1)]).collect();
    desk.commit(log, writes);
    desk.upkeep(BEGUN);
    let before = desk.store.metrics().upkeep_rows;
    desk.commit(vec![], vec![Write::DeleteRoom { room_id: RoomId(1), at: WallMs(BEGUN) }]);
    desk.upkeep(BEGUN);
    assert!(desk.store.metrics().upkeep_rows >= before + EVENTS + 1000);
    assert_eq!((desk.room(2, 1).head, desk.found(1, "words")), (Seq(1), vec![(2, 1)]));
    assert_eq!(desk.floors(), []);
    // Its id is free: only a room without any row can be made again.
    desk.commit(vec![], vec![keeping(1, 0)]);
    let state = desk.room(1, 9);
    assert_eq!((state.head, state.floor, state.member_count, members_of(&state)), (Seq(0), Seq(0), 1, vec![1]));
}

fn members_of(state: &RoomState) -> Vec<u64> {
    members(&state.standings).iter().map(|member| member.user_id.0).collect()
}

pub(in crate::store) fn what_is_to_be_done_is_done_unasked(place: &dyn Place) {
    let mut desk = Desk::open_with(place, |config| config.upkeep_every = Duration::from_millis(1));
    desk.users(1);
    // The first message of room 1 is far too old.
    let now = crate::store::report::wall_now().0;
    let fresh = EventRow { at: WallMs(now), ..message(1, 2, 1) };
    desk.commit(vec![message(1, 1, 1), fresh], vec![keeping(1, 3)]);
    assert_eq!(desk.retained.recv_timeout(PATIENCE), Ok((RoomId(1), Seq(1))));
    let deadline = Instant::now() + PATIENCE;
    while desk.found(1, "words") != [(1, 2)] || desk.store.metrics().search_pending > 0 {
        assert!(Instant::now() < deadline, "{:?}", desk.store.metrics());
        std::thread::yield_now();
    }
    assert_eq!(desk.room(1, 0).floor, Seq(1));
}
