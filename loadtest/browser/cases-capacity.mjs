// The page of /capacity: drawn without a fault in both colours, answers a question, and says what is wrong with one.

import assert from 'node:assert/strict';
import { test, world } from './world.mjs';

test('the capacity page draws what is, answers a question with the keyboard alone, and names a wrong parameter', async () => {
  const context = await world.browser.newContext({ viewport: { width: 390, height: 800 } });
  const page = await context.newPage();
  const faults = [];
  page.on('pageerror', (error) => faults.push(String(error)));
  page.on('console', (message) => message.type() === 'error' && faults.push(message.text()));
  try {
    for (const colorScheme of ['light', 'dark']) {
      await page.emulateMedia({ colorScheme });
      await page.goto(`${world.server.url}/capacity/page`);
      await page.locator('#used div').nth(4).waitFor();
      assert.equal(await page.locator('#costs tr').count(), 7);
      assert.equal(await page.locator('figure [role="img"][aria-label]').count(), 4);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(wide <= 0, `${wide} pixels wider than the screen`);
    }
    await page.locator('input[name="connections"]').fill('20,000');
    await page.keyboard.press('Enter');
    await page.locator('#answer dt', { hasText: 'Database writes' }).waitFor();
    assert.deepEqual(faults, []);
    await page.locator('input[name="members_per_room"]').fill('1000000');
    await page.keyboard.press('Enter');
    await page.locator('#wrong', { hasText: 'more than there are connections' }).waitFor();
    assert.equal(await page.evaluate(() => document.activeElement.name), 'members_per_room');
    assert.equal(await page.locator('#answer dt').count(), 0);
  } finally {
    await context.close();
  }
});
