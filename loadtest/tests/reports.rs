//! The commands over results of runs: what they print, write and exit with; and the search for the limit against a
//! real server whose limit is known beforehand.

use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use veza_loadtest::result::{Counts, FORMAT, Latency, RunResult, histogram};

/// A directory of one test, gone with it.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Place {
        let path = std::env::temp_dir().join(format!("veza-reports-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Place(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap()
    }

    /// A result whose acks took `us`.
    fn result(&self, name: &str, us: u64) -> String {
        let mut of = histogram();
        of.record_n(us, 10_000).unwrap();
        let counts = Counts { offered: 10_000, sent: 10_000, acknowledged: 10_000, ..Counts::default() };
        let mut run = RunResult { format: FORMAT, measured_s: 10.0, checked_events: 1, counts, ..RunResult::default() };
        run.latency.insert("ack".into(), Latency::from(&of));
        let path = self.path(name);
        fs::write(&path, serde_json::to_string(&run).unwrap()).unwrap();
        path
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The exit status, and what was printed.
fn run(args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_veza-loadtest")).args(args).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[test]
fn the_exit_status_of_a_comparison_is_its_verdict() {
    let place = Place::new("compare");
    let (a, b, none) = (place.result("a.json", 1_000), place.result("b.json", 1_500), place.path("none.json"));
    fs::write(place.path("other.json"), r#"{"format": 99}"#).unwrap();
    let cases: [(&[&str], i32, &str); 7] = [
        (&[&a, &b], 0, "×1.50"),
        (&[&a, &b, "--fail-over", "2"], 0, "×1.50"),
        (&[&a, &b, "--fail-over", "1.2"], 1, "ack.p99 has grown by more than the bound"),
        (&[&b, &a, "--fail-over", "1.2"], 0, "×0.67"),
        (&[&a, &none], 2, "none.json"),
        (&[&a, &place.path("other.json")], 2, "other.json"),
        (&[&a, &b, "--fail-over", "0"], 2, "not a ratio above 0"),
    ];
    for (args, status, part) in cases {
        let (code, text) = run(&[&["compare"], args].concat());
        assert!(code == Some(status) && text.contains(part), "{args:?}: {code:?} {text}");
    }
    let html = place.path("both.html");
    assert_eq!(run(&["compare", &a, &b, "--html", &html]).0, Some(0));
    assert!(place.text("both.html").contains("<svg"));
}

#[test]
fn a_saved_result_is_judged_and_drawn_again() {
    let place = Place::new("report");
    let a = place.result("a.json", 1_000);
    let cases = [
        ("ack.p99<2ms", 0, "ack.p99<2ms: holds"),
        ("ack.p99<500us", 1, "ack.p99<500us: DOES NOT HOLD (1,000 µs)"),
        ("ack.p95<2ms", 2, "`ack.p95` is no name; did you mean ack.p9"),
    ];
    for (assertion, status, part) in cases {
        let html = place.path(&format!("page-{status}.html"));
        let (code, text) = run(&["report", &a, "--assert", assertion, "--html", &html]);
        assert!(code == Some(status) && text.contains(part), "{assertion}: {code:?} {text}");
        let drawn = fs::read_to_string(html).is_ok_and(|page| page.contains(&assertion.replace('<', "&lt;")));
        assert_eq!(drawn, status != 2, "{assertion}");
    }
}

/// A connection may do 5 commands a second after its first 20. Two a second of each user stay below that for ever; 40
/// a second exceed it within a second, on a machine of whatever speed.
#[test]
fn the_limit_of_a_real_server_is_found_where_its_rate_limit_stands() {
    let place = Place::new("limit");
    fs::write(
        place.path("limited.toml"),
        "name = \"limited\"\nusers = 10\nrooms = 2\nwarmup = \"500ms\"\nduration = \"3s\"\n\
         [load]\nrate = 20\narrivals = \"even\"\n\
         [server]\n\"limits.commands_per_second\" = \"5\"\n\"limits.commands_burst\" = \"20\"\n",
    )
    .unwrap();
    let (scenario, json, html) = (place.path("limited.toml"), place.path("limit.json"), place.path("limit.html"));
    let search = ["find-limit", &scenario, "--objective", "errors==0", "--grow", "20", "--precision", "20"];
    let (code, text) = run(&[&search[..], &["--shards", "1,2", "--json", &json, "--html", &html]].concat());
    assert_eq!(code, Some(0), "{text}");
    let limits: Value = serde_json::from_str(&place.text("limit.json")).unwrap();
    for (sweep, shards) in limits["sweeps"].as_array().unwrap().iter().zip([1, 2]) {
        assert_eq!(sweep["shards"], shards, "{text}");
        let steps = sweep["steps"].as_array().unwrap();
        let held: Vec<_> = steps.iter().map(|step| (step["factor"].as_f64(), step["held"].as_bool())).collect();
        assert_eq!(held, [(Some(1.0), Some(true)), (Some(20.0), Some(false))], "{text}");
        assert_eq!(steps[1]["broken"], serde_json::json!(["errors==0"]), "{text}");
        let errors = steps[1]["run"]["counts"]["errors"].as_object().unwrap();
        assert!(errors.keys().eq(["RATE_LIMIT_EXCEEDED"]), "{errors:?}");
    }
    assert!(limits["usl"]["sigma"].is_number() && limits["usl"]["kappa"].is_null(), "{limits}");
    assert!(place.text("limit.html").contains("knee, 2 shards"));
}
