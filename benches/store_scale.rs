//! Whether a store's answers stay fast as it grows: the same questions to a small database and to a large one, with
//! MESSAGES messages in one room, MEMBERS members of it, and ROOMS other rooms.
//!
//! `cargo run --release --example store_scale -- [MESSAGES] [ROOMS] [MEMBERS] [LARGE URL] [SMALL URL]`; without URLs, SQLite
//! databases in directories of their own below the present one, which stay, and are used again by the next run.

use std::env;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use veza_chat_server::store::{Completions, Store, StoreConfig, StoreError};
use veza_engine::id::{RoomId, Seq, ShardId, UserId};
use veza_engine::input::{Identity, Role};
use veza_engine::store::{
    Batch, BatchOutcome, EventKind, EventRow, Load, LoadError, Loaded, MemberRow, RoomKind, RoomMeta, Write, Writer,
};
use veza_engine::time::WallMs;
use veza_engine::wire::{RoomFilter, SearchMessages, Visibility};

/// The room with many messages and members.
const BIG: RoomId = RoomId(1);
/// Times that each question is asked.
const TIMES: usize = 30;
/// When the first message is sent; the others follow at 100 ms.
const BEGUN: i64 = 1_760_000_000_000;

type Answer = Result<Loaded, LoadError>;

struct Answers(Sender<BatchOutcome>, Sender<Answer>);

impl Completions for Answers {
    fn stored(&self, _: ShardId, _: Writer, outcome: BatchOutcome) {
        // At the end nobody listens any more.
        let _ = self.0.send(outcome);
    }
    fn loaded(&self, _: ShardId, _: u64, result: Answer) {
        let _ = self.1.send(result);
    }
    fn retained(&self, _: RoomId, _: Seq) {}
    fn fatal(&self, error: StoreError) {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

/// How much there is.
#[derive(Clone, Copy)]
struct Size {
    messages: u64,
    rooms: u64,
    members: u64,
}

struct Desk {
    store: Store,
    stored: Receiver<BatchOutcome>,
    loaded: Receiver<Answer>,
    writer: Writer,
    runtime: tokio::runtime::Runtime,
}

impl Desk {
    fn open(url: String, dir: &Path) -> Result<Desk, Box<dyn Error>> {
        let mut config = StoreConfig::new(url, dir);
        config.writer_epoch = i64::from(std::process::id()) << 20 | 1;
        config.load_deadline = Duration::from_secs(600);
        config.upkeep_every = Duration::MAX;
        let writer = Writer { epoch: config.writer_epoch, lane: 0, number: 0 };
        let ((to_stored, stored), (to_loaded, loaded)) = (channel(), channel());
        let store = Store::open(config, Arc::new(Answers(to_stored, to_loaded)))?;
        while !store.up() {
            std::thread::yield_now();
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        Ok(Desk { store, stored, loaded, writer, runtime })
    }

    fn load(&self, load: Load) -> Result<Loaded, Box<dyn Error>> {
        self.store.load(ShardId(0), 1, load);
        self.loaded.recv()?.map_err(|error| format!("{error:?}").into())
    }

    fn write(&mut self, events: Vec<EventRow>, writes: Vec<Write>) -> Result<(), Box<dyn Error>> {
        self.writer.number += 1;
        self.store.submit(ShardId(0), Box::new(Batch { writer: self.writer, events, writes }));
        match self.stored.recv()? {
            BatchOutcome::Committed => Ok(()),
            other => Err(format!("{other:?}").into()),
        }
    }

    /// Fills an empty database.
    fn seed(&mut self, size: Size) -> Result<(), Box<dyn Error>> {
        if let Loaded::Room(Some(_)) = self.load(Load::Room { room_id: BIG, tail: 0, members: vec![] })? {
            return Ok(());
        }
        let begun = Instant::now();
        self.make_users(size.members)?;
        self.write(vec![], vec![create(BIG, UserId(1))])?;
        for first in (2..=size.members).step_by(5000) {
            let members = first..(first + 5000).min(size.members + 1);
            self.write(vec![], members.map(|user| put(BIG, user)).collect())?;
        }
        for first in (0..size.rooms).step_by(1000) {
            let rooms = || first + 2..(first + 1000).min(size.rooms) + 2;
            let events = rooms().map(|room| message(RoomId(room), 1, BEGUN + room as i64)).collect();
            self.write(events, rooms().map(|room| create(RoomId(room), UserId(room % size.members + 1))).collect())?;
        }
        for first in (1..=size.messages).step_by(5000) {
            let seqs = first..(first + 5000).min(size.messages + 1);
            self.write(seqs.map(|seq| message(BIG, seq, BEGUN + seq as i64 * 100)).collect(), vec![])?;
        }
        self.write(vec![], about_messages(size))?;
        let written = begun.elapsed();
        self.runtime.block_on(self.store.upkeep_now(WallMs(BEGUN)))?;
        println!("seeded in {written:?}, indexed by {:?}", begun.elapsed());
        Ok(())
    }

    fn make_users(&self, count: u64) -> Result<(), Box<dyn Error>> {
        for first in (1..=count).step_by(10_000) {
            let users = first..(first + 10_000).min(count + 1);
            for user in users.clone() {
                let identity = Identity {
                    iss: "seed".into(),
                    sub: user.to_string().into(),
                    username: Some(format!("name{user}").into()),
                    role: Role::User,
                    session_id: "s".into(),
                    issued_at: None,
                    expires_at: i64::MAX,
                };
                self.store.load(ShardId(0), user, Load::Identify { identity: Box::new(identity) });
            }
            for _ in users {
                self.loaded.recv()?.map_err(|error| format!("{error:?}"))?;
            }
        }
        Ok(())
    }

    /// The median time of each question.
    fn measure(&mut self, size: Size) -> Result<Vec<(&'static str, Duration)>, Box<dyn Error>> {
        let mut results = Vec::new();
        for (name, load) in questions(size) {
            let mut times = Vec::new();
            for _ in 0..TIMES {
                let begun = Instant::now();
                self.load(load.clone())?;
                times.push(begun.elapsed());
            }
            results.push((name, median(times)));
        }
        let (joins, leaves) = (put(BIG, size.members + 7), UserId(size.members + 7));
        let mut times = Vec::new();
        for _ in 0..TIMES {
            let begun = Instant::now();
            self.write(vec![], vec![joins.clone()])?;
            times.push(begun.elapsed());
            self.write(vec![], vec![Write::DropMember { room_id: BIG, user_id: leaves }])?;
        }
        results.push(("join (with its commit)", median(times)));
        Ok(results)
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn create(room_id: RoomId, creator_id: UserId) -> Write {
    let meta = RoomMeta {
        room_id,
        kind: RoomKind::Room,
        epoch: room_id.0,
        name: format!("room {}", room_id.0).into(),
        description: None,
        topic: None,
        visibility: Visibility::Public,
        owner_id: Some(creator_id),
        max_members: 1_000_000,
        slow_mode_s: 0,
        retention_days: 0,
        archived: false,
        created_at: WallMs(BEGUN),
    };
    Write::CreateRoom { meta, creator_id, client: None }
}

fn put(room_id: RoomId, user: u64) -> Write {
    let role = if user.is_multiple_of(1000) { "moderator" } else { "member" };
    let (user_id, joined_at) = (UserId(user), WallMs(BEGUN));
    let member = MemberRow { user_id, role: role.into(), joined_at, last_read_seq: Seq(0), last_read_no: 0 };
    Write::PutMember { room_id, member }
}

/// About 60 bytes of words, some of them frequent and most of them not.
fn text(seed: u64) -> Box<str> {
    let (mut state, mut text) = (seed, String::with_capacity(80));
    while text.len() < 60 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let dice = (state >> 33) % 50_000;
        text.push_str(&format!("w{:x} ", dice * dice / 50_000));
    }
    text.into()
}

fn message(room_id: RoomId, seq: u64, at: i64) -> EventRow {
    let mut row = EventRow::new(room_id, Seq(seq), EventKind::Message, WallMs(at), seq);
    (row.author_id, row.content) = (Some(UserId(seq % 100 + 1)), Some(text(room_id.0 * 31 + seq)));
    // Every tenth message answers one of a hundred before.
    row.parent_id = (seq % 10 == 5 && seq > 100).then(|| Seq(seq - seq % 100));
    row
}

/// Reactions, pins and mentions of some messages.
fn about_messages(size: Size) -> Vec<Write> {
    let mut writes = Vec::new();
    for seq in (1..=size.messages).step_by(50) {
        let (room_id, message_id, user_id) = (BIG, Seq(seq), UserId(seq % 100 + 1));
        let (emoji, at) = ("👍".into(), WallMs(BEGUN + seq as i64 * 100));
        writes.push(Write::Reaction { room_id, message_id, user_id, emoji, present: true, count: 1, seq: Seq(seq) });
        writes.push(Write::Mentions { room_id, message_id, at, users: [user_id].into(), everyone: seq % 1000 == 1 });
    }
    let pins = size.messages.saturating_sub(49)..=size.messages;
    writes.extend(pins.map(|seq| Write::Pinned { room_id: BIG, message_id: Seq(seq), pinned: Some(Seq(seq)) }));
    writes
}

fn questions(size: Size) -> Vec<(&'static str, Load)> {
    let (room_id, reader, limit) = (BIG, UserId(2), 50);
    let middle = Seq(size.messages / 2);
    let thread = Seq(middle.0 - middle.0 % 100);
    let now = WallMs(BEGUN + size.messages as i64 * 100);
    let search = |query: &str, room_id, author_id| {
        let (query, from, to, cursor) = (query.into(), None, None, None);
        Load::Search { reader, search: Box::new(SearchMessages { query, room_id, author_id, from, to, limit, cursor }) }
    };
    let members =
        |role: Option<&str>| Load::MemberPage { room_id, role: role.map(Into::into), among: None, limit, cursor: None };
    let query = Some("room 77".into());
    vec![
        ("room with its tail", Load::Room { room_id, tail: 256, members: vec![reader] }),
        ("newest page", Load::HistoryBefore { room_id, before: None, limit, reader }),
        ("page in the middle", Load::HistoryBefore { room_id, before: Some(middle), limit, reader }),
        ("page after the middle", Load::HistoryAfter { room_id, after: middle, limit, reader }),
        ("one message", Load::Message { room_id, message_id: thread, reader }),
        ("thread", Load::Thread { room_id, parent_id: thread, after: Seq(0), limit, reader }),
        ("pins", Load::Pinned { room_id, reader }),
        ("numbers of the room", Load::RoomStats { room_id, now }),
        ("mentions", Load::Mentions { reader, limit, cursor: None }),
        ("unread", Load::Unread { user_id: reader }),
        ("members", members(None)),
        ("moderators", members(Some("moderator"))),
        (
            "public rooms",
            Load::RoomPage { filter: RoomFilter::Public, user_id: reader, query: None, limit, cursor: None },
        ),
        ("rooms by name", Load::RoomPage { filter: RoomFilter::Public, user_id: reader, query, limit, cursor: None }),
        ("users by name", Load::UserPage { query: Some("name1".into()), limit, cursor: None }),
        ("search, a frequent word", search("w0", None, None)),
        ("search, in the room", search("w0", Some(room_id), None)),
        ("search, by an author", search("w0", None, Some(UserId(7)))),
        ("search, a rare word", search("wbabe", None, None)),
        ("search, two words", search("w1 w2", None, None)),
        ("search, a short beginning", search("w1", None, None)),
        ("search, nothing", search("nowhere", None, None)),
    ]
}

fn main() -> Result<(), Box<dyn Error>> {
    let given: Vec<String> = env::args().skip(1).collect();
    let number = |index: usize, default: u64| given.get(index).map_or(Ok(default), |text| text.parse());
    let large = Size { messages: number(0, 1_000_000)?, rooms: number(1, 100_000)?, members: number(2, 100_000)? };
    let small = Size { messages: 2000, rooms: 200, members: 1000 };
    let mut tables = Vec::new();
    for (index, (name, size)) in [("large", large), ("small", small)].into_iter().enumerate() {
        let dir = std::path::PathBuf::from(format!("store-scale-{name}"));
        let url = given.get(3 + index).cloned().unwrap_or_else(|| format!("sqlite://{}/veza.db", dir.display()));
        let mut desk = Desk::open(url, &dir)?;
        desk.seed(size)?;
        tables.push(desk.measure(size)?);
        desk.runtime.block_on(desk.store.close());
    }
    println!("{:<28} {:>12} {:>12} {:>7}", "", "large", "small", "ratio");
    for ((name, large), (_, small)) in tables[0].iter().zip(&tables[1]) {
        let ratio = large.as_secs_f64() / small.as_secs_f64();
        println!("{name:<28} {large:>12.1?} {small:>12.1?} {ratio:>7.2}");
    }
    Ok(())
}
