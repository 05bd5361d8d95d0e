//! Veza chat server.
