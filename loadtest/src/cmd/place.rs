//! Arguments that all runs of scenarios have: where the load goes, and where what was found goes.

use crate::StoreName;
use clap::Args;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use veza_loadtest::load::{Scenario, Target};
use veza_loadtest::report::Progress;

/// What is run, and against what.
#[derive(Args)]
pub struct Place {
    /// Overrides a field of the scenario, as load.rate=500; may be given often
    #[arg(long, value_name = "FIELD=VALUE")]
    pub set: Vec<String>,
    /// A server that runs already (on this machine, or a test cluster of one's own); without it, one is started
    #[arg(long, value_name = "HOST:PORT", requires = "secret", value_parser = address)]
    pub addr: Option<SocketAddr>,
    /// Its security.jwt_secret
    #[arg(long, requires = "addr")]
    pub secret: Option<String>,
    /// Where it serves /metrics, if it has a second address for that
    #[arg(long, value_name = "HOST:PORT", requires = "addr", value_parser = address)]
    pub metrics_addr: Option<SocketAddr>,
    /// The store of a server of the run's own
    #[arg(long, value_enum, default_value = "sqlite", conflicts_with = "addr")]
    pub store: StoreName,
}

/// What is made of the result.
#[derive(Args)]
pub struct Output {
    /// Writes the result as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Writes a page with plots of it
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Prints no progress
    #[arg(long)]
    pub quiet: bool,
}

impl Place {
    /// The server that runs already, if one was named.
    pub fn target(&self) -> Option<Target> {
        let (addr, secret) = (self.addr?, self.secret.as_deref()?);
        Some(Target { metrics_addr: self.metrics_addr.unwrap_or(addr), ..Target::new(addr, secret) })
    }

    /// A scenario by name or file, with the overrides.
    pub fn scenario(&self, name: &str) -> Result<Scenario, String> {
        let mut scenario = Scenario::find(name)?;
        scenario.set_all(self.set.iter().map(String::as_str))?;
        Ok(scenario)
    }
}

impl Output {
    /// The line of progress of a run, which begins with what comes before any load; none where nobody wants it.
    pub fn progress(&self, name: &str, scenario: &Scenario) -> Option<Progress> {
        if self.quiet {
            return None;
        }
        eprintln!("{name}: {} clients connect", scenario.users);
        Some(Progress::new(name, Some((scenario.warmup.0 + scenario.duration.0).as_secs_f64())))
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let mut found = text.to_socket_addrs().map_err(|error| format!("{error} (as 127.0.0.1:8080)"))?;
    found.next().ok_or_else(|| "a name without an address".into())
}
