//! Durations in scenarios.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::time::Duration;

/// A duration that is written as text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl Span {
    /// So many seconds.
    pub const fn secs(seconds: u64) -> Span {
        Span(Duration::from_secs(seconds))
    }

    /// So many milliseconds.
    pub const fn millis(milliseconds: u64) -> Span {
        Span(Duration::from_millis(milliseconds))
    }

    /// µs.
    pub fn us(self) -> u64 {
        u64::try_from(self.0.as_micros()).unwrap_or(u64::MAX)
    }

    fn parse(text: &str) -> Option<Span> {
        let unit = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = text[..unit].parse().ok()?;
        let scale = match &text[unit..] {
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        Duration::try_from_secs_f64(number * scale).ok().map(Span)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = if self.0.subsec_nanos() == 0 {
            format!("{}s", self.0.as_secs())
        } else {
            format!("{}ms", self.0.as_secs_f64() * 1e3)
        };
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = || serde::de::Error::custom(format!("{text:?} is no duration, such as \"500ms\" or \"30s\""));
        Span::parse(&text).ok_or_else(wrong)
    }
}
