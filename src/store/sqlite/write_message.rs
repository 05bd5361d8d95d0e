//! What becomes of messages: edits, deletions, pins, reactions, mentions. Each by the message's key, and as often as one
//! likes.

use rusqlite::{Connection, Error, params};
use veza_engine::id::{RoomId, Seq, UserId};
use veza_engine::store::Write;
use veza_engine::time::WallMs;

use super::rows::{self, Prepare as _};
use super::write::run;

/// Applies one that is about a message; false: it is about something else.
pub(super) fn apply(connection: &Connection, write: &Write) -> Result<bool, Error> {
    match write {
        Write::Edited { room_id, message_id, content, mentions, count, at } => run(
            connection,
            "UPDATE events SET original = coalesce(original, content), content = ?3, mentions = ?4, edit_count = ?5,
                 edited_at = ?6
             WHERE room_id = ?1 AND seq = ?2 AND kind = 1",
            params![room_id.0 as i64, message_id.0 as i64, &**content, rows::mention_list(mentions), count, at.0],
        )?,
        Write::Deleted { room_id, message_id, at } => delete(connection, *room_id, *message_id, *at)?,
        Write::Pinned { room_id, message_id, pinned } => run(
            connection,
            "UPDATE events SET pinned_seq = ?3 WHERE room_id = ?1 AND seq = ?2 AND kind = 1",
            params![room_id.0 as i64, message_id.0 as i64, pinned.map(|seq| seq.0 as i64)],
        )?,
        Write::ThreadCount { room_id, message_id, count } => run(
            connection,
            "UPDATE events SET thread_count = ?3 WHERE room_id = ?1 AND seq = ?2 AND kind = 1",
            params![room_id.0 as i64, message_id.0 as i64, count],
        )?,
        Write::Reaction { room_id, message_id, user_id, emoji, present, count, seq } => {
            let message = (*room_id, *message_id, &**emoji);
            put_reaction(connection, message, *user_id, *present)?;
            count_reactions(connection, message, *count, *seq)?;
        }
        Write::Mentions { room_id, message_id, at, users, everyone } => {
            forget_mentions(connection, *room_id, *message_id)?;
            for user in users.iter().chain(everyone.then_some(&UserId(0))) {
                run(
                    connection,
                    "INSERT INTO mentions (user_id, room_id, seq, at) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
                    params![user.0 as i64, room_id.0 as i64, message_id.0 as i64, at.0],
                )?;
            }
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn delete(connection: &Connection, room_id: RoomId, message_id: Seq, at: WallMs) -> Result<(), Error> {
    let values = params![room_id.0 as i64, message_id.0 as i64, at.0];
    let changed = connection
        .prepared(
            "UPDATE events SET deleted_at = ?3, pinned_seq = NULL
             WHERE room_id = ?1 AND seq = ?2 AND kind = 1 AND deleted_at IS NULL",
        )?
        .execute(values)?;
    if changed > 0 {
        run(
            connection,
            "UPDATE rooms SET deleted_messages = deleted_messages + 1 WHERE room_id = ?1",
            [room_id.0 as i64],
        )?;
    }
    run(
        connection,
        "UPDATE events SET deleted_at = ?3
         WHERE room_id = ?1 AND parent_id = ?2 AND parent_id IS NOT NULL AND kind = 3 AND deleted_at IS NULL",
        values,
    )?;
    forget_mentions(connection, room_id, message_id)
}

fn forget_mentions(connection: &Connection, room_id: RoomId, message_id: Seq) -> Result<(), Error> {
    run(
        connection,
        "DELETE FROM mentions WHERE room_id = ?1 AND seq = ?2",
        params![room_id.0 as i64, message_id.0 as i64],
    )
}

fn put_reaction(
    connection: &Connection,
    (room_id, message_id, emoji): (RoomId, Seq, &str),
    user_id: UserId,
    present: bool,
) -> Result<(), Error> {
    let sql = match present {
        true => {
            "INSERT INTO reactions (room_id, message_id, emoji, user_id) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING"
        }
        false => "DELETE FROM reactions WHERE room_id = ?1 AND message_id = ?2 AND emoji = ?3 AND user_id = ?4",
    };
    run(connection, sql, params![room_id.0 as i64, message_id.0 as i64, emoji, user_id.0 as i64])
}

/// A count begins with its first reaction and ends with the last.
fn count_reactions(
    connection: &Connection,
    (room_id, message_id, emoji): (RoomId, Seq, &str),
    count: u32,
    seq: Seq,
) -> Result<(), Error> {
    let (room, message) = (room_id.0 as i64, message_id.0 as i64);
    if count == 0 {
        return run(
            connection,
            "DELETE FROM reaction_counts WHERE room_id = ?1 AND message_id = ?2 AND emoji = ?3",
            params![room, message, emoji],
        );
    }
    run(
        connection,
        "INSERT INTO reaction_counts (room_id, message_id, emoji, count, first_seq) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (room_id, message_id, emoji) DO UPDATE SET count = excluded.count",
        params![room, message, emoji, count, seq.0 as i64],
    )
}
