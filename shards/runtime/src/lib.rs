//! veza-runtime
