//! Making rooms and conversations: one creation of a user at a time, so that its limits and client ids are judged in
//! order.

use super::change::{UserOp, UserOpKind};
use super::{Users, queue_full};
use crate::core::{Core, LoadFor, Outcome, body, error, overloaded, store_unavailable};
use crate::id::{RoomId, UserId};
use crate::peer::{Caller, Origin, PeerMessage};
use crate::store::{Earlier, Load, LoadError, Loaded, RoomKind, RoomMeta, Standing, UserRow};
use crate::time::Mono;
use crate::wire::encode::dm_created;
use crate::wire::{ClientKey, CommandError, CreateDm, CreateRoom, ErrorCode, Visibility};

/// A creation that waits or is under way.
#[derive(Debug)]
pub(super) struct Creation {
    /// Taken when it was answered before the outcome.
    pub origin: Option<Origin>,
    pub since: Mono,
    pub caller: Caller,
    pub what: What,
    /// What the store said, while an id is waited for.
    known: Option<Known>,
}

#[derive(Debug)]
pub(super) enum What {
    Room(Box<CreateRoom>),
    Dm { users: Vec<UserId>, pair: Option<(UserId, UserId)>, client: Option<ClientKey> },
}

#[derive(Debug)]
struct Known {
    created_rooms: u32,
    users: Vec<UserRow>,
}

/// Participants of a conversation, the caller included.
const GROUP_MAX: usize = 10;

impl Users {
    pub(super) fn create_room(&mut self, core: &mut Core, origin: Origin, caller: Caller, create: Box<CreateRoom>) {
        if create.max_members.is_some_and(|most| most > core.limits.max_members_per_room) {
            let error = CommandError::field("max_members", "over limits.max_members_per_room");
            return core.reply(origin, Err(Box::new(error)), None);
        }
        self.queue(core, origin, caller, What::Room(create));
    }

    pub(super) fn create_dm(&mut self, core: &mut Core, origin: Origin, caller: Caller, create: Box<CreateDm>) {
        match participants(&caller, &create) {
            Err(error) => core.reply(origin, Err(error), None),
            Ok(users) => {
                let pair = (!create.group).then(|| (users[0], users[1]));
                let what = What::Dm { users, pair, client: create.client };
                self.queue(core, origin, caller, what);
            }
        }
    }

    fn queue(&mut self, core: &mut Core, origin: Origin, caller: Caller, what: What) {
        if let Err(error) = core.admit(caller.user_id) {
            return core.reply(origin, Err(error), None);
        }
        let (user_id, since) = (caller.user_id, core.now.mono);
        let user = self.user(core, &caller);
        if queue_full(user.creations.len()) {
            return core.reply(origin, Err(overloaded()), None);
        }
        user.creations.push_back(Creation { origin: Some(origin), since, caller, what, known: None });
        if user.creations.len() == 1 && !user.creating {
            self.begin_creation(core, user_id);
        }
    }

    /// Asks the store what the first waiting creation needs to know.
    fn begin_creation(&mut self, core: &mut Core, user_id: UserId) {
        let Some(creation) = self.map.get(&user_id).and_then(|user| user.creations.front()) else { return };
        let (client, pair, users) = match &creation.what {
            What::Room(create) => (&create.client, None, Vec::new()),
            What::Dm { users, pair, client } => (client, *pair, users.clone()),
        };
        let client_id = client.as_ref().map(|client| client.id.clone());
        let load = Load::Creation { user_id, client_id, pair, users };
        core.load_always(load, LoadFor::Creation { user_id });
    }

    /// The first creation of the user is through; the next one begins.
    fn end_creation(&mut self, core: &mut Core, user_id: UserId) -> Creation {
        let user = self.map.get_mut(&user_id).expect("has a creation");
        let creation = user.creations.pop_front().expect("has a creation");
        self.begin_creation(core, user_id);
        creation
    }

    fn fail_creation(&mut self, core: &mut Core, user_id: UserId, error: Box<CommandError>) {
        if let Some(origin) = self.end_creation(core, user_id).origin {
            core.reply(origin, Err(error), None);
        }
    }

    pub(super) fn creation_loaded(&mut self, core: &mut Core, user_id: UserId, result: Result<Loaded, LoadError>) {
        let Ok(Loaded::Creation { created_rooms, by_client, by_pair, users, blocked_by }) = result else {
            return self.fail_creation(core, user_id, store_unavailable());
        };
        let front = self.map.get(&user_id).and_then(|user| user.creations.front());
        let of_two = front.is_some_and(|creation| matches!(&creation.what, What::Dm { users, .. } if users.len() == 2));
        if by_client.is_none() && of_two && !blocked_by.is_empty() {
            let error = error(ErrorCode::ConversationBlocked, "that user blocks the caller");
            return self.fail_creation(core, user_id, error);
        }
        if let Some(earlier) = by_client.or(by_pair) {
            let creation = self.end_creation(core, user_id);
            return self.answer_earlier(core, creation, &earlier);
        }
        let user = self.map.get_mut(&user_id).expect("has a creation");
        let creation = user.creations.front_mut().expect("has a creation");
        creation.known = Some(Known { created_rooms, users });
        self.advance_creation(core, user_id);
    }

    /// Ids have come, or will not.
    pub(super) fn advance_waiting_for_ids(&mut self, core: &mut Core, user_id: UserId) {
        let waits = self.map.get(&user_id).and_then(|user| user.creations.front()).is_some_and(|c| c.known.is_some());
        if !waits {
            return;
        }
        if self.ids.left > 0 || self.ids.loading {
            // More may wait than one block has ids for: the others wait for the next one.
            return self.advance_creation(core, user_id);
        }
        self.fail_creation(core, user_id, store_unavailable());
    }

    fn advance_creation(&mut self, core: &mut Core, user_id: UserId) {
        let user = self.map.get_mut(&user_id).expect("has a creation");
        let creation = user.creations.front().expect("has a creation");
        let known = creation.known.as_ref().expect("loaded before");
        let limit = core.limits.max_rooms_per_user;
        let problem = match &creation.what {
            What::Room(_) if limit > 0 && known.created_rooms >= limit => {
                Some(error(ErrorCode::Conflict, "too many rooms created"))
            }
            What::Dm { users, .. } if known.users.len() < users.len() => {
                Some(error(ErrorCode::UserNotFound, "no such user"))
            }
            _ => core.admit(user_id).err(),
        };
        if let Some(error) = problem {
            return self.fail_creation(core, user_id, error);
        }
        let Some(id) = self.next_id(core) else { return }; // goes on when they are here
        let room_id = RoomId(id);
        let user = self.map.get_mut(&user_id).expect("has a creation");
        let mut creation = user.creations.pop_front().expect("has a creation");
        user.creating = true;
        let known = creation.known.take().expect("loaded before");
        let meta = new_meta(core, room_id, user_id, &creation.what);
        let kind = UserOpKind::Create { meta: Box::new(meta), participants: known.users, creation: Box::new(creation) };
        // The next creation begins when this one is committed: it counts against the limit then.
        self.push_op(core, user_id, UserOp::new(kind, core.now.mono));
    }

    /// A creation is committed.
    pub(super) fn created(&mut self, core: &mut Core, meta: RoomMeta, participants: Vec<UserRow>, creation: Creation) {
        let Creation { origin, mut caller, what, .. } = creation;
        let room_id = meta.room_id;
        let user_id = caller.user_id;
        caller.presence = self.stamp(user_id);
        match what {
            What::Room(_) => {
                let owner = crate::store::MemberRow {
                    user_id,
                    role: "owner".into(),
                    joined_at: meta.created_at,
                    last_read_seq: crate::id::Seq(0),
                    last_read_no: 0,
                };
                let state = crate::store::RoomState {
                    meta,
                    head: crate::id::Seq(0),
                    message_no: 0,
                    member_count: 1,
                    tail: Vec::new(),
                    floor: crate::id::Seq(0),
                    standings: vec![Standing {
                        user_id,
                        username: (&*caller.username).into(),
                        member: Some(owner),
                        invited: false,
                        sanctions: Vec::new(),
                    }],
                    participants: Vec::new(),
                    roles: Vec::new(),
                    pinned_count: 0,
                    blocks: Vec::new(),
                };
                // Whoever was told that the outcome is unknown comes again; the room is read then.
                if let Some(origin) = origin {
                    let state = Some(Box::new(state));
                    let message = PeerMessage::RoomCreated { room_id, state, duplicate: false, origin, caller };
                    core.send(room_id.home(core.shards), message);
                }
            }
            What::Dm { users, .. } => {
                let reply = body("dm_created", dm_created(room_id, &users, meta.created_at, Some(false)));
                if let Some(origin) = origin {
                    core.reply(origin, Ok(reply), None);
                }
                let data = dm_created(room_id, &users, meta.created_at, None);
                let frame = crate::wire::encode::push_frame("dm_created", &data);
                for user in &participants {
                    let (user_id, home) = (user.user_id, user.user_id.home(core.shards));
                    let others = users.iter().copied().filter(|other| *other != user_id).collect();
                    core.send(home, PeerMessage::NewContact { user_id, room_id, others });
                    core.send(home, PeerMessage::UserPush { user_id, frame: frame.clone(), notify: None });
                }
            }
        }
        self.creation_written(core, user_id);
    }

    /// A creation is out of the journal: the next one begins.
    fn creation_written(&mut self, core: &mut Core, user_id: UserId) {
        if let Some(user) = self.map.get_mut(&user_id) {
            user.creating = false;
        }
        self.begin_creation(core, user_id);
    }

    /// A creation that the store had already, found only when it was written.
    pub(super) fn created_before(&mut self, core: &mut Core, creation: Creation, earlier: &Earlier) {
        let user_id = creation.caller.user_id;
        self.answer_earlier(core, creation, earlier);
        self.creation_written(core, user_id);
    }

    /// A creation that the store refused.
    pub(super) fn creation_refused(&mut self, core: &mut Core, creation: Creation, error: Box<CommandError>) {
        let user_id = creation.caller.user_id;
        if let Some(origin) = creation.origin {
            core.reply(origin, Err(error), None);
        }
        self.creation_written(core, user_id);
    }

    /// The original reply again, or a conflict.
    fn answer_earlier(&mut self, core: &mut Core, creation: Creation, earlier: &Earlier) {
        let Creation { origin: Some(origin), mut caller, what, .. } = creation else { return };
        caller.presence = self.stamp(caller.user_id);
        let (kind, hash) = match &what {
            What::Room(create) => (RoomKind::Room, create.client.as_ref().map(|client| client.hash)),
            What::Dm { client, .. } => (RoomKind::Dm, client.as_ref().map(|client| client.hash)),
        };
        let by_pair = earlier.hash.is_none();
        if earlier.kind != kind || (!by_pair && earlier.hash != hash) {
            let mut conflict = error(ErrorCode::IdempotencyConflict, "this client_id was used with other data");
            conflict.field = Some("client_id");
            return core.reply(origin, Err(conflict), None);
        }
        match what {
            What::Room(_) => {
                let room_id = earlier.room_id;
                let message = PeerMessage::RoomCreated { room_id, state: None, duplicate: true, origin, caller };
                core.send(room_id.home(core.shards), message);
            }
            What::Dm { users, .. } => {
                let data = dm_created(earlier.room_id, &users, earlier.at, Some(true));
                let outcome: Outcome = Ok(body("dm_created", data));
                core.reply(origin, outcome, None);
            }
        }
    }
}

/// The participants, ascending, the caller among them.
fn participants(caller: &Caller, create: &CreateDm) -> Result<Vec<UserId>, Box<CommandError>> {
    let me = caller.user_id;
    if create.must_name_caller && !create.user_ids.contains(&me) {
        return Err(error(ErrorCode::PermissionDenied, "one of the two must be the caller"));
    }
    let mut users = create.user_ids.clone();
    users.push(me);
    users.sort_unstable();
    users.dedup();
    let field = if create.group { "user_ids" } else { "user_id" };
    if users.len() < 2 {
        return Err(Box::new(CommandError::field(field, "a conversation needs somebody else")));
    }
    if users.len() > GROUP_MAX || (!create.group && users.len() != 2) {
        return Err(Box::new(CommandError::field(field, "too many participants")));
    }
    Ok(users)
}

fn new_meta(core: &mut Core, room_id: RoomId, creator: UserId, what: &What) -> RoomMeta {
    let epoch = core.rng.next() >> 12 | 1;
    let base = RoomMeta {
        room_id,
        kind: RoomKind::Dm,
        epoch,
        name: "".into(),
        description: None,
        topic: None,
        visibility: Visibility::Private,
        owner_id: None,
        max_members: GROUP_MAX as u32,
        slow_mode_s: 0,
        retention_days: 0,
        archived: false,
        created_at: core.now.wall,
    };
    match what {
        What::Dm { .. } => base,
        What::Room(create) => RoomMeta {
            kind: RoomKind::Room,
            name: create.name.clone(),
            description: create.description.clone(),
            topic: create.topic.clone(),
            visibility: create.visibility,
            owner_id: Some(creator),
            max_members: create.max_members.unwrap_or(core.limits.max_members_per_room),
            slow_mode_s: create.slow_mode_s.unwrap_or(0),
            retention_days: create.retention_days.unwrap_or(0),
            ..base
        },
    }
}
