//! A refused batch: which of it the database does not want.

use std::ops::Range;

use tokio_postgres::Error;
use veza_engine::store::{Batch, BatchOutcome, EventRow, Write};

use super::connect::{Fault, Session, fault};
use super::plan::{EVENTS, Planned, event_arrays, more_event_arrays, plan_writes};
use super::{conflict, write};

/// Tries parts of the batch in their order, in one transaction that is rolled back in the end: a part that fails is
/// undone and its halves are tried, a part that passes stays, because later ones may rest on it (members of a room
/// made in the same batch).
pub(super) async fn find_guilty(
    session: &Session,
    batch: &Batch,
    mix: u64,
    cause: &str,
) -> Result<Option<BatchOutcome>, Error> {
    session.client.batch_execute("BEGIN").await?;
    let found = search(session, batch, mix).await;
    session.client.batch_execute("ROLLBACK").await?;
    let Some(guilty) = found? else { return conflict::classify(session, batch).await };
    let split = batch.events.len();
    let (events, writes): (Vec<usize>, Vec<usize>) = guilty.into_iter().partition(|index| *index < split);
    let writes = writes.into_iter().map(|index| index - split).collect::<Vec<_>>();
    // Nothing is guilty by itself: what was wrong has passed.
    let refused = !events.is_empty() || !writes.is_empty();
    Ok(refused.then(|| BatchOutcome::Refused { events, writes, cause: cause.into() }))
}

/// Indices into the events followed by the writes; `None` if a taken key came up, which has to be settled first.
async fn search(session: &Session, batch: &Batch, mix: u64) -> Result<Option<Vec<usize>>, Error> {
    let mut guilty = Vec::new();
    let all = 0..batch.events.len() + batch.writes.len();
    let mut parts = Vec::from([all]);
    while let Some(part) = parts.pop() {
        session.client.batch_execute("SAVEPOINT part").await?;
        let Err(error) = try_part(session, batch, part.clone(), mix).await else { continue };
        session.client.batch_execute("ROLLBACK TO SAVEPOINT part").await?;
        match fault(&error) {
            Fault::Data | Fault::Unique if part.len() > 1 => {
                let middle = part.start + part.len() / 2;
                parts.extend([middle..part.end, part.start..middle]);
            }
            Fault::Data => guilty.push(part.start),
            Fault::Unique => return Ok(None),
            _ => return Err(error),
        }
    }
    Ok(Some(guilty))
}

async fn try_part(session: &Session, batch: &Batch, part: Range<usize>, mix: u64) -> Result<(), Error> {
    let split = batch.events.len();
    let events: Vec<&EventRow> = batch.events[part.start.min(split)..part.end.min(split)].iter().collect();
    let writes: Vec<&Write> = batch.writes[part.start.max(split) - split..part.end.max(split) - split].iter().collect();
    let mut plan = Vec::new();
    if !events.is_empty() {
        let mut params = event_arrays(&events);
        params.extend(more_event_arrays(&events));
        plan.push(Planned { sql: EVENTS, params });
    }
    plan.extend(plan_writes(&writes, mix));
    write::send(session, &plan, &[], &[]).await.map(|_| ())
}
