//! The table and the parser say the same.

use super::*;
use crate::wire::parse::Parser;

/// JSON that a field of this shape takes.
fn good(shape: Shape) -> String {
    match shape {
        Shape::Id => "7".into(),
        Shape::Position => "0".into(),
        Shape::Int(least, _) => least.to_string(),
        Shape::Flag => "true".into(),
        Shape::Text(_) | Shape::Token(_) | Shape::Scalar => "\"x\"".into(),
        Shape::Word(words) => format!("\"{}\"", words[0]),
        Shape::Time => "\"2026-01-01T00:00:00.000Z\"".into(),
        Shape::Emoji => "\"🤔\"".into(),
        Shape::Object(_) => "{}".into(),
        Shape::List(item) => format!("[{}]", good(*item)),
        Shape::Struct(object) => json(object.fields.iter().map(|field| (field.name, good(field.shape)))),
    }
}

/// JSON that is just beyond what it takes, and of another type.
fn bad(shape: Shape) -> Vec<String> {
    let mut values = vec![];
    match shape {
        Shape::Id => values.extend(["0", "-1", "1.5", "9007199254740992", "\"7\""].map(String::from)),
        Shape::Position => values.extend(["-1", "9007199254740992", "\"7\""].map(String::from)),
        Shape::Int(least, most) => {
            values.extend([(most + 1).to_string(), "true".into()]);
            values.extend(least.checked_sub(1).map(|below| below.to_string()));
        }
        Shape::Flag => values.extend(["1", "\"true\""].map(String::from)),
        Shape::Text(most) => values.extend(["5".into(), too_long(most as usize)]),
        Shape::Token(most) => values.extend(["5".into(), too_long(most)]),
        Shape::Word(_) => values.extend(["\"no such word\"", "1"].map(String::from)),
        Shape::Scalar => values.push("[]".into()),
        Shape::Object(bytes) => values.extend(["5".into(), format!("{{\"a\":\"{}\"}}", "x".repeat(bytes))]),
        Shape::List(item) => values.extend(bad(*item).into_iter().map(|item| format!("[{item}]"))),
        Shape::Struct(_) => values.push("5".into()),
        Shape::Time => values.extend(["5", "\"today\"", "\"2026-02-30T00:00:00Z\""].map(String::from)),
        Shape::Emoji => values.extend(["5", "\"x\"", "\"🤔🤔\""].map(String::from)),
    }
    values
}

/// A text that is one too long; where the configuration says how long it may be, one without a visible character.
fn too_long(most: usize) -> String {
    if most < 65_536 { format!("\"{}\"", "x".repeat(most + 1)) } else { "\" \"".into() }
}

fn json<'a>(fields: impl Iterator<Item = (&'a str, String)>) -> String {
    let members: Vec<String> = fields.map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", members.join(","))
}

/// What is sent where only one field of several may be.
fn base(spec: &CommandSpec) -> Vec<(&'static str, String)> {
    let needed = spec.fields.iter().filter(|field| field.required).map(|field| (field.name, good(field.shape)));
    let one_of = match spec.kind {
        CommandType::CreateDm => Some(("user_id", "7".to_owned())),
        CommandType::UpdateRoom => Some(("topic", "\"x\"".to_owned())),
        _ => None,
    };
    needed.chain(one_of).collect()
}

#[test]
fn the_rows_are_in_the_order_of_the_commands() {
    for kind in CommandType::ALL {
        assert_eq!(kind.spec().kind, kind);
        let mut names: Vec<_> = kind.spec().fields.iter().map(|field| field.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), kind.spec().fields.len(), "{}", kind.name());
    }
}

#[test]
fn the_parser_takes_what_the_table_says_and_nothing_else() {
    let mut parser = Parser::new();
    for spec in &COMMANDS {
        let name = spec.kind.name();
        let base = base(spec);
        let mut check = |fields: &[(&'static str, String)]| {
            parser.parse_data(spec.kind, json(fields.iter().cloned()).as_bytes()).map(|command| command.kind())
        };
        assert_eq!(check(&base), Ok(spec.kind), "{name} with what it needs");
        for field in spec.fields {
            let without: Vec<_> = base.iter().filter(|(other, _)| *other != field.name).cloned().collect();
            // Of the four ways to name participants exactly one is taken.
            let alone = spec.kind == CommandType::CreateDm && field.name.starts_with("user");
            if field.required {
                let error = check(&without).expect_err("a field is missing");
                assert_eq!(error.field, Some(field.name), "{name} without {}", field.name);
            }
            if !alone {
                let with = |value: String| [&without[..], &[(field.name, value)]].concat();
                assert_eq!(check(&with(good(field.shape))), Ok(spec.kind), "{name} with {}", field.name);
                for value in bad(field.shape) {
                    let error = check(&with(value.clone())).expect_err(&value);
                    assert_eq!(error.code, ErrorCode::InvalidRequest, "{name} {}: {value}", field.name);
                    assert_eq!(error.field, Some(field.name), "{name} {}: {value}", field.name);
                }
            }
        }
    }
}
