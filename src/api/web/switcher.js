// Going to a room or a person by typing the beginning of a name.

import { avatar, icon, make, roving } from './dom.js';
import { openDialog } from './dialog.js';
import { app } from './state.js';

const SHOWN_MAX = 12;

function matches(query) {
  const { joinedRooms, conversations } = app.model;
  const rank = (room) => {
    const at = room.name.toLowerCase().indexOf(query);
    return at < 0 ? null : (at > 0 ? 1 : 0) - (room.unread ? 0.5 : 0);
  };
  const ranked = [...joinedRooms, ...conversations]
    .map((room) => [rank(room), room])
    .filter(([number]) => number !== null);
  return ranked
    .sort(([a], [b]) => a - b)
    .slice(0, SHOWN_MAX)
    .map(([, room]) => room);
}

export function openSwitcher() {
  const input = make('input', {
    type: 'text',
    placeholder: 'Where to?',
    autocomplete: 'off',
    spellcheck: false,
    aria: { label: 'Go to a room or person' },
  });
  const list = make('ul', { class: 'results' });
  const state = make('p', { class: 'empty', role: 'status' });
  const show = () => {
    const rooms = matches(input.value.trim().toLowerCase());
    list.replaceChildren(
      ...rooms.map((room) =>
        make(
          'li',
          {},
          make(
            'button',
            {
              type: 'button',
              class: 'room-button',
              tabIndex: -1,
              on: { click: () => [dialog.close(), app.goTo(room.room_id)] },
            },
            room.kind === 'dm'
              ? avatar(room.name, room.users[0]?.user_id)
              : make('span', { class: 'hash' }, icon('hash')),
            make('span', { class: 'name' }, room.name),
            room.unread > 0 && make('span', { class: 'badge' }, String(room.unread)),
          ),
        ),
      ),
    );
    state.textContent = rooms.length ? '' : 'Nothing by that name.';
  };
  input.addEventListener('input', show);
  input.addEventListener('keydown', (event) => {
    const first = list.querySelector('button');
    if (!first || !['Enter', 'ArrowDown'].includes(event.key)) return;
    event.preventDefault();
    if (event.key === 'Enter') first.click();
    else first.focus();
  });
  roving(list, '.room-button');
  const dialog = openDialog('Go to', { size: 'small', id: 'switcher' }, input, list, state);
  show();
}
