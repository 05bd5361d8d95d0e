//! Time as the engine sees it: handed in with every input, never read from a clock.

/// Milliseconds since the Unix epoch, UTC. May jump; used only for what people read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WallMs(pub i64);

/// Microseconds on a clock that never goes back. All deadlines and rates use this one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mono(pub u64);

/// Microseconds in a second.
pub const SECOND_US: u64 = 1_000_000;

impl Mono {
    /// This time plus `us` microseconds.
    #[must_use]
    pub fn after(self, us: u64) -> Mono {
        Mono(self.0.saturating_add(us))
    }
    /// Microseconds from `earlier` to this time; 0 if it lies ahead.
    pub fn since(self, earlier: Mono) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// For deadlines.
    pub mono: Mono,
    /// For people.
    pub wall: WallMs,
}

impl WallMs {
    /// Whole seconds since the Unix epoch (as in a token's `exp`).
    pub fn secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Appends RFC 3339 in UTC with milliseconds: `2026-01-31T09:08:07.006Z`.
    pub fn write_rfc3339(self, out: &mut Vec<u8>) {
        let (days, ms) = (self.0.div_euclid(86_400_000), self.0.rem_euclid(86_400_000));
        let (year, month, day) = civil(days);
        let mut text = *b"0000-00-00T00:00:00.000Z";
        for (place, value, width) in [
            (0, year, 4),
            (5, month, 2),
            (8, day, 2),
            (11, ms / 3_600_000, 2),
            (14, ms / 60_000 % 60, 2),
            (17, ms / 1000 % 60, 2),
            (20, ms % 1000, 3),
        ] {
            put_digits(&mut text[place..place + width], value);
        }
        out.extend_from_slice(&text);
    }
}

impl WallMs {
    /// Reads RFC 3339 with any offset; digits beyond milliseconds are dropped. `None`: it is none.
    pub fn parse_rfc3339(text: &str) -> Option<WallMs> {
        let bytes = text.as_bytes();
        let (head, rest) = bytes.split_at_checked(19)?;
        let shape = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
        if shape.iter().any(|(at, mark)| head[*at].to_ascii_uppercase() != *mark) {
            return None;
        }
        let (year, month, day) = (digits(&head[..4])?, digits(&head[5..7])?, digits(&head[8..10])?);
        let (hour, minute, second) = (digits(&head[11..13])?, digits(&head[14..16])?, digits(&head[17..])?);
        // A leap second is the first moment of the next minute.
        if !(1..=12).contains(&month) || day < 1 || hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let days = days_of_civil(year, month, day);
        if civil(days) != (year, month, day) {
            return None;
        }
        let (ms, zone) = fraction(rest)?;
        let at = ((days * 24 + hour) * 60 + minute - offset_minutes(zone)?) * 60 + second;
        Some(WallMs(at * 1000 + ms))
    }
}

/// Milliseconds of a fraction, if there is one, and what is behind it.
fn fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let Some((b'.', text)) = text.split_first() else { return Some((0, text)) };
    let length = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let ms =
        (0..3).map(|at| if at < length { i64::from(text[at] - b'0') } else { 0 }).fold(0, |ms, digit| ms * 10 + digit);
    (length > 0).then(|| (ms, &text[length..]))
}

/// Minutes that local time is ahead of UTC.
fn offset_minutes(zone: &[u8]) -> Option<i64> {
    match zone {
        [b'Z' | b'z'] => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (digits(&[*h1, *h2])?, digits(&[*m1, *m2])?);
            let ahead = hours * 60 + minutes;
            (hours <= 23 && minutes <= 59).then_some(if *sign == b'+' { ahead } else { -ahead })
        }
        _ => None,
    }
}

fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0, |value, byte| byte.is_ascii_digit().then(|| value * 10 + i64::from(byte - b'0')))
}

fn put_digits(places: &mut [u8], value: i64) {
    let mut rest = value as u32; // of a part of a date: never negative within years 0 to 9999
    for place in places.iter_mut().rev() {
        *place = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
}

fn civil(days: i64) -> (i64, i64, i64) {
    // Days since 1970-01-01 to (year, month, day) in the proleptic Gregorian calendar.
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + i64::from(month <= 2), month, day)
}

/// The inverse of [`civil`]; a day that a month has not is one of the next.
fn days_of_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let yoe = year.rem_euclid(400);
    let doy = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    era * 146_097 + doe - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3339_in_utc_with_milliseconds() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_123, "2000-02-29T00:00:00.123Z"),
            (1_795_426_934_006, "2026-11-23T09:42:14.006Z"),
        ] {
            let mut out = Vec::new();
            WallMs(ms).write_rfc3339(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }
    #[test]
    fn rfc3339_is_read_with_any_offset() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-02-29T00:00:00.123Z", Some(951_782_400_123)),
            ("2000-02-29t00:00:00.1239999z", Some(951_782_400_123)),
            ("2000-02-29T00:00:00.1Z", Some(951_782_400_100)),
            ("2000-02-29T02:30:00+02:30", Some(951_782_400_000)),
            ("2000-02-28T18:00:00.000-06:00", Some(951_782_400_000)),
            ("2000-02-28T23:59:60Z", Some(951_782_400_000)),
            ("1969-12-31T23:59:59.999Z", Some(-1)),
            ("0000-01-01T00:00:00Z", Some(-62_167_219_200_000)),
            ("9999-12-31T23:59:59.999Z", Some(253_402_300_799_999)),
            ("1900-02-29T00:00:00Z", None),
            ("2026-02-30T00:00:00Z", None),
            ("2026-04-31T00:00:00Z", None),
            ("2026-13-01T00:00:00Z", None),
            ("2026-00-01T00:00:00Z", None),
            ("2026-01-00T00:00:00Z", None),
            ("2026-01-01T24:00:00Z", None),
            ("2026-01-01T00:60:00Z", None),
            ("2026-01-01T00:00:61Z", None),
            ("2026-01-01T00:00:00", None),
            ("2026-01-01T00:00:00.Z", None),
            ("2026-01-01T00:00:00+24:00", None),
            ("2026-01-01T00:00:00+00:60", None),
            ("2026-01-01T00:00:00+0000", None),
            ("2026-01-01T00:00:00Z ", None),
            ("2026-01-01 00:00:00Z", None),
            ("2026-01-01", None),
            ("+026-01-01T00:00:00Z", None),
            ("２026-01-01T00:00:00Z", None),
            ("", None),
        ] {
            assert_eq!(WallMs::parse_rfc3339(text).map(|at| at.0), expected, "{text}");
        }
        for days in (-719_528..2_932_896).step_by(97) {
            let mut out = Vec::new();
            WallMs(days * 86_400_000 + 1).write_rfc3339(&mut out);
            let text = String::from_utf8(out).unwrap();
            assert_eq!(WallMs::parse_rfc3339(&text), Some(WallMs(days * 86_400_000 + 1)), "{text}");
        }
    }
}
