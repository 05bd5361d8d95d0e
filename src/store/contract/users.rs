//! Who a token speaks for, and blocks of ids.

use std::collections::HashSet;

use super::*;

pub(in crate::store) fn a_pair_is_one_user_with_a_name_of_its_own(place: &dyn Place) {
    let desk = Desk::open(place);
    // (iss, sub, claim) and who that is, by what name.
    for (iss, sub, claim, user, name) in [
        ("", "a", Some("Anna"), 1, "Anna"),
        ("", "a", None, 1, "Anna"),
        ("x", "a", Some("Anna"), 2, "user2"),
        ("x", "a", Some("aNNa"), 2, "user2"),
        ("", "b", None, 3, "user3"),
        ("", "c", Some("no spaces"), 4, "user4"),
        ("", "c", Some("ab"), 4, "user4"),
        ("", "d", Some("user6"), 5, "user6"),
        // A free claim renames, back and forth; also in case only.
        ("", "b", Some("berta"), 3, "berta"),
        ("", "b", Some("Berta"), 3, "Berta"),
        ("", "a", Some("Emma"), 1, "Emma"),
        ("x", "a", Some("Anna"), 2, "Anna"),
        ("", "a", Some("anna"), 1, "Emma"),
        ("", "a", Some("ümlaut"), 1, "Emma"),
        ("", "'); DROP TABLE users; --", None, 6, "user6.1"),
        ("ü", "❤️", Some("zoe"), 7, "zoe"),
    ] {
        let found = desk.identify(iss, sub, claim).expect("a user");
        assert_eq!((found.user_id.0, &*found.username), (user, name), "{iss} {sub} {claim:?}");
        assert_eq!(&*found.role, "user");
        assert_eq!(desk.load(Load::User { user_id: found.user_id }), Loaded::User(Some(found)));
    }
    assert_eq!(desk.load(Load::User { user_id: UserId(99) }), Loaded::User(None));
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
