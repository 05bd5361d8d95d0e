//! `/metrics` as operators use it: scraped by a real Prometheus under load, asked by every expression of the dashboard and of
//! the alerts, explained by a page, and not to be blown up by hostile input.

mod prometheus;

use prometheus::{Prometheus, config, promtool};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::ops::ControlFlow;
use veza_loadtest::client::Client;
use veza_loadtest::fault::Store;
use veza_loadtest::http;
use veza_loadtest::load::{Own, Scenario, run};
use veza_loadtest::server::{Options, Server};

fn metrics(addr: SocketAddr) -> String {
    let response = http::get_blocking(addr, "/metrics").expect("an answer");
    String::from_utf8(response.body).expect("UTF-8")
}

/// Series and their values.
fn series(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.rsplit_once(' ').expect("a name and a value"))
        .map(|(name, value)| (name.to_owned(), value.parse().expect("a number")))
        .collect()
}

/// Names that `/metrics` announces.
fn families(text: &str) -> BTreeSet<String> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types.map(|rest| rest.split(' ').next().expect("a name").to_owned()).collect()
}

/// A mixed load of a few seconds.
fn load(own: &Own, scenario: &Scenario) {
    let result = run(scenario, &own.target, &mut |_| ControlFlow::Continue(())).expect("a run");
    assert!(result.passed(), "{:?}", result.violations);
}

fn mixed(duration: &str) -> Scenario {
    let mut scenario = Scenario::find("mixed").expect("it is there");
    let duration = format!("duration={duration}");
    for field in ["warmup=300ms", &duration, "users=40", "rooms=8", "load.rate=150", "cut.after=500ms"] {
        scenario.set(field).expect(field);
    }
    scenario
}

#[test]
fn the_rules_are_right() {
    let (rules, tests) = (config("prometheus/veza.rules.yml"), config("prometheus/veza.rules.test.yml"));
    promtool(&["check", "rules", rules.to_str().expect("UTF-8")], "");
    promtool(&["check", "config", config("prometheus/prometheus.yml").to_str().expect("UTF-8")], "");
    promtool(&["test", "rules", tests.to_str().expect("UTF-8")], "");
    let tested = std::fs::read_to_string(tests).expect("the tests");
    for (alert, _) in rules_of("alert") {
        for case in [format!("name: {alert} fires"), format!("name: {alert} is quiet")] {
            assert!(tested.contains(&case), "no case `{case}`");
        }
    }
}

/// Names and expressions of the alerts, or of the recording rules.
fn rules_of(kind: &str) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(config("prometheus/veza.rules.yml")).expect("the rules");
    let head = format!("- {kind}: ");
    let mut lines = text.lines().map(str::trim).peekable();
    let mut rules = Vec::new();
    while let Some(line) = lines.next() {
        let Some(name) = line.strip_prefix(&head) else { continue };
        let expression = lines.next().and_then(|line| line.strip_prefix("expr: ")).expect("expr follows the name");
        let mut expression = expression.trim_start_matches(">-").to_owned();
        while lines.peek().is_some_and(|next| expression.is_empty() || next.starts_with('/')) {
            expression.push_str(lines.next().expect("peeked"));
        }
        rules.push((name.to_owned(), expression));
    }
    assert!(rules.len() > 3, "{rules:?}");
    rules
}

/// Where in the dashboard, and the expression with Grafana's variables filled in.
fn panels() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(config("grafana/veza.json")).expect("the dashboard");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let fill = |expression: &Value| {
        let text = expression.as_str().expect("an expression");
        text.replace("$__rate_interval", "20s").replace("$instance", ".*")
    };
    let mut all = Vec::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let at = format!("{} / {}", panel["title"], target["legendFormat"]);
            all.push((at, fill(&target["expr"])));
        }
    }
    assert!(all.len() > 50);
    all
}

/// What an alert compares.
fn left_side(expression: &str) -> &str {
    let at = [" > ", " == ", " < "].iter().filter_map(|operator| expression.rfind(operator)).max();
    &expression[..at.unwrap_or_else(|| panic!("{expression} compares nothing"))]
}

#[test]
fn every_expression_has_data() {
    let scenario = mixed("8s");
    let own = Own::start(Store::Sqlite, &scenario, Some(2));
    let prometheus = Prometheus::start(own.target.metrics_addr);
    load(&own, &scenario);
    prometheus.wait_for("count_over_time(up{job=\"veza\"}[1m]) > 8");
    prometheus.wait_for("veza:queue_fill:ratio");
    let records = rules_of("record").into_iter().map(|(name, _)| (name.clone(), name));
    let alerts = rules_of("alert").into_iter().map(|(name, expression)| (name, left_side(&expression).to_owned()));
    let mut wrong = Vec::new();
    for (at, expression) in panels().into_iter().chain(records).chain(alerts) {
        let number = |one: &Value| one["value"][1].as_str().and_then(|value| value.parse::<f64>().ok());
        match prometheus.query(&expression) {
            Err(error) => wrong.push(format!("{at}: {expression}: {error}")),
            Ok(found) if !found.iter().filter_map(number).any(f64::is_finite) => {
                wrong.push(format!("{at}: {expression}: no number in {found:?}"));
            }
            Ok(_) => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // What the load cost is in the counters that capacity is planned by.
    for (expression, least) in [
        ("sum(veza_deliveries_total)", 100.0),
        ("sum(veza_frames_written_total) / sum(veza_writes_total)", 0.5),
        ("sum(veza_pump_busy_seconds_total{phase=\"writes\"})", 0.001),
        ("sum(veza_pump_cpu_seconds_total)", 0.01),
        ("sum(veza_turn_seconds_count)", 100.0),
        ("sum(veza_system_calls_total{call=\"read\"})", 100.0),
        ("sum(veza_joins_total) + sum(veza_resumed_rooms_total)", 10.0),
        ("min(veza_store_connections)", 1.0),
    ] {
        let found = prometheus.query(&format!("{expression} >= {least}")).expect(expression);
        assert!(!found.is_empty(), "{expression} is {:?}", prometheus.query(expression));
    }
}

#[test]
fn what_is_served_is_what_is_explained() {
    let server = Server::start(Options::unlimited());
    let text = metrics(server.addr());
    promtool(&["check", "metrics"], &text);
    let page = http::get_blocking(server.addr(), "/docs/metrics").expect("an answer");
    let page = String::from_utf8(page.body).expect("UTF-8");
    let explained: BTreeSet<String> =
        page.split("<tr><td><code>").skip(1).map(|row| row.split('<').next().expect("a name").to_owned()).collect();
    assert_eq!(explained, families(&text));
    let names = series(&text);
    for family in explained {
        let has =
            |series: &String| series.strip_prefix(&family).is_some_and(|rest| !rest.starts_with(char::is_alphabetic));
        assert!(names.keys().any(has), "{family} has no series");
    }
}

/// Ids, header injection, odd agents, unknown commands and paths: none makes a series.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn hostile_input_makes_no_series() {
    let server = Server::start(Options::unlimited());
    let scrape = || tokio::task::block_in_place(|| series(&metrics(server.addr())).into_keys().collect::<Vec<_>>());
    let before = scrape();
    // One who is let in or not: neither may show.
    let _ = Client::connect(server.addr(), &server.token("evil\"}\nveza_evil 1")).await;
    let mut client = Client::connect(server.addr(), &server.token("evil")).await.expect("in");
    for (command, data) in [
        ("veza_evil\r\n# TYPE x", json!({})),
        ("join_room", json!({"room_id": 987_654_321_u64})),
        ("send_message", json!({"room_id": "evil\"} 1", "content": "{evil=\"1\"}"})),
        ("create_room", json!({"name": "evil\u{2028}room\"}"})),
    ] {
        let _ = client.call(command, data).await;
    }
    client.send_text("{\"type\":\"\\u0000\\n\"".into()).await.expect("sent");
    for request in [
        "GET /metrics?evil=1%0d%0aveza_evil HTTP/1.1\r\nHost: evil\"}\r\nUser-Agent: veza_evil{a=\"b\"} 1\r\nConnection: close\r\n\r\n",
        "POST /api/v1/veza_evil%22%7D HTTP/1.1\r\nHost: x\r\nX-Request-Id: evil\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
        "EVIL\tveza_evil\r\n\r\n",
        "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nOrigin: http://evil\r\n evil: folded\r\n\r\n",
    ] {
        let _ = http::raw(server.addr(), request.as_bytes()).await;
    }
    let after = scrape();
    assert_eq!(before, after);
    assert!(before.len() < 1500, "{} series", before.len());
}

/// The data of the reply; a machine that is too slow for the store's patience gets another try.
async fn surely(client: &mut Client, command: &str, data: Value) -> Value {
    for _ in 0..20 {
        match client.call(command, data.clone()).await {
            Ok(reply) => return reply.data,
            Err(error) => println!("{command}: {error:?}"),
        }
    }
    panic!("{command} was refused again and again");
}

/// What is known by kind explains most of what idle clients in rooms cost the process.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn memory_by_kind_is_of_the_order_of_what_the_process_takes() {
    const CLIENTS: usize = 300;
    const ROOMS: u64 = 20;
    // Nobody answers pings here.
    let server = Server::start(Options::unlimited().and(&[("server.heartbeat_interval", "5m")]));
    let look = || {
        tokio::task::block_in_place(|| {
            let of = series(&metrics(server.addr()));
            let sum = |kind: &str| {
                let kind = format!("kind=\"{kind}");
                of.iter()
                    .filter(|(name, _)| name.starts_with("veza_memory_bytes") && name.contains(&kind))
                    .map(|(_, bytes)| bytes)
                    .sum::<f64>()
            };
            let kinds = ["sessions", "users", "rooms", "rings", "identities", "sockets", ""].map(sum);
            let process = of.iter().filter(|(name, _)| name.starts_with("veza_process_memory_bytes"));
            let resident = of["process_resident_memory_bytes"];
            assert_eq!(process.map(|(_, bytes)| bytes).sum::<f64>(), resident, "kinds of the process are all of it");
            (kinds, resident)
        })
    };
    let mut owner = Client::connect(server.addr(), &server.token("owner")).await.expect("in");
    let mut rooms = Vec::new();
    for _ in 0..ROOMS {
        let room = surely(&mut owner, "create_room", json!({"name": "a room"})).await["room"]["room_id"].clone();
        for _ in 0..50 {
            let message = json!({"room_id": room, "content": "x".repeat(1000)});
            surely(&mut owner, "send_message", message).await;
        }
        rooms.push(room);
    }
    let before = look();
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let mut client = Client::connect(server.addr(), &server.token(&format!("user-{number}"))).await.expect("in");
        let room = &rooms[number % rooms.len()];
        surely(&mut client, "join_room", json!({"room_id": room})).await;
        clients.push(client);
    }
    let after = look();
    println!("by kind before {:?}, after {:?}; resident {} -> {}", before.0, after.0, before.1, after.1);
    let [sessions, users, _, _, _, sockets, _] = std::array::from_fn(|kind| after.0[kind] - before.0[kind]);
    for (what, bytes) in [("sessions", sessions), ("users", users), ("sockets", sockets)] {
        let each = bytes / CLIENTS as f64;
        assert!((50.0..6000.0).contains(&each), "{what}: {each} bytes each");
    }
    let rings = after.0[3];
    assert!((1e6..4e6).contains(&rings), "1,000 events of 1,000 bytes take {rings}");
    let all = after.0[6];
    assert!(all > 1.5e6 && all < after.1, "{all} bytes are known of {} resident", after.1);
}
