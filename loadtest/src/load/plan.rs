//! Who is in which room, and which worker plays whom: the same for the same scenario, in every process.

use super::scenario::{Kind, Scenario, Sizes};

/// File descriptors that a worker, or a server, needs for everything but connections.
pub const SPARE_FDS: u64 = 256;
/// Deliveries a second that one core of a generator takes without becoming what is measured.
const DELIVERIES_PER_WORKER: f64 = 250_000.0;

/// Members of each room, largest first.
pub fn sizes(scenario: &Scenario) -> Vec<usize> {
    let all = scenario.users * scenario.rooms_per_user;
    let weight = |room: usize| match scenario.sizes {
        Sizes::Even => 1.0,
        Sizes::Zipf => 1.0 / (room + 1) as f64,
    };
    let total: f64 = (0..scenario.rooms).map(weight).sum();
    let mut left = all;
    let mut sizes: Vec<usize> = (0..scenario.rooms)
        .map(|room| {
            // Each of the smaller ones must get a member.
            let spare = left - (scenario.rooms - room - 1);
            let size = ((all as f64 * weight(room) / total) as usize).clamp(1, scenario.users).min(spare);
            left -= size;
            size
        })
        .collect();
    // What rounding (or a room that would want more than all users) has left over goes round.
    while left > 0 {
        for size in sizes.iter_mut().filter(|size| **size < scenario.users) {
            if left > 0 {
                *size += 1;
                left -= 1;
            }
        }
    }
    sizes
}

/// Rooms of each user, by their numbers; the first member of a room makes it.
pub fn memberships(scenario: &Scenario) -> Vec<Vec<u32>> {
    let mut rooms = vec![Vec::new(); scenario.users];
    if scenario.kind == Kind::Dm {
        for (user, of) in rooms.iter_mut().enumerate() {
            of.push((user / 2) as u32);
        }
        return rooms;
    }
    let mut next = 0;
    for (room, size) in sizes(scenario).into_iter().enumerate() {
        // A run of at most all users: nobody is in a room twice, and everybody is in the same number of rooms.
        for _ in 0..size {
            rooms[next % scenario.users].push(room as u32);
            next += 1;
        }
    }
    rooms
}

/// The first member of each room.
pub fn creators(scenario: &Scenario) -> Vec<usize> {
    let mut creators = vec![usize::MAX; room_count(scenario)];
    let mut next = 0;
    if scenario.kind == Kind::Dm {
        return (0..creators.len()).map(|room| 2 * room).collect();
    }
    for (room, size) in sizes(scenario).into_iter().enumerate() {
        creators[room] = next % scenario.users;
        next += size;
    }
    creators
}

/// Rooms in all.
pub fn room_count(scenario: &Scenario) -> usize {
    match scenario.kind {
        Kind::Room => scenario.rooms,
        Kind::Dm => scenario.users / 2,
    }
}

/// The worker that plays a user; the two of a conversation are together.
pub fn worker_of(user: usize, workers: usize) -> usize {
    user / 2 % workers
}

/// Deliveries a second that the plan brings, were every command a message.
pub fn expected_deliveries(scenario: &Scenario) -> f64 {
    let rooms = memberships(scenario);
    let sizes = if scenario.kind == Kind::Dm { vec![2; room_count(scenario)] } else { sizes(scenario) };
    let mean_of = |of: &Vec<u32>| of.iter().map(|room| sizes[*room as usize] as f64).sum::<f64>() / of.len() as f64;
    scenario.rate() * rooms.iter().map(mean_of).sum::<f64>() / scenario.users as f64
}

/// How many workers: as asked, else what descriptors and deliveries want.
pub fn workers(scenario: &Scenario, fds_max: u64, cores: usize) -> usize {
    if scenario.workers > 0 {
        return scenario.workers.min(scenario.users);
    }
    let by_fds = (scenario.users as u64).div_ceil(fds_max.saturating_sub(SPARE_FDS).max(1)) as usize;
    let by_core = (expected_deliveries(scenario) / DELIVERIES_PER_WORKER).ceil() as usize;
    by_fds.max(by_core.min(cores)).clamp(1, scenario.users.div_ceil(2))
}

/// `sub` of a user.
pub fn subject(run: &str, user: usize) -> String {
    format!("load-{run}-{user}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn everybody_has_their_rooms_and_every_room_its_size() {
        for (users, rooms, per_user, shape) in
            [(100, 10, 3, Sizes::Zipf), (7, 7, 7, Sizes::Zipf), (1000, 1, 1, Sizes::Even), (50, 40, 1, Sizes::Zipf)]
        {
            let scenario = Scenario { users, rooms, rooms_per_user: per_user, sizes: shape, ..Scenario::default() };
            let (sizes, of) = (sizes(&scenario), memberships(&scenario));
            assert_eq!(sizes.iter().sum::<usize>(), users * per_user);
            for rooms in &of {
                assert_eq!((rooms.len(), rooms.iter().collect::<HashSet<_>>().len()), (per_user, per_user));
            }
            for (room, creator) in creators(&scenario).into_iter().enumerate() {
                assert!(sizes[room] >= 1 && of[creator].contains(&(room as u32)), "{room} of {scenario:?}");
            }
        }
        let zipf = Scenario { users: 1000, rooms: 10, sizes: Sizes::Zipf, ..Scenario::default() };
        let sizes = sizes(&zipf);
        assert!((9..=11).contains(&(sizes[0] / sizes[9])), "{sizes:?}");
    }

    #[test]
    fn workers_follow_descriptors_and_deliveries() {
        let of = |users: usize, rate: f64| {
            let mut scenario = Scenario { users, rooms: 1, ..Scenario::default() };
            scenario.load.rate = rate;
            workers(&scenario, 20_000, 4)
        };
        assert_eq!([of(100, 1.0), of(25_000, 1.0), of(1000, 600.0), of(1000, 1e6)], [1, 2, 3, 4]);
    }
}
