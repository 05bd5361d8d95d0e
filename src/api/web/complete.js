// Completion of mentions and emoji while somebody writes.

import { avatar, make } from './dom.js';
import { app, call, me, pages } from './state.js';
import { searchEmoji } from './emoji.js';

/** Members of a room that are loaded for completion; beyond, the server is asked by the beginning of the name. */
const MEMBERS_MAX = 500;
const SHOWN_MAX = 8;
let lists = 0;

/** Names for completion: those of the room's members, asked for once until somebody comes or goes. */
function membersOf(room) {
  if (room.kind === 'dm') return room.users;
  room.people ??= pages('get_members', { room_id: room.room_id }, 'members', MEMBERS_MAX).then(
    (members) => {
      for (const member of members) app.model.knows(member);
      return members;
    },
    () => {
      room.people = null;
      return [];
    },
  );
  return room.people;
}

async function people(room, query) {
  const starts = (name) => name?.toLowerCase().startsWith(query);
  const members = await membersOf(room);
  const found = members.filter(({ username, user_id }) => starts(username) && user_id !== me().user_id);
  if (found.length === 0 && query && room.member_count > MEMBERS_MAX) {
    const { users } = await call('list_users', { query, limit: SHOWN_MAX });
    found.push(...users);
  }
  const options = found.slice(0, SHOWN_MAX).map(({ user_id, username }) => {
    return { insert: `@${username} `, nodes: [avatar(username, user_id), make('span', { class: 'name' }, username)] };
  });
  if ('room'.startsWith(query) && app.model.can(room, 'mention_all')) {
    const note = make('span', { class: 'note' }, 'everyone here');
    options.push({
      insert: '@room ',
      nodes: [make('span', { class: 'avatar hue-0' }, '@'), make('span', { class: 'name' }, 'room'), note],
    });
  }
  return options.slice(0, SHOWN_MAX);
}

function emoji(query) {
  const found = searchEmoji(query.replaceAll('_', ' '));
  return found.slice(0, SHOWN_MAX).map(([text, name]) => {
    return {
      insert: `${text} `,
      nodes: [make('span', { class: 'emoji-mark' }, text), make('span', { class: 'name' }, name)],
    };
  });
}

/** What is being typed at the cursor: {sign, query, start}. */
function wordAt(area) {
  const before = area.value.slice(0, area.selectionStart);
  const match = /(?:^|[\s(])([@:])([\p{L}\p{N}_.-]*)$/u.exec(before);
  if (!match || area.selectionStart !== area.selectionEnd) return null;
  const [, sign, query] = match;
  if (sign === ':' && query.length < 2) return null;
  return { sign, query: query.toLowerCase(), start: before.length - query.length - 1 };
}

/** A textarea grows with its text, also where the browser has no style for that. Returns what makes it fit. */
export function growing(area) {
  if (CSS.supports('field-sizing', 'content')) return () => {};
  const grow = () => {
    area.style.height = 'auto';
    area.style.height = `${area.scrollHeight}px`;
  };
  area.addEventListener('input', grow);
  requestAnimationFrame(grow);
  return grow;
}

/** Completion on a textarea; `room()` says whose members. Returns {isOpen, close}. */
export function attachCompletion(area, room) {
  lists += 1;
  const id = `completion-${lists}`;
  const list = make('ul', { id, class: 'completion', role: 'listbox', aria: { label: 'Suggestions' }, hidden: true });
  area.setAttribute('aria-autocomplete', 'list');
  area.setAttribute('aria-controls', id);
  let [options, at, word, asked] = [[], 0, null, 0];

  const close = () => {
    asked += 1;
    list.hidden = true;
    area.removeAttribute('aria-activedescendant');
  };
  const mark = (to) => {
    at = (to + options.length) % options.length;
    [...list.children].forEach((node, index) => node.setAttribute('aria-selected', String(index === at)));
    list.children[at].scrollIntoView({ block: 'nearest' });
    area.setAttribute('aria-activedescendant', list.children[at].id);
  };
  const choose = (index) => {
    const end = word.start + 1 + word.query.length;
    area.setRangeText(options[index].insert, word.start, end, 'end');
    close();
    area.focus();
    area.dispatchEvent(new Event('input', { bubbles: true }));
  };
  const update = async () => {
    word = wordAt(area);
    asked += 1;
    const mine = asked;
    const found = word ? await (word.sign === '@' ? people(room(), word.query) : emoji(word.query)) : [];
    if (mine !== asked) return;
    options = found;
    if (options.length === 0) {
      close();
      return;
    }
    list.replaceChildren(
      ...options.map(({ nodes }, index) =>
        make(
          'li',
          {
            id: `${id}-${index}`,
            role: 'option',
            on: { pointerdown: (event) => [event.preventDefault(), choose(index)] },
          },
          ...nodes,
        ),
      ),
    );
    if (!list.isConnected) area.before(list);
    list.hidden = false;
    mark(0);
  };
  const onKey = (event) => {
    if (list.hidden || event.isComposing) return;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) mark(at + step);
    else if ((event.key === 'Enter' && !event.shiftKey) || event.key === 'Tab') choose(at);
    else if (event.key === 'Escape') close();
    else return;
    event.preventDefault();
    event.stopImmediatePropagation();
  };
  area.addEventListener('keydown', onKey);
  area.addEventListener('input', () => update().catch(close));
  area.addEventListener('blur', close);
  return {
    close,
    get isOpen() {
      return !list.hidden;
    },
  };
}
