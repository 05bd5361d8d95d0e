//! From the bytes of a frame, or of an HTTP body, to a [`Command`].
//!
//! The JSON is read into a flat tape whose memory is reused, so that a frame costs allocations only for what its
//! command keeps. Nothing in here depends on state; a command that comes out holds values of the right type, within
//! the protocol's fixed limits, and no string of it contains U+0000.

mod commands;
mod fields;
mod key;
mod messages;
mod repair;
mod rooms;
#[cfg(test)]
mod tests;
mod text;

pub use commands::{
    CURSOR_BYTES_MAX, DESCRIPTION_CHARS_MAX, GROUP_MAX, METADATA_BYTES_MAX, NAME_CHARS_MAX, PAGE_MAX, QUERY_BYTES_MAX,
    REASON_CHARS_MAX, ROLE_BYTES_MAX, STATUS_CHARS_MAX, TIMESTAMP_BYTES_MAX, TOKEN_BYTES_MAX, TOPIC_CHARS_MAX,
};
pub use rooms::{BUILT_IN_ROLES, ROLE_CHARS_MAX};

use super::json::{push_string, push_uint};
use super::{Command, CommandError, CommandType, ErrorCode, RequestId};
use crate::id::RoomId;
use fields::{Field, Object};
use simd_json::{Buffers, INPUT_PADDING, Node, StaticNode, Tape};

/// Objects and arrays inside each other; beyond: `INVALID_JSON`.
pub const NESTING_MAX: usize = 16;
/// Bytes of a request id that is a string.
pub const REQUEST_ID_BYTES_MAX: usize = 64;
/// Documents beyond this leave no buffer behind (a frame has at most 64 KiB by default).
const KEPT_BYTES_MAX: usize = 128 << 10;

/// Reads commands. Holds only scratch memory: one per shard serves all of its connections.
pub struct Parser {
    buffers: Buffers,
    tape: Tape<'static>,
    /// The document, with room behind it that the SIMD loads may overrun. Strings are unescaped in here, so that the
    /// caller's bytes stay as they came.
    padded: Vec<u8>,
}

impl std::fmt::Debug for Parser {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Parser")
    }
}

/// What a frame says. The id is there even where the command is an error, so that the error can carry it.
#[derive(Debug)]
pub struct Parsed {
    /// To be echoed in the reply or error.
    pub id: Option<RequestId>,
    /// The command's name, if it is a known one.
    pub kind: Option<CommandType>,
    /// The room that a wrong command names all the same: its error has a place among the room's answers.
    pub room_id: Option<RoomId>,
    /// The command, or `INVALID_JSON`, `INVALID_REQUEST` or `UNKNOWN_TYPE`.
    pub command: Result<Command, CommandError>,
}

impl Parser {
    /// A parser without any memory yet.
    pub fn new() -> Self {
        Parser { buffers: Buffers::with_max_depth(0, NESTING_MAX), tape: Tape(Vec::new()), padded: Vec::new() }
    }

    /// A WebSocket frame: the envelope `{type, id, data}`.
    pub fn parse(&mut self, text: &[u8]) -> Parsed {
        let parsed = self.read(text, |root| match root {
            Some(envelope) => read_envelope(envelope),
            None => failed(None, invalid_json("a frame must be a JSON object")),
        });
        parsed.unwrap_or_else(|error| failed(None, error))
    }

    /// HTTP: the body is the `data` of a command; an empty one counts as `{}`.
    ///
    /// # Errors
    /// `INVALID_JSON` and `INVALID_REQUEST`.
    pub fn parse_data(&mut self, kind: CommandType, body: &[u8]) -> Result<Command, CommandError> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return commands::read(kind, Object::EMPTY);
        }
        self.read(body, |root| match root {
            Some(data) => commands::read(kind, data),
            None => Err(CommandError::field("data", "must be an object")),
        })?
    }

    /// Parses `text` and hands its root to `then`, if the root is an object.
    fn read<T>(&mut self, text: &[u8], then: impl FnOnce(Option<Object<'_>>) -> T) -> Result<T, CommandError> {
        let mut tape = std::mem::replace(&mut self.tape, Tape(Vec::new())).reset();
        let mut repaired = false;
        let mut result = fill(&mut self.padded, text, &mut self.buffers, &mut tape, None);
        if result.is_err() {
            // Correct JSON may hold numbers that the parser refuses because no machine type holds them. They are
            // values of the wrong type like others, so that the error can name the field.
            tape = tape.reset();
            let numbers = repair::oversized_numbers(text);
            if !numbers.is_empty() {
                repaired = true;
                result = fill(&mut self.padded, text, &mut self.buffers, &mut tape, Some(&numbers));
            }
        }
        let outcome = result.map(|()| then(Object::of(&tape.0, repaired)));
        self.tape = tape.reset();
        if self.padded.len() > KEPT_BYTES_MAX {
            *self = Parser::new();
        }
        outcome
    }
}

impl Default for Parser {
    fn default() -> Self {
        Parser::new()
    }
}

fn fill<'a>(
    padded: &'a mut Vec<u8>,
    text: &[u8],
    buffers: &mut Buffers,
    tape: &mut Tape<'a>,
    numbers: Option<&[std::ops::Range<usize>]>,
) -> Result<(), CommandError> {
    padded.clear();
    padded.extend_from_slice(text);
    for number in numbers.unwrap_or_default() {
        repair::overwrite(&mut padded[number.clone()]);
    }
    padded.resize(text.len() + INPUT_PADDING, b' ');
    simd_json::fill_tape_padded(padded, text.len(), buffers, tape).map_err(|error| {
        invalid_json(match error.error() {
            simd_json::ErrorType::DepthLimitExceeded => "nested too deeply",
            _ => "not valid JSON",
        })
    })
}

fn read_envelope(envelope: Object<'_>) -> Parsed {
    let [kind, id, data] = envelope.pick(["type", "id", "data"]);
    let id = match id.opt(read_id) {
        Ok(id) => id,
        Err(error) => return failed(None, error),
    };
    let name = match kind.text() {
        Ok(name) => name,
        Err(error) => return failed(id, error),
    };
    let Some(kind) = CommandType::from_name(name) else {
        return failed(id, CommandError::new(ErrorCode::UnknownType, "no such command"));
    };
    let data = data.opt(|data| data.object());
    let named = data.as_ref().ok().copied().flatten();
    let command = data.and_then(|data| commands::read(kind, data.unwrap_or(Object::EMPTY)));
    let room_id = named.filter(|_| command.is_err()).and_then(room_of);
    Parsed { id, kind: Some(kind), room_id, command }
}

fn room_of(data: Object<'_>) -> Option<RoomId> {
    let [room_id] = data.pick(["room_id"]);
    room_id.id().ok().map(RoomId)
}

fn read_id(id: Field<'_>) -> Result<RequestId, CommandError> {
    let mut raw = Vec::with_capacity(REQUEST_ID_BYTES_MAX / 2);
    match id.scalar() {
        Some(Node::String(text)) if text.len() <= REQUEST_ID_BYTES_MAX && !text.contains('\0') => {
            push_string(&mut raw, text);
        }
        Some(Node::Static(StaticNode::U64(value))) => push_uint(&mut raw, value),
        Some(Node::Static(StaticNode::I64(value))) => push_int(&mut raw, value),
        _ => return Err(id.error("must be an integer or a string of at most 64 bytes")),
    }
    Ok(RequestId(into_text(raw)))
}

fn push_int(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    push_uint(out, value.unsigned_abs());
}

fn into_text(raw: Vec<u8>) -> Box<str> {
    // The writers of JSON append ASCII and whole strings only.
    String::from_utf8(raw).expect("JSON is text").into_boxed_str()
}

fn failed(id: Option<RequestId>, error: CommandError) -> Parsed {
    Parsed { id, kind: None, room_id: None, command: Err(error) }
}

fn invalid_json(message: &'static str) -> CommandError {
    CommandError::new(ErrorCode::InvalidJson, message)
}
