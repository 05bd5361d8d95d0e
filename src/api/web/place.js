// The open room: where the address leads, what stands above the log, and what can be done with the room.

import { Composer, typingText } from './composer.js';
import { confirmDialog } from './dialog.js';
import { $, count, failed } from './dom.js';
import * as log from './log.js';
import { openMenu } from './menu.js';
import { closePanel, onRoomChanged, openPanel } from './panel.js';
import { invite } from './rooms.js';
import { hasSettings, openSettings } from './settings.js';
import { isHere, loadPresence, statusName } from './sidebar.js';
import { announce, app, call, paints, show } from './state.js';
import { openThread, openThreadId } from './thread.js';

let composer = null;

/** What the address names: {roomId, message?, thread?}. */
export function place() {
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

export async function openPlace() {
  const { roomId, message, thread } = place() ?? {};
  if (roomId === undefined) {
    closeRoom();
    return;
  }
  if (!app.model.rooms.has(roomId)) {
    await offerToJoin(roomId);
    return;
  }
  openRoom(roomId, { focus: !message && !thread, jump: message });
  const room = app.model.open;
  if (thread && room) openThread(room, thread, { focus: false });
}

/** A link to a room that the user is not in. */
async function offerToJoin(roomId) {
  closeRoom();
  const { room } = await call('get_room', { room_id: roomId }).catch((error) => failed(error) ?? {});
  if (!room) return;
  confirmDialog(`Join ${room.name}?`, room.topic || room.description || 'You are not in this room yet.', {
    label: 'Join',
    danger: false,
    run: () => app.joinRoom(roomId),
  });
}

export function closeRoom() {
  onRoomChanged();
  app.model.openId = null;
  $('welcome').hidden = false;
  $('conversation').hidden = true;
  $('chat').dataset.pane = 'list';
  if (location.hash) history.replaceState(null, '', location.pathname);
  show('lists');
}

export function openRoom(roomId, { focus = true, jump = null } = {}) {
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
    // Somebody had read back in it: now it begins at its end again.
    if (room.timeline.hasAfter && !jump) room.timeline.clear();
    $('welcome').hidden = true;
    $('conversation').hidden = false;
    $('chat').dataset.pane = 'room';
    if (!room.name) app.refreshLists();
  }
  for (const part of ['head', 'lists', 'typing']) show(part);
  show('log', { toEnd: another && !jump });
  if (jump) log.jumpTo(jump).catch(failed);
  else if (!room.timeline.loaded) log.loadNewest(room).catch(failed);
  enterRoom(room).catch(failed);
  if (focus && another) (matchMedia('(pointer: coarse)').matches ? $('room-title') : $('draft')).focus();
}

/** Learns the caller's role and rights in a room, once a connection. */
async function enterRoom(room) {
  room.opened_at = performance.now();
  if (room.entered) return;
  room.entered = true;
  const { room_id: roomId } = room;
  if (room.kind === 'dm') {
    await loadPresence(room);
    return;
  }
  await makePlace(roomId);
  const [reply] = await Promise.all([app.client.subscribe(roomId), app.loadRoles(room).catch(() => {})]);
  if (reply.room) app.model.describe(reply.room);
  Object.assign(room, { role: reply.role ?? room.role, online_count: reply.online_count ?? room.online_count });
  for (const part of ['head', 'log', 'panel']) show(part);
}

/** A connection follows so many rooms and no more: the one that was open longest ago gives way. */
async function makePlace(roomId) {
  const { followed, limits } = app.client;
  if (app.client.follows(roomId) || !limits.max_subscriptions || followed.length < limits.max_subscriptions) return;
  const rooms = followed.map((id) => app.model.rooms.get(id)).filter((room) => room && room !== app.model.open);
  const [oldest] = rooms.sort((a, b) => (a.opened_at ?? 0) - (b.opened_at ?? 0));
  if (!oldest) return;
  await app.client.unsubscribe(oldest.room_id);
  oldest.forget();
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
  const facts = [
    count(room.member_count, 'member'),
    online,
    room.visibility === 'private' && 'private',
    room.archived && 'archived',
  ];
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

export function openRoomMenu() {
  const room = app.model.open;
  const dm = room.kind === 'dm';
  const other = dm && !room.isGroup ? room.users[0] : null;
  openMenu(
    $('room-menu'),
    [
      !dm && app.model.can(room, 'invite') && { label: 'Invite people…', icon: 'plus', action: () => invite(room) },
      hasSettings(room) && { label: 'Room settings…', icon: 'settings', action: () => openSettings(room) },
      { label: dm ? 'People' : 'Members', icon: 'users', action: app.showMembers },
      { label: 'Pinned messages', icon: 'pin', action: () => openPanel('pins') },
      { label: 'Go to the beginning', icon: 'up', action: log.toBeginning },
      null,
      other && {
        label: room.is_blocked ? `Unblock ${room.name}` : `Block ${room.name}…`,
        icon: 'ban',
        action: () => app.toggleBlock(other.user_id, room.is_blocked),
      },
      !dm && { label: 'Leave room…', icon: 'leave', danger: true, action: () => leaveRoom(room) },
    ].filter((item) => item !== false),
    room.name,
  );
}

function leaveRoom(room) {
  if (room.role === 'owner') {
    confirmDialog(
      `${room.name} is yours`,
      'An owner cannot leave. Hand the room over to somebody first (Members, “Make owner…”), or delete it.',
      { label: 'Show members', danger: false, run: app.showMembers },
    );
    return;
  }
  const run = async () => {
    await app.client.leave(room.room_id);
    if (room.room_id === app.model.openId) closeRoom();
    app.model.remove(room.room_id);
    show('lists');
    announce(`You have left ${room.name}`);
  };
  const back =
    room.visibility === 'private'
      ? 'You can come back only if somebody invites you again.'
      : 'You can come back whenever you like.';
  confirmDialog(`Leave ${room.name}?`, back, { label: 'Leave room', run });
}

/** The composer of the room, and what paints its parts. */
export function wirePlace() {
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
}
