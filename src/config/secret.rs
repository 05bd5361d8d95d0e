//! Values that must not be seen: they show themselves only when asked by name.

use super::value::{Given, Range, Value};
use std::fmt;
use std::path::PathBuf;

/// A secret text. Neither `Debug` nor any log shows it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text itself; for the library that needs it and nobody else.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "\"\"" } else { "\"***\"" })
    }
}

impl Value for Secret {
    fn read(given: &Given, range: &Range) -> Result<Self, String> {
        String::read(given, range).map(Secret)
    }
    fn write(&self) -> String {
        self.0.write()
    }
}

/// Where the database is. `Debug` and `Display` hide the password.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(String);

/// The scheme of the bundled database.
const SQLITE: &str = "sqlite://";

impl DatabaseUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// What is expected, if it is of neither kind; never the URL.
    pub fn parse(url: &str) -> Result<DatabaseUrl, String> {
        let expected = "expected \"sqlite://PATH\" or \"postgresql://USER:PASSWORD@HOST/DATABASE\"";
        let well_formed = match url.strip_prefix(SQLITE) {
            Some(path) => !path.is_empty() && !path.contains('?'),
            None => {
                (url.starts_with("postgresql://") || url.starts_with("postgres://"))
                    && url.parse::<tokio_postgres::Config>().is_ok_and(|config| !config.get_hosts().is_empty())
            }
        };
        if well_formed {
            Ok(DatabaseUrl(url.to_owned()))
        } else {
            Err(format!("got a text of another form, {expected}"))
        }
    }

    /// The URL with its password; for the database library and nobody else.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The file of the bundled database; `None` for PostgreSQL.
    pub fn sqlite_path(&self) -> Option<PathBuf> {
        self.0.strip_prefix(SQLITE).map(PathBuf::from)
    }
}

impl Default for DatabaseUrl {
    fn default() -> Self {
        DatabaseUrl("sqlite://./data/veza.db".to_owned())
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.starts_with(SQLITE) {
            return f.write_str(&self.0);
        }
        // A password may also stand in the query, so nothing is copied but scheme, user, host and path.
        let (scheme, rest) = self.0.split_once("://").unwrap_or(("postgresql", ""));
        let rest = rest.split(['?', '#']).next().unwrap_or("");
        match rest.rsplit_once('@') {
            Some((user, place)) => match user.split_once(':') {
                Some((user, _)) => write!(f, "{scheme}://{user}:***@{place}"),
                None => write!(f, "{scheme}://{user}@{place}"),
            },
            None => write!(f, "{scheme}://{rest}"),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl Value for DatabaseUrl {
    fn read(given: &Given, range: &Range) -> Result<Self, String> {
        DatabaseUrl::parse(&String::read(given, range)?)
    }
    fn write(&self) -> String {
        self.0.write()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_secret() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "\"***\"");
        for (url, shown) in [
            ("postgresql://user:pass@localhost/veza_chat", "postgresql://user:***@localhost/veza_chat"),
            ("postgres://user@h:5432/db?password=pass", "postgres://user@h:5432/db"),
            ("postgresql://user:p%40ss:pass@h/db", "postgresql://user:***@h/db"),
            ("sqlite://./data/veza.db", "sqlite://./data/veza.db"),
        ] {
            assert_eq!(format!("{:?}", DatabaseUrl::parse(url).unwrap()), format!("\"{shown}\""));
        }
    }

    #[test]
    fn urls_of_other_kinds_are_refused_without_showing_them() {
        for url in ["", "mysql://u:pass@h/d", "sqlite://", "sqlite::memory:", "postgresql://", "postgresql://h:pass/"] {
            let error = DatabaseUrl::parse(url).unwrap_err();
            assert!(!error.contains("pass@") && error.contains("expected"), "{url}: {error}");
        }
    }
}
