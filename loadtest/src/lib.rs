//! veza-loadtest

pub mod pg;
