//! Writing compact JSON straight into a byte buffer.

use crate::time::WallMs;

/// Bytes looked at together when a string is searched for what must be escaped.
const SCANNED: usize = 16;

/// Appends a JSON string with the escapes that RFC 8259 requires.
pub fn push_string(out: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    out.reserve(rest.len() + 2);
    out.push(b'"');
    loop {
        let plain = plain_len(rest);
        out.extend_from_slice(&rest[..plain]);
        let Some(&byte) = rest.get(plain) else { break };
        push_escape(out, byte);
        rest = &rest[plain + 1..];
    }
    out.push(b'"');
}

/// How many bytes at the beginning stand for themselves.
fn plain_len(bytes: &[u8]) -> usize {
    let must_escape = |byte: u8| (byte < 0x20) | (byte == b'"') | (byte == b'\\');
    // Without a branch per byte: the compiler makes one comparison of it.
    let clear = |chunk: &&[u8]| !chunk.iter().fold(false, |any, byte| any | must_escape(*byte));
    let skipped = bytes.chunks_exact(SCANNED).take_while(clear).count() * SCANNED;
    let found = bytes[skipped..].iter().position(|byte| must_escape(*byte));
    found.map_or(bytes.len(), |place| skipped + place)
}

fn push_escape(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    match byte {
        b'"' => out.extend_from_slice(b"\\\""),
        b'\\' => out.extend_from_slice(b"\\\\"),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        _ => {
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}

/// Appends a decimal number.
pub fn push_uint(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Writes one object, member by member.
pub struct Object<'a> {
    out: &'a mut Vec<u8>,
    empty: bool,
}

impl<'a> Object<'a> {
    /// Opens an object.
    pub fn new(out: &'a mut Vec<u8>) -> Object<'a> {
        out.push(b'{');
        Object { out, empty: true }
    }

    /// Goes on where members (none yet) of an object that somebody else opened and closes stand next.
    pub fn resumed(out: &'a mut Vec<u8>) -> Object<'a> {
        Object { out, empty: true }
    }

    /// Where it is written, for members that are ready; the caller writes their commas.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        self.out
    }

    /// Starts a member; the caller appends its value to the returned buffer.
    #[inline(always)] // the name is known where it is called, and its copy then costs nothing
    pub fn key(&mut self, name: &str) -> &mut Vec<u8> {
        self.out.reserve(name.len() + 4);
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    /// A number.
    #[inline(always)]
    pub fn uint(mut self, name: &str, value: u64) -> Self {
        push_uint(self.key(name), value);
        self
    }

    /// A number or null.
    #[inline(always)]
    pub fn opt_uint(self, name: &str, value: Option<u64>) -> Self {
        match value {
            Some(value) => self.uint(name, value),
            None => self.raw(name, b"null"),
        }
    }

    /// A string.
    #[inline(always)]
    pub fn text(mut self, name: &str, value: &str) -> Self {
        push_string(self.key(name), value);
        self
    }

    /// A string or null.
    #[inline(always)]
    pub fn opt_text(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.text(name, value),
            None => self.raw(name, b"null"),
        }
    }

    /// true or false.
    #[inline(always)]
    pub fn flag(self, name: &str, value: bool) -> Self {
        self.raw(name, if value { b"true" } else { b"false" })
    }

    /// JSON that is ready.
    #[inline(always)]
    pub fn raw(mut self, name: &str, json: &[u8]) -> Self {
        self.key(name).extend_from_slice(json);
        self
    }

    /// RFC 3339.
    #[inline(always)]
    pub fn time(mut self, name: &str, value: WallMs) -> Self {
        let out = self.key(name);
        out.push(b'"');
        value.write_rfc3339(out);
        out.push(b'"');
        self
    }

    /// RFC 3339 or null.
    pub fn opt_time(self, name: &str, value: Option<WallMs>) -> Self {
        match value {
            Some(value) => self.time(name, value),
            None => self.raw(name, b"null"),
        }
    }

    /// An array, each item written by `item`.
    pub fn array<T>(
        mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        mut item: impl FnMut(&mut Vec<u8>, T),
    ) -> Self {
        let out = self.key(name);
        out.push(b'[');
        for (index, value) in items.into_iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            item(out, value);
        }
        out.push(b']');
        self
    }

    /// A nested object.
    pub fn object(mut self, name: &str, fill: impl FnOnce(Object<'_>)) -> Self {
        fill(Object::new(self.key(name)));
        self
    }

    /// Closes the object.
    pub fn end(self) {
        self.out.push(b'}');
    }
}

/// One object as a fresh buffer.
pub fn object(fill: impl FnOnce(Object<'_>)) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    fill(Object::new(&mut out));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every byte that must be escaped, and some that must not, at every place of the chunks that are looked at together.
    #[test]
    fn strings_are_escaped_wherever_it_is_needed() {
        for special in (0..0x20).chain([b'"', b'\\', b'/', 0x7F]).map(char::from).chain(['é', '😀']) {
            for place in 0..3 * SCANNED {
                let mut text = "x".repeat(place);
                text.push(special);
                text.push_str(&"y".repeat(3 * SCANNED - place));
                let mut out = Vec::new();
                push_string(&mut out, &text);
                assert_eq!(serde_json::from_slice::<String>(&out).ok(), Some(text), "{special:?} at {place}");
                let escaped = u32::from(special) < 0x20 || matches!(special, '"' | '\\');
                assert_eq!(out.contains(&b'\\'), escaped, "{special:?} at {place}");
            }
        }
    }
}
