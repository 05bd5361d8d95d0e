// The settings of a room: what it is, its roles, its sanctions, its end. Each tab only for those who may.

import { button, make, roving, when } from './dom.js';
import { check, confirmDialog, field, form, openDialog, select } from './dialog.js';
import { PERMISSIONS } from './model.js';
import { roleName } from './members.js';
import { app, call, me } from './state.js';
import { toast } from './notify.js';

/** Tabs: [name, label, fill(panel, room)]. */
function tabs(all, dialog) {
  const bar = make('div', { class: 'tabs', role: 'tablist' });
  const body = make('div', { class: 'tab-panel', role: 'tabpanel', id: 'tab-panel', tabIndex: -1 });
  const open = async ([name, label, fill]) => {
    for (const tab of bar.children) tab.setAttribute('aria-selected', String(tab.id === `tab-${name}`));
    body.setAttribute('aria-labelledby', `tab-${name}`);
    body.replaceChildren(make('p', { class: 'empty' }, 'Loading…'));
    const nodes = await fill(dialog);
    body.replaceChildren(...nodes);
    return label;
  };
  for (const tab of all) {
    const [name, label] = tab;
    bar.append(
      button(label, {
        role: 'tab',
        id: `tab-${name}`,
        tabIndex: -1,
        aria: { selected: 'false', controls: 'tab-panel' },
        on: () => open(tab),
      }),
    );
  }
  bar.firstElementChild.tabIndex = 0;
  roving(bar, '[role="tab"]', { horizontal: true });
  open(all[0]);
  return [bar, body];
}

export function openSettings(room, first = null) {
  const can = (permission) => app.model.can(room, permission);
  const owner = room.role === 'owner' || me().role === 'admin';
  const all = [
    can('manage_room') && ['about', 'About', () => about(room, dialog)],
    (can('manage_roles') || can('manage_members')) && ['roles', 'Roles', () => roles(room, can('manage_roles'))],
    can('moderate') && ['sanctions', 'Sanctions', () => sanctions(room)],
    (owner || can('manage_room')) && ['danger', 'Archive & delete', () => danger(room, owner, dialog)],
  ].filter(Boolean);
  const dialog = openDialog(`Settings of ${room.name}`, { size: 'wide', id: 'settings-dialog' });
  if (first) all.sort((a, b) => (b[0] === first) - (a[0] === first));
  dialog.append(...tabs(all, dialog));
  dialog.querySelector('[role="tab"]')?.focus();
}

export const hasSettings = (room) =>
  room.kind === 'room' &&
  ['manage_room', 'manage_roles', 'moderate', 'manage_members'].some((permission) => app.model.can(room, permission));

// --- about ---------------------------------------------------------------------------------------------------------------

function about(room, dialog) {
  const text = (value, maxLength) => make('input', { value: value ?? '', maxLength, autocomplete: 'off' });
  const number = (value, min) => make('input', { type: 'number', value: value ?? '', min, inputMode: 'numeric' });
  const inputs = {
    name: text(room.name, 100),
    topic: text(room.topic, 250),
    description: make('textarea', { value: room.description ?? '', maxLength: 1000, rows: 3 }),
    visibility: select(
      {},
      [
        ['public', 'Public: everybody finds and joins it'],
        ['private', 'Private: by invitation'],
      ],
      room.visibility,
    ),
    slow_mode_s: number(room.slow_mode_s ?? 0, 0),
    retention_days: number(room.retention_days ?? 0, 0),
    max_members: number(room.max_members, 1),
  };
  const numbers = new Set(['slow_mode_s', 'retention_days', 'max_members']);
  const submit = async () => {
    const data = { room_id: room.room_id };
    for (const [name, input] of Object.entries(inputs)) {
      const value = numbers.has(name) ? (input.value === '' ? null : Number(input.value)) : input.value.trim();
      if (value !== null && value !== (room[name] ?? (numbers.has(name) ? 0 : ''))) data[name] = value;
    }
    if (Object.keys(data).length > 1) {
      const answer = await call('update_room', data);
      if (answer.room) app.model.describe(answer.room);
    }
    toast('Settings saved.');
    dialog.close();
  };
  return [
    form(
      { submit, label: 'Save changes', cancel: 'Cancel' },
      field('Name', inputs.name),
      field('Topic', inputs.topic, 'one line under the name'),
      field('Description', inputs.description),
      field('Who can join', inputs.visibility),
      make(
        'div',
        { class: 'filter-grid' },
        field('Slow mode', inputs.slow_mode_s, 'seconds, 0 = off'),
        field('Keep messages', inputs.retention_days, 'days, 0 = always'),
        field('Members at most', inputs.max_members),
      ),
    ),
  ];
}

// --- roles ---------------------------------------------------------------------------------------------------------------

const BUILT_IN = ['owner', 'moderator', 'member'];

async function roles(room, mayChange) {
  await app.loadRoles(room);
  const list = make('ul', { class: 'role-list' });
  const paint = () =>
    list.replaceChildren(...[...room.roles.values()].map((role) => roleRow(room, role, mayChange, again)));
  const again = async () => {
    await app.loadRoles(room);
    paint();
  };
  paint();
  const add = mayChange && button('New role', { class: 'button', on: () => editRole(room, null, again) });
  return [
    make('p', { class: 'note' }, 'A role says what its members may do. Give it to somebody in the list of members.'),
    list,
    add,
  ].filter(Boolean);
}

function roleRow(room, role, mayChange, again) {
  const built = BUILT_IN.includes(role.name);
  const names =
    role.name === 'owner'
      ? 'Everything'
      : PERMISSIONS.filter(([name]) => role.permissions.includes(name))
          .map(([, label]) => label)
          .join(' · ');
  const acts =
    mayChange && !built && app.model.covers(room, role.name)
      ? make(
          'span',
          { class: 'actions' },
          button('Edit', {
            class: 'button small',
            aria: { label: `Edit ${role.name}` },
            on: () => editRole(room, role, again),
          }),
          button('Delete', {
            class: 'button small',
            aria: { label: `Delete ${role.name}` },
            on: () => dropRole(room, role, again),
          }),
        )
      : null;
  return make(
    'li',
    {},
    make(
      'div',
      { class: 'result' },
      make('span', { class: 'name' }, roleName(role.name), built && make('em', { class: 'note' }, ' built in')),
      make('span', { class: 'note wrap' }, names || 'Nothing'),
    ),
    acts,
  );
}

function editRole(room, role, done) {
  const name = make('input', {
    value: role?.name ?? '',
    maxLength: 32,
    autocomplete: 'off',
    autocapitalize: 'none',
    disabled: Boolean(role),
  });
  const held = role?.permissions ?? ['read', 'send', 'react', 'edit_own', 'delete_own'];
  // Nobody gives what they do not hold themselves.
  const boxes = PERMISSIONS.map(([value, label]) =>
    check(label, {
      value,
      name: 'permission',
      checked: held.includes(value) && app.model.can(room, value),
      disabled: !app.model.can(room, value),
    }),
  );
  const submit = async (node) => {
    const permissions = [...node.querySelectorAll('[name="permission"]:checked')].map((box) => box.value);
    await call(role ? 'update_role' : 'create_role', { room_id: room.room_id, name: name.value.trim(), permissions });
    dialog.close();
    await done();
  };
  const dialog = openDialog(
    role ? `Edit ${role.name}` : 'New role',
    {},
    form(
      { submit, label: role ? 'Save role' : 'Create role', cancel: 'Cancel' },
      field('Name of the role', name),
      make('fieldset', { class: 'permission-list' }, make('legend', {}, 'May'), ...boxes),
    ),
  );
}

function dropRole(room, role, done) {
  const run = async () => {
    await call('delete_role', { room_id: room.room_id, name: role.name });
    await done();
  };
  confirmDialog(`Delete the role ${role.name}?`, 'Whoever has it becomes a plain member.', {
    label: 'Delete role',
    run,
  });
}

// --- sanctions -----------------------------------------------------------------------------------------------------------

async function sanctions(room) {
  const list = make('ul', { class: 'role-list' });
  const state = make('p', { class: 'empty', role: 'status' });
  const more = button('Show more', { class: 'button small older', hidden: true, on: () => load(true) });
  const past = check('Show those that are over', { on: { change: () => load() } });
  let cursor = null;
  const load = async (next = false) => {
    const data = {
      room_id: room.room_id,
      limit: 50,
      ...(!past.querySelector('input').checked && { active: true }),
      ...(next && { cursor }),
    };
    const page = await call('list_sanctions', data);
    cursor = page.next_cursor ?? null;
    const rows = page.sanctions.map((sanction) => sanctionRow(room, sanction, () => load()));
    if (next) list.append(...rows);
    else list.replaceChildren(...rows);
    state.textContent = list.children.length ? '' : 'Nobody is muted or banned here.';
    more.hidden = !cursor;
  };
  await load();
  return [past, list, state, more];
}

const KINDS = { warn: 'Warned', mute: 'Muted', kick: 'Kicked', ban: 'Banned' };

function sanctionRow(room, sanction, again) {
  const {
    sanction_id: id,
    user_id: userId,
    username,
    kind,
    reason,
    expires_at: end,
    created_at: at,
    lifted_at: lifted,
  } = sanction;
  const name = username ?? app.model.nameOf(userId);
  const over = Boolean(lifted) || (end && Date.parse(end) < Date.now());
  const until = over ? 'over' : end ? `until ${when(end)}` : ['mute', 'ban'].includes(kind) ? 'for good' : '';
  const text = [`${KINDS[kind]} ${at ? when(at) : ''}`.trim(), until, reason && `“${reason}”`]
    .filter(Boolean)
    .join(' · ');
  const lift =
    !over &&
    ['mute', 'ban'].includes(kind) &&
    button('Lift', {
      class: 'button small',
      aria: { label: `Lift: ${name}` },
      on: async () => {
        await call('lift_sanction', { sanction_id: id });
        toast(`Lifted for ${name}.`);
        await again();
      },
    });
  return make(
    'li',
    {},
    make('div', { class: 'result' }, make('span', { class: 'name' }, name), make('span', { class: 'note wrap' }, text)),
    lift,
  );
}

// --- the end -------------------------------------------------------------------------------------------------------------

function danger(room, owner, dialog) {
  const { room_id: roomId, archived } = room;
  const archive = make(
    'section',
    { class: 'danger-item' },
    make(
      'div',
      {},
      make('h3', {}, archived ? 'Open the room again' : 'Archive the room'),
      make(
        'p',
        { class: 'note' },
        archived
          ? 'Members can write again.'
          : 'Everything can be read, nothing can be written. It can be opened again.',
      ),
    ),
    button(archived ? 'Open again' : 'Archive', {
      class: 'button',
      on: async () => {
        const answer = await call('update_room', { room_id: roomId, archived: !archived });
        if (answer.room) app.model.describe(answer.room);
        dialog.close();
      },
    }),
  );
  const transfer =
    owner &&
    make(
      'section',
      { class: 'danger-item' },
      make(
        'div',
        {},
        make('h3', {}, 'Hand the room over'),
        make('p', { class: 'note' }, 'Choose the new owner in the list of members: “Make owner…”.'),
      ),
      button('Show members', { class: 'button', on: () => [dialog.close(), app.showMembers()] }),
    );
  const name = make('input', { autocomplete: 'off', placeholder: room.name });
  const run = async () => {
    if (name.value.trim() !== room.name) throw new Error('Please type the name of the room.');
    await call('delete_room', { room_id: roomId });
    dialog.close();
  };
  const drop =
    owner &&
    make(
      'section',
      { class: 'danger-item' },
      make(
        'div',
        {},
        make('h3', {}, 'Delete the room'),
        make('p', { class: 'note' }, 'The room and all its messages are gone, for everybody and for good.'),
      ),
      button('Delete…', {
        class: 'button danger',
        on: () =>
          confirmDialog(
            `Delete ${room.name}?`,
            'This cannot be undone.',
            { label: 'Delete room', run },
            field('Type the name of the room', name),
          ),
      }),
    );
  return [archive, transfer, drop].filter(Boolean);
}
