// Messages and what later events make of them. No DOM, no network.
//
// A page of the history shows messages as they were at its `seq`; the events of a room arrive in the order of their
// `seq`. Each message remembers the last event that it shows (`as_of`), so an event changes a message once, whatever
// came first, the page or the push.

/** Messages of one room that are kept at once; what is cut off on one side is read again when somebody goes there. */
export const WINDOW = 300;
/** Events of a room that are remembered, for pages that are older than the newest push. */
const RECENT_MAX = 1000;

function react(message, { emoji, count, user_id }, present, me) {
  message.reactions ??= [];
  const known = message.reactions.find((reaction) => reaction.emoji === emoji);
  const reaction = known ?? { emoji, count: 0, me: false };
  reaction.count = count;
  if (user_id === me) reaction.me = present;
  if (!known && count > 0) message.reactions.push(reaction);
  if (count <= 0) message.reactions = message.reactions.filter((other) => other !== reaction);
}

/** What an event does to the message that it names. */
const EFFECTS = {
  message_edited(message, { content, mentions, edited_at, edit_count }) {
    if (message.is_deleted) return;
    Object.assign(message, { edited_at, edit_count, is_edited: true, mentions: mentions ?? [] });
    if (typeof content === 'string') message.content = content; // a replay leaves it out where it is deleted since
  },
  message_deleted(message) {
    Object.assign(message, { is_deleted: true, content: null, reactions: [], mentions: [], is_pinned: false });
  },
  reaction_added: (message, data, me) => react(message, data, true, me),
  reaction_removed: (message, data, me) => react(message, data, false, me),
  message_pinned: (message) => Object.assign(message, { is_pinned: true }),
  message_unpinned: (message) => Object.assign(message, { is_pinned: false }),
};

/** Applies an event to a message that it concerns; false if it does not, or did already. `me`: the user's id. */
export function applyEvent(message, { type, data }, me) {
  if (data.room_id !== message.room_id || data.seq <= (message.as_of ?? 0)) return false;
  if (type === 'message') {
    if (data.parent_id !== message.message_id) return false;
    message.thread_count = (message.thread_count ?? 0) + 1;
  } else {
    const effect = data.message_id === message.message_id ? EFFECTS[type] : null;
    if (!effect) return false;
    effect(message, data, me);
  }
  message.as_of = data.seq;
  message.rev = (message.rev ?? 0) + 1;
  return true;
}

/** The newest events of a room, for pages that were read before they came. */
export class Recent {
  constructor() {
    this.events = [];
    /** The last event that came. */
    this.seq = 0;
  }

  add(push) {
    this.seq = Math.max(this.seq, push.data.seq);
    this.events.push(push);
    if (this.events.length > RECENT_MAX) this.events.splice(0, RECENT_MAX / 2);
  }

  /** Brings the messages of a page that shows the room at `seq` up to now. */
  bring(messages, seq, me) {
    for (const message of messages) message.as_of = seq ?? message.seq;
    const later = this.events.filter((push) => push.data.seq > seq);
    for (const push of later) for (const message of messages) applyEvent(message, push, me);
    return messages;
  }

  /** Messages after `seq` that are remembered; null: not all of them are. */
  messagesAfter(seq) {
    if (this.seq <= seq) return [];
    if (!this.events.length || this.events[0].data.seq > seq + 1) return null;
    return this.events.filter(({ type, data }) => type === 'message' && data.seq > seq).map(({ data }) => data);
  }
}

/** Messages that are shown somewhere apart from the log (pins, results of a search, an inbox), kept up to date. */
export class Collection {
  constructor(me) {
    this.me = me;
    this.messages = [];
  }

  find(messageId, roomId = null) {
    const wanted = (message) => message.message_id === messageId && (roomId === null || message.room_id === roomId);
    return this.messages.find(wanted) ?? null;
  }

  /** Returns whether something changed. */
  apply(push) {
    return this.messages.reduce((changed, message) => applyEvent(message, push, this.me) || changed, false);
  }

  receive(push) {
    return this.apply(push);
  }
}

/** A message and the answers to it, ascending; the first of `messages` is the one that is answered. */
export class Thread extends Collection {
  constructor(me, roomId, parentId, recent) {
    super(me);
    Object.assign(this, { roomId, parentId, recent, loaded: false, hasAfter: false });
  }

  /** A page of get_thread, asked for when the room's last event was `seq`. */
  addPage({ parent, messages, has_more: more }, seq) {
    const fresh = [parent, ...messages].filter((message) => !this.find(message.message_id));
    this.recent.bring(fresh, seq, this.me);
    this.messages = [...this.messages, ...fresh].sort((a, b) => a.message_id - b.message_id);
    Object.assign(this, { loaded: true, hasAfter: more });
    const missed = more ? [] : (this.recent.messagesAfter(seq) ?? []);
    for (const data of missed) this.#append(data);
  }

  #append(data) {
    if (data.parent_id !== this.parentId || this.find(data.message_id)) return false;
    this.messages.push({ reactions: [], ...data, as_of: data.seq });
    return true;
  }

  receive(push) {
    const { type, data } = push;
    if (!this.loaded || data.room_id !== this.roomId) return false;
    const changed = this.apply(push);
    return (type === 'message' && !this.hasAfter && this.#append(data)) || changed;
  }
}

/** A contiguous part of a room's messages, ascending: at its end, or anywhere in its past. */
export class Timeline extends Collection {
  constructor(me, recent = new Recent()) {
    super(me);
    this.recent = recent;
    this.clear();
  }

  clear() {
    this.messages = [];
    this.byId = new Map();
    this.loaded = false;
    /** There are older messages than the first one here; newer ones than the last one here. */
    this.hasBefore = false;
    this.hasAfter = false;
  }

  find(messageId) {
    return this.byId.get(messageId) ?? null;
  }

  get oldest() {
    return this.messages[0] ?? null;
  }

  get newest() {
    return this.messages.at(-1) ?? null;
  }

  /** Takes a page. `where`: newest, before, after, around. The newest and the one around begin a new part. */
  addPage({ messages, has_more: more, seq }, where) {
    if (where === 'newest' || where === 'around') this.clear();
    this.recent.bring(messages, seq, this.me);
    for (const message of messages) this.insert(message);
    this.loaded = true;
    if (where === 'newest' || where === 'before') this.hasBefore = more;
    if (where === 'around') {
      // Its `has_more` does not say on which side.
      this.hasBefore = (this.oldest?.message_id ?? 1) > 1;
      this.hasAfter = (this.newest?.message_id ?? 0) < seq;
    }
    if (where === 'after') this.hasAfter = more;
    if (!this.hasAfter) this.#catchUp(seq ?? 0);
    if (where === 'before') this.#cutEnd();
    if (where === 'after') this.cutStart();
  }

  /** A page that ends at the room's end is as old as its `seq`; what came since is remembered, or read again. */
  #catchUp(seq) {
    const missed = this.recent.messagesAfter(seq);
    if (missed === null) this.hasAfter = true;
    for (const message of missed ?? []) this.#insertNew(message);
  }

  #insertNew(data) {
    const known = this.byId.get(data.message_id);
    if (!known) return this.insert({ reactions: [], ...data, as_of: data.seq });
    const { reactions, thread_count: threads, as_of: asOf } = known;
    if (asOf <= data.seq) Object.assign(known, data, { reactions, thread_count: threads, as_of: data.seq });
    known.rev = (known.rev ?? 0) + 1;
    return false;
  }

  /** Puts a message at its place; false if it is there already. */
  insert(message) {
    if (this.byId.has(message.message_id)) return false;
    const { messages } = this;
    let at = messages.length;
    while (at > 0 && messages[at - 1].message_id > message.message_id) at -= 1;
    messages.splice(at, 0, message);
    this.byId.set(message.message_id, message);
    return true;
  }

  /** An event of the room, in order. `grow`: the reader is at the end, so old messages may go. Returns whether
   * something that is shown here changed. */
  receive(push, { grow = true } = {}) {
    if (!this.loaded) return false;
    const changed = this.apply(push);
    if (push.type !== 'message' || this.hasAfter) return changed;
    if (!grow && this.messages.length >= WINDOW) {
      this.hasAfter = true; // somebody reads the past; the end is read again when they come back
      return changed;
    }
    return this.#insertNew(push.data) || changed;
  }

  cutStart() {
    const extra = this.messages.length - WINDOW;
    if (extra <= 0) return;
    for (const message of this.messages.splice(0, extra)) this.byId.delete(message.message_id);
    this.hasBefore = true;
  }

  #cutEnd() {
    const extra = this.messages.length - WINDOW;
    if (extra <= 0) return;
    for (const message of this.messages.splice(WINDOW)) this.byId.delete(message.message_id);
    this.hasAfter = true;
  }
}
