//! Rooms and who may do what in them, and what users let others see.

use rusqlite::{Connection, Error, params};
use veza_engine::id::RoomId;
use veza_engine::store::{RoomMeta, SanctionRow, Write};
use veza_engine::time::WallMs;

use super::write::run;
use crate::store::shared::fold;

/// Applies one of these; false: it is another.
pub(super) fn apply(connection: &Connection, write: &Write) -> Result<bool, Error> {
    match write {
        Write::UpdateRoom { meta } => update_room(connection, meta)?,
        Write::DeleteRoom { room_id, at } => delete_room(connection, *room_id, *at)?,
        Write::Invite { room_id, user_id, inviter_id, at } => run(
            connection,
            "INSERT OR REPLACE INTO invites (room_id, user_id, inviter_id, at) VALUES (?1, ?2, ?3, ?4)",
            params![room_id.0 as i64, user_id.0 as i64, inviter_id.0 as i64, at.0],
        )?,
        Write::DropInvite { room_id, user_id } => run(
            connection,
            "DELETE FROM invites WHERE room_id = ?1 AND user_id = ?2",
            params![room_id.0 as i64, user_id.0 as i64],
        )?,
        Write::PutRole { room_id, role } => run(
            connection,
            "INSERT OR REPLACE INTO room_roles (room_id, name, permissions) VALUES (?1, ?2, ?3)",
            params![room_id.0 as i64, &*role.name, role.permissions.bits()],
        )?,
        Write::DropRole { room_id, name } => drop_role(connection, *room_id, name)?,
        Write::Sanction { row } => put_sanction(connection, row)?,
        Write::Status { user_id, status, message } => run(
            connection,
            "UPDATE users SET status = ?2, status_message = ?3 WHERE user_id = ?1",
            params![user_id.0 as i64, *status as u8, message.as_deref()],
        )?,
        Write::LastSeen { user_id, at } => run(
            connection,
            "UPDATE users SET last_seen_at = ?2 WHERE user_id = ?1 AND coalesce(last_seen_at, ?2 - 1) < ?2",
            params![user_id.0 as i64, at.0],
        )?,
        Write::Block { user_id, blocked_id, at } => run(
            connection,
            "INSERT INTO blocks (user_id, blocked_id, at) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
            params![user_id.0 as i64, blocked_id.0 as i64, at.0],
        )?,
        Write::Unblock { user_id, blocked_id } => run(
            connection,
            "DELETE FROM blocks WHERE user_id = ?1 AND blocked_id = ?2",
            params![user_id.0 as i64, blocked_id.0 as i64],
        )?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn update_room(connection: &Connection, meta: &RoomMeta) -> Result<(), Error> {
    run(
        connection,
        "UPDATE rooms SET name = ?2, name_folded = ?3, description = ?4, topic = ?5, visibility = ?6, owner_id = ?7,
             max_members = ?8, slow_mode_s = ?9, retention_days = ?10, archived = ?11
         WHERE room_id = ?1",
        params![
            meta.room_id.0 as i64,
            &*meta.name,
            fold(&meta.name),
            meta.description.as_deref(),
            meta.topic.as_deref(),
            meta.visibility as u8,
            meta.owner_id.map(|user| user.0 as i64),
            meta.max_members,
            meta.slow_mode_s,
            meta.retention_days,
            meta.archived,
        ],
    )
}

/// Invisible from here on; its client id is free again.
fn delete_room(connection: &Connection, room_id: RoomId, at: WallMs) -> Result<(), Error> {
    run(
        connection,
        "UPDATE rooms SET deleted_at = coalesce(deleted_at, ?2), client_id = NULL, client_hash = NULL
         WHERE room_id = ?1",
        params![room_id.0 as i64, at.0],
    )
}

fn drop_role(connection: &Connection, room_id: RoomId, name: &str) -> Result<(), Error> {
    let values = params![room_id.0 as i64, name];
    run(connection, "DELETE FROM room_roles WHERE room_id = ?1 AND name = ?2", values)?;
    run(connection, "UPDATE members SET role = 'member' WHERE room_id = ?1 AND role = ?2", values)
}

fn put_sanction(connection: &Connection, row: &SanctionRow) -> Result<(), Error> {
    run(
        connection,
        "INSERT OR REPLACE INTO sanctions (sanction_id, room_id, user_id, kind, reason, actor_id, at, expires_at,
             lifted_at, lifted_by)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        params![
            row.sanction_id as i64,
            row.room_id.0 as i64,
            row.user_id.0 as i64,
            row.kind as i16,
            &*row.reason,
            row.actor_id.0 as i64,
            row.at.0,
            row.expires_at.map(|at| at.0),
            row.lifted.map(|(at, _)| at.0),
            row.lifted.map(|(_, user)| user.0 as i64),
        ],
    )
}
