//! What the control thread asks for the server's own users and their sessions: closed enums, as the engine's.

use veza_engine::id::UserId;
use veza_engine::store::{Revocation, UserRow};
use veza_engine::time::WallMs;

/// SHA-256 of a refresh token; the token itself is never stored.
pub type RefreshHash = [u8; 32];

/// A request. Each is one transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthRequest {
    /// A new own user: pair ("veza", its user id in decimal). Answers [`AuthAnswer::User`], or `UsernameTaken`.
    Register {
        /// 3–32 of `[A-Za-z0-9_.-]`, checked by the caller.
        username: Box<str>,
        /// PHC string.
        password_hash: Box<str>,
        /// As given.
        email: Option<Box<str>>,
        /// When.
        now: WallMs,
    },
    /// The own user of this name, in whatever case. Answers [`AuthAnswer::Login`].
    FindLogin {
        /// As typed.
        username: Box<str>,
    },
    /// A session with its first refresh token. Answers [`AuthAnswer::Done`].
    StartSession {
        /// Whose.
        user_id: UserId,
        /// `sid` of its tokens; random.
        session_id: Box<str>,
        /// Of the first refresh token.
        refresh_hash: RefreshHash,
        /// When.
        now: WallMs,
        /// End of the refresh token, Unix seconds.
        expires_at: i64,
    },
    /// Trades a refresh token for the next. Answers [`AuthAnswer::Rotated`], `Reused` or `Unknown`.
    Rotate {
        /// Of the token that came.
        refresh_hash: RefreshHash,
        /// Of the one that takes its place.
        new_hash: RefreshHash,
        /// When.
        now: WallMs,
        /// End of the new token, Unix seconds.
        expires_at: i64,
        /// Until when a revocation must be kept if this was a reuse: the end of the longest access token that may
        /// be about, Unix seconds.
        revoke_until: i64,
    },
    /// Revocations that still matter, for the start; forgets those that do not, and ended sessions. Answers
    /// [`AuthAnswer::Revocations`].
    Revocations {
        /// When.
        now: WallMs,
    },
}

/// The answer to an [`AuthRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthAnswer {
    /// To `Register`.
    User(UserRow),
    /// To `FindLogin`: the user and its password hash; `None`: no such own user.
    Login(Option<(UserRow, Box<str>)>),
    /// To `StartSession`.
    Done,
    /// To `Rotate`: the token was good, the new one is stored.
    Rotated {
        /// Whose.
        user: UserRow,
        /// Of which session.
        session_id: Box<str>,
    },
    /// To `Rotate`: the token had been used before. Its session was revoked in the same transaction; the caller tells
    /// every shard.
    Reused {
        /// Whose.
        user_id: UserId,
        /// The session that is over.
        session_id: Box<str>,
    },
    /// To `Rotate`: no such token, or it has ended, or its session is over.
    Unknown,
    /// To `Revocations`.
    Revocations(Vec<Revocation>),
}

/// Why a request has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthError {
    /// The username is somebody's.
    UsernameTaken,
    /// The database did not answer, or too many requests wait. A `Register` may have happened nevertheless.
    Unavailable,
    /// The database refused the request: our bug, in the log.
    Failed,
}
