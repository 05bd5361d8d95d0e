//! The shell around the engine: one thread per core, each pumping one [`veza_engine::Shard`].
//!
//! [`Runtime::new`] makes the queues, [`Runtime::start`] the threads; other threads reach a shard by [`Post`] only. What
//! a shard does with sockets, store and tokens is the [`Edge`]'s. glommio is known to [`reactor`] and [`executor`] alone.

pub mod accept;
pub mod clock;
pub mod doorbell;
pub mod edge;
pub mod executor;
pub mod inbox;
pub mod mesh;
pub mod poller;
pub mod probe;
pub mod pump;
pub mod reactor;
pub mod sockets;
pub mod stats;
pub mod trim;
pub mod watchdog;
pub mod write;

pub use edge::{Accept, Edge, End, Io};
pub use executor::{Running, Runtime, RuntimeConfig, StartError, allowed_cores};
pub use inbox::{Full, Inbox, Post, Posted, Report};
pub use stats::{Call, PerCall, PerPhase, Phase, RuntimeStats};
