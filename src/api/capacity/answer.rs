//! The answer of `/capacity`, as JSON.

use serde::Serialize;

use super::batching::Batching;
use super::costs::{Costs, Origin, Part, PartCost};
use super::headroom::{CPU_FULL, Headroom, Known, idle_us, store_max};
use super::machine::Bounds;
use super::memory::Memory;
use super::plan::{Facts, second};
use super::query::Shape;
use super::sample::{Counts, Sample, Window};

/// Seconds that count as now.
const NOW_S: f64 = 10.0;
/// How full a core should be planned to be: what is left is for peaks, and for the tail of latencies.
const CPU_PLANNED: f64 = 0.6;
/// The same for memory and descriptors.
const OTHER_PLANNED: f64 = 0.8;

/// A figure and where it comes from.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Figure {
    value: f64,
    unit: &'static str,
    origin: Origin,
}

/// All of it.
#[derive(Debug, Serialize)]
pub struct Answer {
    window: Span,
    now: Now,
    limits: Limits,
    costs: CostFigures,
    parts: Vec<PartCost>,
    headroom: Headroom,
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<Plan>,
    assumptions: Vec<String>,
    series: Vec<Point>,
}

/// What was learnt from.
#[derive(Debug, Serialize)]
struct Span {
    seconds: f64,
    samples: usize,
    /// Events in it; few of them: the defaults stand.
    events: f64,
    /// Whether there was traffic to learn from.
    origin: Origin,
}

/// The last seconds.
#[derive(Debug, Serialize)]
struct Now {
    connections: f64,
    rooms: f64,
    subscriptions: f64,
    messages_per_s: f64,
    deliveries_per_s: f64,
    cores: f64,
    busiest_shard: f64,
    memory_bytes: f64,
    file_descriptors: f64,
    transactions_per_s: f64,
    rows_per_s: f64,
}

#[derive(Debug, Serialize)]
struct Limits {
    shards: f64,
    cores: f64,
    memory_bytes: f64,
    memory_source: &'static str,
    file_descriptors: f64,
    rows_per_s: f64,
    cpu_full: f64,
}

#[derive(Debug, Serialize)]
struct CostFigures {
    connection_bytes: Figure,
    connection_cpu: Figure,
    delivery_cpu: Figure,
    durable_message_cpu: Figure,
    join_cpu: Figure,
    connect_cpu: Figure,
    room_bytes: Figure,
}

/// What a load needs.
#[derive(Debug, Serialize)]
struct Plan {
    asked: Asked,
    cores: Cores,
    memory: Need,
    file_descriptors: Need,
    database: Database,
    deliveries_per_s: f64,
    deliveries_per_write: f64,
    fits_here: bool,
    /// What is too small here.
    lacking: Vec<&'static str>,
    /// Measured only if the costs that make up this plan are.
    origin: Origin,
    assumptions: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Asked {
    connections: f64,
    rooms: f64,
    members_per_room: f64,
    messages_per_s: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    after_s: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Cores {
    /// Seconds of CPU per second.
    used: f64,
    shards: f64,
    store: f64,
    other: f64,
    busiest_shard: f64,
    /// Whole cores to provide, and as many shards.
    provide: f64,
}

#[derive(Debug, Serialize)]
struct Need {
    used: f64,
    provide: f64,
}

#[derive(Debug, Serialize)]
struct Database {
    transactions_per_s: f64,
    rows_per_s: f64,
    rows_per_transaction: f64,
}

#[derive(Debug, Serialize)]
struct Point {
    seconds: f64,
    connections: f64,
    messages_per_s: f64,
    deliveries_per_s: f64,
    cores: f64,
    busiest_shard: f64,
    memory_bytes: f64,
}

/// What has been learnt, ready for questions.
struct Model<'a> {
    window: &'a Window,
    facts: &'a Facts,
    bounds: &'a Bounds,
    costs: Costs,
    batching: Batching,
    memory: Memory,
    now: Sample,
    store_max: f64,
    origin: Origin,
    events: f64,
}

/// Events below which the window is said to hold no traffic.
const EVENTS_MIN: f64 = 100.0;

/// The answer to a question, or to none.
pub fn answer(window: &Window, facts: &Facts, bounds: &Bounds, question: Option<&Shape>) -> Answer {
    let events = window.samples().map(|sample| sample.counts.events).sum();
    let model = Model {
        window,
        facts,
        bounds,
        costs: Costs::learn(window.samples()),
        batching: Batching::learn(window.samples(), facts.shards, facts.heartbeat_s),
        memory: Memory::learn(window.samples(), facts),
        now: window.recent(NOW_S),
        store_max: store_max(window.samples(), facts),
        origin: if events >= EVENTS_MIN { Origin::Measured } else { Origin::Default },
        events,
    };
    model.answer(question)
}

impl Model<'_> {
    fn answer(&self, question: Option<&Shape>) -> Answer {
        let known = Known {
            now: &self.now,
            bounds: self.bounds,
            facts: self.facts,
            costs: &self.costs,
            batching: &self.batching,
            memory: &self.memory,
            store_max: self.store_max,
        };
        Answer {
            window: self.span(),
            now: self.now(),
            limits: self.limits(),
            costs: self.cost_figures(&known.present()),
            parts: self.costs.table(self.window.samples()),
            headroom: known.headroom(),
            plan: question.map(|shape| self.plan(shape)),
            assumptions: self.assumptions(),
            series: self.window.samples().map(point).collect(),
        }
    }

    fn span(&self) -> Span {
        let seconds = self.window.samples().map(|sample| sample.seconds).sum();
        Span { seconds, samples: self.window.samples().len(), events: self.events, origin: self.origin }
    }

    fn now(&self) -> Now {
        let (state, point) = (&self.now.state, point(&self.now));
        let per_s = 1.0 / self.now.seconds.max(1e-3);
        Now {
            connections: state.connections,
            rooms: state.rooms,
            subscriptions: state.subscriptions,
            messages_per_s: point.messages_per_s,
            deliveries_per_s: point.deliveries_per_s,
            cores: point.cores,
            busiest_shard: point.busiest_shard,
            memory_bytes: state.resident,
            file_descriptors: state.fds,
            transactions_per_s: self.now.counts.transactions * per_s,
            rows_per_s: self.now.counts.operations * per_s,
        }
    }

    fn limits(&self) -> Limits {
        Limits {
            shards: self.facts.shards,
            cores: self.bounds.cores,
            memory_bytes: self.bounds.memory_bytes,
            memory_source: self.bounds.memory_source,
            file_descriptors: self.now.state.max_fds,
            rows_per_s: self.store_max,
            cpu_full: CPU_FULL,
        }
    }

    /// Per thing, as it is done at the present rate: what is shared by several is shared out.
    fn cost_figures(&self, present: &Shape) -> CostFigures {
        let (costs, cpu) = (&self.costs, "µs of CPU");
        let rate = if present.messages_per_s > 0.0 { present.messages_per_s } else { 1.0 };
        let Counts { writes, deliveries, shard_us, store_us, .. } =
            self.load(&Shape { messages_per_s: rate, ..*present }).counts;
        let beats = present.connections / self.facts.heartbeat_s;
        let shared = if deliveries > 0.0 { (writes - beats).max(0.0) / deliveries } else { 1.0 };
        let delivery = costs.of(Part::Delivery) + costs.of(Part::Write) * shared;
        // What messages add to the silence.
        let idle = self.load(&Shape { messages_per_s: 0.0, ..*present }).counts;
        let message = (shard_us + store_us - idle.shard_us - idle.store_us).max(0.0) / rate;
        let figure = |value, unit, origin| Figure { value, unit, origin };
        let of = |part| costs.origin(part);
        CostFigures {
            connection_bytes: figure(self.memory.connection + self.memory.subscription, "bytes", self.memory.origin),
            connection_cpu: figure(idle_us(costs, self.facts), "µs of CPU per second", of(Part::Held)),
            delivery_cpu: figure(delivery, cpu, of(Part::Write)),
            durable_message_cpu: figure((message - delivery * present.members_per_room).max(0.0), cpu, self.origin),
            join_cpu: figure(costs.of(Part::Join) + costs.of(Part::Read) + costs.of(Part::Write), cpu, of(Part::Join)),
            connect_cpu: figure(costs.of(Part::Connect), cpu, of(Part::Connect)),
            room_bytes: figure(self.memory.room, "bytes", self.memory.origin),
        }
    }

    fn load(&self, shape: &Shape) -> Sample {
        second(shape, self.facts, &self.costs, &self.batching)
    }

    fn plan(&self, shape: &Shape) -> Plan {
        let load = self.load(shape);
        let counts = &load.counts;
        let memory = self.memory.of(shape, self.facts);
        let state = &self.now.state;
        let fds = state.fds - state.sockets + shape.connections;
        let provide = (load.cores() / CPU_PLANNED).ceil().max(1.0);
        let mut lacking = Vec::new();
        for (what, lacks) in [
            ("cores", load.cores() > CPU_FULL * self.bounds.cores),
            ("shards", load.busiest() > CPU_FULL),
            ("memory", memory > self.bounds.memory_bytes),
            ("file_descriptors", fds > state.max_fds),
            ("database", counts.operations > self.store_max),
        ] {
            if lacks {
                lacking.push(what);
            }
        }
        let beats = shape.connections / self.facts.heartbeat_s;
        let writes = (counts.writes - beats).max(1e-9);
        Plan {
            asked: Asked {
                connections: shape.connections,
                rooms: shape.rooms,
                members_per_room: shape.members_per_room,
                messages_per_s: shape.messages_per_s,
                after_s: shape.after_s,
            },
            cores: Cores {
                used: load.cores(),
                shards: counts.shard_us / 1e6,
                store: counts.store_us / 1e6,
                other: counts.other_us / 1e6,
                busiest_shard: load.busiest(),
                provide,
            },
            memory: Need { used: memory, provide: memory / OTHER_PLANNED },
            file_descriptors: Need { used: fds, provide: (fds / OTHER_PLANNED).ceil() },
            database: Database {
                transactions_per_s: counts.transactions,
                rows_per_s: counts.operations,
                rows_per_transaction: counts.operations / counts.transactions.max(1e-9),
            },
            deliveries_per_s: counts.deliveries,
            deliveries_per_write: counts.deliveries / writes,
            fits_here: lacking.is_empty(),
            lacking,
            origin: self.plan_origin(shape),
            assumptions: self.plan_assumptions(shape),
        }
    }

    fn plan_origin(&self, shape: &Shape) -> Origin {
        let talks = shape.messages_per_s > 0.0;
        let held = self.costs.origin(Part::Held) == Origin::Measured || self.memory.origin == Origin::Measured;
        let known = if talks { self.origin == Origin::Measured } else { held };
        if known { Origin::Measured } else { Origin::Default }
    }

    fn plan_assumptions(&self, shape: &Shape) -> Vec<String> {
        let per_s = shape.messages_per_s * shape.members_per_room;
        vec![
            format!("every member of a room is online and subscribed: {per_s:.0} deliveries a second"),
            "messages come at random times, evenly over the rooms, of the size that was learnt from (by default 128 bytes)"
                .into(),
            "besides messages there are only heartbeats: joins, reactions, typing, presence and HTTP come on top".into(),
            match shape.after_s {
                Some(after) => format!("memory as it is {after:.0} s after such a load has begun"),
                None => format!("memory with the rooms' recent events (up to {} each) in it", self.facts.ring_events),
            },
            format!(
                "{:.0} shards as now; provided cores are {:.0} % busy, provided memory and descriptors {:.0} % used",
                self.facts.shards,
                CPU_PLANNED * 100.0,
                OTHER_PLANNED * 100.0
            ),
        ]
    }

    fn assumptions(&self) -> Vec<String> {
        let window = match self.origin {
            Origin::Measured => {
                "costs are learnt from this server's traffic; those marked default had too little of it"
            }
            Origin::Default => "there was no traffic to learn from: costs are the documented defaults",
        };
        vec![
            window.into(),
            "CPU is that of this process on these cores: shards, store threads, control thread".into(),
            "the database's own CPU, memory and disk are outside; its writes are given".into(),
            format!("a core counts as full when it is busy {:.0} % of the time", CPU_FULL * 100.0),
            "headroom: connections idle but for heartbeats; sends and deliveries into rooms as they are now".into(),
        ]
    }
}

fn point(sample: &Sample) -> Point {
    let (counts, seconds) = (&sample.counts, sample.seconds.max(1e-3));
    Point {
        seconds: sample.seconds,
        connections: sample.state.connections,
        messages_per_s: counts.events / seconds,
        deliveries_per_s: counts.deliveries / seconds,
        cores: sample.cores(),
        busiest_shard: sample.busiest(),
        memory_bytes: sample.state.resident,
    }
}
