//! The memory of users, for [`crate::memory`].

use super::{User, UserConn, Users};
use crate::memory::{Memory, block, items, table};
use crate::rate::Bucket;

impl Users {
    /// Adds what users take.
    pub fn measure(&mut self, memory: &mut Memory) {
        let users = self.map.values();
        let [users] = self.cursor.estimate(self.map.len(), users, |user| [user_bytes(user)]);
        memory.users = users + table(&self.map) as u64;
    }
}

fn user_bytes(user: &User) -> usize {
    let queues = user.creations.memory() + user.blockings.memory() + user.pending.memory();
    // The names of their sessions belong to the sessions.
    let conns = items::<UserConn>(user.conns.capacity());
    let http = user.http.as_ref().map_or(0, |_| block(size_of::<Bucket>()));
    block(size_of::<User>()) + http + block(user.username.len() + 16) + conns + queues + user.shown.memory()
}
