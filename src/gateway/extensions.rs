//! `Sec-WebSocket-Extensions` (RFC 6455, 9.1): which offer of permessage-deflate (RFC 7692) is taken.

#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use veza_engine::deflate::Window;

const PERMESSAGE_DEFLATE: &str = "permessage-deflate";

/// What was agreed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// The header's value in the answer.
    pub answer: String,
    /// For what we send.
    pub window: Window,
}

/// Takes the first offer of permessage-deflate that can be kept. Neither side may look back beyond a message, so that
/// one frame serves all receivers and nothing is kept for a connection. An offer with a parameter that is unknown, comes
/// twice, or has an impossible value is declined; a header that is malformed from some place on offers nothing from there.
pub fn negotiate<'a>(lines: impl Iterator<Item = &'a str>) -> Option<Agreed> {
    lines.flat_map(offers).find_map(|offer| accept(&offer))
}

#[derive(Debug, Default)]
struct Offer<'a> {
    name: &'a str,
    params: Vec<(&'a str, Option<String>)>,
}

fn accept(offer: &Offer<'_>) -> Option<Agreed> {
    if !offer.name.eq_ignore_ascii_case(PERMESSAGE_DEFLATE) {
        return None;
    }
    let mut server_bits = None;
    for (index, (name, value)) in offer.params.iter().enumerate() {
        if offer.params[..index].iter().any(|(before, _)| before == name) {
            return None;
        }
        match (*name, value.as_deref()) {
            ("server_no_context_takeover" | "client_no_context_takeover" | "client_max_window_bits", None) => {}
            // What the client may use at most; ours can read everything.
            ("client_max_window_bits", Some(value)) => _ = bits(value)?,
            ("server_max_window_bits", Some(value)) => server_bits = Some(bits(value)?),
            _ => return None,
        }
    }
    let mut answer = format!("{PERMESSAGE_DEFLATE}; server_no_context_takeover; client_no_context_takeover");
    if let Some(bits) = server_bits {
        let _ = write!(answer, "; server_max_window_bits={bits}");
    }
    Some(Agreed { answer, window: Window(server_bits.unwrap_or(15)) })
}

/// 8 to 15, without leading zeros (RFC 7692, 7.1.2).
fn bits(value: &str) -> Option<u8> {
    let bits: u8 = value.parse().ok()?;
    ((8..=15).contains(&bits) && bits.to_string() == value).then_some(bits)
}

/// The offers of one line, up to where it is malformed.
fn offers(line: &str) -> Vec<Offer<'_>> {
    let mut rest = Rest(line);
    let mut offers = Vec::new();
    loop {
        // Empty elements of a list are allowed (RFC 9110, 5.6.1).
        while rest.skip(',') {}
        match rest.offer() {
            Some(offer) if rest.0.is_empty() || rest.0.starts_with(',') => offers.push(offer),
            _ => return offers,
        }
    }
}

/// What is still to be read of a line.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn offer(&mut self) -> Option<Offer<'a>> {
        let mut offer = Offer { name: self.token()?, params: Vec::new() };
        while self.skip(';') {
            let name = self.token()?;
            let value = if self.skip('=') { Some(self.value()?) } else { None };
            offer.params.push((name, value));
        }
        Some(offer)
    }

    /// A token, or one in quotes.
    fn value(&mut self) -> Option<String> {
        let Some(quoted) = self.0.strip_prefix('"') else { return self.token().map(str::to_owned) };
        let mut value = String::new();
        let mut chars = quoted.char_indices();
        while let Some((at, char)) = chars.next() {
            match char {
                '"' => {
                    self.0 = &quoted[at + 1..];
                    self.space();
                    return (!value.is_empty() && value.chars().all(is_token)).then_some(value);
                }
                '\\' => value.push(chars.next()?.1),
                _ => value.push(char),
            }
        }
        None
    }

    fn token(&mut self) -> Option<&'a str> {
        let end = self.0.find(|char| !is_token(char)).unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at(end);
        self.0 = rest;
        self.space();
        (!token.is_empty()).then_some(token)
    }

    fn skip(&mut self, char: char) -> bool {
        self.space();
        let Some(rest) = self.0.strip_prefix(char) else { return false };
        self.0 = rest;
        self.space();
        true
    }

    fn space(&mut self) {
        self.0 = self.0.trim_start_matches([' ', '\t']);
    }
}

fn is_token(char: char) -> bool {
    char.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(char)
}
