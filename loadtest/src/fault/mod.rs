//! Faults under load: writers that send until they are answered, readers that resume until they have seen all, a
//! server or a database that is killed, stopped or paused meanwhile, and the checker at the end.

mod mixed;
mod reader;
mod run;
mod writer;

pub use run::{Fault, Load, Report, Run, Store};

use crate::check::{Ledger, Violations};
use crate::client::{self, Client, Socket};
use crate::frame::Frame;
use crate::http;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::Message;

/// Pause before a connection is tried again. Short, so that the harness is there when the server is.
const RECONNECT: Duration = Duration::from_millis(10);

/// How much load.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Users that send, each into every room.
    pub writers: usize,
    /// Rooms.
    pub rooms: usize,
    /// Users that are subscribed to every room.
    pub readers: usize,
    /// Messages a second that all writers together offer.
    pub rate: u64,
    /// Messages of one writer that may wait for their answer.
    pub window: usize,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan { writers: 12, rooms: 10, readers: 6, rate: 1600, window: 64 }
    }
}

/// A room and the epoch that its positions belong to.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// `room_id`.
    pub id: u64,
    /// `epoch`.
    pub epoch: u64,
}

/// What all tasks of a run share.
struct Shared {
    addr: SocketAddr,
    rooms: Vec<Room>,
    ledger: Mutex<Ledger>,
    /// Acknowledgements so far, first ones only.
    acks: AtomicU64,
    /// The same by command, where a load has several.
    verbs: Mutex<BTreeMap<String, u64>>,
    /// Connections made so far.
    connects: AtomicU64,
    /// Refusals by code.
    refusals: Mutex<BTreeMap<String, u64>>,
    /// True once no new message is to be sent.
    stop: watch::Sender<bool>,
    /// The last `seq` of each room, once the writers have ended.
    heads: watch::Sender<Option<HashMap<u64, u64>>>,
}

impl Shared {
    fn new(addr: SocketAddr, rooms: Vec<Room>) -> Shared {
        Shared {
            addr,
            rooms,
            ledger: Mutex::default(),
            acks: AtomicU64::new(0),
            verbs: Mutex::default(),
            connects: AtomicU64::new(0),
            refusals: Mutex::default(),
            stop: watch::channel(false).0,
            heads: watch::channel(None).0,
        }
    }

    fn acks(&self) -> u64 {
        self.acks.load(Ordering::Relaxed)
    }

    fn acknowledged(&self, command: &str) {
        self.acks.fetch_add(1, Ordering::Relaxed);
        *self.verbs.lock().expect("no task panics").entry(command.to_owned()).or_default() += 1;
    }

    fn refused(&self, code: &str) {
        *self.refusals.lock().expect("no task panics").entry(code.to_owned()).or_default() += 1;
    }
}

/// Makes `count` public rooms as one user and lets the others join them all (as members, without subscriptions).
///
/// # Errors
/// What the server answered instead.
pub async fn make_rooms(addr: SocketAddr, count: usize, owner: &str, members: &[String]) -> Result<Vec<Room>, String> {
    let mut rooms = Vec::new();
    for number in 0..count {
        let reply = over_http(addr, owner, "create_room", &json!({"name": format!("room {number}")})).await?;
        let room = &reply["room"];
        let (id, epoch) = (room["room_id"].as_u64(), room["epoch"].as_u64());
        rooms.push(Room { id: id.ok_or("no room_id")?, epoch: epoch.ok_or("no epoch")? });
    }
    for member in members {
        for room in &rooms {
            over_http(addr, member, "join_room", &json!({"room_id": room.id})).await?;
        }
    }
    Ok(rooms)
}

async fn over_http(addr: SocketAddr, token: &str, command: &str, data: &Value) -> Result<Value, String> {
    let response = http::command(addr, token, command, data).await.map_err(|error| format!("{command}: {error}"))?;
    if response.status != 200 {
        return Err(format!("{command}: {} {}", response.status, response.json()));
    }
    Ok(response.json())
}

/// Connects and waits for `auth_success`; `None` if the server is not there.
async fn connect(shared: &Shared, token: &str) -> Option<Socket> {
    let addr = shared.addr;
    let opening = client::open(addr, None, client::upgrade_request(addr, Some(token)), 16 << 10);
    let mut socket = tokio::time::timeout(client::PATIENCE, opening).await.ok()?.ok()?;
    match next_text(&mut socket).await?.as_str() {
        text if text.starts_with("{\"type\":\"auth_success\"") => {
            shared.connects.fetch_add(1, Ordering::Relaxed);
            Some(socket)
        }
        _ => None,
    }
}

/// The next text frame; `None` when the connection has ended.
async fn next_text(socket: &mut Socket) -> Option<String> {
    loop {
        match socket.next().await?.ok()? {
            Message::Text(text) => return Some(text.as_str().to_owned()),
            Message::Close(_) => return None,
            _ => {}
        }
    }
}

/// Takes a frame apart; what is wrong with it is a violation.
fn parse(text: &str, violations: &mut Violations) -> Option<Frame> {
    Frame::parse(text).map_err(|what| violations.add(what)).ok()
}

/// Reads a room's whole history, newest page first.
async fn read_history(client: &mut Client, room: u64) -> Result<crate::check::History, client::Error> {
    let mut history = crate::check::History::default();
    let mut before = None;
    loop {
        let data = json!({"room_id": room, "limit": 100, "before_id": before});
        let page = client.call("get_history", data).await?.data;
        history.head = history.head.max(page["seq"].as_u64().unwrap_or(0));
        let messages = page["messages"].as_array().cloned().unwrap_or_default();
        before = messages.first().and_then(|message| message["message_id"].as_u64());
        for message in &messages {
            let (id, content) = (message["message_id"].as_u64(), message["content"].as_str());
            let (Some(id), Some(content)) = (id, content) else {
                return Err(client::Error::Broken(format!("no message: {message}")));
            };
            if history.messages.insert(id, content.to_owned()).is_some() {
                return Err(client::Error::Broken(format!("message {id} is on two pages")));
            }
        }
        if page["has_more"] != true || before.is_none() {
            return Ok(history);
        }
    }
}
