// The list of rooms, conversations and invitations, and who the user is.

import { $, avatar, button, icon, make, reconcile } from './dom.js';
import { app, call, me, paints, show } from './state.js';

const SHOWN = { online: 'Online', away: 'Away', busy: 'Busy', invisible: 'Invisible', offline: 'Offline' };

/** Whether the status is shown as there. */
export const isHere = (status) => ['online', 'away', 'busy'].includes(status);

export const statusName = (status) => SHOWN[status] ?? 'Offline';

/** A dot for a person's status; hidden from screen readers, which get it in words. */
export function dot(userId) {
  const status = app.model.presence.get(userId)?.status ?? 'offline';
  return make('span', { class: `presence ${status}`, title: statusName(status), aria: { hidden: 'true' } });
}

function roomButton(room) {
  const lock = room.visibility === 'private' ? 'lock' : 'hash';
  const other = room.users[0]?.user_id;
  const mark = room.kind === 'dm' ? avatar(room.name, other ?? 0) : make('span', { class: 'hash' }, icon(lock));
  mark.setAttribute('aria-hidden', 'true');
  const face = make('span', { class: 'face' }, mark, room.kind === 'dm' && !room.isGroup && dot(other));
  const dataset = { room: room.room_id };
  return make(
    'li',
    {},
    make(
      'button',
      { class: 'room-button', type: 'button', dataset },
      face,
      make('span', { class: 'name' }),
      make('span', { class: 'typing-mark', hidden: true, title: 'Somebody is typing' }, '…'),
      make('span', { class: 'badge' }),
    ),
  );
}

function updateRoomButton(item, room, open) {
  const node = item.firstElementChild;
  const [face, name, typing, badge] = node.children;
  const draft = !open && sessionStorage.getItem(`veza.draft.${room.room_id}`);
  name.textContent = room.name;
  const number = room.mentions || room.unread;
  const shown = number > 99 ? '99+' : String(number);
  badge.textContent = number ? (room.mentions ? `@${shown}` : shown) : '';
  badge.hidden = !number;
  badge.classList.toggle('mention', room.mentions > 0);
  typing.hidden = open || room.typers(Date.now()).length === 0;
  node.classList.toggle('unread', room.unread > 0);
  node.classList.toggle('has-draft', Boolean(draft));
  node.classList.toggle('archived', Boolean(room.archived));
  const words = [room.name];
  if (room.unread) words.push(`${room.unread} unread`);
  if (room.mentions) words.push(`${room.mentions} mentioning you`);
  const other = room.kind === 'dm' && !room.isGroup && room.users[0];
  if (other) {
    const status = app.model.presence.get(other.user_id)?.status;
    if (isHere(status)) words.push(statusName(status).toLowerCase());
    face.querySelector('.presence')?.replaceWith(dot(other.user_id));
  }
  node.setAttribute('aria-label', words.join(', '));
  if (open) node.setAttribute('aria-current', 'page');
  else node.removeAttribute('aria-current');
}

function invitation(room) {
  const act = (type, run) => async () => {
    await run();
    app.model.invitations = app.model.invitations.filter((other) => other.room_id !== room.room_id);
    show('lists');
  };
  const join = button('Join', {
    class: 'button primary small',
    aria: { label: `Join ${room.name}` },
    on: act('join', () => app.joinRoom(room.room_id)),
  });
  const decline = button('Decline', {
    class: 'button small',
    aria: { label: `Decline the invitation to ${room.name}` },
    on: act('decline', () => call('leave_room', { room_id: room.room_id })),
  });
  return make(
    'li',
    { class: 'invitation' },
    make('p', { class: 'name' }, `# ${room.name}`),
    make('p', { class: 'actions' }, join, decline),
  );
}

function paintLists() {
  const { model } = app;
  if (!model.me) return;
  for (const [id, rooms] of [
    ['room-list', model.joinedRooms],
    ['dm-list', model.conversations],
  ]) {
    const key = (room) => `${room.room_id}${room.visibility}${room.users.length}`;
    reconcile($(id), rooms, key, roomButton, (item, room) =>
      updateRoomButton(item, room, room.room_id === model.openId),
    );
    $(`${id}-empty`).hidden = rooms.length > 0;
  }
  $('invitations').hidden = model.invitations.length === 0;
  reconcile($('invitation-list'), model.invitations, (room) => room.room_id, invitation);
  const { mentions, unread, open } = model;
  const badge = $('mentions-badge');
  badge.textContent = mentions ? String(mentions) : '';
  badge.hidden = !mentions;
  const number = unread ? `(${mentions ? `@${mentions}, ` : ''}${unread}) ` : '';
  document.title = `${number}${open?.name ? `${open.name} – ` : ''}Veza`;
  paintMe();
}

function paintMe() {
  const { username, user_id } = me();
  const { status = 'online', message } = app.model.presence.get(user_id) ?? {};
  $('me-avatar').replaceChildren(avatar(username, user_id), make('span', { class: `presence ${status}` }));
  $('me').textContent = username ?? '';
  $('me-status').textContent = message || statusName(status);
  $('me-button').setAttribute('aria-label', `${username}, ${statusName(status)}: your status and settings`);
}

/** Conversations whose people are asked for at the start; the others when they are opened. */
const PRESENCE_MAX = 20;

/** Who of a conversation is there; later changes come by themselves. */
export async function loadPresence(dm) {
  const { members } = await call('get_members', { room_id: dm.room_id, limit: 20 });
  // What came by itself meanwhile is newer.
  for (const member of members) if (!app.model.presence.has(member.user_id)) app.model.knows(member);
  for (const part of ['lists', 'head', 'panel']) show(part);
}

export async function loadPresences() {
  const pairs = app.model.conversations.filter((dm) => !dm.isGroup).slice(0, PRESENCE_MAX);
  for (const dm of pairs) if (!app.model.presence.has(dm.users[0]?.user_id)) await loadPresence(dm);
}

export async function loadInvitations() {
  const { rooms } = await call('list_rooms', { filter: 'invited', limit: 100 });
  app.model.invitations = rooms;
  show('lists');
}

/** Arrow keys go through all rooms and conversations. */
export function wireSidebar() {
  paints('lists', paintLists);
  $('sidebar-lists').addEventListener('keydown', (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const current = event.target.closest('.room-button');
    if (!step || !current) return;
    const nodes = [...$('sidebar-lists').querySelectorAll('.room-button')];
    event.preventDefault();
    nodes[nodes.indexOf(current) + step]?.focus();
  });
}
