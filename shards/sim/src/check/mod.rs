//! What must hold after every step, and when everything has settled.

mod finale;
mod frame;
mod reply;

pub(crate) use frame::event_kind;

use std::collections::BTreeMap;

use serde_json::Value;
use veza_engine::id::RoomId;

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
    /// Frames by type, and errors by code.
    pub seen: BTreeMap<String, u64>,
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
        let floor = store.rooms[&room].floor.0;
        match self.acked.insert(key, seq) {
            // Retention takes the memory of client ids along.
            Some(before) if before != seq && before > floor => {
                Err(format!("acknowledged as {before} first, now as {seq}"))
            }
            _ => Ok(()),
        }
    }

    /// Everything has settled: nothing acknowledged is lost or doubled, everybody has seen everything.
    pub fn settled(&mut self, store: &Store, clients: &[Client]) -> Result<(), String> {
        for ((author, room, client_id), seq) in &self.acked {
            if *seq <= store.rooms[room].floor.0 {
                continue;
            }
            let rows = store.rooms[room].retained().iter().filter(|row| {
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

fn everything_seen(store: &Store, client: &Client) -> Result<(), String> {
    if client.conn.is_none() || !client.ready {
        return Err("did not come back".into());
    }
    if let Some((id, asked)) = client.asked.iter().next() {
        return Err(format!("{id} ({asked:?}) has no answer"));
    }
    if let Some(unacked) = client.unacked.first() {
        return Err(format!("{} to room {} is not acknowledged", unacked.client_id, unacked.room.0));
    }
    let user = client.user_id.unwrap_or(0);
    for (room, tracking) in &client.subs {
        let ended = store.ended(*room, user).any(|head| head >= tracking.taken_at) || store.live(*room).is_none();
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
