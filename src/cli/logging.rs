//! Logs: one event is one line, whatever is in it.

use crate::config::{LogFormat, LogLevel, Logging};
use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, Write};
use std::panic::PanicHookInfo;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Packages whose level is the configured one. Others tell nothing below "info": their details may hold what clients
/// sent.
const OURS: [&str; 3] = ["veza_chat_server", "veza_runtime", "veza_engine"];

/// Sets up logging on standard error for the whole process. Only the first call has an effect.
pub fn init(config: &Logging) {
    let level = level(config.level);
    let filter = Targets::new().with_default(level.min(LevelFilter::INFO)).with_targets(OURS.map(|name| (name, level)));
    let registry = tracing_subscriber::registry().with(filter);
    let lines = tracing_subscriber::fmt::layer().with_ansi(false);
    let done = match config.format {
        LogFormat::Pretty => registry.with(lines.with_writer(Lines(io::stderr, escape_for_people))).try_init(),
        LogFormat::Json => registry.with(lines.json().with_writer(Lines(io::stderr, escape_for_json))).try_init(),
    };
    // Only a second call in one process can fail: the first one's settings stay.
    if done.is_ok() {
        std::panic::set_hook(Box::new(log_panic));
    }
}

/// A panic is an event like any other: its message, which may quote a client, must not steer a terminal either.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("no message");
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    tracing::error!(place, thread = thread.name().unwrap_or(""), "panic: {message}");
    // Only where RUST_BACKTRACE asks for one.
    let trace = Backtrace::capture();
    if trace.status() == BacktraceStatus::Captured {
        trace.to_string().lines().for_each(|line| tracing::error!("{line}"));
    }
}

fn level(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

/// Writes a letter that must not stand in a line as it is.
type Escape = fn(char) -> String;

fn escape_for_people(letter: char) -> String {
    letter.escape_unicode().to_string()
}

/// As JSON strings have it; all such letters are below 2^16.
fn escape_for_json(letter: char) -> String {
    format!("\\u{:04x}", u32::from(letter))
}

/// Makes writers that take one event each.
struct Lines<W>(fn() -> W, Escape);

impl<'a, W: Write> MakeWriter<'a> for Lines<W> {
    type Writer = Line<W>;

    fn make_writer(&'a self) -> Self::Writer {
        Line(self.0(), self.1)
    }
}

/// Writes an event as one line: control characters, with which a client could forge lines or steer a terminal, are
/// escaped. The library hands over each event in one piece.
struct Line<W>(W, Escape);

impl<W: Write> Write for Line<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.0.write_all(one_line(event, self.1).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn one_line(event: &[u8], escape: Escape) -> String {
    let text = String::from_utf8_lossy(event);
    let mut line = String::with_capacity(text.len() + 1);
    for letter in text.trim_end_matches('\n').chars() {
        if steers(letter) {
            line.push_str(&escape(letter));
        } else {
            line.push(letter);
        }
    }
    line.push('\n');
    line
}

/// Control characters, separators of lines, and marks that turn the direction of writing.
fn steers(letter: char) -> bool {
    letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_whatever_is_in_it() {
        for (event, line) in [
            ("plain\n", "plain\n"),
            ("a\r\nINFO forged\n", "a\\u{d}\\u{a}INFO forged\n"),
            ("\x1b[2Jgone\n", "\\u{1b}[2Jgone\n"),
            ("\u{9b}31m\u{202e}\u{2028}\n", "\\u{9b}31m\\u{202e}\\u{2028}\n"),
            ("grüße 🤔\n", "grüße 🤔\n"),
        ] {
            assert_eq!(one_line(event.as_bytes(), escape_for_people), line);
        }
    }

    #[test]
    fn json_lines_stay_json() {
        use std::sync::{Arc, Mutex};
        thread_local! { static OUT: Arc<Mutex<Vec<u8>>> = Arc::default(); }
        struct Sink;
        impl Write for Sink {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                OUT.with(|out| out.lock().unwrap().extend_from_slice(bytes));
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let lines =
            tracing_subscriber::fmt::layer().with_ansi(false).json().with_writer(Lines(|| Sink, escape_for_json));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), || {
            tracing::info!(name = "a\n\"b\"\x1b[0m\u{202e}", "text\r\n");
        });
        let out = OUT.with(|out| String::from_utf8(out.lock().unwrap().clone()).unwrap());
        assert_eq!(out.lines().count(), 1, "{out}");
        let event: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(event["fields"]["name"], "a\n\"b\"\x1b[0m\u{202e}");
        assert!(!out.contains('\u{202e}'));
    }
}
