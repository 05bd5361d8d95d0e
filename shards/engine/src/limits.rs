//! Every bound of the engine: name, default, and what happens when it is reached. `0` switches a count or rate off
//! where the protocol says so.

/// The engine's bounds. The first group is the operator's (`[limits]`), the second is fixed at build time.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Characters in a message; beyond: `MESSAGE_TOO_LONG`.
    pub max_message_length: u32,
    /// Connections of one user; the oldest beyond is closed with 3504. 0 = off.
    pub max_connections_per_user: u32,
    /// Messages of one user in a minute, after `messages_burst`; beyond: `RATE_LIMIT_EXCEEDED`. 0 = off.
    pub max_messages_per_minute: u32,
    /// Messages that may come at once.
    pub messages_burst: u32,
    /// Commands of one connection (over HTTP: of one user) in a second, after `commands_burst`. 0 = off.
    pub commands_per_second: u32,
    /// Commands that may come at once.
    pub commands_burst: u32,
    /// The most that a room's own `max_members` may be, and its default; beyond: `ROOM_FULL`.
    pub max_members_per_room: u32,
    /// Microseconds after sending in which an author may edit; later: `PERMISSION_DENIED`. 0 = off.
    pub edit_window_us: u64,
    /// Different reactions of one user to one message; beyond: `CONFLICT`. 0 = off.
    pub max_reactions_per_message: u32,
    /// Pinned messages of one room; beyond: `CONFLICT`. 0 = off.
    pub max_pins_per_room: u32,
    /// Custom roles of one room; beyond: `CONFLICT`. 0 = off.
    pub max_roles_per_room: u32,
    /// Different users that one message mentions; further ones are plain text. 0 = none.
    pub max_mentions: u32,
    /// Rooms that one user may have created; beyond: `CONFLICT`. 0 = off.
    pub max_rooms_per_user: u32,
    /// Subscriptions of one connection, and rooms in one `resume`; beyond: `INVALID_REQUEST`. 0 = off.
    pub max_subscriptions: u32,
    /// Events that one resume may replay; beyond: `recovered: false`, `too_far`. 0 = off.
    pub resume_events: u64,
    /// Bytes of pushes waiting for one connection; beyond: closed with 3002.
    pub outbox_bytes: usize,
    /// Bytes waiting in all outboxes of a shard; beyond: the fullest are closed with 3002.
    pub outbox_shard_bytes: usize,
    /// Malformed frames of one connection in a minute; beyond: closed with 3501. 0 = off.
    pub malformed_frames: u32,
    /// Microseconds between two pings to one connection; silent for two of them: closed with 3003.
    pub heartbeat_us: u64,
    /// Microseconds until a connection must have authenticated; else closed with 3502.
    pub auth_timeout_us: u64,
    /// Microseconds until a command that waits for the database is answered `STORE_UNAVAILABLE`.
    pub store_wait_us: u64,

    /// Commands of one connection under way; beyond: its socket is not read.
    pub inflight_per_conn_max: u32,
    /// Bytes of replies waiting for one connection; beyond: its socket is not read.
    pub reply_bytes_max: usize,
    /// Operations in a shard's journal, in flight included; beyond: `OVERLOADED`.
    pub journal_ops_max: usize,
    /// Bytes in a shard's journal, in flight included; beyond: `OVERLOADED`.
    pub journal_bytes_max: usize,
    /// Operations of one user in a shard's journal; beyond: `OVERLOADED` to that user.
    pub journal_ops_per_user_max: u32,
    /// Operations in one batch.
    pub batch_ops_max: usize,
    /// Bytes in one batch (a single larger operation still goes).
    pub batch_bytes_max: usize,
    /// Batches in flight at once, each of other rooms.
    pub lanes: u16,
    /// Behind a batch of so many operations or more, the next one of its lane gathers.
    pub gather_behind: usize,
    /// It leaves so many microseconds after that one has left, if that one is back by then ...
    pub gather_us: u64,
    /// ... or as soon as so many operations wait.
    pub gather_ops: usize,
    /// Messages waiting for one peer shard; beyond: new commands that need it are `OVERLOADED`, ephemeral pushes dropped.
    pub peer_queue_max: usize,
    /// Queries under way per shard; beyond: `OVERLOADED`.
    pub loads_max: usize,
    /// Commands waiting in one room for data or for an earlier command; beyond: `OVERLOADED`.
    pub room_waiting_max: usize,
    /// Recent events kept in memory per room.
    pub ring_events: usize,
    /// Bytes of recent events kept in memory per room.
    pub ring_bytes: usize,
    /// A shard that has at least so many sockets to write lets the events of a room wait for those that are just being
    /// committed behind them, so that each socket is written once for all.
    pub hold_writes_min: usize,
    /// Microseconds that they wait at most.
    pub hold_us: u64,
    /// Events in one replay page.
    pub replay_page_events: u32,
    /// Bytes of a replay waiting for a connection at which the next page is asked for.
    pub replay_low_bytes: usize,
    /// Microseconds after which a room nobody uses leaves memory.
    pub room_idle_us: u64,
    /// Rooms with more online than this get `online_count` instead of single pushes.
    pub presence_single_max: usize,
    /// Users who are shown as typing in one room at once; beyond: not shown.
    pub typing_max: usize,
    /// Known identities kept per shard (spares a query on reconnect and per HTTP command).
    pub identities_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_message_length: 2000,
            max_connections_per_user: 5,
            max_messages_per_minute: 60,
            messages_burst: 20,
            commands_per_second: 50,
            commands_burst: 100,
            max_members_per_room: 1000,
            edit_window_us: 0,
            max_reactions_per_message: 10,
            max_pins_per_room: 50,
            max_roles_per_room: 50,
            max_mentions: 50,
            max_rooms_per_user: 100,
            max_subscriptions: 100,
            resume_events: 10_000,
            outbox_bytes: 1 << 20,
            outbox_shard_bytes: 256 << 20,
            malformed_frames: 10,
            heartbeat_us: 25_000_000,
            auth_timeout_us: 10_000_000,
            store_wait_us: 5_000_000,
            inflight_per_conn_max: 256,
            reply_bytes_max: 256 << 10,
            journal_ops_max: 16_384,
            journal_bytes_max: 16 << 20,
            journal_ops_per_user_max: 4096,
            batch_ops_max: 1024,
            batch_bytes_max: 1 << 20,
            lanes: 1,
            gather_behind: 8,
            gather_us: 2000,
            gather_ops: 64,
            peer_queue_max: 32_768,
            loads_max: 32_768,
            room_waiting_max: 32_768,
            ring_events: 256,
            ring_bytes: 256 << 10,
            hold_writes_min: 256,
            hold_us: 4000,
            replay_page_events: 256,
            replay_low_bytes: 64 << 10,
            room_idle_us: 300_000_000,
            presence_single_max: 100,
            typing_max: 20,
            identities_max: 65_536,
        }
    }
}
