//! An independent witness of the chat server: it starts the real binary, speaks the protocol through a stock
//! WebSocket client, and holds what it sees against what was promised. It shares no code with the server.

pub mod check;
pub mod client;
pub mod dice;
pub mod documents;
pub mod drive;
pub mod fault;
pub mod flow;
pub mod frame;
pub mod http;
pub mod lean;
pub mod load;
pub mod pg;
pub mod process;
pub mod raw;
pub mod report;
pub mod result;
pub mod seed;
pub mod server;
pub mod testing;
pub mod token;
