use flate2::{Decompress, FlushDecompress};

use super::*;
use crate::fanout::text_frame;

fn now() -> Mono {
    Mono(1_000_000)
}

/// What a client makes of a frame; says too whether it was compressed.
fn read(frame: &[u8], bits: u8) -> (bool, Vec<u8>) {
    let (first, payload) =
        message_of(&[&[frame[0] & !COMPRESSED], &frame[1..]].concat()).map(|(f, p)| (f, p.to_vec())).unwrap();
    assert_eq!(first, TEXT);
    if frame[0] & COMPRESSED == 0 {
        return (false, payload);
    }
    let packed = [&payload[..], &TAIL].concat();
    let mut zlib = Decompress::new_with_window_bits(false, bits);
    let mut out = Vec::with_capacity(1 << 20);
    zlib.decompress_vec(&packed, &mut out, FlushDecompress::Sync).unwrap();
    assert_eq!(zlib.total_in(), packed.len() as u64);
    (true, out)
}

fn english(bytes: usize) -> Vec<u8> {
    let words = ["the ", "server ", "room ", "message ", "and ", "of ", "a ", "history ", "page "];
    let mut seed = 7u64;
    let mut out = Vec::new();
    while out.len() < bytes {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        out.extend_from_slice(words[(seed >> 33) as usize % words.len()].as_bytes());
    }
    out.truncate(bytes);
    out
}

fn noise(bytes: usize) -> Vec<u8> {
    let mut seed = 7u64;
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 56) as u8
    };
    (0..bytes).map(|_| next()).collect()
}

#[test]
fn a_receiver_reads_what_was_said_and_gets_it_compressed_where_that_helps() {
    for (payload, bits, compressed) in [
        (english(10), 15, false),
        (english(PUSH_BYTES_MIN - 5), 15, false),
        (english(PUSH_BYTES_MIN), 15, true),
        (english(1000), 15, true),
        (english(1000), 0, false),
        (english(500), 9, true),
        (english(600), 9, false),
        (english(16_000), 14, true),
        (english(17_000), 14, false),
        (english(100_000), 15, true),
        (english(TURN_COST_MAX - FRAME_COST), 15, true),
        (english(TURN_COST_MAX), 15, false),
        (noise(1000), 15, false),
        (noise(100_000), 15, false),
    ] {
        let (bytes, mut deflater) = (text_frame(&payload), Deflater::default());
        let what = format!("{} bytes, window {bits}", payload.len());
        for _ in 0..2 {
            let frame = deflater.frame(now(), Window(bits), bytes.clone());
            let (is_packed, text) = read(frame.bytes(), bits.max(9));
            assert_eq!(is_packed, compressed, "{what}");
            assert!(text == payload, "{what}");
            assert!(frame.bytes().len() <= bytes.len(), "{what}");
        }
        assert_eq!(deflater.frames, u64::from(compressed), "{what}: made once");
    }
}

#[test]
fn shards_share_what_one_of_them_has_made() {
    let bytes = text_frame(&english(1000));
    let (mut one, mut other) = (Deflater::default(), Deflater::default());
    let first = one.frame(now(), Window(15), bytes.clone());
    let second = other.frame(now(), Window(15), bytes.clone());
    assert_eq!((first.bytes(), one.frames, other.frames), (second.bytes(), 1, 0));
    assert!(std::ptr::eq(first.bytes(), second.bytes()), "one copy");
}

#[test]
fn a_turn_compresses_so_much_and_the_next_one_goes_on() {
    let mut deflater = Deflater::default();
    let frames: Vec<FrameBytes> = (0..100).map(|_| text_frame(&english(4000))).collect();
    let mut packed = |turn: u64| {
        let packed = |frame: &FrameBytes| deflater.pack(Mono(turn), frame).is_some();
        frames.iter().map(packed).filter(|is_packed| *is_packed).count()
    };
    let most = TURN_COST_MAX / (4000 + FRAME_COST);
    assert_eq!(packed(1), most);
    assert_eq!(packed(1), most, "those that are made cost nothing");
    assert_eq!(packed(2), 2 * most, "plain ones are tried again");
    assert_eq!(deflater.put_off, (100 - most) as u64 * 2 + (100 - 2 * most) as u64);
}

#[test]
fn only_whole_messages_are_compressed() {
    for first in [0x01, 0x80, 0x88, 0x89, 0x8A, 0xC1] {
        let frame = encode_frame(first, &english(1000));
        assert!(Deflater::default().pack(now(), &frame).is_none(), "{first:#x}");
        assert!(frame.packed().is_none());
    }
    let http: FrameBytes = english(1000).into();
    assert!(Deflater::default().pack(now(), &http).is_none());
}
