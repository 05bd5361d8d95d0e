// What the browser test and the screenshots share: the server as a child process that can be killed and started again
// on the same port and data, headless Chromium, and a page with its user.

import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const START_TIMEOUT_MS = 30_000;
/** How long the page may take to show what a case waits for. */
export const WAIT_MS = 15_000;
const FLAGS = [
  '--no-sandbox', // Chromium refuses to run as root otherwise; it opens nothing but this server's page
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** Value of `--name value` on the command line, or of VEZA_<NAME> in the environment. */
export function option(name, fallback) {
  const at = process.argv.indexOf(`--${name}`);
  return at > 0 ? process.argv[at + 1] : (process.env[`VEZA_${name.toUpperCase()}`] ?? fallback);
}

export class Server {
  /** `accessDuration`: how long access tokens last. */
  constructor(binary, { accessDuration = '15m' } = {}) {
    this.binary = binary;
    this.accessDuration = accessDuration;
    // In memory where there is such a place: what is tested here is the page, and not how long a busy disk takes.
    this.dir = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'veza-browser-'));
    this.address = '127.0.0.1:0';
    this.output = '';
    this.child = null;
  }

  get url() {
    return `http://${this.address}`;
  }

  /** Resolves when the server listens. The first start chooses the port, the later ones keep it. */
  async start() {
    const config = join(this.dir, 'veza.toml');
    writeFileSync(
      config,
      [
        '[server]',
        `bind_addr = "${this.address}"`,
        `data_dir = "${this.dir}/data"`,
        'shards = 2',
        'compression = true',
        '[database]',
        `url = "sqlite://${this.dir}/data/veza.db"`,
        '[security]',
        `jwt_access_duration = "${this.accessDuration}"`,
        '[limits]',
        'max_messages_per_minute = 0',
        'commands_per_second = 0',
        'logins_per_minute = 0',
        '',
      ].join('\n'),
    );
    const child = spawn(this.binary, ['--config', config], { cwd: this.dir, stdio: ['ignore', 'pipe', 'pipe'] });
    this.child = child;
    this.ended = new Promise((resolve) => child.once('exit', (code, signal) => resolve({ code, signal })));
    const listening = new Promise((resolve) => {
      let text = '';
      const read = (chunk) => {
        this.output = (this.output + chunk).slice(-20_000);
        text += String(chunk).replace(/\x1b\[[0-9;]*m/g, '');
        const found = /listening on http:\/\/([\d.]+:\d+)/.exec(text);
        if (found) resolve(found[1]);
      };
      child.stdout.on('data', read);
      child.stderr.on('data', read);
    });
    const failed = this.ended.then(({ code, signal }) => {
      throw new Error(`the server ended (${code ?? signal}) before it listened:\n${this.output}`);
    });
    failed.catch(() => {}); // looked at below, or of no interest any more
    const late = new Promise((_, reject) => {
      const timer = setTimeout(() => reject(new Error(`no ready line:\n${this.output}`)), START_TIMEOUT_MS);
      listening.then(() => clearTimeout(timer));
    });
    late.catch(() => {});
    this.address = await Promise.race([listening, failed, late]);
  }

  /** Ends the server with `signal` and waits until it is gone. */
  async end(signal) {
    this.child.kill(signal);
    return this.ended;
  }

  async remove() {
    if (this.child && this.child.exitCode === null && this.child.signalCode === null) await this.end('SIGKILL');
    rmSync(this.dir, { recursive: true, force: true });
  }
}

export function launchBrowser() {
  // Files that come from elsewhere than the server may not speak to it without this.
  const args = option('web') ? [...FLAGS, '--disable-features=LocalNetworkAccessChecks'] : FLAGS;
  return chromium.launch({ executablePath: option('chromium', '/usr/bin/chromium'), headless: true, args });
}

const TYPES = { html: 'text/html', js: 'text/javascript', css: 'text/css', svg: 'image/svg+xml' };

/** `--web DIR`: the page's files come from there instead of out of the binary, for work on the client. */
async function filesFrom(context, server, dir) {
  await context.route(
    (url) => url.origin === server.url && !url.pathname.startsWith('/api/'),
    async (route) => {
      const path = new URL(route.request().url()).pathname;
      const file = path === '/' ? 'index.html' : path.slice(1);
      try {
        await route.fulfill({ body: readFileSync(join(dir, file)), contentType: TYPES[file.split('.').pop()] });
      } catch {
        await route.continue();
      }
    },
  );
}

/** One user in a browser profile of their own, with the words that a person would use for what is on the page. */
export class User {
  /** Opens the page. Whatever goes wrong in it is kept in `faults`. */
  static async open(browser, server, name, options = {}) {
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
    if (option('web')) await filesFrom(context, server, option('web'));
    return User.#at(context, server, name);
  }

  /** Another tab of the same browser. */
  static another({ context, server, name }) {
    return User.#at(context, server, name);
  }

  static async #at(context, server, name) {
    const user = new User();
    Object.assign(user, { name, server, context, page: await context.newPage(), faults: [] });
    user.page.on('pageerror', (error) => user.faults.push(String(error)));
    user.page.on('console', (message) => {
      // A dead server is part of the test, and the browser reports each connection that it refuses.
      const refused = /ERR_CONNECTION_(REFUSED|RESET|CLOSED)|WebSocket connection to|ERR_EMPTY_RESPONSE/;
      if (message.type() === 'error' && !refused.test(message.text())) user.faults.push(message.text());
    });
    user.page.setDefaultTimeout(WAIT_MS);
    await user.page.goto(server.url);
    return user;
  }

  async register() {
    const { page } = this;
    await page.getByRole('button', { name: 'Create an account' }).click();
    await page.getByLabel('Username').fill(this.name);
    await page.getByLabel('Password').fill(`password of ${this.name}`);
    await page.getByRole('button', { name: 'Create account' }).click();
    await this.online();
  }

  async signOut() {
    await this.page.locator('#me-button').click();
    await this.page.getByRole('menuitem', { name: 'Sign out' }).click();
  }

  async logIn() {
    await this.page.getByLabel('Username').fill(this.name);
    await this.page.getByLabel('Password').fill(`password of ${this.name}`);
    await this.page.getByRole('button', { name: 'Log in' }).click();
    await this.online();
  }

  online() {
    return this.page.locator('#connection[data-state="online"]').waitFor();
  }

  offline() {
    return this.page.locator('#connection:not([data-state="online"]):not([data-state="syncing"])').waitFor();
  }

  // --- rooms and people --------------------------------------------------------------------------------------------

  async createRoom(name, { topic = '', hidden = false } = {}) {
    const { page } = this;
    await page.getByRole('button', { name: 'Find or create a room' }).click();
    await page.getByLabel('Name', { exact: true }).fill(name);
    await page.getByLabel('Topic').fill(topic);
    if (hidden) await page.getByLabel('Private').check();
    await page.getByRole('button', { name: 'Create room' }).click();
    await this.inRoom(name);
  }

  async joinRoom(name) {
    const { page } = this;
    await page.getByRole('button', { name: 'Find or create a room' }).click();
    await page.getByLabel('Find a public room').fill(name);
    await page.getByRole('button', { name: `Join ${name}`, exact: true }).click();
    await this.inRoom(name);
  }

  inRoom(name) {
    return this.page.locator('#room-title', { hasText: name }).waitFor();
  }

  /** The entry of a room or conversation in the list. */
  entry(name) {
    const exact = new RegExp(`^${name.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}$`);
    return this.page.locator('.sidebar .room-button', { has: this.page.locator('.name', { hasText: exact }) });
  }

  async openRoom(name) {
    await this.entry(name).click();
    await this.inRoom(name);
  }

  /** Opens a conversation through the search for users. */
  async message(other) {
    const { page } = this;
    await page.getByRole('button', { name: 'Message somebody' }).first().click();
    await page.getByLabel('Find a user').fill(other);
    await page.getByRole('button', { name: `Message ${other}`, exact: true }).click();
    await this.inRoom(other);
  }

  /** Chooses from the menu of the open room. */
  async roomMenu(item) {
    await this.page.getByRole('button', { name: 'More about this room' }).click();
    await this.page.getByRole('menuitem', { name: item }).click();
  }

  /** Opens the list of members and the menu of one of them. */
  async personMenu(name) {
    const { page } = this;
    if (!(await page.locator('#panel[data-panel="members"]:not([hidden])').isVisible())) {
      await page.getByRole('button', { name: 'Members', exact: true }).click();
    }
    await page.locator('.person', { hasText: name }).click();
    await page.getByRole('menu', { name }).waitFor();
  }

  // --- messages ----------------------------------------------------------------------------------------------------

  /** Types and sends, without waiting for the acknowledgement. */
  async say(text) {
    await this.page.getByLabel('Message', { exact: true }).fill(text);
    await this.page.keyboard.press('Enter');
  }

  /** A message of the log by its text. */
  messageOf(text, place = '#log') {
    return this.page.locator(`${place} .message`, { has: this.page.locator('.content', { hasText: text }) }).last();
  }

  /** Chooses from the menu of a message. */
  async act(text, item, place = '#log') {
    const node = this.messageOf(text, place);
    await node.hover();
    await node.getByRole('button', { name: 'More actions' }).click();
    await this.page.getByRole('menuitem', { name: item }).click();
  }

  /** The words of the items that the menu of a message offers. */
  async offered(text) {
    const node = this.messageOf(text);
    await node.hover();
    await node.getByRole('button', { name: 'More actions' }).click();
    const items = await this.page.locator('.menu .menu-label').allTextContents();
    await this.page.keyboard.press('Escape');
    return items;
  }

  /** The messages on the page, in order; those not acknowledged yet are marked. */
  texts(place = '#log') {
    return this.page.locator(`${place} .message`).evaluateAll((nodes) =>
      nodes.map((node) => {
        return (node.dataset.status ? `(${node.dataset.status}) ` : '') + node.querySelector('.content').textContent;
      }),
    );
  }

  /** What the page says of itself, for the report of a failure. */
  async condition() {
    const ids = ['connection-text', 'sign-in-error', 'toasts', 'room-title', 'panel-title'];
    const texts = await Promise.all(ids.map((id) => this.page.locator(`#${id}`).textContent()));
    const dialogs = await this.page.locator('dialog[open]').allTextContents();
    return JSON.stringify([...texts, ...dialogs.map((text) => text.slice(0, 200)), ...this.faults]);
  }

  /** Waits until the page shows exactly these messages. */
  shows(expected, place) {
    const wanted = JSON.stringify(expected);
    return this.eventually(
      `${this.name} sees`,
      () => this.texts(place),
      (seen) => JSON.stringify(seen) === wanted,
      expected,
    );
  }

  /** Waits until `ask` gives what `accept` takes (a function, or the value itself), a frame of the page at a time. */
  async eventually(what, ask, accept, expected = accept) {
    const takes = typeof accept === 'function' ? accept : (seen) => JSON.stringify(seen) === JSON.stringify(accept);
    const deadline = Date.now() + WAIT_MS;
    let seen;
    do {
      seen = await ask();
      if (takes(seen)) return seen;
      await this.page.evaluate(() => new Promise((resolve) => requestAnimationFrame(resolve)));
    } while (Date.now() < deadline);
    const wanted = typeof expected === 'function' ? '' : `\n  instead of ${JSON.stringify(expected, null, 1)}`;
    throw new Error(`${what}: ${JSON.stringify(seen, null, 1)}${wanted}`);
  }

  /** Waits for a toast with this text, and takes it away. */
  async toast(text) {
    const toast = this.page.locator('.toast', { hasText: text }).first();
    await toast.waitFor();
    await toast.evaluate((node) => node.remove());
  }

  /** Takes all toasts away. */
  noToasts() {
    return this.page.locator('#toasts').evaluate((node) => node.replaceChildren());
  }
}
