//! What becomes of rooms: settings, deletion, custom roles.

use std::collections::{BTreeMap, BTreeSet};

use veza_engine::id::RoomId;
use veza_engine::store::{RoomMeta, Write};

use super::plan::{Planned, column, int, owned, small, visibility_number};
use super::plan_message::push;
use crate::store::shared::fold;

/// Kind, epoch and creation stay.
const UPDATE: &str = "UPDATE rooms r SET name = u.name, name_folded = u.name_folded, description = u.description, topic = u.topic, visibility = u.visibility,
     owner_id = u.owner_id, max_members = u.max_members, slow_mode_s = u.slow_mode_s, retention_days = u.retention_days, archived = u.archived
     FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::smallint[], $7::bigint[], $8::integer[], $9::integer[], $10::integer[], $11::boolean[])
     AS u(room_id, name, name_folded, description, topic, visibility, owner_id, max_members, slow_mode_s, retention_days, archived)
     WHERE r.room_id = u.room_id";
/// What it was created under may be used again.
const DELETE: &str = "UPDATE rooms r SET deleted_at = coalesce(r.deleted_at, u.at), client_id = NULL, client_hash = NULL FROM unnest($1::bigint[], $2::bigint[]) AS u(room_id, at) WHERE r.room_id = u.room_id";
/// Whoever has the role becomes a plain member.
const DROP_ROLES: &str = "WITH gone AS (
         DELETE FROM room_roles r USING unnest($1::bigint[], $2::text[]) AS u(room_id, name) WHERE r.room_id = u.room_id AND r.name = u.name)
     UPDATE members m SET role = 'member' FROM unnest($1::bigint[], $2::text[]) AS u(room_id, name) WHERE m.room_id = u.room_id AND m.role = u.name AND m.role <> 'member'";
const PUT_ROLES: &str =
    "INSERT INTO room_roles (room_id, name, permissions) SELECT * FROM unnest($1::bigint[], $2::text[], $3::integer[])
     ON CONFLICT (room_id, name) DO UPDATE SET permissions = excluded.permissions";

/// The sum of a batch's writes to rooms.
#[derive(Default)]
pub(super) struct Rooms<'a> {
    updated: BTreeMap<RoomId, &'a RoomMeta>,
    deleted: BTreeMap<RoomId, i64>,
    /// Dropped at some time in the batch: those who had them lose them even where they come again.
    dropped_roles: BTreeSet<(RoomId, &'a str)>,
    /// As they are in the end, with their bits.
    roles: BTreeMap<(RoomId, &'a str), i32>,
}

impl<'a> Rooms<'a> {
    /// Takes one of the writes about rooms.
    pub(super) fn add(&mut self, write: &'a Write) {
        match write {
            Write::UpdateRoom { meta } => {
                self.updated.insert(meta.room_id, meta);
            }
            Write::DeleteRoom { room_id, at } => {
                self.deleted.entry(*room_id).or_insert(at.0);
            }
            Write::PutRole { room_id, role } => {
                self.roles.insert((*room_id, &role.name), small(role.permissions.bits()));
            }
            Write::DropRole { room_id, name } => {
                self.roles.remove(&(*room_id, &**name));
                self.dropped_roles.insert((*room_id, name));
            }
            other => unreachable!("not about a room: {other:?}"),
        }
    }

    /// The statements, in an order that has the same effect as the writes had in theirs.
    pub(super) fn plan(&self) -> Vec<Planned> {
        let mut plan = Vec::new();
        let updated: Vec<_> = self.updated.values().collect();
        push(&mut plan, UPDATE, &updated, |rows| {
            vec![
                column(rows, |meta| int(meta.room_id.0)),
                column(rows, |meta| meta.name.to_string()),
                column(rows, |meta| fold(&meta.name)),
                column(rows, |meta| owned(meta.description.as_deref())),
                column(rows, |meta| owned(meta.topic.as_deref())),
                column(rows, |meta| visibility_number(meta.visibility)),
                column(rows, |meta| meta.owner_id.map(|id| int(id.0))),
                column(rows, |meta| small(meta.max_members)),
                column(rows, |meta| small(meta.slow_mode_s)),
                column(rows, |meta| small(meta.retention_days)),
                column(rows, |meta| meta.archived),
            ]
        });
        let deleted: Vec<_> = self.deleted.iter().collect();
        push(&mut plan, DELETE, &deleted, |rows| {
            vec![column(rows, |(room, _)| int(room.0)), column(rows, |(_, at)| **at)]
        });
        let dropped: Vec<_> = self.dropped_roles.iter().collect();
        push(&mut plan, DROP_ROLES, &dropped, |rows| {
            vec![column(rows, |(room, _)| int(room.0)), column(rows, |(_, name)| (*name).to_owned())]
        });
        let roles: Vec<_> = self.roles.iter().collect();
        push(&mut plan, PUT_ROLES, &roles, |rows| {
            vec![
                column(rows, |((room, _), _)| int(room.0)),
                column(rows, |((_, name), _)| (*name).to_owned()),
                column(rows, |(_, bits)| **bits),
            ]
        });
        plan
    }
}
