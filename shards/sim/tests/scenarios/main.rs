//! The engine in single scenarios: shards driven by hand, over the simulator's store.

mod deleted;
mod errors;
mod holding;
mod limits;
mod people;
mod races;
mod retention;
mod rig;
mod rooms;
mod rule;
mod sessions;
mod verbs;
