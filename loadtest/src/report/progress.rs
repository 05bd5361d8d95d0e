//! What a run is doing, while it runs: one line that is written over on a terminal, and a plain line now and then
//! where the output is kept.

use super::format;
use crate::result::Second;
use std::io::{self, IsTerminal as _, Write};

/// Seconds between two lines where they are kept.
const EVERY_S: f64 = 5.0;

/// The progress of one run.
pub struct Progress<W: Write = io::Stderr> {
    out: W,
    live: bool,
    name: String,
    total_s: Option<f64>,
    errors: u64,
    /// When the last plain line was written.
    last_s: Option<f64>,
}

impl Progress {
    /// On stderr. `total_s` is the length of the run with its warm-up, where it is known.
    pub fn new(name: &str, total_s: Option<f64>) -> Progress {
        let out = io::stderr();
        let live = out.is_terminal();
        Progress { out, live, name: name.to_owned(), total_s, errors: 0, last_s: None }
    }
}

impl<W: Write> Progress<W> {
    /// One second more. That nobody can be told is no reason to end a run.
    pub fn second(&mut self, second: &Second) {
        self.errors += second.errors;
        let line = self.line(second);
        if self.live {
            // Without wrapping, so that a narrow terminal cuts the line instead of filling up with it.
            let _ = write!(self.out, "\r\x1b[?7l{line}\x1b[K\x1b[?7h");
            let _ = self.out.flush();
        } else if self.last_s.is_none_or(|last| second.at_s >= last + EVERY_S || second.at_s < last) {
            self.last_s = Some(second.at_s);
            let _ = writeln!(self.out, "{line}");
        }
    }

    /// The run is over: what comes next begins on its own line.
    pub fn finish(&mut self) {
        if self.live {
            let _ = writeln!(self.out);
        }
    }

    fn line(&self, second: &Second) -> String {
        let of = self.total_s.map(|total| format!("/{}", format::number(total.round()))).unwrap_or_default();
        let mut line = format!(
            "{} {:.0}{of} s{}: {} connections, {} sends/s, {} acks/s, {} deliveries/s",
            self.name,
            second.at_s,
            if second.measured { "" } else { " (not measured)" },
            format::count(second.connections),
            format::count(second.sent),
            format::count(second.acknowledged),
            format::count(second.deliveries),
        );
        if second.ack_p99_us > 0 {
            line += &format!(", ack p99 {}", format::time(second.ack_p99_us as f64));
        }
        line += &format!(", {} errors", format::count(self.errors));
        if let Some(cores) = second.server_cores {
            line += &format!(", server {cores:.2} cores");
        }
        line + &format!(", load {:.2}", second.generator_cores)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::examples;

    fn shown(live: bool) -> String {
        let mut progress =
            Progress { out: Vec::new(), live, name: "chat".into(), total_s: Some(12.0), errors: 0, last_s: None };
        examples::run().series.iter().for_each(|second| progress.second(second));
        progress.finish();
        String::from_utf8(progress.out).expect("text")
    }

    #[test]
    fn a_kept_output_gets_a_line_now_and_then() {
        let text = shown(false);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(!text.contains(['\r', '\x1b']), "{text:?}");
        assert!(lines[0].starts_with("chat 1/12 s (not measured): 500 connections, 1,000 sends/s"), "{text}");
        assert!(
            lines[1].contains("9,000 deliveries/s, ack p99 9.06 ms, 3 errors, server 0.45 cores, load 0.3"),
            "{text}"
        );
    }

    #[test]
    fn a_terminal_has_one_line() {
        let text = shown(true);
        assert_eq!(text.matches('\n').count(), 1, "{text:?}");
        assert_eq!(text.matches('\r').count(), 12, "{text:?}");
    }
}
