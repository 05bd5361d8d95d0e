//! Who is typing in a room: never stored, ends by itself, and bounded by the number of people shown and by what a
//! second of it may cost.

use std::sync::Arc;

use super::Room;
use crate::core::{Core, body};
use crate::fanout::FrameBytes;
use crate::id::{RoomId, UserId};
use crate::map::Map;
use crate::peer::{Caller, Origin, PeerMessage};
use crate::store::RoomKind;
use crate::time::{Mono, SECOND_US};
use crate::wire::encode::push_frame;
use crate::wire::json::object;

/// Microseconds after which typing ends by itself.
const TYPING_US: u64 = 6 * SECOND_US;
/// Deliveries of typing in one room and second: in a room of 15,000 one push a second, in one of 100 two hundred. Who
/// begins beyond that is not shown; an end waits for the next second.
const DELIVERIES_PER_SECOND: u64 = 20_000;

#[derive(Debug)]
struct Typist {
    username: Arc<str>,
    until: Mono,
    except: Arc<[UserId]>,
}

/// The users who are shown as typing in one room.
#[derive(Debug, Default)]
pub(super) struct Typing {
    users: Map<UserId, Typist>,
    /// The present second, and what it has cost so far.
    second: Mono,
    spent: u64,
}

impl Typing {
    pub(super) fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    pub(super) fn forget(&mut self, user: UserId) {
        self.users.remove(&user);
    }

    /// Whether a push of this many deliveries may go now. The first of a second always may.
    fn afford(&mut self, now: Mono, cost: u64) -> bool {
        if now.since(self.second) >= SECOND_US {
            (self.second, self.spent) = (now, 0);
        }
        let may = self.spent == 0 || self.spent + cost <= DELIVERIES_PER_SECOND;
        self.spent += if may { cost.max(1) } else { 0 };
        may
    }
}

impl Room {
    /// A member's `typing`, allowed: the reply, then the push if it is news.
    pub(super) fn judge_typing(&mut self, core: &mut Core, origin: Origin, caller: &Caller, is_typing: bool) {
        self.answer(core, caller.user_id, origin, Ok(body("ok", b"{}".as_slice().into())), None);
        let hidden = self.meta.kind == RoomKind::Dm && self.participants.len() == 2 && !self.blocks.is_empty();
        // Before the profile is there, it is not known from whom the user hides.
        let unknown = caller.presence.as_ref().is_some_and(|presence| presence.version == 0);
        if hidden || unknown {
            return;
        }
        if is_typing {
            self.begin_typing(core, caller)
        } else {
            self.end_typing(core, caller.user_id)
        }
        self.expire_typing(core);
    }

    fn begin_typing(&mut self, core: &mut Core, caller: &Caller) {
        let now = core.now.mono;
        if let Some(typist) = self.typing.users.get_mut(&caller.user_id) {
            typist.until = now.after(TYPING_US);
            return;
        }
        let cost = self.typing_cost();
        if self.typing.users.len() >= core.limits.typing_max || !self.typing.afford(now, cost) {
            return;
        }
        let except = self.hidden_from(caller);
        self.push_typing(core, caller.user_id, &caller.username, &except, true);
        let typist = Typist { username: caller.username.clone(), until: now.after(TYPING_US), except };
        self.typing.users.insert(caller.user_id, typist);
    }

    /// The user types no more: pushed with what else ends.
    pub(super) fn end_typing(&mut self, core: &Core, user: UserId) {
        if let Some(typist) = self.typing.users.get_mut(&user) {
            typist.until = core.now.mono;
        }
    }

    /// Pushes the end of what is over, as far as the second's budget goes.
    pub(super) fn expire_typing(&mut self, core: &mut Core) {
        let now = core.now.mono;
        let over = self.typing.users.iter().filter(|(_, typist)| typist.until <= now);
        let mut over: Vec<UserId> = over.map(|(user, _)| *user).collect();
        over.sort_unstable();
        for user in over {
            let cost = self.typing_cost();
            if !self.typing.afford(now, cost) {
                return;
            }
            if let Some(typist) = self.typing.users.remove(&user) {
                self.push_typing(core, user, &typist.username, &typist.except, false);
            }
        }
    }

    fn typing_cost(&self) -> u64 {
        match self.meta.kind {
            RoomKind::Room => self.online.len() as u64,
            RoomKind::Dm => self.participants.len() as u64,
        }
    }

    fn push_typing(&self, core: &mut Core, user: UserId, username: &str, except: &Arc<[UserId]>, is_typing: bool) {
        let frame = typing_frame(self.id(), user, username, is_typing);
        if self.meta.kind == RoomKind::Room {
            return self.push_ephemeral_except(core, &frame, except);
        }
        for other in self.participants.iter().map(|row| row.user_id) {
            if other != user && except.binary_search(&other).is_err() {
                let message = PeerMessage::UserEphemeral { user_id: other, frame: frame.clone() };
                core.send_ephemeral(other.home(core.shards), message);
            }
        }
    }
}

fn typing_frame(room_id: RoomId, user_id: UserId, username: &str, is_typing: bool) -> FrameBytes {
    let data = object(|o| {
        o.uint("room_id", room_id.0)
            .uint("user_id", user_id.0)
            .text("username", username)
            .flag("is_typing", is_typing)
            .end();
    });
    push_frame("typing", &data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_of_typing_costs_no_more_than_its_budget() {
        for (online, pushes) in [(100_000, 1), (15_000, 1), (10_000, 2), (100, 200), (1, 1000)] {
            let mut typing = Typing::default();
            for second in [Mono(5 * SECOND_US), Mono(6 * SECOND_US)] {
                let done = (0..1000).filter(|_| typing.afford(second, online)).count();
                assert_eq!(done, pushes, "{online} online");
            }
        }
    }
}
