//! The oracle: what the log of a room means, replayed naively and without a look at the engine. After every commit it is
//! compared with what is stored, and whatever is shown is compared with it.

mod event;
mod reconcile;
mod rights;
mod shown;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use serde_json::{Value, json};
use veza_engine::id::RoomId;
use veza_engine::input::Role;
use veza_engine::limits::Limits;
use veza_engine::store::{Batch, EventKind, RoomKind, RoomMeta, Write};
use veza_engine::time::WallMs;
use veza_engine::wire::Visibility;

use crate::store::{Store, StoredRoom};

pub use rights::Standing;
pub use shown::Reader;
pub use view::{View, rfc3339};

/// A message with all that it ever was: from this position on it looked so.
#[derive(Debug)]
pub struct MessageModel {
    /// Its author.
    pub author: u64,
    /// The root of its thread.
    pub parent: Option<u64>,
    /// When it was sent.
    pub at: WallMs,
    versions: Vec<(u64, Rc<View>)>,
    /// Positions of its edits.
    edits: Vec<u64>,
}

/// A sanction as its event told it.
#[derive(Clone, Debug)]
struct Punishment {
    user: u64,
    kind: String,
    expires_at: Option<String>,
    lifted: bool,
}

/// A room as its log tells.
#[derive(Debug)]
pub struct RoomModel {
    is_dm: bool,
    is_of_two: bool,
    meta: Value,
    metas: Vec<(u64, Value)>,
    owner: Option<u64>,
    /// Members with their roles.
    pub members: BTreeMap<u64, String>,
    /// When each membership was committed.
    member_since: BTreeMap<u64, WallMs>,
    roles: BTreeMap<String, Vec<&'static str>>,
    invited: BTreeSet<u64>,
    punishments: Vec<Punishment>,
    /// Messages by id.
    pub messages: BTreeMap<u64, MessageModel>,
    deleted: bool,
    /// Heads as they became visible: (step, seq).
    visible: Vec<(u64, u64)>,
    /// What each user might do, from which step on.
    standings: BTreeMap<u64, Vec<(u64, Standing)>>,
    /// Retention has removed so much, from which step on.
    floors: Vec<(u64, u64)>,
    /// The room's home knows of it from this step on.
    told: Vec<(u64, u64)>,
    /// Last message of each author by this process: its time.
    last_sent: BTreeMap<u64, WallMs>,
}

/// All rooms.
#[derive(Debug, Default)]
pub struct Model {
    /// By id.
    pub rooms: BTreeMap<RoomId, RoomModel>,
    /// Server roles by number in the username.
    pub server_roles: Vec<Role>,
    /// The bounds under which the shards run.
    pub limits: Limits,
    /// (blocker, blocked), and when the blocker was told so.
    pub blocks: BTreeMap<(u64, u64), WallMs>,
}

/// What a batch brings along for one room.
struct Context<'a> {
    store: &'a Store,
    writes: Vec<&'a Write>,
    limits: &'a Limits,
    server_roles: &'a [Role],
    blocks: &'a BTreeMap<(u64, u64), WallMs>,
    late: bool,
}

impl Model {
    /// A batch is committed.
    pub fn commit(&mut self, at: (u64, WallMs), store: &Store, batch: &Batch, late: bool) -> Result<(), String> {
        let (step, now) = at;
        let mut rooms: BTreeSet<RoomId> = batch.events.iter().map(|row| row.room_id).collect();
        rooms.extend(batch.writes.iter().filter_map(room_of));
        for room_id in rooms {
            let stored = store.rooms.get(&room_id).ok_or("a write into a room that is not there")?;
            let room = self.rooms.entry(room_id).or_insert_with(|| RoomModel::new(stored));
            let writes = batch.writes.iter().filter(|write| room_of(write) == Some(room_id)).collect();
            let (limits, server_roles) = (&self.limits, &self.server_roles[..]);
            let blocks = &self.blocks;
            let context = Context { store, writes, limits, server_roles, blocks, late };
            let rows = batch.events.iter().filter(|row| row.room_id == room_id);
            for row in rows {
                room.replay(&context, row).map_err(|problem| {
                    format!("room {}, {:?} {}: {problem}; {row:?}", room_id.0, row.kind, row.seq.0)
                })?;
            }
            room.reconcile(&context, stored).map_err(|problem| format!("room {}: {problem}", room_id.0))?;
            for row in batch.events.iter().filter(|row| row.room_id == room_id) {
                let about = if row.kind == EventKind::Message { Some(row.seq) } else { row.parent_id };
                for message in about.into_iter().chain(row.parent_id) {
                    room.compare(stored, message).map_err(|problem| {
                        format!("message {} of room {} is not what its log says: {problem}", message.0, room_id.0)
                    })?;
                }
            }
            let members: Vec<u64> = room.members.keys().copied().collect();
            room.member_since.retain(|user, _| members.contains(user));
            for user in members {
                room.member_since.entry(user).or_insert(now);
            }
            room.note_standings(step, store, &self.server_roles);
        }
        Ok(())
    }

    /// Somebody has come, perhaps for the first time.
    pub fn met(&mut self, step: u64, store: &Store) {
        for room in self.rooms.values_mut() {
            room.note_standings(step, store, &self.server_roles);
        }
    }

    /// The process is a new one.
    pub fn restarted(&mut self) {
        for room in self.rooms.values_mut() {
            room.last_sent.clear();
        }
    }

    /// Something at this position has left the engine.
    pub fn saw(&mut self, step: u64, room: RoomId, seq: u64) {
        let Some(room) = self.rooms.get_mut(&room) else { return };
        if room.visible.last().is_none_or(|(_, last)| *last < seq) {
            room.visible.push((step, seq));
        }
    }

    /// The head that was visible before this step: what is asked in it is answered no older.
    pub fn visible_before(&self, room: RoomId, step: u64) -> u64 {
        let Some(room) = self.rooms.get(&room) else { return 0 };
        let before = room.visible.partition_point(|(seen, _)| *seen < step);
        before.checked_sub(1).map_or(0, |last| room.visible[last].1)
    }

    /// Retention has removed events.
    pub fn retained(&mut self, step: u64, room: RoomId, floor: u64) {
        if let Some(room) = self.rooms.get_mut(&room) {
            room.floors.push((step, floor));
        }
    }

    /// The room's home has been told so.
    pub fn told_floor(&mut self, step: u64, room: RoomId, floor: u64) {
        if let Some(room) = self.rooms.get_mut(&room) {
            room.told.push((step, floor));
        }
    }
}

impl RoomModel {
    fn new(stored: &StoredRoom) -> RoomModel {
        let members = stored.members.values().map(|member| (member.user_id.0, member.role.to_string()));
        RoomModel {
            is_dm: stored.meta.kind == RoomKind::Dm,
            is_of_two: stored.meta.kind == RoomKind::Dm && stored.members.len() == 2,
            meta: meta_json(&stored.meta),
            metas: vec![(0, meta_json(&stored.meta))],
            owner: stored.meta.owner_id.map(|user| user.0),
            members: members.collect(),
            member_since: BTreeMap::new(),
            roles: BTreeMap::new(),
            invited: BTreeSet::new(),
            punishments: Vec::new(),
            messages: BTreeMap::new(),
            deleted: false,
            visible: Vec::new(),
            standings: BTreeMap::new(),
            floors: vec![(0, 0)],
            told: Vec::new(),
            last_sent: BTreeMap::new(),
        }
    }
}

/// The settings that `room_updated` tells.
fn meta_json(meta: &RoomMeta) -> Value {
    json!({
        "name": &*meta.name,
        "description": meta.description.as_deref(),
        "topic": meta.topic.as_deref(),
        "visibility": if meta.visibility == Visibility::Public { "public" } else { "private" },
        "owner_id": meta.owner_id.map(|user| user.0),
        "max_members": meta.max_members,
        "slow_mode_s": meta.slow_mode_s,
        "retention_days": meta.retention_days,
        "archived": meta.archived,
    })
}

/// The room that a write is about.
fn room_of(write: &Write) -> Option<RoomId> {
    use Write as W;
    match write {
        W::CreateRoom { meta, .. } | W::CreateDm { meta, .. } | W::UpdateRoom { meta } => Some(meta.room_id),
        W::PutMember { room_id, .. }
        | W::DropMember { room_id, .. }
        | W::MemberCount { room_id, .. }
        | W::Edited { room_id, .. }
        | W::Deleted { room_id, .. }
        | W::Pinned { room_id, .. }
        | W::ThreadCount { room_id, .. }
        | W::Reaction { room_id, .. }
        | W::Mentions { room_id, .. }
        | W::DeleteRoom { room_id, .. }
        | W::Invite { room_id, .. }
        | W::DropInvite { room_id, .. }
        | W::PutRole { room_id, .. }
        | W::DropRole { room_id, .. } => Some(*room_id),
        W::Sanction { row } => Some(row.room_id),
        _ => None,
    }
}
