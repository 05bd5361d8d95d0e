// Panels that list messages from elsewhere: pinned ones, results of a search, mentions. Each leads to its message.

import { avatar, button, failed, make, roving, when } from './dom.js';
import { field, select } from './dialog.js';
import { contentNode } from './message-parts.js';
import { definePanel } from './panel.js';
import { app, call, debounce, me } from './state.js';
import { Collection } from './timeline.js';
import { highlighted, preview } from './text.js';

const LIMIT = 25;

/** A message as a button that leads to it. */
function card(message, { query = null, room = true, act = null } = {}) {
  const place = app.model.rooms.get(message.room_id);
  const name = message.username ?? 'Somebody who left';
  const head = make(
    'span',
    { class: 'message-head' },
    make('span', { class: 'author' }, name),
    room && place && make('span', { class: 'note' }, place.title),
    make('time', { dateTime: message.created_at }, when(message.created_at)),
  );
  let text = message.is_deleted
    ? make('span', { class: 'content tombstone' }, 'This message was deleted.')
    : contentNode(message, 'content clamp');
  if (query && !message.is_deleted)
    text = make('span', { class: 'content clamp', dir: 'auto' }, ...highlighted(preview(message, 400), query));
  const label = `${name}, ${when(message.created_at)}: ${preview(message, 200)}`;
  const jump = make('button', {
    class: 'card-link',
    type: 'button',
    aria: { label },
    on: { click: () => app.goTo(message.room_id, message.message_id) },
  });
  const body = make('div', { class: 'message-body' }, head, text);
  return make('li', { class: 'result-card' }, avatar(name, message.author_id), body, jump, act?.(message));
}

/** A list with pages; `ask(cursor)` gives {messages, next_cursor}. */
class MessagePanel {
  constructor(body, { ask, empty, options = {} }) {
    Object.assign(this, { ask, empty, options, cursor: null, asked: 0 });
    this.collection = new Collection(me().user_id);
    app.model.collections.add(this.collection);
    this.list = make('ul', { class: 'results-list' });
    this.state = make('p', { class: 'empty', role: 'status' });
    this.more = button('Show more', { class: 'button small older', hidden: true, on: () => this.load(true) });
    roving(this.list, '.card-link');
    body.append(make('div', { class: 'panel-scroll' }, this.list, this.state, this.more));
  }

  async load(more = false) {
    this.asked += 1;
    const mine = this.asked;
    if (!more) this.state.textContent = 'Loading…';
    try {
      const { messages, next_cursor: next } = await this.ask(more ? this.cursor : null);
      if (mine !== this.asked) return;
      for (const message of messages) message.as_of = app.model.rooms.get(message.room_id)?.recent.seq ?? message.seq;
      this.collection.messages = more ? [...this.collection.messages, ...messages] : messages;
      this.cursor = next ?? null;
      this.paint();
    } catch (error) {
      if (mine === this.asked) this.clear('');
      failed(error);
    }
  }

  clear(text) {
    this.asked += 1;
    Object.assign(this.collection, { messages: [] });
    this.cursor = null;
    this.paint();
    this.state.textContent = text;
  }

  paint() {
    const { messages } = this.collection;
    const options = typeof this.options === 'function' ? this.options() : this.options;
    const at = [...this.list.querySelectorAll('.card-link')].indexOf(document.activeElement);
    this.list.replaceChildren(...messages.map((message) => card(message, options)));
    if (at >= 0) this.list.querySelectorAll('.card-link')[at]?.focus();
    this.state.textContent = messages.length ? '' : this.empty;
    this.more.hidden = !this.cursor;
  }

  end() {
    app.model.collections.delete(this.collection);
  }
}

let panel = null;

function end() {
  panel?.end();
  panel = null;
}

// --- pins ----------------------------------------------------------------------------------------------------------------

function unpin(message) {
  if (!app.model.can(app.model.open, 'pin')) return null;
  const { room_id, message_id } = message;
  return button('Unpin', { class: 'button small card-act', on: () => call('unpin_message', { room_id, message_id }) });
}

function openPins(body) {
  const { room_id: roomId } = app.model.open;
  const ask = () => call('get_pinned_messages', { room_id: roomId });
  panel = new MessagePanel(body, {
    ask,
    empty: 'Nothing is pinned here. Pin what everybody should find again.',
    options: { room: false, act: unpin },
  });
  panel.roomId = roomId;
  panel.load();
}

/** A push that changes what is pinned. */
export function onPin({ room_id }) {
  if (panel?.roomId === room_id) panel.load();
}

definePanel('pins', {
  title: () => 'Pinned messages',
  open: openPins,
  close: end,
  ofRoom: true,
  trigger: 'show-pins',
  paint: () => panel.paint(),
});

// --- mentions ------------------------------------------------------------------------------------------------------------

function openMentions(body) {
  const ask = (cursor) => call('get_mentions', { limit: LIMIT, ...(cursor && { cursor }) });
  panel = new MessagePanel(body, { ask, empty: 'Nobody has mentioned you yet.' });
  panel.isInbox = true;
  panel.load();
}

export function onMention() {
  if (panel?.isInbox) panel.load();
}

definePanel('mentions', {
  title: () => 'Mentions',
  open: openMentions,
  close: end,
  trigger: 'show-mentions',
  paint: () => panel.paint(),
});

// --- search --------------------------------------------------------------------------------------------------------------

/** What was searched for last: the panel opens with it. */
let last = { query: '', where: '', author: '', from: '', to: '' };

async function findAuthor(name) {
  const text = name.replace(/^@/, '').trim();
  if (!text) return undefined;
  const known = app.model.ids.get(text.toLowerCase());
  if (known) return known;
  const { users } = await call('list_users', { query: text, limit: 10 });
  const exact = users.find((user) => user.username.toLowerCase() === text.toLowerCase());
  return exact?.user_id ?? null;
}

const startOf = (day, plus = 0) => {
  const date = new Date(`${day}T00:00:00`);
  date.setDate(date.getDate() + plus);
  return date.toISOString();
};

async function search(cursor) {
  const author = await findAuthor(last.author);
  if (author === null) return { messages: [], next_cursor: null };
  const data = { query: last.query, limit: LIMIT };
  if (last.where) data.room_id = Number(last.where);
  if (author) data.author_id = author;
  if (last.from) data.from = startOf(last.from);
  if (last.to) data.to = startOf(last.to, 1);
  if (cursor) data.cursor = cursor;
  return call('search_messages', data);
}

function openSearch(body, { query = null } = {}) {
  if (query !== null) last.query = query;
  const { open: here, joinedRooms, conversations } = app.model;
  const places = [
    ['', 'Everywhere'],
    ...[...joinedRooms, ...conversations].map((room) => [String(room.room_id), room.title]),
  ];
  if (!places.some(([id]) => id === last.where)) last.where = '';
  const input = make('input', {
    type: 'search',
    value: last.query,
    placeholder: 'Words to look for',
    autocomplete: 'off',
    enterKeyHint: 'search',
  });
  const where = select({}, places, last.where);
  const author = make('input', {
    value: last.author,
    placeholder: 'Username',
    autocomplete: 'off',
    autocapitalize: 'none',
    spellcheck: false,
  });
  const from = make('input', { type: 'date', value: last.from });
  const to = make('input', { type: 'date', value: last.to });
  const filters = make(
    'details',
    { class: 'filters' },
    make('summary', {}, 'Filters'),
    make(
      'div',
      { class: 'filter-grid' },
      field('In', where),
      field('From', author),
      field('After', from),
      field('Until', to),
    ),
  );
  filters.open = Boolean(last.where || last.author || last.from || last.to);
  // Without a button to submit it, a form of several fields takes no Enter.
  const go = make('button', { type: 'submit', class: 'visually-hidden', tabIndex: -1 }, 'Search now');
  const node = make('form', { class: 'search-form', role: 'search' }, field('Search messages', input), filters, go);
  body.append(node);
  const hint = here ? `Searches all your rooms and conversations. The last word may be a beginning.` : '';
  panel = new MessagePanel(body, { ask: search, empty: 'Nothing found.', options: () => ({ query: last.query }) });
  const wanted = () => {
    return { query: input.value.trim(), where: where.value, author: author.value, from: from.value, to: to.value };
  };
  const run = () => {
    last = wanted();
    if (last.query) panel.load();
    else panel.clear(hint);
  };
  const soon = debounce(() => input.isConnected && JSON.stringify(wanted()) !== JSON.stringify(last) && run(), 250);
  node.addEventListener('input', soon);
  node.addEventListener('submit', (event) => {
    event.preventDefault();
    run();
  });
  run();
  input.select();
  return input;
}

definePanel('search', {
  title: () => 'Search',
  open: openSearch,
  close: end,
  trigger: 'show-search',
  paint: () => panel.paint(),
});

export function forgetSearch() {
  last = { query: '', where: '', author: '', from: '', to: '' };
}
