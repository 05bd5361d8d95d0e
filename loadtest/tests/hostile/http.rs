//! Requests and bodies that are not what they should be.

use serde_json::json;
use std::net::SocketAddr;
use veza_loadtest::http;
use veza_loadtest::server::{Options, Server};
use veza_loadtest::testing::{fresh, standard};

use super::unharmed;

#[tokio::test]
async fn bodies_that_are_no_commands() {
    let server = standard();
    let token = server.token(&fresh("http"));
    let deep = "[".repeat(5000);
    let big = format!(r#"{{"x":"{}"}}"#, "x".repeat(4 << 20));
    for (path, body, statuses) in [
        ("/api/v1/get_unread", b"{".as_slice(), "400"),
        ("/api/v1/get_unread", b"[]", "400"),
        ("/api/v1/get_unread", b"\xff\xfe", "400"),
        ("/api/v1/get_unread", deep.as_bytes(), "400"),
        ("/api/v1/get_unread", big.as_bytes(), "413 400"),
        ("/api/v1/no_such_command", b"{}", "400 404"),
        ("/api/v1/", b"{}", "400 404"),
        ("/api/v1/../../etc/passwd", b"{}", "400 404"),
        ("/api/v1/auth/login", b"{", "400"),
    ] {
        let answer = http::post_bytes(server.addr(), path, Some(&token), body).await.expect("an answer");
        assert!(
            statuses.split(' ').any(|one| one == answer.status.to_string()),
            "{path}: {} {}",
            answer.status,
            answer.json()
        );
        assert!(answer.json()["code"].is_string() || answer.status == 404, "{path}: {}", answer.json());
    }
    let anonymous = http::post(server.addr(), "/api/v1/get_unread", None, &json!({})).await.expect("an answer");
    assert_eq!((anonymous.status, &anonymous.json()["code"]), (401, &json!("UNAUTHENTICATED")));
    unharmed(server).await;
}

fn upgrade(addr: SocketAddr, extra: &str) -> String {
    format!(
        "GET /ws HTTP/1.1\r\nHost: {addr}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{extra}\r\n"
    )
}

#[tokio::test]
async fn foreign_and_look_alike_origins_are_refused() {
    let server = Server::start(Options::unlimited().and(&[("server.allowed_origins", "https://app.example")]));
    let addr = server.addr();
    let own = format!("http://{addr}");
    let close = veza_loadtest::raw::frame(0x88, &1000_u16.to_be_bytes());
    for (origin, status) in [
        (own.as_str(), 101),
        ("https://app.example", 101),
        ("https://evil.example", 403),
        ("null", 403),
        (&format!("{own}.evil.example"), 403),
        (&format!("http://evil.example/{addr}"), 403),
        (&format!("http://user@{addr}"), 403),
        ("http://127.0.0.1", 403),
        ("https://app.example.evil.example", 403),
        ("https://xapp.example", 403),
        ("http://app.example", 403),
    ] {
        let mut request = upgrade(addr, &format!("Origin: {origin}\r\n")).into_bytes();
        request.extend(&close);
        let answer = http::raw(addr, &request).await.expect("an answer");
        let answer = http::Response::parse(&answer).expect("a whole answer");
        assert_eq!(answer.status, status, "{origin}");
    }
    unharmed(&server).await;
}

/// Every refused request gets an HTTP answer, and no upgrade.
#[tokio::test]
async fn bad_requests_get_an_answer() {
    let server = standard();
    let addr = server.addr();
    let host = format!("Host: {addr}\r\n");
    let good = upgrade(addr, "");
    let many: String = (0..300).map(|n| format!("X-{n}: y\r\n")).collect();
    let long = "x".repeat(70_000);
    for (what, request, statuses) in [
        ("no HTTP", "nonsense\r\n\r\n".to_owned(), "400"),
        ("TLS", "\u{16}\u{3}\u{1}\u{0}\u{a5}\r\n\r\n".to_owned(), "400"),
        ("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), "400 505"),
        ("POST to /ws", good.replace("GET", "POST").replace("\r\n\r\n", "\r\nContent-Length: 0\r\n\r\n"), "400 405"),
        ("no upgrade", format!("GET /ws HTTP/1.1\r\n{host}\r\n"), "400 426"),
        ("old version", good.replace("Version: 13", "Version: 8"), "400 426"),
        ("no key", good.replace("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""), "400"),
        ("short key", good.replace("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ="), "400"),
        ("no host", good.replace(&host, ""), "400"),
        ("two hosts", good.replace(&host, &format!("{host}Host: evil.example\r\n")), "400"),
        ("HTTP/1.0", good.replace("HTTP/1.1", "HTTP/1.0"), "400 426 505"),
        ("space before the colon", good.replace("Upgrade: websocket", "Upgrade : websocket"), "400"),
        ("folded header", good.replace("Upgrade: websocket", "X: y\r\n folded\r\nUpgrade: websocket"), "400"),
        ("control character", good.replace("Upgrade: websocket", "X: a\u{1}b\r\nUpgrade: websocket"), "400"),
        (
            "both lengths",
            format!(
                "POST /api/v1/ping HTTP/1.1\r\n{host}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            ),
            "400",
        ),
        (
            "two lengths",
            format!("POST /api/v1/ping HTTP/1.1\r\n{host}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{{}}"),
            "400",
        ),
        ("negative length", format!("POST /api/v1/ping HTTP/1.1\r\n{host}Content-Length: -2\r\n\r\n{{}}"), "400"),
        ("upgrade with a body", good.replace("\r\n\r\n", "\r\nContent-Length: 5\r\n\r\nhello"), "400"),
        ("upgrade, chunked", good.replace("\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), "400"),
        ("300 headers", good.replace("\r\n\r\n", &format!("\r\n{many}\r\n")), "400 431"),
        ("a long header", good.replace("\r\n\r\n", &format!("\r\nX: {long}\r\n\r\n")), "400 431"),
        ("a long path", format!("GET /{long} HTTP/1.1\r\n{host}\r\n"), "400 414 431"),
    ] {
        let answer = http::raw(addr, request.as_bytes()).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        let text = String::from_utf8_lossy(&answer).into_owned();
        let status = text.split(' ').nth(1).unwrap_or("(none)");
        assert!(statuses.split(' ').any(|one| one == status), "{what}: {}", &text[..text.len().min(200)]);
    }
    unharmed(server).await;
}
