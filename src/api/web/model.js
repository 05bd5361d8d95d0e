// What the page knows: rooms, conversations, their messages, unread counts, rights, who is there. No DOM, no network:
// app.js feeds it with what the client library delivers, the other modules show it.

import { Recent, Timeline } from './timeline.js';

export const PERMISSIONS = [
  ['read', 'Read messages'],
  ['send', 'Send messages'],
  ['react', 'React'],
  ['pin', 'Pin messages'],
  ['edit_own', 'Edit own messages'],
  ['delete_own', 'Delete own messages'],
  ['delete_any', 'Delete any message'],
  ['mention_all', 'Notify everyone with @room'],
  ['invite', 'Invite people'],
  ['manage_members', 'Manage members'],
  ['manage_roles', 'Manage roles'],
  ['manage_room', 'Change the room’s settings'],
  ['moderate', 'Mute, kick and ban'],
  ['view_audit', 'See the audit log'],
  ['bypass_slow_mode', 'Ignore slow mode'],
];
const MEMBER = ['read', 'send', 'react', 'edit_own', 'delete_own'];
const SERVER_MODERATOR = ['read', 'delete_any', 'manage_members', 'moderate', 'view_audit'];
const ALL = PERMISSIONS.map(([name]) => name);
/** What the built-in roles hold, until the server has said so itself. */
const BUILT_IN = {
  owner: ALL,
  moderator: [
    ...MEMBER,
    'pin',
    'delete_any',
    'mention_all',
    'invite',
    'manage_members',
    'moderate',
    'view_audit',
    'bypass_slow_mode',
  ],
  member: MEMBER,
  participant: [...MEMBER, 'pin', 'mention_all'],
};
/** Who holds one of these stands above plain members. */
const LEADS = ['moderate', 'manage_members', 'manage_roles', 'manage_room'];
/** How long somebody is shown as typing after the last word of it. */
const TYPING_MS = 6_000;

export class Room {
  constructor(roomId, kind, me) {
    this.room_id = roomId;
    this.kind = kind;
    Object.assign(this, {
      name: '',
      topic: '',
      description: '',
      owner_id: null,
      member_count: 0,
      visibility: 'public',
    });
    Object.assign(this, { max_members: null, slow_mode_s: 0, retention_days: 0, archived: false, created_at: null });
    this.online_count = null;
    /** Conversations: the others. */
    this.users = [];
    this.is_blocked = false;
    this.unread = 0;
    this.mentions = 0;
    /** The read position, and the event up to which `unread` has counted. */
    this.read_seq = 0;
    this.counted_seq = 0;
    /** Where the line "New" is drawn: the read position when the room was opened. */
    this.marker = null;
    /** Time of the newest message, for the order of conversations. */
    this.last_at = '';
    this.failed = [];
    this.recent = new Recent();
    this.timeline = new Timeline(me, this.recent);
    /** The caller's role, once known, and the room's roles by name. */
    this.role = null;
    this.roles = new Map();
    /** End of the caller's mute (Infinity: for good); 0: none. */
    this.muted_until = 0;
    /** user_id -> {name, until} and user_id -> read position, of others. */
    this.typing = new Map();
    this.reads = new Map();
  }

  /** It is followed no more: what was read is worth nothing later. */
  forget() {
    this.entered = false;
    this.timeline.clear();
    Object.assign(this.recent, { events: [], seq: 0 });
  }

  get title() {
    return this.kind === 'dm' ? this.name : `# ${this.name}`;
  }

  get isGroup() {
    return this.kind === 'dm' && this.users.length > 1;
  }

  permissionsOf(role) {
    return this.roles.get(role)?.permissions ?? BUILT_IN[role] ?? MEMBER;
  }

  /** 3: owner, 2: looks after the members, 1: everybody else. */
  rankOf(role) {
    if (role === 'owner') return 3;
    const permissions = this.permissionsOf(role);
    return LEADS.some((permission) => permissions.includes(permission)) ? 2 : 1;
  }

  /** Names of those who type at `now`. */
  typers(now) {
    for (const [userId, { until }] of this.typing) if (until <= now) this.typing.delete(userId);
    return [...this.typing.values()].map(({ name }) => name);
  }
}

export class Model {
  constructor() {
    this.me = null;
    this.rooms = new Map();
    this.openId = null;
    /** Rows of list_rooms {filter: invited}. */
    this.invitations = [];
    /** user_id -> {status, message, last_seen_at}, user_id -> name, lower-case name -> user_id. */
    this.presence = new Map();
    this.names = new Map();
    this.ids = new Map();
    this.blocked = new Set();
    /** 'room:message' of messages that mention everybody: only the server knows whether their author may. */
    this.everyone = new Set();
    /** Messages shown apart from the log, all kept up to date. */
    this.collections = new Set();
  }

  get open() {
    return this.rooms.get(this.openId) ?? null;
  }

  get unread() {
    return [...this.rooms.values()].reduce((sum, room) => sum + room.unread, 0);
  }

  get mentions() {
    return [...this.rooms.values()].reduce((sum, room) => sum + room.mentions, 0);
  }

  room(roomId, kind = 'room') {
    if (!this.rooms.has(roomId)) this.rooms.set(roomId, new Room(roomId, kind, this.me.user_id));
    return this.rooms.get(roomId);
  }

  remove(roomId) {
    this.rooms.delete(roomId);
    if (this.openId === roomId) this.openId = null;
  }

  knows({ user_id: userId, username, status, message, last_seen_at: seen }) {
    if (!userId) return;
    if (username) {
      this.names.set(userId, username);
      this.ids.set(username.toLowerCase(), userId);
    }
    if (status) this.presence.set(userId, { status, message: message ?? null, last_seen_at: seen ?? null });
  }

  nameOf(userId) {
    return this.names.get(userId) ?? `user ${userId}`;
  }

  /** The room object of the protocol. */
  describe(data) {
    const room = this.room(data.room_id);
    const fields = [
      'name',
      'owner_id',
      'member_count',
      'visibility',
      'max_members',
      'slow_mode_s',
      'retention_days',
      'archived',
      'created_at',
    ];
    for (const field of fields) if (data[field] !== undefined) room[field] = data[field];
    return Object.assign(room, { topic: data.topic ?? '', description: data.description ?? '' });
  }

  /** A row of list_dms. */
  describeDm({ conversation_id, users, last_message, is_blocked }) {
    const dm = this.room(conversation_id, 'dm');
    dm.users = users.filter((user) => user.user_id !== this.me.user_id);
    if (dm.users.length === 0) dm.users = users;
    for (const user of users) this.knows(user);
    dm.name = dm.users.map((user) => user.username).join(', ');
    dm.is_blocked = Boolean(is_blocked);
    if (last_message && last_message.created_at > dm.last_at) dm.last_at = last_message.created_at;
  }

  /** The rows of get_unread: all that the user is in. */
  sync(rows) {
    const present = new Set(rows.map((row) => row.room_id));
    for (const roomId of [...this.rooms.keys()]) if (!present.has(roomId)) this.remove(roomId);
    for (const row of rows) this.counts(row);
  }

  counts(row) {
    const room = this.room(row.room_id, row.kind);
    Object.assign(room, { unread: row.unread_count, mentions: row.mention_count ?? 0, read_seq: row.last_read_seq });
    room.counted_seq = row.last_seq;
    room.epoch = row.epoch;
  }

  /** Whether the caller may do `permission` in the room. */
  can(room, permission) {
    if (!room) return false;
    if (room.kind === 'dm') return BUILT_IN.participant.includes(permission);
    const server = this.me.role;
    if (server === 'admin' || (server === 'moderator' && SERVER_MODERATOR.includes(permission))) return true;
    return room.permissionsOf(room.role ?? 'member').includes(permission);
  }

  /** Whether the caller may do it now: nothing is written in an archived room, nor by who is muted. */
  mayWrite(room, permission) {
    return this.can(room, permission) && !room.archived && room.muted_until <= Date.now();
  }

  /** Whether the caller stands above somebody with `role`: nobody acts on an equal, but the owner and administrators. */
  outranks(room, role) {
    if (role === 'owner') return this.me.role === 'admin';
    if (this.me.role === 'admin' || room.role === 'owner') return true;
    const own = Math.max(room.rankOf(room.role ?? 'member'), this.me.role === 'moderator' ? 3 : 0);
    return own > room.rankOf(role);
  }

  /** Whether the caller holds all that a role holds. */
  covers(room, role) {
    return room.permissionsOf(role).every((permission) => this.can(room, permission));
  }

  isMention(message) {
    if (message.author_id === this.me.user_id) return false;
    const told = this.everyone.has(`${message.room_id}:${message.message_id}`);
    return Boolean(message.mentions?.includes(this.me.user_id)) || told;
  }

  /** A notification of a mention: it may come before the message or after it. Returns its room if that changes. */
  mentioned({ room_id, message_id }) {
    const room = this.rooms.get(room_id);
    if (!room || this.everyone.has(`${room_id}:${message_id}`)) return null;
    const came = room.recent.events.find(({ type, data }) => type === 'message' && data.message_id === message_id);
    if (came && this.isMention(came.data)) return null;
    this.everyone.add(`${room_id}:${message_id}`);
    if (came && message_id > room.read_seq && room.unread > 0) room.mentions += 1;
    const shown = room.timeline.find(message_id);
    if (shown) shown.rev = (shown.rev ?? 0) + 1;
    return room;
  }

  /** A sequenced push. Returns the room that it concerns. `reading`: the reader is at the end of that room's log. */
  apply(push, { reading = true } = {}) {
    const { type, data } = push;
    const room = this.room(data.room_id, 'dm');
    room.recent.add(push);
    if (type === 'message') this.#count(room, data);
    if (type === 'room_updated') this.describe(data.room);
    if (type === 'member_role_changed') this.#roleChanged(room, data);
    if (type === 'user_sanctioned') this.#sanctioned(room, data);
    if (data.username && data.user_id) this.knows({ user_id: data.user_id, username: data.username });
    room.timeline.receive(push, { grow: reading });
    if (reading && !room.timeline.hasAfter) room.timeline.cutStart();
    for (const collection of this.collections) collection.receive(push);
    return room;
  }

  #count(room, message) {
    this.knows({ user_id: message.author_id, username: message.username });
    room.typing.delete(message.author_id);
    if (message.created_at > room.last_at) room.last_at = message.created_at;
    if (message.seq <= room.counted_seq) return;
    room.counted_seq = message.seq;
    if (message.author_id === this.me.user_id) {
      Object.assign(room, { unread: 0, mentions: 0, read_seq: message.seq });
      return;
    }
    room.unread += 1;
    if (this.isMention(message)) room.mentions += 1;
  }

  #roleChanged(room, { user_id, role }) {
    if (user_id === this.me.user_id) room.role = role;
    else if (role === 'owner' && room.role === 'owner') room.role = 'moderator';
    if (role === 'owner') room.owner_id = user_id;
  }

  #sanctioned(room, { user_id, kind, expires_at }) {
    if (user_id !== this.me.user_id || kind !== 'mute') return;
    room.muted_until = expires_at ? Date.parse(expires_at) : Infinity;
  }

  /** A push of typing. */
  typing({ room_id, user_id, username, is_typing }, now) {
    const room = this.rooms.get(room_id);
    if (!room || user_id === this.me.user_id) return null;
    this.knows({ user_id, username });
    if (is_typing) room.typing.set(user_id, { name: username, until: now + TYPING_MS });
    else room.typing.delete(user_id);
    return room;
  }

  /** A push of read; true if it is the caller's own, and counts may have changed. */
  read({ room_id, user_id, seq }) {
    const room = this.rooms.get(room_id);
    if (!room) return false;
    if (user_id !== this.me.user_id) {
      room.reads.set(user_id, Math.max(seq, room.reads.get(user_id) ?? 0));
      return false;
    }
    if (seq <= room.read_seq) return false;
    room.read_seq = seq;
    if (seq >= room.counted_seq) Object.assign(room, { unread: 0, mentions: 0 });
    return true;
  }

  /** Joined rooms by name. */
  get joinedRooms() {
    const rooms = [...this.rooms.values()].filter((room) => room.kind === 'room' && room.name);
    return rooms.sort((a, b) => a.name.localeCompare(b.name) || a.room_id - b.room_id);
  }

  /** Conversations, the latest first. */
  get conversations() {
    const dms = [...this.rooms.values()].filter((room) => room.kind === 'dm' && room.name);
    return dms.sort((a, b) => b.last_at.localeCompare(a.last_at) || a.name.localeCompare(b.name));
  }
}
