//! Into SQLite, by prepared statements in large transactions.

use super::{Maker, Plan, Room, kind, user_name};
use rusqlite::{Connection, Error, params};

/// Events of one transaction, about.
const EVENTS: usize = 200_000;

pub(super) fn write(path: &str, plan: &Plan, maker: &Maker) -> Result<(), String> {
    fill(path, plan, maker).map_err(|error| format!("{path}: {error}"))
}

fn fill(path: &str, plan: &Plan, maker: &Maker) -> Result<(), Error> {
    let connection = Connection::open(path)?;
    connection.set_prepared_statement_cache_capacity(16);
    // The file is new: if the power fails, it is made again.
    connection.execute_batch("PRAGMA synchronous = OFF; PRAGMA cache_size = -262144; BEGIN")?;
    for user in 1..=plan.users {
        let name = user_name(user);
        connection
            .prepare_cached(
                "INSERT INTO users (user_id, iss, sub, username, skeleton, created_at) VALUES (?1, '', ?2, ?2, ?2, ?3)",
            )?
            .execute(params![int(user), name, super::BEGIN_MS])?;
    }
    let mut open = 0;
    for id in maker.rooms() {
        let room = maker.room(id);
        add(&connection, &room)?;
        open += room.events.len() + room.members.len();
        if open > EVENTS {
            connection.execute_batch("COMMIT; BEGIN")?;
            open = 0;
        }
    }
    let next = maker.rooms().end() + 1;
    connection.execute("UPDATE id_blocks SET next = ?1 WHERE name = 'room'", [int(next)])?;
    connection.execute("UPDATE id_blocks SET next = ?1 WHERE name = 'user'", [int(plan.users + 1)])?;
    connection.execute_batch("COMMIT; PRAGMA wal_checkpoint(TRUNCATE)")
}

fn add(connection: &Connection, room: &Room) -> Result<(), Error> {
    let (id, name) = (int(room.id), room.name());
    connection
        .prepare_cached(
            "INSERT INTO rooms (room_id, kind, epoch, name, name_folded, visibility, owner_id, max_members, slow_mode_s,
                 retention_days, archived, created_at, member_count, read_checkpoint, creator_id, deleted_messages)
             VALUES (?1, 0, ?2, ?3, ?4, 0, ?5, ?6, 0, 0, 0, ?7, ?8, ?9, ?5, ?10)",
        )?
        .execute(params![
            id,
            int(room.epoch),
            name,
            name.to_lowercase(),
            int(room.members[0].user),
            int(room.members.len().max(1000) as u64),
            room.created_at,
            int(room.members.len() as u64),
            int(room.head()),
            int(room.deleted)
        ])?;
    for (number, member) in room.members.iter().enumerate() {
        let role = if number == 0 { "owner" } else { "member" };
        connection
            .prepare_cached(
                "INSERT INTO members (room_id, user_id, role, joined_at, last_read_seq, last_read_no)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![id, int(member.user), role, room.created_at, int(member.read_seq), int(member.read_no)])?;
    }
    for event in &room.events {
        add_event(connection, id, event)?;
    }
    for ((message, emoji), (first, users)) in &room.reactions {
        connection
            .prepare_cached(
                "INSERT INTO reaction_counts (room_id, message_id, emoji, count, first_seq) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![id, int(*message), emoji, int(users.len() as u64), int(*first)])?;
        for user in users {
            connection
                .prepare_cached("INSERT INTO reactions (room_id, message_id, emoji, user_id) VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![id, int(*message), emoji, int(*user)])?;
        }
    }
    Ok(())
}

fn add_event(connection: &Connection, room: i64, event: &super::Event) -> Result<(), Error> {
    connection
        .prepare_cached(
            "INSERT INTO events (room_id, seq, kind, at, message_no, author_id, content, parent_id, data, writer_epoch,
                 writer_lane, writer_number, mentions, original, edit_count, edited_at, deleted_at, pinned_seq,
                 thread_count)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 1, 0, 1, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
        )?
        .execute(params![
            room,
            int(event.seq),
            event.kind,
            event.at,
            int(event.message_no),
            int(event.author),
            event.content,
            event.parent.map(int),
            event.data,
            event.mentions(),
            event.original,
            event.edited_at.map(|_| 1),
            event.edited_at,
            event.deleted_at,
            event.pinned_seq.map(int),
            (event.thread_count > 0).then_some(event.thread_count)
        ])?;
    if let Some(user) = event.mention.filter(|_| event.kind == kind::MESSAGE && !event.is_deleted()) {
        connection
            .prepare_cached("INSERT INTO mentions (user_id, room_id, seq, at) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![int(user), room, int(event.seq), event.at])?;
    }
    Ok(())
}

/// As SQLite has numbers.
fn int(number: u64) -> i64 {
    i64::try_from(number).expect("far below 2^63")
}
