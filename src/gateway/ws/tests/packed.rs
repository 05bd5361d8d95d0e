//! Compressed messages. The compressor here is the library's; what a foreign one makes is in the examples of RFC 7692.

use flate2::{Compress, Compression, FlushCompress};

use super::*;

/// Of the first frame of a compressed message.
const PACKED: u8 = 0x40;

/// What a connection that has agreed to compression does with `bytes`.
fn run_packed(bytes: &[u8], piece: usize, inflater: &mut Inflater) -> (Vec<String>, Result<(), WsError>) {
    let (mut codec, mut events) = (WsCodec::new(MESSAGE_BYTES_MAX, true), Vec::new());
    for piece in bytes.chunks(piece) {
        let (mut piece, mut at) = (piece.to_vec(), 0);
        while at < piece.len() {
            let result = codec.feed(&mut piece[at..], inflater, &mut |event| {
                events.push(show(event));
                ControlFlow::Continue(())
            });
            match result {
                Ok(used) => at += used,
                Err(error) => return (events, Err(error)),
            }
        }
    }
    assert_eq!(codec.is_idle(), codec.buffered_bytes() == 0);
    (events, Ok(()))
}

fn check_packed(what: &str, frames: &[Vec<u8>], events: &[&str], result: Result<(), WsError>) {
    let bytes = frames.concat();
    let mut inflater = Inflater::default();
    for piece in [usize::MAX, 1, 7, 4096] {
        // The same inflater: whatever it has met, the next connection is not hurt.
        let (seen, outcome) = run_packed(&bytes, piece, &mut inflater);
        assert_eq!(seen, events, "{what}, pieces of {piece}");
        assert_eq!(outcome, result, "{what}, pieces of {piece}");
        let (seen, outcome) = run_packed(&frame(FIN | TEXT | PACKED, HELLO), piece, &mut inflater);
        assert_eq!((seen, outcome), (vec!["text Hello".to_owned()], Ok(())), "behind {what}");
    }
}

/// "Hello" (RFC 7692, 7.2.3.1).
const HELLO: &[u8] = &[0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00];

/// A message as a client compresses it; `zlib` may have compressed others before.
fn packed_by(zlib: &mut Compress, text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + text.len() / 1000 + 64);
    zlib.compress_vec(text, &mut out, FlushCompress::Sync).unwrap();
    assert!(out.ends_with(&[0, 0, 0xFF, 0xFF]));
    out.truncate(out.len() - 4);
    out
}

fn packed(text: &[u8], level: u32) -> Vec<u8> {
    packed_by(&mut Compress::new(Compression::new(level), false), text)
}

/// Pseudo-random bytes of this range.
fn noise(count: usize, seed: u64, below: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) % below
    };
    (0..count).map(|_| next() as u8).collect()
}

#[test]
fn compressed_messages() {
    let whole = |payload: &[u8]| vec![frame(FIN | TEXT | PACKED, payload)];
    let max = vec![b'x'; MESSAGE_BYTES_MAX];
    let incompressible = noise(MESSAGE_BYTES_MAX, 1, 128);
    for (what, frames, events) in [
        ("7.2.3.1", whole(HELLO), &["text Hello"][..]),
        (
            "7.2.3.1, in two frames",
            vec![frame(TEXT | PACKED, &HELLO[..3]), frame(FIN | CONTINUE, &HELLO[3..])],
            &["text Hello"],
        ),
        ("7.2.3.3, not compressed", whole(&[0, 5, 0, 0xFA, 0xFF, 0x48, 0x65, 0x6C, 0x6C, 0x6F, 0]), &["text Hello"]),
        ("7.2.3.4, a last block", whole(&[0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0, 0]), &["text Hello"]),
        (
            "7.2.3.5, two blocks",
            whole(&[0xF2, 0x48, 0x05, 0, 0, 0, 0xFF, 0xFF, 0xCA, 0xC9, 0xC9, 0x07, 0]),
            &["text Hello"],
        ),
        ("7.2.3.6, an empty message", whole(&[0]), &["text "]),
        ("no byte at all", whole(&[]), &["text "]),
        (
            "plain ones between",
            vec![frame(FIN | TEXT, b"a"), whole(HELLO).concat(), frame(FIN | TEXT, b"b")],
            &["text a", "text Hello", "text b"],
        ),
        ("binary", vec![frame(FIN | BINARY | PACKED, HELLO)], &["binary Hello"]),
        (
            "a ping inside",
            vec![frame(TEXT | PACKED, HELLO), frame(FIN | PING, b"p"), frame(FIN | CONTINUE, b"")],
            &["ping p", "text Hello"],
        ),
        ("the longest", whole(&packed(&max, 6)), &["text 65536 bytes"]),
        ("the longest, which grows", whole(&packed(&incompressible, 0)), &["text 65536 bytes"]),
        (
            "a character in two fragments",
            {
                let bytes = packed("h\u{e9}".as_bytes(), 0);
                let at = bytes.len() - 2;
                vec![frame(TEXT | PACKED, &bytes[..at]), frame(FIN | CONTINUE, &bytes[at..])]
            },
            &["text h\u{e9}"],
        ),
    ] {
        check_packed(what, &frames, events, Ok(()));
    }
}

#[test]
fn hostile_compressed_messages() {
    let whole = |payload: &[u8]| vec![frame(FIN | TEXT | PACKED, payload)];
    let bomb = packed(&vec![b'a'; 64 << 20], 9);
    assert!(bomb.len() * 1000 < 64 << 20 && bomb.len() < MESSAGE_BYTES_MAX, "1000 : 1");
    let one_over = packed(&vec![b'a'; MESSAGE_BYTES_MAX + 1], 9);
    let mut zlib = Compress::new(Compression::new(6), false);
    let (first, second) = (packed_by(&mut zlib, b"the same again"), packed_by(&mut zlib, b"the same again"));
    let last_blocks = [&[3, 0].repeat(64)[..], &[0]].concat();
    let cut = packed(&noise(3000, 3, 40), 6);
    for (what, frames, events, error) in [
        ("a bomb", whole(&bomb), &[][..], WsError::TooBig),
        ("one byte over", whole(&one_over), &[], WsError::TooBig),
        ("too long to be read", whole(&noise(70_000, 1, 256)), &[], WsError::TooBig),
        ("no DEFLATE", whole(b"no deflate"), &[], WsError::InvalidDeflate),
        ("a reserved block", whole(&[0x07]), &[], WsError::InvalidDeflate),
        ("cut off", whole(&cut[..cut.len() / 2]), &[], WsError::InvalidDeflate),
        ("cut off in its first byte", whole(&HELLO[..1]), &[], WsError::InvalidDeflate),
        ("cut off in a stored block", whole(&[0, 9, 0, 0xF6, 0xFF, 0x48]), &[], WsError::InvalidDeflate),
        (
            "the ending is there twice",
            whole(&[HELLO, &[0, 0, 0xFF, 0xFF, 0x12]].concat()),
            &[],
            WsError::InvalidDeflate,
        ),
        ("last blocks without end", whole(&last_blocks), &[], WsError::InvalidDeflate),
        ("a last block and nothing behind it", whole(&[0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0]), &[], {
            WsError::InvalidDeflate
        }),
        (
            "7.2.3.2, a message that refers to the one before",
            [whole(&first), whole(&second)].concat(),
            &["text the same again"],
            WsError::InvalidDeflate,
        ),
        ("bad UTF-8", whole(&packed(b"a\xFFb", 6)), &[], WsError::InvalidUtf8),
        ("half a character", whole(&packed(b"a\xC3", 6)), &[], WsError::InvalidUtf8),
        (
            "RSV1 on a continuation",
            vec![frame(TEXT | PACKED, &HELLO[..3]), frame(FIN | CONTINUE | PACKED, &HELLO[3..])],
            &[],
            WsError::Protocol("reserved bit set"),
        ),
        (
            "RSV1 on a continuation alone",
            vec![frame(TEXT, b"a"), frame(FIN | CONTINUE | PACKED, HELLO)],
            &[],
            WsError::Protocol("reserved bit set"),
        ),
        ("RSV1 on a ping", vec![frame(FIN | PING | PACKED, b"")], &[], WsError::Protocol("reserved bit set")),
        ("RSV1 on a pong", vec![frame(FIN | PONG | PACKED, b"")], &[], WsError::Protocol("reserved bit set")),
        ("RSV1 on a close", vec![frame(FIN | CLOSE | PACKED, b"")], &[], WsError::Protocol("reserved bit set")),
        ("RSV2", vec![frame(FIN | TEXT | 0x20, b"")], &[], WsError::Protocol("reserved bit set")),
        ("RSV3", vec![frame(FIN | TEXT | 0x10 | PACKED, b"")], &[], WsError::Protocol("reserved bit set")),
        (
            "fragments without a byte",
            [vec![frame(TEXT | PACKED, b"")], vec![frame(CONTINUE, b""); 200]].concat(),
            &[],
            WsError::TooBig,
        ),
    ] {
        check_packed(what, &frames, events, Err(error));
    }
}

#[test]
fn without_an_agreement_a_compressed_message_is_an_error() {
    check(&[frame(FIN | TEXT | PACKED, HELLO)], &[], Err(WsError::Protocol("reserved bit set")));
}

/// A read full of messages that each become long: what one turn inflates is bounded, and nothing is lost.
#[test]
fn many_long_messages_in_one_read_wait_for_their_turns() {
    let one = frame(FIN | TEXT | PACKED, &packed(&vec![b'a'; MESSAGE_BYTES_MAX], 9));
    let count = 16_384 / one.len();
    assert!(count > 100);
    let mut bytes = one.repeat(count);
    let (mut codec, mut inflater) = (WsCodec::new(MESSAGE_BYTES_MAX, true), Inflater::default());
    let (mut at, mut turns, mut messages) = (0, 0, 0);
    while at < bytes.len() {
        let before = messages;
        at += codec
            .feed(&mut bytes[at..], &mut inflater, &mut |event| {
                assert!(matches!(event, WsEvent::Text(text) if text.len() == MESSAGE_BYTES_MAX));
                messages += 1;
                ControlFlow::Continue(())
            })
            .unwrap();
        assert!(messages - before <= 4, "{} in one turn", messages - before);
        turns += 1;
    }
    assert_eq!(messages, count);
    assert!(turns >= count / 4);
    assert_eq!((inflater.messages, inflater.bytes), (count as u64, (count * MESSAGE_BYTES_MAX) as u64));
}

#[test]
fn a_long_message_leaves_no_long_buffer() {
    let mut inflater = Inflater::default();
    let long = packed(&vec![b'a'; 8 << 20], 9);
    for (max, result) in [(16 << 20, Ok(8 << 20)), (8 << 20, Ok(8 << 20)), ((8 << 20) - 1, Err(WsError::TooBig))] {
        let got = inflater.inflate(&long, max).map(|text| text.len());
        assert_eq!(got, result);
        inflater.done();
        assert!(inflater.buffered_bytes() <= 64 << 10, "{}", inflater.buffered_bytes());
    }
}

/// Compressed messages with bytes changed, cut out and put in: whatever comes of it is a message within bounds or a close.
#[test]
fn damaged_messages_never_do_worse_than_close() {
    let texts = [noise(200, 1, 64), noise(5000, 2, 16), vec![b'a'; 60_000], noise(20_000, 4, 128)];
    let mut inflater = Inflater::default();
    let (mut good, mut bad) = (0, 0);
    for seed in 0..4000u64 {
        let dice = noise(64, seed, 256);
        let text = &texts[seed as usize % texts.len()];
        let mut bytes = packed(text, u32::from(dice[0] % 10));
        for change in dice[1..].chunks_exact(4).take(usize::from(dice[1] % 6)) {
            let at = usize::from(u16::from_be_bytes([change[0], change[1]])) % bytes.len();
            match change[2] % 4 {
                0 => bytes[at] = change[3],
                1 => bytes[at] ^= 1 << (change[3] % 8),
                2 => bytes.truncate(at.max(1)),
                _ => bytes.insert(at, change[3]),
            }
        }
        match inflater.inflate(&bytes, MESSAGE_BYTES_MAX).map(|text| text.len()) {
            Ok(length) => {
                assert!(length <= MESSAGE_BYTES_MAX, "seed {seed}");
                good += 1;
            }
            Err(_) => bad += 1,
        }
        inflater.done();
        assert_eq!(inflater.inflate(HELLO, 5).map(|text| text.to_vec()), Ok(b"Hello".to_vec()), "seed {seed}");
    }
    assert!(good > 500 && bad > 500, "{good} good, {bad} bad: the damage is to be of both kinds");
}
