//! Identifiers. All of them are plain integers below 2^53, so that they are exact in JavaScript.

/// A user of this server; the pair (`iss`, `sub`) of a token maps to exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(pub u64);

/// A room or a conversation (a room of kind `dm`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoomId(pub u64);

/// The position of an event in its room: 1, 2, 3, …; the head of a new room is 0.
/// A message's `message_id` is the `Seq` of the event that created it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Seq(pub u64);

impl Seq {
    /// The position after this one.
    #[must_use]
    pub fn next(self) -> Seq {
        Seq(self.0 + 1)
    }
}

/// The largest id that a client may name: 2^53 - 1.
pub const ID_MAX: u64 = (1 << 53) - 1;

/// Index of a shard, 0-based; fixed for the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub u16);

/// A connection on the shard that accepted it. `slot` indexes the socket table of that shard, `generation`
/// tells a reused slot from the connection that a late message was meant for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId {
    /// The accepting shard.
    pub shard: ShardId,
    /// Place in that shard's socket and session tables.
    pub slot: u32,
    /// Increases with each reuse of the slot.
    pub generation: u32,
}

fn spread(id: u64) -> u64 {
    // Fibonacci hashing; ids are consecutive, and the high bits of the product are well mixed.
    id.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32
}

impl RoomId {
    /// The shard that owns this room among `shards`.
    pub fn home(self, shards: u16) -> ShardId {
        ShardId((spread(self.0) % u64::from(shards)) as u16)
    }
}

impl UserId {
    /// The shard that owns this user among `shards`.
    pub fn home(self, shards: u16) -> ShardId {
        ShardId((spread(self.0 ^ 0x5555) % u64::from(shards)) as u16)
    }
}
