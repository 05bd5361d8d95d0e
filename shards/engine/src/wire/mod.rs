//! The wire: what clients write ([`Command`], [`parse`]) and what they read ([`encode`]), each encoded once.

mod codes;
mod command;
pub mod emoji;
pub mod encode;
pub mod json;
pub mod mention;
pub mod parse;
mod permission;
pub mod spec;

pub use codes::{CloseCode, ErrorCode};
pub use command::*;
pub use permission::{Permission, Permissions};

/// A request id as the client wrote it: the raw JSON of an integer or a string of up to 64 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(pub Box<str>);

/// Why a command failed, as the client reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandError {
    /// What kind.
    pub code: ErrorCode,
    /// For people.
    pub message: std::borrow::Cow<'static, str>,
    /// The offending field of `data`, if it is one.
    pub field: Option<&'static str>,
    /// When a retry may help, ms.
    pub retry_after_ms: Option<u64>,
    /// For `INTERNAL`: what the log calls this fault.
    pub error_id: Option<u64>,
    /// The outcome is known (a `void` was left): `retryable` is false whatever the code says.
    pub final_outcome: bool,
}

impl CommandError {
    /// An error with a message and nothing else.
    pub fn new(code: ErrorCode, message: impl Into<std::borrow::Cow<'static, str>>) -> Self {
        CommandError {
            code,
            message: message.into(),
            field: None,
            retry_after_ms: None,
            error_id: None,
            final_outcome: false,
        }
    }

    /// `INVALID_REQUEST` about one field.
    pub fn field(field: &'static str, message: impl Into<std::borrow::Cow<'static, str>>) -> Self {
        CommandError { field: Some(field), ..CommandError::new(ErrorCode::InvalidRequest, message) }
    }

    /// What the client is told.
    pub fn retryable(&self) -> bool {
        self.code.retryable() && !self.final_outcome
    }
}
