//! How the work batches: what is ready together shares a turn, a transaction, a write. So the cost of a message falls as
//! the rate rises, and a cost per message that was measured at one rate is wrong at another. The laws are simple ones
//! with one number each, which is learnt from the window.

use super::sample::{Counts, Sample};

/// Numbers of the laws.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Batching {
    /// Seconds in which whatever happens to a shard joins the turn that the first of it has caused.
    pub turn_s: f64,
    /// Sleeps per turn.
    pub sleeps: f64,
    /// Seconds in which whatever a shard has to store joins one batch.
    pub batch_s: f64,
    /// Seconds in which whatever batch comes joins one transaction.
    pub group_s: f64,
    /// Seconds that a transaction takes.
    pub transaction_s: f64,
    /// Writes that carry pushes, against the law's ([`writes`]): the part that comes in clumps shares more.
    pub writes: f64,
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

/// Measured as the defaults of [`super::costs`] were.
const DEFAULT: Batching = Batching {
    turn_s: 180e-6,
    sleeps: 0.98,
    batch_s: 500e-6,
    group_s: 50e-6,
    transaction_s: 0.0015,
    writes: 1.0,
    alone: 0.0,
    reads: 1.0,
    operations: 1.0,
    peers: 1.0,
    skew: 1.1,
};

impl Default for Batching {
    fn default() -> Self {
        DEFAULT
    }
}

/// As many that have joined another, rather than been the first, weigh as much as the default of a law.
const JOINED_SURE: f64 = 20.0;
/// How long a shard naps before it sleeps for long (`NAP` in the runtime's executor), seconds.
const NAP_S: f64 = 0.005;
/// A transaction that takes longer than this was held up by something: the usual one is meant.
const TRANSACTION_S_MAX: f64 = 0.002;
/// Pings leave when their tick comes, all of it in one turn; ticks a second, as of the engine's wheel.
const PING_TICKS: f64 = 10.0;

/// So many a second, each joined by what comes within `join_s` of it: how many there are together.
pub fn together(per_s: f64, join_s: f64) -> f64 {
    1.0 + per_s * join_s
}

/// The same for what waits while others are under way: twice as many are joined by more than twice as many, since what is
/// under way then takes longer.
pub fn queued(per_s: f64, join_s: f64) -> f64 {
    1.0 + (per_s * join_s).powf(QUEUED)
}

/// Measured: between what comes by chance within a fixed time (1) and what must wait for its turn (2, while seldom).
const QUEUED: f64 = 1.2;

/// Pushes per write, if so many of a room's events are ready on average: how many a room has that has any.
fn pushes_per_write(events: f64) -> f64 {
    if events < 1e-6 { 1.0 } else { events / (1.0 - (-events).exp()) }
}

/// Writes that carry so many pushes, if `ready` events of so many rooms are ready together, and one of them alone shares
/// with nobody.
pub fn writes(deliveries: f64, ready: f64, rooms: f64) -> f64 {
    deliveries / pushes_per_write(2.0 * (ready - 1.0).max(0.0) / rooms.max(1.0))
}

/// Long sleeps of a shard a second: nothing has come for a nap since a transaction was over. What comes is at random times,
/// but the end of a transaction, which follows its beginning soon.
pub fn long_sleeps(come_per_s: f64, transaction_s: f64) -> f64 {
    come_per_s * (-come_per_s * (NAP_S + transaction_s.min(TRANSACTION_S_MAX))).exp()
}

/// Messages between shards per event: the command to the room's home and its answer, and one to each other shard that
/// has somebody in the room.
pub fn peer_messages(shards: f64, members: f64) -> f64 {
    let elsewhere = (shards - 1.0) / shards;
    2.0 * elsewhere + (shards - 1.0) * (1.0 - (1.0 - 1.0 / shards).powf(members))
}

/// What comes to the shards of its own accord, a second: commands, wherever they have to go, and pings with their pongs.
pub fn come(counts: &Counts, seconds: f64, beats_per_s: f64, shards: f64) -> f64 {
    commands(counts, seconds, beats_per_s) + counts.peer_messages / 2.0 / seconds + ticks(beats_per_s, shards)
}

/// What gives the shards turns, a second: commands, completed batches, messages from other shards, pings, pongs.
pub fn happen(counts: &Counts, seconds: f64, beats_per_s: f64, shards: f64) -> f64 {
    let others = (counts.batches + counts.peer_messages) / seconds;
    commands(counts, seconds, beats_per_s) + others + 2.0 * ticks(beats_per_s, shards)
}

fn commands(counts: &Counts, seconds: f64, beats_per_s: f64) -> f64 {
    (counts.reads / seconds - beats_per_s).max(0.0)
}

fn ticks(beats_per_s: f64, shards: f64) -> f64 {
    beats_per_s.min(PING_TICKS * shards)
}

/// Connections made and rooms joined, for each event, beyond which a sample says nothing about messages.
const COMING_MAX: f64 = 0.1;
/// Events below which a sample says nothing about how they batch.
const EVENTS_MIN: f64 = 20.0;

/// Two sums, and how many times the second goes into the first.
#[derive(Default)]
struct Ratio {
    of: f64,
    to: f64,
}

impl Ratio {
    /// Begins with a default that weighs as much as `of`.
    fn from(default: f64, of: f64) -> Ratio {
        Ratio { of, to: of / default }
    }

    fn add(&mut self, of: f64, to: f64) {
        if of.is_finite() && to.is_finite() && to > 0.0 {
            self.of += of.max(0.0);
            self.to += to;
        }
    }

    fn or(&self, default: f64) -> f64 {
        if self.to > 0.0 { self.of / self.to } else { default }
    }
}

impl Batching {
    /// From these samples of so many shards, in which each connection is pinged so often.
    pub fn learn<'a>(samples: impl Iterator<Item = &'a Sample> + Clone, shards: f64, heartbeat_s: f64) -> Batching {
        let beats = |sample: &Sample| sample.state.connections / heartbeat_s;
        let talking = samples.clone().filter(|sample| {
            let counts = &sample.counts;
            // Who comes makes writes and reads that no message makes.
            let coming = counts.joins + counts.connects;
            counts.events >= EVENTS_MIN && coming <= COMING_MAX * counts.events && sample.seconds > 0.0
        });
        let mut skew = Ratio::default();
        samples.for_each(|sample| skew.add(sample.busiest_us * shards, sample.counts.shard_us));
        let sure = |default| Ratio::from(default, JOINED_SURE);
        let (mut turn, mut batch, mut group) =
            (sure(DEFAULT.turn_s), sure(DEFAULT.batch_s.powf(QUEUED)), sure(DEFAULT.group_s));
        let mut means: [Ratio; 5] = Default::default();
        let [sleeps, transaction, reads, operations, peers] = &mut means;
        for sample in talking.clone() {
            let (counts, seconds) = (&sample.counts, sample.seconds);
            let happen = happen(counts, seconds, beats(sample), shards);
            turn.add(happen * seconds - counts.turns, counts.turns * happen / shards);
            let to_store = counts.operations / seconds / shards;
            batch.add(counts.operations - counts.batches, counts.batches * to_store.powf(QUEUED));
            group.add(counts.batches - counts.transactions, counts.transactions * counts.batches / seconds);
            sleeps.add(counts.sleeps, counts.turns);
            transaction.add(counts.transaction_us / 1e6, counts.transactions);
            reads.add(counts.reads - beats(sample) * seconds, counts.events);
            operations.add(counts.operations, counts.events);
            let members = counts.deliveries / counts.events;
            peers.add(counts.peer_messages, counts.events * peer_messages(shards, members));
        }
        let learnt = Batching {
            turn_s: turn.or(DEFAULT.turn_s),
            sleeps: sleeps.or(DEFAULT.sleeps).min(1.0),
            batch_s: batch.or(DEFAULT.batch_s.powf(QUEUED)).powf(1.0 / QUEUED),
            group_s: group.or(DEFAULT.group_s),
            transaction_s: transaction.or(DEFAULT.transaction_s),
            reads: reads.or(DEFAULT.reads),
            operations: operations.or(DEFAULT.operations),
            peers: peers.or(DEFAULT.peers),
            skew: skew.or(DEFAULT.skew).clamp(1.0, shards.max(1.0)),
            ..DEFAULT
        };
        learnt.with_writes(talking, shards, heartbeat_s)
    }

    /// Learns of writes, when all else is known.
    fn with_writes<'a>(self, samples: impl Iterator<Item = &'a Sample>, shards: f64, heartbeat_s: f64) -> Batching {
        let (mut shared, mut alone) = (Ratio::default(), Ratio::default());
        for Sample { counts, seconds, state, .. } in samples {
            let net = counts.writes - state.connections / heartbeat_s * seconds;
            let turn_s = counts.shard_us / counts.turns.max(1.0) / 1e6;
            let ready = self.ready(counts.events / seconds / shards, turn_s);
            let law = writes(counts.deliveries, ready, state.rooms / shards);
            shared.add(net.min(law), law);
            alone.add(net - law, counts.events);
        }
        Batching { writes: shared.or(DEFAULT.writes), alone: alone.or(DEFAULT.alone), ..self }
    }

    /// Events of a shard that are ready together: those of a batch, and of what completes in the same turn.
    pub fn ready(&self, events_per_s: f64, turn_s: f64) -> f64 {
        queued(events_per_s, self.batch_s) + events_per_s * turn_s
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::capacity::sample::State;

    #[test]
    fn the_laws() {
        assert_eq!((together(0.0, 1.0), together(100.0, 0.02), pushes_per_write(0.0)), (1.0, 3.0, 1.0));
        assert_eq!((peer_messages(1.0, 10.0), peer_messages(2.0, 1e6)), (0.0, 2.0));
        // Alone in its room a push shares with nobody; the only room's events share all.
        assert_eq!(writes(100.0, 1.0, 5.0), 100.0);
        assert!((writes(100.0, 5.5, 1.0) - 100.0 / 9.0).abs() < 0.1);
        assert!(writes(100.0, 3.0, 50.0) > 95.0);
        // Rare events are each followed by a long sleep; frequent ones by none.
        assert!((long_sleeps(1.0, 0.001) - 1.0).abs() < 0.01 && long_sleeps(3000.0, 0.001) < 0.01);
    }

    /// Ten seconds in which batches take what comes in 5 ms.
    fn busy(rate: f64) -> Sample {
        let batches = 10.0 * rate / queued(rate, 0.005);
        let happened = 10.0 * rate + batches + 2.0 * 40.0;
        let counts = Counts {
            turns: happened / together(happened / 10.0, 0.0003),
            sleeps: 0.9 * happened / together(happened / 10.0, 0.0003),
            reads: 10.0 * rate + 40.0,
            writes: 100.0 * rate + 40.0,
            deliveries: 100.0 * rate,
            events: 10.0 * rate,
            batches,
            operations: 10.0 * rate,
            transactions: batches,
            transaction_us: batches * 1500.0,
            shard_us: 1e6,
            ..Counts::default()
        };
        let state = State { connections: 100.0, rooms: 1e6, ..State::default() };
        Sample { seconds: 10.0, counts, state, busiest_us: 1e6 }
    }

    #[test]
    fn how_things_batch_is_learnt_at_any_rate_and_weighed_against_the_default() {
        for (rate, error) in [(20.0, 0.9), (400.0, 0.1), (2000.0, 0.02)] {
            let learnt = Batching::learn([busy(rate)].iter(), 1.0, 25.0);
            let off = |found: f64, truth: f64| found / truth - 1.0;
            assert!(off(learnt.batch_s, 0.005).abs() < error && learnt.batch_s > DEFAULT.batch_s, "{rate}: {learnt:?}");
            assert!(off(learnt.turn_s, 0.0003).abs() < 0.4, "{rate}: {learnt:?}");
            assert!(off(learnt.sleeps, 0.9).abs() < 1e-6 && off(learnt.transaction_s, 0.0015).abs() < 1e-6);
            assert!((learnt.reads - 1.0).abs() < 0.01 && learnt.alone < 0.01, "{rate}: {learnt:?}");
            assert!((learnt.writes - 1.0).abs() < 0.01, "{rate}: {learnt:?}");
        }
    }

    #[test]
    fn silence_leaves_the_defaults() {
        let idle = Sample { seconds: 5.0, ..Sample::default() };
        for samples in [vec![], vec![idle; 3]] {
            let learnt = Batching::learn(samples.iter(), 1.0, 25.0);
            let Batching { turn_s, batch_s, group_s, .. } = learnt;
            for (found, default) in [(turn_s, DEFAULT.turn_s), (batch_s, DEFAULT.batch_s), (group_s, DEFAULT.group_s)] {
                assert!((found / default - 1.0).abs() < 1e-9, "{learnt:?}");
            }
            assert_eq!(learnt, Batching { turn_s, batch_s, group_s, skew: 1.0, ..DEFAULT });
        }
    }
}
