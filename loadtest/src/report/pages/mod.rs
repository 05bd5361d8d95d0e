//! The pages: what is shown, in which order, in which words.

mod compare;
mod counts;
mod curves;
mod limit;
mod run;

pub use compare::compare_page;
pub use limit::limit_page;
pub use run::run_page;

use super::html::{self, Cell};
use serde_json::Value;
use std::collections::BTreeMap;

/// A JSON value as (path, value), in the order of the paths.
pub fn flat(value: &Value) -> BTreeMap<String, String> {
    fn walk(path: &str, value: &Value, found: &mut BTreeMap<String, String>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    walk(&path, value, found);
                }
            }
            Value::String(text) => drop(found.insert(path.to_owned(), text.clone())),
            other => drop(found.insert(path.to_owned(), other.to_string())),
        }
    }
    let mut found = BTreeMap::new();
    walk("", value, &mut found);
    found
}

/// The plan of a run as a table.
fn plan(value: &Value) -> String {
    let rows: Vec<Vec<Cell>> =
        flat(value).into_iter().map(|(name, value)| vec![Cell::text(name), Cell::text(value)]).collect();
    html::table("The plan as it was run", &["field", "value"], &rows)
}
