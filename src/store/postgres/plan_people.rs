//! What becomes of people: invitations, sanctions, presence, blocks.

use std::collections::BTreeMap;

use veza_engine::id::{RoomId, UserId};
use veza_engine::store::{SanctionRow, Write};
use veza_engine::wire::Status;

use super::plan::{Planned, column, int, owned};
use super::plan_message::push;

const INVITE: &str = "INSERT INTO invitations (room_id, user_id, inviter_id, at) SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[])
     ON CONFLICT (room_id, user_id) DO UPDATE SET inviter_id = excluded.inviter_id, at = excluded.at";
const DROP_INVITES: &str = "DELETE FROM invitations i USING unnest($1::bigint[], $2::bigint[]) AS u(room_id, user_id) WHERE i.room_id = u.room_id AND i.user_id = u.user_id";
const SANCTIONS: &str = "INSERT INTO sanctions (sanction_id, room_id, user_id, actor_id, at, expires_at, lifted_at, lifted_by, kind, reason)
     SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::smallint[], $10::text[])
     ON CONFLICT (sanction_id) DO UPDATE SET room_id = excluded.room_id, user_id = excluded.user_id, actor_id = excluded.actor_id, at = excluded.at,
     expires_at = excluded.expires_at, lifted_at = excluded.lifted_at, lifted_by = excluded.lifted_by, kind = excluded.kind, reason = excluded.reason";
const STATUS: &str = "INSERT INTO user_presence (user_id, status, message) SELECT * FROM unnest($1::bigint[], $2::smallint[], $3::text[])
     ON CONFLICT (user_id) DO UPDATE SET status = excluded.status, message = excluded.message";
const LAST_SEEN: &str =
    "INSERT INTO user_presence AS p (user_id, last_seen_at) SELECT * FROM unnest($1::bigint[], $2::bigint[])
     ON CONFLICT (user_id) DO UPDATE SET last_seen_at = greatest(p.last_seen_at, excluded.last_seen_at)";
const BLOCK: &str =
    "INSERT INTO blocks (user_id, blocked_id, at) SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[])
     ON CONFLICT (user_id, blocked_id) DO NOTHING";
const UNBLOCK: &str = "DELETE FROM blocks b USING unnest($1::bigint[], $2::bigint[]) AS u(user_id, blocked_id) WHERE b.user_id = u.user_id AND b.blocked_id = u.blocked_id";

/// The sum of a batch's writes to people.
#[derive(Default)]
pub(super) struct People<'a> {
    /// Inviter and time; `None`: gone.
    invitations: BTreeMap<(RoomId, UserId), Option<(i64, i64)>>,
    sanctions: BTreeMap<u64, &'a SanctionRow>,
    statuses: BTreeMap<UserId, (Status, Option<&'a str>)>,
    last_seen: BTreeMap<UserId, i64>,
    /// Since when; `None`: not any more.
    blocks: BTreeMap<(UserId, UserId), Option<i64>>,
}

impl<'a> People<'a> {
    /// Takes one of the writes about people.
    pub(super) fn add(&mut self, write: &'a Write) {
        match write {
            Write::Invite { room_id, user_id, inviter_id, at } => {
                self.invitations.insert((*room_id, *user_id), Some((int(inviter_id.0), at.0)));
            }
            Write::DropInvite { room_id, user_id } => {
                self.invitations.insert((*room_id, *user_id), None);
            }
            Write::Sanction { row } => {
                self.sanctions.insert(row.sanction_id, row);
            }
            Write::Status { user_id, status, message } => {
                self.statuses.insert(*user_id, (*status, message.as_deref()));
            }
            Write::LastSeen { user_id, at } => {
                let held = self.last_seen.entry(*user_id).or_insert(at.0);
                *held = (*held).max(at.0);
            }
            Write::Block { user_id, blocked_id, at } => {
                // Blocked already: since then.
                let held = self.blocks.entry((*user_id, *blocked_id)).or_default();
                *held = held.or(Some(at.0));
            }
            Write::Unblock { user_id, blocked_id } => {
                self.blocks.insert((*user_id, *blocked_id), None);
            }
            other => unreachable!("not about people: {other:?}"),
        }
    }

    /// The statements, in an order that has the same effect as the writes had in theirs.
    pub(super) fn plan(&self) -> Vec<Planned> {
        let mut plan = Vec::new();
        self.plan_invitations(&mut plan);
        self.plan_sanctions(&mut plan);
        let statuses: Vec<_> = self.statuses.iter().collect();
        push(&mut plan, STATUS, &statuses, |rows| {
            vec![
                column(rows, |(user, _)| int(user.0)),
                column(rows, |(_, (status, _))| i16::from(*status as u8)),
                column(rows, |(_, (_, message))| owned(*message)),
            ]
        });
        let last_seen: Vec<_> = self.last_seen.iter().collect();
        push(&mut plan, LAST_SEEN, &last_seen, |rows| {
            vec![column(rows, |(user, _)| int(user.0)), column(rows, |(_, at)| **at)]
        });
        let (there, gone): (Vec<_>, Vec<_>) = self.blocks.iter().partition(|(_, since)| since.is_some());
        push(&mut plan, UNBLOCK, &gone, |rows| {
            vec![column(rows, |((user, _), _)| int(user.0)), column(rows, |((_, blocked), _)| int(blocked.0))]
        });
        push(&mut plan, BLOCK, &there, |rows| {
            vec![
                column(rows, |((user, _), _)| int(user.0)),
                column(rows, |((_, blocked), _)| int(blocked.0)),
                column(rows, |(_, since)| **since),
            ]
        });
        plan
    }

    fn plan_invitations(&self, plan: &mut Vec<Planned>) {
        let (open, gone): (Vec<_>, Vec<_>) = self.invitations.iter().partition(|(_, invitation)| invitation.is_some());
        push(plan, DROP_INVITES, &gone, |rows| {
            vec![column(rows, |((room, _), _)| int(room.0)), column(rows, |((_, user), _)| int(user.0))]
        });
        push(plan, INVITE, &open, |rows| {
            vec![
                column(rows, |((room, _), _)| int(room.0)),
                column(rows, |((_, user), _)| int(user.0)),
                column(rows, |(_, invitation)| invitation.map(|(inviter, _)| inviter)),
                column(rows, |(_, invitation)| invitation.map(|(_, at)| at)),
            ]
        });
    }

    fn plan_sanctions(&self, plan: &mut Vec<Planned>) {
        let sanctions: Vec<_> = self.sanctions.values().collect();
        push(plan, SANCTIONS, &sanctions, |rows| {
            vec![
                column(rows, |row| int(row.sanction_id)),
                column(rows, |row| int(row.room_id.0)),
                column(rows, |row| int(row.user_id.0)),
                column(rows, |row| int(row.actor_id.0)),
                column(rows, |row| row.at.0),
                column(rows, |row| row.expires_at.map(|at| at.0)),
                column(rows, |row| row.lifted.map(|(at, _)| at.0)),
                column(rows, |row| row.lifted.map(|(_, by)| int(by.0))),
                column(rows, |row| row.kind as i16),
                column(rows, |row| row.reason.to_string()),
            ]
        });
    }
}
