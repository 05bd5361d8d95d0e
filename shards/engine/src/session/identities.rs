//! Whom tokens speak for, as far as it is known here: spares a query when somebody comes back, and for each command over
//! HTTP. Known as long as he is connected, and for a while after.

use std::borrow::Borrow;
use std::cell::Cell;
use std::hash::{Hash, Hasher};
use std::rc::Rc;
use std::sync::Arc;

use crate::id::UserId;
use crate::input::Identity;
use crate::map::Set;
use crate::memory::{block, buckets};
use crate::peer::Caller;
use crate::store::UserRow;
use crate::time::{Mono, SECOND_US};

/// Microseconds after the last connection, or command over HTTP, until he is forgotten.
const KEPT_US: u64 = 30 * SECOND_US;

/// The user of a token. Shared by the table and his connections.
#[derive(Debug)]
pub struct Known {
    /// Id.
    pub user_id: UserId,
    username: Arc<str>,
    /// The `username` claim that he came with.
    claim: Option<Box<str>>,
    /// Issuer and subject.
    subject: Box<str>,
    used: Cell<Mono>,
}

impl Known {
    /// As a caller, under a token of his.
    pub fn caller(&self, identity: &Identity) -> Caller {
        Caller { user_id: self.user_id, username: self.username.clone(), role: identity.role, presence: None }
    }

    /// Whether a token is one of his.
    pub fn is_named_by(&self, identity: &Identity) -> bool {
        *self.subject == *subject(identity)
    }

    /// Bytes, without the table's.
    pub fn memory(&self) -> usize {
        let claim = self.claim.as_ref().map_or(0, |claim| block(claim.len()));
        block(size_of::<Known>() + 16) + block(self.subject.len()) + block(self.username.len() + 16) + claim
    }

    /// His connection ends.
    pub fn leaves(&self, now: Mono) {
        self.used.set(now);
    }
}

/// An entry, found by its subject.
#[derive(Debug)]
struct Entry(Rc<Known>);

impl Hash for Entry {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.subject.hash(state);
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        self.0.subject == other.0.subject
    }
}

impl Eq for Entry {}

impl Borrow<str> for Entry {
    fn borrow(&self) -> &str {
        &self.0.subject
    }
}

/// The table.
#[derive(Debug, Default)]
pub struct Identities {
    known: Set<Entry>,
}

impl Identities {
    /// Whom the token speaks for; `None`: to be asked for, since he is unknown or has another name now.
    pub fn find(&self, identity: &Identity, now: Mono) -> Option<Rc<Known>> {
        let Entry(known) = self.known.get(&*subject(identity))?;
        known.used.set(now);
        (identity.username.is_none() || identity.username == known.claim).then(|| known.clone())
    }

    /// The store has said so. Beyond `most` all are forgotten.
    pub fn remember(&mut self, most: usize, identity: &Identity, user: &UserRow, now: Mono) -> Rc<Known> {
        if self.known.len() >= most {
            self.known.clear();
        }
        let known = Rc::new(Known {
            user_id: user.user_id,
            username: (&*user.username).into(),
            claim: identity.username.clone(),
            subject: subject(identity).into(),
            used: Cell::new(now),
        });
        self.known.replace(Entry(known.clone()));
        known
    }

    /// How many are known.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Known> {
        self.known.iter().map(|Entry(known)| &**known)
    }

    /// Bytes of the table.
    pub fn table(&self) -> usize {
        buckets::<Entry>(self.known.capacity())
    }

    /// Forgets who has not been here for a while.
    pub fn sweep(&mut self, now: Mono) {
        self.known.retain(|Entry(known)| Rc::strong_count(known) > 1 || now.since(known.used.get()) < KEPT_US);
        if self.known.len() < self.known.capacity() / 8 {
            self.known.shrink_to(2 * self.known.len());
        }
    }
}

/// Issuer and subject as one key; the separator cannot stand in either.
fn subject(identity: &Identity) -> String {
    let mut key = String::with_capacity(identity.iss.len() + 1 + identity.sub.len());
    key.push_str(&identity.iss);
    key.push('\0');
    key.push_str(&identity.sub);
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::Role;
    use crate::time::WallMs;

    fn identity(sub: &str, name: Option<&str>) -> Identity {
        Identity {
            iss: "".into(),
            sub: sub.into(),
            username: name.map(Into::into),
            role: Role::User,
            session_id: "s".into(),
            issued_at: None,
            expires_at: 0,
        }
    }

    fn row(number: u64, name: &str) -> UserRow {
        UserRow { user_id: UserId(number), username: name.into(), role: "user".into(), created_at: WallMs(0) }
    }

    #[test]
    fn known_while_connected_and_a_while_after() {
        let mut table = Identities::default();
        let user = row(7, "ada");
        let after = |seconds: u64| Mono(seconds * SECOND_US);
        let known = table.remember(100, &identity("ada", None), &user, after(0));
        table.sweep(after(1000));
        assert!(table.known.contains("\0ada"), "connected");
        known.leaves(after(1000));
        drop(known);
        table.sweep(after(1029));
        assert_eq!(table.find(&identity("ada", None), after(1029)).map(|known| known.user_id), Some(UserId(7)));
        table.sweep(after(1058));
        assert!(table.find(&identity("ada", Some("ada2")), after(1058)).is_none(), "another name is looked up");
        table.sweep(after(1100));
        assert!(table.find(&identity("ada", None), after(1100)).is_none(), "gone");
    }

    #[test]
    fn so_many_and_no_more() {
        let mut table = Identities::default();
        for number in 0..10 {
            let user = row(number, "ada");
            table.remember(4, &identity(&number.to_string(), None), &user, Mono(0));
            assert!(table.known.len() <= 4);
        }
        let user = row(1, "eve");
        let renamed = table.remember(4, &identity("9", None), &user, Mono(0));
        assert_eq!(&*renamed.caller(&identity("9", None)).username, "eve");
        assert_eq!(table.find(&identity("9", None), Mono(0)).map(|known| known.user_id), Some(UserId(1)));
    }
}
