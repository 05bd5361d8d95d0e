//! What strings may hold.

use crate::wire::json::push_string;
use simd_json::{Node, StaticNode};
use std::io::Write;

/// Why a string is refused.
pub(super) const NO_CONTROL: &str = "must not contain control characters";
/// Why a string is refused.
pub(super) const NOT_VISIBLE: &str = "must contain a visible character";

/// Counts the characters of a text for people.
///
/// # Errors
/// It holds control characters (but `\n` and `\t`, where `lines` allows them), or nothing that can be seen although
/// `visible` demands it.
pub(super) fn count(text: &str, lines: bool, visible: bool) -> Result<u32, &'static str> {
    if text.is_ascii() {
        return count_ascii(text.as_bytes(), lines, visible);
    }
    let mut chars = 0;
    let mut seen = !visible;
    for char in text.chars() {
        if char.is_control() && !(lines && matches!(char, '\n' | '\t')) {
            return Err(NO_CONTROL);
        }
        chars += 1;
        seen = seen || is_visible(char);
    }
    if seen { Ok(chars) } else { Err(NOT_VISIBLE) }
}

/// The same of ASCII, without a branch per byte.
fn count_ascii(text: &[u8], lines: bool, visible: bool) -> Result<u32, &'static str> {
    let (mut control, mut seen) = (false, false);
    for &byte in text {
        let line = (byte == b'\n') | (byte == b'\t');
        control |= ((byte < 0x20) & !(line & lines)) | (byte == 0x7F);
        seen |= byte.is_ascii_graphic();
    }
    match (control, seen || !visible) {
        (true, _) => Err(NO_CONTROL),
        (false, true) => Ok(text.len() as u32),
        (false, false) => Err(NOT_VISIBLE),
    }
}

/// Neither white space, nor one of the code points that Unicode says to display as nothing
/// (`Default_Ignorable_Code_Point`, interlinear annotation marks) nor an empty pattern.
fn is_visible(char: char) -> bool {
    if char.is_ascii() {
        return char.is_ascii_graphic();
    }
    let invisible = matches!(char,
        '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}'..='\u{1160}' | '\u{17B4}'..='\u{17B5}' | '\u{180B}'..='\u{180F}'
        | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{2800}' | '\u{3164}'
        | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}' | '\u{1BCA0}'..='\u{1BCA3}'
        | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}');
    !invisible && !char.is_whitespace()
}

/// Appends a value of the tape as compact JSON. `false`: it has more than `bytes_max` bytes or contains U+0000.
pub(super) fn write_compact(value: &[Node<'_>], bytes_max: usize, out: &mut Vec<u8>) -> bool {
    let mut rest = value;
    write_value(&mut rest, bytes_max, out) && out.len() <= bytes_max
}

/// Writes the first value of `rest` and leaves what is behind it. The tape's depth is bounded by `NESTING_MAX`, and so
/// is the recursion.
fn write_value(rest: &mut &[Node<'_>], bytes_max: usize, out: &mut Vec<u8>) -> bool {
    let Some((head, behind)) = rest.split_first() else { return false };
    *rest = behind;
    if out.len() > bytes_max {
        return false;
    }
    match head {
        Node::String(text) => return write_string(text, out),
        Node::Static(value) => write_static(value, out),
        Node::Array { len, .. } => {
            out.push(b'[');
            for index in 0..*len {
                if index > 0 {
                    out.push(b',');
                }
                if !write_value(rest, bytes_max, out) {
                    return false;
                }
            }
            out.push(b']');
        }
        Node::Object { len, .. } => {
            out.push(b'{');
            for index in 0..*len {
                if index > 0 {
                    out.push(b',');
                }
                let Some((Node::String(key), behind)) = rest.split_first() else { return false };
                *rest = behind;
                if !write_string(key, out) {
                    return false;
                }
                out.push(b':');
                if !write_value(rest, bytes_max, out) {
                    return false;
                }
            }
            out.push(b'}');
        }
    }
    true
}

fn write_string(text: &str, out: &mut Vec<u8>) -> bool {
    push_string(out, text);
    !text.contains('\0')
}

fn write_static(value: &StaticNode, out: &mut Vec<u8>) {
    // Debug writes the shortest text that gives the same f64, with an exponent where it is large or small.
    match value {
        StaticNode::I64(value) => write!(out, "{value}"),
        StaticNode::U64(value) => write!(out, "{value}"),
        StaticNode::F64(value) => write!(out, "{value:?}"),
        StaticNode::Bool(value) => write!(out, "{value}"),
        StaticNode::Null => write!(out, "null"),
    }
    .expect("a Vec takes every write");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ASCII takes a way of its own: it says what the other says of the same text with one letter more.
    #[test]
    fn ascii_is_counted_as_all_text_is() {
        for byte in 0..0x80u8 {
            for (before, after) in
                [("", ""), ("a", ""), ("", "a"), ("sixteen and more letters ", " in front and behind")]
            {
                let text = format!("{before}{}{after}", char::from(byte));
                for (lines, visible) in [(true, true), (false, true), (true, false), (false, false)] {
                    // Its zero-width letter is counted, and nobody sees it.
                    let other = count(&format!("{text}\u{200B}"), lines, visible).map(|chars| chars - 1);
                    assert_eq!(count(&text, lines, visible), other, "{text:?} {lines} {visible}");
                }
            }
        }
    }
}
