// Unit tests of the client library, without network and without waiting: `node --test client.test.mjs`.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Track, VezaClient } from '../../src/api/web/veza-client.js';
import { FakeClock, FakeServer, settled } from './fake.mjs';

/** A client on a fake server, with everything that it emits in `events`. */
function setup({ random = () => 0.5, session = {}, ...options } = {}) {
  const clock = new FakeClock();
  const server = new FakeServer();
  const { WebSocket, fetch } = server;
  const environment = { WebSocket, fetch, now: () => clock.time, random };
  Object.assign(environment, { setTimeout: clock.setTimeout, clearTimeout: clock.clearTimeout });
  const tokens = { access_token: 'access-0', refresh_token: 'refresh-0', ...session };
  const client = new VezaClient({ url: 'http://host:1', session: tokens, environment, ...options });
  const messages = [];
  const states = [];
  client.on('push:message', ({ room_id, seq }) => messages.push(`${room_id}:${seq}`));
  client.on('state', ({ state }) => states.push(state));
  const online = async () => {
    client.start();
    await settled();
    assert.equal(client.status.state, 'online');
  };
  /** Breaks the connection and lets the client come back. */
  const comeBack = async (code = 1006) => {
    server.socket.end(code);
    await clock.advance(60_000);
    assert.equal(client.status.state, 'online');
  };
  return { clock, server, client, messages, states, online, comeBack };
}

test('connects with an authenticate frame to the same host, and follows joined rooms at their heads', async () => {
  const { server, messages, states, online } = setup();
  server.room(5);
  server.rooms.get(5).events.push({}, {});
  await online();
  assert.equal(server.socket.url, 'ws://host:1/ws');
  assert.deepEqual(server.log.map((frame) => frame.type), ['authenticate', 'get_unread', 'resume']);
  assert.deepEqual(server.seen('resume')[0].data.rooms, [{ room_id: 5, last_seq: 2, epoch: 77 }]);
  server.post(5, 'x');
  assert.deepEqual(messages, ['5:3']);
  assert.deepEqual(states, ['connecting', 'syncing', 'online']);
});

test('replies find their command by id, whatever their order; refusals carry code and field', async () => {
  const { server, client, online } = setup();
  await online();
  const held = [];
  server.intercept = (socket, frame) => held.push([socket, frame]) > 0;
  const [one, two] = [1, 2].map((user_id) => client.call('get_user', { user_id }));
  const bad = client.call('x');
  await settled();
  held[2][0].refuse(held[2][1], 'INVALID_REQUEST', { field: 'type' });
  held[1][0].reply(held[1][1], 'user', { user_id: 2 });
  held[0][0].reply(held[0][1], 'user', { user_id: 1 });
  assert.deepEqual([await one, await two], [{ user_id: 1 }, { user_id: 2 }]);
  await assert.rejects(bad, { code: 'INVALID_REQUEST', field: 'type', retryable: false });
});

test('call: repeats what is refused for the moment, at the hinted time; gives up at its deadline', async () => {
  const { server, client, clock, online } = setup();
  await online();
  let refusals = 2;
  server.intercept = (socket, frame) => {
    if (refusals === 0) return false;
    refusals -= 1;
    socket.refuse(frame, 'RATE_LIMIT_EXCEEDED', { retryable: true, retry_after_ms: 1_500 });
    return true;
  };
  const answer = client.call('ping');
  await clock.advance(2_999);
  assert.equal(server.seen('ping').length, 2);
  await clock.advance(1);
  assert.deepEqual(await answer, {});
  server.intercept = () => true; // never answers
  const late = client.call('ping', {}, { timeoutMs: 4_000 });
  const refused = assert.rejects(late, { code: 'TIMEOUT', retryable: true });
  await clock.advance(4_000);
  await refused;
});

test('call: a lost connection repeats the command on the next one', async () => {
  const { server, client, clock, online } = setup();
  await online();
  server.intercept = (_, frame) => frame.type === 'get_user';
  const answer = client.call('get_user', { user_id: 9 });
  await settled();
  server.intercept = (socket, frame) => frame.type === 'get_user' && (socket.reply(frame, 'user', frame.data), true);
  server.socket.end(1006);
  await clock.advance(2_000);
  assert.deepEqual(await answer, { user_id: 9 });
  assert.deepEqual(server.seen('get_user').map((frame) => frame.socket), [0, 1]);
});

const CLOSE_CODES = [
  // code, comes back
  [1000, true], [1001, true], [1005, true], [1006, true], [1011, true], [1012, true], [1013, true],
  [3000, true], [3001, true], [3002, true], [3003, true], [3004, true], [3005, true], [3499, true],
  [3501, false], [3502, false], [3503, false], [3504, false], [3505, false], [3999, false],
  [1002, false], [1003, false], [1007, false], [1009, false],
];
for (const [code, comesBack] of CLOSE_CODES) {
  test(`close code ${code}: ${comesBack ? 'comes back' : 'stays away'}`, async () => {
    const { server, client, clock, online } = setup();
    await online();
    server.socket.end(code);
    await clock.advance(120_000);
    assert.equal(client.status.state, comesBack ? 'online' : 'stopped');
    assert.equal(server.sockets.length, comesBack ? 2 : 1);
    if (!comesBack && code !== 3505) assert.equal(client.status.code, code);
  });
}

test('backoff: full jitter under a bound that doubles, and begins anew after a stable connection', async () => {
  const randoms = [0, 0.25, 1, 0.999];
  let used = 0;
  let random = () => randoms[used++ % 4];
  const { server, client, clock, online } = setup({ random: () => random() });
  await online();
  const delays = [];
  client.on('state', (status) => status.state === 'waiting' && delays.push(status.retry_in_ms));
  server.intercept = (socket) => (socket.end(1006), true);
  server.socket.end(1006);
  await clock.advance(200_000);
  assert.deepEqual(delays.slice(0, 8), [0, 250, 2_000, 3_996, 0, 4_000, 30_000, 29_970]);
  assert.ok(delays.every((delay) => delay <= 30_000));
  server.intercept = () => false;
  random = () => 1;
  while (client.status.state !== 'online') await clock.advance(100);
  server.socket.end(1006);
  assert.equal(client.status.retry_in_ms, 30_000, 'a connection that does not last proves nothing');
  await clock.advance(40_000);
  server.socket.end(1006);
  assert.equal(client.status.retry_in_ms, 500);
});

test('draining: comes back not before the hint', async () => {
  const { server, client, online } = setup({ random: () => 0 });
  await online();
  const hints = [];
  client.on('draining', (data) => hints.push(data.reconnect_after_ms));
  server.socket.push('draining', { reconnect_after_ms: 7_000 });
  server.socket.end(3000);
  assert.deepEqual(hints, [7_000]);
  assert.equal(client.status.retry_in_ms, 7_000);
});

test('resume: what was missed arrives in order, once, by commands of at most max_subscriptions rooms', async () => {
  const { server, messages, online, comeBack } = setup();
  for (const id of [1, 2, 3, 4]) server.room(id);
  server.room(9, 'dm');
  await online();
  assert.deepEqual(server.seen('resume').map((frame) => frame.data.rooms.length), [3, 1]);
  const followed = server.seen('resume').flatMap((frame) => frame.data.rooms.map((row) => row.room_id));
  assert.deepEqual(followed, [1, 2, 3, 9], 'no subscription beyond the limit');
  server.post(1, 'a');
  for (const id of [1, 1, 2, 9]) server.post(id, 'missed', { live: false });
  await comeBack();
  server.post(1, 'b');
  assert.deepEqual(messages, ['1:1', '1:2', '1:3', '2:1', '9:1', '1:4']);
});

test('repetition: an event that comes live and replayed is delivered once', async () => {
  const { server, messages, online } = setup();
  server.room(9, 'dm');
  await online();
  const first = server.post(9, 'a');
  server.socket.push('message', first);
  server.post(9, 'b');
  server.socket.push('message', first);
  assert.deepEqual(messages, ['9:1', '9:2']);
});

test('gap: nothing behind it is delivered before it is filled by a resume from the last event seen', async () => {
  const { server, messages, online } = setup();
  server.room(9, 'dm');
  await online();
  server.post(9, 'a');
  server.intercept = (_, frame) => frame.type === 'resume';
  server.post(9, 'lost', { live: false });
  server.post(9, 'c');
  server.post(9, 'd');
  await settled();
  assert.deepEqual(messages, ['9:1']);
  const asked = server.seen('resume').at(-1);
  assert.deepEqual(asked.data.rooms, [{ room_id: 9, last_seq: 1, epoch: 77 }]);
  assert.equal(server.seen('resume').length, 2, 'one resume for one gap');
  server.post(9, 'behind the verdict');
  server.on_resume(server.socket, asked, asked.data);
  await settled();
  assert.deepEqual(messages, ['9:1', '9:2', '9:3', '9:4', '9:5']);
});

test('gap behind a replay: live events wait for the replay under way, and a later hole is filled', async () => {
  const { server, clock, messages, online } = setup();
  const room = server.room(9, 'dm');
  await online();
  for (const text of ['a', 'b', 'c']) server.post(9, text, { live: false });
  server.intercept = (socket, frame) => {
    if (frame.type !== 'resume' || frame.data.rooms[0].last_seq !== 0) return false;
    socket.reply(frame, 'resumed', { rooms: [{ room_id: 9, epoch: 77, recovered: true, seq: 3, replayed: 3 }] });
    return true;
  };
  server.socket.end(1006);
  await clock.advance(1_000);
  const replay = room.events.slice(0, 3);
  const [, ...live] = ['lost', 'e', 'f'].map((text) => server.post(9, text, { live: false }));
  for (const data of [replay[0].data, live[0], replay[1].data, live[1]]) server.socket.push('message', data);
  const resumes = () => server.seen('resume').map((frame) => frame.data.rooms[0].last_seq);
  assert.deepEqual(resumes(), [0, 0], 'none while the replay goes on');
  server.socket.push('message', replay[2].data);
  await settled();
  assert.deepEqual(messages, ['9:1', '9:2', '9:3', '9:4', '9:5', '9:6']);
  assert.deepEqual(resumes(), [0, 0, 3]);
});

for (const reason of ['epoch', 'ahead']) {
  test(`recovered: false (${reason}): the history is read afresh before anything else is delivered`, async () => {
    const { server, client, messages, online, comeBack } = setup();
    const room = server.room(5);
    await online();
    for (const text of ['a', 'b', 'c']) server.post(5, text);
    const resets = [];
    client.on('reset', ({ room_id, reason: why, seq, messages: page }) => {
      resets.push([room_id, why, seq, page.length, [...messages]]);
    });
    if (reason === 'epoch') room.epoch = 78;
    else room.events.length = 2;
    server.intercept = (socket, frame) => {
      if (frame.type === 'get_history') server.post(5, 'between verdict and history');
      return false;
    };
    await comeBack();
    const head = room.events.length;
    assert.deepEqual(resets, [[5, reason, head, head, ['5:1', '5:2', '5:3']]]);
    server.post(5, 'after');
    assert.equal(messages.at(-1), `5:${head + 1}`);
    await comeBack();
    assert.equal(server.seen('resume').at(-1).data.rooms[0].epoch, room.epoch);
    assert.equal(resets.length, 1);
  });
}

test('recovered: false, and the connection breaks before the history came: the next connection reads it', async () => {
  const { server, client, online, comeBack } = setup();
  const room = server.room(5);
  await online();
  server.post(5, 'a');
  const resets = [];
  client.on('reset', (reset) => resets.push(reset.messages.length));
  room.epoch = 78;
  server.intercept = (_, frame) => frame.type === 'get_history';
  await comeBack();
  assert.deepEqual(resets, []);
  server.intercept = () => false;
  await comeBack();
  assert.deepEqual(resets, [1]);
});

test('a room that is gone is reported and followed no more; its unsent messages fail', async () => {
  const { server, client, online, comeBack } = setup();
  server.room(5);
  await online();
  const lost = [];
  client.on('room_lost', (room) => lost.push(room));
  server.intercept = (_, frame) => frame.type === 'send_message';
  const items = [client.send(5, 'a'), client.send(5, 'b')];
  server.rooms.delete(5);
  server.intercept = (socket, frame) => {
    if (frame.type === 'send_message') socket.refuse(frame, 'OVERLOADED', { retryable: true });
    return frame.type === 'send_message';
  };
  await comeBack();
  assert.deepEqual(lost, [{ room_id: 5, reason: 'not_found' }]);
  assert.equal(client.follows(5), false);
  const failed = ['failed', 'NOT_A_MEMBER'];
  assert.deepEqual(items.map((item) => [item.status, item.error.code]), [failed, failed]);
  assert.equal(client.unsentCount, 0);
});

test('conversations: live without being asked for, also before their position is known', async () => {
  const { server, client, messages, clock } = setup();
  server.room(9, 'dm');
  server.post(9, 'old', { live: false });
  let asked = null;
  server.intercept = (socket, frame) => frame.type === 'get_unread' && !asked && Boolean((asked = frame));
  client.start();
  await settled();
  server.post(9, 'while get_unread is under way');
  assert.deepEqual(messages, []);
  server.intercept = () => false;
  server.on_get_unread(server.socket, asked);
  await settled();
  server.room(10, 'dm');
  server.socket.push('dm_created', { conversation_id: 10, user_ids: [1, 2] });
  server.post(10, 'first');
  server.post(9, 'live');
  await clock.advance(0);
  assert.deepEqual(messages, ['10:1', '9:3']);
});

test('send: one at a time in a room, in order, rooms apart; conversations through send_dm', async () => {
  const { server, client, online } = setup();
  server.room(5);
  server.room(9, 'dm');
  await online();
  const held = [];
  server.intercept = (_, frame) => frame.type.startsWith('send_') && held.push(frame) > 0;
  const [a, , c] = [client.send(5, 'a'), client.send(5, 'b'), client.send(9, 'c')];
  assert.deepEqual(held.map((frame) => [frame.type, frame.data.content]), [['send_message', 'a'], ['send_dm', 'c']]);
  assert.equal(held[1].data.conversation_id, 9);
  assert.match(held[0].data.client_id, /^[0-9a-f]{32}$/);
  server.intercept = () => false;
  server.on_send_message(server.socket, held[0], held[0].data);
  await settled();
  assert.equal((await a.done).message_id, 1);
  assert.deepEqual(server.rooms.get(5).events.map((event) => event.data.content), ['a', 'b']);
  assert.equal(c.status, 'sending');
  assert.deepEqual(client.unsent(9), [c]);
});

test('send: the connection breaks between the commit and the answer; nothing is lost or doubled', async () => {
  const { server, client, messages, online, comeBack } = setup();
  server.room(5);
  await online();
  server.intercept = (socket, frame) => {
    if (frame.type !== 'send_message') return false;
    const { seq } = server.post(5, frame.data.content, { live: false, author: 1 });
    server.acks.set(frame.data.client_id, { room_id: 5, message_id: seq, seq });
    return true; // committed, never answered
  };
  const items = [client.send(5, 'a'), client.send(5, 'b')];
  const acknowledgedWhenPushed = [];
  client.on('push:message', ({ seq }) => acknowledgedWhenPushed.push(items.some((item) => item.message_id === seq)));
  await settled();
  server.intercept = () => false;
  await comeBack();
  assert.deepEqual(server.rooms.get(5).events.map((event) => event.data.content), ['a', 'b']);
  assert.deepEqual(items.map((item) => [item.status, item.message_id]), [['sent', 1], ['sent', 2]]);
  assert.equal((await items[0].done).duplicate, true);
  assert.deepEqual(messages, ['5:1', '5:2']);
  assert.deepEqual(acknowledgedWhenPushed, [true, true], 'an own message is known by its id before it is replayed');
  const [first, second] = server.seen('send_message');
  assert.equal(first.data.client_id, second.data.client_id);
});

test('send: while offline it waits; nothing goes out before the rooms are resumed', async () => {
  const { server, client, online, clock } = setup();
  server.room(5);
  await online();
  server.socket.end(1006);
  const item = client.send(5, 'offline');
  assert.equal(item.status, 'queued');
  await clock.advance(60_000);
  assert.equal(item.status, 'sent');
  const types = server.log.filter((frame) => frame.socket === 1).map((frame) => frame.type);
  assert.deepEqual(types.slice(0, 4), ['authenticate', 'get_unread', 'resume', 'send_message']);
});

test('send: a refusal for the moment is repeated and not overtaken; a final one fails', async () => {
  const { server, client, online, clock } = setup();
  server.room(5);
  await online();
  const limited = ['RATE_LIMIT_EXCEEDED', { retryable: true, retry_after_ms: 2_000 }];
  const answers = { a: limited, bad: ['CONTENT_REJECTED', {}] };
  server.intercept = (socket, frame) => {
    const answer = answers[frame.data.content];
    delete answers[frame.data.content];
    if (answer) socket.refuse(frame, ...answer);
    return Boolean(answer);
  };
  const [a, bad, c] = ['a', 'bad', 'c'].map((text) => client.send(5, text));
  await settled();
  assert.deepEqual([a.status, a.error.code, bad.status], ['delayed', 'RATE_LIMIT_EXCEEDED', 'queued']);
  const d = client.send(5, 'd');
  await clock.advance(1_999);
  assert.equal(server.seen('send_message').length, 1, 'nothing goes out before the hinted time');
  await clock.advance(1);
  assert.deepEqual([a, bad, c, d].map((item) => item.status), ['sent', 'failed', 'sent', 'sent']);
  await assert.rejects(bad.done, { code: 'CONTENT_REJECTED' });
  assert.deepEqual(server.rooms.get(5).events.map((event) => event.data.content), ['a', 'c', 'd']);
});

test('send: no answer at all is repeated on the same connection', async () => {
  const { server, client, online, clock } = setup();
  server.room(5);
  await online();
  let silent = 1;
  server.intercept = (_, frame) => frame.type === 'send_message' && silent-- > 0;
  const item = client.send(5, 'a');
  await clock.advance(11_000);
  assert.equal(item.status, 'sent');
  assert.equal(server.sockets.length, 1);
  assert.equal(server.rooms.get(5).events.length, 1);
});

test('join follows the room from the seq of the reply; leave ends it', async () => {
  const { server, client, messages, online } = setup();
  await online();
  server.room(5);
  server.post(5, 'before', { live: false });
  await client.join(5);
  server.post(5, 'x');
  assert.deepEqual(messages, ['5:2']);
  await client.leave(5);
  assert.equal(client.follows(5), false);
});

const ENDS = [
  // push, its fields, whether it ends the user's membership
  ['member_kicked', { user_id: 1 }, true], ['member_kicked', { user_id: 2 }, false],
  ['user_sanctioned', { user_id: 1, kind: 'ban' }, true], ['user_sanctioned', { user_id: 1, kind: 'kick' }, true],
  ['user_sanctioned', { user_id: 1, kind: 'mute' }, false], ['user_sanctioned', { user_id: 2, kind: 'ban' }, false],
  ['room_deleted', { actor_id: 2 }, true], ['room_updated', { room: {} }, false], ['void', {}, false],
];
for (const [type, fields, ends] of ENDS) {
  test(`${type} ${JSON.stringify(fields)}: ${ends ? 'the last that one hears of the room' : 'an event like any other'}`, async () => {
    const { server, client, messages, online } = setup();
    server.room(5);
    await online();
    const [lost, types] = [[], []];
    client.on('room_lost', ({ room_id, reason, event }) => lost.push([room_id, reason, event.seq]));
    client.on('push', (push) => types.push(push.type));
    server.change(5, type, fields);
    assert.deepEqual(types, [type]);
    assert.deepEqual(lost, ends ? [[5, type, 1]] : []);
    assert.equal(client.follows(5), !ends);
    if (!ends) server.post(5, 'after');
    assert.deepEqual(messages, ends ? [] : ['5:2']);
  });
}

test('events of all kinds are one sequence: missed ones are replayed in order, between the messages', async () => {
  const { server, client, online, comeBack } = setup();
  server.room(5);
  await online();
  const seen = [];
  client.on('push', ({ type, data }) => seen.push(`${data.seq} ${type}`));
  server.post(5, 'a');
  server.change(5, 'reaction_added', { message_id: 1, emoji: '👍', user_id: 2, count: 1 }, { live: false });
  server.change(5, 'message_edited', { message_id: 1, content: 'b' }, { live: false });
  server.change(5, 'message_pinned', { message_id: 1 });
  await settled();
  const expected = ['1 message', '2 reaction_added', '3 message_edited', '4 message_pinned'];
  assert.deepEqual(seen, expected, 'a gap of changes is filled like one of messages');
  server.change(5, 'void', {}, { live: false });
  server.change(5, 'message_deleted', { message_id: 1 }, { live: false });
  await comeBack();
  assert.deepEqual(seen, [...expected, '5 void', '6 message_deleted']);
});

test('the same user leaves a room on another connection: it is followed no more', async () => {
  const { server, client, online } = setup();
  server.room(5);
  await online();
  const lost = [];
  client.on('room_lost', ({ reason }) => lost.push(reason));
  server.socket.push('member_left', { room_id: 5, user_id: 2, username: 'bob' });
  server.socket.push('member_left', { room_id: 5, user_id: 1, username: 'me' });
  server.socket.push('member_left', { room_id: 5, user_id: 1, username: 'me' });
  assert.deepEqual(lost, ['member_left']);
});

test('call, once: repeated where nothing has happened, not where that is unknown', async () => {
  const { server, client, clock, online } = setup();
  await online();
  const refusals = ['OVERLOADED', 'STORE_UNAVAILABLE'];
  server.intercept = (socket, frame) => {
    if (frame.type !== 'edit_message') return false;
    socket.refuse(frame, refusals.shift(), { retryable: true, retry_after_ms: 10 });
    return true;
  };
  const refused = assert.rejects(client.call('edit_message', { message_id: 1 }, { once: true }), { code: 'STORE_UNAVAILABLE' });
  await clock.advance(1_000);
  await refused;
  assert.equal(server.seen('edit_message').length, 2);
});

test('tell: sent without an id while online, dropped otherwise', async () => {
  const { server, client, online } = setup();
  client.tell('typing', { room_id: 5, is_typing: true });
  await online();
  client.tell('typing', { room_id: 5, is_typing: true });
  assert.deepEqual(server.seen('typing').map(({ id, data }) => [id, data.room_id]), [[undefined, 5]]);
  server.socket.end(1006);
  client.tell('typing', { room_id: 5, is_typing: false });
  assert.equal(server.seen('typing').length, 1);
});

test('a group is made of a list of users, a pair of one', async () => {
  const { server, client, online } = setup();
  await online();
  server.intercept = (socket, frame) => frame.type === 'create_dm'
    && (socket.reply(frame, 'dm_created', { conversation_id: 9, user_ids: [1, 2, 3], duplicate: false }), true);
  await client.createDm([2, 3]);
  await client.createDm(2);
  assert.deepEqual(server.seen('create_dm').map(({ data }) => [data.user_ids, data.user_id]), [[[2, 3], undefined], [undefined, 2]]);
  assert.equal(client.follows(9), true);
});

test('tokens: token_expiring renews inside the connection, in the first half of what is left', async () => {
  const { server, client, clock, online } = setup({ session: { expires_at: 1_060_000 } });
  await online();
  const saved = [];
  client.on('tokens', (session) => saved.push([session.access_token, session.refresh_token]));
  server.socket.push('token_expiring', { expires_at: 'x' });
  await clock.advance(14_999);
  assert.equal(server.refreshes, 0);
  await clock.advance(1);
  assert.deepEqual(server.seen('refresh_token').map((frame) => frame.data.token), ['access-1']);
  assert.deepEqual(saved, [['access-1', 'refresh-1']]);
  assert.equal(server.sockets.length, 1);
});

test('tokens: one that has ended is renewed; refused once more, the session ends', async () => {
  const ended = setup({ session: { expires_at: 1_000_000 } });
  ended.client.start();
  await settled();
  assert.equal(ended.server.refreshes, 1);
  assert.equal(ended.client.status.state, 'online');

  const refused = setup();
  refused.server.validToken = 'another';
  const reasons = [];
  refused.client.on('signed_out', ({ reason }) => reasons.push(reason));
  refused.client.start();
  await refused.clock.advance(60_000);
  assert.equal(refused.client.status.state, 'online', 'renewed after the refusal');
  refused.server.socket.end(3001);
  await refused.clock.advance(5_000);
  assert.deepEqual([refused.server.refreshes, refused.client.status.state], [2, 'online'], 'ended while connected');
  assert.deepEqual(reasons, []);

  const revoked = setup();
  revoked.server.validToken = 'another';
  revoked.server.refreshes = 3; // the refresh token is an old one
  revoked.client.on('signed_out', ({ reason }) => reasons.push(reason));
  revoked.client.start();
  await revoked.clock.advance(60_000);
  assert.deepEqual(reasons, ['session_ended']);
  assert.equal(revoked.client.status.state, 'stopped');
});

test('tokens: another tab has renewed meanwhile; the refresh token is not used twice', async () => {
  const store = { session: { access_token: 'access-0', refresh_token: 'refresh-0' } };
  Object.assign(store, { load: () => store.session, save: (session) => (store.session = session) });
  store.lock = async (work) => {
    store.session = { access_token: 'access-1', refresh_token: 'refresh-1' };
    return work();
  };
  const { server, clock, online } = setup({ store });
  await online();
  server.socket.push('token_expiring', {});
  await clock.advance(0);
  assert.equal(server.refreshes, 0);
  assert.equal(server.seen('refresh_token')[0].data.token, 'access-1');
});

test('a silent connection is asked and given up; a nudge asks at once', async () => {
  const { server, client, clock, online } = setup();
  await online();
  await clock.advance(25_000);
  assert.equal(server.seen('ping').length, 1);
  server.intercept = (_, frame) => frame.type === 'ping';
  client.nudge();
  await clock.advance(9_999);
  assert.equal(server.sockets.length, 1);
  await clock.advance(2_000);
  assert.equal(server.sockets.length, 2);
  assert.equal(client.status.state, 'online');
});

test('a handler that fails does not stop the events behind it', async (t) => {
  t.mock.method(console, 'error', () => {});
  const { server, client, messages, online } = setup();
  server.room(5);
  await online();
  client.on('push:message', () => assert.fail('boom'));
  server.post(5, 'a');
  server.post(5, 'b');
  assert.deepEqual(messages, ['5:1', '5:2']);
  assert.equal(console.error.mock.callCount(), 2);
});

test('Track: any order of arrival with repetitions gives one order', () => {
  for (let seed = 1; seed <= 200; seed += 1) {
    let state = seed;
    const random = (below) => (state = (state * 1_103_515_245 + 12_345) % 2_147_483_648) % below;
    const arrivals = Array.from({ length: 60 }, (_, i) => (i < 20 ? i + 1 : random(20) + 1));
    for (let i = arrivals.length - 1; i > 0; i -= 1) {
      const j = random(i + 1);
      [arrivals[i], arrivals[j]] = [arrivals[j], arrivals[i]];
    }
    const track = new Track(1, 'room', 0);
    const delivered = arrivals.flatMap((seq) => track.accept({ data: { seq } })).map((push) => push.data.seq);
    assert.deepEqual(delivered, Array.from({ length: 20 }, (_, i) => i + 1), `seed ${seed}`);
    assert.equal(track.duplicates, 40);
  }
});
