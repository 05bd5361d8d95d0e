// Dialogs: made when they are opened, gone when they are closed. The focus comes back by itself.

import { button, iconButton, make } from './dom.js';
import { explain } from './errors.js';

/** Opens a dialog with `title` and children; returns the element. `size`: small, wide. */
export function openDialog(title, { size = '', id = null, onClose = null } = {}, ...children) {
  const opener = document.activeElement;
  const dialog = make('dialog', { class: `dialog ${size}`, aria: { label: title } });
  if (id) dialog.id = id;
  const close = iconButton('close', 'Close', () => dialog.close());
  dialog.append(make('header', {}, make('h2', {}, title), close), ...children);
  dialog.addEventListener('close', () => {
    dialog.remove();
    // The browser has given the focus back already, and by now its owner may have gone on with it.
    if (opener?.isConnected && document.activeElement === document.body) opener.focus();
    onClose?.();
  });
  dialog.addEventListener('click', (event) => event.target === dialog && dialog.close());
  document.body.append(dialog);
  dialog.showModal();
  (dialog.querySelector('[autofocus]') ?? dialog.querySelector('input, textarea, select'))?.focus();
  return dialog;
}

/** A form whose `submit` may fail: the refusal is shown in it. Returns the form. */
export function form({ submit, label, danger = false, cancel = null }, ...fields) {
  const error = make('p', { class: 'form-error', role: 'alert' });
  const go = make('button', { class: danger ? 'button danger' : 'button primary', type: 'submit' }, label);
  const back = cancel && button(cancel, { class: 'button', on: (event) => event.target.closest('dialog').close() });
  const node = make(
    'form',
    { class: 'form', noValidate: true },
    ...fields,
    error,
    make('p', { class: 'actions' }, back, go),
  );
  node.addEventListener('submit', async (event) => {
    event.preventDefault();
    error.textContent = '';
    go.disabled = true;
    try {
      await submit(node);
    } catch (problem) {
      error.textContent = explain(problem);
      node.querySelector('[aria-invalid]')?.focus();
    }
    go.disabled = false;
  });
  return node;
}

/** A named control. `options` go to the control; `note` explains. */
export function field(label, control, note = null) {
  const text = note
    ? make('span', { class: 'field-label' }, label, ' ', make('em', {}, note))
    : make('span', { class: 'field-label' }, label);
  return make('label', { class: 'field' }, text, control);
}

export function check(label, options = {}, note = null) {
  const text = make('span', {}, label, note && make('em', { class: 'note' }, note));
  return make('label', { class: 'check' }, make('input', { type: 'checkbox', ...options }), text);
}

export function select(options, choices, value) {
  const node = make('select', options, ...choices.map(([key, text]) => make('option', { value: key }, text)));
  node.value = value;
  return node;
}

/** Asks before something that cannot be taken back; `run` carries it out. */
export function confirmDialog(title, text, { label, danger = true, run }, ...fields) {
  const submit = async (node) => {
    await run(node);
    dialog.close();
  };
  const dialog = openDialog(
    title,
    { size: 'small' },
    make('p', { class: 'dialog-text' }, text),
    form({ submit, label, danger, cancel: 'Cancel' }, ...fields),
  );
  if (fields.length === 0) dialog.querySelector('.actions .button').focus();
  return dialog;
}
