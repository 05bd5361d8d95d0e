//! What a run does, as a TOML file: `loadtest/scenarios/*.toml`, which are embedded under their names.

use super::span::Span;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Those that come with the program, by name.
const NAMED: [(&str, &str); 8] = [
    ("chat", include_str!("../../scenarios/chat.toml")),
    ("fanout", include_str!("../../scenarios/fanout.toml")),
    ("dm", include_str!("../../scenarios/dm.toml")),
    ("idle", include_str!("../../scenarios/idle.toml")),
    ("storm", include_str!("../../scenarios/storm.toml")),
    ("slow-readers", include_str!("../../scenarios/slow-readers.toml")),
    ("mixed", include_str!("../../scenarios/mixed.toml")),
    ("soak", include_str!("../../scenarios/soak.toml")),
];

/// A scenario. Every field may be absent and has its default then; a field that does not exist is refused. Durations
/// are text: `"500ms"`, `"30s"`, `"10m"`, `"1h"`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scenario {
    /// Its name, as the result carries it.
    pub name: String,
    /// What it shows, in a sentence.
    pub about: String,
    /// Clients: each is a user of its own with one connection. Default 100.
    pub users: usize,
    /// `"room"`, or `"dm"`: conversations of two, and `rooms`, `sizes` and `rooms_per_user` mean nothing. Default
    /// `"room"`.
    pub kind: Kind,
    /// Rooms. Default 10.
    pub rooms: usize,
    /// How many members the rooms have: `"even"`, or `"zipf"` (the k-th largest has 1/k of the largest). Default
    /// `"even"`.
    pub sizes: Sizes,
    /// Rooms that each user is in. Default 1.
    pub rooms_per_user: usize,
    /// Use the public rooms that are there already (of `veza-loadtest seed`), not new ones. Default false.
    pub reuse_rooms: bool,
    /// Clients ask for permessage-deflate, and a server of the run's own offers it. (They send plain frames, and read
    /// compressed ones. What fills contents compresses better than what people write.) Default false.
    pub compression: bool,
    /// New connections a second; 0: as fast as they are accepted. Default 0.
    pub connect_rate: f64,
    /// Connections that may be under way (not authenticated, or not caught up) at a time. Default 256.
    pub connecting_max: usize,
    /// Time under load before anything counts. Default `"2s"`.
    pub warmup: Span,
    /// Time that counts. Default `"10s"`.
    pub duration: Span,
    /// Patience with whatever must come: connections at the start, answers and the last events at the end. Default
    /// `"60s"`.
    pub patience: Span,
    /// Workers; 0: as many as file descriptors and the expected deliveries want. Default 0.
    pub workers: usize,
    /// The same number makes the same plan. Default 1.
    pub seed: u64,
    /// The load.
    pub load: Load,
    /// What clients do, by weight. Default: `{ send = 1 }`.
    pub verbs: BTreeMap<Verb, f64>,
    /// Clients that lose their connections.
    pub cut: Cut,
    /// Clients that stop reading.
    pub stall: Stall,
    /// The server's resident memory at the end of the measured time (mean of its last tenth) may be so many times
    /// that of its first tenth; 0: whatever it is. Default 0.
    pub memory_growth_max: f64,
    /// Settings of a server that is started for this run, as `section.key`; a server that runs already must have them.
    pub server: BTreeMap<String, String>,
}

/// How much, and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Load {
    /// Commands a second of all users together, at intended times that no slow answer shifts (open loop). Default 0.
    pub rate: f64,
    /// In place of `rate`: the mean time between two commands of one user (rate = users / think); 0: none. Default 0.
    pub think: Span,
    /// Intervals of the open loop: `"poisson"` or `"even"`. Default `"poisson"`.
    pub arrivals: Arrivals,
    /// In place of both: so many unanswered commands of all users together, the next one following an answer (closed
    /// loop). Default 0.
    pub in_flight: usize,
    /// Bytes of content, 64 at least (a message names its sender, its room and its intended time). Default 128.
    pub bytes: usize,
}

/// Cuts: connections end without a word (by reset), then return and resume.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cut {
    /// The share of the clients, 0 to 1, of each cut. Default 0.
    pub share: f64,
    /// The first cut, after the warm-up. Default `"2s"`.
    pub after: Span,
    /// From cut to cut; 0: one is enough. Default 0.
    pub every: Span,
    /// Time from the cut until the clients want back. Default `"100ms"`.
    pub away: Span,
}

/// Stalled readers: they read nothing for a time, though their connections stand.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Stall {
    /// The share of the clients, 0 to 1. Default 0.
    pub share: f64,
    /// When, after the warm-up. Default `"1s"`.
    pub after: Span,
    /// How long; then they read what there is, come back where they were closed, and resume. Default `"5s"`.
    pub lasts: Span,
    /// Bytes of their receive buffers. Default 4096.
    pub receive_buffer: usize,
    /// Whether the load is such that the server must close them all (3002); that is a threshold then. Default false.
    pub must_close: bool,
}

/// What rooms are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Public rooms.
    Room,
    /// Conversations of two.
    Dm,
}

/// Sizes of rooms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sizes {
    /// All the same.
    Even,
    /// Few large, many small.
    Zipf,
}

/// Intervals between intended times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arrivals {
    /// As of many people who know nothing of each other.
    Poisson,
    /// All the same.
    Even,
}

/// What a client may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// A message.
    Send,
    /// A message in a thread.
    Reply,
    /// An edit of a message of one's own.
    Edit,
    /// The deletion of one.
    Delete,
    /// A reaction to a recent message.
    React,
    /// Its removal.
    Unreact,
    /// A pin by the room's owner.
    Pin,
    /// Its removal.
    Unpin,
    /// The newest page of the history.
    History,
    /// A thread.
    Thread,
    /// One message.
    Message,
    /// A search in the room.
    Search,
    /// Who is in the room.
    Members,
    /// A page of rooms.
    Rooms,
    /// Unread counts of all rooms.
    Unread,
    /// A read position.
    MarkRead,
    /// A typing notice.
    Typing,
    /// A new status.
    Status,
    /// An exchange without the room.
    Ping,
    /// `unsubscribe`, then `subscribe` with the last `seq`.
    Resubscribe,
    /// `leave_room`, then `join_room`.
    Rejoin,
}

impl Default for Scenario {
    fn default() -> Scenario {
        Scenario {
            name: "unnamed".into(),
            about: String::new(),
            users: 100,
            kind: Kind::Room,
            rooms: 10,
            sizes: Sizes::Even,
            rooms_per_user: 1,
            reuse_rooms: false,
            compression: false,
            connect_rate: 0.0,
            connecting_max: 256,
            warmup: Span::secs(2),
            duration: Span::secs(10),
            patience: Span::secs(60),
            workers: 0,
            seed: 1,
            load: Load::default(),
            verbs: BTreeMap::from([(Verb::Send, 1.0)]),
            cut: Cut::default(),
            stall: Stall::default(),
            memory_growth_max: 0.0,
            server: BTreeMap::new(),
        }
    }
}

impl Default for Load {
    fn default() -> Load {
        Load { rate: 0.0, think: Span::default(), arrivals: Arrivals::Poisson, in_flight: 0, bytes: 128 }
    }
}

impl Default for Cut {
    fn default() -> Cut {
        Cut { share: 0.0, after: Span::secs(2), every: Span::default(), away: Span::millis(100) }
    }
}

impl Default for Stall {
    fn default() -> Stall {
        Stall { share: 0.0, after: Span::secs(1), lasts: Span::secs(5), receive_buffer: 4096, must_close: false }
    }
}

impl Scenario {
    /// The names of those that come with the program.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMED.iter().map(|(name, _)| *name)
    }

    /// A named one, or one from a TOML file.
    ///
    /// # Errors
    /// If there is none, or it is wrong.
    pub fn find(name_or_path: &str) -> Result<Scenario, String> {
        if let Some((_, text)) = NAMED.iter().find(|(name, _)| *name == name_or_path) {
            return Scenario::parse(text);
        }
        let text = std::fs::read_to_string(name_or_path)
            .map_err(|error| format!("{name_or_path} is neither one of {NAMES} nor a file: {error}"))?;
        Scenario::parse(&text).map_err(|reason| format!("{name_or_path}: {reason}"))
    }

    /// From TOML.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Scenario, String> {
        let scenario: Scenario = toml::from_str(text).map_err(|error| error.to_string())?;
        scenario.check()?;
        Ok(scenario)
    }

    /// Sets one field, as `load.rate=500` (`--set`).
    ///
    /// # Errors
    /// If there is no such field, or the value does not fit.
    pub fn set(&mut self, assignment: &str) -> Result<(), String> {
        self.set_all([assignment])
    }

    /// Sets fields, which need to fit each other only when all are set; none is, if they do not.
    ///
    /// # Errors
    /// As of [`Scenario::set`].
    pub fn set_all<'a>(&mut self, assignments: impl IntoIterator<Item = &'a str>) -> Result<(), String> {
        let mut changed = self.clone();
        let mut told = Vec::new();
        for assignment in assignments {
            changed.assign(assignment)?;
            told.push(assignment);
        }
        changed.check().map_err(|reason| format!("--set {}: {reason}", told.join(" --set ")))?;
        *self = changed;
        Ok(())
    }

    fn assign(&mut self, assignment: &str) -> Result<(), String> {
        let wrong = |reason: String| format!("--set {assignment}: {reason}");
        let (key, value) = assignment.split_once('=').ok_or_else(|| wrong("no =".into()))?;
        let mut table = toml::Table::try_from(&*self).map_err(|error| wrong(error.to_string()))?;
        // `server` has keys with a dot in them.
        let (path, name) = match key.strip_prefix("server.") {
            Some(setting) => (vec!["server"], setting),
            None => {
                let mut path: Vec<&str> = key.split('.').collect();
                let name = path.pop().unwrap_or_default();
                (path, name)
            }
        };
        let mut place = &mut table;
        for part in path {
            place =
                place.get_mut(part).and_then(toml::Value::as_table_mut).ok_or_else(|| wrong("no such field".into()))?;
        }
        let text = toml::Value::String(value.to_owned());
        let parsed = toml::from_str::<toml::Table>(&format!("v = {value}")).ok().and_then(|mut one| one.remove("v"));
        let parsed = match (place.get(name), parsed) {
            (Some(toml::Value::String(_)), _) | (_, None) => text,
            (Some(toml::Value::Float(_)), Some(toml::Value::Integer(whole))) => toml::Value::Float(whole as f64),
            _ if key.starts_with("server.") => text,
            (_, Some(parsed)) => parsed,
        };
        place.insert(name.to_owned(), parsed);
        *self = table.try_into().map_err(|error: toml::de::Error| wrong(error.to_string()))?;
        Ok(())
    }

    /// Commands a second that are intended; 0 in a closed loop.
    pub fn rate(&self) -> f64 {
        match (self.load.in_flight, self.load.think.0.as_secs_f64()) {
            (0, 0.0) => self.load.rate,
            (0, think) => self.users as f64 / think,
            _ => 0.0,
        }
    }

    /// The same with so many times the load, by whatever field it is given.
    #[must_use]
    pub fn scaled(&self, factor: f64) -> Scenario {
        let mut scaled = self.clone();
        scaled.load.rate *= factor;
        scaled.load.think = Span(self.load.think.0.div_f64(factor));
        // None at all would be another kind of load.
        let in_flight = (self.load.in_flight as f64 * factor).round() as usize;
        scaled.load.in_flight = in_flight.max(usize::from(self.load.in_flight > 0));
        scaled
    }

    /// Refuses what cannot be run.
    fn check(&self) -> Result<(), String> {
        let share = |value: f64| (0.0..=1.0).contains(&value);
        let wrong = [
            (self.users == 0, "users: there must be one"),
            (self.rooms == 0, "rooms: there must be one"),
            (self.kind == Kind::Dm && self.users % 2 == 1, "users: conversations want an even number"),
            (self.users * self.rooms_per_user < self.rooms, "rooms: each must have a member"),
            (self.rooms_per_user == 0 || self.rooms_per_user > self.rooms, "rooms_per_user: 1 to rooms"),
            (self.connecting_max == 0, "connecting_max: there must be one"),
            (!(0.0..1e7).contains(&self.load.rate), "load.rate: 0 to 10,000,000"),
            (!(64..=1 << 20).contains(&self.load.bytes), "load.bytes: 64 to 1,048,576"),
            (!share(self.cut.share) || !share(self.stall.share), "share: 0 to 1"),
            (self.duration.0.is_zero(), "duration: not 0"),
            (self.verbs.values().any(|weight| !(0.0..1e9).contains(weight)), "verbs: weights of 0 or more"),
            (self.verbs.values().sum::<f64>() <= 0.0, "verbs: one must have a weight"),
        ];
        wrong.into_iter().find(|(is, _)| *is).map_or(Ok(()), |(_, what)| Err(what.to_owned()))
    }
}

const NAMES: &str = "chat, fanout, dm, idle, storm, slow-readers, mixed, soak";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_named_ones_are_whole_and_survive_their_own_text() {
        for (name, text) in NAMED {
            let scenario = Scenario::parse(text).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(scenario.name, name);
            assert!(!scenario.about.is_empty() && NAMES.contains(name), "{name}");
            let again = toml::to_string(&scenario).expect("TOML");
            assert_eq!(Scenario::parse(&again), Ok(scenario), "{name}");
        }
    }

    #[test]
    fn fields_are_set_by_their_path() {
        let mut scenario = Scenario::find("chat").expect("named");
        let sets = ["users=70", "load.rate=5", "load.think=0s", "duration=1.5s", "verbs.send=0.5", "verbs.edit=1"];
        for set in sets.into_iter().chain(["sizes=even", "server.limits.outbox_bytes=65536", "memory_growth_max=2"]) {
            scenario.set(set).expect(set);
        }
        assert_eq!((scenario.users, scenario.rate(), scenario.duration), (70, 5.0, Span::millis(1500)));
        assert_eq!(scenario.verbs[&Verb::Edit], 1.0);
        assert_eq!(scenario.server["limits.outbox_bytes"], "65536");
        assert_eq!(scenario.scaled(2.0).rate(), 10.0);
        let before = scenario.clone();
        for wrong in ["users", "users=0", "nothing=1", "load.nothing=1", "duration=5", "verbs.fly=1", "cut.share=2"] {
            assert!(scenario.set(wrong).is_err(), "{wrong}");
        }
        assert_eq!(scenario, before, "what is refused changes nothing");
        // Three rooms each are less than 100: the number of rooms must come with that of users, in whatever order.
        let mut chat = Scenario::find("chat").expect("named");
        assert!(chat.set("users=30").is_err());
        assert!(chat.set_all(["users=30", "rooms=10"]).is_ok());
        assert!(chat.set_all(["duration=1s", "users=1"]).is_err_and(|reason| reason.contains("--set users=1: rooms")));
        assert_eq!((chat.users, chat.rooms, chat.duration), (30, 10, Span::secs(30)));
    }
}
