//! The writes that are no events. Each is absolute or only advances, so twice is as once.

use rusqlite::{Connection, Error, params};
use veza_engine::id::{RoomId, Seq, UserId};
use veza_engine::store::{MemberRow, RoomMeta, Write};
use veza_engine::wire::ClientKey;

use super::rows::Prepare as _;
use super::{write_message, write_people};
use crate::store::shared::{fold, mix_epoch};

/// Applies one.
pub(super) fn apply(connection: &Connection, write: &Write, incarnation: u64) -> Result<(), Error> {
    match write {
        Write::CreateRoom { meta, creator_id, client } => {
            create(connection, meta, *creator_id, client.as_ref(), 1, incarnation)?;
            put_member(connection, meta.room_id, &first_member(meta, *creator_id, "owner"))
        }
        Write::CreateDm { meta, creator_id, user_ids, pair, client } => {
            create(connection, meta, *creator_id, client.as_ref(), user_ids.len(), incarnation)?;
            if let Some((lo, hi)) = pair {
                connection.prepared("INSERT INTO dm_pairs (lo, hi, room_id) VALUES (?1, ?2, ?3)")?.execute(params![
                    lo.0 as i64,
                    hi.0 as i64,
                    meta.room_id.0 as i64
                ])?;
            }
            user_ids
                .iter()
                .try_for_each(|user| put_member(connection, meta.room_id, &first_member(meta, *user, "member")))
        }
        Write::PutMember { room_id, member } => put_member(connection, *room_id, member),
        Write::DropMember { room_id, user_id } => run(
            connection,
            "DELETE FROM members WHERE room_id = ?1 AND user_id = ?2",
            params![room_id.0 as i64, user_id.0 as i64],
        ),
        Write::MemberCount { room_id, count } => {
            run(connection, "UPDATE rooms SET member_count = ?2 WHERE room_id = ?1", params![room_id.0 as i64, count])
        }
        Write::ReadPosition { room_id, user_id, seq, message_no } => run(
            connection,
            "UPDATE members SET last_read_seq = ?3, last_read_no = ?4
             WHERE room_id = ?1 AND user_id = ?2 AND last_read_seq < ?3",
            params![room_id.0 as i64, user_id.0 as i64, seq.0 as i64, *message_no as i64],
        ),
        Write::ReadCheckpoint { room_id, seq } => read_checkpoint(connection, *room_id, *seq),
        Write::RevokeSession { session_id, user_id, expires_at } => {
            revoke_session(connection, session_id, *user_id, *expires_at)
        }
        Write::RevokeUser { user_id, before } => revoke_user(connection, *user_id, *before),
        other => {
            let known = write_message::apply(connection, other)? || write_people::apply(connection, other)?;
            assert!(known, "{other:?} is in none of the groups");
            Ok(())
        }
    }
}

/// Runs one statement.
pub(super) fn run(connection: &Connection, sql: &str, values: impl rusqlite::Params) -> Result<(), Error> {
    connection.prepared(sql)?.execute(values).map(|_| ())
}

fn create(
    connection: &Connection,
    meta: &RoomMeta,
    creator_id: UserId,
    client: Option<&ClientKey>,
    members: usize,
    incarnation: u64,
) -> Result<(), Error> {
    run(
        connection,
        "INSERT INTO rooms (room_id, kind, epoch, name, name_folded, description, topic, visibility, owner_id,
             max_members, slow_mode_s, retention_days, archived, created_at, member_count, creator_id, client_id,
             client_hash)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)",
        params![
            meta.room_id.0 as i64,
            meta.kind as i16,
            mix_epoch(meta.epoch, incarnation) as i64,
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
            meta.created_at.0,
            members as i64,
            creator_id.0 as i64,
            client.map(|client| &*client.id),
            client.map(|client| client.hash as i64),
        ],
    )
}

fn first_member(meta: &RoomMeta, user_id: UserId, role: &str) -> MemberRow {
    MemberRow { user_id, role: role.into(), joined_at: meta.created_at, last_read_seq: Seq(0), last_read_no: 0 }
}

fn put_member(connection: &Connection, room_id: RoomId, member: &MemberRow) -> Result<(), Error> {
    run(
        connection,
        "INSERT INTO members (room_id, user_id, role, joined_at, last_read_seq, last_read_no)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (room_id, user_id) DO UPDATE SET role = excluded.role, joined_at = excluded.joined_at,
             last_read_seq = max(last_read_seq, excluded.last_read_seq),
             last_read_no = max(last_read_no, excluded.last_read_no)",
        params![
            room_id.0 as i64,
            member.user_id.0 as i64,
            &*member.role,
            member.joined_at.0,
            member.last_read_seq.0 as i64,
            member.last_read_no as i64,
        ],
    )
}

/// `Write::ReadCheckpoint`.
pub(super) fn read_checkpoint(connection: &Connection, room_id: RoomId, seq: Seq) -> Result<(), Error> {
    let values = params![room_id.0 as i64, seq.0 as i64];
    run(
        connection,
        "UPDATE members SET last_read_seq = own.seq, last_read_no = own.message_no
         FROM (SELECT author_id, max(seq) AS seq, max(message_no) AS message_no FROM events
               WHERE room_id = ?1 AND seq <= ?2 AND kind = 1
                   AND seq > (SELECT read_checkpoint FROM rooms WHERE room_id = ?1)
               GROUP BY author_id) AS own
         WHERE members.room_id = ?1 AND members.user_id = own.author_id AND members.last_read_seq < own.seq",
        values,
    )?;
    run(connection, "UPDATE rooms SET read_checkpoint = ?2 WHERE room_id = ?1 AND read_checkpoint < ?2", values)
}

/// The session is over: its tokens until they end, its refresh tokens for good.
pub(super) fn revoke_session(
    connection: &Connection,
    session_id: &str,
    user_id: UserId,
    expires_at: i64,
) -> Result<(), Error> {
    run(
        connection,
        "INSERT INTO revocations (session_id, user_id, expires_at) VALUES (?1, ?2, ?3)
         ON CONFLICT (session_id) DO UPDATE SET expires_at = max(expires_at, excluded.expires_at)",
        params![session_id, user_id.0 as i64, expires_at],
    )?;
    // Of this user only: the `sid` of a foreign token may be anything.
    let values = params![session_id, user_id.0 as i64];
    run(
        connection,
        "DELETE FROM refresh_tokens WHERE session_id IN
             (SELECT session_id FROM sessions WHERE session_id = ?1 AND user_id = ?2)",
        values,
    )?;
    run(connection, "DELETE FROM sessions WHERE session_id = ?1 AND user_id = ?2", values)
}

fn revoke_user(connection: &Connection, user_id: UserId, before: i64) -> Result<(), Error> {
    let user = user_id.0 as i64;
    run(
        connection,
        "INSERT INTO user_revocations (user_id, before) VALUES (?1, ?2)
         ON CONFLICT (user_id) DO UPDATE SET before = max(before, excluded.before)",
        params![user, before],
    )?;
    run(
        connection,
        "DELETE FROM refresh_tokens WHERE session_id IN (SELECT session_id FROM sessions WHERE user_id = ?1)",
        [user],
    )?;
    run(connection, "DELETE FROM sessions WHERE user_id = ?1", [user])
}
