mod packed;

use super::*;

const MESSAGE_BYTES_MAX: usize = 65_536;
const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];
const FIN: u8 = 0x80;
const CONTINUE: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

fn masked(payload: &[u8]) -> impl Iterator<Item = u8> {
    payload.iter().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key)
}

/// A client's frame.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        len @ 0..=125 => out.push(0x80 | len as u8),
        len @ 126..=65_535 => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    out.extend(masked(payload));
    out
}

/// What a connection does with `bytes` that arrive in pieces of these sizes, the last one again and again.
fn run(bytes: &[u8], pieces: &[usize]) -> (Vec<String>, Result<(), WsError>) {
    let mut codec = WsCodec::new(MESSAGE_BYTES_MAX, false);
    let (mut events, mut inflater) = (Vec::new(), Inflater::default());
    let (mut at, mut closed) = (0, false);
    let mut sizes = pieces.iter().chain(std::iter::repeat(pieces.last().expect("a size")));
    while at < bytes.len() && !closed {
        let end = bytes.len().min(at + sizes.next().expect("endless"));
        let mut piece = bytes[at..end].to_vec();
        let result = codec.feed(&mut piece, &mut inflater, &mut |event| {
            closed = matches!(event, WsEvent::Close { .. });
            events.push(show(event));
            ControlFlow::Continue(())
        });
        match result {
            Ok(used) => assert!(used == piece.len() || closed, "only a Close leaves input behind"),
            Err(error) => return (events, Err(error)),
        }
        at = end;
    }
    let idle = codec.is_idle();
    assert_eq!(idle, codec.buffered_bytes() == 0);
    if !idle {
        events.push("…".to_owned());
    }
    (events, Ok(()))
}

fn show(event: WsEvent<'_>) -> String {
    let short = |bytes: &[u8]| match bytes.len() {
        0..=32 => String::from_utf8_lossy(bytes).into_owned(),
        len => format!("{len} bytes"),
    };
    match event {
        WsEvent::Text(text) => format!("text {}", short(std::str::from_utf8(text).expect("UTF-8").as_bytes())),
        WsEvent::Binary(bytes) => format!("binary {}", short(bytes)),
        WsEvent::Ping(bytes) => format!("ping {}", short(bytes)),
        WsEvent::Pong => "pong".to_owned(),
        WsEvent::Close { code, reason } => format!("close {code:?} {reason}"),
    }
}

/// Checks `frames` in one piece, byte by byte, and in pieces of other sizes.
fn check(frames: &[Vec<u8>], events: &[&str], result: Result<(), WsError>) {
    let bytes = frames.concat();
    for pieces in [&[usize::MAX >> 1][..], &[1], &[2], &[3, 1, 7], &[6, 13], &[5, 4096]] {
        let (seen, outcome) = run(&bytes, pieces);
        assert_eq!(seen, events, "pieces {pieces:?} of {:02x?}", &bytes[..bytes.len().min(24)]);
        assert_eq!(outcome, result, "pieces {pieces:?} of {:02x?}", &bytes[..bytes.len().min(24)]);
    }
}

#[test]
fn messages() {
    let max = vec![b'x'; MESSAGE_BYTES_MAX];
    for (frames, events) in [
        (vec![frame(FIN | TEXT, b"")], vec!["text "]),
        (vec![frame(FIN | TEXT, "h\u{e9}llo \u{1f600}".as_bytes())], vec!["text h\u{e9}llo \u{1f600}"]),
        (vec![frame(FIN | BINARY, b"ab")], vec!["binary ab"]),
        (vec![frame(FIN | TEXT, &[b'x'; 125])], vec!["text 125 bytes"]),
        (vec![frame(FIN | TEXT, &[b'x'; 126])], vec!["text 126 bytes"]),
        (vec![frame(FIN | TEXT, &max[..65_535])], vec!["text 65535 bytes"]),
        (vec![frame(FIN | BINARY, &max)], vec!["binary 65536 bytes"]),
        (vec![frame(FIN | TEXT, b"a"), frame(FIN | TEXT, b"b")], vec!["text a", "text b"]),
        (vec![frame(FIN | PING, b""), frame(FIN | PONG, b"p")], vec!["ping ", "pong"]),
        (vec![frame(FIN | PING, &[b'x'; 125])], vec!["ping 125 bytes"]),
        (vec![frame(TEXT, b"a"), frame(CONTINUE, b"b"), frame(FIN | CONTINUE, b"c")], vec!["text abc"]),
        (vec![frame(TEXT, b""), frame(CONTINUE, b""), frame(FIN | CONTINUE, b"")], vec!["text "]),
        (
            vec![frame(BINARY, b"a"), frame(FIN | PING, b"p"), frame(FIN | CONTINUE, b"b"), frame(FIN | PONG, b"")],
            vec!["ping p", "binary ab", "pong"],
        ),
        (vec![frame(TEXT, &max[..40_000]), frame(FIN | CONTINUE, &max[40_000..])], vec!["text 65536 bytes"]),
        // One character in four fragments.
        (
            vec![
                frame(TEXT, b"\xf0"),
                frame(CONTINUE, b"\x9f"),
                frame(CONTINUE, b"\x98"),
                frame(FIN | CONTINUE, b"\x80"),
            ],
            vec!["text \u{1f600}"],
        ),
        // Incomplete.
        (vec![frame(TEXT, b"a")], vec!["…"]),
        (vec![vec![FIN | TEXT]], vec!["…"]),
        (vec![frame(FIN | TEXT, b"abc")[..8].to_vec()], vec!["…"]),
        (vec![frame(FIN | TEXT, b"a"), frame(FIN | PING, b"abc")[..7].to_vec()], vec!["text a", "…"]),
    ] {
        check(&frames, &events, Ok(()));
    }
}

#[test]
fn closing() {
    let close = |payload: &[u8]| vec![frame(FIN | CLOSE, payload), frame(FIN | TEXT, b"too late")];
    check(&close(b""), &["close None "], Ok(()));
    check(&close(b"\x03\xe8"), &["close Some(1000) "], Ok(()));
    check(&close("\u{3}\u{6f}".as_bytes()), &[], Err(WsError::Protocol("close code not allowed")));
    check(&close(b"\x0f\xa0bye"), &["close Some(4000) bye"], Ok(()));
    check(&close(b"\x03"), &[], Err(WsError::Protocol("close frame of one byte")));
    check(&close(b"\x03\xe8\xff"), &[], Err(WsError::InvalidUtf8));
    check(&close(b"\x03\xe8\xe2\x82"), &[], Err(WsError::InvalidUtf8));
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999_u16] {
        check(&close(&code.to_be_bytes()), &[&format!("close Some({code}) ")], Ok(()));
    }
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535_u16] {
        check(&close(&code.to_be_bytes()), &[], Err(WsError::Protocol("close code not allowed")));
    }
}

#[test]
fn faults() {
    let header = |first: u8, length: u64| {
        let mut bytes = vec![first, 0x80 | 127];
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&MASK);
        bytes
    };
    let unmasked = vec![FIN | TEXT, 1, b'a'];
    let short16 = [&[FIN | TEXT, 0x80 | 126, 0, 125][..], &MASK, &[0; 125]].concat();
    for (frames, events, reason) in [
        (vec![frame(FIN | TEXT, b"a"), unmasked], vec!["text a"], "frame is not masked"),
        (vec![frame(FIN | 0x40 | TEXT, b"a")], vec![], "reserved bit set"),
        (vec![frame(FIN | 0x20 | TEXT, b"a")], vec![], "reserved bit set"),
        (vec![frame(FIN | 0x10 | PING, b"a")], vec![], "reserved bit set"),
        (vec![frame(FIN | 3, b"")], vec![], "reserved opcode"),
        (vec![frame(FIN | 7, b"a")], vec![], "reserved opcode"),
        (vec![frame(FIN | 11, b"")], vec![], "reserved opcode"),
        (vec![frame(FIN | 15, b"a")], vec![], "reserved opcode"),
        (vec![frame(PING, b"a")], vec![], "fragmented control frame"),
        (vec![frame(CLOSE, b"")], vec![], "fragmented control frame"),
        (vec![frame(FIN | PING, &[b'x'; 126])], vec![], "control frame over 125 bytes"),
        (vec![frame(FIN | CLOSE, &[b'x'; 126])], vec![], "control frame over 125 bytes"),
        (vec![frame(FIN | CONTINUE, b"a")], vec![], "continuation of nothing"),
        (vec![frame(CONTINUE, b"a")], vec![], "continuation of nothing"),
        (
            vec![frame(TEXT, b"a"), frame(FIN | CONTINUE, b"b"), frame(FIN | CONTINUE, b"c")],
            vec!["text ab"],
            "continuation of nothing",
        ),
        (vec![frame(TEXT, b"a"), frame(FIN | TEXT, b"b")], vec![], "message inside a fragmented message"),
        (vec![frame(TEXT, b"a"), frame(BINARY, b"b")], vec![], "message inside a fragmented message"),
        (vec![short16], vec![], "payload length is not minimal"),
        (vec![header(FIN | BINARY, 65_535)], vec![], "payload length is not minimal"),
        (vec![header(FIN | BINARY, 1 << 63)], vec![], "payload length over 63 bits"),
    ] {
        check(&frames, &events, Err(WsError::Protocol(reason)));
    }
    // Refused from the header alone.
    check(&[header(FIN | TEXT, 65_537)], &[], Err(WsError::TooBig));
    check(&[header(TEXT, i64::MAX as u64)], &[], Err(WsError::TooBig));
    let half = vec![b'x'; 40_000];
    check(&[frame(TEXT, &half), frame(CONTINUE, &half)[..8].to_vec()], &[], Err(WsError::TooBig));
}

#[test]
fn text_is_checked_as_it_arrives() {
    let fault = Err(WsError::InvalidUtf8);
    for bad in [
        &b"\xff"[..],
        b"\x80",
        b"\xc0\x80",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xf8\x88\x80\x80\x80",
        b"a\xce\xba\xe1\xbd\xb9\xff",
    ] {
        check(&[frame(FIN | TEXT, bad)], &[], fault);
        check(&[frame(TEXT, bad)], &[], fault);
        check(&[frame(TEXT, b"a"), frame(CONTINUE, bad)], &[], fault);
        // The rest of the frame never comes.
        let mut begun = frame(FIN | TEXT, &[bad, &[b'x'; 50]].concat());
        begun.truncate(begun.len() - 40);
        check(&[begun], &[], fault);
    }
    // An unfinished character is a fault only at the end of the message.
    check(&[frame(FIN | TEXT, b"\xe2\x82")], &[], fault);
    check(&[frame(TEXT, b"\xe2\x82"), frame(FIN | CONTINUE, b"")], &[], fault);
    check(&[frame(TEXT, b"\xe2\x82"), frame(FIN | CONTINUE, b"\xac")], &["text \u{20ac}"], Ok(()));
    check(&[frame(FIN | BINARY, b"\xff")], &["binary \u{fffd}"], Ok(()));
}

#[test]
fn empty_fragments_are_bounded() {
    let endless = vec![frame(CONTINUE, b""); 100_000].concat();
    check(&[frame(TEXT, b""), endless], &[], Err(WsError::TooBig));
    let mut just_enough = vec![frame(TEXT, b"a")];
    just_enough.extend(vec![frame(CONTINUE, b""); EMPTY_FRAGMENTS_MAX as usize]);
    just_enough.push(frame(FIN | CONTINUE, b""));
    check(&just_enough, &["text a"], Ok(()));
    // Fragments of one byte are a message like others.
    let mut bytes = vec![frame(TEXT, b"a")];
    bytes.extend(vec![frame(CONTINUE, b"b"); 5000]);
    bytes.push(frame(FIN | CONTINUE, b"c"));
    check(&bytes, &["text 5002 bytes"], Ok(()));
}

#[test]
fn a_break_leaves_the_rest_untouched() {
    let mut bytes = [frame(FIN | TEXT, b"a"), frame(FIN | TEXT, b"b")].concat();
    let mut codec = WsCodec::new(MESSAGE_BYTES_MAX, false);
    let mut seen = Vec::new();
    let used = codec.feed(&mut bytes, &mut Inflater::default(), &mut |event| {
        seen.push(show(event));
        ControlFlow::Break(())
    });
    assert_eq!((used, &seen[..]), (Ok(7), &["text a".to_owned()][..]));
    let used = codec.feed(&mut bytes[7..], &mut Inflater::default(), &mut |event| {
        seen.push(show(event));
        ControlFlow::Break(())
    });
    assert_eq!((used, &seen[1..]), (Ok(7), &["text b".to_owned()][..]));
}

#[test]
fn memory_follows_the_bytes_and_goes_with_the_message() {
    let mut codec = WsCodec::new(MESSAGE_BYTES_MAX, false);
    let bytes = frame(FIN | TEXT, &[b'x'; 60_000]);
    let mut feed = |part: &[u8]| {
        let result = codec.feed(&mut part.to_vec(), &mut Inflater::default(), &mut |_| ControlFlow::Continue(()));
        assert_eq!(result, Ok(part.len()));
        codec.buffered_bytes()
    };
    // A header that promises 60,000 bytes reserves none of them.
    assert!(feed(&bytes[..9]) < 256);
    assert!(feed(&bytes[9..1009]) < 4096);
    assert_eq!(feed(&bytes[1009..]), 0);
    assert!(codec.is_idle());
}

#[test]
fn noise_never_panics_and_pieces_do_not_matter() {
    let mut state = 0x5EED_u64;
    let mut random = move |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as usize % bound
    };
    for _ in 0..5_000 {
        let mut bytes = Vec::new();
        for _ in 0..=random(5) {
            let first = [FIN | TEXT, TEXT, CONTINUE, FIN | CONTINUE, BINARY, FIN | PING, FIN | CLOSE, 0xff][random(8)];
            let payload: Vec<u8> =
                (0..[0, 3, 130][random(3)]).map(|_| [b'a', 0xc3, 0xa9, 3, 0xe8][random(5)]).collect();
            bytes.extend(frame(first, &payload));
        }
        if random(2) == 0 {
            let at = random(bytes.len());
            bytes[at] ^= 1 << random(8);
        }
        let whole = run(&bytes, &[bytes.len()]);
        for pieces in [&[1][..], &[1 + random(9), 1 + random(200)]] {
            assert_eq!(run(&bytes, pieces), whole, "pieces {pieces:?} of {bytes:02x?}");
        }
    }
}
