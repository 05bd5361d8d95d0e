//! What is true of SQLite alone, and the contract over it.

use std::cell::RefCell;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use veza_engine::id::{RoomId, Seq, UserId};
use veza_engine::store::{BatchOutcome, EventRow, Load, LoadError, Loaded, RoleRow, RoomKind, Write, Writer};
use veza_engine::time::WallMs;
use veza_engine::wire::{Permissions, RoomFilter, SearchMessages, Status};

use super::index::Pending;
use super::upkeep::Pass;
use super::{batch, identify, open, reader, write};
use crate::store::contract::{Desk, Place, create, create_dm, identity, key, keyed, message, meta, put};
use crate::store::{Store, StoreConfig, StoreError};

/// A directory of its own, gone at the end.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Dir {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let name = format!("veza-sqlite-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        Dir(std::env::temp_dir().join(name))
    }

    fn database(&self) -> PathBuf {
        self.0.join("db").join("veza.db")
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        // What is left over is in the directory for temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Place for Dir {
    fn config(&self) -> StoreConfig {
        let mut config = StoreConfig::new(format!("sqlite://{}", self.database().display()), self.0.join("data"));
        config.lock_wait = Duration::ZERO;
        config.load_deadline = Duration::from_secs(60);
        config
    }

    fn insert_foreign(&self, row: &EventRow) {
        let rival = Writer { epoch: 999, lane: 0, number: 1 };
        batch::insert_event(&open::writer(&self.database()).expect("a connection"), row, rival).expect("a row");
    }
}

mod contract {
    crate::store::contract::suite!(super::Dir::new());
}

#[test]
fn a_hole_is_a_conflict() {
    let dir = Dir::new();
    let mut desk = Desk::open(&dir);
    desk.commit(vec![message(1, 1, 1)], vec![create(1), create(2)]);
    for (event, room) in [(message(2, 2, 1), 2), (message(1, 3, 1), 1)] {
        let conflict = BatchOutcome::Conflict { stale: vec![RoomId(room)], duplicates: vec![] };
        assert_eq!(desk.write(vec![event], vec![]), conflict);
    }
    assert_eq!(desk.events(1), [message(1, 1, 1)]);
}

#[test]
fn a_second_server_is_refused_and_told_who_holds_the_database() {
    let dir = Dir::new();
    let desk = Desk::open(&dir);
    // The same directory, and another directory with the same database.
    for data in ["data", "other"] {
        let mut config = dir.config();
        config.data_dir = dir.0.join(data);
        match Store::open(config, Desk::no_sink()).map(|_| ()) {
            Err(StoreError::Locked(text)) => assert!(text.contains(&std::process::id().to_string()), "{text}"),
            other => panic!("{other:?}"),
        }
    }
    desk.close();
    Desk::open(&dir);
}

#[test]
fn a_newer_schema_is_refused() {
    let dir = Dir::new();
    Desk::open(&dir).close();
    let connection = open::writer(&dir.database()).expect("a connection");
    let newer =
        "INSERT INTO refinery_schema_history (version, name, applied_on, checksum) VALUES (77, 'x', 'now', '1')";
    connection.execute(newer, []).expect("a row");
    let refused = Store::open(dir.config(), Desk::no_sink()).map(|_| ());
    assert_eq!(refused, Err(StoreError::Newer(77, 2)));
    assert!(open::check(&dir.database()).expect("a report").findings.iter().any(|finding| finding.advice.is_some()));
}

#[test]
fn epochs_change_when_the_database_was_restored_and_only_then() {
    let dir = Dir::new();
    let database = dir.database();
    let (copied, token) = (dir.0.join("copy"), dir.0.join("data").join("veza.db.start"));
    let copy = |from: &PathBuf, to: &PathBuf| assert!(std::fs::copy(from, to).is_ok());
    let epoch_after = |change: &dyn Fn()| {
        change();
        let desk = Desk::open(&dir);
        let epoch = desk.room(1, 0).meta.epoch;
        desk.close();
        epoch
    };
    let mut desk = Desk::open(&dir);
    desk.commit(vec![], vec![create(1)]);
    desk.close();
    assert_eq!(epoch_after(&|| copy(&database, &copied)), 78);
    let restored = epoch_after(&|| copy(&copied, &database));
    assert_ne!(restored, 78, "an older copy came back");
    assert_eq!(epoch_after(&|| {}), restored, "a restart alone");
    // A start that got as far as its file: the database still has the former token, the file both.
    let known = std::fs::read_to_string(&token).expect("tokens").lines().next().expect("a token").to_owned();
    let half = || std::fs::write(&token, format!("fresh\n{known}\n")).expect("written");
    assert_eq!(epoch_after(&half), restored);
    assert_ne!(epoch_after(&|| std::fs::remove_file(&token).expect("removed")), restored, "moved to another server");
}

#[test]
fn a_database_that_cannot_be_written_delays_batches_and_drops_none() {
    let dir = Dir::new();
    let mut desk = Desk::open(&dir);
    desk.commit(vec![], vec![create(1)]);
    let other = open::writer(&dir.database()).expect("a connection");
    other.execute_batch("BEGIN IMMEDIATE").expect("the lock");
    let first = desk.submit(0, vec![message(1, 1, 1)], vec![]);
    while desk.store.up() {
        std::thread::yield_now();
    }
    assert_eq!(desk.try_load(Load::ReserveRooms { count: 1 }), Err(LoadError::Unavailable));
    assert_eq!(desk.room(1, 0).head, Seq(0), "reading goes on");
    let second = desk.submit(1, vec![], vec![create(2)]);
    other.execute_batch("ROLLBACK").expect("unlocked");
    let mut outcomes = [desk.outcome(), desk.outcome()];
    outcomes.sort_by_key(|(writer, _)| writer.lane);
    assert_eq!(outcomes, [(first, BatchOutcome::Committed), (second, BatchOutcome::Committed)]);
    assert!(desk.store.up() && desk.store.metrics().retries > 0);
    assert_eq!((desk.events(1).len(), desk.store.metrics().batches_waiting), (1, 0));
}

/// Says to the child process of a test where to write.
const CHILD: &str = "VEZA_SQLITE_CHILD";

/// This test alone, in a process of its own, which finds the directory in [`CHILD`]; `before` is what the shell does
/// before it becomes that process.
fn child(test: &str, dir: &Dir, before: &str) -> (Child, impl Iterator<Item = String>) {
    let mut child = Command::new("sh")
        .args(["-c", &format!("{before} exec \"$@\""), "sh"])
        .arg(std::env::current_exe().expect("this test"))
        .args(["--exact", &format!("store::sqlite::tests::{test}"), "--nocapture"])
        .env(CHILD, &dir.0)
        .stdout(Stdio::piped())
        .spawn()
        .expect("a child");
    let output = BufReader::new(child.stdout.take().expect("its output"));
    (child, output.lines().map_while(Result::ok))
}

#[test]
fn a_disk_that_takes_no_more_delays_batches_and_drops_none() {
    if let Some(dir) = std::env::var_os(CHILD) {
        return write_beyond_the_limit(Dir(dir.into()));
    }
    let dir = Dir::new();
    // Files of 1 MiB at most, until told otherwise; writes beyond fail, instead of ending the process.
    let before = "trap '' XFSZ; ulimit -S -f 2048;";
    let (mut child, mut lines) = child("a_disk_that_takes_no_more_delays_batches_and_drops_none", &dir, before);
    assert!(lines.any(|line| line == "down"), "it noticed");
    let lifted = Command::new("prlimit").args(["--pid", &child.id().to_string(), "--fsize=unlimited"]).status();
    assert!(lifted.expect("prlimit (util-linux) runs").success());
    assert!(lines.any(|line| line == "up"), "it recovered");
    assert!(child.wait().expect("its end").success());
}

fn write_beyond_the_limit(dir: Dir) {
    let mut desk = Desk::open(&dir);
    desk.commit(vec![message(1, 1, 1)], vec![create(1)]);
    let large = EventRow { content: Some("x".repeat(3 << 20).into()), ..message(1, 2, 1) };
    let first = desk.submit(0, vec![large.clone()], vec![]);
    while desk.store.up() {
        std::thread::yield_now();
    }
    assert_eq!(desk.events(1), [message(1, 1, 1)], "reading goes on");
    let second = desk.submit(1, vec![], vec![create(2)]);
    println!("\ndown"); // Where tests run one by one, the line has begun with the name of the test.
    let mut outcomes = [desk.outcome(), desk.outcome()];
    outcomes.sort_by_key(|(writer, _)| writer.lane);
    assert_eq!(outcomes, [(first, BatchOutcome::Committed), (second, BatchOutcome::Committed)]);
    assert_eq!(desk.events(1), [message(1, 1, 1), large]);
    assert!(desk.store.up());
    println!("up");
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    if let Some(dir) = std::env::var_os(CHILD) {
        return write_for_ever(Dir(dir.into()));
    }
    let dir = Dir::new();
    let mut acknowledged = [0_u64; 4];
    for round in 0..5 {
        let (mut child, lines) = child("what_was_acknowledged_survives_kill_9", &dir, "");
        let mut left = 150 + 37 * round;
        for line in lines {
            let Some((room, head)) = line.strip_prefix("ack ").and_then(|line| line.split_once(' ')) else { continue };
            let (room, head): (usize, u64) = (room.parse().expect("a room"), head.parse().expect("a head"));
            acknowledged[room - 1] = acknowledged[room - 1].max(head);
            left -= 1;
            if left == 0 {
                child.kill().expect("killed");
            }
        }
        assert_eq!((child.wait().expect("its end").code(), left <= 0), (None, true), "by the signal, after enough");
        let desk = Desk::open(&dir);
        for (room, head) in (1..).zip(acknowledged) {
            let seqs: Vec<u64> = desk.events(room).iter().map(|row| row.seq.0).collect();
            assert!(seqs.len() as u64 >= head, "room {room}: {head} were acknowledged, {} are there", seqs.len());
            assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>(), "room {room}");
        }
    }
    assert!(acknowledged.iter().all(|head| *head > 0), "{acknowledged:?}");
}

/// Writes to four rooms in as many lanes and tells each outcome, until it is killed.
fn write_for_ever(dir: Dir) {
    let mut desk = Desk::open(&dir);
    let mut heads = [0; 4];
    for (room, head) in (1..).zip(&mut heads) {
        match desk.load(Load::Room { room_id: RoomId(room), tail: 0, members: vec![] }) {
            Loaded::Room(Some(state)) => *head = state.head.0,
            _ => desk.commit(vec![], vec![create(room)]),
        }
    }
    let mut send = |desk: &mut Desk, lane: usize| {
        let events = (1..=3).map(|step| message(lane as u64 + 1, heads[lane] + step, 1)).collect();
        heads[lane] += 3;
        desk.submit(lane as u32, events, vec![]);
        heads[lane]
    };
    let mut sent = [0, 1, 2, 3].map(|lane| send(&mut desk, lane));
    loop {
        let (writer, outcome) = desk.outcome();
        assert_eq!(outcome, BatchOutcome::Committed);
        let lane = writer.lane as usize;
        println!("ack {} {}", lane + 1, sent[lane]);
        sent[lane] = send(&mut desk, lane);
    }
}

thread_local! {
    static SEEN: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Every statement of the store comes by here.
pub(super) fn note(sql: &str) {
    SEEN.with_borrow_mut(|seen| {
        if !seen.iter().any(|known| known == sql) {
            seen.push(sql.to_owned());
        }
    });
}

/// What may be read from one end to the other: lists that come as parameters, what a subquery has found by an index, the
/// full-text index by its words, and the indexes of those rooms that are asked for, by id.
const NO_TABLES: [&str; 14] = [
    "SCAN j VIRTUAL",
    "SCAN CONSTANT",
    "SCAN search_text VIRTUAL",
    "SCAN own",
    "SCAN few",
    "SCAN found",
    "SCAN answers",
    "SCAN first",
    "SCAN f",
    "SCAN r USING INDEX rooms_public",
    "SCAN r USING INDEX rooms_retained",
    "SCAN r USING COVERING INDEX rooms_public",
    "SCAN rooms USING INDEX rooms_deleted",
    "SCAN rooms USING COVERING INDEX rooms_deleted",
];

#[test]
fn no_statement_reads_a_whole_table() {
    let dir = Dir::new();
    let mut desk = Desk::open(&dir);
    desk.users(9);
    let log = (1..=200).map(|seq| keyed(1, seq, seq % 9 + 1, &seq.to_string())).collect();
    let mut writes: Vec<_> = (1..=50).map(create).collect();
    writes.extend((2..=9).map(|user| put(1, user, 0)));
    writes.extend((2..=9).map(|user| create_dm(100 + user, 1, user, key(&user.to_string()))));
    desk.commit(log, writes);
    // Closing lets SQLite gather its statistics.
    desk.close();
    let connection = open::reader(&dir.database()).expect("a connection");
    for load in loads_by_index() {
        assert!(reader::answer(&connection, 0, &load).is_ok(), "{load:?}");
    }
    let identities: Vec<_> = (1..50).map(|user| identity("iss", &user.to_string(), Some("name"))).collect();
    identify::find(&connection, identities.iter().map(|identity| &**identity)).expect("found");
    let mut writer = open::writer(&dir.database()).expect("a connection");
    for item in writes_by_index() {
        write::apply(&writer, &item, 0).expect("written");
    }
    identify::provision(&writer, &identity("iss", "s1", Some("newname"))).expect("renamed");
    let mut pending = Pending::new();
    while !pending.is_empty() {
        pending.step(&writer).expect("indexed");
    }
    let mut pass = Pass::new(WallMs(1_700_000_000_000 + 5 * 86_400_000), 0);
    while !pass.done() {
        pass.step(&mut writer).expect("removed");
    }
    let statements = SEEN.take();
    assert!(statements.len() > 100, "{}", statements.len());
    for sql in statements {
        let mut explain = writer.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect("a plan");
        let mut lines = explain.raw_query();
        while let Some(line) = lines.next().expect("a line") {
            let line: String = line.get(3).expect("a text");
            assert!(!line.starts_with("SCAN") || NO_TABLES.iter().any(|fine| line.starts_with(fine)), "{line}\n{sql}");
        }
    }
}

/// One of each kind of write that looks for rows.
fn writes_by_index() -> Vec<Write> {
    let (room_id, user_id, message_id, at) = (RoomId(1), UserId(1), Seq(3), WallMs(1_700_000_000_000));
    let reaction = |present, count| {
        let emoji = "+".into();
        Write::Reaction { room_id, message_id, user_id, emoji, present, count, seq: Seq(7) }
    };
    vec![
        Write::ReadCheckpoint { room_id, seq: Seq(100) },
        Write::RevokeSession { session_id: "s".into(), user_id, expires_at: 1 },
        Write::RevokeUser { user_id, before: 1 },
        put(1, 1, 1),
        Write::Edited { room_id, message_id, content: "x".into(), mentions: [user_id].into(), count: 1, at },
        Write::Mentions { room_id, message_id, at, users: [user_id].into(), everyone: true },
        Write::Pinned { room_id, message_id, pinned: Some(Seq(9)) },
        Write::ThreadCount { room_id, message_id, count: 1 },
        reaction(true, 1),
        reaction(false, 0),
        Write::Deleted { room_id, message_id, at },
        Write::UpdateRoom { meta: meta(2, RoomKind::Room) },
        Write::DeleteRoom { room_id: RoomId(3), at },
        Write::Invite { room_id, user_id, inviter_id: user_id, at },
        Write::DropInvite { room_id, user_id },
        Write::PutRole { room_id, role: RoleRow { name: "x".into(), permissions: Permissions::MEMBER } },
        Write::DropRole { room_id, name: "x".into() },
        Write::Status { user_id, status: Status::Away, message: None },
        Write::LastSeen { user_id, at },
        Write::Block { user_id, blocked_id: UserId(2), at },
        Write::Unblock { user_id, blocked_id: UserId(2) },
    ]
}

fn loads_by_index() -> Vec<Load> {
    let (room_id, user_id, limit, cursor) = (RoomId(1), UserId(1), 50, None);
    let (reader, message_id, now) = (user_id, Seq(5), WallMs(1_700_000_000_500));
    let sanctions =
        |room_id, user_id| Load::Sanctions { room_id, user_id, active: Some(true), now, limit, cursor: None };
    let search = |room_id, author_id| {
        let (query, from, to) = ("words".into(), Some(WallMs(0)), Some(now));
        let search = SearchMessages { query, room_id, author_id, from, to, limit, cursor: None };
        Load::Search { reader, search: Box::new(search) }
    };
    let users: Vec<UserId> = (1..10).map(UserId).collect();
    vec![
        Load::Room { room_id, tail: 100, members: users.clone() },
        Load::Room { room_id: RoomId(102), tail: 100, members: users.clone() },
        Load::Members { room_id, user_ids: users.clone() },
        Load::Events { room_id, after: Seq(10), limit },
        Load::HistoryBefore { room_id, before: Some(Seq(100)), limit, reader: UserId(1) },
        Load::HistoryAfter { room_id, after: Seq(10), limit, reader: UserId(1) },
        Load::Message { room_id, message_id: Seq(5), reader: UserId(1) },
        Load::Edits { room_id, message_id },
        Load::Thread { room_id, parent_id: message_id, after: Seq(0), limit, reader },
        Load::Pinned { room_id, reader },
        Load::Reactions { room_id, message_id },
        Load::Names { room_id, names: vec!["nam1".into()] },
        Load::RoomStats { room_id, now },
        search(None, None),
        search(Some(room_id), Some(user_id)),
        Load::Mentions { reader, limit, cursor: None },
        Load::Profile { user_id },
        Load::Blocks { user_id },
        Load::Sanction { sanction_id: 1 },
        sanctions(None, None),
        sanctions(Some(room_id), None),
        sanctions(None, Some(user_id)),
        sanctions(Some(room_id), Some(user_id)),
        Load::MemberPage { room_id, role: Some("owner".into()), among: None, limit, cursor: cursor.clone() },
        Load::RoomPage { filter: RoomFilter::Invited, user_id, query: None, limit, cursor: cursor.clone() },
        Load::MemberPage { room_id, role: None, among: None, limit, cursor: cursor.clone() },
        Load::MemberPage { room_id, role: None, among: Some(users.clone()), limit, cursor: cursor.clone() },
        Load::RoomPage { filter: RoomFilter::Public, user_id, query: None, limit, cursor: cursor.clone() },
        Load::RoomPage { filter: RoomFilter::Joined, user_id, query: None, limit, cursor: cursor.clone() },
        Load::Unread { user_id },
        Load::DmPage { user_id, limit, cursor: cursor.clone() },
        Load::Creation { user_id, client_id: Some("2".into()), pair: Some((user_id, UserId(2))), users },
        Load::ClientEvent { room_id, user_id, client_id: "9".into() },
        Load::User { user_id },
        Load::UserPage { query: Some("n".into()), limit, cursor },
        Load::Sessions { user_id },
    ]
}
