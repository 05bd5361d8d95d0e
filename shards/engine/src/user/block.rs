//! Blocks: one of a user at a time, in order. Does the other one exist, are there not too many? Write it. Then tell the
//! conversations of the two, if there are any by now, so that nothing of the blocked one gets through after the answer.

use super::change::{UserOp, UserOpKind};
use super::{Users, queue_full};
use crate::core::{Core, LoadFor, body, error, overloaded, store_unavailable};
use crate::id::{RoomId, UserId};
use crate::peer::{Caller, Origin, PeerMessage, ReplyBody, SetBlock};
use crate::store::{Load, LoadError, Loaded};
use crate::time::Mono;
use crate::wire::json::object;
use crate::wire::{CommandError, ErrorCode};

/// Users that one may block; beyond: `CONFLICT`.
const BLOCKS_MAX: usize = 1000;

/// A block (or its end) that waits or is under way.
#[derive(Debug)]
pub(super) struct Blocking {
    /// Taken when it was answered before the outcome.
    pub origin: Option<Origin>,
    pub since: Mono,
    target: UserId,
    on: bool,
    /// It is committed: conversations of the two, but for the one of the pair, as soon as they are read.
    twos: Option<Vec<RoomId>>,
}

impl Users {
    pub(super) fn block(&mut self, core: &mut Core, origin: Origin, caller: Caller, target: UserId, on: bool) {
        if target == caller.user_id {
            let error = CommandError::field("user_id", "that is the caller");
            return core.reply(origin, Err(Box::new(error)), None);
        }
        let since = core.now.mono;
        let user = self.user(core, &caller);
        if queue_full(user.blockings.len()) {
            return core.reply(origin, Err(overloaded()), None);
        }
        user.blockings.push_back(Blocking { origin: Some(origin), since, target, on, twos: None });
        if user.blockings.len() == 1 {
            self.begin_block(core, caller.user_id);
        }
    }

    fn begin_block(&mut self, core: &mut Core, user_id: UserId) {
        let Some(first) = self.map.get(&user_id).and_then(|user| user.blockings.front()) else { return };
        core.load_always(Load::User { user_id: first.target }, LoadFor::Block { user_id });
    }

    /// The first one is through.
    fn end_block(&mut self, core: &mut Core, user_id: UserId) -> Option<Blocking> {
        let done = self.map.get_mut(&user_id).and_then(|user| user.blockings.pop_front());
        self.begin_block(core, user_id);
        done
    }

    pub(super) fn fail_block(&mut self, core: &mut Core, user_id: UserId, error: Box<CommandError>) {
        if let Some(Blocking { origin: Some(origin), .. }) = self.end_block(core, user_id) {
            core.reply(origin, Err(error), None);
        }
    }

    pub(super) fn block_loaded(&mut self, core: &mut Core, user_id: UserId, result: Result<Loaded, LoadError>) {
        let Some(first) = self.map.get_mut(&user_id).and_then(|user| user.blockings.front_mut()) else { return };
        match result {
            Ok(Loaded::User(Some(_))) if first.on => {
                core.load_always(Load::Profile { user_id }, LoadFor::Block { user_id });
            }
            Ok(Loaded::User(Some(_))) => self.write_block(core, user_id),
            Ok(Loaded::Profile(profile)) if first.twos.is_some() => {
                let of_two = profile.contacts.iter().filter(|(_, others)| **others == [first.target]);
                first.twos = Some(of_two.map(|(room_id, _)| *room_id).collect());
                let pair = Some((user_id.min(first.target), user_id.max(first.target)));
                let load = Load::Creation { user_id, client_id: None, pair, users: Vec::new() };
                core.load_always(load, LoadFor::Block { user_id });
            }
            Ok(Loaded::Profile(profile)) => {
                if profile.blocks.len() >= BLOCKS_MAX && !profile.blocks.contains(&first.target) {
                    self.fail_block(core, user_id, error(ErrorCode::Conflict, "too many users blocked"));
                } else {
                    self.write_block(core, user_id);
                }
            }
            Ok(Loaded::User(None)) => self.fail_block(core, user_id, error(ErrorCode::UserNotFound, "no such user")),
            Ok(Loaded::Creation { by_pair, .. }) => {
                let Some(Blocking { origin, target, on, twos, .. }) = self.end_block(core, user_id) else { return };
                let mut room_ids = twos.unwrap_or_default();
                room_ids.extend(by_pair.map(|earlier| earlier.room_id));
                room_ids.sort_unstable();
                room_ids.dedup();
                let reply = block_body(target, on);
                let set = SetBlock { room_ids, blocker: user_id, blocked: target, on, origin, reply };
                set_block(core, Box::new(set));
            }
            Ok(other) => unreachable!("a block's query was answered with {other:?}"),
            Err(_) if first.twos.is_some() => {
                // It is committed: the conversations must learn it, whoever still waits for the answer.
                if let Some(origin) = first.origin.take() {
                    core.reply(origin, Err(store_unavailable()), None);
                }
                self.blocks_untold.push(user_id);
            }
            Err(_) => self.fail_block(core, user_id, store_unavailable()),
        }
    }

    /// Asks again for the conversations of blocks that are committed and that they have not been told of.
    pub fn retry_blocks(&mut self, core: &mut Core) {
        for user_id in std::mem::take(&mut self.blocks_untold) {
            core.load_always(Load::Profile { user_id }, LoadFor::Block { user_id });
        }
    }

    fn write_block(&mut self, core: &mut Core, user_id: UserId) {
        let Some(first) = self.map.get(&user_id).and_then(|user| user.blockings.front()) else { return };
        match core.admit(user_id) {
            Ok(()) => {
                let kind = UserOpKind::Block { target: first.target, on: first.on, at: core.now.wall };
                self.push_op(core, user_id, UserOp::new(kind, core.now.mono));
            }
            Err(error) => self.fail_block(core, user_id, error),
        }
    }

    /// The first one is committed: which conversations have the two? One that is made from here on is read with it.
    pub(super) fn block_written(&mut self, core: &mut Core, user_id: UserId, target: UserId, on: bool) {
        self.block_committed(core, user_id, target, on);
        let first = self.map.get_mut(&user_id).and_then(|user| user.blockings.front_mut());
        first.expect("in line until it is through").twos = Some(Vec::new());
        core.load_always(Load::Profile { user_id }, LoadFor::Block { user_id });
    }
}

/// On to the next conversation of the two; behind the last one is the answer.
pub fn set_block(core: &mut Core, set: Box<SetBlock>) {
    match set.room_ids.last() {
        Some(room_id) => core.send(room_id.home(core.shards), PeerMessage::SetBlock(set)),
        None => set.origin.into_iter().for_each(|origin| core.reply(origin, Ok(set.reply.clone()), None)),
    }
}

fn block_body(target: UserId, on: bool) -> ReplyBody {
    let kind = if on { "user_blocked" } else { "user_unblocked" };
    body(kind, object(|o| o.uint("user_id", target.0).end()))
}
