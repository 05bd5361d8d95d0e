//! Typed access to the members of an object on the tape.

use super::text;
use crate::id::ID_MAX;
use crate::wire::{CommandError, parse::into_text};
use simd_json::{Node, StaticNode};
use std::ops::RangeInclusive;

/// An object of the document.
#[derive(Clone, Copy)]
pub(super) struct Object<'a> {
    /// Members one after the other: key, value.
    members: &'a [Node<'a>],
    /// Numbers that no machine type holds were replaced in this document.
    repaired: bool,
}

/// A member of an object that a command knows, absent or there. `null` is as absent.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    name: &'static str,
    value: &'a [Node<'a>],
    repaired: bool,
}

/// Nodes of the value that begins with `head`.
fn extent(head: &Node<'_>) -> usize {
    match head {
        Node::Object { count, .. } | Node::Array { count, .. } => count + 1,
        _ => 1,
    }
}

impl<'a> Object<'a> {
    /// `{}`.
    pub(super) const EMPTY: Object<'static> = Object { members: &[], repaired: false };

    /// The object that `value` is, if it is one.
    pub(super) fn of(value: &'a [Node<'a>], repaired: bool) -> Option<Object<'a>> {
        match value.split_first() {
            Some((Node::Object { .. }, members)) => Some(Object { members, repaired }),
            _ => None,
        }
    }

    /// The members of these names, in one pass. Of members with equal names the last counts.
    pub(super) fn pick<const N: usize>(self, names: [&'static str; N]) -> [Field<'a>; N] {
        let mut fields = names.map(|name| Field { name, value: &[], repaired: self.repaired });
        let mut rest = self.members;
        while let [Node::String(key), value @ ..] = rest {
            let Some(head) = value.first() else { break };
            let (value, behind) = value.split_at(extent(head));
            if let Some(field) = fields.iter_mut().find(|field| field.name == *key) {
                field.value = if matches!(head, Node::Static(StaticNode::Null)) { &[] } else { value };
            }
            rest = behind;
        }
        fields
    }
}

impl<'a> Field<'a> {
    /// `INVALID_REQUEST` about this field.
    pub(super) fn error(&self, message: impl Into<std::borrow::Cow<'static, str>>) -> CommandError {
        CommandError::field(self.name, message)
    }

    /// It is there and not `null`.
    pub(super) fn is_present(&self) -> bool {
        !self.value.is_empty()
    }

    /// Reads the field if it is there.
    pub(super) fn opt<T>(self, read: impl FnOnce(Self) -> Result<T, CommandError>) -> Result<Option<T>, CommandError> {
        if self.is_present() { read(self).map(Some) } else { Ok(None) }
    }

    /// The value, if it is neither an object nor an array.
    pub(super) fn scalar(&self) -> Option<Node<'a>> {
        self.value.first().copied().filter(|head| matches!(head, Node::String(_) | Node::Static(_)))
    }

    fn wrong(&self, expected: impl Into<std::borrow::Cow<'static, str>>) -> CommandError {
        self.error(if self.is_present() { expected.into() } else { "is required".into() })
    }

    /// An integer within `range`.
    pub(super) fn int(self, range: RangeInclusive<u64>) -> Result<u64, CommandError> {
        let value = match self.scalar() {
            Some(Node::Static(StaticNode::U64(value))) => Some(value),
            Some(Node::Static(StaticNode::I64(value))) => u64::try_from(value).ok(),
            _ => None,
        };
        value
            .filter(|value| range.contains(value))
            .ok_or_else(|| self.wrong(format!("must be an integer from {} to {}", range.start(), range.end())))
    }

    /// The id of a user, room or message.
    pub(super) fn id(self) -> Result<u64, CommandError> {
        self.int(1..=ID_MAX)
    }

    /// A position in a room: as an id, or 0 for "before the first".
    pub(super) fn position(self) -> Result<u64, CommandError> {
        self.int(0..=ID_MAX)
    }

    /// true or false.
    pub(super) fn flag(self) -> Result<bool, CommandError> {
        match self.scalar() {
            Some(Node::Static(StaticNode::Bool(value))) => Ok(value),
            _ => Err(self.wrong("must be true or false")),
        }
    }

    /// A string without U+0000.
    pub(super) fn text(self) -> Result<&'a str, CommandError> {
        match self.scalar() {
            Some(Node::String(value)) if value.contains('\0') => Err(self.error(text::NO_CONTROL)),
            Some(Node::String(value)) => Ok(value),
            _ => Err(self.wrong("must be a string")),
        }
    }

    /// A string of 1 to `bytes_max` bytes.
    pub(super) fn token<T: From<&'a str>>(self, bytes_max: usize) -> Result<T, CommandError> {
        let value = self.text()?;
        if value.is_empty() || value.len() > bytes_max {
            return Err(self.error(format!("must have 1 to {bytes_max} bytes")));
        }
        Ok(value.into())
    }

    /// One of a closed set of words.
    pub(super) fn word<T: Copy>(self, words: &[(&'static str, T)]) -> Result<T, CommandError> {
        let value = self.text()?;
        words.iter().find(|(word, _)| *word == value).map(|(_, meaning)| *meaning).ok_or_else(|| {
            let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            self.error(format!("must be one of {}", known.join(", ")))
        })
    }

    /// An object.
    pub(super) fn object(self) -> Result<Object<'a>, CommandError> {
        Object::of(self.value, self.repaired).ok_or_else(|| self.wrong("must be an object"))
    }

    /// An array, its items read one by one; an item's fault is reported under this field's name.
    pub(super) fn each(self, mut item: impl FnMut(Field<'a>) -> Result<(), CommandError>) -> Result<(), CommandError> {
        let Some((Node::Array { .. }, mut rest)) = self.value.split_first() else {
            return Err(self.wrong("must be an array"));
        };
        while let Some(head) = rest.first() {
            let (value, behind) = rest.split_at(extent(head));
            item(Field { value, ..self })?;
            rest = behind;
        }
        Ok(())
    }

    /// Any scalar but `null`, as raw JSON of at most `bytes_max` bytes.
    pub(super) fn raw_scalar(self, bytes_max: usize) -> Result<Box<str>, CommandError> {
        let mut out = Vec::new();
        match self.scalar() {
            Some(_) if text::write_compact(self.value, bytes_max, &mut out) => Ok(into_text(out)),
            _ => Err(self.wrong(format!("must be a scalar of at most {bytes_max} bytes"))),
        }
    }

    /// An object as compact JSON of at most `bytes_max` bytes.
    pub(super) fn raw_object(self, bytes_max: usize) -> Result<Box<str>, CommandError> {
        self.object()?;
        if self.repaired {
            // It may not be in here, but what was replaced must not be stored as if it had been sent.
            return Err(self.error("holds a number out of range"));
        }
        let mut out = Vec::new();
        if !text::write_compact(self.value, bytes_max, &mut out) {
            return Err(self.error(format!("must have at most {bytes_max} bytes as JSON and no U+0000")));
        }
        Ok(into_text(out))
    }
}
