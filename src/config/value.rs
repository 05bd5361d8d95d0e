//! The kinds of values that a setting can have: how each is read from TOML or from an environment variable, and how
//! it is written.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// A value as it was given, before anybody knows what it should be.
#[derive(Clone, Debug, PartialEq)]
pub enum Given {
    /// TOML string.
    Text(String),
    /// TOML integer.
    Int(i64),
    /// TOML boolean.
    Bool(bool),
    /// TOML array.
    List(Vec<Given>),
    /// Any other TOML value; its kind.
    Other(&'static str),
    /// The text of an environment variable: its kind is what the setting expects.
    Env(String),
}

impl Given {
    /// What it is, for people. Never the value: it may be a secret.
    pub fn kind(&self) -> &'static str {
        match self {
            Given::Text(_) => "a string",
            Given::Int(_) => "an integer",
            Given::Bool(_) => "a boolean",
            Given::List(_) => "an array",
            Given::Other(kind) => kind,
            Given::Env(_) => "text",
        }
    }
}

/// The limits of a number, or of a duration in milliseconds.
pub type Range = Option<RangeInclusive<i64>>;

/// A type that a setting can have.
pub trait Value: Sized {
    /// Reads it. The error says what was given (its kind) and what is expected.
    fn read(given: &Given, range: &Range) -> Result<Self, String>;
    /// As TOML, such that [`Value::read`] gives the same again.
    fn write(&self) -> String;
}

/// Writes a TOML string.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn unexpected(given: &Given, expected: &str) -> String {
    format!("got {}, expected {expected}", given.kind())
}

fn text_of<'a>(given: &'a Given, expected: &str) -> Result<&'a str, String> {
    match given {
        Given::Text(text) | Given::Env(text) => Ok(text),
        other => Err(unexpected(other, expected)),
    }
}

impl Value for String {
    fn read(given: &Given, _: &Range) -> Result<Self, String> {
        let text = text_of(given, "a string")?;
        if text.chars().any(char::is_control) {
            return Err("has a control character, expected a string without".into());
        }
        Ok(text.to_owned())
    }
    fn write(&self) -> String {
        quoted(self)
    }
}

impl Value for PathBuf {
    fn read(given: &Given, range: &Range) -> Result<Self, String> {
        match String::read(given, range)? {
            path if path.is_empty() => Err("is empty, expected a path".into()),
            path => Ok(PathBuf::from(path)),
        }
    }
    fn write(&self) -> String {
        quoted(&self.to_string_lossy())
    }
}

/// The path of a file that need not be given.
impl Value for Option<PathBuf> {
    fn read(given: &Given, range: &Range) -> Result<Self, String> {
        let path = String::read(given, range)?;
        Ok((!path.is_empty()).then(|| PathBuf::from(path)))
    }
    fn write(&self) -> String {
        quoted(&self.as_deref().unwrap_or_else(|| std::path::Path::new("")).to_string_lossy())
    }
}

impl Value for bool {
    fn read(given: &Given, _: &Range) -> Result<Self, String> {
        match given {
            Given::Bool(value) => Ok(*value),
            Given::Env(text) if text == "true" => Ok(true),
            Given::Env(text) if text == "false" => Ok(false),
            other => Err(unexpected(other, "true or false")),
        }
    }
    fn write(&self) -> String {
        self.to_string()
    }
}

fn read_number(given: &Given, range: &Range, most: i64) -> Result<i64, String> {
    let range = range.clone().unwrap_or(0..=most);
    let expected = || format!("a whole number from {} to {}", range.start(), range.end());
    let number = match given {
        Given::Int(number) => *number,
        Given::Env(text) => text.trim().replace('_', "").parse().map_err(|_| unexpected(given, &expected()))?,
        other => return Err(unexpected(other, &expected())),
    };
    if range.contains(&number) { Ok(number) } else { Err(format!("got {number}, expected {}", expected())) }
}

macro_rules! numbers {
    ($($ty:ty),+) => { $(
        impl Value for $ty {
            fn read(given: &Given, range: &Range) -> Result<Self, String> {
                let number = read_number(given, range, i64::try_from(<$ty>::MAX).unwrap_or(i64::MAX))?;
                // A range given in the schema lies within its type; should it not, this refuses the value.
                <$ty>::try_from(number).map_err(|_| format!("{number} does not fit"))
            }
            fn write(&self) -> String {
                self.to_string()
            }
        }
    )+ };
}
numbers!(u16, u32, u64, usize);

/// Units of durations, longest first, in milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Reads "15m", "25s", "7d", "500ms", "2h"; also a sum such as "1h30m".
///
/// # Errors
/// What is expected, if the text is anything else.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let expected = "a duration such as \"15m\", \"25s\", \"7d\" or \"500ms\"";
    let wrong = || format!("got a text of another form, expected {expected}");
    let mut rest = text;
    let mut total_ms = 0_u64;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let letters = rest[digits..].bytes().take_while(u8::is_ascii_lowercase).count();
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        let unit = &rest[digits..digits + letters];
        let ms = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?.1;
        total_ms = number.checked_mul(ms).and_then(|part| total_ms.checked_add(part)).ok_or_else(wrong)?;
        rest = &rest[digits + letters..];
    }
    if text.is_empty() { Err(wrong()) } else { Ok(Duration::from_millis(total_ms)) }
}

/// Writes a duration in its largest whole unit.
pub fn format_duration(duration: Duration) -> String {
    let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let (name, unit) = UNITS.iter().find(|(_, unit)| ms >= *unit && ms.is_multiple_of(*unit)).unwrap_or(&("ms", 1));
    format!("{}{name}", ms / unit)
}

impl Value for Duration {
    fn read(given: &Given, range: &Range) -> Result<Self, String> {
        let duration = parse_duration(text_of(given, "a duration in quotes, such as \"15m\" or \"25s\"")?)?;
        let range = range.clone().unwrap_or(0..=i64::MAX);
        match i64::try_from(duration.as_millis()) {
            Ok(ms) if range.contains(&ms) => Ok(duration),
            _ => {
                let [from, to] =
                    [range.start(), range.end()].map(|ms| format_duration(Duration::from_millis(ms.unsigned_abs())));
                Err(format!("got {}, expected a duration from {from} to {to}", format_duration(duration)))
            }
        }
    }
    fn write(&self) -> String {
        quoted(&format_duration(*self))
    }
}

const ADDRESS: &str = "an address with a port, such as \"127.0.0.1:8080\" or \"[::]:8080\"";

fn read_address(text: &str) -> Result<SocketAddr, String> {
    // Names are not looked up: that would need the network. The one that everybody writes is known.
    if let Some(port) = text.strip_prefix("localhost:").and_then(|port| port.parse().ok()) {
        return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    }
    SocketAddr::from_str(text).map_err(|_| format!("got a text of another form, expected {ADDRESS}"))
}

impl Value for SocketAddr {
    fn read(given: &Given, _: &Range) -> Result<Self, String> {
        read_address(text_of(given, ADDRESS)?)
    }
    fn write(&self) -> String {
        quoted(&self.to_string())
    }
}

/// An address that need not be given.
impl Value for Option<SocketAddr> {
    fn read(given: &Given, _: &Range) -> Result<Self, String> {
        match text_of(given, ADDRESS)? {
            "" => Ok(None),
            text => read_address(text).map(Some),
        }
    }
    fn write(&self) -> String {
        quoted(&self.map(|address| address.to_string()).unwrap_or_default())
    }
}

/// A list of strings; in the environment separated by commas.
impl Value for Vec<String> {
    fn read(given: &Given, range: &Range) -> Result<Self, String> {
        match given {
            Given::List(items) => items
                .iter()
                .map(|item| match item {
                    Given::Text(_) => String::read(item, range),
                    other => Err(format!("got an array with {}, expected an array of strings", other.kind())),
                })
                .collect(),
            Given::Env(text) => {
                Ok(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect())
            }
            other => Err(unexpected(other, "an array of strings")),
        }
    }
    fn write(&self) -> String {
        format!("[{}]", self.iter().map(|item| quoted(item)).collect::<Vec<_>>().join(", "))
    }
}

/// A closed set of words.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$doc])* $variant),+ }

        impl $name {
            /// As it is written in the configuration.
            pub fn name(self) -> &'static str {
                match self { $($name::$variant => $word),+ }
            }
        }

        impl Value for $name {
            fn read(given: &Given, _: &Range) -> Result<Self, String> {
                let expected = [$(concat!("\"", $word, "\"")),+].join(", ");
                match text_of(given, &format!("one of {expected}"))? {
                    $($word => Ok($name::$variant),)+
                    _ => Err(format!("got another word, expected one of {expected}")),
                }
            }
            fn write(&self) -> String {
                quoted(self.name())
            }
        }
    };
}

words! {
    /// Where the server runs.
    Environment {
        /// Weak secrets and development switches are accepted, with warnings.
        Development = "development",
        /// They are refused.
        Production = "production",
    }
}

words! {
    /// Signature algorithms of the configured issuer's tokens.
    JwtAlgorithm {
        /// HMAC with `jwt_secret`.
        Hs256 = "HS256",
        /// RSA PKCS #1 v1.5.
        Rs256 = "RS256",
        /// ECDSA on P-256.
        Es256 = "ES256",
        /// Ed25519.
        EdDsa = "EdDSA",
    }
}

words! {
    /// Forms of log lines.
    LogFormat {
        /// For people.
        Pretty = "pretty",
        /// One JSON object a line.
        Json = "json",
    }
}

words! {
    /// The least important lines that are logged.
    LogLevel {
        /// What needs somebody's attention at once.
        Error = "error",
        /// What will need it.
        Warn = "warn",
        /// What an operator wants to know.
        Info = "info",
        /// What a developer wants to know.
        Debug = "debug",
        /// Everything.
        Trace = "trace",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, ms) in
            [("15m", 900_000), ("25s", 25_000), ("7d", 604_800_000), ("500ms", 500), ("1h30m", 5_400_000), ("0s", 0)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "15", "m", "-1s", "1.5s", "15 m", "15M", "1y", "99999999999999999999s", "999999999999999999d"]
        {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_written_as_they_are_read() {
        for text in ["15m", "25s", "7d", "500ms", "90m", "0ms", "1500ms"] {
            assert_eq!(format_duration(parse_duration(text).unwrap()), text);
        }
    }

    #[test]
    fn environment_text_takes_the_kind_that_is_expected() {
        let env = |text: &str| Given::Env(text.to_owned());
        assert_eq!(bool::read(&env("true"), &None), Ok(true));
        assert_eq!(u32::read(&env("1_000"), &None), Ok(1000));
        assert_eq!(Vec::<String>::read(&env("a, b,"), &None), Ok(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(SocketAddr::read(&env("localhost:80"), &None).unwrap().to_string(), "127.0.0.1:80");
        assert!(bool::read(&env("yes"), &None).is_err());
        assert!(u16::read(&env("65536"), &None).is_err());
    }
}
