//! The web client: its files are part of the binary.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sha2::{Digest, Sha256};

use super::Api;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// Path, content type, bytes.
pub(super) const ASSETS: &[(&str, &str, &[u8])] = &[
    ("/", HTML, include_bytes!("web/index.html")),
    ("/style.css", CSS, include_bytes!("web/style.css")),
    ("/actions.js", JS, include_bytes!("web/actions.js")),
    ("/app.js", JS, include_bytes!("web/app.js")),
    ("/arrivals.js", JS, include_bytes!("web/arrivals.js")),
    ("/complete.js", JS, include_bytes!("web/complete.js")),
    ("/composer.js", JS, include_bytes!("web/composer.js")),
    ("/dialog.js", JS, include_bytes!("web/dialog.js")),
    ("/dom.js", JS, include_bytes!("web/dom.js")),
    ("/emoji-data.js", JS, include_bytes!("web/emoji-data.js")),
    ("/emoji.js", JS, include_bytes!("web/emoji.js")),
    ("/errors.js", JS, include_bytes!("web/errors.js")),
    ("/lists.js", JS, include_bytes!("web/lists.js")),
    ("/log.js", JS, include_bytes!("web/log.js")),
    ("/members.js", JS, include_bytes!("web/members.js")),
    ("/menu.js", JS, include_bytes!("web/menu.js")),
    ("/message-parts.js", JS, include_bytes!("web/message-parts.js")),
    ("/messages.js", JS, include_bytes!("web/messages.js")),
    ("/model.js", JS, include_bytes!("web/model.js")),
    ("/notify.js", JS, include_bytes!("web/notify.js")),
    ("/panel.js", JS, include_bytes!("web/panel.js")),
    ("/place.js", JS, include_bytes!("web/place.js")),
    ("/prefs.js", JS, include_bytes!("web/prefs.js")),
    ("/rooms.js", JS, include_bytes!("web/rooms.js")),
    ("/settings.js", JS, include_bytes!("web/settings.js")),
    ("/sidebar.js", JS, include_bytes!("web/sidebar.js")),
    ("/signin.js", JS, include_bytes!("web/signin.js")),
    ("/state.js", JS, include_bytes!("web/state.js")),
    ("/switcher.js", JS, include_bytes!("web/switcher.js")),
    ("/text.js", JS, include_bytes!("web/text.js")),
    ("/theme.js", JS, include_bytes!("web/theme.js")),
    ("/thread.js", JS, include_bytes!("web/thread.js")),
    ("/timeline.js", JS, include_bytes!("web/timeline.js")),
    ("/veza-client.js", JS, include_bytes!("web/veza-client.js")),
    ("/icon.svg", SVG, include_bytes!("web/icon.svg")),
];

/// A route for each file.
pub(super) fn router() -> Router<Arc<Api>> {
    ASSETS.iter().fold(Router::new(), |router, (path, content_type, bytes)| {
        router.route(path, embedded(content_type, Bytes::from_static(bytes)))
    })
}

/// Content that changes with the binary only: kept by browsers, asked for anew each time, sent only if it changed.
pub(super) fn embedded(content_type: &'static str, bytes: Bytes) -> axum::routing::MethodRouter<Arc<Api>> {
    let digest = Sha256::digest(&bytes);
    let tag = digest[..16].iter().fold(String::from("\""), |tag, byte| format!("{tag}{byte:02x}")) + "\"";
    let etag = HeaderValue::try_from(tag).expect("hexadecimal digits in quotes");
    get(async move |headers: HeaderMap| -> Response {
        let fixed = [
            (header::ETAG, etag.clone()),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
            (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
        ];
        if headers.get(header::IF_NONE_MATCH).is_some_and(|known| names(known, &etag)) {
            return (StatusCode::NOT_MODIFIED, fixed).into_response();
        }
        (fixed, bytes.clone()).into_response()
    })
}

/// Whether `If-None-Match` lists this tag. A proxy that compresses makes it a weak one.
fn names(known: &HeaderValue, etag: &HeaderValue) -> bool {
    let (known, etag) = (known.to_str().unwrap_or_default(), etag.to_str().unwrap_or_default());
    known.split(',').map(str::trim).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}
