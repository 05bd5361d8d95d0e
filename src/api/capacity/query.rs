//! The question: what would this load take?

use std::fmt;

/// A planned load. Everybody counted is online; each message is durable and goes to one room.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// Connections.
    pub connections: f64,
    /// Rooms in use.
    pub rooms: f64,
    /// Connections that are subscribed to each.
    pub members_per_room: f64,
    /// Messages of all together.
    pub messages_per_s: f64,
    /// Seconds after the begin of the load for which memory is wanted; none: when the rooms' recent events have filled.
    pub after_s: Option<f64>,
}

/// Why a question cannot be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// The parameter at fault.
    pub parameter: String,
    /// What is wrong with it.
    pub message: String,
}

impl fmt::Display for Invalid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.parameter, self.message)
    }
}

/// A parameter: its name, the least and the most that it may be, whether it is a whole number, whether it must be there.
type Rule = (&'static str, f64, f64, bool, bool);

const RULES: [Rule; 5] = [
    ("connections", 0.0, 1e8, true, true),
    ("rooms", 0.0, 1e8, true, true),
    ("members_per_room", 0.0, 1e6, true, true),
    ("messages_per_s", 0.0, 1e7, false, true),
    ("after_s", 0.0, 1e9, false, false),
];

/// Reads a query string; none if it asks nothing.
///
/// # Errors
/// The first parameter that is unknown, missing, repeated, no number, out of bounds, or contradicts another.
pub fn parse(query: &str) -> Result<Option<Shape>, Invalid> {
    let mut values = [None; RULES.len()];
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, text) = pair.split_once('=').unwrap_or((pair, ""));
        let Some(index) = RULES.iter().position(|rule| rule.0 == name) else {
            let known = RULES.map(|rule| rule.0).join(", ");
            // The name is the client's: shown as far as it is a name.
            let shown = name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(40).collect::<String>();
            return Err(Invalid { parameter: shown, message: format!("unknown; there are {known}") });
        };
        let value = number(&RULES[index], text)?;
        if values[index].replace(value).is_some() {
            return Err(invalid(name, "is given twice"));
        }
    }
    if values.iter().all(Option::is_none) {
        return Ok(None);
    }
    for (rule, value) in RULES.iter().zip(values) {
        if rule.4 && value.is_none() {
            return Err(invalid(
                rule.0,
                "is missing; a question has connections, rooms, members_per_room, messages_per_s",
            ));
        }
    }
    let [connections, rooms, members_per_room, messages_per_s, after_s] = values;
    let shape = Shape {
        connections: connections.unwrap_or(0.0),
        rooms: rooms.unwrap_or(0.0),
        members_per_room: members_per_room.unwrap_or(0.0),
        messages_per_s: messages_per_s.unwrap_or(0.0),
        after_s,
    };
    consistent(&shape)?;
    Ok(Some(shape))
}

fn consistent(shape: &Shape) -> Result<(), Invalid> {
    if shape.members_per_room > shape.connections {
        return Err(invalid(
            "members_per_room",
            "is more than there are connections: each of them is one that is online",
        ));
    }
    if shape.messages_per_s > 0.0 && shape.rooms < 1.0 {
        return Err(invalid("rooms", "must be at least 1 where messages are sent"));
    }
    if shape.messages_per_s > 0.0 && shape.connections < 1.0 {
        return Err(invalid("connections", "must be at least 1 where messages are sent"));
    }
    Ok(())
}

fn number(rule: &Rule, text: &str) -> Result<f64, Invalid> {
    let (name, min, max, whole, _) = *rule;
    // What Rust reads besides digits ("inf", "1e3", "+1") is no number of people.
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let Some(value) = text.parse::<f64>().ok().filter(|_| plain) else {
        return Err(invalid(name, "is not a number"));
    };
    if whole && value.fract() != 0.0 {
        return Err(invalid(name, "must be a whole number"));
    }
    if !(min..=max).contains(&value) {
        return Err(invalid(name, &format!("must be from {min} to {max}")));
    }
    Ok(value)
}

fn invalid(parameter: &str, message: &str) -> Invalid {
    Invalid { parameter: parameter.into(), message: message.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions() {
        let shape = Shape {
            connections: 1000.0,
            rooms: 100.0,
            members_per_room: 10.0,
            messages_per_s: 2.5,
            after_s: Some(60.0),
        };
        let whole = "connections=1000&rooms=100&members_per_room=10&messages_per_s=2.5&after_s=60";
        assert_eq!(parse(whole), Ok(Some(shape)));
        assert_eq!(parse(""), Ok(None));
        let idle = parse("connections=5&rooms=0&members_per_room=0&messages_per_s=0").expect("idle ones are fine");
        assert_eq!(idle.map(|shape| shape.after_s), Some(None));
    }

    #[test]
    fn refusals_name_the_parameter() {
        let with = |change: &str| {
            let (name, _) = change.split_once('=').expect("a pair");
            let others = ["connections=100", "rooms=10", "members_per_room=10", "messages_per_s=5"];
            let others: Vec<_> = others.into_iter().filter(|pair| !pair.starts_with(&format!("{name}="))).collect();
            format!("{}&{change}", others.join("&"))
        };
        for (query, parameter, message) in [
            ("connections=1".to_owned(), "rooms", "is missing"),
            ("after_s=1".to_owned(), "connections", "is missing"),
            (with("connections=-1"), "connections", "not a number"),
            (with("connections="), "connections", "not a number"),
            (with("connections=1e3"), "connections", "not a number"),
            (with("connections=NaN"), "connections", "not a number"),
            (with("connections=inf"), "connections", "not a number"),
            (with("connections=10.5"), "connections", "whole"),
            (with("connections=100000001"), "connections", "must be from 0"),
            (with("messages_per_s=10000001"), "messages_per_s", "must be from 0"),
            (with("messages_per_s=1.2.3"), "messages_per_s", "not a number"),
            (with("members_per_room=101"), "members_per_room", "more than there are connections"),
            (with("rooms=0"), "rooms", "at least 1"),
            (format!("{}&rooms=3", with("rooms=10")), "rooms", "twice"),
            (with("colour%0d%0a=blue"), "colour0d0a", "unknown"),
        ] {
            let refused = parse(&query).expect_err(&query);
            assert!(refused.parameter == parameter && refused.message.contains(message), "{query}: {refused}");
        }
    }
}
