//! One run: starts the parts, does the harm, and draws up the account.

use super::mixed::Crew;
use super::reader::Reader;
use super::writer::{Writer, send_again};
use super::{Plan, Shared, make_rooms, read_history};
use crate::check::{History, View, Violations, verify};
use crate::client::Client;
use crate::pg::TestPg;
use crate::server::{Options, Server};
use serde::Serialize;
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::task::{JoinSet, block_in_place};

/// How long progress may take before the run has failed.
const PATIENCE: Duration = Duration::from_secs(90);
/// The most that the server's memory may grow while its database is away.
pub const GROWTH_MAX_BYTES: u64 = 64 << 20;
/// The longest from the database's return to the first acknowledgement.
pub const FIRST_ACK_MAX: Duration = Duration::from_secs(2);
/// The longest that a read from memory may take while the database is away.
const CACHED_READ_MAX: Duration = Duration::from_secs(2);

/// What is done to the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// kill -9 of the server, and a restart.
    ServerKill9,
    /// kill -9 of every PostgreSQL process that serves a client; PostgreSQL recovers by itself.
    BackendKill9,
    /// PostgreSQL is stopped for that long, and started.
    PgStop(Duration),
    /// PostgreSQL is paused by SIGSTOP for that long.
    PgPause(Duration),
}

/// On which store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Store {
    /// The embedded one.
    Sqlite,
    /// A private PostgreSQL server, with fsync.
    Postgres,
}

/// A run to be made.
#[derive(Clone, Debug)]
pub struct Run {
    /// The harm.
    pub fault: Fault,
    /// The store.
    pub store: Store,
    /// How many times.
    pub times: u32,
    /// Acknowledgements before each fault.
    pub acks_between: u64,
    /// What the load does.
    pub load: Load,
    /// How much of it.
    pub plan: Plan,
}

/// What users do meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Load {
    /// They send.
    Sends,
    /// They use every verb that changes something.
    Mixed,
}

/// The account of a run.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Messages acknowledged.
    pub acknowledged: u64,
    /// Acknowledged commands by name, where the load has several.
    pub verbs: BTreeMap<String, u64>,
    /// Acknowledgements a second between the faults: the least and the mean.
    pub acks_per_second: (f64, f64),
    /// First answers that were repetitions: the commit had outlived its answer.
    pub lost_and_repeated: u64,
    /// Events that readers were shown.
    pub reader_events: u64,
    /// Connections made.
    pub connects: u64,
    /// Per fault, from kill -9 of the server until it is ready, ms.
    pub restart_ms: Vec<u64>,
    /// Per fault, from readiness (of the server, or of the database) to the first acknowledgement, ms.
    pub first_ack_ms: Vec<u64>,
    /// Per fault of the database, growth of the server's resident memory, bytes.
    pub growth_bytes: Vec<u64>,
    /// Reads from memory that were answered while the database was away.
    pub cached_reads: u64,
    /// The slowest of them, ms.
    pub cached_read_max_ms: u64,
    /// Refusals by code.
    pub refusals: BTreeMap<String, u64>,
    /// What went wrong.
    pub violations: Violations,
}

struct Rig {
    run: Run,
    server: Server,
    pg: Option<TestPg>,
    shared: Arc<Shared>,
    report: Report,
    rates: Vec<f64>,
}

impl Run {
    /// Makes the run. Needs a runtime of several threads: starting and stopping processes blocks.
    ///
    /// # Errors
    /// What kept it from being made at all; broken guarantees are in the report.
    pub async fn make(self) -> Result<Report, String> {
        let pg = block_in_place(|| (self.store == Store::Postgres).then(TestPg::start));
        // Refusals for being over a limit are none of what is looked for here.
        let limits = [("limits.max_pins_per_room", "0"), ("limits.max_reactions_per_message", "0")];
        let options = Options { database: pg.as_ref().map(TestPg::url), ..Options::unlimited().and(&limits) };
        let server = block_in_place(|| Server::start(options));
        match self.load {
            Load::Sends => self.make_sends(server, pg).await,
            Load::Mixed => self.make_mixed(server, pg).await,
        }
    }

    async fn make_sends(self, server: Server, pg: Option<TestPg>) -> Result<Report, String> {
        let plan = self.plan.clone();
        let tokens = |role: &str, count: usize| -> Vec<String> {
            (0..count).map(|n| server.token(&format!("{role} {n}"))).collect()
        };
        let (writers, readers) = (tokens("writer", plan.writers), tokens("reader", plan.readers));
        let members: Vec<String> = writers.iter().chain(&readers).cloned().collect();
        let rooms = make_rooms(server.addr(), plan.rooms, &server.token("owner"), &members).await?;
        let shared = Arc::new(Shared::new(server.addr(), rooms));
        let mut reading = JoinSet::new();
        for token in readers {
            reading.spawn(Reader::new(shared.clone(), token).run());
        }
        let mut writing = JoinSet::new();
        let every = Duration::from_secs(1) * u32::try_from(plan.writers).expect("few") / plan.rate as u32;
        for (name, token) in writers.iter().enumerate() {
            writing.spawn(Writer::new(shared.clone(), name, token.clone(), plan.window, every).run());
        }
        let mut rig = Rig::new(self, server, pg, shared);
        rig.do_harm().await?;
        rig.shared.stop.send_replace(true);
        let ended = tokio::time::timeout(PATIENCE, writing.join_all()).await;
        ended.map_err(|_| "the writers got no answers")?;
        // Sending everything again takes one connection more of each writer.
        let expected = 2 * plan.writers + plan.readers;
        rig.account(&writers, reading).await?;
        Ok(rig.sum_up(expected))
    }

    async fn make_mixed(self, server: Server, pg: Option<TestPg>) -> Result<Report, String> {
        let plan = self.plan.clone();
        let begun = Crew::begin(&server, &plan).await;
        let (shared, crew) = begun.map_err(|reason| format!("{reason}; the server's log ends\n{}", server.log()))?;
        let mut rig = Rig::new(self, server, pg, shared);
        rig.do_harm().await?;
        rig.shared.stop.send_replace(true);
        crew.account(&rig.server, &rig.shared, &mut rig.report).await?;
        Ok(rig.sum_up(plan.writers + plan.readers))
    }
}

impl Rig {
    fn new(run: Run, server: Server, pg: Option<TestPg>, shared: Arc<Shared>) -> Rig {
        Rig { run, server, pg, shared, report: Report::default(), rates: Vec::new() }
    }

    async fn do_harm(&mut self) -> Result<(), String> {
        for _ in 0..self.run.times {
            self.measure_rate().await?;
            match self.run.fault {
                Fault::ServerKill9 => {
                    let killed = Instant::now();
                    block_in_place(|| {
                        self.server.kill9();
                        self.server.restart();
                    });
                    self.report.restart_ms.push(millis(killed.elapsed()));
                    self.first_ack().await?;
                }
                Fault::BackendKill9 => {
                    let before = self.server.rss_bytes();
                    let starts = starts(self.pg());
                    self.pg().kill9_backends();
                    block_in_place(|| wait_for_start(self.pg(), starts + 1))?;
                    self.first_ack().await?;
                    self.report.growth_bytes.push(self.server.rss_bytes().saturating_sub(before));
                }
                Fault::PgStop(time) => self.outage(time, TestPg::stop, TestPg::start_again).await?,
                Fault::PgPause(time) => self.outage(time, |pg| pg.pause(), |pg| pg.resume()).await?,
            }
        }
        self.measure_rate().await
    }

    fn pg(&mut self) -> &mut TestPg {
        self.pg.as_mut().expect("this fault is for PostgreSQL")
    }

    /// Waits for so many acknowledgements; their rate counts as the load of this stretch.
    async fn measure_rate(&mut self) -> Result<(), String> {
        let (start, before) = (Instant::now(), self.shared.acks());
        self.wait_for_acks(before + self.run.acks_between).await?;
        self.rates.push((self.shared.acks() - before) as f64 / start.elapsed().as_secs_f64());
        Ok(())
    }

    async fn wait_for_acks(&mut self, count: u64) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while self.shared.acks() < count {
            if Instant::now() > deadline || !self.server.alive() {
                let refusals = self.shared.refusals.lock().expect("no task panics").clone();
                return Err(format!(
                    "no progress; refusals {refusals:?}; the server's log ends\n{}",
                    self.server.log()
                ));
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }

    async fn first_ack(&mut self) -> Result<(), String> {
        let back = Instant::now();
        self.wait_for_acks(self.shared.acks() + 1).await?;
        self.report.first_ack_ms.push(millis(back.elapsed()));
        Ok(())
    }

    async fn outage(&mut self, time: Duration, harm: fn(&mut TestPg), heal: fn(&mut TestPg)) -> Result<(), String> {
        let mut probe = Probe::prepare(&self.server).await?;
        let before = self.server.rss_bytes();
        let mut most = before;
        block_in_place(|| harm(self.pg()));
        let end = Instant::now() + time;
        while Instant::now() < end {
            probe.read(&mut self.report).await;
            most = most.max(self.server.rss_bytes());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        block_in_place(|| heal(self.pg()));
        self.first_ack().await?;
        most = most.max(self.server.rss_bytes());
        self.report.growth_bytes.push(most - before);
        Ok(())
    }

    /// Everything is sent again, everything is read, and held against what was promised and shown.
    async fn account(&mut self, writers: &[String], reading: JoinSet<Reader<View>>) -> Result<(), String> {
        self.report.lost_and_repeated = self.shared.ledger.lock().expect("no task panics").duplicates;
        for (name, token) in writers.iter().enumerate() {
            let prefix = format!("writer {name} ");
            let mine: Vec<(String, u64)> = {
                let ledger = self.shared.ledger.lock().expect("no task panics");
                let acknowledged = ledger.sent.iter().filter(|(_, sent)| sent.ack.is_some());
                let mine = acknowledged.filter(|(client_id, _)| client_id.starts_with(&prefix));
                mine.map(|(client_id, sent)| (client_id.clone(), sent.room)).collect()
            };
            send_again(&self.shared, token, &mine).await?;
        }
        let histories = self.histories().await.map_err(|error| format!("{error:?}"))?;
        let heads: HashMap<u64, u64> = histories.iter().map(|(room, history)| (*room, history.head)).collect();
        self.shared.heads.send_replace(Some(heads));
        let readers = tokio::time::timeout(PATIENCE, reading.join_all()).await;
        let readers = readers.map_err(|_| "a reader never saw the heads")?;
        let ledger = self.shared.ledger.lock().expect("no task panics");
        self.report.acknowledged = ledger.acknowledged;
        let mut views = Vec::new();
        for reader in readers {
            self.report.reader_events += reader.views.iter().map(|view| view.len() as u64).sum::<u64>();
            self.report.violations.merge(reader.violations);
            views.extend(reader.views);
        }
        self.report.violations.merge(verify(&ledger, &views, &histories));
        Ok(())
    }

    /// What is counted alike for every load; `connects`: connections that there are unless some were dropped.
    fn sum_up(self, connects: usize) -> Report {
        let mut report = self.report;
        report.connects = self.shared.connects.load(Ordering::Relaxed);
        report.verbs = self.shared.verbs.lock().expect("no task panics").clone();
        report.refusals = self.shared.refusals.lock().expect("no task panics").clone();
        let (least, sum) = self.rates.iter().fold((f64::MAX, 0.0), |(least, sum), rate| (rate.min(least), sum + rate));
        report.acks_per_second = (least, sum / self.rates.len() as f64);
        if self.run.fault != Fault::ServerKill9 && report.connects != connects as u64 {
            report.violations.add(format!("{} connections instead of {connects}: some were dropped", report.connects));
        }
        report
    }

    async fn histories(&self) -> Result<HashMap<u64, History>, crate::client::Error> {
        let mut client = Client::connect(self.server.addr(), &self.server.token("owner")).await?;
        let mut histories = HashMap::new();
        for room in &self.shared.rooms {
            histories.insert(room.id, read_history(&mut client, room.id).await?);
        }
        Ok(histories)
    }
}

impl Report {
    /// Whether nothing was broken and the bounds of memory and return were kept.
    pub fn held(&self) -> bool {
        self.violations.count == 0
            && self.growth_bytes.iter().all(|growth| *growth <= GROWTH_MAX_BYTES)
            && self.first_ack_ms.iter().all(|ms| u128::from(*ms) <= FIRST_ACK_MAX.as_millis())
            && u128::from(self.cached_read_max_ms) <= CACHED_READ_MAX.as_millis()
    }
}

/// Reads a room that is in the server's memory, as a member with a connection of its own.
struct Probe {
    client: Client,
    room: u64,
}

impl Probe {
    async fn prepare(server: &Server) -> Result<Probe, String> {
        let fail = |error| format!("the probe: {error:?}");
        let mut client = Client::connect(server.addr(), &server.token("probe")).await.map_err(fail)?;
        let room = client.call("create_room", json!({"name": "quiet"})).await.map_err(fail)?;
        let room = room.data["room"]["room_id"].as_u64().ok_or("no room_id")?;
        let message = json!({"room_id": room, "content": "still here"});
        client.call("send_message", message).await.map_err(fail)?;
        Ok(Probe { client, room })
    }

    async fn read(&mut self, report: &mut Report) {
        let asked = Instant::now();
        for (command, member) in [("get_history", "messages"), ("get_room", "room")] {
            match self.client.call(command, json!({"room_id": self.room})).await {
                Ok(reply) if !reply.data[member].is_null() => report.cached_reads += 1,
                other => report.violations.add(format!("{command} while the database was away: {other:?}")),
            }
        }
        report.cached_read_max_ms = report.cached_read_max_ms.max(millis(asked.elapsed()));
    }
}

/// How often PostgreSQL has become ready, first start and recoveries, as its log says. A connection would not tell:
/// one may still be let in before the loss of the others is noticed.
fn starts(pg: &TestPg) -> usize {
    pg.log().matches("database system is ready to accept connections").count()
}

fn wait_for_start(pg: &TestPg, count: usize) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    while starts(pg) < count {
        if Instant::now() > deadline {
            return Err("PostgreSQL has not come back".into());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
