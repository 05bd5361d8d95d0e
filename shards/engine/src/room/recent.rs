//! An event in memory: encoded, with what is needed to change it when its message changes.

use crate::fanout::FrameBytes;
use crate::id::{Seq, UserId};
use crate::store::{EventKind, EventRecord, MessageState};
use crate::time::WallMs;
use crate::wire::encode::{Spans, event_object, message_object, message_state, opt_time, push_frame, push_kind};
use crate::wire::json::push_string;

/// One event.
#[derive(Debug, Clone)]
pub struct Recent {
    /// The push, as receivers get it.
    pub frame: FrameBytes,
    /// Where the `data` object lies in `frame`.
    data: std::ops::Range<u32>,
    spans: Spans,
    /// What it is.
    pub kind: EventKind,
    /// Messages up to this event.
    pub message_no: u64,
    /// The root of a message's thread; of other events the message that they are about.
    pub parent_id: Option<Seq>,
    /// Who did it.
    pub author_id: Option<UserId>,
    /// When.
    pub at: WallMs,
    /// Whom the message mentions.
    pub mentions: Box<[UserId]>,
    /// What has become of the message; `None`: nothing.
    pub state: Option<Box<MessageState>>,
}

impl Recent {
    /// Encodes an event as it now is.
    pub fn new(record: &EventRecord) -> Recent {
        let row = &record.row;
        let mut data = Vec::with_capacity(384 + row.content.as_ref().map_or(0, |content| content.len()));
        let spans = match row.kind {
            EventKind::Message => message_object(&mut data, record),
            _ => event_object(&mut data, record),
        };
        let (frame, range) = framed(row.kind, &data);
        Recent {
            frame,
            data: range,
            spans,
            kind: row.kind,
            message_no: row.message_no,
            parent_id: row.parent_id,
            author_id: row.author_id,
            at: row.at,
            mentions: row.mentions.clone(),
            state: record.state.clone(),
        }
    }

    /// The `data` object of the push.
    pub fn data(&self) -> &[u8] {
        &self.frame[self.data.start as usize..self.data.end as usize]
    }

    /// It is a message, deleted or not.
    pub fn is_message(&self) -> bool {
        self.kind == EventKind::Message
    }

    /// Its message is a tombstone.
    pub fn is_deleted(&self) -> bool {
        self.state.as_ref().is_some_and(|state| state.deleted_at.is_some())
    }

    /// It is pinned.
    pub fn is_pinned(&self) -> bool {
        self.state.as_ref().is_some_and(|state| state.pinned.is_some())
    }

    fn reactions(&self) -> &[crate::store::Reaction] {
        self.state.as_ref().map_or(&[][..], |state| &state.reactions)
    }

    /// How many users react so.
    pub fn reaction_count(&self, emoji: &str) -> u32 {
        self.reactions().iter().find(|reaction| *reaction.emoji == *emoji).map_or(0, |reaction| reaction.count)
    }

    /// The emoji of this user, as far as memory knows.
    pub fn own_reactions(&self, user: UserId) -> impl Iterator<Item = &str> {
        self.reactions().iter().filter(move |reaction| reaction.users.contains(&user)).map(|reaction| &*reaction.emoji)
    }

    /// Whether memory knows which of the reactions are this reader's.
    pub fn knows(&self, reader: UserId) -> bool {
        self.reactions().iter().all(|r| r.users.len() == r.count as usize || r.users.contains(&reader))
    }

    /// The message object as this reader gets it.
    pub fn write_for(&self, out: &mut Vec<u8>, reader: UserId) {
        let data = self.data();
        match &self.state {
            Some(state) if !state.reactions.is_empty() => {
                out.extend_from_slice(&data[..self.spans.state.0 as usize]);
                let mentions = if self.is_deleted() { &[][..] } else { &self.mentions };
                message_state(out, mentions, Some(state), Some(reader));
                out.extend_from_slice(&data[self.spans.state.1 as usize..]);
            }
            _ => out.extend_from_slice(data),
        }
    }

    /// Whether the content is this one.
    pub fn has_content(&self, content: &str) -> bool {
        let mut encoded = Vec::with_capacity(content.len() + 2);
        push_string(&mut encoded, content);
        let (from, to) = self.spans.content;
        self.data()[from as usize..to as usize] == *encoded
    }

    /// The state, to be changed; call [`Recent::encode`] afterwards.
    pub fn state_mut(&mut self) -> &mut MessageState {
        self.state.get_or_insert_default()
    }

    /// Encodes a message anew after its state, mentions or (`Some`) content have changed.
    pub fn encode(&mut self, content: Option<&str>) {
        let old = self.data();
        let part = |from: u32, to: u32| &old[from as usize..to as usize];
        let deleted = self.is_deleted();
        let mut spans = Spans::default();
        let mut out = Vec::with_capacity(old.len() + 64 + content.map_or(0, str::len));
        out.extend_from_slice(part(0, self.spans.content.0));
        spans.content.0 = out.len() as u32;
        match content.or(deleted.then_some("")) {
            Some(content) => push_string(&mut out, content),
            None => out.extend_from_slice(part(self.spans.content.0, self.spans.content.1)),
        }
        spans.content.1 = out.len() as u32;
        out.extend_from_slice(part(self.spans.content.1, self.spans.state.0));
        spans.state.0 = out.len() as u32;
        let mentions = if deleted { &[][..] } else { &self.mentions };
        message_state(&mut out, mentions, self.state.as_deref(), None);
        spans.state.1 = out.len() as u32;
        out.extend_from_slice(part(self.spans.state.1, self.spans.metadata.0));
        spans.metadata.0 = out.len() as u32;
        match deleted {
            true => out.extend_from_slice(b"null"),
            false => out.extend_from_slice(part(self.spans.metadata.0, self.spans.metadata.1)),
        }
        spans.metadata.1 = out.len() as u32;
        out.extend_from_slice(part(self.spans.metadata.1, self.spans.edited_at.0));
        spans.edited_at.0 = out.len() as u32;
        opt_time(&mut out, self.state.as_ref().and_then(|state| state.edited_at));
        spans.edited_at.1 = out.len() as u32;
        out.push(b'}');
        self.spans = spans;
        (self.frame, self.data) = framed(self.kind, &out);
    }

    /// Of an edit whose message is deleted: takes its content and mentions away.
    pub fn scrub_edit(&mut self) {
        let old = self.data();
        let mut out = old[..self.spans.content.0 as usize].to_vec();
        let content = (out.len() as u32, out.len() as u32 + 2);
        out.extend_from_slice(b"\"\"");
        out.extend_from_slice(&old[self.spans.content.1 as usize..self.spans.state.0 as usize]);
        let state = (out.len() as u32, out.len() as u32 + 2);
        out.extend_from_slice(b"[]");
        out.extend_from_slice(&old[self.spans.state.1 as usize..]);
        self.spans = Spans { content, state, ..Spans::default() };
        (self.frame, self.data) = framed(self.kind, &out);
    }
}

fn framed(kind: EventKind, data: &[u8]) -> (FrameBytes, std::ops::Range<u32>) {
    let frame = push_frame(push_kind(kind), data);
    let end = frame.len() as u32 - 1;
    let range = end - data.len() as u32..end;
    (frame, range)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::RoomId;
    use crate::store::{EventRow, Reaction};

    fn record(kind: EventKind) -> EventRecord {
        let mut row = EventRow::new(RoomId(7), Seq(9), kind, WallMs(0), 5);
        row.author_id = Some(UserId(3));
        row.content = Some("a \"secret\"".into());
        row.mentions = [UserId(4)].into();
        row.data = Some(if kind == EventKind::Edit { r#"{"edit_count":2}"# } else { r#"{"k":"secret"}"# }.into());
        if kind == EventKind::Edit {
            row.parent_id = Some(Seq(2));
        }
        EventRecord { row, username: Some("ada".into()), state: None }
    }

    /// What is patched is as what is encoded afresh.
    #[test]
    fn a_changed_message_is_encoded_as_if_it_had_been_so_from_the_start() {
        let users = vec![UserId(1), UserId(4)];
        let states = [
            MessageState { edit_count: 1, edited_at: Some(WallMs(5)), ..MessageState::default() },
            MessageState { deleted_at: Some(WallMs(6)), edit_count: 1, ..MessageState::default() },
            MessageState {
                pinned: Some(Seq(12)),
                thread_count: 3,
                reactions: vec![Reaction { emoji: "👍".into(), count: 2, users }],
                ..MessageState::default()
            },
        ];
        for state in states {
            let mut fresh = record(EventKind::Message);
            let mut patched = Recent::new(&fresh);
            *patched.state_mut() = state.clone();
            let content = if state.edit_count > 0 && state.deleted_at.is_none() { Some("new\n") } else { None };
            patched.encode(content);
            patched.encode(None);
            if let Some(content) = content {
                fresh.row.content = Some(content.into());
            }
            fresh.state = Some(Box::new(state));
            let fresh = Recent::new(&fresh);
            assert_eq!(String::from_utf8_lossy(patched.data()), String::from_utf8_lossy(fresh.data()));
            assert_eq!(patched.frame, fresh.frame);
            assert_eq!(patched.spans, fresh.spans);
        }
    }

    #[test]
    fn nothing_of_a_deleted_message_is_left() {
        let mut edit = Recent::new(&record(EventKind::Edit));
        assert!(String::from_utf8_lossy(edit.data()).contains("secret"));
        edit.scrub_edit();
        let expected = r#"{"room_id":7,"seq":9,"message_id":2,"content":"","mentions":[],"edited_at":"1970-01-01T00:00:00.000Z","editor_id":3,"edit_count":2,"at":"1970-01-01T00:00:00.000Z"}"#;
        assert_eq!(String::from_utf8_lossy(edit.data()), expected);
        let mut message = Recent::new(&record(EventKind::Message));
        message.state_mut().deleted_at = Some(WallMs(1));
        message.encode(None);
        assert!(!String::from_utf8_lossy(&message.frame).contains("secret"));
    }
}
