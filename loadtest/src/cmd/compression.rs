//! `compression`: what permessage-deflate costs and saves, against plain connections of the same server in the same run.

use super::{on_this_thread, print_json, start};
use crate::StoreName;
use clap::Args;
use serde::Serialize;
use serde_json::json;
use std::cell::Cell;
use std::rc::Rc;
use tokio::sync::Notify;
use veza_loadtest::client::Client;
use veza_loadtest::dice::Dice;
use veza_loadtest::process;
use veza_loadtest::raw::{FIN, Raw, opcode};
use veza_loadtest::server::{Options, Server};

/// Arguments of `compression`.
#[derive(Args)]
pub struct Arguments {
    #[arg(long, value_enum, default_value = "sqlite")]
    store: StoreName,
    /// Receivers in each room
    #[arg(long, default_value_t = 1000)]
    members: u64,
    /// Messages in one stretch of measurement
    #[arg(long, default_value_t = 100)]
    messages: u64,
    /// Stretches, the plain room and the compressed in turn
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Bytes of content: words
    #[arg(long, default_value_t = 1024)]
    bytes: usize,
    /// Histories of 100 messages read in one stretch
    #[arg(long, default_value_t = 300)]
    pages: u64,
}

const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";

/// Of one kind of connection: medians over the stretches.
#[derive(Default, Serialize)]
struct Side {
    /// Bytes of a push, header included.
    push_bytes: u64,
    /// Server CPU, µs for each delivery.
    delivery_us: f64,
    /// Bytes of a page of 100 messages.
    page_bytes: u64,
    /// Server CPU, µs for each page.
    page_us: f64,
}

#[derive(Serialize)]
struct Figures {
    plain: Side,
    compressed: Side,
}

/// A room, and what its receivers have got.
struct Room {
    id: u64,
    sender: Client,
    reader: Raw,
    got: Rc<Got>,
}

#[derive(Default)]
struct Got {
    frames: Cell<u64>,
    bytes: Cell<u64>,
    wanted: Cell<u64>,
    all: Notify,
}

impl Arguments {
    pub fn run(self) -> Result<bool, String> {
        let settings = [("server.compression", "true"), ("server.shards", "1"), ("limits.max_members_per_room", "0")];
        let (server, _pg) = start(self.store.into(), Options { core: Some(0), ..Options::unlimited() }.and(&settings));
        let measured = process::on_load_core(|| on_this_thread(self.measure(&server)));
        let figures = measured.map_err(|error| error.to_string())??;
        for (name, side) in [("plain", &figures.plain), ("compressed", &figures.compressed)] {
            println!(
                "{name}: push {} bytes, {:.2} µs a delivery; page {} bytes, {:.0} µs",
                side.push_bytes, side.delivery_us, side.page_bytes, side.page_us
            );
        }
        print_json("compression", &figures)?;
        Ok(figures.compressed.push_bytes <= figures.plain.push_bytes)
    }

    async fn measure(&self, server: &Server) -> Result<Figures, String> {
        let mut sides = [self.room(server, "").await?, self.room(server, OFFER).await?];
        let mut samples = [const { Vec::new() }; 2];
        let mut dice = Dice::new(1);
        for round in 0..=self.rounds {
            for (room, samples) in sides.iter_mut().zip(&mut samples) {
                let (push_bytes, delivery_us) = self.talk(server, room, &mut dice).await?;
                let (page_bytes, page_us) = self.read_pages(server, room).await?;
                if round > 0 {
                    samples.push(Side { push_bytes, delivery_us, page_bytes, page_us });
                }
            }
        }
        let [plain, compressed] = samples.map(|samples| middle(&samples));
        Ok(Figures { plain, compressed })
    }

    /// A room with its receivers, who offer this.
    async fn room(&self, server: &Server, offer: &str) -> Result<Room, String> {
        let fail = |error: std::io::Error| error.to_string();
        let mut sender =
            Client::connect(server.addr(), &server.token("sender")).await.map_err(|error| format!("{error:?}"))?;
        let created =
            sender.call("create_room", json!({"name": "measured"})).await.map_err(|error| format!("{error:?}"))?;
        let id = created.data["room"]["room_id"].as_u64().ok_or("no room_id")?;
        sender.call("unsubscribe", json!({"room_id": id})).await.map_err(|error| format!("{error:?}"))?;
        let got = Rc::new(Got::default());
        for number in 0..=self.members {
            let token = server.token(&format!("member {number}"));
            let (mut raw, _) = Raw::connect_with(server.addr(), Some(&token), None, offer).await.map_err(fail)?;
            let join = json!({"type": "join_room", "id": 1, "data": {"room_id": id}}).to_string();
            raw.send(FIN | opcode::TEXT, join.as_bytes()).await.map_err(fail)?;
            for _ in 0..2 {
                raw.read().await.map_err(fail)?; // auth_success, room_joined
            }
            if number == self.members {
                // This one reads pages and no pushes.
                let leave = json!({"type": "unsubscribe", "id": 1, "data": {"room_id": id}}).to_string();
                raw.send(FIN | opcode::TEXT, leave.as_bytes()).await.map_err(fail)?;
                return Ok(Room { id, sender, reader: raw, got });
            }
            tokio::task::spawn_local(receive(raw, got.clone()));
        }
        Err("nobody reads".into())
    }

    /// Says so many messages, one at a time; bytes of a push, and CPU µs of a delivery.
    async fn talk(&self, server: &Server, room: &mut Room, dice: &mut Dice) -> Result<(u64, f64), String> {
        let (bytes, cpu) = (room.got.bytes.get(), server.cpu_seconds());
        for _ in 0..self.messages {
            room.got.frames.set(0);
            room.got.wanted.set(self.members);
            let data = json!({"room_id": room.id, "content": words(self.bytes, dice)});
            room.sender.call("send_message", data).await.map_err(|error| format!("{error:?}"))?;
            room.got.all.notified().await;
        }
        let deliveries = self.messages * self.members;
        let cpu = (server.cpu_seconds() - cpu) * 1e6 / deliveries as f64;
        Ok(((room.got.bytes.get() - bytes) / deliveries, cpu))
    }

    /// Reads the newest page so often; its bytes, and CPU µs.
    async fn read_pages(&self, server: &Server, room: &mut Room) -> Result<(u64, f64), String> {
        let fail = |error: std::io::Error| error.to_string();
        let (cpu, mut bytes) = (server.cpu_seconds(), 0);
        let ask = json!({"type": "get_history", "id": 1, "data": {"room_id": room.id, "limit": 100}}).to_string();
        for _ in 0..self.pages {
            room.reader.send(FIN | opcode::TEXT, ask.as_bytes()).await.map_err(fail)?;
            bytes = 0;
            // Presence and counts may come between.
            while bytes < 4096 {
                bytes = room.reader.read().await.map_err(fail)?.1.len() as u64;
            }
        }
        Ok((bytes, (server.cpu_seconds() - cpu) * 1e6 / self.pages as f64))
    }
}

/// Counts messages, which are the frames that are long.
async fn receive(mut raw: Raw, got: Rc<Got>) {
    while let Ok((kind, payload)) = raw.read().await {
        if kind != opcode::TEXT || payload.len() < 150 {
            continue;
        }
        got.bytes.set(got.bytes.get() + payload.len() as u64 + if payload.len() > 125 { 4 } else { 2 });
        got.frames.set(got.frames.get() + 1);
        if got.frames.get() == got.wanted.get() {
            got.all.notify_one();
        }
    }
}

/// So many bytes of what people write.
fn words(bytes: usize, dice: &mut Dice) -> String {
    const WORDS: [&str; 40] = [
        "the",
        "deploy",
        "is",
        "running",
        "on",
        "staging",
        "again",
        "and",
        "I",
        "think",
        "we",
        "should",
        "look",
        "at",
        "logs",
        "before",
        "lunch",
        "thanks",
        "server",
        "room",
        "message",
        "please",
        "can",
        "you",
        "review",
        "my",
        "change",
        "it",
        "fixes",
        "that",
        "issue",
        "with",
        "reconnects",
        "tomorrow",
        "maybe",
        "great",
        "what",
        "about",
        "latency",
        "graphs",
    ];
    let mut text = String::with_capacity(bytes + 16);
    while text.len() < bytes {
        let word: &&str = dice.pick(&WORDS);
        text.push_str(word);
        text.push(' ');
    }
    text.truncate(bytes);
    text
}

fn middle(samples: &[Side]) -> Side {
    let of = |value: fn(&Side) -> f64| {
        let mut values: Vec<f64> = samples.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    };
    Side {
        push_bytes: of(|side| side.push_bytes as f64) as u64,
        delivery_us: of(|side| side.delivery_us),
        page_bytes: of(|side| side.page_bytes as f64) as u64,
        page_us: of(|side| side.page_us),
    }
}
