//! What the server sends: replies are handed on, events go to the checker.

use super::super::scenario::Kind;
use super::Worker;
use super::client::Stage;
use super::ledger::Shown;
use super::scan::{self, Event};
use crate::frame::{kind_of, reply_id_of};

/// What a deleted message has.
const DELETED: &str = "\"is_deleted\":true";
/// What an edited one has.
const EDITED: &str = "\"is_edited\":true";

impl Worker {
    /// A frame.
    pub fn text(&mut self, number: usize, text: &str, now: u64) {
        let kind = kind_of(text);
        if text.get(9 + kind.len()..).is_some_and(|rest| rest.starts_with("\",\"id\":")) {
            let Some(id) = reply_id_of(text) else {
                return self.ledger.violations.add(format!("a reply to an id that nobody sent: {text:.200}"));
            };
            return self.reply(number, id, kind, text, now);
        }
        match kind {
            "auth_success" => self.authenticated(number, text, now),
            "error" => self.tally.refused("(without id)", self.measured(now)),
            _ => {
                if let Some(event) = scan::event(kind, text) {
                    self.event(number, kind, event, text, now);
                }
            }
        }
    }

    fn event(&mut self, number: usize, kind: &str, event: Event<'_>, text: &str, now: u64) {
        // `read` has a `seq` that is a position.
        if kind == "read" {
            return;
        }
        let places = &self.clients[number].places;
        let Some(place) = places.iter().position(|place| place.id == event.room) else {
            return self.ledger.violations.add(format!("a client was shown an event of a foreign room: {text:.200}"));
        };
        if !places[place].on {
            return self.ledger.violations.add(format!("a client was shown an event after it had left: {text:.200}"));
        }
        let client = &self.clients[number];
        let (own, current) = (client.user as u64, client.current());
        let (mut own_and_live, mut since, mut measured) = (false, None, self.measured(now));
        let shown = match (kind, event.content) {
            ("message", Some(content)) => match scan::identity(content, &self.order.run, self.scenario.load.bytes) {
                Some((identity, whole)) => {
                    if !whole && !text.contains(EDITED) {
                        self.ledger.violations.add(format!("not as it was sent: {text:.400}"));
                    }
                    measured = self.measured(identity.intended_ns);
                    since = Some(now.saturating_sub(identity.intended_ns)).filter(|_| current && identity.user != own);
                    // The answer to a first attempt went to a connection that is no more.
                    own_and_live = current && identity.user == own && client.repeating == 0;
                    Shown::Message(identity)
                }
                None if text.contains(DELETED) => Shown::DeletedMessage,
                None => return self.ledger.violations.add(format!("a message that nobody sent: {text:.400}")),
            },
            ("message", None) => Shown::DeletedMessage,
            ("message_edited", Some(content)) => Shown::Edit(event.message, content),
            ("message_deleted", _) => Shown::Delete(event.message),
            _ => Shown::Other(scan::hash_event(kind, event.message)),
        };
        if let Shown::Message(identity) = shown {
            let client = &mut self.clients[number];
            client.behind &= identity.intended_ns < client.unstalled_ns;
        }
        self.tally.delivered(since, measured);
        self.show(number, place, event.seq, shown, own_and_live, now);
    }

    /// Takes an event to the checker and moves the client's position.
    fn show(&mut self, number: usize, place: usize, seq: u64, shown: Shown<'_>, own_and_live: bool, now: u64) {
        let (room, last) = (self.clients[number].places[place].room, self.clients[number].places[place].last);
        if self.scenario.kind == Kind::Dm && self.clients[number].stage != Stage::Ready && seq != last + 1 {
            // Conversations are live at once: an event may come before those that are owed, or a second time.
            if seq > last {
                self.ledger.event(room, seq - 1, seq, shown, false);
                self.clients[number].early.push((place, seq));
            }
            return;
        }
        self.ledger.event(room, last, seq, shown, own_and_live);
        let client = &mut self.clients[number];
        client.places[place].last = seq;
        while let Some(at) = client.early.iter().position(|early| *early == (place, client.places[place].last + 1)) {
            client.early.swap_remove(at);
            client.places[place].last += 1;
        }
        let of = &mut client.places[place];
        if of.target != 0 && of.last >= of.target {
            of.target = 0;
            self.one_less(number, now);
        }
    }

    /// One of the things that a client waits for is there.
    pub fn one_less(&mut self, number: usize, now: u64) {
        let client = &mut self.clients[number];
        if client.stage != Stage::CatchingUp {
            return;
        }
        client.missing = client.missing.saturating_sub(1);
        if client.missing == 0 {
            self.is_ready(number, now);
        }
    }
}
