// The web client: wires the client library to the model, and the model to what shows it.

import { showEdits, showReactions } from './actions.js';
import { Composer, drafts, loadMutes, typingText } from './composer.js';
import { $, count, failed, onFailure } from './dom.js';
import { explain } from './errors.js';
import { forgetSearch, onMention, onPin } from './lists.js';
import * as log from './log.js';
import { onMembers, openPerson, toggleBlock } from './members.js';
import { openMenu } from './menu.js';
import { Model } from './model.js';
import { onNotification, toast } from './notify.js';
import { closePanel, onRoomChanged, openPanel, openPanelName, togglePanel, wirePanel } from './panel.js';
import { openMe, openShortcuts, openStatus, rememberedStatus } from './prefs.js';
import { invite, joinRoom, messageUser, openPeople, openRooms } from './rooms.js';
import { hasSettings, openSettings } from './settings.js';
import { isHere, loadInvitations, statusName, wireSidebar } from './sidebar.js';
import { sessions, SESSION_KEY, setMode, showSignIn, wireSignIn } from './signin.js';
import { app, announce, call, debounce, me, pages, paints, show } from './state.js';
import { openSwitcher } from './switcher.js';
import { openThread, openThreadId, reloadThread } from './thread.js';
import { confirmDialog } from './dialog.js';
import { VezaClient } from './veza-client.js';

const ENDINGS = {
  revoked: 'Your session was ended from another place.',
  session_ended: 'Your session has ended. Please log in again.',
};
let composer = null;

// --- coming and going ------------------------------------------------------------------------------------------------

/** Back to the door, with nothing of the former user left on the page. */
function leaveChat(notice) {
  closeRoom();
  closePanel({ focus: false });
  app.client?.stop();
  app.client = null;
  drafts.clear();
  for (const key of ['veza.status', 'veza.emoji']) localStorage.removeItem(key);
  forgetSearch();
  app.model = new Model();
  log.clear();
  for (const id of ['room-list', 'dm-list', 'invitation-list', 'toasts', 'me-avatar']) $(id).replaceChildren();
  for (const id of ['room-title', 'room-subtitle', 'me', 'me-status', 'announcer']) $(id).textContent = '';
  $('invitations').hidden = true;
  for (const dialog of document.querySelectorAll('dialog[open]')) dialog.close();
  setMode(false);
  showSignIn(notice);
}

function enter(session) {
  $('sign-in').hidden = true;
  $('chat').hidden = false;
  app.model.me = { user_id: session.user_id, username: session.username };
  app.client = new VezaClient({ url: location.origin, store: sessions });
  rememberedStatus();
  listen(app.client);
  show('lists');
  app.client.start();
}

// --- what arrives ----------------------------------------------------------------------------------------------------

const SEQUENCED = new Set(['message', 'message_edited', 'message_deleted', 'reaction_added', 'reaction_removed', 'message_pinned',
  'message_unpinned', 'member_kicked', 'member_role_changed', 'user_sanctioned', 'room_updated', 'room_deleted', 'void']);

function listen(connection) {
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
  on('signed_out', ({ reason }) => leaveChat(ENDINGS[reason] ?? ''));
}

const STATES = { connecting: 'Connecting…', syncing: 'Catching up…', online: 'Connected', waiting: 'Offline, trying again…' };
const STOPPED = {
  3501: 'The server ended the connection', 3502: 'Signing in took too long', 3503: 'A moderator ended the connection',
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
  for (const room of app.model.rooms.values()) room.entered = false; // rights may have changed meanwhile
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
    pages('list_rooms', { filter: 'joined' }, 'rooms'), pages('list_dms', {}, 'conversations'), call('list_blocks', {}).catch(() => ({}))]);
  if (connection !== app.client) return;
  for (const room of rooms) app.model.describe(room);
  for (const conversation of conversations) app.model.describeDm(conversation);
  app.model.blocked = new Set((blocks.users ?? blocks.blocks ?? []).map((user) => user.user_id));
  show('lists');
  show('head');
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
  const known = app.model.names.get(data.from_user_id);
  if (known) {
    onNotification(data, known);
    return;
  }
  call('get_user', { user_id: data.from_user_id }).then((user) => {
    app.model.knows(user);
    onNotification(data, user.username);
  }, () => onNotification(data, 'Somebody'));
}

const SANCTION_TEXTS = { warn: 'A moderator warns you', mute: 'A moderator has muted you', kick: 'A moderator has removed you', ban: 'A moderator has banned you' };

function onSanction({ room_id: roomId, kind, reason }) {
  const name = app.model.rooms.get(roomId)?.name;
  toast(reason ?? '', { title: `${SANCTION_TEXTS[kind] ?? 'A word of a moderator'}${name ? ` (${name})` : ''}`, kind: 'warning' });
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

const LOST = { room_deleted: 'was deleted', member_kicked: '– you were removed by a moderator', user_sanctioned: '– you were removed by a moderator' };

function onLost({ room_id: roomId, reason, event }) {
  const room = app.model.rooms.get(roomId);
  const own = event?.actor_id === me().user_id;
  if (roomId === app.model.openId) closeRoom();
  app.model.remove(roomId);
  show('lists');
  if (room?.name && !own && reason !== 'member_left') toast(LOST[reason] ? `${room.name} ${LOST[reason]}.` : `You are not in ${room.name} any more.`);
}

function onOutbox(item) {
  const room = app.model.rooms.get(item.room_id);
  if (!room) return;
  const { user_id, username } = me();
  if (item.status === 'sent') {
    // What the acknowledgement says is shown at once; the push of the same message_id adds what the server has found.
    const { room_id, message_id, content, parent_id, created_at } = item;
    const message = { room_id, message_id, seq: message_id, author_id: user_id, username, content, parent_id, created_at };
    if (room.timeline.loaded && !room.timeline.hasAfter) room.timeline.insert({ ...message, reactions: [], mentions: [], as_of: 0 });
  }
  if (item.status === 'failed') {
    room.failed.push(item);
    if (item.error.code === 'SANCTIONED') loadMutes().catch(() => {});
  }
  if (room === app.model.open) show('log');
  if (item.parent_id) show('panel');
}

// --- the open room ---------------------------------------------------------------------------------------------------

/** What the address names: {roomId, message?, thread?}. */
function place() {
  const match = /^#room-(\d+)(?:\/([mt])(\d+))?$/.exec(location.hash);
  if (!match) return null;
  const [, roomId, kind, id] = match;
  return { roomId: Number(roomId), ...(kind && { [kind === 'm' ? 'message' : 'thread']: Number(id) }) };
}

app.goTo = (roomId, messageId = null) => {
  const hash = `#room-${roomId}${messageId ? `/m${messageId}` : ''}`;
  if (location.hash === hash) openPlace();
  else location.hash = hash;
  if (messageId && matchMedia('(max-width: 60rem)').matches) closePanel({ focus: false });
};

/** The address follows what is open, so that a reload comes back to it. */
app.rememberPlace = () => {
  const { openId } = app.model;
  if (openId === null) return;
  const thread = openThreadId();
  history.replaceState(null, '', `#room-${openId}${thread ? `/t${thread}` : ''}`);
};

async function openPlace() {
  const { roomId, message, thread } = place() ?? {};
  if (roomId === undefined) {
    closeRoom();
    return;
  }
  openRoom(roomId, { focus: !message && !thread, jump: message });
  const room = app.model.open;
  if (thread && room) openThread(room, thread, { focus: false });
}

function closeRoom() {
  onRoomChanged();
  app.model.openId = null;
  $('welcome').hidden = false;
  $('conversation').hidden = true;
  $('chat').dataset.pane = 'list';
  if (location.hash) history.replaceState(null, '', location.pathname);
  show('lists');
}

function openRoom(roomId, { focus = true, jump = null } = {}) {
  const room = app.model.rooms.get(roomId);
  if (!room) {
    closeRoom();
    return;
  }
  const another = app.model.openId !== roomId || $('conversation').hidden;
  if (another) {
    onRoomChanged();
    app.model.openId = roomId;
    Object.assign(room, { marker: room.unread > 0 ? room.read_seq : null, marked_unread: room.unread });
    composer.load();
    $('welcome').hidden = true;
    $('conversation').hidden = false;
    $('chat').dataset.pane = 'room';
    if (!room.name) app.refreshLists();
  }
  for (const part of ['head', 'lists', 'log', 'typing']) show(part);
  if (jump) log.jumpTo(jump).catch(failed);
  else if (!room.timeline.loaded) log.loadNewest(room).catch(failed);
  enterRoom(room).catch(failed);
  if (focus && another) (matchMedia('(pointer: coarse)').matches ? $('room-title') : $('draft')).focus();
}

/** Learns the caller's role and rights in a room, once a connection. */
async function enterRoom(room) {
  if (room.kind === 'dm' || room.entered) return;
  room.entered = true;
  const { room_id: roomId } = room;
  const [reply] = await Promise.all([app.client.subscribe(roomId), app.loadRoles(room).catch(() => {})]);
  if (reply.room) app.model.describe(reply.room);
  Object.assign(room, { role: reply.role ?? room.role, online_count: reply.online_count ?? room.online_count });
  for (const part of ['head', 'log', 'panel']) show(part);
}

app.loadRoles = async (room) => {
  const { roles } = await call('list_roles', { room_id: room.room_id });
  room.roles = new Map(roles.map((role) => [role.name, role]));
  for (const part of ['head', 'log', 'panel']) show(part);
};

function subtitle(room) {
  if (room.kind === 'dm') {
    if (room.isGroup) return count(room.users.length + 1, 'person', 'people');
    const { status, message } = app.model.presence.get(room.users[0]?.user_id) ?? {};
    return [isHere(status) ? statusName(status) : 'Offline', isHere(status) && message].filter(Boolean).join(' · ');
  }
  const online = room.online_count > 0 ? `${room.online_count.toLocaleString()} online` : '';
  const facts = [count(room.member_count, 'member'), online, room.visibility === 'private' && 'private', room.archived && 'archived'];
  return [...facts, room.topic].filter(Boolean).join(' · ');
}

function paintHead() {
  const room = app.model.open;
  if (!room) return;
  $('room-title').textContent = room.title;
  $('room-subtitle').textContent = subtitle(room);
  $('room-subtitle').title = room.description || '';
  composer.show(room.kind === 'dm' ? `Message ${room.name}` : `Message #${room.name}`);
}

function paintTyping() {
  const room = app.model.open;
  if (!room) return;
  const text = typingText(room) || log.seenText(room);
  if ($('typing').textContent !== text) $('typing').textContent = text;
}

// --- the menu of a room ----------------------------------------------------------------------------------------------

function openRoomMenu() {
  const room = app.model.open;
  const dm = room.kind === 'dm';
  const other = dm && !room.isGroup ? room.users[0] : null;
  openMenu($('room-menu'), [
    !dm && app.model.can(room, 'invite') && { label: 'Invite people…', icon: 'plus', action: () => invite(room) },
    hasSettings(room) && { label: 'Room settings…', icon: 'settings', action: () => openSettings(room) },
    { label: dm ? 'People' : 'Members', icon: 'users', action: app.showMembers },
    { label: 'Pinned messages', icon: 'pin', action: () => openPanel('pins') },
    { label: 'Go to the beginning', icon: 'up', action: log.toBeginning }, null,
    other && { label: room.is_blocked ? `Unblock ${room.name}` : `Block ${room.name}…`, icon: 'ban', action: () => app.toggleBlock(other.user_id, room.is_blocked) },
    !dm && { label: 'Leave room…', icon: 'leave', danger: true, action: () => leaveRoom(room) },
  ].filter((item) => item !== false), room.name);
}

function leaveRoom(room) {
  if (room.role === 'owner') {
    confirmDialog(`${room.name} is yours`, 'An owner cannot leave. Hand the room over to somebody first (Members, “Make owner…”), or delete it.',
      { label: 'Show members', danger: false, run: app.showMembers });
    return;
  }
  const run = async () => {
    await app.client.leave(room.room_id);
    if (room.room_id === app.model.openId) closeRoom();
    app.model.remove(room.room_id);
    show('lists');
    announce(`You have left ${room.name}`);
  };
  const back = room.visibility === 'private' ? 'You can come back only if somebody invites you again.' : 'You can come back whenever you like.';
  confirmDialog(`Leave ${room.name}?`, back, { label: 'Leave room', run });
}

// --- wiring ----------------------------------------------------------------------------------------------------------

function onClick(id, handler) {
  $(id).addEventListener('click', async () => {
    try {
      await handler();
    } catch (error) {
      failed(error);
    }
  });
}

Object.assign(app, {
  joinRoom, messageUser, invite, openThread, openPerson, openStatus, showEdits, showReactions, toggleBlock,
  showMembers: () => openPanel('members', { roomId: app.model.openId }),
  showInvitations: () => $('invitation-list').querySelector('button')?.focus(),
  insert(text) {
    const area = $('draft');
    area.setRangeText(text, area.selectionStart, area.selectionEnd, 'end');
    area.focus();
  },
});

function wire() {
  onFailure((error) => {
    if (!error.code) console.error(error);
    toast(explain(error), { kind: 'warning' });
  });
  wireSignIn(enter);
  wireSidebar();
  wirePanel(onClick);
  log.wireLog(onClick);
  const send = (content) => {
    const { openId } = app.model;
    if (app.model.open.timeline.hasAfter) log.toLatest().catch(failed);
    app.client.send(openId, content);
    show('log', { toEnd: true });
  };
  composer = new Composer($('composer'), { room: () => app.model.open, onSend: send, editLast: log.editLast });
  paints('head', paintHead);
  paints('log', (options) => app.model.open && log.paintLog(options));
  paints('typing', paintTyping);
  onClick('connect-now', () => (app.client.status.state === 'stopped' ? app.client.start() : app.client.nudge()));
  for (const id of ['open-rooms', 'open-rooms-empty', 'welcome-rooms']) onClick(id, openRooms);
  for (const id of ['open-people', 'open-people-empty', 'welcome-people']) onClick(id, openPeople);
  onClick('me-button', () => openMe($('me-button')));
  onClick('room-menu', openRoomMenu);
  onClick('show-members', () => togglePanel('members', { roomId: app.model.openId }));
  onClick('show-pins', () => togglePanel('pins'));
  for (const id of ['show-search', 'open-search']) onClick(id, () => togglePanel('search'));
  onClick('show-mentions', () => togglePanel('mentions'));
  onClick('open-switcher', openSwitcher);
  onClick('back', () => {
    const button = document.querySelector('.room-button[aria-current]');
    closeRoom();
    button?.focus();
  });
  for (const id of ['room-list', 'dm-list']) {
    $(id).addEventListener('click', ({ target }) => {
      const { room } = target.closest('.room-button')?.dataset ?? {};
      if (room) app.goTo(Number(room));
    });
  }
  wireKeys();
  wireWindow();
}

/** The room before or after the open one in the list. */
function step(by, unreadOnly) {
  const all = [...app.model.joinedRooms, ...app.model.conversations];
  const at = all.indexOf(app.model.open);
  const rooms = unreadOnly ? all.filter((room) => room.unread > 0 || room === app.model.open) : all;
  const from = unreadOnly ? rooms.indexOf(app.model.open) : at;
  if (rooms.length) app.goTo(rooms[(from + by + rooms.length) % rooms.length].room_id);
}

function wireKeys() {
  document.addEventListener('keydown', (event) => {
    if (!app.client || document.querySelector('dialog[open]') || event.isComposing) return;
    const control = event.ctrlKey || event.metaKey;
    const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
    const key = event.key.toLowerCase();
    const by = { arrowup: -1, arrowdown: 1 }[key];
    let act = null;
    if (control && !event.shiftKey && key === 'k') act = openSwitcher;
    else if (control && event.shiftKey && key === 'f') act = () => openPanel('search');
    else if (event.altKey && by) act = () => step(by, event.shiftKey);
    else if (key === '?' && !typing && !control) act = openShortcuts;
    if (!act) return;
    event.preventDefault();
    act();
  });
}

function wireWindow() {
  window.addEventListener('hashchange', () => {
    if (app.client) openPlace();
  });
  window.addEventListener('online', () => app.client?.nudge());
  document.addEventListener('visibilitychange', () => {
    if (document.hidden || !app.client) return;
    app.client.nudge();
    log.read.soon();
  });
  window.addEventListener('beforeunload', (event) => {
    if (app.client?.unsentCount) event.preventDefault();
  });
  window.addEventListener('storage', ({ key, newValue }) => {
    if (key === SESSION_KEY && !newValue && app.client) leaveChat('');
  });
}

wire();
const session = sessions.load();
if (session) enter(session);
else showSignIn();
