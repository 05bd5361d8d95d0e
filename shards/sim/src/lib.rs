//! veza-sim
