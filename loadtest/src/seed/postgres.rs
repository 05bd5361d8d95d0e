//! Into PostgreSQL, by COPY.

use super::{Maker, Plan, Room, kind, user_name};
use futures_util::SinkExt as _;
use std::fmt::Write as _;
use std::pin::pin;
use tokio_postgres::{Client, NoTls};

/// Bytes of a table at which all are written.
const CHUNK: usize = 16 << 20;

/// Rows on their way into one table.
struct Table {
    copy: &'static str,
    rows: String,
}

impl Table {
    fn new(copy: &'static str) -> Table {
        Table { copy, rows: String::new() }
    }

    async fn flush(&mut self, client: &Client) -> Result<(), tokio_postgres::Error> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let mut sink = pin!(client.copy_in(self.copy).await?);
        sink.send(std::io::Cursor::new(std::mem::take(&mut self.rows).into_bytes())).await?;
        sink.close().await
    }
}

/// A value or NULL; what is written here has neither tabs nor line ends, and JSON without backslashes.
macro_rules! or_null {
    ($value:expr) => {
        $value.map_or_else(|| "\\N".to_owned(), |value| value.to_string())
    };
}

pub(super) fn write(url: &str, plan: &Plan, maker: &Maker) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    let result: Result<(), tokio_postgres::Error> = runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
        tokio::spawn(connection);
        fill(&client, plan, maker).await
    });
    result.map_err(|error| format!("{error}: {:?}", error.as_db_error()))
}

async fn fill(client: &Client, plan: &Plan, maker: &Maker) -> Result<(), tokio_postgres::Error> {
    let mut users = Table::new("COPY users (user_id, iss, sub, username, skeleton, created_at) FROM STDIN");
    for user in 1..=plan.users {
        let name = user_name(user);
        let _ = writeln!(users.rows, "{user}\t\t{name}\t{name}\t{name}\t{}", super::BEGIN_MS);
    }
    users.flush(client).await?;
    let mut tables = [
        Table::new(
            "COPY rooms (room_id, epoch, created_at, read_checkpoint, creator_id, owner_id, member_count, max_members, \
             slow_mode_s, retention_days, kind, visibility, archived, name, name_folded) FROM STDIN",
        ),
        Table::new("COPY members (room_id, user_id, joined_at, last_read_seq, last_read_no, role) FROM STDIN"),
        Table::new(
            "COPY events (room_id, seq, at, message_no, author_id, parent_id, kind, content, data, mentions, original, edit_count, edited_at, deleted_at, held_since, pinned_seq, \
             thread_count) FROM STDIN",
        ),
        Table::new("COPY reactions (room_id, message_id, user_id, emoji) FROM STDIN"),
        Table::new("COPY reaction_counts (room_id, message_id, first_seq, count, emoji) FROM STDIN"),
        Table::new("COPY mentions (room_id, seq, user_id, at) FROM STDIN"),
    ];
    for id in maker.rooms() {
        add(&mut tables, &maker.room(id));
        // In their order: members refer to rooms.
        if tables.iter().any(|table| table.rows.len() > CHUNK) {
            flush(client, &mut tables).await?;
        }
    }
    flush(client, &mut tables).await?;
    let next = maker.rooms().end() + 1;
    client
        .batch_execute(&format!(
            "UPDATE id_blocks SET next = {next} WHERE name = 'room';
             SELECT setval('users_user_id_seq', {});
             ANALYZE",
            plan.users
        ))
        .await
}

async fn flush(client: &Client, tables: &mut [Table; 6]) -> Result<(), tokio_postgres::Error> {
    for table in tables {
        table.flush(client).await?;
    }
    Ok(())
}

fn add([rooms, members, events, reactions, counts, mentions]: &mut [Table; 6], room: &Room) {
    let (id, created, head, name) = (room.id, room.created_at, room.head(), room.name());
    let (owner, count, most) = (room.members[0].user, room.members.len(), room.members.len().max(1000));
    let _ = writeln!(
        rooms.rows,
        "{id}\t{}\t{created}\t{head}\t{owner}\t{owner}\t{count}\t{most}\t0\t0\t0\t0\tf\t{name}\t{}",
        room.epoch,
        name.to_lowercase()
    );
    for (number, member) in room.members.iter().enumerate() {
        let (role, user) = (if number == 0 { "owner" } else { "member" }, member.user);
        let _ = writeln!(members.rows, "{id}\t{user}\t{created}\t{}\t{}\t{role}", member.read_seq, member.read_no);
    }
    for event in &room.events {
        let deleted = or_null!(event.deleted_at);
        let _ = writeln!(
            events.rows,
            "{id}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{deleted}\t{deleted}\t{}\t{}",
            event.seq,
            event.at,
            event.message_no,
            event.author,
            or_null!(event.parent),
            event.kind,
            or_null!(event.content.as_ref()),
            or_null!(event.data.as_ref()),
            or_null!(event.mentions()),
            or_null!(event.original.as_ref()),
            or_null!(event.edited_at.map(|_| 1)),
            or_null!(event.edited_at),
            or_null!(event.pinned_seq),
            or_null!((event.thread_count > 0).then_some(event.thread_count)),
        );
        if let Some(user) = event.mention.filter(|_| event.kind == kind::MESSAGE && !event.is_deleted()) {
            let _ = writeln!(mentions.rows, "{id}\t{}\t{user}\t{}", event.seq, event.at);
        }
    }
    for ((message, emoji), (first, users)) in &room.reactions {
        let _ = writeln!(counts.rows, "{id}\t{message}\t{first}\t{}\t{emoji}", users.len());
        for user in users {
            let _ = writeln!(reactions.rows, "{id}\t{message}\t{user}\t{emoji}");
        }
    }
}
