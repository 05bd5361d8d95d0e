//! What a batch does to the database.

use std::collections::{BTreeMap, BTreeSet};

use veza_engine::id::{RoomId, Seq, UserId};
use veza_engine::store::{Batch, EventRow, MemberRow, RoomMeta, Write};
use veza_engine::time::WallMs;
use veza_engine::wire::ClientKey;

use super::{Store, StoredMessage, StoredReaction, StoredRoom, is_message};

impl Store {
    pub(super) fn write(&mut self, batch: &Batch) {
        self.fence.insert((batch.writer.epoch, batch.writer.lane), batch.writer.number);
        for row in &batch.events {
            assert_eq!(row.seq.0, self.head(row.room_id) + 1, "the engine left a hole in room {}", row.room_id.0);
            self.append(row.clone());
        }
        for write in &batch.writes {
            self.write_one(write.clone());
        }
    }

    pub(super) fn append(&mut self, row: EventRow) {
        let room = self.rooms.get_mut(&row.room_id).expect("events of rooms that exist");
        if let (Some(author), Some(client)) = (row.author_id, &row.client) {
            room.clients.insert((author, client.id.clone()), row.seq);
        }
        if is_message(&row) {
            room.messages.insert(row.seq, fresh(&row));
        }
        room.events.push(row);
    }

    fn write_one(&mut self, write: Write) {
        match write {
            Write::CreateRoom { meta, creator_id, client } => {
                let owner = member(creator_id, "owner", meta.created_at);
                self.create(meta, creator_id, client, None, vec![owner]);
            }
            Write::CreateDm { meta, creator_id, user_ids, pair, client } => {
                let members = user_ids.iter().map(|user| member(*user, "member", meta.created_at)).collect();
                self.create(meta, creator_id, client, pair, members);
            }
            Write::Sanction { row } => {
                self.sanctions.insert(row.sanction_id, row);
            }
            Write::Status { user_id, status, message } => {
                let account = self.accounts.entry(user_id).or_default();
                (account.status, account.message) = (status, message);
            }
            Write::LastSeen { user_id, at } => {
                let account = self.accounts.entry(user_id).or_default();
                account.last_seen_at = account.last_seen_at.max(Some(at));
            }
            Write::Block { user_id, blocked_id, at } => {
                self.accounts.entry(user_id).or_default().blocks.entry(blocked_id).or_insert(at);
            }
            Write::Unblock { user_id, blocked_id } => {
                self.accounts.entry(user_id).or_default().blocks.remove(&blocked_id);
            }
            Write::ReadCheckpoint { .. } | Write::RevokeSession { .. } | Write::RevokeUser { .. } => {}
            about_room => self.write_room(about_room),
        }
    }

    fn write_room(&mut self, write: Write) {
        match write {
            Write::PutMember { room_id, mut member } => {
                let members = &mut self.room_mut(room_id).members;
                if let Some(before) = members.get(&member.user_id)
                    && before.last_read_seq > member.last_read_seq
                {
                    (member.last_read_seq, member.last_read_no) = (before.last_read_seq, before.last_read_no);
                }
                members.insert(member.user_id, member);
            }
            Write::DropMember { room_id, user_id } => {
                let room = self.room_mut(room_id);
                room.members.remove(&user_id);
                room.ended.push((user_id, room.head().0));
            }
            Write::MemberCount { room_id, count } => self.room_mut(room_id).member_count = count,
            Write::ReadPosition { room_id, user_id, seq, message_no } => {
                if let Some(member) = self.room_mut(room_id).members.get_mut(&user_id)
                    && member.last_read_seq < seq
                {
                    (member.last_read_seq, member.last_read_no) = (seq, message_no);
                }
            }
            Write::UpdateRoom { meta } => {
                let room = self.room_mut(meta.room_id);
                let RoomMeta { kind, epoch, created_at, .. } = room.meta;
                room.meta = RoomMeta { kind, epoch, created_at, ..meta };
            }
            Write::DeleteRoom { room_id, at } => self.room_mut(room_id).deleted_at = Some(at),
            Write::Invite { room_id, user_id, .. } => {
                self.room_mut(room_id).invites.insert(user_id);
            }
            Write::DropInvite { room_id, user_id } => {
                self.room_mut(room_id).invites.remove(&user_id);
            }
            Write::PutRole { room_id, role } => {
                self.room_mut(room_id).roles.insert(role.name.clone(), role);
            }
            Write::DropRole { room_id, name } => {
                let room = self.room_mut(room_id);
                room.roles.remove(&name);
                for member in room.members.values_mut().filter(|member| member.role == name) {
                    member.role = "member".into();
                }
            }
            about_message => self.write_message(about_message),
        }
    }

    /// Writes about a message that retention has removed meanwhile find no row.
    fn write_message(&mut self, write: Write) {
        match write {
            Write::Edited { room_id, message_id, content, mentions, count, at } => {
                let Some(message) = self.message_mut(room_id, message_id) else { return };
                message.content = Some(content);
                message.mentions = mentions;
                message.edit_count = count;
                message.edited_at = Some(at);
            }
            Write::Deleted { room_id, message_id, at } => {
                let Some(message) = self.message_mut(room_id, message_id) else { return };
                message.deleted_at = Some(at);
                message.pinned = None;
                message.inbox = None;
            }
            Write::Pinned { room_id, message_id, pinned } => {
                let Some(message) = self.message_mut(room_id, message_id) else { return };
                message.pinned = pinned;
            }
            Write::ThreadCount { room_id, message_id, count } => {
                let Some(message) = self.message_mut(room_id, message_id) else { return };
                message.thread_count = count;
            }
            Write::Reaction { room_id, message_id, user_id, emoji, present, count, .. } => {
                let Some(message) = self.message_mut(room_id, message_id) else { return };
                react(message, user_id, emoji, present, count);
            }
            Write::Mentions { room_id, message_id, at, users, everyone } => {
                let Some(message) = self.message_mut(room_id, message_id) else { return };
                message.inbox = (everyone || !users.is_empty()).then_some((users, everyone, at));
            }
            other => unreachable!("{other:?} is written elsewhere"),
        }
    }

    fn room_mut(&mut self, room_id: RoomId) -> &mut StoredRoom {
        self.rooms.get_mut(&room_id).expect("writes are about rooms that exist")
    }

    fn message_mut(&mut self, room_id: RoomId, message_id: Seq) -> Option<&mut StoredMessage> {
        let room = self.room_mut(room_id);
        let known = message_id <= room.floor || room.messages.contains_key(&message_id);
        assert!(known, "the engine writes about message {} of room {}, which is none", message_id.0, room_id.0);
        room.messages.get_mut(&message_id)
    }

    fn create(
        &mut self,
        meta: RoomMeta,
        creator: UserId,
        client: Option<ClientKey>,
        pair: Option<(UserId, UserId)>,
        members: Vec<MemberRow>,
    ) {
        let room_id = meta.room_id;
        let room = StoredRoom {
            member_count: members.len() as u32,
            members: members.into_iter().map(|member| (member.user_id, member)).collect(),
            client: client.map(|client| (client.id, client.hash)),
            meta,
            creator,
            pair,
            events: Vec::new(),
            floor: Seq(0),
            messages: BTreeMap::new(),
            invites: BTreeSet::new(),
            roles: BTreeMap::new(),
            deleted_at: None,
            clients: BTreeMap::new(),
            ended: Vec::new(),
        };
        assert!(self.rooms.insert(room_id, room).is_none(), "a room id was given twice");
    }
}

fn react(message: &mut StoredMessage, user: UserId, emoji: Box<str>, present: bool, count: u32) {
    let place = message.reactions.iter().position(|reaction| reaction.emoji == emoji);
    let place = place.unwrap_or_else(|| {
        message.reactions.push(StoredReaction { emoji, count: 0, users: BTreeSet::new() });
        message.reactions.len() - 1
    });
    let reaction = &mut message.reactions[place];
    if present {
        reaction.users.insert(user);
    } else {
        reaction.users.remove(&user);
    }
    reaction.count = count;
    if count == 0 {
        message.reactions.remove(place);
    }
}

fn fresh(row: &EventRow) -> StoredMessage {
    StoredMessage {
        content: row.content.clone(),
        mentions: row.mentions.clone(),
        edit_count: 0,
        edited_at: None,
        deleted_at: None,
        pinned: None,
        thread_count: 0,
        reactions: Vec::new(),
        inbox: None,
    }
}

fn member(user_id: UserId, role: &str, joined_at: WallMs) -> MemberRow {
    MemberRow { user_id, role: role.into(), joined_at, last_read_seq: Seq(0), last_read_no: 0 }
}
