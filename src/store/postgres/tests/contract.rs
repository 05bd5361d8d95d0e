//! The contract over PostgreSQL: a database for each test in one private server, which lives while any test uses it.

use std::sync::{Arc, Mutex, Weak};

use veza_loadtest::pg::TestPg;

use super::*;
use crate::store::contract::{Place, suite};

struct Database {
    name: String,
    url: String,
    dir: std::path::PathBuf,
    server: Arc<TestPg>,
}

impl Database {
    fn new() -> Database {
        static SERVER: Mutex<Weak<TestPg>> = Mutex::new(Weak::new());
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let mut running = SERVER.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let server = running.upgrade().unwrap_or_else(|| Arc::new(TestPg::start()));
        *running = Arc::downgrade(&server);
        let serial = NEXT.fetch_add(1, Relaxed);
        let dir = std::env::temp_dir().join(format!("veza-pg-contract-{}-{serial}", std::process::id()));
        let name = format!("contract{serial}");
        Database { url: server.create_database(&name), name, dir, server }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // What is left over is in the directory for temporary files.
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

impl Place for Database {
    fn config(&self) -> StoreConfig {
        let mut config = StoreConfig::new(&self.url, &self.dir);
        config.max_connections = 4;
        config.load_deadline = PATIENCE;
        config
    }

    fn insert_foreign(&self, row: &EventRow) {
        let statement = format!(
            "INSERT INTO events (room_id, seq, at, message_no, author_id, kind, content)
             VALUES ({}, {}, {}, {}, {}, 1, '{}')",
            row.room_id.0,
            row.seq.0,
            row.at.0,
            row.message_no,
            row.author_id.map_or(0, |user| user.0),
            row.content.as_deref().unwrap_or_default(),
        );
        self.server.sql_in(&self.name, &statement);
    }
}

suite!(Database::new());
