//! The memory of connections, for [`crate::memory`].

use super::{LocalRoom, Phase, Session, SessionUser, Sessions, Sub};
use crate::fanout::Outbox;
use crate::id::ConnId;
use crate::memory::{Cursor, Memory, block, items, table};

/// What the next report looks at.
#[derive(Debug, Default)]
pub(super) struct Cursors {
    sessions: Cursor,
    rooms: Cursor,
    identities: Cursor,
}

impl Sessions {
    /// Adds what connections take.
    pub fn measure(&mut self, memory: &mut Memory) {
        let (slots, count) = (&self.slots, self.slots.len());
        let [sessions, outboxes] =
            self.cursors.sessions.estimate(count, slots.iter(), |slot| slot.as_deref().map_or([0, 0], session_bytes));
        let rooms = self.rooms.values();
        let [rooms] = self
            .cursors
            .rooms
            .estimate(self.rooms.len(), rooms, |room: &LocalRoom| [items::<u32>(room.live.capacity())]);
        let (count, known) = (self.identities.len(), self.identities.iter());
        let [identities] = self.cursors.identities.estimate(count, known, |known| [known.memory()]);
        let tables = items::<Option<Box<Session>>>(self.slots.capacity())
            + table(&self.rooms)
            + items::<ConnId>(self.touched.capacity() + self.held.capacity())
            + self.wheel.bytes();
        memory.sessions = sessions + rooms + tables as u64;
        let left_over: usize = self.left_over.values().map(Outbox::memory).sum();
        memory.outboxes = outboxes + (left_over + table(&self.left_over)) as u64;
        memory.identities =
            identities + (self.identities.table() + table(&self.revoked_sessions) + table(&self.revoked_users)) as u64;
    }
}

/// Of the session, and of its outbox.
fn session_bytes(session: &Session) -> [usize; 2] {
    let user = match &session.phase {
        // The subject is counted with the identities.
        Phase::Ready(user) => block(size_of::<SessionUser>()) + block(user.session_id.len() + 16),
        Phase::Authenticating(_) => block(256),
        Phase::Anonymous | Phase::Verifying => 0,
    };
    let queues = session.resumes.memory() + session.deferred.memory();
    let own = block(size_of::<Session>()) + items::<Sub>(session.subs.capacity()) + user + queues;
    [own, session.outbox.memory()]
}
