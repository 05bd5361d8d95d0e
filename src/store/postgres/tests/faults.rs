//! The database stops, pauses, restarts, changes hands: every outcome is known in the end, nothing is doubled.

use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls};
use veza_loadtest::pg::TestPg;

use super::*;

/// A connection that is none of the store's, and the runtime that it lives on.
pub(super) struct Stranger {
    runtime: Runtime,
    client: Client,
}

impl Stranger {
    pub(super) fn connect(url: &str, name: &str) -> Stranger {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let mut config: tokio_postgres::Config = url.parse().unwrap();
        config.application_name(name);
        let (client, connection) = runtime.block_on(config.connect(NoTls)).expect("a connection");
        runtime.spawn(connection);
        Stranger { runtime, client }
    }

    pub(super) fn run(&self, sql: &str) -> Result<(), String> {
        let result = self.runtime.block_on(self.client.batch_execute(sql));
        result.map_err(|e| e.code().map_or("connection lost".to_owned(), |c| c.code().to_owned()))
    }
}

fn ghost_row(seq: u64) -> String {
    format!("INSERT INTO events (room_id, seq, at, message_no, kind) VALUES (1, {seq}, 1, {seq}, 2)")
}

/// What the batch of a lane does first when it is written among others.
fn gate(epoch: i64, lane: u32, number: u32) -> String {
    let statement = super::super::plan::GATE.replace("$1", &epoch.to_string());
    statement.replace("$2", &format!("'{{{lane}}}'::integer[]")).replace("$3", &format!("'{{{number}}}'::bigint[]"))
}

/// Sends `batches` batches of three on two lanes, each lane its room, and does `harm` before each; answers when all are
/// known to be committed.
fn stream(desk: &mut Desk, batches: u64, mut harm: impl FnMut(u64)) {
    for batch in 0..batches {
        for lane in 0..2 {
            let first = desk.seqs[lane as usize];
            desk.seqs[lane as usize] += 3;
            let events = (first..first + 3).map(|seq| message(1 + u64::from(lane), seq)).collect();
            desk.submit(lane, events, if batch % 3 == 0 { vec![] } else { vec![count_of(1 + u64::from(lane))] });
        }
        harm(batch);
        for _ in 0..2 {
            assert_eq!(desk.outcome().1, BatchOutcome::Committed);
        }
    }
    for lane in 0..2u32 {
        assert_eq!(read_seqs(desk, 1 + u64::from(lane)), (1..desk.seqs[lane as usize]).collect::<Vec<_>>());
    }
}

fn count_of(room: u64) -> Write {
    Write::MemberCount { room_id: RoomId(room), count: 7 }
}

#[test]
fn a_second_server_is_refused_and_told_who_holds() {
    let pg = TestPg::start();
    let first = Desk::open(&pg.url()).ready();
    let second = Desk::open(&pg.url());
    let StoreError::Locked(text) = second.fatal() else { panic!("another error") };
    assert!(text.contains(&format!("veza-{}", first.epoch)) && text.contains("127.0.0.1"), "{text}");
    // The first goes on, and after it a third may come.
    first.close();
    Desk::open(&pg.url()).ready().close();
}

#[test]
fn connections_killed_under_load_lose_and_double_nothing() {
    let pg = TestPg::start();
    let mut desk = Desk::open(&pg.url()).ready();
    assert_eq!(desk.write(vec![], vec![create(1), create(2)]), BatchOutcome::Committed);
    let stranger = Stranger::connect(&pg.url(), "stranger");
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name ~ '^veza-'";
    stream(&mut desk, 60, |batch| {
        // Every other time; in between, connections come back and batches pass.
        if batch % 2 == 0 {
            stranger.run(kill).expect("killed");
        }
    });
    assert!(desk.store.metrics().reconnects > 0);
    // The server throws out everybody and recovers.
    stream(&mut desk, 4, |batch| {
        if batch % 2 == 1 {
            pg.kill9_backends();
        }
    });
    desk.wait_up(true);
    desk.close();
}

#[test]
fn stopped_paused_and_absent_servers_are_waited_for() {
    let mut pg = TestPg::start();
    pg.stop();
    let mut desk = Desk::open_with(&pg.url(), |config| config.load_deadline = Duration::from_millis(500));
    let user = Load::User { user_id: UserId(1) };
    assert_eq!(desk.load(user.clone()), Err(LoadError::Unavailable));
    desk.submit(0, vec![message(1, 1)], vec![create(1), create(2)]);
    pg.start_again();
    assert_eq!(desk.outcome().1, BatchOutcome::Committed);
    desk.wait_up(true);
    assert_eq!(desk.load(user.clone()), Ok(Loaded::User(None)));
    desk.seqs[0] = 2;

    stream(&mut desk, 3, |batch| match batch {
        0 => {
            pg.stop();
            desk_down_then(&mut pg, TestPg::start_again);
        }
        1 => {
            pg.stop_immediate();
            desk_down_then(&mut pg, TestPg::start_again);
        }
        _ => {
            pg.pause();
            desk_down_then(&mut pg, |pg| pg.resume());
        }
    });

    desk.wait_up(true);
    pg.pause();
    // Found out without anybody asking: by the store's own ping.
    desk.wait_up(false);
    assert_eq!(desk.load(user.clone()), Err(LoadError::Unavailable));
    pg.resume();
    desk.wait_up(true);
    assert_eq!(desk.load(user), Ok(Loaded::User(None)));
    desk.close();
}

/// Leaves the batches some time to fail in, then undoes the harm. (However long it is, the outcome is the same.)
fn desk_down_then(pg: &mut TestPg, undo: impl FnOnce(&mut TestPg)) {
    std::thread::sleep(Duration::from_millis(300));
    undo(pg);
}

#[test]
fn a_read_only_database_is_waited_for() {
    let pg = TestPg::start();
    let mut desk = Desk::open(&pg.url()).ready();
    assert_eq!(desk.write(vec![message(1, 1)], vec![create(1)]), BatchOutcome::Committed);
    let stranger = Stranger::connect(&pg.url(), "stranger");
    stranger.run("ALTER SYSTEM SET default_transaction_read_only = on").unwrap();
    stranger.run("SELECT pg_reload_conf()").unwrap();
    // Each session of the database reads its settings again in its own time: what comes before that is stored.
    let begun = Instant::now();
    let mut last = 1;
    while desk.store.up() {
        assert!(begun.elapsed() < PATIENCE, "{:?}", desk.store.health());
        last += 1;
        desk.submit(0, vec![message(1, last)], vec![]);
        std::thread::sleep(Duration::from_millis(5));
    }
    stranger.run("SET default_transaction_read_only = off").unwrap();
    stranger.run("ALTER SYSTEM SET default_transaction_read_only = off").unwrap();
    stranger.run("SELECT pg_reload_conf()").unwrap();
    for _ in 2..=last {
        assert_eq!(desk.outcome().1, BatchOutcome::Committed);
    }
    desk.wait_up(true);
    assert_eq!(read_seqs(&desk, 1), (1..=last).collect::<Vec<_>>());
}

/// Makes every insertion of events do this first.
fn on_insert(pg: &TestPg, what: &str) {
    pg.sql(&format!(
        "CREATE OR REPLACE FUNCTION harm() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {what}; RETURN NULL; END $$;
         CREATE OR REPLACE TRIGGER harm BEFORE INSERT ON events FOR EACH STATEMENT EXECUTE FUNCTION harm()"
    ));
}

#[test]
fn a_full_disk_is_waited_for_without_haste() {
    let pg = TestPg::start();
    let mut desk = Desk::open(&pg.url()).ready();
    assert_eq!(desk.write(vec![message(1, 1)], vec![create(1)]), BatchOutcome::Committed);
    on_insert(&pg, "RAISE EXCEPTION 'disk full' USING ERRCODE = '53100'");
    let begun = Instant::now();
    desk.submit(0, vec![message(1, 2)], vec![]);
    desk.submit(1, vec![message(2, 1)], vec![]);
    while desk.store.metrics().retries < 12 {
        assert!(begun.elapsed() < PATIENCE, "nothing is tried again");
    }
    // Each lane waits at least 10, 20, 40, 80, 160 and then 200 ms.
    assert!(begun.elapsed() >= Duration::from_millis(310), "{:?}", begun.elapsed());
    assert!(!desk.store.up());
    assert_eq!(read_seqs(&desk, 1), [1]);
    pg.sql("DROP TRIGGER harm ON events");
    assert_eq!(desk.outcome().1, BatchOutcome::Committed);
    assert_eq!(desk.outcome().1, BatchOutcome::Committed);
    assert_eq!((read_seqs(&desk, 1), read_seqs(&desk, 2)), (vec![1, 2], vec![1]));
}

#[test]
fn a_batch_slower_than_the_deadline_gets_done() {
    let pg = TestPg::start();
    let mut desk = Desk::open(&pg.url()).ready();
    assert_eq!(desk.write(vec![message(1, 1)], vec![create(1)]), BatchOutcome::Committed);
    on_insert(&pg, "PERFORM pg_sleep(2.5)");
    assert_eq!(desk.write(vec![message(1, 2)], vec![]), BatchOutcome::Committed);
    assert!(desk.store.metrics().retries >= 1, "it passed the deadline");
    assert_eq!(read_seqs(&desk, 1), [1, 2]);
}

#[test]
fn exhausted_connections_are_waited_for_also_as_an_ordinary_role() {
    let pg = TestPg::start();
    pg.sql("CREATE ROLE app LOGIN; ALTER DATABASE veza OWNER TO app");
    let mut desk = Desk::open(&pg.url().replace("veza@", "app@")).ready();
    assert_eq!(desk.write(vec![message(1, 1)], vec![create(1)]), BatchOutcome::Committed);
    pg.sql("ALTER ROLE app CONNECTION LIMIT 0");
    pg.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'");
    desk.submit(0, vec![message(1, 2)], vec![]);
    desk.wait_up(false);
    let refused = |desk: &Desk| desk.store.health().last_error.is_some_and(|error| error.contains("53300"));
    let deadline = Instant::now() + PATIENCE;
    while !refused(&desk) {
        assert!(Instant::now() < deadline, "{:?}", desk.store.health());
    }
    pg.sql("ALTER ROLE app CONNECTION LIMIT -1");
    assert_eq!(desk.outcome().1, BatchOutcome::Committed);
    desk.wait_up(true);
    assert_eq!(read_seqs(&desk, 1), [1, 2]);
}

#[test]
fn a_batch_sent_again_is_known_to_be_committed() {
    let pg = TestPg::start();
    let mut desk = Desk::open(&pg.url()).ready();
    let events = vec![message(1, 1), message(1, 2)];
    assert_eq!(desk.write(events.clone(), vec![create(1)]), BatchOutcome::Committed);
    for (events, writes) in [(events.clone(), vec![create(1)]), (events, vec![]), (vec![], vec![create(1)])] {
        desk.numbers[0] -= 1;
        assert_eq!(desk.write(events, writes), BatchOutcome::Committed);
    }
    assert_eq!(read_seqs(&desk, 1), [1, 2]);
}

#[test]
fn nothing_of_a_former_server_comes_after_the_next_has_begun() {
    let pg = TestPg::start();
    let mut first = Desk::open(&pg.url()).ready();
    assert_eq!(first.write(vec![message(1, 1)], vec![create(1)]), BatchOutcome::Committed);
    let old = first.epoch;
    // Two transactions of the former server: one on a connection that the next may end, one that it cannot know.
    let left_over = Stranger::connect(&pg.url(), &format!("veza-{old}"));
    left_over.run(&format!("BEGIN; SELECT veza_fence({old}, 3, 99); {}", ghost_row(3))).unwrap();
    let unknown = Stranger::connect(&pg.url(), "pooler");
    // It has the row of its lane, which is all that a batch among others asks for.
    assert_eq!(unknown.run(&format!("INSERT INTO writer_lanes VALUES ({old}, 4, 98)")), Ok(()));
    let gate = |number: u32| gate(old, 4, number);
    unknown.run(&format!("BEGIN; {}; {}", gate(99), ghost_row(2))).unwrap();
    first.close();

    let second = Desk::open(&pg.url());
    // The next one ends what it knows, and waits for the other.
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ~ 'veza_begin'";
    let deadline = Instant::now() + PATIENCE;
    while pg.sql(waiting) != "1" {
        assert!(Instant::now() < deadline, "nobody waits for the transaction");
    }
    assert!(!second.store.up());
    assert_eq!(left_over.run("COMMIT"), Err("connection lost".to_owned()));
    unknown.run("COMMIT").unwrap();
    let second = second.ready();
    assert_eq!(read_seqs(&second, 1), [1, 2]);
    // Too late.
    let late = Stranger::connect(&pg.url(), "pooler");
    assert_eq!(late.run(&format!("SELECT veza_fence({old}, 4, 100)")), Err("VZ002".to_owned()));
    assert_eq!(late.run(&gate(101)), Err("VZ004".to_owned()));
}

#[test]
fn a_lock_that_another_server_took_ends_the_process() {
    let pg = TestPg::start();
    let mut desk = Desk::open(&pg.url()).ready();
    assert_eq!(desk.write(vec![message(1, 1)], vec![create(1)]), BatchOutcome::Committed);
    let rival = Stranger::connect(&pg.url(), "veza-7");
    // Waits in line for the lock, and is next when its holder is gone.
    let take = "SELECT pg_advisory_lock(8513412, 1); SELECT veza_begin(7)";
    let holder = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND classid = 8513412 AND objid = 1 AND granted";
    let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = 8513412 AND NOT granted";
    std::thread::scope(|scope| {
        let taken = scope.spawn(|| rival.run(take));
        let deadline = Instant::now() + PATIENCE;
        while pg.sql(waiting) != "1" {
            assert!(Instant::now() < deadline, "nobody waits for the lock");
        }
        pg.sql(holder);
        assert_eq!(taken.join().unwrap(), Ok(()));
    });
    // Whoever notices first: the keeper, or the fence.
    desk.submit(0, vec![message(1, 2)], vec![]);
    let StoreError::Locked(text) = desk.fatal() else { panic!("another error") };
    assert!(text.contains("veza-7") || text.contains("server 7"), "{text}");
    assert_eq!(pg.sql("SELECT max(seq) FROM events"), "1");
}

#[test]
fn a_copied_database_shows_other_epochs_and_the_same_one_does_not() {
    let pg = TestPg::start();
    let epoch = |desk: &Desk| match desk.load(Load::Room { room_id: RoomId(1), tail: 0, members: vec![] }) {
        Ok(Loaded::Room(Some(state))) => state.meta.epoch,
        other => panic!("{other:?}"),
    };
    let mut desk = Desk::open(&pg.url()).ready();
    assert_eq!(desk.write(vec![], vec![create(1)]), BatchOutcome::Committed);
    assert_eq!(epoch(&desk), room(1).epoch);
    desk.close();
    let desk = Desk::open(&pg.url()).ready();
    assert_eq!(epoch(&desk), room(1).epoch);
    desk.close();
    let deadline = Instant::now() + PATIENCE;
    // A database with connections cannot be copied, and those of a closed store take a moment to be gone.
    while pg.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name ~ '^veza-'") != "0" {
        assert!(Instant::now() < deadline, "connections stay");
    }
    let url = pg.create_database("other");
    pg.sql_in("postgres", "DROP DATABASE other");
    pg.sql_in("postgres", "CREATE DATABASE other TEMPLATE veza");
    assert_ne!(epoch(&Desk::open(&url).ready()), room(1).epoch);
}
