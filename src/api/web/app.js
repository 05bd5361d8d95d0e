// The web client: wires the client library to the model and the model to the view.

import { VezaClient, signIn } from './veza-client.js';
import { Model } from './model.js';
import * as view from './view.js';

const { $ } = view;
const SESSION_KEY = 'veza.session';
const PAGE = 50;

// --- the session, shared by the tabs of this browser -----------------------------------------------------------------

const storage = () => (localStorage.getItem(SESSION_KEY) ? localStorage : sessionStorage);

const sessions = {
  load() {
    const text = storage().getItem(SESSION_KEY);
    return text ? JSON.parse(text) : null;
  },
  save(session) {
    const place = storage();
    if (session) place.setItem(SESSION_KEY, JSON.stringify(session));
    else for (const kind of [localStorage, sessionStorage]) kind.removeItem(SESSION_KEY);
  },
  /** Web locks exist on secure origins only (https and localhost); elsewhere one tab is assumed. */
  lock(work) {
    return navigator.locks ? navigator.locks.request(SESSION_KEY, work) : work();
  },
};

// --- errors in plain words -------------------------------------------------------------------------------------------

const TEXTS = {
  RATE_LIMIT_EXCEEDED: 'That was a bit fast. Please wait a moment.',
  OVERLOADED: 'The server is busy. Please try again in a moment.',
  STORE_UNAVAILABLE: 'The server cannot reach its database right now.',
  DRAINING: 'The server is restarting.',
  INTERNAL: 'Something went wrong on the server.',
  NETWORK: 'The server cannot be reached. Are you online?',
  OFFLINE: 'There is no connection at the moment.',
  TIMEOUT: 'The server did not answer in time.',
  DISCONNECTED: 'The connection was lost.',
  STOPPED: 'There is no connection at the moment.',
  INVALID_CREDENTIALS: 'Username and password do not match.',
  NOT_A_MEMBER: 'You are not in this room any more.',
  PERMISSION_DENIED: 'You are not allowed to do that.',
  SANCTIONED: 'You may not write here at the moment.',
  CONVERSATION_BLOCKED: 'This person does not take messages from you.',
  ROOM_NOT_FOUND: 'This room does not exist, or you may not see it.',
  ROOM_FULL: 'This room is full.',
  ROOM_ARCHIVED: 'This room is archived.',
  USER_NOT_FOUND: 'There is no such user.',
  MESSAGE_TOO_LONG: 'This message is too long.',
  CONTENT_REJECTED: 'This message was not accepted.',
};

function explain({ code, message, field }) {
  if (TEXTS[code]) return TEXTS[code];
  const text = field ? `${field.replaceAll('_', ' ')}: ${message}` : message;
  return text[0].toUpperCase() + text.slice(1);
}

const complain = (error) => view.toast(explain(error));

// --- signing in ------------------------------------------------------------------------------------------------------

let registering = false;
let client = null;
let model = new Model();

function showSignIn(notice = '') {
  $('chat').hidden = true;
  $('sign-in').hidden = false;
  $('sign-in-notice').textContent = notice;
  $('sign-in-notice').hidden = !notice;
  document.title = 'Veza';
  $('username').focus();
}

function setMode(register) {
  registering = register;
  $('sign-in-title').textContent = register ? 'Create your account' : 'Welcome back';
  $('sign-in-submit').textContent = register ? 'Create account' : 'Log in';
  $('switch-text').textContent = register ? 'Have an account?' : 'New here?';
  $('switch-mode').textContent = register ? 'Log in' : 'Create an account';
  $('password').autocomplete = register ? 'new-password' : 'current-password';
  $('sign-in-error').textContent = '';
}

function signInError(error) {
  if (registering && error.code === 'CONFLICT') return 'This username is taken.';
  if (error.code === 'RATE_LIMIT_EXCEEDED') return 'Too many attempts. Please wait a minute.';
  return explain(error);
}

function incomplete(username, password) {
  if (!username) return [$('username'), 'Please enter a username.'];
  if (registering && !/^[A-Za-z0-9_.-]{3,32}$/.test(username)) {
    return [$('username'), 'A username has 3 to 32 letters, digits, dots, dashes or underscores.'];
  }
  if (registering && password.length < 8) return [$('password'), 'A password has at least 8 characters.'];
  return password ? null : [$('password'), 'Please enter a password.'];
}

async function onSignIn(event) {
  event.preventDefault();
  const [username, password] = [$('username').value.trim(), $('password').value];
  const problem = incomplete(username, password);
  $('sign-in-error').textContent = problem?.[1] ?? '';
  if (problem) {
    problem[0].focus();
    return;
  }
  $('sign-in-submit').disabled = true;
  try {
    const session = await signIn(location.origin, registering ? 'register' : 'login', { username, password });
    ($('remember').checked ? localStorage : sessionStorage).setItem(SESSION_KEY, JSON.stringify(session));
    $('password').value = '';
    enter(session);
  } catch (error) {
    $('sign-in-error').textContent = signInError(error);
    $('password').select();
  } finally {
    $('sign-in-submit').disabled = false;
  }
}

const ENDINGS = {
  revoked: 'Your session was ended from another place.',
  session_ended: 'Your session has ended. Please log in again.',
};

/** Back to the door, with nothing of the former user left on the page. */
function leaveChat(notice) {
  client?.stop();
  client = null;
  model = new Model();
  lists.clear();
  closeRoom();
  view.clear();
  for (const dialog of document.querySelectorAll('dialog[open]')) dialog.close();
  setMode(false);
  showSignIn(notice);
}

function enter(session) {
  $('sign-in').hidden = true;
  $('chat').hidden = false;
  model.me = { user_id: session.user_id, username: session.username };
  $('me').textContent = session.username ?? '';
  client = new VezaClient({ url: location.origin, store: sessions });
  listen(client);
  client.start();
}

// --- what arrives ----------------------------------------------------------------------------------------------------

function listen(connection) {
  const on = (type, handler) => connection.on(type, (detail) => connection === client && handler(detail));
  on('state', view.showConnection);
  on('ready', ({ user_id, username }) => {
    model.me = { user_id, username };
    $('me').textContent = username;
  });
  on('sync', onSync);
  on('push:message', onMessage);
  on('push:dm_created', () => lists.refresh());
  on('push:read', onRead);
  for (const type of ['member_joined', 'member_left']) on(`push:${type}`, onMembership);
  on('reset', onReset);
  on('room_lost', ({ room_id }) => onLost(room_id));
  on('outbox', onOutbox);
  on('signed_out', ({ reason }) => leaveChat(ENDINGS[reason] ?? ''));
}

function onSync({ rooms }) {
  model.sync(rooms);
  lists.refresh();
  showLists();
  if (model.open) openRoom(model.openId, { focus: false });
  else if (currentHash() !== null) openRoom(currentHash());
  else closeRoom();
}

/** Names of rooms and conversations. A request that comes while one is under way is done after it. */
const lists = {
  running: false,
  again: false,
  clear() {
    this.again = false;
  },
  async refresh() {
    this.again = true;
    if (this.running) return;
    this.running = true;
    while (this.again && client) {
      this.again = false;
      await loadLists(client).catch((error) => client && complain(error));
    }
    this.running = false;
  },
};

async function pages(connection, type, data, field) {
  const all = [];
  let cursor = null;
  do {
    const page = await connection.call(type, { ...data, limit: 100, ...(cursor && { cursor }) });
    all.push(...page[field]);
    cursor = page.next_cursor;
  } while (cursor && all.length < 1000);
  return all;
}

async function loadLists(connection) {
  const joined = pages(connection, 'list_rooms', { filter: 'joined' }, 'rooms');
  const dms = pages(connection, 'list_dms', {}, 'conversations');
  const [rooms, conversations] = await Promise.all([joined, dms]);
  if (connection !== client) return;
  for (const room of rooms) model.describe(room);
  for (const conversation of conversations) model.describeDm(conversation);
  showLists();
  if (model.open) view.showHead(model.open);
}

function onMessage(message) {
  const unknown = !model.rooms.has(message.room_id);
  const room = model.receive(message);
  if (unknown) lists.refresh();
  if (room && room === model.open) showLog();
  showLists();
}

function onRead({ room_id, user_id, seq }) {
  const room = model.rooms.get(room_id);
  if (!room || user_id !== model.me.user_id || seq < room.counted_seq) return;
  Object.assign(room, { unread: 0, read_seq: seq });
  showLists();
}

function onMembership({ room_id, user_id }) {
  if (user_id === model.me.user_id || room_id !== model.openId) return;
  refreshRoom(room_id);
  if (!$('members').hidden) loadMembers();
}

function onReset(page) {
  const room = model.rooms.get(page.room_id);
  if (!room) return;
  room.replace(page);
  room.counted_seq = Math.max(room.counted_seq, page.seq);
  if (room === model.open) showLog({ quiet: true });
}

function onLost(roomId) {
  const name = model.rooms.get(roomId)?.name;
  model.remove(roomId);
  showLists();
  if (!model.open) closeRoom();
  if (name) view.toast(`You are not in ${name} any more.`);
}

function onOutbox(item) {
  const room = model.rooms.get(item.room_id);
  if (!room) return;
  if (item.status === 'sent') room.insert(ownMessage(item));
  if (item.status === 'failed') room.failed.push(item);
  if (room === model.open) showLog();
}

/** What the acknowledgement says is shown at once; the push of the same message_id changes nothing. */
function ownMessage({ room_id, message_id, content, created_at }) {
  const { user_id, username } = model.me;
  return { room_id, message_id, seq: message_id, author_id: user_id, username, content, created_at };
}

// --- the open room ---------------------------------------------------------------------------------------------------

function currentHash() {
  const match = /^#room-(\d+)$/.exec(location.hash);
  return match ? Number(match[1]) : null;
}

function goTo(roomId) {
  if (currentHash() === roomId) openRoom(roomId);
  else location.hash = `room-${roomId}`;
}

/** Shows what has changed once a frame, however much came: a replay may bring thousands of events at once. */
const paint = {
  asked: false,
  lists: false,
  log: null,
  ask() {
    if (this.asked) return;
    this.asked = true;
    // No frames come in a hidden tab, but its title counts what is unread.
    if (document.hidden) setTimeout(() => this.now(), 250);
    else requestAnimationFrame(() => this.now());
  },
  now() {
    const { lists: changed, log: options } = this;
    Object.assign(this, { asked: false, lists: false, log: null });
    if (changed) view.showLists(model);
    if (options && model.open) paintLog(model.open, options);
  },
};

function showLists() {
  paint.lists = true;
  paint.ask();
}

/** `quiet`: nothing of it is news for a screen reader; `toEnd`: the newest message comes into sight. */
function showLog(options = {}) {
  paint.log = { ...paint.log, ...options };
  paint.ask();
}

function paintLog(room, options) {
  if (view.atEnd()) room.trim();
  view.showLog(room, client.unsent(room.room_id), model.me, explain, options);
  $('jump').hidden = view.atEnd();
  read.soon();
}

function closeRoom() {
  if (model.open) model.open.draft = $('draft').value;
  model.openId = null;
  $('welcome').hidden = false;
  $('conversation').hidden = true;
  $('members').hidden = true;
  $('chat').dataset.pane = 'list';
  if (location.hash) history.replaceState(null, '', location.pathname);
  showLists();
}

function openRoom(roomId, { focus = true } = {}) {
  const room = model.rooms.get(roomId);
  if (!room) {
    closeRoom();
    return;
  }
  const another = model.openId !== roomId || $('conversation').hidden;
  if (another) {
    if (model.open) model.open.draft = $('draft').value;
    model.openId = roomId;
    $('draft').value = room.draft;
    $('composer-error').textContent = '';
    showMembersPanel(false);
    $('welcome').hidden = true;
    $('conversation').hidden = false;
    $('chat').dataset.pane = 'room';
    if (!room.name) lists.refresh();
  }
  view.showHead(room);
  showLists();
  showLog();
  if (!room.loaded) loadNewest(room);
  if (!client.follows(roomId)) client.subscribe(roomId).catch(complain);
  if (focus && another) (matchMedia('(pointer: coarse)').matches ? $('room-title') : $('draft')).focus();
}

async function loadNewest(room) {
  if (room.loading) return;
  room.loading = true;
  try {
    room.addPage(await client.history(room.room_id, { limit: PAGE }));
    if (room === model.open) showLog({ quiet: true, toEnd: true });
  } catch (error) {
    if (room === model.open) complain(error);
  }
  room.loading = false;
}

async function loadOlder() {
  const room = model.open;
  if (!room?.has_more || room.loading) return;
  room.loading = true;
  try {
    room.addPage(await client.history(room.room_id, { before_id: room.oldest_id, limit: PAGE }));
    if (room === model.open) showLog({ quiet: true });
  } catch (error) {
    complain(error);
  }
  room.loading = false;
}

async function refreshRoom(roomId) {
  const { room } = await client.call('get_room', { room_id: roomId }).catch(() => ({}));
  if (!room || !model.rooms.has(roomId)) return;
  model.describe(room);
  if (roomId === model.openId) view.showHead(model.open);
}

/** Marks as read what somebody has before their eyes, a moment after it came. */
const read = {
  timer: null,
  soon() {
    if (this.timer === null) this.timer = setTimeout(() => this.now(), 300);
  },
  async now() {
    this.timer = null;
    const room = model.open;
    const seq = room?.newest?.seq;
    if (!seq || document.hidden || !view.atEnd() || (room.unread === 0 && room.read_seq >= seq)) return;
    Object.assign(room, { unread: 0, read_seq: seq });
    showLists();
    try {
      await client.call('mark_read', { room_id: room.room_id, seq });
    } catch {
      // Not worth a word: the next message, or the next visit, marks it again.
    }
  },
};

// --- writing ---------------------------------------------------------------------------------------------------------

function onSend(event) {
  event.preventDefault();
  const draft = $('draft');
  const content = draft.value.trim();
  const max = client.limits.max_message_length || Infinity;
  const length = [...content].length;
  $('composer-error').textContent = length > max ? `This message is too long: ${length} of ${max} characters.` : '';
  if (!content || length > max) {
    draft.focus();
    return;
  }
  draft.value = '';
  client.send(model.openId, content);
  showLog({ toEnd: true });
  draft.focus();
}

function onDraftKey(event) {
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $('composer').requestSubmit();
}

function onLogClick({ target }) {
  const { retry, discard } = target.dataset;
  const id = retry ?? discard;
  const room = model.open;
  const item = room?.failed.find((failed) => failed.client_id === id);
  if (!item) return;
  room.failed = room.failed.filter((failed) => failed !== item);
  if (retry) client.send(room.room_id, item.content);
  showLog();
  $('draft').focus();
}

// --- rooms, people, members ------------------------------------------------------------------------------------------

/** Asks while somebody types; only the answer to the last question is shown. */
function finder(input, state, ask, show, none) {
  let last = 0;
  let timer = null;
  const run = async () => {
    last += 1;
    const mine = last;
    try {
      const found = await ask(input.value.trim());
      if (mine !== last) return;
      show(found);
      state.textContent = found.length ? '' : none;
    } catch (error) {
      if (mine === last) state.textContent = explain(error);
    }
  };
  input.addEventListener('input', () => {
    clearTimeout(timer);
    timer = setTimeout(run, 200);
  });
  return run;
}

async function findRooms(query) {
  const { rooms } = await client.call('list_rooms', { filter: 'public', limit: 50, ...(query && { query }) });
  return rooms;
}

async function findUsers(query) {
  const { users } = await client.call('list_users', { limit: 50, ...(query && { query }) });
  return users.filter((user) => user.user_id !== model.me.user_id);
}

const showRooms = (rooms) => view.showRoomResults(rooms, (id) => model.rooms.has(id));
const showPeople = view.showPeopleResults;
const searchRooms = finder($('room-query'), $('room-results-state'), findRooms, showRooms, 'No public room found.');
const searchPeople = finder($('people-query'), $('people-results-state'), findUsers, showPeople, 'Nobody found.');

function openDialog(id, input, search) {
  input.value = '';
  $(id).showModal();
  input.focus();
  search();
}

const openRooms = () => openDialog('rooms-dialog', $('room-query'), searchRooms);
const openPeople = () => openDialog('people-dialog', $('people-query'), searchPeople);

async function joinRoom(roomId) {
  if (!model.rooms.has(roomId)) {
    const reply = await client.join(roomId);
    const room = model.describe(reply.room);
    Object.assign(room, { unread: reply.unread_count ?? 0, counted_seq: Math.max(room.counted_seq, reply.seq) });
  }
  $('rooms-dialog').close();
  goTo(roomId);
}

async function onCreateRoom(event) {
  event.preventDefault();
  const [name, topic] = [$('new-room-name').value.trim(), $('new-room-topic').value.trim()];
  $('create-room-error').textContent = name ? '' : 'Please give the room a name.';
  if (!name) {
    $('new-room-name').focus();
    return;
  }
  try {
    const { room } = await client.createRoom({ name, ...(topic && { topic }) });
    Object.assign(model.describe(room), { counted_seq: room.seq });
    $('create-room').reset();
    $('rooms-dialog').close();
    goTo(room.room_id);
  } catch (error) {
    $('create-room-error').textContent = explain(error);
  }
}

async function messageUser(userId) {
  const { conversation_id } = await client.createDm(userId);
  if (!model.rooms.get(conversation_id)?.name) {
    model.room(conversation_id, 'dm');
    await loadLists(client);
  }
  $('people-dialog').close();
  goTo(conversation_id);
}

async function leaveRoom() {
  const roomId = model.openId;
  $('leave-dialog-text').textContent = `You can come back to ${model.open.name} as long as it is open to you.`;
  $('leave-dialog').returnValue = 'stay';
  $('leave-dialog').showModal();
  await new Promise((resolve) => $('leave-dialog').addEventListener('close', resolve, { once: true }));
  if ($('leave-dialog').returnValue !== 'leave') return;
  await client.leave(roomId);
  model.remove(roomId);
  closeRoom();
  $('open-rooms').focus();
}

let membersCursor = null;
let members = [];

async function loadMembers({ more = false } = {}) {
  const roomId = model.openId;
  const from = more ? { cursor: membersCursor } : {};
  const page = await client.call('get_members', { room_id: roomId, limit: 100, ...from });
  if (roomId !== model.openId) return;
  members = more ? [...members, ...page.members] : page.members;
  membersCursor = page.next_cursor ?? null;
  view.showMembers(members, model.me);
  $('more-members').hidden = !membersCursor;
}

function showMembersPanel(shown) {
  $('members').hidden = !shown;
  $('toggle-members').setAttribute('aria-expanded', String(shown));
  if (!shown) return;
  loadMembers().catch(complain);
  $('members-heading').focus();
}

function closeMembers() {
  showMembersPanel(false);
  $('toggle-members').focus();
}

// --- wiring ----------------------------------------------------------------------------------------------------------

function onClick(id, handler) {
  $(id).addEventListener('click', async () => {
    try {
      await handler();
    } catch (error) {
      complain(error);
    }
  });
}

/** Clicks on the buttons of a list, by the name of their data attribute. */
function onListClick(id, name, handler) {
  $(id).addEventListener('click', async (event) => {
    const button = event.target.closest(`[data-${name}]`);
    if (!button) return;
    button.disabled = true;
    try {
      await handler(Number(button.dataset[name]));
    } catch (error) {
      complain(error);
    }
    button.disabled = false;
  });
}

function wire() {
  $('sign-in-form').addEventListener('submit', onSignIn);
  $('composer').addEventListener('submit', onSend);
  $('create-room').addEventListener('submit', onCreateRoom);
  $('draft').addEventListener('keydown', onDraftKey);
  $('log').addEventListener('click', onLogClick);
  $('switch-mode').addEventListener('click', () => setMode(!registering));
  onClick('sign-out', () => client.signOut());
  onClick('connect-now', () => (client.status.state === 'stopped' ? client.start() : client.nudge()));
  for (const id of ['open-rooms', 'open-rooms-empty', 'welcome-rooms']) onClick(id, openRooms);
  for (const id of ['open-people', 'open-people-empty', 'welcome-people']) onClick(id, openPeople);
  onClick('back', () => {
    const button = document.querySelector('.room-button[aria-current]');
    closeRoom();
    button?.focus();
  });
  onClick('leave', leaveRoom);
  onClick('toggle-members', () => showMembersPanel($('members').hidden));
  onClick('close-members', closeMembers);
  $('members').addEventListener('keydown', (event) => event.key === 'Escape' && closeMembers());
  onClick('more-members', () => loadMembers({ more: true }));
  onClick('load-older', loadOlder);
  onClick('jump', view.scrollToEnd);
  for (const list of ['room-list', 'dm-list']) onListClick(list, 'room', async (id) => goTo(id));
  onListClick('room-results', 'join', joinRoom);
  for (const list of ['people-results', 'member-list']) onListClick(list, 'user', messageUser);
  for (const button of document.querySelectorAll('[data-close]')) {
    button.addEventListener('click', () => button.closest('dialog').close());
  }
  $('scroller').addEventListener('scroll', onScroll, { passive: true });
  view.stayAtEnd();
  wireWindow();
}

function onScroll() {
  if (!model.open) return;
  const end = view.atEnd();
  $('jump').hidden = end;
  if (end) read.soon();
  if ($('scroller').scrollTop < 120) loadOlder();
}

function wireWindow() {
  window.addEventListener('hashchange', () => {
    if (!client) return;
    const roomId = currentHash();
    if (roomId === null) closeRoom();
    else openRoom(roomId);
  });
  window.addEventListener('online', () => client?.nudge());
  document.addEventListener('visibilitychange', () => {
    if (document.hidden || !client) return;
    client.nudge();
    read.soon();
  });
  window.addEventListener('beforeunload', (event) => {
    if (client?.unsentCount) event.preventDefault();
  });
  window.addEventListener('storage', ({ key, newValue }) => {
    if (key === SESSION_KEY && !newValue && client) leaveChat('');
  });
}

wire();
setMode(false);
const session = sessions.load();
if (session) enter(session);
else showSignIn();
