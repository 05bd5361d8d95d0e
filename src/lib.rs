//! Veza chat server.

pub mod api;
pub mod auth;
pub mod cli;
pub mod config;
pub mod gateway;
pub mod server;
pub mod store;
