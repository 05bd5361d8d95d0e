// The picker of emoji: by group, by name, the ones used last first.

import { make, roving } from './dom.js';
import { GROUPS } from './emoji-data.js';
import { popover } from './menu.js';

const RECENT_KEY = 'veza.emoji';
const USUAL = ['👍', '❤️', '😂', '🎉', '😮', '😢', '🙏', '👀'];
const RECENT_MAX = 16;
const FOUND_MAX = 120;

let parsed = null;

/** [group, [[emoji, name]…]]…, split when first needed. */
function groups() {
  parsed ??= GROUPS.map(([group, text]) => {
    return [
      group,
      text.split('|').map((item) => [item.slice(0, item.indexOf(' ')), item.slice(item.indexOf(' ') + 1)]),
    ];
  });
  return parsed;
}

function recentEmoji() {
  try {
    const recent = JSON.parse(localStorage.getItem(RECENT_KEY)) ?? [];
    return [...new Set([...recent, ...USUAL])].slice(0, RECENT_MAX);
  } catch {
    return USUAL;
  }
}

function usedEmoji(emoji) {
  localStorage.setItem(RECENT_KEY, JSON.stringify([...new Set([emoji, ...recentEmoji()])].slice(0, RECENT_MAX)));
}

export function emojiName(emoji) {
  for (const [, list] of groups()) for (const [text, name] of list) if (text === emoji) return name;
  return emoji;
}

/** [emoji, name] of those whose name has all the words. */
export function searchEmoji(query) {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  const all = groups().flatMap(([, list]) => list);
  const fits = all.filter(([, name]) => words.every((word) => name.includes(word)));
  const starts = ([, name]) => (name.startsWith(words[0]) ? 0 : 1);
  const shortcode = /^:[a-z0-9_+-]{1,32}:$/.test(query.trim()) ? [[query.trim(), query.trim()]] : [];
  return [...shortcode, ...fits.sort((a, b) => starts(a) - starts(b))].slice(0, FOUND_MAX);
}

function section(title, list) {
  const buttons = list.map(([emoji, name]) =>
    make(
      'button',
      {
        class: 'emoji',
        type: 'button',
        tabIndex: -1,
        title: name,
        aria: { label: name },
        dataset: { emoji },
      },
      emoji,
    ),
  );
  return make(
    'div',
    { class: 'emoji-group', role: 'group', aria: { label: title } },
    make('h3', { aria: { hidden: 'true' } }, title),
    make('div', { class: 'emoji-grid' }, ...buttons),
  );
}

/** Opens the picker beside `anchor`; `choose(emoji)` gets what is picked. */
export function pickEmoji(anchor, choose) {
  const search = make('input', { type: 'text', placeholder: 'Search emoji', aria: { label: 'Search emoji' } });
  Object.assign(search, { autocomplete: 'off', spellcheck: false });
  const list = make('div', { class: 'emoji-list' });
  const state = make('p', { class: 'visually-hidden', role: 'status' });
  const node = make(
    'div',
    { class: 'emoji-picker', role: 'dialog', aria: { label: 'Pick an emoji' } },
    search,
    list,
    state,
  );
  const names = new Map(groups().flatMap(([, all]) => all));
  const show = () => {
    const query = search.value.trim();
    const recent = () => ['Used last', recentEmoji().map((emoji) => [emoji, names.get(emoji) ?? emoji])];
    const sections = query ? [['Found', searchEmoji(query)]] : [recent(), ...groups()];
    list.replaceChildren(...sections.map(([title, all]) => section(title, all)));
    list.scrollTop = 0;
    const first = list.querySelector('.emoji');
    if (first) first.tabIndex = 0;
    state.textContent = query ? `${sections[0][1].length} found` : '';
    if (query && !first)
      list.replaceChildren(make('p', { class: 'empty' }, 'Nothing found. A shortcode like :party: works as well.'));
  };
  search.addEventListener('input', show);
  search.addEventListener('keydown', (event) => {
    const first = list.querySelector('.emoji');
    if (!first || !['Enter', 'ArrowDown'].includes(event.key)) return;
    event.preventDefault();
    if (event.key === 'Enter') first.click();
    else first.focus();
  });
  const columns = () => getComputedStyle(list.querySelector('.emoji-grid')).gridTemplateColumns.split(' ').length;
  roving(list, '.emoji', { columns });
  list.addEventListener('click', ({ target }) => {
    const { emoji } = target.closest('.emoji')?.dataset ?? {};
    if (!emoji) return;
    usedEmoji(emoji);
    close();
    choose(emoji);
  });
  show();
  const close = popover(anchor, node);
  search.focus();
}
