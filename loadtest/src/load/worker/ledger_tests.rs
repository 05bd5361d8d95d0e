//! Each fault is planted, and found.

use super::*;

const RUN: &str = "abcdef";
const BYTES: usize = 64;

fn name(number: u64) -> Identity {
    Identity { user: 1, number, intended_ns: 1000 + number }
}

fn found(seq: u64, number: u64) -> Found {
    Found::new(seq, &name(number).content(RUN, None, BYTES), false, RUN, BYTES)
}

/// What two clients saw of a room, and what its history says.
struct World {
    ledger: Ledger,
    /// The last `seq` of each.
    last: [u64; 2],
    head: u64,
    history: Vec<Found>,
}

type Plant = fn(&mut World);

impl World {
    /// Messages 1, 2 and 4 (edited by 5), a reaction 3, message 6 (deleted by 7).
    fn new() -> World {
        let mut world = World { ledger: Ledger::new(1), last: [0; 2], head: 7, history: Vec::new() };
        world.ledger.rooms[0].id = 9;
        world.ledger.joined(0, 0);
        let edited = name(4).content(RUN, Some(1), BYTES);
        for client in 0..2 {
            for seq in [1, 2, 4, 6] {
                if client == 0 {
                    world.ledger.acknowledged(0, seq, name(seq));
                }
                world.shown(client, seq, Shown::Message(name(seq)));
                match seq {
                    2 => world.shown(client, 3, Shown::Other(33)),
                    4 => world.shown(client, 5, Shown::Edit(4, &edited)),
                    6 => world.shown(client, 7, Shown::Delete(6)),
                    _ => {}
                }
            }
        }
        let deleted = Found { deleted: true, ..Found::new(6, "", true, RUN, BYTES) };
        world.history = vec![found(1, 1), found(2, 2), Found::new(4, &edited, false, RUN, BYTES), deleted];
        world
    }

    fn shown(&mut self, client: usize, seq: u64, shown: Shown<'_>) {
        self.ledger.event(0, self.last[client], seq, shown, client == 0 && matches!(shown, Shown::Message(_)));
        self.last[client] = seq;
    }

    fn verdict(mut self) -> Violations {
        self.ledger.compare(0, self.head, &self.history);
        self.ledger.violations
    }
}

#[test]
fn finds_each_fault_and_nothing_else() {
    let plants: [(&str, Plant); 19] = [
        ("a gap", |w| w.shown(1, 9, Shown::Other(1))),
        ("a repetition", |w| w.shown(1, 7, Shown::Delete(6))),
        ("a step back", |w| w.shown(1, 2, Shown::Message(name(2)))),
        ("another event to another client", |w| w.ledger.event(0, 1, 2, Shown::Message(name(5)), false)),
        ("a message for a reaction", |w| w.ledger.event(0, 2, 3, Shown::Message(name(3)), false)),
        ("a reaction for a message", |w| w.ledger.event(0, 1, 2, Shown::Other(1), false)),
        ("another acknowledgement", |w| w.ledger.acknowledged(0, 2, name(4))),
        ("an acknowledgement for another kind", |w| w.ledger.acknowledged(0, 3, name(3))),
        ("shown before it was acknowledged", |w| {
            w.head = 8;
            w.history.push(found(8, 8));
            w.shown(0, 8, Shown::Message(name(8)));
        }),
        ("acknowledged and never seen", |w| {
            w.head = 8;
            w.history.push(found(8, 8));
            w.ledger.acknowledged(0, 8, name(8));
        }),
        ("seen and lost", |w| _ = w.history.remove(1)),
        ("in the history and never seen", |w| w.history.push(found(8, 8))),
        ("twice in the history", |w| w.history.insert(1, found(1, 1))),
        ("another one in the history", |w| w.history[1] = found(2, 1)),
        ("nobody's", |w| w.history[1] = Found::new(2, "hello", false, RUN, BYTES)),
        ("changed", |w| w.history[1] = Found::new(2, &name(2).content(RUN, Some(1), BYTES), false, RUN, BYTES)),
        ("an edit undone", |w| w.history[2] = found(4, 4)),
        ("a deletion undone", |w| w.history[3] = found(6, 6)),
        ("another head", |w| w.head = 8),
    ];
    assert_eq!(World::new().verdict().first, Vec::<String>::new());
    for (fault, plant) in plants {
        let mut world = World::new();
        plant(&mut world);
        assert!(world.verdict().count > 0, "{fault} was not found");
    }
    let mut world = World::new();
    world.history[0].deleted = true;
    assert!(world.verdict().count > 0, "a deletion that nobody was told of was not found");
}

#[test]
fn pages_are_checked_as_they_are_read() {
    let mut world = World::new();
    [found(1, 1), found(2, 2)].into_iter().for_each(|found| world.ledger.read(0, found));
    assert_eq!(world.ledger.violations.count, 0);
    world.ledger.read(0, found(2, 1));
    world.ledger.read(0, found(3, 3));
    assert_eq!(world.ledger.violations.count, 2);
}

#[test]
fn who_was_away_by_choice_need_not_have_seen() {
    let mut world = World::new();
    world.ledger.skipped(0, 7, 8);
    (world.head, world.last) = (8, [8, 8]);
    world.history.push(found(8, 8));
    assert_eq!(world.verdict().first, Vec::<String>::new());
}

#[test]
fn memory_is_bounded_and_what_is_forgotten_was_checked() {
    let mut ledger = Ledger::new(1);
    ledger.room_events_max = 10;
    ledger.joined(0, 0);
    for seq in 1..=100 {
        if seq == 50 {
            // Promised, and shown to nobody as what was promised.
            ledger.acknowledged(0, 51, name(51));
        }
        if seq != 51 {
            ledger.event(0, seq - 1, seq, Shown::Message(name(seq)), false);
        }
    }
    assert_eq!((ledger.rooms[0].slots.len(), ledger.forgotten, ledger.rooms[0].base), (10, 90, 90));
    assert_eq!(ledger.violations.count, 1, "{:?}", ledger.violations);
}
