//! What bad input gets: a clear error, and a server that is unharmed afterwards.

use serde_json::{Value, json};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use veza_loadtest::client::{Client, PATIENCE, upgrade_request};
use veza_loadtest::http;
use veza_loadtest::raw::{FIN, Raw, opcode};
use veza_loadtest::server::{Options, Server};
use veza_loadtest::testing::{fresh, number, room, room_of, standard, user};

/// Two users talk: what every attack must leave as it was.
async fn unharmed(server: &Server) {
    let (mut one, mut two) = (user(server).await, user(server).await);
    let room = room_of(&mut [&mut one, &mut two]).await;
    assert_eq!(one.say(room, "still here").await, 1);
    assert_eq!(two.hear().await, (1, "still here".to_owned()));
}

#[tokio::test]
async fn frames_that_are_no_commands() {
    let server = standard();
    let mut me = user(server).await;
    let room = room(&mut me).await;
    let deep =
        |depth: usize| format!(r#"{{"type":"ping","id":1,"data":{{"x":{}{}}}}}"#, "[".repeat(depth), "]".repeat(depth));
    let send =
        |content: &str| format!(r#"{{"type":"send_message","id":1,"data":{{"room_id":{room},"content":{content}}}}}"#);
    let meta = |metadata: &str| {
        format!(r#"{{"type":"send_message","id":1,"data":{{"room_id":{room},"content":"a","metadata":{metadata}}}}}"#)
    };
    let cases = [
        ("", "INVALID_JSON"),
        ("{", "INVALID_JSON"),
        ("null", "INVALID_JSON"),
        ("[]", "INVALID_JSON"),
        (r#""text""#, "INVALID_JSON"),
        (r#"{"type":"ping"}x"#, "INVALID_JSON"),
        (r#"{"type":"ping",}"#, "INVALID_JSON"),
        (r#"{'type':'ping'}"#, "INVALID_JSON"),
        (r#"{"type":"ping","data":{"x":NaN}}"#, "INVALID_JSON"),
        ("{\"type\":\"ping\",\"data\":{\"x\":\"\u{1}\"}}", "INVALID_JSON"),
        (r#"{"type":"ping","data":{"x":"\ud800"}}"#, "INVALID_JSON INVALID_REQUEST"),
        (&deep(40), "INVALID_JSON INVALID_REQUEST"),
        (&deep(20_000), "INVALID_JSON INVALID_REQUEST"),
        (r#"{"id":1,"data":{}}"#, "INVALID_REQUEST"),
        (r#"{"type":7,"id":1,"data":{}}"#, "INVALID_REQUEST"),
        (r#"{"type":"ping","id":1,"data":[]}"#, "INVALID_REQUEST"),
        (r#"{"type":"ping","id":1,"data":"x"}"#, "INVALID_REQUEST"),
        (r#"{"type":"PING","id":1}"#, "UNKNOWN_TYPE"),
        (r#"{"type":"","id":1}"#, "UNKNOWN_TYPE"),
        (r#"{"type":"get_room","id":1,"data":{"room_id":1e999}}"#, "INVALID_REQUEST INVALID_JSON"),
        (r#"{"type":"get_room","id":1,"data":{"room_id":18446744073709551616}}"#, "INVALID_REQUEST"),
        (r#"{"type":"get_room","id":1,"data":{"room_id":9007199254740992}}"#, "INVALID_REQUEST"),
        (r#"{"type":"get_room","id":1,"data":{"room_id":0}}"#, "INVALID_REQUEST ROOM_NOT_FOUND"),
        (&send(r#""\u0000""#), "INVALID_REQUEST"),
        (&send(r#""a\u0000b""#), "INVALID_REQUEST"),
        (&send(r#""\u001b[31m""#), "INVALID_REQUEST"),
        (&send(r#""\u007f""#), "INVALID_REQUEST"),
        (&send("7"), "INVALID_REQUEST"),
        (&meta(r#"{"x":"\u0000"}"#), "INVALID_REQUEST"),
        (&meta(r#"{"\u0000":1}"#), "INVALID_REQUEST"),
        (&meta("7"), "INVALID_REQUEST"),
    ];
    for (number, (text, codes)) in cases.into_iter().enumerate() {
        // Ten malformed frames a minute are let pass: a connection for each is enough.
        let mut client = user(server).await;
        client.ok("join_room", json!({"room_id": room})).await;
        client.pushes_so_far().await.expect("alive");
        client.send_text(text.to_owned()).await.expect("sent");
        let answer = client.text().await.expect("an answer");
        let answer = veza_loadtest::frame::Frame::parse(&answer).expect("an envelope");
        let code = answer.data["code"].as_str().unwrap_or("(none)");
        let shown: String = text.chars().take(80).collect();
        assert!(
            answer.kind == "error" && codes.split(' ').any(|one| one == code),
            "case {number}, {shown}: {answer:?}"
        );
        client.still_fine().await;
    }
    assert_eq!(number(&me.ok("get_history", json!({"room_id": room})).await, "seq"), 0, "nothing got through");
    unharmed(server).await;
}

/// Poison beside innocents: what is refused is refused alone.
#[tokio::test]
async fn a_poisonous_command_is_refused_alone() {
    let mut me = user(standard()).await;
    let room = room(&mut me).await;
    let mut expected = Vec::new();
    for n in 0..60 {
        let poison = n % 3 == 0;
        let content = if poison { "a\u{0}b" } else { "good" };
        let id = me.send("send_message", json!({"room_id": room, "content": content})).await.expect("sent");
        expected.push((id, if poison { "error" } else { "message_sent" }));
    }
    for (id, kind) in expected {
        let reply = me.any_reply().await.expect("a reply");
        assert_eq!((reply.id, reply.kind.as_str()), (Some(json!(id)), kind));
    }
    assert_eq!(number(&me.ok("get_history", json!({"room_id": room})).await, "seq"), 40);
}

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
    let server = Server::start(Options::unlimited().and(&[("server.allowed_origins", r#"["https://app.example"]"#)]));
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

/// Ten thousand commands in one write: each is answered, in order, and others are served meanwhile.
#[tokio::test]
async fn ten_thousand_commands_in_one_burst() {
    let server = Server::start(Options::default());
    let mut burst = Vec::new();
    for id in 0..10_000 {
        let text = format!(r#"{{"type":"get_unread","id":{id},"data":{{}}}}"#);
        burst.extend(veza_loadtest::raw::frame(FIN | opcode::TEXT, text.as_bytes()));
    }
    let raw = Raw::connect(server.addr(), Some(&server.token("burst")), None).await.expect("in");
    let (read, mut write) = raw.stream.into_split();
    let writing = tokio::spawn(async move {
        // The connection is closed for rate limit abuse before all is written.
        let _ = write.write_all(&burst).await;
        write
    });
    unharmed(&server).await;
    let mut answers = tokio::io::BufReader::new(read);
    let mut bytes = Vec::new();
    let _ = timeout(PATIENCE, answers.read_to_end(&mut bytes)).await.expect("an end");
    writing.await.expect("no panic");
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.matches(r#""type":"unread""#).count() >= 100, "the burst that is allowed");
    let refused = text.matches("RATE_LIMIT_EXCEEDED").count();
    assert!((1000..=1001).contains(&refused), "{refused}");
    assert!(bytes.windows(2).any(|two| two == 3004_u16.to_be_bytes()), "closed with 3004");
    unharmed(&server).await;
}

/// Without limits of rate, ten thousand commands are ten thousand answers in order.
#[tokio::test]
async fn ten_thousand_commands_are_all_answered() {
    let server = standard();
    let mut me = user(server).await;
    let room = room(&mut me).await;
    let mut raw = Raw::connect(server.addr(), Some(&server.token(&fresh("flood"))), None).await.expect("in");
    let join = format!(r#"{{"type":"join_room","id":"join","data":{{"room_id":{room}}}}}"#);
    raw.send(FIN | opcode::TEXT, join.as_bytes()).await.expect("sent");
    let (read, mut write) = raw.stream.into_split();
    let writing = tokio::spawn(async move {
        for id in 0..10_000 {
            let text = format!(r#"{{"type":"send_message","id":{id},"data":{{"room_id":{room},"content":"x"}}}}"#);
            let frame = veza_loadtest::raw::frame(FIN | opcode::TEXT, text.as_bytes());
            write.write_all(&frame).await.expect("the server reads on");
        }
        write
    });
    let mut bytes = Vec::new();
    let mut read = tokio::io::BufReader::new(read);
    let mut buffer = [0; 16 << 10];
    while !String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(40_000)..]).contains(r#","id":9999,"#) {
        let count = timeout(PATIENCE, read.read(&mut buffer)).await.expect("more").expect("alive");
        assert!(count > 0, "the server has closed");
        bytes.extend_from_slice(&buffer[..count]);
    }
    let write = writing.await.expect("no panic");
    let text = String::from_utf8_lossy(&bytes);
    let ids: Vec<u64> = text
        .match_indices(r#"{"type":""#)
        .filter_map(|(at, _)| veza_loadtest::frame::reply_id_of(&text[at..]))
        .collect();
    assert!(ids.iter().copied().eq(0..10_000), "{} answers", ids.len());
    drop(write);
    unharmed(server).await;
}

/// Pings without end and fragments without end: bounded, and others are served.
#[tokio::test]
async fn floods_of_pings_and_empty_fragments() {
    let server = standard();
    let before = server.rss_bytes();
    let ping = veza_loadtest::raw::frame(FIN | opcode::PING, &[b'x'; 125]);
    let fragment = veza_loadtest::raw::frame(opcode::CONTINUATION, b"");
    for (start, flood) in [(None, ping), (Some(opcode::TEXT), fragment)] {
        let mut raw = Raw::connect(server.addr(), Some(&server.token(&fresh("flood"))), Some(4096)).await.expect("in");
        if let Some(first) = start {
            raw.send(first, b"{").await.expect("sent");
        }
        let chunk = flood.repeat(2000);
        let mut stuck = false;
        for _ in 0..100 {
            // It never reads: the server may stop reading too, or end it.
            match timeout(Duration::from_millis(300), raw.stream.write_all(&chunk)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => {
                    stuck = true;
                    break;
                }
            }
        }
        unharmed(server).await;
        assert!(stuck || start.is_some(), "200,000 unread pongs cannot all be kept or sent");
    }
    let growth = server.rss_bytes().saturating_sub(before);
    assert!(growth < 32 << 20, "memory grew by {growth}");
}

/// Half a request line, a header without end, nothing at all: cut off, while others come and go.
#[tokio::test]
async fn slow_and_silent_handshakes_are_cut_off() {
    let server = standard();
    let addr = server.addr();
    let mut waiting = Vec::new();
    for start in ["", "GET /ws", "GET /ws HTTP/1.1\r\nHost: x\r\n", "GET / HTTP/1.1\r\nX: "] {
        let mut stream = TcpStream::connect(addr).await.expect("connected");
        stream.write_all(start.as_bytes()).await.expect("sent");
        waiting.push((start, stream));
    }
    // One that trickles: each byte is progress, and yet it must not hold the place for ever.
    let trickle = tokio::spawn(async move {
        let mut stream = TcpStream::connect(addr).await.expect("connected");
        let mut ticks = tokio::time::interval(Duration::from_millis(200));
        for byte in b"GET /ws HTTP/1.1\r\nX: ".iter().chain(&[b'x'; 10_000]) {
            ticks.tick().await;
            if stream.write_all(&[*byte]).await.is_err() {
                return true;
            }
        }
        false
    });
    unharmed(server).await;
    for (start, mut stream) in waiting {
        let mut rest = Vec::new();
        match timeout(PATIENCE, stream.read_to_end(&mut rest)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) if error.kind() == ErrorKind::ConnectionReset => {}
            other => panic!("{start:?}: {other:?}"),
        }
    }
    assert!(timeout(PATIENCE, trickle).await.expect("cut off").expect("no panic"), "the trickle was let run");
    unharmed(server).await;
}

#[tokio::test]
async fn handshakes_are_counted_per_address_and_good_ones_pass_again() {
    let server = Server::start(
        Options::unlimited().and(&[("limits.handshakes_per_address", "8"), ("server.auth_timeout", "2s")]),
    );
    let addr = server.addr();
    let mut held = Vec::new();
    let mut refused = 0;
    for _ in 0..20 {
        match Client::connect_with(addr, upgrade_request(addr, None)).await {
            Ok(client) => held.push(client),
            Err(error) => {
                assert!(format!("{error:?}").contains("503"), "{error:?}");
                refused += 1;
            }
        }
    }
    assert_eq!((held.len(), refused), (8, 12));
    for client in &mut held {
        assert_eq!(client.close_code().await.expect("an end"), Some(3502));
    }
    unharmed(&server).await;
}

/// A peer that vanishes without a word (no FIN ever arrives) is gone within two heartbeats.
#[tokio::test]
async fn connections_of_every_kind_end_without_a_trace() {
    let server = standard();
    let mut owner = user(server).await;
    let room = room(&mut owner).await;
    for n in 0..20_u32 {
        let mut raw = Raw::connect(server.addr(), Some(&server.token(&fresh("gone"))), None).await.expect("in");
        let join = format!(r#"{{"type":"join_room","id":1,"data":{{"room_id":{room}}}}}"#);
        raw.send(FIN | opcode::TEXT, join.as_bytes()).await.expect("sent");
        owner.push_of("member_joined").await.expect("alive");
        if n % 2 == 0 {
            // Ends with a reset instead of a FIN, in the middle of a frame.
            raw.stream.write_all(&[0x81, 0xfe, 0xff]).await.expect("sent");
            raw.stream.set_zero_linger().expect("a socket");
        }
    }
    loop {
        let online = owner.ok("get_members", json!({"room_id": room, "online": true, "limit": 100})).await;
        if online["members"].as_array().map(Vec::len) == Some(1) {
            break;
        }
    }
    assert!(matches!(owner.ok("get_room", json!({"room_id": room})).await["room"]["member_count"], Value::Number(_)));
    unharmed(server).await;
}
