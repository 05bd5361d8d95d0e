//! A writer: offers messages at its pace, and sends each again, with the same `client_id`, until it has an answer.

use super::{RECONNECT, Shared, connect, parse};
use crate::check::{Ack, Violations};
use crate::client::Socket;
use crate::frame::Frame;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_tungstenite::tungstenite::Message;

/// How long a retryable refusal waits when the server names no time.
const RETRY: Duration = Duration::from_millis(100);
/// Connections tried before everything is sent once more.
const SEND_AGAIN_ATTEMPTS: u32 = 200;

#[derive(Clone, Debug)]
struct Pending {
    client_id: String,
    room: u64,
}

/// What is known of one connection only.
#[derive(Default)]
struct Session {
    /// Sent and not answered, by request id.
    waiting: BTreeMap<u64, Pending>,
    /// Per room, the request ids in the order sent: the order in which the answers must come.
    order: HashMap<u64, VecDeque<u64>>,
    /// Per room, the last `seq` that a first attempt on this connection got.
    last_seq: HashMap<u64, u64>,
}

pub(super) struct Writer {
    shared: Arc<Shared>,
    name: usize,
    token: String,
    window: usize,
    pace: Interval,
    /// Messages made so far.
    made: u64,
    /// To be sent: for the first time on this connection, or again at the given time.
    due: VecDeque<(Instant, Pending)>,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, name: usize, token: String, window: usize, every: Duration) -> Writer {
        let mut pace = tokio::time::interval(every);
        // A burst after an outage would be a load of its own.
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Writer { shared, name, token, window, pace, made: 0, due: VecDeque::new() }
    }

    /// Runs until it is told to stop and everything is answered.
    pub(super) async fn run(mut self) {
        loop {
            if let Some(socket) = connect(&self.shared, &self.token).await {
                let mut session = Session::default();
                if self.talk(socket, &mut session).await {
                    return;
                }
                // Unanswered ones go first, in the order in which they were sent, and before what waits for its time.
                for (_, pending) in session.waiting.into_iter().rev() {
                    self.due.push_front((Instant::now(), pending));
                }
            }
            tokio::time::sleep(RECONNECT).await;
        }
    }

    /// One connection; true when all is done, false when the connection has ended before.
    async fn talk(&mut self, mut socket: Socket, session: &mut Session) -> bool {
        let mut next_id = 1;
        let mut stop = self.shared.stop.subscribe();
        loop {
            let stopping = *stop.borrow_and_update();
            while self.due.front().is_some_and(|(at, _)| *at <= Instant::now()) && session.waiting.len() < self.window {
                let (_, pending) = self.due.pop_front().expect("just seen");
                let text = message_text(next_id, &pending);
                session.order.entry(pending.room).or_default().push_back(next_id);
                session.waiting.insert(next_id, pending);
                next_id += 1;
                if socket.send(Message::text(text)).await.is_err() {
                    return false;
                }
            }
            if stopping && self.due.is_empty() && session.waiting.is_empty() {
                return true;
            }
            let retry_at = self.due.front().map_or_else(|| Instant::now() + RETRY, |(at, _)| *at);
            let full = session.waiting.len() >= self.window;
            tokio::select! {
                next = socket.next() => match next {
                    Some(Ok(Message::Text(text))) => self.answer(&text, session),
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return false,
                    Some(Ok(_)) => {}
                },
                _ = self.pace.tick(), if !stopping && !full && self.due.is_empty() => self.make(),
                () = tokio::time::sleep_until(retry_at), if !full => {}
                _ = stop.changed() => {}
            }
        }
    }

    fn make(&mut self) {
        let room = self.shared.rooms[(self.made as usize + self.name) % self.shared.rooms.len()].id;
        let client_id = format!("{:-<40}", format!("writer {} message {} ", self.name, self.made));
        self.made += 1;
        self.shared.ledger.lock().expect("no task panics").sending(client_id.clone(), room);
        self.due.push_back((Instant::now(), Pending { client_id, room }));
    }

    fn answer(&mut self, text: &str, session: &mut Session) {
        let mut violations = Violations::default();
        if let Some(frame) = parse(text, &mut violations)
            && let Some(id) = frame.id.as_ref().and_then(Value::as_u64)
        {
            match session.waiting.remove(&id) {
                Some(pending) => self.settle(id, pending, &frame, session, &mut violations),
                None => violations.add(format!("a second reply to one command: {text}")),
            }
        }
        if violations.count > 0 {
            self.shared.ledger.lock().expect("no task panics").violations.merge(violations);
        }
    }

    fn settle(&mut self, id: u64, pending: Pending, frame: &Frame, session: &mut Session, violations: &mut Violations) {
        let order = session.order.entry(pending.room).or_default();
        if order.pop_front() != Some(id) {
            violations.add(format!("room {}: answered out of order: {frame:?}", pending.room));
            order.retain(|other| *other != id);
        }
        if frame.kind == "error" {
            let code = frame.data["code"].as_str().unwrap_or("(no code)");
            self.shared.refused(code);
            if frame.data["retryable"] == true {
                let wait = frame.data["retry_after_ms"].as_u64().map_or(RETRY, Duration::from_millis);
                self.due.push_back((Instant::now() + wait, pending));
            } else if code != "INTERNAL" {
                // INTERNAL that is not retryable leaves a void: a stated loss. Anything else has no reason here.
                violations.add(format!("refused for good: {frame:?}"));
            }
            return;
        }
        let Some((ack, duplicate)) = read_ack(frame, pending.room, violations) else { return };
        let last = session.last_seq.entry(pending.room).or_default();
        if !duplicate && ack.seq <= *last {
            violations.add(format!("room {}: {} acknowledged after {last}", pending.room, ack.seq));
        }
        *last = ack.seq.max(*last);
        self.shared.ledger.lock().expect("no task panics").acknowledged(&pending.client_id, ack, duplicate);
        self.shared.acks.fetch_add(1, Ordering::Relaxed);
    }
}

fn message_text(id: u64, pending: &Pending) -> String {
    let Pending { client_id, room } = pending;
    let data = json!({"room_id": room, "content": client_id, "client_id": client_id});
    json!({"type": "send_message", "id": id, "data": data}).to_string()
}

fn read_ack(frame: &Frame, room: u64, violations: &mut Violations) -> Option<(Ack, bool)> {
    let data = &frame.data;
    let (seq, id) = (data["seq"].as_u64(), data["message_id"].as_u64());
    let (created_at, duplicate) = (data["created_at"].as_str(), data["duplicate"].as_bool());
    match (seq, created_at, duplicate) {
        (Some(seq), Some(created_at), Some(duplicate))
            if frame.kind == "message_sent" && id == Some(seq) && data["room_id"] == room =>
        {
            Some((Ack { seq, created_at: created_at.to_owned() }, duplicate))
        }
        _ => {
            violations.add(format!("no message_sent for room {room}: {frame:?}"));
            None
        }
    }
}

/// Sends everything that a user sent once more: each must get its first answer, marked as a duplicate.
pub(super) async fn send_again(shared: &Shared, token: &str, mine: &[(String, u64)]) -> Result<(), String> {
    let mut attempts = 0;
    let mut socket = loop {
        // The database may have been killed a moment ago: then a connection is refused as long as nobody can be looked up.
        match connect(shared, token).await {
            Some(socket) => break socket,
            None if attempts < SEND_AGAIN_ATTEMPTS => attempts += 1,
            None => return Err("no connection for sending again".to_owned()),
        }
        tokio::time::sleep(RETRY).await;
    };
    let mut violations = Violations::default();
    for (chunk_number, chunk) in mine.chunks(64).enumerate() {
        let first_id = (chunk_number * 64) as u64;
        for (offset, (client_id, room)) in chunk.iter().enumerate() {
            let pending = Pending { client_id: client_id.clone(), room: *room };
            let text = message_text(first_id + offset as u64, &pending);
            socket.send(Message::text(text)).await.map_err(|error| error.to_string())?;
        }
        for _ in chunk {
            let text = super::next_text(&mut socket).await.ok_or("the connection ended while sending again")?;
            let frame = Frame::parse(&text)?;
            let offset = frame.id.as_ref().and_then(Value::as_u64).and_then(|id| id.checked_sub(first_id));
            let of = offset.and_then(|offset| chunk.get(offset as usize)).ok_or_else(|| format!("a push: {text}"))?;
            if let Some((ack, duplicate)) = read_ack(&frame, of.1, &mut violations) {
                shared.ledger.lock().expect("no task panics").acknowledged(&of.0, ack, duplicate);
            }
        }
    }
    shared.ledger.lock().expect("no task panics").violations.merge(violations);
    Ok(())
}
