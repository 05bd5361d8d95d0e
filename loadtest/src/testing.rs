//! What the black-box tests share: servers by purpose, users of their own, shapes of JSON.

use crate::client::{Client, Error};
use crate::documents::Documents;
use crate::server::{Options, Server};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The members of a `room`.
pub const ROOM: &str = "room_id epoch kind name description topic visibility owner_id member_count max_members \
                        slow_mode_s retention_days archived seq created_at";
/// The members of a `message`.
pub const MESSAGE: &str = "room_id message_id seq author_id username content parent_id thread_count is_pinned is_edited \
                           edit_count is_deleted mentions reactions metadata created_at edited_at";
/// The members of the reply to `join_room` and `subscribe`, and of a room in it.
pub const JOINED: &str = "room_id room role seq recovered replayed reason? online_count last_read_seq unread_count";
/// The members of `message_sent`.
pub const SENT: &str = "room_id message_id seq created_at duplicate";

/// The server that most tests share: default limits of size, no limits of rate.
pub fn standard() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| Server::start(Options::unlimited().and(&[("limits.max_subscriptions", "100")])))
}

/// A server whose limits are low enough to be met, and whose deadlines are short.
pub fn narrow() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        Server::start(Options::with(&[
            ("server.heartbeat_interval", "1s"),
            ("server.auth_timeout", "1s"),
            ("limits.max_connections_per_user", "2"),
            ("limits.max_messages_per_minute", "6"),
            ("limits.messages_burst", "3"),
            ("limits.commands_per_second", "20"),
            ("limits.commands_burst", "30"),
            ("limits.max_rooms_per_user", "2"),
            ("limits.max_subscriptions", "3"),
            ("limits.max_message_length", "20"),
            ("limits.malformed_frames", "3"),
            ("limits.logins_per_minute", "8"),
            ("limits.resume_events", "2"),
        ]))
    })
}

/// A server whose bounds of the chat model are low enough to be met, without limits of rate.
pub fn tight() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        Server::start(Options::unlimited().and(&[
            ("limits.max_reactions_per_message", "2"),
            ("limits.max_pins_per_room", "2"),
            ("limits.max_roles_per_room", "2"),
            ("limits.max_mentions", "2"),
            ("limits.max_members_per_room", "2"),
            ("limits.edit_window", "500ms"),
        ]))
    })
}

/// The documents of [`standard`].
pub fn documents() -> &'static Documents {
    static DOCUMENTS: OnceLock<Documents> = OnceLock::new();
    DOCUMENTS.get_or_init(|| Documents::of(standard().addr()))
}

/// A name that nobody else in this process has used.
pub fn fresh(name: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A connection of a new user.
///
/// # Panics
/// If the server does not let it in.
pub async fn user(server: &Server) -> Client {
    Client::connect(server.addr(), &server.token(&fresh("user"))).await.expect("a good token")
}

/// A new public room of that user, who is subscribed to it.
pub async fn room(owner: &mut Client) -> u64 {
    let room = owner.ok("create_room", json!({"name": "a room"})).await;
    number(&room["room"], "room_id")
}

/// A room with these members, all subscribed; what they were pushed meanwhile is dropped.
///
/// # Panics
/// If the server refuses anything.
pub async fn room_of(members: &mut [&mut Client]) -> u64 {
    let id = room(members[0]).await;
    for member in &mut members[1..] {
        member.ok("join_room", json!({"room_id": id})).await;
    }
    for member in members {
        member.pushes_so_far().await.expect("a living connection");
    }
    id
}

impl Client {
    /// The data of the reply to a command that must succeed.
    ///
    /// # Panics
    /// If it does not.
    pub async fn ok(&mut self, command: &str, data: Value) -> Value {
        match self.call(command, data.clone()).await {
            Ok(reply) => reply.data,
            Err(error) => panic!("{command} {data}: {error:?}"),
        }
    }

    /// The code of the error that a command must meet.
    ///
    /// # Panics
    /// If it succeeds, or the connection ends.
    pub async fn err(&mut self, command: &str, data: Value) -> String {
        let refusal = self.refusal(command, data).await;
        refusal["code"].as_str().expect("a code").to_owned()
    }

    /// The data of the error that a command must meet.
    ///
    /// # Panics
    /// If it succeeds, or the connection ends.
    pub async fn refusal(&mut self, command: &str, data: Value) -> Value {
        match self.call(command, data.clone()).await {
            Err(Error::Refused(error)) => {
                shape(&error, "code message retryable retry_after_ms? field? details?");
                error
            }
            other => panic!("{command} {data}: {other:?}"),
        }
    }

    /// Sends a message that must be accepted; its `seq`.
    pub async fn say(&mut self, room: u64, content: &str) -> u64 {
        number(&self.ok("send_message", json!({"room_id": room, "content": content})).await, "seq")
    }

    /// The next `message` push: its `seq` and content.
    ///
    /// # Panics
    /// If the connection ends.
    pub async fn hear(&mut self) -> (u64, String) {
        let push = self.push_of("message").await.expect("a message");
        (number(&push.data, "seq"), push.data["content"].as_str().expect("content").to_owned())
    }

    /// Proves that the connection still works.
    pub async fn still_fine(&mut self) {
        shape(&self.ok("ping", json!({})).await, "server_time timestamp?");
    }
}

/// A member that must be a whole number.
///
/// # Panics
/// If it is not.
pub fn number(value: &Value, member: &str) -> u64 {
    value[member].as_u64().unwrap_or_else(|| panic!("{member} is no number in {value}"))
}

/// Whether `value` is as `expected` says: objects may have further members, everything else is equal.
pub fn agrees(value: &Value, expected: &Value) -> bool {
    match (value, expected) {
        (Value::Object(value), Value::Object(expected)) => {
            expected.iter().all(|(name, expected)| value.get(name).is_some_and(|value| agrees(value, expected)))
        }
        (Value::Array(value), Value::Array(expected)) => {
            value.len() == expected.len() && value.iter().zip(expected).all(|(value, expected)| agrees(value, expected))
        }
        _ => value == expected,
    }
}

/// Ids by name, filled into JSON text where it says `"$name"`.
#[derive(Clone, Default)]
pub struct Names(Vec<(String, Value)>);

impl Names {
    /// Gives a name a value; the newest counts.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.0.retain(|(known, _)| known != name);
        self.0.push((name.to_owned(), value.into()));
    }

    /// The text as JSON, with values for names.
    ///
    /// # Panics
    /// If it is none then.
    pub fn fill(&self, text: &str) -> Value {
        let mut text = text.to_owned();
        for (name, value) in &self.0 {
            text = text.replace(&format!("\"{name}\""), &value.to_string());
        }
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }
}

/// Holds an object to exactly these members; a `?` after a name makes it optional.
///
/// # Panics
/// If there are others, or some are missing.
#[track_caller]
pub fn shape(value: &Value, members: &str) {
    let object = value.as_object().unwrap_or_else(|| panic!("no object: {value}"));
    let (optional, required): (Vec<&str>, Vec<&str>) = members.split_whitespace().partition(|name| name.ends_with('?'));
    let mut found: BTreeSet<&str> = object.keys().map(String::as_str).collect();
    for name in optional {
        found.remove(name.trim_end_matches('?'));
    }
    assert_eq!(found, required.into_iter().collect(), "in {value}");
}
