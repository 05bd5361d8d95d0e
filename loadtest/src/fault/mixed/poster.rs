//! A poster: does everything to messages that one can do, many at a time. What one of its commands is about is left
//! alone by its others until the answer is there; sends are repeated until they have one.

use super::ledger::{End, Known, Ledger, Promise, ReactionKey, Said};
use super::{Cast, EMOJI};
use crate::check::Violations;
use crate::client::Socket;
use crate::dice::Dice;
use crate::fault::{RECONNECT, Shared, connect, parse};
use crate::frame::Frame;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Arc, MutexGuard};
use std::time::Duration;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_tungstenite::tungstenite::Message;

/// How long a retryable refusal waits when the server names no time.
const RETRY: Duration = Duration::from_millis(100);
/// Newest messages of a room that are answered and reacted to.
const POOL: usize = 60;

/// One command.
#[derive(Clone, Debug)]
enum Act {
    Send { client_id: String, room: u64, parent: Option<u64>, content: String },
    Edit { room: u64, id: u64, content: String },
    Delete { room: u64, id: u64 },
    Pin { room: u64, id: u64, on: bool, certain: bool },
    React { room: u64, id: u64, emoji: &'static str, on: bool, certain: bool },
    Read { room: u64, seq: u64 },
}

/// What a command keeps others of the same poster from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Subject {
    Message(u64, u64),
    Reaction(ReactionKey),
    Position(u64),
}

pub(super) struct Poster {
    shared: Arc<Shared>,
    cast: Arc<Cast>,
    number: usize,
    window: usize,
    pace: Interval,
    dice: Dice,
    made: u64,
    /// Own messages that are acknowledged and not known to be deleted.
    mine: Vec<(u64, u64)>,
    busy: HashSet<Subject>,
    /// To be sent at that time.
    due: VecDeque<(Instant, Act)>,
}

impl Poster {
    pub(super) fn new(shared: Arc<Shared>, cast: Arc<Cast>, number: usize, window: usize, every: Duration) -> Poster {
        let mut pace = tokio::time::interval(every);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let dice = Dice::new(number as u64);
        let (mine, busy, due) = (Vec::new(), HashSet::new(), VecDeque::new());
        Poster { shared, cast, number, window, pace, dice, made: 0, mine, busy, due }
    }

    fn user(&self) -> u64 {
        self.cast.posters[self.number].id
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.cast.ledger.lock().expect("no task panics")
    }

    /// Runs until it is told to stop and every send is answered.
    pub(super) async fn run(mut self) {
        loop {
            let token = self.cast.posters[self.number].token.clone();
            if let Some(socket) = connect(&self.shared, &token).await {
                let mut waiting = BTreeMap::new();
                if self.talk(socket, &mut waiting).await {
                    return;
                }
                for act in waiting.into_values().rev() {
                    self.unanswered(act);
                }
            }
            tokio::time::sleep(RECONNECT).await;
        }
    }

    /// The connection has ended before the answer.
    fn unanswered(&mut self, act: Act) {
        match act {
            Act::Send { .. } => self.due.push_front((Instant::now(), act)),
            other => self.settle(&other, End::Unknown, &Value::Null),
        }
    }

    /// One connection; true when all is done, false when the connection has ended before.
    async fn talk(&mut self, mut socket: Socket, waiting: &mut BTreeMap<u64, Act>) -> bool {
        let mut next_id = 1;
        let mut stop = self.shared.stop.subscribe();
        loop {
            let stopping = *stop.borrow_and_update();
            while self.due.front().is_some_and(|(at, _)| *at <= Instant::now()) && waiting.len() < self.window {
                let (_, act) = self.due.pop_front().expect("just seen");
                let (kind, data) = act.command();
                let text = json!({"type": kind, "id": next_id, "data": data}).to_string();
                waiting.insert(next_id, act);
                next_id += 1;
                if socket.send(Message::text(text)).await.is_err() {
                    return false;
                }
            }
            if stopping && self.due.is_empty() && waiting.is_empty() {
                return true;
            }
            let retry_at = self.due.front().map_or_else(|| Instant::now() + RETRY, |(at, _)| *at);
            let full = waiting.len() >= self.window;
            tokio::select! {
                next = socket.next() => match next {
                    Some(Ok(Message::Text(text))) => self.answer(&text, waiting),
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return false,
                    Some(Ok(_)) => {}
                },
                _ = self.pace.tick(), if !stopping && !full && self.due.is_empty() => {
                    if let Some(act) = self.make() {
                        self.due.push_back((Instant::now(), act));
                    }
                }
                () = tokio::time::sleep_until(retry_at), if !full => {}
                _ = stop.changed() => {}
            }
        }
    }

    /// Chooses what to do next; `None`: what it would be about is taken.
    fn make(&mut self) -> Option<Act> {
        let room = self.dice.pick(&self.cast.rooms).id;
        let own = if self.mine.is_empty() { None } else { Some(*self.dice.pick(&self.mine)) };
        let other = {
            let cast = self.cast.clone();
            let ledger = cast.ledger.lock().expect("no task panics");
            let pool = ledger.pool.get(&room).map_or(&[][..], |pool| &pool[pool.len().saturating_sub(POOL)..]);
            if pool.is_empty() { None } else { Some((room, *self.dice.pick(pool))) }
        };
        let act = match (self.dice.below(100), own, other) {
            (45..58, Some((room, id)), _) => {
                let content = self.words("edited");
                Act::Edit { room, id, content }
            }
            (58..64, Some((room, id)), _) => Act::Delete { room, id },
            (64..72, Some((room, id)), _) => {
                let now = self.ledger().message(room, id).and_then(|said| said.pinned.get().copied());
                Act::Pin { room, id, on: !now.unwrap_or(false), certain: now.is_some() }
            }
            (72..90, _, Some((room, id))) => {
                let emoji = *self.dice.pick(&EMOJI);
                let key = (room, id, self.user(), emoji);
                let now = self.ledger().reactions.get(&key).map_or(Some(false), |known| known.get().copied());
                Act::React { room, id, emoji, on: !now.unwrap_or(false), certain: now.is_some() }
            }
            (90.., _, Some((room, seq))) => Act::Read { room, seq },
            _ => return Some(self.say(room, other.map(|(_, id)| id))),
        };
        if !self.busy.insert(act.subject(self.user())?) {
            return None;
        }
        Some(act)
    }

    fn say(&mut self, room: u64, other: Option<u64>) -> Act {
        let client_id = format!("p{}m{}", self.number, self.made);
        let content = format!("{client_id} {}", self.words("said"));
        let parent = other.filter(|_| self.dice.percent(30));
        let (author, sent) = (self.user(), content.clone());
        let (deleted, pinned) = (Known::sure(false), Known::sure(false));
        let said = Said { room, author, parent, content: sent, id: None, edits: Vec::new(), deleted, pinned };
        self.ledger().sending(&client_id, said);
        Act::Send { client_id, room, parent, content }
    }

    /// A text with a word of its own, which may mention somebody.
    fn words(&mut self, verb: &str) -> String {
        self.made += 1;
        let mut text = format!("{verb} p{}v{}", self.number, self.made);
        if self.dice.percent(25) {
            text.push_str(" @");
            text.push_str(&self.dice.pick(&self.cast.posters).name);
        } else if self.dice.percent(3) {
            text.push_str(" @room");
        }
        text
    }

    fn answer(&mut self, text: &str, waiting: &mut BTreeMap<u64, Act>) {
        let mut violations = Violations::default();
        if let Some(frame) = parse(text, &mut violations)
            && let Some(id) = frame.id.as_ref().and_then(Value::as_u64)
        {
            match waiting.remove(&id) {
                Some(act) if frame.kind == "error" => self.refused(act, &frame, &mut violations),
                Some(act) if frame.kind == act.reply() => {
                    self.settle(&act, End::Done, &frame.data);
                    self.shared.acknowledged(act.command().0);
                }
                Some(act) => violations.add(format!("the answer to {act:?}: {text}")),
                None => violations.add(format!("a second reply to one command: {text}")),
            }
        }
        if violations.count > 0 {
            self.ledger().violations.merge(violations);
        }
    }

    fn refused(&mut self, act: Act, frame: &Frame, violations: &mut Violations) {
        let code = frame.data["code"].as_str().unwrap_or("(no code)");
        self.shared.refused(code);
        let unknown = matches!(code, "STORE_UNAVAILABLE" | "INTERNAL");
        let retryable = frame.data["retryable"] == true;
        match (&act, code) {
            (Act::Send { .. }, _) if retryable => {
                let wait = frame.data["retry_after_ms"].as_u64().map_or(RETRY, Duration::from_millis);
                self.due.push_back((Instant::now() + wait, act));
            }
            (_, _) if retryable => self.settle(&act, if unknown { End::Unknown } else { End::Nothing }, &Value::Null),
            // A void keeps its place: a stated loss. And what others delete meanwhile is not there any more.
            (_, "INTERNAL" | "MESSAGE_NOT_FOUND") => self.settle(&act, End::Nothing, &Value::Null),
            _ => violations.add(format!("{act:?} was refused for good: {frame:?}")),
        }
    }

    /// Enters how a command has ended.
    fn settle(&mut self, act: &Act, end: End, reply: &Value) {
        let user = self.user();
        if let Some(subject) = act.subject(user) {
            self.busy.remove(&subject);
        }
        let seq = reply["seq"].as_u64().unwrap_or(0);
        let cast = self.cast.clone();
        let mut ledger = cast.ledger.lock().expect("no task panics");
        if let Some((room, message, kind)) = act.promise().filter(|_| end == End::Done) {
            ledger.promises.push(Promise { room, seq, kind, message });
        }
        match act {
            Act::Send { client_id, .. } if end == End::Nothing => ledger.not_sent(client_id),
            Act::Send { client_id, room, .. } => {
                ledger.sent(client_id, seq, reply["duplicate"] == true);
                self.mine.push((*room, seq));
            }
            Act::Edit { room, id, content } => ledger.edited(*room, *id, content, end),
            Act::Delete { room, id } => {
                ledger.deleted(*room, *id, end);
                // Also where nobody knows: what follows on a tombstone is refused.
                self.mine.retain(|own| *own != (*room, *id));
            }
            Act::Pin { room, id, on, .. } => ledger.pinned(*room, *id, *on, end),
            Act::React { room, id, emoji, on, .. } => ledger.reacted((*room, *id, user, emoji), *on, end),
            Act::Read { room, seq: asked } if end != End::Nothing => {
                ledger.read(*room, user, *asked, reply["seq"].as_u64())
            }
            Act::Read { .. } => {}
        }
    }
}

impl Act {
    fn command(&self) -> (&'static str, Value) {
        match self {
            Act::Send { client_id, room, parent, content } => (
                "send_message",
                json!({"room_id": room, "content": content, "client_id": client_id, "parent_id": parent}),
            ),
            Act::Edit { room, id, content } => {
                ("edit_message", json!({"room_id": room, "message_id": id, "content": content}))
            }
            Act::Delete { room, id } => ("delete_message", json!({"room_id": room, "message_id": id})),
            Act::Pin { room, id, on, .. } => {
                (if *on { "pin_message" } else { "unpin_message" }, json!({"room_id": room, "message_id": id}))
            }
            Act::React { room, id, emoji, on, .. } => (
                if *on { "add_reaction" } else { "remove_reaction" },
                json!({"room_id": room, "message_id": id, "emoji": emoji}),
            ),
            Act::Read { room, seq } => ("mark_read", json!({"room_id": room, "seq": seq})),
        }
    }

    fn reply(&self) -> &'static str {
        match self {
            Act::Send { .. } => "message_sent",
            Act::Read { .. } => "read_marked",
            _ => self.push(),
        }
    }

    /// The push that follows, which for these is named as the reply.
    fn push(&self) -> &'static str {
        match self {
            Act::Send { .. } | Act::Read { .. } => "message",
            Act::Edit { .. } => "message_edited",
            Act::Delete { .. } => "message_deleted",
            Act::Pin { on: true, .. } => "message_pinned",
            Act::Pin { .. } => "message_unpinned",
            Act::React { on: true, .. } => "reaction_added",
            Act::React { .. } => "reaction_removed",
        }
    }

    /// The event that its acknowledgement promises, besides a send's: room, message, push. What may have been so before
    /// promises none.
    fn promise(&self) -> Option<(u64, u64, &'static str)> {
        match self {
            Act::Edit { room, id, .. }
            | Act::Delete { room, id }
            | Act::Pin { room, id, certain: true, .. }
            | Act::React { room, id, certain: true, .. } => Some((*room, *id, self.push())),
            _ => None,
        }
    }

    fn subject(&self, user: u64) -> Option<Subject> {
        match self {
            Act::Send { .. } => None,
            Act::Edit { room, id, .. } | Act::Delete { room, id } | Act::Pin { room, id, .. } => {
                Some(Subject::Message(*room, *id))
            }
            Act::React { room, id, emoji, .. } => Some(Subject::Reaction((*room, *id, user, emoji))),
            Act::Read { room, .. } => Some(Subject::Position(*room)),
        }
    }
}
