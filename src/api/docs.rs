//! `/docs`: the protocol for people, and as OpenAPI and AsyncAPI documents. All three are made from the engine's table
//! of commands, once, at the start.

mod asyncapi;
pub(super) mod capacity;
mod html;
mod openapi;
mod schema;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;

use super::Api;
use super::assets::embedded;

/// A route for each document.
pub(super) fn router() -> Router<Arc<Api>> {
    let json = |document: serde_json::Value| Bytes::from(document.to_string());
    Router::new()
        .route("/docs", embedded("text/html; charset=utf-8", Bytes::from(html::page())))
        .route(
            "/docs/style.css",
            embedded("text/css; charset=utf-8", Bytes::from_static(include_bytes!("docs/style.css"))),
        )
        .route("/docs/metrics", embedded("text/html; charset=utf-8", Bytes::from(super::metrics::page())))
        .route("/docs/openapi.json", embedded("application/json", json(openapi::document())))
        .route("/docs/asyncapi.json", embedded("application/json", json(asyncapi::document())))
}
