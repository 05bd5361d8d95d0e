// Where messages are written: in a room and in a thread.

import { attachCompletion, growing } from './complete.js';
import { pickEmoji } from './emoji.js';
import { app, call, show } from './state.js';

/** Others see "is typing" for 6 s; it is told again a little before. */
const TYPING_AGAIN_MS = 4_000;
const DRAFT_KEY = 'veza.draft.';

/** Drafts live as long as the tab: over reloads, not over signing out. */
export const drafts = {
  key: (room, parentId) => `${DRAFT_KEY}${room.room_id}${parentId ? `.${parentId}` : ''}`,
  load: (room, parentId) => sessionStorage.getItem(drafts.key(room, parentId)) ?? '',
  save(room, parentId, text) {
    if (text) sessionStorage.setItem(drafts.key(room, parentId), text);
    else sessionStorage.removeItem(drafts.key(room, parentId));
  },
  clear() {
    for (const key of Object.keys(sessionStorage)) if (key.startsWith(DRAFT_KEY)) sessionStorage.removeItem(key);
  },
};

/** Why nobody can write here at the moment; null: one can. */
function whyNot(room) {
  if (room.archived) return 'This room is archived. It can be read, not written.';
  if (room.muted_until > Date.now()) {
    const end = room.muted_until === Infinity ? '' : ` until ${new Date(room.muted_until).toLocaleString()}`;
    return `A moderator has muted you here${end}.`;
  }
  if (room.kind === 'dm' && room.is_blocked) return `You have blocked ${room.name}.`;
  return app.model.can(room, 'send') ? null : 'You may read here, but not write.';
}

export class Composer {
  /** `form` has a textarea, a place for errors and the buttons; `room()` and `parentId()` say where it goes. */
  constructor(form, { room, parentId = () => null, onSend = () => {}, editLast = null }) {
    Object.assign(this, { form, room, parentId, onSend, typedAt: 0 });
    this.area = form.querySelector('textarea');
    this.error = form.querySelector('.error');
    this.completion = attachCompletion(this.area, room);
    this.grow = growing(this.area);
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.area.addEventListener('keydown', (event) => {
      if (event.defaultPrevented || event.isComposing) return;
      if (event.key === 'Enter' && !event.shiftKey) {
        event.preventDefault();
        form.requestSubmit();
      } else if (event.key === 'ArrowUp' && !this.area.value && editLast?.()) {
        event.preventDefault();
      }
    });
    this.area.addEventListener('input', () => this.#typed());
    const emoji = form.querySelector('.pick-emoji');
    emoji.addEventListener('click', () =>
      pickEmoji(emoji, (text) => {
        this.area.setRangeText(text, this.area.selectionStart, this.area.selectionEnd, 'end');
        this.area.focus();
        this.#typed();
      }),
    );
  }

  /** Another room, or another thread. */
  load() {
    this.completion.close();
    this.area.value = drafts.load(this.room(), this.parentId());
    this.grow();
    this.error.textContent = '';
    this.typedAt = 0;
  }

  /** Shows whether one may write. */
  show(placeholder) {
    const reason = whyNot(this.room());
    this.form.classList.toggle('closed', reason !== null);
    this.area.disabled = reason !== null;
    for (const node of this.form.querySelectorAll('button')) node.disabled = reason !== null;
    this.area.placeholder = reason ?? placeholder;
  }

  #typed() {
    const room = this.room();
    drafts.save(room, this.parentId(), this.area.value);
    this.error.textContent = '';
    const now = Date.now();
    if (!this.area.value.trim()) this.#quiet();
    else if (now - this.typedAt >= TYPING_AGAIN_MS) {
      this.typedAt = now;
      app.client.tell('typing', { room_id: room.room_id, is_typing: true });
    }
  }

  #quiet() {
    if (this.typedAt) app.client.tell('typing', { room_id: this.room().room_id, is_typing: false });
    this.typedAt = 0;
  }

  #submit() {
    const { area } = this;
    const content = area.value.trim();
    const max = app.client.limits.max_message_length || Infinity;
    const length = [...content].length;
    this.error.textContent = length > max ? `This message is too long: ${length} of ${max} characters.` : '';
    area.focus();
    if (!content || length > max) return;
    area.value = '';
    this.grow();
    drafts.save(this.room(), this.parentId(), '');
    this.completion.close();
    this.typedAt = 0; // the message itself says that the typing has ended
    this.onSend(content, this.parentId());
  }
}

/** The form of a composer, for places that are made on demand. */
export function composerForm(label) {
  const { content } = document.getElementById('composer-template');
  const form = content.firstElementChild.cloneNode(true);
  form.querySelector('textarea').setAttribute('aria-label', label);
  return form;
}

/** Who types in a room, in words. */
export function typingText(room) {
  const names = room.typers(Date.now());
  if (names.length === 0) return '';
  if (names.length === 1) return `${names[0]} is typing…`;
  if (names.length === 2) return `${names[0]} and ${names[1]} are typing…`;
  return `${names.length} people are typing…`;
}

/** The caller's own mutes, asked for when a room refuses a message for that reason. */
export async function loadMutes() {
  const { sanctions } = await call('list_sanctions', { active: true, limit: 100 });
  for (const room of app.model.rooms.values()) room.muted_until = 0;
  for (const { kind, room_id, expires_at } of sanctions) {
    const room = app.model.rooms.get(room_id);
    if (room && kind === 'mute') room.muted_until = expires_at ? Date.parse(expires_at) : Infinity;
  }
  show('head');
}
