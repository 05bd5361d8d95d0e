// Pictures of the web client, wide and narrow, light and dark, to look at after a change of its looks:
//   node screenshot.mjs --server ../../target/debug/chat-server --out /tmp/pictures

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { launchBrowser, option, Server, User } from './harness.mjs';
import { ask, openId, world } from './world.mjs';

const out = option('out', 'pictures');
const LOOKS = { light: 'light', dark: 'dark' };
const SIZES = { wide: { width: 1280, height: 800 }, narrow: { width: 390, height: 760 } };

const ROOMS = { design: '', random: 'Anything goes', general: 'News of the week, questions, answers' };
const TALK = [
  ['grace', 'Morning! Did the new build go out last night?'],
  ['ada', 'It did. The rollout took four minutes and nobody was disconnected.'],
  ['grace', 'Lovely.'],
  ['grace', 'I still see one slow query in the report, though: https://example.org/reports/2024-11?sort=slowest'],
  ['ada', 'That one is known. It reads the whole archive once a day, and it may.\n\nI will move it to the night.'],
  ['grace', 'مرحبا 👋🏽 – does right-to-left text look fine as well?'],
  ['ada', 'averyveryverylongwordwithoutanyplacetobreak'.repeat(6)],
];

async function picture(user, name) {
  for (const [look, colorScheme] of Object.entries(LOOKS)) {
    await user.page.emulateMedia({ colorScheme });
    for (const [size, viewport] of Object.entries(SIZES)) {
      await user.page.setViewportSize(viewport);
      await user.page.evaluate(() => document.fonts.ready);
      await user.page.screenshot({ path: join(out, `${name}-${size}-${look}.png`) });
    }
  }
  await user.page.setViewportSize(SIZES.wide);
}

/** A room in which something has happened. */
async function furnish({ ada, grace }) {
  for (const [name, topic] of Object.entries(ROOMS)) {
    await ada.createRoom(name, { topic });
    await grace.joinRoom(name);
  }
  const users = { ada, grace };
  const said = [];
  for (const [name, text] of TALK) {
    await users[name].say(text);
    said.push(text);
    await Promise.all([ada.shows(said), grace.shows(said)]);
  }
  const room_id = await openId(ada);
  const { messages } = await ask(ada, 'get_history', { room_id });
  const message_id = messages[3].message_id;
  for (const [user, emoji] of [
    [grace, '👀'],
    [ada, '👀'],
    [grace, '🎉'],
  ])
    await ask(user, 'add_reaction', { room_id, message_id, emoji });
  await ask(grace, 'send_message', { room_id, content: 'Found it: `select * from archive`', parent_id: message_id });
  await ask(ada, 'send_message', { room_id, content: 'Thank you, @grace!', parent_id: message_id });
  await ask(ada, 'pin_message', { room_id, message_id });
  await ask(grace, 'create_room', { name: 'secret garden', visibility: 'private' });
  await grace.openRoom('random');
  await grace.say('@ada, has anybody seen my umbrella?');
  await grace.message('ada');
  await grace.say('Lunch at one?');
  await ada.page.locator('#dm-list .badge:not([hidden])').waitFor();
}

/** Each picture: how to get there. */
const VIEWS = {
  room: async () => {},
  thread: (user) => user.page.locator('.thread-link').click(),
  members: ({ page }) => page.getByRole('button', { name: 'Members', exact: true }).click(),
  search: async (user) => {
    await user.page.keyboard.press('Control+Shift+f');
    await user.page.getByLabel('Search messages').fill('slow');
    await user.page.locator('#panel .result-card').first().waitFor();
  },
  mentions: async ({ page }) => {
    await page.evaluate(() => document.getElementById('show-mentions').click());
    await page.locator('#panel .result-card').first().waitFor();
  },
  rooms: async ({ page }) => {
    await page.evaluate(() => document.getElementById('open-rooms').click());
    await page.locator('#rooms-dialog li').nth(2).waitFor();
  },
  settings: (user) => user.roomMenu('Room settings'),
  emoji: ({ page }) => page.getByRole('button', { name: 'Insert an emoji' }).first().click(),
  menu: async (user) => {
    await user.page.locator('#log .message').nth(3).focus();
    await user.page.keyboard.press('Enter');
  },
};

async function take(server, browser) {
  const [ada, grace] = await Promise.all(['ada', 'grace'].map((name) => User.open(browser, server, name)));
  Object.assign(world, { server, browser, ada, bob: grace });
  await picture(ada, '1-sign-in');
  await Promise.all([ada.register(), grace.register()]);
  await picture(ada, '2-welcome');
  await furnish({ ada, grace });
  let number = 3;
  for (const [name, open] of Object.entries(VIEWS)) {
    await ada.page.setViewportSize(SIZES.wide);
    await ada.noToasts();
    await open(ada);
    await picture(ada, `${number}-${name}`);
    number += 1;
    await ada.page.keyboard.press('Escape');
    if (await ada.page.locator('#panel').isVisible())
      await ada.page.getByRole('button', { name: 'Close the panel' }).click();
  }
  await ada.page.setViewportSize(SIZES.narrow);
  await ada.page.getByRole('button', { name: 'Back to the list' }).click();
  await picture(ada, `${number}-list`);
  await ada.openRoom('general');
  await server.end('SIGKILL');
  await ada.offline();
  await ada.say('Written while the server is away.');
  await ada.page.evaluate(() => Promise.all(document.getAnimations().map((animation) => animation.finished)));
  await picture(ada, `${number + 1}-offline`);
}

const server = new Server(option('server', '../../target/debug/chat-server'));
mkdirSync(out, { recursive: true });
const browser = await launchBrowser();
try {
  await server.start();
  await take(server, browser);
} finally {
  await browser.close();
  await server.remove();
}
console.log(`pictures in ${out}`);
