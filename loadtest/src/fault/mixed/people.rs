//! What users find of their own in the end: positions and counts, mentions, search, conversations, blocks, status.

use super::Person;
use super::account::{Final, ids, mentioned};
use super::host::{Home, Host};
use super::ledger::{Ledger, Said};
use crate::check::Violations;
use crate::client::{Client, Error, PATIENCE};
use crate::server::Server;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Messages that are searched for, deleted ones and others.
const SEARCHES: usize = 60;

/// Unread and mention counts, and the inbox.
pub(super) async fn check_poster(
    server: &Server,
    poster: &Person,
    ledger: &Ledger,
    finals: &[Final],
    violations: &mut Violations,
) -> Result<(), String> {
    let fail = |error: Error| format!("{error:?}");
    let mut client = Client::connect(server.addr(), &poster.token).await.map_err(fail)?;
    let unread = client.call("get_unread", json!({})).await.map_err(fail)?.data;
    let mut inbox = BTreeSet::new();
    for last in finals {
        let rows = unread["rooms"].as_array().map_or(&[][..], Vec::as_slice);
        let row = rows.iter().find(|row| row["room_id"] == last.room).unwrap_or(&Value::Null);
        if let Some(what) = wrong_unread(poster, ledger, last, row) {
            violations.add(format!("{}, room {}: {what}: {row}", poster.name, last.room));
        }
        inbox.extend(last.messages.iter().filter(|(_, it)| is_for(it, poster)).map(|(id, _)| (last.room, *id)));
    }
    let (mut seen, mut cursor) = (BTreeSet::new(), Value::Null);
    loop {
        let page = client.call("get_mentions", json!({"limit": 100, "cursor": cursor})).await.map_err(fail)?.data;
        for message in page["messages"].as_array().ok_or("no messages")? {
            let place = (message["room_id"].as_u64().unwrap_or(0), message["message_id"].as_u64().unwrap_or(0));
            if !seen.insert(place) {
                violations.add(format!("{}: {place:?} is twice in the inbox", poster.name));
            }
        }
        cursor = page["next_cursor"].clone();
        if cursor.is_null() {
            break;
        }
    }
    if seen != inbox {
        let (more, less) = (seen.difference(&inbox).take(5), inbox.difference(&seen).take(5));
        let (more, less) = (more.collect::<Vec<_>>(), less.collect::<Vec<_>>());
        violations.add(format!("{}'s inbox has {more:?} too much and lacks {less:?}", poster.name));
    }
    Ok(())
}

/// The message mentions this user, or everybody.
fn is_for(message: &Value, user: &Person) -> bool {
    let content = message["content"].as_str().unwrap_or("");
    let everybody = content.split_whitespace().any(|word| word == "@room");
    everybody || mentioned(content, std::slice::from_ref(user)).contains(&user.id)
}

fn wrong_unread(poster: &Person, ledger: &Ledger, last: &Final, row: &Value) -> Option<String> {
    let own =
        last.messages.iter().rev().find(|(_, message)| message["author_id"] == poster.id).map_or(0, |(id, _)| *id);
    let (least, most) = ledger.reads.get(&(last.room, poster.id)).copied().unwrap_or_default();
    let held = row["last_read_seq"].as_u64().unwrap_or(u64::MAX);
    if !(least.max(own)..=most.max(own)).contains(&held) {
        return Some(format!("read up to {least} to {most} by command, {own} by sending"));
    }
    let unread: Vec<&Value> = last
        .messages
        .range(held + 1..)
        .map(|(_, message)| message)
        .filter(|message| message["author_id"] != poster.id)
        .collect();
    let mentions = unread.iter().filter(|message| is_for(message, poster)).count();
    let right = row["unread_count"] == unread.len() && row["mention_count"] == mentions;
    (!right).then(|| format!("{} unread, {mentions} mentions", unread.len()))
}

/// Deleted content is not found, neither as sent nor as edited; what is there is found, once the index has come up to it.
pub(super) async fn check_search(
    client: &mut Client,
    ledger: &Ledger,
    violations: &mut Violations,
) -> Result<(), Error> {
    let mut said: Vec<&Said> = ledger.said.values().filter(|said| said.id.is_some()).collect();
    said.sort_by_key(|said| (said.id, said.room));
    let gone = said.iter().filter(|said| said.deleted.get() == Some(&true));
    for said in gone.take(SEARCHES) {
        for content in said.edits.iter().map(|(content, _)| content).chain([&said.content]) {
            let found = client.call("search_messages", json!({"query": query(content), "room_id": said.room})).await?;
            if ids(&found.data["messages"]).contains(&said.id.unwrap_or(0))
                || found.data.to_string().contains(content.as_str())
            {
                violations.add(format!("deleted and found: {said:?}"));
            }
        }
    }
    let deadline = Instant::now() + PATIENCE;
    let sure = |said: &&&Said| said.deleted.get() == Some(&false) && said.edits.iter().all(|(_, done)| *done);
    for said in said.iter().rev().filter(sure).take(SEARCHES) {
        let content = said.edits.last().map_or(&said.content, |(content, _)| content);
        let data = json!({"query": query(content), "room_id": said.room});
        while ids(&client.call("search_messages", data.clone()).await?.data["messages"]) != [said.id.unwrap_or(0)] {
            if Instant::now() > deadline {
                violations.add(format!("{} does not find {said:?}", query(content)));
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    Ok(())
}

/// The word that only this content has, and one after it, so that it is not taken for the beginning of another.
fn query(content: &str) -> String {
    let mut before = "";
    for word in content.split(' ') {
        if matches!(before, "said" | "edited") {
            return format!("{word} {before}");
        }
        before = word;
    }
    content.to_owned()
}

/// Rooms, conversations, blocks and status of a host.
pub(super) async fn check_host(host: &mut Host, server: &Server) -> Result<(), String> {
    let me = host.me.id;
    let (homes, ruins) = (std::mem::take(&mut host.homes), std::mem::take(&mut host.ruins));
    for Home { room, house, .. } in homes.iter().chain(&ruins) {
        let (seen, _) = host.observe(house.owner, *room).await?;
        if !(seen == *house || seen.gone && house.gone) {
            host.violations.add(format!("room {room} is {seen:?} instead of {house:?}"));
        }
    }
    let mut joined: BTreeSet<u64> =
        homes.iter().filter(|it| it.house.members.contains_key(&me)).map(|it| it.room).collect();
    let listed = host.pages(me, "list_rooms", &json!({"filter": "joined"}), "rooms").await?;
    let listed: BTreeSet<u64> = listed.iter().filter_map(|room| room["room_id"].as_u64()).collect();
    if listed != joined {
        host.violations.add(format!("{}: member of {joined:?}, listed {listed:?}", host.me.name));
    }
    joined.extend(host.talks.keys());
    let unread = host.sure(me, "get_unread", &json!({})).await?;
    let listed = unread["rooms"].as_array().ok_or("no rooms")?.iter().filter_map(|room| room["room_id"].as_u64());
    if listed.collect::<BTreeSet<u64>>() != joined {
        host.violations.add(format!("{}: rooms and conversations {joined:?}: {unread}", host.me.name));
    }
    let blocked = host.sure(me, "list_blocks", &json!({})).await?;
    let blocked = blocked["users"].as_array().ok_or("no users")?.iter().filter_map(|user| user["user_id"].as_u64());
    let blocked: BTreeSet<u64> = blocked.collect();
    if blocked != host.blocks {
        host.violations.add(format!("{} blocks {:?}, listed {blocked:?}", host.me.name, host.blocks));
    }
    check_talks(host).await?;
    check_status(host, server).await
}

async fn check_talks(host: &mut Host) -> Result<(), String> {
    let me = host.me.id;
    let rows = host.pages(me, "list_dms", &json!({}), "conversations").await?;
    if rows.len() != host.talks.len() {
        host.violations.add(format!("{} conversations, {} listed", host.talks.len(), rows.len()));
    }
    let guest = host.guests[0].id;
    let of_guest = host.pages(guest, "list_dms", &json!({}), "conversations").await?;
    let talks = std::mem::take(&mut host.talks);
    for (id, talk) in &talks {
        let find = |rows: &[Value]| rows.iter().find(|row| row["conversation_id"] == *id).cloned().unwrap_or_default();
        let row = find(&rows);
        let users =
            row["users"].as_array().map_or(&[][..], Vec::as_slice).iter().filter_map(|user| user["user_id"].as_u64());
        let blocked = talk.pair.is_some_and(|pair| host.blocks.contains(&pair));
        let mut history = Vec::new();
        let mut after = 0;
        loop {
            let data = json!({"room_id": id, "after_id": after, "limit": 100});
            let page = host.sure(me, "get_history", &data).await?;
            let messages = page["messages"].as_array().ok_or("no messages")?;
            let message = |it: &Value| Some((it["message_id"].as_u64()?, it["content"].as_str()?.to_owned()));
            history.extend(messages.iter().filter_map(message));
            after = history.last().map_or(0, |(id, _)| *id);
            if page["has_more"] != true {
                break;
            }
        }
        let last = talk.sent.last().map(|(id, _)| *id);
        let right = users.collect::<BTreeSet<u64>>() == talk.users
            && row["last_message"]["message_id"].as_u64() == last
            && row["is_blocked"] == blocked
            && row["unread_count"] == 0
            && history == talk.sent
            && (!talk.users.contains(&guest) || find(&of_guest)["unread_count"] == talk.sent.len());
        if !right {
            let counts = (history.len(), talk.sent.len());
            host.violations.add(format!("conversation {id} of {:?}, blocked {blocked}, {counts:?}: {row}", talk.users));
        }
    }
    Ok(())
}

/// Somebody who is there before sees the status as it was set, when its owner comes.
async fn check_status(host: &mut Host, server: &Server) -> Result<(), String> {
    let Some((status, message)) = host.status.clone() else { return Ok(()) };
    let fail = |error: Error| format!("{error:?}");
    let me = host.me.id;
    let room = host.sure(me, "create_room", &json!({"name": "stage", "client_id": "stage"})).await?;
    let room = room["room"]["room_id"].as_u64().ok_or("no room_id")?;
    let mut watcher = Client::connect(server.addr(), &host.cast.observer.token).await.map_err(fail)?;
    watcher.call("join_room", json!({"room_id": room})).await.map_err(fail)?;
    let mut client = Client::connect(server.addr(), &host.me.token).await.map_err(fail)?;
    client.call("subscribe", json!({"room_id": room})).await.map_err(fail)?;
    loop {
        let push = watcher.push_of("presence").await.map_err(|error| format!("no presence of {status}: {error:?}"))?;
        if push.data["user_id"] == me && push.data["status"] == status {
            if push.data["message"] != message {
                host.violations.add(format!("{status} {message} is shown as {push:?}"));
            }
            return Ok(());
        }
    }
}
