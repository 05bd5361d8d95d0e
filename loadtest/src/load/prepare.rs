//! The rooms of a run, made (or found) through the commands that every client has.

use super::Target;
use super::call::Call;
use super::plan;
use super::scenario::{Kind, Scenario};
use crate::token;
use serde_json::{Value, json};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Connections that make rooms at the same time.
const MAKERS: usize = 8;

/// Ids of the rooms, by their numbers in the plan.
///
/// # Errors
/// What the server answered instead.
pub fn rooms(scenario: &Scenario, target: &Target, run: &str) -> Result<Vec<u64>, String> {
    match scenario.kind {
        Kind::Dm => Ok(Vec::new()),
        Kind::Room if scenario.reuse_rooms => find(scenario, target, run),
        Kind::Room => make(scenario, target, run),
    }
}

/// Each room is made by its first member, who owns it then.
fn make(scenario: &Scenario, target: &Target, run: &str) -> Result<Vec<u64>, String> {
    let creators = plan::creators(scenario);
    let next = AtomicUsize::new(0);
    let made = Mutex::new(vec![0; creators.len()]);
    let maker = || -> Result<(), String> {
        let mut held: Option<(usize, Call)> = None;
        loop {
            let room = next.fetch_add(1, Ordering::Relaxed);
            let Some(creator) = creators.get(room).copied() else { return Ok(()) };
            let mut call = match held.take() {
                Some((user, call)) if user == creator => call,
                _ => Call::new(target.addr, token::for_run(&target.secret, &plan::subject(run, creator))),
            };
            let reply = call.call(
                "create_room",
                &json!({"name": format!("load {run} {room}"), "client_id": format!("{run}-{room}")}),
            )?;
            made.lock().expect("no thread panics")[room] = id_of(&reply["room"])?;
            held = Some((creator, call));
        }
    };
    std::thread::scope(|scope| {
        let makers: Vec<_> = (0..MAKERS).map(|_| scope.spawn(maker)).collect();
        makers.into_iter().try_for_each(|maker| maker.join().expect("a maker does not panic"))
    })?;
    Ok(made.into_inner().expect("no thread panics"))
}

/// Public rooms that are there.
fn find(scenario: &Scenario, target: &Target, run: &str) -> Result<Vec<u64>, String> {
    let mut call = Call::new(target.addr, token::for_run(&target.secret, &plan::subject(run, 0)));
    let mut found = Vec::new();
    let mut cursor = Value::Null;
    while found.len() < scenario.rooms {
        let page = call.call("list_rooms", &json!({"filter": "public", "limit": 100, "cursor": cursor}))?;
        for room in page["rooms"].as_array().into_iter().flatten() {
            found.push(id_of(room)?);
        }
        cursor = page["next_cursor"].clone();
        if cursor.is_null() && found.len() < scenario.rooms {
            return Err(format!("reuse_rooms: there are only {} public rooms", found.len()));
        }
    }
    found.truncate(scenario.rooms);
    Ok(found)
}

fn id_of(room: &Value) -> Result<u64, String> {
    room["room_id"].as_u64().ok_or_else(|| format!("no room_id in {room}"))
}
