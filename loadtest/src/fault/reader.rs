//! A reader: subscribed to every room, it resumes after each lost connection and must be shown each event once.

use super::{RECONNECT, Shared, connect, next_text, parse};
use crate::check::{View, Violations};
use crate::client::Socket;
use crate::frame::{Frame, kind_of};
use futures_util::SinkExt as _;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio_tungstenite::tungstenite::Message;

/// Pushes that take a `seq`.
const SEQUENCED: [&str; 13] = [
    "message",
    "message_edited",
    "message_deleted",
    "reaction_added",
    "reaction_removed",
    "message_pinned",
    "message_unpinned",
    "member_kicked",
    "member_role_changed",
    "user_sanctioned",
    "room_updated",
    "room_deleted",
    "void",
];

/// What a reader keeps of one room.
pub(super) trait Watch: Send + 'static {
    /// From before the first event.
    fn begin(room: u64) -> Self;
    /// Which room.
    fn room(&self) -> u64;
    /// The last `seq` seen.
    fn last(&self) -> u64;
    /// An event has come; a jump of `seq` is a violation.
    fn event(&mut self, seq: u64, frame: &Frame, violations: &mut Violations);
}

impl Watch for View {
    fn begin(room: u64) -> View {
        View::after(room, 0)
    }

    fn room(&self) -> u64 {
        View::room(self)
    }

    fn last(&self) -> u64 {
        self.last
    }

    fn event(&mut self, seq: u64, frame: &Frame, violations: &mut Violations) {
        let content = (frame.kind == "message").then(|| frame.data["content"].as_str()).flatten();
        View::event(self, seq, content, violations);
    }
}

pub(super) struct Reader<W> {
    shared: Arc<Shared>,
    token: String,
    pub(super) views: Vec<W>,
    pub(super) violations: Violations,
}

impl<W: Watch> Reader<W> {
    pub(super) fn new(shared: Arc<Shared>, token: String) -> Reader<W> {
        let views = shared.rooms.iter().map(|room| W::begin(room.id)).collect();
        Reader { shared, token, views, violations: Violations::default() }
    }

    /// Runs until it has seen every room up to its head, once the heads are known.
    pub(super) async fn run(mut self) -> Reader<W> {
        loop {
            if let Some(mut socket) = connect(&self.shared, &self.token).await
                && self.resume(&mut socket).await
                && self.read(&mut socket).await
            {
                return self;
            }
            tokio::time::sleep(RECONNECT).await;
        }
    }

    /// Names every position; false if the connection ends before the answer.
    async fn resume(&mut self, socket: &mut Socket) -> bool {
        let epochs = self.shared.rooms.iter().map(|room| room.epoch);
        let point = |(view, epoch): (&W, u64)| json!({"room_id": view.room(), "last_seq": view.last(), "epoch": epoch});
        let points: Vec<Value> = self.views.iter().zip(epochs).map(point).collect();
        let command = json!({"type": "resume", "id": 1, "data": {"rooms": points}}).to_string();
        if socket.send(Message::text(command)).await.is_err() {
            return false;
        }
        while let Some(text) = next_text(socket).await {
            let Some(frame) = parse(&text, &mut self.violations) else { continue };
            if frame.id.is_none() {
                self.push(&text, &frame);
                continue;
            }
            if frame.kind == "error" && frame.data["retryable"] == true {
                self.shared.refused(frame.data["code"].as_str().unwrap_or("(no code)"));
                return false;
            }
            self.check_resumed(&frame);
            return true;
        }
        false
    }

    fn check_resumed(&mut self, frame: &Frame) {
        let rooms = frame.data["rooms"].as_array().map_or(&[] as &[Value], Vec::as_slice);
        if frame.kind != "resumed" || rooms.len() != self.views.len() {
            return self.violations.add(format!("no answer to resume: {frame:?}"));
        }
        for (view, room) in self.views.iter().zip(rooms) {
            let recovered = room["recovered"] == true && room["room_id"] == view.room();
            let replayed = room["seq"].as_u64().and_then(|seq| seq.checked_sub(view.last()));
            if !recovered || replayed != room["replayed"].as_u64() {
                self.violations.add(format!("after {}: not recovered: {room}", view.last()));
            }
        }
    }

    /// Reads until all is seen (true) or the connection ends (false).
    async fn read(&mut self, socket: &mut Socket) -> bool {
        let mut heads = self.shared.heads.subscribe();
        loop {
            if let Some(heads) = &*heads.borrow_and_update()
                && self.views.iter().all(|view| view.last() >= heads[&view.room()])
            {
                return true;
            }
            tokio::select! {
                text = next_text(socket) => match text {
                    Some(text) if SEQUENCED.contains(&kind_of(&text)) => {
                        if let Some(frame) = parse(&text, &mut self.violations) {
                            self.push(&text, &frame);
                        }
                    }
                    Some(_) => {}
                    None => return false,
                },
                _ = heads.changed() => {}
            }
        }
    }

    fn push(&mut self, text: &str, frame: &Frame) {
        if !SEQUENCED.contains(&frame.kind.as_str()) {
            return;
        }
        let room = frame.data["room_id"].as_u64();
        let view = self.views.iter_mut().find(|view| Some(view.room()) == room);
        match (view, frame.data["seq"].as_u64()) {
            (Some(view), Some(seq)) => view.event(seq, frame, &mut self.violations),
            _ => self.violations.add(format!("an event of no room of ours: {text}")),
        }
    }
}
