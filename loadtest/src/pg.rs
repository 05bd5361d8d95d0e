//! A private PostgreSQL server for tests: own data directory, port and sockets, fsync on; it ends with its owner.
//!
//! Every method panics with the reason where it cannot do what it says: a test that needs a database and has none
//! has failed. PostgreSQL refuses to run as root, so under root it runs as the system user `postgres`.

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The longest that a start or an end may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running (or, between [`TestPg::stop`] and [`TestPg::start_again`], stopped) server of its own. Dropping it
/// ends the server and removes its files; so does the death of this process, by whatever signal.
pub struct TestPg {
    bin: PathBuf,
    dir: PathBuf,
    port: u16,
    owner: Option<(u32, u32)>,
    settings: Vec<String>,
    postmaster: Option<Child>,
    /// Its end tells the watchdog that we are gone.
    watchdog: Option<(Child, ChildStdin)>,
}

impl TestPg {
    /// A new server with an empty database `veza`.
    pub fn start() -> TestPg {
        TestPg::start_with(&[])
    }

    /// As [`TestPg::start`], with settings of `postgresql.conf` such as `commit_delay=500`.
    pub fn start_with(settings: &[&str]) -> TestPg {
        let bin = find_or_install();
        let owner = server_user();
        let dir = new_dir(owner);
        let mut server = TestPg {
            bin,
            dir,
            port: 0,
            owner,
            settings: settings.iter().map(|s| (*s).to_owned()).collect(),
            postmaster: None,
            watchdog: None,
        };
        server.watchdog = Some(server.spawn_watchdog());
        server.init_cluster();
        for attempt in 1.. {
            server.port = free_port();
            match server.launch() {
                Ok(()) => break,
                // Another process may have taken the port between our look and the server's.
                Err(reason) if attempt == 5 => panic!("PostgreSQL does not start: {reason}"),
                Err(_) => {}
            }
        }
        server.create_database("veza");
        server
    }

    /// Address of the database `veza`, as user `veza`, over TCP, without a password.
    pub fn url(&self) -> String {
        self.url_of("veza")
    }

    /// Makes one more database and answers its address: tests that do no harm can share a server.
    pub fn create_database(&self, name: &str) -> String {
        check("createdb", &self.client("createdb").arg(name).output().expect("createdb runs"));
        self.url_of(name)
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Process id of the postmaster, if the server runs.
    pub fn pid(&self) -> Option<u32> {
        self.postmaster.as_ref().map(Child::id)
    }

    /// Runs SQL in `veza` through psql; rows as lines, columns split by `|`.
    pub fn sql(&self, statement: &str) -> String {
        self.sql_in("veza", statement)
    }

    /// As [`TestPg::sql`], in another database.
    pub fn sql_in(&self, database: &str, statement: &str) -> String {
        let mut psql = self.client("psql");
        psql.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", statement]);
        let output = psql.output().expect("psql runs");
        check(statement, &output);
        String::from_utf8(output.stdout).expect("UTF-8").trim_end().to_owned()
    }

    /// Makes so many files of the write-ahead log (16 MiB each) beforehand, as a server has them that has been through
    /// a few checkpoints: a fresh one makes each when it is needed, and every commit waits for that (20 to 35 ms on
    /// the disk this was found on). Wants `min_wal_size` of that many.
    pub fn fill_log(&self, files: u32) {
        for _ in 0..files {
            self.sql("select pg_logical_emit_message(false, 'fill', ''); select pg_switch_wal()");
        }
        self.sql("checkpoint");
    }

    /// kill -9 of every process that serves a client; the server then throws out all others too and recovers.
    pub fn kill9_backends(&self) {
        let backends: Vec<u32> = self.children().into_iter().filter(|pid| serves_client(*pid)).collect();
        signal("KILL", &backends);
    }

    /// kill -9 of the whole server, as a power cut would (but for the operating system's caches).
    pub fn kill9(&mut self) {
        let mut all = vec![self.pid().expect("a running server")];
        all.extend(self.children());
        signal("KILL", &all);
        self.wait_for_end();
        // One that waits for the disk dies when the disk has answered; a new server refuses to start beside it.
        wait_for_state(&all, |state| matches!(state, None | Some('Z' | 'X')));
    }

    /// SIGSTOP for the server and all of its processes: sockets stay open, and nothing answers. Returns when all
    /// of them stand still: one that waits for the disk stops when the disk has answered.
    pub fn pause(&self) {
        let postmaster = [self.pid().expect("a running server")];
        signal("STOP", &postmaster);
        wait_for_state(&postmaster, stands_still);
        let children = self.children();
        signal("STOP", &children);
        wait_for_state(&children, stands_still);
    }

    /// Undoes [`TestPg::pause`].
    pub fn resume(&self) {
        signal("CONT", &self.children());
        signal("CONT", &[self.pid().expect("a running server")]);
    }

    /// Stops the server in an orderly way: sessions are ended, open transactions rolled back.
    pub fn stop(&mut self) {
        signal("INT", &[self.pid().expect("a running server")]);
        self.wait_for_end();
    }

    /// Stops the server at once, without a checkpoint: the next start recovers from the log.
    pub fn stop_immediate(&mut self) {
        signal("QUIT", &[self.pid().expect("a running server")]);
        self.wait_for_end();
    }

    /// Starts it again, on the same data and port, and waits until it takes connections.
    pub fn start_again(&mut self) {
        assert!(self.postmaster.is_none(), "it runs already");
        if let Err(reason) = self.launch() {
            panic!("PostgreSQL does not start again: {reason}");
        }
    }

    /// The server's log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// CPU time, user and system, that the server and its present processes have used (ended ones count where
    /// the postmaster has reaped them).
    pub fn cpu(&self) -> Duration {
        let Some(postmaster) = self.pid() else { return Duration::ZERO };
        let ticks =
            cpu_ticks(postmaster, true) + self.children().into_iter().map(|pid| cpu_ticks(pid, false)).sum::<u64>();
        // USER_HZ is 100 on every Linux.
        Duration::from_millis(ticks * 10)
    }

    fn url_of(&self, database: &str) -> String {
        format!("postgresql://veza@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// A PostgreSQL program, run as the server's user.
    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.bin.join(name));
        command.stdin(Stdio::null()).current_dir(&self.dir).env("LC_ALL", "C.UTF-8");
        if let Some((uid, gid)) = self.owner {
            command.uid(uid).gid(gid);
        }
        command
    }

    fn client(&self, name: &str) -> Command {
        let mut command = self.program(name);
        command.args(["-w", "-U", "veza", "-h"]).arg(&self.dir).args(["-p", &self.port.to_string()]);
        command
    }

    fn init_cluster(&self) {
        let mut initdb = self.program("initdb");
        // What initdb writes need not survive a power cut; what the server writes afterwards is synced.
        initdb.args(["-U", "veza", "--auth=trust", "--encoding=UTF8", "--no-sync", "-D"]).arg(self.data());
        check("initdb", &initdb.output().expect("initdb runs"));
        let mut settings = fs::OpenOptions::new().append(true).open(self.data().join("postgresql.conf")).expect("conf");
        writeln!(
            settings,
            "fsync = on\nsynchronous_commit = on\nlisten_addresses = '127.0.0.1'\nmax_connections = 100\n\
             unix_socket_directories = '{}'\nshared_buffers = 64MB\nlog_min_messages = warning",
            self.dir.display()
        )
        .expect("settings are written");
    }

    /// Starts the server and waits until it is ready; `Err` with the end of its log if it ends instead.
    fn launch(&mut self) -> Result<(), String> {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.dir.join("log")).expect("log file");
        let mut postgres = self.program("postgres");
        postgres.arg("-D").arg(self.data()).args(["-p", &self.port.to_string()]);
        for setting in &self.settings {
            postgres.args(["-c", setting]);
        }
        // Its own process group: an interrupt at the terminal is for the test, which then ends the server.
        postgres.stdout(log.try_clone().expect("log")).stderr(log).process_group(0);
        let mut child = postgres.spawn().map_err(|e| e.to_string())?;
        let deadline = Instant::now() + PATIENCE;
        while !ready(&self.data(), child.id()) {
            if let Some(status) = child.try_wait().map_err(|e| e.to_string())? {
                return Err(format!("{status}\n{}", self.log()));
            }
            if Instant::now() > deadline {
                self.postmaster = Some(child);
                self.kill9();
                return Err(format!("not ready within {PATIENCE:?}\n{}", self.log()));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.postmaster = Some(child);
        Ok(())
    }

    fn children(&self) -> Vec<u32> {
        let Some(pid) = self.pid() else { return Vec::new() };
        let listed = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        listed.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
    }

    fn wait_for_end(&mut self) {
        let mut child = self.postmaster.take().expect("a running server");
        let deadline = Instant::now() + PATIENCE;
        while child.try_wait().expect("our child").is_none() {
            assert!(Instant::now() < deadline, "PostgreSQL does not stop within {PATIENCE:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
        // A killed server leaves its pid file, and the watchdog must not signal whoever gets that pid next.
        let _ = fs::remove_file(self.data().join("postmaster.pid"));
    }

    /// A shell that waits for the end of this process, then ends the server and removes its files. It runs as
    /// we do, in its own group, and reads the server's pid from the server's own pid file.
    fn spawn_watchdog(&self) -> (Child, ChildStdin) {
        // A negative pid is initdb's, which ends by itself when its files go.
        let script = "trap '' INT HUP; cat >/dev/null; pid=; read -r pid <\"$0/data/postmaster.pid\"
                      case $pid in ''|-*) ;; *) kill -CONT \"$pid\" && kill -QUIT \"$pid\" && while kill -0 \"$pid\"; do sleep 0.1; done ;; esac
                      rm -rf \"$0\"";
        let mut shell = Command::new("sh");
        shell.args(["-c", script]).arg(&self.dir).stdin(Stdio::piped()).process_group(0);
        let mut child = shell.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("sh runs");
        let stdin = child.stdin.take().expect("piped");
        (child, stdin)
    }
}

impl Drop for TestPg {
    fn drop(&mut self) {
        if let Some(mut child) = self.postmaster.take() {
            let pid = child.id();
            self.postmaster = None;
            signal("CONT", &[pid]);
            signal("QUIT", &[pid]);
            // A failed wait leaves the rest to the watchdog.
            let _ = child.wait();
        }
        if let Some((mut child, stdin)) = self.watchdog.take() {
            drop(stdin);
            let _ = child.wait();
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Directory of the server's programs: the newest of the system's, else what apt installs.
fn find_or_install() -> PathBuf {
    if let Some(found) = find() {
        return found;
    }
    let install = Command::new("apt-get").args(["install", "-y", "--no-install-recommends", "postgresql"]).output();
    match install {
        Ok(output) if output.status.success() => find().expect("apt-get install postgresql brought no server"),
        Ok(output) => {
            panic!("no PostgreSQL here, and apt-get cannot install it: {}", String::from_utf8_lossy(&output.stderr))
        }
        Err(reason) => panic!("no PostgreSQL here, and apt-get does not run: {reason}"),
    }
}

fn find() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let debian = versions.map(|entry| entry.path()).max_by_key(|path| {
        path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse::<u32>().ok()).unwrap_or(0)
    });
    let path = std::env::var_os("PATH").unwrap_or_default();
    let debian = debian.map(|version| version.join("bin"));
    debian
        .into_iter()
        .chain(std::env::split_paths(&path))
        .find(|bin| ["postgres", "initdb", "createdb", "psql"].iter().all(|program| bin.join(program).exists()))
}

/// Under root, the uid and gid of `postgres`; else nothing: the server runs as we do.
fn server_user() -> Option<(u32, u32)> {
    let id = |args: &[&str]| {
        let output = Command::new("id").args(args).output().expect("id runs");
        check("id", &output);
        String::from_utf8_lossy(&output.stdout).trim().parse::<u32>().expect("a number")
    };
    (id(&["-u"]) == 0).then(|| (id(&["-u", "postgres"]), id(&["-g", "postgres"])))
}

fn new_dir(owner: Option<(u32, u32)>) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Short: a socket's path has at most 107 bytes.
    let name = format!("veza-pg-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let dir = std::env::temp_dir().join(name);
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir(&dir).expect("a directory in the temporary directory");
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).expect("our directory");
    if let Some((uid, gid)) = owner {
        chown(&dir, Some(uid), Some(gid)).expect("our directory");
    }
    dir
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

/// The eighth line of the server's pid file says `ready`; the first says whose it is (a killed one's may be left).
fn ready(data: &Path, pid: u32) -> bool {
    let text = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    let mut lines = text.lines().map(str::trim);
    lines.next() == Some(pid.to_string().as_str()) && lines.nth(6) == Some("ready")
}

/// Client backends show the client's address in their title: `postgres: veza veza 127.0.0.1(4711) idle`.
fn serves_client(pid: u32) -> bool {
    let title = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let title = String::from_utf8_lossy(&title);
    title.contains("127.0.0.1(") || title.contains("[local]")
}

/// The state letter of a process; `None` where there is none.
fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Stopped, or ended in the meantime.
fn stands_still(state: Option<char>) -> bool {
    matches!(state, None | Some('T' | 'Z' | 'X'))
}

/// Signals are delivered some time after they were sent: waits until every process is in such a state.
fn wait_for_state(pids: &[u32], reached: impl Fn(Option<char>) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    for &pid in pids {
        while !reached(state(pid)) {
            assert!(Instant::now() < deadline, "process {pid} is still {:?} after {PATIENCE:?}", state(pid));
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// utime + stime of a process in clock ticks, with those of its reaped children if asked.
fn cpu_ticks(pid: u32, with_children: bool) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let fields = after_name.split_whitespace().skip(11).take(if with_children { 4 } else { 2 });
    fields.filter_map(|field| field.parse::<u64>().ok()).sum()
}

/// Sends a signal by name; processes that are gone already do not matter.
fn signal(name: &str, pids: &[u32]) {
    if pids.is_empty() {
        return;
    }
    let mut shell = Command::new("sh");
    shell.args(["-c", "name=$1; shift; kill -s \"$name\" \"$@\"", "kill", name]).args(pids.iter().map(u32::to_string));
    let _ = shell.stderr(Stdio::null()).status().expect("sh runs");
}

fn check(what: &str, output: &Output) {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{what}: {}\n{out}{err}", output.status);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_kill_stop_and_pause_and_leaves_nothing_behind() {
        let mut pg = TestPg::start();
        pg.sql("create table t (n int); insert into t values (1)");
        assert_eq!(pg.sql("show fsync"), "on");
        pg.stop();
        pg.start_again();
        pg.kill9();
        pg.start_again();
        pg.stop_immediate();
        pg.start_again();
        pg.pause();
        assert_eq!(state(pg.pid().unwrap()), Some('T'));
        pg.resume();
        assert_eq!(pg.sql("select n from t"), "1");
        let (pid, dir) = (pg.pid().unwrap(), pg.dir.clone());
        drop(pg);
        assert!(!dir.exists());
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }
}
