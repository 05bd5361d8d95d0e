//! A taken key: what was there before.

use std::collections::{BTreeSet, HashSet};

use tokio_postgres::{Error, Row};
use veza_engine::id::{RoomId, Seq, UserId};
use veza_engine::store::{Batch, BatchOutcome, Duplicate, Write};
use veza_engine::time::WallMs;
use veza_engine::wire::ClientKey;

use super::connect::Session;
use super::plan::int;

const FENCE_ROW: &str = "SELECT number FROM writer_lanes WHERE lane = $1 AND epoch = $2";
/// Rooms with rows where ours should go. The fence did not let our batch by before, so they are foreign.
const TAKEN: &str = "SELECT DISTINCT room_id FROM (
       SELECT e.room_id FROM unnest($1::bigint[], $2::bigint[]) AS u(room_id, seq) JOIN events e ON e.room_id = u.room_id AND e.seq = u.seq
       UNION ALL SELECT r.room_id FROM unnest($3::bigint[]) AS u(room_id) JOIN rooms r ON r.room_id = u.room_id) AS t";
const EVENTS_BEFORE: &str = "SELECT u.index, e.room_id, e.seq, e.at, e.client_hash
     FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[]) AS u(index, room_id, author_id, client_id)
     JOIN events e ON e.room_id = u.room_id AND e.author_id = u.author_id AND e.client_id = u.client_id ORDER BY 1";
const ROOMS_BEFORE: &str = "SELECT u.index, r.room_id, 0::bigint, r.created_at, r.client_hash
     FROM unnest($1::bigint[], $2::bigint[], $3::text[]) AS u(index, creator_id, client_id)
     JOIN rooms r ON r.creator_id = u.creator_id AND r.client_id = u.client_id ORDER BY 1";
const PAIRS_BEFORE: &str = "SELECT u.index, r.room_id, 0::bigint, r.created_at, NULL::bigint
     FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS u(index, low, high)
     JOIN dm_pairs p ON p.lo = u.low AND p.hi = u.high JOIN rooms r ON r.room_id = p.room_id ORDER BY 1";

/// Says what of the batch was done before, and by whom; `None` if nothing explains the refusal (the rows may be gone by
/// now): then the batch is tried again.
pub(super) async fn classify(session: &Session, batch: &Batch) -> Result<Option<BatchOutcome>, Error> {
    let lane = i32::try_from(batch.writer.lane).expect("few lanes");
    let number = session.query(FENCE_ROW, &[&lane, &batch.writer.epoch]).await?;
    if number.first().is_some_and(|row| row.get::<_, i64>(0) >= batch.writer.number) {
        return Ok(Some(BatchOutcome::Committed));
    }
    let stale = taken(session, batch).await?;
    let mut duplicates = events_before(session, batch).await?;
    duplicates.extend(rooms_before(session, batch).await?);
    if stale.is_empty() && duplicates.is_empty() {
        let events = repeated_within(batch);
        let cause = "two events of one batch have the same client id".into();
        return Ok((!events.is_empty()).then_some(BatchOutcome::Refused { events, writes: Vec::new(), cause }));
    }
    Ok(Some(BatchOutcome::Conflict { stale, duplicates }))
}

async fn taken(session: &Session, batch: &Batch) -> Result<Vec<RoomId>, Error> {
    let (rooms, seqs): (Vec<i64>, Vec<i64>) = batch.events.iter().map(|e| (int(e.room_id.0), int(e.seq.0))).unzip();
    let creations: Vec<i64> = creations(batch).map(|(_, c)| int(c.room_id.0)).collect();
    let rows = session.query(TAKEN, &[&rooms, &seqs, &creations]).await?;
    let rooms: BTreeSet<RoomId> = rows.iter().map(|row| RoomId(row.get::<_, i64>(0).cast_unsigned())).collect();
    Ok(rooms.into_iter().collect())
}

async fn events_before(session: &Session, batch: &Batch) -> Result<Vec<Duplicate>, Error> {
    let mut columns: (Vec<i64>, Vec<i64>, Vec<i64>, Vec<&str>) = Default::default();
    for (index, event) in batch.events.iter().enumerate() {
        if let (Some(author), Some(client)) = (event.author_id, &event.client) {
            columns.0.push(int(index as u64));
            columns.1.push(int(event.room_id.0));
            columns.2.push(int(author.0));
            columns.3.push(&client.id);
        }
    }
    let rows = session.query(EVENTS_BEFORE, &[&columns.0, &columns.1, &columns.2, &columns.3]).await?;
    Ok(rows.iter().map(|row| duplicate(row, true)).collect())
}

async fn rooms_before(session: &Session, batch: &Batch) -> Result<Vec<Duplicate>, Error> {
    let mut by_client: (Vec<i64>, Vec<i64>, Vec<&str>) = Default::default();
    let mut by_pair: (Vec<i64>, Vec<i64>, Vec<i64>) = Default::default();
    for (index, creation) in creations(batch) {
        if let Some(client) = creation.client {
            by_client.0.push(int(index as u64));
            by_client.1.push(int(creation.creator_id.0));
            by_client.2.push(&client.id);
        }
        if let Some((low, high)) = creation.pair {
            by_pair.0.push(int(index as u64));
            by_pair.1.push(int(low.0));
            by_pair.2.push(int(high.0));
        }
    }
    let mut found = Vec::new();
    if !by_client.0.is_empty() {
        let rows = session.query(ROOMS_BEFORE, &[&by_client.0, &by_client.1, &by_client.2]).await?;
        found.extend(rows.iter().map(|row| duplicate(row, false)));
    }
    if !by_pair.0.is_empty() {
        let known: HashSet<usize> = found.iter().map(|d| d.index).collect();
        let rows = session.query(PAIRS_BEFORE, &[&by_pair.0, &by_pair.1, &by_pair.2]).await?;
        // Its own client id says more than its pair.
        found.extend(rows.iter().map(|row| duplicate(row, false)).filter(|d| !known.contains(&d.index)));
    }
    Ok(found)
}

fn duplicate(row: &Row, is_event: bool) -> Duplicate {
    Duplicate {
        index: usize::try_from(row.get::<_, i64>(0)).expect("an index of ours"),
        is_event,
        room_id: RoomId(row.get::<_, i64>(1).cast_unsigned()),
        seq: Seq(row.get::<_, i64>(2).cast_unsigned()),
        at: WallMs(row.get(3)),
        hash: row.get::<_, Option<i64>>(4).map(i64::cast_unsigned),
    }
}

struct Creation<'a> {
    room_id: RoomId,
    creator_id: UserId,
    client: Option<&'a ClientKey>,
    pair: Option<(UserId, UserId)>,
}

fn creations(batch: &Batch) -> impl Iterator<Item = (usize, Creation<'_>)> {
    batch.writes.iter().enumerate().filter_map(|(index, write)| {
        let creation = match write {
            Write::CreateRoom { meta, creator_id, client } => {
                Creation { room_id: meta.room_id, creator_id: *creator_id, client: client.as_ref(), pair: None }
            }
            Write::CreateDm { meta, creator_id, pair, client, .. } => {
                Creation { room_id: meta.room_id, creator_id: *creator_id, client: client.as_ref(), pair: *pair }
            }
            _ => return None,
        };
        Some((index, creation))
    })
}

/// The engine never sends these.
fn repeated_within(batch: &Batch) -> Vec<usize> {
    let mut seen = HashSet::new();
    let keyed = batch
        .events
        .iter()
        .enumerate()
        .filter_map(|(index, e)| Some((index, e.room_id, e.author_id?, &e.client.as_ref()?.id)));
    keyed.filter(|(_, room, author, id)| !seen.insert((*room, *author, *id))).map(|(index, ..)| index).collect()
}
