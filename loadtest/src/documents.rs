//! The server's own documents, held against what it really says: `/docs/asyncapi.json` as a strict JSON schema, and the
//! errors of `/docs/openapi.json`.

use crate::frame::Frame;
use crate::http;
use serde_json::Value;
use std::net::SocketAddr;

/// What the documents say.
pub struct Documents {
    root: Value,
    /// `/docs/openapi.json`.
    http: Value,
}

impl Documents {
    /// Reads them from a server.
    ///
    /// # Panics
    /// If it has none.
    pub fn of(addr: SocketAddr) -> Documents {
        let read = |path: &str| {
            let response = http::get_blocking(addr, path).expect("a response");
            assert_eq!(response.status, 200, "{path}");
            response.json()
        };
        Documents { root: read("/docs/asyncapi.json"), http: read("/docs/openapi.json") }
    }

    /// Names of all commands.
    pub fn commands(&self) -> Vec<&str> {
        self.messages().filter_map(|name| name.strip_prefix("command.")).collect()
    }

    /// Names of all pushes.
    pub fn pushes(&self) -> Vec<&str> {
        self.messages().filter_map(|name| name.strip_prefix("push.")).collect()
    }

    fn messages(&self) -> impl Iterator<Item = &str> {
        self.root["components"]["messages"].as_object().expect("messages").keys().map(String::as_str)
    }

    /// The type of a command's reply.
    ///
    /// # Panics
    /// If the command is not documented.
    pub fn reply_of(&self, command: &str) -> &str {
        let reference = self.root["operations"][command]["reply"]["messages"][0]["$ref"].as_str();
        let name = reference.unwrap_or_else(|| panic!("{command} is not documented"));
        name.rsplit_once("reply.").expect("a reply").1
    }

    /// Holds the `data` of the reply to a command to its description: all that must be there, nothing else.
    ///
    /// # Panics
    /// If it is otherwise.
    #[track_caller]
    pub fn check_reply(&self, command: &str, data: &Value) {
        self.check(&format!("reply.{}", self.reply_of(command)), data);
    }

    /// The same for a push.
    ///
    /// # Panics
    /// If it is otherwise.
    #[track_caller]
    pub fn check_push(&self, push: &Frame) {
        self.check(&format!("push.{}", push.kind), &push.data);
    }

    /// Whether a command may meet this error. What HTTP does not have is in no such list.
    pub fn has_error(&self, command: &str, code: &str) -> bool {
        let responses = &self.http["paths"][format!("/api/v1/{command}")]["post"]["responses"];
        let Some(responses) = responses.as_object() else { return true };
        responses
            .values()
            .any(|response| response["description"].as_str().unwrap_or_default().split(", ").any(|known| known == code))
    }

    #[track_caller]
    fn check(&self, message: &str, data: &Value) {
        let schema = &self.root["components"]["messages"][message]["payload"]["properties"]["data"];
        assert!(schema.is_object(), "{message} is not documented");
        if let Err(fault) = self.fits(schema, data, "data") {
            panic!("{message}: {fault} in {data}");
        }
    }

    /// The keywords that the document uses, and no unknown members.
    fn fits(&self, schema: &Value, value: &Value, path: &str) -> Result<(), String> {
        if let Some(reference) = schema["$ref"].as_str() {
            let target = self.root.pointer(reference.trim_start_matches('#')).ok_or("a reference into nothing")?;
            return self.fits(target, value, path);
        }
        if let Some(choices) = schema["anyOf"].as_array() {
            let faults: Vec<String> =
                choices.iter().filter_map(|choice| self.fits(choice, value, path).err()).collect();
            return if faults.len() < choices.len() { Ok(()) } else { Err(faults.join(" or ")) };
        }
        let kinds: Vec<&str> = match &schema["type"] {
            Value::String(kind) => vec![kind],
            Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
            _ => return Err(format!("{path}: a schema without a type")),
        };
        if !kinds.iter().any(|kind| is_of(kind, value)) {
            return Err(format!("{path} is no {}", kinds.join(" or ")));
        }
        if let Some(words) = schema["enum"].as_array()
            && !words.contains(value)
        {
            return Err(format!("{path} is none of {words:?}"));
        }
        if let Some(number) = value.as_u64() {
            let least = schema["minimum"].as_u64().unwrap_or(0);
            let most = schema["maximum"].as_u64().unwrap_or(u64::MAX);
            if !(least..=most).contains(&number) {
                return Err(format!("{path} is not from {least} to {most}"));
            }
        }
        if let Some(text) = value.as_str() {
            if schema["maxLength"].as_u64().is_some_and(|most| text.chars().count() as u64 > most) {
                return Err(format!("{path} is too long"));
            }
            if schema["format"] == "date-time" && !is_time(text) {
                return Err(format!("{path} is no time in UTC with milliseconds"));
            }
        }
        if let Some(items) = value.as_array() {
            for (index, item) in items.iter().enumerate() {
                self.fits(&schema["items"], item, &format!("{path}[{index}]"))?;
            }
        }
        self.members_fit(schema, value, path)
    }

    fn members_fit(&self, schema: &Value, value: &Value, path: &str) -> Result<(), String> {
        // Objects without a description of their members may hold anything.
        let (Some(members), Some(properties)) = (value.as_object(), schema["properties"].as_object()) else {
            return Ok(());
        };
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !members.contains_key(name) {
                return Err(format!("{path}.{name} is missing"));
            }
        }
        for (name, member) in members {
            let schema = properties.get(name).ok_or_else(|| format!("{path}.{name} is not documented"))?;
            self.fits(schema, member, &format!("{path}.{name}"))?;
        }
        Ok(())
    }
}

fn is_of(kind: &str, value: &Value) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        _ => false,
    }
}

/// `2026-01-31T09:08:07.006Z`.
fn is_time(text: &str) -> bool {
    const FORM: &[u8] = b"dddd-dd-ddTdd:dd:dd.dddZ";
    text.len() == FORM.len()
        && text.bytes().zip(FORM).all(|(byte, form)| if *form == b'd' { byte.is_ascii_digit() } else { byte == *form })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn holds_data_to_its_description() {
        let documents = Documents {
            http: Value::Null,
            root: json!({"components": {
                "schemas": {"Thing": {
                    "type": "object", "required": ["id"],
                    "properties": {
                        "id": {"type": "integer", "minimum": 1, "maximum": 9},
                        "at": {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]},
                        "word": {"type": "string", "enum": ["a", "b"]},
                        "free": {"type": "object"},
                    },
                }},
                "messages": {"push.x": {"payload": {"properties": {"data": {
                    "type": "object", "required": ["things"],
                    "properties": {"things": {"type": "array", "items": {"$ref": "#/components/schemas/Thing"}}},
                }}}}},
            }}),
        };
        let schema = &documents.root["components"]["messages"]["push.x"]["payload"]["properties"]["data"];
        let good = [
            json!({"things": []}),
            json!({"things": [{"id": 1}, {"id": 9, "at": null, "word": "b", "free": {"x": 1}}]}),
            json!({"things": [{"id": 5, "at": "2026-01-31T09:08:07.006Z"}]}),
        ];
        for data in good {
            assert_eq!(documents.fits(schema, &data, "data"), Ok(()), "{data}");
        }
        let bad = [
            json!({}),
            json!({"things": [], "more": 1}),
            json!({"things": {}}),
            json!({"things": [{}]}),
            json!({"things": [{"id": 0}]}),
            json!({"things": [{"id": 10}]}),
            json!({"things": [{"id": "1"}]}),
            json!({"things": [{"id": 1, "at": "2026-01-31T09:08:07Z"}]}),
            json!({"things": [{"id": 1, "word": "c"}]}),
            json!({"things": [{"id": 1, "x": 1}]}),
        ];
        for data in bad {
            assert!(documents.fits(schema, &data, "data").is_err(), "{data}");
        }
    }
}
