//! The protocol, promise by promise, against the real server through its sockets.

mod auth;
mod closing;
mod commands;
mod dms;
mod envelope;
mod idempotency;
mod lifecycle;
mod limits;
mod resume;
mod rooms;
mod users;
