//! The protocol, promise by promise, against the real server through its sockets.

mod auth;
mod bounds;
mod chat;
mod closing;
mod commands;
mod compression;
mod dms;
mod envelope;
mod finding;
mod idempotency;
mod left;
mod lifecycle;
mod limits;
mod matrix;
mod people;
mod pushes;
mod resume;
mod rooms;
mod tombstones;
mod users;
