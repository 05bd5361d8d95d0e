//! `/capacity` as an operator reads it.

use super::*;
use crate::api::docs::capacity::MEMBERS;

const QUESTION: &str = "connections=1000&rooms=100&members_per_room=10&messages_per_s=50";

fn get(api: &Running, path: &str) -> Answer {
    api.ask(&request("GET", path, "", ""))
}

#[test]
fn the_answer_has_what_the_documents_say() {
    let api = Running::start(Status { shards_up: 1, ..UP }, settings());
    let answer = get(&api, &format!("/capacity?{QUESTION}"));
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let answer = answer.json();
    for (path, kind, _) in MEMBERS {
        let value = path.split('.').fold(&answer, |value, name| &value[name]);
        let fits = match kind {
            "number" => value.as_f64().is_some_and(|number| number.is_finite() && number >= 0.0),
            "integer" => value.is_u64(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "array" => value.is_array(),
            "object" => value.is_object(),
            "figure" => value["value"].is_number() && value["unit"].is_string() && value["origin"].is_string(),
            "room" => value["more"].is_number() && value["first"].is_string() && value["by_resource"].is_array(),
            other => panic!("{other} is no type"),
        };
        assert!(fits, "{path} is no {kind}: {value}");
    }
    let documented = |name: &String| MEMBERS.iter().any(|(path, ..)| path.split('.').next() == Some(name.as_str()));
    assert!(answer.as_object().unwrap().keys().all(documented), "{answer}");
}

#[test]
fn without_traffic_the_defaults_stand_and_say_so() {
    let api = Running::start(UP, settings());
    let answer = get(&api, "/capacity").json();
    assert!(answer["plan"].is_null());
    assert_eq!(answer["window"]["origin"], "default");
    assert!(answer["assumptions"][0].as_str().unwrap().contains("no traffic"));
    for part in answer["parts"].as_array().unwrap() {
        assert!(part["origin"] == "default" && part["cpu_us"] == part["default_us"], "{part}");
    }
    let asked = get(&api, &format!("/capacity?{QUESTION}")).json();
    assert_eq!(asked["plan"]["origin"], "default");
    assert_eq!((&asked["plan"]["deliveries_per_s"], &asked["plan"]["asked"]["rooms"]), (&500.0.into(), &100.0.into()));
}

#[test]
fn a_bad_question_is_refused_by_name() {
    let api = Running::start(UP, settings());
    for (query, field, detail) in [
        ("connections=10", "rooms", "missing"),
        ("connections=-1", "connections", "not a number"),
        ("connections=5&rooms=1&members_per_room=6&messages_per_s=1", "members_per_room", "more than there are"),
        ("nothing=1", "nothing", "unknown"),
    ] {
        let answer = get(&api, &format!("/capacity?{query}"));
        assert_eq!((answer.status, answer.header("content-type")), (400, Some("application/problem+json")), "{query}");
        let problem = answer.json();
        assert_eq!((&problem["field"], &problem["code"]), (&field.into(), &"INVALID_REQUEST".into()), "{query}");
        assert!(problem["detail"].as_str().unwrap().contains(detail), "{query}: {problem}");
    }
}

#[test]
fn the_page_is_served_and_needs_nothing_that_the_policy_forbids() {
    let api = Running::start(UP, settings());
    for (path, content_type, has) in [
        ("/capacity/page", "text/html; charset=utf-8", "/capacity/page.js"),
        ("/capacity/page.css", "text/css; charset=utf-8", "color-scheme: light dark"),
        ("/capacity/page.js", "text/javascript; charset=utf-8", "fetch("),
    ] {
        let answer = get(&api, path);
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(content_type)), "{path}");
        assert!(answer.header("content-security-policy").is_some_and(|policy| !policy.contains("unsafe")), "{path}");
        assert!(answer.body.contains(has), "{path}");
        for forbidden in ["<style", "style=\"", "onclick=", "javascript:", "https://", "innerHTML"] {
            assert!(!answer.body.contains(forbidden), "{path} has {forbidden}");
        }
    }
}

#[test]
fn an_internal_port_takes_it_away_from_the_public_one() {
    let api = Running::start(UP, Settings { internal_port: true, ..settings() });
    for path in ["/capacity", "/capacity/page", "/capacity/page.js"] {
        assert_eq!(get(&api, path).status, 404, "{path}");
    }
}
