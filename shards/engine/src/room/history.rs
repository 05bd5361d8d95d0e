//! Pages of messages, from memory or as the store has found them; and what memory knows to be deleted.

use super::Room;
use super::recent::Recent;
use super::verb::Decision;
use crate::core::{RoomQuery, body};
use crate::id::{Seq, UserId};
use crate::peer::ReplyBody;
use crate::store::{EventKind, EventRecord, Load};
use crate::time::WallMs;
use crate::wire::HistoryAnchor;
use crate::wire::encode::message_for;
use crate::wire::json::object;

impl Room {
    pub(super) fn decide_history(&self, reader: UserId, anchor: HistoryAnchor, limit: u32) -> Decision {
        let room_id = self.id();
        let end = self.head.next();
        let (load, what) = match anchor {
            HistoryAnchor::Newest | HistoryAnchor::Before(_) => {
                let before = match anchor {
                    HistoryAnchor::Before(id) => id.min(end),
                    _ => end,
                };
                if let Some(reply) = self.history_before(reader, before, limit as usize) {
                    return reply.into();
                }
                (Load::HistoryBefore { room_id, before: Some(before), limit, reader }, RoomQuery::History)
            }
            HistoryAnchor::After(id) => {
                if let Some(reply) = self.history_after(reader, id, limit as usize) {
                    return reply.into();
                }
                (Load::HistoryAfter { room_id, after: id, limit, reader }, RoomQuery::History)
            }
            HistoryAnchor::Around(center) => {
                // What lies beyond the head would take the places of what is shown.
                let center = center.min(self.head);
                let below = limit.div_ceil(2).max(1);
                let what = RoomQuery::HistoryAround { center, limit: limit - below.min(limit) };
                (Load::HistoryBefore { room_id, before: Some(center.next()), limit: below, reader }, what)
            }
        };
        Decision::Ask(load, what)
    }

    /// From memory, if it reaches back far enough and knows the reader's reactions.
    fn history_before(&self, reader: UserId, before: Seq, limit: usize) -> Option<ReplyBody> {
        let mut found: Vec<&Recent> = Vec::with_capacity(limit);
        let mut more = false;
        for (_, recent) in self.ring.before(before).filter(|(_, recent)| recent.is_message()) {
            if found.len() == limit {
                more = true;
                break;
            }
            found.push(recent);
        }
        if !more && self.ring.first() > self.floor.next() {
            return None; // older ones may be in the store
        }
        found.reverse();
        self.history_of_recent(reader, &found, more)
    }

    fn history_after(&self, reader: UserId, after: Seq, limit: usize) -> Option<ReplyBody> {
        let mut messages = self.ring.after(after.max(self.floor))?.filter(|(_, recent)| recent.is_message());
        let found: Vec<&Recent> = messages.by_ref().take(limit).map(|(_, recent)| recent).collect();
        let more = messages.next().is_some();
        self.history_of_recent(reader, &found, more)
    }

    fn history_of_recent(&self, reader: UserId, found: &[&Recent], more: bool) -> Option<ReplyBody> {
        let known = found.iter().all(|recent| recent.knows(reader));
        known.then(|| self.history_body(self.head, found.iter(), more, |out, recent| recent.write_for(out, reader)))
    }

    /// What the store has found, as the room was when it was asked.
    pub(super) fn history_of_records(
        &self,
        reader: UserId,
        at: Seq,
        records: &mut [EventRecord],
        more: bool,
    ) -> ReplyBody {
        self.scrub(records);
        let visible = records.iter().filter(|record| record.row.seq <= at && record.row.seq > self.floor);
        self.history_body(at, visible, more, |out, record| message_for(out, record, reader))
    }

    /// What was deleted since the store was asked.
    pub(super) fn scrub(&self, records: &mut [EventRecord]) {
        let deletions: Vec<(Seq, WallMs)> = self.ring.deletions().collect();
        for record in records {
            let message = match record.row.kind {
                EventKind::Message => record.row.seq,
                EventKind::Edit => record.row.parent_id.unwrap_or(record.row.seq),
                _ => continue,
            };
            if let Some(deleted_at) = self.deleted_at(&deletions, message) {
                let state = record.state.get_or_insert_default();
                (state.deleted_at, state.pinned) = (Some(deleted_at), None);
            }
        }
    }

    /// When a message was deleted, if memory knows it, or the deletion is among these recent ones.
    fn deleted_at(&self, deletions: &[(Seq, WallMs)], message: Seq) -> Option<WallMs> {
        let known = self.recent(message).and_then(|known| known.state.as_ref()?.deleted_at);
        known.or_else(|| deletions.iter().find(|(deleted, _)| *deleted == message).map(|(_, at)| *at))
    }

    /// Nobody is to be told of this message any more.
    pub(super) fn is_gone(&self, message: Seq) -> bool {
        self.deleted
            || self.recent(message).is_some_and(Recent::is_deleted)
            || self.ring.deletions().any(|(deleted, _)| deleted == message)
    }

    fn history_body<T>(
        &self,
        at: Seq,
        messages: impl Iterator<Item = T>,
        more: bool,
        write: impl Fn(&mut Vec<u8>, T),
    ) -> ReplyBody {
        let data = object(|o| {
            o.uint("room_id", self.id().0)
                .uint("seq", at.0)
                .array("messages", messages, write)
                .flag("has_more", more)
                .end();
        });
        body("room_history", data)
    }
}
