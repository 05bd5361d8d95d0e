//! What a planned load would take.

use super::batching::{Batching, come, happen, long_sleeps, peer_messages, queued, together, writes};
use super::costs::Costs;
use super::query::Shape;
use super::sample::{Counts, Sample, State};

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
    /// Bytes of what was written lately that the store keeps in this process.
    pub cache_bytes: f64,
}

/// Rounds in which a turn's length and what becomes ready during it settle.
const ROUNDS: usize = 20;

/// A second under this load, as the counters would show it, its CPU included.
pub fn second(shape: &Shape, facts: &Facts, costs: &Costs, batching: &Batching) -> Sample {
    let (shards, connections, rate) = (facts.shards, shape.connections, shape.messages_per_s);
    let beats = connections / facts.heartbeat_s;
    let operations = rate * batching.operations;
    let batches = operations / queued(operations / shards, batching.batch_s).min(facts.batch_max);
    let transactions = (batches / together(batches, batching.group_s)).max(operations / facts.batch_max);
    let counts = Counts {
        reads: rate * batching.reads + beats,
        deliveries: rate * shape.members_per_room,
        events: rate,
        batches,
        operations,
        peer_messages: rate * batching.peers * peer_messages(shards, shape.members_per_room),
        transactions,
        transaction_us: transactions * batching.transaction_s * 1e6,
        ..Counts::default()
    };
    let state = State { connections, rooms: shape.rooms, ..State::default() };
    let mut sample = Sample { seconds: 1.0, counts, state, busiest_us: 0.0 };
    turns(&mut sample.counts, beats, shards, batching);
    settle_writes(&mut sample, beats, shards, costs, batching);
    sample.busiest_us = sample.counts.shard_us / shards * batching.skew;
    sample.counts.store_us = costs.store_us(&sample);
    sample.counts.other_us = costs.other_us(&sample);
    sample
}

/// How often the shards turn and sleep.
fn turns(counts: &mut Counts, beats: f64, shards: f64, batching: &Batching) {
    let happen = happen(counts, 1.0, beats, shards);
    let come = come(counts, 1.0, beats, shards) / shards;
    counts.turns = happen / together(happen / shards, batching.turn_s);
    counts.sleeps = counts.turns * batching.sleeps;
    counts.long_sleeps = (shards * long_sleeps(come, batching.transaction_s)).min(counts.sleeps);
}

/// What becomes ready while a turn runs leaves together: the longer a turn, the fewer writes, and those make it as long
/// as it is.
fn settle_writes(sample: &mut Sample, beats: f64, shards: f64, costs: &Costs, batching: &Batching) {
    for _ in 0..ROUNDS {
        sample.counts.shard_us = costs.shard_us(sample);
        let Sample { counts, state, .. } = &mut *sample;
        let turn_s = counts.shard_us / counts.turns.max(1e-9) / 1e6;
        let ready = batching.ready(counts.events / shards, turn_s);
        let pushes = batching.writes * writes(counts.deliveries, ready, state.rooms / shards);
        let next = pushes + counts.events * batching.alone + beats;
        // Half of the way: it does not swing.
        counts.writes = if counts.writes > 0.0 { (counts.writes + next) / 2.0 } else { next };
    }
    sample.counts.shard_us = costs.shard_us(sample);
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
        cache_bytes: 0.0,
    };

    fn shape(connections: f64, rooms: f64, members_per_room: f64, messages_per_s: f64) -> Shape {
        Shape { connections, rooms, members_per_room, messages_per_s, after_s: None }
    }

    fn load(shape: Shape) -> Sample {
        second(&shape, &FACTS, &Costs::learn([].iter()), &Batching::default())
    }

    #[test]
    fn more_of_anything_costs_more_and_a_message_costs_less_at_a_higher_rate() {
        let idle = load(shape(1000.0, 100.0, 10.0, 0.0));
        let slow = load(shape(1000.0, 100.0, 10.0, 100.0));
        let fast = load(shape(1000.0, 100.0, 10.0, 1000.0));
        let wide = load(shape(1000.0, 20.0, 50.0, 100.0));
        let held = load(shape(3000.0, 100.0, 10.0, 100.0));
        assert_eq!((idle.counts.deliveries, idle.counts.transactions), (0.0, 0.0));
        assert!(0.0 < idle.cores() && idle.cores() < slow.cores() && slow.cores() < fast.cores());
        assert!(slow.cores() < wide.cores() && slow.cores() < held.cores());
        assert!(fast.cores() < 10.0 * slow.cores(), "{fast:?} {slow:?}");
        assert!(fast.counts.transactions < 10.0 * slow.counts.transactions);
        assert!(fast.counts.operations > 9.9 * slow.counts.operations);
        assert_eq!((wide.counts.deliveries, fast.counts.deliveries), (5000.0, 10_000.0));
    }

    #[test]
    fn extremes_stay_finite() {
        for (connections, rooms, members, rate) in
            [(0.0, 0.0, 0.0, 0.0), (1e8, 1e8, 1.0, 1e7), (1e8, 1.0, 1e6, 1e7), (1.0, 1.0, 1.0, 1e-9)]
        {
            let sample = load(shape(connections, rooms, members, rate));
            let counts = &sample.counts;
            let all = [sample.cores(), counts.writes, counts.transactions, counts.turns, counts.sleeps];
            assert!(all.iter().all(|value| value.is_finite() && *value >= 0.0), "{sample:?}");
        }
    }

    /// A server whose work costs other amounts than the defaults say, and batches otherwise.
    fn another_server() -> (Costs, Batching) {
        let costs = Costs::learn([].iter()).scaled(|index| [1.4, 0.8, 1.2, 0.7, 1.6][index % 5]);
        (costs, Batching { batch_s: 0.0006, group_s: 0.0001, turn_s: 0.0003, sleeps: 0.9, ..Batching::default() })
    }

    /// So many samples of five seconds each.
    fn samples(of: Shape, count: usize) -> Vec<Sample> {
        let (costs, batching) = another_server();
        vec![second(&of, &FACTS, &costs, &batching).times(5.0); count]
    }

    #[test]
    fn what_is_learnt_from_one_load_predicts_another() {
        let quiet = shape(500.0, 50.0, 10.0, 0.0);
        for (learnt, asked) in [
            (shape(500.0, 50.0, 10.0, 300.0), shape(500.0, 50.0, 10.0, 600.0)),
            (shape(500.0, 50.0, 10.0, 300.0), shape(500.0, 10.0, 50.0, 300.0)),
            (shape(500.0, 5.0, 100.0, 100.0), shape(500.0, 100.0, 5.0, 600.0)),
            (shape(500.0, 50.0, 10.0, 300.0), shape(1500.0, 150.0, 10.0, 300.0)),
        ] {
            let window = [samples(quiet, 3), samples(learnt, 6)].concat();
            let costs = Costs::learn(window.iter());
            let batching = Batching::learn(window.iter(), FACTS.shards, FACTS.heartbeat_s);
            let (truth, laws) = another_server();
            let predicted = second(&asked, &FACTS, &costs, &batching);
            let real = second(&asked, &FACTS, &truth, &laws);
            let error = predicted.cores() / real.cores() - 1.0;
            assert!(error.abs() < 0.2, "{asked:?} from {learnt:?}: {error:+.3}");
            let error = predicted.counts.transactions / real.counts.transactions - 1.0;
            assert!(error.abs() < 0.05, "{asked:?} from {learnt:?}: transactions {error:+.3}");
        }
    }

    #[test]
    fn one_mixture_for_ten_minutes_is_met_and_stays_finite() {
        let only = shape(500.0, 50.0, 10.0, 300.0);
        let window = samples(only, 120);
        let costs = Costs::learn(window.iter());
        let batching = Batching::learn(window.iter(), FACTS.shards, FACTS.heartbeat_s);
        let again = second(&only, &FACTS, &costs, &batching).times(5.0);
        assert!((again.cores() / window[0].cores() - 1.0).abs() < 0.03, "{} {}", again.cores(), window[0].cores());
        assert!(costs.table(window.iter()).iter().all(|part| part.cpu_us.is_finite() && part.cpu_us >= 0.0));
    }
}
