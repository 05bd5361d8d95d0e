//! Writing compact JSON straight into a byte buffer.

use crate::time::WallMs;

/// Appends a JSON string with the escapes that RFC 8259 requires.
pub fn push_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut start = 0;
    for (index, &byte) in bytes.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[start..index]);
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
            }
        }
        start = index + 1;
    }
    out.extend_from_slice(&bytes[start..]);
    out.push(b'"');
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
    pub fn key(&mut self, name: &str) -> &mut Vec<u8> {
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
    pub fn uint(mut self, name: &str, value: u64) -> Self {
        push_uint(self.key(name), value);
        self
    }

    /// A number or null.
    pub fn opt_uint(self, name: &str, value: Option<u64>) -> Self {
        match value {
            Some(value) => self.uint(name, value),
            None => self.raw(name, b"null"),
        }
    }

    /// A string.
    pub fn text(mut self, name: &str, value: &str) -> Self {
        push_string(self.key(name), value);
        self
    }

    /// A string or null.
    pub fn opt_text(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.text(name, value),
            None => self.raw(name, b"null"),
        }
    }

    /// true or false.
    pub fn flag(self, name: &str, value: bool) -> Self {
        self.raw(name, if value { b"true" } else { b"false" })
    }

    /// JSON that is ready.
    pub fn raw(mut self, name: &str, json: &[u8]) -> Self {
        self.key(name).extend_from_slice(json);
        self
    }

    /// RFC 3339.
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
pub fn object(fill: impl FnOnce(Object<'_>)) -> Box<[u8]> {
    let mut out = Vec::with_capacity(256);
    fill(Object::new(&mut out));
    out.into()
}
