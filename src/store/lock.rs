//! Locks on files: a directory or database has one server. The kernel drops the lock when the holder dies, however it
//! dies; the file stays and names its last holder.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::StoreError;

const POLL: Duration = Duration::from_millis(50);

/// A lock that is held until this is dropped.
pub struct FileLock {
    _file: File,
}

impl FileLock {
    /// Makes the directory if need be and holds it, by the file `server.lock` in it.
    pub fn directory(dir: &Path, wait: Duration) -> Result<FileLock, StoreError> {
        let failed = |error| StoreError::Failed(format!("data directory {}: {error}", dir.display()));
        fs::create_dir_all(dir).map_err(failed)?;
        FileLock::file(&dir.join("server.lock"), wait)
    }

    /// Holds this file, waiting up to `wait` for a holder that is just ending.
    pub fn file(path: &Path, wait: Duration) -> Result<FileLock, StoreError> {
        let failed = |error| StoreError::Failed(format!("lock file {}: {error}", path.display()));
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(failed)?;
        let deadline = Instant::now() + wait;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => thread::sleep(POLL),
                Err(TryLockError::WouldBlock) => {
                    return Err(StoreError::Locked(format!("{} is held by {}", path.display(), holder(&mut file))));
                }
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
        }
        // The name is for people; a lock without it holds as well.
        let _ = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| write!(file, "{}", std::process::id()));
        Ok(FileLock { _file: file })
    }
}

fn holder(file: &mut File) -> String {
    let mut pid = String::new();
    match file.take(20).read_to_string(&mut pid) {
        Ok(_) if !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit()) => format!("process {pid}"),
        _ => "another process".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_refused_and_told_who_holds() {
        let dir = std::env::temp_dir().join(format!("veza-lock-{}", std::process::id()));
        let held = FileLock::directory(&dir, Duration::ZERO).expect("first");
        let refused = FileLock::directory(&dir, Duration::ZERO).map(|_| ()).expect_err("second");
        let StoreError::Locked(text) = refused else { panic!("{refused:?}") };
        assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
        drop(held);
        drop(FileLock::directory(&dir, Duration::ZERO).expect("after the first is gone"));
        let _ = fs::remove_dir_all(&dir);
    }
}
