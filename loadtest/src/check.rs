//! The checker: what writers were promised and readers were shown, held against what the history says in the end.
//!
//! The workload gives each message a content of its own, so that content names the message.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

/// What a writer was told about one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The event's `seq`, which is the message's id.
    pub seq: u64,
    /// As the reply said it.
    pub created_at: String,
}

/// One message that a writer has tried to send.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Its room.
    pub room: u64,
    /// What the first reply said; `None` while there is none, or where the server refused it for good.
    pub ack: Option<Ack>,
}

/// What went wrong; the first few are kept in words, all are counted.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Violations {
    /// How many.
    pub count: u64,
    /// The first 20.
    pub first: Vec<String>,
}

impl Violations {
    /// One more.
    pub fn add(&mut self, what: String) {
        self.count += 1;
        if self.first.len() < 20 {
            self.first.push(what);
        }
    }

    /// Takes another's over.
    pub fn merge(&mut self, other: Violations) {
        self.count += other.count;
        self.first.extend(other.first);
        self.first.truncate(20);
    }
}

/// What the writers know. A message is named by its `client_id`, which is its content too.
#[derive(Debug, Default)]
pub struct Ledger {
    /// By `client_id`.
    pub sent: HashMap<String, Sent>,
    /// What went wrong so far.
    pub violations: Violations,
    /// Messages acknowledged.
    pub acknowledged: u64,
    /// Acknowledgements that were marked as duplicates: the first was lost on its way.
    pub duplicates: u64,
}

impl Ledger {
    /// A message is sent for the first time.
    pub fn sending(&mut self, client_id: String, room: u64) {
        if let Some(earlier) = self.sent.insert(client_id, Sent { room, ack: None }) {
            self.violations.add(format!("the harness used a client_id twice: {earlier:?}"));
        }
    }

    /// An acknowledgement has come, the first one or a repeated one.
    pub fn acknowledged(&mut self, client_id: &str, ack: Ack, duplicate: bool) {
        self.duplicates += u64::from(duplicate);
        let Some(sent) = self.sent.get_mut(client_id) else {
            return self.violations.add(format!("acknowledged, but never sent: {client_id} {ack:?}"));
        };
        match &sent.ack {
            None => {
                sent.ack = Some(ack);
                self.acknowledged += 1;
            }
            Some(first) if *first != ack => {
                let what = format!("{client_id}: first {first:?}, then {ack:?}");
                self.violations.add(what);
            }
            Some(_) if !duplicate => self.violations.add(format!("{client_id}: a second time without duplicate: true")),
            Some(_) => {}
        }
    }
}

/// What one reader was shown of one room.
#[derive(Debug)]
pub struct View {
    room: u64,
    /// The last `seq` seen.
    pub last: u64,
    seen: Vec<(u64, Option<String>)>,
}

impl View {
    /// A view that begins after `last`.
    pub fn after(room: u64, last: u64) -> View {
        View { room, last, seen: Vec::new() }
    }

    /// Its room.
    pub fn room(&self) -> u64 {
        self.room
    }

    /// An event has come: a message by its content, anything else without.
    pub fn event(&mut self, seq: u64, content: Option<&str>, violations: &mut Violations) {
        if seq != self.last + 1 {
            violations.add(format!("room {}: {} was followed by {seq}", self.room, self.last));
        }
        self.last = seq;
        self.seen.push((seq, content.map(str::to_owned)));
    }

    /// How many events it was shown.
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether it was shown nothing yet.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }
}

/// One room as its history shows it in the end.
#[derive(Debug, Default)]
pub struct History {
    /// The room's last `seq`.
    pub head: u64,
    /// Content by message id.
    pub messages: BTreeMap<u64, String>,
}

/// Holds promises and views against the histories (by room): nothing acknowledged is lost or moved, nothing is
/// doubled, nothing is there that nobody sent, and all that a reader saw is there.
pub fn verify(ledger: &Ledger, views: &[View], histories: &HashMap<u64, History>) -> Violations {
    let mut violations = ledger.violations.clone();
    let empty = History::default();
    for (client_id, sent) in &ledger.sent {
        let Some(ack) = &sent.ack else { continue };
        let found = histories.get(&sent.room).unwrap_or(&empty).messages.get(&ack.seq);
        if found.map(String::as_str) != Some(client_id) {
            violations
                .add(format!("room {}: {client_id} was acknowledged as {}, there is {found:?}", sent.room, ack.seq));
        }
    }
    let mut places: HashMap<&str, (u64, u64)> = HashMap::new();
    for (room, history) in histories {
        for (seq, content) in &history.messages {
            if *seq > history.head {
                violations.add(format!("room {room}: message {seq} is beyond the head {}", history.head));
            }
            if let Some(first) = places.insert(content, (*room, *seq)) {
                violations.add(format!("{content} is there twice: {first:?} and {:?}", (room, seq)));
            }
            if ledger.sent.get(content).map(|sent| sent.room) != Some(*room) {
                violations.add(format!("room {room}: nobody sent {content} ({seq}) to it"));
            }
        }
    }
    for view in views {
        let history = histories.get(&view.room).unwrap_or(&empty);
        for (seq, content) in &view.seen {
            if history.messages.get(seq) != content.as_ref() {
                violations.add(format!("room {}: a reader saw {content:?} as {seq}", view.room));
            }
        }
        if view.last != history.head {
            violations.add(format!("room {}: a reader ended at {} of {}", view.room, view.last, history.head));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    type Plant = fn(&mut World);
    type World = (Ledger, Vec<View>, HashMap<u64, History>);

    fn ack(seq: u64) -> Ack {
        Ack { seq, created_at: format!("t{seq}") }
    }

    /// Two messages and a void in one room, all as it should be.
    fn world() -> World {
        let (mut ledger, mut view, mut violations) = (Ledger::default(), View::after(1, 0), Violations::default());
        for (client_id, seq) in [("a", 1), ("b", 3)] {
            ledger.sending(client_id.into(), 1);
            ledger.acknowledged(client_id, ack(seq), false);
        }
        for (seq, content) in [(1, Some("a")), (2, None), (3, Some("b"))] {
            view.event(seq, content, &mut violations);
        }
        assert_eq!(violations.count, 0);
        let messages = BTreeMap::from([(1, "a".to_owned()), (3, "b".to_owned())]);
        (ledger, vec![view], HashMap::from([(1, History { head: 3, messages })]))
    }

    #[test]
    fn finds_each_fault_and_nothing_else() {
        let faults: [(&str, Plant); 9] = [
            ("lost", |(_, _, h)| drop(h.get_mut(&1).unwrap().messages.remove(&3))),
            ("moved", |(l, _, _)| l.sent.get_mut("b").unwrap().ack = Some(ack(2))),
            ("doubled", |(_, _, h)| drop(h.get_mut(&1).unwrap().messages.insert(2, "a".into()))),
            ("foreign", |(_, _, h)| drop(h.get_mut(&1).unwrap().messages.insert(2, "x".into()))),
            ("another answer", |(l, _, _)| l.acknowledged("a", ack(2), true)),
            ("not marked as duplicate", |(l, _, _)| l.acknowledged("a", ack(1), false)),
            ("a gap", |(l, v, _)| v[0].event(5, None, &mut l.violations)),
            ("a repetition", |(l, v, _)| v[0].event(3, Some("b"), &mut l.violations)),
            ("short of the head", |(_, _, h)| h.get_mut(&1).unwrap().head = 4),
        ];
        let (ledger, views, histories) = world();
        assert_eq!(verify(&ledger, &views, &histories).first, Vec::<String>::new());
        for (name, plant) in faults {
            let mut world = world();
            plant(&mut world);
            assert!(verify(&world.0, &world.1, &world.2).count > 0, "{name} was not found");
        }
    }
}
