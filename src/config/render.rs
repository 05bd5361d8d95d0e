//! `default-config`: every setting with its meaning, as TOML that loads as it stands.

use super::Config;
use std::fmt::Write;

/// What stands at the head of the file.
const HEAD: &str = "\
# Every setting of the Veza chat server with its default and its meaning.
# A file need only hold what differs. Environment variables override it: VEZA_SECTION__KEY, as VEZA_DATABASE__URL.
# Durations: \"7d\", \"15m\", \"25s\", \"500ms\".
";

/// The whole configuration as a commented file.
pub fn render(config: &Config) -> String {
    let mut out = String::from(HEAD);
    for section in config.sections() {
        let comment = |out: &mut String, lines: &[&str]| {
            for line in lines {
                // Writing to a string cannot fail.
                let _ = writeln!(out, "#{line}");
            }
        };
        out.push('\n');
        comment(&mut out, section.doc());
        let _ = writeln!(out, "[{}]", section.name());
        for setting in section.settings() {
            comment(&mut out, setting.doc);
            let _ = writeln!(out, "{} = {}", setting.name, setting.value);
        }
    }
    out
}
