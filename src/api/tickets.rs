//! Commands over HTTP that are under way: each waits under its ticket for the shard's answer.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::backend::{CommandResult, Full};

/// Commands over HTTP under way in the whole process; beyond: `OVERLOADED`.
pub const TICKETS_MAX: usize = 4096;

/// The requests that wait. Only the control thread takes the lock: shards send their answers through a channel.
#[derive(Debug, Default)]
pub struct Tickets {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    waiting: HashMap<u64, oneshot::Sender<CommandResult>>,
}

/// One request that waits; dropping it (the client went away, the deadline passed) forgets the ticket.
#[derive(Debug)]
pub struct Ticket<'a> {
    tickets: &'a Tickets,
    /// Its number, never used twice.
    pub number: u64,
    answer: oneshot::Receiver<CommandResult>,
}

impl Tickets {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock: each use is one map operation.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place to wait in.
    ///
    /// # Errors
    /// [`TICKETS_MAX`] wait already.
    pub fn take(&self) -> Result<Ticket<'_>, Full> {
        let mut state = self.state();
        if state.waiting.len() >= TICKETS_MAX {
            return Err(Full);
        }
        let (sender, answer) = oneshot::channel();
        state.last += 1;
        let number = state.last;
        state.waiting.insert(number, sender);
        Ok(Ticket { tickets: self, number, answer })
    }

    /// The shard's answer; one that nobody waits for any more is dropped.
    pub fn complete(&self, ticket: u64, result: CommandResult) {
        let waiting = self.state().waiting.remove(&ticket);
        if let Some(sender) = waiting {
            let _ = sender.send(result);
        }
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.state().waiting.len()
    }
}

impl Ticket<'_> {
    /// Waits for the answer; `None` if it can never come.
    pub async fn answer(&mut self) -> Option<CommandResult> {
        (&mut self.answer).await.ok()
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.tickets.state().waiting.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounded_and_freed_by_whoever_goes_away() {
        let tickets = Tickets::default();
        let mut held: Vec<_> = (0..TICKETS_MAX).map(|_| tickets.take().unwrap()).collect();
        assert!(tickets.take().is_err());
        let gone = held.pop().unwrap().number;
        tickets.complete(gone, Ok(Vec::new()));
        assert_eq!(tickets.waiting(), TICKETS_MAX - 1);
        assert_ne!(tickets.take().unwrap().number, gone, "a late answer must not meet another request");
    }
}
