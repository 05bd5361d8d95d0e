// Making elements. What users wrote goes in as text, never as markup.

export const $ = (id) => document.getElementById(id);

const SVG = 'http://www.w3.org/2000/svg';

/** One of the symbols of index.html. */
export function icon(name) {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('aria-hidden', 'true');
  const use = document.createElementNS(SVG, 'use');
  use.setAttribute('href', `#i-${name}`);
  svg.append(use);
  return svg;
}

/** An element with properties (`class` and `dataset` included), attributes by `attrs`, `aria` and `role`, handlers by
 * `on`, and children (what is null, undefined or false is left out). */
export function make(tag, options = {}, ...children) {
  const { class: className, dataset, role, aria, attrs, on, ...properties } = options;
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (role) node.setAttribute('role', role);
  Object.assign(node.dataset, dataset);
  for (const [name, value] of Object.entries(aria ?? {})) node.setAttribute(`aria-${name}`, value);
  for (const [name, value] of Object.entries(attrs ?? {})) node.setAttribute(name, value);
  for (const [name, handler] of Object.entries(on ?? {})) node.addEventListener(name, handler);
  Object.assign(node, properties);
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** A button; its handler's failure is told to the user. */
export function button(text, { on, ...options }, ...children) {
  return make('button', { type: 'button', ...options, ...(on && { on: { click: guarded(on) } }) }, ...children, text);
}

export function iconButton(name, label, on, options = {}) {
  return button(
    '',
    { class: 'icon-button', aria: { label, ...options.aria }, title: label, on, ...options.more },
    icon(name),
  );
}

let complain = console.error;

/** Who is told of what goes wrong in a handler. */
export function onFailure(handler) {
  complain = handler;
}

export const failed = (error) => complain(error);

/** A handler, sync or not, whose failure is told to the user. A button is disabled meanwhile. */
export function guarded(handler) {
  return async (event) => {
    const target = event?.currentTarget;
    try {
      await handler(event);
    } catch (error) {
      complain(error, target);
    }
  };
}

/** Makes the children of `parent` be `items`, in order; nodes of items that stay are kept (focus, selection). */
export function reconcile(parent, items, keyOf, create, update) {
  const old = new Map([...parent.children].map((node) => [node.dataset.key, node]));
  let next = parent.firstElementChild;
  for (const item of items) {
    const key = String(keyOf(item));
    let node = old.get(key);
    if (!node) {
      node = create(item);
      node.dataset.key = key;
    }
    old.delete(key);
    update?.(node, item);
    if (node === next) next = next.nextElementSibling;
    else parent.insertBefore(node, next);
  }
  for (const node of old.values()) node.remove();
}

export function avatar(name, id, className = '') {
  const letter = [...(name || '?')][0].toUpperCase();
  return make('span', { class: `avatar hue-${(id ?? 0) % 8} ${className}`, aria: { hidden: 'true' } }, letter);
}

/** Arrow keys, Home and End move the focus among the nodes of `selector` in `parent`, of which one is in the tab
 * order. `columns`: how many stand side by side (a function), for grids. */
export function roving(parent, selector, { columns = () => 1, horizontal = false } = {}) {
  const all = () => [...parent.querySelectorAll(selector)].filter((node) => !node.hidden && !node.disabled);
  parent.addEventListener('focusin', ({ target }) => {
    const current = target.closest(selector);
    if (!current) return;
    for (const node of parent.querySelectorAll(`${selector}[tabindex="0"]`)) node.tabIndex = -1;
    current.tabIndex = 0;
  });
  parent.addEventListener('keydown', (event) => {
    const current = event.target.closest(selector);
    if (!current || current !== event.target || event.altKey || event.ctrlKey || event.metaKey) return;
    const nodes = all();
    const at = nodes.indexOf(current);
    const width = columns();
    const sideways = width > 1 || horizontal;
    const steps = {
      ArrowDown: horizontal ? null : at + width,
      ArrowUp: horizontal ? null : at - width,
      Home: 0,
      End: nodes.length - 1,
      ...(sideways && { ArrowRight: at + 1, ArrowLeft: at - 1 }),
    };
    const to = steps[event.key];
    if (to === undefined || to === null) return;
    event.preventDefault();
    nodes[Math.max(0, Math.min(nodes.length - 1, to))].focus();
  });
}

const TIME = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const DAY = new Intl.DateTimeFormat(undefined, { weekday: 'long', day: 'numeric', month: 'long' });
const DATE = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short', year: 'numeric' });
const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'medium' });

const daysAgo = (date) =>
  Math.round((new Date().setHours(0, 0, 0, 0) - new Date(date).setHours(0, 0, 0, 0)) / 86_400_000);

export function dayName(date) {
  const days = daysAgo(date);
  if (days === 0) return 'Today';
  return days === 1 ? 'Yesterday' : DAY.format(date);
}

export const clock = (date) => TIME.format(new Date(date));
export const fullTime = (date) => FULL.format(new Date(date));

/** A time as one would say it now. */
export function when(text) {
  const date = new Date(text);
  const days = daysAgo(date);
  if (days === 0) return TIME.format(date);
  return days === 1 ? `yesterday, ${TIME.format(date)}` : `${DATE.format(date)}, ${TIME.format(date)}`;
}

/** '1 member', '3 members'. */
export const count = (number, one, many = `${one}s`) => `${number.toLocaleString()} ${number === 1 ? one : many}`;
