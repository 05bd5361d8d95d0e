//! The command line: what each subcommand does, and the exit codes.

mod doctor;
mod logging;

use crate::auth::keys::PublicKeys;
use crate::auth::token::{Issuer, SUBJECT_BYTES, Subject};
use crate::auth::username_allowed;
use crate::config::value::parse_duration;
use crate::config::{Config, ConfigError, Warning};
use crate::store;
use clap::{Parser, Subcommand, ValueEnum};
use rustix::fs::Mode;
use std::error::Error;
use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use veza_engine::input::Role;

/// The server or a command failed while it ran.
const EXIT_FAILED: u8 = 1;
/// The configuration or the environment forbids to run (EX_CONFIG of sysexits.h). Wrong usage is clap's 2.
const EXIT_CONFIG: u8 = 78;

/// Serves until it is told to stop; the error is why it could not go on.
pub type Serve = fn(Config) -> Result<(), Box<dyn Error + Send + Sync>>;

/// Veza chat server: WebSocket chat whose acknowledged messages are never lost, doubled or reordered.
#[derive(Parser)]
#[command(name = "chat-server", version, about)]
struct Cli {
    /// Configuration file (TOML). Environment variables VEZA_SECTION__KEY override it.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Checks the configuration without touching the network; prints OK or everything that is wrong.
    CheckConfig,
    /// Prints a configuration file with every setting, its default and its meaning.
    DefaultConfig,
    /// Brings the schema of the database up to date, as serving does at its start.
    Migrate,
    /// Prints an access token as the configured issuer would sign it, and nothing else.
    Gentoken(Gentoken),
    /// Looks at everything that the server needs from its surroundings and says what to do about it.
    Doctor,
    /// Prints the version.
    Version,
}

#[derive(clap::Args)]
struct Gentoken {
    /// Subject: the user's unique name at the application, 1 to 128 bytes.
    #[arg(long, value_parser = subject)]
    sub: String,
    /// Name that others see: 3 to 32 of letters, digits, "_", "." and "-".
    #[arg(long, value_parser = username)]
    username: Option<String>,
    /// Server role.
    #[arg(long, value_enum, default_value_t = RoleName::User)]
    role: RoleName,
    /// Life of the token, such as "15m" or "7d" [default: security.jwt_access_duration].
    #[arg(long, value_parser = ttl)]
    ttl: Option<Duration>,
}

#[derive(Clone, Copy, ValueEnum)]
enum RoleName {
    User,
    Moderator,
    Admin,
}

fn subject(text: &str) -> Result<String, String> {
    if SUBJECT_BYTES.contains(&text.len()) && !text.chars().any(char::is_control) {
        Ok(text.to_owned())
    } else {
        Err("expected 1 to 128 bytes without control characters".into())
    }
}

fn username(text: &str) -> Result<String, String> {
    if username_allowed(text) {
        Ok(text.to_owned())
    } else {
        Err("expected 3 to 32 letters, digits, \"_\", \".\" or \"-\"".into())
    }
}

fn ttl(text: &str) -> Result<Duration, String> {
    let ttl = parse_duration(text)?;
    if ttl < Duration::from_secs(1) { Err("expected a second or more".into()) } else { Ok(ttl) }
}

/// Reads the command line and does what it says.
pub fn main(serve: Serve) -> ExitCode {
    let cli = Cli::parse();
    // What is written (database, secret, locks) is for the server's user alone.
    rustix::process::umask(Mode::from_raw_mode(0o077));
    let path = cli.config.as_deref();
    match cli.command {
        None => run_server(path, serve),
        Some(Command::CheckConfig) => check_config(path),
        Some(Command::DefaultConfig) => print(&Config::default_toml()),
        Some(Command::Migrate) => migrate(path),
        Some(Command::Gentoken(asked)) => gentoken(path, &asked),
        Some(Command::Doctor) => doctor::run(path),
        Some(Command::Version) => print(&format!("chat-server {}\n", env!("CARGO_PKG_VERSION"))),
    }
}

fn run_server(path: Option<&Path>, serve: Serve) -> ExitCode {
    let (config, warnings) = match load(path) {
        Ok(loaded) => loaded,
        Err(error) => return refuse(&error),
    };
    // glommio's own answer would be a panic.
    if let Err(unusable) = veza_runtime::probe::probe() {
        return refuse(&unusable);
    }
    logging::init(&config.logging);
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    if let Err(error) = doctor::raise_file_limit() {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
    match serve(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::from(EXIT_FAILED)
        }
    }
}

/// The configuration with a secret.
fn load(path: Option<&Path>) -> Result<(Config, Vec<Warning>), ConfigError> {
    let (mut config, warnings) = Config::load(path)?;
    config.ensure_secret()?;
    Ok((config, warnings))
}

fn check_config(path: Option<&Path>) -> ExitCode {
    // The key files are part of it; a missing secret is not made here.
    let checked = Config::load(path).and_then(|(config, warnings)| {
        PublicKeys::load(&config.security)?;
        Ok(warnings)
    });
    match checked {
        Ok(warnings) => {
            for warning in warnings {
                eprintln!("warning: {warning}");
            }
            print("OK\n")
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(EXIT_FAILED)
        }
    }
}

fn migrate(path: Option<&Path>) -> ExitCode {
    let config = match Config::load(path) {
        Ok((config, _)) => config,
        Err(error) => return refuse(&error),
    };
    match block_on(store::migrate(config.database.url.expose())) {
        Ok(Ok(applied)) if applied.is_empty() => print(&format!("{}: up to date\n", config.database.url)),
        Ok(Ok(applied)) => print(&applied.iter().map(|name| format!("applied {name}\n")).collect::<String>()),
        Ok(Err(error)) => fail(&error),
        Err(error) => fail(&error),
    }
}

fn gentoken(path: Option<&Path>, asked: &Gentoken) -> ExitCode {
    let config = match load(path) {
        Ok((config, _)) => config,
        Err(error) => return refuse(&error),
    };
    let role = match asked.role {
        RoleName::User => Role::User,
        RoleName::Moderator => Role::Moderator,
        RoleName::Admin => Role::Admin,
    };
    let subject = Subject { sub: &asked.sub, username: asked.username.as_deref(), role };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let ttl = asked.ttl.unwrap_or(config.security.jwt_access_duration);
    match Issuer::new(&config).application(subject, ttl, i64::try_from(now).unwrap_or(i64::MAX)) {
        Some(token) => print(&format!("{token}\n")),
        None => refuse(&format!(
            "security.jwt_algorithm is {}: the server has no private key to sign with; let the issuer make the token",
            config.security.jwt_algorithm.name()
        )),
    }
}

/// Runs a future on a small runtime of its own.
fn block_on<T>(work: impl Future<Output = T>) -> std::io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(work))
}

/// Prints to standard output. A reader that went away is no failure worth a panic.
fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(EXIT_FAILED),
    }
}

fn refuse(error: &dyn Display) -> ExitCode {
    eprintln!("chat-server: {error}");
    ExitCode::from(EXIT_CONFIG)
}

fn fail(error: &dyn Display) -> ExitCode {
    eprintln!("chat-server: {error}");
    ExitCode::from(EXIT_FAILED)
}
