// Rooms and people: invitations, roles, settings, sanctions, the end of a room; groups and blocks.

import assert from 'node:assert/strict';
import { User } from './harness.mjs';
import { registered, test, world } from './world.mjs';

const closed = (user) => user.page.getByLabel('Message', { exact: true }).isDisabled();

/** Fills and confirms the dialog of a sanction. */
async function sanction(user, name, kind, reason, duration = null) {
  await user.personMenu(name);
  await user.page.getByRole('menuitem', { name: `${kind}…` }).click();
  await user.page.getByLabel('Reason').fill(reason);
  if (duration) await user.page.getByLabel('For how long').selectOption({ label: duration });
  await user.page.getByRole('dialog').getByRole('button', { name: kind, exact: true }).click();
  await user.page.getByRole('dialog').waitFor({ state: 'hidden' });
}

async function openTab(user, tab) {
  await user.roomMenu('Room settings');
  await user.page.getByRole('tab', { name: tab }).click();
}

test('a private room: found by nobody, joined by invitation, which may be declined', async () => {
  const { ada, bob } = world;
  await ada.createRoom('vault', { hidden: true });
  const invite = async () => {
    await ada.roomMenu('Invite people');
    await ada.page.getByLabel('Find a user').fill('bob');
    await ada.page.getByRole('button', { name: 'Invite bob' }).click();
    await ada.toast('bob is invited');
    await ada.page.keyboard.press('Escape');
  };
  await bob.page.getByRole('button', { name: 'Find or create a room' }).click();
  await bob.page.getByLabel('Find a public room').fill('vault');
  await bob.page.getByText('No public room found.').waitFor();
  await bob.page.keyboard.press('Escape');
  await invite();
  await bob.toast('ada invited you');
  await bob.page.getByRole('button', { name: 'Decline the invitation to vault' }).click();
  await bob.page.locator('#invitations').waitFor({ state: 'hidden' });
  await invite();
  await bob.page.getByRole('button', { name: 'Join vault' }).click();
  await bob.inRoom('vault');
  await bob.page.locator('#invitations').waitFor({ state: 'hidden' });
  await bob.say('thanks for having me');
  await ada.messageOf('thanks for having me').waitFor();
});

test('settings: name and topic change for everybody; an archived room is read only', async () => {
  const { ada, bob } = world;
  await openTab(ada, 'About');
  await ada.page.getByLabel('Name', { exact: true }).fill('strongroom');
  await ada.page.getByLabel('Topic').fill('mind the door');
  await ada.page.getByRole('button', { name: 'Save changes' }).click();
  for (const user of [ada, bob]) {
    await user.inRoom('strongroom');
    await user.page.locator('#room-subtitle', { hasText: 'mind the door' }).waitFor();
    await user.entry('strongroom').waitFor();
  }
  const menu = bob.page.getByRole('menu');
  await bob.page.getByRole('button', { name: 'More about this room' }).click();
  assert.deepEqual(
    await menu.getByRole('menuitem', { name: /settings|Invite/ }).count(),
    0,
    'a member is offered neither',
  );
  await bob.page.keyboard.press('Escape');
  await openTab(ada, 'Archive');
  await ada.page.getByRole('button', { name: 'Archive', exact: true }).click();
  await Promise.all([ada, bob].map((user) => user.eventually('archived', () => closed(user), true)));
  await openTab(ada, 'Archive');
  await ada.page.getByRole('button', { name: 'Open again' }).click();
  await Promise.all([ada, bob].map((user) => user.eventually('open again', () => closed(user), false)));
});

test('roles: a custom one, given and taken; what it allows is offered at once', async () => {
  const { ada, bob } = world;
  await openTab(ada, 'Roles');
  await ada.page.getByRole('button', { name: 'New role' }).click();
  await ada.page.getByLabel('Name of the role').fill('curator');
  await ada.page.getByLabel('Pin messages').check();
  await ada.page.getByRole('button', { name: 'Create role' }).click();
  await ada.page.locator('.role-list .name', { hasText: 'Curator' }).waitFor();
  await ada.page.keyboard.press('Escape');
  const give = async (role) => {
    await ada.personMenu('bob');
    await ada.page.getByRole('menuitem', { name: 'Change role' }).click();
    await ada.page.getByRole('radio', { name: role }).check();
    await ada.page.getByRole('button', { name: 'Save' }).click();
  };
  assert.ok(!(await bob.offered('thanks for having me')).includes('Pin'));
  await give('Curator');
  await bob.toast('You are curator of strongroom now.');
  await ada.page.locator('.person', { hasText: 'bob' }).locator('.role', { hasText: 'Curator' }).waitFor();
  await bob.eventually(
    'offered',
    () => bob.offered('thanks for having me'),
    (items) => items.includes('Pin'),
  );
  await bob.act('thanks for having me', 'Pin');
  await ada.messageOf('thanks for having me').getByText('Pinned').waitFor();
  await openTab(ada, 'Roles');
  await ada.page.getByRole('button', { name: 'Delete curator' }).click();
  await ada.page.getByRole('button', { name: 'Delete role' }).click();
  await ada.page.locator('.role-list .name', { hasText: 'Curator' }).waitFor({ state: 'detached' });
  await ada.page.keyboard.press('Escape');
  await bob.page.reload();
  await bob.inRoom('strongroom');
  await bob.eventually(
    'offered no more',
    () => bob.offered('thanks for having me'),
    (items) => !items.includes('Pin'),
  );
});

test('mute: with a reason and a time; lifted again', async () => {
  const { ada, bob } = world;
  await sanction(ada, 'bob', 'Mute', 'too loud', '10 minutes');
  await bob.toast('A moderator has muted you');
  await bob.eventually('muted', () => closed(bob), true);
  assert.match(
    await bob.page.getByLabel('Message', { exact: true }).getAttribute('placeholder'),
    /muted you here until/,
  );
  await bob.page.reload();
  await bob.eventually('muted after a reload', () => closed(bob), true);
  await openTab(ada, 'Sanctions');
  assert.match(await ada.page.locator('.role-list li', { hasText: 'bob' }).textContent(), /Muted.*until.*too loud/);
  await ada.page.getByRole('button', { name: 'Lift: bob' }).click();
  await ada.page.getByText('Nobody is muted or banned here.').waitFor();
  await ada.page.keyboard.press('Escape');
  await bob.eventually('may write again', () => closed(bob), false);
  await bob.say('quietly now');
  await ada.messageOf('quietly now').waitFor();
});

test('kick and ban: the room is gone, a ban keeps one out until it is lifted', async () => {
  const { ada, bob } = world;
  await openTab(ada, 'About');
  await ada.page.getByLabel('Who can join').selectOption('public');
  await ada.page.getByRole('button', { name: 'Save changes' }).click();
  const gone = async () => {
    await bob.toast('you were removed by a moderator');
    await bob.eventually('gone', () => bob.entry('strongroom').count(), 0);
  };
  await ada.personMenu('bob');
  await ada.page.getByRole('menuitem', { name: 'Kick' }).click();
  await ada.page.getByRole('dialog').getByRole('button', { name: 'Kick' }).click();
  await gone();
  await bob.joinRoom('strongroom');
  await bob.noToasts();
  await sanction(ada, 'bob', 'Ban', 'again', 'For good');
  await gone();
  await bob.page.getByRole('button', { name: 'Find or create a room' }).click();
  await bob.page.getByLabel('Find a public room').fill('strongroom');
  await bob.page.getByRole('button', { name: 'Join strongroom' }).click();
  await bob.toast('muted or banned you');
  await bob.page.keyboard.press('Escape');
  await openTab(ada, 'Sanctions');
  await ada.page.getByRole('button', { name: 'Lift: bob' }).click();
  await ada.page.getByText('Nobody is muted or banned here.').waitFor();
  await ada.page.keyboard.press('Escape');
  await bob.joinRoom('strongroom');
});

test('an owner hands the room over before leaving; the new owner deletes it, and it is gone for all', async () => {
  const { ada, bob } = world;
  await ada.roomMenu('Leave room');
  await ada.page.getByText('An owner cannot leave').waitFor();
  await ada.page.keyboard.press('Escape');
  await ada.personMenu('bob');
  await ada.page.getByRole('menuitem', { name: 'Make owner' }).click();
  await ada.page.getByRole('button', { name: 'Hand over' }).click();
  await bob.toast('You are the owner of strongroom now.');
  await ada.page.locator('.person', { hasText: 'bob' }).locator('.role', { hasText: 'Owner' }).waitFor();
  await ada.page.locator('.person', { hasText: 'ada' }).locator('.role', { hasText: 'Moderator' }).waitFor();
  await openTab(bob, 'Archive');
  await bob.page.getByRole('button', { name: 'Delete…' }).click();
  await bob.page.getByLabel('Type the name').fill('strongroom');
  await bob.page.getByRole('button', { name: 'Delete room' }).click();
  await ada.toast('strongroom was deleted');
  for (const user of [ada, bob]) await user.eventually('gone', () => user.entry('strongroom').count(), 0);
  await bob.eventually('dialogs', () => bob.page.locator('dialog[open]').count(), 0);
});

test('a group: several people chosen, one conversation for all of them', async () => {
  const { ada, bob } = world;
  await registered('grace');
  await ada.page.getByRole('button', { name: 'Message somebody' }).first().click();
  for (const name of ['bob', 'grace']) {
    await ada.page.getByLabel('Find a user').fill(name);
    await ada.page.getByRole('button', { name: `Add ${name} to a group` }).click();
  }
  await ada.page.getByRole('button', { name: 'Start a group of 3' }).click();
  await ada.inRoom(/bob, grace|grace, bob/);
  await ada.say('hello you two');
  const group = bob.page.locator('#dm-list .room-button', { hasText: 'grace' });
  await group.click();
  await bob.messageOf('hello you two').waitFor();
  await bob.page.locator('#room-subtitle', { hasText: '3 people' }).waitFor();
});

test('blocking: neither writes to the other until it is taken back', async () => {
  const { ada, bob } = world;
  await Promise.all([ada.openRoom('bob'), bob.openRoom('ada')]);
  await ada.roomMenu('Block bob');
  await ada.page.getByRole('button', { name: 'Block', exact: true }).click();
  await ada.toast('bob is blocked');
  await ada.eventually('closed', () => closed(ada), true);
  await bob.say('are you there?');
  await bob.page.locator('#log .delivery', { hasText: 'does not take messages from you' }).waitFor();
  await bob.noToasts();
  await ada.noToasts();
  const second = await User.another(bob);
  await second.openRoom('ada');
  await second.eventually(
    'offline for the blocked',
    () => second.page.locator('#room-subtitle').textContent(),
    'Offline',
  );
  await second.page.close();
  await ada.page.locator('#me-button').click();
  await ada.page.getByRole('menuitem', { name: 'Preferences' }).click();
  await ada.page.getByRole('button', { name: 'Unblock bob' }).click();
  await ada.toast('bob can message you again');
  await ada.page.keyboard.press('Escape');
  await ada.eventually('open', () => closed(ada), false);
  await bob.page.getByRole('button', { name: 'Try again' }).click();
  await ada.messageOf('are you there?').waitFor();
});
