//! Connections under load: as little work per frame as will do, on one thread.

use crate::client::{self, Socket};
use crate::frame::{kind_of, number_of, reply_id_of};
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use hdrhistogram::Histogram;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

/// The next text frame; `None` when the connection has ended.
pub async fn text(socket: &mut Socket) -> Option<Utf8Bytes> {
    loop {
        match socket.next().await?.ok()? {
            Message::Text(text) => return Some(text),
            Message::Close(_) => return None,
            _ => {}
        }
    }
}

/// Sends a text frame.
///
/// # Errors
/// The end of the connection.
pub async fn send(socket: &mut Socket, text: String) -> Result<(), String> {
    socket.send(Message::text(text)).await.map_err(|error| error.to_string())
}

/// Connects, joins a room and waits for the reply; the connection and the room's `seq` at the join.
///
/// # Errors
/// What the server answered instead.
pub async fn enter(addr: SocketAddr, token: &str, room: u64, buffer_bytes: usize) -> Result<(Socket, u64), String> {
    let opened = client::open(addr, None, client::upgrade_request(addr, Some(token)), buffer_bytes).await;
    let mut socket = opened.map_err(|error| error.to_string())?;
    send(&mut socket, format!(r#"{{"type":"join_room","id":0,"data":{{"room_id":{room}}}}}"#)).await?;
    loop {
        let text = text(&mut socket).await.ok_or("the server has closed")?;
        match kind_of(&text) {
            "room_joined" => {
                // After the room, which has a `seq` too.
                let own = text.find("\"role\":").map_or("", |at| &text[at..]);
                return Ok((socket, number_of(own, "\"seq\":").ok_or("no seq")?));
            }
            "error" => return Err(text.as_str().to_owned()),
            _ => {}
        }
    }
}

/// How a talker offers its messages.
#[derive(Clone, Copy, Debug)]
pub enum Offer {
    /// So many unanswered at any time: the next one follows an answer.
    Closed(u64),
    /// One each so often, from that time on, whatever the answers do.
    Open(Duration, Instant),
}

/// What the talkers of one thread count together.
#[derive(Default)]
pub struct Tally {
    /// Messages acknowledged.
    pub acks: Cell<u64>,
    /// `message` pushes received.
    pub deliveries: Cell<u64>,
    /// Commands sent and not answered.
    pub waiting: Cell<u64>,
    /// Errors by code.
    pub errors: RefCell<BTreeMap<String, u64>>,
    /// Holes and repetitions.
    pub violations: Cell<u64>,
    /// From the intended time of sending to the answer, µs.
    pub latency: RefCell<Option<Histogram<u64>>>,
    /// What is offered; `None` is silence.
    pub offer: Cell<Option<Offer>>,
    /// Wakes talkers whose offer has changed.
    pub changed: Notify,
}

fn add(cell: &Cell<u64>, count: u64) {
    cell.set(cell.get() + count);
}

/// A member of one room that reads everything, and talks as the tally says.
pub struct Talker {
    /// Its connection.
    pub socket: Socket,
    /// Its room.
    pub room: u64,
    /// The last `seq` seen.
    pub last: u64,
    /// Shared by all.
    pub tally: Rc<Tally>,
    /// What it says.
    pub content: Rc<str>,
    /// Its place in an open loop's period, so that not all talk at once.
    pub phase: f64,
    next_id: u64,
    /// Intended times of what is not answered, by id modulo its length.
    intended: Vec<Instant>,
}

/// Commands of one talker whose answers may be missing at a time.
const WINDOW_MAX: u64 = 1 << 12;

impl Talker {
    /// A silent one.
    pub fn new(socket: Socket, room: u64, last: u64, tally: Rc<Tally>, content: Rc<str>, phase: f64) -> Talker {
        let intended = vec![Instant::now(); WINDOW_MAX as usize];
        Talker { socket, room, last, tally, content, phase, next_id: 1, intended }
    }

    /// Runs until the connection ends.
    pub async fn run(mut self) {
        let (mut mine, mut due): (u64, Option<Instant>) = (0, None);
        loop {
            let tally = self.tally.clone();
            let offer = tally.offer.get();
            match offer {
                Some(Offer::Closed(window)) => {
                    while mine < window {
                        self.say(Instant::now()).await;
                        mine += 1;
                    }
                }
                Some(Offer::Open(every, start)) => {
                    let at = due.get_or_insert(start + every.mul_f64(self.phase));
                    while *at <= Instant::now() && mine < WINDOW_MAX {
                        self.say(*at).await;
                        mine += 1;
                        *at += every;
                    }
                }
                None => due = None,
            }
            if self.socket.flush().await.is_err() {
                break;
            }
            let wake = due.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
            let next = tokio::select! {
                next = self.socket.next() => next,
                () = tokio::time::sleep_until(wake) => continue,
                () = tally.changed.notified() => continue,
            };
            let mut next = Some(next);
            // Everything that has come is taken before anything is sent, so that answers leave in one write.
            while let Some(frame) = next {
                match frame {
                    Some(Ok(Message::Text(text))) => mine -= self.heard(&text),
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return add(&self.tally.violations, 1),
                    Some(Ok(_)) => {}
                }
                next = self.socket.next().now_or_never();
            }
        }
        add(&self.tally.violations, 1);
    }

    async fn say(&mut self, intended: Instant) {
        let id = self.next_id;
        self.next_id += 1;
        self.intended[(id % WINDOW_MAX) as usize] = intended;
        add(&self.tally.waiting, 1);
        let (room, content) = (self.room, &self.content);
        let text = format!(
            r#"{{"type":"send_message","id":{id},"data":{{"room_id":{room},"content":"{content}","client_id":"{id}"}}}}"#
        );
        // A failed write shows at the next read.
        let _ = self.socket.feed(Message::text(text)).await;
    }

    /// Takes one frame; how many commands it answers.
    fn heard(&mut self, text: &str) -> u64 {
        match kind_of(text) {
            "message" => {
                add(&self.tally.deliveries, 1);
                let seq = number_of(text, "\"seq\":").unwrap_or(0);
                add(&self.tally.violations, u64::from(seq != self.last + 1));
                self.last = seq;
                0
            }
            "message_sent" => {
                let id = reply_id_of(text).unwrap_or(0);
                add(&self.tally.acks, 1);
                self.tally.waiting.set(self.tally.waiting.get() - 1);
                if let Some(latency) = self.tally.latency.borrow_mut().as_mut() {
                    let waited = self.intended[(id % WINDOW_MAX) as usize].elapsed();
                    latency.saturating_record(u64::try_from(waited.as_micros()).unwrap_or(u64::MAX));
                }
                1
            }
            "error" => {
                let code = text.split("\"code\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or("?");
                *self.tally.errors.borrow_mut().entry(code.to_owned()).or_default() += 1;
                self.tally.waiting.set(self.tally.waiting.get() - 1);
                1
            }
            _ => 0,
        }
    }
}
