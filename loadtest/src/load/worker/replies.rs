//! Replies: what they promise goes to the checker, and entering rooms goes on.

use super::super::scenario::{Kind, Verb};
use super::client::{Asked, Pending, Place, Stage};
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
                if pending.identity != Identity::NONE && !pending.repeated && nothing_happened(text) {
                    self.ledger.refused(pending.identity);
                }
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
            Asked::Resume => self.resumed(number, pending, text, now),
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
            Verb::Edit | Verb::Delete => {
                self.ledger.changed(place.room, seq.unwrap_or(0), pending.message, verb == Verb::Delete);
            }
            Verb::React | Verb::Unreact | Verb::Pin | Verb::Unpin => {
                self.ledger.named(place.room, seq.unwrap_or(0));
            }
            Verb::History | Verb::Thread | Verb::Message => self.page(place.room, text, pending.floor),
            Verb::Resubscribe | Verb::Rejoin => {
                self.clients[number].places[pending.place].on = false;
                self.go_back(number, pending.place, verb, now);
            }
            _ => {}
        }
    }

    /// Holds a page against what is known, and what was when it was asked for.
    fn page(&mut self, room: usize, text: &str, floor: u64) {
        let Ok(reply) = serde_json::from_str::<Value>(text) else {
            return self.ledger.violations.add(format!("no JSON: {text:.200}"));
        };
        let data = &reply["data"];
        let single = [&data["message"], &data["parent"]];
        for message in data["messages"].as_array().into_iter().flatten().chain(single).filter(|of| of.is_object()) {
            self.ledger.read(room, found(message, &self.order.run, self.scenario.load.bytes), floor);
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
        let Place { room, last, id, .. } = *place;
        let recovered = own.contains("\"recovered\":true");
        (place.on, place.leaving) = (true, false);
        if seq < last {
            self.ledger.violations.add(format!("room {id}: joined at {seq}, after {last} was seen: {text:.200}"));
        }
        self.ledger.joined(room, seq);
        let resubscribed = pending.message != 0;
        if resubscribed && recovered {
            self.clients[number].places[pending.place].replayed = seq;
        } else {
            self.clients[number].places[pending.place].last = seq;
            if self.clients[number].resumes {
                self.ledger.skipped(room, last, seq);
            }
            if resubscribed {
                self.not_recovered(own, now);
            }
        }
        self.one_less(number, now);
    }

    /// A client that named its last `seq` has to read the history afresh: no fault, but to be told.
    fn not_recovered(&mut self, text: &str, now: u64) {
        let reason = text.find("\"reason\":\"").and_then(|at| text[at + 10..].split('"').next());
        let what = format!("not recovered: {}", reason.unwrap_or("no reason"));
        self.tally.refused(&what, self.measured(now));
    }

    /// A client is back: what it missed follows.
    fn resumed(&mut self, number: usize, pending: Pending, text: &str, now: u64) {
        let Ok(reply) = serde_json::from_str::<Value>(text) else {
            return self.ledger.violations.add(format!("no JSON: {text:.200}"));
        };
        let rooms = reply["data"]["rooms"].as_array().map_or(&[][..], Vec::as_slice);
        if rooms.len() as u64 != pending.message {
            self.ledger.violations.add(format!("{} rooms were to be resumed: {text:.200}", pending.message));
        }
        for room in rooms {
            self.resumed_room(number, room, now);
        }
        self.one_less(number, now);
    }

    fn resumed_room(&mut self, number: usize, room: &Value, now: u64) {
        let (id, seq) = (room["room_id"].as_u64().unwrap_or(0), room["seq"].as_u64().unwrap_or(0));
        let client = &mut self.clients[number];
        let Some(place) = client.places.iter_mut().find(|place| place.id == id) else {
            return self.ledger.violations.add(format!("resumed a room that was not asked for: {room}"));
        };
        let (of, last) = (place.room, place.last);
        // Conversations are live before that.
        if seq < last && self.scenario.kind == Kind::Room {
            self.ledger.violations.add(format!("resumed at {seq}, after {last} was seen: {room}"));
        }
        if room["recovered"] != true {
            place.last = seq.max(last);
            self.not_recovered(&room.to_string(), now);
            return self.ledger.skipped(of, last, seq);
        }
        if now >= self.borders.1 {
            self.tally.counts.resumes += 1;
        }
        place.replayed = seq;
        if seq > last {
            place.target = seq;
            client.missing += 1;
        }
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
        let back: Vec<usize> = (0..client.places.len()).filter(|at| resumes && client.places[*at].on).collect();
        let joins: Vec<usize> = (0..client.places.len()).filter(|at| !back.contains(at)).collect();
        self.clients[number].missing = joins.len() + usize::from(!back.is_empty());
        if !back.is_empty() {
            let named: Vec<String> = back.iter().map(|place| self.position(number, *place)).collect();
            self.ask(number, 0, Asked::Resume, back.len() as u64, now, |id| {
                format!(r#"{{"type":"resume","id":{id},"data":{{"rooms":[{}]}}}}"#, named.join(","))
            });
        }
        for place in joins {
            let room = self.clients[number].places[place].id;
            self.ask(number, place, Asked::Join, 0, now, |id| {
                format!(r#"{{"type":"join_room","id":{id},"data":{{"room_id":{room}}}}}"#)
            });
        }
    }

    /// A room and the last that was seen of it, as `resume` and `subscribe` want it. What is known of the room by now must be in
    /// what follows.
    fn position(&mut self, number: usize, place: usize) -> String {
        let place = &mut self.clients[number].places[place];
        place.floor = self.ledger.rooms[place.room].head;
        format!(r#"{{"room_id":{},"last_seq":{}}}"#, place.id, place.last)
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
        if verb == Verb::Resubscribe {
            let data = self.position(number, place);
            let text = |id| format!(r#"{{"type":"subscribe","id":{id},"data":{data}}}"#);
            self.ask(number, place, Asked::Return, 1, now, text);
        } else {
            let room = self.clients[number].places[place].id;
            let text = |id| format!(r#"{{"type":"join_room","id":{id},"data":{{"room_id":{room}}}}}"#);
            self.ask(number, place, Asked::Return, 0, now, text);
        }
    }

    /// Sends a command that is no part of the load.
    fn ask(&mut self, client: usize, place: usize, asked: Asked, message: u64, now: u64, text: impl Fn(u64) -> String) {
        let identity = Identity::NONE;
        let pending = Pending { client, place, asked, intended_ns: now, identity, message, floor: 0, repeated: false };
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

/// Whether an error says that nothing has happened, and nothing will: else the outcome is unknown.
fn nothing_happened(text: &str) -> bool {
    match code_of(text) {
        "STORE_UNAVAILABLE" => false,
        "INTERNAL" => text.contains("\"retryable\":false"),
        _ => true,
    }
}

fn code_of(text: &str) -> &str {
    text.find("\"code\":\"").and_then(|at| text[at + 8..].split('"').next()).unwrap_or("(no code)")
}
