// What arrives from the server: events of rooms, presence, notifications; and what becomes of messages on their way.

import { loadMutes } from './composer.js';
import { $, failed } from './dom.js';
import { onMention, onPin } from './lists.js';
import * as log from './log.js';
import { onMembers } from './members.js';
import { onNotification, toast } from './notify.js';
import { openPanelName } from './panel.js';
import { closeRoom, openPlace, openRoom, place } from './place.js';
import { loadInvitations, loadPresences } from './sidebar.js';
import { app, call, debounce, me, pages, show } from './state.js';
import { reloadThread } from './thread.js';

const ENDINGS = {
  revoked: 'Your session was ended from another place.',
  session_ended: 'Your session has ended. Please log in again.',
};

const SEQUENCED = new Set([
  'message',
  'message_edited',
  'message_deleted',
  'reaction_added',
  'reaction_removed',
  'message_pinned',
  'message_unpinned',
  'member_kicked',
  'member_role_changed',
  'user_sanctioned',
  'room_updated',
  'room_deleted',
  'void',
]);

/** `leave(notice)` is called when the session is over. */
export function listen(connection, leave) {
  const on = (type, handler) => connection.on(type, (detail) => connection === app.client && handler(detail));
  on('state', showConnection);
  on('ready', (user) => {
    app.model.me = { user_id: user.user_id, username: user.username, role: user.role };
    app.model.knows(user);
  });
  on('sync', ({ rooms }) => onSync(rooms));
  on('push', (push) => SEQUENCED.has(push.type) && onEvent(push));
  on('push:dm_created', () => app.refreshLists());
  on('push:read', onRead);
  on('push:presence', (data) => {
    app.model.knows(data);
    if (data.room_id === app.model.openId) recountOnline();
    for (const part of ['lists', 'head', 'panel']) show(part);
  });
  on('push:online_count', onOnlineCount);
  on('push:typing', onTyping);
  for (const type of ['member_joined', 'member_left']) on(`push:${type}`, (data) => onMembership(data, type));
  on('push:notification', onNotified);
  on('push:sanction', onSanction);
  on('reset', onReset);
  on('room_lost', onLost);
  on('outbox', onOutbox);
  on('signed_out', ({ reason }) => leave(ENDINGS[reason] ?? ''));
}

const STATES = {
  connecting: 'Connecting…',
  syncing: 'Catching up…',
  online: 'Connected',
  waiting: 'Offline, trying again…',
};
const STOPPED = {
  3501: 'The server ended the connection',
  3502: 'Signing in took too long',
  3503: 'A moderator ended the connection',
  3504: 'Veza is open in too many places',
};

function showConnection({ state, code, reason }) {
  $('connection').dataset.state = state;
  $('connection-text').textContent = STATES[state] ?? STOPPED[code] ?? (reason || 'Not connected');
  $('connect-now').hidden = !['waiting', 'stopped'].includes(state);
  $('connect-now').textContent = state === 'stopped' ? 'Connect' : 'Try now';
  $('offline-banner').hidden = ['online', 'syncing'].includes(state);
}

function onSync(rows) {
  app.model.sync(rows);
  app.refreshLists();
  loadInvitations().catch(() => {});
  loadMutes().catch(() => {});
  show('lists');
  // Rights and who is there may have changed meanwhile.
  for (const room of app.model.rooms.values()) room.entered = false;
  const own = app.model.presence.get(me().user_id);
  app.model.presence.clear();
  if (own) app.model.presence.set(me().user_id, own);
  if (app.model.open) openRoom(app.model.openId, { focus: false });
  else if (place()) openPlace();
  else closeRoom();
}

/** Names of rooms and conversations. A request that comes while one is under way is done after it. */
const lists = { running: null, again: false };

app.refreshLists = () => {
  lists.again = true;
  lists.running ??= (async () => {
    while (lists.again && app.client) {
      lists.again = false;
      await loadLists(app.client).catch((error) => app.client && failed(error));
    }
    lists.running = null;
  })();
  return lists.running;
};

async function loadLists(connection) {
  const [rooms, conversations, blocks] = await Promise.all([
    pages('list_rooms', { filter: 'joined' }, 'rooms'),
    pages('list_dms', {}, 'conversations'),
    call('list_blocks', {}).catch(() => ({})),
  ]);
  if (connection !== app.client) return;
  for (const room of rooms) app.model.describe(room);
  for (const conversation of conversations) app.model.describeDm(conversation);
  app.model.blocked = new Set((blocks.users ?? blocks.blocks ?? []).map((user) => user.user_id));
  show('lists');
  show('head');
  loadPresences().catch(() => {});
}

/** An event of a room, in order, each once. */
function onEvent(push) {
  const { type, data } = push;
  const unknown = !app.model.rooms.has(data.room_id);
  const room = app.model.apply(push, { reading: log.isReading(data.room_id) });
  if (unknown) app.refreshLists();
  if (type === 'message') {
    log.onNewMessage(data, room);
    if (app.model.isMention(data)) onMention();
  }
  if (type === 'message_pinned' || type === 'message_unpinned') onPin(data);
  if (type === 'member_role_changed') onRoleChanged(room, data);
  if (type === 'user_sanctioned' || type === 'member_kicked') onMembership(data, type);
  if (room === app.model.open) for (const part of ['log', 'head']) show(part);
  show('lists');
  show('panel');
}

function onRoleChanged(room, { user_id: userId, role }) {
  onMembers(room.room_id);
  room.people = null;
  if (userId !== me().user_id) return;
  toast(`You are ${role === 'owner' ? 'the owner' : role} of ${room.name} now.`);
  app.loadRoles(room).catch(() => {});
}

function onRead(data) {
  if (app.model.read(data)) {
    const room = app.model.rooms.get(data.room_id);
    if (room.unread > 0) recount();
  }
  show('lists');
  if (data.room_id === app.model.openId) show('typing');
}

/** The exact counts, where this page cannot tell them by itself. */
const recount = debounce(async () => {
  const { rooms } = await call('get_unread');
  for (const row of rooms) if (app.model.rooms.has(row.room_id)) app.model.counts(row);
  show('lists');
}, 300);

function onOnlineCount({ room_id, online_count, member_count }) {
  const room = app.model.rooms.get(room_id);
  if (!room) return;
  Object.assign(room, { online_count, member_count: member_count ?? room.member_count });
  show('head');
}

/** Rooms with many people get the number pushed; of a small one it is asked for. */
const recountOnline = debounce(async () => {
  const room = app.model.open;
  if (room?.kind !== 'room') return;
  const { online_count, member_count } = await call('get_room_stats', { room_id: room.room_id });
  Object.assign(room, { online_count, member_count });
  show('head');
}, 1_000);

function onTyping(data) {
  const room = app.model.typing(data, Date.now());
  if (!room) return;
  show('typing');
  show('lists');
  setTimeout(() => ['typing', 'lists'].forEach((part) => show(part)), 6_100);
}

function onMembership({ room_id: roomId, user_id: userId, username }, type) {
  const room = app.model.rooms.get(roomId);
  if (!room || userId === me().user_id) return;
  app.model.knows({ user_id: userId, username });
  room.people = null;
  if (type === 'member_joined') room.member_count += 1;
  if (type === 'member_left' || type === 'member_kicked') room.member_count = Math.max(0, room.member_count - 1);
  onMembers(roomId);
  show('head');
}

function onNotified(data) {
  if (data.kind === 'invite') loadInvitations().catch(() => {});
  if (data.kind === 'mention' && app.model.mentioned(data)) {
    onMention();
    for (const part of ['lists', 'log']) show(part);
  }
  const known = app.model.names.get(data.from_user_id);
  if (known) {
    onNotification(data, known);
    return;
  }
  call('get_user', { user_id: data.from_user_id }).then(
    (user) => {
      app.model.knows(user);
      onNotification(data, user.username);
    },
    () => onNotification(data, 'Somebody'),
  );
}

const SANCTION_TEXTS = {
  warn: 'A moderator warns you',
  mute: 'A moderator has muted you',
  kick: 'A moderator has removed you',
  ban: 'A moderator has banned you',
};

function onSanction({ room_id: roomId, kind, reason, lifted_at: lifted }) {
  const room = app.model.rooms.get(roomId);
  const name = room?.name;
  if (lifted) {
    if (room && kind === 'mute') loadMutes().catch(() => {});
    toast(`The ${kind} ${name ? `in ${name} ` : ''}is lifted.`);
    return;
  }
  toast(reason ?? '', {
    title: `${SANCTION_TEXTS[kind] ?? 'A word of a moderator'}${name ? ` (${name})` : ''}`,
    kind: 'warning',
  });
  if (kind === 'mute') loadMutes().catch(() => {});
}

function onReset(page) {
  const room = app.model.rooms.get(page.room_id);
  if (!room) return;
  room.recent.events = [];
  room.recent.seq = page.seq;
  room.timeline.addPage(page, 'newest');
  room.counted_seq = Math.max(room.counted_seq, page.seq);
  if (room !== app.model.open) return;
  show('log', { toEnd: true });
  if (openPanelName() === 'thread') reloadThread();
}

const LOST = {
  room_deleted: 'was deleted',
  member_kicked: '– you were removed by a moderator',
  user_sanctioned: '– you were removed by a moderator',
};

function onLost({ room_id: roomId, reason, event }) {
  const room = app.model.rooms.get(roomId);
  const own = event?.actor_id === me().user_id;
  if (roomId === app.model.openId) closeRoom();
  app.model.remove(roomId);
  show('lists');
  if (room?.name && !own && reason !== 'member_left')
    toast(LOST[reason] ? `${room.name} ${LOST[reason]}.` : `You are not in ${room.name} any more.`);
}

function onOutbox(item) {
  const room = app.model.rooms.get(item.room_id);
  if (!room) return;
  const { user_id, username } = me();
  if (item.status === 'sent') {
    // What the acknowledgement says is shown at once; the push of the same message_id adds what the server has found.
    const { room_id, message_id, content, parent_id, created_at } = item;
    const message = {
      room_id,
      message_id,
      seq: message_id,
      author_id: user_id,
      username,
      content,
      parent_id,
      created_at,
    };
    if (room.timeline.loaded && !room.timeline.hasAfter)
      room.timeline.insert({ ...message, reactions: [], mentions: [], as_of: 0 });
  }
  if (item.status === 'failed') {
    room.failed.push(item);
    if (item.error.code === 'SANCTIONED') loadMutes().catch(() => {});
  }
  if (room === app.model.open) show('log');
  if (item.parent_id) show('panel');
}
