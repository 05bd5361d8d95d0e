use super::*;

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// RFC 6455, 1.3.
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

fn policy() -> HeadPolicy {
    HeadPolicy {
        allowed_origins: vec!["https://app.example".into(), "tauri://localhost".into()],
        echo_endpoint: true,
        compression: false,
    }
}

/// A good upgrade, with lines replaced: an empty value drops the line, an unknown name adds one.
fn request(line: &str, changes: &[(&str, &str)]) -> Vec<u8> {
    let mut headers = vec![
        ("Host", "chat.example:8080"),
        ("Connection", "keep-alive, Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", KEY),
    ];
    for (name, value) in changes {
        match headers.iter_mut().find(|(known, _)| known == name) {
            Some(header) => header.1 = value,
            None => headers.push((name.trim_start_matches('+'), value)),
        }
    }
    let mut head = format!("{line}\r\n");
    for (name, value) in headers.into_iter().filter(|(_, value)| !value.is_empty()) {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    head.into_bytes()
}

fn ws(changes: &[(&str, &str)]) -> Vec<u8> {
    request("GET /ws HTTP/1.1", changes)
}

fn verdict(bytes: &[u8]) -> String {
    match parse(&policy(), bytes) {
        Head::Incomplete => "incomplete".into(),
        Head::WebSocket(upgrade) => format!("ws {}", upgrade.token.unwrap_or_else(|| "-".into())),
        Head::Echo(_) => "echo".into(),
        Head::Other => "other".into(),
        Head::Bad { status, .. } => status.to_string(),
    }
}

fn check(table: &[(Vec<u8>, &str)]) {
    for (bytes, expected) in table {
        assert_eq!(verdict(bytes), *expected, "{}", String::from_utf8_lossy(&bytes[..bytes.len().min(600)]));
    }
}

#[test]
fn the_answer_is_complete() {
    let mut bytes = ws(&[("Sec-WebSocket-Protocol", "x, veza.v1.json")]);
    let head_len = bytes.len();
    bytes.extend_from_slice(b"\x81\x80frame");
    let Head::WebSocket(upgrade) = parse(&policy(), &bytes) else { panic!("an upgrade") };
    assert_eq!(upgrade.head_len, head_len);
    assert_eq!(
        String::from_utf8(upgrade.response).unwrap(),
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {ACCEPT}\r\nSec-WebSocket-Protocol: veza.v1.json\r\n\r\n"
        )
    );
    let Head::WebSocket(upgrade) = parse(&policy(), &ws(&[("Sec-WebSocket-Protocol", "veza.v2, VEZA.V1.JSON")])) else {
        panic!("an upgrade")
    };
    assert!(!String::from_utf8(upgrade.response).unwrap().contains("Protocol:"), "none that was not offered");
}

#[test]
fn upgrades() {
    check(&[
        (ws(&[]), "ws -"),
        (request("GET /ws? HTTP/1.1", &[]), "ws -"),
        (ws(&[("Connection", "upgrade")]), "ws -"),
        (ws(&[("Connection", "keep-alive"), ("+Connection", "UPGRADE")]), "ws -"),
        (ws(&[("Upgrade", "WebSocket")]), "ws -"),
        (request("GET http://chat.example:8080/ws HTTP/1.1", &[]), "ws -"),
        (request("GET HTTP://CHAT.example:8080/ws?token=t HTTP/1.1", &[]), "ws t"),
        (request("GET http://chat.example/ws HTTP/1.1", &[("Host", "chat.example:80")]), "ws -"),
        (request("GET /echo HTTP/1.1", &[]), "echo"),
        // Tokens.
        (ws(&[("Authorization", "Bearer a.b-c")]), "ws a.b-c"),
        (ws(&[("Authorization", "bearer   t ")]), "ws t"),
        (ws(&[("Authorization", "Bearer")]), "ws "),
        (ws(&[("Authorization", "Basic eDp5")]), "ws -"),
        (request("GET /ws?token=a.b_c HTTP/1.1", &[]), "ws a.b_c"),
        (request("GET /ws?x=1&token=a%2Eb%zz+%4&token=2 HTTP/1.1", &[]), "ws a.b%zz+%4"),
        (request("GET /ws?token= HTTP/1.1", &[]), "ws "),
        (request("GET /ws?TOKEN=a&mytoken=b HTTP/1.1", &[]), "ws -"),
        (request("GET /ws?token=q HTTP/1.1", &[("Authorization", "Bearer h")]), "ws h"),
        // Somebody else's.
        (request("GET / HTTP/1.1", &[]), "other"),
        (request("GET /ws/ HTTP/1.1", &[]), "other"),
        (request("GET //ws HTTP/1.1", &[]), "other"),
        (request("GET /WS HTTP/1.1", &[]), "other"),
        (request("GET /%77s HTTP/1.1", &[]), "other"),
        (request("GET /ws/../ws HTTP/1.1", &[]), "other"),
        (request("GET /api?x=/ws HTTP/1.1", &[]), "other"),
        (request("POST /api/v1/ping HTTP/1.1", &[("Content-Length", "2")]), "other"),
        (request("OPTIONS * HTTP/1.1", &[]), "other"),
        (request("GET http://chat.example:8080 HTTP/1.1", &[]), "other"),
        (b"GET /health HTTP/1.0\r\n\r\n".to_vec(), "other"),
    ]);
    let no_echo = parse(&HeadPolicy::default(), &request("GET /echo HTTP/1.1", &[]));
    assert!(matches!(no_echo, Head::Other));
}

#[test]
fn refusals() {
    let swap = |from: &str, to: &str| String::from_utf8(ws(&[])).unwrap().replace(from, to).into_bytes();
    check(&[
        // Not an upgrade.
        (request("POST /ws HTTP/1.1", &[]), "405"),
        (request("HEAD /ws HTTP/1.1", &[]), "405"),
        (request("get /ws HTTP/1.1", &[]), "405"),
        (ws(&[("Connection", "keep-alive")]), "426"),
        (ws(&[("Connection", "upgrades")]), "426"),
        (ws(&[("Connection", "")]), "426"),
        (ws(&[("Upgrade", "")]), "426"),
        (ws(&[("Upgrade", "h2c")]), "426"),
        (ws(&[("Sec-WebSocket-Version", "")]), "426"),
        (ws(&[("Sec-WebSocket-Version", "12")]), "426"),
        (ws(&[("Sec-WebSocket-Version", "13, 8")]), "426"),
        (ws(&[("+Sec-WebSocket-Version", "13")]), "400"),
        // Keys.
        (ws(&[("Sec-WebSocket-Key", "")]), "400"),
        (ws(&[("Sec-WebSocket-Key", "c2hvcnQ=")]), "400"),
        (ws(&[("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZWU=")]), "400"),
        (ws(&[("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ")]), "400"),
        (ws(&[("Sec-WebSocket-Key", "!!!!!!!!!!!!!!!!!!!!!!==")]), "400"),
        (ws(&[("+Sec-WebSocket-Key", KEY)]), "400"),
        // Smuggling.
        (ws(&[("Content-Length", "0")]), "400"),
        (ws(&[("Content-Length", "5")]), "400"),
        (ws(&[("Transfer-Encoding", "chunked")]), "400"),
        (request("POST / HTTP/1.1", &[("Content-Length", "5"), ("Transfer-Encoding", "chunked")]), "400"),
        (ws(&[("Host", "")]), "400"),
        (ws(&[("+Host", "chat.example:8080")]), "400"),
        (request("GET / HTTP/1.1", &[("+Host", "other.example")]), "400"),
        (ws(&[("Host", "a b")]), "400"),
        (ws(&[("Host", "chat.example:http")]), "400"),
        (ws(&[("Host", "chat.example:0")]), "400"),
        (ws(&[("Host", "chat.example:65536")]), "400"),
        (ws(&[("Host", "user@chat.example")]), "400"),
        (ws(&[("Host", "[::1")]), "400"),
        (ws(&[("Host", "[x]")]), "400"),
        (ws(&[("Host", "chat.example/ws")]), "400"),
        (request("GET http://other.example/ws HTTP/1.1", &[]), "400"),
        (request("GET http://chat.example/ws HTTP/1.1", &[]), "400"),
        (request("GET http://u@chat.example:8080/ws HTTP/1.1", &[]), "400"),
        (request("GET http:///ws HTTP/1.1", &[]), "400"),
        (swap("Upgrade: websocket\r\n", "Upgrade:\r\n websocket\r\n"), "400"),
        (swap("Upgrade: websocket", "Upgrade : websocket"), "400"),
        (swap("Upgrade: websocket\r\n", "Upgrade: websocket\n"), "400"),
        (swap("\r\n", "\n"), "400"),
        (swap("Upgrade: websocket\r\n", "Upgrade: websocket\rX: y\r\n"), "400"),
        (swap("Upgrade: websocket", "Upgrade: web\0socket"), "400"),
        (ws(&[("Authorization", "Bearer a"), ("+Authorization", "Bearer b")]), "400"),
        // Versions and forms.
        (request("GET /ws HTTP/1.0", &[]), "400"),
        (request("GET /ws HTTP/2.0", &[]), "400"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), "400"),
        (request("GET /ws", &[]), "400"),
        (request("GET  /ws HTTP/1.1", &[]), "400"),
        (request("GET /w s HTTP/1.1", &[]), "400"),
        (request("G\u{e9}T /ws HTTP/1.1", &[]), "400"),
        (b"\r\n\r\n".to_vec(), "400"),
        (b"\x16\x03\x01\x02\x00\x01\n\n".to_vec(), "400"),
        (b"GET /ws HTTP/1.1\r\nno colon\r\n\r\n".to_vec(), "400"),
        (b"GET /ws HTTP/1.1\r\nHost: \xff\r\n\r\n".to_vec(), "400"),
        // Sizes.
        (ws(&[("X", &"x".repeat(HEAD_BYTES_MAX))]), "431"),
        (vec![b'a'; HEAD_BYTES_MAX + 1], "431"),
        (vec![b'a'; HEAD_BYTES_MAX], "incomplete"),
        (b"GET /ws HTTP/1.1\r\nHost: a\r\n".to_vec(), "incomplete"),
    ]);
    let many = |count: usize| ws(&vec![("+X", "y"); count]);
    check(&[(many(HEADERS_MAX - 5), "ws -"), (many(HEADERS_MAX - 4), "431")]);
}

#[test]
fn origins() {
    for (host, origin, allowed) in [
        ("chat.example:8080", "http://chat.example:8080", true),
        ("chat.example:8080", "https://chat.example:8080", true),
        ("Chat.Example:8080", "http://chat.example:8080", true),
        ("chat.example", "http://chat.example", true),
        ("chat.example", "https://chat.example", true),
        ("chat.example", "http://chat.example:80", true),
        ("chat.example:80", "http://chat.example", true),
        ("chat.example:443", "https://chat.example", true),
        ("chat.example:", "http://chat.example", true),
        ("[::1]:8080", "http://[::1]:8080", true),
        ("127.0.0.1:8080", "http://127.0.0.1:8080", true),
        ("chat.example:8080", "https://app.example", true),
        ("chat.example:8080", "tauri://localhost", true),
        ("chat.example:8080", "null", false),
        ("chat.example:8080", "https://app.example:443", false),
        ("chat.example:8080", "https://app.example/", false),
        ("chat.example:8080", "http://app.example", false),
        ("chat.example:8080", "HTTPS://app.example", false),
        ("chat.example:8080", "https://evil.example", false),
        ("chat.example:8080", "https://xapp.example", false),
        ("chat.example:8080", "https://app.example.evil.example", false),
        ("chat.example:8080", "http://chat.example", false),
        ("chat.example:8080", "http://chat.example:8081", false),
        ("chat.example", "https://chat.example:80", false),
        ("chat.example", "http://chat.example:443", false),
        ("chat.example", "http://chat.example.evil.example", false),
        ("chat.example", "http://evilchat.example", false),
        ("chat.example", "http://chat.example.", false),
        ("chat.example", "http://chat.example@evil.example", false),
        ("chat.example", "http://evil.example/chat.example", false),
        ("chat.example", "http://evil.example#chat.example", false),
        ("chat.example", "http://chat.example/", false),
        ("chat.example", "http://chat.example:080000", false),
        ("chat.example", "ftp://chat.example", false),
        ("chat.example", "//chat.example", false),
        ("chat.example", "chat.example", false),
        ("chat.example", "http://ch\u{430}t.example", false),
        ("chat.example", "http://chat.example, http://evil.example", false),
        ("localhost:8080", "http://127.0.0.1:8080", false),
    ] {
        let expected = if allowed { "ws -" } else { "403" };
        assert_eq!(verdict(&ws(&[("Host", host), ("Origin", origin)])), expected, "{host} {origin}");
    }
    check(&[
        (ws(&[("Origin", "https://app.example"), ("+Origin", "https://app.example")]), "400"),
        (String::from_utf8(ws(&[("Origin", "x")])).unwrap().replace("Origin: x", "Origin:").into_bytes(), "403"),
    ]);
}

#[test]
fn the_end_is_found_once_byte_by_byte() {
    let lf = String::from_utf8(ws(&[])).unwrap().replace("\r\n", "\n").into_bytes();
    for head in [ws(&[]), lf, b"a\n\r\n".to_vec(), b"\r\n\r\n".to_vec()] {
        let bytes = [&head[..], b"\x81\x80\n\n"].concat();
        for (arrived, _) in bytes.iter().enumerate().take(head.len()) {
            assert_eq!(head_end(&bytes[..arrived], 0), None);
            assert_eq!(head_end(&bytes[..arrived + 1], arrived.saturating_sub(3)).is_some(), arrived + 1 == head.len());
        }
        assert_eq!(head_end(&bytes, 0), Some(head.len()));
        assert_eq!(head_end(&bytes, bytes.len() + 7), None, "a position behind the end is no fault");
    }
}

#[test]
fn errors_are_problem_documents() {
    for (status, code, extra) in [
        (400, "INVALID_REQUEST", ""),
        (401, "INVALID_TOKEN", "WWW-Authenticate: Bearer error=\"invalid_token\"\r\n"),
        (403, "PERMISSION_DENIED", ""),
        (405, "INVALID_REQUEST", "Allow: GET\r\n"),
        (426, "INVALID_REQUEST", "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"),
        (503, "OVERLOADED", "Retry-After: 1\r\n"),
    ] {
        let response = String::from_utf8(error_response(status, code, "a \"reason\"")).unwrap();
        let (head, body) = response.split_once("\r\n\r\n").expect("a body");
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        assert!(format!("{head}\r\n").contains(extra), "{head}");
        assert!(head.contains("\r\nConnection: close"), "{head}");
        assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{head}");
        let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
        assert_eq!((&body["status"], &body["code"]), (&status.into(), &code.into()));
        assert_eq!((&body["detail"], &body["retryable"]), (&"a \"reason\"".into(), &(status == 503).into()));
    }
}

#[test]
fn noise_never_panics() {
    let good = ws(&[("Origin", "http://chat.example:8080"), ("Authorization", "Bearer t")]);
    let mut state = 0x5EED_u64;
    let mut random = move |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as usize % bound
    };
    for _ in 0..20_000 {
        let mut bytes = good.clone();
        for _ in 0..=random(3) {
            let at = random(bytes.len());
            match random(3) {
                0 => bytes[at] = random(256) as u8,
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, b"\r\n: %[]@\0,"[random(10)]),
            }
        }
        if let Head::WebSocket(upgrade) = parse(&policy(), &bytes) {
            assert_eq!(Some(upgrade.head_len), head_end(&bytes, 0));
        }
    }
}
