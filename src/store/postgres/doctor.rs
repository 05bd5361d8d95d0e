//! What the database's settings mean for durability.

use tokio_postgres::Error;

use super::connect::Session;
use crate::store::DoctorReport;

const SETTINGS: &str = "SELECT name, reset_val, setting FROM pg_settings WHERE name = ANY ($1)";
const NAMES: [&str; 6] =
    ["server_version_num", "fsync", "synchronous_commit", "full_page_writes", "max_connections", "zero_damaged_pages"];

/// The oldest that is supported.
const VERSION_MIN: u32 = 140_000;

/// Version and durability of the server, each with what to do about it.
pub(super) async fn findings(session: &Session) -> Result<DoctorReport, Error> {
    let mut report = DoctorReport::default();
    for row in session.client.query(SETTINGS, &[&NAMES.as_slice()]).await? {
        let (name, value): (String, String) = (row.get(0), row.get(1));
        match advice(&name, &value) {
            Some(advice) => report.bad(&name, value, advice),
            None => report.good(&name, value),
        }
    }
    Ok(report)
}

fn advice(name: &str, value: &str) -> Option<&'static str> {
    let bad = match name {
        "server_version_num" => value.parse::<u32>().unwrap_or(0) < VERSION_MIN,
        "fsync" | "full_page_writes" => value != "on",
        "synchronous_commit" => value == "off",
        "zero_damaged_pages" => value != "off",
        _ => false,
    };
    let advice = match name {
        "server_version_num" => "use PostgreSQL 14 or newer",
        "fsync" => {
            "set fsync = on: after a crash of the machine acknowledged messages may be gone, or the database with them"
        }
        "full_page_writes" => "set full_page_writes = on: a crash of the machine may leave torn pages",
        "synchronous_commit" => "set synchronous_commit = on; Veza does so for its own connections meanwhile",
        _ => "set zero_damaged_pages = off: damage must be seen, not erased",
    };
    bad.then_some(advice)
}
