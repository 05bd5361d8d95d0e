//! Rows of §4.1 of the protocol: sessions.

use super::*;

pub(super) const ROWS: [CommandSpec; 8] = [
    row(
        T::Authenticate,
        "Authenticates a connection that came without a token.",
        &[TOKEN],
        "auth_success",
        AUTH_SUCCESS,
        &[],
    ),
    row(
        T::RefreshToken,
        "Gives the connection a new access token of the same user.",
        &[TOKEN],
        "token_refreshed",
        &[must("expires_at", Shape::Time, "")],
        &[],
    ),
    row(
        T::Ping,
        "Asks for a sign of life.",
        &[may("timestamp", Shape::Scalar, "at most 64 bytes; comes back")],
        "pong",
        &[may("timestamp", Shape::Scalar, ""), must("server_time", Shape::Time, "")],
        &[],
    ),
    row(
        T::Resume,
        "Subscribes to many rooms at once and replays what the client has missed; the replayed events follow the reply.",
        &[must("rooms", Shape::List(&Shape::Struct(&RESUME_POINT)), "at most limits.max_subscriptions")],
        "resumed",
        &[must("rooms", Shape::List(&Shape::Struct(&RESUMED_ROOM)), "")],
        &[],
    ),
    row(
        T::UpdateStatus,
        "Sets what others see of the caller; it is kept over reconnects.",
        &[
            must("status", Shape::Word(&["online", "away", "busy", "invisible"]), "invisible: others see offline"),
            may("message", Shape::Text(STATUS_CHARS_MAX), "one line; without it the text is taken away"),
        ],
        "status_updated",
        &[
            must("status", Shape::Word(&["online", "away", "busy", "invisible"]), ""),
            null("message", Shape::Text(STATUS_CHARS_MAX), ""),
        ],
        &[],
    ),
    row(
        T::ListSessions,
        "The caller's sessions.",
        &[],
        "session_list",
        &[must("sessions", Shape::List(&Shape::Struct(&SESSION)), "")],
        &[],
    ),
    row(
        T::RevokeSession,
        "Ends one of the caller's sessions everywhere within a second.",
        &[must("session_id", Shape::Token(TOKEN_BYTES_MAX), "")],
        "session_revoked",
        &[must("session_id", Shape::Token(128), "")],
        &[E::NotFound],
    ),
    row(
        T::Logout,
        "Ends this session, or all of the caller's.",
        &[may("everywhere", Shape::Flag, "default false")],
        "logged_out",
        &[],
        &[],
    ),
];
