// Messages on the page: one list of them (the log, a thread), with what can be done to each.

import { actionsOf, toggleReaction } from './actions.js';
import {
  avatar,
  button,
  clock,
  count,
  dayName,
  fullTime,
  guarded,
  icon,
  iconButton,
  make,
  reconcile,
  roving,
  when,
} from './dom.js';
import { attachCompletion, growing } from './complete.js';
import { pickEmoji } from './emoji.js';
import { explain } from './errors.js';
import { openMenu } from './menu.js';
import { contentNode, deliveryLine, reactionsNode } from './message-parts.js';
import { app, call, show } from './state.js';
import { preview } from './text.js';

export class MessageList {
  /** `log`: the list element. `room()`: the room shown. `inThread`: whether it shows a thread. */
  constructor(log, { room, inThread = false }) {
    Object.assign(this, { log, room, inThread, editing: null });
    this.toolbar = this.#makeToolbar();
    roving(log, '.message');
    log.addEventListener('mouseover', ({ target }) => this.#point(target.closest('.message')));
    log.addEventListener('focusin', ({ target }) => this.#point(target.closest('.message')));
    log.addEventListener('mouseleave', () => !this.toolbar.contains(document.activeElement) && this.#point(null));
    log.addEventListener(
      'click',
      guarded((event) => this.#onClick(event)),
    );
    log.addEventListener(
      'keydown',
      guarded((event) => this.#onKey(event)),
    );
  }

  show(entries) {
    reconcile(
      this.log,
      entries,
      (entry) => entry.key,
      (entry) => this.#create(entry),
      (node, entry) => this.#update(node, entry),
    );
    if (!this.log.querySelector('.message[tabindex="0"]')) {
      const last = [...this.log.querySelectorAll('.message')].at(-1);
      if (last) last.tabIndex = 0;
    }
  }

  clear() {
    this.editing = null;
    this.#point(null);
    this.log.replaceChildren();
  }

  #create({ day, line, kind, message, item }) {
    if (day) return make('li', { class: 'day', role: 'separator' }, make('span', {}, dayName(day)));
    if (line) return make('li', { class: `day ${kind}`, role: 'separator' }, make('span', {}, line));
    const dataset = item ? { client: item.client_id } : { id: message.message_id };
    return make('li', { class: 'message', tabIndex: -1, dataset });
  }

  #update(node, entry) {
    const { message, item } = entry;
    if (!message) return;
    node.entry = entry;
    const editing = !item && this.editing === message.message_id;
    const wasEditing = node.classList.contains('is-editing');
    if (editing && wasEditing) return;
    const parent = this.#parentText(message);
    const state = [
      message.rev,
      message.message_id,
      message.thread_count,
      message.mentions?.length,
      editing,
      item?.status,
      item?.error?.code,
      parent,
      message.reactions?.length,
      message.edit_count,
      message.content?.length,
      app.model.mayWrite(this.room(), 'react'),
    ];
    const sign = state.join();
    node.classList.toggle('follows', entry.follows);
    if (node.sign === sign) return;
    node.sign = sign;
    node.classList.toggle('is-editing', editing);
    node.classList.toggle('deleted', Boolean(message.is_deleted));
    node.classList.toggle('mentions-me', !item && app.model.isMention(message));
    node.classList.toggle('pinned', Boolean(message.is_pinned));
    if (item) node.dataset.status = item.status;
    const hadToolbar = this.toolbar.parentNode === node;
    const focused = node.contains(document.activeElement) && document.activeElement !== node;
    const name = message.username ?? 'Somebody who left';
    node.replaceChildren(
      avatar(name, message.author_id),
      editing ? this.#editor(message) : this.#body(entry, name, parent),
    );
    if (hadToolbar && !editing) node.append(this.toolbar);
    if (focused && !editing && !node.contains(document.activeElement)) node.focus();
  }

  #body({ message, item, date }, name, parent) {
    const author = item
      ? make('span', { class: 'author' }, name)
      : button(name, { class: 'author', dataset: { person: message.author_id } });
    const time = make('time', { dateTime: message.created_at, title: fullTime(date) }, clock(date));
    const pin = message.is_pinned ? make('span', { class: 'pin-mark' }, icon('pin'), 'Pinned') : null;
    const body = make(
      'div',
      { class: 'message-body' },
      parent && this.#replyLine(message, parent),
      make('div', { class: 'message-head' }, author, time, pin),
    );
    if (message.is_deleted) {
      body.append(make('div', { class: 'content tombstone' }, 'This message was deleted.'));
    } else {
      body.append(contentNode(message));
      if (message.is_edited) {
        const more = {
          class: 'link edited',
          dataset: { act: 'history' },
          title: `Edited ${message.edited_at ? when(message.edited_at) : ''}`,
        };
        body.append(button('edited', { ...more, aria: { label: 'Edited: show the history' } }));
      }
      const reactions = reactionsNode(message, app.model.mayWrite(this.room(), 'react'));
      if (reactions) body.append(reactions);
    }
    if (message.thread_count > 0 && !this.inThread) {
      const text = count(message.thread_count, 'reply', 'replies');
      body.append(
        button(
          text,
          { class: 'thread-link', dataset: { act: 'thread' }, aria: { label: `${text}: open the thread` } },
          icon('thread'),
        ),
      );
    }
    if (item) body.append(deliveryLine(item));
    return body;
  }

  /** What a reply in the log answers. Null outside of threads. */
  #parentText(message) {
    if (this.inThread || !message.parent_id) return null;
    const parent = this.room().timeline.find(message.parent_id) ?? this.room().parents?.get(message.parent_id);
    if (!parent) askParent(this.room(), message.parent_id);
    return parent ? `${parent.username ?? 'Somebody'}: ${preview(parent, 70)}` : 'a thread';
  }

  #replyLine(message, text) {
    return button(
      text,
      { class: 'reply-line', dataset: { act: 'thread' }, aria: { label: `In reply to ${text}: open the thread` } },
      icon('reply'),
    );
  }

  // --- acting ----------------------------------------------------------------------------------------------------------

  #makeToolbar() {
    const of = (name, label, act) => iconButton(name, label, null, { more: { tabIndex: 0, dataset: { act } } });
    const react = of('smile', 'React', 'react');
    const thread = of('thread', 'Reply in thread', 'thread');
    const edit = of('edit', 'Edit', 'edit');
    const more = of('more', 'More actions', 'more');
    const bar = make(
      'div',
      { class: 'message-tools', role: 'group', aria: { label: 'Actions' } },
      react,
      edit,
      thread,
      more,
    );
    return Object.assign(bar, { parts: { react, thread, edit } });
  }

  /** The tools stand in the message that is pointed at, or has the focus. */
  #point(node) {
    const message = node?.entry?.message;
    if (
      !node ||
      node.entry.item ||
      (message.is_deleted && !this.#actions(message).length) ||
      node.classList.contains('is-editing')
    ) {
      this.toolbar.remove();
      return;
    }
    if (this.toolbar.parentNode === node) return;
    const names = new Set(this.#actions(message).map((action) => action?.name));
    const { react, thread, edit } = this.toolbar.parts;
    react.hidden = !names.has('react');
    thread.hidden = !names.has('thread');
    edit.hidden = !names.has('edit');
    node.append(this.toolbar);
  }

  #actions(message) {
    return actionsOf(this.room(), message, { inThread: this.inThread, edit: () => this.edit(message.message_id) });
  }

  async #onClick(event) {
    const node = event.target.closest('.message');
    const target = event.target.closest('button, [data-person]');
    if (!node || !target) return;
    const { message, item } = node.entry;
    const { act, emoji, person } = target.dataset;
    if (item) settle(this.room(), item, target.dataset);
    else if (emoji) await toggleReaction(this.room(), message, emoji);
    else if (person) app.openPerson(Number(person), target);
    else if (act === 'more') openMenu(target, this.#actions(message), 'Actions');
    else if (act === 'react')
      pickEmoji(
        target,
        guarded((picked) => toggleReaction(this.room(), message, picked, true)),
      );
    else if (act) await this.#run(act, message);
  }

  async #run(name, message) {
    if (name === 'thread') app.openThread(this.room(), message.parent_id ?? message.message_id);
    else if (name === 'history') app.showEdits(this.room(), message);
    else if (name === 'who') app.showReactions(this.room(), message);
    else
      await this.#actions(message)
        .find((action) => action?.name === name)
        ?.action();
  }

  async #onKey(event) {
    const node = event.target.closest('.message');
    if (!node || event.target !== node || node.entry.item || event.ctrlKey || event.metaKey || event.altKey) return;
    const { message } = node.entry;
    const name = { e: 'edit', r: 'thread', p: 'pin', Delete: 'delete', c: 'copy', l: 'link' }[event.key];
    if (event.key === 'Enter' || event.key === 'ContextMenu') {
      event.preventDefault();
      const actions = this.#actions(message);
      if (actions.length) openMenu(node.querySelector('.message-tools') ?? node, actions, 'Actions');
    } else if (event.key === '+' && app.model.mayWrite(this.room(), 'react') && !message.is_deleted) {
      event.preventDefault();
      pickEmoji(
        node.querySelector('.message-tools') ?? node,
        guarded((picked) => toggleReaction(this.room(), message, picked, true)),
      );
    } else if (name) {
      event.preventDefault();
      await this.#run(name, message);
    }
  }

  // --- editing ---------------------------------------------------------------------------------------------------------

  edit(messageId) {
    this.#point(null);
    const before = this.editing;
    this.editing = messageId;
    for (const id of [before, messageId]) {
      const node = id && this.log.querySelector(`.message[data-id="${id}"]`);
      if (node) this.#update(node, node.entry);
    }
    if (messageId === null && before) this.log.querySelector(`.message[data-id="${before}"]`)?.focus();
  }

  #editor(message) {
    const text = make('textarea', { value: message.content, rows: 1, aria: { label: 'Edit message' } });
    const error = make('p', { class: 'form-error', role: 'alert' });
    const save = make('button', { class: 'button primary small', type: 'submit' }, 'Save');
    const cancel = button('Cancel', { class: 'button small', on: () => this.edit(null) });
    const form = make(
      'form',
      { class: 'message-body editor' },
      make('p', { class: 'note' }, 'Editing your message'),
      text,
      error,
      make('p', { class: 'actions' }, save, cancel, make('span', { class: 'note' }, 'Enter saves, Escape cancels')),
    );
    form.addEventListener('submit', async (event) => {
      event.preventDefault();
      const content = text.value.trim();
      if (!content || content === message.content) {
        this.edit(null);
        return;
      }
      try {
        const { room_id, message_id } = message;
        await call('edit_message', { room_id, message_id, content }, { once: true });
        if (this.editing === message_id) this.edit(null);
      } catch (problem) {
        error.textContent = explain(problem);
      }
    });
    const completion = attachCompletion(text, this.room);
    growing(text);
    text.addEventListener('keydown', (event) => {
      if (completion.isOpen || event.isComposing) return;
      if (event.key === 'Escape') {
        event.stopPropagation();
        this.edit(null);
      } else if (event.key === 'Enter' && !event.shiftKey) {
        event.preventDefault();
        form.requestSubmit();
      }
    });
    requestAnimationFrame(() => {
      text.focus();
      text.setSelectionRange(text.value.length, text.value.length);
      form.scrollIntoView({ block: 'nearest' });
    });
    return form;
  }
}

/** A message that could not be sent is sent again, or thrown away. */
function settle(room, item, { retry, discard }) {
  if (!retry && !discard) return;
  room.failed = room.failed.filter((failed) => failed !== item);
  if (retry) app.client.send(room.room_id, item.content, { parentId: item.parent_id });
  show('log');
  show('panel');
}

/** A message that is answered, but not among those that are shown: asked for once. */
function askParent(room, messageId) {
  room.parents ??= new Map();
  room.asked ??= new Set();
  if (room.asked.has(messageId)) return;
  room.asked.add(messageId);
  call('get_message', { room_id: room.room_id, message_id: messageId }).then(
    ({ message }) => {
      room.parents.set(messageId, message);
      show('log');
    },
    () => {},
  );
}
