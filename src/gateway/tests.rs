//! Behaviour over real sockets.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::atomic::Ordering;

use rustix::process::{Resource, Rlimit, setrlimit};

use super::testing::{Choice, Server, frame, text, upgrade};

#[test]
fn refused_requests_get_an_answer() {
    let server = Server::start(&Choice { handshake_us: 200_000, ..Choice::default() });
    let long = format!("GET /ws HTTP/1.1\r\nX: {}", "x".repeat(40_000));
    for (what, request, ends, status, says) in [
        ("a bad token", &*upgrade("/ws?token=nonsense"), false, "401", "INVALID_TOKEN"),
        ("an old token", &upgrade("/ws?token=expired"), false, "401", "TOKEN_EXPIRED"),
        ("half a head", "GET /ws HTTP/1.1\r\nHost: x\r\n", false, "408", "too long"),
        ("silence", "", false, "408", "too long"),
        ("a head that ends", "GET /ws HTTP/1.1\r\n", true, "400", "ends"),
        ("an endless head", &long, false, "431", "too large"),
        ("a fault of ours", &upgrade("/ws?token=panic"), false, "500", "INTERNAL"),
    ] {
        let mut client = server.connect();
        client.send(request.as_bytes());
        if ends {
            client.stream.shutdown(Shutdown::Write).unwrap();
        }
        let head = client.head();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {head}");
        assert!(client.rest().contains(says), "{what}");
    }
    assert_eq!(server.report().runtime.panics, 1);
    assert_eq!(server.counter("handshake_timeouts"), 2);
}

#[test]
fn a_head_may_come_byte_by_byte_and_frames_right_behind_it() {
    let server = Server::start(&Choice::default());
    let mut bytes = upgrade("/ws?token=good").into_bytes();
    bytes.extend(text(r#"{"type":"ping","id":1}"#));
    let mut slow = server.connect();
    slow.stream.set_nodelay(true).unwrap();
    bytes.iter().for_each(|byte| slow.send(&[*byte]));
    let mut fast = server.connect();
    fast.send(&bytes);
    for client in [&mut slow, &mut fast] {
        assert!(client.head().starts_with("HTTP/1.1 101 "));
        let mut got = [client.text(), client.text()];
        got.sort();
        assert!(got[0].contains("\"auth_success\""), "{got:?}");
        // Behind the handshake the token is still being looked up: the command is refused or carried out, but answered.
        assert!(got[1].contains("\"id\":1"), "{got:?}");
    }
    assert_eq!(server.counter("upgrades"), 2);
}

#[test]
fn a_websocket_ends_with_the_code_that_fits() {
    let server = Server::start(&Choice::default());
    let over = vec![b'x'; 65_537];
    let mut unmasked = vec![0x81, 2];
    unmasked.extend(b"hi");
    for (what, bytes, code) in [
        ("binary", frame(0x82, b"x"), 1003),
        ("not masked", unmasked, 1002),
        ("a reserved bit", frame(0xC1, b"x"), 1002),
        ("not UTF-8", frame(0x81, b"\xff"), 1007),
        ("too big", frame(0x81, &over), 1009),
        ("the peer's own", frame(0x88, b"\x03\xe8bye"), 1000),
        ("the peer's own, empty", frame(0x88, b""), 0),
        ("a bad token", text(r#"{"type":"authenticate","id":1,"data":{"token":"nonsense"}}"#), 3500),
        ("a fault of ours", text(r#"{"type":"authenticate","id":1,"data":{"token":"panic"}}"#), 3005),
    ] {
        let mut client = server.open("/ws");
        client.send(&bytes);
        assert_eq!(client.close_code(), code, "{what}");
        assert_eq!(client.rest(), "", "{what}: nothing behind the Close");
    }
    server.wait_until(|report| report.sockets == 0 && report.engine.connections == 0);
    assert_eq!(server.report().runtime.panics, 1);
    // The others live, and new ones come in.
    assert!(server.open("/ws?token=good").text().contains("auth_success"));
}

#[test]
fn pings_are_answered_and_a_flood_of_them_is_bounded() {
    let server = Server::start(&Choice::default());
    let mut client = server.open("/ws");
    client.send(&frame(0x89, b"hello"));
    assert_eq!(client.frame(), (0x8A, b"hello".to_vec()));
    // More than a turn can take, never read: what is answered must not pile up in the server.
    let flood: Vec<u8> = (0..200).flat_map(|_| frame(0x89, &[7; 125])).collect();
    client.stream.set_nonblocking(true).unwrap();
    let mut sent = 0;
    while server.counter("pongs_dropped") == 0 {
        match client.stream.write(&flood) {
            Ok(bytes) => sent += bytes,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
    assert!(sent > 0);
}

#[test]
fn what_is_not_for_us_is_handed_over_with_its_bytes() {
    let server = Server::start(&Choice::default());
    let request = "POST /api/v1/ping HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}";
    let mut client = server.connect();
    client.send(request.as_bytes());
    let mut handed = server.handed.recv().unwrap();
    assert!(request.as_bytes().starts_with(&handed.bytes), "from the first byte on");
    assert!(handed.bytes.ends_with(b"\r\n\r\n") || handed.bytes.ends_with(b"{}"));
    assert_eq!(handed.peer, client.stream.local_addr().unwrap());
    handed.stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
    drop(handed);
    assert!(client.head().starts_with("HTTP/1.1 204"));
    server.wait_until(|report| report.sockets == 0);
}

#[test]
fn unauthenticated_connections_are_limited_and_authentication_makes_room() {
    let server = Server::start(&Choice { handshakes: (100, 2), ..Choice::default() });
    let mut first = server.open("/ws");
    let second = server.open("/ws");
    let mut third = server.connect();
    assert!(third.head().starts_with("HTTP/1.1 503 "));
    assert!(third.rest().contains("OVERLOADED"));
    first.send(&text(r#"{"type":"authenticate","id":1,"data":{"token":"good"}}"#));
    assert!(first.text().contains("auth_success"));
    let third = server.open("/ws");
    drop(second);
    server.wait_until(|report| report.sockets == 2);
    let _fourth = server.open("/ws");
    drop(third);
    assert_eq!(server.counter("refused_limit"), 1);
}

#[test]
fn a_closed_peer_that_stays_is_reset() {
    let server = Server::start(&Choice::default());
    let mut client = server.open("/ws");
    client.send(&frame(0x82, b"x"));
    assert_eq!(client.close_code(), 1003);
    assert_eq!(client.stream.read(&mut [0]).unwrap(), 0, "the end of the stream is behind the Close");
    server.wait_until(|report| report.sockets == 0);
    assert_eq!(server.counter("resets"), 1);
}

#[test]
fn commands_beyond_what_is_under_way_wait_in_the_socket() {
    const COMMANDS: usize = 20_000;
    let server = Server::start(&Choice::default());
    let mut client = server.open("/ws?token=good");
    assert!(client.text().contains("auth_success"));
    server.held.holding.store(true, Ordering::SeqCst);
    let mut writer = client.stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        for id in 0..COMMANDS {
            writer.write_all(&text(&format!(r#"{{"type":"get_unread","id":{id}}}"#))).unwrap();
        }
    });
    let limit = Choice::default().limits.inflight_per_conn_max as u64;
    let report = server.wait_until(|report| report.engine.loads >= limit);
    // What one read may bring beyond the limit: 16 KiB of commands.
    assert!(report.engine.loads <= limit + 16_384 / 30, "{} under way", report.engine.loads);
    server.let_loads_go();
    // The store may answer in any order; each command is answered once.
    let mut answered = vec![false; COMMANDS];
    for _ in 0..COMMANDS {
        let reply = client.text();
        let rest = reply.strip_prefix(r#"{"type":"unread","id":"#).unwrap_or_else(|| panic!("{reply}"));
        let id: usize = rest.split(',').next().and_then(|id| id.parse().ok()).unwrap_or_else(|| panic!("{reply}"));
        assert!(!std::mem::replace(&mut answered[id], true), "{id} is answered twice");
    }
    sender.join().unwrap();
}

#[test]
fn echo_returns_large_messages_and_waits_for_its_reader() {
    let server = Server::start(&Choice::default());
    let mut client = server.open("/echo");
    let message: Vec<u8> = (0..3_000_000u32).map(|n| n as u8).collect();
    let mut writer = client.stream.try_clone().unwrap();
    let bytes = frame(0x82, &message);
    let sender = std::thread::spawn(move || (0..4).for_each(|_| writer.write_all(&bytes).unwrap()));
    for _ in 0..4 {
        let (first, payload) = client.frame();
        assert_eq!(first, 0x82);
        assert!(payload == message);
    }
    sender.join().unwrap();
    client.send(&text("and text"));
    assert_eq!(client.frame(), (0x81, b"and text".to_vec()));
    client.send(&frame(0x88, b"\x03\xe8"));
    assert_eq!(client.close_code(), 1000);
}

#[test]
fn connections_that_are_reset_before_they_are_accepted_hurt_nobody() {
    let server = Server::start(&Choice::default());
    for _ in 0..200 {
        let client = server.connect();
        socket2::SockRef::from(&client.stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
        drop(client);
    }
    assert!(server.open("/ws?token=good").text().contains("auth_success"));
    // Each descriptor was closed once, and only by its owner: nothing else is open, nothing that is open was closed.
    server.wait_until(|report| report.sockets == 0);
    assert!(server.open("/ws?token=good").text().contains("auth_success"));
}

#[test]
fn a_drain_closes_the_door_and_everybody_with_3000() {
    let server = Server::start(&Choice::default());
    let mut clients: Vec<_> = (0..50).map(|_| server.open("/ws?token=good")).collect();
    server.drain();
    for client in &mut clients {
        assert_eq!(client.close_code(), 3000);
    }
    drop(clients);
    server.wait_until(|report| report.sockets == 0 && report.quiet);
    let error = std::net::TcpStream::connect(server.address).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

/// Set in the process that runs out of descriptors.
const CHILD: &str = "VEZA_TEST_DESCRIPTORS";

#[test]
fn without_descriptors_accepting_backs_off_and_comes_back() {
    if std::env::var_os(CHILD).is_none() {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "gateway::tests::without_descriptors_accepting_backs_off_and_comes_back", "--nocapture"])
            .env(CHILD, "1")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(200), maximum: Some(200) }).unwrap();
    let server = Server::start(&Choice::default());
    let mut living = server.open("/ws?token=good");
    let waiting = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let mut hoard = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        hoard.push(file);
    }
    waiting.connect(&server.address.into()).unwrap();
    let report = server.wait_until(|report| report.runtime.accept_backoffs >= 3);
    assert!(report.runtime.turns < 100_000, "the shard must not spin: {} turns", report.runtime.turns);
    assert!(living.text().contains("auth_success"), "the others are served");
    drop(hoard);
    server.wait_until(|report| report.sockets == 2);
}
