//! How much more fits now, and what is full first.

use serde::Serialize;

use super::batching::Batching;
use super::costs::{Costs, Part};
use super::fit::{Observation, Prior, fit};
use super::machine::Bounds;
use super::memory::Memory;
use super::plan::{Facts, second};
use super::query::Shape;
use super::sample::Sample;

/// A processor that is busier than this fraction of the time counts as full: beyond it, what waits grows without end.
pub const CPU_FULL: f64 = 0.85;
/// A store whose writers are busier than this counts as full.
const STORE_FULL: f64 = 0.85;
/// Sends a second beyond which no bound is looked for.
const SENDS_MAX: f64 = 1e6;

/// What may run out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// The core of the busiest shard.
    ShardCpu,
    /// All cores that the process may use.
    Cores,
    /// Transactions of the database: all that may be under way are, with as much in each as there may be.
    Store,
    /// File descriptors.
    FileDescriptors,
    /// Memory.
    Memory,
}

/// How much more until one resource is full.
#[derive(Clone, Debug, Serialize)]
pub struct Room {
    /// How much more.
    pub more: f64,
    /// What is full then.
    pub first: Resource,
    /// How much more each resource would allow by itself; absent: it does not bound this.
    pub by_resource: Vec<Bound>,
}

/// What one resource allows by itself.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bound {
    /// Which.
    pub resource: Resource,
    /// How much more.
    pub more: f64,
}

impl Room {
    /// Of several bounds, at least one.
    fn of<const N: usize>(bounds: [(Resource, f64); N]) -> Room {
        let by_resource: Vec<Bound> = bounds.into_iter().map(|(resource, more)| Bound { resource, more }).collect();
        let least = by_resource.iter().copied().min_by(|a, b| a.more.total_cmp(&b.more));
        let Bound { resource: first, more } = least.expect("at least one");
        Room { more, first, by_resource }
    }

    /// The same in another unit, of which there are so many in each.
    fn times(&self, factor: f64) -> Room {
        let times = |bound: &Bound| Bound { more: bound.more * factor, ..*bound };
        Room { more: self.more * factor, first: self.first, by_resource: self.by_resource.iter().map(times).collect() }
    }
}

/// The answer.
#[derive(Clone, Debug, Serialize)]
pub struct Headroom {
    /// Further connections that are idle but for their heartbeats.
    pub connections: Room,
    /// Further sends a second, into rooms as they are now.
    pub sends_per_s: Room,
    /// The deliveries that these make.
    pub deliveries_per_s: Room,
}

/// Everything that is known.
pub struct Known<'a> {
    /// The last seconds as one.
    pub now: &'a Sample,
    /// Of the process.
    pub bounds: &'a Bounds,
    /// Of the server.
    pub facts: &'a Facts,
    /// Learnt.
    pub costs: &'a Costs,
    /// Learnt.
    pub batching: &'a Batching,
    /// Learnt.
    pub memory: &'a Memory,
    /// Operations a second that the database can take.
    pub store_max: f64,
}

impl Known<'_> {
    /// The load as it is. Where nothing is said, one message a second stands for what might be.
    pub fn present(&self) -> Shape {
        let (state, counts, seconds) = (&self.now.state, &self.now.counts, self.now.seconds.max(1e-3));
        let rate = counts.events / seconds;
        let fan_out = if counts.events >= 1.0 {
            counts.deliveries / counts.events
        } else {
            state.subscriptions / state.rooms.max(1.0)
        };
        Shape {
            connections: state.connections,
            rooms: state.rooms.max(1.0),
            members_per_room: fan_out,
            messages_per_s: rate,
            after_s: None,
        }
    }

    fn load(&self, shape: &Shape) -> Sample {
        second(shape, self.facts, self.costs, self.batching)
    }

    /// How much more fits.
    pub fn headroom(&self) -> Headroom {
        let sends = self.sends();
        let deliveries = sends.times(self.present().members_per_room);
        Headroom { connections: self.connections(), sends_per_s: sends, deliveries_per_s: deliveries }
    }

    fn connections(&self) -> Room {
        let (state, shards) = (&self.now.state, self.facts.shards);
        let (busiest, all) = (self.now.busiest(), self.now.cores());
        let idle_s = idle_us(self.costs, self.facts) / 1e6;
        let bytes = self.memory.connection + self.memory.subscription;
        Room::of([
            (Resource::FileDescriptors, (state.max_fds - state.fds).max(0.0)),
            (Resource::Memory, ((self.bounds.memory_bytes - state.resident) / bytes.max(1.0)).max(0.0).floor()),
            (Resource::ShardCpu, ((CPU_FULL - busiest).max(0.0) * shards / idle_s.max(1e-9)).floor()),
            (Resource::Cores, ((CPU_FULL * self.bounds.cores - all).max(0.0) / idle_s.max(1e-9)).floor()),
        ])
    }

    fn sends(&self) -> Room {
        let present = self.present();
        let now = self.load(&present);
        let (busiest, all) = (self.now.busiest(), self.now.cores());
        let more = |fits: &dyn Fn(&Sample) -> bool| {
            let at = |more: f64| self.load(&Shape { messages_per_s: present.messages_per_s + more, ..present });
            let (mut low, mut high) = (0.0, 1.0);
            while fits(&at(high)) && high < SENDS_MAX {
                (low, high) = (high, high * 2.0);
            }
            for _ in 0..40 {
                let middle = (low + high) / 2.0;
                if fits(&at(middle)) { low = middle } else { high = middle }
            }
            low
        };
        // What is used now is as measured; the model says how much is added.
        let shard = |load: &Sample| busiest + load.busiest() - now.busiest() <= CPU_FULL;
        let cores = |load: &Sample| all + load.cores() - now.cores() <= CPU_FULL * self.bounds.cores;
        let store = |load: &Sample| load.counts.operations <= self.store_max;
        Room::of([(Resource::ShardCpu, more(&shard)), (Resource::Cores, more(&cores)), (Resource::Store, more(&store))])
    }
}

/// CPU of an idle connection, µs per second: held, and a ping and its pong now and then.
pub fn idle_us(costs: &Costs, facts: &Facts) -> f64 {
    costs.of(Part::Held) + (costs.of(Part::Read) + costs.of(Part::Write) + costs.of(Part::Turn)) / facts.heartbeat_s
}

/// Microseconds of a transaction and of each operation in it, as the server sees them: a local PostgreSQL with fsync.
const TRANSACTION: [Prior; 2] = [Prior { value: 1_000.0, spread: 1.0 }, Prior { value: 25.0, spread: 0.5 }];

/// Operations a second that the database takes when all writers are busy with full batches.
pub fn store_max<'a>(samples: impl Iterator<Item = &'a Sample>, facts: &Facts) -> f64 {
    let equation = |sample: &Sample| Observation {
        counts: [sample.counts.transactions, sample.counts.operations],
        cost: sample.counts.transaction_us,
        error: 0.2 * sample.counts.transaction_us + 10_000.0,
    };
    let equations: Vec<_> = samples.map(equation).collect();
    let [transaction_us, operation_us] = fit(&TRANSACTION, &equations);
    let batch_us = transaction_us + operation_us * facts.batch_max;
    STORE_FULL * facts.writers * facts.batch_max / batch_us.max(1.0) * 1e6
}
