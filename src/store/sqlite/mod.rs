//! SQLite: bundled, the default.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::oneshot;
use veza_engine::id::ShardId;
use veza_engine::store::{Batch, Load};

use super::report::Meter;
use super::{AuthAnswer, AuthError, AuthRequest, Completions, DoctorReport, StoreConfig, StoreError};

/// The open database.
pub(super) struct Sqlite {
    meter: Meter,
}

impl Sqlite {
    pub fn open(
        _path: PathBuf,
        _config: StoreConfig,
        _completions: Arc<dyn Completions>,
    ) -> Result<Arc<Sqlite>, StoreError> {
        Ok(Arc::new(Sqlite { meter: Meter::new("sqlite") }))
    }
    pub fn submit(&self, _shard: ShardId, _batch: Box<Batch>) {}
    pub fn load(&self, _shard: ShardId, _id: u64, _load: Load) {}
    pub fn auth(&self, _request: AuthRequest, _reply: oneshot::Sender<Result<AuthAnswer, AuthError>>) {}
    pub fn meter(&self) -> &Meter {
        &self.meter
    }
    pub fn close(&self) {}
}

pub(super) fn migrate(_path: &Path) -> Result<Vec<String>, StoreError> {
    Ok(Vec::new())
}

pub(super) fn check(_path: &Path) -> Result<DoctorReport, StoreError> {
    Ok(DoctorReport::default())
}
