//! The end of a run: the histories, read page by page, against what was acknowledged and seen.

use super::super::call::Call;
use super::Worker;
use super::client::Client;
use super::ledger::Found;
use super::replies::found;
use serde_json::json;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, channel};

/// Messages in a page, the most that there may be.
const PAGE: usize = 100;

/// The history of one room.
#[derive(Debug)]
pub struct Book {
    room: usize,
    head: u64,
    found: Vec<Found>,
}

/// What a book is read by.
struct Job {
    room: usize,
    id: u64,
    base: u64,
    token: String,
}

/// Reads the histories of all rooms in a thread of its own, so that the connections live on meanwhile.
pub fn read(worker: &Worker) -> Receiver<Result<Vec<Book>, String>> {
    let mut jobs: HashMap<usize, Job> = HashMap::new();
    for client in &worker.clients {
        for place in client.places.iter().filter(|place| place.on) {
            let room = &worker.ledger.rooms[place.room];
            let job = || Job { room: place.room, id: place.id, base: room.base, token: client.token.clone() };
            jobs.entry(place.room).or_insert_with(job);
        }
    }
    let (addr, run, bytes) = (worker.order.addr, worker.order.run.clone(), worker.scenario.load.bytes);
    let (send, books) = channel();
    std::thread::spawn(move || {
        let read = jobs.into_values().map(|job| read_one(addr, &job, &run, bytes)).collect();
        // Nobody waits for them once the run has failed.
        let _ = send.send(read);
    });
    books
}

fn read_one(addr: SocketAddr, job: &Job, run: &str, bytes: usize) -> Result<Book, String> {
    let mut call = Call::new(addr, job.token.clone());
    let mut book = Book { room: job.room, head: 0, found: Vec::new() };
    let mut after = job.base;
    loop {
        let page = call.call("get_history", &json!({"room_id": job.id, "after_id": after, "limit": PAGE}))?;
        book.head = page["seq"].as_u64().unwrap_or(0);
        for message in page["messages"].as_array().into_iter().flatten() {
            book.found.push(found(message, run, bytes));
        }
        match book.found.last() {
            Some(last) if page["has_more"] == true && last.id > after => after = last.id,
            _ => return Ok(book),
        }
    }
}

/// Whether all clients have seen everything.
pub fn caught_up(clients: &[Client], books: &[Book]) -> bool {
    let heads: HashMap<usize, u64> = books.iter().map(|book| (book.room, book.head)).collect();
    let places = clients.iter().flat_map(|client| &client.places).filter(|place| place.on);
    places.into_iter().all(|place| heads.get(&place.room).is_none_or(|head| place.last >= *head))
}

/// Holds everything against the histories.
pub fn compare(worker: &mut Worker, books: &[Book]) {
    for book in books {
        worker.ledger.compare(book.room, book.head, &book.found);
        for client in &worker.clients {
            for place in client.places.iter().filter(|place| place.on && place.room == book.room) {
                if place.last != book.head {
                    let (user, id, last, head) = (client.user, place.id, place.last, book.head);
                    worker.ledger.violations.add(format!("room {id}: client {user} ended at {last} of {head}"));
                }
            }
        }
    }
    let mut names: Vec<u64> = books.iter().flat_map(|book| &book.found).map(|found| found.identity).collect();
    names.sort_unstable();
    let twice = names.windows(2).filter(|two| two[0] == two[1] && two[0] != 0).count();
    if twice > 0 {
        worker.ledger.violations.add(format!("{twice} messages are in the histories twice"));
    }
}
