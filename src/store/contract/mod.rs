//! What every store must do, in tests that run over each of them: `suite!(place)` makes one test of each, `place` being
//! an expression of a fresh, empty database.

mod accounts;
mod inbox;
mod messages;
mod pages;
mod people;
mod queries;
mod search;
mod upkeep;
mod users;
mod writes;

pub(super) use accounts::*;
pub(super) use inbox::*;
pub(super) use messages::*;
pub(super) use pages::*;
pub(super) use people::*;
pub(super) use queries::*;
pub(super) use search::*;
pub(super) use upkeep::*;
pub(super) use users::*;
pub(super) use writes::*;

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use veza_engine::id::{RoomId, Seq, ShardId, UserId};
use veza_engine::input::{Identity, Role};
use veza_engine::store::{
    Batch, BatchOutcome, EventKind, EventRow, Load, LoadError, Loaded, MemberRow, RoomKind, RoomMeta, RoomState,
    Standing, UserRow, Write, Writer,
};
use veza_engine::time::WallMs;
use veza_engine::wire::{ClientKey, Visibility};

use super::{AuthAnswer, AuthError, AuthRequest, Completions, Store, StoreConfig, StoreError};

/// No answer by then is a failure.
const PATIENCE: Duration = Duration::from_secs(60);
/// Lanes of the desks.
const LANES: u16 = 8;

/// A database that tests may fill; opened as often as they like, by one at a time.
pub(super) trait Place {
    /// How to open it; the same database at each call.
    fn config(&self) -> StoreConfig;
    /// Another server's doing: inserts this message (room, seq, author and content count), past the store that is open.
    fn insert_foreign(&self, row: &EventRow);
}

/// One test of each property.
macro_rules! suite {
    ($place:expr) => {
        $crate::store::contract::suite!(@each $place;
            a_batch_goes_in_once
            foreign_rows_are_conflicts_and_nothing_of_the_batch_stays
            used_client_ids_and_pairs_are_named_with_their_first_use
            what_the_database_refuses_is_named_and_the_rest_goes_in
            a_batch_that_fails_takes_no_other_with_it
            writes_are_absolute_or_only_advance
            lanes_write_at_once_and_each_in_its_order
            own_messages_are_read_before_and_after_the_checkpoint
            a_room_comes_with_its_newest_events_and_the_asked_members
            events_come_in_pages_of_bounded_bytes
            history_pages_in_both_directions_without_voids
            epochs_come_back_as_they_were_chosen_also_after_a_restart
            earlier_commands_are_found_by_client_id_and_pair
            members_come_in_pages
            rooms_come_in_pages_of_what_the_filter_says
            conversations_come_newest_first
            users_come_in_pages_by_name
            cursors_of_others_are_refused
            a_pair_is_one_user_with_a_name_of_its_own
            a_storm_of_identities_makes_each_user_once
            strangers_stay_strangers_without_auto_provision
            blocks_of_room_ids_never_overlap
            own_users_register_once_whatever_the_case
            refresh_tokens_rotate_and_a_reused_one_ends_the_session
            sessions_end_by_revocation_and_in_time
            every_field_of_an_event_comes_back
            edits_change_the_message_and_keep_every_version
            a_deleted_message_is_marked_wherever_it_comes
            pins_come_last_pinned_first
            threads_come_in_pages_with_their_root
            reactions_are_counted_and_name_the_reader
            who_reacted_how_is_told_with_names
            a_room_s_numbers
            mentions_come_newest_first_to_members
            the_pages_of_mentions_stay_while_others_are_added
            unread_messages_and_mentions_are_counted
            a_room_knows_the_standing_of_users
            sanctions_come_in_pages_newest_first
            invited_rooms_are_listed_until_the_invitation_is_gone
            roles_are_kept_and_given_up
            names_are_found_among_the_members
            what_users_let_others_see_is_kept
            blocks_are_kept_and_told_to_whom_they_concern
            settings_change_and_what_stays_stays
            a_deleted_room_is_gone_from_every_answer
            words_find_messages
            a_search_finds_only_what_the_reader_may_read
            a_search_is_narrowed
            the_index_follows_edits_and_deletions
            the_best_come_first_and_pages_stay_while_messages_are_added
            retention_removes_the_first_events_and_keeps_the_head
            retention_goes_through_many_rows_and_follows_the_settings
            content_of_deleted_messages_is_erased_after_the_grace
            the_rows_of_a_deleted_room_go
            what_is_to_be_done_is_done_unasked
            a_text_that_no_database_takes_is_named
        );
    };
    (@each $place:expr; $($name:ident)+) => {
        $(#[test]
        fn $name() {
            $crate::store::contract::$name(&$place);
        })+
    };
}
pub(super) use suite;

/// A store and what it answers.
pub(super) struct Desk {
    pub store: Store,
    stored: Receiver<(Writer, BatchOutcome)>,
    loaded: Receiver<(u64, Result<Loaded, LoadError>)>,
    retained: Receiver<(RoomId, Seq)>,
    epoch: i64,
    numbers: HashMap<u32, i64>,
    runtime: tokio::runtime::Runtime,
}

struct Sink {
    stored: Mutex<Sender<(Writer, BatchOutcome)>>,
    loaded: Mutex<Sender<(u64, Result<Loaded, LoadError>)>>,
    retained: Mutex<Sender<(RoomId, Seq)>>,
}

impl Completions for Sink {
    fn stored(&self, _: ShardId, writer: Writer, outcome: BatchOutcome) {
        // The test may be over.
        let _ = self.stored.lock().unwrap().send((writer, outcome));
    }
    fn loaded(&self, _: ShardId, id: u64, result: Result<Loaded, LoadError>) {
        let _ = self.loaded.lock().unwrap().send((id, result));
    }
    fn retained(&self, room_id: RoomId, floor: Seq) {
        let _ = self.retained.lock().unwrap().send((room_id, floor));
    }
    fn fatal(&self, error: StoreError) {
        eprintln!("fatal: {error}");
    }
}

impl Desk {
    /// Opens the database and returns when it is up.
    pub fn open(place: &dyn Place) -> Desk {
        Desk::open_with(place, |_| {})
    }

    pub fn open_with(place: &dyn Place, change: impl FnOnce(&mut StoreConfig)) -> Desk {
        let mut config = place.config();
        config.lanes = LANES;
        // When the tests say so.
        config.upkeep_every = Duration::MAX;
        config.writer_epoch = getrandom::u64().expect("randomness") as i64 & i64::MAX;
        change(&mut config);
        let epoch = config.writer_epoch;
        let ((to_stored, stored), (to_loaded, loaded), (to_retained, retained)) = (channel(), channel(), channel());
        let (stored_sink, loaded_sink) = (Mutex::new(to_stored), Mutex::new(to_loaded));
        let sink = Sink { stored: stored_sink, loaded: loaded_sink, retained: Mutex::new(to_retained) };
        let store = Store::open(config, Arc::new(sink)).expect("a store");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let deadline = Instant::now() + PATIENCE;
        while !store.up() {
            assert!(Instant::now() < deadline, "{:?}", store.health());
            std::thread::yield_now();
        }
        Desk { store, stored, loaded, retained, epoch, numbers: HashMap::new(), runtime }
    }

    /// For stores that are not to open.
    pub fn no_sink() -> Arc<dyn Completions> {
        let (stored, loaded) = (Mutex::new(channel().0), Mutex::new(channel().0));
        Arc::new(Sink { stored, loaded, retained: Mutex::new(channel().0) })
    }

    /// Hands over a batch under the next number of its lane.
    pub fn submit(&mut self, lane: u32, events: Vec<EventRow>, writes: Vec<Write>) -> Writer {
        let number = self.numbers.entry(lane).or_default();
        *number += 1;
        let writer = Writer { epoch: self.epoch, lane, number: *number };
        self.repeat(writer, events, writes);
        writer
    }

    /// Hands over a batch under a name of the test's choice.
    pub fn repeat(&mut self, writer: Writer, events: Vec<EventRow>, writes: Vec<Write>) {
        self.store.submit(ShardId(0), Box::new(Batch { writer, events, writes }));
    }

    pub fn outcome(&self) -> (Writer, BatchOutcome) {
        self.stored.recv_timeout(PATIENCE).expect("an outcome")
    }

    /// Writes a batch; answers what became of it.
    pub fn write(&mut self, events: Vec<EventRow>, writes: Vec<Write>) -> BatchOutcome {
        let writer = self.submit(0, events, writes);
        let (of, outcome) = self.outcome();
        assert_eq!(of, writer);
        outcome
    }

    /// Writes a batch that has no fault.
    #[track_caller]
    pub fn commit(&mut self, events: Vec<EventRow>, writes: Vec<Write>) {
        assert_eq!(self.write(events, writes), BatchOutcome::Committed);
    }

    pub fn try_load(&self, load: Load) -> Result<Loaded, LoadError> {
        self.store.load(ShardId(0), 7, load);
        let (id, result) = self.loaded.recv_timeout(PATIENCE).expect("an answer");
        assert_eq!(id, 7);
        result
    }

    #[track_caller]
    pub fn load(&self, load: Load) -> Loaded {
        self.try_load(load).expect("an answer that is none but good")
    }

    pub fn auth(&self, request: AuthRequest) -> Result<AuthAnswer, AuthError> {
        self.runtime.block_on(self.store.auth(request))
    }

    /// All that is otherwise done in the background.
    pub fn upkeep(&self, now: i64) {
        self.runtime.block_on(self.store.upkeep_now(WallMs(now))).expect("the database is there");
    }

    pub fn close(self) {
        self.runtime.block_on(self.store.close());
    }

    /// The room, with the memberships of users 1 to 9.
    #[track_caller]
    pub fn room(&self, room: u64, tail: u32) -> RoomState {
        match self.load(Load::Room { room_id: RoomId(room), tail, members: (1..10).map(UserId).collect() }) {
            Loaded::Room(Some(state)) => *state,
            other => panic!("{other:?}"),
        }
    }

    /// All events of a room.
    pub fn events(&self, room: u64) -> Vec<EventRow> {
        let mut all: Vec<EventRow> = Vec::new();
        loop {
            let after = all.last().map_or(Seq(0), |row| row.seq);
            match self.load(Load::Events { room_id: RoomId(room), after, limit: 1000 }) {
                Loaded::Events(page) if page.is_empty() => return all,
                Loaded::Events(page) => all.extend(page.into_iter().map(|record| record.row)),
                other => panic!("{other:?}"),
            }
        }
    }

    /// Makes users 1 to `count`, named n1, n2, ….
    pub fn users(&self, count: u64) {
        for user in 1..=count {
            let made = self.identify("iss", &format!("s{user}"), Some(&format!("nam{user}"))).expect("a user");
            assert_eq!((made.user_id, &*made.username), (UserId(user), &*format!("nam{user}")));
        }
    }

    pub fn identify(&self, iss: &str, sub: &str, username: Option<&str>) -> Option<UserRow> {
        match self.load(Load::Identify { identity: identity(iss, sub, username) }) {
            Loaded::User(user) => user,
            other => panic!("{other:?}"),
        }
    }
}

pub(super) fn identity(iss: &str, sub: &str, username: Option<&str>) -> Box<Identity> {
    Box::new(Identity {
        iss: iss.into(),
        sub: sub.into(),
        username: username.map(Into::into),
        role: Role::User,
        session_id: "session".into(),
        issued_at: None,
        expires_at: i64::MAX,
    })
}

/// Message `seq` of a room by this user, all events of the room being messages.
pub(super) fn message(room: u64, seq: u64, user: u64) -> EventRow {
    EventRow {
        room_id: RoomId(room),
        seq: Seq(seq),
        kind: EventKind::Message,
        at: WallMs(1_700_000_000_000 + seq as i64),
        message_no: seq,
        author_id: Some(UserId(user)),
        client: None,
        content: Some(format!("words {seq} ❤️").into()),
        parent_id: None,
        data: None,
        mentions: Box::default(),
        reason: None,
    }
}

/// A message with a client id; the hash's sign bit is set, as it may be.
pub(super) fn keyed(room: u64, seq: u64, user: u64, client: &str) -> EventRow {
    EventRow { client: key(client), ..message(room, seq, user) }
}

pub(super) fn key(client: &str) -> Option<ClientKey> {
    Some(ClientKey { id: client.into(), hash: u64::MAX - client.len() as u64 })
}

pub(super) fn void(room: u64, seq: u64, message_no: u64) -> EventRow {
    EventRow { kind: EventKind::Void, author_id: None, content: None, message_no, ..message(room, seq, 1) }
}

pub(super) fn meta(room: u64, kind: RoomKind) -> RoomMeta {
    RoomMeta {
        room_id: RoomId(room),
        kind,
        epoch: 77 + room,
        name: if kind == RoomKind::Room { format!("Räume {room}").into() } else { "".into() },
        description: Some("what it is for".into()),
        topic: None,
        visibility: if kind == RoomKind::Room { Visibility::Public } else { Visibility::Private },
        owner_id: (kind == RoomKind::Room).then_some(UserId(1)),
        max_members: 100,
        slow_mode_s: 3,
        retention_days: 4,
        archived: false,
        created_at: WallMs(1_600_000_000_000 + room as i64),
    }
}

/// A public room of user 1.
pub(super) fn create(room: u64) -> Write {
    Write::CreateRoom { meta: meta(room, RoomKind::Room), creator_id: UserId(1), client: None }
}

/// A conversation of these two, user `lo` creates it.
pub(super) fn create_dm(room: u64, lo: u64, hi: u64, client: Option<ClientKey>) -> Write {
    Write::CreateDm {
        meta: meta(room, RoomKind::Dm),
        creator_id: UserId(lo),
        user_ids: vec![UserId(lo), UserId(hi)],
        pair: Some((UserId(lo), UserId(hi))),
        client,
    }
}

pub(super) fn member(user: u64, read: u64) -> MemberRow {
    MemberRow {
        user_id: UserId(user),
        role: "member".into(),
        joined_at: WallMs(9),
        last_read_seq: Seq(read),
        last_read_no: read,
    }
}

pub(super) fn put(room: u64, user: u64, read: u64) -> Write {
    Write::PutMember { room_id: RoomId(room), member: member(user, read) }
}

/// The memberships among these.
pub(super) fn members(standings: &[Standing]) -> Vec<MemberRow> {
    standings.iter().filter_map(|standing| standing.member.clone()).collect()
}

/// Users and read positions of a room's members.
pub(super) fn positions(standings: &[Standing]) -> Vec<(u64, u64, u64)> {
    let mut all: Vec<_> = members(standings).iter().map(|m| (m.user_id.0, m.last_read_seq.0, m.last_read_no)).collect();
    all.sort_unstable();
    all
}
