//! What the server sends: replies are handed on, events go to the checker.

use super::super::scenario::Kind;
use super::Worker;
use super::client::{Place, Stage};
use super::ledger::{Shown, View};
use super::scan::{self, Event, Identity};
use crate::frame::{kind_of, number_of, reply_id_of};

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
            "" => self.ledger.violations.add(format!("no frame of the protocol: {text:.200}")),
            // These are of a room, and take no place in it; the `seq` of `read` is a position.
            "member_joined" | "member_left" | "presence" | "online_count" | "typing" | "read" => {
                self.ephemeral(number, text);
            }
            _ => {
                if let Some(event) = scan::event(kind, text) {
                    self.event(number, kind, event, text, now);
                }
            }
        }
    }

    /// Who is not in a room is told nothing of it. (A conversation is there before its id is known.)
    fn ephemeral(&mut self, number: usize, text: &str) {
        let room = number_of(text, "\"room_id\":").unwrap_or(0);
        let places = &self.clients[number].places;
        if self.scenario.kind == Kind::Room && !places.iter().any(|place| place.id == room && place.on) {
            self.ledger.violations.add(format!("a client was told of a room that it is not in: {text:.200}"));
        }
    }

    fn event(&mut self, number: usize, kind: &str, event: Event<'_>, text: &str, now: u64) {
        let places = &self.clients[number].places;
        let Some(place) = places.iter().position(|place| place.id == event.room) else {
            return self.ledger.violations.add(format!("a client was shown an event of a foreign room: {text:.200}"));
        };
        if !places[place].on {
            return self.ledger.violations.add(format!("a client was shown an event after it had left: {text:.200}"));
        }
        let room = places[place].room;
        let (mut own_and_live, mut since, mut measured) = (false, None, self.measured(now));
        let shown = match (kind, event.content) {
            ("message", Some(content)) => match scan::identity(content, &self.order.run, self.scenario.load.bytes) {
                Some((identity, whole)) => {
                    self.as_sent(room, identity, whole, event, text);
                    let client = &mut self.clients[number];
                    let (own, current) = (identity.user == client.user as u64, client.current());
                    client.behind &= identity.intended_ns < client.unstalled_ns;
                    // The answer to a first attempt went to a connection that is no more.
                    own_and_live = current && own && client.repeating == 0;
                    since = Some(now.saturating_sub(identity.intended_ns)).filter(|_| current && !own);
                    measured = self.measured(identity.intended_ns);
                    Shown::Message(identity, whole)
                }
                None if text.contains(DELETED) => Shown::DeletedMessage,
                None => return self.ledger.violations.add(format!("a message that nobody sent: {text:.400}")),
            },
            ("message", None) => Shown::DeletedMessage,
            ("message_edited", Some(content)) => {
                self.as_edited(room, event.message, content);
                Shown::Edit(event.message, content)
            }
            ("message_deleted", _) => Shown::Delete(event.message),
            _ => Shown::Other(scan::hash_event(kind, event.message)),
        };
        self.tally.delivered(since, measured);
        self.show(number, place, event.seq, shown, own_and_live, now);
    }

    /// Whether a message is in the room that it was sent to, by who sent it, as it was sent.
    fn as_sent(&mut self, room: usize, identity: Identity, whole: bool, event: Event<'_>, text: &str) {
        if identity.room != room as u64 {
            self.ledger.violations.add(format!("a message of another room: {text:.400}"));
        }
        if !whole && !text.contains(EDITED) {
            self.ledger.violations.add(format!("not as it was sent: {text:.400}"));
        }
        if event.message != event.seq {
            self.ledger.violations.add(format!("a message_id that is not its seq: {text:.200}"));
        }
        self.ledger.author(identity.user, event.author);
    }

    /// Whether an edit is one of this run, of that message. (Replayed after the message's deletion, it has no content.)
    fn as_edited(&mut self, room: usize, message: u64, content: &str) {
        if content.is_empty() {
            return;
        }
        match scan::identity(content, &self.order.run, self.scenario.load.bytes) {
            Some((identity, _)) => self.ledger.named_by_edit(room, message, identity),
            None => self.ledger.violations.add(format!("an edit that nobody made: {content:.200}")),
        }
    }

    /// Takes an event to the checker and moves the client's position.
    fn show(&mut self, number: usize, place: usize, seq: u64, shown: Shown<'_>, own: bool, now: u64) {
        let client = &mut self.clients[number];
        let Place { room, last, floor, replayed, .. } = client.places[place];
        let view = View { last, floor, live: seq > replayed, own };
        if self.scenario.kind == Kind::Dm && seq != last + 1 {
            // Conversations are live at once: until a resume has replayed all that it owes, an event may come before those,
            // or a second time.
            if seq <= last && seq <= replayed {
                return;
            }
            if seq > last && client.stage != Stage::Ready {
                client.early.push((place, seq));
                return self.ledger.event(room, seq, shown, View { last: seq - 1, own: false, ..view });
            }
        }
        self.ledger.event(room, seq, shown, view);
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
