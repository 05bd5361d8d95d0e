//! Ctrl-C: the first one ends the load and lets the run report what it has, the second one ends the program.

use nix::sys::signal::{SigSet, Signal};
use std::sync::atomic::{AtomicBool, Ordering};

static ASKED: AtomicBool = AtomicBool::new(false);

/// Takes SIGINT and SIGTERM over, for the whole process: to be called before any other thread is started, which would be
/// ended by them otherwise. Servers and databases of our own end with this process, however it ends.
///
/// # Errors
/// What the kernel says.
pub fn take_over() -> Result<(), String> {
    let mut set = SigSet::empty();
    set.add(Signal::SIGINT);
    set.add(Signal::SIGTERM);
    set.thread_block().map_err(|error| error.to_string())?;
    std::thread::spawn(move || {
        while let Ok(signal) = set.wait() {
            if ASKED.swap(true, Ordering::Relaxed) {
                std::process::exit(128 + signal as i32);
            }
            eprintln!("\n{signal}: the load ends, what was measured will be reported; once more ends everything now");
        }
    });
    Ok(())
}

/// Whether somebody wants the run to end.
pub fn asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}
