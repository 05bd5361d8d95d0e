//! The workers of a run: processes of this program, or threads of this process where it is another program (a test).

use super::wire::{Control, Order, Report};
use super::worker;
use serde::Serialize;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Sender;
use std::thread;

/// The hidden subcommand that makes a process a worker.
pub const SUBCOMMAND: &str = "worker";

/// One worker.
struct Worker {
    to: Box<dyn Write + Send>,
    child: Option<Child>,
}

/// All of them. Dropping it ends their input, and with it them.
pub struct Crew {
    workers: Vec<Worker>,
}

impl Crew {
    /// Starts one for each order; what they report comes with their number.
    ///
    /// # Errors
    /// If a process cannot be started.
    pub fn start(orders: &[Order], reports: &Sender<(usize, Report)>) -> Result<Crew, String> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let own = program.file_name().is_some_and(|name| name == "veza-loadtest");
        let mut crew = Crew { workers: Vec::new() };
        for order in orders {
            let (from, worker) = if own { in_process(&program)? } else { in_thread()? };
            crew.workers.push(worker);
            listen(order.worker, from, reports.clone());
            crew.tell(order.worker, order)?;
        }
        Ok(crew)
    }

    /// Writes a line to one.
    fn tell(&mut self, worker: usize, what: &impl Serialize) -> Result<(), String> {
        let mut line = serde_json::to_vec(what).map_err(|error| error.to_string())?;
        line.push(b'\n');
        let to = &mut self.workers[worker].to;
        to.write_all(&line).and_then(|()| to.flush()).map_err(|error| format!("worker {worker} has ended: {error}"))
    }

    /// Writes a line to all.
    ///
    /// # Errors
    /// If one has ended.
    pub fn tell_all(&mut self, what: &Control) -> Result<(), String> {
        (0..self.workers.len()).try_for_each(|worker| self.tell(worker, what))
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            worker.to = Box::new(std::io::sink());
        }
        for child in self.workers.iter_mut().filter_map(|worker| worker.child.as_mut()) {
            // One that has reported ends by itself; one that has not must not outlive the run.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

type Started = (Box<dyn Read + Send>, Worker);

fn in_process(program: &std::path::Path) -> Result<Started, String> {
    let mut command = Command::new(program);
    // In a group of its own: Ctrl-C is the coordinator's affair. It ends with its input, however that ends.
    command.arg(SUBCOMMAND).stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
    let mut child = command.spawn().map_err(|error| format!("{}: {error}", program.display()))?;
    let (to, from) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
    Ok((Box::new(from), Worker { to: Box::new(to), child: Some(child) }))
}

fn in_thread() -> Result<Started, String> {
    let (near, far) = UnixStream::pair().map_err(|error| error.to_string())?;
    let from = near.try_clone().map_err(|error| error.to_string())?;
    let out = far.try_clone().map_err(|error| error.to_string())?;
    thread::spawn(move || worker::serve(far, out));
    Ok((Box::new(from), Worker { to: Box::new(near), child: None }))
}

/// A thread that reads a worker's lines.
fn listen(worker: usize, from: Box<dyn Read + Send>, reports: Sender<(usize, Report)>) {
    thread::spawn(move || {
        let mut done = false;
        for line in BufReader::new(from).lines() {
            let Ok(line) = line else { break };
            let report = serde_json::from_str(&line).unwrap_or_else(|error| Report::Failed(format!("{error}: {line}")));
            done |= matches!(report, Report::Done(_) | Report::Failed(_));
            // Nobody listens any more once the run is over.
            if reports.send((worker, report)).is_err() {
                return;
            }
        }
        if !done {
            let _ = reports.send((worker, Report::Failed("it has ended without a report".into())));
        }
    });
}
