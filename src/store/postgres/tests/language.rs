//! Search in a language.

use veza_engine::wire::SearchMessages;
use veza_loadtest::pg::TestPg;

use super::*;

fn found(desk: &Desk, query: &str) -> Vec<u64> {
    try_find(desk, query).expect("an answer")
}

fn try_find(desk: &Desk, query: &str) -> Result<Vec<u64>, LoadError> {
    let search = SearchMessages {
        query: query.into(),
        room_id: None,
        author_id: None,
        from: None,
        to: None,
        limit: 9,
        cursor: None,
    };
    match desk.load(Load::Search { reader: UserId(1), search: Box::new(search) })? {
        Loaded::Messages { messages, .. } => Ok(messages.iter().map(|record| record.row.seq.0).collect()),
        other => panic!("{other:?}"),
    }
}

/// Until the first message, and nothing else, is found.
fn wait_for_the_first(desk: &Desk) {
    let deadline = Instant::now() + PATIENCE;
    while try_find(desk, "hello").ok() != Some(vec![1]) {
        assert!(Instant::now() < deadline, "{:?}", desk.store.health());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn what_a_crash_took_from_the_index_is_indexed_again_without_another_event() {
    // Nothing is flushed but by a commit that waits for it, and the index's do not.
    let mut pg = TestPg::start_with(&["wal_writer_delay=10s"]);
    let mut desk = Desk::open(&pg.url()).ready();
    let said = EventRow { content: Some("Hello".into()), ..message(1, 1) };
    assert_eq!(desk.write(vec![said], vec![create(1)]), BatchOutcome::Committed);
    wait_for_the_first(&desk);
    pg.kill9();
    pg.start_again();
    wait_for_the_first(&desk);
    desk.close();
}

#[test]
fn words_are_compared_as_the_language_says_also_after_it_changed() {
    let pg = TestPg::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut seq = 0;
    for (language, cases) in [
        ("english", [("cat", vec![1]), ("run", vec![1]), ("the", vec![]), ("the cats", vec![1])]),
        ("simple", [("cat", vec![2, 1]), ("run", vec![2, 1]), ("the", vec![2, 1]), ("cat running", vec![])]),
        ("english", [("cat", vec![3, 2, 1]), ("runs", vec![3, 2, 1]), ("the", vec![]), ("the cats", vec![3, 2, 1])]),
        // The database has none of that name.
        ("klingon", [("cat", vec![4, 3, 2, 1]), ("runs", vec![]), ("the", vec![4, 3, 2, 1]), ("dog", vec![])]),
    ] {
        let mut desk = Desk::open_with(&pg.url(), |config| config.search_language = language.into()).ready();
        if seq == 0 {
            assert_eq!(desk.write(vec![], vec![create(1)]), BatchOutcome::Committed);
        }
        seq += 1;
        let content = Some("The cats are running.".into());
        let said = EventRow { content, at: WallMs(1_700_000_000_000 + i64::try_from(seq).unwrap()), ..message(1, seq) };
        assert_eq!(desk.write(vec![said], vec![]), BatchOutcome::Committed);
        runtime.block_on(desk.store.upkeep_now(WallMs(0))).expect("indexed");
        for (query, expected) in cases {
            assert_eq!(found(&desk, query), expected, "{query} in {language}");
        }
        desk.close();
    }
}
