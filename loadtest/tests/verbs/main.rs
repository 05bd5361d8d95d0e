//! kill -9 under a mixed workload of all verbs that change something, on both stores: everything acknowledged is there
//! afterwards, everything that was seen is there, and what can be read is what the log of events amounts to.

mod fold;
mod player;

use fold::Fold;
use player::{Player, Shared, Stage};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use veza_loadtest::client::Client;
use veza_loadtest::pg::TestPg;
use veza_loadtest::server::{Options, Server};
use veza_loadtest::testing::{fresh, number};

/// Users who act; each with one connection.
const PLAYERS: usize = 6;
/// kill -9, and how many acknowledgements lie between two of them.
const KILLS: u32 = 3;
const ACKS_BETWEEN: u64 = 400;

/// Players, two rooms with all of them (the first owns them, the others moderate), and a conversation of each with
/// his neighbour.
async fn set_up(server: &Server) -> (Stage, Vec<Client>) {
    let names: Vec<String> = (0..PLAYERS).map(|_| fresh("player")).collect();
    let tokens: Vec<String> = names.iter().map(|name| server.token(name)).collect();
    let mut clients = Vec::new();
    for token in &tokens {
        clients.push(Client::connect(server.addr(), token).await.expect("in"));
    }
    let mut rooms = Vec::new();
    for name in ["first", "second"] {
        let created = clients[0].ok("create_room", json!({"name": name})).await;
        let room = number(&created["room"], "room_id");
        for index in 1..PLAYERS {
            clients[index].ok("join_room", json!({"room_id": room})).await;
            let user_id = clients[index].user_id();
            let role = json!({"room_id": room, "user_id": user_id, "role": "moderator"});
            clients[0].ok("set_member_role", role).await;
        }
        rooms.push(room);
    }
    let mut conversations = Vec::new();
    for index in 0..PLAYERS {
        let other = clients[(index + 1) % PLAYERS].user_id();
        let dm = clients[index].ok("create_dm", json!({"user_id": other})).await;
        conversations.push(number(&dm, "conversation_id"));
    }
    let users = clients.iter().map(Client::user_id).collect();
    (Stage { addr: server.addr(), tokens, users, rooms, conversations }, clients)
}

async fn survives(database: Option<String>) {
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let options = Options::unlimited().and(&[("limits.max_pins_per_room", "10")]);
    let mut server = Server::start(Options { database, ..options });
    let (stage, clients) = set_up(&server).await;
    let (stage, shared) = (Arc::new(stage), Arc::new(Shared::default()));
    let mut players = Vec::new();
    for (index, client) in clients.into_iter().enumerate() {
        let player = Player::new(index, client, stage.clone(), shared.clone(), seed);
        players.push(tokio::spawn(player.play()));
    }
    for kill in 1..=KILLS {
        while shared.acknowledged.load(Ordering::Relaxed) < ACKS_BETWEEN * u64::from(kill) {
            assert!(players.iter().all(|player| !player.is_finished()), "a player has given up");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        server.kill9();
        server.restart();
    }
    shared.stop.store(true, Ordering::Relaxed);
    let mut ended = Vec::new();
    for player in players {
        ended.push(player.await.expect("a player who is well"));
    }
    server.kill9();
    server.restart();
    for player in &ended {
        player.check_own().await;
    }
    let mut changes = 0;
    for (index, room) in
        stage.rooms.iter().map(|room| (0, *room)).chain(stage.conversations.iter().copied().enumerate())
    {
        let mut reader = Client::connect(stage.addr, &stage.tokens[index]).await.expect("in");
        changes += check_room(&mut reader, room, &shared, stage.rooms.contains(&room)).await;
    }
    println!("{changes} changes, {} acknowledged", shared.acknowledged.load(Ordering::Relaxed));
}

/// Folds the log of a room and holds the acknowledgements, the sightings and all reads against it.
async fn check_room(reader: &mut Client, room: u64, shared: &Shared, is_room: bool) -> u64 {
    let resumed = reader.ok("resume", json!({"rooms": [{"room_id": room, "last_seq": 0}]})).await;
    assert_eq!(resumed["rooms"][0]["recovered"], true, "{resumed}");
    let head = number(&resumed["rooms"][0], "seq");
    let mut fold = Fold::new(room);
    let mut acks = shared.acks_of(room);
    acks.sort_by_key(|ack| ack.seq);
    let mut acks = acks.into_iter().peekable();
    while fold.head < head {
        let push = reader.push().await.expect("a push");
        if push.data["room_id"] == room && push.data["seq"].is_u64() && push.kind != "read" {
            fold.take(&push);
            while let Some(ack) = acks.next_if(|ack| ack.seq == fold.head) {
                fold.check_ack(&ack);
            }
        }
    }
    assert!(acks.peek().is_none(), "acknowledged beyond the head {head}: {:?}", acks.peek());
    for (seq, kind) in shared.seen_of(room) {
        assert_eq!(fold.kind_at(seq), Some(kind.as_str()), "seen at {seq} of {room}");
    }
    fold.check_reads(reader).await;
    if is_room {
        fold.check_settings(reader).await;
    }
    head
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_verb_survives_kill_9_on_sqlite() {
    survives(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_verb_survives_kill_9_on_postgresql() {
    let pg = TestPg::start();
    survives(Some(pg.url())).await;
}
