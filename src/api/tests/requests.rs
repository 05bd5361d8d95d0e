//! What each request is answered.

use super::*;

const ALICE: &str = "Authorization: Bearer alice\r\n";

#[test]
fn every_refusal_has_its_status_and_code() {
    let api = Running::start(UP, settings());
    let large = "x".repeat(BODY_BYTES_MAX + 1);
    let deep = "[".repeat(100);
    let cases: &[(&str, &str, &str, &str, u16, &str)] = &[
        ("POST", "/api/v1/ping", "", "{}", 401, "UNAUTHENTICATED"),
        ("POST", "/api/v1/ping", "Authorization: Basic YTpi\r\n", "{}", 401, "INVALID_TOKEN"),
        ("POST", "/api/v1/ping", "Authorization: Bearer a\r\nAuthorization: Bearer b\r\n", "{}", 401, "INVALID_TOKEN"),
        ("POST", "/api/v1/ping", "Authorization: Bearer bad\r\n", "{}", 401, "INVALID_TOKEN"),
        ("POST", "/api/v1/ping", "Authorization: Bearer expired\r\n", "{}", 401, "TOKEN_EXPIRED"),
        ("POST", "/api/v1/no_such", ALICE, "{}", 400, "UNKNOWN_TYPE"),
        ("POST", "/api/v1/", ALICE, "{}", 404, "NOT_FOUND"),
        ("POST", "/api/v1/ping/more", ALICE, "{}", 404, "NOT_FOUND"),
        ("POST", "/nowhere", ALICE, "{}", 404, "NOT_FOUND"),
        ("POST", "/api/v1/%ff", ALICE, "{}", 400, "UNKNOWN_TYPE"),
        ("GET", "/api/v1/ping", ALICE, "", 405, "INVALID_REQUEST"),
        ("DELETE", "/api/v1/auth/login", "", "", 405, "INVALID_REQUEST"),
        ("POST", "/health", "", "", 405, "INVALID_REQUEST"),
        ("POST", "/api/v1/authenticate", ALICE, "{\"token\":\"t\"}", 400, "INVALID_REQUEST"),
        ("POST", "/api/v1/refresh_token", ALICE, "{\"token\":\"t\"}", 400, "INVALID_REQUEST"),
        ("POST", "/api/v1/resume", ALICE, "{\"rooms\":[]}", 400, "INVALID_REQUEST"),
        ("POST", "/api/v1/subscribe", ALICE, "{\"room_id\":1}", 400, "INVALID_REQUEST"),
        ("POST", "/api/v1/unsubscribe", ALICE, "{\"room_id\":1}", 400, "INVALID_REQUEST"),
        ("POST", "/api/v1/ping", ALICE, "{", 400, "INVALID_JSON"),
        ("POST", "/api/v1/ping", ALICE, &deep, 400, "INVALID_JSON"),
        ("POST", "/api/v1/ping", ALICE, "[]", 400, "INVALID_REQUEST"),
        ("POST", "/api/v1/get_room", ALICE, "{\"room_id\":\"x\"}", 400, "INVALID_REQUEST"),
        ("POST", "/api/v1/ping", ALICE, &large, 413, "MESSAGE_TOO_LONG"),
        ("POST", "/api/v1/list_rooms", ALICE, "", 429, "RATE_LIMIT_EXCEEDED"),
        ("POST", "/api/v1/list_users", ALICE, "", 500, "INTERNAL"),
        ("POST", "/api/v1/get_user", ALICE, "{\"user_id\":1}", 503, "OVERLOADED"),
        ("POST", "/api/v1/get_unread", ALICE, "", 503, "STORE_UNAVAILABLE"),
        ("GET", "/ws", "", "", 426, "INVALID_REQUEST"),
    ];
    for (method, path, headers, body, status, code) in cases {
        let answer = api.ask(&request(method, path, headers, body));
        let case = format!("{method} {path} {headers} {}", answer.body);
        assert_eq!(answer.status, *status, "{case}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{case}");
        let problem = answer.json();
        assert_eq!(problem["code"], *code, "{case}");
        assert_eq!(problem["status"], *status, "{case}");
        assert_eq!(problem["type"], format!("/docs#{code}"), "{case}");
        assert_eq!(answer.header("www-authenticate").is_some(), *status == 401, "{case}");
        assert_eq!(answer.header("retry-after").is_some(), matches!(status, 429 | 503), "{case}");
    }
    assert_eq!(api.tickets.waiting(), 0, "every ticket is given back");
}

#[test]
fn a_problem_tells_what_the_error_tells() {
    let api = Running::start(UP, settings());
    let limited = api.ask(&request("POST", "/api/v1/list_rooms", ALICE, ""));
    assert_eq!(limited.header("retry-after"), Some("2"), "seconds, rounded up");
    assert_eq!(limited.json()["retry_after_ms"], 1200);
    assert_eq!(limited.json()["retryable"], true);
    let internal = api.ask(&request("POST", "/api/v1/list_users", ALICE, "")).json();
    assert_eq!(internal["details"]["error_id"], "0000000000000abc");
    let field = api.ask(&request("POST", "/api/v1/get_room", ALICE, "{\"room_id\":\"x\"}")).json();
    assert_eq!((&field["field"], &field["retryable"]), (&"room_id".into(), &false.into()));
}

#[test]
fn a_command_is_answered_whatever_its_content_type() {
    let api = Running::start(UP, settings());
    for headers in ["", "Content-Type: application/json\r\n", "Content-Type: text/plain\r\n"] {
        for body in ["", "{}", "{\"unknown\":1}"] {
            let answer = api.ask(&request("POST", "/api/v1/ping", &format!("{ALICE}{headers}"), body));
            assert_eq!((answer.status, answer.json()["sub"].as_str()), (200, Some("alice")), "{headers} {body}");
            assert_eq!(answer.header("content-type"), Some("application/json"));
        }
    }
    let again = api.ask(&request("POST", "/api/v1/ping", "authorization: bearer alice\r\n", "")).json();
    let first = api.ask(&request("POST", "/api/v1/ping", ALICE, "")).json();
    assert_eq!(again["shard"], first["shard"], "one user's requests go to one shard");
}

#[test]
fn accounts_get_the_address_of_the_peer() {
    let api = Running::start(UP, settings());
    for (name, what) in [("register", "Register"), ("login", "Login"), ("refresh", "Refresh")] {
        // A header that claims another address counts for nothing.
        let headers = "X-Forwarded-For: 1.2.3.4\r\n";
        let mut stream = api.connect(&request("POST", &format!("/api/v1/auth/{name}"), headers, "{}"), 0);
        let answer = Answer::read(&mut stream).json();
        assert_eq!(answer["what"], what);
        assert_eq!(answer["peer"], peer_of(&stream).ip().to_string());
    }
    let large = api.ask(&request("POST", "/api/v1/auth/login", "", &"x".repeat(BODY_BYTES_MAX + 1)));
    assert_eq!(large.status, 413);
}

#[test]
fn health_tells_what_is_missing() {
    let cases = [
        (UP, 200, "ready"),
        (Status { database_up: false, ..UP }, 503, "not_ready"),
        (Status { shards_up: 1, ..UP }, 503, "not_ready"),
        (Status { draining: true, ..UP }, 503, "draining"),
    ];
    for (status, code, word) in cases {
        let api = Running::start(status, settings());
        assert_eq!(api.ask(&request("GET", "/health/live", "", "")).status, 200);
        assert_eq!(api.ask(&request("GET", "/health/ready", "", "")).status, code, "{status:?}");
        let health = api.ask(&request("GET", "/health", "", ""));
        assert_eq!((health.status, health.json()["status"].as_str()), (code, Some(word)), "{status:?}");
        let database = if status.database_up { "up" } else { "down" };
        assert_eq!(health.json()["components"]["database"]["status"], database);
    }
}

#[test]
fn only_listed_origins_may_read_answers() {
    let api = Running::start(UP, settings());
    let cases = [("https://app.example.com", true), ("https://app.example.com.evil.org", false), ("null", false)];
    for (origin, listed) in cases {
        let headers = format!("{ALICE}Origin: {origin}\r\n");
        let answer = api.ask(&request("POST", "/api/v1/ping", &headers, ""));
        assert_eq!(answer.header("access-control-allow-origin"), listed.then_some(origin));
        assert!(answer.header("vary").is_some_and(|vary| vary.contains("origin")));
        let refused = api.ask(&request("POST", "/api/v1/list_rooms", &headers, ""));
        assert_eq!(refused.header("access-control-allow-origin"), listed.then_some(origin), "errors too");
        let headers = format!("Origin: {origin}\r\nAccess-Control-Request-Method: POST\r\n");
        let preflight = api.ask(&request("OPTIONS", "/api/v1/ping", &headers, ""));
        assert_eq!(preflight.status, if listed { 204 } else { 405 }, "{origin}");
        assert_eq!(preflight.header("access-control-allow-headers").is_some(), listed);
    }
}
