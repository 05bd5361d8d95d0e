// Unit tests of what the page makes of events: `node --test model.test.mjs`.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Model } from '../../src/api/web/model.js';
import { applyEvent, Recent, Thread, Timeline, WINDOW } from '../../src/api/web/timeline.js';

const ME = 1;
const message = (id, more = {}) => {
  return {
    room_id: 5,
    message_id: id,
    seq: id,
    author_id: 2,
    username: 'bob',
    content: `m${id}`,
    parent_id: null,
    thread_count: 0,
    reactions: [],
    mentions: [],
    created_at: `2026-01-01T00:00:00.${String(id % 1000).padStart(3, '0')}Z`,
    ...more,
  };
};
const event = (type, seq, data = {}) => ({ type, data: { room_id: 5, seq, ...data } });
const page = (from, to, seq, more = false) => {
  const messages = Array.from({ length: to - from + 1 }, (_, index) => message(from + index));
  return { messages, seq, has_more: more };
};
const ids = (timeline) => timeline.messages.map((entry) => entry.message_id);
const range = (from, to) => Array.from({ length: to - from + 1 }, (_, index) => from + index);

const EFFECTS = [
  [
    'message_edited',
    { content: 'new', mentions: [1], edited_at: 'now', edit_count: 1 },
    { content: 'new', mentions: [1], is_edited: true, edit_count: 1 },
  ],
  ['message_deleted', { actor_id: 2 }, { content: null, is_deleted: true, reactions: [], is_pinned: false }],
  ['reaction_added', { emoji: '👍', user_id: 2, count: 1 }, { reactions: [{ emoji: '👍', count: 1, me: false }] }],
  ['reaction_added', { emoji: '👍', user_id: ME, count: 3 }, { reactions: [{ emoji: '👍', count: 3, me: true }] }],
  ['message_pinned', {}, { is_pinned: true }],
  ['message_unpinned', {}, { is_pinned: false }],
];
for (const [type, data, expected] of EFFECTS) {
  test(`${type}: changes the message that it names, once, and no other`, () => {
    const [one, other] = [message(1, { as_of: 1 }), message(2, { as_of: 2 })];
    const push = event(type, 9, { message_id: 1, ...data });
    assert.equal(applyEvent(one, push, ME), true);
    for (const [name, value] of Object.entries(expected)) assert.deepEqual(one[name], value, name);
    const once = structuredClone(one);
    assert.equal(applyEvent(one, push, ME), false, 'a repetition');
    assert.equal(applyEvent(one, event(type, 8, { message_id: 1, ...data }), ME), false, 'an older one');
    assert.equal(applyEvent(other, push, ME), false);
    assert.equal(applyEvent({ ...message(1), room_id: 6 }, push, ME), false, 'another room');
    assert.deepEqual(one, once);
  });
}

test('reactions: taken back, gone at zero; own ones by user id; a replayed edit of a deleted message has no content', () => {
  const one = message(1, { as_of: 1, reactions: [{ emoji: '👍', count: 2, me: true }] });
  applyEvent(one, event('reaction_removed', 2, { message_id: 1, emoji: '👍', user_id: ME, count: 1 }), ME);
  assert.deepEqual(one.reactions, [{ emoji: '👍', count: 1, me: false }]);
  applyEvent(one, event('reaction_removed', 3, { message_id: 1, emoji: '👍', user_id: 2, count: 0 }), ME);
  assert.deepEqual(one.reactions, []);
  applyEvent(one, event('message_edited', 4, { message_id: 1, edit_count: 1 }), ME);
  assert.equal(one.content, 'm1');
  applyEvent(one, event('message_deleted', 5, { message_id: 1 }), ME);
  applyEvent(one, event('message_edited', 6, { message_id: 1, content: 'again', edit_count: 2 }), ME);
  assert.equal(one.content, null);
});

test('a page older than the newest event is brought up to it, one that is newer is not changed twice', () => {
  const recent = new Recent();
  const timeline = new Timeline(ME, recent);
  const reply = event('message', 11, { ...message(11, { parent_id: 3 }) });
  for (const push of [event('reaction_added', 10, { message_id: 3, emoji: '👍', user_id: 2, count: 1 }), reply])
    recent.add(push);
  timeline.addPage(page(1, 9, 9), 'newest');
  assert.deepEqual(timeline.find(3).reactions, [{ emoji: '👍', count: 1, me: false }]);
  assert.equal(timeline.find(3).thread_count, 1);
  assert.deepEqual(ids(timeline), [...range(1, 9), 11], 'the message that the page did not have yet');
  const fresh = new Timeline(ME, recent);
  const newer = page(1, 9, 12);
  newer.messages[2].thread_count = 1;
  fresh.addPage(newer, 'newest');
  assert.equal(fresh.find(3).thread_count, 1, 'the page has counted it already');
});

test('the window: bounded whichever way somebody reads, and back at the end it is live again', () => {
  const recent = new Recent();
  const timeline = new Timeline(ME, recent);
  const head = 100_000;
  recent.seq = head;
  timeline.addPage(page(head - 49, head, head, true), 'newest');
  for (let i = 0; i < 20; i += 1) {
    const before = timeline.oldest.message_id;
    timeline.addPage(page(before - 50, before - 1, head, true), 'before');
    assert.ok(timeline.messages.length <= WINDOW);
    assert.equal(timeline.oldest.message_id, before - 50);
  }
  assert.ok(timeline.hasAfter && timeline.hasBefore);
  const push = event('message', head + 1, message(head + 1));
  recent.add(push);
  assert.equal(timeline.receive(push), false, 'what comes at the end is not shown in the past');
  while (timeline.hasAfter) {
    const { message_id: after } = timeline.newest;
    const to = Math.min(after + 50, head);
    timeline.addPage(page(after + 1, to, head, to < head), 'after');
    assert.ok(timeline.messages.length <= WINDOW);
  }
  assert.deepEqual(ids(timeline), range(head + 2 - WINDOW, head + 1));
  assert.equal(timeline.receive(event('message', head + 2, message(head + 2))), true);
});

test('around a message: both sides are open, an end that is reached is closed', () => {
  const timeline = new Timeline(ME);
  timeline.addPage(page(1, 50, 500, true), 'around');
  assert.deepEqual([timeline.hasBefore, timeline.hasAfter], [false, true]);
  timeline.addPage(page(451, 500, 500, true), 'around');
  assert.deepEqual([timeline.hasBefore, timeline.hasAfter], [true, false]);
});

test('somebody who reads back while thousands come keeps a bounded window', () => {
  const recent = new Recent();
  const timeline = new Timeline(ME, recent);
  timeline.addPage(page(1, 50, 50, false), 'newest');
  for (let id = 51; id < 5_000; id += 1) {
    const push = event('message', id, message(id));
    recent.add(push);
    timeline.receive(push, { grow: false });
  }
  assert.ok(timeline.messages.length <= WINDOW && timeline.hasAfter);
  assert.equal(timeline.oldest.message_id, 1);
  assert.ok(recent.events.length <= 1000);
});

test('a thread: its answers only, each once, in order, also those that come before its page', () => {
  const recent = new Recent();
  const thread = new Thread(ME, 5, 3, recent);
  const [early, late, other] = [11, 12, 13].map((id) =>
    event('message', id, message(id, { parent_id: id === 13 ? 4 : 3 })),
  );
  recent.seq = 10;
  recent.add(early);
  thread.receive(early);
  thread.addPage(
    { parent: message(3, { thread_count: 1 }), messages: [message(7, { parent_id: 3 })], has_more: false },
    10,
  );
  for (const push of [late, late, other]) thread.receive(push);
  assert.deepEqual(ids(thread), [3, 7, 11, 12]);
});

function model() {
  const made = new Model();
  made.me = { user_id: ME, username: 'ada', role: 'user' };
  const room = made.describe({ room_id: 5, name: 'general', owner_id: 2, member_count: 2, visibility: 'public' });
  return { made, room };
}

test('counts: unread and mentions of others, each once; own messages and own reading on another device clear them', () => {
  const { made, room } = model();
  made.counts({ room_id: 5, kind: 'room', last_seq: 3, last_read_seq: 3, unread_count: 0, mention_count: 0 });
  made.apply(event('message', 3, message(3)));
  assert.equal(room.unread, 0, 'counted by the server already');
  made.apply(event('message', 4, message(4, { mentions: [ME] })));
  made.apply(event('message', 5, message(5)));
  made.apply(event('message', 5, message(5)));
  assert.deepEqual([room.unread, room.mentions, made.unread, made.mentions], [2, 1, 2, 1]);
  assert.equal(made.read({ room_id: 5, user_id: ME, seq: 5 }), true);
  assert.deepEqual([room.unread, room.mentions], [0, 0]);
  made.apply(event('message', 6, message(6)));
  made.apply(event('message', 7, message(7, { author_id: ME })));
  assert.deepEqual([room.unread, room.read_seq], [0, 7]);
});

const RIGHTS = [
  // role, server role, may, may not
  ['member', 'user', ['send', 'react', 'edit_own'], ['pin', 'delete_any', 'moderate', 'manage_room']],
  ['moderator', 'user', ['pin', 'delete_any', 'invite', 'moderate'], ['manage_room', 'manage_roles']],
  ['owner', 'user', ['manage_room', 'manage_roles', 'moderate'], []],
  ['member', 'moderator', ['delete_any', 'moderate'], ['pin', 'manage_room']],
  ['member', 'admin', ['manage_room', 'manage_roles'], []],
  ['helper', 'user', ['pin', 'send'], ['edit_own', 'moderate']],
];
for (const [role, server, may, mayNot] of RIGHTS) {
  test(`rights: ${role} who is ${server} of the server`, () => {
    const { made, room } = model();
    made.me.role = server;
    room.role = role;
    room.roles = new Map([['helper', { name: 'helper', permissions: ['read', 'send', 'pin'] }]]);
    for (const permission of may) assert.equal(made.can(room, permission), true, permission);
    for (const permission of mayNot) assert.equal(made.can(room, permission), false, permission);
  });
}

test('an archived room and a mute end all writing; a role is covered by who holds all of it', () => {
  const { made, room } = model();
  Object.assign(room, { role: 'owner' });
  assert.equal(made.mayWrite(room, 'react'), true);
  room.muted_until = Infinity;
  assert.equal(made.mayWrite(room, 'react'), false);
  Object.assign(room, { muted_until: 0, archived: true });
  assert.deepEqual([made.mayWrite(room, 'pin'), made.can(room, 'pin')], [false, true]);
  room.role = 'moderator';
  assert.deepEqual(
    ['member', 'moderator', 'owner'].map((role) => made.covers(room, role)),
    [true, true, false],
  );
});

test('who mentions everybody is known by the notification, before the message or after it, and counted once', () => {
  for (const first of ['message', 'notification']) {
    const { made, room } = model();
    const message4 = () => made.apply(event('message', 4, message(4, { content: '@room' })));
    const told = () => made.mentioned({ room_id: 5, message_id: 4 });
    for (const step of first === 'message' ? [message4, told, told] : [told, message4, told]) step();
    assert.deepEqual([room.unread, room.mentions], [1, 1], first);
  }
});

test('rank: nobody acts on an equal or a higher one, but the owner and administrators', () => {
  const { made, room } = model();
  const outranks = (role, over) => Object.assign(room, { role }) && made.outranks(room, over);
  assert.deepEqual(
    ['owner', 'moderator', 'member'].map((over) => outranks('owner', over)),
    [false, true, true],
  );
  assert.deepEqual(
    ['owner', 'moderator', 'member'].map((over) => outranks('moderator', over)),
    [false, false, true],
  );
  assert.deepEqual(
    ['owner', 'moderator', 'member'].map((over) => outranks('member', over)),
    [false, false, false],
  );
  made.me.role = 'admin';
  assert.equal(outranks('member', 'owner'), true);
});

test('the caller’s role, mute and the room’s settings follow the events', () => {
  const { made, room } = model();
  room.role = 'owner';
  made.apply(event('member_role_changed', 1, { user_id: 2, username: 'bob', role: 'owner', actor_id: ME }));
  assert.deepEqual([room.role, room.owner_id], ['moderator', 2]);
  made.apply(event('member_role_changed', 2, { user_id: ME, username: 'ada', role: 'member', actor_id: 2 }));
  assert.equal(room.role, 'member');
  made.apply(event('user_sanctioned', 3, { user_id: ME, kind: 'mute', expires_at: null, actor_id: 2 }));
  assert.equal(room.muted_until, Infinity);
  made.apply(
    event('room_updated', 4, { room: { room_id: 5, name: 'renamed', topic: 't', archived: true }, actor_id: 2 }),
  );
  assert.deepEqual([room.name, room.topic, room.archived], ['renamed', 't', true]);
});

test('typing ends by itself, by a word that it has ended, and by the message', () => {
  const { made, room } = model();
  const typing = (is_typing, now) => made.typing({ room_id: 5, user_id: 2, username: 'bob', is_typing }, now);
  typing(true, 0);
  assert.deepEqual(room.typers(5_999), ['bob']);
  assert.deepEqual(room.typers(6_000), []);
  typing(true, 0);
  typing(false, 1);
  assert.deepEqual(room.typers(2), []);
  typing(true, 3);
  made.apply(event('message', 9, message(9)));
  assert.deepEqual(room.typers(4), []);
});
