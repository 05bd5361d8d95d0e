//! The memory of users, for [`crate::memory`].

use super::{Blocking, Creation, User, UserConn, UserOp, Users};
use crate::memory::{Memory, block, items, table};

impl Users {
    /// Adds what users take.
    pub fn measure(&mut self, memory: &mut Memory) {
        let users = self.map.values();
        let [users] = self.cursor.estimate(self.map.len(), users, |user: &Box<User>| [user_bytes(user)]);
        memory.users = users + table(&self.map) as u64;
    }
}

fn user_bytes(user: &User) -> usize {
    let sessions: usize = user.conns.iter().map(|conn| block(conn.session_id.len())).sum();
    let queues = items::<Creation>(user.creations.capacity())
        + items::<Blocking>(user.blockings.capacity())
        + items::<UserOp>(user.pending.capacity());
    let conns = items::<UserConn>(user.conns.capacity()) + sessions;
    block(size_of::<User>()) + block(user.username.len() + 16) + conns + queues + user.shown.memory()
}
