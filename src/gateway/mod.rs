//! The edge that faces clients: from bytes on a socket to commands, and back.

pub mod http_head;
pub mod ws;
