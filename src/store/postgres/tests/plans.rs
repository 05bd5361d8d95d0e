//! No query of ours reads a table from end to end, on a database that is large enough for that to be slow.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use tokio::runtime::Builder;
use veza_engine::store::{RoleRow, SanctionRow};
use veza_engine::wire::{Permissions, RoomFilter, SanctionKind, SearchMessages, Status};
use veza_loadtest::pg::TestPg;

use super::super::connect::PLANS_FREE;
use super::*;
use crate::store::AuthRequest;

/// Room 1 is large, and user 1 is in it and in 200 others; there are conversations, mentions, reactions of each kind.
const SEED: &str = "
    INSERT INTO users (user_id, iss, sub, username, skeleton, created_at)
        SELECT i, 'x', i, 'User' || i, 'user' || i, i FROM generate_series(1, 20000) i;
    INSERT INTO rooms (room_id, epoch, created_at, creator_id, owner_id, member_count, max_members, slow_mode_s, retention_days, kind,
            visibility, archived, name, name_folded, deleted_at)
        SELECT i, i, i, i, i, 3, 100, 0, CASE WHEN i % 50 = 0 THEN 1 ELSE 0 END, CASE WHEN i % 10 = 0 THEN 1 ELSE 0 END, i % 2, false,
            'Room ' || i, 'room ' || i, CASE WHEN i % 1000 = 999 THEN 5 END FROM generate_series(1, 20000) i;
    INSERT INTO dm_pairs SELECT i, i + 1, i * 10 FROM generate_series(1, 2000) i;
    INSERT INTO members SELECT 1, i, 1, 0, 0, CASE WHEN i % 1000 = 0 THEN 'moderator' ELSE 'member' END FROM generate_series(1, 10000) i;
    INSERT INTO members SELECT r, u, 1, 0, 0, 'member' FROM generate_series(2, 20000) r, generate_series(20001 - r / 2, 20001 - r / 2) u;
    INSERT INTO members SELECT r * 10, 1, 1, 0, 0, 'member' FROM generate_series(1, 200) r;
    INSERT INTO events (room_id, seq, at, message_no, author_id, parent_id, kind, client_id,
            client_hash, content, deleted_at, held_since, pinned_seq)
        SELECT 1, i, i * 10, i, i % 1000 + 1, CASE WHEN i % 10 = 0 THEN i / 1000 * 1000 + 1 END, CASE WHEN i % 100 = 0 THEN 3 ELSE 1 END,
            'c' || i, i, 'word' || i % 1000 || ' common text',
            CASE WHEN i % 50 = 7 THEN i END, CASE WHEN i % 50 = 7 THEN i END, CASE WHEN i % 1000 = 5 THEN i END FROM generate_series(1, 50000) i;
    INSERT INTO events (room_id, seq, at, message_no, author_id, kind, content)
        SELECT r, s, s, s, r, 1, 'other words' FROM generate_series(2, 10000) r, generate_series(1, 3) s;
    INSERT INTO reactions SELECT 1 + m % 5000, m, u, 'x' FROM generate_series(1, 10000) m, generate_series(1, 4) u;
    INSERT INTO reaction_counts SELECT 1 + m % 5000, m, m, 4, 'x' FROM generate_series(1, 10000) m;
    INSERT INTO mentions SELECT r, s, r, s FROM generate_series(2, 10000) r, generate_series(1, 2) s;
    INSERT INTO mentions SELECT r * 10, 3, u, 3 FROM generate_series(1, 500) r, generate_series(0, 1) u;
    INSERT INTO invitations SELECT i, i % 500, 1, 1 FROM generate_series(2, 10000) i;
    INSERT INTO room_roles SELECT i, 1, 'helper' FROM generate_series(1, 10000) i;
    INSERT INTO sanctions SELECT i, i % 1000, i % 3000, 1, i, NULL, NULL, NULL, 2, 'why' FROM generate_series(1, 10000) i;
    INSERT INTO blocks SELECT i, i % 77, 1 FROM generate_series(1, 10000) i;
    INSERT INTO user_presence SELECT i, 1, 0, NULL FROM generate_series(1, 10000) i;
    INSERT INTO search SELECT room_id, seq, author_id, at,
            to_tsvector('simple', content) || array_to_tsvector(ARRAY[chr(1) || 'r' || room_id, chr(1) || 'u' || author_id])
        FROM events WHERE kind = 1;
    INSERT INTO search_position SELECT room_id, max(seq) FROM events GROUP BY room_id;
    INSERT INTO sessions SELECT 's' || i, i, 1, 1, 4102444800 FROM generate_series(1, 10000) i;
    INSERT INTO refresh_tokens SELECT sha256(i::text::bytea), 's' || i, NULL, 4102444800 FROM generate_series(1, 10000) i;
    INSERT INTO revocations SELECT 'r' || i, i, 4102444800 FROM generate_series(1, 10000) i;
    INSERT INTO user_revocations SELECT i, 1 FROM generate_series(1, 10000) i;
    ANALYZE;";

/// Read whole, because they hold a row or a few, or because all of it is asked for.
const SMALL: [&str; 7] = [
    "current_epoch",
    "id_blocks",
    "meta",
    "writer_lanes",
    "refinery_schema_history",
    "revocations",
    "user_revocations",
];

fn search(query: &str, room: Option<u64>, author: Option<u64>) -> Load {
    let search = SearchMessages {
        query: query.into(),
        room_id: room.map(RoomId),
        author_id: author.map(UserId),
        from: None,
        to: None,
        limit: 50,
        cursor: None,
    };
    Load::Search { reader: UserId(1), search: Box::new(search) }
}

fn room_loads() -> Vec<Load> {
    let (room_id, message_id, reader, limit) = (RoomId(1), Seq(1001), UserId(1), 50);
    vec![
        Load::Room { room_id, tail: 100, members: vec![UserId(1), UserId(2)] },
        Load::Room { room_id: RoomId(10), tail: 100, members: vec![UserId(1)] },
        Load::Members { room_id, user_ids: (1..50).map(UserId).collect() },
        Load::Events { room_id, after: Seq(20_000), limit: 200 },
        Load::HistoryBefore { room_id, before: None, limit, reader },
        Load::HistoryBefore { room_id, before: Some(Seq(3000)), limit, reader },
        Load::HistoryAfter { room_id, after: Seq(3000), limit, reader },
        Load::Message { room_id, message_id, reader },
        Load::Edits { room_id, message_id },
        Load::Thread { room_id, parent_id: message_id, after: Seq(0), limit, reader },
        Load::Pinned { room_id, reader },
        Load::Reactions { room_id, message_id },
        search("common wo", Some(1), None),
        search("word77", Some(1), Some(78)),
        search("word77 common", None, None),
        Load::Names { room_id, names: vec!["user7".into(), "nobody".into()] },
        Load::RoomStats { room_id, now: WallMs(500_000) },
        Load::MemberPage { room_id, role: None, among: None, limit, cursor: None },
        Load::MemberPage { room_id, role: Some("moderator".into()), among: None, limit, cursor: None },
        Load::MemberPage { room_id, role: None, among: Some((1..9).map(UserId).collect()), limit, cursor: None },
        Load::ClientEvent { room_id, user_id: UserId(8), client_id: "c7".into() },
    ]
}

fn user_loads() -> Vec<Load> {
    let (user_id, reader, limit, now) = (UserId(1), UserId(1), 50, WallMs(9));
    let rooms = |filter| Load::RoomPage { filter, user_id, query: Some("room 1".into()), limit, cursor: None };
    let sanctions = |room: Option<u64>, user: Option<u64>| Load::Sanctions {
        room_id: room.map(RoomId),
        user_id: user.map(UserId),
        active: Some(true),
        now,
        limit,
        cursor: None,
    };
    vec![
        Load::Mentions { reader, limit, cursor: None },
        Load::Profile { user_id },
        Load::Blocks { user_id },
        Load::Sanction { sanction_id: 7 },
        sanctions(Some(7), None),
        sanctions(None, Some(7)),
        sanctions(Some(7), Some(7)),
        sanctions(None, None),
        rooms(RoomFilter::Public),
        rooms(RoomFilter::Joined),
        rooms(RoomFilter::Invited),
        Load::Unread { user_id },
        Load::DmPage { user_id, limit, cursor: None },
        Load::Creation {
            user_id,
            client_id: Some("x".into()),
            pair: Some((UserId(1), UserId(2))),
            users: vec![UserId(2), UserId(3)],
        },
        Load::User { user_id },
        Load::UserPage { query: Some("user1".into()), limit, cursor: None },
        Load::Sessions { user_id },
        Load::ReserveRooms { count: 10 },
        Load::Identify { identity: crate::store::contract::identity("x", "7", Some("Other")) },
        Load::Identify { identity: crate::store::contract::identity("x", "new", Some("Newcomer")) },
    ]
}

fn writes() -> Vec<Write> {
    let (room_id, message_id, user_id, at) = (RoomId(1), Seq(1003), UserId(1), WallMs(9));
    let member = veza_engine::store::MemberRow {
        user_id,
        role: "member".into(),
        joined_at: at,
        last_read_seq: Seq(9),
        last_read_no: 9,
    };
    let row = SanctionRow {
        sanction_id: 50_000,
        room_id,
        user_id,
        kind: SanctionKind::Mute,
        reason: "why".into(),
        actor_id: user_id,
        at,
        expires_at: None,
        lifted: None,
    };
    let reaction = |present, count| Write::Reaction {
        room_id,
        message_id,
        user_id,
        emoji: "y".into(),
        present,
        count,
        seq: Seq(50_001),
    };
    vec![
        create(30_000),
        Write::PutMember { room_id, member },
        Write::DropMember { room_id, user_id: UserId(2) },
        Write::MemberCount { room_id, count: 7 },
        Write::ReadPosition { room_id, user_id: UserId(3), seq: Seq(9), message_no: 9 },
        Write::ReadCheckpoint { room_id, seq: Seq(50) },
        Write::RevokeSession { session_id: "s9".into(), user_id, expires_at: 5 },
        Write::RevokeUser { user_id: UserId(8), before: 7 },
        Write::Edited { room_id, message_id, content: "new".into(), mentions: [user_id].into(), count: 1, at },
        Write::Deleted { room_id, message_id: Seq(2001), at },
        Write::Pinned { room_id, message_id, pinned: Some(Seq(9)) },
        Write::ThreadCount { room_id, message_id, count: 3 },
        reaction(true, 1),
        Write::Mentions { room_id, message_id, at, users: [user_id].into(), everyone: true },
        Write::UpdateRoom { meta: room(2) },
        Write::DeleteRoom { room_id: RoomId(3), at },
        Write::Invite { room_id, user_id, inviter_id: user_id, at },
        Write::DropInvite { room_id, user_id: UserId(9) },
        Write::PutRole { room_id, role: RoleRow { name: "x".into(), permissions: Permissions::NONE } },
        Write::DropRole { room_id, name: "helper".into() },
        Write::Sanction { row },
        Write::Status { user_id, status: Status::Away, message: None },
        Write::LastSeen { user_id, at },
        Write::Block { user_id, blocked_id: UserId(9), at },
        Write::Unblock { user_id: UserId(2), blocked_id: UserId(2) },
    ]
}

fn auth_requests() -> Vec<AuthRequest> {
    let (user_id, now) = (UserId(1), WallMs(9));
    vec![
        AuthRequest::FindLogin { username: "user9".into() },
        AuthRequest::StartSession {
            user_id,
            session_id: "n".into(),
            refresh_hash: [1; 32],
            now,
            expires_at: 4_102_444_800,
        },
        AuthRequest::Rotate {
            refresh_hash: [1; 32],
            new_hash: [2; 32],
            now,
            expires_at: 4_102_444_800,
            revoke_until: 4_102_444_800,
        },
    ]
}

/// The statements in the log whose plans read a table from end to end, each with one of these plans.
fn sequential(log: &str) -> BTreeMap<&str, &str> {
    let plans = log.split("Query Text: ").skip(1);
    let bad = plans.filter(|plan| {
        plan.split("Seq Scan on ").skip(1).any(|rest| {
            let table = rest.split([' ', '\n']).next().unwrap_or_default();
            !SMALL.contains(&table) && !table.starts_with("pg_")
        })
    });
    bad.map(|plan| plan.split_once('\n').unwrap_or((plan, ""))).collect()
}

#[test]
fn nothing_is_read_from_end_to_end() {
    let pg = TestPg::start_with(&[
        "session_preload_libraries=auto_explain",
        "auto_explain.log_min_duration=0",
        "auto_explain.log_nested_statements=on",
        "auto_explain.log_level=warning",
        "autovacuum=off",
    ]);
    Desk::open(&pg.url()).ready().close();
    pg.sql(SEED);
    // From here on the planner is free to choose what it holds for the cheapest.
    PLANS_FREE.store(true, Ordering::SeqCst);
    let seeded = pg.log().len();
    let mut desk = Desk::open_with(&pg.url(), |config| {
        config.upkeep_every = Duration::MAX;
        config.deleted_grace = Duration::ZERO;
    })
    .ready();
    for load in room_loads().into_iter().chain(user_loads()) {
        let answer = desk.load(load.clone());
        assert!(answer.is_ok(), "{load:?}: {answer:?}");
    }
    let mut mentioning = message(1, 50_001);
    mentioning.mentions = [UserId(1)].into();
    assert_eq!(desk.write(vec![mentioning], writes()), BatchOutcome::Committed);
    assert_eq!(desk.write(vec![message(1, 50_002), message(2, 4)], vec![]), BatchOutcome::Committed);
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    for request in auth_requests() {
        assert!(runtime.block_on(desk.store.auth(request)).is_ok());
    }
    // So that room 50, 100, … lose their first events, deleted rooms go, and deleted content is erased.
    runtime.block_on(desk.store.upkeep_now(WallMs(86_400_000 * 2))).expect("upkeep");
    desk.close();
    PLANS_FREE.store(false, Ordering::SeqCst);
    let log = pg.log();
    let log = &log[seeded..];
    for statement in ["INSERT INTO events", "ts_rank", "DELETE FROM search", "unnest", "reaction_counts c WHERE"] {
        assert!(log.contains(statement), "the log does not show what is looked at: {statement}");
    }
    let bad = sequential(log);
    assert!(bad.is_empty(), "{bad:#?}");
}
