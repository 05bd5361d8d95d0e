//! Server frames: taken apart strictly (for tests) or scanned cheaply (under load).

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;
use std::fmt;

/// One frame of the server.
#[derive(Clone, Debug)]
pub struct Frame {
    /// `type`.
    pub kind: String,
    /// `id`, where there is one.
    pub id: Option<Value>,
    /// `data`.
    pub data: Value,
}

impl Frame {
    /// Takes a frame apart and holds it to the protocol's envelope: compact JSON, members in the order type, id, data.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Frame, String> {
        if !is_compact(text.as_bytes()) {
            return Err(format!("not compact: {text}"));
        }
        let members = ordered_members(text)?;
        let names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
        if names != ["type", "data"] && names != ["type", "id", "data"] {
            return Err(format!("members {names:?}: {text}"));
        }
        let has_id = names.len() == 3;
        let mut values = members.into_iter().map(|(_, value)| value);
        let kind = values.next().and_then(|value| value.as_str().map(str::to_owned)).ok_or("type is no string")?;
        let id = if has_id { values.next() } else { None };
        let data = values.next().filter(Value::is_object).ok_or_else(|| format!("data is no object: {text}"))?;
        Ok(Frame { kind, id, data })
    }
}

/// Members of a JSON object, in the order written.
///
/// # Errors
/// If it is no JSON object.
pub fn ordered_members(text: &str) -> Result<Vec<(String, Value)>, String> {
    struct Members;
    impl<'de> Visitor<'de> for Members {
        type Value = Vec<(String, Value)>;
        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some(member) = map.next_entry()? {
                members.push(member);
            }
            Ok(members)
        }
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    let members = reader.deserialize_map(Members).map_err(|error| format!("{error}: {text}"))?;
    reader.end().map_err(|error| format!("{error}: {text}"))?;
    Ok(members)
}

fn is_compact(text: &[u8]) -> bool {
    let (mut in_string, mut escaped) = (false, false);
    for byte in text {
        match (in_string, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_string = !in_string,
            (false, b' ' | b'\t' | b'\n' | b'\r') => return false,
            _ => {}
        }
    }
    true
}

/// The `type` of a frame, without parsing it.
pub fn kind_of(text: &str) -> &str {
    text.strip_prefix("{\"type\":\"").and_then(|rest| rest.split('"').next()).unwrap_or("")
}

/// The `id` of a reply as a number, without parsing it; pushes have none.
pub fn reply_id_of(text: &str) -> Option<u64> {
    let rest = text.strip_prefix("{\"type\":\"")?;
    digits(rest[rest.find('"')? + 1..].strip_prefix(",\"id\":")?)
}

/// The first whole number under a name (given as `"name":`), without parsing. A quoted name inside a string is
/// escaped, so it cannot be taken for one; the server writes its own fields before those of the client's objects.
pub fn number_of(text: &str, name: &str) -> Option<u64> {
    digits(&text[text.find(name)? + name.len()..])
}

fn digits(text: &str) -> Option<u64> {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_frames_to_the_envelope() {
        let frame = Frame::parse(r#"{"type":"pong","id":"a b","data":{"x":" \" "}}"#).expect("as it should be");
        assert_eq!((frame.kind.as_str(), frame.id), ("pong", Some(Value::from("a b"))));
        for bad in [
            r#"{"type": "pong","data":{}}"#,
            r#"{"id":1,"type":"pong","data":{}}"#,
            r#"{"type":"pong","data":{},"id":1}"#,
            r#"{"type":"pong","data":null}"#,
            r#"{"type":"pong","data":{},"more":1}"#,
            r#"{"type":"pong","data":{}}x"#,
            "[]",
        ] {
            assert!(Frame::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn scans_as_a_parser_reads() {
        let push = r#"{"type":"message","data":{"room_id":7,"seq":12,"content":"\"seq\":99","metadata":{"seq":3}}}"#;
        assert_eq!((kind_of(push), reply_id_of(push), number_of(push, "\"seq\":")), ("message", None, Some(12)));
        assert_eq!(reply_id_of(r#"{"type":"error","id":41,"data":{}}"#), Some(41));
    }
}
