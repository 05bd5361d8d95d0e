//! Tells a restored database from the one before, so that clients do not trust positions of a log that was rewound.

use tokio_postgres::Error;

use super::connect::Session;

const SYSTEM: &str = "SELECT system_identifier::text FROM pg_control_system()";
const IDENTITY: &str = "SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8)
     || ':' || (SELECT oid FROM pg_database WHERE datname = current_database()) || ':' || 'events'::regclass::oid";
const STORED: &str =
    "SELECT i.value, v.value FROM meta i JOIN meta v ON v.key = 'incarnation' WHERE i.key = 'identity'";
const STORE: &str = "INSERT INTO meta (key, value) VALUES ('identity', $1), ('incarnation', $2)
     ON CONFLICT (key) DO UPDATE SET value = excluded.value";

/// The incarnation of this database. A cluster, timeline (changed by a recovery to a point in time or a failover),
/// database or table that is not the stored one means that it was restored or copied: then it gets a new one.
pub(super) async fn of(session: &Session) -> Result<u64, Error> {
    // Some managed services hide the cluster's identifier; the rest must do.
    let system = match session.client.query_one(SYSTEM, &[]).await {
        Ok(row) => row.get(0),
        Err(error) if error.as_db_error().is_some() => "hidden".to_owned(),
        Err(error) => return Err(error),
    };
    let rest: String = session.client.query_one(IDENTITY, &[]).await?.get(0);
    let identity = format!("{system}:{rest}");
    if let Some(row) = session.client.query_opt(STORED, &[]).await? {
        let incarnation = row.get::<_, &str>(1).parse().ok();
        if let Some(incarnation) = incarnation.filter(|_| row.get::<_, &str>(0) == identity) {
            return Ok(incarnation);
        }
        tracing::warn!("the database was restored or replaced: clients read all histories afresh");
    }
    let mut bytes = [0u8; 8];
    getrandom::fill(&mut bytes).expect("the system gives randomness");
    let fresh = u64::from_le_bytes(bytes) >> 11;
    session.client.execute(STORE, &[&identity, &fresh.to_string()]).await?;
    Ok(fresh)
}
