//! What the shared rooms hold in the end, against what posters were promised and what readers built up from pushes.

use super::ledger::{Ledger, Said, edits_allow};
use super::replica::{Replica, Shown};
use super::{Crew, EMOJI, Person};
use crate::check::Violations;
use crate::client::{Client, Error};
use crate::fault::reader::Watch as _;
use crate::fault::{Report, Shared};
use crate::server::Server;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;
use tokio::time::timeout;

/// How long the last of the work may take.
const PATIENCE: Duration = Duration::from_secs(90);
/// Messages of a room whose versions, threads and reactions are each asked for.
const SAMPLE: usize = 60;

/// A room as its history shows it.
pub(super) struct Final {
    pub(super) room: u64,
    head: u64,
    /// Message objects by id.
    pub(super) messages: BTreeMap<u64, Value>,
}

impl Crew {
    /// Lets everybody end, reads everything, and enters what is wrong.
    pub(in crate::fault) async fn account(
        self,
        server: &Server,
        shared: &Shared,
        report: &mut Report,
    ) -> Result<(), String> {
        timeout(PATIENCE, self.posting.join_all()).await.map_err(|_| "the posters got no answers")?;
        let hosts = timeout(PATIENCE, self.hosting.join_all()).await.map_err(|_| "the hosts got no answers")?;
        let fail = |error: Error| format!("{error:?}");
        let mut observer = Client::connect(server.addr(), &self.cast.observer.token).await.map_err(fail)?;
        let mut finals = Vec::new();
        for room in &self.cast.rooms {
            finals.push(read_room(&mut observer, room.id).await.map_err(fail)?);
        }
        let mut rooms = HashMap::new();
        for room in &shared.rooms {
            let found = observer.call("get_room", json!({"room_id": room.id})).await.map_err(fail)?;
            rooms.insert(room.id, found.data["room"].clone());
        }
        let head = |room: &Value| room["seq"].as_u64().unwrap_or(u64::MAX);
        shared.heads.send_replace(Some(rooms.iter().map(|(id, room)| (*id, head(room))).collect()));
        let readers = timeout(PATIENCE, self.reading.join_all()).await.map_err(|_| "a reader never saw the heads")?;

        let mut ledger = std::mem::take(&mut *self.cast.ledger.lock().expect("no task panics"));
        let mut violations = std::mem::take(&mut ledger.violations);
        for last in &finals {
            check_messages(&ledger, &self.cast.posters, last, &mut violations);
            read_parts(&mut observer, &ledger, last, &readers[0].views, &mut violations).await.map_err(fail)?;
        }
        for reader in readers {
            report.reader_events += reader.views.iter().map(|view| view.log.len() as u64).sum::<u64>();
            violations.merge(reader.violations);
            for view in &reader.views {
                check_replica(view, &finals, &rooms[&view.room()], &mut violations);
                check_promises(&ledger, view, &mut violations);
            }
        }
        for poster in &self.cast.posters {
            super::people::check_poster(server, poster, &ledger, &finals, &mut violations).await?;
        }
        super::people::check_search(&mut observer, &ledger, &mut violations).await.map_err(fail)?;
        report.lost_and_repeated = ledger.duplicates;
        for mut host in hosts {
            super::people::check_host(&mut host, server).await?;
            violations.merge(host.violations);
        }
        report.acknowledged = shared.acks();
        report.violations.merge(violations);
        Ok(())
    }
}

/// The whole history of a room.
async fn read_room(client: &mut Client, room: u64) -> Result<Final, Error> {
    let mut last = Final { room, head: 0, messages: BTreeMap::new() };
    let mut before = Value::Null;
    loop {
        let data = json!({"room_id": room, "limit": 100, "before_id": before});
        let page = client.call("get_history", data).await?.data;
        last.head = last.head.max(page["seq"].as_u64().unwrap_or(0));
        let messages = page["messages"].as_array().map_or(&[][..], Vec::as_slice);
        before = messages.first().map_or(Value::Null, |message| message["message_id"].clone());
        for message in messages {
            let id = message["message_id"].as_u64().unwrap_or(0);
            if id == 0 || last.messages.insert(id, message.clone()).is_some() {
                return Err(Error::Broken(format!("no message, or on two pages: {message}")));
            }
        }
        if page["has_more"] != true || before.is_null() {
            return Ok(last);
        }
    }
}

/// Users that a text mentions.
pub(super) fn mentioned(content: &str, posters: &[Person]) -> Vec<u64> {
    let names: BTreeSet<&str> = content.split_whitespace().filter_map(|word| word.strip_prefix('@')).collect();
    let mut ids: Vec<u64> = posters.iter().filter(|one| names.contains(one.name.as_str())).map(|one| one.id).collect();
    ids.sort_unstable();
    ids
}

fn check_messages(ledger: &Ledger, posters: &[Person], last: &Final, violations: &mut Violations) {
    let room = last.room;
    for (id, message) in &last.messages {
        if *id > last.head || !ledger.ids.contains_key(&(room, *id)) {
            violations.add(format!("room {room}, head {}: nobody was told of {message}", last.head));
        }
    }
    for client_id in &ledger.refused {
        let start = format!("{client_id} ");
        if last.messages.values().any(|message| message["content"].as_str().is_some_and(|it| it.starts_with(&start))) {
            violations.add(format!("room {room}: {client_id} was refused and is there"));
        }
    }
    for (client_id, said) in ledger.said.iter().filter(|(_, said)| said.room == room) {
        let found = said.id.and_then(|id| last.messages.get(&id));
        let Some(found) = found else {
            violations.add(format!("room {room}: {client_id} was acknowledged as {:?} and is not there", said.id));
            continue;
        };
        if let Some(what) = wrong(ledger, said, found, last, posters) {
            violations.add(format!("room {room}: {what} of {found} is not what was promised: {said:?}"));
        }
    }
}

/// What of a message is not as promised.
fn wrong(ledger: &Ledger, said: &Said, found: &Value, last: &Final, posters: &[Person]) -> Option<&'static str> {
    let shown = Shown::read(found);
    let parent =
        said.parent.map(|parent| last.messages.get(&parent).and_then(|m| m["parent_id"].as_u64()).unwrap_or(parent));
    let answers = last.messages.values().filter(|message| message["parent_id"] == found["message_id"]).count();
    let since = said.edits.iter().rposition(|(_, acknowledged)| *acknowledged);
    let open = &said.edits[since.unwrap_or(0)..];
    let original = since.is_none().then_some(&said.content);
    let mut contents = original.into_iter().chain(open.iter().map(|(content, _)| content));
    let sure = said.edits.iter().filter(|(_, acknowledged)| *acknowledged).count() as u64;
    let checks = [
        ("author", found["author_id"] == said.author),
        ("parent", found["parent_id"].as_u64() == parent),
        ("thread", found["thread_count"].as_u64() == Some(answers as u64)),
        ("tombstone", said.deleted.allows(&shown.deleted)),
        ("pin", said.pinned.allows(&shown.pinned)),
        ("content", if shown.deleted { shown.content.is_empty() } else { contents.any(|it| *it == shown.content) }),
        ("edit count", shown.deleted || (sure..=said.edits.len() as u64).contains(&shown.edit_count)),
        ("mentions", shown.deleted || found["mentions"] == json!(mentioned(&shown.content, posters))),
        ("reactions", shown.deleted || reactions_allowed(ledger, said, &shown, posters)),
    ];
    checks.into_iter().find(|(_, right)| !right).map(|(what, _)| what)
}

/// How many must react so, and how many may.
fn reactors(ledger: &Ledger, room: u64, id: u64, emoji: &'static str, posters: &[Person]) -> (Vec<u64>, Vec<u64>) {
    let known = |user: u64| ledger.reactions.get(&(room, id, user, emoji));
    let users = || posters.iter().map(|poster| poster.id);
    let must = users().filter(|user| known(*user).is_some_and(|known| known.get() == Some(&true)));
    let may = users().filter(|user| known(*user).is_some_and(|known| known.allows(&true)));
    (must.collect(), may.collect())
}

fn reactions_allowed(ledger: &Ledger, said: &Said, shown: &Shown, posters: &[Person]) -> bool {
    EMOJI.iter().all(|emoji| {
        let (must, may) = reactors(ledger, said.room, said.id.unwrap_or(0), emoji, posters);
        let count = shown.reactions.get(*emoji).copied().unwrap_or(0) as usize;
        (must.len()..=may.len()).contains(&count)
    })
}

fn check_replica(view: &Replica, finals: &[Final], room: &Value, violations: &mut Violations) {
    let same = |name: &str, seen: &Value| seen[name] == room[name];
    if let Some(seen) = &view.settings
        && !["name", "topic", "description", "visibility", "max_members", "slow_mode_s", "archived"]
            .iter()
            .all(|name| same(name, seen))
    {
        violations.add(format!("a reader was shown these settings last: {seen}; they are {room}"));
    }
    let Some(last) = finals.iter().find(|last| last.room == view.room()) else { return };
    if view.last() != last.head || !view.messages.keys().eq(last.messages.keys()) {
        violations.add(format!("room {}: a reader ended at {} of {}", last.room, view.last(), last.head));
    }
    for (id, message) in &last.messages {
        let (mut is, mut seen) = (Shown::read(message), view.messages.get(id).cloned().unwrap_or_default());
        if is.deleted {
            // Edits of what is deleted are replayed as voids.
            (is.edit_count, seen.edit_count) = (0, 0);
            (is.reactions, seen.reactions) = Default::default();
        }
        if is != seen {
            violations.add(format!("room {}: a reader built up {id} as {seen:?}, it is {is:?}", last.room));
        }
    }
}

/// Every acknowledged event must have been shown in its place; of what was deleted since, a replay shows voids.
fn check_promises(ledger: &Ledger, view: &Replica, violations: &mut Violations) {
    for promise in ledger.promises.iter().filter(|promise| promise.room == view.room()) {
        let gone = view.messages.get(&promise.message).is_some_and(|message| message.deleted);
        match view.log.get(&promise.seq) {
            Some((kind, message)) if kind == promise.kind && *message == promise.message => {}
            Some((kind, _)) if kind == "void" && gone => {}
            other => violations.add(format!("{promise:?} was acknowledged, a reader saw {other:?}")),
        }
    }
}

/// What is read in parts: versions, threads, pins, reactions.
async fn read_parts(
    client: &mut Client,
    ledger: &Ledger,
    last: &Final,
    views: &[Replica],
    violations: &mut Violations,
) -> Result<(), Error> {
    let room = last.room;
    let mut said: Vec<&Said> = ledger.said.values().filter(|said| said.room == room && said.id.is_some()).collect();
    said.sort_by_key(|said| said.id);
    for said in said.iter().filter(|said| !said.edits.is_empty()).take(SAMPLE) {
        read_edits(client, said, last, violations).await?;
    }
    let roots = last.messages.iter().filter(|(_, message)| message["thread_count"] != 0).take(SAMPLE);
    for (root, _) in roots {
        let data = json!({"room_id": room, "parent_id": root, "limit": 100});
        let thread = client.call("get_thread", data).await?.data;
        let answers = last.messages.values().filter(|message| message["parent_id"] == *root).take(100);
        let answers: Vec<u64> = answers.filter_map(|message| message["message_id"].as_u64()).collect();
        if thread["parent"]["message_id"] != *root || ids(&thread["messages"]) != answers {
            violations.add(format!("room {room}: the answers to {root} are {answers:?}, the thread says {thread}"));
        }
    }
    let pinned = client.call("get_pinned_messages", json!({"room_id": room})).await?.data;
    let log = &views.iter().find(|view| view.room() == room).expect("all are watched").log;
    let place =
        |id: &u64| log.iter().rev().find(|(_, (kind, of))| kind == "message_pinned" && of == id).map(|(at, _)| *at);
    let mut expected: Vec<u64> =
        last.messages.iter().filter(|(_, m)| m["is_pinned"] == true).map(|(id, _)| *id).collect();
    expected.sort_by_key(|id| std::cmp::Reverse(place(id)));
    if ids(&pinned["messages"]) != expected {
        violations.add(format!("room {room}: pinned are {expected:?}, the list says {:?}", ids(&pinned["messages"])));
    }
    let reacted = last.messages.iter().filter(|(_, m)| m["is_deleted"] == false && m["reactions"] != json!([]));
    for (id, message) in reacted.take(SAMPLE) {
        read_reactions(client, ledger, room, *id, message, violations).await?;
    }
    Ok(())
}

async fn read_edits(client: &mut Client, said: &Said, last: &Final, violations: &mut Violations) -> Result<(), Error> {
    let id = said.id.unwrap_or(0);
    let deleted = last.messages.get(&id).is_some_and(|message| message["is_deleted"] == true);
    let data = json!({"room_id": said.room, "message_id": id});
    let reply = match client.call("get_edits", data).await {
        Ok(reply) => reply.data,
        Err(Error::Refused(error)) if deleted && error["code"] == "MESSAGE_NOT_FOUND" => return Ok(()),
        Err(error) => return Err(error),
    };
    let versions = reply["edits"].as_array().map_or(&[][..], Vec::as_slice);
    let texts: Vec<&str> = versions.iter().filter_map(|version| version["content"].as_str()).collect();
    let right = match texts.split_first() {
        _ if deleted => texts.iter().all(|text| text.is_empty()),
        Some((first, edits)) => {
            let now = last.messages.get(&id).and_then(|message| message["content"].as_str());
            *first == said.content && edits_allow(&said.edits, edits) && texts.last().copied() == now
        }
        None => false,
    };
    if !right {
        violations.add(format!("room {}: the versions of {id} are {texts:?}: {said:?}", said.room));
    }
    Ok(())
}

async fn read_reactions(
    client: &mut Client,
    ledger: &Ledger,
    room: u64,
    id: u64,
    message: &Value,
    violations: &mut Violations,
) -> Result<(), Error> {
    let reply = client.call("get_reactions", json!({"room_id": room, "message_id": id})).await?.data;
    let rows = reply["reactions"].as_array().map_or(&[][..], Vec::as_slice);
    let brief: Vec<_> = rows.iter().map(|row| (&row["emoji"], &row["count"])).collect();
    let listed = message["reactions"].as_array().map_or(&[][..], Vec::as_slice);
    let right = brief == listed.iter().map(|row| (&row["emoji"], &row["count"])).collect::<Vec<_>>()
        && rows.iter().all(|row| {
            let users: Vec<u64> = row["users"]
                .as_array()
                .map_or(&[][..], Vec::as_slice)
                .iter()
                .filter_map(|u| u["user_id"].as_u64())
                .collect();
            let emoji = EMOJI.iter().find(|emoji| row["emoji"] == **emoji);
            let knows = |user: &u64, value: bool| {
                let known = emoji.and_then(|emoji| ledger.reactions.get(&(room, id, *user, emoji)));
                known.is_some_and(|known| known.allows(&value))
            };
            row["count"].as_u64() == Some(users.len() as u64) && users.iter().all(|user| knows(user, true))
        });
    if !right {
        violations.add(format!("room {room}: the reactions to {message} are said to be {reply}"));
    }
    Ok(())
}

/// The ids of a list of messages.
pub(super) fn ids(messages: &Value) -> Vec<u64> {
    let messages = messages.as_array().map_or(&[][..], Vec::as_slice);
    messages.iter().filter_map(|message| message["message_id"].as_u64()).collect()
}

#[cfg(test)]
mod tests;
