//! The web client's files.

use super::*;
use crate::api::assets::ASSETS;

#[test]
fn every_file_is_served_once_and_then_known() {
    let api = Running::start(UP, settings());
    for (path, content_type, bytes) in ASSETS {
        let answer = api.ask(&request("GET", path, "", ""));
        assert_eq!((answer.status, answer.body.as_bytes()), (200, *bytes), "{path}");
        assert_eq!(answer.header("content-type"), Some(*content_type), "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-cache"), "{path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{path}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'self'") && !policy.contains("unsafe"), "{policy}");
        let tag = answer.header("etag").unwrap();
        for (known, status) in [(tag.to_owned(), 304), (format!("\"x\", W/{tag}"), 304), ("\"x\"".to_owned(), 200)] {
            let again = api.ask(&request("GET", path, &format!("If-None-Match: {known}\r\n"), ""));
            assert_eq!((again.status, again.body.is_empty()), (status, status == 304), "{path} {known}");
            assert_eq!(again.header("etag"), Some(tag));
        }
        let mut head = api.connect(&request("HEAD", path, "Connection: close\r\n", ""), 0);
        let mut all = String::new();
        head.read_to_string(&mut all).unwrap();
        assert!(all.starts_with("HTTP/1.1 200") && all.ends_with("\r\n\r\n"), "{all}");
    }
}

#[test]
fn pages_need_nothing_that_the_policy_forbids() {
    for (path, content_type, bytes) in ASSETS {
        let text = String::from_utf8_lossy(bytes);
        if content_type.starts_with("text/html") {
            for forbidden in ["<style", "style=\"", "onclick=", "onload=", "javascript:", "https://", "http://"] {
                assert!(!text.contains(forbidden), "{path} has {forbidden}");
            }
            for script in text.split("<script").skip(1) {
                assert!(script.split('>').next().unwrap().contains("src="), "{path} has an inline script");
            }
        }
    }
}

#[test]
fn the_documents_are_served() {
    let api = Running::start(UP, settings());
    for (path, content_type, has) in [
        ("/docs", "text/html; charset=utf-8", "send_message"),
        ("/docs/style.css", "text/css; charset=utf-8", "body"),
        ("/docs/openapi.json", "application/json", "\"openapi\":\"3.1.0\""),
        ("/docs/asyncapi.json", "application/json", "\"asyncapi\":\"3.0.0\""),
    ] {
        let answer = api.ask(&request("GET", path, "", ""));
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(content_type)), "{path}");
        assert!(answer.body.contains(has), "{path}");
    }
}
