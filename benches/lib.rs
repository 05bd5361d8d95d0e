//! Benchmarks of the engine's parts live in this package.
