// Draws /capacity, anew every few seconds, and asks it what a planned load would take.

const PERIOD_MS = 5000;
const SVG = 'http://www.w3.org/2000/svg';

const $ = (id) => document.getElementById(id);
const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const fine = new Intl.NumberFormat('en', { maximumSignificantDigits: 3 });
const thousandths = new Intl.NumberFormat('en', { maximumFractionDigits: 3 });

/** A number as people read it: three digits where it is small, no fractions where it is large. */
const number = (value) => (Math.abs(value) >= 100 ? whole : fine).format(value);

function bytes(value) {
  const units = ['B', 'KB', 'MB', 'GB', 'TB'];
  let unit = 0;
  for (; value >= 1000 && unit < units.length - 1; unit += 1) value /= 1000;
  return `${fine.format(value)} ${units[unit]}`;
}

/** An element with attributes (a class under `class`), and texts or elements in it. */
function element(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

function drawing(name, attributes, ...children) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

const origin = (value) => element('span', { class: `origin ${value}` }, value);

const RESOURCES = {
  shard_cpu: 'the busiest shard’s core',
  cores: 'all cores',
  store: 'the database',
  file_descriptors: 'file descriptors',
  memory: 'memory',
};

/** A resource in use: its share as a bar, and in words. */
function bar(name, used, limit, text) {
  const share = limit > 0 ? Math.min(used / limit, 1) : 0;
  const level = share > 0.85 ? 'full' : share > 0.6 ? 'high' : '';
  const percent = `${whole.format(share * 100)} %`;
  const rect = drawing('rect', { width: `${share * 100}%`, height: '100%' });
  const svg = drawing('svg', { 'aria-hidden': 'true' }, rect);
  return element('div', { class: level }, element('dt', {}, name), element('dd', {}, `${text} – ${percent}`), svg);
}

function card(name, value, note, lacking = false) {
  const shown = element('dd', {}, value, element('small', {}, note));
  return element('div', lacking ? { class: 'lacking' } : {}, element('dt', {}, name), shown);
}

function drawUse({ now, limits }) {
  const of = (used, limit) => `${number(used)} of ${number(limit)}`;
  $('used').replaceChildren(
    bar('Busiest shard', now.busiest_shard, 1, `${thousandths.format(now.busiest_shard)} of one core`),
    bar('All threads', now.cores, limits.cores, `${thousandths.format(now.cores)} of ${number(limits.cores)} cores`),
    bar('Memory', now.memory_bytes, limits.memory_bytes, `${bytes(now.memory_bytes)} of ${bytes(limits.memory_bytes)}`),
    bar('File descriptors', now.file_descriptors, limits.file_descriptors, of(now.file_descriptors, limits.file_descriptors)),
    bar('Database', now.rows_per_s, limits.rows_per_s, `${of(now.rows_per_s, limits.rows_per_s)} rows/s`),
  );
}

function drawHeadroom({ headroom, now }) {
  const names = { connections: 'Connections', sends_per_s: 'Sends a second', deliveries_per_s: 'Deliveries a second' };
  const present = { connections: now.connections, sends_per_s: now.messages_per_s, deliveries_per_s: now.deliveries_per_s };
  const cards = Object.entries(names).map(([key, name]) => {
    const { more, first } = headroom[key];
    if (key === 'deliveries_per_s' && now.subscriptions === 0) return card(name, '–', 'nobody is in a room now');
    return card(name, `+\u00a0${number(Math.floor(more))}`, `now ${number(present[key])}; first full: ${RESOURCES[first] ?? first}`);
  });
  $('headroom').replaceChildren(...cards);
}

/** Lines over the window; `keys` are one or two of the points' fields with their names. */
function chart(title, series, keys, show) {
  const names = Object.keys(keys);
  const most = Math.max(0, ...series.flatMap((point) => names.map((key) => point[key])));
  const total = series.reduce((sum, point) => sum + point.seconds, 0);
  const lines = names.map((key, index) => {
    let at = 0;
    // From the begin of the first one on.
    const points = [...series.slice(0, 1).map((first) => ({ ...first, seconds: 0 })), ...series].map((point) => {
      at += point.seconds;
      return `${((at / total) * 600).toFixed(1)},${(98 - (point[key] / (most || 1)) * 94).toFixed(1)}`;
    });
    return drawing('polyline', { points: points.join(' '), class: index ? 'second' : 'first' });
  });
  const last = series.at(-1);
  const said = names.map((key) => `${keys[key]} now ${show(last?.[key] ?? 0)}`).join(', ');
  const ground = drawing('line', { x1: 0, x2: 600, y1: 99, y2: 99 });
  const label = `${title}: ${said}; at most ${show(most)} in ${whole.format(total)} seconds`;
  const svg = drawing('svg', { viewBox: '0 0 600 100', preserveAspectRatio: 'none', role: 'img', 'aria-label': label }, ground, ...lines);
  const legend = names.map((key, index) => element('span', { class: index ? 'second' : 'first' }, `${keys[key]} ${show(last?.[key] ?? 0)}`));
  const caption = element('figcaption', {}, element('h3', {}, title), ...legend, element('span', {}, `top ${show(most)}`));
  return element('figure', {}, caption, svg);
}

function drawSeries({ series }) {
  $('charts').replaceChildren(
    chart('CPU, cores', series, { cores: 'all threads', busiest_shard: 'busiest shard' }, (value) => thousandths.format(value)),
    chart('Traffic, a second', series, { deliveries_per_s: 'deliveries', messages_per_s: 'messages' }, number),
    chart('Connections', series, { connections: 'open' }, number),
    chart('Resident memory', series, { memory_bytes: 'used' }, bytes),
  );
}

const COSTS = {
  connection_bytes: 'Connection: memory',
  connection_cpu: 'Connection, idle: CPU',
  delivery_cpu: 'Delivery',
  durable_message_cpu: 'Durable message, without its deliveries',
  join_cpu: 'Join of a room',
  connect_cpu: 'Connection made and ended',
  room_bytes: 'Room in memory',
};

function row(...cells) {
  const [first, ...others] = cells;
  const cell = (value) => (typeof value === 'number' ? element('td', { class: 'number' }, number(value)) : element('td', {}, value));
  return element('tr', {}, element('th', { scope: 'row' }, first), ...others.map(cell));
}

function drawCosts({ costs, parts }) {
  const rows = Object.entries(COSTS).map(([key, name]) => row(name, costs[key].value, costs[key].unit, origin(costs[key].origin)));
  $('costs').replaceChildren(...rows);
  $('parts').replaceChildren(
    ...parts.map((part) => row(part.part.replaceAll('_', ' '), part.cpu_us, part.default_us, part.seen, origin(part.origin))),
  );
}

const list = (lines) => lines.map((line) => element('li', {}, line));

function draw(answer) {
  const { window: span } = answer;
  $('learnt').textContent =
    span.origin === 'measured'
      ? `Learnt from ${number(span.events)} messages in the last ${whole.format(span.seconds)} seconds.`
      : 'Too little traffic to learn from so far: costs marked default are documented ones.';
  drawUse(answer);
  drawHeadroom(answer);
  drawSeries(answer);
  drawCosts(answer);
  $('assumptions').replaceChildren(...list(answer.assumptions));
}

function drawPlan({ plan }) {
  const lacks = (...names) => names.some((name) => plan.lacking.includes(name));
  const { cores, memory, file_descriptors: fds, database } = plan;
  const verdict = plan.fits_here
    ? element('p', { class: 'fits' }, 'It fits on this server as it is.')
    : element('p', { class: 'lacks' }, `Here it lacks ${plan.lacking.map((name) => name.replaceAll('_', ' ')).join(', ')}.`);
  const cards = element(
    'dl',
    { class: 'cards' },
    card('Cores', number(cores.provide), `uses ${fine.format(cores.used)}; the busiest shard ${whole.format(cores.busiest_shard * 100)} %`, lacks('cores', 'shards')),
    card('Memory', bytes(memory.provide), `uses ${bytes(memory.used)}`, lacks('memory')),
    card('File descriptors', number(fds.provide), `uses ${number(fds.used)}`, lacks('file_descriptors')),
    card('Database writes', `${number(database.transactions_per_s)}/s`, `transactions; ${number(database.rows_per_s)} rows a second`, lacks('database')),
    card('Deliveries', `${number(plan.deliveries_per_s)}/s`, `${fine.format(plan.deliveries_per_write)} in each write`),
  );
  const from = element('p', {}, 'Costs: ', origin(plan.origin));
  $('answer').replaceChildren(verdict, cards, from, element('ul', {}, ...list(plan.assumptions)));
}

/** Without what people put between groups of digits; a comma elsewhere is no such thing, and is refused. */
const plain = (text) => text.replace(/[\s_]|,(?=\d{3}(?!\d))/g, '');

async function ask(query = '') {
  const response = await fetch(`/capacity${query}`);
  const answer = await response.json();
  if (!response.ok) throw Object.assign(new Error(answer.detail), { field: answer.field });
  return answer;
}

async function update() {
  try {
    draw(await ask());
    $('trouble').hidden = true;
  } catch (error) {
    $('trouble').textContent = `The figures cannot be read: ${error.message}`;
    $('trouble').hidden = false;
  }
}

let timer = 0;

function schedule(running) {
  clearInterval(timer);
  if (running) timer = setInterval(() => document.hidden || update(), PERIOD_MS);
}

$('pause').addEventListener('click', () => {
  const paused = $('pause').getAttribute('aria-pressed') !== 'true';
  $('pause').setAttribute('aria-pressed', String(paused));
  schedule(!paused);
});

$('question').addEventListener('submit', async (event) => {
  event.preventDefault();
  const form = event.currentTarget;
  const entries = [...new FormData(form)].map(([name, value]) => [name, plain(value)]);
  for (const input of form.elements) input.removeAttribute('aria-invalid');
  try {
    const answer = await ask(`?${new URLSearchParams(entries)}`);
    $('wrong').textContent = '';
    drawPlan(answer);
  } catch (error) {
    $('answer').replaceChildren();
    $('wrong').textContent = error.message;
    const input = error.field && form.elements.namedItem(error.field);
    if (input) {
      input.setAttribute('aria-invalid', 'true');
      input.focus();
    }
  }
});

await update();
schedule(true);
