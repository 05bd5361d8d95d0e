//! What must hold after every step, and when everything has settled.

use std::collections::BTreeMap;

use serde_json::Value;
use veza_engine::id::RoomId;
use veza_engine::store::EventKind;

use crate::client::Client;
use crate::store::Store;

/// Collects what was promised, complains when it does not hold, and hashes what happened.
#[derive(Debug, Default)]
pub struct Checker {
    hash: u64,
    violation: Option<String>,
    /// Acknowledged: (author, room, client id) → seq.
    acked: BTreeMap<(u64, RoomId, String), u64>,
    /// Acknowledgements, repetitions included.
    pub acks: u64,
    /// Pushes and replies looked at.
    pub frames: u64,
}

impl Checker {
    /// Takes something into the run's hash.
    pub fn mix(&mut self, value: u64) {
        self.hash = (self.hash.rotate_left(7) ^ value).wrapping_mul(0x0100_0000_01B3);
    }

    /// Takes bytes into the run's hash.
    pub fn mix_bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.mix(u64::from(*byte));
        }
    }

    /// The run so far as a number: the same seed gives the same.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Something does not hold. The first one counts.
    pub fn fail(&mut self, problem: String) {
        self.violation.get_or_insert(problem);
    }

    /// The first violation.
    pub fn result(&self) -> Result<(), String> {
        self.violation.clone().map_or(Ok(()), Err)
    }

    /// A frame leaves the engine: everything in it must be committed by now.
    pub fn let_out(&mut self, store: &Store, payload: &[u8]) {
        self.frames += 1;
        let Ok(value) = serde_json::from_slice::<Value>(payload) else {
            return self.fail("a frame that is not JSON".into());
        };
        if let Err(problem) = let_out(store, &value) {
            self.fail(format!("{problem}; frame {value}"));
        }
    }

    /// A message is acknowledged: it must be the one, at its place, as it was at the first time.
    pub fn acknowledged(
        &mut self,
        store: &Store,
        author: u64,
        room: RoomId,
        client_id: &str,
        content: &str,
        data: &Value,
    ) -> Result<(), String> {
        self.acks += 1;
        let seq = data["seq"].as_u64().ok_or("no seq")?;
        let row = store.event(room, seq).ok_or("acknowledged, but not committed")?;
        let same = row.author_id.is_some_and(|user| user.0 == author)
            && row.content.as_deref() == Some(content)
            && row.client.as_ref().is_some_and(|client| *client.id == *client_id);
        if !same {
            return Err(format!("acknowledged as {seq}, but another event stands there"));
        }
        let key = (author, room, client_id.to_owned());
        match self.acked.insert(key, seq) {
            Some(before) if before != seq => Err(format!("acknowledged as {before} first, now as {seq}")),
            _ => Ok(()),
        }
    }

    /// Everything has settled: nothing acknowledged is lost or doubled, everybody has seen everything.
    pub fn settled(&mut self, store: &Store, clients: &[Client]) -> Result<(), String> {
        for ((author, room, client_id), seq) in &self.acked {
            let rows = store.rooms[room].events.iter().filter(|row| {
                row.author_id.is_some_and(|user| user.0 == *author)
                    && row.client.as_ref().is_some_and(|client| *client.id == **client_id)
            });
            let places: Vec<u64> = rows.map(|row| row.seq.0).collect();
            if places != [*seq] {
                return Err(format!("{client_id} of {author} was acknowledged as {seq}, and stands at {places:?}"));
            }
        }
        for (index, client) in clients.iter().enumerate() {
            everything_seen(store, client).map_err(|problem| format!("client {index}: {problem}"))?;
        }
        Ok(())
    }
}

fn let_out(store: &Store, value: &Value) -> Result<(), String> {
    let data = &value["data"];
    let kind = value["type"].as_str().unwrap_or("");
    match kind {
        "message" if data["message"].is_null() => event_is_committed(store, data, EventKind::Message)?,
        "void" => event_is_committed(store, data, EventKind::Void)?,
        "room_history" => {
            for message in data["messages"].as_array().into_iter().flatten() {
                event_is_committed(store, message, EventKind::Message)?;
                if message["seq"].as_u64() > data["seq"].as_u64() {
                    return Err("a history beyond its own head".into());
                }
            }
        }
        _ => {}
    }
    let room = data.get("room").filter(|room| room.is_object()).unwrap_or(data);
    if let (Some(id), Some(seq)) = (room["room_id"].as_u64(), room["seq"].as_u64())
        && seq > store.head(RoomId(id))
    {
        return Err(format!("{seq} of room {id} is shown, but the committed head is {}", store.head(RoomId(id))));
    }
    Ok(())
}

fn event_is_committed(store: &Store, data: &Value, kind: EventKind) -> Result<(), String> {
    let (room, seq) = (data["room_id"].as_u64().ok_or("no room_id")?, data["seq"].as_u64().ok_or("no seq")?);
    let row = store.event(RoomId(room), seq).ok_or("shown, but not committed")?;
    let content = data["content"].as_str();
    if row.kind != kind || (kind == EventKind::Message && row.content.as_deref() != content) {
        return Err("shown otherwise than it is stored".into());
    }
    Ok(())
}

fn everything_seen(store: &Store, client: &Client) -> Result<(), String> {
    if client.conn.is_none() || !client.ready {
        return Err("did not come back".into());
    }
    if let Some((id, asked)) = client.asked.iter().next() {
        return Err(format!("{id} ({asked:?}) has no answer"));
    }
    if let Some((room, client_id, _)) = client.unacked.first() {
        return Err(format!("{client_id} to room {} is not acknowledged", room.0));
    }
    let user = client.user_id.unwrap_or(0);
    for (room, tracking) in &client.subs {
        let ended = store.ended(*room, user).any(|head| head >= tracking.taken_at);
        let (next, head) = (tracking.expected, store.head(*room));
        if !ended && (next <= store.noticed_head(*room) || next > head + 1) {
            return Err(format!("waits for {next} of room {}, whose head is {head}", room.0));
        }
    }
    for (room, seen) in &client.dm_seen {
        let first = seen.first().copied().unwrap_or(1);
        let all = (first..=store.noticed_head(*room)).all(|seq| seen.contains(&seq));
        if !all {
            return Err(format!("saw {seen:?} of conversation {}, whose head is {}", room.0, store.head(*room)));
        }
    }
    Ok(())
}
