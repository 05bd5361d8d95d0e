//! Whether this process may use io_uring, asked before glommio is: its own answer is a panic.

use std::fmt;
use std::io;

use rustix::process::{Resource, getrlimit};

/// Locked memory that glommio insists on, bytes per process.
pub const MEMLOCK_MIN: u64 = 512 << 10;

/// Why the shards cannot run here. Each reads as one line that says what to do.
#[derive(Debug)]
pub enum Unusable {
    /// Forbidden by a seccomp profile or by the sysctl, whose value is given if it can be read.
    Forbidden {
        /// `kernel.io_uring_disabled`: 0 = allowed, 1 = for a group only, 2 = for nobody.
        sysctl: Option<u8>,
    },
    /// This kernel has none.
    Missing,
    /// The limit of locked memory is below [`MEMLOCK_MIN`].
    Memlock {
        /// The present limit, bytes.
        limit: u64,
    },
    /// Something else.
    Other(io::Error),
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unusable::Forbidden { sysctl: Some(level @ 1..) } => write!(
                f,
                "io_uring is switched off (kernel.io_uring_disabled={level}): allow it with `sysctl -w \
                 kernel.io_uring_disabled=0`"
            ),
            Unusable::Forbidden { .. } => write!(
                f,
                "io_uring is forbidden, most likely by the container's seccomp profile: allow io_uring_setup, \
                 io_uring_enter and io_uring_register (docker run --security-opt seccomp=unconfined, or a profile with \
                 these three)"
            ),
            Unusable::Missing => write!(f, "this kernel has no io_uring: use Linux 5.8 or newer"),
            Unusable::Memlock { limit } => write!(
                f,
                "the limit of locked memory is {limit} bytes: raise it to {MEMLOCK_MIN} or more (ulimit -l 512, \
                 LimitMEMLOCK=512K in systemd, docker run --ulimit memlock=524288)"
            ),
            Unusable::Other(error) => write!(f, "io_uring cannot be used: {error}"),
        }
    }
}

impl std::error::Error for Unusable {}

/// Tries io_uring and looks at the limit of locked memory.
///
/// # Errors
/// Why the shards cannot run.
pub fn probe() -> Result<(), Unusable> {
    if let Some(limit) = memlock_limit().filter(|limit| *limit < MEMLOCK_MIN) {
        return Err(Unusable::Memlock { limit });
    }
    match setup() {
        Ok(()) => Ok(()),
        Err(error) => Err(classify(error, sysctl())),
    }
}

/// The limit of locked memory, bytes; `None`: no limit.
pub fn memlock_limit() -> Option<u64> {
    getrlimit(Resource::Memlock).current
}

/// `kernel.io_uring_disabled`, if this kernel has it.
pub fn sysctl() -> Option<u8> {
    std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok()?.trim().parse().ok()
}

fn classify(error: io::Error, sysctl: Option<u8>) -> Unusable {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => Unusable::Forbidden { sysctl },
        Some(libc::ENOSYS) => Unusable::Missing,
        _ => Unusable::Other(error),
    }
}

fn setup() -> io::Result<()> {
    const ENTRIES: libc::c_long = 4;
    /// `struct io_uring_params` is 120 bytes, all zero for the defaults.
    type Params = [u64; 15];
    let mut params: Params = [0; 15];
    // SAFETY: the kernel reads and writes the 120 bytes of `params`, which live through the call.
    let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, ENTRIES, &mut params as *mut Params) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just made for us and nobody else knows it.
    drop(unsafe { <std::os::fd::OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(fd as i32) });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_says_in_one_line_what_to_do() {
        let os = io::Error::from_raw_os_error;
        for (unusable, says) in [
            (classify(os(libc::EPERM), Some(2)), "sysctl -w kernel.io_uring_disabled=0"),
            (classify(os(libc::EPERM), Some(0)), "seccomp"),
            (classify(os(libc::EPERM), None), "seccomp"),
            (classify(os(libc::ENOSYS), None), "Linux 5.8"),
            (classify(os(libc::ENOMEM), None), "cannot be used"),
            (Unusable::Memlock { limit: 65536 }, "65536"),
        ] {
            let line = unusable.to_string();
            assert!(line.contains(says) && !line.contains('\n'), "{line}");
        }
    }
}
