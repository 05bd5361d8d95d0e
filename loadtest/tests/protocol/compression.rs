//! permessage-deflate: who agreed to it gets the same messages as everybody, in fewer bytes.

use std::sync::OnceLock;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use serde_json::{Value, json};
use veza_loadtest::raw::{FIN, Raw, opcode};
use veza_loadtest::server::{Options, Server};
use veza_loadtest::testing::{fresh, number, room, standard, user};

/// "This message is compressed", in the first byte of its first frame.
const PACKED: u8 = 0x40;
/// What both sides cut off (RFC 7692, 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xFF, 0xFF];
const AGREED: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

fn compressing() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| Server::start(Options::unlimited().and(&[("server.compression", "true")])))
}

fn packed(text: &[u8]) -> Vec<u8> {
    packed_by(&mut Compress::new(Compression::default(), false), text)
}

fn packed_by(zlib: &mut Compress, text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 64);
    zlib.compress_vec(text, &mut out, FlushCompress::Sync).expect("compressed");
    out.truncate(out.len() - TAIL.len());
    out
}

/// A client that compresses what it sends, and notes how much of what it gets is.
struct Packing {
    raw: Raw,
    /// Of the window that it reads with.
    bits: u8,
    compressed: u64,
    plain: u64,
    /// Bytes of payloads as they came.
    bytes: usize,
}

impl Packing {
    async fn connect(server: &Server, token: &str, bits: u8) -> Packing {
        let offer = match bits {
            0 => String::new(),
            15 => "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n".to_owned(),
            bits => format!("Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits={bits}\r\n"),
        };
        let (raw, head) = Raw::connect_with(server.addr(), Some(token), None, &offer).await.expect("in");
        let agreed = match bits {
            0 => None,
            15 => Some(AGREED.to_owned()),
            bits => Some(format!("{AGREED}; server_max_window_bits={bits}")),
        };
        let answer = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Extensions: "));
        assert_eq!(answer, agreed.as_deref());
        let mut client = Packing { raw, bits, compressed: 0, plain: 0, bytes: 0 };
        assert_eq!(client.next().await["type"], "auth_success");
        client
    }

    async fn send(&mut self, command: &Value) {
        let text = command.to_string();
        match self.bits {
            0 => self.raw.send(FIN | opcode::TEXT, text.as_bytes()).await.expect("sent"),
            _ => self.raw.send(FIN | PACKED | opcode::TEXT, &packed(text.as_bytes())).await.expect("sent"),
        }
    }

    /// The next text message.
    async fn next(&mut self) -> Value {
        loop {
            let (first, payload) = self.raw.read_frame().await.expect("alive");
            if first == FIN | opcode::TEXT {
                self.plain += 1;
                self.bytes += payload.len();
                return serde_json::from_slice(&payload).expect("JSON");
            }
            if first == FIN | PACKED | opcode::TEXT {
                assert!(self.bits > 0, "compressed without an agreement");
                self.compressed += 1;
                self.bytes += payload.len();
                let all = [&payload[..], &TAIL].concat();
                let mut out = Vec::with_capacity(4 << 20);
                let mut zlib = Decompress::new_with_window_bits(false, self.bits);
                zlib.decompress_vec(&all, &mut out, FlushDecompress::Sync).expect("inflated");
                return serde_json::from_slice(&out).expect("JSON");
            }
            assert!(first & 0x70 == 0 && first & 8 != 0, "a frame {first:#x}");
        }
    }

    /// Carries out a command; the reply's data.
    async fn ok(&mut self, command: &str, data: Value) -> Value {
        self.send(&json!({"type": command, "id": 1, "data": data})).await;
        loop {
            let message = self.next().await;
            assert_ne!(message["type"], "error", "{message}");
            if message["id"] == 1 {
                return message["data"].clone();
            }
        }
    }

    /// The next message of a room: its `seq` and content.
    async fn hear(&mut self) -> (u64, String) {
        loop {
            let message = self.next().await;
            if message["type"] == "message" {
                return (number(&message["data"], "seq"), message["data"]["content"].as_str().expect("text").into());
            }
        }
    }
}

/// What is said: short and long, and what does not shrink.
fn contents() -> Vec<String> {
    let words = "a message that says what messages say, and then says it again: ";
    let mut state = 5u64;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from_u32(0x4E00 + (state >> 40) as u32 % 0x4000).expect("a character")
    };
    (0..30)
        .map(|n| match n % 3 {
            0 => format!("{n}"),
            1 => format!("{n} {}", words.repeat(1 + n)),
            _ => format!("{n} {}", (0..200).map(|_| noise()).collect::<String>()),
        })
        .collect()
}

#[tokio::test]
async fn compressed_and_plain_receivers_of_a_room_see_the_same_and_so_do_those_who_come_back() {
    let server = compressing();
    let mut owner = user(server).await;
    let room = room(&mut owner).await;
    let tokens: Vec<String> = (0..4).map(|_| server.token(&fresh("receiver"))).collect();
    let mut receivers = Vec::new();
    for (token, bits) in tokens.iter().zip([15, 0, 9, 15]) {
        let mut receiver = Packing::connect(server, token, bits).await;
        receiver.ok("join_room", json!({"room_id": room})).await;
        receivers.push(receiver);
    }
    let contents = contents();
    let mut expected = Vec::new();
    for (n, content) in contents.iter().enumerate() {
        // Both kinds of sender.
        let data = json!({"room_id": room, "content": content});
        let sender = n % receivers.len();
        receivers[sender].send(&json!({"type": "send_message", "data": data})).await;
        expected.push((n as u64 + 1, content.clone()));
        for receiver in &mut receivers {
            assert_eq!(&receiver.hear().await, expected.last().expect("one"));
        }
    }
    let bytes: Vec<usize> = receivers.iter().map(|receiver| receiver.bytes).collect();
    assert!(bytes[0] * 10 < bytes[1] * 8, "{bytes:?}");
    assert!(bytes[2] <= bytes[1] && bytes[0] < bytes[2], "a small window takes short ones: {bytes:?}");
    assert!(receivers.iter().all(|receiver| (receiver.compressed > 0) == (receiver.bits > 0)));
    assert!(receivers.iter().all(|receiver| receiver.plain > 0), "replies are short");
    drop(receivers);
    for (token, bits) in tokens.iter().zip([15, 0, 9, 0]) {
        let mut back = Packing::connect(server, token, bits).await;
        let reply = back.ok("resume", json!({"rooms": [{"room_id": room, "last_seq": 0}]})).await;
        assert_eq!(reply["rooms"][0]["recovered"], true);
        for message in &expected {
            assert_eq!(&back.hear().await, message, "window {bits}");
        }
        let page = back.ok("get_history", json!({"room_id": room, "limit": 100})).await;
        let read: Vec<&str> =
            page["messages"].as_array().expect("messages").iter().filter_map(|m| m["content"].as_str()).collect();
        let newest_first: Vec<&str> = contents.iter().rev().map(String::as_str).collect();
        let oldest_first: Vec<&str> = contents.iter().map(String::as_str).collect();
        assert!(read == newest_first || read == oldest_first, "window {bits}: {read:?}");
        assert_eq!(back.compressed > 0, bits > 0);
    }
}

#[tokio::test]
async fn what_is_not_compressed_as_agreed_closes_its_connection_and_no_other() {
    let server = compressing();
    let witness = server.token(&fresh("witness"));
    let mut witness = Packing::connect(server, &witness, 15).await;
    let mut zlib = Compress::new(Compression::default(), false);
    let text = br#"{"type":"ping","id":1,"data":{"timestamp":"the same"}}"#;
    let (first, second) = (packed_by(&mut zlib, text), packed_by(&mut zlib, text));
    let bomb = packed(&vec![b' '; 60 << 20]);
    let whole = |payload: &[u8]| vec![(FIN | PACKED | opcode::TEXT, payload.to_vec())];
    for (what, frames, code) in [
        ("a bomb", whole(&bomb), 1009),
        ("no DEFLATE", whole(b"no deflate"), 1007),
        ("cut off", whole(&first[..first.len() / 2]), 1007),
        ("the context of the message before", [whole(&first), whole(&second)].concat(), 1007),
        ("bad UTF-8", whole(&packed(b"\xFF")), 1007),
        ("a binary message", vec![(FIN | PACKED | opcode::BINARY, packed(b"x"))], 1003),
        ("a compressed ping", vec![(FIN | PACKED | opcode::PING, Vec::new())], 1002),
        ("RSV2", vec![(FIN | 0x20 | opcode::TEXT, text.to_vec())], 1002),
        (
            "a compressed continuation",
            vec![
                (PACKED | opcode::TEXT, first[..3].to_vec()),
                (FIN | PACKED | opcode::CONTINUATION, first[3..].to_vec()),
            ],
            1002,
        ),
    ] {
        let token = server.token(&fresh("hostile"));
        let mut client = Packing::connect(server, &token, 15).await;
        for (first, payload) in frames {
            client.raw.send(first, &payload).await.expect("sent");
        }
        assert_eq!(client.raw.close_code().await.expect("an end"), Some(code), "{what}");
        assert_eq!(witness.ok("ping", json!({"timestamp": what})).await["timestamp"], what);
    }
}

/// One read full of messages that are each 60 KB when inflated: the server takes them over many turns, and answers all.
#[tokio::test]
async fn a_burst_of_messages_that_grow_is_answered_in_order() {
    let server = compressing();
    let mut client = Packing::connect(server, &server.token(&fresh("burst")), 15).await;
    let filler = "x".repeat(60_000);
    let mut burst = Vec::new();
    for id in 0..300 {
        let command = json!({"type": "ping", "id": id, "data": {"filler": filler}}).to_string();
        burst.extend(veza_loadtest::raw::frame(FIN | PACKED | opcode::TEXT, &packed(command.as_bytes())));
    }
    assert!(burst.len() < 64_000, "a few reads: {}", burst.len());
    tokio::io::AsyncWriteExt::write_all(&mut client.raw.stream, &burst).await.expect("sent");
    for id in 0..300 {
        assert_eq!(client.next().await["id"], id);
    }
}

#[tokio::test]
async fn without_the_setting_nothing_is_agreed_to_and_nothing_compressed_is_taken() {
    let server = standard();
    let offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
    let token = server.token(&fresh("offering"));
    let (mut raw, head) = Raw::connect_with(server.addr(), Some(&token), None, offer).await.expect("in");
    assert!(!head.to_ascii_lowercase().contains("sec-websocket-extensions"), "{head}");
    raw.send(FIN | PACKED | opcode::TEXT, &packed(b"{}")).await.expect("sent");
    assert_eq!(raw.close_code().await.expect("an end"), Some(1002));
}
