//! The closed sets of error and close codes of the protocol.

/// What a command can fail with. The name in upper case is what the client reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ErrorCode {
    /// Not JSON, or not an object.
    InvalidJson,
    /// A field is missing, of the wrong type or out of range.
    InvalidRequest,
    /// No such command.
    UnknownType,
    /// The connection has not authenticated yet.
    Unauthenticated,
    /// The token is not acceptable.
    InvalidToken,
    /// The token has ended.
    TokenExpired,
    /// Wrong username or password, or a refresh token that is not valid.
    InvalidCredentials,
    /// The caller's role does not allow this.
    PermissionDenied,
    /// A public room that the caller has not joined.
    NotAMember,
    /// A sanction forbids this.
    Sanctioned,
    /// The other side of the conversation blocks the caller.
    ConversationBlocked,
    /// No room that the caller may see.
    RoomNotFound,
    /// No such message in the room.
    MessageNotFound,
    /// No such user.
    UserNotFound,
    /// No such thing of another kind.
    NotFound,
    /// The state forbids it.
    Conflict,
    /// The `client_id` was used with other data.
    IdempotencyConflict,
    /// The room has `max_members` members.
    RoomFull,
    /// The room is archived.
    RoomArchived,
    /// Content over `limits.max_message_length`.
    MessageTooLong,
    /// The content filter refused it.
    ContentRejected,
    /// Too many; nothing happened.
    RateLimitExceeded,
    /// Our fault; details carry an `error_id`.
    Internal,
    /// A queue inside is full; nothing happened.
    Overloaded,
    /// The database did not answer; the outcome is unknown.
    StoreUnavailable,
    /// The server is going down; nothing happened.
    Draining,
}

impl ErrorCode {
    /// Every code, in the order of the discriminants (for metrics).
    pub const ALL: [ErrorCode; 26] = {
        use ErrorCode::*;
        [
            InvalidJson,
            InvalidRequest,
            UnknownType,
            Unauthenticated,
            InvalidToken,
            TokenExpired,
            InvalidCredentials,
            PermissionDenied,
            NotAMember,
            Sanctioned,
            ConversationBlocked,
            RoomNotFound,
            MessageNotFound,
            UserNotFound,
            NotFound,
            Conflict,
            IdempotencyConflict,
            RoomFull,
            RoomArchived,
            MessageTooLong,
            ContentRejected,
            RateLimitExceeded,
            Internal,
            Overloaded,
            StoreUnavailable,
            Draining,
        ]
    };

    /// The code as clients read it.
    pub fn name(self) -> &'static str {
        use ErrorCode::*;
        match self {
            InvalidJson => "INVALID_JSON",
            InvalidRequest => "INVALID_REQUEST",
            UnknownType => "UNKNOWN_TYPE",
            Unauthenticated => "UNAUTHENTICATED",
            InvalidToken => "INVALID_TOKEN",
            TokenExpired => "TOKEN_EXPIRED",
            InvalidCredentials => "INVALID_CREDENTIALS",
            PermissionDenied => "PERMISSION_DENIED",
            NotAMember => "NOT_A_MEMBER",
            Sanctioned => "SANCTIONED",
            ConversationBlocked => "CONVERSATION_BLOCKED",
            RoomNotFound => "ROOM_NOT_FOUND",
            MessageNotFound => "MESSAGE_NOT_FOUND",
            UserNotFound => "USER_NOT_FOUND",
            NotFound => "NOT_FOUND",
            Conflict => "CONFLICT",
            IdempotencyConflict => "IDEMPOTENCY_CONFLICT",
            RoomFull => "ROOM_FULL",
            RoomArchived => "ROOM_ARCHIVED",
            MessageTooLong => "MESSAGE_TOO_LONG",
            ContentRejected => "CONTENT_REJECTED",
            RateLimitExceeded => "RATE_LIMIT_EXCEEDED",
            Internal => "INTERNAL",
            Overloaded => "OVERLOADED",
            StoreUnavailable => "STORE_UNAVAILABLE",
            Draining => "DRAINING",
        }
    }

    /// The HTTP status of a command that fails with this code.
    pub fn http_status(self) -> u16 {
        use ErrorCode::*;
        match self {
            InvalidJson | InvalidRequest | UnknownType => 400,
            Unauthenticated | InvalidToken | TokenExpired | InvalidCredentials => 401,
            PermissionDenied | NotAMember | Sanctioned | ConversationBlocked => 403,
            RoomNotFound | MessageNotFound | UserNotFound | NotFound => 404,
            Conflict | IdempotencyConflict | RoomFull | RoomArchived => 409,
            MessageTooLong => 413,
            ContentRejected => 422,
            RateLimitExceeded => 429,
            Internal => 500,
            Overloaded | StoreUnavailable | Draining => 503,
        }
    }

    /// Whether the same command may succeed later. `INTERNAL` is retryable unless a `void` was left:
    /// that case sets [`crate::wire::CommandError::final_outcome`].
    pub fn retryable(self) -> bool {
        use ErrorCode::*;
        matches!(self, RateLimitExceeded | Overloaded | Draining | StoreUnavailable | Internal)
    }
}

/// WebSocket close codes. 3000–3499: come back with backoff and resume; 3500–3999: do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum CloseCode {
    /// The peer's Close is answered with its own code; this is the default of a normal end.
    Normal = 1000,
    /// RFC 6455 protocol error.
    Protocol = 1002,
    /// Binary frames are not accepted.
    Unsupported = 1003,
    /// Text that is not UTF-8.
    InvalidUtf8 = 1007,
    /// A frame or message over `limits.max_frame_bytes`.
    TooBig = 1009,
    /// The server is draining.
    Draining = 3000,
    /// The token ended.
    TokenExpired = 3001,
    /// More than `limits.outbox_bytes` of pushes waited.
    SlowReceiver = 3002,
    /// Silent for two heartbeat intervals.
    NoHeartbeat = 3003,
    /// Over 1,000 RATE_LIMIT_EXCEEDED in a minute.
    RateLimitAbuse = 3004,
    /// A fault of ours on this connection.
    ServerError = 3005,
    /// `authenticate` with a token that is not acceptable.
    InvalidToken = 3500,
    /// Too many malformed frames.
    Malformed = 3501,
    /// No authentication within `server.auth_timeout`.
    AuthTimeout = 3502,
    /// Banned, or disconnected by a moderator.
    Banned = 3503,
    /// Displaced by a newer connection of the same user.
    Displaced = 3504,
    /// The session was revoked.
    SessionRevoked = 3505,
}

impl CloseCode {
    /// Every code that the server sends (for metrics).
    pub const ALL: [CloseCode; 17] = {
        use CloseCode::*;
        [
            Normal,
            Protocol,
            Unsupported,
            InvalidUtf8,
            TooBig,
            Draining,
            TokenExpired,
            SlowReceiver,
            NoHeartbeat,
            RateLimitAbuse,
            ServerError,
            InvalidToken,
            Malformed,
            AuthTimeout,
            Banned,
            Displaced,
            SessionRevoked,
        ]
    };

    /// The reason text in the Close frame.
    pub fn reason(self) -> &'static str {
        use CloseCode::*;
        match self {
            Normal => "",
            Protocol => "protocol error",
            Unsupported => "binary frames are not accepted",
            InvalidUtf8 => "invalid UTF-8",
            TooBig => "message too big",
            Draining => "server draining",
            TokenExpired => "token expired",
            SlowReceiver => "slow receiver",
            NoHeartbeat => "no heartbeat",
            RateLimitAbuse => "rate limit abuse",
            ServerError => "server error",
            InvalidToken => "invalid token",
            Malformed => "malformed traffic",
            AuthTimeout => "authentication timeout",
            Banned => "disconnected by a moderator",
            Displaced => "displaced by a newer connection",
            SessionRevoked => "session revoked",
        }
    }
}
