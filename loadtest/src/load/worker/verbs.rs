//! What clients do, and how it is said.

use super::super::scenario::{Kind, Verb};
use super::client::{Asked, Client, Pending, QUEUE_MAX, Stage};
use super::scan::Identity;
use super::{Worker, now_ns};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Clients that are asked whether they can, before an arrival is given up.
const TRIES: usize = 16;
const EMOJI: [&str; 4] = ["👍", "❤️", "🎉", ":shipit:"];

/// Verbs by their weights.
#[derive(Debug)]
pub struct Wheel {
    /// The sum of the weights up to each.
    steps: Vec<(f64, Verb)>,
}

impl Wheel {
    /// Of these.
    pub fn new(weights: &BTreeMap<Verb, f64>) -> Wheel {
        let mut sum = 0.0;
        let step = |(verb, weight): (&Verb, &f64)| {
            sum += weight;
            (sum, *verb)
        };
        Wheel { steps: weights.iter().filter(|(_, weight)| **weight > 0.0).map(step).collect() }
    }

    /// One of them; `unit` is from 0 to 1.
    pub fn pick(&self, unit: f64) -> Verb {
        let sum = self.steps.last().map_or(0.0, |(sum, _)| *sum);
        self.steps.iter().find(|(upto, _)| unit * sum < *upto).map_or(Verb::Send, |(_, verb)| *verb)
    }
}

/// A command of the load, but for its id.
struct Said {
    command: &'static str,
    /// The members of `data`.
    data: String,
    identity: Identity,
    message: u64,
}

impl Worker {
    /// A command's time has come: somebody says it. False if nobody could.
    pub fn arrival(&mut self, intended_ns: u64) -> bool {
        let said = self.somebody_says(intended_ns);
        // In the closed loop nothing is offered that nobody can say.
        let offered = said || self.scenario.load.in_flight == 0;
        self.tally.counts.offered += u64::from(offered && self.measured(intended_ns));
        said
    }

    fn somebody_says(&mut self, intended_ns: u64) -> bool {
        for _ in 0..TRIES {
            let number = self.dice.below(self.clients.len());
            let client = &mut self.clients[number];
            match client.stage {
                // Who is away, or does not read, does not talk.
                Stage::Away => {}
                _ if client.stalled || client.behind => {}
                Stage::Ready => return self.act(number, intended_ns, false),
                // Who is on the way back has to say it late, and it counts as late.
                Stage::Entering | Stage::CatchingUp if self.scenario.load.in_flight == 0 => {
                    let room = client.queue.len() < QUEUE_MAX;
                    if room {
                        client.queue.push_back(intended_ns);
                    }
                    return room;
                }
                Stage::Entering | Stage::CatchingUp => {}
            }
        }
        false
    }

    /// A client says something; `held` where it could not in time, which is not the generator's fault.
    pub fn act(&mut self, number: usize, intended_ns: u64, held: bool) -> bool {
        let mut verb = if self.wheel_is_plain() { Verb::Send } else { self.wheel.pick(self.dice.unit()) };
        let mut number = number;
        let place = match verb {
            Verb::Pin | Verb::Unpin => self.owned_place(number).map(|(owner, place)| {
                number = owner;
                place
            }),
            _ => self.some_place(number),
        };
        let Some(place) = place else {
            verb = Verb::Ping;
            let said = Said { command: "ping", data: String::new(), identity: Identity::NONE, message: 0 };
            return self.say(number, 0, verb, intended_ns, held, &said);
        };
        let (verb, place, said) = self.compose(number, place, verb, intended_ns);
        if matches!(verb, Verb::Resubscribe | Verb::Rejoin) {
            self.clients[number].places[place].leaving = true;
        }
        self.say(number, place, verb, intended_ns, held, &said)
    }

    fn wheel_is_plain(&self) -> bool {
        matches!(self.wheel.steps.as_slice(), [(_, Verb::Send)])
    }

    fn some_place(&mut self, number: usize) -> Option<usize> {
        let places = &self.clients[number].places;
        let first = self.dice.below(places.len());
        (0..places.len()).map(|step| (first + step) % places.len()).find(|at| places[*at].on && !places[*at].leaving)
    }

    /// Some room of this worker's whose owner is here and ready; the one who was to speak if it owns one itself.
    fn owned_place(&mut self, number: usize) -> Option<(usize, usize)> {
        let room = self.clients[number].places[0].room;
        let owner = *self.owners.get(&room)?;
        let client = &self.clients[owner];
        let place = client.places.iter().position(|place| place.room == room && place.on && !place.leaving)?;
        (client.stage == Stage::Ready && !client.stalled).then_some((owner, place))
    }

    fn say(&mut self, client: usize, place: usize, verb: Verb, intended_ns: u64, held: bool, said: &Said) -> bool {
        let (identity, message) = (said.identity, said.message);
        let floor = self.ledger.rooms[self.clients[client].places[place].room].head;
        let pending =
            Pending { client, place, asked: Asked::Verb(verb), intended_ns, identity, message, floor, repeated: false };
        let Some(id) = self.table.insert(pending) else { return false };
        self.closed += 1;
        let late = now_ns().saturating_sub(intended_ns);
        self.tally.sent(said.command, (!held).then_some(late), self.measured(intended_ns));
        self.send(client, format!(r#"{{"type":"{}","id":{id},"data":{{{}}}}}"#, said.command, said.data));
        true
    }

    /// A message whose answer was lost, again as it was.
    pub fn repeat(&mut self, client: usize, pending: Pending) {
        let said = self.message(client, pending.place, pending.identity, pending.message);
        if let Some(id) = self.table.insert(pending) {
            self.clients[client].repeating += 1;
            self.send(client, format!(r#"{{"type":"{}","id":{id},"data":{{{}}}}}"#, said.command, said.data));
        }
    }

    fn message(&self, client: usize, place: usize, identity: Identity, parent: u64) -> Said {
        let (room, run) = (self.clients[client].places[place].id, &self.order.run);
        let (command, name) = match self.scenario.kind {
            Kind::Room => ("send_message", "room_id"),
            Kind::Dm => ("send_dm", "conversation_id"),
        };
        let (content, number) = (identity.content(run, None, self.scenario.load.bytes), identity.number);
        let mut data = format!(r#""{name}":{room},"content":"{content}","client_id":"{run}-{number}""#);
        if parent != 0 {
            let _ = write!(data, r#","parent_id":{parent}"#);
        }
        Said { command, data, identity, message: parent }
    }

    /// The words for a verb; another verb where this one has nothing to be about.
    fn compose(&mut self, number: usize, place: usize, verb: Verb, intended_ns: u64) -> (Verb, usize, Said) {
        let of = self.clients[number].places[place];
        let room = of.id;
        let recent = &self.ledger.rooms[of.room].recent;
        let about = if recent.is_empty() { 0 } else { recent[self.dice.below(recent.len())] };
        let said = |command, data| Said { command, data, identity: Identity::NONE, message: 0 };
        let on = |command, message: u64| said(command, format!(r#""room_id":{room},"message_id":{message}"#));
        let emoji = *self.dice.pick(&EMOJI);
        let reaction = |command| said(command, format!(r#""room_id":{room},"message_id":{about},"emoji":"{emoji}""#));
        let in_room = |command| said(command, format!(r#""room_id":{room}"#));
        let words = match verb {
            Verb::Edit | Verb::Delete => return self.change(number, place, verb, intended_ns),
            Verb::React if about != 0 => reaction("add_reaction"),
            Verb::Unreact if about != 0 => reaction("remove_reaction"),
            Verb::Pin if about != 0 => on("pin_message", about),
            Verb::Unpin if about != 0 => on("unpin_message", about),
            Verb::Message if about != 0 => on("get_message", about),
            Verb::Thread if about != 0 => said("get_thread", format!(r#""room_id":{room},"parent_id":{about}"#)),
            Verb::History => said("get_history", format!(r#""room_id":{room},"limit":50"#)),
            Verb::Search => {
                said("search_messages", format!(r#""room_id":{room},"query":"{}","limit":10"#, self.order.run))
            }
            Verb::Members => said("get_members", format!(r#""room_id":{room},"limit":20"#)),
            Verb::Rooms => said("list_rooms", r#""filter":"joined","limit":20"#.into()),
            Verb::Unread => said("get_unread", String::new()),
            Verb::MarkRead => said("mark_read", format!(r#""room_id":{room},"seq":{}"#, of.last)),
            Verb::Typing => said("typing", format!(r#""room_id":{room},"is_typing":true"#)),
            Verb::Status => said("update_status", r#""status":"away""#.into()),
            Verb::Ping => said("ping", String::new()),
            Verb::Resubscribe if self.scenario.kind == Kind::Room => in_room("unsubscribe"),
            Verb::Rejoin if self.may_leave(number, of.room) => in_room("leave_room"),
            Verb::Reply => return (verb, place, self.new_message(number, place, about, intended_ns)),
            _ => return (Verb::Send, place, self.new_message(number, place, 0, intended_ns)),
        };
        (verb, place, words)
    }

    fn new_message(&mut self, number: usize, place: usize, parent: u64, intended_ns: u64) -> Said {
        let client = &mut self.clients[number];
        client.number += 1;
        let room = client.places[place].room as u64;
        let identity = Identity { user: client.user as u64, room, number: client.number, intended_ns };
        self.message(number, place, identity, parent)
    }

    /// An edit or deletion of a message of one's own, wherever it is; a ping where there is none.
    fn change(&mut self, number: usize, place: usize, verb: Verb, intended_ns: u64) -> (Verb, usize, Said) {
        let Client { own, places, .. } = &mut self.clients[number];
        // The oldest of the remembered; a deleted one is nothing to remember.
        let Some((place, message, identity)) =
            own.pop_front().filter(|(at, ..)| places[*at].on && !places[*at].leaving)
        else {
            let data = r#""timestamp":0"#.into();
            return (Verb::Ping, place, Said { command: "ping", data, identity: Identity::NONE, message: 0 });
        };
        let room = places[place].id;
        let mut data = format!(r#""room_id":{room},"message_id":{message}"#);
        let command = if verb == Verb::Delete {
            "delete_message"
        } else {
            let content = identity.content(&self.order.run, Some(intended_ns), self.scenario.load.bytes);
            let _ = write!(data, r#","content":"{content}""#);
            own.push_back((place, message, identity));
            "edit_message"
        };
        (verb, place, Said { command, data, identity: Identity::NONE, message })
    }

    /// Owners cannot leave.
    fn may_leave(&self, number: usize, room: usize) -> bool {
        self.scenario.kind == Kind::Room && self.owners.get(&room) != Some(&number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_chances() {
        let wheel = Wheel::new(&BTreeMap::from([(Verb::Send, 3.0), (Verb::Edit, 0.0), (Verb::Ping, 1.0)]));
        let picked: Vec<Verb> = (0..8).map(|eighth| wheel.pick(f64::from(eighth) / 8.0)).collect();
        assert_eq!(picked.iter().filter(|verb| **verb == Verb::Send).count(), 6, "{picked:?}");
        assert_eq!(picked.iter().filter(|verb| **verb == Verb::Ping).count(), 2, "{picked:?}");
    }
}
