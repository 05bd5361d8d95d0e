// What can be done with messages: threads, reactions, pins, edits, deletions, mentions, search; who is there and types.

import assert from 'node:assert/strict';
import { User } from './harness.mjs';
import { ask, openId, test, world } from './world.mjs';

test('threads: a reply in the side panel, the count at its message, live on both sides, open again after a reload', async () => {
  const { ada, bob } = world;
  await ada.createRoom('garden');
  await bob.joinRoom('garden');
  await ada.say('shall we plant tomatoes?');
  await bob.act('shall we plant', 'Reply in thread');
  const reply = bob.page.getByLabel('Reply', { exact: true });
  await reply.fill('by the wall');
  await bob.page.keyboard.press('Enter');
  await bob.shows(['shall we plant tomatoes?', 'by the wall'], '#panel');
  await ada.messageOf('shall we plant').getByRole('button', { name: '1 reply' }).click();
  await ada.shows(['shall we plant tomatoes?', 'by the wall'], '#panel');
  await reply.fill('or in pots');
  await bob.page.keyboard.press('Enter');
  await ada.shows(['shall we plant tomatoes?', 'by the wall', 'or in pots'], '#panel');
  await ada.messageOf('shall we plant').getByRole('button', { name: '2 replies' }).waitFor();
  assert.match(await ada.messageOf('or in pots').locator('.reply-line').textContent(), /ada: shall we plant/);
  await ada.page.reload();
  await ada.shows(['shall we plant tomatoes?', 'by the wall', 'or in pots'], '#panel');
  await ada.page.keyboard.press('Escape');
  await ada.page.locator('#panel').waitFor({ state: 'hidden' });
});

test('reactions: found by name, counted, one’s own is marked and taken back; who reacted', async () => {
  const { ada, bob } = world;
  const node = bob.messageOf('shall we plant');
  await node.hover();
  await node.getByRole('button', { name: 'React', exact: true }).click();
  await bob.page.getByLabel('Search emoji').fill('tomato');
  await bob.page.keyboard.press('Enter');
  const chip = ({ page }) => page.locator('#log .reaction', { hasText: '🍅' });
  const state = (user) => () =>
    chip(user).evaluateAll((nodes) =>
      nodes.map((each) => [each.querySelector('.number').textContent, each.ariaPressed]),
    );
  await Promise.all([
    bob.eventually('own', state(bob), [['1', 'true']]),
    ada.eventually('other’s', state(ada), [['1', 'false']]),
  ]);
  await chip(ada).click();
  await Promise.all([
    ada.eventually('both', state(ada), [['2', 'true']]),
    bob.eventually('both', state(bob), [['2', 'true']]),
  ]);
  await ada.act('shall we plant', 'Who reacted');
  const people = ada.page.locator('dialog .reaction-people');
  await ada.eventually(
    'who',
    () => people.locator('.name').allTextContents(),
    (names) => names.sort().join() === 'ada,bob',
  );
  await ada.page.keyboard.press('Escape');
  await chip(bob).click();
  await Promise.all([
    bob.eventually('back', state(bob), [['1', 'false']]),
    ada.eventually('back', state(ada), [['1', 'true']]),
  ]);
  await ada.page.reload();
  await ada.eventually('after a reload', state(ada), [['1', 'true']]);
  await chip(ada).click();
  await Promise.all([ada.eventually('gone', state(ada), []), bob.eventually('gone', state(bob), [])]);
});

test('edits: from the composer by arrow up; both see it, with all versions', async () => {
  const { ada, bob } = world;
  await ada.say('water twice a weak');
  await bob.messageOf('twice a weak').waitFor();
  await ada.page.getByLabel('Message', { exact: true }).press('ArrowUp');
  const editor = ada.page.getByLabel('Edit message');
  await editor.fill('water twice a week');
  await editor.press('Enter');
  for (const user of [ada, bob]) await user.messageOf('twice a week').getByRole('button', { name: 'Edited' }).waitFor();
  assert.equal(
    await ada.page.evaluate(() => document.activeElement.closest('.message') !== null),
    true,
    'the focus is kept',
  );
  await bob.messageOf('twice a week').getByRole('button', { name: 'Edited' }).click();
  const versions = bob.page.locator('dialog .versions .content');
  await bob.eventually('versions', () => versions.allTextContents(), ['water twice a week', 'water twice a weak']);
  await bob.page.keyboard.press('Escape');
  assert.ok(!(await bob.offered('twice a week')).includes('Edit'), 'nobody else is offered to edit it');
});

test('pins: for those who may, in a panel that leads back to the message', async () => {
  const { ada, bob } = world;
  assert.ok(!(await bob.offered('twice a week')).includes('Pin'), 'a plain member may not pin');
  await ada.act('twice a week', 'Pin');
  await bob.messageOf('twice a week').getByText('Pinned').waitFor();
  await bob.page.getByRole('button', { name: 'Pinned messages' }).click();
  const pinned = (user) => () => user.page.locator('#panel .result-card .content').allTextContents();
  await bob.eventually('pins', pinned(bob), ['water twice a week']);
  assert.equal(await bob.page.locator('#panel').getByRole('button', { name: 'Unpin' }).count(), 0);
  await bob.page.locator('#panel .card-link').click();
  await bob.eventually(
    'focus',
    () => bob.page.evaluate(() => document.activeElement.querySelector('.content')?.textContent),
    'water twice a week',
  );
  await ada.page.getByRole('button', { name: 'Pinned messages' }).click();
  await ada.page.locator('#panel').getByRole('button', { name: 'Unpin' }).click();
  await Promise.all([ada, bob].map((user) => user.eventually('no pins', pinned(user), [])));
  for (const user of [ada, bob]) await user.page.getByRole('button', { name: 'Close the panel' }).click();
});

test('deleting: a tombstone stays for everybody, nothing of the content; a moderator any, a member only one’s own', async () => {
  const { ada, bob } = world;
  await bob.say('something rash');
  await ada.messageOf('something rash').waitFor();
  assert.ok(!(await bob.offered('water twice a week')).some((item) => item.startsWith('Delete')));
  await ada.act('something rash', 'Delete');
  await ada.page.getByLabel('Reason').fill('language');
  await ada.page.getByRole('button', { name: 'Delete', exact: true }).click();
  const tombs = (user) => () => user.page.locator('#log .tombstone').count();
  await Promise.all([ada, bob].map((user) => user.eventually('tombstone', tombs(user), 1)));
  await bob.say('something else');
  await bob.act('something else', 'Delete');
  await bob.page.getByRole('button', { name: 'Delete', exact: true }).click();
  await Promise.all([ada, bob].map((user) => user.eventually('tombstones', tombs(user), 2)));
  await ada.page.reload();
  await ada.eventually('after a reload', tombs(ada), 2);
  const { messages } = await ask(bob, 'get_history', { room_id: await openId(bob) });
  assert.deepEqual(
    messages.slice(-2).map(({ content, is_deleted }) => [content || '', is_deleted]),
    [
      ['', true],
      ['', true],
    ],
  );
});

test('mentions: completed while writing, marked, counted apart, told of, and collected', async () => {
  const { ada, bob } = world;
  await bob.joinRoom('kitchen');
  await bob.noToasts();
  const draft = ada.page.getByLabel('Message', { exact: true });
  await draft.pressSequentially('over to you, @bo');
  await ada.page.getByRole('option', { name: 'bob' }).waitFor();
  await draft.press('Enter');
  assert.equal(await draft.inputValue(), 'over to you, @bob ');
  await draft.press('Enter');
  await bob.eventually('badge', () => bob.entry('garden').locator('.badge.mention').textContent(), '@1');
  // How much else is unread depends on what bob had before his eyes for long enough.
  await bob.eventually('title', () => bob.page.title(), (title) => /^\(@1, \d+\)/.test(title));
  assert.match(await bob.entry('garden').getAttribute('aria-label'), /\d unread, 1 mentioning you/);
  await bob.page
    .locator('.toast', { hasText: 'ada mentioned you in # garden' })
    .getByRole('button', { name: 'Open' })
    .click();
  await bob.inRoom('garden');
  await bob.messageOf('over to you').locator('.mention.own', { hasText: '@bob' }).waitFor();
  assert.equal(await ada.messageOf('over to you').locator('.mention:not(.own)').textContent(), '@bob');
  await bob.openRoom('kitchen');
  await bob.page.getByRole('button', { name: 'Mentions' }).click();
  const inbox = bob.page.locator('#panel .result-card');
  await bob.eventually(
    'inbox',
    () => inbox.locator('.content').allTextContents(),
    (texts) => texts[0] === 'over to you, @bob',
  );
  await inbox.first().locator('.card-link').click();
  await bob.inRoom('garden');
  await bob.page.getByRole('button', { name: 'Close the panel' }).click();
});

test('@room is offered to those who may, and reaches everybody', async () => {
  const { ada, bob } = world;
  await bob.openRoom('kitchen');
  await ada.page.getByLabel('Message', { exact: true }).pressSequentially('@roo');
  await ada.page.getByRole('option', { name: 'room' }).waitFor();
  await ada.page.keyboard.press('Enter');
  await ada.page.keyboard.type('lunch!');
  await ada.page.keyboard.press('Enter');
  await bob.eventually('badge', () => bob.entry('garden').locator('.badge.mention').textContent(), '@1');
  await bob.openRoom('garden');
  const draft = bob.page.getByLabel('Message', { exact: true });
  await draft.pressSequentially('@ad');
  await bob.page.getByRole('option', { name: 'ada' }).waitFor();
  await draft.fill('@roo');
  await bob.page.getByRole('listbox').waitFor({ state: 'hidden' });
  await draft.fill('');
});

test('search: words, a place and an author; a result leads into the middle of a long history, and back to its end', async () => {
  const { ada } = world;
  await ada.openRoom('garden');
  await ada.page.getByRole('button', { name: 'Search', exact: true }).click();
  const query = ada.page.getByLabel('Search messages');
  const found = () => ada.page.locator('#panel .result-card .content').allTextContents();
  // The index is filled behind the write path: asked again until it is.
  const search = async (text, expected) =>
    ada.eventually(
      `found by ${text}`,
      async () => {
        await query.fill(text);
        await query.press('Enter');
        await ada.page.waitForFunction(
          () => document.querySelector('#panel [role="status"]').textContent !== 'Loading…',
        );
        return found();
      },
      expected,
    );
  await search('tomat', ['shall we plant tomatoes?']);
  await search('rash', []);
  await search('line 77', (texts) => texts[0] === 'line 77');
  await ada.page.getByText('Filters').click();
  await ada.page.locator('#panel').getByLabel('From').fill('bob');
  await ada.eventually('of bob', found, []);
  await ada.page.locator('#panel').getByLabel('From').fill('ada');
  await ada.page.locator('#panel select').selectOption({ label: '# archive' });
  await search('line 7', (texts) => texts.includes('line 7') && texts.every((text) => text.startsWith('line 7')));
  await ada.page.locator('#panel .card-link[aria-label$=": line 7"]').click();
  await ada.inRoom('archive');
  await ada.eventually(
    'focus',
    () => ada.page.evaluate(() => document.activeElement.querySelector('.content')?.textContent),
    'line 7',
  );
  assert.ok(await ada.messageOf(/^line 7$/).isVisible());
  const texts = await ada.texts();
  assert.ok(
    texts.includes('line 1') && texts.includes('line 12') && !texts.includes('line 130'),
    'what stands around it',
  );
  await ada.page.getByRole('button', { name: 'Latest messages' }).click();
  await ada.eventually('the end', async () => (await ada.texts()).at(-1), 'line 130');
  await ada.page.getByRole('button', { name: 'Close the panel' }).click();
});

test('typing is shown, and ends with the message', async () => {
  const { ada, bob } = world;
  await Promise.all([ada.openRoom('garden'), bob.openRoom('garden')]);
  await bob.page.getByLabel('Message', { exact: true }).pressSequentially('wait');
  await ada.page.locator('#typing', { hasText: 'bob is typing…' }).waitFor();
  await bob.page.keyboard.press('Enter');
  await ada.messageOf('wait').waitFor();
  await ada.eventually('typing', () => ada.page.locator('#typing').textContent(), '');
});

test('presence: status and its text, live, in the list of members and beside a conversation; offline when gone', async () => {
  const { ada, bob } = world;
  await bob.page.locator('#me-button').click();
  await bob.page.getByRole('menuitem', { name: 'Set a status text' }).click();
  await bob.page.getByLabel('Text').fill('in the greenhouse');
  await bob.page.getByLabel('Show me as').selectOption('busy');
  await bob.page.getByRole('button', { name: 'Save' }).click();
  await bob.page.locator('#me-status', { hasText: 'in the greenhouse' }).waitFor();
  await ada.page.getByRole('button', { name: 'Members', exact: true }).click();
  await ada.page.locator('.person[aria-label*="bob"][aria-label*="in the greenhouse"] .presence.busy').waitFor();
  await ada.entry('bob').locator('.presence.busy').waitFor();
  await bob.page.reload();
  await bob.page.locator('#me-status', { hasText: 'in the greenhouse' }).waitFor();
  await bob.page.locator('#me-button').click();
  await bob.page.getByRole('menuitemradio', { name: 'Invisible' }).click();
  await ada.page.locator('.person[aria-label*="bob"] .presence.offline').waitFor();
  await bob.page.locator('#me-button').click();
  await bob.page.getByRole('menuitemradio', { name: 'Online' }).click();
  await ada.page.locator('.person[aria-label*="bob"] .presence.online').waitFor();
  const { url } = world.server;
  await bob.page.goto('about:blank');
  await ada.page.locator('.person[aria-label*="bob"] .presence.offline').waitFor();
  await ada.page.locator('.person[aria-label*="bob, Last seen"]').waitFor();
  await bob.page.goto(`${url}/`);
  await ada.page.locator('.person[aria-label*="bob"] .presence.online').waitFor();
  await ada.page.locator('#room-subtitle', { hasText: '2 online' }).waitFor();
  await ada.page.getByRole('button', { name: 'Close the panel' }).click();
});

test('a history of 100,000 messages: a bounded part of it is on the page, whichever way one reads', async () => {
  await world.ada.createRoom('endless');
  const roomId = await openId(world.ada);
  const ada = await User.another(world.ada);
  const HEAD = 100_000;
  const line = (id) => {
    const ids = { room_id: roomId, message_id: id, seq: id, author_id: 2, username: 'bob' };
    const rest = {
      parent_id: null,
      thread_count: 0,
      mentions: [],
      reactions: [],
      created_at: new Date(1.7e12 + id * 1000).toISOString(),
    };
    return { ...ids, ...rest, content: `number ${id}${id % 7 ? '' : '\nof two lines'}` };
  };
  const history = ({ before_id: before, after_id: after, around_id: around, limit }) => {
    let from = HEAD - limit + 1;
    if (before !== undefined) from = before - limit;
    if (after !== undefined) from = after + 1;
    if (around !== undefined) from = around - limit / 2;
    from = Math.max(1, from);
    const to = Math.min(before === undefined ? HEAD : before - 1, from + limit - 1);
    const messages = Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => line(from + i));
    return { room_id: roomId, seq: HEAD, messages, has_more: after === undefined ? from > 1 : to < HEAD };
  };
  // The server stands; only the pages of this room's history are made up on the way.
  await ada.page.routeWebSocket(/\/ws$/, (socket) => {
    const server = socket.connectToServer();
    socket.onMessage((text) => {
      const { type, id, data } = JSON.parse(text);
      if (type !== 'get_history' || data.room_id !== roomId) server.send(text);
      else socket.send(JSON.stringify({ type: 'room_history', id, data: history(data) }));
    });
  });
  await ada.page.goto(`${world.server.url}/#room-${roomId}`);
  await ada.page.reload();
  const texts = () =>
    ada.page
      .locator('#log .message .content')
      .evaluateAll((nodes) => nodes.map((node) => Number(/\d+/.exec(node.textContent)[0])));
  const scroll = (edge) =>
    ada.page.locator('#scroller').evaluate((node, to) => node.scrollTo(0, to === 'top' ? 0 : node.scrollHeight), edge);
  await ada.eventually('the end', texts, (seen) => seen.at(-1) === HEAD);
  const check = (seen) => {
    assert.ok(seen.length <= 300, `${seen.length} messages on the page`);
    assert.deepEqual(
      seen,
      seen.map((_, i) => seen[0] + i),
      'in order, without a hole',
    );
  };
  for (let first = HEAD - 49; first > HEAD - 700; first -= 50) {
    await scroll('top');
    check(await ada.eventually('older ones', texts, (seen) => seen[0] <= first - 50));
  }
  const middle = ada.page.locator('#log .message').nth(120);
  await middle.scrollIntoViewIfNeeded();
  const before = (await texts()).at(-1);
  await scroll('bottom');
  check(await ada.eventually('newer ones', texts, (seen) => seen.at(-1) > before));
  await ada.roomMenu('Go to the beginning');
  check(await ada.eventually('the beginning', texts, (seen) => seen[0] === 1));
  await ada.page.evaluate((id) => (location.hash = `room-${id}/m50000`), roomId);
  check(await ada.eventually('the middle', texts, (seen) => seen.includes(50_000)));
  await ada.eventually('focus', () => ada.page.evaluate(() => document.activeElement.dataset.id), '50000');
  await ada.page.getByRole('button', { name: 'Latest messages' }).click();
  check(await ada.eventually('the end', texts, (seen) => seen.at(-1) === HEAD));
  assert.deepEqual(ada.faults, []);
  await ada.page.close();
});
