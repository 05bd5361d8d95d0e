//! A batch as a few statements: what is alike goes in one statement over arrays, and of several writes to one key
//! only the sum remains, so that no statement meets a row twice.

use std::collections::BTreeMap;

use tokio_postgres::types::ToSql;
use veza_engine::id::{RoomId, UserId};
use veza_engine::store::{EventRow, MemberRow, RoomKind, RoomMeta, Write};
use veza_engine::wire::{ClientKey, Visibility};

use super::auth::{revoke_session, revoke_user};
use super::plan_message::Messages;
use super::plan_people::People;
use super::plan_room::Rooms;
use crate::store::shared::{fold, mix_epoch};

/// The fence with all that it knows to say; also for a lane that has no row yet.
pub(super) const FENCE: &str = "SELECT veza_fence($1, $2, $3)";

/// The fence for several batches at once: it moves the rows of their lanes, which the next server would wait for and take
/// away, so they are all that has to be looked at. Anything unexpected (a lane without a row, a batch that is committed already) raises VZ004 and
/// undoes everything; [`FENCE`] then says of each batch what it is.
macro_rules! gate {
    () => {
        "WITH passed AS (
             UPDATE writer_lanes w SET number = u.number FROM unnest($2::integer[], $3::bigint[]) AS u(lane, number)
             WHERE w.epoch = $1 AND w.lane = u.lane AND w.number < u.number RETURNING 1
         ), gate AS (SELECT CASE WHEN count(*) = cardinality($2) THEN true ELSE veza_shut() END AS open FROM passed) "
    };
}
/// The gate alone, for batches without events.
pub(super) const GATE: &str = concat!(gate!(), "SELECT open FROM gate");

/// Gate and events in one: the commonest batches are this statement and nothing else, one round trip and one commit.
/// The gate comes first, because the join has no row before both sides have given one.
pub(super) const EVENTS_GATED: &str = concat!(
    gate!(),
    "INSERT INTO events (room_id, seq, at, message_no, author_id, parent_id, client_hash, kind, client_id, content, data)
     SELECT u.* FROM gate, unnest($4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::smallint[], $12::text[], $13::text[], $14::text[]) AS u WHERE gate.open"
);

/// The same where an event has mentions or a reason: two more arrays, which plain messages need not pay for.
pub(super) const EVENTS_GATED_MORE: &str = concat!(
    gate!(),
    "INSERT INTO events (room_id, seq, at, message_no, author_id, parent_id, client_hash, kind, client_id, content, data, mentions, reason)
     SELECT u.* FROM gate, unnest($4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::smallint[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[]) AS u WHERE gate.open"
);

/// Events alone, within a transaction that has passed the fence, or that is rolled back.
pub(super) const EVENTS: &str = "INSERT INTO events (room_id, seq, at, message_no, author_id, parent_id, client_hash, kind, client_id, content, data, mentions, reason)
     SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::smallint[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[])";

const CREATE: &str = "INSERT INTO rooms (room_id, kind, epoch, name, name_folded, description, topic, visibility, owner_id, max_members, slow_mode_s,
     retention_days, archived, created_at, creator_id, client_id, client_hash, member_count)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)";
const PAIR: &str = "INSERT INTO dm_pairs (room_id, lo, hi) VALUES ($1, $2, $3)";
const DROP_MEMBERS: &str = "DELETE FROM members m USING unnest($1::bigint[], $2::bigint[]) AS u(room_id, user_id) WHERE m.room_id = u.room_id AND m.user_id = u.user_id";
const PUT_MEMBERS: &str = "INSERT INTO members AS m (room_id, user_id, role, joined_at, last_read_seq, last_read_no)
     SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[])
     ON CONFLICT (room_id, user_id) DO UPDATE SET role = excluded.role, joined_at = excluded.joined_at,
     last_read_seq = greatest(m.last_read_seq, excluded.last_read_seq), last_read_no = greatest(m.last_read_no, excluded.last_read_no)";
const READ_POSITIONS: &str = "UPDATE members m SET last_read_seq = u.seq, last_read_no = u.message_no
     FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[]) AS u(room_id, user_id, seq, message_no)
     WHERE m.room_id = u.room_id AND m.user_id = u.user_id AND m.last_read_seq < u.seq";
const MEMBER_COUNTS: &str = "UPDATE rooms r SET member_count = u.count FROM unnest($1::bigint[], $2::integer[]) AS u(room_id, count) WHERE r.room_id = u.room_id";
/// Folds the authors' own positions up to these seqs into the members' rows.
pub(super) const CHECKPOINTS: &str = "WITH wanted AS (
         SELECT r.room_id, r.read_checkpoint AS before, u.seq
         FROM unnest($1::bigint[], $2::bigint[]) AS u(room_id, seq) JOIN rooms r ON r.room_id = u.room_id
         WHERE r.read_checkpoint < u.seq
     ), own AS (
         SELECT e.room_id, e.author_id, max(e.seq) AS seq, max(e.message_no) AS message_no
         FROM wanted w JOIN events e ON e.room_id = w.room_id AND e.seq > w.before AND e.seq <= w.seq
         WHERE e.kind = 1 GROUP BY e.room_id, e.author_id
     ), folded AS (
         UPDATE members m SET last_read_seq = own.seq, last_read_no = own.message_no FROM own
         WHERE m.room_id = own.room_id AND m.user_id = own.author_id AND m.last_read_seq < own.seq
     )
     UPDATE rooms r SET read_checkpoint = w.seq FROM wanted w WHERE r.room_id = w.room_id";

/// An owned parameter.
pub(super) type Param = Box<dyn ToSql + Sync + Send>;

/// A statement with its parameters.
pub(super) struct Planned {
    pub(super) sql: &'static str,
    pub(super) params: Vec<Param>,
}

impl Planned {
    /// The parameters as the client takes them.
    pub(super) fn borrowed(&self) -> impl ExactSizeIterator<Item = &(dyn ToSql + Sync)> {
        self.params.iter().map(|p| &**p as &(dyn ToSql + Sync))
    }
}

macro_rules! planned {
    ($sql:expr, $($param:expr),* $(,)?) => {
        $crate::store::postgres::plan::Planned {
            sql: $sql,
            params: vec![$(Box::new($param) as $crate::store::postgres::plan::Param),*],
        }
    };
}
pub(super) use planned;

/// Ids and positions are below 2^53.
pub(super) fn int(value: u64) -> i64 {
    i64::try_from(value).expect("ids, positions and counts are below 2^53")
}

/// Settings and counts; beyond the column's range they are as good as endless.
pub(super) fn small(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

/// One column of these rows, as an array.
pub(super) fn column<I, T: ToSql + Sync + Send + 'static>(rows: &[I], of: impl Fn(&I) -> T) -> Param {
    Box::new(rows.iter().map(of).collect::<Vec<T>>())
}

/// An owned text.
pub(super) fn owned(text: Option<&str>) -> Option<String> {
    text.map(str::to_owned)
}

/// The columns of `events` after the writer, as arrays.
pub(super) fn event_arrays(events: &[&EventRow]) -> Vec<Param> {
    vec![
        column(events, |e| int(e.room_id.0)),
        column(events, |e| int(e.seq.0)),
        column(events, |e| e.at.0),
        column(events, |e| int(e.message_no)),
        column(events, |e| e.author_id.map(|id| int(id.0))),
        column(events, |e| e.parent_id.map(|seq| int(seq.0))),
        column(events, |e| e.client.as_ref().map(|c| c.hash.cast_signed())),
        column(events, |e| e.kind as i16),
        column(events, |e| owned(e.client.as_ref().map(|c| &*c.id))),
        column(events, |e| owned(e.content.as_deref())),
        column(events, |e| owned(e.data.as_deref())),
    ]
}

/// The columns that few events have.
pub(super) fn more_event_arrays(events: &[&EventRow]) -> Vec<Param> {
    vec![column(events, |e| json_ids(&e.mentions)), column(events, |e| owned(e.reason.as_deref()))]
}

/// A JSON array; none is `NULL`.
pub(super) fn json_ids(ids: &[UserId]) -> Option<String> {
    if ids.is_empty() {
        return None;
    }
    let ids: Vec<String> = ids.iter().map(|id| id.0.to_string()).collect();
    Some(format!("[{}]", ids.join(",")))
}

/// What becomes of one membership.
enum Membership<'a> {
    Read { seq: i64, message_no: i64 },
    Gone,
    Put { row: &'a MemberRow, role: &'a str, seq: i64, message_no: i64, afresh: bool },
}

/// The statements for everything but events, in an order that has the same effect as the order given: creations
/// first, then memberships, then what only advances or is absolute. `mix` is the incarnation.
pub(super) fn plan_writes(writes: &[&Write], mix: u64) -> Vec<Planned> {
    let mut plan = Vec::new();
    let mut memberships: BTreeMap<(RoomId, UserId), Membership<'_>> = BTreeMap::new();
    let mut counts: BTreeMap<RoomId, u32> = BTreeMap::new();
    let mut checkpoints: BTreeMap<RoomId, i64> = BTreeMap::new();
    let mut last = Vec::new();
    let (mut messages, mut rooms, mut people) = (Messages::default(), Rooms::default(), People::default());
    for write in writes {
        match write {
            Write::CreateRoom { meta, creator_id, client } => {
                plan.extend(create(meta, *creator_id, client.as_ref(), None, &[*creator_id], mix));
            }
            Write::CreateDm { meta, creator_id, user_ids, pair, client } => {
                plan.extend(create(meta, *creator_id, client.as_ref(), *pair, user_ids, mix));
            }
            Write::PutMember { room_id, member } => put(&mut memberships, *room_id, member),
            Write::DropMember { room_id, user_id } => {
                memberships.insert((*room_id, *user_id), Membership::Gone);
            }
            Write::MemberCount { room_id, count } => {
                counts.insert(*room_id, *count);
            }
            Write::ReadPosition { room_id, user_id, seq, message_no } => {
                read(&mut memberships, (*room_id, *user_id), int(seq.0), int(*message_no));
            }
            Write::ReadCheckpoint { room_id, seq } => {
                let held = checkpoints.entry(*room_id).or_default();
                *held = int(seq.0).max(*held);
            }
            Write::RevokeSession { session_id, user_id, expires_at } => {
                last.push(revoke_session(session_id, *user_id, *expires_at));
            }
            Write::RevokeUser { user_id, before } => last.push(revoke_user(*user_id, *before)),
            Write::DropRole { room_id, name } => {
                demote(&mut memberships, *room_id, name);
                rooms.add(write);
            }
            Write::UpdateRoom { .. } | Write::DeleteRoom { .. } | Write::PutRole { .. } => rooms.add(write),
            Write::Invite { .. } | Write::DropInvite { .. } | Write::Sanction { .. } => people.add(write),
            Write::Status { .. } | Write::LastSeen { .. } | Write::Block { .. } | Write::Unblock { .. } => {
                people.add(write);
            }
            Write::Edited { .. }
            | Write::Deleted { .. }
            | Write::Pinned { .. }
            | Write::ThreadCount { .. }
            | Write::Reaction { .. }
            | Write::Mentions { .. } => messages.add(write),
        }
    }
    // Roles go before memberships: who gets a role after another of that name was dropped keeps it.
    plan.extend(rooms.plan());
    plan.extend(plan_memberships(&memberships));
    plan.extend(messages.plan());
    plan.extend(people.plan());
    if !counts.is_empty() {
        let (rooms, counts): (Vec<i64>, Vec<i32>) =
            counts.iter().map(|(room, count)| (int(room.0), small(*count))).unzip();
        plan.push(planned!(MEMBER_COUNTS, rooms, counts));
    }
    if !checkpoints.is_empty() {
        let (rooms, seqs): (Vec<i64>, Vec<i64>) = checkpoints.iter().map(|(room, seq)| (int(room.0), *seq)).unzip();
        plan.push(planned!(CHECKPOINTS, rooms, seqs));
    }
    plan.extend(last);
    plan
}

fn put<'a>(memberships: &mut BTreeMap<(RoomId, UserId), Membership<'a>>, room_id: RoomId, row: &'a MemberRow) {
    let (mut seq, mut message_no, mut afresh) = (int(row.last_read_seq.0), int(row.last_read_no), false);
    let key = (room_id, row.user_id);
    match memberships.get(&key) {
        Some(Membership::Gone) => afresh = true,
        Some(Membership::Read { seq: s, message_no: n }) => (seq, message_no) = (seq.max(*s), message_no.max(*n)),
        Some(Membership::Put { seq: s, message_no: n, afresh: a, .. }) => {
            (seq, message_no, afresh) = (seq.max(*s), message_no.max(*n), *a);
        }
        None => {}
    }
    memberships.insert(key, Membership::Put { row, role: &row.role, seq, message_no, afresh });
}

/// Who got this role earlier in the batch is a plain member.
fn demote(memberships: &mut BTreeMap<(RoomId, UserId), Membership<'_>>, room_id: RoomId, name: &str) {
    let of_room = (room_id, UserId(0))..=(room_id, UserId(u64::MAX));
    for (_, membership) in memberships.range_mut(of_room) {
        if let Membership::Put { role, .. } = membership
            && *role == name
        {
            *role = "member";
        }
    }
}

fn read(
    memberships: &mut BTreeMap<(RoomId, UserId), Membership<'_>>,
    key: (RoomId, UserId),
    seq: i64,
    message_no: i64,
) {
    match memberships.get_mut(&key) {
        Some(Membership::Gone) => {}
        Some(Membership::Read { seq: s, message_no: n } | Membership::Put { seq: s, message_no: n, .. }) => {
            (*s, *n) = ((*s).max(seq), (*n).max(message_no));
        }
        None => {
            memberships.insert(key, Membership::Read { seq, message_no });
        }
    }
}

fn plan_memberships(memberships: &BTreeMap<(RoomId, UserId), Membership<'_>>) -> Vec<Planned> {
    type Positions = (Vec<i64>, Vec<i64>, Vec<i64>, Vec<i64>);
    let mut gone: (Vec<i64>, Vec<i64>) = Default::default();
    let mut reads: Positions = Default::default();
    let mut puts: Positions = Default::default();
    let (mut roles, mut joined): (Vec<String>, Vec<i64>) = Default::default();
    let push = |to: &mut Positions, room: i64, user: i64, seq: i64, message_no: i64| {
        to.0.push(room);
        to.1.push(user);
        to.2.push(seq);
        to.3.push(message_no);
    };
    for ((room, user), membership) in memberships {
        let (room, user) = (int(room.0), int(user.0));
        match membership {
            Membership::Read { seq, message_no } => push(&mut reads, room, user, *seq, *message_no),
            Membership::Gone => gone.extend([(room, user)]),
            Membership::Put { row, role, seq, message_no, afresh } => {
                if *afresh {
                    gone.extend([(room, user)]);
                }
                push(&mut puts, room, user, *seq, *message_no);
                roles.push((*role).to_owned());
                joined.push(row.joined_at.0);
            }
        }
    }
    let mut plan = Vec::new();
    if !gone.0.is_empty() {
        plan.push(planned!(DROP_MEMBERS, gone.0, gone.1));
    }
    if !puts.0.is_empty() {
        plan.push(planned!(PUT_MEMBERS, puts.0, puts.1, roles, joined, puts.2, puts.3));
    }
    if !reads.0.is_empty() {
        plan.push(planned!(READ_POSITIONS, reads.0, reads.1, reads.2, reads.3));
    }
    plan
}

fn create(
    meta: &RoomMeta,
    creator: UserId,
    client: Option<&ClientKey>,
    pair: Option<(UserId, UserId)>,
    users: &[UserId],
    mix: u64,
) -> Vec<Planned> {
    let room = planned!(
        CREATE,
        int(meta.room_id.0),
        meta.kind as i16,
        int(mix_epoch(meta.epoch, mix)),
        meta.name.to_string(),
        fold(&meta.name),
        meta.description.as_deref().map(str::to_owned),
        meta.topic.as_deref().map(str::to_owned),
        visibility_number(meta.visibility),
        meta.owner_id.map(|id| int(id.0)),
        small(meta.max_members),
        small(meta.slow_mode_s),
        small(meta.retention_days),
        meta.archived,
        meta.created_at.0,
        int(creator.0),
        client.map(|c| c.id.to_string()),
        client.map(|c| c.hash.cast_signed()),
        i32::try_from(users.len()).expect("a few users"),
    );
    let rooms = vec![int(meta.room_id.0); users.len()];
    let ids: Vec<i64> = users.iter().map(|id| int(id.0)).collect();
    let role = |user: &UserId| if meta.kind == RoomKind::Room && *user == creator { "owner" } else { "member" };
    let roles: Vec<&'static str> = users.iter().map(role).collect();
    let zeros = vec![0i64; users.len()];
    let joined = vec![meta.created_at.0; users.len()];
    let mut plan = vec![room, planned!(PUT_MEMBERS, rooms, ids, roles, joined, zeros.clone(), zeros)];
    plan.extend(pair.map(|(low, high)| planned!(PAIR, int(meta.room_id.0), int(low.0), int(high.0))));
    plan
}

/// As stored.
pub(super) fn visibility_number(visibility: Visibility) -> i16 {
    match visibility {
        Visibility::Public => 0,
        Visibility::Private => 1,
    }
}
