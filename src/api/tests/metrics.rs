//! `/metrics` as a scraper reads it.

use std::collections::BTreeMap;

use super::*;
use crate::api::metrics::Kind;

/// Series and their values. Panics on a line that is not of the format.
fn parse(text: &str) -> BTreeMap<String, f64> {
    let mut series = BTreeMap::new();
    let mut typed = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let name = rest.split(' ').next().unwrap();
            assert!(name.starts_with("veza_") || name.starts_with("process_"), "{line}");
            assert!(!typed.contains(&name), "{name} twice");
            typed.push(name);
        } else if !line.starts_with("# HELP ") {
            let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
            assert!(typed.last().is_some_and(|family| name.starts_with(family)), "{line} belongs to no family");
            assert!(series.insert(name.to_owned(), value.parse().unwrap()).is_none(), "{name} twice");
        }
    }
    series
}

#[test]
fn parses_and_has_what_operators_ask_for() {
    let api = Running::start(UP, settings());
    let answer = api.ask(&request("GET", "/metrics", "", ""));
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type").unwrap(), "text/plain; version=0.0.4; charset=utf-8");
    let series = parse(&answer.body);
    for (name, value) in [
        ("veza_connections{shard=\"0\"}", 7.0),
        ("veza_shard_up{shard=\"0\"}", 1.0),
        ("veza_commands_total{shard=\"0\",type=\"send_message\"}", 42.0),
        ("veza_disconnects_total{shard=\"0\",code=\"3002\"}", 0.0),
        ("veza_errors_total{shard=\"0\",code=\"OVERLOADED\"}", 0.0),
        ("veza_upgrades_total{shard=\"0\"}", 3.0),
        ("veza_pump_busy_seconds_total{shard=\"0\",phase=\"writes\"}", 1.5),
        ("veza_high_water{shard=\"0\",queue=\"journal_operations\",window=\"start\"}", 9.0),
        ("veza_ack_seconds_count{shard=\"0\"}", 3.0),
        ("veza_ack_seconds_sum{shard=\"0\"}", 70.001_001),
        ("veza_ack_seconds_bucket{shard=\"0\",le=\"0.000128\"}", 1.0),
        ("veza_ack_seconds_bucket{shard=\"0\",le=\"0.001024\"}", 2.0),
        ("veza_ack_seconds_bucket{shard=\"0\",le=\"+Inf\"}", 3.0),
        ("veza_store_up", 1.0),
        ("veza_draining", 0.0),
        ("veza_shards_up", 2.0),
    ] {
        let found = series.get(name).unwrap_or_else(|| panic!("no {name} in\n{}", answer.body));
        assert!((found - value).abs() < 1e-9, "{name} {found}");
    }
    assert!(series["process_resident_memory_bytes"] > 1e6);
    assert!(series["process_open_fds"] > 3.0);
    assert!(series.keys().any(|name| name.starts_with("veza_build_info{version=\"")));
    assert!(!series.keys().any(|name| name.contains("shard=\"1\"")), "a stuck shard is left out, the others shown");
}

#[test]
fn names_follow_the_conventions() {
    let mut known = std::collections::BTreeSet::new();
    for metric in crate::api::metrics::table::all() {
        let name = metric.name;
        assert!(known.insert(name), "{name} twice");
        assert_eq!(metric.kind == Kind::Counter, name.ends_with("_total"), "{name}");
        for other in ["_ms", "_us", "_milliseconds", "_microseconds", "_kb", "_mb", "_percent", "_count", "_sum"] {
            assert!(!name.trim_end_matches("_total").ends_with(other), "{name}: base units only, no reserved ends");
        }
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
        assert!(!metric.help.is_empty() && !metric.help.contains(['\n', '\\', '.']), "{name}: {}", metric.help);
    }
}

#[test]
fn no_request_makes_a_series() {
    let api = Running::start(UP, settings());
    let before: Vec<String> = parse(&api.ask(&request("GET", "/metrics", "", "")).body).into_keys().collect();
    for (path, headers) in [
        ("/api/v1/evil\"}1", ""),
        ("/nowhere/%0d%0aveza_evil", ""),
        ("/api/v1/ping", "Authorization: Bearer evil\r\nUser-Agent: veza_evil\r\nX-Request-Id: 1\r\n"),
    ] {
        api.ask(&request("POST", path, headers, "{\"evil\":1}"));
    }
    let after: Vec<String> = parse(&api.ask(&request("GET", "/metrics", "", "")).body).into_keys().collect();
    assert_eq!(before, after);
    assert!(before.len() < 400, "{} series with one shard", before.len());
}

#[test]
fn an_internal_port_takes_the_metrics_away_from_the_public_one() {
    let api = Running::start(UP, Settings { internal_port: true, ..settings() });
    assert_eq!(api.ask(&request("GET", "/metrics", "", "")).status, 404);
    assert_eq!(api.ask(&request("GET", "/health", "", "")).status, 200);
}
