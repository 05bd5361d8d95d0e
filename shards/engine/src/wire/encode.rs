//! What clients read, encoded once.
