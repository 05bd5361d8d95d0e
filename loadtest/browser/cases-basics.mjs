// Meeting, writing, reading back, and what becomes of it when the server or the connection goes away.

import assert from 'node:assert/strict';
import { Server, User } from './harness.mjs';
import { test, token, world } from './world.mjs';

const ROUNDS = 3;

test('two users register, meet in a room and see each other’s messages in one order', async () => {
  const { ada, bob } = world;
  await Promise.all([ada.register(), bob.register()]);
  await ada.createRoom('general', { topic: 'Everything and nothing' });
  await bob.joinRoom('general');
  await ada.say('hello bob');
  await bob.shows(['hello bob']);
  await bob.say('hello ada');
  await ada.shows(['hello bob', 'hello ada']);
  await bob.shows(['hello bob', 'hello ada']);
});

test('what users write is text, never markup; links and code are shown as such', async () => {
  const { ada, bob } = world;
  const evil = '<img src=x onerror="document.title=1"><b>bold</b> https://example.org/?a=1&b=2.';
  await ada.say(evil);
  await bob.shows(['hello bob', 'hello ada', evil]);
  const content = bob.page.locator('#log .content').last();
  assert.equal(await content.locator('img, b').count(), 0);
  assert.equal(await content.locator('a').getAttribute('href'), 'https://example.org/?a=1&b=2');
  await ada.say('see `<i>code</i> @bob` here');
  await bob.page.locator('#log code', { hasText: '<i>code</i> @bob' }).waitFor();
  assert.equal(await bob.messageOf('see').locator('.mention').count(), 0, 'nothing in code is a mention');
});

test('unread badges count what others wrote elsewhere, and go when it is seen', async () => {
  const { ada, bob } = world;
  await ada.createRoom('kitchen');
  const badge = ada.entry('general').locator('.badge');
  await bob.say('one');
  await bob.say('two');
  await ada.eventually('badge', () => badge.textContent(), '2');
  assert.match(await ada.page.title(), /^\(2\)/);
  await ada.openRoom('general');
  await ada.page.locator('#log .new-line', { hasText: 'New' }).waitFor();
  assert.deepEqual(await ada.page.locator('#log .new-line ~ .message .content').allTextContents(), ['one', 'two']);
  await ada.eventually('badge', () => badge.textContent(), '');
  await ada.page.reload();
  await ada.inRoom('general');
  await ada.online();
  assert.equal(await badge.textContent(), '', 'read on the server as well');
});

test('a reload keeps the session, the room, its messages and what was being written', async () => {
  const { bob } = world;
  const before = await bob.texts();
  await bob.page.getByLabel('Message', { exact: true }).fill('half a thought');
  await bob.page.reload();
  await bob.inRoom('general');
  await bob.shows(before);
  assert.equal(await bob.page.getByLabel('Message', { exact: true }).inputValue(), 'half a thought');
  await bob.page.getByLabel('Message', { exact: true }).fill('');
});

test('finding a user and messaging them; the other side sees it come without doing anything', async () => {
  const { ada, bob } = world;
  await ada.message('bob');
  await ada.say('just between us');
  await bob.eventually('badge', () => bob.entry('ada').locator('.badge').textContent(), '1');
  await bob.toast('Message from ada');
  await bob.openRoom('ada');
  await bob.shows(['just between us']);
  await bob.say('of course');
  await ada.shows(['just between us', 'of course']);
});

test('reading back through history, page by page, without a jump', async () => {
  const { ada } = world;
  await ada.createRoom('archive');
  const all = Array.from({ length: 130 }, (_, i) => `line ${i + 1}`);
  await ada.page.evaluate(async (lines) => {
    const { VezaClient } = await import('/veza-client.js');
    const { access_token } = JSON.parse(localStorage.getItem('veza.session'));
    const client = new VezaClient({ url: location.origin, session: { access_token } });
    client.start();
    const roomId = Number(location.hash.split('-')[1]);
    await Promise.all(lines.map((line) => client.send(roomId, line).done));
    client.stop();
  }, all);
  await ada.shows(all);
  await ada.page.reload();
  await ada.shows(all.slice(-50));
  // The first whole message in sight, before anything has answered to the scrolling.
  const before = await ada.page.locator('#scroller').evaluate((node) => {
    node.scrollTo(0, 390);
    const { top } = node.getBoundingClientRect();
    const seen = [...node.querySelectorAll('.message')].find((one) => one.getBoundingClientRect().top >= top);
    return { line: /line \d+$/.exec(seen.textContent.trim())[0], y: seen.getBoundingClientRect().top };
  });
  const marker = ada.page.locator('#log .message', { hasText: new RegExp(`${before.line}$`) });
  await ada.shows(all.slice(-100));
  const after = await marker.boundingBox();
  assert.ok(Math.abs(before.y - after.y) <= 2, `the text under the reader’s eyes moved by ${after.y - before.y}px`);
  await ada.page.locator('#scroller').evaluate((node) => node.scrollTo(0, 0));
  await ada.shows(all);
  assert.match(await ada.page.locator('#history-state').textContent(), /beginning of #archive/);
});

test('members are listed; leaving takes the room away until one joins again', async () => {
  const { ada, bob } = world;
  await ada.openRoom('general');
  await bob.openRoom('general');
  await bob.page.getByRole('button', { name: 'Members', exact: true }).click();
  const names = () => bob.page.locator('.person .name').allTextContents();
  await bob.eventually('members', names, (seen) => seen.sort().join() === 'ada,bob (you)');
  await bob.page.getByRole('button', { name: 'Close the panel' }).click();
  await bob.roomMenu('Leave room');
  await bob.page.getByRole('button', { name: 'Leave room' }).click();
  await bob.eventually('rooms', () => bob.page.locator('#room-list .room-button').count(), 0);
  await bob.joinRoom('general');
  await bob.shows(await ada.texts());
});

/** Both write while the server goes down and comes back; in the end both see all of it, once, in one order. */
async function restart(round, signal) {
  const { ada, bob, server } = world;
  const before = await ada.texts();
  const texts = Array.from({ length: 8 }, (_, i) => `${signal} ${round}: ${i + 1}`);
  const write = async (user, from) => {
    for (const text of texts.slice(from, from + 4)) await user.say(`${user.name}, ${text}`);
  };
  const writing = Promise.all([write(ada, 0), write(bob, 0)]);
  const first = ada.page.locator('#log .content', { hasText: `${signal} ${round}: 1` }).first();
  if (signal === 'SIGKILL') await first.waitFor();
  const { code } = await server.end(signal);
  if (signal === 'SIGTERM') assert.equal(code, 0);
  await Promise.all([writing, ada.offline(), bob.offline()]);
  await Promise.all([write(ada, 4), write(bob, 4)]);
  const last = async () => (await ada.texts()).at(-1);
  await ada.eventually('written offline, and shown as such', last, `(queued) ada, ${texts[7]}`);
  await server.start();
  await Promise.all([ada.online(), bob.online()]);
  const done = (seen) => seen.length >= before.length + 16 && !seen.some((text) => text.startsWith('('));
  const seen = await ada.eventually('messages', () => ada.texts(), done);
  await bob.shows(seen);
  assert.deepEqual(seen.slice(0, before.length), before, 'nothing old is lost, moved or repeated');
  for (const name of ['ada', 'bob']) {
    const own = seen.slice(before.length).filter((text) => text.startsWith(`${name}, `));
    assert.deepEqual(
      own,
      texts.map((text) => `${name}, ${text}`),
      'each once, in the order written',
    );
  }
  await Promise.all([ada.page.reload(), bob.page.reload()]);
  await Promise.all([ada.shows(seen.slice(-50)), bob.shows(seen.slice(-50))]);
}

test('kill -9 and a restart: nothing is lost or repeated', async () => {
  const { ada, bob } = world;
  await ada.createRoom('crash');
  await bob.joinRoom('crash');
  for (let round = 1; round <= ROUNDS; round += 1) await restart(round, 'SIGKILL');
});

test('an orderly restart: nothing is lost or repeated', async () => {
  const { ada, bob } = world;
  await ada.createRoom('drain');
  await bob.joinRoom('drain');
  await restart(1, 'SIGTERM');
});

test('a conversation goes on after the restart; its author sees that it was seen', async () => {
  const { ada, bob } = world;
  await Promise.all([ada.openRoom('bob'), bob.openRoom('ada')]);
  await bob.say('still here?');
  await ada.shows(['just between us', 'of course', 'still here?']);
  await bob.page.locator('#typing', { hasText: 'Seen' }).waitFor();
});

test('two tabs of one user show the same, renew short tokens once for both, and end together', async () => {
  const place = new Server(world.server.binary, { accessDuration: '12s' });
  try {
    await place.start();
    const first = await User.open(world.browser, place, 'carol');
    await first.register();
    await first.createRoom('tabs');
    const second = await User.another(first);
    await second.openRoom('tabs');
    let last = await token(first);
    const said = [];
    for (const writer of [first, second, first]) {
      last = await first.eventually(
        'token',
        () => token(first),
        (now) => now !== last,
      );
      said.push(`said after ${said.length + 1} renewals`);
      await writer.say(said.at(-1));
      await Promise.all([first.shows(said), second.shows(said)]);
    }
    await second.signOut();
    await first.page.getByRole('button', { name: 'Log in' }).waitFor();
    const left = await first.page.locator('#log li, .room-list li, #room-title, #me').allTextContents();
    assert.equal(left.join(''), '', 'nothing is left on the page');
    assert.deepEqual([...first.faults, ...second.faults], []);
    await first.context.close();
  } finally {
    await place.remove();
  }
});
