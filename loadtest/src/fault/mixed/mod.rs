//! The mixed workload: every verb that changes something, at once. Posters work on messages in rooms that they share;
//! hosts run rooms of their own, with guests, roles and sanctions, and talk in conversations. What each was promised is
//! written down, and in the end everything that the protocol can read is held against it.

mod account;
mod host;
mod house;
mod ledger;
mod people;
mod poster;
mod replica;

use super::reader::Reader;
use super::{Plan, Room, Shared, make_rooms, over_http};
use crate::client::Client;
use crate::server::{SECRET, Server};
use crate::token;
use host::Host;
use ledger::Ledger;
use poster::Poster;
use replica::Replica;
use serde_json::json;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinSet;

/// What is reacted with.
const EMOJI: [&str; 4] = ["👍", "❤️", "🤔", ":ship_it:"];
/// Hosts, and guests of each.
const HOSTS: usize = 3;
const GUESTS: usize = 4;
/// The role of posters: all that they need, and no rank.
const POSTER: [&str; 7] = ["read", "send", "react", "pin", "edit_own", "delete_own", "mention_all"];

/// A user of the run.
#[derive(Clone, Debug)]
struct Person {
    name: String,
    token: String,
    id: u64,
}

/// Who plays where.
struct Cast {
    /// Rooms that the posters share.
    rooms: Vec<Room>,
    posters: Vec<Person>,
    /// A member of every room of the posters and of the hosts, who does nothing.
    observer: Person,
    ledger: Mutex<Ledger>,
}

/// Everybody at work.
pub(super) struct Crew {
    cast: Arc<Cast>,
    posting: JoinSet<()>,
    hosting: JoinSet<Host>,
    reading: JoinSet<Reader<Replica>>,
}

impl Crew {
    /// Makes the rooms, and lets everybody begin.
    pub(super) async fn begin(server: &Server, plan: &Plan) -> Result<(Arc<Shared>, Crew), String> {
        let addr = server.addr();
        let posters = people(server, "poster", plan.writers).await?;
        let readers = people(server, "reader", plan.readers).await?;
        let owner = person(server, "shopkeeper").await?;
        let observer = person(server, "observer").await?;
        let tokens = |people: &[Person]| people.iter().map(|person| person.token.clone()).collect::<Vec<_>>();
        let watching: Vec<String> = tokens(&readers).into_iter().chain([observer.token.clone()]).collect();
        let everybody: Vec<String> = watching.iter().cloned().chain(tokens(&posters)).collect();
        let rooms = make_rooms(addr, plan.rooms, &owner.token, &everybody).await?;
        for room in &rooms {
            let role = json!({"room_id": room.id, "name": "poster", "permissions": POSTER});
            over_http(addr, &owner.token, "create_role", &role).await?;
            for poster in &posters {
                let role = json!({"room_id": room.id, "user_id": poster.id, "role": "poster"});
                over_http(addr, &owner.token, "set_member_role", &role).await?;
            }
        }
        let mut watched = rooms.clone();
        let mut hosts = Vec::new();
        for number in 0..HOSTS {
            let me = person(server, &format!("host{number}")).await?;
            let home = make_rooms(addr, 1, &me.token, &watching).await?;
            watched.extend(&home);
            hosts.push((me, people(server, &format!("guest{number}x"), GUESTS).await?, home[0].id));
        }
        let cast = Arc::new(Cast { rooms, posters, observer, ledger: Mutex::default() });
        let shared = Arc::new(Shared::new(addr, watched));
        let mut reading = JoinSet::new();
        for reader in readers {
            reading.spawn(Reader::new(shared.clone(), reader.token).run());
        }
        let mut hosting = JoinSet::new();
        for (me, guests, home) in hosts {
            let mut host = Host::new(shared.clone(), cast.clone(), me, guests);
            host.adopt(home).await?;
            hosting.spawn(host.run());
        }
        let mut posting = JoinSet::new();
        let every = Duration::from_secs(1) * u32::try_from(plan.writers).expect("few") / plan.rate as u32;
        for number in 0..plan.writers {
            posting.spawn(Poster::new(shared.clone(), cast.clone(), number, plan.window, every).run());
        }
        Ok((shared, Crew { cast, posting, hosting, reading }))
    }
}

/// A user with a name of his own, who has been there.
async fn person(server: &Server, name: &str) -> Result<Person, String> {
    let token = token::named(SECRET, name, name);
    let client = Client::connect(server.addr(), &token).await.map_err(|error| format!("{error:?}"))?;
    Ok(Person { name: name.to_owned(), token, id: client.user_id() })
}

async fn people(server: &Server, role: &str, count: usize) -> Result<Vec<Person>, String> {
    let mut people = Vec::new();
    for number in 0..count {
        people.push(person(server, &format!("{role}{number}")).await?);
    }
    Ok(people)
}
