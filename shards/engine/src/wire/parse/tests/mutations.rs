//! Nearly valid input.

use super::*;

/// Frames from which [`mutations_never_panic`] grows its inputs.
const SEEDS: [&str; 7] = [
    r#"{"type":"send_message","id":17,"data":{"room_id":5,"content":"h\u00e9llo \ud83d\ude00","client_id":"a","parent_id":3,"metadata":{"k":[1,2.5,null]}}}"#,
    r#"{"type":"create_room","id":"x","data":{"name":"room","visibility":"private","max_members":10}}"#,
    r#"{"type":"create_dm","id":1,"data":{"user_ids":[1,2,3]}}"#,
    r#"{"type":"resume","id":1,"data":{"rooms":[{"room_id":1,"last_seq":2,"epoch":3}]}}"#,
    r#"{"type":"get_history","id":1,"data":{"room_id":1,"around_id":2,"limit":10}}"#,
    r#"{"type":"ping","id":-9,"data":{"timestamp":1e308}}"#,
    r#"{"type":"list_rooms","data":{"filter":"joined","query":"q","cursor":"c","limit":1e999}}"#,
];

struct XorShift(u64);

impl XorShift {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound
    }
}

fn mutate(random: &mut XorShift, text: &mut Vec<u8>) {
    const PIECES: [&[u8]; 16] = [
        b"\"",
        b"\\",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"null",
        b"1e999",
        b"-0",
        b"\\u0000",
        b"\\ud800",
        b"\xff",
        b"\0",
        b"99999999999999999999",
    ];
    let at = random.below(text.len() + 1);
    match random.below(4) {
        0 if at < text.len() => text[at] = random.below(256) as u8,
        1 if at < text.len() => drop(text.remove(at)),
        2 => text.truncate(at),
        _ => drop(text.splice(at..at, PIECES[random.below(PIECES.len())].iter().copied())),
    }
}

#[test]
fn mutations_never_panic() {
    let mut random = XorShift(0x5EED_CAFE);
    let mut parser = Parser::new();
    for round in 0..60_000 {
        let mut text = SEEDS[round % SEEDS.len()].as_bytes().to_vec();
        for _ in 0..=random.below(4) {
            mutate(&mut random, &mut text);
        }
        let parsed = parser.parse(&text);
        // The reused memory must not carry anything over.
        let fresh = Parser::new().parse(&text);
        assert_eq!(format!("{parsed:?}"), format!("{fresh:?}"));
        // A second opinion on what JSON is; it gives up on floats out of range.
        let json = serde_json::from_slice::<serde_json::Value>(&text);
        let refused = matches!(&parsed.command, Err(error) if error.code == ErrorCode::InvalidJson);
        match json {
            Ok(value) => assert_eq!(refused, !value.is_object(), "{}", String::from_utf8_lossy(&text)),
            Err(error) if error.to_string().contains("out of range") => {}
            Err(_) => assert!(refused, "{}", String::from_utf8_lossy(&text)),
        }
    }
}
