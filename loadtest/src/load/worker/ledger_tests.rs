//! Each fault is planted, and found.

use super::*;

const RUN: &str = "abcdef";
const BYTES: usize = 64;

fn name(number: u64) -> Identity {
    Identity { user: 1, room: 0, number, intended_ns: 1000 + number }
}

fn found(seq: u64, number: u64) -> Found {
    Found::new(seq, &name(number).content(RUN, None, BYTES), false, RUN, BYTES)
}

/// The view of somebody who comes back.
fn replay(last: u64, floor: u64) -> View {
    View { last, floor, live: false, own: false }
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
        let mut world = World { ledger: Ledger::new(1, 2), last: [0; 2], head: 7, history: Vec::new() };
        world.ledger.rooms[0].id = 9;
        world.ledger.joined(0, 0);
        let edited = name(4).content(RUN, Some(1), BYTES);
        for client in 0..2 {
            for seq in [1, 2, 4, 6] {
                if client == 0 {
                    world.ledger.acknowledged(0, seq, name(seq));
                }
                world.shown(client, seq, Shown::Message(name(seq), true));
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
        let own = client == 0 && matches!(shown, Shown::Message(..));
        self.ledger.event(0, seq, shown, View { last: self.last[client], floor: 0, live: true, own });
        self.last[client] = seq;
    }

    fn verdict(mut self) -> Violations {
        self.ledger.compare(0, self.head, &self.history);
        self.ledger.violations
    }
}

#[test]
fn finds_each_fault_and_nothing_else() {
    let plants: [(&str, Plant); 29] = [
        ("a gap", |w| w.shown(1, 9, Shown::Other(1))),
        ("a repetition", |w| w.shown(1, 7, Shown::Delete(6))),
        ("a step back", |w| w.shown(1, 2, Shown::Message(name(2), true))),
        ("another event to another client", |w| w.ledger.event(0, 2, Shown::Message(name(5), true), replay(1, 0))),
        ("a message for a reaction", |w| w.ledger.event(0, 3, Shown::Message(name(3), true), replay(2, 0))),
        ("a reaction for a message", |w| w.ledger.event(0, 2, Shown::Other(1), replay(1, 0))),
        ("another acknowledgement", |w| w.ledger.acknowledged(0, 2, name(4))),
        ("an acknowledgement for another kind", |w| w.ledger.acknowledged(0, 3, name(3))),
        ("shown before it was acknowledged", |w| {
            w.head = 8;
            w.history.push(found(8, 8));
            w.shown(0, 8, Shown::Message(name(8), true));
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
        ("an edit acknowledged as another event", |w| w.ledger.changed(0, 3, 2, false)),
        ("a deletion acknowledged as a message", |w| w.ledger.changed(0, 2, 2, true)),
        ("an edit of another message", |w| w.ledger.named_by_edit(0, 2, name(1))),
        ("refused, and there", |w| w.ledger.refused(name(2))),
        ("another author", |w| [7, 8].into_iter().for_each(|id| w.ledger.author(1, id))),
        ("nobody's author", |w| w.ledger.author(2, 7)),
        ("a deleted message replayed", |w| w.ledger.event(0, 6, Shown::Message(name(6), true), replay(5, 7))),
        ("a message replayed as before its edit", |w| {
            w.ledger.event(0, 4, Shown::Message(name(4), true), replay(3, 5))
        }),
        ("another content of an edit", |w| {
            let other = name(4).content(RUN, Some(2), BYTES);
            w.ledger.event(0, 5, Shown::Edit(4, &other), View { live: true, ..replay(4, 0) });
        }),
        ("another one in the history, where somebody was away", |w| {
            w.ledger.skipped(0, 0, 7);
            w.history[1] = found(2, 1);
        }),
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
    [found(1, 1), found(2, 2)].into_iter().for_each(|found| world.ledger.read(0, found, 0));
    assert_eq!(world.ledger.violations.count, 0);
    world.ledger.read(0, found(2, 1), 0);
    world.ledger.read(0, found(3, 3), 0);
    assert_eq!(world.ledger.violations.count, 2);
    // An edit and a deletion that were not there yet when the pages were asked for, and then were.
    for (floor, violations) in [(4, 2), (5, 3), (6, 4), (7, 6)] {
        [found(4, 4), found(6, 6)].into_iter().for_each(|found| world.ledger.read(0, found, floor));
        assert_eq!(world.ledger.violations.count, violations, "{floor}: {:?}", world.ledger.violations);
    }
}

#[test]
fn what_is_right_is_no_fault() {
    let rights: [(&str, Plant); 7] = [
        ("an edit and a deletion acknowledged", |w| {
            w.ledger.changed(0, 5, 4, false);
            w.ledger.changed(0, 7, 6, true);
        }),
        ("a deletion acknowledged before it is shown", |w| {
            w.ledger.changed(0, 8, 1, true);
            (0..2).for_each(|client| w.shown(client, 8, Shown::Delete(1)));
            w.head = 8;
            w.history[0] = Found { deleted: true, ..Found::new(1, "", true, RUN, BYTES) };
        }),
        ("refused, and not there", |w| w.ledger.refused(name(9))),
        ("the same author", |w| [7, 7].into_iter().for_each(|id| w.ledger.author(1, id))),
        ("replays as things now are", |w| {
            w.ledger.event(0, 4, Shown::Message(name(4), false), replay(3, 7));
            w.ledger.event(0, 6, Shown::DeletedMessage, replay(5, 7));
        }),
        ("an edit replayed with what came later", |w| {
            let later = name(4).content(RUN, Some(2), BYTES);
            w.ledger.event(0, 5, Shown::Edit(4, &later), replay(4, 0));
        }),
        ("replayed whole, where the edit came after the wish", |w| {
            w.ledger.event(0, 4, Shown::Message(name(4), true), replay(3, 4));
        }),
    ];
    for (right, plant) in rights {
        let mut world = World::new();
        plant(&mut world);
        assert_eq!(world.verdict().first, Vec::<String>::new(), "{right}");
    }
}

#[test]
fn who_was_away_by_choice_need_not_have_seen() {
    let mut world = World::new();
    world.ledger.skipped(0, 7, 8);
    (world.head, world.last) = (8, [8, 8]);
    world.history.push(found(8, 8));
    assert_eq!(world.verdict().first, Vec::<String>::new());
    // What nobody saw may have been the edit of something older, or its deletion.
    for (at, changed) in [
        (1, Found::new(2, &name(2).content(RUN, Some(1), BYTES), false, RUN, BYTES)),
        (0, Found { deleted: true, ..Found::new(1, "", true, RUN, BYTES) }),
    ] {
        let mut world = World::new();
        world.ledger.skipped(0, 7, 8);
        world.ledger.named(0, 8);
        world.head = 8;
        world.history[at] = changed;
        assert_eq!(world.verdict().first, Vec::<String>::new());
    }
}

#[test]
fn memory_is_bounded_and_what_is_forgotten_was_checked() {
    let mut ledger = Ledger::new(1, 2);
    ledger.room_events_max = 10;
    ledger.joined(0, 0);
    for seq in 1..=100 {
        if seq == 50 {
            // Promised, and shown to nobody as what was promised.
            ledger.acknowledged(0, 51, name(51));
        }
        if seq != 51 {
            ledger.event(0, seq, Shown::Message(name(seq), true), replay(seq - 1, 0));
        }
    }
    assert_eq!((ledger.rooms[0].slots.len(), ledger.forgotten, ledger.rooms[0].base), (10, 90, 90));
    assert_eq!(ledger.violations.count, 1, "{:?}", ledger.violations);
}
