// Telling the user: toasts in the page, and notifications of the browser where somebody asked for them.

import { $, button, icon, make } from './dom.js';
import { app } from './state.js';

const KEY = 'veza.notifications';
const TOASTS_MAX = 3;
const TOAST_MS = 7_000;

/** A short word at the edge of the page; `act`: {label, run}. */
export function toast(text, { act = null, title = null, kind = '' } = {}) {
  const node = make('div', { class: `toast ${kind}` });
  const remove = () => node.remove();
  if (title) node.append(make('strong', {}, title));
  node.append(make('span', {}, text));
  if (act) node.append(button(act.label, { class: 'link', on: () => [remove(), act.run()] }));
  node.append(button('', { class: 'icon-button', aria: { label: 'Dismiss' }, on: remove }, icon('close')));
  const all = $('toasts');
  all.append(node);
  while (all.children.length > TOASTS_MAX) all.firstElementChild.remove();
  let timer = setTimeout(remove, TOAST_MS);
  // Who is about to press its button must not lose it.
  node.addEventListener('pointerenter', () => clearTimeout(timer));
  node.addEventListener('focusin', () => clearTimeout(timer));
  node.addEventListener('pointerleave', () => (timer = setTimeout(remove, TOAST_MS)));
}

export const browserNotifications = {
  get possible() {
    return 'Notification' in window;
  },
  get on() {
    return this.possible && Notification.permission === 'granted' && localStorage.getItem(KEY) === 'on';
  },
  /** Only ever called by a click. */
  async turn(on) {
    if (!on) {
      localStorage.setItem(KEY, 'off');
      return false;
    }
    const granted = this.possible && (await Notification.requestPermission()) === 'granted';
    localStorage.setItem(KEY, granted ? 'on' : 'off');
    return granted;
  },
};

const TITLES = {
  mention: (from, room) => `${from} mentioned you${room ? ` in ${room}` : ''}`,
  reply: (from, room) => `${from} replied to you${room ? ` in ${room}` : ''}`,
  dm: (from) => `Message from ${from}`,
  invite: (from, room) => `${from} invited you to ${room ?? 'a room'}`,
};

/** A push of notification. Nothing is said of what its reader is looking at. */
export function onNotification({ kind, room_id, message_id, preview }, from) {
  const room = app.model.rooms.get(room_id);
  const title = (TITLES[kind] ?? TITLES.mention)(from, room?.kind === 'room' ? room.title : null);
  const open = () => (kind === 'invite' ? app.showInvitations() : app.goTo(room_id, message_id));
  if (document.hidden || !document.hasFocus()) system(title, preview ?? '', open);
  const looking = !document.hidden && app.model.openId === room_id && kind !== 'invite';
  if (!looking) toast(preview ?? '', { title, act: { label: kind === 'invite' ? 'Show' : 'Open', run: open } });
}

function system(title, body, open) {
  if (!browserNotifications.on) return;
  try {
    const notification = new Notification(title, { body, icon: '/icon.svg', tag: title });
    notification.onclick = () => {
      window.focus();
      open();
      notification.close();
    };
  } catch {
    // Some browsers take notifications from service workers only; the toast is there as well.
  }
}
