//! Who is what in a room, and what users let others see.

use veza_engine::store::{Profile, RoleRow, SanctionRow, Standing};
use veza_engine::wire::{Permission, Permissions, RoomFilter, SanctionKind, Status};

use super::messages::deleted;
use super::pages::walk;
use super::*;

impl Desk {
    /// What room 1 knows of a user.
    #[track_caller]
    fn standing(&self, user: u64) -> Standing {
        let load = Load::Members { room_id: RoomId(1), user_ids: vec![UserId(user)] };
        match self.load(load) {
            Loaded::Members(mut standings) if standings.len() == 1 => standings.remove(0),
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn profile(&self, user: u64) -> Profile {
        match self.load(Load::Profile { user_id: UserId(user) }) {
            Loaded::Profile(profile) => *profile,
            other => panic!("{other:?}"),
        }
    }

    /// The ids of a user's rooms under this filter.
    #[track_caller]
    fn listed(&self, filter: RoomFilter, user: u64) -> Vec<u64> {
        let load = Load::RoomPage { filter, user_id: UserId(user), query: None, limit: 100, cursor: None };
        match self.load(load) {
            Loaded::RoomPage { rooms, .. } => rooms.iter().map(|room| room.meta.room_id.0).collect(),
            other => panic!("{other:?}"),
        }
    }
}

fn sanction(id: u64, room: u64, user: u64, kind: SanctionKind, expires_at: Option<i64>) -> SanctionRow {
    SanctionRow {
        sanction_id: id,
        room_id: RoomId(room),
        user_id: UserId(user),
        kind,
        reason: format!("reason {id}").into(),
        actor_id: UserId(1),
        at: WallMs(1_700_000_000_000 + id as i64),
        expires_at: expires_at.map(WallMs),
        lifted: None,
    }
}

pub(in crate::store) fn a_room_knows_the_standing_of_users(place: &dyn Place) {
    let mut desk = Desk::open(place);
    desk.users(5);
    let (room_id, at) = (RoomId(1), WallMs(5));
    let invite = |user| Write::Invite { room_id, user_id: UserId(user), inviter_id: UserId(1), at };
    // Far in the future, and over.
    let (later, over) = (Some(i64::MAX / 2), Some(1_700_000_100_000));
    use SanctionKind::{Ban, Kick, Mute, Warn};
    let lifted = SanctionRow { lifted: Some((WallMs(7), UserId(1))), ..sanction(6, 1, 2, Ban, None) };
    let rows = [
        sanction(1, 1, 2, Mute, later),
        sanction(2, 1, 2, Ban, None),
        sanction(3, 1, 2, Mute, over),
        sanction(4, 1, 2, Warn, None),
        sanction(5, 1, 2, Kick, None),
        lifted,
        sanction(7, 2, 2, Ban, None),
    ];
    let sanctions = rows.iter().cloned().map(|row| Write::Sanction { row });
    let mut writes = vec![create(1), create(2), put(1, 3, 0), invite(4), invite(4), invite(2)];
    writes.extend(sanctions.clone().chain(sanctions));
    writes.push(Write::DropInvite { room_id, user_id: UserId(2) });
    desk.commit(vec![], writes);
    let load = Load::Members { room_id, user_ids: [4, 99, 2, 3, 4].map(UserId).to_vec() };
    let Loaded::Members(mut found) = desk.load(load) else { panic!("no standings") };
    found.sort_by_key(|standing| standing.user_id);
    let nobody = |user: u64| Standing {
        user_id: UserId(user),
        username: format!("nam{user}").into(),
        member: None,
        invited: false,
        sanctions: vec![],
    };
    let expected = [
        Standing { sanctions: rows[..2].to_vec(), ..nobody(2) },
        Standing { member: Some(member(3, 0)), ..nobody(3) },
        Standing { invited: true, ..nobody(4) },
    ];
    assert_eq!(found, expected);
    let state = desk.room(1, 0);
    assert_eq!(state.standings.iter().map(|standing| standing.user_id.0).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert_eq!(state.standings[1..4], expected);
    // Lifted by putting it anew.
    let row = SanctionRow { lifted: Some((WallMs(8), UserId(3))), ..rows[1].clone() };
    desk.commit(vec![], vec![Write::Sanction { row: row.clone() }]);
    assert_eq!(desk.standing(2).sanctions, rows[..1]);
    for (id, expected) in [(2, Some(row)), (7, Some(rows[6].clone())), (99, None)] {
        assert_eq!(desk.load(Load::Sanction { sanction_id: id }), Loaded::Sanction(expected.map(Box::new)));
    }
}

pub(in crate::store) fn sanctions_come_in_pages_newest_first(place: &dyn Place) {
    let mut desk = Desk::open(place);
    desk.users(4);
    use SanctionKind::{Ban, Mute, Warn};
    let now = 1_700_000_050_000;
    let lift = |row: SanctionRow| SanctionRow { lifted: Some((WallMs(now), UserId(1))), ..row };
    let rows = [
        sanction(1, 1, 2, Mute, Some(now)),
        sanction(2, 1, 3, Ban, None),
        sanction(3, 2, 2, Ban, Some(now + 1)),
        sanction(4, 1, 2, Warn, None),
        lift(sanction(5, 1, 2, Ban, None)),
        SanctionRow { at: WallMs(1), ..sanction(6, 1, 2, Ban, None) },
    ];
    let mut writes = vec![create(1), create(2)];
    writes.extend(rows.iter().cloned().map(|row| Write::Sanction { row }));
    desk.commit(vec![], writes);
    for (room, user, active, expected) in [
        (None, None, None, vec![5, 4, 3, 2, 1, 6]),
        (Some(1), None, None, vec![5, 4, 2, 1, 6]),
        (None, Some(2), None, vec![5, 4, 3, 1, 6]),
        (Some(1), Some(2), None, vec![5, 4, 1, 6]),
        (None, None, Some(true), vec![3, 2, 6]),
        (Some(1), Some(2), Some(true), vec![6]),
        (None, Some(2), Some(false), vec![5, 4, 1]),
        (Some(3), None, None, vec![]),
        (None, Some(1), None, vec![]),
    ] {
        let (found, _) = walk(|cursor| {
            let (room_id, user_id) = (room.map(RoomId), user.map(UserId));
            let load = Load::Sanctions { room_id, user_id, active, now: WallMs(now), limit: 2, cursor };
            let Loaded::Sanctions { sanctions, next } = desk.load(load) else { panic!("no page") };
            for (row, name) in &sanctions {
                assert_eq!((row, &**name), (&rows[row.sanction_id as usize - 1], &*format!("nam{}", row.user_id.0)));
            }
            (sanctions.iter().map(|(row, _)| row.sanction_id).collect(), next)
        });
        assert_eq!(found, expected, "{room:?} {user:?} {active:?}");
    }
}

pub(in crate::store) fn invited_rooms_are_listed_until_the_invitation_is_gone(place: &dyn Place) {
    let mut desk = Desk::open(place);
    desk.users(3);
    let invite = |room, user| Write::Invite {
        room_id: RoomId(room),
        user_id: UserId(user),
        inviter_id: UserId(1),
        at: WallMs(1),
    };
    let drop_invite = |room, user| Write::DropInvite { room_id: RoomId(room), user_id: UserId(user) };
    let mut writes: Vec<_> = (1..=4).map(create).collect();
    writes.extend([invite(3, 2), invite(1, 2), invite(2, 3)]);
    desk.commit(vec![], writes);
    for (writes, expected) in [
        (vec![], vec![1, 3]),
        (vec![invite(4, 2), drop_invite(1, 2), drop_invite(1, 2), drop_invite(2, 2)], vec![3, 4]),
        (vec![Write::DeleteRoom { room_id: RoomId(3), at: WallMs(1) }], vec![4]),
    ] {
        desk.commit(vec![], writes);
        assert_eq!(desk.listed(RoomFilter::Invited, 2), expected);
    }
    assert_eq!((desk.listed(RoomFilter::Invited, 3), desk.listed(RoomFilter::Invited, 1)), (vec![2], vec![]));
}

pub(in crate::store) fn roles_are_kept_and_given_up(place: &dyn Place) {
    let mut desk = Desk::open(place);
    desk.users(4);
    let role = |name: &str, permissions| RoleRow { name: name.into(), permissions };
    let put_role = |role: &RoleRow| Write::PutRole { room_id: RoomId(1), role: role.clone() };
    let (guest, helper) = (role("guest", Permissions::NONE), role("helper", Permissions::of(&[Permission::Pin])));
    let all = role("guest", Permissions::OWNER);
    let as_helper = |user| {
        let member = MemberRow { role: "helper".into(), ..member(user, 0) };
        Write::PutMember { room_id: RoomId(1), member }
    };
    let writes =
        vec![create(1), create(2), put_role(&helper), put_role(&guest), as_helper(2), as_helper(3), put(1, 4, 0)];
    desk.commit(vec![], writes);
    assert_eq!(desk.room(1, 0).roles, [guest, helper.clone()]);
    desk.commit(vec![], vec![put_role(&all), put_role(&all)]);
    assert_eq!(desk.room(1, 0).roles, [all.clone(), helper]);
    let gone = Write::DropRole { room_id: RoomId(1), name: "helper".into() };
    desk.commit(vec![], vec![gone.clone(), gone]);
    let state = desk.room(1, 0);
    assert_eq!((state.roles, desk.room(2, 0).roles), (vec![all], vec![]));
    let roles: Vec<_> = members(&state.standings).into_iter().map(|member| member.role.to_string()).collect();
    assert_eq!(roles, ["owner", "member", "member", "member"]);
}

pub(in crate::store) fn names_are_found_among_the_members(place: &dyn Place) {
    let mut desk = Desk::open(place);
    desk.users(3);
    let mixed = desk.identify("iss", "mixed", Some("MiXed")).expect("a user").user_id.0;
    desk.commit(vec![], vec![create(1), put(1, 2, 0), put(1, mixed, 0)]);
    let asked = ["nam2", "nobody", "mixed", "nam3", "nam1", "", "'\"", "nam2"];
    let load = |room, names: &[&str]| Load::Names {
        room_id: RoomId(room),
        names: names.iter().map(|name| (*name).into()).collect(),
    };
    let Loaded::Names(mut found) = desk.load(load(1, &asked)) else { panic!("no names") };
    found.sort();
    found.dedup();
    let expected = [("mixed", mixed), ("nam1", 1), ("nam2", 2)].map(|(name, user)| (name.into(), UserId(user)));
    assert_eq!(found, expected);
    assert_eq!(desk.load(load(1, &[])), Loaded::Names(vec![]));
    assert_eq!(desk.load(load(2, &asked)), Loaded::Names(vec![]));
}

pub(in crate::store) fn what_users_let_others_see_is_kept(place: &dyn Place) {
    let mut desk = Desk::open(place);
    desk.users(6);
    assert_eq!(desk.profile(1), Profile::default());
    let status =
        |status, message: Option<&str>| Write::Status { user_id: UserId(1), status, message: message.map(Into::into) };
    let seen = |at| Write::LastSeen { user_id: UserId(1), at: WallMs(at) };
    for (writes, expected, message, last_seen) in [
        (vec![status(Status::Busy, Some("in a meeting ❤️"))], Status::Busy, Some("in a meeting ❤️"), None),
        (vec![seen(50), seen(40)], Status::Busy, Some("in a meeting ❤️"), Some(50)),
        (vec![status(Status::Invisible, None), seen(60)], Status::Invisible, None, Some(60)),
        (vec![status(Status::Away, None), seen(60)], Status::Away, None, Some(60)),
        (vec![status(Status::Online, Some(""))], Status::Online, Some(""), Some(60)),
    ] {
        desk.commit(vec![], writes);
        let profile = desk.profile(1);
        let last_seen = last_seen.map(WallMs);
        assert_eq!((profile.status, profile.message.as_deref(), profile.last_seen_at), (expected, message, last_seen));
    }
    let group = Write::CreateDm {
        meta: meta(12, RoomKind::Dm),
        creator_id: UserId(3),
        user_ids: [3, 1, 2].map(UserId).to_vec(),
        pair: None,
        client: None,
    };
    desk.commit(vec![], vec![create_dm(10, 1, 5, None), create_dm(11, 2, 3, None), group, create(13)]);
    let mut contacts = desk.profile(1).contacts;
    contacts.sort();
    let expected = [(10, vec![5]), (12, vec![2, 3])];
    let expected = expected.map(|(room, users)| (RoomId(room), users.into_iter().map(UserId).collect::<Vec<_>>()));
    assert_eq!(contacts, expected);
    assert_eq!(desk.profile(6).contacts, []);
}

pub(in crate::store) fn blocks_are_kept_and_told_to_whom_they_concern(place: &dyn Place) {
    let mut desk = Desk::open(place);
    desk.users(5);
    let block = |user, blocked, at| Write::Block { user_id: UserId(user), blocked_id: UserId(blocked), at: WallMs(at) };
    let unblock = |user, blocked| Write::Unblock { user_id: UserId(user), blocked_id: UserId(blocked) };
    let blocks = |desk: &Desk, user| -> Vec<(u64, Box<str>, i64)> {
        match desk.load(Load::Blocks { user_id: UserId(user) }) {
            Loaded::Blocks(rows) => rows.into_iter().map(|(user, at)| (user.user_id.0, user.username, at.0)).collect(),
            other => panic!("{other:?}"),
        }
    };
    desk.commit(vec![], vec![create_dm(1, 1, 2, None), create_dm(2, 1, 3, None)]);
    let writes =
        vec![block(1, 3, 7), block(1, 2, 8), block(1, 2, 9), block(2, 1, 10), block(4, 1, 11), block(1, 5, 12)];
    desk.commit(vec![], [writes, vec![unblock(1, 5), unblock(1, 5), unblock(3, 1)]].concat());
    assert_eq!(blocks(&desk, 1), [(2, "nam2".into(), 8), (3, "nam3".into(), 7)]);
    assert_eq!(desk.profile(1).blocks, [2, 3].map(UserId));
    assert_eq!(blocks(&desk, 3), []);
    let mut both = desk.room(1, 0).blocks;
    both.sort();
    assert_eq!(both, [(UserId(1), UserId(2)), (UserId(2), UserId(1))]);
    assert_eq!(desk.room(2, 0).blocks, [(UserId(1), UserId(3))]);
    let users: Vec<_> = (2..=5).map(UserId).collect();
    let load = Load::Creation { user_id: UserId(1), client_id: None, pair: None, users };
    let Loaded::Creation { mut blocked_by, .. } = desk.load(load) else { panic!("no answer") };
    blocked_by.sort();
    assert_eq!(blocked_by, [2, 4].map(UserId));
    for (user, expected) in [(1, vec![(1, true), (2, true)]), (2, vec![(1, true)]), (3, vec![(2, false)])] {
        let load = Load::DmPage { user_id: UserId(user), limit: 9, cursor: None };
        let Loaded::DmPage { conversations, .. } = desk.load(load) else { panic!("no page") };
        let mut found: Vec<_> = conversations.iter().map(|row| (row.unread.room_id.0, row.is_blocked)).collect();
        found.sort_unstable();
        assert_eq!(found, expected, "user {user}");
    }
}

pub(in crate::store) fn settings_change_and_what_stays_stays(place: &dyn Place) {
    let mut desk = Desk::open(place);
    desk.users(2);
    let room = Write::CreateRoom { meta: meta(1, RoomKind::Room), creator_id: UserId(1), client: key("room") };
    desk.commit(vec![message(1, 1, 1)], vec![room, put(1, 2, 1), Write::MemberCount { room_id: RoomId(1), count: 2 }]);
    let changed = RoomMeta {
        name: "ÜBER".into(),
        description: None,
        topic: Some("t".into()),
        visibility: Visibility::Private,
        owner_id: Some(UserId(2)),
        max_members: 7,
        slow_mode_s: 0,
        retention_days: 0,
        archived: true,
        ..meta(1, RoomKind::Room)
    };
    let write = Write::UpdateRoom { meta: changed.clone() };
    desk.commit(vec![], vec![write.clone(), write, Write::UpdateRoom { meta: meta(99, RoomKind::Room) }]);
    let state = desk.room(1, 0);
    assert_eq!((state.meta, state.head, state.member_count), (changed, Seq(1), 2));
    assert_eq!((desk.listed(RoomFilter::Public, 2), desk.listed(RoomFilter::Joined, 2)), (vec![], vec![1]));
    let load = Load::RoomPage {
        filter: RoomFilter::Joined,
        user_id: UserId(1),
        query: Some("über".into()),
        limit: 5,
        cursor: None,
    };
    let Loaded::RoomPage { rooms, .. } = desk.load(load) else { panic!("no page") };
    assert_eq!(rooms.len(), 1, "found by its new name");
}

pub(in crate::store) fn a_deleted_room_is_gone_from_every_answer(place: &dyn Place) {
    let mut desk = Desk::open(place);
    desk.users(3);
    let room = |id| Write::CreateRoom { meta: meta(id, RoomKind::Room), creator_id: UserId(1), client: key("room") };
    let role = RoleRow { name: "x".into(), permissions: Permissions::NONE };
    let invite = Write::Invite { room_id: RoomId(1), user_id: UserId(3), inviter_id: UserId(1), at: WallMs(1) };
    let row = sanction(9, 1, 3, SanctionKind::Ban, None);
    let writes = vec![
        room(1),
        create(2),
        put(1, 2, 0),
        put(2, 2, 0),
        invite,
        Write::PutRole { room_id: RoomId(1), role },
        Write::Sanction { row },
        mentions(1, 1, &[2], true),
        Write::Pinned { room_id: RoomId(1), message_id: Seq(1), pinned: Some(Seq(2)) },
        deleted(1, 2, 5),
    ];
    desk.commit(vec![keyed(1, 1, 1, "m"), message(1, 2, 1), message(2, 1, 1)], writes);
    desk.upkeep(1_700_000_000_000);
    let (room_id, reader, limit, message_id) = (RoomId(1), UserId(2), 9, Seq(1));
    let delete = Write::DeleteRoom { room_id, at: WallMs(1_700_000_000_010) };
    let last = EventRow { kind: EventKind::RoomDeleted, message_no: 2, content: None, ..message(1, 3, 1) };
    desk.commit(vec![last], vec![delete.clone(), delete]);
    let more = false;
    // At once, and still so when the rows are gone.
    for _ in 0..2 {
        for (load, answer) in [
            (Load::Room { room_id, tail: 9, members: vec![reader] }, Loaded::Room(None)),
            (Load::Members { room_id, user_ids: vec![reader] }, Loaded::Members(vec![])),
            (Load::Events { room_id, after: Seq(0), limit }, Loaded::Events(vec![])),
            (Load::HistoryBefore { room_id, before: None, limit, reader }, Loaded::History { messages: vec![], more }),
            (Load::HistoryAfter { room_id, after: Seq(0), limit, reader }, Loaded::History { messages: vec![], more }),
            (Load::Message { room_id, message_id, reader }, Loaded::Message(None)),
            (Load::Edits { room_id, message_id }, Loaded::Edits(vec![])),
            (
                Load::Thread { room_id, parent_id: message_id, after: Seq(0), limit, reader },
                Loaded::Thread { parent: None, messages: vec![], more },
            ),
            (Load::Pinned { room_id, reader }, Loaded::Pinned(vec![])),
            (Load::Reactions { room_id, message_id }, Loaded::Reactions(vec![])),
            (Load::Names { room_id, names: vec!["nam2".into()] }, Loaded::Names(vec![])),
            (Load::RoomStats { room_id, now: WallMs(0) }, Loaded::RoomStats(Default::default())),
            (Load::ClientEvent { room_id, user_id: UserId(1), client_id: "m".into() }, Loaded::ClientEvent(None)),
            (
                Load::MemberPage { room_id, role: None, among: None, limit, cursor: None },
                Loaded::MemberPage { members: vec![], next: None },
            ),
            (Load::Sanction { sanction_id: 9 }, Loaded::Sanction(None)),
            (
                Load::Sanctions { room_id: None, user_id: None, active: None, now: WallMs(0), limit, cursor: None },
                Loaded::Sanctions { sanctions: vec![], next: None },
            ),
            (Load::Mentions { reader, limit, cursor: None }, Loaded::Messages { messages: vec![], next: None }),
        ] {
            assert_eq!(desk.load(load.clone()), answer, "{load:?}");
        }
        let rooms: Vec<_> = desk.unread(2).iter().map(|row| row.room_id.0).collect();
        assert_eq!((rooms, desk.listed(RoomFilter::Joined, 2)), (vec![2], vec![2]));
        assert_eq!((desk.listed(RoomFilter::Public, 1), desk.listed(RoomFilter::Invited, 3)), (vec![2], vec![]));
        assert_eq!(desk.found(2, "words"), [(2, 1)]);
        let load = Load::Creation { user_id: UserId(1), client_id: Some("room".into()), pair: None, users: vec![] };
        let Loaded::Creation { created_rooms, by_client, .. } = desk.load(load) else { panic!("no answer") };
        assert_eq!((created_rooms, by_client), (1, None));
        desk.upkeep(1_700_000_000_020);
    }
    desk.commit(vec![], vec![room(3)]);
    assert_eq!(desk.room(3, 0).head, Seq(0), "its client id can be used again");
    assert_eq!(desk.events(2).len(), 1, "others stay");
}

pub(in crate::store) fn a_text_that_no_database_takes_is_named(place: &dyn Place) {
    let mut desk = Desk::open(place);
    desk.users(2);
    desk.commit(vec![message(1, 1, 1)], vec![create(1)]);
    let (room_id, user_id, message_id, at) = (RoomId(1), UserId(1), Seq(1), WallMs(5));
    let (bad, mentions) = ("nul\0", Box::default());
    let mut row = sanction(9, 1, 2, SanctionKind::Ban, None);
    row.reason = bad.into();
    let named = |meta: RoomMeta| Write::UpdateRoom { meta };
    for write in [
        Write::Edited { room_id, message_id, content: bad.into(), mentions, count: 1, at },
        Write::Reaction { room_id, message_id, user_id, emoji: bad.into(), present: true, count: 1, seq: Seq(2) },
        named(RoomMeta { name: bad.into(), ..meta(1, RoomKind::Room) }),
        named(RoomMeta { topic: Some(bad.into()), ..meta(1, RoomKind::Room) }),
        Write::PutRole { room_id, role: RoleRow { name: bad.into(), permissions: Permissions::NONE } },
        Write::Sanction { row },
        Write::Status { user_id, status: Status::Away, message: Some(bad.into()) },
    ] {
        let good = Write::PutMember { room_id, member: member(2, 0) };
        match desk.write(vec![], vec![good, write.clone()]) {
            BatchOutcome::Refused { events, writes, .. } => {
                assert_eq!((events, writes), (vec![], vec![1]), "{write:?}")
            }
            other => panic!("{write:?}: {other:?}"),
        }
        assert_eq!(desk.standing(2).member, None, "nothing of it is in");
    }
    let reason = EventRow { reason: Some(bad.into()), ..message(1, 2, 1) };
    let outcome = desk.write(vec![reason], vec![]);
    assert!(matches!(&outcome, BatchOutcome::Refused { events, .. } if *events == [0]), "{outcome:?}");
    assert_eq!((desk.events(1), desk.room(1, 0).meta), (vec![message(1, 1, 1)], meta(1, RoomKind::Room)));
}
