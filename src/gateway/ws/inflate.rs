//! Compressed messages (RFC 7692) on their way in. No message refers to one before it, so that all connections of a
//! shard share one inflater, and a connection keeps nothing of it.

use flate2::{Decompress, FlushDecompress, Status};

use super::WsError;

/// What the sender has cut off (RFC 7692, 7.2.2), and a last empty block: who ends in the middle of a block does not
/// come to its end.
const TAIL: [u8; 6] = [0, 0, 0xFF, 0xFF, 3, 0];
/// Blocks of a message that may claim to be its last (RFC 7692, 7.2.3.4 allows one); each costs a reset.
const LAST_BLOCKS_MAX: u32 = 16;
/// Bytes inflated, and read to be inflated, after which a connection waits for the next turn.
const TURN_COST_MAX: usize = 256 << 10;
/// What a compressed byte costs, in bytes inflated: a stream of tables and nothing else is the dearest.
const READ_COST: usize = 4;
/// Bytes of the buffer that are kept between messages.
const KEPT_BYTES_MAX: usize = 64 << 10;
/// Bytes that the buffer begins with.
const FIRST_BYTES: usize = 4 << 10;

/// The inflater of a shard.
#[derive(Default)]
pub struct Inflater {
    /// 50 KB; made when first used.
    zlib: Option<Decompress>,
    out: Vec<u8>,
    /// Since [`Inflater::begin`].
    cost: usize,
    /// Messages inflated.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Inflater {
    /// Another connection's turn begins.
    pub fn begin(&mut self) {
        self.cost = 0;
    }

    /// The connection has had its share of this turn.
    pub fn is_exhausted(&self) -> bool {
        self.cost >= TURN_COST_MAX
    }

    /// Bytes that a compressed message may have, if it may have `max` when inflated: incompressible ones grow.
    pub fn packed_max(max: usize) -> usize {
        max + (max >> 10) + 64
    }

    /// The message that `packed` is; may be overwritten. [`Inflater::done`] must follow.
    ///
    /// # Errors
    /// It is none, or is longer than `max`, which is known before much more than that is inflated.
    pub fn inflate(&mut self, packed: &[u8], max: usize) -> Result<&mut [u8], WsError> {
        self.out.clear();
        if !packed.is_empty() {
            self.zlib.get_or_insert_with(|| Decompress::new(false)).reset(false);
            let result = self.run(packed, max).and_then(|_| self.run(&TAIL, max));
            self.cost += READ_COST * packed.len() + self.out.len();
            if result != Ok(Status::StreamEnd) {
                self.done();
                return Err(result.err().unwrap_or(WsError::InvalidDeflate));
            }
        }
        self.messages += 1;
        self.bytes += self.out.len() as u64;
        Ok(&mut self.out)
    }

    /// What was inflated is no longer needed: a large message is not remembered.
    pub fn done(&mut self) {
        if self.out.capacity() > KEPT_BYTES_MAX {
            self.out = Vec::new();
        }
    }

    /// Bytes of the buffer for what is inflated.
    #[cfg(test)]
    pub fn buffered_bytes(&self) -> usize {
        self.out.capacity()
    }

    /// Inflates all of `input`, behind what was inflated before, and says what came last.
    fn run(&mut self, mut input: &[u8], max: usize) -> Result<Status, WsError> {
        let zlib = self.zlib.as_mut().expect("made before");
        let (mut status, mut last_blocks) = (Status::Ok, 0);
        loop {
            if self.out.len() == self.out.capacity() {
                let more = self.out.capacity().max(FIRST_BYTES).min(max + 1 - self.out.len());
                self.out.reserve_exact(more);
            }
            let (read, written) = (zlib.total_in(), self.out.len());
            status = match zlib.decompress_vec(input, &mut self.out, FlushDecompress::None) {
                Ok(Status::BufError) => status,
                Ok(status) => status,
                Err(_) => return Err(WsError::InvalidDeflate),
            };
            let used = (zlib.total_in() - read) as usize;
            input = &input[used..];
            if self.out.len() > max {
                return Err(WsError::TooBig);
            }
            if status == Status::StreamEnd && !input.is_empty() {
                last_blocks += 1;
                if last_blocks > LAST_BLOCKS_MAX {
                    return Err(WsError::InvalidDeflate);
                }
                zlib.reset(false);
                continue;
            }
            let full = self.out.len() == self.out.capacity();
            if input.is_empty() && (!full || status == Status::StreamEnd) {
                return Ok(status);
            }
            if used == 0 && written == self.out.len() && !full {
                return Err(WsError::InvalidDeflate); // no way forward
            }
        }
    }
}
