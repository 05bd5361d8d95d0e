// Veza client library: one connection to a Veza server that survives the network. No dependencies, no build step.
//
//   import { VezaClient, signIn } from './veza-client.js';
//
//   const session = await signIn(location.origin, 'login', { username: 'ada', password: 'correct horse' });
//   const client = new VezaClient({ url: location.origin, session });
//   client.on('push:message', (message) => console.log(message.username, message.content));
//   client.on('reset', ({ room_id, messages }) => console.log('history read afresh', room_id, messages.length));
//   client.start();
//   const { room } = await client.join(7);
//   const item = client.send(room.room_id, 'hello');   // kept and repeated until it is acknowledged
//   console.log((await item.done).message_id);
//
// What it takes care of
// - Replies find their command by id; a command that is refused for the moment or meets a lost connection is repeated
//   by `call` until its deadline. `send` has no deadline.
// - Reconnecting with full jitter (a random time up to a bound that doubles), at the server's hint while it drains.
//   Close codes 3500–3999 and the client's own protocol faults end it: state `stopped`.
// - After a reconnect every room is resumed at the last event seen. Every room is delivered in `seq` order, each
//   event once: repetitions are dropped, a gap is filled by a resume before anything behind it is delivered. If the
//   server cannot replay, the newest page of history is read and `reset` says so.
// - Messages wait in an outbox in order, one room apart from the other. Each has a `client_id`, so a repetition after a
//   lost answer gives the first answer. What was under way when the connection broke is settled before the rooms
//   are resumed: an own message is known by its id before it comes back in the replay.
// - Access tokens are renewed before they end, inside the connection.
//
// Options: url (http(s) origin), session {access_token, refresh_token?, expires_at? in ms} or store {load, save, lock}
//   (where several tabs share a session: `lock(fn)` must keep them apart, because a refresh token works once),
//   renew(session) -> session (default: POST /api/v1/auth/refresh), autoSubscribe (default true: every joined room).
// Events, by `on(type, fn)`, which returns a function that removes the handler:
//   state {state, retry_in_ms?, code?, reason?}   connecting | syncing | online | waiting | stopped
//   ready (the data of auth_success) · sync {rooms} (the rows of get_unread, on each connect, before any replay)
//   push:<type> (data of that push; sequenced ones in order) · push {type, data}
//   reset {room_id, reason, seq, messages, has_more} · room_lost {room_id, reason, event}
//   outbox (an item whose status changed) · tokens (session) · signed_out {reason} · draining {reconnect_after_ms}
// A new command of the protocol needs no change here: `client.call(type, data)`, and its pushes arrive as push:<type>.

const BACKOFF_BASE_MS = 500;
const BACKOFF_MAX_MS = 30_000;
/** A connection that lasted as long as this begins the next backoff anew. */
const STABLE_MS = 10_000;
const REPLY_TIMEOUT_MS = 10_000;
const CALL_TIMEOUT_MS = 20_000;
/** How long a resume may wait for the messages under way at the time of the break. */
const DOUBT_TIMEOUT_MS = 3_000;
const RENEW_MARGIN_MS = 5_000;
/** Events that wait behind a gap, per room; beyond, they are dropped and come again with the next resume. */
const WAITING_MAX = 10_000;
const RESUME_ROOMS_MAX = 100;

/** Close codes that say that this client did something wrong: coming back would only repeat it. */
const FAULT_CODES = new Set([1002, 1003, 1007, 1008, 1009, 1010]);
/** A refused resume with one of these is answered by reading the history; with any other the room is gone. */
const RESET_REASONS = new Set(['ahead', 'too_old', 'too_far', 'epoch']);
/** Refusals that promise that nothing happened. */
const NOTHING_HAPPENED = new Set(['RATE_LIMIT_EXCEEDED', 'OVERLOADED', 'DRAINING']);
/** Pushes that carry room_id and seq without being an event of the room. */
const UNSEQUENCED = new Set(['read']);

/** A refusal by the server (`code` as in the protocol), or by this library: NETWORK, TIMEOUT, DISCONNECTED, OFFLINE,
 * SIGNED_OUT, STOPPED. `retryable` says whether the same command may succeed later. */
export class VezaError extends Error {
  constructor({ code, message, retryable = false, retry_after_ms = null, field = null, details = null }) {
    super(message || code);
    this.name = 'VezaError';
    Object.assign(this, { code, retryable, retry_after_ms, field, details });
  }
}

function disconnected() {
  return new VezaError({ code: 'DISCONNECTED', message: 'The connection was lost.', retryable: true });
}

function stopped() {
  return new VezaError({ code: 'STOPPED', message: 'Not connected.' });
}

/** POST of JSON to `path`; the answer's JSON, or a VezaError made of the problem document. */
export async function post(url, path, body, { token = null, fetch = globalThis.fetch, timeoutMs = 15_000 } = {}) {
  const headers = { 'Content-Type': 'application/json' };
  if (token) headers.Authorization = `Bearer ${token}`;
  let response;
  let text;
  try {
    const init = { method: 'POST', headers, body: JSON.stringify(body), cache: 'no-store' };
    response = await fetch(url + path, { ...init, signal: AbortSignal.timeout(timeoutMs) });
    text = await response.text();
  } catch {
    throw new VezaError({ code: 'NETWORK', message: 'The server cannot be reached.', retryable: true });
  }
  let data = {};
  try {
    data = JSON.parse(text);
  } catch {
    // A proxy's error page; the status says enough.
  }
  if (response.ok) return data;
  const { status } = response;
  throw new VezaError({
    ...data,
    code: data.code ?? (status === 401 ? 'UNAUTHENTICATED' : 'NETWORK'),
    message: data.detail ?? data.message ?? data.title ?? `The server answered ${status}.`,
    retryable: data.retryable ?? (status === 429 || status >= 500),
  });
}

function sessionOf(answer) {
  const { user_id, username, access_token, refresh_token, expires_in } = answer;
  return { user_id, username, access_token, refresh_token, expires_at: Date.now() + expires_in * 1000 };
}

/** Signs in with `action` 'login' or 'register' and {username, password, email?}; returns the session. */
export async function signIn(url, action, credentials, options) {
  return sessionOf(await post(url, `/api/v1/auth/${action}`, credentials, options));
}

/** The position in one room: makes one ordered stream without repetition of whatever arrives. */
export class Track {
  /** `seq`: the last event delivered; null: the next one that arrives begins the stream. */
  constructor(roomId, kind, seq = null, epoch = undefined) {
    this.roomId = roomId;
    this.kind = kind;
    this.seq = seq;
    this.epoch = epoch;
    /** Nothing is delivered while the position is being found out. */
    this.held = false;
    /** The head that a replay under way reaches; Infinity: not answered yet; null: no replay. */
    this.target = null;
    /** The history has to be read before anything else is delivered; the reason. */
    this.stale = null;
    this.waiting = new Map();
    this.duplicates = 0;
    this.seenAtTick = null;
  }

  /** Takes one event; returns those that are now in order. */
  accept(push) {
    const { seq } = push.data;
    if (this.seq === null && !this.held) this.seq = seq - 1;
    if ((this.seq !== null && seq <= this.seq) || this.waiting.has(seq)) {
      this.duplicates += 1;
      return [];
    }
    if (this.waiting.size < WAITING_MAX || seq === this.seq + 1) this.waiting.set(seq, push);
    return this.drain();
  }

  /** The position is known to be `seq`: what lies before is dropped; returns what is now in order. */
  moveTo(seq, epoch = this.epoch) {
    this.seq = seq;
    this.epoch = epoch;
    for (const waiting of this.waiting.keys()) if (waiting <= seq) this.waiting.delete(waiting);
    return this.drain();
  }

  drain() {
    const ready = [];
    while (!this.held && this.waiting.has(this.seq + 1)) {
      this.seq += 1;
      ready.push(this.waiting.get(this.seq));
      this.waiting.delete(this.seq);
    }
    if (this.target !== null && this.seq >= this.target) this.target = null;
    return ready;
  }

  /** Something is missing, and nobody is fetching it. */
  get gap() {
    return !this.held && this.target === null && this.waiting.size > 0;
  }
}

class MemoryStore {
  constructor(session) {
    this.session = session;
  }
  load() {
    return this.session;
  }
  save(session) {
    this.session = session;
  }
  lock(work) {
    return work();
  }
}

const ENVIRONMENT = {
  WebSocket: globalThis.WebSocket,
  fetch: (...args) => globalThis.fetch(...args),
  now: () => Date.now(),
  random: () => Math.random(),
  setTimeout: (...args) => globalThis.setTimeout(...args),
  clearTimeout: (timer) => globalThis.clearTimeout(timer),
};

/** Acknowledged or given up. */
const isOver = (item) => item.status === 'sent' || item.status === 'failed';

/** 128 random bits as text. Not crypto.randomUUID: that one is missing where the page comes over plain HTTP. */
function newClientId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

export class VezaClient {
  #env;
  #url;
  #store;
  #renewWith;
  #autoSubscribe;
  #handlers = new Map();
  #status = { state: 'stopped' };
  /** The connection of the moment; every callback of an older one is ignored. */
  #link = null;
  #generation = 0;
  #nextId = 1;
  #attempt = 0;
  #retryTimer = null;
  /** The token of this many a refusal was renewed already: a second refusal is final. */
  #renewedAfterRefusal = false;
  #renewFirst = false;
  #tracks = new Map();
  /** room_id -> messages not yet acknowledged, in order. */
  #outbox = new Map();
  #waiters = new Set();
  /** The user of the connection ({user_id, username, role}), once known. */
  user = null;
  limits = {};

  constructor({ url, session = null, store = null, renew = null, autoSubscribe = true, environment = {} }) {
    this.#env = { ...ENVIRONMENT, ...environment };
    this.#url = url.replace(/\/$/, '');
    this.#store = store ?? new MemoryStore(session);
    this.#renewWith = renew;
    this.#autoSubscribe = autoSubscribe;
  }

  // --- for everybody ---------------------------------------------------------------------------------------------

  on(type, handler) {
    if (!this.#handlers.has(type)) this.#handlers.set(type, new Set());
    this.#handlers.get(type).add(handler);
    return () => this.#handlers.get(type).delete(handler);
  }

  /** {state, retry_in_ms?, code?, reason?}, as the last `state` event. */
  get status() {
    return this.#status;
  }

  start() {
    if (this.#status.state === 'stopped') this.#open();
  }

  /** Ends the connection; unsent messages stay in the outbox for the next `start`. */
  stop() {
    this.#halt({ reason: 'stopped' });
  }

  /** Connects at once instead of waiting; on a live connection, finds out whether it is still alive. */
  nudge() {
    if (this.#status.state === 'waiting') this.#open();
    else if (this.#link?.auth) this.#probe(this.#link);
  }

  /** One command, repeated over retryable refusals and lost connections until `timeoutMs`; resolves to the reply's
   * data. `once`: repeated only if nothing has happened for certain (sending has `send`, which is safe to repeat).
   * `apply(data)` runs before any later frame is looked at. */
  async call(type, data = {}, { timeoutMs = CALL_TIMEOUT_MS, apply = null, once = false } = {}) {
    const deadline = this.#env.now() + timeoutMs;
    for (let attempt = 0; ; attempt += 1) {
      const link = await this.#authenticated(deadline - this.#env.now());
      try {
        const left = Math.max(1, Math.min(REPLY_TIMEOUT_MS, deadline - this.#env.now()));
        return await this.#command(link, type, data, { timeoutMs: left, apply });
      } catch (error) {
        const wait = error.code === 'DISCONNECTED' ? 0 : (error.retry_after_ms ?? this.#jitter(attempt));
        const final = !error.retryable || (once && !NOTHING_HAPPENED.has(error.code));
        if (final || this.#env.now() + wait >= deadline) throw error;
        await this.#sleep(wait);
      }
    }
  }

  /** A command whose answer is of no interest; nothing at all while there is no connection. */
  tell(type, data = {}) {
    const link = this.#link;
    if (link?.synced && !(link.socket.readyState > 1)) link.socket.send(JSON.stringify({ type, data }));
  }

  /** Becomes a member and follows the room. */
  join(roomId) {
    return this.#follow('join_room', roomId);
  }

  /** Follows a room of which the user is a member. */
  subscribe(roomId) {
    return this.#follow('subscribe', roomId);
  }

  /** Follows the room no more; the user stays a member of it. */
  unsubscribe(roomId) {
    return this.call('unsubscribe', { room_id: roomId }, { apply: () => this.#tracks.delete(roomId) });
  }

  /** Rooms (not conversations) that are followed. */
  get followed() {
    return [...this.#tracks.values()].filter((track) => track.kind === 'room').map((track) => track.roomId);
  }

  /** Whether events of this room arrive. */
  follows(roomId) {
    return this.#tracks.has(roomId);
  }

  leave(roomId) {
    return this.call('leave_room', { room_id: roomId }, { apply: () => this.#forget(roomId) });
  }

  createRoom(fields) {
    const data = { client_id: newClientId(), ...fields };
    const apply = ({ room }) => this.#adopt(room.room_id, 'room', room.seq, room.epoch);
    return this.call('create_room', data, { apply });
  }

  /** The conversation with one user, or (with a list of ids) a new group. */
  createDm(whom) {
    const apply = (dm) => this.#adopt(dm.conversation_id, 'dm', dm.duplicate ? null : 0);
    const users = Array.isArray(whom) ? { user_ids: whom } : { user_id: whom };
    return this.call('create_dm', { ...users, client_id: newClientId() }, { apply });
  }

  /** A page of history: {messages, has_more, seq}; `page` is {before_id?, after_id?, around_id?, limit?}. */
  history(roomId, page = {}) {
    const apply = ({ seq }) => {
      const track = this.#tracks.get(roomId);
      if (track?.seq === null && !track.held) this.#deliverAll(track, track.moveTo(seq));
    };
    return this.call('get_history', { room_id: roomId, ...page }, { apply });
  }

  /** Puts a message into the outbox. Returns the item: {client_id, room_id, content, status, error, message_id, done};
   * status is queued, sending, delayed (refused for the moment), sent or failed; `done` is a promise of the
   * acknowledgement. */
  send(roomId, content, { parentId = null, metadata = null, clientId = newClientId() } = {}) {
    const item = { client_id: clientId, room_id: roomId, content, parent_id: parentId, metadata };
    const queued_at = new Date(this.#env.now()).toISOString();
    Object.assign(item, { status: 'queued', error: null, message_id: null, queued_at, tries: 0 });
    Object.assign(item, { busy: false, inDoubt: false, timer: null });
    item.done = new Promise((resolve, reject) => Object.assign(item, { resolve, reject }));
    item.done.catch(() => {}); // whoever does not look at `done` sees the failure in the `outbox` event
    if (!this.#outbox.has(roomId)) this.#outbox.set(roomId, []);
    this.#outbox.get(roomId).push(item);
    this.#emit('outbox', item);
    this.#pump(roomId);
    return item;
  }

  /** Messages of a room that are not acknowledged yet, in order. */
  unsent(roomId) {
    return [...(this.#outbox.get(roomId) ?? [])];
  }

  get unsentCount() {
    return [...this.#outbox.values()].reduce((sum, queue) => sum + queue.length, 0);
  }

  /** Ends the session on the server, then here. */
  async signOut() {
    try {
      if (this.#link?.auth) await this.#command(this.#link, 'logout', {}, { timeoutMs: 3_000 });
    } catch {
      // The token ends by itself; who signs out must not be kept waiting.
    }
    this.#signedOut('signed_out');
  }

  // --- connection ------------------------------------------------------------------------------------------------

  async #open() {
    const { setTimeout } = this.#env;
    this.#env.clearTimeout(this.#retryTimer);
    this.#generation += 1;
    const generation = this.#generation;
    this.#setStatus({ state: 'connecting' });
    let session;
    try {
      session = await this.#session();
    } catch (error) {
      if (generation !== this.#generation) return;
      if (error.retryable) this.#retry({ reason: error.message }, error.retry_after_ms ?? 0);
      else this.#signedOut('session_ended');
      return;
    }
    if (generation !== this.#generation) return;
    const socket = new this.#env.WebSocket(`${this.#url.replace(/^http/, 'ws')}/ws`);
    const link = { socket, pending: new Map(), auth: null, synced: false, refused: null, since: null, timer: null };
    Object.assign(link, { token: session.access_token, heard: this.#env.now(), probing: false, drainHint: null });
    this.#link = link;
    link.timer = setTimeout(() => this.#drop(link, 'no answer'), REPLY_TIMEOUT_MS);
    socket.onopen = () => this.#authenticate(link, session);
    socket.onmessage = ({ data }) => this.#receive(link, data);
    socket.onclose = ({ code, reason }) => this.#closed(link, code, reason);
  }

  async #authenticate(link, session) {
    try {
      await this.#command(link, 'authenticate', { token: session.access_token });
    } catch (error) {
      if (this.#link !== link || error.code === 'DISCONNECTED') return;
      link.refused = error;
      this.#drop(link, error.message);
    }
  }

  /** Gives a connection up without waiting for the other side. */
  #drop(link, reason) {
    if (this.#link !== link) return;
    link.socket.onopen = link.socket.onmessage = link.socket.onclose = null;
    link.socket.close();
    this.#closed(link, 1006, reason);
  }

  #closed(link, code, reason) {
    if (this.#link !== link) return;
    this.#detach(link);
    const refusal = link.refused?.retryable === false ? link.refused.code : null;
    if (code === 3001 || ((code === 3500 || refusal) && !this.#renewedAfterRefusal)) {
      this.#renewedAfterRefusal = code !== 3001;
      this.#renewFirst = true;
      this.#retry({ code, reason }, 0);
    } else if (code === 3500 || code === 3505 || refusal) {
      this.#signedOut(code === 3505 ? 'revoked' : 'session_ended');
    } else if ((code >= 3500 && code <= 3999) || FAULT_CODES.has(code)) {
      this.#halt({ code, reason });
    } else {
      this.#retry({ code, reason }, link.drainHint ?? link.refused?.retry_after_ms ?? 0);
    }
  }

  #detach(link) {
    this.#link = null;
    this.#env.clearTimeout(link.timer);
    if (link.since !== null && this.#env.now() - link.since >= STABLE_MS) this.#attempt = 0;
    for (const pending of link.pending.values()) {
      this.#env.clearTimeout(pending.timer);
      pending.reject(disconnected());
    }
    link.pending.clear();
    for (const track of this.#tracks.values()) track.target = null;
  }

  /** Comes back after `atLeastMs` and a random time on top. */
  #retry(why, atLeastMs) {
    const delay = Math.round(atLeastMs + this.#jitter(this.#attempt));
    this.#attempt += 1;
    this.#setStatus({ state: 'waiting', retry_in_ms: delay, ...why });
    this.#retryTimer = this.#env.setTimeout(() => this.#open(), delay);
  }

  /** Ends it for good, or until `start`. */
  #halt(why) {
    const link = this.#link;
    this.#generation += 1;
    this.#env.clearTimeout(this.#retryTimer);
    this.#setStatus({ state: 'stopped', ...why });
    if (link) {
      this.#detach(link);
      link.socket.onopen = link.socket.onmessage = link.socket.onclose = null;
      link.socket.close(1000);
    }
    for (const waiter of [...this.#waiters]) waiter.fail(stopped());
  }

  #signedOut(reason) {
    this.#store.save(null);
    this.#halt({ reason });
    this.#emit('signed_out', { reason });
  }

  #setStatus(status) {
    this.#status = status;
    this.#emit('state', status);
  }

  // --- frames ----------------------------------------------------------------------------------------------------

  /** One attempt of one command on one connection. */
  #command(link, type, data, { timeoutMs = REPLY_TIMEOUT_MS, apply = null } = {}) {
    return new Promise((resolve, reject) => {
      if (this.#link !== link) {
        reject(disconnected());
        return;
      }
      const id = this.#nextId;
      this.#nextId += 1;
      const timer = this.#env.setTimeout(() => {
        link.pending.delete(id);
        reject(new VezaError({ code: 'TIMEOUT', message: 'The server did not answer in time.', retryable: true }));
      }, timeoutMs);
      link.pending.set(id, { resolve, reject, apply, timer });
      // A socket that is closing takes nothing more: the command ends with the connection, as all that are pending.
      if (!(link.socket.readyState > 1)) link.socket.send(JSON.stringify({ type, id, data }));
    });
  }

  #receive(link, text) {
    if (this.#link !== link) return;
    link.heard = this.#env.now();
    const { type, id, data } = JSON.parse(text);
    const pending = id === undefined ? undefined : link.pending.get(id);
    if (pending) {
      link.pending.delete(id);
      this.#env.clearTimeout(pending.timer);
    }
    if (type === 'error') {
      if (pending) pending.reject(new VezaError(data));
      return;
    }
    if (type === 'auth_success' && !link.auth) this.#welcome(link, data);
    if (pending) {
      pending.apply?.(data);
      pending.resolve(data);
    } else if (id === undefined && type !== 'auth_success') {
      this.#push(link, { type, data });
    }
  }

  #push(link, push) {
    const { type, data } = push;
    if (data.seq !== undefined && data.room_id !== undefined && !UNSEQUENCED.has(type)) {
      this.#sequenced(link, push);
      return;
    }
    if (type === 'draining') {
      link.drainHint = data.reconnect_after_ms ?? 0;
      this.#emit('draining', data);
    } else if (type === 'token_expiring') {
      this.#renewInPlace(link, data.expires_at);
    } else if (type === 'dm_created') {
      this.#adopt(data.conversation_id, 'dm', 0);
    }
    this.#emitPush(push);
    // The same user has left the room on another connection.
    if (type === 'member_left' && data.user_id === this.user?.user_id && this.follows(data.room_id)) {
      this.#lose(data.room_id, type);
    }
  }

  #emitPush(push) {
    this.#emit('push', push);
    this.#emit(`push:${push.type}`, push.data);
  }

  #emit(type, detail) {
    for (const handler of [...(this.#handlers.get(type) ?? [])]) {
      try {
        handler(detail);
      } catch (error) {
        console.error(`veza: a handler of '${type}' failed`, error); // its fault must not lose the frames behind it
      }
    }
  }

  // --- after the handshake ---------------------------------------------------------------------------------------

  #welcome(link, data) {
    link.auth = data;
    link.since = this.#env.now();
    this.#renewedAfterRefusal = false;
    this.user = { user_id: data.user_id, username: data.username, role: data.role };
    this.limits = data.limits ?? {};
    this.#env.clearTimeout(link.timer);
    this.#watch(link, data.ping_interval_ms || 25_000);
    this.#setStatus({ state: 'syncing' });
    this.#emit('ready', data);
    for (const waiter of [...this.#waiters]) waiter.succeed(link);
    this.#sync(link);
  }

  /** Settles what was under way, learns the rooms, resumes them, then lets the outbox flow. */
  async #sync(link) {
    try {
      await this.#settleDoubts(link);
      const { rooms } = await this.#persist(link, 'get_unread', {});
      for (const row of rooms) this.#learn(row);
      for (const track of this.#tracks.values()) {
        if (track.held && !track.stale) this.#release(track, Math.min(...track.waiting.keys()) - 1);
      }
      this.#emit('sync', { rooms });
      await this.#resume(link, [...this.#tracks.values()].filter((track) => track.seq !== null));
    } catch (error) {
      if (error.code !== 'DISCONNECTED') this.#drop(link, error.message);
      return;
    }
    if (this.#link !== link) return;
    link.synced = true;
    this.#setStatus({ state: 'online' });
    for (const track of this.#tracks.values()) if (track.gap) this.#fillGap(link, track);
    for (const roomId of this.#outbox.keys()) this.#pump(roomId);
  }

  /** As `call`, but on this connection only, and as long as it takes. */
  async #persist(link, type, data, options) {
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await this.#command(link, type, data, options);
      } catch (error) {
        if (!error.retryable || error.code === 'DISCONNECTED') throw error;
        await this.#sleep(error.retry_after_ms ?? this.#jitter(attempt));
      }
    }
  }

  /** A row of get_unread: begins to follow what is not followed yet, at its head. */
  #learn(row) {
    const known = this.#tracks.get(row.room_id);
    if (!known && (row.kind === 'dm' || (this.#autoSubscribe && this.#hasPlace()))) {
      this.#tracks.set(row.room_id, new Track(row.room_id, row.kind, row.last_seq, row.epoch));
    } else if (known) {
      known.kind = row.kind;
      if (known.seq === null) this.#release(known, row.last_seq, row.epoch);
    }
  }

  /** Conversations need no subscription; rooms beyond the limit are followed when asked for. */
  #hasPlace() {
    return this.followed.length < (this.limits.max_subscriptions || Infinity);
  }

  #release(track, seq, epoch) {
    track.held = false;
    this.#deliverAll(track, track.moveTo(seq, epoch));
  }

  /** Asks for everything since, in commands of as many rooms as the server takes. */
  async #resume(link, tracks) {
    const size = Math.min(this.limits.max_subscriptions || RESUME_ROOMS_MAX, RESUME_ROOMS_MAX);
    for (let from = 0; from < tracks.length; from += size) {
      const part = tracks.slice(from, from + size);
      for (const track of part) Object.assign(track, { target: Infinity, seenAtTick: null });
      const rooms = part.map(({ roomId, seq, epoch }) => ({ room_id: roomId, last_seq: seq, epoch }));
      const apply = (resumed) => resumed.rooms.forEach((row) => this.#verdict(link, row));
      await this.#persist(link, 'resume', { rooms }, { apply });
    }
  }

  #verdict(link, { room_id: roomId, epoch, recovered, seq, reason = null }) {
    const track = this.#tracks.get(roomId);
    if (!track) return;
    track.target = null;
    if (!recovered && !RESET_REASONS.has(reason)) {
      this.#lose(roomId, reason);
      return;
    }
    track.epoch = epoch;
    if (recovered && track.stale === null) {
      if (track.seq < seq) track.target = seq;
      return;
    }
    track.held = true;
    track.stale ??= reason;
    this.#reset(link, track, seq);
  }

  /** Reads the newest page and goes on behind it. If the connection breaks first, the next one does it again. */
  async #reset(link, track, seq) {
    track.moveTo(Math.max(seq, 0));
    try {
      const page = await this.#persist(link, 'get_history', { room_id: track.roomId, limit: 50 });
      const reason = track.stale;
      track.stale = null;
      const { messages, has_more } = page;
      this.#emit('reset', { room_id: track.roomId, reason, seq: page.seq, messages, has_more });
      this.#release(track, Math.max(track.seq, page.seq));
    } catch (error) {
      if (error.code !== 'DISCONNECTED') this.#lose(track.roomId, error.code);
    }
  }

  // --- rooms -----------------------------------------------------------------------------------------------------

  #sequenced(link, push) {
    const roomId = push.data.room_id;
    let track = this.#tracks.get(roomId);
    if (!track) {
      // Only conversations are live without being asked for. Before get_unread has answered, its position is unknown.
      track = new Track(roomId, 'dm');
      track.held = !link.synced;
      this.#tracks.set(roomId, track);
    }
    this.#deliverAll(track, track.accept(push));
    if (track.gap && link.synced && this.#tracks.get(roomId) === track) this.#fillGap(link, track);
  }

  async #fillGap(link, track) {
    try {
      await this.#resume(link, [track]);
    } catch (error) {
      if (error.code !== 'DISCONNECTED') this.#drop(link, error.message);
    }
  }

  #deliverAll(track, pushes) {
    for (const push of pushes) {
      this.#emitPush(push);
      const reason = this.#endOfMembership(push);
      if (reason) {
        this.#lose(track.roomId, reason, push.data);
        return;
      }
    }
  }

  /** Why this event is the last one of its room that this user gets; null: it is not. */
  #endOfMembership({ type, data }) {
    if (type === 'room_deleted') return type;
    if (data.user_id !== this.user?.user_id) return null;
    if (type === 'member_kicked') return type;
    return type === 'user_sanctioned' && ['kick', 'ban'].includes(data.kind) ? type : null;
  }

  #follow(type, roomId) {
    const track = this.#tracks.get(roomId);
    const data = { room_id: roomId };
    if (track && track.seq !== null) Object.assign(data, { last_seq: track.seq, epoch: track.epoch });
    const apply = (reply) => {
      if (!this.#tracks.has(roomId)) this.#adopt(roomId, 'room', reply.seq, reply.room?.epoch);
      else this.#verdict(this.#link, { room_id: roomId, epoch: reply.room?.epoch, reason: 'epoch', ...reply });
    };
    return this.call(type, data, { apply });
  }

  #adopt(roomId, kind, seq, epoch) {
    if (!this.#tracks.has(roomId)) this.#tracks.set(roomId, new Track(roomId, kind, seq, epoch));
  }

  #forget(roomId) {
    this.#tracks.delete(roomId);
    const unsent = this.unsent(roomId);
    this.#outbox.delete(roomId);
    const gone = { code: 'NOT_A_MEMBER', message: 'You are not in this room any more.' };
    for (const item of unsent) this.#settle(item, 'failed', new VezaError(gone));
  }

  #lose(roomId, reason, event = null) {
    this.#forget(roomId);
    this.#emit('room_lost', { room_id: roomId, reason, ...(event && { event }) });
  }

  // --- outbox ----------------------------------------------------------------------------------------------------

  /** Sends the first message of a room's queue. One at a time: a refused one must not be overtaken. */
  #pump(roomId) {
    const item = this.#outbox.get(roomId)?.[0];
    if (!item || item.busy || item.timer !== null || !this.#link?.synced) return;
    this.#transmit(this.#link, item);
  }

  async #transmit(link, item) {
    const inDoubtBefore = item.inDoubt;
    Object.assign(item, { busy: true, inDoubt: true, status: 'sending' });
    this.#emit('outbox', item);
    const { room_id, content, client_id } = item;
    const dm = this.#tracks.get(room_id)?.kind === 'dm';
    const data = { [dm ? 'conversation_id' : 'room_id']: room_id, content, client_id };
    if (item.parent_id !== null) data.parent_id = item.parent_id;
    if (item.metadata !== null) data.metadata = item.metadata;
    try {
      const apply = (ack) => this.#settle(item, 'sent', ack);
      await this.#command(link, dm ? 'send_dm' : 'send_message', data, { apply });
    } catch (error) {
      if (isOver(item)) return; // the room was left meanwhile
      item.busy = false;
      if (NOTHING_HAPPENED.has(error.code)) item.inDoubt = inDoubtBefore;
      if (error.code === 'DISCONNECTED') this.#shelve(item, 'queued', null);
      else if (error.retryable) this.#later(item, error);
      else this.#settle(item, 'failed', error);
    }
  }

  #shelve(item, status, error) {
    Object.assign(item, { status, error });
    this.#emit('outbox', item);
  }

  #later(item, error) {
    const wait = error.retry_after_ms ?? this.#jitter(item.tries);
    item.tries += 1;
    item.timer = this.#env.setTimeout(() => {
      item.timer = null;
      this.#pump(item.room_id);
    }, wait);
    this.#shelve(item, 'delayed', error);
  }

  #settle(item, status, outcome) {
    if (isOver(item)) return;
    const queue = (this.#outbox.get(item.room_id) ?? []).filter((other) => other !== item);
    if (queue.length === 0) this.#outbox.delete(item.room_id);
    else this.#outbox.set(item.room_id, queue);
    this.#env.clearTimeout(item.timer);
    Object.assign(item, { status, timer: null, busy: false });
    if (status === 'sent') {
      Object.assign(item, { error: null, message_id: outcome.message_id, created_at: outcome.created_at });
      item.resolve(outcome);
    } else {
      item.error = outcome;
      item.reject(outcome);
    }
    this.#emit('outbox', item);
    this.#pump(item.room_id);
  }

  /** Repeats the messages whose answer was lost with the former connection, and waits for it a moment. */
  async #settleDoubts(link) {
    const doubtful = [...this.#outbox.values()].map(([first]) => first).filter((item) => item.inDoubt && !item.busy);
    if (doubtful.length === 0) return;
    const attempts = doubtful.map((item) => {
      this.#env.clearTimeout(item.timer);
      item.timer = null;
      return this.#transmit(link, item);
    });
    await Promise.race([Promise.all(attempts), this.#sleep(DOUBT_TIMEOUT_MS)]);
  }

  // --- tokens ----------------------------------------------------------------------------------------------------

  /** A session whose access token is good for a while. */
  async #session() {
    const session = this.#store.load();
    if (!session) throw new VezaError({ code: 'SIGNED_OUT', message: 'Nobody is signed in.' });
    const endsSoon = session.expires_at && session.expires_at - this.#env.now() < RENEW_MARGIN_MS;
    if (!endsSoon && !this.#renewFirst) return session;
    const fresh = await this.#renew(session.access_token);
    this.#renewFirst = false;
    return fresh;
  }

  /** A refresh token works once, and using it twice ends the session: one tab renews, the others take its result. */
  #renew(usedToken) {
    return this.#store.lock(async () => {
      const session = this.#store.load();
      if (!session) throw new VezaError({ code: 'SIGNED_OUT', message: 'Nobody is signed in.' });
      if (session.access_token !== usedToken) return session;
      const fresh = this.#renewWith ? await this.#renewWith(session) : await this.#refresh(session);
      this.#store.save(fresh);
      this.#emit('tokens', fresh);
      return fresh;
    });
  }

  async #refresh(session) {
    if (!session.refresh_token) throw new VezaError({ code: 'SIGNED_OUT', message: 'The session has ended.' });
    const body = { refresh_token: session.refresh_token };
    const answer = await post(this.#url, '/api/v1/auth/refresh', body, { fetch: this.#env.fetch });
    return { ...session, ...sessionOf({ user_id: session.user_id, username: session.username, ...answer }) };
  }

  /** Some time in the first half of what is left: spread over clients, and not in a circle where tokens are short. */
  async #renewInPlace(link, expiresAt) {
    const end = this.#store.load()?.expires_at ?? Date.parse(expiresAt);
    await this.#sleep((this.#env.random() * Math.max(0, end - this.#env.now())) / 2 || 0);
    if (this.#link !== link) return;
    try {
      const session = await this.#renew(link.token);
      await this.#persist(link, 'refresh_token', { token: session.access_token });
      link.token = session.access_token;
    } catch {
      // The server closes with 3001 when the token ends, and the next connect settles it.
    }
  }

  // --- time ------------------------------------------------------------------------------------------------------

  /** Pings of the protocol are invisible here: a silent connection is asked, and given up if it does not answer. */
  #watch(link, intervalMs) {
    link.timer = this.#env.setTimeout(() => {
      if (this.#link !== link) return;
      const stuck = [...this.#tracks.values()].some((track) => track.target !== null && track.seenAtTick === track.seq);
      if (stuck) {
        this.#drop(link, 'a replay stopped');
        return;
      }
      for (const track of this.#tracks.values()) track.seenAtTick = track.target === null ? null : track.seq;
      if (this.#env.now() - link.heard >= intervalMs) this.#probe(link);
      this.#watch(link, intervalMs);
    }, intervalMs);
  }

  async #probe(link) {
    if (link.probing) return;
    link.probing = true;
    try {
      await this.#command(link, 'ping', {});
    } catch (error) {
      if (error.code === 'TIMEOUT') this.#drop(link, 'no answer');
    }
    link.probing = false;
  }

  /** The connection, as soon as it is authenticated. */
  #authenticated(timeoutMs) {
    if (this.#link?.auth) return Promise.resolve(this.#link);
    if (this.#status.state === 'stopped') return Promise.reject(stopped());
    return new Promise((resolve, reject) => {
      const end = (settle) => (value) => {
        this.#waiters.delete(waiter);
        this.#env.clearTimeout(timer);
        settle(value);
      };
      const waiter = { succeed: end(resolve), fail: end(reject) };
      const offline = new VezaError({ code: 'OFFLINE', message: 'Not connected at the moment.', retryable: true });
      const timer = this.#env.setTimeout(() => waiter.fail(offline), Math.max(0, timeoutMs));
      this.#waiters.add(waiter);
    });
  }

  #jitter(attempt) {
    return this.#env.random() * Math.min(BACKOFF_MAX_MS, BACKOFF_BASE_MS * 2 ** Math.min(attempt, 16));
  }

  #sleep(ms) {
    return new Promise((resolve) => this.#env.setTimeout(resolve, ms));
  }
}
