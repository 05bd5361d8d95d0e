//! veza-loadtest
