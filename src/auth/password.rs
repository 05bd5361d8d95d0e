//! Password hashing: argon2id takes about 30 ms and 19 MiB, so it has threads of its own and a short queue.

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};
use std::io;
use std::sync::Arc;
use std::thread;
use tokio::sync::oneshot;

/// Memory of one hash in KiB, passes over it, lanes.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Why there is no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolError {
    /// The queue is full: later.
    Busy,
    /// A fault of ours.
    Failed,
}

/// The threads and their queue. They end when this is dropped and the queue is empty.
pub struct PasswordPool {
    queue: Sender<Job>,
    /// What the password of an unknown user is compared with, so that it takes as long as that of a known one.
    nobody: Arc<str>,
}

struct Job {
    work: Work,
    reply: oneshot::Sender<Option<Answer>>,
}

enum Work {
    Hash { password: String },
    Verify { password: String, hash: Arc<str> },
}

enum Answer {
    Hash(String),
    Verified(bool),
}

impl PasswordPool {
    /// Starts `threads` threads with a queue of `queue_max` jobs.
    ///
    /// # Errors
    /// No thread can be started, or there is no memory for a hash.
    pub fn new(threads: u16, queue_max: u32) -> io::Result<PasswordPool> {
        let (queue, jobs) = bounded(usize::try_from(queue_max).unwrap_or(usize::MAX));
        for number in 0..threads.max(1) {
            let jobs = jobs.clone();
            thread::Builder::new().name(format!("password-{number}")).spawn(move || run(&jobs))?;
        }
        let nobody = hash(&super::random_hex::<16>()).ok_or_else(|| io::Error::other("cannot hash a password"))?;
        Ok(PasswordPool { queue, nobody: nobody.into() })
    }

    /// The hash of a new password, as a PHC string.
    ///
    /// # Errors
    /// The queue is full, or a fault of ours.
    pub async fn hash(&self, password: &str) -> Result<String, PoolError> {
        match self.ask(Work::Hash { password: password.to_owned() }).await? {
            Answer::Hash(hash) => Ok(hash),
            Answer::Verified(_) => Err(PoolError::Failed),
        }
    }

    /// Whether the password belongs to the hash. Without a hash it never does, and takes as long to say so.
    ///
    /// # Errors
    /// The queue is full, or a fault of ours.
    pub async fn verify(&self, password: &str, hash: Option<&str>) -> Result<bool, PoolError> {
        let known = hash.is_some();
        let hash = hash.map_or_else(|| self.nobody.clone(), Arc::from);
        match self.ask(Work::Verify { password: password.to_owned(), hash }).await? {
            Answer::Verified(good) => Ok(good && known),
            Answer::Hash(_) => Err(PoolError::Failed),
        }
    }

    async fn ask(&self, work: Work) -> Result<Answer, PoolError> {
        let (reply, answer) = oneshot::channel();
        self.queue.try_send(Job { work, reply }).map_err(|error| match error {
            TrySendError::Full(_) => PoolError::Busy,
            TrySendError::Disconnected(_) => PoolError::Failed,
        })?;
        answer.await.ok().flatten().ok_or(PoolError::Failed)
    }
}

fn run(jobs: &Receiver<Job>) {
    for job in jobs {
        // Nobody waits any more: the client went away.
        if job.reply.is_closed() {
            continue;
        }
        let answer = match job.work {
            Work::Hash { password } => hash(&password).map(Answer::Hash),
            Work::Verify { password, hash } => Some(Answer::Verified(verify(&password, &hash))),
        };
        // It may have gone away meanwhile.
        let _ = job.reply.send(answer);
    }
}

fn hash(password: &str) -> Option<String> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).ok()?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let hash: PasswordHash = argon2.hash_password(password.as_bytes()).ok()?;
    Some(hash.to_string())
}

fn verify(password: &str, hash: &str) -> bool {
    // With the parameters that stand in the hash: passwords outlive a change of ours.
    PasswordHash::new(hash).is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_belongs_to_its_own_hash_alone() {
        let pool = PasswordPool::new(1, 8).unwrap();
        let hash = pool.hash("correct horse").await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_ne!(hash, pool.hash("correct horse").await.unwrap(), "salted");
        for (password, hash, good) in [
            ("correct horse", Some(hash.as_str()), true),
            ("correct horsf", Some(hash.as_str()), false),
            ("", Some(hash.as_str()), false),
            ("correct horse", None, false),
            ("correct horse", Some("no hash"), false),
        ] {
            assert_eq!(pool.verify(password, hash).await, Ok(good), "{password} {hash:?}");
        }
    }

    #[tokio::test]
    async fn a_full_queue_refuses_and_the_abandoned_are_skipped() {
        // No thread takes anything out: the queue is filled for certain.
        let (queue, jobs) = bounded(2);
        let pool = PasswordPool { queue, nobody: "".into() };
        let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(pool.hash("password"))).collect();
        let states: Vec<_> = waiting.iter_mut().map(futures_util::FutureExt::now_or_never).collect();
        assert_eq!(states, [None, None, Some(Err(PoolError::Busy))]);
        drop(waiting);
        assert!(jobs.try_iter().all(|job| job.reply.is_closed()), "the clients went away");
    }
}
