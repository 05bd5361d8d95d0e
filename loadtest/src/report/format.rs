//! Numbers as people read them.

/// 1234567 as `1,234,567`.
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// So many of something, such as `1 worker` or `2,000 workers`.
pub fn counted(value: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(value), if value == 1 { one } else { many })
}

/// A number to three digits or so, without an exponent.
pub fn number(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        "–".into()
    } else if size >= 1000.0 || (value.fract() == 0.0 && size < 1e15) {
        format!("{}{}", if value < -0.5 { "−" } else { "" }, count(size.round() as u64))
    } else {
        let decimals = if size >= 100.0 {
            0
        } else if size >= 10.0 {
            1
        } else if size >= 0.1 {
            2
        } else {
            4
        };
        let text = format!("{size:.decimals$}");
        let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
        format!("{}{text}", if value < 0.0 { "−" } else { "" })
    }
}

/// A time given in µs, in the unit that fits.
pub fn time(us: f64) -> String {
    let size = us.abs();
    if !us.is_finite() {
        "–".into()
    } else if size >= 999_500.0 {
        format!("{} s", number(us / 1e6))
    } else if size >= 999.5 {
        format!("{} ms", number(us / 1e3))
    } else {
        format!("{} µs", number(us))
    }
}

/// Bytes, in the unit that fits (1 MB is 1,000,000 bytes).
pub fn bytes(value: f64) -> String {
    for (scale, unit) in [(1e9, "GB"), (1e6, "MB"), (1e3, "kB")] {
        if value.abs() >= scale * 0.9995 {
            return format!("{} {unit}", number(value / scale));
        }
    }
    format!("{} B", number(value))
}

/// How one value stands to another, such as `×1.08`.
pub fn ratio(value: f64) -> String {
    if value.is_finite() { format!("×{value:.2}") } else { "–".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_true() {
        let cases: [(String, &str); 22] = [
            (count(0), "0"),
            (count(999), "999"),
            (count(1_000), "1,000"),
            (count(1_234_567), "1,234,567"),
            (counted(1, "fly", "flies"), "1 fly"),
            (counted(0, "fly", "flies"), "0 flies"),
            (number(0.0), "0"),
            (number(0.01234), "0.0123"),
            (number(0.5), "0.5"),
            (number(1.234), "1.23"),
            (number(99.96), "100"),
            (number(12345.6), "12,346"),
            (number(-1.5), "−1.5"),
            (number(f64::NAN), "–"),
            (time(999.0), "999 µs"),
            (time(1_500.0), "1.5 ms"),
            (time(999_600.0), "1 s"),
            (time(2_340_000.0), "2.34 s"),
            (bytes(512.0), "512 B"),
            (bytes(1_500_000.0), "1.5 MB"),
            (ratio(1.082), "×1.08"),
            (ratio(f64::INFINITY), "–"),
        ];
        for (got, expected) in cases {
            assert_eq!(got, expected);
        }
    }
}
