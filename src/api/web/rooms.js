// Finding, creating and joining rooms; finding people, conversations and groups; inviting.

import { avatar, button, count, icon, make, reconcile } from './dom.js';
import { check, field, form, openDialog } from './dialog.js';
import { explain } from './errors.js';
import { dot } from './sidebar.js';
import { app, call, debounce, me } from './state.js';
import { toast } from './notify.js';

/** A field that asks while somebody types; only the answer to the last question is shown. `ask(query, cursor)` gives
 * {rows, next_cursor}. */
function finder({ label, placeholder, list, ask, create, update, none }) {
  const input = make('input', {
    type: 'text',
    autocomplete: 'off',
    autocapitalize: 'none',
    spellcheck: false,
    placeholder,
  });
  const results = make('ul', { class: 'results', aria: { label: list } });
  const state = make('p', { class: 'empty', role: 'status' });
  let [last, rows, cursor] = [0, [], null];
  const run = async (more = false) => {
    last += 1;
    const mine = last;
    try {
      const answer = await ask(input.value.trim(), more === true ? cursor : null);
      if (mine !== last) return;
      rows = more === true ? [...rows, ...answer.rows] : answer.rows;
      cursor = answer.next_cursor ?? null;
      paint();
    } catch (error) {
      if (mine === last) state.textContent = explain(error);
    }
  };
  const again = button('Show more', { class: 'button small older', hidden: true, on: () => run(true) });
  const paint = () => {
    reconcile(results, rows, (row) => row.room_id ?? row.user_id, create, update);
    state.textContent = rows.length ? '' : none;
    again.hidden = !cursor;
  };
  input.addEventListener('input', debounce(run, 200));
  run();
  return { nodes: [field(label, input), results, state, again], paint, input };
}

// --- rooms ---------------------------------------------------------------------------------------------------------------

async function findRooms(query, cursor) {
  const { rooms, next_cursor } = await call('list_rooms', {
    filter: 'public',
    limit: 50,
    ...(query && { query }),
    ...(cursor && { cursor }),
  });
  return { rows: rooms, next_cursor };
}

const openAs = (room) => (app.model.rooms.has(room.room_id) ? 'Open' : 'Join');

export function openRooms() {
  const create = (room) => {
    const about = [count(room.member_count, 'member'), room.topic || room.description].filter(Boolean).join(' · ');
    const text = make(
      'span',
      { class: 'result' },
      make('span', { class: 'name' }, room.name),
      make('span', { class: 'note' }, about),
    );
    const act = button(openAs(room), {
      class: 'button small',
      aria: { label: `${openAs(room)} ${room.name}` },
      on: async () => {
        await joinRoom(room.room_id);
        dialog.close();
      },
    });
    return make('li', {}, make('span', { class: 'hash' }, icon('hash')), text, act);
  };
  const { nodes } = finder({
    label: 'Find a public room',
    placeholder: 'Name',
    list: 'Public rooms',
    ask: findRooms,
    create,
    none: 'No public room found.',
  });
  const dialog = openDialog(
    'Rooms',
    { id: 'rooms-dialog' },
    ...nodes,
    createForm(() => dialog.close()),
  );
}

function createForm(done) {
  const name = make('input', { maxLength: 100, autocomplete: 'off', required: true });
  const topic = make('input', { maxLength: 250, autocomplete: 'off' });
  const hidden = check('Private', {}, 'only those who are invited find and join it');
  const submit = async () => {
    if (!name.value.trim()) {
      name.focus();
      throw new Error('Please give the room a name.');
    }
    const fields = {
      name: name.value.trim(),
      visibility: hidden.querySelector('input').checked ? 'private' : 'public',
    };
    if (topic.value.trim()) fields.topic = topic.value.trim();
    const { room } = await app.client.createRoom(fields);
    Object.assign(app.model.describe(room), { counted_seq: room.seq, role: 'owner' });
    done();
    app.goTo(room.room_id);
  };
  const node = form(
    { submit, label: 'Create room' },
    make('h3', {}, 'Create a room'),
    field('Name', name),
    field('Topic', topic, '(optional)'),
    hidden,
  );
  node.classList.add('create');
  return node;
}

export async function joinRoom(roomId) {
  if (!app.model.rooms.has(roomId)) {
    const reply = await app.client.join(roomId);
    const room = app.model.describe(reply.room);
    Object.assign(room, { unread: reply.unread_count ?? 0, counted_seq: Math.max(room.counted_seq, reply.seq) });
    Object.assign(room, {
      role: reply.role,
      read_seq: reply.last_read_seq ?? reply.seq,
      online_count: reply.online_count,
    });
    app.model.invitations = app.model.invitations.filter((other) => other.room_id !== roomId);
  }
  app.goTo(roomId);
}

// --- people --------------------------------------------------------------------------------------------------------------

async function findUsers(query, cursor) {
  const { users, next_cursor } = await call('list_users', {
    limit: 50,
    ...(query && { query }),
    ...(cursor && { cursor }),
  });
  for (const user of users) app.model.knows(user);
  return { rows: users.filter((user) => user.user_id !== me().user_id), next_cursor };
}

function personRow(user, ...acts) {
  return make(
    'li',
    {},
    make('span', { class: 'face' }, avatar(user.username, user.user_id), dot(user.user_id)),
    make('span', { class: 'result' }, make('span', { class: 'name' }, user.username)),
    ...acts,
  );
}

/** Somebody to message, or (with several chosen) a group. */
export function openPeople() {
  const chosen = new Map();
  const chips = make('p', { class: 'chips', hidden: true });
  const start = button('Start a group', {
    class: 'button primary',
    hidden: true,
    on: async () => {
      const { conversation_id } = await app.client.createDm([...chosen.keys()]);
      await openConversation(conversation_id);
      dialog.close();
    },
  });
  const paintChosen = () => {
    chips.hidden = chosen.size === 0;
    chips.replaceChildren(
      ...[...chosen].map(([id, name]) =>
        button(name, { class: 'chip', aria: { label: `Take ${name} out` }, on: () => choose(id) }, icon('close')),
      ),
    );
    start.hidden = chosen.size < 2;
    start.textContent = `Start a group of ${chosen.size + 1}`;
    people.paint();
  };
  const choose = (id) => {
    if (!chosen.delete(id)) chosen.set(id, app.model.nameOf(id));
    paintChosen();
  };
  const create = (user) => {
    const { user_id: id, username } = user;
    const add = button('Add', {
      class: 'button small add',
      aria: { label: `Add ${username} to a group` },
      on: () => choose(id),
    });
    const message = button('Message', {
      class: 'button small',
      aria: { label: `Message ${username}` },
      on: async () => {
        await messageUser(id);
        dialog.close();
      },
    });
    return personRow(user, add, message);
  };
  const update = (node, user) => {
    const add = node.querySelector('.add');
    add.textContent = chosen.has(user.user_id) ? 'Added' : 'Add';
    add.setAttribute('aria-pressed', String(chosen.has(user.user_id)));
  };
  const people = finder({
    label: 'Find a user',
    placeholder: 'Username',
    list: 'Users',
    ask: findUsers,
    create,
    update,
    none: 'Nobody found.',
  });
  const dialog = openDialog(
    'Message somebody',
    { id: 'people-dialog' },
    people.nodes[0],
    chips,
    ...people.nodes.slice(1),
    start,
  );
}

async function openConversation(roomId) {
  if (!app.model.rooms.get(roomId)?.name) {
    app.model.room(roomId, 'dm');
    await app.refreshLists();
  }
  app.goTo(roomId);
}

export async function messageUser(userId) {
  const { conversation_id } = await app.client.createDm(userId);
  await openConversation(conversation_id);
}

/** Lets people into a room. */
export function invite(room) {
  const create = (user) => {
    const act = button('Invite', {
      class: 'button small',
      aria: { label: `Invite ${user.username}` },
      on: async () => {
        await call('invite_member', { room_id: room.room_id, user_id: user.user_id });
        Object.assign(act, { textContent: 'Invited', disabled: true });
        toast(`${user.username} is invited.`);
      },
    });
    return personRow(user, act);
  };
  const { nodes } = finder({
    label: 'Find a user',
    placeholder: 'Username',
    list: 'Users',
    ask: findUsers,
    create,
    none: 'Nobody found.',
  });
  openDialog(`Invite to ${room.name}`, {}, ...nodes);
}
