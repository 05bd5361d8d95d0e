// The place beside the log: one panel at a time (thread, members, pins, search, mentions).

import { $ } from './dom.js';
import { paints } from './state.js';

/** name -> {title, open(args), close?, paint?, trigger? (id of the button that shows it)} */
const panels = new Map();
let current = null;
let opener = null;

export function definePanel(name, panel) {
  panels.set(name, panel);
}

export const openPanelName = () => current;

/** Opens a panel; its `open` fills the body and may say where the focus goes. */
export function openPanel(name, args = {}, { focus = true } = {}) {
  if (!current) opener = document.activeElement;
  else if (current !== name) leave();
  const panel = panels.get(name);
  current = name;
  $('panel').hidden = false;
  $('panel').dataset.panel = name;
  $('panel-body').replaceChildren();
  $('panel-title').textContent = panel.title(args);
  for (const [other, { trigger }] of panels)
    if (trigger) $(trigger)?.setAttribute('aria-expanded', String(other === name));
  const target = panel.open($('panel-body'), args);
  if (focus) (target ?? $('panel-title')).focus();
}

function leave() {
  const panel = panels.get(current);
  if (panel.trigger) $(panel.trigger)?.setAttribute('aria-expanded', 'false');
  current = null;
  panel.close?.();
}

export function closePanel({ focus = true } = {}) {
  if (!current) return;
  leave();
  $('panel').hidden = true;
  $('panel-body').replaceChildren();
  if (focus) (opener?.isConnected && opener.offsetParent ? opener : $('draft')).focus();
  opener = null;
}

export function togglePanel(name, args = {}) {
  if (current === name) closePanel();
  else openPanel(name, args);
}

/** Panels that belong to a room go with it. */
export function onRoomChanged() {
  if (current && panels.get(current).ofRoom) closePanel({ focus: false });
}

export function wirePanel(onClick) {
  onClick('close-panel', () => closePanel());
  document.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape' || event.defaultPrevented || !current) return;
    // What lies above the panel is closed first, by the browser.
    if (document.querySelector('dialog[open], :popover-open')) return;
    event.preventDefault();
    closePanel();
  });
  paints('panel', (options) => panels.get(current)?.paint?.(options));
}
