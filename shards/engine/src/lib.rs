//! veza-engine
