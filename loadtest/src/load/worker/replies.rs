//! Replies: what they promise goes to the checker, and entering rooms goes on.

use super::super::scenario::{Kind, Verb};
use super::client::{Asked, Pending, Stage};
use super::ledger::Found;
use super::scan::Identity;
use super::{Timer, Worker};
use crate::frame::number_of;
use serde_json::Value;
use std::cmp::Reverse;

/// Pause before an entry that was refused for the moment is tried again.
const AGAIN_NS: u64 = 50_000_000;

impl Worker {
    /// A reply has come.
    pub fn reply(&mut self, number: usize, id: u64, kind: &str, text: &str, now: u64) {
        let Some(pending) = self.table.take(id, number) else {
            return self.ledger.violations.add(format!("a reply that nobody waits for: {text:.200}"));
        };
        if let Asked::Verb(verb) = pending.asked {
            self.clients[number].repeating -= usize::from(pending.repeated);
            self.closed = self.closed.saturating_sub(1);
            let measured = self.measured(pending.intended_ns);
            if kind == "error" {
                return self.tally.refused(code_of(text), measured);
            }
            self.tally.acknowledged(now.saturating_sub(pending.intended_ns), measured);
            return self.done(number, verb, pending, text, now);
        }
        if kind == "error" {
            return self.refused_entry(number, text, now);
        }
        match pending.asked {
            Asked::Join | Asked::Return => self.joined(number, pending, text, now),
            Asked::Resume => self.resumed(number, text, now),
            Asked::CreateDm => self.conversation(number, text, now),
            Asked::Verb(_) => {}
        }
    }

    /// A command of the load is done.
    fn done(&mut self, number: usize, verb: Verb, pending: Pending, text: &str, now: u64) {
        let place = self.clients[number].places[pending.place];
        let seq = number_of(text, "\"seq\":");
        match verb {
            Verb::Send | Verb::Reply => {
                let Some(seq) = seq else {
                    return self.ledger.violations.add(format!("acknowledged without seq: {text:.200}"));
                };
                if !pending.repeated && text.contains("\"duplicate\":true") {
                    self.ledger.violations.add(format!("a first attempt taken for a repetition: {text:.200}"));
                }
                self.ledger.acknowledged(place.room, seq, pending.identity);
                self.clients[number].remember(pending.place, seq, pending.identity);
            }
            Verb::Edit | Verb::Delete | Verb::React | Verb::Unreact | Verb::Pin | Verb::Unpin => {
                self.ledger.named(place.room, seq.unwrap_or(0));
            }
            Verb::History | Verb::Thread | Verb::Message => self.page(place.room, text),
            Verb::Resubscribe | Verb::Rejoin => {
                self.clients[number].places[pending.place].on = false;
                self.go_back(number, pending.place, verb, now);
            }
            _ => {}
        }
    }

    /// Holds a page against what is known.
    fn page(&mut self, room: usize, text: &str) {
        let Ok(reply) = serde_json::from_str::<Value>(text) else {
            return self.ledger.violations.add(format!("no JSON: {text:.200}"));
        };
        let data = &reply["data"];
        let single = [&data["message"], &data["parent"]];
        for message in data["messages"].as_array().into_iter().flatten().chain(single).filter(|of| of.is_object()) {
            self.ledger.read(room, found(message, &self.order.run, self.scenario.load.bytes));
        }
    }

    /// An entry that was refused is tried again where that may help.
    fn refused_entry(&mut self, number: usize, text: &str, now: u64) {
        self.tally.refused(code_of(text), self.measured(now));
        if !text.contains("\"retryable\":true") {
            self.failed = Some(format!("a client cannot enter its room: {text:.400}"));
            return;
        }
        self.last_failure = text.chars().take(200).collect();
        // The connection is begun anew, which tries everything again.
        self.drop_connection(number);
        self.timers.push(Reverse((now + AGAIN_NS, Timer::Return(number))));
    }

    /// A client is in a room: its view begins there.
    fn joined(&mut self, number: usize, pending: Pending, text: &str, now: u64) {
        // After the room, which has a `seq` too.
        let own = text.find("\"role\":").map_or("", |at| &text[at..]);
        let Some(seq) = number_of(own, "\"seq\":") else {
            return self.ledger.violations.add(format!("joined without seq: {text:.200}"));
        };
        let place = &mut self.clients[number].places[pending.place];
        let (room, last) = (place.room, place.last);
        let recovered = own.contains("\"recovered\":true");
        (place.on, place.leaving) = (true, false);
        self.ledger.joined(room, seq);
        let resubscribed = pending.message != 0;
        if !(resubscribed && recovered) {
            self.clients[number].places[pending.place].last = seq;
            if self.clients[number].resumes {
                self.ledger.skipped(room, last, seq);
            }
        }
        self.one_less(number, now);
    }

    /// A client is back: what it missed follows.
    fn resumed(&mut self, number: usize, text: &str, now: u64) {
        let Ok(reply) = serde_json::from_str::<Value>(text) else {
            return self.ledger.violations.add(format!("no JSON: {text:.200}"));
        };
        for room in reply["data"]["rooms"].as_array().into_iter().flatten() {
            let (id, seq) = (room["room_id"].as_u64().unwrap_or(0), room["seq"].as_u64().unwrap_or(0));
            let Some(at) = self.clients[number].places.iter().position(|place| place.id == id) else {
                self.ledger.violations.add(format!("resumed a room that was not asked for: {room}"));
                continue;
            };
            let place = &mut self.clients[number].places[at];
            if room["recovered"] == true {
                if now >= self.borders.1 {
                    self.tally.counts.resumes += 1;
                }
                if seq > place.last {
                    place.target = seq;
                    self.clients[number].missing += 1;
                } else if seq < place.last {
                    self.ledger.violations.add(format!("resumed at {seq}, after {} was seen: {room}", place.last));
                }
            } else {
                let (of, last) = (place.room, place.last);
                place.last = seq;
                let reason = format!("not recovered: {}", room["reason"].as_str().unwrap_or("no reason"));
                self.tally.refused(&reason, self.measured(now));
                self.ledger.skipped(of, last, seq);
            }
        }
        self.one_less(number, now);
    }

    /// A conversation is made: both are in it.
    fn conversation(&mut self, number: usize, text: &str, now: u64) {
        let id = number_of(text, "\"conversation_id\":").unwrap_or(0);
        for of in [number, number ^ 1] {
            let place = &mut self.clients[of].places[0];
            (place.id, place.on) = (id, true);
            let room = place.room;
            self.ledger.rooms[room].id = id;
            self.ledger.joined(room, 0);
            self.one_less(of, now);
        }
    }

    /// Asks for all rooms of a client that has just authenticated.
    pub fn enter_rooms(&mut self, number: usize, now: u64) {
        let client = &self.clients[number];
        if !client.resumes && self.scenario.kind == Kind::Dm {
            return self.meet(number, now);
        }
        let resumes = client.resumes;
        let back: Vec<String> = (client.places.iter().filter(|place| resumes && place.on))
            .map(|place| format!(r#"{{"room_id":{},"last_seq":{}}}"#, place.id, place.last))
            .collect();
        let joins: Vec<usize> = (0..client.places.len()).filter(|at| !resumes || !client.places[*at].on).collect();
        self.clients[number].missing = joins.len() + usize::from(!back.is_empty());
        if !back.is_empty() {
            self.ask(number, 0, Asked::Resume, 0, now, |id| {
                format!(r#"{{"type":"resume","id":{id},"data":{{"rooms":[{}]}}}}"#, back.join(","))
            });
        }
        for place in joins {
            let room = self.clients[number].places[place].id;
            self.ask(number, place, Asked::Join, 0, now, |id| {
                format!(r#"{{"type":"join_room","id":{id},"data":{{"room_id":{room}}}}}"#)
            });
        }
    }

    /// The second of two to come makes their conversation.
    fn meet(&mut self, number: usize, now: u64) {
        self.clients[number].missing = 1;
        let other = &self.clients[number ^ 1];
        if other.stage == Stage::CatchingUp && other.user_id != 0 {
            let user = other.user_id;
            self.ask(number, 0, Asked::CreateDm, 0, now, |id| {
                format!(r#"{{"type":"create_dm","id":{id},"data":{{"user_id":{user}}}}}"#)
            });
        }
    }

    /// The way back into a room that was left for a moment.
    fn go_back(&mut self, number: usize, place: usize, verb: Verb, now: u64) {
        let of = self.clients[number].places[place];
        if verb == Verb::Resubscribe {
            let text = |id| {
                let (room, last) = (of.id, of.last);
                format!(r#"{{"type":"subscribe","id":{id},"data":{{"room_id":{room},"last_seq":{last}}}}}"#)
            };
            self.ask(number, place, Asked::Return, 1, now, text);
        } else {
            let room = of.id;
            let text = |id| format!(r#"{{"type":"join_room","id":{id},"data":{{"room_id":{room}}}}}"#);
            self.ask(number, place, Asked::Return, 0, now, text);
        }
    }

    /// Sends a command that is no part of the load.
    fn ask(&mut self, client: usize, place: usize, asked: Asked, message: u64, now: u64, text: impl Fn(u64) -> String) {
        let identity = Identity::NONE;
        let pending = Pending { client, place, asked, intended_ns: now, identity, message, repeated: false };
        match self.table.insert(pending) {
            Some(id) => self.send(client, text(id)),
            None => self.failed = Some("too many commands under way".into()),
        }
    }
}

/// A message of a page or history.
pub fn found(message: &Value, run: &str, bytes: usize) -> Found {
    let content = message["content"].as_str().unwrap_or("");
    let id = message["message_id"].as_u64().unwrap_or(0);
    Found::new(id, content, message["is_deleted"] == true, run, bytes)
}

fn code_of(text: &str) -> &str {
    text.find("\"code\":\"").and_then(|at| text[at + 8..].split('"').next()).unwrap_or("(no code)")
}
