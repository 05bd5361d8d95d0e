//! A real Prometheus that scrapes a server, with the rules of `config/`.

use serde_json::Value;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};
use veza_loadtest::http;
use veza_loadtest::server::{free_port, spawn_watchdog};

const PATIENCE: Duration = Duration::from_secs(60);

/// A folder of `config/`.
pub fn config(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../config").join(path).canonicalize().expect(path)
}

/// Its output; panics if it ends with anything but 0.
pub fn promtool(args: &[&str], input: &str) -> String {
    let mut command = Command::new("promtool");
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| {
        panic!("promtool cannot be run ({error}): install Debian's package `prometheus` (.ci/tools prometheus)")
    });
    std::io::Write::write_all(&mut child.stdin.take().expect("piped"), input.as_bytes()).expect("promtool reads");
    let output = child.wait_with_output().expect("promtool ends");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "promtool {args:?}: {said}");
    said
}

/// It and its data live as long as this.
pub struct Prometheus {
    addr: SocketAddr,
    child: Child,
    _watchdog: (Child, ChildStdin),
}

impl Prometheus {
    /// Scrapes `target` twice a second.
    pub fn start(target: SocketAddr) -> Prometheus {
        let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let dir = std::env::temp_dir().join(format!("veza-prometheus-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir(&dir).expect("a directory in the temporary directory");
        let example = std::fs::read_to_string(config("prometheus/prometheus.yml")).expect("the example");
        let own = example
            .replace("15s", "500ms")
            .replace("veza.rules.yml", config("prometheus/veza.rules.yml").to_str().expect("UTF-8"))
            .replace("127.0.0.1:8080", &target.to_string());
        std::fs::write(dir.join("prometheus.yml"), own).expect("written");
        let watchdog = spawn_watchdog(&dir);
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", dir.join("prometheus.yml").display()));
        command.arg(format!("--storage.tsdb.path={}", dir.join("data").display()));
        command.arg(format!("--web.listen-address={addr}")).arg("--log.level=error");
        let child = command.stdin(Stdio::null()).spawn().expect("Debian's package `prometheus` (.ci/tools prometheus)");
        std::fs::write(dir.join("pid"), format!("{}\n", child.id())).expect("written");
        Prometheus { addr, child, _watchdog: watchdog }
    }

    /// The series that an expression gives now, or what is wrong with it.
    pub fn query(&self, expression: &str) -> Result<Vec<Value>, String> {
        let path = format!("/api/v1/query?query={}", percent(expression));
        let response = http::get_blocking(self.addr, &path).map_err(|error| error.to_string())?;
        let answer: Value = serde_json::from_slice(&response.body).map_err(|error| error.to_string())?;
        match (answer["status"].as_str(), answer["data"]["result"].as_array()) {
            (Some("success"), Some(series)) => Ok(series.clone()),
            _ => Err(answer["error"].to_string()),
        }
    }

    /// Waits until an expression gives something.
    pub fn wait_for(&self, expression: &str) {
        let begun = Instant::now();
        while !self.query(expression).is_ok_and(|series| !series.is_empty()) {
            assert!(begun.elapsed() < PATIENCE, "{expression} gives nothing: {:?}", self.query(expression));
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn percent(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
