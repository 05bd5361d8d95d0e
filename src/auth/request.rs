//! What clients say when they register, log in or refresh: read and checked, nothing done yet.

use super::username_allowed;
use serde::Deserialize;
use serde_json::Value;
use veza_engine::wire::{CommandError, ErrorCode};

/// Bytes of a password, at least and at most.
pub const PASSWORD_BYTES: std::ops::RangeInclusive<usize> = 8..=256;
/// Bytes of an e-mail address.
const EMAIL_BYTES_MAX: usize = 254;
/// Arrays and objects within each other.
const NESTING_MAX: usize = 16;
/// Bytes of a refresh token; ours have 43.
const REFRESH_BYTES_MAX: usize = 128;

#[derive(Default, Deserialize)]
struct Raw {
    username: Option<Value>,
    password: Option<Value>,
    email: Option<Value>,
    refresh_token: Option<Value>,
}

/// A checked registration.
#[derive(Debug, PartialEq, Eq)]
pub struct Registration {
    /// Of the allowed form.
    pub username: Box<str>,
    /// Of allowed length.
    pub password: String,
    /// Looks like one.
    pub email: Option<Box<str>>,
}

/// Name and password as typed.
#[derive(Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Any text.
    pub username: Box<str>,
    /// Any text.
    pub password: String,
}

/// Reads a registration.
///
/// # Errors
/// `INVALID_JSON`, or `INVALID_REQUEST` about a field.
pub fn registration(body: &[u8]) -> Result<Registration, CommandError> {
    let raw = parse(body)?;
    let username = text("username", raw.username)?;
    if !username_allowed(&username) {
        return Err(CommandError::field("username", "3 to 32 letters, digits, \"_\", \".\" or \"-\""));
    }
    let password = text("password", raw.password)?;
    if !PASSWORD_BYTES.contains(&password.len()) {
        return Err(CommandError::field("password", "8 to 256 bytes"));
    }
    let email = match raw.email {
        None => None,
        email => Some(text("email", email)?).filter(|email| !email.is_empty()),
    };
    if email.as_deref().is_some_and(|email| !email_shaped(email)) {
        return Err(CommandError::field("email", "an e-mail address, or nothing"));
    }
    Ok(Registration { username: username.into(), password, email: email.map(Into::into) })
}

/// Reads name and password. Their form is not judged: what cannot be right is simply not right.
///
/// # Errors
/// `INVALID_JSON`, or `INVALID_REQUEST` about a field.
pub fn credentials(body: &[u8]) -> Result<Credentials, CommandError> {
    let raw = parse(body)?;
    let username = text("username", raw.username)?.into();
    Ok(Credentials { username, password: text("password", raw.password)? })
}

/// Reads a refresh token.
///
/// # Errors
/// `INVALID_JSON`, or `INVALID_REQUEST` about the field.
pub fn refresh_token(body: &[u8]) -> Result<String, CommandError> {
    let token = text("refresh_token", parse(body)?.refresh_token)?;
    if token.len() > REFRESH_BYTES_MAX {
        return Err(CommandError::field("refresh_token", "too long"));
    }
    Ok(token)
}

fn parse(body: &[u8]) -> Result<Raw, CommandError> {
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    // Not an array: the library would take one for the fields in their order.
    let object = first == Some(&b'{') && !too_deep(body);
    let raw = object.then(|| serde_json::from_slice(body).ok()).flatten();
    raw.ok_or_else(|| CommandError::new(ErrorCode::InvalidJson, "the body is not a JSON object"))
}

/// Whether arrays and objects are nested deeper than commands may be.
fn too_deep(body: &[u8]) -> bool {
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => depth += 1,
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > NESTING_MAX {
            return true;
        }
    }
    false
}

fn text(field: &'static str, value: Option<Value>) -> Result<String, CommandError> {
    match value {
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(CommandError::field(field, "must be a string")),
        None => Err(CommandError::field(field, "is missing")),
    }
}

/// Whether a text looks like an e-mail address. Whether it is one only a letter to it could tell.
fn email_shaped(email: &str) -> bool {
    let plain = !email.chars().any(|letter| letter.is_control() || letter.is_whitespace());
    let parts = email.rsplit_once('@').is_some_and(|(user, host)| {
        !user.is_empty() && !user.contains('@') && host.contains('.') && !host.starts_with('.') && !host.ends_with('.')
    });
    plain && parts && email.len() <= EMAIL_BYTES_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registrations_are_checked() {
        let long = format!(r#"{{"username":"ann","password":"{}"}}"#, "p".repeat(257));
        let cases: &[(&str, Option<&str>)] = &[
            (r#"{"username":"ann","password":"12345678"}"#, None),
            (r#"{"username":"ann","password":"12345678","email":null,"other":[{}]}"#, None),
            (r#"{"username":"ann","password":"12345678","email":"ann@example.com"}"#, None),
            (r#"{"password":"12345678"}"#, Some("username")),
            (r#"{"username":null,"password":"12345678"}"#, Some("username")),
            (r#"{"username":7,"password":"12345678"}"#, Some("username")),
            (r#"{"username":"an","password":"12345678"}"#, Some("username")),
            (r#"{"username":"ann lee","password":"12345678"}"#, Some("username")),
            (r#"{"username":"ann\u0000","password":"12345678"}"#, Some("username")),
            (r#"{"username":"аnn","password":"12345678"}"#, Some("username")),
            (r#"{"username":"ann"}"#, Some("password")),
            (r#"{"username":"ann","password":"1234567"}"#, Some("password")),
            (r#"{"username":"ann","password":12345678}"#, Some("password")),
            (&long, Some("password")),
            (r#"{"username":"ann","password":"12345678","email":"ann"}"#, Some("email")),
            (r#"{"username":"ann","password":"12345678","email":"a@b@c.d"}"#, Some("email")),
            (r#"{"username":"ann","password":"12345678","email":"a@b.c\n"}"#, Some("email")),
            (r#"{"username":"ann","password":"12345678","email":["a@b.c"]}"#, Some("email")),
        ];
        for (body, field) in cases {
            let result = registration(body.as_bytes());
            assert_eq!(result.as_ref().err().and_then(|error| error.field), *field, "{body}");
            assert_eq!(result.is_ok(), field.is_none(), "{body}");
        }
    }

    #[test]
    fn what_is_no_object_is_no_json() {
        for body in ["", "[]", "null", "\"x\"", "{", r#"["ann","12345678"]"#, r#"{"username":"a","username":"b"}"#] {
            for error in [
                registration(body.as_bytes()).unwrap_err(),
                credentials(body.as_bytes()).unwrap_err(),
                refresh_token(body.as_bytes()).unwrap_err(),
            ] {
                assert_eq!(error.code, ErrorCode::InvalidJson, "{body}");
            }
        }
        for (nesting, code) in [(15, ErrorCode::InvalidRequest), (16, ErrorCode::InvalidJson)] {
            // A bracket in a text is none.
            let deep = format!(r#"{{"[\\\"[":{}1{}}}"#, "[".repeat(nesting), "]".repeat(nesting));
            assert_eq!(registration(deep.as_bytes()).unwrap_err().code, code, "{deep}");
        }
        assert_eq!(registration(b"{\"username\":\"\xff\"}").unwrap_err().code, ErrorCode::InvalidJson);
    }

    #[test]
    fn refresh_tokens_are_bounded() {
        let body = |length: usize| format!(r#"{{"refresh_token":"{}"}}"#, "a".repeat(length));
        assert_eq!(refresh_token(body(128).as_bytes()).unwrap().len(), 128);
        assert_eq!(refresh_token(body(129).as_bytes()).unwrap_err().field, Some("refresh_token"));
    }
}
