//! Messages as queries answer them.

use std::collections::BTreeSet;

use veza_engine::id::{RoomId, Seq, UserId};
use veza_engine::store::{
    EditRow, EventKind, EventRecord, EventRow, Loaded, MessageState, PARTICIPANTS_MAX, REACTORS_MAX, Reaction,
    ReactionRow, RoomStats,
};
use veza_engine::time::WallMs;
use veza_engine::wire::SearchMessages;

use super::{Store, StoredMessage, StoredRoom, is_message};

/// Users of one emoji in `get_reactions`.
const REACTION_USERS_MAX: usize = 100;

impl Store {
    /// An event as it is now.
    pub(super) fn record(&self, room: &StoredRoom, row: &EventRow, reader: Option<UserId>) -> EventRecord {
        let mut row = row.clone();
        let mut state = None;
        if let Some(message) = room.messages.get(&row.seq) {
            row.content = message.content.clone();
            row.mentions = message.mentions.clone();
            state = message_state(message, reader);
        } else if row.kind == EventKind::Edit
            && let Some(about) = row.parent_id.and_then(|parent| room.messages.get(&parent))
            && about.deleted_at.is_some()
        {
            row.content = row.content.filter(|_| about.content.is_some());
            state = Some(MessageState { deleted_at: about.deleted_at, ..MessageState::default() });
        }
        EventRecord { username: row.author_id.map(|user| self.username(user).into()), row, state: state.map(Box::new) }
    }

    /// Retained messages of a room that is not deleted, ascending.
    pub(super) fn messages(
        &self,
        room_id: RoomId,
        reader: UserId,
        wanted: impl Fn(&EventRow) -> bool,
    ) -> Vec<EventRecord> {
        let Some(room) = self.live(room_id) else { return Vec::new() };
        let rows = room.retained().iter().filter(|row| is_message(row) && wanted(row));
        rows.map(|row| self.record(room, row, Some(reader))).collect()
    }

    pub(super) fn message(&self, room_id: RoomId, message_id: Seq, reader: UserId) -> Option<Box<EventRecord>> {
        let mut record = self.messages(room_id, reader, |row| row.seq == message_id).pop()?;
        let answers = self.messages(room_id, reader, |row| row.parent_id == Some(message_id));
        let authors: BTreeSet<UserId> = answers.iter().filter_map(|answer| answer.row.author_id).collect();
        if !authors.is_empty() {
            let state = record.state.get_or_insert_default();
            state.participants = authors.into_iter().take(PARTICIPANTS_MAX).collect();
        }
        Some(Box::new(record))
    }

    /// All versions of a message, the original first; of a deleted one none.
    pub(super) fn edits(&self, room_id: RoomId, message_id: Seq) -> Vec<EditRow> {
        let Some(room) = self.live(room_id) else { return Vec::new() };
        if room.messages.get(&message_id).is_none_or(|message| message.deleted_at.is_some()) {
            return Vec::new();
        }
        let rows = room.retained().iter();
        let versions = rows
            .filter(|row| row.seq == message_id || (row.kind == EventKind::Edit && row.parent_id == Some(message_id)));
        versions
            .map(|row| EditRow {
                content: row.content.clone().unwrap_or_default(),
                edited_at: row.at,
                editor_id: row.author_id.unwrap_or(UserId(0)),
                reason: row.reason.clone(),
            })
            .collect()
    }

    pub(super) fn thread(&self, room_id: RoomId, parent: Seq, after: Seq, limit: u32, reader: UserId) -> Loaded {
        let found = self.messages(room_id, reader, |row| row.seq == parent).pop();
        let mut messages = match &found {
            Some(_) => self.messages(room_id, reader, |row| row.parent_id == Some(parent) && row.seq > after),
            None => Vec::new(),
        };
        let more = messages.len() > limit as usize;
        messages.truncate(limit as usize);
        Loaded::Thread { parent: found.map(Box::new), messages, more }
    }

    /// The one pinned last first.
    pub(super) fn pinned(&self, room_id: RoomId, reader: UserId) -> Vec<EventRecord> {
        let pinned_at = |record: &EventRecord| record.state.as_ref().and_then(|state| state.pinned);
        let mut all = self.messages(room_id, reader, |_| true);
        all.retain(|record| pinned_at(record).is_some());
        all.sort_by_key(|record| std::cmp::Reverse(pinned_at(record)));
        all
    }

    pub(super) fn reactions(&self, room_id: RoomId, message_id: Seq) -> Vec<ReactionRow> {
        let message = self.live(room_id).and_then(|room| room.messages.get(&message_id));
        let reactions = message.map_or(&[][..], |message| &message.reactions[..]);
        reactions
            .iter()
            .map(|reaction| {
                let users = reaction.users.iter().take(REACTION_USERS_MAX);
                let users = users.map(|user| (*user, self.username(*user))).collect();
                ReactionRow { emoji: reaction.emoji.clone(), count: reaction.count, users }
            })
            .collect()
    }

    /// Every word is a part of the content; the newest first.
    pub(super) fn search(&self, reader: UserId, search: &SearchMessages) -> Vec<EventRecord> {
        let words: Vec<String> = search.query.split_whitespace().map(str::to_lowercase).collect();
        let rooms = self.rooms_of(reader).filter(|room| search.room_id.is_none_or(|id| room.meta.room_id == id));
        let mut found: Vec<EventRecord> = rooms
            .flat_map(|room| {
                self.messages(room.meta.room_id, reader, |row| {
                    search.author_id.is_none_or(|author| row.author_id == Some(author))
                        && search.from.is_none_or(|from| row.at >= from)
                        && search.to.is_none_or(|to| row.at < to)
                })
            })
            .filter(|record| {
                let content = record.row.content.as_deref().unwrap_or("").to_lowercase();
                !record.is_deleted() && words.iter().all(|word| content.contains(word.as_str()))
            })
            .collect();
        found.sort_by_key(|record| std::cmp::Reverse((record.row.at, record.row.room_id, record.row.seq)));
        found
    }

    /// The newest first.
    pub(super) fn mentions(&self, reader: UserId) -> Vec<EventRecord> {
        let mut found: Vec<EventRecord> = Vec::new();
        for room in self.rooms_of(reader) {
            let mentioned = |row: &EventRow| self.is_mentioned(room, reader, row.seq);
            found.extend(self.messages(room.meta.room_id, reader, mentioned));
        }
        found.sort_by_key(|record| std::cmp::Reverse((record.row.at, record.row.room_id, record.row.seq)));
        found
    }

    /// Whether the message lies in the member's inbox of mentions.
    pub(super) fn is_mentioned(&self, room: &StoredRoom, user: UserId, message_id: Seq) -> bool {
        let inbox = room.messages.get(&message_id).and_then(|message| message.inbox.as_ref());
        let joined_at = room.members.get(&user).map(|member| member.joined_at);
        match (inbox, joined_at) {
            (Some((users, everyone, at)), Some(joined_at)) => users.contains(&user) || (*everyone && joined_at <= *at),
            _ => false,
        }
    }

    pub(super) fn room_stats(&self, room_id: RoomId, now: WallMs) -> RoomStats {
        const HOUR_MS: i64 = 3_600_000;
        let messages = self.messages(room_id, UserId(0), |_| true);
        let since = |ms: i64| messages.iter().filter(move |record| record.row.at.0 > now.0 - ms);
        let authors: BTreeSet<_> = since(HOUR_MS).filter_map(|record| record.row.author_id).collect();
        RoomStats {
            message_count: messages.iter().filter(|record| !record.is_deleted()).count() as u64,
            active_members_1h: authors.len() as u64,
            last_message_at: messages.last().map(|record| record.row.at),
            messages_24h: since(24 * HOUR_MS).count() as u64,
        }
    }
}

fn message_state(message: &StoredMessage, reader: Option<UserId>) -> Option<MessageState> {
    let state = MessageState {
        edit_count: message.edit_count,
        edited_at: message.edited_at,
        deleted_at: message.deleted_at,
        pinned: message.pinned,
        thread_count: message.thread_count,
        reactions: message
            .reactions
            .iter()
            .map(|reaction| {
                let first = reaction.users.iter().copied().take(REACTORS_MAX);
                let own = reader.filter(|reader| reaction.users.contains(reader));
                let users: BTreeSet<UserId> = first.chain(own).collect();
                let users = users.into_iter().collect();
                Reaction { emoji: reaction.emoji.clone(), count: reaction.count, users }
            })
            .collect(),
        participants: Vec::new(),
    };
    (state != MessageState::default()).then_some(state)
}
