//! The database's side of the world: batches and queries that are slow, repeated, refused or lost, and planted faults.

use veza_engine::id::{RoomId, Seq, ShardId};
use veza_engine::store::{
    Batch, BatchOutcome, EventKind, EventRecord, Load, LoadError, Loaded, MessageState, Standing, Write,
};
use veza_engine::{Input, PeerMessage};

use super::{Event, MS, World};
use crate::plant::Plant;
use crate::store::{NOT_THERE, POISON};

impl World {
    pub(super) fn store_batch(&mut self, shard: usize, batch: Box<Batch>) {
        let incarnation = self.incarnation;
        let delay = match self.rng.below(100) {
            _ if self.calm => self.rng.below(MS),
            0..=1 => self.rng.between(1000, 8000) * MS,
            2..=9 => self.rng.between(20, 100) * MS,
            _ => self.rng.between(100, 5 * MS),
        };
        let early = self.plant == Some(Plant::AckBeforeCommit) && self.rng.percent(20);
        if early {
            let (writer, outcome) = (batch.writer, BatchOutcome::Committed);
            self.at(0, Event::Stored { incarnation, shard, writer, outcome });
        }
        if self.plant == Some(Plant::PushBeforeCommit) && self.rng.percent(20) {
            self.push_early(&batch);
        }
        self.at(delay, Event::Apply { incarnation, shard, batch, early });
    }

    /// Commits a batch if nothing is against it, and has the oracle look at it.
    pub(super) fn commit(&mut self, batch: &Batch, late: bool) -> BatchOutcome {
        let fresh = !self.store.is_applied(batch);
        let outcome = if late { self.store.apply_late(batch) } else { self.store.apply(batch) };
        self.trace(|| format!("{:?} late {late}: {outcome:?}: {:?} {:?}", batch.writer, batch.events, batch.writes));
        if fresh
            && outcome == BatchOutcome::Committed
            && let Err(problem) = self.model.commit((self.steps, self.now().wall), &self.store, batch, late)
        {
            self.checker.fail(problem);
        }
        outcome
    }

    pub(super) fn apply(&mut self, incarnation: u32, shard: usize, batch: &Batch, early: bool) {
        if incarnation != self.incarnation {
            // The process that sent it is gone. A batch of events may still commit; other writes are fenced off.
            if batch.writes.is_empty() && self.rng.percent(50) {
                self.commit(batch, true);
            }
            return;
        }
        if early {
            let _ = self.commit(batch, false);
            return;
        }
        let outcome = self.apply_planted(batch);
        let delay = if self.rng.percent(10) && !self.calm { self.rng.between(1, 30) * MS } else { self.rng.below(500) };
        let writer = batch.writer;
        if self.rng.percent(5) {
            let outcome = outcome.clone();
            let again = delay + self.rng.below(20 * MS);
            self.at(again, Event::Stored { incarnation, shard, writer, outcome });
        }
        self.at(delay, Event::Stored { incarnation, shard, writer, outcome });
    }

    fn apply_planted(&mut self, batch: &Batch) -> BatchOutcome {
        match self.plant {
            Some(Plant::HoleAfterRefusal) => {
                let mut holed = batch.clone();
                for row in &mut holed.events {
                    if row.content.as_deref().is_some_and(|content| content.contains(POISON)) {
                        row.content = None;
                        row.kind = EventKind::Void;
                        row.client = None;
                        row.at = NOT_THERE;
                    }
                }
                self.commit(&holed, false)
            }
            Some(Plant::DuplicateAfterLostResult) if self.rng.percent(10) && !batch.events.is_empty() => {
                let outcome = self.commit(batch, false);
                if outcome == BatchOutcome::Committed {
                    self.store.append_again(batch);
                }
                outcome
            }
            Some(Plant::ForeignTakenForOwn) => match self.commit(batch, false) {
                BatchOutcome::Conflict { stale, .. } if !stale.is_empty() => BatchOutcome::Committed,
                other => other,
            },
            Some(Plant::LostWrite) => {
                let mut lossy = batch.clone();
                lossy.writes.retain(|write| !matches!(write, Write::ThreadCount { .. } | Write::Edited { .. }));
                self.commit(&lossy, false)
            }
            Some(Plant::Miscounted) => {
                let mut wrong = batch.clone();
                for write in &mut wrong.writes {
                    if let Write::Reaction { count, .. } = write {
                        *count += 1;
                    }
                }
                self.commit(&wrong, false)
            }
            _ => self.commit(batch, false),
        }
    }

    fn push_early(&mut self, batch: &Batch) {
        let Some(row) = batch.events.first() else { return };
        let payload = format!(
            r#"{{"type":"message","data":{{"room_id":{},"seq":{},"content":{}}}}}"#,
            row.room_id.0,
            row.seq.0,
            serde_json::Value::from(row.content.as_deref().unwrap_or(""))
        );
        let frame = veza_engine::fanout::text_frame(payload.as_bytes());
        let (room_id, seq) = (row.room_id, row.seq);
        for shard in 0..self.shards.len() {
            let now = self.now();
            let message = PeerMessage::Event { room_id, seq, frame: frame.clone(), more: false };
            self.shards[shard].handle(now, Input::Peer { from: ShardId(0), message });
            while let Some(conn) = self.shards[shard].next_touched() {
                self.inspect(conn);
            }
        }
    }

    pub(super) fn query(&mut self, shard: usize, id: u64, load: &Load) {
        let mut result = self.store.load(&self.planted_query(load));
        if !self.calm && self.rng.percent(3) {
            result = Err(LoadError::Unavailable);
        }
        if let Ok(loaded) = &mut result {
            self.plant_answer(loaded);
        }
        let delay = if self.rng.percent(10) && !self.calm { self.rng.between(1, 40) * MS } else { self.rng.below(500) };
        let incarnation = self.incarnation;
        if self.rng.percent(5) {
            let result = result.clone();
            let again = delay + self.rng.below(20 * MS);
            self.at(again, Event::Loaded { incarnation, shard, id, result });
        }
        self.at(delay, Event::Loaded { incarnation, shard, id, result });
    }

    fn planted_query(&self, load: &Load) -> Load {
        let mut load = load.clone();
        if self.plant == Some(Plant::ForeignSearch)
            && let Load::Search { reader, .. } = &mut load
        {
            reader.0 = reader.0 % self.store.user_count() + 1;
        }
        load
    }

    fn plant_answer(&self, loaded: &mut Loaded) {
        match loaded {
            Loaded::Room(Some(state)) => {
                match self.plant {
                    Some(Plant::UncommittedHead) => {
                        state.head = Seq(state.head.0 + 1);
                        state.tail.clear();
                    }
                    Some(Plant::ForgottenMembers) => state.member_count = 0,
                    Some(Plant::ForgottenBlocks) => state.blocks.clear(),
                    _ => {}
                }
                state.standings.iter_mut().for_each(|standing| self.plant_standing(standing));
                state.tail.iter_mut().for_each(|record| self.plant_record(record));
            }
            Loaded::Members(standings) => standings.iter_mut().for_each(|standing| self.plant_standing(standing)),
            Loaded::Events(records) | Loaded::Pinned(records) => {
                records.iter_mut().for_each(|record| self.plant_record(record));
            }
            Loaded::History { messages, .. } | Loaded::Messages { messages, .. } => {
                messages.iter_mut().for_each(|record| self.plant_record(record));
            }
            Loaded::Thread { messages, .. } if self.plant == Some(Plant::ShortThread) => {
                messages.pop();
            }
            Loaded::Message(Some(record)) => self.plant_record(record),
            Loaded::Profile(profile) if self.plant == Some(Plant::ForgottenProfile) => profile.blocks.clear(),
            Loaded::Blocks(rows) if self.plant == Some(Plant::ShortLists) => {
                rows.pop();
            }
            Loaded::DmPage { conversations, .. } if self.plant == Some(Plant::ShortLists) => {
                conversations.pop();
            }
            Loaded::Unread(rows) if self.plant == Some(Plant::MentionsUncounted) => {
                rows.iter_mut().for_each(|row| row.mention_count = 0);
            }
            _ => {}
        }
    }

    fn plant_standing(&self, standing: &mut Standing) {
        match self.plant {
            Some(Plant::ForgottenSanctions) => standing.sanctions.clear(),
            Some(Plant::ManyOwners) => {
                if let Some(member) = standing.member.as_mut().filter(|member| &*member.role == "moderator") {
                    member.role = "owner".into();
                }
            }
            Some(Plant::EverybodyModerates) => {
                if let Some(member) = standing.member.as_mut().filter(|member| &*member.role == "member") {
                    member.role = "moderator".into();
                }
            }
            _ => {}
        }
    }

    fn plant_record(&self, record: &mut EventRecord) {
        let Some(state) = &mut record.state else { return };
        match self.plant {
            Some(Plant::DeletedIsShown) => state.deleted_at = None,
            Some(Plant::StateForgotten) if state.deleted_at.is_none() => **state = MessageState::default(),
            Some(Plant::ReactionsForgotten) => state.reactions.iter_mut().for_each(|reaction| reaction.users.clear()),
            _ => {}
        }
    }

    /// Retention removes the oldest events of a room, or a grace ends. The room's home hears of it a little later.
    pub(crate) fn clean_up(&mut self, room_id: RoomId) {
        if self.rng.percent(50) {
            return self.store.end_grace(room_id);
        }
        let Some(room) = self.store.live(room_id) else { return };
        let (head, floor) = (room.head().0, room.floor.0);
        if room.meta.retention_days == 0 || head <= floor + 3 {
            return;
        }
        let floor = Seq(floor + self.rng.between(1, (head - floor) / 2));
        self.store.retain(room_id, floor);
        self.model.retained(self.steps, room_id, floor.0);
        let (incarnation, delay) = (self.incarnation, self.rng.below(30 * MS));
        self.trace(|| format!("retention removes up to {} of room {}", floor.0, room_id.0));
        self.at(delay, Event::Retained { incarnation, room_id, floor });
    }
}
