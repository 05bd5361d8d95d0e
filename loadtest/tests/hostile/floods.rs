//! Too much, too slow, or gone.

use serde_json::{Value, json};
use std::io::ErrorKind;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use veza_loadtest::client::{Client, PATIENCE, upgrade_request};
use veza_loadtest::raw::{FIN, Raw, opcode};
use veza_loadtest::server::{Options, Server};
use veza_loadtest::testing::{fresh, room, standard, user};

use super::unharmed;

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
        for _ in 0..100 {
            // It never reads: the server may answer some, or stop reading too, or end it; it may not keep the answers.
            if !matches!(timeout(Duration::from_millis(300), raw.stream.write_all(&chunk)).await, Ok(Ok(()))) {
                break;
            }
        }
        unharmed(server).await;
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
    drop(held);
    let again = async {
        // The last of them may not be counted out yet.
        while Client::connect(addr, &server.token("again")).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, again).await.expect("let in again");
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
