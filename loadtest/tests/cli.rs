//! The command line of the built server: what each subcommand prints and exits with.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nix::libc;
use serde_json::Value;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use veza_loadtest::pg::TestPg;
use veza_loadtest::server::binary;

/// A working directory of one test, gone with it.
struct Place(PathBuf);

/// What a run left behind.
struct Run {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Place {
    fn new(name: &str) -> Place {
        let path = std::env::temp_dir().join(format!("veza-cli-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Place(path)
    }
    fn file(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).unwrap();
    }
    /// The server in this place, without variables of the one who tests.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(args).current_dir(&self.0);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("VEZA_")) {
            command.env_remove(name);
        }
        command
    }
    fn run(&self, args: &[&str]) -> Run {
        finish(self.command(args))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn finish(mut command: Command) -> Run {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Run { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// The claims of a token, unchecked.
fn claims(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

const SECRET: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn version_and_help() {
    let place = Place::new("version");
    let run = place.run(&["version"]);
    assert_eq!((run.code, run.out.starts_with("chat-server "), run.err.as_str()), (Some(0), true, ""));
    let help = place.run(&["--help"]);
    for word in ["check-config", "default-config", "migrate", "gentoken", "doctor", "version", "--config"] {
        assert!(help.out.contains(word), "{}", help.out);
    }
}

#[test]
fn wrong_usage_exits_with_2() {
    let place = Place::new("usage");
    for args in [
        &["serve-me"][..],
        &["--port", "80"],
        &["gentoken"],
        &["gentoken", "--sub", ""],
        &["gentoken", "--sub", "u", "--username", "a b"],
        &["gentoken", "--sub", "u", "--role", "root"],
        &["gentoken", "--sub", "u", "--ttl", "soon"],
        &["gentoken", "--sub", "u", "--ttl", "10ms"],
    ] {
        let run = place.run(args);
        assert_eq!((run.code, run.out.as_str()), (Some(2), ""), "{args:?}");
        assert!(!run.err.is_empty(), "{args:?}");
    }
}

#[test]
fn the_printed_defaults_are_a_good_configuration() {
    let place = Place::new("defaults");
    let run = place.run(&["default-config"]);
    assert_eq!((run.code, run.err.as_str()), (Some(0), ""));
    place.file("veza.toml", &run.out);
    let check = place.run(&["check-config", "--config", "veza.toml"]);
    assert_eq!((check.code, check.out.as_str(), check.err.as_str()), (Some(0), "OK\n", ""));
    assert!(!place.0.join("data").exists(), "checking makes nothing");
}

#[test]
fn check_config_tells_all_that_is_wrong_and_no_secret() {
    let place = Place::new("check");
    place.file("veza.toml", "[server]\nshard = 1\n[security]\njwt_secret = \"hunter2\"\n[limits]\nhandshakes = true\n");
    place.file(".env", "VEZA_SERVER__SHARDS=many\n");
    let run = place.run(&["--config", "veza.toml", "check-config"]);
    assert_eq!((run.code, run.out.as_str()), (Some(1), ""));
    for part in ["veza.toml:2: server.shard: unknown setting; did you mean server.shards?", "veza.toml:6:", ".env:"] {
        assert!(run.err.contains(part), "{}", run.err);
    }
    assert!(!run.err.contains("hunter2"), "{}", run.err);

    place.file("veza.toml", "[security]\njwt_secret = \"hunter2\"\n");
    place.file(".env", "");
    let run = place.run(&["--config", "veza.toml", "check-config"]);
    assert_eq!((run.code, run.out.as_str()), (Some(0), "OK\n"));
    assert!(run.err.contains("security.jwt_secret: has 7 bytes") && !run.err.contains("hunter2"), "{}", run.err);

    let absent = place.run(&["check-config", "--config", "absent.toml"]);
    assert_eq!(absent.code, Some(1));
    assert!(absent.err.contains("absent.toml"), "{}", absent.err);
}

#[test]
fn a_refused_configuration_serves_nothing_and_exits_with_78() {
    let place = Place::new("refused");
    for (toml, reason) in [
        ("[server]\nenvironment = \"production\"\n", "security.jwt_secret: is missing"),
        ("[server]\nport = 80\n", "server.port: unknown setting"),
    ] {
        place.file("veza.toml", toml);
        let run = place.run(&["--config", "veza.toml"]);
        assert_eq!((run.code, run.out.as_str()), (Some(78), ""));
        assert!(run.err.contains(reason), "{}", run.err);
    }
}

#[test]
fn gentoken_prints_a_token_of_the_configured_issuer_and_nothing_else() {
    let place = Place::new("gentoken");
    place.file(
        "veza.toml",
        &format!("[security]\njwt_secret = \"{SECRET}\"\njwt_issuer = \"app\"\njwt_audience = \"chat\"\n"),
    );
    let args = ["gentoken", "--sub", "u1", "--username", "ann", "--role", "admin", "--ttl", "1h"];
    let run = place.run(&[&args[..], &["--config", "veza.toml"]].concat());
    assert_eq!((run.code, run.err.as_str()), (Some(0), ""));
    let token = run.out.strip_suffix('\n').unwrap();
    assert!(!token.contains(char::is_whitespace));
    let claims = claims(token);
    for (name, value) in [("iss", "app"), ("aud", "chat"), ("sub", "u1"), ("username", "ann"), ("role", "admin")] {
        assert_eq!(claims[name], value, "{name}");
    }
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 3600);

    let key = jsonwebtoken::DecodingKey::from_secret(SECRET.as_bytes());
    let mut check = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::HS256);
    check.set_audience(&["chat"]);
    check.set_issuer(&["app"]);
    jsonwebtoken::decode::<Value>(token, &key, &check).unwrap();
}

#[test]
fn a_development_secret_is_generated_once_for_its_owner_alone() {
    let place = Place::new("secret");
    let first = place.run(&["gentoken", "--sub", "u1"]);
    assert_eq!((first.code, first.err.as_str()), (Some(0), ""));
    assert_eq!(claims(&first.out).get("iss"), None, "no issuer is configured");
    let path = place.0.join("data/jwt_secret");
    let secret = fs::read_to_string(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(secret.len() == 64 && secret.bytes().all(|letter| letter.is_ascii_hexdigit()));
    place.run(&["gentoken", "--sub", "u1"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), secret);
}

#[test]
fn migrate_makes_the_schema_once() {
    let place = Place::new("migrate");
    let first = place.run(&["migrate"]);
    assert_eq!((first.code, first.err.as_str()), (Some(0), ""), "{}", first.out);
    assert!(first.out.starts_with("applied "), "{}", first.out);
    for (path, mode) in [("data", 0o700), ("data/veza.db", 0o600)] {
        assert_eq!(fs::metadata(place.0.join(path)).unwrap().permissions().mode() & 0o777, mode, "{path}");
    }
    let again = place.run(&["migrate"]);
    assert_eq!((again.code, again.out.as_str()), (Some(0), "sqlite://./data/veza.db: up to date\n"));
}

#[test]
fn doctor_looks_at_everything() {
    let place = Place::new("doctor");
    let run = place.run(&["doctor"]);
    for name in [
        "kernel: ",
        "cores: ",
        "open files: ",
        "locked memory: ",
        "io_uring: ",
        "data directory: ",
        "database reachable: ",
    ] {
        assert!(run.out.contains(name), "{name}: {}{}", run.out, run.err);
    }
    assert_eq!(run.code, Some(0), "{}", run.out);
}

#[test]
fn doctor_names_an_absent_database_without_its_password() {
    let place = Place::new("absent");
    let mut command = place.command(&["doctor"]);
    // Nothing listens on the port of the discard service.
    command.env("VEZA_DATABASE__URL", "postgresql://user:hunter2@127.0.0.1:9/veza");
    let run = finish(command);
    assert_eq!(run.code, Some(1), "{}", run.out);
    assert!(run.out.contains("BROKEN database: postgresql://user:***@127.0.0.1:9/veza"), "{}", run.out);
    assert!(!run.out.contains("hunter2") && !run.err.contains("hunter2"), "{}{}", run.out, run.err);
}

#[test]
fn doctor_and_migrate_know_postgresql() {
    let (place, postgres) = (Place::new("postgres"), TestPg::start());
    let run = |args: &[&str]| {
        let mut command = place.command(args);
        command.env("VEZA_DATABASE__URL", postgres.url());
        finish(command)
    };
    let first = run(&["migrate"]);
    assert_eq!((first.code, first.err.as_str()), (Some(0), ""), "{}", first.out);
    assert!(first.out.starts_with("applied "), "{}", first.out);
    let again = run(&["migrate"]);
    assert_eq!(again.code, Some(0));
    assert!(again.out.ends_with(": up to date\n"), "{}", again.out);

    let good = run(&["doctor"]);
    assert_eq!(good.code, Some(0), "{}", good.out);
    for line in ["ok     fsync: on", "ok     synchronous_commit: on"] {
        assert!(good.out.contains(line), "{}", good.out);
    }
    postgres.sql("ALTER DATABASE veza SET synchronous_commit = off");
    let bad = run(&["doctor"]);
    assert_eq!(bad.code, Some(1), "{}", bad.out);
    assert!(bad.out.contains("BROKEN synchronous_commit: off\n       -> set synchronous_commit = on"), "{}", bad.out);
}

/// Makes the process one for which io_uring is forbidden, as container runtimes do.
fn forbid_io_uring() -> io::Result<()> {
    const LOAD_WORD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const JUMP_IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, jt, k| libc::sock_filter { code, jt, jf: 0, k };
    let mut filter = [
        // The number of the system call is the first word.
        step(LOAD_WORD, 0, 0),
        step(JUMP_IF_EQUAL, 1, libc::SYS_io_uring_setup as u32),
        step(RETURN, 0, libc::SECCOMP_RET_ALLOW),
        step(RETURN, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: both calls take plain numbers but for `program`, which lives through the second.
    let done = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program) == 0
    };
    if done { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Lowers the limit of locked memory.
fn lower_memlock() -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: 65_536, rlim_max: 65_536 };
    // SAFETY: `limit` lives through the call.
    if unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &limit) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[test]
fn where_io_uring_is_refused_one_line_says_how_to_allow_it() {
    let place = Place::new("seccomp");
    type Prepare = fn() -> io::Result<()>;
    let cases: [(Prepare, &str); 2] =
        [(forbid_io_uring, "seccomp"), (lower_memlock, "the limit of locked memory is 65536")];
    for (prepare, reason) in cases {
        let mut command = place.command(&[]);
        // SAFETY: `prepare` makes system calls alone; it neither allocates nor takes locks.
        unsafe { command.pre_exec(prepare) };
        let run = finish(command);
        assert_eq!((run.code, run.out.as_str()), (Some(78), ""), "{}", run.err);
        assert_eq!(run.err.lines().count(), 1, "{}", run.err);
        assert!(run.err.contains("allow") || run.err.contains("raise"), "{}", run.err);
        assert!(run.err.contains(reason), "{}", run.err);
    }
    let mut command = place.command(&["doctor"]);
    // SAFETY: as above.
    unsafe { command.pre_exec(forbid_io_uring) };
    let run = finish(command);
    assert_eq!(run.code, Some(1));
    assert!(run.out.contains("BROKEN io_uring: refused"), "{}", run.out);
}
