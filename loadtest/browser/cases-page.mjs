// The page itself: names of its controls, the keyboard, narrow screens, light and dark, notifications, signing in and out.

import assert from 'node:assert/strict';
import { test, world } from './world.mjs';

/** What a checker of accessibility would find: [rule, element]. */
function faultsOfAccess() {
  const shown = (node) => node.checkVisibility({ visibilityProperty: true });
  const text = (node) =>
    [...node.querySelectorAll(':not([aria-hidden="true"])'), node].some((each) => {
      return [...each.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    });
  const byIds = (node, name) => (node.getAttribute(name) ?? '').split(' ').filter(Boolean);
  const named = (node) => node.ariaLabel || text(node) || node.labels?.length || byIds(node, 'aria-labelledby').length;
  const faults = [];
  const rule = (name, selector, fails) => {
    for (const node of document.querySelectorAll(selector))
      if (shown(node) && fails(node)) faults.push([name, node.outerHTML.slice(0, 160)]);
  };
  rule(
    'has no name',
    'button, a[href], input, textarea, select, [role="menu"], [role="listbox"], [role="dialog"], dialog, [role="region"], nav, aside, main, [role="tab"]',
    (node) => !named(node),
  );
  rule('refers to nothing', '[aria-labelledby], [aria-controls], [aria-describedby]', (node) => {
    return ['aria-labelledby', 'aria-describedby']
      .flatMap((name) => byIds(node, name))
      .some((id) => !document.getElementById(id));
  });
  rule('stands before others in the tab order', '[tabindex]', (node) => node.tabIndex > 0);
  rule('is an image without a text', 'img', (node) => !node.hasAttribute('alt'));
  rule('is a button in a button', 'button button, a button, button a', () => true);
  rule('is not in a list', 'li', (node) => !node.parentElement.matches('ul, ol'));
  rule('is an option outside of a list', '[role="option"]', (node) => !node.closest('[role="listbox"]'));
  rule('is an item outside of a menu', '[role^="menuitem"]', (node) => !node.closest('[role="menu"]'));
  rule('is a tab outside of a list of tabs', '[role="tab"]', (node) => !node.closest('[role="tablist"]'));
  rule('is a group that the Tab key cannot enter', '[role="menu"], [role="tablist"], #log', (node) => {
    return node.children.length > 0 && !node.querySelector('[tabindex="0"], button:not([tabindex="-1"])');
  });
  const ids = [...document.querySelectorAll('[id]')].map((node) => node.id);
  for (const id of new Set(ids.filter((each, index) => ids.indexOf(each) !== index)))
    faults.push(['is there twice', id]);
  if (document.querySelectorAll('main:not([hidden])').length < 1) faults.push(['has no main part', '']);
  return faults;
}

/** Contrast of texts to what lies behind them, where that is one colour: those below 4.5. */
function faintTexts() {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return canvas.getImageData(0, 0, 1, 1).data;
  };
  const light = (color) => {
    const [r, g, b] = [...rgba(color)].map((value) =>
      value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4,
    );
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const { backgroundColor } = getComputedStyle(at);
      const alpha = rgba(backgroundColor)[3];
      if (alpha === 255) return backgroundColor;
      if (alpha > 0) return null;
    }
    return null;
  };
  const faint = [];
  for (const node of document.querySelectorAll('body *')) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    if (
      !own ||
      !node.checkVisibility({ opacityProperty: true, visibilityProperty: true }) ||
      node.closest(':disabled, .closed, .visually-hidden, [aria-hidden="true"]')
    )
      continue;
    const ground = behind(node);
    if (!ground) continue;
    const [a, b] = [light(getComputedStyle(node).color), light(ground)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) faint.push([ratio.toFixed(2), node.className, node.textContent.slice(0, 40)]);
  }
  return faint;
}

/** What is open -> how to open it. Each is left by Escape. */
const STATES = {
  room: async () => {},
  members: ({ page }) => page.getByRole('button', { name: 'Members', exact: true }).click(),
  search: ({ page }) => page.getByRole('button', { name: 'Search', exact: true }).click(),
  pins: ({ page }) => page.getByRole('button', { name: 'Pinned messages' }).click(),
  thread: (user) =>
    user
      .messageOf('shall we plant')
      .getByRole('button', { name: /replies/ })
      .click(),
  rooms: ({ page }) => page.getByRole('button', { name: 'Find or create a room' }).click(),
  people: ({ page }) => page.getByRole('button', { name: 'Message somebody' }).first().click(),
  settings: (user) => user.roomMenu('Room settings'),
  menu: ({ page }) => page.getByRole('button', { name: 'More about this room' }).click(),
  own: ({ page }) => page.locator('#me-button').click(),
  emoji: ({ page }) => page.getByRole('button', { name: 'Insert an emoji' }).first().click(),
  shortcuts: async ({ page }) => {
    await page.locator('#room-title').focus();
    await page.keyboard.press('?');
  },
};

test('controls, landmarks and lists are named and nested as screen readers need them, wherever one is', async () => {
  const { ada } = world;
  await ada.openRoom('garden');
  await ada.messageOf('shall we plant').waitFor();
  for (const [name, open] of Object.entries(STATES)) {
    await open(ada);
    assert.deepEqual(await ada.page.evaluate(faultsOfAccess), [], name);
    await ada.page.keyboard.press('Escape');
    if (await ada.page.locator('#panel').isVisible())
      await ada.page.getByRole('button', { name: 'Close the panel' }).click();
    await ada.eventually('closed', () => ada.page.locator('dialog[open], [popover]:popover-open').count(), 0);
  }
});

test('new messages of the open room are told to screen readers', async () => {
  const { ada, bob } = world;
  await Promise.all([ada.openRoom('garden'), bob.openRoom('garden')]);
  await bob.say('the first sprouts!');
  await ada.page.locator('#announcer[role="status"]', { hasText: 'bob: the first sprouts!' }).waitFor();
});

test('with the keyboard alone: rooms, messages, a thread, a reaction, an edit, a dialog, and the focus comes back', async () => {
  const { ada, bob } = world;
  const { page } = ada;
  const focused = (ask = 'id') =>
    page.evaluate((what) => document.activeElement[what] || document.activeElement.ariaLabel, ask);
  await ada.entry('drain').focus();
  await page.keyboard.press('ArrowDown');
  await ada.eventually(
    'next',
    () => page.evaluate(() => document.activeElement.querySelector('.name').textContent),
    'endless',
  );
  await ada.entry('kitchen').focus();
  await page.keyboard.press('Enter');
  await ada.inRoom('kitchen');
  await bob.openRoom('kitchen');
  await ada.eventually('focus', focused, 'draft');
  await page.keyboard.type('typed where the focus was');
  await page.keyboard.press('Enter');
  await bob.messageOf('typed where').waitFor();
  // Backwards from the draft lies the log; its messages are one stop, with arrow keys among them.
  const answered = ada.messageOf('typed where');
  await ada.eventually('it has its place', () => answered.getAttribute('data-id'), (id) => Number(id) > 0);
  await page.locator('#log .message[tabindex="0"]').focus();
  await page.keyboard.press('End');
  await page.keyboard.press('r');
  await ada.eventually('focus', () => focused('ariaLabel'), 'Reply');
  await page.keyboard.type('an answer');
  await page.keyboard.press('Enter');
  await bob.messageOf('typed where').getByRole('button', { name: '1 reply' }).waitFor();
  await page.keyboard.press('Escape');
  await page.locator('#panel').waitFor({ state: 'hidden' });
  await ada.eventually(
    'the focus is back at the message',
    () => page.evaluate(() => document.activeElement.className),
    (seen) => seen.includes('message'),
  );
  await page.keyboard.press('+');
  await ada.eventually('focus', () => focused('ariaLabel'), 'Search emoji');
  await page.keyboard.type('rocket');
  await page.keyboard.press('Enter');
  await bob.page.locator('#log .reaction', { hasText: '🚀' }).waitFor();
  await ada.eventually(
    'the focus is back',
    () => page.evaluate(() => Boolean(document.activeElement.closest('.message'))),
    true,
  );
  await page.keyboard.press('End');
  await page.keyboard.press('Enter');
  await page.getByRole('menu', { name: 'Actions' }).waitFor();
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Escape');
  await page.getByRole('menu', { name: 'Actions' }).waitFor({ state: 'detached' });
  await page.keyboard.press('Control+k');
  await page.keyboard.type('gard');
  await page.keyboard.press('Enter');
  await ada.inRoom('garden');
  await page.keyboard.press('Alt+ArrowDown');
  await ada.inRoom('general');
  const opener = page.getByRole('button', { name: 'Find or create a room' });
  await opener.focus();
  await page.keyboard.press('Enter');
  await page.locator('#rooms-dialog[open]').waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.closest('label').textContent), 'Find a public room');
  await page.keyboard.press('Escape');
  assert.equal(await focused(), 'open-rooms', 'the focus comes back');
  await page.locator('#me-button').focus();
  await page.keyboard.press('Enter');
  await page.getByRole('menu').waitFor();
  await page.keyboard.press('Escape');
  assert.equal(await focused(), 'me-button');
});

test('on a narrow screen the list, the room and the panel take turns, and nothing is wider than the screen', async () => {
  const { bob } = world;
  await bob.openRoom('crash');
  await bob.page.setViewportSize({ width: 320, height: 600 });
  const scroller = bob.page.locator('#scroller');
  const below = () => scroller.evaluate((node) => node.scrollHeight - node.scrollTop - node.clientHeight);
  await bob.eventually('still at the end', below, (pixels) => pixels < 2);
  const wide = () =>
    bob.page.evaluate(() =>
      [...document.querySelectorAll('body, .chat, .room, .panel, dialog[open], [popover], .sidebar')]
        .filter(
          (node) =>
            node.checkVisibility() &&
            (node.getBoundingClientRect().right > innerWidth + 1 || node.scrollWidth > node.clientWidth + 1),
        )
        .map((node) => node.className || node.tagName),
    );
  assert.equal(await bob.page.locator('.sidebar').isVisible(), false);
  assert.deepEqual(await wide(), []);
  await bob.page.getByRole('button', { name: 'Back to the list' }).click();
  assert.equal(await bob.page.locator('.sidebar').isVisible(), true);
  assert.equal(await bob.page.locator('#conversation').isVisible(), false);
  assert.deepEqual(await wide(), []);
  await bob.openRoom('garden');
  for (const name of ['members', 'pins', 'thread', 'emoji', 'menu', 'shortcuts']) {
    await STATES[name](bob);
    assert.deepEqual(await wide(), [], name);
    await bob.page.keyboard.press('Escape');
    if (await bob.page.locator('#panel').isVisible())
      await bob.page.getByRole('button', { name: 'Close the panel' }).click();
  }
  await bob.page.getByRole('button', { name: 'Back to the list' }).click();
  for (const name of ['rooms', 'people', 'own']) {
    await STATES[name](bob);
    assert.deepEqual(await wide(), [], name);
    await bob.page.keyboard.press('Escape');
  }
  await bob.page.setViewportSize({ width: 1280, height: 800 });
});

test('light and dark: as the system, or as chosen, over a reload; texts are readable in both', async () => {
  const { ada } = world;
  const { page } = ada;
  await ada.openRoom('garden');
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const dark = (color) => Number(/\d+/.exec(color)[0]) < 100;
  const choose = async (theme) => {
    await page.locator('#me-button').click();
    await page.getByRole('menuitem', { name: 'Preferences' }).click();
    await page.getByLabel(theme).check();
    await page.getByText('Sessions').waitFor();
    assert.deepEqual(await page.evaluate(faultsOfAccess), []);
    assert.deepEqual(await page.evaluate(faintTexts), [], theme);
    await page.keyboard.press('Escape');
  };
  for (const [scheme, isDark] of [
    ['light', false],
    ['dark', true],
  ]) {
    await page.emulateMedia({ colorScheme: scheme });
    assert.equal(dark(await ground()), isDark, scheme);
    assert.deepEqual(await page.evaluate(faintTexts), [], scheme);
  }
  await choose('Light');
  assert.equal(dark(await ground()), false, 'light, although the system is dark');
  await page.emulateMedia({ colorScheme: 'light' });
  await choose('Dark');
  await page.reload();
  await ada.online();
  assert.equal(dark(await ground()), true, 'dark, over a reload');
  await choose('As the system');
  assert.equal(dark(await ground()), false);
});

test('notifications of the browser: asked for by a click only, shown when the page is in the background', async () => {
  const { ada, bob } = world;
  const { page } = ada;
  const spy = () => {
    window.asked = 0;
    window.told = [];
    window.Notification = class {
      static permission = 'default';
      static async requestPermission() {
        window.asked += 1;
        Notification.permission = 'granted';
        return 'granted';
      }
      constructor(title, options) {
        window.told.push([title, options.body]);
      }
    };
  };
  await page.evaluate(spy);
  await bob.openRoom('garden');
  await ada.openRoom('garden');
  assert.equal(await page.evaluate(() => window.asked), 0);
  await page.locator('#me-button').click();
  await page.getByRole('menuitem', { name: 'Preferences' }).click();
  await page.getByLabel('Notify me').check();
  assert.equal(await page.evaluate(() => window.asked), 1);
  await page.keyboard.press('Escape');
  await page.evaluate(() => Object.defineProperty(document, 'hidden', { configurable: true, get: () => true }));
  await bob.say('@ada, come and see');
  await ada.eventually('told', () => page.evaluate(() => window.told), [
    ['bob mentioned you in # garden', '@ada, come and see'],
  ]);
  await page.evaluate(() => delete document.hidden);
});

test('wrong password: a plain word, and no entry; signing out leaves nothing behind', async () => {
  const { bob } = world;
  await bob.page.getByLabel('Message', { exact: true }).fill('never sent');
  await bob.signOut();
  await bob.page.getByLabel('Username').fill('bob');
  await bob.page.getByLabel('Password').fill('not the password of bob');
  assert.equal(await bob.page.evaluate(() => localStorage.length + sessionStorage.length), 0);
  const refusal = bob.page.waitForResponse((response) => response.url().endsWith('/auth/login'));
  await bob.page.getByRole('button', { name: 'Log in' }).click();
  assert.equal((await refusal).status(), 401);
  await bob.page.getByText('Username and password do not match.').waitFor();
  bob.faults = bob.faults.filter((fault) => !/status of 401/.test(fault)); // the browser's word for that answer
  await bob.logIn();
});
