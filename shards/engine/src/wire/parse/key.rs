//! The hash that tells a repetition of a command from another command with the same `client_id`.
//!
//! Hashes are stored, and compared by later versions of the server: what is written here must never change. A further
//! field is appended as `opt` only where it is present, behind a tag of its own.

use crate::wire::{ClientKey, CommandError};

use super::fields::Field;

const VERSION: u8 = 1;
/// Bytes in a `client_id`.
pub(super) const CLIENT_ID_BYTES_MAX: usize = 64;

/// What is hashed, by command. `send_message` and `send_dm` to the same room are the same.
#[derive(Clone, Copy)]
pub(super) enum Subject {
    Send = 1,
    CreateRoom = 2,
    CreateDm = 3,
}

/// 64-bit FNV-1a over fields that carry their length, so that no two lists of fields give the same bytes.
pub(super) struct Fnv(u64);

impl Fnv {
    pub(super) fn new(subject: Subject) -> Fnv {
        let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
        hash.raw(&[VERSION, subject as u8]);
        hash
    }

    fn raw(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    pub(super) fn uint(mut self, value: u64) -> Fnv {
        self.raw(&value.to_le_bytes());
        self
    }

    pub(super) fn text(self, value: &str) -> Fnv {
        let mut hash = self.uint(value.len() as u64);
        hash.raw(value.as_bytes());
        hash
    }

    pub(super) fn opt<T>(mut self, value: Option<T>, add: impl FnOnce(Fnv, T) -> Fnv) -> Fnv {
        self.raw(&[u8::from(value.is_some())]);
        match value {
            Some(value) => add(self, value),
            None => self,
        }
    }
}

/// The key of a command whose other fields are hashed by `fields`, if it has a `client_id`.
pub(super) fn client_key(
    client_id: Field<'_>,
    subject: Subject,
    fields: impl FnOnce(Fnv) -> Fnv,
) -> Result<Option<ClientKey>, CommandError> {
    client_id
        .opt(|client_id| Ok(ClientKey { id: client_id.token(CLIENT_ID_BYTES_MAX)?, hash: fields(Fnv::new(subject)).0 }))
}
