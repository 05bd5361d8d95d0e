//! Errors over HTTP: RFC 9457 problem documents with the protocol's code.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use veza_engine::input::TokenError;
use veza_engine::wire::{CommandError, ErrorCode};

/// The answer to a request that failed.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    error: Box<CommandError>,
    /// Whether the connection ends with this answer.
    close: bool,
}

impl Problem {
    /// The error under a status that is not the one of its code (what only HTTP knows: 404, 405, 408, 413, 426).
    pub fn with_status(status: StatusCode, code: ErrorCode, message: &'static str) -> Problem {
        Problem { status, error: Box::new(CommandError::new(code, message)), close: false }
    }

    /// An error under the status of its code.
    pub fn new(code: ErrorCode, message: &'static str) -> Problem {
        Box::new(CommandError::new(code, message)).into()
    }

    /// The same, and the connection ends with it.
    #[must_use]
    pub fn closing(mut self) -> Problem {
        self.close = true;
        self
    }

    fn retry_after_s(&self) -> Option<u64> {
        if !self.error.retryable() || self.status == StatusCode::INTERNAL_SERVER_ERROR {
            return self.error.retry_after_ms.map(|ms| ms.div_ceil(1000));
        }
        Some(self.error.retry_after_ms.unwrap_or(1000).div_ceil(1000).max(1))
    }

    /// `WWW-Authenticate`, as RFC 6750 wants it.
    fn challenge(&self) -> Option<HeaderValue> {
        match self.error.code {
            ErrorCode::Unauthenticated => Some(HeaderValue::from_static("Bearer")),
            ErrorCode::InvalidToken | ErrorCode::TokenExpired => {
                Some(HeaderValue::from_static("Bearer error=\"invalid_token\""))
            }
            _ => None,
        }
    }

    fn document(&self) -> Vec<u8> {
        let error = &self.error;
        let document = Document {
            kind: format!("/docs#{}", error.code.name()),
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &error.message,
            code: error.code.name(),
            retryable: error.retryable(),
            retry_after_ms: error.retry_after_ms,
            field: error.field,
            details: error.error_id.map(|error_id| Details { error_id: format!("{error_id:016x}") }),
        };
        serde_json::to_vec(&document).expect("strings and numbers are JSON")
    }
}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    code: &'static str,
    retryable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Details>,
}

#[derive(Serialize)]
struct Details {
    error_id: String,
}

impl From<Box<CommandError>> for Problem {
    fn from(error: Box<CommandError>) -> Problem {
        let status = StatusCode::from_u16(error.code.http_status()).expect("the table has real ones only");
        Problem { status, error, close: false }
    }
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Problem {
        match error {
            TokenError::Invalid => Problem::new(ErrorCode::InvalidToken, "the token is not valid"),
            TokenError::Expired => Problem::new(ErrorCode::TokenExpired, "the token has expired"),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.document()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after_s() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(challenge) = self.challenge() {
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        if self.status == StatusCode::UPGRADE_REQUIRED {
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        }
        if self.close {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}
