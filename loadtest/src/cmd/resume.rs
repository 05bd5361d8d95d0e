//! `resume-9000`: a long replay while the room goes on.

use super::{on_this_thread, print_json, start};
use crate::StoreName;
use clap::Args;
use serde::Serialize;
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::time::MissedTickBehavior;
use veza_loadtest::client::{Client, Error};
use veza_loadtest::frame::{kind_of, number_of};
use veza_loadtest::server::{Options, Server};

/// Arguments of `resume-9000`.
#[derive(Args)]
pub struct Arguments {
    #[arg(long, value_enum, default_value = "sqlite")]
    store: StoreName,
    /// Events to be replayed
    #[arg(long, default_value_t = 9000)]
    events: u64,
    /// Live messages a second meanwhile
    #[arg(long, default_value_t = 500)]
    rate: u64,
    /// How many clients do it, one after another
    #[arg(long, default_value_t = 5)]
    times: u32,
}

#[derive(Default, Serialize)]
struct Figures {
    /// Per resume: until the last replayed event, ms.
    replay_ms: Vec<u64>,
    /// Per resume: events replayed.
    replayed: Vec<u64>,
    /// Live messages acknowledged a second meanwhile.
    live_per_second: f64,
}

impl Arguments {
    pub fn run(self) -> Result<bool, String> {
        let (server, _pg) = start(self.store.into(), Options::unlimited());
        let figures = on_this_thread(self.measure(&server))?;
        println!("replay of {} events of 1 KB: {:?} ms", self.events, figures.replay_ms);
        println!("live meanwhile: {:.0} messages a second", figures.live_per_second);
        print_json("resume-9000", &figures)?;
        // In order and without a hole, or the measurement would have failed.
        Ok(figures.live_per_second >= self.rate as f64 * 0.95)
    }

    async fn measure(&self, server: &Server) -> Result<Figures, String> {
        let fail = |error: Error| format!("{error:?}");
        let mut writer = Client::connect(server.addr(), &server.token("writer")).await.map_err(fail)?;
        let created = writer.call("create_room", json!({"name": "long"})).await.map_err(fail)?;
        let room = created.data["room"]["room_id"].as_u64().ok_or("no room_id")?;
        writer.call("unsubscribe", json!({"room_id": room})).await.map_err(fail)?;
        let content = "x".repeat(1024);
        for _ in 0..self.events.div_ceil(50) {
            for _ in 0..50 {
                writer.send("send_message", json!({"room_id": room, "content": content})).await.map_err(fail)?;
            }
            for _ in 0..50 {
                let reply = writer.any_reply().await.map_err(fail)?;
                if reply.kind != "message_sent" {
                    return Err(format!("{reply:?}"));
                }
            }
        }
        let every = Duration::from_secs(1) / u32::try_from(self.rate).map_err(|error| error.to_string())?;
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let live = tokio::task::spawn_local(talk(writer, room, content, every, stopped));
        let mut figures = Figures::default();
        for number in 0..self.times {
            let token = server.token(&format!("returning {number}"));
            let mut client = Client::connect(server.addr(), &token).await.map_err(fail)?;
            let (time, replayed) = self.resume(&mut client, room).await?;
            figures.replay_ms.push(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
            figures.replayed.push(replayed);
        }
        let _ = stop.send(());
        figures.live_per_second = live.await.map_err(|error| error.to_string())??;
        Ok(figures)
    }

    /// Joins, names a position so many events ago, and reads on into live traffic.
    async fn resume(&self, client: &mut Client, room: u64) -> Result<(Duration, u64), String> {
        let fail = |error: Error| format!("{error:?}");
        let joined = client.call("join_room", json!({"room_id": room})).await.map_err(fail)?;
        client.call("unsubscribe", json!({"room_id": room})).await.map_err(fail)?;
        client.pushes_so_far().await.map_err(fail)?;
        let mut last =
            joined.data["seq"].as_u64().and_then(|seq| seq.checked_sub(self.events)).ok_or("too few events")?;
        let started = Instant::now();
        let command = json!({"type": "resume", "id": 0, "data": {"rooms": [{"room_id": room, "last_seq": last}]}});
        client.send_text(command.to_string()).await.map_err(fail)?;
        let (mut target, mut replayed, mut time) = (None, 0, None);
        // Past the replay, a second of live traffic shows that nothing is missing where the two meet.
        while target.is_none_or(|target| last < target + self.rate) {
            let text = client.text().await.map_err(fail)?;
            match kind_of(&text) {
                "resumed" if text.contains("\"recovered\":true") => {
                    target = number_of(&text, "\"seq\":");
                    replayed = number_of(&text, "\"replayed\":").unwrap_or(0);
                }
                "resumed" | "error" => return Err(format!("not recovered: {text}")),
                "message" => {
                    let seq = number_of(&text, "\"seq\":").ok_or("a message without seq")?;
                    if seq != last + 1 {
                        return Err(format!("{last} was followed by {seq}"));
                    }
                    last = seq;
                    if target.is_some_and(|target| last >= target) && time.is_none() {
                        time = Some(started.elapsed());
                    }
                }
                _ => {}
            }
        }
        Ok((time.ok_or("no replay")?, replayed))
    }
}

/// Sends at a steady pace until told to stop; the acknowledged rate.
async fn talk(
    mut writer: Client,
    room: u64,
    content: String,
    every: Duration,
    mut stopped: tokio::sync::oneshot::Receiver<()>,
) -> Result<f64, String> {
    let fail = |error: Error| format!("{error:?}");
    let mut pace = tokio::time::interval(every);
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (started, mut waiting, mut count) = (Instant::now(), 0_u32, 0_u32);
    let mut done = false;
    while !done || waiting > 0 {
        done |= stopped.try_recv().is_ok();
        tokio::select! {
            reply = writer.any_reply(), if waiting > 0 => {
                let reply = reply.map_err(fail)?;
                if reply.kind != "message_sent" {
                    return Err(format!("{reply:?}"));
                }
                (waiting, count) = (waiting - 1, count + 1);
            }
            _ = pace.tick(), if !done => {
                writer.send("send_message", json!({"room_id": room, "content": content})).await.map_err(fail)?;
                waiting += 1;
            }
        }
    }
    Ok(f64::from(count) / started.elapsed().as_secs_f64())
}
