//! What posters were promised about shared rooms: messages and what became of them. What has no answer may be so or so.

use crate::check::Violations;
use std::collections::{BTreeSet, HashMap};

/// A value that was acknowledged, and those that may have taken its place: their commands had no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known<T: Ord>(BTreeSet<T>);

impl<T: Ord> Known<T> {
    /// Acknowledged.
    pub fn sure(value: T) -> Known<T> {
        Known(BTreeSet::from([value]))
    }

    /// It is this or what it was.
    pub fn maybe(&mut self, value: T) {
        self.0.insert(value);
    }

    /// Whether this may be.
    pub fn allows(&self, value: &T) -> bool {
        self.0.contains(value)
    }

    /// The value, if there is no doubt.
    pub fn get(&self) -> Option<&T> {
        if self.0.len() == 1 { self.0.first() } else { None }
    }
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Acknowledged.
    Done,
    /// Nobody knows.
    Unknown,
    /// Refused: nothing has changed.
    Nothing,
}

/// A message, by its `client_id`.
#[derive(Clone, Debug)]
pub struct Said {
    /// The room.
    pub room: u64,
    /// Who.
    pub author: u64,
    /// What it answers, as given.
    pub parent: Option<u64>,
    /// As sent.
    pub content: String,
    /// `None`: not acknowledged.
    pub id: Option<u64>,
    /// New contents, in the order asked for; true: acknowledged.
    pub edits: Vec<(String, bool)>,
    /// It is a tombstone.
    pub deleted: Known<bool>,
    /// It is pinned.
    pub pinned: Known<bool>,
}

/// An acknowledged event: its place, its push, its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promise {
    /// The room.
    pub room: u64,
    /// The place.
    pub seq: u64,
    /// `type` of the push.
    pub kind: &'static str,
    /// What it is about.
    pub message: u64,
}

/// Whose reaction: room, message, user, emoji.
pub type ReactionKey = (u64, u64, u64, &'static str);

/// The account of all posters.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Messages by `client_id`.
    pub said: HashMap<String, Said>,
    /// `client_id`s by room and message id.
    pub ids: HashMap<(u64, u64), String>,
    /// By room: acknowledged messages, for others to answer and react to.
    pub pool: HashMap<u64, Vec<u64>>,
    /// Who has reacted.
    pub reactions: HashMap<ReactionKey, Known<bool>>,
    /// By room and user: acknowledged position, and the furthest that was asked for.
    pub reads: HashMap<(u64, u64), (u64, u64)>,
    /// Events that replies have named.
    pub promises: Vec<Promise>,
    /// Sends that were refused; they must not be there.
    pub refused: Vec<String>,
    /// Answers marked as repetitions.
    pub duplicates: u64,
    /// What went wrong so far.
    pub violations: Violations,
}

impl Ledger {
    /// A message is sent for the first time.
    pub fn sending(&mut self, client_id: &str, said: Said) {
        if self.said.insert(client_id.to_owned(), said).is_some() {
            self.violations.add(format!("the harness used {client_id} twice"));
        }
    }

    /// It is acknowledged.
    pub fn sent(&mut self, client_id: &str, id: u64, duplicate: bool) {
        self.duplicates += u64::from(duplicate);
        let Some(said) = self.said.get_mut(client_id) else { return };
        if said.id.is_some_and(|first| first != id) {
            self.violations.add(format!("{client_id}: first {:?}, then {id}", said.id));
        }
        said.id = Some(id);
        let room = said.room;
        if let Some(other) = self.ids.insert((room, id), client_id.to_owned())
            && other != client_id
        {
            self.violations.add(format!("room {room}: {other} and {client_id} were both acknowledged as {id}"));
        }
        self.pool.entry(room).or_default().push(id);
        self.promises.push(Promise { room, seq: id, kind: "message", message: id });
    }

    /// It is refused.
    pub fn not_sent(&mut self, client_id: &str) {
        self.said.remove(client_id);
        self.refused.push(client_id.to_owned());
    }

    /// The message of a room.
    pub fn message(&mut self, room: u64, id: u64) -> Option<&mut Said> {
        self.said.get_mut(self.ids.get(&(room, id))?)
    }

    /// An edit has ended.
    pub fn edited(&mut self, room: u64, id: u64, content: &str, end: End) {
        if let Some(said) = self.message(room, id).filter(|_| end != End::Nothing) {
            said.edits.push((content.to_owned(), end == End::Done));
        }
    }

    /// A deletion has ended.
    pub fn deleted(&mut self, room: u64, id: u64, end: End) {
        if let Some(said) = self.message(room, id) {
            settle(&mut said.deleted, true, end);
            if end != End::Nothing {
                settle(&mut said.pinned, false, end);
            }
        }
    }

    /// A pin has come or gone.
    pub fn pinned(&mut self, room: u64, id: u64, on: bool, end: End) {
        if let Some(said) = self.message(room, id) {
            settle(&mut said.pinned, on, end);
        }
    }

    /// A reaction has come or gone.
    pub fn reacted(&mut self, key: ReactionKey, on: bool, end: End) {
        settle(self.reactions.entry(key).or_insert_with(|| Known::sure(false)), on, end);
    }

    /// A position was asked for; `held`: what the reply said.
    pub fn read(&mut self, room: u64, user: u64, asked: u64, held: Option<u64>) {
        let (least, most) = self.reads.entry((room, user)).or_default();
        *most = asked.max(*most);
        *least = held.unwrap_or(0).max(*least);
    }
}

fn settle<T: Ord>(known: &mut Known<T>, value: T, end: End) {
    match end {
        End::Done => *known = Known::sure(value),
        End::Unknown => known.maybe(value),
        End::Nothing => {}
    }
}

/// Whether these versions (without the original) are what the edits may have come to: every acknowledged one, and any of
/// the others, in the order asked for.
pub fn edits_allow(edits: &[(String, bool)], versions: &[&str]) -> bool {
    let mut left = versions.iter().peekable();
    for (content, acknowledged) in edits {
        if left.peek() == Some(&&content.as_str()) {
            left.next();
        } else if *acknowledged {
            return false;
        }
    }
    left.peek().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_without_an_answer_may_be_there_or_not() {
        let edits = [("a".to_owned(), true), ("b".to_owned(), false), ("c".to_owned(), true)];
        for (versions, allowed) in [
            (&["a", "b", "c"][..], true),
            (&["a", "c"], true),
            (&["a", "b"], false),
            (&["b", "c"], false),
            (&["c", "a"], false),
            (&["a", "c", "c"], false),
            (&[], false),
        ] {
            assert_eq!(edits_allow(&edits, versions), allowed, "{versions:?}");
        }
    }

    #[test]
    fn an_acknowledgement_ends_the_doubt() {
        let mut known = Known::sure(false);
        settle(&mut known, true, End::Nothing);
        assert_eq!(known.get(), Some(&false));
        settle(&mut known, true, End::Unknown);
        assert!(known.get().is_none() && known.allows(&true) && known.allows(&false));
        settle(&mut known, true, End::Done);
        assert!(!known.allows(&false));
    }
}
