//! Veza's chat as a state machine without IO.
//!
//! A [`Shard`] owns the connections that one core accepted and the rooms and users whose ids hash to it. Things that
//! happen come in as [`Input`]; what should happen comes out as [`Effect`]s, [`PeerMessage`]s and frames in outboxes.
//! There is no socket, clock, lock, log or randomness in here, so a simulator can run many shards in virtual time
//! and break everything around them.

mod core;
pub mod deflate;
pub mod effect;
pub mod fanout;
mod few;
pub mod id;
pub mod input;
mod journal;
mod journal_batch;
pub mod limits;
mod map;
pub mod memory;
pub mod peer;
mod rate;
mod room;
mod session;
pub mod shard;
pub mod stats;
pub mod store;
pub mod time;
mod user;
mod wheel;
pub mod wire;

pub use effect::Effect;
pub use input::Input;
pub use peer::PeerMessage;
pub use shard::{Shard, ShardConfig};
