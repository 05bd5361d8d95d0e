//! Frames and contents, taken apart without a parser. Nobody else writes into the rooms of a run, so contents have no
//! escapes; whatever is not as expected is looked for the slow way.

use crate::frame::number_of;

/// What messages are filled with.
const FILL: &[u8; 4096] = &[b'x'; 4096];

/// The name of a message, which every receiver reads in its content: `RUN.USER.ROOM.NUMBER.INTENDED`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Who sent it.
    pub user: u64,
    /// The room that it was sent to, by its number in the plan.
    pub room: u64,
    /// Its number among that user's messages.
    pub number: u64,
    /// When it was to be sent, CLOCK_MONOTONIC, ns.
    pub intended_ns: u64,
}

impl Identity {
    /// Of no message.
    pub const NONE: Identity = Identity { user: 0, room: 0, number: 0, intended_ns: 0 };

    /// A number for the whole; different for different ones, but for one in 2^64.
    pub fn hash(self) -> u64 {
        [self.user, self.room, self.number, self.intended_ns].into_iter().fold(0x9e37_79b9_7f4a_7c15, mix)
    }

    /// The content of the message, or of its so manyth edit.
    pub fn content(self, run: &str, edit: Option<u64>, bytes: usize) -> String {
        let mut content = format!("{run}.{}.{}.{}.{} ", self.user, self.room, self.number, self.intended_ns);
        if let Some(edit) = edit {
            content.push_str(&format!("e{edit} "));
        }
        content.extend(std::iter::repeat_n('x', bytes.saturating_sub(content.len())));
        content
    }
}

/// Of some text.
pub fn hash(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let hash = words.iter().fold(bytes.len() as u64, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    rest.iter().fold(hash, |hash, byte| mix(hash, u64::from(*byte)))
}

/// Of an event that is no message.
pub fn hash_event(kind: &str, message: u64) -> u64 {
    mix(hash(kind.as_bytes()), message)
}

fn mix(hash: u64, word: u64) -> u64 {
    let product = u128::from(hash ^ word.wrapping_mul(0x9e37_79b9_7f4a_7c15)) * 0xd6e8_feb8_6659_fd93;
    (product as u64) ^ ((product >> 64) as u64)
}

/// A push that takes a `seq`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// `room_id`.
    pub room: u64,
    /// `seq`.
    pub seq: u64,
    /// The message that it is or is about; 0 where it is about none.
    pub message: u64,
    /// `author_id`; 0 where there is none.
    pub author: u64,
    /// `content`, where there is one.
    pub content: Option<&'a str>,
}

/// The parts of an event's frame; `None` for a push without `seq`.
pub fn event<'a>(kind: &str, text: &'a str) -> Option<Event<'a>> {
    if kind == "message"
        && let Some(event) = message(text)
    {
        return Some(event);
    }
    let seq = number_of(text, "\"seq\":")?;
    let room = number_of(text, "\"room_id\":")?;
    let content = text.find("\"content\":\"").and_then(|at| text[at + 11..].split('"').next());
    let number = |name| number_of(text, name).unwrap_or(0);
    Some(Event { room, seq, message: number("\"message_id\":"), author: number("\"author_id\":"), content })
}

/// The form that the server gives to messages.
fn message(text: &str) -> Option<Event<'_>> {
    let rest = text.strip_prefix(r#"{"type":"message","data":{"room_id":"#)?;
    let (room, rest) = digits(rest)?;
    let (message, rest) = digits(rest.strip_prefix(r#","message_id":"#)?)?;
    let (seq, rest) = digits(rest.strip_prefix(r#","seq":"#)?)?;
    let (author, rest) = digits(rest.strip_prefix(r#","author_id":"#)?)?;
    let rest = rest.strip_prefix(r#","username":""#)?;
    let rest = &rest[rest.bytes().position(|byte| byte == b'"')?..];
    let rest = rest.strip_prefix(r#"","content":""#)?;
    let content = &rest[..rest.bytes().position(|byte| byte == b'"')?];
    Some(Event { room, seq, message, author, content: Some(content) })
}

fn digits(text: &str) -> Option<(u64, &str)> {
    let mut value = 0_u64;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'0'..=b'9' => value = value.checked_mul(10)?.checked_add(u64::from(byte - b'0'))?,
            _ => return (at > 0).then(|| (value, &text[at..])),
        }
    }
    None
}

/// Who and what a content names, and whether the rest of it is as it was sent (and never edited).
pub fn identity(content: &str, run: &str, bytes: usize) -> Option<(Identity, bool)> {
    let rest = content.strip_prefix(run)?.strip_prefix('.')?;
    let (user, rest) = digits(rest)?;
    let (room, rest) = digits(rest.strip_prefix('.')?)?;
    let (number, rest) = digits(rest.strip_prefix('.')?)?;
    let (intended_ns, rest) = digits(rest.strip_prefix('.')?)?;
    let rest = rest.strip_prefix(' ')?.as_bytes();
    let whole = content.len() == bytes && rest.chunks(FILL.len()).all(|part| *part == FILL[..part.len()]);
    Some((Identity { user, room, number, intended_ns }, whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_name_their_messages() {
        let id = Identity { user: 7, room: 3, number: 12, intended_ns: 123_456_789_012 };
        let content = id.content("a1b2c3", None, 128);
        assert_eq!(content.len(), 128);
        assert_eq!(identity(&content, "a1b2c3", 128), Some((id, true)));
        for other in [id.content("a1b2c3", Some(2), 128), content.replacen("xx", "xy", 1), content[..127].to_owned()] {
            assert_eq!(identity(&other, "a1b2c3", 128), Some((id, false)), "{other}");
        }
        assert_eq!(identity(&content, "ffffff", 128), None);
        let others = [
            Identity { user: 8, ..id },
            Identity { room: 4, ..id },
            Identity { number: 13, ..id },
            Identity { intended_ns: 1, ..id },
        ];
        assert!(others.iter().all(|other| other.hash() != id.hash()));
        assert_ne!(hash(b"12345678"), hash(b"12345679"));
    }

    #[test]
    fn the_fast_way_and_the_slow_way_agree() {
        let text = r#"{"type":"message","data":{"room_id":3,"message_id":9,"seq":9,"author_id":5,"username":"a.b","content":"r.1.2.3.4 xx","parent_id":null}}"#;
        let expected = Event { room: 3, seq: 9, message: 9, author: 5, content: Some("r.1.2.3.4 xx") };
        assert_eq!((message(text), event("message", text)), (Some(expected), Some(expected)));
        let other = text.replace("\"author_id\":5,", "");
        let expected = Event { author: 0, ..expected };
        assert_eq!((message(&other), event("message", &other)), (None, Some(expected)));
        let deleted =
            r#"{"type":"message_deleted","data":{"room_id":3,"seq":10,"at":"t","message_id":9,"actor_id":5}}"#;
        assert_eq!(
            event("message_deleted", deleted),
            Some(Event { room: 3, seq: 10, message: 9, author: 0, content: None })
        );
        assert_eq!(event("typing", r#"{"type":"typing","data":{"room_id":3,"user_id":1}}"#), None);
    }
}
