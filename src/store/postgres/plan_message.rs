//! What becomes of messages: edits, deletions, pins, threads, reactions, mentions.

use std::collections::BTreeMap;

use veza_engine::id::{RoomId, Seq, UserId};
use veza_engine::store::Write;

use super::plan::{Param, Planned, column, int, json_ids, small};

/// The first edit keeps the original aside.
const EDITED: &str = "UPDATE events e SET original = coalesce(e.original, e.content), content = u.content, mentions = u.mentions, edit_count = u.count, edited_at = u.at
     FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::integer[], $6::bigint[]) AS u(room_id, seq, content, mentions, count, at)
     WHERE e.room_id = u.room_id AND e.seq = u.seq";
/// The first deletion counts, also where the content is erased already.
const DELETED: &str = "UPDATE events e SET deleted_at = coalesce(e.deleted_at, u.at), held_since = CASE WHEN e.deleted_at IS NULL THEN u.at ELSE e.held_since END, pinned_seq = NULL
     FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS u(room_id, seq, at) WHERE e.room_id = u.room_id AND e.seq = u.seq";
const EDITS_DELETED: &str = "UPDATE events e SET deleted_at = coalesce(e.deleted_at, u.at), held_since = CASE WHEN e.deleted_at IS NULL THEN u.at ELSE e.held_since END
     FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS u(room_id, seq, at) WHERE e.room_id = u.room_id AND e.parent_id = u.seq AND e.kind = 3";
const PINNED: &str = "UPDATE events e SET pinned_seq = u.pinned
     FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS u(room_id, seq, pinned) WHERE e.room_id = u.room_id AND e.seq = u.seq";
const THREAD_COUNTS: &str = "UPDATE events e SET thread_count = u.count
     FROM unnest($1::bigint[], $2::bigint[], $3::integer[]) AS u(room_id, seq, count) WHERE e.room_id = u.room_id AND e.seq = u.seq";
const REACT: &str = "INSERT INTO reactions (room_id, message_id, emoji, user_id)
     SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[]) ON CONFLICT DO NOTHING";
const UNREACT: &str = "DELETE FROM reactions r USING unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[]) AS u(room_id, message_id, emoji, user_id)
     WHERE r.room_id = u.room_id AND r.message_id = u.message_id AND r.emoji = u.emoji AND r.user_id = u.user_id";
/// `first_seq` stays while the emoji does.
const COUNTS: &str = "INSERT INTO reaction_counts (room_id, message_id, emoji, count, first_seq)
     SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::integer[], $5::bigint[])
     ON CONFLICT (room_id, message_id, emoji) DO UPDATE SET count = excluded.count";
const NO_COUNTS: &str = "DELETE FROM reaction_counts r USING unnest($1::bigint[], $2::bigint[], $3::text[]) AS u(room_id, message_id, emoji)
     WHERE r.room_id = u.room_id AND r.message_id = u.message_id AND r.emoji = u.emoji";
const NO_MENTIONS: &str = "DELETE FROM mentions m USING unnest($1::bigint[], $2::bigint[]) AS u(room_id, seq) WHERE m.room_id = u.room_id AND m.seq = u.seq";
const MENTIONS: &str = "INSERT INTO mentions (room_id, seq, user_id, at)
     SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[]) ON CONFLICT DO NOTHING";

type Key = (RoomId, Seq);

/// The sum of a batch's writes to messages.
#[derive(Default)]
pub(super) struct Messages<'a> {
    edited: BTreeMap<Key, Edit<'a>>,
    deleted: BTreeMap<Key, i64>,
    pinned: BTreeMap<Key, Option<i64>>,
    threads: BTreeMap<Key, i32>,
    reactions: BTreeMap<(Key, &'a str, UserId), bool>,
    counts: BTreeMap<(Key, &'a str), Count>,
    mentions: BTreeMap<Key, Mentioned<'a>>,
}

struct Edit<'a> {
    content: &'a str,
    mentions: &'a [UserId],
    count: i32,
    at: i64,
}

struct Count {
    count: i32,
    first_seq: i64,
    /// It was 0 meanwhile: what is stored is not to be kept.
    afresh: bool,
}

/// The whole list, which may be empty.
struct Mentioned<'a> {
    at: i64,
    users: &'a [UserId],
    everyone: bool,
}

impl<'a> Messages<'a> {
    /// Takes one of the writes about messages.
    pub(super) fn add(&mut self, write: &'a Write) {
        match write {
            Write::Edited { room_id, message_id, content, mentions, count, at } => {
                let edit = Edit { content, mentions, count: small(*count), at: at.0 };
                self.edited.insert((*room_id, *message_id), edit);
            }
            Write::Deleted { room_id, message_id, at } => {
                let key = (*room_id, *message_id);
                self.deleted.entry(key).or_insert(at.0);
                self.mentions.insert(key, Mentioned { at: at.0, users: &[], everyone: false });
                self.pinned.remove(&key);
            }
            Write::Pinned { room_id, message_id, pinned } => {
                self.pinned.insert((*room_id, *message_id), pinned.map(|seq| int(seq.0)));
            }
            Write::ThreadCount { room_id, message_id, count } => {
                self.threads.insert((*room_id, *message_id), small(*count));
            }
            Write::Reaction { room_id, message_id, user_id, emoji, present, count, seq } => {
                let key = (*room_id, *message_id);
                self.reactions.insert((key, emoji, *user_id), *present);
                self.count((key, emoji), small(*count), int(seq.0));
            }
            Write::Mentions { room_id, message_id, at, users, everyone } => {
                let mentioned = Mentioned { at: at.0, users, everyone: *everyone };
                self.mentions.insert((*room_id, *message_id), mentioned);
            }
            other => unreachable!("not about a message: {other:?}"),
        }
    }

    fn count(&mut self, key: (Key, &'a str), count: i32, seq: i64) {
        let held = self.counts.entry(key).or_insert(Count { count, first_seq: seq, afresh: false });
        if held.count == 0 && count > 0 {
            held.first_seq = seq;
        }
        held.count = count;
        held.afresh |= count == 0;
    }

    /// The statements, in an order that has the same effect as the writes had in theirs.
    pub(super) fn plan(&self) -> Vec<Planned> {
        let mut plan = self.plan_rows();
        plan.extend(self.plan_reactions());
        plan.extend(self.plan_mentions());
        plan
    }

    fn plan_rows(&self) -> Vec<Planned> {
        let mut plan = Vec::new();
        let edited: Vec<_> = self.edited.iter().collect();
        push(&mut plan, EDITED, &edited, |rows| {
            vec![
                column(rows, |(key, _)| room(key)),
                column(rows, |(key, _)| seq(key)),
                column(rows, |(_, edit)| edit.content.to_owned()),
                column(rows, |(_, edit)| json_ids(edit.mentions)),
                column(rows, |(_, edit)| edit.count),
                column(rows, |(_, edit)| edit.at),
            ]
        });
        let deleted: Vec<_> = self.deleted.iter().collect();
        for sql in [DELETED, EDITS_DELETED] {
            push(&mut plan, sql, &deleted, |rows| of_message(rows, |at| *at));
        }
        let pinned: Vec<_> = self.pinned.iter().collect();
        push(&mut plan, PINNED, &pinned, |rows| of_message(rows, |seq| *seq));
        let threads: Vec<_> = self.threads.iter().collect();
        push(&mut plan, THREAD_COUNTS, &threads, |rows| of_message(rows, |count| *count));
        plan
    }

    fn plan_reactions(&self) -> Vec<Planned> {
        let mut plan = Vec::new();
        let (there, gone): (Vec<_>, Vec<_>) = self.reactions.iter().partition(|(_, present)| **present);
        for (sql, rows) in [(UNREACT, gone), (REACT, there)] {
            push(&mut plan, sql, &rows, |rows| {
                vec![
                    column(rows, |((key, ..), _)| room(key)),
                    column(rows, |((key, ..), _)| seq(key)),
                    column(rows, |((_, emoji, _), _)| (*emoji).to_owned()),
                    column(rows, |((.., user), _)| int(user.0)),
                ]
            });
        }
        let of_emoji = |rows: &[(&(Key, &str), &Count)]| {
            vec![
                column(rows, |((key, _), _)| room(key)),
                column(rows, |((key, _), _)| seq(key)),
                column(rows, |((_, emoji), _)| (*emoji).to_owned()),
            ]
        };
        let zero: Vec<_> = self.counts.iter().filter(|(_, count)| count.afresh).collect();
        push(&mut plan, NO_COUNTS, &zero, of_emoji);
        let counts: Vec<_> = self.counts.iter().filter(|(_, count)| count.count > 0).collect();
        push(&mut plan, COUNTS, &counts, |rows| {
            let mut params = of_emoji(rows);
            params.push(column(rows, |(_, count)| count.count));
            params.push(column(rows, |(_, count)| count.first_seq));
            params
        });
        plan
    }

    fn plan_mentions(&self) -> Vec<Planned> {
        let mut plan = Vec::new();
        let all: Vec<_> = self.mentions.iter().collect();
        push(&mut plan, NO_MENTIONS, &all, |rows| {
            vec![column(rows, |(key, _)| room(key)), column(rows, |(key, _)| seq(key))]
        });
        let mut rows: Vec<(&Key, i64, i64)> = Vec::new();
        for (key, mentioned) in all {
            let everyone = mentioned.everyone.then_some(0);
            let users = mentioned.users.iter().map(|user| int(user.0)).chain(everyone);
            rows.extend(users.map(|user| (key, user, mentioned.at)));
        }
        push(&mut plan, MENTIONS, &rows, |rows| {
            vec![
                column(rows, |(key, ..)| room(key)),
                column(rows, |(key, ..)| seq(key)),
                column(rows, |(_, user, _)| *user),
                column(rows, |(.., at)| *at),
            ]
        });
        plan
    }
}

fn room(key: &Key) -> i64 {
    int(key.0.0)
}

fn seq(key: &Key) -> i64 {
    int(key.1.0)
}

/// Room, message and one value more.
fn of_message<V, T>(rows: &[(&Key, &V)], of: impl Fn(&V) -> T) -> Vec<Param>
where
    T: tokio_postgres::types::ToSql + Sync + Send + 'static,
{
    vec![column(rows, |(key, _)| room(key)), column(rows, |(key, _)| seq(key)), column(rows, |(_, value)| of(value))]
}

/// The statement over these rows, if there are any.
pub(super) fn push<R>(plan: &mut Vec<Planned>, sql: &'static str, rows: &[R], params: impl Fn(&[R]) -> Vec<Param>) {
    if !rows.is_empty() {
        plan.push(Planned { sql, params: params(rows) });
    }
}
