// The panel of a thread: the message that is answered, the answers, and a place to write one.

import { button, count, failed, make } from './dom.js';
import { Composer, composerForm } from './composer.js';
import { entriesOf } from './message-parts.js';
import { MessageList } from './messages.js';
import { definePanel, openPanel } from './panel.js';
import { app, call, me } from './state.js';
import { Thread } from './timeline.js';

const PAGE = 50;
let thread = null;
let parts = null;

const room = () => app.model.rooms.get(thread.roomId);

async function load() {
  const mine = thread;
  const { roomId, parentId, recent } = mine;
  const { seq } = recent;
  const after = mine.messages.at(-1)?.message_id;
  const from = after && after !== parentId ? { after_id: after } : {};
  const page = await call('get_thread', { room_id: roomId, parent_id: parentId, limit: PAGE, ...from });
  if (mine !== thread) return;
  const first = !mine.loaded;
  mine.addPage(page, seq);
  if (first && mine.parentId !== page.parent.message_id) mine.parentId = page.parent.message_id;
  paint({ toEnd: first });
}

function open(body, { roomId, parentId }) {
  const { model } = app;
  thread = new Thread(me().user_id, roomId, parentId, model.rooms.get(roomId).recent);
  model.collections.add(thread);
  const log = make('ol', { class: 'log', aria: { label: 'Messages of the thread' } });
  const more = button('Load more replies', { class: 'button small older', hidden: true, on: load });
  const scroller = make(
    'div',
    { class: 'scroller', tabIndex: 0, role: 'region', aria: { label: 'Thread' } },
    log,
    more,
  );
  const typing = make('p', { class: 'typing' });
  const form = composerForm('Reply');
  body.append(scroller, typing, form);
  const list = new MessageList(log, { room, inThread: true });
  const composer = new Composer(form, { room, parentId: () => thread?.parentId ?? null, onSend: send });
  parts = { log, list, scroller, more, composer };
  composer.load();
  paint();
  load().catch((error) => {
    failed(error);
    log.replaceChildren(make('li', { class: 'empty' }, 'This thread cannot be shown.'));
  });
  return composer.area.disabled ? null : composer.area;
}

function send(content, parentId) {
  app.client.send(thread.roomId, content, { parentId });
  paint({ toEnd: true });
}

/** Shows the thread; stays at the end if it was there. */
function paint({ toEnd = false } = {}) {
  if (!thread || !room()) return;
  const { list, scroller, more, composer } = parts;
  const stick = toEnd || scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 80;
  const { failed: unsent, room_id: roomId } = room();
  const waiting = [...unsent, ...app.client.unsent(roomId)].filter((item) => item.parent_id === thread.parentId);
  const entries = entriesOf(thread.messages, waiting, { days: false });
  const replies = thread.messages.length - 1;
  if (thread.loaded) {
    const text =
      replies > 0 ? count(replies, 'reply', 'replies') + (thread.hasAfter ? ' or more' : '') : 'No replies yet';
    entries.splice(1, 0, { key: `replies ${text}`, line: text, kind: 'replies' });
  }
  list.show(entries);
  more.hidden = !thread.hasAfter;
  composer.show('Reply…');
  if (stick) scroller.scrollTop = scroller.scrollHeight;
}

function close() {
  app.model.collections.delete(thread);
  thread = null;
  parts = null;
  app.rememberPlace();
}

export function openThread(room, parentId, options) {
  openPanel('thread', { roomId: room.room_id, parentId }, options);
  app.rememberPlace();
}

export const openThreadId = () => thread?.parentId ?? null;

/** After a reset everything is read anew. */
export function reloadThread() {
  if (thread) openPanel('thread', { roomId: thread.roomId, parentId: thread.parentId }, { focus: false });
}

definePanel('thread', { title: () => 'Thread', open, close, paint, ofRoom: true });
