// The web client in headless Chromium against a real server:
//   node browser-test.mjs --server ../../target/debug/chat-server [--only REGEXP] [--web ../../src/api/web]
// Each case begins where the one before ended: two users, one server, as in life.

import assert from 'node:assert/strict';
import { launchBrowser, option, Server, User } from './harness.mjs';
import { cases, test, world } from './world.mjs';
import './cases-basics.mjs';
import './cases-chat.mjs';
import './cases-rooms.mjs';
import './cases-page.mjs';

test('all of this was said compressed: the browser and the server have agreed to it', async () => {
  const extensions = await world.ada.page.evaluate(
    () =>
      new Promise((resolve, reject) => {
        const socket = new WebSocket(`ws://${location.host}/ws`);
        socket.onopen = () => {
          resolve(socket.extensions);
          socket.close();
        };
        socket.onerror = reject;
      }),
  );
  assert.match(extensions, /^permessage-deflate; server_no_context_takeover/);
});

test('no error in either page, no violation of its content security policy', async () => {
  const { ada, bob } = world;
  assert.deepEqual([...ada.faults, ...bob.faults], []);
});

/** Carries out the cases; returns how many passed and failed. */
async function runAll(chosen, server) {
  let [passed, failed] = [0, 0];
  for (const { name, run } of chosen) {
    const begun = performance.now();
    try {
      await run();
      passed += 1;
      console.log(`ok      ${name} (${((performance.now() - begun) / 1000).toFixed(1)} s)`);
    } catch (error) {
      failed += 1;
      console.log(`FAILED  ${name}\n  ${error.stack}`);
      for (const user of [world.ada, world.bob]) console.log(`  ${user.name}: ${await user.condition()}`);
      if (passed === 0) break; // nothing can work without the first
      // What was left open must not fail the next one.
      for (const { page } of [world.ada, world.bob]) await page.goto(server.url, { waitUntil: 'load' }).catch(() => {});
    }
  }
  return [passed, failed];
}

async function main() {
  let [passed, failed] = [0, 0];
  const server = new Server(option('server', '../../target/debug/chat-server'));
  world.server = server;
  // The first case makes the users; the others stand on their own as far as they can.
  const only = option('only');
  const chosen = only ? cases.filter(({ name }, index) => index === 0 || new RegExp(only).test(name)) : cases;
  try {
    await server.start();
    world.browser = await launchBrowser();
    [world.ada, world.bob] = await Promise.all(['ada', 'bob'].map((name) => User.open(world.browser, server, name)));
    [passed, failed] = await runAll(chosen, server);
    if (failed) console.log(`--- end of the server's log ---\n${server.output.slice(-4_000)}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED  ${error.stack}`);
  } finally {
    await world.browser?.close();
    await server.remove();
  }
  console.log(`${passed} passed, ${failed} failed`);
  process.exitCode = failed ? 1 : 0;
}

await main();
