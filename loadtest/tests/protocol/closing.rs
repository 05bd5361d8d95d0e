//! Each close code of the protocol, and that the server is unharmed.

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;
use veza_loadtest::client::{Client, Error, upgrade_request};
use veza_loadtest::http;
use veza_loadtest::raw::{FIN, Raw, opcode};
use veza_loadtest::server::{Options, Server};
use veza_loadtest::testing::{fresh, narrow, number, room_of, standard, user};

/// First byte and payload of each.
type Frames<'a> = Vec<(u8, &'a [u8])>;

#[tokio::test]
async fn without_a_token_3502() {
    let addr = narrow().addr();
    let mut silent = Client::connect_with(addr, upgrade_request(addr, None)).await.expect("an upgrade");
    assert_eq!(silent.close_code().await.expect("an end"), Some(3502));
    // Commands that are refused do not put it off.
    let mut talks = Client::connect_with(addr, upgrade_request(addr, None)).await.expect("an upgrade");
    let mut pace = tokio::time::interval(std::time::Duration::from_millis(50));
    loop {
        pace.tick().await;
        match talks.call("ping", json!({})).await {
            Err(Error::Refused(_)) => {}
            Err(Error::Closed(code)) => break assert_eq!(code, Some(3502)),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn silent_for_two_heartbeats_3003_but_any_pong_counts() {
    let server = narrow();
    let mut silent = Raw::connect(server.addr(), Some(&server.token(&fresh("silent"))), None).await.expect("in");
    let mut lively = Raw::connect(server.addr(), Some(&server.token(&fresh("lively"))), None).await.expect("in");
    let closed = tokio::spawn(async move { silent.close_code().await });
    let mut pings = 0;
    while pings < 4 {
        match lively.read().await.expect("a frame") {
            (opcode::PING, payload) => {
                pings += 1;
                lively.send(FIN | opcode::PONG, &payload).await.expect("sent");
            }
            (opcode::CLOSE, payload) => panic!("closed after {pings} pings: {payload:?}"),
            _ => {}
        }
    }
    assert_eq!(closed.await.expect("no panic").expect("an end"), Some(3003));
}

#[tokio::test]
async fn too_many_malformed_frames_3501() {
    let server = narrow();
    let mut client = user(server).await;
    for bad in ["{", "[]", "nonsense"] {
        client.send_text(bad.into()).await.expect("sent");
        let error = client.push().await.expect("an error");
        assert_eq!((error.kind.as_str(), &error.data["code"]), ("error", &json!("INVALID_JSON")), "{bad}");
    }
    client.still_fine().await;
    client.send_text("one more".into()).await.expect("sent");
    assert_eq!(client.close_code().await.expect("an end"), Some(3501));
}

#[tokio::test]
async fn the_oldest_connection_beyond_the_limit_3504() {
    let server = narrow();
    let token = server.token(&fresh("many"));
    let mut first = Client::connect(server.addr(), &token).await.expect("in");
    let mut second = Client::connect(server.addr(), &token).await.expect("in");
    let mut third = Client::connect(server.addr(), &token).await.expect("in");
    assert_eq!(first.close_code().await.expect("an end"), Some(3504));
    second.still_fine().await;
    third.still_fine().await;
}

#[tokio::test]
async fn a_thousand_rate_limit_errors_3004() {
    let server = narrow();
    let mut client = user(server).await;
    let mut refused = 0;
    let code = loop {
        if client.send_text(json!({"type": "get_unread", "id": 1}).to_string()).await.is_err() {
            break client.close_code().await.expect("an end");
        }
        match client.text().await {
            Ok(text) => refused += u32::from(text.contains("RATE_LIMIT_EXCEEDED")),
            Err(Error::Closed(code)) => break code,
            Err(other) => panic!("{other:?}"),
        }
    };
    assert_eq!(code, Some(3004));
    assert!((1000..=1001).contains(&refused), "{refused}");
}

#[tokio::test]
async fn what_rfc_6455_wants() {
    let server = standard();
    let big = vec![b'x'; 65_537];
    let half_char = [b'"', 0xc3];
    let frames: [(&str, Frames, u16); 15] = [
        ("binary", vec![(FIN | opcode::BINARY, b"{}")], 1003),
        ("invalid UTF-8", vec![(FIN | opcode::TEXT, &[0xff, 0xfe])], 1007),
        ("a lone surrogate", vec![(FIN | opcode::TEXT, &[0xed, 0xa0, 0x80])], 1007),
        ("half a character at the end", vec![(opcode::TEXT, &half_char), (FIN, b"\"")], 1007),
        ("64 KiB + 1", vec![(FIN | opcode::TEXT, &big)], 1009),
        ("64 KiB + 1 in two", vec![(opcode::TEXT, &big[..40_000]), (FIN, &big[..25_537])], 1009),
        ("reserved bit", vec![(FIN | 0x40 | opcode::TEXT, b"{}")], 1002),
        ("reserved opcode", vec![(FIN | 3, b"{}")], 1002),
        ("reserved control opcode", vec![(FIN | 11, b"")], 1002),
        ("continuation of nothing", vec![(FIN, b"{}")], 1002),
        ("text inside a message", vec![(opcode::TEXT, b"{"), (FIN | opcode::TEXT, b"}")], 1002),
        ("fragmented ping", vec![(opcode::PING, b"")], 1002),
        ("ping of 126 bytes", vec![(FIN | opcode::PING, &big[..126])], 1002),
        ("close of one byte", vec![(FIN | opcode::CLOSE, &[3])], 1002),
        ("close with 1005", vec![(FIN | opcode::CLOSE, &[3, 237])], 1002),
    ];
    for (what, frames, code) in frames {
        let mut raw = Raw::connect(server.addr(), Some(&server.token("rfc")), None).await.expect("in");
        for (first, payload) in frames {
            // The server may have answered and ended before it is all written.
            let _ = raw.send(first, payload).await;
        }
        assert_eq!(raw.close_code().await.expect("an end"), Some(code), "{what}");
    }
    // Unmasked.
    let mut raw = Raw::connect(server.addr(), Some(&server.token("rfc")), None).await.expect("in");
    tokio::io::AsyncWriteExt::write_all(&mut raw.stream, &[0x81, 2, b'{', b'}']).await.expect("sent");
    assert_eq!(raw.close_code().await.expect("an end"), Some(1002), "unmasked");
    user(server).await.still_fine().await;
}

#[tokio::test]
async fn what_rfc_6455_allows() {
    let server = standard();
    let mut client = user(server).await;
    client.send_raw(Message::Ping("payload".into())).await.expect("sent");
    client.still_fine().await;
    let mut raw = Raw::connect(server.addr(), Some(&server.token("rfc")), None).await.expect("in");
    // A message in pieces, cut inside a character, with a ping between them.
    let text = r#"{"type":"ping","id":"é","data":{}}"#.as_bytes();
    let middle = text.iter().position(|byte| *byte == 0xc3).expect("é") + 1;
    raw.send(opcode::TEXT, &text[..middle]).await.expect("sent");
    raw.send(FIN | opcode::PING, b"between").await.expect("sent");
    raw.send(opcode::CONTINUATION, b"").await.expect("sent");
    raw.send(FIN | opcode::CONTINUATION, &text[middle..]).await.expect("sent");
    let mut seen = Vec::new();
    while seen.len() < 2 {
        let (opcode, payload) = raw.read().await.expect("a frame");
        let payload = String::from_utf8(payload).expect("UTF-8");
        if opcode == opcode::PONG || payload.starts_with(r#"{"type":"pong""#) {
            seen.push(payload);
        }
    }
    assert_eq!(seen[0], "between");
    assert!(seen[1].starts_with(r#"{"type":"pong","id":"é","data":{"#), "{}", seen[1]);
    for (ours, theirs) in [(1000, Some(1000)), (1001, Some(1001)), (3999, Some(3999)), (4000, Some(4000))] {
        let client = user(server).await;
        assert_eq!(client.close(ours).await.expect("an end"), theirs);
    }
    let mut empty = Raw::connect(server.addr(), Some(&server.token("rfc")), None).await.expect("in");
    empty.send(FIN | opcode::CLOSE, b"").await.expect("sent");
    let answered = empty.close_code().await.expect("an end");
    assert!([None, Some(1000)].contains(&answered), "{answered:?}");
}

/// A slow receiver is closed with 3002, is counted, and misses nothing when it resumes; others are unharmed.
#[tokio::test]
async fn a_slow_receiver_3002_resumes() {
    let server = Server::start(Options::unlimited().and(&[("limits.outbox_bytes", "65536")]));
    let slow_token = server.token("slow");
    let mut writer = user(&server).await;
    let mut quick = user(&server).await;
    let room = room_of(&mut [&mut writer, &mut quick]).await;
    let mut slow = Raw::connect(server.addr(), Some(&slow_token), Some(4096)).await.expect("in");
    let join = json!({"type": "join_room", "id": 1, "data": {"room_id": room}}).to_string();
    slow.send(FIN | opcode::TEXT, join.as_bytes()).await.expect("sent");
    loop {
        let (_, payload) = slow.read().await.expect("a frame");
        if String::from_utf8_lossy(&payload).contains("room_joined") {
            break;
        }
    }
    // It reads nothing from here on, until the server says that it has closed somebody.
    let mut last = 0;
    let content = "x".repeat(2000);
    while !closed_count(&server, 3002).await {
        for _ in 0..100 {
            last = writer.say(room, &content).await;
            assert_eq!(quick.hear().await.0, last);
        }
        assert!(last < 20_000, "the slow one is still kept after {last} messages");
    }
    let mut back = Client::connect(server.addr(), &slow_token).await.expect("in again");
    let resumed = back.ok("resume", json!({"rooms": [{"room_id": room, "last_seq": 0}]})).await;
    assert_eq!((&resumed["rooms"][0]["recovered"], number(&resumed["rooms"][0], "seq")), (&json!(true), last));
    for seq in 1..=last {
        assert_eq!(back.hear().await.0, seq);
    }
}

/// Whether the metrics count a disconnect with that code.
async fn closed_count(server: &Server, code: u16) -> bool {
    let metrics = http::get(server.addr(), "/metrics", None).await.expect("metrics");
    let text = String::from_utf8_lossy(&metrics.body).into_owned();
    text.lines()
        .any(|line| line.contains("disconnect") && line.contains(&format!("\"{code}\"")) && !line.ends_with(" 0"))
}
