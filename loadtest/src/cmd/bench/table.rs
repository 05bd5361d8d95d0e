//! The table as text.

use super::{Cpu, Good, Row};

/// The rows as a markdown table.
pub fn markdown(rows: &[Row]) -> String {
    let mut out = String::from(
        "| # | what | measured | reach | stretch | uWebSockets | CPU s (server, generator, database) | details |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let (number, name, peer, details) = (row.number, row.name, row.peer, &row.details);
        let (value, reach, stretch) = (value(row), bound(row, row.reach), bound(row, row.stretch));
        let cpu = cpu(&row.cpu);
        out.push_str(&format!("| {number} | {name} | {value} | {reach} | {stretch} | {peer} | {cpu} | {details} |\n"));
    }
    out
}

/// A row as one line, as soon as it is known.
pub fn line(row: &Row) -> String {
    format!("{}: {} (reach {}; {}) {}", row.name, value(row), bound(row, row.reach), cpu(&row.cpu), row.details)
}

fn value(row: &Row) -> String {
    let verdict = match (row.meets(row.stretch), row.meets(row.reach)) {
        (true, _) => "stretch",
        (false, true) => "reached",
        (false, false) => "missed",
    };
    format!("**{} {}** ({verdict})", figure(row.value), row.unit)
}

fn bound(row: &Row, bound: f64) -> String {
    let sign = match row.good {
        Good::AtMost => '≤',
        Good::AtLeast => '≥',
    };
    format!("{sign} {}", figure(bound))
}

/// Three digits that count, without a tail of zeros.
fn figure(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.3}").trim_end_matches('0').trim_end_matches('.').to_owned(),
    }
}

fn cpu(cpu: &Cpu) -> String {
    let part = |seconds: Option<f64>| seconds.map_or("–".to_owned(), |seconds| format!("{seconds:.2}"));
    let parts = [cpu.server, cpu.generator, cpu.database].map(part).join(" / ");
    format!("{parts} in {:.1}", cpu.seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(value: f64, good: Good) -> Row {
        Row {
            number: 1,
            name: "what",
            value,
            unit: "×",
            good,
            reach: 1.2,
            stretch: if good == Good::AtMost { 1.0 } else { 2.0 },
            peer: "1.03",
            cpu: Cpu { server: Some(1.5), generator: Some(0.25), database: None, seconds: 2.0 },
            details: "all".into(),
        }
    }

    #[test]
    fn says_what_was_reached() {
        let cases = [
            (row(1.3, Good::AtMost), "missed"),
            (row(1.2, Good::AtMost), "reached"),
            (row(0.9, Good::AtMost), "stretch"),
            (row(1.1, Good::AtLeast), "missed"),
            (row(1.9, Good::AtLeast), "reached"),
            (row(2.0, Good::AtLeast), "stretch"),
        ];
        for (row, verdict) in cases {
            assert!(line(&row).contains(verdict), "{}", line(&row));
        }
    }

    #[test]
    fn one_line_a_row() {
        let text = markdown(&[row(1.25, Good::AtMost)]);
        let expected = "| 1 | what | **1.25 ×** (missed) | ≤ 1.2 | ≤ 1 | 1.03 | 1.50 / 0.25 / – in 2.0 | all |";
        assert_eq!(text.lines().nth(2), Some(expected));
    }
}
