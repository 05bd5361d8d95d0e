// The panel of a room's members, and what can be done about a person.

import { avatar, button, count, icon, make, reconcile, roving, when } from './dom.js';
import { confirmDialog, field, openDialog, form, select } from './dialog.js';
import { openMenu } from './menu.js';
import { definePanel } from './panel.js';
import { dot, isHere, statusName } from './sidebar.js';
import { app, call, me, show } from './state.js';
import { toast } from './notify.js';

const PAGE = 100;
const DURATIONS = [
  ['600', '10 minutes'],
  ['3600', '1 hour'],
  ['86400', '1 day'],
  ['604800', '1 week'],
  ['2592000', '30 days'],
  ['', 'For good'],
];

let view = null;

export const roleName = (role) => role.charAt(0).toUpperCase() + role.slice(1);

function statusLine(userId, fallback) {
  const { status, message, last_seen_at: seen } = app.model.presence.get(userId) ?? { status: fallback };
  if (isHere(status)) return message || statusName(status);
  return seen ? `Last seen ${when(seen)}` : 'Offline';
}

function row(member) {
  const name = make('span', { class: 'name' }, member.username ?? `user ${member.user_id}`);
  const text = make('span', { class: 'result' }, name, make('span', { class: 'note' }));
  const node = make(
    'button',
    { class: 'person', type: 'button', dataset: { person: member.user_id }, tabIndex: -1 },
    make('span', { class: 'face' }, avatar(member.username, member.user_id), dot(member.user_id)),
    text,
    make('span', { class: 'role' }),
  );
  return make('li', {}, node);
}

function updateRow(item, member) {
  const node = item.firstElementChild;
  node.querySelector('.presence').replaceWith(dot(member.user_id));
  const you = member.user_id === me().user_id ? ' (you)' : '';
  const role = member.role === 'member' || !member.role ? '' : roleName(member.role);
  node.querySelector('.name').textContent = member.username + you;
  node.querySelector('.note').textContent = statusLine(member.user_id, member.status);
  node.querySelector('.role').textContent = role;
  node.setAttribute(
    'aria-label',
    [member.username + you, role, statusLine(member.user_id, member.status)].filter(Boolean).join(', '),
  );
}

function open(body, { roomId }) {
  const room = app.model.rooms.get(roomId);
  const lists = {};
  const sections = ['online', 'offline'].map((name) => {
    lists[name] = make('ul', { class: 'people', aria: { labelledby: `members-${name}` } });
    return make('section', { hidden: true }, make('h3', { id: `members-${name}` }), lists[name]);
  });
  const more = button('Show more', { class: 'button small older', hidden: true, on: () => load(true) });
  const invite = make(
    'p',
    { class: 'panel-actions', hidden: true },
    button('Invite people', { class: 'button wide', on: () => app.invite(app.model.rooms.get(roomId)) }, icon('plus')),
  );
  const filter = make('input', {
    type: 'text',
    placeholder: 'Find a member',
    aria: { label: 'Find a member' },
    autocomplete: 'off',
    on: { input: () => paint() },
  });
  const scroll = make('div', { class: 'panel-scroll' }, ...sections, more);
  roving(scroll, '.person');
  scroll.addEventListener('click', ({ target }) => {
    const node = target.closest('.person');
    if (node) openPerson(Number(node.dataset.person), node);
  });
  body.append(make('div', { class: 'panel-search' }, filter), invite, scroll);
  view = {
    roomId,
    lists,
    more,
    filter,
    invite,
    members: room.kind === 'dm' ? participants(room) : [],
    cursor: null,
    at: 0,
  };
  paint();
  if (room.kind === 'room') load().catch((error) => toast(error.message));
}

function participants(room) {
  return [...room.users, me()].map(({ user_id, username }) => ({
    user_id,
    username,
    status: app.model.presence.get(user_id)?.status,
  }));
}

/** Those who are online come first: the first page is of them, further ones are of everybody. */
async function load(more = false) {
  const mine = view;
  mine.at += 1;
  const { at, roomId } = mine;
  const pages = more ? [{ cursor: mine.cursor }] : [{ online: true }, {}];
  const found = await Promise.all(pages.map((data) => call('get_members', { room_id: roomId, limit: PAGE, ...data })));
  if (view !== mine || mine.at !== at) return;
  const all = [...(more ? mine.members : []), ...found.flatMap((page) => page.members)];
  mine.members = [...new Map(all.map((member) => [member.user_id, member])).values()];
  mine.cursor = found.at(-1).next_cursor ?? null;
  for (const member of mine.members) app.model.knows(member);
  const own = mine.members.find((member) => member.user_id === me().user_id);
  const room = app.model.rooms.get(roomId);
  if (own && room && room.role !== own.role) {
    room.role = own.role;
    show('head');
  }
  paint();
}

function paint() {
  const room = view && app.model.rooms.get(view.roomId);
  if (!room) return;
  const query = view.filter.value.trim().toLowerCase();
  const shown = view.members.filter(({ username }) => !query || username?.toLowerCase().includes(query));
  const here = ({ user_id, status }) => isHere(app.model.presence.get(user_id)?.status ?? status);
  const groups = { online: shown.filter(here), offline: shown.filter((member) => !here(member)) };
  for (const [name, list] of Object.entries(view.lists)) {
    const members = groups[name].sort(
      (a, b) => room.rankOf(b.role) - room.rankOf(a.role) || a.username.localeCompare(b.username),
    );
    const section = list.parentNode;
    section.hidden = members.length === 0;
    section.firstElementChild.textContent = `${name === 'online' ? 'Online' : 'Offline'} · ${members.length}`;
    reconcile(list, members, (member) => member.user_id, row, updateRow);
  }
  const first = view.lists.online.querySelector('.person') ?? view.lists.offline.querySelector('.person');
  if (first && !view.more.parentNode.querySelector('.person[tabindex="0"]')) first.tabIndex = 0;
  view.more.hidden = !view.cursor;
  view.invite.hidden = !(room.kind === 'room' && app.model.can(room, 'invite'));
}

/** Somebody came, went, or is something else now. */
export function onMembers(roomId) {
  if (view?.roomId === roomId && app.model.rooms.get(roomId)?.kind === 'room') load().catch(() => {});
}

definePanel('members', {
  title: ({ roomId }) => (app.model.rooms.get(roomId).kind === 'dm' ? 'People' : 'Members'),
  open,
  paint,
  ofRoom: true,
  trigger: 'show-members',
  close: () => (view = null),
});

// --- one person ----------------------------------------------------------------------------------------------------------

/** The role of somebody in the open room, as far as it is known. */
async function memberOf(room, userId) {
  const known = view?.roomId === room.room_id && view.members.find((member) => member.user_id === userId);
  if (known) return known;
  const all = [];
  let cursor = null;
  do {
    const page = await call('get_members', { room_id: room.room_id, limit: PAGE, ...(cursor && { cursor }) });
    all.push(...page.members);
    cursor = page.next_cursor;
  } while (cursor && all.length < 500 && !all.some((member) => member.user_id === userId));
  return all.find((member) => member.user_id === userId) ?? null;
}

/** The menu of a person: talking, blocking and, for those who may, roles and sanctions. */
export async function openPerson(userId, anchor) {
  const { model } = app;
  const room = model.open;
  const name = model.nameOf(userId);
  const items = [];
  if (userId !== me().user_id) {
    const blocked = model.blocked.has(userId);
    items.push({ label: 'Message', icon: 'chat', action: () => app.messageUser(userId) });
    if (model.open) items.push({ label: 'Mention', icon: 'at', action: () => app.insert(`@${name} `) });
    items.push({ label: blocked ? 'Unblock' : 'Block…', icon: 'ban', action: () => toggleBlock(userId, blocked) });
    if (room?.kind === 'room') items.push(null, ...(await adminItems(room, userId, name)));
  } else {
    items.push({ label: 'Set a status', icon: 'smile', action: () => app.openStatus() });
  }
  openMenu(anchor, items, name);
}

async function adminItems(room, userId, name) {
  const can = (permission) => app.model.can(room, permission);
  if (!['manage_members', 'manage_roles', 'moderate'].some(can)) return [];
  const member = await memberOf(room, userId);
  const role = member?.role ?? null;
  if (role && !app.model.outranks(room, role)) return [];
  const owner = room.role === 'owner' || me().role === 'admin';
  return [
    role &&
      can('manage_roles') && {
        label: 'Change role…',
        icon: 'shield',
        action: () => changeRole(room, userId, name, role),
      },
    role && owner && { label: 'Make owner…', icon: 'key', action: () => transfer(room, userId, name) },
    null,
    role && can('moderate') && { label: 'Warn…', icon: 'flag', action: () => sanction(room, userId, name, 'warn') },
    role && can('moderate') && { label: 'Mute…', icon: 'mute', action: () => sanction(room, userId, name, 'mute') },
    role &&
      can('manage_members') && { label: 'Kick…', icon: 'leave', danger: true, action: () => kick(room, userId, name) },
    can('moderate') && { label: 'Ban…', icon: 'ban', danger: true, action: () => sanction(room, userId, name, 'ban') },
  ].filter((item) => item === null || item);
}

export async function toggleBlock(userId, blocked) {
  const name = app.model.nameOf(userId);
  const apply = async () => {
    await call(blocked ? 'unblock_user' : 'block_user', { user_id: userId });
    if (blocked) app.model.blocked.delete(userId);
    else app.model.blocked.add(userId);
    for (const dm of app.model.conversations)
      if (!dm.isGroup && dm.users[0]?.user_id === userId) dm.is_blocked = !blocked;
    for (const part of ['lists', 'head', 'panel']) show(part);
    toast(blocked ? `${name} can message you again.` : `${name} is blocked.`);
  };
  if (blocked) return apply();
  const text = `${name} cannot send you direct messages any more, and does not see whether you are there.`;
  return confirmDialog(`Block ${name}?`, text, { label: 'Block', run: apply });
}

function kick(room, userId, name) {
  const reason = make('input', { maxLength: 250, autocomplete: 'off' });
  const run = () =>
    call('kick_member', {
      room_id: room.room_id,
      user_id: userId,
      ...(reason.value.trim() && { reason: reason.value.trim() }),
    });
  confirmDialog(
    `Kick ${name}?`,
    'They are removed from the room, and may join again if it is open to them.',
    { label: 'Kick', run },
    field('Reason', reason, '(optional)'),
  );
}

const SANCTIONS = {
  warn: ['Warn', 'They are told so. Nothing else changes.'],
  mute: ['Mute', 'They can read, but neither write nor react until it ends.'],
  ban: ['Ban', 'They are removed from the room and cannot come back until it ends.'],
};

function sanction(room, userId, name, kind) {
  const [word, text] = SANCTIONS[kind];
  const reason = make('input', { maxLength: 250, autocomplete: 'off', required: true });
  const duration = select({}, DURATIONS, '3600');
  const run = async () => {
    if (!reason.value.trim()) {
      reason.setAttribute('aria-invalid', 'true');
      throw new Error('Please give a reason.');
    }
    const data = { room_id: room.room_id, user_id: userId, kind, reason: reason.value.trim() };
    if (kind !== 'warn' && duration.value) data.duration_s = Number(duration.value);
    await call('sanction_user', data, { once: true });
    toast(`Done: ${word.toLowerCase()} for ${name}.`);
  };
  const fields = [field('Reason', reason), kind !== 'warn' && field('For how long', duration)].filter(Boolean);
  confirmDialog(`${word} ${name}?`, text, { label: word, run }, ...fields);
}

async function changeRole(room, userId, name, current) {
  await app.loadRoles(room);
  // Nobody gives what they do not hold themselves.
  const roles = [...room.roles.keys()].filter((role) => role !== 'owner' && app.model.covers(room, role));
  const box = make(
    'div',
    { class: 'choices', role: 'radiogroup', aria: { label: 'Role' } },
    ...roles.map((role) => {
      const input = make('input', { type: 'radio', name: 'role', value: role, checked: role === current });
      const note = `${count(room.permissionsOf(role).length, 'permission')}`;
      return make(
        'label',
        { class: 'check' },
        input,
        make('span', {}, roleName(role), make('em', { class: 'note' }, note)),
      );
    }),
  );
  const submit = async (node) => {
    const { value } = node.elements.role;
    if (value !== current) await call('set_member_role', { room_id: room.room_id, user_id: userId, role: value });
    dialog.close();
  };
  const dialog = openDialog(
    `Role of ${name}`,
    { size: 'small' },
    form({ submit, label: 'Save', cancel: 'Cancel' }, box),
  );
}

function transfer(room, userId, name) {
  const run = () => call('set_member_role', { room_id: room.room_id, user_id: userId, role: 'owner' });
  confirmDialog(
    `Make ${name} the owner?`,
    `The room then belongs to ${name}, and you become a moderator. Only ${name} can undo this.`,
    { label: 'Hand over', run },
  );
}
