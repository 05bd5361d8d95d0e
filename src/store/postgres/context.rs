//! What the tasks of the backend have in common: whose the database is, how it does, and whom to tell.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::watch;

use super::connect::Connector;
use super::index::Pending;
use crate::store::report::Meter;
use crate::store::{Completions, StoreError};

/// Shared by the lock keeper, the writers and the readers.
pub(super) struct Context {
    /// Of this process start.
    pub(super) epoch: i64,
    pub(super) connector: Connector,
    pub(super) completions: Arc<dyn Completions>,
    pub(super) meter: Arc<Meter>,
    /// How long the lock of a server that is just ending is waited for.
    pub(super) lock_wait: Duration,
    /// Of a query.
    pub(super) load_deadline: Duration,
    /// Whether tokens of unknown users make them.
    pub(super) auto_provision: bool,
    /// Time that the content of deleted messages stays, in milliseconds.
    pub(super) grace_ms: i64,
    /// Between two passes of removing; [`Duration::MAX`]: none by itself.
    pub(super) upkeep_every: Duration,
    /// What the index of words does not know yet.
    pub(super) pending: Pending,
    /// The text search configuration that is wanted, and the one that is used, once the database is open.
    pub(super) wanted_language: String,
    language: OnceLock<String>,
    /// The lock is held now: batches may be written.
    held: watch::Sender<bool>,
    /// The lock was held once: the schema is there, and queries can be answered.
    opened: watch::Sender<bool>,
    /// The store is being closed: what waits is finished, nothing new comes.
    closing: watch::Sender<bool>,
    incarnation: AtomicU64,
    /// Readers that have a connection; with none, queries are refused at once.
    readers: AtomicU32,
}

impl Context {
    pub(super) fn new(
        config: &crate::store::StoreConfig,
        connector: Connector,
        completions: Arc<dyn Completions>,
        meter: Arc<Meter>,
    ) -> Context {
        Context {
            epoch: config.writer_epoch,
            connector,
            completions,
            meter,
            lock_wait: config.lock_wait,
            load_deadline: config.load_deadline,
            auto_provision: config.auto_provision,
            grace_ms: i64::try_from(config.deleted_grace.as_millis()).unwrap_or(i64::MAX),
            upkeep_every: config.upkeep_every,
            pending: Pending::default(),
            wanted_language: config.search_language.clone(),
            language: OnceLock::new(),
            held: watch::Sender::new(false),
            opened: watch::Sender::new(false),
            closing: watch::Sender::new(false),
            incarnation: AtomicU64::new(0),
            readers: AtomicU32::new(0),
        }
    }

    /// The keeper took or lost the lock.
    pub(super) fn lock_held(&self, held: bool) {
        self.held.send_replace(held);
        if held {
            self.opened.send_replace(true);
            self.fine();
        }
    }

    /// Returns while the lock is held; waits for it where it is not.
    pub(super) async fn wait_held(&self) {
        // The sender lives in self, so this cannot fail.
        let _ = self.held.subscribe().wait_for(|held| *held).await;
    }

    /// Returns once the schema is known to be there.
    pub(super) async fn wait_opened(&self) {
        let _ = self.opened.subscribe().wait_for(|opened| *opened).await;
    }

    /// Begins to close.
    pub(super) fn close(&self) {
        self.closing.send_replace(true);
    }

    /// Returns when the store is being closed.
    pub(super) async fn closing(&self) {
        let _ = self.closing.subscribe().wait_for(|closing| *closing).await;
    }

    /// A reader has a connection.
    pub(super) fn reader_came(&self) {
        self.readers.fetch_add(1, Ordering::AcqRel);
        self.fine();
    }

    /// A reader lost it; answers whether it was the last.
    pub(super) fn reader_went(&self) -> bool {
        self.readers.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// Queries have somebody to answer them.
    pub(super) fn readable(&self) -> bool {
        self.readers.load(Ordering::Acquire) > 0
    }

    /// Mixed into room epochs: they differ after a restore.
    pub(super) fn incarnation(&self) -> u64 {
        self.incarnation.load(Ordering::Acquire)
    }

    /// Before the lock is first said to be held.
    pub(super) fn set_incarnation(&self, incarnation: u64) {
        self.incarnation.store(incarnation, Ordering::Release);
    }

    /// The text search configuration that is used.
    pub(super) fn language(&self) -> &str {
        self.language.get().unwrap_or(&self.wanted_language)
    }

    /// Before the lock is first said to be held.
    pub(super) fn set_language(&self, language: String) {
        self.language.get_or_init(|| language);
    }

    /// Something did not work.
    pub(super) fn trouble(&self, reason: impl Into<String>) {
        self.meter.went_down(reason.into());
    }

    /// Something worked. The database is well when batches may be written and queries are answered.
    pub(super) fn fine(&self) {
        if *self.held.borrow() && self.readable() {
            self.meter.went_up();
        }
    }

    /// The database is not ours: the process must end. Never returns.
    pub(super) async fn fatal<T>(&self, error: StoreError) -> T {
        self.held.send_replace(false);
        self.trouble(error.to_string());
        self.completions.fatal(error);
        std::future::pending().await
    }
}
