//! The commands over HTTP, as OpenAPI 3.1.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use veza_engine::wire::ErrorCode;
use veza_engine::wire::spec::{COMMANDS, COMMON_ERRORS, CommandSpec, GRANT};

use super::schema::{components, object_schema, reference};

/// Path, summary, the members of the body that must and may be sent, the codes that it can fail with.
type AccountRow = (&'static str, &'static str, &'static [&'static str], &'static [&'static str], &'static [ErrorCode]);

const ACCOUNTS: [AccountRow; 3] = [
    (
        "register",
        "Makes one of the server's own users.",
        &["username", "password"],
        &["email"],
        &[ErrorCode::Conflict, ErrorCode::RateLimitExceeded, ErrorCode::StoreUnavailable],
    ),
    (
        "login",
        "Begins a session.",
        &["username", "password"],
        &[],
        &[ErrorCode::InvalidCredentials, ErrorCode::RateLimitExceeded, ErrorCode::StoreUnavailable],
    ),
    (
        "refresh",
        "Trades a refresh token for new tokens; one that comes twice ends its session.",
        &["refresh_token"],
        &[],
        &[ErrorCode::InvalidCredentials, ErrorCode::StoreUnavailable],
    ),
];

/// The whole document.
pub fn document() -> Value {
    let mut paths = Map::new();
    for (name, summary, must, may, errors) in ACCOUNTS {
        paths.insert(format!("/api/v1/auth/{name}"), json!({ "post": account(name, summary, must, may, errors) }));
    }
    for spec in COMMANDS.iter().filter(|spec| !spec.kind.connection_only()) {
        paths.insert(format!("/api/v1/{}", spec.kind.name()), json!({ "post": command(spec) }));
    }
    for (path, summary, statuses) in [
        ("/health", "The state of every component.", &[200, 503][..]),
        ("/health/live", "200 while the process lives.", &[200]),
        ("/health/ready", "Whether the server should get traffic.", &[200, 503]),
        ("/metrics", "Metrics in the Prometheus text format; /docs/metrics explains each.", &[200]),
    ] {
        let answers: Map<String, Value> =
            statuses.iter().map(|status| (status.to_string(), json!({ "description": summary }))).collect();
        paths.insert(path.into(), json!({ "get": { "summary": summary, "responses": answers, "security": [] } }));
    }
    paths.insert("/capacity".into(), json!({ "get": super::capacity::operation() }));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Veza chat server",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Every command of the WebSocket as POST, its data as the body; the answer is the reply's data.",
        },
        "servers": [{ "url": "/" }],
        "security": [{ "bearer": [] }],
        "paths": paths,
        "components": {
            "schemas": components(),
            "securitySchemes": { "bearer": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" } },
        },
    })
}

fn command(spec: &CommandSpec) -> Value {
    let errors = COMMON_ERRORS.iter().chain(spec.errors).copied();
    let mut operation = json!({
        "operationId": spec.kind.name(),
        "summary": spec.summary,
        "requestBody": {
            "required": spec.fields.iter().any(|field| field.required),
            "content": { "application/json": { "schema": object_schema(spec.fields) } },
        },
    });
    operation["responses"] = responses(object_schema(spec.reply_fields), errors);
    operation
}

fn account(name: &str, summary: &str, must: &[&str], may: &[&str], errors: &[ErrorCode]) -> Value {
    let properties: Map<String, Value> =
        must.iter().chain(may).map(|field| ((*field).to_owned(), json!({ "type": "string" }))).collect();
    let errors = [ErrorCode::InvalidJson, ErrorCode::InvalidRequest].into_iter().chain(errors.iter().copied());
    let mut operation = json!({
        "operationId": name,
        "summary": summary,
        "security": [],
        "requestBody": {
            "required": true,
            "content": { "application/json": {
                "schema": { "type": "object", "required": must, "properties": properties },
            } },
        },
    });
    operation["responses"] = responses(reference(GRANT.name), errors);
    operation
}

/// The reply, and under each status the codes that have it.
fn responses(reply: Value, errors: impl Iterator<Item = ErrorCode>) -> Value {
    let mut by_status: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
    for code in errors {
        by_status.entry(code.http_status()).or_default().push(code.name());
    }
    let mut responses = Map::new();
    responses.insert(
        "200".into(),
        json!({ "description": "Done.", "content": { "application/json": { "schema": reply } } }),
    );
    for (status, codes) in by_status {
        let content = json!({ "application/problem+json": { "schema": reference("Problem") } });
        responses.insert(status.to_string(), json!({ "description": codes.join(", "), "content": content }));
    }
    responses.into()
}
