//! Sockets on one side, the engine on the other: accepting, HTTP heads, WebSocket frames. Knows neither the database nor
//! the HTTP API: both are behind [`Backend`].

pub mod edge;
mod extensions;
mod frames;
pub mod handshakes;
pub mod http_head;
pub mod listener;
mod opening;
pub mod session;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod unread;
pub mod ws;

pub use edge::{Backend, Gateway, GatewayConfig, HandOver};
pub use handshakes::Handshakes;
pub use listener::Listener;
