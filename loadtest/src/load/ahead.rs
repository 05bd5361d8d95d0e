//! What can be said before a run begins: nobody should wait a minute to learn of a wrong port.

use super::plan::SPARE_FDS;
use super::{Scenario, Target};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// The longest that a server may take to be there: one that is being started beside us.
const PATIENCE: Duration = Duration::from_secs(5);

/// Waits until somebody listens at the server's address.
///
/// # Errors
/// If nobody does.
pub fn reach(target: &Target) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match TcpStream::connect_timeout(&target.addr, PATIENCE) {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > deadline => return Err(format!("no server at {}: {error}", target.addr)),
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// As many descriptors as this process, and with it its workers and its own server, may have: that number.
///
/// # Errors
/// If they are too few for a server of this run's own, whose clients cannot be spread over processes as the workers' are.
pub fn descriptors(scenario: &Scenario, target: &Target) -> Result<u64, String> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(|error| error.to_string())?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map_err(|error| error.to_string())?;
    let wanted = scenario.users as u64 + SPARE_FDS;
    if target.pid.is_some() && wanted > hard {
        return Err(format!(
            "{} clients need {wanted} file descriptors in the server, which may have {hard} here (ulimit -Hn)",
            scenario.users
        ));
    }
    Ok(hard)
}
