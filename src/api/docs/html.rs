//! The protocol for people.

use std::fmt::Write;

use veza_engine::wire::spec::{COMMANDS, COMMON_ERRORS, CommandSpec, FieldSpec, PUSHES, Shape};
use veza_engine::wire::{CloseCode, ErrorCode, Permissions};

/// What no table says.
const INTRODUCTION: &str = include_str!("introduction.html");

/// Where the table of roles belongs in it.
const ROLES_HERE: &str = "<!-- roles -->\n";

/// The whole page.
pub fn page() -> String {
    let mut out = String::with_capacity(64 << 10);
    out.push_str(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Veza protocol</title>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <link rel=\"stylesheet\" href=\"/docs/style.css\"></head><body>\n",
    );
    let (before, behind) = INTRODUCTION.split_once(ROLES_HERE).unwrap_or((INTRODUCTION, ""));
    out.push_str(before);
    // Writing to a string cannot fail.
    let _ = write_roles(&mut out);
    out.push_str(behind);
    let _ = write_tables(&mut out);
    out.push_str("</body></html>\n");
    out
}

/// What the built-in roles allow.
fn write_roles(out: &mut String) -> std::fmt::Result {
    let roles = [
        ("owner", Permissions::OWNER),
        ("moderator", Permissions::MODERATOR),
        ("member", Permissions::MEMBER),
        ("participant of a conversation", Permissions::PARTICIPANT),
        ("administrator of the server", Permissions::OWNER),
        ("moderator of the server", Permissions::SERVER_MODERATOR),
    ];
    out.push_str("<table><tr><th>role</th><th>permissions</th></tr>\n");
    for (role, permissions) in roles {
        let names: Vec<&str> = permissions.names().collect();
        writeln!(out, "<tr><td>{role}</td><td>{}</td></tr>", names.join(" "))?;
    }
    out.push_str("</table>\n");
    Ok(())
}

fn write_tables(out: &mut String) -> std::fmt::Result {
    out.push_str("<h2 id=\"commands\">Commands</h2>\n<ul class=\"toc\">");
    for spec in &COMMANDS {
        let name = spec.kind.name();
        write!(out, "<li><a href=\"#{name}\"><code>{name}</code></a></li>")?;
    }
    let common: Vec<&str> = COMMON_ERRORS.iter().map(|code| code.name()).collect();
    writeln!(out, "</ul>\n<p>Each can also fail with {}.</p>", codes(&common))?;
    for spec in &COMMANDS {
        write_command(out, spec)?;
    }
    out.push_str("<h2 id=\"pushes\">Pushes</h2>\n");
    for push in &PUSHES {
        let note = if push.sequenced { "sequenced" } else { "not sequenced" };
        let (kind, summary) = (push.kind, escape(push.summary));
        writeln!(out, "<h3><code>{kind}</code></h3><p>{summary} <span class=\"note\">({note})</span></p>")?;
        write_fields(out, "Data", push.fields)?;
    }
    write_errors(out)
}

fn write_command(out: &mut String, spec: &CommandSpec) -> std::fmt::Result {
    let name = spec.kind.name();
    let over_http =
        if spec.kind.connection_only() { "needs a connection".into() } else { format!("POST /api/v1/{name}") };
    writeln!(out, "<h3 id=\"{name}\"><code>{name}</code></h3>")?;
    writeln!(out, "<p>{} <span class=\"note\">({over_http})</span></p>", escape(spec.summary))?;
    write_fields(out, "Data", spec.fields)?;
    write_fields(out, &format!("Reply <code>{}</code>", spec.reply), spec.reply_fields)?;
    if !spec.errors.is_empty() {
        let names: Vec<&str> = spec.errors.iter().map(|code| code.name()).collect();
        writeln!(out, "<p>Errors: {}</p>", codes(&names))?;
    }
    Ok(())
}

fn write_fields(out: &mut String, title: &str, fields: &[FieldSpec]) -> std::fmt::Result {
    if fields.is_empty() {
        return writeln!(out, "<p>{title}: nothing.</p>");
    }
    writeln!(out, "<table><tr><th>{title}</th><th>Form</th><th></th></tr>")?;
    for field in fields {
        let optional = if field.required { "" } else { "?" };
        let form = if field.nullable { format!("{} or null", form(field.shape)) } else { form(field.shape) };
        let about = escape(field.about);
        writeln!(out, "<tr><td><code>{}{optional}</code></td><td>{form}</td><td>{about}</td></tr>", field.name)?;
    }
    writeln!(out, "</table>")
}

fn form(shape: Shape) -> String {
    match shape {
        Shape::Id => "id".into(),
        Shape::Position => "integer".into(),
        Shape::Int(least, most) => format!("integer, {least}–{most}"),
        Shape::Flag => "boolean".into(),
        Shape::Text(most) if most < 65_536 => format!("text, ≤ {most} characters"),
        Shape::Text(_) => "text".into(),
        Shape::Token(most) => format!("string, ≤ {most} bytes"),
        Shape::Word(words) => escape(&words.join(" | ")),
        Shape::Time => "time".into(),
        Shape::Emoji => "emoji".into(),
        Shape::Scalar => "string, number, boolean or null".into(),
        Shape::Object(most) => format!("object, ≤ {most} bytes"),
        Shape::List(item) => format!("list of {}", form(*item)),
        Shape::Struct(object) => {
            let members: Vec<&str> = object.fields.iter().map(|field| field.name).collect();
            format!("<details><summary>{}</summary><code>{}</code></details>", object.name, members.join(", "))
        }
    }
}

fn write_errors(out: &mut String) -> std::fmt::Result {
    out.push_str("<h2 id=\"errors\">Errors</h2>\n<table><tr><th>Code</th><th>HTTP</th><th>Retry</th></tr>\n");
    for code in ErrorCode::ALL {
        let retry = if code.retryable() { "may help" } else { "" };
        let (name, status) = (code.name(), code.http_status());
        writeln!(out, "<tr id=\"{name}\"><td><code>{name}</code></td><td>{status}</td><td>{retry}</td></tr>")?;
    }
    out.push_str("</table>\n<h2 id=\"close-codes\">Close codes</h2>\n");
    out.push_str("<p>3000–3499: reconnect with backoff and resume. 3500–3999: do not.</p><table>\n");
    for code in CloseCode::ALL {
        writeln!(out, "<tr><td><code>{}</code></td><td>{}</td></tr>", code as u16, escape(code.reason()))?;
    }
    out.push_str("</table>\n");
    Ok(())
}

fn codes(names: &[&str]) -> String {
    let links: Vec<String> = names.iter().map(|name| format!("<a href=\"#{name}\"><code>{name}</code></a>")).collect();
    links.join(", ")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
