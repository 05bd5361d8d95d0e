// Menus and pickers beside what they belong to. They close by Escape, by a click elsewhere and when something is chosen;
// the focus goes back to where it was.

import { failed, icon, make, roving } from './dom.js';

/** Shows `node` beside `anchor`, in the top layer; returns a function that closes it. */
export function popover(anchor, node, { onClose = null } = {}) {
  const before = document.activeElement;
  node.popover = 'auto';
  (anchor.closest('dialog') ?? document.body).append(node);
  anchor.setAttribute('aria-expanded', 'true');
  node.addEventListener('toggle', ({ newState }) => {
    if (newState !== 'closed') return;
    anchor.setAttribute('aria-expanded', 'false');
    const inside = node.contains(document.activeElement) || document.activeElement === document.body;
    node.remove();
    if (inside) (anchor.isConnected ? anchor : before)?.focus?.();
    onClose?.();
  });
  node.showPopover();
  place(node, anchor.getBoundingClientRect());
  return () => node.isConnected && node.hidePopover();
}

function place(node, anchor) {
  const { offsetWidth: width, offsetHeight: height } = node;
  const left = anchor.left + width > innerWidth - 8 ? anchor.right - width : anchor.left;
  const below = anchor.bottom + 4 + height <= innerHeight - 8 || anchor.top < height + 12;
  const top = below ? anchor.bottom + 4 : anchor.top - height - 4;
  node.style.left = `${Math.max(8, Math.min(left, innerWidth - width - 8))}px`;
  node.style.top = `${Math.max(8, Math.min(top, innerHeight - height - 8))}px`;
}

/** A menu; items are {label, icon?, action, danger?, checked?, hint?}, or null for a line between two groups. */
export function openMenu(anchor, items, label) {
  const menu = make('div', { class: 'menu', role: 'menu', aria: { label } });
  let close = () => {};
  for (const item of items) {
    if (!item) {
      if (menu.lastElementChild && menu.lastElementChild.role !== 'separator')
        menu.append(make('hr', { role: 'separator' }));
      continue;
    }
    const choose = async () => {
      close();
      try {
        await item.action();
      } catch (error) {
        failed(error);
      }
    };
    const isChoice = item.checked !== undefined;
    const options = {
      class: item.danger ? 'menu-item danger' : 'menu-item',
      role: isChoice ? 'menuitemradio' : 'menuitem',
    };
    if (isChoice) options.aria = { checked: String(item.checked) };
    const mark = item.dot ? make('span', { class: `presence ${item.dot}` }) : item.icon ? icon(item.icon) : null;
    const hint = item.hint ? make('kbd', { class: 'hint', aria: { hidden: 'true' } }, item.hint) : null;
    menu.append(
      make(
        'button',
        { type: 'button', tabIndex: -1, ...options, on: { click: choose } },
        mark,
        make('span', { class: 'menu-label' }, item.label),
        hint,
      ),
    );
  }
  if (menu.lastElementChild?.role === 'separator') menu.lastElementChild.remove();
  roving(menu, '.menu-item');
  menu.addEventListener('keydown', (event) => {
    if (event.key === 'Tab') close();
    if (event.key.length !== 1 || event.ctrlKey || event.metaKey) return;
    const starts = (node) => node.textContent.trim().toLowerCase().startsWith(event.key.toLowerCase());
    [...menu.querySelectorAll('.menu-item')].find(starts)?.focus();
  });
  close = popover(anchor, menu);
  menu.querySelector('.menu-item')?.focus();
  return close;
}
