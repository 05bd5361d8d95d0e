// What all parts of the page share: the connection, the model, and when to paint.

import { Model } from './model.js';

export const app = {
  client: null,
  model: new Model(),
  /** Loads the names of rooms and conversations again. */
  refreshLists: () => {},
};

export const me = () => app.model.me;
export const call = (type, data, options) => app.client.call(type, data, options);

/** What shows which part: part -> function(options). */
const painters = new Map();
const asked = new Map();
let waiting = false;

export function paints(part, painter) {
  painters.set(part, painter);
}

/** Shows a part afresh, once a frame however much came: a replay may bring thousands of events at once. */
export function show(part, options = {}) {
  asked.set(part, { ...asked.get(part), ...options });
  if (waiting) return;
  waiting = true;
  // No frames come in a hidden tab, but its title counts what is unread.
  if (document.hidden) setTimeout(paintNow, 250);
  else requestAnimationFrame(paintNow);
}

function paintNow() {
  waiting = false;
  const parts = [...asked];
  asked.clear();
  for (const [part, options] of parts) painters.get(part)?.(options);
}

let announcements = [];

/** Says something to screen readers. What comes within a moment is said together. */
export function announce(text) {
  announcements.push(text);
  if (announcements.length > 1) return;
  setTimeout(() => {
    const all = announcements;
    announcements = [];
    const last = all.slice(-3).join('. ');
    document.getElementById('announcer').textContent = all.length > 3 ? `${all.length} new. ${last}` : last;
  }, 400);
}

/** `work` after `ms` without a further call. What it fails with is of no interest to anybody by then. */
export function debounce(work, ms) {
  let timer = null;
  return (...args) => {
    clearTimeout(timer);
    timer = setTimeout(() => Promise.resolve(work(...args)).catch(() => {}), ms);
  };
}

/** All pages of a list, up to `max` rows. */
export async function pages(type, data, list, max = 1000) {
  const all = [];
  let cursor = null;
  do {
    const page = await call(type, { ...data, limit: 100, ...(cursor && { cursor }) });
    all.push(...page[list]);
    cursor = page.next_cursor;
  } while (cursor && all.length < max);
  return all;
}
