//! The real server as a child process, for as long as its owner lives.

use crate::{http, process, token};
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The longest that a start or an end may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// What signs the tokens of servers that name no other secret.
pub const SECRET: &str = "a secret of the load tests, 32 bytes or more";

/// How to start a server.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Settings as (`section.key`, value), given through the environment.
    pub settings: Vec<(String, String)>,
    /// Address of a PostgreSQL database; else a new SQLite file in the server's directory.
    pub database: Option<String>,
    /// The only core that the server may run on.
    pub core: Option<usize>,
    /// The data directory, where it must outlive the server; else a temporary one.
    pub data_dir: Option<PathBuf>,
    /// The port, where it matters; else a free one.
    pub port: Option<u16>,
    /// Another build of the server, to be held against this one.
    pub binary: Option<PathBuf>,
}

impl Options {
    /// A server with these settings over its own SQLite file.
    pub fn with(settings: &[(&str, &str)]) -> Options {
        Options::default().and(settings)
    }

    /// Adds settings; later ones win.
    #[must_use]
    pub fn and(mut self, settings: &[(&str, &str)]) -> Options {
        self.settings.extend(settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        self
    }

    /// Switches every rate and count per user off, for load.
    pub fn unlimited() -> Options {
        Options::with(&[
            ("limits.max_messages_per_minute", "0"),
            ("limits.commands_per_second", "0"),
            ("limits.max_connections_per_user", "0"),
            ("limits.max_rooms_per_user", "0"),
            ("limits.max_subscriptions", "0"),
            ("limits.logins_per_minute", "0"),
            ("limits.handshakes_per_address", "0"),
        ])
    }
}

/// A server; dropping it, or the death of this process by whatever signal, ends the server and removes its files.
pub struct Server {
    options: Options,
    dir: PathBuf,
    port: u16,
    child: Option<Child>,
    /// Ends the server when this process goes without dropping it (statics, kill -9).
    watchdog: Option<(Child, ChildStdin)>,
}

impl Server {
    /// Starts a server and waits until it is ready.
    ///
    /// # Panics
    /// If it does not get ready, with the end of its log.
    pub fn start(options: Options) -> Server {
        let mut server = Server::prepare(options);
        for attempt in 1.. {
            match server.try_start() {
                Ok(()) => break,
                // Another process may have taken the port between our look and the server's.
                Err(reason) if attempt == 3 || server.options.port.is_some() || !reason.contains("ddress") => {
                    panic!("the server does not start: {reason}")
                }
                Err(_) => server.port = free_port(),
            }
        }
        server
    }

    /// A server that is not started yet.
    pub fn prepare(options: Options) -> Server {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("veza-load-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).expect("a directory in the temporary directory");
        let watchdog = Some(spawn_watchdog(&dir));
        let port = options.port.unwrap_or_else(free_port);
        Server { options, dir, port, child: None, watchdog }
    }

    /// Starts it and waits until it is ready; `Err` with its log if it ends instead.
    ///
    /// # Errors
    /// The exit status and the log of a server that ended.
    pub fn try_start(&mut self) -> Result<(), String> {
        self.spawn();
        self.wait_until("/health/ready", 200)
    }

    /// Starts the process and waits for nothing.
    pub fn spawn(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log_path()).expect("log file");
        let mut command = Command::new(self.options.binary.as_deref().unwrap_or_else(|| binary()));
        command.current_dir(&self.dir).stdin(Stdio::null()).process_group(0);
        command.stdout(log.try_clone().expect("log")).stderr(log);
        for (key, _) in std::env::vars().filter(|(key, _)| key.starts_with("VEZA_")) {
            command.env_remove(key);
        }
        for (key, value) in self.settings() {
            command.env(format!("VEZA_{}", key.replace('.', "__").to_uppercase()), value);
        }
        let mut spawn = || command.spawn().expect("the server's binary runs");
        let child = match self.options.core {
            Some(core) => process::on_core(core, spawn).expect("such a core"),
            None => spawn(),
        };
        fs::write(self.dir.join("pid"), child.id().to_string()).expect("pid file");
        self.child = Some(child);
    }

    fn settings(&self) -> Vec<(String, String)> {
        let data_dir = self.data_dir();
        let sqlite = || format!("sqlite://{}/veza.db", data_dir.display());
        let own = [
            ("server.bind_addr", self.addr().to_string()),
            ("server.data_dir", data_dir.display().to_string()),
            ("server.shards", "2".to_owned()),
            ("database.url", self.options.database.clone().unwrap_or_else(sqlite)),
            ("security.jwt_secret", SECRET.to_owned()),
        ];
        let own = own.into_iter().map(|(key, value)| (key.to_owned(), value));
        own.chain(self.options.settings.iter().cloned()).collect()
    }

    /// Waits until GET of a path has that status.
    ///
    /// # Errors
    /// If the process ends, or a minute passes: the exit status and the log.
    pub fn wait_until(&mut self, path: &str, status: u16) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Ok(response) = http::get_blocking(self.addr(), path)
                && response.status == status
            {
                return Ok(());
            }
            let child = self.child.as_mut().ok_or("it does not run")?;
            if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
                self.child = None;
                return Err(format!("{status}\n{}", self.log()));
            }
            if Instant::now() > deadline {
                return Err(format!("{path} has not become {status} within {PATIENCE:?}\n{}", self.log()));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Its data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.options.data_dir.clone().unwrap_or_else(|| self.dir.join("data"))
    }

    /// A token that this server accepts.
    pub fn token(&self, sub: &str) -> String {
        token::for_subject(SECRET, sub)
    }

    /// Its process id.
    ///
    /// # Panics
    /// If it does not run.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("a running server").id()
    }

    /// kill -9.
    pub fn kill9(&mut self) {
        let mut child = self.child.take().expect("a running server");
        child.kill().expect("our child");
        child.wait().expect("our child");
    }

    /// Starts it again, on the same data and port, and waits until it is ready.
    ///
    /// # Panics
    /// If it does not get ready.
    pub fn restart(&mut self) {
        if let Err(reason) = self.try_start() {
            panic!("the server does not start again: {reason}");
        }
    }

    /// SIGTERM; the end is waited for by [`Server::wait_for_end`].
    pub fn terminate(&self) {
        process::signal(self.pid(), "TERM");
    }

    /// Waits for the process to end by itself.
    ///
    /// # Panics
    /// If it has not ended after a minute.
    pub fn wait_for_end(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("a running server");
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = child.try_wait().expect("our child") {
                return status;
            }
            if Instant::now() > deadline {
                let _ = child.kill();
                panic!("the server has not ended within {PATIENCE:?}\n{}", self.log());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether the process still runs.
    pub fn alive(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// User and system CPU time that it has used, seconds.
    pub fn cpu_seconds(&self) -> f64 {
        process::cpu_seconds(self.pid()).expect("a running server")
    }

    /// Its resident memory, bytes.
    pub fn rss_bytes(&self) -> u64 {
        process::rss_bytes(self.pid()).expect("a running server")
    }

    /// The end of what it has printed.
    pub fn log(&self) -> String {
        let log = fs::read(self.log_path()).unwrap_or_default();
        String::from_utf8_lossy(&log[log.len().saturating_sub(8192)..]).into_owned()
    }

    fn log_path(&self) -> PathBuf {
        self.dir.join("log")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if let Some((mut shell, _stdin)) = self.watchdog.take() {
            let _ = shell.kill();
            let _ = shell.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- the end of the server's log\n{}", self.log());
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A shell that kills the process that `dir/pid` names and removes `dir` once the other end of its input is gone, by whatever way this
/// process ended.
///
/// # Panics
/// Without a shell.
pub fn spawn_watchdog(dir: &Path) -> (Child, ChildStdin) {
    let script = "trap '' INT HUP; cat >/dev/null; read -r pid <\"$0/pid\" || [ -n \"$pid\" ] && kill -9 \"$pid\"; rm -rf \"$0\"";
    let mut shell = Command::new("sh");
    shell.args(["-c", script]).arg(dir).stdin(Stdio::piped()).process_group(0);
    let mut child = shell.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("sh runs");
    let stdin = child.stdin.take().expect("piped");
    (child, stdin)
}

/// A port that nobody listens at, below the range from which outgoing connections take theirs: a client that
/// reconnects while the server is down must meet nobody, itself included, and the server must get it back.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let seed = std::process::id().wrapping_mul(7919);
    for _ in 0..10_000 {
        let next = seed.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(20_000 + next % 12_000).expect("below 32,000");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between 20,000 and 32,000");
}

/// The server's binary: `VEZA_SERVER_BIN`, else the one beside this executable, brought up to date by cargo first.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os("VEZA_SERVER_BIN") {
        Some(path) => path.into(),
        None => build(),
    })
}

/// A fresh binary costs cargo a fraction of a second; testing a stale one costs the truth.
fn build() -> PathBuf {
    let mine = std::env::current_exe().expect("an executable has a path");
    let mut dir = mine.parent().expect("in a directory");
    if dir.ends_with("deps") {
        dir = dir.parent().expect("in a target directory");
    }
    let target = dir.parent().expect("in a target directory");
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--workspace", "--bin", "chat-server", "--manifest-path"]).arg(manifest);
    build.arg("--target-dir").arg(target);
    if dir.ends_with("release") {
        build.arg("--release");
    }
    let path = dir.join("chat-server");
    match build.status() {
        Ok(status) => assert!(status.success(), "cargo cannot build the server"),
        Err(error) => assert!(path.exists(), "no server at {} and no cargo: {error}", path.display()),
    }
    path
}
