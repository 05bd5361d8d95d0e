//! What comes into a shard.

use std::sync::Arc;

use crate::deflate::Window;
use crate::id::{ConnId, ShardId, UserId};
use crate::peer::PeerMessage;
use crate::store::{BatchOutcome, LoadError, Loaded, Revocation, Writer};
use crate::wire::{CloseCode, Command};

/// Who a verified token speaks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Issuer; "" if the token names none.
    pub iss: Box<str>,
    /// Subject, 1–128 bytes.
    pub sub: Box<str>,
    /// The `username` claim, if it has an allowed form.
    pub username: Option<Box<str>>,
    /// The `role` claim.
    pub role: Role,
    /// `sid`, else `jti`, else the token's hash in hex.
    pub session_id: Arc<str>,
    /// `iat`, Unix seconds; `None` if absent.
    pub issued_at: Option<i64>,
    /// `exp`, Unix seconds.
    pub expires_at: i64,
}

/// Server roles, ascending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Anybody.
    #[default]
    User,
    /// Moderates the whole server.
    Moderator,
    /// May do everything.
    Admin,
}

impl Role {
    /// As in tokens and replies.
    pub fn name(self) -> &'static str {
        match self {
            Role::User => "user",
            Role::Moderator => "moderator",
            Role::Admin => "admin",
        }
    }

    /// From a token or a stored row; unknown names give no more than `User`.
    pub fn from_name(name: &str) -> Role {
        match name {
            "moderator" => Role::Moderator,
            "admin" => Role::Admin,
            _ => Role::User,
        }
    }
}

/// Why a token was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenError {
    /// Not acceptable.
    Invalid,
    /// Ended.
    Expired,
}

/// What a token was shown for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VerifyFor {
    /// `authenticate`, with its request id.
    Authenticate(Option<crate::wire::RequestId>),
    /// `refresh_token`, with its request id.
    Refresh(Option<crate::wire::RequestId>),
}

/// Everything that can happen to a shard.
#[allow(missing_docs)] // the variant's text says what its fields are
#[derive(Debug)]
pub enum Input<'a> {
    /// A WebSocket is open; `identity` if its upgrade request carried a good token. `window`: whether it takes
    /// compressed frames.
    Opened { conn: ConnId, identity: Option<Box<Identity>>, window: Window },
    /// A text message came in, already checked to be UTF-8. The parser may write into it.
    Text { conn: ConnId, text: &'a mut [u8] },
    /// Anything else came in (ping, pong): the peer lives.
    Alive { conn: ConnId },
    /// The socket is gone, or the peer's Close was answered, or the gateway closed it with this code.
    Closed { conn: ConnId, code: Option<CloseCode> },
    /// Answers [`crate::effect::Effect::Verify`].
    Verified { conn: ConnId, purpose: VerifyFor, result: Result<Box<Identity>, TokenError> },
    /// A command over HTTP, for one that a good token speaks for. `ticket` comes back in `Effect::HttpReply`.
    Http { ticket: u64, identity: Box<Identity>, command: Box<Command> },
    /// From another shard, in the order that it was sent.
    Peer { from: ShardId, message: PeerMessage },
    /// Answers `Effect::Store`.
    Stored { writer: Writer, outcome: BatchOutcome },
    /// Answers `Effect::Load`.
    Loaded { id: u64, result: Result<Loaded, LoadError> },
    /// A revocation that was stored by the control thread (refresh-token reuse): takes effect here at once. The
    /// control thread tells every shard.
    Revoked(Revocation),
    /// All sessions of a user end with this code (moderation); told to every shard.
    DisconnectUser { user_id: UserId, code: CloseCode },
    /// Retention has removed the room's events up to and including `floor`; told to the room's home.
    Retained { room_id: crate::id::RoomId, floor: crate::id::Seq },
    /// Time has come to [`crate::Shard::next_timeout`].
    Tick,
    /// SIGTERM: no new commands; `draining` is pushed. `reconnect_after_ms` is the spread hint's upper end.
    Drain { reconnect_after_ms: u64 },
}
