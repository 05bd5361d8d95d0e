//! The server's own users, their sessions, and what is revoked.

use veza_engine::store::Revocation;

use super::*;

/// 2100-01-01: nothing that ends then has ended while the tests run.
const LATE: i64 = 4_102_444_800;
/// Before [`LATE`].
const NOW: WallMs = WallMs(1_700_000_000_000);

fn register(desk: &Desk, username: &str) -> Result<UserRow, AuthError> {
    let request = AuthRequest::Register {
        username: username.into(),
        password_hash: format!("hash of {username}").into(),
        email: Some("a@b.example".into()),
        now: NOW,
    };
    match desk.auth(request)? {
        AuthAnswer::User(user) => Ok(user),
        other => panic!("{other:?}"),
    }
}

fn start(desk: &Desk, user_id: UserId, session: &str, token: u8, expires_at: i64) {
    let request = AuthRequest::StartSession {
        user_id,
        session_id: session.into(),
        refresh_hash: [token; 32],
        now: WallMs(NOW.0 + i64::from(token)),
        expires_at,
    };
    assert_eq!(desk.auth(request), Ok(AuthAnswer::Done));
}

fn rotate(desk: &Desk, from: u8, to: u8) -> AuthAnswer {
    let request = AuthRequest::Rotate {
        refresh_hash: [from; 32],
        new_hash: [to; 32],
        now: NOW,
        expires_at: LATE + 1,
        revoke_until: LATE + 2,
    };
    desk.auth(request).expect("an answer")
}

fn sessions(desk: &Desk, user_id: UserId) -> Vec<String> {
    match desk.load(Load::Sessions { user_id }) {
        Loaded::Sessions(rows) => rows.iter().map(|row| row.session_id.to_string()).collect(),
        other => panic!("{other:?}"),
    }
}

fn revocations(desk: &Desk, now: i64) -> Vec<Revocation> {
    match desk.auth(AuthRequest::Revocations { now: WallMs(now * 1000) }) {
        Ok(AuthAnswer::Revocations(all)) => all,
        other => panic!("{other:?}"),
    }
}

pub(in crate::store) fn own_users_register_once_whatever_the_case(place: &dyn Place) {
    let desk = Desk::open(place);
    desk.users(1);
    let anna = register(&desk, "Anna").expect("free");
    assert_eq!((&*anna.username, &*anna.role, anna.created_at), ("Anna", "user", NOW));
    for taken in ["Anna", "anna", "ANNA", "Nam1"] {
        assert_eq!(register(&desk, taken), Err(AuthError::UsernameTaken), "{taken}");
    }
    let login = |username: &str| match desk.auth(AuthRequest::FindLogin { username: username.into() }) {
        Ok(AuthAnswer::Login(found)) => found,
        other => panic!("{other:?}"),
    };
    assert_eq!(login("aNNa"), Some((anna.clone(), "hash of Anna".into())));
    assert_eq!(login("nobody"), None);
    assert_eq!(login("nam1"), None, "a user of another issuer has no password here");
    let found = desk.identify("veza", &anna.user_id.0.to_string(), None);
    assert_eq!(found, Some(anna), "its tokens name it by its id");
}

pub(in crate::store) fn refresh_tokens_rotate_and_a_reused_one_ends_the_session(place: &dyn Place) {
    let desk = Desk::open(place);
    let user = register(&desk, "Anna").expect("free");
    start(&desk, user.user_id, "s1", 1, LATE);
    start(&desk, user.user_id, "s2", 50, LATE);
    for (from, to) in [(1, 2), (2, 3), (50, 51)] {
        let session_id = if from == 50 { "s2" } else { "s1" }.into();
        assert_eq!(rotate(&desk, from, to), AuthAnswer::Rotated { user: user.clone(), session_id });
    }
    assert_eq!(rotate(&desk, 99, 98), AuthAnswer::Unknown);
    assert_eq!(sessions(&desk, user.user_id), ["s2", "s1"], "newest first");
    assert_eq!(rotate(&desk, 1, 4), AuthAnswer::Reused { user_id: user.user_id, session_id: "s1".into() });
    assert_eq!(sessions(&desk, user.user_id), ["s2"]);
    for gone in [1, 2, 3, 4] {
        assert_eq!(rotate(&desk, gone, 60 + gone), AuthAnswer::Unknown, "no token of the session is good");
    }
    assert_eq!(revocations(&desk, 1), [Revocation::Session { session_id: "s1".into(), expires_at: LATE + 2 }]);
    let rotated = rotate(&desk, 51, 52);
    assert_eq!(rotated, AuthAnswer::Rotated { user, session_id: "s2".into() }, "the other session goes on");
}

pub(in crate::store) fn sessions_end_by_revocation_and_in_time(place: &dyn Place) {
    let mut desk = Desk::open(place);
    let (anna, bert) = (register(&desk, "Anna").expect("free"), register(&desk, "Bert").expect("free"));
    for (user, session, token, expires_at) in [
        (&anna, "a1", 1, LATE),
        (&anna, "a2", 2, LATE),
        (&anna, "ended", 3, NOW.secs()),
        (&bert, "b1", 4, LATE),
        (&bert, "b2", 5, LATE),
    ] {
        start(&desk, user.user_id, session, token, expires_at);
    }
    assert_eq!(sessions(&desk, anna.user_id), ["a2", "a1"]);
    assert_eq!(rotate(&desk, 3, 30), AuthAnswer::Unknown, "it has ended");
    let revoke = |session: &str, user: &UserRow, expires_at| Write::RevokeSession {
        session_id: session.into(),
        user_id: user.user_id,
        expires_at,
    };
    // Twice is as once; a foreign session needs no row; nobody ends the session of somebody else.
    desk.commit(vec![], vec![revoke("a1", &anna, 2000), revoke("a1", &anna, 1900), revoke("foreign", &anna, 3000)]);
    desk.commit(vec![], vec![revoke("b1", &anna, 1500)]);
    assert_eq!(sessions(&desk, anna.user_id), ["a2"]);
    assert_eq!(sessions(&desk, bert.user_id), ["b2", "b1"]);
    assert_eq!(rotate(&desk, 1, 10), AuthAnswer::Unknown);
    let before = |user: &UserRow, before| Write::RevokeUser { user_id: user.user_id, before };
    desk.commit(vec![], vec![before(&bert, 700), before(&bert, 600)]);
    assert_eq!(sessions(&desk, bert.user_id), Vec::<String>::new());
    assert_eq!(rotate(&desk, 4, 40), AuthAnswer::Unknown);
    let session = |session: &str, expires_at| Revocation::Session { session_id: session.into(), expires_at };
    let user = Revocation::User { user_id: bert.user_id, before: 700 };
    for (now, expected) in [
        (100, vec![session("a1", 2000), session("b1", 1500), session("foreign", 3000), user.clone()]),
        (1900, vec![session("a1", 2000), session("foreign", 3000), user.clone()]),
        // A while after the end they are forgotten, not at the end: tokens have some leeway.
        (2001, vec![session("a1", 2000), session("foreign", 3000), user.clone()]),
        (2100, vec![session("foreign", 3000), user.clone()]),
    ] {
        let mut found = revocations(&desk, now);
        found.sort_by_key(|revocation| format!("{revocation:?}"));
        assert_eq!(found, expected, "at {now}");
    }
    desk.close();
    assert_eq!(revocations(&Desk::open(place), 2100).len(), 2, "after a restart");
}
