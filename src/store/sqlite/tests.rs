//! What is true of SQLite alone, and the contract over it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::store::StoreConfig;
use crate::store::contract::Place;

/// A directory of its own, gone at the end.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Dir {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let name = format!("veza-sqlite-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        Dir(std::env::temp_dir().join(name))
    }

    fn database(&self) -> PathBuf {
        self.0.join("db").join("veza.db")
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        // What is left over is in the directory for temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Place for Dir {
    fn config(&self) -> StoreConfig {
        let mut config = StoreConfig::new(format!("sqlite://{}", self.database().display()), self.0.join("data"));
        config.lock_wait = Duration::ZERO;
        config
    }
}

mod contract {
    crate::store::contract::suite!(super::Dir::new());
}
