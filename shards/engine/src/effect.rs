//! What a shard wants done. The edges act on it and decide nothing.

use crate::id::ConnId;
use crate::input::VerifyFor;
use crate::store::{Batch, Load};
use crate::wire::{CloseCode, CommandError};

/// Something for the edge to do, in the order given.
#[allow(missing_docs)] // the variant's text says what its fields are
#[derive(Debug)]
pub enum Effect {
    /// Write this; answer with `Input::Stored`.
    Store(Box<Batch>),
    /// Query this; answer with `Input::Loaded` under the same id.
    Load { id: u64, load: Load },
    /// Verify this token; answer with `Input::Verified`.
    Verify { conn: ConnId, purpose: VerifyFor, token: Box<str> },
    /// Write what waits, then a Close frame with this code, then read and drop input for up to a second. The engine
    /// has forgotten the connection already (its outbox can still be drained) and gets no `Closed` for it.
    Close { conn: ConnId, code: CloseCode },
    /// Do not read this socket until `Resume`: too many of its replies wait.
    Pause { conn: ConnId },
    /// Read it again.
    Resume { conn: ConnId },
    /// The answer to `Input::Http`: the reply's `data` as JSON, or the error.
    HttpReply { ticket: u64, result: Result<Vec<u8>, Box<CommandError>> },
    /// A fault of ours, for the log: `error_id` is what the client was told.
    Fault { error_id: u64, what: Box<str> },
}
