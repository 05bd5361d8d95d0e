// The web client in headless Chromium against a real server:
//   node browser-test.mjs --server ../../target/debug/chat-server
// Each case begins where the one before ended: two users, one server, as in life.

import assert from 'node:assert/strict';
import { launchBrowser, option, Server, User, WAIT_MS } from './harness.mjs';

const ROUNDS = 3;
const cases = [];
const test = (name, run) => cases.push({ name, run });

let server;
let browser;
let ada;
let bob;

/** The user's access token of the moment. */
function token({ page }) {
  return page.evaluate(() => JSON.parse(localStorage.getItem('veza.session')).access_token);
}

/** Waits until `ask` gives what `accept` takes. */
async function eventually(what, ask, accept) {
  const deadline = Date.now() + WAIT_MS;
  let seen;
  do {
    seen = await ask();
    if (accept(seen)) return seen;
    await ada.page.evaluate(() => new Promise((resolve) => requestAnimationFrame(resolve)));
  } while (Date.now() < deadline);
  throw new Error(`${what}: still ${JSON.stringify(seen)}`);
}

test('two users register, meet in a room and see each other’s messages in one order', async () => {
  await Promise.all([ada.register(), bob.register()]);
  await ada.createRoom('general', 'Everything and nothing');
  await bob.joinRoom('general');
  await ada.say('hello bob');
  await bob.shows(['hello bob']);
  await bob.say('hello ada');
  await ada.shows(['hello bob', 'hello ada']);
  await bob.shows(['hello bob', 'hello ada']);
});

test('what users write is text, never markup', async () => {
  const evil = '<img src=x onerror="document.title=1"><b>bold</b> https://example.org/?a=1&b=2.';
  await ada.say(evil);
  await bob.shows(['hello bob', 'hello ada', evil]);
  const content = bob.page.locator('#log .content').last();
  assert.equal(await content.locator('img, b').count(), 0);
  assert.equal(await content.locator('a').getAttribute('href'), 'https://example.org/?a=1&b=2');
});

test('unread badges count what others wrote elsewhere, and go when it is seen', async () => {
  await ada.createRoom('kitchen');
  const badge = ada.page.locator('#room-list .room-button', { hasText: 'general' }).locator('.badge');
  await bob.say('one');
  await bob.say('two');
  await eventually('badge', () => badge.textContent(), (text) => text === '2');
  assert.match(await ada.page.title(), /^\(2\)/);
  await ada.openRoom('general');
  await eventually('badge', () => badge.textContent(), (text) => text === '');
  await ada.page.reload();
  await ada.inRoom('general');
  await ada.online();
  assert.equal(await badge.textContent(), '', 'read on the server as well');
});

test('a reload keeps the session, the room and its messages', async () => {
  const before = await bob.texts();
  await bob.page.reload();
  await bob.inRoom('general');
  await bob.shows(before);
});

test('finding a user and messaging them; the other side sees it come without doing anything', async () => {
  await ada.message('bob');
  await ada.say('just between us');
  const entry = bob.page.locator('#dm-list .room-button', { hasText: 'ada' });
  await eventually('badge', () => entry.locator('.badge').textContent(), (text) => text === '1');
  await bob.openRoom('ada');
  await bob.shows(['just between us']);
  await bob.say('of course');
  await ada.shows(['just between us', 'of course']);
});

test('reading back through history, page by page, without a jump', async () => {
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
  const marker = ada.page.locator('#log .message', { hasText: /^.*line 81$/ });
  await ada.page.locator('#scroller').evaluate((node) => node.scrollTo(0, 60));
  const before = await marker.boundingBox();
  await ada.shows(all.slice(-100));
  const after = await marker.boundingBox();
  assert.ok(Math.abs(before.y - after.y) <= 2, `the text under the reader’s eyes moved by ${after.y - before.y}px`);
  await ada.page.locator('#scroller').evaluate((node) => node.scrollTo(0, 0));
  await ada.shows(all);
  assert.match(await ada.page.locator('#history-state').textContent(), /beginning of #archive/);
});

test('members are listed; leaving takes the room away until one joins again', async () => {
  await ada.openRoom('general');
  await bob.openRoom('general');
  await bob.page.getByRole('button', { name: 'Members' }).click();
  const names = () => bob.page.locator('#member-list .name').allTextContents();
  await eventually('members', names, (seen) => seen.sort().join() === 'ada,bob');
  await bob.page.getByRole('button', { name: 'Close the list of members' }).click();
  await bob.page.getByRole('button', { name: 'Leave', exact: true }).click();
  await bob.page.getByRole('button', { name: 'Leave room' }).click();
  await eventually('rooms', () => bob.page.locator('#room-list .room-button').count(), (count) => count === 0);
  await bob.joinRoom('general');
  await bob.shows(await ada.texts());
});

/** Both write while the server goes down and comes back; in the end both see all of it, once, in one order. */
async function restart(round, signal) {
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
  await eventually('written offline, and shown as such', last, (text) => text === `(queued) ada, ${texts[7]}`);
  await server.start();
  await Promise.all([ada.online(), bob.online()]);
  const done = (seen) => seen.length >= before.length + 16 && !seen.some((text) => text.startsWith('('));
  const seen = await eventually('messages', () => ada.texts(), done);
  await bob.shows(seen);
  assert.deepEqual(seen.slice(0, before.length), before, 'nothing old is lost, moved or repeated');
  for (const name of ['ada', 'bob']) {
    const own = seen.slice(before.length).filter((text) => text.startsWith(`${name}, `));
    assert.deepEqual(own, texts.map((text) => `${name}, ${text}`), 'each once, in the order written');
  }
  await Promise.all([ada.page.reload(), bob.page.reload()]);
  await Promise.all([ada.shows(seen.slice(-50)), bob.shows(seen.slice(-50))]);
}

test('kill -9 and a restart: nothing is lost or repeated', async () => {
  await ada.createRoom('crash');
  await bob.joinRoom('crash');
  for (let round = 1; round <= ROUNDS; round += 1) await restart(round, 'SIGKILL');
});

test('an orderly restart: nothing is lost or repeated', async () => {
  await ada.createRoom('drain');
  await bob.joinRoom('drain');
  await restart(1, 'SIGTERM');
});

test('a conversation goes on after the restart', async () => {
  await Promise.all([ada.openRoom('bob'), bob.openRoom('ada')]);
  await bob.say('still here?');
  await ada.shows(['just between us', 'of course', 'still here?']);
});

test('everything that can be pressed or filled has a name', async () => {
  const nameless = await ada.page.locator('button, input, textarea, a').evaluateAll((nodes) => nodes
    .filter((node) => !(node.textContent.trim() || node.ariaLabel || node.labels?.length))
    .map((node) => node.outerHTML));
  assert.deepEqual(nameless, []);
});

test('with the keyboard alone: from the list into a room, writing, closing a dialog', async () => {
  await ada.page.locator('.room-button', { hasText: 'kitchen' }).focus();
  await ada.page.keyboard.press('Enter');
  await ada.inRoom('kitchen');
  await ada.page.keyboard.type('typed where the focus was');
  await ada.page.keyboard.press('Enter');
  await ada.shows(['typed where the focus was']);
  const opener = ada.page.getByRole('button', { name: 'Find or create a room' });
  await opener.focus();
  await ada.page.keyboard.press('Enter');
  await ada.page.locator('#rooms-dialog[open]').waitFor();
  assert.equal(await ada.page.evaluate(() => document.activeElement.id), 'room-query');
  await ada.page.keyboard.press('Escape');
  assert.equal(await ada.page.evaluate(() => document.activeElement.id), 'open-rooms', 'the focus comes back');
});

test('on a narrow screen the list and the room take turns, and nothing is wider than the screen', async () => {
  await bob.openRoom('crash');
  await bob.page.setViewportSize({ width: 360, height: 640 });
  const scroller = bob.page.locator('#scroller');
  const below = () => scroller.evaluate((node) => node.scrollHeight - node.scrollTop - node.clientHeight);
  await eventually('still at the end', below, (pixels) => pixels < 2);
  const wide = () => bob.page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
  assert.equal(await bob.page.locator('.sidebar').isVisible(), false);
  assert.equal(await wide(), false);
  await bob.page.getByRole('button', { name: 'Back to the list' }).click();
  assert.equal(await bob.page.locator('.sidebar').isVisible(), true);
  assert.equal(await bob.page.locator('#conversation').isVisible(), false);
  await bob.openRoom('general');
  assert.equal(await wide(), false);
});

test('wrong password: a plain word, and no entry; signing out leaves nothing behind', async () => {
  await bob.page.setViewportSize({ width: 1280, height: 800 });
  await bob.page.getByRole('button', { name: 'Sign out' }).click();
  await bob.page.getByLabel('Username').fill('bob');
  await bob.page.getByLabel('Password').fill('not the password of bob');
  assert.equal(await bob.page.evaluate(() => localStorage.length + sessionStorage.length), 0);
  const refusal = bob.page.waitForResponse((response) => response.url().endsWith('/auth/login'));
  await bob.page.getByRole('button', { name: 'Log in' }).click();
  assert.equal((await refusal).status(), 401);
  await bob.page.getByText('Username and password do not match.').waitFor();
  bob.faults = bob.faults.filter((fault) => !/status of 401/.test(fault)); // the browser's word for that answer
  await bob.page.getByLabel('Password').fill('password of bob');
  await bob.page.getByRole('button', { name: 'Log in' }).click();
  await bob.online();
});

test('two tabs of one user show the same, renew short tokens once for both, and end together', async () => {
  const place = new Server(server.binary, { accessDuration: '12s' });
  try {
    await place.start();
    const first = await User.open(browser, place, 'carol');
    await first.register();
    await first.createRoom('tabs');
    const second = await User.another(first);
    await second.openRoom('tabs');
    let last = await token(first);
    const said = [];
    for (const writer of [first, second, first]) {
      last = await eventually('token', () => token(first), (now) => now !== last);
      said.push(`said after ${said.length + 1} renewals`);
      await writer.say(said.at(-1));
      await Promise.all([first.shows(said), second.shows(said)]);
    }
    await second.page.getByRole('button', { name: 'Sign out' }).click();
    await first.page.getByRole('button', { name: 'Log in' }).waitFor();
    const left = await first.page.locator('#log li, .room-list li, #room-title').allTextContents();
    assert.equal(left.join(''), '', 'nothing is left on the page');
    assert.deepEqual([...first.faults, ...second.faults], []);
    await first.context.close();
  } finally {
    await place.remove();
  }
});

test('no error in either page, no violation of its content security policy', async () => {
  assert.deepEqual([...ada.faults, ...bob.faults], []);
});

async function main() {
  let [passed, failed] = [0, 0];
  server = new Server(option('server', '../../target/debug/chat-server'));
  try {
    await server.start();
    browser = await launchBrowser();
    [ada, bob] = await Promise.all(['ada', 'bob'].map((name) => User.open(browser, server, name)));
    for (const { name, run } of cases) {
      try {
        await run();
        passed += 1;
        console.log(`ok      ${name}`);
      } catch (error) {
        failed += 1;
        console.log(`FAILED  ${name}\n  ${error.stack}`);
        for (const user of [ada, bob]) console.log(`  ${user.name}: ${await user.condition()}`);
        if (passed === 0) break; // nothing can work without the first
      }
    }
    if (failed) console.log(`--- end of the server's log ---\n${server.output.slice(-4_000)}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED  ${error.stack}`);
  } finally {
    await browser?.close();
    await server.remove();
  }
  console.log(`${passed} passed, ${failed} failed`);
  process.exitCode = failed ? 1 : 0;
}

await main();
