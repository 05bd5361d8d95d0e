//! `sends`: how many acknowledged, durable sends a second, and how long one waits at half of that.

mod compare;

use super::{on_this_thread, print_json, start};
use crate::StoreName;
use clap::Args;
use hdrhistogram::Histogram;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use veza_loadtest::client::Client;
use veza_loadtest::drive::{Offer, Talker, Tally, enter};
use veza_loadtest::fault::{Room, make_rooms};
use veza_loadtest::server::{Options, Server};

/// Arguments of `sends`.
#[derive(Args)]
pub struct Arguments {
    #[arg(long, value_enum, default_value = "postgres")]
    store: StoreName,
    /// Rooms
    #[arg(long, default_value_t = 50)]
    rooms: usize,
    /// Members of each; all are subscribed, and all send
    #[arg(long, default_value_t = 10)]
    members: usize,
    /// Bytes of content
    #[arg(long, default_value_t = 64)]
    bytes: usize,
    /// Seconds of each stretch
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Seconds of the open loop
    #[arg(long, default_value_t = 15)]
    open_seconds: u64,
    /// Unanswered sends of one member, one stretch for each. The maximum is the best of them; more than one in flight
    /// shares system calls that single messages, as people send them, do not share
    #[arg(long, value_delimiter = ',', default_value = "1")]
    windows: Vec<u64>,
    /// More settings of the server, as section.key=value
    #[arg(long)]
    set: Vec<String>,
    /// Another build of the server that this one is held against, stretch by stretch in one run
    #[arg(long, value_name = "PROGRAM")]
    compare: Option<PathBuf>,
    /// Pairs of stretches, with --compare
    #[arg(long, default_value_t = 8)]
    rounds: u32,
}

/// What must be reached.
const SENDS_MIN: f64 = 10_000.0;
/// What 99 of 100 may wait at half of the maximum, µs.
const P99_MAX_US: u64 = 10_000;

#[derive(Default, Serialize)]
struct Figures {
    /// Acknowledged sends a second by window.
    closed: BTreeMap<u64, f64>,
    max_per_second: f64,
    open_offered: f64,
    open_acknowledged: f64,
    open_deliveries: f64,
    p50_us: u64,
    p99_us: u64,
    p999_us: u64,
    max_us: u64,
    errors: BTreeMap<String, u64>,
    violations: u64,
    /// Of the open loop, per acknowledged send.
    server_cpu_us: f64,
}

impl Arguments {
    pub fn run(self) -> Result<bool, String> {
        let settings: Vec<(&str, &str)> = self.set.iter().filter_map(|setting| setting.split_once('=')).collect();
        let options = Options::unlimited().and(&settings);
        if let Some(program) = &self.compare {
            return compare::run(&self, options, program);
        }
        let (server, _pg) = start(self.store.into(), options);
        let figures = on_this_thread(self.measure(&server))?;
        for (window, rate) in &figures.closed {
            println!("closed loop, {window:>2} in flight each: {rate:.0} acknowledged sends a second");
        }
        println!(
            "open loop, {:.0} a second offered, {:.0} acknowledged, {:.0} deliveries: p50 {:.2} ms, p99 {:.2} ms, \
             p99.9 {:.2} ms, max {:.2} ms; server CPU {:.1} µs a send",
            figures.open_offered,
            figures.open_acknowledged,
            figures.open_deliveries,
            figures.p50_us as f64 / 1e3,
            figures.p99_us as f64 / 1e3,
            figures.p999_us as f64 / 1e3,
            figures.max_us as f64 / 1e3,
            figures.server_cpu_us
        );
        println!("errors {:?}, holes or repetitions {}", figures.errors, figures.violations);
        print_json("sends", &figures)?;
        Ok(figures.violations == 0
            && figures.errors.is_empty()
            && figures.max_per_second >= SENDS_MIN
            && figures.p99_us < P99_MAX_US)
    }

    async fn measure(&self, server: &Server) -> Result<Figures, String> {
        let tally = Rc::new(Tally::default());
        let rooms = self.fill(server, &tally).await?;
        let count = self.rooms * self.members;
        let mut figures = Figures::default();
        for window in &self.windows {
            let rate = self.closed(&tally, *window).await?;
            figures.closed.insert(*window, rate);
            figures.max_per_second = figures.max_per_second.max(rate);
        }
        self.open(&tally, server, count, &mut figures).await?;
        figures.errors = tally.errors.borrow().clone();
        figures.violations = tally.violations.get();
        // Everybody must have been shown everything that was acknowledged.
        let sent = tally.acks.get();
        let mut owner = Client::connect(server.addr(), &server.token("owner")).await.map_err(|e| format!("{e:?}"))?;
        let mut heads = 0;
        for room in &rooms {
            let read = owner.call("get_room", serde_json::json!({"room_id": room.id})).await;
            heads += read.map_err(|e| format!("{e:?}"))?.data["room"]["seq"].as_u64().unwrap_or(0);
        }
        let expected = heads * self.members as u64;
        let deadline = Instant::now() + Duration::from_secs(10);
        while tally.deliveries.get() < expected && Instant::now() < deadline {
            sleep(Duration::from_millis(10)).await;
        }
        if heads != sent || tally.deliveries.get() != expected {
            println!("{sent} acknowledged, heads sum to {heads}, {} of {expected} deliveries", tally.deliveries.get());
            figures.violations += 1;
        }
        Ok(figures)
    }

    /// Rooms full of talkers that are silent so far.
    async fn fill(&self, server: &Server, tally: &Rc<Tally>) -> Result<Vec<Room>, String> {
        let rooms = make_rooms(server.addr(), self.rooms, &server.token("owner"), &[]).await?;
        let content: Rc<str> = "x".repeat(self.bytes).into();
        let count = self.rooms * self.members;
        for number in 0..count {
            let room = rooms[number % self.rooms].id;
            let token = server.token(&format!("member {number}"));
            let (socket, last) = enter(server.addr(), &token, room, 8 << 10).await?;
            let phase = number as f64 / count as f64;
            let talker = Talker::new(socket, room, last, tally.clone(), content.clone(), phase);
            tokio::task::spawn_local(talker.run());
        }
        Ok(rooms)
    }

    async fn closed(&self, tally: &Tally, window: u64) -> Result<f64, String> {
        offer(tally, Some(Offer::Closed(window)));
        sleep(Duration::from_secs(1)).await;
        let (start, before) = (Instant::now(), tally.acks.get());
        sleep(Duration::from_secs(self.seconds)).await;
        let rate = (tally.acks.get() - before) as f64 / start.elapsed().as_secs_f64();
        quiet(tally).await?;
        Ok(rate)
    }

    async fn open(&self, tally: &Tally, server: &Server, count: usize, figures: &mut Figures) -> Result<(), String> {
        let rate = figures.max_per_second / 2.0;
        let every = Duration::from_secs_f64(count as f64 / rate);
        let first = Instant::now() + Duration::from_millis(100);
        offer(tally, Some(Offer::Open(every, first)));
        sleep(Duration::from_secs(2)).await;
        *tally.latency.borrow_mut() = Some(Histogram::new_with_bounds(1, 60_000_000, 3).map_err(|e| e.to_string())?);
        let (start, acks, deliveries) = (Instant::now(), tally.acks.get(), tally.deliveries.get());
        let cpu = server.cpu_seconds();
        sleep(Duration::from_secs(self.open_seconds)).await;
        let seconds = start.elapsed().as_secs_f64();
        let done = (tally.acks.get() - acks) as f64;
        figures.server_cpu_us = (server.cpu_seconds() - cpu) * 1e6 / done;
        figures.open_offered = rate;
        figures.open_acknowledged = done / seconds;
        figures.open_deliveries = (tally.deliveries.get() - deliveries) as f64 / seconds;
        quiet(tally).await?;
        let latency = tally.latency.borrow_mut().take().ok_or("a histogram")?;
        figures.p50_us = latency.value_at_quantile(0.5);
        figures.p99_us = latency.value_at_quantile(0.99);
        figures.p999_us = latency.value_at_quantile(0.999);
        figures.max_us = latency.max();
        Ok(())
    }
}

fn offer(tally: &Tally, offer: Option<Offer>) {
    tally.offer.set(offer);
    tally.changed.notify_waiters();
}

/// Nothing new is sent, and everything sent is answered.
async fn quiet(tally: &Tally) -> Result<(), String> {
    offer(tally, None);
    let deadline = Instant::now() + Duration::from_secs(30);
    while tally.waiting.get() > 0 {
        if Instant::now() > deadline {
            return Err(format!(
                "{} commands are not answered; errors {:?}",
                tally.waiting.get(),
                tally.errors.borrow()
            ));
        }
        sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}
