//! Lists that are answered page by page.

use veza_engine::store::Cursor;
use veza_engine::wire::RoomFilter;

use super::*;

/// Follows the cursors, two rows a page; answers all, and the cursors met.
pub(super) fn walk(mut page: impl FnMut(Cursor) -> (Vec<u64>, Cursor)) -> (Vec<u64>, Vec<Box<str>>) {
    let (mut all, mut cursors, mut cursor) = (Vec::new(), Vec::new(), None);
    loop {
        let (rows, next) = page(cursor);
        assert!(rows.len() <= 2, "{rows:?}");
        all.extend(rows);
        let Some(next) = next else { return (all, cursors) };
        assert!(cursors.len() < 20, "the pages do not end");
        cursors.push(next.clone());
        cursor = Some(next);
    }
}

pub(in crate::store) fn members_come_in_pages(place: &dyn Place) {
    let mut desk = Desk::open(place);
    desk.users(7);
    let mut writes = vec![create(1), create(2)];
    writes.extend((2..=6).map(|user| put(1, user, 0)));
    let moderator = MemberRow { role: "moderator".into(), ..member(5, 0) };
    writes.push(Write::PutMember { room_id: RoomId(1), member: moderator });
    desk.commit(vec![], writes);
    for (role, among, users) in [
        (None, None, vec![1, 2, 3, 4, 5, 6]),
        (Some("member"), None, vec![2, 3, 4, 6]),
        (Some("moderator"), None, vec![5]),
        (Some("nobody"), None, vec![]),
        (None, Some(vec![6, 7, 2, 99, 4, 2]), vec![2, 4, 6]),
        (Some("member"), Some(vec![5, 6, 1]), vec![6]),
        (None, Some(vec![]), vec![]),
    ] {
        let (found, _) = walk(|cursor| {
            let among = among.as_ref().map(|users| users.iter().copied().map(UserId).collect());
            let load = Load::MemberPage { room_id: RoomId(1), role: role.map(Into::into), among, limit: 2, cursor };
            let Loaded::MemberPage { members, next } = desk.load(load) else { panic!("no page") };
            for (member, username) in &members {
                assert_eq!(**username, format!("nam{}", member.user_id.0));
            }
            (members.iter().map(|(member, _)| member.user_id.0).collect(), next)
        });
        assert_eq!(found, users, "{role:?} {among:?}");
    }
}

pub(in crate::store) fn rooms_come_in_pages_of_what_the_filter_says(place: &dyn Place) {
    let mut desk = Desk::open(place);
    desk.users(2);
    let room = |id, name: &str, visibility| {
        let meta = RoomMeta { name: name.into(), visibility, ..meta(id, RoomKind::Room) };
        Write::CreateRoom { meta, creator_id: UserId(1), client: None }
    };
    let (public, private) = (Visibility::Public, Visibility::Private);
    let writes = vec![
        room(1, "Über alles", public),
        room(2, "secret über", private),
        room(3, "100% of_it", public),
        create_dm(4, 1, 2, None),
        room(5, "the ÜBERblick", public),
        room(6, "plain", public),
        put(6, 2, 0),
    ];
    desk.commit(vec![message(3, 1, 1)], writes);
    let (all, joined, invited) = (RoomFilter::Public, RoomFilter::Joined, RoomFilter::Invited);
    for (filter, user, query, rooms) in [
        (all, 2, None, vec![1, 3, 5, 6]),
        (all, 2, Some("üBer"), vec![1, 5]),
        (all, 2, Some("0% o"), vec![3]),
        (all, 2, Some("%"), vec![3]),
        (all, 2, Some("_"), vec![3]),
        (all, 2, Some("none"), vec![]),
        (joined, 1, None, vec![1, 2, 3, 5, 6]),
        (joined, 1, Some("über"), vec![1, 2, 5]),
        (joined, 2, None, vec![6]),
        (invited, 1, None, vec![]),
    ] {
        let (found, _) = walk(|cursor| {
            let query = query.map(Into::into);
            let Loaded::RoomPage { rooms, next } =
                desk.load(Load::RoomPage { filter, user_id: UserId(user), query, limit: 2, cursor })
            else {
                panic!("no page")
            };
            for room in &rooms {
                let id = room.meta.room_id.0;
                assert_eq!((room.head.0, room.meta.epoch), (u64::from(id == 3), 77 + id));
            }
            (rooms.iter().map(|room| room.meta.room_id.0).collect(), next)
        });
        assert_eq!(found, rooms, "{filter:?} of {user}, {query:?}");
    }
}

pub(in crate::store) fn conversations_come_newest_first(place: &dyn Place) {
    let mut desk = Desk::open(place);
    desk.users(7);
    // Conversation n + 1 is that of users 1 and n + 1; created in this order, but then 3 and 5 are spoken in.
    let mut writes: Vec<_> = (2..=6).map(|user| create_dm(user, 1, user, None)).collect();
    writes.push(create(7));
    let at = |event, at| EventRow { at: WallMs(at), ..event };
    let log = vec![
        at(message(3, 1, 3), 1_700_000_000_500),
        at(message(5, 1, 5), 1_700_000_000_900),
        at(void(5, 2, 1), 1_700_000_001_000),
        at(message(7, 1, 1), 1_700_000_009_000),
    ];
    desk.commit(log, writes);
    let (found, cursors) = walk(|cursor| {
        let load = Load::DmPage { user_id: UserId(1), limit: 2, cursor };
        let Loaded::DmPage { conversations, next } = desk.load(load) else { panic!("no page") };
        for conversation in &conversations {
            let id = conversation.unread.room_id.0;
            let mut users: Vec<_> = conversation.users.iter().map(|user| user.user_id.0).collect();
            users.sort_unstable();
            assert_eq!((users, conversation.unread.kind), (vec![1, id], RoomKind::Dm));
            let last = conversation.last_message.as_ref().map(|last| (last.row.seq.0, last.username.as_deref()));
            let name = format!("nam{id}");
            assert_eq!(last, [3, 5].contains(&id).then_some((1, Some(&*name))));
            assert_eq!(conversation.unread.unread_count, u64::from([3, 5].contains(&id)));
        }
        (conversations.iter().map(|row| row.unread.room_id.0).collect(), next)
    });
    assert_eq!(found, [5, 3, 6, 4, 2]);
    assert_eq!(cursors.len(), 2);
}

pub(in crate::store) fn users_come_in_pages_by_name(place: &dyn Place) {
    let desk = Desk::open(place);
    let names = ["bob", "Anna", "anton", "ANNE", "an-ni", "an.ni", "an_ni", "anna2", "zed"];
    for (index, name) in names.iter().enumerate() {
        desk.identify("iss", &index.to_string(), Some(name)).expect("a user");
    }
    for (query, expected) in [
        (None, vec!["an-ni", "an.ni", "an_ni", "Anna", "anna2", "ANNE", "anton", "bob", "zed"]),
        (Some("ANN"), vec!["Anna", "anna2", "ANNE"]),
        (Some("an_"), vec!["an_ni"]),
        (Some("a%"), vec![]),
        (Some("zed2"), vec![]),
        (Some("ü"), vec![]),
    ] {
        let mut found = Vec::new();
        walk(|cursor| {
            let load = Load::UserPage { query: query.map(Into::into), limit: 2, cursor };
            let Loaded::UserPage { users, next } = desk.load(load) else { panic!("no page") };
            found.extend(users.iter().map(|user| user.username.to_string()));
            (users.iter().map(|user| user.user_id.0).collect(), next)
        });
        assert_eq!(found, expected, "{query:?}");
    }
}

pub(in crate::store) fn cursors_of_others_are_refused(place: &dyn Place) {
    let desk = Desk::open(place);
    let user_id = UserId(1);
    let pages: [fn(Cursor, UserId) -> Load; 4] = [
        |cursor, _| Load::UserPage { query: None, limit: 2, cursor },
        |cursor, user_id| Load::DmPage { user_id, limit: 2, cursor },
        |cursor, user_id| Load::RoomPage { filter: RoomFilter::Public, user_id, query: None, limit: 2, cursor },
        |cursor, _| Load::MemberPage { room_id: RoomId(1), role: None, among: None, limit: 2, cursor },
    ];
    for page in pages {
        for bad in ["", "0", "\0", "AAAA", "ümlaut", "' OR 1=1 --", &"x".repeat(5000)] {
            assert_eq!(desk.try_load(page(Some(bad.into()), user_id)), Err(LoadError::BadCursor), "{bad:.20}");
        }
        assert!(desk.try_load(page(None, user_id)).is_ok());
    }
}
