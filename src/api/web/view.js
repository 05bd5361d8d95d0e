// The page's elements and how they show the model. What users wrote goes in as text, never as markup.

export const $ = (id) => document.getElementById(id);

/** An element with properties (`class` and `dataset` included), attributes by `aria`/`role`, and children. */
function make(tag, { class: className, dataset, role, aria, ...properties } = {}, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (role) node.setAttribute('role', role);
  Object.assign(node.dataset, dataset);
  for (const [name, value] of Object.entries(aria ?? {})) node.setAttribute(`aria-${name}`, value);
  Object.assign(node, properties);
  node.append(...children);
  return node;
}

/** Makes the children of `parent` be `items`, in order; nodes of items that stay are kept (focus, selection). */
function reconcile(parent, items, keyOf, create, update) {
  const old = new Map([...parent.children].map((node) => [node.dataset.key, node]));
  let next = parent.firstElementChild;
  for (const item of items) {
    const key = String(keyOf(item));
    let node = old.get(key);
    if (!node) {
      node = create(item);
      node.dataset.key = key;
    }
    old.delete(key);
    update?.(node, item);
    if (node === next) next = next.nextElementSibling;
    else parent.insertBefore(node, next);
  }
  for (const node of old.values()) node.remove();
}

const TIME = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const DAY = new Intl.DateTimeFormat(undefined, { weekday: 'long', day: 'numeric', month: 'long' });
const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'medium' });

function dayName(date) {
  const days = Math.round((new Date().setHours(0, 0, 0, 0) - new Date(date).setHours(0, 0, 0, 0)) / 86_400_000);
  if (days === 0) return 'Today';
  return days === 1 ? 'Yesterday' : DAY.format(date);
}

function avatar(name, id) {
  return make('span', { class: `avatar hue-${id % 8}`, aria: { hidden: 'true' } }, [...(name || '?')][0].toUpperCase());
}

/** Text with its web addresses as links. */
function richText(text) {
  const parts = text.split(/(https?:\/\/[^\s<>"']+[^\s<>"'.,;:!?)\]}])/);
  return parts.map((part, index) => {
    if (index % 2 === 0) return part;
    return make('a', { href: part, target: '_blank', rel: 'noopener noreferrer nofollow', textContent: part });
  });
}

// --- list of rooms ---------------------------------------------------------------------------------------------------

function roomButton(room) {
  const hash = () => make('span', { class: 'hash' }, '#');
  const mark = room.kind === 'dm' ? avatar(room.name, room.users[0]?.user_id ?? 0) : hash();
  mark.setAttribute('aria-hidden', 'true');
  const badge = make('span', { class: 'badge' });
  const name = make('span', { class: 'name' });
  const dataset = { room: room.room_id };
  const button = make('button', { class: 'room-button', type: 'button', dataset }, mark, name, badge);
  return make('li', {}, button);
}

function updateRoomButton(item, room, open) {
  const button = item.firstElementChild;
  const [, name, badge] = button.children;
  name.textContent = room.name;
  const count = room.unread > 99 ? '99+' : String(room.unread);
  badge.textContent = room.unread ? count : '';
  badge.hidden = !room.unread;
  button.classList.toggle('unread', room.unread > 0);
  button.setAttribute('aria-label', room.unread ? `${room.name}, ${room.unread} unread` : room.name);
  if (open) button.setAttribute('aria-current', 'page');
  else button.removeAttribute('aria-current');
}

export function showLists(model) {
  const lists = [['room-list', model.joinedRooms], ['dm-list', model.conversations]];
  for (const [id, rooms] of lists) {
    const update = (item, room) => updateRoomButton(item, room, room.room_id === model.openId);
    reconcile($(id), rooms, (room) => room.room_id, roomButton, update);
    $(`${id}-empty`).hidden = rooms.length > 0;
  }
  const { unread, open } = model;
  document.title = `${unread ? `(${unread}) ` : ''}${open?.name ? `${open.name} – ` : ''}Veza`;
}

// --- messages --------------------------------------------------------------------------------------------------------

const GROUP_MS = 5 * 60_000;

/** What the log shows: days, messages, and those on their way; each with a key of its own. */
function logItems(room, unsent, me) {
  const items = [];
  let last = null;
  const waiting = [...room.failed, ...unsent].map((item) => {
    const message = { author_id: me.user_id, username: me.username, content: item.content, created_at: item.queued_at };
    return { key: `c${item.client_id}`, message, item };
  });
  const sent = room.messages.map((message) => ({ key: `m${message.message_id}`, message }));
  for (const entry of [...sent, ...waiting]) {
    const { message } = entry;
    const date = new Date(message.created_at);
    const day = date.toDateString();
    if (!last || last.day !== day) items.push({ key: `d${day}`, day: date });
    const follows = last?.day === day && last.author === message.author_id && date - last.date < GROUP_MS;
    items.push({ ...entry, date, follows });
    last = { day, author: message.author_id, date };
  }
  return items;
}

function logNode({ day, message, date, item }) {
  if (day) return make('li', { class: 'day' }, make('span', {}, dayName(day)));
  const name = message.username ?? 'Somebody who left';
  const time = make('time', { dateTime: message.created_at, title: FULL.format(date) }, TIME.format(date));
  const head = make('p', { class: 'message-head' }, make('span', { class: 'author' }, name), time);
  const content = make('p', { class: 'content', dir: 'auto' }, ...richText(message.content));
  const body = make('div', { class: 'message-body' }, head, content);
  const node = make('li', { class: 'message' }, avatar(name, message.author_id ?? 0), body);
  if (item) body.append(make('p', { class: 'delivery' }));
  return node;
}

const DELIVERY = { queued: 'Waiting to be sent', sending: 'Sending…', delayed: 'Waiting to be sent again' };

function updateLogNode(node, { day, follows, item }, texts) {
  if (day) return;
  node.classList.toggle('follows', follows);
  if (!item || node.dataset.status === item.status) return;
  node.dataset.status = item.status;
  const line = node.querySelector('.delivery');
  if (item.status !== 'failed') {
    line.replaceChildren(item.error ? `${DELIVERY[item.status]}: ${texts(item.error)}` : DELIVERY[item.status]);
    return;
  }
  const retry = make('button', { class: 'link', type: 'button', dataset: { retry: item.client_id } }, 'Try again');
  const discard = make('button', { class: 'link', type: 'button', dataset: { discard: item.client_id } }, 'Discard');
  line.replaceChildren(make('span', {}, `Not sent: ${texts(item.error)}`), retry, discard);
}

const nearEnd = (scroller) => scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 80;

/** Whether the newest message is in sight. */
export const atEnd = () => nearEnd($('scroller'));

export function scrollToEnd() {
  const scroller = $('scroller');
  scroller.scrollTop = scroller.scrollHeight;
}

/** Who reads at the end stays there when the window, the keyboard of a phone or a notice changes the height. */
export function stayAtEnd() {
  const scroller = $('scroller');
  let stuck = true;
  let size = '';
  const sizeNow = () => `${scroller.clientWidth}x${scroller.clientHeight}`;
  // A scroll event that comes with a new size says nothing of the reader: the observer is called next.
  const onScroll = () => (stuck = size === sizeNow() ? nearEnd(scroller) : stuck);
  scroller.addEventListener('scroll', onScroll, { passive: true });
  new ResizeObserver(() => {
    size = sizeNow();
    if (stuck) scrollToEnd();
  }).observe(scroller);
}

let shownId = null;

/** Nothing of what was shown is left on the page. */
export function clear() {
  const lists = ['room-list', 'dm-list', 'log', 'member-list', 'room-results', 'people-results', 'toasts'];
  for (const id of lists) $(id).replaceChildren();
  for (const id of ['room-title', 'room-subtitle', 'me']) $(id).textContent = '';
  $('draft').value = '';
  shownId = null;
}

/** Shows a room's messages. Stays at the end if it was there, else where the reader is; another room begins at the end.
 * `quiet`: nothing of this is news for a screen reader. */
export function showLog(room, unsent, me, texts, { quiet = false, toEnd = false } = {}) {
  const scroller = $('scroller');
  const log = $('log');
  const another = shownId !== room.room_id;
  const stick = another || toEnd || nearEnd(scroller);
  const anchor = stick ? null : firstVisible(scroller, log);
  log.setAttribute('aria-live', another || quiet ? 'off' : 'polite');
  if (another) log.replaceChildren();
  shownId = room.room_id;
  const items = logItems(room, unsent, me);
  reconcile(log, items, (item) => item.key, logNode, (node, item) => updateLogNode(node, item, texts));
  $('load-older').hidden = !room.has_more;
  $('history-state').textContent = historyText(room, items.length);
  if (stick) scrollToEnd();
  else if (anchor) scroller.scrollTop += anchor.node.getBoundingClientRect().top - anchor.top;
}

function historyText(room, shown) {
  if (!room.loaded) return 'Loading messages…';
  if (room.has_more) return '';
  const place = room.kind === 'dm' ? `your conversation with ${room.name}` : `#${room.name}`;
  return shown ? `This is the beginning of ${place}.` : `Nothing here yet. Say hello in ${place}.`;
}

/** The message at the top of what is in sight: what must not move when others come in above it. */
function firstVisible(scroller, log) {
  const { top } = scroller.getBoundingClientRect();
  for (const node of log.children) {
    const box = node.getBoundingClientRect();
    if (box.bottom > top && node.classList.contains('message')) return { node, top: box.top };
  }
  return null;
}

const membersText = (room) => (room.member_count === 1 ? '1 member' : `${room.member_count} members`);

export function showHead(room) {
  const dm = room.kind === 'dm';
  $('room-title').textContent = dm ? room.name : `# ${room.name}`;
  const kind = room.visibility === 'private' ? `${membersText(room)} · private` : membersText(room);
  $('room-subtitle').textContent = dm ? 'Direct message' : [kind, room.topic].filter(Boolean).join(' · ');
  $('toggle-members').hidden = dm;
  $('leave').hidden = dm;
  $('draft').placeholder = dm ? `Message ${room.name}` : `Message #${room.name}`;
}

// --- people and results ----------------------------------------------------------------------------------------------

function smallButton(text, dataset, label) {
  return make('button', { class: 'button small', type: 'button', dataset, aria: { label } }, text);
}

export function showMembers(members, me) {
  const create = (member) => {
    const name = make('span', { class: 'name' }, member.username ?? `user ${member.user_id}`);
    const role = make('span', { class: 'role' });
    const message = smallButton('Message', { user: member.user_id }, `Message ${member.username}`);
    if (member.user_id === me.user_id) message.hidden = true;
    const dot = make('span', { class: 'presence' });
    return make('li', {}, avatar(member.username, member.user_id), dot, name, role, message);
  };
  const update = (node, member) => {
    const online = Boolean(member.status) && !['offline', 'invisible'].includes(member.status);
    node.querySelector('.presence').classList.toggle('online', online);
    const you = member.user_id === me.user_id ? 'you' : '';
    const role = member.role === 'member' ? '' : member.role;
    node.querySelector('.role').textContent = [role, you, online ? 'online' : ''].filter(Boolean).join(' · ');
  };
  reconcile($('member-list'), members, (member) => member.user_id, create, update);
}

export function showRoomResults(rooms, isMember) {
  const create = (room) => {
    const name = make('span', { class: 'name' }, `# ${room.name}`);
    const note = make('span', { class: 'note' }, [membersText(room), room.topic].filter(Boolean).join(' · '));
    const button = smallButton('', { join: room.room_id }, '');
    return make('li', {}, make('span', { class: 'result' }, name, note), button);
  };
  const update = (node, room) => {
    const button = node.querySelector('button');
    button.textContent = isMember(room.room_id) ? 'Open' : 'Join';
    button.setAttribute('aria-label', `${button.textContent} ${room.name}`);
  };
  reconcile($('room-results'), rooms, (room) => room.room_id, create, update);
}

export function showPeopleResults(users) {
  const create = (user) => {
    const button = smallButton('Message', { user: user.user_id }, `Message ${user.username}`);
    const name = make('span', { class: 'result' }, make('span', { class: 'name' }, user.username));
    return make('li', {}, avatar(user.username, user.user_id), name, button);
  };
  reconcile($('people-results'), users, (user) => user.user_id, create);
}

// --- state -----------------------------------------------------------------------------------------------------------

const STATES = {
  connecting: 'Connecting…',
  syncing: 'Catching up…',
  online: 'Connected',
  waiting: 'Offline, trying again…',
};

const STOPPED = {
  3501: 'The server ended the connection',
  3502: 'Signing in took too long',
  3503: 'A moderator ended the connection',
  3504: 'Veza is open in too many places',
};

export function showConnection({ state, code, reason }) {
  $('connection').dataset.state = state;
  $('connection-text').textContent = STATES[state] ?? STOPPED[code] ?? (reason || 'Not connected');
  $('connect-now').hidden = !['waiting', 'stopped'].includes(state);
  $('connect-now').textContent = state === 'stopped' ? 'Connect' : 'Try now';
  $('offline-banner').hidden = ['online', 'syncing'].includes(state);
}

export function toast(text) {
  const node = make('p', { class: 'toast' }, text);
  $('toasts').append(node);
  while ($('toasts').children.length > 3) $('toasts').firstElementChild.remove();
  setTimeout(() => node.remove(), 7_000);
}
