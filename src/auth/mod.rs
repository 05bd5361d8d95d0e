//! Who speaks: tokens and the server's own users. Knows neither sockets nor the database; what it needs of the latter
//! is handed in.

pub mod keys;
mod limiter;
pub mod password;
mod request;
pub mod service;
pub mod token;

#[cfg(test)]
mod service_tests;
#[cfg(test)]
mod token_tests;

/// The `iss` of the server's own tokens.
pub const OWN_ISSUER: &str = "veza";

/// Bytes of a username, at least and at most.
pub const USERNAME_BYTES: std::ops::RangeInclusive<usize> = 3..=32;

/// Whether a username has the allowed form: 3–32 of `[A-Za-z0-9_.-]`.
pub fn username_allowed(name: &str) -> bool {
    USERNAME_BYTES.contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}

/// Random bytes as hex, for ids and secrets.
///
/// # Panics
/// If the operating system has no randomness to give: nothing secure can follow.
pub(crate) fn random_hex<const BYTES: usize>() -> String {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    hex(&bytes)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(digit(byte >> 4));
        text.push(digit(*byte));
    }
    text
}
