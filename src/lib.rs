//! Veza chat server.

pub mod auth;
pub mod config;
pub mod store;
