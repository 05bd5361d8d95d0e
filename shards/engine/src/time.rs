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
        put_digits(out, year, 4);
        for (separator, value, width) in [
            (b'-', month, 2),
            (b'-', day, 2),
            (b'T', ms / 3_600_000, 2),
            (b':', ms / 60_000 % 60, 2),
            (b':', ms / 1000 % 60, 2),
            (b'.', ms % 1000, 3),
        ] {
            out.push(separator);
            put_digits(out, value, width);
        }
        out.push(b'Z');
    }
}

fn put_digits(out: &mut Vec<u8>, value: i64, width: usize) {
    let mut digits = [b'0'; 4];
    let mut rest = value;
    for digit in digits[..width].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out.extend_from_slice(&digits[..width]);
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
}
