//! How the work batches: what is ready together shares a turn, a transaction, a write. So the cost of a message falls as
//! the rate rises, and a cost per message that was measured at one rate is wrong at another. The laws are simple ones
//! with one number each, which is learnt from the window.

use super::sample::{Counts, Sample};

/// Numbers of the laws.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Batching {
    /// Things that happen ([`happened`]) per turn, against the law's.
    pub turn: f64,
    /// Sleeps per turn, against the law's.
    pub sleep: f64,
    /// Long sleeps per sleep, against the law's.
    pub long_sleep: f64,
    /// Seconds in which whatever comes joins one batch of a shard.
    pub batch_s: f64,
    /// Seconds in which whatever comes joins one transaction, which may hold several batches.
    pub transaction_s: f64,
    /// Events of one room in one batch, against an even spread ([`spread`]).
    pub room: f64,
    /// Writes per event that carry no push (acknowledgements that leave alone).
    pub alone: f64,
    /// Reads per event.
    pub reads: f64,
    /// Operations per event.
    pub operations: f64,
    /// Messages between shards per event, against the law's.
    pub peers: f64,
    /// CPU of the busiest shard against the mean.
    pub skew: f64,
}

impl Default for Batching {
    /// Measured as the defaults of [`super::costs`] were.
    fn default() -> Self {
        Batching {
            turn: 1.0,
            sleep: 1.0,
            long_sleep: 1.0,
            batch_s: 0.001,
            transaction_s: 0.001,
            room: 1.0,
            alone: 0.0,
            reads: 1.0,
            operations: 1.0,
            peers: 1.0,
            skew: 1.1,
        }
    }
}

/// How many of what comes at random are served together, if `waiting` come on average while one lot is served: at least
/// one, and all that came meanwhile.
pub fn together(waiting: f64) -> f64 {
    waiting + (-waiting).exp()
}

/// The inverse of [`together`]: so many are served together, how many come meanwhile?
fn waiting(seen: f64) -> f64 {
    if seen <= 1.0 { 0.0 } else { invert(together, seen, seen) }
}

/// Pushes per write, if a batch has so many events of a room on average: how many a room has that has any.
pub fn pushes_per_write(events: f64) -> f64 {
    if events < 1e-6 { 1.0 } else { events / (1.0 - (-events).exp()) }
}

/// The inverse of [`pushes_per_write`].
fn events_per_batch(pushes: f64) -> f64 {
    if pushes <= 1.0 { 0.0 } else { invert(pushes_per_write, pushes, 2.0 * pushes) }
}

/// Where a rising function has that value, between nought and `most`.
fn invert(function: impl Fn(f64) -> f64, value: f64, most: f64) -> f64 {
    let (mut low, mut high) = (0.0, most);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if function(middle) < value { low = middle } else { high = middle }
    }
    (low + high) / 2.0
}

/// How long a shard naps before it sleeps for long (`NAP` in the runtime's executor), seconds.
const NAP_S: f64 = 0.005;

/// The part of a shard's sleeps that nothing ends before the nap is over, if so many things happen to it in a second.
pub fn long(happen_per_s: f64) -> f64 {
    (-happen_per_s * NAP_S).exp()
}

/// Messages between shards per event: the command to the room's home and its answer, and one to each other shard that
/// has somebody in the room.
pub fn peer_messages(shards: f64, members: f64) -> f64 {
    let elsewhere = (shards - 1.0) / shards;
    2.0 * elsewhere + (shards - 1.0) * (1.0 - (1.0 - 1.0 / shards).powf(members))
}

/// What gives a shard a turn: bytes, completed batches, messages from other shards, pings that are due.
pub fn happened(counts: &Counts, beats: f64) -> f64 {
    counts.reads + counts.batches + counts.peer_messages + beats
}

/// Connections made and rooms joined, for each event, beyond which a sample says nothing about messages.
const COMING_MAX: f64 = 0.1;
/// Events below which a sample says nothing about how they batch.
const EVENTS_MIN: f64 = 20.0;

/// A mean with weights.
#[derive(Default)]
struct Mean {
    sum: f64,
    weight: f64,
}

impl Mean {
    fn add(&mut self, value: f64, weight: f64) {
        if value.is_finite() && weight > 0.0 {
            self.sum += value * weight;
            self.weight += weight;
        }
    }

    fn or(&self, default: f64) -> f64 {
        if self.weight > 0.0 { self.sum / self.weight } else { default }
    }
}

impl Batching {
    /// From these samples of so many shards, in which each connection is pinged so often.
    pub fn learn<'a>(samples: impl Iterator<Item = &'a Sample>, shards: f64, heartbeat_s: f64) -> Batching {
        let default = Batching::default();
        let mut means: [Mean; 11] = Default::default();
        let [turn, sleep, long_sleep, batch, transaction, room, alone, reads, operations, peers, skew] = &mut means;
        for sample in samples {
            let (counts, seconds) = (&sample.counts, sample.seconds);
            skew.add(sample.busiest_us * shards / counts.shard_us, counts.shard_us);
            // Who comes makes writes and reads that no message makes.
            let coming = counts.joins + counts.connects;
            if counts.events < EVENTS_MIN || coming > COMING_MAX * counts.events || seconds <= 0.0 {
                continue;
            }
            let weight = counts.events;
            let beats = sample.state.connections * seconds / heartbeat_s;
            let happened = happened(counts, beats);
            let x = happened / seconds / shards * turn_s(sample);
            turn.add(happened / counts.turns / together(x), weight);
            sleep.add(counts.sleeps / counts.turns / (-x).exp(), weight);
            long_sleep.add(counts.long_sleeps / counts.sleeps / long(happened / seconds / shards), weight);
            let (per_batch, per_transaction) =
                (counts.operations / counts.batches, counts.operations / counts.transactions);
            batch.add(waiting(per_batch) / (counts.operations / seconds), weight);
            transaction.add(waiting(per_transaction) / (counts.operations / seconds), weight);
            let net = (counts.writes - beats).max(1.0);
            alone.add(((net - counts.deliveries) / counts.events).max(0.0), weight);
            let more = events_per_batch(counts.deliveries / net);
            let even = spread(per_transaction, sample.state.rooms);
            if even > 0.01 {
                room.add(more / even, weight * even);
            }
            reads.add(((counts.reads - beats) / counts.events).max(0.0), weight);
            operations.add(counts.operations / counts.events, weight);
            let members = counts.deliveries / counts.events;
            peers.add(counts.peer_messages / counts.events / peer_messages(shards, members), weight);
        }
        Batching {
            turn: turn.or(default.turn),
            sleep: sleep.or(default.sleep),
            long_sleep: long_sleep.or(default.long_sleep),
            batch_s: batch.or(default.batch_s),
            transaction_s: transaction.or(default.transaction_s),
            room: room.or(default.room),
            alone: alone.or(default.alone),
            reads: reads.or(default.reads),
            operations: operations.or(default.operations),
            peers: peers.or(default.peers),
            skew: skew.or(default.skew).clamp(1.0, shards.max(1.0)),
        }
    }
}

/// Seconds of CPU per turn of the shards: the same as a plan computes, so that the laws meet what was seen.
fn turn_s(sample: &Sample) -> f64 {
    sample.counts.shard_us / sample.counts.turns.max(1.0) / 1e6
}

/// Events of one room in a batch of so many over so many rooms. One alone shares with nobody.
pub fn spread(batch: f64, rooms: f64) -> f64 {
    2.0 * (batch - 1.0).max(0.0) / rooms.max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::capacity::sample::State;

    #[test]
    fn the_laws_and_their_inverses() {
        for x in [0.0, 0.1, 1.0, 3.0, 50.0] {
            assert!((waiting(together(x)) - x).abs() < 1e-3 * (1.0 + x), "{x}");
            assert!((events_per_batch(pushes_per_write(x)) - x).abs() < 1e-3 * (1.0 + x), "{x}");
        }
        assert_eq!((together(0.0), pushes_per_write(0.0)), (1.0, 1.0));
        assert_eq!((peer_messages(1.0, 10.0), peer_messages(2.0, 1e6)), (0.0, 2.0));
    }

    /// Ten seconds in which transactions take what comes in 5 ms.
    fn busy(rate: f64) -> Sample {
        let transactions = 10.0 * rate / together(rate * 0.005);
        let counts = Counts {
            turns: 10.0 * rate,
            sleeps: 9.0 * rate,
            reads: 10.0 * rate + 40.0,
            writes: 100.0 * rate + 40.0,
            deliveries: 100.0 * rate,
            events: 10.0 * rate,
            batches: transactions,
            operations: 10.0 * rate,
            transactions,
            shard_us: 1e6,
            ..Counts::default()
        };
        let state = State { connections: 100.0, rooms: 50.0, ..State::default() };
        Sample { seconds: 10.0, counts, state, busiest_us: 1e6 }
    }

    #[test]
    fn how_transactions_batch_is_learnt_at_any_rate() {
        for rate in [50.0, 400.0, 2000.0] {
            let learnt = Batching::learn([busy(rate)].iter(), 1.0, 25.0);
            assert!((learnt.transaction_s / 0.005 - 1.0).abs() < 0.01, "{rate}: {learnt:?}");
            assert!((learnt.reads - 1.0).abs() < 0.01 && learnt.alone < 0.01, "{rate}: {learnt:?}");
        }
    }

    #[test]
    fn silence_leaves_the_defaults() {
        let idle = Sample { seconds: 5.0, ..Sample::default() };
        for samples in [vec![], vec![idle; 3]] {
            let learnt = Batching::learn(samples.iter(), 1.0, 25.0);
            assert_eq!(learnt, Batching { skew: 1.0, ..Batching::default() });
        }
    }
}
