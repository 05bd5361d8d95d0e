// What the page knows: rooms, conversations, their messages and unread counts. No DOM, no network: app.js feeds it
// with what the client library delivers, view.js shows it.

/** Messages of one room that are kept while nobody reads back; older ones are loaded again when asked for. */
const KEPT_MAX = 400;

export class Room {
  constructor(roomId, kind) {
    this.room_id = roomId;
    this.kind = kind;
    this.name = '';
    this.topic = '';
    this.owner_id = null;
    this.member_count = 0;
    this.visibility = 'public';
    this.users = [];
    this.unread = 0;
    /** The read position, and the event up to which `unread` has counted. */
    this.read_seq = 0;
    this.counted_seq = 0;
    /** Time of the newest message, for the order of conversations. */
    this.last_at = '';
    this.draft = '';
    this.messages = [];
    this.loaded = false;
    this.has_more = false;
    this.failed = [];
  }

  /** The newest message that is shown. */
  get newest() {
    return this.messages.at(-1) ?? null;
  }

  get oldest_id() {
    return this.messages[0]?.message_id ?? null;
  }

  /** Puts a message at its place; false if it is there already. */
  insert(message) {
    const { messages } = this;
    let at = messages.length;
    while (at > 0 && messages[at - 1].message_id > message.message_id) at -= 1;
    if (at > 0 && messages[at - 1].message_id === message.message_id) return false;
    messages.splice(at, 0, message);
    if (message.created_at > this.last_at) this.last_at = message.created_at;
    return true;
  }

  /** A page that ends at the newest message, or one that lies before the oldest that is shown. */
  addPage({ messages, has_more }) {
    for (const message of messages) this.insert(message);
    this.has_more = has_more;
    this.loaded = true;
  }

  /** Everything that was shown is worth nothing any more. */
  replace(page) {
    this.messages = [];
    this.addPage(page);
  }

  /** Forgets the oldest messages of a long session. */
  trim() {
    if (this.messages.length <= KEPT_MAX) return;
    this.messages = this.messages.slice(-KEPT_MAX / 2);
    this.has_more = true;
  }
}

export class Model {
  constructor() {
    this.me = null;
    this.rooms = new Map();
    this.openId = null;
  }

  get open() {
    return this.rooms.get(this.openId) ?? null;
  }

  get unread() {
    return [...this.rooms.values()].reduce((sum, room) => sum + room.unread, 0);
  }

  room(roomId, kind = 'room') {
    if (!this.rooms.has(roomId)) this.rooms.set(roomId, new Room(roomId, kind));
    return this.rooms.get(roomId);
  }

  remove(roomId) {
    this.rooms.delete(roomId);
    if (this.openId === roomId) this.openId = null;
  }

  /** The room object of the protocol. */
  describe(room) {
    const { room_id, name, owner_id, member_count, visibility, topic, description } = room;
    const about = topic || description || '';
    return Object.assign(this.room(room_id), { name, owner_id, member_count, visibility, topic: about });
  }

  /** A row of list_dms. */
  describeDm({ conversation_id, users, last_message }) {
    const dm = this.room(conversation_id, 'dm');
    dm.users = users.filter((user) => user.user_id !== this.me.user_id);
    if (dm.users.length === 0) dm.users = users;
    dm.name = dm.users.map((user) => user.username).join(', ');
    if (last_message && last_message.created_at > dm.last_at) dm.last_at = last_message.created_at;
  }

  /** The rows of get_unread: all that the user is in. */
  sync(rows) {
    const present = new Set(rows.map((row) => row.room_id));
    for (const roomId of [...this.rooms.keys()]) if (!present.has(roomId)) this.remove(roomId);
    for (const row of rows) {
      const room = this.room(row.room_id, row.kind);
      Object.assign(room, { unread: row.unread_count, read_seq: row.last_read_seq, counted_seq: row.last_seq });
    }
  }

  /** A message that came live or in a replay. Returns the room if there is something new to show. */
  receive(message) {
    const room = this.room(message.room_id, 'dm');
    if (message.seq > room.counted_seq) {
      room.counted_seq = message.seq;
      if (message.author_id === this.me.user_id) Object.assign(room, { unread: 0, read_seq: message.seq });
      else room.unread += 1;
    }
    if (message.created_at > room.last_at) room.last_at = message.created_at;
    if (!room.loaded) return null;
    return room.insert(message) ? room : null;
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
