//! The WebSocket, as AsyncAPI 3.0.

use serde_json::{Map, Value, json};
use veza_engine::wire::spec::{COMMANDS, PUSHES};

use super::schema::{components, object_schema, reference};

/// The whole document.
pub fn document() -> Value {
    let mut messages = Map::new();
    let mut operations = Map::new();
    for spec in &COMMANDS {
        let name = spec.kind.name();
        let command = format!("command.{name}");
        // Two commands may have the same reply.
        let reply = format!("reply.{}", spec.reply);
        messages.insert(command.clone(), message(name, spec.summary, Id::May, object_schema(spec.fields)));
        let data = object_schema(spec.reply_fields);
        messages.entry(reply.clone()).or_insert_with(|| message(spec.reply, "", Id::Must, data));
        operations.insert(
            name.into(),
            json!({
                "action": "receive",
                "channel": { "$ref": "#/channels/ws" },
                "summary": spec.summary,
                "messages": [on_channel(&command)],
                "reply": {
                    "channel": { "$ref": "#/channels/ws" },
                    "messages": [on_channel(&reply), on_channel("error")],
                },
            }),
        );
    }
    messages.insert("error".into(), message("error", "A command failed.", Id::May, reference("Error")));
    let mut pushed = Vec::new();
    for push in &PUSHES {
        let name = format!("push.{}", push.kind);
        messages.insert(name.clone(), message(push.kind, push.summary, Id::Never, object_schema(push.fields)));
        pushed.push(on_channel(&name));
    }
    operations.insert(
        "push".into(),
        json!({
            "action": "send",
            "channel": { "$ref": "#/channels/ws" },
            "summary": "What the server says of its own accord.",
            "messages": pushed,
        }),
    );
    let names: Map<String, Value> = messages.keys().map(|name| (name.clone(), component(name))).collect();
    json!({
        "asyncapi": "3.0.0",
        "info": { "title": "Veza chat server", "version": env!("CARGO_PKG_VERSION") },
        "defaultContentType": "application/json",
        "channels": { "ws": { "address": "/ws", "messages": names } },
        "operations": operations,
        "components": { "messages": messages, "schemas": components() },
    })
}

/// Whether an envelope has an `id`.
#[derive(Clone, Copy, PartialEq)]
enum Id {
    Must,
    May,
    Never,
}

fn message(kind: &str, summary: &str, id: Id, data: Value) -> Value {
    let mut properties = json!({ "type": { "const": kind }, "data": data });
    let mut required = vec!["type", "data"];
    if id != Id::Never {
        properties["id"] = json!({ "type": ["integer", "string"], "maxLength": 64 });
    }
    if id == Id::Must {
        required.push("id");
    }
    let payload = json!({ "type": "object", "required": required, "properties": properties });
    json!({ "name": kind, "summary": summary, "payload": payload })
}

/// A channel's message, by its place.
fn on_channel(name: &str) -> Value {
    json!({ "$ref": format!("#/channels/ws/messages/{name}") })
}

/// The same, where it is declared.
fn component(name: &str) -> Value {
    json!({ "$ref": format!("#/components/messages/{name}") })
}
