// Pictures of the web client, wide and narrow, light and dark, to look at after a change of its looks:
//   node screenshot.mjs --server ../../target/debug/chat-server --out /tmp/pictures

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { launchBrowser, option, Server, User } from './harness.mjs';

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

async function take(server, browser) {
  const [ada, grace] = await Promise.all(['ada', 'grace'].map((name) => User.open(browser, server, name)));
  await picture(ada, '1-sign-in');
  await Promise.all([ada.register(), grace.register()]);
  await picture(ada, '2-welcome');
  for (const [name, topic] of Object.entries(ROOMS)) {
    await ada.createRoom(name, topic);
    await grace.joinRoom(name);
  }
  const users = { ada, grace };
  const said = [];
  for (const [name, text] of TALK) {
    await users[name].say(text);
    said.push(text);
    await Promise.all([ada.shows(said), grace.shows(said)]);
  }
  await grace.openRoom('random');
  await grace.say('Has anybody seen my umbrella?');
  await grace.message('ada');
  await grace.say('Lunch at one?');
  await ada.page.locator('#dm-list .badge:not([hidden])').waitFor();
  await picture(ada, '3-room');
  await ada.page.getByRole('button', { name: 'Members' }).click();
  await ada.page.locator('#member-list li').nth(1).waitFor();
  await picture(ada, '4-members');
  await ada.page.getByRole('button', { name: 'Close the list of members' }).click();
  await ada.page.getByRole('button', { name: 'Find or create a room' }).click();
  await ada.page.locator('#room-results li').nth(2).waitFor();
  await picture(ada, '5-rooms');
  await ada.page.keyboard.press('Escape');
  await ada.page.setViewportSize(SIZES.narrow);
  await ada.page.getByRole('button', { name: 'Back to the list' }).click();
  await picture(ada, '6-list');
  await ada.openRoom('general');
  await server.end('SIGKILL');
  await ada.offline();
  await ada.say('Written while the server is away.');
  await ada.page.evaluate(() => Promise.all(document.getAnimations().map((animation) => animation.finished)));
  await picture(ada, '7-offline');
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
