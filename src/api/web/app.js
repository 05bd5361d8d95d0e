// The web client: coming in, going out, and what the controls of the page do.

import { showEdits, showReactions } from './actions.js';
import { listen } from './arrivals.js';
import { drafts } from './composer.js';
import { $, failed, onFailure } from './dom.js';
import { explain } from './errors.js';
import { forgetSearch } from './lists.js';
import * as log from './log.js';
import { openPerson, toggleBlock } from './members.js';
import { Model } from './model.js';
import { toast } from './notify.js';
import { closePanel, openPanel, togglePanel, wirePanel } from './panel.js';
import { closeRoom, openPlace, openRoomMenu, wirePlace } from './place.js';
import { openMe, openShortcuts, openStatus, rememberedStatus } from './prefs.js';
import { invite, joinRoom, messageUser, openPeople, openRooms } from './rooms.js';
import { wireSidebar } from './sidebar.js';
import { sessions, SESSION_KEY, setMode, showSignIn, wireSignIn } from './signin.js';
import { app, show } from './state.js';
import { openSwitcher } from './switcher.js';
import { openThread } from './thread.js';
import { VezaClient } from './veza-client.js';

// --- coming and going ------------------------------------------------------------------------------------------------

/** Back to the door, with nothing of the former user left on the page. */
function leaveChat(notice) {
  closeRoom();
  closePanel({ focus: false });
  app.client?.stop();
  app.client = null;
  drafts.clear();
  for (const key of ['veza.status', 'veza.emoji']) localStorage.removeItem(key);
  forgetSearch();
  app.model = new Model();
  log.clear();
  for (const id of ['room-list', 'dm-list', 'invitation-list', 'toasts', 'me-avatar']) $(id).replaceChildren();
  for (const id of ['room-title', 'room-subtitle', 'me', 'me-status', 'announcer']) $(id).textContent = '';
  $('invitations').hidden = true;
  for (const dialog of document.querySelectorAll('dialog[open]')) dialog.close();
  setMode(false);
  showSignIn(notice);
}

function enter(session) {
  $('sign-in').hidden = true;
  $('chat').hidden = false;
  app.model.me = { user_id: session.user_id, username: session.username };
  app.client = new VezaClient({ url: location.origin, store: sessions });
  rememberedStatus();
  listen(app.client, leaveChat);
  show('lists');
  app.client.start();
}

// --- wiring ----------------------------------------------------------------------------------------------------------

function onClick(id, handler) {
  $(id).addEventListener('click', async () => {
    try {
      await handler();
    } catch (error) {
      failed(error);
    }
  });
}

Object.assign(app, {
  joinRoom,
  messageUser,
  invite,
  openThread,
  openPerson,
  openStatus,
  showEdits,
  showReactions,
  toggleBlock,
  showMembers: () => openPanel('members', { roomId: app.model.openId }),
  showInvitations: () => $('invitation-list').querySelector('button')?.focus(),
  insert(text) {
    const area = $('draft');
    area.setRangeText(text, area.selectionStart, area.selectionEnd, 'end');
    area.focus();
  },
});

function wire() {
  onFailure((error) => {
    if (!error.code) console.error(error);
    toast(explain(error), { kind: 'warning' });
  });
  wireSignIn(enter);
  wireSidebar();
  wirePanel(onClick);
  log.wireLog(onClick);
  wirePlace();
  onClick('connect-now', () => (app.client.status.state === 'stopped' ? app.client.start() : app.client.nudge()));
  for (const id of ['open-rooms', 'open-rooms-empty', 'welcome-rooms']) onClick(id, openRooms);
  for (const id of ['open-people', 'open-people-empty', 'welcome-people']) onClick(id, openPeople);
  onClick('me-button', () => openMe($('me-button')));
  onClick('room-menu', openRoomMenu);
  onClick('show-members', () => togglePanel('members', { roomId: app.model.openId }));
  onClick('show-pins', () => togglePanel('pins'));
  for (const id of ['show-search', 'open-search']) onClick(id, () => togglePanel('search'));
  onClick('show-mentions', () => togglePanel('mentions'));
  onClick('open-switcher', openSwitcher);
  onClick('back', () => {
    const button = document.querySelector('.room-button[aria-current]');
    closeRoom();
    button?.focus();
  });
  for (const id of ['room-list', 'dm-list']) {
    $(id).addEventListener('click', ({ target }) => {
      const { room } = target.closest('.room-button')?.dataset ?? {};
      if (room) app.goTo(Number(room));
    });
  }
  wireKeys();
  wireWindow();
}

/** The room before or after the open one in the list. */
function step(by, unreadOnly) {
  const all = [...app.model.joinedRooms, ...app.model.conversations];
  const at = all.indexOf(app.model.open);
  const rooms = unreadOnly ? all.filter((room) => room.unread > 0 || room === app.model.open) : all;
  const from = unreadOnly ? rooms.indexOf(app.model.open) : at;
  if (rooms.length) app.goTo(rooms[(from + by + rooms.length) % rooms.length].room_id);
}

function wireKeys() {
  document.addEventListener('keydown', (event) => {
    if (!app.client || document.querySelector('dialog[open]') || event.isComposing) return;
    const control = event.ctrlKey || event.metaKey;
    const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
    const key = event.key.toLowerCase();
    const by = { arrowup: -1, arrowdown: 1 }[key];
    let act = null;
    if (control && !event.shiftKey && key === 'k') act = openSwitcher;
    else if (control && event.shiftKey && key === 'f') act = () => openPanel('search');
    else if (event.altKey && by) act = () => step(by, event.shiftKey);
    else if (key === '?' && !typing && !control) act = openShortcuts;
    if (!act) return;
    event.preventDefault();
    act();
  });
}

function wireWindow() {
  window.addEventListener('hashchange', () => {
    if (app.client) openPlace();
  });
  window.addEventListener('online', () => app.client?.nudge());
  document.addEventListener('visibilitychange', () => {
    if (document.hidden || !app.client) return;
    app.client.nudge();
    log.read.soon();
  });
  window.addEventListener('beforeunload', (event) => {
    if (app.client?.unsentCount) event.preventDefault();
  });
  window.addEventListener('storage', ({ key, newValue }) => {
    if (key === SESSION_KEY && !newValue && app.client) leaveChat('');
  });
}

wire();
const session = sessions.load();
if (session) enter(session);
else showSignIn();
