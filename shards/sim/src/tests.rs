//! The simulator's own tests: fixed seeds hold (fresh ones: `make fuzz`), runs repeat, every verb is driven, and planted faults are found.

use std::collections::BTreeSet;

use crate::{Plant, run};

const SEEDS: u64 = 400;
const STEPS: u64 = 2000;

/// Runs so many seeds; what was seen in them.
fn all_hold(first: u64, count: u64) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    for seed in first..first + count {
        let report = run(seed, STEPS, None);
        assert_eq!(report.violation, None, "veza-sim --seed {seed} --steps {STEPS}");
        assert!(report.frames > 0, "seed {seed} did nothing");
        seen.extend(report.seen.into_keys());
    }
    seen
}

#[test]
fn guarantees_hold_on_fixed_seeds_and_every_verb_is_driven() {
    let seen = all_hold(1, SEEDS / 2);
    let missing: Vec<&str> = DRIVEN.split_whitespace().filter(|name| !seen.contains(*name)).collect();
    assert!(missing.is_empty(), "never came: {missing:?}");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 1..=5 {
        assert_eq!(run(seed, STEPS, None), run(seed, STEPS, None));
    }
    assert_ne!(run(1, STEPS, None).hash, run(2, STEPS, None).hash);
}

/// What must have been answered, pushed or refused at least once for the runs to be worth anything.
const DRIVEN: &str = "
    message_sent message_edited message_deleted message room_history thread edits reactions reaction_added
    reaction_removed message_pinned message_unpinned pinned_messages mentions search_results notification
    room_created room_joined room_left room_updated room_deleted room_stats member_list member_invited member_kicked
    member_role_changed role_created role_updated role_deleted role_list user_sanctioned sanction_lifted sanction_list
    sanction subscribed unsubscribed resumed read_marked unread read room room_list void
    draining logged_out session_revoked token_refreshed dm_created dm_list user_blocked user_unblocked block_list status_updated presence typing ok
    member_joined member_left online_count session_list user
    SANCTIONED CONVERSATION_BLOCKED PERMISSION_DENIED NOT_A_MEMBER ROOM_NOT_FOUND MESSAGE_NOT_FOUND USER_NOT_FOUND
    CONFLICT ROOM_FULL ROOM_ARCHIVED RATE_LIMIT_EXCEEDED OVERLOADED STORE_UNAVAILABLE INTERNAL DRAINING";

#[test]
fn planted_faults_are_found() {
    for plant in Plant::ALL {
        let found = (1..=SEEDS).find_map(|seed| run(seed, STEPS, Some(plant)).violation.map(|what| (seed, what)));
        let (seed, what) = found.unwrap_or_else(|| panic!("{plant:?} was not found in {SEEDS} seeds"));
        println!("{plant:?}: seed {seed}: {}", what.chars().take(120).collect::<String>());
    }
}
