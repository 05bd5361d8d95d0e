//! Faults planted around the engine, to show that the checker finds what it is there for.

/// A fault of the kind that the guarantees exclude.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Plant {
    /// The store says "committed" before it has committed, so that acknowledgements come too early.
    AckBeforeCommit,
    /// An event is pushed to a subscriber before its batch is written.
    PushBeforeCommit,
    /// The store drops a refused event without a word and writes the rest.
    HoleAfterRefusal,
    /// The store, having lost an answer, writes a batch a second time under new positions.
    DuplicateAfterLostResult,
    /// The store takes a foreign row for its own and says "committed".
    ForeignTakenForOwn,
    /// A reply names a head that is not committed.
    UncommittedHead,
    /// An event reaches a connection after it has left the room.
    EventAfterLeaving,
    /// A message between shards is dropped when the ring is full.
    DropOnFullRing,
    /// A page of a replay loses its last event.
    ShortReplay,
    /// Two messages between shards change places.
    Reorder,
    /// The store loses writes about messages: edits and counts of answers.
    LostWrite,
    /// The store miscounts reactions.
    Miscounted,
    /// What happened to a message is not loaded with it.
    StateForgotten,
    /// Who reacted is not loaded: a reaction can be added twice.
    ReactionsForgotten,
    /// A tombstone is loaded as if it were none.
    DeletedIsShown,
    /// A thread is loaded without its last answer.
    ShortThread,
    /// Every member is loaded as a moderator.
    EverybodyModerates,
    /// Every moderator is loaded as the owner.
    ManyOwners,
    /// Mutes and bans are not loaded.
    ForgottenSanctions,
    /// Blocks are not loaded.
    ForgottenBlocks,
    /// A room is loaded as if nobody were in it: it is never full.
    ForgottenMembers,
    /// The limits of reactions, pins and roles are not kept.
    LimitsIgnored,
    /// The search is carried out with the rights of somebody else.
    ForeignSearch,
    /// Mentions are not counted.
    MentionsUncounted,
    /// A subscription outlives a kick.
    EventAfterKick,
    /// Whom a user blocks is not loaded with the profile: they see what they must not.
    ForgottenProfile,
    /// The last row of every list of conversations and blocks is missing.
    ShortLists,
    /// A session that is over goes on.
    SessionGoesOn,
}

impl Plant {
    /// All of them.
    pub const ALL: [Plant; 28] = {
        use Plant::*;
        [
            AckBeforeCommit,
            PushBeforeCommit,
            HoleAfterRefusal,
            DuplicateAfterLostResult,
            ForeignTakenForOwn,
            UncommittedHead,
            EventAfterLeaving,
            DropOnFullRing,
            ShortReplay,
            Reorder,
            LostWrite,
            Miscounted,
            StateForgotten,
            ReactionsForgotten,
            DeletedIsShown,
            ShortThread,
            EverybodyModerates,
            ManyOwners,
            ForgottenSanctions,
            ForgottenBlocks,
            ForgottenMembers,
            LimitsIgnored,
            ForeignSearch,
            MentionsUncounted,
            EventAfterKick,
            ForgottenProfile,
            ShortLists,
            SessionGoesOn,
        ]
    };
}
