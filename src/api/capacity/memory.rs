//! Resident memory: what there is before anybody comes, and what connections, rooms and their recent events add.

use super::costs::Origin;
use super::fit::{Observation, Prior, fit};
use super::plan::Facts;
use super::query::Shape;
use super::sample::Sample;

/// Bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Memory {
    /// Before anybody comes, caches and pools warm.
    pub base: f64,
    /// For each connection.
    pub connection: f64,
    /// For each subscription to a room.
    pub subscription: f64,
    /// For each room in memory.
    pub room: f64,
    /// For each recent event kept.
    pub event: f64,
    /// For each event whose rows the store keeps.
    pub stored: f64,
    /// Where the figure for connections comes from.
    pub origin: Origin,
}

/// Measured with `veza-loadtest capacity --explore` (128 bytes of content; PostgreSQL).
const PRIORS: [Prior; 6] = [
    Prior { value: 20e6, spread: 0.3 },
    Prior { value: 2_000.0, spread: 0.4 },
    Prior { value: 300.0, spread: 0.5 },
    Prior { value: 4_000.0, spread: 0.5 },
    Prior { value: 600.0, spread: 0.4 },
    Prior { value: 700.0, spread: 0.4 },
];

/// Connections below which nothing is known of what one takes.
const CONNECTIONS_MIN: f64 = 100.0;
/// Bytes that resident memory may be off: allocators keep what they may need again.
const ERROR_BYTES: f64 = 300e3;

impl Memory {
    /// From these samples; the defaults where they say nothing.
    pub fn learn<'a>(samples: impl Iterator<Item = &'a Sample>, facts: &Facts) -> Memory {
        let (mut equations, mut most): (Vec<Observation<6>>, f64) = (Vec::new(), 0.0);
        for sample in samples {
            let state = &sample.state;
            most = most.max(state.connections);
            let events = state.events.min(state.rooms * facts.ring_events);
            let stored = state.events.min(stored_max(facts));
            let counts = [1.0, state.connections, state.subscriptions, state.rooms, events, stored];
            equations.push(Observation { counts, cost: state.resident, error: ERROR_BYTES });
        }
        let [base, connection, subscription, room, event, stored] = fit(&PRIORS, &equations);
        let origin = if most >= CONNECTIONS_MIN { Origin::Measured } else { Origin::Default };
        Memory { base, connection, subscription, room, event, stored, origin }
    }

    /// Under a load.
    pub fn of(&self, shape: &Shape, facts: &Facts) -> f64 {
        let events_max = shape.rooms * facts.ring_events.min(facts.ring_bytes / self.event.max(1.0));
        let events = shape.after_s.map_or(f64::INFINITY, |after| after * shape.messages_per_s);
        let talked = if shape.messages_per_s > 0.0 { events } else { 0.0 };
        let (kept, stored) = (talked.min(events_max), talked.min(stored_max(facts)));
        self.base
            + shape.connections * self.connection
            + shape.rooms * (self.room + shape.members_per_room * self.subscription)
            + kept * self.event
            + stored * self.stored
    }
}

/// Events whose rows fill what the store keeps.
fn stored_max(facts: &Facts) -> f64 {
    facts.cache_bytes / PRIORS[5].value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::capacity::sample::State;

    const FACTS: Facts = Facts {
        shards: 1.0,
        heartbeat_s: 25.0,
        batch_max: 1024.0,
        writers: 2.0,
        ring_events: 256.0,
        ring_bytes: 256.0 * 1024.0,
        cache_bytes: 0.0,
    };

    #[test]
    fn the_slope_is_found_and_the_rings_are_bounded() {
        let sample = |connections: f64| {
            let resident = 25e6 + 3_000.0 * connections;
            let state = State { connections, subscriptions: connections, rooms: 10.0, resident, ..State::default() };
            Sample { seconds: 5.0, state, ..Sample::default() }
        };
        let samples: Vec<_> = [0.0, 1000.0, 2000.0, 4000.0, 8000.0].map(sample).into();
        let memory = Memory::learn(samples.iter(), &FACTS);
        let slope = memory.connection + memory.subscription;
        assert!((slope / 3_000.0 - 1.0).abs() < 0.05 && memory.origin == Origin::Measured, "{memory:?}");
        let shape = |messages_per_s, after_s| Shape {
            connections: 100.0,
            rooms: 10.0,
            members_per_room: 10.0,
            messages_per_s,
            after_s,
        };
        let [silent, brief, long, forever] =
            [shape(0.0, None), shape(10.0, Some(10.0)), shape(10.0, Some(1e6)), shape(10.0, None)]
                .map(|shape| memory.of(&shape, &FACTS));
        assert!(silent < brief && brief < long && long == forever, "{silent} {brief} {long} {forever}");
        assert!((brief - silent - 100.0 * memory.event).abs() < 1.0);
        // A store in this process keeps rows, up to its bound.
        let sqlite = Facts { cache_bytes: 7e6, ..FACTS };
        let more = |shape| memory.of(&shape, &sqlite) - memory.of(&shape, &FACTS);
        assert!((more(shape(10.0, Some(10.0))) - 100.0 * memory.stored).abs() < 1.0);
        assert!(more(shape(0.0, None)) == 0.0 && (more(shape(10.0, None)) - 10_000.0 * memory.stored).abs() < 1.0);
    }
}
