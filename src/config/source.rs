//! Where settings come from: the file, `.env`, the environment. Every problem is collected, none stops the rest.

use super::Config;
use super::value::Given;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use toml::de::{DeInteger, DeTable, DeValue};

/// What the names of our variables begin with.
const PREFIX: &str = "VEZA_";
/// Variables of our own tests, which the server does not read.
const TEST_PREFIX: &str = "VEZA_TEST_";

/// Where the settings come from.
#[derive(Default)]
pub struct Sources<'a> {
    /// `--config`.
    pub file: Option<&'a Path>,
    /// `.env`, if there is one.
    pub dotenv: Option<&'a Path>,
    /// The environment.
    pub env: Vec<(String, String)>,
}

impl<'a> Sources<'a> {
    /// Those of this process.
    pub fn of_process(file: Option<&'a Path>) -> Sources<'a> {
        let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        let env = std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect();
        Sources { file, dotenv: Some(Path::new(".env")), env }
    }

    /// Applies them in their order.
    pub fn apply(self, config: &mut Config, problems: &mut Vec<String>) {
        if let Some(path) = self.file {
            match std::fs::read_to_string(path) {
                Ok(text) => apply_file(config, &path.display().to_string(), &text, problems),
                Err(error) => problems.push(format!("{}: cannot be read: {error}", path.display())),
            }
        }
        let mut variables = BTreeMap::new();
        if let Some(path) = self.dotenv.filter(|path| path.exists()) {
            read_dotenv(path, &mut variables, problems);
        }
        for (name, value) in self.env {
            variables.insert(name, (value, "environment".to_owned()));
        }
        for (name, (value, place)) in variables {
            if name.starts_with(PREFIX) && !name.starts_with(TEST_PREFIX) && !is_service_link(&name) {
                apply_variable(config, &place, &name, value, problems);
            }
        }
    }
}

/// Whether a container platform made the variable, for a service that is called "veza": VEZA_SERVICE_HOST,
/// VEZA_PORT_8080_TCP_ADDR and the like.
fn is_service_link(name: &str) -> bool {
    let made = ["_SERVICE_HOST", "_SERVICE_PORT", "_TCP", "_UDP"].iter().any(|part| name.contains(part));
    !name.contains("__") && (made || name.ends_with("_PORT"))
}

/// The line of a byte offset, from 1.
fn line_of(text: &str, span: Option<Range<usize>>) -> usize {
    let offset = span.map_or(0, |span| span.start).min(text.len());
    1 + text.as_bytes()[..offset].iter().filter(|byte| **byte == b'\n').count()
}

fn apply_file(config: &mut Config, place: &str, text: &str, problems: &mut Vec<String>) {
    let table = match DeTable::parse(text) {
        Ok(table) => table.into_inner(),
        // Only the message: the library's own display shows the line, which may hold a secret.
        Err(error) => {
            return problems.push(format!("{place}:{}: {}", line_of(text, error.span()), error.message()));
        }
    };
    for (section, value) in &table {
        let name = section.get_ref().as_ref();
        let line = line_of(text, Some(section.span()));
        let known = config.sections().iter().any(|known| known.name() == name);
        match value.get_ref() {
            _ if !known => problems.push(format!("{place}:{line}: {}", unknown_section(config, name))),
            DeValue::Table(settings) => {
                for (key, value) in settings {
                    let line = line_of(text, Some(key.span()));
                    apply_setting(config, &format!("{place}:{line}"), (name, key.get_ref()), &given(value), problems);
                }
            }
            _ => problems.push(format!("{place}:{line}: {name}: got {}, expected a [section]", given(value).kind())),
        }
    }
}

fn given(value: &toml::Spanned<DeValue<'_>>) -> Given {
    match value.get_ref() {
        DeValue::String(text) => Given::Text(text.to_string()),
        DeValue::Boolean(value) => Given::Bool(*value),
        DeValue::Integer(number) => integer(number).map_or(Given::Other("an integer beyond all bounds"), Given::Int),
        DeValue::Array(items) => Given::List(items.iter().map(given).collect()),
        DeValue::Float(_) => Given::Other("a fraction"),
        DeValue::Datetime(_) => Given::Other("a date"),
        DeValue::Table(_) => Given::Other("a table"),
    }
}

fn integer(number: &DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(&number.as_str().replace('_', ""), number.radix()).ok()
}

fn apply_setting(config: &mut Config, place: &str, key: (&str, &str), given: &Given, problems: &mut Vec<String>) {
    let (section, name) = key;
    let done = config.sections_mut().into_iter().filter(|part| part.name() == section).find_map(|p| p.set(name, given));
    match done {
        Some(Ok(())) => {}
        Some(Err(problem)) => problems.push(format!("{place}: {section}.{name}: {problem}")),
        None => problems.push(format!("{place}: {}", unknown_setting(config, section, name))),
    }
}

fn apply_variable(config: &mut Config, place: &str, name: &str, value: String, problems: &mut Vec<String>) {
    let all: Vec<(String, &str, &str)> = config
        .sections()
        .iter()
        .flat_map(|part| part.names().iter().map(|name| (variable(part.name(), name), part.name(), *name)))
        .collect();
    match all.iter().find(|(known, ..)| known == name) {
        Some((_, section, key)) => {
            apply_setting(config, &format!("{place}: {name}"), (section, key), &Given::Env(value), problems);
        }
        None => {
            let names = all.iter().map(|(known, ..)| known.as_str());
            problems.push(format!("{place}: {}: unknown variable{}", name.escape_debug(), suggestion(name, names)));
        }
    }
}

fn variable(section: &str, name: &str) -> String {
    format!("{PREFIX}{}__{}", section.to_ascii_uppercase(), name.to_ascii_uppercase())
}

fn unknown_section(config: &Config, name: &str) -> String {
    let sections = config.sections();
    // A setting at the top of the file, outside its section.
    if let Some(home) = sections.iter().find(|section| section.names().contains(&name)) {
        return format!("{name}: stands outside its section, which is [{}]", home.name());
    }
    format!("{}: unknown section{}", name.escape_debug(), suggestion(name, sections.iter().map(|part| part.name())))
}

fn unknown_setting(config: &Config, section: &str, name: &str) -> String {
    let sections = config.sections();
    let all: Vec<String> =
        sections.iter().flat_map(|part| part.names().iter().map(|name| format!("{}.{name}", part.name()))).collect();
    let key = format!("{section}.{name}");
    // The same name in another section is nearer than any other one.
    let home = all.iter().find(|known| known.split_once('.').is_some_and(|(_, known)| known == name));
    let hint = home.map_or_else(|| suggestion(&key, all.iter().map(String::as_str)), |home| did_you_mean(home));
    format!("{}: unknown setting{hint}", key.escape_debug())
}

fn did_you_mean(name: &str) -> String {
    format!("; did you mean {name}?")
}

fn suggestion<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    // Whole names are compared, and their last parts: a forgotten or wrong section is the commonest slip.
    let near = |known: &str| {
        strsim::jaro_winkler(name, known).max(strsim::jaro_winkler(last_part(name), last_part(known)) * 0.99)
    };
    known.max_by(|a, b| near(a).total_cmp(&near(b))).map(did_you_mean).unwrap_or_default()
}

fn last_part(name: &str) -> &str {
    let name = name.strip_prefix(PREFIX).unwrap_or(name);
    name.rsplit_once("__").or_else(|| name.rsplit_once('.')).map_or(name, |(_, last)| last)
}

fn read_dotenv(path: &Path, variables: &mut BTreeMap<String, (String, String)>, problems: &mut Vec<String>) {
    let place = path.display().to_string();
    match dotenvy::from_path_iter(path) {
        Ok(items) => {
            for item in items {
                match item {
                    Ok((name, value)) => drop(variables.insert(name, (value, place.clone()))),
                    // Not the line itself: it may hold a secret.
                    Err(dotenvy::Error::LineParse(line, _)) => {
                        let text = std::fs::read_to_string(path).unwrap_or_default();
                        let number = text.lines().position(|other| other.trim() == line.trim()).map_or(0, |at| at + 1);
                        problems.push(format!("{place}:{number}: cannot be read, expected NAME=value or NAME='value'"));
                    }
                    Err(_) => problems.push(format!("{place}: cannot be read")),
                }
            }
        }
        Err(_) => problems.push(format!("{place}: cannot be read")),
    }
}
