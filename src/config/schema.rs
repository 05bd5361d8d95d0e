//! Every setting: its name, type, default, range and meaning.

use super::secret::{DatabaseUrl, Secret};
use super::section::section;
use super::value::{Environment, JwtAlgorithm, LogFormat, LogLevel};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// A second, a minute, a day in the ranges of durations.
const S: i64 = 1000;
const M: i64 = 60 * S;
const D: i64 = 1440 * M;

/// The largest number of anything that is stored as a 32 bit integer.
const I32: i64 = i32::MAX as i64;

section! {
    /// The process and its sockets.
    Server = "server" {
        /// Address and port for clients: WebSocket and HTTP.
        bind_addr: SocketAddr = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080));
        /// "development", or "production", which refuses weak secrets and development switches.
        environment: Environment = Environment::Development;
        /// Shards, each one thread on a core of its own. 0: one for each core that the process may run on.
        shards: u16 = 0, in 0..=256;
        /// Directory of the process: lock file, generated secret. One server per directory.
        data_dir: PathBuf = PathBuf::from("./data");
        /// Origins beside the server's own that browsers may connect from, such as ["https://app.example.com"].
        allowed_origins: Vec<String> = Vec::new();
        /// Address and port of a second listener for /metrics, /capacity, /health and /admin. "": none, they are
        /// served on bind_addr.
        internal_addr: Option<SocketAddr> = None;
        /// Time between two pings to a connection; one that is silent for two of them is closed (3003).
        heartbeat_interval: Duration = Duration::from_secs(25), in 50..=60 * M;
        /// Time that a connection without a token has to authenticate; then it is closed (3502).
        auth_timeout: Duration = Duration::from_secs(10), in 50..=60 * M;
        /// Time that a client has to send its whole request head; then it is cut off.
        handshake_timeout: Duration = Duration::from_secs(10), in 50..=10 * M;
        /// Time from SIGTERM to the end of the process: clients are told, the journal is written.
        shutdown_timeout: Duration = Duration::from_secs(30), in 100..=60 * M;
        /// Agrees to compress messages (permessage-deflate) with clients that offer it. A frame of 256 bytes or more is
        /// compressed once for all of its receivers: 10 µs for one of 460 bytes, of which 60 % are left; 0.1 ms for a
        /// page of 100 messages, of which 14 % are left. Costs memory per shard (0.4 MB), none per connection.
        compression: bool = false;
        /// Serves /echo, which returns every WebSocket message (up to 16 MiB), for conformance suites.
        /// Refused in production.
        echo_endpoint: bool = false;
    }
}

section! {
    /// Where everything durable is kept.
    Database = "database" {
        /// "sqlite://PATH" (bundled) or "postgresql://USER:PASSWORD@HOST:PORT/DATABASE" (version 14 or newer).
        url: DatabaseUrl = DatabaseUrl::default();
        /// Connections for queries (SQLite: reader threads); those that write are counted by write_lanes.
        max_connections: u16 = 10, in 1..=1000;
        /// Batches that each shard may have under way at once, each of other rooms. PostgreSQL has so many connections
        /// that write (on more than four cores more), each for the batches of several shards; SQLite has one.
        write_lanes: u16 = 1, in 1..=64;
        /// Time that a command waits for the database before it is answered STORE_UNAVAILABLE.
        query_timeout: Duration = Duration::from_secs(5), in 100..=5 * M;
        /// Time that a starting server waits for another one to let go of its database, directory and port.
        lock_timeout: Duration = Duration::from_secs(10), in 0..=10 * M;
    }
}

section! {
    /// Tokens, and the server's own users.
    Security = "security" {
        /// Key of HS256 tokens and of the server's own ones, 32 bytes or more. "": in development one is generated
        /// and kept in data_dir/jwt_secret; production requires it.
        jwt_secret: Secret = Secret::default();
        /// Algorithm of the tokens that the application signs: "HS256" with jwt_secret, or "RS256", "ES256" or
        /// "EdDSA" with one of the next two. No other is accepted. The server's own tokens are HS256 always.
        jwt_algorithm: JwtAlgorithm = JwtAlgorithm::Hs256;
        /// PEM file with the public key for RS256, ES256 or EdDSA.
        jwt_public_key_file: Option<PathBuf> = None;
        /// JSON Web Key Set file with the public keys for RS256, ES256 or EdDSA, told apart by their "kid".
        jwks_file: Option<PathBuf> = None;
        /// The only "iss" that the application's tokens may have. "": any. Not "veza", which is the server's own.
        jwt_issuer: String = String::new();
        /// The "aud" that the application's tokens must have. "": any or none.
        jwt_audience: String = String::new();
        /// Life of the access tokens that the server gives its own users.
        jwt_access_duration: Duration = Duration::from_secs(900), in S..=30 * D;
        /// Life of the refresh tokens that the server gives its own users.
        jwt_refresh_duration: Duration = Duration::from_secs(7 * 86_400), in S..=3650 * D;
        /// A valid token of an unknown user makes that user.
        auto_provision: bool = true;
        /// Threads that hash passwords (argon2id, 19 MiB and about 30 ms each).
        password_threads: u16 = 1, in 1..=64;
        /// Registrations and logins that may wait for these threads; beyond: RATE_LIMIT_EXCEEDED.
        password_queue: u32 = 32, in 1..=10_000;
    }
}

section! {
    /// What one client, room or queue may take. 0 switches a count or rate off.
    Limits = "limits" {
        /// Characters in a message; beyond: MESSAGE_TOO_LONG.
        max_message_length: u32 = 2000, in 0..=1_000_000;
        /// Bytes in a WebSocket message of a client (beyond: closed with 1009) and in an HTTP body (413).
        max_frame_bytes: usize = 65_536, in 1024..=16_777_216;
        /// Connections of one user; the oldest one beyond is closed (3504).
        max_connections_per_user: u32 = 5, in 0..=I32;
        /// Messages of one user in a minute, once messages_burst is used up.
        max_messages_per_minute: u32 = 60, in 0..=I32;
        /// Messages of one user that may come at once.
        messages_burst: u32 = 20, in 1..=I32;
        /// Commands of one connection (over HTTP: of one user) in a second, once commands_burst is used up.
        commands_per_second: u32 = 50, in 0..=I32;
        /// Commands of one connection that may come at once.
        commands_burst: u32 = 100, in 1..=I32;
        /// Time after sending in which authors may edit their messages; later: PERMISSION_DENIED. 0: always.
        edit_window: Duration = Duration::ZERO, in 0..=3650 * D;
        /// Different reactions of one user to one message; beyond: CONFLICT.
        max_reactions_per_message: u32 = 10, in 0..=I32;
        /// Pinned messages in one room; beyond: CONFLICT.
        max_pins_per_room: u32 = 50, in 0..=I32;
        /// Roles of its own that a room may have; beyond: CONFLICT.
        max_roles_per_room: u32 = 50, in 0..=1000;
        /// Users that one message may mention; further names are plain text. 0: nobody can be mentioned.
        max_mentions: u32 = 50, in 0..=1000;
        /// The most that a room's own max_members may be, and its default; beyond: ROOM_FULL.
        max_members_per_room: u32 = 1000, in 0..=I32;
        /// Rooms that one user may have created.
        max_rooms_per_user: u32 = 100, in 0..=I32;
        /// Subscriptions of one connection, and rooms in one "resume".
        max_subscriptions: u32 = 100, in 0..=I32;
        /// Events of one room that one "resume" replays; beyond: "recovered": false.
        resume_events: u64 = 10_000;
        /// Bytes of pushes that may wait for one connection; beyond: closed (3002), it can resume.
        outbox_bytes: usize = 1_048_576, in 1024..=1_073_741_824;
        /// Bytes that may wait for all connections of a shard; beyond: the fullest are closed (3002).
        outbox_shard_bytes: usize = 268_435_456, in 65_536..=1_099_511_627_776;
        /// Malformed frames of one connection in a minute; beyond: closed (3501).
        malformed_frames: u32 = 10, in 0..=I32;
        /// Connections that have not authenticated yet, in all; beyond: 503.
        handshakes: u32 = 4096, in 0..=I32;
        /// The same from one address. Authenticated connections are not limited per address.
        handshakes_per_address: u32 = 1024, in 0..=I32;
        /// Registrations and logins (together) from one address in a minute; beyond: RATE_LIMIT_EXCEEDED.
        logins_per_minute: u32 = 60, in 0..=I32;
    }
}

section! {
    /// Queues, batches and caches of each shard. The defaults are good; larger ones take memory.
    Engine = "engine" {
        /// Events and other writes that may wait for the database; beyond: OVERLOADED.
        journal_operations: usize = 16_384, in 64..=10_000_000;
        /// Bytes of these; beyond: OVERLOADED.
        journal_bytes: usize = 16_777_216, in 131_072..=68_719_476_736;
        /// Those of one user; beyond: OVERLOADED to that user.
        journal_operations_per_user: u32 = 4096, in 16..=I32;
        /// Operations in one transaction.
        batch_operations: usize = 1024, in 1..=100_000;
        /// Bytes in one transaction (a larger single operation still goes).
        batch_bytes: usize = 1_048_576, in 1024..=268_435_456;
        /// Commands of one connection under way; beyond: its socket is not read.
        commands_in_flight: u32 = 256, in 1..=1_000_000;
        /// Bytes of replies waiting for one connection; beyond: its socket is not read.
        reply_bytes: usize = 262_144, in 1024..=1_073_741_824;
        /// Queries under way; beyond: OVERLOADED.
        queries: usize = 32_768, in 16..=10_000_000;
        /// Newest events of each room that are kept in memory for those who come back.
        room_cache_events: usize = 256, in 1..=1_000_000;
        /// Bytes of these.
        room_cache_bytes: usize = 262_144, in 1024..=1_073_741_824;
        /// Time after which a room that nobody uses leaves memory.
        room_idle: Duration = Duration::from_secs(300), in 100..=7 * D;
        /// Users who are shown as typing in one room at once; further ones are not shown.
        room_typing: usize = 20, in 0..=1000;
        /// Users of whom the shard remembers who they are, which spares a query when they come back.
        identities: usize = 65_536, in 16..=100_000_000;
    }
}

section! {
    /// What the database does not keep for ever.
    Retention = "retention" {
        /// Time that the content of a deleted message, and of its edits, stays in the database: until then moderators
        /// can read it.
        deleted_grace: Duration = Duration::from_secs(30 * 86_400), in 0..=3650 * D;
        /// Time between two looks for what is to be removed: messages over a room's own retention_days, the content of
        /// deleted messages, deleted rooms.
        job_interval: Duration = Duration::from_secs(60), in S..=D;
    }
}

section! {
    /// Full-text search.
    Search = "search" {
        /// PostgreSQL: text search configuration by which words are compared, such as "english"; "simple" compares
        /// them as they are. After a change all messages are indexed anew. SQLite compares words as they are.
        language: String = "simple".to_owned();
    }
}

section! {
    /// What the server tells its operator, on standard error.
    Logging = "logging" {
        /// "error", "warn", "info", "debug" or "trace".
        level: LogLevel = LogLevel::Info;
        /// "pretty", or "json": one object a line.
        format: LogFormat = LogFormat::Pretty;
    }
}
