//! Who a token speaks for, and blocks of ids.

use std::collections::HashSet;

use super::*;

pub(in crate::store) fn a_pair_is_one_user_with_a_name_of_its_own(place: &dyn Place) {
    let desk = Desk::open(place);
    let mut users: Vec<(&str, &str, UserId)> = Vec::new();
    // (iss, sub, claim) and the name that comes of it; None: `user<id>`.
    for (iss, sub, claim, name) in [
        ("", "a", Some("Anna"), Some("Anna")),
        ("", "a", None, Some("Anna")),
        ("x", "a", Some("Anna"), None),
        ("x", "a", Some("aNNa"), None),
        ("", "b", None, None),
        ("", "c", Some("no spaces"), None),
        ("", "c", Some("ab"), None),
        // A free claim renames, back and forth; also in case only.
        ("", "b", Some("berta"), Some("berta")),
        ("", "b", Some("Berta"), Some("Berta")),
        ("", "a", Some("Emma"), Some("Emma")),
        ("x", "a", Some("Anna"), Some("Anna")),
        ("", "a", Some("anna"), Some("Emma")),
        ("", "a", Some("\u{fc}mlaut"), Some("Emma")),
        ("", "'); DROP TABLE users; --", None, None),
        ("\u{fc}", "\u{2764}", Some("zoe"), Some("zoe")),
    ] {
        let found = desk.identify(iss, sub, claim).expect("a user");
        let expected = name.map_or_else(|| format!("user{}", found.user_id.0), Into::into);
        assert_eq!((&*found.username, &*found.role), (&*expected, "user"), "{iss} {sub} {claim:?}");
        match users.iter().find(|(i, s, _)| (*i, *s) == (iss, sub)) {
            Some((.., known)) => assert_eq!(*known, found.user_id),
            None => {
                assert!(users.iter().all(|(.., other)| *other != found.user_id), "{iss} {sub}");
                users.push((iss, sub, found.user_id));
            }
        }
        assert_eq!(desk.load(Load::User { user_id: found.user_id }), Loaded::User(Some(found)));
    }
    // Somebody has the names of users to come.
    let next = users.iter().map(|(.., user)| user.0).max().unwrap_or(0) + 1;
    for ahead in next..next + 20 {
        let claim = format!("user{}", ahead + 20);
        desk.identify("ahead", &ahead.to_string(), Some(&claim)).expect("a user");
    }
    for late in 0..20 {
        let user = desk.identify("late", &late.to_string(), None).expect("a user");
        assert!(user.username.starts_with(&format!("user{}", user.user_id.0)), "{}", user.username);
    }
    assert_eq!(desk.load(Load::User { user_id: UserId(9999) }), Loaded::User(None));
}

pub(in crate::store) fn a_storm_of_identities_makes_each_user_once(place: &dyn Place) {
    const USERS: u64 = 700;
    let desk = Desk::open(place);
    let mut users = HashMap::new();
    for round in 0..2 {
        // Each asked for twice, all at once.
        for id in 0..2 * USERS {
            let identity = identity("storm", &(id % USERS).to_string(), Some(&format!("storm{}", id % USERS)));
            desk.store.load(ShardId(0), id, Load::Identify { identity });
        }
        for _ in 0..2 * USERS {
            let (id, result) = desk.loaded.recv_timeout(PATIENCE).expect("an answer");
            let Ok(Loaded::User(Some(user))) = result else { panic!("{result:?}") };
            assert_eq!(*user.username, format!("storm{}", id % USERS));
            let known = *users.entry(id % USERS).or_insert(user.user_id);
            assert_eq!(known, user.user_id, "round {round}");
        }
    }
    let different: HashSet<_> = users.values().collect();
    assert_eq!(different.len() as u64, USERS);
}

pub(in crate::store) fn strangers_stay_strangers_without_auto_provision(place: &dyn Place) {
    let desk = Desk::open(place);
    desk.users(1);
    desk.close();
    let desk = Desk::open_with(place, |config| config.auto_provision = false);
    assert_eq!(desk.identify("iss", "unknown", Some("new")), None);
    assert_eq!(desk.identify("iss", "s1", None).map(|user| user.user_id), Some(UserId(1)));
    let renamed = desk.identify("iss", "s1", Some("renamed")).expect("a user");
    assert_eq!((renamed.user_id, &*renamed.username), (UserId(1), "renamed"));
}

pub(in crate::store) fn blocks_of_room_ids_never_overlap(place: &dyn Place) {
    let mut taken = HashSet::new();
    for _ in 0..3 {
        let desk = Desk::open(place);
        let counts = [1_u32, 100, 7, 1];
        // All are asked for before the first is answered.
        for (id, count) in counts.iter().enumerate() {
            desk.store.load(ShardId(0), id as u64, Load::ReserveRooms { count: *count });
        }
        for _ in counts {
            let (id, result) = desk.loaded.recv_timeout(PATIENCE).expect("an answer");
            let Ok(Loaded::Reserved(first)) = result else { panic!("{result:?}") };
            for id in first..first + u64::from(counts[id as usize]) {
                assert!(id > 0 && taken.insert(id), "{id} was given before");
            }
        }
        desk.close();
    }
}
