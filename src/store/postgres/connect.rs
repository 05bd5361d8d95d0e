//! Connections: how they are made, what they are told first, and how a stuck one is let go.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::config::{SslMode, TargetSessionAttrs};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, Error, NoTls, Row, SimpleQueryMessage, Statement};

/// A connection that is not there by then is tried anew. While the server is stopped (SIGSTOP) the kernel takes
/// connections for it, so a short time would only leave it more of them to clear away when it goes on.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Between failed attempts: doubled from the first to the last, with jitter. The connections of the process wait in
/// two lines, so this is also how often, at most, an absent database is knocked at.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(400));
/// The server ends statements by itself after this: nobody waits for them any more.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);

/// What a connection is for; each kind has settings of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Holds the advisory lock and does nothing else.
    Lock,
    /// Writes batches.
    Write,
    /// Answers queries.
    Read,
    /// Answers full-text searches, whose plans depend on the words.
    Search,
    /// Works behind the writes. What it does can be done again, so its commits need not wait for the disk.
    Upkeep,
}

/// Reads a database URL; TLS is not offered, so `sslmode=require` is refused.
pub(super) fn parse_url(url: &str) -> Result<Config, String> {
    let config: Config = url.parse().map_err(|e: tokio_postgres::Error| match std::error::Error::source(&e) {
        Some(cause) => format!("database.url: {cause}"),
        None => format!("database.url: {e}"),
    })?;
    if config.get_ssl_mode() == SslMode::Require {
        return Err("database.url: sslmode=require is not offered; reach the database over a private network, a \
                    Unix socket or a TLS tunnel, with sslmode=disable or prefer"
            .to_owned());
    }
    Ok(config)
}

/// Makes connections, with backoff.
pub(super) struct Connector {
    config: Config,
    /// One at a time in each line: a returning server is not met by a herd. What writes does not wait for what reads.
    write_line: Semaphore,
    read_line: Semaphore,
    /// Connections that are open.
    open: Arc<AtomicU64>,
}

impl Connector {
    /// Connections call themselves `veza-<epoch>`: a later process knows what an earlier one left behind.
    pub(super) fn new(mut config: Config, epoch: i64) -> Connector {
        config
            .application_name(application_name(epoch))
            .ssl_mode(SslMode::Disable)
            .target_session_attrs(TargetSessionAttrs::ReadWrite)
            .connect_timeout(CONNECT_TIMEOUT)
            .keepalives(true)
            .keepalives_idle(Duration::from_secs(5))
            .keepalives_interval(Duration::from_secs(2))
            .keepalives_retries(3)
            .tcp_user_timeout(Duration::from_secs(10));
        Connector { config, write_line: Semaphore::new(1), read_line: Semaphore::new(1), open: Arc::default() }
    }

    /// Counts its open connections here.
    pub(super) fn counted(self, open: Arc<AtomicU64>) -> Connector {
        Connector { open, ..self }
    }

    /// A new connection, however long it takes. `failed` hears of every attempt that failed.
    pub(super) async fn connect(&self, purpose: Purpose, mut failed: impl FnMut(&str)) -> Session {
        let line = match purpose {
            Purpose::Lock | Purpose::Write => &self.write_line,
            Purpose::Read | Purpose::Search | Purpose::Upkeep => &self.read_line,
        };
        let _turn = line.acquire().await.expect("the line is never closed");
        let mut wait = BACKOFF.0;
        loop {
            match self.try_connect(purpose).await {
                Ok(session) => return session,
                Err(reason) => failed(&reason),
            }
            tokio::time::sleep(jittered(wait)).await;
            wait = (wait * 2).min(BACKOFF.1);
        }
    }

    /// One attempt.
    pub(super) async fn try_connect(&self, purpose: Purpose) -> Result<Session, String> {
        match timeout(CONNECT_TIMEOUT, self.open(purpose)).await {
            Ok(result) => result.map_err(|e| describe(&e)),
            Err(_) => Err(format!("no connection within {CONNECT_TIMEOUT:?}")),
        }
    }

    async fn open(&self, purpose: Purpose) -> Result<Session, Error> {
        let (client, connection) = self.config.connect(NoTls).await?;
        let task = tokio::spawn(async move {
            // How it ended, each waiting query learns for itself.
            let _ = connection.await;
        });
        let open = Open::new(self.open.clone());
        let mut session = Session { client, task, pid: 0, statements: Mutex::new(HashMap::new()), _open: open };
        let said = session.client.simple_query(&settings(purpose)).await?;
        let pid = said.iter().rev().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        session.pid = pid.and_then(|pid| pid.parse().ok()).unwrap_or(0);
        Ok(session)
    }
}

/// The name under which all connections of one process start are known to the server.
pub(super) fn application_name(epoch: i64) -> String {
    format!("veza-{epoch}")
}

/// Set by the test of plans: on connections made meanwhile a sequential scan looks as good as it is.
#[cfg(test)]
pub(super) static PLANS_FREE: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

/// What a connection is told first, in one message; its last row is the process that serves it. Not every platform
/// can check for the client's end while it works.
fn settings(purpose: Purpose) -> String {
    let mut sql = String::from(
        "SET client_encoding = 'UTF8'; SET search_path = public; SET jit = off;
         DO $$ BEGIN SET client_connection_check_interval = '1s'; EXCEPTION WHEN OTHERS THEN NULL; END $$;
         SET idle_in_transaction_session_timeout = '10s'; SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 2;
         SET tcp_keepalives_count = 3; SET default_transaction_isolation = 'read committed';
         SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';",
    );
    if purpose != Purpose::Lock {
        sql.push_str(&format!("SET statement_timeout = {};", STATEMENT_TIMEOUT.as_millis()));
    }
    sql.push_str(match purpose {
        Purpose::Lock => "",
        Purpose::Search => {
            "SET plan_cache_mode = force_custom_plan; SET enable_seqscan = off; SET enable_hashjoin = off;
             SET enable_mergejoin = off; SET enable_material = off;"
        }
        // Every query of ours has its index. Plans are made once and kept, perhaps while the tables were empty, so
        // a sequential scan must not look good then.
        Purpose::Write | Purpose::Read | Purpose::Upkeep => {
            "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_hashjoin = off;
             SET enable_mergejoin = off; SET enable_bitmapscan = off; SET enable_material = off;"
        }
    });
    #[cfg(test)]
    if PLANS_FREE.load(std::sync::atomic::Ordering::SeqCst) {
        sql.push_str("RESET enable_seqscan;");
    }
    if purpose == Purpose::Upkeep {
        sql.push_str("SET synchronous_commit = off;");
    }
    // Last: read from the answer.
    sql.push_str("SELECT pg_backend_pid()");
    sql
}

/// A connection and the statements prepared on it. Dropping it closes the socket at once, whatever waits.
pub(super) struct Session {
    pub(super) client: Client,
    task: JoinHandle<()>,
    /// The server's process for it.
    pub(super) pid: i32,
    statements: Mutex<HashMap<&'static str, Statement>>,
    _open: Open,
}

/// Counts an open connection as long as it lives.
struct Open(Arc<AtomicU64>);

impl Open {
    fn new(count: Arc<AtomicU64>) -> Open {
        count.fetch_add(1, Relaxed);
        Open(count)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Session {
    /// The statement, prepared on first use.
    pub(super) async fn statement(&self, sql: &'static str) -> Result<Statement, Error> {
        let known = self.statements.lock().expect("no panic while it is held").get(sql).cloned();
        if let Some(statement) = known {
            return Ok(statement);
        }
        let statement = self.client.prepare(sql).await?;
        self.statements.lock().expect("no panic while it is held").insert(sql, statement.clone());
        Ok(statement)
    }

    /// Prepared, sent, and all rows of the answer.
    pub(super) async fn query(&self, sql: &'static str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Error> {
        let statement = self.statement(sql).await?;
        self.client.query(&statement, params).await
    }

    /// As [`Session::query`], where there is at most one row.
    pub(super) async fn query_opt(
        &self,
        sql: &'static str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Option<Row>, Error> {
        Ok(self.query(sql, params).await?.into_iter().next())
    }

    /// Returns when the connection is gone.
    pub(super) async fn ended(&mut self) {
        let _ = (&mut self.task).await;
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Left alone, the task would wait for answers that a stopped server never gives.
        self.task.abort();
    }
}

/// Between half of `wait` and all of it.
pub(super) fn jittered(wait: Duration) -> Duration {
    let mut random = [0u8; 4];
    // Without randomness the full wait is as good.
    let share =
        getrandom::fill(&mut random).map_or(1.0, |()| f64::from(u32::from_le_bytes(random)) / f64::from(u32::MAX));
    wait.mul_f64(0.5 + 0.5 * share)
}

/// An error with what the server said, in one line.
pub(super) fn describe(error: &Error) -> String {
    if let Some(db) = error.as_db_error() {
        return format!("{} ({})", db.message().replace('\n', " "), db.code().code());
    }
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// What an error means for what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A key is taken: nothing was done.
    Unique,
    /// The data is refused: nothing was done.
    Data,
    /// The fence knows this batch: it is committed.
    Applied,
    /// Another server has taken over this database.
    Superseded,
    /// One of several batches did not pass the fence: nothing was done.
    Shut,
    /// The database cannot now, or may have done it: ask again.
    Unavailable,
    /// The query itself is wrong: our bug, or a schema that is not ours.
    Query,
}

/// SQLSTATEs raised by `veza_fence` and `veza_shut`.
const APPLIED: &str = "VZ001";
const SUPERSEDED: &str = "VZ002";
const SHUT: &str = "VZ004";

/// Reads an error.
pub(super) fn fault(error: &Error) -> Fault {
    let Some(code) = error.code() else {
        // Values that cannot be encoded are data; everything else without a code is the connection's end.
        let encode = error.to_string().starts_with("error serializing");
        return if encode { Fault::Data } else { Fault::Unavailable };
    };
    if *code == SqlState::UNIQUE_VIOLATION {
        return Fault::Unique;
    }
    match code.code() {
        APPLIED => Fault::Applied,
        SUPERSEDED => Fault::Superseded,
        SHUT => Fault::Shut,
        // An index row too large for its page.
        "54000" => Fault::Data,
        other => match &other[..2] {
            "22" | "23" => Fault::Data,
            "42" | "26" | "0A" | "3F" => Fault::Query,
            _ => Fault::Unavailable,
        },
    }
}
