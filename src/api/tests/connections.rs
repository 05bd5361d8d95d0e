//! Sockets that were handed over.

use super::*;

const PING: &str =
    "POST /api/v1/ping HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer alice\r\nContent-Length: 2\r\n\r\n{}";

#[test]
fn whatever_was_read_before_the_hand_over_counts() {
    let api = Running::start(UP, settings());
    for read in 0..=PING.len() {
        let mut stream = api.connect(PING.as_bytes(), read);
        assert_eq!(Answer::read(&mut stream).json()["sub"], "alice", "{read} bytes were read before");
    }
}

#[test]
fn a_connection_serves_many_requests_and_no_websocket() {
    let api = Running::start(UP, settings());
    let mut stream = api.connect(format!("{PING}{PING}").as_bytes(), PING.len() + 7);
    assert_eq!(Answer::read(&mut stream).status, 200);
    assert_eq!(Answer::read(&mut stream).status, 200);
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
    stream.write_all(&request("GET", "/ws", upgrade, "")).unwrap();
    let refused = Answer::read(&mut stream);
    assert_eq!((refused.status, refused.header("connection")), (426, Some("close")));
    assert_eq!(stream.read(&mut [0]).unwrap(), 0, "it ends after the answer");
}

#[test]
fn what_is_no_http_is_answered_and_ended() {
    let api = Running::start(UP, settings());
    for (bytes, status) in [
        ("\0\0\0\0\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n".to_owned(), 400),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(64 << 10)), 431),
    ] {
        let mut stream = api.connect(bytes.as_bytes(), bytes.len().min(5));
        assert_eq!(Answer::read(&mut stream).status, status, "{}", &bytes[..20.min(bytes.len())]);
    }
}

#[test]
fn a_stop_ends_idle_connections_and_finishes_requests() {
    let mut slow = settings();
    slow.answer_timeout = Duration::from_secs(60);
    let api = Running::start(UP, slow);
    let mut idle = api.connect(PING.as_bytes(), 3);
    assert_eq!(Answer::read(&mut idle).status, 200);
    let request = PING.replace("ping", "get_unread");
    let mut busy = api.connect(request.as_bytes(), 3);
    while api.tickets.waiting() == 0 {
        std::thread::yield_now();
    }
    api.stop.send(true).unwrap();
    assert_eq!(idle.read(&mut [0]).unwrap(), 0);
    api.tickets.complete(1 + 1, Ok((*b"{}").into()));
    assert_eq!(Answer::read(&mut busy).status, 200);
    assert_eq!(busy.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_client_that_goes_away_gives_its_ticket_back() {
    let mut slow = settings();
    slow.answer_timeout = Duration::from_secs(60);
    let api = Running::start(UP, slow);
    let stream = api.connect(PING.replace("ping", "get_unread").as_bytes(), 3);
    while api.tickets.waiting() == 0 {
        std::thread::yield_now();
    }
    drop(stream);
    while api.tickets.waiting() > 0 {
        std::thread::yield_now();
    }
}
