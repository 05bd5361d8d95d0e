// A clock that stands still until it is told, and a server of sockets that exist only in memory: it keeps rooms as
// sequences and answers what the client library asks; a test bends it with `intercept`.

export class FakeClock {
  constructor() {
    this.time = 1_000_000;
    this.timers = new Map();
    this.next = 1;
  }

  setTimeout = (work, delay) => {
    const id = this.next;
    this.next += 1;
    this.timers.set(id, { at: this.time + (delay ?? 0), work });
    return id;
  };

  clearTimeout = (id) => {
    this.timers.delete(id);
  };

  /** Runs every timer that is due within `ms`, in order. */
  async advance(ms) {
    const end = this.time + ms;
    for (;;) {
      await settled();
      const due = [...this.timers].filter(([, timer]) => timer.at <= end);
      due.sort(([idA, a], [idB, b]) => a.at - b.at || idA - idB);
      if (due.length === 0) break;
      const [id, timer] = due[0];
      this.timers.delete(id);
      this.time = Math.max(this.time, timer.at);
      timer.work();
    }
    this.time = end;
    await settled();
  }
}

/** Every promise that can go on has gone on. */
export async function settled() {
  for (let turn = 0; turn < 5; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

export class FakeServer {
  constructor() {
    this.sockets = [];
    this.rooms = new Map();
    this.log = [];
    this.acks = new Map();
    this.refreshes = 0;
    this.validToken = 'access-0';
    /** (socket, frame) -> true: the test answers in the server's place. */
    this.intercept = () => false;
    const server = this;
    this.WebSocket = class FakeSocket {
      constructor(url) {
        this.url = url;
        this.open = true;
        this.index = server.sockets.push(this) - 1;
        queueMicrotask(() => this.onopen?.());
      }
      send(text) {
        if (this.open) server.receive(this, JSON.parse(text));
      }
      close() {
        this.open = false;
      }
      /** The server's side: one frame. */
      push(type, data, id) {
        this.onmessage?.({ data: JSON.stringify(id === undefined ? { type, data } : { type, id, data }) });
      }
      reply(frame, type, data) {
        if (frame.id !== undefined) this.push(type, data, frame.id);
      }
      refuse(frame, code, more = {}) {
        this.push('error', { code, message: code, retryable: false, ...more }, frame.id);
      }
      /** The connection ends with `code`. */
      end(code, reason = '') {
        this.open = false;
        this.onclose?.({ code, reason });
      }
    };
  }

  get socket() {
    return this.sockets.at(-1);
  }

  fetch = async (url, { body }) => {
    this.refreshes += 1;
    const { refresh_token: used } = JSON.parse(body);
    if (used !== `refresh-${this.refreshes - 1}`) {
      return { ok: false, status: 401, text: async () => '{"code":"INVALID_CREDENTIALS","retryable":false}' };
    }
    this.validToken = `access-${this.refreshes}`;
    const answer = { access_token: this.validToken, refresh_token: `refresh-${this.refreshes}`, expires_in: 900 };
    return { ok: true, status: 200, text: async () => JSON.stringify(answer) };
  };

  room(id, kind = 'room', epoch = 77) {
    this.rooms.set(id, { id, kind, epoch, events: [] });
    return this.rooms.get(id);
  }

  /** Appends a message; `live` says whether the connection gets the push. */
  post(roomId, content, { live = true, author = 2, metadata = null } = {}) {
    const { events } = this.rooms.get(roomId);
    const seq = events.length + 1;
    const ids = { room_id: roomId, message_id: seq, seq, author_id: author };
    const data = { ...ids, username: `u${author}`, content, metadata };
    events.push({ type: 'message', data });
    if (live) this.socket.push('message', data);
    return data;
  }

  /** Appends an event of another kind. */
  change(roomId, type, fields, { live = true } = {}) {
    const { events } = this.rooms.get(roomId);
    const data = { room_id: roomId, seq: events.length + 1, ...fields };
    events.push({ type, data });
    if (live) this.socket.push(type, data);
  }

  on_typing() {}

  /** Frames of one type that the server has seen. */
  seen(type) {
    return this.log.filter((frame) => frame.type === type);
  }

  receive(socket, frame) {
    this.log.push({ ...frame, socket: socket.index });
    if (this.intercept(socket, frame)) return;
    const handler = this[`on_${frame.type}`];
    if (handler) handler.call(this, socket, frame, frame.data);
    else socket.refuse(frame, 'UNKNOWN_TYPE');
  }

  on_authenticate(socket, frame, { token }) {
    if (token === this.validToken) {
      const user = { user_id: 1, username: 'me', role: 'user' };
      socket.reply(frame, 'auth_success', { ...user, ping_interval_ms: 25_000, limits: { max_subscriptions: 3 } });
    } else {
      socket.refuse(frame, 'TOKEN_EXPIRED');
      socket.end(3500);
    }
  }

  on_refresh_token(socket, frame) {
    socket.reply(frame, 'token_refreshed', {});
  }

  on_ping(socket, frame) {
    socket.reply(frame, 'pong', {});
  }

  on_get_unread(socket, frame) {
    const rooms = [...this.rooms.values()].map(({ id, kind, epoch, events }) => {
      return { room_id: id, kind, epoch, last_seq: events.length, last_read_seq: 0, unread_count: events.length };
    });
    socket.reply(frame, 'unread', { rooms });
  }

  on_resume(socket, frame, { rooms }) {
    const verdicts = rooms.map(({ room_id, last_seq, epoch }) => {
      const room = this.rooms.get(room_id);
      if (!room) return { room_id, epoch: 0, recovered: false, seq: 0, reason: 'not_found' };
      const head = room.events.length;
      const reason = epoch !== undefined && epoch !== room.epoch ? 'epoch' : last_seq > head ? 'ahead' : null;
      const verdict = { room_id, epoch: room.epoch, recovered: !reason, seq: head };
      return reason ? { ...verdict, reason } : { ...verdict, replayed: head - last_seq };
    });
    socket.reply(frame, 'resumed', { rooms: verdicts });
    for (const { room_id, recovered, seq, replayed } of verdicts) {
      if (!recovered) continue;
      const missed = this.rooms.get(room_id).events.slice(seq - replayed, seq);
      for (const event of missed) socket.push(event.type, event.data);
    }
  }

  on_get_history(socket, frame, { room_id }) {
    const messages = this.rooms.get(room_id).events.map((event) => event.data);
    socket.reply(frame, 'room_history', { room_id, seq: messages.length, messages, has_more: false });
  }

  on_join_room(socket, frame, { room_id }) {
    const { events, epoch } = this.rooms.get(room_id);
    const room = { room_id, epoch };
    socket.reply(frame, 'room_joined', { room, role: 'member', seq: events.length, recovered: false });
  }

  on_leave_room(socket, frame, { room_id }) {
    socket.reply(frame, 'room_left', { room_id, seq: 0 });
  }

  on_send_message(socket, frame, { room_id, client_id, content }) {
    const known = this.acks.get(client_id);
    const { seq } = known ?? this.post(room_id, content, { live: false, author: 1 });
    const ack = { room_id, message_id: seq, seq, created_at: '2026-01-01T00:00:00.000Z' };
    this.acks.set(client_id, ack);
    socket.reply(frame, 'message_sent', { ...ack, duplicate: Boolean(known) });
    if (!known) socket.push('message', this.rooms.get(room_id).events[seq - 1].data);
  }

  on_send_dm(socket, frame, data) {
    this.on_send_message(socket, frame, { ...data, room_id: data.conversation_id });
  }
}
