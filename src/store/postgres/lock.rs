//! One server per database: a session advisory lock on a connection that does nothing else. Who holds it migrates the
//! schema, ends what former servers left behind, and makes its epoch the one that passes the fence.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::Error;

use super::connect::{Purpose, Session, application_name, describe, jittered};
use super::context::Context;
use crate::store::StoreError;

const RETRY: Duration = Duration::from_millis(100);

const TRY_LOCK: &str = "SELECT pg_try_advisory_lock(8513412, 1)";
const HOLDER: &str = "SELECT a.pid, a.application_name, coalesce(host(a.client_addr), 'a local socket')
     FROM pg_locks l JOIN pg_stat_activity a USING (pid)
     WHERE l.locktype = 'advisory' AND l.classid = 8513412 AND l.objid = 1 AND l.granted AND a.datname = current_database()";
const TERMINATE_LEFTOVERS: &str =
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()
     AND application_name ~ '^veza-[0-9]+$' AND application_name <> $1";

/// Holds the lock for the life of the process, taking it again whenever its connection is lost.
pub(super) async fn keep(context: Arc<Context>) {
    // The server's process for the connection that held the lock before; 0: it was never held.
    let mut last_pid = 0;
    loop {
        let mut session = context.connector.connect(Purpose::Lock, |reason| context.trouble(reason)).await;
        let taken = if last_pid == 0 {
            take(&context, &mut session).await
        } else {
            take_again(&context, &session, last_pid).await
        };
        match taken {
            Ok(()) => {
                last_pid = session.pid;
                context.lock_held(true);
                session.ended().await;
                context.lock_held(false);
                context.trouble("the connection that holds the lock was lost");
            }
            Err(Refusal::Later(reason)) => {
                context.trouble(reason);
                drop(session);
                tokio::time::sleep(jittered(RETRY)).await;
            }
            Err(Refusal::Never(error)) => context.fatal(error).await,
        }
    }
}

/// Why the database is not ours.
pub(super) enum Refusal {
    /// Something failed; try again.
    Later(String),
    /// It belongs to somebody else, or is none for us.
    Never(StoreError),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        Refusal::Later(describe(&error))
    }
}

impl From<Refusal> for StoreError {
    fn from(refusal: Refusal) -> StoreError {
        match refusal {
            Refusal::Later(reason) => StoreError::Failed(reason),
            Refusal::Never(error) => error,
        }
    }
}

/// The first time: everything that has to be so before the first batch.
async fn take(context: &Context, session: &mut Session) -> Result<(), Refusal> {
    lock(session, context.epoch, context.lock_wait, 0).await?;
    migrate(session).await?;
    let own_name = application_name(context.epoch);
    if let Err(error) = session.client.execute(TERMINATE_LEFTOVERS, &[&own_name]).await {
        // They may belong to another role. `veza_begin` waits for their transactions all the same.
        tracing::warn!(reason = describe(&error), "connections of an earlier server could not be ended");
    }
    session.client.execute("SELECT veza_begin($1)", &[&context.epoch]).await?;
    context.set_incarnation(super::incarnation::of(session).await?);
    context.set_language(super::index::language(session, &context.wanted_language).await?);
    for finding in super::doctor::findings(session).await?.findings {
        if let Some(advice) = finding.advice {
            tracing::warn!(setting = finding.name, value = finding.value, advice, "database settings");
        }
    }
    Ok(())
}

/// After a loss: nobody may have used the database meanwhile, and it must be the same.
async fn take_again(context: &Context, session: &Session, last_pid: i32) -> Result<(), Refusal> {
    lock(session, context.epoch, Duration::ZERO, last_pid).await?;
    let epoch: i64 = session.client.query_one("SELECT epoch FROM current_epoch", &[]).await?.get(0);
    if epoch != context.epoch {
        let cause = "another server used this database while our lock was lost".to_owned();
        return Err(Refusal::Never(StoreError::Locked(cause)));
    }
    if super::incarnation::of(session).await? != context.incarnation() {
        let cause = "this is not the database of before: restored, replaced or failed over".to_owned();
        return Err(Refusal::Never(StoreError::Failed(cause)));
    }
    Ok(())
}

/// Takes the lock, waiting up to `patience` for another server; our own former connection is ended.
pub(super) async fn lock(session: &Session, epoch: i64, patience: Duration, last_pid: i32) -> Result<(), Refusal> {
    let deadline = Instant::now() + patience;
    let own_name = application_name(epoch);
    loop {
        if session.client.query_one(TRY_LOCK, &[]).await?.get(0) {
            return Ok(());
        }
        // No holder to be seen: it has just gone.
        let Some(holder) = session.client.query_opt(HOLDER, &[]).await? else { continue };
        let (pid, name, address): (i32, String, String) = (holder.get(0), holder.get(1), holder.get(2));
        if name == own_name && pid == last_pid {
            session.client.execute("SELECT pg_terminate_backend($1)", &[&pid]).await?;
        } else if Instant::now() >= deadline {
            return Err(Refusal::Never(StoreError::Locked(format!(
                "another server uses this database: {name} from {address}, served by PostgreSQL's process {pid}"
            ))));
        }
        tokio::time::sleep(jittered(RETRY)).await;
    }
}

mod embedded {
    refinery::embed_migrations!("migrations/postgres");
}

const NEWEST: &str = "SELECT max(version) FROM refinery_schema_history";
const HAS_HISTORY: &str = "SELECT to_regclass('refinery_schema_history') IS NOT NULL";

/// Brings the schema up to date, forward only; answers the names of what was applied.
pub(super) async fn migrate(session: &mut Session) -> Result<Vec<String>, Refusal> {
    let runner = embedded::migrations::runner();
    let known = runner.get_migrations().iter().map(|m| m.version()).max().unwrap_or(0);
    if session.client.query_one(HAS_HISTORY, &[]).await?.get(0) {
        let found: Option<i32> = session.client.query_one(NEWEST, &[]).await?.get(0);
        let found = i64::from(found.unwrap_or(0));
        if found > i64::from(known) {
            let number = |version: i64| u32::try_from(version).unwrap_or(u32::MAX);
            return Err(Refusal::Never(StoreError::Newer(number(found), number(known.into()))));
        }
    }
    let report = runner.run_async(&mut session.client).await.map_err(|error| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        Refusal::Later(format!("migration: {error}{cause}"))
    })?;
    let applied: Vec<String> = report.applied_migrations().iter().map(ToString::to_string).collect();
    for migration in &applied {
        tracing::info!(migration, "schema migrated");
    }
    Ok(applied)
}
