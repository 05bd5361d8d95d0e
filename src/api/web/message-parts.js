// The parts of a message on the page: content, reactions, how far it has come; and what a list of messages consists of.

import { iconButton, make } from './dom.js';
import { emojiName } from './emoji.js';
import { explain } from './errors.js';
import { app, me } from './state.js';
import { richText } from './text.js';

const GROUP_MS = 5 * 60_000;
const DELIVERY = { queued: 'Waiting to be sent', sending: 'Sending…', delayed: 'Waiting to be sent again' };

/** What a list shows: days, the line "New", messages, and those on their way; each with a key of its own. */
export function entriesOf(messages, waiting, { marker = null, days = true } = {}) {
  const entries = [];
  let last = null;
  const own = waiting.map((item) => {
    const { user_id, username } = me();
    const { parent_id, content, queued_at } = item;
    const message = { author_id: user_id, username, content, parent_id, created_at: queued_at, reactions: [] };
    return { key: `c${item.client_id}`, message, item };
  });
  let marked = marker === null;
  for (const entry of [...messages.map((message) => ({ key: `m${message.message_id}`, message })), ...own]) {
    const { message } = entry;
    const date = new Date(message.created_at);
    const day = date.toDateString();
    if (days && last?.day !== day) entries.push({ key: `d${day}`, day: date });
    const isNew = !marked && message.seq > marker && message.author_id !== me().user_id;
    if (isNew) entries.push({ key: 'new', line: 'New', kind: 'new-line' });
    marked ||= isNew;
    const same = last?.day === day && last.author === message.author_id && !last.deleted;
    const follows = Boolean(
      same && date - last.date < GROUP_MS && !isNew && !message.is_deleted && !last.reply && !message.parent_id,
    );
    entries.push({ ...entry, date, follows });
    last = { day, author: message.author_id, date, deleted: message.is_deleted, reply: Boolean(message.parent_id) };
  }
  return entries;
}

/** Content as nodes; `room` decides who is meant by a mention. */
export function contentNode(message, className = 'content') {
  const { ids, me: user } = app.model;
  const mentions = message.mentions ?? [];
  const context = { ids, mentions, me: user.user_id };
  return make('div', { class: className, dir: 'auto' }, ...richText(message.content ?? '', context));
}

export function reactionsNode(message, mayReact) {
  const chips = (message.reactions ?? [])
    .filter((reaction) => reaction.count > 0)
    .map(({ emoji, count: number, me: own }) => {
      const name = emojiName(emoji);
      const label = `${name}: ${number}${own ? ', yours too' : ''}`;
      const more = {
        class: 'reaction',
        dataset: { emoji },
        aria: { pressed: String(Boolean(own)), label },
        title: name,
      };
      return make(
        'li',
        {},
        make(
          'button',
          { type: 'button', disabled: !mayReact, ...more },
          make('span', {}, emoji),
          make('span', { class: 'number' }, String(number)),
        ),
      );
    });
  if (chips.length === 0) return null;
  const who = iconButton('users', 'Who reacted', null, { more: { dataset: { act: 'who' } } });
  const add = mayReact ? iconButton('smile', 'Add a reaction', null, { more: { dataset: { act: 'react' } } }) : null;
  return make(
    'ul',
    { class: 'reactions', aria: { label: 'Reactions' } },
    ...chips,
    make('li', { class: 'reaction-extra' }, add, who),
  );
}

export function deliveryLine(item) {
  const line = make('p', { class: 'delivery' });
  if (item.status !== 'failed') {
    line.append(item.error ? `${DELIVERY[item.status]}: ${explain(item.error)}` : (DELIVERY[item.status] ?? ''));
    return line;
  }
  const of = (text, name) =>
    make('button', { class: 'link', type: 'button', dataset: { [name]: item.client_id } }, text);
  line.append(make('span', {}, `Not sent: ${explain(item.error)}`), of('Try again', 'retry'), of('Discard', 'discard'));
  return line;
}
