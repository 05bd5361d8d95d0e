//! The commands and pushes as a table: what the documents at `/docs` are made of, and what the parser is tested
//! against. Rows stand in the order of [`CommandType::ALL`].

mod shapes;
mod table;
#[cfg(test)]
mod tests;

use super::{CommandType, ErrorCode};

pub use shapes::{
    BLOCKED, CONVERSATION, EDIT, GRANT, MEMBER, MESSAGE, NAMED_USER, REACTION, REACTORS, RESUME_POINT, RESUMED_ROOM,
    ROLE, ROOM, SANCTION, SESSION, UNREAD_ROOM, USER,
};
pub use table::{COMMANDS, PUSHES};

/// The form of a value.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// 1 to 2^53 - 1.
    Id,
    /// 0 to 2^53 - 1.
    Position,
    /// An integer from the first to the second.
    Int(u64, u64),
    /// true or false.
    Flag,
    /// Text for people, of at most so many characters.
    Text(u32),
    /// Opaque text of at most so many bytes.
    Token(usize),
    /// One of these.
    Word(&'static [&'static str]),
    /// RFC 3339; the server's in UTC with milliseconds.
    Time,
    /// A single emoji, or a `:shortcode:`.
    Emoji,
    /// A string, number, boolean or null.
    Scalar,
    /// Any object, of at most so many bytes as compact JSON.
    Object(usize),
    /// Any number of these.
    List(&'static Shape),
    /// An object of its own.
    Struct(&'static Struct),
}

/// An object that has a name.
#[derive(Debug)]
pub struct Struct {
    /// E.g. `Room`.
    pub name: &'static str,
    /// Its members.
    pub fields: &'static [FieldSpec],
}

/// A member of an object.
#[derive(Clone, Copy, Debug)]
pub struct FieldSpec {
    /// As clients write and read it.
    pub name: &'static str,
    /// Its form.
    pub shape: Shape,
    /// Must be sent; in replies: is always there.
    pub required: bool,
    /// May be null in replies.
    pub nullable: bool,
    /// What it means; empty where its name says it.
    pub about: &'static str,
}

/// A command.
#[derive(Clone, Copy, Debug)]
pub struct CommandSpec {
    /// Which.
    pub kind: CommandType,
    /// One sentence.
    pub summary: &'static str,
    /// Its data.
    pub fields: &'static [FieldSpec],
    /// The type of its reply.
    pub reply: &'static str,
    /// The reply's data.
    pub reply_fields: &'static [FieldSpec],
    /// What it can fail with besides [`COMMON_ERRORS`].
    pub errors: &'static [ErrorCode],
}

/// Something that the server says of its own accord.
#[derive(Debug)]
pub struct PushSpec {
    /// Its type.
    pub kind: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// Takes a `seq` of its room: never dropped, always in order.
    pub sequenced: bool,
    /// Its data.
    pub fields: &'static [FieldSpec],
}

/// What every command can fail with.
pub const COMMON_ERRORS: [ErrorCode; 10] = [
    ErrorCode::InvalidJson,
    ErrorCode::InvalidRequest,
    ErrorCode::Unauthenticated,
    ErrorCode::InvalidToken,
    ErrorCode::TokenExpired,
    ErrorCode::RateLimitExceeded,
    ErrorCode::Overloaded,
    ErrorCode::StoreUnavailable,
    ErrorCode::Draining,
    ErrorCode::Internal,
];

impl CommandType {
    /// Its row in the table.
    pub fn spec(self) -> &'static CommandSpec {
        let spec = &COMMANDS[self as usize];
        debug_assert!(spec.kind == self, "the table is in the order of ALL");
        spec
    }
}
