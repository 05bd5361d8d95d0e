//! What a planned load would take.

use super::batching::{Batching, long, peer_messages, pushes_per_write, spread, together};
use super::costs::{Costs, Part};
use super::query::Shape;

/// What the model needs to know of this server besides its traffic.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// Shards.
    pub shards: f64,
    /// Seconds between two pings to a connection.
    pub heartbeat_s: f64,
    /// Operations in a batch, at most.
    pub batch_max: f64,
    /// Transactions that may be under way.
    pub writers: f64,
    /// Recent events kept in memory per room.
    pub ring_events: f64,
    /// Their bytes.
    pub ring_bytes: f64,
}

/// What happens in a second under a load.
#[derive(Clone, Copy, Debug, Default)]
pub struct Flow {
    /// Pushes.
    pub deliveries: f64,
    /// Writes to sockets.
    pub writes: f64,
    /// Transactions.
    pub transactions: f64,
    /// Operations in them.
    pub operations: f64,
    /// CPU of the shards, seconds.
    pub shard_cores: f64,
    /// CPU of the store's threads.
    pub store_cores: f64,
    /// CPU of all other threads.
    pub other_cores: f64,
}

impl Flow {
    /// All of it.
    pub fn cores(&self) -> f64 {
        self.shard_cores + self.store_cores + self.other_cores
    }
}

/// Rounds in which a turn's length and what waits for it settle.
const ROUNDS: usize = 50;

/// What this load comes to.
pub fn flow(shape: &Shape, facts: &Facts, costs: &Costs, batching: &Batching) -> Flow {
    let (shards, connections, rate) = (facts.shards, shape.connections, shape.messages_per_s);
    let beats = connections / facts.heartbeat_s;
    let operations = rate * batching.operations;
    let per_transaction = together(operations * batching.transaction_s).min(facts.batch_max);
    let transactions = operations / per_transaction;
    let deliveries = rate * shape.members_per_room;
    let more = batching.room * spread(per_transaction, shape.rooms);
    let writes = deliveries / pushes_per_write(more) + rate * batching.alone + beats;
    let reads = rate * batching.reads + beats;
    let peers = rate * batching.peers * peer_messages(shards, shape.members_per_room);
    let happened = reads + transactions + peers;
    let fixed_us = reads * costs.of(Part::Read)
        + writes * costs.of(Part::Write)
        + deliveries * costs.of(Part::Delivery)
        + rate * costs.of(Part::Event)
        + transactions * costs.of(Part::Batch)
        + peers * costs.of(Part::Peer)
        + connections * costs.of(Part::Held);
    let (mut turns, mut shard_us) = (happened, fixed_us);
    for _ in 0..ROUNDS {
        let turn_s = shard_us / turns.max(1e-9) / 1e6;
        let waiting = happened / shards * turn_s;
        let next = happened / (batching.turn * together(waiting)).max(1e-9);
        // Halfway: the longer a turn, the fewer of them, the longer each.
        turns = (turns + next) / 2.0;
        let sleeps = turns * (batching.sleep * (-waiting).exp()).min(1.0);
        let long_sleeps = sleeps * (batching.long_sleep * long(happened / shards)).min(1.0);
        shard_us = fixed_us
            + turns * costs.of(Part::Turn)
            + sleeps * costs.of(Part::Sleep)
            + long_sleeps * costs.of(Part::LongSleep);
    }
    let store_us = transactions * costs.of(Part::Transaction) + operations * costs.of(Part::Operation);
    Flow {
        deliveries,
        writes,
        transactions,
        operations,
        shard_cores: shard_us / 1e6,
        store_cores: store_us / 1e6,
        other_cores: costs.of(Part::Second) / 1e6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FACTS: Facts = Facts {
        shards: 2.0,
        heartbeat_s: 25.0,
        batch_max: 1024.0,
        writers: 4.0,
        ring_events: 256.0,
        ring_bytes: 262_144.0,
    };

    fn load(connections: f64, rooms: f64, members_per_room: f64, messages_per_s: f64) -> Flow {
        let shape = Shape { connections, rooms, members_per_room, messages_per_s, after_s: None };
        flow(&shape, &FACTS, &Costs::learn([].iter()), &Batching::default())
    }

    #[test]
    fn more_of_anything_costs_more_and_a_message_costs_less_at_a_higher_rate() {
        let idle = load(1000.0, 100.0, 10.0, 0.0);
        let slow = load(1000.0, 100.0, 10.0, 100.0);
        let fast = load(1000.0, 100.0, 10.0, 1000.0);
        let wide = load(1000.0, 20.0, 50.0, 100.0);
        let held = load(3000.0, 100.0, 10.0, 100.0);
        assert_eq!((idle.deliveries, idle.transactions), (0.0, 0.0));
        assert!(0.0 < idle.shard_cores && idle.cores() < slow.cores() && slow.cores() < fast.cores());
        assert!(slow.cores() < wide.cores() && slow.cores() < held.cores());
        assert!(fast.cores() < 10.0 * slow.cores(), "{fast:?} {slow:?}");
        assert!(fast.transactions < 10.0 * slow.transactions && fast.operations > 9.9 * slow.operations);
        assert_eq!((wide.deliveries, fast.deliveries), (5000.0, 10_000.0));
    }

    #[test]
    fn extremes_stay_finite() {
        for (connections, rooms, members, rate) in
            [(0.0, 0.0, 0.0, 0.0), (1e8, 1e8, 1.0, 1e7), (1e8, 1.0, 1e6, 1e7), (1.0, 1.0, 1.0, 1e-9)]
        {
            let flow = load(connections, rooms, members, rate);
            let all = [flow.cores(), flow.writes, flow.transactions, flow.operations, flow.deliveries];
            assert!(all.iter().all(|value| value.is_finite() && *value >= 0.0), "{flow:?}");
        }
    }
}
