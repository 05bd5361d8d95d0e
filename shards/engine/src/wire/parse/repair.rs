//! Finds numbers that are correct JSON but beyond every machine type (`1e999`, integers from 2^64 on), for which the
//! parser rejects the whole document. Only rejected documents come here.

use std::ops::Range;

/// What stands for such a number: no field takes an array of an array. Shorter than any number out of range.
const STAND_IN: &[u8; 4] = b"[[]]";

/// Where in `text` such numbers are.
pub(super) fn oversized_numbers(text: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b'"' => at = behind_string(text, at),
            b'-' | b'0'..=b'9' => {
                let end = at + text[at..].iter().take_while(|byte| is_number_byte(**byte)).count();
                if is_oversized(&text[at..end]) {
                    found.push(at..end);
                }
                at = end;
            }
            _ => at += 1,
        }
    }
    found
}

/// Replaces a number of [`oversized_numbers`].
pub(super) fn overwrite(number: &mut [u8]) {
    let (head, tail) = number.split_at_mut(STAND_IN.len());
    head.copy_from_slice(STAND_IN);
    tail.fill(b' ');
}

fn behind_string(text: &[u8], open: usize) -> usize {
    let mut at = open + 1;
    while at < text.len() && text[at] != b'"' {
        at += if text[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

fn is_number_byte(byte: u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E')
}

fn is_oversized(number: &[u8]) -> bool {
    if number.len() <= STAND_IN.len() || !is_json_number(number) {
        return false;
    }
    let Ok(text) = std::str::from_utf8(number) else { return false };
    if text.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E')) {
        text.parse::<f64>().is_ok_and(f64::is_infinite)
    } else {
        text.parse::<i64>().is_err() && text.parse::<u64>().is_err()
    }
}

/// RFC 8259: `-? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)?`
fn is_json_number(number: &[u8]) -> bool {
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut rest = number.strip_prefix(b"-").unwrap_or(number);
    let whole = digits(rest);
    if whole == 0 || (whole > 1 && rest[0] == b'0') {
        return false;
    }
    rest = &rest[whole..];
    if let Some(fraction) = rest.strip_prefix(b".") {
        let count = digits(fraction);
        if count == 0 {
            return false;
        }
        rest = &fraction[count..];
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        let exponent = exponent.strip_prefix(b"+").or(exponent.strip_prefix(b"-")).unwrap_or(exponent);
        let count = digits(exponent);
        return count > 0 && count == exponent.len();
    }
    rest.is_empty()
}
