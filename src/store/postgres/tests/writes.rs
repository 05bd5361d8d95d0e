use std::collections::BTreeMap;

use veza_engine::store::{BatchOutcome, Duplicate, Load, Loaded, MemberRow};
use veza_loadtest::pg::TestPg;

use super::faults::Stranger;

use super::*;

fn member(user: u64, seq: u64) -> MemberRow {
    MemberRow {
        user_id: UserId(user),
        role: "member".into(),
        joined_at: WallMs(9),
        last_read_seq: Seq(seq),
        last_read_no: seq,
    }
}

#[test]
fn rooms_events_members_and_foreign_rows() {
    let pg = TestPg::start();
    let mut desk = Desk::open(&pg.url()).ready();
    pg.sql("insert into users (user_id, iss, sub, username, skeleton, created_at) select i, 'x', i, 'u' || i, 'u' || i, 0 from generate_series(1, 9) i");
    let put = |user, seq| Write::PutMember { room_id: RoomId(1), member: member(user, seq) };
    let read =
        |user, seq| Write::ReadPosition { room_id: RoomId(1), user_id: UserId(user), seq: Seq(seq), message_no: seq };
    let drop = |user| Write::DropMember { room_id: RoomId(1), user_id: UserId(user) };
    let count = Write::MemberCount { room_id: RoomId(1), count: 4 };
    let writes = vec![
        create(1),
        put(2, 1),
        put(3, 2),
        read(2, 2),
        put(4, 2),
        drop(4),
        read(4, 3),
        put(5, 3),
        drop(5),
        put(5, 1),
        count,
    ];
    assert_eq!(desk.write(vec![message(1, 1), message(1, 2), message(1, 3)], writes), BatchOutcome::Committed);
    let Ok(Loaded::Room(Some(state))) =
        desk.load(Load::Room { room_id: RoomId(1), tail: 2, members: (1..9).map(UserId).collect() })
    else {
        panic!("no room")
    };
    assert_eq!(state.meta, room(1));
    assert_eq!((state.head, state.message_no, state.member_count), (Seq(3), 3, 4));
    assert_eq!(state.tail.iter().map(|e| e.row.clone()).collect::<Vec<_>>(), [message(1, 2), message(1, 3)]);
    let positions: Vec<_> = state
        .standings
        .iter()
        .filter_map(|s| s.member.as_ref())
        .map(|m| (m.user_id.0, m.last_read_seq.0, m.last_read_no, &*m.role))
        .collect();
    assert_eq!(positions, [(1, 3, 3, "owner"), (2, 2, 2, "member"), (3, 2, 2, "member"), (5, 1, 1, "member")]);

    // A stranger took 4; our 5 of the same batch is not written either.
    pg.sql("insert into events select room_id, 4, at, 4, 9, parent_id, client_hash, kind, 'foreign', content, data from events where seq = 3");
    assert_eq!(
        desk.write(vec![message(1, 4)], vec![count_of(9)]),
        BatchOutcome::Conflict { stale: vec![RoomId(1)], duplicates: vec![] }
    );
    let mut again = message(1, 5);
    again.client = message(1, 2).client;
    let duplicate = Duplicate {
        index: 1,
        is_event: true,
        room_id: RoomId(1),
        seq: Seq(2),
        at: message(1, 2).at,
        hash: Some(2 | 1 << 63),
    };
    let mut next = message(1, 6);
    next.client = None;
    assert_eq!(
        desk.write(vec![next, again], vec![]),
        BatchOutcome::Conflict { stale: vec![], duplicates: vec![duplicate] }
    );
    assert_eq!(read_seqs(&desk, 1), [1, 2, 3, 4]);
    desk.close();
    assert_eq!(pg.sql("select member_count from rooms"), "4");
}

fn count_of(count: u32) -> Write {
    Write::MemberCount { room_id: RoomId(1), count }
}

#[test]
fn poison_is_found_and_nothing_else_refused() {
    let pg = TestPg::start();
    let mut desk = Desk::open(&pg.url()).ready();
    let mut events: Vec<EventRow> = (1..=20).map(|seq| message(1, seq)).collect();
    events[3].content = Some("a\0b".into());
    events[17].data = Some("\0".into());
    let stranded = Write::PutMember { room_id: RoomId(999), member: member(1, 0) };
    let fine = Write::PutMember { room_id: RoomId(1), member: member(7, 0) };
    let writes = vec![create(1), fine.clone(), stranded];
    let BatchOutcome::Refused { events: bad_events, writes: bad_writes, .. } = desk.write(events.clone(), writes)
    else {
        panic!("accepted")
    };
    assert_eq!((bad_events, bad_writes), (vec![3, 17], vec![2]));
    assert!(read_seqs(&desk, 1).is_empty());
    for index in [3, 17] {
        events[index] = EventRow {
            kind: EventKind::Void,
            author_id: None,
            client: None,
            content: None,
            data: None,
            ..events[index].clone()
        };
    }
    assert_eq!(desk.write(events, vec![create(1), fine]), BatchOutcome::Committed);
    assert_eq!(read_seqs(&desk, 1).len(), 20);
}

/// Batches of lanes 0 to 3 that meet in one transaction, because the one before it is kept waiting.
fn together(pg: &TestPg, desk: &mut Desk, batches: [Vec<EventRow>; 4]) -> BTreeMap<u32, BatchOutcome> {
    let stranger = Stranger::connect(&pg.url(), "stranger");
    stranger.run("BEGIN; SELECT FROM writer_lanes WHERE lane = 4 FOR UPDATE").unwrap();
    let held_up = desk.submit(4, vec![], vec![]);
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ~ 'writer_lanes'";
    let deadline = Instant::now() + PATIENCE;
    while pg.sql(waits) != "1" {
        assert!(Instant::now() < deadline, "nobody waits for the row");
    }
    for (lane, events) in (0..).zip(batches) {
        desk.submit(lane, events, vec![]);
    }
    stranger.run("COMMIT").unwrap();
    assert_eq!(desk.outcome(), (held_up, BatchOutcome::Committed));
    (0..4).map(|_| desk.outcome()).map(|(writer, outcome)| (writer.lane, outcome)).collect()
}

#[test]
fn batches_that_wait_are_committed_together_and_each_has_its_own_outcome() {
    let pg = TestPg::start();
    let mut desk = Desk::open_with(&pg.url(), |config| config.max_connections = 5).ready();
    for lane in 0..5 {
        desk.submit(lane, vec![message(u64::from(lane) + 1, 1)], vec![create(u64::from(lane) + 1)]);
        assert_eq!(desk.outcome().1, BatchOutcome::Committed);
    }
    let all = together(&pg, &mut desk, [1, 2, 3, 4].map(|room| vec![message(room, 2), message(room, 3)]));
    assert!(all.values().all(|outcome| *outcome == BatchOutcome::Committed), "{all:?}");
    assert_eq!(pg.sql("SELECT count(*), count(DISTINCT xmin::text) FROM events WHERE seq > 1"), "8|1");

    let mut poison = message(2, 4);
    poison.content = Some("a\0b".into());
    let mut again = message(3, 4);
    again.client = message(3, 1).client;
    let outcomes = together(&pg, &mut desk, [vec![message(1, 4)], vec![poison], vec![again], vec![message(4, 4)]]);
    assert_eq!((&outcomes[&0], &outcomes[&3]), (&BatchOutcome::Committed, &BatchOutcome::Committed));
    assert!(matches!(&outcomes[&1], BatchOutcome::Refused { events, .. } if *events == [0]), "{outcomes:?}");
    assert!(
        matches!(&outcomes[&2], BatchOutcome::Conflict { stale, duplicates } if stale.is_empty() && duplicates.len() == 1)
    );
    assert_eq!(read_seqs(&desk, 1), [1, 2, 3, 4]);
    assert_eq!(pg.sql("SELECT string_agg(seq::text, ' ' ORDER BY room_id) FROM events WHERE seq = 4"), "4 4");
    desk.close();
}
