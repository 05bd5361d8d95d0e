use veza_loadtest::pg::TestPg;

use super::*;

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
