// The log of the open room: a window onto its messages that keeps the reader's place whatever comes in above or below.

import { $ } from './dom.js';
import { entriesOf } from './message-parts.js';
import { MessageList } from './messages.js';
import { app, announce, me, show } from './state.js';
import { preview } from './text.js';

const PAGE = 50;
/** How near to an edge, in pixels, the next page is asked for. */
const NEAR = 400;

let list = null;
let shownId = null;
/** The reader is at the end, and stays there. */
let stuck = true;
/** Messages that came while the reader was elsewhere. */
let fresh = 0;

const scroller = () => $('scroller');
const room = () => app.model.open;
const nearEnd = () => scroller().scrollHeight - scroller().scrollTop - scroller().clientHeight < 80;

/** Whether the newest message is in sight. */
const atEnd = () => Boolean(room()?.timeline.loaded && !room().timeline.hasAfter && nearEnd());

function scrollToEnd() {
  scroller().scrollTop = scroller().scrollHeight;
  stuck = true;
}

export function clear() {
  list?.clear();
  shownId = null;
}

/** The message at the top of what is in sight: what must not move when others come or go. */
function anchorNode() {
  const { top } = scroller().getBoundingClientRect();
  const nodes = $('log').querySelectorAll('.message');
  let [low, high] = [0, nodes.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (nodes[middle].getBoundingClientRect().bottom > top) high = middle;
    else low = middle + 1;
  }
  // Those next to it may be cut off: the first that stays decides.
  return [...nodes].slice(low, low + 20).map((node) => ({ node, top: node.getBoundingClientRect().top }));
}

/** Shows the open room's messages. Another room begins at its end; else the reader stays in place, or at the end. */
export function paintLog({ toEnd = false, center = null } = {}) {
  const current = room();
  if (!current) return;
  const another = shownId !== current.room_id;
  if (another) {
    list.clear();
    [shownId, stuck, fresh] = [current.room_id, true, 0];
  }
  const { timeline } = current;
  const stick = !center && (toEnd || (stuck && !timeline.hasAfter));
  const anchors = stick || center ? [] : anchorNode();
  const waiting = timeline.hasAfter ? [] : [...current.failed, ...app.client.unsent(current.room_id)];
  const entries = entriesOf(timeline.messages, waiting, { marker: current.marker });
  list.show(entries);
  $('load-older').hidden = !timeline.hasBefore;
  $('load-newer').hidden = !timeline.hasAfter;
  $('history-state').textContent = historyText(current, entries.length);
  if (center) showMessage(center);
  else if (stick) scrollToEnd();
  else {
    const anchor = anchors.find(({ node }) => node.isConnected);
    if (anchor) scroller().scrollTop += anchor.node.getBoundingClientRect().top - anchor.top;
  }
  stuck = !timeline.hasAfter && nearEnd();
  showJump();
  read.soon();
}

function historyText({ timeline, kind, name }, shown) {
  if (!timeline.loaded) return 'Loading messages…';
  if (timeline.hasBefore) return '';
  const place = kind === 'dm' ? `your conversation with ${name}` : `#${name}`;
  return shown ? `This is the beginning of ${place}.` : `Nothing here yet. Say hello in ${place}.`;
}

function showJump() {
  const end = atEnd();
  if (end) fresh = 0;
  $('jump').hidden = end || !room()?.timeline.loaded;
  $('jump').textContent = fresh ? `${fresh} new ↓` : 'Latest messages ↓';
  showUnreadBar();
}

/** "12 new messages": a way to the first of them, as long as it is not in sight. */
function showUnreadBar() {
  const current = room();
  const line = $('log').querySelector('.new-line');
  const gone = line
    ? line.getBoundingClientRect().bottom < scroller().getBoundingClientRect().top
    : (current?.timeline.oldest?.seq ?? 0) > current?.marker;
  const above = current?.marker !== null && current?.marked_unread > 0 && gone;
  $('unread-bar').hidden = !above;
  if (above) $('unread-text').textContent = `${current.marked_unread} new`;
}

/** Something new came into a room. */
export function onNewMessage(message, current) {
  if (current !== room()) return;
  if (message.author_id !== me().user_id) {
    // Who comes back to the page sees where they left off.
    if (document.hidden && current.unread === 1) Object.assign(current, { marker: current.read_seq, marked_unread: 0 });
    if (!stuck) fresh += 1;
    announce(`${message.username ?? 'Somebody'}: ${preview(message, 200)}`);
  }
  show('log');
}

export const isReading = (roomId) => roomId !== shownId || stuck;

// --- pages ---------------------------------------------------------------------------------------------------------------

async function load(current, page, where, options) {
  if (current.loading) return false;
  current.loading = true;
  try {
    current.timeline.addPage(await app.client.history(current.room_id, { ...page, limit: PAGE }), where);
    if (current === room()) paintLog(options);
    return true;
  } finally {
    current.loading = false;
  }
}

export const loadNewest = (current) => load(current, {}, 'newest', { toEnd: true });

async function loadOlder() {
  const { timeline } = room() ?? {};
  if (timeline?.hasBefore && timeline.oldest) await load(room(), { before_id: timeline.oldest.message_id }, 'before');
}

async function loadNewer() {
  const { timeline } = room() ?? {};
  if (timeline?.hasAfter && timeline.newest) await load(room(), { after_id: timeline.newest.message_id }, 'after');
}

export async function toLatest() {
  const current = room();
  if (current.timeline.hasAfter) await loadNewest(current);
  else scrollToEnd();
  showJump();
  read.soon();
}

export const toBeginning = () => load(room(), { after_id: 0 }, 'around', { center: 'first' });

/** Brings a message into the middle of the log, with what stands around it. */
export async function jumpTo(messageId) {
  const current = room();
  if (current.timeline.find(messageId)) paintLog({ center: messageId });
  else {
    while (current.loading) await new Promise((resolve) => requestAnimationFrame(resolve));
    await load(current, { around_id: messageId }, 'around', { center: messageId });
  }
}

function showMessage(messageId) {
  const first = messageId === 'first';
  const node = $('log').querySelector(first ? '.message' : `.message[data-id="${messageId}"]`);
  if (!node) return;
  node.scrollIntoView({ block: first ? 'start' : 'center' });
  if (first) return;
  node.classList.remove('flash');
  void node.offsetWidth; // begins the animation anew
  node.classList.add('flash');
  node.focus({ preventScroll: true });
}

/** To the first message that was unread when the room was opened. */
async function toUnread() {
  const current = room();
  if (!$('log').querySelector('.new-line'))
    await load(current, { around_id: current.marker }, 'around', { center: current.marker });
  $('log').querySelector('.new-line')?.scrollIntoView({ block: 'center' });
  showJump();
}

// --- reading -------------------------------------------------------------------------------------------------------------

/** Marks as read what somebody has before their eyes, a moment after it came. */
export const read = {
  timer: null,
  soon() {
    if (this.timer === null) this.timer = setTimeout(() => this.now(), 300);
  },
  async now() {
    this.timer = null;
    const current = room();
    if (!current || document.hidden || !atEnd()) return;
    const seq = Math.max(current.timeline.newest?.seq ?? 0, current.counted_seq);
    if (!seq || (current.unread === 0 && current.read_seq >= seq)) return;
    Object.assign(current, { unread: 0, mentions: 0, read_seq: seq });
    show('lists');
    try {
      await app.client.call('mark_read', { room_id: current.room_id, seq });
    } catch {
      // Not worth a word: the next message, or the next visit, marks it again.
    }
  },
};

// --- wiring --------------------------------------------------------------------------------------------------------------

function onScroll() {
  if (!room()) return;
  showJump();
  if (atEnd()) read.soon();
  const { scrollTop, scrollHeight, clientHeight } = scroller();
  if (scrollTop < NEAR) loadOlder().catch(() => {});
  else if (scrollHeight - scrollTop - clientHeight < NEAR) loadNewer().catch(() => {});
}

/** Who reads at the end stays there when the window, the keyboard of a phone or a notice changes the height. */
function stayAtEnd() {
  let size = '';
  const sizeNow = () => `${scroller().clientWidth}x${scroller().clientHeight}`;
  scroller().addEventListener(
    'scroll',
    () => {
      // A scroll event that comes with a new size says nothing of the reader: the observer is called next.
      if (size === sizeNow()) stuck = !room()?.timeline.hasAfter && nearEnd();
      onScroll();
    },
    { passive: true },
  );
  new ResizeObserver(() => {
    size = sizeNow();
    if (stuck) scrollToEnd();
  }).observe(scroller());
}

export function wireLog(onClick) {
  list = new MessageList($('log'), { room });
  onClick('load-older', loadOlder);
  onClick('load-newer', loadNewer);
  onClick('jump', toLatest);
  onClick('unread-jump', toUnread);
  onClick('unread-dismiss', () => {
    Object.assign(room(), { marker: null, marked_unread: 0 });
    show('log');
  });
  stayAtEnd();
}

/** Edits the last own message that is shown; false if there is none. */
export function editLast() {
  const own = room().timeline.messages.filter((message) => message.author_id === me().user_id && !message.is_deleted);
  if (!own.length || !app.model.mayWrite(room(), 'edit_own')) return false;
  list.edit(own.at(-1).message_id);
  return true;
}

/** The line under the last own message: who has seen it. Conversations only. */
export function seenText(current) {
  const last = current.timeline.newest;
  if (!last || current.kind !== 'dm' || last.author_id !== me().user_id || current.timeline.hasAfter) return '';
  const seen = current.users.filter((user) => (current.reads.get(user.user_id) ?? 0) >= last.seq);
  if (seen.length === 0) return '';
  return current.isGroup ? `Seen by ${seen.map((user) => user.username).join(', ')}` : 'Seen';
}
