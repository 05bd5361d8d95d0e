// The user's own matters: status, looks, notifications, who is blocked, sessions, shortcuts.

import { avatar, button, make, when } from './dom.js';
import { check, field, form, openDialog, select } from './dialog.js';
import { toggleBlock } from './members.js';
import { openMenu } from './menu.js';
import { browserNotifications, toast } from './notify.js';
import { statusName } from './sidebar.js';
import { app, call, me, show } from './state.js';

const THEME_KEY = 'veza.theme';
const STATUSES = ['online', 'away', 'busy', 'invisible'];

const own = () => app.model.presence.get(me().user_id) ?? { status: 'online', message: null };

async function setStatus(status, message) {
  await call('update_status', { status, ...(message && { message }) });
  app.model.presence.set(me().user_id, { status, message: message || null, last_seen_at: null });
  localStorage.setItem('veza.status', JSON.stringify({ user_id: me().user_id, status, message: message || null }));
  for (const part of ['lists', 'panel']) show(part);
}

/** What this browser knows of the status until the server says more. */
export function rememberedStatus() {
  const known = JSON.parse(localStorage.getItem('veza.status') ?? 'null');
  if (known?.user_id === me().user_id) app.model.presence.set(known.user_id, { ...known, last_seen_at: null });
}

export function openMe(anchor) {
  const { status, message } = own();
  const statuses = STATUSES.map((name) => ({
    label: statusName(name),
    dot: name,
    checked: name === status,
    action: () => setStatus(name, message),
  }));
  openMenu(
    anchor,
    [
      ...statuses,
      { label: message ? 'Change the status text…' : 'Set a status text…', icon: 'edit', action: openStatus },
      null,
      { label: 'Preferences…', icon: 'settings', action: openPrefs },
      { label: 'Keyboard shortcuts', icon: 'keyboard', hint: '?', action: openShortcuts },
      null,
      { label: 'Sign out', icon: 'leave', action: () => app.client.signOut() },
    ],
    'Your status and settings',
  );
}

export function openStatus() {
  const { status, message } = own();
  const text = make('input', {
    value: message ?? '',
    maxLength: 140,
    autocomplete: 'off',
    placeholder: 'What are you up to?',
  });
  const kind = select(
    {},
    STATUSES.map((name) => [name, statusName(name)]),
    STATUSES.includes(status) ? status : 'online',
  );
  const submit = async () => {
    await setStatus(kind.value, text.value.trim());
    dialog.close();
  };
  const dialog = openDialog(
    'Your status',
    { size: 'small' },
    form({ submit, label: 'Save', cancel: 'Cancel' }, field('Text', text, '(optional)'), field('Show me as', kind)),
  );
}

// --- preferences ---------------------------------------------------------------------------------------------------------

function setTheme(theme) {
  if (theme === 'auto') localStorage.removeItem(THEME_KEY);
  else localStorage.setItem(THEME_KEY, theme);
  if (theme === 'auto') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

function looks() {
  const now = localStorage.getItem(THEME_KEY) ?? 'auto';
  const themes = [
    ['auto', 'As the system'],
    ['light', 'Light'],
    ['dark', 'Dark'],
  ];
  return make(
    'fieldset',
    { class: 'choices row' },
    make('legend', {}, 'Appearance'),
    ...themes.map(([value, label]) => {
      const input = make('input', {
        type: 'radio',
        name: 'theme',
        value,
        checked: value === now,
        on: { change: () => setTheme(value) },
      });
      return make('label', { class: 'check' }, input, make('span', {}, label));
    }),
  );
}

function notifications() {
  if (!browserNotifications.possible) return make('p', { class: 'note' }, 'This browser has no notifications.');
  const box = check(
    'Notify me when Veza is in the background',
    {
      checked: browserNotifications.on,
      on: {
        click: async ({ target }) => {
          const wanted = target.checked;
          target.checked = await browserNotifications.turn(wanted);
          if (wanted && !target.checked)
            toast('The browser does not allow it. You can change that in its settings for this page.');
        },
      },
    },
    'mentions, replies, direct messages and invitations',
  );
  return make('fieldset', {}, make('legend', {}, 'Notifications'), box);
}

async function blocked() {
  const { users, blocks } = await call('list_blocks', {});
  const rows = users ?? blocks ?? [];
  const list = make(
    'ul',
    { class: 'results' },
    ...rows.map((user) => {
      const act = button('Unblock', {
        class: 'button small',
        aria: { label: `Unblock ${user.username}` },
        on: async () => {
          await toggleBlock(user.user_id, true);
          row.remove();
        },
      });
      const row = make(
        'li',
        {},
        avatar(user.username, user.user_id),
        make('span', { class: 'result' }, make('span', { class: 'name' }, user.username)),
        act,
      );
      return row;
    }),
  );
  return make(
    'fieldset',
    {},
    make('legend', {}, 'Blocked people'),
    rows.length ? list : make('p', { class: 'note' }, 'Nobody.'),
  );
}

async function sessions() {
  const { sessions: rows } = await call('list_sessions', {});
  const list = make(
    'ul',
    { class: 'results' },
    ...rows.map((session) => {
      const since = session.last_used_at ?? session.created_at;
      const current = session.current ?? session.is_current;
      const end =
        !current &&
        button('End', {
          class: 'button small',
          on: async () => {
            await call('revoke_session', { session_id: session.session_id });
            row.remove();
          },
        });
      const row = make(
        'li',
        {},
        make(
          'span',
          { class: 'result' },
          make('span', { class: 'name' }, current ? 'This session' : 'Session'),
          since && make('span', { class: 'note' }, `last used ${when(since)}`),
        ),
        end,
      );
      return row;
    }),
  );
  return make('fieldset', {}, make('legend', {}, 'Sessions'), list);
}

async function openPrefs() {
  const late = make('div', {});
  openDialog('Preferences', { id: 'prefs-dialog' }, make('div', { class: 'prefs' }, looks(), notifications(), late));
  for (const part of [blocked, sessions]) late.append(await part());
}

// --- shortcuts -----------------------------------------------------------------------------------------------------------

const SHORTCUTS = [
  [
    'Anywhere',
    [
      ['Ctrl K', 'Go to a room or person'],
      ['Ctrl Shift F', 'Search messages'],
      ['Alt ↑ / Alt ↓', 'Previous, next room'],
      ['Alt Shift ↑ / ↓', 'Previous, next unread room'],
      ['Escape', 'Close what is open'],
      ['?', 'This list'],
    ],
  ],
  [
    'Writing',
    [
      ['Enter', 'Send'],
      ['Shift Enter', 'New line'],
      ['@ and :', 'Complete a name, an emoji'],
      ['↑', 'Edit your last message'],
    ],
  ],
  [
    'On a message',
    [
      ['↑ ↓', 'Previous, next message'],
      ['Enter', 'What can be done with it'],
      ['R', 'Reply in thread'],
      ['E', 'Edit'],
      ['+', 'React'],
      ['P', 'Pin or unpin'],
      ['Del', 'Delete'],
    ],
  ],
];

export function openShortcuts() {
  const groups = SHORTCUTS.map(([title, rows]) =>
    make(
      'section',
      {},
      make('h3', {}, title),
      make(
        'dl',
        { class: 'shortcuts' },
        ...rows.map(([key, text]) => make('div', {}, make('dt', {}, make('kbd', {}, key)), make('dd', {}, text))),
      ),
    ),
  );
  openDialog('Keyboard shortcuts', { id: 'shortcuts-dialog' }, ...groups);
}
